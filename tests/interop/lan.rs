//! The Ethernet between guests, SANs and initiators: a bridge in the scenario's network namespace.
//!
//! Everything on it is a port of the bridge: a tap for a guest, one end of a veth pair for what runs here. What
//! passes a port is captured. All of it goes with the namespace, and so with the process.

use crate::capture::Capture;
use crate::image::Image;
use anyhow::{Context as _, ensure};
use fc::wire::MacAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A bridge with ports.
#[derive(Debug)]
pub(crate) struct Lan {
    mtu: String,
    image: Image,
    folder: PathBuf,
    /// Of ports that have a MAC address, in the order of these.
    names: Vec<String>,
    /// Of each port one.
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
        let lan = Self { mtu: mtu.to_string(), image, folder, names: Vec::new(), captures: Vec::new() };
        ip(&[&["link", "add", BRIDGE, "mtu", &lan.mtu], &kind[..]].concat())?;
        ip(&["link", "set", BRIDGE, "up"])?;
        Ok(lan)
    }

    /// The MTU of bridge and ports.
    pub(crate) fn mtu(&self) -> &str {
        &self.mtu
    }

    /// The MAC address of a port; those that are new get the next one.
    pub(crate) fn mac(&mut self, name: &str) -> MacAddr {
        let number = self.names.iter().position(|known| known == name).unwrap_or_else(|| {
            self.names.push(name.to_owned());
            self.names.len() - 1
        });
        MacAddr([0x02, 0xfc, 0xf0, 0x00, 0x03, u8::try_from(number).expect("a LAN has few ports")])
    }

    /// A port with a tap, unless it is there.
    pub(crate) fn tap(&mut self, name: &str) -> anyhow::Result<()> {
        if self.has(name) {
            return Ok(());
        }
        ip(&["tuntap", "add", name, "mode", "tap"])?;
        ip(&["link", "set", name, "txqueuelen", TAP_FRAMES])?;
        self.join(name, name)
    }

    /// A port with a veth pair, unless it is there: the end `name` is for who is to use it.
    pub(crate) fn veth(&mut self, name: &str) -> anyhow::Result<()> {
        if self.has(name) {
            return Ok(());
        }
        let (port, mac) = (format!("{name}-port"), self.mac(name).to_string());
        let of = |end| ["name", end, "mtu", self.mtu.as_str(), "numtxqueues", "1", "numrxqueues", "1"];
        ip(&[&["link", "add"], &of(name)[..], &["address", &mac, "type", "veth", "peer"], &of(&port)]
            .concat())?;
        // veth hands a VLAN tag over beside the frame, where XDP doesn't see it.
        let output = self.image.command("sbin/ethtool").args(["-K", &port, "txvlan", "off"]).output()?;
        ensure!(output.status.success(), "ethtool: {}", String::from_utf8_lossy(&output.stderr));
        ip(&["link", "set", name, "up"])?;
        self.join(name, &port)
    }

    fn has(&self, name: &str) -> bool {
        self.captures.iter().any(|capture| capture.port == name)
    }

    /// Puts `interface` on the bridge, and captures what passes there as the port `name`.
    fn join(&mut self, name: &str, interface: &str) -> anyhow::Result<()> {
        ip(&["link", "set", interface, "mtu", &self.mtu, "master", BRIDGE, "up"])?;
        self.captures.push(Capture::start(&self.image, name, interface, &self.folder)?);
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
