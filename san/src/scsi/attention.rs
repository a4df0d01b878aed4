//! Unit attentions: what a nexus is told before its next command (SAM-5, 5.14).

use fc::wire::scsi::AdditionalSense;

/// Those pending for one nexus at one logical unit. A set: the same condition twice is told once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Attentions(u8);

impl Attentions {
    /// Power on, or a new login.
    pub(crate) const POWER_ON: Self = Self(1 << 0);
    /// Another nexus cleared this one's commands.
    pub(crate) const COMMANDS_CLEARED: Self = Self(1 << 1);
    /// The reservation was preempted or cleared.
    pub(crate) const RESERVATIONS_PREEMPTED: Self = Self(1 << 2);
    /// The reservation was released.
    pub(crate) const RESERVATIONS_RELEASED: Self = Self(1 << 3);
    /// The registration was preempted.
    pub(crate) const REGISTRATIONS_PREEMPTED: Self = Self(1 << 4);
    /// The logical unit was reset.
    pub(crate) const RESET: Self = Self(1 << 5);
    /// A port leads to the unit better or worse than before.
    pub(crate) const ACCESS_CHANGED: Self = Self(1 << 6);

    /// In the order in which they are told, with their codes.
    const CODES: [(Self, AdditionalSense); 7] = [
        (Self::POWER_ON, AdditionalSense::POWER_ON_OR_RESET),
        (Self::RESET, AdditionalSense::BUS_DEVICE_RESET),
        (Self::COMMANDS_CLEARED, AdditionalSense::COMMANDS_CLEARED),
        (Self::RESERVATIONS_PREEMPTED, AdditionalSense::RESERVATIONS_PREEMPTED),
        (Self::RESERVATIONS_RELEASED, AdditionalSense::RESERVATIONS_RELEASED),
        (Self::REGISTRATIONS_PREEMPTED, AdditionalSense::REGISTRATIONS_PREEMPTED),
        (Self::ACCESS_CHANGED, AdditionalSense::ASYMMETRIC_ACCESS_CHANGED),
    ];

    /// Adds `other`. Power on and a reset make what was before them moot, and a reset is a part of power on (SAM-5, 6.2).
    pub(crate) fn establish(&mut self, other: Self) {
        *self = match other {
            Self::POWER_ON => other,
            Self::RESET if self.0 & Self::POWER_ON.0 != 0 => Self::POWER_ON,
            Self::RESET => other,
            _ => Self(self.0 | other.0),
        };
    }

    /// Whether none is pending.
    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Takes the one to be told first.
    pub(crate) fn take_first(&mut self) -> Option<AdditionalSense> {
        let (first, code) = Self::CODES.into_iter().find(|(attention, _)| self.0 & attention.0 != 0)?;
        self.0 &= !first.0;
        Some(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_told_once_and_in_order() {
        let mut pending = Attentions::default();
        assert_eq!(pending.take_first(), None);
        pending.establish(Attentions::REGISTRATIONS_PREEMPTED);
        pending.establish(Attentions::COMMANDS_CLEARED);
        pending.establish(Attentions::COMMANDS_CLEARED);
        assert_eq!(pending.take_first(), Some(AdditionalSense::COMMANDS_CLEARED));
        for (first, second, code) in [
            (Attentions::RESET, Attentions::POWER_ON, AdditionalSense::POWER_ON_OR_RESET),
            (Attentions::POWER_ON, Attentions::RESET, AdditionalSense::POWER_ON_OR_RESET),
            (Attentions::COMMANDS_CLEARED, Attentions::RESET, AdditionalSense::BUS_DEVICE_RESET),
        ] {
            pending.establish(first);
            pending.establish(second);
            assert_eq!(pending.take_first(), Some(code));
            assert!(pending.is_empty());
        }
    }
}
