//! The world around control in a program: queues to its core, the interface, the published inventory.

use crate::published::Published;
use control::link::LinkWatch;
use control::{Edge, Inventory};
use datapath::consumer::Consumer;
use datapath::core::ControlLink;
use datapath::port::Waker;
use datapath::port::nic::Nic;
use fc::messages::{Command, Completion, FromCore, ToCore};
use fc::time::Duration;
use fc::wire::MacAddr;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub(crate) struct ThreadEdge {
    pub(crate) core: ControlLink,
    pub(crate) consumer: Consumer,
    pub(crate) nic: Nic,
    pub(crate) link: LinkWatch,
    /// Whether control has been told of the link as it was at the start.
    pub(crate) link_told: bool,
    pub(crate) waker: Arc<Waker>,
    pub(crate) inventory: Arc<Published<Inventory>>,
    pub(crate) stop: Arc<AtomicBool>,
    /// Whether control has been told to stop: from then on it sleeps again, for the answers to its LOGOs.
    pub(crate) stop_told: bool,
}

impl ThreadEdge {
    /// Sleeps until something may have come, and says whether control shall go on.
    pub(crate) fn wait(&mut self, timeout: Duration) -> bool {
        self.consumer.kick();
        self.waker.prepare_to_sleep();
        let stopping = self.is_stopping();
        let stop_is_new = stopping && !std::mem::replace(&mut self.stop_told, stopping);
        let ready = self.core.has_frame() || self.consumer.has_completion() || stop_is_new;
        if !ready {
            let readable = |fd| PollFd::new(fd, PollFlags::POLLIN);
            let mut fds = [readable(self.waker.as_fd()), readable(self.link.as_fd())];
            let timeout =
                PollTimeout::try_from(timeout.as_micros().div_ceil(1000)).unwrap_or(PollTimeout::MAX);
            if let Err(error) = poll(&mut fds, timeout)
                && error != nix::Error::EINTR
            {
                tracing::error!(%error, "control can't wait for events");
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        self.waker.awake();
        !self.is_stopping()
    }

    fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }
}

impl Edge for ThreadEdge {
    fn receive(&mut self) -> Option<FromCore> {
        self.core.receive()
    }

    fn send(&mut self, message: ToCore) {
        let mut message = message;
        // A core takes messages in every step. One that has stopped takes none, and then nothing matters any more.
        while let Err(back) = self.core.send(message) {
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
        let before = self.link.state().up;
        self.link.poll();
        let up = self.link.state().up;
        let first = !std::mem::replace(&mut self.link_told, true);
        (first || up != before).then_some(up)
    }

    fn publish(&mut self, inventory: &Inventory) {
        self.inventory.publish(inventory.clone());
    }
}
