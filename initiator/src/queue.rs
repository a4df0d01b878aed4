//! A disk's queue: its requests, joined to the core and the clock.

use crate::disk::DiskInfo;
use crate::error::DiskError;
use crate::requests::{Done, Refused, Request, Requests};
use datapath::consumer::Consumer;
use fc::time::Instant;
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// A queue to a disk with a bounded number of requests out. Owned by one thread; open as many as there are threads.
///
/// [`Requests`] says what happens to a request.
pub struct DiskQueue {
    consumer: Consumer,
    requests: Requests,
    /// The origin of the requests' clock.
    origin: std::time::Instant,
}

impl DiskQueue {
    pub(crate) fn new(consumer: Consumer, requests: Requests) -> Self {
        Self { consumer, requests, origin: std::time::Instant::now() }
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
        let now = self.now();
        self.requests.submit(now, tag, request)?;
        self.send(now);
        Ok(())
    }

    /// Wakes the core if it sleeps: once after a batch of [`Self::submit`].
    pub fn kick(&self) {
        self.consumer.kick();
    }

    /// The next request that has ended.
    pub fn poll(&mut self) -> Option<Done> {
        // Who polls in a loop doesn't read the clock each time.
        if !self.consumer.has_completion() && self.requests.poll_timeout().is_none() {
            return None;
        }
        let now = self.now();
        let mut done = None;
        while done.is_none()
            && let Some(completion) = self.consumer.poll()
        {
            done = self.requests.handle_completion(now, completion);
        }
        if self.send(now) {
            self.consumer.kick();
        }
        done
    }

    /// Sleeps until a request may have ended, or `timeout` has passed.
    ///
    /// # Errors
    /// [`DiskError::System`] when the thread can't sleep.
    pub fn wait(&self, timeout: Duration) -> Result<(), DiskError> {
        let due = self.requests.poll_timeout().map(|at| at.since(self.now()));
        self.consumer.wait(due.map_or(timeout, |due| due.min(timeout))).map_err(DiskError::System)
    }

    /// As [`Self::wait`], and until `other` can be read.
    ///
    /// # Errors
    /// As [`Self::wait`]; also when `other` has an error of its own.
    pub fn wait_with(&self, other: BorrowedFd<'_>, timeout: Duration) -> Result<(), DiskError> {
        let due = self.requests.poll_timeout().map(|at| at.since(self.now()));
        let timeout = due.map_or(timeout, |due| due.min(timeout));
        self.consumer.wait_with(other, timeout).map_err(DiskError::System)
    }

    /// Hands commands to the core, and says whether there were any.
    fn send(&mut self, now: Instant) -> bool {
        let mut any = false;
        while let Some(command) = self.requests.poll_command(now) {
            assert!(self.consumer.submit(command).is_ok(), "a queue has more commands out than its depth");
            any = true;
        }
        any
    }

    fn now(&self) -> Instant {
        Instant::from_nanos(u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}
