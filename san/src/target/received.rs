//! Which bytes of a burst have come.

/// The most separate ranges that are kept. Ethernet keeps the order of a flow, so that more than one means that
/// frames were lost or that somebody plays with them.
const MAX_RANGES: usize = 4;

/// Ranges of offsets, apart from each other and in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Received {
    ranges: [(u32, u32); MAX_RANGES],
    count: u8,
}

impl Received {
    /// Adds `start..end`, which is not empty. `false` if it can't be kept: there would be too many ranges.
    pub(super) fn insert(&mut self, start: u32, end: u32) -> bool {
        let count = usize::from(self.count);
        // In order, the usual case.
        if count > 0 && self.ranges[count - 1].1 == start {
            self.ranges[count - 1].1 = end;
            return true;
        }
        let ranges = &self.ranges[..count];
        let before = ranges.iter().take_while(|range| range.1 < start).count();
        let touched = ranges[before..].iter().take_while(|range| range.0 <= end).count();
        let after = count - before - touched;
        if before + 1 + after > MAX_RANGES {
            return false;
        }
        let merged = ranges[before..before + touched]
            .iter()
            .fold((start, end), |whole, range| (whole.0.min(range.0), whole.1.max(range.1)));
        self.ranges.copy_within(before + touched..count, before + 1);
        self.ranges[before] = merged;
        self.count = (before + 1 + after) as u8;
        true
    }

    /// Whether all of `start..end` is there.
    pub(super) fn covers(&self, start: u32, end: u32) -> bool {
        let ranges = &self.ranges[..usize::from(self.count)];
        start == end || ranges.iter().any(|range| range.0 <= start && range.1 >= end)
    }

    /// Bytes that are there from `start` on.
    pub(super) fn len_from(&self, start: u32) -> u32 {
        let ranges = &self.ranges[..usize::from(self.count)];
        ranges.iter().map(|range| range.1.saturating_sub(range.0.max(start))).sum()
    }

    /// Where what is there from `start` on ends: `start` itself if nothing is.
    pub(super) fn end_from(&self, start: u32) -> u32 {
        let ranges = &self.ranges[..usize::from(self.count)];
        ranges.iter().find(|range| range.0 <= start && range.1 >= start).map_or(start, |range| range.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_a_set_of_bytes(inserts in proptest::collection::vec((0u32..40, 1u32..8), 0..30)) {
            let mut received = Received::default();
            let mut oracle = [false; 48];
            for (start, len) in inserts {
                let end = start + len;
                if received.insert(start, end) {
                    oracle[start as usize..end as usize].fill(true);
                }
                for (from, to) in [(0, 4), (start, end), (start.saturating_sub(1), end + 1)] {
                    let all = oracle[from as usize..to as usize].iter().all(|there| *there);
                    prop_assert_eq!(received.covers(from, to), all);
                    let len = oracle[from as usize..].iter().filter(|there| **there).count();
                    prop_assert_eq!(received.len_from(from) as usize, len);
                    let there = oracle[from as usize..].iter().take_while(|there| **there).count();
                    prop_assert_eq!(received.end_from(from), from + there as u32);
                }
            }
        }
    }

    #[test]
    fn ranges_are_bounded() {
        let mut received = Received::default();
        for start in [0, 10, 20, 30] {
            assert!(received.insert(start, start + 2));
        }
        assert!(!received.insert(40, 42), "a fifth gap");
        assert!(received.insert(2, 10), "closes one");
        assert!(received.insert(40, 42));
        assert!(received.covers(0, 12) && !received.covers(0, 13));
    }
}
