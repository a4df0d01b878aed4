//! The formats on the wire, one file each.
//!
//! A format whose layout is fixed is a `#[repr(C)]` struct of byte-sized and big-endian fields that derives
//! zerocopy's traits: the struct is the layout, a view and its value are one type. A format that varies has a
//! value type with `parse(&[u8]) -> Result<Self, WireError>` and `emit`. Codes that we don't know survive in
//! newtypes, so that what was decoded encodes to the same bytes again.

pub mod address;
pub mod bls;
pub mod ct;
pub mod els;
pub mod error;
pub mod ethernet;
pub mod fcoe;
pub mod fcp;
pub mod fip;
pub mod header;
pub mod scsi;

pub use address::{FcId, MacAddr, Wwn};
pub use error::WireError;
pub use fc_crc::fc_crc;

use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// The fixed layout at the front of `bytes`, and what follows it.
fn split_fixed<'a, T>(what: &'static str, bytes: &'a [u8]) -> Result<(T, &'a [u8]), WireError>
where
    T: FromBytes + KnownLayout + Immutable + Unaligned,
{
    let truncated = WireError::Truncated { what, need: size_of::<T>(), have: bytes.len() };
    T::read_from_prefix(bytes).map_err(|_| truncated)
}
