//! What a port says to log in, and in which order: in Linux's own captures, and in ours.

use crate::capture::{self, Captured};
use std::path::Path;

/// A login from its first frame on. Requests and replies each have an order; how they mix is the other's doing, too.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Login {
    /// As tshark calls them, to the first RTV.
    pub(crate) requests: Vec<String>,
    /// To the answer to the other's RTV.
    pub(crate) replies: Vec<String>,
}

/// The frames that make up a login.
pub(crate) const FRAMES: &str = "fip || fcels || fcct";

impl Login {
    /// What the port with these MAC addresses says in one of Linux's captures.
    pub(crate) fn golden(name: &str, macs: &[&str]) -> anyhow::Result<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fc/tests/golden");
        let frames = capture::frames(&folder.join(name), FRAMES)?;
        Ok(Self::of(frames.iter().filter(|frame| macs.contains(&frame.source.as_str()))))
    }

    /// What these frames of one port say.
    pub(crate) fn of<'a>(frames: impl Iterator<Item = &'a Captured>) -> Self {
        let said = frames.map(|frame| frame.info.trim().to_owned());
        // VLANs are the business of `fipvlan` in Linux. A claim is answered whenever somebody makes one.
        let is_login =
            |said: &String| !["VLAN Request", "Claim Response", "Keep-Alive"].contains(&said.as_str());
        let (replies, requests): (Vec<_>, Vec<_>) =
            said.filter(is_login).partition(|said| said.starts_with("ACC") || said.starts_with("LS_RJT"));
        Self { requests: up_to("RTV", requests), replies: up_to("ACC (RTV)", replies) }
    }
}

fn up_to(last: &str, mut said: Vec<String>) -> Vec<String> {
    if let Some(at) = said.iter().position(|said| said == last) {
        said.truncate(at + 1);
    }
    said
}
