//! I/O to a disk at a fixed depth, measured, and checked if wanted. `xfcoe demo` and `xfcoe-bench io` run it.

mod figures;
mod ledger;
mod task;

pub use figures::{Figures, Latency, round, table};
pub use ledger::{Ledger, LedgerError, WrongData};

use crate::interrupt::Interrupt;
use hdrhistogram::Histogram;
use initiator::{Disk, DiskError};
use std::ops::Range;
use std::sync::mpsc::sync_channel;
use std::time::Duration;
use task::WorkloadTask;
pub use task::cpu_time;
use thiserror::Error;

/// What is done to a disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Workload {
    /// In which order the places of the range are taken.
    pub order: Order,
    /// How many of a hundred I/Os read; the others write.
    pub read_percent: u8,
    /// Bytes of an I/O: whole blocks, at most what one request moves.
    pub io_len: usize,
    /// I/Os that are out at any time.
    pub depth: usize,
    /// Whether read data is taken where it was received, and not copied.
    pub in_place: bool,
    /// The bytes of the disk that are used: whole blocks. What is left behind the last whole I/O is not touched.
    pub range: Range<u64>,
    /// When it ends.
    pub end: End,
}

/// In which order places are taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// One after the other, and from the beginning again.
    Sequential,
    /// Any.
    Random,
}

/// When a workload ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// After this long: no more I/Os begin, and those that are out are waited for.
    After(Duration),
    /// After as many I/Os as the range has places.
    Once,
}

/// What was measured.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Nanoseconds of each read.
    pub reads: Histogram<u64>,
    /// Nanoseconds of each write.
    pub writes: Histogram<u64>,
    /// From the first submission to the last end.
    pub elapsed: Duration,
    /// CPU time of this whole process meanwhile, user and system: its poll cores spin in it, too.
    pub cpu: Duration,
}

/// Why a workload ended early.
#[derive(Debug, Error)]
pub enum WorkloadError {
    /// The range has no place for an I/O.
    #[error("{} bytes of the LUN have no room for an I/O of {io_len}", .range.end - .range.start)]
    NoPlace {
        /// The range.
        range: Range<u64>,
        /// Bytes of an I/O.
        io_len: usize,
    },
    /// The disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// What was read is not what was written.
    #[error("the LUN does not give back what was written to it: {0}")]
    WrongData(#[from] WrongData),
    /// The interface, most likely.
    #[error("the poll core stopped; is its interface gone?")]
    CoreStopped,
}

impl Workload {
    /// Runs it on the thread of the disk's poll core, as that no other thread is to be woken is what the least
    /// latency takes. With a ledger, every place is written with its pattern, and what is read from places that are
    /// written is compared.
    ///
    /// An interrupt ends it early and is no error: what was measured until then is returned.
    ///
    /// # Errors
    /// The first that happens. The ledger is gone with it.
    ///
    /// # Panics
    /// If `io_len` or the range is no whole number of blocks, or the ledger is another range's.
    pub fn run(
        &self,
        disk: &Disk,
        ledger: &mut Option<Ledger>,
        interrupt: &Interrupt,
    ) -> Result<Measured, WorkloadError> {
        if self.places() == 0 {
            return Err(WorkloadError::NoPlace { range: self.range.clone(), io_len: self.io_len });
        }
        let (ended, result) = sync_channel(1);
        let task = WorkloadTask::new(self, disk, ledger.take(), interrupt.clone(), ended)?;
        disk.run_on_core(Box::new(task));
        // The task ends by itself; a core that ends before drops it.
        let (measured, checked) = result.recv().unwrap_or(Err(WorkloadError::CoreStopped))?;
        *ledger = checked;
        Ok(measured)
    }

    /// How many I/Os the range has room for, side by side.
    fn places(&self) -> u64 {
        (self.range.end - self.range.start) / self.io_len as u64
    }
}
