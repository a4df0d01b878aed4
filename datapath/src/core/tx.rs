//! Frames out: commands and write data; and the ends of commands.

use super::exchange::{Burst, Phase};
use super::nexus::FrameFields;
use super::{BATCH, Core, SEND_BATCH};
use crate::port::{Frame, Port};
use fc::messages::{Action, Command, Completion, Ended, Transfer, TransportError};
use fc::time::{Duration, Instant};
use fc::wire::fcp::{ATTRIBUTE_SIMPLE, CDB_LEN, FcpCmnd, FcpCmndFixed, RDDATA, TaskManagement, WRDATA};
use fc::wire::header::{FCtl, FcType, RCtl, UNASSIGNED_XID};

impl<P: Port> Core<P> {
    /// A frame to send, while this step's share lasts.
    pub(super) fn allocate(&mut self) -> Option<Frame> {
        if self.queued_frames >= SEND_BATCH { None } else { self.port.allocate() }
    }

    /// Sends bytes that are a whole frame already.
    pub(super) fn send_bytes(&mut self, mut frame: Frame, bytes: &[u8]) {
        self.port.buffer(&mut frame)[..bytes.len()].copy_from_slice(bytes);
        self.send(frame, bytes.len());
    }

    /// Sends a frame of a nexus that is there.
    pub(super) fn send_fields(&mut self, mut frame: Frame, nexus: u16, fields: &FrameFields, payload: &[u8]) {
        let entry = self.nexuses.get(nexus).expect("an exchange that is open has its nexus");
        let len = entry.emit(self.port.buffer(&mut frame), fields, payload);
        self.send(frame, len);
    }

    fn send(&mut self, mut frame: Frame, len: usize) {
        self.port.set_len(&mut frame, len);
        self.port.send(frame);
        self.queued_frames += 1;
    }

    /// Takes commands from the consumers in turn, as many as there are exchanges and frames for.
    pub(super) fn take_commands(&mut self, now: Instant) -> bool {
        let mut busy = false;
        for _ in 0..self.consumers.turns() {
            if self.queued_frames >= SEND_BATCH {
                break;
            }
            let consumer = self.consumers.turn().expect("as many as there are turns");
            let has_taken = self.take_batch(now, consumer);
            self.consumers.end_turn(has_taken);
            busy |= has_taken;
        }
        busy
    }

    /// Takes a batch of a consumer's commands, and says whether there were any.
    fn take_batch(&mut self, now: Instant, consumer: u16) -> bool {
        if let Some(port) = self.consumers.get_mut(consumer).filter(|_| self.nexuses.is_large()) {
            port.for_each_waiting(BATCH, |command| self.nexuses.prefetch(command.nexus.0));
        }
        let mut has_taken = false;
        for _ in 0..BATCH {
            let Some(port) = self.consumers.get_mut(consumer) else { break };
            if !port.has_command() || !self.exchanges.has_free() || self.queued_frames >= SEND_BATCH {
                break;
            }
            let Some(frame) = self.port.allocate() else { break };
            match port.take_command() {
                Ok(command) => self.start(now, consumer, command, frame),
                Err(_) => self.port.release(frame),
            }
            has_taken = true;
        }
        has_taken
    }

    /// Opens an exchange for a command and sends its FCP_CMND.
    fn start(&mut self, now: Instant, consumer: u16, command: Command, mut frame: Frame) {
        self.counters.commands += 1;
        if self.nexuses.get(command.nexus.0).is_none() {
            // Control publishes a nexus before anyone names it, but by another queue than commands come by.
            self.take_messages(now);
        }
        let Some(entry) = self.nexuses.get_mut(command.nexus.0) else {
            self.port.release(frame);
            self.counters.failed += 1;
            let Command { tag, transfer, .. } = command;
            self.complete(consumer, Completion { tag, result: Err(TransportError::NotLoggedIn), transfer });
            return;
        };
        let (index, exchange) = self.exchanges.allocate().expect("asked before the command was taken");
        exchange.phase = Phase::Open;
        exchange.nexus = command.nexus.0;
        exchange.our_id = entry.s_id;
        exchange.peer_id = entry.d_id;
        exchange.peer_mac = entry.peer_mac();
        exchange.rx_id = UNASSIGNED_XID;
        exchange.next_seq_id = 1;
        exchange.moved.clear();
        (exchange.seen, exchange.told) = (0, 0);
        exchange.patience = entry.patience();
        exchange.expires = now + command.timeout;
        let is_on_trial = entry.answers.begin_trial();
        let patience = if is_on_trial { Duration::ZERO } else { exchange.patience };
        let deadline = exchange.expires.min(now + patience);
        exchange.tag = command.tag;
        exchange.started = now;
        (exchange.is_recovered, exchange.is_to_confirm) = (false, false);
        exchange.lun = command.lun;
        exchange.function = match command.action {
            Action::Scsi(_) => TaskManagement::NONE,
            Action::Manage(function) => function,
        };
        exchange.consumer = consumer;

        let fields = FrameFields {
            r_ctl: RCtl::COMMAND,
            fc_type: FcType::FCP,
            f_ctl: FCtl::REQUEST,
            seq_id: 0,
            seq_cnt: 0,
            ox_id: exchange.ox_id,
            rx_id: UNASSIGNED_XID,
            parameter: 0,
        };
        let iu = command_iu(&command);
        let buffer = self.port.buffer(&mut frame);
        let len = entry.emit_with(buffer, &fields, iu.len(), |payload| {
            iu.emit(payload);
        });
        exchange.transfer = command.transfer;
        self.send(frame, len);
        self.look_at_by(index, deadline);
    }

    /// Sends the write data that targets have asked for.
    pub(super) fn send_bursts(&mut self) -> bool {
        let mut busy = false;
        while let Some(&index) = self.bursts.front() {
            match self.exchanges.get(index).burst {
                // The exchange has ended since it was queued.
                None => drop(self.bursts.pop_front()),
                Some(burst) => {
                    let Some(frame) = self.allocate() else { break };
                    busy = true;
                    if self.send_data(index, burst, frame) {
                        self.bursts.pop_front();
                    }
                }
            }
        }
        busy
    }

    /// Sends the next frame of a burst and says whether it was the last.
    fn send_data(&mut self, index: u16, burst: Burst, mut frame: Frame) -> bool {
        let exchange = self.exchanges.get_mut(index);
        let entry = self.nexuses.get(exchange.nexus).expect("an exchange with a burst has its nexus");
        let Transfer::Write(buffer) = &exchange.transfer else { unreachable!("only writes have bursts") };
        let end = burst.end.min(burst.next + u32::from(entry.max_payload_len));
        let is_last = end == burst.end;
        let last_flags = if is_last { FCtl::END_SEQUENCE | FCtl::TRANSFER_INITIATIVE } else { 0 };
        let fields = FrameFields {
            r_ctl: RCtl::DATA,
            fc_type: FcType::FCP,
            f_ctl: FCtl::new(FCtl::RELATIVE_OFFSET | last_flags),
            seq_id: exchange.next_seq_id,
            seq_cnt: burst.seq_cnt,
            ox_id: exchange.ox_id,
            rx_id: exchange.rx_id,
            parameter: burst.next,
        };
        let payload = &buffer[burst.next as usize..end as usize];
        let len = entry.emit(self.port.buffer(&mut frame), &fields, payload);
        self.counters.written_bytes += payload.len() as u64;
        // Bursts out of order, and more of them than gaps are remembered: the response will not be believed.
        let _ = exchange.moved.add(burst.next, end);
        if is_last {
            exchange.burst = None;
            exchange.next_seq_id = exchange.next_seq_id.wrapping_add(1);
        } else {
            // SEQ_CNT wraps within long sequences (FC-FS-3, 9.10).
            exchange.burst = Some(Burst { next: end, seq_cnt: burst.seq_cnt.wrapping_add(1), ..burst });
        }
        self.send(frame, len);
        is_last
    }

    /// Ends a command with its target's answer. Its exchange is clean: no frame of it is on its way, unless something was
    /// sent again.
    pub(super) fn end(&mut self, now: Instant, index: u16, ended: &Ended) {
        self.counters.ended += 1;
        self.confirm(index);
        let exchange = self.exchanges.get(index);
        if exchange.is_recovered {
            return self.finish_unclean(now, index, Ok(*ended), None);
        }
        let entry = self.nexuses.get_mut(exchange.nexus).expect("an exchange that is open has its nexus");
        entry.latency.note(now.since(exchange.started));
        self.finish(now, index, Ok(*ended));
        self.exchanges.free(index);
    }

    /// As [`Self::end`], with GOOD and these bytes, as nearly all commands end.
    #[inline(always)]
    pub(super) fn end_good(&mut self, now: Instant, index: u16, transferred: u32) {
        let exchange = self.exchanges.get_mut(index);
        if !exchange.is_as_usual() {
            return self.end(now, index, &Ended::good(transferred));
        }
        assert!(exchange.has_command(), "a command ends twice");
        if let Transfer::Write(_) = exchange.transfer {
            exchange.burst = None;
        }
        self.counters.ended += 1;
        let latency = now.since(exchange.started);
        self.latency_ns.saturating_record(latency.as_nanos() as u64);
        let entry = self.nexuses.get_mut(exchange.nexus).expect("an exchange that is open has its nexus");
        entry.latency.note(latency);
        let port = self.consumers.of_command(exchange.consumer);
        if port.complete_good(exchange.tag, transferred, &mut exchange.transfer) {
            self.with_news.push(exchange.consumer);
        }
        self.exchanges.free(index);
    }

    /// Gives a command back.
    pub(super) fn finish(&mut self, now: Instant, index: u16, result: Result<Ended, TransportError>) {
        self.forget_question(now, index);
        let exchange = self.exchanges.get_mut(index);
        assert!(exchange.has_command(), "a command ends twice");
        let mut transfer = std::mem::replace(&mut exchange.transfer, Transfer::None);
        if let Transfer::Write(_) = transfer {
            exchange.burst = None;
        }
        if result.is_err() {
            transfer.clear();
        }
        self.latency_ns.saturating_record(now.since(exchange.started).as_nanos() as u64);
        let (consumer, tag) = (exchange.consumer, exchange.tag);
        self.complete(consumer, Completion { tag, result, transfer });
    }

    fn complete(&mut self, consumer: u16, completion: Completion) {
        if self.consumers.of_command(consumer).complete(completion) {
            self.with_news.push(consumer);
        }
    }
}

/// The FCP_CMND of a command.
fn command_iu(command: &Command) -> FcpCmnd<'_> {
    let ((&cdb, additional_cdb), task_management) = match &command.action {
        Action::Scsi(cdb) => (cdb.parts(), TaskManagement::NONE),
        Action::Manage(function) => ((&[0; CDB_LEN], &[][..]), *function),
    };
    FcpCmnd {
        fixed: FcpCmndFixed {
            lun: command.lun,
            crn: 0,
            attribute: ATTRIBUTE_SIMPLE,
            task_management,
            flags: match command.transfer {
                Transfer::None => 0,
                Transfer::Read(_) | Transfer::ReadInPlace(_) => RDDATA,
                Transfer::Write(_) => WRDATA,
            },
            cdb,
        },
        additional_cdb,
        data_len: u32::try_from(command.transfer.len()).expect("bounded when it was submitted"),
        bidirectional_read_len: None,
    }
}
