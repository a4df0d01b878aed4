//! Which logical units a remote port has, and what they are (SPC-4, 6.33; SAM-5, 4.7).
//!
//! [`LunScan`] asks one port that is logged in. It gives commands, at most [`MAX_IN_FLIGHT`] at a time, takes
//! their results, and tells of each logical unit once, as soon as it is known or has failed; the others go on.
//!
//! ```text
//! REPORT LUNS (LUN 0) --> every LUN by itself:
//!
//! INQUIRY -> VPD 00 -> VPD 80, 83, B0, B1, B2 -> REPORT TARGET PORT GROUPS -> TEST UNIT READY -> ...
//!    |       |         where listed                where access is asymmetric     |
//!    |       refused: no pages                                                    never ready: found,
//!    no device: failed                                                            without a capacity
//!
//! ... READ CAPACITY (16) -> MODE SENSE -> found
//!     refused: (10)         refused: not known
//!
//! at each step:  UNIT ATTENTION, ABORTED COMMAND, transport error   again at once, MAX_TRIES in all
//!                BUSY, TASK SET FULL, becoming ready                 again after RETRY_DELAY, for READY_WAIT
//! ```

mod logical_unit;
mod probe;
mod question;

pub use logical_unit::{Capacity, LogicalUnit, Rotation};
pub use question::{MAX_TRIES, READY_WAIT, RETRY_DELAY, Step};

use crate::messages::{Cdb, TransportError};
use crate::time::Instant;
use crate::wire::WireError;
use crate::wire::fcp::Lun;
use crate::wire::scsi::luns::{self, LunList};
use crate::wire::scsi::{Sense, Status};
use alloc::boxed::Box;
use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;
use probe::{Probe, Progress};
use question::{Question, Verdict};
use thiserror::Error;

/// The most commands that are out at a time: enough to hide the round trips, too few to fill a target's queue.
pub const MAX_IN_FLIGHT: usize = 4;
/// The most logical units of a port that are looked at. Arrays show an initiator 255 or 256 of them.
pub const MAX_LUNS: usize = 512;

/// Room for 64 LUNs in the first REPORT LUNS.
const FIRST_LIST_LEN: u16 = luns::len(64) as u16;
/// Room for [`MAX_LUNS`].
const MAX_LIST_LEN: u16 = luns::len(MAX_LUNS) as u16;

/// A command that a scan wants sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ScanCommand {
    /// To give back with the result.
    pub token: ScanToken,
    /// To which logical unit.
    pub lun: Lun,
    /// What.
    pub cdb: Cdb,
    /// Bytes of data that it may read.
    pub read_len: usize,
}

/// Which command a result belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ScanToken(u8);

/// How the target answered a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ScanReply<'a> {
    /// The SCSI status.
    pub status: Status,
    /// Sense data.
    pub sense: Option<Sense>,
    /// What was read.
    pub data: &'a [u8],
}

/// What a scan tells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ScanEvent {
    /// A logical unit can be used, unless it isn't ready.
    Found(Box<LogicalUnit>),
    /// A logical unit that is in the list can't be used.
    Failed {
        /// Which.
        lun: Lun,
        /// Why.
        error: ScanError,
    },
    /// There is no list: nothing is known about the port's logical units.
    ListFailed(ScanError),
    /// The scan is over. Told once, last.
    Done {
        /// Logical units that weren't looked at, because there are more than [`MAX_LUNS`] or the list was cut.
        left_out: u32,
    },
}

/// Why a logical unit, or the list of them, is not known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum ScanError {
    /// INQUIRY says that nothing is behind this LUN.
    #[error("no device is behind it")]
    NoDevice,
    /// A status that can't be helped.
    #[error("{step} ended in {status}")]
    Status {
        /// The command.
        step: Step,
        /// Its status.
        status: Status,
    },
    /// A CHECK CONDITION that can't be helped.
    #[error("{step} failed: {sense}")]
    Check {
        /// The command.
        step: Step,
        /// What the target says.
        sense: Sense,
    },
    /// The command did not come through.
    #[error("{step} got no answer: {error}")]
    Transport {
        /// The command.
        step: Step,
        /// What happened.
        error: TransportError,
    },
    /// The answer isn't what it should be.
    #[error("{step} gave data that makes no sense: {error}")]
    Malformed {
        /// The command.
        step: Step,
        /// What is wrong with it.
        error: WireError,
    },
}

/// The scan of one remote port.
#[derive(Debug)]
pub struct LunScan {
    list: Listing,
    /// Each LUN of the list until it is found or has failed.
    probes: Vec<Probe>,
    /// Who waits for the result with this token.
    out: [Option<Owner>; MAX_IN_FLIGHT],
    events: VecDeque<ScanEvent>,
    left_out: u32,
}

#[derive(Debug)]
enum Listing {
    /// Waits for the list.
    Asking { question: Question, ready_by: Option<Instant> },
    /// Looks at the LUNs.
    Listed,
    /// [`ScanEvent::Done`] was told.
    Done,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Owner {
    List,
    Probe(Lun),
}

impl LunScan {
    /// Starts a scan.
    pub fn new(now: Instant) -> Self {
        Self {
            list: Listing::Asking { question: Question::new(now, Step::ReportLuns), ready_by: None },
            probes: Vec::new(),
            out: [None; MAX_IN_FLIGHT],
            events: VecDeque::new(),
            left_out: 0,
        }
    }

    /// The next command to send, until there is none for now. Each must come back to [`Self::handle_result`], so
    /// each needs a time-out of its own.
    pub fn poll_command(&mut self, now: Instant) -> Option<ScanCommand> {
        let slot = self.out.iter().position(Option::is_none)?;
        let is_due = |question: &Question| question.due().is_some_and(|at| at <= now);
        let (owner, lun, question) = match &mut self.list {
            Listing::Asking { question, .. } if is_due(question) => (Owner::List, Lun::default(), question),
            Listing::Asking { .. } | Listing::Done => return None,
            Listing::Listed => {
                let probe = self.probes.iter_mut().find(|probe| is_due(&probe.question))?;
                (Owner::Probe(probe.lun()), probe.lun(), &mut probe.question)
            }
        };
        let (command, read_len) = question.send();
        self.out[slot] = Some(owner);
        let token = ScanToken(u8::try_from(slot).expect("fewer slots than 256"));
        Some(ScanCommand { token, lun, cdb: Cdb::from(&command), read_len })
    }

    /// When [`Self::poll_command`] may have a command next; `None` if only a result can bring one.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.out.iter().all(Option::is_some) {
            return None;
        }
        match &self.list {
            Listing::Asking { question, .. } => question.due(),
            Listing::Listed => self.probes.iter().filter_map(|probe| probe.question.due()).min(),
            Listing::Done => None,
        }
    }

    /// Takes a command's result.
    ///
    /// # Panics
    /// If no command with this token is out.
    pub fn handle_result(
        &mut self,
        now: Instant,
        token: ScanToken,
        result: Result<ScanReply<'_>, TransportError>,
    ) {
        let owner = self.out[usize::from(token.0)].take().expect("one result for each command");
        match owner {
            Owner::List => self.handle_list(now, result),
            Owner::Probe(lun) => {
                let is_lun = |probe: &Probe| probe.lun() == lun;
                let at = self.probes.iter().position(is_lun).expect("it waits for this result");
                match self.probes[at].handle_result(now, result) {
                    Progress::Going => {}
                    Progress::Found(unit) => {
                        self.probes.remove(at);
                        self.events.push_back(ScanEvent::Found(unit));
                    }
                    Progress::Failed(error) => {
                        self.probes.remove(at);
                        self.events.push_back(ScanEvent::Failed { lun, error });
                    }
                }
            }
        }
        self.end_if_all_is_known();
    }

    /// What there is to tell, until there is nothing more for now.
    pub fn poll_event(&mut self) -> Option<ScanEvent> {
        self.events.pop_front()
    }

    /// Whether all has been asked. Events may still wait.
    pub fn is_done(&self) -> bool {
        matches!(self.list, Listing::Done)
    }

    fn end_if_all_is_known(&mut self) {
        if matches!(self.list, Listing::Listed) && self.probes.is_empty() {
            self.list = Listing::Done;
            self.events.push_back(ScanEvent::Done { left_out: self.left_out });
        }
    }

    fn handle_list(&mut self, now: Instant, result: Result<ScanReply<'_>, TransportError>) {
        let Listing::Asking { question, ready_by } = &mut self.list else {
            unreachable!("the list is asked for until it is there")
        };
        let step = Step::ReportLuns;
        let error = match question.judge(now, result, ready_by) {
            Verdict::Again => return,
            Verdict::Answer(data) => match LunList::parse(data) {
                Ok(list) => {
                    let was_full = data.len() >= question.read_len().into();
                    let wanted = list.whole_len().min(MAX_LIST_LEN.into());
                    match u16::try_from(wanted) {
                        Ok(wanted) if was_full && list.is_cut() && wanted > question.read_len() => {
                            question.grow(now, wanted);
                        }
                        _ => self.take_list(now, &list),
                    }
                    return;
                }
                Err(error) => ScanError::Malformed { step, error },
            },
            Verdict::Unsupported(_) => {
                // A device from before SPC-3 with one logical unit.
                self.list = Listing::Listed;
                self.probes.push(Probe::new(now, Lun::default()));
                return;
            }
            Verdict::NotReady(sense) => ScanError::Check { step, sense },
            Verdict::Reserved => ScanError::Status { step, status: Status::RESERVATION_CONFLICT },
            Verdict::Failed(error) => error,
        };
        self.events.push_back(ScanEvent::ListFailed(error));
        self.list = Listing::Listed;
    }

    fn take_list(&mut self, now: Instant, list: &LunList<'_>) {
        let mut seen = BTreeSet::new();
        let taken = &list.luns[..list.luns.len().min(MAX_LUNS)];
        for &lun in taken {
            if !is_well_known(lun) && seen.insert(lun) {
                self.probes.push(Probe::new(now, lun));
            }
        }
        let listed = list.list_len / size_of::<Lun>() as u32;
        self.left_out = listed - u32::try_from(taken.len()).expect("at most MAX_LUNS");
        self.list = Listing::Listed;
    }
}

/// Well-known logical units answer questions about the port; they hold no data (SAM-5, 4.7.7.5.1).
const fn is_well_known(lun: Lun) -> bool {
    lun.0[0] == 0xc1
}

#[cfg(test)]
mod tests;
