//! FIP as control sees it, in a fabric or between neighbours: ENodes, and who logs in by them.

use crate::local_port::PortId;
use fc::exchange::OxIdRange;
use fc::fip::{self, FcfStatus};
use fc::frame::FcFrame;
use fc::messages::ox_id;
use fc::time::Instant;
use fc::vn_port::{Session, Topology};
use fc::vn2vn::{self, NeighbourStatus};
use fc::wire::ethernet::{EthernetHeader, VlanTag};
use fc::wire::fip::{ElsKind, VxPort};
use fc::wire::{FcId, MacAddr, Wwn};
use std::collections::{BTreeMap, BTreeSet};

/// The OX_IDs of control's own exchanges.
pub(crate) const CONTROL_OX_IDS: OxIdRange = OxIdRange::new(ox_id::CORE_MASK, ox_id::CONTROL);

/// What an operator decides about an ENode.
#[derive(Clone, Copy, Debug)]
pub enum EnodeConfig {
    /// It looks for an FCF.
    Fabric(fip::Config),
    /// It looks for neighbours.
    Vn2vn(vn2vn::Config),
}

impl EnodeConfig {
    /// The ENode MAC.
    pub(crate) const fn mac(&self) -> MacAddr {
        match self {
            Self::Fabric(config) => config.mac,
            Self::Vn2vn(config) => config.mac,
        }
    }
}

/// An ENode, and the VN_Ports that log in by it.
pub(crate) struct EnodeEntry {
    pub(crate) machine: Enode,
    /// The one that does so by FLOGI.
    pub(crate) first: PortId,
    /// Those that do so by FDISC, behind that.
    pub(crate) others: BTreeSet<PortId>,
    /// When its link is to come up.
    pub(crate) link_up_at: Option<Instant>,
    /// Whether frames come by its MAC address.
    pub(crate) has_mac: bool,
    asked: Asked,
}

impl EnodeEntry {
    /// An ENode whose link is down.
    ///
    /// # Panics
    /// If the configuration has an impossible MAC address, VLAN or payload length.
    pub(crate) fn new(config: EnodeConfig, first: PortId) -> Self {
        Self {
            machine: Enode::new(config),
            first,
            others: BTreeSet::new(),
            link_up_at: None,
            has_mac: false,
            asked: Asked::default(),
        }
    }

    pub(crate) fn link_down(&mut self) {
        self.link_up_at = None;
        self.machine.link_down();
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.link_up_at.take_if(|at| *at <= now).is_some() {
            self.machine.link_up(now);
        }
        self.machine.handle_timeout(now);
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.link_up_at.into_iter().chain(self.machine.poll_timeout()).min()
    }

    /// All of its VN_Ports.
    pub(crate) fn ports(&self) -> impl Iterator<Item = PortId> {
        std::iter::once(self.first).chain(self.others.iter().copied())
    }

    /// Sends a link service of one of its VN_Ports. Where there is no FCF or neighbour to take it, it is lost as on a bad
    /// wire.
    pub(crate) fn send_els(&mut self, port: PortId, kind: ElsKind, frame: &FcFrame, mac: MacAddr) {
        let mut header = frame.header;
        match &mut self.machine {
            Enode::Fabric(enode) => {
                header.ox_id.set(self.asked.note(port, header.ox_id.get()));
                let _ = enode.send_els(kind, header, &frame.payload, mac);
            }
            Enode::Vn2vn(enode) => {
                let _ = enode.send_els(kind, header, &frame.payload, mac);
            }
        }
    }

    /// Whose request a reply of the FCF is to, as that has sent it.
    pub(crate) fn take_reply(&mut self, reply: fip::ElsReply) -> Option<(PortId, FcFrame)> {
        let (port, ox_id) = self.asked.take(reply.header.ox_id.get())?;
        let mut header = reply.header;
        header.ox_id.set(ox_id);
        Some((port, FcFrame { header, payload: reply.payload }))
    }
}

/// The link services that VN_Ports asked for by FIP. Replies to FLOGI and FDISC don't say which VN_Port they are for, but
/// have the OX_ID of the request: so an ENode gives that, in turn, in the place of the VN_Port's own.
#[derive(Default)]
struct Asked {
    last: u16,
    /// At most as many as there are OX_IDs; those that are never answered go when theirs is given again.
    by_ox_id: BTreeMap<u16, (PortId, u16)>,
}

impl Asked {
    fn note(&mut self, port: PortId, ox_id: u16) -> u16 {
        self.last = CONTROL_OX_IDS.after(self.last);
        self.by_ox_id.insert(self.last, (port, ox_id));
        self.last
    }

    fn take(&mut self, ox_id: u16) -> Option<(PortId, u16)> {
        self.by_ox_id.remove(&ox_id)
    }
}

/// An ENode of either kind.
pub(crate) enum Enode {
    Fabric(fip::Enode),
    Vn2vn(vn2vn::Enode),
}

/// What an ENode tells.
pub(crate) enum Event {
    Fabric(fip::Event),
    Vn2vn(vn2vn::Event),
}

impl Enode {
    pub(crate) fn new(config: EnodeConfig) -> Self {
        match config {
            EnodeConfig::Fabric(config) => Self::Fabric(fip::Enode::new(config)),
            EnodeConfig::Vn2vn(config) => Self::Vn2vn(vn2vn::Enode::new(config)),
        }
    }

    pub(crate) const fn topology(&self) -> Topology {
        match self {
            Self::Fabric(_) => Topology::Fabric,
            Self::Vn2vn(_) => Topology::Vn2vn,
        }
    }

    pub(crate) fn link_up(&mut self, now: Instant) {
        match self {
            Self::Fabric(enode) => enode.link_up(now),
            Self::Vn2vn(enode) => enode.link_up(now),
        }
    }

    pub(crate) fn link_down(&mut self) {
        match self {
            Self::Fabric(enode) => enode.link_down(),
            Self::Vn2vn(enode) => enode.link_down(),
        }
    }

    pub(crate) fn handle_frame(&mut self, now: Instant, ethernet: &EthernetHeader, payload: &[u8]) {
        match self {
            Self::Fabric(enode) => enode.handle_frame(now, ethernet, payload),
            Self::Vn2vn(enode) => enode.handle_frame(now, ethernet, payload),
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        match self {
            Self::Fabric(enode) => enode.handle_timeout(now),
            Self::Vn2vn(enode) => enode.handle_timeout(now),
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Fabric(enode) => enode.poll_timeout(),
            Self::Vn2vn(enode) => enode.poll_timeout(),
        }
    }

    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        match self {
            Self::Fabric(enode) => enode.poll_event().map(Event::Fabric),
            Self::Vn2vn(enode) => enode.poll_event().map(Event::Vn2vn),
        }
    }

    pub(crate) fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        match self {
            Self::Fabric(enode) => enode.poll_transmit(),
            Self::Vn2vn(enode) => enode.poll_transmit(),
        }
    }

    /// Where FCoE frames for a port go, which is also where its own come from: the FCF, or the port itself.
    pub(crate) const fn fcoe_destination(&self, id: FcId) -> Option<MacAddr> {
        match self {
            Self::Fabric(enode) => enode.fcoe_destination(),
            Self::Vn2vn(_) => Some(vn2vn::Enode::fcoe_destination(id)),
        }
    }

    /// Keeps a VN_Port's virtual link to the FCF alive from now on.
    pub(crate) fn add_vn_port(&mut self, now: Instant, session: &Session, port_name: Wwn) {
        let Self::Fabric(enode) = self else { return };
        let port = VxPort { mac: session.mac, fc_id: session.fc_id, port_name };
        if let Err(error) = enode.add_vn_port(now, port) {
            tracing::warn!(%error, "the virtual link will not be kept alive");
        }
    }

    pub(crate) fn remove_vn_port(&mut self, port_name: Wwn) {
        if let Self::Fabric(enode) = self {
            enode.remove_vn_port(port_name);
        }
    }

    /// The login to the FCF failed: another one is chosen, if there is one. Else the VN_Port's own back-off remains.
    pub(crate) fn login_failed(&mut self, now: Instant) {
        let Self::Fabric(enode) = self else { return };
        if enode.fcfs().iter().any(|status| !status.selected && status.refusal.is_none()) {
            enode.login_failed(now);
        }
    }

    pub(crate) fn has_link(&self) -> bool {
        match self {
            Self::Fabric(enode) => enode.phase() != fip::Phase::LinkDown,
            Self::Vn2vn(enode) => enode.phase() != vn2vn::Phase::LinkDown,
        }
    }

    pub(crate) const fn vlan(&self) -> Option<VlanTag> {
        match self {
            Self::Fabric(enode) => enode.vlan(),
            Self::Vn2vn(enode) => enode.vlan(),
        }
    }

    pub(crate) fn fcfs(&self) -> Vec<FcfStatus> {
        match self {
            Self::Fabric(enode) => enode.fcfs(),
            Self::Vn2vn(_) => Vec::new(),
        }
    }

    pub(crate) fn neighbours(&self) -> Vec<NeighbourStatus> {
        match self {
            Self::Fabric(_) => Vec::new(),
            Self::Vn2vn(enode) => enode.neighbours(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_finds_who_asked_once() {
        let mut asked = Asked::default();
        // Two VN_Ports that have come as far with their own OX_IDs.
        let first = asked.note(PortId(1), 7);
        let second = asked.note(PortId(2), 7);
        assert_ne!(first, second);
        assert!(CONTROL_OX_IDS.contains(first) && CONTROL_OX_IDS.contains(second));
        assert_eq!(asked.take(second), Some((PortId(2), 7)));
        assert_eq!(asked.take(second), None, "the FCF says it twice");
        // Whoever is never answered is forgotten in the end.
        for _ in 0..2 * CONTROL_OX_IDS.count() {
            asked.note(PortId(3), 15);
        }
        assert_eq!(asked.by_ox_id.len(), CONTROL_OX_IDS.count());
        assert_eq!(asked.take(first), Some((PortId(3), 15)));
    }
}
