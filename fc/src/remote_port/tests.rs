use super::*;
use crate::exchange::Answer;
use crate::retry::DEFAULT_RECONNECT_DELAY;
use crate::time::Duration;
use crate::wire::WireError;
use crate::wire::els::{
    Adisc, ElsReply, ExchangeIds, Explanation, Login, Logo, LsRjt, Reason, SppResponse, TimeoutValues,
    fcp_parameters,
};
use crate::wire::header::FcType;
use std::format;
use std::string::String;
use std::vec::Vec;

const US: FcId = FcId([1, 1, 1]);
const PEER: FcId = FcId([1, 2, 1]);
/// Below ours, so that we go on where PLOGIs cross.
const PEER_NAME: Wwn = Wwn::from_u64(0x2000_0000_0000_0005);
/// What ours would be to be below it.
const LOWER_NAME: Wwn = Wwn::from_u64(1);
const NODE_NAME: Wwn = Wwn::from_u64(0x1000_0000_0000_0005);
const TARGET_PARAMETERS: u32 = 0x0b2;

fn local() -> LocalPort {
    LocalPort {
        topology: Topology::Fabric,
        id: US,
        port_name: Wwn::from_u64(0x2000_0000_0000_0009),
        node_name: Wwn::from_u64(0x1000_0000_0000_0009),
        max_payload_len: 2112,
        r_a_tov: Duration::from_secs(10),
        e_d_tov: Duration::from_secs(2),
        reconnect_delay: DEFAULT_RECONNECT_DELAY,
    }
}

fn peer_login(port_name: Wwn, receive_len: u16) -> Login {
    Login::n_port(port_name, NODE_NAME, receive_len, Duration::from_secs(2))
}

fn accepted(reply: ElsReply) -> Result<Answer, Failure> {
    Ok(Answer::Els { d_id: US, reply })
}

/// The target's good answer to the last request that `port` ordered.
fn good_answer(request: &ElsRequest) -> Result<Answer, Failure> {
    accepted(match request {
        ElsRequest::Flogi(_) | ElsRequest::Plogi(_) => ElsReply::Login(peer_login(PEER_NAME, 2048)),
        ElsRequest::Prli(_) => {
            let page = ServicePage::fcp(TARGET_PARAMETERS).answered(SppResponse::EXECUTED);
            ElsReply::Process(page.into())
        }
        ElsRequest::Rtv => ElsReply::Rtv(TimeoutValues::new(Duration::from_secs(4), Duration::from_secs(3))),
        ElsRequest::Adisc(_) => ElsReply::Adisc(Adisc::new(PEER, PEER_NAME, NODE_NAME)),
        other => panic!("nobody asks {other:?}"),
    })
}

/// The ELS requests that are asked and told, in order; `forget` stands for itself.
fn orders(port: &mut RemotePort) -> Vec<(String, Option<ElsRequest>)> {
    let mut orders = Vec::new();
    while let Some(order) = port.poll_order() {
        orders.push(match order {
            Order::Ask(Request { service: Service::Els(els), .. }) => {
                (format!("{}", els.command()), Some(els))
            }
            Order::Tell(Request { service: Service::Els(els), .. }) => {
                (format!("tell {}", els.command()), None)
            }
            Order::Forget => (String::from("forget"), None),
            order => panic!("{order:?}"),
        });
    }
    orders
}

fn events(port: &mut RemotePort) -> Vec<String> {
    let event = |event| match event {
        PortEvent::Ready(_) => String::from("ready"),
        PortEvent::Lost { reason, .. } => format!("lost {reason:?}"),
    };
    core::iter::from_fn(|| port.poll_event()).map(event).collect()
}

/// A port after this many good answers.
fn port_after(answers: usize) -> RemotePort {
    answered(local(), answers)
}

fn answered(local: LocalPort, answers: usize) -> RemotePort {
    let mut port = RemotePort::new(local, PEER, PEER_NAME);
    for _ in 0..answers {
        let asked = orders(&mut port).into_iter().find_map(|(_, asked)| asked).unwrap();
        port.handle_outcome(Instant::ZERO, good_answer(&asked));
    }
    port
}

/// A port in each state, its orders and events fetched.
fn ports(topology: Topology) -> Vec<(&'static str, RemotePort)> {
    // A neighbour is linked to before it is logged in to.
    let links = usize::from(topology == Topology::Vn2vn);
    let port_after = |answers: usize| answered(LocalPort { topology, ..local() }, answers);
    let failed = |answers: usize, failure| {
        let mut port = port_after(answers);
        port.handle_outcome(Instant::ZERO, Err(failure));
        port
    };
    let mut verifying = port_after(links + 3);
    verifying.confirm();
    let mut ports = std::vec![
        ("Waiting", failed(0, Failure::TimedOut)),
        ("LoggingIn", port_after(links)),
        ("Waiting+", failed(links + 1, Failure::TimedOut)),
        ("ProcessLogin", port_after(links + 1)),
        ("ReadingTimeouts", port_after(links + 2)),
        ("Ready", port_after(links + 3)),
        ("Verifying", verifying),
        ("NoTarget", failed(links + 1, Failure::Rejected(LsRjt::UNSUPPORTED))),
    ];
    if topology == Topology::Vn2vn {
        let lower = LocalPort { topology, port_name: LOWER_NAME, ..local() };
        ports.splice(1..1, [("Linking", port_after(0)), ("AwaitingLogin", answered(lower, 1))]);
    }
    for (name, port) in &mut ports {
        assert_eq!(*name, state(port));
        orders(port);
        events(port);
    }
    ports
}

fn state(port: &RemotePort) -> String {
    let logged_in = if port.phase() == PortPhase::Waiting && port.is_logged_in() { "+" } else { "" };
    format!("{:?}{logged_in}", port.phase())
}

/// What can happen to a port: what is asked is answered, the deadline comes, the layers above or the peer want
/// something.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Input {
    Accepted,
    Rejected,
    TimedOut,
    Deadline,
    Confirm,
    Remove,
    LogInAgain,
    LowerFlogi,
    HigherFlogi,
    LowerPlogi,
    HigherPlogi,
    Prli,
    Prlo,
    Logo,
    Adisc,
}

impl Input {
    const ALL: [Self; 15] = [
        Self::Accepted,
        Self::Rejected,
        Self::TimedOut,
        Self::Deadline,
        Self::Confirm,
        Self::Remove,
        Self::LogInAgain,
        Self::LowerFlogi,
        Self::HigherFlogi,
        Self::LowerPlogi,
        Self::HigherPlogi,
        Self::Prli,
        Self::Prlo,
        Self::Logo,
        Self::Adisc,
    ];

    /// What the peer asks with this input.
    fn asked(self) -> Option<ElsRequest> {
        let page = ServicePage::fcp(TARGET_PARAMETERS);
        Some(match self {
            Self::LowerFlogi | Self::HigherFlogi => ElsRequest::Flogi(peer_login(PEER_NAME, 2112)),
            Self::LowerPlogi | Self::HigherPlogi => ElsRequest::Plogi(peer_login(PEER_NAME, 2112)),
            Self::Prli => ElsRequest::Prli(page.into()),
            Self::Prlo => ElsRequest::Prlo(page.into()),
            Self::Logo => ElsRequest::Logo(Logo::new(PEER, PEER_NAME)),
            Self::Adisc => ElsRequest::Adisc(Adisc::new(PEER, PEER_NAME, NODE_NAME)),
            Self::Accepted
            | Self::Rejected
            | Self::TimedOut
            | Self::Deadline
            | Self::Confirm
            | Self::Remove
            | Self::LogInAgain => return None,
        })
    }
}

/// The reply, if the input is a request.
fn apply(port: &mut RemotePort, input: Input) -> Option<&'static str> {
    let now = Instant::ZERO;
    if matches!(input, Input::HigherFlogi | Input::HigherPlogi) {
        port.local.port_name = LOWER_NAME;
    }
    if let Some(request) = input.asked() {
        return Some(match port.handle_request(now, &request) {
            ElsReply::Reject(LsRjt::LOGIN_REQUIRED) => "login required",
            ElsReply::Reject(LsRjt::IN_PROGRESS) => "in progress",
            ElsReply::Reject(LsRjt::UNSUPPORTED) => "unsupported",
            ElsReply::Reject(reject) => panic!("{reject}"),
            _ => "accept",
        });
    }
    match input {
        Input::Accepted => {
            let request = match port.phase() {
                PortPhase::Linking => ElsRequest::Flogi(local().link_login()),
                PortPhase::LoggingIn => ElsRequest::Plogi(local().login()),
                PortPhase::ProcessLogin => ElsRequest::Prli(ProcessLogin::default()),
                PortPhase::Verifying => ElsRequest::Adisc(local().adisc()),
                _ => ElsRequest::Rtv,
            };
            port.handle_outcome(now, good_answer(&request));
        }
        Input::Rejected => port.handle_outcome(now, Err(Failure::Rejected(LsRjt::LOGIN_REQUIRED))),
        Input::TimedOut => port.handle_outcome(now, Err(Failure::TimedOut)),
        Input::Deadline => port.handle_timeout(port.poll_timeout().unwrap_or(now)),
        Input::Confirm => port.confirm(),
        Input::Remove => port.remove(GoneReason::Unlisted),
        Input::LogInAgain => port.log_in_again(now),
        _ => unreachable!("the peer asks it"),
    }
    None
}

/// What every input does in every state: the state after it, the reply, the orders, the events.
const TABLE: &str = include_str!("transitions.txt");
/// The same for a VN2VN neighbour.
const VN2VN_TABLE: &str = include_str!("vn2vn_transitions.txt");

#[test]
fn every_transition_is_as_the_table_says() {
    let table = transitions(Topology::Fabric);
    assert_eq!(table, TABLE, "\n{table}");
    let table = transitions(Topology::Vn2vn);
    assert_eq!(table, VN2VN_TABLE, "\n{table}");
}

fn transitions(topology: Topology) -> String {
    let mut table = String::new();
    for (name, port) in ports(topology) {
        let is_asking = !matches!(
            port.phase(),
            PortPhase::Waiting | PortPhase::AwaitingLogin | PortPhase::Ready | PortPhase::NoTarget
        );
        for input in Input::ALL {
            if matches!(input, Input::Accepted | Input::Rejected | Input::TimedOut) && !is_asking {
                continue;
            }
            let mut port = port.clone();
            let reply = apply(&mut port, input);
            let mut effects: Vec<String> = reply.into_iter().map(String::from).collect();
            effects.extend(orders(&mut port).into_iter().map(|(order, _)| order));
            effects.extend(events(&mut port));
            let after = state(&port);
            let line =
                format!("{name:<15} {:<11} -> {after:<15} {}", format!("{input:?}"), effects.join(", "));
            table += line.trim_end();
            table.push('\n');
        }
    }
    table
}

#[test]
fn a_target_is_what_both_sides_agree_on() {
    let mut port = port_after(3);
    let Some(PortEvent::Ready(target)) = port.poll_event() else { panic!("it isn't ready") };
    assert_eq!((target.id, target.port_name, target.node_name), (PEER, PEER_NAME, NODE_NAME));
    assert_eq!(target.max_payload_len, 2048);
    assert_eq!(target.e_d_tov, Duration::from_secs(3), "the longer one that RTV told");
    assert_eq!(target.r_a_tov, Duration::from_secs(10));
    assert!(target.has_confirm() && !target.has_retry(), "the target's PRLI had no retry");
}

#[test]
fn a_port_without_target_role_or_image_pair_takes_no_commands() {
    let target = ServicePage::fcp(TARGET_PARAMETERS).answered(SppResponse::EXECUTED);
    let no_pages = [
        ServicePage::fcp(fcp_parameters::INITIATOR).answered(SppResponse::EXECUTED),
        ServicePage { flags: 1, ..target },
        ServicePage { fc_type: FcType::NVME, ..target },
        target.answered(SppResponse::NO_PROCESS),
    ];
    for page in no_pages {
        let mut port = port_after(1);
        port.handle_outcome(Instant::ZERO, accepted(ElsReply::Process(page.into())));
        assert_eq!(port.phase(), PortPhase::NoTarget, "{page:?}");
    }
    let mut port = port_after(1);
    let page = target.answered(SppResponse::INITIALIZING);
    port.handle_outcome(Instant::ZERO, accepted(ElsReply::Process(page.into())));
    assert_eq!(state(&port), "Waiting+", "it may be ready later");
}

#[test]
fn logins_that_cannot_work_are_refused() {
    for (name, receive_len, explanation) in [
        (PEER_NAME, 255, Explanation::RECEIVE_SIZE),
        (PEER_NAME, 2113, Explanation::RECEIVE_SIZE),
        (local().port_name, 2112, Explanation::PORT_NAME),
        (Wwn::default(), 2112, Explanation::PORT_NAME),
    ] {
        let mut port = RemotePort::accepting(local(), PEER, name);
        let reply = port.handle_request(Instant::ZERO, &ElsRequest::Plogi(peer_login(name, receive_len)));
        let ElsReply::Reject(reject) = reply else { panic!("{reply:?}") };
        assert_eq!(reject.explanation, explanation);
        assert!(port.is_idle());
        let mut port = RemotePort::new(local(), PEER, name);
        port.handle_outcome(Instant::ZERO, accepted(ElsReply::Login(peer_login(name, receive_len))));
        assert_eq!(state(&port), "Waiting");
    }
}

#[test]
fn a_login_by_another_name_than_the_fabric_s_is_refused() {
    let other = peer_login(Wwn::from_u64(0x2000_0000_0000_0006), 2112);
    let mut port = port_after(0);
    port.handle_outcome(Instant::ZERO, accepted(ElsReply::Login(other)));
    assert_eq!(state(&port), "Waiting");
    let mut port = port_after(3);
    let reply = port.handle_request(Instant::ZERO, &ElsRequest::Plogi(other));
    assert_eq!(reply, LsRjt::new(Reason::LOGICAL_ERROR, Explanation::PORT_NAME).into());
    assert_eq!(state(&port), "Ready");
}

#[test]
fn an_adisc_of_another_port_ends_the_login() {
    for adisc in [
        Adisc::new(PEER, Wwn::from_u64(1), NODE_NAME),
        Adisc::new(PEER, PEER_NAME, Wwn::from_u64(1)),
        Adisc::new(US, PEER_NAME, NODE_NAME),
    ] {
        let mut port = port_after(3);
        port.confirm();
        events(&mut port);
        port.handle_outcome(Instant::ZERO, accepted(ElsReply::Adisc(adisc)));
        assert_eq!(events(&mut port), ["lost VerificationFailed"]);
        assert_eq!(state(&port), "LoggingIn");
    }
}

#[test]
fn verification_survives_one_silence_but_not_two() {
    let mut port = port_after(3);
    port.confirm();
    events(&mut port);
    port.handle_outcome(Instant::ZERO, Err(Failure::TimedOut));
    assert_eq!((state(&port), events(&mut port).len()), ("Verifying".into(), 0));
    port.handle_outcome(Instant::ZERO, Err(Failure::TimedOut));
    assert_eq!((state(&port), events(&mut port).len()), ("LoggingIn".into(), 1));
}

#[test]
fn a_port_that_fails_again_and_again_is_asked_ever_less_often() {
    let mut port = port_after(0);
    let mut now = Instant::ZERO;
    let mut waits = Vec::new();
    for failure in [
        Failure::TimedOut,
        Failure::Rejected(LsRjt::LOGIN_REQUIRED),
        Failure::Malformed(WireError::Missing { what: "anything" }),
        Failure::Broken,
        Failure::Aborted,
        Failure::TooMany,
        Failure::TimedOut,
    ] {
        port.handle_outcome(now, Err(failure));
        let until = port.poll_timeout().unwrap();
        waits.push(until.since(now).as_secs());
        now = until;
        port.handle_timeout(now);
        assert_eq!(port.phase(), PortPhase::LoggingIn);
    }
    assert!(waits.is_sorted() && waits[0] == 1 && (30..=37).contains(&waits[6]), "{waits:?}");
}

#[test]
fn requests_of_a_logged_in_port_are_answered() {
    let mut port = port_after(3);
    let now = Instant::ZERO;
    let rec = port.handle_request(now, &ElsRequest::Rec(ExchangeIds::new(PEER, 1, 2)));
    assert_eq!(rec, LsRjt::NO_SUCH_EXCHANGE.into());
    let rrq = port.handle_request(now, &ElsRequest::Rrq(ExchangeIds::new(PEER, 1, 2)));
    assert_eq!(rrq, ElsReply::Accept);
    let ElsReply::Rtv(values) = port.handle_request(now, &ElsRequest::Rtv) else { panic!("no values") };
    assert_eq!(values.e_d_tov(), local().e_d_tov);
    let pdisc = port.handle_request(now, &ElsRequest::Pdisc(peer_login(PEER_NAME, 2112)));
    assert_eq!(pdisc, ElsReply::Login(local().login()));
    let stranger = port.handle_request(now, &ElsRequest::Pdisc(peer_login(NODE_NAME, 2112)));
    assert_eq!(stranger, LsRjt::LOGIN_REQUIRED.into());
    let echo = port.handle_request(now, &ElsRequest::Echo(b"ping".to_vec()));
    assert_eq!(echo, ElsReply::Echo(b"ping".to_vec()));
    let scr = port.handle_request(now, &ElsRequest::Scr(crate::wire::els::ScrFunction::FULL));
    assert_eq!(scr, LsRjt::UNSUPPORTED.into());
    assert_eq!(port.phase(), PortPhase::Ready, "none of these ends the login");
}

#[test]
fn a_prli_is_answered_as_an_initiator() {
    let mut port = port_after(3);
    let nvme = ServicePage { fc_type: FcType::NVME, ..ServicePage::fcp(0) };
    let initiator = ServicePage::fcp(fcp_parameters::INITIATOR);
    let pages = std::vec![ServicePage::fcp(TARGET_PARAMETERS), initiator, nvme];
    let reply = port.handle_request(Instant::ZERO, &ElsRequest::Prli(ProcessLogin { pages }));
    let ElsReply::Process(ProcessLogin { pages }) = reply else { panic!("{reply:?}") };
    assert_eq!(pages.iter().map(|page| page.flags).collect::<Vec<_>>(), [0x21, 0x01, 0x04]);
    assert_eq!(pages[0].parameters.get(), 0x1a2);
}
