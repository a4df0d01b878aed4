//! One VN_Port of ours, and what belongs to it alone.

use fc::messages::NexusId;
use fc::vn_port::{Session, Target, VnPort};
use fc::wire::{MacAddr, Wwn};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One of our VN_Ports, in the order in which they were added: the interface's own is the first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct PortId(pub(crate) u32);

impl PortId {
    /// The interface's own VN_Port.
    pub(crate) const OWN: Self = Self(0);
}

/// A VN_Port of ours.
pub(crate) struct LocalPort {
    /// The identity's name; the interface's own has none.
    pub(crate) name: Option<Arc<str>>,
    /// The ENode that it logs in by.
    pub(crate) enode: MacAddr,
    pub(crate) vn_port: VnPort,
    /// What the VN_Port has, while the MAC address is in use.
    pub(crate) session: Option<Session>,
    /// By WWPN.
    pub(crate) targets: BTreeMap<Wwn, Box<TargetEntry>>,
    /// What its login failed with last.
    pub(crate) login_failure: Option<String>,
    /// It logs out, and is forgotten then.
    pub(crate) is_leaving: bool,
}

/// A target port that was ready at least once.
pub(crate) struct TargetEntry {
    pub(crate) target: Target,
    pub(crate) nexus: NexusId,
    pub(crate) ready: bool,
    /// How often it has become ready.
    pub(crate) logins: u32,
    pub(crate) gone: Option<String>,
    /// It has been gone for longer than it is shown.
    pub(crate) is_forgotten: bool,
}

impl LocalPort {
    pub(crate) const fn new(name: Option<Arc<str>>, enode: MacAddr, vn_port: VnPort) -> Self {
        Self {
            name,
            enode,
            vn_port,
            session: None,
            targets: BTreeMap::new(),
            login_failure: None,
            is_leaving: false,
        }
    }

    pub(crate) const fn port_name(&self) -> Wwn {
        self.vn_port.identity().port_name
    }

    /// How it is called in the log.
    pub(crate) fn label(&self) -> &str {
        self.name.as_deref().unwrap_or("the interface's own")
    }

    /// The targets that are there, or have gone not long ago.
    pub(crate) fn shown_targets(&self) -> impl Iterator<Item = &TargetEntry> {
        self.targets.values().map(|entry| &**entry).filter(|entry| !entry.is_forgotten)
    }
}
