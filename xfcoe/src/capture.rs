//! A port that writes every frame it moves to a pcap file.
//!
//! AF_XDP passes tcpdump by: XDP takes frames before the kernel's taps see them, and sending goes around them.
//! So a capture is taken where the frames are.

use datapath::port::{Frame, FrameAccount, Port, PortCounters, PortInfo, Waker};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// `port`, with all its frames written down.
#[derive(Debug)]
pub struct CapturePort<P, W: Write = BufWriter<File>> {
    port: P,
    /// Gone after the first error: a full disk must not stop the port.
    writer: Option<W>,
}

impl<P: Port> CapturePort<P> {
    /// Captures to a new file at `path`.
    ///
    /// # Errors
    /// If it can't be created or written.
    pub fn create(port: P, path: &Path) -> io::Result<Self> {
        Self::new(port, BufWriter::new(File::create(path)?))
    }
}

impl<P: Port, W: Write> CapturePort<P, W> {
    fn new(port: P, mut writer: W) -> io::Result<Self> {
        writer.write_all(&file_header())?;
        Ok(Self { port, writer: Some(writer) })
    }
}

impl<P, W: Write> CapturePort<P, W> {
    fn attempt(&mut self, write: impl FnOnce(&mut W) -> io::Result<()>) {
        if let Some(writer) = &mut self.writer
            && let Err(error) = write(writer)
        {
            tracing::warn!(%error, "the capture ends here");
            self.writer = None;
        }
    }
}

impl<P, W: Write> Drop for CapturePort<P, W> {
    fn drop(&mut self) {
        self.attempt(W::flush);
    }
}

impl<P: Port, W: Write> Port for CapturePort<P, W> {
    fn receive(&mut self, into: &mut Vec<Frame>, max: usize) -> usize {
        let before = into.len();
        let received = self.port.receive(into, max);
        for frame in &into[before..] {
            if let Some(writer) = &mut self.writer {
                let written = write_record(writer, SystemTime::now(), self.port.data(frame));
                self.attempt(|_| written);
            }
        }
        received
    }

    fn send(&mut self, frame: Frame) {
        if let Some(writer) = &mut self.writer {
            let written = write_record(writer, SystemTime::now(), self.port.data(&frame));
            self.attempt(|_| written);
        }
        self.port.send(frame);
    }

    fn allocate(&mut self) -> Option<Frame> {
        self.port.allocate()
    }

    fn data<'a>(&'a self, frame: &'a Frame) -> &'a [u8] {
        self.port.data(frame)
    }

    fn buffer<'a>(&'a mut self, frame: &'a mut Frame) -> &'a mut [u8] {
        self.port.buffer(frame)
    }

    fn set_len(&mut self, frame: &mut Frame, len: usize) {
        self.port.set_len(frame, len);
    }

    fn capacity(&self) -> usize {
        self.port.capacity()
    }

    fn release(&mut self, frame: Frame) {
        self.port.release(frame);
    }

    fn flush(&mut self) -> io::Result<()> {
        self.port.flush()
    }

    fn wait(&mut self, waker: &Waker, timeout: Duration) -> io::Result<()> {
        self.port.wait(waker, timeout)
    }

    fn info(&self) -> &PortInfo {
        self.port.info()
    }

    fn counters(&self) -> PortCounters {
        self.port.counters()
    }

    fn account(&self) -> FrameAccount {
        self.port.account()
    }
}

/// The pcap file header: times in nanoseconds, version 2.4, frames up to 64 KiB, LINKTYPE_ETHERNET.
fn file_header() -> [u8; 24] {
    let words: [u32; 6] = [0xa1b2_3c4d, 4 << 16 | 2, 0, 0, 0xffff, 1];
    let mut header = [0; 24];
    for (at, word) in header.chunks_exact_mut(4).zip(words) {
        at.copy_from_slice(&word.to_le_bytes());
    }
    header
}

fn write_record(writer: &mut impl Write, time: SystemTime, frame: &[u8]) -> io::Result<()> {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    // The format's own limits: seconds of 32 bits, and no frame comes near 4 GiB.
    let (seconds, len) = (since.as_secs() as u32, frame.len() as u32);
    for word in [seconds, since.subsec_nanos(), len, len] {
        writer.write_all(&word.to_le_bytes())?;
    }
    writer.write_all(frame)
}

#[cfg(test)]
mod tests {
    use super::*;
    use datapath::port::memory::{MemoryConfig, MemoryPort, wire};

    #[test]
    fn frames_of_both_directions_are_in_the_file_in_order() {
        let (port, far_end) = wire(MemoryConfig::default());
        let mut file = Vec::new();
        let mut port = CapturePort::new(port, &mut file).unwrap();

        let mut frame = port.allocate().unwrap();
        port.buffer(&mut frame)[..60].fill(0x11);
        port.set_len(&mut frame, 60);
        port.send(frame);
        port.flush().unwrap();
        assert!(far_end.push(&[0x22; 61]));
        let mut received = Vec::new();
        assert_eq!(port.receive(&mut received, 8), 1);
        received.into_iter().for_each(|frame| port.release(frame));
        assert!(port.account().is_balanced());
        drop(port);

        assert_eq!(file[..4], [0x4d, 0x3c, 0xb2, 0xa1]);
        let (first, second) = file[24..].split_at(16 + 60);
        assert_eq!((&first[8..12], &first[16..]), (&[60, 0, 0, 0][..], &[0x11; 60][..]));
        assert_eq!((&second[8..12], &second[16..]), (&[61, 0, 0, 0][..], &[0x22; 61][..]));
    }

    #[test]
    fn a_full_disk_ends_the_capture_and_not_the_port() {
        let (port, _far_end) = wire(MemoryConfig::default());
        let mut small = [0; 30];
        let mut port: CapturePort<MemoryPort, _> = CapturePort::new(port, &mut small[..]).unwrap();
        for _ in 0..2 {
            let mut frame = port.allocate().unwrap();
            port.set_len(&mut frame, 60);
            port.send(frame);
            port.flush().unwrap();
        }
        assert!(port.writer.is_none());
        assert_eq!(port.counters().sent_frames, 2);
    }
}
