//! AF_XDP rings and the poll core that owns them.
//!
//! [`port`] is one Ethernet queue: the only place of the project that talks to the kernel's rings. [`core`] is
//! the poll core over it: exchanges, nexuses, frames in and out. [`consumer`] is how commands reach a core.

pub mod consumer;
pub mod core;
pub mod port;
