//! Our initiator and Linux's in one guest, one after the other, by the same interface and with the same target: our SAN,
//! whose counters tell how many I/Os both have had.
//!
//! CPU time is that of the whole guest: of the initiator and what uses it, of the network, and of the SAN if it is in
//! the guest.

pub(super) mod nic;
pub(super) mod veth;

use crate::guest::{Guest, GuestConfig, SHORT};
use crate::lab::Lab;
use crate::report::Figures;
use anyhow::{Context as _, bail, ensure};
use std::thread;
use std::time::{Duration, Instant};

/// What is done, in words that fio and `xfcoe-bench io` have in common.
const LOADS: [(&str, &str); 4] = [
    ("4 KiB random reads, depth 1", "--rw=randread --bs=4k --iodepth=1"),
    ("4 KiB random reads, depth 32", "--rw=randread --bs=4k --iodepth=32"),
    ("64 KiB random reads, depth 8", "--rw=randread --bs=64k --iodepth=8"),
    ("64 KiB random writes, depth 8", "--rw=randwrite --bs=64k --iodepth=8"),
];
/// From a load's first commands on.
const WARM_UP: Duration = Duration::from_secs(1);
/// How long it is measured then.
const WINDOW: Duration = Duration::from_secs(4);
/// More commands than a login and a scan take.
const UNDER_WAY: u64 = 100;
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

const SERIAL: &str = "compare-disk";
const LUN: &str = "20:00:02:fc:f0:00:01:01/0";

/// The target, wherever it runs.
trait Target {
    /// What it has had.
    fn counts(&self, guest: &mut Guest) -> anyhow::Result<Counts>;
}

/// What a target has had.
#[derive(Debug)]
struct Counts {
    commands: u64,
    failed_commands: u64,
    /// CPU time of its process, if it is in the guest.
    cpu_s: Option<f64>,
}

/// Boots a guest that has our programs in `/run`.
fn guest(lab: &mut Lab) -> anyhow::Result<Guest> {
    lab.bring("xfcoe")?;
    lab.bring("xfcoe-bench")?;
    let mut guest = lab.guest("guest", GuestConfig { cpus: 2, ..GuestConfig::default() })?;
    guest.run("cp /lab/xfcoe /lab/xfcoe-bench /run", SHORT)?;
    Ok(guest)
}

/// Has both initiators do all loads at an interface, whose target's disk is [`LUN`] with the serial number [`SERIAL`].
fn compare(guest: &mut Guest, interface: &str, target: &impl Target) -> anyhow::Result<Figures> {
    let ours = measure_all(guest, target, &format!("/run/xfcoe-bench io {LUN} -i {interface}"))
        .context("our initiator")?;
    guest.start_fcoe(interface)?;
    let disk = guest.wait_for_disk(SERIAL)?;
    let fio = format!("fio --name=compare --filename=/dev/{disk} --ioengine=libaio --direct=1 --time_based");
    let linuxs = measure_all(guest, target, &format!("{fio} --norandommap")).context("Linux's initiator")?;
    guest.has_no_errors()?;

    let mut figures = Figures::default();
    for ((name, _), (ours, linuxs)) in LOADS.into_iter().zip(ours.into_iter().zip(linuxs)) {
        figures.compare(name, "IOPS", ours.iops, linuxs.iops);
        figures.compare(name, "CPU us/IO", ours.cpu_us, linuxs.cpu_us);
        if let (Some(ours), Some(linuxs)) = (ours.of_target_us, linuxs.of_target_us) {
            figures.compare(name, "of it SAN", ours, linuxs);
        }
    }
    Ok(figures)
}

/// What came of a load.
#[derive(Debug)]
struct Measured {
    iops: f64,
    /// Of the whole guest for one I/O.
    cpu_us: f64,
    /// Of the target's process, where that is part of it.
    of_target_us: Option<f64>,
}

/// Has a tool do all loads.
fn measure_all(guest: &mut Guest, target: &impl Target, tool: &str) -> anyhow::Result<Vec<Measured>> {
    let measure = |(name, load)| measure(guest, target, &format!("{tool} {load}")).context(name);
    LOADS.into_iter().map(measure).collect()
}

/// Measures a load amid its run. It would run on for long, and is ended.
fn measure(guest: &mut Guest, target: &impl Target, load: &str) -> anyhow::Result<Measured> {
    let idle = target.counts(guest)?.commands;
    let end = Instant::now() + SHORT;
    let running = guest.spawn(&format!("echo $$ >/run/load.pid; exec {load} --runtime=300"))?;
    while target.counts(guest)?.commands < idle + UNDER_WAY {
        ensure!(Instant::now() < end, "there is no I/O within {SHORT:?}");
        if guest.has_ended(running)? {
            bail!("it does not run: {}", guest.wait(running, SHORT)?.stderr);
        }
        thread::sleep(LOOK_INTERVAL);
    }
    thread::sleep(WARM_UP);
    let first = Sample::take(guest, target)?;
    thread::sleep(WINDOW);
    let last = Sample::take(guest, target)?;
    if guest.has_ended(running)? {
        bail!("it ended early: {}", guest.wait(running, SHORT)?.stderr);
    }
    guest.run("kill $(cat /run/load.pid)", SHORT)?;
    let _ = guest.wait(running, SHORT)?;
    let (begin, end) = (first.target, last.target);
    ensure!(end.failed_commands == begin.failed_commands, "commands failed: {begin:?}, {end:?}");
    let ios = (end.commands - begin.commands) as f64;
    let us_per_io = |seconds: f64| seconds * 1e6 / ios;
    Ok(Measured {
        iops: ios / (last.uptime_s - first.uptime_s),
        cpu_us: us_per_io(last.busy_s - first.busy_s),
        of_target_us: end.cpu_s.zip(begin.cpu_s).map(|(end, begin)| us_per_io(end - begin)),
    })
}

/// How guest and target stand.
#[derive(Debug)]
struct Sample {
    target: Counts,
    uptime_s: f64,
    /// CPU time of everything in the guest, of all its CPUs.
    busy_s: f64,
}

/// What /proc counts CPU time in.
const TICKS_PER_S: f64 = 100.0;

impl Sample {
    fn take(guest: &mut Guest, target: &impl Target) -> anyhow::Result<Self> {
        let target = target.counts(guest)?;
        let said = guest.run("cat /proc/uptime; head -n 1 /proc/stat", SHORT)?;
        // proc(5), without what the second line begins with.
        let numbers: Vec<f64> = said.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [uptime_s, _, user, nice, system, _idle, _iowait, irq, softirq, ..] = numbers[..] else {
            bail!("/proc/uptime and /proc/stat say {said}");
        };
        Ok(Self { target, uptime_s, busy_s: (user + nice + system + irq + softirq) / TICKS_PER_S })
    }
}
