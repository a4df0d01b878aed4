//! `xfcoe-bench peers`: xfcoe beside other ways to a disk over Ethernet, on the same machine and in the same run.

mod goals;
mod load;
mod peer;
mod perf;
mod report;
mod site;

use crate::page::Output;
use anyhow::{Context as _, ensure};
use clap::Args;
use load::{LOADS, Load};
use peer::{Peer, Sample};
use report::{Report, Row};
use std::time::Duration;
use xfcoe::interrupt::Interrupt;
use xfcoe::preflight::{self, PortKind};
use xfcoe::program;

/// `xfcoe-bench peers`
#[derive(Debug, Args)]
#[command(
    long_about = "xfcoe beside others: the floor (`xfcoe-bench floor`), its own form over packet sockets, nbdkit with fio, and \
                  tgt with libiscsi. Each has a veth pair of its own between two namespaces, which go with the program, \
                  and a RAM disk; the client has one CPU and the server another. FCoE has an MTU of 2500, TCP of 3000 \
                  and 1500. In each round each peer does each load, so that what else the machine does meets all of \
                  them.\n\n\
                  CPU time is that of the whole processes, their start included. Where xfcoe misses a goal, perf looks at both \
                  that are compared while they do the load once more, if it is there (Debian's linux-perf)."
)]
pub(crate) struct Peers {
    /// Only the loads whose name begins so
    #[arg(default_value = "", hide_default_value = true)]
    load: String,
    /// How often each peer does each load; medians count
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// How long it does so each time
    #[arg(long, value_name = "S", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
}

const XFCOE: &str = "xfcoe";
const NBDKIT: [&str; 2] = ["nbdkit, MTU 3000", "nbdkit, MTU 1500"];
const NBDKIT_NO_OFFLOAD: [&str; 2] = ["nbdkit, MTU 3000, no offload", "nbdkit, MTU 1500, no offload"];

type Start = fn() -> anyhow::Result<Peer>;

const PEERS: [(&str, Start); 9] = [
    (XFCOE, || Peer::xfcoe(PortKind::AfXdp)),
    ("floor", Peer::floor),
    ("xfcoe, packet sockets", || Peer::xfcoe(PortKind::AfPacket)),
    (NBDKIT[0], || Peer::nbdkit(3000, true)),
    (NBDKIT[1], || Peer::nbdkit(1500, true)),
    (NBDKIT_NO_OFFLOAD[0], || Peer::nbdkit(3000, false)),
    (NBDKIT_NO_OFFLOAD[1], || Peer::nbdkit(1500, false)),
    ("tgt, MTU 3000", || Peer::tgt(3000)),
    ("tgt, MTU 1500", || Peer::tgt(1500)),
];

/// Programs that are run, and the Debian packages that have them.
const PROGRAMS: [(&str, &str); 8] = [
    ("ethtool", "ethtool"),
    ("fio", "fio"),
    ("ip", "iproute2"),
    ("iscsi-perf", "libiscsi-bin"),
    ("nbdkit", "nbdkit"),
    ("setpriv", "util-linux"),
    ("taskset", "util-linux"),
    ("tgtd", "tgt"),
];

pub(crate) fn run(args: &Peers, output: &Output, interrupt: &Interrupt) -> anyhow::Result<()> {
    preflight::demo(PortKind::AfXdp)?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = |program: &str| std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    let missing: Vec<&str> =
        PROGRAMS.iter().filter(|(program, _)| !is_there(program)).map(|(_, package)| *package).collect();
    ensure!(missing.is_empty(), "install first, by their Debian names: {}", missing.join(" "));
    let loads: Vec<Load> = LOADS.into_iter().filter(|load| load.name.starts_with(&args.load)).collect();
    ensure!(
        !loads.is_empty(),
        "no load's name begins with `{}`; the first is `{}`",
        args.load,
        LOADS[0].name
    );

    let start = |(name, start): &(&'static str, Start)| {
        let mut peer = start()?;
        program::with_spinner(output.json, name, || peer.fill(interrupt))?;
        anyhow::Ok((*name, peer))
    };
    let mut peers =
        PEERS.iter().map(|peer| start(peer).context(peer.0)).collect::<anyhow::Result<Vec<_>>>()?;
    let mut report = measure(args, &loads, &mut peers, output.json, interrupt);
    let duration = Duration::from_secs(args.seconds.into());
    let has_perf = perf::is_there();
    report.add_profiles(|load, name| {
        ensure!(has_perf, "there is no perf; install linux-perf, as Debian calls it");
        let load = *loads.iter().find(|known| known.name == load).expect("it was measured");
        let (_, peer) = peers.iter_mut().find(|(known, _)| *known == name).expect("it was measured");
        program::with_spinner(output.json, "looking where CPU time goes", || {
            peer.profile(load, duration, interrupt)
        })
    });
    output.print(&report)?;
    Ok(interrupt.check(|| "while measuring".into())?)
}

fn measure(
    args: &Peers,
    loads: &[Load],
    peers: &mut [(&'static str, Peer)],
    json: bool,
    interrupt: &Interrupt,
) -> Report {
    let duration = Duration::from_secs(args.seconds.into());
    let mut samples: Vec<Vec<Vec<Sample>>> = vec![vec![Vec::new(); peers.len()]; loads.len()];
    let mut failures = Vec::new();
    for _ in 0..args.rounds {
        for (load, samples) in loads.iter().zip(&mut samples) {
            for ((name, peer), samples) in peers.iter_mut().zip(samples) {
                if interrupt.is_raised() {
                    break;
                }
                match program::with_spinner(json, name, || peer.measure(*load, duration, interrupt)) {
                    Ok(sample) => samples.extend(sample),
                    Err(_) if interrupt.is_raised() => {}
                    Err(error) => failures.push(format!("{name}, {}: {error:#}", load.name)),
                }
            }
        }
    }
    let rows = loads.iter().zip(&samples).flat_map(|(load, samples)| {
        let measured = peers.iter().zip(samples).filter(|(_, samples)| !samples.is_empty());
        measured.map(|((name, _), samples)| Row::new(*load, name, samples))
    });
    Report::new(args.rounds.into(), args.seconds.into(), rows.collect(), failures)
}
