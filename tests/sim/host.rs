//! An initiator, stepped by hand: its ports, and queues to the disks that they find.

use crate::host_port::HostPort;
use crate::load::{Load, LoadPlan};
use crate::model::{DiskKey, Model};
use crate::plan::HostPlan;
use crate::plan::identities::{self, Who};
use datapath::consumer::Consumer;
use datapath::port::Waker;
use fc::messages::{Completion, Ended};
use fc::time::Instant;
use fc::wire::Wwn;
use fc::wire::fcp::{Lun, TaskManagement};
use fc::wire::scsi::Status;
use initiator::{DiskMap, DiskState, PortNumber, Requests};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Rounds in which everything that can be done at one moment must be done.
const MAX_ROUNDS: usize = 10_000;

/// The models of all disks, by their names.
pub(crate) type Models = BTreeMap<DiskKey, Model>;

/// Disks by the target ports and LUNs that lead to them; and whose each is, where each is one's own.
pub(crate) type Places = BTreeMap<(Wwn, Lun), (DiskKey, Option<Who>)>;

/// An initiator: one port or more, and the disks that they find together.
pub(crate) struct Host {
    ports: Vec<HostPort>,
    waker: Arc<Waker>,
    load: LoadPlan,
    map: DiskMap,
    /// Which disk is where.
    places: Arc<Places>,
    seed: u64,
    has_canary: bool,
    /// What loads were told last: those of disks that are found late are, too.
    told: fn(&mut Load),
    /// What each of its VN_Ports and identities sees.
    pub(crate) disks: BTreeMap<(Who, DiskKey), Disk>,
}

/// A queue to a disk, and what is asked of it.
pub(crate) struct Disk {
    state: Arc<DiskState>,
    /// By port.
    consumers: Vec<Consumer>,
    requests: Requests,
    pub(crate) load: Load,
}

impl Host {
    /// An initiator whose links come up when it is stepped first.
    pub(crate) fn new(plan: &HostPlan, places: &Arc<Places>, has_canary: bool) -> Self {
        let waker = Arc::new(Waker::new().expect("a descriptor"));
        let map = DiskMap::new(plan.path_choice);
        let port = |&mac| {
            let port = HostPort::new(plan, mac, &waker);
            map.add_port(plan.fast_io_fail, port.doubt());
            port
        };
        Self {
            ports: plan.macs.iter().map(port).collect(),
            waker,
            load: plan.load,
            map,
            places: Arc::clone(places),
            seed: plan.seed,
            has_canary,
            told: |_| {},
            disks: BTreeMap::new(),
        }
    }

    /// Tells all of its loads what to do from now on.
    pub(crate) fn each_load(&mut self, act: fn(&mut Load)) {
        self.told = act;
        self.disks.values_mut().for_each(|disk| act(&mut disk.load));
    }

    /// Its ports.
    pub(crate) fn ports(&self) -> &[HostPort] {
        &self.ports
    }

    /// One of its ports.
    pub(crate) fn port_mut(&mut self, port: usize) -> &mut HostPort {
        &mut self.ports[port]
    }

    /// Has a function carried out at one of its disks, if it has one and not too many functions are out.
    pub(crate) fn manage(&mut self, disk: usize, function: TaskManagement) {
        if self.disks.is_empty() {
            return;
        }
        let disk = self.disks.values().nth(disk % self.disks.len()).expect("within the number of disks");
        if let Some(path) = disk.state.paths().first() {
            self.ports[usize::from(path.id.port.0)].manage(path.id.nexus, path.id.lun, function);
        }
    }

    /// Does all that can be done now; `send` takes what goes out, and by which port.
    ///
    /// # Errors
    /// What must not be.
    pub(crate) fn step(
        &mut self,
        now: Instant,
        models: &mut Models,
        mut send: impl FnMut(usize, &[u8]),
    ) -> Result<(), String> {
        if self.is_over() {
            return Ok(());
        }
        for _ in 0..MAX_ROUNDS {
            let (mut is_busy, mut has_news) = (false, false);
            for (number, port) in self.ports.iter_mut().enumerate() {
                is_busy |= port.step(now, |bytes| send(number, bytes))?;
                if let Some(inventory) = port.take_news() {
                    self.map.update(PortNumber(number as u16), inventory);
                    has_news = true;
                }
            }
            if has_news {
                self.open_disks(models)?;
            }
            for ((_, key), disk) in &mut self.disks {
                let model = models.get_mut(key).ok_or_else(|| format!("disk {key} is none of the SAN's"))?;
                is_busy |= disk.step(now, model, self.has_canary)?;
            }
            if !is_busy {
                self.ports.iter_mut().for_each(|port| port.is_quiet(now));
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
        disks.chain(self.ports.iter().filter_map(HostPort::poll_timeout)).min()
    }

    /// Exchanges of the cores that are out or rest.
    pub(crate) fn open_exchanges(&self) -> usize {
        self.ports.iter().map(HostPort::open_exchanges).sum()
    }

    /// Logs out, and then does nothing more.
    pub(crate) fn shut_down(&mut self, now: Instant) {
        self.ports.iter_mut().for_each(|port| port.shut_down(now));
    }

    pub(crate) fn is_over(&self) -> bool {
        self.ports.iter().all(HostPort::is_over)
    }

    /// Stops it.
    ///
    /// # Errors
    /// When a frame's memory is not where it belongs.
    pub(crate) fn stop(self, now: Instant) -> Result<(), String> {
        let Self { ports, disks, .. } = self;
        // With them goes what they hold of the ports' memory.
        drop(disks);
        ports.into_iter().try_for_each(|port| port.stop(now))
    }

    /// Opens a queue to each disk that is new.
    ///
    /// # Errors
    /// When one sees another's.
    fn open_disks(&mut self, models: &Models) -> Result<(), String> {
        for state in self.map.disks() {
            let who = identities::of_name(state.identity().map(|name| &**name));
            let paths = state.paths();
            let place = paths.iter().find_map(|path| self.places.get(&(path.target, path.id.lun)));
            let Some(&(key, owner)) = place else { continue };
            if owner.is_some_and(|owner| owner != who) {
                return Err(format!("number {who} sees disk {key}, which is of number {owner:?}"));
            }
            if self.disks.contains_key(&(who, key)) || !models.contains_key(&key) {
                continue;
            }
            let depth = self.load.depth;
            let turn = self.disks.len();
            let attach = |port: &mut HostPort| {
                port.attach_consumer(turn, depth + Requests::MAX_EXTRA_COMMANDS, Arc::clone(&self.waker))
            };
            let consumers = self.ports.iter_mut().map(attach).collect();
            // A target that could not tell whether it can seems to be one that can't.
            let discard_ppm = if state.info().discard { self.load.discard_ppm } else { 0 };
            self.seed += 1;
            let mut load = Load::new(LoadPlan { discard_ppm, ..self.load }, self.seed);
            (self.told)(&mut load);
            let requests = Requests::new(Arc::clone(&state), depth);
            self.disks.insert((who, key), Disk { state, consumers, requests, load });
        }
        Ok(())
    }
}

impl Disk {
    fn step(&mut self, now: Instant, model: &mut Model, has_canary: bool) -> Result<bool, String> {
        let mut is_busy = false;
        while let Some(completion) = self.consumers.iter_mut().find_map(Consumer::poll) {
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
        while let Some((port, command)) = self.requests.poll_command(now) {
            is_busy = true;
            let refused = self.consumers[usize::from(port.0)].submit(command);
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
