//! Whether a core's reads are so long, and so many at a time, that its own CPU had better receive their frames: see
//! [`Port::receive_on_this_cpu`](crate::port::Port::receive_on_this_cpu).

use super::Counters;

/// Frames after which to look again.
const WINDOW: u64 = 16_384;

/// Bytes of a command's data, and of all commands that are out, from which on reads are in bulk: on a veth, those of 16 KiB at
/// depth 8 gain a third by it, and at depth 1 they would lose a quarter.
const BULK: Load = Load { len: 12 << 10, out: 96 << 10 };
/// Below either, they are not any more.
const NO_BULK: Load = Load { len: 8 << 10, out: 64 << 10 };

/// Bytes.
#[derive(Clone, Copy)]
struct Load {
    len: u64,
    out: u64,
}

/// What is known of it.
#[derive(Debug, Default)]
pub(super) struct Bulk {
    is_bulk: bool,
    /// Since the last look: frames, the batches that they came in, and the commands that were out, summed over those.
    frames: u64,
    batches: u64,
    open: u64,
    /// At the last look: commands that had ended, and what they had read.
    ended: u64,
    read_bytes: u64,
}

impl Bulk {
    /// Notes a batch of received frames, and how many commands are out. Tells a change.
    #[inline]
    pub(super) fn note(&mut self, frames: usize, open: usize, counters: &Counters) -> Option<bool> {
        if frames == 0 {
            return None;
        }
        self.frames += frames as u64;
        self.batches += 1;
        self.open += open as u64;
        if self.frames < WINDOW { None } else { self.look(counters) }
    }

    fn look(&mut self, counters: &Counters) -> Option<bool> {
        let ended = (counters.ended - self.ended).max(1);
        let len = (counters.read_bytes - self.read_bytes) / ended;
        let out = len * self.open / self.batches;
        let is_bulk = if self.is_bulk {
            len >= NO_BULK.len && out >= NO_BULK.out
        } else {
            len >= BULK.len && out >= BULK.out
        };
        let has_changed = is_bulk != self.is_bulk;
        let Counters { ended, read_bytes, .. } = *counters;
        *self = Self { is_bulk, ended, read_bytes, ..Self::default() };
        has_changed.then_some(is_bulk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The changes that come of reads of `kib` KiB at `depth`, whose frames come eight at a time.
    fn changes(bulk: &mut Bulk, counters: &mut Counters, kib: u64, depth: usize) -> Vec<bool> {
        let mut changes = Vec::new();
        let frames = kib.div_ceil(2) + 1;
        for _ in 0..3 * WINDOW / frames {
            (0..frames / 8).for_each(|_| changes.extend(bulk.note(8, depth, counters)));
            counters.read_bytes += kib << 10;
            counters.ended += 1;
            changes.extend(bulk.note((frames % 8) as usize, depth, counters));
            changes.extend(bulk.note(0, 0, counters));
        }
        changes
    }

    #[test]
    fn long_reads_are_bulk_if_there_are_several() {
        let (mut bulk, mut counters) = (Bulk::default(), Counters::default());
        for (kib, depth, expected) in [
            (4, 1, vec![]),
            (4, 128, vec![]),
            (16, 1, vec![]),
            (16, 8, vec![true]),
            (64, 8, vec![]),
            (64, 1, vec![]),
            (32, 1, vec![false]),
            (64, 1, vec![]),
            (256, 1, vec![true]),
            (4, 32, vec![false]),
        ] {
            let changes = changes(&mut bulk, &mut counters, kib, depth);
            assert_eq!(changes, expected, "{kib} KiB, {depth} at a time");
        }
    }

    #[test]
    fn frames_without_a_command_are_no_bulk() {
        let mut bulk = Bulk::default();
        assert!((0..WINDOW).all(|_| bulk.note(64, 1000, &Counters::default()).is_none()));
    }
}
