//! UNMAP's parameter list: which blocks hold no data any more (SBC-3, 5.25.2).

use crate::wire::WireError;
use zerocopy::byteorder::big_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes before the ranges.
pub const HEADER_LEN: usize = 8;
/// The most ranges that the list's length can count.
pub const MAX_RANGES: usize = (u16::MAX as usize - HEADER_LEN) / size_of::<UnmapRange>();

/// Consecutive blocks to unmap.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct UnmapRange {
    /// The first block.
    pub lba: U64,
    /// How many.
    pub count: U32,
    /// Reserved.
    pub reserved: [u8; 4],
}

impl UnmapRange {
    /// So many blocks from `lba` on.
    pub fn new(lba: u64, count: u32) -> Self {
        Self { lba: lba.into(), count: count.into(), reserved: [0; 4] }
    }
}

/// The ranges of a parameter list. An odd rest at the end isn't looked at, as the standard asks.
///
/// # Errors
/// [`WireError::Truncated`] for a list shorter than its own length: PARAMETER LIST LENGTH ERROR to the initiator.
pub fn parse(list: &[u8]) -> Result<&[UnmapRange], WireError> {
    let truncated = |need| WireError::Truncated { what: "UNMAP parameter list", need, have: list.len() };
    let Some((&[_, _, high, low, _, _, _, _], rest)) = list.split_first_chunk::<HEADER_LEN>() else {
        return Err(truncated(HEADER_LEN));
    };
    let ranges_len = usize::from(u16::from_be_bytes([high, low]));
    let ranges = rest.get(..ranges_len).ok_or(truncated(HEADER_LEN + ranges_len))?;
    let count = ranges_len / size_of::<UnmapRange>();
    let (ranges, _) = <[UnmapRange]>::ref_from_prefix_with_elems(ranges, count).expect("counted to fit");
    Ok(ranges)
}

/// Bytes that [`emit`] writes for so many ranges.
pub const fn len(count: usize) -> usize {
    HEADER_LEN + count * size_of::<UnmapRange>()
}

/// Writes a parameter list to the front of `buffer` and gives its length.
///
/// # Panics
/// If `buffer` is too short or there are more than [`MAX_RANGES`].
pub fn emit(ranges: &[UnmapRange], buffer: &mut [u8]) -> usize {
    assert!(ranges.len() <= MAX_RANGES, "{} ranges in one UNMAP", ranges.len());
    let len = len(ranges.len());
    let field = |value: usize| u16::try_from(value).expect("bounded above").to_be_bytes();
    buffer[..2].copy_from_slice(&field(len - 2));
    buffer[2..4].copy_from_slice(&field(len - HEADER_LEN));
    buffer[4..HEADER_LEN].fill(0);
    buffer[HEADER_LEN..len].copy_from_slice(ranges.as_bytes());
    len
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ranges_come_back(ranges in proptest::collection::vec(any::<(u64, u32)>(), 0..10)) {
            let ranges: std::vec::Vec<_> =
                ranges.iter().map(|&(lba, count)| UnmapRange::new(lba, count)).collect();
            let mut buffer = [0xa5; 200];
            let len = emit(&ranges, &mut buffer);
            prop_assert_eq!(parse(&buffer[..len]), Ok(&ranges[..]));
            prop_assert!(parse(&buffer[..len - 1]).is_err());
        }

        #[test]
        fn any_bytes_are_safe(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = parse(&bytes);
        }
    }
}
