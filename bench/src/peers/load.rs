//! What every peer is given to do.

/// Random I/O to a RAM disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Load {
    pub(super) name: &'static str,
    pub(super) reads: bool,
    /// Bytes of an I/O.
    pub(super) len: usize,
    /// I/Os that are out at any time.
    pub(super) depth: usize,
}

impl Load {
    const fn new(name: &'static str, reads: bool, len: usize, depth: usize) -> Self {
        Self { name, reads, len, depth }
    }

    /// What fio and `xfcoe-bench io` call it.
    pub(super) fn rw(self) -> &'static str {
        if self.reads { "randread" } else { "randwrite" }
    }
}

/// Those that goals are about.
pub(super) const READ_4K_DEPTH_1: &str = "4 KiB reads, depth 1";
pub(super) const READ_4K_DEPTH_32: &str = "4 KiB reads, depth 32";
pub(super) const READ_64K: &str = "64 KiB reads, depth 8";

pub(super) const LOADS: [Load; 8] = [
    Load::new(READ_4K_DEPTH_1, true, 4 << 10, 1),
    Load::new(READ_4K_DEPTH_32, true, 4 << 10, 32),
    Load::new("4 KiB writes, depth 1", false, 4 << 10, 1),
    Load::new("4 KiB writes, depth 32", false, 4 << 10, 32),
    Load::new(READ_64K, true, 64 << 10, 8),
    Load::new("64 KiB writes, depth 8", false, 64 << 10, 8),
    Load::new("256 KiB reads, depth 8", true, 256 << 10, 8),
    Load::new("256 KiB writes, depth 8", false, 256 << 10, 8),
];
