//! A disk in memory, which can be made to stand still or to fail.

use export::{BlockDevice, BlockError, BlockQueue, Finished, Geometry, Operation};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How often a queue looks whether its disk goes on.
const LOOK: Duration = Duration::from_millis(1);

/// Clones are the same disk.
#[derive(Clone)]
pub struct MemoryDisk {
    geometry: Geometry,
    shared: Arc<Shared>,
}

struct Shared {
    bytes: Mutex<Vec<u8>>,
    stalled: AtomicBool,
    fails: AtomicBool,
    /// Operations that are out.
    out: AtomicUsize,
}

impl MemoryDisk {
    /// A disk of zeroes.
    pub fn new(len: usize, block_len: u32) -> Self {
        let geometry = Geometry {
            block_len,
            blocks: len as u64 / u64::from(block_len),
            // So that requests are split.
            max_operation_len: 32 << 10,
            read_only: false,
            discard: true,
        };
        let shared =
            Shared { bytes: vec![0; len].into(), stalled: false.into(), fails: false.into(), out: 0.into() };
        Self { geometry, shared: Arc::new(shared) }
    }

    /// The same disk, for who may not write.
    pub fn read_only(&self) -> Self {
        let geometry = Geometry { read_only: true, ..self.geometry.clone() };
        Self { geometry, shared: Arc::clone(&self.shared) }
    }

    /// What is on it.
    pub fn bytes(&self) -> Vec<u8> {
        self.shared.bytes.lock().unwrap().clone()
    }

    /// Whether it stands still.
    pub fn set_stalled(&self, stalled: bool) {
        self.shared.stalled.store(stalled, Ordering::Relaxed);
    }

    /// Whether everything fails from now on.
    pub fn set_fails(&self, fails: bool) {
        self.shared.fails.store(fails, Ordering::Relaxed);
    }

    /// Operations that are out, of all queues.
    pub fn outstanding(&self) -> usize {
        self.shared.out.load(Ordering::Relaxed)
    }
}

impl BlockDevice for MemoryDisk {
    fn geometry(&self) -> Geometry {
        self.geometry.clone()
    }

    fn queue(&self, _: usize) -> io::Result<Box<dyn BlockQueue>> {
        Ok(Box::new(Queue { shared: Arc::clone(&self.shared), out: Vec::new() }))
    }
}

struct Queue {
    shared: Arc<Shared>,
    out: Vec<(u64, Operation)>,
}

impl BlockQueue for Queue {
    fn submit(&mut self, tag: u64, operation: Operation) {
        self.shared.out.fetch_add(1, Ordering::Relaxed);
        self.out.push((tag, operation));
    }

    fn kick(&self) {}

    /// The last one first.
    fn poll(&mut self) -> Option<Finished> {
        if self.shared.stalled.load(Ordering::Relaxed) {
            return None;
        }
        let (tag, operation) = self.out.pop()?;
        self.shared.out.fetch_sub(1, Ordering::Relaxed);
        let mut bytes = self.shared.bytes.lock().unwrap();
        let buffer = match operation {
            Operation::Read { offset, mut buffer } => {
                buffer.copy_from_slice(&bytes[offset as usize..][..buffer.len()]);
                Some(buffer)
            }
            Operation::Write { offset, buffer } => {
                bytes[offset as usize..][..buffer.len()].copy_from_slice(&buffer);
                Some(buffer)
            }
            Operation::Discard { offset, len } => {
                bytes[offset as usize..][..len as usize].fill(0);
                None
            }
            Operation::Flush => None,
        };
        let fails = self.shared.fails.load(Ordering::Relaxed);
        Some(Finished { tag, result: if fails { Err(BlockError::Io) } else { Ok(()) }, buffer })
    }

    fn wait_with(&self, other: BorrowedFd<'_>, timeout: Duration) -> io::Result<()> {
        let timeout = match self.out.is_empty() {
            true => timeout,
            false if self.shared.stalled.load(Ordering::Relaxed) => LOOK,
            false => Duration::ZERO,
        };
        let timeout = PollTimeout::try_from(timeout).expect("some seconds");
        poll(&mut [PollFd::new(other, PollFlags::POLLIN)], timeout)?;
        Ok(())
    }
}
