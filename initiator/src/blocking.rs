//! One command by one path, and the wait for its end.

use crate::disk::Disk;
use crate::error::DiskError;
use crate::path::Path;
use datapath::port::Waker;
use fc::messages::{Action, Command, Completion, Transfer};
use fc::time::Duration;
use std::sync::Arc;

/// When such a command is given up. A target may have to end all that it does for it.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How long the caller sleeps before it looks whether the core is still there.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

impl Disk {
    /// Sends a command by this path only, and waits for its end, whatever that is.
    ///
    /// # Errors
    /// [`DiskError::System`].
    pub(crate) fn run_by(
        &self,
        path: &Path,
        action: Action,
        transfer: Transfer,
    ) -> Result<Completion, DiskError> {
        let waker = Arc::new(Waker::new().map_err(DiskError::System)?);
        let mut consumer = self.core(path.id.port).attach_consumer(1, waker);
        let (nexus, lun) = (path.id.nexus, path.id.lun);
        let command = Command { tag: 0, nexus, lun, action, transfer, timeout: TIMEOUT };
        assert!(consumer.submit(command).is_ok(), "nothing else is out");
        consumer.kick();
        loop {
            if let Some(completion) = consumer.poll() {
                return Ok(completion);
            }
            consumer.wait(LOOK_INTERVAL).map_err(DiskError::System)?;
        }
    }
}
