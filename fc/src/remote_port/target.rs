//! What is known of a remote port, step by step.

use crate::exchange::Failure;
use crate::fabric_login::{Identity, Session, believable, is_payload_len};
use crate::time::Duration;
use crate::wire::els::{
    Adisc, Explanation, Login, Logo, LsRjt, Reason, ServicePage, SppResponse, TimeoutValues, fcp_parameters,
    spp_flags,
};
use crate::wire::fip::FcMap;
use crate::wire::{FcId, MacAddr, Wwn};

/// What is between a VN_Port and its remote ports.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Topology {
    /// A fabric: an FCF, name server and zoning.
    #[default]
    Fabric,
    /// An Ethernet without FCF: every port is a neighbour's (VN2VN, FC-BB-6).
    Vn2vn,
}

/// Our side of every login to a remote port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LocalPort {
    pub(crate) topology: Topology,
    pub(crate) id: FcId,
    pub(crate) port_name: Wwn,
    pub(crate) node_name: Wwn,
    pub(crate) max_payload_len: u16,
    pub(crate) r_a_tov: Duration,
    pub(crate) e_d_tov: Duration,
    pub(crate) reconnect_delay: Duration,
}

/// FCP's service parameters that we ask for and answer with: initiator only.
pub(super) const FCP_PARAMETERS: u32 = fcp_parameters::INITIATOR
    | fcp_parameters::CONFIRM
    | fcp_parameters::RETRY
    | fcp_parameters::READ_XFER_RDY_DISABLED;

impl LocalPort {
    pub(crate) fn new(topology: Topology, identity: &Identity, session: &Session) -> Self {
        Self {
            topology,
            id: session.fc_id,
            port_name: identity.port_name,
            node_name: identity.node_name,
            max_payload_len: session.max_payload_len,
            r_a_tov: session.r_a_tov,
            e_d_tov: session.e_d_tov,
            reconnect_delay: identity.reconnect_delay,
        }
    }

    /// How long to wait for the reply to a link service: 2 R_A_TOV (FC-LS-3, 4.2.1).
    pub(super) fn els_timeout(&self) -> Duration {
        self.r_a_tov * 2
    }

    pub(super) fn login(&self) -> Login {
        Login::n_port(self.port_name, self.node_name, self.max_payload_len, self.e_d_tov)
    }

    /// What an FLOGI to a VN2VN neighbour says, and the LS_ACC to one.
    pub(super) fn link_login(&self) -> Login {
        Login::fabric(self.port_name, self.node_name, self.max_payload_len)
    }

    /// Our own MAC address where there is no fabric to give one.
    pub(super) const fn vn2vn_mac(&self) -> MacAddr {
        MacAddr::fabric_provided(FcMap::VN2VN.0, self.id)
    }

    pub(super) const fn logo(&self) -> Logo {
        Logo::new(self.id, self.port_name)
    }

    pub(super) const fn adisc(&self) -> Adisc {
        Adisc::new(self.id, self.port_name, self.node_name)
    }

    pub(super) fn timeout_values(&self) -> TimeoutValues {
        TimeoutValues::new(self.r_a_tov, self.e_d_tov)
    }
}

/// What a PLOGI, or the LS_ACC to ours, said of the remote port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Peer {
    pub(super) port_name: Wwn,
    pub(super) node_name: Wwn,
    pub(super) max_payload_len: u16,
    pub(super) e_d_tov: Duration,
}

impl Peer {
    /// Checks the parameters of a login by the port of this name (FC-LS-3, 6.3.2). The name is what consumers
    /// know the port by, so it is the fabric's word for it that counts.
    pub(super) fn new(local: &LocalPort, port_name: Wwn, login: &Login) -> Result<Self, LsRjt> {
        let reject = |explanation| LsRjt::new(Reason::LOGICAL_ERROR, explanation);
        let payload_len = login.class_3_payload_len();
        if !is_payload_len(payload_len) {
            return Err(reject(Explanation::RECEIVE_SIZE));
        }
        if login.port_name != port_name || port_name == local.port_name || port_name == Wwn::default() {
            return Err(reject(Explanation::PORT_NAME));
        }
        Ok(Self {
            port_name,
            node_name: login.node_name,
            max_payload_len: local.max_payload_len.min(payload_len),
            e_d_tov: local.e_d_tov.max(believable(login.common.e_d_tov(), local.e_d_tov)),
        })
    }
}

/// A remote port that takes SCSI commands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Target {
    /// Its N_Port_ID.
    pub id: FcId,
    /// Its WWPN.
    pub port_name: Wwn,
    /// Its WWNN.
    pub node_name: Wwn,
    /// The most payload bytes in a frame to it: what we, the fabric and it take.
    pub max_payload_len: u16,
    /// How long a sequence may take to be delivered.
    pub e_d_tov: Duration,
    /// How long a frame may live in the fabric.
    pub r_a_tov: Duration,
    /// What both sides agreed on: bits of [`fcp_parameters`].
    pub parameters: u32,
}

impl Target {
    /// Whether lost sequences can be asked for again by SRR.
    pub const fn has_retry(&self) -> bool {
        self.parameters & fcp_parameters::RETRY != 0
    }

    /// Whether it may ask for FCP_CONF.
    pub const fn has_confirm(&self) -> bool {
        self.parameters & fcp_parameters::CONFIRM != 0
    }

    pub(super) fn new(local: &LocalPort, id: FcId, peer: &Peer, parameters: u32) -> Self {
        Self {
            id,
            port_name: peer.port_name,
            node_name: peer.node_name,
            max_payload_len: peer.max_payload_len,
            e_d_tov: peer.e_d_tov,
            r_a_tov: local.r_a_tov,
            parameters,
        }
    }

    /// The same with what the port's answer to RTV said.
    pub(super) fn with_timeouts(self, values: &TimeoutValues) -> Self {
        Self { e_d_tov: self.e_d_tov.max(believable(values.e_d_tov(), self.e_d_tov)), ..self }
    }
}

/// What a PRLI came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Image {
    /// The port is a target, with these parameters in common.
    Target(u32),
    /// It is logged in, but takes no commands.
    NoTarget,
}

/// Judges the page that answers our PRLI's (FCP-4, 6.3).
pub(super) fn judge_process_login(page: Option<&ServicePage>) -> Result<Image, Failure> {
    let Some(page) = page else { return Ok(Image::NoTarget) };
    match page.response() {
        SppResponse::EXECUTED | SppResponse::CONDITIONAL => {}
        SppResponse::INITIALIZING | SppResponse::NO_RESOURCES => {
            return Err(Failure::Unusable("the port can't log its process in yet"));
        }
        _ => return Ok(Image::NoTarget),
    }
    let is_pair = page.flags & spp_flags::ESTABLISH_IMAGE_PAIR != 0;
    if is_pair && page.has(fcp_parameters::TARGET) {
        // Roles differ between the sides; the rest holds where both have it.
        Ok(Image::Target(page.parameters.get() & FCP_PARAMETERS | fcp_parameters::TARGET))
    } else {
        Ok(Image::NoTarget)
    }
}
