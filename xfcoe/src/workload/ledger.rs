//! What must be on a disk: which places of a range were written, and how often.

use super::Workload;
use crate::pattern::{Mismatch, Pattern};
use std::collections::TryReserveError;
use std::fmt;
use std::ops::Range;
use thiserror::Error;

/// The places of a range, each as long as one I/O, and what was written to them. Every pass over a place writes
/// other data, so that a write that got lost is seen.
#[derive(Debug)]
pub struct Ledger {
    seed: u64,
    block_len: usize,
    io_len: usize,
    range: Range<u64>,
    /// How often each place was written; not at all is 0, and 255 is followed by 1.
    passes: Vec<u8>,
    /// Places with an I/O out: what a second one would find there is open.
    out: Vec<u64>,
}

/// Why the data of a range can't be checked.
#[derive(Debug, Error)]
pub enum LedgerError {
    /// The pattern is made of words.
    #[error("its blocks have {0} bytes, and only such of a multiple of 8 can be verified")]
    BlockLen(
        /// Bytes of a block.
        u32,
    ),
    /// There is a byte of memory for each place.
    #[error("there is no memory to verify {places} I/Os' places ({cause}): use fewer or longer ones")]
    Memory {
        /// How many.
        places: u64,
        /// What the allocator says.
        cause: TryReserveError,
    },
}

/// What was read is not what was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub struct WrongData {
    /// The first wrong block.
    mismatch: Mismatch,
    /// Whether it holds what the pass before the last one wrote there.
    is_old: bool,
}

impl fmt::Display for WrongData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_old {
            write!(f, "LBA {} holds what was there before the last write", self.mismatch.lba)
        } else {
            self.mismatch.fmt(f)
        }
    }
}

impl Ledger {
    /// The ledger of the workload's range on a disk with blocks of `block_len` bytes, of which nothing is known yet.
    /// Another `seed` makes other data.
    ///
    /// # Errors
    /// If blocks are no whole words, or if there is no memory for a byte for each place.
    pub fn new(workload: &Workload, block_len: u32, seed: u64) -> Result<Self, LedgerError> {
        if !block_len.is_multiple_of(8) {
            return Err(LedgerError::BlockLen(block_len));
        }
        let places = workload.places();
        let mut passes = Vec::new();
        let count = usize::try_from(places).unwrap_or(usize::MAX);
        passes.try_reserve_exact(count).map_err(|cause| LedgerError::Memory { places, cause })?;
        passes.resize(count, 0);
        let (block_len, io_len) = (block_len as usize, workload.io_len);
        Ok(Self { seed, block_len, io_len, range: workload.range.clone(), passes, out: Vec::new() })
    }

    /// Whether it is about the places of this workload.
    pub(super) fn fits(&self, workload: &Workload) -> bool {
        self.range == workload.range && self.io_len == workload.io_len
    }

    /// Notes that an I/O to a place begins, unless one is out already.
    pub(super) fn begin(&mut self, place: u64) -> bool {
        let is_free = !self.out.contains(&place);
        if is_free {
            self.out.push(place);
        }
        is_free
    }

    /// Fills the buffer of a write with the place's next pass.
    pub(super) fn write(&mut self, place: u64, buffer: &mut [u8]) {
        let pass = &mut self.passes[index(place)];
        *pass = pass_after(*pass);
        let pass = *pass;
        self.pattern(pass).fill(self.lba(place), buffer);
    }

    /// Notes that the I/O to a place has ended.
    pub(super) fn end(&mut self, place: u64) {
        self.out.retain(|&out| out != place);
    }

    /// Compares what was read from a place; anything is right where nothing was written.
    pub(super) fn check(&self, place: u64, buffer: &[u8]) -> Result<(), WrongData> {
        let pass = self.passes[index(place)];
        if pass == 0 {
            return Ok(());
        }
        let lba = self.lba(place);
        self.pattern(pass).check(lba, buffer).map_err(|mismatch| {
            let block = &buffer[index(mismatch.lba - lba) * self.block_len..][..self.block_len];
            let is_old = self.pattern(pass_before(pass)).check(mismatch.lba, block).is_ok();
            WrongData { mismatch, is_old }
        })
    }

    fn lba(&self, place: u64) -> u64 {
        (self.range.start + place * self.io_len as u64) / self.block_len as u64
    }

    fn pattern(&self, pass: u8) -> Pattern {
        Pattern::new(self.seed.wrapping_add(pass.into()), self.block_len)
    }
}

fn pass_after(pass: u8) -> u8 {
    if pass == u8::MAX { 1 } else { pass + 1 }
}

/// For a pass that is one.
fn pass_before(pass: u8) -> u8 {
    if pass == 1 { u8::MAX } else { pass - 1 }
}

/// For what is inside of memory that is there.
fn index(number: u64) -> usize {
    usize::try_from(number).expect("an index")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{End, Order};

    const IO_LEN: usize = 1024;

    fn ledger() -> Ledger {
        let workload = Workload {
            order: Order::Random,
            read_percent: 50,
            io_len: IO_LEN,
            depth: 1,
            in_place: false,
            range: 4096..4096 + 10 * IO_LEN as u64 + 512,
            end: End::Once,
        };
        Ledger::new(&workload, 512, 7).unwrap()
    }

    #[test]
    fn what_was_written_last_is_right() {
        let mut ledger = ledger();
        let mut buffer = vec![0; IO_LEN];
        assert_eq!(ledger.check(3, &buffer), Ok(()), "nothing is known of it");
        // Over the pass number's end, too.
        for _ in 0..300 {
            let old = buffer.clone();
            ledger.write(3, &mut buffer);
            assert_ne!(old, buffer);
            assert_eq!(ledger.check(3, &buffer), Ok(()));
        }
        assert!(ledger.check(3, &[0; IO_LEN]).is_err());
        assert_eq!(ledger.check(2, &[0; IO_LEN]), Ok(()));
    }

    #[test]
    fn a_lost_a_damaged_and_a_misplaced_write_are_told_apart() {
        let mut ledger = ledger();
        let said = |ledger: &Ledger, buffer: &[u8]| ledger.check(3, buffer).unwrap_err().to_string();
        let (mut first, mut last, mut other) = (vec![0; IO_LEN], vec![0; IO_LEN], vec![0; IO_LEN]);
        ledger.write(3, &mut first);
        ledger.write(3, &mut last);
        assert_eq!(said(&ledger, &first), "LBA 14 holds what was there before the last write");
        let half = [&last[..512], &first[512..]].concat();
        assert_eq!(said(&ledger, &half), "LBA 15 holds what was there before the last write");
        last[700] ^= 1;
        assert_eq!(said(&ledger, &last), "LBA 15 differs from byte 188 on");
        ledger.write(5, &mut other);
        ledger.write(5, &mut other);
        assert_eq!(said(&ledger, &other), "LBA 14 holds the data of LBA 18");
    }

    #[test]
    fn a_place_has_one_io_at_a_time() {
        let mut ledger = ledger();
        assert!(ledger.begin(1) && ledger.begin(2) && !ledger.begin(1));
        ledger.end(1);
        assert!(ledger.begin(1) && !ledger.begin(2));
    }

    #[test]
    fn what_can_not_be_checked_is_refused() {
        let mut workload = Workload {
            order: Order::Random,
            read_percent: 50,
            io_len: 514,
            depth: 1,
            in_place: false,
            range: 0..5140,
            end: End::Once,
        };
        let error = Ledger::new(&workload, 514, 7).unwrap_err().to_string();
        assert_eq!(error, "its blocks have 514 bytes, and only such of a multiple of 8 can be verified");
        (workload.io_len, workload.range) = (512, 0..u64::MAX);
        let error = Ledger::new(&workload, 512, 7).unwrap_err().to_string();
        assert!(error.starts_with("there is no memory to verify 36028797018963967 I/Os' places"), "{error}");
    }
}
