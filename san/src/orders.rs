//! Orders to a SAN that runs: what is to go wrong, and when all is to be well again.

use crate::config::ConfigError;
use crate::faults::{Fault, FaultsConfig};
use crate::scsi::PortAccess;
use fc::wire::Wwn;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// An order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Order {
    /// The section `[faults]` is this from now on.
    Faults(FaultsConfig),
    /// The next `count` occasions more have this fault.
    Inject {
        /// What goes wrong.
        fault: Fault,
        /// How often.
        count: u32,
    },
    /// Nothing goes wrong any more by `Faults` and `Inject`.
    Heal,
    /// The fabric forgets every login and clears every virtual link, as a switch does that starts again. In VN2VN
    /// every target does, and claims its address anew.
    Restart,
    /// The fabric ends the login of one VN_Port of an initiator, if it has one, and clears its virtual link. In VN2VN
    /// nothing happens.
    ClearLink {
        /// Its port name.
        #[serde(with = "wwn_as_text")]
        initiator: Wwn,
    },
    /// The SAN is as if switched off: nothing is received and nothing sent. It loses every login without a word.
    Stop,
    /// The SAN is there again.
    Start,
    /// A target port goes, and loses its logins and commands.
    Kill {
        /// Its port name.
        #[serde(with = "wwn_as_text")]
        target: Wwn,
        /// What is seen of it.
        how: Death,
    },
    /// A target port is there again.
    Revive {
        /// Its port name.
        #[serde(with = "wwn_as_text")]
        target: Wwn,
    },
    /// A target port begins no command for so long; it answers link services.
    Stall {
        /// Its port name.
        #[serde(with = "wwn_as_text")]
        target: Wwn,
        /// Milliseconds from now.
        ms: u32,
    },
    /// A target port leads to its disks as well as this from now on; its initiators are told by a unit attention.
    Access {
        /// Its port name.
        #[serde(with = "wwn_as_text")]
        target: Wwn,
        /// How well.
        access: PortAccess,
    },
}

/// How a target port goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Death {
    /// Its cable is pulled: a fabric knows, and tells those who asked to be told.
    #[default]
    Unplugged,
    /// It logs out from everyone first, and the fabric still lists it, or its beacons go on.
    LoggedOut,
    /// It answers no more, and the fabric still lists it, or its beacons go on.
    Silent,
}

/// Why an order is not carried out.
#[derive(Debug, Error)]
pub enum OrderError {
    /// There is no such target.
    #[error("no target has the port name {target}; there are: {there_are}")]
    NoSuchTarget {
        /// What was asked for.
        target: Wwn,
        /// Those that there are.
        there_are: String,
    },
    /// Rates that can't be.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Too many kinds of faults wait for their occasions.
    #[error("{0} faults wait for their occasions already; heal the SAN, or let them happen")]
    TooMany(usize),
    /// The SAN's thread doesn't answer.
    #[error("the SAN has ended")]
    Ended,
}

/// Names are written as people write them.
mod wwn_as_text {
    use super::Wwn;
    use serde::de::{Deserialize as _, Deserializer, Error as _};
    use serde::ser::Serializer;

    pub(super) fn serialize<S: Serializer>(name: &Wwn, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(name)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Wwn, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}
