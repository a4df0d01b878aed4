//! One Ethernet queue: frames come, frames go, and every frame's memory is accounted for.
//!
//! A [`Frame`] is a move-only handle to a chunk of the port's memory. It can't be sent twice or used after it
//! was given back, because sending and releasing take it by value. Where it points is checked on every access,
//! in release builds too, and `free + in the kernel's rings + held + lent = total` holds at any time
//! ([`FrameAccount`]).
//!
//! A received frame may be lent to whose data it has ([`Port::lend`]), who may give it back from another thread, and when the
//! port is closed: the chunks' memory stays for as long.

pub mod af_packet;
pub mod af_xdp;
pub mod capture;
mod chunks;
mod error;
pub mod faults;
pub mod faulty;
mod flow_rules;
pub(crate) mod lane;
mod lending;
mod mac_filter;
pub mod memory;
mod napi;
pub mod nic;
pub mod pcapng;
pub mod prefetch;
mod region;
mod socket;
pub mod steering;
mod sysfs;
mod waker;
pub mod xdp;

pub use error::PortError;
pub use mac_filter::MacFilter;
pub use socket::queue_count;
pub use waker::Waker;

use fc::in_place::InPlace;
use std::fmt;
use std::io;
use std::ops::Range;
use std::time::Duration;

/// The most chunks that a port has: a chunk's number has 16 bits. 256 MiB in chunks of a page.
pub const MAX_CHUNKS: usize = 1 << 16;

/// A chunk of a port's memory with bytes of one Ethernet frame.
///
/// Dropping one loses its chunk until the port is closed, and closing then panics: give it back by
/// [`Port::release`] or [`Port::send`].
#[must_use = "a frame that is neither sent nor released is lost to its port"]
pub struct Frame(
    /// The number of its port, of its chunk, and its length, from the top. One word: with fields, a length that was
    /// written a moment ago would have the whole frame's move wait until it is in the cache, for 4 ns.
    u64,
);

impl Frame {
    const fn new(port: u32, chunk: u16, len: u16) -> Self {
        Self((port as u64) << 32 | (chunk as u64) << 16 | len as u64)
    }

    /// Which port it belongs to: another one's frame is refused.
    const fn port(&self) -> u32 {
        (self.0 >> 32) as u32
    }

    const fn chunk(&self) -> u16 {
        (self.0 >> 16) as u16
    }

    const fn set_len(&mut self, len: u16) {
        self.0 = self.0 >> 16 << 16 | len as u64;
    }

    /// Bytes of the Ethernet frame, without FCS.
    pub const fn len(&self) -> usize {
        (self.0 & 0xffff) as usize
    }

    /// Whether it holds no bytes yet.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "frame of {} bytes in chunk {} of port {}", self.len(), self.chunk(), self.port())
    }
}

/// Where a port's chunks are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameAccount {
    /// Chunks that the port has.
    pub total: usize,
    /// Chunks ready to be received into or allocated.
    pub free: usize,
    /// Chunks in the kernel's fill and receive rings. Of ports that share a queue, those that this port gave less those
    /// that came to it, and only their sum is what the kernel has.
    pub receiving: isize,
    /// Chunks in the kernel's transmit and completion rings.
    pub sending: usize,
    /// Chunks that the port's user holds as [`Frame`]s.
    pub held: usize,
    /// Chunks that are lent, with those that have come back since the last [`Port::receive`].
    pub lent: usize,
}

impl FrameAccount {
    /// Whether every chunk is somewhere, and once.
    pub fn is_balanced(&self) -> bool {
        (self.free + self.sending + self.held + self.lent).checked_add_signed(self.receiving)
            == Some(self.total)
    }
}

/// How a port reaches its NIC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// AF_XDP, the program run by the NIC's driver.
    NativeXdp,
    /// AF_XDP, the program run by the kernel's generic path.
    GenericXdp,
    /// A packet socket.
    AfPacket,
    /// Another port of the same process.
    Memory,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NativeXdp => "AF_XDP native",
            Self::GenericXdp => "AF_XDP generic",
            Self::AfPacket => "AF_PACKET",
            Self::Memory => "memory",
        })
    }
}

/// What a port turned out to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortInfo {
    /// The interface, or a name for a port without one.
    pub interface: String,
    /// The queue's number.
    pub queue: u32,
    /// How it reaches the NIC.
    pub mode: Mode,
    /// The NIC reads and writes the chunks itself.
    pub zero_copy: bool,
    /// The kernel says when it wants a system call to go on.
    pub need_wakeup: bool,
    /// The longest payload of an Ethernet frame that could be sent when the port was opened, in bytes.
    pub mtu: u32,
}

impl fmt::Display for PortInfo {
    /// Such as `eth0 queue 3: AF_XDP native, zero-copy, need-wakeup`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} queue {}: {}", self.interface, self.queue, self.mode)?;
        if let Mode::NativeXdp | Mode::GenericXdp = self.mode {
            f.write_str(if self.zero_copy { ", zero-copy" } else { ", copy" })?;
            f.write_str(if self.need_wakeup { ", need-wakeup" } else { "" })?;
        }
        Ok(())
    }
}

/// What a port counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PortCounters {
    /// Frames received.
    pub received_frames: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Frames sent.
    pub sent_frames: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Received frames that were dropped because nobody took the earlier ones in time.
    pub receive_drops: u64,
    /// Frames that could not be sent: the other end's ring or the driver's queue was full, or the link down.
    pub send_drops: u64,
    /// System calls that asked the kernel to send or to receive.
    pub doorbells: u64,
}

impl PortCounters {
    /// The sums of both.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            received_frames: self.received_frames + other.received_frames,
            received_bytes: self.received_bytes + other.received_bytes,
            sent_frames: self.sent_frames + other.sent_frames,
            sent_bytes: self.sent_bytes + other.sent_bytes,
            receive_drops: self.receive_drops + other.receive_drops,
            send_drops: self.send_drops + other.send_drops,
            doorbells: self.doorbells + other.doorbells,
        }
    }
}

/// One Ethernet queue.
///
/// Every method that takes a [`Frame`] panics if it is another port's.
pub trait Port {
    /// Moves up to `max` received frames to the end of `into` and gives their number. Never waits. Takes back what was lent
    /// and has been given back.
    fn receive(&mut self, into: &mut Vec<Frame>, max: usize) -> usize;

    /// An empty frame to fill and send; `None` when all are out, which [`Self::flush`] and time mend. There is
    /// always room to send what was allocated.
    fn allocate(&mut self) -> Option<Frame>;

    /// The frame's bytes; of an allocated one, what the chunk happens to hold.
    fn data<'a>(&'a self, frame: &'a Frame) -> &'a [u8];

    /// The frame's whole chunk, to write a frame to its front.
    fn buffer<'a>(&'a mut self, frame: &'a mut Frame) -> &'a mut [u8];

    /// Sets how many bytes of the frame count.
    ///
    /// # Panics
    /// If they are more than [`Self::capacity`].
    fn set_len(&mut self, frame: &mut Frame, len: usize);

    /// The most bytes that a frame holds.
    fn capacity(&self) -> usize;

    /// Queues the frame to be sent; [`Self::flush`] makes it go.
    fn send(&mut self, frame: Frame);

    /// Gives a frame back unsent.
    fn release(&mut self, frame: Frame);

    /// Lends `data` of a received frame: it is the read's data from `offset` on, of which nothing is there yet. The frame's
    /// memory comes back when the read is cleared or dropped.
    ///
    /// # Errors
    /// The frame is given back if half of the chunks to receive into are lent, the read has no room, or the port lends
    /// nothing.
    ///
    /// # Panics
    /// If the frame doesn't have the data.
    fn lend(
        &mut self,
        frame: Frame,
        data: Range<usize>,
        read: &mut InPlace,
        offset: u32,
    ) -> Result<(), Frame>;

    /// Queues a copy of `bytes` to be sent; `false` when no frame is to be had.
    ///
    /// # Panics
    /// If they are more than [`Self::capacity`].
    fn send_copy(&mut self, bytes: &[u8]) -> bool {
        let Some(mut frame) = self.allocate() else { return false };
        self.set_len(&mut frame, bytes.len());
        self.buffer(&mut frame)[..bytes.len()].copy_from_slice(bytes);
        self.send(frame);
        true
    }

    /// Rings the doorbell once for everything queued, and takes back what has been sent.
    ///
    /// # Errors
    /// When the interface is gone. A link that is down only drops.
    fn flush(&mut self) -> io::Result<()>;

    /// Has the kernel receive on the calling thread's CPU, or where it did when the port was opened. It is worth it for long
    /// reads. Where there is no choice, as with every NIC, nothing happens.
    fn receive_on_this_cpu(&mut self, _yes: bool) {}

    /// Sleeps until a frame can be received, `waker` is woken or `timeout` has passed, in whole milliseconds
    /// rounded up. May end early: look again.
    ///
    /// # Errors
    /// When the interface is gone.
    fn wait(&mut self, waker: &Waker, timeout: Duration) -> io::Result<()>;

    /// What the port turned out to be.
    fn info(&self) -> &PortInfo;

    /// What it counted.
    fn counters(&self) -> PortCounters;

    /// Where its chunks are.
    fn account(&self) -> FrameAccount;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_says_what_it_is() {
        let mut info = PortInfo {
            interface: "eth0".into(),
            queue: 3,
            mode: Mode::NativeXdp,
            zero_copy: true,
            need_wakeup: true,
            mtu: 2500,
        };
        assert_eq!(info.to_string(), "eth0 queue 3: AF_XDP native, zero-copy, need-wakeup");
        (info.mode, info.zero_copy, info.need_wakeup) = (Mode::GenericXdp, false, false);
        assert_eq!(info.to_string(), "eth0 queue 3: AF_XDP generic, copy");
        info.mode = Mode::AfPacket;
        assert_eq!(info.to_string(), "eth0 queue 3: AF_PACKET");
    }

    #[test]
    fn a_frame_is_one_word() {
        let mut frame = Frame::new(u32::MAX - 1, 0x1234, 60);
        frame.set_len(u16::MAX);
        assert_eq!((frame.port(), frame.chunk(), frame.len()), (u32::MAX - 1, 0x1234, 0xffff));
        frame.set_len(0);
        assert!(frame.is_empty() && frame.chunk() == 0x1234);
        assert_eq!(size_of::<Frame>(), 8);
    }
}
