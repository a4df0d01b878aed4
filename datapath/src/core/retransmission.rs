//! Sequences that are asked for again (SRR), and the word that none is missing (FCP_CONF) (FCP-4, 4.9 and 9.6).
//!
//! Of a read, data is asked for from the first byte on that is missing; of a write, that the target asks for its data
//! again; of either, the response. The exchange goes on as if the target had only now come so far. What was lost may have
//! been late only, so that frames come twice: such an exchange's OX_ID rests when it has ended well, too.
//!
//! Most fabrics keep the order of an exchange's frames, so that data which is missing when the response comes is asked for
//! at once. Where it comes nevertheless, before the target has answered, it is waited for from then on.

use super::Core;
use super::deadlines::TICK;
use super::exchange::{Phase, Question};
use super::nexus::FrameFields;
use crate::port::Port;
use fc::time::Instant;
use fc::wire::fcp::Srr;
use fc::wire::header::{FCtl, FcType, RCtl};
use zerocopy::IntoBytes;

impl<P: Port> Core<P> {
    /// Whether the target of an exchange sends again what was lost.
    pub(super) fn can_ask_again(&self, index: u16) -> bool {
        let nexus = self.exchanges.get(index).nexus;
        self.nexuses.get(nexus).is_some_and(|entry| entry.retry)
    }

    /// Whether data never came after its response, as far as is known.
    pub(super) fn keeps_order(&self, index: u16) -> bool {
        let nexus = self.exchanges.get(index).nexus;
        self.nexuses.get(nexus).is_some_and(|entry| !entry.is_reordered)
    }

    /// The response has come, and not all data that belongs to it.
    pub(super) fn ask_for_data(&mut self, now: Instant, index: u16) {
        let missing_from = self.exchanges.get(index).moved.contiguous();
        self.ask_again(now, index, RCtl::DATA, missing_from);
    }

    /// Asks for an information unit of this kind again. If that can't be done now, the target is asked soon how it stands.
    pub(super) fn ask_again(&mut self, now: Instant, index: u16, r_ctl: RCtl, offset: u32) {
        let exchange = self.exchanges.get_mut(index);
        (exchange.phase, exchange.answer, exchange.is_to_confirm) = (Phase::Open, None, false);
        (exchange.seen, exchange.told) = (exchange.moved.contiguous(), 0);
        let srr = Srr::new(exchange.ox_id, exchange.rx_id, offset, r_ctl);
        let kind = (RCtl::FC4_REQUEST, FcType::FCP);
        let is_sent = self.send_question(now, index, Question::Again, kind, srr.as_bytes());
        self.counters.retransmissions += u64::from(is_sent);
        let exchange = self.exchanges.get_mut(index);
        exchange.is_recovered |= is_sent;
        let wait = if is_sent { exchange.patience } else { TICK };
        let deadline = exchange.expires.min(now + wait);
        self.look_at_by(index, deadline);
    }

    /// What was asked for comes, or the target doesn't have it any more.
    pub(super) fn handle_again_answer(&mut self, now: Instant, index: u16, is_accepted: bool) {
        self.exchanges.close_question(index, None);
        if !is_accepted {
            return self.abort_lost(now, index);
        }
        let exchange = self.exchanges.get(index);
        let has_come_late = exchange.moved.contiguous() > exchange.seen;
        if let Some(entry) = self.nexuses.get_mut(exchange.nexus).filter(|_| has_come_late) {
            entry.is_reordered = true;
        }
    }

    /// Tells the target that its response has come, if it wants to know. It waits for that no longer than for anything,
    /// so that nothing is done about a confirmation for which there is no frame.
    pub(super) fn confirm(&mut self, index: u16) {
        let exchange = self.exchanges.get(index);
        let is_agreed = || self.nexuses.get(exchange.nexus).is_some_and(|entry| entry.confirm);
        if !exchange.is_to_confirm || !is_agreed() {
            return;
        }
        let Some(frame) = self.allocate() else { return };
        let exchange = self.exchanges.get(index);
        let fields = FrameFields {
            r_ctl: RCtl::SOLICITED_CONTROL,
            fc_type: FcType::FCP,
            f_ctl: FCtl::new(FCtl::LAST_SEQUENCE | FCtl::END_SEQUENCE),
            seq_id: exchange.next_seq_id,
            seq_cnt: 0,
            ox_id: exchange.ox_id,
            rx_id: exchange.rx_id,
            parameter: 0,
        };
        self.send_fields(frame, exchange.nexus, &fields, &[]);
    }
}
