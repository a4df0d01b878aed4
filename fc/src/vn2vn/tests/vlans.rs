//! Which VLAN an ENode uses.

use super::*;
use std::vec::Vec;

fn notification(port: &TestPort, vlans: &[u16]) -> Vec<u8> {
    let vlans = vlans.iter().map(|&id| Descriptor::Vlan(id));
    let descriptors = core::iter::once(Descriptor::Mac(port.mac)).chain(vlans).collect();
    FipFrame::new(Operation::VN2VN_VLAN_NOTIFICATION, Flags::NONE, descriptors)
        .to_ethernet(OUR_MAC, port.mac, None)
}

fn chosen(events: &[Event]) -> Vec<Option<u16>> {
    let vlan = |event: &Event| match event {
        Event::VlanChosen { vlan } => Some(vlan.map(VlanTag::id)),
        _ => None,
    };
    events.iter().filter_map(vlan).collect()
}

#[test]
fn neighbours_are_asked_for_it_and_silence_costs_little() {
    let mut bench = Bench::up(config(VlanChoice::Discover));
    let sent = bench.wait(MILLI * 600);
    let requests = sent.iter().filter(|sent| sent.fip.operation == Operation::VLAN_REQUEST);
    let mut count = 0;
    for request in requests {
        count += 1;
        assert_eq!(request.ethernet.destination, MacAddr::ALL_VN2VN_ENODE);
        assert_eq!(request.ethernet.vlan, None);
    }
    assert_eq!(count, 3);
    let events = bench.events();
    assert_eq!((&events[0], chosen(&events)), (&Event::VlanDiscoveryUnanswered, vec![None]));
}

#[test]
fn the_neighbours_answer_is_taken() {
    for (told, vlan) in [(&[100][..], Some(100)), (&[0], None), (&[200, 100], Some(100))] {
        let mut bench = Bench::up(config(VlanChoice::Discover));
        bench.receive(&notification(&TestPort::new(1), told));
        bench.wait(SECOND * 2);
        assert_eq!(chosen(&bench.events()), [vlan]);
        assert_eq!((bench.enode.vlan().map(VlanTag::id), bench.id()), (vlan, Some(OUR_ID)));
    }
}

#[test]
fn whoever_is_alone_goes_on_asking_and_follows_the_answer() {
    let mut bench = Bench::up(config(VlanChoice::Discover));
    bench.wait(SECOND * 30);
    bench.events();
    bench.sent();
    let sent = bench.wait(SECOND * 9);
    let requests = sent.iter().filter(|sent| sent.fip.operation == Operation::VLAN_REQUEST);
    assert_eq!(requests.count(), 1);
    bench.receive(&notification(&TestPort::new(1), &[0]));
    assert_eq!(bench.events(), [], "it is where we are");
    bench.receive(&notification(&TestPort::new(1), &[100]));
    let events = bench.events();
    assert!(matches!(events[0], Event::Released { reason: ReleaseReason::OtherVlan, .. }));
    assert_eq!(chosen(&events), [Some(100)]);
    bench.wait(SETTLED);
    assert_eq!(bench.id(), Some(OUR_ID));
    // With a neighbour there, nobody moves us.
    let neighbour = TestPort { vlan: Some(VlanTag::new(100, 0)), ..TestPort::new(1) };
    bench.receive(&neighbour.says(Operation::CLAIM_NOTIFICATION));
    bench.receive(&notification(&TestPort::new(2), &[300]));
    assert_eq!(bench.enode.vlan().map(VlanTag::id), Some(100));
    let sent = bench.wait(SECOND * 9);
    assert!(!sent.iter().any(|sent| sent.fip.operation == Operation::VLAN_REQUEST));
}

/// Initiators that were up before their SAN: each other is all that they see, and none knows.
#[test]
fn guesses_don_t_confirm_each_other() {
    let request = |port: &TestPort| {
        let descriptors = vec![Descriptor::Mac(port.mac)];
        FipFrame::new(Operation::VLAN_REQUEST, Flags::NONE, descriptors).to_ethernet(
            MacAddr::ALL_VN2VN_ENODE,
            port.mac,
            None,
        )
    };
    let answers = |bench: &mut Bench, port: &TestPort| {
        bench.receive(&request(port));
        let sent = bench.sent();
        sent.iter().filter(|sent| sent.fip.operation == Operation::VN2VN_VLAN_NOTIFICATION).count()
    };
    let guessing = || {
        let mut bench = Bench::up(config(VlanChoice::Discover));
        bench.wait(SECOND * 2);
        bench.receive(&TestPort::new(1).says(Operation::CLAIM_NOTIFICATION));
        bench.events();
        bench.sent();
        let sent = bench.wait(SECOND * 9);
        assert!(sent.iter().any(|sent| sent.fip.operation == Operation::VLAN_REQUEST), "it goes on asking");
        bench
    };
    let mut moved = guessing();
    assert_eq!(answers(&mut moved, &TestPort::new(2)), 0);
    moved.receive(&notification(&TestPort::new(3), &[100]));
    assert_eq!(chosen(&moved.events()), [Some(100)]);

    let mut confirmed = guessing();
    confirmed.receive(&notification(&TestPort::new(3), &[0]));
    assert_eq!(answers(&mut confirmed, &TestPort::new(2)), 1);
    confirmed.receive(&notification(&TestPort::new(3), &[100]));
    assert_eq!(chosen(&confirmed.events()), []);
}

#[test]
fn a_configured_vlan_stays() {
    for vlan in [VlanChoice::Untagged, VlanChoice::Fixed(7)] {
        let mut bench = Bench::up(config(vlan));
        let sent = bench.wait(SECOND * 30);
        assert!(!sent.iter().any(|sent| sent.fip.operation == Operation::VLAN_REQUEST));
        bench.receive(&notification(&TestPort::new(1), &[100]));
        assert_eq!((bench.id(), bench.enode.counters().unexpected), (Some(OUR_ID), 1));
    }
}

#[test]
fn others_are_told_where_we_are() {
    let asker = TestPort::new(1);
    let request = FipFrame::new(Operation::VLAN_REQUEST, Flags::NONE, vec![Descriptor::Mac(asker.mac)]);
    let request = request.to_ethernet(MacAddr::ALL_VN2VN_ENODE, asker.mac, None);
    for (vlan, id) in [(VlanChoice::Untagged, 0), (VlanChoice::Fixed(7), 7)] {
        let mut bench = Bench::up(config(vlan));
        bench.receive(&request);
        assert_eq!(bench.sent(), [], "not before there is something to find");
        bench.wait(SETTLED);
        bench.receive(&request);
        let [answer] = &bench.sent()[..] else { panic!("one answer") };
        assert_eq!(answer.fip.operation, Operation::VN2VN_VLAN_NOTIFICATION);
        assert_eq!((answer.ethernet.destination, answer.ethernet.vlan), (asker.mac, None));
        assert_eq!((answer.fip.mac(), answer.fip.vlans().collect::<Vec<_>>()), (Ok(OUR_MAC), vec![id]));
    }
}
