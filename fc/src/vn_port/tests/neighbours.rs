//! A VN_Port without a fabric.

use super::*;
use crate::vn2vn::{Enode, Neighbour};
use crate::wire::els::{ElsCommand, ElsReply, Login, Logo, LsRjt};
use crate::wire::fip::{ElsKind, VxPort};

const OURS: FcId = FcId([0, 0, 1]);
const THEIRS: FcId = FcId([0, 0, 2]);

fn vx_port(fc_id: FcId, port_name: Wwn) -> VxPort {
    VxPort { mac: Enode::fcoe_destination(fc_id), fc_id, port_name }
}

fn neighbour(max_fcoe_size: u16) -> Neighbour {
    let port = vx_port(THEIRS, Wwn::from_u64(5));
    let mac = MacAddr([2, 0, 0, 0, 0, 2]);
    Neighbour { mac, node_name: Wwn::from_u64(6), port, max_fcoe_size: Some(max_fcoe_size) }
}

/// A port that is online, its events fetched.
fn online() -> VnPort {
    let mut port = VnPort::vn2vn(identity(LoginKind::Flogi), OxIdRange::new(7, 7));
    port.id_claimed(Instant::ZERO, &vx_port(OURS, OUR_NAME));
    let Some(Event::LoggedIn(session)) = port.poll_event() else { panic!("not logged in") };
    assert_eq!((session.fc_id, session.mac, session.f_port), (OURS, MacAddr([0x0e, 0xfd, 0, 0, 0, 1]), None));
    assert_eq!(port.poll_event(), Some(Event::Online));
    port
}

fn request(payload: Vec<u8>) -> FcFrame {
    FcFrame::request((RCtl::ELS_REQUEST, FcType::ELS), THEIRS, OURS, 0x4000, payload)
}

fn flogi() -> ElsRequest {
    ElsRequest::Flogi(Login::fabric(Wwn::from_u64(5), Wwn::from_u64(6), 2112))
}

/// The reply that is sent first.
fn reply(port: &mut VnPort, to: ElsCommand) -> (Via, ElsReply) {
    let Outgoing { via, frame } = port.poll_transmit().expect("a reply");
    assert_eq!((frame.header.r_ctl, frame.header.d_id), (RCtl::ELS_REPLY, THEIRS));
    (via, ElsReply::parse(to, &frame.payload).unwrap())
}

#[test]
fn logins_offer_what_both_ends_take() {
    for (max_fcoe_size, len) in [(2158, 2112), (1498, 1452), (1500, 1452), (302, 256)] {
        let mut port = online();
        port.neighbour_up(Instant::ZERO, &neighbour(max_fcoe_size));
        let Outgoing { via, frame } = port.poll_transmit().unwrap();
        let mac = Enode::fcoe_destination(OURS);
        assert_eq!(via, Via::Fip { kind: ElsKind::Flogi, mac });
        let Ok(ElsRequest::Flogi(login)) = ElsRequest::parse(&frame.payload) else { panic!("no FLOGI") };
        assert_eq!(login.common.receive_len(), len);
    }
    let mut port = online();
    port.neighbour_up(Instant::ZERO, &neighbour(301));
    assert_eq!((port.poll_transmit(), port.remote_ports().count()), (None, 0));
}

#[test]
fn a_login_is_answered_before_the_neighbour_was_told_of() {
    let mut port = online();
    let from = neighbour(2158);
    port.handle_fip_request(Instant::ZERO, &from, ElsKind::Flogi, &request(flogi().to_payload()));
    let (via, accept) = reply(&mut port, ElsCommand::FLOGI);
    assert_eq!(via, Via::Fip { kind: ElsKind::Flogi, mac: Enode::fcoe_destination(OURS) });
    assert!(matches!(accept, ElsReply::Login(login) if login.port_name == OUR_NAME));
    // Ours is the higher name.
    let Outgoing { via: Via::Fcoe, frame } = port.poll_transmit().unwrap() else {
        panic!("PLOGI goes by FCoE")
    };
    assert_eq!(ElsCommand::of(&frame.payload), Ok(ElsCommand::PLOGI));
}

#[test]
fn what_fip_does_not_carry_is_rejected() {
    let from = neighbour(2158);
    let plogi = ElsRequest::Plogi(Login::n_port(Wwn::from_u64(5), Wwn::from_u64(6), 2112, Duration::ZERO));
    for (kind, payload, reject) in [
        (ElsKind::Flogi, plogi.to_payload(), LsRjt::UNSUPPORTED),
        (ElsKind::Logo, flogi().to_payload(), LsRjt::UNSUPPORTED),
        (ElsKind::Flogi, Vec::from([4, 0, 0, 0]), LsRjt::MALFORMED),
    ] {
        let mut port = online();
        port.handle_fip_request(Instant::ZERO, &from, kind, &request(payload));
        assert_eq!(reply(&mut port, ElsCommand::FLOGI).1, reject.into());
        assert_eq!(port.remote_ports().count(), 0);
    }
    // And a logout of nobody is one that succeeded.
    let mut port = online();
    let logo = ElsRequest::Logo(Logo::new(THEIRS, Wwn::from_u64(5)));
    port.handle_fip_request(Instant::ZERO, &from, ElsKind::Logo, &request(logo.to_payload()));
    assert_eq!(reply(&mut port, ElsCommand::LOGO).1, ElsReply::Accept);
    assert_eq!((port.remote_ports().count(), port.poll_timeout()), (0, None));
}

#[test]
fn who_is_no_neighbour_logs_in_to_nobody() {
    let mut port = online();
    let plogi = ElsRequest::Plogi(Login::n_port(Wwn::from_u64(5), Wwn::from_u64(6), 2112, Duration::ZERO));
    port.handle_frame(Instant::ZERO, &request(plogi.to_payload()));
    assert_eq!(reply(&mut port, ElsCommand::PLOGI), (Via::Fcoe, LsRjt::LOGIN_REQUIRED.into()));
    port.handle_frame(Instant::ZERO, &request(flogi().to_payload()));
    assert_eq!(reply(&mut port, ElsCommand::FLOGI), (Via::Fcoe, LsRjt::UNSUPPORTED.into()));
    // There is no name server that could log us out.
    let mut logo = request(ElsRequest::Logo(Logo::new(OURS, OUR_NAME)).to_payload());
    logo.header.s_id = FcId::NAME_SERVER;
    port.handle_frame(Instant::ZERO, &logo);
    assert_eq!((port.poll_transmit(), port.counters().misaddressed), (None, 1));
}

#[test]
fn whoever_goes_answers_nobody() {
    let mut port = online();
    port.shutdown(Instant::ZERO);
    assert_eq!(port.poll_event(), Some(Event::Offline(LogoutReason::Shutdown)));
    port.handle_fip_request(Instant::ZERO, &neighbour(2158), ElsKind::Flogi, &request(flogi().to_payload()));
    port.neighbour_up(Instant::ZERO, &neighbour(2158));
    assert_eq!((port.poll_transmit(), port.remote_ports().count()), (None, 0));
}

#[test]
#[should_panic(expected = "VN2VN has no FCF")]
fn there_is_no_fabric_to_log_in_to() {
    online().start(Instant::ZERO);
}
