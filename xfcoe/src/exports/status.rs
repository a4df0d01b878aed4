//! Exports as the operator sees them.

use crate::config::{ExportConfig, Outlet};
use export::{Counters, Export};
use indicatif::BinaryBytes;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// What has happened to an export.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Note {
    pub(crate) export: String,
    pub(crate) note: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "export {}: {}", self.export, self.note)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    Waiting,
    Serving,
    Ended,
}

/// An export.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct ExportStatus {
    name: String,
    lun: String,
    /// How and where it is had.
    at: String,
    state: State,
    /// What is against it, or with its LUN.
    trouble: Option<String>,
    read_only: bool,
    /// What follows is known, and counted, while it is served.
    bytes: Option<u64>,
    block_bytes: Option<u32>,
    clients: usize,
    reads: u64,
    read_bytes: u64,
    writes: u64,
    written_bytes: u64,
    flushes: u64,
    trims: u64,
    failed_requests: u64,
    refused_requests: u64,
    /// Clients whose connection ended for what they did wrong.
    clients_cut_off: u64,
}

impl ExportStatus {
    pub(super) fn new(
        config: &ExportConfig,
        outlet: &Outlet,
        state: State,
        trouble: Option<String>,
        export: Option<&Export>,
    ) -> Self {
        let geometry = export.map(Export::geometry);
        let count = |counter: fn(&Counters) -> &AtomicU64| {
            export.map_or(0, |export| counter(export.counters()).load(Ordering::Relaxed))
        };
        Self {
            name: config.name.clone(),
            lun: config.lun.to_string(),
            at: outlet.to_string(),
            state,
            trouble,
            read_only: geometry.map_or(config.read_only, |geometry| geometry.read_only),
            bytes: geometry.map(|geometry| geometry.len()),
            block_bytes: geometry.map(|geometry| geometry.block_len),
            clients: export.map_or(0, Export::clients),
            reads: count(|counters| &counters.reads),
            read_bytes: count(|counters| &counters.read_bytes),
            writes: count(|counters| &counters.writes),
            written_bytes: count(|counters| &counters.written_bytes),
            flushes: count(|counters| &counters.flushes),
            trims: count(|counters| &counters.trims),
            failed_requests: count(|counters| &counters.failed),
            refused_requests: count(|counters| &counters.refused),
            clients_cut_off: count(|counters| &counters.cut_off),
        }
    }
}

impl fmt::Display for ExportStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, lun, at, clients, reads, writes, failed_requests, refused_requests, .. } = self;
        write!(f, "export {name}: LUN {lun} at {at}")?;
        if let (Some(bytes), Some(block_bytes)) = (self.bytes, self.block_bytes) {
            write!(f, ", {} in blocks of {block_bytes}", BinaryBytes(bytes))?;
        }
        if self.read_only {
            write!(f, ", read-only")?;
        }
        match (self.state, &self.trouble) {
            (State::Serving, None) => writeln!(f)?,
            (_, Some(trouble)) => writeln!(f, ": {trouble}")?,
            (State::Waiting | State::Ended, None) => writeln!(f, ": not served yet")?,
        }
        if self.state == State::Serving {
            let (read, written) = (BinaryBytes(self.read_bytes), BinaryBytes(self.written_bytes));
            write!(f, "  {clients} clients; {reads} reads of {read}, {writes} writes of {written}")?;
            write!(f, ", {} flushes, {} trims", self.flushes, self.trims)?;
            write!(f, "; {failed_requests} requests failed, {refused_requests} refused")?;
            writeln!(f, "; {} clients cut off", self.clients_cut_off)?;
        }
        Ok(())
    }
}
