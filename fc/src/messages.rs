//! What threads tell each other: plain values that move through bounded queues.
//!
//! ```text
//! consumer --Command--> core --Completion--> consumer
//! control  --ToCore---> core --FromCore----> control
//! ```

use crate::in_place::InPlace;
use crate::time::Duration;
use crate::wire::ethernet::VlanTag;
use crate::wire::fcp::{CDB_LEN, Lun, RspCode, TaskManagement};
use crate::wire::scsi::{ScsiCommand, Sense, Status};
use crate::wire::{FcId, MacAddr};
use alloc::boxed::Box;
use thiserror::Error;

/// Everything that a frame to one remote port needs: control publishes it when the port is logged in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Nexus {
    /// Our VN_Port.
    pub s_id: FcId,
    /// The remote port.
    pub d_id: FcId,
    /// The VN_Port's MAC address.
    pub source: MacAddr,
    /// Where FCoE frames for `d_id` go: the FCF, or the peer itself in VN2VN.
    pub destination: MacAddr,
    /// The tag of the fabric's VLAN.
    pub vlan: Option<VlanTag>,
    /// The most payload bytes in one frame to the remote port, 256..=2112.
    pub max_payload_len: u16,
    /// How long a sequence may take to be delivered.
    pub e_d_tov: Duration,
    /// How long a frame may live in the fabric: an aborted exchange's OX_ID rests for this long.
    pub r_a_tov: Duration,
    /// Whether both sides agreed that lost sequences are asked for again, by SRR.
    pub retry: bool,
    /// Whether both sides agreed to FCP_CONF.
    pub confirm: bool,
}

/// A nexus's place in every core's table. It stays the same when its remote port logs in again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NexusId(pub u16);

/// From control to a core.
#[derive(Debug)]
pub enum ToCore {
    /// Send this whole Ethernet frame.
    Transmit(Box<[u8]>),
    /// Commands may name this nexus from now on, with these addresses. Its commands that are out fail with
    /// [`TransportError::NexusGone`] if the addresses changed.
    SetNexus(NexusId, Box<Nexus>),
    /// This nexus's commands that are out fail with [`TransportError::NexusGone`], later ones with
    /// [`TransportError::NotLoggedIn`].
    RemoveNexus(NexusId),
}

/// From a core to control.
#[derive(Debug)]
pub enum FromCore {
    /// A whole Ethernet frame that no exchange of the core wants. FIP is as it came; FCoE has passed length, version,
    /// delimiters and CRC.
    Frame(Box<[u8]>),
    /// The abort of a command to this logical unit was not answered.
    AbortUnanswered(NexusId, Lun),
}

/// Whose exchange an OX_ID names: its low three bits tell a core, or control, so that an XDP program can find the core
/// from the frame.
pub mod ox_id {
    /// Bits of the core's number.
    pub const CORE_BITS: u32 = 3;
    /// The core number that control's exchanges carry.
    pub const CONTROL: u16 = CORE_MASK;
    /// Core numbers; an interface with fewer cores deals them out in turn.
    pub const MAX_CORES: u16 = CONTROL;
    /// The bits of an OX_ID that hold the core's number.
    pub const CORE_MASK: u16 = (1 << CORE_BITS) - 1;

    /// The core number whose exchange this is, or [`CONTROL`].
    pub const fn core(ox_id: u16) -> u16 {
        ox_id & CORE_MASK
    }

    /// Which of `cores` cores of an interface has this OX_ID; `None` if it is control's.
    pub const fn owner(ox_id: u16, cores: u16) -> Option<u16> {
        match core(ox_id) {
            CONTROL => None,
            number => Some(number % cores),
        }
    }
}

/// The most CDB bytes that a command carries.
pub const MAX_CDB_LEN: usize = 32;

/// A command descriptor block of up to [`MAX_CDB_LEN`] bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cdb {
    bytes: [u8; MAX_CDB_LEN],
    len: u8,
}

impl Cdb {
    /// A CDB of these bytes.
    ///
    /// # Panics
    /// If there are none or more than [`MAX_CDB_LEN`].
    pub fn new(cdb: &[u8]) -> Self {
        assert!((1..=MAX_CDB_LEN).contains(&cdb.len()), "CDB of {} bytes", cdb.len());
        let mut bytes = [0; MAX_CDB_LEN];
        bytes[..cdb.len()].copy_from_slice(cdb);
        Self { bytes, len: u8::try_from(cdb.len()).expect("bounded above") }
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// As FCP_CMND has it: the first 16 bytes, and what is left, in whole words; both filled up with zeros.
    pub fn parts(&self) -> (&[u8; CDB_LEN], &[u8]) {
        let (first, rest) = self.bytes.split_first_chunk().expect("it has room for more");
        let rest_len = usize::from(self.len).saturating_sub(CDB_LEN).next_multiple_of(4);
        (first, &rest[..rest_len])
    }
}

impl From<&ScsiCommand> for Cdb {
    fn from(command: &ScsiCommand) -> Self {
        let mut bytes = [0; MAX_CDB_LEN];
        let len = command.emit(&mut bytes);
        Self::new(&bytes[..len])
    }
}

/// Memory that data moves to or from. It belongs to the command while that is out.
pub type Buffer = Box<[u8]>;

/// Which way a command's data moves; FCP_DL is as many bytes as it has room for.
#[derive(Debug)]
pub enum Transfer {
    /// No data.
    None,
    /// From the target into the buffer.
    Read(Buffer),
    /// From the target, and left where it was received as far as that can be. In a box, for an exchange to stay small.
    ReadInPlace(Box<InPlace>),
    /// From the buffer to the target.
    Write(Buffer),
}

impl Transfer {
    /// Bytes that the command may move.
    pub fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Read(buffer) | Self::Write(buffer) => buffer.len(),
            Self::ReadInPlace(read) => read.len(),
        }
    }

    /// Whether it moves nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether data comes from the target.
    pub const fn is_read(&self) -> bool {
        matches!(self, Self::Read(_) | Self::ReadInPlace(_))
    }

    /// Gives back what has come in place, which is of no use any more.
    pub fn clear(&mut self) {
        if let Self::ReadInPlace(read) = self {
            read.clear();
        }
    }

    /// The buffer, given back; a read in place has its data elsewhere.
    pub fn into_buffer(self) -> Option<Buffer> {
        match self {
            Self::None | Self::ReadInPlace(_) => None,
            Self::Read(buffer) | Self::Write(buffer) => Some(buffer),
        }
    }
}

/// What an FCP_CMND asks for (FCP-4, 9.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// A SCSI command.
    Scsi(Cdb),
    /// A task management function (SAM-5, 7), which moves no data. When the target has carried it out, our own commands
    /// that it ended there are aborted, and end with [`TransportError::Cleared`].
    Manage(TaskManagement),
}

impl From<&ScsiCommand> for Action {
    fn from(command: &ScsiCommand) -> Self {
        Self::Scsi(command.into())
    }
}

/// A command to a logical unit.
#[derive(Debug)]
pub struct Command {
    /// The consumer's own number; it comes back in the [`Completion`].
    pub tag: u64,
    /// To which remote port, from which VN_Port.
    pub nexus: NexusId,
    /// Which logical unit.
    pub lun: Lun,
    /// What to do.
    pub action: Action,
    /// With which data.
    pub transfer: Transfer,
    /// When the exchange is aborted if it hasn't ended.
    pub timeout: Duration,
}

/// A command's end. There is exactly one for each.
#[derive(Debug)]
pub struct Completion {
    /// The command's own.
    pub tag: u64,
    /// How it ended.
    pub result: Result<Ended, TransportError>,
    /// What the command was given to move, given back. With [`Ended`], its first `transferred` bytes are good; with an error,
    /// nothing is held in place.
    pub transfer: Transfer,
}

/// The target has answered, and all data arrived that its answer lets expect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ended {
    /// The SCSI status.
    pub status: Status,
    /// Bytes that moved.
    pub transferred: u32,
    /// Sense data, decoded.
    pub sense: Option<Sense>,
    /// The status qualifier's retry delay.
    pub retry_delay: u16,
}

impl Ended {
    /// GOOD, and nothing else to say.
    pub const fn good(transferred: u32) -> Self {
        Self { status: Status::GOOD, transferred, sense: None, retry_delay: 0 }
    }
}

/// The exchange did not end as it should: whether the target did the command isn't known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum TransportError {
    /// The remote port isn't logged in: nothing was sent.
    #[error("the remote port is not logged in")]
    NotLoggedIn,
    /// The remote port's login ended while the command was out.
    #[error("the login at the remote port ended while the command was out")]
    NexusGone,
    /// No answer in time; the exchange was aborted.
    #[error("no answer within the command's time-out; the exchange was aborted")]
    TimedOut,
    /// The target ended the exchange with an error of FCP itself.
    #[error("the target ended the exchange with FCP response code {0}")]
    Response(RspCode),
    /// The target said that it is done, but data is missing: of a read on its way here, of a write because it was
    /// never asked for.
    #[error("the target reported success, but only {moved} of {expected} bytes were moved")]
    DataMissing {
        /// Bytes expected by FCP_DL and the residual.
        expected: u32,
        /// Bytes that moved.
        moved: u32,
    },
    /// A frame of the exchange was lost, as the target's account of it shows.
    #[error("a frame of the exchange was lost")]
    Lost,
    /// The target's answer can't be understood.
    #[error("the target's FCP response is malformed")]
    Malformed,
    /// The target ended the exchange by ABTS or a reject.
    #[error("the target aborted the exchange")]
    Aborted,
    /// A task management function of ours ended the command.
    #[error("a task management function ended the command")]
    Cleared,
    /// The core was stopped.
    #[error("the core was stopped")]
    Stopped,
}
