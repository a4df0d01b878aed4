//! Requests of a block device, and what is wrong with them (VIRTIO 5.2.6).

use super::FrontEndError;
use super::chain::Chain;
use crate::block::Geometry;
use crate::pieces::{Request, Work};
use vm_memory::GuestMemoryMmap;

/// Bytes of a sector, whatever a block of the disk has.
pub(super) const SECTOR_LEN: u64 = 512;

/// Bytes in front of a request's data.
pub(super) const HEADER_LEN: u64 = 16;

/// Bytes of what discards and writes of zeroes are of.
const RANGE_LEN: u64 = 16;

/// Bytes of the device's name.
pub(super) const ID_LEN: usize = 20;

/// VIRTIO_BLK_T_*
mod kind {
    pub(super) const IN: u32 = 0;
    pub(super) const OUT: u32 = 1;
    pub(super) const FLUSH: u32 = 4;
    pub(super) const GET_ID: u32 = 8;
    pub(super) const DISCARD: u32 = 11;
    pub(super) const WRITE_ZEROES: u32 = 13;
}

/// Of a range: VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP
const UNMAP: u32 = 1;

/// How a request ended: VIRTIO_BLK_S_*
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Status {
    Ok = 0,
    IoError = 1,
    Unsupported = 2,
}

/// What a guest asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ask {
    /// So many bytes of the device's name.
    Id { len: usize },
    /// Something of the disk.
    Disk(Request),
}

impl Ask {
    /// What a chain asks for, or the status that it gets for what is wrong.
    ///
    /// # Errors
    /// If it is not even long enough for a request.
    pub(super) fn parse(
        chain: &Chain,
        memory: &GuestMemoryMmap<()>,
        geometry: &Geometry,
    ) -> Result<Result<Self, Status>, FrontEndError> {
        let (readable, writable) = (chain.readable_len(), chain.writable_len());
        if readable < HEADER_LEN || writable == 0 {
            return Err(FrontEndError::Short { readable, writable });
        }
        let mut header = [0; HEADER_LEN as usize];
        chain.read(memory, 0, &mut header)?;
        let (kind, sector) = (long_at(&header, 0), quad_at(&header, 8));
        let offset = sector.saturating_mul(SECTOR_LEN);
        let (to_read, to_write) = (readable - HEADER_LEN, writable - 1);
        let request = match kind {
            kind::IN => Request { work: Work::Read, offset, len: to_write, fua: false },
            kind::OUT => Request { work: Work::Write, offset, len: to_read, fua: false },
            kind::FLUSH => return Ok(Ok(Self::Disk(Request::FLUSH))),
            kind::GET_ID => return Ok(Ok(Self::Id { len: to_write.min(ID_LEN as u64) as usize })),
            kind::DISCARD | kind::WRITE_ZEROES if to_read == RANGE_LEN => {
                let mut range = [0; RANGE_LEN as usize];
                chain.read(memory, HEADER_LEN, &mut range)?;
                let (work, known) = match kind {
                    kind::DISCARD => (Work::Discard, 0),
                    _ => (Work::WriteZeroes, UNMAP),
                };
                if long_at(&range, 12) & !known != 0 {
                    return Ok(Err(Status::Unsupported));
                }
                let (sector, sectors) = (quad_at(&range, 0), long_at(&range, 8));
                let offset = sector.saturating_mul(SECTOR_LEN);
                Request { work, offset, len: u64::from(sectors) * SECTOR_LEN, fua: false }
            }
            // One range is what we take.
            kind::DISCARD | kind::WRITE_ZEROES => return Ok(Err(Status::IoError)),
            _ => return Ok(Err(Status::Unsupported)),
        };
        Ok(check(&request, geometry).map(|()| Self::Disk(request)))
    }
}

fn check(request: &Request, geometry: &Geometry) -> Result<(), Status> {
    let &Request { work, offset, len, .. } = request;
    if work == Work::Discard && !geometry.discard {
        return Err(Status::Unsupported);
    }
    let is_right = len > 0 && geometry.is_aligned(offset, len) && geometry.contains(offset, len);
    if is_right && (work == Work::Read || !geometry.read_only) { Ok(()) } else { Err(Status::IoError) }
}

fn long_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn quad_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
