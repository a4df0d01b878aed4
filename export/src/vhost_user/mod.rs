//! A vhost-user-blk device: a disk in the memory of a virtual machine, without a copy by a socket.
//!
//! The front end, such as QEMU, hands over its guest's memory and rings; requests are read from these, and their data
//! is copied between guest and disk. The protocol is that of QEMU's `docs/interop/vhost-user.rst`; rings and requests
//! are those of VIRTIO 1.2, whose chapters are named at the rules. The crates `vhost`, `virtio-queue` and `vm-memory`
//! know messages, rings and mappings.
//!
//! A front end has a thread, which owns its rings, its queue to the disk and its socket: nothing of a request is locked.
//! `Requests` and `Ring`, and what these are made of, need no socket and no thread.
//!
//! **Exactly once.** What has been taken from a ring and not yet been given back is written down in memory that the
//! front end keeps (`inflight`). Whoever serves the ring next begins with that, in the same order, be it this process
//! or its successor.
//!
//! What a front end can cost: a thread, `MAX_RINGS` rings, `MAX_REQUESTS` requests, `MAX_OUT_LEN` bytes of data, and
//! the memory that it gives. What it does wrong ends its own connection.

mod chain;
mod config;
mod device;
mod inflight;
mod memory;
mod messages;
mod polling;
mod request;
mod requests;
mod ring;
mod server;
#[cfg(test)]
mod tests;

pub use memory::Trust;
pub use server::Server;

use thiserror::Error;
use vm_memory::{GuestAddress, GuestMemoryError};

/// Rings of a device. QEMU makes one for each CPU of its guest.
const MAX_RINGS: usize = 64;

/// Entries of a ring.
const MAX_RING_SIZE: u16 = 1024;

/// What a front end did wrong, so that its connection ends.
#[derive(Debug, Error)]
enum FrontEndError {
    /// Memory that it hasn't given.
    #[error("an address outside of its memory: {0}")]
    Memory(#[from] GuestMemoryError),
    /// An address of its own where it has no memory for us.
    #[error("a ring at {0:#x}, which is not in its memory")]
    RingAddress(u64),
    /// A ring that can't be used as it was set up.
    #[error("a ring of {size} entries that is not set up, or not in its memory")]
    Ring { size: u16 },
    /// What the ring's indices say can't be.
    #[error("ring: {0}")]
    Indices(#[from] virtio_queue::Error),
    /// A chain that begins or goes on at a descriptor that there isn't.
    #[error("descriptor {index} of {count}")]
    Descriptor { index: u16, count: u16 },
    /// A chain longer than its table, which is a loop.
    #[error("a chain of more than {0} descriptors")]
    Loop(u16),
    /// A table inside of a table, or of no whole descriptors, or too long.
    #[error("a table of {0} bytes for indirect descriptors")]
    Indirect(u32),
    /// VIRTIO 2.7.4.2
    #[error("memory to read after memory to write")]
    Order,
    /// Not even a header and a status.
    #[error("a request of {readable} bytes to read and {writable} to write")]
    Short { readable: u64, writable: u64 },
    /// A request that is out comes again.
    #[error("descriptor {0} again, which was not given back")]
    Twice(u16),
    /// What it keeps of the requests that were out makes no sense.
    #[error("its record of requests in flight: {0}")]
    Inflight(&'static str),
    /// Memory or a record that can't be used.
    #[error("memory: {0}")]
    Mapping(#[from] memory::MappingError),
}

/// Part of a guest's memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Segment {
    address: GuestAddress,
    len: u32,
}
