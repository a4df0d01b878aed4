//! `xfcoe-bench io`: a workload on a LUN, measured and, if wanted, verified.

mod report;

use crate::cpu_time::CpuTime;
use crate::page::Output;
use anyhow::{Context as _, bail};
use clap::error::ErrorKind;
use clap::{Args, CommandFactory, ValueEnum};
use initiator::{Disk, DiskInfo};
use report::{Report, Run, Stalls, Verified};
use std::io::{self, Write as _};
use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use xfcoe::cli::{Amount, LunName, Place};
use xfcoe::config::Config;
use xfcoe::interrupt::Interrupt;
use xfcoe::program;
use xfcoe::session::Session;
use xfcoe::transfer;
use xfcoe::workload::{End, Ledger, Order, Workload};

/// `xfcoe-bench io`
#[derive(Debug, Args)]
#[command(
    long_about = "What I/O to a LUN takes: rate, latency and CPU time. Options have fio's names, units and \
                  defaults; a run takes its --runtime and begins the range again when it is through (fio's \
                  time_based).\n\n\
                  Writes destroy what is on the LUN: they take a --rw that writes, or --verify, and a LUN that is \
                  named."
)]
pub(crate) struct Io {
    /// The LUN: TARGET/NUMBER, such as 20:00:02:fc:f0:00:01:01/0, or its VPD 83 identifier, as `xfcoe list` shows
    /// them. May be left out to read from the only one
    lun: Option<LunName>,
    /// What is done
    #[arg(long, value_enum, default_value_t)]
    rw: Rw,
    /// How many of a hundred I/Os of randrw read; default: 50
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    rwmixread: Option<u8>,
    /// Size of an I/O: 4096, 4k, 64KiB, 8blocks
    #[arg(long, value_name = "AMOUNT", default_value = "4k")]
    bs: Amount,
    /// I/Os that are out at any time; of several, such as 1,8,32, each is measured
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [1],
          value_parser = clap::value_parser!(u16).range(1..=1024))]
    iodepth: Vec<u16>,
    /// How long it takes, at each depth
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    runtime: u32,
    /// Take read data where it was received, and copy none of it
    #[arg(long)]
    in_place: bool,
    /// Where the range begins that is used
    #[arg(long, value_name = "AMOUNT", default_value = "0")]
    offset: Amount,
    /// How long the range is; default: up to the end of the LUN
    #[arg(long, value_name = "AMOUNT")]
    size: Option<Amount>,
    /// Write a pattern over the range first, compare all that is read with what was written last, and read the range
    /// at the end if there were writes. This writes whatever --rw says
    #[arg(long)]
    verify: bool,
    /// A process of this machine that is the target, such as `xfcoe san`: its CPU time is told, too
    #[arg(long, value_name = "PID")]
    target_pid: Option<u32>,
    /// Where the fabric is.
    #[command(flatten)]
    place: Place,
    /// How long to wait for the LUN
    #[arg(long, value_name = "S", default_value_t = 15)]
    timeout: u32,
}

/// What is done, by fio's names.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
enum Rw {
    /// Random reads
    #[default]
    #[value(name = "randread")]
    RandomRead,
    /// Random writes
    #[value(name = "randwrite")]
    RandomWrite,
    /// Sequential reads
    Read,
    /// Sequential writes
    Write,
    /// Random reads and writes
    #[value(name = "randrw")]
    RandomMix,
}

impl Rw {
    fn order(self) -> Order {
        match self {
            Self::RandomRead | Self::RandomWrite | Self::RandomMix => Order::Random,
            Self::Read | Self::Write => Order::Sequential,
        }
    }

    fn read_percent(self, of_mix: u8) -> u8 {
        match self {
            Self::RandomRead | Self::Read => 100,
            Self::RandomWrite | Self::Write => 0,
            Self::RandomMix => of_mix,
        }
    }
}

/// What fio does without `--rwmixread`.
const DEFAULT_MIX: u8 = 50;

pub(crate) fn run(args: &Io, output: &Output, interrupt: &Interrupt) -> anyhow::Result<()> {
    check_usage(args);
    let session = Session::start(&Config::of_place(&args.place)?)?;
    let timeout = Duration::from_secs(args.timeout.into());
    let disk = match &args.lun {
        Some(name) => session.find(name, None, timeout, interrupt)?,
        None => session.find_only(timeout, interrupt)?,
    };
    let workload = workload(args, &disk)?;
    if args.writes() {
        let Range { start, end } = workload.range;
        writeln!(io::stderr(), "xfcoe-bench: writing over bytes {start} to {end} of LUN {disk}")?;
    }
    let (runs, verified) = if args.verify {
        let (runs, verified) = verified(args, &workload, &session, &disk, output.json, interrupt)?;
        (runs, Some(verified))
    } else {
        (measure(args, &workload, &session, &disk, &mut None, output.json, interrupt)?, None)
    };
    session.stop();
    output.print(&Report::new(&disk, args, &workload, &runs, verified))?;
    Ok(interrupt.check(|| "while measuring".into())?)
}

/// Ends the program where options don't go with each other, as clap does where one is wrong.
fn check_usage(args: &Io) {
    let refuse = |kind, what: &str| crate::Cli::command().error(kind, what).exit();
    if args.rwmixread.is_some() && args.rw != Rw::RandomMix {
        refuse(ErrorKind::ArgumentConflict, "--rwmixread goes with --rw randrw");
    }
    if args.in_place && args.read_percent() == 0 {
        refuse(ErrorKind::ArgumentConflict, "--in-place is for reads, and this --rw has none");
    }
    if args.lun.is_none() && args.writes() {
        refuse(
            ErrorKind::MissingRequiredArgument,
            "this writes, which destroys what is on the LUN: name the LUN; `xfcoe list` shows them",
        );
    }
}

impl Io {
    fn read_percent(&self) -> u8 {
        self.rw.read_percent(self.rwmixread.unwrap_or(DEFAULT_MIX))
    }

    fn writes(&self) -> bool {
        self.verify || self.read_percent() < 100
    }
}

/// What the options mean for this disk, at the greatest depth.
fn workload(args: &Io, disk: &Disk) -> anyhow::Result<Workload> {
    let &DiskInfo { block_len, max_transfer_len, write_protected, .. } = disk.info();
    if write_protected && args.writes() {
        bail!("the LUN is write-protected");
    }
    let range = transfer::range(disk, args.offset, args.size)?;
    if !range.start.is_multiple_of(block_len.into()) {
        bail!("--offset {} is no whole number of the LUN's blocks of {block_len} bytes", range.start);
    }
    let io_len = args.bs.to_bytes(block_len).and_then(|len| usize::try_from(len).ok()).unwrap_or(usize::MAX);
    if io_len == 0 || !io_len.is_multiple_of(block_len as usize) {
        bail!("--bs {io_len} is no whole number of the LUN's blocks of {block_len} bytes");
    }
    if io_len > max_transfer_len {
        bail!("--bs {io_len} is more than the {max_transfer_len} bytes that one command moves here");
    }
    Ok(Workload {
        order: args.rw.order(),
        read_percent: args.read_percent(),
        io_len,
        depth: args.iodepth.iter().copied().max().unwrap_or(1).into(),
        in_place: args.in_place,
        range,
        end: End::After(Duration::from_secs(args.runtime.into())),
    })
}

/// Measures between writing a pattern over the whole range and, if that has changed, reading it back.
fn verified(
    args: &Io,
    workload: &Workload,
    session: &Session,
    disk: &Disk,
    json: bool,
    interrupt: &Interrupt,
) -> anyhow::Result<(Vec<Run>, Verified)> {
    // Another run's data must not pass for this one's.
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
    let mut ledger =
        Some(Ledger::new(workload, disk.info().block_len, seed).context("the LUN can't be verified")?);
    let pass = |name, read_percent, ledger: &mut Option<Ledger>| -> anyhow::Result<u64> {
        let whole = Workload { order: Order::Sequential, read_percent, end: End::Once, ..workload.clone() };
        let work = || whole.run(disk, ledger, interrupt);
        Ok(program::with_spinner(json, name, work).context(name)?.reads.len())
    };
    let writing = "writing the pattern";
    pass(writing, 0, &mut ledger)?;
    interrupt.check(|| format!("while {writing}"))?;
    disk.flush().context("flushing the pattern")?;
    let runs = measure(args, workload, session, disk, &mut ledger, json, interrupt)?;
    let mut verified = Verified { reads: runs.iter().map(|run| run.measured.reads.len()).sum() };
    if workload.read_percent < 100 && !interrupt.is_raised() {
        verified.reads += pass("reading the pattern back", 100, &mut ledger)?;
    }
    Ok((runs, verified))
}

/// Measures at one depth after the other.
fn measure(
    args: &Io,
    workload: &Workload,
    session: &Session,
    disk: &Disk,
    ledger: &mut Option<Ledger>,
    json: bool,
    interrupt: &Interrupt,
) -> anyhow::Result<Vec<Run>> {
    let mut runs = Vec::new();
    for &iodepth in &args.iodepth {
        let workload = Workload { depth: iodepth.into(), ..workload.clone() };
        let work = || workload.run(disk, ledger, interrupt);
        let target_cpu = || args.target_pid.map(CpuTime::of_process).transpose().context("--target-pid");
        let (stalls, target) = (Stalls::until_now(session), target_cpu()?);
        let measured = program::with_spinner(json, "measuring", work).context("measuring")?;
        runs.push(Run {
            iodepth,
            measured,
            stalls: Stalls::until_now(session).since(&stalls),
            target_cpu: target_cpu()?.zip(target).map(|(now, before)| now.since(before)),
        });
        if interrupt.is_raised() {
            break;
        }
    }
    Ok(runs)
}
