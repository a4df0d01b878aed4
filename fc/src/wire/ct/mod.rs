//! Common Transport, and the name server that speaks it (FC-GS-7, 4.3 and 5.2).
//!
//! An IU is a preamble of 16 bytes and a body. A reply is found by its exchange; its body's format is its
//! request's. A long reply spans several frames of one sequence.

mod list;
mod name_server;
mod preamble;
#[cfg(test)]
mod tests;

pub use list::{GidFtEntry, GpnFtEntry, IsLast, PortEntries};
pub use name_server::{
    FEATURE_INITIATOR, FEATURE_TARGET, MAX_SYMBOLIC_NAME_LEN, NameServerRequest, PortScope, port_name_reply,
};
pub use preamble::{CtCommand, CtExplanation, CtPreamble, CtReason, CtReject, accepted};
