//! Identities: VN_Ports besides the interface's own.

use fc::fip::{Addressing, MAX_VN_PORTS};
use fc::wire::{MacAddr, Wwn};
use std::sync::Arc;
use thiserror::Error;

/// Who a VN_Port besides the interface's own is, such as a virtual machine's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// What the operator calls it.
    pub name: Arc<str>,
    /// Its WWPN.
    pub port_name: Wwn,
    /// Its node's WWNN; none makes it the interface's.
    pub node_name: Option<Wwn>,
    /// How it logs in.
    pub login: Login,
}

/// How an identity logs in to the fabric.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Login {
    /// By FDISC, behind the FLOGI of the interface's own VN_Port (NPIV).
    Fdisc,
    /// By an FLOGI of its own.
    Flogi {
        /// The ENode MAC by which it does so.
        mac: MacAddr,
        /// Who provides the VN_Port's MAC address.
        addressing: Addressing,
    },
}

/// A change of an interface's identities.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Order {
    /// One more.
    Add(Identity),
    /// The one with this name goes.
    Remove(Arc<str>),
}

/// Why the identities of an interface can't be changed so.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum IdentityError {
    /// VN2VN has no use for them.
    #[error("in VN2VN mode a port has no further identities: they log in to a fabric")]
    Vn2vn,
    /// There is no name to call it by.
    #[error("an identity needs a name")]
    NoName,
    /// Two with one name.
    #[error("there is an identity {0:?} already")]
    NameTaken(Arc<str>),
    /// Two with one WWPN.
    #[error("WWPN {port_name} is {}'s already; each needs its own", of(.holder))]
    PortNameTaken {
        /// The WWPN.
        port_name: Wwn,
        /// Whose it is.
        holder: Option<Arc<str>>,
    },
    /// Two with one ENode MAC.
    #[error("MAC address {mac} is {}'s already; each FLOGI needs one of its own", of(.holder))]
    MacTaken {
        /// The MAC address.
        mac: MacAddr,
        /// Whose it is.
        holder: Option<Arc<str>>,
    },
    /// A MAC address that no ENode can have.
    #[error("{0} is no unicast MAC address")]
    NotUnicast(MacAddr),
    /// More than are kept alive.
    #[error("{MAX_VN_PORTS} VN_Ports log in by this interface's FLOGI already, and there can be no more")]
    TooMany,
    /// There is none of this name.
    #[error("there is no identity {name:?}{}", others(.there_are))]
    Unknown {
        /// The name.
        name: Arc<str>,
        /// Those that there are.
        there_are: Vec<Arc<str>>,
    },
}

fn of(holder: &Option<Arc<str>>) -> String {
    match holder {
        Some(name) => format!("identity {name:?}"),
        None => "the interface".to_owned(),
    }
}

fn others(names: &[Arc<str>]) -> String {
    if names.is_empty() { "; there are none".to_owned() } else { format!("; there are {}", names.join(", ")) }
}
