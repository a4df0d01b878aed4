//! What a guest has of a disk of the SAN in a box, beside what the library makes of it alone.

use super::{PATIENCE, Served};
use export::{BlockDevice, Operation};
use initiator::{Config, Initiator};
use san::SanConfig;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tests::vhost_guest::{Ask, Guest, Wishes};
use tests::{have_root, in_network_namespace, only_disk, start_san, veth_pair};
use xfcoe::exports::DiskDevice;

/// The library and a guest have the disk in turns.
const ROUND: Duration = Duration::from_millis(200);
const ROUNDS: usize = 10;
const BLOCK_LEN: u32 = 4096;
const BLOCKS: u64 = 64 << 8;
/// What is lost where each of four threads has half a CPU.
const LEAST: f64 = 0.2;

/// Blocks that look like chance.
fn block(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20 & (BLOCKS - 1)
}

/// CPU time of the threads of this process that have this name.
fn cpu_time(name: &str) -> Duration {
    let read = |task: &Path, file| fs::read_to_string(task.join(file)).unwrap_or_default();
    let tasks = fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    let named = tasks.filter(|task| read(task, "comm").trim() == name);
    let on_cpu = |task: PathBuf| read(&task, "schedstat").split(' ').next()?.parse::<u64>().ok();
    Duration::from_nanos(named.filter_map(on_cpu).sum())
}

/// Reads that have ended, and how long that took.
#[derive(Default)]
struct Rate {
    ended: u64,
    took: Duration,
}

impl Rate {
    fn iops(&self) -> f64 {
        self.ended as f64 / self.took.as_secs_f64()
    }
}

fn read_alone(device: &dyn BlockDevice, depth: u64, rate: &mut Rate) {
    let mut queue = device.queue(depth as usize).unwrap();
    let (never, _other_end) = UnixStream::pair().unwrap();
    let mut buffers: Vec<_> = (0..depth).map(|_| vec![0; BLOCK_LEN as usize].into_boxed_slice()).collect();
    let begin = Instant::now();
    let mut begun = rate.ended;
    while begin.elapsed() < ROUND {
        while let Some(buffer) = buffers.pop() {
            queue.submit(begun, Operation::Read { offset: block(begun) * u64::from(BLOCK_LEN), buffer });
            begun += 1;
        }
        queue.kick();
        while let Some(finished) = queue.poll() {
            buffers.push(finished.buffer.unwrap());
            rate.ended += 1;
        }
        if buffers.is_empty() {
            queue.wait_with(never.as_fd(), ROUND).unwrap();
        }
    }
    rate.took += begin.elapsed();
}

fn read_by_guest(guest: &mut Guest, depth: u16, rate: &mut Rate) {
    let begin = Instant::now();
    let mut begun = rate.ended;
    let mut free: Vec<u16> = (0..depth).collect();
    while begin.elapsed() < ROUND {
        for slot in free.drain(..) {
            guest.submit(0, slot, &Ask::Read(block(begun) * 8, BLOCK_LEN));
            begun += 1;
        }
        guest.kick(0);
        let done = guest.wait(0, PATIENCE);
        rate.ended += done.len() as u64;
        free.extend(done.iter().map(|done| done.slot));
    }
    rate.took += begin.elapsed();
    while free.len() < depth.into() {
        free.extend(guest.wait(0, PATIENCE).iter().map(|done| done.slot));
    }
}

#[test]
#[allow(clippy::print_stderr, reason = "it measures")]
fn a_guest_has_its_share_of_the_disks_speed() {
    if !have_root() {
        return;
    }
    in_network_namespace(|| {
        veth_pair("xfcoe0", "san0", 2500);
        let san = start_san("san0", SanConfig::default());
        let initiator = Initiator::start(Config::new("xfcoe0")).unwrap();
        let disk = only_disk(&initiator);
        let device = Arc::new(DiskDevice::new(disk.clone(), 0..BLOCKS * 8, false));
        let served = Served::new("disk", device.clone());
        let mut guest = Guest::new(Wishes { size: 256, ..Wishes::default() });
        guest.connect(&served.socket()).unwrap();
        for depth in [1, 32] {
            let (mut alone, mut by_guest) = (Rate::default(), Rate::default());
            let cpu = cpu_time("vhost-user");
            // In turns, so that whatever else the machine does is with both.
            for _ in 0..ROUNDS {
                read_alone(&*device, depth.into(), &mut alone);
                read_by_guest(&mut guest, depth, &mut by_guest);
            }
            let cpu = (cpu_time("vhost-user") - cpu) / by_guest.ended as u32;
            let share = by_guest.iops() / alone.iops();
            eprintln!(
                "4 KiB, depth {depth}: {:.0} IOPS by the library, {:.0} by a guest: {share:.2}, {cpu:?} an I/O",
                alone.iops(),
                by_guest.iops()
            );
            // Alone with its latency, a thread that waits for a CPU is all that is measured.
            assert!(depth == 1 || share > LEAST, "a guest has only {share:.2} of the disk's speed");
        }
        drop(guest);
        drop(served);
        initiator.stop();
        san.stop().unwrap();
    });
}
