//! An NBD server: fixed newstyle negotiation, simple and structured replies, in any order. Without TLS.
//!
//! The protocol is that of the NetworkBlockDevice project's `doc/proto.md`; its chapters are named at the rules.
//! `Negotiation` and `Transmission` are the two phases of a connection, as machines without a socket; [`Server`] puts
//! them on sockets, with a thread for each connection.
//!
//! What a client can cost: a thread, `MAX_HELD_LEN` bytes of requests and replies, and at the disk as much as is worth
//! having out (`transmission`'s constants). A client that wants more isn't read from until it has taken
//! what it asked for. What it does wrong ends its own connection.

mod buffers;
mod negotiation;
mod request;
mod server;
#[cfg(test)]
mod tests;
mod transmission;
mod wire;

pub use server::{Listener, Server};

use thiserror::Error;

/// The longest read or write. Clients that are not told take it for granted ("Block size constraints").
const MAX_REQUEST_LEN: u32 = 32 << 20;

/// Bytes of one connection's requests and replies that are held at a time.
const MAX_HELD_LEN: usize = MAX_REQUEST_LEN as usize;

/// What a client did wrong, or wanted, so that its connection ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
enum ProtocolError {
    /// Something else than what begins a message.
    #[error("a message begins with {found:#x} instead of {expected:#x}")]
    Magic {
        /// What begins it.
        found: u64,
        /// What should.
        expected: u64,
    },
    /// Client flags that no server has offered.
    #[error("unknown client flags {0:#x}")]
    ClientFlags(u32),
    /// An option that is longer than any that we know.
    #[error("an option of {0} bytes")]
    LongOption(u32),
    /// NBD_OPT_EXPORT_NAME of an export that there isn't, to which there is no other answer.
    #[error("there is no export of the name that was asked for")]
    NoExport,
    /// More data than may be sent at once.
    #[error("a write of {0} bytes")]
    LongWrite(u32),
}
