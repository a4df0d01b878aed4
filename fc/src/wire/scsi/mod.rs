//! SCSI: statuses, sense data, commands and the data that discovery reads (SAM-5, SPC-4, SBC-3).

pub mod additional_sense;
pub mod sense;
pub mod status;

pub use additional_sense::AdditionalSense;
pub use sense::{Sense, SenseFormat, SenseKey};
pub use status::Status;
