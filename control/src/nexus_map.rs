//! Which nexus a remote port has.

use fc::messages::NexusId;
use fc::wire::Wwn;
use std::collections::BTreeMap;

/// Nexus ids by target port. A port keeps its id for as long as the process lives, so that whoever holds a disk
/// needn't hear of a new login.
#[derive(Debug, Default)]
pub(crate) struct NexusMap {
    ids: BTreeMap<Wwn, NexusId>,
}

impl NexusMap {
    /// The id of a target port; `None` when a new port finds all 65,536 taken.
    pub(crate) fn id(&mut self, port_name: Wwn) -> Option<NexusId> {
        if let Some(&id) = self.ids.get(&port_name) {
            return Some(id);
        }
        let next = u16::try_from(self.ids.len()).ok()?;
        self.ids.insert(port_name, NexusId(next));
        Some(NexusId(next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_keeps_its_id_and_ids_are_bounded() {
        let mut map = NexusMap::default();
        let first = map.id(Wwn::from_u64(1));
        assert_ne!(map.id(Wwn::from_u64(2)), first);
        assert_eq!(map.id(Wwn::from_u64(1)), first);
        for name in 3..=1 << 16 {
            assert!(map.id(Wwn::from_u64(name)).is_some());
        }
        assert_eq!(map.id(Wwn::from_u64(0)), None);
        assert_eq!(map.id(Wwn::from_u64(1)), first);
    }
}
