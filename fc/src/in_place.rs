//! Read data that is taken where it was received: nothing is copied, and the memory of its frames is lent until the data
//! is given back.

use crate::messages::Buffer;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::iter::FusedIterator;

/// Bytes of data for which there is room for a piece: frames as short as an MTU of 1500 makes them find room.
const PIECE_LEN: usize = 1024;

/// Whose memory frames are received into. It outlives what it has lent.
pub trait Home: fmt::Debug + Send + Sync {
    /// The bytes that are held.
    fn bytes(&self, held: &Held) -> &[u8];

    /// Takes back what was lent, all at a time.
    fn take_back(&self, held: &mut dyn Iterator<Item = Held>);
}

/// Bytes of a received frame, as their [`Home`] knows them. Who has it has them: it can't be copied, and [`InPlace`] shows it
/// to nobody but the home that it came with, and gives it back once.
#[derive(PartialEq, Eq, Debug)]
pub struct Held(u64);

impl Held {
    /// For a home to say by its own word what it lends.
    pub const fn new(word: u64) -> Self {
        Self(word)
    }

    /// The home's word.
    pub const fn word(&self) -> u64 {
        self.0
    }
}

/// The data of a read, in pieces that lie where they were received. What could not be lent was copied to a buffer, which
/// is untouched otherwise.
///
/// It is made once and serves command after command. What it holds goes back by [`Self::clear`], and when it is dropped.
#[derive(Debug)]
// One cache line, which is all that the core touches besides the piece.
#[repr(align(64))]
pub struct InPlace {
    /// In the order of the data. None overlaps another one: who adds them takes from a frame only what is not there yet.
    pieces: Vec<Piece>,
    /// What is in no piece is here, if it has come.
    buffer: Buffer,
    /// Of all pieces. It stays when they go back: the next ones come from it, too, as a rule.
    home: Option<Arc<dyn Home>>,
}

#[derive(Debug)]
struct Piece {
    /// Where in the data it begins.
    offset: u32,
    len: u32,
    held: Held,
}

impl Piece {
    const fn end(&self) -> u32 {
        self.offset + self.len
    }
}

impl InPlace {
    /// Room for as many bytes as the buffer has, which are copied to it where they can't be lent.
    pub fn new(buffer: Buffer) -> Self {
        Self { pieces: Vec::with_capacity(buffer.len().div_ceil(PIECE_LEN)), buffer, home: None }
    }

    /// Bytes that the data has at most.
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Frames whose memory it holds.
    pub fn frames(&self) -> usize {
        self.pieces.len()
    }

    /// The first `len` bytes of the data, piece by piece.
    ///
    /// # Panics
    /// If there are fewer.
    pub fn slices(&self, len: usize) -> Slices<'_> {
        assert!(len <= self.len(), "{len} bytes of {}", self.len());
        Slices { read: self, next: 0, at: 0, end: len }
    }

    /// Gives back the memory of all frames. The data is gone then.
    pub fn clear(&mut self) {
        if let Some(home) = self.home.as_ref().filter(|_| !self.pieces.is_empty()) {
            home.take_back(&mut self.pieces.drain(..).map(|piece| piece.held));
        }
    }

    /// Adds `len` bytes that `home` has and that are the data from `offset` on; none of them is there yet.
    ///
    /// # Errors
    /// What is held is given back if there is no room for another piece, or pieces of another home are there.
    ///
    /// # Panics
    /// If they are beyond the data's end, or some of them are there.
    #[inline]
    pub fn add(&mut self, home: &Arc<dyn Home>, offset: u32, len: u32, held: Held) -> Result<(), Held> {
        let piece = Piece { offset, len, held };
        assert!(piece.end() as usize <= self.buffer.len(), "{piece:?} of {} bytes", self.buffer.len());
        if self.pieces.len() == self.pieces.capacity() {
            return Err(piece.held);
        }
        if !self.home.as_ref().is_some_and(|own| Arc::ptr_eq(own, home)) {
            if !self.pieces.is_empty() {
                return Err(piece.held);
            }
            self.home = Some(Arc::clone(home));
        }
        match self.pieces.last() {
            Some(last) if offset < last.end() => self.insert(piece),
            _ => self.pieces.push(piece),
        }
        Ok(())
    }

    fn insert(&mut self, piece: Piece) {
        let at = self.pieces.partition_point(|before| before.end() <= piece.offset);
        assert!(piece.end() <= self.pieces[at].offset, "{piece:?} overlaps {:?}", self.pieces[at]);
        self.pieces.insert(at, piece);
    }

    /// Copies bytes that are the data from `offset` on; none of them is there yet.
    ///
    /// # Panics
    /// If they are beyond the data's end.
    pub fn copy(&mut self, offset: u32, bytes: &[u8]) {
        self.buffer[offset as usize..][..bytes.len()].copy_from_slice(bytes);
    }

    /// The place that the next piece will have, to prefetch it.
    pub fn next_place(&mut self) -> Option<&impl Sized> {
        self.pieces.spare_capacity_mut().first()
    }
}

impl Drop for InPlace {
    fn drop(&mut self) {
        self.clear();
    }
}

/// What [`InPlace::slices`] gives.
#[derive(Debug)]
pub struct Slices<'a> {
    read: &'a InPlace,
    /// The piece that is next.
    next: usize,
    at: usize,
    end: usize,
}

impl<'a> Iterator for Slices<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.at == self.end {
            return None;
        }
        let InPlace { pieces, buffer, home } = self.read;
        let start = self.at;
        let slice = match pieces.get(self.next) {
            Some(piece) if piece.offset as usize == start => {
                self.next += 1;
                self.at = self.end.min(piece.end() as usize);
                let home = home.as_ref().expect("pieces come with their home");
                &home.bytes(&piece.held)[..self.at - start]
            }
            behind => {
                self.at = behind.map_or(self.end, |piece| self.end.min(piece.offset as usize));
                &buffer[start..self.at]
            }
        };
        Some(slice)
    }
}

impl FusedIterator for Slices<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fcp::Moved;
    use alloc::vec;
    use proptest::prelude::*;
    use std::sync::Mutex;

    /// Frames that are lent by their number, and how often each came back.
    #[derive(Debug)]
    struct Frames {
        bytes: Vec<Vec<u8>>,
        returned: Mutex<Vec<u64>>,
    }

    impl Home for Frames {
        fn bytes(&self, held: &Held) -> &[u8] {
            &self.bytes[held.word() as usize]
        }

        fn take_back(&self, held: &mut dyn Iterator<Item = Held>) {
            self.returned.lock().unwrap().extend(held.map(|held| held.word()));
        }
    }

    fn frames(bytes: Vec<Vec<u8>>) -> (Arc<Frames>, Arc<dyn Home>) {
        let frames = Arc::new(Frames { bytes, returned: Mutex::default() });
        (Arc::clone(&frames), frames)
    }

    fn collect(read: &InPlace, len: usize) -> Vec<u8> {
        read.slices(len).flatten().copied().collect()
    }

    proptest! {
        /// Frames in any order and as often as they like, each lent or copied: what is read is what a plain copy of what was
        /// missing gives, and each frame comes back once.
        #[test]
        fn slices_are_what_a_copy_would_be(
            ranges in proptest::collection::vec((0usize..100, 1usize..20, any::<bool>()), 0..60),
        ) {
            const LEN: usize = 120;
            // Which frame a byte came with shows in the byte.
            let bytes = (0..).zip(&ranges).map(|(number, &(_, len, _))| vec![number; len]).collect();
            let (frames, home) = frames(bytes);
            let mut read = InPlace::new(vec![0xee; LEN].into());
            read.pieces.reserve(2 * ranges.len());
            let (mut moved, mut copy, mut lent) = (Moved::default(), vec![0xee; LEN], 0);
            for (number, &(start, len, is_lent)) in (0u8..).zip(&ranges) {
                let (mut start, end) = (start as u32, (start + len) as u32);
                let before = moved;
                if moved.add(start, end).is_err() {
                    continue;
                }
                while let Some(new) = before.first_missing(start, end) {
                    let held = Held::new(number.into());
                    let len = new.end - new.start;
                    if is_lent && new == (start..end) {
                        read.add(&home, new.start, len, held).unwrap();
                        lent += 1;
                    } else {
                        read.copy(new.start, &vec![number; len as usize]);
                    }
                    copy[new.start as usize..new.end as usize].fill(number);
                    start = new.end;
                }
            }
            for len in [0, 1, LEN / 2, LEN] {
                prop_assert_eq!(&collect(&read, len), &copy[..len]);
                prop_assert!(read.slices(len).all(|slice| !slice.is_empty()));
            }
            prop_assert_eq!(read.frames(), lent);
            drop(read);
            let mut returned = frames.returned.lock().unwrap().clone();
            returned.sort_unstable();
            prop_assert_eq!(returned.len(), lent);
            returned.dedup();
            prop_assert_eq!(returned.len(), lent);
        }
    }

    #[test]
    fn it_serves_again_and_with_another_home() {
        let (one, one_home) = frames(vec![vec![1; 4]]);
        let (other, other_home) = frames(vec![vec![2; 4]]);
        let mut read = InPlace::new(vec![0; 8].into());
        read.add(&one_home, 4, 4, Held::new(0)).unwrap();
        assert_eq!(collect(&read, 6), [0, 0, 0, 0, 1, 1]);
        assert_eq!(read.add(&other_home, 0, 4, Held::new(0)), Err(Held::new(0)), "of two homes at a time");
        read.clear();
        read.clear();
        assert_eq!((read.frames(), collect(&read, 8)), (0, vec![0; 8]));
        read.add(&other_home, 0, 4, Held::new(0)).unwrap();
        drop(read);
        assert_eq!((&*one.returned.lock().unwrap(), &*other.returned.lock().unwrap()), (&vec![0], &vec![0]));
    }

    #[test]
    fn it_never_grows() {
        let (_, home) = frames(vec![vec![1; 1]]);
        let mut read = InPlace::new(vec![0; 4096].into());
        let room = read.pieces.capacity() as u32;
        assert!(room >= 4);
        (0..room).for_each(|at| read.add(&home, at, 1, Held::new(0)).unwrap());
        assert_eq!(read.add(&home, room, 1, Held::new(0)), Err(Held::new(0)));
        assert_eq!(size_of::<InPlace>(), 64);
    }

    #[test]
    #[should_panic(expected = "overlaps")]
    fn bytes_are_there_once() {
        let (_, home) = frames(vec![vec![1; 4]]);
        let mut read = InPlace::new(vec![0; 4096].into());
        read.add(&home, 0, 4, Held::new(0)).unwrap();
        let _ = read.add(&home, 3, 4, Held::new(0));
    }
}
