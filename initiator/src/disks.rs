//! The disks of initiators that share them, and the way to their cores.

use crate::disk::Disk;
use crate::disk_map::DiskMap;
use crate::disk_state::Doubt;
use crate::path::{PathChoice, PortNumber};
use datapath::core::thread::CoreHandle;
use fc::time::Instant;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The disks of all initiators that were started with it: what several of them lead to is one [`Disk`]. Cheap to clone.
#[derive(Clone)]
pub struct Disks(Arc<Shared>);

struct Shared {
    map: DiskMap,
    /// By port number.
    cores: Mutex<Vec<Vec<CoreHandle>>>,
    /// Queues opened so far: they are dealt out to the cores.
    queues: AtomicUsize,
    /// The origin of the clock of all requests: they tell each other times.
    origin: std::time::Instant,
}

/// Which of the cores that a port has is a queue's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct QueueTurn(pub(crate) usize);

impl Disks {
    /// No disks yet. `choice` is that of disks with several paths.
    pub fn new(choice: PathChoice) -> Self {
        let map = DiskMap::new(choice);
        let (cores, queues) = (Mutex::default(), AtomicUsize::new(0));
        Self(Arc::new(Shared { map, cores, queues, origin: std::time::Instant::now() }))
    }

    /// Those that are there, in the order of their first target ports' WWPNs and their LUNs.
    pub fn all(&self) -> Vec<Disk> {
        self.map().disks().into_iter().filter_map(|state| Disk::new(state, self.clone())).collect()
    }

    pub(crate) fn map(&self) -> &DiskMap {
        &self.0.map
    }

    /// One more port, with its cores.
    pub(crate) fn add_port(
        &self,
        cores: Vec<CoreHandle>,
        fast_io_fail: Duration,
        doubt: Arc<Doubt>,
    ) -> PortNumber {
        let mut all = self.0.cores.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(cores);
        self.map().add_port(fast_io_fail, doubt)
    }

    /// The first of a port's cores.
    pub(crate) fn first_core(&self, port: PortNumber) -> CoreHandle {
        self.core(port, QueueTurn(0))
    }

    /// The core of a port that queues of this turn use.
    pub(crate) fn core(&self, port: PortNumber, QueueTurn(turn): QueueTurn) -> CoreHandle {
        let all = self.0.cores.lock().unwrap_or_else(PoisonError::into_inner);
        let cores = &all[usize::from(port.0)];
        cores[turn % cores.len()].clone()
    }

    /// The next queue's turn.
    pub(crate) fn next_turn(&self) -> QueueTurn {
        QueueTurn(self.0.queues.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn now(&self) -> Instant {
        Instant::from_nanos(u64::try_from(self.0.origin.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}

impl Default for Disks {
    fn default() -> Self {
        Self::new(PathChoice::default())
    }
}

impl fmt::Debug for Disks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Disks").field(&self.map()).finish()
    }
}
