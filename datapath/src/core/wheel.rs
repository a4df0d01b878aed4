//! When exchanges are to be looked at: a timer wheel, so that a look costs by what is due and not by what is open.
//!
//! An entry is a promise to look no later than at its tick. Deadlines mostly move away from now, when a command ends and
//! its exchange is used again, or data has come: the entry then stays where it is, and whoever finds it early puts it
//! where it belongs now. So a command that is quick costs the wheel nothing.

use fc::time::{Duration, Instant};

/// How long a slot is, and how often deadlines are looked at, at most.
pub(super) const TICK: Duration = Duration::from_micros(250);

/// Slots. What is further away than all of them, a second, is put where it belongs when the last one has come.
const SLOTS: usize = 1 << 12;

/// Where a list ends.
const NONE: u16 = u16::MAX;

/// An entry: its neighbours in its slot's list.
#[derive(Clone, Copy)]
struct Entry {
    next: u16,
    previous: u16,
    slot: Option<u16>,
}

/// Entries by the index of their exchange.
pub(super) struct Wheel {
    entries: Vec<Entry>,
    /// The first entry of each slot.
    slots: Box<[u16; SLOTS]>,
    /// A bit for each slot that has an entry.
    occupied: [u64; SLOTS / 64],
    /// The tick up to which everything was taken; its own slot is the first one.
    tick: u64,
}

impl Wheel {
    /// A wheel for `len` exchanges.
    pub(super) fn new(len: usize) -> Self {
        assert!(len <= usize::from(NONE), "{len} entries");
        let entry = Entry { next: NONE, previous: NONE, slot: None };
        Self { entries: vec![entry; len], slots: Box::new([NONE; SLOTS]), occupied: [0; SLOTS / 64], tick: 0 }
    }

    /// Promises a look at an exchange at `at`, or before.
    pub(super) fn set(&mut self, index: u16, at: Instant) {
        let ahead = ticks(at).saturating_sub(self.tick).min(SLOTS as u64 - 1);
        match self.entries[usize::from(index)].slot {
            Some(slot) if self.ahead(slot) <= ahead => return,
            Some(slot) => self.unlink(index, slot),
            None => {}
        }
        self.link(index, ((self.tick + ahead) % SLOTS as u64) as u16);
    }

    /// Takes the entries whose tick has come to the end of `into`. Some belong elsewhere by now.
    pub(super) fn take_due(&mut self, now: Instant, into: &mut Vec<u16>) {
        let passed = ticks(now).saturating_sub(self.tick);
        while let Some(slot) = self.first().filter(|&slot| self.ahead(slot) <= passed) {
            let index = self.slots[usize::from(slot)];
            self.unlink(index, slot);
            into.push(index);
        }
        self.tick += passed;
    }

    /// When to look next: at the first of the deadlines in the first slot, or at that slot's end if none of them is
    /// in it.
    pub(super) fn next(&self, deadline: impl Fn(u16) -> Instant) -> Option<Instant> {
        let slot = self.first()?;
        let end = Instant::ZERO + TICK.saturating_mul((self.tick + self.ahead(slot) + 1).try_into().ok()?);
        let next = |&index: &u16| Some(self.entries[usize::from(index)].next).filter(|&next| next != NONE);
        let entries = std::iter::successors(Some(self.slots[usize::from(slot)]), next);
        Some(entries.map(deadline).fold(end, Instant::min))
    }

    /// How many ticks until a slot's has come.
    fn ahead(&self, slot: u16) -> u64 {
        u64::from(slot).wrapping_sub(self.tick) % SLOTS as u64
    }

    /// The next slot that has an entry.
    fn first(&self) -> Option<u16> {
        let start = (self.tick % SLOTS as u64) as usize;
        let words = SLOTS / 64;
        // The word of the first slot comes twice: for what is behind the start, and for what is before it.
        (0..=words).find_map(|i| {
            let at = (start / 64 + i) % words;
            let behind = u64::MAX << (start % 64);
            let mask = if i == 0 {
                behind
            } else if i == words {
                !behind
            } else {
                u64::MAX
            };
            let bits = self.occupied[at] & mask;
            (bits != 0).then(|| (at * 64) as u16 + bits.trailing_zeros() as u16)
        })
    }

    fn link(&mut self, index: u16, slot: u16) {
        let head = std::mem::replace(&mut self.slots[usize::from(slot)], index);
        self.entries[usize::from(index)] = Entry { next: head, previous: NONE, slot: Some(slot) };
        if head == NONE {
            self.occupied[usize::from(slot) / 64] |= 1 << (slot % 64);
        } else {
            self.entries[usize::from(head)].previous = index;
        }
    }

    fn unlink(&mut self, index: u16, slot: u16) {
        let Entry { next, previous, .. } = self.entries[usize::from(index)];
        self.entries[usize::from(index)].slot = None;
        if next != NONE {
            self.entries[usize::from(next)].previous = previous;
        }
        if previous != NONE {
            self.entries[usize::from(previous)].next = next;
            return;
        }
        self.slots[usize::from(slot)] = next;
        if next == NONE {
            self.occupied[usize::from(slot) / 64] &= !(1 << (slot % 64));
        }
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

    fn at(us: u64) -> Instant {
        Instant::from_nanos(us * 1000)
    }

    proptest! {
        /// Against a list of promises: each exchange is looked at in its tick at the latest, and `next` is no later
        /// than that.
        #[test]
        fn no_promise_is_broken(
            steps in proptest::collection::vec((0u16..8, 0u64..3_000_000, 0u64..400_000, any::<bool>()), 1..200),
        ) {
            let mut wheel = Wheel::new(8);
            let mut promised = [None; 8];
            let (mut now, mut due) = (at(0), Vec::new());
            for (index, ahead_us, pass_us, is_set) in steps {
                if is_set {
                    let deadline = now + Duration::from_micros(ahead_us);
                    promised[usize::from(index)] = Some(deadline);
                    wheel.set(index, deadline);
                } else {
                    now = now + Duration::from_micros(pass_us);
                    wheel.take_due(now, &mut due);
                    for index in due.drain(..) {
                        let deadline = &mut promised[usize::from(index)];
                        if deadline.is_some_and(|deadline| deadline <= now) {
                            *deadline = None;
                        } else if let Some(deadline) = *deadline {
                            wheel.set(index, deadline);
                        }
                    }
                }
                let first = promised.iter().flatten().min();
                prop_assert!(first.is_none_or(|&first| first > now || is_set), "{promised:?} at {now:?}");
                let next = wheel.next(|index| promised[usize::from(index)].unwrap_or(now));
                prop_assert!(first.is_none_or(|&first| next.is_some_and(|next| next <= first)), "{next:?}");
            }
        }
    }

    #[test]
    fn a_deadline_that_moves_away_costs_nothing_until_it_is_found() {
        let mut wheel = Wheel::new(2);
        let mut due = Vec::new();
        wheel.set(0, at(1000));
        wheel.set(0, at(90_000));
        assert_eq!(wheel.next(|_| at(90_000)), Some(at(1250)), "the end of its slot");
        wheel.take_due(at(1000), &mut due);
        assert_eq!(due, [0]);
        assert_eq!(wheel.next(|_| at(0)), None);
        wheel.set(0, at(90_100));
        assert_eq!(wheel.next(|_| at(90_100)), Some(at(90_100)));
        wheel.set(0, at(2000));
        assert_eq!(wheel.next(|_| at(2000)), Some(at(2000)), "one that comes nearer is moved");
    }

    #[test]
    fn what_is_far_away_is_found_on_the_way() {
        let mut wheel = Wheel::new(1);
        let mut due = Vec::new();
        let far = at(30_000_000);
        wheel.set(0, far);
        let mut looks = 0;
        while let Some(next) = wheel.next(|_| far).filter(|&next| next < far) {
            wheel.take_due(next, &mut due);
            looks += due.len();
            due.drain(..).for_each(|index| wheel.set(index, far));
        }
        assert!((29..60).contains(&looks), "{looks} looks in 30 s");
    }
}
