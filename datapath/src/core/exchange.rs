//! The exchange table: found by OX_ID, checked by identity, few cache lines each.

use super::deadlines::Deadlines;
use super::ox_ids::{OxIds, Qualified, Rest, Use};
use crate::port::prefetch::prefetch;
use fc::fcp::Moved;
use fc::messages::{Ended, Transfer, TransportError};
use fc::time::{Duration, Instant};
use fc::wire::fcp::{Lun, TaskManagement};
use fc::wire::header::UNASSIGNED_XID;
use fc::wire::{FcId, MacAddr};

/// Bytes of an exchange that matter to a read, or a short command, that ends well: two cache lines.
const USUAL_LEN: usize = 128;

/// OX_IDs that are left to questions, notices and rests when as many commands are out as can be.
const SPARE_OX_IDS: usize = 512;

/// What an exchange is about.
///
/// ```text
///  Free --command--> Open --FCP_RSP, all data moved----------------------------------> Free, and its OX_ID
///                     |---FCP_RSP, read data missing--> Answered --data comes--------> Free, and its OX_ID
///                     |                                    +-------none comes--------> Free; its OX_ID rests
///                     |                                    +-------SRR, if agreed to-> Open
///                     |---the target says by REC that it is over---------------------> Free; its OX_ID rests
///                     +---time-out, or lost write data: ABTS--> Aborting --answered--> Free; its OX_ID rests
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
}

/// One exchange. A data frame touches its second line only; its start and its end the first one, too, which is
/// prefetched with it.
#[repr(C, align(128))]
pub(super) struct Exchange {
    pub(super) tag: u64,
    pub(super) started: Instant,
    /// When to look at it next: see [`ExchangeTable::look_at`].
    deadline: Instant,
    /// When to give up: the command, and once it is being aborted, the ABTS.
    pub(super) expires: Instant,
    /// How long it may be silent before the next look.
    pub(super) patience: Duration,
    pub(super) lun: Lun,
    /// What had moved at the last look.
    pub(super) seen: u32,
    /// What the target said last that it has of our data.
    pub(super) told: u32,
    // The second line.
    pub(super) transfer: Transfer,
    pub(super) ox_id: u16,
    /// The target's, once it has given one.
    pub(super) rx_id: u16,
    pub(super) nexus: u16,
    pub(super) our_id: FcId,
    pub(super) peer_id: FcId,
    /// Where its frames come from: the nexus's destination, kept here for a frame to touch no other line.
    pub(super) peer_mac: MacAddr,
    pub(super) phase: Phase,
    /// The SEQ_ID of our next sequence.
    pub(super) next_seq_id: u8,
    pub(super) consumer: u16,
    /// The function that it is about, instead of a SCSI command.
    pub(super) function: TaskManagement,
    /// Something of it was asked for again: frames may come twice, and late.
    pub(super) is_recovered: bool,
    /// The response asks for FCP_CONF.
    pub(super) is_to_confirm: bool,
    /// The question that is out about it.
    question: Option<(u16, Question)>,
    /// Which data has come, or was sent.
    pub(super) moved: Moved,
    // From here on: of no interest to a read or a short command that ends well.
    /// Only of an open write.
    pub(super) burst: Option<Burst>,
    /// What became of a command that is being aborted.
    pub(super) error: TransportError,
    /// What the target said, once it is [`Phase::Answered`].
    pub(super) answer: Option<Ended>,
}

/// A request about an exchange, under an OX_ID of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Question {
    /// REC: how does it stand?
    Standing,
    /// SRR: send this again.
    Again,
}

/// Write data that the target has asked for and that is not sent yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Burst {
    pub(super) next: u32,
    pub(super) end: u32,
    pub(super) seq_cnt: u16,
}

/// All exchanges of a core. They are used again last-in first-out, so that few lines stay warm; their OX_IDs are not.
pub(super) struct ExchangeTable {
    /// Those that were ever used. There is room for all that may be: it never moves.
    exchanges: Vec<Exchange>,
    free: Vec<u16>,
    /// The most that may be open.
    max: usize,
    ox_ids: OxIds,
    deadlines: Deadlines,
    /// Exchanges with a question out.
    questions: usize,
}

impl ExchangeTable {
    pub(super) fn new(ox_ids: OxIds) -> Self {
        let max = ox_ids.len() - SPARE_OX_IDS;
        Self {
            exchanges: Vec::with_capacity(max),
            free: Vec::with_capacity(max),
            max,
            ox_ids,
            deadlines: Deadlines::new(max),
            questions: 0,
        }
    }

    /// Commands that the core can have out.
    pub(super) const fn max(&self) -> usize {
        self.max
    }

    /// A free exchange under a new OX_ID, for the caller to fill.
    #[inline(always)]
    pub(super) fn allocate(&mut self) -> Option<(u16, &mut Exchange)> {
        if self.free.is_empty() {
            self.add_one();
        }
        let &index = self.free.last()?;
        let ox_id = self.ox_ids.take(Use::Command(index))?;
        self.free.pop();
        let exchange = &mut self.exchanges[usize::from(index)];
        assert_eq!(exchange.phase, Phase::Free, "an exchange is free and in use");
        exchange.ox_id = ox_id;
        Some((index, exchange))
    }

    /// Adds a free exchange if there may be more.
    fn add_one(&mut self) {
        if self.exchanges.len() < self.max {
            self.free.push(u16::try_from(self.exchanges.len()).expect("no more than OX_IDs"));
            self.exchanges.push(Exchange::free());
            self.deadlines.add_one();
        }
    }

    pub(super) fn has_free(&self) -> bool {
        self.open() < self.max && self.ox_ids.has_free()
    }

    /// What an OX_ID stands for.
    pub(super) fn use_of(&self, ox_id: u16) -> Use {
        self.ox_ids.get(ox_id)
    }

    pub(super) fn get(&self, index: u16) -> &Exchange {
        &self.exchanges[usize::from(index)]
    }

    /// Asks for what a frame touches of an exchange.
    pub(super) fn prefetch(&self, index: u16) {
        prefetch(self.get(index), USUAL_LEN);
    }

    pub(super) fn get_mut(&mut self, index: u16) -> &mut Exchange {
        &mut self.exchanges[usize::from(index)]
    }

    /// Makes an exchange available again, and its OX_ID.
    pub(super) fn free(&mut self, index: u16) {
        let ox_id = self.release(index);
        self.ox_ids.free(ox_id);
    }

    /// Makes an exchange available again, and its OX_ID only later.
    pub(super) fn rest(&mut self, index: u16, until: Instant, qualified: Option<Qualified>) {
        let ox_id = self.release(index);
        self.ox_ids.rest(Rest { ox_id, until, qualified });
    }

    #[inline(always)]
    fn release(&mut self, index: u16) -> u16 {
        let exchange = &mut self.exchanges[usize::from(index)];
        assert!(exchange.transfer.is_empty(), "an exchange is freed with a command's buffer");
        assert!(exchange.question.is_none(), "an exchange is freed with a question out");
        exchange.phase = Phase::Free;
        self.deadlines.clear(index);
        self.free.push(index);
        exchange.ox_id
    }

    /// An OX_ID for a question about an exchange.
    pub(super) fn open_question(&mut self, index: u16, question: Question) -> Option<u16> {
        let ox_id = self.ox_ids.take(Use::Question(index))?;
        let earlier = self.exchanges[usize::from(index)].question.replace((ox_id, question));
        assert!(earlier.is_none(), "one question at a time");
        self.questions += 1;
        Some(ox_id)
    }

    /// Ends the question about an exchange, if one is out: it was answered, or the OX_ID rests.
    pub(super) fn close_question(&mut self, index: u16, rests_until: Option<Instant>) {
        let Some((ox_id, _)) = self.exchanges[usize::from(index)].question.take() else { return };
        self.questions -= 1;
        match rests_until {
            None => self.ox_ids.free(ox_id),
            Some(until) => self.ox_ids.rest(Rest { ox_id, until, qualified: None }),
        }
    }

    pub(super) const fn questions(&self) -> usize {
        self.questions
    }

    /// An OX_ID for a request whose reply is of no interest.
    pub(super) fn notice(&mut self, until: Instant) -> Option<u16> {
        let ox_id = self.ox_ids.take(Use::Forgotten)?;
        self.ox_ids.rest(Rest { ox_id, until, qualified: None });
        Some(ox_id)
    }

    /// When the first OX_ID has rested.
    pub(super) fn next_rested(&self) -> Option<Instant> {
        self.ox_ids.next_rested()
    }

    /// Makes the OX_ID that has rested longest available again.
    pub(super) fn end_rest(&mut self) -> Option<Rest> {
        self.ox_ids.end_rest()
    }

    /// Exchanges that are not free.
    pub(super) fn open(&self) -> usize {
        self.exchanges.len() - self.free.len()
    }

    /// OX_IDs that rest.
    pub(super) fn resting(&self) -> usize {
        self.ox_ids.resting()
    }

    /// The exchanges with a command.
    pub(super) fn open_indices(&self) -> Vec<u16> {
        self.select(|_| true)
    }

    /// The exchanges with a command that are `wanted`. Collected, for the caller to change them: it is not a frame's
    /// path.
    pub(super) fn select(&self, wanted: impl Fn(&Exchange) -> bool) -> Vec<u16> {
        let exchanges = (0u16..).zip(&self.exchanges);
        let wanted = exchanges.filter(|(_, exchange)| exchange.has_command() && wanted(exchange));
        wanted.map(|(index, _)| index).collect()
    }

    /// Sets when an exchange is to be looked at.
    pub(super) fn look_at(&mut self, index: u16, deadline: Instant) {
        self.exchanges[usize::from(index)].deadline = deadline;
        self.deadlines.set(index, deadline);
    }

    /// Takes the exchanges whose deadline has come to the end of `into`.
    pub(super) fn take_due(&mut self, now: Instant, into: &mut Vec<u16>) {
        let old = into.len();
        self.deadlines.take_due(now, into);
        let mut kept = old;
        for i in old..into.len() {
            let index = into[i];
            let exchange = &self.exchanges[usize::from(index)];
            if exchange.has_command() && exchange.deadline > now {
                self.deadlines.set(index, exchange.deadline);
            } else if exchange.has_command() {
                into[kept] = index;
                kept += 1;
            }
        }
        into.truncate(kept);
    }

    /// When the first deadline comes, or one may.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let deadline = |index: u16| {
            let exchange = self.get(index);
            exchange.has_command().then_some(exchange.deadline)
        };
        if self.open() > 0 { self.deadlines.next(deadline) } else { None }
    }
}

impl Exchange {
    fn free() -> Self {
        Self {
            transfer: Transfer::None,
            deadline: Instant::ZERO,
            ox_id: UNASSIGNED_XID,
            rx_id: UNASSIGNED_XID,
            nexus: 0,
            our_id: FcId::UNASSIGNED,
            peer_id: FcId::UNASSIGNED,
            peer_mac: MacAddr::ZERO,
            phase: Phase::Free,
            next_seq_id: 0,
            moved: Moved::default(),
            tag: 0,
            started: Instant::ZERO,
            burst: None,
            consumer: 0,
            lun: Lun::default(),
            function: TaskManagement::NONE,
            question: None,
            is_recovered: false,
            is_to_confirm: false,
            patience: Duration::ZERO,
            seen: 0,
            told: 0,
            expires: Instant::ZERO,
            error: TransportError::TimedOut,
            answer: None,
        }
    }

    pub(super) fn has_command(&self) -> bool {
        self.phase != Phase::Free
    }

    /// Whether nothing was asked about it, and nothing is to be said to its response.
    pub(super) fn is_as_usual(&self) -> bool {
        !self.is_recovered && !self.is_to_confirm && self.question.is_none()
    }

    /// The question that is out about it.
    pub(super) fn question(&self) -> Option<Question> {
        self.question.map(|(_, question)| question)
    }

    /// Whether write data may be on its way to the target.
    pub(super) fn has_sent_data(&self) -> bool {
        matches!(self.transfer, Transfer::Write(_)) && !self.moved.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    #[test]
    fn a_data_frame_touches_one_line() {
        assert_eq!(offset_of!(Exchange, transfer), 64);
        assert!(offset_of!(Exchange, moved) + 8 <= USUAL_LEN, "{}", offset_of!(Exchange, moved));
    }

    #[test]
    fn the_same_exchange_comes_back_under_another_ox_id() {
        let mut table = ExchangeTable::new(OxIds::new(3, 7));
        let (index, exchange) = table.allocate().unwrap();
        let first = exchange.ox_id;
        exchange.phase = Phase::Open;
        assert_eq!(table.use_of(first), Use::Command(index));
        table.free(index);
        assert_eq!(table.use_of(first), Use::Free);
        let (again, exchange) = table.allocate().unwrap();
        assert_eq!(again, index);
        assert_ne!(exchange.ox_id, first);
    }

    #[test]
    fn exchanges_are_bounded() {
        let mut table = ExchangeTable::new(OxIds::new(0, 7));
        for _ in 0..table.max() {
            table.allocate().unwrap().1.phase = Phase::Open;
        }
        assert_eq!((table.open(), table.has_free()), (8192 - SPARE_OX_IDS, false));
        assert!(table.allocate().is_none() && table.open_question(0, Question::Standing).is_some());
    }

    /// Exchanges that are lost again and again take OX_IDs with them, and no exchange.
    #[test]
    fn ox_ids_may_run_out_before_exchanges() {
        let mut table = ExchangeTable::new(OxIds::new(0, 7));
        let until = Instant::from_nanos(1);
        while let Some((index, exchange)) = table.allocate() {
            exchange.phase = Phase::Open;
            table.rest(index, until, None);
        }
        assert_eq!((table.open(), table.resting(), table.has_free()), (0, 8192, false));
        assert_eq!(table.next_rested(), Some(until));
        assert!(table.end_rest().is_some() && table.allocate().is_some());
    }

    #[test]
    fn a_question_has_an_ox_id_of_its_own() {
        let mut table = ExchangeTable::new(OxIds::new(0, 7));
        let (index, exchange) = table.allocate().unwrap();
        exchange.phase = Phase::Open;
        let question = table.open_question(index, Question::Standing).unwrap();
        assert_eq!((table.use_of(question), table.questions()), (Use::Question(index), 1));
        table.close_question(index, None);
        assert_eq!((table.use_of(question), table.questions()), (Use::Free, 0));
        let question = table.open_question(index, Question::Again).unwrap();
        table.close_question(index, Some(Instant::from_nanos(1)));
        assert_eq!((table.use_of(question), table.questions()), (Use::Forgotten, 0));
        table.close_question(index, None);
    }
}
