//! A bounded lane of frames between two threads: one fills buffers, the other gives them back empty.

use super::Waker;
use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Bytes of a lane's buffer: the longest FCoE frame with a tag, 2176, in whole cache lines and with room for what
/// a test makes longer than allowed.
pub(crate) const BUFFER_LEN: usize = 2304;

/// A buffer that changes hands without being copied.
pub(crate) type Buffer = Box<[u8; BUFFER_LEN]>;

/// An empty buffer.
pub(crate) fn buffer() -> Buffer {
    // Boxed as a slice first: an array would be built on the stack.
    vec![0; BUFFER_LEN].into_boxed_slice().try_into().expect("the length is the array's")
}

/// A frame on a lane, with what its kind of lane says about it.
#[derive(Debug)]
pub(crate) struct Parcel<M> {
    pub(crate) buffer: Buffer,
    pub(crate) len: u16,
    pub(crate) about: M,
}

/// One direction. `spare + full = capacity` whenever nobody is between two calls: who has got a spare buffer has
/// got the place for it too, so that nothing allocates and nothing grows.
pub(crate) fn lane<M>(capacity: usize) -> (LaneSender<M>, LaneReceiver<M>) {
    let (full, their_full) = rtrb::RingBuffer::new(capacity);
    let (mut their_spare, spare) = rtrb::RingBuffer::new(capacity);
    while their_spare.push(buffer()).is_ok() {}
    let arrival = Arc::new(OnceLock::new());
    let receiver = LaneReceiver { full: their_full, spare: their_spare, arrival: Arc::clone(&arrival) };
    (LaneSender { full, spare, arrival }, receiver)
}

/// Made by the first sleep: lanes of a simulation, which never sleeps, need no descriptors.
type Arrival = Arc<OnceLock<Waker>>;

/// The end of a lane that frames are put on.
#[derive(Debug)]
pub(crate) struct LaneSender<M> {
    full: rtrb::Producer<Parcel<M>>,
    spare: rtrb::Consumer<Buffer>,
    arrival: Arrival,
}

/// The end of a lane that frames come out of.
#[derive(Debug)]
pub(crate) struct LaneReceiver<M> {
    full: rtrb::Consumer<Parcel<M>>,
    spare: rtrb::Producer<Buffer>,
    arrival: Arrival,
}

impl<M> LaneSender<M> {
    /// A buffer to put a frame into; `None` when the lane is full.
    pub(crate) fn take_spare(&mut self) -> Option<Buffer> {
        self.spare.pop().ok()
    }

    /// Puts a frame on the lane for which [`Self::take_spare`] gave a buffer.
    pub(crate) fn push(&mut self, parcel: Parcel<M>) {
        assert!(self.full.push(parcel).is_ok(), "a lane has more buffers than it was made with");
    }

    /// Wakes who waits for frames. Called once after a batch of [`Self::push`].
    pub(crate) fn ring(&self) {
        // Either the frames pushed before are seen by the look that follows the waker's making, or it is seen here.
        fence(Ordering::SeqCst);
        if let Some(arrival) = self.arrival.get() {
            arrival.wake();
        }
    }
}

impl<M> LaneReceiver<M> {
    /// Whether no frame is on the lane.
    pub(crate) fn is_empty(&self) -> bool {
        self.full.is_empty()
    }

    /// The oldest frame. Its buffer, or another, goes back by [`Self::give_spare`].
    pub(crate) fn pop(&mut self) -> Option<Parcel<M>> {
        self.full.pop().ok()
    }

    pub(crate) fn give_spare(&mut self, buffer: Buffer) {
        assert!(self.spare.push(buffer).is_ok(), "a lane got back more buffers than it gave");
    }

    /// Sleeps until a frame is on the lane, `waker` is woken or `timeout` has passed.
    ///
    /// # Errors
    /// Those of poll(2), and when the process has no descriptor left.
    pub(crate) fn wait(&self, waker: &Waker, timeout: Duration) -> io::Result<()> {
        let arrival = self.arrival()?;
        arrival.prepare_to_sleep();
        let result = waker.wait_with(arrival.as_fd(), timeout, || !self.full.is_empty());
        arrival.awake();
        result
    }

    /// Sleeps until a frame is on the lane or `timeout` has passed.
    ///
    /// # Errors
    /// As [`Self::wait`].
    pub(crate) fn wait_alone(&self, timeout: Duration) -> io::Result<()> {
        self.arrival()?.wait(timeout, || !self.full.is_empty())
    }

    fn arrival(&self) -> io::Result<&Waker> {
        if self.arrival.get().is_none() {
            // Only the reading end comes here, so nobody sets it in between.
            let _ = self.arrival.set(Waker::new()?);
        }
        Ok(self.arrival.get().expect("set above"))
    }
}
