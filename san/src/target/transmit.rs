//! What exchanges send: FCP_DATA, FCP_XFER_RDY and FCP_RSP, built in the port's own memory.

use super::Targets;
use super::exchange::{Read, Response, Slot, Source, State};
use crate::context::Path;
use crate::counters::Counters;
use crate::egress::emit;
use datapath::port::{Frame, Port};
use fc::time::Instant;
use fc::wire::ethernet::VlanTag;
use fc::wire::fcp::{FcpRsp, FcpXferRdy, rsp_flags};
use fc::wire::header::{FCtl, FcHeader, FcType, RCtl};
use fc::wire::scsi::{AdditionalSense, Sense, SenseKey, Status, sense};
use zerocopy::IntoBytes;

/// Bytes of the longest FCP_RSP: the fixed part, RSP_INFO, sense data.
pub(super) const MAX_RSP_LEN: usize = 24 + INFO_LEN + sense::MAX_LEN;
/// RSP_INFO has 4 or 8 bytes; the longer one is the newer one.
const INFO_LEN: usize = 8;

/// FCP_RSP: the last sequence.
pub(super) const F_CTL_RSP: FCtl =
    FCtl::new(FCtl::EXCHANGE_RESPONDER | FCtl::LAST_SEQUENCE | FCtl::END_SEQUENCE);
/// FCP_RSP that is to be confirmed: the initiator's turn.
const F_CTL_RSP_TO_CONFIRM: FCtl =
    FCtl::new(FCtl::EXCHANGE_RESPONDER | FCtl::END_SEQUENCE | FCtl::TRANSFER_INITIATIVE);
/// FCP_XFER_RDY: the initiator's turn.
const F_CTL_XFER_RDY: FCtl =
    FCtl::new(FCtl::EXCHANGE_RESPONDER | FCtl::END_SEQUENCE | FCtl::TRANSFER_INITIATIVE);
/// FCP_DATA.
const F_CTL_DATA: FCtl = FCtl::new(FCtl::EXCHANGE_RESPONDER | FCtl::RELATIVE_OFFSET);

/// Frames that one exchange sends before the next one's turn: a short read does not wait for a long one's end.
const MAX_FRAMES_A_TURN: usize = 32;

/// What sending a frame left.
enum Progress {
    /// The exchange has more to send.
    More,
    /// It is another one's turn.
    Done,
    /// The port has no frame to fill.
    Full,
}

impl Targets {
    /// Sends up to `budget` frames and gives what is left of it.
    pub(crate) fn transmit<P: Port>(
        &mut self,
        now: Instant,
        port: &mut P,
        tag: Option<VlanTag>,
        mut budget: usize,
        counters: &mut Counters,
    ) -> usize {
        let mut turn = 0;
        while budget > 0
            && let Some(slot) = self.exchanges.first_ready()
        {
            match self.transmit_one(now, slot, port, tag, counters) {
                Progress::Full => break,
                Progress::Done => turn = 0,
                Progress::More if turn + 1 < MAX_FRAMES_A_TURN => turn += 1,
                Progress::More => {
                    self.exchanges.rotate();
                    turn = 0;
                }
            }
            budget -= 1;
        }
        budget
    }

    fn transmit_one<P: Port>(
        &mut self,
        now: Instant,
        slot: Slot,
        port: &mut P,
        tag: Option<VlanTag>,
        counters: &mut Counters,
    ) -> Progress {
        let Some(frame) = port.allocate() else { return Progress::Full };
        counters.sent_frames += 1;
        match self.exchanges.get(slot).state {
            State::SendData { start, next } => {
                self.transmit_data(slot, (start, next), port, frame, tag, counters)
            }
            State::SendXferRdy(writing) => {
                let burst_len = writing.burst_end - writing.burst_start;
                let iu = FcpXferRdy {
                    offset: writing.burst_start.into(),
                    burst_len: burst_len.into(),
                    reserved: 0.into(),
                };
                let header = self.header(slot, RCtl::DATA_DESCRIPTOR, F_CTL_XFER_RDY);
                let exchange = self.exchanges.get_mut(slot);
                send(port, frame, tag, exchange.path, &header, iu.as_bytes());
                exchange.seq_id = exchange.seq_id.wrapping_add(1);
                self.exchanges.park_first(State::Receiving(writing));
                Progress::Done
            }
            State::SendRsp(result) => {
                let exchange = self.exchanges.get(slot);
                let mut iu = [0; MAX_RSP_LEN];
                let len = response(&mut iu, &result, exchange.residual, exchange.has_confirm);
                if let Response::Refused(_) = result {
                    counters.failed_commands += 1;
                }
                let f_ctl = if exchange.has_confirm { F_CTL_RSP_TO_CONFIRM } else { F_CTL_RSP };
                let header = self.header(slot, RCtl::STATUS, f_ctl);
                send(port, frame, tag, exchange.path, &header, &iu[..len]);
                self.exchanges.end_first(result, now + self.r_a_tov);
                Progress::Done
            }
            State::Free | State::Receiving(_) | State::Retained(_) => {
                unreachable!("not in the ring of those ready to send")
            }
        }
    }

    fn transmit_data<P: Port>(
        &mut self,
        slot: Slot,
        (start, next): (u32, u32),
        port: &mut P,
        frame: Frame,
        tag: Option<VlanTag>,
        counters: &mut Counters,
    ) -> Progress {
        let exchange = self.exchanges.get(slot);
        let Read { source, len } = exchange.read.expect("a read's data");
        let payload_len = (len - next).min(exchange.max_payload_len.into());
        self.prefetch(slot, next + payload_len);
        let is_last = next + payload_len == len;
        let f_ctl = if is_last { F_CTL_DATA.with(FCtl::END_SEQUENCE) } else { F_CTL_DATA };
        let seq_cnt = (next - start) / u32::from(exchange.max_payload_len);
        let header = FcHeader {
            // It counts up and may come round.
            seq_cnt: (seq_cnt as u16).into(),
            parameter: next.into(),
            ..self.header(slot, RCtl::DATA, f_ctl)
        };
        let payload = match source {
            Source::Buffer => Ok(&exchange.buffer[next as usize..][..payload_len as usize]),
            Source::Disk { offset } => {
                let unit = exchange.unit.expect("a read has a unit");
                let scratch = &mut self.scratch[..payload_len as usize];
                self.units[usize::from(unit)].disk.view(offset + u64::from(next), scratch)
            }
        };
        let Ok(payload) = payload else {
            port.release(frame);
            counters.sent_frames -= 1;
            return self.fail_read(slot, next);
        };
        send(port, frame, tag, exchange.path, &header, payload);
        counters.read_bytes += u64::from(payload_len);
        let exchange = self.exchanges.get_mut(slot);
        if is_last {
            exchange.seq_id = exchange.seq_id.wrapping_add(1);
            exchange.state = State::SendRsp(Response::Good);
        } else {
            exchange.state = State::SendData { start, next: next + payload_len };
        }
        Progress::More
    }

    /// Has a frame's data brought near that begins at `next` and will be sent soon. The disk is larger than the caches.
    pub(super) fn prefetch(&self, slot: Slot, next: u32) {
        let exchange = self.exchanges.get(slot);
        if let Some(Read { source: Source::Disk { offset }, len }) = exchange.read
            && let Some(unit) = exchange.unit
        {
            let len = (len - next).min(exchange.max_payload_len.into());
            self.units[usize::from(unit)].disk.prefetch(offset + u64::from(next), len as usize);
        }
    }

    /// The disk could not be read: the status says so, and how much came before.
    fn fail_read(&mut self, slot: Slot, sent: u32) -> Progress {
        let exchange = self.exchanges.get_mut(slot);
        let sense = Sense::new(SenseKey::MEDIUM_ERROR, AdditionalSense::UNRECOVERED_READ_ERROR);
        exchange.residual = i64::from(sent) - i64::from(exchange.data_len);
        exchange.seq_id = exchange.seq_id.wrapping_add(1);
        exchange.state = State::SendRsp(Response::Refused(sense.into()));
        Progress::More
    }

    fn header(&self, slot: Slot, r_ctl: RCtl, f_ctl: FCtl) -> FcHeader {
        let exchange = self.exchanges.get(slot);
        FcHeader {
            r_ctl,
            d_id: exchange.initiator,
            cs_ctl: 0,
            s_id: exchange.responder,
            fc_type: FcType::FCP,
            f_ctl,
            seq_id: exchange.seq_id,
            df_ctl: 0,
            seq_cnt: 0.into(),
            ox_id: exchange.ox_id.into(),
            rx_id: self.exchanges.rx_id(slot).into(),
            parameter: 0.into(),
        }
    }
}

fn send<P: Port>(
    port: &mut P,
    mut frame: Frame,
    tag: Option<VlanTag>,
    path: Path,
    header: &FcHeader,
    payload: &[u8],
) {
    let len = emit(port.buffer(&mut frame), tag, path, header, payload);
    port.set_len(&mut frame, len);
    port.send(frame);
}

/// Writes an FCP_RSP (FCP-4, 9.5) and gives its length.
pub(super) fn response(
    iu: &mut [u8; MAX_RSP_LEN],
    result: &Response,
    residual: i64,
    is_to_confirm: bool,
) -> usize {
    let mut sense = [0; sense::MAX_LEN];
    let mut info = [0; INFO_LEN];
    let mut rsp = FcpRsp::default();
    match result {
        Response::Good => rsp.status = Status::GOOD.0,
        Response::Refused(refusal) => {
            rsp.status = refusal.status.0;
            let len = refusal.sense.map_or(0, |data| data.emit(&mut sense));
            rsp.sense = &sense[..len];
        }
        Response::Info(code) => {
            info[3] = code.0;
            rsp.info = &info;
        }
    }
    // A function has no data that could be left over.
    if rsp.info.is_empty() && residual != 0 {
        rsp.flags = if residual > 0 { rsp_flags::OVER } else { rsp_flags::UNDER };
        rsp.residual = residual.unsigned_abs() as u32;
    }
    if is_to_confirm {
        rsp.flags |= rsp_flags::CONF_REQUESTED;
    }
    rsp.emit(iu)
}
