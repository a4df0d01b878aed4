//! The control thread's own exchanges: link services and name server requests (FC-FS-3, 12 and 16).
//!
//! ```text
//!            +------+   reply                    free
//!  begin --->| Open +------------------------------->
//!            +--+---+
//!      time-out |   \ the responder aborts, or forgotten
//!        (ABTS) v    \
//!        +----------+ \      +---------+  R_A_TOV (RRQ if the responder
//!        | Aborting +------->| Resting +--------------------------------> free
//!        +----------+        +---------+  keeps a recovery qualifier)
//!         BA_ACC, BA_RJT or time-out
//! ```
//!
//! An OX_ID rests for R_A_TOV where frames that carry it may still be on their way. The exchanges don't repeat
//! requests: whoever asked knows whether and when it is worth it.

mod ox_id;
mod request;
#[cfg(test)]
mod tests;

pub use ox_id::OxIdRange;
pub(crate) use request::Order;
pub use request::{Answer, Failure, Outgoing, Request, Service, Via};

use crate::frame::FcFrame;
use crate::queue::Queue;
use crate::time::{Duration, Instant};
use crate::wire::bls::{BaAcc, BaRjt, BaRjtExplanation, BaRjtReason};
use crate::wire::ct;
use crate::wire::els::{ElsCommand, ElsReply, ElsRequest, ExchangeIds};
use crate::wire::header::{FCtl, FcHeader, FcType, MAX_PAYLOAD_LEN, RCtl, UNASSIGNED_XID};
use crate::wire::{FcId, WireError};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use zerocopy::IntoBytes;

/// Exchanges that are open, being aborted or resting. Every remote port of a VN_Port has at most one open; the
/// rest is room for those that rest after a link has flapped.
pub const MAX_EXCHANGES: usize = 2048;
/// The longest reply of a name server: a list of 4,095 ports.
pub const MAX_CT_REPLY_LEN: usize = 64 * 1024;
/// The longest reply to a link service: none that is asked for needs more than a frame.
pub const MAX_ELS_REPLY_LEN: usize = MAX_PAYLOAD_LEN;

/// The exchanges that one VN_Port's control originated. `K` says whose each is.
#[derive(Clone, Debug)]
pub struct Exchanges<K> {
    range: OxIdRange,
    last: u16,
    r_a_tov: Duration,
    /// In boxes: an empty map keeps a node, and there may be thousands of VN_Ports.
    exchanges: BTreeMap<u16, Box<Exchange<K>>>,
    transmit: Queue<Outgoing>,
    counters: Counters,
}

#[derive(Clone, Debug)]
struct Exchange<K> {
    via: Via,
    s_id: FcId,
    d_id: FcId,
    state: State<K>,
}

#[derive(Clone, Debug)]
enum State<K> {
    /// The request is out.
    Open(Open<K>),
    /// The ABTS is out.
    Aborting { until: Instant },
    /// The OX_ID must not be used; a responder with a recovery qualifier is told when it may be.
    Resting { until: Instant, is_qualified: bool },
}

#[derive(Clone, Debug)]
struct Open<K> {
    /// `None`: nobody waits for the outcome.
    key: Option<K>,
    asked: Asked,
    until: Instant,
    /// What has come of the reply.
    reply: Vec<u8>,
    frames: u16,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Asked {
    Els(ElsCommand),
    NameServer,
}

/// What the exchanges counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Replies that no exchange waits for; also those that came after their time-out.
    pub unmatched: u64,
    /// Requests without a reply in time.
    pub timed_out: u64,
    /// Replies of which frames were missing, or that were too long.
    pub broken: u64,
    /// Exchanges that the responder aborted.
    pub aborted: u64,
}

/// Whose exchange ended, and how.
pub type Outcome<K> = (K, Result<Answer, Failure>);

impl<K: Copy> Exchanges<K> {
    /// No exchanges. `r_a_tov` holds until a login tells the fabric's.
    pub const fn new(range: OxIdRange, r_a_tov: Duration) -> Self {
        Self {
            range,
            last: UNASSIGNED_XID,
            r_a_tov,
            exchanges: BTreeMap::new(),
            transmit: Queue::new(),
            counters: Counters { unmatched: 0, timed_out: 0, broken: 0, aborted: 0 },
        }
    }

    /// The fabric's R_A_TOV, for IDs that go to rest from now on.
    pub const fn set_r_a_tov(&mut self, r_a_tov: Duration) {
        self.r_a_tov = r_a_tov;
    }

    /// Sends a request. Its end comes with `key`, if there is one, from [`Self::handle_fcoe_frame`],
    /// [`Self::handle_fip_frame`] or [`Self::handle_timeout`].
    ///
    /// # Errors
    /// [`Failure::TooMany`] when [`MAX_EXCHANGES`] are there or all OX_IDs are taken.
    pub fn begin(&mut self, now: Instant, key: Option<K>, request: &Request) -> Result<(), Failure> {
        let ox_id = self.free_ox_id().ok_or(Failure::TooMany)?;
        let (asked, kind, payload) = match &request.service {
            Service::Els(els) => {
                (Asked::Els(els.command()), (RCtl::ELS_REQUEST, FcType::ELS), els.to_payload())
            }
            Service::NameServer(ct) => (Asked::NameServer, (RCtl::CT_REQUEST, FcType::CT), ct.to_payload()),
        };
        let &Request { via, s_id, d_id, timeout, .. } = request;
        self.transmit.push_back(Outgoing { via, frame: FcFrame::request(kind, s_id, d_id, ox_id, payload) });
        let state = State::Open(Open { key, asked, until: now + timeout, reply: Vec::new(), frames: 0 });
        self.exchanges.insert(ox_id, Box::new(Exchange { via, s_id, d_id, state }));
        Ok(())
    }

    fn free_ox_id(&mut self) -> Option<u16> {
        if self.exchanges.len() >= MAX_EXCHANGES.min(self.range.count()) {
            return None;
        }
        loop {
            self.last = self.range.after(self.last);
            if !self.exchanges.contains_key(&self.last) {
                return Some(self.last);
            }
        }
    }

    /// Forgets the open exchanges whose key `is_over`: their outcome is of no interest any more.
    pub fn forget(&mut self, now: Instant, is_over: impl Fn(&K) -> bool) {
        let resting = State::Resting { until: now + self.r_a_tov, is_qualified: false };
        for exchange in self.exchanges.values_mut() {
            if let State::Open(Open { key: Some(key), .. }) = &exchange.state
                && is_over(key)
            {
                exchange.state = resting.clone();
            }
        }
    }

    /// The link is gone: nothing is open any more and nothing is sent.
    pub fn reset(&mut self, now: Instant) {
        self.end_all(now);
        self.transmit.clear();
    }

    /// The N_Port_ID is gone: nothing is open any more. What waits to be sent still is.
    pub fn end_all(&mut self, now: Instant) {
        let until = now + self.r_a_tov;
        for exchange in self.exchanges.values_mut() {
            match exchange.state {
                State::Open(_) | State::Aborting { .. } => {
                    exchange.state = State::Resting { until, is_qualified: false };
                }
                State::Resting { ref mut is_qualified, .. } => *is_qualified = false,
            }
        }
    }

    /// Takes a reply, or a basic link service, that came by FCoE.
    pub fn handle_fcoe_frame(&mut self, now: Instant, frame: &FcFrame) -> Option<Outcome<K>> {
        let header = &frame.header;
        match (header.r_ctl, header.fc_type) {
            (RCtl::ELS_REPLY, FcType::ELS) | (RCtl::SOLICITED_CONTROL, FcType::CT) => {
                self.handle_reply(now, frame, |exchange| {
                    exchange.via == Via::Fcoe && (exchange.s_id, exchange.d_id) == (header.d_id, header.s_id)
                })
            }
            (RCtl::ABTS, FcType::BLS) => self.handle_abts(now, header),
            (RCtl::BA_ACC, FcType::BLS) => {
                self.handle_abts_reply(now, header, true);
                None
            }
            (RCtl::BA_RJT, FcType::BLS) => {
                self.handle_abts_reply(now, header, false);
                None
            }
            _ => {
                self.counters.unmatched += 1;
                None
            }
        }
    }

    /// Takes a reply that came by FIP. It goes to an N_Port_ID that isn't ours yet.
    pub fn handle_fip_frame(&mut self, now: Instant, frame: &FcFrame) -> Option<Outcome<K>> {
        self.handle_reply(now, frame, |exchange| {
            let has_id = exchange.s_id != FcId::UNASSIGNED;
            matches!(exchange.via, Via::Fip { .. })
                && exchange.d_id == frame.header.s_id
                && (!has_id || exchange.s_id == frame.header.d_id)
        })
    }

    fn handle_reply(
        &mut self,
        now: Instant,
        frame: &FcFrame,
        is_addressed: impl Fn(&Exchange<K>) -> bool,
    ) -> Option<Outcome<K>> {
        let header = &frame.header;
        let ox_id = header.ox_id.get();
        let exchange = self
            .exchanges
            .get_mut(&ox_id)
            .map(|exchange| &mut **exchange)
            .filter(|exchange| is_addressed(exchange));
        let Some(Exchange { state: State::Open(open), .. }) = exchange else {
            self.counters.unmatched += 1;
            return None;
        };
        let expected = match open.asked {
            Asked::Els(_) => (RCtl::ELS_REPLY, FcType::ELS),
            Asked::NameServer => (RCtl::SOLICITED_CONTROL, FcType::CT),
        };
        if (header.r_ctl, header.fc_type) != expected || !header.f_ctl.has(FCtl::EXCHANGE_RESPONDER) {
            self.counters.unmatched += 1;
            return None;
        }
        match open.take(frame) {
            Taken::Part => None,
            Taken::Repeated => {
                self.counters.unmatched += 1;
                None
            }
            Taken::Whole => {
                let (key, asked, reply) = (open.key, open.asked, core::mem::take(&mut open.reply));
                self.exchanges.remove(&ox_id);
                key.map(|key| (key, answer(asked, header.d_id, &reply)))
            }
            Taken::Broken => {
                let key = open.key;
                self.counters.broken += 1;
                self.abort(now, ox_id);
                key.map(|key| (key, Err(Failure::Broken)))
            }
        }
    }

    /// The other side aborts an exchange.
    fn handle_abts(&mut self, now: Instant, abts: &FcHeader) -> Option<Outcome<K>> {
        let (ox_id, rx_id) = (abts.ox_id.get(), abts.rx_id.get());
        let accept = BaAcc::exchange(ox_id, rx_id);
        if !abts.f_ctl.has(FCtl::EXCHANGE_RESPONDER) {
            // Requests of others are answered at once and forgotten: whatever is left of one is aborted.
            self.reply_to_abts(abts, RCtl::BA_ACC, accept.as_bytes());
            return None;
        }
        let is_addressed = |exchange: &&mut Exchange<K>| {
            exchange.via == Via::Fcoe && (exchange.s_id, exchange.d_id) == (abts.d_id, abts.s_id)
        };
        let Some(exchange) =
            self.exchanges.get_mut(&ox_id).map(|exchange| &mut **exchange).filter(is_addressed)
        else {
            let reject = BaRjt::new(BaRjtReason::UNABLE, BaRjtExplanation::INVALID_XIDS);
            self.reply_to_abts(abts, RCtl::BA_RJT, reject.as_bytes());
            return None;
        };
        let resting = State::Resting { until: now + self.r_a_tov, is_qualified: false };
        let before = core::mem::replace(&mut exchange.state, resting);
        self.reply_to_abts(abts, RCtl::BA_ACC, accept.as_bytes());
        match before {
            State::Open(open) => {
                self.counters.aborted += 1;
                open.key.map(|key| (key, Err(Failure::Aborted)))
            }
            State::Aborting { .. } | State::Resting { .. } => None,
        }
    }

    fn reply_to_abts(&mut self, abts: &FcHeader, r_ctl: RCtl, payload: &[u8]) {
        let frame = FcFrame::bls_reply(abts, r_ctl, Vec::from(payload));
        self.push_reply(Via::Fcoe, frame);
    }

    /// Queues a reply to a request of others. It is dropped when nobody fetches frames.
    pub fn push_reply(&mut self, via: Via, frame: FcFrame) {
        if self.transmit.len() < 2 * MAX_EXCHANGES {
            self.transmit.push_back(Outgoing { via, frame });
        }
    }

    fn handle_abts_reply(&mut self, now: Instant, header: &FcHeader, is_accepted: bool) {
        let until = now + self.r_a_tov;
        match self.exchanges.get_mut(&header.ox_id.get()).map(|exchange| &mut **exchange) {
            Some(Exchange { s_id, d_id, state: state @ State::Aborting { .. }, .. })
                if (*s_id, *d_id) == (header.d_id, header.s_id) =>
            {
                *state = State::Resting { until, is_qualified: is_accepted };
            }
            _ => self.counters.unmatched += 1,
        }
    }

    /// Ends an open exchange by ABTS where it can be, and lets its OX_ID rest.
    fn abort(&mut self, now: Instant, ox_id: u16) {
        let exchange = self.exchanges.get_mut(&ox_id).expect("only known exchanges are aborted");
        let is_watched = matches!(exchange.state, State::Open(Open { key: Some(_), .. }));
        if exchange.via != Via::Fcoe || !is_watched {
            exchange.state = State::Resting { until: now + self.r_a_tov, is_qualified: false };
            return;
        }
        // FC-FS-3, 12.3.3: the reply to an ABTS is waited for as long as for any link service.
        exchange.state = State::Aborting { until: now + self.r_a_tov * 2 };
        let kind = (RCtl::ABTS, FcType::BLS);
        let mut frame = FcFrame::request(kind, exchange.s_id, exchange.d_id, ox_id, Vec::new());
        frame.header.f_ctl = FCtl::new(FCtl::END_SEQUENCE | FCtl::TRANSFER_INITIATIVE);
        frame.header.seq_id = 1;
        self.transmit.push_back(Outgoing { via: Via::Fcoe, frame });
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.exchanges.values().map(|exchange| exchange.until()).min()
    }

    /// Does what is due. Gives whose requests timed out.
    pub fn handle_timeout(&mut self, now: Instant) -> Vec<K> {
        let due: Vec<u16> = self
            .exchanges
            .iter()
            .filter(|(_, exchange)| exchange.until() <= now)
            .map(|(&id, _)| id)
            .collect();
        due.into_iter().filter_map(|ox_id| self.expire(now, ox_id)).collect()
    }

    fn expire(&mut self, now: Instant, ox_id: u16) -> Option<K> {
        let exchange = self.exchanges.get_mut(&ox_id)?;
        match &mut exchange.state {
            State::Open(open) => {
                let key = open.key;
                self.counters.timed_out += 1;
                self.abort(now, ox_id);
                key
            }
            State::Aborting { .. } => {
                exchange.state = State::Resting { until: now + self.r_a_tov, is_qualified: false };
                None
            }
            State::Resting { is_qualified, .. } => {
                let is_qualified = *is_qualified;
                if let Some(exchange) = self.exchanges.remove(&ox_id)
                    && is_qualified
                {
                    self.reinstate(now, &exchange, ox_id);
                }
                None
            }
        }
    }

    /// Tells the responder of an aborted exchange that its IDs may be used again (FC-LS-3, 4.2.12).
    fn reinstate(&mut self, now: Instant, exchange: &Exchange<K>, ox_id: u16) {
        let ids = ExchangeIds::new(exchange.s_id, ox_id, UNASSIGNED_XID);
        let request = Request {
            via: exchange.via,
            s_id: exchange.s_id,
            d_id: exchange.d_id,
            service: Service::Els(ElsRequest::Rrq(ids)),
            timeout: self.r_a_tov * 2,
        };
        // The responder's own timer frees the IDs if there is no exchange to tell it by.
        let _ = self.begin(now, None, &request);
    }

    /// Exchanges that are open, being aborted or resting.
    pub fn len(&self) -> usize {
        self.exchanges.len()
    }

    /// Whether a reply is being waited for.
    pub fn has_open(&self) -> bool {
        self.exchanges.values().any(|exchange| matches!(exchange.state, State::Open(_)))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.exchanges.is_empty()
    }

    /// The next frame to send.
    pub fn poll_transmit(&mut self) -> Option<Outgoing> {
        self.transmit.pop_front()
    }

    /// What was counted.
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }
}

impl<K> Exchange<K> {
    const fn until(&self) -> Instant {
        match &self.state {
            State::Open(open) => open.until,
            State::Aborting { until } | State::Resting { until, .. } => *until,
        }
    }
}

/// What became of a reply's frame.
enum Taken {
    /// More are to come.
    Part,
    /// It had come already.
    Repeated,
    /// It was the last one.
    Whole,
    /// One before it is missing, or they are too many.
    Broken,
}

impl<K> Open<K> {
    /// Adds the next frame of the reply's sequence. SEQ_CNT starts at zero, and frames come in order.
    fn take(&mut self, frame: &FcFrame) -> Taken {
        let seq_cnt = frame.header.seq_cnt.get();
        if seq_cnt < self.frames {
            return Taken::Repeated;
        }
        let max_len = match self.asked {
            Asked::Els(_) => MAX_ELS_REPLY_LEN,
            Asked::NameServer => MAX_CT_REPLY_LEN,
        };
        if seq_cnt > self.frames || self.reply.len() + frame.payload.len() > max_len {
            return Taken::Broken;
        }
        // A sequence of empty frames ends too.
        let Some(frames) = self.frames.checked_add(1) else { return Taken::Broken };
        self.frames = frames;
        self.reply.extend_from_slice(&frame.payload);
        if frame.header.f_ctl.has(FCtl::END_SEQUENCE) { Taken::Whole } else { Taken::Part }
    }
}

fn answer(asked: Asked, d_id: FcId, reply: &[u8]) -> Result<Answer, Failure> {
    let malformed = |error: WireError| Failure::Malformed(error);
    match asked {
        Asked::Els(command) => match ElsReply::parse(command, reply).map_err(malformed)? {
            ElsReply::Reject(reject) => Err(Failure::Rejected(reject)),
            reply => Ok(Answer::Els { d_id, reply }),
        },
        Asked::NameServer => match ct::accepted(reply).map_err(malformed)? {
            Ok(body) => Ok(Answer::NameServer(Vec::from(body))),
            Err(reject) => Err(Failure::CtRejected(reject)),
        },
    }
}
