//! Small random delays and numbers that a seed makes repeatable.

use crate::time::Duration;

/// A xorshift generator (Marsaglia, 2003). Spreads frames in time; no secret may come from it.
#[derive(Clone, Debug)]
pub(crate) struct Jitter(u64);

impl Jitter {
    /// Equal seeds give equal delays and numbers.
    pub(crate) const fn new(seed: u64) -> Self {
        // Zero is the one state that xorshift never leaves; neighbouring seeds shall not start alike.
        let mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        Self(if mixed == 0 { 1 } else { mixed })
    }

    /// A delay of zero up to `most`, in whole microseconds.
    pub(crate) fn up_to(&mut self, most: Duration) -> Duration {
        let most_us = u64::try_from(most.as_micros()).unwrap_or(u64::MAX - 1);
        Duration::from_micros((self.next() >> 16) % (most_us + 1))
    }

    /// A number of 16 bits.
    pub(crate) const fn number(&mut self) -> u16 {
        (self.next() >> 32) as u16
    }

    const fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_repeat_with_the_seed_and_spread_over_the_range() {
        let most = Duration::from_millis(100);
        for seed in [0, 1, 2, u64::MAX] {
            let (mut a, mut b) = (Jitter::new(seed), Jitter::new(seed));
            let delays: std::vec::Vec<_> = (0..200).map(|_| a.up_to(most)).collect();
            assert!(delays.iter().all(|&delay| delay <= most && delay == b.up_to(most)));
            assert!(delays.iter().any(|&delay| delay < most / 4));
            assert!(delays.iter().any(|&delay| delay > most * 3 / 4));
        }
        assert_eq!(Jitter::new(7).up_to(Duration::ZERO), Duration::ZERO);
    }
}
