//! Arithmetic of polynomials over one bit, for the constants of a CRC by multiplication.
//!
//! Bits are the other way round than one would write them, as in the CRC: the highest bit of a word is its lowest power.

/// What the CRC is divided by, without its highest power, x^32.
const DIVISOR: u32 = 0x04c1_1db7;

/// x^`power` modulo the divisor, for a multiplication that moves 64 bits by as much. A product of two words that are the other
/// way round has one bit too few, which is why it is one further up.
pub(crate) const fn power(power: u32) -> i64 {
    let mut rest = 1 << 31;
    let mut done = 0;
    while done < power {
        rest = if rest & 1 == 0 { rest >> 1 } else { rest >> 1 ^ DIVISOR.reverse_bits() };
        done += 1;
    }
    (rest as i64) << 1
}

/// What the halves of 128 bits are worth so many bytes further on. The first half comes first, and so is worth 64 bits more;
/// the product lies 32 bits off.
pub(crate) const fn factors(bytes: usize) -> (i64, i64) {
    let bits = 8 * bytes as u32;
    (power(bits + 32), power(bits - 32))
}

/// The divisor, all 33 bits of it.
pub(crate) const fn divisor() -> i64 {
    reverse_33(1 << 32 | DIVISOR as u64)
}

/// x^64 divided by the divisor, without the rest.
pub(crate) const fn quotient() -> i64 {
    let (mut rest, mut quotient) = (1u128 << 64, 0);
    let mut at = 33;
    while at > 0 {
        at -= 1;
        if rest >> (at + 32) & 1 == 1 {
            rest ^= (1 << 32 | DIVISOR as u128) << at;
            quotient |= 1 << at;
        }
    }
    reverse_33(quotient)
}

const fn reverse_33(bits: u64) -> i64 {
    (bits.reverse_bits() >> 31) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction", Intel, 2009, has them for CRC-32.
    #[test]
    fn constants_are_those_of_the_paper() {
        assert_eq!([4 * 128 + 32, 4 * 128 - 32].map(power), [0x1_5444_2bd4, 0x1_c6e4_1596]);
        assert_eq!([128 + 32, 128 - 32, 64].map(power), [0x1_7519_97d0, 0x0_ccaa_009e, 0x1_63cd_6124]);
        assert_eq!((divisor(), quotient()), (0x1_db71_0641, 0x1_f701_1641));
    }
}
