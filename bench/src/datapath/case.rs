//! What is measured.

use super::rig::BATCH;
use fc::wire::header::MAX_PAYLOAD_LEN;
use std::fmt;

/// As many commands as one core has OX_IDs for, less what it keeps for questions.
const ALL_OX_IDS: usize = 57_344 - 512;
/// As many as Linux's largest hosts have by NPIV.
const MANY_VN_PORTS: u32 = 16_384;

/// Cases of a kind of frame.
pub(super) const LOADS: usize = 5;

/// The frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// A full frame of read data: checked, its exchange found, copied to the command's buffer.
    ReadData,
    /// The same without the copy: lent to its command.
    ReadInPlace,
    /// A response, to the command's completion.
    Response,
    /// A command, from its queue to its frame.
    Command,
    /// A full frame of write data; where each command has one, with the request for it.
    WriteData,
}

impl Kind {
    const ALL: [Self; 5] =
        [Self::ReadData, Self::ReadInPlace, Self::Response, Self::Command, Self::WriteData];

    pub(super) fn name(self, open: usize) -> &'static str {
        match self {
            Self::ReadData => "read data",
            Self::ReadInPlace => "read data in place",
            Self::Response => "response",
            Self::Command => "command",
            Self::WriteData if open == 1 => "write data",
            Self::WriteData => "XFER_RDY, write data",
        }
    }

    /// Bytes that each of `open` commands moves: a frame, or a batch of them if it is the only command.
    pub(super) fn data_len(self, open: usize) -> usize {
        match self {
            Self::ReadData | Self::ReadInPlace | Self::WriteData => BATCH.div_ceil(open) * MAX_PAYLOAD_LEN,
            Self::Response | Self::Command => 0,
        }
    }
}

/// A frame, and what the core has to find its exchange among.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Case {
    pub(crate) kind: Kind,
    /// Commands that are out.
    pub(crate) open: usize,
    /// VN_Ports that are logged in, each with a nexus.
    pub(crate) vn_ports: u32,
}

/// All of them. A batch of responses or commands is to as many exchanges, so there the fewest are those.
pub(super) fn cases() -> impl Iterator<Item = Case> {
    Kind::ALL.into_iter().flat_map(|kind| {
        let few = match kind {
            Kind::ReadData | Kind::ReadInPlace | Kind::WriteData => 1,
            Kind::Response | Kind::Command => BATCH,
        };
        let loads: [_; LOADS] =
            [(few, 1), (1024, 1), (ALL_OX_IDS, 1), (1024, MANY_VN_PORTS), (ALL_OX_IDS, MANY_VN_PORTS)];
        loads.map(|(open, vn_ports)| Case { kind, open, vn_ports })
    })
}

impl Case {
    /// Such as `read data, 1 VN_Port`.
    pub(super) fn without_open(&self) -> String {
        format!("{}, {}", self.kind.name(self.open), self.ports())
    }

    /// Such as `1 VN_Port`.
    fn ports(&self) -> String {
        format!("{} {}", self.vn_ports, if self.vn_ports == 1 { "VN_Port" } else { "VN_Ports" })
    }
}

impl fmt::Display for Case {
    /// Such as `read data, 1024 open, 1 VN_Port`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} open, {}", self.kind.name(self.open), self.open, self.ports())
    }
}
