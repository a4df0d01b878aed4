//! Command descriptor blocks: what an initiator asks of a logical unit (SAM-5, 5.2).
//!
//! [`ScsiCommand`] is the meaning, parsed and emitted here; the bytes that travel are a
//! [`Cdb`](crate::messages::Cdb) or the CDB field of an FCP_CMND. Whatever parses encodes to the same bytes:
//! a CDB with a reserved bit set is refused, with the byte that is wrong, as a target should tell it.

mod emit;
mod error;
mod parse;

pub use error::CdbError;

/// The longest CDB of the commands here.
pub const MAX_LEN: usize = 16;

/// OPERATION CODEs (SPC-4 table D.2, SBC-3 table 31).
pub mod opcode {
    /// TEST UNIT READY.
    pub const TEST_UNIT_READY: u8 = 0x00;
    /// REQUEST SENSE.
    pub const REQUEST_SENSE: u8 = 0x03;
    /// READ (6).
    pub const READ_6: u8 = 0x08;
    /// WRITE (6).
    pub const WRITE_6: u8 = 0x0a;
    /// INQUIRY.
    pub const INQUIRY: u8 = 0x12;
    /// MODE SENSE (6).
    pub const MODE_SENSE_6: u8 = 0x1a;
    /// START STOP UNIT.
    pub const START_STOP_UNIT: u8 = 0x1b;
    /// READ CAPACITY (10).
    pub const READ_CAPACITY_10: u8 = 0x25;
    /// READ (10).
    pub const READ_10: u8 = 0x28;
    /// WRITE (10).
    pub const WRITE_10: u8 = 0x2a;
    /// VERIFY (10).
    pub const VERIFY_10: u8 = 0x2f;
    /// SYNCHRONIZE CACHE (10).
    pub const SYNCHRONIZE_CACHE_10: u8 = 0x35;
    /// WRITE SAME (10).
    pub const WRITE_SAME_10: u8 = 0x41;
    /// UNMAP.
    pub const UNMAP: u8 = 0x42;
    /// MODE SENSE (10).
    pub const MODE_SENSE_10: u8 = 0x5a;
    /// PERSISTENT RESERVE IN.
    pub const PERSISTENT_RESERVE_IN: u8 = 0x5e;
    /// PERSISTENT RESERVE OUT.
    pub const PERSISTENT_RESERVE_OUT: u8 = 0x5f;
    /// READ (16).
    pub const READ_16: u8 = 0x88;
    /// COMPARE AND WRITE.
    pub const COMPARE_AND_WRITE: u8 = 0x89;
    /// WRITE (16).
    pub const WRITE_16: u8 = 0x8a;
    /// VERIFY (16).
    pub const VERIFY_16: u8 = 0x8f;
    /// SYNCHRONIZE CACHE (16).
    pub const SYNCHRONIZE_CACHE_16: u8 = 0x91;
    /// WRITE SAME (16).
    pub const WRITE_SAME_16: u8 = 0x93;
    /// SERVICE ACTION IN (16): READ CAPACITY (16) and others.
    pub const SERVICE_ACTION_IN_16: u8 = 0x9e;
    /// REPORT LUNS.
    pub const REPORT_LUNS: u8 = 0xa0;
    /// MAINTENANCE IN: REPORT TARGET PORT GROUPS and others.
    pub const MAINTENANCE_IN: u8 = 0xa3;
    /// READ (12).
    pub const READ_12: u8 = 0xa8;
    /// WRITE (12).
    pub const WRITE_12: u8 = 0xaa;
    /// VERIFY (12).
    pub const VERIFY_12: u8 = 0xaf;
}

/// SERVICE ACTION codes of the operation codes that need one.
pub mod service_action {
    /// SERVICE ACTION IN (16): READ CAPACITY (16).
    pub const READ_CAPACITY_16: u8 = 0x10;
    /// MAINTENANCE IN: REPORT TARGET PORT GROUPS.
    pub const REPORT_TARGET_PORT_GROUPS: u8 = 0x0a;
    /// MAINTENANCE IN: REPORT SUPPORTED OPERATION CODES.
    pub const REPORT_SUPPORTED_OPERATION_CODES: u8 = 0x0c;
}

/// A command to a logical unit. Lengths are in bytes, counts in logical blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ScsiCommand {
    /// Can it do medium access? (SPC-4, 6.47)
    TestUnitReady,
    /// Gives pending sense data (SPC-4, 6.39).
    RequestSense {
        /// In descriptor format.
        descriptor_format: bool,
        /// Room for the answer.
        allocation_len: u8,
    },
    /// Who is it? (SPC-4, 6.6)
    Inquiry {
        /// The vital product data page (EVPD), or standard data.
        page: Option<u8>,
        /// Room for the answer.
        allocation_len: u16,
    },
    /// Data from blocks (SBC-3, 5.11 to 5.14).
    Read {
        /// Which blocks.
        extent: Extent,
        /// How.
        flags: IoFlags,
    },
    /// Data to blocks (SBC-3, 5.32 to 5.35).
    Write {
        /// Which blocks.
        extent: Extent,
        /// How.
        flags: IoFlags,
    },
    /// Checks blocks on the medium, or against data (SBC-3, 5.26 to 5.28).
    Verify {
        /// Which blocks.
        extent: Extent,
        /// VRPROTECT, three bits.
        protect: u8,
        /// Disable page out.
        dpo: bool,
        /// BYTCHK, two bits: 0 no data, 1 data for every block, 3 one block for all.
        byte_check: u8,
    },
    /// Cached blocks go to the medium (SBC-3, 5.22, 5.23). A count of 0 means to the last block.
    SynchronizeCache {
        /// Which blocks.
        extent: Extent,
        /// The answer comes before it is done.
        immediate: bool,
    },
    /// One block of data to many blocks, or none of it (SBC-3, 5.43, 5.44). A count of 0 means to the last block.
    WriteSame {
        /// Which blocks.
        extent: Extent,
        /// WRPROTECT, three bits.
        protect: u8,
        /// Blocks may become anchored instead.
        anchor: bool,
        /// Blocks may be unmapped instead.
        unmap: bool,
        /// NDOB: there is no data, the block is all zero; 16-byte form only.
        no_data: bool,
    },
    /// Blocks of the parameter list hold no data any more (SBC-3, 5.25).
    Unmap {
        /// They are anchored, not deallocated.
        anchor: bool,
        /// GROUP NUMBER, five bits.
        group: u8,
        /// Bytes of the parameter list.
        parameter_len: u16,
    },
    /// Writes if the blocks hold what the first half of the data says (SBC-3, 5.2).
    CompareAndWrite {
        /// Which blocks: the 16-byte form, at most 255 blocks.
        extent: Extent,
        /// How.
        flags: IoFlags,
    },
    /// Last LBA and block length, up to 2 TiB (SBC-3, 5.15).
    ReadCapacity10,
    /// Last LBA, block length and more (SBC-3, 5.16).
    ReadCapacity16 {
        /// Room for the answer.
        allocation_len: u32,
    },
    /// Mode parameters (SPC-4, 6.13, 6.14).
    ModeSense {
        /// The 10-byte form, with its longer header.
        ten: bool,
        /// Block descriptors may be longer; 10-byte form only.
        long_lba: bool,
        /// Disable block descriptors.
        no_descriptors: bool,
        /// Page control, two bits: 0 current, 1 changeable, 2 default, 3 saved.
        page_control: u8,
        /// Page code, six bits; 0x3f for all.
        page: u8,
        /// Subpage code; 0xff for all.
        subpage: u8,
        /// Room for the answer; one byte in the 6-byte form.
        allocation_len: u16,
    },
    /// Starts, stops and power conditions (SBC-3, 5.20).
    StartStopUnit {
        /// The answer comes before it is done.
        immediate: bool,
        /// POWER CONDITION MODIFIER, four bits.
        modifier: u8,
        /// POWER CONDITION, four bits.
        power_condition: u8,
        /// Don't write the cache to the medium before.
        no_flush: bool,
        /// Load or eject the medium.
        load_eject: bool,
        /// Start, else stop.
        start: bool,
    },
    /// The target's logical units (SPC-4, 6.33).
    ReportLuns {
        /// SELECT REPORT: 0 those that can be used, 1 well-known ones, 2 all.
        select_report: u8,
        /// Room for the answer.
        allocation_len: u32,
    },
    /// Keys, reservations and what is supported (SPC-4, 6.15).
    PersistentReserveIn {
        /// SERVICE ACTION, five bits: see [`reservations`](super::reservations).
        action: u8,
        /// Room for the answer.
        allocation_len: u16,
    },
    /// Registers, reserves, releases, preempts (SPC-4, 6.16).
    PersistentReserveOut {
        /// SERVICE ACTION, five bits: see [`reservations`](super::reservations).
        action: u8,
        /// SCOPE, four bits; 0 is the logical unit.
        scope: u8,
        /// TYPE, four bits.
        kind: u8,
        /// Bytes of the parameter list.
        parameter_len: u32,
    },
    /// Which paths are good ones (SPC-4, 6.37).
    ReportTargetPortGroups {
        /// PARAMETER DATA FORMAT, three bits: 0 the short header, 1 the extended one.
        format: u8,
        /// Room for the answer.
        allocation_len: u32,
    },
    /// Which commands there are (SPC-4, 6.35).
    ReportSupportedOperationCodes {
        /// Return the commands' time-outs too.
        timeouts: bool,
        /// REPORTING OPTIONS, three bits.
        options: u8,
        /// Of this operation code.
        operation_code: u8,
        /// And this service action.
        service_action: u16,
        /// Room for the answer.
        allocation_len: u32,
    },
}

/// The forms in which commands that name blocks come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CdbForm {
    /// 6 bytes: LBAs of 21 bits, 1 to 256 blocks, no flags.
    Six,
    /// 10 bytes: LBAs of 32 bits, counts of 16.
    Ten,
    /// 12 bytes: LBAs of 32 bits, counts of 32.
    Twelve,
    /// 16 bytes: LBAs of 64 bits, counts of 32.
    Sixteen,
}

impl CdbForm {
    /// Bytes of a CDB of this form.
    pub const fn len(self) -> usize {
        match self {
            Self::Six => 6,
            Self::Ten => 10,
            Self::Twelve => 12,
            Self::Sixteen => 16,
        }
    }
}

/// Consecutive logical blocks, and the form in which a CDB names them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    /// The form.
    pub form: CdbForm,
    /// The first block.
    pub lba: u64,
    /// How many.
    pub count: u32,
    /// GROUP NUMBER, five bits; 0 in the 6-byte form.
    pub group: u8,
}

impl Extent {
    /// The blocks in the 10-byte form if they fit it, else in the 16-byte form.
    pub const fn new(lba: u64, count: u32) -> Self {
        let fits_ten = lba <= u32::MAX as u64 && count <= u16::MAX as u32;
        Self { form: if fits_ten { CdbForm::Ten } else { CdbForm::Sixteen }, lba, count, group: 0 }
    }

    /// The blocks in the 16-byte form.
    pub const fn sixteen(lba: u64, count: u32) -> Self {
        Self { form: CdbForm::Sixteen, lba, count, group: 0 }
    }

    /// The block after the last; `None` if there can't be one.
    pub const fn end(&self) -> Option<u64> {
        self.lba.checked_add(self.count as u64)
    }
}

/// How blocks are read or written; all zero in the 6-byte form.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct IoFlags {
    /// RDPROTECT or WRPROTECT, three bits.
    pub protect: u8,
    /// Disable page out: the blocks needn't stay in the cache.
    pub dpo: bool,
    /// Force unit access: to and from the medium, not the cache.
    pub fua: bool,
}

/// The length of a CDB by its operation code's group (SPC-4, 4.2.5.1); `None` where the group doesn't tell.
pub const fn cdb_len(opcode: u8) -> Option<usize> {
    match opcode >> 5 {
        0 => Some(6),
        1 | 2 => Some(10),
        4 => Some(16),
        5 => Some(12),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::scsi::{AdditionalSense, SenseKey};
    use proptest::prelude::*;

    /// Every operation code that is known, and now and then another.
    fn opcodes() -> impl Strategy<Value = u8> {
        let known: &[u8] = &[
            0x00, 0x03, 0x08, 0x0a, 0x12, 0x1a, 0x1b, 0x25, 0x28, 0x2a, 0x2f, 0x35, 0x41, 0x42, 0x5a, 0x5e,
            0x5f, 0x88, 0x89, 0x8a, 0x8f, 0x91, 0x93, 0x9e, 0xa0, 0xa3, 0xa8, 0xaa, 0xaf,
        ];
        prop_oneof![9 => proptest::sample::select(known), 1 => any::<u8>()]
    }

    proptest! {
        /// Bytes are mostly zero, so that many of them are commands.
        #[test]
        fn what_parses_encodes_to_the_same_bytes(
            opcode in opcodes(),
            service_action in prop_oneof![Just(0u8), Just(0x0a), Just(0x0c), Just(0x10), any::<u8>()],
            bytes in proptest::collection::vec(prop_oneof![3 => Just(0u8), 1 => any::<u8>()], 14),
        ) {
            let mut cdb = [0; MAX_LEN];
            cdb[0] = opcode;
            cdb[1] = service_action;
            cdb[2..].copy_from_slice(&bytes);
            if let Ok(command) = ScsiCommand::parse(&cdb) {
                let mut again = [0xa5; MAX_LEN];
                let len = command.emit(&mut again);
                prop_assert_eq!(Some(len), cdb_len(opcode));
                prop_assert_eq!(len, command.len());
                prop_assert_eq!(&again[..len], &cdb[..len]);
                let short = ScsiCommand::parse(&cdb[..len - 1]);
                prop_assert_eq!(short, Err(CdbError::Truncated { opcode, need: len, have: len - 1 }));
            }
        }

        #[test]
        fn any_bytes_are_safe(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Err(error) = ScsiCommand::parse(&bytes) {
                prop_assert_eq!(error.sense().key, SenseKey::ILLEGAL_REQUEST);
            }
        }

        #[test]
        fn blocks_come_back(lba in any::<u64>(), count in any::<u32>(), group in 0u8..32, fua in any::<bool>()) {
            for (form, lba, count, group) in [
                (CdbForm::Six, lba & 0x1f_ffff, count % 256 + 1, 0),
                (CdbForm::Ten, lba & 0xffff_ffff, count & 0xffff, group),
                (CdbForm::Twelve, lba & 0xffff_ffff, count, group),
                (CdbForm::Sixteen, lba, count, group),
            ] {
                let flags = IoFlags { protect: 0, dpo: false, fua: fua && form != CdbForm::Six };
                let extent = Extent { form, lba, count, group };
                for command in [ScsiCommand::Read { extent, flags }, ScsiCommand::Write { extent, flags }] {
                    let mut cdb = [0xa5; MAX_LEN];
                    let len = command.emit(&mut cdb);
                    prop_assert_eq!(ScsiCommand::parse(&cdb[..len]), Ok(command));
                }
            }
        }
    }

    #[test]
    fn commands_have_the_standards_layout() {
        let cases: &[(&[u8], ScsiCommand)] = &[
            (
                &[0x12, 1, 0x83, 0x01, 0x02, 0],
                ScsiCommand::Inquiry { page: Some(0x83), allocation_len: 0x102 },
            ),
            (
                &[0x2a, 0x18, 1, 2, 3, 4, 0, 5, 6, 0],
                ScsiCommand::Write {
                    extent: Extent::new(0x0102_0304, 0x0506),
                    flags: IoFlags { protect: 0, dpo: true, fua: true },
                },
            ),
            (
                &[0x88, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0],
                ScsiCommand::Read { extent: Extent::new(0x1_0000_0002, 3), flags: IoFlags::default() },
            ),
            (
                &[0x08, 0x1f, 0xff, 0xff, 0, 0],
                ScsiCommand::Read {
                    extent: Extent { form: CdbForm::Six, lba: 0x1f_ffff, count: 256, group: 0 },
                    flags: IoFlags::default(),
                },
            ),
            (
                &[0x93, 0x09, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 8, 0, 0],
                ScsiCommand::WriteSame {
                    extent: Extent::sixteen(9, 8),
                    protect: 0,
                    anchor: false,
                    unmap: true,
                    no_data: true,
                },
            ),
            (
                &[0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0],
                ScsiCommand::ReadCapacity16 { allocation_len: 32 },
            ),
            (
                &[0x5f, 0x01, 0x05, 0, 0, 0, 0, 0, 24, 0],
                ScsiCommand::PersistentReserveOut { action: 1, scope: 0, kind: 5, parameter_len: 24 },
            ),
            (
                &[0xa0, 0, 2, 0, 0, 0, 0, 0, 0x10, 0, 0, 0],
                ScsiCommand::ReportLuns { select_report: 2, allocation_len: 4096 },
            ),
        ];
        for (bytes, command) in cases {
            assert_eq!(ScsiCommand::parse(bytes), Ok(*command));
            let mut again = [0; MAX_LEN];
            let len = command.emit(&mut again);
            assert_eq!(&again[..len], *bytes);
        }
    }

    #[test]
    fn what_is_wrong_is_told() {
        let reserved = [0x28, 0x02, 0, 0, 0, 0, 0, 0, 1, 0];
        let error = ScsiCommand::parse(&reserved).unwrap_err();
        assert_eq!(error, CdbError::BadField { opcode: 0x28, byte: 1 });
        assert_eq!(error.sense().field_pointer(), Some((true, 1)));

        let page_without_evpd = [0x12, 0, 0x80, 0, 36, 0];
        assert_eq!(ScsiCommand::parse(&page_without_evpd), Err(CdbError::BadField { opcode: 0x12, byte: 2 }));

        let unknown_action = [0x9e, 0x12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0];
        assert_eq!(ScsiCommand::parse(&unknown_action), Err(CdbError::BadField { opcode: 0x9e, byte: 1 }));

        let too_many = [0x89, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0];
        assert_eq!(ScsiCommand::parse(&too_many), Err(CdbError::BadField { opcode: 0x89, byte: 12 }));

        let error = ScsiCommand::parse(&[0x16, 0, 0, 0, 0, 0]).unwrap_err();
        assert_eq!(error, CdbError::UnknownOperation { opcode: 0x16 });
        assert_eq!(error.sense().additional, AdditionalSense::INVALID_OPERATION_CODE);
    }
}
