//! LS_RJT (FC-LS-3, 4.4.4).

use core::fmt;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The body of an LS_RJT.
#[derive(Clone, Copy, PartialEq, Eq, Hash, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct LsRjt {
    /// Reserved.
    pub reserved: u8,
    /// Why.
    pub reason: Reason,
    /// Details.
    pub explanation: Explanation,
    /// A vendor's own.
    pub vendor: u8,
}

impl LsRjt {
    /// A reject for this reason.
    pub const fn new(reason: Reason, explanation: Explanation) -> Self {
        Self { reserved: 0, reason, explanation, vendor: 0 }
    }

    /// The request is not supported.
    pub const UNSUPPORTED: Self = Self::new(Reason::UNSUPPORTED, Explanation::NOT_SUPPORTED);
    /// The request needs a login that isn't there.
    pub const LOGIN_REQUIRED: Self = Self::new(Reason::UNABLE, Explanation::LOGIN_REQUIRED);
    /// The request is malformed.
    pub const MALFORMED: Self = Self::new(Reason::PROTOCOL_ERROR, Explanation::INVALID_LENGTH);
    /// The same command of our own is under way and goes first.
    pub const IN_PROGRESS: Self = Self::new(Reason::IN_PROGRESS, Explanation::NONE);
    /// No exchange has these IDs.
    pub const NO_SUCH_EXCHANGE: Self = Self::new(Reason::LOGICAL_ERROR, Explanation::INVALID_XIDS);
}

impl fmt::Display for LsRjt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LS_RJT reason {:02x} explanation {:02x}", self.reason.0, self.explanation.0)
    }
}

impl fmt::Debug for LsRjt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a link service was rejected.
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(transparent)]
pub struct Reason(pub u8);

impl Reason {
    /// There is no such command.
    pub const INVALID_COMMAND: Self = Self(0x01);
    /// It makes no sense now.
    pub const LOGICAL_ERROR: Self = Self(0x03);
    /// Busy: try later.
    pub const LOGICAL_BUSY: Self = Self(0x05);
    /// It violates the protocol.
    pub const PROTOCOL_ERROR: Self = Self(0x07);
    /// It can't be done.
    pub const UNABLE: Self = Self(0x09);
    /// The command is not supported.
    pub const UNSUPPORTED: Self = Self(0x0b);
    /// The same command is under way.
    pub const IN_PROGRESS: Self = Self(0x0e);
    /// FIP's own (FC-BB-6).
    pub const FIP: Self = Self(0x20);
    /// A vendor's own.
    pub const VENDOR: Self = Self(0xff);
}

/// Details of a [`Reason`].
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(transparent)]
pub struct Explanation(pub u8);

impl Explanation {
    /// None.
    pub const NONE: Self = Self(0x00);
    /// Service parameters: options.
    pub const OPTIONS: Self = Self(0x01);
    /// Service parameters: receive data field size.
    pub const RECEIVE_SIZE: Self = Self(0x07);
    /// Service parameters: N_Port name.
    pub const PORT_NAME: Self = Self(0x0d);
    /// The originator's S_ID is invalid.
    pub const INVALID_S_ID: Self = Self(0x15);
    /// No exchange has this OX_ID and RX_ID.
    pub const INVALID_XIDS: Self = Self(0x17);
    /// The request is already in progress.
    pub const IN_PROGRESS: Self = Self(0x19);
    /// N_Port login is required.
    pub const LOGIN_REQUIRED: Self = Self(0x1e);
    /// No resources.
    pub const NO_RESOURCES: Self = Self(0x29);
    /// The data asked for can't be supplied.
    pub const NO_DATA: Self = Self(0x2a);
    /// The request is not supported.
    pub const NOT_SUPPORTED: Self = Self(0x2c);
    /// The payload's length is invalid.
    pub const INVALID_LENGTH: Self = Self(0x2d);
    /// The VN2VN_Port is no neighbour (FC-BB-6).
    pub const NOT_NEIGHBOUR: Self = Self(0x62);
}
