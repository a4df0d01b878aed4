//! Frames that came by another queue than their core's.
//!
//! A NIC that knows nothing of OX_IDs puts frames on any of its queues. The core that finds one whose exchange is another
//! core's copies it to a lane between the two; a full lane drops and counts, as a ring does.

use super::rx::ox_id_of;
use super::{BATCH, Core, Counters, DropReason};
use crate::port::lane::{self, BUFFER_LEN, LaneReceiver, LaneSender, Parcel};
use crate::port::{Port, Waker};
use fc::messages::ox_id;
use fc::time::Instant;
use std::sync::Arc;

/// Frames that wait in a lane at most: as many as in a veth's ring.
const LANE_LEN: usize = 256;

/// The way from a core to all others of its interface.
#[derive(Debug, Default)]
pub struct Siblings {
    /// By core number; none to itself.
    to: Vec<Option<(LaneSender<()>, Arc<Waker>)>>,
    from: Vec<LaneReceiver<()>>,
}

/// The ways between the cores whose wakers these are, one for each core.
pub fn siblings(wakers: &[Arc<Waker>]) -> Vec<Siblings> {
    let mut all: Vec<Siblings> = wakers.iter().map(|_| Siblings::default()).collect();
    for from in 0..wakers.len() {
        for (to, waker) in wakers.iter().enumerate() {
            let lane = (from != to).then(|| {
                let (sender, receiver) = lane::lane(LANE_LEN);
                all[to].from.push(receiver);
                (sender, Arc::clone(waker))
            });
            all[from].to.push(lane);
        }
    }
    all
}

impl Siblings {
    /// Whether a frame waits that another core has handed on.
    pub(super) fn has_frame(&self) -> bool {
        self.from.iter().any(|lane| !lane.is_empty())
    }

    /// Hands on a frame that no exchange here wants, if it is of another core's, and counts what becomes of it.
    pub(super) fn take(&mut self, bytes: &[u8], counters: &mut Counters) {
        match self.hand_on(bytes) {
            Ok(()) => counters.handed_on += 1,
            Err(reason) => counters.drop_frame(reason),
        }
    }

    fn hand_on(&mut self, bytes: &[u8]) -> Result<(), DropReason> {
        let cores = self.to.len() as u16;
        let owner = ox_id_of(bytes).filter(|_| cores > 0).and_then(|ox_id| ox_id::owner(ox_id, cores));
        let way = owner.and_then(|owner| self.to[usize::from(owner)].as_mut());
        let (lane, waker) = way.ok_or(DropReason::NoExchange)?;
        if bytes.len() > BUFFER_LEN {
            return Err(DropReason::Length);
        }
        let mut buffer = lane.take_spare().ok_or(DropReason::SiblingBusy)?;
        buffer[..bytes.len()].copy_from_slice(bytes);
        lane.push(Parcel { buffer, len: bytes.len() as u16, about: () });
        waker.wake();
        Ok(())
    }
}

impl<P: Port> Core<P> {
    /// Does what frames ask for that other cores have handed on.
    pub(super) fn take_handed_on(&mut self, now: Instant) -> bool {
        let mut busy = false;
        for lane in 0..self.siblings.from.len() {
            for _ in 0..BATCH {
                let Some(Parcel { buffer, len, .. }) = self.siblings.from[lane].pop() else { break };
                self.handle_handed_on(now, &buffer[..len.into()]);
                self.siblings.from[lane].give_spare(buffer);
                busy = true;
            }
        }
        busy
    }
}
