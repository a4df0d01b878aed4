//! The commands around the copying: which LUN, which file, how far it has come.

use super::{Blocks, TransferError, range};
use crate::cli::{Stream, Transfer};
use crate::config::Config;
use crate::interrupt::Interrupt;
use crate::program;
use crate::session::Session;
use anyhow::{Context as _, bail};
use indicatif::{BinaryBytes, ProgressBar, ProgressStyle};
use initiator::{Disk, DiskError};
use serde::Serialize;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::ops::Range;
use std::time::{Duration, Instant};

impl Blocks for Disk {
    type Error = DiskError;

    fn block_len(&self) -> u32 {
        self.info().block_len
    }

    fn len_bytes(&self) -> u64 {
        self.info().len()
    }

    fn read_at(&self, lba: u64, buffer: &mut [u8]) -> Result<(), DiskError> {
        Disk::read_at(self, lba, buffer)
    }

    fn write_at(&self, lba: u64, data: &[u8]) -> Result<(), DiskError> {
        Disk::write_at(self, lba, data)
    }
}

/// `xfcoe read`
pub(crate) fn read(args: &Transfer, json: bool, interrupt: &Interrupt) -> anyhow::Result<()> {
    let is_standard = args.file == Stream::Standard;
    if json && is_standard {
        bail!("standard output can't take both the data and the JSON: name a file, or leave out --json");
    }
    let (session, lun) = open(args, interrupt)?;
    let range = range(&lun, args.offset, args.length)?;
    let mut file: Box<dyn Write> = match &args.file {
        Stream::Standard => Box::new(io::stdout().lock()),
        Stream::File(path) => {
            Box::new(File::create(path).with_context(|| format!("cannot create {}", path.display()))?)
        }
    };
    let (bar, started) = (progress_bar(json, Some(range.end - range.start)), Instant::now());
    super::read(&lun, range.clone(), &mut file, interrupt, &mut |done| bar.set_position(done))
        .map_err(plain)?;
    bar.finish_and_clear();
    session.stop();
    let summary = Summary::new(range.end - range.start, started.elapsed());
    if is_standard { Ok(write!(io::stderr(), "{summary}")?) } else { Ok(program::print(json, &summary)?) }
}

/// `xfcoe write`
pub(crate) fn write(args: &Transfer, json: bool, interrupt: &Interrupt) -> anyhow::Result<()> {
    // The file first: without it there is no need to log in.
    let (mut file, file_len): (Box<dyn Read>, _) = match &args.file {
        Stream::Standard => (Box::new(io::stdin().lock()), None),
        Stream::File(path) => {
            let cannot = || format!("cannot open {}", path.display());
            let file = File::open(path).with_context(cannot)?;
            let metadata = file.metadata().with_context(cannot)?;
            (Box::new(file), metadata.is_file().then_some(metadata.len()))
        }
    };
    let (session, lun) = open(args, interrupt)?;
    let Range { start, end } = range(&lun, args.offset, args.length)?;
    let length = args.length.map(|_| end - start);
    let total = length.map_or(file_len, |length| Some(file_len.map_or(length, |file| file.min(length))));
    if let Some(total) = total.filter(|&total| total > end - start) {
        bail!(
            "{total} bytes do not fit between byte {start} and the LUN's end at {end}; nothing was written"
        );
    }
    let (bar, started) = (progress_bar(json, total), Instant::now());
    let written = super::write(&lun, start, length, &mut file, interrupt, &mut |done| bar.set_position(done))
        .map_err(plain)?;
    lun.flush().context("the LUN did not confirm that it keeps the data (SYNCHRONIZE CACHE)")?;
    bar.finish_and_clear();
    session.stop();
    if let Some(length) = length.filter(|&length| written < length) {
        bail!("the file ended after {written} bytes, before the {length} asked for");
    }
    Ok(program::print(json, &Summary::new(written, started.elapsed()))?)
}

/// An interruption must stay one to the program's exit status.
fn plain(error: TransferError<DiskError>) -> anyhow::Error {
    match error {
        TransferError::Interrupted(interrupted) => interrupted.into(),
        other => other.into(),
    }
}

fn open(args: &Transfer, interrupt: &Interrupt) -> anyhow::Result<(Session, Disk)> {
    let session = Session::start(&Config::of_place(&args.place)?)?;
    let disk = session.find(
        &args.lun,
        args.identity.as_deref(),
        Duration::from_secs(args.timeout.into()),
        interrupt,
    )?;
    Ok((session, disk))
}

/// On a terminal only, and not beside JSON.
fn progress_bar(json: bool, total: Option<u64>) -> ProgressBar {
    match total {
        _ if json => ProgressBar::hidden(),
        Some(total) => {
            let template =
                "{bar:40} {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} left";
            ProgressBar::new(total).with_style(ProgressStyle::with_template(template).expect("a constant"))
        }
        None => {
            let template = "{spinner} {binary_bytes}, {binary_bytes_per_sec}";
            ProgressBar::new_spinner().with_style(ProgressStyle::with_template(template).expect("a constant"))
        }
    }
}

/// What was copied.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
struct Summary {
    bytes: u64,
    seconds: f64,
    mb_s: f64,
}

impl Summary {
    fn new(bytes: u64, elapsed: Duration) -> Self {
        let seconds = elapsed.as_secs_f64().max(1e-6);
        let rounded = |value: f64| (value * 1e3).round() / 1e3;
        Self { bytes, seconds: rounded(seconds), mb_s: rounded(bytes as f64 / seconds / 1e6) }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bytes, seconds, mb_s } = self;
        writeln!(f, "{} in {seconds:.3} s, {mb_s:.1} MB/s", BinaryBytes(*bytes))
    }
}
