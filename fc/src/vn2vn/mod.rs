//! The ENode's side of FIP without a fabric (VN2VN, FC-BB-6): from a link to an N_Port_ID and to neighbours.
//!
//! An [`Enode`] is one ENode MAC with one VN_Port. It looks for an N_Port_ID that nobody has, claims it, tells that
//! it is there, remembers who else is, and carries the logins' ELSs between them. What the ELSs say is the business
//! of the logins.
//!
//! ```text
//!                 +-----------+
//!   link_down --->| Link down |
//!                 +-----+-----+
//!                       | link_up
//!                       v
//!             +---------+------+   VLAN requests, three times
//!             | VLAN discovery |
//!             +---------+------+
//!                       | notified, and settled for 0.5 s; or unanswered: untagged
//!                       v
//!                  +----+----+     probe requests after 0..100 ms and 100 ms more
//!      +---------->| Probing |
//!      |           +----+----+
//!      |  probed or     | unchallenged for 400 ms
//!      |  claimed by    v
//!      |  another  +----+-----+    claim notification; its responses show who is there
//!      +-----------+ Claiming |
//!      |  port:    +----+-----+
//!      |  new ID        | unchallenged for 400 ms
//!      |                v
//!      |           +----+----+     beacons after 0 and 400 ms, then every 8 s; ELSs
//!      +-----------+ Claimed |
//!   claimed by a   +---------+
//!   higher WWPN
//! ```
//!
//! Two ports may claim one N_Port_ID where a switch didn't forward the probes yet: the higher WWPN keeps it.

mod config;
mod neighbours;
mod receive;
#[cfg(test)]
mod tests;
mod transmit;

pub use config::{Config, Counters, Event, LossReason, ReleaseReason};
pub use neighbours::{MAX_NEIGHBOURS, Neighbour, NeighbourStatus, Refusal};

use crate::fip::{VlanChoice, VlanDiscovery, VlanStep};
use crate::jitter::Jitter;
use crate::time::{Duration, Instant};
use crate::wire::ethernet::VlanTag;
use crate::wire::fip::{FcMap, VxPort};
use crate::wire::{FcId, MacAddr};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use neighbours::{Loss, Neighbours};
use thiserror::Error;

/// The first probe waits for up to this long: many ports may have got their link at once (FC-BB-6, PROBE_WAIT).
const MAX_PROBE_DELAY: Duration = Duration::from_millis(100);
/// Time between the probes.
const PROBE_WAIT: Duration = Duration::from_millis(100);
/// How many there are.
const PROBES: u32 = 2;
/// How long others may object, to the last probe and to the claim; also the least time between claims (ANNOUNCE_WAIT).
const ANNOUNCE_WAIT: Duration = Duration::from_millis(400);
/// Time between beacons.
const BEACON_PERIOD: Duration = Duration::from_secs(8);
/// Each waits for up to this much longer.
const MAX_BEACON_DELAY: Duration = Duration::from_millis(100);
/// Conflicts after which the next probe waits for [`CONFLICT_WAIT`]: somebody objects to everything.
const MAX_QUICK_CONFLICTS: u32 = 10;
/// See [`MAX_QUICK_CONFLICTS`].
const CONFLICT_WAIT: Duration = Duration::from_secs(10);
/// Frames that wait to be fetched: a login to every neighbour at once, and some room for everything else.
const MAX_TRANSMIT: usize = 2 * MAX_NEIGHBOURS + 64;
/// Events that wait to be fetched. At this number nothing is received and no deadline runs, so that no event is ever
/// lost; a few more than all neighbours' may be added at once.
const MAX_EVENTS: usize = 64;

/// One ENode MAC's FIP, where there is no fabric.
#[derive(Clone, Debug)]
pub struct Enode {
    config: Config,
    state: State,
    neighbours: Neighbours,
    /// Nobody has told us that frames without a tag are right.
    is_vlan_guessed: bool,
    /// The N_Port_ID that stood last: it is tried first after a link failure.
    last_id: Option<FcId>,
    /// Conflicts since the link came up, or a claim stood for a beacon period.
    conflicts: u32,
    jitter: Jitter,
    transmit: VecDeque<Vec<u8>>,
    events: VecDeque<Event>,
    counters: Counters,
}

#[derive(Clone, Debug)]
enum State {
    LinkDown,
    VlanDiscovery(VlanDiscovery),
    Probing(Probing),
    /// Claiming as long as no beacon was sent.
    Claimed(Claim),
}

/// An N_Port_ID that may be ours soon.
#[derive(Clone, Debug)]
struct Probing {
    vlan: Option<VlanTag>,
    port: VxPort,
    probes: u32,
    deadline: Instant,
}

/// An N_Port_ID that is ours.
#[derive(Clone, Debug)]
struct Claim {
    vlan: Option<VlanTag>,
    port: VxPort,
    /// When the last claim notification went out.
    claimed_at: Instant,
    beacons: u32,
    beacon_at: Instant,
}

/// How far an ENode has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// The interface has no link.
    LinkDown,
    /// Neighbours are asked for their VLANs.
    VlanDiscovery,
    /// An N_Port_ID is being looked for.
    Probing,
    /// An N_Port_ID was claimed; others may still object.
    Claiming,
    /// The N_Port_ID is ours.
    Claimed,
}

/// There is no such neighbour.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("no neighbour has this N_Port_ID")]
pub struct NoNeighbour;

impl Enode {
    /// An ENode whose link is down.
    ///
    /// # Panics
    /// If the configured MAC address is zero or a group's, or the VLAN id above 4094.
    pub fn new(config: Config) -> Self {
        if let VlanChoice::Fixed(id) = config.vlan {
            assert!(id <= 4094, "VLAN id {id}");
        }
        assert!(config.mac.is_unicast(), "an ENode MAC is a unicast address, not {}", config.mac);
        Self {
            config,
            state: State::LinkDown,
            neighbours: Neighbours::default(),
            is_vlan_guessed: false,
            last_id: None,
            conflicts: 0,
            jitter: Jitter::new(config.seed),
            transmit: VecDeque::new(),
            events: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// The interface has a link: everything but the N_Port_ID starts anew.
    pub fn link_up(&mut self, now: Instant) {
        self.link_down();
        self.conflicts = 0;
        self.is_vlan_guessed = false;
        match self.config.vlan {
            VlanChoice::Discover => {
                self.state = State::VlanDiscovery(VlanDiscovery::of_neighbours(now));
                self.handle_timeout(now);
            }
            VlanChoice::Untagged => self.search_on(now, 0),
            VlanChoice::Fixed(id) => self.search_on(now, id),
        }
    }

    /// The interface lost its link: everything found out is void.
    pub fn link_down(&mut self) {
        self.release(ReleaseReason::LinkDown);
        self.state = State::LinkDown;
        self.transmit.clear();
    }

    /// Does what is due; to be called at [`Self::poll_timeout`], and harmless at other times.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.is_backlogged() {
            return;
        }
        let silent = self.neighbours.expire(now);
        self.tell_losses(silent);
        match &mut self.state {
            State::LinkDown => {}
            State::VlanDiscovery(discovery) => match discovery.handle_timeout(now) {
                VlanStep::Wait => {}
                VlanStep::Request => self.request_vlan(),
                VlanStep::Answered(vlans) => self.search_on(now, vlans[0]),
                VlanStep::Unanswered => {
                    self.is_vlan_guessed = true;
                    self.events.push_back(Event::VlanDiscoveryUnanswered);
                    self.search_on(now, 0);
                }
            },
            State::Probing(Probing { deadline, .. }) if now < *deadline => {}
            State::Probing(Probing { probes: PROBES, vlan, port, .. }) => {
                let (vlan, port) = (*vlan, *port);
                self.take(now, vlan, port);
            }
            State::Probing(probing) => {
                probing.probes += 1;
                probing.deadline = now + if probing.probes == PROBES { ANNOUNCE_WAIT } else { PROBE_WAIT };
                self.send_probe();
            }
            State::Claimed(Claim { beacon_at, .. }) if now < *beacon_at => {}
            State::Claimed(_) => self.beacon(now),
        }
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let own = match &self.state {
            State::LinkDown => None,
            State::VlanDiscovery(discovery) => Some(discovery.deadline),
            State::Probing(probing) => Some(probing.deadline),
            State::Claimed(claim) => Some(claim.beacon_at),
        };
        own.into_iter().chain(self.neighbours.next_deadline()).min()
    }

    /// The next whole Ethernet frame to send.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.transmit.pop_front()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// How far it has come.
    pub const fn phase(&self) -> Phase {
        match &self.state {
            State::LinkDown => Phase::LinkDown,
            State::VlanDiscovery(_) => Phase::VlanDiscovery,
            State::Probing(_) => Phase::Probing,
            State::Claimed(Claim { beacons: 0, .. }) => Phase::Claiming,
            State::Claimed(_) => Phase::Claimed,
        }
    }

    /// The configuration.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// What was counted.
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The VN_Port, once its N_Port_ID is claimed.
    pub const fn vn_port(&self) -> Option<&VxPort> {
        match &self.state {
            State::Claimed(claim) => Some(&claim.port),
            State::LinkDown | State::VlanDiscovery(_) | State::Probing(_) => None,
        }
    }

    /// The ports heard on the VLAN, and why there is no login with each, at most [`MAX_NEIGHBOURS`].
    pub fn neighbours(&self) -> Vec<NeighbourStatus> {
        self.neighbours.status(&self.config)
    }

    /// Where FCoE frames for a port go, and where its own come from (FC-BB-6): its VN_Port MAC.
    pub const fn fcoe_destination(id: FcId) -> MacAddr {
        MacAddr::fabric_provided(FcMap::VN2VN.0, id)
    }

    /// The tag of FIP and FCoE frames; `None` also as long as no VLAN is chosen.
    pub const fn vlan(&self) -> Option<VlanTag> {
        match &self.state {
            State::Probing(probing) => probing.vlan,
            State::Claimed(claim) => claim.vlan,
            State::LinkDown | State::VlanDiscovery(_) => None,
        }
    }

    fn is_backlogged(&self) -> bool {
        self.events.len() >= MAX_EVENTS
    }

    /// Looks for an N_Port_ID on a VLAN; 0 stands for untagged frames.
    fn search_on(&mut self, now: Instant, id: u16) {
        let vlan = (id != 0).then(|| VlanTag::new(id, self.config.vlan_priority));
        self.events.push_back(Event::VlanChosen { vlan });
        let [.., high, low] = self.config.port_name.0;
        let id = self.last_id.unwrap_or(FcId([0, high, low]));
        let id = if self.may_take(id) { id } else { self.random_id() };
        self.probe(now, vlan, id);
    }

    /// Looks whether somebody has this N_Port_ID.
    fn probe(&mut self, now: Instant, vlan: Option<VlanTag>, id: FcId) {
        let deadline = now
            + match self.conflicts {
                ..MAX_QUICK_CONFLICTS => self.jitter.up_to(MAX_PROBE_DELAY),
                _ => CONFLICT_WAIT,
            };
        let port = VxPort { mac: Self::fcoe_destination(id), fc_id: id, port_name: self.config.port_name };
        self.state = State::Probing(Probing { vlan, port, probes: 0, deadline });
    }

    /// Nobody has the N_Port_ID: takes it.
    fn take(&mut self, now: Instant, vlan: Option<VlanTag>, port: VxPort) {
        let beacon_at = now + ANNOUNCE_WAIT;
        self.state = State::Claimed(Claim { vlan, port, claimed_at: now, beacons: 0, beacon_at });
        self.events.push_back(Event::Claimed(port));
        self.send_claim();
    }

    /// Claims the N_Port_ID again, unless it was claimed just now.
    fn claim(&mut self, now: Instant) {
        if let State::Claimed(claim) = &mut self.state
            && now >= claim.claimed_at + ANNOUNCE_WAIT
        {
            claim.claimed_at = now;
            self.send_claim();
        }
    }

    /// Tells that the N_Port_ID stands.
    fn beacon(&mut self, now: Instant) {
        let delay = self.jitter.up_to(MAX_BEACON_DELAY);
        let State::Claimed(claim) = &mut self.state else { return };
        claim.beacons = claim.beacons.saturating_add(1);
        claim.beacon_at = now
            + match claim.beacons {
                // As Linux does: a beacon that is lost costs a login 8 s.
                1 => ANNOUNCE_WAIT,
                _ => BEACON_PERIOD + delay,
            };
        match claim.beacons {
            ..2 => {}
            // Who was here before us has no other reason to send a beacon soon: after a link failure of ours it may
            // not even know that we were away.
            2 => self.neighbours.settle(),
            3.. => self.conflicts = 0,
        }
        self.last_id = Some(claim.port.fc_id);
        self.send_beacon();
        if self.may_change_vlan() {
            self.request_vlan();
        }
        self.tell_ups();
    }

    /// Whether it is worth asking for VLANs again: whoever isn't on ours may have got onto another one later than we.
    /// Neighbours prove nothing where the VLAN is a guess, as they may have guessed, too.
    fn may_change_vlan(&self) -> bool {
        self.config.vlan == VlanChoice::Discover && (self.neighbours.is_empty() || self.is_vlan_guessed)
    }

    /// Another port has our N_Port_ID: looks for another one.
    fn conflict(&mut self, now: Instant) {
        let (vlan, lost) = match &self.state {
            State::LinkDown | State::VlanDiscovery(_) => return,
            State::Probing(probing) => (probing.vlan, probing.port.fc_id),
            State::Claimed(claim) => (claim.vlan, claim.port.fc_id),
        };
        self.counters.conflicts += 1;
        self.conflicts = self.conflicts.saturating_add(1);
        self.last_id = self.last_id.filter(|&last| last != lost);
        let id = loop {
            let id = self.random_id();
            if id != lost {
                break id;
            }
        };
        self.release(ReleaseReason::Conflict);
        self.probe(now, vlan, id);
    }

    /// An N_Port_ID that nobody is known to have.
    fn random_id(&mut self) -> FcId {
        loop {
            let id = FcId::from_u32(self.jitter.number().into());
            if self.may_take(id) {
                return id;
            }
        }
    }

    fn may_take(&self, id: FcId) -> bool {
        matches!(id.to_u32(), 1..=0xfffe) && self.neighbours.get(id).is_none()
    }

    /// Gives the N_Port_ID up, if there is one, and forgets the neighbours.
    fn release(&mut self, reason: ReleaseReason) {
        self.neighbours.clear();
        if let State::Claimed(claim) = &self.state {
            self.events.push_back(Event::Released { port: claim.port, reason });
        }
    }

    /// Tells of neighbours that can be logged in to, once others know that our own N_Port_ID stands.
    fn tell_ups(&mut self) {
        if self.phase() == Phase::Claimed {
            let ups = self.neighbours.take_ups(&self.config);
            self.events.extend(ups.into_iter().map(Event::NeighbourUp));
        }
    }

    fn tell_losses(&mut self, losses: Vec<Loss>) {
        let gone = |(neighbour, reason): Loss| {
            let VxPort { fc_id: id, port_name, .. } = neighbour.port;
            Event::NeighbourGone { id, port_name, reason }
        };
        self.events.extend(losses.into_iter().map(gone));
    }
}
