//! What was on the wire: a number for all of it, and, where something went wrong, the last frames for Wireshark.

use datapath::port::pcapng::{Direction, Writer};
use fc::time::Instant;
use fc::wire::ethernet::{EtherType, EthernetHeader};
use fc::wire::fcoe::FcoeFrame;
use fc::wire::header::FcType;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufWriter};
use std::path::Path;

/// Frames that are kept of FCP, and as many of all else, which reach back much longer.
const MAX_KEPT: usize = 20_000;

/// The hash of every frame, with its sender and its time. Equal runs have equal hashes.
#[derive(Debug)]
pub(crate) struct Trace {
    hash: u64,
    frames: u64,
    last: Instant,
    kept: Option<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// What the next one is.
    number: u64,
    fcp: VecDeque<Frame>,
    others: VecDeque<Frame>,
}

#[derive(Debug)]
struct Frame {
    number: u64,
    at: Instant,
    bytes: Vec<u8>,
    note: String,
}

impl Trace {
    /// A trace that keeps no frames.
    pub(crate) const fn new() -> Self {
        /// FNV-1a's, as is the prime below.
        const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
        Self { hash: OFFSET_BASIS, frames: 0, last: Instant::ZERO, kept: None }
    }

    /// A trace that keeps the last frames.
    pub(crate) fn keeping() -> Self {
        Self { kept: Some(Kept::default()), ..Self::new() }
    }

    /// FNV-1a, by words of eight bytes.
    pub(crate) const fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) const fn frames(&self) -> u64 {
        self.frames
    }

    /// When the last frame was sent.
    pub(crate) const fn last(&self) -> Instant {
        self.last
    }

    /// A port has sent a frame.
    pub(crate) fn sent(&mut self, now: Instant, port: usize, bytes: &[u8]) {
        self.frames += 1;
        self.last = now;
        self.mix(now.as_nanos());
        self.mix((port as u64) << 32 | bytes.len() as u64);
        let words = bytes.chunks_exact(8);
        let mut last = [0; 8];
        last[..words.remainder().len()].copy_from_slice(words.remainder());
        words.for_each(|word| self.mix(u64::from_le_bytes(word.try_into().expect("eight bytes"))));
        self.mix(u64::from_le_bytes(last));
    }

    fn mix(&mut self, word: u64) {
        const PRIME: u64 = 0x0100_0000_01b3;
        self.hash = (self.hash ^ word).wrapping_mul(PRIME);
    }

    /// Keeps a frame, if any are kept, with a note on it.
    pub(crate) fn keep(&mut self, at: Instant, bytes: &[u8], note: impl FnOnce() -> String) {
        let Some(kept) = &mut self.kept else { return };
        let frames = if is_fcp(bytes) { &mut kept.fcp } else { &mut kept.others };
        if frames.len() == MAX_KEPT {
            frames.pop_front();
        }
        frames.push_back(Frame { number: kept.number, at, bytes: bytes.to_vec(), note: note() });
        kept.number += 1;
    }

    /// Writes what was kept to a new pcapng file, and gives the number of its frames.
    ///
    /// # Errors
    /// Those of files.
    pub(crate) fn write(&self, path: &Path) -> io::Result<usize> {
        let file = BufWriter::new(File::create(path)?);
        let mut writer = Writer::new(file, "switch", "the switch of a simulation, its clock from 0 on")?;
        let mut frames: Vec<_> =
            self.kept.iter().flat_map(|kept| kept.fcp.iter().chain(&kept.others)).collect();
        frames.sort_by_key(|frame| frame.number);
        for Frame { at, bytes, note, .. } in &frames {
            writer.frame(at.as_nanos(), Direction::Received, bytes, bytes.len(), note)?;
        }
        writer.flush()?;
        Ok(frames.len())
    }
}

fn is_fcp(bytes: &[u8]) -> bool {
    let Ok((ethernet, payload)) = EthernetHeader::parse(bytes) else { return false };
    ethernet.ethertype == EtherType::FCOE
        && FcoeFrame::parse(payload).is_ok_and(|frame| frame.header().fc_type == FcType::FCP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_of_a_frame_is_in_the_hash() {
        let hash = |at, port, bytes: &[u8]| {
            let mut trace = Trace::new();
            trace.sent(Instant::from_nanos(at), port, bytes);
            trace.hash()
        };
        let one = hash(1, 2, b"a frame of some bytes");
        assert_eq!(hash(1, 2, b"a frame of some bytes"), one);
        let others = [
            hash(2, 2, b"a frame of some bytes"),
            hash(1, 3, b"a frame of some bytes"),
            hash(1, 2, b"a frame of some byteS"),
            hash(1, 2, b"A frame of some bytes"),
            hash(1, 2, b"a frame of some bytes\0"),
        ];
        assert!(others.iter().all(|&other| other != one));
    }
}
