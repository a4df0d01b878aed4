//! Who is a neighbour, and for how long.

use super::*;
use crate::frame::FcFrame;
use crate::wire::els::{ElsCommand, ElsReply, Explanation, Logo, LsRjt, Reason};
use std::string::ToString;
use std::vec::Vec;

fn gone(port: &TestPort, reason: LossReason) -> Event {
    Event::NeighbourGone { id: port.id, port_name: port.port_name, reason }
}

#[test]
fn a_neighbour_has_claimed_its_id_and_kept_it() {
    let port = TestPort::new(1);
    let mut bench = Bench::claimed();
    bench.receive(&port.says(Operation::CLAIM_NOTIFICATION));
    assert_eq!((bench.refusals(), bench.events()), (vec![Some(Refusal::NoBeacon)], vec![]));
    bench.receive(&port.says(Operation::BEACON));
    assert_eq!((bench.refusals(), bench.events()), (vec![None], vec![Event::NeighbourUp(port.neighbour())]));
    bench.receive(&port.says(Operation::BEACON));
    assert_eq!(bench.events(), [], "it is told once");
}

#[test]
fn a_beacon_of_a_stranger_is_answered_by_a_claim() {
    let port = TestPort::new(1);
    let mut bench = Bench::claimed();
    bench.wait(SECOND);
    bench.receive(&port.says(Operation::BEACON));
    assert_eq!(bench.operations(), [Operation::CLAIM_NOTIFICATION]);
    assert_eq!((bench.refusals(), bench.events()), (vec![Some(Refusal::ClaimUnanswered)], vec![]));
    bench.receive(&port.says(Operation::CLAIM_RESPONSE));
    assert_eq!((bench.operations(), bench.events()), (vec![], vec![Event::NeighbourUp(port.neighbour())]));
}

#[test]
fn neighbours_are_told_of_when_others_know_that_we_are_there() {
    let port = TestPort::new(1);
    let mut bench = Bench::up(config(VlanChoice::Untagged));
    while bench.enode.phase() != Phase::Claiming {
        bench.wait(MILLI * 10);
    }
    bench.receive(&port.says(Operation::CLAIM_RESPONSE));
    bench.receive(&port.says(Operation::BEACON));
    let is_up = |event: &Event| matches!(event, Event::NeighbourUp(_));
    assert!(!bench.events().iter().any(is_up));
    let sent = bench.wait(ANNOUNCE_WAIT);
    assert_eq!(sent.last().unwrap().fip.operation, Operation::BEACON);
    assert_eq!(bench.events(), [Event::NeighbourUp(port.neighbour())]);
}

#[test]
fn who_was_here_before_us_need_not_send_a_beacon_first() {
    let (old, new) = (TestPort::new(1), TestPort::new(2));
    let mut bench = Bench::up(config(VlanChoice::Untagged));
    while bench.enode.phase() != Phase::Claiming {
        bench.wait(MILLI * 10);
    }
    bench.events();
    bench.receive(&old.says(Operation::CLAIM_RESPONSE));
    bench.receive(&new.says(Operation::CLAIM_RESPONSE));
    bench.receive(&new.says(Operation::CLAIM_NOTIFICATION));
    // It may have claimed its N_Port_ID just before we did.
    bench.wait(ANNOUNCE_WAIT);
    assert_eq!(bench.events(), []);
    bench.wait(ANNOUNCE_WAIT);
    assert_eq!(bench.events(), [Event::NeighbourUp(old.neighbour())]);
    assert_eq!(bench.refusals(), [None, Some(Refusal::NoBeacon)]);
}

#[test]
fn a_claim_is_answered_by_the_longest_frame_that_both_take() {
    for (ours, theirs, len) in [(2158, 2158, 2158), (1498, 2158, 1498), (2158, 1498, 1498), (2158, 0, 218)] {
        let port = TestPort { max_fcoe_size: theirs, ..TestPort::new(1) };
        let mut bench = Bench::up(Config { max_fcoe_size: ours, ..config(VlanChoice::Untagged) });
        bench.wait(SETTLED);
        bench.receive(&port.says(Operation::CLAIM_NOTIFICATION));
        let [response] = &bench.sent()[..] else { panic!("one response") };
        assert_eq!((response.fip.operation, response.fip.len()), (Operation::CLAIM_RESPONSE, len));
        assert_eq!((response.ethernet.destination, response.ethernet.source), (port.mac, OUR_MAC));
        assert_eq!(response.fip.max_fcoe_size(), Ok(ours));
    }
}

#[test]
fn what_is_against_a_neighbour_is_said() {
    let twin = TestPort { port_name: OUR_NAME, ..TestPort::new(1) };
    let tiny = TestPort { max_fcoe_size: 301, ..TestPort::new(2) };
    let mut bench = Bench::claimed();
    for port in [twin, tiny] {
        bench.receive(&port.says(Operation::CLAIM_NOTIFICATION));
        bench.receive(&port.says(Operation::BEACON));
    }
    let refusals = [Some(Refusal::OurName), Some(Refusal::TooSmall { max_fcoe_size: 301 })];
    assert_eq!((bench.refusals(), bench.events()), (refusals.to_vec(), vec![]));
    assert!(Refusal::ClaimUnanswered.to_string().contains("MTU"));
    // Neither may log in.
    bench.sent();
    for port in [twin, tiny] {
        bench.receive(&port.flogi());
        assert_eq!(bench.operations()[0], Operation::LINK_SERVICE_REPLY);
    }
    assert_eq!((bench.events(), bench.enode.counters().stranger), (vec![], 2));
    // With an MTU that is enough it is told.
    let grown = TestPort { max_fcoe_size: 302, ..tiny };
    bench.receive(&grown.says(Operation::CLAIM_RESPONSE));
    assert_eq!(bench.events(), [Event::NeighbourUp(grown.neighbour())]);
}

#[test]
fn silence_of_20_s_ends_a_neighbour() {
    let port = TestPort::new(1);
    let mut bench = Bench::with_neighbour(&port);
    for _ in 0..10 {
        bench.wait(SECOND * 19);
        bench.receive(&port.says(Operation::BEACON));
    }
    assert_eq!(bench.events(), []);
    bench.wait(SECOND * 20 - MILLI);
    assert_eq!(bench.events(), []);
    bench.wait(MILLI);
    assert_eq!((bench.events(), bench.refusals()), (vec![gone(&port, LossReason::Silent)], vec![]));
    // Who was never told of goes without a word.
    bench.receive(&TestPort::new(2).says(Operation::BEACON));
    bench.wait(SECOND * 30);
    assert_eq!((bench.events(), bench.refusals()), (vec![], vec![]));
}

#[test]
fn a_neighbour_that_is_another_one_now_has_gone_and_come() {
    let port = TestPort::new(1);
    let others = [
        TestPort { mac: MacAddr([2, 0, 0, 0, 0xee, 9]), ..port },
        TestPort { node_name: Wwn::from_u64(9), ..port },
        TestPort { port_name: Wwn::from_u64(9), ..port },
        TestPort { id: FcId([0, 0x20, 9]), ..port },
    ];
    for (i, other) in others.into_iter().enumerate() {
        let mut bench = Bench::with_neighbour(&port);
        bench.receive(&other.says(Operation::CLAIM_NOTIFICATION));
        let reason = if i == 3 { LossReason::Moved } else { LossReason::Replaced };
        assert_eq!(bench.events(), [gone(&port, reason)]);
        bench.receive(&other.says(Operation::BEACON));
        assert_eq!(bench.events(), [Event::NeighbourUp(other.neighbour())]);
    }
}

#[test]
fn a_neighbour_that_looks_for_its_id_anew_is_told_again_with_its_beacon() {
    let port = TestPort::new(1);
    for operation in [Operation::PROBE_REQUEST, Operation::CLAIM_NOTIFICATION] {
        let mut bench = Bench::with_neighbour(&port);
        bench.receive(&port.says(operation));
        assert_eq!((bench.events(), bench.refusals()), (vec![], vec![Some(Refusal::NoBeacon)]));
        bench.receive(&port.says(Operation::BEACON));
        assert_eq!(bench.events(), [Event::NeighbourUp(port.neighbour())]);
        // If it has gone silent instead, it is gone.
        bench.receive(&port.says(operation));
        bench.wait(SECOND * 20);
        assert_eq!(bench.events(), [gone(&port, LossReason::Silent)]);
    }
}

#[test]
fn neighbours_are_bounded() {
    let port = |number: usize| {
        let [.., high, low] = number.to_be_bytes();
        let mac = MacAddr([2, 0, 0, 1, high, low]);
        let id = FcId([0, 0x40 + high, low]);
        TestPort { mac, id, port_name: Wwn::from_mac(0x2000, mac), ..TestPort::new(1) }
    };
    let mut bench = Bench::claimed();
    let mut ups = 0;
    for number in 0..MAX_NEIGHBOURS + 3 {
        bench.receive(&port(number).says(Operation::CLAIM_NOTIFICATION));
        bench.receive(&port(number).says(Operation::BEACON));
        ups += bench.events().len();
        bench.sent();
    }
    assert_eq!((ups, bench.enode.neighbours().len()), (MAX_NEIGHBOURS, MAX_NEIGHBOURS));
    assert_eq!(bench.enode.counters().too_many_neighbours, 6);
    // All are lost at once.
    bench.enode.handle_timeout(bench.now + SECOND * 20);
    assert_eq!(bench.events().len(), MAX_NEIGHBOURS);
}

#[test]
fn a_login_is_carried_both_ways() {
    let port = TestPort::new(1);
    let mut bench = Bench::with_neighbour(&port);
    bench.receive(&port.flogi());
    let [Event::ElsRequest { from, kind: ElsKind::Flogi, frame }] = &bench.events()[..] else {
        panic!("the login is told")
    };
    assert_eq!((*from, frame.header.s_id), (port.neighbour(), port.id));
    let mac = Enode::fcoe_destination(OUR_ID);
    for (reply, macs) in [(ElsReply::Accept, vec![mac]), (LsRjt::UNSUPPORTED.into(), vec![])] {
        let FcFrame { header, payload } = FcFrame::els_reply(&frame.header, reply.to_payload());
        bench.enode.send_els(ElsKind::Flogi, header, &payload, mac).unwrap();
        let [sent] = &bench.sent()[..] else { panic!("one reply") };
        assert_eq!(sent.fip.operation, Operation::LINK_SERVICE_REPLY);
        assert_eq!((sent.ethernet.destination, sent.ethernet.source), (port.mac, OUR_MAC));
        assert_eq!(sent.fip.macs().collect::<Vec<_>>(), macs);
    }

    let logo = ElsRequest::Logo(Logo::new(OUR_ID, OUR_NAME)).to_payload();
    let kind = (RCtl::ELS_REQUEST, FcType::ELS);
    let request = FcFrame::request(kind, OUR_ID, port.id, 7, logo.clone());
    bench.enode.send_els(ElsKind::Logo, request.header, &logo, mac).unwrap();
    assert_eq!(bench.sent()[0].fip.operation, Operation::LINK_SERVICE_REQUEST);
    let accept = FcFrame::els_reply(&request.header, ElsReply::Accept.to_payload());
    let els = Els { kind: ElsKind::Logo, header: accept.header, payload: accept.payload.clone() };
    let descriptors = vec![Descriptor::Els(els), Descriptor::Mac(port.port_mac())];
    let reply = FipFrame::new(Operation::LINK_SERVICE_REPLY, Flags::NONE, descriptors);
    bench.receive(&reply.to_ethernet(OUR_MAC, port.mac, None));
    assert_eq!(bench.events(), [Event::ElsReply(accept)]);
    // Another ENode can't speak for it, and a port that isn't there can't be asked.
    bench.receive(&reply.to_ethernet(OUR_MAC, TestPort::new(2).mac, None));
    assert_eq!((bench.events(), bench.enode.counters().stranger), (vec![], 1));
    let nobody = FcFrame::request(kind, OUR_ID, FcId([0, 9, 9]), 7, logo.clone());
    assert_eq!(bench.enode.send_els(ElsKind::Logo, nobody.header, &logo, mac), Err(NoNeighbour));
}

#[test]
fn a_stranger_s_login_is_rejected_and_a_claim_lets_it_become_a_neighbour() {
    let port = TestPort::new(1);
    let mut bench = Bench::claimed();
    bench.wait(SECOND);
    bench.receive(&port.flogi());
    let [reject, claim] = &bench.sent()[..] else { panic!("a reject and a claim") };
    assert_eq!(reject.ethernet.destination, port.mac);
    let els = reject.fip.els().unwrap();
    assert_eq!((els.header.s_id, els.header.d_id, els.header.ox_id.get()), (OUR_ID, port.id, 0x10));
    let not_neighbour = LsRjt::new(Reason::FIP, Explanation::NOT_NEIGHBOUR);
    assert_eq!(ElsReply::parse(ElsCommand::FLOGI, &els.payload), Ok(not_neighbour.into()));
    assert_eq!(claim.fip.operation, Operation::CLAIM_NOTIFICATION);
    // It answers, and tries again before its next beacon.
    bench.receive(&port.says(Operation::CLAIM_RESPONSE));
    assert_eq!(bench.events(), []);
    bench.receive(&port.flogi());
    assert!(matches!(bench.events()[..], [Event::ElsRequest { .. }]));
    bench.receive(&port.says(Operation::BEACON));
    assert_eq!(bench.events(), [], "its login has told already that it is there");
}

#[test]
fn frames_that_are_wrong_are_counted_by_what_is_wrong_with_them() {
    let port = TestPort::new(1);
    let mut bench = Bench::claimed();
    let wrong_port = VxPort { mac: port.mac, fc_id: port.id, port_name: port.port_name };
    let mut claim_without_size = port.frame(Operation::CLAIM_NOTIFICATION, Flags::NONE);
    claim_without_size.descriptors.pop();
    let mut other_mac = port.frame(Operation::BEACON, Flags::NONE);
    other_mac.descriptors[2] = Descriptor::VxPort(wrong_port);
    let group = MacAddr::ALL_VN2VN_ENODE;
    let all = MacAddr::ALL_FCF;
    let beacon = port.frame(Operation::BEACON, Flags::NONE);
    let reserved = TestPort { id: FcId([0, 0xff, 0xff]), ..port };
    let solicitation = FipFrame::new(Operation::SOLICITATION, Flags::NONE, vec![Descriptor::Mac(port.mac)]);
    let frames = [
        claim_without_size.to_ethernet(group, port.mac, None),
        other_mac.to_ethernet(group, port.mac, None),
        reserved.says(Operation::BEACON),
        beacon.to_ethernet(all, port.mac, None),
        beacon.to_ethernet(group, TestPort::new(2).mac, None),
        beacon.to_ethernet(group, port.mac, Some(VlanTag::new(5, 0))),
        solicitation.to_ethernet(group, port.mac, None),
    ];
    frames.iter().for_each(|frame| bench.receive(frame));
    let expected = Counters {
        received: 7,
        sent: bench.enode.counters().sent,
        missing_descriptor: 1,
        malformed: 2,
        not_for_us: 1,
        bad_source: 1,
        wrong_vlan: 1,
        unexpected: 1,
        ..Counters::default()
    };
    assert_eq!((*bench.enode.counters(), bench.refusals()), (expected, vec![]));
}
