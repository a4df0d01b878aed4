//! Whether to look for work before a thread sleeps.

use std::time::Duration;

/// How long a thread looks. Being woken takes some 5 to 50 us, on an idle and a busy machine; to look for much longer
/// takes more time from others than it wins.
const WINDOW: Duration = Duration::from_micros(32);

/// The most that experience counts, and where it says that looking is worth it.
const MAX_SCORE: u8 = 16;
const WORTH: u8 = MAX_SCORE / 2;

/// How often it is tried nevertheless: each so many sleeps.
const TRIAL: u8 = 64;

/// How long it is worth looking, by how often it was of use: where there are fewer CPUs than threads, those that have
/// the work to find can't do it meanwhile.
#[derive(Clone, Copy, Debug)]
pub(super) struct Polling {
    score: u8,
    sleeps: u8,
}

impl Polling {
    /// Without experience.
    pub(super) fn new() -> Self {
        Self { score: WORTH, sleeps: 0 }
    }

    /// How long to look now.
    pub(super) fn window(&self) -> Duration {
        if self.score >= WORTH || self.sleeps == 0 { WINDOW } else { Duration::ZERO }
    }

    /// Something was found.
    pub(super) fn found(&mut self) {
        self.score = (self.score + 1).min(MAX_SCORE);
    }

    /// Nothing was found, and the thread sleeps now.
    pub(super) fn sleeps(&mut self) {
        if !self.window().is_zero() {
            self.score = self.score.saturating_sub(1);
        }
        self.sleeps = (self.sleeps + 1) % TRIAL;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_vain_is_tried_less_and_less_and_never_given_up() {
        let mut polling = Polling::new();
        let mut looked = |is_found: bool, times: usize| {
            let look = |_| {
                let looks = !polling.window().is_zero();
                if looks && is_found {
                    polling.found()
                } else {
                    polling.sleeps()
                }
                usize::from(looks)
            };
            (0..times).map(look).sum::<usize>()
        };
        assert_eq!(looked(true, 100), 100);
        assert!(looked(false, 200) < 20);
        let rarely = looked(false, 640);
        assert!((10..12).contains(&rarely), "{rarely} times");
        assert!(looked(true, 1000) > 500, "it is of use again");
    }
}
