//! The library that programs use: an FCoE initiator over one interface, and the disks that it finds.
//!
//! [`Initiator::start`] opens the interface and starts its threads: a poll core or more that move the data, and control,
//! which logs in and looks for disks. A [`Disk`] has blocking calls, and a [`DiskQueue`] for more than one request
//! at a time.
//!
//! ```no_run
//! use initiator::{Config, Initiator, Request};
//! use std::time::Duration;
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let initiator = Initiator::start(Config::new("eth0"))?;
//!     let disks = initiator.wait_for_disks(Duration::from_secs(10));
//!     let disk = disks.first().ok_or("no disk: `initiator.inventory()` tells what was found")?;
//!     println!("{}: {} blocks of {} bytes", disk.info().product, disk.info().blocks, disk.info().block_len);
//!
//!     // Blocking calls take plain slices.
//!     let mut first = vec![0; disk.info().block_len as usize];
//!     disk.read_at(0, &mut first)?;
//!
//!     // A queue owns its buffers while requests are out.
//!     let mut queue = disk.queue(32)?;
//!     for i in 0..32 {
//!         let buffer = vec![0; disk.info().block_len as usize].into_boxed_slice();
//!         queue.submit(i, Request::Read { lba: i, buffer }).map_err(|refused| refused.reason)?;
//!     }
//!     queue.kick();
//!     while queue.outstanding() > 0 {
//!         queue.wait(Duration::from_secs(1))?;
//!         while let Some(done) = queue.poll() {
//!             done.result?;
//!         }
//!     }
//!     initiator.stop();
//!     Ok(())
//! }
//! ```

mod blocking;
mod config;
mod disk;
mod disk_map;
mod disk_state;
mod disks;
mod edge;
mod error;
mod ghosts;
mod own_commands;
mod path;
mod paths;
mod published;
mod queue;
mod request;
mod requests;
mod reservations;
mod start;
mod task_management;
mod verdict;
mod window;

pub use config::{Config, DEFAULT_FAST_IO_FAIL, MAX_CORES};
pub use control::DEFAULT_DEV_LOSS;
pub use control::{
    FcfView, Identity, IdentityError, Inventory, Login, LunView, NeighbourView, Obstacle, TargetView,
    VnPortView,
};
pub use datapath::core::{CoreReport, Counters, DropReason, Task, TaskState};
pub use disk::{Disk, DiskInfo};
pub use disk_map::DiskMap;
pub use disk_state::{DiskState, Doubt};
pub use disks::Disks;
pub use error::{DiskError, StartError};
pub use fc::fip::{Addressing, Preferred, VlanChoice};
pub use fc::in_place::InPlace;
pub use fc::vn_port::DEFAULT_RECONNECT_DELAY;
pub use fc::vn_port::Topology;
pub use path::{Path, PathChoice, PathId, PortNumber};
pub use queue::DiskQueue;
pub use request::{Done, Refused, Request};
pub use requests::Requests;
pub use reservations::{Exclusive, Reserved};

use control::Order;
use datapath::core::thread::{CoreStopped, CoreThread};
use datapath::port::Waker;
use edge::GivenOrder;
use published::Published;
use start::CorePort;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

/// A running initiator. Dropping it is the same as [`Self::stop`].
pub struct Initiator {
    inventory: Arc<Published<Inventory>>,
    disks: Disks,
    port: PortNumber,
    orders: Sender<GivenOrder>,
    control_waker: Arc<Waker>,
    stop_control: Arc<AtomicBool>,
    /// Control gives back what holds the interface: that must outlive the cores' ports.
    control: Option<JoinHandle<edge::ThreadEdge>>,
    /// Empty once they have been stopped.
    cores: Vec<CoreThread<CorePort>>,
}

impl Initiator {
    /// Opens the interface and starts to log in; returns before that is done.
    ///
    /// # Errors
    /// [`StartError`], with what to do. Nothing stays behind.
    pub fn start(config: Config) -> Result<Self, StartError> {
        start::start(&config)
    }

    /// What has been found so far.
    pub fn inventory(&self) -> Arc<Inventory> {
        self.inventory.get()
    }

    /// What has been found when `wanted` likes it for the first time, or when `timeout` has passed.
    pub fn wait_for(&self, timeout: Duration, wanted: impl FnMut(&Inventory) -> bool) -> Arc<Inventory> {
        self.inventory.wait(timeout, wanted)
    }

    /// The disks, once the logical units of every target that is there have been looked at, or what there is of them
    /// when `timeout` has passed.
    pub fn wait_for_disks(&self, timeout: Duration) -> Vec<Disk> {
        self.inventory.wait(timeout, Inventory::is_scanned);
        self.disks()
    }

    /// The disks found so far to which a path of this initiator leads, in the order of their first paths' WWPNs and LUNs.
    pub fn disks(&self) -> Vec<Disk> {
        let mut disks = self.disks.all();
        disks.retain(|disk| disk.paths().iter().any(|path| path.id.port == self.port));
        disks
    }

    /// Adds an identity, which logs in as soon as it can; nobody else notices. Returns before that is done.
    ///
    /// # Errors
    /// [`IdentityError`], and then nothing has changed.
    pub fn add_identity(&self, identity: Identity) -> Result<(), IdentityError> {
        self.order(Order::Add(identity))
    }

    /// Logs an identity out of its targets and the fabric. Its disks have no path any more. Returns before that is done.
    ///
    /// # Errors
    /// [`IdentityError::Unknown`].
    pub fn remove_identity(&self, name: &str) -> Result<(), IdentityError> {
        self.order(Order::Remove(name.into()))
    }

    fn order(&self, order: Order) -> Result<(), IdentityError> {
        let (answer_to, answer) = mpsc::channel();
        self.orders
            .send(GivenOrder { order, answer_to })
            .expect("control runs until the initiator is dropped");
        self.control_waker.wake();
        answer.recv().expect("control answers each order")
    }

    /// What each poll core has counted, in the order of their numbers.
    ///
    /// # Errors
    /// [`CoreStopped`] when one has: its interface is gone.
    pub fn reports(&self) -> Result<Vec<CoreReport>, CoreStopped> {
        self.cores.iter().map(|core| core.handle().report()).collect()
    }

    /// What the poll cores have counted together.
    ///
    /// # Errors
    /// As [`Self::reports`].
    pub fn report(&self) -> Result<CoreReport, CoreStopped> {
        Ok(self.reports()?.into_iter().reduce(CoreReport::plus).expect("there is a core"))
    }

    /// Whether the poll cores still run; they end when their interface goes.
    pub fn is_running(&self) -> bool {
        self.cores.iter().all(CoreThread::is_running)
    }

    /// Logs out, ends every request, and leaves the interface as it was.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Initiator {
    fn drop(&mut self) {
        self.stop_control.store(true, Ordering::Release);
        self.control_waker.wake();
        let edge = self.control.take().map(JoinHandle::join);
        let mut ports = Vec::with_capacity(self.cores.len());
        for core in self.cores.drain(..) {
            match core.stop() {
                // Ports of one queue go together.
                Ok(port) => ports.push(port),
                Err(error) => {
                    tracing::warn!(%error, "the interface stopped working before the initiator did")
                }
            }
        }
        drop(ports);
        self.disks.map().update(self.port, &Inventory::default());
        // Last: the XDP program goes when nobody's frames depend on it any more.
        if let Some(Err(panic)) = edge
            && !std::thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}
