//! The memory that a front end shares.

use super::FrontEndError;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::statfs::{HUGETLBFS_MAGIC, fstatfs};
use std::fs::File;
use std::io;
use std::sync::Arc;
use thiserror::Error;
use vhost::vhost_user::message::VhostUserMemoryRegion;
use vm_memory::{Address, FileOffset, GuestAddress, GuestMemoryMmap, GuestRegionMmap, MmapRegion};

/// Whose memory is mapped.
///
/// A file that is cut short ends everyone who has it mapped, at the next access (SIGBUS). So the memory has to be of a
/// kind that can't be cut short: a memfd with its seal, as QEMU's `memory-backend-memfd` makes it, and no huge pages,
/// which may run out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trust {
    /// Only memory that nobody can cut short.
    Sealed,
    /// Any: front ends could end this process.
    Any,
}

/// Why memory isn't mapped.
#[derive(Debug, Error)]
pub(super) enum MappingError {
    /// It can be cut short.
    #[error("it is not sealed against shrinking, as a memfd can be; or it has huge pages, which may run out")]
    Unsealed,
    /// There isn't so much.
    #[error("{len} bytes at {offset} of a file of {file_len}")]
    BeyondEnd { offset: u64, len: usize, file_len: u64 },
    /// There are more regions than may be.
    #[error("more than {0} regions")]
    TooMany(usize),
    /// The kernel or another region is against it.
    #[error("{0}")]
    Refused(String),
    /// The file's state is not to be had.
    #[error(transparent)]
    Os(#[from] io::Error),
}

/// Regions of a front end's memory.
pub(super) const MAX_REGIONS: usize = 32;

/// The guest's memory, as far as it is shared.
#[derive(Clone, Default)]
pub(super) struct Memory {
    pub(super) map: GuestMemoryMmap<()>,
    regions: Vec<VhostUserMemoryRegion>,
}

impl Memory {
    /// Adds a region.
    ///
    /// # Errors
    /// If it can't be mapped, overlaps with another one, or there are too many.
    pub(super) fn add(
        &mut self,
        region: &VhostUserMemoryRegion,
        file: File,
        trust: Trust,
    ) -> Result<(), MappingError> {
        if self.regions.len() == MAX_REGIONS {
            return Err(MappingError::TooMany(MAX_REGIONS));
        }
        let len = usize::try_from(region.memory_size).map_err(refused)?;
        let mapping = map(file, region.mmap_offset, len, trust)?;
        let mapped = GuestRegionMmap::new(mapping, GuestAddress(region.guest_phys_addr))
            .ok_or_else(|| MappingError::Refused("its addresses overflow".into()))?;
        self.map = self.map.insert_region(Arc::new(mapped)).map_err(refused)?;
        self.regions.push(*region);
        Ok(())
    }

    /// Takes a region away, and says whether it was there.
    pub(super) fn remove(&mut self, region: &VhostUserMemoryRegion) -> bool {
        let key =
            |region: &VhostUserMemoryRegion| (region.guest_phys_addr, region.user_addr, region.memory_size);
        let start = GuestAddress(region.guest_phys_addr);
        match self.regions.iter().position(|known| key(known) == key(region)) {
            Some(at) => {
                self.regions.swap_remove(at);
                let (map, _) = self.map.remove_region(start, region.memory_size).expect("it is mapped");
                self.map = map;
                true
            }
            None => false,
        }
    }

    /// What the front end has at its own address `user`.
    pub(super) fn translate(&self, user: u64) -> Result<GuestAddress, FrontEndError> {
        let find = |region: &VhostUserMemoryRegion| {
            let offset = user.checked_sub(region.user_addr)?;
            let start = GuestAddress(region.guest_phys_addr);
            (offset < region.memory_size).then(|| start.checked_add(offset)).flatten()
        };
        self.regions.iter().find_map(find).ok_or(FrontEndError::RingAddress(user))
    }
}

/// Maps `len` bytes of a file, from `offset` on.
pub(super) fn map(file: File, offset: u64, len: usize, trust: Trust) -> Result<MmapRegion, MappingError> {
    if trust == Trust::Sealed && !is_sealed(&file)? {
        return Err(MappingError::Unsealed);
    }
    // Only now, as it may have been cut short before it was sealed. The kernel maps what there isn't, too.
    let file_len = file.metadata()?.len();
    let end = offset.checked_add(len as u64);
    if end.is_none_or(|end| end > file_len) {
        return Err(MappingError::BeyondEnd { offset, len, file_len });
    }
    MmapRegion::from_file(FileOffset::new(file, offset), len).map_err(refused)
}

/// Whether nobody can cut a file short any more. Seals it, if nobody has.
fn is_sealed(file: &File) -> io::Result<bool> {
    if fstatfs(file)?.filesystem_type() == HUGETLBFS_MAGIC {
        return Ok(false);
    }
    match fcntl(file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK)) {
        // EPERM: seals can't be added, and EINVAL: it can't have any. What it has is what counts.
        Ok(_) | Err(Errno::EPERM | Errno::EINVAL) => {}
        Err(errno) => return Err(errno.into()),
    }
    match fcntl(file, FcntlArg::F_GET_SEALS) {
        Ok(seals) => Ok(SealFlag::from_bits_truncate(seals).contains(SealFlag::F_SEAL_SHRINK)),
        Err(Errno::EINVAL) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

fn refused(error: impl ToString) -> MappingError {
    MappingError::Refused(error.to_string())
}
