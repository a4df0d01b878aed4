//! Standard INQUIRY data: what a logical unit is (SPC-4, 6.6.2).

use crate::wire::WireError;
use alloc::string::String;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of the part that every device gives.
pub const LEN: usize = size_of::<InquiryData>();

/// The part of standard INQUIRY data that every device gives. Version descriptors may follow it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct InquiryData {
    /// Peripheral qualifier (bits 7:5) and device type (bits 4:0).
    pub peripheral: u8,
    /// RMB (bit 7): the medium can be removed.
    pub removable: u8,
    /// VERSION: 5 is SPC-3, 6 is SPC-4.
    pub version: u8,
    /// NORMACA (bit 5), HISUP (bit 4) and the response data format, which is 2.
    pub response_format: u8,
    /// Bytes after this one.
    pub additional_len: u8,
    /// SCCS, ACC, TPGS (bits 5:4), 3PC (bit 3), PROTECT (bit 0).
    pub flags: u8,
    /// ENCSERV, MULTIP (bit 4).
    pub flags2: u8,
    /// CMDQUE (bit 1).
    pub flags3: u8,
    /// T10 VENDOR IDENTIFICATION, padded with spaces.
    pub vendor: [u8; 8],
    /// PRODUCT IDENTIFICATION, padded with spaces.
    pub product: [u8; 16],
    /// PRODUCT REVISION LEVEL, padded with spaces.
    pub revision: [u8; 4],
}

/// Peripheral device types (SPC-4, table 49).
pub mod device_type {
    /// Direct access block device: a disk.
    pub const DISK: u8 = 0x00;
    /// Tape.
    pub const TAPE: u8 = 0x01;
    /// CD, DVD.
    pub const OPTICAL: u8 = 0x05;
    /// Medium changer.
    pub const CHANGER: u8 = 0x08;
    /// Storage array controller.
    pub const ARRAY_CONTROLLER: u8 = 0x0c;
    /// Enclosure services.
    pub const ENCLOSURE: u8 = 0x0d;
    /// Unknown, or no device.
    pub const UNKNOWN: u8 = 0x1f;
}

/// Peripheral qualifier: a device can be there, but none is.
pub const QUALIFIER_NOT_CONNECTED: u8 = 1;
/// Peripheral qualifier: no device can be there.
pub const QUALIFIER_NOT_CAPABLE: u8 = 3;

impl InquiryData {
    /// Bit of [`Self::flags3`]: more than one command at a time.
    pub const CMDQUE: u8 = 0x02;

    /// A disk by SPC-4. Texts are padded with spaces or cut to their fields.
    pub fn disk(vendor: &str, product: &str, revision: &str) -> Self {
        Self {
            peripheral: device_type::DISK,
            removable: 0,
            version: 6,
            response_format: 2,
            additional_len: u8::try_from(LEN - 5).expect("36 bytes"),
            flags: 0,
            flags2: 0,
            flags3: Self::CMDQUE,
            vendor: padded(vendor),
            product: padded(product),
            revision: padded(revision),
        }
    }

    /// Reads the data at the front of `bytes`.
    ///
    /// # Errors
    /// [`WireError::Truncated`] below 36 bytes, which a standard device never gives by itself.
    pub fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        Self::read_from_prefix(bytes).map(|(data, _)| data).map_err(|_| WireError::Truncated {
            what: "INQUIRY data",
            need: LEN,
            have: bytes.len(),
        })
    }

    /// See [`device_type`].
    pub const fn device_type(&self) -> u8 {
        self.peripheral & 0x1f
    }

    /// 0 if a device is there.
    pub const fn qualifier(&self) -> u8 {
        self.peripheral >> 5
    }

    /// TPGS: bit 0 implicit, bit 1 explicit asymmetric access.
    pub const fn target_port_groups(&self) -> u8 {
        self.flags >> 4 & 3
    }

    /// The vendor for people to read.
    pub fn vendor_text(&self) -> String {
        text(&self.vendor)
    }

    /// The product for people to read.
    pub fn product_text(&self) -> String {
        text(&self.product)
    }

    /// The revision for people to read.
    pub fn revision_text(&self) -> String {
        text(&self.revision)
    }
}

/// A text field for people to read: without the padding around it, other than printable ASCII as `?`.
pub fn text(field: &[u8]) -> String {
    let is_padding = |byte: &u8| matches!(byte, b' ' | 0);
    let start = field.iter().position(|byte| !is_padding(byte)).unwrap_or(field.len());
    let end = field.iter().rposition(|byte| !is_padding(byte)).map_or(start, |last| last + 1);
    let printable = |&byte: &u8| if matches!(byte, b' '..=b'~') { char::from(byte) } else { '?' };
    field[start..end].iter().map(printable).collect()
}

fn padded<const N: usize>(text: &str) -> [u8; N] {
    let mut field = [b' '; N];
    for (byte, from) in field.iter_mut().zip(text.bytes()) {
        *byte = from;
    }
    field
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_safe(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            match InquiryData::parse(&bytes) {
                Ok(data) => {
                    prop_assert_eq!(data.as_bytes(), &bytes[..LEN]);
                    let texts = [data.vendor_text(), data.product_text(), data.revision_text()];
                    prop_assert!(texts.iter().all(|text| text.chars().all(|c| matches!(c, ' '..='~'))));
                }
                Err(_) => prop_assert!(bytes.len() < LEN),
            }
        }
    }

    #[test]
    fn a_disk_says_what_it_is() {
        let disk = InquiryData::disk("XFCOE", "a name that is too long", "1.0");
        assert_eq!(disk.as_bytes()[..8], [0, 0, 6, 2, 31, 0, 0, 2]);
        assert_eq!((disk.vendor_text(), disk.product_text()), ("XFCOE".into(), "a name that is t".into()));
        assert_eq!(&disk.revision, b"1.0 ");
        assert_eq!((disk.device_type(), disk.qualifier()), (device_type::DISK, 0));
    }

    #[test]
    fn text_is_trimmed_and_printable() {
        assert_eq!(text(b"  a\x01b \0\0"), "a?b");
        assert_eq!(text(b" \0 "), "");
        assert_eq!(text(b""), "");
    }
}
