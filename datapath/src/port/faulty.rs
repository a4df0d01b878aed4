//! A port on a bad link.

use super::faults::{Fate, Fates, FaultCounters};
use super::{Frame, FrameAccount, Port, PortCounters, PortInfo, Waker};
use fc::in_place::InPlace;
use fc::time::{Duration, Instant};
use std::collections::VecDeque;
use std::io;
use std::ops::Range;

/// The most frames held back each way: a quarter of the chunks that a port sends from, as a rule. One more, and
/// the oldest comes early.
const MAX_HELD: usize = 256;
/// How long a frame waits for the one that is to overtake it.
const OVERTAKING_TIME: Duration = Duration::from_millis(1);

/// A port whose frames have [`Fates`], each way its own. Nothing of it costs more than a look while they are kind.
///
/// It has no clock: whoever delays or reorders frames says by [`Self::set_now`] before each step what time it is.
/// Frames held back come with the next [`Port::receive`] or go with the next [`Port::flush`] after their time.
/// They count as held in the account.
#[derive(Debug)]
pub struct FaultyPort<P: Port> {
    port: P,
    now: Instant,
    incoming: Way,
    outgoing: Way,
    received: Vec<Frame>,
}

impl<P: Port> FaultyPort<P> {
    /// A port that is as good as `port` until its fates say otherwise.
    pub fn new(port: P, seed: u64) -> Self {
        let (incoming, outgoing) = (Way::new(seed), Way::new(!seed));
        Self { port, now: Instant::ZERO, incoming, outgoing, received: Vec::new() }
    }

    /// Chances begin anew with this seed, each way with other ones.
    pub fn set_seed(&mut self, seed: u64) {
        self.incoming.fates.set_seed(seed);
        self.outgoing.fates.set_seed(!seed);
    }

    /// It is `now`.
    pub fn set_now(&mut self, now: Instant) {
        self.now = now;
    }

    /// When a frame that was held back is to move on.
    pub fn poll_timeout(&self) -> Option<Instant> {
        [&self.incoming, &self.outgoing].into_iter().filter_map(Way::poll_timeout).min()
    }

    /// The fates of received frames.
    pub fn incoming(&mut self) -> &mut Fates {
        &mut self.incoming.fates
    }

    /// The fates of frames that are sent.
    pub fn outgoing(&mut self) -> &mut Fates {
        &mut self.outgoing.fates
    }

    /// How many received frames and how many sent ones had which fate.
    pub fn fault_counters(&self) -> (FaultCounters, FaultCounters) {
        (self.incoming.fates.counters(), self.outgoing.fates.counters())
    }

    /// The port beneath.
    pub fn inner(&self) -> &P {
        &self.port
    }

    fn send_ready(&mut self) {
        while let Some(frame) = self.outgoing.ready.pop_front() {
            self.port.send(frame);
        }
    }
}

impl<P: Port> Drop for FaultyPort<P> {
    fn drop(&mut self) {
        for way in [&mut self.incoming, &mut self.outgoing] {
            let held = way.held.drain(..).map(|held| held.frame);
            held.chain(way.ready.drain(..)).for_each(|frame| self.port.release(frame));
        }
    }
}

/// One direction: frames go in by [`Self::take`] and come out of `ready`.
#[derive(Debug)]
struct Way {
    fates: Fates,
    held: VecDeque<Held>,
    ready: VecDeque<Frame>,
}

/// A frame that was held back.
#[derive(Debug)]
struct Held {
    frame: Frame,
    due: Instant,
    /// It also comes once another frame has overtaken it.
    is_overtaken: bool,
}

impl Way {
    fn new(seed: u64) -> Self {
        Self { fates: Fates::new(seed), held: VecDeque::new(), ready: VecDeque::new() }
    }

    /// Whether frames may go past it.
    fn is_idle(&self) -> bool {
        self.fates.are_kind() && self.held.is_empty() && self.ready.is_empty()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        if self.ready.is_empty() { self.held.iter().map(|held| held.due).min() } else { Some(Instant::ZERO) }
    }

    fn take(&mut self, port: &mut impl Port, now: Instant, mut frame: Frame) {
        match self.fates.decide(port.data(&frame)) {
            Fate::Deliver => {}
            Fate::Drop => return port.release(frame),
            Fate::Duplicate => {
                let bytes = port.data(&frame).to_vec();
                if let Some(mut copy) = port.allocate() {
                    port.set_len(&mut copy, bytes.len());
                    port.buffer(&mut copy)[..bytes.len()].copy_from_slice(&bytes);
                    self.ready.push_back(copy);
                }
            }
            Fate::Corrupt { bit } => {
                if let Some(bit) = bit.checked_rem(frame.len() as u64 * 8) {
                    port.buffer(&mut frame)[(bit / 8) as usize] ^= 1 << (bit % 8);
                }
            }
            Fate::Truncate { len } => {
                let len = len.min(frame.len());
                port.set_len(&mut frame, len);
            }
            Fate::Delay(delay) => return self.hold(Held { frame, due: now + delay, is_overtaken: false }),
            Fate::Reorder => {
                return self.hold(Held { frame, due: now + OVERTAKING_TIME, is_overtaken: true });
            }
        }
        self.ready.push_back(frame);
        self.move_ready(|held| held.is_overtaken);
    }

    fn hold(&mut self, held: Held) {
        if self.held.len() == MAX_HELD {
            self.ready.extend(self.held.pop_front().map(|oldest| oldest.frame));
        }
        self.held.push_back(held);
    }

    fn move_due(&mut self, now: Instant) {
        self.move_ready(|held| held.due <= now);
    }

    fn move_ready(&mut self, is_ready: impl Fn(&Held) -> bool) {
        if self.held.iter().any(&is_ready) {
            let (ready, held) = std::mem::take(&mut self.held).into_iter().partition(is_ready);
            self.held = held;
            let ready: VecDeque<Held> = ready;
            self.ready.extend(ready.into_iter().map(|held| held.frame));
        }
    }
}

impl<P: Port> Port for FaultyPort<P> {
    fn receive(&mut self, into: &mut Vec<Frame>, max: usize) -> usize {
        let Self { port, now, incoming, received, .. } = self;
        if incoming.is_idle() {
            return port.receive(into, max);
        }
        incoming.move_due(*now);
        port.receive(received, max.saturating_sub(incoming.ready.len()));
        for frame in received.drain(..) {
            incoming.take(port, *now, frame);
        }
        let count = max.min(incoming.ready.len());
        into.extend(incoming.ready.drain(..count));
        count
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
        if self.outgoing.is_idle() {
            return self.port.send(frame);
        }
        self.outgoing.take(&mut self.port, self.now, frame);
        self.send_ready();
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
        if !self.outgoing.held.is_empty() {
            self.outgoing.move_due(self.now);
            self.send_ready();
        }
        self.port.flush()
    }

    fn receive_on_this_cpu(&mut self, yes: bool) {
        self.port.receive_on_this_cpu(yes);
    }

    /// Ends when a frame that was held back is due, too.
    fn wait(&mut self, waker: &Waker, timeout: Duration) -> io::Result<()> {
        let until_due = self.poll_timeout().map_or(timeout, |due| due.since(self.now));
        self.port.wait(waker, timeout.min(until_due))
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
    use super::super::faults::{FaultCounters, MILLION, Rates};
    use super::super::memory::{self, MemoryConfig, MemoryPort, MemoryWire};
    use super::*;
    use proptest::prelude::*;

    fn faulty() -> (FaultyPort<MemoryPort>, MemoryWire) {
        let (port, wire) = memory::wire(MemoryConfig::default());
        (FaultyPort::new(port, 1), wire)
    }

    fn received(port: &mut FaultyPort<MemoryPort>, max: usize) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        assert_eq!(port.receive(&mut frames, max), frames.len());
        let copy = |frame: Frame| {
            let bytes = port.data(&frame).to_vec();
            port.release(frame);
            bytes
        };
        frames.into_iter().map(copy).collect()
    }

    fn sent(port: &mut FaultyPort<MemoryPort>, wire: &mut MemoryWire) -> Vec<Vec<u8>> {
        port.flush().unwrap();
        std::iter::from_fn(|| wire.pop()).collect()
    }

    /// The first frame's fate, and what comes of three frames: at once, and after its time.
    #[test]
    fn each_fate_is_what_it_says_both_ways() {
        let late = Fate::Delay(Duration::from_millis(2));
        type Bytes = &'static [u8];
        let cases: [(Fate, &[Bytes], &[Bytes]); 8] = [
            (Fate::Deliver, &[b"one", b"two", b"three"], &[]),
            (Fate::Drop, &[b"two", b"three"], &[]),
            (Fate::Duplicate, &[b"one", b"one", b"two", b"three"], &[]),
            (Fate::Corrupt { bit: 24 + 8 + 1 }, &[b"ole", b"two", b"three"], &[]),
            (Fate::Truncate { len: 1 }, &[b"o", b"two", b"three"], &[]),
            (Fate::Truncate { len: 9 }, &[b"one", b"two", b"three"], &[]),
            (Fate::Reorder, &[b"two", b"one", b"three"], &[]),
            (late, &[b"two", b"three"], &[b"one"]),
        ];
        for (fate, at_once, later) in cases {
            let (mut port, mut wire) = faulty();
            port.incoming().order(fate, 1, |_| true);
            port.outgoing().order(fate, 1, |_| true);
            for bytes in [b"one".as_slice(), b"two", b"three"] {
                assert!(wire.push(bytes) && port.send_copy(bytes));
            }
            assert_eq!(received(&mut port, 9), at_once, "{fate:?}");
            assert_eq!(sent(&mut port, &mut wire), at_once, "{fate:?}");
            port.set_now(Instant::ZERO + Duration::from_millis(1));
            assert_eq!((received(&mut port, 9), sent(&mut port, &mut wire)), (vec![], vec![]), "{fate:?}");
            port.set_now(Instant::ZERO + Duration::from_millis(2));
            assert_eq!(received(&mut port, 9), later, "{fate:?}");
            assert_eq!(sent(&mut port, &mut wire), later, "{fate:?}");
            assert_eq!(port.poll_timeout(), None);
        }
    }

    #[test]
    fn nothing_waits_for_ever_for_a_frame_to_overtake_it() {
        let (mut port, mut wire) = faulty();
        port.outgoing().order(Fate::Reorder, 1, |_| true);
        port.send_copy(b"last");
        assert_eq!(sent(&mut port, &mut wire), [b""; 0]);
        let due = port.poll_timeout().unwrap();
        assert_eq!(due, Instant::ZERO + OVERTAKING_TIME);
        let before = std::time::Instant::now();
        port.wait(&Waker::new().unwrap(), Duration::from_secs(60)).unwrap();
        assert!(before.elapsed() < Duration::from_secs(30), "it slept over it");
        port.set_now(due);
        assert_eq!(sent(&mut port, &mut wire), [b"last"]);
    }

    #[test]
    fn no_more_is_received_than_was_asked_for() {
        let (mut port, mut wire) = faulty();
        port.incoming().set_rates(Rates { duplicate_ppm: MILLION, ..Rates::default() });
        for byte in 0..3 {
            wire.push(&[byte]);
        }
        assert_eq!(received(&mut port, 3), [[0], [0], [1]]);
        assert_eq!(port.poll_timeout(), Some(Instant::ZERO), "the rest is there");
        port.incoming().heal();
        assert_eq!(received(&mut port, 9), [[1], [2], [2]]);
    }

    #[test]
    fn a_link_that_holds_too_much_lets_the_oldest_go_in_order() {
        let (mut port, mut wire) = faulty();
        port.outgoing().set_rates(Rates {
            delay_ppm: MILLION,
            delay: Duration::from_secs(9),
            ..Rates::default()
        });
        for byte in 0..=255 {
            assert!(port.send_copy(&[byte]));
        }
        assert_eq!(sent(&mut port, &mut wire), [b""; 0]);
        port.send_copy(b"more");
        assert_eq!(sent(&mut port, &mut wire), [[0]]);
        assert_eq!(port.account().held, MAX_HELD);
        drop(port);
    }

    proptest! {
        /// Whatever happens to frames, none appears or goes but by its fate, and every chunk comes home.
        #[test]
        fn frames_add_up(
            ppm in proptest::array::uniform6(0..MILLION / 6),
            seed: u64,
            pauses in proptest::collection::vec(0..3u64, 1..200),
        ) {
            let [loss_ppm, duplicate_ppm, corrupt_ppm, truncate_ppm, reorder_ppm, delay_ppm] = ppm;
            let delay = Duration::from_millis(5);
            let rates =
                Rates { loss_ppm, duplicate_ppm, corrupt_ppm, truncate_ppm, reorder_ppm, delay_ppm, delay };
            let (mut port, mut wire) = faulty();
            port.incoming().set_rates(rates);
            port.outgoing().set_rates(rates);
            let (mut now, mut arrived, mut gone) = (Instant::ZERO, 0, 0);
            for &pause in &pauses {
                now = now + Duration::from_millis(pause);
                port.set_now(now);
                prop_assert!(wire.push(&[1; 60]) && port.send_copy(&[2; 60]));
                arrived += received(&mut port, 2).len();
                gone += sent(&mut port, &mut wire).len();
                prop_assert!(port.account().is_balanced());
            }
            // What was left on the wire may be delayed yet.
            for _ in 0..2 {
                now = now + delay;
                port.set_now(now);
                arrived += received(&mut port, usize::MAX).len();
                gone += sent(&mut port, &mut wire).len();
            }
            for (passed, counters) in [(arrived, port.incoming().counters()), (gone, port.outgoing().counters())] {
                let FaultCounters { lost, duplicated, .. } = counters;
                prop_assert_eq!(passed as u64 + lost, pauses.len() as u64 + duplicated);
            }
            prop_assert_eq!(port.account().held, 0);
        }
    }
}
