//! The second phase of a connection: requests and replies, in any order ("Transmission").

use super::buffers::{Input, Output};
use super::request::{REQUEST_LEN, Request, Work};
use super::wire::{SIMPLE_REPLY_MAGIC, STRUCTURED_REPLY_MAGIC, chunk, command, error};
use super::{MAX_HELD_LEN, ProtocolError};
use crate::block::{BlockError, Finished, Geometry, Operation};
use crate::buffers::Buffers;
use crate::export::Counters;
use crate::pieces::{DISCARD_LEN, MAX_OUT_LEN, QUEUE_DEPTH, piece_len};
use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;

/// Requests of one connection that are held. Their bytes have a limit of their own.
const MAX_REQUESTS: usize = 256;

/// One connection's requests.
pub(super) struct Transmission {
    geometry: Geometry,
    structured: bool,
    /// Bytes of an operation on this device.
    piece_len: usize,
    input: Input,
    expected: Expected,
    jobs: Vec<Option<Job>>,
    free: Vec<usize>,
    /// Jobs with operations to submit, in turn.
    ready: VecDeque<usize>,
    /// Bytes of the jobs' requests or replies.
    job_bytes: usize,
    out: usize,
    out_len: usize,
    output: Output,
    /// Of reads whose reply has gone, and of writes that have ended: what is in them is this client's.
    buffers: Buffers,
    is_over: bool,
    counters: Arc<Counters>,
}

/// What comes next.
enum Expected {
    Request,
    /// Data of a write.
    Payload(Payload),
    /// Data of a request that is answered already.
    Rubbish(usize),
}

struct Payload {
    request: Request,
    pieces: Vec<Box<[u8]>>,
    /// The piece that is filled now, and how much of it is.
    piece: usize,
    filled: usize,
}

/// A request that is worked on.
struct Job {
    request: Request,
    work: Work,
    /// Where the next operation begins, and where the last one ends.
    next: u64,
    end: u64,
    /// Operations that are out.
    out: usize,
    /// The data, piece by piece; none while an operation has it.
    pieces: Vec<Option<Box<[u8]>>>,
    /// Whether the flush that a FUA means has been submitted, if it is one.
    flushed: bool,
    error: Option<BlockError>,
}

impl Transmission {
    /// Requests to a device with this geometry. `input` may have the first ones.
    ///
    /// # Panics
    /// If the device takes not even one block at a time.
    pub(super) fn new(geometry: Geometry, structured: bool, input: Input, counters: Arc<Counters>) -> Self {
        Self {
            piece_len: piece_len(&geometry),
            geometry,
            structured,
            input,
            expected: Expected::Request,
            jobs: (0..MAX_REQUESTS).map(|_| None).collect(),
            free: (0..MAX_REQUESTS).rev().collect(),
            ready: VecDeque::with_capacity(MAX_REQUESTS),
            job_bytes: 0,
            out: 0,
            out_len: 0,
            output: Output::default(),
            buffers: Buffers::new(QUEUE_DEPTH, MAX_OUT_LEN),
            is_over: false,
            counters,
        }
    }

    /// Where the next bytes from the client go; empty as long as none are to be read.
    pub(super) fn receive_buffer(&mut self) -> &mut [u8] {
        match &mut self.expected {
            _ if self.is_over => &mut [],
            // Data goes where it belongs without a copy, once what was read before is used up.
            Expected::Payload(payload) if self.input.peek().is_empty() => payload.space(),
            _ => self.input.space(),
        }
    }

    /// `len` bytes have come into [`Self::receive_buffer`].
    ///
    /// # Errors
    /// What the client did wrong: its connection is to be closed.
    pub(super) fn handle_received(&mut self, len: usize) -> Result<(), ProtocolError> {
        match &mut self.expected {
            Expected::Payload(payload) if self.input.peek().is_empty() => payload.advance(len),
            _ => self.input.filled(len),
        }
        self.handle_input()
    }

    /// Takes what has come and is not yet looked at, as far as there is room for it: at the beginning, and when there
    /// may be room again.
    ///
    /// # Errors
    /// As [`Self::handle_received`].
    pub(super) fn handle_input(&mut self) -> Result<(), ProtocolError> {
        while !self.is_over && self.handle_next()? {}
        Ok(())
    }

    /// The next operation to submit: its tag comes back to [`Self::handle_finished`]. There are never more out than
    /// [`QUEUE_DEPTH`].
    pub(super) fn poll_operation(&mut self) -> Option<(u64, Operation)> {
        let &slot = self.ready.front()?;
        let job = self.jobs[slot].as_mut().expect("a job that is ready");
        let len = job.next_len(self.piece_len);
        let moved = if job.work == Work::Trim { 0 } else { len as usize };
        if self.out == QUEUE_DEPTH || self.out > 0 && self.out_len + moved > MAX_OUT_LEN {
            return None;
        }
        self.ready.pop_front();
        let (piece, operation) = job.next_operation(len, self.piece_len, &mut self.buffers);
        job.out += 1;
        self.out += 1;
        self.out_len += moved;
        if job.next < job.end {
            self.ready.push_back(slot);
        }
        Some(((slot as u64) << 32 | piece as u64, operation))
    }

    /// Takes an operation's end.
    ///
    /// # Panics
    /// If no operation with this tag is out.
    pub(super) fn handle_finished(&mut self, finished: Finished) {
        let (slot, piece) = ((finished.tag >> 32) as usize, finished.tag as u32 as usize);
        let job = self.jobs[slot].as_mut().expect("an operation that is out has its job");
        job.out -= 1;
        self.out -= 1;
        self.out_len -= finished.buffer.as_ref().map_or(0, |buffer| buffer.len());
        match finished.result {
            Ok(()) if job.work == Work::Read => job.pieces[piece] = finished.buffer,
            Ok(()) => finished.buffer.into_iter().for_each(|buffer| self.buffers.give_back(buffer)),
            Err(error) => {
                job.error.get_or_insert(error);
                if job.next < job.end {
                    job.next = job.end;
                    self.ready.retain(|&ready| ready != slot);
                }
            }
        }
        if job.out > 0 || job.next < job.end {
            return;
        }
        if job.needs_flush() {
            self.ready.push_back(slot);
        } else {
            let job = self.jobs[slot].take().expect("looked at above");
            self.free.push(slot);
            self.job_bytes -= job.request.held_len() as usize;
            self.finish(job);
        }
    }

    /// The replies that wait, as many parts as there is room in `slices`; gives how many.
    pub(super) fn output<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.output.slices(slices)
    }

    /// Whether replies wait.
    pub(super) fn has_output(&self) -> bool {
        self.output.len() > 0
    }

    /// `len` bytes of the replies have been sent.
    ///
    /// # Panics
    /// If there were not so many.
    pub(super) fn handle_sent(&mut self, len: usize) {
        let block_len = self.geometry.block_len as usize;
        // What is shorter than a block is no data.
        self.output.advance(len, |sent| {
            if sent.len() >= block_len {
                self.buffers.give_back(sent);
            }
        });
    }

    /// Operations that are out.
    pub(super) fn outstanding(&self) -> usize {
        self.out
    }

    /// Whether the client has said good-bye and has all its replies.
    pub(super) fn is_over(&self) -> bool {
        self.is_over && self.free.len() == MAX_REQUESTS && self.output.len() == 0
    }

    /// Takes the next request, or a part of its data; says whether it did anything.
    fn handle_next(&mut self) -> Result<bool, ProtocolError> {
        match &mut self.expected {
            Expected::Request => {
                let Some(header) = self.input.peek().first_chunk::<REQUEST_LEN>() else { return Ok(false) };
                let request = Request::parse(header)?;
                if !self.has_room(&request) {
                    return Ok(false);
                }
                self.input.take(REQUEST_LEN).expect("it is there");
                self.begin(request);
            }
            Expected::Payload(payload) => {
                let space = payload.space();
                let len = space.len();
                let bytes = self.input.take_some(len);
                space[..bytes.len()].copy_from_slice(bytes);
                let taken = bytes.len();
                payload.advance(taken);
                if !payload.is_whole() {
                    return Ok(taken > 0);
                }
                let Expected::Payload(Payload { request, pieces, .. }) =
                    std::mem::replace(&mut self.expected, Expected::Request)
                else {
                    unreachable!("it was one above");
                };
                self.add_job(request, Work::Write, pieces.into_iter().map(Some).collect());
            }
            Expected::Rubbish(len) => {
                *len -= self.input.take_some(*len).len();
                if *len > 0 {
                    return Ok(false);
                }
                self.expected = Expected::Request;
            }
        }
        Ok(true)
    }

    /// Whether another request may be held. One alone always may.
    fn has_room(&self, request: &Request) -> bool {
        let held = self.job_bytes + self.output.len();
        !self.free.is_empty() && (held == 0 || held + request.held_len() as usize <= MAX_HELD_LEN)
    }

    fn begin(&mut self, request: Request) {
        if request.command == command::DISC {
            self.is_over = true;
            return;
        }
        match request.check(&self.geometry, self.structured) {
            Err(number) => {
                Counters::add(&self.counters.refused, 1);
                self.reply_error(&request, number);
                if request.payload_len() > 0 {
                    self.expected = Expected::Rubbish(request.payload_len() as usize);
                }
            }
            Ok(Work::Write) => {
                self.job_bytes += request.held_len() as usize;
                let pieces = self.piece_lens(&request).map(|len| self.buffers.take(len)).collect();
                self.expected = Expected::Payload(Payload { request, pieces, piece: 0, filled: 0 });
            }
            Ok(Work::Read) => {
                self.job_bytes += request.held_len() as usize;
                let pieces = self.piece_lens(&request).map(|_| None).collect();
                self.add_job(request, Work::Read, pieces);
            }
            Ok(work) => self.add_job(request, work, Vec::new()),
        }
    }

    fn piece_lens(&self, request: &Request) -> impl Iterator<Item = usize> + use<> {
        let (len, piece_len) = (request.len as usize, self.piece_len);
        (0..len).step_by(piece_len).map(move |at| piece_len.min(len - at))
    }

    fn add_job(&mut self, request: Request, work: Work, pieces: Vec<Option<Box<[u8]>>>) {
        let slot = self.free.pop().expect("there was room for the request");
        let (next, end) = match work {
            // Nothing else to do than what ends the job.
            Work::Flush => (0, 0),
            _ => (request.offset, request.offset + u64::from(request.len)),
        };
        let flushed = work != Work::Flush && (work == Work::Read || !request.fua());
        self.jobs[slot] = Some(Job { request, work, next, end, out: 0, pieces, flushed, error: None });
        self.ready.push_back(slot);
    }

    fn finish(&mut self, job: Job) {
        let Job { request, work, error, .. } = job;
        if let Some(failure) = error {
            Counters::add(&self.counters.failed, 1);
            let number = match failure {
                BlockError::ReadOnly => error::EPERM,
                BlockError::Io => error::EIO,
            };
            return self.reply_error(&request, number);
        }
        let counters = &self.counters;
        let (count, bytes) = match work {
            Work::Read => (&counters.reads, Some(&counters.read_bytes)),
            Work::Write | Work::WriteZeroes => (&counters.writes, Some(&counters.written_bytes)),
            Work::Flush => (&counters.flushes, None),
            Work::Trim => (&counters.trims, None),
        };
        Counters::add(count, 1);
        if let Some(bytes) = bytes {
            Counters::add(bytes, request.len.into());
        }
        match work {
            Work::Read if self.structured => {
                self.push_chunk(&request, chunk::OFFSET_DATA, &request.offset.to_be_bytes(), request.len);
            }
            _ => self.push_simple_reply(&request, 0),
        }
        for piece in job.pieces.into_iter().flatten() {
            self.output.push(piece);
        }
    }

    /// Only reads must have structured replies, where the client knows them ("Structured replies").
    fn reply_error(&mut self, request: &Request, number: u32) {
        if self.structured && request.command == command::READ {
            // No message.
            let payload = [&number.to_be_bytes()[..], &0u16.to_be_bytes()].concat();
            self.push_chunk(request, chunk::ERROR, &payload, 0);
        } else {
            self.push_simple_reply(request, number);
        }
    }

    fn push_simple_reply(&mut self, request: &Request, number: u32) {
        let magic = SIMPLE_REPLY_MAGIC.to_be_bytes();
        self.output.push([&magic[..], &number.to_be_bytes(), &request.cookie.to_be_bytes()].concat());
    }

    /// The only chunk of a structured reply: `payload` and `len` bytes that follow.
    fn push_chunk(&mut self, request: &Request, kind: u16, payload: &[u8], len: u32) {
        let len = u32::try_from(payload.len()).expect("some bytes") + len;
        self.output.push(
            [
                &STRUCTURED_REPLY_MAGIC.to_be_bytes()[..],
                &chunk::DONE.to_be_bytes(),
                &kind.to_be_bytes(),
                &request.cookie.to_be_bytes(),
                &len.to_be_bytes(),
                payload,
            ]
            .concat(),
        );
    }
}

impl Payload {
    fn space(&mut self) -> &mut [u8] {
        &mut self.pieces[self.piece][self.filled..]
    }

    fn advance(&mut self, len: usize) {
        self.filled += len;
        let whole = self.pieces[self.piece].len();
        assert!(self.filled <= whole, "{} bytes in a piece of {whole}", self.filled);
        if self.filled == whole && !self.is_last() {
            (self.piece, self.filled) = (self.piece + 1, 0);
        }
    }

    fn is_last(&self) -> bool {
        self.piece + 1 == self.pieces.len()
    }

    fn is_whole(&self) -> bool {
        self.is_last() && self.filled == self.pieces[self.piece].len()
    }
}

impl Job {
    /// Whether all is done but what makes it stay.
    fn needs_flush(&self) -> bool {
        self.error.is_none() && !self.flushed
    }

    /// Bytes of the next operation.
    fn next_len(&self, piece_len: usize) -> u64 {
        let longest = if self.work == Work::Trim { DISCARD_LEN } else { piece_len as u64 };
        (self.end - self.next).min(longest)
    }

    /// The next operation, with the number of its piece.
    fn next_operation(&mut self, len: u64, piece_len: usize, buffers: &mut Buffers) -> (usize, Operation) {
        if self.next == self.end {
            self.flushed = true;
            return (0, Operation::Flush);
        }
        let offset = self.next;
        self.next += len;
        let piece = (offset - self.request.offset) as usize / piece_len;
        let operation = match self.work {
            Work::Read => Operation::Read { offset, buffer: buffers.take(len as usize) },
            Work::Write => Operation::Write {
                offset,
                buffer: self.pieces[piece].take().expect("a piece is written once"),
            },
            Work::WriteZeroes => Operation::Write { offset, buffer: vec![0; len as usize].into() },
            Work::Trim => Operation::Discard { offset, len: len as u32 },
            Work::Flush => unreachable!("a flush has no bytes"),
        };
        (piece, operation)
    }
}
