//! The virtual link: logins, keep-alives, and the ways in which it ends.

use super::*;

const PORT_1: u8 = 1;

fn lost(fcf: &TestFcf, reason: LostReason) -> Event {
    Event::FcfLost { fcf: fcf.mac, reason }
}

#[test]
fn an_els_goes_to_the_fcf_and_its_reply_comes_back() {
    let fcf = TestFcf { vlan: Some(VlanTag::new(VLAN, 3)), ..TestFcf::new(1) };
    let mut bench = Bench::linked(&fcf);
    let header = els_header(FcId::F_PORT, FcId::UNASSIGNED);
    bench.enode.send_els(ElsKind::Flogi, header, &[4, 0, 0, 0], MacAddr::ZERO).unwrap();
    let [request] = &bench.sent()[..] else { panic!("one request") };
    assert_eq!((request.ethernet.destination, request.ethernet.source), (fcf.mac, ENODE));
    assert_eq!((request.ethernet.vlan, request.fip.flags), (fcf.vlan, Flags::FPMA));
    let els = Els { kind: ElsKind::Flogi, header, payload: vec![4, 0, 0, 0] };
    assert_eq!(request.fip.descriptors, [Descriptor::Els(els), Descriptor::Mac(MacAddr::ZERO)]);

    let port = vn_port(PORT_1);
    let fcoe_mac = MacAddr([2, 0, 0, 0, 0xfc, 0x99]);
    bench.receive(&fcf.reply(ElsKind::Flogi, 2, port.fc_id, &[port.mac, fcoe_mac]));
    let [Event::ElsReply(reply)] = &bench.events()[..] else { panic!("one reply") };
    assert_eq!((reply.granted_mac, reply.fcoe_mac), (Some(port.mac), Some(fcoe_mac)));
    assert_eq!(reply.payload, [2, 0, 0, 0]);
    assert_eq!(bench.enode.fcoe_destination(), Some(fcoe_mac));

    bench.receive(&fcf.reply(ElsKind::Fdisc, 1, FcId::UNASSIGNED, &[]));
    let [Event::ElsReply(reject)] = &bench.events()[..] else { panic!("one reject") };
    assert_eq!((reject.kind, reject.granted_mac, reject.payload[0]), (ElsKind::Fdisc, None, 1));
}

#[test]
fn a_login_without_a_proper_address_is_dropped() {
    let fcf = TestFcf::new(1);
    let mut bench = Bench::linked(&fcf);
    let port = vn_port(PORT_1);
    let other_map = MacAddr::fabric_provided([0x0e, 0xfc, 9], port.fc_id);
    for macs in [&[][..], &[MacAddr::ZERO], &[MacAddr::ALL_FCF], &[other_map], &[vn_port(2).mac]] {
        bench.receive(&fcf.reply(ElsKind::Flogi, 2, port.fc_id, macs));
    }
    assert_eq!(bench.enode.counters().bad_granted_mac, 5);
    let stranger = TestFcf::new(2);
    bench.receive(&stranger.reply(ElsKind::Flogi, 2, port.fc_id, &[port.mac]));
    assert_eq!(bench.enode.counters().foreign, 1);
    assert!(bench.events().is_empty());
}

#[test]
fn keep_alives_flow_while_there_are_vn_ports() {
    let fcf = TestFcf::new(1);
    let mut bench = Bench::linked(&fcf);
    assert!(bench.wait_with(SECOND * 300, &fcf).is_empty(), "no VN_Port, no keep-alive");
    for number in [1, 2] {
        bench.enode.add_vn_port(bench.now, vn_port(number)).unwrap();
    }
    let begin = bench.now;
    let sent = bench.wait_with(SECOND * 900, &fcf);
    let (enodes, ports): (Vec<_>, Vec<_>) = sent.iter().partition(|sent| sent.ethernet.source == ENODE);
    assert!(
        sent.iter().all(|s| s.fip.operation == Operation::KEEP_ALIVE && s.ethernet.destination == fcf.mac)
    );
    assert!((112..=125).contains(&enodes.len()), "{}", enodes.len());
    assert!(enodes.iter().all(|sent| sent.fip.descriptors == [Descriptor::Mac(ENODE)]));
    let mut previous = begin;
    for sent in &enodes {
        assert!(sent.at - previous <= SECOND * 8, "the FCF never waits longer than the period");
        previous = sent.at;
    }
    for port in [vn_port(1), vn_port(2)] {
        let own: Vec<_> = ports.iter().filter(|sent| sent.ethernet.source == port.mac).collect();
        assert!((10..=12).contains(&own.len()), "{}", own.len());
        assert!(own.iter().all(|s| s.fip.descriptors == [Descriptor::Mac(ENODE), Descriptor::VxPort(port)]));
    }
    bench.enode.remove_vn_port(vn_port(1).port_name);
    let sent = bench.wait_with(SECOND * 100, &fcf);
    assert!(sent.iter().all(|sent| sent.ethernet.source != vn_port(1).mac));
    bench.enode.remove_vn_port(vn_port(2).port_name);
    assert!(bench.wait_with(SECOND * 300, &fcf).is_empty());
}

#[test]
fn the_d_bit_stops_the_enodes_keep_alives_only() {
    let fka = FkaAdvPeriod { no_keep_alives: true, period_ms: 8000 };
    let fcf = TestFcf { fka, ..TestFcf::new(1) };
    let mut bench = Bench::linked(&fcf);
    bench.enode.add_vn_port(bench.now, vn_port(1)).unwrap();
    let sent = bench.wait_with(SECOND * 180, &fcf);
    assert!(!sent.is_empty() && sent.iter().all(|sent| sent.ethernet.source == vn_port(1).mac));
}

#[test]
fn a_shorter_period_counts_from_its_advertisement_on() {
    let slow = TestFcf { fka: FkaAdvPeriod { no_keep_alives: false, period_ms: 90_000 }, ..TestFcf::new(1) };
    let mut bench = Bench::linked(&slow);
    bench.enode.add_vn_port(bench.now, vn_port(1)).unwrap();
    let fast = TestFcf { fka: FkaAdvPeriod { no_keep_alives: false, period_ms: 1000 }, ..slow };
    let sent = bench.wait_with(SECOND * 10, &fast);
    assert!(sent.iter().filter(|sent| sent.ethernet.source == ENODE).count() >= 9);
}

#[test]
fn an_fcf_that_is_silent_for_two_and_a_half_periods_is_gone() {
    let fcf = TestFcf::new(1);
    let mut bench = Bench::linked(&fcf);
    bench.receive(&fcf.multicast());
    bench.wait(MILLI * 11_999);
    assert_eq!(bench.enode.counters().advertisements_missed, 0);
    bench.wait(MILLI);
    assert_eq!(bench.enode.counters().advertisements_missed, 1);
    bench.wait(MILLI * 7999);
    assert_eq!(bench.selected(), Some(fcf.mac));
    bench.wait(MILLI);
    assert_eq!(bench.events(), [lost(&fcf, LostReason::AdvertisementsMissed)]);
    let sent = bench.wait(SECOND * 2);
    assert_eq!(sent[0].fip.operation, Operation::SOLICITATION, "and looked for again");
    bench.receive(&fcf.solicited());
    bench.wait(SECOND * 2);
    assert_eq!(bench.selected(), Some(fcf.mac));
}

#[test]
fn another_fcf_takes_over_at_once() {
    let (first, second) = (TestFcf { priority: 1, ..TestFcf::new(1) }, TestFcf::new(2));
    let both = |bench: &mut Bench| [first, second].iter().for_each(|fcf| bench.receive(&fcf.solicited()));
    let mut bench = Bench::linked(&first);
    both(&mut bench);
    assert_eq!(bench.selected(), Some(first.mac));
    bench.wait_with(SECOND * 20, &second);
    let events = bench.events();
    assert_eq!(events[0], lost(&first, LostReason::AdvertisementsMissed));
    assert!(matches!(events[1], Event::FcfSelected(fcf) if fcf.mac == second.mac));

    // A link that works isn't given up for a better FCF.
    both(&mut bench);
    bench.wait_with(SECOND * 4, &second);
    assert_eq!(bench.selected(), Some(second.mac));
    bench.enode.login_failed(bench.now);
    let events = bench.events();
    assert_eq!(events[0], lost(&second, LostReason::LoginFailed));
    assert!(matches!(events[1], Event::FcfSelected(fcf) if fcf.mac == first.mac));
    assert_eq!(bench.refusals().iter().flatten().collect::<Vec<_>>(), [&Refusal::LoginFailed]);
}

#[test]
fn the_only_fcf_is_tried_again_after_a_failed_login() {
    let fcf = TestFcf::new(1);
    let mut bench = Bench::linked(&fcf);
    bench.enode.login_failed(bench.now);
    bench.receive(&fcf.solicited());
    bench.wait_with(MILLI * 9999, &fcf);
    assert_eq!((bench.selected(), bench.refusals()), (None, vec![Some(Refusal::LoginFailed)]));
    bench.wait(MILLI);
    assert_eq!(bench.selected(), Some(fcf.mac));
}

#[test]
fn clearing_all_virtual_links_starts_the_search_anew() {
    let fcf = TestFcf::new(1);
    let mut bench = Bench::linked(&fcf);
    bench.enode.add_vn_port(bench.now, vn_port(1)).unwrap();
    bench.receive(&fcf.frame(ENODE, &fcf.clear(&[])));
    assert_eq!(bench.events(), [lost(&fcf, LostReason::ClearVirtualLinks)]);
    assert_eq!(bench.enode.phase(), Phase::FcfDiscovery);
    assert_eq!(bench.enode.add_vn_port(bench.now, vn_port(1)), Err(VnPortError::NotLinked));
    let sent = bench.wait(SECOND);
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].fip.operation, Operation::SOLICITATION);
    bench.receive(&fcf.solicited());
    bench.wait(SECOND * 2);
    assert_eq!(bench.selected(), Some(fcf.mac));
    assert!(bench.wait_with(SECOND * 100, &fcf).is_empty(), "the VN_Port went with its link");
}

#[test]
fn clearing_some_vn_ports_leaves_the_others() {
    let fcf = TestFcf::new(1);
    let mut bench = Bench::linked(&fcf);
    for number in [1, 2, 3] {
        bench.enode.add_vn_port(bench.now, vn_port(number)).unwrap();
    }
    bench.receive(&fcf.frame(ENODE, &fcf.clear(&[vn_port(3), vn_port(1), vn_port(9)])));
    assert_eq!(bench.events(), [Event::VnPortsCleared(vec![vn_port(1), vn_port(3)])]);
    let sent = bench.wait_with(SECOND * 100, &fcf);
    let sources: Vec<_> = sent.iter().map(|sent| sent.ethernet.source).filter(|&mac| mac != ENODE).collect();
    assert!(!sources.is_empty() && sources.iter().all(|&mac| mac == vn_port(2).mac));
}

#[test]
fn a_clear_virtual_link_must_name_the_fcf_three_times() {
    let fcf = TestFcf::new(1);
    let stranger = TestFcf::new(2);
    let mut bench = Bench::linked(&fcf);
    bench.enode.add_vn_port(bench.now, vn_port(1)).unwrap();
    bench.receive(&stranger.frame(ENODE, &stranger.clear(&[])));
    bench.receive(&stranger.frame(ENODE, &fcf.clear(&[])));
    bench.receive(&fcf.frame(ENODE, &stranger.clear(&[])));
    bench.receive(&fcf.frame(ENODE, &TestFcf { name: stranger.name, ..fcf }.clear(&[])));
    bench.receive(&fcf.frame(MacAddr::ALL_ENODE, &fcf.clear(&[])));
    bench.receive(&fcf.frame(ENODE, &fcf.clear(&[vn_port(9)])));
    let moved = VxPort { mac: vn_port(9).mac, ..vn_port(1) };
    bench.receive(&fcf.frame(ENODE, &fcf.clear(&[moved])));
    assert_eq!(bench.enode.counters().foreign, 7);
    for missing in 0..2 {
        let mut clear = fcf.clear(&[]);
        clear.descriptors.remove(missing);
        bench.receive(&fcf.frame(ENODE, &clear));
    }
    assert_eq!(bench.enode.counters().missing_descriptor, 2);
    assert!(bench.events().is_empty());
    assert_eq!(bench.selected(), Some(fcf.mac));
}

#[test]
fn an_fcf_that_comes_back_as_another_switch_is_a_new_one() {
    let fcf = TestFcf::new(1);
    let mut bench = Bench::linked(&fcf);
    let renamed = TestFcf { name: Wwn::from_u64(5), ..fcf };
    bench.receive(&renamed.multicast());
    assert_eq!(bench.events(), [lost(&fcf, LostReason::Changed)]);
    assert_eq!(bench.refusals(), [Some(Refusal::NotSolicited)]);
    bench.receive(&renamed.solicited());
    bench.wait(SECOND * 3);
    assert_eq!(bench.enode.selected().map(|fcf| fcf.switch_name), Some(renamed.name));
    // One that takes no new logins keeps those that it has.
    bench.events();
    bench.receive(&TestFcf { flags: Flags::FPMA, ..renamed }.multicast());
    assert_eq!((bench.events(), bench.selected()), (vec![], Some(fcf.mac)));
}

#[test]
fn a_link_that_goes_and_comes_starts_anew() {
    let fcf = TestFcf::new(1);
    let mut bench = Bench::linked(&fcf);
    bench.enode.add_vn_port(bench.now, vn_port(1)).unwrap();
    bench.enode.link_down();
    bench.enode.link_down();
    assert_eq!(bench.events(), [lost(&fcf, LostReason::LinkDown)]);
    assert_eq!((bench.enode.poll_timeout(), bench.sent()), (None, vec![]));
    bench.receive(&fcf.solicited());
    assert_eq!(bench.enode.counters().unexpected, 1);
    let header = els_header(FcId::F_PORT, FcId::UNASSIGNED);
    assert_eq!(bench.enode.send_els(ElsKind::Flogi, header, &[4, 0, 0, 0], MacAddr::ZERO), Err(NotLinked));
    bench.enode.link_up(bench.now);
    assert_eq!(bench.sent()[0].fip.operation, Operation::SOLICITATION);
    assert_eq!(bench.selected(), None);
}

#[test]
fn vn_ports_are_bounded_and_all_of_them_are_kept_alive() {
    let fcf = TestFcf::new(1);
    let mut bench = Bench::linked(&fcf);
    let port = |number: usize| {
        let fc_id = FcId::from_u32(0x01_0000 + u32::try_from(number).unwrap());
        // They may share the address that their ENode proposes.
        VxPort { mac: ENODE, fc_id, port_name: Wwn::from_u64(number as u64) }
    };
    for number in 0..MAX_VN_PORTS {
        bench.enode.add_vn_port(bench.now, port(number)).unwrap();
    }
    assert_eq!(bench.enode.add_vn_port(bench.now, port(MAX_VN_PORTS)), Err(VnPortError::TooMany));
    assert_eq!(bench.enode.add_vn_port(bench.now, port(0)), Ok(()), "a port that is there already");
    // The driver was asleep: everything is due at once, and once only.
    bench.receive(&fcf.multicast());
    bench.now = bench.now + SECOND * 19;
    bench.receive(&fcf.multicast());
    bench.now = bench.now + SECOND * 19;
    for _ in 0..4 {
        bench.receive(&fcf.multicast());
        bench.now = bench.now + SECOND * 19;
    }
    bench.enode.handle_timeout(bench.now);
    assert_eq!(bench.sent().len(), MAX_VN_PORTS + 1);
    bench.enode.handle_timeout(bench.now);
    assert_eq!(bench.sent().len(), 0);
    assert_eq!(bench.enode.counters().not_sent, 0);
}
