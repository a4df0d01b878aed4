//! The captures' FIP frames: every one decodes and encodes again to the same bytes.

mod common;

use common::golden_frames;
use fc::wire::ethernet::{EtherType, EthernetHeader, MAX_HEADER_LEN};
use fc::wire::fip::{ElsKind, FipFrame, Flags, MAX_FCOE_SIZE, Operation};
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
