//! Random reads at a fixed depth, measured.

use super::pattern::SplitMix64;
use super::report::Run;
use crate::interrupt::Interrupt;
use anyhow::Context as _;
use hdrhistogram::Histogram;
use initiator::{Disk, DiskError, DiskQueue, Done, Initiator, Request, Task, TaskState};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    /// Bytes of a read.
    io_len: usize,
    /// Reads that are out at any time.
    depth: usize,
}

/// Latency, rate and throughput. Deeper reads of 64 KiB would be more frames than a veth's ring holds, which drops
/// what overflows.
pub(crate) const WORKLOADS: [Workload; 3] = [
    Workload { name: "4 KiB reads, depth 1", io_len: 4 << 10, depth: 1 },
    Workload { name: "4 KiB reads, depth 32", io_len: 4 << 10, depth: 32 },
    Workload { name: "64 KiB reads, depth 4", io_len: 64 << 10, depth: 4 },
];

/// The longest latency that is told apart; a command has timed out by then.
const MAX_LATENCY: Duration = Duration::from_secs(120);

/// How often the operator is asked whether to go on.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

impl Workload {
    /// Reads from random places of `disk` for `duration`, on the poll core's own thread: that no other thread is to
    /// be woken is what the least latency takes.
    pub(crate) fn run(
        &self,
        initiator: &Initiator,
        disk: &Disk,
        duration: Duration,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Run> {
        let failed = || format!("measuring {}", self.name);
        let (ended, result) = sync_channel(1);
        let slots = disk.info().len() / self.io_len as u64;
        anyhow::ensure!(slots > 0, "the LUN is smaller than one read of {} bytes", self.io_len);
        initiator.run_on_core(Box::new(Reads {
            queue: disk.queue(self.depth).with_context(failed)?,
            buffers: (0..self.depth).map(|_| vec![0; self.io_len].into()).collect(),
            blocks_per_io: (self.io_len / disk.info().block_len as usize) as u64,
            slots,
            random: SplitMix64::new(self.depth as u64),
            duration,
            started: None,
            latencies: Histogram::new_with_max(MAX_LATENCY.as_nanos() as u64, 3).expect("constants"),
            failure: None,
            interrupt: interrupt.clone(),
            ended,
        }));
        loop {
            match result.recv_timeout(LOOK_INTERVAL) {
                Ok(outcome) => {
                    interrupt.check(|| format!("while {}", failed()))?;
                    let (latencies, elapsed) = outcome.with_context(failed)?;
                    return Ok(Run::new(self.name, self.io_len, &latencies, elapsed));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    anyhow::bail!("the poll core stopped while {}: is its interface gone?", failed())
                }
            }
        }
    }
}

type Outcome = Result<(Histogram<u64>, Duration), DiskError>;

/// The reads, on the poll core's thread.
struct Reads {
    queue: DiskQueue,
    /// Those that are not out.
    buffers: Vec<Box<[u8]>>,
    blocks_per_io: u64,
    /// Places on the disk that a read may begin at.
    slots: u64,
    random: SplitMix64,
    duration: Duration,
    started: Option<fc::time::Instant>,
    latencies: Histogram<u64>,
    failure: Option<DiskError>,
    interrupt: Interrupt,
    ended: SyncSender<Outcome>,
}

impl Task for Reads {
    fn poll(&mut self, now: fc::time::Instant) -> TaskState {
        let started = *self.started.get_or_insert(now);
        let mut did_work = false;
        while let Some(done) = self.queue.poll() {
            self.take(done);
            did_work = true;
        }
        let elapsed = now.since(started);
        let goes_on = elapsed < self.duration && self.failure.is_none() && !self.interrupt.is_raised();
        while goes_on && let Some(buffer) = self.buffers.pop() {
            self.submit(buffer);
            did_work = true;
        }
        if self.queue.outstanding() == 0 {
            let latencies = self.latencies.clone();
            let outcome = self.failure.take().map_or(Ok((latencies, elapsed)), Err);
            // Nobody waits for it if the measurement was given up.
            let _ = self.ended.try_send(outcome);
            return TaskState::Done;
        }
        if did_work { TaskState::Busy } else { TaskState::Idle }
    }
}

impl Reads {
    fn take(&mut self, done: Done) {
        let nanoseconds = u64::try_from(done.latency.as_nanos()).unwrap_or(u64::MAX);
        match done.result {
            Ok(()) => self.latencies.saturating_record(nanoseconds),
            Err(error) => self.failure = Some(error),
        }
        self.buffers.extend(done.buffer);
    }

    fn submit(&mut self, buffer: Box<[u8]>) {
        let random = self.random.next().expect("endless");
        // The upper half of a product scales without a division; the slight bias is nothing here.
        let slot = ((u128::from(random) * u128::from(self.slots)) >> 64) as u64;
        let request = Request::Read { lba: slot * self.blocks_per_io, buffer };
        if let Err(refused) = self.queue.submit(0, request) {
            self.failure = Some(refused.reason);
        }
    }
}
