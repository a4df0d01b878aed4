//! The rate of frames in turns with the floor's: what is sent one way, all of it checked, beside exchanges whose data
//! nobody looks at.

use super::Frames;
use super::ends::Pace;
use super::trial::{Trials, Way};
use crate::floor::{Exchanges, Shape};
use crate::link;
use crate::page::{Axis, Plot, Plots, Series};
use crate::table::{median, table};
use anyhow::ensure;
use fc::wire::fcoe;
use serde::Serialize;
use std::fmt;
use std::time::Duration;
use xfcoe::interrupt::Interrupt;
use xfcoe::preflight;
use xfcoe::program;
use xfcoe::workload::round;

/// Of their 65 frames 63 are full ones, which go one way, and as many as are out fit into a veth's ring.
const SHAPE: Shape = Shape::read(128 << 10);
const DEPTH: usize = 3;

const ROUNDS: usize = 7;

/// What is to be reached: the middle one of all rounds' ratios.
const GOAL: f64 = 0.95;

/// Its JSON is one object; names end in their units.
#[derive(Debug, Serialize)]
pub(super) struct BesideFloor {
    rounds: Vec<Round>,
    /// The middle one of the rounds' ratios.
    ratio: f64,
    goal: f64,
    reached: bool,
}

/// Frames a second that came to the other end.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
struct Round {
    frames_fps: f64,
    floor_fps: f64,
    ratio: f64,
}

pub(super) fn run(args: &Frames, json: bool, interrupt: &Interrupt) -> anyhow::Result<BesideFloor> {
    preflight::demo(args.port)?;
    let (near, far) = link::veth(args.port.into())?;
    let mut trials = Trials::new(near, Way::Here(Box::new(far)));
    let mut exchanges = Exchanges::over_veth(args.port.into())?;
    let duration = Duration::from_secs(args.seconds.into());
    let mut rounds = Vec::new();
    while rounds.len() < ROUNDS && !interrupt.is_raised() {
        let trial = program::with_spinner(json, "sending", || {
            trials.run(fcoe::MAX_LEN, Pace { fps: None, burst: 1 }, duration, interrupt)
        })?;
        let floor = program::with_spinner(json, "exchanging", || {
            exchanges.measure(SHAPE, DEPTH, duration, interrupt)
        })?;
        let ios = floor.latencies_ns.len() as f64;
        let frames_fps = trial.received_fps();
        let floor_fps = ios * SHAPE.frames() as f64 / floor.elapsed.as_secs_f64();
        rounds.push(Round::new(frames_fps, floor_fps));
    }
    ensure!(!rounds.is_empty(), "it was interrupted before anything was measured");
    Ok(BesideFloor::new(rounds))
}

impl Round {
    fn new(frames_fps: f64, floor_fps: f64) -> Self {
        Self {
            frames_fps: round(frames_fps, 0),
            floor_fps: round(floor_fps, 0),
            ratio: round(frames_fps / floor_fps.max(1.0), 3),
        }
    }
}

impl BesideFloor {
    fn new(rounds: Vec<Round>) -> Self {
        let ratio = median(rounds.iter().map(|round| round.ratio).collect());
        Self { rounds, ratio, goal: GOAL, reached: ratio >= GOAL }
    }

    fn of(&self, figure: fn(&Round) -> f64) -> f64 {
        median(self.rounds.iter().map(figure).collect())
    }
}

impl Plots for BesideFloor {
    fn plots(&self) -> Vec<Plot> {
        let series = |name: &str, figure: fn(&Round) -> f64| Series {
            name: name.into(),
            points: (1..)
                .zip(&self.rounds)
                .map(|(number, round)| (f64::from(number), figure(round)))
                .collect(),
        };
        vec![Plot::Lines {
            title: "Frames a second, round by round".into(),
            x: Axis::linear("round"),
            y: Axis::linear("a second"),
            series: vec![
                series("frames", |round| round.frames_fps),
                series("floor", |round| round.floor_fps),
            ],
        }]
    }
}

impl fmt::Display for BesideFloor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = (1..).zip(&self.rounds).map(|(number, round): (u32, _)| {
            let Round { frames_fps, floor_fps, ratio } = round;
            vec![
                number.to_string(),
                format!("{frames_fps:.0}"),
                format!("{floor_fps:.0}"),
                format!("{ratio:.3}"),
            ]
        });
        let header = ["round", "frames/s", "floor: frames/s", "ratio"];
        writeln!(f, "{}", table(1, &header, rows))?;
        let (frames, floor) = (self.of(|round| round.frames_fps), self.of(|round| round.floor_fps));
        let is = if self.reached { "reached" } else { "MISSED" };
        writeln!(
            f,
            "Medians: {frames:.0} frames a second, {floor:.0} of the floor; of the ratios {:.3}, and {:.2} is to be \
             reached: {is}",
            self.ratio, self.goal
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_ratio_counts() {
        let of = |ratios: [f64; 3]| BesideFloor::new(ratios.map(|ratio| Round::new(ratio * 1e6, 1e6)).into());
        let good = of([1.1, 0.2, 0.95]);
        assert_eq!((good.ratio, good.reached), (0.95, true));
        assert!(good.to_string().contains("to be reached: reached"), "{good}");
        let bad = of([0.94, 0.2, 1.3]);
        assert_eq!((bad.ratio, bad.reached), (0.94, false));
        assert!(bad.to_string().contains("MISSED"), "{bad}");
    }
}
