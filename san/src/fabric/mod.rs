//! The switch: an FCF with a name server and a fabric controller (FC-BB-5, 7; FC-GS-7; FC-LS-3).

mod fip;
mod logins;
mod name_server;
mod services;
mod state_change;

use crate::config::{FcfConfig, SanConfig};
use crate::context::{Context, LoginId, Path, Sender};
use crate::counters::Drop;
use crate::egress::Egress;
use crate::random::Random;
use crate::topology::Route;
use fc::time::{Duration, Instant};
use fc::wire::els::Login as LoginParameters;
use fc::wire::ethernet::EthernetHeader;
use fc::wire::fip::{
    Descriptor, Fabric as FabricDescriptor, FipFrame, FkaAdvPeriod, Flags, Operation, VxPort,
};
use fc::wire::header::FcHeader;
use fc::wire::{FcId, MacAddr, Wwn};
use logins::{Login, Logins, target_fc_id};
use name_server::TargetName;
use state_change::StateChanges;
use std::collections::{BTreeMap, BTreeSet};

/// How often a VN_Port says that it is alive (FC-BB-5, 7.8.7.2).
const VN_PORT_KEEP_ALIVE: Duration = Duration::from_secs(90);
/// After how many periods without a keep-alive a virtual link is gone, times two.
const MISSED_PERIODS_TIMES_TWO: u32 = 5;
/// How often in an FKA_ADV_PERIOD silent ports are looked for.
const CHECKS_A_PERIOD: u32 = 10;
/// The most that a periodic advertisement is late, so that several FCFs don't send at once.
const MAX_JITTER: Duration = Duration::from_millis(100);
/// Vx_Ports in one Clear Virtual Links: 20 bytes each.
const MAX_CLEARED_A_FRAME: usize = 64;

/// The FCF and its services.
#[derive(Debug)]
pub(crate) struct Fabric {
    config: FcfConfig,
    max_payload_len: u16,
    e_d_tov_ms: u32,
    r_a_tov_ms: u32,
    logins: Logins,
    /// ENodes with a login; each has at least one of the [`MAX_LOGINS`].
    enodes: BTreeMap<MacAddr, ENode>,
    /// At most `MAX_LOGINS` ENodes that have solicited, and until when they may take to log in.
    soliciting: BTreeMap<MacAddr, Instant>,
    targets: Vec<TargetName>,
    changes: StateChanges,
    /// Logins that have ended and that the targets have not been told of.
    ended: Vec<LoginId>,
    next_advertisement: Instant,
    next_check: Instant,
    jitter: Random,
}

/// An ENode with at least one login.
#[derive(Clone, Copy, Debug)]
struct ENode {
    seen: Instant,
    /// The login by FLOGI.
    flogi: Option<LoginId>,
    logins: u32,
}

impl Fabric {
    pub(crate) fn new(config: &SanConfig) -> Self {
        let fcf = config.fcf.clone();
        Self {
            max_payload_len: config.max_payload_len,
            e_d_tov_ms: config.e_d_tov_ms,
            r_a_tov_ms: config.r_a_tov_ms,
            logins: Logins::new(fcf.domain),
            enodes: BTreeMap::new(),
            soliciting: BTreeMap::new(),
            targets: TargetName::all(config),
            changes: StateChanges::default(),
            ended: Vec::new(),
            next_advertisement: Instant::ZERO,
            next_check: Instant::ZERO,
            jitter: Random::new(fcf.switch_name),
            config: fcf,
        }
    }

    /// Whether frames to this MAC address are for the FCF.
    pub(crate) fn has_mac(&self, mac: MacAddr) -> bool {
        mac == self.config.mac
    }

    /// Only who is logged in may send, and only with the addresses granted (FC-BB-5, annex D).
    pub(crate) fn route(&self, ethernet: &EthernetHeader, header: &FcHeader) -> Result<Route, Drop> {
        let sender = self.logins.of_fc_id(header.s_id).map(|login| login.port);
        let from = sender.filter(|port| port.path.destination == ethernet.source).ok_or(Drop::NotLoggedIn)?;
        let d_id = header.d_id;
        let target = self.logins.target_of(d_id);
        if let Some(number) = target.filter(|number| self.has_target(*number)) {
            Ok(Route::Target { number, from })
        } else if let Some(login) = self.logins.of_fc_id(d_id) {
            Ok(Route::Forward(login.port.path))
        } else if d_id.is_well_known() && d_id != FcId::BROADCAST {
            Ok(Route::WellKnown { from })
        } else {
            Err(Drop::NoDestination)
        }
    }

    /// VN_Ports that are logged in.
    pub(crate) fn login_count(&self) -> usize {
        self.enodes.values().map(|enode| enode.logins as usize).sum()
    }

    pub(crate) fn poll_timeout(&self) -> Instant {
        self.next_advertisement.min(self.next_check)
    }

    /// Advertises, and clears the virtual links of those who have been silent for too long.
    pub(crate) fn handle_timeout(&mut self, cx: &mut Context<'_>) {
        let period = Duration::from_millis(self.config.fka_adv_period_ms.into());
        if cx.now >= self.next_advertisement {
            cx.out.fip(self.path(MacAddr::ALL_ENODE), &self.advertisement(Flags::NONE));
            self.next_advertisement = cx.now + period + self.jitter.duration(MAX_JITTER);
        }
        if cx.now >= self.next_check {
            self.next_check = cx.now + period / CHECKS_A_PERIOD;
            self.soliciting.retain(|_, until| cx.now < *until);
            if self.config.keep_alives {
                self.expire(cx, period);
            }
        }
    }

    /// The FCF's: VN_Ports are reached through it.
    pub(crate) fn macs(&self) -> Vec<MacAddr> {
        vec![self.config.mac]
    }

    /// Tells what has changed to those who want to know, as far as there is room.
    pub(crate) fn transmit_state_changes(&mut self, out: &mut Egress) {
        self.changes.transmit(&self.logins, out);
    }

    /// Whether there are state changes to tell.
    pub(crate) fn has_state_changes(&self) -> bool {
        self.changes.is_pending()
    }

    /// A login that has ended; asked for until there is none.
    pub(crate) fn poll_ended(&mut self) -> Option<LoginId> {
        self.ended.pop()
    }

    /// Ends the login of one VN_Port, if there is one, and tells its ENode so.
    pub(crate) fn clear_link(&mut self, cx: &mut Context<'_>, port_name: Wwn) {
        let Some(login) = self.logins.of_name(port_name) else { return };
        let (port, enode) = (login.port, login.enode);
        cx.out.fip(self.path(enode), &self.clear_virtual_links(&[vx_port(&port)]));
        self.end_login(port.login, cx.now);
    }

    /// Forgets every login, and tells every ENode so: what a switch does that starts again.
    pub(crate) fn restart(&mut self, cx: &mut Context<'_>) {
        let enodes: Vec<_> = self.enodes.keys().copied().collect();
        for enode in enodes {
            cx.out.fip(self.path(enode), &self.clear_virtual_links(&[]));
            self.end_enode(enode, cx.now);
        }
        self.next_advertisement = cx.now;
    }

    /// How the FCF sends to `destination`.
    fn path(&self, destination: MacAddr) -> Path {
        Path { destination, source: self.config.mac }
    }

    /// An advertisement with these flags besides the usual ones.
    fn advertisement(&self, flags: Flags) -> FipFrame {
        let fabric = FabricDescriptor { vf_id: 0, fc_map: self.config.fc_map, name: self.config.fabric_name };
        let period = FkaAdvPeriod {
            no_keep_alives: !self.config.keep_alives,
            period_ms: self.config.fka_adv_period_ms,
        };
        FipFrame::new(
            Operation::ADVERTISEMENT,
            self.config.addressing.flags().with(Flags::AVAILABLE).with(Flags::F_PORT).with(flags),
            vec![
                Descriptor::Priority(self.config.priority),
                Descriptor::Mac(self.config.mac),
                Descriptor::Name(self.config.switch_name),
                Descriptor::Fabric(fabric),
                Descriptor::FkaAdvPeriod(period),
            ],
        )
    }

    /// A Clear Virtual Links for these ports; for none, the ENode's every link is cleared.
    fn clear_virtual_links(&self, ports: &[VxPort]) -> FipFrame {
        let mut descriptors =
            vec![Descriptor::Mac(self.config.mac), Descriptor::Name(self.config.switch_name)];
        descriptors.extend(ports.iter().copied().map(Descriptor::VxPort));
        FipFrame::new(Operation::CLEAR_VIRTUAL_LINKS, Flags::NONE, descriptors)
    }

    fn expire(&mut self, cx: &mut Context<'_>, period: Duration) {
        let is_silent =
            |seen: Instant, period: Duration| cx.now.since(seen) * 2 > period * MISSED_PERIODS_TIMES_TWO;
        let silent: BTreeSet<MacAddr> = self
            .enodes
            .iter()
            .filter(|(_, enode)| is_silent(enode.seen, period))
            .map(|(mac, _)| *mac)
            .collect();
        let silent_ports: Vec<(MacAddr, VxPort)> = self
            .logins
            .iter()
            .filter(|login| !silent.contains(&login.enode) && is_silent(login.seen, VN_PORT_KEEP_ALIVE))
            .map(|login| (login.enode, vx_port(&login.port)))
            .collect();
        for enode in silent {
            let ports: Vec<_> = self.ports_of(enode).map(|login| vx_port(&login.port)).collect();
            for ports in ports.chunks(MAX_CLEARED_A_FRAME) {
                cx.out.fip(self.path(enode), &self.clear_virtual_links(ports));
            }
            cx.counters.expired_links += ports.len() as u64;
            self.end_enode(enode, cx.now);
        }
        for (enode, port) in silent_ports {
            cx.out.fip(self.path(enode), &self.clear_virtual_links(&[port]));
            cx.counters.expired_links += 1;
            let id = self.logins.id_of(port.fc_id).expect("it was just found");
            self.end_login(id, cx.now);
        }
    }

    fn ports_of(&self, enode: MacAddr) -> impl Iterator<Item = &Login> {
        self.logins.iter().filter(move |login| login.enode == enode)
    }

    fn begin_login(&mut self, login: Login, is_flogi: bool) {
        let empty = ENode { seen: login.seen, flogi: None, logins: 0 };
        self.soliciting.remove(&login.enode);
        let enode = self.enodes.entry(login.enode).or_insert(empty);
        enode.logins += 1;
        if is_flogi {
            enode.flogi = Some(login.port.login);
        }
        self.note_change(&login);
        self.logins.begin(login);
    }

    /// A VN_Port has come, gone or registered something: told to whoever is in a zone with it.
    fn note_change(&mut self, login: &Login) {
        if login.is_target || !self.config.single_initiator_zones {
            self.changes.note(login.port.fc_id);
        }
    }

    fn end_login(&mut self, id: LoginId, now: Instant) {
        let Some(login) = self.logins.end(id, now) else { return };
        self.ended.push(id);
        self.note_change(&login);
        let enode = self.enodes.get_mut(&login.enode).expect("an ENode stays while it has logins");
        enode.logins -= 1;
        if enode.flogi == Some(id) {
            enode.flogi = None;
        }
        if enode.logins == 0 {
            self.enodes.remove(&login.enode);
        }
    }

    fn end_enode(&mut self, enode: MacAddr, now: Instant) {
        let ports: Vec<_> = self.ports_of(enode).map(|login| login.port.login).collect();
        ports.into_iter().for_each(|id| self.end_login(id, now));
    }

    /// The fabric's own parameters as an N_Port that others log in to.
    fn service_parameters(&self) -> LoginParameters {
        let e_d_tov = Duration::from_millis(self.e_d_tov_ms.into());
        let name = self.config.switch_name;
        LoginParameters::n_port(name, name, self.max_payload_len, e_d_tov)
    }
}

fn vx_port(port: &Sender) -> VxPort {
    VxPort { mac: port.path.destination, fc_id: port.fc_id, port_name: port.port_name }
}
