//! What a guest has of a disk of the SAN in a box, beside what the library makes of it alone.

use super::Served;
use export::{BlockDevice, Operation};
use initiator::{Config, Initiator};
use san::SanConfig;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tests::vhost_guest::{Ask, Guest, Wishes};
use tests::{have_root, in_network_namespace, start_san, veth_pair};
use xfcoe::exports::DiskDevice;

const LOGIN: Duration = Duration::from_secs(15);
const TIME: Duration = Duration::from_secs(2);
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

/// Reads a second, by the library alone.
fn alone(device: &dyn BlockDevice, depth: u64) -> f64 {
    let mut queue = device.queue(depth as usize).unwrap();
    let (_nothing, never) = std::os::unix::net::UnixStream::pair().unwrap();
    let mut buffers: Vec<_> = (0..depth).map(|_| vec![0; BLOCK_LEN as usize].into_boxed_slice()).collect();
    let (begin, mut begun, mut ended) = (Instant::now(), 0, 0u64);
    while begin.elapsed() < TIME {
        while let Some(buffer) = buffers.pop() {
            queue.submit(begun, Operation::Read { offset: block(begun) * u64::from(BLOCK_LEN), buffer });
            begun += 1;
        }
        queue.kick();
        while let Some(finished) = queue.poll() {
            buffers.push(finished.buffer.unwrap());
            ended += 1;
        }
        if buffers.is_empty() {
            queue.wait_with(std::os::fd::AsFd::as_fd(&never), TIME).unwrap();
        }
    }
    ended as f64 / begin.elapsed().as_secs_f64()
}

/// Reads a second, by a guest, and CPU time of the device's thread for one.
fn by_guest(served: &Served, depth: u16) -> (f64, Duration) {
    let mut guest = Guest::new(Wishes { size: 256, ..Wishes::default() });
    guest.connect(&served.socket()).unwrap();
    let (begin, mut begun, mut ended) = (Instant::now(), 0, 0u64);
    let mut slots: Vec<u16> = (0..depth).collect();
    while begin.elapsed() < TIME {
        for slot in slots.drain(..) {
            guest.submit(0, slot, &Ask::Read(block(begun) * 8, BLOCK_LEN));
            begun += 1;
        }
        guest.kick(0);
        let done = guest.wait(0, TIME);
        ended += done.len() as u64;
        slots.extend(done.iter().map(|done| done.slot));
    }
    (ended as f64 / begin.elapsed().as_secs_f64(), cpu_time("vhost-user") / ended as u32)
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
        let disks = initiator.wait_for_disks(LOGIN);
        let [disk] = &disks[..] else { panic!("one disk: {:#?}", initiator.inventory()) };
        let device = Arc::new(DiskDevice::new(disk.clone(), 0..BLOCKS * 8, false));
        let served = Served::new("disk", device.clone());
        for depth in [1, 32] {
            let (alone, (guest, cpu)) = (alone(&*device, depth.into()), by_guest(&served, depth));
            let share = guest / alone;
            eprintln!(
                "4 KiB, depth {depth}: {alone:.0} IOPS by the library, {guest:.0} by a guest: {share:.2}, {cpu:?} an I/O"
            );
            // Alone with its latency, a thread that waits for a CPU is all that is measured.
            assert!(depth == 1 || share > LEAST, "a guest has only {share:.2} of the disk's speed");
        }
        drop(served);
        initiator.stop();
        san.stop().unwrap();
    });
}
