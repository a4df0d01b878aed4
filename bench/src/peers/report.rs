//! One table, and the goals.

use super::XFCOE;
use super::goals::{Outcome, outcomes};
use super::load::Load;
use super::peer::Sample;
use super::perf::End;
use crate::cpu_time::CpuTime;
use crate::page::{Plot, Plots};
use crate::table::{median, table};
use serde::Serialize;
use std::fmt;
use xfcoe::workload::round;

/// Its JSON is one object; names end in their units.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    rounds: usize,
    seconds: u64,
    rows: Vec<Row>,
    goals: Vec<Outcome>,
    /// What stands in the way of goals that are missed.
    profiles: Vec<Profile>,
    /// What failed. Where all rounds did, there is no row.
    failures: Vec<String>,
}

/// What came of a load with a peer: the medians of all rounds.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(super) struct Row {
    pub(super) load: &'static str,
    pub(super) peer: &'static str,
    pub(super) iops: f64,
    pub(super) mb_s: f64,
    /// None where the tool doesn't tell.
    pub(super) p50_us: Option<f64>,
    pub(super) p99_us: Option<f64>,
    pub(super) client: Cpu,
    pub(super) server: Cpu,
    /// Of each round.
    pub(super) iops_of_rounds: Vec<f64>,
}

/// What xfcoe, or one that it is held against, does with its CPUs where a goal is missed.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(super) struct Profile {
    load: &'static str,
    peer: &'static str,
    /// How busy both ends are.
    busy: String,
    /// Where their CPU time goes; nothing without perf.
    ends: Vec<End>,
}

/// What an end does with its CPU.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub(super) struct Cpu {
    pub(super) us_per_io: f64,
    /// Of that, in the kernel.
    pub(super) system_us_per_io: f64,
}

impl Report {
    pub(super) fn new(rounds: usize, seconds: u64, rows: Vec<Row>, failures: Vec<String>) -> Self {
        Self { rounds, seconds, goals: outcomes(&rows), rows, profiles: Vec::new(), failures }
    }

    /// Adds to each goal that is missed where the CPU time goes, by `look` at a load and a peer.
    pub(super) fn add_profiles(&mut self, mut look: impl FnMut(&str, &str) -> anyhow::Result<Vec<End>>) {
        for goal in self.goals.iter().filter(|goal| !goal.reached) {
            for peer in [XFCOE, goal.peer] {
                let is_meant = |row: &&Row| (row.load, row.peer) == (goal.load, peer);
                let row = self.rows.iter().find(is_meant).expect("goals are of rows");
                if self.profiles.iter().any(|known| (known.load, known.peer) == (row.load, row.peer)) {
                    continue;
                }
                let ends = look(row.load, row.peer).unwrap_or_else(|error| {
                    self.failures.push(format!("{}, {}: a profile: {error:#}", row.peer, row.load));
                    Vec::new()
                });
                self.profiles.push(Profile { load: row.load, peer: row.peer, busy: row.busy(), ends });
            }
        }
    }
}

impl Row {
    /// Of at least one round.
    pub(super) fn new(load: Load, peer: &'static str, samples: &[Sample]) -> Self {
        let of = |figure: fn(&Sample) -> f64| median(samples.iter().map(figure).collect());
        let of_some = |figure: fn(&Sample) -> Option<f64>| {
            let known: Option<Vec<f64>> = samples.iter().map(figure).collect();
            known.map(|known| round(median(known), 1))
        };
        let cpu = |end: fn(&Sample) -> CpuTime| {
            let of = |part: fn(CpuTime) -> f64| {
                round(median(samples.iter().map(|sample| part(end(sample)) * 1e6).collect()), 2)
            };
            Cpu { us_per_io: of(|cpu| cpu.user_s + cpu.system_s), system_us_per_io: of(|cpu| cpu.system_s) }
        };
        let iops = of(|sample| sample.iops);
        Self {
            load: load.name,
            peer,
            iops: round(iops, 0),
            mb_s: round(iops * load.len as f64 / 1e6, 1),
            p50_us: of_some(|sample| sample.p50_us),
            p99_us: of_some(|sample| sample.p99_us),
            client: cpu(|sample| sample.client),
            server: cpu(|sample| sample.server),
            iops_of_rounds: samples.iter().map(|sample| round(sample.iops, 0)).collect(),
        }
    }

    /// How busy both ends are, and how much of that is the kernel's.
    fn busy(&self) -> String {
        let end = |cpu: Cpu| {
            let percent = |us_per_io: f64| us_per_io * self.iops / 1e4;
            format!(
                "{:.0}% of a CPU, {:.0}% in the kernel",
                percent(cpu.us_per_io),
                percent(cpu.system_us_per_io)
            )
        };
        format!("client {}, server {}", end(self.client), end(self.server))
    }
}

impl Plots for Report {
    fn plots(&self) -> Vec<Plot> {
        let mut loads: Vec<&str> = self.rows.iter().map(|row| row.load).collect();
        loads.dedup();
        let of_load = |load: &str| {
            let bars = |title: &str, figure: fn(&Row) -> Option<f64>| {
                let rows = self.rows.iter().filter(|row| row.load == load);
                let bars = rows.filter_map(|row| Some((row.peer.to_owned(), figure(row)?))).collect();
                Plot::Bars { title: format!("{load}: {title}"), bars }
            };
            [
                bars("IOPS", |row| Some(row.iops)),
                bars("us that half of them kept", |row| row.p50_us),
                bars("us that 99% of them kept", |row| row.p99_us),
                bars("CPU time of both ends, us an I/O", |row| {
                    Some(row.client.us_per_io + row.server.us_per_io)
                }),
            ]
        };
        loads.into_iter().flat_map(of_load).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header =
            ["load", "peer", "IOPS", "MB/s", "p50 us", "p99 us", "client CPU us/IO", "server CPU us/IO"];
        let tenths = |value: Option<f64>| value.map_or_else(|| "-".into(), |value| format!("{value:.1}"));
        let rows = self.rows.iter().map(|row| {
            vec![
                row.load.into(),
                row.peer.into(),
                format!("{:.0}", row.iops),
                format!("{:.1}", row.mb_s),
                tenths(row.p50_us),
                tenths(row.p99_us),
                format!("{:.2}", row.client.us_per_io),
                format!("{:.2}", row.server.us_per_io),
            ]
        });
        writeln!(f, "{}", table(2, &header, rows))?;
        writeln!(f, "Medians of {} rounds of {} s, each peer in each round.", self.rounds, self.seconds)?;
        if !self.goals.is_empty() {
            let rows = self.goals.iter().map(|goal| {
                vec![
                    goal.load.into(),
                    format!("{} beside {}", goal.figure, goal.peer),
                    format!("{:.2}", goal.goal),
                    format!("{:.2}", goal.ratio),
                    if goal.reached { "reached" } else { "missed" }.into(),
                ]
            });
            writeln!(f, "{}", table(2, &["xfcoe's goals", "times as good", "goal", "is", ""], rows))?;
        }
        for Profile { load, peer, busy, ends } in &self.profiles {
            writeln!(f, "{load}, {peer}: {busy}")?;
            ends.iter().try_for_each(|end| writeln!(f, "    {end}"))?;
        }
        self.failures.iter().try_for_each(|failure| writeln!(f, "failed: {failure}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::load::LOADS;
    use crate::peers::{NBDKIT, NBDKIT_NO_OFFLOAD};

    fn row(load: Load, peer: &'static str, iops: [f64; 3], p50_us: f64, cpu_us: f64) -> Row {
        let cpu = CpuTime { user_s: cpu_us / 4e6, system_s: cpu_us * 3.0 / 4e6 };
        let sample = |iops| Sample { iops, p50_us: Some(p50_us), p99_us: None, client: cpu, server: cpu };
        Row::new(load, peer, &iops.map(sample))
    }

    #[test]
    fn a_row_has_medians() {
        let row = row(LOADS[0], XFCOE, [90e3, 70e3, 80e3], 11.0, 8.0);
        assert_eq!((row.iops, row.mb_s, row.p50_us, row.p99_us), (80e3, 327.7, Some(11.0), None));
        assert_eq!(row.client, Cpu { us_per_io: 8.0, system_us_per_io: 6.0 });
        assert_eq!(
            row.busy(),
            "client 64% of a CPU, 48% in the kernel, server 64% of a CPU, 48% in the kernel"
        );
    }

    #[test]
    fn goals_are_held_against_the_best_of_a_kind() {
        let report = |ours: f64| {
            let rows = vec![
                row(LOADS[0], XFCOE, [ours; 3], 10.0, 8.0),
                row(LOADS[0], NBDKIT[0], [10e3; 3], 90.0, 50.0),
                row(LOADS[0], NBDKIT_NO_OFFLOAD[1], [9e3; 3], 70.0, 50.0),
                row(LOADS[1], NBDKIT[0], [60e3; 3], 500.0, 17.0),
            ];
            Report::new(3, 1, rows, Vec::new()).goals
        };
        let [iops, p50] = &report(80e3)[..] else { panic!("of what was not measured nothing is said") };
        assert_eq!((iops.peer, iops.ratio, iops.reached), (NBDKIT[0], 8.0, true));
        assert_eq!((p50.peer, p50.ratio, p50.reached), (NBDKIT_NO_OFFLOAD[1], 7.0, false));
        assert!(!report(79e3)[0].reached);
    }

    #[test]
    fn where_a_goal_is_missed_both_are_looked_at_once() {
        let rows = vec![
            row(LOADS[0], XFCOE, [10e3; 3], 100.0, 8.0),
            row(LOADS[0], NBDKIT[0], [10e3; 3], 90.0, 50.0),
        ];
        let mut report = Report::new(3, 1, rows, Vec::new());
        let mut looked = Vec::new();
        report.add_profiles(|_, peer| {
            looked.push(peer.to_owned());
            anyhow::ensure!(peer == XFCOE, "it doesn't want to");
            Ok(vec![End { end: "client", places: Vec::new() }])
        });
        assert_eq!(looked, [XFCOE, NBDKIT[0]], "though two goals are missed");
        assert_eq!(report.profiles.iter().map(|profile| profile.ends.len()).collect::<Vec<_>>(), [1, 0]);
        assert_eq!(report.failures.len(), 1);
        let said = report.to_string();
        assert!(said.contains("xfcoe: client 8% of a CPU, 6% in the kernel"), "{said}");
    }
}
