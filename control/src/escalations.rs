//! What is done about targets that answer no ABTS.
//!
//! ```text
//!  ABTS not answered --> LUN RESET --done--> probation --ABTS not answered--> log out, log in again
//!                            |                                                        ^
//!                            +------------------ not done ----------------------------+
//! ```
//!
//! A command whose abort nobody answers may be at the target for ever, and keeps what it holds. A reset of its logical unit
//! ends it, for other initiators, too; the end of the login ends it in any case.

use fc::messages::{Action, Command, Completion, NexusId, Transfer};
use fc::time::{Duration, Instant};
use fc::wire::fcp::{Lun, TaskManagement};
use std::collections::BTreeMap;

/// When a reset is given up.
const RESET_TIMEOUT: Duration = Duration::from_secs(10);

/// For how long after a reset aborts are those of commands from before it: a write's takes R_A_TOV.
const GRACE: Duration = Duration::from_secs(15);

/// For how long after a reset another abort without an answer is the same trouble.
const PROBATION: Duration = Duration::from_secs(60);

/// What a reset's tag has that no scan's has. The rest of it is the nexus's number.
const TAG: u64 = 1 << 63;

/// What to do next.
#[derive(Debug)]
pub(crate) enum Step {
    /// Send this LUN RESET.
    Reset(Command),
    /// Log out of the target, and in again.
    LogInAgain,
}

/// How far it has come with each target that is in trouble.
#[derive(Debug, Default)]
pub(crate) struct Escalations {
    stages: BTreeMap<NexusId, Stage>,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    /// A reset is out.
    Resetting,
    /// It was carried out then.
    Reset(Instant),
}

impl Escalations {
    /// A target has not answered the abort of a command to this logical unit.
    pub(crate) fn abort_unanswered(&mut self, now: Instant, nexus: NexusId, lun: Lun) -> Option<Step> {
        let since = match self.stages.get(&nexus) {
            Some(Stage::Resetting) => return None,
            Some(Stage::Reset(at)) => Some(now.since(*at)),
            None => None,
        };
        match since {
            Some(since) if since < GRACE => None,
            Some(since) if since < PROBATION => {
                self.stages.remove(&nexus);
                Some(Step::LogInAgain)
            }
            _ => {
                self.stages.insert(nexus, Stage::Resetting);
                Some(Step::Reset(Command {
                    tag: TAG | u64::from(nexus.0),
                    nexus,
                    lun,
                    action: Action::Manage(TaskManagement::LUN_RESET),
                    transfer: Transfer::None,
                    timeout: RESET_TIMEOUT,
                }))
            }
        }
    }

    /// Whether a completion is that of a reset.
    pub(crate) const fn is_reset(completion: &Completion) -> bool {
        completion.tag & TAG != 0
    }

    /// A reset has ended.
    pub(crate) fn reset_ended(&mut self, now: Instant, completion: &Completion) -> Option<(NexusId, Step)> {
        let number = u16::try_from(completion.tag & !TAG).expect("a tag of ours");
        let stage = self.stages.get_mut(&NexusId(number))?;
        if completion.result.is_ok() {
            *stage = Stage::Reset(now);
            return None;
        }
        self.stages.remove(&NexusId(number));
        Some((NexusId(number), Step::LogInAgain))
    }

    /// The login has ended, or the reset could not be sent.
    pub(crate) fn forget(&mut self, nexus: NexusId) {
        self.stages.remove(&nexus);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fc::messages::{Ended, TransportError};

    const NEXUS: NexusId = NexusId(7);

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    /// A report, of which a reset follows, and the reset's end.
    fn reset(
        escalations: &mut Escalations,
        now: Instant,
        result: Result<Ended, TransportError>,
    ) -> Option<Step> {
        let step = escalations.abort_unanswered(now, NEXUS, Lun::single(3).unwrap());
        let Some(Step::Reset(command)) = step else { panic!("{step:?} is no reset") };
        assert_eq!((command.nexus, command.lun), (NEXUS, Lun::single(3).unwrap()));
        assert_eq!(command.action, Action::Manage(TaskManagement::LUN_RESET));
        assert!(escalations.abort_unanswered(now, NEXUS, Lun::default()).is_none(), "one at a time");
        let completion = Completion { tag: command.tag, result, transfer: Transfer::None };
        assert!(Escalations::is_reset(&completion));
        escalations.reset_ended(now, &completion).map(|(nexus, step)| {
            assert_eq!(nexus, NEXUS);
            step
        })
    }

    #[test]
    fn a_reset_helps_or_the_login_is_begun_anew() {
        let mut escalations = Escalations::default();
        assert!(reset(&mut escalations, at(0), Ok(Ended::good(0))).is_none());
        // Aborts of commands from before the reset, then the same trouble again.
        assert!(escalations.abort_unanswered(at(14), NEXUS, Lun::default()).is_none());
        let step = escalations.abort_unanswered(at(20), NEXUS, Lun::default());
        assert!(matches!(step, Some(Step::LogInAgain)));
        // After the login, or after a while, it begins anew.
        assert!(reset(&mut escalations, at(30), Ok(Ended::good(0))).is_none());
        assert!(reset(&mut escalations, at(91), Ok(Ended::good(0))).is_none());
        escalations.forget(NEXUS);
        let step = reset(&mut escalations, at(92), Err(TransportError::TimedOut));
        assert!(matches!(step, Some(Step::LogInAgain)));
        assert!(escalations.stages.is_empty());
    }

    #[test]
    fn what_became_of_a_reset_of_an_earlier_login_is_of_no_interest() {
        let mut escalations = Escalations::default();
        let Some(Step::Reset(command)) = escalations.abort_unanswered(at(0), NEXUS, Lun::default()) else {
            panic!("a reset")
        };
        escalations.forget(NEXUS);
        let result = Err(TransportError::NexusGone);
        let completion = Completion { tag: command.tag, result, transfer: Transfer::None };
        assert!(escalations.reset_ended(at(1), &completion).is_none());
    }
}
