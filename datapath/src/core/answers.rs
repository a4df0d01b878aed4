//! What a target's answers to questions are worth.

use fc::time::Duration;

/// Commands that are asked about at once, until one of them tells how the target looks exchanges up.
const TRIALS: u8 = 64;
/// Commands on trial that the target doesn't find: one may be lost.
const MISSES: u8 = 3;
/// What is added to E_D_TOV before a command that a target doesn't find counts as lost, as Linux does.
const MARGIN: Duration = Duration::from_secs(1);

/// How a target looks up the exchange that it is asked about.
///
/// A command has no RX_ID before its target has sent something, and Linux's target finds nothing without one: it says of
/// a command that it works on that there is none. Were that believed, the command would be sent again, and the target
/// would wait for the first one's data for ever. So the first commands are asked about as soon as they are sent, when
/// they can't be over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Answers {
    /// That isn't known yet.
    Untried { trials: u8, misses: u8 },
    /// By either ID.
    ByOxId,
    /// By RX_ID only.
    ByRxId,
    /// It doesn't answer questions.
    Never,
}

impl Answers {
    pub(super) const UNTRIED: Self = Self::Untried { trials: TRIALS, misses: 0 };

    /// Whether a new command is to be asked about at once.
    pub(super) const fn begin_trial(&mut self) -> bool {
        match self {
            Self::Untried { trials: trials @ 1.., .. } => {
                *trials -= 1;
                true
            }
            Self::Untried { .. } | Self::ByOxId | Self::ByRxId | Self::Never => false,
        }
    }

    /// The target was asked about a command without an RX_ID, and has found it or not.
    pub(super) const fn note(&mut self, is_found: bool) {
        *self = match *self {
            Self::Never => Self::Never,
            _ if is_found => Self::ByOxId,
            Self::Untried { trials, misses } if misses + 1 < MISSES => {
                Self::Untried { trials, misses: misses + 1 }
            }
            Self::Untried { .. } => Self::ByRxId,
            known => known,
        };
    }

    /// How old a command must be for its target's not finding it to mean that it is lost. `None`: it never does.
    pub(super) fn conclusive_after(self, has_rx_id: bool, e_d_tov: Duration) -> Option<Duration> {
        match self {
            Self::Never => None,
            Self::ByOxId => Some(Duration::ZERO),
            Self::Untried { .. } | Self::ByRxId if has_rx_id => Some(Duration::ZERO),
            Self::Untried { .. } | Self::ByRxId => Some(e_d_tov + MARGIN),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const E_D_TOV: Duration = Duration::from_secs(2);

    #[test]
    fn one_that_finds_a_command_is_believed() {
        let mut answers = Answers::UNTRIED;
        answers.note(false);
        assert!(answers.begin_trial());
        answers.note(true);
        assert_eq!((answers, answers.begin_trial()), (Answers::ByOxId, false));
        answers.note(false);
        assert_eq!(answers.conclusive_after(false, E_D_TOV), Some(Duration::ZERO));
    }

    #[test]
    fn one_that_finds_none_is_not_believed_soon() {
        let mut answers = Answers::UNTRIED;
        for _ in 0..MISSES {
            assert!(answers.begin_trial());
            assert_eq!(answers.conclusive_after(false, E_D_TOV), Some(Duration::from_secs(3)));
            answers.note(false);
        }
        assert_eq!((answers, answers.begin_trial()), (Answers::ByRxId, false));
        assert_eq!(answers.conclusive_after(false, E_D_TOV), Some(Duration::from_secs(3)));
        assert_eq!(answers.conclusive_after(true, E_D_TOV), Some(Duration::ZERO));
        assert_eq!(Answers::Never.conclusive_after(true, E_D_TOV), None);
    }

    #[test]
    fn trials_end() {
        let mut answers = Answers::UNTRIED;
        for _ in 0..TRIALS {
            assert!(answers.begin_trial());
        }
        assert!(!answers.begin_trial());
    }
}
