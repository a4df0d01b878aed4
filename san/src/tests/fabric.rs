//! FIP, fabric logins, keep-alives, forwarding, the name server and state changes.

use super::host::{FcFrame, Host, Io, Net, Seen, TARGET, What, cmnd, request_header, wwpn};
use super::io::read_10;
use crate::{LunConfig, SanConfig, TargetConfig};
use fc::time::Duration;
use fc::wire::ct::{
    CtCommand, CtExplanation, CtPreamble, CtReason, CtReject, GpnFtEntry, NameServerRequest, PortEntries,
    PortScope, accepted, port_name_reply,
};
use fc::wire::els::{
    Adisc, ElsReply, ElsRequest, Explanation, Login, Logo, LsRjt, Reason, RscnPage, ScrFunction,
    common_features,
};
use fc::wire::ethernet::{EtherType, EthernetHeader, VlanTag};
use fc::wire::fip::{Descriptor, ElsKind, Fc4Attributes, FipFrame, Flags, Operation, VxPort};
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
        // The next period begins with this step.
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
fn a_vlan_is_told_and_used() {
    let mut config = Net::small();
    config.fcf.vlan = Some(100);
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
    untagged.push_fip(ENODE, MacAddr::ALL_FCF, &request);
    assert!(untagged.run().is_empty(), "without a VLAN there is nothing to tell");
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

impl Net {
    /// A name server request and what comes back, put together.
    fn ct(&mut self, host: &Host, iu: &[u8]) -> Result<Vec<u8>, CtReject> {
        let header = FcHeader {
            r_ctl: RCtl::CT_REQUEST,
            fc_type: FcType::CT,
            ..request_header(host.id, FcId::NAME_SERVER, 0x44)
        };
        self.push_fc(host.mac, &header, iu);
        let is_reply = |frame: &FcFrame| frame.header.fc_type == FcType::CT;
        let frames: Vec<_> = self.run_fc().into_iter().filter(is_reply).collect();
        let mut reply = Vec::new();
        for (at, frame) in frames.iter().enumerate() {
            let is_last = at + 1 == frames.len();
            assert_eq!(frame.header.f_ctl.get(), if is_last { 0x99_0000 } else { 0x90_0000 });
            assert_eq!((frame.header.r_ctl, usize::from(frame.header.seq_cnt.get())), (RCtl(3), at));
            reply.extend(&frame.payload);
        }
        accepted(&reply).unwrap().map(<[u8]>::to_vec)
    }

    fn register(&mut self, host: &Host) {
        let parameters = Login::n_port(host.wwpn, host.wwpn, 2112, Duration::from_secs(2));
        self.els(host, FcId::NAME_SERVER, &ElsRequest::Plogi(parameters));
        let types = Fc4Attributes::NONE.with(FcType::FCP, 0).types;
        self.ct(host, &NameServerRequest::RftId(host.id, types).to_payload()).unwrap();
    }
}

#[test]
fn the_name_server_knows_who_is_there() {
    let mut net = Net::new(&Net::small());
    let (a, b) = (net.log_in_fabric(1), net.log_in_fabric(2));
    let gpn_ft = NameServerRequest::GpnFt(PortScope::fabric(FcType::FCP)).to_payload();
    let denied = net.ct(&a, &gpn_ft).unwrap_err();
    assert_eq!((denied.reason, denied.explanation), (CtReason::UNABLE, CtExplanation(0x10)));
    net.register(&a);
    let list = |net: &mut Net| {
        let body = net.ct(&a, &gpn_ft).unwrap();
        let entries = PortEntries::<GpnFtEntry>::new(&body);
        entries.map(|entry| entry.map(|entry| (entry.id, entry.port_name)).unwrap()).collect::<Vec<_>>()
    };
    let target = (TARGET, net.config.targets[0].wwpn);
    assert_eq!(list(&mut net), [target, (a.id, a.wwpn)], "b has not registered");
    net.register(&b);
    assert_eq!(list(&mut net), [target, (a.id, a.wwpn), (b.id, b.wwpn)]);

    let own = |request: NameServerRequest| request.to_payload();
    for request in [
        NameServerRequest::RnnId(a.id, Wwn::from_u64(5)),
        NameServerRequest::RsnnNn(Wwn::from_u64(5), b"host".to_vec()),
        NameServerRequest::RspnId(a.id, b"port".to_vec()),
        NameServerRequest::RffId { id: a.id, features: 2, fc_type: FcType::FCP },
    ] {
        assert_eq!(net.ct(&a, &own(request)), Ok(Vec::new()));
    }
    let body = net.ct(&b, &own(NameServerRequest::GnnId(a.id))).unwrap();
    assert_eq!(body, 5u64.to_be_bytes());
    let body = net.ct(&b, &own(NameServerRequest::GpnId(a.id))).unwrap();
    assert_eq!(port_name_reply(&body), Ok(a.wwpn));
    let body = net.ct(&b, &own(NameServerRequest::GidPn(target.1))).unwrap();
    assert_eq!(body, TARGET.to_u32().to_be_bytes());
    let body = net.ct(&b, &own(NameServerRequest::GidFt(PortScope::fabric(FcType::FCP)))).unwrap();
    assert_eq!(body.len(), 12);
    assert_eq!(body[8..], [0x80, 1, 2, 1]);
    let area = PortScope { domain: 1, area: 1, fc_type: FcType::FCP };
    assert_eq!(net.ct(&b, &own(NameServerRequest::GidFt(area))).unwrap(), [0x80, 1, 1, 1]);
}

#[test]
fn the_name_server_says_why_not() {
    let mut net = Net::new(&Net::small());
    let (a, b) = (net.log_in_fabric(1), net.log_in_fabric(2));
    net.register(&a);
    let unsupported = CtPreamble::name_server(CtCommand::new(0x0100));
    let old = CtPreamble { revision: 9, ..CtPreamble::name_server(CtCommand::GPN_ID) };
    let fdmi = CtPreamble { service: 0xfa, ..CtPreamble::name_server(CtCommand::GPN_ID) };
    let bytes = |preamble: &CtPreamble| zerocopy::IntoBytes::as_bytes(preamble).to_vec();
    let nobody = FcId::from_u32(0x01_0999);
    let table = [
        (bytes(&unsupported), CtReason::UNSUPPORTED, CtExplanation::NONE),
        (bytes(&old), CtReason::INVALID_VERSION, CtExplanation::NONE),
        (bytes(&fdmi), CtReason::UNSUPPORTED, CtExplanation::NONE),
        (bytes(&CtPreamble::name_server(CtCommand::GPN_ID)), CtReason::INVALID_SIZE, CtExplanation::NONE),
        (NameServerRequest::GpnId(nobody).to_payload(), CtReason::UNABLE, CtExplanation::ID_NOT_REGISTERED),
        (
            NameServerRequest::GidPn(Wwn::from_u64(3)).to_payload(),
            CtReason::UNABLE,
            CtExplanation::PORT_NAME_NOT_REGISTERED,
        ),
        (
            NameServerRequest::GpnFt(PortScope::fabric(FcType::NVME)).to_payload(),
            CtReason::UNABLE,
            CtExplanation::TYPE_NOT_REGISTERED,
        ),
        (
            NameServerRequest::RffId { id: a.id, features: 1, fc_type: FcType::NVME }.to_payload(),
            CtReason::UNABLE,
            CtExplanation::TYPE_NOT_REGISTERED,
        ),
        (
            NameServerRequest::RnnId(b.id, Wwn::from_u64(3)).to_payload(),
            CtReason::UNABLE,
            CtExplanation(0x10),
        ),
    ];
    for (iu, reason, explanation) in table {
        assert_eq!(net.ct(&a, &iu), Err(CtReject { reason, explanation }));
    }
}

#[test]
fn a_long_list_spans_frames() {
    let luns = Vec::<LunConfig>::new();
    let target = |number: u64| TargetConfig {
        wwpn: Wwn::from_u64(0x5000 + number),
        wwnn: Wwn::from_u64(0x6000),
        luns: luns.clone(),
    };
    let config = SanConfig { targets: (0..255).map(target).collect(), ..SanConfig::default() };
    let mut net = Net::new(&config);
    let a = net.log_in_fabric(1);
    net.register(&a);
    let mut gpn_ft = NameServerRequest::GpnFt(PortScope::fabric(FcType::FCP)).to_payload();
    let body = net.ct(&a, &gpn_ft).unwrap();
    let entries: Vec<_> = PortEntries::<GpnFtEntry>::new(&body).collect();
    assert_eq!(entries.len(), 256);
    assert_eq!(entries[255].unwrap().id, a.id);
    assert_eq!(entries[254].unwrap().id, FcId::from_u32(0x01_01ff));

    // A request may ask for less: 10 entries are 40 words.
    gpn_ft[10..12].copy_from_slice(&40u16.to_be_bytes());
    assert_eq!(net.ct(&a, &gpn_ft).unwrap().len(), 160);
}

#[test]
fn state_changes_are_told_to_those_who_asked() {
    let mut net = Net::new(&Net::small());
    let (a, b) = (net.log_in_fabric(1), net.log_in_fabric(2));
    assert_eq!(net.els(&a, FcId::FABRIC_CONTROLLER, &ElsRequest::Scr(ScrFunction::FULL)), ElsReply::Accept);
    let rscns = |frames: Vec<FcFrame>| {
        let is_rscn = |frame: &FcFrame| frame.header.r_ctl == RCtl::ELS_REQUEST;
        let frames = frames.into_iter().filter(is_rscn);
        let rscn = |frame: FcFrame| match ElsRequest::parse(&frame.payload).unwrap() {
            ElsRequest::Rscn(pages) => (frame.header, pages),
            other => panic!("{other:?}"),
        };
        frames.map(rscn).collect::<Vec<(FcHeader, Vec<RscnPage>)>>()
    };
    let parameters = Login::n_port(b.wwpn, b.wwpn, 2112, Duration::from_secs(2));
    net.els(&b, FcId::NAME_SERVER, &ElsRequest::Plogi(parameters));
    let types = Fc4Attributes::NONE.with(FcType::FCP, 0).types;
    let header = FcHeader {
        r_ctl: RCtl::CT_REQUEST,
        fc_type: FcType::CT,
        ..request_header(b.id, FcId::NAME_SERVER, 1)
    };
    net.push_fc(b.mac, &header, &NameServerRequest::RftId(b.id, types).to_payload());
    let told = rscns(net.run_fc());
    assert_eq!(told.len(), 1);
    let (header, pages) = &told[0];
    assert_eq!((header.s_id, header.d_id), (FcId::FABRIC_CONTROLLER, a.id));
    assert_eq!(header.f_ctl.get(), 0x29_0000);
    assert_eq!(pages.iter().map(|page| (page.flags, page.id)).collect::<Vec<_>>(), [(0, b.id)]);

    // b leaves and a third one comes: both in one.
    let c = net.log_in_fabric(3);
    let descriptors = |id, name| ElsRequest::Logo(Logo::new(id, name));
    net.link_service(c.enode, ElsKind::Logo, c.id, &descriptors(c.id, c.wwpn));
    let frame = FipFrame::new(Operation::KEEP_ALIVE, Flags::NONE, vec![Descriptor::Mac(a.enode)]);
    net.push_fip(a.enode, net.config.fcf.mac, &frame);
    net.wait(Duration::from_secs(15));
    net.push_fip(a.enode, net.config.fcf.mac, &frame);
    net.run();
    net.wait(Duration::from_secs(6));
    let told = rscns(net.run_fc());
    assert_eq!(told.len(), 1, "b expired");
    assert_eq!(told[0].1[0].id, b.id);

    net.els(&a, FcId::FABRIC_CONTROLLER, &ElsRequest::Scr(ScrFunction::CLEAR));
    net.log_in_fabric(4);
    assert!(rscns(net.run_fc()).is_empty());
}

#[test]
fn well_known_addresses_answer_what_they_can() {
    let mut net = Net::new(&Net::small());
    let a = net.log_in_fabric(1);
    let plogi = ElsRequest::Plogi(Login::n_port(a.wwpn, a.wwpn, 2112, Duration::from_secs(2)));
    let unsupported = ElsReply::Reject(LsRjt::UNSUPPORTED);
    for d_id in [FcId::MANAGEMENT_SERVER, FcId::from_u32(0xff_fc01), FcId::F_PORT] {
        assert_eq!(net.els(&a, d_id, &plogi), unsupported);
    }
    for d_id in [FcId::NAME_SERVER, FcId::FABRIC_CONTROLLER] {
        let ElsReply::Login(login) = net.els(&a, d_id, &plogi) else { panic!() };
        assert_eq!(login.port_name, net.config.fcf.switch_name);
        let adisc = ElsRequest::Adisc(Adisc::new(a.id, a.wwpn, a.wwpn));
        assert_eq!(net.els(&a, d_id, &adisc), unsupported);
        assert_eq!(net.els(&a, d_id, &ElsRequest::Logo(Logo::new(a.id, a.wwpn))), ElsReply::Accept);
    }
    let ElsReply::Rtv(values) = net.els(&a, FcId::F_PORT, &ElsRequest::Rtv) else { panic!() };
    assert_eq!((values.r_a_tov(), values.e_d_tov()), (Duration::from_secs(10), Duration::from_secs(2)));
}
