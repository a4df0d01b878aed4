//! A disk's queue: its requests, joined to the cores and the clock.

use crate::disk::DiskInfo;
use crate::disk_state::DiskState;
use crate::disks::{Disks, QueueTurn};
use crate::error::DiskError;
use crate::path::PortNumber;
use crate::request::{Done, Refused, Request};
use crate::requests::Requests;
use datapath::consumer::Consumer;
use datapath::port::Waker;
use fc::messages::Completion;
use fc::time::Instant;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

/// A queue to a disk with a bounded number of requests out. Owned by one thread; open as many as there are threads. Its
/// commands go by one of the poll cores that a port has; others' are dealt out to the others.
///
/// [`Requests`] says what happens to a request.
pub struct DiskQueue {
    requests: Requests,
    depth: usize,
    /// The ports of the disk's paths, in the order of their first use.
    lanes: Vec<Lane>,
    /// Which of each port's cores it uses.
    turn: QueueTurn,
    disks: Disks,
    waker: Arc<Waker>,
}

/// The way to one port's core.
struct Lane {
    port: PortNumber,
    consumer: Consumer,
}

impl DiskQueue {
    /// A queue whose owner `waker` wakes.
    pub(crate) fn new(
        state: Arc<DiskState>,
        depth: usize,
        disks: Disks,
        turn: QueueTurn,
        waker: Arc<Waker>,
    ) -> Self {
        state.watch(&waker);
        let ports: Vec<_> = state.paths().iter().map(|path| path.id.port).collect();
        let mut queue =
            Self { requests: Requests::new(state, depth), depth, lanes: Vec::new(), turn, disks, waker };
        // A core gets to know its consumers before there is something to do.
        for port in ports {
            queue.lane(port);
        }
        queue
    }

    /// The disk's properties.
    pub fn info(&self) -> &DiskInfo {
        self.requests.info()
    }

    /// Requests that are out.
    pub fn outstanding(&self) -> usize {
        self.requests.outstanding()
    }

    /// Submits a request; `tag` comes back in its [`Done`]. [`Self::kick`] makes sure that a core that sleeps sees
    /// it.
    ///
    /// # Errors
    /// As [`Requests::submit`].
    pub fn submit(&mut self, tag: u64, request: Request) -> Result<(), Refused> {
        let now = self.disks.now();
        self.requests.submit(now, tag, request)?;
        self.send(now);
        Ok(())
    }

    /// Wakes the cores that sleep: once after a batch of [`Self::submit`].
    pub fn kick(&self) {
        self.lanes.iter().for_each(|lane| lane.consumer.kick());
    }

    /// The next request that has ended.
    pub fn poll(&mut self) -> Option<Done> {
        // Who polls in a loop doesn't read the clock each time.
        if !self.is_ready() && self.requests.poll_timeout().is_none() {
            return None;
        }
        let now = self.disks.now();
        let mut done = self.requests.poll_done(now);
        while done.is_none()
            && let Some(completion) = self.completion()
        {
            self.requests.handle_completion(now, completion);
            done = self.requests.poll_done(now);
        }
        if self.send(now) {
            self.kick();
        }
        done
    }

    /// Sleeps until a request may have ended, or `timeout` has passed.
    ///
    /// # Errors
    /// [`DiskError::System`] when the thread can't sleep.
    pub fn wait(&self, timeout: Duration) -> Result<(), DiskError> {
        self.waker.wait(self.time_to_wait(timeout), || self.is_ready()).map_err(DiskError::System)
    }

    /// As [`Self::wait`], and until `other` can be read.
    ///
    /// # Errors
    /// As [`Self::wait`]; also when `other` has an error of its own.
    pub fn wait_with(&self, other: BorrowedFd<'_>, timeout: Duration) -> Result<(), DiskError> {
        self.waker.wait_with(other, self.time_to_wait(timeout), || self.is_ready()).map_err(DiskError::System)
    }

    fn time_to_wait(&self, timeout: Duration) -> Duration {
        self.requests.poll_timeout().map_or(timeout, |at| at.since(self.disks.now()).min(timeout))
    }

    /// Whether [`Self::poll`] would find something, time aside.
    fn is_ready(&self) -> bool {
        self.lanes.iter().any(|lane| lane.consumer.has_completion()) || self.requests.has_news()
    }

    fn completion(&mut self) -> Option<Completion> {
        self.lanes.iter_mut().find_map(|lane| lane.consumer.poll())
    }

    /// Hands commands to the cores, and says whether there were any.
    fn send(&mut self, now: Instant) -> bool {
        let mut any = false;
        while let Some((port, command)) = self.requests.poll_command(now) {
            let refused = self.lane(port).consumer.submit(command);
            assert!(refused.is_ok(), "a queue has more commands out than its depth");
            any = true;
        }
        any
    }

    fn lane(&mut self, port: PortNumber) -> &mut Lane {
        let at = self.lanes.iter().position(|lane| lane.port == port).unwrap_or_else(|| {
            let depth = self.depth + Requests::MAX_EXTRA_COMMANDS;
            let consumer = self.disks.core(port, self.turn).attach_consumer(depth, Arc::clone(&self.waker));
            self.lanes.push(Lane { port, consumer });
            self.lanes.len() - 1
        });
        &mut self.lanes[at]
    }
}
