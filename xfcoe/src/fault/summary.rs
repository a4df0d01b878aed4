//! What a SAN has done, as the operator sees it.

use datapath::port::faults::FaultCounters;
use san::Stats;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a SAN did.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Summary {
    received_frames: u64,
    sent_frames: u64,
    commands: u64,
    failed_commands: u64,
    crc_errors: u64,
    /// VN_Ports that are logged in now.
    logins: usize,
    faults: Faults,
}

/// What went wrong with frames, on purpose.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
struct Faults {
    received: FrameFaults,
    sent: FrameFaults,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
struct FrameFaults {
    lost: u64,
    duplicated: u64,
    corrupted: u64,
    truncated: u64,
    reordered: u64,
    delayed: u64,
}

impl From<&Stats> for Summary {
    fn from(Stats { counters, logins, incoming, outgoing }: &Stats) -> Self {
        Self {
            received_frames: counters.received_frames,
            sent_frames: counters.sent_frames,
            commands: counters.commands,
            failed_commands: counters.failed_commands,
            crc_errors: counters.dropped_crc,
            logins: *logins,
            faults: Faults { received: incoming.into(), sent: outgoing.into() },
        }
    }
}

impl From<&FaultCounters> for FrameFaults {
    fn from(counters: &FaultCounters) -> Self {
        let FaultCounters { delivered: _, lost, duplicated, corrupted, truncated, reordered, delayed } =
            *counters;
        Self { lost, duplicated, corrupted, truncated, reordered, delayed }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { received_frames, sent_frames, commands, failed_commands, crc_errors, logins, faults } =
            self;
        writeln!(
            f,
            "frames    {received_frames} received, {crc_errors} of them with a wrong CRC; {sent_frames} sent"
        )?;
        writeln!(f, "commands  {commands}, {failed_commands} of them failed")?;
        writeln!(f, "logins    {logins} now")?;
        for (way, faults) in [("received", &faults.received), ("sent", &faults.sent)] {
            if *faults != FrameFaults::default() {
                writeln!(f, "faults    of frames {way}: {faults}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for FrameFaults {
    /// Such as `3 lost, 1 delayed`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lost, duplicated, corrupted, truncated, reordered, delayed } = *self;
        let all = [
            (lost, "lost"),
            (duplicated, "duplicated"),
            (corrupted, "corrupted"),
            (truncated, "truncated"),
            (reordered, "reordered"),
            (delayed, "delayed"),
        ];
        let some: Vec<_> =
            all.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
        f.write_str(&some.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_went_wrong_is_told() {
        let mut summary = Summary { received_frames: 9, logins: 1, ..Summary::default() };
        let calm = "frames    9 received, 0 of them with a wrong CRC; 0 sent\ncommands  0, 0 of them failed\n\
                    logins    1 now\n";
        assert_eq!(summary.to_string(), calm);
        (summary.faults.sent.lost, summary.faults.sent.delayed) = (3, 1);
        assert_eq!(summary.to_string(), format!("{calm}faults    of frames sent: 3 lost, 1 delayed\n"));
    }
}
