//! The end that asks, and looks at the clock.

use super::Measured;
use super::shape::{Kind, Label, Shape};
use super::target::send;
use datapath::port::{Frame, Port};
use hdrhistogram::Histogram;
use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};
use xfcoe::interrupt::Interrupt;
use xfcoe::netns::{INITIATOR_MAC, SAN_MAC};
use xfcoe::workload::cpu_time;

/// After how long of silence what is out counts as lost.
const SILENCE: Duration = Duration::from_millis(500);

pub(super) struct Initiator<P> {
    port: P,
    batch: usize,
    received: Vec<Frame>,
    queue: VecDeque<Label>,
    round: u16,
}

impl<P: Port> Initiator<P> {
    pub(super) fn new(port: P, batch: usize) -> Self {
        Self { port, batch, received: Vec::with_capacity(batch), queue: VecDeque::new(), round: 0 }
    }

    /// Keeps `depth` exchanges out for a while.
    pub(super) fn run(
        &mut self,
        shape: Shape,
        depth: usize,
        duration: Duration,
        interrupt: &Interrupt,
    ) -> io::Result<Measured> {
        let (started, cpu) = (Instant::now(), cpu_time());
        let mut latencies_ns = Histogram::new(3).expect("a constant");
        let mut lost = 0;
        // When each was begun.
        let mut begun = vec![started; depth];
        self.begin(shape, depth);
        let (mut now, mut last_news) = (started, started);
        while now - started < duration && !interrupt.is_raised() {
            self.port.receive(&mut self.received, self.batch);
            now = Instant::now();
            if !self.received.is_empty() {
                last_news = now;
            } else if now - last_news > SILENCE {
                lost += depth as u64;
                self.begin(shape, depth);
                (begun, last_news) = (vec![now; depth], now);
            }
            for frame in self.received.drain(..) {
                let label = Label::parse(self.port.data(&frame));
                self.port.release(frame);
                let Some(label) = label.filter(|label| label.round == self.round) else { continue };
                match label.kind {
                    Kind::Response => {
                        let Some(begun) = begun.get_mut(usize::from(label.slot)) else { continue };
                        latencies_ns += (now - *begun).as_nanos() as u64;
                        *begun = now;
                        self.queue.push_back(shape.command(self.round, label.slot));
                    }
                    Kind::Ready => {
                        let data = |number| Label { kind: Kind::Data, number, ..label };
                        self.queue.extend((0..label.frames).map(data));
                    }
                    Kind::Data | Kind::Read | Kind::Write => {}
                }
            }
            send(&mut self.port, &mut self.queue, self.batch, |label, buffer| {
                label.emit(buffer, INITIATOR_MAC, SAN_MAC)
            })?;
        }
        Ok(Measured { latencies_ns, lost, elapsed: now - started, cpu: cpu_time().saturating_sub(cpu) })
    }

    /// Begins as many exchanges, and has done with those that are out.
    fn begin(&mut self, shape: Shape, depth: usize) {
        self.round = self.round.wrapping_add(1);
        self.queue.clear();
        self.queue.extend((0..depth as u16).map(|slot| shape.command(self.round, slot)));
    }
}
