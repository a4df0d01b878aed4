//! A logical unit: a disk, what it says of itself, and who reserved it.

use super::disk::Disk;
use super::reservation::Reservations;
use super::{PortAccess, Refusal, illegal};
use crate::config::{ConfigError, LunConfig};
use fc::wire::Wwn;
use fc::wire::scsi::AdditionalSense;

/// A target port as SCSI names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PortIdentity {
    /// WWPN.
    pub(crate) name: Wwn,
    /// Relative target port identifier, from 1 on.
    pub(crate) relative: u16,
}

impl PortIdentity {
    /// Its target port group, in which it is alone.
    pub(super) const fn group(&self) -> u16 {
        self.relative
    }
}

/// A port that leads to a unit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct UnitPort {
    pub(crate) identity: PortIdentity,
    pub(crate) access: PortAccess,
}

/// A logical unit.
#[derive(Debug)]
pub(crate) struct Unit {
    pub(crate) disk: Disk,
    pub(crate) block_len: u32,
    pub(crate) blocks: u64,
    pub(crate) read_only: bool,
    pub(crate) serial: String,
    pub(crate) vendor: String,
    pub(crate) product: String,
    /// All ports that lead to it.
    pub(crate) ports: Vec<UnitPort>,
    pub(crate) reservations: Reservations,
}

impl Unit {
    /// Opens the disk of `config`, whose serial number is `serial`.
    pub(crate) fn open(config: &LunConfig, serial: String) -> Result<Self, ConfigError> {
        let (disk, size) = Disk::open(config)?;
        Ok(Self {
            disk,
            block_len: config.block_bytes,
            blocks: size / u64::from(config.block_bytes),
            read_only: config.read_only,
            serial,
            vendor: config.vendor.clone(),
            product: config.product.clone(),
            ports: Vec::new(),
            reservations: Reservations::default(),
        })
    }

    /// How well a port leads to it.
    ///
    /// # Panics
    /// If it doesn't.
    pub(super) fn access(&self, port: &PortIdentity) -> PortAccess {
        let port = self.ports.iter().find(|other| other.identity == *port);
        port.expect("commands come by ports that lead to their unit").access
    }

    /// The unit's NAA identifier: a locally assigned one (SPC-4, 7.8.6.6.4), made from the serial number, so that
    /// it is the same at every start and through every port.
    pub(crate) fn naa(&self) -> [u8; 8] {
        const LOCALLY_ASSIGNED: u64 = 3;
        // FNV-1a.
        let hash = self.serial.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        (LOCALLY_ASSIGNED << 60 | hash >> 4).to_be_bytes()
    }

    /// Offset and length in bytes of `count` blocks from `lba` on.
    ///
    /// # Errors
    /// LOGICAL BLOCK ADDRESS OUT OF RANGE.
    pub(super) fn range(&self, lba: u64, count: u64) -> Result<(u64, u64), Refusal> {
        match lba.checked_add(count) {
            Some(end) if end <= self.blocks => {
                Ok((lba * u64::from(self.block_len), count * u64::from(self.block_len)))
            }
            _ => Err(illegal(AdditionalSense::LBA_OUT_OF_RANGE)),
        }
    }
}
