//! What all queues to a disk share.

use crate::disk::DiskInfo;
use crate::ghosts::Ghosts;
use crate::path::{Path, PathChoice, PathId};
use datapath::port::Waker;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// A disk as control finds it: what it is, and its paths. Queues look whether that is news, and take the lock only if
/// it is.
#[derive(Debug)]
pub struct DiskState {
    known: Mutex<Known>,
    /// Of what is known.
    version: AtomicU64,
    pub(crate) choice: PathChoice,
    /// Who sees it: an identity, or the interfaces' own VN_Ports.
    identity: Option<Arc<str>>,
    /// Queues that were made: where each begins to take turns, or those with one request each would all use one path.
    queues: AtomicUsize,
    pub(crate) ghosts: Ghosts,
    /// The key that this initiator has registered; 0 if none.
    key: AtomicU64,
}

#[derive(Debug)]
struct Known {
    info: Arc<DiskInfo>,
    paths: Vec<Path>,
    /// By which paths the key is registered, and since which of their logins.
    registered: Vec<(PathId, u32)>,
    doubts: Vec<Arc<Doubt>>,
    /// Of whoever waits for requests to end.
    wakers: Vec<Weak<Waker>>,
}

/// Whether someone has heard that the access states of a port's paths have changed.
#[derive(Debug)]
pub struct Doubt {
    raised: AtomicBool,
    /// Of the thread that asks the targets.
    control: Arc<Waker>,
}

impl Doubt {
    /// None yet. `control` wakes the thread that calls [`Self::take`].
    pub const fn new(control: Arc<Waker>) -> Self {
        Self { raised: AtomicBool::new(false), control }
    }

    pub(crate) fn raise(&self) {
        self.raised.store(true, Ordering::Release);
        self.control.wake();
    }

    /// Whether there is one.
    pub fn is_raised(&self) -> bool {
        self.raised.load(Ordering::Acquire)
    }

    /// Whether there was one; there is none then.
    pub fn take(&self) -> bool {
        self.is_raised() && self.raised.swap(false, Ordering::AcqRel)
    }
}

impl DiskState {
    /// A disk with these paths.
    pub fn new(info: DiskInfo, paths: Vec<Path>, choice: PathChoice) -> Self {
        let known = Known {
            info: Arc::new(info),
            paths,
            registered: Vec::new(),
            doubts: Vec::new(),
            wakers: Vec::new(),
        };
        Self {
            known: Mutex::new(known),
            version: AtomicU64::new(1),
            choice,
            identity: None,
            queues: AtomicUsize::new(0),
            key: AtomicU64::new(0),
            ghosts: Ghosts::default(),
        }
    }

    /// The same as an identity of this name sees it.
    #[must_use]
    pub fn of_identity(self, identity: Option<Arc<str>>) -> Self {
        Self { identity, ..self }
    }

    /// Who sees it; none are the interfaces' own VN_Ports.
    pub fn identity(&self) -> Option<&Arc<str>> {
        self.identity.as_ref()
    }

    /// What it is.
    pub fn info(&self) -> Arc<DiskInfo> {
        Arc::clone(&self.lock().info)
    }

    /// Its paths now.
    pub fn paths(&self) -> Vec<Path> {
        self.lock().paths.clone()
    }

    /// The key that is to be registered by all paths; 0 if none.
    pub(crate) fn key(&self) -> u64 {
        self.key.load(Ordering::Relaxed)
    }

    pub(crate) fn set_key(&self, key: u64) {
        self.key.store(key, Ordering::Relaxed);
        self.lock().registered.clear();
    }

    /// The key is registered by this path. That is so until its next login: a target that was away may have forgotten.
    pub(crate) fn registered(&self, path: &Path) {
        let mut known = self.lock();
        known.registered.retain(|(id, _)| *id != path.id);
        known.registered.push((path.id, path.logins));
    }

    /// Its paths that are to register the key before they are used.
    pub(crate) fn unregistered(&self) -> Vec<PathId> {
        if self.key() == 0 {
            return Vec::new();
        }
        let known = self.lock();
        let is_new = |path: &&Path| !known.registered.contains(&(path.id, path.logins));
        known.paths.iter().filter(is_new).map(|path| path.id).collect()
    }

    /// The number of the next queue.
    pub(crate) fn number_queue(&self) -> usize {
        self.queues.fetch_add(1, Ordering::Relaxed)
    }

    /// Changes with [`Self::paths`].
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// What is known now, by the ports whose doubts are to be raised. `None` leaves what it is as it was.
    pub(crate) fn update(&self, info: Option<DiskInfo>, paths: Vec<Path>, doubts: Vec<Arc<Doubt>>) {
        let mut known = self.lock();
        paths.iter().for_each(|path| self.ghosts.logged_in(path.id, path.logins));
        if let Some(info) = info.filter(|info| *info != *known.info) {
            known.info = Arc::new(info);
        }
        known.doubts = doubts;
        if known.paths != paths {
            known.paths = paths;
            self.announce(&mut known);
        }
    }

    /// A fence has ended: what waits for that is to look.
    pub(crate) fn end_fence(&self, is_good: bool) {
        self.ghosts.end_fence(is_good);
        self.announce(&mut self.lock());
    }

    fn announce(&self, known: &mut Known) {
        self.version.fetch_add(1, Ordering::Release);
        known.wakers.retain(|waker| waker.upgrade().map(|waker| waker.wake()).is_some());
    }

    /// Wakes `waker` when the paths change, for as long as it is there.
    pub(crate) fn watch(&self, waker: &Arc<Waker>) {
        let mut known = self.lock();
        known.wakers.retain(|waker| waker.strong_count() > 0);
        known.wakers.push(Arc::downgrade(waker));
    }

    /// A path may not be as it is known to be: control shall ask.
    pub(crate) fn doubt_access(&self) {
        self.lock().doubts.iter().for_each(|doubt| doubt.raise());
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
