//! What came of it, for people and for programs.

use super::Io;
use clap::ValueEnum as _;
use initiator::Disk;
use serde::Serialize;
use std::fmt;
use xfcoe::workload::{Figures, Measured, Workload, round, table};

/// One measurement. Its JSON is one object; names end in their units.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(super) struct Report {
    lun: String,
    rw: String,
    bs_bytes: usize,
    iodepth: usize,
    offset_bytes: u64,
    size_bytes: u64,
    runtime_s: f64,
    /// None if nothing was to be read.
    read: Option<Figures>,
    /// None if nothing was to be written.
    write: Option<Figures>,
    /// Of this whole process, user and system.
    cpu_us_per_io: f64,
    /// None without --verify.
    verified: Option<Verified>,
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
        measured: &Measured,
        verified: Option<Verified>,
    ) -> Self {
        let Measured { reads, writes, elapsed, cpu } = measured;
        let figures = |latencies| Figures::new(workload.io_len, latencies, *elapsed);
        let ios = (reads.len() + writes.len()).max(1);
        Self {
            lun: disk.to_string(),
            rw: args.rw.to_possible_value().map_or_else(String::new, |value| value.get_name().into()),
            bs_bytes: workload.io_len,
            iodepth: workload.depth,
            offset_bytes: workload.range.start,
            size_bytes: workload.range.end - workload.range.start,
            runtime_s: round(elapsed.as_secs_f64(), 3),
            read: (workload.read_percent > 0).then(|| figures(reads)),
            write: (workload.read_percent < 100).then(|| figures(writes)),
            cpu_us_per_io: round(cpu.as_secs_f64() * 1e6 / ios as f64, 2),
            verified,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lun, rw, bs_bytes, iodepth, runtime_s, .. } = self;
        writeln!(f, "{lun}: {rw}, bs {bs_bytes}, iodepth {iodepth}, {runtime_s:.1} s")?;
        let rows = [("read", &self.read), ("write", &self.write)];
        writeln!(
            f,
            "{}",
            table(rows.into_iter().filter_map(|(name, figures)| Some((name, figures.as_ref()?))))
        )?;
        writeln!(f, "CPU time  {:.2} us per I/O", self.cpu_us_per_io)?;
        match &self.verified {
            Some(Verified { reads }) => writeln!(f, "verified  {reads} reads, every byte as written last"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let write = Figures {
            iops: 2000.0,
            mb_s: 8.2,
            p50_us: 500.2,
            p90_us: 900.1,
            p99_us: 990.2,
            p999_us: 999.4,
            p9999_us: 1000.4,
            max_us: 1000.4,
        };
        Report {
            lun: "20:00:02:fc:f0:00:01:01/0".into(),
            rw: "randwrite".into(),
            bs_bytes: 4096,
            iodepth: 32,
            offset_bytes: 0,
            size_bytes: 1 << 20,
            runtime_s: 0.5,
            read: None,
            write: Some(write),
            cpu_us_per_io: 7.25,
            verified: Some(Verified { reads: 256 }),
        }
    }

    #[test]
    fn json_is_one_object_of_known_fields() {
        assert_eq!(
            serde_json::to_string(&report()).unwrap(),
            "{\"lun\":\"20:00:02:fc:f0:00:01:01/0\",\"rw\":\"randwrite\",\"bs_bytes\":4096,\"iodepth\":32,\
             \"offset_bytes\":0,\"size_bytes\":1048576,\"runtime_s\":0.5,\"read\":null,\"write\":{\"iops\":2000.0,\
             \"mb_s\":8.2,\"p50_us\":500.2,\"p90_us\":900.1,\"p99_us\":990.2,\"p999_us\":999.4,\"p9999_us\":1000.4,\
             \"max_us\":1000.4},\"cpu_us_per_io\":7.25,\"verified\":{\"reads\":256}}"
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
            ["CPU time  7.25 us per I/O", "verified  256 reads, every byte as written last"]
        );
    }
}
