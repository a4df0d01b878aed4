//! The demo: an initiator and a SAN in a box on a veth pair. The initiator logs in, writes a pattern over a whole
//! LUN, reads it back, and measures.
//!
//! Both ends are this process; what is between them is real: frames, rings and two network namespaces, which go
//! when the process does.

mod duplicate_mac;
pub mod report;

use crate::cli;
use crate::interrupt::Interrupt;
use crate::netns::{Cable, INITIATOR_INTERFACE, SAN_INTERFACE};
use crate::pattern::{Mismatch, Pattern};
use crate::preflight;
use crate::program;
use crate::san_thread::{Place, SanThread};
use crate::workload::{End, Figures, Order, Workload, round};
use anyhow::{Context as _, bail};
use indicatif::ProgressBar;
use initiator::{Disk, DropReason, Initiator};
use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;
use report::{Report, Run};
use san::{LunConfig, SanConfig, TargetConfig};
use sha2::{Digest, Sha256};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long the login may take. A fabric has FCFs waited for for 2 s (FC-BB-5, annex C); the rest is a safe margin.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(15);

/// How often the operator is asked whether to go on.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Bytes of the pattern that are written or read at a time.
const CHUNK_LEN: u64 = 4 << 20;

/// What is measured: latency, rate and throughput of random reads; their names, bytes and depths. Deeper reads of
/// 64 KiB would be more frames than a veth's ring holds, which drops what overflows.
const MEASUREMENTS: [(&str, usize, usize); 3] = [
    ("4 KiB reads, depth 1", 4 << 10, 1),
    ("4 KiB reads, depth 32", 4 << 10, 32),
    ("64 KiB reads, depth 4", 64 << 10, 4),
];

/// `xfcoe demo`
pub(crate) fn run(args: &cli::Demo, json: bool, interrupt: &Interrupt) -> anyhow::Result<()> {
    if let Some(cli::Scene::DuplicateMac(args)) = &args.scene {
        return duplicate_mac::run(args, json, interrupt);
    }
    preflight::demo(args.port)?;
    let cable = Cable::lay()?;
    let (initiator_cpu, san_cpu) = two_cpus()?;
    let place = Place {
        interface: SAN_INTERFACE.into(),
        kind: args.port.into(),
        namespace: Some(cable.san.clone()),
        cpu: san_cpu,
    };
    let san = SanThread::start(place, san_config(args.size))?;
    let outcome = cable.initiator.run(|| at_the_initiator(args, initiator_cpu, json, interrupt))?;
    // If the SAN had ended, that is why the initiator failed.
    let san = san.stop()?;
    let (mut report, mismatch) = outcome?;
    report.crc_errors += san.counters.dropped_crc;
    program::print(json, &report)?;
    match mismatch {
        Some(mismatch) => bail!("the LUN does not give back what was written to it: {mismatch}"),
        None if !report.verify_ok => bail!("the LUN does not give back what was written to it"),
        None => Ok(()),
    }
}

fn san_config(mebibytes: u32) -> SanConfig {
    let lun = LunConfig { size_bytes: u64::from(mebibytes) << 20, ..LunConfig::default() };
    SanConfig {
        targets: vec![TargetConfig { luns: vec![lun], ..TargetConfig::default() }],
        ..SanConfig::default()
    }
}

/// One CPU for the initiator's poll core and one for the SAN; none where they would have to share.
///
/// # Errors
/// If the kernel doesn't tell.
pub fn two_cpus() -> anyhow::Result<(Option<usize>, Option<usize>)> {
    let allowed =
        sched_getaffinity(Pid::from_raw(0)).context("cannot ask which CPUs this process may use")?;
    let mut cpus = (0..CpuSet::count()).filter(|&cpu| allowed.is_set(cpu).unwrap_or(false));
    Ok(match (cpus.next(), cpus.next()) {
        (Some(one), Some(other)) => (Some(one), Some(other)),
        _ => (None, None),
    })
}

fn at_the_initiator(
    args: &cli::Demo,
    cpu: Option<usize>,
    json: bool,
    interrupt: &Interrupt,
) -> anyhow::Result<(Report, Option<Mismatch>)> {
    let config = initiator::Config {
        kind: args.port.into(),
        cores: vec![cpu],
        capture: args.capture.clone(),
        ..initiator::Config::new(INITIATOR_INTERFACE)
    };
    let started = Instant::now();
    let initiator = Initiator::start(config)?;
    let disk = first_disk(&initiator, interrupt)?;
    let login = started.elapsed();

    let verification = verify(&disk, json, interrupt)?;
    let mut runs = Vec::new();
    if verification.is_ok() {
        for (name, io_len, depth) in MEASUREMENTS {
            let workload = Workload {
                order: Order::Random,
                read_percent: 100,
                io_len,
                depth,
                in_place: false,
                range: 0..disk.info().len(),
                end: End::After(Duration::from_secs(args.seconds.into())),
            };
            let measured = program::with_spinner(json, name, || workload.run(&disk, &mut None, interrupt));
            let measured = measured.with_context(|| format!("measuring {name}"))?;
            interrupt.check(|| format!("while measuring {name}"))?;
            runs.push(Run { name, figures: Figures::new(io_len, &measured.reads, measured.elapsed) });
        }
    }
    let core = initiator.report()?;
    initiator.stop();
    let report = Report {
        login_ms: round(login.as_secs_f64() * 1e3, 1),
        verified_bytes: disk.info().len(),
        verify_ok: verification.is_ok(),
        written_sha256: verification.written,
        read_sha256: verification.read,
        crc_errors: core.counters.dropped(DropReason::Crc),
        runs,
        frames: core.frames.received_frames + core.frames.sent_frames,
    };
    Ok((report, verification.mismatch))
}

fn first_disk(initiator: &Initiator, interrupt: &Interrupt) -> anyhow::Result<Disk> {
    let deadline = Instant::now() + LOGIN_TIMEOUT;
    loop {
        if let Some(disk) = initiator.wait_for_disks(LOOK_INTERVAL).first() {
            return Ok(disk.clone());
        }
        interrupt.check(|| "while logging in".into())?;
        if Instant::now() >= deadline {
            let obstacle =
                initiator.inventory().obstacle().map_or_else(String::new, |what| format!(": {what}"));
            bail!("no disk in {LOGIN_TIMEOUT:?}{obstacle}; -v logs the steps of the login");
        }
    }
}

/// What came of writing a pattern and reading it back.
struct Verification {
    /// SHA-256 of what was written.
    written: [u8; 32],
    /// SHA-256 of what was read.
    read: [u8; 32],
    /// The first block that is not as it was written.
    mismatch: Option<Mismatch>,
}

impl Verification {
    /// Two checks that have nothing in common but the data.
    fn is_ok(&self) -> bool {
        self.written == self.read && self.mismatch.is_none()
    }
}

/// Writes the pattern over the whole disk and reads it back.
fn verify(disk: &Disk, json: bool, interrupt: &Interrupt) -> anyhow::Result<Verification> {
    let (len, block_len) = (disk.info().len(), u64::from(disk.info().block_len));
    let bar = if json { ProgressBar::hidden() } else { ProgressBar::new(2 * len) };
    let chunks = || {
        let bar = bar.clone();
        (0..len).step_by(CHUNK_LEN as usize).map(move |at| {
            bar.inc(CHUNK_LEN.min(len - at));
            (at / block_len, CHUNK_LEN.min(len - at) as usize)
        })
    };
    // Another run's data must not pass for this one's.
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
    let pattern = Pattern::new(seed, disk.info().block_len as usize);
    let mut buffer = vec![0; CHUNK_LEN as usize];
    let (mut written, mut read) = (Sha256::new(), Sha256::new());
    let mut mismatch = None;
    for (lba, chunk_len) in chunks() {
        interrupt.check(|| "while writing the pattern".into())?;
        pattern.fill(lba, &mut buffer[..chunk_len]);
        written.update(&buffer[..chunk_len]);
        disk.write_at(lba, &buffer[..chunk_len])
            .with_context(|| format!("writing the pattern at LBA {lba}"))?;
    }
    disk.flush().context("flushing the pattern")?;
    for (lba, chunk_len) in chunks() {
        interrupt.check(|| "while reading the pattern back".into())?;
        // What is not read must not look like what was written.
        buffer[..chunk_len].fill(0);
        disk.read_at(lba, &mut buffer[..chunk_len])
            .with_context(|| format!("reading the pattern back at LBA {lba}"))?;
        read.update(&buffer[..chunk_len]);
        mismatch = mismatch.or(pattern.check(lba, &buffer[..chunk_len]).err());
    }
    bar.finish_and_clear();
    Ok(Verification { written: written.finalize().into(), read: read.finalize().into(), mismatch })
}
