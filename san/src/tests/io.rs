//! Reads and writes, frame by frame.

use super::host::{Io, Net, TARGET, cmnd, data_header, done};
use crate::SanConfig;
use datapath::port::Port;
use datapath::port::memory::MemoryConfig;
use fc::wire::fcp::FcpXferRdy;
use fc::wire::header::{FCtl, FcHeader, RCtl};
use proptest::prelude::*;

pub(super) fn read_10(lba: u32, blocks: u16) -> [u8; 10] {
    rw_10(0x28, lba, blocks)
}

pub(super) fn write_10(lba: u32, blocks: u16) -> [u8; 10] {
    rw_10(0x2a, lba, blocks)
}

fn rw_10(opcode: u8, lba: u32, blocks: u16) -> [u8; 10] {
    let ([a, b, c, d], [e, f]) = (lba.to_be_bytes(), blocks.to_be_bytes());
    [opcode, 0, a, b, c, d, 0, e, f, 0]
}

fn pattern(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|at| (((at + seed) * 31) >> 3) as u8).collect()
}

#[test]
fn a_read_looks_as_on_the_wire_of_a_linux_target() {
    let mut net = Net::new(&Net::small());
    let host = net.log_in(1);
    net.push_command(&host, TARGET, 0, &cmnd(0, &read_10(0, 8), 4096, Io::In(4096)));
    let frames = net.run_fc();
    let f_ctls: Vec<_> = frames.iter().map(|frame| frame.header.f_ctl.get()).collect();
    assert_eq!(f_ctls, [0x80_0008, 0x88_0008, 0x98_0000]);
    let headers: Vec<_> = frames
        .iter()
        .map(|frame| {
            let FcHeader { r_ctl, seq_id, seq_cnt, parameter, .. } = frame.header;
            (r_ctl, seq_id, seq_cnt.get(), parameter.get(), frame.payload.len())
        })
        .collect();
    let expected = [(RCtl::DATA, 0, 0, 0, 2112), (RCtl::DATA, 0, 1, 2112, 1984), (RCtl::STATUS, 1, 0, 0, 24)];
    assert_eq!(headers, expected);
    assert!(frames.iter().all(|frame| frame.header.ox_id.get() == 0), "an OX_ID of 0 is a valid one");
    let rx_id = frames[0].header.rx_id;
    assert!(frames.iter().all(|frame| frame.header.rx_id == rx_id) && rx_id.get() != 0xffff);
}

#[test]
fn commands_share_the_memory_that_there_is() {
    let mut net = Net::new(&Net::small());
    let host = net.log_in(1);
    let data = pattern(4096, 1);
    let allocations = |net: &mut Net| {
        net.push_command(&host, TARGET, 5, &cmnd(0, &read_10(0, 8), 4096, Io::In(4096)));
        net.push_command(&host, TARGET, 6, &cmnd(0, &write_10(0, 8), 4096, Io::Out(&data)));
        allocation_counter::measure(|| while net.san.step(net.now) {}).count_total
    };
    allocations(&mut net);
    net.run_fc();
    assert_eq!(allocations(&mut net), 0);
}

#[test]
fn a_write_is_asked_for_whole() {
    let mut net = Net::new(&Net::small());
    let host = net.log_in(1);
    let data = pattern(4096, 1);
    net.push_command(&host, TARGET, 5, &cmnd(0, &write_10(3, 8), 4096, Io::Out(&data)));
    let frames = net.run_fc();
    assert_eq!(frames.len(), 1);
    assert_eq!(frames[0].header.f_ctl.get(), 0x89_0000);
    assert_eq!(frames[0].header.r_ctl, RCtl::DATA_DESCRIPTOR);
    let xfer = FcpXferRdy::parse(&frames[0].payload).unwrap();
    assert_eq!((xfer.offset.get(), xfer.burst_len.get()), (0, 4096));
    net.answer_xfer_rdy(&host, &frames[0], &data);
    let frames = net.run_fc();
    assert_eq!((frames.len(), frames[0].header.seq_id), (1, 1));
    assert_eq!(done(&frames[0], Vec::new()).status, 0);
    let mut there = vec![0; 4096];
    net.san.read_lun(0, 0, 3 * 512, &mut there).unwrap();
    assert_eq!(there, data);
    assert_eq!(net.san.stats().counters.written_bytes, 4096);
}

#[test]
fn bursts_are_asked_for_one_after_the_other() {
    let config = SanConfig { max_burst_len: 6000, ..Net::small() };
    let mut net = Net::new(&config);
    let host = net.log_in(1);
    let data = pattern(32 * 512, 9);
    net.push_command(&host, TARGET, 5, &cmnd(0, &write_10(0, 32), data.len() as u32, Io::Out(&data)));
    let mut bursts = Vec::new();
    loop {
        let frames = net.run_fc();
        assert_eq!(frames.len(), 1);
        if frames[0].header.r_ctl == RCtl::STATUS {
            assert_eq!(frames[0].header.seq_id as usize, bursts.len());
            break;
        }
        let xfer = FcpXferRdy::parse(&frames[0].payload).unwrap();
        bursts.push((xfer.offset.get(), xfer.burst_len.get()));
        net.answer_xfer_rdy(&host, &frames[0], &data);
    }
    assert_eq!(bursts, [(0, 6000), (6000, 6000), (12000, 4384)]);
    assert_eq!(net.scsi(&host, &read_10(0, 32), Io::In(data.len() as u32)).data, data);
}

#[test]
fn write_frames_may_come_twice_or_out_of_order_but_not_astray() {
    let mut net = Net::new(&Net::small());
    let host = net.log_in(1);
    let data = pattern(4096, 3);
    net.push_command(&host, TARGET, 5, &cmnd(0, &write_10(0, 8), 4096, Io::Out(&data)));
    let asked = net.run_fc().remove(0).header;
    let piece = |offset: usize, is_last| data_header(&host, &asked, offset as u32, 0, is_last);

    let astray = [
        // Beyond the end, without an offset, to an RX_ID that isn't.
        piece(3072, true),
        FcHeader { f_ctl: FCtl::new(0x09_0000), ..piece(0, false) },
        FcHeader { rx_id: 0x0fff.into(), ..piece(0, false) },
    ];
    for header in astray {
        net.push_fc(host.mac, &header, &data[..2048]);
    }
    assert!(net.run_fc().is_empty());
    let counters = net.san.stats().counters;
    assert_eq!((counters.dropped_malformed, counters.dropped_no_exchange), (2, 1));

    net.push_fc(host.mac, &piece(2048, true), &data[2048..]);
    net.push_fc(host.mac, &piece(2048, true), &data[2048..]);
    assert!(net.run_fc().is_empty(), "half of it counted twice is not all");
    net.push_fc(host.mac, &piece(0, false), &data[..2048]);
    let frames = net.run_fc();
    assert_eq!(done(&frames[0], Vec::new()).status, 0);
    assert_eq!(net.scsi(&host, &read_10(0, 8), Io::In(4096)).data, data);
    net.push_fc(host.mac, &piece(0, false), &data[..2048]);
    assert!(net.run_fc().is_empty(), "the exchange is over");
}

#[test]
fn a_small_payload_size_is_kept_to() {
    let mut net = Net::new(&Net::small());
    let host = net.log_in_fabric(1);
    net.log_in_target(&host, TARGET, 1454);
    net.scsi(&host, &[0; 6], Io::None);
    net.push_command(&host, TARGET, 1, &cmnd(0, &read_10(0, 6), 3072, Io::In(3072)));
    let lens: Vec<_> = net.run_fc().iter().map(|frame| frame.payload.len()).collect();
    assert_eq!(lens, [1452, 1452, 168, 24], "whole words");
}

#[test]
fn long_reads_wait_for_the_port_and_share_it() {
    // Fewer chunks than one read needs, and a link that holds even less.
    let memory = MemoryConfig { receive_frames: 16, transmit_frames: 48, ring_frames: 100 };
    let mut net = Net::with_memory(&Net::small(), memory);
    let host = net.log_in(1);
    let data = pattern(256 << 10, 5);
    assert_eq!(net.scsi_in_pieces(&host, &data), 0);
    net.push_command(&host, TARGET, 1, &cmnd(0, &read_10(0, 512), 256 << 10, Io::In(256 << 10)));
    net.push_command(&host, TARGET, 2, &cmnd(0, &read_10(0, 1), 512, Io::In(512)));
    let frames = net.run_fc();
    let long: Vec<_> = frames.iter().filter(|frame| frame.header.ox_id.get() == 1).collect();
    let read: Vec<u8> =
        long.iter().filter(|f| f.header.r_ctl == RCtl::DATA).flat_map(|f| f.payload.clone()).collect();
    assert!(read == data);
    let short = frames.iter().position(|frame| frame.header.ox_id.get() == 2).unwrap();
    assert!(short < 40, "the short one came at {short} of {}", frames.len());
    assert!(net.san.port().account().is_balanced());
    assert_eq!(net.san.port().account().held, 0);
}

#[test]
fn no_more_frames_go_at_once_than_a_veth_holds() {
    let mut net = Net::new(&Net::small());
    let host = net.log_in(1);
    for ox_id in 0..8 {
        net.push_command(&host, TARGET, ox_id, &cmnd(0, &read_10(0, 512), 256 << 10, Io::In(256 << 10)));
    }
    let mut most = 0;
    let mut all = 0;
    while net.san.step(net.now) {
        let mut frames = 0;
        while net.wire.pop().is_some() {
            frames += 1;
        }
        most = most.max(frames);
        all += frames;
    }
    assert_eq!(most, 64);
    assert_eq!(all, 8 * (125 + 1));
}

impl Net {
    /// Writes `data` to the LUN's front, few frames at a time; gives the last status.
    fn scsi_in_pieces(&mut self, host: &super::host::Host, data: &[u8]) -> u8 {
        let mut status = 0xff;
        for (at, piece) in data.chunks(16 << 10).enumerate() {
            status = self.scsi(host, &write_10(at as u32 * 32, 32), Io::Out(piece)).status;
        }
        status
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn what_is_written_is_read_in_any_size(
        lba in 0u32..1000,
        blocks in 1u16..200,
        payload_len in 64u16..=528,
        burst in 0u32..20_000,
    ) {
        let blocks = blocks.min((2048 - lba) as u16);
        let config = SanConfig {
            max_payload_len: payload_len * 4,
            max_burst_len: burst / 4 * 4,
            ..Net::small()
        };
        let mut net = Net::new(&config);
        let host = net.log_in(1);
        let len = usize::from(blocks) * 512;
        let data = pattern(len, lba as usize);
        prop_assert_eq!(net.scsi(&host, &write_10(lba, blocks), Io::Out(&data)).status, 0);
        let read = net.scsi(&host, &read_10(lba, blocks), Io::In(len as u32));
        prop_assert_eq!((read.status, read.residual), (0, 0));
        prop_assert!(read.data == data);
    }
}
