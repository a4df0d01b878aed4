//! The world around control in a program: queues to its core, the interface, the published inventory.

use crate::disk_state::Doubt;
use crate::disks::Disks;
use crate::path::PortNumber;
use crate::published::Published;
use control::link::LinkWatch;
use control::{Edge, IdentityError, Inventory, Order};
use datapath::consumer::Consumer;
use datapath::core::ControlLinks;
use datapath::port::Waker;
use datapath::port::nic::Nic;
use fc::messages::{Command, Completion, FromCore, ToCore};
use fc::time::Duration;
use fc::wire::MacAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender};

/// A change of the identities, and where to tell what has come of it.
pub(crate) struct GivenOrder {
    pub(crate) order: Order,
    pub(crate) answer_to: Sender<Result<(), IdentityError>>,
}

pub(crate) struct ThreadEdge {
    pub(crate) cores: ControlLinks,
    pub(crate) consumer: Consumer,
    pub(crate) nic: Nic,
    pub(crate) link: LinkWatch,
    pub(crate) waker: Arc<Waker>,
    pub(crate) inventory: Arc<Published<Inventory>>,
    pub(crate) disks: Disks,
    pub(crate) port: PortNumber,
    /// Raised by the queues.
    pub(crate) doubt: Arc<Doubt>,
    pub(crate) orders: Receiver<GivenOrder>,
    /// One that has come, and is not carried out yet.
    pub(crate) next_order: Option<GivenOrder>,
    /// Who gave the last one.
    pub(crate) answer_to: Option<Sender<Result<(), IdentityError>>>,
    pub(crate) stop: Arc<AtomicBool>,
    /// Whether control has been told to stop: from then on it sleeps again, for the answers to its LOGOs.
    pub(crate) stop_told: bool,
}

impl ThreadEdge {
    /// Sleeps until something may have come, and says whether control shall go on.
    pub(crate) fn wait(&mut self, timeout: Duration) -> bool {
        self.consumer.kick();
        let Self { cores, consumer, link, waker, doubt, orders, next_order, stop, stop_told, .. } = self;
        let is_ready = || {
            *next_order = next_order.take().or_else(|| orders.try_recv().ok());
            next_order.is_some()
                || cores.has_frame()
                || consumer.has_completion()
                || doubt.is_raised()
                || !*stop_told && stop.load(Ordering::Acquire)
        };
        if let Err(error) = waker.wait_with(link.as_fd(), timeout, is_ready) {
            tracing::error!(%error, "control can't wait for events");
            std::thread::sleep(Duration::from_millis(10));
        }
        self.stop_told = self.stop.load(Ordering::Acquire);
        !self.stop_told
    }
}

impl Edge for ThreadEdge {
    fn receive(&mut self) -> Option<FromCore> {
        self.cores.receive()
    }

    fn send(&mut self, message: ToCore) {
        let mut message = message;
        // Cores take messages in every step. One that has stopped takes none, and then nothing matters any more.
        while let Err(back) = self.cores.send(message) {
            if self.consumer.is_stopped() {
                return;
            }
            message = back;
            std::thread::yield_now();
        }
    }

    fn submit(&mut self, command: Command) -> Result<(), Command> {
        self.consumer.submit(command)
    }

    fn completion(&mut self) -> Option<Completion> {
        self.consumer.poll()
    }

    fn add_mac(&mut self, mac: MacAddr) {
        if let Err(error) = self.nic.macs().add(mac) {
            tracing::error!(%mac, %error, "frames to this MAC address will not be received");
        }
    }

    fn remove_mac(&mut self, mac: MacAddr) {
        if let Err(error) = self.nic.macs().remove(mac) {
            tracing::warn!(%mac, %error, "the MAC address stays in the NIC's filter");
        }
    }

    fn link_change(&mut self) -> Option<bool> {
        self.link.change()
    }

    fn takes_access_for_doubtful(&mut self) -> bool {
        self.doubt.take()
    }

    fn order(&mut self) -> Option<Order> {
        let GivenOrder { order, answer_to } =
            self.next_order.take().or_else(|| self.orders.try_recv().ok())?;
        self.answer_to = Some(answer_to);
        Some(order)
    }

    fn answer(&mut self, result: Result<(), IdentityError>) {
        // Who doesn't wait for it needs none.
        let _ = self.answer_to.take().map(|to| to.send(result));
    }

    fn publish(&mut self, inventory: &Inventory) {
        self.disks.map().update(self.port, inventory);
        self.inventory.publish(inventory.clone());
    }
}
