//! How an N_Port_ID is found, kept and lost, and when.

use super::*;
use std::collections::BTreeSet;
use std::vec::Vec;

/// The times of the frames of one operation, since the bench's link came up.
fn times(sent: &[Sent], operation: Operation) -> Vec<Duration> {
    let of_kind = sent.iter().filter(|sent| sent.fip.operation == operation);
    of_kind.map(|sent| sent.at - (Instant::ZERO + SECOND)).collect()
}

#[test]
fn an_id_is_claimed_in_the_kernels_time() {
    let mut first_probes = BTreeSet::new();
    for seed in 0..50 {
        let mut bench = Bench::up(Config { seed, ..config(VlanChoice::Untagged) });
        let sent = bench.wait(SECOND * 60);
        let [first, second] = times(&sent, Operation::PROBE_REQUEST)[..] else { panic!("{sent:?}") };
        assert!(first <= MAX_PROBE_DELAY);
        first_probes.insert(first);
        assert_eq!(second - first, MILLI * 100);
        assert_eq!(times(&sent, Operation::CLAIM_NOTIFICATION), [second + MILLI * 400]);
        let beacons = times(&sent, Operation::BEACON);
        assert_eq!(beacons[..2], [second + MILLI * 800, second + MILLI * 1200]);
        assert_eq!(beacons.len(), 2 + 7);
        for pair in beacons[1..].windows(2) {
            assert!((SECOND * 8..=SECOND * 8 + MAX_BEACON_DELAY).contains(&(pair[1] - pair[0])));
        }
        assert_eq!(sent.len(), 2 + 1 + beacons.len());
    }
    assert!(first_probes.len() > 40, "ports that get their link at once don't all probe at once");
}

#[test]
fn frames_come_from_the_enode_but_beacons_from_the_port() {
    let mut bench = Bench::up(config(VlanChoice::Fixed(100)));
    for sent in bench.wait(SECOND * 10) {
        let is_beacon = sent.fip.operation == Operation::BEACON;
        let source = if is_beacon { MacAddr([0x0e, 0xfd, 0, 0, 0x0e, 0x0e]) } else { OUR_MAC };
        assert_eq!(sent.ethernet.source, source);
        assert_eq!(sent.ethernet.destination, MacAddr::ALL_VN2VN_ENODE);
        assert_eq!(sent.ethernet.vlan, Some(VlanTag::new(100, 3)));
        assert_eq!((sent.fip.mac(), sent.fip.name()), (Ok(OUR_MAC), Ok(bench.enode.config().node_name)));
        let port = VxPort { mac: Enode::fcoe_destination(OUR_ID), fc_id: OUR_ID, port_name: OUR_NAME };
        assert_eq!(sent.fip.vx_port(), Ok(port));
    }
}

#[test]
fn reserved_ids_are_never_taken() {
    for low in [0, 0xffff] {
        let port_name = Wwn::from_u64(0x2000_0000_0000_0000 | low);
        let mut bench = Bench::up(Config { port_name, ..config(VlanChoice::Untagged) });
        bench.wait(SETTLED);
        let id = bench.id().unwrap().to_u32();
        assert!((1..=0xfffe).contains(&id), "{id:x}");
    }
}

#[test]
fn an_id_that_stood_is_tried_first_when_the_link_is_back() {
    let mut bench = Bench::up(config(VlanChoice::Untagged));
    bench.receive(&TestPort::rival(true).says(Operation::PROBE_REPLY));
    bench.wait(SETTLED);
    let id = bench.id().unwrap();
    assert_ne!(id, OUR_ID);
    bench.enode.link_down();
    assert_eq!((bench.id(), bench.enode.poll_timeout()), (None, None));
    bench.enode.link_up(bench.now);
    bench.wait(SETTLED);
    assert_eq!(bench.id(), Some(id));
    // It is another port's now.
    bench.receive(&TestPort { id, ..TestPort::rival(true) }.says(Operation::BEACON));
    assert_eq!(bench.id(), None);
    bench.enode.link_up(bench.now);
    bench.wait(SETTLED);
    assert_eq!(bench.id(), Some(OUR_ID));
}

#[test]
fn an_id_that_a_neighbour_has_is_not_drawn() {
    let mut bench = Bench::claimed();
    for number in 0..200 {
        let id = FcId::from_u32(u32::from(bench.enode.jitter.clone().number()));
        if id != OUR_ID && id.to_u32() != 0 && id.to_u32() != 0xffff {
            bench.receive(&TestPort { id, ..TestPort::new(number) }.says(Operation::CLAIM_NOTIFICATION));
            assert_ne!(bench.enode.random_id(), id);
        }
    }
}

#[test]
fn whoever_objects_to_everything_slows_us_down_only() {
    let mut bench = Bench::up(config(VlanChoice::Untagged));
    let (start, mut probes) = (bench.now, 0);
    while bench.now < start + SECOND * 600 {
        for sent in bench.wait(MILLI * 10) {
            if sent.fip.operation == Operation::PROBE_REQUEST {
                probes += 1;
                let id = sent.fip.vx_port().unwrap().fc_id;
                bench.receive(&TestPort { id, ..TestPort::new(1) }.says(Operation::PROBE_REPLY));
            }
        }
    }
    assert_eq!(bench.enode.counters().conflicts, probes);
    assert!((60..=70).contains(&probes), "ten at once, then one in 10 s: {probes}");
    // It has gone away.
    bench.wait(CONFLICT_WAIT + SECOND);
    assert_eq!(bench.enode.phase(), Phase::Claimed);
    bench.wait(SECOND * 9);
    assert_eq!(bench.enode.conflicts, 0, "the next conflict is a first one");
}

#[test]
fn a_rival_is_not_answered_more_often_than_it_needs() {
    let rival = TestPort::rival(false);
    let mut bench = Bench::claimed();
    bench.sent();
    for _ in 0..100 {
        bench.receive(&rival.says(Operation::CLAIM_NOTIFICATION));
        bench.now = bench.now + MILLI;
    }
    assert_eq!(bench.operations(), [Operation::CLAIM_NOTIFICATION]);
    bench.now = bench.now + ANNOUNCE_WAIT;
    bench.receive(&rival.says(Operation::CLAIM_NOTIFICATION));
    assert_eq!(bench.operations(), [Operation::CLAIM_NOTIFICATION]);
    assert_eq!(bench.id(), Some(OUR_ID));
}

#[test]
fn of_ports_with_one_name_the_higher_mac_keeps_the_id() {
    for (mac, keeps) in [(MacAddr([2, 0, 0, 0, 0, 1]), true), (MacAddr([2, 0, 0, 0, 0, 0xff]), false)] {
        let twin = TestPort { mac, port_name: OUR_NAME, ..TestPort::rival(false) };
        let mut bench = Bench::claimed();
        bench.receive(&twin.says(Operation::BEACON));
        assert_eq!(bench.id().is_some(), keeps);
    }
}

#[test]
fn our_own_frames_come_back_without_effect() {
    let mut bench = Bench { enode: Enode::new(config(VlanChoice::Untagged)), now: Instant::ZERO };
    bench.enode.link_up(bench.now);
    let end = bench.now + SECOND * 10;
    let mut echoed = 0;
    while let Some(at) = bench.enode.poll_timeout().filter(|&at| at <= end) {
        bench.now = at;
        bench.enode.handle_timeout(at);
        while let Some(frame) = bench.enode.poll_transmit() {
            bench.receive(&frame);
            echoed += 1;
        }
    }
    assert_eq!((bench.id(), bench.enode.counters().bad_source), (Some(OUR_ID), echoed));
}

#[test]
fn a_port_that_believes_to_be_alone_with_another_is_shown_more() {
    let port = TestPort::new(1);
    let mut bench = Bench::claimed();
    bench.sent();
    for operation in [Operation::CLAIM_NOTIFICATION, Operation::BEACON] {
        let frame = port.frame(operation, Flags::RECORDED);
        bench.receive(&frame.to_ethernet(MacAddr::ALL_VN2VN_ENODE, port.mac, None));
        assert_eq!(bench.operations(), [Operation::PROBE_REQUEST]);
    }
    assert_eq!((bench.enode.neighbours(), bench.events()), (vec![], vec![]));
}
