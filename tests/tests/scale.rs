//! 16,384 VN_Ports in one fabric: 32 hosts with 512 each, as 128 virtual machines with four ports, in one thread and with
//! a clock of its own. `-- --nocapture` prints what it comes to.

use control::{Control, Identity, Inventory, Login, Order};
use datapath::core::{ControlLinks, Core, CoreConfig};
use datapath::port::Waker;
use datapath::port::memory::{self, MemoryConfig, MemoryPort, MemoryWire};
use fc::time::{Duration, Instant};
use fc::wire::ethernet::{EtherType, EthernetHeader};
use fc::wire::{MacAddr, Wwn};
use san::{FcfConfig, Mode, San, SanConfig};
use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use tests::stepped::{SteppedEdge, control_config};

const HOSTS: usize = 32;
/// VN_Ports of a host: the interface's own, and identities by FDISC.
const PORTS: usize = 512;
/// What a round of all takes, as long as someone has something to do.
const ROUND: Duration = Duration::from_micros(20);

struct Host {
    core: Core<MemoryPort>,
    control: Control,
    edge: SteppedEdge,
    wire: MemoryWire,
}

struct World {
    hosts: Vec<Host>,
    san: San<MemoryPort>,
    wire: MemoryWire,
    /// Where the switch has learnt addresses to be.
    places: BTreeMap<MacAddr, usize>,
    now: Instant,
    /// Frames from the hosts, and FIP frames among them, by the millisecond.
    frames: BTreeMap<u64, (u64, u64)>,
}

/// Bytes of memory that the process has in use.
fn used_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).expect("Linux tells");
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

impl Host {
    fn new(number: usize) -> Self {
        let mac = MacAddr([2, 0, 0, 0, 0, number as u8]);
        let config = MemoryConfig { receive_frames: 512, transmit_frames: 1024, ring_frames: 2048 };
        let (port, wire) = memory::wire(config);
        let waker = || Arc::new(Waker::new().unwrap());
        let mut core = Core::new(port, &CoreConfig { number: 0, cores: 1 }, waker(), waker());
        let scans = core.attach_consumer(64, waker());
        let edge = SteppedEdge::new(ControlLinks::new(vec![core.control_link()]), scans);
        Self { core, control: Control::new(control_config(mac, Mode::Fabric, 2500)), edge, wire }
    }

    fn add_identities(&mut self, number: usize) {
        for identity in 1..PORTS {
            let [high, low] = (identity as u16).to_be_bytes();
            let identity = Identity {
                name: format!("vm{identity}").into(),
                port_name: Wwn([0x20, 1, 2, 0, 0, number as u8, high, low]),
                node_name: None,
                login: Login::Fdisc,
            };
            self.control.carry_out(Instant::ZERO, Order::Add(identity)).unwrap();
        }
    }

    fn inventory(&self) -> &Inventory {
        &self.edge.inventory
    }
}

impl World {
    fn new() -> Self {
        let fcf = FcfConfig { single_initiator_zones: true, ..FcfConfig::default() };
        let (port, wire) =
            memory::wire(MemoryConfig { receive_frames: 4096, transmit_frames: 4096, ring_frames: 16_384 });
        let san = San::new(port.with_mtu(2500), &SanConfig { fcf, ..SanConfig::default() }).unwrap();
        let hosts = (0..HOSTS).map(Host::new).collect();
        Self { hosts, san, wire, places: BTreeMap::new(), now: Instant::ZERO, frames: BTreeMap::new() }
    }

    /// Everyone does what there is to do at this moment, and time goes on, to the next thing to do if there is none.
    fn step(&mut self) {
        let Self { hosts, san, wire, places, now, frames } = self;
        let mut is_busy = san.step(*now);
        while wire
            .pop_with(|bytes| {
                let (ethernet, _) = EthernetHeader::parse(bytes).unwrap();
                let all = ethernet.destination.is_multicast().then_some(0..HOSTS);
                let one = places.get(&ethernet.destination).map(|&host| host..host + 1);
                all.or(one).into_iter().flatten().for_each(|host| _ = hosts[host].wire.push(bytes));
            })
            .is_some()
        {
            is_busy = true;
        }
        let at = frames.entry(now.as_nanos() / 1_000_000).or_default();
        for (number, host) in hosts.iter_mut().enumerate() {
            is_busy |= host.core.step(*now);
            if host.edge.has_work() || host.control.poll_timeout().is_some_and(|at| at <= *now) {
                host.control.step(*now, &mut host.edge);
                is_busy = true;
            }
            while host
                .wire
                .pop_with(|bytes| {
                    let (ethernet, _) = EthernetHeader::parse(bytes).unwrap();
                    places.insert(ethernet.source, number);
                    wire.push(bytes);
                    *at = (at.0 + 1, at.1 + u64::from(ethernet.ethertype == EtherType::FIP));
                })
                .is_some()
            {
                is_busy = true;
            }
        }
        let due = hosts.iter().filter_map(|host| host.control.poll_timeout());
        let due =
            due.chain(hosts.iter().filter_map(|host| host.core.poll_timeout())).chain(san.poll_timeout());
        let next = *now + ROUND;
        *now = if is_busy { next } else { due.min().unwrap_or(next).max(next) };
    }

    /// How many VN_Ports see the target's LUN.
    fn complete(&self) -> usize {
        let targets = self.hosts.iter().flat_map(|host| &host.inventory().targets);
        targets.filter(|target| target.ready && target.scanned && target.luns.len() == 1).count()
    }

    /// How long it takes until all do.
    fn all_complete(&mut self, limit: Duration) -> Duration {
        let begin = self.now;
        loop {
            (0..1000).for_each(|_| self.step());
            if self.complete() == HOSTS * PORTS {
                return self.now.since(begin);
            }
            let complete = self.complete();
            assert!(self.now.since(begin) < limit, "{complete} of {} after {limit:?}", HOSTS * PORTS);
        }
    }

    /// The most frames of the hosts in any millisecond since then, and of FIP in any second.
    fn most(&self, since: Instant) -> (u64, u64) {
        let since = since.as_nanos() / 1_000_000;
        let recent = self.frames.range(since..);
        let mut by_second: BTreeMap<u64, u64> = BTreeMap::new();
        recent.clone().for_each(|(ms, (_, fip))| *by_second.entry(ms / 1000).or_default() += fip);
        (recent.map(|(_, (all, _))| *all).max().unwrap_or(0), by_second.values().copied().max().unwrap_or(0))
    }
}

#[test]
#[allow(clippy::print_stderr, reason = "its figures are what it is for")]
fn sixteen_thousand_vn_ports_log_in_stay_and_come_back() {
    let mut world = World::new();
    let before = used_bytes();
    for (number, host) in world.hosts.iter_mut().enumerate() {
        host.add_identities(number);
    }
    let begun = std::time::Instant::now();
    let limit = Duration::from_secs(30);
    let took = world.all_complete(limit);
    let wall = begun.elapsed();
    let count = (HOSTS * PORTS) as u64;
    // The SAN's side of each login is among it, and what is left of frames.
    let bytes = (used_bytes() - before) / count;
    let (most, _) = world.most(Instant::ZERO);
    let rate = count as f64 / wall.as_secs_f64();
    eprintln!(
        "{count} VN_Ports in {took:?} of simulated time, {most} frames a millisecond at most; {rate:.0} logins a second \
         of CPU time, both ends; {bytes} bytes each, both ends"
    );
    assert!(bytes < 16 << 10, "{bytes} bytes a VN_Port");
    assert_eq!(world.san.stats().logins, HOSTS * PORTS);

    // Keep-alives are spread: a VN_Port's come every 81 to 90 s, an ENode's every 8. The FCF misses one after 20 s.
    let quiet = world.now + Duration::from_secs(2);
    while world.now < quiet + Duration::from_secs(25) {
        world.step();
    }
    let (_, keep_alives) = world.most(quiet);
    eprintln!("{keep_alives} keep-alives a second at most");
    assert!(keep_alives < 2 * count / 81, "{keep_alives} in a second");
    assert_eq!((world.san.stats().logins, world.san.stats().counters.expired_links), (HOSTS * PORTS, 0));

    let now = world.now;
    world.san.restart(now);
    (0..10).for_each(|_| world.step());
    let took = world.all_complete(limit);
    let (again, _) = world.most(now);
    eprintln!("after a restart of the FCF all are back in {took:?}, {again} frames a millisecond at most");
    assert!(again <= 2 * most, "a storm: {again} frames in a millisecond");

    let Host { control, core, .. } = world.hosts.pop().expect("there are hosts");
    let published = allocation_counter::measure(|| std::mem::forget(control.inventory().clone()));
    let freed = allocation_counter::measure(|| drop(control)).bytes_current.unsigned_abs();
    let [published, all] = [published.bytes_current.unsigned_abs(), freed].map(|bytes| bytes / PORTS as u64);
    let own = all - published;
    let empty = Host::new(0).core;
    let [with_all, without] =
        [core, empty].map(|core| allocation_counter::measure(|| drop(core)).bytes_current.unsigned_abs());
    let in_core = (with_all - without) / PORTS as u64;
    eprintln!("{own} bytes a VN_Port in control, {published} of what it shows, {in_core} in the poll core");
    assert!(own < 4 << 10, "{own} bytes in control");
    assert!(in_core < 128, "{in_core} bytes in the core");
}
