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
    /// Latency that half of the I/Os kept, in microseconds.
    pub p50_us: f64,
    /// Latency that 90% kept.
    pub p90_us: f64,
    /// Latency that 99% kept.
    pub p99_us: f64,
    /// Latency that 99.9% kept.
    pub p999_us: f64,
    /// Latency that 99.99% kept.
    pub p9999_us: f64,
    /// The longest.
    pub max_us: f64,
}

impl Figures {
    /// Those of I/Os of `io_len` bytes, `nanoseconds` with one entry each, that took `elapsed`.
    pub fn new(io_len: usize, nanoseconds: &Histogram<u64>, elapsed: Duration) -> Self {
        let iops = nanoseconds.len() as f64 / elapsed.as_secs_f64().max(1e-9);
        let at = |quantile| round(nanoseconds.value_at_quantile(quantile) as f64 / 1e3, 1);
        Self {
            iops: round(iops, 0),
            mb_s: round(iops * io_len as f64 / 1e6, 1),
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            p9999_us: at(0.9999),
            max_us: at(1.0),
        }
    }
}

/// A table with a row for each of the figures, under their names.
pub fn table<'a>(rows: impl IntoIterator<Item = (&'a str, &'a Figures)>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(["", "IOPS", "MB/s", "p50 us", "p90 us", "p99 us", "p99.9 us", "p99.99 us", "max us"]);
    for (name, figures) in rows {
        let Figures { iops, mb_s, p50_us, p90_us, p99_us, p999_us, p9999_us, max_us } = figures;
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
