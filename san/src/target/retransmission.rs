//! SRR and FCP_CONF (FCP-4, 4.9 and 9.6): what was sent is sent again to whoever has lost it, and kept until then.

use super::Targets;
use super::exchange::{Response, State, Writing};
use crate::context::{Context, Incoming, reply_header};
use crate::counters::Drop;
use fc::wire::els::{ElsReply, Explanation, LsRjt, Reason};
use fc::wire::fcp::Srr;
use fc::wire::header::RCtl;

/// What was asked for can't be sent again.
const NO_DATA: LsRjt = LsRjt::new(Reason::UNABLE, Explanation::NO_DATA);

impl Targets {
    /// SRR. The answer is FCP's own link service reply; what was asked for follows in the exchange that it is about.
    pub(super) fn handle_srr(&mut self, cx: &mut Context<'_>, frame: &Incoming<'_>) {
        let reply = match self.send_again(frame) {
            Ok(()) => {
                cx.counters.retransmissions += 1;
                ElsReply::Accept
            }
            Err(reject) => reject.into(),
        };
        let header = reply_header(frame.header, RCtl::FC4_REPLY);
        cx.out.fc(frame.from.path, &header, &reply.to_payload());
    }

    fn send_again(&mut self, frame: &Incoming<'_>) -> Result<(), LsRjt> {
        let srr = Srr::parse(frame.payload).map_err(|_| LsRjt::MALFORMED)?;
        let (rx_id, ox_id) = (srr.rx_id.get(), srr.ox_id.get());
        let found = self.exchanges.find(rx_id, ox_id, frame.from.fc_id, frame.header.d_id);
        let slot = found.ok_or(LsRjt::NO_SUCH_EXCHANGE)?;
        let exchange = self.exchanges.get_mut(slot);
        if !exchange.has_retry {
            return Err(LsRjt::UNSUPPORTED);
        }
        let state = exchange.state;
        let again = match (RCtl(srr.r_ctl), state) {
            (
                RCtl::DATA,
                State::SendData { .. } | State::SendRsp(Response::Good) | State::Retained(Response::Good),
            ) => {
                let len = exchange.read.ok_or(NO_DATA)?.len;
                match srr.offset.get() {
                    offset if !offset.is_multiple_of(4) => return Err(NO_DATA),
                    start if start < len => State::SendData { start, next: start },
                    _ => State::SendRsp(Response::Good),
                }
            }
            // What it asks for is about to be sent.
            (RCtl::STATUS, State::SendData { .. })
            | (RCtl::STATUS | RCtl::DATA | RCtl::DATA_DESCRIPTOR, State::SendRsp(_))
            | (RCtl::DATA_DESCRIPTOR, State::SendXferRdy(_)) => return Ok(()),
            // All data is here, as the response says; or there is none, for the command failed.
            (RCtl::STATUS | RCtl::DATA | RCtl::DATA_DESCRIPTOR, State::Retained(response)) => {
                State::SendRsp(response)
            }
            (RCtl::DATA_DESCRIPTOR, State::Receiving(writing)) => {
                State::SendXferRdy(ask_again(writing, srr.offset.get()).ok_or(NO_DATA)?)
            }
            _ => return Err(NO_DATA),
        };
        if state.sends() {
            // It is in the ring already, and its next sequence is another one.
            exchange.seq_id = exchange.seq_id.wrapping_add(1);
            exchange.state = again;
        } else {
            self.exchanges.set_state(slot, again);
        }
        Ok(())
    }

    /// FCP_CONF: the initiator has the response, and asks for nothing any more.
    pub(super) fn handle_confirmation(&mut self, frame: &Incoming<'_>) -> Result<(), Drop> {
        let Incoming { from, header, .. } = *frame;
        let found = self.exchanges.find(header.rx_id.get(), header.ox_id.get(), from.fc_id, header.d_id);
        let is_it = |state| matches!(state, State::Retained(_));
        let slot = found.filter(|slot| is_it(self.exchanges.get(*slot).state)).ok_or(Drop::NoExchange)?;
        self.exchanges.abort(slot);
        Ok(())
    }

    /// Forgets what is retained for a login.
    pub(super) fn forget_retained(&mut self, target: usize, login: u16) {
        self.exchanges.forget(|exchange| (usize::from(exchange.target), exchange.login) == (target, login));
    }
}

/// Asks for a burst's data again from `offset` on, but not for less than is missing. `None` if the burst doesn't have it.
fn ask_again(writing: Writing, offset: u32) -> Option<Writing> {
    let held = writing.received.end_from(writing.burst_start);
    if !offset.is_multiple_of(4) || offset < writing.burst_start || offset > writing.burst_end {
        return None;
    }
    Some(Writing { burst_start: offset.min(held), has_initiative: false, ..writing })
}
