//! The CRC of FC frames (FC-FS-3, 5.4): CRC-32 as in Ethernet.
//!
//! It is most of what a full frame costs a poll core, and a fifth of what a command does. So full frames have a way of
//! their own for CPUs that multiply 512 bits without carries at a time: 47 ns for 2136 bytes, where `crc32fast` takes 67;
//! and so have short ones, for CPUs that do so with 64 bits: 13 to 14 ns for 48 to 64 bytes, in place of 16 to 20.
//! `crc32fast` does it for all others.

#![no_std]

#[cfg(any(test, feature = "std"))]
extern crate std;

#[cfg(all(target_arch = "x86_64", any(test, feature = "std")))]
mod lane;
#[cfg(all(target_arch = "x86_64", any(test, feature = "std")))]
mod polynomial;
#[cfg(all(target_arch = "x86_64", any(test, feature = "std")))]
mod short;
#[cfg(all(target_arch = "x86_64", any(test, feature = "std")))]
mod wide;

/// The CRC of an FC frame from its header to its last fill byte. It stands on the wire in little-endian order.
#[inline]
pub fn fc_crc(frame: &[u8]) -> u32 {
    by_multiplication(frame).unwrap_or_else(|| crc32fast::hash(frame))
}

#[cfg(all(target_arch = "x86_64", any(test, feature = "std")))]
#[inline]
fn by_multiplication(frame: &[u8]) -> Option<u32> {
    if frame.len() <= short::MAX_LEN { short::crc(frame) } else { wide::crc(frame) }
}

#[cfg(not(all(target_arch = "x86_64", any(test, feature = "std"))))]
const fn by_multiplication(_frame: &[u8]) -> Option<u32> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    #[test]
    fn a_captured_rtv_request_has_its_crc() {
        let rtv = [
            0x22, 0, 0, 1, 0, 0, 0, 2, 0x01, 0x29, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0x0e, 0,
            0, 0,
        ];
        assert_eq!(fc_crc(&rtv).to_le_bytes(), [0xe3, 0xc3, 0x9c, 0x21]);
    }

    /// Each length takes its own way through the blocks.
    #[test]
    fn every_length_is_right() {
        let bytes: Vec<u8> = (0..2200u32).map(|at| ((at * at) >> 3) as u8).collect();
        for len in 0..=bytes.len() {
            let (front, back) = (&bytes[..len], &bytes[bytes.len() - len..]);
            assert_eq!(
                (fc_crc(front), fc_crc(back)),
                (crc32fast::hash(front), crc32fast::hash(back)),
                "{len}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_right(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
            prop_assert_eq!(fc_crc(&bytes), crc32fast::hash(&bytes));
        }
    }
}
