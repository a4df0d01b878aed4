//! The disks behind the targets: what commands do (SAM-5, SPC-4, SBC-3), without knowing how they came.

mod access;
mod attention;
mod block;
mod command;
pub(crate) mod disk;
mod inquiry;
mod mode;
mod report;
pub(crate) mod reservation;
mod unit;

pub use access::PortAccess;
pub(crate) use attention::Attentions;
pub(crate) use block::end_write;
pub(crate) use command::{Outcome, ParameterOut, Work, execute, finish};
pub(crate) use report::absent;
pub(crate) use reservation::{Effects, Nexus};
pub(crate) use unit::{PortIdentity, Unit, UnitPort};

use fc::wire::scsi::{AdditionalSense, Sense, SenseKey, Status};

/// How a command ends that isn't done: a status, with sense data where it is CHECK CONDITION.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Refusal {
    pub(crate) status: Status,
    pub(crate) sense: Option<Sense>,
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        Self { status, sense: None }
    }
}

impl From<Sense> for Refusal {
    fn from(sense: Sense) -> Self {
        Self { status: Status::CHECK_CONDITION, sense: Some(sense) }
    }
}

/// An illegal request.
pub(crate) fn illegal(what: AdditionalSense) -> Refusal {
    Sense::new(SenseKey::ILLEGAL_REQUEST, what).into()
}

/// A CDB's byte `at` has a value that is not allowed.
fn invalid_field(at: u16) -> Refusal {
    Sense::new(SenseKey::ILLEGAL_REQUEST, AdditionalSense::INVALID_FIELD_IN_CDB)
        .with_field_pointer(true, at)
        .into()
}

/// A parameter list's byte `at` has a value that is not allowed.
fn invalid_parameter(at: u16) -> Refusal {
    Sense::new(SenseKey::ILLEGAL_REQUEST, AdditionalSense::INVALID_FIELD_IN_PARAMETER_LIST)
        .with_field_pointer(false, at)
        .into()
}

/// The disk behind the unit failed.
fn medium_error(what: AdditionalSense) -> Refusal {
    Sense::new(SenseKey::MEDIUM_ERROR, what).into()
}
