//! Requests of the kernel's block layer, and what is wrong with them.

use super::parameters::{MAX_REQUEST_LEN, SECTOR_SHIFT};
use crate::block::Geometry;
use crate::pieces::{Request, Work};
use libublk::sys::{
    UBLK_IO_F_FUA, UBLK_IO_OP_DISCARD, UBLK_IO_OP_FLUSH, UBLK_IO_OP_READ, UBLK_IO_OP_WRITE,
    UBLK_IO_OP_WRITE_ZEROES, ublksrv_io_desc,
};
use nix::errno::Errno;

/// The bits of `op_flags` that say what is to be done.
const OPERATION: u32 = 0xff;

/// What a descriptor asks for.
///
/// # Errors
/// The number that the kernel gets for what is wrong.
pub(super) fn parse(descriptor: &ublksrv_io_desc, geometry: &Geometry) -> Result<Request, Errno> {
    let work = match descriptor.op_flags & OPERATION {
        UBLK_IO_OP_READ => Work::Read,
        UBLK_IO_OP_WRITE => Work::Write,
        UBLK_IO_OP_FLUSH => return Ok(Request::FLUSH),
        UBLK_IO_OP_DISCARD if geometry.discard => Work::Discard,
        UBLK_IO_OP_WRITE_ZEROES => Work::WriteZeroes,
        _ => return Err(Errno::EOPNOTSUPP),
    };
    let offset = descriptor.start_sector.saturating_mul(1 << SECTOR_SHIFT);
    let len = u64::from(descriptor.nr_sectors) << SECTOR_SHIFT;
    let is_moved = matches!(work, Work::Read | Work::Write);
    if work != Work::Read && geometry.read_only {
        return Err(Errno::EPERM);
    }
    if len == 0
        || is_moved && len > MAX_REQUEST_LEN.into()
        || !geometry.is_aligned(offset, len)
        || !geometry.contains(offset, len)
    {
        return Err(Errno::EINVAL);
    }
    let fua = work != Work::Read && descriptor.op_flags & UBLK_IO_F_FUA != 0;
    Ok(Request { work, offset, len, fua })
}

#[cfg(test)]
mod tests {
    use super::*;
    use libublk::sys::{UBLK_IO_F_META, UBLK_IO_F_NOUNMAP, UBLK_IO_OP_WRITE_SAME, UBLK_IO_OP_ZONE_RESET};

    #[test]
    fn requests_are_what_the_kernel_means_or_are_refused() {
        let disk = Geometry {
            block_len: 4096,
            blocks: 1 << 16,
            max_operation_len: 65536,
            read_only: false,
            discard: true,
        };
        let read_only = Geometry { read_only: true, ..disk.clone() };
        let no_discard = Geometry { discard: false, ..disk.clone() };
        let good = |work, offset, len, fua| Ok(Request { work, offset, len, fua });
        let end = disk.len() >> SECTOR_SHIFT;
        for (op_flags, start_sector, nr_sectors, geometry, expected) in [
            (UBLK_IO_OP_READ | UBLK_IO_F_META, 8, 16, &disk, good(Work::Read, 4096, 8192, false)),
            (UBLK_IO_OP_READ, 0, 256, &disk, good(Work::Read, 0, 131_072, false)),
            (UBLK_IO_OP_READ, 0, 264, &disk, Err(Errno::EINVAL)),
            (UBLK_IO_OP_READ, 1, 8, &disk, Err(Errno::EINVAL)),
            (UBLK_IO_OP_READ, 0, 0, &disk, Err(Errno::EINVAL)),
            (UBLK_IO_OP_READ, u64::MAX, 8, &disk, Err(Errno::EINVAL)),
            (UBLK_IO_OP_WRITE, end - 8, 8, &disk, good(Work::Write, disk.len() - 4096, 4096, false)),
            (UBLK_IO_OP_WRITE, end - 8, 16, &disk, Err(Errno::EINVAL)),
            (UBLK_IO_OP_WRITE | UBLK_IO_F_FUA, 0, 8, &disk, good(Work::Write, 0, 4096, true)),
            (UBLK_IO_OP_WRITE, 0, 8, &read_only, Err(Errno::EPERM)),
            (UBLK_IO_OP_FLUSH, 0, 0, &read_only, good(Work::Flush, 0, 0, true)),
            (UBLK_IO_OP_DISCARD, 0, 1 << 19, &disk, good(Work::Discard, 0, 1 << 28, false)),
            (UBLK_IO_OP_DISCARD, 0, 8, &read_only, Err(Errno::EPERM)),
            (UBLK_IO_OP_DISCARD, 0, 8, &no_discard, Err(Errno::EOPNOTSUPP)),
            (
                UBLK_IO_OP_WRITE_ZEROES | UBLK_IO_F_NOUNMAP,
                0,
                1 << 17,
                &disk,
                good(Work::WriteZeroes, 0, 1 << 26, false),
            ),
            (UBLK_IO_OP_WRITE_SAME, 0, 8, &disk, Err(Errno::EOPNOTSUPP)),
            (UBLK_IO_OP_ZONE_RESET, 0, 8, &disk, Err(Errno::EOPNOTSUPP)),
        ] {
            let descriptor = ublksrv_io_desc { op_flags, nr_sectors, start_sector, addr: 0 };
            assert_eq!(parse(&descriptor, geometry), expected, "{descriptor:?}");
        }
    }
}
