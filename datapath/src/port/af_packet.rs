//! A NIC through a packet socket: where it has no XDP, and as a baseline.
//!
//! The kernel keeps every frame in memory of its own, so each is copied once each way. It also strips the VLAN
//! tag from what it receives and tells of it apart; it is put back here, so that frames look the same on every
//! kind of port.
#![allow(unsafe_code)]

use super::chunks::{Chunks, checked_len};
use super::lending::Lending;
use super::region::Region;
use super::socket::{interface_index, mtu, option, set_option, set_receive_buffer, set_send_buffer};
use super::{Frame, FrameAccount, MAX_CHUNKS, Mode, Port, PortCounters, PortError, PortInfo, Waker};
use fc::in_place::InPlace;
use libc::{c_int, c_void, iovec, mmsghdr, sockaddr_ll, socklen_t};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use std::cell::Cell;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;
use std::{mem, ptr};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes of a chunk: the longest FCoE frame with its tag, 2176, in whole cache lines.
const CHUNK_LEN: usize = 2304;
/// Bytes of an 802.1Q tag. Frames are received this far into their chunk, so that a tag can be put back by moving
/// the addresses alone.
const TAG_LEN: usize = 4;
/// Bytes of both MAC addresses.
const ADDRESSES_LEN: usize = 12;
/// Frames of one system call.
const BATCH: usize = 64;
/// Bytes of frames that the kernel holds for us until they are received, and of ours until they are sent: with
/// its book-keeping about 1700 full frames each.
const SOCKET_BUFFER_LEN: usize = 8 << 20;
/// How long a thread sleeps at most while frames wait for room in the socket.
const RETRY: Duration = Duration::from_millis(1);

/// `PACKET_AUXDATA`, `PACKET_STATISTICS`, `PACKET_IGNORE_OUTGOING` of linux/if_packet.h.
const PACKET_STATISTICS: c_int = 6;
const PACKET_AUXDATA: c_int = 8;
const PACKET_IGNORE_OUTGOING: c_int = 23;
/// The auxiliary data has a tag, and its EtherType.
const TP_STATUS_VLAN_VALID: u32 = 1 << 4;
const TP_STATUS_VLAN_TPID_VALID: u32 = 1 << 6;

/// Passes FCoE (FC-BB-5, 7.8) and FIP (7.9) and nothing else, as a classic BPF program. It sees frames
/// without their tags.
const FILTER: [libc::sock_filter; 5] = {
    const fn op(code: u32, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
        libc::sock_filter { code: code as u16, jt, jf, k }
    }
    const LOAD_HALF: u32 = libc::BPF_LD | libc::BPF_H | libc::BPF_ABS;
    const JUMP_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    const RETURN: u32 = libc::BPF_RET | libc::BPF_K;
    [
        op(LOAD_HALF, 0, 0, ADDRESSES_LEN as u32),
        op(JUMP_EQUAL, 1, 0, 0x8906),
        op(JUMP_EQUAL, 0, 1, 0x8914),
        op(RETURN, 0, 0, u32::MAX),
        op(RETURN, 0, 0, 0),
    ]
};

/// What to open.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AfPacketConfig {
    /// The interface.
    pub interface: String,
    /// Received frames that the user can hold at a time.
    pub receive_frames: usize,
    /// Frames that can be allocated at a time.
    pub transmit_frames: usize,
}

impl AfPacketConfig {
    /// The usual choice.
    pub fn new(interface: impl Into<String>) -> Self {
        Self { interface: interface.into(), receive_frames: 1024, transmit_frames: 1024 }
    }
}

/// FCoE and FIP of a NIC, of all its queues.
#[derive(Debug)]
pub struct AfPacketPort {
    info: PortInfo,
    socket: OwnedFd,
    chunks: Chunks,
    lending: Lending<Region>,
    /// Where in its chunk each frame begins.
    starts: Box<[u8]>,
    /// Chunk and length of the frames to send, oldest first.
    queued: Vec<(u16, u16)>,
    counters: PortCounters,
    /// Frames that the kernel had no room for; it forgets them once they were asked for.
    kernel_drops: Cell<u64>,
}

/// `struct tpacket_auxdata`.
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
struct AuxiliaryData {
    status: u32,
    len: u32,
    captured_len: u32,
    mac_offset: u16,
    net_offset: u16,
    vlan_tci: u16,
    vlan_tpid: u16,
}

/// A control message with [`AuxiliaryData`], as the kernel lays it out.
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
struct Control {
    len: u64,
    level: i32,
    kind: i32,
    data: AuxiliaryData,
    padding: [u8; 4],
}

impl AfPacketPort {
    /// Opens an interface.
    ///
    /// # Errors
    /// No such interface, no right to it: see [`PortError`].
    pub fn open(config: &AfPacketConfig) -> Result<Self, PortError> {
        let interface = &config.interface;
        let (receive, transmit) = (config.receive_frames, config.transmit_frames);
        let index = interface_index(interface)?;
        if receive == 0 || transmit == 0 || receive.saturating_add(transmit) > MAX_CHUNKS {
            return Err(PortError::FrameCount {
                interface: interface.clone(),
                receive_frames: receive,
                transmit_frames: transmit,
            });
        }
        let socket =
            open_socket(index).map_err(|source| PortError::new("open a packet socket", interface, source))?;
        let chunks = Chunks::new(receive, transmit);
        let region = Region::new(chunks.total(), CHUNK_LEN)
            .map_err(|source| PortError::new("find memory for frames", interface, source))?;
        Ok(Self {
            info: PortInfo {
                interface: interface.clone(),
                queue: 0,
                mode: Mode::AfPacket,
                zero_copy: false,
                need_wakeup: false,
                mtu: mtu(interface)?,
            },
            socket,
            lending: Lending::new(region, &chunks),
            starts: vec![TAG_LEN as u8; chunks.total()].into_boxed_slice(),
            queued: Vec::with_capacity(chunks.total()),
            chunks,
            counters: PortCounters::default(),
            kernel_drops: Cell::new(0),
        })
    }

    /// Receives up to a batch; the number of messages and whether the socket had more than that.
    fn receive_batch(&mut self, into: &mut Vec<Frame>, want: usize) -> usize {
        let mut chunks = [0; BATCH];
        // SAFETY: all zeros is valid for each of these structures of the kernel's interface.
        let (mut vectors, mut controls, mut messages) =
            unsafe { mem::zeroed::<([iovec; BATCH], [Control; BATCH], [mmsghdr; BATCH])>() };
        for slot in 0..want {
            let chunk = self.chunks.take_receive().expect("the caller counted them");
            chunks[slot] = chunk;
            // SAFETY: the chunk was free.
            let room = unsafe { self.lending.memory().bytes_mut(chunk, TAG_LEN, CHUNK_LEN - TAG_LEN) };
            vectors[slot] = iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() };
            let header = &mut messages[slot].msg_hdr;
            header.msg_iov = &raw mut vectors[slot];
            header.msg_iovlen = 1;
            header.msg_control = (&raw mut controls[slot]).cast();
            header.msg_controllen = size_of::<Control>() as _;
        }
        self.counters.doorbells += 1;
        // SAFETY: the first `want` headers point to memory of the lengths they say, all of which outlives the call
        // and which nobody else uses: the chunks were free.
        let result = unsafe {
            libc::recvmmsg(
                self.socket.as_raw_fd(),
                messages.as_mut_ptr(),
                want as u32,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        // Nothing there, or the link has gone down: either way there is no frame now.
        let count = usize::try_from(result).unwrap_or(0);
        for slot in 0..want {
            let chunk = chunks[slot];
            let message = &messages[slot];
            if slot >= count {
                self.chunks.free(chunk);
            } else if message.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 {
                self.counters.receive_drops += 1;
                self.chunks.free(chunk);
            } else {
                let tag = controls[slot].tag();
                let frame = self.take_in(chunk, message.msg_len as usize, tag);
                into.push(frame);
            }
        }
        count
    }

    /// Makes a frame of what was received into `chunk`, with its tag.
    fn take_in(&mut self, chunk: usize, len: usize, tag: Option<[u8; TAG_LEN]>) -> Frame {
        // SAFETY: the chunk was free, and there is no frame of it yet.
        let bytes = unsafe { self.lending.memory().bytes_mut(chunk, 0, CHUNK_LEN) };
        let len = match tag {
            Some(tag) if len >= ADDRESSES_LEN => {
                bytes.copy_within(TAG_LEN..TAG_LEN + ADDRESSES_LEN, 0);
                bytes[ADDRESSES_LEN..][..TAG_LEN].copy_from_slice(&tag);
                self.starts[chunk] = 0;
                len + TAG_LEN
            }
            _ => {
                self.starts[chunk] = TAG_LEN as u8;
                len
            }
        };
        let len = checked_len(len, CHUNK_LEN);
        self.counters.received_frames += 1;
        self.counters.received_bytes += u64::from(len);
        self.chunks.hand_out(chunk, len)
    }

    /// Sends up to a batch from the front of the queue; how many frames are done with.
    fn send_batch(&mut self) -> io::Result<usize> {
        // SAFETY: all zeros is valid for both structures.
        let (mut vectors, mut messages) = unsafe { mem::zeroed::<([iovec; BATCH], [mmsghdr; BATCH])>() };
        let want = self.queued.len().min(BATCH);
        for (slot, &(chunk, len)) in self.queued[..want].iter().enumerate() {
            let chunk = usize::from(chunk);
            // SAFETY: nobody writes to a chunk that is to be sent.
            let bytes = unsafe { self.lending.memory().bytes(chunk, self.starts[chunk].into(), len.into()) };
            // The kernel only reads.
            vectors[slot] = iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
            messages[slot].msg_hdr.msg_iov = &raw mut vectors[slot];
            messages[slot].msg_hdr.msg_iovlen = 1;
        }
        self.counters.doorbells += 1;
        // SAFETY: the first `want` headers point to bytes that outlive the call; the kernel copies them.
        let result = unsafe {
            libc::sendmmsg(self.socket.as_raw_fd(), messages.as_mut_ptr(), want as u32, libc::MSG_DONTWAIT)
        };
        match Errno::result(result) {
            Ok(sent) => {
                let sent = sent as usize;
                self.counters.sent_frames += sent as u64;
                let bytes = self.queued[..sent].iter().map(|&(_, len)| u64::from(len));
                self.counters.sent_bytes += bytes.sum::<u64>();
                Ok(sent)
            }
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(0),
            // The first frame is refused: the driver's queue is full, the link is down, or it is longer than the
            // link's MTU allows. What comes after it has its own fate.
            Err(Errno::ENOBUFS | Errno::ENETDOWN | Errno::EMSGSIZE | Errno::EINVAL) => {
                self.counters.send_drops += 1;
                Ok(1)
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl Port for AfPacketPort {
    fn receive(&mut self, into: &mut Vec<Frame>, max: usize) -> usize {
        self.lending.take_back(&mut self.chunks);
        let before = into.len();
        loop {
            let received = into.len() - before;
            let want = (max - received).min(BATCH).min(self.chunks.free_receive());
            if want == 0 || self.receive_batch(into, want) < want {
                return into.len() - before;
            }
        }
    }

    fn allocate(&mut self) -> Option<Frame> {
        let frame = self.chunks.allocate()?;
        self.starts[self.chunks.of(&frame)] = 0;
        Some(frame)
    }

    fn data<'a>(&'a self, frame: &'a Frame) -> &'a [u8] {
        let chunk = self.chunks.of(frame);
        // SAFETY: there is a frame of the chunk, and `buffer`, the only way to write to it, wants that and the port
        // exclusively.
        unsafe { self.lending.memory().bytes(chunk, self.starts[chunk].into(), frame.len()) }
    }

    fn buffer<'a>(&'a mut self, frame: &'a mut Frame) -> &'a mut [u8] {
        let chunk = self.chunks.of(frame);
        let start = self.starts[chunk].into();
        // SAFETY: as in `data`, and nobody reads it: frame and port are borrowed exclusively.
        unsafe { self.lending.memory().bytes_mut(chunk, start, CHUNK_LEN - start) }
    }

    fn set_len(&mut self, frame: &mut Frame, len: usize) {
        self.chunks.of(frame);
        frame.set_len(checked_len(len, self.capacity()));
    }

    fn capacity(&self) -> usize {
        // What every frame has, a received one too.
        CHUNK_LEN - TAG_LEN
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
        let frame_start = self.starts[self.chunks.of(&frame)].into();
        self.lending.lend(&mut self.chunks, frame, frame_start, data, (read, offset))
    }

    fn flush(&mut self) -> io::Result<()> {
        while !self.queued.is_empty() {
            let done = self.send_batch()?;
            if done == 0 {
                break;
            }
            for (chunk, _) in self.queued.drain(..done) {
                self.chunks.free(chunk.into());
            }
            self.chunks.sending(-(done as isize));
        }
        Ok(())
    }

    fn wait(&mut self, waker: &Waker, timeout: Duration) -> io::Result<()> {
        let timeout = if self.queued.is_empty() { timeout } else { timeout.min(RETRY) };
        match waker.wait_with(self.socket.as_fd(), timeout, || false) {
            // Reading the error clears it. A link that went down comes back to the same socket.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                match option::<c_int>(&self.socket, libc::SOL_SOCKET, libc::SO_ERROR)? {
                    0 | libc::ENETDOWN => Ok(()),
                    code => Err(io::Error::from_raw_os_error(code)),
                }
            }
            result => result,
        }
    }

    fn info(&self) -> &PortInfo {
        &self.info
    }

    fn counters(&self) -> PortCounters {
        /// `struct tpacket_stats`: frames passed, and dropped, since it was last asked for.
        type Statistics = [u32; 2];
        let asked = option::<Statistics>(&self.socket, libc::SOL_PACKET, PACKET_STATISTICS);
        let [_, dropped] = asked.expect("the socket is a packet socket");
        let kernel_drops = self.kernel_drops.get() + u64::from(dropped);
        self.kernel_drops.set(kernel_drops);
        PortCounters { receive_drops: self.counters.receive_drops + kernel_drops, ..self.counters }
    }

    fn account(&self) -> FrameAccount {
        self.chunks.account()
    }
}

impl Control {
    /// The tag that the kernel stripped, as it was on the wire.
    fn tag(&self) -> Option<[u8; TAG_LEN]> {
        let is_auxiliary = self.level == libc::SOL_PACKET && self.kind == PACKET_AUXDATA;
        if !is_auxiliary || self.data.status & TP_STATUS_VLAN_VALID == 0 {
            return None;
        }
        let has_type = self.data.status & TP_STATUS_VLAN_TPID_VALID != 0;
        let tag_type = if has_type { self.data.vlan_tpid } else { 0x8100 };
        let ([t0, t1], [v0, v1]) = (tag_type.to_be_bytes(), self.data.vlan_tci.to_be_bytes());
        Some([t0, t1, v0, v1])
    }
}

/// A packet socket of an interface that passes FCoE and FIP. It is bound last: nothing comes unfiltered.
fn open_socket(index: c_int) -> io::Result<OwnedFd> {
    let socket =
        socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None)?;
    let program = libc::sock_fprog { len: FILTER.len() as u16, filter: FILTER.as_ptr().cast_mut() };
    // SAFETY: the kernel copies the program, whose length is told, and doesn't write to it.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast::<c_void>(),
            size_of::<libc::sock_fprog>() as socklen_t,
        )
    };
    Errno::result(result)?;
    set_option(&socket, libc::SOL_PACKET, PACKET_AUXDATA, &1)?;
    set_option(&socket, libc::SOL_PACKET, PACKET_IGNORE_OUTGOING, &1)?;
    set_send_buffer(socket.as_fd(), SOCKET_BUFFER_LEN)?;
    set_receive_buffer(socket.as_fd(), SOCKET_BUFFER_LEN)?;

    // SAFETY: all zeros is a valid address.
    let mut address: sockaddr_ll = unsafe { mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = index;
    // SAFETY: the address is of the length told, and the kernel copies it.
    let result = unsafe {
        libc::bind(socket.as_raw_fd(), (&raw const address).cast(), size_of::<sockaddr_ll>() as socklen_t)
    };
    Errno::result(result)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stripped_tag_is_what_it_was_on_the_wire() {
        let mut control: Control = FromBytes::read_from_bytes(&[0; 40]).unwrap();
        assert_eq!(control.tag(), None, "there is no message at all");
        (control.level, control.kind) = (libc::SOL_PACKET, PACKET_AUXDATA);
        control.data.vlan_tci = 0x6123;
        assert_eq!(control.tag(), None, "priority and VLAN only count if the kernel says so");
        control.data.status = TP_STATUS_VLAN_VALID;
        assert_eq!(control.tag(), Some([0x81, 0x00, 0x61, 0x23]));
        control.data.status |= TP_STATUS_VLAN_TPID_VALID;
        control.data.vlan_tpid = 0x88a8;
        assert_eq!(control.tag(), Some([0x88, 0xa8, 0x61, 0x23]));
    }
}
