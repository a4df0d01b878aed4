//! The Ethernet between guests, SANs and initiators: a bridge in the scenario's network namespace.
//!
//! Everything on it is a port of the bridge: a tap for a guest, one end of a veth pair for what runs here. What
//! passes a port is captured. All of it goes with the namespace, and so with the process.

use crate::capture::Capture;
use crate::image::Image;
use anyhow::{Context as _, ensure};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A bridge with ports.
#[derive(Debug)]
pub(crate) struct Lan {
    mtu: String,
    image: Image,
    folder: PathBuf,
    veths: BTreeSet<String>,
    captures: Vec<Capture>,
}

/// Frames that wait for a guest at most: under emulation it is slow, and a lost frame costs seconds.
const TAP_FRAMES: &str = "16384";

const BRIDGE: &str = "lan";

impl Lan {
    /// Makes the bridge in the calling thread's network namespace; captures go to `folder`.
    pub(crate) fn new(mtu: u32, image: &Image, folder: &Path) -> anyhow::Result<Self> {
        // A bridge that doesn't take part in what it carries: no STP, no IGMP.
        let kind = ["type", "bridge", "stp_state", "0", "mcast_snooping", "0", "forward_delay", "0"];
        let (image, folder) = (image.clone(), folder.into());
        let lan = Self { mtu: mtu.to_string(), image, folder, veths: BTreeSet::new(), captures: Vec::new() };
        ip(&[&["link", "add", BRIDGE, "mtu", &lan.mtu], &kind[..]].concat())?;
        ip(&["link", "set", BRIDGE, "up"])?;
        Ok(lan)
    }

    /// The MTU of bridge and ports.
    pub(crate) fn mtu(&self) -> &str {
        &self.mtu
    }

    /// A tap for a guest.
    pub(crate) fn tap(&mut self, name: &str) -> anyhow::Result<()> {
        ip(&["tuntap", "add", name, "mode", "tap"])?;
        ip(&["link", "set", name, "txqueuelen", TAP_FRAMES])?;
        self.join(name)
    }

    /// A veth pair, unless it is there: `name` for who is to use it, and its other end on the bridge.
    pub(crate) fn veth(&mut self, name: &str) -> anyhow::Result<()> {
        if !self.veths.insert(name.to_owned()) {
            return Ok(());
        }
        let port = format!("{name}-port");
        let mtu = self.mtu.as_str();
        let peer =
            ["type", "veth", "peer", "name", &port, "mtu", mtu, "numtxqueues", "1", "numrxqueues", "1"];
        let own = ["link", "add", name, "mtu", mtu, "numtxqueues", "1", "numrxqueues", "1"];
        ip(&[&own[..], &peer[..]].concat())?;
        // veth hands a VLAN tag over beside the frame, where XDP doesn't see it.
        let output = self.image.command("sbin/ethtool").args(["-K", &port, "txvlan", "off"]).output()?;
        ensure!(output.status.success(), "ethtool: {}", String::from_utf8_lossy(&output.stderr));
        ip(&["link", "set", name, "up"])?;
        self.join(&port)
    }

    fn join(&mut self, port: &str) -> anyhow::Result<()> {
        ip(&["link", "set", port, "mtu", &self.mtu, "master", BRIDGE, "up"])?;
        self.captures.push(Capture::start(&self.image, port, self.folder.join(format!("{port}.pcap")))?);
        Ok(())
    }

    /// Ends the captures and gives them, of each port one.
    ///
    /// # Errors
    /// If they are not complete.
    pub(crate) fn captures(&mut self) -> anyhow::Result<&[Capture]> {
        self.captures.iter_mut().try_for_each(Capture::end)?;
        Ok(&self.captures)
    }
}

/// Runs iproute2's `ip` in the scenario's network namespace.
pub(crate) fn ip(arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new("ip").args(arguments).output().context("cannot run ip")?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ip {}: {}", arguments.join(" "), error.trim());
    Ok(())
}
