//! REPORT LUNS data: which logical units there are (SPC-4, 6.33).

use crate::wire::WireError;
use crate::wire::fcp::Lun;
use zerocopy::{FromBytes, IntoBytes};

/// Bytes before the list.
pub const HEADER_LEN: usize = 8;

/// A list of LUNs, as far as it was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LunList<'a> {
    /// Bytes that the whole list has, by its own word.
    pub list_len: u32,
    /// The LUNs that were sent.
    pub luns: &'a [Lun],
}

impl<'a> LunList<'a> {
    /// Reads the list; what is behind it, or a part of a LUN at its end, isn't looked at.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, WireError> {
        let Some((&[a, b, c, d, _, _, _, _], rest)) = bytes.split_first_chunk::<HEADER_LEN>() else {
            return Err(WireError::Truncated { what: "LUN list", need: HEADER_LEN, have: bytes.len() });
        };
        let list_len = u32::from_be_bytes([a, b, c, d]);
        let count = (list_len as usize).min(rest.len()) / size_of::<Lun>();
        let (luns, _) = <[Lun]>::ref_from_prefix_with_elems(rest, count).expect("counted to fit");
        Ok(Self { list_len, luns })
    }

    /// Whether there are more LUNs than were sent: ask again with room for [`Self::whole_len`].
    pub fn is_cut(&self) -> bool {
        self.luns.len() < self.list_len as usize / size_of::<Lun>()
    }

    /// Bytes of the whole answer.
    pub const fn whole_len(&self) -> u64 {
        HEADER_LEN as u64 + self.list_len as u64
    }
}

/// Bytes that [`emit`] writes for so many LUNs.
pub const fn len(count: usize) -> usize {
    HEADER_LEN + count * size_of::<Lun>()
}

/// Writes a whole list to the front of `buffer` and gives its length.
///
/// # Panics
/// If `buffer` is too short.
pub fn emit(luns: &[Lun], buffer: &mut [u8]) -> usize {
    let len = len(luns.len());
    let list_len = u32::try_from(len - HEADER_LEN).expect("a LUN list fits its length");
    buffer[..4].copy_from_slice(&list_len.to_be_bytes());
    buffer[4..HEADER_LEN].fill(0);
    buffer[HEADER_LEN..len].copy_from_slice(luns.as_bytes());
    len
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn lists_come_back(numbers in proptest::collection::vec(0u16..0x4000, 0..20), cut in 0usize..200) {
            let luns: std::vec::Vec<_> = numbers.iter().map(|&number| Lun::single(number).unwrap()).collect();
            let mut buffer = [0xa5; 200];
            let len = emit(&luns, &mut buffer);
            let list = LunList::parse(&buffer).unwrap();
            prop_assert_eq!(list.luns, &luns[..]);
            prop_assert_eq!((list.is_cut(), list.whole_len()), (false, len as u64));

            match LunList::parse(&buffer[..cut.min(len)]) {
                Ok(list) => {
                    prop_assert_eq!(list.luns, &luns[..list.luns.len()]);
                    prop_assert_eq!(list.is_cut(), cut < len);
                }
                Err(_) => prop_assert!(cut < HEADER_LEN),
            }
        }

        #[test]
        fn any_bytes_are_safe(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(list) = LunList::parse(&bytes) {
                prop_assert!(list.luns.len() <= bytes.len() / 8);
            }
        }
    }
}
