//! Fibre Channel over Ethernet, pure.
//!
//! [`wire`] holds the formats, one file each; the other modules are state machines and the plain messages
//! between threads. Nothing here touches a clock, a socket or a thread: machines take `now` and bytes and give
//! back frames and events, so that the daemon, the simulation and the tests run the same values.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod exchange;
pub mod fabric_login;
pub mod fcp;
pub mod fip;
pub mod frame;
pub mod in_place;
mod jitter;
pub mod lun_scan;
pub mod messages;
mod queue;
pub mod remote_port;
mod retry;
pub mod time;
pub mod vn2vn;
pub mod vn_port;
pub mod wire;
