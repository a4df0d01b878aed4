//! Task management functions (SAM-5, 7; FCP-4, 9.1.2.5): what their ends do to other commands.

use super::Core;
use super::exchange::{Exchange, Phase};
use crate::port::Port;
use fc::messages::{Ended, TransportError};
use fc::time::Instant;
use fc::wire::fcp::TaskManagement;

impl<P: Port> Core<P> {
    /// Ends a task management function. The target answers no command that it has cleared, and says nothing of them: each
    /// is aborted, so that both sides are through with its exchange (FCP-4, 12.3), before its end is told.
    pub(super) fn end_function(&mut self, now: Instant, index: u16, result: Result<(), TransportError>) {
        if let Err(error) = result {
            return self.fail(now, index, error);
        }
        let cleared = self.cleared_by(self.exchanges.get(index));
        self.end(now, index, &Ended::good(0));
        self.counters.cleared += cleared.len() as u64;
        for index in cleared {
            self.abort(now, index, TransportError::Cleared);
        }
    }

    /// Commands that may have been in the task set when the target carried out a function.
    fn cleared_by(&self, function: &Exchange) -> Vec<u16> {
        let is_whole_target = function.function == TaskManagement::TARGET_RESET;
        self.exchanges.select(|exchange| {
            exchange.phase == Phase::Open
                && exchange.function == TaskManagement::NONE
                && exchange.nexus == function.nexus
                && (is_whole_target || exchange.lun == function.lun)
                && exchange.started <= function.started
        })
    }
}
