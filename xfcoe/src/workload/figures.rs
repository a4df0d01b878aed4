//! Rate and latencies, as a table for people and as JSON for programs.

use comfy_table::{CellAlignment, Table, presets};
use hdrhistogram::Histogram;
use serde::Serialize;
use std::time::Duration;

/// The figures of I/Os of one kind. Names end in their units.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Figures {
    /// I/Os a second.
    pub iops: f64,
    /// 10^6 bytes a second.
    pub mb_s: f64,
    /// How long they took.
    #[serde(flatten)]
    pub latency: Latency,
}

/// How long it took, in microseconds.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Latency {
    /// What half of them kept.
    pub p50_us: f64,
    /// What 90% kept.
    pub p90_us: f64,
    /// What 99% kept.
    pub p99_us: f64,
    /// What 99.9% kept.
    pub p999_us: f64,
    /// What 99.99% kept.
    pub p9999_us: f64,
    /// The longest.
    pub max_us: f64,
}

impl Figures {
    /// Those of I/Os of `io_len` bytes, `nanoseconds` with one entry each, that took `elapsed`.
    pub fn new(io_len: usize, nanoseconds: &Histogram<u64>, elapsed: Duration) -> Self {
        let iops = nanoseconds.len() as f64 / elapsed.as_secs_f64().max(1e-9);
        Self {
            iops: round(iops, 0),
            mb_s: round(iops * io_len as f64 / 1e6, 1),
            latency: Latency::new(nanoseconds),
        }
    }
}

impl Latency {
    /// That of `nanoseconds`, with one entry each.
    pub fn new(nanoseconds: &Histogram<u64>) -> Self {
        let at = |quantile| round(nanoseconds.value_at_quantile(quantile) as f64 / 1e3, 1);
        Self {
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            p9999_us: at(0.9999),
            max_us: at(1.0),
        }
    }

    /// The percentages, and what so many kept.
    pub fn percentiles(&self) -> Vec<(f64, f64)> {
        let Self { p50_us, p90_us, p99_us, p999_us, p9999_us, .. } = *self;
        vec![(50.0, p50_us), (90.0, p90_us), (99.0, p99_us), (99.9, p999_us), (99.99, p9999_us)]
    }
}

/// A table with a row for each of the figures, under their names.
pub fn table<'a>(rows: impl IntoIterator<Item = (&'a str, &'a Figures)>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(["", "IOPS", "MB/s", "p50 us", "p90 us", "p99 us", "p99.9 us", "p99.99 us", "max us"]);
    for (name, figures) in rows {
        let Figures { iops, mb_s, latency } = figures;
        let Latency { p50_us, p90_us, p99_us, p999_us, p9999_us, max_us } = latency;
        let tenths =
            [mb_s, p50_us, p90_us, p99_us, p999_us, p9999_us, max_us].map(|value| format!("{value:.1}"));
        table.add_row([name.to_string(), format!("{iops:.0}")].into_iter().chain(tenths));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// No more digits than were measured.
pub fn round(value: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits);
    (value * scale).round() / scale
}
