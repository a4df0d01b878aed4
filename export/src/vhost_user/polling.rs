//! How long to look for work before a thread sleeps.

use std::time::Duration;

/// The longest that a thread looks in vain. Being woken takes some 5 to 50 us, on an idle and a busy machine; to look for
/// much longer takes more time from others than it wins.
const LONGEST: Duration = Duration::from_micros(32);

/// What it begins with when looking would have found something.
const FIRST: Duration = Duration::from_micros(4);

/// How long it is worth looking: learnt from how long the thread sleeps when it doesn't.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Polling {
    window: Duration,
}

impl Polling {
    /// How long to look now.
    pub(super) fn window(&self) -> Duration {
        self.window
    }

    /// The thread has slept for `time`, after it had looked in vain.
    pub(super) fn slept(&mut self, time: Duration) {
        self.window = if time <= LONGEST {
            (self.window * 2).clamp(FIRST, LONGEST)
        } else {
            // Twice in vain, and it's over.
            if self.window > FIRST { self.window / 2 } else { Duration::ZERO }
        };
    }
}
