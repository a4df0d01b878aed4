//! Received frames that are lent to those whose data they are: how many, and how they come back.
//!
//! They come back from other threads, by a list that runs through the chunks themselves: one exchange of its head gives all
//! chunks of a command back, and one takes all that came back.
#![allow(unsafe_code)]

use super::Frame;
use super::chunks::Chunks;
use super::region::Region;
use fc::in_place::{Held, Home, InPlace};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// The memory of a port's chunks, which stays while frames of it are lent.
pub(super) trait Memory: fmt::Debug + Send + Sync + 'static {
    /// Bytes of a chunk.
    ///
    /// # Safety
    /// Nobody writes to the chunk meanwhile, the kernel included.
    unsafe fn bytes(&self, chunk: usize, start: usize, len: usize) -> &[u8];
}

impl Memory for Region {
    unsafe fn bytes(&self, chunk: usize, start: usize, len: usize) -> &[u8] {
        // SAFETY: the caller's.
        unsafe { self.bytes(chunk, start, len) }
    }
}

/// A region that ports share.
impl Memory for Arc<Region> {
    unsafe fn bytes(&self, chunk: usize, start: usize, len: usize) -> &[u8] {
        // SAFETY: the caller's.
        unsafe { Region::bytes(self, chunk, start, len) }
    }
}

/// A port's memory, and what is lent of it.
#[derive(Debug)]
pub(super) struct Lending<M> {
    loans: Arc<Loans<M>>,
    /// The same, as those know it who have something of it.
    home: Arc<dyn Home>,
    /// Chunks that may be lent at a time: half of what the port receives into, so that it receives whatever becomes of what
    /// it has lent.
    limit: usize,
}

impl<M: Memory> Lending<M> {
    /// The memory of these chunks, none of which is lent yet.
    pub(super) fn new(memory: M, chunks: &Chunks) -> Self {
        let loans = Arc::new(Loans { memory, returned: Returned::new(chunks.region()) });
        Self { home: Arc::clone(&loans) as Arc<dyn Home>, loans, limit: chunks.receive() / 2 }
    }

    /// For memory that goes with its port.
    pub(super) fn without_loans(self) -> Self {
        Self { limit: 0, ..self }
    }

    #[inline]
    pub(super) fn memory(&self) -> &M {
        &self.loans.memory
    }

    /// Lends `data` of a frame, which begins `frame_start` bytes into its chunk: the bytes of a read's data from `offset` on.
    ///
    /// # Errors
    /// The frame is given back if too many are lent already, or the read has no room.
    ///
    /// # Panics
    /// If the frame is another port's, or doesn't have the data.
    #[inline]
    pub(super) fn lend(
        &self,
        chunks: &mut Chunks,
        frame: Frame,
        frame_start: usize,
        data: Range<usize>,
        (read, offset): (&mut InPlace, u32),
    ) -> Result<(), Frame> {
        assert!(data.end <= frame.len(), "{data:?} of a {frame:?}");
        if chunks.lent() == self.limit || !chunks.is_received_into(&frame) {
            return Err(frame);
        }
        let held =
            Loan { chunk: frame.chunk(), start: (frame_start + data.start) as u16, len: data.len() as u16 };
        match read.add(&self.home, offset, data.len() as u32, held.into()) {
            Ok(()) => {
                chunks.lend(frame);
                Ok(())
            }
            Err(_) => Err(frame),
        }
    }

    /// Takes chunks back into the books that have come back since.
    #[inline]
    pub(super) fn take_back(&self, chunks: &mut Chunks) {
        self.loans.returned.take(|chunk| chunks.come_back(chunk));
    }
}

/// What a port has lent: bytes of a chunk.
struct Loan {
    chunk: u16,
    start: u16,
    len: u16,
}

impl From<Loan> for Held {
    fn from(loan: Loan) -> Self {
        Self::new(u64::from(loan.chunk) << 32 | u64::from(loan.start) << 16 | u64::from(loan.len))
    }
}

impl From<&Held> for Loan {
    fn from(held: &Held) -> Self {
        let word = held.word();
        Self { chunk: (word >> 32) as u16, start: (word >> 16) as u16, len: word as u16 }
    }
}

/// What those share with a port who have something of it.
#[derive(Debug)]
struct Loans<M> {
    memory: M,
    returned: Returned,
}

impl<M: Memory> Home for Loans<M> {
    fn bytes(&self, held: &Held) -> &[u8] {
        let Loan { chunk, start, len } = held.into();
        // SAFETY: only `Lending::lend` brings a word of this home's to an `InPlace`, which shows it to no other home, and
        // gives it back once, when nobody borrows from it. Until then the port neither writes to the chunk nor gives it to
        // the kernel: it has no frame of it, and the chunk is not free.
        unsafe { self.memory.bytes(chunk.into(), start.into(), len.into()) }
    }

    fn take_back(&self, held: &mut dyn Iterator<Item = Held>) {
        self.returned.give(held.map(|held| Loan::from(&held).chunk));
    }
}

/// No chunk: those have 16 bits.
const END: u32 = u32::MAX;

/// Chunks that have come back, as a list. Any thread gives, and the port takes all of it, so that no chunk is taken from the
/// list's front while somebody else is about to.
#[derive(Debug)]
struct Returned {
    head: AtomicU32,
    /// By chunk: which one is behind it.
    next: Box<[AtomicU32]>,
}

impl Returned {
    fn new(chunks: usize) -> Self {
        let next = std::iter::repeat_with(|| AtomicU32::new(END)).take(chunks).collect();
        Self { head: AtomicU32::new(END), next }
    }

    fn give(&self, mut chunks: impl Iterator<Item = u16>) {
        let Some(first) = chunks.next() else { return };
        let last = chunks.fold(first, |before, chunk| {
            self.next(before).store(chunk.into(), Ordering::Relaxed);
            chunk
        });
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            self.next(last).store(head, Ordering::Relaxed);
            // Release: whoever takes them sees the list, and writes to the chunks only after they were read.
            match self.head.compare_exchange_weak(head, first.into(), Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(newer) => head = newer,
            }
        }
    }

    #[inline]
    fn take(&self, mut each: impl FnMut(usize)) {
        if self.head.load(Ordering::Relaxed) == END {
            return;
        }
        let mut chunk = self.head.swap(END, Ordering::Acquire);
        while chunk != END {
            let next = self.next[chunk as usize].load(Ordering::Relaxed);
            each(chunk as usize);
            chunk = next;
        }
    }

    fn next(&self, chunk: u16) -> &AtomicU32 {
        &self.next[usize::from(chunk)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn what_several_threads_give_is_taken_once() {
        const THREADS: u16 = 4;
        const EACH: u16 = 3000;
        let returned = Returned::new((THREADS * EACH).into());
        let mut taken = vec![0; (THREADS * EACH).into()];
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let returned = &returned;
                scope.spawn(move || {
                    let own = thread * EACH..(thread + 1) * EACH;
                    own.clone().step_by(3).for_each(|chunk| returned.give(chunk..chunk + 3));
                });
            }
            let mut left = taken.len();
            while left > 0 {
                returned.take(|chunk| {
                    taken[chunk] += 1;
                    left -= 1;
                });
                thread::yield_now();
            }
        });
        assert!(taken.iter().all(|&times| times == 1));
        returned.take(|chunk| panic!("chunk {chunk} came again"));
    }

    #[test]
    fn no_more_is_lent_than_half_of_what_is_received_into() {
        let mut chunks = Chunks::new(4, 2);
        let lending = Lending::new(Region::new(6, 64).unwrap(), &chunks);
        let mut read = InPlace::new(vec![0; 8192].into());
        let received = |chunks: &mut Chunks| {
            let chunk = chunks.take_receive().unwrap();
            chunks.hand_out(chunk, 60)
        };
        for offset in [3, 0] {
            let frame = received(&mut chunks);
            lending.lend(&mut chunks, frame, 4, 2..5, (&mut read, offset)).unwrap();
        }
        let third = received(&mut chunks);
        let third = lending.lend(&mut chunks, third, 4, 2..5, (&mut read, 6)).unwrap_err();
        assert_eq!((chunks.lent(), chunks.account().held), (2, 1));
        read.clear();
        assert!(chunks.lent() == 2 && chunks.account().is_balanced(), "nobody has looked yet");
        lending.take_back(&mut chunks);
        assert_eq!((chunks.lent(), chunks.account().free), (0, 5));
        lending.lend(&mut chunks, third, 4, 2..5, (&mut read, 6)).unwrap();

        // What is sent from is not lent: answers need it.
        let mut own = chunks.allocate().unwrap();
        own.set_len(60);
        let own = lending.lend(&mut chunks, own, 4, 2..5, (&mut read, 0)).unwrap_err();
        let chunk = chunks.take_back(own);
        chunks.free(chunk);
    }
}
