//! Requests of those for whom data is copied, in pieces: what the disk is asked for, and when each request has ended.
//!
//! Where the data is, only the server knows: it has it copied to and from the buffers of operations. NBD, whose data comes
//! and goes in these buffers, has a machine of its own for its requests, and the same bounds.

use crate::block::{BlockError, Finished, Geometry, Operation};
use crate::buffers::Buffers;
use crate::export::Counters;
use std::collections::VecDeque;
use std::sync::Arc;

/// Operations of one client, or one of its queues, that are out at the disk.
pub(crate) const QUEUE_DEPTH: usize = 128;

/// Bytes of an operation. Short ones lose fewer frames, and go in parallel.
pub(crate) const PIECE_LEN: usize = 64 << 10;

/// Bytes that are out at the disk, and so have a buffer. More than the delay of a fast SAN times its bandwidth gains
/// nothing, and overruns rings and switches on the way back.
pub(crate) const MAX_OUT_LEN: usize = 1 << 20;

/// Bytes of a discard, which moves none: fewer blocks than targets allow (Linux's: 20,000).
pub(crate) const DISCARD_LEN: u64 = 4 << 20;

/// Bytes of an operation that moves data, on a disk with this geometry.
///
/// # Panics
/// If the disk takes not even one block at a time.
pub(crate) fn piece_len(geometry: &Geometry) -> usize {
    let block_len = geometry.block_len as usize;
    let piece_len = PIECE_LEN.max(block_len).min(geometry.max_operation_len) / block_len * block_len;
    assert!(piece_len > 0, "a device that takes no block: {geometry:?}");
    piece_len
}

/// What is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Work {
    Read,
    Write,
    Flush,
    Discard,
    WriteZeroes,
}

/// A request that is as it should be. Bytes of the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Request {
    pub(crate) work: Work,
    pub(crate) offset: u64,
    pub(crate) len: u64,
    /// Whether what was written is to stay, whatever happens, once it has ended: it is flushed then.
    pub(crate) fua: bool,
}

impl Request {
    /// What was written before is to stay.
    pub(crate) const FLUSH: Self = Self { work: Work::Flush, offset: 0, len: 0, fua: true };
}

/// A request that has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ended {
    pub(crate) slot: u16,
    pub(crate) request: Request,
    pub(crate) result: Result<(), BlockError>,
}

/// Requests in slots, which the server gives.
pub(crate) struct Pieces {
    /// Bytes of an operation on this disk.
    piece_len: usize,
    /// By slot.
    jobs: Vec<Option<Job>>,
    /// Slots with operations to submit, in turn.
    ready: VecDeque<u16>,
    out: usize,
    out_len: usize,
    buffers: Buffers,
    counters: Arc<Counters>,
}

struct Job {
    request: Request,
    /// Bytes of the request for which there was an operation.
    next: u64,
    /// Operations that are out.
    out: usize,
    /// Whether the flush that it needs has been submitted, if it needs one.
    flushed: bool,
    error: Option<BlockError>,
}

impl Pieces {
    /// Requests in up to `slots` slots, to a disk with this geometry.
    ///
    /// # Panics
    /// If the disk takes not even one block at a time.
    pub(crate) fn new(geometry: &Geometry, slots: usize, counters: Arc<Counters>) -> Self {
        Self {
            piece_len: piece_len(geometry),
            jobs: std::iter::repeat_with(|| None).take(slots).collect(),
            ready: VecDeque::with_capacity(slots),
            out: 0,
            out_len: 0,
            buffers: Buffers::new(QUEUE_DEPTH, MAX_OUT_LEN),
            counters,
        }
    }

    /// Operations that are out.
    pub(crate) fn outstanding(&self) -> usize {
        self.out
    }

    /// Begins a request.
    ///
    /// # Panics
    /// If there is one in this slot.
    pub(crate) fn begin(&mut self, slot: u16, request: Request) {
        let job = Job { request, next: 0, out: 0, flushed: !request.fua, error: None };
        let before = self.jobs[usize::from(slot)].replace(job);
        assert!(before.is_none(), "slot {slot} is used twice");
        self.ready.push_back(slot);
    }

    /// The next operation to submit: its tag comes back to [`Self::handle_finished`]. There are never more out than
    /// [`QUEUE_DEPTH`]. `fill` is given a slot, an offset and the bytes that are to be written from there.
    ///
    /// # Errors
    /// That of `fill`.
    pub(crate) fn poll_operation<E>(
        &mut self,
        fill: impl FnOnce(u16, u64, &mut [u8]) -> Result<(), E>,
    ) -> Result<Option<(u64, Operation)>, E> {
        let Some(&slot) = self.ready.front() else { return Ok(None) };
        let job = self.jobs[usize::from(slot)].as_mut().expect("a job that is ready");
        let Request { work, offset, len, .. } = job.request;
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
                Work::Write => fill(slot, at, &mut buffer)?,
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
        Ok(Some((at << 16 | u64::from(slot), operation)))
    }

    /// Takes an operation's end, and gives the end of its request, if it is that. `keep` is given a slot, an offset and the
    /// bytes that were read from there.
    ///
    /// # Errors
    /// That of `keep`.
    ///
    /// # Panics
    /// If no operation with this tag is out.
    pub(crate) fn handle_finished<E>(
        &mut self,
        finished: Finished,
        keep: impl FnOnce(u16, u64, &[u8]) -> Result<(), E>,
    ) -> Result<Option<Ended>, E> {
        let (at, slot) = (finished.tag >> 16, (finished.tag & 0xffff) as u16);
        let place = &mut self.jobs[usize::from(slot)];
        let job = place.as_mut().filter(|job| job.out > 0).expect("an operation that is out has its job");
        job.out -= 1;
        self.out -= 1;
        let request = job.request;
        if let Err(error) = finished.result {
            job.error.get_or_insert(error);
            if job.next < request.len {
                job.next = request.len;
                self.ready.retain(|&ready| ready != slot);
            }
        }
        if let Some(buffer) = finished.buffer {
            self.out_len -= buffer.len();
            if finished.result.is_ok() && request.work == Work::Read {
                keep(slot, at, &buffer)?;
            }
            self.buffers.give_back(buffer);
        }
        if job.out > 0 || job.next < request.len {
            return Ok(None);
        }
        if job.error.is_none() && !job.flushed {
            self.ready.push_back(slot);
            return Ok(None);
        }
        let result = job.error.map_or(Ok(()), Err);
        *place = None;
        self.count(&request, result);
        Ok(Some(Ended { slot, request, result }))
    }

    /// Takes an operation's end when there is nobody any more to be told.
    pub(crate) fn forget_finished(&mut self) {
        self.out -= 1;
    }

    /// Counts a request that gets no operation, because of what is wrong with it.
    pub(crate) fn refuse(&self) {
        Counters::add(&self.counters.refused, 1);
    }

    fn count(&self, request: &Request, result: Result<(), BlockError>) {
        let counters = &self.counters;
        if result.is_err() {
            return Counters::add(&counters.failed, 1);
        }
        let (count, bytes) = match request.work {
            Work::Read => (&counters.reads, Some(&counters.read_bytes)),
            Work::Write | Work::WriteZeroes => (&counters.writes, Some(&counters.written_bytes)),
            Work::Discard => (&counters.trims, None),
            Work::Flush => (&counters.flushes, None),
        };
        Counters::add(count, 1);
        if let Some(bytes) = bytes {
            Counters::add(bytes, request.len);
        }
    }
}
