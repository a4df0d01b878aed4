//! FCP_CMND: from the frame to what the exchange does first.

use super::Targets;
use super::exchange::{Exchange, Exchanges, Read, Response, Sink, Slot, Source, State, Writing};
use super::received::Received;
use super::transmit::{F_CTL_RSP, MAX_RSP_LEN, response};
use crate::context::{Context, Incoming, reply_header};
use crate::counters::Drop;
use crate::egress::Egress;
use crate::faults::CommandFate;
use crate::scsi::{self, Outcome, Refusal, Work, illegal};
use fc::wire::fcp::{FcpCmnd, FcpCmndFixed, RDDATA, RspCode, TaskManagement, WRDATA};
use fc::wire::header::{FcHeader, RCtl};
use fc::wire::scsi::{AdditionalSense, Status};

/// The most bytes of parameter data that are collected at a time over all exchanges. Beyond, commands that bring
/// some end in TASK SET FULL.
const MAX_COLLECTED_BYTES: usize = 32 << 20;

impl Targets {
    pub(super) fn handle_command(
        &mut self,
        cx: &mut Context<'_>,
        number: usize,
        frame: &Incoming<'_>,
    ) -> Result<(), Drop> {
        let from = &frame.from;
        let target = &self.targets[number];
        // Who believes to be logged in is told, also when only the process login is missing: a PLOGI that came twice
        // has ended that.
        let Some(session) = target.session(from.login.0).filter(|session| session.is_paired) else {
            self.end_session(number, from.login, cx.counters);
            self.send_logo(number, frame.header.d_id, from, cx.out);
            return Err(Drop::NotLoggedIn);
        };
        let cmnd = FcpCmnd::parse(frame.payload)?;
        cx.counters.commands += 1;
        let Some((slot, exchange)) = self.exchanges.allocate() else {
            cx.counters.failed_commands += 1;
            refuse_without_exchange(cx.out, frame, &cmnd);
            return Ok(());
        };
        let lun = cmnd.fixed.lun.number();
        exchange.target = number as u16;
        exchange.login = from.login.0;
        exchange.lun = lun.unwrap_or(u16::MAX);
        let seen = lun.filter(|lun| session.luns.contains(lun));
        exchange.unit = seen.map(|lun| target.luns[usize::from(lun)].unit);
        exchange.ox_id = frame.header.ox_id.get();
        exchange.initiator = from.fc_id;
        exchange.responder = frame.header.d_id;
        exchange.path = from.path;
        exchange.max_payload_len = session.max_payload_len;
        exchange.data_len = cmnd.data_len;
        exchange.residual = 0;
        exchange.seq_id = 0;
        exchange.cdb = cmnd.fixed.cdb;
        exchange.read = None;
        (exchange.has_retry, exchange.has_confirm) = (session.has_retry, session.has_confirm);
        exchange.touched = cx.now;
        match check_fields(&cmnd) {
            Err(code) => self.exchanges.set_state(slot, State::SendRsp(Response::Info(code))),
            Ok(()) if cmnd.fixed.task_management != TaskManagement::NONE => {
                let code = self.manage_tasks(slot, cmnd.fixed.task_management, cx.counters);
                self.exchanges.set_state(slot, State::SendRsp(Response::Info(code)));
            }
            Ok(()) => self.begin(cx, slot, cmnd.fixed.flags & (RDDATA | WRDATA)),
        }
        Ok(())
    }

    /// Starts the command, unless it has a fault.
    fn begin(&mut self, cx: &mut Context<'_>, slot: Slot, direction: u8) {
        let exchange = self.exchanges.get_mut(slot);
        let mut due = self.targets[usize::from(exchange.target)].stalled_until;
        match cx.faults.take_command() {
            Some(CommandFate::Fail(failure)) => {
                exchange.residual = -i64::from(exchange.data_len);
                return self.exchanges.set_state(slot, refused(failure.into()));
            }
            Some(CommandFate::Stall(delay)) => due = due.max(cx.now + delay),
            None => {}
        }
        let state = self.start(slot, direction);
        if due > cx.now {
            self.exchanges.stall(slot, state, due);
        } else {
            self.exchanges.set_state(slot, state);
        }
    }

    /// Hands the command to its unit; what it wants decides the exchange's first state.
    fn start(&mut self, slot: Slot, direction: u8) -> State {
        let exchange = self.exchanges.get_mut(slot);
        let target = &mut self.targets[usize::from(exchange.target)];
        let identity = target.identity;
        let session = target.session_mut(exchange.login).expect("the caller has looked");
        let outcome = match exchange.unit {
            None => scsi::absent(&exchange.cdb, &session.luns, &mut exchange.buffer),
            Some(unit) => scsi::execute(Work {
                unit: &mut self.units[usize::from(unit)],
                port: &identity,
                nexus: session.nexus,
                attentions: &mut session.attentions[usize::from(exchange.lun)],
                luns: &session.luns,
                cdb: &exchange.cdb,
                data: &mut exchange.buffer,
            }),
        };
        let (wanted, needed_direction) = match outcome {
            Ok(Outcome::Done) | Err(_) => (0, direction),
            Ok(Outcome::DataIn) => (exchange.buffer.len() as u32, RDDATA),
            Ok(Outcome::Read { len, .. }) => (len, RDDATA),
            Ok(Outcome::Write { len, .. } | Outcome::DataOut { len, .. }) => (len, WRDATA),
        };
        exchange.residual = i64::from(wanted) - i64::from(exchange.data_len);
        // FCP_DL and its flags contradict the CDB.
        if wanted > 0 && direction != needed_direction && direction != 0
            || needed_direction == WRDATA && exchange.residual > 0
        {
            exchange.residual = -i64::from(exchange.data_len);
            return refused(illegal(INVALID_FIELD_IN_COMMAND_IU));
        }
        let len = wanted.min(exchange.data_len);
        match outcome {
            Err(refusal) => refused(refusal),
            Ok(Outcome::DataIn) if len > 0 => self.send_data(slot, Read { source: Source::Buffer, len }),
            Ok(Outcome::Read { offset, .. }) if len > 0 => {
                self.send_data(slot, Read { source: Source::Disk { offset }, len })
            }
            Ok(Outcome::Done | Outcome::DataIn | Outcome::Read { .. }) => State::SendRsp(Response::Good),
            Ok(Outcome::Write { offset, .. }) => self.first_burst(Sink::Disk { offset }, len),
            Ok(Outcome::DataOut { what, .. }) => {
                if collected(&self.exchanges) + len as usize > MAX_COLLECTED_BYTES {
                    return refused(Status::TASK_SET_FULL.into());
                }
                self.exchanges.get_mut(slot).buffer.resize(len as usize, 0);
                self.first_burst(Sink::Buffer(what), len)
            }
        }
    }

    fn send_data(&mut self, slot: Slot, read: Read) -> State {
        self.exchanges.get_mut(slot).read = Some(read);
        self.prefetch(slot, 0);
        State::SendData { start: 0, next: 0 }
    }

    fn first_burst(&self, sink: Sink, len: u32) -> State {
        let writing = Writing {
            sink,
            len,
            burst_start: 0,
            burst_end: self.burst_end(0, len),
            received: Received::default(),
            has_initiative: false,
        };
        State::SendXferRdy(writing)
    }

    /// Where a burst from `start` on ends, of a command with `len` bytes.
    pub(super) fn burst_end(&self, start: u32, len: u32) -> u32 {
        match self.max_burst_len {
            0 => len,
            burst => len.min(start.saturating_add(burst)),
        }
    }
}

/// INVALID FIELD IN COMMAND INFORMATION UNIT (SPC-4, table F.2).
const INVALID_FIELD_IN_COMMAND_IU: AdditionalSense = AdditionalSense::new(0x0e, 0x03);

fn refused(refusal: Refusal) -> State {
    State::SendRsp(Response::Refused(refusal))
}

/// What an FCP_CMND may not say here: bidirectional commands, longer CDBs, ACA, several functions at once.
fn check_fields(cmnd: &FcpCmnd<'_>) -> Result<(), RspCode> {
    const ATTRIBUTE_MASK: u8 = 0x07;
    const ATTRIBUTE_ACA: u8 = 0x04;
    let FcpCmndFixed { attribute, task_management, .. } = cmnd.fixed;
    let is_valid = cmnd.bidirectional_read_len.is_none()
        && cmnd.additional_cdb.is_empty()
        && attribute & ATTRIBUTE_MASK != ATTRIBUTE_ACA
        && task_management.0.count_ones() <= 1;
    if is_valid { Ok(()) } else { Err(RspCode::INVALID_FIELDS) }
}

/// Bytes of parameter data that exchanges hold.
fn collected(exchanges: &Exchanges) -> usize {
    let of = |exchange: &Exchange| exchange.buffer.len();
    exchanges.select(|exchange| of(exchange) > 0).into_iter().map(|slot| of(exchanges.get(slot))).sum()
}

/// TASK SET FULL, without a slot to keep it in.
fn refuse_without_exchange(out: &mut Egress, frame: &Incoming<'_>, cmnd: &FcpCmnd<'_>) {
    let mut iu = [0; MAX_RSP_LEN];
    let refusal = Response::Refused(Status::TASK_SET_FULL.into());
    let len = response(&mut iu, &refusal, -i64::from(cmnd.data_len), false);
    let header = FcHeader { f_ctl: F_CTL_RSP, ..reply_header(frame.header, RCtl::STATUS) };
    out.fc(frame.from.path, &header, &iu[..len]);
}
