//! FCoE encapsulation (FC-BB-5, 7.8): how an FC frame lies in an Ethernet payload.
//!
//! ```text
//!  0        version (high nibble), reserved
//!  1..=12   reserved
//!  13       SOF
//!  14..     FC header, payload, fill to a multiple of four
//!  last 8   CRC (little-endian), EOF, three reserved
//! ```
//!
//! There is no length field: the end of the packet is the end of the frame, and a frame that somebody padded
//! is lost. The shortest one is 60 bytes, so that nobody needs to pad it.

use super::ethernet::{self, EthernetHeader};
use super::fc_crc;
use super::header::{FcHeader, HEADER_LEN, MAX_PAYLOAD_LEN, MIN_MAX_PAYLOAD_LEN};
use super::{MacAddr, WireError};
use core::fmt;
use zerocopy::IntoBytes;

/// Bytes before the FC header.
pub const PROLOGUE_LEN: usize = 14;
/// Bytes after the fill: CRC, EOF, reserved.
pub const EPILOGUE_LEN: usize = 8;
/// Where SOF stands.
pub const SOF_OFFSET: usize = 13;
/// The most bytes of FCoE in an Ethernet payload, which is the MTU that a link needs.
pub const MAX_LEN: usize = PROLOGUE_LEN + HEADER_LEN + MAX_PAYLOAD_LEN + EPILOGUE_LEN;
/// The fewest: an FC frame without a payload.
pub const MIN_LEN: usize = PROLOGUE_LEN + HEADER_LEN + EPILOGUE_LEN;
/// The longest FCoE frame with its Ethernet header and tag.
pub const MAX_FRAME_LEN: usize = ethernet::MAX_HEADER_LEN + MAX_LEN;
/// The FC-MAP of a fabric that was not told another.
pub const DEFAULT_FC_MAP: [u8; 3] = [0x0e, 0xfc, 0x00];
/// The FC-MAP of VN2VN (FC-BB-6).
pub const VN2VN_FC_MAP: [u8; 3] = [0x0e, 0xfd, 0x00];
/// Where a FLOGI without FIP goes.
pub const PRE_FIP_F_PORT: MacAddr = MacAddr([0x0e, 0xfc, 0x00, 0xff, 0xff, 0xfe]);

/// The most payload bytes of an FC frame in `mtu` bytes of L2 payload: whole words, at most 2112. `None` if that is
/// less than the 256 that every port takes (FC-LS-3, 6.6.2.7).
pub const fn max_payload_len(mtu: u32) -> Option<u16> {
    let Some(room) = (mtu as usize).checked_sub(MIN_LEN) else { return None };
    let words = room / 4 * 4;
    let len = if words < MAX_PAYLOAD_LEN { words } else { MAX_PAYLOAD_LEN };
    if len < MIN_MAX_PAYLOAD_LEN { None } else { Some(len as u16) }
}

/// Start of frame delimiter.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sof(pub u8);

impl Sof {
    /// The first frame of a class 3 sequence.
    pub const I3: Self = Self(0x2e);
    /// A later frame of a class 3 sequence.
    pub const N3: Self = Self(0x36);

    /// Whether it starts a class 3 frame.
    pub const fn is_class_3(self) -> bool {
        matches!(self, Self::I3 | Self::N3)
    }
}

impl fmt::Debug for Sof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}", self.0)
    }
}

/// End of frame delimiter.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Eof(pub u8);

impl Eof {
    /// More frames of the sequence follow.
    pub const N: Self = Self(0x41);
    /// The sequence's last frame.
    pub const T: Self = Self(0x42);

    /// Whether it ends a valid frame; every other EOF says that a switch found it damaged.
    pub const fn is_valid(self) -> bool {
        matches!(self, Self::N | Self::T)
    }
}

impl fmt::Debug for Eof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}", self.0)
    }
}

/// An FC frame seen in an Ethernet payload: delimiters checked for length and version only.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FcoeFrame<'a> {
    /// Start delimiter.
    pub sof: Sof,
    /// End delimiter.
    pub eof: Eof,
    /// CRC as it is on the wire.
    pub crc: u32,
    /// Header, payload and fill: what the CRC covers.
    covered: &'a [u8],
}

impl<'a> FcoeFrame<'a> {
    /// Finds the parts of an FCoE Ethernet payload. Checks length and version, not CRC and delimiters.
    #[inline]
    pub fn parse(fcoe: &'a [u8]) -> Result<Self, WireError> {
        if fcoe.len() < MIN_LEN {
            return Err(WireError::Truncated { what: "FCoE frame", need: MIN_LEN, have: fcoe.len() });
        }
        if fcoe.len() > MAX_LEN {
            return Err(WireError::TooLong { what: "FCoE frame", limit: MAX_LEN, have: fcoe.len() });
        }
        if fcoe[0] >> 4 != 0 {
            return Err(WireError::BadValue { what: "FCoE version", value: (fcoe[0] >> 4).into() });
        }
        let (rest, epilogue) = fcoe.split_at(fcoe.len() - EPILOGUE_LEN);
        let (prologue, covered) = rest.split_at(PROLOGUE_LEN);
        let [c0, c1, c2, c3, eof, ..] = *epilogue else { unreachable!("split at EPILOGUE_LEN") };
        Ok(Self {
            sof: Sof(prologue[SOF_OFFSET]),
            eof: Eof(eof),
            crc: u32::from_le_bytes([c0, c1, c2, c3]),
            covered,
        })
    }

    /// Computes the CRC and compares it with the frame's.
    #[inline]
    pub fn check_crc(&self) -> Result<(), WireError> {
        let computed = fc_crc(self.covered);
        if computed == self.crc { Ok(()) } else { Err(WireError::Crc { found: self.crc, computed }) }
    }

    /// The FC header.
    #[inline]
    pub fn header(&self) -> &'a FcHeader {
        FcHeader::ref_from(self.covered).expect("parse checked the length").0
    }

    /// The payload without its fill bytes.
    ///
    /// # Errors
    /// [`WireError::Truncated`] when F_CTL counts more fill bytes than there are.
    #[inline]
    pub fn payload(&self) -> Result<&'a [u8], WireError> {
        let (header, padded) = FcHeader::ref_from(self.covered)?;
        let fill = header.f_ctl.fill_len();
        let len = padded.len().checked_sub(fill).ok_or(WireError::Truncated {
            what: "FC fill",
            need: fill,
            have: padded.len(),
        })?;
        Ok(&padded[..len])
    }
}

/// Bytes of the whole Ethernet frame around an FC payload of `payload_len` bytes.
pub const fn frame_len(ethernet_header_len: usize, payload_len: usize) -> usize {
    ethernet_header_len + MIN_LEN + payload_len.next_multiple_of(4)
}

/// Writes a whole Ethernet frame around an FC frame: prologue, header, payload, fill, CRC and delimiters.
///
/// The fill bits of F_CTL are set here, whatever they are in `header`. Gives the frame's length.
///
/// # Panics
/// If `buffer` is shorter than [`frame_len`] or the payload longer than [`MAX_PAYLOAD_LEN`].
pub fn emit(
    buffer: &mut [u8],
    ethernet: &EthernetHeader,
    sof: Sof,
    header: &FcHeader,
    payload: &[u8],
    eof: Eof,
) -> usize {
    assert!(payload.len() <= MAX_PAYLOAD_LEN, "FC payload of {} bytes", payload.len());
    let start = ethernet.emit(buffer);
    let len = frame_len(start, payload.len());
    let fcoe = &mut buffer[start..len];
    fcoe[..PROLOGUE_LEN].fill(0);
    fcoe[SOF_OFFSET] = sof.0;
    let (covered, epilogue) = fcoe[PROLOGUE_LEN..].split_at_mut(len - start - MIN_LEN + HEADER_LEN);
    let fill_len = payload.len().next_multiple_of(4) - payload.len();
    let header = FcHeader { f_ctl: header.f_ctl.with_fill_len(fill_len), ..*header };
    covered[..HEADER_LEN].copy_from_slice(header.as_bytes());
    covered[HEADER_LEN..][..payload.len()].copy_from_slice(payload);
    covered[HEADER_LEN + payload.len()..].fill(0);
    epilogue[..4].copy_from_slice(&fc_crc(covered).to_le_bytes());
    epilogue[4..].copy_from_slice(&[eof.0, 0, 0, 0]);
    len
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::FcId;
    use crate::wire::ethernet::{EtherType, VlanTag};
    use crate::wire::header::{FCtl, FcType, RCtl, UNASSIGNED_XID};
    use proptest::prelude::*;

    fn ethernet(vlan: Option<VlanTag>) -> EthernetHeader {
        EthernetHeader {
            destination: MacAddr([0x0e, 0xfc, 0, 1, 2, 3]),
            source: MacAddr([2, 0, 0, 0, 0, 1]),
            vlan,
            ethertype: EtherType::FCOE,
        }
    }

    fn header() -> FcHeader {
        FcHeader {
            r_ctl: RCtl::DATA,
            d_id: FcId([1, 2, 3]),
            cs_ctl: 0,
            s_id: FcId([4, 5, 6]),
            fc_type: FcType::FCP,
            f_ctl: FCtl::new(FCtl::RELATIVE_OFFSET),
            seq_id: 1,
            df_ctl: 0,
            seq_cnt: 7.into(),
            ox_id: 0x1234.into(),
            rx_id: UNASSIGNED_XID.into(),
            parameter: 4096.into(),
        }
    }

    #[test]
    fn a_payload_follows_from_the_mtu_as_linux_has_it() {
        let lens = [0, 45, 301, 302, 305, 306, 1500, 2157, 2158, 2500, u32::MAX].map(max_payload_len);
        let expected = [
            None,
            None,
            None,
            Some(256),
            Some(256),
            Some(260),
            Some(1452),
            Some(2108),
            Some(2112),
            Some(2112),
            Some(2112),
        ];
        assert_eq!(lens, expected);
    }

    proptest! {
        #[test]
        fn what_is_emitted_parses(
            payload in proptest::collection::vec(any::<u8>(), 0..=MAX_PAYLOAD_LEN),
            tag in proptest::option::of(any::<u16>()),
        ) {
            let ethernet = ethernet(tag.map(VlanTag));
            let mut buffer = [0xa5; MAX_FRAME_LEN];
            let len = emit(&mut buffer, &ethernet, Sof::I3, &header(), &payload, Eof::T);
            let (parsed, fcoe) = EthernetHeader::parse(&buffer[..len]).unwrap();
            prop_assert_eq!(parsed, ethernet);
            let frame = FcoeFrame::parse(fcoe).unwrap();
            frame.check_crc().unwrap();
            prop_assert_eq!((frame.sof, frame.eof), (Sof::I3, Eof::T));
            prop_assert_eq!(frame.payload().unwrap(), &payload[..]);
            let fill = payload.len().next_multiple_of(4) - payload.len();
            prop_assert_eq!(frame.header().f_ctl.fill_len(), fill);
        }

        #[test]
        fn any_bytes_are_safe(bytes in proptest::collection::vec(any::<u8>(), 0..2300)) {
            if let Ok(frame) = FcoeFrame::parse(&bytes) {
                let _ = (frame.header(), frame.payload(), frame.check_crc());
            }
        }
    }

    #[test]
    fn sizes_are_those_of_the_standard() {
        assert_eq!(MAX_LEN, 2158);
        assert_eq!(MAX_FRAME_LEN, 2176);
        assert_eq!(frame_len(ethernet::UNTAGGED_HEADER_LEN, 0), ethernet::MIN_FRAME_LEN);
    }

    #[test]
    fn damage_is_found() {
        let mut buffer = [0; MAX_FRAME_LEN];
        let len = emit(&mut buffer, &ethernet(None), Sof::I3, &header(), b"abcde", Eof::T);
        let fcoe = &mut buffer[ethernet::UNTAGGED_HEADER_LEN..len];
        fcoe[PROLOGUE_LEN] ^= 1;
        assert!(matches!(FcoeFrame::parse(fcoe).unwrap().check_crc(), Err(WireError::Crc { .. })));
        fcoe[0] = 0x10;
        assert!(matches!(FcoeFrame::parse(fcoe), Err(WireError::BadValue { .. })));
        assert!(matches!(FcoeFrame::parse(&fcoe[..MIN_LEN - 1]), Err(WireError::Truncated { .. })));
        assert!(matches!(FcoeFrame::parse(&[0; MAX_LEN + 1]), Err(WireError::TooLong { .. })));
    }
}
