//! The ways to a disk.

use fc::messages::NexusId;
use fc::time::Duration;
use fc::wire::Wwn;
use fc::wire::fcp::Lun;
use fc::wire::scsi::target_port_groups::AccessState;

/// Which of the initiators that share their disks, in the order in which they were started.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PortNumber(pub u16);

/// What tells a path from all others: which port of ours, and which of its remote ports. Once given, it stays.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PathId {
    /// Our port.
    pub port: PortNumber,
    /// The target port, as commands name it.
    pub nexus: NexusId,
    /// The logical unit there.
    pub lun: Lun,
}

/// A way to a disk: by one of our ports and one of its target ports.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Path {
    /// Which one.
    pub id: PathId,
    /// The target port's WWPN.
    pub target: Wwn,
    /// Whether the target port is logged in.
    pub is_ready: bool,
    /// How often it has logged in: nothing that was sent by an earlier login is still to be done by the target.
    pub logins: u32,
    /// How well it leads to the disk (SPC-4, 5.16).
    pub access: AccessState,
    /// How long requests wait when no path leads to the disk.
    pub fast_io_fail: Duration,
}

/// Which of several paths that are equally good takes the next command.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum PathChoice {
    /// Each in its turn.
    #[default]
    RoundRobin,
    /// The one with the fewest commands out.
    LeastQueue,
}
