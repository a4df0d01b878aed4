//! A disk's requests as a machine: requests and completions in, commands and ends out. It reads no clock and sends
//! nothing itself.

use crate::disk::DiskInfo;
use crate::error::DiskError;
use crate::window::Window;
use fc::messages::{Action, Buffer, Cdb, Command, Completion, Ended, NexusId, Transfer, TransportError};
use fc::time::{Duration, Instant};
use fc::wire::scsi::unmap::{self, UnmapRange};
use fc::wire::scsi::{Extent, IoFlags, ScsiCommand, SenseKey, Status};
use std::collections::VecDeque;
use std::sync::Arc;

/// When a command's exchange is aborted. Targets that recover from an error of their own take seconds.
pub(crate) const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a command is tried again: a unit attention may stand for each of several events, and an exchange that
/// was aborted may be again.
const MAX_RETRIES: u8 = 5;

/// How long a command is repeated whose frames get lost, or that a target is too busy for. The longer a command, the more
/// often one of its frames gets lost.
const PERSISTENCE: Duration = Duration::from_secs(30);

/// How often it is repeated at once. If there is a reason why it gets lost, such as a ring that is too short for all of
/// its data, repeating it without a pause makes that worse.
const QUICK_REPEATS: u32 = 3;

/// The first pause, which doubles, and the longest.
const LOSS_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_LOSS_PAUSE: Duration = Duration::from_secs(1);

/// How often it is tried whether a target is back that was gone.
const GONE_PAUSE: Duration = Duration::from_millis(10);

/// How long to wait, at least, before a target that was busy is asked again.
const BUSY_DELAY: Duration = Duration::from_millis(2);

/// What a disk can be asked for. Addresses and lengths are in the disk's blocks.
#[derive(Debug)]
pub enum Request {
    /// Fill the buffer from `lba` on.
    Read {
        /// First block.
        lba: u64,
        /// A whole number of blocks.
        buffer: Buffer,
    },
    /// Write the buffer from `lba` on.
    Write {
        /// First block.
        lba: u64,
        /// A whole number of blocks.
        buffer: Buffer,
    },
    /// What has been written before stays, whatever happens to the target.
    Flush,
    /// Nobody needs these blocks' data any more.
    Discard {
        /// First block.
        lba: u64,
        /// How many.
        blocks: u32,
    },
}

/// The end of a request. There is exactly one for each.
#[derive(Debug)]
pub struct Done {
    /// The number that the request was submitted with.
    pub tag: u64,
    /// How it ended.
    pub result: Result<(), DiskError>,
    /// The buffer, given back. A discard gives back nothing.
    pub buffer: Option<Buffer>,
    /// From the submission to the last attempt's end, retries and their waits included.
    pub latency: Duration,
}

/// Why a request was not taken; its buffer is given back.
#[derive(Debug)]
pub struct Refused {
    /// Why.
    pub reason: DiskError,
    /// The request.
    pub request: Request,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Data,
    /// Its buffer is our own parameter list.
    Discard,
    Flush,
}

struct InFlight {
    user_tag: u64,
    cdb: Cdb,
    kind: Kind,
    started: Instant,
    retries: u8,
    /// How often frames of it got lost.
    losses: u32,
    /// Since when its target has not been logged in.
    gone_since: Option<Instant>,
}

struct Waiting {
    at: Instant,
    slot: usize,
    transfer: Transfer,
}

/// The requests of one queue to a disk, a bounded number of them.
///
/// Requests complete in any order. What a busy target, a unit attention, a lost frame or the end of a login has kept from
/// being done is tried again: reads, writes, flushes and discards may all be done twice.
pub struct Requests {
    info: Arc<DiskInfo>,
    nexus: NexusId,
    fast_io_fail: Duration,
    window: Window,
    in_flight: Vec<Option<InFlight>>,
    free: Vec<usize>,
    /// Commands that can go out now.
    ready: VecDeque<Command>,
    waiting: Vec<Waiting>,
}

impl Requests {
    /// Up to `depth` requests at a time to the disk behind `nexus`. While that is not logged in, requests wait for it
    /// for up to `fast_io_fail`, and fail then.
    ///
    /// # Panics
    /// If `depth` is zero.
    pub fn new(info: Arc<DiskInfo>, nexus: NexusId, depth: usize, fast_io_fail: Duration) -> Self {
        assert!(depth > 0, "a queue without room for a request");
        Self {
            info,
            nexus,
            fast_io_fail,
            window: Window::new(depth),
            in_flight: (0..depth).map(|_| None).collect(),
            free: (0..depth).rev().collect(),
            ready: VecDeque::with_capacity(depth),
            waiting: Vec::with_capacity(depth),
        }
    }

    /// The disk's properties.
    pub fn info(&self) -> &DiskInfo {
        &self.info
    }

    /// Requests that have not ended.
    pub fn outstanding(&self) -> usize {
        self.in_flight.len() - self.free.len()
    }

    /// Takes a request; `tag` comes back in its [`Done`].
    ///
    /// # Errors
    /// The request is given back when it reaches beyond the disk, is no whole number of blocks or longer than the
    /// disk takes, or when there are as many as the queue's depth.
    pub fn submit(&mut self, now: Instant, tag: u64, request: Request) -> Result<(), Refused> {
        if let Err(reason) = self.check(&request) {
            return Err(Refused { reason, request });
        }
        let Some(slot) = self.free.pop() else {
            return Err(Refused { reason: DiskError::QueueFull, request });
        };
        let (kind, cdb, transfer) = self.translate(request);
        self.in_flight[slot] = Some(InFlight {
            user_tag: tag,
            cdb,
            kind,
            started: now,
            retries: 0,
            losses: 0,
            gone_since: None,
        });
        self.issue(slot, transfer);
        Ok(())
    }

    /// The next command to send: each comes back to [`Self::handle_completion`]. There are never more out than the
    /// depth.
    pub fn poll_command(&mut self, now: Instant) -> Option<Command> {
        if let Some(index) = self.waiting.iter().position(|waiting| waiting.at <= now) {
            let Waiting { slot, transfer, .. } = self.waiting.swap_remove(index);
            self.issue(slot, transfer);
        }
        let command = if self.window.is_open() { self.ready.pop_front() } else { None };
        if command.is_some() {
            self.window.sent();
        }
        command
    }

    /// When [`Self::poll_command`] may have a command though nothing ended before; `None` if only a request or a
    /// completion can bring one.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.waiting.iter().map(|waiting| waiting.at).min()
    }

    /// Takes a command's end: it is its request's, or the command is tried again.
    ///
    /// # Panics
    /// If no command with this tag is out.
    pub fn handle_completion(&mut self, now: Instant, completion: Completion) -> Option<Done> {
        let slot = usize::try_from(completion.tag).expect("our own slot number");
        let in_flight = self.in_flight[slot].as_mut().expect("a completion has its request");
        let is_task_set_full = matches!(completion.result, Ok(Ended { status: Status::TASK_SET_FULL, .. }));
        self.window.ended(is_task_set_full);
        let verdict = match completion.result {
            Ok(ended) => judge(&ended, completion.transfer.len()),
            Err(error) => judge_failure(error),
        };
        let result = match verdict {
            Verdict::Done(result) => result,
            Verdict::Again { why, otherwise } => match in_flight.pause(now, why, self.fast_io_fail) {
                Some(pause) => {
                    self.repeat(now, pause, slot, completion.transfer);
                    return None;
                }
                None => Err(otherwise),
            },
        };
        let in_flight = self.in_flight[slot].take().expect("looked at above");
        self.free.push(slot);
        let buffer = if in_flight.kind == Kind::Discard { None } else { completion.transfer.into_buffer() };
        Some(Done { tag: in_flight.user_tag, result, buffer, latency: now.since(in_flight.started) })
    }

    fn check(&self, request: &Request) -> Result<(), DiskError> {
        let (lba, blocks) = match request {
            Request::Read { lba, buffer } | Request::Write { lba, buffer } => {
                let block_len = self.info.block_len as usize;
                if buffer.is_empty() || !buffer.len().is_multiple_of(block_len) {
                    return Err(DiskError::Unaligned { len: buffer.len(), block_len: self.info.block_len });
                }
                if buffer.len() > self.info.max_transfer_len {
                    return Err(DiskError::TooLong { len: buffer.len(), limit: self.info.max_transfer_len });
                }
                (*lba, (buffer.len() / block_len) as u64)
            }
            Request::Flush => return Ok(()),
            Request::Discard { .. } if !self.info.discard => return Err(DiskError::NoDiscard),
            Request::Discard { lba, blocks } => (*lba, u64::from(*blocks)),
        };
        let end = lba.checked_add(blocks).filter(|&end| end <= self.info.blocks);
        end.map(|_| ()).ok_or(DiskError::OutOfRange { lba, blocks, capacity: self.info.blocks })
    }

    fn translate(&self, request: Request) -> (Kind, Cdb, Transfer) {
        let extent = |lba, buffer: &Buffer| {
            let blocks = buffer.len() / self.info.block_len as usize;
            Extent::sixteen(lba, u32::try_from(blocks).expect("checked against the longest transfer"))
        };
        let flags = IoFlags::default();
        let (kind, command, transfer) = match request {
            Request::Read { lba, buffer } => {
                let command = ScsiCommand::Read { extent: extent(lba, &buffer), flags };
                (Kind::Data, command, Transfer::Read(buffer))
            }
            Request::Write { lba, buffer } => {
                let command = ScsiCommand::Write { extent: extent(lba, &buffer), flags };
                (Kind::Data, command, Transfer::Write(buffer))
            }
            Request::Flush => {
                // All blocks: an LBA and a count of 0 (SBC-3, 5.23).
                let command =
                    ScsiCommand::SynchronizeCache { extent: Extent::sixteen(0, 0), immediate: false };
                (Kind::Flush, command, Transfer::None)
            }
            Request::Discard { lba, blocks } => {
                let mut list = vec![0; unmap::len(1)].into_boxed_slice();
                unmap::emit(&[UnmapRange::new(lba, blocks)], &mut list);
                let parameter_len = u16::try_from(list.len()).expect("one range");
                (
                    Kind::Discard,
                    ScsiCommand::Unmap { anchor: false, group: 0, parameter_len },
                    Transfer::Write(list),
                )
            }
        };
        (kind, Cdb::from(&command), transfer)
    }

    fn repeat(&mut self, now: Instant, pause: Duration, slot: usize, transfer: Transfer) {
        if pause.is_zero() {
            self.issue(slot, transfer);
        } else {
            self.waiting.push(Waiting { at: now + pause, slot, transfer });
        }
    }

    fn issue(&mut self, slot: usize, transfer: Transfer) {
        let in_flight = self.in_flight[slot].as_ref().expect("a slot that is issued is taken");
        self.ready.push_back(Command {
            tag: slot as u64,
            nexus: self.nexus,
            lun: self.info.lun,
            action: Action::Scsi(in_flight.cdb),
            transfer,
            timeout: COMMAND_TIMEOUT,
        });
    }
}

impl InFlight {
    /// How long to wait before the command goes out again; `None` if it was tried enough.
    fn pause(&mut self, now: Instant, why: Why, fast_io_fail: Duration) -> Option<Duration> {
        if !matches!(why, Why::Gone) {
            self.gone_since = None;
        }
        match why {
            Why::Target => {
                self.retries += 1;
                (self.retries <= MAX_RETRIES).then_some(Duration::ZERO)
            }
            Why::Busy { after } => (now.since(self.started) < PERSISTENCE).then_some(after),
            Why::Loss => {
                self.losses += 1;
                (now.since(self.started) < PERSISTENCE).then(|| loss_pause(self.losses))
            }
            Why::Gone => {
                let since = *self.gone_since.get_or_insert(now);
                (now.since(since) < fast_io_fail).then_some(GONE_PAUSE)
            }
        }
    }
}

/// How long to wait before a command is repeated that got lost so often.
fn loss_pause(losses: u32) -> Duration {
    match losses.checked_sub(QUICK_REPEATS + 1) {
        None => Duration::ZERO,
        Some(doublings) => LOSS_PAUSE.saturating_mul(1 << doublings.min(20)).min(LONGEST_LOSS_PAUSE),
    }
}

enum Verdict {
    Done(Result<(), DiskError>),
    Again { why: Why, otherwise: DiskError },
}

/// Why a command goes out again.
#[derive(Clone, Copy)]
enum Why {
    /// The target wants it so, or fails at it.
    Target,
    /// The target has no room for it now.
    Busy { after: Duration },
    /// The link lost a frame.
    Loss,
    /// The target is not logged in.
    Gone,
}

fn judge_failure(error: TransportError) -> Verdict {
    let why = match error {
        TransportError::Stopped => return Verdict::Done(Err(error.into())),
        TransportError::NotLoggedIn | TransportError::NexusGone => Why::Gone,
        TransportError::Lost | TransportError::DataMissing { .. } => Why::Loss,
        TransportError::TimedOut
        | TransportError::Response(_)
        | TransportError::Malformed
        | TransportError::Aborted
        | TransportError::Cleared => Why::Target,
    };
    Verdict::Again { why, otherwise: error.into() }
}

/// What a SCSI status means for a request that moves `wanted` bytes (SAM-5, 5.3).
fn judge(ended: &Ended, wanted: usize) -> Verdict {
    let failure = || DiskError::Scsi { status: ended.status, sense: ended.sense };
    let again = |why| Verdict::Again { why, otherwise: failure() };
    match (ended.status, ended.sense.map(|sense| sense.key)) {
        (Status::GOOD, _) if ended.transferred as usize == wanted => Verdict::Done(Ok(())),
        (Status::GOOD, _) => {
            Verdict::Done(Err(DiskError::Short { expected: wanted, transferred: ended.transferred as usize }))
        }
        (Status::BUSY | Status::TASK_SET_FULL, _) => {
            let asked = Duration::from_millis(u64::from(ended.retry_delay & 0x3fff) * 100);
            again(Why::Busy { after: asked.clamp(BUSY_DELAY, Duration::from_secs(10)) })
        }
        (Status::CHECK_CONDITION, Some(SenseKey::UNIT_ATTENTION | SenseKey::ABORTED_COMMAND)) => {
            again(Why::Target)
        }
        _ => Verdict::Done(Err(failure())),
    }
}

#[cfg(test)]
mod tests;
