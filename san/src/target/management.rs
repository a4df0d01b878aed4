//! Task management functions (FCP-4, 9.1.2.5; SAM-5, 7) and ABTS (FC-FS-3, 16.2.2).

use super::Targets;
use super::exchange::{Exchange, Slot};
use crate::context::{Context, Incoming, reply_header};
use crate::counters::Counters;
use crate::scsi::Attentions;
use fc::wire::bls::{BaAcc, BaRjt, BaRjtExplanation, BaRjtReason};
use fc::wire::fcp::{RspCode, TaskManagement};
use fc::wire::header::{FcHeader, RCtl};
use zerocopy::IntoBytes;

impl Targets {
    /// Carries out a function that came in `slot`.
    pub(super) fn manage_tasks(
        &mut self,
        slot: Slot,
        function: TaskManagement,
        counters: &mut Counters,
    ) -> RspCode {
        let Exchange { target, login, unit, .. } = *self.exchanges.get(slot);
        let port = &self.targets[usize::from(target)];
        let session = port.session(login).expect("the caller has looked");
        if function == TaskManagement::TARGET_RESET {
            // Of all logical units, whichever the FCP_CMND names: but not of those that others only see.
            let units: Vec<_> = session.luns.iter().map(|lun| port.luns[usize::from(*lun)].unit).collect();
            units.into_iter().for_each(|unit| self.reset(unit, counters));
            return RspCode::COMPLETE;
        }
        let Some(unit) = unit else { return RspCode::INCORRECT_LUN };
        let nexus = session.nexus;
        match function {
            TaskManagement::ABORT_TASK_SET => {
                let own = self.exchanges.select(|exchange| {
                    exchange.unit == Some(unit) && (exchange.target, exchange.login) == (target, login)
                });
                self.abort_all(&own, counters);
            }
            TaskManagement::CLEAR_TASK_SET => {
                let all = self.exchanges.select(|exchange| exchange.unit == Some(unit));
                let others = all.iter().map(|slot| self.exchanges.get(*slot));
                // Only who lost commands is told (SAM-5, 7.4).
                let losers: Vec<_> = others
                    .filter_map(|exchange| self.targets[usize::from(exchange.target)].session(exchange.login))
                    .map(|session| session.nexus)
                    .filter(|other| *other != nexus)
                    .collect();
                self.abort_all(&all, counters);
                self.establish(unit, Attentions::COMMANDS_CLEARED, |other| losers.contains(&other));
            }
            TaskManagement::LUN_RESET => self.reset(unit, counters),
            _ => return RspCode::REJECTED,
        }
        RspCode::COMPLETE
    }

    /// Everyone's commands end, without a status as TAS is 0, and everyone is told (SAM-5, 6.3.3), also who asked for it.
    /// Reservations stay.
    fn reset(&mut self, unit: u16, counters: &mut Counters) {
        let all = self.exchanges.select(|exchange| exchange.unit == Some(unit));
        self.abort_all(&all, counters);
        self.establish(unit, Attentions::RESET, |_| true);
    }

    pub(super) fn handle_abts(&mut self, cx: &mut Context<'_>, frame: &Incoming<'_>) {
        let Incoming { from, header, .. } = *frame;
        let (ox_id, rx_id) = (header.ox_id.get(), header.rx_id.get());
        if let Some(slot) = self.exchanges.find(rx_id, ox_id, from.fc_id, header.d_id) {
            let rx_id = self.exchanges.rx_id(slot);
            if self.exchanges.get(slot).is_open() {
                self.abort_all(&[slot], cx.counters);
            } else {
                self.exchanges.abort(slot);
            }
            let reply = FcHeader { rx_id: rx_id.into(), ..reply_header(header, RCtl::BA_ACC) };
            cx.out.fc(from.path, &reply, BaAcc::exchange(ox_id, rx_id).as_bytes());
        } else {
            let reply = FcHeader { rx_id: rx_id.into(), ..reply_header(header, RCtl::BA_RJT) };
            let reject = BaRjt::new(BaRjtReason::LOGICAL_ERROR, BaRjtExplanation::INVALID_XIDS);
            cx.out.fc(from.path, &reply, reject.as_bytes());
        }
    }
}
