//! One command of a scan, asked until there is an answer or the tries are used up.

use super::{ScanError, ScanReply};
use crate::messages::TransportError;
use crate::time::{Duration, Instant};
use crate::wire::scsi::{AdditionalSense, ScsiCommand, Sense, SenseKey, Status, capacity, inquiry, vpd};
use core::fmt;

/// How often one command is sent, if each try ends in something that asks for another. Unit attentions pile up,
/// one for each thing that happened, and are told one at a time: eight is more than targets keep.
pub const MAX_TRIES: u8 = 8;
/// How long to wait before asking a logical unit again that is busy or becoming ready.
pub const RETRY_DELAY: Duration = Duration::from_millis(500);
/// How long to wait in all until a logical unit is ready: as long as a controller's take-over may last.
pub const READY_WAIT: Duration = Duration::from_secs(30);

/// What a scan asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// REPORT LUNS.
    ReportLuns,
    /// INQUIRY for standard data.
    Inquiry,
    /// INQUIRY for this page of vital product data.
    Page(u8),
    /// REPORT TARGET PORT GROUPS.
    Access,
    /// TEST UNIT READY.
    TestUnitReady,
    /// READ CAPACITY (16).
    Capacity16,
    /// READ CAPACITY (10).
    Capacity10,
    /// MODE SENSE (6) for the caching page.
    Mode,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReportLuns => "REPORT LUNS",
            Self::Inquiry => "INQUIRY",
            Self::Page(code) => return write!(f, "INQUIRY for VPD page {code:02x}"),
            Self::Access => "REPORT TARGET PORT GROUPS",
            Self::TestUnitReady => "TEST UNIT READY",
            Self::Capacity16 => "READ CAPACITY (16)",
            Self::Capacity10 => "READ CAPACITY (10)",
            Self::Mode => "MODE SENSE (6)",
        })
    }
}

impl Step {
    /// Bytes of data that the first try has room for.
    fn first_read_len(self) -> u16 {
        match self {
            Self::ReportLuns => super::FIRST_LIST_LEN,
            Self::Inquiry => len_of(inquiry::LEN),
            // Old devices take only the length's low byte.
            Self::Page(_) => 252,
            // Eight groups of two ports each.
            Self::Access => 132,
            Self::TestUnitReady => 0,
            Self::Capacity16 => len_of(capacity::CAPACITY_16_LEN),
            Self::Capacity10 => len_of(size_of::<capacity::Capacity10>()),
            Self::Mode => 192,
        }
    }

    fn command(self, read_len: u16) -> ScsiCommand {
        match self {
            Self::ReportLuns => ScsiCommand::ReportLuns { select_report: 0, allocation_len: read_len.into() },
            Self::Inquiry => ScsiCommand::Inquiry { page: None, allocation_len: read_len },
            Self::Page(code) => ScsiCommand::Inquiry { page: Some(code), allocation_len: read_len },
            Self::Access => {
                ScsiCommand::ReportTargetPortGroups { format: 0, allocation_len: read_len.into() }
            }
            Self::TestUnitReady => ScsiCommand::TestUnitReady,
            Self::Capacity16 => ScsiCommand::ReadCapacity16 { allocation_len: read_len.into() },
            Self::Capacity10 => ScsiCommand::ReadCapacity10,
            Self::Mode => ScsiCommand::ModeSense {
                ten: false,
                long_lba: false,
                no_descriptors: true,
                page_control: 0,
                page: crate::wire::scsi::mode::page::CACHING,
                subpage: 0,
                allocation_len: read_len,
            },
        }
    }
}

const fn len_of(len: usize) -> u16 {
    assert!(len <= u16::MAX as usize);
    len as u16
}

/// A command that shall be asked, is out, or has its answer.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) step: Step,
    read_len: u16,
    tries: u8,
    state: State,
}

#[derive(Debug)]
enum State {
    /// May be sent from then on.
    Due(Instant),
    /// Was sent; its result is awaited.
    Out,
}

/// What a result means.
#[derive(Debug)]
pub(super) enum Verdict<'a> {
    /// Ask again; [`Question`] knows when.
    Again,
    /// The target did it; with this data.
    Answer(&'a [u8]),
    /// The target does not do such things.
    Unsupported(ScanError),
    /// The logical unit isn't ready, and won't be soon.
    NotReady(Sense),
    /// Another initiator's reservation forbids it.
    Reserved,
    /// It failed for good.
    Failed(ScanError),
}

impl Question {
    pub(super) fn new(now: Instant, step: Step) -> Self {
        Self { step, read_len: step.first_read_len(), tries: 0, state: State::Due(now) }
    }

    /// Asks the same again with more room for the answer.
    pub(super) fn grow(&mut self, now: Instant, read_len: u16) {
        assert!(read_len > self.read_len, "more room than {} bytes, not {read_len}", self.read_len);
        *self = Self { read_len, ..Self::new(now, self.step) };
    }

    pub(super) fn read_len(&self) -> u16 {
        self.read_len
    }

    /// When it may be sent; `None` while it is out.
    pub(super) fn due(&self) -> Option<Instant> {
        match self.state {
            State::Due(at) => Some(at),
            State::Out => None,
        }
    }

    /// The command to send now, and bytes that it may read.
    pub(super) fn send(&mut self) -> (ScsiCommand, usize) {
        assert!(matches!(self.state, State::Due(_)), "{} is out already", self.step);
        self.state = State::Out;
        self.tries += 1;
        (self.step.command(self.read_len), self.read_len.into())
    }

    /// Judges the result. `ready_by` is until when this logical unit may be not ready, set here at the first sign.
    pub(super) fn judge<'a>(
        &mut self,
        now: Instant,
        result: Result<ScanReply<'a>, TransportError>,
        ready_by: &mut Option<Instant>,
    ) -> Verdict<'a> {
        assert!(matches!(self.state, State::Out), "a result for {}, which isn't out", self.step);
        let step = self.step;
        let reply = match result {
            Ok(reply) => reply,
            Err(error) => {
                let failed = Verdict::Failed(ScanError::Transport { step, error });
                return match error {
                    TransportError::NotLoggedIn | TransportError::NexusGone | TransportError::Stopped => {
                        failed
                    }
                    TransportError::TimedOut
                    | TransportError::Response(_)
                    | TransportError::DataMissing { .. }
                    | TransportError::Malformed
                    | TransportError::Aborted
                    | TransportError::Cleared
                    | TransportError::Lost => self.again_or(now, failed),
                };
            }
        };
        let failed = Verdict::Failed(ScanError::Status { step, status: reply.status });
        match (reply.status, reply.sense) {
            (Status::GOOD | Status::CONDITION_MET, _) => {
                Verdict::Answer(&reply.data[..reply.data.len().min(self.read_len.into())])
            }
            (Status::CHECK_CONDITION, Some(sense)) => self.judge_sense(now, sense, ready_by),
            (Status::BUSY | Status::TASK_SET_FULL, _) => self.later_or(now, ready_by, failed),
            (Status::TASK_ABORTED, _) | (Status::CHECK_CONDITION, None) => self.again_or(now, failed),
            (Status::RESERVATION_CONFLICT, _) => Verdict::Reserved,
            _ => failed,
        }
    }

    fn judge_sense<'a>(&mut self, now: Instant, sense: Sense, ready_by: &mut Option<Instant>) -> Verdict<'a> {
        let error = ScanError::Check { step: self.step, sense };
        if sense.deferred {
            // It tells of an earlier command; this one was not done.
            return self.again_or(now, Verdict::Failed(error));
        }
        match sense.key {
            SenseKey::UNIT_ATTENTION | SenseKey::ABORTED_COMMAND => {
                self.again_or(now, Verdict::Failed(error))
            }
            SenseKey::NOT_READY if becomes_ready(sense.additional) => {
                self.later_or(now, ready_by, Verdict::NotReady(sense))
            }
            SenseKey::NOT_READY => Verdict::NotReady(sense),
            SenseKey::ILLEGAL_REQUEST => Verdict::Unsupported(error),
            _ => Verdict::Failed(error),
        }
    }

    fn again_or<'a>(&mut self, now: Instant, otherwise: Verdict<'a>) -> Verdict<'a> {
        if self.tries >= MAX_TRIES {
            return otherwise;
        }
        self.state = State::Due(now);
        Verdict::Again
    }

    fn later_or<'a>(
        &mut self,
        now: Instant,
        ready_by: &mut Option<Instant>,
        otherwise: Verdict<'a>,
    ) -> Verdict<'a> {
        if now >= *ready_by.get_or_insert(now + READY_WAIT) {
            return otherwise;
        }
        // The time limits these tries, not their number.
        self.tries -= 1;
        self.state = State::Due(now + RETRY_DELAY);
        Verdict::Again
    }
}

/// Whether a logical unit that isn't ready for this reason will be by itself.
fn becomes_ready(additional: AdditionalSense) -> bool {
    /// LOGICAL UNIT NOT READY: cause not reportable, becoming ready, rebuild, operation in progress, asymmetric
    /// access state transition, space allocation in progress.
    const BY_ITSELF: [u8; 6] = [0x00, 0x01, 0x05, 0x07, 0x0a, 0x14];
    additional.asc == AdditionalSense::BECOMING_READY.asc && BY_ITSELF.contains(&additional.ascq)
}

/// The most bytes of a vital product data page that a scan reads: far more than any of its pages has.
pub(super) const MAX_PAGE_LEN: u16 = 4096;

const _: () = assert!(MAX_PAGE_LEN as usize > vpd::HEADER_LEN);
