//! What came of it, for people and for programs.

use super::{CpuUs, NBD, Sample, VHOST_USER};
use crate::page::{Plot, Plots};
use crate::table::{median, table};
use serde::Serialize;
use std::fmt;
use xfcoe::workload::round;

/// Its JSON is one object; names end in their units.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(super) struct Report {
    rounds: u16,
    round_ms: u32,
    /// The host has the others. Where there is one, both have that.
    pub(super) san_has_own_cpu: bool,
    rows: Vec<Row>,
}

/// What one of them has at a depth: the medians of all rounds.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(super) struct Row {
    iodepth: u16,
    client: &'static str,
    iops: f64,
    /// Of what the library makes alone in the same round.
    share: f64,
    cpu_us_per_io: CpuUs,
    /// None where there is none.
    goal: Option<f64>,
    /// What stands in the way, where the goal is missed.
    obstacle: Option<String>,
}

/// Shares of the library's rate that are to be reached.
const GOALS: [(&str, u16, f64); 2] = [(VHOST_USER, 32, 0.85), (NBD, 32, 0.5)];

impl Row {
    /// Of at least one round.
    pub(super) fn new(iodepth: u16, client: &'static str, samples: &[Sample], alone: &[Sample]) -> Self {
        let of = |figure: fn(&Sample) -> f64| round(median(samples.iter().map(figure).collect()), 2);
        let shares = samples.iter().zip(alone).map(|(sample, alone)| sample.iops / alone.iops);
        let iops = round(of(|sample| sample.iops), 0);
        let share = round(median(shares.collect()), 2);
        let cpu = CpuUs {
            san: of(|sample| sample.cpu.san),
            core: of(|sample| sample.cpu.core),
            server: of(|sample| sample.cpu.server),
            client: of(|sample| sample.cpu.client),
        };
        let goal = GOALS.into_iter().find(|(name, depth, _)| (*name, *depth) == (client, iodepth));
        let goal = goal.map(|(.., share)| share);
        let is_missed = goal.is_some_and(|goal| share < goal);
        let obstacle = is_missed.then(|| cpu.obstacle(iops));
        Self { iodepth, client, iops, share, cpu_us_per_io: cpu, goal, obstacle }
    }
}

impl CpuUs {
    fn host(&self) -> f64 {
        self.core + self.server + self.client
    }

    /// Whose CPU time is in the way at this rate.
    fn obstacle(&self, iops: f64) -> String {
        let Self { san, core, server, client } = self;
        let percent = |us: f64| us * iops / 1e4;
        format!(
            "the SAN uses {:.0}% of a CPU, and the host {:.0}%: of {:.1} us an I/O the poll core {core:.1}, the server \
             {server:.1}, the client {client:.1}",
            percent(*san),
            percent(self.host()),
            self.host()
        )
    }
}

impl Report {
    pub(super) fn new(rounds: u16, round_ms: u32, rows: Vec<Row>) -> Self {
        Self { rounds, round_ms, san_has_own_cpu: false, rows }
    }
}

impl Plots for Report {
    fn plots(&self) -> Vec<Plot> {
        let mut depths: Vec<u16> = self.rows.iter().map(|row| row.iodepth).collect();
        depths.dedup();
        let of_depth = |depth: u16| {
            let bars = |title: &str, figure: fn(&Row) -> f64| {
                let rows = self.rows.iter().filter(|row| row.iodepth == depth);
                let bars = rows.map(|row| (row.client.to_owned(), figure(row))).collect();
                Plot::Bars { title: format!("4 KiB random reads, depth {depth}: {title}"), bars }
            };
            [
                bars("IOPS", |row| row.iops),
                bars("CPU time of the host, us an I/O", |row| row.cpu_us_per_io.host()),
            ]
        };
        depths.into_iter().flat_map(of_depth).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = [
            "4 KiB random reads by",
            "depth",
            "IOPS",
            "share",
            "goal",
            "CPU us/IO: SAN",
            "core",
            "server",
            "client",
        ];
        let rows = self.rows.iter().map(|row| {
            let CpuUs { san, core, server, client } = row.cpu_us_per_io;
            let mut cells = vec![row.client.into(), row.iodepth.to_string(), format!("{:.0}", row.iops)];
            cells.push(format!("{:.2}", row.share));
            cells.push(row.goal.map_or_else(String::new, |goal| format!("{goal:.2}")));
            cells.extend([san, core, server, client].map(|us| format!("{us:.2}")));
            cells
        });
        writeln!(f, "{}", table(1, &header, rows))?;
        writeln!(
            f,
            "Medians of {} rounds of {} ms, each in each round. Shares are of what the library makes alone.",
            self.rounds, self.round_ms
        )?;
        let cpus = if self.san_has_own_cpu {
            "The SAN has a CPU of its own, the host the others."
        } else {
            "SAN and host have one CPU together, which says little of a host and a SAN."
        };
        writeln!(f, "{cpus}")?;
        for row in &self.rows {
            if let Some(obstacle) = &row.obstacle {
                writeln!(f, "{}, depth {}: {obstacle}", row.client, row.iodepth)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_of_the_same_rounds_and_what_is_in_the_way_is_said_where_a_goal_is_missed() {
        let sample = |iops: f64| {
            let cpu = CpuUs { san: 9.0, core: 4.0, server: 3.0, client: 1.0 };
            Sample { iops, cpu }
        };
        let alone = [100e3, 50e3, 80e3].map(sample);
        let guest = |share: f64| {
            let samples = alone.map(|alone| sample(alone.iops * share));
            Row::new(32, VHOST_USER, &samples, &alone)
        };
        let reached = guest(0.9);
        assert_eq!((reached.iops, reached.share, reached.goal), (72e3, 0.9, Some(0.85)));
        assert_eq!(reached.obstacle, None);
        assert_eq!(
            guest(0.5).obstacle.unwrap(),
            "the SAN uses 36% of a CPU, and the host 32%: of 8.0 us an I/O the poll core 4.0, the server 3.0, the client 1.0"
        );
        assert_eq!(Row::new(1, VHOST_USER, &alone, &alone).goal, None);
    }
}
