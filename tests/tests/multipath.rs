//! A disk with two paths, under load, of which one goes and comes: real rings on veth.

use fc::wire::scsi::Status;
use fc::wire::scsi::target_port_groups::AccessState;
use fc::wire::{MacAddr, Wwn};
use initiator::{Config, Disk, DiskError, Disks, Exclusive, Initiator, Request};
use san::{Death, LunConfig, Order, PortAccess, SanConfig, TargetConfig};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};
use tests::load::{Load, alone};
use tests::{LOGIN, have_root, in_network_namespace, ip, start_san, veth_pair};

const MTU: u32 = 2500;
const LEN: u64 = 1 << 20;
/// How long a request may take whose path says that it is gone: a tenth of a second, and as much as other work on the
/// machine may take its CPU away.
const FAILOVER: Duration = Duration::from_millis(300);

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

#[test]
fn a_reservation_holds_for_all_paths_of_a_host_and_for_no_other_host() {
    if !have_root() {
        return;
    }
    let _alone = alone();
    in_network_namespace(|| {
        let both = |name| target(name, PortAccess::Optimized);
        let config = SanConfig { targets: vec![both(0x5001), both(0x5002)], ..SanConfig::default() };
        // A switch with the SAN and two hosts.
        ip(&["link", "add", "switch0", "type", "bridge"]);
        for (ours, sans) in [("san0", "p0"), ("xfcoe0", "p1"), ("xfcoe1", "p2")] {
            veth_pair(ours, sans, MTU);
            ip(&["link", "set", sans, "master", "switch0"]);
        }
        ip(&["link", "set", "switch0", "up"]);
        let san = start_san("san0", config);
        let hosts = ["xfcoe0", "xfcoe1"].map(|interface| {
            let disks = Disks::default();
            let config = Config { disks: disks.clone(), ..Config::new(interface) };
            (Initiator::start(config).unwrap(), disks)
        });
        let [first, second] = [&hosts[0], &hosts[1]].map(|(_, disks)| wait_for_paths(disks, 2));
        let mut block = [0; 512];

        first.register(1).unwrap();
        first.reserve(Exclusive::Writes).unwrap();
        assert_eq!(first.registered_keys().unwrap(), [1, 1], "once for each path");
        assert_eq!(second.reservation().unwrap().map(|held| held.key), Some(1));
        // By either path, in turn.
        (0..4).for_each(|lba| first.write_at(lba, &block).unwrap());
        let is_conflict = |result| matches!(result, Err(DiskError::Scsi { status, .. }) if status == Status::RESERVATION_CONFLICT);
        assert!((0..4).all(|lba| is_conflict(second.write_at(lba, &block))));
        second.read_at(0, &mut block).unwrap();
        assert!(is_conflict(second.reserve(Exclusive::Writes)), "it has not registered");

        // A target port that was away is registered again.
        let target = Wwn::from_u64(0x5002);
        let mut queue = first.queue(1).unwrap();
        san.order(Order::Kill { target, how: Death::Unplugged }).unwrap();
        wait_for_paths(&hosts[0].1, 1);
        san.order(Order::Revive { target }).unwrap();
        wait_for_paths(&hosts[0].1, 2);
        for tag in 0..4 {
            queue.submit(tag, Request::Write { lba: 0, buffer: block.into() }).unwrap();
            queue.kick();
            let done = loop {
                match queue.poll() {
                    Some(done) => break done,
                    None => queue.wait(Duration::from_millis(100)).unwrap(),
                }
            };
            done.result.unwrap();
        }

        wait_for_paths(&hosts[1].1, 2);
        second.register(2).unwrap();
        second.preempt(1, Exclusive::Writes).unwrap();
        assert_eq!(second.registered_keys().unwrap(), [2, 2]);
        assert!(is_conflict(first.write_at(0, &block)));
        second.release(Exclusive::Writes).unwrap();
        assert_eq!(second.reservation().unwrap(), None);
        first.write_at(0, &block).unwrap();
        drop(queue);
        for (initiator, _) in hosts {
            initiator.stop();
        }
        san.stop().unwrap();
    });
}
