//! A load on a disk that notices every standstill, and every wrong byte.

use crate::noise;
use initiator::{Disk, DiskError};
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Threads with a request out each.
const WORKERS: usize = 4;
const BLOCKS: usize = 8;
/// How long anything may take that is bound to happen: a command that is lost as often as it is tried.
const PATIENCE: Duration = Duration::from_secs(100);

/// Keeps tests of one program from measuring each other.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Threads that write blocks and read them back for as long as it takes. No request may fail.
pub struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<u64>>,
}

/// What its threads share with whoever looks at them.
pub struct Shared {
    disk: Disk,
    origin: Instant,
    stop: AtomicBool,
    /// When the last request that went well had begun, of each thread, in nanoseconds since `origin`.
    began_ns: [AtomicU64; WORKERS],
    /// The longest time that a request took.
    longest_ns: AtomicU64,
}

impl Load {
    /// Starts it on the first blocks of a disk.
    pub fn start(disk: &Disk) -> Self {
        let shared = Arc::new(Shared {
            disk: disk.clone(),
            origin: Instant::now(),
            stop: AtomicBool::new(false),
            began_ns: Default::default(),
            longest_ns: AtomicU64::new(0),
        });
        let start = |number| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.work(number))
        };
        let threads = (0..WORKERS).map(start).collect();
        Self { shared, threads }
    }

    /// How long it takes from `since` until the first thread, and until the last one, had a request go well that it
    /// made after that.
    ///
    /// # Panics
    /// If it takes longer than anything may that is bound to happen.
    pub fn resumed(&self, since: Instant) -> (Duration, Duration) {
        let since_ns = since.duration_since(self.origin).as_nanos() as u64;
        let mut first = None;
        loop {
            let again =
                self.began_ns.iter().filter(|began| began.load(Ordering::Relaxed) >= since_ns).count();
            let elapsed = since.elapsed();
            if again > 0 {
                first.get_or_insert(elapsed);
            }
            if let (WORKERS, Some(first)) = (again, first) {
                return (first, elapsed);
            }
            assert!(elapsed < PATIENCE, "{again} of {WORKERS} threads go on after {elapsed:?}");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Ends it.
    ///
    /// # Panics
    /// If a request failed, or other bytes came back than were written.
    pub fn end(self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            assert!(thread.join().unwrap() > 0, "a thread never wrote anything");
        }
    }
}

impl Deref for Load {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.shared
    }
}

impl Shared {
    /// The longest time that a request took which has ended since this was asked last.
    pub fn take_longest(&self) -> Duration {
        Duration::from_nanos(self.longest_ns.swap(0, Ordering::Relaxed))
    }

    /// Gives the number of rounds.
    fn work(&self, number: usize) -> u64 {
        let lba = (number * BLOCKS) as u64;
        let mut back = [0; BLOCKS * 512];
        for round in 0.. {
            let data = noise(back.len(), (number as u64) << 32 | round);
            if self.stop.load(Ordering::Relaxed) {
                return round;
            }
            self.time(number, || self.disk.write_at(lba, &data));
            self.time(number, || self.disk.read_at(lba, &mut back));
            assert!(data == back, "thread {number}, round {round}: other bytes came back");
        }
        unreachable!("it has not counted to 2^64")
    }

    fn time(&self, number: usize, request: impl FnOnce() -> Result<(), DiskError>) {
        let began = self.origin.elapsed();
        request().unwrap_or_else(|error| panic!("thread {number}: {error}"));
        self.began_ns[number].store(began.as_nanos() as u64, Ordering::Relaxed);
        let took = self.origin.elapsed() - began;
        self.longest_ns.fetch_max(took.as_nanos() as u64, Ordering::Relaxed);
    }
}
