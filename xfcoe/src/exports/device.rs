//! A disk of the SAN, or a part of it, as a block device for the servers of disks.

use export::{BlockDevice, BlockError, BlockQueue, Finished, Geometry, Operation};
use fc::wire::scsi::SenseKey;
use initiator::{Disk, DiskError, DiskQueue, Request};
use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// A disk, or a part of it, that can be handed out.
pub struct DiskDevice {
    disk: Disk,
    /// The first block.
    start: u64,
    geometry: Geometry,
}

impl DiskDevice {
    /// The blocks `range` of a disk.
    ///
    /// # Panics
    /// If they reach beyond it.
    pub fn new(disk: Disk, range: Range<u64>, read_only: bool) -> Self {
        let info = disk.info();
        assert!(range.start <= range.end && range.end <= info.blocks, "{range:?} of {} blocks", info.blocks);
        let geometry = Geometry {
            block_len: info.block_len,
            blocks: range.end - range.start,
            max_operation_len: info.max_transfer_len,
            read_only: read_only || info.write_protected,
            discard: info.discard,
        };
        Self { start: range.start, geometry, disk }
    }
}

impl BlockDevice for DiskDevice {
    fn geometry(&self) -> Geometry {
        self.geometry.clone()
    }

    fn queue(&self, depth: usize) -> io::Result<Box<dyn BlockQueue>> {
        let queue = self.disk.queue(depth)?;
        Ok(Box::new(Queue {
            queue,
            start: self.start,
            block_len: self.geometry.block_len.into(),
            refused: VecDeque::new(),
        }))
    }
}

struct Queue {
    queue: DiskQueue,
    start: u64,
    block_len: u64,
    /// What the disk didn't take.
    refused: VecDeque<Finished>,
}

impl Queue {
    fn request(&self, operation: Operation) -> Request {
        let lba = |offset| self.start + offset / self.block_len;
        match operation {
            Operation::Read { offset, buffer } => Request::Read { lba: lba(offset), buffer },
            Operation::Write { offset, buffer } => Request::Write { lba: lba(offset), buffer },
            Operation::Flush => Request::Flush,
            Operation::Discard { offset, len } => {
                let blocks = u64::from(len) / self.block_len;
                Request::Discard {
                    lba: lba(offset),
                    blocks: u32::try_from(blocks).expect("no more than bytes"),
                }
            }
        }
    }
}

impl BlockQueue for Queue {
    fn submit(&mut self, tag: u64, operation: Operation) {
        let request = self.request(operation);
        let Err(refused) = self.queue.submit(tag, request) else { return };
        assert!(
            !matches!(refused.reason, DiskError::QueueFull),
            "more operations are out than the queue's depth"
        );
        let buffer = match refused.request {
            Request::Read { buffer, .. } | Request::Write { buffer, .. } => Some(buffer),
            Request::ReadInPlace { .. } | Request::Flush | Request::Discard { .. } => None,
        };
        self.refused.push_back(Finished { tag, result: Err(block_error(&refused.reason)), buffer });
    }

    fn kick(&self) {
        self.queue.kick();
    }

    fn poll(&mut self) -> Option<Finished> {
        self.refused.pop_front().or_else(|| {
            let done = self.queue.poll()?;
            let result = done.result.map_err(|error| {
                tracing::debug!(%error, "a request of an export failed");
                block_error(&error)
            });
            Some(Finished { tag: done.tag, result, buffer: done.buffer })
        })
    }

    fn wait_with(&self, other: BorrowedFd<'_>, timeout: Duration) -> io::Result<()> {
        let timeout = if self.refused.is_empty() { timeout } else { Duration::ZERO };
        Ok(self.queue.wait_with(other, timeout)?)
    }
}

/// Operations are right for the disk as it was: what doesn't fit any more is the disk's fault.
fn block_error(error: &DiskError) -> BlockError {
    match error {
        DiskError::Scsi { sense: Some(sense), .. } if sense.key == SenseKey::DATA_PROTECT => {
            BlockError::ReadOnly
        }
        _ => BlockError::Io,
    }
}
