//! When exchanges are to be looked at: how many ticks each has left, side by side.
//!
//! A look counts all of them down, eight at a time, which takes 2 us for as many as can be and is done every 250 us at
//! most. So a command sets its deadline by one store, and what ends in time costs nothing more: lists by deadline would
//! have it change its neighbours, too, each of them in another cache line.

use fc::time::{Duration, Instant};

/// How fine deadlines are told apart, and how often they are looked at, at most.
pub(super) const TICK: Duration = Duration::from_micros(250);

/// What is further away, 16 s, is looked at then, and set anew.
const FAR: u16 = u16::MAX;

/// Exchanges that are gone through together, without asking which of them is due.
const BLOCK: usize = 64;

/// Deadlines by the index of their exchange.
pub(super) struct Deadlines {
    /// Ticks until each comes; of an exchange that is free, anything.
    left: Vec<u16>,
    /// The tick up to which everything was taken.
    tick: u64,
}

impl Deadlines {
    /// Room for `len` exchanges.
    pub(super) fn new(len: usize) -> Self {
        Self { left: Vec::with_capacity(len), tick: 0 }
    }

    /// One more exchange.
    pub(super) fn add_one(&mut self) {
        self.left.push(FAR);
    }

    /// An exchange is to be looked at in the tick of `at`.
    pub(super) fn set(&mut self, index: u16, at: Instant) {
        let left = ticks(at).saturating_sub(self.tick).min(FAR.into());
        self.left[usize::from(index)] = left as u16;
    }

    /// An exchange needs no look.
    pub(super) fn clear(&mut self, index: u16) {
        self.left[usize::from(index)] = FAR;
    }

    /// Takes the exchanges whose tick has come to the end of `into`. Some are free, or are to be set anew.
    pub(super) fn take_due(&mut self, now: Instant, into: &mut Vec<u16>) {
        let passed = ticks(now).saturating_sub(self.tick);
        self.tick += passed;
        let passed = passed.min(FAR.into()) as u16;
        for (first, block) in (0u16..).step_by(BLOCK).zip(self.left.chunks_mut(BLOCK)) {
            let count_down = |left: &mut u16| {
                *left = left.saturating_sub(passed);
                *left
            };
            if block.iter_mut().map(count_down).min() != Some(0) {
                continue;
            }
            for (index, left) in (first..).zip(block).filter(|(_, left)| **left == 0) {
                *left = FAR;
                into.push(index);
            }
        }
    }

    /// When to look next: at the first of the deadlines, where `deadline` gives that of an exchange that is not free.
    pub(super) fn next(&self, deadline: impl Fn(u16) -> Option<Instant>) -> Option<Instant> {
        let nearest = self.left.iter().copied().min()?;
        let end = Instant::ZERO + TICK.saturating_mul((self.tick + u64::from(nearest) + 1).try_into().ok()?);
        let blocks = (0u16..).step_by(BLOCK).zip(self.left.chunks(BLOCK));
        let blocks = blocks.filter(|(_, block)| block.contains(&nearest));
        let entries = blocks.flat_map(|(first, block)| (first..).zip(block));
        let nearest = entries.filter(|(_, left)| **left == nearest).filter_map(|(index, _)| deadline(index));
        Some(nearest.fold(end, Instant::min))
    }
}

/// The tick that a moment is in.
fn ticks(at: Instant) -> u64 {
    at.as_nanos() / TICK.as_nanos() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// More than a block.
    const EXCHANGES: u16 = 70;

    fn at(us: u64) -> Instant {
        Instant::from_nanos(us * 1000)
    }

    fn deadlines() -> Deadlines {
        let mut deadlines = Deadlines::new(usize::from(EXCHANGES));
        (0..EXCHANGES).for_each(|_| deadlines.add_one());
        deadlines
    }

    proptest! {
        /// Against a list of deadlines: each exchange is looked at in its tick, not before unless it is far away, and
        /// `next` is the first of them.
        #[test]
        fn no_deadline_is_missed(
            steps in proptest::collection::vec((0..EXCHANGES, 0u64..40_000_000, 0u64..9_000_000, 0u8..4), 1..200),
        ) {
            let mut deadlines = deadlines();
            let mut set = [None; EXCHANGES as usize];
            let (mut now, mut due) = (at(0), Vec::new());
            for (index, ahead_us, pass_us, what) in steps {
                let slot = usize::from(index);
                match what {
                    0 => {
                        // Near ones, too.
                        let deadline = now + Duration::from_micros(ahead_us >> (pass_us % 16));
                        set[slot] = Some(deadline);
                        deadlines.set(index, deadline);
                    }
                    1 => {
                        set[slot] = None;
                        deadlines.clear(index);
                    }
                    _ => {
                        now = now + Duration::from_micros(pass_us >> (ahead_us % 16));
                        deadlines.take_due(now, &mut due);
                        for index in due.drain(..) {
                            let deadline = &mut set[usize::from(index)];
                            if deadline.is_some_and(|deadline| deadline <= now) {
                                *deadline = None;
                            } else if let Some(deadline) = *deadline {
                                deadlines.set(index, deadline);
                            }
                        }
                        let first = set.iter().flatten().min();
                        prop_assert!(first.is_none_or(|&first| first > now), "{first:?} at {now:?}");
                    }
                }
                let first = set.iter().flatten().min();
                let next = deadlines.next(|index| set[usize::from(index)]);
                prop_assert!(first.is_none_or(|&first| next.is_some_and(|next| next <= first)), "{next:?}");
            }
        }
    }

    #[test]
    fn a_deadline_moves_either_way() {
        let mut deadlines = deadlines();
        let mut due = Vec::new();
        deadlines.set(65, at(1000));
        deadlines.set(65, at(90_100));
        deadlines.take_due(at(2000), &mut due);
        assert_eq!((due.len(), deadlines.next(|_| Some(at(90_100)))), (0, Some(at(90_100))));
        deadlines.set(65, at(3000));
        assert_eq!(deadlines.next(|_| Some(at(3000))), Some(at(3000)));
        deadlines.take_due(at(3000), &mut due);
        assert_eq!(due, [65]);
    }

    #[test]
    fn what_is_far_away_is_found_on_the_way() {
        let mut deadlines = deadlines();
        let mut due = Vec::new();
        let far = at(100_000_000);
        deadlines.set(0, far);
        let mut looks = 0;
        let deadline = |index| (index == 0).then_some(far);
        while let Some(next) = deadlines.next(deadline).filter(|&next| next < far) {
            deadlines.take_due(next, &mut due);
            looks += due.iter().filter(|&&index| index == 0).count();
            due.drain(..).filter(|&index| index == 0).for_each(|index| deadlines.set(index, far));
        }
        assert!((6..9).contains(&looks), "{looks} looks in 100 s");
    }
}
