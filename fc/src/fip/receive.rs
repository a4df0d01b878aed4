//! What an ENode does with the FIP frames that reach it, and why it drops others.

use super::config::{Addressing, Counters, ElsReply, Event, LostReason};
use super::fcf::{Fcf, Heard};
use super::link::Link;
use super::{Enode, State};
use crate::time::Instant;
use crate::wire::els::ElsCommand;
use crate::wire::ethernet::{EthernetHeader, VlanTag};
use crate::wire::fip::{ElsKind, FipFrame, Flags, Operation};
use crate::wire::{MacAddr, WireError};

/// Why a frame was dropped: a counter each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Dropped {
    Malformed,
    MissingDescriptor,
    NotForUs,
    BadSource,
    WrongVlan,
    Unexpected,
    Foreign,
    BadGrantedMac,
    TooManyFcfs,
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

impl Counters {
    const fn of(&mut self, reason: Dropped) -> &mut u64 {
        match reason {
            Dropped::Malformed => &mut self.malformed,
            Dropped::MissingDescriptor => &mut self.missing_descriptor,
            Dropped::NotForUs => &mut self.not_for_us,
            Dropped::BadSource => &mut self.bad_source,
            Dropped::WrongVlan => &mut self.wrong_vlan,
            Dropped::Unexpected => &mut self.unexpected,
            Dropped::Foreign => &mut self.foreign,
            Dropped::BadGrantedMac => &mut self.bad_granted_mac,
            Dropped::TooManyFcfs => &mut self.too_many_fcfs,
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
        if ![self.config.mac, MacAddr::ALL_ENODE].contains(&ethernet.destination) {
            return Err(Dropped::NotForUs);
        }
        if !ethernet.source.is_unicast() || ethernet.source == self.config.mac {
            return Err(Dropped::BadSource);
        }
        let frame = FipFrame::parse(payload)?;
        match frame.operation {
            Operation::VLAN_NOTIFICATION => self.vlan_notification(now, ethernet, &frame),
            Operation::ADVERTISEMENT => self.advertisement(now, ethernet, &frame),
            Operation::LINK_SERVICE_REPLY => self.link_service_reply(ethernet, &frame),
            Operation::CLEAR_VIRTUAL_LINKS => self.clear_virtual_links(now, ethernet, &frame),
            _ => Err(Dropped::Unexpected),
        }
    }

    fn vlan_notification(
        &mut self,
        now: Instant,
        ethernet: &EthernetHeader,
        frame: &FipFrame,
    ) -> Result<(), Dropped> {
        let State::VlanDiscovery(discovery) = &mut self.state else { return Err(Dropped::Unexpected) };
        must_be_on(None, ethernet)?;
        if ethernet.source != frame.mac()? {
            return Err(Dropped::BadSource);
        }
        discovery.notified(now, frame.vlans());
        Ok(())
    }

    fn advertisement(
        &mut self,
        now: Instant,
        ethernet: &EthernetHeader,
        frame: &FipFrame,
    ) -> Result<(), Dropped> {
        let (vlan, selected) = match &self.state {
            State::LinkDown | State::VlanDiscovery(_) => return Err(Dropped::Unexpected),
            State::FcfDiscovery(discovery) => (discovery.lan.vlan, None),
            State::Linked(link) => (link.lan.vlan, Some(link.fcf.mac)),
        };
        must_be_on(vlan, ethernet)?;
        let fcf = Fcf::from_advertisement(frame)?;
        if ethernet.source != fcf.mac {
            return Err(Dropped::BadSource);
        }
        // By multicast the S bit proves nothing: the frame may be as long as it likes for others.
        let is_solicited = frame.flags.has(Flags::SOLICITED) && ethernet.destination == self.config.mac;
        match self.fcfs.heard(now, fcf, is_solicited.then(|| frame.len())) {
            Heard::Full => return Err(Dropped::TooManyFcfs),
            Heard::Changed if selected == Some(fcf.mac) => self.lose(now, LostReason::Changed),
            Heard::Changed | Heard::Noted => {
                if let State::Linked(link) = &mut self.state
                    && link.fcf.mac == fcf.mac
                {
                    link.update(now, fcf);
                }
            }
        }
        if self.fcfs.should_solicit(now, fcf.mac, &self.config) {
            self.send_solicitation(fcf.mac, vlan);
        }
        self.choose(now);
        Ok(())
    }

    fn link_service_reply(&mut self, ethernet: &EthernetHeader, frame: &FipFrame) -> Result<(), Dropped> {
        let addressing = self.config.addressing;
        let link = self.link_to_sender(ethernet)?;
        let els = frame.els()?;
        let mut macs = frame.macs().map(|mac| mac.is_unicast().then_some(mac));
        let (granted_mac, fcoe_mac) = (macs.next().flatten(), macs.next().flatten());
        let is_login =
            matches!(els.kind, ElsKind::Flogi | ElsKind::Fdisc) && els.payload[0] == ElsCommand::LS_ACC.0;
        if is_login {
            let granted = granted_mac.ok_or(Dropped::BadGrantedMac)?;
            let provided = MacAddr::fabric_provided(link.fcf.fabric.fc_map.0, els.header.d_id);
            if granted != provided && addressing == Addressing::Fabric {
                return Err(Dropped::BadGrantedMac);
            }
            if els.kind == ElsKind::Flogi {
                link.fcoe_mac = fcoe_mac.unwrap_or(link.fcf.mac);
            }
        }
        let (kind, header, payload) = (els.kind, els.header, els.payload.clone());
        self.events.push_back(Event::ElsReply(ElsReply { kind, header, payload, granted_mac, fcoe_mac }));
        Ok(())
    }

    /// FC-BB-5, 7.9.9: the frame must name the selected FCF in all three places.
    fn clear_virtual_links(
        &mut self,
        now: Instant,
        ethernet: &EthernetHeader,
        frame: &FipFrame,
    ) -> Result<(), Dropped> {
        let link = self.link_to_sender(ethernet)?;
        if (frame.mac()?, frame.name()?) != (link.fcf.mac, link.fcf.switch_name) {
            return Err(Dropped::Foreign);
        }
        if frame.vx_port().is_err() {
            // What was heard before it isn't worth much: the FCF may be about to restart.
            self.fcfs.clear();
            self.lose(now, LostReason::ClearVirtualLinks);
            return Ok(());
        }
        let cleared = link.clear(|port| {
            frame.vx_ports().any(|listed| (listed.mac, listed.fc_id) == (port.mac, port.fc_id))
        });
        if cleared.is_empty() {
            return Err(Dropped::Foreign);
        }
        self.events.push_back(Event::VnPortsCleared(cleared));
        Ok(())
    }

    /// The link, if the frame is from its FCF, on its VLAN and for this ENode alone.
    fn link_to_sender(&mut self, ethernet: &EthernetHeader) -> Result<&mut Link, Dropped> {
        let State::Linked(link) = &mut self.state else { return Err(Dropped::Unexpected) };
        must_be_on(link.lan.vlan, ethernet)?;
        if (ethernet.source, ethernet.destination) != (link.fcf.mac, self.config.mac) {
            return Err(Dropped::Foreign);
        }
        Ok(link)
    }
}

fn must_be_on(vlan: Option<VlanTag>, ethernet: &EthernetHeader) -> Result<(), Dropped> {
    if ethernet.is_on(vlan) { Ok(()) } else { Err(Dropped::WrongVlan) }
}
