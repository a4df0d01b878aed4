//! How commands reach a core and their completions come back: a pair of bounded queues for each consumer.
//!
//! Each queue has one thread at either end, so neither pays for others: a command costs a few loads and stores. Of a
//! consumer that is silent for long the core keeps no look-out any more, and has it call.

use crate::port::Waker;
use fc::messages::{Action, Command, Completion, Ended, Transfer, TransportError};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// The most bytes that one command moves.
pub const MAX_TRANSFER_LEN: usize = 16 << 20;

/// Turns in a row without a command after which a consumer rests: longer than a pause between two of a busy one.
const PATIENCE: u16 = 1000;

/// Who calls a core: a bit for each of its consumers.
#[derive(Debug)]
pub(crate) struct Calls {
    /// There may be a bit. One word to look at in each step.
    any: AtomicBool,
    bits: Box<[AtomicU64]>,
}

impl Calls {
    /// Room for so many consumers.
    pub(crate) fn new(consumers: usize) -> Self {
        let words = consumers.div_ceil(u64::BITS as usize);
        Self {
            any: AtomicBool::new(false),
            bits: std::iter::repeat_with(AtomicU64::default).take(words).collect(),
        }
    }

    pub(crate) fn any(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    fn call(&self, number: u16) {
        self.bits[usize::from(number) / 64].fetch_or(1 << (number % 64), Ordering::Relaxed);
        // After the bit: who sees this sees that.
        self.any.store(true, Ordering::Release);
    }

    /// Takes all calls.
    pub(crate) fn take(&self, mut hear: impl FnMut(u16)) {
        if !self.any() {
            return;
        }
        self.any.swap(false, Ordering::AcqRel);
        for (first, word) in (0..=u16::MAX).step_by(64).zip(&self.bits) {
            if word.load(Ordering::Relaxed) == 0 {
                continue;
            }
            let mut bits = word.swap(0, Ordering::Relaxed);
            while bits != 0 {
                hear(first + bits.trailing_zeros() as u16);
                bits &= bits - 1;
            }
        }
    }
}

/// Where a consumer's calls go.
#[derive(Debug)]
struct Place {
    calls: Arc<Calls>,
    number: u16,
}

/// What both ends share.
#[derive(Debug)]
struct Shared {
    /// The core doesn't look for commands any more: whoever submits one has to call.
    rests: AtomicBool,
    /// Where to, once the core has taken its end.
    place: OnceLock<Place>,
    /// The consumer is gone: its completions need no room any more.
    closed: AtomicBool,
    /// The core is gone: what waits will not be taken.
    stopped: AtomicBool,
    /// What the core has left behind, for the consumer to end it.
    left: Mutex<Option<rtrb::Consumer<Command>>>,
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
    commands: rtrb::Producer<Command>,
    completions: rtrb::Consumer<Completion>,
    /// Commands that no core will take any more.
    left: Option<rtrb::Consumer<Command>>,
    depth: usize,
    outstanding: usize,
}

/// The core's end of a [`Consumer`].
#[derive(Debug)]
pub struct ConsumerPort {
    shared: Arc<Shared>,
    commands: rtrb::Consumer<Command>,
    completions: rtrb::Producer<Completion>,
    /// There are completions that the consumer wasn't woken for.
    has_news: bool,
    /// Commands that were taken and haven't ended.
    out: usize,
    /// Turns in a row without a command.
    silent_turns: u16,
}

/// What becomes of a consumer whose turn is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum AfterTurn {
    /// It has its next turn.
    Stays,
    /// It has none until it calls.
    Rests,
    /// It is gone, and nothing of it is left.
    Finished,
}

/// A consumer that may have `depth` commands out, for the core that `core` wakes, and the end to give to that core.
/// `consumer` wakes whoever waits for completions.
///
/// # Panics
/// If `depth` is zero.
pub fn pair(depth: usize, core: Arc<Waker>, consumer: Arc<Waker>) -> (Consumer, ConsumerPort) {
    assert!(depth > 0, "a consumer that may have no command out");
    let shared = Arc::new(Shared {
        rests: AtomicBool::new(false),
        place: OnceLock::new(),
        closed: AtomicBool::new(false),
        stopped: AtomicBool::new(false),
        left: Mutex::new(None),
        core,
        consumer,
    });
    let (commands, their_commands) = rtrb::RingBuffer::new(depth);
    let (their_completions, completions) = rtrb::RingBuffer::new(depth);
    let port = ConsumerPort {
        shared: Arc::clone(&shared),
        commands: their_commands,
        completions: their_completions,
        has_news: false,
        out: 0,
        silent_turns: 0,
    };
    (Consumer { shared, commands, completions, left: None, depth, outstanding: 0 }, port)
}

impl Consumer {
    /// Queues a command. [`Self::kick`] makes sure that the core sees it; a task on the core's own thread needs none.
    ///
    /// # Errors
    /// The command is given back when as many as the queue's depth are out.
    ///
    /// # Panics
    /// If it moves more than [`MAX_TRANSFER_LEN`], or is a task management function that moves anything.
    pub fn submit(&mut self, mut command: Command) -> Result<(), Command> {
        let moves_data = !matches!(command.transfer, Transfer::None);
        assert!(!(moves_data && matches!(command.action, Action::Manage(_))), "a function with data");
        assert!(command.transfer.len() <= MAX_TRANSFER_LEN, "a command of {} bytes", command.transfer.len());
        if self.outstanding == self.depth {
            return Err(command);
        }
        // What an earlier command has left in place is not this one's data.
        command.transfer.clear();
        // There is room: as many fit as may be out.
        self.commands.push(command).map_err(|rtrb::PushError::Full(command)| command)?;
        self.outstanding += 1;
        self.call_if_resting();
        Ok(())
    }

    /// Makes sure that the core sees what was submitted, and wakes it if it sleeps: once after a batch of
    /// [`Self::submit`].
    pub fn kick(&self) {
        // Either this end sees that it is to call, or the core what was submitted: see `ConsumerPort::end_turn`.
        fence(Ordering::SeqCst);
        self.call_if_resting();
        self.shared.core.wake();
    }

    fn call_if_resting(&self) {
        if self.shared.rests.load(Ordering::Relaxed)
            && let Some(Place { calls, number }) = self.shared.place.get()
        {
            calls.call(*number);
        }
    }

    /// The next completion, if one is there.
    pub fn poll(&mut self) -> Option<Completion> {
        let completion = self.completions.pop().ok().or_else(|| self.abandoned())?;
        self.outstanding -= 1;
        Some(completion)
    }

    /// Whether [`Self::poll`] would give a completion.
    pub fn has_completion(&self) -> bool {
        !self.completions.is_empty() || self.is_stopped() && self.commands.slots() < self.depth
    }

    /// The end of a command that no core will take any more.
    fn abandoned(&mut self) -> Option<Completion> {
        if !self.is_stopped() {
            return None;
        }
        // A completion may have come just before the core went.
        if let Ok(completion) = self.completions.pop() {
            return Some(completion);
        }
        if self.left.is_none() {
            self.left = self.shared.left.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
        let command = self.left.as_mut()?.pop().ok()?;
        Some(Completion {
            tag: command.tag,
            result: Err(TransportError::Stopped),
            transfer: command.transfer,
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
        self.shared.consumer.wait(timeout, || !self.completions.is_empty() || self.is_stopped())
    }

    /// Commands that are out.
    pub fn outstanding(&self) -> usize {
        self.outstanding
    }

    /// The most commands that may be out.
    pub fn depth(&self) -> usize {
        self.depth
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        self.kick();
        // The queue goes when both ends are gone, and memory that is lent is to come back before.
        while self.completions.pop().is_ok() {}
    }
}

impl ConsumerPort {
    /// Tells the consumer where to call.
    ///
    /// # Panics
    /// If it was told already.
    pub(crate) fn settle(&mut self, calls: Arc<Calls>, number: u16) {
        let told = self.shared.place.set(Place { calls, number });
        assert!(told.is_ok(), "a consumer of two cores");
    }

    /// Whether a command waits.
    pub(crate) fn has_command(&self) -> bool {
        !self.commands.is_empty()
    }

    /// Shows the commands that wait, up to `max`.
    pub(crate) fn for_each_waiting(&mut self, max: usize, see: impl FnMut(&Command)) {
        let count = self.commands.slots().min(max);
        let chunk = self.commands.read_chunk(count).expect("as many wait");
        let (first, rest) = chunk.as_slices();
        first.iter().chain(rest).for_each(see);
    }

    pub(crate) fn take_command(&mut self) -> Result<Command, rtrb::PopError> {
        let command = self.commands.pop()?;
        self.out += 1;
        Ok(command)
    }

    /// Whether the consumer is gone, and nothing of it waits or is out.
    pub(crate) fn is_finished(&self) -> bool {
        self.shared.closed.load(Ordering::Acquire) && self.commands.is_empty() && self.out == 0
    }

    /// Its turn is over; `has_taken` says whether it had a command.
    pub(crate) fn end_turn(&mut self, has_taken: bool) -> AfterTurn {
        if has_taken || self.has_command() {
            self.silent_turns = 0;
            return AfterTurn::Stays;
        }
        if self.is_finished() {
            return AfterTurn::Finished;
        }
        self.silent_turns += 1;
        if self.silent_turns < PATIENCE {
            return AfterTurn::Stays;
        }
        self.shared.rests.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if self.has_command() || self.shared.closed.load(Ordering::Relaxed) {
            self.wake_up();
            return AfterTurn::Stays;
        }
        AfterTurn::Rests
    }

    /// It has called; says whether it was at rest.
    pub(crate) fn wake_up(&mut self) -> bool {
        self.silent_turns = 0;
        self.shared.rests.swap(false, Ordering::Relaxed)
    }

    /// As [`Self::complete`], of a command that has ended with GOOD, and leaves nothing of its transfer. The completion is made
    /// where it goes: moved there, it would be read right after it was written in parts, for which the CPU waits.
    #[inline(never)]
    pub(crate) fn complete_good(&mut self, tag: u64, transferred: u32, transfer: &mut Transfer) -> bool {
        let transfer = std::mem::replace(transfer, Transfer::None);
        self.complete(Completion { tag, result: Ok(Ended::good(transferred)), transfer })
    }

    /// Hands a completion over, and says whether it is the first one since [`Self::wake`], which is due then. There is
    /// always room: as many fit as commands may be out.
    #[inline(always)]
    pub(crate) fn complete(&mut self, completion: Completion) -> bool {
        self.out -= 1;
        if self.shared.closed.load(Ordering::Relaxed) {
            return false;
        }
        let pushed = self.completions.push(completion);
        assert!(pushed.is_ok(), "a consumer has more completions than it had commands");
        !std::mem::replace(&mut self.has_news, true)
    }

    /// Wakes the consumer if it sleeps: once for all completions of a step, as it takes a fence.
    pub(crate) fn wake(&mut self) {
        self.has_news = false;
        self.shared.consumer.wake();
    }
}

impl Drop for ConsumerPort {
    fn drop(&mut self) {
        let (_, nothing) = rtrb::RingBuffer::new(0);
        let left = std::mem::replace(&mut self.commands, nothing);
        *self.shared.left.lock().unwrap_or_else(PoisonError::into_inner) = Some(left);
        self.shared.stopped.store(true, Ordering::Release);
        self.shared.consumer.wake();
    }
}
