//! Why bytes are not the format they should be.

use thiserror::Error;

/// Why a frame, a descriptor or a payload was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum WireError {
    /// Fewer bytes than the format's fixed part, or than its own length field, asks for.
    #[error("{what} is cut short: it needs {need} bytes and has {have}")]
    Truncated {
        /// The format.
        what: &'static str,
        /// Bytes needed.
        need: usize,
        /// Bytes there.
        have: usize,
    },
    /// More bytes, or more entries, than the format allows.
    #[error("{what} is too long: at most {limit} allowed, {have} found")]
    TooLong {
        /// The format or its list.
        what: &'static str,
        /// The most that is allowed.
        limit: usize,
        /// What was found.
        have: usize,
    },
    /// A field with a value that the format doesn't allow.
    #[error("{what} has the value {value:#x}, which is not allowed")]
    BadValue {
        /// The field.
        what: &'static str,
        /// Its value.
        value: u64,
    },
    /// A part that must be there is not.
    #[error("{what} is missing")]
    Missing {
        /// The part.
        what: &'static str,
    },
    /// A part that may be there once is there again.
    #[error("{what} is there twice")]
    Duplicate {
        /// The part.
        what: &'static str,
    },
    /// The CRC of an FC frame does not match its bytes.
    #[error("FC CRC is {found:#010x} on the wire, {computed:#010x} over the frame")]
    Crc {
        /// Found on the wire.
        found: u32,
        /// Computed over header, payload and fill.
        computed: u32,
    },
}
