//! What became of the frames, as a table for people and as JSON for programs.

use super::ends::{Pace, Sent};
use super::tally::Tally;
use crate::page::{Axis, Plot, Plots, Series};
use crate::table::table;
use fc::wire::ethernet::UNTAGGED_HEADER_LEN;
use serde::Serialize;
use std::fmt;
use std::time::Duration;
use xfcoe::workload::{Latency, round};

/// Bytes around an Ethernet frame on the wire: preamble 8, FCS 4, gap 12.
const WIRE_OVERHEAD: usize = 24;

/// All trials. Its JSON is one object; names end in their units.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    pub(super) trials: Vec<Trial>,
}

/// Frames of one size at one rate.
#[derive(Debug, Serialize)]
pub(super) struct Trial {
    /// Bytes of FCoE in a frame.
    pub(super) size_bytes: usize,
    /// None: as many as could be.
    pub(super) offered_fps: Option<f64>,
    pub(super) burst: Option<u64>,
    /// Frames a second that were sent; at a receiver alone, those that came.
    pub(super) fps: f64,
    /// The same on a wire, with all that is around a frame.
    pub(super) gbit_s: f64,
    /// Frames; none where the sender is elsewhere, and the rest where the receiver is.
    pub(super) sent: Option<u64>,
    pub(super) received: Option<u64>,
    pub(super) lost: Option<u64>,
    pub(super) reordered: Option<u64>,
    pub(super) duplicates: Option<u64>,
    pub(super) damaged: Option<u64>,
    /// How long frames were under way, from before they were written to when their batch was seen. None between two
    /// processes, whose clocks may differ.
    pub(super) latency: Option<Latency>,
}

impl Trial {
    /// One of a sender, and of the receiver if that is here, too.
    pub(super) fn of_sender(size: usize, pace: Pace, sent: Sent, tally: Option<&Tally>) -> Self {
        let of_tally = |count: fn(&Tally) -> u64| tally.map(count);
        Self {
            offered_fps: pace.fps,
            burst: Some(pace.burst),
            sent: Some(sent.frames),
            lost: tally.map(|tally| sent.frames - tally.received),
            latency: tally.map(|tally| &tally.latencies_ns).filter(|ns| !ns.is_empty()).map(Latency::new),
            received: of_tally(|tally| tally.received),
            reordered: of_tally(|tally| tally.reordered),
            duplicates: of_tally(|tally| tally.duplicates),
            damaged: of_tally(|tally| tally.damaged),
            ..Self::of_rate(size, sent.frames, sent.elapsed)
        }
    }

    /// One of a receiver alone, whose first and last frame came `elapsed` apart.
    pub(super) fn of_receiver(size: usize, tally: &Tally, elapsed: Duration) -> Self {
        Self {
            received: Some(tally.received),
            lost: Some(tally.sent_at_least() - tally.received),
            reordered: Some(tally.reordered),
            duplicates: Some(tally.duplicates),
            damaged: Some(tally.damaged),
            ..Self::of_rate(size, tally.received, elapsed)
        }
    }

    /// Frames a second that came to the other end; those that were sent, where nobody knows.
    pub(super) fn received_fps(&self) -> f64 {
        match (self.sent, self.received) {
            (Some(sent), Some(received)) => self.fps * received as f64 / sent.max(1) as f64,
            _ => self.fps,
        }
    }

    fn of_rate(size: usize, frames: u64, elapsed: Duration) -> Self {
        let fps = frames as f64 / elapsed.as_secs_f64().max(1e-9);
        let wire_bits = (UNTAGGED_HEADER_LEN + size + WIRE_OVERHEAD) as f64 * 8.0;
        Self {
            size_bytes: size,
            offered_fps: None,
            burst: None,
            fps: round(fps, 0),
            gbit_s: round(fps * wire_bits / 1e9, 3),
            sent: None,
            received: None,
            lost: None,
            reordered: None,
            duplicates: None,
            damaged: None,
            latency: None,
        }
    }
}

impl Plots for Report {
    fn plots(&self) -> Vec<Plot> {
        let over_size = |title: &str, label, name: &str, figure: fn(&Trial) -> f64| {
            let points = self.trials.iter().map(|trial| (trial.size_bytes as f64, figure(trial))).collect();
            let series = vec![Series { name: name.into(), points }];
            Plot::Lines {
                title: title.into(),
                x: Axis::linear("bytes of FCoE"),
                y: Axis::linear(label),
                series,
            }
        };
        let latencies = self.trials.iter().filter_map(|trial| {
            Some((format!("{} bytes", trial.size_bytes), trial.latency.as_ref()?.percentiles()))
        });
        vec![
            over_size("Frames over size", "a second", "frames", |trial| trial.fps),
            over_size("Rate over size", "Gbit/s", "on the wire", |trial| trial.gbit_s),
            Plot::percentiles(latencies),
        ]
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = [
            "FCoE bytes",
            "frames/s",
            "Gbit/s",
            "lost",
            "reordered",
            "doubled",
            "damaged",
            "p50 us",
            "p99 us",
            "p99.9 us",
            "max us",
        ];
        let rows = self.trials.iter().map(|trial| {
            let count = |count: Option<u64>| count.map_or_else(|| "-".into(), |count| count.to_string());
            let us = |of: fn(&Latency) -> f64| {
                trial.latency.as_ref().map_or_else(|| "-".into(), |latency| format!("{:.1}", of(latency)))
            };
            vec![
                trial.size_bytes.to_string(),
                format!("{:.0}", trial.fps),
                format!("{:.2}", trial.gbit_s),
                count(trial.lost),
                count(trial.reordered),
                count(trial.duplicates),
                count(trial.damaged),
                us(|latency| latency.p50_us),
                us(|latency| latency.p99_us),
                us(|latency| latency.p999_us),
                us(|latency| latency.max_us),
            ]
        });
        writeln!(f, "{}", table(1, &header, rows))?;
        if self.trials.iter().any(|trial| trial.latency.is_none()) {
            writeln!(f, "How long frames were under way takes both ends in one process, by one clock.")?;
        }
        Ok(())
    }
}
