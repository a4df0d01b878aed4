//! What a control plane shows of itself.

use crate::control::Control;
use crate::inventory::{FcfView, Inventory, NeighbourView, TargetView, VnPortView};
use crate::local_port::{LocalPort, PortId, TargetEntry};
use crate::words;
use fc::fip::FcfStatus;
use fc::time::Duration;
use fc::vn_port::{Phase, RemotePortStatus};
use fc::vn2vn::NeighbourStatus;

impl Control {
    pub(crate) fn take_inventory(&self) -> Inventory {
        let enode = &self.own_enode().machine;
        let targets = |(_, port): (PortId, &LocalPort)| {
            port.shown_targets().map(|entry| self.target_view(port, entry)).collect::<Vec<_>>()
        };
        Inventory {
            topology: enode.topology(),
            link_up: enode.has_link(),
            vlan: enode.vlan().map(|tag| tag.id()),
            fcfs: enode.fcfs().into_iter().map(fcf_view).collect(),
            neighbours: enode.neighbours().iter().map(|status| self.neighbour_view(status)).collect(),
            vn_ports: self.ports.iter().map(|(id, port)| self.vn_port_view(id, port)).collect(),
            targets: self.ports.iter().flat_map(targets).collect(),
            duplicate_macs: self.macs.elsewhere().collect(),
            login_time: self.inventory.login_time,
        }
    }

    fn vn_port_view(&self, id: PortId, port: &LocalPort) -> VnPortView {
        let identity = port.vn_port.identity();
        let phase = port.vn_port.phase();
        let state = words::phase(phase);
        VnPortView {
            identity: port.name.clone(),
            port_name: identity.port_name,
            node_name: identity.node_name,
            login: identity.login,
            enode: port.enode,
            fc_id: port.session.map(|session| session.fc_id),
            mac: port.session.map(|session| session.mac),
            online: phase == Phase::Online,
            state: match (&port.login_failure, self.obstacle_of(id, port)) {
                (Some(failure), _) => format!("{state}: {failure}"),
                (None, Some(obstacle)) => format!("{state}: {obstacle}"),
                (None, None) => state.to_owned(),
            },
        }
    }

    /// What keeps a VN_Port from beginning to log in. What keeps the interface's own is shown of the interface.
    fn obstacle_of(&self, id: PortId, port: &LocalPort) -> Option<String> {
        let is_idle = port.vn_port.phase() == Phase::Offline && !port.is_leaving;
        if !is_idle || id == PortId::OWN || !self.own_enode().machine.has_link() {
            return None;
        }
        let entry = &self.enodes[&port.enode];
        if self.logins.is_waiting(id) {
            return Some("others log in first".to_owned());
        }
        if entry.first != id {
            return Some("the interface's own VN_Port has to log in first".to_owned());
        }
        let fcfs = entry.machine.fcfs();
        let refused = fcfs.iter().find_map(|status| status.refusal.map(|refusal| (status.fcf.mac, refusal)));
        Some(match refused {
            Some((mac, refusal)) => format!("no FCF can be used; of {mac}: {refusal}"),
            None => "an FCF is looked for".to_owned(),
        })
    }

    fn neighbour_view(&self, status: &NeighbourStatus) -> NeighbourView {
        let neighbour = &status.neighbour;
        let own = self.ports.get(PortId::OWN).expect("it is always there");
        let remote_port = own.vn_port.remote_ports().find(|port| port.id == neighbour.port.fc_id);
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

    fn target_view(&self, port: &LocalPort, entry: &TargetEntry) -> TargetView {
        TargetView {
            identity: port.name.clone(),
            vn_port: port.port_name(),
            port_name: entry.target.port_name,
            node_name: entry.target.node_name,
            fc_id: entry.target.id,
            nexus: entry.nexus,
            ready: entry.ready,
            logins: entry.logins,
            gone: entry.gone.clone(),
            max_payload_len: entry.target.max_payload_len,
            scanned: self.scans.is_done(entry.nexus),
            luns: self.scans.luns(entry.nexus),
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
