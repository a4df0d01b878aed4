//! Ports of one process, joined in memory: for tests, the simulation and measurements without a NIC.
//!
//! A frame that is sent changes buffers with the lane between the ports and another one with the receiver's
//! chunk, so nothing is copied or allocated after set-up. A full lane drops and counts, as a NIC's ring does.
#![allow(unsafe_code)]

use super::chunks::{Chunks, checked_len};
use super::lane::{self, BUFFER_LEN, Buffer, LaneReceiver, LaneSender, Parcel, buffer};
use super::lending::{Lending, Memory};
use super::{Frame, FrameAccount, Mode, Port, PortCounters, PortInfo, Waker};
use fc::in_place::InPlace;
use fc::wire::ethernet::MAX_HEADER_LEN;
use std::cell::UnsafeCell;
use std::io;
use std::ops::Range;
use std::time::Duration;

/// How large the parts of a memory port are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemoryConfig {
    /// Received frames that the user can hold at a time.
    pub receive_frames: usize,
    /// Frames that can be allocated at a time.
    pub transmit_frames: usize,
    /// Frames that fit between two ports, each way.
    pub ring_frames: usize,
}

impl Default for MemoryConfig {
    /// A ring as veth's, and twice as many chunks at either end.
    fn default() -> Self {
        Self { receive_frames: 512, transmit_frames: 512, ring_frames: 256 }
    }
}

/// Two ports, each of which receives what the other sends.
///
/// # Panics
/// If a number of the configuration is 0 or the chunks are more than [`super::MAX_CHUNKS`].
pub fn pair(config: MemoryConfig) -> (MemoryPort, MemoryPort) {
    let (here, there) = wires(config.ring_frames);
    (MemoryPort::new(config, here, 0), MemoryPort::new(config, there, 1))
}

/// A port, and the bare end of its link: any bytes go in, and what the port sends comes out.
///
/// # Panics
/// As [`pair`].
pub fn wire(config: MemoryConfig) -> (MemoryPort, MemoryWire) {
    let (here, there) = wires(config.ring_frames);
    (MemoryPort::new(config, here, 0), there)
}

fn wires(ring_frames: usize) -> (MemoryWire, MemoryWire) {
    let (one, other) = (lane::lane(ring_frames), lane::lane(ring_frames));
    (MemoryWire { incoming: one.1, outgoing: other.0 }, MemoryWire { incoming: other.1, outgoing: one.0 })
}

/// The bare end of a link.
#[derive(Debug)]
pub struct MemoryWire {
    incoming: LaneReceiver<()>,
    outgoing: LaneSender<()>,
}

impl MemoryWire {
    /// Sends a copy of `bytes` at once; `false` when it was dropped: the link is full, or no chunk holds as much.
    pub fn push(&mut self, bytes: &[u8]) -> bool {
        if bytes.len() > BUFFER_LEN {
            return false;
        }
        let Some(mut buffer) = self.outgoing.take_spare() else { return false };
        buffer[..bytes.len()].copy_from_slice(bytes);
        self.outgoing.push(Parcel { buffer, len: bytes.len() as u16, about: () });
        self.outgoing.ring();
        true
    }

    /// The oldest frame that the port has flushed.
    pub fn pop(&mut self) -> Option<Vec<u8>> {
        self.pop_with(<[u8]>::to_vec)
    }

    /// What `read` makes of the oldest frame that the port has flushed.
    pub fn pop_with<R>(&mut self, read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        let parcel = self.incoming.pop()?;
        let result = read(&parcel.buffer[..parcel.len.into()]);
        self.incoming.give_spare(parcel.buffer);
        Some(result)
    }
}

/// A port whose link ends in the same process.
#[derive(Debug)]
pub struct MemoryPort {
    info: PortInfo,
    wire: MemoryWire,
    chunks: Chunks,
    lending: Lending<Buffers>,
    queued: Vec<(u16, u16)>,
    counters: PortCounters,
}

/// What is in each chunk. A chunk is the port's, unless it is lent: then it is only read.
#[derive(Debug)]
struct Buffers(Box<[UnsafeCell<Buffer>]>);

// SAFETY: a buffer is only reached by unsafe methods, whose callers promise that nobody is in the way.
unsafe impl Sync for Buffers {}

impl Buffers {
    /// # Safety
    /// Nobody writes to the chunk meanwhile.
    unsafe fn get(&self, chunk: usize) -> &Buffer {
        // SAFETY: the caller's.
        unsafe { &*self.0[chunk].get() }
    }

    /// # Safety
    /// Nobody else reads or writes the chunk meanwhile.
    #[expect(clippy::mut_from_ref, reason = "who calls it promises to be alone with the chunk")]
    unsafe fn get_mut(&self, chunk: usize) -> &mut Buffer {
        // SAFETY: the caller's.
        unsafe { &mut *self.0[chunk].get() }
    }
}

impl Memory for Buffers {
    unsafe fn bytes(&self, chunk: usize, start: usize, len: usize) -> &[u8] {
        // SAFETY: the caller's.
        let buffer = unsafe { self.get(chunk) };
        &buffer[start..][..len]
    }
}

impl MemoryPort {
    fn new(config: MemoryConfig, wire: MemoryWire, queue: u32) -> Self {
        let chunks = Chunks::new(config.receive_frames, config.transmit_frames);
        let info = PortInfo {
            interface: "memory".into(),
            queue,
            mode: Mode::Memory,
            zero_copy: true,
            need_wakeup: false,
            mtu: (BUFFER_LEN - MAX_HEADER_LEN) as u32,
        };
        let buffers = std::iter::repeat_with(|| UnsafeCell::new(buffer())).take(chunks.total()).collect();
        let lending = Lending::new(Buffers(buffers), &chunks);
        let queued = Vec::with_capacity(chunks.total());
        Self { info, wire, chunks, lending, queued, counters: PortCounters::default() }
    }

    /// Puts another buffer in the place of a chunk's, which is the port's and of which there is no frame.
    fn replace(&mut self, chunk: usize, buffer: Buffer) -> Buffer {
        // SAFETY: the chunk is free or being sent, and the port is borrowed exclusively: nobody has a reference to it.
        std::mem::replace(unsafe { self.lending.memory().get_mut(chunk) }, buffer)
    }

    /// The port on a link with this MTU. What is longer is lost.
    #[must_use]
    pub fn with_mtu(mut self, mtu: u32) -> Self {
        self.info.mtu = mtu;
        self
    }
}

impl Port for MemoryPort {
    fn receive(&mut self, into: &mut Vec<Frame>, max: usize) -> usize {
        self.lending.take_back(&mut self.chunks);
        let count = max.min(self.chunks.free_receive());
        for received in 0..count {
            let Some(parcel) = self.wire.incoming.pop() else { return received };
            let chunk = self.chunks.take_receive().expect("counted above");
            let spare = self.replace(chunk, parcel.buffer);
            self.wire.incoming.give_spare(spare);
            self.counters.received_frames += 1;
            self.counters.received_bytes += u64::from(parcel.len);
            into.push(self.chunks.hand_out(chunk, parcel.len));
        }
        count
    }

    fn allocate(&mut self) -> Option<Frame> {
        self.chunks.allocate()
    }

    fn data<'a>(&'a self, frame: &'a Frame) -> &'a [u8] {
        // SAFETY: there is a frame of the chunk, and `buffer`, the only way to write to it, wants that and the port
        // exclusively.
        let buffer = unsafe { self.lending.memory().get(self.chunks.of(frame)) };
        &buffer[..frame.len()]
    }

    fn buffer<'a>(&'a mut self, frame: &'a mut Frame) -> &'a mut [u8] {
        // SAFETY: as in `data`, and nobody reads it: frame and port are borrowed exclusively.
        let buffer = unsafe { self.lending.memory().get_mut(self.chunks.of(frame)) };
        &mut buffer[..]
    }

    fn set_len(&mut self, frame: &mut Frame, len: usize) {
        self.chunks.of(frame);
        frame.set_len(checked_len(len, BUFFER_LEN));
    }

    fn capacity(&self) -> usize {
        BUFFER_LEN
    }

    fn send(&mut self, frame: Frame) {
        let len = frame.len() as u16;
        let chunk = self.chunks.take_back(frame);
        self.chunks.sending(1);
        self.queued.push((chunk as u16, len));
    }

    fn release(&mut self, frame: Frame) {
        let chunk = self.chunks.take_back(frame);
        self.chunks.free(chunk);
    }

    fn lend(
        &mut self,
        frame: Frame,
        data: Range<usize>,
        read: &mut InPlace,
        offset: u32,
    ) -> Result<(), Frame> {
        self.lending.lend(&mut self.chunks, frame, 0, data, (read, offset))
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.queued.is_empty() {
            return Ok(());
        }
        let longest = MAX_HEADER_LEN + self.info.mtu as usize;
        let mut queued = std::mem::take(&mut self.queued);
        for (chunk, len) in queued.drain(..) {
            let chunk = usize::from(chunk);
            if usize::from(len) > longest {
                self.counters.send_drops += 1;
            } else if let Some(spare) = self.wire.outgoing.take_spare() {
                let buffer = self.replace(chunk, spare);
                self.wire.outgoing.push(Parcel { buffer, len, about: () });
                self.counters.sent_frames += 1;
                self.counters.sent_bytes += u64::from(len);
            } else {
                self.counters.send_drops += 1;
            }
            self.chunks.sending(-1);
            self.chunks.free(chunk);
        }
        self.queued = queued;
        self.counters.doorbells += 1;
        self.wire.outgoing.ring();
        Ok(())
    }

    fn wait(&mut self, waker: &Waker, timeout: Duration) -> io::Result<()> {
        self.wire.incoming.wait(waker, timeout)
    }

    fn info(&self) -> &PortInfo {
        &self.info
    }

    fn counters(&self) -> PortCounters {
        self.counters
    }

    fn account(&self) -> FrameAccount {
        self.chunks.account()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    const SMALL: MemoryConfig = MemoryConfig { receive_frames: 4, transmit_frames: 8, ring_frames: 6 };

    #[test]
    fn a_full_link_and_a_full_port_drop_like_a_nic() {
        let (mut sender, mut receiver) = pair(SMALL);
        for number in 0..8 {
            assert!(sender.send_copy(&[number; 60]));
        }
        assert!(sender.allocate().is_none());
        assert_eq!(
            sender.account(),
            FrameAccount { total: 12, free: 4, receiving: 0, sending: 8, held: 0, lent: 0 }
        );
        sender.flush().unwrap();
        let counters = sender.counters();
        assert_eq!((counters.sent_frames, counters.sent_bytes, counters.send_drops), (6, 360, 2));

        let mut frames = Vec::new();
        assert_eq!(receiver.receive(&mut frames, 10), 4, "all its chunks are out after four");
        assert_eq!(receiver.receive(&mut frames, 10), 0);
        for (number, frame) in frames.drain(..).enumerate() {
            assert_eq!(receiver.data(&frame), [number as u8; 60]);
            receiver.release(frame);
        }
        assert_eq!(receiver.receive(&mut frames, 10), 2);
        frames.drain(..).for_each(|frame| receiver.send(frame));
        receiver.flush().unwrap();
        assert_eq!(sender.receive(&mut frames, 1), 1);
        assert_eq!(sender.data(&frames[0]), [4; 60], "a received frame goes back as it is");
        sender.release(frames.pop().unwrap());
    }

    #[test]
    fn a_link_loses_what_is_longer_than_its_mtu() {
        let (port, mut wire) = wire(SMALL);
        let mut port = port.with_mtu(1500);
        assert!(port.send_copy(&[1; MAX_HEADER_LEN + 1500]) && port.send_copy(&[2; MAX_HEADER_LEN + 1501]));
        port.flush().unwrap();
        assert_eq!(wire.pop().map(|frame| frame[0]), Some(1));
        assert_eq!((wire.pop(), port.counters().send_drops), (None, 1));
    }

    #[test]
    fn a_wire_takes_and_gives_any_bytes() {
        let (mut port, mut wire) = wire(SMALL);
        assert!(wire.push(&[]) && wire.push(&[7; BUFFER_LEN]));
        assert!(!wire.push(&[7; BUFFER_LEN + 1]));
        let mut frames = Vec::new();
        assert_eq!(port.receive(&mut frames, 9), 2);
        assert!(frames[0].is_empty());
        assert_eq!(port.data(&frames[1]), [7; BUFFER_LEN]);
        frames.drain(..).for_each(|frame| port.release(frame));

        port.send_copy(b"out");
        assert_eq!(wire.pop(), None, "nothing goes before it is flushed");
        port.flush().unwrap();
        assert_eq!(wire.pop().as_deref(), Some(&b"out"[..]));
    }

    #[test]
    fn a_flush_wakes_the_other_thread() {
        let (mut sender, mut receiver) = pair(SMALL);
        let waker = Waker::new().unwrap();
        let thread = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(30));
            assert!(sender.send_copy(b"wake up"));
            sender.flush().unwrap();
        });
        let before = Instant::now();
        let mut frames = Vec::new();
        while receiver.receive(&mut frames, 1) == 0 {
            assert!(before.elapsed() < Duration::from_secs(20), "nothing came");
            receiver.wait(&waker, Duration::from_secs(10)).unwrap();
        }
        assert!(before.elapsed() < Duration::from_secs(9));
        receiver.release(frames.pop().unwrap());
        thread.join().unwrap();
    }
}
