//! Frames in: checked, matched with their exchange, their data copied to where it belongs.
//!
//! The way of a frame: length, EtherType, version, delimiters, CRC, header; then its exchange by the OX_ID's index,
//! held against OX_ID, S_ID, D_ID, RX_ID and the source MAC address. What fails a check is dropped and counted by
//! its reason; what isn't FCP's and could be control's is copied to control.
//!
//! What a good frame passes, up to its completion, is inlined by force, and nothing else is: left to itself, or with more of
//! it, the compiler makes calls that take a response 80 instructions.

use super::exchange::{Burst, Exchange, ExchangeTable, Phase, Question};
use super::in_place::{self, News};
use super::ox_ids::Use;
use super::{BATCH, Core, Counters, DropReason};
use crate::port::prefetch::prefetch;
use crate::port::{Frame, Port};
use fc::fcp::{Conclusion, Standing, conclude, conclude_function};
use fc::messages::{Ended, FromCore, Transfer, TransportError, ox_id};
use fc::time::Instant;
use fc::wire::WireError;
use fc::wire::els::{ElsCommand, ElsReply};
use fc::wire::ethernet::{EtherType, EthernetHeader, MAX_HEADER_LEN, UNTAGGED_HEADER_LEN};
use fc::wire::fcoe::{FcoeFrame, PROLOGUE_LEN};
use fc::wire::fcp::{FcpRsp, FcpXferRdy, Srr, TaskManagement, rsp_flags};
use fc::wire::header::{FCtl, FcHeader, FcType, RCtl, UNASSIGNED_XID};
use std::mem::offset_of;

/// With as many commands out, or fewer, exchanges are in the cache anyway, and to look ahead costs a frame 5 ns.
const FEW_EXCHANGES: usize = 2048;

/// What a frame asks the core to do.
pub(super) enum Event {
    /// Nothing more: its data has been copied, or it says what is known.
    Nothing,
    /// Its data is for a command that takes it where it is.
    New(News),
    /// The last missing data of an exchange whose target has answered.
    Completed(u16, Ended),
    /// The target wants write data, which the exchange now notes.
    BurstWanted(u16),
    /// The command has ended as nearly all do: GOOD, with this many bytes, which is all of them. Apart from
    /// [`Self::Concluded`], as it is handed over in a few bytes.
    Good(u16, u32),
    /// The target has answered something else.
    Concluded(u16, Conclusion),
    /// The target has answered a task management function.
    FunctionConcluded(u16, Result<(), TransportError>),
    /// The target has said how it stands with an exchange.
    Standing { index: u16, standing: Option<Standing>, rx_id: u16 },
    /// The target sends something again, or does not.
    AgainAnswered { index: u16, is_accepted: bool },
    /// The target has answered an ABTS.
    AbortAnswered { index: u16, is_accepted: bool },
    /// The target has aborted the exchange.
    AbortedByTarget(u16),
    /// The frame is control's.
    ForControl,
}

impl<P: Port> Core<P> {
    /// Receives a batch of frames and does what they ask for.
    pub(super) fn receive(&mut self, now: Instant) -> bool {
        let mut frames = std::mem::take(&mut self.received);
        let count = self.port.receive(&mut frames, BATCH);
        if let Some(is_bulk) = self.bulk.note(count, self.exchanges.open(), &self.counters) {
            self.port.receive_on_this_cpu(is_bulk);
        }
        if self.exchanges.open() > FEW_EXCHANGES {
            self.look_ahead(&frames);
        }
        for frame in frames.drain(..) {
            self.handle_frame(now, frame);
        }
        self.received = frames;
        count > 0
    }

    /// Does what a frame asks for, and gives it back to the port.
    #[inline(always)]
    fn handle_frame(&mut self, now: Instant, frame: Frame) {
        let bytes = self.port.data(&frame);
        let receiver = Receiver { exchanges: &mut self.exchanges, counters: &mut self.counters };
        let mut for_control = None;
        match receiver.handle(bytes) {
            Ok(Event::Nothing) => {}
            Ok(Event::Good(index, transferred)) => self.end_good(now, index, transferred),
            Ok(Event::New(ref news)) => return self.keep(now, frame, news),
            Ok(Event::ForControl) => for_control = Some(FromCore::Frame(bytes.into())),
            Ok(ref event) => self.act(now, event),
            Err(DropReason::NoExchange) => self.siblings.take(bytes, &mut self.counters),
            Err(reason) => self.counters.drop_frame(reason),
        }
        self.port.release(frame);
        if let Some(message) = for_control {
            self.hand_to_control(message);
        }
    }

    /// A frame of an exchange that another core has handed on.
    pub(super) fn handle_handed_on(&mut self, now: Instant, bytes: &[u8]) {
        let receiver = Receiver { exchanges: &mut self.exchanges, counters: &mut self.counters };
        match receiver.handle(bytes) {
            Ok(Event::New(ref news)) => self.copy_news(now, bytes, news),
            Ok(ref event) => self.act(now, event),
            Err(reason) => self.counters.drop_frame(reason),
        }
    }

    /// Asks for what the frames will touch in the core's tables, by what they say of themselves before anything is
    /// checked. What is in no cache comes from memory for all frames at a time, and not for one after the other.
    fn look_ahead(&mut self, frames: &[Frame]) {
        for frame in frames {
            let what = ox_id_of(self.port.data(frame)).map(|ox_id| self.exchanges.use_of(ox_id));
            if let Some(Use::Command(index)) = what {
                self.exchanges.prefetch(index);
                self.ahead.push(index);
            }
        }
        let has_many_nexuses = self.nexuses.is_large();
        let mut any_in_place = false;
        for &index in &self.ahead {
            let exchange = self.exchanges.get(index);
            match &exchange.transfer {
                Transfer::Read(buffer)
                    if let Some(next) = buffer.get(exchange.moved.contiguous() as usize) =>
                {
                    prefetch(next, 1);
                }
                Transfer::ReadInPlace(read) => {
                    prefetch(&**read, 1);
                    any_in_place = true;
                }
                // Nothing is missing, and this is the response.
                _ if has_many_nexuses => self.nexuses.prefetch(exchange.nexus),
                _ => {}
            }
        }
        if any_in_place {
            self.look_ahead_in_place(has_many_nexuses);
        }
        self.ahead.clear();
    }

    /// The same of reads in place, whose places are known only now.
    fn look_ahead_in_place(&mut self, has_many_nexuses: bool) {
        for &index in &self.ahead {
            let exchange = self.exchanges.get_mut(index);
            let Transfer::ReadInPlace(read) = &mut exchange.transfer else { continue };
            if (exchange.moved.contiguous() as usize) < read.len() {
                read.next_place().into_iter().for_each(|place| prefetch(place, 1));
            } else if has_many_nexuses {
                self.nexuses.prefetch(exchange.nexus);
            }
        }
    }

    fn act(&mut self, now: Instant, event: &Event) {
        match *event {
            Event::Nothing => {}
            Event::Good(index, transferred) => self.end(now, index, &Ended::good(transferred)),
            Event::Completed(index, ref ended) => self.end(now, index, ended),
            Event::BurstWanted(index) => self.bursts.push_back(index),
            Event::Concluded(index, Conclusion::Ended(ref ended)) => self.end(now, index, ended),
            Event::Concluded(index, Conclusion::Failed(error)) => {
                self.confirm(index);
                self.fail(now, index, error);
            }
            Event::Concluded(index, Conclusion::DataMissing { then }) => self.miss_data(now, index, then),
            Event::FunctionConcluded(index, result) => self.end_function(now, index, result),
            Event::Standing { index, standing, rx_id } => self.handle_standing(now, index, standing, rx_id),
            Event::AgainAnswered { index, is_accepted } => self.handle_again_answer(now, index, is_accepted),
            Event::AbortAnswered { index, is_accepted } => self.handle_abort_answer(now, index, is_accepted),
            Event::AbortedByTarget(index) => {
                self.accept_abort(index);
                self.fail(now, index, TransportError::Aborted);
            }
            Event::ForControl | Event::New(_) => unreachable!("done while its frame was there"),
        }
    }

    /// The target says that it is done, and not all data has moved.
    fn miss_data(&mut self, now: Instant, index: u16, answer: Ended) {
        let exchange = self.exchanges.get(index);
        if exchange.transfer.is_read() {
            return self.await_data(now, index, answer);
        }
        // It has not asked for all of the data: this is no answer to this command.
        let moved = exchange.moved.contiguous();
        let error = TransportError::DataMissing { expected: answer.transferred, moved };
        self.counters.lost += 1;
        self.abort(now, index, error);
    }

    fn hand_to_control(&mut self, message: FromCore) {
        if self.tell_control(message) {
            self.counters.control_frames += 1;
        } else {
            self.counters.drop_frame(DropReason::ControlQueueFull);
        }
    }

    /// Tells control something, if there is room for it.
    pub(super) fn tell_control(&self, message: FromCore) -> bool {
        let has_room = self.link.from_core.push(message).is_ok();
        if has_room {
            self.control.wake();
        }
        has_room
    }
}

/// The OX_ID of what may be an FCoE frame.
pub(super) fn ox_id_of(bytes: &[u8]) -> Option<u16> {
    const TAGGED: [u8; 2] = EtherType::VLAN.0.to_be_bytes();
    let header_at =
        if bytes.get(12..14)? == TAGGED { MAX_HEADER_LEN } else { UNTAGGED_HEADER_LEN } + PROLOGUE_LEN;
    let ox_id = bytes.get(header_at + offset_of!(FcHeader, ox_id)..)?.first_chunk()?;
    Some(u16::from_be_bytes(*ox_id))
}

/// The parts of a core that a received frame touches.
struct Receiver<'a> {
    exchanges: &'a mut ExchangeTable,
    counters: &'a mut Counters,
}

impl Receiver<'_> {
    #[inline(always)]
    fn handle(self, bytes: &[u8]) -> Result<Event, DropReason> {
        let (ethernet, payload) = EthernetHeader::parse(bytes).map_err(|_| DropReason::Length)?;
        match ethernet.ethertype {
            EtherType::FCOE => self.handle_fcoe(&ethernet, payload),
            EtherType::FIP => Ok(Event::ForControl),
            _ => Err(DropReason::EtherType),
        }
    }

    fn handle_fcoe(self, ethernet: &EthernetHeader, payload: &[u8]) -> Result<Event, DropReason> {
        let frame = FcoeFrame::parse(payload).map_err(|error| match error {
            WireError::BadValue { .. } => DropReason::Version,
            _ => DropReason::Length,
        })?;
        if !frame.sof.is_class_3() {
            return Err(DropReason::Sof);
        }
        if !frame.eof.is_valid() {
            return Err(DropReason::Eof);
        }
        frame.check_crc().map_err(|_| DropReason::Crc)?;
        let header = frame.header();
        if header.df_ctl != 0 {
            return Err(DropReason::OptionalHeader);
        }
        let payload = frame.payload().map_err(|_| DropReason::Length)?;
        let to_originator = header.f_ctl.has(FCtl::EXCHANGE_RESPONDER);
        match header.fc_type {
            FcType::FCP if to_originator => self.handle_exchange(ethernet, header, payload),
            FcType::BLS | FcType::ELS
                if to_originator && ox_id::core(header.ox_id.get()) != ox_id::CONTROL =>
            {
                self.handle_exchange(ethernet, header, payload)
            }
            FcType::ELS | FcType::CT | FcType::BLS => Ok(Event::ForControl),
            _ => Err(DropReason::Unexpected),
        }
    }

    #[inline(always)]
    fn handle_exchange(
        self,
        ethernet: &EthernetHeader,
        header: &FcHeader,
        payload: &[u8],
    ) -> Result<Event, DropReason> {
        let xid = header.ox_id.get();
        let (index, is_question) = match self.exchanges.use_of(xid) {
            Use::Command(index) => (index, false),
            Use::Question(index) => (index, true),
            Use::Forgotten => return Ok(Event::Nothing),
            Use::Free | Use::Resting => return Err(DropReason::NoExchange),
        };
        let exchange = self.exchanges.get_mut(index);
        if header.s_id != exchange.peer_id || ethernet.source != exchange.peer_mac {
            return Err(DropReason::Source);
        }
        if header.d_id != exchange.our_id {
            return Err(DropReason::Destination);
        }
        if is_question {
            return answer(exchange, index, header, payload);
        }
        if header.fc_type == FcType::ELS {
            return Err(DropReason::Unexpected);
        }
        let rx_id = header.rx_id.get();
        if exchange.rx_id != UNASSIGNED_XID && rx_id != exchange.rx_id {
            return Err(DropReason::RxId);
        }
        let result = match header.r_ctl {
            RCtl::BA_ACC | RCtl::BA_RJT if exchange.phase == Phase::Aborting => {
                Ok(Event::AbortAnswered { index, is_accepted: header.r_ctl == RCtl::BA_ACC })
            }
            RCtl::ABTS => Ok(Event::AbortedByTarget(index)),
            _ if exchange.phase == Phase::Aborting => Err(DropReason::NoExchange),
            RCtl::DATA => read_data(exchange, index, ethernet, header, payload, self.counters),
            RCtl::DATA_DESCRIPTOR => transfer_ready(exchange, index, payload),
            RCtl::STATUS if exchange.phase == Phase::Open => response(exchange, index, payload),
            _ => Err(DropReason::Unexpected),
        };
        if result.is_ok() {
            exchange.rx_id = rx_id;
        }
        result
    }
}

/// FCP_DATA: to the buffer at its relative offset, whatever the order in which frames come.
fn read_data(
    exchange: &mut Exchange,
    index: u16,
    ethernet: &EthernetHeader,
    header: &FcHeader,
    payload: &[u8],
    counters: &mut Counters,
) -> Result<Event, DropReason> {
    let buffer = match &mut exchange.transfer {
        Transfer::Read(buffer) => buffer,
        Transfer::ReadInPlace(_) => {
            return in_place::read_data(exchange, index, ethernet, header, payload, counters);
        }
        Transfer::None | Transfer::Write(_) => return Err(DropReason::Unexpected),
    };
    let (start, end) = place(header, payload, buffer.len())?;
    exchange.moved.add(start, end).map_err(|_| DropReason::Gaps)?;
    buffer[start as usize..end as usize].copy_from_slice(payload);
    counters.read_bytes += payload.len() as u64;
    Ok(completion(exchange, index))
}

/// Where a frame's data begins and ends, of as many bytes as the command moves.
#[inline]
pub(super) fn place(header: &FcHeader, payload: &[u8], len: usize) -> Result<(u32, u32), DropReason> {
    if !header.f_ctl.has(FCtl::RELATIVE_OFFSET) {
        return Err(DropReason::Offset);
    }
    let start = header.parameter.get();
    let end = usize::try_from(start).ok().and_then(|start| start.checked_add(payload.len()));
    let end = end.filter(|&end| end <= len).ok_or(DropReason::Offset)?;
    Ok((start, u32::try_from(end).expect("a buffer's length fits FCP_DL")))
}

/// Whether the data was the last that was missing of an exchange whose target has answered.
#[inline]
pub(super) fn completion(exchange: &Exchange, index: u16) -> Event {
    match exchange.answer {
        // Asked first: the answer is in another line.
        _ if exchange.phase != Phase::Answered => Event::Nothing,
        Some(answer) if exchange.moved.contiguous() >= answer.transferred => Event::Completed(index, answer),
        _ => Event::Nothing,
    }
}

/// FCP_XFER_RDY: notes which write data the target wants.
fn transfer_ready(exchange: &mut Exchange, index: u16, payload: &[u8]) -> Result<Event, DropReason> {
    let ready = FcpXferRdy::parse(payload).map_err(|_| DropReason::Malformed)?;
    let Transfer::Write(buffer) = &exchange.transfer else { return Err(DropReason::Unexpected) };
    if exchange.burst.is_some() || exchange.phase != Phase::Open {
        return Err(DropReason::Unexpected);
    }
    let (next, len) = (ready.offset.get(), ready.burst_len.get());
    let end = next.checked_add(len).filter(|&end| end as usize <= buffer.len()).ok_or(DropReason::Offset)?;
    if len == 0 {
        return Err(DropReason::Malformed);
    }
    exchange.burst = Some(Burst { next, end, seq_cnt: 0 });
    Ok(Event::BurstWanted(index))
}

/// FCP_RSP: judged by what has come.
#[inline(always)]
fn response(exchange: &mut Exchange, index: u16, payload: &[u8]) -> Result<Event, DropReason> {
    let response = FcpRsp::parse(payload).map_err(|_| DropReason::Malformed)?;
    exchange.is_to_confirm = response.flags & rsp_flags::CONF_REQUESTED != 0;
    if exchange.function != TaskManagement::NONE {
        return Ok(Event::FunctionConcluded(index, conclude_function(&response)));
    }
    let data_len = u32::try_from(exchange.transfer.len()).expect("bounded when it was submitted");
    let moved = exchange.moved.contiguous();
    if response.is_good() && moved >= data_len {
        return Ok(Event::Good(index, data_len));
    }
    Ok(Event::Concluded(index, conclude(&response, data_len, moved)))
}

/// The reply to a question.
fn answer(exchange: &Exchange, index: u16, header: &FcHeader, payload: &[u8]) -> Result<Event, DropReason> {
    match (exchange.question(), header.r_ctl, header.fc_type) {
        (Some(Question::Standing), RCtl::ELS_REPLY, FcType::ELS) => {
            let reply = ElsReply::parse(ElsCommand::REC, payload).map_err(|_| DropReason::Malformed)?;
            let rx_id = match &reply {
                ElsReply::Rec(status) => status.rx_id.get(),
                _ => UNASSIGNED_XID,
            };
            Ok(Event::Standing { index, standing: Standing::of(&reply, exchange.ox_id), rx_id })
        }
        (Some(Question::Again), RCtl::FC4_REPLY, FcType::FCP) => {
            let is_accepted = Srr::is_accepted(payload).map_err(|_| DropReason::Malformed)?;
            Ok(Event::AgainAnswered { index, is_accepted })
        }
        _ => Err(DropReason::Unexpected),
    }
}
