//! VLAN discovery and solicitations.

use super::*;

fn seconds(times: &[u64]) -> Vec<Duration> {
    times.iter().map(|&time| SECOND * u32::try_from(time).unwrap()).collect()
}

fn chosen(id: u16) -> Event {
    Event::VlanChosen { vlan: (id != 0).then(|| VlanTag::new(id, 3)) }
}

#[test]
fn a_vlan_request_is_untagged_and_a_solicitation_is_on_the_vlan() {
    let mut bench = Bench::up(config(VlanChoice::Discover));
    let [request] = &bench.sent()[..] else { panic!("one request") };
    assert_eq!(request.fip.operation, Operation::VLAN_REQUEST);
    assert_eq!((request.ethernet.destination, request.ethernet.source), (MacAddr::ALL_FCF, ENODE));
    assert_eq!((request.ethernet.vlan, request.fip.mac()), (None, Ok(ENODE)));

    bench.receive(&TestFcf::new(1).notification(&[VLAN]));
    let sent = bench.wait(SECOND / 2);
    assert_eq!(bench.events(), [chosen(VLAN)]);
    let [solicitation] = &sent[..] else { panic!("one solicitation") };
    assert_eq!(solicitation.fip.operation, Operation::SOLICITATION);
    assert_eq!(solicitation.fip.flags, Flags::FPMA);
    assert_eq!(solicitation.ethernet.destination, MacAddr::ALL_FCF);
    assert_eq!(solicitation.ethernet.vlan, Some(VlanTag::new(VLAN, 3)));
    let expected = [Descriptor::Mac(ENODE), Descriptor::Name(NODE), Descriptor::MaxFcoeSize(MAX_FCOE_SIZE)];
    assert_eq!(solicitation.fip.descriptors, expected);
}

#[test]
fn notifications_are_merged_and_the_lowest_vlan_is_tried_first() {
    let mut bench = Bench::up(config(VlanChoice::Discover));
    bench.receive(&TestFcf::new(1).notification(&[300, 4095]));
    bench.wait(MILLI * 400);
    bench.receive(&TestFcf::new(2).notification(&[200, 300]));
    bench.wait(MILLI * 99);
    assert_eq!(bench.enode.phase(), Phase::VlanDiscovery);
    bench.wait(MILLI);
    assert_eq!(bench.events(), [chosen(200)]);
    // Nobody is there: five solicitations, then the other VLAN, then the question again.
    let sent = bench.wait(SECOND * 100);
    assert_eq!(bench.events()[..2], [chosen(300), Event::VlanDiscoveryUnanswered]);
    let on = |id: u16| sent.iter().filter(|s| s.ethernet.vlan.map(VlanTag::id) == Some(id)).count();
    assert_eq!((on(200), on(300), on(4095)), (4, 5, 0), "the first one on 200 was fetched before");
}

#[test]
fn without_an_answer_untagged_frames_are_tried_and_the_question_comes_again() {
    let mut bench = Bench::up(config(VlanChoice::Discover));
    let sent: Vec<_> = bench.sent().into_iter().chain(bench.wait(SECOND * 39)).collect();
    assert_eq!(
        times(&sent, Operation::VLAN_REQUEST),
        seconds(&[0, 1, 2, 3, 4, 37, 38, 39]),
        "five requests a second apart; untagged for 32 s; again"
    );
    assert_eq!(times(&sent, Operation::SOLICITATION), seconds(&[5, 7, 9, 13, 21]));
    assert!(sent.iter().all(|sent| sent.ethernet.vlan.is_none()));
    assert_eq!(bench.events(), [Event::VlanDiscoveryUnanswered, chosen(0)]);
    assert_eq!(bench.enode.phase(), Phase::VlanDiscovery);
}

#[test]
fn on_a_fixed_vlan_solicitations_slow_down_but_never_end() {
    let mut bench = Bench::up(config(VlanChoice::Fixed(VLAN)));
    assert_eq!(bench.events(), [chosen(VLAN)]);
    let sent: Vec<_> = bench.sent().into_iter().chain(bench.wait(SECOND * 130)).collect();
    assert_eq!(times(&sent, Operation::SOLICITATION), seconds(&[0, 2, 4, 8, 16, 32, 64, 96, 128]));
    assert_eq!(sent.len(), 9);
    assert!(bench.events().is_empty());
}

#[test]
fn a_lost_solicitation_is_made_good_by_the_next_one_or_by_an_advertisement() {
    let fcf = TestFcf::new(1);
    let mut bench = Bench::up(config(VlanChoice::Untagged));
    bench.sent();
    bench.wait(MILLI * 500);
    bench.receive(&fcf.multicast());
    assert_eq!(bench.refusals(), [Some(Refusal::NotSolicited)]);
    let [asked] = &bench.sent()[..] else { panic!("the FCF is asked alone") };
    assert_eq!(asked.ethernet.destination, fcf.mac);
    assert_eq!(asked.fip.operation, Operation::SOLICITATION);
    bench.receive(&fcf.multicast());
    assert!(bench.sent().is_empty(), "once in two seconds");
    bench.receive(&fcf.solicited());
    assert_eq!(bench.refusals(), [None]);
    assert_eq!(bench.enode.phase(), Phase::FcfDiscovery, "others may answer still");
    bench.wait(MILLI * 1500);
    assert_eq!(bench.selected(), Some(fcf.mac));
}

#[test]
fn notifications_count_only_while_they_are_asked_for() {
    let mut bench = Bench::up(config(VlanChoice::Discover));
    let fcf = TestFcf::new(1);
    let mut notification = FipFrame::new(
        Operation::VLAN_NOTIFICATION,
        Flags::NONE,
        vec![Descriptor::Mac(fcf.mac), Descriptor::Vlan(VLAN)],
    );
    bench.receive(&notification.to_ethernet(ENODE, fcf.mac, Some(VlanTag::new(7, 0))));
    assert_eq!(bench.enode.counters().wrong_vlan, 1);
    bench.receive(&notification.to_ethernet(ENODE, MacAddr([2, 0, 0, 0, 0, 0x66]), None));
    assert_eq!(bench.enode.counters().bad_source, 1);
    notification.descriptors.remove(0);
    bench.receive(&notification.to_ethernet(ENODE, fcf.mac, None));
    assert_eq!(bench.enode.counters().missing_descriptor, 1);
    bench.receive(&fcf.notification(&[4095]));
    bench.wait(SECOND);
    assert_eq!(bench.enode.phase(), Phase::VlanDiscovery, "none of them named a VLAN");
    bench.receive(&fcf.notification(&[0]));
    bench.wait(SECOND);
    assert_eq!(bench.events(), [chosen(0)]);
    bench.receive(&fcf.notification(&[VLAN]));
    assert_eq!(bench.enode.counters().unexpected, 1);
}
