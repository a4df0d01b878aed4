//! Data that tells where it belongs.
//!
//! A block's bytes follow from a seed and its LBA, so what comes back is compared with what must be there, byte by
//! byte, beside the digest of the whole LUN: it costs about a nanosecond for eight bytes, and an error names its
//! block. The first eight bytes are the LBA itself, so a block
//! that landed elsewhere, or an old one that came back, is told apart from a damaged one; in a capture it can be
//! read by eye.

use std::fmt;

/// The pattern of one seed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pattern {
    seed: u64,
    block_len: usize,
}

/// A block that isn't what was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mismatch {
    /// Its LBA.
    pub lba: u64,
    /// The first byte of it that differs.
    pub byte: usize,
    /// The LBA where what is here belongs, if it is another block as a whole.
    pub belongs_to: Option<u64>,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.belongs_to {
            Some(other) => write!(f, "LBA {} holds the data of LBA {other}", self.lba),
            None => write!(f, "LBA {} differs from byte {} on", self.lba, self.byte),
        }
    }
}

impl Pattern {
    /// The pattern of `seed` on blocks of `block_len` bytes.
    ///
    /// # Panics
    /// If a block is not a multiple of eight bytes.
    pub fn new(seed: u64, block_len: usize) -> Self {
        assert!(block_len > 0 && block_len.is_multiple_of(8), "block of {block_len} bytes");
        Self { seed, block_len }
    }

    /// Fills `buffer` with the blocks from `first_lba` on.
    ///
    /// # Panics
    /// If it isn't whole blocks.
    pub fn fill(&self, first_lba: u64, buffer: &mut [u8]) {
        self.assert_whole_blocks(buffer.len());
        for (block, lba) in buffer.chunks_exact_mut(self.block_len).zip(first_lba..) {
            for (bytes, word) in block.chunks_exact_mut(8).zip(self.words(lba)) {
                bytes.copy_from_slice(&word);
            }
        }
    }

    /// Compares `buffer` with the blocks from `first_lba` on.
    ///
    /// # Errors
    /// The first block that differs.
    ///
    /// # Panics
    /// If it isn't whole blocks.
    pub fn check(&self, first_lba: u64, buffer: &[u8]) -> Result<(), Mismatch> {
        self.assert_whole_blocks(buffer.len());
        buffer.chunks_exact(self.block_len).zip(first_lba..).try_for_each(|(block, lba)| {
            let Some(byte) = self.first_difference(lba, block) else { return Ok(()) };
            let claimed = u64::from_be_bytes(*block.first_chunk().expect("blocks have eight bytes"));
            let belongs_to =
                (claimed != lba && self.first_difference(claimed, block).is_none()).then_some(claimed);
            Err(Mismatch { lba, byte, belongs_to })
        })
    }

    fn assert_whole_blocks(&self, len: usize) {
        assert!(len.is_multiple_of(self.block_len), "{len} bytes are no blocks of {}", self.block_len);
    }

    fn first_difference(&self, lba: u64, block: &[u8]) -> Option<usize> {
        let (words, _) = block.as_chunks::<8>();
        let word = words.iter().zip(self.words(lba)).position(|(found, expected)| *found != expected)?;
        let expected = self.words(lba).nth(word).expect("endless");
        let byte = words[word].iter().zip(expected).position(|(found, expected)| *found != expected);
        Some(word * 8 + byte.expect("the words differ"))
    }

    /// The block's words, without end: its LBA, and then numbers that no other block has in this order.
    fn words(&self, lba: u64) -> impl Iterator<Item = [u8; 8]> {
        let random = SplitMix64::new(self.seed ^ mix(lba));
        std::iter::once(lba.to_be_bytes()).chain(random.map(u64::to_le_bytes))
    }
}

/// Steele, Lea and Flood's generator: fast, and good enough to fill blocks and to scatter reads.
#[derive(Clone, Debug)]
pub struct SplitMix64(u64);

impl SplitMix64 {
    /// The numbers of this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }
}

impl Iterator for SplitMix64 {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        Some(mix(self.0))
    }
}

fn mix(value: u64) -> u64 {
    let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_recognized_and_what_was_not_is_named() {
        let pattern = Pattern::new(7, 512);
        let mut buffer = vec![0; 8 * 512];
        pattern.fill(100, &mut buffer);
        assert_eq!(pattern.check(100, &buffer), Ok(()));
        assert_eq!(&buffer[512..520], &101u64.to_be_bytes());

        let mut damaged = buffer.clone();
        damaged[3 * 512 + 500] ^= 1;
        let mismatch = pattern.check(100, &damaged).unwrap_err();
        assert_eq!(mismatch, Mismatch { lba: 103, byte: 500, belongs_to: None });
        assert_eq!(mismatch.to_string(), "LBA 103 differs from byte 500 on");

        let mut misplaced = buffer.clone();
        misplaced.copy_within(0..512, 5 * 512);
        let mismatch = pattern.check(100, &misplaced).unwrap_err();
        assert_eq!(mismatch.belongs_to, Some(100));
        assert_eq!(mismatch.to_string(), "LBA 105 holds the data of LBA 100");

        assert!(Pattern::new(8, 512).check(100, &buffer).is_err(), "an older run's data");
        assert!(pattern.check(0, &[0; 512]).is_err(), "never written");
    }

    #[test]
    fn the_generator_is_splitmix64() {
        // The reference implementation's first numbers from 1234567.
        let numbers: Vec<_> = SplitMix64::new(1_234_567).take(3).collect();
        assert_eq!(
            numbers,
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }
}
