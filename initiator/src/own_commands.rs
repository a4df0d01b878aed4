//! Commands that a queue sends on its own account.

use crate::path::{Path, PortNumber};
use crate::paths::PathIndex;
use crate::reservations::reserve_out;
use fc::messages::{Action, Command, Transfer};
use fc::time::Duration;
use fc::wire::fcp::TaskManagement;
use fc::wire::scsi::ScsiCommand;
use fc::wire::scsi::reservations::action_out;

/// The bit of a command's tag that says it is a probe, and that which says it is a fence; the other bits are its path's
/// number.
pub(crate) const PROBE: u64 = 1 << 63;
pub(crate) const FENCE: u64 = 1 << 62;

/// When they are given up.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
const FENCE_TIMEOUT: Duration = Duration::from_secs(10);

/// How a queue does its part to end ghosts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fence {
    None,
    Out,
    /// The target doesn't do it.
    Refused,
}

/// The path of a probe or a fence.
pub(crate) fn own_path(tag: u64) -> PathIndex {
    PathIndex(usize::try_from(tag & !(PROBE | FENCE)).expect("our own path's number"))
}

/// A question whether a path works, by which the key is registered if there is one.
pub(crate) fn probe(index: PathIndex, path: &Path, key: u64) -> (PortNumber, Command) {
    let (action, transfer) = match key {
        0 => (Action::from(&ScsiCommand::TestUnitReady), Transfer::None),
        key => {
            let (action, list) = reserve_out(action_out::REGISTER_AND_IGNORE, None, 0, key);
            (action, Transfer::Write(list))
        }
    };
    command(PROBE | index.0 as u64, path, action, transfer, PROBE_TIMEOUT)
}

/// Ends everyone's commands to the logical unit, and so ours by all paths.
pub(crate) fn fence(index: PathIndex, path: &Path) -> (PortNumber, Command) {
    let action = Action::Manage(TaskManagement::LUN_RESET);
    command(FENCE | index.0 as u64, path, action, Transfer::None, FENCE_TIMEOUT)
}

fn command(
    tag: u64,
    path: &Path,
    action: Action,
    transfer: Transfer,
    timeout: Duration,
) -> (PortNumber, Command) {
    let (nexus, lun) = (path.id.nexus, path.id.lun);
    (path.id.port, Command { tag, nexus, lun, action, transfer, timeout })
}
