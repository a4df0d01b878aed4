//! Wakes a thread that sleeps on its queues.

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::time::Duration;

/// An eventfd that costs a system call only while its owner sleeps.
///
/// The owner says [`Self::prepare_to_sleep`], looks at its queues once more, sleeps in poll(2) on the descriptor
/// and says [`Self::awake`]. Others put something into a queue and then call [`Self::wake`]. One of the two always
/// sees the other: both write before a sequentially consistent fence and read after it.
#[derive(Debug)]
pub struct Waker {
    event: EventFd,
    asleep: AtomicBool,
}

impl Waker {
    /// A waker whose owner is awake.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn new() -> io::Result<Self> {
        let event = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?;
        Ok(Self { event, asleep: AtomicBool::new(false) })
    }

    /// The owner is about to sleep; it must look at its queues once more after this.
    pub fn prepare_to_sleep(&self) {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// The owner has stopped sleeping.
    pub fn awake(&self) {
        self.asleep.store(false, Ordering::Relaxed);
        // Nothing to read is the usual case: the sleep ended for another reason.
        let _ = self.event.read();
    }

    /// Wakes the owner if it sleeps or is about to.
    pub fn wake(&self) {
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::Relaxed) {
            // The counter can't overflow: it is at most 1 between two sleeps.
            let _ = self.event.write(1);
        }
    }

    /// Sleeps until woken or `timeout` has passed, for an owner that waits for nothing else. `is_ready` is asked
    /// once more before sleeping.
    ///
    /// # Errors
    /// Those of poll(2).
    pub fn wait(&self, timeout: Duration, is_ready: impl FnOnce() -> bool) -> io::Result<()> {
        self.sleep(&mut [PollFd::new(self.event.as_fd(), PollFlags::POLLIN)], timeout, is_ready)
    }

    /// As [`Self::wait`], and until `other` can be read.
    ///
    /// # Errors
    /// Those of poll(2); [`io::ErrorKind::BrokenPipe`] when `other` has an error of its own.
    pub fn wait_with(
        &self,
        other: BorrowedFd<'_>,
        timeout: Duration,
        is_ready: impl FnOnce() -> bool,
    ) -> io::Result<()> {
        let fds =
            &mut [PollFd::new(self.event.as_fd(), PollFlags::POLLIN), PollFd::new(other, PollFlags::POLLIN)];
        self.sleep(fds, timeout, is_ready)?;
        // What poll(2) didn't get to say is empty.
        if fds[1].revents().is_some_and(|events| events.intersects(PollFlags::POLLERR | PollFlags::POLLNVAL))
        {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(())
    }

    fn sleep(
        &self,
        fds: &mut [PollFd<'_>],
        timeout: Duration,
        is_ready: impl FnOnce() -> bool,
    ) -> io::Result<()> {
        self.prepare_to_sleep();
        let result = if is_ready() {
            Ok(0)
        } else {
            // Rounded up: a timeout below a millisecond must not spin.
            let timeout =
                PollTimeout::try_from(timeout.as_micros().div_ceil(1000)).unwrap_or(PollTimeout::MAX);
            match poll(fds, timeout) {
                Err(nix::Error::EINTR) => Ok(0),
                result => result,
            }
        };
        self.asleep.store(false, Ordering::Relaxed);
        // What is written only now makes the next sleep a short one, which reads it.
        if result? > 0 && fds[0].any().unwrap_or(true) {
            let _ = self.event.read();
        }
        Ok(())
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::Instant;

    #[test]
    fn a_sleeper_is_woken_and_a_waker_that_is_awake_costs_nothing() {
        let waker = Arc::new(Waker::new().unwrap());
        waker.wake();
        let before = Instant::now();
        waker.wait(Duration::from_millis(20), || false).unwrap();
        assert!(before.elapsed() >= Duration::from_millis(20), "woken although nobody slept when wake came");

        let other = Arc::clone(&waker);
        let thread = std::thread::spawn(move || {
            while !other.asleep.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
            other.wake();
        });
        let before = Instant::now();
        waker.wait(Duration::from_secs(10), || false).unwrap();
        assert!(before.elapsed() < Duration::from_secs(9));
        thread.join().unwrap();
    }

    #[test]
    fn what_was_written_for_one_sleep_shortens_no_more_than_the_next() {
        let waker = Waker::new().unwrap();
        let sleep = |is_ready| {
            let before = Instant::now();
            let look = || {
                if is_ready {
                    waker.wake();
                }
                is_ready
            };
            waker.wait(Duration::from_millis(20), look).unwrap();
            before.elapsed()
        };
        sleep(true);
        sleep(false);
        assert!(sleep(false) >= Duration::from_millis(20));
    }

    #[test]
    fn who_is_ready_does_not_sleep() {
        let before = Instant::now();
        Waker::new().unwrap().wait(Duration::from_secs(10), || true).unwrap();
        assert!(before.elapsed() < Duration::from_secs(9));
    }
}
