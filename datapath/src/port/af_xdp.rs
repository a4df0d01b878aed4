//! A queue of a NIC through AF_XDP: four rings and a region of chunks (UMEM) shared with the kernel.
//!
//! ```text
//!                 fill ring                 receive ring
//!   free ------------------------> kernel ----------------> held
//!    ^                                                       |
//!    |    completion ring           transmit ring            | send
//!    +--------------------- kernel <-------------------------+
//! ```
//!
//! A chunk is in one place at a time: free, in the kernel's hands between two rings, or held by the port's user.
//! Only chunks that are held are read or written here, and [`Frame`], which can't be copied, is the proof of it.
//!
//! Several sockets may be on one queue, each with a port and a thread of its own: they share the region, and the fill and
//! the completion ring.
//!
//! Steering frames into the socket is an XDP program's work; it wants the socket's descriptor ([`AsFd`]).
#![allow(unsafe_code)]

mod queue;
mod rings;

use super::chunks::{Chunks, checked_len};
use super::lending::Lending;
use super::napi::DeferredInterrupts;
use super::region::Region;
use super::socket::{interface_index, mtu, option};
use super::steering::ReceiveSteering;
use super::{Frame, FrameAccount, MAX_CHUNKS, Mode, Port, PortCounters, PortError, PortInfo, Waker};
use fc::in_place::InPlace;
use nix::sys::socket::{MsgFlags, recv};
use rings::{CHUNK_LEN, Rings, XDP_HEADROOM};
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;
use xsk_rs::FrameDesc;

/// Bytes that we leave free before a received frame.
///
/// `rep movsb`, with which both the kernel and libc copy, takes 10 to 25 times as long on Zen 3 if the target lies
/// 1 to 31 bytes after the source modulo a page. The kernel copies a frame from byte 256 of a page to byte 256 plus
/// this: 32 is clear of it. Payloads, 52 or (with a tag) 56 bytes into the frame, are copied to multiples of 2048
/// or 2112 in buffers that begin on a page: with 0 here one in 64 of the latter would be caught, with 32 none.
pub const HEADROOM: usize = 32;
/// Frames that one system call may send. The kernel's own 32 costs 2-4% more time a frame; more than veth's ring
/// of 256 would overflow it.
const SEND_BUDGET: u32 = 128;
/// Bytes of a chunk that a frame may have.
const CAPACITY: usize = CHUNK_LEN - XDP_HEADROOM - HEADROOM;
/// Descriptors that go to or come from a ring at a time. Larger ones gain nothing, and the cache lines of smaller
/// ones are written twice.
const BATCH: usize = 64;
/// How often a port that receives nothing looks whether the kernel wants to be told of chunks that it was given: it may have
/// found the fill ring empty just before.
const FILL_LOOK_INTERVAL: u32 = 1024;
/// How long a thread sleeps at most while frames wait for room in the driver's queue, of which nobody tells.
const RETRY: Duration = Duration::from_millis(1);
/// Drives the NIC's queue from the thread that polls it, where the driver can.
///
/// The interface's `napi_defer_hard_irqs` and `gro_flush_timeout` must be set too, or interrupts go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BusyPoll {
    /// Frames that a system call takes from the NIC at most; 64 to 256.
    pub budget: u16,
    /// How long a blocking call polls, in microseconds.
    pub poll_us: u16,
}

/// What to open, and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AfXdpConfig {
    /// The interface.
    pub interface: String,
    /// Its queue, counted from 0.
    pub queue: u32,
    /// Chunks to receive into. More bridge a longer absence of the thread: 2048 full frames are 360 us at 100 Gbit/s.
    /// Fewer stay warmer: 256 fit the second level cache, and a full frame over veth then takes about 14% less time.
    pub receive_frames: usize,
    /// Chunks to send from.
    pub transmit_frames: usize,
    /// Bytes that are left free before a received frame, beyond XDP's own 256; at most [`HEADROOM`], which is best.
    pub headroom: usize,
    /// Frames that one system call may send, where the kernel copies them (Linux 6.16).
    pub send_budget: u32,
    /// Ask for zero-copy; the kernel copies all the same where the driver can't.
    pub zero_copy: bool,
    /// Let the kernel say when it wants a system call, instead of making one every time.
    pub need_wakeup: bool,
    /// Poll the NIC from our thread.
    pub busy_poll: Option<BusyPoll>,
    /// Have the chunks in huge pages, if enough are reserved: fewer addresses to look up, for us and for the NIC.
    pub huge_pages: bool,
    /// How the XDP program is attached, for [`PortInfo`].
    pub mode: Mode,
}

impl AfXdpConfig {
    /// The usual choice for a queue.
    pub fn new(interface: impl Into<String>, queue: u32) -> Self {
        Self {
            interface: interface.into(),
            queue,
            receive_frames: 2048,
            transmit_frames: 1024,
            headroom: HEADROOM,
            send_budget: SEND_BUDGET,
            zero_copy: true,
            need_wakeup: true,
            busy_poll: None,
            huge_pages: false,
            mode: Mode::NativeXdp,
        }
    }
}

/// What the kernel counted for a socket (`struct xdp_statistics`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct XdpStatistics {
    /// Received frames that were dropped: too long for a chunk, or there was none.
    pub rx_dropped: u64,
    /// Received frames that were dropped because the receive ring was full.
    pub rx_ring_full: u64,
    /// How often the kernel found the fill ring empty.
    pub fill_ring_empty: u64,
    /// Descriptors of ours in the fill ring that the kernel refused.
    pub rx_invalid: u64,
    /// Descriptors of ours in the transmit ring that the kernel refused.
    pub tx_invalid: u64,
}

/// A queue of a NIC, or a share of one.
#[derive(Debug)]
pub struct AfXdpPort {
    info: PortInfo,
    rings: Rings,
    lending: Lending<Arc<Region>>,
    /// Which of the queue's sockets it is.
    socket: u8,
    /// Looks for frames in a row that found none.
    idle: u32,
    /// Where the frame in each chunk begins. The kernel says so of received ones.
    descriptors: Box<[FrameDesc]>,
    batch: Box<[FrameDesc; BATCH]>,
    queued: Vec<FrameDesc>,
    chunks: Chunks,
    counters: PortCounters,
    busy_poll: BusyPolling,
    /// What the interface was set to for who polls it.
    deferred: Option<Arc<DeferredInterrupts>>,
    /// Where the kernel receives, if that is for the port to say.
    steering: Option<Box<ReceiveSteering>>,
}

/// Whether empty rings are worth a system call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum BusyPolling {
    Off,
    /// Asked for; the socket learns which queue to poll, if the driver can, with its first frame.
    Unknown,
    On,
}

impl AfXdpPort {
    /// Opens a queue. No frame comes before the XDP program has been given the socket.
    ///
    /// # Errors
    /// No such interface or queue, another socket has it, no right to it, no memory: see [`PortError`].
    pub fn open(config: &AfXdpConfig) -> Result<Self, PortError> {
        let ports = Self::open_shared(config, 1)?;
        Ok(ports.into_iter().next().expect("one was asked for"))
    }

    /// Opens a queue for `count` ports, each with as many chunks as the configuration says. The XDP program chooses which
    /// of them a frame comes to. Close them together: a chunk that is with one is lost to the others when it closes.
    ///
    /// # Errors
    /// As [`Self::open`].
    ///
    /// # Panics
    /// If `count` is 0 or more than 255, or the headroom more than [`HEADROOM`].
    pub fn open_shared(config: &AfXdpConfig, count: usize) -> Result<Vec<Self>, PortError> {
        assert!((1..=usize::from(u8::MAX)).contains(&count), "{count} ports of one queue");
        assert!(config.headroom <= HEADROOM, "a headroom of {}", config.headroom);
        let interface = &config.interface;
        let (receive, transmit) = (config.receive_frames, config.transmit_frames);
        interface_index(interface)?;
        let total = receive.saturating_add(transmit).saturating_mul(count);
        if receive == 0 || transmit == 0 || total > MAX_CHUNKS {
            return Err(PortError::FrameCount {
                interface: interface.clone(),
                receive_frames: receive,
                transmit_frames: transmit,
            });
        }
        let (rings, descriptors) = Rings::open(config, count)?;
        let port = |(socket, rings): (usize, Rings)| {
            let chunks = Chunks::shared(receive, transmit, socket, count);
            Self::new(config, rings, socket as u8, chunks, descriptors.clone().into_boxed_slice())
        };
        rings.into_iter().enumerate().map(port).collect()
    }

    fn new(
        config: &AfXdpConfig,
        rings: Rings,
        socket: u8,
        chunks: Chunks,
        descriptors: Box<[FrameDesc]>,
    ) -> Result<Self, PortError> {
        let interface = &config.interface;
        let zero_copy = rings
            .set_options(config)
            .map_err(|source| PortError::new("set the options of an AF_XDP socket", interface, source))?;
        let info = PortInfo {
            interface: interface.clone(),
            queue: config.queue,
            mode: config.mode,
            zero_copy,
            need_wakeup: config.need_wakeup,
            mtu: mtu(interface)?,
        };
        let lending = Lending::new(Arc::clone(&rings.region), &chunks);
        let queued = Vec::with_capacity(descriptors.len());
        let mut port = Self {
            info,
            // Huge pages go with the kernel's end of the region.
            lending: if rings.region.is_own() { lending } else { lending.without_loans() },
            rings,
            socket,
            idle: 0,
            descriptors,
            batch: Box::new([FrameDesc::default(); BATCH]),
            queued,
            chunks,
            counters: PortCounters::default(),
            busy_poll: if config.busy_poll.is_some() { BusyPolling::Unknown } else { BusyPolling::Off },
            deferred: None,
            steering: None,
        };
        port.refill(true);
        Ok(port)
    }

    /// The interface defers its interrupts, for as long as the driver may let itself be polled.
    pub(super) fn set_deferred(&mut self, deferred: Option<Arc<DeferredInterrupts>>) {
        self.deferred = deferred;
    }

    /// The port says where its queue's frames are received.
    pub fn set_steering(&mut self, steering: Option<ReceiveSteering>) {
        self.steering = steering.map(Box::new);
    }

    /// Learns, with the first frame, whether there is a queue that we can poll.
    fn learn_queue(&mut self) {
        let napi = option::<u32>(&*self, libc::SOL_SOCKET, libc::SO_INCOMING_NAPI_ID);
        if napi.unwrap_or(0) > 0 {
            self.busy_poll = BusyPolling::On;
            return;
        }
        self.busy_poll = BusyPolling::Off;
        if let Some(deferred) = self.deferred.take() {
            deferred.put_back();
        }
        tracing::warn!(port = %self.info, "the driver does not let itself be polled: interrupts drive the queue");
    }

    /// What the kernel counted.
    pub fn statistics(&self) -> XdpStatistics {
        let statistics = self.rings.receive.fd().xdp_statistics().expect("the socket is open");
        XdpStatistics {
            rx_dropped: statistics.rx_dropped(),
            rx_ring_full: statistics.rx_ring_full(),
            fill_ring_empty: statistics.rx_fill_ring_empty_descs(),
            rx_invalid: statistics.rx_invalid_descs(),
            tx_invalid: statistics.tx_invalid_descs(),
        }
    }

    /// Gives the kernel all free chunks to receive into. If another port of the queue is at it, this one does it another
    /// time, unless it `must`.
    fn refill(&mut self, must: bool) {
        let Self { chunks, descriptors, .. } = self;
        let free = chunks.free_receive();
        let next = || descriptors[chunks.take_receive().expect("as many as are free")];
        let Some((count, needs_wakeup)) = self.rings.queue.fill(free, must, next) else { return };
        self.chunks.receiving(count as isize);
        if needs_wakeup {
            self.receive_doorbell();
        }
    }

    /// Lets the kernel or the driver look at the fill ring, or poll the NIC.
    fn receive_doorbell(&mut self) {
        // Nothing is ever read; what would block or is down comes by itself later.
        let _ = recv(self.rings.receive.fd().as_raw_fd(), &mut [], MsgFlags::MSG_DONTWAIT);
        self.counters.doorbells += 1;
    }

    /// Takes back what has been sent.
    fn reap(&mut self) {
        if self.chunks.is_sending() {
            let chunks = &mut self.chunks;
            let count = self.rings.queue.reap(self.socket, |chunk| chunks.free(chunk));
            chunks.sending(-(count as isize));
        }
    }

    /// Has the kernel take all descriptors from the transmit ring, or as many as there is room for below.
    fn send_doorbell(&mut self) -> io::Result<()> {
        let mut unsent = self.rings.unsent();
        while unsent > 0 && (!self.info.need_wakeup || self.rings.transmit.needs_wakeup()) {
            self.rings.transmit.wakeup()?;
            self.counters.doorbells += 1;
            // A driver that reads the ring itself goes on by itself. The copying kernel has done what it could.
            let left = self.rings.unsent();
            if self.info.zero_copy || left == unsent {
                break;
            }
            unsent = left;
        }
        Ok(())
    }

    /// Where in its chunk a frame begins.
    fn start(&self, chunk: usize) -> usize {
        self.descriptors[chunk].addr() % CHUNK_LEN
    }

    /// Sets the length of the frame in a chunk that the caller has exclusively.
    fn set_descriptor_len(&mut self, chunk: usize, len: usize) {
        let descriptor = &mut self.descriptors[chunk];
        // SAFETY: the descriptor is one of this UMEM's, and neither the kernel nor anybody here uses its chunk.
        unsafe { self.rings.umem.data_mut(descriptor) }.cursor().set_pos(len);
        assert_eq!(descriptor.lengths().data(), len, "a frame is longer than what is left of its chunk");
    }
}

impl Port for AfXdpPort {
    fn receive(&mut self, into: &mut Vec<Frame>, max: usize) -> usize {
        self.lending.take_back(&mut self.chunks);
        if self.chunks.free_receive() > 0 || self.idle == FILL_LOOK_INTERVAL {
            self.idle = 0;
            self.refill(false);
        }
        let mut received = 0;
        while received < max {
            let want = (max - received).min(BATCH);
            // SAFETY: the ring belongs to this UMEM; what is in the array before doesn't count.
            let count = unsafe { self.rings.receive.consume(&mut self.batch[..want]) };
            for descriptor in &self.batch[..count] {
                let (chunk, offset) = (descriptor.addr() / CHUNK_LEN, descriptor.addr() % CHUNK_LEN);
                let len = checked_len(descriptor.lengths().data(), CHUNK_LEN - offset);
                self.descriptors[chunk] = *descriptor;
                self.counters.received_bytes += u64::from(len);
                into.push(self.chunks.hand_out(chunk, len));
            }
            self.chunks.receiving(-(count as isize));
            received += count;
            if count < want {
                break;
            }
        }
        self.counters.received_frames += received as u64;
        self.idle = if received == 0 { self.idle + 1 } else { 0 };
        match self.busy_poll {
            BusyPolling::Off => {}
            BusyPolling::Unknown if received > 0 => self.learn_queue(),
            BusyPolling::On if received == 0 => self.receive_doorbell(),
            BusyPolling::Unknown | BusyPolling::On => {}
        }
        received
    }

    fn allocate(&mut self) -> Option<Frame> {
        self.chunks.allocate().or_else(|| {
            self.reap();
            self.chunks.allocate()
        })
    }

    fn data<'a>(&'a self, frame: &'a Frame) -> &'a [u8] {
        let chunk = self.chunks.of(frame);
        // SAFETY: the kernel doesn't use the chunk while there is a frame of it, and `buffer`, the only way to write to it,
        // wants the frame and the port exclusively.
        unsafe { self.rings.region.bytes(chunk, self.start(chunk), frame.len()) }
    }

    fn buffer<'a>(&'a mut self, frame: &'a mut Frame) -> &'a mut [u8] {
        let chunk = self.chunks.of(frame);
        let start = self.start(chunk);
        // SAFETY: as in `data`, and nobody reads the chunk: frame and port are borrowed exclusively.
        unsafe { self.rings.region.bytes_mut(chunk, start, CHUNK_LEN - start) }
    }

    fn set_len(&mut self, frame: &mut Frame, len: usize) {
        let chunk = self.chunks.of(frame);
        frame.set_len(checked_len(len, CAPACITY));
        self.set_descriptor_len(chunk, len);
    }

    fn capacity(&self) -> usize {
        CAPACITY
    }

    fn send(&mut self, frame: Frame) {
        let len = frame.len();
        let chunk = self.chunks.take_back(frame);
        self.chunks.sending(1);
        self.rings.queue.sends(self.socket, chunk);
        self.set_descriptor_len(chunk, len);
        let mut descriptor = self.descriptors[chunk];
        descriptor.set_options(0);
        self.queued.push(descriptor);
        self.counters.sent_frames += 1;
        self.counters.sent_bytes += len as u64;
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
        let frame_start = self.start(self.chunks.of(&frame));
        self.lending.lend(&mut self.chunks, frame, frame_start, data, (read, offset))
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.chunks.is_sending() {
            return Ok(());
        }
        if !self.queued.is_empty() {
            // SAFETY: the chunks were given up by `send` and belong to this ring's UMEM.
            let produced = unsafe { self.rings.transmit.produce(&self.queued) };
            assert_eq!(produced, self.queued.len(), "the transmit ring has a place for every chunk");
            self.queued.clear();
        }
        self.send_doorbell()?;
        self.reap();
        Ok(())
    }

    fn receive_on_this_cpu(&mut self, yes: bool) {
        let Some(steering) = &mut self.steering else { return };
        tracing::debug!(port = %self.info, here = yes, "has the kernel receive on this CPU, or not");
        if let Err(error) = steering.receive_here(yes) {
            tracing::info!(port = %self.info, %error, "frames are received by the CPU of who sends them");
            self.steering = None;
        }
    }

    fn wait(&mut self, waker: &Waker, timeout: Duration) -> io::Result<()> {
        self.lending.take_back(&mut self.chunks);
        self.refill(true);
        let timeout = if self.rings.unsent() > 0 { timeout.min(RETRY) } else { timeout };
        let receive = &mut self.rings.receive;
        // SAFETY: the descriptor is open as long as the rings are, which outlive this function.
        let socket = unsafe { BorrowedFd::borrow_raw(receive.fd().as_raw_fd()) };
        waker.wait_with(socket, timeout, || receive.nb_avail(1) > 0)
    }

    fn info(&self) -> &PortInfo {
        &self.info
    }

    fn counters(&self) -> PortCounters {
        let kernel = self.statistics();
        PortCounters {
            receive_drops: kernel.rx_dropped + kernel.rx_ring_full + kernel.rx_invalid,
            send_drops: kernel.tx_invalid,
            ..self.counters
        }
    }

    fn account(&self) -> FrameAccount {
        self.chunks.account()
    }
}

impl AsFd for AfXdpPort {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.rings.as_fd()
    }
}
