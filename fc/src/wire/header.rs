//! The FC frame header (FC-FS-3, 9).

use super::{FcId, WireError};
use core::fmt;
use zerocopy::byteorder::big_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of an FC header.
pub const HEADER_LEN: usize = size_of::<FcHeader>();
/// The most bytes of payload that one FC frame carries.
pub const MAX_PAYLOAD_LEN: usize = 2112;
/// The smallest "maximum payload" that a port may offer in a login.
pub const MIN_MAX_PAYLOAD_LEN: usize = 256;

/// The FC header, as it is on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct FcHeader {
    /// Routing and information: what kind of frame this is.
    pub r_ctl: RCtl,
    /// Destination.
    pub d_id: FcId,
    /// Class-specific control or priority; 0 here.
    pub cs_ctl: u8,
    /// Source.
    pub s_id: FcId,
    /// The protocol of the payload.
    pub fc_type: FcType,
    /// Frame control.
    pub f_ctl: FCtl,
    /// The sequence within the exchange; counts up in each direction.
    pub seq_id: u8,
    /// Optional headers before the payload; 0 here.
    pub df_ctl: u8,
    /// The frame's number within its sequence.
    pub seq_cnt: U16,
    /// The originator's exchange identifier. 0 is a valid one.
    pub ox_id: U16,
    /// The responder's exchange identifier, [`UNASSIGNED_XID`] until it gave one. 0 is a valid one.
    pub rx_id: U16,
    /// With [`FCtl::RELATIVE_OFFSET`]: the payload's offset in the data. Else by the frame's kind.
    pub parameter: U32,
}

/// An exchange identifier that its side has not given yet.
pub const UNASSIGNED_XID: u16 = 0xffff;

impl FcHeader {
    /// The header at the front of `bytes`, and what follows it.
    #[inline]
    pub fn ref_from(bytes: &[u8]) -> Result<(&Self, &[u8]), WireError> {
        Self::ref_from_prefix(bytes).map_err(|_| WireError::Truncated {
            what: "FC header",
            need: HEADER_LEN,
            have: bytes.len(),
        })
    }

    /// The header of the only frame of an exchange's first sequence, which waits for the reply.
    pub fn request((r_ctl, fc_type): (RCtl, FcType), s_id: FcId, d_id: FcId, ox_id: u16) -> Self {
        Self {
            r_ctl,
            d_id,
            cs_ctl: 0,
            s_id,
            fc_type,
            f_ctl: FCtl::REQUEST,
            seq_id: 0,
            df_ctl: 0,
            seq_cnt: 0.into(),
            ox_id: ox_id.into(),
            rx_id: UNASSIGNED_XID.into(),
            parameter: 0.into(),
        }
    }
}

/// R_CTL (FC-FS-3, 9.3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(transparent)]
pub struct RCtl(pub u8);

impl RCtl {
    /// Solicited data: FCP_DATA.
    pub const DATA: Self = Self(0x01);
    /// Unsolicited control: a CT request.
    pub const CT_REQUEST: Self = Self(0x02);
    /// Solicited control: a CT reply, and FCP_CONF.
    pub const SOLICITED_CONTROL: Self = Self(0x03);
    /// Data descriptor: FCP_XFER_RDY.
    pub const DATA_DESCRIPTOR: Self = Self(0x05);
    /// Unsolicited command: FCP_CMND.
    pub const COMMAND: Self = Self(0x06);
    /// Command status: FCP_RSP.
    pub const STATUS: Self = Self(0x07);
    /// Extended link service request.
    pub const ELS_REQUEST: Self = Self(0x22);
    /// Extended link service reply.
    pub const ELS_REPLY: Self = Self(0x23);
    /// FC-4 link service request: SRR.
    pub const FC4_REQUEST: Self = Self(0x32);
    /// FC-4 link service reply.
    pub const FC4_REPLY: Self = Self(0x33);
    /// Basic link service: ABTS.
    pub const ABTS: Self = Self(0x81);
    /// Basic link service: BA_ACC.
    pub const BA_ACC: Self = Self(0x84);
    /// Basic link service: BA_RJT.
    pub const BA_RJT: Self = Self(0x85);
}

impl fmt::Debug for RCtl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}", self.0)
    }
}

/// TYPE (FC-FS-3, 9.6).
#[derive(Clone, Copy, PartialEq, Eq, Hash, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(transparent)]
pub struct FcType(pub u8);

impl FcType {
    /// Basic link services.
    pub const BLS: Self = Self(0x00);
    /// Extended link services.
    pub const ELS: Self = Self(0x01);
    /// SCSI over FCP.
    pub const FCP: Self = Self(0x08);
    /// Common transport: the fabric's services.
    pub const CT: Self = Self(0x20);
    /// NVMe.
    pub const NVME: Self = Self(0x28);
}

impl fmt::Debug for FcType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}", self.0)
    }
}

/// F_CTL (FC-FS-3, 9.7).
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(transparent)]
pub struct FCtl([u8; 3]);

impl FCtl {
    /// Sent by the exchange's responder.
    pub const EXCHANGE_RESPONDER: u32 = 1 << 23;
    /// Sent by the recipient of the sequence (BLS replies).
    pub const SEQUENCE_RECIPIENT: u32 = 1 << 22;
    /// Part of the exchange's first sequence.
    pub const FIRST_SEQUENCE: u32 = 1 << 21;
    /// Part of the exchange's last sequence.
    pub const LAST_SEQUENCE: u32 = 1 << 20;
    /// The sequence's last frame.
    pub const END_SEQUENCE: u32 = 1 << 19;
    /// Hands the sequence initiative over.
    pub const TRANSFER_INITIATIVE: u32 = 1 << 16;
    /// A sequence sent again.
    pub const RETRANSMITTED: u32 = 1 << 9;
    /// The parameter field is a relative offset.
    pub const RELATIVE_OFFSET: u32 = 1 << 3;

    /// A request that ends its sequence and waits for the reply (ELS, CT, FCP_CMND).
    pub const REQUEST: Self =
        Self::new(Self::FIRST_SEQUENCE | Self::END_SEQUENCE | Self::TRANSFER_INITIATIVE);
    /// A reply that ends the exchange (ELS, CT); as Linux sends it, with the initiative.
    pub const REPLY: Self = Self::new(
        Self::EXCHANGE_RESPONDER | Self::LAST_SEQUENCE | Self::END_SEQUENCE | Self::TRANSFER_INITIATIVE,
    );

    /// The flags in the low 24 bits of `flags`.
    pub const fn new(flags: u32) -> Self {
        let [_, a, b, c] = flags.to_be_bytes();
        Self([a, b, c])
    }

    /// All 24 bits.
    pub const fn get(self) -> u32 {
        let [a, b, c] = self.0;
        u32::from_be_bytes([0, a, b, c])
    }

    /// Whether all of `flags` are set.
    pub const fn has(self, flags: u32) -> bool {
        self.get() & flags == flags
    }

    /// The same with `flags` set.
    #[must_use]
    pub const fn with(self, flags: u32) -> Self {
        Self::new(self.get() | flags)
    }

    /// Fill bytes after the payload, 0..=3.
    pub const fn fill_len(self) -> usize {
        (self.0[2] & 3) as usize
    }

    /// The same with `len` (0..=3) fill bytes.
    #[must_use]
    pub const fn with_fill_len(self, len: usize) -> Self {
        assert!(len < 4, "FC fill is at most 3 bytes");
        Self::new(self.get() & !3 | len as u32)
    }
}

impl fmt::Debug for FCtl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:06x}", self.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_that_of_the_standard() {
        let bytes: [u8; HEADER_LEN] = core::array::from_fn(|i| u8::try_from(i).unwrap());
        let (header, rest) = FcHeader::ref_from(&bytes).unwrap();
        assert!(rest.is_empty());
        assert_eq!(header.r_ctl, RCtl(0));
        assert_eq!(header.d_id, FcId([1, 2, 3]));
        assert_eq!(header.s_id, FcId([5, 6, 7]));
        assert_eq!(header.fc_type, FcType::FCP);
        assert_eq!(header.f_ctl.get(), 0x09_0a0b);
        assert_eq!((header.seq_id, header.df_ctl), (12, 13));
        assert_eq!(header.seq_cnt.get(), 0x0e0f);
        assert_eq!((header.ox_id.get(), header.rx_id.get()), (0x1011, 0x1213));
        assert_eq!(header.parameter.get(), 0x1415_1617);
        assert_eq!(header.as_bytes(), bytes);
        assert!(FcHeader::ref_from(&bytes[1..]).is_err());
    }

    #[test]
    fn frame_control_is_what_captures_show() {
        assert_eq!(FCtl::REQUEST.get(), 0x29_0000);
        assert_eq!(FCtl::REPLY.get(), 0x99_0000);
        assert_eq!(FCtl::REQUEST.with_fill_len(3).fill_len(), 3);
        assert!(FCtl::REPLY.has(FCtl::EXCHANGE_RESPONDER | FCtl::LAST_SEQUENCE));
        assert!(!FCtl::REPLY.has(FCtl::FIRST_SEQUENCE));
    }
}
