//! The exchange table: found by index, checked by identity, two cache lines each.

use fc::fcp::Received;
use fc::messages::{Ended, Transfer, ox_id};
use fc::time::Instant;
use fc::wire::FcId;

/// What an exchange is about.
///
/// ```text
///  Free --command--> Open --FCP_RSP, all data here---------------------------> Free
///                     |---FCP_RSP, data missing--> Answered --data comes-----> Free
///                     |                               +-------E_D_TOV--------> Resting
///                     +---time-out: ABTS--> Aborting --BA_ACC, BA_RJT, silence-> Resting --R_A_TOV--> Free
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    Free,
    /// A command is out.
    Open,
    /// The target has answered, but data is missing that may still be on its way.
    Answered,
    /// ABTS is out.
    Aborting,
    /// Over, but frames of it may still live in the fabric: nobody may use its OX_ID.
    Resting,
}

/// One exchange. The first line is what a data frame touches.
#[repr(C, align(64))]
pub(super) struct Exchange {
    pub(super) transfer: Transfer,
    /// When to act on the phase.
    pub(super) deadline: Instant,
    /// The OX_ID, generation and all.
    pub(super) ox_id: u16,
    /// The target's, once it has given one.
    pub(super) rx_id: u16,
    pub(super) nexus: u16,
    pub(super) our_id: FcId,
    pub(super) peer_id: FcId,
    pub(super) phase: Phase,
    /// The SEQ_ID of our next sequence.
    pub(super) next_seq_id: u8,
    pub(super) received: Received,
    // From here on: touched at the start and the end only, and by writes.
    pub(super) tag: u64,
    pub(super) started: Instant,
    pub(super) burst: Option<Burst>,
    pub(super) answer: Option<Ended>,
    pub(super) consumer: u16,
}

/// Write data that the target has asked for and that is not sent yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Burst {
    pub(super) next: u32,
    pub(super) end: u32,
    pub(super) seq_cnt: u16,
}

/// All exchanges of a core. Clean ones are used again last-in first-out, so that few lines stay warm.
pub(super) struct ExchangeTable {
    exchanges: Box<[Exchange]>,
    free: Vec<u16>,
}

impl ExchangeTable {
    pub(super) fn new(core: u16) -> Self {
        let exchanges = (0..ox_id::EXCHANGES_PER_CORE).map(|index| Exchange {
            transfer: Transfer::None,
            deadline: Instant::ZERO,
            ox_id: ox_id::new(core, index, 0),
            rx_id: 0,
            nexus: 0,
            our_id: FcId::UNASSIGNED,
            peer_id: FcId::UNASSIGNED,
            phase: Phase::Free,
            next_seq_id: 0,
            received: Received::default(),
            tag: 0,
            started: Instant::ZERO,
            burst: None,
            answer: None,
            consumer: 0,
        });
        let indices = 0..u16::try_from(ox_id::EXCHANGES_PER_CORE).expect("an index fits an OX_ID");
        Self { exchanges: exchanges.collect(), free: indices.rev().collect() }
    }

    /// A free exchange under its next generation, for the caller to fill.
    pub(super) fn allocate(&mut self) -> Option<(u16, &mut Exchange)> {
        let index = self.free.pop()?;
        let exchange = &mut self.exchanges[usize::from(index)];
        assert_eq!(exchange.phase, Phase::Free, "an exchange is free and in use");
        exchange.ox_id = exchange.ox_id.wrapping_add(1 << (ox_id::CORE_BITS + ox_id::INDEX_BITS));
        Some((index, exchange))
    }

    pub(super) fn has_free(&self) -> bool {
        !self.free.is_empty()
    }

    pub(super) fn get(&self, index: u16) -> &Exchange {
        &self.exchanges[usize::from(index)]
    }

    pub(super) fn get_mut(&mut self, index: u16) -> &mut Exchange {
        &mut self.exchanges[usize::from(index)]
    }

    /// Makes an exchange's OX_ID available again.
    pub(super) fn free(&mut self, index: u16) {
        let exchange = &mut self.exchanges[usize::from(index)];
        assert!(exchange.transfer.is_empty(), "an exchange is freed with a command's buffer");
        exchange.phase = Phase::Free;
        self.free.push(index);
    }

    /// Exchanges that are not free.
    pub(super) fn open(&self) -> usize {
        self.exchanges.len() - self.free.len()
    }

    pub(super) fn has_deadlines(&self) -> bool {
        self.open() > 0
    }

    /// Whether a command of this consumer is out.
    pub(super) fn any_of_consumer(&self, consumer: usize) -> bool {
        self.exchanges
            .iter()
            .any(|exchange| exchange.has_command() && usize::from(exchange.consumer) == consumer)
    }

    /// The exchanges with a command. Collected, for the caller to change them: it is not a frame's path.
    pub(super) fn open_indices(&self) -> Vec<u16> {
        self.indices_of(Exchange::has_command)
    }

    /// The exchanges whose deadline has come.
    pub(super) fn expired(&self, now: Instant) -> Vec<u16> {
        self.indices_of(|exchange| exchange.phase != Phase::Free && exchange.deadline <= now)
    }

    fn indices_of(&self, wanted: impl Fn(&Exchange) -> bool) -> Vec<u16> {
        if self.open() == 0 {
            return Vec::new();
        }
        (0u16..)
            .zip(&self.exchanges)
            .filter(|(_, exchange)| wanted(exchange))
            .map(|(index, _)| index)
            .collect()
    }
}

impl Exchange {
    pub(super) fn has_command(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::Answered | Phase::Aborting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    #[test]
    fn a_data_frame_touches_one_line() {
        assert!(offset_of!(Exchange, received) + 8 <= 64, "{}", offset_of!(Exchange, received));
    }

    #[test]
    fn the_same_index_comes_back_under_another_ox_id() {
        let mut table = ExchangeTable::new(3);
        let (index, exchange) = table.allocate().unwrap();
        let first = exchange.ox_id;
        exchange.phase = Phase::Open;
        table.free(index);
        let (again, exchange) = table.allocate().unwrap();
        assert_eq!(again, index);
        assert_ne!(exchange.ox_id, first);
        assert_eq!(ox_id::index(exchange.ox_id), usize::from(index));
        assert_eq!(ox_id::core(exchange.ox_id), 3);
    }

    #[test]
    fn exchanges_are_bounded() {
        let mut table = ExchangeTable::new(0);
        for _ in 0..ox_id::EXCHANGES_PER_CORE {
            table.allocate().unwrap().1.phase = Phase::Open;
        }
        assert!(table.allocate().is_none() && !table.has_free());
    }
}
