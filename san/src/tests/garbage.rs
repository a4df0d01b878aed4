//! Any bytes are safe, and every chunk stays accounted for.

use super::host::{Io, Net, TARGET, cmnd, request_header};
use super::io::read_10;
use datapath::port::Port;
use fc::wire::MacAddr;
use fc::wire::ethernet::{EtherType, EthernetHeader};
use fc::wire::fip::{FipFrame, Flags, Operation};
use fc::wire::header::{FCtl, FcHeader, FcType, RCtl};
use fc::wire::{FcId, fcp::FcpCmnd};
use proptest::prelude::*;

const BYTES: std::ops::RangeInclusive<usize> = 0..=300;

fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), BYTES)
}

fn still_serves(net: &mut Net, host: &super::host::Host) {
    while net.wire.pop().is_some() {}
    let account = net.san.port().account();
    assert!(account.is_balanced() && account.held == 0);
    // What came may have ended the logins; the fabric must take new ones.
    let host = net.log_in_as(host.enode, host.wwpn, fc::wire::fip::ElsKind::Flogi);
    net.log_in_target(&host, TARGET, 2112);
    net.scsi(&host, &[0; 6], Io::None);
    let end = net.scsi(&host, &read_10(0, 1), Io::In(512));
    assert!(end.status == 0 || end.status == 0x18, "{end:?}");
}

/// Small domains, so that frames get far.
fn any_header() -> impl Strategy<Value = FcHeader> {
    let r_ctl = prop_oneof![
        Just(RCtl::DATA),
        Just(RCtl::COMMAND),
        Just(RCtl::ELS_REQUEST),
        Just(RCtl::ELS_REPLY),
        Just(RCtl::CT_REQUEST),
        Just(RCtl::ABTS),
        Just(RCtl::FC4_REQUEST),
        any::<u8>().prop_map(RCtl),
    ];
    let fc_type = prop_oneof![
        Just(FcType::FCP),
        Just(FcType::ELS),
        Just(FcType::CT),
        Just(FcType::BLS),
        any::<u8>().prop_map(FcType)
    ];
    let d_id = prop_oneof![
        Just(TARGET),
        Just(FcId::NAME_SERVER),
        Just(FcId::FABRIC_CONTROLLER),
        Just(FcId::F_PORT),
        Just(FcId::BROADCAST),
        Just(FcId::from_u32(0x01_0200)),
        any::<u32>().prop_map(FcId::from_u32),
    ];
    let f_ctl = prop_oneof![Just(0x29_0000), Just(0x09_0008), Just(0x00_0008), any::<u32>()];
    (r_ctl, fc_type, d_id, f_ctl, any::<[u16; 3]>(), prop_oneof![0u32..5000, any::<u32>()]).prop_map(
        |(r_ctl, fc_type, d_id, f_ctl, [seq_cnt, ox_id, rx_id], parameter)| FcHeader {
            r_ctl,
            fc_type,
            f_ctl: FCtl::new(f_ctl),
            seq_cnt: (seq_cnt % 3).into(),
            rx_id: (if rx_id % 2 == 0 { 0xffff } else { rx_id % 8 }).into(),
            parameter: parameter.into(),
            ..request_header(FcId::from_u32(0x01_0200), d_id, ox_id % 4)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_ethernet_frames(frames in proptest::collection::vec((any::<bool>(), any::<bool>(), any_bytes()), 1..20)) {
        let mut net = Net::new(&Net::small());
        let host = net.log_in(1);
        for (is_fip, is_bare, bytes) in frames {
            if is_bare {
                net.wire.push(&bytes);
            } else {
                let ethertype = if is_fip { EtherType::FIP } else { EtherType::FCOE };
                let header = EthernetHeader {
                    destination: net.config.fcf.mac, source: host.mac, vlan: None, ethertype,
                };
                let mut frame = vec![0; header.len() + bytes.len()];
                header.emit(&mut frame);
                frame[header.len()..].copy_from_slice(&bytes);
                net.wire.push(&frame);
            }
        }
        while net.san.step(net.now) {}
        still_serves(&mut net, &host);
    }

    #[test]
    fn any_fc_frames(frames in proptest::collection::vec((any_header(), any_bytes()), 1..20)) {
        let mut net = Net::new(&Net::small());
        let host = net.log_in(1);
        for (header, payload) in frames {
            net.push_fc(host.mac, &header, &payload);
        }
        while net.san.step(net.now) {}
        still_serves(&mut net, &host);
    }

    #[test]
    fn any_fip_frames(
        operation in (1u16..6, 1u8..6),
        flags in any::<u16>(),
        list in any_bytes(),
        to_all in any::<bool>(),
    ) {
        let mut net = Net::new(&Net::small());
        let host = net.log_in(1);
        let operation = Operation { code: operation.0, subcode: operation.1 };
        let empty = FipFrame::new(operation, Flags(flags), Vec::new());
        let mut frame = empty.to_ethernet(net.config.fcf.mac, host.enode, None);
        if to_all {
            frame[..6].copy_from_slice(&MacAddr::ALL_FCF.0);
        }
        frame.truncate(24);
        frame[20..22].copy_from_slice(&((list.len() / 4) as u16).to_be_bytes());
        frame.extend(list);
        net.wire.push(&frame);
        while net.san.step(net.now) {}
        still_serves(&mut net, &host);
    }

    #[test]
    fn any_commands(
        opcode in prop_oneof![
            Just(0x28u8), Just(0x2a), Just(0x41), Just(0x42), Just(0x5e), Just(0x5f), Just(0x88), Just(0x89),
            Just(0x8a), Just(0x8f), Just(0x93), Just(0x9e), Just(0xa0), Just(0xa3), Just(0x12), any::<u8>(),
        ],
        small in any::<[u8; 15]>(),
        mask in any::<u16>(),
        data_len in prop_oneof![0u32..5000, any::<u32>()],
        direction in 0u8..4,
        data in any_bytes(),
        lun in 0u16..2,
    ) {
        let mut net = Net::new(&Net::small());
        let host = net.log_in(1);
        let mut cdb = [0; 16];
        cdb[0] = opcode;
        // Mostly zeros, so that much of it is valid.
        for (at, byte) in small.into_iter().enumerate().filter(|(at, _)| mask >> at & 1 != 0 && at % 3 == 0) {
            cdb[at + 1] = byte;
        }
        let iu: FcpCmnd = cmnd(lun, &cdb, data_len, Io::None);
        let fixed = fc::wire::fcp::FcpCmndFixed { flags: direction, ..iu.fixed };
        let bidirectional_read_len = (direction == 3).then_some(7);
        net.push_command(&host, TARGET, 1, &FcpCmnd { fixed, bidirectional_read_len, ..iu });
        for frame in net.run_fc() {
            if frame.header.r_ctl == RCtl::DATA_DESCRIPTOR && !data.is_empty() {
                let header = super::host::data_header(&host, &frame.header, 0, 0, true);
                net.push_fc(host.mac, &header, &data);
            }
        }
        while net.san.step(net.now) {}
        still_serves(&mut net, &host);
    }
}
