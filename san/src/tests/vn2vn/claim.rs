//! N_Port_IDs: how targets come by them, and what they do when somebody else has one.

use super::*;
use crate::TargetConfig;
use fc::wire::ethernet::VlanTag;

/// Milliseconds from one frame to the next.
fn gaps(said: &[Said]) -> Vec<u128> {
    said.windows(2).map(|pair| pair[1].at.since(pair[0].at).as_millis()).collect()
}

fn operations(said: &[Said]) -> Vec<Operation> {
    said.iter().map(Said::operation).collect()
}

#[test]
fn an_id_is_probed_claimed_and_shown() {
    let mut net = Net::new(&config());
    assert_eq!(net.san.macs(), [TARGET_ENODE]);
    let said = net.pass(Duration::from_secs(20));
    assert!(said[0].at <= Instant::ZERO + Duration::from_millis(100));
    use Operation as Op;
    assert_eq!(
        operations(&said),
        [
            Op::PROBE_REQUEST,
            Op::PROBE_REQUEST,
            Op::CLAIM_NOTIFICATION,
            Op::BEACON,
            Op::BEACON,
            Op::BEACON,
            Op::BEACON
        ]
    );
    let gaps = gaps(&said);
    assert_eq!(gaps[..4], [100, 400, 400, 400]);
    assert!(gaps[4..].iter().all(|gap| (8000..=8100).contains(gap)), "{gaps:?}");
    for said in &said {
        let source = if said.operation() == Op::BEACON { vn_mac(TARGET) } else { TARGET_ENODE };
        assert_eq!((said.ethernet.source, said.ethernet.destination), (source, MacAddr::ALL_VN2VN_ENODE));
        assert_eq!(said.frame.mac(), Ok(TARGET_ENODE));
        let port = VxPort { mac: vn_mac(TARGET), fc_id: TARGET, port_name: TARGET_NAME };
        assert_eq!(said.frame.vx_port(), Ok(port));
    }
    assert_eq!(net.san.macs(), [TARGET_ENODE, vn_mac(TARGET)]);
}

/// Who disputes the target's N_Port_ID, with a lower and with a higher name.
fn rivals() -> [Host; 2] {
    [host(wwpn(1), 0x0101), host(Wwn::from_u64(0x5000_0000_0000_0001), 0x0101)]
}

#[test]
fn who_was_first_keeps_the_id() {
    for rival in rivals() {
        let mut net = Net::up(&config());
        net.say(&rival, Operation::PROBE_REQUEST);
        let said = net.run_fip();
        assert_eq!(operations(&said), [Operation::PROBE_REPLY]);
        assert_eq!((said[0].ethernet.source, said[0].ethernet.destination), (TARGET_ENODE, rival.enode));

        // Meanwhile in another place the target comes second.
        let mut net = Net::new(&config());
        net.pass(Duration::from_millis(150));
        net.say_to(&rival, TARGET_ENODE, &announcement(&rival, Operation::PROBE_REPLY, INITIATOR));
        net.run();
        let said = net.pass(Duration::from_secs(1));
        let id = said[0].frame.vx_port().unwrap().fc_id;
        assert!(id != TARGET && said.iter().all(|said| said.frame.vx_port().unwrap().fc_id == id));
        assert_eq!(
            operations(&said)[..3],
            [Operation::PROBE_REQUEST, Operation::PROBE_REQUEST, Operation::CLAIM_NOTIFICATION]
        );
        assert_eq!(net.san.macs(), [TARGET_ENODE, vn_mac(id)]);
    }
}

#[test]
fn of_two_that_probe_at_once_the_higher_name_keeps_the_id() {
    let [lower, higher] = rivals();
    for (rival, keeps) in [(lower, true), (higher, false)] {
        let mut net = Net::new(&config());
        net.pass(Duration::from_millis(150));
        net.say(&rival, Operation::PROBE_REQUEST);
        let said = net.run_fip();
        assert_eq!(operations(&said) == [Operation::PROBE_REPLY], keeps);
        let said = net.pass(Duration::from_secs(1));
        assert_eq!(said.last().unwrap().frame.vx_port().unwrap().fc_id == TARGET, keeps);
    }
}

#[test]
fn a_claim_of_our_id_is_answered_by_ours_or_by_leaving_it() {
    let [lower, higher] = rivals();
    let mut net = Net::up(&config());
    let friend = low(1);
    let asked = only_els(&net.arrive(&friend)).clone();
    net.accept_flogi(&friend, &asked);
    for operation in [Operation::CLAIM_NOTIFICATION, Operation::BEACON, Operation::CLAIM_NOTIFICATION] {
        net.say(&lower, operation);
        assert_eq!(operations(&net.run_fip()), [Operation::CLAIM_NOTIFICATION]);
        net.say(&lower, operation);
        assert_eq!(net.run_fip().len(), 0, "not again at once");
        net.wait(Duration::from_millis(400));
    }
    assert_eq!(net.san.stats().logins, 1);

    net.say(&higher, Operation::CLAIM_NOTIFICATION);
    let said = net.run_fip();
    let els = only_els(&said);
    assert_eq!((els.kind, els.header.d_id), (ElsKind::Logo, friend.id), "those who are logged in are told");
    assert_eq!(said[0].ethernet.destination, friend.enode);
    assert_eq!(net.san.stats().logins, 0);
    assert_eq!(net.san.macs(), [TARGET_ENODE]);
    let said = net.pass(Duration::from_secs(1));
    assert_ne!(said[0].frame.vx_port().unwrap().fc_id, TARGET);
    assert_eq!(said[0].operation(), Operation::PROBE_REQUEST);
}

#[test]
fn ids_that_others_always_have_are_tried_slowly() {
    let mut net = Net::new(&config());
    let mut probes = Vec::new();
    for _ in 0..60_000 {
        for said in net.pass(Duration::from_millis(1)) {
            let id = said.frame.vx_port().unwrap().fc_id;
            probes.push(said);
            let rival = Host { id, mac: vn_mac(id), ..rivals()[1] };
            net.say(&rival, Operation::PROBE_REQUEST);
        }
    }
    let gaps = gaps(&probes);
    assert!(gaps[..10].iter().all(|gap| *gap <= 101), "{gaps:?}");
    assert!(gaps[10..].iter().all(|gap| (10_000..=10_001).contains(gap)), "{gaps:?}");
    assert_eq!(gaps.len(), 15);
}

#[test]
fn targets_of_one_san_take_different_ids() {
    let target = |number: u8| TargetConfig {
        wwpn: Wwn([0x20, number, 2, 0xfc, 0xf0, number, 1, 1]),
        luns: Vec::new(),
        ..TargetConfig::default()
    };
    let config = SanConfig { targets: (0..8).map(target).collect(), ..config() };
    let mut net = Net::up(&config);
    let macs = net.san.macs().to_vec();
    assert_eq!(macs.len(), 16);
    let different: std::collections::HashSet<_> = macs.iter().collect();
    assert_eq!(different.len(), 16, "{macs:?}");
    // A neighbour hears from each of them, and each logs in to it.
    let said = net.arrive(&low(1));
    let of = |operation| said.iter().filter(|said| said.operation() == operation).count();
    assert_eq!((of(Operation::CLAIM_RESPONSE), of(Operation::LINK_SERVICE_REQUEST)), (8, 8));
}

#[test]
fn a_claim_is_answered_as_long_as_both_can() {
    let mut net = Net::up(&config());
    let host = low(1);
    let mut claim = announcement(&host, Operation::CLAIM_NOTIFICATION, INITIATOR);
    for (size, len) in [(1000, 1014), (100, 232), (9000, 2172)] {
        claim.descriptors[4] = Descriptor::MaxFcoeSize(size);
        net.say_to(&host, MacAddr::ALL_VN2VN_ENODE, &claim);
        let said = net.run_fip();
        assert_eq!(operations(&said), [Operation::CLAIM_RESPONSE]);
        assert_eq!((said[0].ethernet.destination, said[0].len), (host.enode, len));
    }
}

#[test]
fn one_who_takes_the_link_for_two_ports_only_is_shown_that_there_are_others() {
    let mut net = Net::up(&config());
    net.wait(Duration::from_millis(400));
    let host = low(1);
    let mut claim = announcement(&host, Operation::CLAIM_NOTIFICATION, INITIATOR);
    claim.flags = Flags::RECORDED;
    net.say_to(&host, MacAddr::ALL_VN2VN_ENODE, &claim);
    net.say_to(&host, MacAddr::ALL_VN2VN_ENODE, &claim);
    let said = net.run_fip();
    assert_eq!(operations(&said), [Operation::PROBE_REQUEST]);
    assert_eq!(said[0].ethernet.destination, MacAddr::ALL_VN2VN_ENODE);
}

#[test]
fn a_vlan_is_told_and_used() {
    for vlan in [None, Some(100)] {
        let mut net = Net::new(&SanConfig { vlan, ..config() });
        let tag = vlan.map(|id| VlanTag::new(id, 3));
        let said = net.pass(Duration::from_secs(2));
        assert!(said.iter().all(|said| said.ethernet.vlan == tag));
        let host = low(1);
        let request = FipFrame::new(Operation::VLAN_REQUEST, Flags::NONE, vec![Descriptor::Mac(host.enode)]);
        let request = request.to_ethernet(MacAddr::ALL_VN2VN_ENODE, host.enode, None);
        assert!(net.wire.push(&request));
        let said = net.run_fip();
        assert_eq!(operations(&said), [Operation::VN2VN_VLAN_NOTIFICATION]);
        let ethernet = said[0].ethernet;
        assert_eq!((ethernet.destination, ethernet.source, ethernet.vlan), (host.enode, TARGET_ENODE, None));
        assert_eq!(said[0].frame.vlans().collect::<Vec<_>>(), [vlan.unwrap_or(0)]);
        assert_eq!(only_els(&net.arrive(&host)).kind, ElsKind::Flogi);
    }
}

#[test]
fn what_cannot_be_is_dropped() {
    let mut net = Net::up(&config());
    let host = low(1);
    let bad = [
        Host { enode: MacAddr::ALL_FCF, ..host },
        Host { enode: MacAddr::ZERO, ..host },
        Host { mac: vn_mac(FcId::from_u32(2)), ..host },
        Host { wwpn: Wwn::default(), ..host },
        Host { id: FcId::UNASSIGNED, mac: vn_mac(FcId::UNASSIGNED), ..host },
        Host { id: FcId::from_u32(0xffff), mac: vn_mac(FcId::from_u32(0xffff)), ..host },
        Host { id: FcId::from_u32(0x01_0001), mac: vn_mac(FcId::from_u32(0x01_0001)), ..host },
    ];
    for (host, count) in bad.iter().zip(1..) {
        net.say(host, Operation::CLAIM_NOTIFICATION);
        assert!(net.run().is_empty());
        assert_eq!(net.san.stats().counters.dropped_malformed, count, "{host:?}");
    }
    // From somewhere else than it says.
    let claim = announcement(&host, Operation::CLAIM_NOTIFICATION, INITIATOR);
    net.push_fip(low(2).enode, MacAddr::ALL_VN2VN_ENODE, &claim);
    // Our own, come back; and what is not for us.
    net.say(&Host { wwpn: TARGET_NAME, ..host }, Operation::CLAIM_NOTIFICATION);
    net.push_fip(host.enode, MacAddr::ALL_FCF, &claim);
    net.push_fip(host.enode, MacAddr([2, 0, 0, 0, 0, 9]), &claim);
    net.tag = Some(VlanTag::new(100, 3));
    net.say(&host, Operation::CLAIM_NOTIFICATION);
    assert!(net.run().is_empty());
    let counters = net.san.stats().counters;
    assert_eq!((counters.dropped_malformed, counters.dropped_unexpected), (8, 1));
    assert_eq!((counters.dropped_not_ours, counters.dropped_vlan), (2, 1));
}

#[test]
fn neighbours_are_bounded() {
    let mut net = Net::up(&config());
    for number in 0..1024u32 {
        let host = host(Wwn::from_u64(0x1000_0000_0000_0100 + u64::from(number)), number + 0x1000);
        net.say(&host, Operation::CLAIM_NOTIFICATION);
        net.run();
    }
    assert_eq!(net.san.stats().counters.dropped_no_room, 0);
    let late = low(1);
    net.say(&late, Operation::CLAIM_NOTIFICATION);
    assert!(net.run().is_empty());
    assert_eq!(net.san.stats().counters.dropped_no_room, 1);
    // Those who don't show that they live make room.
    net.pass(Duration::from_secs(20));
    net.say(&late, Operation::CLAIM_NOTIFICATION);
    assert_eq!(net.run_fip().len(), 1);
}
