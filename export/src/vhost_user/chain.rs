//! Descriptor chains: what memory a request has (VIRTIO 2.7.5).
//!
//! A walk of our own, because that of virtio-queue ends at whatever is wrong as if the chain did.

use super::{FrontEndError, Segment};
use virtio_queue::desc::split::Descriptor;
use vm_memory::{Address, Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap};

/// Descriptors of an indirect table. Drivers keep to the ring's size, and `seg_max`.
const MAX_INDIRECT: u16 = 1024;

/// Bytes of a descriptor.
const DESCRIPTOR_LEN: u32 = 16;

/// A table of descriptors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table {
    pub(super) address: GuestAddress,
    pub(super) count: u16,
}

/// A chain that has been walked to its end: memory to read, then memory to write.
#[derive(Debug, Default)]
pub(super) struct Chain {
    segments: Vec<Segment>,
    /// How many of the segments are to be read.
    readable: usize,
    readable_len: u64,
    writable_len: u64,
}

impl Chain {
    /// Takes the chain that begins with descriptor `head` of `table` in the place of what was here before.
    ///
    /// # Errors
    /// If it is none.
    pub(super) fn walk(
        &mut self,
        memory: &GuestMemoryMmap<()>,
        table: Table,
        head: u16,
    ) -> Result<(), FrontEndError> {
        self.segments.clear();
        (self.readable, self.readable_len, self.writable_len) = (0, 0, 0);
        let (mut table, mut index, mut is_indirect) = (table, head, false);
        let mut walked = 0;
        loop {
            let descriptor = read(memory, table, index)?;
            if descriptor.refers_to_indirect_table() {
                let len = descriptor.len();
                let count = u16::try_from(len / DESCRIPTOR_LEN).unwrap_or(u16::MAX);
                let is_whole = len.is_multiple_of(DESCRIPTOR_LEN) && (1..=MAX_INDIRECT).contains(&count);
                if is_indirect || descriptor.has_next() || !is_whole {
                    return Err(FrontEndError::Indirect(len));
                }
                table = Table { address: descriptor.addr(), count };
                (index, is_indirect, walked) = (0, true, 0);
                continue;
            }
            walked += 1;
            if walked > table.count {
                return Err(FrontEndError::Loop(table.count));
            }
            self.add(memory, &descriptor)?;
            if !descriptor.has_next() {
                return Ok(());
            }
            index = descriptor.next();
        }
    }

    fn add(&mut self, memory: &GuestMemoryMmap<()>, descriptor: &Descriptor) -> Result<(), FrontEndError> {
        let (address, len) = (descriptor.addr(), descriptor.len());
        if len == 0 {
            return Ok(());
        }
        if !GuestMemoryBackend::check_range(memory, address, len as usize) {
            return Err(vm_memory::GuestMemoryError::InvalidGuestAddress(address).into());
        }
        if descriptor.is_write_only() {
            self.writable_len += u64::from(len);
        } else if self.writable_len > 0 {
            return Err(FrontEndError::Order);
        } else {
            self.readable_len += u64::from(len);
            self.readable += 1;
        }
        self.segments.push(Segment { address, len });
        Ok(())
    }

    /// Bytes to read.
    pub(super) fn readable_len(&self) -> u64 {
        self.readable_len
    }

    /// Bytes to write.
    pub(super) fn writable_len(&self) -> u64 {
        self.writable_len
    }

    /// Fills `buffer` from byte `at` of what is to be read.
    ///
    /// # Errors
    /// If that is no memory any more.
    ///
    /// # Panics
    /// If there is not so much.
    pub(super) fn read(
        &self,
        memory: &GuestMemoryMmap<()>,
        at: u64,
        buffer: &mut [u8],
    ) -> Result<(), FrontEndError> {
        let mut left = buffer;
        for (address, len) in pieces(&self.segments[..self.readable], at, left.len()) {
            let (piece, rest) = left.split_at_mut(len);
            memory.read_slice(piece, address)?;
            left = rest;
        }
        assert!(left.is_empty(), "{} bytes more than there are", left.len());
        Ok(())
    }

    /// Puts `bytes` from byte `at` of what is to be written.
    ///
    /// # Errors
    /// If that is no memory any more.
    ///
    /// # Panics
    /// If there is not so much.
    pub(super) fn write(
        &self,
        memory: &GuestMemoryMmap<()>,
        at: u64,
        bytes: &[u8],
    ) -> Result<(), FrontEndError> {
        let mut left = bytes;
        for (address, len) in pieces(&self.segments[self.readable..], at, left.len()) {
            let (piece, rest) = left.split_at(len);
            memory.write_slice(piece, address)?;
            left = rest;
        }
        assert!(left.is_empty(), "{} bytes more than there are", left.len());
        Ok(())
    }
}

/// Where `len` bytes of the segments are, from byte `at` of them on.
fn pieces(segments: &[Segment], at: u64, len: usize) -> impl Iterator<Item = (GuestAddress, usize)> {
    let (mut skip, mut left) = (at, len);
    segments.iter().filter_map(move |segment| {
        let here = u64::from(segment.len);
        if skip >= here || left == 0 {
            skip = skip.saturating_sub(here);
            return None;
        }
        let len = left.min((here - skip) as usize);
        let address = segment.address.unchecked_add(skip);
        (skip, left) = (0, left - len);
        Some((address, len))
    })
}

fn read(memory: &GuestMemoryMmap<()>, table: Table, index: u16) -> Result<Descriptor, FrontEndError> {
    let Table { address, count } = table;
    if index >= count {
        return Err(FrontEndError::Descriptor { index, count });
    }
    let offset = u64::from(index) * u64::from(DESCRIPTOR_LEN);
    let address =
        address.checked_add(offset).ok_or(vm_memory::GuestMemoryError::InvalidGuestAddress(address))?;
    Ok(memory.read_obj(address)?)
}
