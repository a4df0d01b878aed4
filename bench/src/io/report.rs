//! What came of it, for people and for programs.

use super::Io;
use crate::cpu_time::CpuTime;
use crate::page::{Axis, Plot, Plots, Series};
use clap::ValueEnum as _;
use initiator::Disk;
use serde::Serialize;
use std::fmt;
use xfcoe::session::Session;
use xfcoe::workload::{Figures, Measured, Workload, round, table};

/// All that was measured. Its JSON is one object; names end in their units.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(super) struct Report {
    lun: String,
    rw: String,
    bs_bytes: usize,
    /// Whether read data was taken where it was received.
    in_place: bool,
    offset_bytes: u64,
    size_bytes: u64,
    runs: Vec<AtDepth>,
    /// None without --verify.
    verified: Option<Verified>,
}

/// What was measured at a depth, as it came.
pub(super) struct Run {
    pub(super) iodepth: u16,
    pub(super) measured: Measured,
    pub(super) stalls: Stalls,
    /// Of the target's process, if it is known.
    pub(super) target_cpu: Option<CpuTime>,
}

/// How a poll core was kept from its CPU, by other threads or by a hypervisor: the longest latencies come of it.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(super) struct Stalls {
    /// How often, for a millisecond and more.
    stalls: u64,
    stalled_ms: f64,
}

impl Stalls {
    /// Those of all cores since they run. A core that has stopped has none.
    pub(super) fn until_now(session: &Session) -> Self {
        let reports = session.ports.iter().filter_map(|port| port.initiator.report().ok());
        let counters = reports.map(|report| (report.counters.stalls, report.counters.stalled_ns));
        let (stalls, ns) = counters.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        Self { stalls, stalled_ms: ns as f64 / 1e6 }
    }

    pub(super) fn since(&self, before: &Self) -> Self {
        Self {
            stalls: self.stalls.saturating_sub(before.stalls),
            stalled_ms: round((self.stalled_ms - before.stalled_ms).max(0.0), 1),
        }
    }
}

/// What was measured at a depth.
#[derive(Clone, PartialEq, Debug, Serialize)]
struct AtDepth {
    iodepth: u16,
    runtime_s: f64,
    /// None if nothing was to be read.
    read: Option<Figures>,
    /// None if nothing was to be written.
    write: Option<Figures>,
    /// Of this whole process, user and system.
    cpu_us_per_io: f64,
    /// Of the target's. None without --target-pid.
    target_cpu_us_per_io: Option<f64>,
    #[serde(flatten)]
    stalls: Stalls,
}

/// What was compared. One wrong byte would have ended it.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(super) struct Verified {
    /// How many I/Os had what was written last.
    pub(super) reads: u64,
}

impl Report {
    pub(super) fn new(
        disk: &Disk,
        args: &Io,
        workload: &Workload,
        runs: &[Run],
        verified: Option<Verified>,
    ) -> Self {
        Self {
            lun: disk.to_string(),
            rw: args.rw.to_possible_value().map_or_else(String::new, |value| value.get_name().into()),
            bs_bytes: workload.io_len,
            in_place: workload.in_place,
            offset_bytes: workload.range.start,
            size_bytes: workload.range.end - workload.range.start,
            runs: runs.iter().map(|run| AtDepth::new(workload, run)).collect(),
            verified,
        }
    }
}

impl AtDepth {
    fn new(workload: &Workload, run: &Run) -> Self {
        let Measured { reads, writes, elapsed, cpu } = &run.measured;
        let figures = |latencies| Figures::new(workload.io_len, latencies, *elapsed);
        let ios = (reads.len() + writes.len()).max(1);
        let us_per_io = |seconds| round(seconds * 1e6 / ios as f64, 2);
        Self {
            iodepth: run.iodepth,
            runtime_s: round(elapsed.as_secs_f64(), 3),
            read: (workload.read_percent > 0).then(|| figures(reads)),
            write: (workload.read_percent < 100).then(|| figures(writes)),
            cpu_us_per_io: us_per_io(cpu.as_secs_f64()),
            target_cpu_us_per_io: run.target_cpu.map(|cpu| us_per_io(cpu.total_s())),
            stalls: run.stalls.clone(),
        }
    }

    /// Reads and writes, as far as there were any.
    fn kinds(&self) -> impl Iterator<Item = (&str, &Figures)> {
        [("read", &self.read), ("write", &self.write)]
            .into_iter()
            .filter_map(|(name, figures)| Some((name, figures.as_ref()?)))
    }
}

impl Plots for Report {
    fn plots(&self) -> Vec<Plot> {
        let over_depth = |title: &str, label, value: fn(&Figures) -> f64| {
            let series = ["read", "write"].map(|kind| {
                let points = self.runs.iter().flat_map(|run| {
                    let of_kind = run.kinds().filter(move |(name, _)| *name == kind);
                    of_kind.map(|(_, figures)| (f64::from(run.iodepth), value(figures)))
                });
                Series { name: kind.into(), points: points.collect() }
            });
            Plot::Lines {
                title: title.into(),
                x: Axis::logarithmic("I/Os that are out"),
                y: Axis::linear(label),
                series: series.into_iter().filter(|series| !series.points.is_empty()).collect(),
            }
        };
        let latencies = self.runs.iter().flat_map(|run| {
            run.kinds().map(|(name, figures)| {
                (format!("{name}, depth {}", run.iodepth), figures.latency.percentiles())
            })
        });
        vec![
            over_depth("IOPS over depth", "IOPS", |figures| figures.iops),
            over_depth("Half of them within", "us", |figures| figures.latency.p50_us),
            Plot::percentiles(latencies),
        ]
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lun, rw, bs_bytes, in_place, runs, verified, .. } = self;
        let in_place = if *in_place { ", in place" } else { "" };
        for run in runs {
            let (iodepth, runtime_s) = (run.iodepth, run.runtime_s);
            writeln!(f, "{lun}: {rw}, bs {bs_bytes}, iodepth {iodepth}{in_place}, {runtime_s:.1} s")?;
            writeln!(f, "{}", table(run.kinds()))?;
            write!(f, "CPU time  {:.2} us per I/O", run.cpu_us_per_io)?;
            if let Some(target) = run.target_cpu_us_per_io {
                write!(f, ", and {target:.2} us of the target's")?;
            }
            writeln!(f)?;
            if let Stalls { stalls: stalls @ 1.., stalled_ms } = run.stalls {
                writeln!(
                    f,
                    "stalls    {stalls} of the poll core, {stalled_ms:.1} ms: it was kept from its CPU"
                )?;
            }
        }
        match verified {
            Some(Verified { reads }) => writeln!(f, "verified  {reads} reads, every byte as written last"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xfcoe::workload::Latency;

    fn report() -> Report {
        let write = Figures {
            iops: 2000.0,
            mb_s: 8.2,
            latency: Latency {
                p50_us: 500.2,
                p90_us: 900.1,
                p99_us: 990.2,
                p999_us: 999.4,
                p9999_us: 1000.4,
                max_us: 1000.4,
            },
        };
        Report {
            lun: "20:00:02:fc:f0:00:01:01/0".into(),
            rw: "randwrite".into(),
            bs_bytes: 4096,
            in_place: false,
            offset_bytes: 0,
            size_bytes: 1 << 20,
            runs: vec![AtDepth {
                iodepth: 32,
                runtime_s: 0.5,
                read: None,
                write: Some(write),
                cpu_us_per_io: 7.25,
                target_cpu_us_per_io: Some(6.5),
                stalls: Stalls { stalls: 2, stalled_ms: 9.1 },
            }],
            verified: Some(Verified { reads: 256 }),
        }
    }

    #[test]
    fn json_is_one_object_of_known_fields() {
        assert_eq!(
            serde_json::to_string(&report()).unwrap(),
            "{\"lun\":\"20:00:02:fc:f0:00:01:01/0\",\"rw\":\"randwrite\",\"bs_bytes\":4096,\"in_place\":false,\
             \"offset_bytes\":0,\"size_bytes\":1048576,\"runs\":[{\"iodepth\":32,\"runtime_s\":0.5,\"read\":null,\"write\":{\"iops\":2000.0,\
             \"mb_s\":8.2,\"p50_us\":500.2,\"p90_us\":900.1,\"p99_us\":990.2,\"p999_us\":999.4,\"p9999_us\":1000.4,\
             \"max_us\":1000.4},\"cpu_us_per_io\":7.25,\"target_cpu_us_per_io\":6.5,\"stalls\":2,\"stalled_ms\":9.1}],\"verified\":{\"reads\":256}}"
        );
    }

    #[test]
    fn the_table_says_the_same() {
        let text = report().to_string();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "20:00:02:fc:f0:00:01:01/0: randwrite, bs 4096, iodepth 32, 0.5 s");
        assert!(lines[4].starts_with("│ write ┆ 2000 ┆  8.2 ┆  500.2 ┆"), "{text}");
        assert_eq!(
            lines[6..],
            [
                "CPU time  7.25 us per I/O, and 6.50 us of the target's",
                "stalls    2 of the poll core, 9.1 ms: it was kept from its CPU",
                "verified  256 reads, every byte as written last"
            ]
        );
    }
}
