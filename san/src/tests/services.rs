//! The name server, state changes and the other well-known addresses.

use super::host::{FcFrame, Host, Net, TARGET, request_header};
use crate::{LunConfig, Order, SanConfig, TargetConfig};
use fc::time::Duration;
use fc::wire::ct::{
    CtCommand, CtExplanation, CtPreamble, CtReason, CtReject, GpnFtEntry, NameServerRequest, PortEntries,
    PortScope, accepted, port_name_reply,
};
use fc::wire::els::{Adisc, ElsReply, ElsRequest, Login, Logo, LsRjt, RscnPage, ScrFunction};
use fc::wire::fip::{Descriptor, Fc4Attributes, FipFrame, Flags, Operation};
use fc::wire::header::{FcHeader, FcType, RCtl};
use fc::wire::{FcId, Wwn};

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

/// The RSCNs among these frames.
fn rscns(frames: Vec<FcFrame>) -> Vec<(FcHeader, Vec<RscnPage>)> {
    let frames = frames.into_iter().filter(|frame| frame.header.r_ctl == RCtl::ELS_REQUEST);
    let rscn = |frame: FcFrame| match ElsRequest::parse(&frame.payload).unwrap() {
        ElsRequest::Rscn(pages) => (frame.header, pages),
        other => panic!("{other:?}"),
    };
    frames.map(rscn).collect()
}

#[test]
fn the_name_server_knows_who_is_there() {
    let mut net = Net::new(&Net::small());
    let (a, b) = (net.log_in_fabric(1), net.log_in_fabric(2));
    let gpn_ft = NameServerRequest::GpnFt(PortScope::fabric(FcType::FCP)).to_payload();
    let denied = net.ct(&a, &gpn_ft).unwrap_err();
    assert_eq!((denied.reason, denied.explanation), (CtReason::UNABLE, CtExplanation::ACCESS_DENIED));
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
            CtExplanation::ACCESS_DENIED,
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
        ..TargetConfig::default()
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

    // b falls silent, a doesn't.
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
fn initiators_in_zones_of_their_own_see_targets_only() {
    let mut config = Net::small();
    config.fcf.single_initiator_zones = true;
    let mut net = Net::new(&config);
    let (a, b) = (net.log_in_fabric(1), net.log_in_fabric(2));
    for host in [&a, &b] {
        net.register(host);
        net.els(host, FcId::FABRIC_CONTROLLER, &ElsRequest::Scr(ScrFunction::FULL));
    }
    net.run();
    let list = |net: &mut Net, who: &Host| {
        let body =
            net.ct(who, &NameServerRequest::GpnFt(PortScope::fabric(FcType::FCP)).to_payload()).unwrap();
        PortEntries::<GpnFtEntry>::new(&body).map(|entry| entry.unwrap().id).collect::<Vec<_>>()
    };
    let knows = |net: &mut Net, who: &Host, of: &Host| {
        let by_id = net.ct(who, &NameServerRequest::GpnId(of.id).to_payload()).is_ok();
        let by_name = net.ct(who, &NameServerRequest::GidPn(of.wwpn).to_payload()).is_ok();
        assert_eq!(by_id, by_name);
        by_id
    };
    assert_eq!((list(&mut net, &a), knows(&mut net, &a, &b)), (vec![TARGET], false));
    net.log_in_fabric(3);
    assert!(rscns(net.run_fc()).is_empty(), "who comes is nobody's news");

    // One that registers as a target is everyone's.
    let features = NameServerRequest::RffId { id: b.id, features: 3, fc_type: FcType::FCP };
    net.ct(&b, &features.to_payload()).unwrap();
    assert_eq!((list(&mut net, &a), knows(&mut net, &a, &b)), (vec![TARGET, b.id], true));
    assert!(knows(&mut net, &b, &a));
    net.san.order(net.now, &Order::ClearLink { initiator: b.wwpn }).unwrap();
    let told = rscns(net.run_fc());
    assert_eq!(
        told.iter().map(|(header, pages)| (header.d_id, pages[0].id)).collect::<Vec<_>>(),
        [(a.id, b.id)]
    );
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
