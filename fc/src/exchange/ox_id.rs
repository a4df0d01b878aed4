//! Which OX_IDs an originator may give.

use crate::wire::header::UNASSIGNED_XID;

/// The OX_IDs of one originator: those whose bits under a mask have one value. 0xffff is never among them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OxIdRange {
    mask: u16,
    value: u16,
}

impl OxIdRange {
    /// All OX_IDs `id` with `id & mask == value`.
    ///
    /// # Panics
    /// If no OX_ID is among them.
    pub const fn new(mask: u16, value: u16) -> Self {
        assert!(value & !mask == 0, "a value outside of its mask");
        assert!(!(mask == u16::MAX && value == UNASSIGNED_XID), "no OX_ID is in the range");
        Self { mask, value }
    }

    /// Whether `id` is one of them.
    pub const fn contains(self, id: u16) -> bool {
        id & self.mask == self.value && id != UNASSIGNED_XID
    }

    /// How many they are.
    pub const fn count(self) -> usize {
        let all = 1 << self.mask.count_zeros();
        if self.value == self.mask { all - 1 } else { all }
    }

    /// The one that follows `id`, which need not be one of them; after the last comes the first.
    pub const fn after(self, id: u16) -> u16 {
        // With the masked bits set, the carry of the increment runs through them.
        let next = (id | self.mask).wrapping_add(1) & !self.mask | self.value;
        if next == UNASSIGNED_XID { self.after(next) } else { next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn a_walk_finds_every_id_once(mask in any::<u16>(), value in any::<u16>(), start in any::<u16>()) {
            let value = value & mask;
            prop_assume!(mask != u16::MAX || value != UNASSIGNED_XID);
            let range = OxIdRange::new(mask, value);
            let mut id = start;
            let mut seen = BTreeSet::new();
            for _ in 0..range.count() {
                id = range.after(id);
                prop_assert!(range.contains(id));
                seen.insert(id);
            }
            prop_assert_eq!(seen.len(), range.count());
            prop_assert_eq!(range.after(id), *seen.iter().find(|&&first| range.after(id) == first).unwrap());
        }
    }

    #[test]
    fn the_unassigned_id_is_left_out() {
        let range = OxIdRange::new(7, 7);
        assert_eq!(range.count(), 8191);
        assert_eq!(range.after(0xfff7), 7);
        assert_eq!(OxIdRange::new(7, 3).count(), 8192);
        assert!(!range.contains(UNASSIGNED_XID));
    }
}
