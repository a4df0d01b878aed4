//! One interface's control plane: FIP, the VN_Port's logins, its targets and their logical units.
//!
//! ```text
//!  frames from the core --+--FIP--> Enode --FCF selected, lost, ELS replies--> VnPort --targets--> Scans
//!                         +--FCoE-------------------------------------------->   |                  |
//!  frames to the core <-------- FIP and FCoE frames <------------------------+---+       commands <-+
//! ```

use crate::edge::Edge;
use crate::inventory::{FcfView, Inventory, TargetView, VnPortView};
use crate::nexus_map::NexusMap;
use crate::scans::Scans;
use crate::words;
use fc::exchange::OxIdRange;
use fc::fip::{self, Enode, FcfStatus};
use fc::frame::FcFrame;
use fc::messages::{Completion, Nexus, NexusId, ToCore, ox_id};
use fc::time::Instant;
use fc::vn_port::{self, Identity, Outgoing, Session, Target, Via, VnPort};
use fc::wire::Wwn;
use fc::wire::ethernet::{EtherType, EthernetHeader, MAX_HEADER_LEN};
use fc::wire::fcoe::{self, FcoeFrame};
use fc::wire::fip::VxPort;
use std::collections::BTreeMap;

/// What an operator decides about an interface's control plane.
#[derive(Clone, Debug)]
pub struct Config {
    /// The ENode.
    pub enode: fip::Config,
    /// The VN_Port that logs in by FLOGI.
    pub identity: Identity,
}

/// A target port that was ready at least once.
struct TargetEntry {
    target: Target,
    nexus: NexusId,
    ready: bool,
    gone: Option<String>,
}

/// What control dropped, beyond what its machines count.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Frames from the core that are no FIP or FCoE frame.
    pub malformed: u64,
    /// FCoE frames whose MAC addresses are not those of the login.
    pub foreign: u64,
    /// Target ports beyond the most that a core has nexuses for.
    pub too_many_targets: u64,
}

/// The control plane of one interface.
pub struct Control {
    enode: Enode,
    vn_port: VnPort,
    /// What the fabric granted, while the MAC address is in use.
    session: Option<Session>,
    nexuses: NexusMap,
    targets: BTreeMap<Wwn, TargetEntry>,
    scans: Scans,
    counters: Counters,
    link_up_at: Option<Instant>,
    inventory: Inventory,
    /// What the VN_Port's login failed with last.
    login_failure: Option<String>,
    changed: bool,
}

impl Control {
    /// A control plane whose link is down.
    ///
    /// # Panics
    /// If the configuration has an impossible MAC address, VLAN or payload length.
    pub fn new(config: Config) -> Self {
        let ox_ids = OxIdRange::new(ox_id::CORE_MASK, ox_id::CONTROL);
        Self {
            enode: Enode::new(config.enode),
            vn_port: VnPort::new(config.identity, ox_ids),
            session: None,
            nexuses: NexusMap::default(),
            targets: BTreeMap::new(),
            scans: Scans::default(),
            counters: Counters::default(),
            link_up_at: None,
            inventory: Inventory::default(),
            login_failure: None,
            changed: true,
        }
    }

    /// Does everything that can be done now.
    pub fn step(&mut self, now: Instant, edge: &mut impl Edge) {
        if let Some(up) = edge.link_change() {
            self.handle_link(now, up);
        }
        self.settle(now, edge);
        while let Some(message) = edge.receive() {
            self.handle_frame(now, &message.0);
            self.settle(now, edge);
        }
        while let Some(completion) = edge.completion() {
            self.handle_completion(now, completion);
        }
        self.enode.handle_timeout(now);
        self.vn_port.handle_timeout(now);
        self.settle(now, edge);
        self.scans.submit(now, edge);
        if self.changed {
            self.changed = false;
            self.inventory = self.take_inventory();
            edge.publish(&self.inventory);
        }
    }

    /// When [`Self::step`] wants to be called though nothing came.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let machines = [self.enode.poll_timeout(), self.vn_port.poll_timeout(), self.scans.poll_timeout()];
        machines.into_iter().flatten().min()
    }

    /// Logs out of the targets and the fabric; [`Self::is_offline`] tells when that is done.
    pub fn shutdown(&mut self, now: Instant) {
        self.vn_port.shutdown(now);
    }

    /// Whether no login to the fabric is there.
    pub fn is_offline(&self) -> bool {
        self.session.is_none() && self.vn_port.phase() == vn_port::Phase::Offline
    }

    /// What was found, as it was published last.
    pub fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    /// What was dropped.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    fn handle_link(&mut self, now: Instant, up: bool) {
        self.changed = true;
        if up {
            self.link_up_at = Some(now);
            self.enode.link_up(now);
        } else {
            self.link_up_at = None;
            self.enode.link_down();
        }
    }

    fn handle_frame(&mut self, now: Instant, bytes: &[u8]) {
        let Ok((ethernet, payload)) = EthernetHeader::parse(bytes) else {
            self.counters.malformed += 1;
            return;
        };
        match ethernet.ethertype {
            EtherType::FIP => self.enode.handle_frame(now, &ethernet, payload),
            EtherType::FCOE => self.handle_fcoe(now, &ethernet, payload),
            _ => self.counters.malformed += 1,
        }
    }

    fn handle_fcoe(&mut self, now: Instant, ethernet: &EthernetHeader, payload: &[u8]) {
        let ours = self.session.is_some_and(|session| session.mac == ethernet.destination);
        if !ours || self.enode.fcoe_destination() != Some(ethernet.source) {
            self.counters.foreign += 1;
            return;
        }
        let frame = FcoeFrame::parse(payload)
            .and_then(|frame| Ok(FcFrame { header: *frame.header(), payload: frame.payload()?.to_vec() }));
        match frame {
            Ok(frame) => self.vn_port.handle_frame(now, &frame),
            Err(_) => self.counters.malformed += 1,
        }
    }

    fn handle_completion(&mut self, now: Instant, completion: Completion) {
        self.changed = true;
        self.scans.handle_completion(now, completion);
    }

    /// Passes events between the machines and frames to the core until nothing more follows.
    fn settle(&mut self, now: Instant, edge: &mut impl Edge) {
        loop {
            if let Some(event) = self.enode.poll_event() {
                self.handle_fip_event(now, event);
            } else if let Some(event) = self.vn_port.poll_event() {
                self.handle_vn_port_event(now, event, edge);
            } else if let Some(outgoing) = self.vn_port.poll_transmit() {
                self.send(outgoing, edge);
            } else if let Some(frame) = self.enode.poll_transmit() {
                edge.send(ToCore::Transmit(frame.into()));
            } else {
                return;
            }
        }
    }

    fn handle_fip_event(&mut self, now: Instant, event: fip::Event) {
        self.changed = true;
        match event {
            fip::Event::VlanDiscoveryUnanswered => {
                tracing::info!("no FCF answered VLAN requests; trying frames without a tag");
            }
            fip::Event::VlanChosen { vlan } => {
                tracing::info!(vlan = vlan.map(|tag| tag.id()), "looking for FCFs");
            }
            fip::Event::FcfSelected(fcf) => {
                tracing::info!(mac = %fcf.mac, switch = %fcf.switch_name, "FCF selected");
                self.vn_port.start(now);
            }
            fip::Event::FcfLost { fcf, reason } => {
                tracing::warn!(mac = %fcf, reason = words::lost(reason), "FCF lost");
                self.vn_port.link_lost(now);
            }
            fip::Event::VnPortsCleared(ports) => {
                let session = self.session;
                if ports.iter().any(|port| session.is_some_and(|session| session.mac == port.mac)) {
                    tracing::warn!("the FCF cleared the virtual link; logging in again");
                    self.vn_port.link_lost(now);
                    self.vn_port.start(now);
                }
            }
            fip::Event::ElsReply(reply) => {
                let frame = FcFrame { header: reply.header, payload: reply.payload };
                self.vn_port.handle_fip_reply(now, &frame, reply.granted_mac);
            }
        }
    }

    fn handle_vn_port_event(&mut self, now: Instant, event: vn_port::Event, edge: &mut impl Edge) {
        self.changed = true;
        match event {
            vn_port::Event::LoggedIn(session) => self.log_in(now, session, edge),
            vn_port::Event::LoginFailed(failure) => {
                tracing::warn!(%failure, "the login to the fabric failed; it will be tried again");
                self.login_failure = Some(failure.to_string());
                // Where there is another FCF it may do better; else the VN_Port's own back-off is what remains.
                if self.enode.fcfs().iter().any(|status| !status.selected && status.refusal.is_none()) {
                    self.enode.login_failed(now);
                }
            }
            vn_port::Event::Online => {
                self.inventory.login_time =
                    self.inventory.login_time.or(self.link_up_at.map(|since| now.since(since)));
            }
            vn_port::Event::TargetReady(target) => self.add_target(now, target, edge),
            vn_port::Event::TargetGone { port_name, reason, .. } => {
                let is_expected = reason == vn_port::GoneReason::Shutdown;
                let reason = words::gone(reason);
                if is_expected {
                    tracing::info!(target_port = %port_name, reason, "target gone");
                } else {
                    tracing::warn!(target_port = %port_name, reason, "target gone");
                }
                self.scans.stop(port_name);
                if let Some(entry) = self.targets.get_mut(&port_name) {
                    entry.ready = false;
                    entry.gone = Some(reason.to_owned());
                    edge.send(ToCore::RemoveNexus(entry.nexus));
                }
            }
            vn_port::Event::Offline(reason) => {
                tracing::info!(reason = words::logout(reason), "logged out of the fabric");
                if let Some(session) = self.session.take() {
                    self.enode.remove_vn_port(session.mac);
                    edge.remove_mac(session.mac);
                }
            }
        }
    }

    /// The fabric granted an N_Port_ID and a MAC address: both are used from the next frame on.
    fn log_in(&mut self, now: Instant, session: Session, edge: &mut impl Edge) {
        tracing::info!(fc_id = %session.fc_id, mac = %session.mac, "logged in to the fabric");
        self.login_failure = None;
        edge.add_mac(session.mac);
        self.session = Some(session);
        let port =
            VxPort { mac: session.mac, fc_id: session.fc_id, port_name: self.vn_port.identity().port_name };
        if let Err(error) = self.enode.add_vn_port(now, port) {
            tracing::warn!(%error, "the virtual link will not be kept alive");
        }
    }

    /// Publishes a target's nexus and looks for its logical units.
    fn add_target(&mut self, now: Instant, target: Target, edge: &mut impl Edge) {
        let (Some(session), Some(destination)) = (self.session, self.enode.fcoe_destination()) else {
            return;
        };
        let Some(nexus) = self.nexuses.id(target.port_name) else {
            self.counters.too_many_targets += 1;
            return;
        };
        tracing::info!(target_port = %target.port_name, fc_id = %target.id, "target ready");
        let addresses = Nexus {
            s_id: session.fc_id,
            d_id: target.id,
            source: session.mac,
            destination,
            vlan: self.enode.vlan(),
            max_payload_len: target.max_payload_len,
            e_d_tov: target.e_d_tov,
            r_a_tov: target.r_a_tov,
        };
        edge.send(ToCore::SetNexus(nexus, Box::new(addresses)));
        self.scans.start(now, target.port_name, nexus);
        self.targets.insert(target.port_name, TargetEntry { target, nexus, ready: true, gone: None });
    }

    /// Sends a frame of the VN_Port: by FIP, or in an FCoE frame of its own.
    fn send(&mut self, outgoing: Outgoing, edge: &mut impl Edge) {
        let Outgoing { via, frame } = outgoing;
        match via {
            // Without an FCF it is lost, as on a bad wire: its exchange times out.
            Via::Fip { kind, mac } => drop(self.enode.send_els(kind, frame.header, &frame.payload, mac)),
            Via::Fcoe => {
                let (Some(session), Some(destination)) = (self.session, self.enode.fcoe_destination()) else {
                    return;
                };
                let ethernet = EthernetHeader {
                    destination,
                    source: session.mac,
                    vlan: self.enode.vlan(),
                    ethertype: EtherType::FCOE,
                };
                let mut bytes = vec![0; fcoe::frame_len(MAX_HEADER_LEN, frame.payload.len())];
                let (sof, eof) = (frame.sof(), frame.eof());
                let len = fcoe::emit(&mut bytes, &ethernet, sof, &frame.header, &frame.payload, eof);
                bytes.truncate(len);
                edge.send(ToCore::Transmit(bytes.into()));
            }
        }
    }

    fn take_inventory(&self) -> Inventory {
        let identity = self.vn_port.identity();
        let vn_port = VnPortView {
            port_name: identity.port_name,
            node_name: identity.node_name,
            fc_id: self.session.map(|session| session.fc_id),
            mac: self.session.map(|session| session.mac),
            online: self.vn_port.phase() == vn_port::Phase::Online,
            state: match &self.login_failure {
                Some(failure) => format!("{}: {failure}", words::phase(self.vn_port.phase())),
                None => words::phase(self.vn_port.phase()).to_owned(),
            },
        };
        let target = |entry: &TargetEntry| TargetView {
            port_name: entry.target.port_name,
            node_name: entry.target.node_name,
            fc_id: entry.target.id,
            nexus: entry.nexus,
            ready: entry.ready,
            gone: entry.gone.clone(),
            max_payload_len: entry.target.max_payload_len,
            scanned: self.scans.is_done(entry.target.port_name),
            luns: self.scans.luns(entry.target.port_name),
        };
        Inventory {
            link_up: self.enode.phase() != fip::Phase::LinkDown,
            vlan: self.enode.vlan().map(|tag| tag.id()),
            fcfs: self.enode.fcfs().into_iter().map(fcf_view).collect(),
            vn_ports: vec![vn_port],
            targets: self.targets.values().map(target).collect(),
            login_time: self.inventory.login_time,
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
        keep_alive_period: fc::time::Duration::from_millis(fcf.fka.period_ms.into()),
        selected: status.selected,
        refusal: status.refusal.map(|refusal| refusal.to_string()),
    }
}
