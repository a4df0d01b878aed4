//! SCSI: statuses, sense data, commands and the data that discovery reads (SAM-5, SPC-4, SBC-3).

pub mod additional_sense;
pub mod capacity;
pub mod command;
pub mod inquiry;
pub mod luns;
pub mod mode;
pub mod reservations;
pub mod sense;
pub mod status;
pub mod target_port_groups;
pub mod unmap;
pub mod vpd;

pub use additional_sense::AdditionalSense;
pub use command::{CdbError, CdbForm, Extent, IoFlags, ScsiCommand};
pub use sense::{Sense, SenseFormat, SenseKey};
pub use status::Status;

use zerocopy::{FromBytes, IntoBytes};

/// Reads a fixed layout; what short bytes don't have reads as zeros, what is behind it isn't looked at.
fn zero_extended<T: FromBytes + IntoBytes>(bytes: &[u8]) -> T {
    let mut value = T::new_zeroed();
    let layout = value.as_mut_bytes();
    let len = layout.len().min(bytes.len());
    layout[..len].copy_from_slice(&bytes[..len]);
    value
}
