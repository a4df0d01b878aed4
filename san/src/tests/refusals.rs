//! Every command and every refusal: status, sense data, residual.

use super::host::{Done, Host, Io, Net, TARGET, cmnd};
use super::io::{read_10, write_10};
use crate::SanConfig;
use fc::wire::scsi::{AdditionalSense, SenseKey};

/// Blocks of the disk of [`Net::small`].
const BLOCKS: u32 = 2048;

fn ready() -> (Net, Host) {
    let mut net = Net::new(&Net::small());
    let host = net.log_in(1);
    (net, host)
}

#[track_caller]
fn refused(end: &Done, key: SenseKey, additional: AdditionalSense) {
    assert_eq!((end.status, end.key()), (2, Some((key, additional))));
}

/// A CDB of `len` bytes with these bytes set.
fn cdb<const N: usize>(bytes: &[(usize, u8)]) -> [u8; N] {
    let mut cdb = [0; N];
    bytes.iter().for_each(|(at, byte)| cdb[*at] = *byte);
    cdb
}

#[test]
fn illegal_requests_are_refused_with_their_sense() {
    let (mut net, host) = ready();
    let out_of_range = AdditionalSense::LBA_OUT_OF_RANGE;
    let field = AdditionalSense::INVALID_FIELD_IN_CDB;
    let opcode = AdditionalSense::INVALID_OPERATION_CODE;
    let table: &[(&[u8], AdditionalSense)] = &[
        (&read_10(BLOCKS, 1), out_of_range),
        (&read_10(BLOCKS - 1, 2), out_of_range),
        (&write_10(BLOCKS, 1), out_of_range),
        (&cdb::<16>(&[(0, 0x88), (2, 0xff), (13, 1)]), out_of_range),
        (&cdb::<16>(&[(0, 0x8a), (2, 0xff), (9, 0xff), (10, 0xff), (13, 1)]), out_of_range),
        (&cdb::<10>(&[(0, 0x35), (2, 0xff)]), out_of_range),
        (&cdb::<10>(&[(0, 0x2f), (2, 0xff), (8, 1)]), out_of_range),
        (&cdb::<6>(&[(0, 0xc1)]), opcode),
        (&cdb::<6>(&[(0, 0x1d)]), opcode),
        (&cdb::<10>(&[(0, 0x28), (1, 0x20), (8, 1)]), field),
        (&cdb::<10>(&[(0, 0x28), (8, 1), (9, 4)]), field),
        (&cdb::<6>(&[(0, 0x12), (1, 1), (2, 0xc0), (4, 255)]), field),
        (&cdb::<6>(&[(0, 0x12), (2, 0x80), (4, 255)]), field),
        (&cdb::<6>(&[(0, 0x1a), (2, 0x1c), (4, 255)]), field),
        (&cdb::<16>(&[(0, 0x9e), (1, 0x11)]), field),
        (&cdb::<12>(&[(0, 0xa0), (9, 8)]), field),
        (&cdb::<10>(&[(0, 0x5e), (1, 9), (8, 255)]), field),
        (&cdb::<6>(&[(0, 0x03), (1, 1), (4, 255)]), field),
        (&cdb::<10>(&[(0, 0x41)]), field),
        (&cdb::<16>(&[(0, 0x89), (13, 33)]), field),
    ];
    for (cdb, additional) in table {
        let end = net.command(&host, TARGET, cdb, 512, Io::In(512));
        refused(&end, SenseKey::ILLEGAL_REQUEST, *additional);
        assert_eq!((end.residual, end.data.len()), (-512, 0), "{cdb:x?}");
    }
    let pointed = net.scsi(&host, &cdb::<10>(&[(0, 0x28), (1, 0x20), (8, 1)]), Io::None).sense.unwrap();
    assert_eq!(pointed.field_pointer(), Some((true, 1)));
    assert_eq!(net.san.stats().counters.failed_commands, table.len() as u64 + 2);
}

#[test]
fn a_lun_that_is_not_there() {
    let (mut net, host) = ready();
    let mut to_lun = |lun: u16, cdb: &[u8], len: u32| {
        net.push_command(&host, TARGET, 0x33, &cmnd(lun, cdb, len, Io::In(len)));
        net.finish(&host, TARGET, 0x33, Io::In(len))
    };
    let end = to_lun(5, &[0; 6], 0);
    refused(&end, SenseKey::ILLEGAL_REQUEST, AdditionalSense::LUN_NOT_SUPPORTED);
    refused(&to_lun(5, &read_10(0, 1), 512), SenseKey::ILLEGAL_REQUEST, AdditionalSense::LUN_NOT_SUPPORTED);
    let inquiry = to_lun(5, &[0x12, 0, 0, 0, 36, 0], 36);
    assert_eq!((inquiry.status, inquiry.data[0], inquiry.data.len()), (0, 0x7f, 36));
    let sense = to_lun(300, &[3, 0, 0, 0, 18, 0], 18);
    assert_eq!((sense.data[2], sense.data[12]), (5, 0x25));
    let luns = to_lun(5, &cdb::<12>(&[(0, 0xa0), (9, 64)]), 64);
    assert_eq!(luns.data, [&[0, 0, 0, 8, 0, 0, 0, 0][..], &[0; 8]].concat());
    assert_eq!(luns.residual, -48);
}

#[test]
fn residuals_tell_what_did_not_move() {
    let (mut net, host) = ready();
    // FCP_DL, allocation length; then bytes moved and the residual.
    for (data_len, allocation, moved, residual) in
        [(74u32, 74u8, 74, 0), (255, 255, 74, -181), (36, 36, 36, 0), (36, 74, 36, 38), (100, 5, 5, -95)]
    {
        let inquiry = [0x12, 0, 0, 0, allocation, 0];
        let end = net.command(&host, TARGET, &inquiry, data_len, Io::In(data_len));
        assert_eq!((end.status, end.data.len(), end.residual), (0, moved, residual));
    }
    let long = net.command(&host, TARGET, &read_10(0, 1), 4096, Io::In(4096));
    assert_eq!((long.status, long.data.len(), long.residual), (0, 512, -3584));
    let short = net.command(&host, TARGET, &read_10(0, 8), 512, Io::In(512));
    assert_eq!((short.status, short.data.len(), short.residual), (0, 512, 3584));
    let none = net.command(&host, TARGET, &read_10(0, 8), 0, Io::None);
    assert_eq!((none.status, none.residual), (0, 4096));
    let nothing = net.command(&host, TARGET, &[0; 6], 512, Io::In(512));
    assert_eq!((nothing.status, nothing.residual), (0, -512));
    let under = net.command(&host, TARGET, &write_10(0, 1), 1024, Io::Out(&[1; 1024]));
    assert_eq!((under.status, under.residual), (0, -512));
    // A write that brings too little, and data in the wrong direction.
    let iu_field = AdditionalSense::new(0x0e, 0x03);
    let over = net.command(&host, TARGET, &write_10(0, 2), 512, Io::Out(&[1; 512]));
    refused(&over, SenseKey::ILLEGAL_REQUEST, iu_field);
    refused(&net.scsi(&host, &write_10(0, 1), Io::In(512)), SenseKey::ILLEGAL_REQUEST, iu_field);
    refused(&net.scsi(&host, &read_10(0, 1), Io::Out(&[1; 512])), SenseKey::ILLEGAL_REQUEST, iu_field);
}

#[test]
fn every_form_of_read_and_write_finds_the_same_blocks() {
    let (mut net, host) = ready();
    let data = [0x5a; 1024];
    let writes: [&[u8]; 4] = [
        &[0x0a, 0, 1, 2, 2, 0],
        &cdb::<10>(&[(0, 0x2a), (1, 0x08), (4, 1), (5, 2), (8, 2)]),
        &cdb::<12>(&[(0, 0xaa), (4, 1), (5, 2), (9, 2)]),
        &cdb::<16>(&[(0, 0x8a), (1, 0x18), (8, 1), (9, 2), (13, 2)]),
    ];
    let reads: [&[u8]; 4] = [
        &[0x08, 0, 1, 2, 2, 0],
        &cdb::<10>(&[(0, 0x28), (4, 1), (5, 2), (8, 2)]),
        &cdb::<12>(&[(0, 0xa8), (4, 1), (5, 2), (9, 2)]),
        &cdb::<16>(&[(0, 0x88), (8, 1), (9, 2), (13, 2)]),
    ];
    for (at, write) in writes.iter().enumerate() {
        let data = data.map(|byte| byte + at as u8);
        assert_eq!(net.scsi(&host, write, Io::Out(&data)).status, 0);
        for read in reads {
            assert_eq!(net.scsi(&host, read, Io::In(1024)).data, data);
        }
    }
    assert_eq!(net.scsi(&host, &[0x08, 0, 0, 0, 0, 0], Io::In(256 * 512)).data.len(), 256 * 512);
    assert_eq!(net.scsi(&host, &read_10(BLOCKS, 0), Io::None).status, 0, "no blocks at the end are no error");
}

#[test]
fn a_read_only_disk_is_protected() {
    let mut config = Net::small();
    config.targets[0].luns[0].read_only = true;
    let mut net = Net::new(&config);
    let host = net.log_in(1);
    let table: [&[u8]; 5] = [
        &write_10(0, 1),
        &cdb::<10>(&[(0, 0x41), (8, 1)]),
        &cdb::<16>(&[(0, 0x93), (1, 1), (13, 1)]),
        &cdb::<10>(&[(0, 0x42), (8, 24)]),
        &cdb::<16>(&[(0, 0x89), (13, 1)]),
    ];
    for cdb in table {
        let end = net.scsi(&host, cdb, Io::Out(&[0; 512]));
        refused(&end, SenseKey::DATA_PROTECT, AdditionalSense::WRITE_PROTECTED);
    }
    let mode = net.scsi(&host, &[0x1a, 0x08, 0x3f, 0, 255, 0], Io::In(255));
    assert_eq!(mode.data[2], 0x90, "WP and DPOFUA");
}

#[test]
fn vital_product_data_names_unit_and_port() {
    let (mut net, host) = ready();
    let mut page = |code: u8| net.scsi(&host, &[0x12, 1, code, 0, 255, 0], Io::In(255)).data;
    assert_eq!(page(0), [0, 0, 0, 6, 0, 0x80, 0x83, 0xb0, 0xb1, 0xb2]);
    assert_eq!(page(0x80)[4..], *b"200002fcf0000101-0000");
    let names = page(0x83);
    assert_eq!(usize::from(names[3]) + 4, names.len());
    let mut rest = &names[4..];
    let mut kinds = Vec::new();
    while let [_, kind, _, len, tail @ ..] = rest {
        kinds.push((kind & 0x3f, *len));
        if kind & 0x3f == 0x13 {
            assert_eq!(tail[..8], net.config.targets[0].wwpn.0);
        }
        rest = &tail[usize::from(*len)..];
    }
    assert_eq!(kinds, [(0x01, 45), (0x03, 8), (0x13, 8), (0x14, 4), (0x15, 4)]);
    let mut page = |code: u8| net.scsi(&host, &[0x12, 1, code, 0, 255, 0], Io::In(255)).data;
    let limits = page(0xb0);
    assert_eq!((limits.len(), limits[4], limits[5]), (64, 1, 32));
    assert_eq!(limits[8..12], (16u32 << 20 >> 9).to_be_bytes());
    assert_eq!((page(0xb1).len(), page(0xb1)[5]), (64, 1));
    assert_eq!(page(0xb2), [0, 0xb2, 0, 4, 0, 0xe4, 2, 0]);
    let standard = net.scsi(&host, &[0x12, 0, 0, 0, 255, 0], Io::In(255)).data;
    assert_eq!(standard[..8], [0, 0, 6, 0x12, 69, 0x10, 0, 2]);
    assert_eq!(standard[8..32], *b"XFCOE   SAN IN A BOX    ");
}

#[test]
fn capacities_are_told_for_both_block_sizes() {
    for block_bytes in [512u32, 4096] {
        let mut config: SanConfig = Net::small();
        config.targets[0].luns[0].block_bytes = block_bytes;
        let mut net = Net::new(&config);
        let host = net.log_in(1);
        let last = (1u32 << 20) / block_bytes - 1;
        let ten = net.scsi(&host, &cdb::<10>(&[(0, 0x25)]), Io::In(8));
        assert_eq!(ten.data, [last.to_be_bytes(), block_bytes.to_be_bytes()].concat());
        let sixteen = net.scsi(&host, &cdb::<16>(&[(0, 0x9e), (1, 0x10), (13, 32)]), Io::In(32));
        assert_eq!(sixteen.data[..12], [&[0; 4][..], &ten.data].concat());
        assert_eq!((sixteen.data[14], sixteen.data.len()), (0xc0, 32));
        let whole = net.scsi(&host, &read_10(last, 1), Io::In(block_bytes));
        assert_eq!((whole.status, whole.data.len()), (0, block_bytes as usize));
    }
}

#[test]
fn blocks_are_filled_unmapped_and_compared() {
    let (mut net, host) = ready();
    let block = [0xab; 512];
    let same = cdb::<10>(&[(0, 0x41), (5, 10), (8, 5)]);
    assert_eq!(net.scsi(&host, &same, Io::Out(&block)).status, 0);
    let read = |net: &mut Net, lba| net.scsi(&host, &read_10(lba, 1), Io::In(512)).data;
    assert_eq!((read(&mut net, 9)[0], read(&mut net, 10)[0], read(&mut net, 14)[0]), (0, 0xab, 0xab));
    assert_eq!(read(&mut net, 15)[0], 0);
    let no_data = cdb::<16>(&[(0, 0x93), (1, 1), (9, 11), (13, 1)]);
    assert_eq!(net.scsi(&host, &no_data, Io::None).status, 0);
    assert_eq!((read(&mut net, 10)[0], read(&mut net, 11)[0], read(&mut net, 12)[0]), (0xab, 0, 0xab));

    let mut list = [0; 24];
    (list[1], list[3], list[15], list[19]) = (22, 16, 12, 2);
    let unmap = cdb::<10>(&[(0, 0x42), (8, 24)]);
    assert_eq!(net.scsi(&host, &unmap, Io::Out(&list)).status, 0);
    assert_eq!((read(&mut net, 12)[0], read(&mut net, 13)[0], read(&mut net, 14)[0]), (0, 0, 0xab));
    list[8] = 0xff;
    let end = net.scsi(&host, &unmap, Io::Out(&list));
    refused(&end, SenseKey::ILLEGAL_REQUEST, AdditionalSense::LBA_OUT_OF_RANGE);
    list[3] = 32;
    let end = net.scsi(&host, &unmap, Io::Out(&list));
    refused(&end, SenseKey::ILLEGAL_REQUEST, AdditionalSense::PARAMETER_LIST_LENGTH_ERROR);

    let verify = cdb::<10>(&[(0, 0x2f), (1, 2), (5, 14), (8, 1)]);
    assert_eq!(net.scsi(&host, &verify, Io::Out(&block)).status, 0);
    let mut other = block;
    other[77] = 0;
    let end = net.scsi(&host, &verify, Io::Out(&other));
    refused(&end, SenseKey::MISCOMPARE, AdditionalSense::MISCOMPARE);
    assert_eq!(end.sense.unwrap().information, Some(77));

    let compare_and_write = cdb::<16>(&[(0, 0x89), (9, 14), (13, 1)]);
    let end = net.scsi(&host, &compare_and_write, Io::Out(&[other, [7; 512]].concat()));
    refused(&end, SenseKey::MISCOMPARE, AdditionalSense::MISCOMPARE);
    assert_eq!(read(&mut net, 14), block);
    assert_eq!(net.scsi(&host, &compare_and_write, Io::Out(&[block, [7; 512]].concat())).status, 0);
    assert_eq!(read(&mut net, 14), [7; 512]);
    assert_eq!(net.scsi(&host, &cdb::<10>(&[(0, 0x35)]), Io::None).status, 0);
    assert_eq!(net.scsi(&host, &cdb::<16>(&[(0, 0x91)]), Io::None).status, 0);
}

#[test]
fn modes_are_told_and_not_changeable() {
    let (mut net, host) = ready();
    let six = net.scsi(&host, &[0x1a, 0, 0x3f, 0, 255, 0], Io::In(255)).data;
    assert_eq!(six[..4], [six.len() as u8 - 1, 0, 0x10, 8]);
    assert_eq!(six[4..12], [0, 0, 8, 0, 0, 0, 2, 0]);
    assert_eq!(six[12..15], [0x08, 18, 0x04]);
    assert_eq!(six[32..36], [0x0a, 10, 0, 0x10]);
    let ten = net.scsi(&host, &cdb::<10>(&[(0, 0x5a), (1, 0x10), (2, 0x0a), (8, 255)]), Io::In(255)).data;
    assert_eq!(ten[..8], [0, ten.len() as u8 - 2, 0, 0x10, 1, 0, 0, 16]);
    assert_eq!(ten[8..24], [0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 2, 0]);
    let changeable = net.scsi(&host, &[0x1a, 8, 0x48, 0, 255, 0], Io::In(255)).data;
    assert_eq!(changeable[4..], [[8, 18, 0, 0, 0], [0; 5], [0; 5], [0; 5]].concat());
    let saved = net.scsi(&host, &[0x1a, 8, 0xc8, 0, 255, 0], Io::In(255));
    refused(&saved, SenseKey::ILLEGAL_REQUEST, AdditionalSense::new(0x39, 0));
}

#[test]
fn supported_commands_are_those_that_work() {
    let (mut net, host) = ready();
    let all = net.scsi(&host, &cdb::<12>(&[(0, 0xa3), (1, 0x0c), (8, 4)]), Io::In(1024)).data;
    let len = u32::from_be_bytes(all[..4].try_into().unwrap()) as usize;
    assert_eq!(len + 4, all.len());
    for entry in all[4..].chunks(8) {
        let service_action = (entry[5] & 1 != 0).then_some(entry[3]);
        let options = if service_action.is_some() { 2 } else { 1 };
        let one = cdb::<12>(&[(0, 0xa3), (1, 0x0c), (2, options), (3, entry[0]), (5, entry[3]), (9, 255)]);
        let one = net.scsi(&host, &one, Io::In(255)).data;
        assert_eq!((one[1], one[3]), (3, entry[7]));
        assert_eq!(one[4], entry[0]);
        // What it says is supported is not refused as unknown.
        let mut command = [0; 16];
        command[0] = entry[0];
        command[1] = service_action.unwrap_or(0);
        let end = net.command(&host, TARGET, &command, 4096, Io::None);
        assert_ne!(end.key().map(|key| key.1), Some(AdditionalSense::INVALID_OPERATION_CODE));
    }
    let unknown =
        net.scsi(&host, &cdb::<12>(&[(0, 0xa3), (1, 0x0c), (2, 1), (3, 0xc1), (9, 255)]), Io::In(255));
    assert_eq!(unknown.data, [0, 1, 0, 0]);
    let timeouts =
        net.scsi(&host, &cdb::<12>(&[(0, 0xa3), (1, 0x0c), (2, 0x83), (3, 0x28), (9, 255)]), Io::In(255));
    assert_eq!((timeouts.data[1], timeouts.data.len()), (0x83, 4 + 10 + 12));
    let groups = net.scsi(&host, &cdb::<12>(&[(0, 0xa3), (1, 0x0a), (9, 255)]), Io::In(255));
    assert_eq!(groups.data, [0, 0, 0, 12, 0, 15, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1]);
}

#[test]
fn commands_that_fcp_allows_and_we_do_not() {
    let (mut net, host) = ready();
    let invalid = fc::wire::fcp::RspCode::INVALID_FIELDS.0;
    let mut long = cmnd(0, &read_10(0, 1), 512, Io::In(512));
    long.additional_cdb = &[0; 16];
    let mut both = cmnd(0, &read_10(0, 1), 512, Io::In(512));
    both.fixed.flags = 3;
    both.bidirectional_read_len = Some(512);
    let mut aca = cmnd(0, &read_10(0, 1), 512, Io::In(512));
    aca.fixed.attribute = 4;
    for iu in [long, both, aca] {
        net.push_command(&host, TARGET, 0x33, &iu);
        assert_eq!(net.finish(&host, TARGET, 0x33, Io::None).code, Some(invalid));
    }
}
