//! Targets that are gone for long: they and their logical units are shown no more. Linux calls the time `dev_loss_tmo`.
//!
//! What is known of a target's login stays, for it to be the same one when it comes back.

use crate::control::Control;
use fc::time::{Duration, Instant};

/// Longer than a target takes to start anew, so that an operator sees what is missing while it is.
pub const DEFAULT_DEV_LOSS: Duration = Duration::from_secs(600);

impl Control {
    /// Forgets those that have been gone for too long.
    pub(crate) fn forget_lost(&mut self, now: Instant) {
        while let Some(nexus) = self.lost.take_due(now) {
            self.lost.forget(nexus);
            self.scans.forget(nexus);
            self.changed = true;
            if let Some(entry) = self.target_mut(nexus) {
                let target_port = entry.target.port_name;
                tracing::warn!(%target_port, "the target has not come back; it is shown no more");
                entry.is_forgotten = true;
            }
        }
    }
}
