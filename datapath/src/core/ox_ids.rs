//! The OX_IDs of a core: what each stands for, and which rest.

use fc::messages::ox_id;
use fc::time::Instant;
use fc::wire::FcId;
use fc::wire::header::UNASSIGNED_XID;
use std::collections::VecDeque;

/// All values of an OX_ID.
const ALL: usize = 1 << 16;

/// What an OX_ID stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Use {
    /// Nothing: it may be given.
    Free,
    /// The command of the exchange at this index.
    Command(u16),
    /// A question, by REC or SRR, about the command of the exchange at this index.
    Question(u16),
    /// A request whose reply is of no interest: RRQ, or a question that was answered otherwise. It rests, too.
    Forgotten,
    /// Nothing any more, but frames that carry it may still be on their way.
    Resting,
}

/// An OX_ID that rests.
pub(super) struct Rest {
    pub(super) ox_id: u16,
    pub(super) until: Instant,
    /// The responder keeps its side until it is told that the rest is over.
    pub(super) qualified: Option<Qualified>,
}

/// What an RRQ needs to know.
pub(super) struct Qualified {
    pub(super) nexus: u16,
    pub(super) our_id: FcId,
    pub(super) peer_id: FcId,
    pub(super) rx_id: u16,
}

/// A core's OX_IDs. They are given in turn, each as late as can be after its last use: a frame that was held back for
/// long, or came twice, then finds nobody.
pub(super) struct OxIds {
    uses: Box<[Use; ALL]>,
    /// A bit for each that may be given.
    free: Box<[u64; ALL / 64]>,
    free_count: usize,
    /// All that are the core's.
    len: usize,
    last: u16,
    resting: VecDeque<Rest>,
}

impl OxIds {
    /// Those of core `number` of `cores`.
    pub(super) fn new(number: u16, cores: u16) -> Self {
        let mut word = 0u64;
        for block in (number..ox_id::MAX_CORES).step_by(cores.into()) {
            for byte in 0..u64::BITS / 8 {
                word |= 1 << (byte * 8 + u32::from(block));
            }
        }
        let len = word.count_ones() as usize * (ALL / 64);
        Self {
            uses: vec![Use::Free; ALL].try_into().expect("as many as there are"),
            free: Box::new([word; ALL / 64]),
            free_count: len,
            len,
            last: UNASSIGNED_XID,
            resting: VecDeque::new(),
        }
    }

    /// How many the core has.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// The next free one, which stands for `what` from now on.
    pub(super) fn take(&mut self, what: Use) -> Option<u16> {
        if self.free_count == 0 {
            return None;
        }
        let mut at = usize::from(self.last.wrapping_add(1));
        let mut bits = self.free[at / 64] >> (at % 64) << (at % 64);
        while bits == 0 {
            at = (at / 64 * 64 + 64) % ALL;
            bits = self.free[at / 64];
        }
        let taken = at / 64 * 64 + bits.trailing_zeros() as usize;
        self.free[taken / 64] &= !(1 << (taken % 64));
        self.free_count -= 1;
        self.uses[taken] = what;
        self.last = taken as u16;
        Some(self.last)
    }

    pub(super) fn get(&self, ox_id: u16) -> Use {
        self.uses[usize::from(ox_id)]
    }

    pub(super) const fn has_free(&self) -> bool {
        self.free_count > 0
    }

    /// Nothing with this OX_ID is on its way any more.
    pub(super) fn free(&mut self, ox_id: u16) {
        let what = std::mem::replace(&mut self.uses[usize::from(ox_id)], Use::Free);
        assert_ne!(what, Use::Free, "an OX_ID is freed twice");
        self.free[usize::from(ox_id) / 64] |= 1 << (ox_id % 64);
        self.free_count += 1;
    }

    /// It may not be given for a while.
    pub(super) fn rest(&mut self, rest: Rest) {
        let what = &mut self.uses[usize::from(rest.ox_id)];
        *what = match *what {
            Use::Command(_) => Use::Resting,
            Use::Question(_) | Use::Forgotten => Use::Forgotten,
            Use::Free | Use::Resting => panic!("an OX_ID rests that is not in use"),
        };
        self.resting.push_back(rest);
    }

    /// When the first rest ends. R_A_TOVs differ little: one that is shorter than those before it waits for them.
    pub(super) fn next_rested(&self) -> Option<Instant> {
        self.resting.front().map(|rest| rest.until)
    }

    /// Makes the one that has rested longest available again.
    pub(super) fn end_rest(&mut self) -> Option<Rest> {
        let rest = self.resting.pop_front()?;
        self.free(rest.ox_id);
        Some(rest)
    }

    /// How many rest.
    pub(super) fn resting(&self) -> usize {
        self.resting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_cores_of_an_interface_share_all_ids_but_controls() {
        for cores in 1..=ox_id::MAX_CORES {
            let mut seen = BTreeSet::new();
            for number in 0..cores {
                let mut ox_ids = OxIds::new(number, cores);
                while let Some(ox_id) = ox_ids.take(Use::Forgotten) {
                    assert_eq!(ox_id::owner(ox_id, cores), Some(number));
                    assert!(seen.insert(ox_id), "{ox_id:04x} is two cores'");
                }
            }
            assert_eq!(seen.len(), ALL / 8 * 7);
            assert!(seen.iter().all(|&ox_id| ox_id::core(ox_id) != ox_id::CONTROL));
        }
    }

    #[test]
    fn an_id_comes_back_after_all_others() {
        let mut ox_ids = OxIds::new(0, 1);
        let first = ox_ids.take(Use::Command(1)).unwrap();
        ox_ids.free(first);
        for _ in 1..ALL / 8 * 7 {
            let other = ox_ids.take(Use::Command(1)).unwrap();
            assert_ne!(other, first);
            ox_ids.free(other);
        }
        assert_eq!(ox_ids.take(Use::Command(1)), Some(first));
    }

    #[test]
    fn one_that_rests_is_not_given() {
        let mut ox_ids = OxIds::new(3, 7);
        let rests = ox_ids.take(Use::Command(1)).unwrap();
        ox_ids.rest(Rest { ox_id: rests, until: Instant::from_nanos(5), qualified: None });
        assert_eq!((ox_ids.get(rests), ox_ids.resting()), (Use::Resting, 1));
        let mut others = 0;
        while let Some(other) = ox_ids.take(Use::Forgotten) {
            assert_ne!(other, rests);
            others += 1;
        }
        assert_eq!(others, ALL / 8 - 1);
        assert_eq!(ox_ids.next_rested(), Some(Instant::from_nanos(5)));
        assert_eq!(ox_ids.end_rest().map(|rest| rest.ox_id), Some(rests));
        assert_eq!(ox_ids.take(Use::Question(2)), Some(rests));
        assert_eq!(ox_ids.get(rests), Use::Question(2));
    }
}
