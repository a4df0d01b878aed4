//! How long to wait for an answer, and before something that failed is tried again.

use crate::jitter::Jitter;
use crate::time::Duration;

/// The wait after the first failure.
const FIRST: Duration = Duration::from_secs(1);
/// The longest wait, if not told otherwise: an outage may be over at any time, and a try costs the fabric one small frame.
pub const DEFAULT_RECONNECT_DELAY: Duration = Duration::from_secs(30);

/// Waits that double, each longer by up to a quarter, so that ports which failed together don't come back together.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    failures: u32,
    longest: Duration,
    jitter: Jitter,
}

impl Backoff {
    /// Equal seeds give equal waits. They are up to `longest`, and a second at least.
    pub(crate) fn new(seed: u64, longest: Duration) -> Self {
        Self { failures: 0, longest: longest.max(FIRST), jitter: Jitter::new(seed) }
    }

    /// Failures since the last success.
    pub(crate) const fn failures(&self) -> u32 {
        self.failures
    }

    /// How long to wait for an answer that may take `most`: 2 E_D_TOV at first, and twice as long after each
    /// failure. Where frames are lost the first try is, more often than the answer is slow; a port that is slow gets
    /// the time in the end.
    pub(crate) fn patience(&self, e_d_tov: Duration, most: Duration) -> Duration {
        e_d_tov.saturating_mul(2 << self.failures.min(16)).min(most)
    }

    /// It has worked.
    pub(crate) const fn reset(&mut self) {
        self.failures = 0;
    }

    /// It has failed: the time to wait.
    pub(crate) fn fail(&mut self) -> Duration {
        let doubled = FIRST.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        let wait = doubled.min(self.longest);
        wait + self.jitter.up_to(wait / 4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_grows_with_failures_up_to_what_an_answer_may_take() {
        let mut backoff = Backoff::new(7, DEFAULT_RECONNECT_DELAY);
        for expected in [4, 8, 16, 20, 20] {
            let patience = backoff.patience(Duration::from_secs(2), Duration::from_secs(20));
            assert_eq!(patience, Duration::from_secs(expected));
            backoff.fail();
        }
        assert_eq!(backoff.patience(Duration::from_secs(2), Duration::from_secs(1)), Duration::from_secs(1));
    }

    #[test]
    fn waits_double_up_to_the_longest_and_start_anew() {
        let mut backoff = Backoff::new(7, DEFAULT_RECONNECT_DELAY);
        for expected in [1, 2, 4, 8, 16, 30, 30] {
            let (wait, expected) = (backoff.fail(), Duration::from_secs(expected));
            assert!((expected..=expected * 5 / 4).contains(&wait), "{wait:?}");
        }
        assert_eq!(backoff.failures(), 7);
        backoff.reset();
        assert!(backoff.fail() < Duration::from_secs(2));
    }

    #[test]
    fn waits_end_where_they_are_told_to() {
        for (longest, expected) in [(4, 4), (0, 1)] {
            let mut backoff = Backoff::new(7, Duration::from_secs(longest));
            let last = (0..10).map(|_| backoff.fail()).last().unwrap();
            let expected = Duration::from_secs(expected);
            assert!(last >= expected && last <= expected + expected / 4, "{last:?}");
        }
    }
}
