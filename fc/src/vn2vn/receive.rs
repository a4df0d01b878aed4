//! What a VN2VN ENode does with the FIP frames that reach it, and why it drops others.

use super::config::{Counters, Event, ReleaseReason};
use super::neighbours::{Full, Neighbour, Sign};
use super::{Enode, Phase, State};
use crate::frame::FcFrame;
use crate::time::Instant;
use crate::wire::ethernet::{EthernetHeader, VlanTag};
use crate::wire::fip::{Els, ElsKind, FipFrame, Flags, Operation, VxPort};
use crate::wire::header::FCtl;
use crate::wire::{FcId, MacAddr, WireError};

/// Why a frame was dropped: a counter each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Dropped {
    Malformed,
    MissingDescriptor,
    NotForUs,
    BadSource,
    WrongVlan,
    Unexpected,
    Stranger,
    TooManyNeighbours,
    Backlogged,
}

impl From<WireError> for Dropped {
    fn from(error: WireError) -> Self {
        match error {
            WireError::Missing { .. } => Self::MissingDescriptor,
            WireError::Truncated { .. }
            | WireError::TooLong { .. }
            | WireError::BadValue { .. }
            | WireError::Duplicate { .. }
            | WireError::Crc { .. } => Self::Malformed,
        }
    }
}

impl From<Full> for Dropped {
    fn from(Full: Full) -> Self {
        Self::TooManyNeighbours
    }
}

impl Counters {
    const fn of(&mut self, reason: Dropped) -> &mut u64 {
        match reason {
            Dropped::Malformed => &mut self.malformed,
            Dropped::MissingDescriptor => &mut self.missing_descriptor,
            Dropped::NotForUs => &mut self.not_for_us,
            Dropped::BadSource => &mut self.bad_source,
            Dropped::WrongVlan => &mut self.wrong_vlan,
            Dropped::Unexpected => &mut self.unexpected,
            Dropped::Stranger => &mut self.stranger,
            Dropped::TooManyNeighbours => &mut self.too_many_neighbours,
            Dropped::Backlogged => &mut self.backlogged,
        }
    }
}

impl Enode {
    /// Takes a FIP frame in: its Ethernet header and what follows.
    pub fn handle_frame(&mut self, now: Instant, ethernet: &EthernetHeader, payload: &[u8]) {
        self.counters.received += 1;
        if let Err(reason) = self.receive(now, ethernet, payload) {
            *self.counters.of(reason) += 1;
        }
    }

    fn receive(&mut self, now: Instant, ethernet: &EthernetHeader, payload: &[u8]) -> Result<(), Dropped> {
        if self.is_backlogged() {
            return Err(Dropped::Backlogged);
        }
        if ![self.config.mac, MacAddr::ALL_VN2VN_ENODE].contains(&ethernet.destination) {
            return Err(Dropped::NotForUs);
        }
        if !ethernet.source.is_unicast() || ethernet.source == self.config.mac {
            return Err(Dropped::BadSource);
        }
        let frame = FipFrame::parse(payload)?;
        match frame.operation {
            Operation::VLAN_REQUEST => self.vlan_request(ethernet, &frame),
            Operation::VN2VN_VLAN_NOTIFICATION => self.vlan_notification(now, ethernet, &frame),
            Operation::PROBE_REQUEST
            | Operation::PROBE_REPLY
            | Operation::CLAIM_NOTIFICATION
            | Operation::CLAIM_RESPONSE
            | Operation::BEACON => self.announced(now, ethernet, &frame),
            Operation::LINK_SERVICE_REQUEST | Operation::LINK_SERVICE_REPLY => {
                self.link_service(now, ethernet, &frame)
            }
            _ => Err(Dropped::Unexpected),
        }
    }

    /// Another port looks for its VLAN: ours may be the one.
    fn vlan_request(&mut self, ethernet: &EthernetHeader, frame: &FipFrame) -> Result<(), Dropped> {
        if self.vn_port().is_none() {
            return Err(Dropped::Unexpected);
        }
        must_be_on(None, ethernet)?;
        if ethernet.source != frame.mac()? {
            return Err(Dropped::BadSource);
        }
        // A guess, told to others, would look like knowledge.
        if !self.is_vlan_guessed {
            self.notify_vlan(ethernet.source);
        }
        Ok(())
    }

    fn vlan_notification(
        &mut self,
        now: Instant,
        ethernet: &EthernetHeader,
        frame: &FipFrame,
    ) -> Result<(), Dropped> {
        must_be_on(None, ethernet)?;
        if ethernet.source != frame.mac()? {
            return Err(Dropped::BadSource);
        }
        let may_change = self.may_change_vlan();
        let id = self.vlan().map_or(0, VlanTag::id);
        match &mut self.state {
            State::VlanDiscovery(discovery) => discovery.notified(now, frame.vlans()),
            State::Claimed(_) if may_change => {
                if frame.vlans().any(|told| told == id) {
                    self.is_vlan_guessed = false;
                    return Ok(());
                }
                if let Some(other) = frame.vlans().find(|&other| other != VlanTag::RESERVED_ID) {
                    self.release(ReleaseReason::OtherVlan);
                    self.is_vlan_guessed = false;
                    self.search_on(now, other);
                }
            }
            State::LinkDown | State::Probing(_) | State::Claimed(_) => return Err(Dropped::Unexpected),
        }
        Ok(())
    }

    /// A port says who it is, in one of the five ways.
    fn announced(
        &mut self,
        now: Instant,
        ethernet: &EthernetHeader,
        frame: &FipFrame,
    ) -> Result<(), Dropped> {
        let (vlan, own) = match &self.state {
            State::LinkDown | State::VlanDiscovery(_) => return Err(Dropped::Unexpected),
            State::Probing(probing) => (probing.vlan, probing.port.fc_id),
            State::Claimed(claim) => (claim.vlan, claim.port.fc_id),
        };
        must_be_on(vlan, ethernet)?;
        let sender = Neighbour::from_frame(frame)?;
        let is_own = sender.mac == self.config.mac;
        if is_own || ![sender.mac, sender.port.mac].contains(&ethernet.source) {
            return Err(Dropped::BadSource);
        }
        if sender.port.fc_id == own {
            self.rivalled(now, &sender, frame);
            return Ok(());
        }
        match frame.operation {
            Operation::PROBE_REQUEST => {
                // A port that probes isn't a neighbour yet; one that was has restarted.
                if self.neighbours.is_known(&sender) {
                    self.note(now, &sender, Sign::Anew)?;
                }
            }
            _ if self.vn_port().is_none() => return Err(Dropped::Unexpected),
            // It believes to be alone with one other port. A probe shows it that there are more.
            Operation::CLAIM_NOTIFICATION | Operation::BEACON if frame.flags.has(Flags::RECORDED) => {
                self.send_probe();
            }
            Operation::CLAIM_NOTIFICATION => {
                frame.max_fcoe_size()?;
                self.note(now, &sender, Sign::Anew)?;
                self.send_claim_response(&sender);
            }
            Operation::CLAIM_RESPONSE => {
                frame.max_fcoe_size()?;
                self.note(now, &sender, Sign::Alive)?;
            }
            Operation::BEACON => {
                self.note(now, &sender, Sign::Kept)?;
                // Whoever is new has to claim its N_Port_ID, or to answer our claim, before it is a neighbour.
                if self.neighbours.get(sender.port.fc_id).is_some_and(|known| known.max_fcoe_size.is_none()) {
                    self.claim(now);
                }
            }
            _ => return Err(Dropped::Unexpected),
        }
        self.tell_ups();
        Ok(())
    }

    fn note(&mut self, now: Instant, sender: &Neighbour, sign: Sign) -> Result<(), Full> {
        let losses = self.neighbours.heard(now, sender, sign)?;
        self.tell_losses(losses);
        Ok(())
    }

    /// Another port wants our N_Port_ID, or has it.
    fn rivalled(&mut self, now: Instant, rival: &Neighbour, frame: &FipFrame) {
        let ours = (self.config.port_name, self.config.mac);
        let is_first = ours > (rival.port.port_name, rival.mac);
        match (&self.state, frame.operation) {
            (State::LinkDown | State::VlanDiscovery(_), _) => {}
            // Both look for one: the higher WWPN goes on, but not before a port that had it before.
            (State::Probing(probing), Operation::PROBE_REQUEST)
                if probing.probes > 0 && is_first && !frame.flags.has(Flags::RECORDED) =>
            {
                self.send_probe_reply(rival.mac);
            }
            (State::Claimed(_), Operation::PROBE_REQUEST) => self.send_probe_reply(rival.mac),
            (State::Claimed(_), Operation::PROBE_REPLY) if self.phase() == Phase::Claiming => {
                self.conflict(now)
            }
            (State::Claimed(_), _) if is_first => self.claim(now),
            (State::Probing(_) | State::Claimed(_), _) => self.conflict(now),
        }
    }

    fn link_service(
        &mut self,
        now: Instant,
        ethernet: &EthernetHeader,
        frame: &FipFrame,
    ) -> Result<(), Dropped> {
        let State::Claimed(claim) = &self.state else { return Err(Dropped::Unexpected) };
        must_be_on(claim.vlan, ethernet)?;
        let els = frame.els()?;
        if (ethernet.destination, els.header.d_id) != (self.config.mac, claim.port.fc_id) {
            return Err(Dropped::NotForUs);
        }
        let is_reply = els.header.f_ctl.has(FCtl::EXCHANGE_RESPONDER);
        if is_reply != (frame.operation == Operation::LINK_SERVICE_REPLY) {
            return Err(Dropped::Malformed);
        }
        let Some(from) = self.neighbour_at(ethernet.source, els.header.s_id) else {
            if !is_reply {
                self.reject_stranger(ethernet.source, els);
                // Whoever answers it is a neighbour from then on.
                self.claim(now);
            }
            return Err(Dropped::Stranger);
        };
        let Els { kind, header, ref payload } = *els;
        let frame = FcFrame { header, payload: payload.clone() };
        if is_reply {
            self.events.push_back(Event::ElsReply(frame));
        } else {
            if kind == ElsKind::Flogi {
                self.neighbours.told(now, from.port.fc_id);
            }
            self.events.push_back(Event::ElsRequest { from, kind, frame });
        }
        Ok(())
    }

    /// The neighbour with this N_Port_ID, if the ENode is its own and it has nothing against it.
    fn neighbour_at(&self, mac: MacAddr, id: FcId) -> Option<Neighbour> {
        let is_usable = |neighbour: &&Neighbour| {
            let VxPort { port_name, .. } = neighbour.port;
            neighbour.mac == mac
                && port_name != self.config.port_name
                && neighbour.max_payload_len().is_some()
        };
        self.neighbours.get(id).filter(is_usable).copied()
    }
}

fn must_be_on(vlan: Option<VlanTag>, ethernet: &EthernetHeader) -> Result<(), Dropped> {
    if ethernet.is_on(vlan) { Ok(()) } else { Err(Dropped::WrongVlan) }
}
