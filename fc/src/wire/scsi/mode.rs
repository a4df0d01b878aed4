//! Mode parameters: MODE SENSE's headers and pages (SPC-4, 7.5; SBC-3, 6.4).

use super::zero_extended;
use crate::wire::WireError;
use zerocopy::byteorder::big_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

const HEADER_6_LEN: usize = 4;
const HEADER_10_LEN: usize = 8;

/// Page codes.
pub mod page {
    /// Caching.
    pub const CACHING: u8 = 0x08;
    /// Control.
    pub const CONTROL: u8 = 0x0a;
    /// All pages.
    pub const ALL: u8 = 0x3f;
}

/// The answer to MODE SENSE, as far as it was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ModeData<'a> {
    /// With the longer header of MODE SENSE (10).
    pub ten: bool,
    /// Bytes that follow MODE DATA LENGTH in the whole answer.
    pub data_len: u16,
    /// MEDIUM TYPE; 0 for disks.
    pub medium_type: u8,
    /// [`WRITE_PROTECTED`], [`DPOFUA`].
    pub device_specific: u8,
    /// Block descriptors are the long ones; 10-byte form only.
    pub long_lba: bool,
    /// Bytes of block descriptors in the whole answer.
    pub descriptors_len: u16,
    /// Block descriptors.
    pub descriptors: &'a [u8],
    /// Mode pages: see [`pages`].
    pub pages: &'a [u8],
}

/// Bit of the device-specific parameter: writes are refused.
pub const WRITE_PROTECTED: u8 = 0x80;
/// Bit of the device-specific parameter: DPO and FUA are supported.
pub const DPOFUA: u8 = 0x10;

impl<'a> ModeData<'a> {
    /// Reads the answer to MODE SENSE (10) if `ten`, else to MODE SENSE (6).
    ///
    /// # Errors
    /// [`WireError::Truncated`] without the whole header.
    pub fn parse(bytes: &'a [u8], ten: bool) -> Result<Self, WireError> {
        let header_len = if ten { HEADER_10_LEN } else { HEADER_6_LEN };
        let truncated = |need| WireError::Truncated { what: "mode data", need, have: bytes.len() };
        let (header, _) = bytes.split_at_checked(header_len).ok_or(truncated(header_len))?;
        let (data_len, len_field) =
            if ten { (u16::from_be_bytes([header[0], header[1]]), 2) } else { (header[0].into(), 1) };
        let (medium_type, device_specific) = (header[len_field], header[len_field + 1]);
        let descriptors_len = if ten { u16::from_be_bytes([header[6], header[7]]) } else { header[3].into() };
        let end = (len_field + usize::from(data_len)).min(bytes.len());
        let rest = bytes.get(header_len..end).unwrap_or(&[]);
        let (descriptors, pages) = rest.split_at(rest.len().min(descriptors_len.into()));
        Ok(Self {
            ten,
            data_len,
            medium_type,
            device_specific,
            long_lba: ten && header[4] & 1 != 0,
            descriptors_len,
            descriptors,
            pages,
        })
    }

    /// Whether writes are refused.
    pub const fn is_write_protected(&self) -> bool {
        self.device_specific & WRITE_PROTECTED != 0
    }

    /// Bytes that [`Self::emit`] writes.
    pub fn len(&self) -> usize {
        let header_len = if self.ten { HEADER_10_LEN } else { HEADER_6_LEN };
        header_len + self.descriptors.len() + self.pages.len()
    }

    /// MODE DATA LENGTH of an answer that is sent whole.
    ///
    /// # Panics
    /// If it does not fit its field.
    pub fn whole_data_len(&self) -> u16 {
        let data_len = self.len() - if self.ten { 2 } else { 1 };
        let limit = if self.ten { u16::MAX } else { u8::MAX.into() };
        u16::try_from(data_len).ok().filter(|&len| len <= limit).expect("mode data fits its length")
    }

    /// Writes the answer, with the lengths that it names, to the front of `buffer` and gives its length.
    ///
    /// # Panics
    /// If `buffer` is too short or a length does not fit its field.
    pub fn emit(&self, buffer: &mut [u8]) -> usize {
        let mut header = [0; HEADER_10_LEN];
        let header_len = if self.ten {
            let [len_high, len_low] = self.data_len.to_be_bytes();
            let [high, low] = self.descriptors_len.to_be_bytes();
            let long = u8::from(self.long_lba);
            header = [len_high, len_low, self.medium_type, self.device_specific, long, 0, high, low];
            HEADER_10_LEN
        } else {
            header[0] = u8::try_from(self.data_len).expect("mode data fits its length");
            header[1] = self.medium_type;
            header[2] = self.device_specific;
            header[3] = u8::try_from(self.descriptors_len).expect("block descriptors fit");
            HEADER_6_LEN
        };
        let mut at = 0;
        for part in [&header[..header_len], self.descriptors, self.pages] {
            buffer[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        at
    }
}

/// One mode page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ModePage<'a> {
    /// PS: the page can be saved.
    pub saveable: bool,
    /// Page code, six bits: see [`page`].
    pub code: u8,
    /// The subpage, if the page has the longer header.
    pub subpage: Option<u8>,
    /// What follows the header.
    pub body: &'a [u8],
}

impl ModePage<'_> {
    /// Bytes that [`Self::emit`] writes.
    pub fn len(&self) -> usize {
        self.body.len() + if self.subpage.is_some() { 4 } else { 2 }
    }

    /// Writes the page to the front of `buffer` and gives its length.
    ///
    /// # Panics
    /// If `buffer` is too short or the body does not fit its length.
    pub fn emit(&self, buffer: &mut [u8]) -> usize {
        let header_len = self.len() - self.body.len();
        buffer[0] = u8::from(self.saveable) << 7 | self.code & 0x3f;
        match self.subpage {
            None => buffer[1] = u8::try_from(self.body.len()).expect("a mode page fits its length"),
            Some(subpage) => {
                buffer[0] |= 0x40;
                buffer[1] = subpage;
                let len = u16::try_from(self.body.len()).expect("a mode page fits its length");
                buffer[2..4].copy_from_slice(&len.to_be_bytes());
            }
        }
        buffer[header_len..self.len()].copy_from_slice(self.body);
        self.len()
    }
}

/// The pages in `bytes`. It ends before the first one that is cut short, as the allocation length may have it.
pub fn pages(bytes: &[u8]) -> impl Iterator<Item = ModePage<'_>> {
    let mut rest = bytes;
    core::iter::from_fn(move || {
        let &[first, ..] = rest else { return None };
        let (subpage, body_len, after) = if first & 0x40 == 0 {
            let (&[_, len], after) = rest.split_first_chunk()?;
            (None, usize::from(len), after)
        } else {
            let (&[_, subpage, high, low], after) = rest.split_first_chunk()?;
            (Some(subpage), usize::from(u16::from_be_bytes([high, low])), after)
        };
        let (body, after) = after.split_at_checked(body_len)?;
        rest = after;
        Some(ModePage { saveable: first & 0x80 != 0, code: first & 0x3f, subpage, body })
    })
}

/// The body of the caching page (SBC-3, 6.4.5).
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct CachingPage {
    /// [`Self::WCE`], [`Self::RCD`] and others.
    pub flags: u8,
    /// Retention priorities of reads and writes.
    pub retention: u8,
    /// No prefetch for longer reads.
    pub disable_prefetch_len: U16,
    /// The least blocks to prefetch.
    pub min_prefetch: U16,
    /// The most blocks to prefetch.
    pub max_prefetch: U16,
    /// The ceiling of that.
    pub max_prefetch_ceiling: U16,
    /// FSW, LBCSS, DRA, NV_DIS.
    pub flags2: u8,
    /// Cache segments.
    pub segments: u8,
    /// Bytes of a cache segment.
    pub segment_len: U16,
    /// Reserved and obsolete.
    pub reserved: [u8; 4],
}

impl CachingPage {
    /// Write cache enabled: writes without FUA may be lost without SYNCHRONIZE CACHE.
    pub const WCE: u8 = 0x04;
    /// Read cache disabled.
    pub const RCD: u8 = 0x01;

    /// Reads the page's body; what a short one doesn't have reads as zeros.
    pub fn from_body(body: &[u8]) -> Self {
        zero_extended(body)
    }
}

/// The body of the control page (SPC-4, 7.5.8).
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct ControlPage {
    /// TST (bits 7:5), TMF_ONLY, DPICZ, [`Self::D_SENSE`], GLTSD, RLEC.
    pub flags: u8,
    /// QUEUE ALGORITHM MODIFIER (bits 7:4): 1 lets the device reorder; NUAR, QERR (bits 2:1).
    pub queueing: u8,
    /// VS, RAC, UA_INTLCK_CTRL (bits 5:4), [`Self::SWP`].
    pub flags2: u8,
    /// ATO, [`Self::TAS`], ATMPE, RWWP, AUTOLOAD MODE.
    pub flags3: u8,
    /// Obsolete.
    pub obsolete: U16,
    /// The longest that the device is busy, in 100 ms.
    pub busy_timeout: U16,
    /// Seconds of the extended self-test.
    pub self_test_s: U16,
}

impl ControlPage {
    /// In [`Self::flags`]: sense data is in descriptor format.
    pub const D_SENSE: u8 = 0x04;
    /// In [`Self::flags2`]: software write protect.
    pub const SWP: u8 = 0x08;
    /// In [`Self::flags3`]: commands that another initiator aborts end in TASK ABORTED.
    pub const TAS: u8 = 0x40;

    /// Reads the page's body; what a short one doesn't have reads as zeros.
    pub fn from_body(body: &[u8]) -> Self {
        zero_extended(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn mode_data_comes_back(
            ten in any::<bool>(),
            long_lba in any::<bool>(),
            device_specific in any::<u8>(),
            descriptors in prop_oneof![Just(0usize), Just(8), Just(16)],
            subpage in proptest::option::of(any::<u8>()),
            body in proptest::collection::vec(any::<u8>(), 0..20),
        ) {
            let caching = CachingPage { flags: CachingPage::WCE, ..CachingPage::default() };
            let two = [
                ModePage { saveable: true, code: page::CACHING, subpage: None, body: caching.as_bytes() },
                ModePage { saveable: false, code: 0x1c, subpage, body: &body },
            ];
            let mut bytes = [0xa5; 100];
            let first = two[0].emit(&mut bytes);
            let len = first + two[1].emit(&mut bytes[first..]);
            let data = ModeData {
                ten,
                data_len: 0,
                medium_type: 0,
                device_specific,
                long_lba: ten && long_lba,
                descriptors_len: u16::try_from(descriptors).unwrap(),
                descriptors: &[7; 16][..descriptors],
                pages: &bytes[..len],
            };
            let data = ModeData { data_len: data.whole_data_len(), ..data };
            let mut buffer = [0xa5; 200];
            prop_assert_eq!(data.emit(&mut buffer), data.len());
            let again = ModeData::parse(&buffer, ten).unwrap();
            prop_assert_eq!(again, data);
            let read: std::vec::Vec<_> = pages(again.pages).collect();
            prop_assert_eq!(&read[..], &two[..]);
            prop_assert_eq!(CachingPage::from_body(read[0].body), caching);
            prop_assert_eq!(pages(&again.pages[..len - 1]).count(), 1);
        }

        #[test]
        fn any_bytes_are_safe(bytes in proptest::collection::vec(any::<u8>(), 0..64), ten in any::<bool>()) {
            if let Ok(data) = ModeData::parse(&bytes, ten) {
                for page in pages(data.pages) {
                    let _ = (CachingPage::from_body(page.body), ControlPage::from_body(page.body));
                }
            }
        }
    }

    #[test]
    fn bodies_have_the_standards_lengths() {
        assert_eq!(size_of::<CachingPage>(), 0x12);
        assert_eq!(size_of::<ControlPage>(), 0x0a);
    }
}
