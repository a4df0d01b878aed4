//! A receiver alone: whoever sends is another process, mostly on another machine.

use super::ends::{Clock, Receiver};
use super::report::{Report, Trial};
use super::stamped::{Stamp, Unfit};
use super::tally::Tally;
use datapath::port::Port;
use std::time::Duration;
use xfcoe::interrupt::Interrupt;

/// As many trials are kept apart: more than a sender has sizes. Later ones are not looked at.
const MAX_TRIALS: usize = 256;

/// After how long of silence the sender has ended.
const SILENCE_NS: u64 = 3_000_000_000;

/// A trial of the sender, as it looks from here.
struct Incoming {
    number: u16,
    size: usize,
    tally: Tally,
    first_ns: u64,
    last_ns: u64,
}

impl Incoming {
    /// Takes a frame, unless it is another trial's.
    fn take(&mut self, stamp: Result<Stamp, Unfit>, now_ns: u64) {
        if stamp.is_ok_and(|stamp| stamp.trial != self.number) {
            return;
        }
        self.last_ns = now_ns;
        self.tally.take(stamp, None);
    }
}

/// Takes what comes, until nothing has come for a while after something has, or until it is interrupted.
pub(super) fn run(port: &mut impl Port, interrupt: &Interrupt) -> Report {
    let clock = Clock::new();
    let mut receiver = Receiver::new(port, clock);
    let mut trials: Vec<Incoming> = Vec::new();
    let is_silent = |trials: &[Incoming]| {
        trials.last().is_some_and(|newest| clock.now_ns().saturating_sub(newest.last_ns) > SILENCE_NS)
    };
    while !interrupt.is_raised() && !is_silent(&trials) {
        receiver.step(|stamp, now_ns| {
            if let Ok(Stamp { size, trial, .. }) = stamp
                && trials.len() < MAX_TRIALS
                && trials.iter().all(|known| known.number != trial)
            {
                let (first_ns, last_ns) = (now_ns, now_ns);
                trials.push(Incoming { number: trial, size, tally: Tally::new(), first_ns, last_ns });
            }
            if let Some(newest) = trials.last_mut() {
                newest.take(stamp, now_ns);
            }
        });
    }
    let trial = |Incoming { size, tally, first_ns, last_ns, .. }: &Incoming| {
        Trial::of_receiver(*size, tally, Duration::from_nanos(last_ns - first_ns))
    };
    Report { trials: trials.iter().map(trial).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::stamped::Template;
    use datapath::port::memory::{self, MemoryConfig};
    use fc::wire::MacAddr;

    #[test]
    fn trials_are_told_apart() {
        let (mut port, mut wire) = memory::wire(MemoryConfig::default());
        let mut push = |size, trial, number| {
            let mut buffer = [0; 2304];
            let len = Template::new(size, trial, MacAddr::ZERO, MacAddr::ZERO).emit(&mut buffer, number, 0);
            assert!(wire.push(&buffer[..len]));
        };
        [0, 1, 3].into_iter().for_each(|number| push(302, 8, number));
        [1, 0].into_iter().for_each(|number| push(2158, 9, number));
        push(302, 8, 2);
        let report = run(&mut port, &Interrupt::default());
        let seen: Vec<_> = report
            .trials
            .iter()
            .map(|trial| (trial.size_bytes, trial.received, trial.lost, trial.reordered))
            .collect();
        assert_eq!(seen, [(302, Some(3), Some(1), Some(0)), (2158, Some(2), Some(0), Some(1))]);
        assert!(report.trials.iter().all(|trial| trial.latency.is_none()));
    }
}
