//! Basic link services (FC-FS-3, 16). ABTS is a bare header; its replies have a payload.

use super::{WireError, split_fixed};
use zerocopy::byteorder::big_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// BA_ACC to an ABTS: the exchange, or some of its sequences, are aborted (FC-FS-3, 16.3.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct BaAcc {
    /// 0x80 when `seq_id` says which sequence was delivered last, else 0.
    pub seq_id_valid: u8,
    /// The last sequence delivered.
    pub seq_id: u8,
    /// Reserved.
    pub reserved: U16,
    /// The exchange's OX_ID.
    pub ox_id: U16,
    /// The exchange's RX_ID.
    pub rx_id: U16,
    /// Both IDs rest (the "recovery qualifier") for frames from this SEQ_CNT ...
    pub low_seq_cnt: U16,
    /// ... to this one, for R_A_TOV.
    pub high_seq_cnt: U16,
}

impl BaAcc {
    /// The whole exchange is aborted, whatever its SEQ_CNTs.
    pub const fn exchange(ox_id: u16, rx_id: u16) -> Self {
        Self {
            seq_id_valid: 0,
            seq_id: 0,
            reserved: U16::ZERO,
            ox_id: U16::new(ox_id),
            rx_id: U16::new(rx_id),
            low_seq_cnt: U16::ZERO,
            high_seq_cnt: U16::MAX_VALUE,
        }
    }

    /// Reads the payload of a BA_ACC.
    pub fn parse(payload: &[u8]) -> Result<Self, WireError> {
        split_fixed("BA_ACC", payload).map(|(parsed, _)| parsed)
    }
}

/// BA_RJT to an ABTS: nothing was aborted (FC-FS-3, 16.3.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct BaRjt {
    /// Reserved.
    pub reserved: u8,
    /// Why.
    pub reason: BaRjtReason,
    /// Details.
    pub explanation: BaRjtExplanation,
    /// A vendor's own.
    pub vendor: u8,
}

impl BaRjt {
    /// A reject for this reason.
    pub const fn new(reason: BaRjtReason, explanation: BaRjtExplanation) -> Self {
        Self { reserved: 0, reason, explanation, vendor: 0 }
    }

    /// Reads the payload of a BA_RJT.
    pub fn parse(payload: &[u8]) -> Result<Self, WireError> {
        split_fixed("BA_RJT", payload).map(|(parsed, _)| parsed)
    }
}

/// Why a basic link service was rejected.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(transparent)]
pub struct BaRjtReason(pub u8);

impl BaRjtReason {
    /// There is no such command.
    pub const INVALID_COMMAND: Self = Self(0x01);
    /// It makes no sense now.
    pub const LOGICAL_ERROR: Self = Self(0x03);
    /// Busy.
    pub const LOGICAL_BUSY: Self = Self(0x05);
    /// It violates the protocol.
    pub const PROTOCOL_ERROR: Self = Self(0x07);
    /// It can't be done.
    pub const UNABLE: Self = Self(0x09);
}

/// Details of a [`BaRjtReason`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(transparent)]
pub struct BaRjtExplanation(pub u8);

impl BaRjtExplanation {
    /// None.
    pub const NONE: Self = Self(0x00);
    /// No exchange has this OX_ID and RX_ID.
    pub const INVALID_XIDS: Self = Self(0x03);
    /// The sequence was aborted; no more is known.
    pub const SEQUENCE_ABORTED: Self = Self(0x05);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_come_back_or_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..24)) {
            match BaAcc::parse(&bytes) {
                Ok(parsed) => prop_assert_eq!(parsed.as_bytes(), &bytes[..size_of::<BaAcc>()]),
                Err(_) => prop_assert!(bytes.len() < size_of::<BaAcc>()),
            }
            match BaRjt::parse(&bytes) {
                Ok(parsed) => prop_assert_eq!(parsed.as_bytes(), &bytes[..size_of::<BaRjt>()]),
                Err(_) => prop_assert!(bytes.len() < size_of::<BaRjt>()),
            }
        }
    }

    #[test]
    fn an_aborted_exchange_covers_every_sequence_count() {
        let acc = BaAcc::exchange(0x1234, 0xffff);
        assert_eq!(acc.as_bytes(), [0, 0, 0, 0, 0x12, 0x34, 0xff, 0xff, 0, 0, 0xff, 0xff]);
        let rjt = BaRjt::new(BaRjtReason::LOGICAL_ERROR, BaRjtExplanation::INVALID_XIDS);
        assert_eq!(rjt.as_bytes(), [0, 3, 3, 0]);
    }
}
