//! Commands that say what there is: LUNs, ports, commands, and why the last one failed.

use super::command::{COMMANDS, Command, Outcome, Work, number};
use super::{PortAccess, Refusal, illegal, invalid_field};
use fc::wire::fcp::Lun;
use fc::wire::scsi::{AdditionalSense, Sense, SenseKey};

pub(super) fn report_luns_of(work: &mut Work<'_>) -> Result<Outcome, Refusal> {
    report_luns(work.cdb, work.luns, work.data)
}

/// REPORT LUNS (SPC-4, 6.33): those that the nexus sees. Also answered by a LUN that isn't there.
fn report_luns(cdb: &[u8; 16], luns: &[u16], data: &mut Vec<u8>) -> Result<Outcome, Refusal> {
    // 0 and 2 are all LUNs, 1 the well-known ones, of which there is none.
    let luns = match cdb[2] {
        0x00 | 0x02 => luns,
        0x01 => &[],
        _ => return Err(invalid_field(2)),
    };
    let allocation_len = number::<4>(cdb, 6);
    const MIN_ALLOCATION_LEN: u64 = 16;
    if allocation_len < MIN_ALLOCATION_LEN {
        return Err(invalid_field(6));
    }
    data.extend((luns.len() as u32 * 8).to_be_bytes());
    data.extend([0; 4]);
    data.extend(luns.iter().flat_map(|number| Lun::single(*number).expect("bounded by MAX_LUNS").0));
    data.truncate(usize::try_from(allocation_len).unwrap_or(usize::MAX));
    Ok(Outcome::DataIn)
}

/// What a LUN that isn't there answers (SAM-5, 5.12; SPC-4, 6.6.2).
///
/// # Errors
/// LOGICAL UNIT NOT SUPPORTED for all but INQUIRY, REPORT LUNS and REQUEST SENSE.
pub(crate) fn absent(cdb: &[u8; 16], luns: &[u16], data: &mut Vec<u8>) -> Result<Outcome, Refusal> {
    /// No device can be here.
    const NOT_CAPABLE: u8 = 0x7f;
    let allocation_len = match cdb[0] {
        0x03 => {
            data.extend(sense_bytes(Sense::new(
                SenseKey::ILLEGAL_REQUEST,
                AdditionalSense::LUN_NOT_SUPPORTED,
            )));
            cdb[4].into()
        }
        0x12 if cdb[1] & 1 == 0 && cdb[2] == 0 => {
            data.extend([NOT_CAPABLE, 0, 0x06, 0x02, 31]);
            data.resize(36, 0);
            number::<2>(cdb, 3)
        }
        0xa0 => return report_luns(cdb, luns, data),
        _ => return Err(illegal(AdditionalSense::LUN_NOT_SUPPORTED)),
    };
    data.truncate(allocation_len as usize);
    Ok(Outcome::DataIn)
}

/// REQUEST SENSE: sense data goes with each status, so that only a pending unit attention is left to tell.
pub(super) fn request_sense(work: &mut Work<'_>) -> Result<Outcome, Refusal> {
    const DESCRIPTOR_FORMAT: u8 = 0x01;
    if work.cdb[1] & DESCRIPTOR_FORMAT != 0 {
        return Err(invalid_field(1));
    }
    let sense = match work.attentions.take_first() {
        Some(code) => Sense::new(SenseKey::UNIT_ATTENTION, code),
        None => Sense::new(SenseKey::NO_SENSE, AdditionalSense::NONE),
    };
    work.data.extend(sense_bytes(sense));
    work.data_in(work.cdb[4].into())
}

fn sense_bytes(sense: Sense) -> Vec<u8> {
    let mut bytes = vec![0; sense.len()];
    sense.emit(&mut bytes);
    bytes
}

/// REPORT TARGET PORT GROUPS (SPC-4, 6.37).
pub(super) fn report_target_port_groups(work: &mut Work<'_>) -> Result<Outcome, Refusal> {
    let groups = work.unit.ports.iter().flat_map(|port| {
        let [group, relative] = [port.identity.group(), port.identity.relative].map(u16::to_be_bytes);
        let header = [port.access.state().0, PortAccess::SUPPORTED, group[0], group[1], 0, 0, 0, 1];
        header.into_iter().chain([0, 0, relative[0], relative[1]])
    });
    let groups: Vec<u8> = groups.collect();
    work.data.extend((groups.len() as u32).to_be_bytes());
    work.data.extend(groups);
    work.data_in(number::<4>(work.cdb, 6))
}

/// REPORT SUPPORTED OPERATION CODES (SPC-4, 6.35).
pub(super) fn report_supported_operation_codes(work: &mut Work<'_>) -> Result<Outcome, Refusal> {
    const TIMEOUTS: u8 = 0x80;
    let with_timeouts = work.cdb[2] & TIMEOUTS != 0;
    let (opcode, service_action) = (work.cdb[3], number::<2>(work.cdb, 4));
    let by_action = |command: &&Command| command.service_action.map(u64::from) == Some(service_action);
    let mut of_opcode = COMMANDS.iter().filter(|command| command.opcode == opcode);
    let has_actions = COMMANDS.iter().any(|row| row.opcode == opcode && row.service_action.is_some());
    match work.cdb[2] & 0x07 {
        0 => all_commands(with_timeouts, work.data),
        1 if has_actions => return Err(invalid_field(4)),
        1 => one_command(of_opcode.next(), with_timeouts, work.data),
        2 if !has_actions => return Err(invalid_field(4)),
        2 => one_command(of_opcode.find(by_action), with_timeouts, work.data),
        3 if has_actions => one_command(of_opcode.find(by_action), with_timeouts, work.data),
        3 if service_action == 0 => one_command(of_opcode.next(), with_timeouts, work.data),
        3 => one_command(None, with_timeouts, work.data),
        _ => return Err(invalid_field(2)),
    }
    work.data_in(number::<4>(work.cdb, 6))
}

/// A command timeouts descriptor that says nothing (SPC-4, 6.35.4).
const NO_TIMEOUTS: [u8; 12] = [0, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn all_commands(with_timeouts: bool, data: &mut Vec<u8>) {
    const HAS_TIMEOUTS: u8 = 0x02;
    data.extend([0; 4]);
    for command in COMMANDS {
        let timeouts = if with_timeouts { HAS_TIMEOUTS } else { 0 };
        let flags = timeouts | u8::from(command.service_action.is_some());
        let service_action = command.service_action.unwrap_or(0);
        data.extend([command.opcode, 0, 0, service_action, 0, flags, 0, command.usage.len() as u8]);
        if with_timeouts {
            data.extend(NO_TIMEOUTS);
        }
    }
    let len = (data.len() - 4) as u32;
    data[..4].copy_from_slice(&len.to_be_bytes());
}

fn one_command(command: Option<&Command>, with_timeouts: bool, data: &mut Vec<u8>) {
    const NOT_SUPPORTED: u8 = 1;
    const AS_IN_STANDARD: u8 = 3;
    const HAS_TIMEOUTS: u8 = 0x80;
    let Some(command) = command else { return data.extend([0, NOT_SUPPORTED, 0, 0]) };
    let timeouts = if with_timeouts { HAS_TIMEOUTS } else { 0 };
    data.extend([0, timeouts | AS_IN_STANDARD, 0, command.usage.len() as u8]);
    data.extend(command.usage);
    if with_timeouts {
        data.extend(NO_TIMEOUTS);
    }
}
