//! Which logical units, of which ports, are the same disk.

use crate::disk::DiskInfo;
use crate::disk_state::{DiskState, Doubt};
use crate::path::{Path, PathChoice, PathId, PortNumber};
use control::{Inventory, LunView, TargetView};
use fc::lun_scan::LogicalUnit;
use fc::time::Duration;
use fc::wire::Wwn;
use fc::wire::scsi::target_port_groups::AccessState;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What tells a disk from all others.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct DiskKey {
    /// Who sees it. Another identity may do with it what this one must not, so it is another disk then.
    identity: Option<Arc<str>>,
    unit: UnitKey,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum UnitKey {
    /// Its name by VPD page 83.
    Named(String),
    /// A disk without a name has one path: its target port and LUN.
    At(Wwn, [u8; 8]),
}

/// The disks of one or more ports. Logical units with the same name (SPC-4, 7.8.6), seen by identities of the same
/// name, are paths to one disk.
#[derive(Debug, Default)]
pub struct DiskMap {
    choice: PathChoice,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    ports: Vec<Port>,
    disks: BTreeMap<DiskKey, Arc<DiskState>>,
}

#[derive(Debug)]
struct Port {
    fast_io_fail: Duration,
    doubt: Arc<Doubt>,
    found: Vec<Found>,
}

/// A path, and what is said of the disk there.
#[derive(Debug)]
struct Found {
    key: DiskKey,
    /// `None` from a path that does not lead to the medium now.
    info: Option<DiskInfo>,
    path: Path,
}

/// What is known of a disk, all its paths taken together.
#[derive(Default)]
struct Joined {
    info: Option<DiskInfo>,
    paths: Vec<Path>,
    doubts: Vec<Arc<Doubt>>,
}

impl DiskMap {
    /// No ports. `choice` is that of disks with several paths.
    pub fn new(choice: PathChoice) -> Self {
        Self { choice, inner: Mutex::default() }
    }

    /// One more port, whose requests wait for `fast_io_fail` when no path works.
    ///
    /// # Panics
    /// If there are 65,536 already.
    pub fn add_port(&self, fast_io_fail: Duration, doubt: Arc<Doubt>) -> PortNumber {
        let mut inner = self.lock();
        let number = u16::try_from(inner.ports.len()).expect("a host has few ports");
        inner.ports.push(Port { fast_io_fail, doubt, found: Vec::new() });
        PortNumber(number)
    }

    /// This is what a port sees now.
    pub fn update(&self, number: PortNumber, inventory: &Inventory) {
        let mut inner = self.lock();
        let port = &mut inner.ports[usize::from(number.0)];
        let units =
            inventory.targets.iter().flat_map(|target| target.luns.iter().map(move |lun| (target, lun)));
        port.found =
            units.filter_map(|(target, view)| find(number, port.fast_io_fail, target, view)).collect();
        inner.join(self.choice);
    }

    /// The disks, in the order of their first paths' target ports and LUNs.
    pub fn disks(&self) -> Vec<Arc<DiskState>> {
        let mut disks: Vec<_> = self.lock().disks.values().cloned().collect();
        disks.retain(|disk| !disk.paths().is_empty());
        disks.sort_by_key(|disk| disk.paths().iter().map(|path| (path.target, path.id.lun)).min());
        disks
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The path that a logical unit is; `None` if it is no disk.
fn find(port: PortNumber, fast_io_fail: Duration, target: &TargetView, view: &LunView) -> Option<Found> {
    let unit = view.unit.as_ref().ok().filter(|unit| unit.is_disk())?;
    let info = DiskInfo::new(unit);
    let unit_key = match unit.identity() {
        Some(id) => UnitKey::Named(id.to_string()),
        None => UnitKey::At(target.port_name, view.lun.0),
    };
    let key = DiskKey { identity: target.identity.clone(), unit: unit_key };
    let path = Path {
        id: PathId { port, nexus: target.nexus, lun: view.lun },
        target: target.port_name,
        is_ready: target.ready,
        logins: target.logins,
        access: access(unit),
        fast_io_fail,
    };
    Some(Found { key, info, path })
}

/// One that can't tell its capacity is no path to the medium, whatever it says of its access.
fn access(unit: &LogicalUnit) -> AccessState {
    match unit.access.unwrap_or(AccessState::OPTIMIZED) {
        AccessState::OPTIMIZED | AccessState::NON_OPTIMIZED if unit.capacity.is_none() => {
            AccessState::UNAVAILABLE
        }
        access => access,
    }
}

impl Inner {
    fn join(&mut self, choice: PathChoice) {
        let mut joined: BTreeMap<&DiskKey, Joined> = BTreeMap::new();
        for port in &self.ports {
            for Found { key, info, path } in &port.found {
                let disk = joined.entry(key).or_default();
                let block_len = |info: &DiskInfo| info.block_len;
                if info
                    .as_ref()
                    .zip(disk.info.as_ref())
                    .is_some_and(|(one, other)| block_len(one) != block_len(other))
                {
                    tracing::error!(
                        target_port = %path.target, lun = %path.id.lun, disk = ?key,
                        "left out: it has the name of another disk, and blocks of another length"
                    );
                    continue;
                }
                disk.info = disk.info.take().or_else(|| info.clone());
                disk.paths.push(path.clone());
                if !disk.doubts.iter().any(|doubt| Arc::ptr_eq(doubt, &port.doubt)) {
                    disk.doubts.push(Arc::clone(&port.doubt));
                }
            }
        }
        for (key, state) in &self.disks {
            if !joined.contains_key(key) {
                state.update(None, Vec::new(), Vec::new());
            }
        }
        // Who holds a disk may wait for its return; nobody else does.
        self.disks.retain(|key, state| joined.contains_key(key) || Arc::strong_count(state) > 1);
        for (key, Joined { info, paths, doubts }) in joined {
            match (self.disks.get(key), info) {
                (Some(state), info) => state.update(info, paths, doubts),
                (None, Some(info)) => {
                    let state = DiskState::new(info, Vec::new(), choice).of_identity(key.identity.clone());
                    state.update(None, paths, doubts);
                    self.disks.insert(key.clone(), Arc::new(state));
                }
                (None, None) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests;
