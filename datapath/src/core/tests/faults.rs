//! What is wrong with frames and targets.

use super::*;

/// Each frame is wrong in one way; none may end the command or touch its buffer.
#[test]
fn wrong_frames_are_dropped_by_reason() {
    let mut bench = Bench::new();
    let ox_id = bench.read();
    bench.data(ox_id, 0, &[1; 4]);
    let good = |change: &dyn Fn(&mut FcHeader)| {
        let mut header = target_header(RCtl::DATA, 0x88_0008, ox_id);
        change(&mut header);
        from_target(&header, &[2; 64])
    };
    let bytes = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut frame = good(&|_| {});
        change(&mut frame);
        frame
    };
    let response = from_target(&target_header(RCtl::STATUS, 0x98_0000, ox_id), &[0; 8]);
    let ready = from_target(&target_header(RCtl::DATA_DESCRIPTOR, 0x89_0000, ox_id), &[0; 12]);
    let cases: Vec<(DropReason, Vec<u8>)> = vec![
        (DropReason::Length, bytes(&|f| f.truncate(13))),
        (DropReason::Length, bytes(&|f| f.truncate(59))),
        (DropReason::Length, bytes(&|f| f.resize(fcoe::MAX_LEN + 15, 0))),
        (DropReason::EtherType, bytes(&|f| f[12..14].copy_from_slice(&[0x08, 0x00]))),
        (DropReason::Version, bytes(&|f| f[14] = 0x10)),
        (DropReason::Crc, bytes(&|f| f[70] ^= 1)),
        (DropReason::Sof, bytes(&|f| f[27] = 0x2d)),
        (DropReason::Eof, bytes(&|f| *f.iter_mut().nth_back(3).unwrap() = 0x49)),
        // A pad moves the end: whatever is read as delimiter and CRC is wrong.
        (DropReason::Eof, bytes(&|f| f.extend([0; 4]))),
        (DropReason::OptionalHeader, good(&|h| h.df_ctl = 0x10)),
        (DropReason::NoExchange, good(&|h| h.ox_id.set(ox_id ^ 1))),
        (DropReason::NoExchange, good(&|h| h.ox_id.set(ox_id ^ 0x0008))),
        (DropReason::NoExchange, good(&|h| h.ox_id.set(ox_id ^ 0x8000))),
        (DropReason::Source, good(&|h| h.s_id = FcId([1, 2, 2]))),
        (DropReason::Source, bytes(&|f| f[6] ^= 0x10)),
        (DropReason::Destination, good(&|h| h.d_id = FcId([1, 1, 2]))),
        (DropReason::RxId, good(&|h| h.rx_id.set(RX_ID + 1))),
        (DropReason::Offset, good(&|h| h.parameter.set(5000 - 63))),
        (DropReason::Offset, good(&|h| h.parameter.set(u32::MAX - 3))),
        (DropReason::Offset, good(&|h| h.f_ctl = FCtl::new(0x88_0000))),
        (DropReason::Unexpected, good(&|h| h.r_ctl = RCtl(0x00))),
        (DropReason::Unexpected, good(&|h| h.fc_type = FcType::NVME)),
        (DropReason::Unexpected, good(&|h| h.f_ctl = FCtl::new(0x08_0008))),
        (DropReason::Unexpected, ready),
        (DropReason::Malformed, response),
    ];
    for (reason, frame) in cases {
        let before = (bench.core.counters.dropped_total(), bench.dropped(reason));
        bench.inject(&frame);
        let after = (bench.core.counters.dropped_total(), bench.dropped(reason));
        assert_eq!(after, (before.0 + 1, before.1 + 1), "{reason}: {frame:02x?}");
    }
    assert!(bench.consumer.poll().is_none());
    bench.respond(ox_id, &FcpRsp { status: Status::BUSY.0, ..FcpRsp::default() });
    let buffer = bench.completion().transfer.into_buffer().unwrap();
    assert_eq!((&buffer[..4], buffer[4..].iter().all(|&b| b == 0xee)), (&[1; 4][..], true));
}

#[test]
fn requests_for_data_that_is_not_there_are_dropped() {
    let mut bench = Bench::new();
    let ox_id = bench.submit(1, Transfer::Write(pattern().into()));
    for (offset, len, reason) in [
        (0, 5001, DropReason::Offset),
        (5000, 1, DropReason::Offset),
        (u32::MAX, 2, DropReason::Offset),
        (0, 0, DropReason::Malformed),
    ] {
        let before = bench.dropped(reason);
        bench.transfer_ready(ox_id, offset, len);
        assert_eq!(bench.dropped(reason), before + 1, "{offset} {len}");
    }
    assert!(bench.sent_bytes().is_empty());
}

#[test]
fn a_target_may_abort() {
    let mut bench = Bench::new();
    let ox_id = bench.read();
    let header = FcHeader { fc_type: FcType::BLS, ..target_header(RCtl::ABTS, 0x89_0000, ox_id) };
    bench.inject_fc(&header, &[]);
    assert_eq!(bench.completion().result, Err(TransportError::Aborted));
    let [accept] = &bench.sent()[..] else { panic!("one BA_ACC") };
    assert_eq!(accept.header.r_ctl, RCtl::BA_ACC);
    assert_eq!(accept.payload[4..6], ox_id.to_be_bytes());
}

#[test]
fn fcp_errors_are_told() {
    let mut bench = Bench::new();
    let ox_id = bench.read();
    let info = [0, 0, 0, RspCode::INCORRECT_LUN.0, 0, 0, 0, 0];
    bench.respond(ox_id, &FcpRsp { info: &info, ..FcpRsp::default() });
    assert_eq!(bench.completion().result, Err(TransportError::Response(RspCode::INCORRECT_LUN)));
}

proptest! {
    /// Whatever comes, commands stay whole: each byte of a buffer is what it was or what a valid frame brought.
    #[test]
    fn any_bytes_are_safe(frames in proptest::collection::vec(
        (proptest::collection::vec(any::<u8>(), 0..200), any::<bool>(), any::<[u8; 4]>()), 1..20)
    ) {
        let mut bench = Bench::new();
        let ox_id = bench.read();
        for (payload, damaged, noise) in frames {
            let mut header = target_header(RCtl(noise[0]), 0x88_0008 | u32::from(noise[1]) << 16, ox_id);
            header.parameter.set(u32::from(noise[2]) * 32);
            header.fc_type = [FcType::FCP, FcType::BLS, FcType::ELS][usize::from(noise[3]) % 3];
            let mut bytes = from_target(&header, &payload);
            if damaged {
                let at = usize::from(noise[2]) % bytes.len();
                bytes[at] ^= noise[1];
            }
            bench.inject(&bytes);
        }
        bench.advance(TIMEOUT);
        bench.advance(R_A_TOV);
        let completions = std::iter::from_fn(|| bench.consumer.poll()).count();
        prop_assert_eq!(completions, 1);
    }
}

/// With many commands out, frames are looked at before they are checked.
#[test]
fn what_is_looked_at_ahead_may_be_anything() {
    let mut bench = Bench::new();
    let ox_ids: Vec<_> = (0..600).map(|tag| bench.submit(tag, Transfer::None)).collect();
    let mut iu = [0; 24];
    FcpRsp::default().emit(&mut iu);
    let frame = from_target(&target_header(RCtl::STATUS, 0x98_0000, ox_ids[599]), &iu);
    let tagged = [&frame[..12], &[0x81, 0, 0, 5], &frame[12..]].concat();
    for bytes in [&frame, &tagged] {
        for len in 0..60 {
            bench.inject(&bytes[..len]);
        }
    }
    assert!(bench.consumer.poll().is_none());
    bench.inject(&frame);
    assert_eq!(bench.completion().tag, 599);
}
