//! Targets that come and go, and those that are in trouble.

use crate::control::Control;
use crate::edge::Edge;
use crate::escalations::{Escalations, Step};
use crate::local_port::{PortId, TargetEntry};
use crate::words;
use fc::messages::{Completion, Nexus, NexusId, ToCore};
use fc::time::Instant;
use fc::vn_port::{GoneReason, Target};
use fc::wire::Wwn;

impl Control {
    /// Publishes a target's nexus and looks for its logical units.
    pub(crate) fn add_target(&mut self, now: Instant, id: PortId, target: Target, edge: &mut impl Edge) {
        let port = self.ports.touch(id).expect("it has just told of a target");
        let enode = &self.enodes[&port.enode].machine;
        let Some((session, destination)) = port.session.zip(enode.fcoe_destination(target.id)) else {
            return;
        };
        let Some(nexus) = self.nexuses.id((port.port_name(), target.port_name)) else {
            self.counters.too_many_targets += 1;
            return;
        };
        tracing::info!(
            identity = port.label(), target_port = %target.port_name, fc_id = %target.id, "target ready"
        );
        let addresses = Nexus {
            s_id: session.fc_id,
            d_id: target.id,
            source: session.mac,
            destination,
            vlan: enode.vlan(),
            max_payload_len: target.max_payload_len,
            e_d_tov: target.e_d_tov,
            r_a_tov: target.r_a_tov,
            retry: target.has_retry(),
            confirm: target.has_confirm(),
        };
        edge.send(ToCore::SetNexus(nexus, Box::new(addresses)));
        self.scans.start(now, target.port_name, nexus);
        self.lost.forget(nexus);
        let logins = port.targets.get(&target.port_name).map_or(0, |entry| entry.logins) + 1;
        let entry = TargetEntry { target, nexus, ready: true, logins, gone: None, is_forgotten: false };
        port.targets.insert(target.port_name, Box::new(entry));
    }

    pub(crate) fn target_gone(
        &mut self,
        now: Instant,
        id: PortId,
        target_port: Wwn,
        reason: GoneReason,
        edge: &mut impl Edge,
    ) {
        let port = self.ports.touch(id).expect("it has just told of a target");
        let is_expected = reason == GoneReason::Shutdown;
        let (identity, reason) = (port.label(), words::gone(reason));
        if is_expected {
            tracing::info!(identity, %target_port, reason, "target gone");
        } else {
            tracing::warn!(identity, %target_port, reason, "target gone");
        }
        if let Some(entry) = port.targets.get_mut(&target_port) {
            entry.ready = false;
            entry.gone = Some(reason.to_owned());
            self.scans.stop(entry.nexus);
            self.escalations.forget(entry.nexus);
            self.lost.settle(entry.nexus, Some(now + self.config.dev_loss));
            edge.send(ToCore::RemoveNexus(entry.nexus));
        }
    }

    pub(crate) fn handle_completion(&mut self, now: Instant, completion: Completion, edge: &mut impl Edge) {
        self.changed = true;
        if !Escalations::is_reset(&completion) {
            self.scans.handle_completion(now, completion);
        } else if let Some((nexus, step)) = self.escalations.reset_ended(now, &completion) {
            self.escalate(now, nexus, step, edge);
            self.settle(now, edge);
        }
    }

    /// Does the next thing about a target that answers no aborts.
    pub(crate) fn escalate(&mut self, now: Instant, nexus: NexusId, step: Step, edge: &mut impl Edge) {
        if self.target_mut(nexus).is_none_or(|entry| !entry.ready) {
            return self.escalations.forget(nexus);
        }
        let (own, target_port) = self.nexuses.pair(nexus).expect("it has a target");
        match step {
            Step::Reset(command) => {
                tracing::warn!(%target_port, lun = %command.lun, "the target answers no abort; resetting the logical unit");
                self.counters.resets += 1;
                if edge.submit(command).is_err() {
                    // The next abort tries it again.
                    self.escalations.forget(nexus);
                }
            }
            Step::LogInAgain => {
                tracing::warn!(%target_port, "the target answers no abort, and a reset did not help; logging in anew");
                self.counters.logins_anew += 1;
                let id = self.ports.of_name(own).expect("it has a target");
                let port = self.ports.touch(id).expect("it has a name");
                port.vn_port.log_in_again(now, target_port);
            }
        }
    }
}
