//! What a scenario has at hand.

use crate::capture::{self, Captured};
use crate::daemon::Daemon;
use crate::guest::{self, Guest, GuestConfig};
use crate::image::Image;
use crate::lan::Lan;
use anyhow::Context as _;
use datapath::port::nic::NicKind;
use fc::wire::{MacAddr, Wwn};
use initiator::Initiator;
use san::{LunConfig, SanConfig};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};
use xfcoe::san_thread::{Place, SanThread};

/// The most that a scenario may take, on a machine that has other things to do.
const LIMIT: Duration = Duration::from_secs(400);

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

    /// A disk that is a file in the scenario's folder, of zeros at first, and that file.
    pub(crate) fn file_disk(&self, serial: &str, bytes: u64) -> anyhow::Result<(LunConfig, PathBuf)> {
        let path = self.folder.join(serial);
        File::create_new(&path)?.set_len(bytes)?;
        let disk = LunConfig {
            file: Some(path.clone()),
            size_bytes: bytes,
            serial: serial.into(),
            ..LunConfig::default()
        };
        Ok((disk, path))
    }

    /// Brings a program of ours to where guests see it, as `/lab/PROGRAM`. Its libraries are there already: it was built
    /// on the system that the guest's tools are of.
    pub(crate) fn bring(&self, program: &str) -> anyhow::Result<()> {
        let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release").join(program);
        fs::copy(&built, self.folder.join(program))
            .with_context(|| format!("there is no {} to copy; ./x interop builds it", built.display()))?;
        Ok(())
    }

    /// The port name that Linux and our initiator make for themselves at a port, which need not be there yet.
    pub(crate) fn wwpn(&mut self, port: &str) -> Wwn {
        Wwn::from_mac(0x2000, self.lan.mac(port))
    }

    /// Boots a guest at a port `name`, which may be that of one that is gone, with the modules for FCoE loaded and
    /// its `eth0` up.
    pub(crate) fn guest(&mut self, name: &str, config: GuestConfig) -> anyhow::Result<Guest> {
        self.lan.tap(name)?;
        let mac = self.lan.mac(name);
        let place = guest::Place { name, mac, mtu: self.lan.mtu(), lab: &self.folder };
        Guest::boot(config, &self.image, place, self.deadline)
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

    /// Starts our daemon at a port `name`, which may be that of one that was killed, with these exports in its file.
    pub(crate) fn daemon(&mut self, name: &str, exports: &str) -> anyhow::Result<Daemon> {
        self.lan.veth(name)?;
        Daemon::start(&self.folder, name, exports)
    }

    /// A place for a socket of the host's.
    pub(crate) fn socket(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The MAC address of whoever is at a port.
    pub(crate) fn mac(&mut self, port: &str) -> MacAddr {
        self.lan.mac(port)
    }

    /// Ends the captures, and gives the frames that passed a port and that tshark's `filter` likes.
    ///
    /// # Errors
    /// If the capture is not complete, or tshark doesn't like the filter.
    pub(crate) fn frames(&mut self, port: &str, filter: &str) -> anyhow::Result<Vec<Captured>> {
        let capture = self.lan.captures()?.iter().find(|capture| capture.port == port);
        capture::frames(&capture.with_context(|| format!("there is no port {port}"))?.path, filter)
    }

    /// Ends the captures and holds every frame against tshark; how many there are of FCoE and FIP.
    ///
    /// # Errors
    /// If a frame is wrong.
    pub(crate) fn check_frames(&mut self) -> anyhow::Result<usize> {
        let captures = self.lan.captures()?;
        thread::scope(|scope| {
            let checks: Vec<_> =
                captures.iter().map(|capture| scope.spawn(|| capture::check(&capture.path))).collect();
            checks
                .into_iter()
                .map(|check| check.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .sum()
        })
    }
}
