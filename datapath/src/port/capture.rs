//! Records what a port receives and sends.
//!
//! The port's thread copies a frame to a bounded lane and goes on; a thread of its own writes the file. When the
//! disk can't keep up, frames are missing from the file, and their number stands at its end: traffic never waits.

use super::lane::{self, BUFFER_LEN, LaneReceiver, LaneSender, Parcel};
use super::pcapng::{Direction, Writer};
use super::{Frame, FrameAccount, Port, PortCounters, PortInfo, Waker};
use fc::in_place::InPlace;
use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Frames that wait for the disk at most: 9 MiB, and some milliseconds at 10 Gbit/s.
const LANE_FRAMES: usize = 4096;
/// Bytes written to the file at a time.
const WRITE_LEN: usize = 1 << 20;
/// How long what was recorded stays out of the file at most while nothing more comes.
const IDLE: Duration = Duration::from_millis(100);

/// A port whose frames are recorded to a pcapng file.
#[derive(Debug)]
pub struct Capture<P> {
    port: P,
    recorder: Recorder,
}

impl<P: Port> Capture<P> {
    /// Records the port's frames to a new file from now on. Only its owner can read it: it holds the disks' data.
    ///
    /// # Errors
    /// When the file can't be created or no thread is to be had.
    pub fn new(port: P, path: impl AsRef<Path>) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        Self::start(port, BufWriter::with_capacity(WRITE_LEN, file), LANE_FRAMES)
    }

    fn start(port: P, output: impl Write + Send + 'static, lane_frames: usize) -> io::Result<Self> {
        let info = port.info();
        let writer = Writer::new(output, &info.interface, &info.to_string())?;
        Ok(Self { recorder: Recorder::start(writer, lane_frames)?, port })
    }

    /// Frames that were not recorded because the disk couldn't keep up.
    pub fn missed_frames(&self) -> u64 {
        self.recorder.shared.missed.load(Ordering::Relaxed)
    }

    /// Ends the recording, with everything in the file, and gives the port back.
    ///
    /// # Errors
    /// What went wrong in writing, now or earlier; the port is closed then.
    pub fn finish(self) -> io::Result<P> {
        let Self { port, mut recorder } = self;
        recorder.end()?;
        Ok(port)
    }
}

/// What goes beside a frame's bytes.
#[derive(Debug)]
struct About {
    time_ns: u64,
    direction: Direction,
    /// Bytes of the whole frame; the buffer may hold fewer.
    len: usize,
}

#[derive(Debug)]
struct Shared {
    is_ending: AtomicBool,
    missed: AtomicU64,
}

#[derive(Debug)]
struct Recorder {
    shared: Arc<Shared>,
    lane: LaneSender<About>,
    /// Until it has been joined.
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Recorder {
    fn start<W: Write + Send + 'static>(writer: Writer<W>, lane_frames: usize) -> io::Result<Self> {
        let shared = Arc::new(Shared { is_ending: AtomicBool::new(false), missed: AtomicU64::new(0) });
        let theirs = Arc::clone(&shared);
        let (lane, frames) = lane::lane(lane_frames);
        let write = move || theirs.write(frames, writer);
        let thread = thread::Builder::new().name("capture".into()).spawn(write)?;
        Ok(Self { shared, lane, thread: Some(thread) })
    }

    fn record(&mut self, time_ns: u64, direction: Direction, bytes: &[u8]) {
        let Some(mut buffer) = self.lane.take_spare() else {
            self.shared.missed.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let kept = bytes.len().min(BUFFER_LEN);
        buffer[..kept].copy_from_slice(&bytes[..kept]);
        let about = About { time_ns, direction, len: bytes.len() };
        self.lane.push(Parcel { buffer, len: kept as u16, about });
    }

    fn end(&mut self) -> io::Result<()> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        self.shared.is_ending.store(true, Ordering::Release);
        self.lane.ring();
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            tracing::warn!(%error, "the capture is not complete");
        }
    }
}

impl Shared {
    /// The thread that writes: frames until the end, then how many are missing.
    fn write<W: Write>(&self, mut frames: LaneReceiver<About>, mut writer: Writer<W>) -> io::Result<()> {
        loop {
            // Asked first: what was recorded before the end is then on the lane.
            let is_ending = self.is_ending.load(Ordering::Acquire);
            let mut result = Ok(());
            while let Some(Parcel { buffer, len, about }) = frames.pop() {
                let bytes = &buffer[..len.into()];
                result =
                    result.and_then(|()| writer.frame(about.time_ns, about.direction, bytes, about.len, ""));
                frames.give_spare(buffer);
            }
            result?;
            if is_ending {
                writer.drops(now_ns(), self.missed.load(Ordering::Relaxed))?;
                return writer.flush();
            }
            writer.flush()?;
            frames.wait_alone(IDLE)?;
        }
    }
}

fn now_ns() -> u64 {
    // In 64 bits until the year 2554.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos() as u64)
}

impl<P: Port> Port for Capture<P> {
    fn receive(&mut self, into: &mut Vec<Frame>, max: usize) -> usize {
        let before = into.len();
        let received = self.port.receive(into, max);
        if received > 0 {
            let time_ns = now_ns();
            for frame in &into[before..] {
                self.recorder.record(time_ns, Direction::Received, self.port.data(frame));
            }
            self.recorder.lane.ring();
        }
        received
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

    fn send(&mut self, frame: Frame) {
        self.recorder.record(now_ns(), Direction::Sent, self.port.data(&frame));
        self.port.send(frame);
    }

    fn release(&mut self, frame: Frame) {
        self.port.release(frame);
    }

    fn lend(
        &mut self,
        frame: Frame,
        data: Range<usize>,
        read: &mut InPlace,
        offset: u32,
    ) -> Result<(), Frame> {
        self.port.lend(frame, data, read, offset)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.recorder.lane.ring();
        self.port.flush()
    }

    fn receive_on_this_cpu(&mut self, yes: bool) {
        self.port.receive_on_this_cpu(yes);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::memory::{self, MemoryConfig};
    use std::sync::mpsc::{Receiver, Sender, channel};

    /// A disk that does one write for each message, and as many as it likes once the sender is gone.
    struct Disk {
        go: Receiver<()>,
        written: Sender<Vec<u8>>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.go.recv();
            self.written.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_slow_disk_costs_records_and_never_time() {
        let ((go, gate), (written, blocks)) = (channel(), channel());
        // For the two blocks that begin a file.
        go.send(()).unwrap();
        go.send(()).unwrap();
        let (port, mut wire) = memory::wire(MemoryConfig::default());
        let mut capture = Capture::start(port, Disk { go: gate, written }, 8).unwrap();
        for number in 0..20 {
            assert!(capture.send_copy(&[number; 60]));
        }
        capture.flush().unwrap();
        assert_eq!(std::iter::from_fn(|| wire.pop()).count(), 20, "all went out");
        assert_eq!(capture.missed_frames(), 12);

        drop(go);
        capture.finish().unwrap();
        let blocks: Vec<_> = blocks.iter().collect();
        assert_eq!(blocks.len(), 2 + 8 + 1);
        assert!(blocks[10].windows(8).any(|bytes| bytes == 12_u64.to_le_bytes()), "the file tells of them");
    }

    #[test]
    fn what_goes_wrong_in_writing_is_told() {
        let ((_, gate), (written, blocks)) = (channel(), channel());
        let (port, _wire) = memory::wire(MemoryConfig::default());
        let capture = Capture::start(port, Disk { go: gate, written }, 8).unwrap();
        drop(blocks);
        capture.finish().unwrap_err();
    }
}
