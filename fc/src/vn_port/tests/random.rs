//! Whatever comes in whatever order: nothing panics, what is kept stays bounded, and in the end, when the fabric
//! is well again, so are we.

use super::fabric::{fabric_accept, target_login, target_name};
use super::*;
use crate::exchange::MAX_EXCHANGES;
use crate::wire::els::{
    Adisc, ElsReply, ExchangeIds, Logo, LsRjt, ProcessLogin, RscnFormat, RscnPage, ServicePage, SppResponse,
};
use crate::wire::header::FCtl;
use proptest::prelude::*;
use std::vec;

const TARGETS: u32 = 4;

#[derive(Clone, Debug)]
enum Step {
    Start,
    LinkLost,
    Shutdown,
    Pass(u64),
    /// The fabric answers all that is out, or loses it.
    Settle,
    Lose,
    Request(u32, ElsRequest),
    Changed(RscnFormat, u32),
    /// Bytes of any kind in a frame that looks like one for us.
    Frame {
        kind: usize,
        from: u32,
        ox_id: u16,
        flags: u32,
        payload: Vec<u8>,
    },
    FipReply(u16, Vec<u8>),
    TargetsAre(u32),
    Moved(u32, u32),
}

fn any_request() -> impl Strategy<Value = ElsRequest> {
    use ElsRequest as R;
    let id = target_id(1);
    let page = ServicePage::fcp(0x1b2);
    prop_oneof![
        (0..TARGETS).prop_map(|number| R::Plogi(target_login(target_id(number)))),
        Just(R::Prli(page.into())),
        Just(R::Prlo(page.into())),
        Just(R::Logo(Logo::new(id, target_name(id)))),
        Just(R::Adisc(Adisc::new(id, target_name(id), target_name(id)))),
        Just(R::Rtv),
        Just(R::Rec(ExchangeIds::new(id, 7, 0))),
        Just(R::Rrq(ExchangeIds::new(id, 7, 0))),
        Just(R::Echo(Vec::from([1, 2, 3]))),
        Just(R::Flogi(fabric_accept())),
    ]
}

fn any_reply() -> impl Strategy<Value = Vec<u8>> {
    let page = ServicePage::fcp(0x1b2).answered(SppResponse::EXECUTED);
    prop_oneof![
        Just(ElsReply::Login(target_login(target_id(0))).to_payload()),
        Just(ElsReply::Login(fabric_accept()).to_payload()),
        Just(ElsReply::Process(ProcessLogin::from(page)).to_payload()),
        Just(ElsReply::Reject(LsRjt::LOGIN_REQUIRED).to_payload()),
        Just(ElsReply::Accept.to_payload()),
        proptest::collection::vec(any::<u8>(), 0..140),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    // Few addresses and IDs, so that they meet.
    let ox_id = (0u16..40).prop_map(|index| index << 3 | 7);
    let flags = prop_oneof![Just(FCtl::REPLY.get()), Just(FCtl::REQUEST.get()), 0u32..0x100_0000];
    let format = prop_oneof![
        Just(RscnFormat::Port),
        Just(RscnFormat::Area),
        Just(RscnFormat::Domain),
        Just(RscnFormat::Fabric)
    ];
    prop_oneof![
        2 => Just(Step::Start),
        1 => Just(Step::LinkLost),
        1 => Just(Step::Shutdown),
        4 => (1u64..40).prop_map(Step::Pass),
        6 => Just(Step::Settle),
        2 => Just(Step::Lose),
        5 => (0..TARGETS + 3, any_request()).prop_map(|(from, request)| Step::Request(from, request)),
        3 => (format, 0..TARGETS).prop_map(|(format, number)| Step::Changed(format, number)),
        5 => (0usize..7, 0..TARGETS + 3, ox_id.clone(), flags, any_reply()).prop_map(
            |(kind, from, ox_id, flags, payload)| Step::Frame { kind, from, ox_id, flags, payload }
        ),
        2 => (ox_id, any_reply()).prop_map(|(ox_id, payload)| Step::FipReply(ox_id, payload)),
        1 => (0..=TARGETS).prop_map(Step::TargetsAre),
        1 => (0..TARGETS, 0..TARGETS).prop_map(|(new, old)| Step::Moved(new, old)),
    ]
}

/// A target, or one of the fabric's own addresses.
fn sender(number: u32) -> FcId {
    match number.checked_sub(TARGETS) {
        None => target_id(number),
        Some(0) => FcId::NAME_SERVER,
        Some(1) => FcId::FABRIC_CONTROLLER,
        Some(_) => FcId::F_PORT,
    }
}

fn act(bench: &mut Bench, step: Step) {
    const KINDS: [(RCtl, FcType); 7] = [
        (RCtl::ELS_REQUEST, FcType::ELS),
        (RCtl::ELS_REPLY, FcType::ELS),
        (RCtl::SOLICITED_CONTROL, FcType::CT),
        (RCtl::ABTS, FcType::BLS),
        (RCtl::BA_ACC, FcType::BLS),
        (RCtl::BA_RJT, FcType::BLS),
        (RCtl::DATA, FcType::FCP),
    ];
    let now = bench.now;
    let request = |from, request: &ElsRequest| {
        FcFrame::request(KINDS[0], sender(from), OUR_ID, 0x4000, request.to_payload())
    };
    match step {
        Step::Start => bench.port.start(now),
        Step::LinkLost => bench.port.link_lost(now),
        Step::Shutdown => bench.port.shutdown(now),
        Step::Pass(secs) => bench.pass(Duration::from_secs(secs)),
        Step::Settle => bench.settle(),
        Step::Lose => while bench.port.poll_transmit().is_some() {},
        Step::Request(from, els) => bench.port.handle_frame(now, &request(from, &els)),
        Step::Changed(format, number) => {
            let pages = Vec::from([RscnPage::new(format, target_id(number))]);
            bench.port.handle_frame(now, &request(TARGETS + 1, &ElsRequest::Rscn(pages)));
        }
        Step::Frame { kind, from, ox_id, flags, payload } => {
            let mut frame = FcFrame::request(KINDS[kind], sender(from), OUR_ID, ox_id, payload);
            frame.header.f_ctl = FCtl::new(flags);
            bench.port.handle_frame(now, &frame);
        }
        Step::FipReply(ox_id, payload) => {
            let mut frame = FcFrame::request(KINDS[1], FcId::F_PORT, OUR_ID, ox_id, payload);
            frame.header.f_ctl = FCtl::REPLY;
            bench.port.handle_fip_reply(now, &frame, Some(OUR_MAC));
        }
        Step::Moved(new, old) => bench.fabric.moved = Some((target_id(new), target_id(old))),
        Step::TargetsAre(count) => bench.fabric.targets = (0..count).map(target_id).collect(),
    }
}

/// Holds the events against each other: targets come before they go, and go before the login does.
fn check_events(events: &[Event]) {
    let mut session = None;
    let mut targets = BTreeMap::new();
    for event in events {
        match *event {
            Event::LoggedIn(new) => assert!(session.replace(new.fc_id).is_none(), "logged in twice"),
            Event::LoginFailed(_) => assert_eq!(session, None),
            Event::Online => assert!(session.is_some()),
            Event::TargetReady(target) => {
                assert!(session.is_some());
                assert_eq!(targets.insert(target.port_name, target.id), None, "{event:?} twice");
            }
            Event::TargetGone { id, port_name, .. } => {
                assert_eq!(targets.remove(&port_name), Some(id), "{event:?}, but it wasn't there");
            }
            Event::Offline(_) => {
                assert!(targets.is_empty(), "{targets:?} are still there");
                session = None;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_port_survives_anything(steps in proptest::collection::vec(any_step(), 0..80)) {
        let mut bench = Bench::new(TARGETS);
        bench.port.start(bench.now);
        for step in steps {
            act(&mut bench, step);
            let left: Vec<_> = core::iter::from_fn(|| bench.port.poll_event()).collect();
            bench.events.extend(left);
            prop_assert!(bench.port.remote_ports().count() <= MAX_REMOTE_PORTS);
            prop_assert!(bench.port.exchanges.len() <= MAX_EXCHANGES);
        }
        // The fabric is well again: a shutdown ends, and a login brings all targets.
        bench.fabric.targets = (0..TARGETS).map(target_id).collect();
        bench.fabric.moved = None;
        bench.settle();
        bench.port.shutdown(bench.now);
        bench.settle();
        bench.pass(Duration::from_secs(60));
        prop_assert_eq!(bench.port.phase(), Phase::Offline);
        bench.port.start(bench.now);
        bench.settle();
        bench.pass(Duration::from_secs(60));
        prop_assert_eq!(bench.port.targets().count(), TARGETS as usize);
        bench.pass(Duration::from_secs(60));
        prop_assert!(bench.is_quiet());
        check_events(&bench.events);
    }
}
