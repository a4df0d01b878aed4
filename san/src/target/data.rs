//! FCP_DATA from initiators.

use super::Targets;
use super::exchange::{Response, Sink, Slot, State, Writing};
use super::received::Received;
use crate::context::{Context, Incoming};
use crate::counters::{Counters, Drop};
use crate::scsi;
use fc::wire::header::FCtl;
use fc::wire::scsi::{AdditionalSense, Sense, SenseKey};

impl Targets {
    /// Takes a frame that lies within the burst asked for. One that came before is taken again, and counts once.
    pub(super) fn handle_data(&mut self, cx: &mut Context<'_>, frame: &Incoming<'_>) -> Result<(), Drop> {
        let Incoming { from, header, payload } = *frame;
        let slot = self
            .exchanges
            .find(header.rx_id.get(), header.ox_id.get(), from.fc_id, header.d_id)
            .ok_or(Drop::NoExchange)?;
        let exchange = self.exchanges.get_mut(slot);
        let State::Receiving(mut writing) = exchange.state else { return Err(Drop::NoExchange) };
        if !header.f_ctl.has(FCtl::RELATIVE_OFFSET) || payload.is_empty() {
            return Err(Drop::Malformed);
        }
        let start = header.parameter.get();
        let end = start.checked_add(payload.len() as u32).ok_or(Drop::Malformed)?;
        if start < writing.burst_start || end > writing.burst_end {
            return Err(Drop::Malformed);
        }
        if !writing.received.insert(start, end) {
            return Err(Drop::Unexpected);
        }
        exchange.touched = cx.now;
        writing.has_initiative |= header.f_ctl.has(FCtl::END_SEQUENCE | FCtl::TRANSFER_INITIATIVE);
        let written = match writing.sink {
            Sink::Buffer(_) => {
                exchange.buffer[start as usize..end as usize].copy_from_slice(payload);
                Ok(())
            }
            Sink::Disk { offset } => {
                let unit = exchange.unit.expect("a write has a unit");
                self.units[usize::from(unit)].disk.write(offset + u64::from(start), payload)
            }
        };
        cx.counters.written_bytes += payload.len() as u64;
        exchange.state = State::Receiving(writing);
        if written.is_err() {
            /// WRITE ERROR.
            const WRITE_ERROR: AdditionalSense = AdditionalSense::new(0x0c, 0x00);
            let sense = Sense::new(SenseKey::MEDIUM_ERROR, WRITE_ERROR);
            self.exchanges.set_state(slot, State::SendRsp(Response::Refused(sense.into())));
        } else if writing.received.covers(writing.burst_start, writing.burst_end) {
            self.end_burst(slot, writing, cx.counters);
        }
        Ok(())
    }

    /// All of a burst is there: asks for the next one, or ends the command.
    fn end_burst(&mut self, slot: Slot, writing: Writing, counters: &mut Counters) {
        let state = if writing.burst_end < writing.len {
            let burst_start = writing.burst_end;
            State::SendXferRdy(Writing {
                burst_start,
                burst_end: self.burst_end(burst_start, writing.len),
                received: Received::default(),
                has_initiative: false,
                ..writing
            })
        } else {
            State::SendRsp(self.finish(slot, writing.sink, counters))
        };
        self.exchanges.set_state(slot, state);
    }

    fn finish(&mut self, slot: Slot, sink: Sink, counters: &mut Counters) -> Response {
        let exchange = self.exchanges.get(slot);
        let unit = exchange.unit.expect("a write has a unit");
        let result = match sink {
            Sink::Disk { .. } => scsi::end_write(&self.units[usize::from(unit)], &exchange.cdb)
                .map(|()| scsi::Effects::default()),
            Sink::Buffer(what) => {
                let target = &self.targets[usize::from(exchange.target)];
                let session = target.session(exchange.login).expect("exchanges end with their session");
                let unit = &mut self.units[usize::from(unit)];
                scsi::finish(unit, session.nexus, &exchange.cdb, what, &exchange.buffer)
            }
        };
        match result {
            Ok(effects) => {
                self.apply(&effects, unit, slot, counters);
                Response::Good
            }
            Err(refusal) => Response::Refused(refusal),
        }
    }
}
