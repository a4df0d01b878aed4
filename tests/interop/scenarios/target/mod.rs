//! Our initiator and the kernel's target (tcm_fc on LIO): what is done with its disks, whatever is between them.

pub(super) mod fabric;
pub(super) mod mtu1500;
pub(super) mod vn2vn;

use crate::capture::Captured;
use crate::guest::Guest;
use crate::lab::Lab;
use crate::login::{FRAMES, Login};
use anyhow::{Context as _, bail, ensure};
use fc::wire::Wwn;
use fc::wire::scsi::{AdditionalSense, SenseKey};
use initiator::{Disk, DiskError, Initiator, Request};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Our WWPN, below those that the kernel makes of its MAC addresses.
const LOWER: Wwn = Wwn::from_u64(0x2000_02fc_f000_0001);
/// Above them.
const HIGHER: Wwn = Wwn::from_u64(0x2000_02fc_f000_fff1);
/// How long a login and a scan may take: in a fabric 7 s, when the machine has nothing else to do.
const LOGIN: Duration = Duration::from_secs(30);
/// How long one request may take, and how long it may take a disk to come back.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between looks whether a disk is back.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// As much of each disk as is looked at when it is back.
const SAMPLE_LEN: usize = 256 << 10;

/// The target's disks, which `guest/target` makes.
struct Disks {
    /// Memory.
    memory: Disk,
    /// A file: blocks of 4 KiB, and it can be unmapped.
    file: Disk,
    /// A block device.
    device: Disk,
}

impl Disks {
    /// Waits for them, and looks whether they are what they should be.
    fn wait(initiator: &Initiator) -> anyhow::Result<Self> {
        let found = initiator.wait_for_disks(LOGIN);
        let disk = |serial: &str, block_len: u32, len: u64| {
            let is_it = |disk: &&Disk| disk.info().serial.as_deref() == Some(serial);
            let Some(disk) = found.iter().find(is_it) else {
                bail!("there is no disk `{serial}`: {:#?}", initiator.inventory());
            };
            let info = disk.info();
            ensure!(
                (info.vendor.as_str(), info.block_len, info.len()) == ("LIO-ORG", block_len, len),
                "the disk `{serial}` is another one: {info:?}"
            );
            Ok(disk.clone())
        };
        Ok(Self {
            memory: disk("memory", 512, 8 << 20)?,
            file: disk("file", 4096, 4 << 20)?,
            device: disk("device", 512, 2 << 20)?,
        })
    }

    fn all(&self) -> [&Disk; 3] {
        [&self.memory, &self.file, &self.device]
    }

    /// Moves data in single requests, then writes all of each disk and reads it again. [`Self::wait_until_back`] knows
    /// what it has written.
    fn write_and_read(&self) -> anyhow::Result<()> {
        single_requests(&self.memory)?;
        single_requests(&self.file)?;
        for disk in self.all() {
            disk.write_at(0, &content(disk))?;
            disk.flush()?;
        }
        self.all().into_iter().try_for_each(|disk| compare(disk, &content(disk)))
    }

    /// Waits until the disks can be used again after an outage, and tells how long that takes. What was written before
    /// is there.
    fn wait_until_back(&self) -> anyhow::Result<Duration> {
        let started = Instant::now();
        let mut block = [0; 512];
        // What is out when a login ends has ended with it, and what comes after it is told so.
        while let Err(error) = self.memory.read_at(0, &mut block) {
            ensure!(matches!(error, DiskError::Transport(_)), "the target is back, but {error}");
            ensure!(started.elapsed() < PATIENCE, "no disk after {PATIENCE:?}: {error}");
            thread::sleep(LOOK_INTERVAL);
        }
        let took = started.elapsed();
        for disk in self.all() {
            let sample = &content(disk)[..SAMPLE_LEN];
            compare(disk, sample)?;
            disk.write_at(0, sample)?;
        }
        Ok(took)
    }

    /// Asks for what the target refuses: a block that it has no longer, and a command that it knows no longer.
    fn be_refused(&self, guest: &mut Guest) -> anyhow::Result<()> {
        let last = self.device.info().blocks - 1;
        guest.shrink_device()?;
        let read = self.device.read_at(last, &mut [0; 512]);
        expect_sense(read, AdditionalSense::LBA_OUT_OF_RANGE).context("a read beyond the end")?;

        self.file.discard(0, 16)?;
        compare(&self.file, &[0; 16 * 4096]).context("blocks were unmapped")?;
        self.file.write_at(0, &content(&self.file)[..16 * 4096])?;
        guest.forbid_unmap()?;
        let unmap = self.file.discard(0, 16);
        expect_sense(unmap, AdditionalSense::INVALID_OPERATION_CODE).context("an UNMAP")
    }
}

/// What a disk holds after [`Disks::write_and_read`].
fn content(disk: &Disk) -> Vec<u8> {
    tests::noise(disk.info().len() as usize, u64::from(disk.paths()[0].id.lun.0[1]))
}

fn compare(disk: &Disk, data: &[u8]) -> anyhow::Result<()> {
    let mut back = vec![0; data.len()];
    disk.read_at(0, &mut back)?;
    let serial = disk.info().serial.as_deref().unwrap_or_default();
    match data.iter().zip(&back).position(|(written, read)| written != read) {
        Some(at) => bail!("byte {at} of the disk `{serial}` is not what was written"),
        None => Ok(()),
    }
}

/// Moves data by requests of one block to 1 MiB, most of them no multiples of 4 KiB, of frames or of each other, and
/// at such places.
fn single_requests(disk: &Disk) -> anyhow::Result<()> {
    let block_len = disk.info().block_len as usize;
    for (lba, blocks) in [(0, 1), (1, 1), (7, 3), (5, 8), (9, 127), (3, 129), (11, (1 << 20) / block_len)] {
        let data = tests::noise(blocks * block_len, lba);
        let written = request(disk, Request::Write { lba, buffer: data.clone().into() });
        written.with_context(|| format!("a write of {blocks} blocks at {lba}"))?;
        let read = request(disk, Request::Read { lba, buffer: vec![0; data.len()].into() });
        let read = read.with_context(|| format!("a read of {blocks} blocks at {lba}"))?;
        ensure!(read[..] == data, "{blocks} blocks at {lba} come back otherwise");
    }
    Ok(())
}

/// Has one request done, and returns its buffer.
fn request(disk: &Disk, request: Request) -> anyhow::Result<Box<[u8]>> {
    let mut queue = disk.queue(1)?;
    queue.submit(0, request).map_err(|refused| refused.reason)?;
    queue.kick();
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(done) = queue.poll() {
            done.result?;
            return done.buffer.context("it has a buffer");
        }
        let left = end.saturating_duration_since(Instant::now());
        ensure!(!left.is_zero(), "no end within {PATIENCE:?}");
        queue.wait(left)?;
    }
}

fn expect_sense(result: Result<(), DiskError>, additional: AdditionalSense) -> anyhow::Result<()> {
    match result {
        Ok(()) => bail!("it is done instead of {additional}"),
        Err(DiskError::Scsi { sense: Some(sense), .. })
            if (sense.key, sense.additional) == (SenseKey::ILLEGAL_REQUEST, additional) =>
        {
            Ok(())
        }
        Err(error) => bail!("{additional} is expected, but {error}"),
    }
}

/// The time as captures have it.
fn now_s() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// What our initiator at the port `init`, with the address `vn_port`, said from this time on to log in.
fn login(lab: &mut Lab, since_s: f64, vn_port: &str) -> anyhow::Result<Login> {
    let enode = lab.mac("init").to_string();
    let frames = lab.frames("init", FRAMES)?;
    let is_ours = |frame: &&Captured| {
        frame.time_s >= since_s && [enode.as_str(), vn_port].contains(&frame.source.as_str())
    };
    Ok(Login::of(frames.iter().filter(is_ours)))
}
