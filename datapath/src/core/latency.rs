//! How long a target takes, and from that how long to wait until its silence means something.

use fc::time::Duration;

/// The least patience: a question is two short frames only, but a thread of the target may have to wait for its turn.
const MIN: Duration = Duration::from_micros(500);
/// Patience with a target of which nothing is known.
const FIRST: Duration = Duration::from_millis(100);

/// A target's latency, smoothed with its deviation as TCP does (RFC 6298, 2). What takes longer than 4 s counts as 4 s.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Latency {
    smoothed_ns: u32,
    deviation_ns: u32,
}

impl Latency {
    /// Notes what a command took, or has taken so far.
    pub(super) fn note(&mut self, latency: Duration) {
        let latency_ns = u32::try_from(latency.as_nanos()).unwrap_or(u32::MAX);
        if self.smoothed_ns == 0 {
            (self.smoothed_ns, self.deviation_ns) = (latency_ns, latency_ns / 2);
            return;
        }
        let error_ns = self.smoothed_ns.abs_diff(latency_ns);
        self.deviation_ns = self.deviation_ns - self.deviation_ns / 4 + error_ns / 4;
        self.smoothed_ns = self.smoothed_ns - self.smoothed_ns / 8 + latency_ns / 8;
    }

    /// After how long of silence the target is asked: no longer than `max`.
    pub(super) fn patience(&self, max: Duration) -> Duration {
        if self.smoothed_ns == 0 {
            return FIRST.min(max);
        }
        Duration::from_nanos(u64::from(self.smoothed_ns) + 4 * u64::from(self.deviation_ns)).max(MIN).min(max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: Duration = Duration::from_secs(2);

    #[test]
    fn patience_follows_the_target() {
        let mut latency = Latency::default();
        assert_eq!(latency.patience(MAX), FIRST);
        let steady = |latency: &mut Latency, each: Duration| {
            for _ in 0..100 {
                latency.note(each);
            }
            latency.patience(MAX)
        };
        assert_eq!(steady(&mut latency, Duration::from_micros(60)), MIN);
        let slow = steady(&mut latency, Duration::from_millis(20));
        assert!(slow >= Duration::from_millis(20) && slow < Duration::from_millis(21), "{slow:?}");
        assert_eq!(steady(&mut latency, Duration::from_secs(100)), MAX);
        assert_eq!(steady(&mut latency, Duration::MAX), MAX);
    }

    #[test]
    fn an_unsteady_target_gets_more() {
        let mut latency = Latency::default();
        for round in 0..100 {
            latency.note(Duration::from_millis(if round % 2 == 0 { 4 } else { 12 }));
        }
        let patience = latency.patience(MAX);
        assert!(patience > Duration::from_millis(16) && patience < Duration::from_millis(40), "{patience:?}");
    }
}
