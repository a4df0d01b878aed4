//! A disk with two paths, under load, of which one goes and comes: real rings on veth.

use datapath::port::nic::NicKind;
use fc::wire::scsi::target_port_groups::AccessState;
use fc::wire::{MacAddr, Wwn};
use initiator::{Config, Disk, Disks, Initiator};
use san::{Death, LunConfig, Order, PortAccess, SanConfig, TargetConfig};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tests::load::Load;
use tests::{have_root, in_network_namespace, ip, veth_pair};
use xfcoe::san_thread::{Place, SanThread};

const MTU: u32 = 2500;
const LOGIN: Duration = Duration::from_secs(15);
const LEN: u64 = 1 << 20;
/// How long a request may take whose path says that it is gone.
const FAILOVER: Duration = Duration::from_millis(100);

/// Two measurements at once would measure each other.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A fabric of its own, with one target, which leads to the disk in `file`.
fn fabric(number: u8, file: &Path) -> SanConfig {
    let mac = MacAddr([0x02, 0xfc, 0xf0, 0, 0, number]);
    let mut config = SanConfig::default();
    (config.fcf.mac, config.fcf.domain) = (mac, number);
    (config.fcf.switch_name, config.fcf.fabric_name) =
        (Wwn::from_mac(0x1000, mac), Wwn::from_mac(0x2001, mac));
    config.targets = vec![target(0x5000 + u64::from(number), PortAccess::Optimized)];
    config.targets[0].luns[0].file = Some(file.into());
    config
}

/// A target port that leads to the one disk.
fn target(name: u64, access: PortAccess) -> TargetConfig {
    let disk = LunConfig { size_bytes: LEN, serial: "two paths".into(), ..LunConfig::default() };
    TargetConfig { wwpn: Wwn::from_u64(name), access, luns: vec![disk], ..TargetConfig::default() }
}

fn start_san(interface: &str, config: SanConfig) -> SanThread {
    let place = Place { interface: interface.into(), kind: NicKind::AfXdp, namespace: None, cpu: None };
    SanThread::start(place, config).unwrap()
}

/// The disk, once it has so many paths that are ready.
fn wait_for_paths(disks: &Disks, count: usize) -> Disk {
    let deadline = Instant::now() + LOGIN;
    loop {
        if let [disk] = &disks.all()[..]
            && disk.paths().iter().filter(|path| path.is_ready).count() == count
        {
            return disk.clone();
        }
        assert!(Instant::now() < deadline, "{count} paths in time: {:#?}", disks);
        thread::sleep(Duration::from_millis(10));
    }
}

fn wait_for(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + LOGIN;
    while !condition() {
        assert!(Instant::now() < deadline, "control asks again in time");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Commands that an initiator's core has taken.
fn commands(initiator: &Initiator) -> u64 {
    initiator.report().unwrap().counters.commands
}

#[allow(clippy::print_stderr, reason = "the figures are for who runs the tests")]
fn check(what: &str, load: &Load, bound: Duration) {
    let longest = load.take_longest();
    eprintln!("MULTIPATH {what}: the longest request took {} ms", longest.as_millis());
    assert!(longest <= bound, "{what}: {longest:?}, more than {bound:?}");
}

#[test]
fn of_two_fabrics_one_goes_and_the_disk_stays() {
    if !have_root() {
        return;
    }
    let _alone = alone();
    in_network_namespace(|| {
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("two-paths");
        std::fs::write(&file, vec![0; LEN as usize]).unwrap();
        let disks = Disks::default();
        let start = |number: u8| {
            let (ours, sans) = (format!("xfcoe{number}"), format!("san{number}"));
            veth_pair(&ours, &sans, MTU);
            let san = start_san(&sans, fabric(number, &file));
            (Initiator::start(Config { disks: disks.clone(), ..Config::new(ours) }).unwrap(), san)
        };
        let [(first, first_san), (second, second_san)] = [1, 2].map(start);
        let load = Load::start(&wait_for_paths(&disks, 2));
        load.resumed(Instant::now());
        load.take_longest();

        ip(&["link", "set", "san2", "down"]);
        thread::sleep(Duration::from_millis(500));
        load.resumed(Instant::now());
        check("link pulled", &load, FAILOVER);
        ip(&["link", "set", "san2", "up"]);
        wait_for_paths(&disks, 2);
        let before = [&first, &second].map(commands);
        thread::sleep(Duration::from_millis(500));
        check("link back", &load, FAILOVER);
        let after = [&first, &second].map(commands);
        assert!(before[0] < after[0] && before[1] < after[1], "both are used: {before:?}, {after:?}");

        second_san.order(Order::Restart).unwrap();
        thread::sleep(Duration::from_millis(500));
        check("FCF restarts", &load, FAILOVER);
        wait_for_paths(&disks, 2);

        // Nobody tells of this one.
        let target = Wwn::from_u64(0x5002);
        second_san.order(Order::Kill { target, how: Death::Silent }).unwrap();
        load.resumed(Instant::now());
        check("target silent", &load, Duration::from_secs(25));
        second_san.order(Order::Revive { target }).unwrap();
        wait_for_paths(&disks, 2);

        load.end();
        [first, second].into_iter().for_each(Initiator::stop);
        first_san.stop().unwrap();
        second_san.stop().unwrap();
        assert!(disks.all().is_empty());
    });
}

#[test]
fn the_array_says_which_port_to_use() {
    if !have_root() {
        return;
    }
    let _alone = alone();
    in_network_namespace(|| {
        veth_pair("xfcoe0", "san0", MTU);
        let targets = vec![target(0x5001, PortAccess::Optimized), target(0x5002, PortAccess::Standby)];
        let san = start_san("san0", SanConfig { targets, ..SanConfig::default() });
        let initiator = Initiator::start(Config::new("xfcoe0")).unwrap();
        initiator.wait_for_disks(LOGIN);
        let access = || {
            let disks = initiator.disks();
            let [disk] = &disks[..] else { panic!("{} disks instead of one", disks.len()) };
            disk.paths().iter().map(|path| path.access).collect::<Vec<_>>()
        };
        assert_eq!(access(), [AccessState::OPTIMIZED, AccessState::STANDBY]);
        let load = Load::start(&initiator.disks()[0]);
        load.resumed(Instant::now());
        load.take_longest();
        let set = |target, access| {
            san.order(Order::Access { target: Wwn::from_u64(target), access }).unwrap();
        };
        set(0x5002, PortAccess::Optimized);
        set(0x5001, PortAccess::Standby);
        wait_for(|| access() == [AccessState::STANDBY, AccessState::OPTIMIZED]);
        check("standby becomes optimized, and the other way round", &load, FAILOVER);
        // What control knows is old now: only the commands' ends tell.
        set(0x5001, PortAccess::Optimized);
        set(0x5002, PortAccess::Unavailable);
        load.resumed(Instant::now());
        check("optimized becomes unavailable", &load, FAILOVER);
        wait_for(|| access() == [AccessState::OPTIMIZED, AccessState::UNAVAILABLE]);
        load.end();
        initiator.stop();
        san.stop().unwrap();
    });
}
