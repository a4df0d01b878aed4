//! What a disk is to those it is handed to.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;
use thiserror::Error;

/// What a block device looks like from outside. It doesn't change while the device is in use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Geometry {
    /// Bytes of a block: the unit of every offset and length.
    pub block_len: u32,
    /// How many blocks there are.
    pub blocks: u64,
    /// The most bytes of one operation; at least a block.
    pub max_operation_len: usize,
    /// Whether writes are refused.
    pub read_only: bool,
    /// Whether [`Operation::Discard`] is supported.
    pub discard: bool,
}

impl Geometry {
    /// Bytes of the device.
    pub fn len(&self) -> u64 {
        self.blocks.saturating_mul(self.block_len.into())
    }

    /// Whether `len` bytes at `offset` are whole blocks.
    pub fn is_aligned(&self, offset: u64, len: u64) -> bool {
        (offset | len).is_multiple_of(self.block_len.into())
    }

    /// Whether `len` bytes at `offset` are inside the device.
    pub fn contains(&self, offset: u64, len: u64) -> bool {
        offset.checked_add(len).is_some_and(|end| end <= self.len())
    }
}

/// What a block device can be asked for. Offsets and lengths are in bytes, whole blocks each, inside the device, and
/// no longer than it takes.
#[derive(Debug)]
pub enum Operation {
    /// Fill the buffer from `offset` on.
    Read {
        /// First byte.
        offset: u64,
        /// Where to.
        buffer: Box<[u8]>,
    },
    /// Write the buffer from `offset` on.
    Write {
        /// First byte.
        offset: u64,
        /// What.
        buffer: Box<[u8]>,
    },
    /// What has been written before stays, whatever happens.
    Flush,
    /// Nobody needs these bytes any more.
    Discard {
        /// First byte.
        offset: u64,
        /// How many.
        len: u32,
    },
}

/// Why an operation failed, in the terms that block protocols have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum BlockError {
    /// The device can't be written any more.
    #[error("the device is read-only")]
    ReadOnly,
    /// The device, or the way to it, failed.
    #[error("the device failed")]
    Io,
}

/// The end of an operation. There is exactly one for each.
#[derive(Debug)]
pub struct Finished {
    /// The number that the operation was submitted with.
    pub tag: u64,
    /// How it ended.
    pub result: Result<(), BlockError>,
    /// The buffer of a read or a write, given back.
    pub buffer: Option<Box<[u8]>>,
}

/// A disk that can be handed out.
pub trait BlockDevice: Send + Sync {
    /// What it looks like.
    fn geometry(&self) -> Geometry;

    /// A queue with up to `depth` operations out, for one thread.
    ///
    /// # Errors
    /// When there are not the means for it, such as descriptors.
    fn queue(&self, depth: usize) -> io::Result<Box<dyn BlockQueue>>;
}

/// One thread's way to a block device: operations in, ends out, in any order. Dropping it gives up what is out.
pub trait BlockQueue {
    /// Submits an operation; `tag` comes back with its end. [`Self::kick`] makes sure that it is seen.
    ///
    /// # Panics
    /// If as many as the queue's depth are out.
    fn submit(&mut self, tag: u64, operation: Operation);

    /// Makes sure that what was submitted is seen: once after a batch of it.
    fn kick(&self);

    /// The next operation that has ended. Never waits.
    fn poll(&mut self) -> Option<Finished>;

    /// Sleeps until an operation may have ended, `other` can be read, or `timeout` has passed.
    ///
    /// # Errors
    /// Those of poll(2).
    fn wait_with(&self, other: BorrowedFd<'_>, timeout: Duration) -> io::Result<()>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_held_against_the_geometry() {
        let geometry =
            Geometry { block_len: 512, blocks: 8, max_operation_len: 2048, read_only: false, discard: true };
        for (offset, len, aligned, inside) in [
            (0, 512, true, true),
            (0, 4096, true, true),
            (3584, 512, true, true),
            (3584, 1024, true, false),
            (4096, 0, true, true),
            (1, 512, false, true),
            (0, 100, false, true),
            (u64::MAX - 511, 512, true, false),
        ] {
            assert_eq!(geometry.is_aligned(offset, len), aligned, "{len} bytes at {offset}");
            assert_eq!(geometry.contains(offset, len), inside, "{len} bytes at {offset}");
        }
    }
}
