//! Ctrl-C and SIGTERM, as a flag that long work looks at.

use nix::sys::signal::{SigSet, Signal};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use thiserror::Error;

/// The exit status of a program that SIGINT ended (128 and the signal's number).
pub const EXIT_STATUS: u8 = 130;

/// The operator wanted us to stop, and we did.
#[derive(Debug, Error)]
#[error("interrupted {0}")]
pub struct Interrupted(
    /// What was under way: "while ...", "after ...".
    pub String,
);

/// Whether the operator wants us to stop. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Takes SIGINT and SIGTERM over from the kernel's default, which is to kill. Must come before any other
    /// thread, as those inherit which signals are blocked. A second signal ends the process at once: whoever
    /// presses Ctrl-C twice does not want to wait for us.
    ///
    /// # Errors
    /// If the waiting thread can't be started.
    pub fn install() -> io::Result<Self> {
        let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM]);
        signals.thread_block()?;
        let interrupt = Self::default();
        let flag = interrupt.clone();
        thread::Builder::new().name("signals".into()).spawn(move || {
            while signals.wait().is_ok() {
                if flag.0.swap(true, Ordering::Relaxed) {
                    std::process::exit(EXIT_STATUS.into());
                }
            }
        })?;
        Ok(interrupt)
    }

    /// Fails once a signal came.
    ///
    /// # Errors
    /// [`Interrupted`] in what `under_way` says.
    pub fn check(&self, under_way: impl FnOnce() -> String) -> Result<(), Interrupted> {
        if self.is_raised() { Err(Interrupted(under_way())) } else { Ok(()) }
    }

    /// Whether a signal came.
    pub fn is_raised(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
