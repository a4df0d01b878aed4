//! What makes the floor fast, each left out in turn, and what was thought to.

use super::{BATCH, Exchanges};
use crate::link::{self, End};
use anyhow::Context as _;
use datapath::port::af_xdp::AfXdpConfig;
use datapath::port::nic::NicPort;
use datapath::port::steering::ReceiveSteering;
use datapath::port::xdp::AttachMode;
use fc::wire::MacAddr;
use nix::sys::socket::{setsockopt, sockopt};
use std::fs;
use xfcoe::demo::two_cpus;
use xfcoe::netns::INITIATOR_MAC;

/// How a link is used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Way {
    /// But for its interface.
    pub(super) config: AfXdpConfig,
    pub(super) attach: AttachMode,
    /// Frames between two doorbells, and taken from the ring at a time.
    pub(super) batch: usize,
    /// Whether frames on their way out may take all the memory that they want.
    pub(super) send_buffer: bool,
    /// Who does what the kernel does for received frames: whoever sends them, or by RPS the CPU of who receives them.
    pub(super) sender_receives: bool,
}

/// A measure: its name, and how a link is used without it.
pub(super) type Measure = (&'static str, fn(&mut Way));

pub(super) const MEASURES: [Measure; 10] = [
    ("batches of 64: 1", |way| way.batch = 1),
    ("batches of 64: 4", |way| way.batch = 4),
    ("batches of 64: 16", |way| way.batch = 16),
    // The kernel then copies from byte 256 of a page to byte 272 of another.
    ("headroom of 32: 16", |way| way.config.headroom = 16),
    ("send buffer: the system's", |way| way.send_buffer = false),
    ("send budget of 128: 32", |way| way.config.send_budget = 32),
    ("need_wakeup: none", |way| way.config.need_wakeup = false),
    ("3072 chunks: 512", |way| (way.config.receive_frames, way.config.transmit_frames) = (256, 256)),
    ("generic XDP: native", |way| way.attach = AttachMode::Native),
    ("received by who sends: by who receives", |way| way.sender_receives = false),
];

impl Way {
    /// With all that helps.
    pub(super) fn new() -> Self {
        Self {
            config: AfXdpConfig::new("", 0),
            attach: AttachMode::default(),
            batch: BATCH,
            send_buffer: true,
            sender_receives: true,
        }
    }

    /// Lays a link that is used so.
    pub(super) fn lay(&self) -> anyhow::Result<Exchanges> {
        Ok(Exchanges::between(link::veth_with(|interface, mac| self.open(interface, mac))?, self.batch))
    }

    fn open(&self, interface: &str, mac: MacAddr) -> anyhow::Result<End> {
        let config = AfXdpConfig { interface: interface.into(), ..self.config.clone() };
        let mut end = End::open_queue(&config, self.attach, mac)?;
        let NicPort::AfXdp(port) = &mut end.port else { return Ok(end) };
        if !self.send_buffer {
            let default = fs::read_to_string("/proc/sys/net/core/wmem_default")
                .context("cannot ask how long a send buffer is")?;
            // The kernel counts its book-keeping, too, and doubles what it is told.
            setsockopt(port, sockopt::SndBuf, &(default.trim().parse::<usize>()? / 2))?;
        }
        if !self.sender_receives {
            let (near, far) = two_cpus()?;
            let cpu = if mac == INITIATOR_MAC { near } else { far }.context("there are no two CPUs")?;
            let mut steering = ReceiveSteering::of(interface, config.queue)?;
            steering.receive_on(Some(cpu)).context("cannot say which CPU receives")?;
            port.set_steering(Some(steering));
        }
        Ok(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_measure_is_another_one() {
        let without = |(_, leave_out): &Measure| {
            let mut way = Way::new();
            leave_out(&mut way);
            way
        };
        let ways: Vec<_> = std::iter::once(Way::new()).chain(MEASURES.iter().map(without)).collect();
        for (at, way) in ways.iter().enumerate() {
            assert!(!ways[..at].contains(way), "{way:?}");
        }
    }
}
