//! What follows from what the machines tell.

use crate::control::Control;
use crate::edge::Edge;
use crate::enode;
use crate::local_port::PortId;
use crate::words;
use fc::time::Instant;
use fc::vn_port::{self, LogoutReason, Session};
use fc::wire::MacAddr;
use fc::wire::fip::VxPort;

/// What an operator is told of a virtual link that was cleared.
const LINK_CLEARED: &str = "the FCF cleared the virtual link: if it does so again and again, someone else may log in with the same WWPN";
/// What keeps an identity that is to log in by FDISC from doing so.
const NO_NPIV: &str =
    "the fabric gives an ENode no second N_Port_ID (NPIV): switch that on there, or log in by \"flogi\"";

impl Control {
    pub(crate) fn handle_fip_event(&mut self, now: Instant, mac: MacAddr, event: enode::Event) {
        match event {
            enode::Event::Fabric(event) => self.handle_fabric_event(now, mac, event),
            enode::Event::Vn2vn(event) => self.handle_vn2vn_event(now, event),
        }
    }

    fn handle_fabric_event(&mut self, now: Instant, mac: MacAddr, event: fc::fip::Event) {
        use fc::fip::Event;
        let entry = &self.enodes[&mac];
        let (first, ports) = (entry.first, entry.ports().collect::<Vec<_>>());
        match event {
            Event::VlanDiscoveryUnanswered => {
                tracing::info!(enode = %mac, "no FCF answered VLAN requests; trying frames without a tag");
            }
            Event::VlanChosen { vlan } => {
                tracing::info!(enode = %mac, vlan = vlan.map(|tag| tag.id()), "looking for FCFs");
            }
            Event::FcfSelected(fcf) => {
                tracing::info!(enode = %mac, mac = %fcf.mac, switch = %fcf.switch_name, "FCF selected");
                self.ask_for_login(first);
            }
            Event::FcfLost { fcf, reason } => {
                tracing::warn!(enode = %mac, mac = %fcf, reason = words::lost(reason), "FCF lost");
                ports.into_iter().for_each(|id| self.end_login(now, id));
            }
            Event::VnPortsCleared(cleared) => self.links_cleared(now, first, &cleared),
            Event::ElsReply(reply) => {
                let granted_mac = reply.granted_mac;
                let reply = self.touch_enode(mac).and_then(|entry| entry.take_reply(reply));
                let port = reply.as_ref().and_then(|(id, _)| self.ports.touch(*id));
                match reply.zip(port) {
                    Some(((_, frame), port)) => port.vn_port.handle_fip_reply(now, &frame, granted_mac),
                    None => self.counters.foreign += 1,
                }
            }
        }
    }

    fn handle_vn2vn_event(&mut self, now: Instant, event: fc::vn2vn::Event) {
        use fc::vn2vn::Event;
        let vn_port = &mut self.ports.touch(PortId::OWN).expect("it is always there").vn_port;
        match event {
            Event::VlanDiscoveryUnanswered => {
                tracing::info!("no neighbour answered VLAN requests; frames go without a tag");
            }
            Event::VlanChosen { vlan } => {
                tracing::info!(vlan = vlan.map(|tag| tag.id()), "looking for an N_Port_ID");
            }
            Event::Claimed(port) => vn_port.id_claimed(now, &port),
            Event::Released { port, reason } => {
                let reason = words::released(reason);
                tracing::warn!(fc_id = %port.fc_id, reason, "N_Port_ID given up");
                vn_port.link_lost(now);
            }
            Event::NeighbourUp(neighbour) => {
                tracing::info!(port = %neighbour.port.port_name, fc_id = %neighbour.port.fc_id, "neighbour there");
                vn_port.neighbour_up(now, &neighbour);
            }
            Event::NeighbourGone { id, port_name, reason } => {
                tracing::warn!(port = %port_name, fc_id = %id, reason = words::neighbour_lost(reason), "neighbour gone");
                vn_port.neighbour_gone(now, id);
            }
            Event::ElsRequest { from, kind, frame } => {
                vn_port.handle_fip_request(now, &from, kind, &frame);
            }
            Event::ElsReply(frame) => vn_port.handle_fip_reply(now, &frame, None),
        }
    }

    /// The FCF has cleared some of an ENode's virtual links. With that of the FLOGI go all behind it.
    fn links_cleared(&mut self, now: Instant, first: PortId, cleared: &[VxPort]) {
        for link in cleared {
            let Some(id) = self.ports.of_address(link.mac, link.fc_id) else { continue };
            self.logins.leave(id);
            let port = self.ports.touch(id).expect("just found");
            port.vn_port.link_cleared(now);
            tracing::warn!(identity = port.label(), "{LINK_CLEARED}");
            port.login_failure = Some(LINK_CLEARED.to_owned());
            self.ask_for_login(id);
            if id == first {
                return;
            }
        }
    }

    /// A VN_Port is to log in when it is its turn.
    pub(crate) fn ask_for_login(&mut self, id: PortId) {
        if self.ports.get(id).is_some_and(|port| !port.is_leaving) {
            self.logins.ask(id);
        }
    }

    /// What a VN_Port's login stood on is gone.
    fn end_login(&mut self, now: Instant, id: PortId) {
        self.logins.leave(id);
        if let Some(port) = self.ports.touch(id) {
            port.vn_port.link_lost(now);
        }
    }

    pub(crate) fn handle_vn_port_event(
        &mut self,
        now: Instant,
        id: PortId,
        event: vn_port::Event,
        edge: &mut impl Edge,
    ) {
        let port = self.ports.touch(id).expect("it has just told something");
        match event {
            vn_port::Event::LoggedIn(session) => self.logged_in(now, id, session, edge),
            vn_port::Event::LoginFailed(failure) => {
                tracing::warn!(
                    identity = port.label(), %failure, "the login to the fabric failed; it will be tried again"
                );
                port.login_failure = Some(failure.to_string());
                let enode = port.enode;
                self.logins.leave(id);
                if self.enodes[&enode].first == id {
                    self.touch_enode(enode).expect("it has this port").machine.login_failed(now);
                }
            }
            vn_port::Event::Online => {
                self.logins.leave(id);
                self.inventory.login_time =
                    self.inventory.login_time.or(self.link_up_at.map(|since| now.since(since)));
            }
            vn_port::Event::TargetReady(target) => self.add_target(now, id, target, edge),
            vn_port::Event::TargetGone { port_name, reason, .. } => {
                self.target_gone(now, id, port_name, reason, edge);
            }
            vn_port::Event::Offline(reason) => self.logged_out(now, id, reason, edge),
        }
    }

    /// The VN_Port has an N_Port_ID and a MAC address: both are used from the next frame on.
    fn logged_in(&mut self, now: Instant, id: PortId, session: Session, edge: &mut impl Edge) {
        self.macs.add(session.mac, edge);
        self.ports.begin_session(id, session);
        let port = self.ports.get(id).expect("it has just logged in");
        tracing::info!(identity = port.label(), fc_id = %session.fc_id, mac = %session.mac, "online");
        let (enode, port_name) = (port.enode, port.port_name());
        let entry = self.touch_enode(enode).expect("a VN_Port has an ENode");
        entry.machine.add_vn_port(now, &session, port_name);
        if entry.first == id {
            let others: Vec<_> = entry.others.iter().copied().collect();
            others.into_iter().for_each(|id| self.log_in_behind(id, &session));
        }
    }

    /// Lets an identity log in by FDISC behind the FLOGI that gave this session.
    pub(crate) fn log_in_behind(&mut self, id: PortId, first: &Session) {
        if first.f_port.is_some_and(|f_port| f_port.has_npiv) {
            self.ask_for_login(id);
        } else if let Some(port) = self.ports.touch(id) {
            tracing::warn!(identity = port.label(), "{NO_NPIV}");
            port.login_failure = Some(NO_NPIV.to_owned());
        }
    }

    /// The login is over. The end of a FLOGI's is that of all behind it (FC-LS-3, 6.2.3).
    fn logged_out(&mut self, now: Instant, id: PortId, reason: LogoutReason, edge: &mut impl Edge) {
        let port = self.ports.get(id).expect("it has just logged out");
        tracing::info!(identity = port.label(), reason = words::logout(reason), "offline");
        let (enode, port_name) = (port.enode, port.port_name());
        if reason != LogoutReason::LinkLost {
            self.logins.leave(id);
        }
        if let Some(session) = self.ports.end_session(id) {
            self.macs.remove(session.mac, edge);
        }
        let entry = self.touch_enode(enode).expect("a VN_Port has an ENode");
        entry.machine.remove_vn_port(port_name);
        if entry.first == id {
            let others: Vec<_> = entry.others.iter().copied().collect();
            others.into_iter().for_each(|id| self.end_login(now, id));
        }
    }
}
