//! `xfcoe-bench exports`: what those have of a disk's speed to whom it is handed out.

mod client;
mod nbd;
mod report;

use crate::cpu_time::{self, CpuTime};
use crate::page::Output;
use anyhow::Context as _;
use clap::Args;
use client::{Client, Fio, Library, Reads, VhostUser};
use export::vhost_user::Trust;
use export::{BlockDevice, Export};
use initiator::Initiator;
use nbd::Nbd;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::resource::UsageWho;
use nix::unistd::Pid;
use report::{Report, Row};
use san::SanConfig;
use std::fs;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use xfcoe::exports::DiskDevice;
use xfcoe::interrupt::Interrupt;
use xfcoe::netns::{Cable, INITIATOR_INTERFACE, SAN_INTERFACE};
use xfcoe::preflight::{self, PortKind};
use xfcoe::program;
use xfcoe::san_thread::{Place, SanThread};
use xfcoe::sockets;

/// `xfcoe-bench exports`
#[derive(Debug, Args)]
#[command(
    long_about = "What those have of a disk's speed to whom it is handed out: 4 KiB random reads of a disk of the SAN in \
                  a box, over a veth pair that goes with the program. In each round the disk is read by a thread that \
                  uses the library alone, by a guest's driver (vhost-user-blk, without a virtual machine), and by NBD \
                  at a unix socket, by a client that does no more than it has to and, where fio is installed, by fio's engine.\n\n\
                  The SAN has a CPU of its own; the host, which is all the rest, has the others: of two CPUs it has \
                  one, and the poll core, the server's thread and the client take turns on it. So have the poll core \
                  and the client when the library is alone."
)]
pub(crate) struct Exports {
    /// Beside the library only those whose name begins so
    #[arg(default_value = "", hide_default_value = true)]
    client: String,
    /// How often each reads at each depth; medians count
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// How long it does so each time
    #[arg(long, value_name = "MS", default_value_t = 500, value_parser = clap::value_parser!(u32).range(10..))]
    round_ms: u32,
    /// Reads that are out at any time; of several, such as 1,32, each is measured
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [1, 32],
          value_parser = clap::value_parser!(u16).range(1..=64))]
    iodepth: Vec<u16>,
    /// How the ports are opened
    #[arg(long, value_enum, default_value_t)]
    port: PortKind,
}

/// The export's name.
const EXPORT: &str = "disk";
const BLOCK_LEN: usize = 4096;
/// Blocks that are read, a power of two: more than a CPU's caches hold.
const BLOCKS: u64 = 1 << 14;
/// The most reads that are out.
const MAX_DEPTH: usize = 64;

/// How long the initiator may take until it has found the disk.
const LOGIN: Duration = Duration::from_secs(15);
/// How often a server is told to end.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Those who read.
const LIBRARY: &str = "library alone";
const VHOST_USER: &str = "vhost-user, a guest's driver";
const NBD: &str = "NBD, a lean client";
const NBD_FIO: &str = "NBD, fio";

/// What a round takes of CPUs, in microseconds an I/O.
#[derive(Clone, Copy, PartialEq, Debug, Default, serde::Serialize)]
struct CpuUs {
    /// The SAN's thread.
    san: f64,
    /// The poll core's.
    core: f64,
    /// The thread of the connection or the device, and control's few moments.
    server: f64,
    /// Who reads.
    client: f64,
}

/// What came of a round.
#[derive(Clone, Copy, Debug)]
struct Sample {
    iops: f64,
    cpu: CpuUs,
}

pub(crate) fn run(args: &Exports, output: &Output, interrupt: &Interrupt) -> anyhow::Result<()> {
    preflight::demo(args.port)?;
    let (san_cpu, host_cpus) = cpus()?;
    let cable = Cable::lay()?;
    let place = Place {
        interface: SAN_INTERFACE.into(),
        kind: args.port.into(),
        namespace: Some(cable.san.clone()),
        cpu: san_cpu,
    };
    let san = SanThread::start(place, SanConfig::default())?;
    let report = cable.initiator.run(|| {
        // Threads and processes that are started here have the same ones.
        sched_setaffinity(Pid::from_raw(0), &host_cpus).context("cannot pin the host to its CPUs")?;
        on_the_host(args, output.json, interrupt)
    })?;
    // If the SAN had ended, that is why the host failed.
    san.stop()?;
    let mut report = report?;
    report.san_has_own_cpu = san_cpu.is_some();
    output.print(&report)?;
    Ok(interrupt.check(|| "while measuring".into())?)
}

/// The SAN's CPU, and the host's. Of one alone, both have that.
fn cpus() -> anyhow::Result<(Option<usize>, CpuSet)> {
    let mut host =
        sched_getaffinity(Pid::from_raw(0)).context("cannot ask which CPUs this process may use")?;
    let allowed: Vec<usize> = (0..CpuSet::count()).filter(|&cpu| host.is_set(cpu).unwrap_or(false)).collect();
    if let [san, _, ..] = allowed[..] {
        host.unset(san)?;
        return Ok((Some(san), host));
    }
    Ok((None, host))
}

fn on_the_host(args: &Exports, json: bool, interrupt: &Interrupt) -> anyhow::Result<Report> {
    let initiator = Initiator::start(initiator::Config {
        kind: args.port.into(),
        ..initiator::Config::new(INITIATOR_INTERFACE)
    })?;
    let disk = initiator.wait_for_disks(LOGIN).into_iter().next().context("the initiator finds no disk")?;
    let blocks = BLOCKS * BLOCK_LEN as u64 / u64::from(disk.info().block_len);
    let device: Arc<dyn BlockDevice> = Arc::new(DiskDevice::new(disk, 0..blocks, false));
    let folder = Folder::new()?;
    let export = Arc::new(Export::new(EXPORT, Arc::clone(&device)));
    let (nbd_path, vhost_user_path) = (folder.0.join("nbd"), folder.0.join("vhost-user"));
    let nbd = export::nbd::Server::new(export::nbd::Listener::Unix(UnixListener::bind(&nbd_path)?))?;
    nbd.add(Arc::clone(&export));
    let vhost_user = export::vhost_user::Server::new(
        UnixListener::bind(&vhost_user_path)?,
        Arc::clone(&export),
        Trust::Sealed,
    )?;
    let is_over = AtomicBool::new(false);
    let report = thread::scope(|scope| {
        let servers = thread::Builder::new().name("servers".into()).spawn_scoped(scope, || {
            while !is_over.load(Ordering::Relaxed) {
                sockets::serve(&[&nbd, &vhost_user], LOOK_INTERVAL)?;
            }
            anyhow::Ok(())
        })?;
        // By a panic, too.
        let end = Ends(&is_over);
        let report = measure(args, &*device, &nbd_path, &vhost_user_path, json, interrupt);
        drop(end);
        servers.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)).and(report)
    });
    export.close();
    initiator.stop();
    report
}

fn measure(
    args: &Exports,
    device: &dyn BlockDevice,
    nbd: &Path,
    vhost_user: &Path,
    json: bool,
    interrupt: &Interrupt,
) -> anyhow::Result<Report> {
    let mut library = Library::new(device, MAX_DEPTH)?;
    program::with_spinner(json, "writing the disk", || library.fill())?;
    let mut clients: Vec<(&'static str, Box<dyn Client>)> = vec![
        (LIBRARY, Box::new(library)),
        (VHOST_USER, Box::new(VhostUser::connect(vhost_user)?)),
        (NBD, Box::new(Nbd::connect(nbd)?)),
    ];
    if client::has_fio() {
        clients.push((NBD_FIO, Box::new(Fio(nbd.into()))));
    }
    clients.retain(|(name, _)| *name == LIBRARY || name.starts_with(&args.client));
    let duration = Duration::from_millis(args.round_ms.into());
    let mut rows = Vec::new();
    for &depth in &args.iodepth {
        let mut samples = vec![Vec::new(); clients.len()];
        for _ in 0..args.rounds {
            for ((name, client), samples) in clients.iter_mut().zip(&mut samples) {
                interrupt.check(|| "while measuring".into())?;
                let read = || sample(&mut **client, depth.into(), duration);
                samples.push(program::with_spinner(json, name, read).context(*name)?);
            }
        }
        let names = clients.iter().map(|(name, _)| *name);
        rows.extend(names.zip(&samples).map(|(name, mine)| Row::new(depth, name, mine, &samples[0])));
    }
    Ok(Report::new(args.rounds, args.round_ms, rows))
}

/// Has one of them read, and looks at what that takes.
fn sample(client: &mut dyn Client, depth: usize, duration: Duration) -> anyhow::Result<Sample> {
    let used = || {
        let (san, core) = (cpu_time::of_threads_s("san"), cpu_time::of_threads_s("core-0"));
        (san, core, cpu_time::of_this_thread_s(), CpuTime::of(UsageWho::RUSAGE_SELF).total_s())
    };
    let before = used();
    let Reads { count, took, child_cpu_s } = client.read(depth, duration)?;
    let after = used();
    let (san, core, this) = (after.0 - before.0, after.1 - before.1, after.2 - before.2);
    // Of connections that have ended, only the process as a whole tells.
    let others = (after.3 - before.3 - san - core - this).max(0.0);
    let us = |seconds: f64| seconds * 1e6 / count.max(1) as f64;
    let cpu = CpuUs { san: us(san), core: us(core), server: us(others), client: us(this + child_cpu_s) };
    Ok(Sample { iops: count as f64 / took.as_secs_f64(), cpu })
}

/// Ends those who look at a flag.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A folder that goes with this.
struct Folder(PathBuf);

impl Folder {
    fn new() -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("xfcoe-bench-{}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left there harms nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}
