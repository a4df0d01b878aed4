//! An initiator, stepped by hand: control, a poll core, and queues to the disks that it finds.

use crate::audit::Audit;
use crate::load::{Load, LoadPlan};
use crate::model::{DiskKey, Model};
use crate::plan::HostPlan;
use control::{Control, Inventory};
use datapath::consumer::Consumer;
use datapath::core::{Core, CoreConfig};
use datapath::port::memory::{self, MemoryPort, MemoryWire};
use datapath::port::{Port, Waker};
use fc::messages::{Action, Command, Completion, Ended, Transfer};
use fc::time::{Duration, Instant};
use fc::wire::fcp::{Lun, TaskManagement};
use fc::wire::scsi::Status;
use fc::wire::{MacAddr, Wwn};
use initiator::{DiskMap, PortNumber, Requests};
use san::Mode;
use std::collections::BTreeMap;
use std::sync::Arc;
use tests::stepped::{SteppedEdge, control_config};

/// Commands that control may have out.
const SCAN_DEPTH: usize = 64;
/// Task management functions that may be out.
const OPERATOR_DEPTH: usize = 8;
/// When they are given up.
const FUNCTION_TIMEOUT: Duration = Duration::from_secs(10);
/// Rounds in which everything that can be done at one moment must be done.
const MAX_ROUNDS: usize = 10_000;

/// The models of all disks, by their names.
pub(crate) type Models = BTreeMap<DiskKey, Model>;

/// Disks by the target ports and LUNs that lead to them.
pub(crate) type Places = BTreeMap<(Wwn, Lun), DiskKey>;

/// An initiator and its link.
pub(crate) struct Host {
    core: Core<MemoryPort>,
    control: Control,
    /// For task management functions.
    operator: Consumer,
    edge: SteppedEdge,
    wire: MemoryWire,
    audit: Audit,
    waker: Arc<Waker>,
    mac: MacAddr,
    group: MacAddr,
    load: LoadPlan,
    map: DiskMap,
    port: PortNumber,
    /// Which disk is where.
    places: Arc<Places>,
    seed: u64,
    has_canary: bool,
    is_shutting_down: bool,
    pub(crate) disks: BTreeMap<DiskKey, Disk>,
}

/// A queue to a disk, and what is asked of it.
pub(crate) struct Disk {
    consumer: Consumer,
    requests: Requests,
    pub(crate) load: Load,
}

impl Host {
    /// An initiator whose link comes up when it is stepped first.
    pub(crate) fn new(plan: &HostPlan, places: &Arc<Places>, has_canary: bool) -> Self {
        let (port, wire) = memory::wire(plan.memory);
        let waker = Arc::new(Waker::new().expect("a descriptor"));
        let core_config = CoreConfig { number: 0, cores: 1 };
        let port = port.with_mtu(plan.mtu);
        let mut core = Core::new(port, &core_config, Arc::clone(&waker), Arc::clone(&waker));
        let scans = core.attach_consumer(SCAN_DEPTH, Arc::clone(&waker));
        let operator = core.attach_consumer(OPERATOR_DEPTH, Arc::clone(&waker));
        let edge = SteppedEdge::new(core.control_link(), scans);
        let map = DiskMap::new(plan.path_choice);
        let port = map.add_port(plan.fast_io_fail, Arc::clone(&edge.doubt));
        Self {
            core,
            control: Control::new(control_config(plan.mac, plan.mode, plan.mtu)),
            operator,
            edge,
            wire,
            audit: Audit::new(plan.r_a_tov),
            waker,
            mac: plan.mac,
            group: match plan.mode {
                Mode::Fabric => MacAddr::ALL_ENODE,
                Mode::Vn2vn => MacAddr::ALL_VN2VN_ENODE,
            },
            load: plan.load,
            map,
            port,
            places: Arc::clone(places),
            seed: plan.seed,
            has_canary,
            is_shutting_down: false,
            disks: BTreeMap::new(),
        }
    }

    /// What it has found.
    pub(crate) fn inventory(&self) -> &Inventory {
        &self.edge.inventory
    }

    /// The link has gone or come.
    pub(crate) fn set_link(&mut self, is_up: bool) {
        self.edge.link_changes.push_back(is_up);
        if !is_up {
            self.audit.link_down();
        }
    }

    /// Has a function carried out at one of its disks, if it has one and not too many functions are out.
    pub(crate) fn manage(&mut self, disk: usize, function: TaskManagement) {
        if self.disks.is_empty() {
            return;
        }
        let key = *self.disks.keys().nth(disk % self.disks.len()).expect("within the number of disks");
        let target = self.inventory().targets.iter().find(|target| target.port_name == key.target);
        let command = Command {
            tag: 0,
            nexus: target.expect("a disk has its target").nexus,
            lun: key.lun,
            action: Action::Manage(function),
            transfer: Transfer::None,
            timeout: FUNCTION_TIMEOUT,
        };
        let _ = self.operator.submit(command);
    }

    /// A frame has come. What the NIC's filter doesn't pass is not seen, and what finds the ring full is lost.
    pub(crate) fn receive(&mut self, destination: MacAddr, bytes: &[u8]) {
        let groups = [self.group, MacAddr::ALL_FCOE];
        let is_ours = destination == self.mac || groups.contains(&destination);
        if (is_ours || self.edge.macs.contains(&destination)) && self.wire.push(bytes) {
            self.audit.received(bytes);
        }
    }

    /// Does all that can be done now; `send` takes what goes out.
    ///
    /// # Errors
    /// What must not be.
    pub(crate) fn step(
        &mut self,
        now: Instant,
        models: &mut Models,
        mut send: impl FnMut(&[u8]),
    ) -> Result<(), String> {
        if self.is_over() {
            return Ok(());
        }
        for _ in 0..MAX_ROUNDS {
            let mut is_busy = self.core.step(now);
            while let Some(audited) = self.wire.pop_with(|bytes| {
                send(bytes);
                self.audit.sent(now, bytes)
            }) {
                audited?;
            }
            if self.control_is_due(now) {
                self.control.step(now, &mut self.edge);
                self.open_disks(models);
                is_busy = true;
            }
            // However they end: what counts is what becomes of the requests.
            while self.operator.poll().is_some() {
                is_busy = true;
            }
            for (key, disk) in &mut self.disks {
                let model = models.get_mut(key).ok_or_else(|| format!("disk {key} is none of the SAN's"))?;
                is_busy |= disk.step(now, model, self.has_canary)?;
            }
            if !is_busy {
                self.audit.is_quiet();
                return Ok(());
            }
        }
        Err(format!("it is still busy after {MAX_ROUNDS} rounds at one moment"))
    }

    /// When it wants to be stepped though nothing came.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        if self.is_over() {
            return None;
        }
        let disks = self.disks.values().filter_map(Disk::poll_timeout);
        disks.chain(self.core.poll_timeout()).chain(self.control.poll_timeout()).min()
    }

    /// Exchanges of the core that are out or rest.
    pub(crate) fn open_exchanges(&self) -> usize {
        self.core.report().open_exchanges
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
        let port = self.core.stop(now);
        let account = port.account();
        if account.is_balanced() && account.free == account.total {
            return Ok(());
        }
        Err(format!("frames were lost or used twice: {account:?}"))
    }

    fn control_is_due(&self, now: Instant) -> bool {
        self.edge.has_work() || self.control.poll_timeout().is_some_and(|at| at <= now)
    }

    /// Opens a queue to each disk that is new.
    fn open_disks(&mut self, models: &Models) {
        if !std::mem::take(&mut self.edge.is_new) {
            return;
        }
        self.map.update(self.port, &self.edge.inventory);
        for state in self.map.disks() {
            let places = state.paths();
            let Some(&key) = places.iter().find_map(|path| self.places.get(&(path.target, path.id.lun)))
            else {
                continue;
            };
            if self.disks.contains_key(&key) || !models.contains_key(&key) {
                continue;
            }
            let depth = self.load.depth;
            let consumer =
                self.core.attach_consumer(depth + Requests::MAX_EXTRA_COMMANDS, Arc::clone(&self.waker));
            // A target that could not tell whether it can seems to be one that can't.
            let discard_ppm = if state.info().discard { self.load.discard_ppm } else { 0 };
            self.seed += 1;
            let load = Load::new(LoadPlan { discard_ppm, ..self.load }, self.seed);
            self.disks.insert(key, Disk { consumer, requests: Requests::new(state, depth), load });
        }
    }
}

impl Disk {
    fn step(&mut self, now: Instant, model: &mut Model, has_canary: bool) -> Result<bool, String> {
        let mut is_busy = false;
        while let Some(completion) = self.consumer.poll() {
            is_busy = true;
            let completion = if has_canary { planted_bug(completion) } else { completion };
            self.requests.handle_completion(now, completion);
        }
        is_busy |= self.requests.has_news();
        while let Some(done) = self.requests.poll_done(now) {
            is_busy = true;
            self.load.handle_done(now, done, model)?;
        }
        while let Some((tag, request)) = self.load.poll_request(now, model) {
            is_busy = true;
            let refused = self.requests.submit(now, tag, request);
            refused.map_err(|refused| format!("a request was refused: {}", refused.reason))?;
        }
        while let Some((_, command)) = self.requests.poll_command(now) {
            is_busy = true;
            let refused = self.consumer.submit(command);
            refused.map_err(|_| "a queue has more commands out than its depth".to_owned())?;
        }
        Ok(is_busy)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.requests.poll_timeout().into_iter().chain(self.load.poll_timeout()).min()
    }
}

/// The canary: whatever went wrong with an exchange, its command is said to have ended well.
fn planted_bug(completion: Completion) -> Completion {
    let transferred = completion.transfer.len() as u32;
    let good = Ended { status: Status::GOOD, transferred, sense: None, retry_delay: 0 };
    Completion { result: completion.result.or(Ok(good)), ..completion }
}
