//! A value that one thread publishes and others look at or wait for.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The newest of a thread's published values. Looking never waits for the publisher's work, only for a pointer to be
/// exchanged.
pub(crate) struct Published<T> {
    value: Mutex<Arc<T>>,
    changed: Condvar,
}

impl<T> Published<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { value: Mutex::new(Arc::new(value)), changed: Condvar::new() }
    }

    pub(crate) fn publish(&self, value: T) {
        *self.value.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
        self.changed.notify_all();
    }

    pub(crate) fn get(&self) -> Arc<T> {
        Arc::clone(&self.value.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The first value that `wanted` likes, or the newest when `timeout` has passed.
    pub(crate) fn wait(&self, timeout: Duration, mut wanted: impl FnMut(&T) -> bool) -> Arc<T> {
        let deadline = Instant::now() + timeout;
        let mut value = self.value.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if wanted(&value) || left.is_zero() {
                return Arc::clone(&value);
            }
            value = self.changed.wait_timeout(value, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_sees_what_is_published() {
        let published = Arc::new(Published::new(0));
        assert_eq!(*published.wait(Duration::from_millis(5), |&value| value > 0), 0);
        let other = Arc::clone(&published);
        let thread = std::thread::spawn(move || (1..=3).for_each(|value| other.publish(value)));
        assert_eq!(*published.wait(Duration::from_secs(10), |&value| value == 3), 3);
        thread.join().unwrap();
        assert_eq!(*published.get(), 3);
    }
}
