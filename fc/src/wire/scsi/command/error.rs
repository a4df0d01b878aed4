//! What is wrong with a CDB, and what a target says of it.

use crate::wire::scsi::{AdditionalSense, Sense, SenseKey};
use thiserror::Error;

/// Why bytes are no command that is known here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum CdbError {
    /// An operation code that isn't known.
    #[error("operation code {opcode:#04x} is not known")]
    UnknownOperation {
        /// The operation code.
        opcode: u8,
    },
    /// Fewer bytes than the operation code asks for.
    #[error("a CDB with operation code {opcode:#04x} has {need} bytes, here are {have}")]
    Truncated {
        /// The operation code, 0 if there are no bytes at all.
        opcode: u8,
        /// Bytes needed.
        need: usize,
        /// Bytes there.
        have: usize,
    },
    /// A reserved bit is set, or a field has a value that isn't known.
    #[error("byte {byte} of the CDB with operation code {opcode:#04x} is not allowed")]
    BadField {
        /// The operation code.
        opcode: u8,
        /// The first byte that is wrong.
        byte: u8,
    },
}

impl CdbError {
    /// What a target answers: sense data with a field pointer where one byte is wrong (SPC-4, 4.5.2.4.2).
    pub const fn sense(self) -> Sense {
        match self {
            Self::UnknownOperation { .. } => {
                Sense::new(SenseKey::ILLEGAL_REQUEST, AdditionalSense::INVALID_OPERATION_CODE)
            }
            Self::Truncated { .. } => {
                Sense::new(SenseKey::ILLEGAL_REQUEST, AdditionalSense::INVALID_FIELD_IN_CDB)
            }
            Self::BadField { byte, .. } => {
                Sense::new(SenseKey::ILLEGAL_REQUEST, AdditionalSense::INVALID_FIELD_IN_CDB)
                    .with_field_pointer(true, byte as u16)
            }
        }
    }
}
