//! By carry-less multiplications of 512 bits: AVX-512 with VPCLMULQDQ, as Zen 4 and Ice Lake have it.
//!
//! 256 bytes are folded onto the next 256: what they are worth that much further on, modulo the divisor, is added to those.
//! Zeros in front change nothing, so the first 256 are filled up with zeros there, and there is no rest at the end. What is left
//! is folded to 128 bits and divided.
#![allow(unsafe_code)]

use crate::lane;
use crate::polynomial::factors;
use core::arch::x86_64::*;
use std::is_x86_feature_detected;

/// Bytes of a vector.
const VECTOR: usize = 64;
/// Bytes that are folded at a time: as many multiplications as the CPU has under way.
const BLOCK: usize = 4 * VECTOR;

/// The CRC, if the CPU can do it in this way, and the bytes are whole words: the CRC begins with one of ones, added to the first.
#[inline]
pub(crate) fn crc(bytes: &[u8]) -> Option<u32> {
    if bytes.is_empty() || !bytes.len().is_multiple_of(4) || !is_there() {
        return None;
    }
    // SAFETY: the CPU has what the function is compiled for.
    Some(unsafe { fold_all(bytes) })
}

#[inline]
fn is_there() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("vpclmulqdq")
}

#[target_feature(enable = "avx512f,avx512bw,vpclmulqdq,pclmulqdq")]
fn fold_all(bytes: &[u8]) -> u32 {
    let (front, blocks) = bytes.split_at((bytes.len() - 1) % BLOCK + 1);
    // The vectors of the first block, which is short of bytes in front.
    let mut state = [_mm512_setzero_si512(); 4];
    let mut left = front;
    for vector in state.iter_mut().rev() {
        let (before, own) = left.split_at(left.len().saturating_sub(VECTOR));
        if !own.is_empty() {
            *vector = if before.is_empty() { begin(own) } else { load(own) };
        }
        left = before;
    }
    for block in blocks.chunks_exact(BLOCK) {
        for (vector, next) in state.iter_mut().zip(block.chunks_exact(VECTOR)) {
            *vector = _mm512_xor_si512(fold(*vector, by::<BLOCK>()), load(next));
        }
    }
    let [first, second, third, last] = state;
    let first = fold(first, by::<{ 3 * VECTOR }>());
    let second = fold(second, by::<{ 2 * VECTOR }>());
    let third = fold(third, by::<VECTOR>());
    divide(_mm512_xor_si512(_mm512_xor_si512(first, second), _mm512_xor_si512(third, last)))
}

/// Up to a vector of bytes, the first ones of all, behind zeros.
#[target_feature(enable = "avx512f,avx512bw")]
fn begin(bytes: &[u8]) -> __m512i {
    let first_word = 1 << ((VECTOR - bytes.len()) / 4);
    _mm512_xor_si512(load(bytes), _mm512_maskz_set1_epi32(first_word, -1))
}

/// Up to a vector of bytes, behind zeros.
#[target_feature(enable = "avx512f,avx512bw")]
fn load(bytes: &[u8]) -> __m512i {
    assert!(!bytes.is_empty() && bytes.len() <= VECTOR);
    let gap = VECTOR - bytes.len();
    // SAFETY: a vector that begins `gap` bytes before the slice ends with it, and the mask keeps the first `gap` bytes from being
    // read.
    unsafe { _mm512_maskz_loadu_epi8(u64::MAX << gap, bytes.as_ptr().wrapping_sub(gap).cast()) }
}

/// How to fold vectors by as many bytes.
#[target_feature(enable = "avx512f")]
fn by<const BYTES: usize>() -> __m512i {
    let (low, high) = const { factors(BYTES) };
    _mm512_set4_epi64(high, low, high, low)
}

#[target_feature(enable = "avx512f,vpclmulqdq")]
fn fold(vector: __m512i, factors: __m512i) -> __m512i {
    let low = _mm512_clmulepi64_epi128(vector, factors, 0x00);
    let high = _mm512_clmulepi64_epi128(vector, factors, 0x11);
    _mm512_xor_si512(low, high)
}

/// The CRC, which is the rest of the vector's division.
#[target_feature(enable = "avx512f,vpclmulqdq,pclmulqdq")]
fn divide(vector: __m512i) -> u32 {
    // To the last of its four lanes.
    const LANES: [(i64, i64); 3] = [factors(48), factors(32), factors(16)];
    let [(a_low, a_high), (b_low, b_high), (c_low, c_high)] = LANES;
    let factors = _mm512_set_epi64(0, 0, c_high, c_low, b_high, b_low, a_high, a_low);
    let folded = _mm512_xor_si512(fold(vector, factors), _mm512_maskz_mov_epi64(0xc0, vector));
    let halves = _mm256_xor_si256(_mm512_castsi512_si256(folded), _mm512_extracti64x4_epi64(folded, 1));
    let lane = _mm_xor_si128(_mm256_castsi256_si128(halves), _mm256_extracti128_si256(halves, 1));
    lane::divide(lane)
}
