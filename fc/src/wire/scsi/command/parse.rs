//! From bytes to commands.

use super::{CdbError, CdbForm, Extent, IoFlags, MAX_LEN, ScsiCommand, cdb_len, opcode, service_action};
use core::ops::Range;

impl ScsiCommand {
    /// Reads the CDB at the front of `bytes`; what follows the length of its operation code isn't looked at.
    pub fn parse(bytes: &[u8]) -> Result<Self, CdbError> {
        let &[code, ..] = bytes else { return Err(CdbError::Truncated { opcode: 0, need: 6, have: 0 }) };
        let unknown = CdbError::UnknownOperation { opcode: code };
        let need = cdb_len(code).ok_or(unknown)?;
        // Known operations only are worth an answer about their length.
        let mut padded = [0; MAX_LEN];
        let have = bytes.len().min(need);
        padded[..have].copy_from_slice(&bytes[..have]);
        let mut fields = Fields::new(&padded[..need]);
        let command = fields.block_command().transpose().or_else(|| fields.other_command().transpose());
        if have < need && command.is_some() {
            return Err(CdbError::Truncated { opcode: code, need, have });
        }
        let command = command.ok_or(unknown)??;
        fields.nothing_left()?;
        Ok(command)
    }
}

/// A CDB and which of its bits have been read, so that what is left must be zero.
struct Fields<'a> {
    cdb: &'a [u8],
    read: [u8; MAX_LEN],
}

impl<'a> Fields<'a> {
    fn new(cdb: &'a [u8]) -> Self {
        let mut read = [0; MAX_LEN];
        read[0] = 0xff;
        Self { cdb, read }
    }

    /// The bits of `byte` under `mask`, shifted down.
    fn bits(&mut self, byte: usize, mask: u8) -> u8 {
        self.read[byte] |= mask;
        (self.cdb[byte] & mask) >> mask.trailing_zeros()
    }

    fn bit(&mut self, byte: usize, mask: u8) -> bool {
        self.bits(byte, mask) != 0
    }

    /// A big-endian number of up to eight bytes.
    fn number(&mut self, bytes: Range<usize>) -> u64 {
        bytes.fold(0, |number, byte| number << 8 | u64::from(self.bits(byte, 0xff)))
    }

    fn u16_at(&mut self, byte: usize) -> u16 {
        u16::try_from(self.number(byte..byte + 2)).expect("two bytes")
    }

    fn u32_at(&mut self, byte: usize) -> u32 {
        u32::try_from(self.number(byte..byte + 4)).expect("four bytes")
    }

    fn bad(&self, byte: usize) -> CdbError {
        CdbError::BadField { opcode: self.cdb[0], byte: u8::try_from(byte).expect("within a CDB") }
    }

    /// Reserved bits and the control byte are zero: NACA isn't supported.
    fn nothing_left(&self) -> Result<(), CdbError> {
        match self.cdb.iter().zip(self.read).position(|(byte, read)| byte & !read != 0) {
            Some(byte) => Err(self.bad(byte)),
            None => Ok(()),
        }
    }

    fn extent(&mut self, form: CdbForm) -> Extent {
        let (lba, count, group) = match form {
            CdbForm::Six => {
                let high = u64::from(self.bits(1, 0x1f));
                let count = match self.bits(4, 0xff) {
                    0 => 256,
                    count => count.into(),
                };
                (high << 16 | self.number(2..4), count, 0)
            }
            CdbForm::Ten => (self.number(2..6), self.u16_at(7).into(), self.bits(6, 0x1f)),
            CdbForm::Twelve => (self.number(2..6), self.u32_at(6), self.bits(10, 0x1f)),
            CdbForm::Sixteen => (self.number(2..10), self.u32_at(10), self.bits(14, 0x1f)),
        };
        Extent { form, lba, count, group }
    }

    fn io(&mut self, form: CdbForm) -> (Extent, IoFlags) {
        let flags = match form {
            CdbForm::Six => IoFlags::default(),
            CdbForm::Ten | CdbForm::Twelve | CdbForm::Sixteen => {
                IoFlags { protect: self.bits(1, 0xe0), dpo: self.bit(1, 0x10), fua: self.bit(1, 0x08) }
            }
        };
        (self.extent(form), flags)
    }

    /// The commands that name blocks.
    fn block_command(&mut self) -> Result<Option<ScsiCommand>, CdbError> {
        let read = |(extent, flags)| ScsiCommand::Read { extent, flags };
        let write = |(extent, flags)| ScsiCommand::Write { extent, flags };
        Ok(Some(match self.cdb[0] {
            opcode::READ_6 => read(self.io(CdbForm::Six)),
            opcode::READ_10 => read(self.io(CdbForm::Ten)),
            opcode::READ_12 => read(self.io(CdbForm::Twelve)),
            opcode::READ_16 => read(self.io(CdbForm::Sixteen)),
            opcode::WRITE_6 => write(self.io(CdbForm::Six)),
            opcode::WRITE_10 => write(self.io(CdbForm::Ten)),
            opcode::WRITE_12 => write(self.io(CdbForm::Twelve)),
            opcode::WRITE_16 => write(self.io(CdbForm::Sixteen)),
            opcode::VERIFY_10 => self.verify(CdbForm::Ten),
            opcode::VERIFY_12 => self.verify(CdbForm::Twelve),
            opcode::VERIFY_16 => self.verify(CdbForm::Sixteen),
            opcode::SYNCHRONIZE_CACHE_10 => self.synchronize_cache(CdbForm::Ten),
            opcode::SYNCHRONIZE_CACHE_16 => self.synchronize_cache(CdbForm::Sixteen),
            opcode::WRITE_SAME_10 => self.write_same(CdbForm::Ten),
            opcode::WRITE_SAME_16 => self.write_same(CdbForm::Sixteen),
            opcode::COMPARE_AND_WRITE => {
                // The count is the last byte only; the three before it are reserved.
                if let Some(byte) = (10..13).find(|&byte| self.cdb[byte] != 0) {
                    return Err(self.bad(byte));
                }
                let (extent, flags) = self.io(CdbForm::Sixteen);
                ScsiCommand::CompareAndWrite { extent, flags }
            }
            _ => return Ok(None),
        }))
    }

    fn verify(&mut self, form: CdbForm) -> ScsiCommand {
        ScsiCommand::Verify {
            extent: self.extent(form),
            protect: self.bits(1, 0xe0),
            dpo: self.bit(1, 0x10),
            byte_check: self.bits(1, 0x06),
        }
    }

    fn synchronize_cache(&mut self, form: CdbForm) -> ScsiCommand {
        ScsiCommand::SynchronizeCache { extent: self.extent(form), immediate: self.bit(1, 0x02) }
    }

    fn write_same(&mut self, form: CdbForm) -> ScsiCommand {
        ScsiCommand::WriteSame {
            extent: self.extent(form),
            protect: self.bits(1, 0xe0),
            anchor: self.bit(1, 0x10),
            unmap: self.bit(1, 0x08),
            no_data: form == CdbForm::Sixteen && self.bit(1, 0x01),
        }
    }

    /// The commands that don't.
    fn other_command(&mut self) -> Result<Option<ScsiCommand>, CdbError> {
        Ok(Some(match self.cdb[0] {
            opcode::TEST_UNIT_READY => ScsiCommand::TestUnitReady,
            opcode::REQUEST_SENSE => ScsiCommand::RequestSense {
                descriptor_format: self.bit(1, 0x01),
                allocation_len: self.bits(4, 0xff),
            },
            opcode::INQUIRY => {
                // Without EVPD, the page code must be zero.
                let page = if self.bit(1, 0x01) { Some(self.bits(2, 0xff)) } else { None };
                ScsiCommand::Inquiry { page, allocation_len: self.u16_at(3) }
            }
            opcode::UNMAP => ScsiCommand::Unmap {
                anchor: self.bit(1, 0x01),
                group: self.bits(6, 0x1f),
                parameter_len: self.u16_at(7),
            },
            opcode::READ_CAPACITY_10 => ScsiCommand::ReadCapacity10,
            opcode::MODE_SENSE_6 => self.mode_sense(false),
            opcode::MODE_SENSE_10 => self.mode_sense(true),
            opcode::START_STOP_UNIT => ScsiCommand::StartStopUnit {
                immediate: self.bit(1, 0x01),
                modifier: self.bits(3, 0x0f),
                power_condition: self.bits(4, 0xf0),
                no_flush: self.bit(4, 0x04),
                load_eject: self.bit(4, 0x02),
                start: self.bit(4, 0x01),
            },
            opcode::REPORT_LUNS => {
                ScsiCommand::ReportLuns { select_report: self.bits(2, 0xff), allocation_len: self.u32_at(6) }
            }
            opcode::PERSISTENT_RESERVE_IN => ScsiCommand::PersistentReserveIn {
                action: self.bits(1, 0x1f),
                allocation_len: self.u16_at(7),
            },
            opcode::PERSISTENT_RESERVE_OUT => ScsiCommand::PersistentReserveOut {
                action: self.bits(1, 0x1f),
                scope: self.bits(2, 0xf0),
                kind: self.bits(2, 0x0f),
                parameter_len: self.u32_at(5),
            },
            opcode::SERVICE_ACTION_IN_16 | opcode::MAINTENANCE_IN => self.service_action()?,
            _ => return Ok(None),
        }))
    }

    fn mode_sense(&mut self, ten: bool) -> ScsiCommand {
        ScsiCommand::ModeSense {
            ten,
            long_lba: ten && self.bit(1, 0x10),
            no_descriptors: self.bit(1, 0x08),
            page_control: self.bits(2, 0xc0),
            page: self.bits(2, 0x3f),
            subpage: self.bits(3, 0xff),
            allocation_len: if ten { self.u16_at(7) } else { self.bits(4, 0xff).into() },
        }
    }

    fn service_action(&mut self) -> Result<ScsiCommand, CdbError> {
        match (self.cdb[0], self.bits(1, 0x1f)) {
            (opcode::SERVICE_ACTION_IN_16, service_action::READ_CAPACITY_16) => {
                Ok(ScsiCommand::ReadCapacity16 { allocation_len: self.u32_at(10) })
            }
            (opcode::MAINTENANCE_IN, service_action::REPORT_TARGET_PORT_GROUPS) => {
                Ok(ScsiCommand::ReportTargetPortGroups {
                    format: self.bits(1, 0xe0),
                    allocation_len: self.u32_at(6),
                })
            }
            (opcode::MAINTENANCE_IN, service_action::REPORT_SUPPORTED_OPERATION_CODES) => {
                Ok(ScsiCommand::ReportSupportedOperationCodes {
                    timeouts: self.bit(2, 0x80),
                    options: self.bits(2, 0x07),
                    operation_code: self.bits(3, 0xff),
                    service_action: self.u16_at(4),
                    allocation_len: self.u32_at(6),
                })
            }
            _ => Err(self.bad(1)),
        }
    }
}
