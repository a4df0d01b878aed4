//! FIP: how ENodes find the FCF, log in and stay (FC-BB-5, 7.8 and 7.9).

use super::logins::Login;
use super::{Fabric, vx_port};
use crate::context::{Context, LoginId, MAX_LOGINS, Sender, reply_header};
use crate::counters::Drop;
use crate::faults::LoginKind;
use crate::target::{INVALID_PORT_NAME, INVALID_RECEIVE_SIZE};
use fc::time::Duration;
use fc::wire::els::{
    ElsReply, ElsRequest, Explanation, Login as LoginParameters, Logo, LsRjt, Reason, common_features,
};
use fc::wire::ethernet::EthernetHeader;
use fc::wire::fip::{Descriptor, Els, ElsKind, FipFrame, Flags, Operation, VxPort};
use fc::wire::header::{FcHeader, MIN_MAX_PAYLOAD_LEN, RCtl};
use fc::wire::{FcId, MacAddr, Wwn};

/// How long an ENode may take from its solicitation to its FLOGI, and live without being told that it has no login.
/// Linux takes four seconds.
const LOGIN_TIME: Duration = Duration::from_secs(10);

impl Fabric {
    /// A FIP frame; those that are not to the FCF or to all FCFs are dropped.
    pub(crate) fn handle_fip(
        &mut self,
        cx: &mut Context<'_>,
        ethernet: &EthernetHeader,
        payload: &[u8],
    ) -> Result<(), Drop> {
        if ethernet.destination != self.config.mac && ethernet.destination != MacAddr::ALL_FCF {
            return Err(Drop::NotOurs);
        }
        let frame = FipFrame::parse(payload)?;
        if frame.operation == Operation::VLAN_REQUEST {
            return self.notify_vlan(cx, ethernet, &frame);
        }
        if !cx.out.is_our_vlan(ethernet) {
            return Err(Drop::Vlan);
        }
        match frame.operation {
            Operation::SOLICITATION => self.answer_solicitation(cx, &frame),
            Operation::LINK_SERVICE_REQUEST => self.answer_link_service(cx, ethernet.source, &frame),
            Operation::KEEP_ALIVE => self.keep_alive(cx, ethernet.source, &frame),
            _ => Err(Drop::Unexpected),
        }
    }

    /// VLAN discovery (FC-BB-5, 7.9.2): the answer goes back on the VLAN of the request. A fabric without a VLAN
    /// says 0, so that nobody waits for an answer that never comes.
    fn notify_vlan(
        &self,
        cx: &mut Context<'_>,
        ethernet: &EthernetHeader,
        frame: &FipFrame,
    ) -> Result<(), Drop> {
        let mac = frame.mac()?;
        let vlan = Descriptor::Vlan(cx.out.vlan());
        let descriptors = vec![Descriptor::Mac(self.config.mac), vlan];
        let notification = FipFrame::new(Operation::VLAN_NOTIFICATION, Flags::NONE, descriptors);
        cx.out.fip_tagged(self.path(mac), &notification, ethernet.vlan);
        Ok(())
    }

    /// Unicast, and as long as the largest FCoE frame that goes both from here and to the ENode, so that it arrives
    /// only where those will (FC-BB-5, 7.9.3.3).
    fn answer_solicitation(&mut self, cx: &mut Context<'_>, frame: &FipFrame) -> Result<(), Drop> {
        if frame.flags.has(Flags::F_PORT) {
            // Another FCF's: there are no links between switches here.
            return Err(Drop::Unexpected);
        }
        let (mac, size) = (frame.mac()?, frame.max_fcoe_size()?.min(cx.out.mtu));
        frame.name()?;
        if self.soliciting.len() < MAX_LOGINS {
            self.soliciting.insert(mac, cx.now + LOGIN_TIME);
        }
        let mut advertisement = self.advertisement(Flags::SOLICITED);
        advertisement.padding_len = usize::from(size).saturating_sub(advertisement.len());
        cx.out.fip(self.path(mac), &advertisement);
        Ok(())
    }

    fn answer_link_service(
        &mut self,
        cx: &mut Context<'_>,
        source: MacAddr,
        frame: &FipFrame,
    ) -> Result<(), Drop> {
        let proposed = frame.mac()?;
        let els = frame.els()?;
        if els.header.d_id != FcId::F_PORT {
            return Err(Drop::Malformed);
        }
        let request = ElsRequest::parse(&els.payload)?;
        let result = match (els.kind, request) {
            (ElsKind::Flogi, ElsRequest::Flogi(login)) => match cx.faults.take_reject(LoginKind::Flogi) {
                Some(reject) => Err(reject),
                None => self.log_in(cx, source, (frame.flags, proposed), &login, true),
            },
            (ElsKind::Fdisc, ElsRequest::Fdisc(login)) => match cx.faults.take_reject(LoginKind::Fdisc) {
                Some(reject) => Err(reject),
                None => self.log_in(cx, source, (frame.flags, proposed), &login, false),
            },
            (ElsKind::Logo, ElsRequest::Logo(logo)) => self.log_out(cx, source, &els.header, &logo),
            (ElsKind::Elp, _) => Err(LsRjt::UNSUPPORTED),
            _ => return Err(Drop::Malformed),
        };
        cx.out.fip(self.path(source), &self.link_service_reply(els, result));
        Ok(())
    }

    /// FLOGI, which begins an ENode's logins anew, and FDISC, which adds one (FC-LS-3, 6.2.2.3 and 6.2.3). `address` is
    /// by which flags a MAC address is asked for, and the one that is proposed.
    fn log_in(
        &mut self,
        cx: &mut Context<'_>,
        enode: MacAddr,
        address: (Flags, MacAddr),
        login: &LoginParameters,
        is_flogi: bool,
    ) -> Result<Granted, LsRjt> {
        let receive_len = login.common.receive_len();
        let kind = self.kind_of_address(address.0)?;
        if login.port_name == Wwn::default() {
            return Err(LsRjt::new(Reason::LOGICAL_ERROR, INVALID_PORT_NAME));
        }
        if !(MIN_MAX_PAYLOAD_LEN..=usize::from(LARGEST_RECEIVE_LEN)).contains(&receive_len.into()) {
            return Err(LsRjt::new(Reason::LOGICAL_ERROR, INVALID_RECEIVE_SIZE));
        }
        let flogi = self.enodes.get(&enode).and_then(|known| known.flogi);
        if is_flogi {
            self.end_enode(enode, cx.now);
        } else if !self.config.npiv {
            return Err(LsRjt::UNSUPPORTED);
        } else {
            let Some(flogi) = flogi else { return Err(LsRjt::LOGIN_REQUIRED) };
            if self.logins.get(flogi).is_some_and(|first| first.port.port_name == login.port_name) {
                return Err(LsRjt::new(Reason::LOGICAL_ERROR, INVALID_PORT_NAME));
            }
        }
        self.end_earlier(cx, enode, login.port_name);
        if kind == Flags::SPMA && !self.is_free(address.1, enode) {
            return Err(LsRjt::new(Reason::UNABLE, Explanation::NONE));
        }
        let Some(id) = self.logins.place_for(login.port_name) else {
            return Err(LsRjt::new(Reason::UNABLE, Explanation::NO_RESOURCES));
        };
        let fc_id = self.logins.fc_id(id);
        let mac = match kind {
            Flags::SPMA => address.1,
            _ => MacAddr::fabric_provided(self.config.fc_map.0, fc_id),
        };
        let port = Sender {
            login: id,
            fc_id,
            path: self.path(mac),
            port_name: login.port_name,
            max_payload_len: receive_len.min(self.max_payload_len) & !3,
        };
        let login = Login {
            port,
            node_name: login.node_name,
            enode,
            seen: cx.now,
            knows_name_server: false,
            scn: None,
            fc4_types: [0; 32],
            is_target: false,
        };
        self.begin_login(login, is_flogi);
        Ok(Granted { fc_id, mac, kind, reply: ElsReply::Login(self.fabric_parameters()) })
    }

    /// Of the kinds of MAC addresses that an ENode asks for the one that it gets; of both, the fabric's.
    fn kind_of_address(&self, asked: Flags) -> Result<Flags, LsRjt> {
        let common = asked.common(self.config.addressing.flags());
        let kind = [Flags::FPMA, Flags::SPMA].into_iter().find(|&kind| common.has(kind));
        kind.ok_or(LsRjt::UNSUPPORTED)
    }

    /// Whether an ENode may have this address for a VN_Port, as for others of its own. That an ENode at another FCF has
    /// it, nobody here can know.
    fn is_free(&self, mac: MacAddr, enode: MacAddr) -> bool {
        let is_anothers = |login: &Login| login.port.path.destination == mac && login.enode != enode;
        mac.is_unicast() && mac != self.config.mac && !self.logins.iter().any(is_anothers)
    }

    /// A port that logs in again has lost what it had. One that comes from elsewhere has moved: its old ENode is
    /// told.
    fn end_earlier(&mut self, cx: &mut Context<'_>, enode: MacAddr, port_name: Wwn) {
        let Some(earlier) = self.logins.of_name(port_name) else { return };
        let (port, old_enode) = (earlier.port, earlier.enode);
        if old_enode != enode {
            cx.out.fip(self.path(old_enode), &self.clear_virtual_links(&[vx_port(&port)]));
        }
        self.end_login(port.login, cx.now);
    }

    fn log_out(
        &mut self,
        cx: &mut Context<'_>,
        enode: MacAddr,
        header: &FcHeader,
        logo: &Logo,
    ) -> Result<Granted, LsRjt> {
        let login = self.logins.of_fc_id(header.s_id).filter(|login| login.enode == enode);
        let Some(port) = login.map(|login| login.port).filter(|port| port.port_name == logo.port_name) else {
            return Err(LsRjt::LOGIN_REQUIRED);
        };
        self.end_login(port.login, cx.now);
        let kind = self.config.addressing.flags();
        Ok(Granted { fc_id: port.fc_id, mac: port.path.destination, kind, reply: ElsReply::Accept })
    }

    /// What the F_Port says of itself in an LS_ACC (FC-LS-3, 6.6.2.4).
    fn fabric_parameters(&self) -> LoginParameters {
        let fcf = &self.config;
        let mut login = LoginParameters::fabric(fcf.switch_name, fcf.fabric_name, self.max_payload_len);
        let npiv = if fcf.npiv { common_features::NPIV } else { 0 };
        login.common.features = (common_features::F_PORT | npiv).into();
        login.common.by_login = self.r_a_tov_ms.into();
        login.common.e_d_tov = self.e_d_tov_ms.into();
        login.class_3.receive_size = self.max_payload_len.into();
        login
    }

    /// An ENode's or a VN_Port's sign of life (FC-BB-5, 7.9.4). One that has no login, and isn't about to have one,
    /// is told so: it may have missed that its link was cleared.
    fn keep_alive(&mut self, cx: &mut Context<'_>, source: MacAddr, frame: &FipFrame) -> Result<(), Drop> {
        let enode = frame.mac()?;
        let Ok(claimed) = frame.vx_port() else {
            if enode != source {
                return Err(Drop::Malformed);
            }
            match self.enodes.get_mut(&enode) {
                Some(known) => known.seen = cx.now,
                None if self.soliciting.get(&enode).is_some_and(|until| cx.now < *until) => {}
                None => cx.out.fip(self.path(enode), &self.clear_virtual_links(&[])),
            }
            return Ok(());
        };
        if claimed.mac != source {
            return Err(Drop::Malformed);
        }
        match self.known_port(enode, &claimed) {
            Some(id) => self.logins.get_mut(id).expect("it is known").seen = cx.now,
            None => cx.out.fip(self.path(enode), &self.clear_virtual_links(&[claimed])),
        }
        Ok(())
    }

    fn link_service_reply(&self, request: &Els, result: Result<Granted, LsRjt>) -> FipFrame {
        let mut header = reply_header(&request.header, RCtl::ELS_REPLY);
        let (reply, mac, flags) = match result {
            Ok(Granted { fc_id, mac, kind, reply }) => {
                header.d_id = fc_id;
                (reply, Some(mac), kind)
            }
            Err(reject) => (reject.into(), None, self.config.addressing.flags()),
        };
        let els = Els { kind: request.kind, header, payload: reply.to_payload() };
        let mut descriptors = vec![Descriptor::Els(els)];
        descriptors.extend(mac.map(Descriptor::Mac));
        FipFrame::new(Operation::LINK_SERVICE_REPLY, flags, descriptors)
    }

    fn known_port(&self, enode: MacAddr, claimed: &VxPort) -> Option<LoginId> {
        let login = self.logins.of_fc_id(claimed.fc_id)?;
        (vx_port(&login.port) == *claimed && login.enode == enode).then_some(login.port.login)
    }
}

/// The largest receive data field size that FC-LS-3 allows.
const LARGEST_RECEIVE_LEN: u16 = fc::wire::header::MAX_PAYLOAD_LEN as u16;

/// What a link service came to.
struct Granted {
    fc_id: FcId,
    mac: MacAddr,
    /// The flag of the MAC address's kind.
    kind: Flags,
    reply: ElsReply,
}
