//! What a demo found out, as a table for people and as JSON for programs.

use crate::workload::{Figures, table};
use serde::Serialize;
use std::fmt;

/// The whole demo. Its JSON is one object; names end in their units.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Report {
    /// From starting the initiator to the first disk, in milliseconds.
    pub login_ms: f64,
    /// Bytes written and read back.
    pub verified_bytes: u64,
    /// Whether all of them came back as they were written.
    pub verify_ok: bool,
    /// SHA-256 of what was written.
    #[serde(skip)]
    pub written_sha256: [u8; 32],
    /// SHA-256 of what was read.
    #[serde(skip)]
    pub read_sha256: [u8; 32],
    /// Frames whose FC CRC was wrong, at both ends together.
    pub crc_errors: u64,
    /// The measurements.
    pub runs: Vec<Run>,
    /// Frames that the initiator sent and received.
    #[serde(skip)]
    pub frames: u64,
}

/// One measurement.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Run {
    /// What was done.
    pub name: &'static str,
    /// What came of it.
    #[serde(flatten)]
    pub figures: Figures,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.verify_ok { "every byte as written" } else { "NOT as written" };
        writeln!(f, "login to disk   {:.1} ms", self.login_ms)?;
        writeln!(f, "verified        {} MiB, {verdict}", self.verified_bytes >> 20)?;
        writeln!(f, "sha256 written  {}", hex(&self.written_sha256))?;
        writeln!(f, "sha256 read     {}", hex(&self.read_sha256))?;
        writeln!(f, "frames          {}, {} with a wrong CRC", self.frames, self.crc_errors)?;
        writeln!(f)?;
        writeln!(f, "{}", table(self.runs.iter().map(|run| (run.name, &run.figures))))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hdrhistogram::Histogram;
    use std::time::Duration;

    fn report() -> Report {
        let mut nanoseconds = Histogram::new(3).unwrap();
        for microseconds in 1..=1000 {
            nanoseconds.record(microseconds * 1000).unwrap();
        }
        let figures = Figures::new(4096, &nanoseconds, Duration::from_millis(500));
        let run = Run { name: "4 KiB reads, depth 1", figures };
        Report {
            login_ms: 12.3,
            verified_bytes: 256 << 20,
            verify_ok: true,
            written_sha256: [0xab; 32],
            read_sha256: [0xab; 32],
            crc_errors: 0,
            runs: vec![run],
            frames: 4711,
        }
    }

    #[test]
    fn json_is_one_object_of_known_fields() {
        assert_eq!(
            serde_json::to_string(&report()).unwrap(),
            "{\"login_ms\":12.3,\"verified_bytes\":268435456,\"verify_ok\":true,\"crc_errors\":0,\"runs\":[{\
             \"name\":\"4 KiB reads, depth 1\",\"iops\":2000.0,\"mb_s\":8.2,\"p50_us\":500.2,\"p90_us\":900.1,\
             \"p99_us\":990.2,\"p999_us\":999.4,\"p9999_us\":1000.4,\"max_us\":1000.4}]}"
        );
    }

    #[test]
    fn the_table_says_the_same() {
        let text = report().to_string();
        let digest = "ab".repeat(32);
        let lines: Vec<_> = text.lines().map(str::trim_end).collect();
        assert_eq!(
            lines,
            [
                "login to disk   12.3 ms",
                "verified        256 MiB, every byte as written",
                &format!("sha256 written  {digest}"),
                &format!("sha256 read     {digest}"),
                "frames          4711, 0 with a wrong CRC",
                "",
                "┌──────────────────────┬──────┬──────┬────────┬────────┬────────┬──────────┬───────────┬────────┐",
                "│                      ┆ IOPS ┆ MB/s ┆ p50 us ┆ p90 us ┆ p99 us ┆ p99.9 us ┆ p99.99 us ┆ max us │",
                "╞══════════════════════╪══════╪══════╪════════╪════════╪════════╪══════════╪═══════════╪════════╡",
                "│ 4 KiB reads, depth 1 ┆ 2000 ┆  8.2 ┆  500.2 ┆  900.1 ┆  990.2 ┆    999.4 ┆    1000.4 ┆ 1000.4 │",
                "└──────────────────────┴──────┴──────┴────────┴────────┴────────┴──────────┴───────────┴────────┘",
            ]
        );
    }
}
