//! Which of a trial's frames have come, and how long they took.

use super::stamped::{Stamp, Unfit};
use hdrhistogram::Histogram;

/// As many numbers back from the newest are told apart: what is later than that counts as a duplicate. Power of two.
const WINDOW: u64 = 1 << 16;

/// The longest latency that is told apart.
const MAX_LATENCY_NS: u64 = 60_000_000_000;

/// What came of a trial at its receiver.
#[derive(Debug)]
pub(super) struct Tally {
    /// Frames that came, each once.
    pub(super) received: u64,
    /// Those that came after one with a higher number (RFC 4737, 3.3).
    pub(super) reordered: u64,
    /// Frames that came again.
    pub(super) duplicates: u64,
    /// Frames with a wrong CRC.
    pub(super) damaged: u64,
    /// Nanoseconds from one end to the other, if both have the same clock.
    pub(super) latencies_ns: Histogram<u64>,
    /// One more than the highest number that came.
    next: u64,
    /// A bit for each number of the window, by the number modulo its length.
    seen: Box<[u64]>,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            received: 0,
            reordered: 0,
            duplicates: 0,
            damaged: 0,
            latencies_ns: Histogram::new_with_max(MAX_LATENCY_NS, 3).expect("constants"),
            next: 0,
            seen: vec![0; WINDOW as usize / 64].into(),
        }
    }

    /// How many frames were sent at least, as far as the numbers tell.
    pub(super) fn sent_at_least(&self) -> u64 {
        self.next
    }

    /// Takes a frame that came; `now_ns` is of the clock of its stamp, and none if that is another's.
    pub(super) fn take(&mut self, stamp: Result<Stamp, Unfit>, now_ns: Option<u64>) {
        let stamp = match stamp {
            Ok(stamp) => stamp,
            Err(Unfit::Damaged) => {
                self.damaged += 1;
                return;
            }
            Err(Unfit::Foreign) => return,
        };
        if !self.mark(stamp.number) {
            self.duplicates += 1;
            return;
        }
        self.received += 1;
        if let Some(now) = now_ns {
            self.latencies_ns.saturating_record(now.saturating_sub(stamp.sent_at_ns));
        }
    }

    /// Notes a number; whether it is a new one.
    fn mark(&mut self, number: u64) -> bool {
        if number >= self.next {
            // What is skipped has not been seen. A jump over more than a window clears all of it.
            for skipped in number.saturating_sub(WINDOW - 1).max(self.next)..number {
                self.seen[index(skipped)] &= !bit(skipped);
            }
            self.next = number.saturating_add(1);
        } else if self.next - number > WINDOW || self.seen[index(number)] & bit(number) != 0 {
            return false;
        } else {
            self.reordered += 1;
        }
        self.seen[index(number)] |= bit(number);
        true
    }
}

fn index(number: u64) -> usize {
    (number % WINDOW / 64) as usize
}

fn bit(number: u64) -> u64 {
    1 << (number % 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(numbers: impl IntoIterator<Item = u64>) -> [u64; 4] {
        let mut tally = Tally::new();
        for number in numbers {
            tally.take(Ok(Stamp { size: 2158, trial: 1, number, sent_at_ns: 10 }), Some(30));
        }
        assert_eq!(tally.latencies_ns.len(), tally.received);
        [tally.received, tally.reordered, tally.duplicates, tally.sent_at_least() - tally.received]
    }

    #[test]
    fn lost_late_and_doubled_frames_are_told_apart() {
        assert_eq!(tally([]), [0, 0, 0, 0]);
        assert_eq!(tally(0..200_000), [200_000, 0, 0, 0]);
        assert_eq!(tally([0, 1, 3, 4]), [4, 0, 0, 1], "2 is lost");
        assert_eq!(tally([0, 1, 3, 2, 4]), [5, 1, 0, 0], "2 is late");
        assert_eq!(tally([0, 1, 1, 3, 2, 2, 3]), [4, 1, 3, 0], "1, 2 and 3 come twice");
        // A number of the window before, or long gone, doesn't stand for another one.
        assert_eq!(tally([5, 5 + WINDOW, 6 + WINDOW, 6]), [3, 0, 1, 6 + WINDOW + 1 - 3]);
        assert_eq!(
            tally((0..WINDOW).chain([3 * WINDOW, 2 * WINDOW + 1])),
            [WINDOW + 2, 1, 0, 2 * WINDOW - 1]
        );
        assert_eq!(tally([u64::MAX, 0]), [1, 0, 1, u64::MAX - 1]);
    }

    #[test]
    fn damaged_frames_count_and_foreign_ones_do_not() {
        let mut tally = Tally::new();
        tally.take(Err(Unfit::Damaged), Some(1));
        tally.take(Err(Unfit::Foreign), Some(1));
        assert_eq!((tally.received, tally.damaged, tally.latencies_ns.len()), (0, 1, 0));
    }
}
