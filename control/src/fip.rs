//! FIP as control sees it: in a fabric, or between neighbours.

use fc::fip::{self, FcfStatus};
use fc::time::Instant;
use fc::vn_port::{Session, Topology};
use fc::vn2vn::{self, NeighbourStatus};
use fc::wire::ethernet::{EthernetHeader, VlanTag};
use fc::wire::fip::{ElsKind, VxPort};
use fc::wire::header::FcHeader;
use fc::wire::{FcId, MacAddr, Wwn};

/// What an operator decides about an ENode.
#[derive(Clone, Copy, Debug)]
pub enum EnodeConfig {
    /// It looks for an FCF.
    Fabric(fip::Config),
    /// It looks for neighbours.
    Vn2vn(vn2vn::Config),
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

    /// Sends an ELS to the FCF, or to the neighbour that its D_ID names. Where there is none it is lost, as on a bad
    /// wire.
    pub(crate) fn send_els(&mut self, kind: ElsKind, header: FcHeader, payload: &[u8], mac: MacAddr) {
        match self {
            Self::Fabric(enode) => drop(enode.send_els(kind, header, payload, mac)),
            Self::Vn2vn(enode) => drop(enode.send_els(kind, header, payload, mac)),
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

    pub(crate) fn remove_vn_port(&mut self, mac: MacAddr) {
        if let Self::Fabric(enode) = self {
            enode.remove_vn_port(mac);
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
