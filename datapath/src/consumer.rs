//! How commands reach a core and their completions come back: a pair of bounded queues for each consumer.

use crate::port::Waker;
use crossbeam_queue::ArrayQueue;
use fc::messages::{Action, Command, Completion, Transfer, TransportError};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The most bytes that one command moves.
pub const MAX_TRANSFER_LEN: usize = 16 << 20;

/// What both ends share.
#[derive(Debug)]
struct Shared {
    commands: ArrayQueue<Command>,
    completions: ArrayQueue<Completion>,
    /// The consumer is gone: its completions need no room any more.
    closed: AtomicBool,
    /// The core is gone: what waits will not be taken.
    stopped: AtomicBool,
    /// Wakes the core when a command comes.
    core: Arc<Waker>,
    /// Wakes the consumer when a completion comes.
    consumer: Arc<Waker>,
}

/// The consumer's end: commands in, completions out. Owned by one thread.
///
/// Dropping it with commands out is allowed: the core finishes them and drops their buffers.
#[derive(Debug)]
pub struct Consumer {
    shared: Arc<Shared>,
    outstanding: usize,
}

/// The core's end of a [`Consumer`].
#[derive(Debug)]
pub struct ConsumerPort {
    shared: Arc<Shared>,
}

/// A consumer that may have `depth` commands out, for the core that `core` wakes, and the end to give to that core.
/// `consumer` wakes whoever waits for completions.
///
/// # Panics
/// If `depth` is zero.
pub fn pair(depth: usize, core: Arc<Waker>, consumer: Arc<Waker>) -> (Consumer, ConsumerPort) {
    let shared = Arc::new(Shared {
        commands: ArrayQueue::new(depth),
        completions: ArrayQueue::new(depth),
        closed: AtomicBool::new(false),
        stopped: AtomicBool::new(false),
        core,
        consumer,
    });
    (Consumer { shared: Arc::clone(&shared), outstanding: 0 }, ConsumerPort { shared })
}

impl Consumer {
    /// Queues a command. [`Self::kick`] wakes a core that sleeps.
    ///
    /// # Errors
    /// The command is given back when as many as the queue's depth are out.
    ///
    /// # Panics
    /// If it moves more than [`MAX_TRANSFER_LEN`], or is a task management function that moves anything.
    pub fn submit(&mut self, command: Command) -> Result<(), Command> {
        let moves_data = !matches!(command.transfer, Transfer::None);
        assert!(!(moves_data && matches!(command.action, Action::Manage(_))), "a function with data");
        assert!(command.transfer.len() <= MAX_TRANSFER_LEN, "a command of {} bytes", command.transfer.len());
        if self.outstanding == self.depth() {
            return Err(command);
        }
        self.shared.commands.push(command)?;
        self.outstanding += 1;
        Ok(())
    }

    /// Wakes the core if it sleeps: once after a batch of [`Self::submit`].
    pub fn kick(&self) {
        self.shared.core.wake();
    }

    /// The next completion, if one is there.
    pub fn poll(&mut self) -> Option<Completion> {
        let completion = self.shared.completions.pop().or_else(|| self.abandoned())?;
        self.outstanding -= 1;
        Some(completion)
    }

    /// Whether [`Self::poll`] would give a completion.
    pub fn has_completion(&self) -> bool {
        !self.shared.completions.is_empty() || self.is_stopped() && !self.shared.commands.is_empty()
    }

    /// The end of a command that no core will take any more.
    fn abandoned(&self) -> Option<Completion> {
        if !self.is_stopped() {
            return None;
        }
        // A completion may have come just before the core went.
        self.shared.completions.pop().or_else(|| {
            let command = self.shared.commands.pop()?;
            Some(Completion {
                tag: command.tag,
                result: Err(TransportError::Stopped),
                transfer: command.transfer,
                latency: Duration::ZERO,
            })
        })
    }

    /// Whether the core is gone.
    pub fn is_stopped(&self) -> bool {
        self.shared.stopped.load(Ordering::Acquire)
    }

    /// Sleeps until a completion is there or `timeout` has passed. The waker may be shared: it can return early.
    ///
    /// # Errors
    /// Those of poll(2).
    pub fn wait(&self, timeout: Duration) -> io::Result<()> {
        self.shared.consumer.wait(timeout, || !self.shared.completions.is_empty() || self.is_stopped())
    }

    /// Commands that are out.
    pub fn outstanding(&self) -> usize {
        self.outstanding
    }

    /// The most commands that may be out.
    pub fn depth(&self) -> usize {
        self.shared.commands.capacity()
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        self.shared.core.wake();
    }
}

impl ConsumerPort {
    /// Whether a command waits.
    pub(crate) fn has_command(&self) -> bool {
        !self.shared.commands.is_empty()
    }

    pub(crate) fn take_command(&self) -> Option<Command> {
        self.shared.commands.pop()
    }

    /// Whether the consumer is gone and nothing of it waits.
    pub(crate) fn is_finished(&self) -> bool {
        self.shared.closed.load(Ordering::Acquire) && self.shared.commands.is_empty()
    }

    /// Hands a completion over. There is always room: as many fit as commands may be out.
    pub(crate) fn complete(&self, completion: Completion) {
        if self.shared.closed.load(Ordering::Relaxed) {
            return;
        }
        let pushed = self.shared.completions.push(completion);
        assert!(pushed.is_ok(), "a consumer has more completions than it had commands");
        self.shared.consumer.wake();
    }
}

impl Drop for ConsumerPort {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Release);
        self.shared.consumer.wake();
    }
}
