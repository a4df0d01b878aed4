//! The status byte that ends a command (SAM-5, 5.3.1).

use core::fmt;

/// How a command ended, by its target's word.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Status(pub u8);

impl Status {
    /// Done.
    pub const GOOD: Self = Self(0x00);
    /// Not done as asked, or something else to tell: see the sense data.
    pub const CHECK_CONDITION: Self = Self(0x02);
    /// The condition that the command asks about holds (PRE-FETCH).
    pub const CONDITION_MET: Self = Self(0x04);
    /// Try again later.
    pub const BUSY: Self = Self(0x08);
    /// Another initiator's reservation forbids the command.
    pub const RESERVATION_CONFLICT: Self = Self(0x18);
    /// The logical unit has no room for one more command.
    pub const TASK_SET_FULL: Self = Self(0x28);
    /// An auto contingent allegiance is in force.
    pub const ACA_ACTIVE: Self = Self(0x30);
    /// Another initiator aborted the command.
    pub const TASK_ABORTED: Self = Self(0x40);

    /// The standard's name; `None` for a code that it doesn't know.
    pub const fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::GOOD => "GOOD",
            Self::CHECK_CONDITION => "CHECK CONDITION",
            Self::CONDITION_MET => "CONDITION MET",
            Self::BUSY => "BUSY",
            Self::RESERVATION_CONFLICT => "RESERVATION CONFLICT",
            Self::TASK_SET_FULL => "TASK SET FULL",
            Self::ACA_ACTIVE => "ACA ACTIVE",
            Self::TASK_ABORTED => "TASK ABORTED",
            _ => return None,
        })
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "status {:#04x}", self.0),
        }
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn statuses_print() {
        assert_eq!(Status::TASK_SET_FULL.to_string(), "TASK SET FULL");
        assert_eq!(Status(0x22).to_string(), "status 0x22");
    }
}
