//! `xfcoe read` and `xfcoe write`: bytes between a LUN and a file.
//!
//! Offsets and lengths are bytes: where a range begins or ends inside a block, a read cuts the block, and a write
//! reads the block first and changes only its part of it. The file is streamed, in order, in chunks.

pub(crate) mod command;

use crate::cli::Amount;
use crate::interrupt::{Interrupt, Interrupted};
use std::io::{self, Read, Write};
use std::ops::Range;
use thiserror::Error;

/// Bytes that are read from the LUN or written to it at a time: enough to keep its queue full, little enough to
/// show progress and to stop at once.
const CHUNK_LEN: u64 = 4 << 20;

/// A device of blocks. Addresses and lengths are whole blocks.
pub trait Blocks {
    /// Why it failed.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Bytes of a block.
    fn block_len(&self) -> u32;

    /// Bytes of them all.
    fn len_bytes(&self) -> u64;

    /// Reads from block `lba` on.
    ///
    /// # Errors
    /// The device's.
    fn read_at(&self, lba: u64, buffer: &mut [u8]) -> Result<(), Self::Error>;

    /// Writes from block `lba` on.
    ///
    /// # Errors
    /// The device's.
    fn write_at(&self, lba: u64, data: &[u8]) -> Result<(), Self::Error>;
}

/// A range that is not all on the LUN.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("bytes {start} to {end} reach beyond the end of the LUN, which has {lun_len}")]
pub struct BeyondEnd {
    start: u64,
    end: u64,
    lun_len: u64,
}

/// Why a transfer ended early.
#[derive(Debug, Error)]
pub enum TransferError<E: std::error::Error + 'static> {
    /// The LUN.
    #[error("{action} the LUN at byte {at}: {cause}")]
    Lun {
        /// "reading" or "writing".
        action: &'static str,
        /// Where, from the LUN's beginning.
        at: u64,
        /// What the LUN said.
        #[source]
        cause: E,
    },
    /// The file.
    #[error("{action} the file after {after} bytes: {cause}")]
    File {
        /// "reading" or "writing".
        action: &'static str,
        /// How much went well.
        after: u64,
        /// What the kernel said.
        #[source]
        cause: io::Error,
    },
    /// More to write than there is room for.
    #[error("the LUN ends at byte {lun_len}, and there is more to write; {written} bytes of it are written")]
    LunFull {
        /// Bytes of the LUN.
        lun_len: u64,
        /// How much was written before.
        written: u64,
    },
    /// Ctrl-C.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// The bytes of a LUN that are meant by an offset and a length, without which it is up to the LUN's end.
///
/// # Errors
/// If they reach beyond that.
pub fn range(lun: &impl Blocks, offset: Amount, length: Option<Amount>) -> Result<Range<u64>, BeyondEnd> {
    let (lun_len, block_len) = (lun.len_bytes(), lun.block_len());
    let bytes = |amount: Amount| amount.to_bytes(block_len).unwrap_or(u64::MAX);
    let start = bytes(offset);
    let end = length.map_or(lun_len.max(start), |length| start.saturating_add(bytes(length)));
    if end > lun_len { Err(BeyondEnd { start, end, lun_len }) } else { Ok(start..end) }
}

/// Copies the bytes `range` of `lun` to `file`, and tells `progress` after each chunk how many were copied.
///
/// # Errors
/// The first that happens; what was copied until then is in the file.
///
/// # Panics
/// If the range reaches beyond the LUN.
pub fn read<B: Blocks>(
    lun: &B,
    range: Range<u64>,
    file: &mut dyn Write,
    interrupt: &Interrupt,
    progress: &mut dyn FnMut(u64),
) -> Result<(), TransferError<B::Error>> {
    assert!(range.end <= lun.len_bytes(), "{range:?} reaches beyond the LUN");
    let block_len = u64::from(lun.block_len());
    let mut buffer = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let after = at - range.start;
        interrupt.check(|| format!("after {after} bytes"))?;
        let head = at % block_len;
        let end = range.end.min(at - head + CHUNK_LEN);
        buffer.resize(to_usize((end - at + head).next_multiple_of(block_len)), 0);
        lun.read_at(at / block_len, &mut buffer).map_err(|cause| TransferError::Lun {
            action: "reading",
            at,
            cause,
        })?;
        file.write_all(&buffer[to_usize(head)..][..to_usize(end - at)])
            .map_err(|cause| TransferError::File { action: "writing", after, cause })?;
        at = end;
        progress(at - range.start);
    }
    let after = at.saturating_sub(range.start);
    file.flush().map_err(|cause| TransferError::File { action: "writing", after, cause })
}

/// Copies `file` to `lun` from byte `offset` on, up to the file's end or for `length` bytes, and gives how many were
/// copied. `progress` as with [`read`].
///
/// # Errors
/// The first that happens; what was copied until then is on the LUN.
pub fn write<B: Blocks>(
    lun: &B,
    offset: u64,
    length: Option<u64>,
    file: &mut dyn Read,
    interrupt: &Interrupt,
    progress: &mut dyn FnMut(u64),
) -> Result<u64, TransferError<B::Error>> {
    let (block_len, lun_len) = (u64::from(lun.block_len()), lun.len_bytes());
    let mut buffer = vec![0; to_usize(CHUNK_LEN)];
    let mut written = 0;
    loop {
        interrupt.check(|| format!("after {written} bytes"))?;
        let at = offset + written;
        let head = at % block_len;
        let wanted = length.map_or(u64::MAX, |length| length - written).min(CHUNK_LEN - head);
        let data = head..head + wanted;
        let filled = fill(file, &mut buffer[to_usize(data.start)..to_usize(data.end)])
            .map_err(|cause| TransferError::File { action: "reading", after: written, cause })?;
        if filled == 0 {
            return Ok(written);
        }
        if lun_len.saturating_sub(at) < filled {
            return Err(TransferError::LunFull { lun_len, written });
        }
        write_chunk(lun, at, &mut buffer, filled).map_err(|cause| TransferError::Lun {
            action: "writing",
            at,
            cause,
        })?;
        written += filled;
        progress(written);
    }
}

/// Writes `len` bytes at byte `at`, which are in `buffer` at the place that they have in their first block. The
/// parts of the first and the last block around them stay as they are.
fn write_chunk<B: Blocks>(lun: &B, at: u64, buffer: &mut [u8], len: u64) -> Result<(), B::Error> {
    let block_len = u64::from(lun.block_len());
    let (first_lba, head) = (at / block_len, at % block_len);
    let end = head + len;
    let whole = end.next_multiple_of(block_len);
    let mut block = vec![0; to_usize(block_len)];
    if head > 0 {
        lun.read_at(first_lba, &mut block)?;
        buffer[..to_usize(head)].copy_from_slice(&block[..to_usize(head)]);
    }
    if end < whole {
        lun.read_at((at + len) / block_len, &mut block)?;
        let tail = to_usize(end % block_len);
        buffer[to_usize(end)..to_usize(whole)].copy_from_slice(&block[tail..]);
    }
    lun.write_at(first_lba, &buffer[..to_usize(whole)])
}

/// Reads until `buffer` is full or the file has ended: pipes give what they have.
fn fill(file: &mut dyn Read, buffer: &mut [u8]) -> io::Result<u64> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled as u64)
}

/// For what is at most a chunk long.
fn to_usize(value: u64) -> usize {
    usize::try_from(value).expect("a chunk fits into memory")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    /// A LUN of 512-byte blocks in memory.
    struct Memory(RefCell<Vec<u8>>);

    impl Memory {
        fn counting(len: usize) -> Self {
            Self(RefCell::new((0..len).map(|i| (i / 7) as u8).collect()))
        }
    }

    impl Blocks for Memory {
        type Error = io::Error;

        fn block_len(&self) -> u32 {
            512
        }

        fn len_bytes(&self) -> u64 {
            self.0.borrow().len() as u64
        }

        fn read_at(&self, lba: u64, buffer: &mut [u8]) -> io::Result<()> {
            assert!(buffer.len().is_multiple_of(512));
            buffer.copy_from_slice(&self.0.borrow()[lba as usize * 512..][..buffer.len()]);
            Ok(())
        }

        fn write_at(&self, lba: u64, data: &[u8]) -> io::Result<()> {
            assert!(data.len().is_multiple_of(512));
            self.0.borrow_mut()[lba as usize * 512..][..data.len()].copy_from_slice(data);
            Ok(())
        }
    }

    const LUN_LEN: usize = 9 << 20;

    /// Inside one block, over edges of blocks and of chunks, whole.
    const RANGES: [Range<u64>; 7] =
        [0..0, 3..5, 500..513, 512..1024, 1..CHUNK_LEN + 1, 511..2 * CHUNK_LEN - 1, 0..LUN_LEN as u64];

    #[test]
    fn a_read_gives_exactly_its_range() {
        let lun = Memory::counting(LUN_LEN);
        for range in RANGES {
            let (mut file, mut last) = (Vec::new(), 0);
            read(&lun, range.clone(), &mut file, &Interrupt::default(), &mut |done| last = done).unwrap();
            assert!(file == lun.0.borrow()[range.start as usize..range.end as usize], "{range:?}");
            assert_eq!(last, range.end - range.start);
        }
    }

    #[test]
    fn a_write_changes_exactly_its_range() {
        for range in RANGES {
            let lun = Memory::counting(LUN_LEN);
            let mut expected = lun.0.borrow().clone();
            let data: Vec<u8> = range.clone().map(|i| (i * 3) as u8 | 1).collect();
            expected[range.start as usize..range.end as usize].copy_from_slice(&data);
            let written =
                write(&lun, range.start, None, &mut &data[..], &Interrupt::default(), &mut |_| {}).unwrap();
            assert_eq!(written, data.len() as u64);
            assert!(*lun.0.borrow() == expected, "{range:?}");
        }
    }

    #[test]
    fn a_write_takes_no_more_than_its_length() {
        let lun = Memory::counting(1024);
        let mut file = &[0xff; 100][..];
        assert_eq!(write(&lun, 10, Some(20), &mut file, &Interrupt::default(), &mut |_| {}).unwrap(), 20);
        assert_eq!(file.len(), 80);
    }

    #[test]
    fn a_write_beyond_the_end_is_refused() {
        let lun = Memory::counting(1024);
        let before = lun.0.borrow().clone();
        let error =
            write(&lun, 1000, None, &mut &[0xff; 25][..], &Interrupt::default(), &mut |_| {}).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the LUN ends at byte 1024, and there is more to write; 0 bytes of it are written"
        );
        assert_eq!(*lun.0.borrow(), before);
        assert!(write(&lun, 5000, None, &mut &[0xff; 25][..], &Interrupt::default(), &mut |_| {}).is_err());
    }
}
