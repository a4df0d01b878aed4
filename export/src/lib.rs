//! What a disk is to those it is handed to.
//!
//! [`BlockDevice`] is all that a server of disks needs to know of one. The program joins it to the initiator's
//! disks; nothing here knows of FCoE.

use std::time::Duration;
use thiserror::Error;

/// What a block device looks like from outside. It doesn't change while the device is in use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Geometry {
    /// Bytes of a block: the unit of every offset and length.
    pub block_len: u32,
    /// How many blocks there are.
    pub blocks: u64,
    /// The most bytes of one request.
    pub max_request_len: u32,
    /// Whether writes are refused.
    pub read_only: bool,
    /// Whether [`Operation::Discard`] is supported.
    pub discard: bool,
}

/// What a block device can be asked for. Offsets and lengths are in bytes, whole blocks each.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Operation {
    /// Give `len` bytes from `offset` on.
    Read {
        /// First byte.
        offset: u64,
        /// How many.
        len: u32,
    },
    /// Take these bytes from `offset` on.
    Write {
        /// First byte.
        offset: u64,
        /// What to write.
        data: Box<[u8]>,
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
    /// Beyond the end, no whole blocks, or longer than allowed.
    #[error("the request does not fit the device")]
    Invalid,
    /// The device can't be written.
    #[error("the device is read-only")]
    ReadOnly,
    /// The device doesn't do this.
    #[error("the device does not support this")]
    Unsupported,
    /// The device, or the way to it, failed.
    #[error("the device failed")]
    Io,
}

/// The end of an operation. There is exactly one for each.
#[derive(Debug)]
pub struct Finished {
    /// The number that the operation was submitted with.
    pub tag: u64,
    /// What was read, or nothing; or why it failed.
    pub result: Result<Box<[u8]>, BlockError>,
}

/// One thread's way to a block device: operations in, ends out, in any order.
pub trait BlockDevice {
    /// What the device looks like.
    fn geometry(&self) -> &Geometry;

    /// Submits an operation; `tag` comes back with its end.
    ///
    /// # Errors
    /// The operation is given back when as many as the device takes are out.
    fn submit(&mut self, tag: u64, operation: Operation) -> Result<(), Operation>;

    /// The next operation that has ended. Never waits.
    fn poll(&mut self) -> Option<Finished>;

    /// Sleeps until an operation may have ended, or `timeout` has passed.
    fn wait(&mut self, timeout: Duration);
}

impl Geometry {
    /// Whether `len` bytes at `offset` are whole blocks of the device.
    ///
    /// # Errors
    /// [`BlockError::Invalid`] if they aren't.
    pub fn check(&self, offset: u64, len: u32) -> Result<(), BlockError> {
        let block_len = u64::from(self.block_len);
        let aligned = offset.is_multiple_of(block_len) && u64::from(len).is_multiple_of(block_len);
        let size = self.blocks.saturating_mul(block_len);
        let inside = offset.checked_add(len.into()).is_some_and(|end| end <= size);
        if aligned && inside && len <= self.max_request_len { Ok(()) } else { Err(BlockError::Invalid) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_held_against_the_geometry() {
        let geometry =
            Geometry { block_len: 512, blocks: 8, max_request_len: 2048, read_only: false, discard: true };
        for (offset, len, fits) in [
            (0, 512, true),
            (2048, 2048, true),
            (0, 4096, false),
            (3584, 512, true),
            (3584, 1024, false),
            (4096, 0, true),
            (1, 512, false),
            (0, 100, false),
            (u64::MAX - 511, 512, false),
        ] {
            assert_eq!(geometry.check(offset, len).is_ok(), fits, "{len} bytes at {offset}");
        }
    }
}
