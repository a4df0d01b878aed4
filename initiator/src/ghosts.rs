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
/// be overwritten by the ghost: a later write to the same blocks waits until the ghost's target port has logged in anew,
/// for that ends what it held (FCP-4, 4.10).
#[derive(Debug, Default)]
pub(crate) struct Ghosts {
    count: AtomicUsize,
    all: Mutex<Vec<Ghost>>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Ghost {
    blocks: Range<u64>,
    path: PathId,
    /// The login that it was sent by, or a later one.
    logins: u32,
    until: Instant,
}

impl Ghosts {
    /// A write to `blocks` was out on `path` when its login number `logins` ended.
    pub(crate) fn add(&self, now: Instant, blocks: Range<u64>, path: PathId, logins: u32) {
        let mut all = self.lock();
        all.retain(|ghost| ghost.until > now);
        let until = now + LIFETIME;
        if all.len() < MAX_GHOSTS {
            all.push(Ghost { blocks, path, logins, until });
        } else {
            // Fewer and longer ones hold back more than they must.
            let last = all.last_mut().expect("there are many");
            last.blocks = last.blocks.start.min(blocks.start)..last.blocks.end.max(blocks.end);
            last.until = until;
        }
        self.count.store(all.len(), Ordering::Relaxed);
    }

    /// Until when, at the latest, a write to `blocks` has to wait.
    pub(crate) fn hold_until(&self, now: Instant, blocks: &Range<u64>) -> Option<Instant> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let overlaps = |ghost: &&Ghost| ghost.blocks.start < blocks.end && blocks.start < ghost.blocks.end;
        self.lock().iter().filter(overlaps).map(|ghost| ghost.until).filter(|&until| until > now).max()
    }

    /// The target port of `path` has logged in for the time number `logins`.
    pub(crate) fn logged_in(&self, path: PathId, logins: u32) {
        if self.count.load(Ordering::Relaxed) > 0 {
            let mut all = self.lock();
            all.retain(|ghost| ghost.path != path || ghost.logins >= logins);
            self.count.store(all.len(), Ordering::Relaxed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Ghost>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
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
        assert_eq!(ghosts.lock().len(), MAX_GHOSTS);
        for lba in [0, MAX_GHOSTS as u64, 2 * MAX_GHOSTS as u64 - 1] {
            assert!(ghosts.hold_until(at(1), &(lba..lba + 1)).is_some(), "{lba}");
            assert!(ghosts.hold_until(at(0) + LIFETIME, &(lba..lba + 1)).is_none(), "{lba}");
        }
        ghosts.add(at(0) + LIFETIME, 0..1, PATH, 1);
        assert_eq!(ghosts.lock().len(), 1);
    }
}
