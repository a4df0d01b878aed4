//! What a program decides about its initiator.

use crate::disks::Disks;
use control::{DEFAULT_DEV_LOSS, Identity};
use datapath::core::thread::PollMode;
use datapath::port::nic::NicKind;
use fc::fip::{Addressing, Preferred, VlanChoice};
use fc::messages::ox_id;
use fc::vn_port::DEFAULT_RECONNECT_DELAY;
use fc::vn_port::Topology;
use fc::wire::Wwn;
use std::path::PathBuf;
use std::time::Duration;

/// The most poll cores of an initiator: their number is in three bits of each OX_ID, and control has one.
pub const MAX_CORES: usize = ox_id::MAX_CORES as usize;

/// Longer than a link's flap or an FCF's restart takes; shorter than the 30 s that Linux's SCSI layer in a guest waits.
pub const DEFAULT_FAST_IO_FAIL: Duration = Duration::from_secs(25);

/// An initiator over an interface.
#[derive(Clone, Debug)]
pub struct Config {
    /// The interface, a name in the calling thread's network namespace.
    pub interface: String,
    /// Its queues, counted from 0. FCoE comes by queue 0 unless flow rules or the NIC's redirection by OX_ID say otherwise.
    pub queues: Vec<u32>,
    /// How the interface is reached.
    pub kind: NicKind,
    /// A poll core for each: the CPU that it is pinned to; none leaves that to the scheduler. They are on the queues in
    /// turn, so that there are no fewer, and [`MAX_CORES`] at most.
    pub cores: Vec<Option<usize>>,
    /// How the poll core waits.
    pub poll_mode: PollMode,
    /// Have frames in huge pages, if enough are reserved.
    pub huge_pages: bool,
    /// Have the NIC bring FCoE and FIP to the first of the queues, if it has rules for that and ethtool(8) is there.
    pub flow_rules: bool,
    /// What is at the other end: a fabric, or VN2VN ports.
    pub topology: Topology,
    /// Which VLAN to use.
    pub vlan: VlanChoice,
    /// The FCF that goes before all others, in a fabric.
    pub preferred_fcf: Option<Preferred>,
    /// The VN_Port's WWPN; none makes it `20:00:` and the interface's MAC address.
    pub port_name: Option<Wwn>,
    /// The node's WWNN; none makes it `10:00:` and the interface's MAC address.
    pub node_name: Option<Wwn>,
    /// Who provides the VN_Ports' MAC addresses, in a fabric.
    pub addressing: Addressing,
    /// VN_Ports besides the interface's own, which [`Initiator::add_identity`](crate::Initiator::add_identity) and
    /// [`remove_identity`](crate::Initiator::remove_identity) change later.
    pub identities: Vec<Identity>,
    /// Where its disks are found. Initiators with the same one are paths to the same disks.
    pub disks: Disks,
    /// How long requests wait when no path leads to their disk; then they fail, and later ones at once, until there is
    /// one again. Linux's name for it.
    pub fast_io_fail: Duration,
    /// How long a target that is gone, and its disks, are remembered. Linux's name for it, too.
    pub dev_loss: Duration,
    /// The longest wait, of a second at least, before a login to a target is tried again that failed: waits double up to
    /// this.
    pub reconnect_delay: Duration,
    /// A file for all frames that the first core moves, in pcapng.
    pub capture: Option<PathBuf>,
}

impl Config {
    /// The usual choice for an interface: AF_XDP, an adaptive core, a fabric, VLAN discovery, names by its MAC address.
    pub fn new(interface: impl Into<String>) -> Self {
        Self {
            interface: interface.into(),
            queues: vec![0],
            kind: NicKind::default(),
            cores: vec![None],
            poll_mode: PollMode::default(),
            huge_pages: false,
            flow_rules: false,
            topology: Topology::default(),
            vlan: VlanChoice::Discover,
            preferred_fcf: None,
            port_name: None,
            node_name: None,
            addressing: Addressing::Fabric,
            identities: Vec::new(),
            disks: Disks::default(),
            fast_io_fail: DEFAULT_FAST_IO_FAIL,
            dev_loss: DEFAULT_DEV_LOSS,
            reconnect_delay: DEFAULT_RECONNECT_DELAY,
            capture: None,
        }
    }
}
