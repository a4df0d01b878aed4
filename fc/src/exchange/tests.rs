use super::*;
use crate::wire::ct::{CtCommand, CtPreamble, CtReason, CtReject, NameServerRequest, PortScope};
use crate::wire::els::LsRjt;
use crate::wire::fip::ElsKind;
use crate::wire::{MacAddr, Wwn};
use alloc::vec;
use proptest::prelude::*;

const US: FcId = FcId([1, 1, 1]);
const PEER: FcId = FcId([1, 2, 1]);
const R_A_TOV: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(20);

fn exchanges() -> Exchanges<u8> {
    Exchanges::new(OxIdRange::new(7, 7), R_A_TOV)
}

fn at(secs: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(secs)
}

fn request(via: Via, d_id: FcId, service: Service) -> Request {
    Request { via, s_id: US, d_id, service, timeout: TIMEOUT }
}

fn rtv() -> Request {
    request(Via::Fcoe, PEER, Service::Els(ElsRequest::Rtv))
}

fn list() -> Request {
    let service = Service::NameServer(NameServerRequest::GpnFt(PortScope::fabric(FcType::FCP)));
    request(Via::Fcoe, FcId::NAME_SERVER, service)
}

/// Begins `request` under key 1 and gives its frame.
fn begun(exchanges: &mut Exchanges<u8>, request: &Request) -> FcFrame {
    exchanges.begin(at(0), Some(1), request).unwrap();
    exchanges.poll_transmit().unwrap().frame
}

/// One frame of a CT reply.
fn ct_reply(request: &FcFrame, seq_cnt: u16, is_last: bool, payload: &[u8]) -> FcFrame {
    let mut frame = FcFrame::els_reply(&request.header, payload.to_vec());
    frame.header.r_ctl = RCtl::SOLICITED_CONTROL;
    frame.header.seq_cnt = seq_cnt.into();
    if !is_last {
        frame.header.f_ctl = FCtl::new(FCtl::EXCHANGE_RESPONDER | FCtl::LAST_SEQUENCE);
    }
    frame
}

fn bls_reply(abts: &FcFrame, r_ctl: RCtl) -> FcFrame {
    FcFrame::bls_reply(&abts.header, r_ctl, Vec::new())
}

#[test]
fn a_reply_is_matched_by_addresses_type_and_ox_id() {
    let mut exchanges = exchanges();
    let request = begun(&mut exchanges, &rtv());
    assert!(OxIdRange::new(7, 7).contains(request.header.ox_id.get()));
    let reply = FcFrame::els_reply(&request.header, ElsReply::Reject(LsRjt::UNSUPPORTED).to_payload());
    let spoils: [fn(&mut FcHeader); 6] = [
        |header| header.s_id = FcId([9, 9, 9]),
        |header| header.d_id = FcId([9, 9, 9]),
        |header| header.ox_id = 0x17.into(),
        |header| header.f_ctl = FCtl::REQUEST,
        |header| (header.r_ctl, header.fc_type) = (RCtl::SOLICITED_CONTROL, FcType::CT),
        |header| (header.r_ctl, header.fc_type) = (RCtl::STATUS, FcType::FCP),
    ];
    for spoil in spoils {
        let mut other = reply.clone();
        spoil(&mut other.header);
        assert_eq!(exchanges.handle_fcoe_frame(at(1), &other), None);
    }
    assert_eq!(exchanges.handle_fip_frame(at(1), &reply), None, "it was asked by FCoE");
    assert_eq!(exchanges.counters().unmatched, 7);
    let outcome = exchanges.handle_fcoe_frame(at(1), &reply);
    assert_eq!(outcome, Some((1, Err(Failure::Rejected(LsRjt::UNSUPPORTED)))));
    assert_eq!(exchanges.handle_fcoe_frame(at(1), &reply), None, "there is one outcome");
    assert_eq!(exchanges.poll_timeout(), None);
}

#[test]
fn a_fabric_login_is_answered_to_the_new_address() {
    let mut exchanges = exchanges();
    let login = crate::wire::els::Login::fabric(Wwn::from_u64(1), Wwn::from_u64(2), 2112);
    let service = Service::Els(ElsRequest::Flogi(login));
    let flogi = request(Via::Fip { kind: ElsKind::Flogi, mac: MacAddr::ZERO }, FcId::F_PORT, service);
    let frame = begun(&mut exchanges, &Request { s_id: FcId::UNASSIGNED, ..flogi });
    let mut reply = FcFrame::els_reply(&frame.header, ElsReply::Login(login).to_payload());
    reply.header.d_id = US;
    assert_eq!(exchanges.handle_fcoe_frame(at(1), &reply), None, "it was asked by FIP");
    let expected = Answer::Els { d_id: US, reply: ElsReply::Login(login) };
    assert_eq!(exchanges.handle_fip_frame(at(1), &reply), Some((1, Ok(expected))));
}

#[test]
fn a_silent_responder_is_aborted_and_the_id_rests() {
    let mut exchanges = exchanges();
    let request = begun(&mut exchanges, &rtv());
    assert_eq!(exchanges.poll_timeout(), Some(at(20)));
    assert!(exchanges.handle_timeout(at(19)).is_empty());
    assert_eq!(exchanges.handle_timeout(at(20)), [1]);
    let abts = exchanges.poll_transmit().unwrap().frame;
    assert_eq!((abts.header.r_ctl, abts.header.f_ctl.get()), (RCtl::ABTS, 0x09_0000));
    assert_eq!(abts.header.ox_id, request.header.ox_id);
    // The reply comes late: nobody waits for it any more.
    let late = FcFrame::els_reply(&request.header, ElsReply::Accept.to_payload());
    assert_eq!(exchanges.handle_fcoe_frame(at(21), &late), None);
    assert_eq!(exchanges.handle_fcoe_frame(at(22), &bls_reply(&abts, RCtl::BA_ACC)), None);
    assert_eq!(exchanges.poll_timeout(), Some(at(32)));
    assert!(exchanges.handle_timeout(at(32)).is_empty());
    let rrq = exchanges.poll_transmit().unwrap().frame;
    let ids = ExchangeIds::new(US, request.header.ox_id.get(), UNASSIGNED_XID);
    assert_eq!(rrq.payload, ElsRequest::Rrq(ids).to_payload());
    let accept = FcFrame::els_reply(&rrq.header, ElsReply::Accept.to_payload());
    assert_eq!(exchanges.handle_fcoe_frame(at(33), &accept), None);
    assert_eq!(exchanges.poll_timeout(), None);
}

#[test]
fn an_abort_that_is_rejected_or_not_answered_needs_no_rrq() {
    for answer in [Some(RCtl::BA_RJT), None] {
        let mut exchanges = exchanges();
        begun(&mut exchanges, &rtv());
        exchanges.handle_timeout(at(20));
        let abts = exchanges.poll_transmit().unwrap().frame;
        if let Some(r_ctl) = answer {
            exchanges.handle_fcoe_frame(at(40), &bls_reply(&abts, r_ctl));
        } else {
            exchanges.handle_timeout(at(40));
        }
        assert_eq!(exchanges.poll_timeout(), Some(at(50)));
        exchanges.handle_timeout(at(50));
        assert_eq!((exchanges.poll_transmit(), exchanges.poll_timeout()), (None, None));
    }
}

#[test]
fn a_responder_may_abort() {
    let mut exchanges = exchanges();
    let request = begun(&mut exchanges, &rtv());
    let mut abts = FcFrame::els_reply(&request.header, Vec::new());
    (abts.header.r_ctl, abts.header.fc_type) = (RCtl::ABTS, FcType::BLS);
    assert_eq!(exchanges.handle_fcoe_frame(at(1), &abts), Some((1, Err(Failure::Aborted))));
    let reply = exchanges.poll_transmit().unwrap().frame;
    assert_eq!((reply.header.r_ctl, reply.header.d_id), (RCtl::BA_ACC, PEER));
    // An exchange that never was, and one of which the sender is the originator.
    abts.header.ox_id = 0xff.into();
    assert_eq!(exchanges.handle_fcoe_frame(at(1), &abts), None);
    assert_eq!(exchanges.poll_transmit().unwrap().frame.header.r_ctl, RCtl::BA_RJT);
    abts.header.f_ctl = FCtl::REQUEST;
    assert_eq!(exchanges.handle_fcoe_frame(at(1), &abts), None);
    assert_eq!(exchanges.poll_transmit().unwrap().frame.header.r_ctl, RCtl::BA_ACC);
}

#[test]
fn a_long_reply_comes_in_several_frames() {
    let mut exchanges = exchanges();
    let request = begun(&mut exchanges, &list());
    let preamble = CtPreamble::name_server(CtCommand::ACCEPT);
    let first = ct_reply(&request, 0, false, preamble.as_bytes());
    assert_eq!(exchanges.handle_fcoe_frame(at(1), &first), None);
    assert_eq!(exchanges.handle_fcoe_frame(at(1), &first), None, "a frame may come twice");
    assert_eq!(exchanges.handle_fcoe_frame(at(1), &ct_reply(&request, 1, false, &[1; 2112])), None);
    let outcome = exchanges.handle_fcoe_frame(at(1), &ct_reply(&request, 2, true, &[2; 8]));
    let body = [vec![1; 2112], vec![2; 8]].concat();
    assert_eq!(outcome, Some((1, Ok(Answer::NameServer(body)))));
}

#[test]
fn a_reply_with_a_gap_or_without_an_end_is_aborted() {
    let preamble = CtPreamble::name_server(CtCommand::ACCEPT);
    for gap in [true, false] {
        let mut exchanges = exchanges();
        let request = begun(&mut exchanges, &list());
        let mut outcome =
            exchanges.handle_fcoe_frame(at(1), &ct_reply(&request, 0, false, preamble.as_bytes()));
        if gap {
            outcome = exchanges.handle_fcoe_frame(at(1), &ct_reply(&request, 2, false, &[1; 2112]));
        } else {
            for seq_cnt in 1..=32 {
                assert_eq!(outcome, None);
                outcome = exchanges.handle_fcoe_frame(at(1), &ct_reply(&request, seq_cnt, false, &[1; 2112]));
            }
        }
        assert_eq!(outcome, Some((1, Err(Failure::Broken))));
        assert_eq!(exchanges.poll_transmit().unwrap().frame.header.r_ctl, RCtl::ABTS);
        assert_eq!(exchanges.counters().broken, 1);
    }
}

#[test]
fn a_reject_is_told_with_its_reason() {
    let mut exchanges = exchanges();
    let request = begun(&mut exchanges, &list());
    let reject = CtReject { reason: CtReason::UNABLE, explanation: ct::CtExplanation::TYPE_NOT_REGISTERED };
    let frame = ct_reply(&request, 0, true, CtPreamble::reject(reject).as_bytes());
    assert_eq!(exchanges.handle_fcoe_frame(at(1), &frame), Some((1, Err(Failure::CtRejected(reject)))));
}

#[test]
fn ids_that_rest_are_not_given_until_r_a_tov_is_over() {
    let mut exchanges = Exchanges::<u8>::new(OxIdRange::new(0xfff8, 0), R_A_TOV);
    for _ in 0..8 {
        exchanges.begin(at(0), Some(1), &rtv()).unwrap();
    }
    assert_eq!(exchanges.begin(at(0), Some(1), &rtv()), Err(Failure::TooMany));
    exchanges.forget(at(5), |_| true);
    assert_eq!(exchanges.begin(at(14), Some(1), &rtv()), Err(Failure::TooMany));
    assert!(exchanges.handle_timeout(at(15)).is_empty(), "what is forgotten has no outcome");
    exchanges.begin(at(15), Some(1), &rtv()).unwrap();
}

#[test]
fn a_reset_sends_nothing_more() {
    let mut exchanges = exchanges();
    exchanges.begin(at(0), Some(1), &rtv()).unwrap();
    exchanges.reset(at(1));
    assert!(exchanges.handle_timeout(at(11)).is_empty());
    assert_eq!((exchanges.poll_transmit(), exchanges.poll_timeout()), (None, None));
}

proptest! {
    /// Whatever comes, each request has at most one outcome, and what is kept stays within its bounds.
    #[test]
    fn any_frames_are_safe(frames in proptest::collection::vec(
        (0u8..6, 0u16..6, any::<bool>(), 0u16..3, proptest::collection::vec(any::<u8>(), 0..40)), 0..60,
    )) {
        let mut exchanges = Exchanges::<u8>::new(OxIdRange::new(0xfff8, 0), R_A_TOV);
        let (mut begun, mut ended) = (0, 0);
        for (i, (kind, ox_id, is_responder, seq_cnt, payload)) in frames.into_iter().enumerate() {
            let now = at(i as u64 * 3);
            let request = if kind == 1 { list() } else { rtv() };
            begun += usize::from(exchanges.begin(now, Some(1), &request).is_ok());
            let kinds = [
                (RCtl::ELS_REPLY, FcType::ELS), (RCtl::SOLICITED_CONTROL, FcType::CT), (RCtl::ABTS, FcType::BLS),
                (RCtl::BA_ACC, FcType::BLS), (RCtl::BA_RJT, FcType::BLS), (RCtl::DATA, FcType::FCP),
            ];
            let d_id = if kind == 1 { FcId::NAME_SERVER } else { PEER };
            let mut frame = FcFrame::request(kinds[usize::from(kind)], d_id, US, ox_id, payload);
            frame.header.seq_cnt = seq_cnt.into();
            if is_responder {
                frame.header.f_ctl = FCtl::REPLY;
            }
            ended += usize::from(exchanges.handle_fcoe_frame(now, &frame).is_some());
            ended += exchanges.handle_timeout(now).len();
            prop_assert!(ended <= begun && exchanges.exchanges.len() <= 8);
        }
        while let Some(until) = exchanges.poll_timeout() {
            ended += exchanges.handle_timeout(until).len();
        }
        prop_assert_eq!(begun, ended, "every request has its outcome");
    }
}
