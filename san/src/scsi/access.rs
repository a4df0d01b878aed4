//! Asymmetric access (SPC-4, 5.16): how well a target port leads to its units. Each port is a group of its own.

use super::Refusal;
use fc::wire::scsi::target_port_groups::AccessState;
use fc::wire::scsi::{AdditionalSense, Sense, SenseKey};
use serde::{Deserialize, Serialize};

/// How well a target port leads to its disks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PortAccess {
    /// As well as can be.
    #[default]
    Optimized,
    /// It works, and others are to be used first.
    NonOptimized,
    /// It answers what concerns itself, and doesn't lead to the medium.
    Standby,
    /// The same, and it answers even less.
    Unavailable,
}

impl PortAccess {
    /// The four states, for what a port supports: bits of T_SUP to AO_SUP.
    pub(super) const SUPPORTED: u8 = 0x0f;

    /// As REPORT TARGET PORT GROUPS has it.
    pub(super) const fn state(self) -> AccessState {
        match self {
            Self::Optimized => AccessState::OPTIMIZED,
            Self::NonOptimized => AccessState::NON_OPTIMIZED,
            Self::Standby => AccessState::STANDBY,
            Self::Unavailable => AccessState::UNAVAILABLE,
        }
    }

    /// Refuses a command that the state doesn't allow (SPC-4, 5.16.2.6 and 5.16.2.7).
    pub(super) fn check(self, opcode: u8) -> Result<(), Refusal> {
        /// REQUEST SENSE, INQUIRY, REPORT LUNS, MAINTENANCE IN.
        const ALWAYS: [u8; 4] = [0x03, 0x12, 0xa0, 0xa3];
        /// MODE SENSE, PERSISTENT RESERVE IN and OUT.
        const IN_STANDBY: [u8; 4] = [0x1a, 0x5a, 0x5e, 0x5f];
        let what = match self {
            Self::Optimized | Self::NonOptimized => return Ok(()),
            _ if ALWAYS.contains(&opcode) => return Ok(()),
            Self::Standby if IN_STANDBY.contains(&opcode) => return Ok(()),
            Self::Standby => AdditionalSense::PORT_IN_STANDBY,
            Self::Unavailable => AdditionalSense::PORT_UNAVAILABLE,
        };
        Err(Sense::new(SenseKey::NOT_READY, what).into())
    }
}
