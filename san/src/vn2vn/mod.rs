//! VN2VN: targets without a switch, each with an ENode MAC address and an N_Port_ID of its own (FC-BB-6).
//!
//! ```text
//!  neighbour                                                      target
//!      | <------------ probes, claim, beacon: the N_Port_ID ------------ |
//!      | --- claim, answered by a padded claim response; beacon -------> |
//!      | <-- FLOGI and its LS_ACC, by FIP, of whoever is first --------> |
//!      | <-- PLOGI, of whoever has the higher port name; then PRLI ----> |
//! ```
//!
//! Targets of one SAN are no neighbours of each other: a target has nothing to ask of a target.
//!
//! A port does not tell when its link was down. Where the other end did not see it either, and for long enough that
//! both forgot each other, the next beacon of either makes the other one claim, and they log in again. Who knows that
//! the link was down calls [`crate::San::restart`], which is quicker.

mod claim;
mod links;
mod login;
mod neighbours;
mod vn_port;

use crate::config::SanConfig;
use crate::context::{Context, Path};
use crate::counters::Drop;
use crate::orders::Death;
use crate::topology::{Event, Route};
use claim::{Claim, NEVER, Reaction};
use fc::time::Instant;
use fc::wire::MacAddr;
use fc::wire::ethernet::EthernetHeader;
use fc::wire::fip::{Descriptor, FipFrame, Flags, Operation};
use fc::wire::header::FcHeader;
use links::Links;
use neighbours::{Neighbour, Neighbours, Speaker, vn_mac};
use std::collections::VecDeque;
use vn_port::VnPort;

/// All targets' N_Port_IDs, the neighbours and the links between them.
#[derive(Debug)]
pub(crate) struct Vn2vn {
    /// One a target, in the order of the list of targets.
    ports: Vec<VnPort>,
    neighbours: Neighbours,
    links: Links,
    /// What the targets have not been told.
    events: VecDeque<Event>,
    max_payload_len: u16,
    next_ox_id: u16,
    /// The earliest of all that is due.
    due: Instant,
}

impl Vn2vn {
    pub(crate) fn new(config: &SanConfig) -> Self {
        let mut ports: Vec<VnPort> = Vec::new();
        for target in &config.targets {
            let claim = Claim::new(target.wwpn, |id| ports.iter().any(|port| port.id() == id));
            ports.push(VnPort::new(target, config.max_payload_len, claim));
        }
        Self {
            ports,
            neighbours: Neighbours::default(),
            links: Links::default(),
            events: VecDeque::new(),
            max_payload_len: config.max_payload_len,
            next_ox_id: 0,
            due: Instant::ZERO,
        }
    }

    /// Whether this MAC address is one that a VN2VN port can have. Whose it is follows from the frame's D_ID.
    pub(crate) fn has_mac(&self, mac: MacAddr) -> bool {
        mac == vn_mac(mac.fc_id())
    }

    /// Frames come over links only, between the MAC addresses that belong to their N_Port_IDs.
    pub(crate) fn route(&self, ethernet: &EthernetHeader, header: &FcHeader) -> Result<Route, Drop> {
        if ethernet.destination.fc_id() != header.d_id || ethernet.source != vn_mac(header.s_id) {
            return Err(Drop::NotLoggedIn);
        }
        match self.links.find(header.s_id, header.d_id) {
            Some(link) if link.is_up => Ok(Route::Target { number: link.number, from: link.peer }),
            _ if self.ports.iter().any(|port| port.id() == header.d_id) => Err(Drop::NotLoggedIn),
            _ => Err(Drop::NoDestination),
        }
    }

    /// A FIP frame to one of the targets or to all VN2VN ports.
    pub(crate) fn handle_fip(
        &mut self,
        cx: &mut Context<'_>,
        ethernet: &EthernetHeader,
        payload: &[u8],
    ) -> Result<(), Drop> {
        let number = self.ports.iter().position(|port| port.enode == ethernet.destination);
        let is_to_all = ethernet.destination == MacAddr::ALL_VN2VN_ENODE;
        if number.is_none() && !is_to_all {
            return Err(Drop::NotOurs);
        }
        let frame = FipFrame::parse(payload)?;
        if frame.operation == Operation::VLAN_REQUEST && is_to_all {
            return self.notify_vlan(cx, ethernet, &frame);
        }
        if !cx.out.is_our_vlan(ethernet) {
            return Err(Drop::Vlan);
        }
        let result = match (frame.operation, number) {
            (Operation::LINK_SERVICE_REQUEST, Some(number)) => {
                self.answer_link_service(cx, number, ethernet.source, &frame)
            }
            (Operation::LINK_SERVICE_REPLY, Some(number)) => {
                self.handle_link_service_reply(cx, number, ethernet.source, &frame)
            }
            (
                Operation::PROBE_REQUEST
                | Operation::PROBE_REPLY
                | Operation::CLAIM_NOTIFICATION
                | Operation::CLAIM_RESPONSE
                | Operation::BEACON,
                _,
            ) => self.hear(cx, number, ethernet, &frame),
            _ => Err(Drop::Unexpected),
        };
        self.update_due();
        result
    }

    pub(crate) fn poll_timeout(&self) -> Instant {
        self.due
    }

    /// Probes, claims and beacons, asks again, and forgets neighbours that were silent for too long.
    pub(crate) fn handle_timeout(&mut self, cx: &mut Context<'_>) {
        for id in self.neighbours.expire(cx.now) {
            let ended = self.end_links(|link| link.peer.fc_id == id);
            cx.counters.expired_links += ended as u64;
        }
        for number in 0..self.ports.len() {
            let port = &mut self.ports[number];
            if cx.now < port.claim.due() {
                continue;
            }
            let was_up = port.claim.is_up();
            let operation = port.claim.handle_timeout(cx.now);
            port.say_to_all(cx.out, operation);
            if port.claim.is_up() && !was_up {
                let ready: Vec<_> = self.neighbours.iter().map(|known| known.speaker.id).collect();
                ready.into_iter().for_each(|id| self.log_in(cx, number, id));
            }
        }
        self.retry_logins(cx);
        self.update_due();
    }

    /// What the targets must know next; asked for until there is nothing.
    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Forgets everybody and claims anew.
    pub(crate) fn restart(&mut self, cx: &mut Context<'_>) {
        self.end_links(|_| true);
        self.neighbours.clear();
        let plugged = self.ports.iter_mut().filter(|port| port.claim.is_plugged());
        plugged.for_each(|port| port.claim.restart(cx.now));
        self.update_due();
    }

    /// A target has died: its links are gone, and there are no new ones. Only with its cable out it can't be seen.
    pub(crate) fn kill(&mut self, number: usize, how: Death) {
        self.end_links(|link| link.number == number);
        let port = &mut self.ports[number];
        port.is_dead = true;
        match how {
            Death::Unplugged => port.claim.unplug(),
            Death::LoggedOut | Death::Silent => {}
        }
        self.update_due();
    }

    /// A target that died is there again.
    pub(crate) fn revive(&mut self, now: Instant, number: usize) {
        let port = &mut self.ports[number];
        port.is_dead = false;
        if !port.claim.is_plugged() {
            port.claim.restart(now);
        }
        self.update_due();
    }

    /// Links that are up.
    pub(crate) fn login_count(&self) -> usize {
        self.links.iter().filter(|link| link.is_up).count()
    }

    /// Each target's ENode MAC address, and that of its N_Port_ID once it has claimed it.
    pub(crate) fn macs(&self) -> Vec<MacAddr> {
        let claimed = self.ports.iter().filter(|port| port.claim.is_claimed());
        self.ports.iter().map(|port| port.enode).chain(claimed.map(|port| vn_mac(port.id()))).collect()
    }

    /// VLAN discovery (FC-BB-6): one answer for all targets, on the VLAN of the request.
    fn notify_vlan(
        &self,
        cx: &mut Context<'_>,
        ethernet: &EthernetHeader,
        frame: &FipFrame,
    ) -> Result<(), Drop> {
        let destination = frame.mac()?;
        if let Some(VnPort { enode, .. }) = self.ports.iter().find(|port| port.claim.is_plugged()) {
            let descriptors = vec![Descriptor::Mac(*enode), Descriptor::Vlan(cx.out.vlan())];
            let notification = FipFrame::new(Operation::VN2VN_VLAN_NOTIFICATION, Flags::NONE, descriptors);
            cx.out.fip_tagged(Path { destination, source: *enode }, &notification, ethernet.vlan);
        }
        Ok(())
    }

    /// A frame about N_Port_IDs, to target `number` or to all.
    fn hear(
        &mut self,
        cx: &mut Context<'_>,
        number: Option<usize>,
        ethernet: &EthernetHeader,
        frame: &FipFrame,
    ) -> Result<(), Drop> {
        let speaker = Speaker::of(ethernet, frame)?;
        if self.ports.iter().any(|port| port.port_name == speaker.port_name) {
            // Our own, come back: a loop, or somebody with our name.
            return Err(Drop::Unexpected);
        }
        let is_recorded = frame.flags.has(Flags::RECORDED);
        if let Some(mine) =
            self.ports.iter().position(|port| port.claim.is_plugged() && port.id() == speaker.id)
        {
            if number.is_none_or(|number| number == mine) {
                self.dispute(cx, mine, &speaker, frame.operation, is_recorded);
            }
            return Ok(());
        }
        match frame.operation {
            Operation::PROBE_REQUEST => self.neighbours.probes(&speaker),
            Operation::PROBE_REPLY => {}
            // It takes the link for one between two ports: a probe shows it that there are others.
            _ if is_recorded => self.answer_all(cx, Operation::PROBE_REQUEST),
            Operation::BEACON if self.neighbours.is_up(cx.now, &speaker) => self.log_in_all(cx, speaker.id),
            // A stranger: it is asked to claim to us what it has.
            Operation::BEACON => self.answer_all(cx, Operation::CLAIM_NOTIFICATION),
            operation => {
                self.take_claim(cx, number, operation, Neighbour::of_claim(cx.now, speaker, frame)?)?
            }
        }
        Ok(())
    }

    /// Somebody else speaks of target `number`'s N_Port_ID.
    fn dispute(
        &mut self,
        cx: &mut Context<'_>,
        number: usize,
        speaker: &Speaker,
        operation: Operation,
        is_recorded: bool,
    ) {
        let port = &mut self.ports[number];
        let wins = speaker.port_name > port.port_name;
        match port.claim.react(operation, wins, is_recorded) {
            Reaction::Reply => port.say(cx.out, speaker.enode, Operation::PROBE_REPLY, 0),
            Reaction::Claim if port.claim.may_answer(cx.now) => {
                port.say_to_all(cx.out, Operation::CLAIM_NOTIFICATION);
            }
            Reaction::Claim | Reaction::Ignore => {}
            Reaction::GiveUp => {
                self.log_out(cx, number);
                let others: Vec<_> = self.ports.iter().map(VnPort::id).collect();
                let is_taken = |id| others.contains(&id) || self.neighbours.get(id).is_some();
                self.ports[number].claim.give_up(cx.now, is_taken);
            }
        }
    }

    /// Remembers who claims, answers to each target that it was not an answer to, and logs in.
    fn take_claim(
        &mut self,
        cx: &mut Context<'_>,
        number: Option<usize>,
        operation: Operation,
        claimed: Neighbour,
    ) -> Result<(), Drop> {
        let Speaker { id, enode, .. } = claimed.speaker;
        for over in self.neighbours.record(claimed)? {
            self.end_links(|link| link.peer.fc_id == over);
        }
        if operation == Operation::CLAIM_RESPONSE {
            self.neighbours.is_up(cx.now, &claimed.speaker);
        } else {
            let is_meant = |at: &usize| number.is_none_or(|number| number == *at);
            for at in (0..self.ports.len()).filter(is_meant) {
                let port = &self.ports[at];
                if port.claim.is_claimed() {
                    let size = claimed.max_fcoe_size.min(port.max_fcoe_size);
                    port.say(cx.out, enode, Operation::CLAIM_RESPONSE, size.into());
                }
            }
        }
        self.log_in_all(cx, id);
        Ok(())
    }

    /// Every target that is up says this to all, if it has not done so just now.
    fn answer_all(&mut self, cx: &mut Context<'_>, operation: Operation) {
        for port in &mut self.ports {
            if port.claim.is_up() && port.claim.may_answer(cx.now) {
                port.say_to_all(cx.out, operation);
            }
        }
    }

    fn update_due(&mut self) {
        let ports = self.ports.iter().map(|port| port.claim.due());
        let asking = self.links.iter().filter_map(|link| link.asking.due());
        self.due = ports.chain(asking).chain(self.neighbours.due()).min().unwrap_or(NEVER);
    }
}
