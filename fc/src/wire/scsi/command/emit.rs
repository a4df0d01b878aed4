//! From commands to bytes.

use super::{CdbForm, Extent, IoFlags, ScsiCommand, cdb_len, opcode, service_action};

impl ScsiCommand {
    /// The operation code.
    pub const fn opcode(&self) -> u8 {
        match self {
            Self::TestUnitReady => opcode::TEST_UNIT_READY,
            Self::RequestSense { .. } => opcode::REQUEST_SENSE,
            Self::Inquiry { .. } => opcode::INQUIRY,
            Self::Read { extent, .. } => match extent.form {
                CdbForm::Six => opcode::READ_6,
                CdbForm::Ten => opcode::READ_10,
                CdbForm::Twelve => opcode::READ_12,
                CdbForm::Sixteen => opcode::READ_16,
            },
            Self::Write { extent, .. } => match extent.form {
                CdbForm::Six => opcode::WRITE_6,
                CdbForm::Ten => opcode::WRITE_10,
                CdbForm::Twelve => opcode::WRITE_12,
                CdbForm::Sixteen => opcode::WRITE_16,
            },
            Self::Verify { extent, .. } => match extent.form {
                CdbForm::Ten => opcode::VERIFY_10,
                CdbForm::Twelve => opcode::VERIFY_12,
                CdbForm::Sixteen => opcode::VERIFY_16,
                CdbForm::Six => panic!("VERIFY has no 6-byte form"),
            },
            Self::SynchronizeCache { extent, .. } => match extent.form {
                CdbForm::Ten => opcode::SYNCHRONIZE_CACHE_10,
                CdbForm::Sixteen => opcode::SYNCHRONIZE_CACHE_16,
                CdbForm::Six | CdbForm::Twelve => panic!("SYNCHRONIZE CACHE has 10 or 16 bytes"),
            },
            Self::WriteSame { extent, .. } => match extent.form {
                CdbForm::Ten => opcode::WRITE_SAME_10,
                CdbForm::Sixteen => opcode::WRITE_SAME_16,
                CdbForm::Six | CdbForm::Twelve => panic!("WRITE SAME has 10 or 16 bytes"),
            },
            Self::CompareAndWrite { .. } => opcode::COMPARE_AND_WRITE,
            Self::Unmap { .. } => opcode::UNMAP,
            Self::ReadCapacity10 => opcode::READ_CAPACITY_10,
            Self::ReadCapacity16 { .. } => opcode::SERVICE_ACTION_IN_16,
            Self::ModeSense { ten: false, .. } => opcode::MODE_SENSE_6,
            Self::ModeSense { ten: true, .. } => opcode::MODE_SENSE_10,
            Self::StartStopUnit { .. } => opcode::START_STOP_UNIT,
            Self::ReportLuns { .. } => opcode::REPORT_LUNS,
            Self::PersistentReserveIn { .. } => opcode::PERSISTENT_RESERVE_IN,
            Self::PersistentReserveOut { .. } => opcode::PERSISTENT_RESERVE_OUT,
            Self::ReportTargetPortGroups { .. } | Self::ReportSupportedOperationCodes { .. } => {
                opcode::MAINTENANCE_IN
            }
        }
    }

    /// Bytes that [`Self::emit`] writes: 6, 10, 12 or 16.
    pub const fn len(&self) -> usize {
        cdb_len(self.opcode()).expect("all commands here are of groups with a length")
    }

    /// Writes the CDB to the front of `buffer` and gives its length.
    ///
    /// # Panics
    /// If `buffer` is too short, a value does not fit its field, or the command doesn't have the extent's form.
    pub fn emit(&self, buffer: &mut [u8]) -> usize {
        let len = self.len();
        let mut cdb = Fields { cdb: &mut buffer[..len] };
        cdb.cdb.fill(0);
        cdb.cdb[0] = self.opcode();
        if !cdb.put_block_command(self) {
            cdb.put_other_command(self);
        }
        len
    }
}

struct Fields<'a> {
    cdb: &'a mut [u8],
}

impl Fields<'_> {
    fn bits(&mut self, byte: usize, mask: u8, value: u8) {
        let shifted = value << mask.trailing_zeros();
        assert!(shifted >> mask.trailing_zeros() == value && shifted & !mask == 0, "{value} in {mask:#04x}");
        self.cdb[byte] |= shifted;
    }

    fn bit(&mut self, byte: usize, mask: u8, set: bool) {
        self.cdb[byte] |= if set { mask } else { 0 };
    }

    fn u16_at(&mut self, byte: usize, value: u16) {
        self.cdb[byte..byte + 2].copy_from_slice(&value.to_be_bytes());
    }

    fn u32_at(&mut self, byte: usize, value: u32) {
        self.cdb[byte..byte + 4].copy_from_slice(&value.to_be_bytes());
    }

    fn extent(&mut self, extent: &Extent) {
        let short_lba = || u32::try_from(extent.lba).expect("the LBA fits the CDB's form");
        match extent.form {
            CdbForm::Six => {
                assert!(extent.lba < 1 << 21 && (1..=256).contains(&extent.count) && extent.group == 0);
                self.cdb[1..4].copy_from_slice(&short_lba().to_be_bytes()[1..]);
                self.cdb[4] = extent.count.to_be_bytes()[3];
            }
            CdbForm::Ten => {
                self.u32_at(2, short_lba());
                self.u16_at(7, u16::try_from(extent.count).expect("the count fits the CDB's form"));
                self.bits(6, 0x1f, extent.group);
            }
            CdbForm::Twelve => {
                self.u32_at(2, short_lba());
                self.u32_at(6, extent.count);
                self.bits(10, 0x1f, extent.group);
            }
            CdbForm::Sixteen => {
                self.cdb[2..10].copy_from_slice(&extent.lba.to_be_bytes());
                self.u32_at(10, extent.count);
                self.bits(14, 0x1f, extent.group);
            }
        }
    }

    fn io(&mut self, extent: &Extent, flags: &IoFlags) {
        assert!(extent.form != CdbForm::Six || *flags == IoFlags::default(), "6-byte CDBs have no flags");
        self.extent(extent);
        self.bits(1, 0xe0, flags.protect);
        self.bit(1, 0x10, flags.dpo);
        self.bit(1, 0x08, flags.fua);
    }

    /// The commands that name blocks; `false` for others.
    fn put_block_command(&mut self, command: &ScsiCommand) -> bool {
        match command {
            ScsiCommand::Read { extent, flags } | ScsiCommand::Write { extent, flags } => {
                self.io(extent, flags);
            }
            ScsiCommand::CompareAndWrite { extent, flags } => {
                assert!(extent.form == CdbForm::Sixteen && extent.count <= u8::MAX.into());
                self.io(extent, flags);
            }
            ScsiCommand::Verify { extent, protect, dpo, byte_check } => {
                self.extent(extent);
                self.bits(1, 0xe0, *protect);
                self.bit(1, 0x10, *dpo);
                self.bits(1, 0x06, *byte_check);
            }
            ScsiCommand::SynchronizeCache { extent, immediate } => {
                self.extent(extent);
                self.bit(1, 0x02, *immediate);
            }
            ScsiCommand::WriteSame { extent, protect, anchor, unmap, no_data } => {
                assert!(extent.form == CdbForm::Sixteen || !no_data, "WRITE SAME (10) always has data");
                self.extent(extent);
                self.bits(1, 0xe0, *protect);
                self.bit(1, 0x10, *anchor);
                self.bit(1, 0x08, *unmap);
                self.bit(1, 0x01, *no_data);
            }
            _ => return false,
        }
        true
    }

    /// The commands that don't.
    fn put_other_command(&mut self, command: &ScsiCommand) {
        match *command {
            ScsiCommand::RequestSense { descriptor_format, allocation_len } => {
                self.bit(1, 0x01, descriptor_format);
                self.cdb[4] = allocation_len;
            }
            ScsiCommand::Inquiry { page, allocation_len } => {
                self.bit(1, 0x01, page.is_some());
                self.cdb[2] = page.unwrap_or(0);
                self.u16_at(3, allocation_len);
            }
            ScsiCommand::Unmap { anchor, group, parameter_len } => {
                self.bit(1, 0x01, anchor);
                self.bits(6, 0x1f, group);
                self.u16_at(7, parameter_len);
            }
            ScsiCommand::ModeSense { .. } => self.put_mode_sense(command),
            ScsiCommand::StartStopUnit {
                immediate,
                modifier,
                power_condition,
                no_flush,
                load_eject,
                start,
            } => {
                self.bit(1, 0x01, immediate);
                self.bits(3, 0x0f, modifier);
                self.bits(4, 0xf0, power_condition);
                self.bit(4, 0x04, no_flush);
                self.bit(4, 0x02, load_eject);
                self.bit(4, 0x01, start);
            }
            ScsiCommand::ReportLuns { select_report, allocation_len } => {
                self.cdb[2] = select_report;
                self.u32_at(6, allocation_len);
            }
            ScsiCommand::PersistentReserveIn { action, allocation_len } => {
                self.bits(1, 0x1f, action);
                self.u16_at(7, allocation_len);
            }
            ScsiCommand::PersistentReserveOut { action, scope, kind, parameter_len } => {
                self.bits(1, 0x1f, action);
                self.bits(2, 0xf0, scope);
                self.bits(2, 0x0f, kind);
                self.u32_at(5, parameter_len);
            }
            ScsiCommand::ReadCapacity16 { .. }
            | ScsiCommand::ReportTargetPortGroups { .. }
            | ScsiCommand::ReportSupportedOperationCodes { .. } => self.put_service_action(command),
            ScsiCommand::TestUnitReady | ScsiCommand::ReadCapacity10 => {}
            ScsiCommand::Read { .. }
            | ScsiCommand::Write { .. }
            | ScsiCommand::CompareAndWrite { .. }
            | ScsiCommand::Verify { .. }
            | ScsiCommand::SynchronizeCache { .. }
            | ScsiCommand::WriteSame { .. } => unreachable!("these name blocks"),
        }
    }

    fn put_service_action(&mut self, command: &ScsiCommand) {
        match *command {
            ScsiCommand::ReadCapacity16 { allocation_len } => {
                self.cdb[1] = service_action::READ_CAPACITY_16;
                self.u32_at(10, allocation_len);
            }
            ScsiCommand::ReportTargetPortGroups { format, allocation_len } => {
                self.cdb[1] = service_action::REPORT_TARGET_PORT_GROUPS;
                self.bits(1, 0xe0, format);
                self.u32_at(6, allocation_len);
            }
            ScsiCommand::ReportSupportedOperationCodes {
                timeouts,
                options,
                operation_code,
                service_action,
                allocation_len,
            } => {
                self.cdb[1] = service_action::REPORT_SUPPORTED_OPERATION_CODES;
                self.bit(2, 0x80, timeouts);
                self.bits(2, 0x07, options);
                self.cdb[3] = operation_code;
                self.u16_at(4, service_action);
                self.u32_at(6, allocation_len);
            }
            _ => unreachable!("called for commands with a service action only"),
        }
    }

    fn put_mode_sense(&mut self, command: &ScsiCommand) {
        let ScsiCommand::ModeSense {
            ten,
            long_lba,
            no_descriptors,
            page_control,
            page,
            subpage,
            allocation_len,
        } = *command
        else {
            unreachable!("called for MODE SENSE only")
        };
        assert!(ten || !long_lba, "MODE SENSE (6) has no LLBAA");
        self.bit(1, 0x10, long_lba);
        self.bit(1, 0x08, no_descriptors);
        self.bits(2, 0xc0, page_control);
        self.bits(2, 0x3f, page);
        self.cdb[3] = subpage;
        if ten {
            self.u16_at(7, allocation_len);
        } else {
            self.cdb[4] = u8::try_from(allocation_len).expect("MODE SENSE (6) has one byte for it");
        }
    }
}
