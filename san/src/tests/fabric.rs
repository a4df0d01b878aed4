//! FIP, fabric logins, keep-alives, forwarding, the name server and state changes.

use super::host::{FcFrame, Host, Io, Net, Seen, TARGET, What, cmnd, request_header, wwpn};
use super::io::read_10;
use crate::{Addressing, Order, San};
use datapath::port::memory::{MemoryConfig, wire};
use fc::time::Duration;
use fc::wire::els::{ElsReply, ElsRequest, Explanation, Login, Logo, LsRjt, Reason, common_features};
use fc::wire::ethernet::{EtherType, EthernetHeader, VlanTag};
use fc::wire::fip::{Descriptor, ElsKind, FipFrame, Flags, Operation, VxPort};
use fc::wire::header::{FcHeader, FcType, RCtl};
use fc::wire::{FcId, MacAddr, Wwn};

const ENODE: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

fn solicitation(size: u16) -> FipFrame {
    let descriptors = vec![Descriptor::Mac(ENODE), Descriptor::Name(wwpn(1)), Descriptor::MaxFcoeSize(size)];
    FipFrame::new(Operation::SOLICITATION, Flags::FPMA, descriptors)
}

fn fip(seen: Vec<Seen>, operation: Operation) -> Vec<(EthernetHeader, FipFrame, usize)> {
    let pick = |seen: Seen| match seen.what {
        What::Fip(frame) if frame.operation == operation => Some((seen.ethernet, frame, seen.len)),
        _ => None,
    };
    seen.into_iter().filter_map(pick).collect()
}

#[test]
fn advertisements_come_on_time_and_say_what_linux_wants() {
    let mut net = Net::new(&Net::small());
    for _ in 0..20 {
        net.wait(Duration::from_millis(7999));
        assert!(net.run().is_empty(), "not before the period is over");
        net.wait(Duration::from_millis(101));
        let frames = fip(net.run(), Operation::ADVERTISEMENT);
        assert_eq!(frames.len(), 1);
        let (ethernet, frame, _) = &frames[0];
        assert_eq!((ethernet.destination, ethernet.source), (MacAddr::ALL_ENODE, net.config.fcf.mac));
        assert_eq!(frame.flags, Flags(0x8005));
        let kinds: Vec<_> = frame.descriptors.iter().map(|descriptor| descriptor.kind().0).collect();
        assert_eq!(kinds, [1, 2, 4, 5, 12]);
        assert_eq!(frame.descriptors.iter().map(Descriptor::len).sum::<usize>(), 12 * 4);
        assert_eq!(frame.fka_adv_period().unwrap().period_ms, 8000);
        assert_eq!(frame.priority(), Ok(128));
    }
}

#[test]
fn a_solicited_advertisement_proves_the_mtu() {
    let mut net = Net::new(&Net::small());
    for (asked, len) in [(2158, 2158), (1500, 1500), (9000, 2158), (0, 58)] {
        net.push_fip(ENODE, MacAddr::ALL_FCF, &solicitation(asked));
        let frames = fip(net.run(), Operation::ADVERTISEMENT);
        assert_eq!(frames[0].0.destination, ENODE);
        assert_eq!(frames[0].1.flags, Flags(0x8007));
        assert_eq!(frames[0].2, 14 + len);
    }
    // Another FCF's is not answered.
    let theirs = FipFrame { flags: Flags::F_PORT, ..solicitation(2158) };
    net.push_fip(ENODE, MacAddr::ALL_FCF, &theirs);
    assert!(net.run().is_empty());
}

#[test]
fn a_fabric_login_grants_an_address() {
    let mut net = Net::new(&Net::small());
    let request = ElsRequest::Flogi(Login::fabric(wwpn(1), wwpn(9), 2112));
    let reply = net.link_service(ENODE, ElsKind::Flogi, FcId::UNASSIGNED, &request);
    let kinds: Vec<_> = reply.descriptors.iter().map(|descriptor| descriptor.kind().0).collect();
    assert_eq!(kinds, [7, 2], "the ELS first");
    let els = reply.els().unwrap();
    assert_eq!(els.header.d_id, FcId::from_u32(0x01_0200));
    assert_eq!((els.header.s_id, els.header.f_ctl.get()), (FcId::F_PORT, 0x99_0000));
    assert_eq!(els.header.ox_id.get(), 0x11);
    assert_eq!(reply.mac(), Ok(MacAddr([0x0e, 0xfc, 0, 1, 2, 0])));
    assert_eq!(els.payload.len(), 116);
    let ElsReply::Login(login) = ElsReply::parse(request.command(), &els.payload).unwrap() else { panic!() };
    assert!(login.common.has(common_features::F_PORT | common_features::NPIV));
    assert_eq!(login.common.r_a_tov(), Duration::from_secs(10));
    assert_eq!(login.common.e_d_tov(), Duration::from_secs(2));
    assert_eq!((login.common.receive_len(), login.class_3.receive_len()), (2112, 2112));
    assert_eq!(login.node_name, net.config.fcf.fabric_name);
    assert_eq!(net.san.stats().logins, 1);
}

fn rejected(reply: &FipFrame, request: &ElsRequest) -> LsRjt {
    assert!(reply.mac().is_err(), "a reject has no MAC descriptor");
    let els = reply.els().unwrap();
    match ElsReply::parse(request.command(), &els.payload).unwrap() {
        ElsReply::Reject(reject) => reject,
        other => panic!("{other:?}"),
    }
}

#[test]
fn logins_that_make_no_sense_are_rejected() {
    let mut net = Net::new(&Net::small());
    let no_name = ElsRequest::Flogi(Login::fabric(Wwn::default(), wwpn(1), 2112));
    let tiny = ElsRequest::Flogi(Login::fabric(wwpn(1), wwpn(1), 252));
    let fdisc = ElsRequest::Fdisc(Login::fabric(wwpn(1), wwpn(1), 2112));
    let logo = ElsRequest::Logo(Logo::new(FcId::from_u32(0x01_0200), wwpn(1)));
    let table = [
        (ElsKind::Flogi, no_name, LsRjt::new(Reason::LOGICAL_ERROR, Explanation(0x0d))),
        (ElsKind::Flogi, tiny, LsRjt::new(Reason::LOGICAL_ERROR, Explanation(0x07))),
        (ElsKind::Fdisc, fdisc, LsRjt::LOGIN_REQUIRED),
        (ElsKind::Logo, logo, LsRjt::LOGIN_REQUIRED),
    ];
    for (kind, request, expected) in table {
        let reply = net.link_service(ENODE, kind, FcId::UNASSIGNED, &request);
        assert_eq!(rejected(&reply, &request), expected);
    }
    assert_eq!(net.san.stats().logins, 0);
}

#[test]
fn mac_addresses_are_of_the_kind_that_both_sides_can() {
    let (fpma, spma) = (Flags::FPMA, Flags::SPMA);
    let (both, proposed) = (fpma.with(spma), ENODE);
    for (addressing, asked, granted) in [
        (Addressing::Fabric, fpma, Some(fpma)),
        (Addressing::Fabric, both, Some(fpma)),
        (Addressing::Fabric, spma, None),
        (Addressing::Server, fpma, None),
        (Addressing::Server, both, Some(spma)),
        (Addressing::Both, both, Some(fpma)),
        (Addressing::Both, spma, Some(spma)),
        (Addressing::Both, Flags::NONE, None),
    ] {
        let mut config = Net::small();
        config.fcf.addressing = addressing;
        let mut net = Net::new(&config);
        for kind in [ElsKind::Flogi, ElsKind::Fdisc] {
            let name = if kind == ElsKind::Flogi { wwpn(1) } else { wwpn(11) };
            let login = Login::fabric(name, name, 2112);
            let request =
                if kind == ElsKind::Flogi { ElsRequest::Flogi(login) } else { ElsRequest::Fdisc(login) };
            let reply = net.link_service_by(ENODE, (asked, proposed), (kind, FcId::UNASSIGNED), &request);
            let Some(granted) = granted else {
                let reason = if kind == ElsKind::Flogi { "no such address" } else { "no login either" };
                assert_eq!(rejected(&reply, &request), LsRjt::UNSUPPORTED, "{reason}");
                continue;
            };
            let id = reply.els().unwrap().header.d_id;
            let fabrics = MacAddr::fabric_provided(config.fcf.fc_map.0, id);
            let mac = if granted == spma { proposed } else { fabrics };
            assert_eq!((reply.flags, reply.mac()), (granted, Ok(mac)), "{addressing:?} {asked:?}");
        }
        assert_eq!(net.san.stats().logins, if granted.is_some() { 2 } else { 0 });
    }
}

#[test]
fn a_proposed_address_is_an_enodes_own() {
    let mut config = Net::small();
    config.fcf.addressing = Addressing::Both;
    let mut net = Net::new(&config);
    let host = net.log_in_fabric(1);
    let other = MacAddr([2, 0, 0, 0, 0, 2]);
    let request = ElsRequest::Flogi(Login::fabric(wwpn(2), wwpn(2), 2112));
    let unable = LsRjt::new(Reason::UNABLE, Explanation::NONE);
    for taken in [host.mac, config.fcf.mac, MacAddr::ZERO, MacAddr::ALL_ENODE] {
        let login = (ElsKind::Flogi, FcId::UNASSIGNED);
        let reply = net.link_service_by(other, (Flags::SPMA, taken), login, &request);
        assert_eq!(rejected(&reply, &request), unable, "{taken}");
    }
}

#[test]
fn npiv_ports_come_and_go_and_keep_their_ids() {
    let mut net = Net::new(&Net::small());
    let first = net.log_in_fabric(1);
    let second = net.log_in_as(ENODE, wwpn(11), ElsKind::Fdisc);
    let third = net.log_in_as(ENODE, wwpn(12), ElsKind::Fdisc);
    assert_eq!(net.san.stats().logins, 3);
    assert_ne!(second.mac, third.mac);
    let logo = ElsRequest::Logo(Logo::new(second.id, second.wwpn));
    let reply = net.link_service(ENODE, ElsKind::Logo, second.id, &logo);
    assert_eq!(reply.els().unwrap().payload, [2, 0, 0, 0]);
    assert_eq!(net.san.stats().logins, 2);
    assert_eq!(net.log_in_as(ENODE, wwpn(11), ElsKind::Fdisc).id, second.id);
    // A FLOGI begins everything anew.
    assert_eq!(net.log_in_fabric(1).id, first.id);
    assert_eq!(net.san.stats().logins, 1);
}

#[test]
fn without_npiv_an_enode_gets_one_id() {
    let mut config = Net::small();
    config.fcf.npiv = false;
    let mut net = Net::new(&config);
    let flogi = ElsRequest::Flogi(Login::fabric(wwpn(1), wwpn(9), 2112));
    let reply = net.link_service(ENODE, ElsKind::Flogi, FcId::UNASSIGNED, &flogi);
    let ElsReply::Login(login) = ElsReply::parse(flogi.command(), &reply.els().unwrap().payload).unwrap()
    else {
        panic!("{reply:?}")
    };
    assert!(login.common.has(common_features::F_PORT) && !login.common.has(common_features::NPIV));
    let fdisc = ElsRequest::Fdisc(Login::fabric(wwpn(2), wwpn(9), 2112));
    let reply = net.link_service(ENODE, ElsKind::Fdisc, FcId::UNASSIGNED, &fdisc);
    assert_eq!(rejected(&reply, &fdisc), LsRjt::UNSUPPORTED);
    assert_eq!(net.san.stats().logins, 1);
}

#[test]
fn a_port_that_moves_is_cleared_where_it_was() {
    let mut net = Net::new(&Net::small());
    let host = net.log_in_fabric(1);
    let other = MacAddr([2, 0, 0, 0, 0, 2]);
    let header = FcHeader { r_ctl: RCtl::ELS_REQUEST, ..request_header(FcId::UNASSIGNED, FcId::F_PORT, 1) };
    let header = FcHeader { fc_type: FcType::ELS, ..header };
    let payload = ElsRequest::Flogi(Login::fabric(wwpn(1), wwpn(1), 2112)).to_payload();
    let els = fc::wire::fip::Els { kind: ElsKind::Flogi, header, payload };
    let descriptors = vec![Descriptor::Els(els), Descriptor::Mac(MacAddr::ZERO)];
    let flogi = FipFrame::new(Operation::LINK_SERVICE_REQUEST, Flags::FPMA, descriptors);
    net.push_fip(other, net.config.fcf.mac, &flogi);
    let cleared = fip(net.run(), Operation::CLEAR_VIRTUAL_LINKS);
    assert_eq!(cleared.len(), 1);
    assert_eq!(cleared[0].0.destination, ENODE);
    assert_eq!(cleared[0].1.vx_port().unwrap().fc_id, host.id);
    assert_eq!(net.san.stats().logins, 1);
}

fn enode_keep_alive(net: &mut Net) {
    let frame = FipFrame::new(Operation::KEEP_ALIVE, Flags::NONE, vec![Descriptor::Mac(ENODE)]);
    net.push_fip(ENODE, net.config.fcf.mac, &frame);
}

fn port_keep_alive(net: &mut Net, host: &Host) {
    let port = VxPort { mac: host.mac, fc_id: host.id, port_name: host.wwpn };
    let descriptors = vec![Descriptor::Mac(host.enode), Descriptor::VxPort(port)];
    let frame = FipFrame::new(Operation::KEEP_ALIVE, Flags::NONE, descriptors);
    net.push_fip(host.mac, net.config.fcf.mac, &frame);
}

#[test]
fn silence_clears_virtual_links() {
    let mut net = Net::new(&Net::small());
    let first = net.log_in_fabric(1);
    let second = net.log_in_as(ENODE, wwpn(11), ElsKind::Fdisc);
    // The ENode and one port say that they live; the other port doesn't.
    let mut cleared = Vec::new();
    for second_now in 0..230u64 {
        net.wait(Duration::from_secs(1));
        if second_now % 8 == 0 {
            enode_keep_alive(&mut net);
        }
        if second_now % 90 == 0 {
            port_keep_alive(&mut net, &first);
        }
        let frames = fip(net.run(), Operation::CLEAR_VIRTUAL_LINKS);
        cleared
            .extend(frames.into_iter().map(|(ethernet, frame, _)| (second_now, ethernet.destination, frame)));
    }
    assert_eq!(cleared.len(), 1);
    let (at, to, frame) = &cleared[0];
    assert!((224..=226).contains(at), "after 2.5 x 90 s, not {at}");
    assert_eq!(
        (*to, frame.mac(), frame.name()),
        (ENODE, Ok(net.config.fcf.mac), Ok(net.config.fcf.switch_name))
    );
    assert_eq!(frame.vx_ports().map(|port| port.fc_id).collect::<Vec<_>>(), [second.id]);

    // Now the ENode falls silent as well.
    net.wait(Duration::from_secs(19));
    enode_keep_alive(&mut net);
    net.run();
    net.wait(Duration::from_millis(20_000));
    assert!(fip(net.run(), Operation::CLEAR_VIRTUAL_LINKS).is_empty());
    net.wait(Duration::from_millis(900));
    let frames = fip(net.run(), Operation::CLEAR_VIRTUAL_LINKS);
    assert_eq!(frames[0].1.vx_ports().map(|port| port.fc_id).collect::<Vec<_>>(), [first.id]);
    assert_eq!(net.san.stats().logins, 0);
    assert_eq!(net.san.stats().counters.expired_links, 2);
    // A keep-alive that comes late is told so.
    enode_keep_alive(&mut net);
    assert_eq!(fip(net.run(), Operation::CLEAR_VIRTUAL_LINKS).len(), 1);
    port_keep_alive(&mut net, &first);
    assert_eq!(fip(net.run(), Operation::CLEAR_VIRTUAL_LINKS).len(), 1);
}

/// Linux says that it lives from choosing the FCF on, which may be seconds before its FLOGI, and begins anew when
/// its virtual link is cleared: with a short period it would never log in.
#[test]
fn who_is_about_to_log_in_is_left_in_peace() {
    let mut net = Net::new(&Net::small());
    let cleared_by_keep_alive = |net: &mut Net| {
        enode_keep_alive(net);
        fip(net.run(), Operation::CLEAR_VIRTUAL_LINKS).len()
    };
    net.push_fip(ENODE, MacAddr::ALL_FCF, &solicitation(2158));
    assert_eq!(cleared_by_keep_alive(&mut net), 0);
    net.wait(Duration::from_millis(9900));
    assert_eq!(cleared_by_keep_alive(&mut net), 0);
    net.wait(Duration::from_millis(200));
    assert_eq!(cleared_by_keep_alive(&mut net), 1, "it solicited too long ago");

    // Who has logged in meanwhile is told at once when that has come to nothing.
    net.push_fip(ENODE, MacAddr::ALL_FCF, &solicitation(2158));
    net.run();
    net.log_in_as(ENODE, wwpn(1), ElsKind::Flogi);
    assert_eq!(cleared_by_keep_alive(&mut net), 0);
    let now = net.now;
    net.san.order(now, &Order::Restart).unwrap();
    net.run();
    assert_eq!(cleared_by_keep_alive(&mut net), 1);
}

#[test]
fn without_keep_alives_nobody_expires() {
    let mut config = Net::small();
    config.fcf.keep_alives = false;
    let mut net = Net::new(&config);
    net.log_in_fabric(1);
    net.wait(Duration::from_secs(1000));
    let seen = net.run();
    assert!(fip(seen.clone(), Operation::CLEAR_VIRTUAL_LINKS).is_empty());
    let advertisements = fip(seen, Operation::ADVERTISEMENT);
    assert!(advertisements[0].1.fka_adv_period().unwrap().no_keep_alives);
    assert_eq!(net.san.stats().logins, 1);
}

#[test]
fn a_restart_clears_everything() {
    let mut net = Net::new(&Net::small());
    let host = net.log_in(1);
    net.san.restart(net.now);
    let seen = net.run();
    let cleared = fip(seen.clone(), Operation::CLEAR_VIRTUAL_LINKS);
    assert_eq!(cleared.len(), 1);
    assert_eq!(cleared[0].1.vx_ports().count(), 0, "everything");
    assert_eq!(fip(seen, Operation::ADVERTISEMENT).len(), 1);
    net.push_command(&host, TARGET, 1, &cmnd(0, &read_10(0, 1), 512, Io::In(512)));
    assert!(net.run_fc().is_empty());
    assert_eq!(net.san.stats().counters.dropped_not_logged_in, 1);
    assert_eq!(net.log_in(1).id, host.id, "known from before");
}

#[test]
fn one_virtual_link_is_cleared_by_order() {
    let mut net = Net::new(&Net::small());
    let (cleared, other) = (net.log_in(1), net.log_in(2));
    net.san.order(net.now, &Order::ClearLink { initiator: cleared.wwpn }).unwrap();
    let told = fip(net.run(), Operation::CLEAR_VIRTUAL_LINKS);
    let links: Vec<_> =
        told.iter().flat_map(|(_, frame, _)| frame.vx_ports()).map(|port| port.fc_id).collect();
    assert_eq!(links, [cleared.id]);
    net.push_command(&cleared, TARGET, 1, &cmnd(0, &read_10(0, 1), 512, Io::In(512)));
    assert!(net.run_fc().is_empty());
    assert_eq!(net.scsi(&other, &read_10(0, 1), Io::In(512)).status, 0);
    // Nobody has this name.
    net.san.order(net.now, &Order::ClearLink { initiator: wwpn(9) }).unwrap();
    assert!(fip(net.run(), Operation::CLEAR_VIRTUAL_LINKS).is_empty());
}

#[test]
fn nothing_is_longer_than_the_mtu_allows() {
    let mut net = Net::with_mtu(&Net::small(), 1500);
    net.push_fip(ENODE, MacAddr::ALL_FCF, &solicitation(2158));
    let frames = fip(net.run(), Operation::ADVERTISEMENT);
    assert_eq!(frames[0].2, 14 + 1500, "it proves the MTU that there is");

    let flogi = ElsRequest::Flogi(Login::fabric(wwpn(1), wwpn(1), 2112));
    let reply = net.link_service(ENODE, ElsKind::Flogi, FcId::UNASSIGNED, &flogi);
    let granted = ElsReply::parse(flogi.command(), &reply.els().unwrap().payload).unwrap();
    assert!(matches!(granted, ElsReply::Login(login) if login.common.receive_len() == 1452), "{granted:?}");

    let host = net.log_in(1);
    let plogi = ElsRequest::Plogi(Login::n_port(host.wwpn, host.wwpn, 2112, Duration::from_secs(2)));
    let granted = net.els(&host, TARGET, &plogi);
    assert!(matches!(granted, ElsReply::Login(login) if login.class_3_payload_len() == 1452), "{granted:?}");
    net.log_in_target(&host, TARGET, 2112);
    net.scsi(&host, &[0; 6], Io::None);
    net.push_command(&host, TARGET, 1, &cmnd(0, &read_10(0, 16), 8192, Io::In(8192)));
    let lens: Vec<_> = net.run_fc().iter().map(|frame| frame.payload.len()).collect();
    assert_eq!(lens, [1452, 1452, 1452, 1452, 1452, 932, 24]);
}

#[test]
fn a_link_that_no_login_fits_is_refused() {
    let (port, _wire) = wire(MemoryConfig::default());
    let error = San::new(port.with_mtu(301), &Net::small()).unwrap_err().to_string();
    assert!(error.starts_with("an MTU of 301 is too small"), "{error}");
}

#[test]
fn a_vlan_is_told_and_used() {
    let mut config = Net::small();
    config.vlan = Some(100);
    let mut net = Net::new(&config);
    let request = FipFrame::new(Operation::VLAN_REQUEST, Flags::NONE, vec![Descriptor::Mac(ENODE)]);
    assert!(net.wire.push(&request.to_ethernet(MacAddr::ALL_FCF, ENODE, None)));
    let frames = fip(net.run(), Operation::VLAN_NOTIFICATION);
    assert_eq!((frames[0].0.destination, frames[0].0.vlan), (ENODE, None));
    assert_eq!(frames[0].1.vlans().collect::<Vec<_>>(), [100]);
    assert_eq!(frames[0].1.mac(), Ok(config.fcf.mac));

    let host = net.log_in(1);
    assert_eq!(net.scsi(&host, &read_10(0, 8), Io::In(4096)).data.len(), 4096);
    net.push_command(&host, TARGET, 1, &cmnd(0, &read_10(0, 1), 512, Io::In(512)));
    for seen in net.run() {
        assert_eq!(seen.ethernet.vlan, Some(VlanTag::new(100, 3)));
    }
    net.tag = None;
    net.push_command(&host, TARGET, 1, &cmnd(0, &read_10(0, 1), 512, Io::In(512)));
    net.push_fip(ENODE, MacAddr::ALL_FCF, &solicitation(2158));
    net.tag = Some(VlanTag::new(101, 3));
    net.push_fip(ENODE, MacAddr::ALL_FCF, &solicitation(2158));
    assert!(net.run().is_empty());
    assert_eq!(net.san.stats().counters.dropped_vlan, 3);

    let mut untagged = Net::new(&Net::small());
    assert!(untagged.wire.push(&request.to_ethernet(MacAddr::ALL_FCF, ENODE, None)));
    let frames = fip(untagged.run(), Operation::VLAN_NOTIFICATION);
    assert_eq!(frames[0].1.vlans().collect::<Vec<_>>(), [0], "none");
}

#[test]
fn frames_between_vn_ports_are_sent_on() {
    let mut net = Net::new(&Net::small());
    let (a, b) = (net.log_in_fabric(1), net.log_in_fabric(2));
    let header = FcHeader { parameter: 77.into(), ..request_header(a.id, b.id, 0x99) };
    net.push_fc(a.mac, &header, b"hello");
    let seen = net.run();
    assert_eq!(seen.len(), 1);
    let EthernetHeader { destination, source, ethertype, .. } = seen[0].ethernet;
    assert_eq!((destination, source, ethertype), (b.mac, net.config.fcf.mac, EtherType::FCOE));
    let What::Fc(FcFrame { header: got, payload, .. }) = &seen[0].what else { panic!() };
    assert_eq!(payload, b"hello");
    assert_eq!(got.parameter, header.parameter);
    assert_eq!(net.san.stats().counters.forwarded_frames, 1);

    // Somebody else's S_ID, a stranger's, and a D_ID that nobody has.
    net.push_fc(b.mac, &header, b"spoofed");
    net.push_fc(a.mac, &request_header(FcId::from_u32(0x01_0300), b.id, 1), b"");
    net.push_fc(a.mac, &request_header(a.id, FcId::from_u32(0x01_0300), 1), b"");
    net.push_fc(a.mac, &request_header(a.id, FcId::from_u32(0x02_0101), 1), b"");
    assert!(net.run().is_empty());
    let counters = net.san.stats().counters;
    assert_eq!((counters.dropped_not_logged_in, counters.dropped_no_destination), (2, 2));
}
