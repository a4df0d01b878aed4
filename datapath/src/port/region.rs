//! A region of chunks in memory of its own, for frames that are lent to be there when their port is not any more.
#![allow(unsafe_code)]

use libc::{MAP_ANONYMOUS, MAP_FAILED, MAP_PRIVATE, MREMAP_MAYMOVE, PROT_READ, PROT_WRITE, c_void};
use std::io;
use std::ptr::{self, NonNull};

/// Chunks side by side. Who has which of them is known to their port: reading and writing are unsafe for that.
#[derive(Debug)]
pub(super) struct Region {
    start: NonNull<u8>,
    len: usize,
    chunk_len: usize,
    /// It ends with this value, and not with somebody else's.
    is_own: bool,
}

// SAFETY: it is plain memory, and whoever reads or writes it promises that nobody else is in the way.
unsafe impl Send for Region {}
// SAFETY: the same.
unsafe impl Sync for Region {}

impl Region {
    /// New memory, all zeros.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn new(chunks: usize, chunk_len: usize) -> io::Result<Self> {
        let len = chunks * chunk_len;
        let (protection, flags) = (PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
        // SAFETY: a new mapping where the kernel likes is in nobody's way.
        let start = unsafe { libc::mmap(ptr::null_mut(), len, protection, flags, -1, 0) };
        Ok(Self { start: mapped(start)?, len, chunk_len, is_own: true })
    }

    /// The memory of the shared mapping at `start`, mapped once more, so that it stays when that goes. Where the kernel
    /// doesn't do that, as of huge pages, it is that mapping itself: see [`Self::is_own`].
    ///
    /// # Safety
    /// A mapping of so many chunks begins at `start`, and is there for as long as a region is used that is not its own.
    pub(super) unsafe fn again(start: NonNull<u8>, chunks: usize, chunk_len: usize) -> Self {
        let len = chunks * chunk_len;
        // SAFETY: to move nothing of a shared mapping maps it once more (mremap(2)); the first one stays as it is.
        let own = unsafe { libc::mremap(start.as_ptr().cast(), 0, len, MREMAP_MAYMOVE) };
        let Ok(own) = mapped(own) else { return Self { start, len, chunk_len, is_own: false } };
        // For no frame to wait until its page is entered; if that can't be, frames wait.
        // SAFETY: it changes nothing of what the memory holds.
        let _ = unsafe { libc::madvise(own.as_ptr().cast(), len, libc::MADV_POPULATE_WRITE) };
        Self { start: own, len, chunk_len, is_own: true }
    }

    /// Whether it stays for as long as this value does.
    pub(super) const fn is_own(&self) -> bool {
        self.is_own
    }

    /// Bytes of a chunk.
    ///
    /// # Panics
    /// If they are not all in it.
    ///
    /// # Safety
    /// Nobody writes to the chunk meanwhile, the kernel included.
    #[inline]
    pub(super) unsafe fn bytes(&self, chunk: usize, start: usize, len: usize) -> &[u8] {
        let start = self.place(chunk, start, len);
        // SAFETY: it is in the region (checked), which is mapped as long as `self` is there, and nobody writes to it.
        unsafe { std::slice::from_raw_parts(start, len) }
    }

    /// Bytes of a chunk, to write to.
    ///
    /// # Panics
    /// As [`Self::bytes`].
    ///
    /// # Safety
    /// Nobody else reads or writes the chunk meanwhile, the kernel included.
    #[expect(clippy::mut_from_ref, reason = "who calls it promises to be alone with the chunk")]
    #[inline]
    pub(super) unsafe fn bytes_mut(&self, chunk: usize, start: usize, len: usize) -> &mut [u8] {
        let start = self.place(chunk, start, len);
        // SAFETY: as in `bytes`, and nobody else reads it.
        unsafe { std::slice::from_raw_parts_mut(start, len) }
    }

    #[inline]
    fn place(&self, chunk: usize, start: usize, len: usize) -> *mut u8 {
        let chunk_start = chunk * self.chunk_len;
        assert!(
            start <= self.chunk_len && len <= self.chunk_len - start && chunk_start < self.len,
            "{len} bytes at {start} of chunk {chunk}"
        );
        self.start.as_ptr().wrapping_add(chunk_start + start)
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        if self.is_own {
            // SAFETY: nobody has a slice of it any more, as each borrows from `self`.
            unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
        }
    }
}

fn mapped(start: *mut c_void) -> io::Result<NonNull<u8>> {
    match NonNull::new(start) {
        Some(mapped) if start != MAP_FAILED => Ok(mapped.cast()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_is_mapped_again_outlives_the_first_mapping() {
        const LEN: usize = 2 * 4096;
        let (protection, flags) = (PROT_READ | PROT_WRITE, libc::MAP_SHARED | MAP_ANONYMOUS);
        // SAFETY: a new mapping; it is written to while no slice of it is there, and unmapped with nobody using it.
        let region = unsafe {
            let first = mapped(libc::mmap(ptr::null_mut(), LEN, protection, flags, -1, 0)).unwrap();
            let region = Region::again(first, 2, 4096);
            first.as_ptr().add(5000).write(7);
            assert_eq!(libc::munmap(first.as_ptr().cast(), LEN), 0);
            region
        };
        assert!(region.is_own());
        // SAFETY: nobody else has it.
        let bytes = unsafe { region.bytes(1, 5000 - 4096, 3) };
        assert_eq!(bytes, [7, 0, 0]);
    }

    #[test]
    #[should_panic(expected = "2 bytes at 4095 of chunk 0")]
    fn a_chunk_ends_where_the_next_one_begins() {
        let region = Region::new(2, 4096).unwrap();
        // SAFETY: nobody writes to it.
        let _ = unsafe { region.bytes(0, 4095, 2) };
    }
}
