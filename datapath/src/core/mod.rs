//! The poll core: one port, one exchange table, everything on one thread and without a lock.
//!
//! ```text
//!  port.receive --> rx --+--> exchange by OX_ID --> copy to the command's buffer --> completion
//!                        +--> control: FIP, ELS, CT and whatever no exchange wants
//!  consumer's commands --> tx: FCP_CMND        XFER_RDY --> tx: write data
//! ```
//!
//! A [`Core`] is a value: [`Core::step`] does everything that can be done now. [`thread`] is the loop around it on
//! a pinned core; the simulation and the tests step it themselves.

mod answers;
mod bulk;
mod consumers;
mod control_link;
mod deadlines;
mod exchange;
mod in_place;
mod latency;
mod nexus;
mod ox_ids;
mod recovery;
mod retransmission;
mod rx;
mod siblings;
mod stats;
mod task_management;
pub mod thread;
mod tx;

pub use control_link::{ControlLink, ControlLinks};
pub use siblings::{Siblings, siblings};
pub use stats::{CoreReport, Counters, DropReason};

use crate::consumer::{self, Consumer};
use crate::port::{Frame, Port, Waker};
use bulk::Bulk;
use consumers::Consumers;
use exchange::ExchangeTable;
use fc::messages::{ToCore, TransportError, ox_id};
use fc::time::Instant;
use hdrhistogram::Histogram;
use nexus::NexusTable;
use ox_ids::OxIds;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

/// Frames received, and commands taken, in one step. Doorbells cost less the more they carry, up to 32; above that
/// the gain is flat, and other work waits longer.
const BATCH: usize = 64;

/// Frames sent before a doorbell. A veth's ring holds 256 and drops silently what is more, and a switch port's
/// buffers are not deep either.
const SEND_BATCH: usize = 64;

/// What a task did when it was polled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TaskState {
    /// It did something: poll again at once.
    Busy,
    /// It waits for a completion.
    Idle,
    /// It has ended and can be dropped.
    Done,
}

/// Work that runs on the core's own thread, between two steps: a consumer that needs no other thread to be woken.
/// It must not wait for anything.
pub trait Task: Send {
    /// Takes completions, submits commands.
    fn poll(&mut self, now: Instant) -> TaskState;
}

/// What a core is made with.
#[derive(Clone, Debug)]
pub struct CoreConfig {
    /// The core's number, below `cores`.
    pub number: u16,
    /// How many cores its interface has, up to [`ox_id::MAX_CORES`]: they share the OX_IDs.
    pub cores: u16,
}

/// A poll core over a port.
pub struct Core<P: Port> {
    port: P,
    number: u16,
    exchanges: ExchangeTable,
    nexuses: NexusTable,
    consumers: Consumers,
    /// Consumers with completions that they weren't woken for.
    with_news: Vec<u16>,
    tasks: Vec<Box<dyn Task>>,
    link: ControlLink,
    /// The other cores of the interface, where frames may come by the wrong one.
    siblings: Siblings,
    control: Arc<Waker>,
    /// Exchanges with write data to send, in the order in which they were asked for it.
    bursts: VecDeque<u16>,
    received: Vec<Frame>,
    /// The exchanges of a batch's frames: empty between two batches.
    ahead: Vec<u16>,
    queued_frames: usize,
    bulk: Bulk,
    /// When to look at deadlines; `None` while there are none.
    next_look: Option<Instant>,
    /// Exchanges whose deadline has come: empty between two looks.
    due: Vec<u16>,
    /// When it is the turn of the next silent exchange that can't be asked about at once, as too many questions are out.
    next_turn: Instant,
    counters: Counters,
    latency_ns: Histogram<u64>,
    port_error: Option<io::Error>,
}

/// The longest latency that is told apart, in nanoseconds; longer ones count as this.
const MAX_LATENCY_NS: u64 = 120_000_000_000;

impl<P: Port> Core<P> {
    /// A core over `port`. `control` wakes the control thread when a frame for it comes; `waker` is the core's own.
    ///
    /// # Panics
    /// If the core's number is not below the number of cores, or there are more than [`ox_id::MAX_CORES`].
    pub fn new(port: P, config: &CoreConfig, waker: Arc<Waker>, control: Arc<Waker>) -> Self {
        assert!(config.number < config.cores && config.cores <= ox_id::MAX_CORES, "{config:?}");
        let link = ControlLink::new(waker);
        let exchanges = ExchangeTable::new(OxIds::new(config.number, config.cores));
        let max_exchanges = exchanges.max();
        Self {
            port,
            number: config.number,
            exchanges,
            nexuses: NexusTable::default(),
            consumers: Consumers::new(),
            with_news: Vec::new(),
            tasks: Vec::new(),
            link,
            siblings: Siblings::default(),
            control,
            bursts: VecDeque::with_capacity(max_exchanges),
            received: Vec::with_capacity(BATCH),
            ahead: Vec::with_capacity(BATCH),
            queued_frames: 0,
            bulk: Bulk::default(),
            next_look: None,
            due: Vec::with_capacity(max_exchanges),
            next_turn: Instant::ZERO,
            counters: Counters::default(),
            latency_ns: Histogram::new_with_bounds(1, MAX_LATENCY_NS, 3).expect("constant bounds"),
            port_error: None,
        }
    }

    /// Control's end of the queues.
    pub fn control_link(&self) -> ControlLink {
        self.link.clone()
    }

    /// Has it hand frames of other cores' exchanges on to these.
    #[must_use]
    pub fn with_siblings(mut self, siblings: Siblings) -> Self {
        self.siblings = siblings;
        self
    }

    /// A consumer of this core with up to `depth` commands out; `waker` wakes it.
    ///
    /// # Panics
    /// If there are 65,536 already.
    pub fn attach_consumer(&mut self, depth: usize, waker: Arc<Waker>) -> Consumer {
        let (consumer, port) = consumer::pair(depth, Arc::clone(&self.link.core), waker);
        self.consumers.attach(port);
        consumer
    }

    /// Runs `task` on this core from now on.
    pub fn attach_task(&mut self, task: Box<dyn Task>) {
        self.tasks.push(task);
    }

    /// Does everything that can be done now, and says whether that was anything.
    pub fn step(&mut self, now: Instant) -> bool {
        let mut busy = self.receive(now) | self.take_handed_on(now);
        self.wake_consumers();
        busy |= self.take_messages(now);
        busy |= self.poll_tasks(now);
        busy |= self.take_commands(now);
        if self.next_look.is_some_and(|at| at <= now) {
            self.check_deadlines(now);
        }
        busy |= self.send_bursts();
        self.wake_consumers();
        self.flush();
        busy
    }

    /// Wakes those whose commands have ended, while others may still be worked on.
    fn wake_consumers(&mut self) {
        for consumer in self.with_news.drain(..) {
            if let Some(port) = self.consumers.get_mut(consumer) {
                port.wake();
            }
        }
    }

    /// When [`Self::step`] wants to be called again though nothing came.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next_look
    }

    /// Whether something waits that [`Self::step`] would take.
    pub fn has_work(&self) -> bool {
        !self.link.to_core.is_empty()
            || !self.bursts.is_empty()
            || self.siblings.has_frame()
            || self.consumers.have_command()
    }

    /// The port, to sleep on it.
    pub fn port_mut(&mut self) -> &mut P {
        &mut self.port
    }

    /// Why the port works no more, once.
    pub fn take_port_error(&mut self) -> Option<io::Error> {
        self.port_error.take()
    }

    /// What the core has counted, and the latency of its commands.
    pub fn report(&self) -> CoreReport {
        CoreReport {
            number: self.number,
            port: self.port.info().clone(),
            frames: self.port.counters(),
            counters: self.counters,
            open_exchanges: self.exchanges.open(),
            resting_ox_ids: self.exchanges.resting(),
            latency_ns: self.latency_ns.clone(),
        }
    }

    /// Ends every command with [`TransportError::Stopped`] and gives the port back. Commands that no core has
    /// taken yet end the same way, at their consumer.
    pub fn stop(mut self, now: Instant) -> P {
        for index in self.exchanges.open_indices() {
            self.fail(now, index, TransportError::Stopped);
        }
        self.flush();
        self.port
    }

    /// Takes what control has sent.
    fn take_messages(&mut self, now: Instant) -> bool {
        let mut busy = false;
        for _ in 0..BATCH {
            if self.link.to_core.is_empty() {
                break;
            }
            // Every message may need a frame: without one they wait.
            let Some(frame) = self.allocate() else { break };
            let message = self.link.to_core.pop().expect("only the core takes messages");
            busy = true;
            match message {
                ToCore::Transmit(bytes) => {
                    self.send_bytes(frame, &bytes);
                    continue;
                }
                ToCore::SetNexus(id, nexus) => {
                    if self.nexuses.set(id, &nexus) {
                        self.end_nexus(now, id.0);
                    }
                }
                ToCore::RemoveNexus(id) => {
                    self.nexuses.remove(id);
                    self.end_nexus(now, id.0);
                }
            }
            self.port.release(frame);
        }
        busy
    }

    /// Fails every command of a nexus whose login is gone.
    fn end_nexus(&mut self, now: Instant, nexus: u16) {
        for index in self.exchanges.open_indices() {
            if self.exchanges.get(index).nexus == nexus {
                self.fail(now, index, TransportError::NexusGone);
            }
        }
    }

    pub(crate) fn poll_tasks(&mut self, now: Instant) -> bool {
        let mut busy = false;
        self.tasks.retain_mut(|task| {
            let state = task.poll(now);
            busy |= state != TaskState::Idle;
            state != TaskState::Done
        });
        busy
    }

    fn flush(&mut self) {
        self.queued_frames = 0;
        if let Err(error) = self.port.flush() {
            self.port_error.get_or_insert(error);
        }
    }
}

#[cfg(test)]
mod tests;
