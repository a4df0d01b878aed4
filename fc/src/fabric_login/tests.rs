use super::*;
use crate::retry::DEFAULT_RECONNECT_DELAY;
use crate::wire::ct::{CtExplanation, CtReason, CtReject, GpnFtEntry};
use crate::wire::els::{RscnFormat, RscnPage, common_features};
use crate::wire::header::MAX_PAYLOAD_LEN;
use std::format;
use std::string::String;
use zerocopy::IntoBytes;

const OUR_ID: FcId = FcId([1, 1, 1]);
const MAC: MacAddr = MacAddr([0x0e, 0xfc, 0, 1, 1, 1]);
const REFUSED: Failure = Failure::Rejected(LsRjt::LOGIN_REQUIRED);

fn identity() -> Identity {
    Identity {
        port_name: Wwn::from_u64(0x2000_0000_0000_0009),
        node_name: Wwn::from_u64(0x1000_0000_0000_0009),
        symbolic_port_name: b"port".to_vec(),
        symbolic_node_name: b"node".to_vec(),
        max_payload_len: MAX_PAYLOAD_LEN as u16,
        login: LoginKind::Flogi,
        reconnect_delay: DEFAULT_RECONNECT_DELAY,
    }
}

/// An F_Port's LS_ACC to FLOGI.
fn fabric_accept() -> Login {
    let mut login = Login::fabric(Wwn::from_u64(7), Wwn::from_u64(8), 2048);
    login.common.features = (common_features::F_PORT | common_features::NPIV).into();
    login.common.by_login = 5000.into();
    login.common.e_d_tov = 1000.into();
    login
}

fn els(reply: ElsReply) -> Result<Answer, Failure> {
    Ok(Answer::Els { d_id: OUR_ID, reply })
}

/// A name server's list of these ports, each named after its address.
fn list(ids: &[u32]) -> Answer {
    let entry = |(i, &id): (usize, &u32)| {
        GpnFtEntry::new(FcId::from_u32(id), Wwn::from_u64(id.into()), i + 1 == ids.len())
    };
    let entries: Vec<_> = ids.iter().enumerate().map(entry).collect();
    Answer::NameServer(entries.as_bytes().to_vec())
}

/// What is ordered, in order, by name.
fn orders(login: &mut FabricLogin) -> Vec<String> {
    let name = |service: &Service| match service {
        Service::Els(els) => format!("{}", els.command()),
        Service::NameServer(ct) => format!("{:?}", ct.command()),
    };
    core::iter::from_fn(|| login.poll_order())
        .map(|order| match order {
            Order::Ask(request) => name(&request.service),
            Order::Tell(request) => format!("tell {}", name(&request.service)),
            Order::Forget => String::from("forget"),
        })
        .collect()
}

fn events(login: &mut FabricLogin) -> Vec<FabricEvent> {
    core::iter::from_fn(|| login.poll_event()).collect()
}

fn event_names(login: &mut FabricLogin) -> Vec<String> {
    let name = |event: &FabricEvent| match event {
        FabricEvent::LoggedIn(_) => String::from("logged in"),
        FabricEvent::LoginFailed(_) => String::from("login failed"),
        FabricEvent::Ports(_) => String::from("ports"),
        FabricEvent::LoggedOut(LogoutReason::ServiceFailed(_)) => String::from("logged out ServiceFailed"),
        FabricEvent::LoggedOut(reason) => format!("logged out {reason:?}"),
    };
    events(login).iter().map(name).collect()
}

/// The good answer to whatever is out.
fn good_answer(login: &FabricLogin) -> Result<Answer, Failure> {
    match &login.state {
        State::LoggingIn => els(ElsReply::Login(fabric_accept())),
        State::Registering { step: Step::NameServerLogin, .. } => {
            els(ElsReply::Login(Login::n_port(Wwn::from_u64(7), Wwn::from_u64(8), 2048, DEFAULT_E_D_TOV)))
        }
        State::Registering { step: Step::StateChanges, .. } | State::LoggingOut => els(ElsReply::Accept),
        State::Registering { .. } => Ok(Answer::NameServer(Vec::new())),
        State::Online { .. } | State::Offline | State::Waiting { .. } => Ok(list(&[0x01_0201])),
    }
}

/// A login after this many good answers; its orders and events are fetched.
fn login_after(answers: usize) -> FabricLogin {
    let mut login = FabricLogin::new(identity());
    login.start();
    for _ in 0..answers {
        login.handle_outcome(Instant::ZERO, good_answer(&login), Some(MAC));
    }
    orders(&mut login);
    events(&mut login);
    login
}

/// FLOGI, the seven steps, the first list.
const ANSWERS_UNTIL_LISTED: usize = 9;

fn rscn(format: RscnFormat, id: u32) -> ElsRequest {
    ElsRequest::Rscn(Vec::from([RscnPage::new(format, FcId::from_u32(id))]))
}

/// What the last query changed.
fn changes(login: &mut FabricLogin) -> PortChanges {
    match events(login).pop() {
        Some(FabricEvent::Ports(changes)) => changes,
        other => panic!("{other:?}"),
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Input {
    Start,
    LinkLost,
    Shutdown,
    Accepted,
    Rejected,
    TimedOut,
    Deadline,
    Rscn,
    Logo,
}

impl Input {
    const ALL: [Self; 9] = [
        Self::Start,
        Self::LinkLost,
        Self::Shutdown,
        Self::Accepted,
        Self::Rejected,
        Self::TimedOut,
        Self::Deadline,
        Self::Rscn,
        Self::Logo,
    ];
}

/// Whether a request is out, so that it can be accepted, rejected or time out.
fn is_asking(login: &FabricLogin) -> bool {
    match &login.state {
        State::LoggingIn | State::LoggingOut => true,
        State::Registering { retry_at, .. } => retry_at.is_none(),
        State::Online { discovery, .. } => discovery.is_asking(),
        State::Offline | State::Waiting { .. } => false,
    }
}

fn apply(login: &mut FabricLogin, input: Input) {
    let now = Instant::ZERO;
    match input {
        Input::Start => login.start(),
        Input::LinkLost => login.link_lost(),
        Input::Shutdown => login.shutdown(),
        Input::Accepted => login.handle_outcome(now, good_answer(login), Some(MAC)),
        Input::Rejected => login.handle_outcome(now, Err(REFUSED), None),
        Input::TimedOut => login.handle_outcome(now, Err(Failure::TimedOut), None),
        Input::Deadline => login.handle_timeout(login.poll_timeout().unwrap_or(now)),
        Input::Rscn => {
            let rscn = rscn(RscnFormat::Port, 0x01_0201);
            let reply = login.handle_request(now, FcId::FABRIC_CONTROLLER, &rscn);
            assert_eq!(reply, Some(ElsReply::Accept));
        }
        Input::Logo => {
            let logo = ElsRequest::Logo(Logo::new(FcId::NAME_SERVER, Wwn::from_u64(7)));
            assert_eq!(login.handle_request(now, FcId::NAME_SERVER, &logo), Some(ElsReply::Accept));
        }
    }
}

/// A login in each state, with nothing to fetch.
fn logins() -> Vec<(&'static str, FabricLogin)> {
    let mut waiting = login_after(0);
    waiting.handle_outcome(Instant::ZERO, Err(REFUSED), None);
    let mut retrying = login_after(1);
    retrying.handle_outcome(Instant::ZERO, Err(REFUSED), None);
    let mut failing = login_after(1);
    for _ in 1..MAX_SERVICE_FAILURES {
        failing.handle_outcome(Instant::ZERO, Err(REFUSED), None);
        failing.handle_timeout(failing.poll_timeout().unwrap());
    }
    let mut query_failed = login_after(8);
    query_failed.handle_outcome(Instant::ZERO, Err(REFUSED), None);
    let mut logging_out = login_after(ANSWERS_UNTIL_LISTED);
    logging_out.shutdown();
    let mut logins = std::vec![
        ("Offline", FabricLogin::new(identity())),
        ("LoggingIn", login_after(0)),
        ("Waiting", waiting),
        ("Registering", login_after(1)),
        (" retrying", retrying),
        (" failing", failing),
        (" last step", login_after(7)),
        ("Online asking", login_after(8)),
        (" retrying", query_failed),
        (" idle", login_after(ANSWERS_UNTIL_LISTED)),
        ("LoggingOut", logging_out),
    ];
    for (_, login) in &mut logins {
        orders(login);
        events(login);
    }
    logins
}

/// What every input does in every state: the state after it, the orders, the events.
const TABLE: &str = include_str!("transitions.txt");

#[test]
fn every_transition_is_as_the_table_says() {
    let mut table = String::new();
    for (name, login) in logins() {
        for input in Input::ALL {
            if matches!(input, Input::Accepted | Input::Rejected | Input::TimedOut) && !is_asking(&login) {
                continue;
            }
            let mut login = login.clone();
            apply(&mut login, input);
            let effects = [orders(&mut login), event_names(&mut login)].concat().join(", ");
            let (input, after) = (format!("{input:?}"), format!("{:?}", login.phase()));
            let line = format!("{name:<13} {input:<8} -> {after:<11} {effects}");
            table += line.trim_end();
            table.push('\n');
        }
    }
    assert_eq!(table, TABLE, "\n{table}");
}

/// Is accepted, and thrown out after so long; how long it waits then.
fn thrown_out(login: &mut FabricLogin, now: &mut Instant, after: Duration) -> Duration {
    login.handle_outcome(*now, good_answer(login), Some(MAC));
    *now = *now + after;
    login.cleared(*now);
    if login.phase() == Phase::Offline {
        login.start();
        return Duration::ZERO;
    }
    let waits = login.poll_timeout().unwrap().since(*now);
    login.start();
    assert_eq!(login.phase(), Phase::Waiting, "that there is an FCF is no reason");
    *now = *now + waits;
    login.handle_timeout(*now);
    assert_eq!(login.phase(), Phase::LoggingIn);
    waits
}

/// As two that log in by one WWPN do to each other.
#[test]
fn who_is_thrown_out_again_and_again_waits_ever_longer() {
    let (mut login, mut now) = (login_after(0), Instant::ZERO);
    for expected in [0, 2, 4, 8, 16, 30, 30].map(Duration::from_secs) {
        let waits = thrown_out(&mut login, &mut now, Duration::from_millis(1));
        assert!((expected..=expected * 5 / 4).contains(&waits), "{waits:?}");
    }
    // A login that has lasted is another matter.
    for after in [LASTING, LASTING] {
        assert_eq!(thrown_out(&mut login, &mut now, after), Duration::ZERO);
    }
    assert!(thrown_out(&mut login, &mut now, Duration::from_secs(1)) < Duration::from_secs(3));
}

#[test]
fn what_the_fabric_grants_is_checked() {
    type Spoil = fn(&mut Login, &mut FcId, &mut Option<MacAddr>);
    let spoils: [Spoil; 6] = [
        |login, _, _| login.common.features = common_features::NPIV.into(),
        |login, _, _| login.common.receive_size = 255.into(),
        |login, _, _| login.common.receive_size = 2113.into(),
        |_, id, _| *id = FcId::UNASSIGNED,
        |_, id, _| *id = FcId::F_PORT,
        |_, _, mac| *mac = None,
    ];
    for (i, spoil) in spoils.into_iter().enumerate() {
        let (mut accept, mut id, mut mac) = (fabric_accept(), OUR_ID, Some(MAC));
        spoil(&mut accept, &mut id, &mut mac);
        let mut login = login_after(0);
        let answer = Answer::Els { d_id: id, reply: ElsReply::Login(accept) };
        login.handle_outcome(Instant::ZERO, Ok(answer), mac);
        assert_eq!(event_names(&mut login), ["login failed"], "{i}");
        assert_eq!(login.phase(), Phase::Waiting, "{i}");
    }
}

#[test]
fn a_session_is_what_both_sides_agree_on() {
    let session = *login_after(1).session().unwrap();
    let f_port = session.f_port.unwrap();
    assert_eq!((session.fc_id, session.mac), (OUR_ID, MAC));
    assert_eq!((f_port.port_name, f_port.fabric_name), (Wwn::from_u64(7), Wwn::from_u64(8)));
    assert_eq!(session.max_payload_len, 2048);
    assert_eq!((session.r_a_tov, session.e_d_tov), (Duration::from_secs(5), Duration::from_secs(1)));
    assert!(f_port.has_npiv);

    let mut accept = fabric_accept();
    accept.common.by_login = 0.into();
    accept.common.e_d_tov = u32::MAX.into();
    let session = Session::new(&identity(), OUR_ID, &accept, Some(MAC)).unwrap();
    assert_eq!(session.r_a_tov, DEFAULT_R_A_TOV);
    assert_eq!(session.e_d_tov, Duration::from_secs(120), "a value that can't be meant");
}

#[test]
fn refused_names_and_features_are_lived_with() {
    let reject = CtReject { reason: CtReason::UNABLE, explanation: CtExplanation::NODE_NAME_NOT_REGISTERED };
    let refused = Err(Failure::CtRejected(reject));
    for (answers, is_needed) in [(2, true), (3, false), (4, false), (5, true), (6, false)] {
        let mut login = login_after(answers);
        login.handle_outcome(Instant::ZERO, refused.clone(), None);
        let is_retried = login.poll_timeout().is_some();
        assert_eq!(is_retried, is_needed, "after {answers} answers");
    }
    let mut login = login_after(7);
    login.handle_outcome(Instant::ZERO, Err(Failure::Rejected(LsRjt::UNSUPPORTED)), None);
    assert_eq!(login.phase(), Phase::Online, "a fabric without state changes");
}

#[test]
fn a_list_is_held_against_the_one_before() {
    let mut login = login_after(8);
    let own_and_two = list(&[0x01_0101, 0x01_0201, 0x01_0202]);
    login.handle_outcome(Instant::ZERO, Ok(own_and_two), None);
    let first = changes(&mut login);
    let name = |id: u32| (FcId::from_u32(id), Wwn::from_u64(id.into()));
    assert_eq!(first.added, [name(0x01_0201), name(0x01_0202)]);
    assert!(first.gone.is_empty() && first.confirmed.is_empty());

    let area = rscn(RscnFormat::Area, 0x01_0200);
    login.handle_request(Instant::ZERO, FcId::FABRIC_CONTROLLER, &area);
    assert_eq!(orders(&mut login), ["0172"]);
    login.handle_outcome(Instant::ZERO, Ok(list(&[0x01_0202, 0x01_0301])), None);
    let second = changes(&mut login);
    assert_eq!(second.added, [name(0x01_0301)]);
    assert_eq!(second.gone, [FcId::from_u32(0x01_0201)]);
    assert_eq!(second.confirmed, [name(0x01_0202)]);

    // Nobody is registered any more, which is told by a reject.
    let domain = rscn(RscnFormat::Domain, 0x01_0000);
    login.handle_request(Instant::ZERO, FcId::FABRIC_CONTROLLER, &domain);
    let reject = CtReject { reason: CtReason::UNABLE, explanation: CtExplanation::TYPE_NOT_REGISTERED };
    login.handle_outcome(Instant::ZERO, Err(Failure::CtRejected(reject)), None);
    assert_eq!(changes(&mut login).gone.len(), 2);
}

#[test]
fn a_name_server_that_denies_access_has_forgotten_us() {
    let reject = CtReject { reason: CtReason::UNABLE, explanation: CtExplanation::ACCESS_DENIED };
    let denied = || Err(Failure::CtRejected(reject));
    for page in [rscn(RscnFormat::Domain, 0x01_0000), rscn(RscnFormat::Port, 0x01_0201)] {
        let mut login = login_after(ANSWERS_UNTIL_LISTED);
        login.handle_request(Instant::ZERO, FcId::FABRIC_CONTROLLER, &page);
        events(&mut login);
        orders(&mut login);
        login.handle_outcome(Instant::ZERO, denied(), None);
        assert!(event_names(&mut login).is_empty(), "it tells nothing of the ports");
        assert_eq!(login.phase(), Phase::Registering);
        login.handle_timeout(login.poll_timeout().unwrap());
        assert_eq!(login.phase(), Phase::Registering);
    }
}

#[test]
fn a_single_change_is_asked_for_by_name() {
    let mut login = login_after(ANSWERS_UNTIL_LISTED);
    let ask = |login: &mut FabricLogin, id, answer| {
        login.handle_request(Instant::ZERO, FcId::FABRIC_CONTROLLER, &rscn(RscnFormat::Port, id));
        assert_eq!(orders(login), ["0112"]);
        login.handle_outcome(Instant::ZERO, answer, None);
        changes(login)
    };
    let named = |name: u64| Ok(Answer::NameServer(name.to_be_bytes().to_vec()));
    let known = FcId::from_u32(0x01_0201);
    assert_eq!(ask(&mut login, 0x01_0201, named(0x01_0201)).confirmed, [(known, Wwn::from_u64(0x01_0201))]);
    let renamed = ask(&mut login, 0x01_0201, named(9));
    assert_eq!((renamed.gone, renamed.added), (Vec::from([known]), Vec::from([(known, Wwn::from_u64(9))])));
    let reject = CtReject { reason: CtReason::UNABLE, explanation: CtExplanation::ID_NOT_REGISTERED };
    assert_eq!(ask(&mut login, 0x01_0201, Err(Failure::CtRejected(reject))).gone, [known]);
    assert_eq!(ask(&mut login, 0x01_0201, Err(Failure::CtRejected(reject))), PortChanges::default());
    assert_eq!(ask(&mut login, 0x01_0101, named(3)), PortChanges::default(), "our own");
}

#[test]
fn changes_while_a_query_is_out_are_asked_about_afterwards() {
    let mut login = login_after(ANSWERS_UNTIL_LISTED);
    for id in [0x01_0301, 0x01_0302, 0x01_0302] {
        login.handle_request(Instant::ZERO, FcId::FABRIC_CONTROLLER, &rscn(RscnFormat::Port, id));
    }
    assert_eq!(orders(&mut login), ["0112"]);
    login.handle_outcome(Instant::ZERO, Ok(Answer::NameServer(7u64.to_be_bytes().to_vec())), None);
    assert_eq!(orders(&mut login), ["0112"]);
    login.handle_outcome(Instant::ZERO, Ok(Answer::NameServer(8u64.to_be_bytes().to_vec())), None);
    assert!(orders(&mut login).is_empty(), "one of them was told twice");
    // A storm of changes makes one list.
    let pages = (0..200).map(|i| RscnPage::new(RscnFormat::Port, FcId::from_u32(i))).collect();
    login.handle_request(Instant::ZERO, FcId::FABRIC_CONTROLLER, &ElsRequest::Rscn(pages));
    assert_eq!(orders(&mut login), ["0172"]);
}

#[test]
fn a_long_list_is_cut_at_its_bound() {
    let mut login = login_after(8);
    let ids: Vec<u32> = (0x02_0000..0x02_0400).collect();
    login.handle_outcome(Instant::ZERO, Ok(list(&ids)), None);
    assert_eq!(changes(&mut login).added.len(), MAX_LISTED_PORTS);
}

#[test]
fn a_list_without_an_end_is_asked_for_again() {
    let mut login = login_after(8);
    let Answer::NameServer(mut body) = list(&[0x01_0201]) else { unreachable!() };
    body[0] = 0;
    login.handle_outcome(Instant::ZERO, Ok(Answer::NameServer(body)), None);
    assert!(events(&mut login).is_empty());
    login.handle_timeout(login.poll_timeout().unwrap());
    assert_eq!(orders(&mut login), ["0172"]);
}

#[test]
fn only_the_fabric_controller_tells_changes_and_the_f_port_s_logo_is_not_believed() {
    let mut login = login_after(ANSWERS_UNTIL_LISTED);
    let change = rscn(RscnFormat::Fabric, 0);
    let reply = login.handle_request(Instant::ZERO, FcId::NAME_SERVER, &change);
    assert_eq!(reply, Some(LsRjt::UNSUPPORTED.into()));
    let logo = ElsRequest::Logo(Logo::new(FcId::F_PORT, Wwn::from_u64(7)));
    assert_eq!(login.handle_request(Instant::ZERO, FcId::F_PORT, &logo), None);
    assert_eq!((login.phase(), orders(&mut login).len()), (Phase::Online, 0));
}
