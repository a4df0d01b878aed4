//! What a core counts.

use crate::port::{PortCounters, PortInfo};
use fc::time::Duration;
use hdrhistogram::Histogram;
use std::fmt;

/// How long a turn takes that is no turn's work.
const STALL: Duration = Duration::from_millis(1);

/// Why a received frame was dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DropReason {
    /// Too short or too long to be Ethernet or FCoE, or fill bytes that aren't there.
    Length,
    /// An EtherType that is not ours.
    EtherType,
    /// An FCoE version other than 0.
    Version,
    /// A CRC that doesn't match.
    Crc,
    /// A start delimiter that is not class 3.
    Sof,
    /// An end delimiter that says that the frame is damaged, or none of ours.
    Eof,
    /// Optional headers, which nobody agreed to.
    OptionalHeader,
    /// An OX_ID whose exchange is not open, or was used again since.
    NoExchange,
    /// A source other than the exchange's target: S_ID or MAC address.
    Source,
    /// A destination other than the exchange's VN_Port.
    Destination,
    /// An RX_ID other than the exchange's.
    RxId,
    /// Data beyond the command's buffer, or a request for such data.
    Offset,
    /// Data for a command that expects none, a second request for data, or a kind of frame that a target doesn't
    /// send.
    Unexpected,
    /// An information unit that can't be read.
    Malformed,
    /// More gaps in the order of the data than are remembered.
    Gaps,
    /// A frame for control, whose queue is full.
    ControlQueueFull,
    /// A frame of another core's exchange, which has taken none of those before it for long.
    SiblingBusy,
}

/// How many reasons there are.
const DROP_REASONS: usize = DropReason::SiblingBusy as usize + 1;

impl DropReason {
    /// Every reason, in the order of its counters.
    pub const ALL: [Self; DROP_REASONS] = [
        Self::Length,
        Self::EtherType,
        Self::Version,
        Self::Crc,
        Self::Sof,
        Self::Eof,
        Self::OptionalHeader,
        Self::NoExchange,
        Self::Source,
        Self::Destination,
        Self::RxId,
        Self::Offset,
        Self::Unexpected,
        Self::Malformed,
        Self::Gaps,
        Self::ControlQueueFull,
        Self::SiblingBusy,
    ];

    /// Its name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Length => "length",
            Self::EtherType => "ethertype",
            Self::Version => "version",
            Self::Crc => "crc",
            Self::Sof => "sof",
            Self::Eof => "eof",
            Self::OptionalHeader => "optional_header",
            Self::NoExchange => "no_exchange",
            Self::Source => "source",
            Self::Destination => "destination",
            Self::RxId => "rx_id",
            Self::Offset => "offset",
            Self::Unexpected => "unexpected",
            Self::Malformed => "malformed",
            Self::Gaps => "gaps",
            Self::ControlQueueFull => "control_queue_full",
            Self::SiblingBusy => "sibling_busy",
        }
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a core has counted since it started.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Frames dropped, by reason.
    dropped: [u64; DROP_REASONS],
    /// Frames handed to control.
    pub control_frames: u64,
    /// Frames handed on to the core of their exchange: they came by another queue than its own.
    pub handed_on: u64,
    /// Commands taken from consumers.
    pub commands: u64,
    /// Commands that ended with the target's answer.
    pub ended: u64,
    /// Commands that ended with a transport error.
    pub failed: u64,
    /// Questions to targets, by REC, about commands that took long.
    pub questions: u64,
    /// Sequences that targets were asked to send again, by SRR.
    pub retransmissions: u64,
    /// Commands that ended early because a frame of theirs was lost.
    pub lost: u64,
    /// Exchanges aborted by ABTS.
    pub aborts: u64,
    /// Exchanges whose ABTS was not answered.
    pub unanswered_aborts: u64,
    /// Commands that a task management function ended.
    pub cleared: u64,
    /// Bytes of read data that came.
    pub read_bytes: u64,
    /// Those of them that were lent where they were received, and not copied.
    pub lent_bytes: u64,
    /// Bytes of write data sent.
    pub written_bytes: u64,
    /// Turns of the core's thread that took a millisecond and more, which is more than it has to do in one: it was kept from
    /// its CPU.
    pub stalls: u64,
    /// How long these took, in nanoseconds.
    pub stalled_ns: u64,
}

impl Counters {
    /// Frames dropped for `reason`.
    pub const fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped[reason as usize]
    }

    /// Frames dropped for any reason.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.iter().sum()
    }

    /// The sums of both.
    #[must_use]
    fn plus(&self, other: &Self) -> Self {
        let mut dropped = self.dropped;
        for (sum, count) in dropped.iter_mut().zip(other.dropped) {
            *sum += count;
        }
        Self {
            dropped,
            control_frames: self.control_frames + other.control_frames,
            handed_on: self.handed_on + other.handed_on,
            commands: self.commands + other.commands,
            ended: self.ended + other.ended,
            failed: self.failed + other.failed,
            questions: self.questions + other.questions,
            retransmissions: self.retransmissions + other.retransmissions,
            lost: self.lost + other.lost,
            aborts: self.aborts + other.aborts,
            unanswered_aborts: self.unanswered_aborts + other.unanswered_aborts,
            cleared: self.cleared + other.cleared,
            read_bytes: self.read_bytes + other.read_bytes,
            lent_bytes: self.lent_bytes + other.lent_bytes,
            written_bytes: self.written_bytes + other.written_bytes,
            stalls: self.stalls + other.stalls,
            stalled_ns: self.stalled_ns + other.stalled_ns,
        }
    }

    /// Notes what a turn of the core's thread has taken.
    #[inline]
    pub(super) fn note_turn(&mut self, took: Duration) {
        if took >= STALL {
            self.stalls += 1;
            self.stalled_ns += took.as_nanos() as u64;
        }
    }

    pub(super) fn drop_frame(&mut self, reason: DropReason) {
        self.dropped[reason as usize] += 1;
    }
}

/// A core's state at one moment.
#[derive(Clone, Debug)]
pub struct CoreReport {
    /// The core's number.
    pub number: u16,
    /// Its port.
    pub port: PortInfo,
    /// Frames that its port has moved.
    pub frames: PortCounters,
    /// What it has counted.
    pub counters: Counters,
    /// Exchanges that are open.
    pub open_exchanges: usize,
    /// OX_IDs that rest after an exchange with missing frames.
    pub resting_ox_ids: usize,
    /// How long commands took, in nanoseconds, from the core taking them to their end.
    pub latency_ns: Histogram<u64>,
}

impl CoreReport {
    /// Two cores' reports as one; number and port are those of the first.
    #[must_use]
    pub fn plus(mut self, other: Self) -> Self {
        self.frames = self.frames.plus(&other.frames);
        self.counters = self.counters.plus(&other.counters);
        self.open_exchanges += other.open_exchanges;
        self.resting_ox_ids += other.resting_ox_ids;
        self.latency_ns += other.latency_ns;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_turns_are_counted() {
        let mut counters = Counters::default();
        for us in [0, 1, 999, 1000, 8000] {
            counters.note_turn(Duration::from_micros(us));
        }
        assert_eq!((counters.stalls, counters.stalled_ns), (2, 9_000_000));
        let twice = counters.plus(&counters);
        assert_eq!((twice.stalls, twice.stalled_ns), (4, 18_000_000));
    }

    #[test]
    fn every_reason_has_its_counter() {
        for (index, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
        }
    }
}
