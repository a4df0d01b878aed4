//! Which of many machines have something to do now, and when the others will.

use fc::time::Instant;
use std::collections::{BTreeMap, BTreeSet};

/// Machines by their keys. What is done at one moment costs as much as the machines that have something to do, however
/// many there are.
#[derive(Debug)]
pub(crate) struct Agenda<K> {
    touched: BTreeSet<K>,
    due: BTreeSet<(Instant, K)>,
    due_at: BTreeMap<K, Instant>,
}

impl<K: Ord + Copy> Agenda<K> {
    /// Something has come to a machine: it is to be looked at.
    pub(crate) fn touch(&mut self, key: K) {
        self.touched.insert(key);
    }

    /// The next one to be looked at, until [`Self::settle`].
    pub(crate) fn touched(&self) -> Option<K> {
        self.touched.first().copied()
    }

    /// A machine has nothing more to do before `due_at`.
    pub(crate) fn settle(&mut self, key: K, due_at: Option<Instant>) {
        self.forget(key);
        if let Some(at) = due_at {
            self.due.insert((at, key));
            self.due_at.insert(key, at);
        }
    }

    /// A machine is no more.
    pub(crate) fn forget(&mut self, key: K) {
        self.touched.remove(&key);
        if let Some(at) = self.due_at.remove(&key) {
            self.due.remove(&(at, key));
        }
    }

    /// The next machine whose time has come; it is touched then.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<K> {
        let &(_, key) = self.due.first().filter(|(at, _)| *at <= now)?;
        self.forget(key);
        self.touch(key);
        Some(key)
    }

    /// When the next one's time comes.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|&(at, _)| at)
    }
}

impl<K> Default for Agenda<K> {
    fn default() -> Self {
        Self { touched: BTreeSet::new(), due: BTreeSet::new(), due_at: BTreeMap::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_machine_is_looked_at_when_its_time_comes_or_something_has_come() {
        let at = Instant::from_nanos;
        let mut agenda = Agenda::default();
        for key in [1, 2, 3] {
            agenda.touch(key);
        }
        for (key, due_at) in [(1, Some(at(30))), (2, None), (3, Some(at(10)))] {
            assert_eq!(agenda.touched(), Some(key));
            agenda.settle(key, due_at);
        }
        assert_eq!((agenda.touched(), agenda.next_due()), (None, Some(at(10))));
        assert_eq!(agenda.take_due(at(9)), None);
        assert_eq!(agenda.take_due(at(10)), Some(3));
        assert_eq!(agenda.take_due(at(10)), None, "once only");
        assert_eq!((agenda.touched(), agenda.next_due()), (Some(3), Some(at(30))));
        agenda.settle(3, Some(at(40)));
        agenda.settle(1, Some(at(50)));
        assert_eq!(agenda.next_due(), Some(at(40)), "a later time replaces the earlier");
        agenda.forget(3);
        agenda.forget(1);
        assert_eq!((agenda.touched(), agenda.next_due()), (None, None));
    }
}
