//! A bounded lane of frames between two threads: one fills buffers, the other gives them back empty.

use super::Waker;
use crossbeam_queue::ArrayQueue;
use std::io;
use std::os::fd::AsFd;
use std::sync::OnceLock;
use std::sync::atomic::{Ordering, fence};
use std::time::Duration;

/// Bytes of a lane's buffer: the longest FCoE frame with a tag, 2176, in whole cache lines and with room for what
/// a test makes longer than allowed.
pub(super) const BUFFER_LEN: usize = 2304;

/// A buffer that changes hands without being copied.
pub(super) type Buffer = Box<[u8; BUFFER_LEN]>;

/// An empty buffer.
pub(super) fn buffer() -> Buffer {
    // Boxed as a slice first: an array would be built on the stack.
    vec![0; BUFFER_LEN].into_boxed_slice().try_into().expect("the length is the array's")
}

/// A frame on a lane, with what its kind of lane says about it.
#[derive(Debug)]
pub(super) struct Parcel<M> {
    pub(super) buffer: Buffer,
    pub(super) len: u16,
    pub(super) about: M,
}

/// One direction. `spare + full = capacity` whenever nobody is between two calls: who has got a spare buffer has
/// got the place for it too, so that nothing allocates and nothing grows.
#[derive(Debug)]
pub(super) struct Lane<M> {
    full: ArrayQueue<Parcel<M>>,
    spare: ArrayQueue<Buffer>,
    /// Made by the first sleep: lanes of a simulation, which never sleeps, need no descriptors.
    arrival: OnceLock<Waker>,
}

impl<M> Lane<M> {
    pub(super) fn new(capacity: usize) -> Self {
        let spare = ArrayQueue::new(capacity);
        while spare.push(buffer()).is_ok() {}
        Self { full: ArrayQueue::new(capacity), spare, arrival: OnceLock::new() }
    }

    /// A buffer to put a frame into; `None` when the lane is full.
    pub(super) fn take_spare(&self) -> Option<Buffer> {
        self.spare.pop()
    }

    /// Puts a frame on the lane for which [`Self::take_spare`] gave a buffer.
    pub(super) fn push(&self, parcel: Parcel<M>) {
        assert!(self.full.push(parcel).is_ok(), "a lane has more buffers than it was made with");
    }

    /// The oldest frame. Its buffer, or another, goes back by [`Self::give_spare`].
    pub(super) fn pop(&self) -> Option<Parcel<M>> {
        self.full.pop()
    }

    pub(super) fn give_spare(&self, buffer: Buffer) {
        assert!(self.spare.push(buffer).is_ok(), "a lane got back more buffers than it gave");
    }

    pub(super) fn is_empty(&self) -> bool {
        self.full.is_empty()
    }

    /// Wakes who waits for frames. Called once after a batch of [`Self::push`].
    pub(super) fn ring(&self) {
        // Either the frames pushed before are seen by the look that follows the waker's making, or it is seen here.
        fence(Ordering::SeqCst);
        if let Some(arrival) = self.arrival.get() {
            arrival.wake();
        }
    }

    /// Sleeps until a frame is on the lane, `waker` is woken or `timeout` has passed.
    ///
    /// # Errors
    /// Those of poll(2), and when the process has no descriptor left.
    pub(super) fn wait(&self, waker: &Waker, timeout: Duration) -> io::Result<()> {
        let arrival = self.arrival()?;
        arrival.prepare_to_sleep();
        let result = waker.wait_with(arrival.as_fd(), timeout, || !self.is_empty());
        arrival.awake();
        result
    }

    /// Sleeps until a frame is on the lane or `timeout` has passed.
    ///
    /// # Errors
    /// As [`Self::wait`].
    pub(super) fn wait_alone(&self, timeout: Duration) -> io::Result<()> {
        self.arrival()?.wait(timeout, || !self.is_empty())
    }

    fn arrival(&self) -> io::Result<&Waker> {
        if self.arrival.get().is_none() {
            // Only the reading end comes here, so nobody sets it in between.
            let _ = self.arrival.set(Waker::new()?);
        }
        Ok(self.arrival.get().expect("set above"))
    }
}
