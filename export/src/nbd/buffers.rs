//! Bytes that have come, and bytes that wait to be sent.

use std::collections::VecDeque;
use std::io::IoSlice;

/// Bytes read at once: some thousand requests without data, and longer than any option.
const INPUT_LEN: usize = 64 << 10;

/// What was read from a socket and not yet looked at.
#[derive(Debug)]
pub(super) struct Input {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Input {
    /// An empty one.
    #[allow(clippy::new_without_default, reason = "it takes memory")]
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; INPUT_LEN].into(), start: 0, end: 0 }
    }

    /// Where the next bytes go; never empty as long as messages are shorter than half of all of it.
    pub(super) fn space(&mut self) -> &mut [u8] {
        if self.start > 0 && self.end > INPUT_LEN / 2 {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        &mut self.bytes[self.end..]
    }

    /// `len` bytes have come into [`Self::space`].
    ///
    /// # Panics
    /// If they can't have.
    pub(super) fn filled(&mut self, len: usize) {
        assert!(len <= INPUT_LEN - self.end, "{len} bytes in a space of {}", INPUT_LEN - self.end);
        self.end += len;
    }

    /// The bytes that are there.
    pub(super) fn peek(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// The next `len` bytes, once they are all there.
    pub(super) fn take(&mut self, len: usize) -> Option<&[u8]> {
        if self.end - self.start < len {
            return None;
        }
        self.start += len;
        let taken = self.start - len;
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        Some(&self.bytes[taken..taken + len])
    }

    /// The next bytes, `len` at most.
    pub(super) fn take_some(&mut self, len: usize) -> &[u8] {
        let len = len.min(self.end - self.start);
        self.take(len).expect("as many are there")
    }
}

/// Replies on their way out, without copying their data.
#[derive(Debug, Default)]
pub(super) struct Output {
    parts: VecDeque<Box<[u8]>>,
    /// Bytes of the first part that are sent.
    sent: usize,
    len: usize,
}

impl Output {
    pub(super) fn push(&mut self, part: impl Into<Box<[u8]>>) {
        let part = part.into();
        self.len += part.len();
        self.parts.push_back(part);
    }

    /// Bytes that wait.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The first parts, as many as there is room in `slices`; gives how many.
    pub(super) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut count = 0;
        for (slice, part) in slices.iter_mut().zip(&self.parts) {
            *slice = IoSlice::new(&part[if count == 0 { self.sent } else { 0 }..]);
            count += 1;
        }
        count
    }

    /// `len` bytes have been sent; `done` has the parts that are through.
    pub(super) fn advance(&mut self, len: usize, mut done: impl FnMut(Box<[u8]>)) {
        assert!(len <= self.len, "{len} bytes of {} sent", self.len);
        self.len -= len;
        self.sent += len;
        while let Some(first) = self.parts.front().filter(|first| first.len() <= self.sent) {
            self.sent -= first.len();
            self.parts.pop_front().into_iter().for_each(&mut done);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bytes_come_out_as_they_went_in(reads in proptest::collection::vec((1usize..40_000, 1usize..20_000), 1..12)) {
            let mut input = Input::new();
            let (mut next_in, mut next_out) = (0u8, 0u8);
            for (come, taken) in reads {
                let space = input.space();
                prop_assert!(!space.is_empty());
                let come = come.min(space.len());
                for byte in &mut space[..come] {
                    *byte = next_in;
                    next_in = next_in.wrapping_add(1);
                }
                input.filled(come);
                while let Some(bytes) = input.take(taken) {
                    for &byte in bytes {
                        prop_assert_eq!(byte, next_out);
                        next_out = next_out.wrapping_add(1);
                    }
                }
            }
        }

        #[test]
        fn parts_go_out_in_whatever_pieces(
            parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..9), 1..9),
            pieces in proptest::collection::vec(1usize..9, 80),
        ) {
            let mut output = Output::default();
            parts.iter().for_each(|part| output.push(part.clone()));
            let (mut sent, mut through) = (Vec::new(), Vec::new());
            for piece in pieces {
                let mut slices = [IoSlice::new(&[]); 3];
                let count = output.slices(&mut slices);
                let offered: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.iter().copied()).collect();
                let piece = piece.min(offered.len());
                sent.extend_from_slice(&offered[..piece]);
                output.advance(piece, |part| through.extend_from_slice(&part));
                prop_assert!(sent.starts_with(&through));
            }
            prop_assert_eq!(output.len(), 0);
            prop_assert_eq!(&through, &sent);
            prop_assert_eq!(sent, parts.concat());
        }
    }
}
