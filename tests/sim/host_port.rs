//! One port of an initiator and its link: control and poll cores.

use crate::audit::Audit;
use crate::cores::Cores;
use crate::plan::HostPlan;
use crate::plan::identities::Who;
use control::{Config, Control, EnodeConfig, Identity, Inventory, Order};
use datapath::consumer::Consumer;
use datapath::port::Waker;
use fc::messages::{Action, Command, NexusId, Transfer};
use fc::time::{Duration, Instant};
use fc::wire::fcp::{Lun, TaskManagement};
use fc::wire::{MacAddr, Wwn};
use initiator::Doubt;
use san::Mode;
use std::sync::Arc;
use tests::stepped::{SteppedEdge, control_config};

/// Commands that control may have out.
const SCAN_DEPTH: usize = 64;
/// Task management functions that may be out.
const OPERATOR_DEPTH: usize = 8;
/// When they are given up.
const FUNCTION_TIMEOUT: Duration = Duration::from_secs(10);

/// A port.
pub(crate) struct HostPort {
    cores: Cores,
    control: Control,
    /// For task management functions.
    operator: Consumer,
    edge: SteppedEdge,
    audit: Audit,
    mac: MacAddr,
    /// As whom it logs in besides, and whether it is to do so now.
    identities: Vec<(Identity, bool)>,
    group: MacAddr,
    is_shutting_down: bool,
}

impl HostPort {
    pub(crate) fn new(plan: &HostPlan, mac: MacAddr, waker: &Arc<Waker>) -> Self {
        let mut config = control_config(mac, plan.mode, plan.mtu);
        if let EnodeConfig::Fabric(enode) = &mut config.enode {
            enode.addressing = plan.addressing;
        }
        let mut port = Self::with_config(plan, mac, config, waker);
        let identities = (1..).zip(&plan.identities).map(|(who, kind)| (kind.identity(mac, who), false));
        port.identities = identities.collect();
        (1..=plan.identities.len()).for_each(|who| port.set_identity(who, true));
        port
    }

    /// An identity is to be there from now on, or not.
    pub(crate) fn set_identity(&mut self, who: Who, is_there: bool) {
        let (identity, was_there) = &mut self.identities[who - 1];
        if std::mem::replace(was_there, is_there) != is_there {
            self.edge.orders.push_back(match is_there {
                true => Order::Add(identity.clone()),
                false => Order::Remove(Arc::clone(&identity.name)),
            });
        }
    }

    /// A port of its own that has someone else's MAC address.
    pub(crate) fn twin(plan: &HostPlan, mac: MacAddr) -> Self {
        let mut config = control_config(mac, plan.mode, plan.mtu);
        let (port_name, node_name) = (Wwn::from_mac(0x2100, mac), Wwn::from_mac(0x1100, mac));
        (config.identity.port_name, config.identity.node_name) = (port_name, node_name);
        config.enode = match config.enode {
            EnodeConfig::Fabric(enode) => EnodeConfig::Fabric(fc::fip::Config { node_name, ..enode }),
            EnodeConfig::Vn2vn(enode) => {
                EnodeConfig::Vn2vn(fc::vn2vn::Config { node_name, port_name, ..enode })
            }
        };
        Self::with_config(plan, mac, config, &Arc::new(Waker::new().expect("a descriptor")))
    }

    fn with_config(plan: &HostPlan, mac: MacAddr, config: Config, waker: &Arc<Waker>) -> Self {
        let mut cores = Cores::new(plan.cores, plan.mtu, waker);
        let scans = cores.attach_consumer(0, SCAN_DEPTH, Arc::clone(waker));
        let operator = cores.attach_consumer(1, OPERATOR_DEPTH, Arc::clone(waker));
        let edge = SteppedEdge::new(cores.links(), scans);
        Self {
            cores,
            control: Control::new(config),
            operator,
            edge,
            audit: Audit::new(plan.r_a_tov),
            mac,
            identities: Vec::new(),
            group: match plan.mode {
                Mode::Fabric => MacAddr::ALL_ENODE,
                Mode::Vn2vn => MacAddr::ALL_VN2VN_ENODE,
            },
            is_shutting_down: false,
        }
    }

    /// Raised by the queues to the disks that it leads to.
    pub(crate) fn doubt(&self) -> Arc<Doubt> {
        Arc::clone(&self.edge.doubt)
    }

    /// What it has found.
    pub(crate) fn inventory(&self) -> &Inventory {
        &self.edge.inventory
    }

    /// What it has found, if that is new.
    pub(crate) fn take_news(&mut self) -> Option<&Inventory> {
        std::mem::take(&mut self.edge.is_new).then_some(&self.edge.inventory)
    }

    /// A consumer of one of the cores.
    pub(crate) fn attach_consumer(&mut self, turn: usize, depth: usize, waker: Arc<Waker>) -> Consumer {
        self.cores.attach_consumer(turn, depth, waker)
    }

    /// One of the cores does nothing until then.
    pub(crate) fn stand(&mut self, core: usize, until: Instant) {
        self.cores.stand(core, until);
    }

    /// Has a function carried out, if not too many are out.
    pub(crate) fn manage(&mut self, nexus: NexusId, lun: Lun, function: TaskManagement) {
        let _ = self.operator.submit(Command {
            tag: 0,
            nexus,
            lun,
            action: Action::Manage(function),
            transfer: Transfer::None,
            timeout: FUNCTION_TIMEOUT,
        });
    }

    /// The link has gone or come.
    pub(crate) fn set_link(&mut self, is_up: bool) {
        self.edge.link_changes.push_back(is_up);
        if !is_up {
            self.audit.link_down();
        }
    }

    /// A frame has come. What the NIC's filter doesn't pass is not seen, and what finds the ring full is lost.
    pub(crate) fn receive(&mut self, destination: MacAddr, bytes: &[u8]) {
        let groups = [self.group, MacAddr::ALL_FCOE];
        let is_ours = destination == self.mac || groups.contains(&destination);
        if (is_ours || self.edge.macs.contains(&destination)) && self.cores.receive(bytes) {
            self.audit.received(bytes);
        }
    }

    /// Does what can be done now, and says whether that was anything; `send` takes what goes out.
    ///
    /// # Errors
    /// What must not be.
    pub(crate) fn step(&mut self, now: Instant, mut send: impl FnMut(&[u8])) -> Result<bool, String> {
        if self.is_over() {
            return Ok(false);
        }
        let Self { cores, audit, .. } = self;
        let mut is_busy = cores.step(now, |bytes| {
            send(bytes);
            audit.sent(now, bytes)
        })?;
        if self.edge.hand_over()
            && (self.edge.has_work() || self.control.poll_timeout().is_some_and(|at| at <= now))
        {
            self.control.step(now, &mut self.edge);
            is_busy = true;
        }
        // However they end: what counts is what becomes of the requests.
        while self.operator.poll().is_some() {
            is_busy = true;
        }
        Ok(is_busy)
    }

    /// Nothing more can be done at this moment.
    pub(crate) fn is_quiet(&mut self, now: Instant) {
        // What has come to a core that stands still has not been read.
        if !self.cores.any_stands(now) {
            self.audit.is_quiet();
        }
    }

    /// When it wants to be stepped though nothing came.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        if self.is_over() {
            return None;
        }
        let control = if self.edge.is_held_up() { None } else { self.control.poll_timeout() };
        self.cores.poll_timeout().into_iter().chain(control).min()
    }

    /// Exchanges of the cores that are out or rest.
    pub(crate) fn open_exchanges(&self) -> usize {
        self.cores.open_exchanges()
    }

    /// Logs out, and then does nothing more.
    pub(crate) fn shut_down(&mut self, now: Instant) {
        self.is_shutting_down = true;
        self.control.shutdown(now);
        self.control.step(now, &mut self.edge);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_shutting_down && self.control.is_offline()
    }

    /// Stops it.
    ///
    /// # Errors
    /// When a frame's memory is not where it belongs.
    pub(crate) fn stop(self, now: Instant) -> Result<(), String> {
        self.cores.stop(now)
    }
}
