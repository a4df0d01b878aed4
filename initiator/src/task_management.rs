//! Task management functions of a disk (SAM-5, 7): what an operator does about commands that don't end.

use crate::disk::Disk;
use crate::error::DiskError;
use crate::path::Path;
use fc::messages::{Action, Transfer, TransportError};
use fc::wire::fcp::TaskManagement;

/// How often a function is sent whose frames get lost: to carry it out twice harms nobody.
const ATTEMPTS: u32 = 5;

/// Each returns when the target has carried the function out. Requests of this initiator whose commands it ended go out
/// again; they end once, as all do. Other initiators are told by a unit attention.
impl Disk {
    /// Resets the logical unit: everyone's commands to it end. Reservations stay.
    ///
    /// # Errors
    /// The target's or the fabric's.
    pub fn reset_lun(&self) -> Result<(), DiskError> {
        self.manage(TaskManagement::LUN_RESET)
    }

    /// Resets all logical units of one of the disk's target ports. Not every target does it: newer standards don't have it.
    ///
    /// # Errors
    /// The target's or the fabric's.
    pub fn reset_target(&self) -> Result<(), DiskError> {
        self.manage(TaskManagement::TARGET_RESET)
    }

    /// Ends this initiator's commands to the logical unit.
    ///
    /// # Errors
    /// The target's or the fabric's.
    pub fn abort_task_set(&self) -> Result<(), DiskError> {
        self.manage(TaskManagement::ABORT_TASK_SET)
    }

    /// Ends everyone's commands to the logical unit.
    ///
    /// # Errors
    /// The target's or the fabric's.
    pub fn clear_task_set(&self) -> Result<(), DiskError> {
        self.manage(TaskManagement::CLEAR_TASK_SET)
    }

    /// By the first path that works: what a function ends, it ends for all of them, but for an ABORT TASK SET, which each
    /// path has its own of.
    fn manage(&self, function: TaskManagement) -> Result<(), DiskError> {
        let mut result = Err(TransportError::NotLoggedIn);
        for path in &self.ready_paths() {
            match self.manage_by(path, function)? {
                Err(TransportError::NotLoggedIn | TransportError::NexusGone | TransportError::Stopped) => {}
                Ok(()) if function == TaskManagement::ABORT_TASK_SET => result = Ok(()),
                end => return end.map_err(DiskError::from),
            }
        }
        result.map_err(DiskError::from)
    }

    fn manage_by(
        &self,
        path: &Path,
        function: TaskManagement,
    ) -> Result<Result<(), TransportError>, DiskError> {
        let mut result = Err(TransportError::Lost);
        for _ in 0..ATTEMPTS {
            if result != Err(TransportError::Lost) {
                break;
            }
            let completion = self.run_by(path, Action::Manage(function), Transfer::None)?;
            result = completion.result.map(|_| ());
        }
        Ok(result)
    }
}
