//! Vital product data: INQUIRY's pages (SPC-4, 7.8; SBC-3, 6.5).

use super::zero_extended;
use crate::wire::WireError;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use zerocopy::byteorder::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes before a page's body.
pub const HEADER_LEN: usize = 4;

/// Page codes.
pub mod page {
    /// Supported VPD pages.
    pub const SUPPORTED: u8 = 0x00;
    /// Unit serial number.
    pub const SERIAL_NUMBER: u8 = 0x80;
    /// Device identification.
    pub const DEVICE_IDENTIFICATION: u8 = 0x83;
    /// Block limits.
    pub const BLOCK_LIMITS: u8 = 0xb0;
    /// Block device characteristics.
    pub const BLOCK_CHARACTERISTICS: u8 = 0xb1;
    /// Logical block provisioning.
    pub const LOGICAL_BLOCK_PROVISIONING: u8 = 0xb2;
}

/// A page: what it is, and its body undecoded. Each body has its own reader here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VpdPage<'a> {
    /// Peripheral qualifier (bits 7:5) and device type (bits 4:0).
    pub peripheral: u8,
    /// The page code: see [`page`].
    pub code: u8,
    /// What follows the header. For [`page::SUPPORTED`], the codes; for [`page::SERIAL_NUMBER`], ASCII.
    pub body: &'a [u8],
}

impl<'a> VpdPage<'a> {
    /// Reads a page; bytes behind its end aren't looked at.
    ///
    /// # Errors
    /// [`WireError::Truncated`] tells how many bytes the whole page has, to ask for them.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, WireError> {
        let truncated = |need| WireError::Truncated { what: "VPD page", need, have: bytes.len() };
        let Some((&[peripheral, code, high, low], rest)) = bytes.split_first_chunk() else {
            return Err(truncated(HEADER_LEN));
        };
        let body_len = usize::from(u16::from_be_bytes([high, low]));
        let body = rest.get(..body_len).ok_or(truncated(HEADER_LEN + body_len))?;
        Ok(Self { peripheral, code, body })
    }

    /// Bytes that [`Self::emit`] writes.
    pub fn len(&self) -> usize {
        HEADER_LEN + self.body.len()
    }

    /// Writes the page to the front of `buffer` and gives its length.
    ///
    /// # Panics
    /// If `buffer` is too short or the body longer than 65,535 bytes.
    pub fn emit(&self, buffer: &mut [u8]) -> usize {
        let [high, low] =
            u16::try_from(self.body.len()).expect("a page's body fits its length").to_be_bytes();
        buffer[..HEADER_LEN].copy_from_slice(&[self.peripheral, self.code, high, low]);
        buffer[HEADER_LEN..self.len()].copy_from_slice(self.body);
        self.len()
    }
}

/// A name of the logical unit, or of the port or device that it is reached by (SPC-4, 7.8.6).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Designator<'a> {
    /// PROTOCOL IDENTIFIER, four bits; 0 is Fibre Channel. Counts if `protocol_valid`.
    pub protocol: u8,
    /// PIV.
    pub protocol_valid: bool,
    /// CODE SET, four bits: 1 binary, 2 ASCII, 3 UTF-8.
    pub code_set: u8,
    /// ASSOCIATION, two bits.
    pub association: Association,
    /// DESIGNATOR TYPE, four bits.
    pub kind: DesignatorKind,
    /// The name itself.
    pub bytes: &'a [u8],
}

/// What a designator names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Association(pub u8);

impl Association {
    /// The logical unit.
    pub const LOGICAL_UNIT: Self = Self(0);
    /// The target port that took the command.
    pub const TARGET_PORT: Self = Self(1);
    /// The target device.
    pub const TARGET_DEVICE: Self = Self(2);
}

/// DESIGNATOR TYPE.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DesignatorKind(pub u8);

impl DesignatorKind {
    /// The vendor's own.
    pub const VENDOR_SPECIFIC: Self = Self(0);
    /// T10 vendor identification and what the vendor adds.
    pub const T10_VENDOR: Self = Self(1);
    /// EUI-64 based.
    pub const EUI_64: Self = Self(2);
    /// NAA: a World Wide Name.
    pub const NAA: Self = Self(3);
    /// Relative target port identifier.
    pub const RELATIVE_PORT: Self = Self(4);
    /// Target port group.
    pub const TARGET_PORT_GROUP: Self = Self(5);
    /// Logical unit group.
    pub const LOGICAL_UNIT_GROUP: Self = Self(6);
    /// MD5 logical unit identifier.
    pub const MD5: Self = Self(7);
    /// SCSI name string.
    pub const SCSI_NAME: Self = Self(8);
}

impl<'a> Designator<'a> {
    /// Bytes before the designator itself.
    pub const HEADER_LEN: usize = 4;

    /// Bytes that [`Self::emit`] writes.
    pub fn len(&self) -> usize {
        Self::HEADER_LEN + self.bytes.len()
    }

    /// Writes the designator to the front of `buffer` and gives its length.
    ///
    /// # Panics
    /// If `buffer` is too short or the name longer than 255 bytes.
    pub fn emit(&self, buffer: &mut [u8]) -> usize {
        let len = u8::try_from(self.bytes.len()).expect("a designator fits its length");
        buffer[..Self::HEADER_LEN].copy_from_slice(&[
            self.protocol << 4 | self.code_set & 0x0f,
            u8::from(self.protocol_valid) << 7 | (self.association.0 & 3) << 4 | self.kind.0 & 0x0f,
            0,
            len,
        ]);
        buffer[Self::HEADER_LEN..self.len()].copy_from_slice(self.bytes);
        self.len()
    }

    /// The port or group number of the types that have one.
    pub fn number(&self) -> Option<u16> {
        match (self.kind, self.bytes) {
            (
                DesignatorKind::RELATIVE_PORT
                | DesignatorKind::TARGET_PORT_GROUP
                | DesignatorKind::LOGICAL_UNIT_GROUP,
                &[_, _, high, low],
            ) => Some(u16::from_be_bytes([high, low])),
            _ => None,
        }
    }

    /// The same with its own memory.
    pub fn to_device_id(&self) -> DeviceId {
        DeviceId { kind: self.kind, bytes: self.bytes.to_vec() }
    }
}

/// The designators in the body of a device identification page. It ends after the first one that is cut short.
pub fn designators(body: &[u8]) -> impl Iterator<Item = Result<Designator<'_>, WireError>> {
    let mut rest = body;
    core::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let truncated = |need| WireError::Truncated { what: "designator", need, have: rest.len() };
        let Some((&[first, second, _, len], after)) = rest.split_first_chunk() else {
            let error = truncated(Designator::HEADER_LEN);
            rest = &[];
            return Some(Err(error));
        };
        let Some((bytes, after)) = after.split_at_checked(len.into()) else {
            let error = truncated(Designator::HEADER_LEN + usize::from(len));
            rest = &[];
            return Some(Err(error));
        };
        rest = after;
        Some(Ok(Designator {
            protocol: first >> 4,
            protocol_valid: second & 0x80 != 0,
            code_set: first & 0x0f,
            association: Association(second >> 4 & 3),
            kind: DesignatorKind(second & 0x0f),
            bytes,
        }))
    })
}

/// A name of a logical unit. Prints in the manner of SCSI names: `naa.6001405e2d0f3a4c`, `eui.…`, `t10.…`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeviceId {
    /// Its type.
    pub kind: DesignatorKind,
    /// The name.
    pub bytes: Vec<u8>,
}

impl DeviceId {
    /// How well it tells one logical unit from all others: higher is better, 0 isn't unique in the world.
    pub fn rank(&self) -> u8 {
        match (self.kind, self.bytes.first().map(|byte| byte >> 4)) {
            // NAA 3 is locally assigned.
            (DesignatorKind::NAA, Some(3) | None) => 0,
            (DesignatorKind::NAA, Some(6)) => 5,
            (DesignatorKind::NAA, Some(_)) => 4,
            (DesignatorKind::EUI_64, _) => 3,
            (DesignatorKind::SCSI_NAME, _) => 2,
            (DesignatorKind::T10_VENDOR, _) => 1,
            _ => 0,
        }
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = || -> String { super::inquiry::text(&self.bytes) };
        let prefix = match self.kind {
            DesignatorKind::NAA => "naa.",
            DesignatorKind::EUI_64 => "eui.",
            DesignatorKind::T10_VENDOR => return write!(f, "t10.{}", text()),
            DesignatorKind::SCSI_NAME => return f.write_str(&text()),
            DesignatorKind(kind) => return write!(f, "{kind:x}.{}", Hex(&self.bytes)),
        };
        write!(f, "{prefix}{}", Hex(&self.bytes))
    }
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The body of the block limits page (SBC-3, 6.5.3). A shorter one of an older device reads as zeros, which mean
/// "not reported" everywhere.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct BlockLimits {
    /// WSNZ (bit 0): WRITE SAME with a count of 0 isn't allowed.
    pub flags: u8,
    /// The most blocks of COMPARE AND WRITE; 0: none.
    pub max_compare_and_write: u8,
    /// Transfers in multiples of this many blocks are fast.
    pub optimal_granularity: U16,
    /// The most blocks of a read, write or verify.
    pub max_transfer: U32,
    /// More blocks than this may be slow.
    pub optimal_transfer: U32,
    /// The most blocks of a prefetch.
    pub max_prefetch: U32,
    /// The most blocks of an UNMAP; 0 with UNMAP supported: see the standard.
    pub max_unmap_blocks: U32,
    /// The most descriptors of an UNMAP.
    pub max_unmap_descriptors: U32,
    /// Unmapping in multiples of this many blocks frees them.
    pub unmap_granularity: U32,
    /// UGAVALID (bit 31) and the first block at which such a multiple starts.
    pub unmap_alignment: U32,
    /// The most blocks of a WRITE SAME.
    pub max_write_same: U64,
    /// The most blocks of an atomic write.
    pub max_atomic: U32,
    /// Where an atomic write may start.
    pub atomic_alignment: U32,
    /// What multiples it may have.
    pub atomic_granularity: U32,
    /// The most blocks of one with a boundary.
    pub max_atomic_with_boundary: U32,
    /// The biggest boundary.
    pub max_atomic_boundary: U32,
}

/// The body of the block device characteristics page (SBC-3, 6.5.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct BlockCharacteristics {
    /// Revolutions a minute; 1: none, it's solid state; 0: not reported.
    pub rotation_rate: U16,
    /// PRODUCT TYPE.
    pub product_type: u8,
    /// WABEREQ, WACEREQ, NOMINAL FORM FACTOR (bits 3:0).
    pub form_factor: u8,
    /// FUAB, VBULS and others.
    pub flags: u8,
    /// Reserved.
    pub reserved: [u8; 55],
}

impl Default for BlockCharacteristics {
    fn default() -> Self {
        Self { rotation_rate: U16::ZERO, product_type: 0, form_factor: 0, flags: 0, reserved: [0; 55] }
    }
}

/// The body of the logical block provisioning page, without the provisioning group descriptor that may follow
/// (SBC-3, 6.5.4).
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Provisioning {
    /// A threshold counts in multiples of two to the power of this many blocks.
    pub threshold_exponent: u8,
    /// LBPU (bit 7), LBPWS (6), LBPWS10 (5), LBPRZ (4:2), ANC_SUP (1), DP (0).
    pub flags: u8,
    /// MINIMUM PERCENTAGE (bits 7:3), PROVISIONING TYPE (2:0): 0 not known or full, 1 resource, 2 thin.
    pub provisioning_type: u8,
    /// THRESHOLD PERCENTAGE.
    pub threshold_percentage: u8,
}

impl Provisioning {
    /// UNMAP is supported.
    pub const LBPU: u8 = 0x80;
    /// WRITE SAME (16) with the unmap bit is supported.
    pub const LBPWS: u8 = 0x40;
    /// WRITE SAME (10) with the unmap bit is supported.
    pub const LBPWS10: u8 = 0x20;
    /// Blocks that are unmapped read as zeros.
    pub const LBPRZ: u8 = 0x04;
    /// Anchoring is supported.
    pub const ANC_SUP: u8 = 0x02;
}

impl BlockLimits {
    /// Reads the page's body.
    pub fn from_body(body: &[u8]) -> Self {
        zero_extended(body)
    }
}

impl BlockCharacteristics {
    /// Reads the page's body.
    pub fn from_body(body: &[u8]) -> Self {
        zero_extended(body)
    }
}

impl Provisioning {
    /// Reads the page's body.
    pub fn from_body(body: &[u8]) -> Self {
        zero_extended(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::ToString;

    proptest! {
        #[test]
        fn pages_and_designators_come_back(
            names in proptest::collection::vec(
                (0u8..16, 0u8..16, 0u8..4, any::<bool>(), proptest::collection::vec(any::<u8>(), 0..40)),
                0..8,
            ),
        ) {
            let mut body = std::vec![0xa5; 512];
            let mut len = 0;
            let mut expected = std::vec::Vec::new();
            for (code_set, kind, association, protocol_valid, bytes) in &names {
                let designator = Designator {
                    protocol: 6,
                    protocol_valid: *protocol_valid,
                    code_set: *code_set,
                    association: Association(*association),
                    kind: DesignatorKind(*kind),
                    bytes,
                };
                len += designator.emit(&mut body[len..]);
                expected.push(designator);
            }
            body.truncate(len);
            let page = VpdPage { peripheral: 0, code: page::DEVICE_IDENTIFICATION, body: &body };
            let mut bytes = [0xa5; 520];
            let len = page.emit(&mut bytes);
            prop_assert_eq!(len, page.len());
            let again = VpdPage::parse(&bytes).unwrap();
            prop_assert_eq!(again, page);
            let read: Result<std::vec::Vec<_>, _> = designators(again.body).collect();
            prop_assert_eq!(read.unwrap(), expected);
            let short = VpdPage::parse(&bytes[..len - 1]);
            let what = "VPD page";
            prop_assert_eq!(short, Err(WireError::Truncated { what, need: len, have: len - 1 }));
        }

        #[test]
        fn any_bytes_are_safe(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = VpdPage::parse(&bytes);
            for designator in designators(&bytes).flatten() {
                let _ = (designator.number(), designator.to_device_id().to_string());
                let _ = designator.to_device_id().rank();
            }
            let len = bytes.len();
            let limits = BlockLimits::from_body(&bytes);
            prop_assert_eq!(&limits.as_bytes()[..len.min(60)], &bytes[..len.min(60)]);
            let _ = (BlockCharacteristics::from_body(&bytes), Provisioning::from_body(&bytes));
        }
    }

    #[test]
    fn bodies_have_the_standards_lengths() {
        assert_eq!(size_of::<BlockLimits>(), 0x3c);
        assert_eq!(size_of::<BlockCharacteristics>(), 0x3c);
        assert_eq!(size_of::<Provisioning>(), 4);
        let mut body = [0; 0x3c];
        body[32 + 7] = 9;
        assert_eq!(BlockLimits::from_body(&body).max_write_same.get(), 9);
        assert_eq!(BlockLimits::from_body(&body[..0x10]), BlockLimits::default());
    }

    #[test]
    fn device_ids_print_and_rank() {
        let id = |kind, bytes: &[u8]| DeviceId { kind, bytes: bytes.to_vec() };
        let naa = id(DesignatorKind::NAA, &[0x60, 0x01, 0x40, 0x5e]);
        let vendor = id(DesignatorKind::T10_VENDOR, b"LIO-ORG disk");
        assert_eq!(naa.to_string(), "naa.6001405e");
        assert_eq!(vendor.to_string(), "t10.LIO-ORG disk");
        assert_eq!(id(DesignatorKind::SCSI_NAME, b"iqn.a\0\0\0").to_string(), "iqn.a");
        assert_eq!(id(DesignatorKind::EUI_64, &[1, 2]).to_string(), "eui.0102");
        assert_eq!(id(DesignatorKind::MD5, &[1]).to_string(), "7.01");
        assert!(naa.rank() > vendor.rank());
        assert_eq!(id(DesignatorKind::NAA, &[0x30]).rank(), 0);
    }
}
