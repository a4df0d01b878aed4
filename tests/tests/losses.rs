//! What lost frames cost a disk's users: real rings on veth, and a SAN that loses frames each way.
//!
//! Prints what it measured. Every byte is checked meanwhile. What losses cost without a machine's noise, the end-to-end
//! simulation says (`end_to_end/losses.rs`).

use initiator::{Config, Disk, Initiator};
use san::{FaultsConfig, Order, SanConfig};
use std::time::Duration;
use tests::{have_root, in_network_namespace, only_disk, start_san, veth_pair};
use xfcoe::interrupt::Interrupt;
use xfcoe::workload::{self, End, Ledger, Workload};

const ROUND: Duration = Duration::from_secs(1);
/// Other work on the machine can spoil a measurement.
const ATTEMPTS: u32 = 4;
const RANGE_LEN: u64 = 16 << 20;

/// What is left at a loss of so many frames in a million.
struct Bound {
    io_len: usize,
    depth: usize,
    loss_ppm: u32,
    /// Of the rate without loss.
    least_share: f64,
    /// Which 99.9% of the I/Os keep, beyond what they take without loss.
    p999: Duration,
}

impl Bound {
    fn is_kept(&self, good: &Measured, lossy: &Measured) -> bool {
        lossy.iops >= self.least_share * good.iops
            && lossy.p999 < self.p999 + good.p999
            && lossy.longest < Duration::from_secs(1)
    }
}

const fn bound((io_len, depth): (usize, usize), loss_ppm: u32, least_share: f64, p999_ms: u64) -> Bound {
    Bound { io_len, depth, loss_ppm, least_share, p999: Duration::from_millis(p999_ms) }
}

const SHORT: (usize, usize) = (4096, 32);
/// What is out at a time fits a veth's ring.
const LONG: (usize, usize) = (64 << 10, 4);

const BOUNDS: [Bound; 4] = [
    bound(SHORT, 1_000, 0.8, 20),
    bound(SHORT, 10_000, 0.4, 100),
    bound(LONG, 1_000, 0.7, 20),
    bound(LONG, 10_000, 0.2, 100),
];

#[derive(Debug)]
struct Measured {
    iops: f64,
    p999: Duration,
    longest: Duration,
}

fn measure(disk: &Disk, bound: &Bound, read_percent: u8) -> Measured {
    let workload = Workload {
        order: workload::Order::Random,
        read_percent,
        io_len: bound.io_len,
        depth: bound.depth,
        in_place: false,
        range: 0..RANGE_LEN,
        end: End::After(ROUND),
    };
    let fill =
        Workload { order: workload::Order::Sequential, read_percent: 0, end: End::Once, ..workload.clone() };
    let mut ledger = Some(Ledger::new(&workload, disk.info().block_len, 1).unwrap());
    fill.run(disk, &mut ledger, &Interrupt::default()).unwrap();
    let measured = workload.run(disk, &mut ledger, &Interrupt::default()).unwrap();
    let latency_ns = if read_percent == 0 { measured.writes } else { measured.reads };
    Measured {
        iops: latency_ns.len() as f64 / measured.elapsed.as_secs_f64(),
        p999: Duration::from_nanos(latency_ns.value_at_quantile(0.999)),
        longest: Duration::from_nanos(latency_ns.max()),
    }
}

#[test]
#[allow(clippy::print_stderr, reason = "the figures are for who runs the tests")]
fn lost_frames_cost_milliseconds() {
    if !have_root() {
        return;
    }
    in_network_namespace(|| {
        veth_pair("xfcoe0", "san0", 2500);
        let san = start_san("san0", SanConfig::default());
        let initiator = Initiator::start(Config::new("xfcoe0")).unwrap();
        let disk = only_disk(&initiator);
        let lose = |loss_ppm| {
            san.order(Order::Faults(FaultsConfig { loss_ppm, seed: 1, ..FaultsConfig::default() })).unwrap();
        };
        for (what, read_percent) in [("reads", 100), ("writes", 0)] {
            for bound in BOUNDS {
                let is_kept = (0..ATTEMPTS).any(|_| {
                    let good = measure(&disk, &bound, read_percent);
                    lose(bound.loss_ppm);
                    let lossy = measure(&disk, &bound, read_percent);
                    lose(0);
                    let share = lossy.iops / good.iops;
                    eprintln!(
                        "LOSS {} KiB {what}, depth {}, {} ppm lost: {share:.2} of the rate, {lossy:.0?}; none lost: {good:.0?}",
                        bound.io_len >> 10,
                        bound.depth,
                        bound.loss_ppm
                    );
                    bound.is_kept(&good, &lossy)
                });
                assert!(is_kept, "{what}, {} ppm lost: worse than it may be in each attempt", bound.loss_ppm);
            }
        }
        initiator.stop();
        san.stop().unwrap();
    });
}
