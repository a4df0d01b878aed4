//! Those who read a disk: by the library, as a guest, and by fio. They read the same blocks in the same order.

use super::{BLOCK_LEN, BLOCKS, MAX_DEPTH};
use crate::cpu_time::CpuTime;
use anyhow::{Context as _, ensure};
use bench::guest::{Ask, Guest, Wishes};
use export::{BlockDevice, BlockQueue, Operation};
use nix::sys::resource::UsageWho;
use serde_json::Value;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Longer than any read takes.
const PATIENCE: Duration = Duration::from_secs(10);
/// Ring entries of the guest: four a request.
const RING_SIZE: u16 = 256;

/// Who reads a disk.
pub(super) trait Client {
    /// Reads with `depth` reads out at any time, and waits for the last of them.
    fn read(&mut self, depth: usize, duration: Duration) -> anyhow::Result<Reads>;
}

/// What was read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reads {
    pub(super) count: u64,
    pub(super) took: Duration,
    /// CPU time of a process that did it.
    pub(super) child_cpu_s: f64,
}

/// A client of ours, which is given reads one by one.
pub(super) trait OneByOne {
    /// Begins a read of this block, of which the server needn't know before [`Self::kick`].
    fn begin(&mut self, block: u64) -> anyhow::Result<()>;

    /// Lets the server know.
    fn kick(&mut self) -> anyhow::Result<()>;

    /// Waits until some have ended, and says how many.
    fn take(&mut self) -> anyhow::Result<usize>;
}

impl<C: OneByOne> Client for C {
    fn read(&mut self, depth: usize, duration: Duration) -> anyhow::Result<Reads> {
        let begin = Instant::now();
        let (mut begun, mut out, mut took) = (0, 0, Duration::ZERO);
        while took < duration || out > 0 {
            if took < duration {
                for _ in out..depth {
                    self.begin(block(begun))?;
                    begun += 1;
                }
                out = depth;
                self.kick()?;
            }
            out -= self.take()?;
            took = begin.elapsed();
        }
        Ok(Reads { count: begun, took, ..Reads::default() })
    }
}

/// Blocks that look like chance.
fn block(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20 & (BLOCKS - 1)
}

/// The library alone: a queue of this thread's.
pub(super) struct Library {
    queue: Box<dyn BlockQueue>,
    buffers: Vec<Box<[u8]>>,
    /// Of the queue: as many buffers as there are.
    depth: usize,
    /// Never says anything.
    other: UnixStream,
    _other_end: UnixStream,
}

impl Library {
    pub(super) fn new(device: &dyn BlockDevice, depth: usize) -> anyhow::Result<Self> {
        let (other, _other_end) = UnixStream::pair()?;
        let buffers = (0..depth).map(|_| vec![0; BLOCK_LEN].into()).collect();
        Ok(Self { queue: device.queue(depth)?, buffers, depth, other, _other_end })
    }

    /// Writes all blocks, as memory that was never written is the same page again and again, and stays in a cache.
    pub(super) fn fill(&mut self) -> anyhow::Result<()> {
        for number in 0..BLOCKS {
            let mut buffer = self.buffers.pop().context("no buffers")?;
            buffer.fill(number as u8);
            self.queue.submit(number, Operation::Write { offset: number * BLOCK_LEN as u64, buffer });
            self.queue.kick();
            while self.buffers.is_empty() {
                self.take()?;
            }
        }
        while self.buffers.len() < self.depth {
            self.take()?;
        }
        Ok(())
    }
}

impl OneByOne for Library {
    fn begin(&mut self, block: u64) -> anyhow::Result<()> {
        let buffer = self.buffers.pop().context("no buffers")?;
        self.queue.submit(block, Operation::Read { offset: block * BLOCK_LEN as u64, buffer });
        Ok(())
    }

    fn kick(&mut self) -> anyhow::Result<()> {
        self.queue.kick();
        Ok(())
    }

    fn take(&mut self) -> anyhow::Result<usize> {
        let before = self.buffers.len();
        while let Some(finished) = self.queue.poll() {
            ensure!(finished.result.is_ok(), "the disk fails a request");
            self.buffers.extend(finished.buffer);
        }
        let ended = self.buffers.len() - before;
        if ended == 0 {
            self.queue.wait_with(self.other.as_fd(), PATIENCE)?;
        }
        Ok(ended)
    }
}

/// A guest's driver, without a virtual machine.
pub(super) struct VhostUser {
    guest: Guest,
    /// Slots without a request.
    free: Vec<u16>,
}

impl VhostUser {
    pub(super) fn connect(path: &Path) -> anyhow::Result<Self> {
        let mut guest = Guest::new(Wishes { size: RING_SIZE, ..Wishes::default() });
        guest.connect(path).context("cannot connect to the vhost-user device")?;
        Ok(Self { guest, free: (0..MAX_DEPTH as u16).collect() })
    }
}

impl OneByOne for VhostUser {
    fn begin(&mut self, block: u64) -> anyhow::Result<()> {
        let slot = self.free.pop().context("no slots")?;
        let sector = block * (BLOCK_LEN / 512) as u64;
        self.guest.submit(0, slot, &Ask::Read(sector, BLOCK_LEN as u32));
        Ok(())
    }

    fn kick(&mut self) -> anyhow::Result<()> {
        self.guest.kick(0);
        Ok(())
    }

    fn take(&mut self) -> anyhow::Result<usize> {
        let done = self.guest.wait(0, PATIENCE);
        ensure!(!done.is_empty() && done.iter().all(|done| done.status == 0), "the device fails: {done:?}");
        self.free.extend(done.iter().map(|done| done.slot));
        Ok(done.len())
    }
}

/// fio by its NBD engine, which is a process.
pub(super) struct Fio(pub(super) PathBuf);

impl Client for Fio {
    fn read(&mut self, depth: usize, duration: Duration) -> anyhow::Result<Reads> {
        let before = CpuTime::of(UsageWho::RUSAGE_CHILDREN);
        let output = Command::new("fio")
            .args([
                "--name=reader",
                "--thread",
                "--ioengine=nbd",
                "--rw=randread",
                "--time_based",
                "--norandommap",
            ])
            .arg(format!("--uri=nbd+unix:///{}?socket={}", super::EXPORT, self.0.display()))
            .arg(format!("--size={}", BLOCKS * BLOCK_LEN as u64))
            .arg(format!("--bs={BLOCK_LEN}"))
            .arg(format!("--iodepth={depth}"))
            .arg(format!("--runtime={}ms", duration.as_millis()))
            .arg("--output-format=json")
            .output()
            .context("cannot run fio")?;
        let cpu = CpuTime::of(UsageWho::RUSAGE_CHILDREN).since(before);
        let said = String::from_utf8_lossy(&output.stdout);
        let json = said.find('{').map_or(&*said, |at| &said[at..]);
        let read = &serde_json::from_str::<Value>(json).context("fio doesn't say JSON")?["jobs"][0]["read"];
        let number = |name: &str| read[name].as_u64().with_context(|| format!("fio doesn't say {name}"));
        Ok(Reads {
            count: number("total_ios")?,
            took: Duration::from_millis(number("runtime")?),
            child_cpu_s: cpu.total_s(),
        })
    }
}

/// Whether fio can be run.
pub(super) fn has_fio() -> bool {
    Command::new("fio").arg("--version").output().is_ok_and(|output| output.status.success())
}
