//! What lost frames cost, where nothing but them costs time: to the microsecond, and the same each time.

use super::*;
use initiator::{Request, Requests};
use san::{FaultsConfig, Order};

/// A frame's way, and what either side takes for it.
const HOP: Duration = Duration::from_micros(20);
const DEPTH: usize = 32;
const IO_LEN: usize = 4096;
const IOS: u64 = 20_000;

/// I/Os, each to a place of its own, at a fixed depth; every byte that is read is compared.
struct Load {
    requests: Requests,
    latencies: Vec<Duration>,
    begun: u64,
    /// Instead of reads.
    writes: bool,
}

impl Load {
    fn new(world: &World, writes: bool) -> Self {
        let requests = Requests::new(world.disk(IO_LEN), DEPTH);
        Self { requests, latencies: Vec::new(), begun: 0, writes }
    }

    fn data(io: u64) -> Vec<u8> {
        noise(IO_LEN, io)
    }

    fn step(&mut self, world: &mut World) {
        while self.begun < IOS && self.requests.outstanding() < DEPTH {
            let lba = self.begun * (IO_LEN / 512) as u64;
            let request = if self.writes {
                Request::Write { lba, buffer: Self::data(self.begun).into() }
            } else {
                Request::Read { lba, buffer: vec![0; IO_LEN].into() }
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
            assert!(self.writes || done.buffer.unwrap().as_ref() == Self::data(done.tag), "I/O {}", done.tag);
            self.latencies.push(done.latency);
        }
    }

    /// Runs all of them, and says how many there were a second.
    fn run(&mut self, world: &mut World) -> f64 {
        let since = world.now;
        while self.latencies.len() < IOS as usize {
            self.step(world);
        }
        IOS as f64 / world.now.since(since).as_secs_f64()
    }
}

#[test]
fn lost_frames_cost_milliseconds() {
    let mut world = World::new(&SanConfig::default());
    world.wait_for_luns();
    let rates = [true, false].map(|writes| Load::new(&world, writes).run(&mut world));
    // Frames lost in a million, what is left of the rate, and what 99.9% and all of the I/Os keep, in ms.
    for (loss_ppm, share, p999_ms, longest_ms) in [(1_000, 0.8, 5, 20), (10_000, 0.4, 10, 50)] {
        world
            .san
            .order(world.now, &Order::Faults(FaultsConfig { loss_ppm, seed: 1, ..FaultsConfig::default() }))
            .unwrap();
        for (writes, rate) in [true, false].into_iter().zip(rates) {
            let mut load = Load::new(&world, writes);
            let left = load.run(&mut world) / rate;
            load.latencies.sort_unstable();
            let latency_ms =
                |quantile: f64| load.latencies[(quantile * (IOS - 1) as f64) as usize].as_millis();
            let what = format!(
                "{loss_ppm} ppm lost, writes: {writes}: {left:.2} of the rate, p99.9 {} ms, longest {} ms",
                latency_ms(0.999),
                latency_ms(1.0)
            );
            println!("{what}, {:.0} IOPS without", rate);
            assert!(left >= share && latency_ms(0.999) < p999_ms && latency_ms(1.0) < longest_ms, "{what}");
        }
    }
}
