//! One VN_Port: its fabric login, its remote ports and the exchanges that they share.
//!
//! ```text
//!            FIP: FLOGI, FDISC, LOGO            FCoE: everything else
//!                      ^                                ^
//!                      +---------------+----------------+
//!                                      |
//!                               +------+------+
//!                               |  Exchanges  |
//!                               +--+-------+--+
//!                          orders  |       |  orders
//!                  and outcomes    |       |    and outcomes
//!                     +------------+-+   +-+-------------+
//!                     | Fabric login |   | Remote ports  |
//!                     +------+-------+   +-------^-------+
//!                            |   listed, gone    |
//!                            +-------------------+
//! ```
//!
//! Without a fabric (VN2VN, FC-BB-6), FIP finds the N_Port_ID and lists the neighbours in the fabric login's place.
//!
//! Whoever drives it fetches events before frames after each call: an N_Port_ID's first frame needs the MAC
//! address of [`Event::LoggedIn`]. After [`Event::Offline`], frames of that N_Port_ID may be dropped.

mod incoming;
mod neighbourhood;
mod network;
#[cfg(test)]
mod tests;

use crate::exchange::{Answer, Exchanges, Failure, Order, OxIdRange};
use crate::fabric_login::{DEFAULT_R_A_TOV, FabricEvent, FabricLogin, PortChanges};
use crate::frame::FcFrame;
use crate::queue::Queue;
use crate::remote_port::{LocalPort, PortEvent, RemotePort};
use crate::time::Instant;
use crate::wire::{FcId, MacAddr, Wwn};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

pub use crate::exchange::{Outgoing, Via};
pub use crate::fabric_login::{FPort, Identity, LoginKind, LogoutReason, Phase, Session};
pub use crate::remote_port::{GoneReason, PortPhase, Target, Topology};
pub use crate::retry::DEFAULT_RECONNECT_DELAY;

use incoming::is_whole_request;
use neighbourhood::Neighbourhood;
use network::Network;

/// The most remote ports: all that discovery lists, and [`MAX_UNLISTED_PORTS`].
pub const MAX_REMOTE_PORTS: usize = crate::fabric_login::MAX_LISTED_PORTS + MAX_UNLISTED_PORTS;
/// The most remote ports that logged in to us though the name server lists them not, or not yet: zoning lets
/// few others than targets do so, and they shall not take the targets' places.
pub const MAX_UNLISTED_PORTS: usize = 64;

/// One VN_Port.
#[derive(Clone, Debug)]
pub struct VnPort {
    network: Network,
    /// In boxes, for the map has room for eleven from the first on, and most VN_Ports have one or two.
    ports: BTreeMap<FcId, Box<Entry>>,
    exchanges: Exchanges<Owner>,
    events: Queue<Event>,
    counters: Counters,
    is_online: bool,
}

#[derive(Clone, Debug)]
struct Entry {
    port: RemotePort,
    /// Whether the name server lists it, or it is a VN2VN neighbour; another one is kept while it is logged in.
    is_listed: bool,
}

/// Whose an exchange is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Owner {
    Network,
    Port(FcId),
}

/// What the layers above need to know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// The fabric granted an N_Port_ID and a MAC address, or FIP claimed them.
    LoggedIn(Session),
    /// The login to the fabric failed. It is tried again; another FCF may do better.
    LoginFailed(Failure),
    /// The port is registered, and the first list of ports is here; in VN2VN the same as [`Self::LoggedIn`].
    Online,
    /// Commands may go to this target.
    TargetReady(Target),
    /// No more commands may go to this target, and those that are out are void.
    TargetGone {
        /// Its N_Port_ID.
        id: FcId,
        /// Its WWPN.
        port_name: Wwn,
        /// Why.
        reason: GoneReason,
    },
    /// The N_Port_ID is gone, after all targets are. The MAC address must not be used any more.
    Offline(LogoutReason),
}

/// One line of what an operator sees of the remote ports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RemotePortStatus {
    /// Its N_Port_ID.
    pub id: FcId,
    /// Its WWPN.
    pub port_name: Wwn,
    /// How far the login to it is.
    pub phase: PortPhase,
    /// What failed last, if it has not gone well since.
    pub failure: Option<Failure>,
}

/// What a VN_Port counted. Frames that it drops are in one of the counters of their reason.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Dropped: the D_ID isn't ours, or the S_ID can't be anyone's.
    pub misaddressed: u64,
    /// Dropped: neither a link service nor a reply to one of ours.
    pub unexpected: u64,
    /// Link services rejected, for they can't be understood.
    pub malformed: u64,
    /// Logins rejected: [`MAX_UNLISTED_PORTS`] are there.
    pub too_many_ports: u64,
}

impl VnPort {
    /// A VN_Port for a fabric, offline; `ox_ids` are for its link services.
    ///
    /// # Panics
    /// If the identity's payload isn't 256..=2112 bytes.
    pub fn new(identity: Identity, ox_ids: OxIdRange) -> Self {
        Self::over(Network::Fabric(FabricLogin::new(identity)), ox_ids)
    }

    /// A VN_Port for VN2VN, offline; `ox_ids` are for its link services.
    ///
    /// # Panics
    /// If the identity's payload isn't 256..=2112 bytes.
    pub fn vn2vn(identity: Identity, ox_ids: OxIdRange) -> Self {
        Self::over(Network::Vn2vn(Neighbourhood::new(identity)), ox_ids)
    }

    fn over(network: Network, ox_ids: OxIdRange) -> Self {
        Self {
            network,
            ports: BTreeMap::new(),
            exchanges: Exchanges::new(ox_ids, DEFAULT_R_A_TOV),
            events: Queue::new(),
            counters: Counters::default(),
            is_online: false,
        }
    }

    /// There is an FCF to log in to. Does nothing unless offline.
    ///
    /// # Panics
    /// If it isn't a port for a fabric.
    pub fn start(&mut self, now: Instant) {
        match &mut self.network {
            Network::Fabric(fabric) => fabric.start(),
            Network::Vn2vn(_) => panic!("VN2VN has no FCF"),
        }
        self.drive_network(now);
    }

    /// The link, the FCF, the virtual link or the N_Port_ID is gone: nothing can be said any more. Ends offline, with
    /// [`Event::Offline`] if there was a login.
    pub fn link_lost(&mut self, now: Instant) {
        self.network.link_lost();
        self.drive_network(now);
        self.exchanges.reset(now);
    }

    /// The FCF has cleared the virtual link. As [`Self::link_lost`], and ends waiting to log in again where that happens
    /// again and again.
    pub fn link_cleared(&mut self, now: Instant) {
        self.network.link_cleared(now);
        self.drive_network(now);
        self.exchanges.reset(now);
    }

    /// Logs out of every remote port and of the fabric. Ends with [`Event::Offline`], at once without a login.
    pub fn shutdown(&mut self, now: Instant) {
        for (id, mut entry) in core::mem::take(&mut self.ports) {
            entry.port.remove(GoneReason::Shutdown);
            self.drive(now, id, &mut entry.port);
        }
        self.network.shutdown();
        self.drive_network(now);
        self.finish_shutdown(now);
    }

    /// Logs out of a target that doesn't do as it should, and in again. Does nothing if it isn't ready.
    pub fn log_in_again(&mut self, now: Instant, port_name: Wwn) {
        let is_it = |entry: &Entry| entry.port.target().is_some_and(|target| target.port_name == port_name);
        let found = self.ports.iter().find(|(_, entry)| is_it(entry)).map(|(&id, _)| id);
        if let Some(id) = found {
            self.with_port(now, id, |port| port.log_in_again(now));
        }
    }

    /// Takes the reply to a FIP link service that [`Self::poll_transmit`] gave, with the MAC address that it grants.
    pub fn handle_fip_reply(&mut self, now: Instant, frame: &FcFrame, granted_mac: Option<MacAddr>) {
        if let Some((owner, outcome)) = self.exchanges.handle_fip_frame(now, frame) {
            self.settle(now, owner, outcome, granted_mac);
        }
        self.finish_shutdown(now);
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let ports = self.ports.values().filter_map(|entry| entry.port.poll_timeout());
        ports.chain(self.network.poll_timeout()).chain(self.exchanges.poll_timeout()).min()
    }

    /// Does what is due; harmless at other times.
    pub fn handle_timeout(&mut self, now: Instant) {
        for owner in self.exchanges.handle_timeout(now) {
            self.settle(now, owner, Err(Failure::TimedOut), None);
        }
        self.network.handle_timeout(now);
        self.drive_network(now);
        self.finish_shutdown(now);
        let is_due = |entry: &Entry| entry.port.poll_timeout().is_some_and(|until| until <= now);
        let due: Vec<FcId> =
            self.ports.iter().filter(|(_, entry)| is_due(entry)).map(|(&id, _)| id).collect();
        for id in due {
            self.with_port(now, id, |port| port.handle_timeout(now));
        }
    }

    /// The next frame to send.
    pub fn poll_transmit(&mut self) -> Option<Outgoing> {
        self.exchanges.poll_transmit()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Who it is.
    pub const fn identity(&self) -> &Identity {
        self.network.identity()
    }

    /// What the fabric granted or FIP claimed, while logged in.
    pub const fn session(&self) -> Option<&Session> {
        self.network.session()
    }

    /// How far the login to the fabric is; in VN2VN whether there is an N_Port_ID.
    pub const fn phase(&self) -> Phase {
        self.network.phase()
    }

    /// The remote ports. At most [`MAX_REMOTE_PORTS`].
    pub fn remote_ports(&self) -> impl Iterator<Item = RemotePortStatus> {
        self.ports.iter().map(|(&id, entry)| RemotePortStatus {
            id,
            port_name: entry.port.port_name(),
            phase: entry.port.phase(),
            failure: entry.port.failure(),
        })
    }

    /// The targets that commands may go to.
    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        self.ports.values().filter_map(|entry| entry.port.target())
    }

    /// What was counted.
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What its exchanges counted.
    pub const fn exchange_counters(&self) -> &crate::exchange::Counters {
        self.exchanges.counters()
    }

    /// Hands what came of a request to whoever asked.
    fn settle(
        &mut self,
        now: Instant,
        owner: Owner,
        outcome: Result<Answer, Failure>,
        granted_mac: Option<MacAddr>,
    ) {
        match owner {
            Owner::Network => {
                self.network.handle_outcome(now, outcome, granted_mac);
                self.drive_network(now);
            }
            Owner::Port(id) => self.with_port(now, id, |port| port.handle_outcome(now, outcome)),
        }
    }

    /// Does something with a remote port, and whatever it then wants.
    fn with_port(&mut self, now: Instant, id: FcId, act: impl FnOnce(&mut RemotePort)) {
        let Some(mut entry) = self.ports.remove(&id) else { return };
        act(&mut entry.port);
        self.drive(now, id, &mut entry.port);
        if entry.is_listed || !entry.port.is_idle() {
            self.ports.insert(id, entry);
        }
    }

    /// Carries out what a remote port orders, and passes on what it tells.
    fn drive(&mut self, now: Instant, id: FcId, port: &mut RemotePort) {
        let owner = Owner::Port(id);
        while let Some(order) = port.poll_order() {
            if let Err(failure) = self.carry_out(now, owner, &order) {
                port.handle_outcome(now, Err(failure));
            }
        }
        while let Some(event) = port.poll_event() {
            let event = match event {
                PortEvent::Ready(target) => {
                    self.displace(now, target.port_name);
                    Event::TargetReady(target)
                }
                PortEvent::Lost { port_name, reason } => Event::TargetGone { id, port_name, reason },
            };
            self.events.push_back(event);
        }
    }

    /// Makes room for a target that is ready at another N_Port_ID now: a WWPN is one target's only.
    fn displace(&mut self, now: Instant, port_name: Wwn) {
        let is_same = |entry: &Entry| entry.port.target().is_some_and(|old| old.port_name == port_name);
        let Some(id) = self.ports.iter().find(|(_, entry)| is_same(entry)).map(|(&id, _)| id) else {
            return;
        };
        self.remove_port(now, id, GoneReason::Moved);
    }

    /// Carries out what the fabric login orders, and does what follows from what it tells.
    fn drive_network(&mut self, now: Instant) {
        while let Some(order) = self.network.poll_order() {
            if let Err(failure) = self.carry_out(now, Owner::Network, &order) {
                self.network.handle_outcome(now, Err(failure), None);
            }
        }
        while let Some(event) = self.network.poll_event() {
            match event {
                FabricEvent::LoggedIn(session) => {
                    self.exchanges.set_r_a_tov(session.r_a_tov);
                    self.events.push_back(Event::LoggedIn(session));
                }
                FabricEvent::LoginFailed(failure) => self.events.push_back(Event::LoginFailed(failure)),
                FabricEvent::Ports(changes) => self.apply(now, changes),
                FabricEvent::LoggedOut(reason) => {
                    self.drop_ports(now);
                    self.is_online = false;
                    self.events.push_back(Event::Offline(reason));
                }
            }
        }
    }

    fn carry_out(&mut self, now: Instant, owner: Owner, order: &Order) -> Result<(), Failure> {
        match order {
            Order::Ask(request) => self.exchanges.begin(now, Some(owner), request),
            Order::Tell(request) => {
                // Nobody waits for what comes of it, not even of its not being sent.
                let _ = self.exchanges.begin(now, None, request);
                Ok(())
            }
            Order::Forget => {
                self.exchanges.forget(now, |key| *key == owner);
                Ok(())
            }
        }
    }

    /// Does what the name server's list asks for. What is gone goes first: a port may come back by another name.
    fn apply(&mut self, now: Instant, changes: PortChanges) {
        if !self.is_online {
            self.is_online = true;
            self.events.push_back(Event::Online);
        }
        for id in changes.gone {
            self.remove_port(now, id, GoneReason::Unlisted);
        }
        let Some(local) = self.network.local_port() else { return };
        for (id, port_name) in changes.added {
            self.add_listed(now, local, id, port_name);
        }
        for (id, port_name) in changes.confirmed {
            if self.ports.contains_key(&id) {
                self.with_port(now, id, RemotePort::confirm);
            } else {
                // It was displaced, and is back.
                self.add_listed(now, local, id, port_name);
            }
        }
    }

    fn remove_port(&mut self, now: Instant, id: FcId, reason: GoneReason) {
        if let Some(mut entry) = self.ports.remove(&id) {
            entry.port.remove(reason);
            self.drive(now, id, &mut entry.port);
        }
    }

    fn add_listed(&mut self, now: Instant, local: LocalPort, id: FcId, port_name: Wwn) {
        match self.ports.get_mut(&id) {
            Some(entry) if entry.port.port_name() == port_name => {
                // It logged in before the list had it.
                entry.is_listed = true;
                return;
            }
            Some(_) => self.remove_port(now, id, GoneReason::Unlisted),
            None => {}
        }
        let mut port = RemotePort::new(local, id, port_name);
        self.drive(now, id, &mut port);
        self.ports.insert(id, Box::new(Entry { port, is_listed: true }));
    }

    fn drop_ports(&mut self, now: Instant) {
        for (id, mut entry) in core::mem::take(&mut self.ports) {
            entry.port.drop_silently(GoneReason::Offline);
            self.drive(now, id, &mut entry.port);
        }
        self.exchanges.end_all(now);
    }
}
