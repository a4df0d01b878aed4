//! What is done about exchanges that are silent, or miss something (FCP-4, 12).
//!
//! A target that is silent for longer than it usually takes is asked by REC, which costs two short frames and harms
//! nothing. If it works on the command, it gets more time, twice as much each time. If it is done with the command, waits
//! for write data that was sent, or has less of it than was sent, a frame was lost. Where both sides have agreed to it,
//! what was lost is asked for again (`retransmission.rs`). Else, and when the target knows nothing of the command, this
//! ends at once, for its consumer to repeat it (`answers.rs` says when that is believed). Where the target may still hold
//! the exchange, it is aborted before: no write data of it can then reach the disk after that of its repetition.
//!
//! An OX_ID of which frames are missing rests for R_A_TOV, singly: the others stay.

use super::Core;
use super::answers::Answers;
use super::deadlines::TICK;
use super::exchange::{Phase, Question};
use super::nexus::{FrameFields, NexusEntry};
use super::ox_ids::{Qualified, Rest};
use crate::port::Port;
use fc::fcp::{Standing, missing};
use fc::messages::{Ended, FromCore, NexusId, Transfer, TransportError};
use fc::time::{Duration, Instant};
use fc::wire::els::{ElsRequest, ExchangeIds};
use fc::wire::header::{FCtl, FcType, RCtl, UNASSIGNED_XID};

/// Questions out at a time. Were a target slow all of a sudden, questions about all of its commands would make it
/// slower still.
const MAX_QUESTIONS: usize = 32;

/// How long data may come after the response that it belongs to, by another path: frames of an exchange keep their
/// order in most fabrics.
const REORDER_WAIT: Duration = Duration::from_micros(500);

/// R_A_TOV where the nexus is gone (FC-FS-3, 20.2.1.4).
const DEFAULT_R_A_TOV: Duration = Duration::from_secs(10);

/// F_CTL of ABTS: it ends its sequence and waits for the answer (FC-FS-3, 16.3.2).
const ABTS_F_CTL: u32 = FCtl::END_SEQUENCE | FCtl::TRANSFER_INITIATIVE;

impl<P: Port> Core<P> {
    /// Looks at what is due.
    pub(super) fn check_deadlines(&mut self, now: Instant) {
        let mut due = std::mem::take(&mut self.due);
        self.exchanges.take_due(now, &mut due);
        for index in due.drain(..) {
            self.look_at(now, index);
        }
        self.due = due;
        while self.exchanges.next_rested().is_some_and(|at| at <= now) {
            let rest = self.exchanges.end_rest().expect("the first one");
            self.reinstate(now, &rest);
        }
        let next = self.exchanges.next_deadline().into_iter().chain(self.exchanges.next_rested()).min();
        self.next_look = next.map(|at| at.max(now + TICK));
    }

    fn look_at(&mut self, now: Instant, index: u16) {
        let exchange = self.exchanges.get(index);
        let is_over = exchange.expires <= now;
        match exchange.phase {
            Phase::Open if is_over => self.abort(now, index, TransportError::TimedOut),
            Phase::Open => self.wait_or_ask(now, index),
            Phase::Answered if !is_over && self.can_ask_again(index) => self.ask_for_data(now, index),
            Phase::Answered => {
                let expected = exchange.answer.expect("it is answered").transferred;
                let moved = exchange.moved.contiguous();
                self.counters.lost += 1;
                self.fail(now, index, TransportError::DataMissing { expected, moved });
            }
            Phase::Aborting if is_over => self.end_unanswered(now, index),
            Phase::Aborting => self.send_abort(now, index),
            Phase::Free => unreachable!("a free exchange has no deadline"),
        }
    }

    /// Looks again later if something has moved since the last look, else asks the target.
    fn wait_or_ask(&mut self, now: Instant, index: u16) {
        let exchange = self.exchanges.get_mut(index);
        let moved = exchange.moved.contiguous();
        let entry = self.nexuses.get(exchange.nexus).expect("an exchange that is open has its nexus");
        let e_d_tov = entry.e_d_tov();
        let wait = if moved != exchange.seen || exchange.burst.is_some() {
            exchange.seen = moved;
            exchange.patience = entry.patience();
            exchange.patience
        } else if entry.answers == Answers::Never {
            exchange.expires.since(now)
        } else if self.ask(now, index) {
            let exchange = self.exchanges.get_mut(index);
            exchange.patience = (exchange.patience * 2).min(e_d_tov);
            exchange.patience
        } else {
            self.next_turn = self.next_turn.max(now + TICK) + TICK / MAX_QUESTIONS as u32;
            self.next_turn.since(now)
        };
        let expires = self.exchanges.get(index).expires;
        self.exchanges.look_at(index, expires.min(now + wait));
    }

    /// Sends REC for an exchange, if that can be done now.
    fn ask(&mut self, now: Instant, index: u16) -> bool {
        let exchange = self.exchanges.get(index);
        let rec = ElsRequest::Rec(ExchangeIds::new(exchange.our_id, exchange.ox_id, exchange.rx_id));
        let is_sent = self.send_question(
            now,
            index,
            Question::Standing,
            (RCtl::ELS_REQUEST, FcType::ELS),
            &rec.to_payload(),
        );
        self.counters.questions += u64::from(is_sent);
        is_sent
    }

    /// Sends a question about an exchange under an OX_ID of its own, if that can be done now. An earlier one is forgotten.
    pub(super) fn send_question(
        &mut self,
        now: Instant,
        index: u16,
        question: Question,
        kind: (RCtl, FcType),
        payload: &[u8],
    ) -> bool {
        self.forget_question(now, index);
        if self.exchanges.questions() >= MAX_QUESTIONS {
            return false;
        }
        let Some(frame) = self.allocate() else { return false };
        let Some(ox_id) = self.exchanges.open_question(index, question) else {
            self.port.release(frame);
            return false;
        };
        let nexus = self.exchanges.get(index).nexus;
        self.send_fields(frame, nexus, &request(kind, ox_id), payload);
        true
    }

    /// Acts on what a target says of an exchange.
    pub(super) fn handle_standing(
        &mut self,
        now: Instant,
        index: u16,
        standing: Option<Standing>,
        rx_id: u16,
    ) {
        self.exchanges.close_question(index, None);
        let Some(standing) = standing else { return };
        let exchange = self.exchanges.get_mut(index);
        let entry = self.nexuses.get_mut(exchange.nexus).expect("an exchange that is open has its nexus");
        let has_rx_id = exchange.rx_id != UNASSIGNED_XID;
        if !has_rx_id {
            entry.answers.note(standing != Standing::Unknown);
        }
        if !has_rx_id && entry.retry {
            // By which the target is told what it is to send again.
            exchange.rx_id = rx_id;
        }
        let age = now.since(exchange.started);
        let is_believed =
            entry.answers.conclusive_after(has_rx_id, entry.e_d_tov()).is_some_and(|after| age >= after);
        let (is_write, confirms) = (matches!(exchange.transfer, Transfer::Write(_)), entry.confirm);
        let sent = exchange.moved.contiguous();
        // What moved after the question is news that the answer doesn't know.
        let is_current = sent == exchange.seen && exchange.burst.is_none();
        match standing {
            Standing::Unsupported => entry.answers = Answers::Never,
            Standing::Unknown if is_current && is_believed => self.fail_lost(now, index),
            Standing::Complete if is_current => self.recover(now, index, standing),
            // For write data, or for a confirmation.
            Standing::Waiting { .. } if is_current && (is_write || confirms) => {
                self.recover(now, index, standing);
            }
            // It doesn't work but wait, and how long that takes says nothing of it. Told twice, if it costs the command: a
            // target may take questions faster than data.
            Standing::Working { moved } if is_current && is_write && moved < sent && moved > 0 => {
                if moved == exchange.told || entry.retry {
                    return self.recover(now, index, standing);
                }
                exchange.told = moved;
                let soon = now + entry.patience();
                self.look_at_by(index, soon);
            }
            Standing::Working { moved } => {
                exchange.told = moved;
                if !exchange.is_recovered {
                    entry.latency.note(age);
                }
            }
            Standing::Complete | Standing::Unknown | Standing::Waiting { .. } => {}
        }
    }

    /// Asks for what was lost, or ends the command.
    fn recover(&mut self, now: Instant, index: u16, standing: Standing) {
        if self.can_ask_again(index) {
            let exchange = self.exchanges.get(index);
            let (r_ctl, offset) = missing(&exchange.transfer, standing, exchange.moved.contiguous());
            self.ask_again(now, index, r_ctl, offset);
        } else if standing == Standing::Complete {
            self.fail_lost(now, index);
        } else {
            self.abort_lost(now, index);
        }
    }

    /// Ends a command that the target is through with, or has never seen.
    fn fail_lost(&mut self, now: Instant, index: u16) {
        self.counters.lost += 1;
        self.fail(now, index, TransportError::Lost);
    }

    /// Ends a command that the target holds open for frames that were lost.
    pub(super) fn abort_lost(&mut self, now: Instant, index: u16) {
        self.counters.lost += 1;
        self.abort(now, index, TransportError::Lost);
    }

    /// Notes an answer whose data may still be on its way.
    pub(super) fn await_data(&mut self, now: Instant, index: u16, answer: Ended) {
        if self.can_ask_again(index) && self.keeps_order(index) {
            return self.ask_for_data(now, index);
        }
        self.forget_question(now, index);
        let exchange = self.exchanges.get_mut(index);
        exchange.phase = Phase::Answered;
        exchange.answer = Some(answer);
        self.look_at_by(index, now + REORDER_WAIT);
    }

    /// Aborts an exchange; its command ends with `error` when the target has answered, or hasn't for long.
    pub(super) fn abort(&mut self, now: Instant, index: u16, error: TransportError) {
        self.counters.aborts += 1;
        self.forget_question(now, index);
        let exchange = self.exchanges.get_mut(index);
        let entry = self.nexuses.get(exchange.nexus).expect("an exchange that is open has its nexus");
        exchange.phase = Phase::Aborting;
        exchange.error = error;
        exchange.patience = entry.patience();
        // BA_ACC is due within E_D_TOV. Write data without it may reach the disk for as long as a frame lives.
        exchange.expires = now + if exchange.has_sent_data() { entry.r_a_tov() } else { entry.e_d_tov() * 2 };
        exchange.burst = None;
        exchange.transfer.clear();
        self.send_abort(now, index);
    }

    /// Sends ABTS, again if it is not the first time: it may get lost as any frame may.
    fn send_abort(&mut self, now: Instant, index: u16) {
        let seq_id = self.exchanges.get(index).next_seq_id;
        let is_sent = self.send_basic(index, RCtl::ABTS, ABTS_F_CTL, seq_id, &[]);
        let exchange = self.exchanges.get_mut(index);
        let wait = if is_sent { exchange.patience } else { TICK };
        if is_sent {
            exchange.patience *= 2;
        }
        let deadline = exchange.expires.min(now + wait);
        self.look_at_by(index, deadline);
    }

    /// Ends a command whose abort the target has not answered. It is for control to do more; that control is told of the
    /// first of many is enough.
    fn end_unanswered(&mut self, now: Instant, index: u16) {
        let exchange = self.exchanges.get(index);
        self.tell_control(FromCore::AbortUnanswered(NexusId(exchange.nexus), exchange.lun));
        self.counters.unanswered_aborts += 1;
        self.fail(now, index, exchange.error);
    }

    /// Ends a command whose abort the target has answered. If it accepted, it keeps its side until RRQ.
    pub(super) fn handle_abort_answer(&mut self, now: Instant, index: u16, is_accepted: bool) {
        let exchange = self.exchanges.get(index);
        let qualified = is_accepted.then_some(Qualified {
            nexus: exchange.nexus,
            our_id: exchange.our_id,
            peer_id: exchange.peer_id,
            rx_id: exchange.rx_id,
        });
        self.fail_qualified(now, index, exchange.error, qualified);
    }

    /// Answers a target's ABTS with BA_ACC (FC-FS-3, 16.3.3): no sequence is worth keeping. Without a frame for it
    /// the target aborts again.
    pub(super) fn accept_abort(&mut self, index: u16) {
        let exchange = self.exchanges.get(index);
        let ([o0, o1], [r0, r1]) = (exchange.ox_id.to_be_bytes(), exchange.rx_id.to_be_bytes());
        let payload = [0, 0, 0, 0, o0, o1, r0, r1, 0, 0, 0xff, 0xff];
        let f_ctl = FCtl::SEQUENCE_RECIPIENT | FCtl::LAST_SEQUENCE | FCtl::END_SEQUENCE;
        self.send_basic(index, RCtl::BA_ACC, f_ctl, exchange.next_seq_id, &payload);
    }

    fn send_basic(&mut self, index: u16, r_ctl: RCtl, f_ctl: u32, seq_id: u8, payload: &[u8]) -> bool {
        let Some(frame) = self.allocate() else { return false };
        let exchange = self.exchanges.get(index);
        let fields = FrameFields {
            r_ctl,
            fc_type: FcType::BLS,
            f_ctl: FCtl::new(f_ctl),
            seq_id,
            seq_cnt: 0,
            ox_id: exchange.ox_id,
            rx_id: exchange.rx_id,
            parameter: 0,
        };
        self.send_fields(frame, exchange.nexus, &fields, payload);
        true
    }

    /// Ends a command with an error. Its OX_ID rests until no frame of it can be on its way.
    pub(super) fn fail(&mut self, now: Instant, index: u16, error: TransportError) {
        self.fail_qualified(now, index, error, None);
    }

    fn fail_qualified(
        &mut self,
        now: Instant,
        index: u16,
        error: TransportError,
        qualified: Option<Qualified>,
    ) {
        self.counters.failed += 1;
        self.finish_unclean(now, index, Err(error), qualified);
    }

    /// Ends a command of which frames may be on their way.
    pub(super) fn finish_unclean(
        &mut self,
        now: Instant,
        index: u16,
        result: Result<Ended, TransportError>,
        qualified: Option<Qualified>,
    ) {
        let until = now + self.r_a_tov(self.exchanges.get(index).nexus);
        self.finish(now, index, result);
        self.exchanges.rest(index, until, qualified);
        self.look_by(until);
    }

    /// Its answer is of no interest any more, if a question about an exchange is out.
    pub(super) fn forget_question(&mut self, now: Instant, index: u16) {
        let exchange = self.exchanges.get(index);
        if exchange.question().is_some() {
            let until = now + self.r_a_tov(exchange.nexus);
            self.exchanges.close_question(index, Some(until));
        }
    }

    /// Tells the responder of an aborted exchange that its IDs may be used again (FC-LS-3, 4.2.12). It has a timer of
    /// its own for where there is no frame to tell it by.
    fn reinstate(&mut self, now: Instant, rest: &Rest) {
        let Some(qualified) = &rest.qualified else { return };
        let is_same = |entry: &&NexusEntry| (entry.s_id, entry.d_id) == (qualified.our_id, qualified.peer_id);
        let Some(entry) = self.nexuses.get(qualified.nexus).filter(is_same) else { return };
        let until = now + entry.r_a_tov();
        let Some(frame) = self.allocate() else { return };
        let Some(ox_id) = self.exchanges.notice(until) else { return self.port.release(frame) };
        let rrq = ElsRequest::Rrq(ExchangeIds::new(qualified.our_id, rest.ox_id, qualified.rx_id));
        let fields = request((RCtl::ELS_REQUEST, FcType::ELS), ox_id);
        self.send_fields(frame, qualified.nexus, &fields, &rrq.to_payload());
    }

    fn r_a_tov(&self, nexus: u16) -> Duration {
        self.nexuses.get(nexus).map_or(DEFAULT_R_A_TOV, |entry| entry.r_a_tov())
    }

    /// An exchange is to be looked at by then.
    pub(super) fn look_at_by(&mut self, index: u16, deadline: Instant) {
        self.exchanges.look_at(index, deadline);
        self.look_by(deadline);
    }

    /// Deadlines are to be looked at by then.
    pub(super) fn look_by(&mut self, deadline: Instant) {
        self.next_look = Some(self.next_look.map_or(deadline, |earlier| earlier.min(deadline)));
    }
}

/// The fields of a request in an exchange of its own.
fn request((r_ctl, fc_type): (RCtl, FcType), ox_id: u16) -> FrameFields {
    FrameFields {
        r_ctl,
        fc_type,
        f_ctl: FCtl::REQUEST,
        seq_id: 0,
        seq_cnt: 0,
        ox_id,
        rx_id: UNASSIGNED_XID,
        parameter: 0,
    }
}
