//! MODE SENSE (SPC-4, 6.13 and 7.5; SBC-3, 6.5): nothing is changeable, so there is no MODE SELECT.

use super::command::{Outcome, Work, number};
use super::{Refusal, Unit, illegal, invalid_field};
use fc::wire::scsi::AdditionalSense;

/// The caching page: WCE says whether SYNCHRONIZE CACHE has anything to do.
const CACHING: u8 = 0x08;
/// The control page.
const CONTROL: u8 = 0x0a;
const ALL_PAGES: u8 = 0x3f;
const ALL_SUBPAGES: u8 = 0xff;

pub(super) fn mode_sense_6(work: &mut Work<'_>) -> Result<Outcome, Refusal> {
    let body = mode_data(work, false)?;
    let descriptor_len = if has_descriptor(work) { 8 } else { 0 };
    let len = body.len() as u8 + 3;
    work.data.extend([len, 0, device_specific(work.unit), descriptor_len]);
    work.data.extend(body);
    work.data_in(work.cdb[4].into())
}

pub(super) fn mode_sense_10(work: &mut Work<'_>) -> Result<Outcome, Refusal> {
    const LONG_LBA_ACCEPTED: u8 = 0x10;
    let long = work.cdb[1] & LONG_LBA_ACCEPTED != 0;
    let body = mode_data(work, long)?;
    let descriptor_len = if !has_descriptor(work) {
        0
    } else if long {
        16
    } else {
        8
    };
    let [high, low] = (body.len() as u16 + 6).to_be_bytes();
    work.data.extend([high, low, 0, device_specific(work.unit), long.into(), 0, 0, descriptor_len]);
    work.data.extend(body);
    work.data_in(number::<2>(work.cdb, 7))
}

/// WP and DPOFUA.
fn device_specific(unit: &Unit) -> u8 {
    0x10 | if unit.read_only { 0x80 } else { 0 }
}

fn has_descriptor(work: &Work<'_>) -> bool {
    const DISABLE_BLOCK_DESCRIPTORS: u8 = 0x08;
    work.cdb[1] & DISABLE_BLOCK_DESCRIPTORS == 0
}

/// The block descriptor and the pages asked for.
fn mode_data(work: &Work<'_>, long: bool) -> Result<Vec<u8>, Refusal> {
    let (control, page, subpage) = (work.cdb[2] >> 6, work.cdb[2] & 0x3f, work.cdb[3]);
    const CHANGEABLE: u8 = 1;
    const SAVED: u8 = 3;
    if control == SAVED {
        /// SAVING PARAMETERS NOT SUPPORTED.
        const NOT_SAVED: AdditionalSense = AdditionalSense::new(0x39, 0x00);
        return Err(illegal(NOT_SAVED));
    }
    if subpage != 0 && !(page == ALL_PAGES && subpage == ALL_SUBPAGES) {
        return Err(invalid_field(3));
    }
    let mut data = Vec::new();
    if has_descriptor(work) {
        let unit = &work.unit;
        if long {
            data.extend(unit.blocks.to_be_bytes());
            data.extend([0; 4]);
            data.extend(unit.block_len.to_be_bytes());
        } else {
            data.extend(u32::try_from(unit.blocks).unwrap_or(u32::MAX).to_be_bytes());
            // The first byte of the length is reserved, and 0: it is at most 4096.
            data.extend(unit.block_len.to_be_bytes());
        }
    }
    let mut put = |code: u8, body: &[u8]| {
        if page == code || page == ALL_PAGES {
            data.extend([code, body.len() as u8]);
            data.extend(body.iter().map(|byte| if control == CHANGEABLE { 0 } else { *byte }));
        }
    };
    /// Write cache enabled: what is written survives the SAN's end only after SYNCHRONIZE CACHE.
    const WCE: u8 = 0x04;
    put(CACHING, &[WCE, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    /// Commands may be reordered as the target likes.
    const UNRESTRICTED_REORDERING: u8 = 0x10;
    put(CONTROL, &[0, UNRESTRICTED_REORDERING, 0, 0, 0, 0, 0, 0, 0, 0]);
    if matches!(page, CACHING | CONTROL | ALL_PAGES) { Ok(data) } else { Err(invalid_field(2)) }
}
