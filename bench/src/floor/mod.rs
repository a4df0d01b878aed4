//! `xfcoe-bench floor`: exchanges with the frames of an FCP read or write, and nothing else of Fibre Channel.
//!
//! Both ends are this process, on a veth pair between two namespaces, as in `xfcoe demo`. Nothing is checked, looked up
//! or copied: what is left is the kernel's.

mod initiator;
mod measures;
mod shape;
mod target;
mod worth;

use crate::link::{self, End};
use crate::page::{Output, Plot, Plots};
use anyhow::Context as _;
use clap::Args;
use datapath::port::nic::{Nic, NicKind, NicPort};
use hdrhistogram::Histogram;
use serde::Serialize;
pub(crate) use shape::Shape;
use std::fmt;
use std::sync::atomic::Ordering;
use std::time::Duration;
use xfcoe::interrupt::Interrupt;
use xfcoe::preflight::{self, PortKind};
use xfcoe::program;
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
    /// Take turns with links that lack one of the measures that make it fast, and say what each is worth: those whose
    /// name begins so, or all
    #[arg(long, value_name = "MEASURE", num_args = 0..=1, default_missing_value = "", conflicts_with = "port")]
    without: Option<String>,
    /// How often each takes its turn; medians count
    #[arg(long, default_value_t = 5, requires = "without", value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
}

/// Frames between two doorbells, as the poll core has it.
const BATCH: usize = 64;

/// What is measured: names, shapes and depths. Deeper ones of 64 KiB would be more frames than a veth's ring holds.
const MEASUREMENTS: [(&str, Shape, usize); 6] = [
    ("4 KiB reads, depth 1", Shape::read(4 << 10), 1),
    ("4 KiB reads, depth 32", Shape::read(4 << 10), 32),
    ("64 KiB reads, depth 4", Shape::read(64 << 10), 4),
    ("4 KiB writes, depth 1", Shape::write(4 << 10), 1),
    ("4 KiB writes, depth 32", Shape::write(4 << 10), 32),
    ("64 KiB writes, depth 4", Shape::write(64 << 10), 4),
];

pub(crate) fn run(args: &Floor, output: &Output, interrupt: &Interrupt) -> anyhow::Result<()> {
    preflight::demo(args.port)?;
    if let Some(measure) = &args.without {
        output.print(&worth::run(measure, args, output.json, interrupt)?)?;
        return Ok(interrupt.check(|| "while measuring".into())?);
    }
    let mut exchanges = Exchanges::over_veth(args.port.into())?;
    let duration = Duration::from_secs(args.seconds.into());
    let mut runs = Vec::new();
    for (name, shape, depth) in MEASUREMENTS.into_iter().take_while(|_| !interrupt.is_raised()) {
        let measure = || exchanges.measure(shape, depth, duration, interrupt);
        let measured =
            program::with_spinner(output.json, name, measure).with_context(|| format!("measuring {name}"))?;
        runs.push(Run::new(name, shape, &measured));
    }
    output.print(&Report { runs })?;
    Ok(interrupt.check(|| "while measuring".into())?)
}

/// Both ends.
pub(crate) struct Exchanges {
    initiator: initiator::Initiator<NicPort>,
    target: target::Target<NicPort>,
    _nics: [Nic; 2],
}

impl Exchanges {
    /// On a veth pair between two namespaces of their own.
    pub(crate) fn over_veth(kind: NicKind) -> anyhow::Result<Self> {
        Ok(Self::between(link::veth(kind)?, BATCH))
    }

    /// Between two ends, which receive and send `batch` frames at a time.
    fn between((near, far): (End, End), batch: usize) -> Self {
        Self {
            initiator: initiator::Initiator::new(near.port, batch),
            target: target::Target::new(far.port, batch),
            _nics: [near.nic, far.nic],
        }
    }

    /// Keeps `depth` of them out for a while.
    pub(crate) fn measure(
        &mut self,
        shape: Shape,
        depth: usize,
        duration: Duration,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Measured> {
        let (initiator, target) = (&mut self.initiator, &mut self.target);
        let near = || Ok(initiator.run(shape, depth, duration, interrupt)?);
        let (measured, ()) = link::both(near, |is_over| {
            while !is_over.load(Ordering::Relaxed) {
                target.step()?;
            }
            Ok(())
        })?;
        Ok(measured)
    }
}

/// What came of one measurement.
pub(crate) struct Measured {
    /// Nanoseconds of each exchange.
    pub(crate) latencies_ns: Histogram<u64>,
    /// Exchanges that didn't end, since a ring was full.
    lost: u64,
    pub(crate) elapsed: Duration,
    /// CPU time of both ends.
    pub(crate) cpu: Duration,
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
    /// Frames a second, both ways together.
    fps: f64,
    lost: u64,
    /// Of both ends, user and system; both spin.
    cpu_us_per_io: f64,
}

impl Run {
    fn new(name: &'static str, shape: Shape, measured: &Measured) -> Self {
        let Measured { latencies_ns, lost, elapsed, cpu } = measured;
        let figures = Figures::new(shape.data_len(), latencies_ns, *elapsed);
        let cpu_us_per_io = round(cpu.as_secs_f64() * 1e6 / latencies_ns.len().max(1) as f64, 2);
        let fps = round(figures.iops * shape.frames() as f64, 0);
        Self { name, figures, fps, lost: *lost, cpu_us_per_io }
    }
}

impl Plots for Report {
    fn plots(&self) -> Vec<Plot> {
        let of = |figure: fn(&Run) -> f64| {
            self.runs.iter().map(|run| (run.name.to_owned(), figure(run))).collect()
        };
        vec![
            Plot::Bars { title: "Exchanges a second".into(), bars: of(|run| run.figures.iops) },
            Plot::Bars { title: "Frames a second, both ways".into(), bars: of(|run| run.fps) },
            Plot::percentiles(
                self.runs.iter().map(|run| (run.name.to_owned(), run.figures.latency.percentiles())),
            ),
        ]
    }
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
