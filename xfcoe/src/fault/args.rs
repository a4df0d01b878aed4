//! The command line of `xfcoe fault`.

use crate::config::by_name;
use clap::{Args, Subcommand};
use fc::wire::Wwn;
use san::{
    CommandFailure, Death, Fault as SanFault, FaultsConfig, FrameFate, FrameKind, LoginKind, Order,
    PortAccess,
};
use std::path::PathBuf;
use std::str::FromStr;

/// `xfcoe fault`
#[derive(Debug, Args)]
pub struct Fault {
    /// Where the SAN takes orders: what `xfcoe san --control` was given
    pub control: PathBuf,
    /// What to do.
    #[command(subcommand)]
    pub what: What,
}

/// What to do to a SAN.
#[derive(Debug, Subcommand)]
pub enum What {
    /// Show what the SAN has done and what went wrong
    Show,
    /// Let things go wrong by chance, at these rates and no others
    Rates(Rates),
    /// Let the next frames of a kind go wrong
    Frame {
        /// lose, damage, duplicate or reorder
        #[arg(value_parser = by_name::<FrameFate>)]
        fate: FrameFate,
        /// command, write_data, abort or link_service, which the SAN receives; xfer_rdy, read_data, response,
        /// abort_answer or link_service_answer, which it sends
        #[arg(value_parser = by_name::<FrameKind>)]
        kind: FrameKind,
        /// How many
        #[arg(long, default_value_t = 1)]
        count: u32,
    },
    /// Let the next commands fail
    Command {
        /// busy, task_set_full, reservation_conflict, aborted_command, not_ready, medium_error or hardware_error
        #[arg(value_parser = by_name::<CommandFailure>)]
        failure: CommandFailure,
        /// How many
        #[arg(long, default_value_t = 1)]
        count: u32,
    },
    /// Let the next logins be rejected
    Login {
        /// flogi, fdisc, plogi or prli
        #[arg(value_parser = by_name::<LoginKind>)]
        kind: LoginKind,
        /// How many
        #[arg(long, default_value_t = 1)]
        count: u32,
    },
    /// Let nothing go wrong any more by `rates`, `frame`, `command` and `login`
    Heal,
    /// Restart the fabric: it clears every virtual link and forgets every login
    Restart,
    /// Clear the virtual link of one initiator's port: the fabric ends its login
    Clear {
        /// Its port name
        initiator: Wwn,
    },
    /// Switch the fabric off: it falls silent, and forgets every login
    Stop,
    /// Switch the fabric on again
    Start,
    /// Take a target port away
    Kill {
        /// Its port name
        target: Wwn,
        /// unplugged: the fabric tells; logged_out: it says LOGO first; silent: it answers no more
        #[arg(long, default_value = "unplugged", value_parser = by_name::<Death>)]
        how: Death,
    },
    /// Bring a target port back
    Revive {
        /// Its port name
        target: Wwn,
    },
    /// Let a target port lead to its disks well or not so well
    Access {
        /// Its port name
        target: Wwn,
        /// optimized, non_optimized, standby or unavailable
        #[arg(value_parser = by_name::<PortAccess>)]
        access: PortAccess,
    },
    /// Let a target port begin no command for a while
    Stall {
        /// Its port name
        target: Wwn,
        /// How long
        #[arg(value_name = "MS")]
        ms: u32,
    },
}

/// `xfcoe fault PATH rates`. A rate is such as 0.1% or 1000ppm.
#[derive(Debug, Args)]
pub struct Rates {
    /// Frames that are lost, each way
    #[arg(long, value_name = "RATE", default_value = "0%")]
    pub loss: Rate,
    /// Frames that come twice
    #[arg(long, value_name = "RATE", default_value = "0%")]
    pub duplicate: Rate,
    /// Frames of which a bit is flipped
    #[arg(long, value_name = "RATE", default_value = "0%")]
    pub corrupt: Rate,
    /// Frames that lose their end
    #[arg(long, value_name = "RATE", default_value = "0%")]
    pub truncate: Rate,
    /// Frames that the next one overtakes
    #[arg(long, value_name = "RATE", default_value = "0%")]
    pub reorder: Rate,
    /// Frames that are delayed by --delay-us
    #[arg(long, value_name = "RATE", default_value = "0%", requires = "delay_us")]
    pub delay: Rate,
    /// By how many microseconds
    #[arg(long, value_name = "US", default_value_t = 0)]
    pub delay_us: u32,
    /// Commands that end in BUSY
    #[arg(long, value_name = "RATE", default_value = "0%")]
    pub busy: Rate,
    /// Commands that end in TASK SET FULL
    #[arg(long, value_name = "RATE", default_value = "0%")]
    pub task_set_full: Rate,
    /// Commands that wait for --stall-ms before the target begins
    #[arg(long, value_name = "RATE", default_value = "0%", requires = "stall_ms")]
    pub stall: Rate,
    /// For how many milliseconds
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub stall_ms: u32,
    /// The same seed and the same frames give the same faults
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

/// How often something goes wrong, in parts per million.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate(pub u32);

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const PERCENT_PPM: f64 = 10_000.0;
        let wrong = || "expected a rate from 0% to 100%, such as 0.1% or 1000ppm".to_string();
        let (number, unit_ppm) = match (text.strip_suffix('%'), text.strip_suffix("ppm")) {
            (Some(percent), _) => (percent, PERCENT_PPM),
            (None, Some(ppm)) => (ppm, 1.0),
            (None, None) => return Err(wrong()),
        };
        let ppm = number.parse::<f64>().map_err(|_| wrong())? * unit_ppm;
        if (0.0..=100.0 * PERCENT_PPM).contains(&ppm) { Ok(Self(ppm.round() as u32)) } else { Err(wrong()) }
    }
}

impl What {
    /// The order that this is; none is [`What::Show`].
    pub fn order(&self) -> Option<Order> {
        let inject = |fault, count| Order::Inject { fault, count };
        Some(match *self {
            Self::Show => return None,
            Self::Rates(ref rates) => Order::Faults(rates.into()),
            Self::Frame { fate, kind, count } => inject(SanFault::Frame(fate, kind), count),
            Self::Command { failure, count } => inject(SanFault::Fail(failure), count),
            Self::Login { kind, count } => inject(SanFault::Reject(kind), count),
            Self::Heal => Order::Heal,
            Self::Restart => Order::Restart,
            Self::Clear { initiator } => Order::ClearLink { initiator },
            Self::Stop => Order::Stop,
            Self::Start => Order::Start,
            Self::Kill { target, how } => Order::Kill { target, how },
            Self::Revive { target } => Order::Revive { target },
            Self::Access { target, access } => Order::Access { target, access },
            Self::Stall { target, ms } => Order::Stall { target, ms },
        })
    }
}

impl From<&Rates> for FaultsConfig {
    fn from(rates: &Rates) -> Self {
        Self {
            seed: rates.seed,
            loss_ppm: rates.loss.0,
            duplicate_ppm: rates.duplicate.0,
            corrupt_ppm: rates.corrupt.0,
            truncate_ppm: rates.truncate.0,
            reorder_ppm: rates.reorder.0,
            delay_ppm: rates.delay.0,
            delay_us: rates.delay_us,
            busy_ppm: rates.busy.0,
            task_set_full_ppm: rates.task_set_full.0,
            stall_ppm: rates.stall.0,
            stall_ms: rates.stall_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;

    fn order(line: &str) -> Result<Option<Order>, String> {
        let words = ["xfcoe", "fault", "san.sock"].into_iter().chain(line.split_whitespace());
        match Cli::try_parse_from(words).map_err(|error| error.to_string())?.command {
            Command::Fault(fault) => Ok(fault.what.order()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn orders_read_as_they_are_meant() {
        let target = "20:00:02:fc:f0:00:01:01".parse().unwrap();
        let lose = SanFault::Frame(FrameFate::Lose, FrameKind::XferRdy);
        let rates = FaultsConfig { loss_ppm: 1000, delay_ppm: 250, delay_us: 7, ..FaultsConfig::default() };
        for (line, expected) in [
            ("show", None),
            ("rates --loss 0.1% --delay 250ppm --delay-us 7", Some(Order::Faults(rates))),
            ("frame lose xfer_rdy --count 3", Some(Order::Inject { fault: lose, count: 3 })),
            ("login prli", Some(Order::Inject { fault: SanFault::Reject(LoginKind::Prli), count: 1 })),
            ("stop", Some(Order::Stop)),
            ("kill 20:00:02:fc:f0:00:01:01 --how silent", Some(Order::Kill { target, how: Death::Silent })),
            ("kill 20:00:02:fc:f0:00:01:01", Some(Order::Kill { target, how: Death::Unplugged })),
            ("stall 20:00:02:fc:f0:00:01:01 500", Some(Order::Stall { target, ms: 500 })),
            (
                "access 20:00:02:fc:f0:00:01:01 standby",
                Some(Order::Access { target, access: PortAccess::Standby }),
            ),
        ] {
            assert_eq!(order(line), Ok(expected), "{line}");
        }
    }

    #[test]
    fn wrong_words_are_refused_with_right_ones() {
        for (line, said) in [
            ("frame loose response", "unknown value `loose`, did you mean `lose`? Values here: lose, damage"),
            ("frame lose responses", "did you mean `response`?"),
            ("command bussy", "did you mean `busy`?"),
            ("rates --loss 0.1", "expected a rate from 0% to 100%, such as 0.1% or 1000ppm"),
            ("rates --loss 101%", "expected a rate"),
            ("rates --loss=-1%", "expected a rate"),
            ("rates --loss NaN%", "expected a rate"),
            ("rates --delay 1%", "--delay-us <US>"),
            ("kill 20:00", "expected eight hex bytes"),
        ] {
            let error = order(line).unwrap_err();
            assert!(error.contains(said), "{line}: {error}");
        }
    }
}
