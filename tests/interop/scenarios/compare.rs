//! Our initiator and Linux's in one guest, one after the other: at the same end of the same veth pair, with the same
//! target at its other end. That is our SAN, whose counters tell how many I/Os both have had.
//!
//! CPU time is that of the whole guest: of the initiator and what uses it, of the network, and of the SAN. The SAN's
//! process is shown apart, but the line is not sharp. On its time the kernel brings the frames that it sends all the
//! way to our initiator's ring, and a part of the way to Linux's; and while it waits for the next frame it spins, for up
//! to a millisecond.

use crate::guest::{Guest, GuestConfig, SHORT};
use crate::lab::Lab;
use crate::report::Figures;
use anyhow::{Context as _, bail, ensure};
use serde_json::Value;
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
const CABLE: &str = r#"
    cp /lab/xfcoe /lab/xfcoe-bench /run
    modprobe veth
    end="mtu 2500 numtxqueues 1 numrxqueues 1"
    ip link add init $end type veth peer san $end
    for name in init san; do
        # veth hands a VLAN tag over beside the frame, where XDP doesn't see it.
        ethtool -K $name txvlan off
        ip link set $name up
    done"#;
/// On a CPU that it has for itself as far as the others leave it.
const SAN: &str = r#"
    printf '[[targets]]\n[[targets.luns]]\nserial = "%s"\n' $SERIAL >/run/san.toml
    echo $$ >/run/san.pid
    exec taskset -c 1 /run/xfcoe san -i san -c /run/san.toml --control /run/san"#;

pub(crate) fn run(lab: &mut Lab) -> anyhow::Result<Figures> {
    lab.bring("xfcoe")?;
    lab.bring("xfcoe-bench")?;
    let mut guest = lab.guest("guest", GuestConfig { cpus: 2, ..GuestConfig::default() })?;
    guest.run(CABLE, SHORT)?;
    let san = guest.spawn(&format!("SERIAL={SERIAL}{SAN}"))?;
    guest.run("until [ -S /run/san ]; do sleep 0.1; done", SHORT).context("the SAN does not start")?;

    let bench = format!("/run/xfcoe-bench io {LUN} -i init");
    let ours = LOADS.map(|(name, load)| measure(&mut guest, &format!("{bench} {load}")).context(name));
    guest.start_fcoe("init")?;
    let disk = guest.wait_for_disk(SERIAL)?;
    let fio = format!("fio --name=compare --filename=/dev/{disk} --ioengine=libaio --direct=1 --time_based");
    let linuxs =
        LOADS.map(|(name, load)| measure(&mut guest, &format!("{fio} --norandommap {load}")).context(name));
    ensure!(!guest.has_ended(san)?, "the SAN has ended");
    guest.has_no_errors()?;

    let mut figures = Figures::default();
    for ((name, _), (ours, linuxs)) in LOADS.iter().zip(ours.into_iter().zip(linuxs)) {
        let (ours, linuxs) = (ours.context("our initiator")?, linuxs.context("Linux's initiator")?);
        figures.compare(name, "IOPS", ours.iops, linuxs.iops);
        figures.compare(name, "CPU us/IO", ours.cpu_us, linuxs.cpu_us);
        figures.compare(name, "of it SAN", ours.of_san_us, linuxs.of_san_us);
    }
    Ok(figures)
}

/// What came of a load.
#[derive(Debug)]
struct Measured {
    iops: f64,
    /// Of the whole guest for one I/O.
    cpu_us: f64,
    /// Of the SAN's process, which is part of it.
    of_san_us: f64,
}

/// Measures a load amid its run. It would run on for long, and is ended.
fn measure(guest: &mut Guest, load: &str) -> anyhow::Result<Measured> {
    let idle = Sample::take(guest)?;
    let end = Instant::now() + SHORT;
    let running = guest.spawn(&format!("echo $$ >/run/load.pid; exec {load} --runtime=300"))?;
    while Sample::take(guest)?.commands < idle.commands + UNDER_WAY {
        ensure!(Instant::now() < end, "there is no I/O within {SHORT:?}");
        if guest.has_ended(running)? {
            bail!("it does not run: {}", guest.wait(running, SHORT)?.stderr);
        }
        thread::sleep(LOOK_INTERVAL);
    }
    thread::sleep(WARM_UP);
    let first = Sample::take(guest)?;
    thread::sleep(WINDOW);
    let last = Sample::take(guest)?;
    if guest.has_ended(running)? {
        bail!("it ended early: {}", guest.wait(running, SHORT)?.stderr);
    }
    guest.run("kill $(cat /run/load.pid)", SHORT)?;
    let _ = guest.wait(running, SHORT)?;
    ensure!(last.failed_commands == first.failed_commands, "commands failed: {first:?}, {last:?}");
    let ios = (last.commands - first.commands) as f64;
    Ok(Measured {
        iops: ios / (last.uptime_s - first.uptime_s),
        cpu_us: (last.busy_s - first.busy_s) * 1e6 / ios,
        of_san_us: (last.san_s - first.san_s) * 1e6 / ios,
    })
}

/// How the guest stands.
#[derive(Debug)]
struct Sample {
    /// That the SAN has had.
    commands: u64,
    failed_commands: u64,
    uptime_s: f64,
    /// CPU time of everything, of all CPUs.
    busy_s: f64,
    /// CPU time of the SAN's process.
    san_s: f64,
}

const SAMPLE: &str = "/run/xfcoe fault /run/san show --json
                      cat /proc/uptime; head -n 1 /proc/stat; cat /proc/$(cat /run/san.pid)/stat";
/// What /proc counts CPU time in.
const TICKS_PER_S: f64 = 100.0;

impl Sample {
    fn take(guest: &mut Guest) -> anyhow::Result<Self> {
        let said = guest.run(SAMPLE, SHORT)?;
        Self::parse(&said).with_context(|| format!("`{SAMPLE}` said {said}"))
    }

    fn parse(said: &str) -> Option<Self> {
        let [summary, uptime, all, san] = said.lines().collect::<Vec<_>>()[..] else { return None };
        let summary: Value = serde_json::from_str(summary).ok()?;
        let count = |name: &str| summary[name].as_u64();
        let numbers =
            |line: &str| line.split_whitespace().filter_map(|word| word.parse().ok()).collect::<Vec<f64>>();
        // proc(5): without their names, and the state of a process.
        let [user, nice, system, _idle, _iowait, irq, softirq, ..] = numbers(all)[..] else { return None };
        let [utime, stime] = *numbers(san).get(11..13)? else { return None };
        Some(Self {
            commands: count("commands")?,
            failed_commands: count("failed_commands")?,
            uptime_s: *numbers(uptime).first()?,
            busy_s: (user + nice + system + irq + softirq) / TICKS_PER_S,
            san_s: (utime + stime) / TICKS_PER_S,
        })
    }
}
