//! What a control plane shows of itself.

use crate::control::{Control, TargetEntry};
use crate::inventory::{FcfView, Inventory, NeighbourView, TargetView, VnPortView};
use crate::words;
use fc::fip::FcfStatus;
use fc::time::Duration;
use fc::vn_port::{Phase, RemotePortStatus};
use fc::vn2vn::NeighbourStatus;

impl Control {
    pub(crate) fn take_inventory(&self) -> Inventory {
        Inventory {
            topology: self.enode.topology(),
            link_up: self.enode.has_link(),
            vlan: self.enode.vlan().map(|tag| tag.id()),
            fcfs: self.enode.fcfs().into_iter().map(fcf_view).collect(),
            neighbours: self.enode.neighbours().iter().map(|status| self.neighbour_view(status)).collect(),
            vn_ports: vec![self.vn_port_view()],
            targets: self.shown_targets().map(|entry| self.target_view(entry)).collect(),
            login_time: self.inventory.login_time,
        }
    }

    fn vn_port_view(&self) -> VnPortView {
        let identity = self.vn_port.identity();
        let phase = self.vn_port.phase();
        VnPortView {
            port_name: identity.port_name,
            node_name: identity.node_name,
            fc_id: self.session.map(|session| session.fc_id),
            mac: self.session.map(|session| session.mac),
            online: phase == Phase::Online,
            state: match &self.login_failure {
                Some(failure) => format!("{}: {failure}", words::phase(phase)),
                None => words::phase(phase).to_owned(),
            },
        }
    }

    fn neighbour_view(&self, status: &NeighbourStatus) -> NeighbourView {
        let neighbour = &status.neighbour;
        let remote_port = self.vn_port.remote_ports().find(|port| port.id == neighbour.port.fc_id);
        NeighbourView {
            mac: neighbour.mac,
            port_name: neighbour.port.port_name,
            node_name: neighbour.node_name,
            fc_id: neighbour.port.fc_id,
            max_fcoe_size: neighbour.max_fcoe_size,
            state: match (&status.refusal, remote_port) {
                (Some(refusal), _) => refusal.to_string(),
                (None, Some(RemotePortStatus { phase, failure: Some(failure), .. })) => {
                    format!("{}: {failure}", words::port_phase(phase))
                }
                (None, Some(RemotePortStatus { phase, failure: None, .. })) => {
                    words::port_phase(phase).to_owned()
                }
                (None, None) => "our own N_Port_ID isn't ours for sure yet".to_owned(),
            },
        }
    }

    fn target_view(&self, entry: &TargetEntry) -> TargetView {
        TargetView {
            port_name: entry.target.port_name,
            node_name: entry.target.node_name,
            fc_id: entry.target.id,
            nexus: entry.nexus,
            ready: entry.ready,
            logins: entry.logins,
            gone: entry.gone.clone(),
            max_payload_len: entry.target.max_payload_len,
            scanned: self.scans.is_done(entry.target.port_name),
            luns: self.scans.luns(entry.target.port_name),
        }
    }
}

fn fcf_view(status: FcfStatus) -> FcfView {
    let fcf = status.fcf;
    FcfView {
        mac: fcf.mac,
        switch_name: fcf.switch_name,
        fabric_name: fcf.fabric.name,
        fc_map: fcf.fabric.fc_map.to_string(),
        priority: fcf.priority,
        keep_alive_period: Duration::from_millis(fcf.fka.period_ms.into()),
        selected: status.selected,
        refusal: status.refusal.map(|refusal| refusal.to_string()),
    }
}
