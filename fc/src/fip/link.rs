//! The virtual links to the selected FCF: VN_Ports and their keep-alives.

use super::discovery::Lan;
use super::fcf::Fcf;
use crate::jitter::Jitter;
use crate::time::{Duration, Instant};
use crate::wire::fip::VxPort;
use crate::wire::{MacAddr, Wwn};
use alloc::vec::Vec;

/// The most VN_Ports of one ENode: 128 virtual machines with four ports each.
pub const MAX_VN_PORTS: usize = 512;
/// Time between a VN_Port's keep-alives (FC-BB-5, 7.9.4).
const VN_PORT_KEEP_ALIVE_PERIOD: Duration = Duration::from_secs(90);

/// The selected FCF and what hangs on it.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) lan: Lan,
    pub(super) fcf: Fcf,
    /// Where FCoE frames go.
    pub(super) fcoe_mac: MacAddr,
    /// The ENode's next keep-alive; counts while there are VN_Ports and the FCF wants it.
    keep_alive_at: Instant,
    vn_ports: Vec<VnPort>,
}

#[derive(Clone, Debug)]
struct VnPort {
    id: VxPort,
    keep_alive_at: Instant,
}

/// Whose keep-alive is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum KeepAlive {
    Enode,
    VnPort(VxPort),
}

impl Link {
    pub(super) fn new(now: Instant, lan: Lan, fcf: Fcf) -> Self {
        Self { lan, fcf, fcoe_mac: fcf.mac, keep_alive_at: now, vn_ports: Vec::new() }
    }

    /// Takes over what the FCF advertises now.
    pub(super) fn update(&mut self, now: Instant, fcf: Fcf) {
        self.fcf = fcf;
        self.keep_alive_at = self.keep_alive_at.min(now + fcf.fka.period());
    }

    /// Adds a VN_Port, or replaces the one with its WWPN. `false` if there are too many.
    ///
    /// The first keep-alives come at a random time within their periods: many ENodes that log in at once after
    /// a switch's restart shall not stay in step.
    pub(super) fn add(&mut self, now: Instant, id: VxPort, jitter: &mut Jitter) -> bool {
        self.remove(id.port_name);
        if self.vn_ports.len() == MAX_VN_PORTS {
            return false;
        }
        if self.vn_ports.is_empty() {
            self.keep_alive_at = now + jitter.up_to(self.fcf.fka.period());
        }
        let keep_alive_at = now + jitter.up_to(VN_PORT_KEEP_ALIVE_PERIOD);
        self.vn_ports.push(VnPort { id, keep_alive_at });
        true
    }

    pub(super) fn remove(&mut self, port_name: Wwn) {
        self.vn_ports.retain(|port| port.id.port_name != port_name);
    }

    /// Removes the VN_Ports that `is_cleared` picks, and gives them.
    pub(super) fn clear(&mut self, is_cleared: impl Fn(&VxPort) -> bool) -> Vec<VxPort> {
        self.vn_ports.extract_if(.., |port| is_cleared(&port.id)).map(|port| port.id).collect()
    }

    /// Moves every keep-alive that is due on by its period, less a tenth at random, and gives whose they are.
    pub(super) fn due_keep_alives(&mut self, now: Instant, jitter: &mut Jitter) -> Vec<KeepAlive> {
        let mut next = |period: Duration| now + (period - jitter.up_to(period / 10));
        let mut due = Vec::new();
        if self.enode_keep_alive_at().is_some_and(|at| now >= at) {
            due.push(KeepAlive::Enode);
            self.keep_alive_at = next(self.fcf.fka.period());
        }
        for port in self.vn_ports.iter_mut().filter(|port| now >= port.keep_alive_at) {
            due.push(KeepAlive::VnPort(port.id));
            port.keep_alive_at = next(VN_PORT_KEEP_ALIVE_PERIOD);
        }
        due
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.enode_keep_alive_at().into_iter().chain(self.vn_ports.iter().map(|p| p.keep_alive_at)).min()
    }

    fn enode_keep_alive_at(&self) -> Option<Instant> {
        let wanted = !self.vn_ports.is_empty() && !self.fcf.fka.no_keep_alives;
        wanted.then_some(self.keep_alive_at)
    }
}
