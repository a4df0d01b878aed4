//! A port's poll cores, each with a queue of its own, and what brings frames to them.

use datapath::consumer::Consumer;
use datapath::core::{ControlLinks, Core, CoreConfig, siblings};
use datapath::port::memory::{self, MemoryConfig, MemoryPort, MemoryWire};
use datapath::port::{Port, Waker};
use fc::messages::ox_id;
use fc::time::Instant;
use fc::wire::ethernet::{EtherType, EthernetHeader};
use fc::wire::fcoe::FcoeFrame;
use std::sync::Arc;

/// By what a NIC, or an XDP program, chooses the core that a frame comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Steering {
    /// By the OX_ID's core number.
    OxId,
    /// By whatever the frame has in its bytes.
    Anything,
}

/// How many cores, and how frames come to them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct CoresPlan {
    pub(crate) count: u16,
    pub(crate) steering: Steering,
    pub(crate) memory: MemoryConfig,
}

pub(crate) struct Cores {
    plan: CoresPlan,
    each: Vec<SteppedCore>,
}

struct SteppedCore {
    core: Core<MemoryPort>,
    wire: MemoryWire,
    /// It does nothing until then.
    stands_until: Instant,
}

impl Cores {
    pub(crate) fn new(plan: CoresPlan, mtu: u32, waker: &Arc<Waker>) -> Self {
        let count = plan.count;
        let wakers: Vec<_> = (0..count).map(|_| Arc::clone(waker)).collect();
        let ways =
            if plan.steering == Steering::Anything && count > 1 { siblings(&wakers) } else { Vec::new() };
        let mut ways = ways.into_iter();
        let core = |number| {
            let (port, wire) = memory::wire(plan.memory);
            let config = CoreConfig { number, cores: count };
            let core = Core::new(port.with_mtu(mtu), &config, Arc::clone(waker), Arc::clone(waker));
            let core = core.with_siblings(ways.next().unwrap_or_default());
            SteppedCore { core, wire, stands_until: Instant::ZERO }
        };
        Self { plan, each: (0..count).map(core).collect() }
    }

    pub(crate) fn links(&self) -> ControlLinks {
        ControlLinks::new(self.each.iter().map(|one| one.core.control_link()).collect())
    }

    /// A consumer of one of the cores.
    pub(crate) fn attach_consumer(&mut self, turn: usize, depth: usize, waker: Arc<Waker>) -> Consumer {
        let count = self.each.len();
        self.each[turn % count].core.attach_consumer(depth, waker)
    }

    /// One of them does nothing until then.
    pub(crate) fn stand(&mut self, turn: usize, until: Instant) {
        let count = self.each.len();
        self.each[turn % count].stands_until = until;
    }

    /// Whether one of them does nothing.
    pub(crate) fn any_stands(&self, now: Instant) -> bool {
        self.each.iter().any(|one| now < one.stands_until)
    }

    /// A frame has come, and whether there was room for it.
    pub(crate) fn receive(&mut self, bytes: &[u8]) -> bool {
        let to = match self.plan.steering {
            Steering::OxId => owner(bytes, self.plan.count),
            Steering::Anything => {
                let sum =
                    bytes.iter().take(64).fold(0u16, |sum, &byte| sum.wrapping_mul(31) ^ u16::from(byte));
                sum % self.plan.count
            }
        };
        self.each[usize::from(to)].wire.push(bytes)
    }

    /// Does what can be done now, and says whether that was anything; `sent` takes what goes out.
    ///
    /// # Errors
    /// Those of `sent`.
    pub(crate) fn step(
        &mut self,
        now: Instant,
        mut sent: impl FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<bool, String> {
        let mut is_busy = false;
        for one in self.each.iter_mut().filter(|one| one.stands_until <= now) {
            one.stands_until = Instant::ZERO;
            is_busy |= one.core.step(now);
            while let Some(result) = one.wire.pop_with(&mut sent) {
                result?;
            }
        }
        Ok(is_busy)
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let own = |one: &SteppedCore| match one.stands_until {
            Instant::ZERO => one.core.poll_timeout(),
            until => Some(one.core.poll_timeout().map_or(until, |at| at.max(until))),
        };
        self.each.iter().filter_map(own).min()
    }

    /// Exchanges that are open or rest.
    pub(crate) fn open_exchanges(&self) -> usize {
        self.each.iter().map(|one| one.core.report().open_exchanges).sum()
    }

    /// Stops them.
    ///
    /// # Errors
    /// When a frame's memory is not where it belongs.
    pub(crate) fn stop(self, now: Instant) -> Result<(), String> {
        for one in self.each {
            let mut port = one.core.stop(now);
            // It takes back what was lent, and no frame.
            port.receive(&mut Vec::new(), 0);
            let account = port.account();
            if !account.is_balanced() || account.free != account.total {
                return Err(format!("frames were lost or used twice: {account:?}"));
            }
        }
        Ok(())
    }
}

/// The core that an XDP program gives a frame to.
fn owner(bytes: &[u8], cores: u16) -> u16 {
    let Ok((EthernetHeader { ethertype: EtherType::FCOE, .. }, payload)) = EthernetHeader::parse(bytes)
    else {
        return 0;
    };
    let ox_id = FcoeFrame::parse(payload).map_or(0, |frame| frame.header().ox_id.get());
    ox_id::owner(ox_id, cores).unwrap_or(0)
}
