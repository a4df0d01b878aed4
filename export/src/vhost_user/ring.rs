//! A virtqueue: what is taken from it, and what is given back (VIRTIO 2.7).

use super::chain::Table;
use super::inflight::Record;
use super::{FrontEndError, MAX_RING_SIZE};
use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::sync::atomic::Ordering;
use virtio_queue::{Queue, QueueOwnedT, QueueT};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

/// Of the available ring's flags: VIRTQ_AVAIL_F_NO_INTERRUPT
const NO_INTERRUPT: u16 = 1;

/// Where a ring is, in the guest's memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Addresses {
    pub(super) descriptors: GuestAddress,
    pub(super) available: GuestAddress,
    pub(super) used: GuestAddress,
}

/// How a front end has set a ring up.
#[derive(Debug, Default)]
pub(super) struct Setup {
    pub(super) size: u16,
    pub(super) addresses: Option<Addresses>,
    /// Where the available ring goes on, if nothing in memory says it better.
    pub(super) base: u16,
    /// Can be read when something is in the ring.
    pub(super) kick: Option<File>,
    /// Written to when something has been given back.
    pub(super) call: Option<File>,
    pub(super) is_enabled: bool,
}

impl Setup {
    /// Tells the front end to look. One that can't be told by now has been told more than often enough.
    pub(super) fn call(&self) {
        if let Some(mut call) = self.call.as_ref() {
            let _ = call.write(&1u64.to_ne_bytes());
        }
    }
}

/// A ring that is served.
#[derive(Debug)]
pub(super) struct Ring {
    queue: Queue,
    record: Option<Record>,
    /// What was out before we came.
    again: VecDeque<u16>,
    /// Requests that are taken and not given back.
    out: usize,
    /// Whether something was given back of which the front end hasn't been told.
    has_news: bool,
    /// Whether new requests are taken.
    takes_new: bool,
}

impl Ring {
    /// Begins to serve a ring, with what is out of it as its record has it.
    ///
    /// # Errors
    /// If it isn't where it is said to be, or the record is no good.
    pub(super) fn start(
        memory: &GuestMemoryMmap<()>,
        setup: &Setup,
        record: Option<Record>,
        has_event_index: bool,
    ) -> Result<Self, FrontEndError> {
        let wrong = FrontEndError::Ring { size: setup.size };
        let Some(Addresses { descriptors, available, used }) = setup.addresses else { return Err(wrong) };
        let mut queue = Queue::new(MAX_RING_SIZE)?;
        queue.try_set_size(setup.size)?;
        queue.try_set_desc_table_address(descriptors)?;
        queue.try_set_avail_ring_address(available)?;
        queue.try_set_used_ring_address(used)?;
        queue.set_event_idx(has_event_index);
        queue.set_ready(true);
        if !queue.is_valid(memory) {
            return Err(wrong);
        }
        let used_index = queue.used_idx(memory, Ordering::Acquire)?.0;
        queue.set_next_used(used_index);
        let mut ring =
            Self { queue, record, again: VecDeque::new(), out: 0, has_news: false, takes_new: true };
        ring.queue.set_next_avail(setup.base);
        if let Some(record) = &mut ring.record {
            ring.again = record.recover(used_index)?.into();
            if let Some(&head) = ring.again.iter().find(|&&head| head >= setup.size) {
                return Err(FrontEndError::Descriptor { index: head, count: setup.size });
            }
            // What has been taken is given back, or in flight.
            ring.queue.set_next_avail(used_index.wrapping_add(ring.again.len() as u16));
        }
        Ok(ring)
    }

    /// The descriptors of its requests.
    pub(super) fn table(&self) -> Table {
        Table { address: GuestAddress(self.queue.desc_table()), count: self.queue.size() }
    }

    /// Takes the next request: its first descriptor.
    ///
    /// # Errors
    /// If the ring makes no sense.
    pub(super) fn take(&mut self, memory: &GuestMemoryMmap<()>) -> Result<Option<u16>, FrontEndError> {
        if let Some(head) = self.again.pop_front() {
            self.out += 1;
            return Ok(Some(head));
        }
        if !self.takes_new {
            return Ok(None);
        }
        let Some(head) = self.queue.iter(memory)?.next().map(|chain| chain.head_index()) else {
            return Ok(None);
        };
        let count = self.queue.size();
        if head >= count {
            return Err(FrontEndError::Descriptor { index: head, count });
        }
        if let Some(record) = &mut self.record {
            if record.is_out(head) {
                return Err(FrontEndError::Twice(head));
            }
            record.take(head);
        }
        self.out += 1;
        Ok(Some(head))
    }

    /// Gives a request back, of whose memory `written` bytes were written.
    ///
    /// # Errors
    /// If the ring is no memory any more.
    pub(super) fn give_back(
        &mut self,
        memory: &GuestMemoryMmap<()>,
        head: u16,
        written: u32,
    ) -> Result<(), FrontEndError> {
        if let Some(record) = &self.record {
            record.before_use(head);
        }
        self.queue.add_used(memory, head, written)?;
        if let Some(record) = &self.record {
            record.after_use(head, self.queue.next_used());
        }
        self.out -= 1;
        self.has_news = true;
        Ok(())
    }

    /// Whether the front end wants to be told that something was given back, if something was.
    ///
    /// # Errors
    /// As [`Self::give_back`].
    pub(super) fn has_to_call(&mut self, memory: &GuestMemoryMmap<()>) -> Result<bool, FrontEndError> {
        if !std::mem::take(&mut self.has_news) {
            return Ok(false);
        }
        let is_wanted = self.queue.needs_notification(memory)?;
        if self.queue.event_idx_enabled() {
            return Ok(is_wanted);
        }
        let flags: u16 = memory.load(GuestAddress(self.queue.avail_ring()), Ordering::Relaxed)?;
        Ok(u16::from_le(flags) & NO_INTERRUPT == 0)
    }

    /// Asks the front end to tell of requests that come from now on, and says whether some have come already.
    ///
    /// # Errors
    /// As [`Self::give_back`].
    pub(super) fn listen(&mut self, memory: &GuestMemoryMmap<()>) -> Result<bool, FrontEndError> {
        Ok(self.queue.enable_notification(memory)? && self.takes_new)
    }

    /// Tells the front end that we look by ourselves.
    ///
    /// # Errors
    /// As [`Self::give_back`].
    pub(super) fn look_by_ourselves(&mut self, memory: &GuestMemoryMmap<()>) -> Result<(), FrontEndError> {
        Ok(self.queue.disable_notification(memory)?)
    }

    /// Whether new requests are to be taken.
    pub(super) fn set_takes_new(&mut self, takes_new: bool) {
        self.takes_new = takes_new;
    }

    /// Whether all that was taken has been given back.
    pub(super) fn is_idle(&self) -> bool {
        self.out == 0 && self.again.is_empty()
    }

    /// Where the available ring goes on.
    pub(super) fn base(&self) -> u16 {
        self.queue.next_avail()
    }
}
