//! What is out of a ring, written down where it outlives us ("Inflight I/O tracking", split virtqueue).
//!
//! The front end keeps the memory and hands it to whoever serves its rings next. A process can be killed between any two
//! stores; what it leaves after each is enough for its successor:
//!
//! ```text
//! take   counter <- n   in_flight <- 1                                      next_avail is told from the used ring
//!                                                                           and from what is in flight
//! use    next <- last, last <- head   | used ring: entry, index + 1   | in_flight <- 0   | used_index <- index
//!                                     still in flight: done again     \______ the index is ahead: head is done ____/
//! ```

use super::FrontEndError;
use super::memory::{self, MappingError, Trust};
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use vm_memory::{AtomicAccess, Bytes, MmapRegion, VolatileMemory};

/// The only version of the format.
const VERSION: u16 = 1;

/// Where something is in a ring's record.
mod field {
    pub(super) const VERSION: usize = 8;
    pub(super) const COUNT: usize = 10;
    pub(super) const LAST: usize = 12;
    pub(super) const USED_INDEX: usize = 14;
    pub(super) const DESCRIPTORS: usize = 16;
}

/// Where something is in a descriptor's state.
mod state {
    pub(super) const IN_FLIGHT: usize = 0;
    pub(super) const NEXT: usize = 6;
    pub(super) const COUNTER: usize = 8;
    pub(super) const LEN: usize = 16;
}

/// Others align the records of rings so, too.
const ALIGNMENT: usize = 64;

/// The records of all rings of a front end.
#[derive(Clone, Debug)]
pub(super) struct Records {
    region: Arc<MmapRegion>,
    rings: u16,
    ring_size: u16,
}

impl Records {
    /// Bytes for some rings.
    pub(super) fn len(rings: u16, ring_size: u16) -> usize {
        usize::from(rings) * record_len(ring_size)
    }

    /// Memory for records, as yet of nothing.
    ///
    /// # Errors
    /// If there is none to be had.
    pub(super) fn create(rings: u16, ring_size: u16) -> io::Result<File> {
        let file = memfd_create("xfcoe-inflight", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
        let file = File::from(file);
        file.set_len(Self::len(rings, ring_size) as u64)?;
        fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW))?;
        Ok(file)
    }

    /// The records at `offset` of a file.
    ///
    /// # Errors
    /// If it can't be mapped, or they have other than `len` bytes.
    pub(super) fn map(
        file: File,
        offset: u64,
        len: u64,
        (rings, ring_size): (u16, u16),
        trust: Trust,
    ) -> Result<Self, MappingError> {
        let expected = Self::len(rings, ring_size);
        if len < expected as u64 {
            return Err(MappingError::Refused(format!("{len} bytes of records instead of {expected}")));
        }
        let region = Arc::new(memory::map(file, offset, expected, trust)?);
        Ok(Self { region, rings, ring_size })
    }

    /// The record of a ring, if there is one for as many entries.
    pub(super) fn of_ring(&self, ring: usize, size: u16) -> Result<Record, FrontEndError> {
        if ring >= usize::from(self.rings) || size > self.ring_size {
            return Err(FrontEndError::Inflight("it is too small"));
        }
        let start = ring * record_len(self.ring_size);
        Ok(Record { region: Arc::clone(&self.region), start, count: self.ring_size, counter: 0 })
    }
}

fn record_len(ring_size: u16) -> usize {
    (field::DESCRIPTORS + usize::from(ring_size) * state::LEN).next_multiple_of(ALIGNMENT)
}

/// What is out of one ring.
#[derive(Debug)]
pub(super) struct Record {
    region: Arc<MmapRegion>,
    start: usize,
    count: u16,
    /// Of the next request.
    counter: u64,
}

impl Record {
    /// What was out when whoever had the ring before us stopped, in the order in which it was taken, by the index of the
    /// used ring. All of it has to be done again.
    ///
    /// # Errors
    /// If that can't be known.
    pub(super) fn recover(&mut self, used_index: u16) -> Result<Vec<u16>, FrontEndError> {
        match (self.load::<u16>(field::VERSION), self.load::<u16>(field::COUNT)) {
            // New.
            (0, _) => {
                self.store(field::COUNT, self.count);
                self.store(field::USED_INDEX, used_index);
                self.store(field::VERSION, VERSION);
                return Ok(Vec::new());
            }
            (VERSION, count) if count == self.count => {}
            _ => return Err(FrontEndError::Inflight("another version or another size")),
        }
        let batch = used_index.wrapping_sub(self.load(field::USED_INDEX));
        // If it is longer, this is another ring than the record's, such as after a reset: nothing may be in flight.
        let is_known = batch <= self.count;
        if is_known {
            let mut head: u16 = self.load(field::LAST);
            for _ in 0..batch {
                if head >= self.count {
                    return Err(FrontEndError::Inflight("a batch with a descriptor that there isn't"));
                }
                self.store_state(head, state::IN_FLIGHT, 0u8);
                head = self.load_state(head, state::NEXT);
            }
        }
        let is_out = |&head: &u16| self.is_out(head);
        let mut out: Vec<u16> = (0..self.count).filter(is_out).collect();
        if !is_known && !out.is_empty() {
            return Err(FrontEndError::Inflight("requests of another ring"));
        }
        self.store(field::USED_INDEX, used_index);
        out.sort_by_key(|&head| self.load_state::<u64>(head, state::COUNTER));
        let last = out.last().map(|&head| self.load_state::<u64>(head, state::COUNTER));
        self.counter = last.map_or(0, |last| last.wrapping_add(1));
        Ok(out)
    }

    /// Whether a request is out.
    pub(super) fn is_out(&self, head: u16) -> bool {
        self.load_state::<u8>(head, state::IN_FLIGHT) == 1
    }

    /// A request has been taken from the ring.
    pub(super) fn take(&mut self, head: u16) {
        self.store_state(head, state::COUNTER, self.counter);
        self.counter = self.counter.wrapping_add(1);
        self.store_state(head, state::IN_FLIGHT, 1u8);
    }

    /// A request is about to be given back: before the used ring says so.
    pub(super) fn before_use(&self, head: u16) {
        self.store_state(head, state::NEXT, self.load::<u16>(field::LAST));
        self.store(field::LAST, head);
    }

    /// It has been given back: the used ring says so, by its index `used_index`.
    pub(super) fn after_use(&self, head: u16, used_index: u16) {
        self.store_state(head, state::IN_FLIGHT, 0u8);
        self.store(field::USED_INDEX, used_index);
    }

    fn state(&self, head: u16, field: usize) -> usize {
        assert!(head < self.count, "descriptor {head} of {}", self.count);
        field::DESCRIPTORS + usize::from(head) * state::LEN + field
    }

    fn load_state<T: AtomicAccess>(&self, head: u16, field: usize) -> T {
        self.load(self.state(head, field))
    }

    fn store_state<T: AtomicAccess>(&self, head: u16, field: usize, value: T) {
        self.store(self.state(head, field), value);
    }

    /// In the machine's own order, as all that may ever read it is on this machine.
    fn load<T: AtomicAccess>(&self, at: usize) -> T {
        let bytes = self.region.as_volatile_slice();
        bytes.load(self.start + at, Ordering::Acquire).expect("it is inside the mapping")
    }

    /// One store comes after the other, also for who finds it after our end.
    fn store<T: AtomicAccess>(&self, at: usize, value: T) {
        let bytes = self.region.as_volatile_slice();
        bytes.store(value, self.start + at, Ordering::Release).expect("it is inside the mapping");
    }
}
