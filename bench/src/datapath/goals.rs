//! What a frame is to cost, and that it costs the same whatever is out.

use super::Figures;
use super::case::{Kind, LOADS};
use serde::Serialize;
use xfcoe::workload::round;

/// Nanoseconds that a frame may take, in every case.
const GOALS: [(Kind, f64); 4] =
    [(Kind::ReadData, 175.0), (Kind::ReadInPlace, 175.0), (Kind::Response, 60.0), (Kind::Command, 60.0)];

/// How many times as much the dearest case may take as the first, with the least out.
const FLAT: f64 = 1.05;

/// How far a goal is reached. By the fastest rounds, which other work on the machine leaves alone; of read data, what
/// memory costs that is colder than in the first case is not counted.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(super) struct Outcome {
    frame: &'static str,
    what: &'static str,
    goal: f64,
    is: f64,
    reached: bool,
}

impl Outcome {
    fn new(frame: &'static str, what: &'static str, goal: f64, is: f64) -> Self {
        Self { frame, what, goal, is: round(is, 2), reached: is <= goal }
    }

    /// Of the table.
    pub(super) fn row(&self) -> Vec<String> {
        let verdict = if self.reached { "reached" } else { "missed" };
        let number = |value: f64| round(value, 2).to_string();
        vec![self.frame.into(), self.what.into(), number(self.goal), number(self.is), verdict.into()]
    }
}

/// The goals of the kinds of which all cases were timed.
pub(super) fn outcomes(figures: &[Figures]) -> Vec<Outcome> {
    let of_kind = |(kind, goal): (Kind, f64)| {
        let of_kind: Vec<&Figures> = figures.iter().filter(|figures| figures.case.kind == kind).collect();
        let warm_copy = of_kind.first().and_then(|first| first.min_copy_ns);
        let own = |figures: &&Figures| {
            let cold = figures.min_copy_ns.zip(warm_copy).map_or(0.0, |(copy, warm)| copy - warm);
            figures.min_ns.map(|ns| ns - cold)
        };
        let own: Vec<f64> = of_kind.iter().filter_map(own).collect();
        if own.len() < LOADS {
            return Vec::new();
        }
        let dearest = own.iter().copied().fold(0.0, f64::max);
        let frame = kind.name(1);
        vec![
            Outcome::new(frame, "ns in the dearest case", goal, dearest),
            Outcome::new(frame, "times the first case", FLAT, dearest / own[0]),
        ]
    };
    GOALS.into_iter().flat_map(of_kind).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datapath::case::cases;

    fn figures(kind: Kind, ns: [(f64, Option<f64>); LOADS]) -> Vec<Figures> {
        let cases = cases().filter(|case| case.kind == kind).zip(ns);
        let figures = cases.map(|(case, (min_ns, min_copy_ns))| Figures {
            name: case.to_string(),
            case,
            ns: None,
            min_ns: Some(min_ns),
            min_copy_ns,
            instructions: None,
        });
        figures.collect()
    }

    #[test]
    fn cold_memory_is_not_counted() {
        let read = |last| {
            let warm = (120.0, Some(90.0));
            outcomes(&figures(Kind::ReadData, [warm, warm, warm, warm, (last, Some(390.0))]))
        };
        let reached = |outcomes: Vec<Outcome>| outcomes.iter().map(|one| one.reached).collect::<Vec<_>>();
        assert_eq!(reached(read(426.0)), [true, true]);
        assert_eq!(reached(read(427.0)), [true, false]);
        assert_eq!(reached(read(476.0)), [false, false]);
    }

    #[test]
    fn of_what_was_not_timed_nothing_is_said() {
        let mut responses = figures(Kind::Response, [(55.0, None); LOADS]);
        assert_eq!(outcomes(&responses).len(), 2);
        responses.pop();
        assert!(outcomes(&responses).is_empty());
    }
}
