//! The library against the SAN in a box, over real rings on a veth pair.

use datapath::core::thread::PollMode;
use datapath::port::nic::{Nic, NicKind};
use fc::wire::Wwn;
use initiator::{Config, Disk, DiskError, DropReason, InPlace, Initiator, Request, StartError, Topology};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use san::{Mode, Remote, San, SanConfig};
use std::ops::Range;
use std::process::Command;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tests::{LOGIN, have_root, in_network_namespace, ip, noise, only_disk, veth_pair};

const OURS: &str = "xfcoe0";
const SANS: &str = "san0";
const MTU: u32 = 2500;

/// A SAN on an interface of this network namespace, until it is dropped.
struct RunningSan {
    remote: Arc<Remote>,
    thread: Option<JoinHandle<()>>,
}

impl RunningSan {
    fn start(config: &SanConfig, kind: NicKind) -> Self {
        let remote = Arc::new(Remote::new().unwrap());
        let (nic, port) = Nic::open(SANS, kind, &[config.group()]).unwrap();
        let mut san = San::new(port, config).unwrap();
        let its_remote = Arc::clone(&remote);
        let thread = std::thread::spawn(move || {
            san::thread::run(&mut san, Some(nic.macs()), &its_remote).unwrap();
            drop((san, nic));
        });
        Self { remote, thread: Some(thread) }
    }
}

impl Drop for RunningSan {
    fn drop(&mut self) {
        self.remote.stop();
        let ended = self.thread.take().expect("joined once").join();
        assert!(ended.is_ok() || std::thread::panicking());
    }
}

/// Blocking calls of many lengths, then a queue with many requests out. How many frames were lent at last, of 1,000 that were
/// to be.
fn move_data(disk: &Disk) -> usize {
    let info = disk.info();
    assert_eq!((info.block_len, info.blocks), (512, 256 << 11));
    for (lba, blocks) in [(0, 1), (3, 8), (1000, 129), (4096, 2048), (info.blocks - 7, 7)] {
        let data = noise(blocks * 512, lba + 1);
        disk.write_at(lba, &data).unwrap();
        let mut back = vec![0; data.len()];
        disk.read_at(lba, &mut back).unwrap();
        assert!(data == back, "{blocks} blocks at {lba} came back otherwise");
    }
    disk.flush().unwrap();

    let mut queue = disk.queue(32).unwrap();
    let block = |i: u64| noise(4096, i + 77).into_boxed_slice();
    // Rooms of reads in place are all kept.
    let mut rooms = Vec::new();
    for what in ["write", "read", "read in place"] {
        let (mut next, mut ended) = (0, 0);
        while ended < 500 {
            while next < 500 && queue.outstanding() < 32 {
                let lba = next * 8;
                let request = match what {
                    "write" => Request::Write { lba, buffer: block(next) },
                    "read" => Request::Read { lba, buffer: vec![0; 4096].into() },
                    _ => Request::ReadInPlace { lba, room: Box::new(InPlace::new(vec![0; 4096].into())) },
                };
                queue.submit(next, request).unwrap();
                next += 1;
            }
            queue.kick();
            queue.wait(Duration::from_secs(1)).unwrap();
            while let Some(done) = queue.poll() {
                done.result.unwrap();
                match done.buffer {
                    Some(buffer) => {
                        assert!(what == "write" || buffer == block(done.tag), "block {}", done.tag)
                    }
                    None => rooms.push((done.tag, done.room.unwrap())),
                }
                ended += 1;
            }
        }
    }
    let lent: usize = rooms.iter().map(|(_, room)| room.frames()).sum();
    for (tag, room) in rooms {
        let data: Vec<u8> = room.slices(4096).flatten().copied().collect();
        assert!(*data == *block(tag), "block {tag} in place");
    }

    disk.discard(0, 8).unwrap();
    let mut back = vec![1; 4096];
    disk.read_at(0, &mut back).unwrap();
    assert!(back.iter().all(|&byte| byte == 0), "discarded blocks of this SAN read as zero");
    lent
}

#[test]
fn data_moves_by_every_kind_of_port() {
    if !have_root() {
        return;
    }
    for (kind, vlan) in [(NicKind::AfXdp, None), (NicKind::AfXdp, Some(100)), (NicKind::AfPacket, None)] {
        in_network_namespace(|| {
            veth_pair(OURS, SANS, MTU);
            let _san = RunningSan::start(&SanConfig { vlan, ..SanConfig::default() }, NicKind::AfXdp);
            let initiator = Initiator::start(Config { kind, ..Config::new(OURS) }).unwrap();
            let disk = only_disk(&initiator);
            assert_eq!(initiator.inventory().vlan, vlan);
            // A packet socket's port lends half of them.
            assert!(move_data(&disk) > 500, "{kind:?}");
            let report = initiator.report().unwrap();
            assert_eq!(report.counters.dropped(DropReason::Crc), 0);
            assert_eq!(report.open_exchanges, 0, "{kind:?}");
            initiator.stop();
            let link = ip(&["-details", "link", "show", OURS]);
            assert!(!link.contains("xdp"), "an XDP program was left: {link}");
            assert!(matches!(disk.flush(), Err(DiskError::Transport(_))), "nobody serves it any more");
        });
    }
}

/// Each core's responses come to it, be it that XDP chooses it by the OX_ID or that they come by the queue that the SAN's
/// CPU sends to, and the core there hands them on.
#[test]
fn data_moves_by_several_cores() {
    if !have_root() {
        return;
    }
    for (queues, cores) in [(vec![0], 2), (vec![0], 7), (vec![0, 1], 2), (vec![0, 1], 3)] {
        in_network_namespace(|| {
            let count = queues.len().to_string();
            let (rx, tx) = (["numrxqueues", &count], ["numtxqueues", &count]);
            let peer = ["type", "veth", "peer", "name", SANS, "mtu", "2500"];
            ip(&[&["link", "add", OURS, "mtu", "2500"], &rx[..], &tx, &peer, &rx, &tx].concat());
            for end in [OURS, SANS] {
                ip(&["link", "set", end, "addrgenmode", "none", "up"]);
            }
            // A veth's frames come by the queue that they were sent by; a packet socket takes them from all.
            let kind = if queues.len() > 1 { NicKind::AfPacket } else { NicKind::AfXdp };
            let _san = RunningSan::start(&SanConfig::default(), kind);
            let config = Config { queues: queues.clone(), cores: vec![None; cores], ..Config::new(OURS) };
            let initiator = Initiator::start(config).unwrap();
            let disk = only_disk(&initiator);
            // Threads at the same time, and each core has one's queue.
            std::thread::scope(|scope| {
                for part in 0..8 {
                    let disk = &disk;
                    scope.spawn(move || move_blocks(disk, part * 8192..(part + 1) * 8192));
                }
            });
            let reports = initiator.reports().unwrap();
            assert_eq!(reports.len(), cores);
            let mut handed_on = 0;
            for report in &reports {
                let counters = &report.counters;
                assert!(counters.ended > 100, "core {}: {counters:?}", report.number);
                assert_eq!(counters.failed, 0, "core {}: {counters:?}", report.number);
                assert_eq!(report.open_exchanges, 0, "core {}", report.number);
                handed_on += counters.handed_on;
            }
            assert_eq!(handed_on > 0, queues.len() > 1, "{queues:?}");
            initiator.stop();
        });
    }
}

/// Writes and reads blocks by a queue of its own.
fn move_blocks(disk: &Disk, blocks: Range<u64>) {
    let mut queue = disk.queue(8).unwrap();
    let data = |lba: u64| noise(8 * 512, lba + 77).into_boxed_slice();
    for write in [true, false] {
        let mut lbas = blocks.clone().step_by(8).peekable();
        while lbas.peek().is_some() || queue.outstanding() > 0 {
            while queue.outstanding() < 8
                && let Some(lba) = lbas.next()
            {
                let request = match write {
                    true => Request::Write { lba, buffer: data(lba) },
                    false => Request::Read { lba, buffer: vec![0; 8 * 512].into() },
                };
                queue.submit(lba, request).unwrap();
            }
            queue.kick();
            queue.wait(Duration::from_secs(1)).unwrap();
            while let Some(done) = queue.poll() {
                done.result.unwrap();
                assert!(write || done.buffer.unwrap() == data(done.tag), "block {}", done.tag);
            }
        }
    }
}

/// Gives the calling thread a /sys that shows the interfaces of its namespace.
fn mount_own_sys() {
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
    mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::empty(), none).unwrap();
}

/// Reads of `blocks` blocks, `depth` at a time, until there is something.
fn read_until(disk: &Disk, blocks: usize, depth: usize, is_there: impl Fn() -> bool) {
    let mut queue = disk.queue(depth).unwrap();
    let (start, mut reads) = (Instant::now(), 0);
    while !is_there() {
        assert!(start.elapsed() < LOGIN, "after {reads} reads of {blocks} blocks");
        for _ in 0..256 {
            if queue.outstanding() == depth {
                queue.kick();
                queue.wait(Duration::from_secs(1)).unwrap();
            }
            if let Some(done) = queue.poll() {
                done.result.unwrap();
            }
            if queue.outstanding() < depth {
                let lba = reads % 64 * blocks as u64;
                queue.submit(reads, Request::Read { lba, buffer: vec![0; blocks * 512].into() }).unwrap();
                reads += 1;
            }
        }
    }
}

/// The kernel receives on the core's CPU for as long as reads are long, and there are several; also where /sys is another
/// namespace's.
#[test]
fn frames_of_long_reads_are_received_by_the_cores_cpu() {
    if !have_root() {
        return;
    }
    in_network_namespace(|| {
        veth_pair(OURS, SANS, MTU);
        let _san = RunningSan::start(&SanConfig::default(), NicKind::AfXdp);
        let initiator = Initiator::start(Config { cores: vec![Some(1)], ..Config::new(OURS) }).unwrap();
        let disk = only_disk(&initiator);
        mount_own_sys();
        let receives = || {
            let path = format!("/sys/class/net/{OURS}/queues/rx-0/rps_cpus");
            std::fs::read_to_string(path).unwrap().trim_end().ends_with('2')
        };
        assert!(!receives());
        read_until(&disk, 128, 8, receives);
        move_data(&disk);
        read_until(&disk, 8, 1, || !receives());
        read_until(&disk, 512, 32, receives);
        let counters = initiator.report().unwrap().counters;
        assert_eq!((counters.lost, counters.failed), (0, 0), "{counters:?}");
        drop(disk);
        initiator.stop();
        assert!(!receives());
    });
}

/// A veth's queue can't be driven by who polls it, of kernels since 6.14, and huge pages may be missing: both are tried, and
/// data moves. Interrupts are deferred only for who polls: else each frame would wait for 200 us.
#[test]
fn a_core_that_would_drive_its_queue_leaves_the_interface_as_it_was() {
    if !have_root() {
        return;
    }
    in_network_namespace(|| {
        mount_own_sys();
        veth_pair(OURS, SANS, MTU);
        let setting = |file: &str| {
            let path = format!("/sys/class/net/{OURS}/{file}");
            std::fs::read_to_string(path).unwrap().trim().parse::<u64>().unwrap()
        };
        let settings = || ["napi_defer_hard_irqs", "gro_flush_timeout"].map(setting);
        let before = settings();
        let _san = RunningSan::start(&SanConfig::default(), NicKind::AfXdp);
        let config = Config {
            poll_mode: PollMode::DriveQueue,
            huge_pages: true,
            flow_rules: true,
            ..Config::new(OURS)
        };
        let initiator = Initiator::start(config).unwrap();
        move_data(&only_disk(&initiator));
        let port = initiator.report().unwrap().frames;
        // Who polls asks the kernel each time that it finds no frame.
        let polls = port.doorbells > port.sent_frames + port.received_frames;
        assert_eq!(settings(), if polls { [2, 200_000] } else { before }, "{port:?}");
        initiator.stop();
        assert_eq!(settings(), before);
    });
}

#[test]
fn disks_are_reset_under_load() {
    if !have_root() {
        return;
    }
    in_network_namespace(|| {
        veth_pair(OURS, SANS, MTU);
        let _san = RunningSan::start(&SanConfig::default(), NicKind::AfXdp);
        let initiator = Initiator::start(Config::new(OURS)).unwrap();
        let disk = only_disk(&initiator);
        let operated = disk.clone();
        let operator = std::thread::spawn(move || {
            for function in [Disk::reset_lun, Disk::abort_task_set, Disk::clear_task_set, Disk::reset_target]
            {
                function(&operated).unwrap();
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        while !operator.is_finished() {
            move_data(&disk);
        }
        operator.join().unwrap();
        move_data(&disk);
        initiator.stop();
    });
}

#[test]
fn neighbours_find_each_other_and_come_back() {
    if !have_root() {
        return;
    }
    let (lower, higher) = (Wwn::from_u64(0x1000_0000_0000_0011), Wwn::from_u64(0x5000_0000_0000_0011));
    for (kind, mtu, port_name) in [(NicKind::AfXdp, MTU, lower), (NicKind::AfPacket, 1500, higher)] {
        in_network_namespace(|| {
            veth_pair(OURS, SANS, mtu);
            let _san = RunningSan::start(&SanConfig { mode: Mode::Vn2vn, ..SanConfig::default() }, kind);
            let config = Config { kind, port_name: Some(port_name), ..Config::new(OURS) };
            let initiator = Initiator::start(Config { topology: Topology::Vn2vn, ..config }).unwrap();
            let disk = only_disk(&initiator);
            move_data(&disk);
            for interface in [OURS, SANS] {
                ip(&["link", "set", interface, "down"]);
                std::thread::sleep(Duration::from_millis(500));
                ip(&["link", "set", interface, "up"]);
                let begin = Instant::now();
                while let Err(error) = disk.read_at(0, &mut [0; 4096]) {
                    assert!(begin.elapsed() < LOGIN, "{kind:?}, after {interface} was down: {error}");
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
            move_data(&disk);
            initiator.stop();
        });
    }
}

#[test]
fn requests_that_do_not_fit_are_refused_before_they_leave() {
    if !have_root() {
        return;
    }
    in_network_namespace(|| {
        veth_pair(OURS, SANS, MTU);
        let _san = RunningSan::start(&SanConfig::default(), NicKind::AfXdp);
        let initiator = Initiator::start(Config::new(OURS)).unwrap();
        let disk = only_disk(&initiator);
        let blocks = disk.info().blocks;
        let commands = initiator.report().unwrap().counters.commands;
        for (lba, len) in [(blocks, 512), (blocks - 1, 1024), (u64::MAX, 512)] {
            let error = disk.read_at(lba, &mut vec![0; len]).unwrap_err();
            assert!(matches!(error, DiskError::OutOfRange { .. }), "{error}");
            let error = disk.write_at(lba, &vec![0; len]).unwrap_err();
            assert!(matches!(error, DiskError::OutOfRange { .. }), "{error}");
        }
        assert!(matches!(disk.read_at(0, &mut [0; 100]), Err(DiskError::Unaligned { .. })));
        let mut queue = disk.queue(1).unwrap();
        let read = || Request::Read { lba: 0, buffer: vec![0; 512].into() };
        let too_long = Request::Read { lba: 0, buffer: vec![0; 32 << 20].into() };
        assert!(matches!(queue.submit(0, too_long).unwrap_err().reason, DiskError::TooLong { .. }));
        queue.submit(0, read()).unwrap();
        assert!(matches!(queue.submit(1, read()).unwrap_err().reason, DiskError::QueueFull));
        queue.kick();
        while queue.outstanding() > 0 {
            queue.wait(Duration::from_secs(1)).unwrap();
            queue.poll();
        }
        assert_eq!(initiator.report().unwrap().counters.commands, commands + 1);
    });
}

#[test]
fn what_can_not_start_says_why_and_leaves_nothing() {
    if !have_root() {
        return;
    }
    in_network_namespace(|| {
        let error = Initiator::start(Config::new("nowhere0")).err().unwrap();
        assert!(error.to_string().contains("nowhere0"), "{error}");
        veth_pair(OURS, SANS, MTU);
        ip(&["link", "set", OURS, "mtu", "301"]);
        let error = Initiator::start(Config::new(OURS)).err().unwrap();
        assert!(matches!(error, StartError::MtuTooSmall { mtu: 301, .. }), "{error}");
        ip(&["link", "set", OURS, "mtu", "2500"]);
        let first = Initiator::start(Config::new(OURS)).unwrap();
        let error = Initiator::start(Config::new(OURS)).err().unwrap();
        assert!(matches!(error, StartError::Nic(_)), "{error}");
        // Nobody answers: no disks, and a stop that doesn't hang.
        assert!(first.wait_for_disks(Duration::from_millis(300)).is_empty());
        assert!(first.inventory().fcfs.is_empty() && first.is_running());
        first.stop();
        drop(Initiator::start(Config::new(OURS)).unwrap());
    });
}

#[test]
fn ping_works_beside_it() {
    if !have_root() {
        return;
    }
    in_network_namespace(|| {
        veth_pair(OURS, SANS, MTU);
        ip(&["address", "add", "192.0.2.1/24", "dev", OURS]);
        // The other host is a thread, which holds its namespace until it has been told to end.
        let (ready, is_ready) = std::sync::mpsc::channel();
        let (done, is_done) = std::sync::mpsc::channel::<()>();
        let host = std::thread::spawn(move || {
            in_network_namespace(move || {
                let tid = nix::unistd::gettid();
                ready.send(format!("/proc/{}/task/{tid}/ns/net", std::process::id())).unwrap();
                while Command::new("ip")
                    .args(["link", "show", SANS])
                    .output()
                    .is_ok_and(|out| !out.status.success())
                {
                    std::thread::sleep(Duration::from_millis(10));
                }
                ip(&["link", "set", SANS, "up"]);
                ip(&["address", "add", "192.0.2.2/24", "dev", SANS]);
                let san = RunningSan::start(&SanConfig::default(), NicKind::AfXdp);
                let _ = is_done.recv();
                drop(san);
            });
        });
        ip(&["link", "set", SANS, "netns", &is_ready.recv().unwrap()]);
        let initiator = Initiator::start(Config::new(OURS)).unwrap();
        let disk = only_disk(&initiator);
        let ping =
            Command::new("ping").args(["-c", "5", "-i", "0.2", "-W", "2", "192.0.2.2"]).output().unwrap();
        let text = String::from_utf8_lossy(&ping.stdout);
        assert!(ping.status.success() && text.contains(" 0% packet loss"), "{text}");
        disk.read_at(0, &mut [0; 4096]).unwrap();
        initiator.stop();
        drop(done);
        host.join().unwrap();
    });
}
