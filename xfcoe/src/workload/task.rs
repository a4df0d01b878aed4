//! The workload on the poll core's thread.

use super::{End, Ledger, Measured, Order, Workload, WorkloadError};
use crate::interrupt::Interrupt;
use crate::pattern::SplitMix64;
use fc::in_place::InPlace;
use hdrhistogram::Histogram;
use initiator::{Disk, DiskError, DiskQueue, Done, Request, Task, TaskState};
use nix::sys::resource::{UsageWho, getrusage};
use std::sync::mpsc::SyncSender;
use std::time::Duration;

/// The longest latency that is told apart; a command has timed out by then.
const MAX_LATENCY: Duration = Duration::from_secs(120);

/// How a workload ended, and the ledger unless I/Os were still out.
pub(super) type Outcome = Result<(Measured, Option<Ledger>), WorkloadError>;

/// A workload that runs.
pub(super) struct WorkloadTask {
    workload: Workload,
    queue: DiskQueue,
    ledger: Option<Ledger>,
    block_len: u64,
    /// Those that are not out. Of either there are as many as I/Os may be out, but rooms only if reads are in place.
    buffers: Vec<Box<[u8]>>,
    #[expect(clippy::vec_box, reason = "requests take the boxes, and give them back")]
    rooms: Vec<Box<InPlace>>,
    /// I/Os that began.
    begun: u64,
    random: SplitMix64,
    /// When it began, and the process's CPU time then.
    started: Option<(fc::time::Instant, Duration)>,
    reads: Histogram<u64>,
    writes: Histogram<u64>,
    failure: Option<WorkloadError>,
    interrupt: Interrupt,
    ended: SyncSender<Outcome>,
}

impl WorkloadTask {
    pub(super) fn new(
        workload: &Workload,
        disk: &Disk,
        ledger: Option<Ledger>,
        interrupt: Interrupt,
        ended: SyncSender<Outcome>,
    ) -> Result<Self, DiskError> {
        let block_len = u64::from(disk.info().block_len);
        for len in [workload.io_len as u64, workload.range.start] {
            assert!(len.is_multiple_of(block_len), "{len} bytes are no whole number of blocks");
        }
        assert!(ledger.as_ref().is_none_or(|ledger| ledger.fits(workload)), "the ledger of another range");
        let mut random = SplitMix64::new(workload.depth as u64);
        // Data that no target can make less of.
        let mut word = || random.next().expect("endless").to_le_bytes();
        let mut buffer =
            || (0..workload.io_len.div_ceil(8)).flat_map(|_| word()).take(workload.io_len).collect();
        let room = || Box::new(InPlace::new(vec![0; workload.io_len].into()));
        let rooms = if workload.in_place { workload.depth } else { 0 };
        let latencies = || Histogram::new_with_max(MAX_LATENCY.as_nanos() as u64, 3).expect("constants");
        Ok(Self {
            queue: disk.queue_on_core(workload.depth),
            ledger,
            block_len,
            buffers: (0..workload.depth).map(|_| buffer()).collect(),
            rooms: std::iter::repeat_with(room).take(rooms).collect(),
            begun: 0,
            random,
            started: None,
            reads: latencies(),
            writes: latencies(),
            failure: None,
            interrupt,
            ended,
            workload: workload.clone(),
        })
    }
}

impl Task for WorkloadTask {
    fn poll(&mut self, now: fc::time::Instant) -> TaskState {
        let (started, _) = *self.started.get_or_insert_with(|| (now, cpu_time()));
        let mut did_work = false;
        while let Some(done) = self.queue.poll() {
            self.take(done);
            did_work = true;
        }
        let elapsed = now.since(started);
        while self.goes_on(elapsed) && self.queue.outstanding() < self.workload.depth && self.begin() {
            did_work = true;
        }
        // The core ends what is out when it is given up.
        if self.queue.outstanding() == 0 || self.is_given_up() {
            self.end(elapsed);
            return TaskState::Done;
        }
        if did_work { TaskState::Busy } else { TaskState::Idle }
    }
}

impl WorkloadTask {
    fn is_given_up(&self) -> bool {
        self.failure.is_some() || self.interrupt.is_raised()
    }

    fn goes_on(&self, elapsed: Duration) -> bool {
        let is_due = match self.workload.end {
            End::After(duration) => elapsed < duration,
            End::Once => self.begun < self.workload.places(),
        };
        is_due && !self.is_given_up()
    }

    /// Submits the next I/O, unless its place has one out already, and says which.
    fn begin(&mut self) -> bool {
        let place = match self.workload.order {
            Order::Sequential => self.begun % self.workload.places(),
            Order::Random => self.random_below(self.workload.places()),
        };
        let reads = self.random_below(100) < self.workload.read_percent.into();
        if self.ledger.as_mut().is_some_and(|ledger| !ledger.begin(place)) {
            return false;
        }
        let lba = (self.workload.range.start + place * self.workload.io_len as u64) / self.block_len;
        let request = if reads && self.workload.in_place {
            Request::ReadInPlace { lba, room: self.rooms.pop().expect("fewer are out than rooms") }
        } else {
            let mut buffer = self.buffers.pop().expect("fewer are out than buffers");
            if let Some(ledger) = self.ledger.as_mut().filter(|_| !reads) {
                ledger.write(place, &mut buffer);
            }
            if reads { Request::Read { lba, buffer } } else { Request::Write { lba, buffer } }
        };
        self.begun += 1;
        if let Err(refused) = self.queue.submit(tag(place, reads), request) {
            self.failure = Some(refused.reason.into());
        }
        true
    }

    fn take(&mut self, done: Done) {
        let (place, reads) = place_of(done.tag);
        let latencies = if reads { &mut self.reads } else { &mut self.writes };
        match done.result {
            Ok(()) => latencies.saturating_record(u64::try_from(done.latency.as_nanos()).unwrap_or(u64::MAX)),
            Err(error) => self.failure = Some(error.into()),
        }
        if let Some(ledger) = &mut self.ledger {
            ledger.end(place);
            let check = |data: &[u8]| ledger.check(place, data);
            let checked = match (&done.buffer, &done.room) {
                _ if !reads || self.failure.is_some() => Ok(()),
                (Some(buffer), _) => check(buffer),
                (None, Some(room)) => check(&room.slices(room.len()).flatten().copied().collect::<Vec<u8>>()),
                (None, None) => unreachable!("a read gives its memory back"),
            };
            self.failure = self.failure.take().or(checked.err().map(WorkloadError::from));
        }
        if let Some(mut room) = done.room {
            room.clear();
            self.rooms.push(room);
        }
        self.buffers.extend(done.buffer);
    }

    fn end(&mut self, elapsed: Duration) {
        let (_, cpu) = self.started.expect("it has been polled");
        let measured = Measured {
            reads: self.reads.clone(),
            writes: self.writes.clone(),
            elapsed,
            cpu: cpu_time().saturating_sub(cpu),
        };
        let ledger = self.ledger.take().filter(|_| self.queue.outstanding() == 0);
        let outcome = self.failure.take().map_or(Ok((measured, ledger)), Err);
        assert!(self.ended.try_send(outcome).is_ok(), "who runs a workload waits for its end");
    }

    fn random_below(&mut self, bound: u64) -> u64 {
        let random = self.random.next().expect("endless");
        // The upper half of a product scales without a division; the slight bias is nothing here.
        ((u128::from(random) * u128::from(bound)) >> 64) as u64
    }
}

/// The tag of an I/O. Places are fewer than the bytes of a disk.
fn tag(place: u64, reads: bool) -> u64 {
    place << 1 | u64::from(reads)
}

fn place_of(tag: u64) -> (u64, bool) {
    (tag >> 1, tag & 1 == 1)
}

/// User and system time of this process.
pub fn cpu_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("a process may ask about itself");
    [usage.user_time(), usage.system_time()]
        .into_iter()
        .map(|time| {
            let microseconds = time.tv_sec() * 1_000_000 + time.tv_usec();
            Duration::from_micros(u64::try_from(microseconds).expect("time that has passed"))
        })
        .sum()
}
