//! A logical unit as a disk.

use crate::disk_state::DiskState;
use crate::disks::{Disks, QueueTurn};
use crate::error::DiskError;
use crate::path::{Path, PortNumber};
use crate::queue::DiskQueue;
use crate::request::Request;
use datapath::consumer::MAX_TRANSFER_LEN;
use datapath::core::Task;
use datapath::core::thread::CoreHandle;
use datapath::port::Waker;
use fc::lun_scan::LogicalUnit;
use fc::messages::Buffer;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Requests that a blocking call has out at once.
const BLOCKING_DEPTH: usize = 8;

/// Bytes that one request of a blocking call moves. Eight of them are fewer frames than a veth's ring holds.
const BLOCKING_CHUNK_LEN: usize = 32 << 10;

/// How long a blocking call sleeps before it looks whether the core is still there.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// What is known of a disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DiskInfo {
    /// Its name by VPD page 83, such as `naa.6001405…`: what stays when paths change.
    pub id: Option<String>,
    /// Vendor, by INQUIRY.
    pub vendor: String,
    /// Product, by INQUIRY.
    pub product: String,
    /// Serial number, by VPD page 80.
    pub serial: Option<String>,
    /// How many blocks it has.
    pub blocks: u64,
    /// Bytes of a block.
    pub block_len: u32,
    /// The most bytes that one request moves.
    pub max_transfer_len: usize,
    /// Whether [`Request::Discard`] is supported.
    pub discard: bool,
    /// Whether the target refuses writes.
    pub write_protected: bool,
}

impl DiskInfo {
    /// What is known of a logical unit; `None` as long as it tells no capacity.
    pub fn new(unit: &LogicalUnit) -> Option<Self> {
        let capacity = unit.capacity.filter(|capacity| capacity.block_len_bytes > 0)?;
        let block_len = capacity.block_len_bytes;
        let limit = unit
            .max_transfer_blocks()
            .map_or(MAX_TRANSFER_LEN, |blocks| blocks as usize * block_len as usize);
        Some(Self {
            id: unit.identity().map(ToString::to_string),
            vendor: unit.vendor.clone(),
            product: unit.product.clone(),
            serial: unit.serial.clone(),
            blocks: capacity.blocks,
            block_len,
            max_transfer_len: limit.min(MAX_TRANSFER_LEN),
            discard: unit.can_unmap(),
            write_protected: unit.write_protected,
        })
    }

    /// Bytes of the disk.
    pub fn len(&self) -> u64 {
        self.blocks * u64::from(self.block_len)
    }

    /// Whether the disk has no blocks.
    pub fn is_empty(&self) -> bool {
        self.blocks == 0
    }
}

/// A disk of the SAN, by all its paths. Cheap to clone; each thread that does I/O opens a [`DiskQueue`] or uses the
/// blocking calls.
#[derive(Clone)]
pub struct Disk {
    info: Arc<DiskInfo>,
    state: Arc<DiskState>,
    /// The first path when the handle was made. Its port's core runs tasks.
    first: Path,
    disks: Disks,
}

impl Disk {
    /// `None` if no path leads to it.
    pub(crate) fn new(state: Arc<DiskState>, disks: Disks) -> Option<Self> {
        let first = state.paths().into_iter().min_by_key(|path| (path.target, path.id))?;
        Some(Self { info: state.info(), state, first, disks })
    }

    /// What was known of it when the handle was made.
    pub fn info(&self) -> &DiskInfo {
        &self.info
    }

    /// The name of the identity that sees it. What several of them see is a disk for each.
    pub fn identity(&self) -> Option<&str> {
        self.state.identity().map(|name| &**name)
    }

    /// The ways to it now.
    pub fn paths(&self) -> Vec<Path> {
        self.state.paths()
    }

    /// A queue with up to `depth` requests out, for one thread.
    ///
    /// # Errors
    /// [`DiskError::System`] when the process has no descriptor left.
    ///
    /// # Panics
    /// If `depth` is zero.
    pub fn queue(&self, depth: usize) -> Result<DiskQueue, DiskError> {
        let waker = Arc::new(Waker::new().map_err(DiskError::System)?);
        let turn = self.disks.next_turn();
        Ok(DiskQueue::new(Arc::clone(&self.state), depth, self.disks.clone(), turn, waker))
    }

    /// A queue for a task of [`Self::run_on_core`], which its completions wake.
    ///
    /// # Panics
    /// If `depth` is zero.
    pub fn queue_on_core(&self, depth: usize) -> DiskQueue {
        let waker = self.core(self.first.id.port).waker();
        DiskQueue::new(Arc::clone(&self.state), depth, self.disks.clone(), QueueTurn(0), waker)
    }

    /// Runs `task` on the thread of the first poll core of the disk's first path, between two rounds of frames: for a consumer
    /// that wants no other thread to be woken. It must not wait for anything.
    pub fn run_on_core(&self, task: Box<dyn Task>) {
        self.core(self.first.id.port).attach_task(task);
    }

    /// Those whose target port is logged in.
    pub(crate) fn ready_paths(&self) -> Vec<Path> {
        let mut paths = self.paths();
        paths.retain(|path| path.is_ready);
        paths
    }

    pub(crate) fn state(&self) -> &DiskState {
        &self.state
    }

    pub(crate) fn core(&self, port: PortNumber) -> CoreHandle {
        self.disks.first_core(port)
    }

    /// Reads whole blocks from `lba` on, and returns when they are all there.
    ///
    /// # Errors
    /// The first error of its requests, after all of them have ended.
    pub fn read_at(&self, lba: u64, buffer: &mut [u8]) -> Result<(), DiskError> {
        let pieces = self.pieces(lba, buffer.len())?;
        let request = |piece: Piece| Request::Read { lba: piece.lba, buffer: vec![0; piece.len].into() };
        self.run(pieces, request, |piece, done| buffer[piece.at..][..piece.len].copy_from_slice(&done))
    }

    /// Writes whole blocks from `lba` on, and returns when the target has them all. [`Self::flush`] makes them stay.
    ///
    /// # Errors
    /// The first error of its requests, after all of them have ended: any of the blocks may have been written.
    pub fn write_at(&self, lba: u64, data: &[u8]) -> Result<(), DiskError> {
        let pieces = self.pieces(lba, data.len())?;
        let request =
            |piece: Piece| Request::Write { lba: piece.lba, buffer: data[piece.at..][..piece.len].into() };
        self.run(pieces, request, |_, _| {})
    }

    /// What has been written before stays, whatever happens to the target.
    ///
    /// # Errors
    /// The target's or the fabric's.
    pub fn flush(&self) -> Result<(), DiskError> {
        self.run_one(|| Request::Flush)
    }

    /// Nobody needs these blocks' data any more.
    ///
    /// # Errors
    /// [`DiskError::NoDiscard`], or the target's or the fabric's.
    pub fn discard(&self, lba: u64, blocks: u32) -> Result<(), DiskError> {
        self.run_one(|| Request::Discard { lba, blocks })
    }

    fn run_one(&self, request: impl Fn() -> Request) -> Result<(), DiskError> {
        let only = std::iter::once(Piece { lba: 0, at: 0, len: 0 });
        self.run(only, |_| request(), |_, _| {})
    }

    /// The requests that `len` bytes from `lba` on make.
    fn pieces(&self, lba: u64, len: usize) -> Result<impl Iterator<Item = Piece> + use<>, DiskError> {
        let block_len = self.info.block_len as usize;
        if !len.is_multiple_of(block_len) {
            return Err(DiskError::Unaligned { len, block_len: self.info.block_len });
        }
        let blocks = (len / block_len) as u64;
        if lba.checked_add(blocks).is_none_or(|end| end > self.info.blocks) {
            return Err(DiskError::OutOfRange { lba, blocks, capacity: self.info.blocks });
        }
        let chunk_len = BLOCKING_CHUNK_LEN.min(self.info.max_transfer_len) / block_len * block_len;
        let chunk_len = chunk_len.max(block_len);
        Ok((0..len).step_by(chunk_len).map(move |at| Piece {
            lba: lba + (at / block_len) as u64,
            at,
            len: chunk_len.min(len - at),
        }))
    }

    /// Runs the requests of `pieces`, a few at once.
    fn run(
        &self,
        mut pieces: impl Iterator<Item = Piece>,
        request: impl Fn(Piece) -> Request,
        mut done: impl FnMut(Piece, Buffer),
    ) -> Result<(), DiskError> {
        let mut queue = self.queue(BLOCKING_DEPTH)?;
        let mut out = [None; BLOCKING_DEPTH];
        let mut result = Ok(());
        loop {
            while result.is_ok()
                && let Some(slot) = out.iter().position(Option::is_none)
                && let Some(piece) = pieces.next()
            {
                match queue.submit(slot as u64, request(piece)) {
                    Ok(()) => out[slot] = Some(piece),
                    Err(refused) => result = Err(refused.reason),
                }
            }
            queue.kick();
            if out.iter().all(Option::is_none) {
                return result;
            }
            queue.wait(LOOK_INTERVAL)?;
            while let Some(ended) = queue.poll() {
                let slot = usize::try_from(ended.tag).expect("our own slot number");
                let piece = out[slot].take().expect("a request ends once");
                match (ended.result, ended.buffer) {
                    (Ok(()), Some(buffer)) => done(piece, buffer),
                    (Ok(()), None) => {}
                    (Err(error), _) => result = result.and(Err(error)),
                }
            }
        }
    }
}

/// Its first path: target port and LUN.
impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first.target, self.first.id.lun)
    }
}

/// One request's part of a blocking call.
#[derive(Clone, Copy)]
struct Piece {
    lba: u64,
    /// Its offset in the caller's buffer.
    at: usize,
    len: usize,
}

impl From<DiskError> for io::Error {
    fn from(error: DiskError) -> Self {
        Self::other(error)
    }
}
