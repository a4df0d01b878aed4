//! What a disk can be asked for, and how that ends.

use crate::error::DiskError;
use fc::in_place::InPlace;
use fc::messages::Buffer;
use fc::time::Duration;

/// What a disk can be asked for. Addresses and lengths are in the disk's blocks.
#[derive(Debug)]
pub enum Request {
    /// Fill the buffer from `lba` on.
    Read {
        /// First block.
        lba: u64,
        /// A whole number of blocks.
        buffer: Buffer,
    },
    /// Read from `lba` on, and leave the data where it was received as far as that can be: see [`InPlace`].
    ReadInPlace {
        /// First block.
        lba: u64,
        /// Room for a whole number of blocks. What it holds of an earlier read goes.
        room: Box<InPlace>,
    },
    /// Write the buffer from `lba` on.
    Write {
        /// First block.
        lba: u64,
        /// A whole number of blocks.
        buffer: Buffer,
    },
    /// What has been written before stays, whatever happens to the target.
    Flush,
    /// Nobody needs these blocks' data any more.
    Discard {
        /// First block.
        lba: u64,
        /// How many.
        blocks: u32,
    },
}

impl Request {
    /// The first block and the bytes of one that moves data.
    pub(crate) fn data(&self) -> Option<(u64, usize)> {
        match self {
            Self::Read { lba, buffer } | Self::Write { lba, buffer } => Some((*lba, buffer.len())),
            Self::ReadInPlace { lba, room } => Some((*lba, room.len())),
            Self::Flush | Self::Discard { .. } => None,
        }
    }
}

/// The end of a request. There is exactly one for each.
#[derive(Debug)]
pub struct Done {
    /// The number that the request was submitted with.
    pub tag: u64,
    /// How it ended.
    pub result: Result<(), DiskError>,
    /// The buffer, given back. A discard gives back nothing.
    pub buffer: Option<Buffer>,
    /// Of a read in place, its room, which has all data if it went well. Until it is used again or cleared, the memory of the
    /// frames is lent: who keeps it for long has others copy.
    pub room: Option<Box<InPlace>>,
    /// From the submission to the last attempt's end, retries and their waits included.
    pub latency: Duration,
}

/// Why a request was not taken; its buffer is given back.
#[derive(Debug)]
pub struct Refused {
    /// Why.
    pub reason: DiskError,
    /// The request.
    pub request: Request,
}
