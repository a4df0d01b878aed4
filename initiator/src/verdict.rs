//! What the end of a command means for its request.

use crate::error::DiskError;
use fc::messages::{Ended, TransportError};
use fc::time::Duration;
use fc::wire::scsi::target_port_groups::AccessState;
use fc::wire::scsi::{AdditionalSense, SenseKey, Status};

/// How long to wait, at least, before a target that was busy is asked again.
pub(crate) const BUSY_DELAY: Duration = Duration::from_millis(2);

pub(crate) enum Verdict {
    Done(Result<(), DiskError>),
    Again { why: Why, otherwise: DiskError },
}

/// Why a command goes out again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Why {
    /// The target wants it so, or fails at it.
    Target,
    /// The target has no room for it now.
    Busy { after: Duration },
    /// The link lost a frame.
    Loss,
    /// The target said nothing.
    Silence,
    /// The target port isn't logged in: it was not sent.
    NotLoggedIn,
    /// The login ended while it was out.
    Gone,
    /// Our port works no more.
    Stopped,
    /// The path does not lead to the medium now.
    Access(AccessState),
}

pub(crate) fn judge_failure(error: TransportError) -> Verdict {
    let why = match error {
        TransportError::Stopped => Why::Stopped,
        TransportError::NotLoggedIn => Why::NotLoggedIn,
        TransportError::NexusGone => Why::Gone,
        TransportError::Lost | TransportError::DataMissing { .. } => Why::Loss,
        TransportError::TimedOut => Why::Silence,
        TransportError::Response(_)
        | TransportError::Malformed
        | TransportError::Aborted
        | TransportError::Cleared => Why::Target,
    };
    Verdict::Again { why, otherwise: error.into() }
}

/// What a SCSI status means for a request that moves `wanted` bytes (SAM-5, 5.3).
pub(crate) fn judge(ended: &Ended, wanted: usize) -> Verdict {
    let failure = || DiskError::Scsi { status: ended.status, sense: ended.sense };
    let again = |why| Verdict::Again { why, otherwise: failure() };
    match (ended.status, ended.sense.map(|sense| sense.key)) {
        (Status::GOOD, _) if ended.transferred as usize == wanted => Verdict::Done(Ok(())),
        (Status::GOOD, _) => {
            Verdict::Done(Err(DiskError::Short { expected: wanted, transferred: ended.transferred as usize }))
        }
        (Status::BUSY | Status::TASK_SET_FULL, _) => {
            let asked = Duration::from_millis(u64::from(ended.retry_delay & 0x3fff) * 100);
            again(Why::Busy { after: asked.clamp(BUSY_DELAY, Duration::from_secs(10)) })
        }
        (Status::CHECK_CONDITION, Some(SenseKey::UNIT_ATTENTION | SenseKey::ABORTED_COMMAND)) => {
            again(Why::Target)
        }
        (Status::CHECK_CONDITION, Some(SenseKey::NOT_READY)) => match denied_access(ended) {
            Some(access) => again(Why::Access(access)),
            None => Verdict::Done(Err(failure())),
        },
        _ => Verdict::Done(Err(failure())),
    }
}

/// The state of the path that keeps a command from the medium (SPC-4, 5.16.2.5 to 5.16.2.8).
pub(crate) fn denied_access(ended: &Ended) -> Option<AccessState> {
    let sense = ended.sense.filter(|sense| sense.key == SenseKey::NOT_READY)?;
    match sense.additional {
        AdditionalSense::ACCESS_STATE_TRANSITION => Some(AccessState::TRANSITIONING),
        AdditionalSense::PORT_IN_STANDBY => Some(AccessState::STANDBY),
        AdditionalSense::PORT_UNAVAILABLE => Some(AccessState::UNAVAILABLE),
        _ => None,
    }
}

/// Whether the command was not done because something had to be told first.
pub(crate) fn is_attention(ended: &Ended) -> bool {
    ended.sense.is_some_and(|sense| sense.key == SenseKey::UNIT_ATTENTION)
}

/// Whether a unit attention tells that a path's state has changed (SPC-4, 5.16.2.3).
pub(crate) fn tells_of_access(ended: &Ended) -> bool {
    ended.sense.is_some_and(|sense| {
        sense.key == SenseKey::UNIT_ATTENTION
            && sense.additional == AdditionalSense::ASYMMETRIC_ACCESS_CHANGED
    })
}
