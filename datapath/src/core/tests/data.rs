//! Commands, and the data that they move.

use super::*;

#[test]
fn a_command_is_sent_as_captures_show_it() {
    let vlan = Some(VlanTag::new(100, 3));
    let mut bench = Bench::with_nexus(&Nexus { vlan, ..nexus() });
    let cdb = Cdb::new(&[0x88, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 8, 0, 0]);
    let transfer = Transfer::Read(vec![0; 4096].into());
    let lun = Lun::single(5).unwrap();
    bench
        .consumer
        .submit(Command { tag: 1, nexus: NEXUS, lun, action: Action::Scsi(cdb), transfer, timeout: TIMEOUT })
        .unwrap();
    bench.step();
    let [sent] = &bench.sent()[..] else { panic!("one frame") };
    let ethernet = EthernetHeader { destination: FCF_MAC, source: OUR_MAC, vlan, ethertype: EtherType::FCOE };
    assert_eq!(sent.ethernet, ethernet);
    assert_eq!((sent.sof, sent.eof), (Sof::I3, Eof::T));
    assert_eq!((sent.header.s_id, sent.header.d_id), (OURS, TARGET));
    assert_eq!(sent.header.f_ctl.get(), 0x29_0000);
    assert_eq!(sent.header.rx_id.get(), UNASSIGNED_XID);
    assert_eq!(ox_id::core(sent.header.ox_id.get()), 2);
    let cmnd = FcpCmnd::parse(&sent.payload).unwrap();
    assert_eq!((cmnd.fixed.lun, cmnd.fixed.cdb.as_slice()), (lun, cdb.as_bytes()));
    assert_eq!((cmnd.data_len, cmnd.fixed.flags), (4096, 2));
}

#[test]
fn a_long_cdb_is_sent_whole() {
    let mut bench = Bench::new();
    let cdb = Cdb::new(&[0x7f; 32]);
    bench.consumer.submit(Command { action: Action::Scsi(cdb), ..command(1) }).unwrap();
    bench.step();
    let sent = bench.sent();
    let cmnd = FcpCmnd::parse(&sent[0].payload).unwrap();
    assert_eq!((cmnd.fixed.cdb, cmnd.additional_cdb), ([0x7f; 16], &[0x7f; 16][..]));
    assert_eq!((cmnd.data_len, cmnd.fixed.flags), (0, 16));
}

#[test]
fn read_data_lands_at_its_offset_whatever_the_order() {
    let data = pattern();
    let in_order = [0..2112, 2112..4224, 4224..DATA_LEN];
    let mut reversed = in_order.clone();
    reversed.reverse();
    for order in [in_order, reversed] {
        let mut bench = Bench::new();
        let ox_id = bench.read();
        for range in order {
            bench.data(ox_id, range.start, &data[range.clone()]);
            bench.data(ox_id, range.start, &data[range]);
        }
        assert!(bench.consumer.poll().is_none(), "it has not ended");
        bench.now = bench.now + Duration::from_micros(50);
        bench.respond(ox_id, &FcpRsp::default());
        let completion = bench.completion();
        assert_eq!(completion.tag, 7);
        let ended = completion.result.unwrap();
        assert_eq!((ended.status, ended.transferred as usize), (Status::GOOD, DATA_LEN));
        assert_eq!(completion.transfer.into_buffer().unwrap().as_ref(), data);
        assert_eq!(bench.core.exchanges.open(), 0);
        let latency_ns = bench.core.report().latency_ns;
        assert_eq!((latency_ns.len(), latency_ns.equivalent(latency_ns.max(), 50_000)), (1, true));
    }
}

#[test]
fn data_after_the_response_is_awaited() {
    let mut bench = Bench::new();
    let data = pattern();
    let ox_id = bench.read();
    bench.data(ox_id, 0, &data[..2112]);
    bench.respond(ox_id, &FcpRsp::default());
    assert!(bench.consumer.poll().is_none(), "data is missing");
    bench.data(ox_id, 2112, &data[2112..4224]);
    bench.data(ox_id, 4224, &data[4224..]);
    assert!(bench.completion().result.is_ok());
}

#[test]
fn a_read_with_missing_data_is_never_good() {
    let mut bench = Bench::new();
    let data = pattern();
    let ox_id = bench.read();
    bench.data(ox_id, 0, &data[..2112]);
    // The same bytes twice are as many as the command wants, but not the ones.
    bench.data(ox_id, 0, &data[..2112]);
    bench.data(ox_id, 2900, &data[2900..]);
    bench.respond(ox_id, &FcpRsp::default());
    bench.advance(TICK * 2);
    let expected = TransportError::DataMissing { expected: 5000, moved: 2112 };
    assert_eq!(bench.completion().result, Err(expected));
    // A frame of it may still come: it must touch nothing, and nobody gets its OX_ID yet.
    bench.data(ox_id, 2112, &data[2112..2900]);
    assert_eq!(bench.dropped(DropReason::NoExchange), 1);
    assert_eq!(bench.resting(), 1);
    bench.advance(R_A_TOV);
    assert_eq!(bench.resting(), 0);
}

#[test]
fn residuals_say_how_much_is_good() {
    let mut bench = Bench::new();
    let data = pattern();
    let ox_id = bench.read();
    bench.data(ox_id, 0, &data[..96]);
    let residual = u32::try_from(DATA_LEN).unwrap() - 96;
    bench.respond(ox_id, &FcpRsp { flags: rsp_flags::UNDER, residual, ..FcpRsp::default() });
    assert_eq!(bench.completion().result.unwrap().transferred, 96);
}

#[test]
fn write_data_goes_out_as_it_is_asked_for() {
    let mut bench = Bench::new();
    let data = pattern();
    let ox_id = bench.submit(1, Transfer::Write(data.clone().into()));
    bench.transfer_ready(ox_id, 0, 4224);
    bench.transfer_ready(ox_id, 4224, 776);
    let sent = bench.sent();
    let f_ctl = [0x00_0008, 0x09_0008, 0x09_0008];
    let delimiters = [(Sof::I3, Eof::N), (Sof::N3, Eof::T), (Sof::I3, Eof::T)];
    let mut received = vec![0; DATA_LEN];
    for (i, frame) in sent.iter().enumerate() {
        assert_eq!((frame.header.r_ctl, frame.header.f_ctl.get()), (RCtl::DATA, f_ctl[i]));
        assert_eq!((frame.sof, frame.eof), delimiters[i]);
        assert_eq!((frame.header.seq_id, frame.header.seq_cnt.get()), [(1, 0), (1, 1), (2, 0)][i]);
        assert_eq!(frame.header.rx_id.get(), RX_ID);
        let offset = frame.header.parameter.get() as usize;
        received[offset..offset + frame.payload.len()].copy_from_slice(&frame.payload);
    }
    assert_eq!((sent.len(), received), (3, data));
    bench.respond(ox_id, &FcpRsp::default());
    assert_eq!(bench.completion().result.unwrap().transferred as usize, DATA_LEN);
}

#[test]
fn a_large_burst_is_sent_over_several_doorbells() {
    let mut bench = Bench::new();
    let len: u32 = 200 * 2112;
    let ox_id = bench.submit(1, Transfer::Write(vec![0x5a; len as usize].into()));
    bench.transfer_ready(ox_id, 0, len);
    let mut frames = 0;
    for _ in 0..10 {
        let sent = bench.sent().len();
        assert!(sent <= SEND_BATCH);
        frames += sent;
        bench.step();
    }
    assert_eq!(frames, 200);
}
