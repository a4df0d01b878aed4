//! SCSI: statuses and sense data.

/// placeholder
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Status(pub u8);
/// placeholder
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sense;
