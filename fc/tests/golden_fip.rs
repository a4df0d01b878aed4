//! The captures' FIP frames: every one decodes and encodes again to the same bytes.

mod common;

use common::golden_frames;
use fc::fip::{Config, Enode, Event, VlanChoice};
use fc::time::{Duration, Instant};
use fc::wire::ethernet::{EtherType, EthernetHeader, MAX_HEADER_LEN, MIN_FRAME_LEN};
use fc::wire::fip::{ElsKind, FipFrame, Flags, MAX_FCOE_SIZE, Operation, VxPort};
use fc::wire::{FcId, MacAddr, Wwn};
use std::collections::BTreeMap;

/// Every FIP frame with the Ethernet header before it.
fn fip_frames() -> impl Iterator<Item = (String, Vec<u8>, EthernetHeader, FipFrame)> {
    golden_frames().into_iter().filter_map(|(capture, number, bytes)| {
        let (ethernet, payload) = EthernetHeader::parse(&bytes).unwrap();
        if ethernet.ethertype != EtherType::FIP {
            return None;
        }
        let at = format!("{capture} frame {number}");
        let fip = FipFrame::parse(payload).unwrap_or_else(|error| panic!("{at}: {error}"));
        Some((at, bytes, ethernet, fip))
    })
}

#[test]
fn every_fip_frame_encodes_to_the_same_bytes() {
    let mut counts = BTreeMap::new();
    for (at, bytes, ethernet, fip) in fip_frames() {
        let mut again = vec![0xa5; MAX_HEADER_LEN + fip.len()];
        let mut len = ethernet.emit(&mut again);
        len += fip.emit(&mut again[len..]);
        assert_eq!(again[..len], bytes, "{at}");
        *counts.entry(fip.operation).or_insert(0) += 1;
    }
    let expected = [
        (Operation::SOLICITATION, 6),
        (Operation::ADVERTISEMENT, 4),
        (Operation::LINK_SERVICE_REQUEST, 23),
        (Operation::LINK_SERVICE_REPLY, 13),
        (Operation::KEEP_ALIVE, 1),
        (Operation::VLAN_REQUEST, 50),
        (Operation::VLAN_NOTIFICATION, 1),
        (Operation::PROBE_REQUEST, 17),
        (Operation::PROBE_REPLY, 1),
        (Operation::CLAIM_NOTIFICATION, 14),
        (Operation::CLAIM_RESPONSE, 10),
        (Operation::BEACON, 40),
    ];
    assert_eq!(counts, BTreeMap::from(expected));
}

#[test]
fn a_solicited_advertisement_is_padded_to_the_size_it_proves() {
    let solicited = fip_frames().filter(|(_, _, _, fip)| {
        fip.operation == Operation::ADVERTISEMENT && fip.flags.has(Flags::SOLICITED)
    });
    let lens: Vec<_> = solicited.map(|(_, _, _, fip)| fip.len()).collect();
    assert_eq!(lens, [usize::from(MAX_FCOE_SIZE); 2]);
}

#[test]
fn a_fabric_login_grants_the_mac_of_fc_map_and_n_port_id() {
    let mut count = 0;
    for (at, _, _, fip) in fip_frames() {
        if fip.operation == Operation::LINK_SERVICE_REPLY && fip.flags.has(Flags::FPMA) {
            let els = fip.els().unwrap();
            assert_eq!(els.kind, ElsKind::Flogi, "{at}");
            assert_eq!(fip.mac().unwrap().fc_id(), els.header.d_id, "{at}");
            count += 1;
        }
    }
    assert_eq!(count, 2);
}

/// An ENode with the names of the one in the capture, answered by the captured FCF.
#[test]
fn an_enode_sends_what_the_kernels_sends() {
    let mac: MacAddr = "52:54:00:fc:00:06".parse().unwrap();
    let of = |operation: Operation| -> Vec<_> {
        fip_frames()
            .filter(|(at, ..)| at.starts_with("f1-"))
            .filter(|(_, _, ethernet, fip)| {
                fip.operation == operation && (ethernet.source == mac || ethernet.destination == mac)
            })
            .map(|(_, bytes, ethernet, fip)| (bytes, ethernet, fip))
            .collect()
    };
    let mut now = Instant::ZERO;
    let node_name = Wwn::from_mac(0x1000, mac);
    let mut enode = Enode::new(Config { vlan: VlanChoice::Untagged, ..Config::new(mac, node_name) });
    enode.link_up(now);
    let expect = |enode: &mut Enode, operation: Operation| {
        let mut expected = of(operation).remove(0).0;
        expected.resize(expected.len().max(MIN_FRAME_LEN), 0);
        assert_eq!(enode.poll_transmit(), Some(expected), "{operation:?}");
    };
    let answer = |enode: &mut Enode, now: Instant, operation: Operation| {
        let (bytes, ethernet, _) = of(operation).remove(0);
        enode.handle_frame(now, &ethernet, &bytes[ethernet.len()..]);
    };
    expect(&mut enode, Operation::SOLICITATION);
    answer(&mut enode, now, Operation::ADVERTISEMENT);
    now = now + Duration::from_secs(2);
    enode.handle_timeout(now);
    let fcf = *enode.selected().expect("the FCF is usable");
    assert_eq!((fcf.fka.period_ms, fcf.fka.no_keep_alives, fcf.priority), (8000, false, 128));
    assert!(matches!(enode.poll_event(), Some(Event::VlanChosen { vlan: None })));
    assert_eq!(enode.poll_event(), Some(Event::FcfSelected(fcf)));
    while enode.poll_transmit().is_some() {}

    let request = of(Operation::LINK_SERVICE_REQUEST).remove(0).2;
    let els = request.els().unwrap();
    enode.send_els(els.kind, els.header, &els.payload, MacAddr::ZERO).unwrap();
    expect(&mut enode, Operation::LINK_SERVICE_REQUEST);
    answer(&mut enode, now, Operation::LINK_SERVICE_REPLY);
    let fc_id = FcId::from_u32(0x01_0101);
    let granted = MacAddr::fabric_provided([0x0e, 0xfc, 0], fc_id);
    let Some(Event::ElsReply(reply)) = enode.poll_event() else { panic!("FLOGI is accepted") };
    assert_eq!((reply.granted_mac, reply.header.d_id, reply.fcoe_mac), (Some(granted), fc_id, None));

    enode.add_vn_port(now, VxPort { mac: granted, fc_id, port_name: Wwn::from_mac(0x2000, mac) }).unwrap();
    enode.handle_timeout(now + Duration::from_secs(8));
    expect(&mut enode, Operation::KEEP_ALIVE);
    assert_eq!(enode.counters().received, 2);
}
