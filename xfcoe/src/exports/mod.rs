//! Disks of the SAN for those who need them.

mod device;

pub use device::DiskDevice;
