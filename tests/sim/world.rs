//! Everyone in one thread, and a clock that jumps from one event to the next.

use crate::host::{Host, Models};
use crate::host_port::HostPort;
use crate::load::Load;
use crate::model::Model;
use crate::plan::{Plan, What};
use crate::switch::{Switch, Weather};
use crate::trace::Trace;
use control::Inventory;
use datapath::port::memory::{self, MemoryConfig, MemoryPort, MemoryWire};
use fc::time::{Duration, Instant};
use fc::wire::MacAddr;
use fc::wire::ethernet::EthernetHeader;
use san::{Mode, Order, PortAccess, San};
use std::sync::Arc;

/// How long it may take after the last fault until all is well: logins and looks for LUNs are tried again after 30 s at
/// the latest, and a command is aborted after 10 s.
const PATIENCE: Duration = Duration::from_secs(90);
/// How long an exchange may rest: its R_A_TOV, from when an answer to its ABTS has stayed out.
const REST_TIME: Duration = Duration::from_secs(30);
/// How long a program lets an initiator log out.
const LOGOUT_TIME: Duration = Duration::from_secs(1);
/// Rounds in which a SAN must have done everything that can be done at one moment.
const MAX_ROUNDS: usize = 10_000;
/// Nobody wants to be woken.
const NEVER: Instant = Instant::from_nanos(u64::MAX);

/// How a run went.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Report {
    /// Of all frames: equal runs have equal ones.
    pub(crate) hash: u64,
    pub(crate) frames: u64,
    /// Requests that ended, and those of them that failed.
    pub(crate) requests: u64,
    pub(crate) failures: u64,
    /// How long after the last fault all was well.
    pub(crate) well_after: Duration,
    /// The whole run's time.
    pub(crate) simulated: Duration,
}

/// What must not be, and when it was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Failure {
    pub(crate) at: Instant,
    pub(crate) what: String,
}

/// Someone at a port.
struct Node<T> {
    it: T,
    /// When it is to be stepped.
    due: Instant,
    /// It does nothing until then.
    frozen_until: Instant,
}

struct SanNode {
    san: San<MemoryPort>,
    wire: MemoryWire,
    group: MacAddr,
}

/// A run.
pub(crate) struct World<'a> {
    plan: &'a Plan,
    trace: &'a mut Trace,
    now: Instant,
    switch: Switch,
    hosts: Vec<Node<Host>>,
    sans: Vec<Node<SanNode>>,
    /// At the switch's last port, with the first initiator's MAC address; while it is there.
    twin: Node<HostPort>,
    models: Models,
    next_event: usize,
}

/// What an initiator has found, in a line.
fn sight(host: &Host) -> String {
    host.ports().iter().map(|port| sight_of_port(port.inventory())).collect::<Vec<_>>().join("; ")
}

fn sight_of_port(inventory: &Inventory) -> String {
    let ports = inventory.vn_ports.iter().map(|port| format!("VN_Port {}", port.state));
    let targets = inventory.targets.iter().map(|target| {
        let state = match (&target.gone, target.scanned) {
            (Some(gone), _) => gone,
            (None, true) => "ready",
            (None, false) => "ready, its LUNs are being looked for",
        };
        format!("target {} with {} LUNs, {state}", target.port_name, target.luns.len())
    });
    let obstacle = inventory.obstacle().map(|obstacle| obstacle.to_string());
    ports.chain(targets).chain(obstacle).collect::<Vec<_>>().join("; ")
}

impl<T> Node<T> {
    const fn new(it: T) -> Self {
        Self { it, due: Instant::ZERO, frozen_until: Instant::ZERO }
    }

    /// It is to be stepped at this time, or before.
    fn wake(&mut self, at: Instant) {
        self.due = self.due.min(at).max(self.frozen_until);
    }
}

impl<'a> World<'a> {
    /// Everyone of the plan, before anything has happened; `has_canary` plants a bug.
    pub(crate) fn new(plan: &'a Plan, has_canary: bool, trace: &'a mut Trace) -> Self {
        let ports = plan.host_ports() + plan.sans.len() + 1;
        let mtu = plan.hosts[0].mtu;
        let san = |config| {
            let (port, wire) = memory::wire(MemoryConfig::default());
            let san = San::new(port.with_mtu(mtu), config).expect("plans have good SANs");
            Node::new(SanNode { san, wire, group: config.group() })
        };
        let places = Arc::new(plan.places());
        let model =
            |lun: &san::LunConfig| Model::new(lun.size_bytes / u64::from(lun.block_bytes), lun.block_bytes);
        let mut twin = HostPort::twin(&plan.hosts[0], plan.hosts[0].macs[0]);
        twin.set_link(false);
        Self {
            plan,
            trace,
            now: Instant::ZERO,
            switch: Switch::new(ports, plan.latency, plan.seed),
            twin: Node::new(twin),
            hosts: plan.hosts.iter().map(|plan| Node::new(Host::new(plan, &places, has_canary))).collect(),
            sans: plan.sans.iter().map(san).collect(),
            models: plan.disks().map(|(key, _, lun)| (key, model(lun))).collect(),
            next_event: 0,
        }
    }

    /// Runs it all: faults, healing, a look at every block, and the end.
    ///
    /// # Errors
    /// What must not be.
    pub(crate) fn run(mut self) -> Result<Report, Failure> {
        let healed = Instant::ZERO + self.plan.faults_for;
        let deadline = healed + PATIENCE;
        self.run_until(healed, |_| None)?;
        self.heal();
        self.each_load(Load::hurry);
        self.insist(deadline, |world| world.not_well_since(healed))?;
        let well_after = self.now.since(healed);
        self.each_load(Load::end);
        self.insist(deadline, |world| world.find_load(|load| !load.has_ended(), "has requests out"))?;
        self.each_load(Load::look);
        self.insist(deadline, |world| world.lack(Load::has_looked, "not all blocks have been read"))?;
        self.check_disks()?;
        self.check_exchanges()?;
        let (requests, failures) = self.counts();
        self.log_out()?;
        let now = self.now;
        for (number, host) in self.hosts.drain(..).enumerate() {
            host.it
                .stop(now)
                .map_err(|what| Failure { at: now, what: format!("initiator {number}: {what}") })?;
        }
        Ok(Report {
            hash: self.trace.hash(),
            frames: self.trace.frames(),
            requests,
            failures,
            well_after,
            simulated: now.since(Instant::ZERO),
        })
    }

    /// Logs out one initiator after the other: without a switch, those that are left answer.
    fn log_out(&mut self) -> Result<(), Failure> {
        for number in 0..self.hosts.len() {
            let now = self.now;
            let host = &mut self.hosts[number];
            host.it.shut_down(now);
            host.wake(now);
            self.run_until(now + LOGOUT_TIME, |world| {
                Some((!world.hosts[number].it.is_over()).then(|| "it logs out".to_owned()))
            })?;
        }
        Ok(())
    }

    /// Runs until nothing is in the way any more.
    fn insist(
        &mut self,
        deadline: Instant,
        obstacle: impl Fn(&Self) -> Option<String>,
    ) -> Result<(), Failure> {
        match self.run_until(deadline, |world| Some(obstacle(world)))? {
            None => Ok(()),
            Some(obstacle) => {
                let what = format!("expected was that all is well in time; seen was: {obstacle}");
                Err(self.failure(what))
            }
        }
    }

    /// Runs until `end`, or until `obstacle` looks for one and finds none; gives the one that is left.
    fn run_until(
        &mut self,
        end: Instant,
        obstacle: impl Fn(&Self) -> Option<Option<String>>,
    ) -> Result<Option<String>, Failure> {
        loop {
            self.happen();
            self.deliver();
            self.step()?;
            match obstacle(self) {
                Some(None) => return Ok(None),
                left if self.now >= end => return Ok(left.flatten()),
                _ => {}
            }
            let nodes = self.hosts.iter().map(|host| host.due).chain(self.sans.iter().map(|san| san.due));
            let nodes = nodes.chain([self.twin.due]);
            let event = self.plan.events.get(self.next_event).map(|event| Instant::ZERO + event.at);
            let next = nodes.chain(event).chain(self.switch.poll_timeout()).min().unwrap_or(NEVER);
            // Whoever is due at once is so in the next nanosecond.
            self.now = next.max(self.now + Duration::from_nanos(1)).min(end);
        }
    }

    /// What is planned for now, until all is healed.
    fn happen(&mut self) {
        while let Some(event) = self.plan.events.get(self.next_event)
            && Instant::ZERO + event.at <= self.now
        {
            self.next_event += 1;
            self.carry_out(event.what);
        }
    }

    fn carry_out(&mut self, what: What) {
        let now = self.now;
        match what {
            What::Weather { port, weather } => self.switch.set_weather(port, weather),
            What::Link { port, is_up } => {
                self.switch.set_up(port, is_up);
                let (host, number) = self.host_at(port).expect("links of initiators go");
                self.hosts[host].it.port_mut(number).set_link(is_up);
                self.hosts[host].wake(now);
            }
            What::Cut { port, is_cut } => self.switch.set_cut(port, is_cut),
            What::Pause { port, time } => self.switch.pause(port, now + time),
            What::Freeze { port, time } => {
                let until = now + time;
                if let Some((host, _)) = self.host_at(port) {
                    let host = &mut self.hosts[host];
                    (host.frozen_until, host.due) = (until, until);
                } else {
                    let san = &mut self.sans[port - self.plan.host_ports()];
                    (san.frozen_until, san.due) = (until, until);
                }
            }
            What::Stand { port, core, time } => {
                let (host, number) = self.host_at(port).expect("cores are initiators'");
                self.hosts[host].it.port_mut(number).stand(core, now + time);
                self.hosts[host].wake(now);
            }
            What::Identity { port, who, is_there } => {
                let (host, number) = self.host_at(port).expect("identities are initiators'");
                self.hosts[host].it.port_mut(number).set_identity(who, is_there);
                self.hosts[host].wake(now);
            }
            What::Twin { is_there } => {
                self.switch.set_up(self.twin_port(), is_there);
                self.twin.it.set_link(is_there);
                self.twin.wake(now);
            }
            What::Manage { host, disk, function } => {
                self.hosts[host].it.manage(disk, function);
                self.hosts[host].wake(now);
            }
            What::Order { san, order } => self.order(san, &order),
        }
    }

    /// The switch's port that the twin is at.
    fn twin_port(&self) -> usize {
        self.plan.host_ports() + self.plan.sans.len()
    }

    /// The initiator at one of the switch's ports, and which of its own that is.
    fn host_at(&self, port: usize) -> Option<(usize, usize)> {
        let ports_per_host = self.plan.ports_per_host();
        (port < self.plan.host_ports()).then_some((port / ports_per_host, port % ports_per_host))
    }

    fn order(&mut self, san: usize, order: &Order) {
        let node = &mut self.sans[san];
        // Too many faults that wait are the only thing that it may refuse.
        let _ = node.it.san.order(self.now, order);
        node.wake(self.now);
    }

    /// Nothing goes wrong from now on, and what was away is there again.
    fn heal(&mut self) {
        self.next_event = self.plan.events.len();
        let host_ports = self.plan.host_ports();
        for port in 0..host_ports + self.sans.len() {
            self.carry_out(What::Weather { port, weather: Weather::default() });
            self.carry_out(What::Cut { port, is_cut: false });
            self.carry_out(What::Freeze { port, time: Duration::ZERO });
        }
        for port in 0..host_ports {
            self.carry_out(What::Link { port, is_up: true });
            for who in 1..=self.plan.hosts[0].identities.len() {
                self.carry_out(What::Identity { port, who, is_there: true });
            }
        }
        self.carry_out(What::Twin { is_there: false });
        for (san, config) in self.plan.sans.iter().enumerate() {
            self.order(san, &Order::Start);
            self.order(san, &Order::Heal);
            for target in &config.targets {
                self.order(san, &Order::Revive { target: target.wwpn });
                self.order(san, &Order::Access { target: target.wwpn, access: PortAccess::Optimized });
            }
        }
    }

    /// Frames that arrive now.
    fn deliver(&mut self) {
        while let Some((port, bytes)) = self.switch.poll(self.now) {
            if let Ok((ethernet, _)) = EthernetHeader::parse(&bytes) {
                let destination = ethernet.destination;
                if let Some((host, number)) = self.host_at(port) {
                    let host = &mut self.hosts[host];
                    host.it.port_mut(number).receive(destination, &bytes);
                    host.wake(self.now);
                } else if port == self.twin_port() {
                    self.twin.it.receive(destination, &bytes);
                    self.twin.wake(self.now);
                } else {
                    let node = &mut self.sans[port - self.plan.host_ports()];
                    let SanNode { san, wire, group } = &mut node.it;
                    if destination == *group || san.macs().contains(&destination) {
                        wire.push(&bytes);
                        node.wake(self.now);
                    }
                }
            }
            self.switch.recycle(bytes);
        }
    }

    /// Steps everyone who is due.
    fn step(&mut self) -> Result<(), Failure> {
        let twin_port = self.twin_port();
        let Self { plan, trace, now, switch, hosts, sans, twin, models, .. } = self;
        let now = *now;
        let mut send = |port: usize, bytes: &[u8]| {
            trace.sent(now, port, bytes);
            trace.keep(now, bytes, || format!("from port {port}"));
            switch.take(now, port, bytes, trace);
        };
        let san_ports = plan.host_ports()..;
        for (number, host) in hosts.iter_mut().enumerate().filter(|(_, host)| host.due <= now) {
            let first = number * plan.ports_per_host();
            let result = host.it.step(now, models, |port, bytes| send(first + port, bytes));
            result.map_err(|what| Failure { at: now, what: format!("initiator {number}: {what}") })?;
            host.due = host.it.poll_timeout().unwrap_or(NEVER);
        }
        if twin.due <= now {
            for _ in 0..MAX_ROUNDS {
                // It has no disks: what is its own business may go wrong.
                let is_busy = twin.it.step(now, |bytes| send(twin_port, bytes));
                if !is_busy.unwrap_or(true) {
                    break;
                }
            }
            twin.due = twin.it.poll_timeout().unwrap_or(NEVER);
        }
        for (port, node) in san_ports.zip(sans).filter(|(_, san)| san.due <= now) {
            let SanNode { san, wire, .. } = &mut node.it;
            for _ in 0..MAX_ROUNDS {
                let is_busy = san.step(now);
                while wire.pop_with(|bytes| send(port, bytes)).is_some() {}
                if !is_busy {
                    break;
                }
            }
            node.due = san.poll_timeout().unwrap_or(NEVER);
        }
        Ok(())
    }

    /// What is not yet as it was before all faults: nothing that was asked for during the faults is out, and disks do
    /// I/O again.
    fn not_well_since(&self, healed: Instant) -> Option<String> {
        self.find_load(|load| load.has_older(healed), "waits for requests from before")
            .or_else(|| self.lack(|load| load.is_good_since(healed), "no I/O goes well"))
    }

    /// A disk that one at an initiator should have, and that is not as it should be. In a fabric these are the disks of
    /// one of the SANs, and all disks without one.
    fn lack(&self, is_good: impl Fn(&Load) -> bool, what: &str) -> Option<String> {
        let everyone = self.plan.hosts.iter().enumerate();
        let mut everyone = everyone.flat_map(|(host, plan)| plan.everyone().map(move |who| (host, who)));
        everyone.find_map(|(number, who)| {
            let host = &self.hosts[number].it;
            let lack_of = |wanted: usize| {
                self.plan
                    .disks()
                    .filter(|(_, [san, ..], lun)| *san == wanted && self.plan.sees(number, who, lun))
                    .find(|(key, ..)| !host.disks.get(&(who, *key)).is_some_and(|disk| is_good(&disk.load)))
            };
            let mut lacks = (0..self.sans.len()).map(lack_of);
            let (key, ..) = match self.plan.mode {
                Mode::Fabric if lacks.any(|lack| lack.is_none()) => None,
                Mode::Fabric => lack_of(0),
                Mode::Vn2vn => lacks.flatten().next(),
            }?;
            Some(format!("{what} of initiator {number}, as number {who}, with {key}; it has {}", sight(host)))
        })
    }

    fn each_load(&mut self, act: fn(&mut Load)) {
        let now = self.now;
        for host in &mut self.hosts {
            host.it.each_load(act);
            host.wake(now);
        }
    }

    fn find_load(&self, is_it: impl Fn(&Load) -> bool, what: &str) -> Option<String> {
        self.hosts.iter().enumerate().find_map(|(number, host)| {
            let ((who, key), _) = host.it.disks.iter().find(|(_, disk)| is_it(&disk.load))?;
            Some(format!("initiator {number}, as number {who}, {what} with {key}"))
        })
    }

    /// Holds every disk as its SAN has it against its model.
    fn check_disks(&self) -> Result<(), Failure> {
        for (key, [san, target, lun], config) in self.plan.disks() {
            let mut bytes = vec![0; config.size_bytes as usize];
            let read = self.sans[san].it.san.read_lun(target, lun, 0, &mut bytes);
            read.expect("the SAN has the disks of its plan");
            let checked = self.models[&key].check_all(&bytes);
            checked.map_err(|wrong| self.failure(format!("disk {key} in its SAN is wrong: {wrong}")))?;
        }
        Ok(())
    }

    /// Lets what rests have its rest; then every exchange must be free.
    fn check_exchanges(&mut self) -> Result<(), Failure> {
        self.run_until(self.now + REST_TIME, |_| None)?;
        let is_open = |host: &Node<Host>| host.it.open_exchanges() > 0;
        self.hosts.iter().position(is_open).map_or(Ok(()), |number| {
            let open = self.hosts[number].it.open_exchanges();
            Err(self
                .failure(format!("initiator {number} has {open} exchanges open, though nothing is asked")))
        })
    }

    fn counts(&self) -> (u64, u64) {
        let disks = self.hosts.iter().flat_map(|host| host.it.disks.values());
        disks.map(|disk| disk.load.counts()).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }

    const fn failure(&self, what: String) -> Failure {
        Failure { at: self.now, what }
    }
}
