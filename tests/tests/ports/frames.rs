//! Frames that tell whether they came whole and in order.

use fc::wire::MacAddr;
use fc::wire::ethernet::{MAX_HEADER_LEN, UNTAGGED_HEADER_LEN};

/// Where all test frames go.
pub(crate) const MAC: MacAddr = MacAddr([0x0e, 0xfc, 0x00, 0x01, 0x02, 0x03]);

/// An FCoE frame of `len` bytes: a header and bytes that depend on `number`.
pub(crate) fn frame(number: u32, len: usize, tagged: bool) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len);
    bytes.extend(MAC.0);
    bytes.extend([0x0e, 0xfc, 0x00, 0x0a, 0x0b, 0x0c]);
    if tagged {
        bytes.extend([0x81, 0x00, 0x60 | (number & 0xf) as u8, (number >> 4) as u8]);
    }
    bytes.extend([0x89, 0x06]);
    assert_eq!(bytes.len(), if tagged { MAX_HEADER_LEN } else { UNTAGGED_HEADER_LEN });
    let mut state = number.wrapping_mul(0x9e37_79b9) | 1;
    bytes.extend(
        std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .take(len - bytes.len()),
    );
    bytes
}
