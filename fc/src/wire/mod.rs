//! The formats on the wire, one file each.
//!
//! A format whose layout is fixed is a `#[repr(C)]` struct of byte-sized and big-endian fields that derives
//! zerocopy's traits: the struct is the layout, a view and its value are one type. A format that varies has a
//! value type with `parse(&[u8]) -> Result<Self, WireError>` and `emit`. Codes that we don't know survive in
//! newtypes, so that what was decoded encodes to the same bytes again.

pub mod address;
pub mod crc;
pub mod error;
pub mod ethernet;
pub mod fcoe;
pub mod fcp;
pub mod fip;
pub mod header;
pub mod scsi;

pub use address::{FcId, MacAddr, Wwn};
pub use error::WireError;
