//! READ CAPACITY data: how many blocks of which length (SBC-3, 5.15, 5.16).

use super::zero_extended;
use crate::wire::WireError;
use zerocopy::byteorder::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The answer to READ CAPACITY (10).
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Capacity10 {
    /// The last block; `u32::MAX` if it doesn't fit: ask READ CAPACITY (16).
    pub last_lba: U32,
    /// Bytes of a block.
    pub block_len: U32,
}

/// The answer to READ CAPACITY (16).
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Capacity16 {
    /// The last block.
    pub last_lba: U64,
    /// Bytes of a block.
    pub block_len: U32,
    /// P_TYPE (bits 3:1) and PROT_EN (bit 0).
    pub protection: u8,
    /// P_I_EXPONENT (bits 7:4) and LOGICAL BLOCKS PER PHYSICAL BLOCK EXPONENT (bits 3:0).
    pub exponents: u8,
    /// LBPME (bit 15), LBPRZ (bit 14) and LOWEST ALIGNED LOGICAL BLOCK ADDRESS (bits 13:0).
    pub provisioning: U16,
    /// Reserved.
    pub reserved: [u8; 16],
}

/// Bytes of a whole READ CAPACITY (16) answer.
pub const CAPACITY_16_LEN: usize = size_of::<Capacity16>();
/// What the first devices with READ CAPACITY (16) gave: the last block and the block's length.
const CAPACITY_16_MIN_LEN: usize = 12;

impl Capacity10 {
    /// Reads the answer.
    pub fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        Self::read_from_prefix(bytes).map(|(data, _)| data).map_err(|_| WireError::Truncated {
            what: "READ CAPACITY (10) data",
            need: size_of::<Self>(),
            have: bytes.len(),
        })
    }

    /// Whether the disk is too big for this answer.
    pub fn is_overflow(&self) -> bool {
        self.last_lba.get() == u32::MAX
    }
}

impl Capacity16 {
    /// Logical block provisioning is managed: there is a logical block provisioning VPD page.
    pub const LBPME: u16 = 0x8000;
    /// Blocks that are unmapped read as zeros.
    pub const LBPRZ: u16 = 0x4000;

    /// Reads the answer; one that is cut after the block's length reads as zeros there.
    pub fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        if bytes.len() < CAPACITY_16_MIN_LEN {
            return Err(WireError::Truncated {
                what: "READ CAPACITY (16) data",
                need: CAPACITY_16_MIN_LEN,
                have: bytes.len(),
            });
        }
        Ok(zero_extended(bytes))
    }

    /// A physical block is two to the power of this many logical ones.
    pub const fn physical_block_exponent(&self) -> u8 {
        self.exponents & 0x0f
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_safe_and_come_back(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let len = bytes.len();
            match Capacity16::parse(&bytes) {
                Ok(data) => prop_assert_eq!(&data.as_bytes()[..len.min(32)], &bytes[..len.min(32)]),
                Err(_) => prop_assert!(len < 12),
            }
            match Capacity10::parse(&bytes) {
                Ok(data) => prop_assert_eq!(data.as_bytes(), &bytes[..8]),
                Err(_) => prop_assert!(len < 8),
            }
        }
    }

    #[test]
    fn fields_are_where_the_standard_has_them() {
        let mut bytes = [0; CAPACITY_16_LEN];
        bytes[..16].copy_from_slice(&[0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 2, 0, 0, 3, 0xc0, 5]);
        let data = Capacity16::parse(&bytes).unwrap();
        assert_eq!((data.last_lba.get(), data.block_len.get()), (0x1_0000_0002, 512));
        assert_eq!(data.physical_block_exponent(), 3);
        assert_eq!(data.provisioning.get(), Capacity16::LBPME | Capacity16::LBPRZ | 5);
        assert!(Capacity10::parse(&[0xff; 8]).unwrap().is_overflow());
    }
}
