//! By carry-less multiplications of 128 bits: what is left of a frame in the end, and short frames from the start.

use crate::polynomial::{divisor, power, quotient};
use core::arch::x86_64::*;

/// Bytes of a lane.
pub(crate) const LANE: usize = 16;

/// A lane of bytes.
#[target_feature(enable = "sse2")]
pub(crate) fn load(bytes: &[u8; LANE]) -> __m128i {
    let [low, high] = [0, 8].map(|at| i64::from_le_bytes(*bytes[at..].first_chunk().expect("half a lane")));
    _mm_set_epi64x(high, low)
}

/// What a lane is worth so many bytes further on, by their [`factors`](crate::polynomial::factors).
#[target_feature(enable = "pclmulqdq")]
pub(crate) fn fold(lane: __m128i, (low, high): (i64, i64)) -> __m128i {
    let factors = _mm_set_epi64x(high, low);
    let low = _mm_clmulepi64_si128(lane, factors, 0x00);
    let high = _mm_clmulepi64_si128(lane, factors, 0x11);
    _mm_xor_si128(low, high)
}

/// The CRC of what has been folded to one lane: the rest of its division.
#[target_feature(enable = "pclmulqdq")]
pub(crate) fn divide(lane: __m128i) -> u32 {
    // To 96 bits and to 64.
    let word = _mm_set_epi32(0, 0, 0, -1);
    let factors = const { [power(64), power(128 - 32)] };
    let factors = _mm_set_epi64x(factors[0], factors[1]);
    let lane = _mm_xor_si128(_mm_clmulepi64_si128(lane, factors, 0x00), _mm_srli_si128(lane, 8));
    let product = _mm_clmulepi64_si128(_mm_and_si128(lane, word), factors, 0x10);
    let lane = _mm_xor_si128(product, _mm_srli_si128(lane, 4));

    // Barrett's reduction: the quotient by a multiplication, then what is left.
    let factors = const { [divisor(), quotient()] };
    let factors = _mm_set_epi64x(factors[0], factors[1]);
    let quotient = _mm_clmulepi64_si128(_mm_and_si128(lane, word), factors, 0x00);
    let product = _mm_clmulepi64_si128(_mm_and_si128(quotient, word), factors, 0x10);
    !_mm_cvtsi128_si32(_mm_srli_si128(_mm_xor_si128(lane, product), 4)) as u32
}
