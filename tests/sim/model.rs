//! What a disk may hold, word by word, by what was asked of it and how that ended.
//!
//! Requests overlap, fail, and are tried again, so that a block may hold what any of several writes has left there.
//! A write that ended well is certain from then on, and what had ended before it began can't come back. A write
//! that failed may have happened, in part, or may still happen. A target writes frame by frame, so that what is
//! whole is a word of four bytes.

use fc::wire::Wwn;
use fc::wire::fcp::Lun;
use std::fmt;

/// Bytes that are written at once, whatever the size of frames.
const WORD_LEN: usize = 4;
/// What a disk holds that was never written, or where nobody needs the data any more.
const ZEROS: u32 = 0;
/// Not yet.
const NEVER: u64 = u64::MAX;

/// Which disk.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct DiskKey {
    pub(crate) target: Wwn,
    pub(crate) lun: Lun,
}

impl fmt::Display for DiskKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.target, self.lun)
    }
}

/// A range of blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Blocks {
    pub(crate) lba: u64,
    pub(crate) count: u32,
}

impl Blocks {
    fn range(self) -> std::ops::Range<usize> {
        let first = usize::try_from(self.lba).expect("disks of a simulation are small");
        first..first + self.count as usize
    }
}

/// A write that is out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Write {
    blocks: Blocks,
    number: u32,
    /// What it writes: [`ZEROS`], or its number.
    value: u32,
}

/// A read that is out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Read {
    blocks: Blocks,
    began: u64,
}

/// What one write may have left in a block. Times are counts of what the model was told.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    number: u32,
    value: u32,
    began: u64,
    /// When it ended well.
    ended: u64,
    /// When a later write was certain.
    replaced: u64,
}

/// A disk as it may be.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    block_len: usize,
    blocks: Vec<Vec<Candidate>>,
    /// When the reads began that are out.
    reading: Vec<u64>,
    writes: u32,
    time: u64,
}

/// Data that no write can have left there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct WrongData {
    lba: u64,
    offset: usize,
    held: String,
    allowed: Vec<u32>,
}

impl fmt::Display for WrongData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lba, offset, held, allowed } = self;
        write!(f, "LBA {lba} holds at byte {offset} {held}; allowed is what these writes left: {allowed:?}")
    }
}

impl Model {
    /// A disk of zeros.
    pub(crate) fn new(blocks: u64, block_len: u32) -> Self {
        let zeros = Candidate { number: 0, value: ZEROS, began: 0, ended: 0, replaced: NEVER };
        let blocks = usize::try_from(blocks).expect("disks of a simulation are small");
        let blocks = vec![vec![zeros]; blocks];
        Self { block_len: block_len as usize, blocks, reading: Vec::new(), writes: 0, time: 0 }
    }

    pub(crate) fn blocks(&self) -> u64 {
        self.blocks.len() as u64
    }

    pub(crate) fn block_len(&self) -> usize {
        self.block_len
    }

    /// A write begins, with data that no other write has.
    pub(crate) fn begin_write(&mut self, blocks: Blocks) -> (Write, Vec<u8>) {
        self.writes += 1;
        let write = Write { blocks, number: self.writes, value: self.writes };
        self.begin(write);
        let mut data = vec![0; blocks.count as usize * self.block_len];
        for (lba, block) in (blocks.lba..).zip(data.chunks_exact_mut(self.block_len)) {
            fill(write.value, lba, block);
        }
        (write, data)
    }

    /// A discard begins, which is a write of zeros.
    pub(crate) fn begin_discard(&mut self, blocks: Blocks) -> Write {
        self.writes += 1;
        let write = Write { blocks, number: self.writes, value: ZEROS };
        self.begin(write);
        write
    }

    fn begin(&mut self, Write { blocks, number, value }: Write) {
        let candidate = Candidate { number, value, began: self.tick(), ended: NEVER, replaced: NEVER };
        self.blocks[blocks.range()].iter_mut().for_each(|block| block.push(candidate));
    }

    /// A write has ended well: what had ended when it began is gone. One that failed is not to be told of: it stays
    /// possible for ever.
    pub(crate) fn write_done(&mut self, Write { blocks, number, .. }: Write) {
        let now = self.tick();
        let oldest_read = self.reading.iter().copied().min().unwrap_or(now);
        for block in &mut self.blocks[blocks.range()] {
            let written = block.iter_mut().find(|candidate| candidate.number == number);
            let written = written.expect("a write that is out is a candidate");
            written.ended = now;
            let began = written.began;
            for old in block.iter_mut().filter(|old| old.ended < began) {
                old.replaced = old.replaced.min(now);
            }
            block.retain(|candidate| candidate.replaced >= oldest_read);
        }
    }

    /// A read begins.
    pub(crate) fn begin_read(&mut self, blocks: Blocks) -> Read {
        let began = self.tick();
        self.reading.push(began);
        Read { blocks, began }
    }

    /// A read has ended: without data, or with what must be right.
    ///
    /// # Errors
    /// [`WrongData`]
    pub(crate) fn end_read(&mut self, read: Read, data: Option<&[u8]>) -> Result<(), WrongData> {
        self.reading.retain(|&began| began != read.began);
        data.map_or(Ok(()), |data| self.check(read.blocks.lba, read.began, data))
    }

    /// Holds the whole disk, of which nothing is asked any more, against what it may be.
    ///
    /// # Errors
    /// [`WrongData`]
    pub(crate) fn check_all(&self, data: &[u8]) -> Result<(), WrongData> {
        assert_eq!(data.len(), self.blocks.len() * self.block_len, "the disk's length");
        self.check(0, self.time, data)
    }

    fn check(&self, lba: u64, since: u64, data: &[u8]) -> Result<(), WrongData> {
        let first = usize::try_from(lba).expect("disks of a simulation are small");
        for ((lba, block), candidates) in
            (lba..).zip(data.chunks_exact(self.block_len)).zip(&self.blocks[first..])
        {
            let allowed = || candidates.iter().filter(|candidate| candidate.replaced > since);
            // As a rule it is whole, and the last one's.
            if allowed().rev().any(|candidate| holds(candidate.value, lba, block)) {
                continue;
            }
            for (index, word) in (0..).zip(block.chunks_exact(WORD_LEN)) {
                let word = u32::from_le_bytes(word.try_into().expect("a word's length"));
                if !allowed().any(|candidate| word == expected(candidate.value, lba, index)) {
                    return Err(WrongData {
                        lba,
                        offset: index as usize * WORD_LEN,
                        held: self.describe(word, lba, index),
                        allowed: allowed().map(|candidate| candidate.number).collect(),
                    });
                }
            }
        }
        Ok(())
    }

    fn describe(&self, word: u32, lba: u64, index: u32) -> String {
        match word ^ noise(lba, index) {
            _ if word == ZEROS => "zeros".to_owned(),
            number if number <= self.writes => format!("the data of write {number}"),
            _ => format!("{word:#010x}, which nobody wrote there"),
        }
    }

    fn tick(&mut self) -> u64 {
        self.time += 1;
        self.time
    }
}

/// What tells places apart.
fn noise(lba: u64, index: u32) -> u32 {
    ((lba << 16 | u64::from(index)).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32
}

/// A word of a write's data.
fn expected(value: u32, lba: u64, index: u32) -> u32 {
    if value == ZEROS { 0 } else { value ^ noise(lba, index) }
}

fn fill(value: u32, lba: u64, block: &mut [u8]) {
    for (index, word) in (0..).zip(block.chunks_exact_mut(WORD_LEN)) {
        word.copy_from_slice(&expected(value, lba, index).to_le_bytes());
    }
}

fn holds(value: u32, lba: u64, block: &[u8]) -> bool {
    (0..)
        .zip(block.chunks_exact(WORD_LEN))
        .all(|(index, word)| word == expected(value, lba, index).to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEN: usize = 16;

    fn at(lba: u64, count: u32) -> Blocks {
        Blocks { lba, count }
    }

    fn model() -> Model {
        Model::new(4, LEN as u32)
    }

    /// Whether a read of block 1 that begins now may give this.
    fn may_hold(model: &mut Model, block: &[u8]) -> bool {
        let read = model.begin_read(at(1, 1));
        model.end_read(read, Some(block)).is_ok()
    }

    #[test]
    fn what_was_written_is_there_and_nothing_else() {
        let mut model = model();
        assert!(may_hold(&mut model, &[0; LEN]));
        let (one, old) = model.begin_write(at(1, 2));
        model.write_done(one);
        let (two, new) = model.begin_write(at(1, 1));
        model.write_done(two);
        assert!(may_hold(&mut model, &new));
        assert!(!may_hold(&mut model, &old[..LEN]), "it was written over");
        assert!(!may_hold(&mut model, &old[LEN..]), "it belongs to the next block");
        assert!(!may_hold(&mut model, &[0; LEN]));
        let mut torn = new.clone();
        torn[LEN - 1] ^= 1;
        let read = model.begin_read(at(1, 1));
        let wrong = model.end_read(read, Some(&torn)).unwrap_err();
        assert_eq!((wrong.lba, wrong.offset, &wrong.allowed[..]), (1, LEN - WORD_LEN, &[2][..]));

        let mut disk = vec![0; LEN];
        disk.extend(&new);
        disk.extend(&old[LEN..]);
        disk.extend([0; LEN]);
        model.check_all(&disk).unwrap();
        disk[3 * LEN] = 1;
        assert_eq!(model.check_all(&disk).unwrap_err().lba, 3);
    }

    #[test]
    fn a_write_that_is_out_or_failed_may_be_there_in_part() {
        let mut model = model();
        let (_, failed) = model.begin_write(at(1, 1));
        let torn = [&failed[..8], &[0; 8]].concat();
        for block in [&failed[..], &torn, &[0; LEN]] {
            assert!(may_hold(&mut model, block));
        }
        // It may still happen after one that went well.
        let (later, data) = model.begin_write(at(1, 1));
        model.write_done(later);
        assert!(may_hold(&mut model, &failed) && may_hold(&mut model, &data));
        assert!(!may_hold(&mut model, &[0; LEN]));
    }

    #[test]
    fn writes_at_one_time_may_come_in_any_order() {
        let mut model = model();
        let (one, first) = model.begin_write(at(1, 1));
        let (two, second) = model.begin_write(at(1, 1));
        model.write_done(two);
        model.write_done(one);
        assert!(may_hold(&mut model, &first) && may_hold(&mut model, &second));
        let (three, third) = model.begin_write(at(0, 4));
        model.write_done(three);
        assert!(!may_hold(&mut model, &first) && !may_hold(&mut model, &second));
        assert!(may_hold(&mut model, &third[LEN..2 * LEN]));
    }

    #[test]
    fn a_read_may_give_what_was_there_when_it_began() {
        let mut model = model();
        let (one, old) = model.begin_write(at(1, 1));
        model.write_done(one);
        let early = model.begin_read(at(1, 1));
        let (two, new) = model.begin_write(at(1, 1));
        model.write_done(two);
        assert!(model.clone().end_read(early, Some(&new)).is_ok());
        assert!(model.end_read(early, Some(&old)).is_ok());
        assert!(!may_hold(&mut model, &old), "one that began later may not");
        let failed = model.begin_read(at(0, 4));
        assert!(model.end_read(failed, None).is_ok() && model.reading.is_empty());
    }

    #[test]
    fn what_was_discarded_is_zeros() {
        let mut model = model();
        let (one, old) = model.begin_write(at(1, 1));
        model.write_done(one);
        let discard = model.begin_discard(at(0, 4));
        assert!(may_hold(&mut model, &old) && may_hold(&mut model, &[0; LEN]));
        model.write_done(discard);
        assert!(!may_hold(&mut model, &old) && may_hold(&mut model, &[0; LEN]));
    }
}
