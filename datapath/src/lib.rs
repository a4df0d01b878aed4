//! AF_XDP rings and the poll core that owns them.
//!
//! [`port`] is one Ethernet queue: the only place of the project that talks to the kernel's rings. The rest is
//! plain Rust over it.

pub mod port;
