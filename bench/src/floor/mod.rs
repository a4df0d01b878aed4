//! `xfcoe-bench floor`: exchanges with the frames of an FCP read or write, and nothing else of Fibre Channel.
//!
//! Both ends are this process, on a veth pair between two namespaces, as in `xfcoe demo`. Nothing is checked, looked up
//! or copied: what is left is the kernel's.

mod initiator;
mod shape;
mod target;

use anyhow::Context as _;
use clap::Args;
use datapath::port::nic::{Nic, NicKind, NicPort};
use hdrhistogram::Histogram;
use serde::Serialize;
use shape::Shape;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::Duration;
use xfcoe::demo::two_cpus;
use xfcoe::interrupt::Interrupt;
use xfcoe::netns::{Cable, INITIATOR_INTERFACE, INITIATOR_MAC, SAN_INTERFACE, SAN_MAC};
use xfcoe::preflight::{self, PortKind};
use xfcoe::program;
use xfcoe::san_thread::pin;
use xfcoe::workload::{Figures, round, table};

/// `xfcoe-bench floor`
#[derive(Debug, Args)]
#[command(
    long_about = "What the kernel's way of an exchange's frames takes: the frames of FCP reads and writes go over a veth \
                  pair between two namespaces, which go with the program, and nothing is done with them. No initiator \
                  can be faster there. What it measures is what `xfcoe demo` measures, and writes."
)]
pub(crate) struct Floor {
    /// How long each measurement takes
    #[arg(long, value_name = "S", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// How the ports are opened
    #[arg(long, value_enum, default_value_t)]
    port: PortKind,
}

/// What is measured: names, shapes and depths. Deeper ones of 64 KiB would be more frames than a veth's ring holds.
const MEASUREMENTS: [(&str, Shape, usize); 6] = [
    ("4 KiB reads, depth 1", Shape::read(4 << 10), 1),
    ("4 KiB reads, depth 32", Shape::read(4 << 10), 32),
    ("64 KiB reads, depth 4", Shape::read(64 << 10), 4),
    ("4 KiB writes, depth 1", Shape::write(4 << 10), 1),
    ("4 KiB writes, depth 32", Shape::write(4 << 10), 32),
    ("64 KiB writes, depth 4", Shape::write(64 << 10), 4),
];

pub(crate) fn run(args: &Floor, json: bool, interrupt: &Interrupt) -> anyhow::Result<()> {
    preflight::demo(args.port)?;
    let cable = Cable::lay()?;
    let (initiator_cpu, target_cpu) = two_cpus()?;
    let is_over = AtomicBool::new(false);
    let (told, ready) = sync_channel(1);
    let runs = thread::scope(|scope| {
        let target =
            scope.spawn(|| cable.san.run(|| at_the_target(args.port.into(), target_cpu, &is_over, &told))?);
        // Without a word the target has ended, and says why in its result.
        let runs = match ready.recv() {
            Ok(()) => cable.initiator.run(|| at_the_initiator(args, initiator_cpu, json, interrupt)),
            Err(_) => Ok(Ok(Vec::new())),
        };
        is_over.store(true, Ordering::Relaxed);
        target.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        anyhow::Ok(runs??)
    })?;
    program::print(json, &Report { runs })?;
    Ok(interrupt.check(|| "while measuring".into())?)
}

fn open(interface: &str, kind: NicKind, mac: fc::wire::MacAddr) -> anyhow::Result<(Nic, NicPort)> {
    let (nic, port) = Nic::open(interface, 0, kind, &[])?;
    nic.macs().add(mac)?;
    Ok((nic, port))
}

fn at_the_target(
    kind: NicKind,
    cpu: Option<usize>,
    is_over: &AtomicBool,
    ready: &SyncSender<()>,
) -> anyhow::Result<()> {
    cpu.map(pin).transpose().context("cannot pin the target")?;
    let (_nic, port) = open(SAN_INTERFACE, kind, SAN_MAC)?;
    let mut target = target::Target::new(port);
    // Nobody to tell is no reason to stop.
    let _ = ready.send(());
    while !is_over.load(Ordering::Relaxed) {
        target.step()?;
    }
    Ok(())
}

fn at_the_initiator(
    args: &Floor,
    cpu: Option<usize>,
    json: bool,
    interrupt: &Interrupt,
) -> anyhow::Result<Vec<Run>> {
    cpu.map(pin).transpose().context("cannot pin the initiator")?;
    let (_nic, port) = open(INITIATOR_INTERFACE, args.port.into(), INITIATOR_MAC)?;
    let mut initiator = initiator::Initiator::new(port);
    let duration = Duration::from_secs(args.seconds.into());
    let mut runs = Vec::new();
    for (name, shape, depth) in MEASUREMENTS {
        let run = || initiator.run(shape, depth, duration, interrupt);
        let Measured { latencies_ns, lost, elapsed, cpu } =
            program::with_spinner(json, name, run).with_context(|| format!("measuring {name}"))?;
        let cpu_us_per_io = round(cpu.as_secs_f64() * 1e6 / latencies_ns.len().max(1) as f64, 2);
        let figures = Figures::new(shape.data_len(), &latencies_ns, elapsed);
        runs.push(Run { name, figures, lost, cpu_us_per_io });
    }
    Ok(runs)
}

/// What came of one measurement.
struct Measured {
    /// Nanoseconds of each exchange.
    latencies_ns: Histogram<u64>,
    /// Exchanges that didn't end, since a ring was full.
    lost: u64,
    elapsed: Duration,
    /// CPU time of both ends.
    cpu: Duration,
}

/// Its JSON is one object; names end in their units.
#[derive(Serialize)]
struct Report {
    runs: Vec<Run>,
}

#[derive(Serialize)]
struct Run {
    name: &'static str,
    #[serde(flatten)]
    figures: Figures,
    lost: u64,
    /// Of both ends, user and system; both spin.
    cpu_us_per_io: f64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", table(self.runs.iter().map(|run| (run.name, &run.figures))))?;
        for Run { name, lost, .. } in self.runs.iter().filter(|run| run.lost > 0) {
            writeln!(f, "{name}: {lost} exchanges did not end, since a ring was full")?;
        }
        Ok(())
    }
}
