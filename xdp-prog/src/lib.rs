//! The XDP program that steers FCoE and FIP frames into AF_XDP sockets: its object, and the layout that it
//! shares with whoever loads it.
//!
//! The program itself is `program/src/main.rs`. It is compiled for the kernel's BPF machine by another toolchain,
//! so its object is kept beside this file; `README.md` tells how to build it again.

#![no_std]

/// The program's name in the object and in `bpftool prog`.
pub const PROGRAM: &str = "xfcoe";

/// The AF_XDP sockets: an XSKMAP from [`slot`] (`u32`) to socket.
pub const SOCKETS: &str = "SOCKETS";
/// Our MAC addresses: a hash map from [`Mac`] to [`MacValue`].
pub const MACS: &str = "MACS";
/// What was done with the frames: a per-CPU array from [`Verdict`] (as `u32`) to `u64`.
pub const COUNTERS: &str = "COUNTERS";

/// A key of [`MACS`]: the address as on the wire.
pub type Mac = [u8; 6];
/// A value of [`MACS`]. Only that there is one counts; it is 0.
pub type MacValue = u8;

/// Receive queues that can have sockets: more than machines have cores to poll them. FCoE on queues beyond is left
/// to the kernel.
pub const MAX_QUEUES: usize = 256;
/// Places for sockets that each queue has, one for each value of an OX_ID's low three bits, by which an initiator tells
/// its cores apart. A queue with one socket has it in all of them.
pub const SLOTS_PER_QUEUE: usize = 8;
/// The slot of what has no OX_ID of a core's: FIP.
pub const CONTROL_SLOT: usize = SLOTS_PER_QUEUE - 1;
/// Where the OX_ID's low byte is, behind the EtherType: FCoE header (14), 17 bytes into the FC header.
pub const OX_ID_LOW_OFFSET: usize = 31;

/// The key of [`SOCKETS`] for frames of a queue whose OX_ID has these low bits.
pub const fn slot(queue: u32, low_bits: usize) -> u32 {
    queue * SLOTS_PER_QUEUE as u32 + low_bits as u32
}
/// MAC addresses that [`MACS`] holds. 128 virtual machines with 4 ports each on 32 hosts need 16,384; twice that
/// leaves room for a move, when a port has its old and its new address. About 2.5 MB of kernel memory.
pub const MAX_MACS: usize = 32_768;

/// The EtherType of FCoE (FC-BB-5, 7.8).
pub const FCOE: u16 = 0x8906;
/// The EtherType of FIP (FC-BB-5, 7.9).
pub const FIP: u16 = 0x8914;
/// The EtherType of an 802.1Q tag, the only tag that the program looks behind.
pub const VLAN: u16 = 0x8100;

/// Bytes of an Ethernet header without a tag.
pub const ETHERNET_LEN: usize = 14;
/// Bytes that an 802.1Q tag adds.
pub const TAG_LEN: usize = 4;
/// The least that follows the EtherType of an FCoE frame: FCoE header (14), FC header (24), CRC and EOF (8).
pub const MIN_FCOE_LEN: usize = 46;
/// The least that follows the EtherType of a FIP frame: the FIP header.
pub const MIN_FIP_LEN: usize = 10;

/// What the program did with a frame. The first two went to a socket of the queue's, all others on to the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Verdict {
    /// FCoE to one of our MAC addresses: to the socket.
    Fcoe = 0,
    /// FIP to anyone: to the socket.
    Fip = 1,
    /// FCoE to a MAC address that isn't ours: another stack's, or a multicast.
    ForeignMac = 2,
    /// FIP, or FCoE to one of our MAC addresses, that ends within its headers.
    Malformed = 3,
    /// FIP or FCoE for us on a queue that has no socket.
    NoSocket = 4,
    /// Everything else.
    Other = 5,
}

impl Verdict {
    /// All of them, in the order of their counters.
    pub const ALL: [Self; 6] =
        [Self::Fcoe, Self::Fip, Self::ForeignMac, Self::Malformed, Self::NoSocket, Self::Other];

    /// A name for metrics and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fcoe => "fcoe",
            Self::Fip => "fip",
            Self::ForeignMac => "foreign_mac",
            Self::Malformed => "malformed",
            Self::NoSocket => "no_socket",
            Self::Other => "other",
        }
    }
}

/// The program: an ELF object for the BPF machine, with BTF. Aligned, since loaders read its headers in place.
///
/// The program is built without it, as it can't contain itself.
#[cfg(not(target_arch = "bpf"))]
pub static OBJECT: &[u8] = &ALIGNED.0;

#[cfg(not(target_arch = "bpf"))]
#[repr(align(8))]
struct Aligned<B: ?Sized>(B);

#[cfg(not(target_arch = "bpf"))]
static ALIGNED: &Aligned<[u8]> = &Aligned(*include_bytes!("../xfcoe.bpf.o"));
