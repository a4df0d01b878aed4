//! The frames of an exchange: as long as FCP's, and as many.

use fc::wire::MacAddr;
use fc::wire::ethernet::{EtherType, EthernetHeader, UNTAGGED_HEADER_LEN};
use fc::wire::fcoe::frame_len;
use fc::wire::header::MAX_PAYLOAD_LEN;

/// Bytes of an FCP_CMND, FCP_XFER_RDY and FCP_RSP.
const COMMAND_LEN: usize = 32;
const READY_LEN: usize = 12;
const RESPONSE_LEN: usize = 24;

/// What an exchange moves, and which way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Shape {
    is_write: bool,
    data_len: usize,
}

/// A frame of an exchange: all that its receiver needs to know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Label {
    pub(super) kind: Kind,
    /// Counts how often all exchanges were begun anew: what is late is another round's.
    pub(super) round: u16,
    /// The exchange.
    pub(super) slot: u16,
    /// Frames of data that the exchange moves.
    pub(super) frames: u16,
    /// Which of them this is.
    pub(super) number: u16,
}

/// What a frame is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Kind {
    Read = 1,
    Write = 2,
    Ready = 3,
    Data = 4,
    Response = 5,
}

impl Shape {
    pub(crate) const fn read(data_len: usize) -> Self {
        Self { is_write: false, data_len }
    }

    pub(crate) const fn write(data_len: usize) -> Self {
        Self { is_write: true, data_len }
    }

    pub(super) const fn data_len(self) -> usize {
        self.data_len
    }

    /// Frames of data.
    const fn data_frames(self) -> usize {
        self.data_len.div_ceil(MAX_PAYLOAD_LEN)
    }

    /// Frames of the whole exchange, both ways.
    pub(crate) const fn frames(self) -> usize {
        self.data_frames() + if self.is_write { 3 } else { 2 }
    }

    /// The command of such an exchange.
    pub(super) fn command(self, round: u16, slot: u16) -> Label {
        let kind = if self.is_write { Kind::Write } else { Kind::Read };
        Label { kind, round, slot, frames: self.data_frames() as u16, number: 0 }
    }
}

impl Label {
    /// Writes the frame's head and gives the length of the frame. What is behind the head is whatever was there.
    pub(super) fn emit(self, buffer: &mut [u8], source: MacAddr, destination: MacAddr) -> usize {
        let ethernet = EthernetHeader { source, destination, vlan: None, ethertype: EtherType::FCOE };
        let at = ethernet.emit(buffer);
        let words = [self.round, self.slot, self.frames, self.number].map(u16::to_be_bytes);
        buffer[at] = self.kind as u8;
        buffer[at + 1..at + 9].copy_from_slice(words.as_flattened());
        let payload_len = match self.kind {
            Kind::Read | Kind::Write => COMMAND_LEN,
            Kind::Ready => READY_LEN,
            Kind::Data => MAX_PAYLOAD_LEN,
            Kind::Response => RESPONSE_LEN,
        };
        frame_len(UNTAGGED_HEADER_LEN, payload_len)
    }

    /// Reads it; `None` for what is none of ours.
    pub(super) fn parse(frame: &[u8]) -> Option<Self> {
        let [kind, r0, r1, s0, s1, f0, f1, n0, n1] = *frame.get(UNTAGGED_HEADER_LEN..)?.first_chunk()?;
        let kind = match kind {
            1 => Kind::Read,
            2 => Kind::Write,
            3 => Kind::Ready,
            4 => Kind::Data,
            5 => Kind::Response,
            _ => return None,
        };
        let [round, slot, frames, number] = [[r0, r1], [s0, s1], [f0, f1], [n0, n1]].map(u16::from_be_bytes);
        Some(Self { kind, round, slot, frames, number })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_as_long_as_fcps_and_come_back() {
        let command = Shape::write(64 << 10).command(3, 7);
        assert_eq!((command.kind, command.frames), (Kind::Write, 32));
        assert_eq!((Shape::read(4 << 10).frames(), Shape::write(4 << 10).frames()), (4, 5));
        let lens = [Kind::Read, Kind::Write, Kind::Ready, Kind::Data, Kind::Response].map(|kind| {
            let label = Label { kind, number: 258, ..command };
            let mut buffer = [0; 2304];
            let len = label.emit(&mut buffer, MacAddr::ZERO, MacAddr::ALL_FCF);
            assert_eq!(Label::parse(&buffer[..len]), Some(label));
            len
        });
        assert_eq!(lens, [92, 92, 72, 2172, 84]);
        assert_eq!(Label::parse(&[0; 60]), None);
        assert_eq!(Label::parse(&[1; 20]), None);
    }
}
