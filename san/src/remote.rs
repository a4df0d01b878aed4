//! Talks to a SAN that runs on another thread.

use crate::orders::{Order, OrderError};
use crate::san::{San, Stats};
use datapath::port::{Port, Waker};
use fc::time::{Duration, Instant};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};

/// How long an answer may take. The SAN's thread looks between two steps; what takes longer has hung or never ran.
const ANSWER_TIME: Duration = Duration::from_secs(5);

/// The handle to a SAN that [`crate::thread::run`] drives; shared by whoever has something to say to it.
#[derive(Debug)]
pub struct Remote {
    pub(crate) waker: Waker,
    stop: AtomicBool,
    has_request: AtomicBool,
    /// Each of somebody who waits for its answer; `None` once nobody takes them any more.
    requests: Mutex<Option<Vec<Request>>>,
}

#[derive(Debug)]
struct Request {
    /// Without one it is about the stats.
    order: Option<Order>,
    answer: SyncSender<Result<Stats, OrderError>>,
}

impl Remote {
    /// A handle for a SAN that is to run.
    ///
    /// # Errors
    /// When no eventfd is to be had.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            waker: Waker::new()?,
            stop: AtomicBool::new(false),
            has_request: AtomicBool::new(false),
            requests: Mutex::new(Some(Vec::new())),
        })
    }

    /// The SAN ends soon.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        self.waker.wake();
    }

    /// Gives an order, and waits until it has been carried out; tells how the SAN stands then.
    ///
    /// # Errors
    /// As [`San::order`], and [`OrderError::Ended`].
    pub fn order(&self, order: Order) -> Result<Stats, OrderError> {
        self.request(Some(order))
    }

    /// What the SAN has done and how it stands.
    ///
    /// # Errors
    /// [`OrderError::Ended`]
    pub fn stats(&self) -> Result<Stats, OrderError> {
        self.request(None)
    }

    fn request(&self, order: Option<Order>) -> Result<Stats, OrderError> {
        let (answer, answered) = sync_channel(1);
        match &mut *self.requests.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(requests) => requests.push(Request { order, answer }),
            None => return Err(OrderError::Ended),
        }
        self.has_request.store(true, Ordering::Release);
        self.waker.wake();
        answered.recv_timeout(ANSWER_TIME).unwrap_or(Err(OrderError::Ended))
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Carries out what has been asked for, and says whether there was anything.
    pub(crate) fn serve<P: Port>(&self, san: &mut San<P>, now: Instant) -> bool {
        if !self.has_request.load(Ordering::Relaxed) || !self.has_request.swap(false, Ordering::Acquire) {
            return false;
        }
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let requests = requests.as_mut().map(std::mem::take).unwrap_or_default();
        for Request { order, answer } in requests {
            let result = order.map_or(Ok(()), |order| san.order(now, &order));
            // Who asked may have stopped waiting.
            let _ = answer.try_send(result.map(|()| san.stats()));
        }
        true
    }

    /// Nobody takes requests any more: those who wait, and those who come, are told.
    pub(crate) fn close(&self) {
        *self.requests.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
