//! Faults to order: what a real SAN does now and then, when a test wants it.

use crate::config::ConfigError;
use crate::scsi::Refusal;
use datapath::port::faults::{Dice, Fate, MAX_ORDERS, MILLION, Rates};
use fc::time::Duration;
use fc::wire::els::{Explanation, LsRjt, Reason};
use fc::wire::ethernet::{EtherType, EthernetHeader};
use fc::wire::fcoe::FcoeFrame;
use fc::wire::header::{FcType, RCtl};
use fc::wire::scsi::{AdditionalSense, Sense, SenseKey, Status};
use serde::{Deserialize, Serialize};

/// What goes wrong all along, by chance: the section `[faults]`. Rates are in parts per million.
///
/// A frame, either way, has at most one of the first six faults, a command at most one of the others; so each of
/// the two sums is a million at most.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FaultsConfig {
    /// The same seed and the same frames give the same faults.
    pub seed: u64,
    /// Frames that are lost.
    pub loss_ppm: u32,
    /// Frames that come twice.
    pub duplicate_ppm: u32,
    /// Frames of which one bit is flipped, anywhere.
    pub corrupt_ppm: u32,
    /// Frames that lose their end.
    pub truncate_ppm: u32,
    /// Frames that the next one overtakes.
    pub reorder_ppm: u32,
    /// Frames that are delayed by `delay_us`.
    pub delay_ppm: u32,
    /// By how much, in microseconds.
    pub delay_us: u32,
    /// Commands that end in BUSY.
    pub busy_ppm: u32,
    /// Commands that end in TASK SET FULL.
    pub task_set_full_ppm: u32,
    /// Commands that the target leaves alone for `stall_ms` before it begins.
    pub stall_ppm: u32,
    /// For how long, in milliseconds.
    pub stall_ms: u32,
}

impl FaultsConfig {
    /// Checks that no frame and no command has more than one fault.
    ///
    /// # Errors
    /// [`ConfigError::OutOfRange`]
    pub fn check(&self) -> Result<(), ConfigError> {
        let commands = [self.busy_ppm, self.task_set_full_ppm, self.stall_ppm].map(u64::from).iter().sum();
        let sums = [("faults of frames", self.link().total_ppm()), ("faults of commands", commands)];
        match sums.into_iter().find(|(_, sum)| *sum > MILLION.into()) {
            Some((field, value)) => {
                Err(ConfigError::OutOfRange { field, value, allowed: "0 to 1000000 ppm together" })
            }
            None => Ok(()),
        }
    }

    /// Those of the link.
    pub(crate) fn link(&self) -> Rates {
        Rates {
            loss_ppm: self.loss_ppm,
            duplicate_ppm: self.duplicate_ppm,
            corrupt_ppm: self.corrupt_ppm,
            truncate_ppm: self.truncate_ppm,
            reorder_ppm: self.reorder_ppm,
            delay_ppm: self.delay_ppm,
            delay: Duration::from_micros(self.delay_us.into()),
        }
    }
}

/// Something that goes wrong on purpose.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// A frame of this kind does not arrive as it should.
    Frame(FrameFate, FrameKind),
    /// A command ends at once, undone.
    Fail(CommandFailure),
    /// A login is answered by LS_RJT: busy.
    Reject(LoginKind),
}

/// What becomes of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FrameFate {
    /// It is lost.
    Lose,
    /// It arrives with a wrong CRC.
    Damage,
    /// It arrives twice.
    Duplicate,
    /// It arrives after the next one.
    Reorder,
}

impl From<FrameFate> for Fate {
    fn from(fate: FrameFate) -> Self {
        match fate {
            FrameFate::Lose => Self::Drop,
            FrameFate::Damage => Self::Corrupt { bit: DAMAGED_BYTE * 8 },
            FrameFate::Duplicate => Self::Duplicate,
            FrameFate::Reorder => Self::Reorder,
        }
    }
}

/// Within the FC header, with and without a VLAN tag: what the CRC is for.
const DAMAGED_BYTE: u64 = 48;

/// A kind of FC frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FrameKind {
    /// FCP_CMND
    Command,
    /// FCP_DATA of a write
    WriteData,
    /// ABTS
    Abort,
    /// A request by ELS to the SAN: PLOGI, PRLI and the rest
    LinkService,
    /// FCP_XFER_RDY
    XferRdy,
    /// FCP_DATA of a read
    ReadData,
    /// FCP_RSP
    Response,
    /// BA_ACC and BA_RJT
    AbortAnswer,
    /// LS_ACC and LS_RJT
    LinkServiceAnswer,
}

impl FrameKind {
    /// Whether the SAN receives such frames; otherwise it sends them.
    pub(crate) fn is_received(self) -> bool {
        match self {
            Self::Command | Self::WriteData | Self::Abort | Self::LinkService => true,
            Self::XferRdy | Self::ReadData | Self::Response | Self::AbortAnswer | Self::LinkServiceAnswer => {
                false
            }
        }
    }

    /// Whether an Ethernet frame is one, given that its direction is right.
    pub(crate) fn matches(self, bytes: &[u8]) -> bool {
        let Ok((ethernet, payload)) = EthernetHeader::parse(bytes) else { return false };
        if ethernet.ethertype != EtherType::FCOE {
            return false;
        }
        let Ok(frame) = FcoeFrame::parse(payload) else { return false };
        let header = frame.header();
        match (header.r_ctl, header.fc_type) {
            (RCtl::COMMAND, FcType::FCP) => self == Self::Command,
            (RCtl::DATA, FcType::FCP) => matches!(self, Self::WriteData | Self::ReadData),
            (RCtl::DATA_DESCRIPTOR, FcType::FCP) => self == Self::XferRdy,
            (RCtl::STATUS, FcType::FCP) => self == Self::Response,
            (RCtl::ABTS, FcType::BLS) => self == Self::Abort,
            (RCtl::BA_ACC | RCtl::BA_RJT, FcType::BLS) => self == Self::AbortAnswer,
            (RCtl::ELS_REQUEST, FcType::ELS) => self == Self::LinkService,
            (RCtl::ELS_REPLY, FcType::ELS) => self == Self::LinkServiceAnswer,
            _ => false,
        }
    }
}

/// How a command ends that is not carried out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandFailure {
    /// Status BUSY
    Busy,
    /// Status TASK SET FULL
    TaskSetFull,
    /// Status RESERVATION CONFLICT
    ReservationConflict,
    /// Sense key ABORTED COMMAND: try again
    AbortedCommand,
    /// Sense key NOT READY: becoming ready
    NotReady,
    /// Sense key MEDIUM ERROR: unrecovered read error
    MediumError,
    /// Sense key HARDWARE ERROR: internal target failure
    HardwareError,
}

impl From<CommandFailure> for Refusal {
    fn from(failure: CommandFailure) -> Self {
        let sense = |key, what| Sense::new(key, what).into();
        match failure {
            CommandFailure::Busy => Status::BUSY.into(),
            CommandFailure::TaskSetFull => Status::TASK_SET_FULL.into(),
            CommandFailure::ReservationConflict => Status::RESERVATION_CONFLICT.into(),
            CommandFailure::AbortedCommand => sense(SenseKey::ABORTED_COMMAND, AdditionalSense::NONE),
            CommandFailure::NotReady => sense(SenseKey::NOT_READY, AdditionalSense::BECOMING_READY),
            CommandFailure::MediumError => {
                sense(SenseKey::MEDIUM_ERROR, AdditionalSense::UNRECOVERED_READ_ERROR)
            }
            CommandFailure::HardwareError => {
                sense(SenseKey::HARDWARE_ERROR, AdditionalSense::INTERNAL_TARGET_FAILURE)
            }
        }
    }
}

/// A login that can be rejected.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoginKind {
    /// To the fabric
    Flogi,
    /// To the fabric, for one more N_Port
    Fdisc,
    /// To a target port
    Plogi,
    /// Of FCP, at a target port
    Prli,
}

/// LOGICAL BUSY: it may be tried again (FC-LS-3, table 116).
const LOGIN_REJECT: LsRjt = LsRjt::new(Reason::LOGICAL_BUSY, Explanation::NONE);

/// What becomes of a command before its target looks at it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CommandFate {
    Fail(CommandFailure),
    /// It waits for so long.
    Stall(Duration),
}

/// Faults of commands and logins: those to order, and those by chance.
#[derive(Debug)]
pub(crate) struct Faults {
    ordered: Vec<(Fault, u32)>,
    by_chance: FaultsConfig,
    dice: Dice,
}

impl Faults {
    pub(crate) fn new(config: FaultsConfig) -> Self {
        Self { ordered: Vec::new(), by_chance: config, dice: Dice::new(config.seed) }
    }

    /// Faults by chance are these from now on.
    pub(crate) fn set_chances(&mut self, config: &FaultsConfig) {
        (self.by_chance, self.dice) = (*config, Dice::new(config.seed));
    }

    /// The next `count` occasions more have this fault; `false` when too many faults wait.
    pub(crate) fn order(&mut self, fault: Fault, count: u32) -> bool {
        if let Some((_, left)) = self.ordered.iter_mut().find(|(other, _)| *other == fault) {
            *left = left.saturating_add(count);
        } else if self.ordered.len() < MAX_ORDERS {
            self.ordered.push((fault, count));
        } else {
            return false;
        }
        true
    }

    /// The fate of a command that came.
    pub(crate) fn take_command(&mut self) -> Option<CommandFate> {
        let ordered = self.take(|fault| match fault {
            Fault::Fail(failure) => Some(CommandFate::Fail(failure)),
            Fault::Frame(..) | Fault::Reject(_) => None,
        });
        let FaultsConfig { busy_ppm, task_set_full_ppm, stall_ppm, stall_ms, .. } = self.by_chance;
        if ordered.is_some() || (busy_ppm, task_set_full_ppm, stall_ppm) == (0, 0, 0) {
            return ordered;
        }
        self.dice.roll().pick(&[
            (busy_ppm, CommandFate::Fail(CommandFailure::Busy)),
            (task_set_full_ppm, CommandFate::Fail(CommandFailure::TaskSetFull)),
            (stall_ppm, CommandFate::Stall(Duration::from_millis(stall_ms.into()))),
        ])
    }

    /// How the login that came is to be rejected.
    pub(crate) fn take_reject(&mut self, kind: LoginKind) -> Option<LsRjt> {
        self.take(|fault| (fault == Fault::Reject(kind)).then_some(LOGIN_REJECT))
    }

    fn take<T>(&mut self, is_it: impl Fn(Fault) -> Option<T>) -> Option<T> {
        let of = |(at, (fault, _)): (usize, &(Fault, u32))| is_it(*fault).map(|it| (at, it));
        let (at, it) = self.ordered.iter().enumerate().find_map(of)?;
        let (_, left) = &mut self.ordered[at];
        *left -= 1;
        if *left == 0 {
            self.ordered.remove(at);
        }
        Some(it)
    }
}
