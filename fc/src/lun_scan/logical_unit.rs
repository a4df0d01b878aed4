//! What a scan finds out about a logical unit.

use crate::wire::WireError;
use crate::wire::fcp::Lun;
use crate::wire::scsi::capacity::{Capacity10, Capacity16};
use crate::wire::scsi::target_port_groups::AccessState;
use crate::wire::scsi::vpd::{BlockLimits, DeviceId, Provisioning};
use crate::wire::scsi::{Sense, inquiry};
use alloc::string::String;
use alloc::vec::Vec;

/// A logical unit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogicalUnit {
    /// Where it is at its target port.
    pub lun: Lun,
    /// What it is: see [`inquiry::device_type`].
    pub device_type: u8,
    /// T10 VENDOR IDENTIFICATION.
    pub vendor: String,
    /// PRODUCT IDENTIFICATION.
    pub product: String,
    /// PRODUCT REVISION LEVEL.
    pub revision: String,
    /// TPGS: bit 0 implicit, bit 1 explicit asymmetric access; 0: all paths are alike.
    pub asymmetric_access: u8,
    /// Its serial number, where it has one.
    pub serial: Option<String>,
    /// Its names, best first: the same logical unit has the same ones on all paths.
    pub device_ids: Vec<DeviceId>,
    /// The relative port identifier of the target port that was asked.
    pub relative_port: Option<u16>,
    /// The target port group of the port that was asked.
    pub port_group: Option<u16>,
    /// How well the port that was asked leads to it; `None` if it doesn't say.
    pub access: Option<AccessState>,
    /// What it asks of transfers; zeros where it doesn't say.
    pub limits: BlockLimits,
    /// How blocks can be unmapped; zeros where it doesn't say.
    pub provisioning: Provisioning,
    /// How fast its medium turns.
    pub rotation: Rotation,
    /// Its size; `None` if it isn't a disk or not ready.
    pub capacity: Option<Capacity>,
    /// Why it isn't ready.
    pub not_ready: Option<Sense>,
    /// Writes are refused.
    pub write_protected: bool,
    /// DPO and FUA are supported.
    pub fua: bool,
    /// Writes may stay in a cache that needs SYNCHRONIZE CACHE; taken for granted if it doesn't say.
    pub write_cache: bool,
}

/// How fast a medium turns (SBC-3, 6.5.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rotation {
    /// The device doesn't say.
    Unknown,
    /// It doesn't turn.
    SolidState,
    /// Revolutions a minute.
    PerMinute(u16),
}

impl LogicalUnit {
    /// One of which nothing is known.
    pub fn new(lun: Lun) -> Self {
        Self {
            lun,
            device_type: inquiry::device_type::UNKNOWN,
            vendor: String::new(),
            product: String::new(),
            revision: String::new(),
            asymmetric_access: 0,
            serial: None,
            device_ids: Vec::new(),
            relative_port: None,
            port_group: None,
            access: None,
            limits: BlockLimits::default(),
            provisioning: Provisioning::default(),
            rotation: Rotation::Unknown,
            capacity: None,
            not_ready: None,
            write_protected: false,
            fua: false,
            write_cache: true,
        }
    }

    /// The name that tells it best from all others; `None` if it has none that is unique in the world.
    pub fn identity(&self) -> Option<&DeviceId> {
        self.device_ids.first().filter(|id| id.rank() > 0)
    }

    /// Whether it is a disk.
    pub const fn is_disk(&self) -> bool {
        self.device_type == inquiry::device_type::DISK
    }

    /// The most blocks of one read or write; `None` if it names no limit.
    pub fn max_transfer_blocks(&self) -> Option<u32> {
        Some(self.limits.max_transfer.get()).filter(|&blocks| blocks > 0)
    }

    /// Whether UNMAP works.
    pub fn can_unmap(&self) -> bool {
        self.provisioning.flags & Provisioning::LBPU != 0 && self.limits.max_unmap_blocks.get() > 0
    }

    /// Whether WRITE SAME (16) can unmap.
    pub const fn can_unmap_by_write_same(&self) -> bool {
        self.provisioning.flags & Provisioning::LBPWS != 0
    }
}

/// How many blocks of which length.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capacity {
    /// Logical blocks.
    pub blocks: u64,
    /// Bytes of a logical block, 1..=[`Capacity::MAX_BLOCK_LEN_BYTES`].
    pub block_len_bytes: u32,
    /// A physical block is two to the power of this many logical ones.
    pub physical_block_exponent: u8,
    /// The first logical block that starts a physical one.
    pub lowest_aligned: u16,
    /// LBPME: blocks can be without data.
    pub thin: bool,
    /// LBPRZ: such blocks read as zeros.
    pub unmapped_reads_zero: bool,
    /// Blocks carry protection information of this type, 1..=3; 0: none.
    pub protection_type: u8,
}

impl Capacity {
    /// The longest block that is believed: tapes aside, nobody formats longer ones.
    pub const MAX_BLOCK_LEN_BYTES: u32 = 65_536;

    pub(super) fn from_16(data: &Capacity16) -> Result<Self, WireError> {
        let provisioning = data.provisioning.get();
        let protected = data.protection & 1 != 0;
        let capacity = Self {
            blocks: data.last_lba.get().wrapping_add(1),
            block_len_bytes: data.block_len.get(),
            physical_block_exponent: data.physical_block_exponent(),
            lowest_aligned: provisioning & 0x3fff,
            thin: provisioning & Capacity16::LBPME != 0,
            unmapped_reads_zero: provisioning & Capacity16::LBPRZ != 0,
            protection_type: if protected { (data.protection >> 1 & 7) + 1 } else { 0 },
        };
        capacity.checked()
    }

    pub(super) fn from_10(data: &Capacity10) -> Result<Self, WireError> {
        if data.is_overflow() {
            return Err(WireError::BadValue {
                what: "last LBA without READ CAPACITY (16)",
                value: u32::MAX.into(),
            });
        }
        let capacity = Self {
            blocks: u64::from(data.last_lba.get()) + 1,
            block_len_bytes: data.block_len.get(),
            physical_block_exponent: 0,
            lowest_aligned: 0,
            thin: false,
            unmapped_reads_zero: false,
            protection_type: 0,
        };
        capacity.checked()
    }

    /// A size that arithmetic can rely on: not wrapped, and its bytes fit 64 bits.
    fn checked(self) -> Result<Self, WireError> {
        let block_len = u64::from(self.block_len_bytes);
        if !(1..=Self::MAX_BLOCK_LEN_BYTES).contains(&self.block_len_bytes) {
            return Err(WireError::BadValue { what: "block length", value: block_len });
        }
        if self.blocks == 0 || self.blocks.checked_mul(block_len).is_none() {
            return Err(WireError::BadValue { what: "last LBA", value: self.blocks.wrapping_sub(1) });
        }
        Ok(self)
    }

    /// Bytes in all.
    pub const fn bytes(&self) -> u64 {
        self.blocks * self.block_len_bytes as u64
    }
}
