//! The end that sends and the end that receives.

use super::stamped::{Stamp, Template, Unfit};
use datapath::port::{Frame, Port};
use std::io;
use std::time::{Duration, Instant};
use xfcoe::interrupt::Interrupt;

/// Frames between two doorbells, as the poll core has it.
const BATCH: u64 = 64;

/// How long is waited for the driver to send what is queued.
const DRAIN: Duration = Duration::from_millis(100);

/// The clock of this process, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock(Instant);

impl Clock {
    pub(super) fn new() -> Self {
        Self(Instant::now())
    }

    pub(super) fn now_ns(self) -> u64 {
        self.0.elapsed().as_nanos() as u64
    }
}

/// When frames are sent.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Pace {
    /// Frames a second; none is as many as can be.
    pub(super) fps: Option<f64>,
    /// As many at a time.
    pub(super) burst: u64,
}

impl Pace {
    /// How many frames are to be sent within that time.
    fn due(self, elapsed: Duration) -> u64 {
        match self.fps {
            Some(fps) => ((elapsed.as_secs_f64() * fps) as u64 / self.burst + 1) * self.burst,
            None => u64::MAX,
        }
    }
}

/// What was sent.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Sent {
    pub(super) frames: u64,
    pub(super) elapsed: Duration,
}

/// Sends frames for a while. What can't be sent in time is not made up for by more than a batch: the rate falls short.
pub(super) fn send(
    port: &mut impl Port,
    template: &Template,
    pace: Pace,
    duration: Duration,
    clock: Clock,
    interrupt: &Interrupt,
) -> io::Result<Sent> {
    let started = Instant::now();
    let (mut frames, mut given_up) = (0, 0);
    let mut elapsed = Duration::ZERO;
    while elapsed < duration && !interrupt.is_raised() {
        let due = pace.due(elapsed).saturating_sub(frames + given_up);
        let now_ns = clock.now_ns();
        let mut queued = 0;
        while queued < due.min(BATCH)
            && let Some(mut frame) = port.allocate()
        {
            let len = template.emit(port.buffer(&mut frame), frames, now_ns);
            port.set_len(&mut frame, len);
            port.send(frame);
            frames += 1;
            queued += 1;
        }
        if pace.fps.is_some() {
            given_up += (due - queued).saturating_sub(BATCH.max(pace.burst));
        }
        port.flush()?;
        elapsed = started.elapsed();
    }
    let drained_by = Instant::now() + DRAIN;
    while port.account().sending > 0 && Instant::now() < drained_by {
        port.flush()?;
    }
    Ok(Sent { frames, elapsed })
}

/// An end that frames come to.
pub(super) struct Receiver<'a, P> {
    port: &'a mut P,
    clock: Clock,
    received: Vec<Frame>,
}

impl<'a, P: Port> Receiver<'a, P> {
    pub(super) fn new(port: &'a mut P, clock: Clock) -> Self {
        Self { port, clock, received: Vec::with_capacity(BATCH as usize) }
    }

    /// Hands over what each frame says, and when it was seen.
    pub(super) fn step(&mut self, mut take: impl FnMut(Result<Stamp, Unfit>, u64)) {
        if self.port.receive(&mut self.received, BATCH as usize) > 0 {
            let now_ns = self.clock.now_ns();
            for frame in self.received.drain(..) {
                take(Stamp::parse(self.port.data(&frame)), now_ns);
                self.port.release(frame);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datapath::port::memory::{self, MemoryConfig};
    use fc::wire::MacAddr;

    #[test]
    fn a_pace_is_kept() {
        let pace = Pace { fps: Some(1000.0), burst: 10 };
        let due = [0, 9, 10, 1000].map(|ms| pace.due(Duration::from_millis(ms)));
        assert_eq!(due, [10, 10, 20, 1010]);
    }

    #[test]
    fn what_is_sent_is_numbered_and_not_faster_than_it_shall_be() {
        let (mut port, mut wire) = memory::wire(MemoryConfig::default());
        let template = Template::new(302, 3, MacAddr([2; 6]), MacAddr([4; 6]));
        let (pace, duration) = (Pace { fps: Some(1000.0), burst: 5 }, Duration::from_millis(50));
        let sent = send(&mut port, &template, pace, duration, Clock::new(), &Interrupt::default()).unwrap();
        // The machine may be slower, never faster.
        assert!((5..=55).contains(&sent.frames) && sent.frames.is_multiple_of(5), "{sent:?}");
        let numbers: Vec<_> =
            std::iter::from_fn(|| wire.pop_with(|frame| Stamp::parse(frame).unwrap().number)).collect();
        assert_eq!(numbers, (0..sent.frames).collect::<Vec<_>>());
    }
}
