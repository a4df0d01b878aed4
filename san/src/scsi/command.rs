//! The commands: one table says which there are, what their CDBs may contain and what they need.

use super::block::{self, MAX_COMPARE_AND_WRITE_BLOCKS};
use super::reservation::{Access, Effects, Nexus, PARAMETER_LEN};
use super::{Attentions, PortIdentity, Refusal, Unit, illegal, inquiry, invalid_field, mode, report};
use fc::wire::scsi::{AdditionalSense, Sense, SenseKey, Status};

/// A command and what it may touch.
#[derive(Debug)]
pub(crate) struct Work<'a> {
    /// The unit that it is for.
    pub(crate) unit: &'a mut Unit,
    /// The port by which it came.
    pub(crate) port: &'a PortIdentity,
    /// Who sent it.
    pub(crate) nexus: Nexus,
    /// What its nexus has to be told.
    pub(crate) attentions: &'a mut Attentions,
    /// The LUNs that the nexus has at the target.
    pub(crate) luns: &'a [u16],
    /// The command.
    pub(crate) cdb: &'a [u8; 16],
    /// Empty; takes data for the initiator.
    pub(crate) data: &'a mut Vec<u8>,
}

/// What a command wants next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// Nothing: it is done, status GOOD.
    Done,
    /// What it put into the data goes to the initiator.
    DataIn,
    /// These bytes of the disk go to the initiator.
    Read { offset: u64, len: u32 },
    /// The initiator's data goes to these bytes of the disk.
    Write { offset: u64, len: u32 },
    /// So many bytes of the initiator's data are collected and then given to [`finish`].
    DataOut { what: ParameterOut, len: u32 },
}

/// What is done with collected data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ParameterOut {
    /// PERSISTENT RESERVE OUT's parameter list.
    PersistentReserve,
    /// UNMAP's parameter list.
    Unmap,
    /// The block that WRITE SAME writes to these bytes.
    WriteSame { offset: u64, len: u64 },
    /// What VERIFY compares with these bytes.
    Verify { offset: u64 },
    /// What COMPARE AND WRITE compares with, and after it what it writes to, these bytes.
    CompareAndWrite { offset: u64 },
}

/// A row of the table.
pub(super) struct Command {
    pub(super) opcode: u8,
    pub(super) service_action: Option<u8>,
    /// Which bits of the CDB are evaluated; its length is the CDB's (SPC-4, 6.35.3).
    pub(super) usage: &'static [u8],
    pub(super) access: Access,
    run: fn(&mut Work<'_>) -> Result<Outcome, Refusal>,
}

/// Starts a command.
///
/// # Errors
/// With nothing done.
pub(crate) fn execute(mut work: Work<'_>) -> Result<Outcome, Refusal> {
    let Some(command) = find(work.cdb) else {
        let known = COMMANDS.iter().any(|command| command.opcode == work.cdb[0]);
        return Err(if known { invalid_field(1) } else { illegal(AdditionalSense::INVALID_OPERATION_CODE) });
    };
    // These three are answered whatever is pending (SAM-5, 5.14).
    let ignores_attention = matches!(command.opcode, 0x03 | 0x12 | 0xa0);
    if !work.attentions.is_empty()
        && !ignores_attention
        && let Some(code) = work.attentions.take_first()
    {
        return Err(Sense::new(SenseKey::UNIT_ATTENTION, code).into());
    }
    for (at, (byte, allowed)) in (0u16..).zip(work.cdb.iter().zip(command.usage)) {
        if byte & !allowed != 0 {
            return Err(invalid_field(at));
        }
    }
    work.unit.access(work.port).check(work.cdb[0])?;
    if !work.unit.reservations.allows(work.nexus, command.access) {
        return Err(Status::RESERVATION_CONFLICT.into());
    }
    (command.run)(&mut work)
}

/// Ends a command whose data was collected.
pub(crate) fn finish(
    unit: &mut Unit,
    nexus: Nexus,
    cdb: &[u8; 16],
    what: ParameterOut,
    data: &[u8],
) -> Result<Effects, Refusal> {
    match what {
        ParameterOut::PersistentReserve => return unit.reservations.out(nexus, cdb, data),
        ParameterOut::Unmap => block::unmap(unit, data)?,
        ParameterOut::WriteSame { offset, len } => block::write_same(unit, offset, len, data)?,
        ParameterOut::Verify { offset } => block::compare(unit, offset, data)?,
        ParameterOut::CompareAndWrite { offset } => block::compare_and_write(unit, offset, data)?,
    }
    Ok(Effects::default())
}

/// The CDB's big-endian number in bytes `at`..`at + N`.
pub(super) fn number<const N: usize>(cdb: &[u8; 16], at: usize) -> u64 {
    cdb[at..at + N].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn find(cdb: &[u8; 16]) -> Option<&'static Command> {
    let first = usize::from(FIRST_ROW[usize::from(cdb[0])]);
    let rows = COMMANDS.get(first..)?.iter().take_while(|command| command.opcode == cdb[0]);
    rows.into_iter().find(|command| command.service_action.is_none_or(|action| action == cdb[1] & 0x1f))
}

/// The first row of each operation code, 255 if it has none.
static FIRST_ROW: [u8; 256] = {
    assert!(COMMANDS.len() < 255);
    let mut rows = [255; 256];
    let mut at = COMMANDS.len();
    while at > 0 {
        at -= 1;
        rows[COMMANDS[at].opcode as usize] = at as u8;
    }
    rows
};

const fn row(
    usage: &'static [u8],
    access: Access,
    run: fn(&mut Work<'_>) -> Result<Outcome, Refusal>,
) -> Command {
    Command { opcode: usage[0], service_action: None, usage, access, run }
}

/// The same for one service action of the operation code.
const fn action(
    usage: &'static [u8],
    access: Access,
    run: fn(&mut Work<'_>) -> Result<Outcome, Refusal>,
) -> Command {
    Command { opcode: usage[0], service_action: Some(usage[1]), usage, access, run }
}

/// DPO and FUA.
const RW: u8 = 0x18;
/// The group number, which is taken and not used.
const GROUP: u8 = 0x1f;
const FF: u8 = 0xff;

/// Every command, in the order of operation codes.
#[rustfmt::skip]
pub(super) static COMMANDS: &[Command] = {
    use Access::{Read, Unrestricted, Write};
    &[
        row(&[0x00, 0, 0, 0, 0, 0], Unrestricted, |_| Ok(Outcome::Done)),
        row(&[0x03, 1, 0, 0, FF, 0], Unrestricted, report::request_sense),
        row(&[0x08, 0x1f, FF, FF, FF, 0], Read, block::read_6),
        row(&[0x0a, 0x1f, FF, FF, FF, 0], Write, block::write_6),
        row(&[0x12, 1, FF, FF, FF, 0], Unrestricted, inquiry::inquiry),
        row(&[0x1a, 0x08, FF, FF, FF, 0], Read, mode::mode_sense_6),
        row(&[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0], Unrestricted, block::read_capacity_10),
        row(&[0x28, RW, FF, FF, FF, FF, GROUP, FF, FF, 0], Read, block::read_10),
        row(&[0x2a, RW, FF, FF, FF, FF, GROUP, FF, FF, 0], Write, block::write_10),
        row(&[0x2f, 0x12, FF, FF, FF, FF, GROUP, FF, FF, 0], Read, block::verify_10),
        row(&[0x35, 0x02, FF, FF, FF, FF, GROUP, FF, FF, 0], Write, block::synchronize_cache_10),
        row(&[0x41, 0x08, FF, FF, FF, FF, GROUP, FF, FF, 0], Write, block::write_same_10),
        row(&[0x42, 0, 0, 0, 0, 0, GROUP, FF, FF, 0], Write, start_unmap),
        row(&[0x5a, 0x18, FF, FF, 0, 0, 0, FF, FF, 0], Read, mode::mode_sense_10),
        action(&[0x5e, 0, 0, 0, 0, 0, 0, FF, FF, 0], Unrestricted, persistent_reserve_in),
        action(&[0x5e, 1, 0, 0, 0, 0, 0, FF, FF, 0], Unrestricted, persistent_reserve_in),
        action(&[0x5e, 2, 0, 0, 0, 0, 0, FF, FF, 0], Unrestricted, persistent_reserve_in),
        action(&[0x5e, 3, 0, 0, 0, 0, 0, FF, FF, 0], Unrestricted, persistent_reserve_in),
        action(&[0x5f, 0, FF, 0, 0, FF, FF, FF, FF, 0], Unrestricted, persistent_reserve_out),
        action(&[0x5f, 1, FF, 0, 0, FF, FF, FF, FF, 0], Unrestricted, persistent_reserve_out),
        action(&[0x5f, 2, FF, 0, 0, FF, FF, FF, FF, 0], Unrestricted, persistent_reserve_out),
        action(&[0x5f, 3, FF, 0, 0, FF, FF, FF, FF, 0], Unrestricted, persistent_reserve_out),
        action(&[0x5f, 4, FF, 0, 0, FF, FF, FF, FF, 0], Unrestricted, persistent_reserve_out),
        action(&[0x5f, 5, FF, 0, 0, FF, FF, FF, FF, 0], Unrestricted, persistent_reserve_out),
        action(&[0x5f, 6, FF, 0, 0, FF, FF, FF, FF, 0], Unrestricted, persistent_reserve_out),
        row(&[0x88, RW, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, GROUP, 0], Read, block::read_16),
        row(&[0x89, RW, FF, FF, FF, FF, FF, FF, FF, FF, 0, 0, 0, FF, GROUP, 0], Write, start_compare_and_write),
        row(&[0x8a, RW, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, GROUP, 0], Write, block::write_16),
        row(&[0x8f, 0x12, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, GROUP, 0], Read, block::verify_16),
        row(&[0x91, 0x02, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, GROUP, 0], Write, block::synchronize_cache_16),
        row(&[0x93, 0x09, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, GROUP, 0], Write, block::write_same_16),
        action(&[0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, FF, FF, FF, FF, 0, 0], Unrestricted, block::read_capacity_16),
        row(&[0xa0, 0, FF, 0, 0, 0, FF, FF, FF, FF, 0, 0], Unrestricted, report::report_luns_of),
        action(&[0xa3, 0x0a, 0, 0, 0, 0, FF, FF, FF, FF, 0, 0], Unrestricted, report::report_target_port_groups),
        action(&[0xa3, 0x0c, 0x87, FF, FF, FF, FF, FF, FF, FF, 0, 0], Unrestricted, report::report_supported_operation_codes),
        row(&[0xa8, RW, FF, FF, FF, FF, FF, FF, FF, FF, GROUP, 0], Read, block::read_12),
        row(&[0xaa, RW, FF, FF, FF, FF, FF, FF, FF, FF, GROUP, 0], Write, block::write_12),
    ]
};

impl Work<'_> {
    /// Ends with the data cut to the allocation length.
    pub(super) fn data_in(&mut self, allocation_len: u64) -> Result<Outcome, Refusal> {
        self.data.truncate(usize::try_from(allocation_len).unwrap_or(usize::MAX));
        Ok(Outcome::DataIn)
    }

    /// Refuses to change a read-only disk.
    pub(super) fn check_writable(&self) -> Result<(), Refusal> {
        if self.unit.read_only {
            return Err(Sense::new(SenseKey::DATA_PROTECT, AdditionalSense::WRITE_PROTECTED).into());
        }
        Ok(())
    }
}

fn persistent_reserve_in(work: &mut Work<'_>) -> Result<Outcome, Refusal> {
    let data = work.unit.reservations.parameter_data(work.cdb[1] & 0x1f)?;
    work.data.extend(data);
    work.data_in(number::<2>(work.cdb, 7))
}

fn persistent_reserve_out(work: &mut Work<'_>) -> Result<Outcome, Refusal> {
    if number::<4>(work.cdb, 5) != PARAMETER_LEN as u64 {
        return Err(illegal(AdditionalSense::PARAMETER_LIST_LENGTH_ERROR));
    }
    Ok(Outcome::DataOut { what: ParameterOut::PersistentReserve, len: PARAMETER_LEN as u32 })
}

fn start_unmap(work: &mut Work<'_>) -> Result<Outcome, Refusal> {
    work.check_writable()?;
    match number::<2>(work.cdb, 7) as u32 {
        0 => Ok(Outcome::Done),
        len => Ok(Outcome::DataOut { what: ParameterOut::Unmap, len }),
    }
}

fn start_compare_and_write(work: &mut Work<'_>) -> Result<Outcome, Refusal> {
    work.check_writable()?;
    let count = work.cdb[13];
    let (offset, len) = work.unit.range(number::<8>(work.cdb, 2), count.into())?;
    if count > MAX_COMPARE_AND_WRITE_BLOCKS {
        return Err(invalid_field(13));
    }
    match 2 * len as u32 {
        0 => Ok(Outcome::Done),
        len => Ok(Outcome::DataOut { what: ParameterOut::CompareAndWrite { offset }, len }),
    }
}
