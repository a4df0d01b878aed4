//! Which FCF is chosen, and why others aren't.

use super::*;

fn up_with(config: Config, fcfs: &[TestFcf]) -> Bench {
    let mut bench = Bench::up(config);
    for fcf in fcfs {
        bench.wait(MILLI);
        bench.receive(&fcf.solicited());
    }
    bench
}

#[test]
fn the_lowest_priority_number_wins_then_the_latest_answer() {
    let priorities = |priorities: &[u8]| {
        let fcf = |(i, &priority)| TestFcf { priority, ..TestFcf::new(u8::try_from(i).unwrap()) };
        priorities.iter().enumerate().map(fcf).collect::<Vec<_>>()
    };
    for (fcfs, best) in
        [(priorities(&[128, 7, 200]), 1), (priorities(&[9, 9, 9]), 2), (priorities(&[0, 255]), 0)]
    {
        let mut bench = up_with(config(VlanChoice::Untagged), &fcfs);
        assert_eq!(bench.enode.phase(), Phase::FcfDiscovery);
        bench.wait(SECOND * 2);
        assert_eq!(bench.selected(), Some(fcfs[best].mac));
        assert_eq!(bench.enode.fcoe_destination(), bench.selected());
        assert_eq!(bench.enode.fcfs().iter().filter(|status| status.selected).count(), 1);
    }
}

#[test]
fn answers_at_the_same_moment_are_ordered_by_switch_name() {
    let (a, b) = (TestFcf::new(1), TestFcf::new(2));
    for order in [[a, b], [b, a]] {
        let mut bench = Bench::up(config(VlanChoice::Untagged));
        order.iter().for_each(|fcf| bench.receive(&fcf.solicited()));
        bench.wait(SECOND * 2);
        assert_eq!(bench.selected(), Some(a.mac));
    }
}

#[test]
fn the_preferred_fcf_goes_before_all_and_at_once() {
    let (good, wanted) = (TestFcf { priority: 0, ..TestFcf::new(1) }, TestFcf::new(2));
    for preferred in [Preferred::Switch(wanted.name), Preferred::Mac(wanted.mac)] {
        let config = Config { preferred: Some(preferred), ..config(VlanChoice::Untagged) };
        let bench = up_with(config, &[good, wanted]);
        assert_eq!(bench.selected(), Some(wanted.mac), "without waiting for others");
        let mut bench = up_with(config, &[good]);
        bench.wait(SECOND * 2);
        assert_eq!(bench.selected(), Some(good.mac), "another one is better than none");
    }
}

#[test]
fn a_refused_fcf_says_why() {
    let fcf = TestFcf::new(1);
    let with_map = |map| TestFcf { fabric: Fabric { fc_map: FcMap(map), ..fcf.fabric }, ..fcf };
    let other = FcMap([0x0e, 0xfc, 0x01]);
    let wants_default = Config { fc_map: Some(FcMap::DEFAULT), ..config(VlanChoice::Untagged) };
    let server = Config { addressing: Addressing::Server, ..config(VlanChoice::Untagged) };
    let either = Config { addressing: Addressing::Either, ..server };
    let any = config(VlanChoice::Untagged);
    for (config, fcf, refusal) in [
        (any, TestFcf { flags: Flags::FPMA, ..fcf }, Some(Refusal::NotAvailable)),
        (any, TestFcf { flags: Flags::AVAILABLE, ..fcf }, Some(Refusal::NoFabricAddresses)),
        (server, fcf, Some(Refusal::NoServerAddresses)),
        (server, TestFcf { flags: Flags::SPMA.with(Flags::AVAILABLE), ..fcf }, None),
        (either, TestFcf { flags: Flags::SPMA.with(Flags::AVAILABLE), ..fcf }, None),
        (either, fcf, None),
        (either, TestFcf { flags: Flags::AVAILABLE, ..fcf }, Some(Refusal::NoAddresses)),
        (any, with_map([0; 3]), Some(Refusal::BadFcMap(FcMap([0; 3])))),
        (any, with_map([1, 0, 0]), Some(Refusal::BadFcMap(FcMap([1, 0, 0])))),
        (any, with_map(other.0), None),
        (
            wants_default,
            with_map(other.0),
            Some(Refusal::OtherFcMap { wanted: FcMap::DEFAULT, advertised: other }),
        ),
        (wants_default, fcf, None),
        (any, TestFcf { solicited_len: 2157, ..fcf }, Some(Refusal::TooShort { need: 2158, have: 2157 })),
        (Config { max_fcoe_size: 1500, ..any }, TestFcf { solicited_len: 1500, ..fcf }, None),
    ] {
        let mut bench = up_with(config, &[fcf]);
        bench.wait(SECOND * 2);
        assert_eq!(bench.refusals(), [refusal]);
        assert_eq!(bench.selected(), if refusal.is_none() { Some(fcf.mac) } else { None });
        assert!(refusal.is_none_or(|refusal| !std::format!("{refusal}").is_empty()));
    }
}

#[test]
fn what_both_sides_can_is_asked_for_and_what_is_granted_is_used() {
    let (fpma, spma) = (Flags::FPMA, Flags::SPMA);
    let both = fpma.with(spma);
    let port = vn_port(1);
    let mine = MacAddr([2, 0, 0, 0, 0xfc, 0x77]);
    for (addressing, offered, asked, proposed, grants) in [
        (Addressing::Fabric, both, fpma, MacAddr::ZERO, &[port.mac][..]),
        (Addressing::Server, both, spma, ENODE, &[ENODE, mine]),
        (Addressing::Either, both, both, ENODE, &[ENODE, port.mac]),
        (Addressing::Either, fpma, fpma, MacAddr::ZERO, &[port.mac]),
        (Addressing::Either, spma, spma, ENODE, &[ENODE]),
    ] {
        let fcf = TestFcf { flags: offered.with(Flags::AVAILABLE), ..TestFcf::new(1) };
        let mut bench = up_with(Config { addressing, ..config(VlanChoice::Untagged) }, &[fcf]);
        bench.wait(SECOND * 2);
        bench.events();
        for kind in [ElsKind::Flogi, ElsKind::Fdisc] {
            let header = els_header(FcId::F_PORT, FcId::UNASSIGNED);
            bench.enode.send_els(kind, header, &[4, 0, 0, 0], MacAddr::ZERO).unwrap();
            let [request] = &bench.sent()[..] else { panic!("one request") };
            assert_eq!((request.fip.flags, request.fip.mac()), (asked, Ok(proposed)), "{addressing:?}");
            for &granted in grants {
                bench.receive(&fcf.reply(kind, 2, port.fc_id, &[granted]));
                let [Event::ElsReply(reply)] = &bench.events()[..] else { panic!("one reply") };
                assert_eq!(reply.granted_mac, Some(granted));
            }
        }
        let header = els_header(FcId::F_PORT, port.fc_id);
        bench.enode.send_els(ElsKind::Logo, header, &[5, 0, 0, 0], port.mac).unwrap();
        assert_eq!(bench.sent()[0].fip.mac(), Ok(port.mac));
    }
}

#[test]
fn a_path_that_was_too_narrow_is_tried_again() {
    let narrow = TestFcf { solicited_len: 1500, ..TestFcf::new(1) };
    let mut bench = up_with(config(VlanChoice::Untagged), &[narrow]);
    bench.wait(SECOND * 3);
    bench.sent();
    assert_eq!(bench.enode.phase(), Phase::FcfDiscovery);
    bench.receive(&narrow.multicast());
    bench.wait(SECOND * 8);
    bench.receive(&narrow.multicast());
    assert!(bench.sent().iter().any(|sent| sent.ethernet.destination == narrow.mac));
    bench.receive(&TestFcf::new(1).solicited());
    assert_eq!(bench.selected(), Some(narrow.mac));
}

#[test]
fn a_multicast_with_the_solicited_flag_proves_nothing() {
    let fcf = TestFcf::new(1);
    let mut advertisement = fcf.advertisement();
    advertisement.flags = fcf.flags.with(Flags::SOLICITED);
    advertisement.padding_len = 2158;
    let mut bench = Bench::up(config(VlanChoice::Untagged));
    bench.receive(&fcf.frame(MacAddr::ALL_ENODE, &advertisement));
    assert_eq!(bench.refusals(), [Some(Refusal::NotSolicited)]);
}

#[test]
fn every_advertisement_needs_its_five_descriptors_and_none_twice() {
    let fcf = TestFcf::new(1);
    let mut bench = Bench::up(config(VlanChoice::Untagged));
    for missing in 0..5 {
        let mut advertisement = fcf.advertisement();
        let removed = advertisement.descriptors.remove(missing);
        bench.receive(&fcf.frame(MacAddr::ALL_ENODE, &advertisement));
        advertisement.descriptors.extend([removed.clone(), removed]);
        bench.receive(&fcf.frame(MacAddr::ALL_ENODE, &advertisement));
    }
    let counters = bench.enode.counters();
    assert_eq!((counters.missing_descriptor, counters.malformed), (5, 5));
    assert!(bench.enode.fcfs().is_empty());
}

#[test]
fn forged_and_foreign_frames_are_counted_by_reason() {
    let fcf = TestFcf { vlan: Some(VlanTag::new(VLAN, 5)), ..TestFcf::new(1) };
    let mut bench = Bench::up(config(VlanChoice::Fixed(VLAN)));
    let advertisement = fcf.advertisement();
    let stranger = MacAddr([2, 0, 0, 0, 0, 0x66]);
    for (destination, source, vlan) in [
        (MacAddr::ALL_FCF, fcf.mac, fcf.vlan),
        (stranger, fcf.mac, fcf.vlan),
        (MacAddr::ALL_ENODE, stranger, fcf.vlan),
        (MacAddr::ALL_ENODE, ENODE, fcf.vlan),
        (MacAddr::ALL_ENODE, MacAddr::ALL_FCF, fcf.vlan),
        (MacAddr::ALL_ENODE, MacAddr::ZERO, fcf.vlan),
        (MacAddr::ALL_ENODE, fcf.mac, None),
        (MacAddr::ALL_ENODE, fcf.mac, Some(VlanTag::new(VLAN + 1, 3))),
    ] {
        bench.receive(&advertisement.to_ethernet(destination, source, vlan));
    }
    let expected =
        Counters { received: 8, sent: 1, not_for_us: 2, bad_source: 4, wrong_vlan: 2, ..Counters::default() };
    assert_eq!(*bench.enode.counters(), expected);
    assert!(bench.enode.fcfs().is_empty());
    bench.receive(&fcf.multicast());
    assert_eq!(bench.enode.fcfs().len(), 1, "the priority in the tag doesn't matter");
}

#[test]
fn at_most_twenty_fcfs_are_remembered() {
    let mut bench = Bench::up(config(VlanChoice::Untagged));
    for number in 0..=255 {
        bench.receive(&TestFcf::new(number).multicast());
    }
    assert_eq!(bench.enode.fcfs().len(), MAX_FCFS);
    assert_eq!(bench.enode.counters().too_many_fcfs, 256 - MAX_FCFS as u64);
    bench.wait(SECOND * 20);
    assert!(bench.enode.fcfs().is_empty(), "gone after 2.5 periods");
}

#[test]
fn illegal_periods_are_replaced() {
    for (advertised, kept) in [(0, 8000), (249, 8000), (250, 250), (90_000, 90_000), (u32::MAX, 90_000)] {
        let fka = FkaAdvPeriod { no_keep_alives: false, period_ms: advertised };
        let bench = up_with(config(VlanChoice::Untagged), &[TestFcf { fka, ..TestFcf::new(1) }]);
        assert_eq!(bench.enode.fcfs()[0].fcf.fka.period_ms, kept);
    }
}
