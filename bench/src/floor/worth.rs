//! `xfcoe-bench floor --without`: what each measure is worth, by links that lack one of them, in turns.

use super::measures::{MEASURES, Measure, Way};
use super::{Exchanges, Floor, MEASUREMENTS, Shape};
use crate::page::{Plot, Plots};
use crate::table::{median, table};
use anyhow::{Context as _, ensure};
use serde::Serialize;
use std::fmt;
use std::time::Duration;
use xfcoe::interrupt::Interrupt;
use xfcoe::program;
use xfcoe::workload::round;

/// What is measured: reads.
const LOADS: &[(&str, Shape, usize)] = MEASUREMENTS.split_at(3).0;

/// Its JSON is one object; names end in their units.
#[derive(Debug, Serialize)]
pub(super) struct Worth {
    rounds: usize,
    seconds: u32,
    rows: Vec<Row>,
}

/// A link, and what it did.
#[derive(Debug, Serialize)]
struct Row {
    /// What it lacks, and what it has in its place; none lacks nothing.
    without: Option<&'static str>,
    loads: Vec<Load>,
}

#[derive(Clone, Debug, Serialize)]
struct Load {
    name: &'static str,
    iops: f64,
    /// To the link that lacks nothing, in the same round: the middle one.
    ratio: f64,
    /// Exchanges of all rounds that didn't end.
    lost: u64,
}

/// What a link did in one round.
#[derive(Clone, Copy, Debug)]
struct Sample {
    iops: f64,
    lost: u64,
}

pub(super) fn run(measure: &str, args: &Floor, json: bool, interrupt: &Interrupt) -> anyhow::Result<Worth> {
    let measures: Vec<Measure> = MEASURES.into_iter().filter(|(name, _)| name.starts_with(measure)).collect();
    let names = || MEASURES.map(|(name, _)| name).join("; ");
    ensure!(!measures.is_empty(), "no measure's name begins with `{measure}`; there are: {}", names());
    let mut links = vec![(None, Way::new().lay()?)];
    for (name, leave_out) in measures {
        let mut way = Way::new();
        leave_out(&mut way);
        links.push((Some(name), way.lay().context(name)?));
    }
    let duration = Duration::from_secs(args.seconds.into());
    // By link, load and round.
    let mut samples = vec![vec![Vec::new(); LOADS.len()]; links.len()];
    'rounds: for _ in 0..args.rounds {
        for (at, (name, shape, depth)) in LOADS.iter().enumerate() {
            for ((_, link), samples) in links.iter_mut().zip(&mut samples) {
                let measure = || sample(link, *shape, *depth, duration, interrupt);
                let sample = program::with_spinner(json, name, measure)?;
                if interrupt.is_raised() {
                    break 'rounds;
                }
                samples[at].push(sample);
            }
        }
    }
    let rounds = samples.iter().flatten().map(Vec::len).min().unwrap_or(0);
    ensure!(rounds > 0, "it was interrupted before the first round was over");
    let rows = links.iter().zip(&samples).map(|((without, _), link)| Row {
        without: *without,
        loads: LOADS
            .iter()
            .zip(link.iter().zip(&samples[0]))
            .map(|((name, ..), (these, whole))| Load::new(name, &these[..rounds], &whole[..rounds]))
            .collect(),
    });
    Ok(Worth { rounds, seconds: args.seconds, rows: rows.collect() })
}

fn sample(
    link: &mut Exchanges,
    shape: Shape,
    depth: usize,
    duration: Duration,
    interrupt: &Interrupt,
) -> anyhow::Result<Sample> {
    let measured = link.measure(shape, depth, duration, interrupt)?;
    let iops = measured.latencies_ns.len() as f64 / measured.elapsed.as_secs_f64();
    Ok(Sample { iops, lost: measured.lost })
}

impl Load {
    /// Of a link's samples, and those of the link that lacks nothing, round by round.
    fn new(name: &'static str, these: &[Sample], whole: &[Sample]) -> Self {
        let ratios = these.iter().zip(whole).map(|(this, whole)| this.iops / whole.iops.max(1.0));
        Self {
            name,
            iops: round(median(these.iter().map(|sample| sample.iops).collect()), 0),
            ratio: round(median(ratios.collect()), 3),
            lost: these.iter().map(|sample| sample.lost).sum(),
        }
    }
}

impl Row {
    fn name(&self) -> &'static str {
        self.without.unwrap_or("as it is")
    }
}

impl Plots for Worth {
    fn plots(&self) -> Vec<Plot> {
        LOADS
            .iter()
            .enumerate()
            .map(|(at, (name, ..))| Plot::Bars {
                title: format!("{name}: rate, as a share of what it is with everything"),
                bars: self.rows.iter().map(|row| (row.name().to_owned(), row.loads[at].ratio)).collect(),
            })
            .collect()
    }
}

impl fmt::Display for Worth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header: Vec<&str> =
            std::iter::once("").chain(LOADS.iter().flat_map(|(name, ..)| [*name, "of all"])).collect();
        let rows = self.rows.iter().map(|row| {
            let cells = row.loads.iter().flat_map(|load| {
                let lost = if load.lost > 0 { format!(", {} lost", load.lost) } else { String::new() };
                [format!("{:.0}{lost}", load.iops), format!("{:.2}", load.ratio)]
            });
            std::iter::once(row.name().to_owned()).chain(cells).collect()
        });
        writeln!(f, "{}", table(1, &header, rows))?;
        writeln!(
            f,
            "Exchanges a second, the middle one of {} rounds in turns, and the middle ratio to all measures together.",
            self.rounds
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_of_one_round() {
        let samples = |iops: [f64; 3]| iops.map(|iops| Sample { iops, lost: 2 });
        // The machine is twice as fast in the second round, and half as fast in the third.
        let load = Load::new("reads", &samples([90.0, 180.0, 45.0]), &samples([100.0, 200.0, 50.0]));
        assert_eq!((load.iops, load.ratio, load.lost), (90.0, 0.9, 6));
    }
}
