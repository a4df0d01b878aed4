//! Where a logical unit's bytes are.

use crate::config::{ConfigError, LunConfig};
use datapath::port::prefetch::prefetch;
use memmap2::{Advice, MmapMut};
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

/// The bytes of a disk. Offsets and lengths are checked by the caller: beyond the end is a panic.
#[derive(Debug)]
pub(crate) enum Disk {
    /// In memory.
    Ram(MmapMut),
    /// In a file or on a block device.
    File(File),
}

impl Disk {
    /// Opens what `config` names and gives its size in bytes.
    pub(super) fn open(config: &LunConfig) -> Result<(Self, u64), ConfigError> {
        let Some(path) = &config.file else {
            let too_large =
                ConfigError::OutOfRange { field: "size_bytes", value: config.size_bytes, allowed: "memory" };
            let len = usize::try_from(config.size_bytes);
            let memory = len.ok().and_then(|len| MmapMut::map_anon(len).ok()).ok_or(too_large)?;
            // Reads go anywhere, and few of a disk's small pages are ever known to the CPU. Without huge ones it is slower.
            let _ = memory.advise(Advice::HugePage);
            return Ok((Self::Ram(memory), config.size_bytes));
        };
        let failed = |error| ConfigError::File { path: path.clone(), error };
        let mut file = OpenOptions::new().read(true).write(!config.read_only).open(path).map_err(failed)?;
        // Metadata has no size for a block device; its end has.
        let have = file.seek(SeekFrom::End(0)).map_err(failed)?;
        let size = match config.size_bytes {
            0 => have - have % u64::from(config.block_bytes),
            size => size,
        };
        if size == 0 {
            return Err(failed(io::Error::other("it is empty")));
        }
        if have < size && !config.read_only {
            file.set_len(size).map_err(failed)?;
        } else if have < size {
            return Err(failed(io::Error::other(format!("it has {have} bytes, {size} are asked for"))));
        }
        Ok((Self::File(file), size))
    }

    /// The bytes at `offset`: in place where they are in memory, else read into `scratch`, whose length says
    /// how many.
    pub(crate) fn view<'a>(&'a self, offset: u64, scratch: &'a mut [u8]) -> io::Result<&'a [u8]> {
        match self {
            Self::Ram(bytes) => Ok(&bytes[offset as usize..][..scratch.len()]),
            Self::File(file) => {
                file.read_exact_at(scratch, offset)?;
                Ok(scratch)
            }
        }
    }

    /// Has the bytes at `offset` brought near that are in memory: they are wanted in a moment.
    pub(crate) fn prefetch(&self, offset: u64, len: usize) {
        match self {
            Self::Ram(bytes) => prefetch(&bytes[offset as usize..], len),
            Self::File(_) => {}
        }
    }

    /// Copies the bytes at `offset` into `into`.
    pub(crate) fn read(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        match self {
            Self::Ram(bytes) => into.copy_from_slice(&bytes[offset as usize..][..into.len()]),
            Self::File(file) => file.read_exact_at(into, offset)?,
        }
        Ok(())
    }

    /// Writes `data` at `offset`.
    pub(crate) fn write(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        match self {
            Self::Ram(bytes) => bytes[offset as usize..][..data.len()].copy_from_slice(data),
            Self::File(file) => file.write_all_at(data, offset)?,
        }
        Ok(())
    }

    /// Writes `pattern` over and over into `len` bytes at `offset`, which are a multiple of its length.
    pub(super) fn fill(&mut self, offset: u64, len: u64, pattern: &[u8]) -> io::Result<()> {
        match self {
            Self::Ram(bytes) => {
                let range = &mut bytes[offset as usize..][..len as usize];
                range.chunks_exact_mut(pattern.len()).for_each(|chunk| chunk.copy_from_slice(pattern));
            }
            Self::File(file) => {
                /// Bytes of one write: large enough that the system call does not matter.
                const PIECE_LEN: usize = 256 << 10;
                let piece = pattern.repeat((PIECE_LEN / pattern.len()).max(1));
                let mut done = 0;
                while done < len {
                    let count = (len - done).min(piece.len() as u64);
                    file.write_all_at(&piece[..count as usize], offset + done)?;
                    done += count;
                }
            }
        }
        Ok(())
    }

    /// Makes what was written survive a crash of the machine, where that can be.
    pub(super) fn flush(&self) -> io::Result<()> {
        match self {
            Self::Ram(_) => Ok(()),
            Self::File(file) => file.sync_data(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_file_hold_the_same() {
        let path = std::env::temp_dir().join(format!("san-disk-{}", std::process::id()));
        std::fs::write(&path, [7; 3]).unwrap();
        let in_file = LunConfig { file: Some(path.clone()), size_bytes: 8192, ..LunConfig::default() };
        let in_ram = LunConfig { size_bytes: 8192, ..LunConfig::default() };
        for config in [&in_ram, &in_file] {
            let (mut disk, size) = Disk::open(config).unwrap();
            assert_eq!(size, 8192);
            disk.fill(512, 1024, &[1, 2, 3, 4]).unwrap();
            disk.write(1000, b"hello").unwrap();
            disk.flush().unwrap();
            let mut scratch = [0; 9];
            assert_eq!(disk.view(998, &mut scratch).unwrap(), b"\x03\x04hello\x02\x03");
            let mut end = [9; 4];
            disk.read(8188, &mut end).unwrap();
            assert_eq!(end, [0; 4]);
        }
        let whole = LunConfig { size_bytes: 0, ..in_file.clone() };
        assert_eq!(Disk::open(&whole).unwrap().1, 8192);
        let beyond = LunConfig { size_bytes: 16384, read_only: true, ..in_file };
        assert!(Disk::open(&beyond).unwrap_err().to_string().contains("8192"));
        std::fs::remove_file(&path).unwrap();
        assert!(Disk::open(&whole).is_err());
        let too_large = LunConfig { size_bytes: 1 << 60, ..in_ram };
        assert!(Disk::open(&too_large).unwrap_err().to_string().contains("memory"));
    }
}
