//! Targets that are gone for long: they and their logical units are shown no more. Linux calls the time `dev_loss_tmo`.
//!
//! What is known of a target's login stays, for it to be the same one when it comes back.

use crate::control::{Control, TargetEntry};
use fc::time::{Duration, Instant};

/// Longer than a target takes to start anew, so that an operator sees what is missing while it is.
pub const DEFAULT_DEV_LOSS: Duration = Duration::from_secs(600);

impl Control {
    /// Those that are there, or have gone not long ago.
    pub(crate) fn shown_targets(&self) -> impl Iterator<Item = &TargetEntry> {
        self.targets.values().filter(|entry| !entry.is_forgotten)
    }

    /// When the next one has been gone for too long.
    pub(crate) fn next_lost(&self) -> Option<Instant> {
        self.shown_targets().filter_map(|entry| entry.gone_since).min().map(|since| since + self.dev_loss)
    }

    /// Forgets those that have been gone for too long.
    pub(crate) fn forget_lost(&mut self, now: Instant) {
        if self.next_lost().is_none_or(|at| at > now) {
            return;
        }
        for (&target_port, entry) in &mut self.targets {
            if !entry.is_forgotten && entry.gone_since.is_some_and(|since| since + self.dev_loss <= now) {
                tracing::warn!(%target_port, "the target has not come back; it is shown no more");
                entry.is_forgotten = true;
                self.scans.forget(target_port);
                self.changed = true;
            }
        }
    }
}
