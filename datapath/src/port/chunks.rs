//! The books of a port's chunks: where each one is, in numbers that are counted apart and must add up.

use super::{Frame, FrameAccount, MAX_CHUNKS};
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};

/// Which chunks are free, and how many are where.
///
/// The first chunks are only received into and the others only allocated, so that a flood of received frames can't take
/// the chunk that an answer needs.
///
/// Ports may share a region. Chunks to receive into are then everybody's, as the kernel fills those that one port gave it
/// for any other; each port begins with the same number of them, and what it gives and what comes to it is counted against
/// that. Chunks to send from are each port's own.
#[derive(Debug)]
pub(super) struct Chunks {
    port: u32,
    /// Chunks of the region.
    region: usize,
    /// Those of them that are received into.
    all_receive: usize,
    own_transmit: Range<usize>,
    /// What this port began with.
    total: usize,
    free_receive: Vec<u16>,
    free_transmit: Vec<u16>,
    receiving: isize,
    sending: usize,
    held: usize,
    lent: usize,
}

impl Chunks {
    /// Books of a new port that has a region for itself, all chunks free.
    ///
    /// # Panics
    /// As [`Self::shared`].
    pub(super) fn new(receive: usize, transmit: usize) -> Self {
        Self::shared(receive, transmit, 0, 1)
    }

    /// Books of the port at `index` of `count` that share a region, each with so many chunks, all free.
    ///
    /// # Panics
    /// If the chunks of all ports are none or more than [`MAX_CHUNKS`], or this is the process's 2^32nd port.
    pub(super) fn shared(receive: usize, transmit: usize, index: usize, count: usize) -> Self {
        static PORTS: AtomicU32 = AtomicU32::new(0);
        let port = PORTS.fetch_add(1, Ordering::Relaxed);
        assert!(port != u32::MAX, "ports have no numbers left");

        let (total, all_receive) = (receive + transmit, count * receive);
        assert!(index < count && receive > 0 && transmit > 0, "{receive} + {transmit} chunks");
        let region = count * total;
        assert!(region <= MAX_CHUNKS, "{count} times {total} chunks");
        let share = |first: usize, len: usize| first + index * len..first + (index + 1) * len;
        let (own_receive, own_transmit) = (share(0, receive), share(all_receive, transmit));
        // Taken from the end, so that the first ones go first and the few that are in use stay warm.
        let mut free_receive = Vec::with_capacity(all_receive);
        free_receive.extend(own_receive.rev().map(|chunk| chunk as u16));
        let free_transmit = own_transmit.clone().rev().map(|chunk| chunk as u16).collect();
        Self {
            port,
            region,
            all_receive,
            own_transmit,
            total,
            free_receive,
            free_transmit,
            receiving: 0,
            sending: 0,
            held: 0,
            lent: 0,
        }
    }

    pub(super) fn total(&self) -> usize {
        self.total
    }

    /// Chunks of the region.
    pub(super) fn region(&self) -> usize {
        self.region
    }

    /// Chunks that this port began to receive into with.
    pub(super) fn receive(&self) -> usize {
        self.total - self.own_transmit.len()
    }

    pub(super) fn lent(&self) -> usize {
        self.lent
    }

    /// Whether a frame's chunk, which must be this port's, is one of those to receive into.
    #[inline]
    pub(super) fn is_received_into(&self, frame: &Frame) -> bool {
        self.of(frame) < self.all_receive
    }

    /// The chunk of a frame, which must be this port's.
    #[inline]
    pub(super) fn of(&self, frame: &Frame) -> usize {
        assert!(
            frame.port() == self.port && usize::from(frame.chunk()) < self.region,
            "a frame of port {} was given to port {}",
            frame.port(),
            self.port
        );
        frame.chunk().into()
    }

    /// A chunk to receive into. It counts as free until it is [`Self::receiving`] or handed out.
    pub(super) fn take_receive(&mut self) -> Option<usize> {
        self.free_receive.pop().map(usize::from)
    }

    pub(super) fn free_receive(&self) -> usize {
        self.free_receive.len()
    }

    /// A frame to fill.
    #[inline]
    pub(super) fn allocate(&mut self) -> Option<Frame> {
        let chunk = self.free_transmit.pop()?;
        Some(self.hand_out(chunk.into(), 0))
    }

    /// A frame of a chunk that was neither free nor in a ring a moment ago.
    ///
    /// # Panics
    /// If the chunk isn't this port's.
    #[inline]
    pub(super) fn hand_out(&mut self, chunk: usize, len: u16) -> Frame {
        assert!(chunk < self.region, "chunk {chunk} of {}", self.region);
        self.held += 1;
        Frame::new(self.port, chunk as u16, len)
    }

    /// The chunk of a frame that its user gives up; the caller says where it goes.
    #[inline]
    pub(super) fn take_back(&mut self, frame: Frame) -> usize {
        let chunk = self.of(&frame);
        self.held -= 1;
        chunk
    }

    /// The user has lent the frame to somebody else.
    #[inline]
    pub(super) fn lend(&mut self, frame: Frame) {
        self.take_back(frame);
        self.lent += 1;
    }

    /// What was lent lies idle.
    ///
    /// # Panics
    /// If the chunk isn't this port's.
    #[inline]
    pub(super) fn come_back(&mut self, chunk: usize) {
        self.lent -= 1;
        self.free(chunk);
    }

    /// The chunk lies idle.
    ///
    /// # Panics
    /// If the chunk isn't this port's.
    #[inline]
    pub(super) fn free(&mut self, chunk: usize) {
        if chunk < self.all_receive {
            self.free_receive.push(chunk as u16);
        } else {
            assert!(self.own_transmit.contains(&chunk), "chunk {chunk} is not this port's");
            self.free_transmit.push(chunk as u16);
        }
    }

    /// Chunks went into the kernel's fill ring (positive) or came out of its receive ring.
    #[inline]
    pub(super) fn receiving(&mut self, change: isize) {
        self.receiving += change;
    }

    /// Chunks were queued to be sent (positive) or have been.
    #[inline]
    pub(super) fn sending(&mut self, change: isize) {
        self.sending = self.sending.strict_add_signed(change);
    }

    pub(super) fn is_sending(&self) -> bool {
        self.sending > 0
    }

    pub(super) fn account(&self) -> FrameAccount {
        FrameAccount {
            total: self.total,
            free: self.free_receive.len() + self.free_transmit.len(),
            receiving: self.receiving,
            sending: self.sending,
            held: self.held,
            lent: self.lent,
        }
    }
}

impl Drop for Chunks {
    /// # Panics
    /// If a chunk was lost or is still held: somebody's frame would outlive its memory. What is lent keeps its memory.
    fn drop(&mut self) {
        let account = self.account();
        if !std::thread::panicking() {
            assert!(account.is_balanced(), "port {} lost chunks: {account:?}", self.port);
            assert!(
                account.held == 0,
                "port {} was closed before its frames came back: {account:?}",
                self.port
            );
        }
    }
}

/// Checks a frame's length against what a chunk holds.
///
/// # Panics
/// If it is more.
#[inline]
pub(super) fn checked_len(len: usize, capacity: usize) -> u16 {
    assert!(len <= capacity, "a frame of {len} bytes in a chunk of {capacity}");
    len as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_add_up_wherever_they_are() {
        let mut chunks = Chunks::new(2, 2);
        let first = chunks.allocate().unwrap();
        let second = chunks.allocate().unwrap();
        assert!(chunks.allocate().is_none(), "chunks to receive into were allocated");
        assert_eq!((chunks.of(&first), chunks.of(&second)), (2, 3));

        let sent = chunks.take_back(first);
        chunks.sending(1);
        let filled = chunks.take_receive().unwrap();
        chunks.receiving(1);
        let account = FrameAccount { total: 4, free: 1, receiving: 1, sending: 1, held: 1, lent: 0 };
        assert_eq!(chunks.account(), account);
        assert!(account.is_balanced());

        chunks.sending(-1);
        chunks.free(sent);
        chunks.receiving(-1);
        let received = chunks.hand_out(filled, 60);
        for frame in [second, received] {
            let chunk = chunks.take_back(frame);
            chunks.free(chunk);
        }
        assert_eq!(
            chunks.account(),
            FrameAccount { total: 4, free: 4, receiving: 0, sending: 0, held: 0, lent: 0 }
        );
    }

    #[test]
    fn ports_that_share_a_region_receive_into_each_others_chunks() {
        let (mut one, mut other) = (Chunks::shared(2, 1, 0, 2), Chunks::shared(2, 1, 1, 2));
        assert_eq!(
            (one.allocate().map(|f| one.take_back(f)), other.allocate().map(|f| other.take_back(f))),
            (Some(4), Some(5))
        );
        one.free(4);
        other.free(5);

        let filled = one.take_receive().unwrap();
        one.receiving(1);
        other.receiving(-1);
        let frame = other.hand_out(filled, 60);
        assert_eq!(
            other.account(),
            FrameAccount { total: 3, free: 3, receiving: -1, sending: 0, held: 1, lent: 0 }
        );
        let chunk = other.take_back(frame);
        other.free(chunk);
        assert!(one.account().is_balanced() && other.account().is_balanced());
        assert_eq!(one.account().receiving + other.account().receiving, 0);
    }

    #[test]
    #[should_panic(expected = "chunk 5 is not this port's")]
    fn another_ports_chunk_to_send_from_is_refused() {
        Chunks::shared(2, 1, 0, 2).free(5);
    }

    #[test]
    #[should_panic(expected = "was given to port")]
    fn another_ports_frame_is_refused() {
        let mut owner = Chunks::new(1, 1);
        let frame = owner.allocate().unwrap();
        Chunks::new(1, 1).of(&frame);
    }

    #[test]
    #[should_panic(expected = "was closed before its frames came back")]
    fn closing_with_a_frame_out_is_refused() {
        let _frame = Chunks::new(1, 1).allocate();
    }

    #[test]
    #[should_panic(expected = "lost chunks")]
    fn a_lost_chunk_is_noticed() {
        Chunks::new(1, 1).take_receive();
    }
}
