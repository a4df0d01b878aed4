//! Rings, records and requests, without a socket and without a thread.

mod hostile;
mod record;

use super::FrontEndError;
use super::inflight::{Record, Records};
use super::memory::Trust;
use super::requests::{Origin, Requests};
use super::ring::{Addresses, Ring, Setup};
use crate::block::{Finished, Geometry, Operation};
use std::fs::File;
use std::sync::Arc;
use virtio_queue::desc::split::Descriptor;
use vm_memory::{Address, Bytes, GuestAddress, GuestMemoryMmap};

const SIZE: u16 = 8;
const DESCRIPTORS: GuestAddress = GuestAddress(0);
const AVAILABLE: GuestAddress = GuestAddress(0x200);
const USED: GuestAddress = GuestAddress(0x300);
const MEMORY_LEN: usize = 0x8000;
const DISK_LEN: usize = 0x4000;

/// A guest's memory with a ring, and a disk whose operations end when it is told so.
struct World {
    memory: GuestMemoryMmap<()>,
    records: File,
    available: u16,
    disk: Vec<u8>,
    requests: Requests,
    out: Vec<(u64, Operation)>,
}

impl World {
    fn new() -> Self {
        let geometry = Geometry {
            block_len: 512,
            blocks: DISK_LEN as u64 / 512,
            max_operation_len: 1024,
            read_only: false,
            discard: true,
        };
        Self {
            memory: GuestMemoryMmap::from_ranges(&[(GuestAddress(0), MEMORY_LEN)]).unwrap(),
            records: Records::create(1, SIZE).unwrap(),
            available: 0,
            disk: vec![0; DISK_LEN],
            requests: Requests::new(geometry, "disk", Arc::default()),
            out: Vec::new(),
        }
    }

    /// The ring's record, mapped anew.
    fn record(&self) -> Record {
        let len = Records::len(1, SIZE) as u64;
        let file = self.records.try_clone().unwrap();
        Records::map(file, 0, len, (1, SIZE), Trust::Sealed).unwrap().of_ring(0, SIZE).unwrap()
    }

    /// The ring, as someone begins to serve it.
    fn ring(&self) -> Result<Ring, FrontEndError> {
        let addresses = Addresses { descriptors: DESCRIPTORS, available: AVAILABLE, used: USED };
        let setup = Setup { size: SIZE, addresses: Some(addresses), ..Setup::default() };
        Ring::start(&self.memory, &setup, Some(self.record()), true)
    }

    fn describe(&self, index: u16, address: u64, len: u32, flags: u16, next: u16) {
        let at = DESCRIPTORS.unchecked_add(u64::from(index) * 16);
        self.memory.write_obj(Descriptor::new(address, len, flags, next), at).unwrap();
    }

    fn make_available(&mut self, head: u16) {
        let entry = 4 + u64::from(self.available % SIZE) * 2;
        self.memory.write_obj(head, AVAILABLE.unchecked_add(entry)).unwrap();
        self.available = self.available.wrapping_add(1);
        self.memory.write_obj(self.available, AVAILABLE.unchecked_add(2)).unwrap();
    }

    fn used_index(&self) -> u16 {
        self.memory.read_obj(USED.unchecked_add(2)).unwrap()
    }

    /// Takes what is in the ring, and submits what can be.
    fn take(&mut self, ring: &mut Ring) -> Result<(), FrontEndError> {
        while self.requests.has_room()
            && let Some(head) = ring.take(&self.memory)?
        {
            let origin = Origin { ring: 0, head };
            if let Some(ended) = self.requests.begin(&self.memory, ring.table(), origin)? {
                ring.give_back(&self.memory, head, ended.written)?;
            }
        }
        while let Some(operation) = self.requests.poll_operation(&self.memory)? {
            self.out.push(operation);
        }
        Ok(())
    }

    /// Ends the operation `which` of those that are out.
    fn finish(&mut self, ring: &mut Ring, which: usize) -> Result<(), FrontEndError> {
        let (tag, operation) = self.out.swap_remove(which);
        let buffer = match operation {
            Operation::Read { offset, mut buffer } => {
                buffer.copy_from_slice(&self.disk[offset as usize..][..buffer.len()]);
                Some(buffer)
            }
            Operation::Write { offset, buffer } => {
                self.disk[offset as usize..][..buffer.len()].copy_from_slice(&buffer);
                Some(buffer)
            }
            Operation::Discard { offset, len } => {
                self.disk[offset as usize..][..len as usize].fill(0);
                None
            }
            Operation::Flush => None,
        };
        if let Some(ended) =
            self.requests.handle_finished(&self.memory, Finished { tag, result: Ok(()), buffer })?
        {
            ring.give_back(&self.memory, ended.origin.head, ended.written)?;
        }
        Ok(())
    }
}
