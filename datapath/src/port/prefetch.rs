//! Asking for memory before it is needed.

#![allow(unsafe_code)]

/// Bytes of a cache line.
const LINE_LEN: usize = 64;

/// Has the CPU bring the first `len` bytes of `place` near, which begins a line, and goes on at once. Where there is no
/// instruction for it, nothing happens.
#[inline]
pub fn prefetch<T: ?Sized>(place: &T, len: usize) {
    let start = std::ptr::from_ref(place).cast::<i8>();
    for offset in (0..len.min(size_of_val(place))).step_by(LINE_LEN) {
        let line = start.wrapping_add(offset);
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a prefetch changes nothing and faults nowhere, and here it is of what a reference points to.
        unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(line);
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = line;
    }
}
