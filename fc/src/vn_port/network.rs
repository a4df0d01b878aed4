//! What gives a VN_Port its N_Port_ID, and tells which ports it may log in to.

use super::neighbourhood::Neighbourhood;
use crate::exchange::{Answer, Failure, Order};
use crate::fabric_login::{FabricEvent, FabricLogin, Identity, LogoutReason, Phase, Session};
use crate::remote_port::{GoneReason, LocalPort, Topology};
use crate::time::Instant;
use crate::wire::MacAddr;

#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "those that there are thousands of are all of the large one")]
pub(super) enum Network {
    /// A fabric, by its login and name server.
    Fabric(FabricLogin),
    /// The Ethernet: FIP finds both.
    Vn2vn(Neighbourhood),
}

impl Network {
    pub(super) const fn topology(&self) -> Topology {
        match self {
            Self::Fabric(_) => Topology::Fabric,
            Self::Vn2vn(_) => Topology::Vn2vn,
        }
    }

    pub(super) const fn identity(&self) -> &Identity {
        match self {
            Self::Fabric(fabric) => fabric.identity(),
            Self::Vn2vn(neighbourhood) => neighbourhood.identity(),
        }
    }

    pub(super) const fn session(&self) -> Option<&Session> {
        match self {
            Self::Fabric(fabric) => fabric.session(),
            Self::Vn2vn(neighbourhood) => neighbourhood.session(),
        }
    }

    pub(super) const fn phase(&self) -> Phase {
        match self {
            Self::Fabric(fabric) => fabric.phase(),
            Self::Vn2vn(neighbourhood) => neighbourhood.phase(),
        }
    }

    /// Why a remote port is gone that isn't listed any more.
    pub(super) const fn unlisted(&self) -> GoneReason {
        match self {
            Self::Fabric(_) => GoneReason::Unlisted,
            Self::Vn2vn(_) => GoneReason::NoNeighbour,
        }
    }

    /// Our side of a login to a remote port.
    pub(super) fn local_port(&self) -> Option<LocalPort> {
        self.session().map(|session| LocalPort::new(self.topology(), self.identity(), session))
    }

    pub(super) fn link_lost(&mut self) {
        match self {
            Self::Fabric(fabric) => fabric.link_lost(),
            Self::Vn2vn(neighbourhood) => neighbourhood.end(LogoutReason::LinkLost),
        }
    }

    pub(super) fn link_cleared(&mut self, now: Instant) {
        match self {
            Self::Fabric(fabric) => fabric.cleared(now),
            Self::Vn2vn(_) => self.link_lost(),
        }
    }

    pub(super) fn shutdown(&mut self) {
        match self {
            Self::Fabric(fabric) => fabric.shutdown(),
            Self::Vn2vn(neighbourhood) => neighbourhood.shutdown(),
        }
    }

    pub(super) fn handle_outcome(
        &mut self,
        now: Instant,
        outcome: Result<Answer, Failure>,
        granted_mac: Option<MacAddr>,
    ) {
        match self {
            Self::Fabric(fabric) => fabric.handle_outcome(now, outcome, granted_mac),
            Self::Vn2vn(_) => unreachable!("it orders nothing"),
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Fabric(fabric) => fabric.poll_timeout(),
            Self::Vn2vn(_) => None,
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        match self {
            Self::Fabric(fabric) => fabric.handle_timeout(now),
            Self::Vn2vn(_) => {}
        }
    }

    pub(super) fn poll_order(&mut self) -> Option<Order> {
        match self {
            Self::Fabric(fabric) => fabric.poll_order(),
            Self::Vn2vn(_) => None,
        }
    }

    pub(super) fn poll_event(&mut self) -> Option<FabricEvent> {
        match self {
            Self::Fabric(fabric) => fabric.poll_event(),
            Self::Vn2vn(neighbourhood) => neighbourhood.poll_event(),
        }
    }
}
