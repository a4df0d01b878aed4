//! Numbers that differ between ports and are the same at every start.

use fc::time::Duration;
use fc::wire::Wwn;

/// A sequence of numbers: xorshift.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// The sequence of the port with this name.
    pub(crate) fn new(name: Wwn) -> Self {
        Self(name.to_u64() | 1)
    }

    /// The next number.
    pub(crate) fn number(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Whole milliseconds between nothing and `max`.
    pub(crate) fn duration(&mut self, max: Duration) -> Duration {
        let max_ms = u64::try_from(max.as_millis()).unwrap_or(u64::MAX - 1);
        Duration::from_millis(self.number() % (max_ms + 1))
    }
}
