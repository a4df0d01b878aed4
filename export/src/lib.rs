//! Disks for those who need them: what a disk is to a server of disks, and the servers.
//!
//! [`BlockDevice`] and [`BlockQueue`] are all that a server needs to know of a disk. The program joins them to the
//! initiator's disks; nothing here knows of FCoE.

#![forbid(unsafe_code)]

mod block;
mod buffers;
mod clients;
mod export;
pub mod nbd;
mod pieces;
pub mod ublk;
pub mod vhost_user;

pub use block::{BlockDevice, BlockError, BlockQueue, Finished, Geometry, Operation};
pub use export::{Counters, Export};
