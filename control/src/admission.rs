//! Which VN_Ports may log in now: with hundreds of them, all at once would be a storm that drowns its own answers.

use crate::local_port::PortId;
use std::collections::BTreeSet;

/// VN_Ports of one interface that log in and register at a time. It takes each a dozen round trips, so a few keep the
/// fabric busy; 32 hosts with 16 each are what a switch has to hold.
const MAX_AT_ONCE: usize = 16;

/// The VN_Ports that want to log in.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    waiting: BTreeSet<PortId>,
    admitted: BTreeSet<PortId>,
}

impl Admission {
    /// A VN_Port wants to log in.
    pub(crate) fn ask(&mut self, port: PortId) {
        if !self.admitted.contains(&port) {
            self.waiting.insert(port);
        }
    }

    /// The next one that may.
    pub(crate) fn admit(&mut self) -> Option<PortId> {
        if self.admitted.len() == MAX_AT_ONCE {
            return None;
        }
        let port = self.waiting.pop_first()?;
        self.admitted.insert(port);
        Some(port)
    }

    /// A VN_Port is online, or has failed to be, or doesn't want to any more. What it tries again by itself, less and
    /// less often, makes no storm.
    pub(crate) fn leave(&mut self, port: PortId) {
        self.waiting.remove(&port);
        self.admitted.remove(&port);
    }

    /// Whether a VN_Port has its turn still before it.
    pub(crate) fn is_waiting(&self, port: PortId) -> bool {
        self.waiting.contains(&port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_many_log_in_at_a_time() {
        let mut admission = Admission::default();
        let ports: Vec<_> = (0..40).map(PortId).collect();
        ports.iter().for_each(|&port| admission.ask(port));
        let mut next = || std::iter::from_fn(|| admission.admit()).collect::<Vec<_>>();
        assert_eq!(next(), ports[..16]);
        assert_eq!(next(), []);
        // One that has been admitted has no second place, and one that has gone has none.
        admission.ask(PortId(3));
        admission.leave(PortId(17));
        admission.leave(PortId(3));
        admission.leave(PortId(4));
        assert!(admission.is_waiting(PortId(16)));
        assert_eq!(std::iter::from_fn(|| admission.admit()).collect::<Vec<_>>(), [ports[16], ports[18]]);
    }
}
