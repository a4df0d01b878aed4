//! The table of FCP exchanges: a slot each, found by RX_ID.
//!
//! ```text
//!            FCP_CMND
//!              |
//!    +---------+-----------+----------------------+
//!    v                     v                      v
//!  SendData           SendXferRdy <---+        SendRsp
//!    |                     |          |           |
//!    | all sent            v          | burst     | sent
//!    |                 Receiving -----+ whole,    v
//!    |                     |            not the  Retained, if the initiator may ask for anything again, until it
//!    v                     v            last      |         has confirmed, or hasn't asked for long
//!  SendRsp              SendRsp                   v
//!                                                free
//! ```
//!
//! By SRR, an initiator leads back from Retained to SendData or SendRsp, and from Receiving to SendXferRdy.
//!
//! States whose name begins with Send are in the ring of those ready to send, once each, or stalled before it.

use super::received::Received;
use crate::context::Path;
use crate::scsi::{ParameterOut, Refusal};
use fc::time::Instant;
use fc::wire::FcId;
use fc::wire::fcp::RspCode;
use std::collections::VecDeque;

/// Exchanges at a time, over all targets and initiators; beyond, commands end in TASK SET FULL. The index has 12
/// bits of RX_ID.
pub(super) const MAX_EXCHANGES: usize = 1 << INDEX_BITS;
const INDEX_BITS: u32 = 12;
/// The upper bits of RX_ID tell a slot's uses apart. One value less than they hold: RX_ID 0xffff means "none".
const GENERATIONS: u8 = 15;
/// Exchanges that are over and can be asked for again, at most: the oldest is forgotten first. With many I/Os a second
/// these are a few milliseconds, in which an initiator asks.
const MAX_RETAINED: usize = 1024;
/// The most bytes of memory that a free slot keeps for the next command's parameter data.
const MAX_KEPT_BYTES: usize = 4096;

/// An exchange's place in the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Slot(u16);

/// One command, from FCP_CMND to FCP_RSP.
#[derive(Debug)]
pub(super) struct Exchange {
    generation: u8,
    pub(super) state: State,
    /// The target's place in the list of targets.
    pub(super) target: u16,
    /// The initiator's login.
    pub(super) login: u16,
    pub(super) lun: u16,
    /// The LUN's unit; `None` where there is none.
    pub(super) unit: Option<u16>,
    pub(super) ox_id: u16,
    /// The initiator.
    pub(super) initiator: FcId,
    /// The target.
    pub(super) responder: FcId,
    /// How its frames go.
    pub(super) path: Path,
    pub(super) max_payload_len: u16,
    /// FCP_DL.
    pub(super) data_len: u32,
    /// Bytes that the command moves more (above 0) or less than FCP_DL; told in FCP_RSP.
    pub(super) residual: i64,
    /// The target's next sequence.
    pub(super) seq_id: u8,
    pub(super) cdb: [u8; 16],
    /// What a read sends.
    pub(super) read: Option<Read>,
    /// The initiator may ask for sequences again.
    pub(super) has_retry: bool,
    /// The initiator is to confirm the response.
    pub(super) has_confirm: bool,
    /// Parameter data, of either direction.
    pub(super) buffer: Vec<u8>,
    /// The last time that a frame of it came.
    pub(super) touched: Instant,
    /// Until when it is retained.
    retained_until: Instant,
}

/// What an exchange does next.
#[derive(Clone, Copy, Debug)]
pub(super) enum State {
    /// There is none.
    Free,
    /// Sends the read's data, in a sequence that begins at offset `start`; the next frame is that of offset `next`.
    SendData { start: u32, next: u32 },
    /// Asks for write data.
    SendXferRdy(Writing),
    /// Takes write data.
    Receiving(Writing),
    /// Sends the status.
    SendRsp(Response),
    /// Has sent everything, which may have been lost.
    Retained(Response),
}

/// What a read sends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Read {
    pub(super) source: Source,
    pub(super) len: u32,
}

/// Where read data comes from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source {
    /// The exchange's buffer.
    Buffer,
    /// The disk.
    Disk { offset: u64 },
}

/// A command that takes data.
#[derive(Clone, Copy, Debug)]
pub(super) struct Writing {
    pub(super) sink: Sink,
    /// Bytes of the whole command.
    pub(super) len: u32,
    /// The burst asked for.
    pub(super) burst_start: u32,
    pub(super) burst_end: u32,
    pub(super) received: Received,
    /// The initiator ended its sequence and handed the initiative over.
    pub(super) has_initiative: bool,
}

/// Where write data goes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sink {
    /// The disk.
    Disk { offset: u64 },
    /// The exchange's buffer, and when all is there, what it says.
    Buffer(ParameterOut),
}

/// How a command or a task management function ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum Response {
    Good,
    Refused(Refusal),
    /// RSP_INFO.
    Info(RspCode),
}

impl State {
    /// Whether the target has the sequence initiative (REC).
    pub(super) const fn has_initiative(&self) -> bool {
        match self {
            Self::Free | Self::SendData { .. } | Self::SendXferRdy(_) | Self::SendRsp(_) => true,
            Self::Receiving(writing) => writing.has_initiative,
            Self::Retained(_) => false,
        }
    }

    pub(super) const fn sends(&self) -> bool {
        matches!(self, Self::SendData { .. } | Self::SendXferRdy(_) | Self::SendRsp(_))
    }
}

/// All exchanges.
#[derive(Debug)]
pub(super) struct Exchanges {
    slots: Vec<Exchange>,
    /// Each slot's OX_ID since it was last given a state: what is looked through for an exchange without its RX_ID, as an
    /// initiator asks for it (REC) that has heard nothing of a command. The slots themselves are a hundred times as much.
    ox_ids: Vec<u16>,
    /// The last one freed is used first: its line is still in the cache.
    free: Vec<Slot>,
    ready: VecDeque<Slot>,
    /// Those that come into the ring at their time.
    stalled: Vec<(Instant, Slot)>,
    /// Those that are over, the oldest first, and until when they are kept. Some are kept no longer.
    retained: VecDeque<(Instant, Slot)>,
}

impl Exchanges {
    pub(super) fn new() -> Self {
        let slots: Vec<_> = std::iter::repeat_with(Exchange::free).take(MAX_EXCHANGES).collect();
        let free = (0..MAX_EXCHANGES as u16).rev().map(Slot).collect();
        Self {
            slots,
            ox_ids: vec![0; MAX_EXCHANGES],
            free,
            ready: VecDeque::with_capacity(MAX_EXCHANGES),
            stalled: Vec::new(),
            retained: VecDeque::with_capacity(MAX_RETAINED),
        }
    }

    /// A slot in state `Free`, to be filled and then given a state by [`Self::set_state`].
    pub(super) fn allocate(&mut self) -> Option<(Slot, &mut Exchange)> {
        while self.free.is_empty() && !self.retained.is_empty() {
            self.forget_oldest();
        }
        let slot = self.free.pop()?;
        Some((slot, self.get_mut(slot)))
    }

    pub(super) fn get(&self, slot: Slot) -> &Exchange {
        &self.slots[usize::from(slot.0)]
    }

    pub(super) fn get_mut(&mut self, slot: Slot) -> &mut Exchange {
        &mut self.slots[usize::from(slot.0)]
    }

    /// The RX_ID of a slot's present use.
    pub(super) fn rx_id(&self, slot: Slot) -> u16 {
        u16::from(self.get(slot).generation) << INDEX_BITS | slot.0
    }

    /// The exchange in use with these IDs. Without an RX_ID (0xffff) all are looked through: an OX_ID may be in use again
    /// while what it was used for before is retained.
    pub(super) fn find(&self, rx_id: u16, ox_id: u16, initiator: FcId, responder: FcId) -> Option<Slot> {
        let is_it = |slot: &Slot| {
            let exchange = self.get(*slot);
            !matches!(exchange.state, State::Free)
                && exchange.ox_id == ox_id
                && exchange.initiator == initiator
                && exchange.responder == responder
        };
        if rx_id == fc::wire::header::UNASSIGNED_XID {
            let all = (0..).map(Slot).zip(&self.ox_ids).filter(|(_, used)| **used == ox_id);
            let all = all.map(|(slot, _)| slot).filter(is_it);
            return all.max_by_key(|slot| (self.get(*slot).is_open(), self.get(*slot).touched));
        }
        let slot = Slot(rx_id & ((1 << INDEX_BITS) - 1));
        Some(slot).filter(|slot| self.rx_id(*slot) == rx_id && is_it(slot))
    }

    /// All that are not over and for which `is_it` holds.
    pub(super) fn select(&self, is_it: impl Fn(&Exchange) -> bool) -> Vec<Slot> {
        let is_it = |slot: &Slot| self.get(*slot).is_open() && is_it(self.get(*slot));
        (0..MAX_EXCHANGES as u16).map(Slot).filter(is_it).collect()
    }

    /// Gives a state to an exchange that was not ready to send. One that sends comes last in the ring.
    pub(super) fn set_state(&mut self, slot: Slot, state: State) {
        self.give_state(slot, state);
        if state.sends() {
            self.ready.push_back(slot);
        }
    }

    /// As [`Self::set_state`], with a state that sends, which it may from `due` on.
    pub(super) fn stall(&mut self, slot: Slot, state: State, due: Instant) {
        assert!(state.sends());
        self.give_state(slot, state);
        self.stalled.push((due, slot));
    }

    fn give_state(&mut self, slot: Slot, state: State) {
        let exchange = self.get_mut(slot);
        assert!(!exchange.state.sends(), "a slot is in the ring once");
        exchange.state = state;
        self.ox_ids[usize::from(slot.0)] = exchange.ox_id;
    }

    /// When the first of those that are stalled may send.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.stalled.iter().map(|(due, _)| *due).min()
    }

    /// Makes those ready to send that are stalled no longer.
    pub(super) fn resume(&mut self, now: Instant) {
        let due = self.stalled.extract_if(.., |(due, _)| *due <= now);
        self.ready.extend(due.map(|(_, slot)| slot));
    }

    /// The first one ready to send.
    pub(super) fn first_ready(&self) -> Option<Slot> {
        self.ready.front().copied()
    }

    /// Lets the others go before the first one.
    pub(super) fn rotate(&mut self) {
        if self.ready.len() > 1 {
            self.ready.rotate_left(1);
        }
    }

    /// The first one has sent all and waits now in this state.
    pub(super) fn park_first(&mut self, state: State) {
        assert!(!state.sends());
        let slot = self.ready.pop_front().expect("there is a first one");
        self.get_mut(slot).state = state;
    }

    /// The first one has sent all and is done; if its initiator may ask for it again, it is kept until then.
    pub(super) fn end_first(&mut self, response: Response, until: Instant) {
        let slot = self.ready.pop_front().expect("there is a first one");
        let exchange = self.get_mut(slot);
        if !exchange.has_retry && !exchange.has_confirm {
            return self.release(slot);
        }
        exchange.state = State::Retained(response);
        exchange.retained_until = until;
        exchange.seq_id = exchange.seq_id.wrapping_add(1);
        if self.retained.len() == MAX_RETAINED {
            self.forget_oldest();
        }
        self.retained.push_back((until, slot));
    }

    /// When all that are retained now may be forgotten. They are few, so that nobody is woken for each.
    pub(super) fn next_forgotten(&self) -> Option<Instant> {
        self.retained.back().map(|(until, _)| *until)
    }

    /// Forgets those that were retained for long enough.
    pub(super) fn forget_old(&mut self, now: Instant) {
        while self.retained.front().is_some_and(|(until, _)| *until <= now) {
            self.forget_oldest();
        }
    }

    /// Forgets those that are retained for which `is_it` holds.
    pub(super) fn forget(&mut self, is_it: impl Fn(&Exchange) -> bool) {
        for at in 0..self.retained.len() {
            let (_, slot) = self.retained[at];
            let exchange = self.get(slot);
            if matches!(exchange.state, State::Retained(_)) && is_it(exchange) {
                self.release(slot);
            }
        }
    }

    fn forget_oldest(&mut self) {
        let Some((until, slot)) = self.retained.pop_front() else { return };
        let exchange = self.get(slot);
        // It may have been forgotten before, or sent again, and be retained for longer.
        if matches!(exchange.state, State::Retained(_)) && exchange.retained_until == until {
            self.release(slot);
        }
    }

    /// Ends an exchange at once, wherever it is.
    pub(super) fn abort(&mut self, slot: Slot) {
        if self.get(slot).state.sends() {
            self.ready.retain(|other| *other != slot);
            self.stalled.retain(|(_, other)| *other != slot);
        }
        self.release(slot);
    }

    fn release(&mut self, slot: Slot) {
        let exchange = self.get_mut(slot);
        exchange.state = State::Free;
        exchange.generation = (exchange.generation + 1) % GENERATIONS;
        exchange.buffer.clear();
        exchange.buffer.shrink_to(MAX_KEPT_BYTES);
        self.free.push(slot);
    }
}

impl Exchange {
    fn free() -> Self {
        Self {
            generation: 0,
            state: State::Free,
            target: 0,
            login: 0,
            lun: 0,
            unit: None,
            ox_id: 0,
            initiator: FcId::UNASSIGNED,
            responder: FcId::UNASSIGNED,
            path: Path::default(),
            max_payload_len: 0,
            data_len: 0,
            residual: 0,
            seq_id: 0,
            cdb: [0; 16],
            read: None,
            has_retry: false,
            has_confirm: false,
            buffer: Vec::new(),
            touched: Instant::ZERO,
            retained_until: Instant::ZERO,
        }
    }

    /// Whether its command is not over yet.
    pub(super) const fn is_open(&self) -> bool {
        !matches!(self.state, State::Free | State::Retained(_))
    }

    /// Bytes of data that have moved, for REC.
    pub(super) fn moved(&self) -> u32 {
        match &self.state {
            State::Free | State::SendRsp(_) | State::Retained(_) => self.data_len,
            State::SendData { next, .. } => *next,
            State::SendXferRdy(writing) => writing.burst_start,
            State::Receiving(writing) => writing.burst_start + writing.received.len_from(writing.burst_start),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: FcId = FcId::from_u32(1);
    const T: FcId = FcId::from_u32(2);

    fn start(table: &mut Exchanges, ox_id: u16, state: State) -> Slot {
        let (slot, exchange) = table.allocate().unwrap();
        (exchange.ox_id, exchange.initiator, exchange.responder) = (ox_id, A, T);
        table.set_state(slot, state);
        slot
    }

    #[test]
    fn an_id_of_an_earlier_use_finds_nothing() {
        let mut table = Exchanges::new();
        let slot = start(&mut table, 7, State::SendRsp(Response::Good));
        let rx_id = table.rx_id(slot);
        assert_eq!(table.find(rx_id, 7, A, T), Some(slot));
        assert_eq!(table.find(0xffff, 7, A, T), Some(slot));
        assert_eq!(table.find(rx_id, 8, A, T), None);
        assert_eq!(table.find(rx_id, 7, T, T), None);
        table.end_first(Response::Good, Instant::ZERO);
        assert_eq!(table.find(rx_id, 7, A, T), None);
        let again = start(&mut table, 7, State::SendRsp(Response::Good));
        assert_eq!(again, slot, "last in, first out");
        assert_eq!(table.find(rx_id, 7, A, T), None, "the generation differs");
        for _ in 0..100 {
            table.end_first(Response::Good, Instant::ZERO);
            let slot = start(&mut table, 7, State::SendRsp(Response::Good));
            assert_ne!(table.rx_id(slot) >> INDEX_BITS, 0xf);
        }
    }

    #[test]
    fn the_table_is_bounded_and_an_abort_frees() {
        let mut table = Exchanges::new();
        let slots: Vec<_> = (0..MAX_EXCHANGES)
            .map(|at| start(&mut table, at as u16, State::SendRsp(Response::Good)))
            .collect();
        assert!(table.allocate().is_none());
        table.abort(slots[0]);
        assert_eq!(table.first_ready(), Some(slots[1]));
        assert!(table.allocate().is_some());
        table.rotate();
        assert_eq!(table.first_ready(), Some(slots[2]));
        assert_eq!(table.select(|exchange| exchange.ox_id < 3).len(), 2);
    }
}
