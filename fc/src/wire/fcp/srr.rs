//! SRR, the link service of FCP itself (FCP-4, 4.9).

use crate::wire::WireError;
use crate::wire::els::ElsCommand;
use crate::wire::header::RCtl;
use zerocopy::byteorder::big_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// SRR: asks the target to send a sequence again (FCP-4, 4.9).
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Srr {
    /// 0x14, then zero.
    pub command: U32,
    /// The exchange's OX_ID.
    pub ox_id: U16,
    /// The exchange's RX_ID.
    pub rx_id: U16,
    /// From which offset on.
    pub offset: U32,
    /// R_CTL of the IU wanted.
    pub r_ctl: u8,
    /// Reserved.
    pub reserved: [u8; 3],
}

impl Srr {
    /// The first word of the request.
    pub const COMMAND: u32 = 0x1400_0000;

    /// Asks for the IU of this kind, of data that from `offset` on, of an exchange.
    pub const fn new(ox_id: u16, rx_id: u16, offset: u32, r_ctl: RCtl) -> Self {
        Self {
            command: U32::new(Self::COMMAND),
            ox_id: U16::new(ox_id),
            rx_id: U16::new(rx_id),
            offset: U32::new(offset),
            r_ctl: r_ctl.0,
            reserved: [0; 3],
        }
    }

    /// Whether an SRR was accepted, by its reply: accept and reject (FCP_RJT) begin as those of link services.
    ///
    /// # Errors
    /// When the reply is neither.
    pub fn is_accepted(reply: &[u8]) -> Result<bool, WireError> {
        match ElsCommand::of(reply)? {
            ElsCommand::LS_ACC => Ok(true),
            ElsCommand::LS_RJT => Ok(false),
            other => Err(WireError::BadValue { what: "reply to SRR", value: other.0.into() }),
        }
    }

    /// Reads an SRR.
    pub fn parse(payload: &[u8]) -> Result<Self, WireError> {
        let (parsed, _) = Self::read_from_prefix(payload).map_err(|_| WireError::Truncated {
            what: "SRR",
            need: size_of::<Self>(),
            have: payload.len(),
        })?;
        if parsed.command.get() == Self::COMMAND {
            Ok(parsed)
        } else {
            Err(WireError::BadValue { what: "SRR command", value: parsed.command.get().into() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn it_comes_back_and_is_answered_by_the_first_byte() {
        let srr = Srr::new(7, 8, 0x1_0000, RCtl::DATA_DESCRIPTOR);
        assert_eq!(srr.as_bytes(), [0x14, 0, 0, 0, 0, 7, 0, 8, 0, 1, 0, 0, 5, 0, 0, 0]);
        assert_eq!(Srr::parse(srr.as_bytes()), Ok(srr));
        assert_eq!(Srr::is_accepted(&[2, 0, 0, 0]), Ok(true));
        assert_eq!(Srr::is_accepted(&[1, 0, 0, 0, 0, 9, 0x2a, 0]), Ok(false));
        assert!(Srr::is_accepted(srr.as_bytes()).is_err() && Srr::is_accepted(&[]).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_safe(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = (Srr::parse(&bytes), Srr::is_accepted(&bytes));
        }
    }
}
