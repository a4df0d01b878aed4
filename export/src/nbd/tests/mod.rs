//! Both machines, against what a client may send: in conversations, and in any bytes and pieces.

mod negotiation;
mod transmission;

use super::buffers::Input;
use crate::block::Geometry;

/// A small disk whose requests are split.
fn geometry() -> Geometry {
    Geometry { block_len: 512, blocks: 512, max_operation_len: 3 * 512, read_only: false, discard: true }
}

fn fill(input: &mut Input, mut bytes: &[u8]) -> usize {
    let mut all = 0;
    while !bytes.is_empty() {
        let space = input.space();
        let len = space.len().min(bytes.len());
        if len == 0 {
            break;
        }
        space[..len].copy_from_slice(&bytes[..len]);
        input.filled(len);
        bytes = &bytes[len..];
        all += len;
    }
    all
}
