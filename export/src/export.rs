//! What is handed out by a server: a device under a name, and who uses it.

use crate::block::{BlockDevice, Geometry};
use nix::sys::socket::{Shutdown, shutdown};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What an export's clients have asked for, all together.
#[derive(Debug, Default)]
pub struct Counters {
    /// Reads that went well.
    pub reads: AtomicU64,
    /// Their bytes.
    pub read_bytes: AtomicU64,
    /// Writes that went well, of zeroes too.
    pub writes: AtomicU64,
    /// Their bytes.
    pub written_bytes: AtomicU64,
    /// Flushes that went well.
    pub flushes: AtomicU64,
    /// Trims that went well.
    pub trims: AtomicU64,
    /// Requests that the device, or the way to it, failed.
    pub failed: AtomicU64,
    /// Requests that were wrong.
    pub refused: AtomicU64,
    /// Clients whose connection ended for what they did wrong.
    pub cut_off: AtomicU64,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64, amount: u64) {
        counter.fetch_add(amount, Ordering::Relaxed);
    }
}

/// A device that is handed out under a name, at one server or more.
pub struct Export {
    name: String,
    device: Arc<dyn BlockDevice>,
    geometry: Geometry,
    counters: Arc<Counters>,
    clients: Mutex<Clients>,
    changed: Condvar,
}

#[derive(Default)]
struct Clients {
    closed: bool,
    connected: Vec<Arc<OwnedFd>>,
    /// Those that are gone, with operations still out.
    draining: usize,
}

impl Clients {
    fn is_used(&self) -> bool {
        !self.connected.is_empty() || self.draining > 0
    }
}

impl Export {
    /// Hands out `device` as `name`.
    pub fn new(name: impl Into<String>, device: Arc<dyn BlockDevice>) -> Self {
        Self {
            name: name.into(),
            geometry: device.geometry(),
            device,
            counters: Arc::default(),
            clients: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it looks like.
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// What was done.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// How many clients use it now.
    pub fn clients(&self) -> usize {
        self.lock().connected.len()
    }

    /// Ends all connections, and lets nobody connect any more. What is out then is still finished:
    /// [`Self::wait_for_end`].
    pub fn close(&self) {
        let mut clients = self.lock();
        clients.closed = true;
        for client in &clients.connected {
            // One that is gone already needs no shutdown.
            let _ = shutdown(client.as_raw_fd(), Shutdown::Both);
        }
        self.changed.notify_all();
    }

    /// Waits until nothing is out any more after [`Self::close`], for `timeout` at most, and says whether that is so.
    pub fn wait_for_end(&self, timeout: Duration) -> bool {
        let (clients, _) = self
            .changed
            .wait_timeout_while(self.lock(), timeout, |clients| clients.is_used())
            .unwrap_or_else(PoisonError::into_inner);
        !clients.is_used()
    }

    pub(crate) fn device(&self) -> &dyn BlockDevice {
        &*self.device
    }

    /// Lets a client in, once nothing is out any more of those that are gone: a client that connects anew repeats
    /// what it doesn't know the end of, and its old writes must not come after the new ones. `None` once the export
    /// is closed.
    pub(crate) fn connect(self: &Arc<Self>, socket: Arc<OwnedFd>) -> Option<Connected> {
        let is_draining = |clients: &mut Clients| clients.draining > 0 && !clients.closed;
        let mut clients =
            self.changed.wait_while(self.lock(), is_draining).unwrap_or_else(PoisonError::into_inner);
        if clients.closed {
            return None;
        }
        clients.connected.push(Arc::clone(&socket));
        Some(Connected { export: Arc::clone(self), socket, draining: false })
    }

    /// As [`Self::connect`], once nobody else is connected either, within `patience`. `None` also if somebody is by then.
    pub(crate) fn connect_alone(
        self: &Arc<Self>,
        socket: Arc<OwnedFd>,
        patience: Duration,
    ) -> Option<Connected> {
        let is_taken = |clients: &mut Clients| !clients.closed && clients.is_used();
        let (mut clients, waited) = self
            .changed
            .wait_timeout_while(self.lock(), patience, is_taken)
            .unwrap_or_else(PoisonError::into_inner);
        if clients.closed || waited.timed_out() {
            return None;
        }
        clients.connected.push(Arc::clone(&socket));
        Some(Connected { export: Arc::clone(self), socket, draining: false })
    }

    fn lock(&self) -> MutexGuard<'_, Clients> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A client's place at an export, given back when it is dropped.
pub(crate) struct Connected {
    export: Arc<Export>,
    socket: Arc<OwnedFd>,
    draining: bool,
}

impl Connected {
    /// The client is gone, and something is still out of it.
    pub(crate) fn drain(&mut self) {
        if !self.draining {
            self.leave().draining += 1;
            self.draining = true;
        }
    }

    fn leave(&self) -> MutexGuard<'_, Clients> {
        let mut clients = self.export.lock();
        clients.connected.retain(|socket| !Arc::ptr_eq(socket, &self.socket));
        clients
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.leave().draining -= usize::from(self.draining);
        self.export.changed.notify_all();
    }
}
