//! The loop around a [`Core`], on a thread of its own, pinned to a CPU.

use super::{ControlLink, Core, CoreReport, Task};
use crate::consumer::{self, Consumer, ConsumerPort};
use crate::port::{Port, Waker};
use crossbeam_queue::ArrayQueue;
use fc::time::Instant;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;
use thiserror::Error;

/// How a core waits for work.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum PollMode {
    /// Never sleeps: the least latency, a whole CPU.
    Busy,
    /// Never sleeps, and runs the NIC's driver itself where that can be: the most frames for a CPU.
    DriveQueue,
    /// Spins for [`SPIN`] at most after the last work, then sleeps in poll(2).
    #[default]
    Adaptive,
}

/// How long an adaptive core spins before it sleeps. Longer than a round trip on a fast SAN, so that a core with
/// one command out doesn't sleep between command and response; sleeping and waking costs some 10 us.
pub const SPIN: Duration = Duration::from_micros(60);

/// So often in a row, spinning for a consumer that did nothing meanwhile, and it isn't done any more, but each so many
/// sleeps.
const IN_VAIN: u8 = 4;
const TRIAL: u8 = 64;

/// The longest sleep: a lost wake-up, which must not happen, would cost this and not forever.
const MAX_SLEEP: Duration = Duration::from_secs(1);

/// Requests to a core's thread that may wait.
const REQUEST_QUEUE_LEN: usize = 64;

/// How long a report may take before the core counts as gone.
const REPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// How a core's thread is run.
#[derive(Clone, Debug, Default)]
pub struct ThreadConfig {
    /// The CPU to be pinned to; none leaves that to the scheduler.
    pub cpu: Option<usize>,
    /// How it waits.
    pub poll_mode: PollMode,
}

/// The core's thread has ended: it was stopped, or its interface is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("the poll core has stopped; was its interface removed?")]
pub struct CoreStopped;

enum Request {
    Consumer(ConsumerPort),
    Task(Box<dyn Task>),
    Report(SyncSender<CoreReport>),
    Stop,
}

/// Requests on their way to a core's thread.
struct Mailbox {
    queue: ArrayQueue<Request>,
    /// Nobody takes requests any more: what is in the queue is dropped, which tells who waits for an answer.
    closed: AtomicBool,
}

impl Mailbox {
    fn push(&self, request: Request, waker: &Waker) {
        let mut request = request;
        while let Err(back) = self.queue.push(request) {
            request = back;
            waker.wake();
            std::thread::yield_now();
            self.clear_if_closed();
        }
        waker.wake();
        self.clear_if_closed();
    }

    fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.clear_if_closed();
    }

    /// Either the closing thread sees what was pushed, or who pushed sees that it is closed.
    fn clear_if_closed(&self) {
        fence(Ordering::SeqCst);
        if self.closed.load(Ordering::SeqCst) {
            while self.queue.pop().is_some() {}
        }
    }
}

/// Talks to a core's thread.
#[derive(Clone)]
pub struct CoreHandle {
    requests: Arc<Mailbox>,
    waker: Arc<Waker>,
    link: ControlLink,
}

impl CoreHandle {
    /// A consumer of the core with up to `depth` commands out; `waker` wakes it.
    pub fn attach_consumer(&self, depth: usize, waker: Arc<Waker>) -> Consumer {
        let (consumer, port) = consumer::pair(depth, Arc::clone(&self.waker), waker);
        self.request(Request::Consumer(port));
        consumer
    }

    /// Runs `task` on the core's thread from now on.
    pub fn attach_task(&self, task: Box<dyn Task>) {
        self.request(Request::Task(task));
    }

    /// What the core has counted.
    ///
    /// # Errors
    /// [`CoreStopped`] when it doesn't answer.
    pub fn report(&self) -> Result<CoreReport, CoreStopped> {
        let (sender, receiver) = sync_channel(1);
        self.request(Request::Report(sender));
        receiver.recv_timeout(REPORT_TIMEOUT).map_err(|_| CoreStopped)
    }

    /// Wakes the core: for a task of its own that waits for something else, too.
    pub fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// Control's end of the core's queues.
    pub fn control_link(&self) -> ControlLink {
        self.link.clone()
    }

    fn request(&self, request: Request) {
        self.requests.push(request, &self.waker);
    }
}

/// A core's thread.
pub struct CoreThread<P> {
    handle: CoreHandle,
    join: JoinHandle<Result<P, io::Error>>,
}

impl<P: Port + Send + 'static> CoreThread<P> {
    /// Starts a thread for `core`.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn spawn(core: Core<P>, config: ThreadConfig) -> io::Result<Self> {
        let waker = Arc::clone(&core.link.core);
        let requests =
            Arc::new(Mailbox { queue: ArrayQueue::new(REQUEST_QUEUE_LEN), closed: AtomicBool::new(false) });
        let handle = CoreHandle {
            requests: Arc::clone(&requests),
            waker: Arc::clone(&waker),
            link: core.control_link(),
        };
        let name = format!("core-{}", core.number);
        let join = std::thread::Builder::new().name(name).spawn(move || {
            pin(config.cpu);
            let closer = Closer(Arc::clone(&requests));
            let result = Loop { core, waker, requests, poll_mode: config.poll_mode }.run();
            drop(closer);
            result
        })?;
        Ok(Self { handle, join })
    }

    /// Talks to the thread.
    pub fn handle(&self) -> CoreHandle {
        self.handle.clone()
    }

    /// Whether the thread still runs.
    pub fn is_running(&self) -> bool {
        !self.join.is_finished()
    }

    /// Ends the thread and every command, and gives the port back.
    ///
    /// # Errors
    /// Why the port stopped working, if it did.
    ///
    /// # Panics
    /// If the thread did.
    pub fn stop(self) -> Result<P, io::Error> {
        self.handle.request(Request::Stop);
        match self.join.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

/// Pins the calling thread to a CPU, or says why it can't.
fn pin(cpu: Option<usize>) {
    if let Some(id) = cpu
        && !core_affinity::set_for_current(core_affinity::CoreId { id })
    {
        tracing::warn!(
            cpu = id,
            "the poll core can't be pinned to this CPU; it runs where the scheduler puts it"
        );
    }
}

/// Closes the mailbox when the thread ends, by a panic too.
struct Closer(Arc<Mailbox>);

impl Drop for Closer {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// How long it is worth spinning. With commands out, a target is waited for, and it is elsewhere. With none, it is a
/// consumer, and a consumer that has no CPU but this one does nothing as long as the core spins: there experience
/// decides.
#[derive(Debug, Default)]
struct Spinning {
    for_consumer: bool,
    in_vain: u8,
}

impl Spinning {
    fn window(&self, has_commands_out: bool) -> Duration {
        if has_commands_out || self.in_vain < IN_VAIN { SPIN } else { Duration::ZERO }
    }

    /// A turn found nothing.
    fn spins(&mut self, has_commands_out: bool) {
        self.for_consumer = !has_commands_out;
    }

    /// A turn found something.
    fn found(&mut self) {
        if std::mem::take(&mut self.for_consumer) {
            self.in_vain = 0;
        }
    }

    /// It sleeps now.
    fn sleeps(&mut self, has_commands_out: bool) {
        self.for_consumer = false;
        if !has_commands_out {
            self.in_vain = if self.in_vain == TRIAL { IN_VAIN - 1 } else { self.in_vain + 1 };
        }
    }
}

struct Loop<P: Port> {
    core: Core<P>,
    waker: Arc<Waker>,
    requests: Arc<Mailbox>,
    poll_mode: PollMode,
}

impl<P: Port> Loop<P> {
    fn run(mut self) -> Result<P, io::Error> {
        let origin = std::time::Instant::now();
        let clock = || Instant::from_nanos(u64::try_from(origin.elapsed().as_nanos()).unwrap_or(u64::MAX));
        let mut last_work = clock();
        let mut last_turn = last_work;
        let mut spinning = Spinning::default();
        loop {
            let now = clock();
            self.core.counters.note_turn(now.since(last_turn));
            last_turn = now;
            if self.take_requests() {
                return Ok(self.core.stop(now));
            }
            let busy = self.core.step(now);
            if let Some(error) = self.core.take_port_error() {
                tracing::error!(%error, "the poll core's port works no more: its commands end");
                self.core.stop(now);
                return Err(error);
            }
            let has_commands_out = self.core.exchanges.open() > 0;
            if busy {
                spinning.found();
                last_work = now;
            } else if self.poll_mode == PollMode::Adaptive
                && now.since(last_work) >= spinning.window(has_commands_out)
            {
                spinning.sleeps(has_commands_out);
                self.sleep(now)?;
                last_work = clock();
                last_turn = last_work;
            } else {
                spinning.spins(has_commands_out);
                std::hint::spin_loop();
            }
        }
    }

    /// Takes what was asked of the thread, and says whether it shall end.
    fn take_requests(&mut self) -> bool {
        while let Some(request) = self.requests.queue.pop() {
            match request {
                Request::Consumer(port) => self.core.consumers.attach(port),
                Request::Task(task) => self.core.attach_task(task),
                // Who asked may have stopped waiting.
                Request::Report(sender) => drop(sender.try_send(self.core.report())),
                Request::Stop => return true,
            }
        }
        false
    }

    fn sleep(&mut self, now: Instant) -> io::Result<()> {
        self.waker.prepare_to_sleep();
        // A task may have got something from elsewhere since it was polled.
        if self.core.has_work() || self.core.poll_tasks(now) || !self.requests.queue.is_empty() {
            self.waker.awake();
            return Ok(());
        }
        let timeout = self.core.poll_timeout().map_or(MAX_SLEEP, |at| at.since(now).min(MAX_SLEEP));
        self.core.port_mut().wait(&self.waker, timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spinning_for_a_consumer_that_can_do_nothing_meanwhile_is_given_up_and_tried_again() {
        let mut spinning = Spinning::default();
        let mut spins = |times: usize, is_found: bool, has_commands_out: bool| {
            let mut spun = 0;
            for _ in 0..times {
                if spinning.window(has_commands_out).is_zero() {
                    spinning.sleeps(has_commands_out);
                    continue;
                }
                spun += 1;
                spinning.spins(has_commands_out);
                if is_found { spinning.found() } else { spinning.sleeps(has_commands_out) }
            }
            spun
        };
        assert_eq!(spins(100, true, false), 100);
        let in_vain = spins(640, false, false);
        assert!((10..20).contains(&in_vain), "{in_vain} times");
        assert_eq!(spins(100, false, true), 100, "a target is waited for");
        assert!(spins(200, true, false) > 100, "it is of use again");
    }
}
