//! Requests that are worked on: what the disk is asked for, and what the guest gets.

use super::FrontEndError;
use super::chain::{Chain, Table};
use super::request::{HEADER_LEN, ID_LEN, Request, Status, Work};
use crate::block::{BlockError, Finished, Geometry, Operation};
use crate::buffers::Buffers;
use crate::export::Counters;
use std::collections::VecDeque;
use std::sync::Arc;
use vm_memory::GuestMemoryMmap;

/// Operations of one front end that are out at the disk.
pub(super) const QUEUE_DEPTH: usize = 128;

/// Requests of one front end that are taken; others stay in its rings.
pub(super) const MAX_REQUESTS: usize = 256;

/// Bytes of an operation. Short ones lose fewer frames, and go in parallel.
const PIECE_LEN: usize = 64 << 10;

/// Bytes that are out at the disk, and so have a buffer. More than the delay of a fast SAN times its bandwidth gains
/// nothing, and overruns rings and switches on the way back.
const MAX_OUT_LEN: usize = 1 << 20;

/// Bytes of a discard, which moves none: fewer blocks than targets allow (Linux's: 20,000).
const DISCARD_LEN: u64 = 4 << 20;

/// Where a request is from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Origin {
    pub(super) ring: usize,
    pub(super) head: u16,
}

/// A request that is to be given back, and how much of the guest's memory was written for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ended {
    pub(super) origin: Origin,
    pub(super) written: u32,
}

/// One front end's requests.
pub(super) struct Requests {
    geometry: Geometry,
    /// What the device is called.
    id: [u8; ID_LEN],
    /// Bytes of an operation on this disk.
    piece_len: usize,
    /// Whether the front end knows of flushes; else each write is followed by one.
    has_flush: bool,
    /// Those that are not free have a request. Each keeps what it has allocated.
    jobs: Vec<Job>,
    free: Vec<usize>,
    /// Jobs with operations to submit, in turn.
    ready: VecDeque<usize>,
    out: usize,
    out_len: usize,
    buffers: Buffers,
    counters: Arc<Counters>,
}

struct Job {
    origin: Origin,
    chain: Chain,
    request: Request,
    /// Bytes of the request for which there was an operation.
    next: u64,
    /// Operations that are out.
    out: usize,
    /// Whether the flush that it needs has been submitted, if it needs one.
    flushed: bool,
    error: Option<BlockError>,
}

impl Requests {
    /// Requests to a disk with this geometry, which is called `name`.
    ///
    /// # Panics
    /// If the disk takes not even one block at a time.
    pub(super) fn new(geometry: Geometry, name: &str, counters: Arc<Counters>) -> Self {
        let block_len = geometry.block_len as usize;
        let piece_len = PIECE_LEN.max(block_len).min(geometry.max_operation_len) / block_len * block_len;
        assert!(piece_len > 0, "a device that takes no block: {geometry:?}");
        let mut id = [0; ID_LEN];
        id.iter_mut().zip(name.bytes()).for_each(|(to, from)| *to = from);
        let job = || Job {
            origin: Origin { ring: 0, head: 0 },
            chain: Chain::default(),
            request: Request { work: Work::Flush, offset: 0, len: 0 },
            next: 0,
            out: 0,
            flushed: false,
            error: None,
        };
        Self {
            geometry,
            id,
            piece_len,
            has_flush: true,
            jobs: std::iter::repeat_with(job).take(MAX_REQUESTS).collect(),
            free: (0..MAX_REQUESTS).rev().collect(),
            ready: VecDeque::with_capacity(MAX_REQUESTS),
            out: 0,
            out_len: 0,
            buffers: Buffers::new(QUEUE_DEPTH, MAX_OUT_LEN),
            counters,
        }
    }

    /// Whether the front end knows of flushes.
    pub(super) fn set_has_flush(&mut self, has_flush: bool) {
        self.has_flush = has_flush;
    }

    /// Whether another request may be taken.
    pub(super) fn has_room(&self) -> bool {
        !self.free.is_empty()
    }

    /// Operations that are out.
    pub(super) fn outstanding(&self) -> usize {
        self.out
    }

    /// Begins a request; what needs no disk ends at once.
    ///
    /// # Errors
    /// What is wrong with its descriptors.
    ///
    /// # Panics
    /// If there is no room for it.
    pub(super) fn begin(
        &mut self,
        memory: &GuestMemoryMmap<()>,
        table: Table,
        origin: Origin,
    ) -> Result<Option<Ended>, FrontEndError> {
        let slot = *self.free.last().expect("there is room");
        let job = &mut self.jobs[slot];
        job.chain.walk(memory, table, origin.head)?;
        let request = match Request::parse(&job.chain, memory, &self.geometry)? {
            Ok(Request { work: Work::GetId, len, .. }) => {
                job.chain.write(memory, 0, &self.id[..len as usize])?;
                return job.chain.end(memory, origin, Status::Ok, len).map(Some);
            }
            Ok(request) => request,
            Err(status) => {
                Counters::add(&self.counters.refused, 1);
                return job.chain.end(memory, origin, status, 0).map(Some);
            }
        };
        self.free.pop();
        let flushed = match request.work {
            Work::Flush => false,
            Work::Write | Work::WriteZeroes => self.has_flush,
            Work::Read | Work::Discard | Work::GetId => true,
        };
        (job.origin, job.request, job.next, job.flushed, job.error) = (origin, request, 0, flushed, None);
        self.ready.push_back(slot);
        Ok(None)
    }

    /// The next operation to submit: its tag comes back to [`Self::handle_finished`]. There are never more out than
    /// [`QUEUE_DEPTH`].
    ///
    /// # Errors
    /// If what is to be written is no memory any more.
    pub(super) fn poll_operation(
        &mut self,
        memory: &GuestMemoryMmap<()>,
    ) -> Result<Option<(u64, Operation)>, FrontEndError> {
        let Some(&slot) = self.ready.front() else { return Ok(None) };
        let job = &mut self.jobs[slot];
        let Request { work, offset, len } = job.request;
        let longest = if work == Work::Discard { DISCARD_LEN } else { self.piece_len as u64 };
        let piece_len = (len - job.next).min(longest);
        let moved = if work == Work::Discard { 0 } else { piece_len as usize };
        if self.out == QUEUE_DEPTH || self.out > 0 && self.out_len + moved > MAX_OUT_LEN {
            return Ok(None);
        }
        let at = job.next;
        let operation = if at == len {
            job.flushed = true;
            Operation::Flush
        } else if work == Work::Discard {
            Operation::Discard { offset: offset + at, len: piece_len as u32 }
        } else {
            let mut buffer = self.buffers.take(moved);
            match work {
                Work::Write => job.chain.read(memory, HEADER_LEN + at, &mut buffer)?,
                Work::WriteZeroes => buffer.fill(0),
                _ => {}
            }
            match work {
                Work::Read => Operation::Read { offset: offset + at, buffer },
                _ => Operation::Write { offset: offset + at, buffer },
            }
        };
        self.ready.pop_front();
        job.next += piece_len;
        job.out += 1;
        self.out += 1;
        self.out_len += moved;
        if job.next < len {
            self.ready.push_back(slot);
        }
        // A piece is told by where it begins: requests are shorter than 2^48 bytes.
        Ok(Some((at << 16 | slot as u64, operation)))
    }

    /// Takes an operation's end, and gives the end of its request, if it is that.
    ///
    /// # Errors
    /// If what was read has no memory any more.
    ///
    /// # Panics
    /// If no operation with this tag is out.
    pub(super) fn handle_finished(
        &mut self,
        memory: &GuestMemoryMmap<()>,
        finished: Finished,
    ) -> Result<Option<Ended>, FrontEndError> {
        let (at, slot) = (finished.tag >> 16, (finished.tag & 0xffff) as usize);
        let job = &mut self.jobs[slot];
        assert!(job.out > 0, "an operation of no request has ended");
        job.out -= 1;
        self.out -= 1;
        let len = job.request.len;
        if let Err(error) = finished.result {
            job.error.get_or_insert(error);
            if job.next < len {
                job.next = len;
                self.ready.retain(|&ready| ready != slot);
            }
        }
        if let Some(buffer) = finished.buffer {
            self.out_len -= buffer.len();
            if finished.result.is_ok() && job.request.work == Work::Read {
                job.chain.write(memory, at, &buffer)?;
            }
            self.buffers.give_back(buffer);
        }
        if job.out > 0 || job.next < len {
            return Ok(None);
        }
        if job.error.is_none() && !job.flushed {
            self.ready.push_back(slot);
            return Ok(None);
        }
        self.free.push(slot);
        self.finish(memory, slot).map(Some)
    }

    /// Takes an operation's end when there is nobody any more to be told.
    pub(super) fn forget_finished(&mut self) {
        self.out -= 1;
    }

    fn finish(&self, memory: &GuestMemoryMmap<()>, slot: usize) -> Result<Ended, FrontEndError> {
        let Job { origin, chain, request: Request { work, len, .. }, error, .. } = &self.jobs[slot];
        let counters = &self.counters;
        if error.is_some() {
            Counters::add(&counters.failed, 1);
            return chain.end(memory, *origin, Status::IoError, 0);
        }
        let (count, bytes) = match work {
            Work::Read => (&counters.reads, Some(&counters.read_bytes)),
            Work::Write | Work::WriteZeroes => (&counters.writes, Some(&counters.written_bytes)),
            Work::Discard => (&counters.trims, None),
            Work::Flush | Work::GetId => (&counters.flushes, None),
        };
        Counters::add(count, 1);
        if let Some(bytes) = bytes {
            Counters::add(bytes, *len);
        }
        let written = if *work == Work::Read { *len } else { 0 };
        chain.end(memory, *origin, Status::Ok, written)
    }
}

impl Chain {
    /// Writes the status, which is the last byte; `written` are those before it.
    fn end(
        &self,
        memory: &GuestMemoryMmap<()>,
        origin: Origin,
        status: Status,
        written: u64,
    ) -> Result<Ended, FrontEndError> {
        self.write(memory, self.writable_len() - 1, &[status as u8])?;
        Ok(Ended { origin, written: u32::try_from(written + 1).unwrap_or(u32::MAX) })
    }
}
