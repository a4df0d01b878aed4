//! One remote port: N_Port login and FCP process login (FC-LS-3, 6.3; FCP-4, 6).
//!
//! ```text
//!                PLOGI accepted            PRLI accepted            any reply
//!  +------------+ (or theirs) +-------------+       +--------------+ or none +-------+ ADISC +-----------+
//!  | Logging in +------------>| Process     +------>|   Reading    +-------->| Ready +------>| Verifying |
//!  |  (PLOGI)   |             | login (PRLI)|       |timeouts (RTV)|         |       |<------+           |
//!  +---+----+---+             +--+---+---+--+       +--------------+         +---+---+  ACC  +-----+-----+
//!      |    ^                    |   |   | no target role                        |                 |
//!      |    | wait over    fails |   |   v                                       | LOGO, PRLO      | rejected
//!      v    |                    |   | +-----------+                             v                 v
//!  +---+----+-----+              |   | | No target |                       back to Waiting     Logging in
//!  |   Waiting    |<-------------+   | +-----------+
//!  +--------------+                  |
//!   PLOGI or PRLI again  <-----------+
//! ```
//!
//! An incoming PLOGI starts the process login anew from every state. Two PLOGIs that cross: the one of the
//! higher WWPN goes on.
//!
//! A VN2VN neighbour is linked to by FLOGI first (FC-BB-6), from either side; then the higher WWPN sends PLOGI, and
//! the lower one waits for it. Where the diagram goes to Logging in, it is:
//!
//! ```text
//!               FLOGI accepted, our WWPN is higher
//!  +---------+  (or theirs)                          +------------+
//!  | Linking +-------------------------------------->| Logging in |
//!  | (FLOGI) |                                       +------------+
//!  +--+---+--+
//!     ^   |                  theirs is higher        +----------------+  PLOGI   +-------------------+
//!     |   +----------------------------------------->| Awaiting login +--------->| Process login ... |
//!     |                                              +-------+--------+          +-------------------+
//!     +------------------------------------------------------+
//!                              no PLOGI in time
//! ```
//!
//! An incoming FLOGI voids a login: the neighbour has forgotten it. Two that cross are both answered.

mod incoming;
mod outcome;
mod target;
#[cfg(test)]
mod tests;

pub(crate) use incoming::reply_to_stranger;
pub(crate) use target::LocalPort;
pub use target::{Target, Topology};

use crate::exchange::{Failure, Order, Request, Service, Via};
use crate::queue::Queue;
use crate::retry::Backoff;
use crate::time::Instant;
use crate::wire::els::{ElsRequest, ProcessLogin, ServicePage};
use crate::wire::fip::ElsKind;
use crate::wire::{FcId, Wwn};
use target::{FCP_PARAMETERS, Peer};

/// One remote port.
#[derive(Clone, Debug)]
pub(crate) struct RemotePort {
    local: LocalPort,
    id: FcId,
    /// As the name server, FIP or the port's first PLOGI has it: a login by another name is refused.
    port_name: Wwn,
    state: State,
    /// What the last request that failed came to, until the port is a target or known to be none.
    failure: Option<Failure>,
    backoff: Backoff,
    orders: Queue<Order>,
    events: Queue<PortEvent>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Something failed. Then PRLI, if the port is still logged in, else everything anew.
    Waiting { until: Instant, peer: Option<Peer> },
    /// FLOGI to a VN2VN neighbour is out.
    Linking,
    /// The neighbour has the higher WWPN: its PLOGI is awaited.
    AwaitingLogin { until: Instant },
    /// PLOGI is out.
    LoggingIn,
    /// PRLI is out.
    ProcessLogin { peer: Peer },
    /// RTV is out.
    ReadingTimeouts { peer: Peer, target: Target },
    /// Commands may go out.
    Ready { peer: Peer, target: Target },
    /// Commands may go out; ADISC asks whether they still should.
    Verifying { peer: Peer, target: Target, timeouts: u32 },
    /// Logged in, but no target.
    NoTarget { peer: Peer },
}

/// What the layers above need to know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum PortEvent {
    /// Commands may go out.
    Ready(Target),
    /// No more commands may go out, and those that are out are void.
    Lost {
        /// The target's WWPN.
        port_name: Wwn,
        /// Why.
        reason: GoneReason,
    },
}

/// Why a target is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GoneReason {
    /// The name server doesn't list it any more, or by another name.
    Unlisted,
    /// It is no VN2VN neighbour any more, or by another name.
    NoNeighbour,
    /// It sent LOGO.
    LoggedOut,
    /// It sent PRLO.
    ProcessLoggedOut,
    /// It logged in anew, by PLOGI or FLOGI: what was open in the login before is void (FC-LS-3, 6.3.2).
    LoggedInAgain,
    /// It refused ADISC or didn't answer it: it has forgotten the login.
    VerificationFailed,
    /// It answers no aborts, and no reset: the login is begun anew.
    Unresponsive,
    /// Its WWPN is at another N_Port_ID, and the login there has succeeded.
    Moved,
    /// Our own N_Port_ID is gone.
    Offline,
    /// We logged out.
    Shutdown,
}

/// How far a login to a remote port is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PortPhase {
    /// Something failed and is tried again.
    Waiting,
    /// FLOGI to a VN2VN neighbour is out.
    Linking,
    /// A VN2VN neighbour's PLOGI is awaited.
    AwaitingLogin,
    /// PLOGI is out.
    LoggingIn,
    /// PRLI is out.
    ProcessLogin,
    /// RTV is out.
    ReadingTimeouts,
    /// It is a target that commands may go to.
    Ready,
    /// The same, while ADISC asks whether they still should.
    Verifying,
    /// Logged in, but no target.
    NoTarget,
}

impl RemotePort {
    /// A port that the name server lists, or a VN2VN neighbour: logs in to it.
    pub(crate) fn new(local: LocalPort, id: FcId, port_name: Wwn) -> Self {
        let mut port = Self::accepting(local, id, port_name);
        port.log_in();
        port
    }

    /// A port that is about to log in to us.
    pub(crate) fn accepting(local: LocalPort, id: FcId, port_name: Wwn) -> Self {
        let seed = local.port_name.to_u64() ^ u64::from(id.to_u32());
        let state = State::Waiting { until: Instant::ZERO, peer: None };
        let (orders, events) = (Queue::new(), Queue::new());
        Self {
            local,
            id,
            port_name,
            state,
            failure: None,
            backoff: Backoff::new(seed, local.reconnect_delay),
            orders,
            events,
        }
    }

    pub(crate) const fn port_name(&self) -> Wwn {
        self.port_name
    }

    pub(crate) const fn phase(&self) -> PortPhase {
        match self.state {
            State::Waiting { .. } => PortPhase::Waiting,
            State::Linking => PortPhase::Linking,
            State::AwaitingLogin { .. } => PortPhase::AwaitingLogin,
            State::LoggingIn => PortPhase::LoggingIn,
            State::ProcessLogin { .. } => PortPhase::ProcessLogin,
            State::ReadingTimeouts { .. } => PortPhase::ReadingTimeouts,
            State::Ready { .. } => PortPhase::Ready,
            State::Verifying { .. } => PortPhase::Verifying,
            State::NoTarget { .. } => PortPhase::NoTarget,
        }
    }

    /// What keeps it from being a target, if that is a failure.
    pub(crate) const fn failure(&self) -> Option<Failure> {
        self.failure
    }

    /// Whether there is no login and none is being tried now.
    pub(crate) const fn is_idle(&self) -> bool {
        matches!(self.state, State::Waiting { peer: None, .. })
    }

    /// Whether either side has logged in.
    pub(crate) const fn is_logged_in(&self) -> bool {
        self.peer().is_some()
    }

    /// Whether commands may go out.
    pub(crate) const fn target(&self) -> Option<&Target> {
        match &self.state {
            State::Ready { target, .. } | State::Verifying { target, .. } => Some(target),
            State::Waiting { .. }
            | State::Linking
            | State::AwaitingLogin { .. }
            | State::LoggingIn
            | State::ProcessLogin { .. }
            | State::ReadingTimeouts { .. }
            | State::NoTarget { .. } => None,
        }
    }

    const fn peer(&self) -> Option<&Peer> {
        match &self.state {
            State::Waiting { peer, .. } => peer.as_ref(),
            State::Linking | State::AwaitingLogin { .. } | State::LoggingIn => None,
            State::ProcessLogin { peer }
            | State::ReadingTimeouts { peer, .. }
            | State::Ready { peer, .. }
            | State::Verifying { peer, .. }
            | State::NoTarget { peer } => Some(peer),
        }
    }

    /// The name server has told a change, but still lists the port, or a VN2VN neighbour may have restarted: looks
    /// whether it is as it was.
    pub(crate) fn confirm(&mut self) {
        match self.state {
            State::Ready { peer, target } => self.verify(peer, target, 0),
            State::NoTarget { peer } => self.log_process_in(peer),
            State::Waiting { .. } => {
                self.backoff.reset();
                self.log_in();
            }
            // A neighbour that was restarting when it was asked doesn't answer any more.
            State::Linking | State::AwaitingLogin { .. } => {
                self.orders.push_back(Order::Forget);
                self.log_in();
            }
            State::LoggingIn
            | State::ProcessLogin { .. }
            | State::ReadingTimeouts { .. }
            | State::Verifying { .. } => {}
        }
    }

    /// Logs out: the port is to be dropped.
    pub(crate) fn remove(&mut self, reason: GoneReason) {
        self.orders.push_back(Order::Forget);
        if self.is_logged_in() || matches!(self.state, State::AwaitingLogin { .. }) {
            self.orders.push_back(Order::Tell(self.logout_request()));
        }
        self.lose(reason);
        self.state = State::Waiting { until: Instant::ZERO, peer: None };
    }

    /// Logs out of a target, and in again: both sides are through with all that was open then.
    pub(crate) fn log_in_again(&mut self, now: Instant) {
        if self.target().is_none() {
            return;
        }
        self.orders.push_back(Order::Forget);
        self.orders.push_back(Order::Tell(self.logout_request()));
        self.lose(GoneReason::Unresponsive);
        self.wait(now, None);
    }

    /// The fabric login is over: the port is to be dropped, nothing can be said.
    pub(crate) fn drop_silently(&mut self, reason: GoneReason) {
        self.orders.clear();
        self.lose(reason);
        self.state = State::Waiting { until: Instant::ZERO, peer: None };
    }

    pub(crate) const fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Waiting { until, .. } | State::AwaitingLogin { until } => Some(until),
            State::Linking
            | State::LoggingIn
            | State::ProcessLogin { .. }
            | State::ReadingTimeouts { .. }
            | State::Ready { .. }
            | State::Verifying { .. }
            | State::NoTarget { .. } => None,
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        match self.state {
            State::Waiting { until, peer } if until <= now => match peer {
                Some(peer) => self.log_process_in(peer),
                None => self.log_in(),
            },
            State::AwaitingLogin { until } if until <= now => {
                self.failure = Some(Failure::TimedOut);
                self.log_in();
            }
            State::Waiting { .. }
            | State::Linking
            | State::AwaitingLogin { .. }
            | State::LoggingIn
            | State::ProcessLogin { .. }
            | State::ReadingTimeouts { .. }
            | State::Ready { .. }
            | State::Verifying { .. }
            | State::NoTarget { .. } => {}
        }
    }

    pub(crate) fn poll_order(&mut self) -> Option<Order> {
        self.orders.pop_front()
    }

    pub(crate) fn poll_event(&mut self) -> Option<PortEvent> {
        self.events.pop_front()
    }

    /// Begins with the first request that the topology needs.
    fn log_in(&mut self) {
        match self.local.topology {
            Topology::Fabric => self.log_port_in(),
            Topology::Vn2vn => {
                let via = Via::Fip { kind: ElsKind::Flogi, mac: self.local.vn2vn_mac() };
                // Where nobody answers, nobody is there: the neighbour is on the same Ethernet.
                let timeout = self.local.e_d_tov * 2;
                let flogi = ElsRequest::Flogi(self.local.link_login());
                let request = Request { via, timeout, ..self.request(flogi) };
                self.orders.push_back(Order::Ask(request));
                self.state = State::Linking;
            }
        }
    }

    /// The virtual link to a VN2VN neighbour is there: the higher WWPN goes on (FC-BB-6).
    fn linked(&mut self, now: Instant) {
        if self.local.port_name > self.port_name {
            self.log_port_in();
        } else {
            let until = now + self.local.e_d_tov * 2 + self.backoff.fail();
            self.state = State::AwaitingLogin { until };
        }
    }

    fn log_port_in(&mut self) {
        let plogi = ElsRequest::Plogi(self.local.login());
        self.orders.push_back(Order::Ask(self.request(plogi)));
        self.state = State::LoggingIn;
    }

    fn log_process_in(&mut self, peer: Peer) {
        let prli = ElsRequest::Prli(ProcessLogin::from(ServicePage::fcp(FCP_PARAMETERS)));
        self.orders.push_back(Order::Ask(self.request(prli)));
        self.state = State::ProcessLogin { peer };
    }

    fn verify(&mut self, peer: Peer, target: Target, timeouts: u32) {
        // A login that works is not given up for a port that is slow.
        let timeout = self.local.els_timeout();
        let adisc = Request { timeout, ..self.request(ElsRequest::Adisc(self.local.adisc())) };
        self.orders.push_back(Order::Ask(adisc));
        self.state = State::Verifying { peer, target, timeouts };
    }

    fn succeed(&mut self) {
        self.backoff.reset();
        self.failure = None;
    }

    fn fail(&mut self, now: Instant, peer: Option<Peer>, failure: Failure) {
        self.failure = Some(failure);
        self.wait(now, peer);
    }

    fn wait(&mut self, now: Instant, peer: Option<Peer>) {
        self.state = State::Waiting { until: now + self.backoff.fail(), peer };
    }

    /// Tells that the target is gone, if it was told that it is there.
    fn lose(&mut self, reason: GoneReason) {
        if let Some(&Target { port_name, .. }) = self.target() {
            self.events.push_back(PortEvent::Lost { port_name, reason });
        }
    }

    /// A VN2VN neighbour's virtual link goes as it came, by FIP.
    fn logout_request(&self) -> Request {
        let via = match self.local.topology {
            Topology::Fabric => Via::Fcoe,
            Topology::Vn2vn => Via::Fip { kind: ElsKind::Logo, mac: self.local.vn2vn_mac() },
        };
        Request { via, ..self.request(ElsRequest::Logo(self.local.logo())) }
    }

    fn request(&self, request: ElsRequest) -> Request {
        Request {
            via: Via::Fcoe,
            s_id: self.local.id,
            d_id: self.id,
            service: Service::Els(request),
            timeout: self.backoff.patience(self.local.e_d_tov, self.local.els_timeout()),
        }
    }
}
