//! One interface's control plane: FIP, the VN_Ports' logins, their targets and those's logical units.
//!
//! ```text
//!  frames from the core --+--FIP--> ENodes --FCF or neighbours, ELSs--> VN_Ports --targets--> Scans
//!                         +--FCoE-------------------------------------->   |                    |
//!  frames to the core <-------- FIP and FCoE frames <----------------------+----+    commands <-+
//! ```
//!
//! The interface has an ENode and a VN_Port of its own, which logs in by FLOGI. Identities add VN_Ports: by FDISC behind
//! that, or by an ENode and a FLOGI of their own.

use crate::admission::Admission;
use crate::agenda::Agenda;
use crate::edge::Edge;
use crate::enode::{CONTROL_OX_IDS, EnodeConfig, EnodeEntry};
use crate::escalations::Escalations;
use crate::identity::Identity;
use crate::inventory::Inventory;
use crate::local_port::{LocalPort, PortId, TargetEntry};
use crate::macs::{Heard, Macs};
use crate::nexus_map::NexusMap;
use crate::ports::Ports;
use crate::scans::Scans;
use fc::frame::FcFrame;
use fc::messages::{FromCore, NexusId, ToCore};
use fc::time::{Duration, Instant};
use fc::vn_port::{self, Outgoing, Via, VnPort};
use fc::wire::MacAddr;
use fc::wire::ethernet::{EtherType, EthernetHeader, MAX_HEADER_LEN};
use fc::wire::fcoe::{self, FcoeFrame};
use std::collections::BTreeMap;

/// Time between the ENodes of one interface when its link comes up: hundreds at once would be lost at the FCF.
const ENODE_SPACING: Duration = Duration::from_millis(1);

/// For how long nothing new is published for each VN_Port besides the interface's own: what is published costs as much
/// as there are, and when hundreds log in something is new with every frame.
const PUBLISH_SPACING: Duration = Duration::from_micros(50);

/// What an operator decides about an interface's control plane.
#[derive(Clone, Debug)]
pub struct Config {
    /// The interface's ENode: it says whether there is a fabric.
    pub enode: EnodeConfig,
    /// The interface's own VN_Port, which logs in by FLOGI. Identities have from both what they don't say themselves.
    pub identity: vn_port::Identity,
    /// How long a target that is gone is shown, with its logical units.
    pub dev_loss: Duration,
}

/// What control dropped, beyond what its machines count.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Frames from the core that are no FIP or FCoE frame.
    pub malformed: u64,
    /// FCoE frames whose addresses are not those of a login, or of the port that sent them, and replies by FIP to what
    /// nobody has asked.
    pub foreign: u64,
    /// Frames that came from a MAC address of ours: someone else has it, too.
    pub duplicate_mac: u64,
    /// Target ports beyond the most that a core has nexuses for.
    pub too_many_targets: u64,
    /// Logical units reset because their target did not answer an abort.
    pub resets: u64,
    /// Logins to targets begun anew because a reset did not help.
    pub logins_anew: u64,
}

/// The control plane of one interface.
pub struct Control {
    pub(crate) config: Config,
    pub(crate) enodes: BTreeMap<MacAddr, EnodeEntry>,
    pub(crate) enode_agenda: Agenda<MacAddr>,
    pub(crate) ports: Ports,
    pub(crate) logins: Admission,
    /// Identities that are as one that has not gone yet.
    pub(crate) waiting: Vec<Identity>,
    pub(crate) macs: Macs,
    pub(crate) nexuses: NexusMap,
    pub(crate) scans: Scans,
    pub(crate) escalations: Escalations,
    /// Targets that are gone, until they are forgotten.
    pub(crate) lost: Agenda<NexusId>,
    pub(crate) counters: Counters,
    pub(crate) link_up_at: Option<Instant>,
    pub(crate) inventory: Inventory,
    /// Something came or was due: the inventory may differ from what was published.
    pub(crate) changed: bool,
    publish_at: Instant,
}

impl Control {
    /// A control plane whose link is down.
    ///
    /// # Panics
    /// If the configuration has an impossible MAC address, VLAN or payload length.
    pub fn new(config: Config) -> Self {
        let mac = config.enode.mac();
        let vn_port = match config.enode {
            EnodeConfig::Fabric(_) => VnPort::new(config.identity.clone(), CONTROL_OX_IDS),
            EnodeConfig::Vn2vn(_) => VnPort::vn2vn(config.identity.clone(), CONTROL_OX_IDS),
        };
        let mut enode = EnodeEntry::new(config.enode, PortId::OWN);
        enode.has_mac = true;
        let mut ports = Ports::default();
        ports.add(LocalPort::new(None, mac, vn_port));
        Self {
            enodes: BTreeMap::from([(mac, enode)]),
            enode_agenda: Agenda::default(),
            ports,
            logins: Admission::default(),
            waiting: Vec::new(),
            macs: Macs::new(mac),
            nexuses: NexusMap::default(),
            scans: Scans::default(),
            escalations: Escalations::default(),
            lost: Agenda::default(),
            counters: Counters::default(),
            link_up_at: None,
            inventory: Inventory::default(),
            changed: true,
            publish_at: Instant::ZERO,
            config,
        }
    }

    /// Does everything that can be done now.
    pub fn step(&mut self, now: Instant, edge: &mut impl Edge) {
        while let Some(up) = edge.link_change() {
            self.handle_link(now, up);
        }
        while let Some(order) = edge.order() {
            let result = self.carry_out(now, order);
            edge.answer(result);
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
        self.handle_timeouts(now, edge);
        self.settle(now, edge);
        self.forget_lost(now);
        self.scans.submit(now, edge);
        if self.changed && now >= self.publish_at {
            self.changed = false;
            self.publish_at = now + PUBLISH_SPACING * (self.ports.len() as u32 - 1);
            let inventory = self.take_inventory();
            // A keep-alive, or a frame that said nothing new, has come between.
            if inventory != self.inventory {
                self.inventory = inventory;
                edge.publish(&self.inventory);
            }
        }
    }

    /// When [`Self::step`] wants to be called though nothing came.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let machines =
            [self.enode_agenda.next_due(), self.ports.agenda.next_due(), self.scans.poll_timeout()];
        let publish_at = self.changed.then_some(self.publish_at);
        machines.into_iter().flatten().chain(self.lost.next_due()).chain(publish_at).min()
    }

    /// Logs out of the targets and the fabric; [`Self::is_offline`] tells when that is done.
    pub fn shutdown(&mut self, now: Instant) {
        let all: Vec<_> = self.ports.iter().map(|(id, _)| id).collect();
        // What goes by an FLOGI goes before that.
        for id in all.into_iter().rev() {
            self.log_out(now, id);
        }
    }

    /// Whether no login to the fabric is there.
    pub fn is_offline(&self) -> bool {
        let is_offline =
            |port: &LocalPort| port.session.is_none() && port.vn_port.phase() == vn_port::Phase::Offline;
        self.ports.iter().all(|(_, port)| is_offline(port))
    }

    /// What was found, as it was published last.
    pub fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    /// What was dropped.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The interface's own.
    pub(crate) fn own_enode(&self) -> &EnodeEntry {
        &self.enodes[&self.config.enode.mac()]
    }

    /// For something that its machine is to do: what follows from that is looked at.
    pub(crate) fn touch_enode(&mut self, mac: MacAddr) -> Option<&mut EnodeEntry> {
        let entry = self.enodes.get_mut(&mac)?;
        self.enode_agenda.touch(mac);
        Some(entry)
    }

    /// The target port that a nexus stands for.
    pub(crate) fn target_mut(&mut self, nexus: NexusId) -> Option<&mut TargetEntry> {
        let (own, target) = self.nexuses.pair(nexus)?;
        let id = self.ports.of_name(own)?;
        self.ports.touch(id)?.targets.get_mut(&target).map(|entry| &mut **entry)
    }

    /// Logs one VN_Port out.
    pub(crate) fn log_out(&mut self, now: Instant, id: PortId) {
        self.logins.leave(id);
        if let Some(port) = self.ports.touch(id) {
            port.vn_port.shutdown(now);
        }
    }

    fn handle_link(&mut self, now: Instant, up: bool) {
        self.changed = true;
        self.link_up_at = up.then_some(now);
        let own = self.config.enode.mac();
        let (mut at, macs) = (now, self.enodes.keys().copied().collect::<Vec<_>>());
        for mac in macs {
            let entry = self.touch_enode(mac).expect("it is one of them");
            if !up {
                entry.link_down();
            } else if mac == own {
                entry.machine.link_up(now);
            } else {
                at = at + ENODE_SPACING;
                entry.link_up_at = Some(at);
            }
        }
    }

    fn handle_frame(&mut self, now: Instant, bytes: &[u8]) {
        self.changed = true;
        let Ok((ethernet, payload)) = EthernetHeader::parse(bytes) else {
            self.counters.malformed += 1;
            return;
        };
        self.look_at_source(ethernet.source);
        match ethernet.ethertype {
            EtherType::FIP => self.handle_fip(now, &ethernet, payload),
            EtherType::FCOE => self.handle_fcoe(now, &ethernet, payload),
            _ => self.counters.malformed += 1,
        }
    }

    /// Nobody else sends with our addresses, and what we send doesn't come back.
    fn look_at_source(&mut self, source: MacAddr) {
        let heard = self.macs.heard(source);
        if heard == Heard::Foreign {
            return;
        }
        self.counters.duplicate_mac += 1;
        if heard == Heard::Ours {
            tracing::warn!(
                mac = %source,
                "someone else on this Ethernet sends with a MAC address of ours: frames that are for us may go there"
            );
        }
    }

    fn handle_fip(&mut self, now: Instant, ethernet: &EthernetHeader, payload: &[u8]) {
        let macs = if ethernet.destination.is_multicast() {
            self.enodes.keys().copied().collect()
        } else if self.enodes.contains_key(&ethernet.destination) {
            vec![ethernet.destination]
        } else {
            // Between neighbours some go to a VN_Port's address.
            vec![self.config.enode.mac()]
        };
        for mac in macs {
            let entry = self.touch_enode(mac).expect("it is one of them");
            entry.machine.handle_frame(now, ethernet, payload);
        }
    }

    fn handle_fcoe(&mut self, now: Instant, ethernet: &EthernetHeader, payload: &[u8]) {
        let frame = FcoeFrame::parse(payload)
            .and_then(|frame| Ok(FcFrame { header: *frame.header(), payload: frame.payload()?.to_vec() }));
        let Ok(frame) = frame else {
            self.counters.malformed += 1;
            return;
        };
        let id = self.ports.of_address(ethernet.destination, frame.header.d_id);
        let Some(port) = id.and_then(|id| self.ports.touch(id)) else {
            self.counters.foreign += 1;
            return;
        };
        let enode = &self.enodes[&port.enode].machine;
        if enode.fcoe_destination(frame.header.s_id) == Some(ethernet.source) {
            port.vn_port.handle_frame(now, &frame);
        } else {
            self.counters.foreign += 1;
        }
    }

    fn handle_timeouts(&mut self, now: Instant, edge: &mut impl Edge) {
        while let Some(mac) = self.enode_agenda.take_due(now) {
            self.changed = true;
            let entry = self.enodes.get_mut(&mac).expect("who is gone has no deadline");
            if !std::mem::replace(&mut entry.has_mac, true) {
                self.macs.add(mac, edge);
            }
            entry.handle_timeout(now);
        }
        while let Some(id) = self.ports.agenda.take_due(now) {
            self.changed = true;
            self.ports.touch(id).expect("who is gone has no deadline").vn_port.handle_timeout(now);
        }
    }

    /// Passes events between the machines and frames to the core until nothing more follows. A neighbour takes a PLOGI
    /// only after the FLOGI that goes before it, so FIP's frames go out as soon as they are there.
    pub(crate) fn settle(&mut self, now: Instant, edge: &mut impl Edge) {
        loop {
            if let Some(mac) = self.enode_agenda.touched() {
                self.settle_enode(now, mac, edge);
            } else if let Some(id) = self.ports.agenda.touched() {
                self.settle_port(now, id, edge);
            } else if let Some(id) = self.logins.admit() {
                self.begin_login(now, id);
            } else {
                return;
            }
        }
    }

    /// Does one thing that is left to do for an ENode.
    fn settle_enode(&mut self, now: Instant, mac: MacAddr, edge: &mut impl Edge) {
        let entry = self.enodes.get_mut(&mac).expect("who is gone has nothing to do");
        if let Some(event) = entry.machine.poll_event() {
            self.handle_fip_event(now, mac, event);
        } else if let Some(frame) = entry.machine.poll_transmit() {
            edge.send(ToCore::Transmit(frame.into()));
        } else {
            self.enode_agenda.settle(mac, entry.poll_timeout());
        }
    }

    /// Does one thing that is left to do for a VN_Port.
    fn settle_port(&mut self, now: Instant, id: PortId, edge: &mut impl Edge) {
        let port = self.ports.touch(id).expect("who is gone has nothing to do");
        if let Some(event) = port.vn_port.poll_event() {
            self.handle_vn_port_event(now, id, event, edge);
        } else if let Some(outgoing) = port.vn_port.poll_transmit() {
            self.send(id, outgoing, edge);
        } else if port.is_leaving && port.vn_port.phase() == vn_port::Phase::Offline {
            self.forget_port(now, id, edge);
        } else {
            let due_at = port.vn_port.poll_timeout();
            self.ports.agenda.settle(id, due_at);
        }
    }

    fn begin_login(&mut self, now: Instant, id: PortId) {
        match self.ports.touch(id) {
            Some(port) if port.vn_port.phase() == vn_port::Phase::Offline => port.vn_port.start(now),
            // It does so by itself.
            _ => self.logins.leave(id),
        }
    }

    /// Sends a frame of a VN_Port: by FIP, or in an FCoE frame of its own.
    fn send(&mut self, id: PortId, outgoing: Outgoing, edge: &mut impl Edge) {
        let Outgoing { via, frame } = outgoing;
        let port = self.ports.get(id).expect("it has just said so");
        let (mac, session) = (port.enode, port.session);
        match via {
            // If it is lost, its exchange times out.
            Via::Fip { kind, mac: of_port } => {
                let entry = self.touch_enode(mac).expect("a VN_Port has an ENode");
                entry.send_els(id, kind, &frame, of_port);
            }
            Via::Fcoe => {
                let enode = &self.enodes[&mac].machine;
                let destination = enode.fcoe_destination(frame.header.d_id);
                let Some((session, destination)) = session.zip(destination) else { return };
                let ethernet = EthernetHeader {
                    destination,
                    source: session.mac,
                    vlan: enode.vlan(),
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
