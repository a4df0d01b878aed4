//! CPU time that processes and threads have used.

use anyhow::{Context as _, bail};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// What /proc counts CPU time in.
const TICKS_PER_S: f64 = 100.0;

/// CPU time that a process has used.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(crate) struct CpuTime {
    pub(crate) user_s: f64,
    pub(crate) system_s: f64,
}

impl CpuTime {
    /// What was used since `earlier`.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self { user_s: self.user_s - earlier.user_s, system_s: self.system_s - earlier.system_s }
    }

    /// An I/O's share.
    pub(crate) fn divided_by(self, ios: f64) -> Self {
        Self { user_s: self.user_s / ios, system_s: self.system_s / ios }
    }

    pub(crate) fn total_s(self) -> f64 {
        self.user_s + self.system_s
    }

    /// Of a process, all its threads together (proc_pid_stat(5)).
    ///
    /// # Errors
    /// If there is none.
    pub(crate) fn of_process(pid: u32) -> anyhow::Result<Self> {
        let path = format!("/proc/{pid}/stat");
        let stat = fs::read_to_string(&path)
            .with_context(|| format!("cannot read {path}: is there a process with this number?"))?;
        let ticks = stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().skip(11));
        let mut seconds = ticks.into_iter().flatten().map_while(|ticks| ticks.parse::<f64>().ok());
        match (seconds.next(), seconds.next()) {
            (Some(user), Some(system)) => {
                Ok(Self { user_s: user / TICKS_PER_S, system_s: system / TICKS_PER_S })
            }
            _ => bail!("{path} says {stat}"),
        }
    }

    /// Of this process, or of all its children that have ended and were waited for.
    pub(crate) fn of(whom: UsageWho) -> Self {
        let usage = getrusage(whom).expect("a process may ask about its own");
        let seconds = |time: TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
        Self { user_s: seconds(usage.user_time()), system_s: seconds(usage.system_time()) }
    }
}

/// Of the calling thread.
pub(crate) fn of_this_thread_s() -> f64 {
    on_cpu_s(Path::new("/proc/thread-self"))
}

/// Of this process's threads that have this name, as long as they live.
pub(crate) fn of_threads_s(name: &str) -> f64 {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten().map(|task| task.path());
    let is_named = |task: &Path| fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim() == name);
    tasks.filter(|task| is_named(task)).map(|task| on_cpu_s(&task)).sum()
}

/// What the scheduler says of a thread: nanoseconds on a CPU come first.
fn on_cpu_s(task: &Path) -> f64 {
    let said = fs::read_to_string(task.join("schedstat")).unwrap_or_default();
    let ns = said.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or_default();
    Duration::from_nanos(ns).as_secs_f64()
}
