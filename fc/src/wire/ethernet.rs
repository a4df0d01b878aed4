//! Ethernet II with up to one 802.1Q tag.

use super::{MacAddr, WireError};
use core::fmt;

/// An EtherType.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct EtherType(pub u16);

impl EtherType {
    /// FCoE (FC-BB-5, 7.8).
    pub const FCOE: Self = Self(0x8906);
    /// The FCoE Initialization Protocol (FC-BB-5, 7.9).
    pub const FIP: Self = Self(0x8914);
    /// An 802.1Q tag.
    pub const VLAN: Self = Self(0x8100);
    /// An 802.1ad service tag, which we leave to others.
    pub const SERVICE_VLAN: Self = Self(0x88a8);
}

impl fmt::Debug for EtherType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}", self.0)
    }
}

/// The tag control information of 802.1Q: priority (3 bits), drop eligible (1), VLAN id (12).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct VlanTag(pub u16);

impl VlanTag {
    /// The VLAN id that no VLAN has (802.1Q, 9.6).
    pub const RESERVED_ID: u16 = 0xfff;

    /// A tag for VLAN `id` (its low 12 bits) with a priority of 0..=7.
    pub const fn new(id: u16, priority: u8) -> Self {
        Self((priority as u16 & 7) << 13 | (id & 0x0fff))
    }

    /// The VLAN id, 0..=4095; 0 only carries a priority.
    pub const fn id(self) -> u16 {
        self.0 & 0x0fff
    }

    /// The 802.1p priority, 0..=7.
    pub const fn priority(self) -> u8 {
        (self.0 >> 13) as u8
    }
}

/// The most bytes that an [`EthernetHeader`] takes: with a tag.
pub const MAX_HEADER_LEN: usize = 18;
/// Bytes of a header without a tag.
pub const UNTAGGED_HEADER_LEN: usize = 14;
/// The shortest frame, without its FCS, that a NIC sends; it pads what is shorter.
pub const MIN_FRAME_LEN: usize = 60;

/// An Ethernet header and its tag.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EthernetHeader {
    /// Destination.
    pub destination: MacAddr,
    /// Source.
    pub source: MacAddr,
    /// The 802.1Q tag, if there is one.
    pub vlan: Option<VlanTag>,
    /// What the payload is.
    pub ethertype: EtherType,
}

impl EthernetHeader {
    /// Splits a frame into header and payload. A second tag stays in the payload, with its EtherType here.
    #[inline]
    pub fn parse(frame: &[u8]) -> Result<(Self, &[u8]), WireError> {
        let truncated = |need| WireError::Truncated { what: "Ethernet header", need, have: frame.len() };
        let (header, rest) =
            frame.split_first_chunk::<UNTAGGED_HEADER_LEN>().ok_or(truncated(UNTAGGED_HEADER_LEN))?;
        let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, t0, t1] = *header;
        let mut parsed = Self {
            destination: MacAddr([d0, d1, d2, d3, d4, d5]),
            source: MacAddr([s0, s1, s2, s3, s4, s5]),
            vlan: None,
            ethertype: EtherType(u16::from_be_bytes([t0, t1])),
        };
        if parsed.ethertype != EtherType::VLAN {
            return Ok((parsed, rest));
        }
        let (tag, rest) = rest.split_first_chunk::<4>().ok_or(truncated(MAX_HEADER_LEN))?;
        parsed.vlan = Some(VlanTag(u16::from_be_bytes([tag[0], tag[1]])));
        parsed.ethertype = EtherType(u16::from_be_bytes([tag[2], tag[3]]));
        Ok((parsed, rest))
    }

    /// Whether the frame is on this VLAN. A tag with id 0 is no VLAN, and the priority doesn't matter.
    pub fn is_on(&self, vlan: Option<VlanTag>) -> bool {
        let id = |tag: Option<VlanTag>| tag.map_or(0, VlanTag::id);
        id(vlan) == id(self.vlan)
    }

    /// Bytes that this header takes: 14, or 18 with a tag.
    pub const fn len(&self) -> usize {
        if self.vlan.is_some() { MAX_HEADER_LEN } else { UNTAGGED_HEADER_LEN }
    }

    /// Writes the header to the front of `buffer`, which must hold [`Self::len`] bytes, and gives their number.
    pub fn emit(&self, buffer: &mut [u8]) -> usize {
        buffer[..6].copy_from_slice(&self.destination.0);
        buffer[6..12].copy_from_slice(&self.source.0);
        let mut at = 12;
        if let Some(tag) = self.vlan {
            buffer[at..at + 2].copy_from_slice(&EtherType::VLAN.0.to_be_bytes());
            buffer[at + 2..at + 4].copy_from_slice(&tag.0.to_be_bytes());
            at += 4;
        }
        buffer[at..at + 2].copy_from_slice(&self.ethertype.0.to_be_bytes());
        at + 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tagged_and_untagged_headers_come_back() {
        for vlan in [None, Some(VlanTag::new(100, 3))] {
            let header = EthernetHeader {
                destination: MacAddr::ALL_FCF,
                source: MacAddr([2, 0, 0, 0, 0, 1]),
                vlan,
                ethertype: EtherType::FIP,
            };
            let mut frame = [0xa5; MAX_HEADER_LEN + 2];
            let len = header.emit(&mut frame);
            assert_eq!(len, header.len());
            let (parsed, payload) = EthernetHeader::parse(&frame).unwrap();
            assert_eq!(parsed, header);
            assert_eq!(payload.len(), frame.len() - len);
            for short in 0..len {
                assert!(EthernetHeader::parse(&frame[..short]).is_err());
            }
        }
    }

    #[test]
    fn a_tag_without_an_id_is_no_vlan() {
        let tags = [None, Some(VlanTag::new(0, 3)), Some(VlanTag::new(5, 0)), Some(VlanTag::new(5, 7))];
        for (i, vlan) in tags.into_iter().enumerate() {
            let ethertype = EtherType::FIP;
            let header =
                EthernetHeader { destination: MacAddr::ZERO, source: MacAddr::ZERO, vlan, ethertype };
            assert_eq!(tags.map(|vlan| header.is_on(vlan)), [i < 2, i < 2, i >= 2, i >= 2]);
        }
    }

    #[test]
    fn a_tag_has_its_parts() {
        let tag = VlanTag::new(0xfff, 5);
        assert_eq!((tag.id(), tag.priority()), (0xfff, 5));
    }
}
