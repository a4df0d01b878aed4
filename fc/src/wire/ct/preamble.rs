//! The preamble of every CT_IU (FC-GS-7, 4.3.2).

use crate::wire::{FcId, WireError, split_fixed};
use core::fmt;
use zerocopy::byteorder::big_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// What every CT_IU starts with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct CtPreamble {
    /// The revision of CT, 1.
    pub revision: u8,
    /// IN_ID: the fabric's own.
    pub in_id: FcId,
    /// The service: 0xfc is the directory service.
    pub service: u8,
    /// Its part: 2 is the name server.
    pub subtype: u8,
    /// Options: exchange mapping; 0 is one exchange a request.
    pub options: u8,
    /// Reserved.
    pub reserved: u8,
    /// The request, or whether it was accepted.
    pub command: CtCommand,
    /// Request: the longest reply wanted, in words, 0 for any. Accept: the words that were left out.
    pub max_words: U16,
    /// Reserved.
    pub fragment: u8,
    /// Reject: why.
    pub reason: CtReason,
    /// Reject: details.
    pub explanation: CtExplanation,
    /// A vendor's own.
    pub vendor: u8,
}

impl CtPreamble {
    const DIRECTORY_SERVICE: u8 = 0xfc;
    const NAME_SERVER: u8 = 2;

    /// A request to the name server, an accept or a reject from it.
    pub const fn name_server(command: CtCommand) -> Self {
        Self {
            revision: 1,
            in_id: FcId::UNASSIGNED,
            service: Self::DIRECTORY_SERVICE,
            subtype: Self::NAME_SERVER,
            options: 0,
            reserved: 0,
            command,
            max_words: U16::ZERO,
            fragment: 0,
            reason: CtReason(0),
            explanation: CtExplanation::NONE,
            vendor: 0,
        }
    }

    /// The name server's reject.
    pub const fn reject(reject: CtReject) -> Self {
        let CtReject { reason, explanation } = reject;
        Self { reason, explanation, ..Self::name_server(CtCommand::REJECT) }
    }

    /// The preamble at the front of `iu`, and the body.
    pub fn split(iu: &[u8]) -> Result<(Self, &[u8]), WireError> {
        split_fixed("CT_IU", iu)
    }
}

/// The body of a reply, if the request was accepted.
///
/// # Errors
/// The outer result: the reply is no reply. The inner one: the request was rejected.
pub fn accepted(iu: &[u8]) -> Result<Result<&[u8], CtReject>, WireError> {
    let (preamble, body) = CtPreamble::split(iu)?;
    match preamble.command {
        CtCommand::ACCEPT => Ok(Ok(body)),
        CtCommand::REJECT => Ok(Err(CtReject { reason: preamble.reason, explanation: preamble.explanation })),
        CtCommand(code) => {
            Err(WireError::BadValue { what: "command of a CT reply", value: code.get().into() })
        }
    }
}

/// Why a request was rejected.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct CtReject {
    /// Why.
    pub reason: CtReason,
    /// Details.
    pub explanation: CtExplanation,
}

impl fmt::Display for CtReject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CT reject reason {:02x} explanation {:02x}", self.reason.0, self.explanation.0)
    }
}

/// A command or response code.
#[derive(Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(transparent)]
pub struct CtCommand(pub U16);

impl CtCommand {
    /// WWPN of an N_Port_ID.
    pub const GPN_ID: Self = Self::new(0x0112);
    /// WWNN of an N_Port_ID.
    pub const GNN_ID: Self = Self::new(0x0113);
    /// N_Port_ID of a WWPN.
    pub const GID_PN: Self = Self::new(0x0121);
    /// N_Port_IDs of an FC-4 type.
    pub const GID_FT: Self = Self::new(0x0171);
    /// N_Port_IDs and WWPNs of an FC-4 type.
    pub const GPN_FT: Self = Self::new(0x0172);
    /// Registers a WWPN.
    pub const RPN_ID: Self = Self::new(0x0212);
    /// Registers a WWNN.
    pub const RNN_ID: Self = Self::new(0x0213);
    /// Registers FC-4 types.
    pub const RFT_ID: Self = Self::new(0x0217);
    /// Registers a symbolic port name.
    pub const RSPN_ID: Self = Self::new(0x0218);
    /// Registers the features of an FC-4 type.
    pub const RFF_ID: Self = Self::new(0x021f);
    /// Registers a symbolic node name.
    pub const RSNN_NN: Self = Self::new(0x0239);
    /// The request was rejected.
    pub const REJECT: Self = Self::new(0x8001);
    /// The request was accepted.
    pub const ACCEPT: Self = Self::new(0x8002);

    /// Any code.
    pub const fn new(code: u16) -> Self {
        Self(U16::new(code))
    }
}

impl fmt::Debug for CtCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}", self.0)
    }
}

/// Why a CT request was rejected (FC-GS-7, 4.4.4).
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(transparent)]
pub struct CtReason(pub u8);

impl CtReason {
    /// There is no such command.
    pub const INVALID_COMMAND: Self = Self(0x01);
    /// CT's revision isn't supported.
    pub const INVALID_VERSION: Self = Self(0x02);
    /// It makes no sense now.
    pub const LOGICAL_ERROR: Self = Self(0x03);
    /// The IU's size is wrong.
    pub const INVALID_SIZE: Self = Self(0x04);
    /// Busy: try later.
    pub const LOGICAL_BUSY: Self = Self(0x05);
    /// It violates the protocol.
    pub const PROTOCOL_ERROR: Self = Self(0x07);
    /// It can't be done, as when there is no such port.
    pub const UNABLE: Self = Self(0x09);
    /// The command is not supported.
    pub const UNSUPPORTED: Self = Self(0x0b);
}

/// Details of a [`CtReason`], as the name server gives them (FC-GS-7, 5.2.4).
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(transparent)]
pub struct CtExplanation(pub u8);

impl CtExplanation {
    /// None.
    pub const NONE: Self = Self(0x00);
    /// The N_Port_ID isn't registered.
    pub const ID_NOT_REGISTERED: Self = Self(0x01);
    /// The WWPN isn't registered.
    pub const PORT_NAME_NOT_REGISTERED: Self = Self(0x02);
    /// The WWNN isn't registered.
    pub const NODE_NAME_NOT_REGISTERED: Self = Self(0x03);
    /// No port has registered the FC-4 type.
    pub const TYPE_NOT_REGISTERED: Self = Self(0x07);
    /// The one who asks has no access: it isn't logged in, or not registered.
    pub const ACCESS_DENIED: Self = Self(0x10);
}
