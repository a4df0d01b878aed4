//! How a daemon stands.

use crate::exports::ExportStatus;
use crate::list::Listing;
use crate::session::{RunningPort, Session};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What `xfcoe status` shows.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Status {
    #[serde(flatten)]
    listing: Listing,
    exports: Vec<ExportStatus>,
    counters: Vec<PortCounters>,
}

/// What a port's poll core has counted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct PortCounters {
    port: String,
    commands: u64,
    failed_commands: u64,
    lost_commands: u64,
    aborts: u64,
    read_bytes: u64,
    written_bytes: u64,
    dropped_frames: u64,
    /// That found no room in the port's rings: its cores were late.
    missed_frames: u64,
    unsent_frames: u64,
    open_exchanges: usize,
    p50_us: u64,
    p99_us: u64,
    /// How often a poll core was kept from its CPU for a millisecond and more.
    stalls: u64,
    stalled_ms: u64,
}

impl Status {
    pub(super) fn new(session: &Session, exports: Vec<ExportStatus>) -> Self {
        let counters = session.ports.iter().filter_map(PortCounters::new).collect();
        Self { listing: Listing::of(session), exports, counters }
    }
}

impl PortCounters {
    fn new(port: &RunningPort) -> Option<Self> {
        let report = port.initiator.report().ok()?;
        let counters = &report.counters;
        let quantile_us = |quantile| report.latency_ns.value_at_quantile(quantile) / 1000;
        Some(Self {
            port: port.name.clone(),
            commands: counters.commands,
            failed_commands: counters.failed,
            lost_commands: counters.lost,
            aborts: counters.aborts,
            read_bytes: counters.read_bytes,
            written_bytes: counters.written_bytes,
            dropped_frames: counters.dropped_total(),
            missed_frames: report.frames.receive_drops,
            unsent_frames: report.frames.send_drops,
            open_exchanges: report.open_exchanges,
            p50_us: quantile_us(0.5),
            p99_us: quantile_us(0.99),
            stalls: counters.stalls,
            stalled_ms: counters.stalled_ns / 1_000_000,
        })
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.listing.fmt(f)?;
        self.exports.iter().try_for_each(|export| export.fmt(f))?;
        self.counters.iter().try_for_each(|counters| counters.fmt(f))
    }
}

impl fmt::Display for PortCounters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            port,
            commands,
            failed_commands,
            lost_commands,
            aborts,
            dropped_frames,
            missed_frames,
            p50_us,
            p99_us,
            stalls,
            stalled_ms,
            ..
        } = self;
        write!(f, "{port}: {commands} commands, p50 {p50_us} us, p99 {p99_us} us; {failed_commands} failed")?;
        write!(
            f,
            ", {lost_commands} lost, {aborts} aborted; {dropped_frames} frames dropped, {missed_frames} missed"
        )?;
        if *stalls > 0 {
            write!(f, "; kept from its CPU {stalls} times, for {stalled_ms} ms")?;
        }
        writeln!(f)
    }
}
