//! `xfcoe-bench scale`: what becomes of rate and latency as more VN_Ports, commands, targets and LUNs are there.

mod on_a_core;
mod on_a_link;
mod report;

use crate::page::Output;
use clap::Args;
use on_a_link::What;
use report::Report;
use std::time::Duration;
use xfcoe::interrupt::Interrupt;
use xfcoe::preflight::{self, PortKind};
use xfcoe::program;

/// `xfcoe-bench scale`
#[derive(Debug, Args)]
#[command(
    long_about = "What becomes of rate and latency as more is there. First on a poll core without a NIC, as `xfcoe-bench \
                  datapath` measures it: VN_Ports and commands that are out. Then with a SAN in a box on a veth pair, \
                  which goes with the program: VN_Ports, targets and LUNs that are logged in and known, of which 32 \
                  queues read, one I/O at a time each."
)]
pub(crate) struct Scale {
    /// How often each frame is timed; the median counts
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How long reads are measured
    #[arg(long, value_name = "S", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// No more VN_Ports, commands, targets or LUNs than these
    #[arg(long, value_name = "N", default_value_t = 65_536, value_parser = clap::value_parser!(u32).range(1..))]
    most: u32,
    /// How the ports are opened
    #[arg(long, value_enum, default_value_t)]
    port: PortKind,
}

pub(crate) fn run(args: &Scale, output: &Output, interrupt: &Interrupt) -> anyhow::Result<()> {
    preflight::demo(args.port)?;
    let mut report = Report::default();
    for (open, vn_ports) in on_a_core::LOADS.into_iter().filter(|load| load.0.max(load.1) <= args.most) {
        interrupt.check(|| "while measuring a core".into())?;
        let measure = || on_a_core::measure(open, vn_ports, args.rounds);
        report.on_a_core.push(program::with_spinner(output.json, "a core", measure));
    }
    let duration = Duration::from_secs(args.seconds.into());
    for what in [What::VnPorts, What::Targets, What::Luns] {
        for &count in what.counts().iter().filter(|count| **count <= args.most) {
            let measure = || on_a_link::measure(what, count, args.port, duration, interrupt);
            report.on_a_link.push(program::with_spinner(output.json, what.name(), measure)?);
            interrupt.check(|| "while measuring".into())?;
        }
    }
    output.print(&report)
}
