//! One VN_Port's login to the fabric and its services (FC-LS-3, 6.2; FC-GS-7, 5.2; over FIP: FC-BB-5, 7.9).
//!
//! ```text
//!           +---------+  start   +------------+  LS_ACC   +-------------+  SCR done  +--------+
//!           | Offline +--------->| Logging in +---------->| Registering +----------->| Online |
//!           +---------+          +-----+------+           +--+-------+--+            +--+--+--+
//!             ^     ^       fails |    ^                     |       ^   name server's  |  | RSCN:
//!  link_lost  |     |             v    | wait over           |       |      LOGO        |  | GPN_ID,
//!  (from any) |     |            +-----+------+  fails five  |       +----------------- +  | GPN_FT
//!             |     |            |  Waiting   |<-------------+-----------------------------+
//!             |     |            +------------+  times (LOGO)
//!             |   +-+-----------+
//!             +---+ Logging out |<--- shutdown (from any with a session)
//!                 +-------------+
//! ```
//!
//! Registering: PLOGI to the name server, RNN_ID, RSNN_NN, RSPN_ID, RFT_ID, RFF_ID, SCR; then GPN_FT lists the
//! FCP ports. FLOGI, FDISC and LOGO to the F_Port travel by FIP. A virtual link that the F_Port clears is lost; if it clears
//! the next one soon, too, the login is Waiting, and not Offline.

mod discovery;
mod register;
mod session;
#[cfg(test)]
mod tests;

pub use discovery::MAX_LISTED_PORTS;
pub use session::{DEFAULT_E_D_TOV, DEFAULT_R_A_TOV, FPort, Identity, LoginKind, MAX_SYMBOLIC_LEN, Session};
pub(crate) use session::{believable, is_payload_len};

use crate::exchange::{Answer, Failure, Order, Request, Service, Via};
use crate::queue::Queue;
use crate::retry::{Backoff, DEFAULT_RECONNECT_DELAY};
use crate::time::{Duration, Instant};
use crate::wire::ct::{CtExplanation, CtReject};
use crate::wire::els::{ElsReply, ElsRequest, Login, Logo, LsRjt};
use crate::wire::fip::ElsKind;
use crate::wire::{FcId, MacAddr, Wwn};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use discovery::Discovery;
use register::Step;

/// A service of the fabric that fails this often in a row has lost us: the login starts anew.
const MAX_SERVICE_FAILURES: u32 = 5;
/// How long to wait for the reply to FLOGI. It is the first frame on a link, and soon sent again.
const FLOGI_TIMEOUT: Duration = DEFAULT_E_D_TOV.saturating_mul(2);
/// How long to wait for the reply to FDISC.
const FDISC_TIMEOUT: Duration = DEFAULT_R_A_TOV.saturating_mul(2);
/// A login that lasts so long was a good one, whatever becomes of it: twice the longest wait before it is tried again.
const LASTING: Duration = DEFAULT_RECONNECT_DELAY.saturating_mul(2);
/// How long a shutdown waits for the fabric's reply to LOGO.
const LOGO_TIMEOUT: Duration = DEFAULT_E_D_TOV.saturating_mul(2);

/// One VN_Port's login to the fabric.
#[derive(Clone, Debug)]
pub(crate) struct FabricLogin {
    identity: Identity,
    state: State,
    backoff: Backoff,
    /// When the fabric accepted the last login, and how often in a row it has thrown us out soon after.
    accepted_at: Instant,
    clearings: Backoff,
    orders: Queue<Order>,
    events: Queue<FabricEvent>,
}

#[derive(Clone, Debug)]
enum State {
    /// Nothing is wanted, or there is no link.
    Offline,
    /// FLOGI or FDISC is out.
    LoggingIn,
    /// The login failed and is tried again.
    Waiting { until: Instant },
    /// The step's request is out, or is sent again at `retry_at`. `ports` are known from before.
    Registering { session: Session, step: Step, retry_at: Option<Instant>, ports: BTreeMap<FcId, Wwn> },
    /// Registered: the name server is asked as often as something changes.
    Online { session: Session, discovery: Discovery },
    /// LOGO to the F_Port is out.
    LoggingOut,
}

/// What the layers above need to know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum FabricEvent {
    /// The fabric accepted the login: frames may go out.
    LoggedIn(Session),
    /// The login failed; it is tried again.
    LoginFailed(Failure),
    /// The name server answered. Comes also when nothing changed.
    Ports(PortChanges),
    /// The login is over.
    LoggedOut(LogoutReason),
}

/// What a name server's answer changed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct PortChanges {
    /// Ports that aren't there any more, or not by that name.
    pub(crate) gone: Vec<FcId>,
    /// Ports that are there now.
    pub(crate) added: Vec<(FcId, Wwn)>,
    /// Ports that are still there, of which a change was told.
    pub(crate) confirmed: Vec<(FcId, Wwn)>,
}

/// Why a login to the fabric is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogoutReason {
    /// The link or the FCF was lost.
    LinkLost,
    /// It was asked for.
    Shutdown,
    /// A service of the fabric failed again and again; the login starts anew.
    ServiceFailed(Failure),
}

/// How far a login to the fabric is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Phase {
    /// Nothing is wanted, or there is no link.
    Offline,
    /// FLOGI or FDISC is out.
    LoggingIn,
    /// A login failed and is tried again.
    Waiting,
    /// The port is being registered.
    Registering,
    /// The port is registered.
    Online,
    /// LOGO is out.
    LoggingOut,
}

impl FabricLogin {
    pub(crate) fn new(identity: Identity) -> Self {
        assert!(is_payload_len(identity.max_payload_len), "payloads of {} bytes", identity.max_payload_len);
        let backoff = Backoff::new(identity.port_name.to_u64(), DEFAULT_RECONNECT_DELAY);
        let (clearings, accepted_at) = (backoff.clone(), Instant::ZERO);
        let (orders, events) = (Queue::new(), Queue::new());
        Self { identity, state: State::Offline, backoff, accepted_at, clearings, orders, events }
    }

    pub(crate) const fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(crate) const fn session(&self) -> Option<&Session> {
        match &self.state {
            State::Registering { session, .. } | State::Online { session, .. } => Some(session),
            State::Offline | State::LoggingIn | State::Waiting { .. } | State::LoggingOut => None,
        }
    }

    pub(crate) const fn phase(&self) -> Phase {
        match self.state {
            State::Offline => Phase::Offline,
            State::LoggingIn => Phase::LoggingIn,
            State::Waiting { .. } => Phase::Waiting,
            State::Registering { .. } => Phase::Registering,
            State::Online { .. } => Phase::Online,
            State::LoggingOut => Phase::LoggingOut,
        }
    }

    /// There is an FCF to log in to. Does nothing unless offline.
    pub(crate) fn start(&mut self) {
        match self.state {
            State::Offline => {
                self.backoff.reset();
                self.log_in();
            }
            State::LoggingIn
            | State::Waiting { .. }
            | State::Registering { .. }
            | State::Online { .. }
            | State::LoggingOut => {}
        }
    }

    /// The link or the FCF is gone: everything is forgotten, nothing can be said.
    pub(crate) fn link_lost(&mut self) {
        let reason = match self.state {
            State::LoggingOut => Some(LogoutReason::Shutdown),
            State::Registering { .. } | State::Online { .. } => Some(LogoutReason::LinkLost),
            State::Offline | State::LoggingIn | State::Waiting { .. } => None,
        };
        self.orders.clear();
        self.orders.push_back(Order::Forget);
        self.events.extend(reason.map(FabricEvent::LoggedOut));
        self.state = State::Offline;
    }

    /// The fabric has cleared the virtual link. The first time one may log in again at once. If it clears that soon, too, as
    /// it does when someone else logs in by the same WWPN, waits grow: else both would throw each other out without end.
    pub(crate) fn cleared(&mut self, now: Instant) {
        self.link_lost();
        if now.since(self.accepted_at) >= LASTING {
            self.clearings.reset();
        }
        let is_first = self.clearings.failures() == 0;
        let until = now + self.clearings.fail();
        if !is_first {
            self.state = State::Waiting { until };
        }
    }

    /// Logs out. Ends with [`FabricEvent::LoggedOut`], at once where there is no login.
    pub(crate) fn shutdown(&mut self) {
        let Some(session) = self.session().copied() else {
            if !matches!(self.state, State::LoggingOut) {
                self.orders.push_back(Order::Forget);
                self.events.push_back(FabricEvent::LoggedOut(LogoutReason::Shutdown));
                self.state = State::Offline;
            }
            return;
        };
        self.orders.push_back(Order::Forget);
        self.orders.push_back(Order::Ask(self.logout_request(&session)));
        self.state = State::LoggingOut;
    }

    /// Takes what came of the request that is out. `granted_mac` comes with the reply by FIP.
    pub(crate) fn handle_outcome(
        &mut self,
        now: Instant,
        outcome: Result<Answer, Failure>,
        granted_mac: Option<MacAddr>,
    ) {
        match &mut self.state {
            State::Offline | State::Waiting { .. } => {}
            State::LoggingIn => match self.judge_login(outcome, granted_mac) {
                Ok(session) => {
                    self.backoff.reset();
                    self.accepted_at = now;
                    self.events.push_back(FabricEvent::LoggedIn(session));
                    self.register(session);
                }
                Err(failure) => {
                    self.events.push_back(FabricEvent::LoginFailed(failure));
                    self.state = State::Waiting { until: now + self.backoff.fail() };
                }
            },
            State::Registering { step, retry_at, .. } => match step.judge(outcome) {
                Ok(()) => self.step_done(now),
                Err(failure) if self.backoff.failures() + 1 >= MAX_SERVICE_FAILURES => {
                    self.restart(now, failure);
                }
                Err(_) => *retry_at = Some(now + self.backoff.fail()),
            },
            State::Online { session, discovery } => match discovery.settle(session.fc_id, outcome) {
                Ok(changes) => {
                    self.backoff.reset();
                    self.events.push_back(FabricEvent::Ports(changes));
                    self.ask_name_server(now);
                }
                Err(failure) if self.backoff.failures() + 1 >= MAX_SERVICE_FAILURES => {
                    self.restart(now, failure);
                }
                Err(Failure::CtRejected(CtReject { explanation: CtExplanation::ACCESS_DENIED, .. })) => {
                    self.register_again(now);
                }
                Err(_) => discovery.retry_at(now + self.backoff.fail()),
            },
            State::LoggingOut => {
                self.events.push_back(FabricEvent::LoggedOut(LogoutReason::Shutdown));
                self.state = State::Offline;
            }
        }
    }

    /// Takes a link service that one of the fabric's own addresses asks of us. `None`: it isn't answered.
    pub(crate) fn handle_request(
        &mut self,
        now: Instant,
        from: FcId,
        request: &ElsRequest,
    ) -> Option<ElsReply> {
        match (from, request) {
            (FcId::FABRIC_CONTROLLER, ElsRequest::Rscn(pages)) => {
                // Before the first list there is nothing that could have changed.
                if let State::Online { discovery, .. } = &mut self.state {
                    discovery.note(pages);
                    self.ask_name_server(now);
                }
                Some(ElsReply::Accept)
            }
            (FcId::NAME_SERVER, ElsRequest::Logo(_)) => {
                self.register_again(now);
                Some(ElsReply::Accept)
            }
            // The F_Port clears a virtual link by FIP; by FCoE anyone could.
            (FcId::F_PORT, ElsRequest::Logo(_)) => None,
            (_, ElsRequest::Echo(bytes)) => Some(ElsReply::Echo(bytes.clone())),
            _ => Some(LsRjt::UNSUPPORTED.into()),
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Waiting { until } => Some(*until),
            State::Registering { retry_at, .. } => *retry_at,
            State::Online { discovery, .. } => discovery.poll_timeout(),
            State::Offline | State::LoggingIn | State::LoggingOut => None,
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_none_or(|until| until > now) {
            return;
        }
        match &mut self.state {
            State::Waiting { .. } => self.log_in(),
            State::Registering { session, step, retry_at, .. } => {
                *retry_at = None;
                let (request, e_d_tov) = (step.request(&self.identity, session), session.e_d_tov);
                self.ask(request, e_d_tov);
            }
            State::Online { .. } => self.ask_name_server(now),
            State::Offline | State::LoggingIn | State::LoggingOut => {}
        }
    }

    pub(crate) fn poll_order(&mut self) -> Option<Order> {
        self.orders.pop_front()
    }

    pub(crate) fn poll_event(&mut self) -> Option<FabricEvent> {
        self.events.pop_front()
    }

    fn log_in(&mut self) {
        let Identity { port_name, node_name, max_payload_len, login, .. } = self.identity;
        let parameters = Login::fabric(port_name, node_name, max_payload_len);
        let (kind, request, timeout) = match login {
            LoginKind::Flogi => (ElsKind::Flogi, ElsRequest::Flogi(parameters), FLOGI_TIMEOUT),
            LoginKind::Fdisc => (ElsKind::Fdisc, ElsRequest::Fdisc(parameters), FDISC_TIMEOUT),
        };
        let request = Request {
            via: Via::Fip { kind, mac: MacAddr::ZERO },
            s_id: FcId::UNASSIGNED,
            d_id: FcId::F_PORT,
            service: Service::Els(request),
            timeout,
        };
        self.ask(request, DEFAULT_E_D_TOV);
        self.state = State::LoggingIn;
    }

    fn judge_login(
        &self,
        outcome: Result<Answer, Failure>,
        granted_mac: Option<MacAddr>,
    ) -> Result<Session, Failure> {
        match outcome? {
            Answer::Els { d_id, reply: ElsReply::Login(login) } => {
                Session::new(&self.identity, d_id, &login, granted_mac)
            }
            Answer::Els { .. } | Answer::NameServer(_) => {
                Err(Failure::Unusable("the reply is to another request"))
            }
        }
    }

    fn register(&mut self, session: Session) {
        let (step, ports) = (Step::FIRST, BTreeMap::new());
        self.ask(step.request(&self.identity, &session), session.e_d_tov);
        self.state = State::Registering { session, step, retry_at: None, ports };
    }

    fn step_done(&mut self, now: Instant) {
        self.backoff.reset();
        let State::Registering { session, step, ports, .. } = &mut self.state else { return };
        match step.next() {
            Some(next) => {
                *step = next;
                let (request, e_d_tov) = (next.request(&self.identity, session), session.e_d_tov);
                self.ask(request, e_d_tov);
            }
            None => {
                let discovery = Discovery::new(core::mem::take(ports));
                self.state = State::Online { session: *session, discovery };
                self.ask_name_server(now);
            }
        }
    }

    fn ask_name_server(&mut self, now: Instant) {
        if let State::Online { session, discovery } = &mut self.state
            && let Some(request) = discovery.next_request(now, session)
        {
            let e_d_tov = session.e_d_tov;
            self.ask(request, e_d_tov);
        }
    }

    fn ask(&mut self, request: Request, e_d_tov: Duration) {
        let timeout = self.backoff.patience(e_d_tov, request.timeout);
        self.orders.push_back(Order::Ask(Request { timeout, ..request }));
    }

    /// The name server has logged us out and forgotten what we registered. The ports stay until it says otherwise.
    fn register_again(&mut self, now: Instant) {
        let (session, ports) = match core::mem::replace(&mut self.state, State::Offline) {
            State::Registering { session, ports, .. } => (session, ports),
            State::Online { session, discovery } => (session, discovery.into_ports()),
            other @ (State::Offline | State::LoggingIn | State::Waiting { .. } | State::LoggingOut) => {
                self.state = other;
                return;
            }
        };
        self.orders.push_back(Order::Forget);
        // Not at once, or a name server that logs everyone out would keep us busy.
        let retry_at = Some(now + self.backoff.fail());
        self.state = State::Registering { session, step: Step::FIRST, retry_at, ports };
    }

    /// A service doesn't work any more: logs out and, after a while, in again.
    fn restart(&mut self, now: Instant, failure: Failure) {
        if let Some(session) = self.session().copied() {
            self.orders.push_back(Order::Tell(self.logout_request(&session)));
        }
        self.events.push_back(FabricEvent::LoggedOut(LogoutReason::ServiceFailed(failure)));
        self.state = State::Waiting { until: now + self.backoff.fail() };
    }

    fn logout_request(&self, session: &Session) -> Request {
        Request {
            via: Via::Fip { kind: ElsKind::Logo, mac: session.mac },
            s_id: session.fc_id,
            d_id: FcId::F_PORT,
            service: Service::Els(ElsRequest::Logo(Logo::new(session.fc_id, self.identity.port_name))),
            timeout: LOGO_TIMEOUT,
        }
    }
}
