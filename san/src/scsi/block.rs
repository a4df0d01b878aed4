//! Block commands (SBC-3, 5).

use super::command::{Outcome, ParameterOut, Work, number};
use super::{Refusal, Unit, illegal, invalid_field, invalid_parameter, medium_error};
use fc::wire::scsi::{AdditionalSense, Sense, SenseKey};
use std::io;

/// The most bytes that one READ, WRITE or VERIFY moves; told as MAXIMUM TRANSFER LENGTH. SEQ_CNT does not come
/// round within it.
pub(super) const MAX_TRANSFER_BYTES: u64 = 16 << 20;
/// The most blocks of one COMPARE AND WRITE: compared and written at once, so they are few.
pub(super) const MAX_COMPARE_AND_WRITE_BLOCKS: u8 = 32;
/// The most blocks of one WRITE SAME and of one UNMAP: while they are filled nothing else is served.
pub(super) const MAX_WRITE_SAME_BLOCKS: u64 = 1 << 17;
/// The most descriptors of one UNMAP.
pub(super) const MAX_UNMAP_DESCRIPTORS: usize = 256;
/// The most bytes that one VERIFY compares: they are collected first.
const MAX_VERIFY_BYTES: u64 = 256 << 10;

/// An error of the disk behind the unit, on the way there or back.
fn write_error(_: io::Error) -> Refusal {
    /// WRITE ERROR.
    const WRITE_ERROR: AdditionalSense = AdditionalSense::new(0x0c, 0x00);
    medium_error(WRITE_ERROR)
}

fn read_error(_: io::Error) -> Refusal {
    medium_error(AdditionalSense::UNRECOVERED_READ_ERROR)
}

/// READ(6)'s and WRITE(6)'s address of 21 bits and count, of which 0 means 256.
fn range_6(cdb: &[u8; 16]) -> (u64, u64) {
    let count = if cdb[4] == 0 { 256 } else { cdb[4].into() };
    (number::<3>(cdb, 1) & 0x1f_ffff, count)
}

fn range_10(cdb: &[u8; 16]) -> (u64, u64) {
    (number::<4>(cdb, 2), number::<2>(cdb, 7))
}

fn range_12(cdb: &[u8; 16]) -> (u64, u64) {
    (number::<4>(cdb, 2), number::<4>(cdb, 6))
}

fn range_16(cdb: &[u8; 16]) -> (u64, u64) {
    (number::<8>(cdb, 2), number::<4>(cdb, 10))
}

pub(super) fn read_6(work: &mut Work<'_>) -> Result<Outcome, Refusal> {
    read(work, range_6(work.cdb))
}

pub(super) fn read_10(work: &mut Work<'_>) -> Result<Outcome, Refusal> {
    read(work, range_10(work.cdb))
}

pub(super) fn read_12(work: &mut Work<'_>) -> Result<Outcome, Refusal> {
    read(work, range_12(work.cdb))
}

pub(super) fn read_16(work: &mut Work<'_>) -> Result<Outcome, Refusal> {
    read(work, range_16(work.cdb))
}

pub(super) fn write_6(work: &mut Work<'_>) -> Result<Outcome, Refusal> {
    write(work, range_6(work.cdb))
}

pub(super) fn write_10(work: &mut Work<'_>) -> Result<Outcome, Refusal> {
    write(work, range_10(work.cdb))
}

pub(super) fn write_12(work: &mut Work<'_>) -> Result<Outcome, Refusal> {
    write(work, range_12(work.cdb))
}

pub(super) fn write_16(work: &mut Work<'_>) -> Result<Outcome, Refusal> {
    write(work, range_16(work.cdb))
}

pub(super) fn verify_10(work: &mut Work<'_>) -> Result<Outcome, Refusal> {
    verify(work, range_10(work.cdb))
}

pub(super) fn verify_16(work: &mut Work<'_>) -> Result<Outcome, Refusal> {
    verify(work, range_16(work.cdb))
}

pub(super) fn synchronize_cache_10(work: &mut Work<'_>) -> Result<Outcome, Refusal> {
    synchronize_cache(work, range_10(work.cdb))
}

pub(super) fn synchronize_cache_16(work: &mut Work<'_>) -> Result<Outcome, Refusal> {
    synchronize_cache(work, range_16(work.cdb))
}

pub(super) fn write_same_10(work: &mut Work<'_>) -> Result<Outcome, Refusal> {
    start_write_same(work, range_10(work.cdb), false, 7)
}

pub(super) fn write_same_16(work: &mut Work<'_>) -> Result<Outcome, Refusal> {
    const NO_DATA_OUT_BUFFER: u8 = 0x01;
    start_write_same(work, range_16(work.cdb), work.cdb[1] & NO_DATA_OUT_BUFFER != 0, 10)
}

fn read(work: &Work<'_>, (lba, count): (u64, u64)) -> Result<Outcome, Refusal> {
    let (offset, len) = transfer_range(work.unit, lba, count)?;
    Ok(if len == 0 { Outcome::Done } else { Outcome::Read { offset, len } })
}

fn write(work: &Work<'_>, (lba, count): (u64, u64)) -> Result<Outcome, Refusal> {
    work.check_writable()?;
    let (offset, len) = transfer_range(work.unit, lba, count)?;
    Ok(if len == 0 { Outcome::Done } else { Outcome::Write { offset, len } })
}

/// The bytes of a transfer, whose length is bounded.
fn transfer_range(unit: &Unit, lba: u64, count: u64) -> Result<(u64, u32), Refusal> {
    let (offset, len) = unit.range(lba, count)?;
    if len > MAX_TRANSFER_BYTES {
        return Err(illegal(AdditionalSense::INVALID_FIELD_IN_CDB));
    }
    Ok((offset, len as u32))
}

fn verify(work: &Work<'_>, (lba, count): (u64, u64)) -> Result<Outcome, Refusal> {
    const BYTE_CHECK: u8 = 0x02;
    let (offset, len) = work.unit.range(lba, count)?;
    // Without a comparison, memory and files are sound until they are read.
    if work.cdb[1] & BYTE_CHECK == 0 || len == 0 {
        return Ok(Outcome::Done);
    }
    if len > MAX_VERIFY_BYTES {
        return Err(illegal(AdditionalSense::INVALID_FIELD_IN_CDB));
    }
    Ok(Outcome::DataOut { what: ParameterOut::Verify { offset }, len: len as u32 })
}

fn synchronize_cache(work: &Work<'_>, (lba, count): (u64, u64)) -> Result<Outcome, Refusal> {
    work.unit.range(lba, count)?;
    work.unit.disk.flush().map_err(write_error)?;
    Ok(Outcome::Done)
}

/// `count_at`: where the CDB has the number of blocks, which must not be 0 (WSNZ).
fn start_write_same(
    work: &mut Work<'_>,
    (lba, count): (u64, u64),
    no_data: bool,
    count_at: u16,
) -> Result<Outcome, Refusal> {
    work.check_writable()?;
    if count == 0 || count > MAX_WRITE_SAME_BLOCKS {
        return Err(invalid_field(count_at));
    }
    let (offset, len) = work.unit.range(lba, count)?;
    if no_data {
        let zeros = vec![0; work.unit.block_len as usize];
        write_same(work.unit, offset, len, &zeros)?;
        return Ok(Outcome::Done);
    }
    Ok(Outcome::DataOut { what: ParameterOut::WriteSame { offset, len }, len: work.unit.block_len })
}

/// Ends WRITE SAME. What it unmaps reads as zeros, because the pattern is written in that case as well.
pub(super) fn write_same(unit: &mut Unit, offset: u64, len: u64, block: &[u8]) -> Result<(), Refusal> {
    unit.disk.fill(offset, len, block).map_err(write_error)
}

/// Ends UNMAP: what is unmapped reads as zeros (LBPRZ).
pub(super) fn unmap(unit: &mut Unit, list: &[u8]) -> Result<(), Refusal> {
    const HEADER_LEN: usize = 8;
    const DESCRIPTOR_LEN: usize = 16;
    if list.len() < HEADER_LEN {
        return Err(illegal(AdditionalSense::PARAMETER_LIST_LENGTH_ERROR));
    }
    let descriptors_len =
        usize::from(u16::from_be_bytes([list[2], list[3]])) / DESCRIPTOR_LEN * DESCRIPTOR_LEN;
    let Some(descriptors) = list[HEADER_LEN..].get(..descriptors_len) else {
        return Err(illegal(AdditionalSense::PARAMETER_LIST_LENGTH_ERROR));
    };
    let (descriptors, _) = descriptors.as_chunks::<DESCRIPTOR_LEN>();
    if descriptors.len() > MAX_UNMAP_DESCRIPTORS {
        return Err(invalid_parameter(2));
    }
    let range = |descriptor| (number::<8>(descriptor, 0), number::<4>(descriptor, 8));
    let total: u64 = descriptors.iter().map(|descriptor| range(descriptor).1).sum();
    if total > MAX_WRITE_SAME_BLOCKS {
        return Err(invalid_parameter(8));
    }
    // All are checked before anything is unmapped.
    for descriptor in descriptors {
        let (lba, count) = range(descriptor);
        unit.range(lba, count)?;
    }
    let zeros = vec![0; unit.block_len as usize];
    for descriptor in descriptors {
        let (lba, count) = range(descriptor);
        let (offset, len) = unit.range(lba, count)?;
        unit.disk.fill(offset, len, &zeros).map_err(write_error)?;
    }
    Ok(())
}

/// Ends VERIFY.
///
/// # Errors
/// MISCOMPARE, with the offset of the first byte that differs.
pub(super) fn compare(unit: &Unit, offset: u64, data: &[u8]) -> Result<(), Refusal> {
    let mut scratch = vec![0; data.len()];
    let disk = unit.disk.view(offset, &mut scratch).map_err(read_error)?;
    let Some(at) = disk.iter().zip(data).position(|(here, there)| here != there) else { return Ok(()) };
    let sense = Sense::new(SenseKey::MISCOMPARE, AdditionalSense::MISCOMPARE);
    Err(Sense { information: Some(at as u64), ..sense }.into())
}

/// Ends COMPARE AND WRITE: the first half of `data` is compared, the second written if all is equal.
pub(super) fn compare_and_write(unit: &mut Unit, offset: u64, data: &[u8]) -> Result<(), Refusal> {
    let (expected, new) = data.split_at(data.len() / 2);
    compare(unit, offset, expected)?;
    unit.disk.write(offset, new).map_err(write_error)
}

pub(super) fn read_capacity_10(work: &mut Work<'_>) -> Result<Outcome, Refusal> {
    // A last block beyond 32 bits says: ask READ CAPACITY(16).
    let last = u32::try_from(work.unit.blocks - 1).unwrap_or(u32::MAX);
    work.data.extend(last.to_be_bytes());
    work.data.extend(work.unit.block_len.to_be_bytes());
    Ok(Outcome::DataIn)
}

pub(super) fn read_capacity_16(work: &mut Work<'_>) -> Result<Outcome, Refusal> {
    /// LBPME and LBPRZ: it is thin, and unmapped blocks read as zeros.
    const PROVISIONING: u8 = 0xc0;
    work.data.extend((work.unit.blocks - 1).to_be_bytes());
    work.data.extend(work.unit.block_len.to_be_bytes());
    work.data.extend([0, 0, PROVISIONING, 0]);
    work.data.resize(32, 0);
    work.data_in(number::<4>(work.cdb, 10))
}

/// All data of a WRITE is on the disk: makes it survive a crash, if the command has FUA set.
pub(crate) fn end_write(unit: &Unit, cdb: &[u8; 16]) -> Result<(), Refusal> {
    const FORCE_UNIT_ACCESS: u8 = 0x08;
    const WRITE_6: u8 = 0x0a;
    if cdb[0] != WRITE_6 && cdb[1] & FORCE_UNIT_ACCESS != 0 {
        unit.disk.flush().map_err(write_error)?;
    }
    Ok(())
}
