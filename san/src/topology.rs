//! What is around the targets: a fabric with its switch, or other VN_Ports on the same Ethernet and nothing else.

use crate::config::{Mode, SanConfig};
use crate::context::{Context, Incoming, LoginId, Path, Sender};
use crate::counters::Drop;
use crate::egress::Egress;
use crate::fabric::Fabric;
use crate::orders::Death;
use crate::vn2vn::Vn2vn;
use fc::time::Instant;
use fc::wire::ethernet::EthernetHeader;
use fc::wire::header::FcHeader;
use fc::wire::{FcId, MacAddr, Wwn};

/// Where a received FC frame goes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Route {
    /// To a target, by its place in the list of targets.
    Target { number: usize, from: Sender },
    /// To a service at a well-known address.
    WellKnown { from: Sender },
    /// On to another VN_Port.
    Forward(Path),
}

/// What the targets must know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Event {
    /// A login has ended, and every session over it.
    Ended(LoginId),
    /// It is for target number `number`, whose address is `own`, to log in to `to`.
    LogIn { number: usize, own: FcId, to: Sender },
}

/// Who gives addresses, says who is there, and brings frames to targets.
#[derive(Debug)]
pub(crate) enum Topology {
    Fabric(Box<Fabric>),
    Vn2vn(Box<Vn2vn>),
}

/// Calls the method of whichever topology it is.
macro_rules! either {
    ($self:expr, $topology:ident => $call:expr) => {
        match $self {
            Topology::Fabric($topology) => $call,
            Topology::Vn2vn($topology) => $call,
        }
    };
}

impl Topology {
    pub(crate) fn new(config: &SanConfig) -> Self {
        match config.mode {
            Mode::Fabric => Self::Fabric(Box::new(Fabric::new(config))),
            Mode::Vn2vn => Self::Vn2vn(Box::new(Vn2vn::new(config))),
        }
    }

    /// Ends the login of a VN_Port and clears its virtual link, where there are such.
    pub(crate) fn clear_link(&mut self, cx: &mut Context<'_>, port_name: Wwn) {
        match self {
            Self::Fabric(fabric) => fabric.clear_link(cx, port_name),
            Self::Vn2vn(_) => {}
        }
    }

    /// A FIP frame; those that are not to us are dropped.
    pub(crate) fn handle_fip(
        &mut self,
        cx: &mut Context<'_>,
        ethernet: &EthernetHeader,
        payload: &[u8],
    ) -> Result<(), Drop> {
        either!(self, topology => topology.handle_fip(cx, ethernet, payload))
    }

    /// Whether FCoE frames to this MAC address are for us.
    pub(crate) fn has_mac(&self, mac: MacAddr) -> bool {
        either!(self, topology => topology.has_mac(mac))
    }

    /// Where a frame that is for us goes. Only who is logged in may send, and only with its own addresses.
    pub(crate) fn route(&self, ethernet: &EthernetHeader, header: &FcHeader) -> Result<Route, Drop> {
        either!(self, topology => topology.route(ethernet, header))
    }

    /// A frame to a well-known address, from a VN_Port that is logged in.
    pub(crate) fn handle_service(&mut self, cx: &mut Context<'_>, frame: &Incoming<'_>) -> Result<(), Drop> {
        match self {
            Self::Fabric(fabric) => fabric.handle_service(cx, frame),
            Self::Vn2vn(_) => Err(Drop::NoDestination),
        }
    }

    pub(crate) fn poll_timeout(&self) -> Instant {
        either!(self, topology => topology.poll_timeout())
    }

    pub(crate) fn handle_timeout(&mut self, cx: &mut Context<'_>) {
        either!(self, topology => topology.handle_timeout(cx));
    }

    /// What the targets must know next; asked for until there is nothing.
    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        match self {
            Self::Fabric(fabric) => fabric.poll_ended().map(Event::Ended),
            Self::Vn2vn(vn2vn) => vn2vn.poll_event(),
        }
    }

    /// Queues what waited for room.
    pub(crate) fn transmit(&mut self, out: &mut Egress) {
        match self {
            Self::Fabric(fabric) => fabric.transmit_state_changes(out),
            Self::Vn2vn(_) => {}
        }
    }

    /// Whether something waits for room.
    pub(crate) fn has_output(&self) -> bool {
        match self {
            Self::Fabric(fabric) => fabric.has_state_changes(),
            Self::Vn2vn(_) => false,
        }
    }

    /// A target has died in this way.
    pub(crate) fn kill(&mut self, number: usize, how: Death) {
        match self {
            Self::Fabric(fabric) => fabric.set_plugged(number, how != Death::Unplugged),
            Self::Vn2vn(vn2vn) => vn2vn.kill(number, how),
        }
    }

    /// A target that died is there again.
    pub(crate) fn revive(&mut self, now: Instant, number: usize) {
        match self {
            Self::Fabric(fabric) => fabric.set_plugged(number, true),
            Self::Vn2vn(vn2vn) => vn2vn.revive(now, number),
        }
    }

    /// Forgets every login and begins again.
    pub(crate) fn restart(&mut self, cx: &mut Context<'_>) {
        either!(self, topology => topology.restart(cx));
    }

    /// VN_Ports that are logged in; in VN2VN, each counts once for every target.
    pub(crate) fn login_count(&self) -> usize {
        either!(self, topology => topology.login_count())
    }

    /// The MAC addresses that are ours now.
    pub(crate) fn macs(&self) -> Vec<MacAddr> {
        either!(self, topology => topology.macs())
    }
}
