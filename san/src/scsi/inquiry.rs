//! INQUIRY and its vital product data (SPC-4, 6.6 and 7.8; SBC-3, 6.6).

use super::block::{
    MAX_COMPARE_AND_WRITE_BLOCKS, MAX_TRANSFER_BYTES, MAX_UNMAP_DESCRIPTORS, MAX_WRITE_SAME_BLOCKS,
};
use super::command::{Outcome, Work, number};
use super::{PortIdentity, Refusal, Unit, invalid_field};

/// The vital product data pages that there are.
const PAGES: [u8; 6] = [0x00, 0x80, 0x83, 0xb0, 0xb1, 0xb2];

pub(super) fn inquiry(work: &mut Work<'_>) -> Result<Outcome, Refusal> {
    const EVPD: u8 = 0x01;
    let page = work.cdb[2];
    if work.cdb[1] & EVPD == 0 {
        if page != 0 {
            return Err(invalid_field(2));
        }
        standard(work.unit, work.data);
    } else {
        work.data.extend([0, page, 0, 0]);
        match page {
            0x00 => work.data.extend(PAGES),
            0x80 => work.data.extend(work.unit.serial.bytes()),
            0x83 => identification(work.unit, work.port, work.data),
            0xb0 => limits(work.unit, work.data),
            // Not a rotating medium.
            0xb1 => work.data.extend([0, 1]),
            // LBPU, LBPWS, LBPWS10 and LBPRZ; thin.
            0xb2 => work.data.extend([0, 0xe4, 2, 0]),
            _ => return Err(invalid_field(2)),
        }
        if matches!(page, 0xb0 | 0xb1) {
            work.data.resize(64, 0);
        }
        let len = (work.data.len() - 4) as u16;
        work.data[2..4].copy_from_slice(&len.to_be_bytes());
    }
    work.data_in(number::<2>(work.cdb, 3))
}

fn standard(unit: &Unit, data: &mut Vec<u8>) {
    /// SAM-5, SPC-4, SBC-3, FCP-4: no version claimed of each.
    const VERSION_DESCRIPTORS: [u16; 4] = [0x00a0, 0x0460, 0x04c0, 0x0a40];
    const SPC_4: u8 = 0x06;
    // HISUP and the response format; TPGS says implicit; several ports; command queuing.
    let multi_port = if unit.ports.len() > 1 { 0x10 } else { 0 };
    data.extend([0, 0, SPC_4, 0x12, 0, 0x10, multi_port, 0x02]);
    data.extend(padded::<8>(&unit.vendor));
    data.extend(padded::<16>(&unit.product));
    data.extend(padded::<4>(env!("CARGO_PKG_VERSION")));
    data.resize(58, 0);
    data.extend(VERSION_DESCRIPTORS.iter().flat_map(|descriptor| descriptor.to_be_bytes()));
    data.resize(74, 0);
    data[4] = (data.len() - 5) as u8;
}

/// ASCII, cut or padded with spaces.
fn padded<const N: usize>(text: &str) -> [u8; N] {
    let mut field = [b' '; N];
    field.iter_mut().zip(text.bytes()).for_each(|(to, from)| *to = from);
    field
}

/// The unit by vendor and serial number and by NAA; the port by name, number and group.
fn identification(unit: &Unit, port: &PortIdentity, data: &mut Vec<u8>) {
    const BINARY: u8 = 1;
    const ASCII: u8 = 2;
    /// PIV, and association with the target port.
    const OF_PORT: u8 = 0x90;
    let mut designator = |code_set: u8, kind: u8, bytes: &[&[u8]]| {
        let len: usize = bytes.iter().map(|part| part.len()).sum();
        data.extend([code_set, kind, 0, len as u8]);
        bytes.iter().for_each(|part| data.extend_from_slice(part));
    };
    let [vendor, product] = [&padded::<8>(&unit.vendor)[..], &padded::<16>(&unit.product)];
    designator(ASCII, 1, &[vendor, product, unit.serial.as_bytes()]);
    designator(BINARY, 3, &[&unit.naa()]);
    designator(BINARY, OF_PORT | 3, &[&port.name.0]);
    designator(BINARY, OF_PORT | 4, &[&[0, 0], &port.relative.to_be_bytes()]);
    designator(BINARY, OF_PORT | 5, &[&[0, 0], &port.group().to_be_bytes()]);
}

fn limits(unit: &Unit, data: &mut Vec<u8>) {
    /// The write same non-zero bit.
    const WSNZ: u8 = 0x01;
    /// What is best moved at once.
    const OPTIMAL_TRANSFER_BYTES: u32 = 1 << 20;
    let max_transfer = MAX_TRANSFER_BYTES as u32 / unit.block_len;
    data.extend([WSNZ, MAX_COMPARE_AND_WRITE_BLOCKS, 0, 1]);
    data.extend(max_transfer.to_be_bytes());
    data.extend((OPTIMAL_TRANSFER_BYTES / unit.block_len).to_be_bytes());
    data.extend([0; 4]);
    data.extend((MAX_WRITE_SAME_BLOCKS as u32).to_be_bytes());
    data.extend((MAX_UNMAP_DESCRIPTORS as u32).to_be_bytes());
    data.extend(1u32.to_be_bytes());
    data.extend([0; 4]);
    data.extend(MAX_WRITE_SAME_BLOCKS.to_be_bytes());
}
