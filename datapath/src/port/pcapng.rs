//! Writes pcapng (draft-ietf-opsawg-pcapng): a section of one Ethernet interface, with times in nanoseconds.
//!
//! Every block is its type, its length, a body in words of four bytes, options, and its length again.

use std::io::{self, Write};

/// Link type of Ethernet.
const ETHERNET: u16 = 1;
/// Says that the words are little-endian.
const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const INTERFACE_STATISTICS: u32 = 5;
const ENHANCED_PACKET: u32 = 6;

/// Which way a frame went, as in the flags of its block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Direction {
    /// To the one who records.
    Received = 1,
    /// From the one who records.
    Sent = 2,
}

/// Writes the blocks of one capture.
#[derive(Debug)]
pub struct Writer<W> {
    output: W,
    block: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// Begins the section.
    ///
    /// # Errors
    /// Those of writing.
    pub fn new(output: W, interface: &str, description: &str) -> io::Result<Self> {
        let mut writer = Self { output, block: Vec::new() };
        writer.begin(SECTION_HEADER);
        writer.word(BYTE_ORDER_MAGIC);
        writer.word(1); // Version 1.0.
        writer.word(u32::MAX); // The section's length, 64 bits: not known.
        writer.word(u32::MAX);
        writer.option(4, b"xfcoe"); // The application.
        writer.end()?;

        writer.begin(INTERFACE_DESCRIPTION);
        writer.word(ETHERNET.into());
        writer.word(0); // Frames may be of any length.
        writer.option(2, interface.as_bytes());
        writer.option(3, description.as_bytes());
        writer.option(9, &[9]); // Times in 10^-9 s.
        writer.end()?;
        Ok(writer)
    }

    /// One frame: the bytes that were kept of it, its whole length, and what there is to say about it, if anything.
    ///
    /// # Errors
    /// Those of writing.
    pub fn frame(
        &mut self,
        time_ns: u64,
        direction: Direction,
        bytes: &[u8],
        len: usize,
        comment: &str,
    ) -> io::Result<()> {
        self.begin(ENHANCED_PACKET);
        self.word(0); // The interface.
        self.time(time_ns);
        self.word(bytes.len() as u32);
        self.word(len as u32);
        self.bytes(bytes);
        self.option(2, &(direction as u32).to_le_bytes());
        if !comment.is_empty() {
            self.option(1, comment.as_bytes());
        }
        self.end()
    }

    /// How many frames were not written for want of time.
    ///
    /// # Errors
    /// Those of writing.
    pub fn drops(&mut self, time_ns: u64, drops: u64) -> io::Result<()> {
        self.begin(INTERFACE_STATISTICS);
        self.word(0);
        self.time(time_ns);
        self.option(5, &drops.to_le_bytes());
        self.end()
    }

    /// Hands what was written to the operating system.
    ///
    /// # Errors
    /// Those of writing.
    pub fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }

    fn begin(&mut self, kind: u32) {
        self.block.clear();
        self.word(kind);
        self.word(0); // The length, set at the end.
    }

    fn word(&mut self, word: u32) {
        self.block.extend(word.to_le_bytes());
    }

    fn time(&mut self, time_ns: u64) {
        self.word((time_ns >> 32) as u32);
        self.word(time_ns as u32);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.block.extend(bytes);
        self.block.resize(self.block.len().next_multiple_of(4), 0);
    }

    fn option(&mut self, code: u16, value: &[u8]) {
        self.word(u32::from(code) | (value.len() as u32) << 16);
        self.bytes(value);
    }

    fn end(&mut self) -> io::Result<()> {
        self.word(0); // The end of the options.
        let len = self.block.len() as u32 + 4;
        self.block[4..8].copy_from_slice(&len.to_le_bytes());
        self.word(len);
        self.output.write_all(&self.block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_laid_out_as_the_format_wants() {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes, "eth0", "a port").unwrap();
        writer.frame(0x1_0000_0002, Direction::Sent, b"abcde", 9, "").unwrap();
        writer.frame(5, Direction::Received, b"abcd", 4, "late").unwrap();
        writer.drops(3, 4).unwrap();
        let mut rest = &bytes[..];
        let mut blocks = Vec::new();
        while !rest.is_empty() {
            let words: Vec<u32> =
                rest.chunks(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect();
            let len = words[1] as usize;
            assert_eq!(words[len / 4 - 1] as usize, len, "a block's length stands at both ends");
            blocks.push(words[..len / 4].to_vec());
            rest = &rest[len..];
        }
        let kinds: Vec<u32> = blocks.iter().map(|block| block[0]).collect();
        assert_eq!(
            kinds,
            [SECTION_HEADER, INTERFACE_DESCRIPTION, ENHANCED_PACKET, ENHANCED_PACKET, INTERFACE_STATISTICS]
        );
        let text = |bytes: &[u8; 4]| u32::from_le_bytes(*bytes);
        assert_eq!(blocks[2][2..13], [0, 1, 2, 5, 9, text(b"abcd"), text(b"e\0\0\0"), 4 << 16 | 2, 2, 0, 52]);
        let commented = [0, 0, 5, 4, 4, text(b"abcd"), 4 << 16 | 2, 1, 4 << 16 | 1, text(b"late"), 0];
        assert_eq!(blocks[3][2..13], commented);
        assert_eq!(blocks[4][2..10], [0, 0, 3, 8 << 16 | 5, 4, 0, 0, 40]);
    }
}
