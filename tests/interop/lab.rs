//! What a scenario has at hand.

use crate::capture;
use crate::guest::{Guest, GuestConfig};
use crate::image::Image;
use crate::lan::Lan;
use anyhow::Context as _;
use datapath::port::nic::NicKind;
use initiator::Initiator;
use san::SanConfig;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use xfcoe::san_thread::{Place, SanThread};

/// The most that a scenario takes.
const LIMIT: Duration = Duration::from_secs(180);

/// A LAN, and what can be put on it. Guests, SANs and initiators belong to the scenario, which pulls the plug of one
/// by dropping it; the LAN's captures go on until the scenario returns.
#[derive(Debug)]
pub(crate) struct Lab {
    image: Image,
    folder: PathBuf,
    lan: Lan,
    deadline: Instant,
}

impl Lab {
    /// A lab in the calling thread's network namespace, which keeps what it sees in `folder`.
    pub(crate) fn new(mtu: u32, image: &Image, folder: &Path) -> anyhow::Result<Self> {
        let lan = Lan::new(mtu, image, folder)?;
        Ok(Self { image: image.clone(), folder: folder.into(), lan, deadline: Instant::now() + LIMIT })
    }

    /// Boots a guest at a port `name`, with the modules for FCoE loaded and its `eth0` up.
    pub(crate) fn guest(&mut self, name: &str, config: GuestConfig) -> anyhow::Result<Guest> {
        self.lan.tap(name)?;
        let at = (name, self.lan.mtu());
        Guest::boot(config, &self.image, at, self.folder.join(name), self.deadline)
    }

    /// Starts a SAN at a port `name`, which may be that of one that was stopped.
    pub(crate) fn san(&mut self, name: &str, config: SanConfig) -> anyhow::Result<SanThread> {
        self.lan.veth(name)?;
        let place = Place { interface: name.into(), kind: NicKind::AfXdp, namespace: None, cpu: None };
        SanThread::start(place, config)
    }

    /// Starts an initiator at a port `name`, which may be that of one that was stopped.
    pub(crate) fn initiator(&mut self, name: &str, config: initiator::Config) -> anyhow::Result<Initiator> {
        self.lan.veth(name)?;
        Ok(Initiator::start(initiator::Config { interface: name.into(), ..config })?)
    }

    /// Ends the captures, and gives a summary of each frame that passed a port and that tshark's `filter` likes.
    ///
    /// # Errors
    /// If the capture is not complete, or tshark doesn't like the filter.
    pub(crate) fn frames(&mut self, port: &str, filter: &str) -> anyhow::Result<Vec<String>> {
        let capture = self.lan.captures()?.iter().find(|capture| capture.port == port);
        let path = &capture.with_context(|| format!("there is no port {port}"))?.path;
        let fields = ["frame.number", "eth.src", "eth.dst", "_ws.col.Info"];
        Ok(capture::tshark(path, filter, &fields)?.iter().map(|fields| fields.join(" ")).collect())
    }

    /// Ends the captures and holds every frame against tshark; how many there are of FCoE and FIP.
    ///
    /// # Errors
    /// If a frame is wrong.
    pub(crate) fn check_frames(&mut self) -> anyhow::Result<usize> {
        self.lan.captures()?.iter().map(|capture| capture::check(&capture.path)).sum()
    }
}
