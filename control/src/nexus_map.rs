//! Which nexus stands for a VN_Port of ours and a remote port.

use fc::messages::NexusId;
use fc::wire::Wwn;
use std::collections::{BTreeMap, VecDeque};

/// Our VN_Port's WWPN, and the target port's.
pub(crate) type Pair = (Wwn, Wwn);

/// Nexus ids by pairs of ports. A pair keeps its id for as long as both are there, so that whoever holds a disk needn't
/// hear of a new login. Where an identity has gone, its ids are given to others only when there are no more that nobody
/// has had: a command that names one may still wait in a queue, and must not reach another one's disk.
#[derive(Debug, Default)]
pub(crate) struct NexusMap {
    ids: BTreeMap<Pair, NexusId>,
    pairs: Vec<Pair>,
    /// Of VN_Ports that have gone, the one that did so first at the front.
    released: VecDeque<NexusId>,
}

impl NexusMap {
    /// The id of a pair; `None` when a new one finds all 65,536 taken.
    pub(crate) fn id(&mut self, pair: Pair) -> Option<NexusId> {
        if let Some(&id) = self.ids.get(&pair) {
            self.released.retain(|&released| released != id);
            return Some(id);
        }
        let id = match u16::try_from(self.pairs.len()) {
            Ok(next) => {
                self.pairs.push(pair);
                NexusId(next)
            }
            Err(_) => {
                let id = self.released.pop_front()?;
                let earlier = std::mem::replace(&mut self.pairs[usize::from(id.0)], pair);
                self.ids.remove(&earlier);
                id
            }
        };
        self.ids.insert(pair, id);
        Some(id)
    }

    /// The pair that an id stands for.
    pub(crate) fn pair(&self, id: NexusId) -> Option<Pair> {
        self.pairs.get(usize::from(id.0)).copied()
    }

    /// A VN_Port of ours has gone.
    pub(crate) fn release(&mut self, port_name: Wwn) {
        let all = (port_name, Wwn([0; 8]))..=(port_name, Wwn([0xff; 8]));
        self.released.extend(self.ids.range(all).map(|(_, &id)| id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: Wwn = Wwn([7; 8]);

    fn pair(name: u64) -> Pair {
        (Wwn::from_u64(name), TARGET)
    }

    #[test]
    fn a_pair_keeps_its_id_and_ids_are_bounded() {
        let mut map = NexusMap::default();
        let first = map.id(pair(1)).unwrap();
        assert_ne!(map.id(pair(2)), Some(first));
        assert_ne!(map.id((TARGET, Wwn::from_u64(1))), Some(first));
        assert_eq!((map.id(pair(1)), map.pair(first)), (Some(first), Some(pair(1))));
        for name in 3..1 << 16 {
            assert!(map.id(pair(name)).is_some());
        }
        assert_eq!(map.id(pair(0)), None);
        assert_eq!(map.id(pair(1)), Some(first));
    }

    #[test]
    fn ids_of_ports_that_have_gone_are_used_again_when_there_are_no_others() {
        let mut map = NexusMap::default();
        let first = map.id(pair(1)).unwrap();
        let second = map.id(pair(2)).unwrap();
        map.release(Wwn::from_u64(1));
        assert_eq!(map.id(pair(3)), Some(NexusId(2)), "not the one that was released");
        assert_eq!(map.id(pair(1)), Some(first), "it is back");
        map.release(Wwn::from_u64(2));
        map.release(Wwn::from_u64(1));
        for name in 4..=1 << 16 {
            assert!(map.id(pair(name)).is_some());
        }
        assert_eq!(map.id(pair(1 << 17)), Some(second), "the first that was released");
        assert_eq!(map.id(pair(2)), Some(first), "it has lost its own");
        assert_eq!((map.id(pair(1)), map.pair(first)), (None, Some(pair(2))));
    }
}
