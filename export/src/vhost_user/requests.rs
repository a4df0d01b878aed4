//! Requests that are worked on: what the disk is asked for, and what the guest gets.

use super::FrontEndError;
use super::chain::{Chain, Table};
use super::request::{Ask, HEADER_LEN, ID_LEN, Status};
use crate::block::{Finished, Geometry, Operation};
use crate::export::Counters;
use crate::pieces::{self, Pieces, Request, Work};
use std::sync::Arc;
use vm_memory::GuestMemoryMmap;

/// Requests of one front end that are taken; others stay in its rings.
pub(super) const MAX_REQUESTS: usize = 256;

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
    /// Whether the front end knows of flushes; else each write is followed by one.
    has_flush: bool,
    /// By slot. Those that are not free have a request. Each keeps what it has allocated.
    places: Vec<(Origin, Chain)>,
    free: Vec<u16>,
    pieces: Pieces,
}

impl Requests {
    /// Requests to a disk with this geometry, which is called `name`.
    ///
    /// # Panics
    /// If the disk takes not even one block at a time.
    pub(super) fn new(geometry: Geometry, name: &str, counters: Arc<Counters>) -> Self {
        let mut id = [0; ID_LEN];
        id.iter_mut().zip(name.bytes()).for_each(|(to, from)| *to = from);
        let place = || (Origin { ring: 0, head: 0 }, Chain::default());
        Self {
            id,
            has_flush: true,
            places: std::iter::repeat_with(place).take(MAX_REQUESTS).collect(),
            free: (0..MAX_REQUESTS as u16).rev().collect(),
            pieces: Pieces::new(&geometry, MAX_REQUESTS, counters),
            geometry,
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
        self.pieces.outstanding()
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
        let (of_slot, chain) = &mut self.places[usize::from(slot)];
        chain.walk(memory, table, origin.head)?;
        let request = match Ask::parse(chain, memory, &self.geometry)? {
            Ok(Ask::Id { len }) => {
                chain.write(memory, 0, &self.id[..len])?;
                return chain.end(memory, origin, Status::Ok, len as u64).map(Some);
            }
            Ok(Ask::Disk(request)) => request,
            Err(status) => {
                self.pieces.refuse();
                return chain.end(memory, origin, status, 0).map(Some);
            }
        };
        *of_slot = origin;
        self.free.pop();
        let writes = matches!(request.work, Work::Write | Work::WriteZeroes);
        let fua = request.fua || writes && !self.has_flush;
        self.pieces.begin(slot, Request { fua, ..request });
        Ok(None)
    }

    /// The next operation to submit: its tag comes back to [`Self::handle_finished`]. There are never more out than
    /// [`QUEUE_DEPTH`](pieces::QUEUE_DEPTH).
    ///
    /// # Errors
    /// If what is to be written is no memory any more.
    pub(super) fn poll_operation(
        &mut self,
        memory: &GuestMemoryMmap<()>,
    ) -> Result<Option<(u64, Operation)>, FrontEndError> {
        let Self { pieces, places, .. } = self;
        pieces.poll_operation(|slot, at, buffer| {
            places[usize::from(slot)].1.read(memory, HEADER_LEN + at, buffer)
        })
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
        let Self { pieces, places, .. } = self;
        let keep = |slot, at, data: &[u8]| places[usize::from(slot)].1.write(memory, at, data);
        let Some(ended) = pieces.handle_finished(finished, keep)? else { return Ok(None) };
        let pieces::Ended { slot, request: Request { work, len, .. }, result } = ended;
        self.free.push(slot);
        let (status, written) = match result {
            Err(_) => (Status::IoError, 0),
            Ok(()) if work == Work::Read => (Status::Ok, len),
            Ok(()) => (Status::Ok, 0),
        };
        let (origin, chain) = &places[usize::from(slot)];
        chain.end(memory, *origin, status, written).map(Some)
    }

    /// Takes an operation's end when there is nobody any more to be told.
    pub(super) fn forget_finished(&mut self) {
        self.pieces.forget_finished();
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
