//! One interface's control plane: FIP, the VN_Port's logins, its targets and their logical units.
//!
//! ```text
//!  frames from the core --+--FIP--> Enode --FCF or neighbours, ELSs--> VnPort --targets--> Scans
//!                         +--FCoE------------------------------------>   |                  |
//!  frames to the core <-------- FIP and FCoE frames <---------------+----+       commands <-+
//! ```

use crate::edge::Edge;
use crate::escalations::{Escalations, Step};
use crate::fip::{self, Enode, EnodeConfig};
use crate::inventory::Inventory;
use crate::nexus_map::NexusMap;
use crate::scans::Scans;
use crate::words;
use fc::exchange::OxIdRange;
use fc::frame::FcFrame;
use fc::messages::{Completion, FromCore, Nexus, NexusId, ToCore, ox_id};
use fc::time::{Duration, Instant};
use fc::vn_port::{self, Identity, Outgoing, Session, Target, Via, VnPort};
use fc::wire::Wwn;
use fc::wire::ethernet::{EtherType, EthernetHeader, MAX_HEADER_LEN};
use fc::wire::fcoe::{self, FcoeFrame};
use std::collections::BTreeMap;

/// What an operator decides about an interface's control plane.
#[derive(Clone, Debug)]
pub struct Config {
    /// The ENode: it says whether there is a fabric.
    pub enode: EnodeConfig,
    /// The VN_Port that logs in by FLOGI.
    pub identity: Identity,
    /// How long a target that is gone is shown, with its logical units.
    pub dev_loss: Duration,
}

/// A target port that was ready at least once.
pub(crate) struct TargetEntry {
    pub(crate) target: Target,
    pub(crate) nexus: NexusId,
    pub(crate) ready: bool,
    /// How often it has become ready.
    pub(crate) logins: u32,
    pub(crate) gone: Option<String>,
    /// Since when it is gone.
    pub(crate) gone_since: Option<Instant>,
    /// It has been gone for longer than it is shown.
    pub(crate) is_forgotten: bool,
}

/// What control dropped, beyond what its machines count.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Frames from the core that are no FIP or FCoE frame.
    pub malformed: u64,
    /// FCoE frames whose MAC addresses are not those of the login, or of the port that sent them.
    pub foreign: u64,
    /// Target ports beyond the most that a core has nexuses for.
    pub too_many_targets: u64,
    /// Logical units reset because their target did not answer an abort.
    pub resets: u64,
    /// Logins to targets begun anew because a reset did not help.
    pub logins_anew: u64,
}

/// The control plane of one interface.
pub struct Control {
    pub(crate) enode: Enode,
    pub(crate) vn_port: VnPort,
    /// What the VN_Port has, while the MAC address is in use.
    pub(crate) session: Option<Session>,
    nexuses: NexusMap,
    pub(crate) targets: BTreeMap<Wwn, TargetEntry>,
    pub(crate) scans: Scans,
    escalations: Escalations,
    pub(crate) dev_loss: Duration,
    counters: Counters,
    link_up_at: Option<Instant>,
    pub(crate) inventory: Inventory,
    /// What the VN_Port's login failed with last.
    pub(crate) login_failure: Option<String>,
    /// Something came or was due: the inventory may differ from what was published.
    pub(crate) changed: bool,
}

impl Control {
    /// A control plane whose link is down.
    ///
    /// # Panics
    /// If the configuration has an impossible MAC address, VLAN or payload length.
    pub fn new(config: Config) -> Self {
        let ox_ids = OxIdRange::new(ox_id::CORE_MASK, ox_id::CONTROL);
        let vn_port = match config.enode {
            EnodeConfig::Fabric(_) => VnPort::new(config.identity, ox_ids),
            EnodeConfig::Vn2vn(_) => VnPort::vn2vn(config.identity, ox_ids),
        };
        Self {
            enode: Enode::new(config.enode),
            vn_port,
            session: None,
            nexuses: NexusMap::default(),
            targets: BTreeMap::new(),
            scans: Scans::default(),
            escalations: Escalations::default(),
            dev_loss: config.dev_loss,
            counters: Counters::default(),
            link_up_at: None,
            inventory: Inventory::default(),
            login_failure: None,
            changed: true,
        }
    }

    /// Does everything that can be done now.
    pub fn step(&mut self, now: Instant, edge: &mut impl Edge) {
        while let Some(up) = edge.link_change() {
            self.handle_link(now, up);
        }
        self.settle(now, edge);
        while let Some(message) = edge.receive() {
            match message {
                FromCore::Frame(bytes) => self.handle_frame(now, &bytes),
                FromCore::AbortUnanswered(nexus, lun) => {
                    if let Some(step) = self.escalations.abort_unanswered(now, nexus, lun) {
                        self.escalate(now, nexus, step, edge);
                    }
                }
            }
            self.settle(now, edge);
        }
        while let Some(completion) = edge.completion() {
            self.handle_completion(now, completion, edge);
        }
        if edge.takes_access_for_doubtful() {
            self.scans.doubt_access(now);
        }
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        self.changed |= is_due(self.enode.poll_timeout()) || is_due(self.vn_port.poll_timeout());
        self.enode.handle_timeout(now);
        self.vn_port.handle_timeout(now);
        self.settle(now, edge);
        self.forget_lost(now);
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
        machines.into_iter().flatten().chain(self.next_lost()).min()
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
        self.changed = true;
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
        let frame = FcoeFrame::parse(payload)
            .and_then(|frame| Ok(FcFrame { header: *frame.header(), payload: frame.payload()?.to_vec() }));
        let Ok(frame) = frame else {
            self.counters.malformed += 1;
            return;
        };
        let ours = self.session.is_some_and(|session| session.mac == ethernet.destination);
        if ours && self.enode.fcoe_destination(frame.header.s_id) == Some(ethernet.source) {
            self.vn_port.handle_frame(now, &frame);
        } else {
            self.counters.foreign += 1;
        }
    }

    fn handle_completion(&mut self, now: Instant, completion: Completion, edge: &mut impl Edge) {
        self.changed = true;
        if !Escalations::is_reset(&completion) {
            self.scans.handle_completion(now, completion);
        } else if let Some((nexus, step)) = self.escalations.reset_ended(now, &completion) {
            self.escalate(now, nexus, step, edge);
            self.settle(now, edge);
        }
    }

    /// Does the next thing about a target that answers no aborts.
    fn escalate(&mut self, now: Instant, nexus: NexusId, step: Step, edge: &mut impl Edge) {
        let is_it = |entry: &&TargetEntry| entry.nexus == nexus && entry.ready;
        let Some(entry) = self.targets.values().find(is_it) else { return self.escalations.forget(nexus) };
        let target_port = entry.target.port_name;
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
                self.vn_port.log_in_again(now, target_port);
            }
        }
    }

    /// Passes events between the machines and frames to the core until nothing more follows. A neighbour takes a PLOGI
    /// only after the FLOGI that goes before it, so FIP's frames go out as soon as they are there.
    fn settle(&mut self, now: Instant, edge: &mut impl Edge) {
        loop {
            if let Some(event) = self.enode.poll_event() {
                self.handle_fip_event(now, event);
            } else if let Some(event) = self.vn_port.poll_event() {
                self.handle_vn_port_event(now, event, edge);
            } else if let Some(frame) = self.enode.poll_transmit() {
                edge.send(ToCore::Transmit(frame.into()));
            } else if let Some(outgoing) = self.vn_port.poll_transmit() {
                self.send(outgoing, edge);
            } else {
                return;
            }
        }
    }

    fn handle_fip_event(&mut self, now: Instant, event: fip::Event) {
        match event {
            fip::Event::Fabric(event) => self.handle_fabric_event(now, event),
            fip::Event::Vn2vn(event) => self.handle_vn2vn_event(now, event),
        }
    }

    fn handle_fabric_event(&mut self, now: Instant, event: fc::fip::Event) {
        use fc::fip::Event;
        match event {
            Event::VlanDiscoveryUnanswered => {
                tracing::info!("no FCF answered VLAN requests; trying frames without a tag");
            }
            Event::VlanChosen { vlan } => {
                tracing::info!(vlan = vlan.map(|tag| tag.id()), "looking for FCFs");
            }
            Event::FcfSelected(fcf) => {
                tracing::info!(mac = %fcf.mac, switch = %fcf.switch_name, "FCF selected");
                self.vn_port.start(now);
            }
            Event::FcfLost { fcf, reason } => {
                tracing::warn!(mac = %fcf, reason = words::lost(reason), "FCF lost");
                self.vn_port.link_lost(now);
            }
            Event::VnPortsCleared(ports) => {
                let session = self.session;
                if ports.iter().any(|port| session.is_some_and(|session| session.mac == port.mac)) {
                    tracing::warn!("the FCF cleared the virtual link; logging in again");
                    self.vn_port.link_lost(now);
                    self.vn_port.start(now);
                }
            }
            Event::ElsReply(reply) => {
                let frame = FcFrame { header: reply.header, payload: reply.payload };
                self.vn_port.handle_fip_reply(now, &frame, reply.granted_mac);
            }
        }
    }

    fn handle_vn2vn_event(&mut self, now: Instant, event: fc::vn2vn::Event) {
        use fc::vn2vn::Event;
        match event {
            Event::VlanDiscoveryUnanswered => {
                tracing::info!("no neighbour answered VLAN requests; frames go without a tag");
            }
            Event::VlanChosen { vlan } => {
                tracing::info!(vlan = vlan.map(|tag| tag.id()), "looking for an N_Port_ID");
            }
            Event::Claimed(port) => self.vn_port.id_claimed(now, &port),
            Event::Released { port, reason } => {
                let reason = words::released(reason);
                tracing::warn!(fc_id = %port.fc_id, reason, "N_Port_ID given up");
                self.vn_port.link_lost(now);
            }
            Event::NeighbourUp(neighbour) => {
                tracing::info!(port = %neighbour.port.port_name, fc_id = %neighbour.port.fc_id, "neighbour there");
                self.vn_port.neighbour_up(now, &neighbour);
            }
            Event::NeighbourGone { id, port_name, reason } => {
                tracing::warn!(port = %port_name, fc_id = %id, reason = words::neighbour_lost(reason), "neighbour gone");
                self.vn_port.neighbour_gone(now, id);
            }
            Event::ElsRequest { from, kind, frame } => {
                self.vn_port.handle_fip_request(now, &from, kind, &frame);
            }
            Event::ElsReply(frame) => self.vn_port.handle_fip_reply(now, &frame, None),
        }
    }

    fn handle_vn_port_event(&mut self, now: Instant, event: vn_port::Event, edge: &mut impl Edge) {
        match event {
            vn_port::Event::LoggedIn(session) => self.log_in(now, session, edge),
            vn_port::Event::LoginFailed(failure) => {
                tracing::warn!(%failure, "the login to the fabric failed; it will be tried again");
                self.login_failure = Some(failure.to_string());
                self.enode.login_failed(now);
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
                    entry.gone_since = Some(now);
                    self.escalations.forget(entry.nexus);
                    edge.send(ToCore::RemoveNexus(entry.nexus));
                }
            }
            vn_port::Event::Offline(reason) => {
                tracing::info!(reason = words::logout(reason), "offline");
                if let Some(session) = self.session.take() {
                    self.enode.remove_vn_port(session.mac);
                    edge.remove_mac(session.mac);
                }
            }
        }
    }

    /// The VN_Port has an N_Port_ID and a MAC address: both are used from the next frame on.
    fn log_in(&mut self, now: Instant, session: Session, edge: &mut impl Edge) {
        tracing::info!(fc_id = %session.fc_id, mac = %session.mac, "online");
        self.login_failure = None;
        edge.add_mac(session.mac);
        self.session = Some(session);
        self.enode.add_vn_port(now, &session, self.vn_port.identity().port_name);
    }

    /// Publishes a target's nexus and looks for its logical units.
    fn add_target(&mut self, now: Instant, target: Target, edge: &mut impl Edge) {
        let Some((session, destination)) = self.session.zip(self.enode.fcoe_destination(target.id)) else {
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
            retry: target.has_retry(),
            confirm: target.has_confirm(),
        };
        edge.send(ToCore::SetNexus(nexus, Box::new(addresses)));
        self.scans.start(now, target.port_name, nexus);
        let logins = self.targets.get(&target.port_name).map_or(0, |entry| entry.logins) + 1;
        self.targets.insert(
            target.port_name,
            TargetEntry {
                target,
                nexus,
                ready: true,
                logins,
                gone: None,
                gone_since: None,
                is_forgotten: false,
            },
        );
    }

    /// Sends a frame of the VN_Port: by FIP, or in an FCoE frame of its own.
    fn send(&mut self, outgoing: Outgoing, edge: &mut impl Edge) {
        let Outgoing { via, frame } = outgoing;
        match via {
            // If it is lost, its exchange times out.
            Via::Fip { kind, mac } => self.enode.send_els(kind, frame.header, &frame.payload, mac),
            Via::Fcoe => {
                let destination = self.enode.fcoe_destination(frame.header.d_id);
                let Some((session, destination)) = self.session.zip(destination) else { return };
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
}
