//! `xfcoe-bench datapath`: what a frame costs the poll core, over a port in memory.
//!
//! Time is what counts, and on a machine that does other work too it says little. So instructions are counted as well,
//! by callgrind: those are the same in every run, and a change of the code shows in them.

mod callgrind;
mod case;
mod copy;
mod goals;
mod kept;
mod rig;

use crate::page::{Axis, Output, Plot, Plots, Series};
use crate::table::table;
use anyhow::Context as _;
use case::cases;
pub(crate) use case::{Case, Kind};
use clap::Args;
use goals::{Outcome, outcomes};
use rig::Rig;
use serde::Serialize;
use std::fmt;
use std::path::PathBuf;
use xfcoe::interrupt::Interrupt;
use xfcoe::program;
use xfcoe::workload::round;

/// `xfcoe-bench datapath`
#[derive(Debug, Args)]
#[command(
    long_about = "What a frame costs the poll core, over a port in memory: no NIC, no kernel, no root. One core has \
                  57,344 OX_IDs, of which it keeps 512 for questions: as many commands are out in the largest cases.\n\n\
                  Where valgrind is installed, instructions are counted, too, which are the same in every run."
)]
pub(crate) struct Datapath {
    /// Only the cases whose name begins so
    #[arg(default_value = "", hide_default_value = true)]
    case: String,
    /// How often each case is timed; the median counts
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Time only, and count no instructions
    #[arg(long)]
    time_only: bool,
    /// Count instructions only, and fail if there are 5% more than FILE has
    #[arg(long, value_name = "FILE", conflicts_with_all = ["case", "time_only", "renew"])]
    check: Option<PathBuf>,
    /// Count instructions only, and write them to FILE
    #[arg(long, value_name = "FILE", conflicts_with_all = ["case", "time_only"])]
    renew: Option<PathBuf>,
    /// What callgrind is run on
    #[arg(long, value_name = "CASE", hide = true)]
    count_case: Option<usize>,
}

pub(crate) fn run(args: &Datapath, output: &Output, interrupt: &Interrupt) -> anyhow::Result<()> {
    if let Some(number) = args.count_case {
        callgrind::run_case(&cases().nth(number).context("no such case")?);
        return Ok(());
    }
    let is_timed = args.check.is_none() && args.renew.is_none();
    let is_counted = !args.time_only && (!is_timed || callgrind::is_installed());
    let mut cases_done = Vec::new();
    let wanted = |case: &Case| case.to_string().starts_with(&args.case);
    for (number, case) in cases().enumerate().filter(|(_, case)| wanted(case)) {
        interrupt.check(|| format!("before {case}"))?;
        let time =
            is_timed.then(|| program::with_spinner(output.json, "timing", || time(&case, args.rounds)));
        let count =
            || program::with_spinner(output.json, "counting instructions", || callgrind::count(number));
        let copy = || program::with_spinner(output.json, "timing", || copy::time(case.open, args.rounds));
        let has_copy = is_timed && case.kind == Kind::ReadData;
        cases_done.push(Figures {
            case,
            name: case.to_string(),
            ns: time.map(|(median, _)| round(median, 1)),
            min_ns: time.map(|(_, least)| round(least, 1)),
            min_copy_ns: has_copy.then(|| round(copy(), 1)),
            instructions: if is_counted { Some(round(count()?, 1)) } else { None },
        });
    }
    let report = Report { goals: outcomes(&cases_done), cases: cases_done };
    output.print(&report)?;
    let counts =
        report.cases.iter().filter_map(|case| Some((case.name.clone(), case.instructions?))).collect();
    match (&args.renew, &args.check) {
        (Some(path), _) => kept::renew(path, counts),
        (None, Some(path)) => kept::check(path, &counts),
        (None, None) => Ok(()),
    }
}

/// What a frame takes: the median of all rounds and the fastest one, in nanoseconds.
pub(crate) fn time(case: &Case, rounds: u32) -> (f64, f64) {
    let mut rig = Rig::new(case);
    // Warms caches and the branch predictor up.
    for _ in 0..rounds.div_ceil(10) {
        rig.warm_up();
    }
    let mut ns: Vec<f64> = (0..rounds).map(|_| rig.timed_round()).collect();
    ns.sort_by(f64::total_cmp);
    (ns[ns.len() / 2], ns[0])
}

#[derive(Serialize)]
struct Report {
    cases: Vec<Figures>,
    goals: Vec<Outcome>,
}

/// What one frame takes.
#[derive(Serialize)]
struct Figures {
    #[serde(skip)]
    case: Case,
    name: String,
    /// Nanoseconds: the median of all rounds.
    ns: Option<f64>,
    /// The fastest round.
    min_ns: Option<f64>,
    /// Of read data: the CRC and the copy alone, to the same memory; the fastest round.
    min_copy_ns: Option<f64>,
    instructions: Option<f64>,
}

impl Plots for Report {
    fn plots(&self) -> Vec<Plot> {
        let over_open = |title: &str, label, figure: fn(&Figures) -> Option<f64>| {
            let mut series: Vec<Series> = Vec::new();
            for figures in &self.cases {
                let Some(value) = figure(figures) else { continue };
                let (name, point) = (figures.case.without_open(), (figures.case.open as f64, value));
                match series.iter_mut().find(|series| series.name == name) {
                    Some(series) => series.points.push(point),
                    None => series.push(Series { name, points: vec![point] }),
                }
            }
            Plot::Lines {
                title: title.into(),
                x: Axis::logarithmic("commands that are out"),
                y: Axis::linear(label),
                series,
            }
        };
        vec![
            over_open("What a frame takes", "ns", |figures| figures.ns),
            over_open("Instructions of a frame", "instructions", |figures| figures.instructions),
        ]
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = ["one frame", "median ns", "least ns", "CRC and copy alone", "instructions"];
        let cell = |value: Option<f64>| value.map_or_else(|| "-".into(), |value| format!("{value:.1}"));
        let rows = self.cases.iter().map(|case| {
            let figures = [case.ns, case.min_ns, case.min_copy_ns, case.instructions];
            std::iter::once(case.name.clone()).chain(figures.map(cell)).collect()
        });
        writeln!(f, "{}", table(1, &header, rows))?;
        if !self.goals.is_empty() {
            let rows = self.goals.iter().map(Outcome::row);
            writeln!(f, "{}", table(2, &["xfcoe's goals", "", "goal", "is", ""], rows))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_can_be_timed() {
        for case in cases() {
            assert!(time(&case, 3).0 > 0.0, "{case}");
        }
    }
}
