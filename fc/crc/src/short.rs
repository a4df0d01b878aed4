//! Of short frames, such as commands and responses: each lane of 16 bytes is folded onto the last one by itself, so that
//! none waits for the one before it.
#![allow(unsafe_code)]

use crate::lane::{LANE, divide, fold, load};
use crate::polynomial::factors;
use core::arch::x86_64::*;
use std::is_x86_feature_detected;

/// Lanes of the longest.
const MAX_LANES: usize = 6;
/// Bytes of the longest: more of them are done faster otherwise.
pub(crate) const MAX_LEN: usize = MAX_LANES * LANE;

/// How to fold a lane onto the one that is so many further on.
const FACTORS: [(i64, i64); MAX_LANES] = {
    let mut all = [(0, 0); MAX_LANES];
    let mut lanes = 1;
    while lanes < MAX_LANES {
        all[lanes] = factors(lanes * LANE);
        lanes += 1;
    }
    all
};

/// The CRC of no more than [`MAX_LEN`] bytes, if the CPU can do it in this way, and they are whole words, and a lane at
/// least.
#[inline]
pub(crate) fn crc(bytes: &[u8]) -> Option<u32> {
    let is_whole = bytes.len().is_multiple_of(4);
    let first = bytes.first_chunk().filter(|_| is_whole && is_x86_feature_detected!("pclmulqdq"))?;
    // SAFETY: the CPU has what the function is compiled for.
    Some(unsafe { fold_each(first, bytes) })
}

/// Zeros in front change nothing, so the first lane is filled up with them, and there is no rest at the end. The CRC
/// begins with one of ones, added to the first word.
#[target_feature(enable = "pclmulqdq")]
fn fold_each(first: &[u8; LANE], bytes: &[u8]) -> u32 {
    let first = _mm_xor_si128(load(first), _mm_set_epi32(0, 0, 0, -1));
    let (first, others) = match bytes.len() % LANE {
        4 => (_mm_slli_si128(first, 12), &bytes[4..]),
        8 => (_mm_slli_si128(first, 8), &bytes[8..]),
        12 => (_mm_slli_si128(first, 4), &bytes[12..]),
        _ => (first, &bytes[LANE..]),
    };
    let (others, _) = others.as_chunks();
    let Some((last, others)) = others.split_last() else { return divide(first) };
    let mut sum = _mm_xor_si128(load(last), fold(first, FACTORS[others.len() + 1]));
    for (lane, &factors) in others.iter().rev().zip(&FACTORS[1..]) {
        sum = _mm_xor_si128(sum, fold(load(lane), factors));
    }
    divide(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_commands_and_responses_are_done_here() {
        let can_multiply = is_x86_feature_detected!("pclmulqdq");
        for len in (LANE..=MAX_LEN).step_by(4) {
            let bytes = [0x5a; MAX_LEN];
            let expected = can_multiply.then(|| crc32fast::hash(&bytes[..len]));
            assert_eq!(crc(&bytes[..len]), expected, "{len}");
        }
        assert_eq!((crc(&[0; LANE - 4]), crc(&[0; LANE + 2])), (None, None));
    }
}
