//! A VN_Port without a fabric: FIP finds its N_Port_ID and its neighbours, and they log in to each other (FC-BB-6).

use super::network::Network;
use super::{Entry, Event, VnPort, is_whole_request};
use crate::exchange::Via;
use crate::fabric_login::{
    DEFAULT_E_D_TOV, DEFAULT_R_A_TOV, FabricEvent, Identity, LogoutReason, Phase, Session, is_payload_len,
};
use crate::frame::FcFrame;
use crate::queue::Queue;
use crate::remote_port::{LocalPort, RemotePort, Topology, reply_to_stranger};
use crate::time::Instant;
use crate::vn2vn::Neighbour;
use crate::wire::FcId;
use crate::wire::els::{ElsReply, ElsRequest, LsRjt};
use crate::wire::fip::{ElsKind, VxPort};

/// What a fabric login is, where there is no fabric.
#[derive(Clone, Debug)]
pub(super) struct Neighbourhood {
    identity: Identity,
    state: State,
    events: Queue<FabricEvent>,
}

#[derive(Clone, Debug)]
enum State {
    /// FIP has claimed no N_Port_ID.
    Offline,
    /// It has.
    Online(Session),
    /// The neighbours were told that we go, and answer.
    LoggingOut,
}

/// What FIP finds where there is no fabric.
///
/// # Panics
/// Each, for a port that isn't made by [`Self::vn2vn`].
impl VnPort {
    /// FIP has claimed an N_Port_ID.
    pub fn id_claimed(&mut self, now: Instant, port: &VxPort) {
        self.neighbourhood().begin(port);
        self.drive_network(now);
        self.is_online = true;
        self.events.push_back(Event::Online);
    }

    /// A neighbour is there: logs in to it. One that was there may have restarted: looks whether the login holds.
    pub fn neighbour_up(&mut self, now: Instant, neighbour: &Neighbour) {
        let Some(local) = self.neighbourhood().local_port_to(neighbour) else { return };
        let id = neighbour.port.fc_id;
        if self.ports.contains_key(&id) {
            self.with_port(now, id, RemotePort::confirm);
        } else {
            self.add_listed(now, local, id, neighbour.port.port_name);
        }
    }

    /// A neighbour is gone.
    pub fn neighbour_gone(&mut self, now: Instant, id: FcId) {
        let reason = self.network.unlisted();
        self.remove_port(now, id, reason);
    }

    /// Takes a link service that a neighbour asks for by FIP. Its FLOGI is answered at once, whatever was before.
    pub fn handle_fip_request(&mut self, now: Instant, from: &Neighbour, kind: ElsKind, frame: &FcFrame) {
        let neighbourhood = self.neighbourhood();
        // Whoever is about to go says nothing more.
        let State::Online(Session { mac, .. }) = neighbourhood.state else { return };
        let Some(local) = neighbourhood.local_port_to(from) else { return };
        if !is_whole_request(&frame.header) {
            self.counters.unexpected += 1;
            return;
        }
        let via = Via::Fip { kind, mac };
        let reply = |reply: ElsReply| FcFrame::els_reply(&frame.header, reply.to_payload());
        match (kind, ElsRequest::parse(&frame.payload)) {
            (_, Err(_)) => {
                self.counters.malformed += 1;
                self.exchanges.push_reply(via, reply(LsRjt::MALFORMED.into()));
            }
            (ElsKind::Flogi, Ok(request @ ElsRequest::Flogi(_)))
            | (ElsKind::Logo, Ok(request @ ElsRequest::Logo(_))) => {
                let VxPort { fc_id: id, port_name, .. } = from.port;
                if kind == ElsKind::Flogi && !self.ports.contains_key(&id) {
                    let port = RemotePort::accepting(local, id, port_name);
                    self.ports.insert(id, alloc::boxed::Box::new(Entry { port, is_listed: true }));
                }
                let answer = match self.ports.get_mut(&id) {
                    Some(entry) => entry.port.handle_request(now, &request),
                    None => reply_to_stranger(&request),
                };
                // The reply goes out before whatever follows from the request.
                self.exchanges.push_reply(via, reply(answer));
                self.with_port(now, id, |_| {});
            }
            (_, Ok(_)) => self.exchanges.push_reply(via, reply(LsRjt::UNSUPPORTED.into())),
        }
    }

    /// Goes offline once every neighbour has answered our LOGO, or has had its time to.
    pub(super) fn finish_shutdown(&mut self, now: Instant) {
        if let Network::Vn2vn(neighbourhood) = &mut self.network
            && matches!(neighbourhood.state, State::LoggingOut)
            && !self.exchanges.has_open()
        {
            neighbourhood.end(LogoutReason::Shutdown);
            self.drive_network(now);
        }
    }

    fn neighbourhood(&mut self) -> &mut Neighbourhood {
        match &mut self.network {
            Network::Vn2vn(neighbourhood) => neighbourhood,
            Network::Fabric(_) => panic!("a fabric has no neighbours"),
        }
    }
}

impl Neighbourhood {
    pub(super) fn new(identity: Identity) -> Self {
        assert!(is_payload_len(identity.max_payload_len), "payloads of {} bytes", identity.max_payload_len);
        Self { identity, state: State::Offline, events: Queue::new() }
    }

    pub(super) const fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(super) const fn session(&self) -> Option<&Session> {
        match &self.state {
            State::Online(session) => Some(session),
            State::Offline | State::LoggingOut => None,
        }
    }

    pub(super) const fn phase(&self) -> Phase {
        match self.state {
            State::Offline => Phase::Offline,
            State::Online(_) => Phase::Online,
            State::LoggingOut => Phase::LoggingOut,
        }
    }

    /// Nobody tells time-out values: the standard's hold.
    fn begin(&mut self, port: &VxPort) {
        let session = Session {
            fc_id: port.fc_id,
            mac: port.mac,
            max_payload_len: self.identity.max_payload_len,
            r_a_tov: DEFAULT_R_A_TOV,
            e_d_tov: DEFAULT_E_D_TOV,
            f_port: None,
        };
        self.state = State::Online(session);
        self.events.push_back(FabricEvent::LoggedIn(session));
    }

    pub(super) fn shutdown(&mut self) {
        self.state = State::LoggingOut;
    }

    pub(super) fn end(&mut self, reason: LogoutReason) {
        let reason = match core::mem::replace(&mut self.state, State::Offline) {
            State::Offline => return,
            State::Online(_) => reason,
            State::LoggingOut => LogoutReason::Shutdown,
        };
        self.events.push_back(FabricEvent::LoggedOut(reason));
    }

    pub(super) fn poll_event(&mut self) -> Option<FabricEvent> {
        self.events.pop_front()
    }

    /// Our side of a login to a neighbour: both ends have to take the frames.
    fn local_port_to(&self, neighbour: &Neighbour) -> Option<LocalPort> {
        let local = LocalPort::new(Topology::Vn2vn, &self.identity, self.session()?);
        let max_payload_len = local.max_payload_len.min(neighbour.max_payload_len()?);
        Some(LocalPort { max_payload_len, ..local })
    }
}
