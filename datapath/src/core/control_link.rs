//! Control's end of its queues with an interface's cores.

use crate::port::Waker;
use crossbeam_queue::ArrayQueue;
use fc::messages::{FromCore, ToCore};
use std::sync::Arc;

/// Messages between control and a core that may wait. Control's are few; a flood of frames for control is dropped
/// and counted.
pub(super) const QUEUE_LEN: usize = 1024;

/// Control's end of its queues with a core.
#[derive(Clone, Debug)]
pub struct ControlLink {
    pub(super) to_core: Arc<ArrayQueue<ToCore>>,
    pub(super) from_core: Arc<ArrayQueue<FromCore>>,
    /// Wakes the core.
    pub(super) core: Arc<Waker>,
}

impl ControlLink {
    pub(super) fn new(core: Arc<Waker>) -> Self {
        let (to_core, from_core) = (ArrayQueue::new(QUEUE_LEN), ArrayQueue::new(QUEUE_LEN));
        Self { to_core: Arc::new(to_core), from_core: Arc::new(from_core), core }
    }

    /// Hands a message to the core.
    ///
    /// # Errors
    /// The message is given back when the queue is full.
    pub fn send(&self, message: ToCore) -> Result<(), ToCore> {
        self.to_core.push(message)?;
        self.core.wake();
        Ok(())
    }

    /// The next message for control.
    pub fn receive(&self) -> Option<FromCore> {
        self.from_core.pop()
    }

    /// Whether a message for control waits.
    pub fn has_frame(&self) -> bool {
        !self.from_core.is_empty()
    }
}

/// Control's end of its queues with all cores of an interface.
///
/// Control's frames go by the first core. What is said about a nexus goes to all, and no frame goes before all of them have
/// taken what was said before it: a new login's first frame must not overtake a core that still sends commands of the
/// old one, as the target would take them for the new one's.
#[derive(Debug)]
pub struct ControlLinks(Vec<ControlLink>);

impl ControlLinks {
    /// The cores' links, in the order of their numbers.
    ///
    /// # Panics
    /// If there are none.
    pub fn new(links: Vec<ControlLink>) -> Self {
        assert!(!links.is_empty(), "an interface without a core");
        Self(links)
    }

    /// Hands a message to the cores that it concerns.
    ///
    /// # Errors
    /// The message is given back when it can't be taken now: they have to do something first.
    pub fn send(&self, message: ToCore) -> Result<(), ToCore> {
        let (first, others) = self.0.split_first().expect("there is a core");
        match message {
            ToCore::Transmit(_) if others.iter().all(|link| link.to_core.is_empty()) => first.send(message),
            ToCore::Transmit(_) => Err(message),
            // Nobody else sends, so that there is still room afterwards.
            _ if self.0.iter().any(|link| link.to_core.is_full()) => Err(message),
            ToCore::SetNexus(id, nexus) => {
                self.send_to_all(|| ToCore::SetNexus(id, nexus.clone()));
                Ok(())
            }
            ToCore::RemoveNexus(id) => {
                self.send_to_all(|| ToCore::RemoveNexus(id));
                Ok(())
            }
        }
    }

    fn send_to_all(&self, message: impl Fn() -> ToCore) {
        for link in &self.0 {
            assert!(link.send(message()).is_ok(), "there was room a moment ago");
        }
    }

    /// The next message for control.
    pub fn receive(&self) -> Option<FromCore> {
        self.0.iter().find_map(ControlLink::receive)
    }

    /// Whether a message for control waits.
    pub fn has_frame(&self) -> bool {
        self.0.iter().any(ControlLink::has_frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fc::messages::NexusId;

    #[test]
    fn no_frame_overtakes_a_core_that_does_not_know_yet_that_a_nexus_is_gone() {
        let link = || ControlLink::new(Arc::new(Waker::new().unwrap()));
        let (first, slow) = (link(), link());
        let links = ControlLinks::new(vec![first.clone(), slow.clone()]);
        let frame = || ToCore::Transmit(vec![1; 60].into());
        links.send(frame()).unwrap();
        assert!(slow.to_core.is_empty(), "frames go by the first core");

        links.send(ToCore::RemoveNexus(NexusId(7))).unwrap();
        assert!(matches!(links.send(frame()), Err(ToCore::Transmit(_))));
        first.to_core.pop().unwrap();
        first.to_core.pop().unwrap();
        assert!(links.send(frame()).is_err(), "the other core has still to take it");
        assert!(matches!(slow.to_core.pop(), Some(ToCore::RemoveNexus(NexusId(7)))));
        links.send(frame()).unwrap();
    }

    #[test]
    fn what_one_core_has_no_room_for_goes_to_none() {
        let link = || ControlLink::new(Arc::new(Waker::new().unwrap()));
        let (first, full) = (link(), link());
        let links = ControlLinks::new(vec![first.clone(), full.clone()]);
        while full.send(ToCore::RemoveNexus(NexusId(0))).is_ok() {}
        assert!(links.send(ToCore::RemoveNexus(NexusId(1))).is_err());
        assert!(first.to_core.is_empty());
    }
}
