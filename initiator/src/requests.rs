//! A disk's requests as a machine: requests and completions in, commands and ends out. It reads no clock and sends
//! nothing itself.

use crate::disk::DiskInfo;
use crate::disk_state::DiskState;
use crate::error::DiskError;
use crate::own_commands::{FENCE, Fence, PROBE, fence, own_path, probe};
use crate::path::PortNumber;
use crate::paths::{MAX_PATHS, PathIndex, Paths};
use crate::request::{Done, Refused, Request};
use crate::verdict::{Verdict, Why, denied_access, is_attention, judge, judge_failure, tells_of_access};
use fc::messages::{Action, Cdb, Command, Completion, Ended, Transfer, TransportError};
use fc::time::{Duration, Instant};
use fc::wire::scsi::unmap::{self, UnmapRange};
use fc::wire::scsi::{Extent, IoFlags, ScsiCommand, Status};
use std::collections::VecDeque;
use std::ops::Range;
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

/// How often a command is tried whose paths do not lead to the medium now.
const ACCESS_PAUSE: Duration = Duration::from_millis(100);

/// How soon the next fence is tried.
const FENCE_PAUSE: Duration = Duration::from_millis(10);

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
    /// The blocks that it changes.
    changes: Option<Range<u64>>,
    /// No write that may still happen is in its way: those that begin to be later are none of its past.
    is_clear: bool,
    started: Instant,
    retries: u8,
    /// How often frames of it got lost.
    losses: u32,
    /// By how many paths in a row it was kept from the medium.
    denials: usize,
    /// Where and when it was sent last.
    path: PathIndex,
    sent_at: Instant,
}

struct Waiting {
    at: Instant,
    /// It waits for a ghost's end, which may come before its time.
    is_held: bool,
    slot: usize,
    transfer: Transfer,
}

/// The requests of one queue to a disk, a bounded number of them.
///
/// Requests complete in any order. What a busy target, a unit attention, a lost frame or the end of a login has kept from
/// being done is tried again, by another path if there is one: reads, writes, flushes and discards may all be done twice.
pub struct Requests {
    info: Arc<DiskInfo>,
    state: Arc<DiskState>,
    /// What was last seen of `state`.
    version: u64,
    paths: Paths,
    in_flight: Vec<Option<InFlight>>,
    free: Vec<usize>,
    /// Those whose command can go out now.
    ready: VecDeque<(usize, Transfer)>,
    waiting: Vec<Waiting>,
    done: VecDeque<Done>,
    fence: Fence,
}

impl Requests {
    /// Commands that may be out besides those of requests: a probe of each path, and a fence.
    pub const MAX_EXTRA_COMMANDS: usize = MAX_PATHS + 1;

    /// Up to `depth` requests at a time to a disk.
    ///
    /// # Panics
    /// If `depth` is zero.
    pub fn new(state: Arc<DiskState>, depth: usize) -> Self {
        assert!(depth > 0, "a queue without room for a request");
        Self {
            info: state.info(),
            version: 0,
            paths: Paths::new(depth, state.choice, state.number_queue()),
            state,
            in_flight: (0..depth).map(|_| None).collect(),
            free: (0..depth).rev().collect(),
            ready: VecDeque::with_capacity(depth),
            waiting: Vec::with_capacity(depth),
            done: VecDeque::with_capacity(depth),
            fence: Fence::None,
        }
    }

    /// The disk's properties, as they were when the queue was made.
    pub fn info(&self) -> &DiskInfo {
        &self.info
    }

    /// Requests that have not ended, or whose end has not been taken.
    pub fn outstanding(&self) -> usize {
        self.in_flight.len() - self.free.len() + self.done.len()
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
        if self.outstanding() >= self.in_flight.len() {
            return Err(Refused { reason: DiskError::QueueFull, request });
        }
        let slot = self.free.pop().expect("fewer are out than there is room for");
        let changes = self.changes(&request);
        let (kind, cdb, transfer) = self.translate(request);
        self.in_flight[slot] = Some(InFlight {
            user_tag: tag,
            cdb,
            kind,
            is_clear: changes.is_none(),
            changes,
            started: now,
            retries: 0,
            losses: 0,
            denials: 0,
            path: PathIndex(0),
            sent_at: now,
        });
        self.ready.push_back((slot, transfer));
        Ok(())
    }

    /// The next command to send, and the port: each comes back to [`Self::handle_completion`].
    pub fn poll_command(&mut self, now: Instant) -> Option<(PortNumber, Command)> {
        self.take_news(now);
        while let Some(at) = self.waiting.iter().position(|waiting| waiting.at <= now) {
            let Waiting { slot, transfer, .. } = self.waiting.swap_remove(at);
            self.ready.push_back((slot, transfer));
        }
        if let Some(index) = self.paths.poll_probe(now) {
            return Some(probe(index, self.paths.path(index), self.state.key()));
        }
        while let Some(&(slot, _)) = self.ready.front() {
            let index = self.paths.choose(now)?;
            let (_, transfer) = self.ready.pop_front().expect("looked at above");
            if let Some(until) = self.hold_until(now, slot) {
                let at = if self.fence == Fence::Refused { until } else { now + FENCE_PAUSE };
                self.waiting.push(Waiting { at, is_held: true, slot, transfer });
                if self.fence == Fence::None && self.state.ghosts.begin_fence() {
                    self.fence = Fence::Out;
                    return Some(fence(index, self.paths.path(index)));
                }
                continue;
            }
            return Some(self.send(now, slot, index, transfer));
        }
        None
    }

    /// When [`Self::poll_command`] or [`Self::poll_done`] may have something though nothing ended before; `None` if only
    /// a request or a completion can bring it.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let lost = self.paths.lost_at().filter(|_| !self.ready.is_empty());
        self.waiting.iter().map(|waiting| waiting.at).chain(lost).chain(self.paths.next_probe()).min()
    }

    /// Whether something has changed that [`Self::poll_command`] or [`Self::poll_done`] would look at.
    pub fn has_news(&self) -> bool {
        !self.done.is_empty() || self.state.version() != self.version
    }

    /// The next request that has ended.
    pub fn poll_done(&mut self, now: Instant) -> Option<Done> {
        if self.done.is_empty() && !self.ready.is_empty() {
            self.take_news(now);
            self.give_up(now);
        }
        self.done.pop_front()
    }

    /// Takes a command's end: it is its request's, which [`Self::poll_done`] gives, or the command is tried again.
    ///
    /// # Panics
    /// If no command with this tag is out.
    pub fn handle_completion(&mut self, now: Instant, completion: Completion) {
        self.take_news(now);
        match completion.tag & (PROBE | FENCE) {
            0 => {}
            PROBE => return self.handle_probe(now, &completion),
            _ => return self.handle_fence(now, &completion),
        }
        let slot = usize::try_from(completion.tag).expect("our own slot number");
        let index = self.in_flight[slot].as_ref().expect("a completion has its request").path;
        let is_task_set_full = matches!(completion.result, Ok(Ended { status: Status::TASK_SET_FULL, .. }));
        self.paths.ended(index, is_task_set_full);
        let verdict = match completion.result {
            Ok(ended) => {
                self.listen(&ended);
                judge(&ended, completion.transfer.len())
            }
            Err(error) => judge_failure(error),
        };
        match verdict {
            Verdict::Done(result) => {
                self.paths.heard(now, index);
                self.end(now, slot, result, completion.transfer);
            }
            Verdict::Again { why, otherwise } => {
                self.blame(now, slot, why);
                let mut transfer = completion.transfer;
                // What has come in place is of no use, and others may need the memory while this waits.
                transfer.clear();
                match self.pause(now, slot, why) {
                    Some(Duration::ZERO) => self.ready.push_front((slot, transfer)),
                    Some(pause) => {
                        self.waiting.push(Waiting { at: now + pause, is_held: false, slot, transfer });
                    }
                    None => self.end(now, slot, Err(otherwise), transfer),
                }
            }
        }
    }

    fn check(&self, request: &Request) -> Result<(), DiskError> {
        let (lba, blocks) = match (request, request.data()) {
            (_, Some((lba, len))) => {
                let block_len = self.info.block_len;
                if len == 0 || !len.is_multiple_of(block_len as usize) {
                    return Err(DiskError::Unaligned { len, block_len });
                }
                if len > self.info.max_transfer_len {
                    return Err(DiskError::TooLong { len, limit: self.info.max_transfer_len });
                }
                (lba, (len / block_len as usize) as u64)
            }
            (Request::Discard { .. }, _) if !self.info.discard => return Err(DiskError::NoDiscard),
            (Request::Discard { lba, blocks }, _) => (*lba, u64::from(*blocks)),
            _ => return Ok(()),
        };
        let end = lba.checked_add(blocks).filter(|&end| end <= self.info.blocks);
        end.map(|_| ()).ok_or(DiskError::OutOfRange { lba, blocks, capacity: self.info.blocks })
    }

    fn translate(&self, request: Request) -> (Kind, Cdb, Transfer) {
        let (lba, len) = request.data().unwrap_or_default();
        let blocks = u32::try_from(len / self.info.block_len as usize).expect("no longer than a transfer");
        let (extent, flags) = (Extent::sixteen(lba, blocks), IoFlags::default());
        let read = ScsiCommand::Read { extent, flags };
        let (kind, command, transfer) = match request {
            Request::Read { buffer, .. } => (Kind::Data, read, Transfer::Read(buffer)),
            Request::ReadInPlace { room, .. } => (Kind::Data, read, Transfer::ReadInPlace(room)),
            Request::Write { buffer, .. } => {
                (Kind::Data, ScsiCommand::Write { extent, flags }, Transfer::Write(buffer))
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

    /// The blocks that a request changes.
    fn changes(&self, request: &Request) -> Option<Range<u64>> {
        match request {
            Request::Write { lba, buffer } => {
                Some(*lba..lba + (buffer.len() / self.info.block_len as usize) as u64)
            }
            Request::Discard { lba, blocks } => Some(*lba..lba + u64::from(*blocks)),
            Request::Read { .. } | Request::ReadInPlace { .. } | Request::Flush => None,
        }
    }

    /// The disk's paths may be others than they were.
    fn take_news(&mut self, now: Instant) {
        let version = self.state.version();
        if version != self.version {
            self.version = version;
            self.paths.update(now, &self.state.paths(), &self.state.unregistered());
            self.waiting.iter_mut().filter(|waiting| waiting.is_held).for_each(|waiting| waiting.at = now);
        }
    }

    /// Until when a request must wait for a write that may still happen.
    fn hold_until(&mut self, now: Instant, slot: usize) -> Option<Instant> {
        let in_flight = self.in_flight[slot].as_mut().expect("who is ready is in flight");
        let changes = in_flight.changes.as_ref().filter(|_| !in_flight.is_clear)?;
        let until = self.state.ghosts.hold_until(now, changes);
        in_flight.is_clear = until.is_none();
        until
    }

    fn send(
        &mut self,
        now: Instant,
        slot: usize,
        index: PathIndex,
        transfer: Transfer,
    ) -> (PortNumber, Command) {
        self.paths.sent(now, index);
        let path = self.paths.path(index);
        let in_flight = self.in_flight[slot].as_mut().expect("who is ready is in flight");
        (in_flight.path, in_flight.sent_at) = (index, now);
        let command = Command {
            tag: slot as u64,
            nexus: path.id.nexus,
            lun: path.id.lun,
            action: Action::Scsi(in_flight.cdb),
            transfer,
            timeout: COMMAND_TIMEOUT,
        };
        (path.id.port, command)
    }

    /// What a target says besides.
    fn listen(&self, ended: &Ended) {
        if tells_of_access(ended) || denied_access(ended).is_some() {
            self.state.doubt_access();
        }
    }

    /// What a command's failure says of its path.
    fn blame(&mut self, now: Instant, slot: usize, why: Why) {
        let in_flight = self.in_flight[slot].as_ref().expect("it has just come back");
        let index = in_flight.path;
        if let (Why::Gone | Why::Stopped, Some(blocks)) = (why, &in_flight.changes) {
            let path = self.paths.path(index);
            self.state.ghosts.add(now, blocks.clone(), path.id, path.logins);
        }
        match why {
            Why::Target | Why::Busy { .. } | Why::Loss => self.paths.heard(now, index),
            Why::Access(access) => {
                self.paths.heard(now, index);
                self.paths.deny_access(index, access);
            }
            // It may be that only this command is not answered.
            Why::Silence if self.paths.has_heard_since(index, in_flight.sent_at) => {}
            Why::Silence | Why::NotLoggedIn | Why::Gone => self.paths.fail(now, index),
            Why::Stopped => self.paths.stop(now, index),
        }
    }

    /// How long to wait before a command goes out again; `None` if it was tried enough.
    fn pause(&mut self, now: Instant, slot: usize, why: Why) -> Option<Duration> {
        let in_flight = self.in_flight[slot].as_mut().expect("it has just come back");
        let is_worth_it = now.since(in_flight.started) < PERSISTENCE;
        match why {
            Why::Target | Why::Silence => {
                in_flight.retries += 1;
                (in_flight.retries <= MAX_RETRIES).then_some(Duration::ZERO)
            }
            Why::Busy { after } => is_worth_it.then_some(after),
            Why::Loss => {
                in_flight.losses += 1;
                is_worth_it.then(|| loss_pause(in_flight.losses))
            }
            Why::Access(_) => {
                in_flight.denials += 1;
                let was_by_all = in_flight.denials >= self.paths.good();
                if was_by_all {
                    in_flight.denials = 0;
                }
                is_worth_it.then_some(if was_by_all { ACCESS_PAUSE } else { Duration::ZERO })
            }
            // Requests wait for a path as long as there may be one.
            Why::NotLoggedIn | Why::Gone | Why::Stopped => Some(Duration::ZERO),
        }
    }

    fn handle_probe(&mut self, now: Instant, completion: &Completion) {
        let index = own_path(completion.tag);
        match completion.result {
            // What keeps it from being registered doesn't keep it from being used, but for a unit attention.
            Ok(ended) if is_attention(&ended) && self.state.key() != 0 => {
                self.listen(&ended);
                self.paths.probed(now, index, false);
            }
            Ok(ended) => {
                self.listen(&ended);
                self.paths.probed(now, index, true);
                if self.state.key() != 0 {
                    self.state.registered(self.paths.path(index));
                }
                if let Some(access) = denied_access(&ended) {
                    self.paths.deny_access(index, access);
                }
            }
            Err(TransportError::Stopped) => self.paths.stop(now, index),
            Err(_) => self.paths.probed(now, index, false),
        }
    }

    fn handle_fence(&mut self, now: Instant, completion: &Completion) {
        let index = own_path(completion.tag);
        self.fence = match completion.result {
            Err(TransportError::Response(_)) => Fence::Refused,
            _ => Fence::None,
        };
        match completion.result {
            Err(TransportError::Stopped) => self.paths.stop(now, index),
            Err(TransportError::NotLoggedIn | TransportError::NexusGone | TransportError::TimedOut) => {
                self.paths.fail(now, index);
            }
            Ok(_) | Err(_) => {}
        }
        self.state.end_fence(completion.result.is_ok());
    }

    /// No path leads to the disk, and none will soon: what waits for one waits no more.
    fn give_up(&mut self, now: Instant) {
        if !self.paths.is_lost(now) {
            return;
        }
        let error =
            if self.paths.is_stopped() { TransportError::Stopped } else { TransportError::NotLoggedIn };
        for (slot, transfer) in std::mem::take(&mut self.ready) {
            self.end(now, slot, Err(error.into()), transfer);
        }
    }

    fn end(&mut self, now: Instant, slot: usize, result: Result<(), DiskError>, transfer: Transfer) {
        let in_flight = self.in_flight[slot].take().expect("a request ends once");
        self.free.push(slot);
        let (buffer, room) = match transfer {
            // The buffer was our own.
            _ if in_flight.kind == Kind::Discard => (None, None),
            Transfer::ReadInPlace(room) => (None, Some(room)),
            transfer => (transfer.into_buffer(), None),
        };
        let latency = now.since(in_flight.started);
        self.done.push_back(Done { tag: in_flight.user_tag, result, buffer, room, latency });
    }
}

/// Whoever is told of a fence's end must not wait for one that nobody hears.
impl Drop for Requests {
    fn drop(&mut self) {
        if self.fence == Fence::Out {
            self.state.end_fence(false);
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

#[cfg(test)]
mod tests;
