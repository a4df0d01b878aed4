//! Who a VN_Port is, and what a fabric login agreed.

use crate::exchange::Failure;
use crate::time::Duration;
use crate::wire::els::{Login, common_features};
use crate::wire::header::{MAX_PAYLOAD_LEN, MIN_MAX_PAYLOAD_LEN};
use crate::wire::{FcId, MacAddr, Wwn};
use alloc::vec::Vec;

/// R_A_TOV until the fabric tells its own, and where it tells none (FC-FS-3, 20).
pub const DEFAULT_R_A_TOV: Duration = Duration::from_secs(10);
/// E_D_TOV until the fabric tells its own, and where it tells none.
pub const DEFAULT_E_D_TOV: Duration = Duration::from_secs(2);
/// The longest time-out value that is believed: a larger one would make recovery from a lost frame endless.
const MAX_TOV: Duration = Duration::from_secs(120);

/// Who a VN_Port is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// Its WWPN.
    pub port_name: Wwn,
    /// Its node's WWNN.
    pub node_name: Wwn,
    /// What administrators see for the port at the switch; cut at [`MAX_SYMBOLIC_LEN`].
    pub symbolic_port_name: Vec<u8>,
    /// The same for the node.
    pub symbolic_node_name: Vec<u8>,
    /// The most payload bytes in a frame that the link takes, 256..=2112.
    pub max_payload_len: u16,
    /// How it logs in.
    pub login: LoginKind,
    /// The longest wait, of a second at least, before a login to a target is tried again that failed.
    pub reconnect_delay: Duration,
}

/// The most bytes of a symbolic name: with what is around it, it fits the smallest frame that a port may ask for.
pub const MAX_SYMBOLIC_LEN: usize = 224;

/// How a VN_Port logs in to the fabric.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LoginKind {
    /// FLOGI: the first VN_Port of an ENode MAC.
    Flogi,
    /// FDISC: a further one, where the fabric has NPIV.
    Fdisc,
}

/// What a VN_Port has while it is online.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Session {
    /// The VN_Port's N_Port_ID.
    pub fc_id: FcId,
    /// The VN_Port's MAC address.
    pub mac: MacAddr,
    /// The most payload bytes in a frame: what both the link and the fabric take.
    pub max_payload_len: u16,
    /// How long a frame may live in the fabric.
    pub r_a_tov: Duration,
    /// How long a sequence may take to be delivered.
    pub e_d_tov: Duration,
    /// What the F_Port told of itself; `None` in VN2VN, where there is none.
    pub f_port: Option<FPort>,
}

/// The F_Port that a VN_Port is logged in to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FPort {
    /// The fabric's name.
    pub fabric_name: Wwn,
    /// Its WWPN.
    pub port_name: Wwn,
    /// Whether FDISC gives further N_Port_IDs.
    pub has_npiv: bool,
}

impl Session {
    /// Checks the LS_ACC to an FLOGI or FDISC, sent to `fc_id`, by which `identity` logs in (FC-LS-3, 6.2.2.4).
    pub(super) fn new(
        identity: &Identity,
        fc_id: FcId,
        login: &Login,
        granted_mac: Option<MacAddr>,
    ) -> Result<Self, Failure> {
        let common = &login.common;
        if !common.has(common_features::F_PORT) {
            return Err(Failure::Unusable("the fabric login was accepted by a port that is no F_Port"));
        }
        if fc_id == FcId::UNASSIGNED || fc_id.is_well_known() {
            return Err(Failure::Unusable("the N_Port_ID granted is not one of an N_Port"));
        }
        if !is_payload_len(common.receive_len()) {
            return Err(Failure::Unusable("the F_Port's receive size is not 256..=2112"));
        }
        let mac = granted_mac.ok_or(Failure::Unusable("no MAC address was granted"))?;
        Ok(Self {
            fc_id,
            mac,
            max_payload_len: identity.max_payload_len.min(common.receive_len()),
            r_a_tov: believable(common.r_a_tov(), DEFAULT_R_A_TOV),
            e_d_tov: believable(common.e_d_tov(), DEFAULT_E_D_TOV),
            f_port: Some(FPort {
                fabric_name: login.node_name,
                port_name: login.port_name,
                has_npiv: common.has(common_features::NPIV),
            }),
        })
    }

    /// How long to wait for the reply to a link service: 2 R_A_TOV (FC-LS-3, 4.2.1).
    pub(crate) fn els_timeout(&self) -> Duration {
        self.r_a_tov * 2
    }

    /// How long to wait for the name server: 3 R_A_TOV, for it may have to ask other switches (FC-GS-7, 4.6.1).
    pub(crate) fn ct_timeout(&self) -> Duration {
        self.r_a_tov * 3
    }
}

/// Whether a port may offer this as its most payload bytes.
pub(crate) fn is_payload_len(len: u16) -> bool {
    (MIN_MAX_PAYLOAD_LEN..=MAX_PAYLOAD_LEN).contains(&len.into())
}

/// A time-out value that a port told, within reason.
pub(crate) fn believable(tov: Duration, default: Duration) -> Duration {
    if tov.is_zero() { default } else { tov.min(MAX_TOV) }
}
