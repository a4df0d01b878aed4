//! What xfcoe is to reach beside its peers, and where it doesn't.

use super::load::{READ_4K_DEPTH_1, READ_4K_DEPTH_32, READ_64K};
use super::report::Row;
use serde::Serialize;
use xfcoe::workload::round;

/// What is compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Figure {
    Iops,
    P50,
    /// CPU time of client and server for an I/O.
    Cpu,
}

/// A ratio to a kind of peer, the best of them.
#[derive(Clone, Copy, Debug)]
struct Goal {
    load: &'static str,
    figure: Figure,
    /// Words that the peer's name has.
    peer: &'static str,
    and: &'static str,
    /// Times as many IOPS, or as little of the others.
    at_least: f64,
}

const fn goal(load: &'static str, figure: Figure, peer: &'static str, at_least: f64) -> Goal {
    Goal { load, figure, peer, and: "", at_least }
}

const GOALS: [Goal; 10] = [
    goal(READ_4K_DEPTH_1, Figure::Iops, "nbdkit", 8.0),
    goal(READ_4K_DEPTH_1, Figure::P50, "nbdkit", 8.0),
    goal(READ_4K_DEPTH_32, Figure::Iops, "nbdkit", 3.0),
    goal(READ_4K_DEPTH_32, Figure::Cpu, "nbdkit", 2.0),
    goal(READ_4K_DEPTH_32, Figure::Iops, "tgt", 10.0),
    goal(READ_4K_DEPTH_32, Figure::Cpu, "tgt", 10.0),
    Goal { and: "no offload", ..goal(READ_64K, Figure::Iops, "nbdkit", 1.2) },
    goal(READ_64K, Figure::Iops, "tgt", 2.0),
    goal(READ_4K_DEPTH_1, Figure::Iops, "floor", 0.9),
    goal(READ_4K_DEPTH_32, Figure::Iops, "floor", 0.85),
];

/// How far a goal is reached.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(super) struct Outcome {
    pub(super) load: &'static str,
    pub(super) figure: &'static str,
    /// The best of its kind.
    pub(super) peer: &'static str,
    pub(super) goal: f64,
    pub(super) ratio: f64,
    pub(super) reached: bool,
}

impl Figure {
    fn name(self) -> &'static str {
        match self {
            Self::Iops => "IOPS",
            Self::P50 => "p50",
            Self::Cpu => "CPU time",
        }
    }

    /// More is better.
    fn worth(self, row: &Row) -> Option<f64> {
        match self {
            Self::Iops => Some(row.iops),
            Self::P50 => row.p50_us.map(f64::recip),
            Self::Cpu => Some((row.client.us_per_io + row.server.us_per_io).recip()),
        }
    }
}

/// The goals of which there are figures.
pub(super) fn outcomes(rows: &[Row]) -> Vec<Outcome> {
    GOALS.iter().filter_map(|goal| goal.outcome(rows)).collect()
}

impl Goal {
    fn outcome(&self, rows: &[Row]) -> Option<Outcome> {
        let of_load = || rows.iter().filter(|row| row.load == self.load);
        let worth = |row: &Row| self.figure.worth(row);
        let ours = of_load().find(|row| row.peer == super::XFCOE)?;
        let is_meant = |row: &&Row| row.peer.contains(self.peer) && row.peer.contains(self.and);
        let theirs = of_load().filter(is_meant).filter(|row| worth(row).is_some());
        let theirs =
            theirs.max_by(|one, other| worth(one).unwrap_or(0.0).total_cmp(&worth(other).unwrap_or(0.0)))?;
        let ratio = worth(ours)? / worth(theirs)?;
        Some(Outcome {
            load: self.load,
            figure: self.figure.name(),
            peer: theirs.peer,
            goal: self.at_least,
            ratio: round(ratio, 2),
            reached: ratio >= self.at_least,
        })
    }
}
