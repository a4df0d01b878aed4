//! What a device says of itself.

use super::UblkError;
use crate::block::Geometry;
use libublk::sys::{
    UBLK_ATTR_FUA, UBLK_ATTR_READ_ONLY, UBLK_ATTR_VOLATILE_CACHE, UBLK_PARAM_TYPE_BASIC,
    UBLK_PARAM_TYPE_DISCARD, ublk_param_basic, ublk_param_discard, ublk_params,
};

/// As a power of two: the kernel's sector, whatever a block of the disk has.
pub(super) const SECTOR_SHIFT: u32 = 9;

/// Bytes of a request, and of the buffer that each place for one has in every queue.
pub(super) const MAX_REQUEST_LEN: u32 = 128 << 10;

/// Sectors of a discard: 1 GiB.
const MAX_DISCARD_SECTORS: u32 = 1 << 21;

/// Sectors of a write of zeroes, which are sent one by one: 64 MiB.
const MAX_WRITE_ZEROES_SECTORS: u32 = 1 << 17;

/// A disk as the kernel is told of it.
///
/// # Errors
/// If its blocks are of a length that block devices don't have.
pub(super) fn parameters(geometry: &Geometry) -> Result<ublk_params, UblkError> {
    let block_len = geometry.block_len;
    if !block_len.is_power_of_two() || !(512..=4096).contains(&block_len) {
        return Err(UblkError::BlockLen(block_len));
    }
    let shift = block_len.trailing_zeros() as u8;
    let read_only = if geometry.read_only { UBLK_ATTR_READ_ONLY } else { 0 };
    let discard_sectors = if geometry.discard { MAX_DISCARD_SECTORS } else { 0 };
    Ok(ublk_params {
        types: UBLK_PARAM_TYPE_BASIC | UBLK_PARAM_TYPE_DISCARD,
        basic: ublk_param_basic {
            attrs: UBLK_ATTR_VOLATILE_CACHE | UBLK_ATTR_FUA | read_only,
            logical_bs_shift: shift,
            physical_bs_shift: shift,
            io_opt_shift: shift,
            io_min_shift: shift,
            max_sectors: MAX_REQUEST_LEN >> SECTOR_SHIFT,
            dev_sectors: geometry.len() >> SECTOR_SHIFT,
            ..ublk_param_basic::default()
        },
        discard: ublk_param_discard {
            discard_granularity: block_len,
            max_discard_sectors: discard_sectors,
            max_write_zeroes_sectors: MAX_WRITE_ZEROES_SECTORS,
            max_discard_segments: 1,
            ..ublk_param_discard::default()
        },
        ..ublk_params::default()
    })
}

/// Whether a device that was told `then` is what it is to be now.
pub(super) fn are_same(then: &ublk_params, now: &ublk_params) -> bool {
    let disk = |parameters: &ublk_params| {
        let ublk_params { basic, discard, .. } = parameters;
        let changes = (discard.max_discard_sectors, discard.max_write_zeroes_sectors);
        (basic.dev_sectors, basic.logical_bs_shift, basic.attrs, basic.max_sectors, changes)
    };
    disk(then) == disk(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_told_what_the_disk_is_like() {
        let geometry = Geometry {
            block_len: 4096,
            blocks: 256,
            max_operation_len: 65536,
            read_only: false,
            discard: false,
        };
        let now = parameters(&geometry).unwrap();
        assert_eq!((now.basic.logical_bs_shift, now.basic.dev_sectors), (12, 2048));
        assert_eq!((now.basic.attrs & UBLK_ATTR_READ_ONLY, now.discard.max_discard_sectors), (0, 0));
        assert!(are_same(&now, &now));
        for other in [
            Geometry { read_only: true, ..geometry.clone() },
            Geometry { discard: true, ..geometry.clone() },
            Geometry { blocks: 255, ..geometry.clone() },
            Geometry { block_len: 512, blocks: 2048, ..geometry.clone() },
        ] {
            assert!(!are_same(&parameters(&other).unwrap(), &now), "{other:?}");
        }
        for block_len in [256, 520, 8192] {
            let odd = Geometry { block_len, ..geometry.clone() };
            assert!(matches!(parameters(&odd), Err(UblkError::BlockLen(len)) if len == block_len));
        }
    }
}
