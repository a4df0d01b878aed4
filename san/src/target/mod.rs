//! The targets: N_Ports, their sessions and their commands. Which addresses they have is not their business.

mod command;
mod data;
mod exchange;
mod link_services;
mod login;
mod management;
mod received;
mod retransmission;
mod transmit;

pub(crate) use link_services::{INVALID_PORT_NAME, INVALID_RECEIVE_SIZE};

use crate::config::{ConfigError, LunConfig, SanConfig, TargetConfig};
use crate::context::{Context, Incoming, LoginId, MAX_LOGINS, Sender};
use crate::counters::{Counters, Drop};
use crate::orders::Death;
use crate::scsi::{Attentions, Effects, Nexus, PortAccess, PortIdentity, Unit, UnitPort};
use exchange::{Exchange, Exchanges, Slot, State};
use fc::time::{Duration, Instant};
use fc::wire::els::fcp_parameters;
use fc::wire::header::{FcType, RCtl};
use fc::wire::{FcId, Wwn};
use login::Plogi;

/// How long a command may wait for its initiator's write data. Initiators give up and abort after 30 to 60 s;
/// one that died without a word must not keep its slots for ever.
const MAX_WRITE_WAIT: Duration = Duration::from_secs(180);

/// All targets, the units behind them and the exchanges with them.
#[derive(Debug)]
pub(crate) struct Targets {
    targets: Vec<Target>,
    units: Vec<Unit>,
    exchanges: Exchanges,
    max_payload_len: u16,
    max_burst_len: u32,
    /// What targets can, by PRLI: bits of [`fcp_parameters`].
    fcp_parameters: u32,
    e_d_tov: Duration,
    r_a_tov: Duration,
    /// Logins of our own that are under way, one a login at most.
    plogis: Vec<Plogi>,
    /// For requests of our own.
    next_ox_id: u16,
    /// One frame's bytes from a file.
    scratch: Vec<u8>,
}

/// One target port.
#[derive(Debug)]
struct Target {
    identity: PortIdentity,
    node_name: Wwn,
    /// From LUN 0 on.
    luns: Vec<Lun>,
    /// By login, of which there are at most [`MAX_LOGINS`].
    sessions: Vec<Option<Box<Session>>>,
    /// It takes no frames.
    is_dead: bool,
    /// It begins no command before.
    stalled_until: Instant,
}

/// What is behind a number.
#[derive(Debug)]
struct Lun {
    unit: u16,
    /// Who sees it; nobody stands for everyone.
    initiators: Vec<Wwn>,
}

/// An initiator that is logged in to a target.
#[derive(Debug)]
struct Session {
    peer: Sender,
    /// The address by which it knows the target.
    own_id: FcId,
    nexus: Nexus,
    max_payload_len: u16,
    /// PRLI has made the image pair.
    is_paired: bool,
    /// PRLI agreed to SRR.
    has_retry: bool,
    /// PRLI agreed to FCP_CONF, and we want it.
    has_confirm: bool,
    /// The LUNs that it sees, in order.
    luns: Vec<u16>,
    /// By LUN, seen or not.
    attentions: Vec<Attentions>,
}

impl Targets {
    /// Opens every disk.
    pub(crate) fn new(config: &SanConfig) -> Result<Self, ConfigError> {
        let mut units = Vec::new();
        let mut serials = Vec::new();
        let mut targets = Vec::new();
        for (number, target) in config.targets.iter().enumerate() {
            let identity = PortIdentity { name: target.wwpn, relative: number as u16 + 1 };
            targets.push(Target {
                identity,
                node_name: target.wwnn,
                luns: open_luns(target, identity, &mut units, &mut serials)?,
                sessions: Vec::new(),
                is_dead: false,
                stalled_until: Instant::ZERO,
            });
        }
        Ok(Self {
            targets,
            units,
            exchanges: Exchanges::new(),
            max_payload_len: config.max_payload_len,
            max_burst_len: config.max_burst_len,
            fcp_parameters: fcp_parameters::TARGET
                | fcp_parameters::READ_XFER_RDY_DISABLED
                | if config.retransmission { fcp_parameters::RETRY } else { 0 }
                | if config.confirmation { fcp_parameters::CONFIRM } else { 0 },
            e_d_tov: Duration::from_millis(config.e_d_tov_ms.into()),
            r_a_tov: Duration::from_millis(config.r_a_tov_ms.into()),
            plogis: Vec::new(),
            next_ox_id: 0,
            scratch: vec![0; config.max_payload_len.into()],
        })
    }

    /// The unit behind a LUN.
    pub(crate) fn unit(&self, target: usize, lun: usize) -> Option<&Unit> {
        let lun = self.targets.get(target)?.luns.get(lun)?;
        self.units.get(usize::from(lun.unit))
    }

    /// Whether something waits for room in the port.
    pub(crate) fn has_output(&self) -> bool {
        self.exchanges.first_ready().is_some()
    }

    /// A frame for target number `target`: delimiters and CRC are right, and its sender is logged in.
    pub(crate) fn handle_frame(
        &mut self,
        cx: &mut Context<'_>,
        target: usize,
        frame: &Incoming<'_>,
    ) -> Result<(), Drop> {
        if self.targets[target].is_dead {
            return Err(Drop::DeadTarget);
        }
        match (frame.header.r_ctl, frame.header.fc_type) {
            (RCtl::DATA, FcType::FCP) => return self.handle_data(cx, frame),
            (RCtl::COMMAND, FcType::FCP) if frame.is_whole() => {
                return self.handle_command(cx, target, frame);
            }
            (RCtl::ELS_REQUEST, FcType::ELS) if frame.is_whole() => {
                return self.handle_els(cx, target, frame);
            }
            (RCtl::ELS_REPLY, FcType::ELS) if frame.is_whole() => {
                return self.handle_els_reply(cx, target, frame);
            }
            (RCtl::ABTS, FcType::BLS) => self.handle_abts(cx, frame),
            (RCtl::FC4_REQUEST, FcType::FCP) if frame.is_whole() => self.handle_srr(cx, frame),
            (RCtl::SOLICITED_CONTROL, FcType::FCP) => return self.handle_confirmation(frame),
            _ => return Err(Drop::Unexpected),
        }
        Ok(())
    }

    /// The place of the target with this port name.
    pub(crate) fn number_of(&self, port_name: Wwn) -> Option<usize> {
        self.targets.iter().position(|target| target.identity.name == port_name)
    }

    /// The port names of all targets.
    pub(crate) fn names(&self) -> impl Iterator<Item = Wwn> {
        self.targets.iter().map(|target| target.identity.name)
    }

    /// The target takes no more frames, and knows nobody any more.
    pub(crate) fn kill(&mut self, cx: &mut Context<'_>, target: usize, how: Death) {
        self.targets[target].is_dead = true;
        let sessions = self.targets[target].sessions.iter().flatten();
        let known: Vec<_> = sessions.map(|session| (session.own_id, session.peer)).collect();
        for (own_id, peer) in known {
            if how == Death::LoggedOut {
                self.send_logo(target, own_id, &peer, cx.out);
            }
            self.end_session(target, peer.login, cx.counters);
        }
    }

    pub(crate) fn revive(&mut self, target: usize) {
        self.targets[target].is_dead = false;
    }

    /// Commands to the target that come from now on wait until then.
    pub(crate) fn stall(&mut self, target: usize, until: Instant) {
        self.targets[target].stalled_until = until;
    }

    /// A port leads to its units so well from now on.
    pub(crate) fn set_access(&mut self, target: usize, access: PortAccess) {
        let identity = self.targets[target].identity;
        for number in 0..self.units.len() {
            let ports = &mut self.units[number].ports;
            let changed = ports.iter_mut().find(|port| port.identity == identity && port.access != access);
            if let Some(port) = changed {
                port.access = access;
                self.establish(number as u16, Attentions::ACCESS_CHANGED, |_| true);
            }
        }
    }

    /// When commands begin that were stalled, a login is sent again, or an exchange that is over is forgotten.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        [self.exchanges.next_due(), self.next_plogi(), self.exchanges.next_forgotten()]
            .into_iter()
            .flatten()
            .min()
    }

    /// A VN_Port is no longer logged in.
    pub(crate) fn forget_login(&mut self, login: LoginId, counters: &mut Counters) {
        for target in 0..self.targets.len() {
            self.forget_plogi(target, login);
            self.end_session(target, login, counters);
        }
    }

    /// Begins stalled commands, sends logins again, and ends writes whose initiator has been silent for too long.
    pub(crate) fn handle_timeout(&mut self, cx: &mut Context<'_>) {
        let now = cx.now;
        self.exchanges.resume(now);
        self.exchanges.forget_old(now);
        self.send_due_plogis(now, cx.out);
        let stale = |exchange: &Exchange| {
            matches!(exchange.state, State::Receiving(_)) && now.since(exchange.touched) > MAX_WRITE_WAIT
        };
        let stale = self.exchanges.select(stale);
        self.abort_all(&stale, cx.counters);
    }

    /// The session of `login`; a new one replaces what is there.
    fn begin_session(&mut self, target: usize, login: LoginId, session: Session, counters: &mut Counters) {
        self.end_session(target, login, counters);
        let sessions = &mut self.targets[target].sessions;
        let at = usize::from(login.0);
        assert!(at < MAX_LOGINS);
        if sessions.len() <= at {
            sessions.resize_with(at + 1, || None);
        }
        sessions[at] = Some(Box::new(session));
    }

    fn end_session(&mut self, target: usize, login: LoginId, counters: &mut Counters) {
        let Some(session) = self.targets[target].sessions.get_mut(usize::from(login.0)) else { return };
        if session.take().is_some() {
            let of_session =
                |exchange: &Exchange| usize::from(exchange.target) == target && exchange.login == login.0;
            let open = self.exchanges.select(of_session);
            self.abort_all(&open, counters);
            self.forget_retained(target, login.0);
        }
    }

    fn abort_all(&mut self, slots: &[Slot], counters: &mut Counters) {
        slots.iter().for_each(|slot| self.exchanges.abort(*slot));
        counters.aborted_exchanges += slots.len() as u64;
    }

    /// Tells the others what one nexus's reservation command did to them. `except` is that command.
    fn apply(&mut self, effects: &Effects, unit: u16, except: Slot, counters: &mut Counters) {
        for (nexus, attention) in &effects.attentions {
            self.establish(unit, *attention, |other| other == *nexus);
        }
        if !effects.aborted.is_empty() {
            let targets = &self.targets;
            let hit = |exchange: &Exchange| {
                let session = targets[usize::from(exchange.target)].session(exchange.login);
                exchange.unit == Some(unit)
                    && session.is_some_and(|session| effects.aborted.contains(&session.nexus))
            };
            let mut slots = self.exchanges.select(hit);
            slots.retain(|slot| *slot != except);
            self.abort_all(&slots, counters);
        }
    }

    /// Establishes a unit attention for those of a unit's nexuses that are meant.
    fn establish(&mut self, unit: u16, attention: Attentions, is_meant: impl Fn(Nexus) -> bool) {
        for target in &mut self.targets {
            for session in target.sessions.iter_mut().flatten() {
                if is_meant(session.nexus) {
                    let luns = target.luns.iter().zip(&mut session.attentions);
                    luns.filter(|(lun, _)| lun.unit == unit)
                        .for_each(|(_, attentions)| attentions.establish(attention));
                }
            }
        }
    }
}

impl Target {
    /// The LUNs that an initiator sees.
    fn luns_of(&self, initiator: Wwn) -> Vec<u16> {
        let sees = |lun: &Lun| lun.initiators.is_empty() || lun.initiators.contains(&initiator);
        (0..).zip(&self.luns).filter(|(_, lun)| sees(lun)).map(|(number, _)| number).collect()
    }

    fn session(&self, login: u16) -> Option<&Session> {
        self.sessions.get(usize::from(login))?.as_deref()
    }

    fn session_mut(&mut self, login: u16) -> Option<&mut Session> {
        self.sessions.get_mut(usize::from(login))?.as_deref_mut()
    }
}

/// A target's LUNs with their units. Those with a serial number that is known already are not opened again.
fn open_luns(
    target: &TargetConfig,
    port: PortIdentity,
    units: &mut Vec<Unit>,
    configs: &mut Vec<LunConfig>,
) -> Result<Vec<Lun>, ConfigError> {
    let mut luns = Vec::new();
    for (number, config) in target.luns.iter().enumerate() {
        let initiators = config.initiators.clone();
        let config = LunConfig { initiators: Vec::new(), ..config.clone() };
        let known =
            configs.iter().position(|other| !config.serial.is_empty() && other.serial == config.serial);
        let unit = match known {
            Some(at) if configs[at] == config => at,
            Some(_) => return Err(ConfigError::SerialsDiffer(config.serial)),
            None => {
                let serial = match config.serial.as_str() {
                    "" => format!("{:016x}-{number:04x}", target.wwpn.to_u64()),
                    serial => serial.into(),
                };
                units.push(Unit::open(&config, serial)?);
                configs.push(config);
                units.len() - 1
            }
        };
        units[unit].ports.push(UnitPort { identity: port, access: target.access });
        luns.push(Lun { unit: unit as u16, initiators });
    }
    Ok(luns)
}
