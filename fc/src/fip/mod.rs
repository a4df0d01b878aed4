//! The ENode's side of FIP in a fabric (FC-BB-5, 7.9): from a link to an FCF that logins can go to.
//!
//! An [`Enode`] is one ENode MAC. It finds the VLAN and the FCFs on it, chooses one, carries the logins' ELSs,
//! keeps the virtual links alive and watches that the FCF lives. What the ELSs say is the fabric login's
//! business.
//!
//! ```text
//!                 +-----------+
//!   link_down --->| Link down |
//!                 +-----+-----+
//!                       | link_up                 +- every second, five times
//!                       v                         v
//!             +---------+------+  VLAN request    |
//!      +----->| VLAN discovery +------------------+
//!      |      +---------+------+
//!      |                | notified, and settled for 0.5 s; or unanswered: untagged
//!      |                v                         +- after 2, 2, 4, 8 .. 32 s
//!      |      +---------+------+  solicitation    |
//!      +------+ FCF discovery  +------------------+
//!   no FCF on +---------+--+---+
//!   any VLAN            |  ^
//!    the best usable FCF|  | advertisements missed, Clear Virtual Links, another
//!    after 2 s          v  | switch behind the FCF-MAC, login_failed
//!             +---------+--+---+
//!             |     Linked     | ENode and VN_Port keep-alives, ELSs
//!             +----------------+
//! ```

mod config;
mod discovery;
mod fcf;
mod link;
mod receive;
#[cfg(test)]
mod tests;

pub use config::{Addressing, Config, Counters, ElsReply, Event, LostReason, Preferred, VlanChoice};
pub(crate) use discovery::{VlanDiscovery, VlanStep};
pub use fcf::{Fcf, FcfStatus, MAX_FCFS, Refusal};
pub use link::MAX_VN_PORTS;

use crate::jitter::Jitter;
use crate::time::{Duration, Instant};
use crate::wire::ethernet::VlanTag;
use crate::wire::fip::{Descriptor, Els, ElsKind, FipFrame, Flags, Operation, VxPort};
use crate::wire::header::FcHeader;
use crate::wire::{MacAddr, Wwn};
use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;
use discovery::{FcfDiscovery, Lan};
use fcf::FcfTable;
use link::{KeepAlive, Link};
use thiserror::Error;

/// Frames that wait to be fetched: every VN_Port's keep-alive at once, and some room for everything else.
const MAX_TRANSMIT: usize = MAX_VN_PORTS + 64;
/// Events that wait to be fetched. At this number nothing is received and no deadline runs, so that no event is
/// ever lost; the few more that a command adds are as many as its caller gives commands.
const MAX_EVENTS: usize = 64;
/// How long a failed login speaks against an FCF: R_A_TOV, after which nothing of it is left in the fabric.
const LOGIN_BAR: Duration = Duration::from_secs(10);
/// After a loss the first solicitation waits for up to this long, for the other ENodes lost the FCF too.
const MAX_RESTART_DELAY: Duration = Duration::from_millis(100);

/// One ENode MAC's FIP.
#[derive(Clone, Debug)]
pub struct Enode {
    config: Config,
    state: State,
    fcfs: FcfTable,
    jitter: Jitter,
    transmit: VecDeque<Vec<u8>>,
    events: VecDeque<Event>,
    counters: Counters,
}

#[derive(Clone, Debug)]
enum State {
    LinkDown,
    VlanDiscovery(VlanDiscovery),
    FcfDiscovery(FcfDiscovery),
    Linked(Link),
}

/// How far an ENode has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// The interface has no link.
    LinkDown,
    /// FCFs are asked for their VLANs.
    VlanDiscovery,
    /// An FCF is looked for.
    FcfDiscovery,
    /// An FCF is selected.
    Linked,
}

/// No FCF is selected.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("no FCF is selected")]
pub struct NotLinked;

/// Why a VN_Port can't be kept alive.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum VnPortError {
    /// No FCF is selected.
    #[error("no FCF is selected")]
    NotLinked,
    /// The ENode has [`MAX_VN_PORTS`] already.
    #[error("the ENode has {MAX_VN_PORTS} VN_Ports already")]
    TooMany,
}

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
            fcfs: FcfTable::default(),
            jitter: Jitter::new(config.seed),
            transmit: VecDeque::new(),
            events: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// The interface has a link: everything starts anew.
    pub fn link_up(&mut self, now: Instant) {
        self.link_down();
        self.start(now);
    }

    /// The interface lost its link: everything found out is void.
    pub fn link_down(&mut self) {
        if let State::Linked(link) = &self.state {
            self.events.push_back(Event::FcfLost { fcf: link.fcf.mac, reason: LostReason::LinkDown });
        }
        self.state = State::LinkDown;
        self.fcfs.clear();
        self.transmit.clear();
    }

    /// Sends an ELS to the selected FCF; the reply comes as [`Event::ElsReply`], or never.
    ///
    /// The MAC descriptor of FLOGI and FDISC has the ENode's own address where that is proposed, and zero where the
    /// fabric provides one; that of LOGO has `mac`, the VN_Port's (FC-BB-5, 7.9.8).
    ///
    /// # Panics
    /// If the payload isn't whole words, at least one.
    pub fn send_els(
        &mut self,
        kind: ElsKind,
        header: FcHeader,
        payload: &[u8],
        mac: MacAddr,
    ) -> Result<(), NotLinked> {
        let State::Linked(link) = &self.state else { return Err(NotLinked) };
        assert!(!payload.is_empty(), "an ELS has a command word");
        let (destination, vlan) = (link.fcf.mac, link.lan.vlan);
        let flags = self.config.addressing.flags().common(link.fcf.flags);
        let mac = match kind {
            ElsKind::Flogi | ElsKind::Fdisc if flags.has(Flags::SPMA) => self.config.mac,
            ElsKind::Flogi | ElsKind::Fdisc => MacAddr::ZERO,
            ElsKind::Logo | ElsKind::Elp => mac,
        };
        let els = Descriptor::Els(Els { kind, header, payload: payload.to_vec() });
        let descriptors = vec![els, Descriptor::Mac(mac)];
        let request = FipFrame::new(Operation::LINK_SERVICE_REQUEST, flags, descriptors);
        self.send(destination, self.config.mac, vlan, &request);
        Ok(())
    }

    /// Keeps a VN_Port's virtual link alive from now on: its FLOGI or FDISC was accepted. It replaces one with
    /// the same WWPN, and ends with the FCF.
    pub fn add_vn_port(&mut self, now: Instant, port: VxPort) -> Result<(), VnPortError> {
        let State::Linked(link) = &mut self.state else { return Err(VnPortError::NotLinked) };
        if link.add(now, port, &mut self.jitter) { Ok(()) } else { Err(VnPortError::TooMany) }
    }

    /// The VN_Port logged out.
    pub fn remove_vn_port(&mut self, port_name: Wwn) {
        if let State::Linked(link) = &mut self.state {
            link.remove(port_name);
        }
    }

    /// The selected FCF refused the login or didn't answer it: another one is chosen if there is one, and this
    /// one again after 10 s at the earliest.
    pub fn login_failed(&mut self, now: Instant) {
        if let State::Linked(link) = &self.state {
            self.fcfs.bar(link.fcf.mac, now + LOGIN_BAR);
            self.lose(now, LostReason::LoginFailed);
        }
    }

    /// Does what is due; to be called at [`Self::poll_timeout`], and harmless at other times.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.is_backlogged() {
            return;
        }
        self.counters.advertisements_missed += self.fcfs.expire(now);
        match &mut self.state {
            State::LinkDown => {}
            State::VlanDiscovery(discovery) => match discovery.handle_timeout(now) {
                VlanStep::Wait => {}
                VlanStep::Request => self.request_vlan(),
                VlanStep::Answered(vlans) => self.search_on(now, &vlans),
                VlanStep::Unanswered => {
                    self.events.push_back(Event::VlanDiscoveryUnanswered);
                    self.search_on(now, &[0]);
                }
            },
            State::FcfDiscovery(_) => {
                self.solicit(now);
                self.choose(now);
            }
            State::Linked(link) if !self.fcfs.contains(link.fcf.mac) => {
                self.lose(now, LostReason::AdvertisementsMissed);
            }
            State::Linked(link) => {
                let (destination, vlan) = (link.fcf.mac, link.lan.vlan);
                for whose in link.due_keep_alives(now, &mut self.jitter) {
                    self.keep_alive(destination, vlan, whose);
                }
            }
        }
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let own = match &self.state {
            State::LinkDown => None,
            State::VlanDiscovery(discovery) => Some(discovery.deadline),
            State::FcfDiscovery(discovery) => {
                let choose_at = self.fcfs.best(&self.config).map(|_| discovery.choose_at);
                choose_at.into_iter().chain([discovery.solicit_at]).min()
            }
            State::Linked(link) => link.next_deadline(),
        };
        own.into_iter().chain(self.fcfs.next_deadline()).min()
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
        match self.state {
            State::LinkDown => Phase::LinkDown,
            State::VlanDiscovery(_) => Phase::VlanDiscovery,
            State::FcfDiscovery(_) => Phase::FcfDiscovery,
            State::Linked(_) => Phase::Linked,
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

    /// The FCFs of the VLAN, and why each can't be used, at most [`MAX_FCFS`].
    pub fn fcfs(&self) -> Vec<FcfStatus> {
        self.fcfs.status(&self.config, self.selected().map(|fcf| fcf.mac))
    }

    /// The selected FCF.
    pub const fn selected(&self) -> Option<&Fcf> {
        match &self.state {
            State::Linked(link) => Some(&link.fcf),
            State::LinkDown | State::VlanDiscovery(_) | State::FcfDiscovery(_) => None,
        }
    }

    /// Where FCoE frames go: to the FCF-MAC, or where the reply to FLOGI said.
    pub const fn fcoe_destination(&self) -> Option<MacAddr> {
        match &self.state {
            State::Linked(link) => Some(link.fcoe_mac),
            State::LinkDown | State::VlanDiscovery(_) | State::FcfDiscovery(_) => None,
        }
    }

    /// The tag of FIP and FCoE frames; `None` also as long as no VLAN is chosen.
    pub const fn vlan(&self) -> Option<VlanTag> {
        match &self.state {
            State::FcfDiscovery(discovery) => discovery.lan.vlan,
            State::Linked(link) => link.lan.vlan,
            State::LinkDown | State::VlanDiscovery(_) => None,
        }
    }

    fn is_backlogged(&self) -> bool {
        self.events.len() >= MAX_EVENTS
    }

    /// Begins as the configuration says.
    fn start(&mut self, now: Instant) {
        match self.config.vlan {
            VlanChoice::Discover => {
                self.state = State::VlanDiscovery(VlanDiscovery::of_fcfs(now));
                self.handle_timeout(now);
            }
            VlanChoice::Untagged => self.search_on(now, &[0]),
            VlanChoice::Fixed(id) => self.search_on(now, &[id]),
        }
    }

    /// Looks for FCFs on the first of `vlans`, and keeps the others in mind. 0 stands for untagged frames.
    fn search_on(&mut self, now: Instant, vlans: &[u16]) {
        let (&id, untried) = vlans.split_first().expect("there is a VLAN to search on");
        let vlan = (id != 0).then(|| VlanTag::new(id, self.config.vlan_priority));
        self.fcfs.clear();
        self.events.push_back(Event::VlanChosen { vlan });
        self.state = State::FcfDiscovery(FcfDiscovery::new(Lan { vlan, untried: untried.to_vec() }, now));
        self.solicit(now);
    }

    /// Sends a multicast solicitation if one is due, or goes on to another VLAN if nobody is on this one.
    fn solicit(&mut self, now: Instant) {
        let State::FcfDiscovery(discovery) = &mut self.state else { return };
        if !discovery.is_due(now) {
            return;
        }
        let may_move = self.config.vlan == VlanChoice::Discover && self.fcfs.is_empty();
        if may_move && discovery.is_exhausted() {
            let untried = core::mem::take(&mut discovery.lan.untried);
            return if untried.is_empty() { self.start(now) } else { self.search_on(now, &untried) };
        }
        discovery.solicited(now);
        let vlan = discovery.lan.vlan;
        self.fcfs.all_solicited(now);
        self.send_solicitation(MacAddr::ALL_FCF, vlan);
    }

    /// Selects the best FCF, if there is one and the time has come.
    fn choose(&mut self, now: Instant) {
        let State::FcfDiscovery(discovery) = &self.state else { return };
        let Some((fcf, is_preferred)) = self.fcfs.best(&self.config) else { return };
        if is_preferred || now >= discovery.choose_at {
            self.state = State::Linked(Link::new(now, discovery.lan.clone(), fcf));
            self.events.push_back(Event::FcfSelected(fcf));
        }
    }

    /// Gives the selected FCF up and looks for another one: among those known at once, else by solicitation.
    fn lose(&mut self, now: Instant, reason: LostReason) {
        let State::Linked(link) = &self.state else { return };
        self.events.push_back(Event::FcfLost { fcf: link.fcf.mac, reason });
        let solicit_at = now + self.jitter.up_to(MAX_RESTART_DELAY);
        let mut discovery = FcfDiscovery::new(link.lan.clone(), solicit_at);
        if self.fcfs.best(&self.config).is_some() {
            discovery.choose_at = now;
        }
        self.state = State::FcfDiscovery(discovery);
        self.choose(now);
    }

    fn request_vlan(&mut self) {
        let mac = Descriptor::Mac(self.config.mac);
        let request = FipFrame::new(Operation::VLAN_REQUEST, Flags::NONE, vec![mac]);
        self.send(MacAddr::ALL_FCF, self.config.mac, None, &request);
    }

    fn send_solicitation(&mut self, destination: MacAddr, vlan: Option<VlanTag>) {
        let solicitation = FipFrame::new(
            Operation::SOLICITATION,
            self.config.addressing.flags(),
            vec![
                Descriptor::Mac(self.config.mac),
                Descriptor::Name(self.config.node_name),
                Descriptor::MaxFcoeSize(self.config.max_fcoe_size),
            ],
        );
        self.send(destination, self.config.mac, vlan, &solicitation);
    }

    fn keep_alive(&mut self, destination: MacAddr, vlan: Option<VlanTag>, whose: KeepAlive) {
        let mut descriptors = vec![Descriptor::Mac(self.config.mac)];
        let source = match whose {
            KeepAlive::Enode => self.config.mac,
            KeepAlive::VnPort(port) => {
                descriptors.push(Descriptor::VxPort(port));
                port.mac
            }
        };
        let frame = FipFrame::new(Operation::KEEP_ALIVE, self.config.addressing.flags(), descriptors);
        self.send(destination, source, vlan, &frame);
    }

    fn send(&mut self, destination: MacAddr, source: MacAddr, vlan: Option<VlanTag>, frame: &FipFrame) {
        if self.transmit.len() == MAX_TRANSMIT {
            self.counters.not_sent += 1;
            return;
        }
        self.transmit.push_back(frame.to_ethernet(destination, source, vlan));
        self.counters.sent += 1;
    }
}
