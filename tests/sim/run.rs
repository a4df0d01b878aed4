//! Many seeds, a few at a time; and one that failed once more, with its frames.

use crate::plan::Plan;
use crate::trace::Trace;
use crate::world::{Failure, Report, World};
use fc::time::{Duration, Instant};
use std::fmt;
use std::io::{self, Write as _};
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time;

/// How often the progress is told.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);

/// Each seed that is a multiple of this is run twice.
const REPEATED: u64 = 50;

/// Seeds to be run.
#[derive(Debug)]
pub(crate) struct Campaign {
    pub(crate) first: u64,
    pub(crate) count: u64,
    pub(crate) faults_for: Duration,
    pub(crate) has_canary: bool,
    pub(crate) threads: usize,
}

/// How they went.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) seeds: u64,
    pub(crate) frames: u64,
    pub(crate) requests: u64,
    pub(crate) failures: u64,
    pub(crate) simulated: Duration,
    /// The longest time from the last fault until all was well, and its seed.
    pub(crate) longest: (Duration, u64),
    /// Of all hashes, whatever their order.
    pub(crate) hash: u64,
    /// The lowest seed that failed. None is begun after the first.
    pub(crate) failure: Option<(u64, Failure)>,
}

/// A failed seed as people want to see it.
pub(crate) struct Explained {
    plan: Plan,
    failure: Failure,
    capture: PathBuf,
    frames: usize,
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plan, failure, capture, frames } = self;
        write!(
            f,
            "{plan}FAILED at {:?}: {}\nthe last {frames} frames are in {}",
            failure.at,
            failure.what,
            capture.display()
        )
    }
}

struct Shared {
    next: u64,
    told: time::Instant,
    outcome: Outcome,
}

impl Campaign {
    /// Runs the seeds until all are done or one has failed.
    pub(crate) fn run(&self) -> Outcome {
        quiet_panics();
        let started = time::Instant::now();
        let shared = Mutex::new(Shared { next: 0, told: started, outcome: Outcome::default() });
        let lock = || shared.lock().unwrap_or_else(PoisonError::into_inner);
        let work = || {
            loop {
                let seed = {
                    let mut shared = lock();
                    if shared.next == self.count || shared.outcome.failure.is_some() {
                        return;
                    }
                    shared.next += 1;
                    self.first.wrapping_add(shared.next - 1)
                };
                let result = self.run_and_repeat(seed);
                let mut shared = lock();
                shared.outcome.add(seed, result);
                if shared.told.elapsed() >= PROGRESS_INTERVAL {
                    shared.told = time::Instant::now();
                    let seeds = shared.outcome.seeds;
                    let rate = seeds as f64 / started.elapsed().as_secs_f64();
                    // Who has closed stderr doesn't want to know.
                    let _ = writeln!(io::stderr(), "{seeds} of {} seeds, {rate:.1} a second", self.count);
                }
            }
        };
        std::thread::scope(|scope| (0..self.threads).for_each(|_| drop(scope.spawn(work))));
        shared.into_inner().unwrap_or_else(PoisonError::into_inner).outcome
    }

    /// Runs a failed seed once more, and writes its last frames; `None` if it does not fail.
    ///
    /// # Errors
    /// When the file can't be written.
    pub(crate) fn explain(&self, seed: u64) -> io::Result<Option<Explained>> {
        let mut trace = Trace::keeping();
        let Err(failure) = self.run_one(seed, &mut trace) else { return Ok(None) };
        let capture = std::env::temp_dir().join(format!("xfcoe-sim-{seed}.pcapng"));
        let frames = trace.write(&capture)?;
        Ok(Some(Explained { plan: Plan::new(seed, self.faults_for), failure, capture, frames }))
    }

    /// Runs a seed, and some seeds a second time, which must be the same.
    fn run_and_repeat(&self, seed: u64) -> Result<Report, Failure> {
        let result = self.run_one(seed, &mut Trace::new());
        if seed.is_multiple_of(REPEATED) {
            let again = self.run_one(seed, &mut Trace::new());
            if again != result {
                let what = format!("it does not repeat itself: {result:?}, then {again:?}");
                return Err(Failure { at: Instant::ZERO, what });
            }
        }
        result
    }

    fn run_one(&self, seed: u64, trace: &mut Trace) -> Result<Report, Failure> {
        let plan = Plan::new(seed, self.faults_for);
        let run = AssertUnwindSafe(|| World::new(&plan, self.has_canary, trace).run());
        panic::catch_unwind(run).unwrap_or_else(|_| {
            let what = PANIC.take().unwrap_or_else(|| "a panic without a message".to_owned());
            Err(Failure { at: trace.last(), what })
        })
    }
}

impl Outcome {
    fn add(&mut self, seed: u64, result: Result<Report, Failure>) {
        self.seeds += 1;
        match result {
            Ok(report) => {
                self.frames += report.frames;
                self.requests += report.requests;
                self.failures += report.failures;
                self.simulated += report.simulated;
                self.longest = self.longest.max((report.well_after, seed));
                self.hash ^= report.hash;
            }
            Err(failure) => {
                if self.failure.as_ref().is_none_or(|(other, _)| seed < *other) {
                    self.failure = Some((seed, failure));
                }
            }
        }
    }
}

thread_local! {
    /// What this thread panicked with last, and where.
    static PANIC: std::cell::RefCell<Option<String>> = const { std::cell::RefCell::new(None) };
}

/// A panic is a failure like others, and is told with its seed.
fn quiet_panics() {
    panic::set_hook(Box::new(|info| PANIC.set(Some(info.to_string()))));
}
