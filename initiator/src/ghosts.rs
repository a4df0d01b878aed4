//! Writes whose fate nobody knows.

use crate::path::PathId;
use fc::time::{Duration, Instant};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How long a target can hold a write at the longest, as far as can be known: no standard says it. Linux gives up a
/// command after 30 s, twice.
pub(crate) const LIFETIME: Duration = Duration::from_secs(60);

/// The most that are told apart.
const MAX_GHOSTS: usize = 4096;

/// The ghosts of a disk: writes whose login ended while they were out. The target may hold all of their data and write
/// it later; it is repeated by another path meanwhile, which does no harm. What was written there after that must not
/// be overwritten by the ghost: a later write to the same blocks waits until there is none any more. A new login at the
/// ghost's target port ends what that held (FCP-4, 4.10). Where it doesn't come in time, a fence does the same: a reset of
/// the logical unit by another path.
#[derive(Debug, Default)]
pub(crate) struct Ghosts {
    count: AtomicUsize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    all: Vec<Ghost>,
    /// A fence is out.
    is_fenced: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Ghost {
    blocks: Range<u64>,
    path: PathId,
    /// The login that it was sent by, or a later one.
    logins: u32,
    until: Instant,
    /// It was there before the fence that is out.
    is_fenced: bool,
}

impl Ghosts {
    /// A write to `blocks` was out on `path` when its login number `logins` ended.
    pub(crate) fn add(&self, now: Instant, blocks: Range<u64>, path: PathId, logins: u32) {
        self.change(|Inner { all, .. }| {
            all.retain(|ghost| ghost.until > now);
            let until = now + LIFETIME;
            if all.len() < MAX_GHOSTS {
                all.push(Ghost { blocks, path, logins, until, is_fenced: false });
            } else {
                // Fewer and longer ones hold back more than they must.
                let last = all.last_mut().expect("there are many");
                last.blocks = last.blocks.start.min(blocks.start)..last.blocks.end.max(blocks.end);
                (last.until, last.is_fenced) = (until, false);
            }
        });
    }

    /// Until when, at the latest, a write to `blocks` has to wait.
    pub(crate) fn hold_until(&self, now: Instant, blocks: &Range<u64>) -> Option<Instant> {
        if self.is_empty() {
            return None;
        }
        let overlaps = |ghost: &&Ghost| ghost.blocks.start < blocks.end && blocks.start < ghost.blocks.end;
        let inner = self.lock();
        inner.all.iter().filter(overlaps).map(|ghost| ghost.until).filter(|&until| until > now).max()
    }

    /// The target port of `path` has logged in for the time number `logins`.
    pub(crate) fn logged_in(&self, path: PathId, logins: u32) {
        if !self.is_empty() {
            self.change(|inner| inner.all.retain(|ghost| ghost.path != path || ghost.logins >= logins));
        }
    }

    /// Whether a fence is to be sent: one at a time. Its end comes to [`Self::end_fence`].
    pub(crate) fn begin_fence(&self) -> bool {
        self.change(|inner| {
            let is_first = !std::mem::replace(&mut inner.is_fenced, true);
            if is_first {
                inner.all.iter_mut().for_each(|ghost| ghost.is_fenced = true);
            }
            is_first
        })
    }

    /// A fence has ended, and with it, if it was a good one, what was there before it.
    pub(crate) fn end_fence(&self, is_good: bool) {
        self.change(|inner| {
            inner.is_fenced = false;
            if is_good {
                inner.all.retain(|ghost| !ghost.is_fenced);
            }
            inner.all.iter_mut().for_each(|ghost| ghost.is_fenced = false);
        });
    }

    fn is_empty(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 0
    }

    fn change<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        let mut inner = self.lock();
        let result = change(&mut inner);
        self.count.store(inner.all.len(), Ordering::Relaxed);
        result
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::PortNumber;
    use fc::messages::NexusId;
    use fc::wire::fcp::Lun;

    const PATH: PathId = PathId { port: PortNumber(0), nexus: NexusId(1), lun: Lun([0; 8]) };
    const OTHER: PathId = PathId { nexus: NexusId(2), ..PATH };

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn a_ghost_holds_back_what_overlaps_until_its_port_has_logged_in_anew() {
        let ghosts = Ghosts::default();
        assert_eq!(ghosts.hold_until(at(0), &(0..u64::MAX)), None);
        ghosts.add(at(0), 10..20, PATH, 3);
        for (blocks, is_held) in
            [(0..10, false), (0..11, true), (12..13, true), (19..30, true), (20..30, false)]
        {
            assert_eq!(ghosts.hold_until(at(1), &blocks).is_some(), is_held, "{blocks:?}");
        }
        ghosts.logged_in(OTHER, 9);
        ghosts.logged_in(PATH, 3);
        assert_eq!(ghosts.hold_until(at(1), &(12..13)), Some(at(0) + LIFETIME));
        ghosts.logged_in(PATH, 4);
        assert_eq!(ghosts.hold_until(at(1), &(12..13)), None);
    }

    #[test]
    fn ghosts_fade_and_are_bounded() {
        let ghosts = Ghosts::default();
        (0..2 * MAX_GHOSTS as u64).for_each(|lba| ghosts.add(at(0), lba..lba + 1, PATH, 1));
        assert_eq!(ghosts.lock().all.len(), MAX_GHOSTS);
        for lba in [0, MAX_GHOSTS as u64, 2 * MAX_GHOSTS as u64 - 1] {
            assert!(ghosts.hold_until(at(1), &(lba..lba + 1)).is_some(), "{lba}");
            assert!(ghosts.hold_until(at(0) + LIFETIME, &(lba..lba + 1)).is_none(), "{lba}");
        }
        ghosts.add(at(0) + LIFETIME, 0..1, PATH, 1);
        assert_eq!(ghosts.lock().all.len(), 1);
    }

    #[test]
    fn a_fence_ends_what_was_there_before_it() {
        let ghosts = Ghosts::default();
        let is_held = |blocks| ghosts.hold_until(at(1), &blocks).is_some();
        ghosts.add(at(0), 0..1, PATH, 1);
        assert!(ghosts.begin_fence() && !ghosts.begin_fence(), "one at a time");
        ghosts.add(at(0), 1..2, PATH, 1);
        ghosts.end_fence(false);
        assert!(is_held(0..1) && is_held(1..2));
        assert!(ghosts.begin_fence());
        ghosts.add(at(0), 2..3, PATH, 1);
        ghosts.end_fence(true);
        assert!(!is_held(0..2) && is_held(2..3));
    }
}
