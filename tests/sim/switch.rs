//! The Ethernet switch between all ports: it learns where addresses are, and its links are as bad as their weather.

use crate::forger::forge;
use crate::trace::Trace;
use datapath::port::faults::{Dice, Fate, Fates, MILLION, Rates};
use fc::time::{Duration, Instant};
use fc::wire::MacAddr;
use fc::wire::ethernet::{EtherType, EthernetHeader};
use fc::wire::fcoe::{FcoeFrame, PROLOGUE_LEN};
use fc::wire::fip::{FipFrame, Operation};
use fc::wire::header::{FcType, RCtl};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// What a byte takes at 10 Gbit/s, in tenths of a nanosecond.
const BYTE_TENTHS_NS: u64 = 8;
/// Frames that wait for one port; more are lost.
const MAX_QUEUED: usize = 1024;
/// By how much a frame is late that others overtake.
const OVERTAKING_TIME: Duration = Duration::from_micros(20);
/// Old frames that may come again on a link.
const MAX_REMEMBERED: usize = 256;
/// Spare memory that is kept.
const MAX_SPARE: usize = 256;

/// What a link does to the frames that go to its port.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Weather {
    pub(crate) rates: Rates,
    /// How often a frame brings an old one with it, in frames of a million.
    pub(crate) stale_ppm: u32,
    /// How old that may be.
    pub(crate) max_age: Duration,
    /// How often a frame is preceded by a forged one, in frames of a million.
    pub(crate) forged_ppm: u32,
    /// How often ABTS and its answers are lost, in frames of a million, beyond what the rates say.
    pub(crate) lost_aborts_ppm: u32,
}

/// The switch.
pub(crate) struct Switch {
    links: Vec<Link>,
    places: BTreeMap<MacAddr, usize>,
    latency: Duration,
    on_the_way: BinaryHeap<Reverse<Parcel>>,
    sent: u64,
    spare: Vec<Vec<u8>>,
}

/// The link to one port.
struct Link {
    is_up: bool,
    /// No frame passes, and nobody is told.
    is_cut: bool,
    /// Until then the port takes no frames: they wait.
    paused_until: Instant,
    /// When the last frame will have arrived.
    busy_until: Instant,
    queued: usize,
    fates: Fates,
    weather: Weather,
    dice: Dice,
    remembered: Vec<(Instant, Vec<u8>)>,
}

/// A frame on its way to a port. Ordered by time, then as sent.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Parcel {
    at: Instant,
    number: u64,
    to: usize,
    bytes: Vec<u8>,
}

impl Switch {
    /// A switch with so many ports, each with a good link that is up. A frame takes `latency` and its length.
    pub(crate) fn new(ports: usize, latency: Duration, seed: u64) -> Self {
        let mut seeds = Dice::new(seed);
        let link = |_| Link {
            is_up: true,
            is_cut: false,
            paused_until: Instant::ZERO,
            busy_until: Instant::ZERO,
            queued: 0,
            fates: Fates::new(seeds.roll().detail()),
            weather: Weather::default(),
            dice: Dice::new(seeds.roll().detail()),
            remembered: Vec::new(),
        };
        Self {
            links: (0..ports).map(link).collect(),
            places: BTreeMap::new(),
            latency,
            on_the_way: BinaryHeap::new(),
            sent: 0,
            spare: Vec::new(),
        }
    }

    /// The weather on the way to a port from now on.
    pub(crate) fn set_weather(&mut self, port: usize, weather: Weather) {
        let link = &mut self.links[port];
        link.fates.set_rates(weather.rates);
        link.weather = weather;
        if weather.stale_ppm == 0 {
            link.remembered.clear();
        }
    }

    /// Plugs or unplugs a link; frames on it are lost.
    pub(crate) fn set_up(&mut self, port: usize, is_up: bool) {
        self.links[port].is_up = is_up;
    }

    /// Cuts a link where neither end can see it, or mends it.
    pub(crate) fn set_cut(&mut self, port: usize, is_cut: bool) {
        self.links[port].is_cut = is_cut;
    }

    /// A port takes no frames until then.
    pub(crate) fn pause(&mut self, port: usize, until: Instant) {
        let link = &mut self.links[port];
        link.paused_until = link.paused_until.max(until);
    }

    /// Takes a frame that a port has sent.
    pub(crate) fn take(&mut self, now: Instant, from: usize, bytes: &[u8], trace: &mut Trace) {
        let Ok((ethernet, _)) = EthernetHeader::parse(bytes) else { return };
        if !self.links[from].is_up || self.links[from].is_cut {
            trace.keep(now, bytes, || "lost: no link".to_owned());
            return;
        }
        self.places.insert(ethernet.source, from);
        match self.places.get(&ethernet.destination) {
            Some(&to) if to != from => self.forward(now, to, bytes, trace),
            Some(_) => {}
            None => (0..self.links.len())
                .filter(|&to| to != from)
                .for_each(|to| self.forward(now, to, bytes, trace)),
        }
    }

    /// When the next frame arrives somewhere.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.on_the_way.peek().map(|Reverse(parcel)| parcel.at)
    }

    /// The next frame that has arrived, and where. Its memory goes back by [`Self::recycle`].
    pub(crate) fn poll(&mut self, now: Instant) -> Option<(usize, Vec<u8>)> {
        while self.poll_timeout().is_some_and(|at| at <= now) {
            let Reverse(Parcel { to, bytes, .. }) = self.on_the_way.pop().expect("looked at above");
            let link = &mut self.links[to];
            link.queued -= 1;
            if link.is_up && !link.is_cut {
                return Some((to, bytes));
            }
            self.recycle(bytes);
        }
        None
    }

    /// Takes back the memory of a frame.
    pub(crate) fn recycle(&mut self, bytes: Vec<u8>) {
        if self.spare.len() < MAX_SPARE {
            self.spare.push(bytes);
        }
    }

    /// Sends a frame to a port, if its fate is kind.
    fn forward(&mut self, now: Instant, to: usize, bytes: &[u8], trace: &mut Trace) {
        let link = &mut self.links[to];
        let (fate, old, forged) = (link.fate(bytes), link.stale(now, bytes), link.forged(bytes));
        if let Some(old) = old {
            trace.keep(now, &old, || format!("an old frame comes to port {to} again"));
            self.send(now, to, &old, Duration::ZERO);
        }
        if let Some(forged) = forged {
            trace.keep(now, &forged, || format!("a forged frame comes to port {to}"));
            self.send(now, to, &forged, Duration::ZERO);
        }
        if fate != Fate::Deliver {
            trace.keep(now, bytes, || format!("{fate:?} on the way to port {to}"));
        }
        match fate {
            Fate::Deliver => self.send(now, to, bytes, Duration::ZERO),
            Fate::Drop => {}
            Fate::Duplicate => {
                self.send(now, to, bytes, Duration::ZERO);
                self.send(now, to, bytes, Duration::ZERO);
            }
            Fate::Corrupt { bit } => {
                if let Some(damaged) = damaged(bytes, bit) {
                    self.send(now, to, &damaged, Duration::ZERO);
                }
            }
            Fate::Truncate { len } => self.send(now, to, &bytes[..len.min(bytes.len())], Duration::ZERO),
            Fate::Delay(delay) => self.send(now, to, bytes, delay),
            Fate::Reorder => self.send(now, to, bytes, OVERTAKING_TIME),
        }
    }

    fn send(&mut self, now: Instant, to: usize, bytes: &[u8], delay: Duration) {
        let link = &mut self.links[to];
        if link.queued == MAX_QUEUED {
            return;
        }
        link.queued += 1;
        let takes = Duration::from_nanos(bytes.len() as u64 * BYTE_TENTHS_NS / 10);
        let at = (now + self.latency).max(link.busy_until).max(link.paused_until) + takes;
        link.busy_until = at;
        let mut copy = self.spare.pop().unwrap_or_default();
        copy.clear();
        copy.extend_from_slice(bytes);
        self.sent += 1;
        self.on_the_way.push(Reverse(Parcel { at: at + delay, number: self.sent, to, bytes: copy }));
    }
}

impl Link {
    fn fate(&mut self, bytes: &[u8]) -> Fate {
        let fate = self.fates.decide(bytes);
        let lost_aborts_ppm = self.weather.lost_aborts_ppm;
        if lost_aborts_ppm > 0 && is_basic(bytes) && self.dice.roll().pick(&[(lost_aborts_ppm, ())]).is_some()
        {
            return Fate::Drop;
        }
        fate
    }

    /// Remembers some frames, and gives an old one now and then.
    ///
    /// Never what begins something that lasts, a command or a login to the fabric: who receives it can't tell an old
    /// one from a new one, and who sent it never hears of it. What else is old, either end must know.
    fn stale(&mut self, now: Instant, bytes: &[u8]) -> Option<Vec<u8>> {
        let Weather { stale_ppm, max_age, .. } = self.weather;
        if stale_ppm == 0 {
            return None;
        }
        let number = self.dice.roll().detail() as usize;
        if !is_beginning(bytes) {
            if self.remembered.len() < MAX_REMEMBERED {
                self.remembered.push((now, bytes.to_vec()));
            } else {
                self.remembered[number % MAX_REMEMBERED] = (now, bytes.to_vec());
            }
        }
        self.dice.roll().pick(&[(stale_ppm.min(MILLION), ())])?;
        self.remembered.retain(|(at, _)| now.since(*at) <= max_age);
        let number = number.checked_rem(self.remembered.len())?;
        Some(self.remembered.swap_remove(number).1)
    }

    /// Forges a frame now and then.
    fn forged(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let forged_ppm = self.weather.forged_ppm;
        if forged_ppm == 0 {
            return None;
        }
        let roll = self.dice.roll();
        roll.pick(&[(forged_ppm, ())])?;
        forge(bytes, roll.detail().is_multiple_of(2))
    }
}

/// A frame with one bit flipped in what its CRC covers. Elsewhere Ethernet's FCS finds it, and FIP has nothing else:
/// such frames never arrive.
fn damaged(bytes: &[u8], bit: u64) -> Option<Vec<u8>> {
    let (ethernet, payload) = EthernetHeader::parse(bytes).ok()?;
    if ethernet.ethertype != EtherType::FCOE {
        return None;
    }
    let start = bytes.len() - payload.len() + PROLOGUE_LEN;
    let bits = bytes.len().checked_sub(start + 4)? as u64 * 8;
    let bit = bit.checked_rem(bits)?;
    let mut damaged = bytes.to_vec();
    damaged[start + (bit / 8) as usize] ^= 1 << (bit % 8);
    Some(damaged)
}

/// Whether it is ABTS, BA_ACC or BA_RJT.
fn is_basic(bytes: &[u8]) -> bool {
    let Ok((ethernet, payload)) = EthernetHeader::parse(bytes) else { return false };
    ethernet.ethertype == EtherType::FCOE
        && FcoeFrame::parse(payload).is_ok_and(|frame| frame.header().fc_type == FcType::BLS)
}

/// Whether it is an FCP_CMND, or a link service by FIP such as FLOGI.
fn is_beginning(bytes: &[u8]) -> bool {
    let Ok((ethernet, payload)) = EthernetHeader::parse(bytes) else { return false };
    match ethernet.ethertype {
        EtherType::FIP => {
            FipFrame::parse(payload).is_ok_and(|frame| frame.operation == Operation::LINK_SERVICE_REQUEST)
        }
        EtherType::FCOE => FcoeFrame::parse(payload).is_ok_and(|frame| frame.header().r_ctl == RCtl::COMMAND),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fc::wire::FcId;
    use fc::wire::fcoe::{self, Eof, Sof};
    use fc::wire::header::FcHeader;

    /// Where TYPE stands in an FC header.
    const TYPE_OFFSET: usize = 8;
    const LATENCY: Duration = Duration::from_micros(10);

    fn mac(number: u8) -> MacAddr {
        MacAddr([2, 0, 0, 0, 0, number])
    }

    /// An FCoE frame with a payload of one byte.
    fn frame(source: MacAddr, destination: MacAddr, byte: u8) -> Vec<u8> {
        let ethernet = EthernetHeader { destination, source, vlan: None, ethertype: EtherType::FCOE };
        let header = FcHeader::request((RCtl::DATA, FcType::FCP), FcId([1; 3]), FcId([2; 3]), 7);
        let mut bytes = vec![0; fcoe::MAX_FRAME_LEN];
        let len = fcoe::emit(&mut bytes, &ethernet, Sof::I3, &header, &[byte; 4], Eof::T);
        bytes.truncate(len);
        bytes
    }

    fn later(by: Duration) -> Instant {
        Instant::ZERO + by
    }

    /// A switch of three ports that knows where 0 and 1 are.
    fn switch() -> Switch {
        let mut switch = Switch::new(3, LATENCY, 1);
        for port in 0..2 {
            switch.take(
                Instant::ZERO,
                port,
                &frame(mac(port as u8), MacAddr::ALL_FCOE, 0),
                &mut Trace::new(),
            );
        }
        assert_eq!(arrived(&mut switch, Instant::ZERO), []);
        let arrived = arrived(&mut switch, later(LATENCY * 2)).into_iter().map(|(to, _)| to);
        assert_eq!(arrived.collect::<Vec<_>>(), [1, 2, 0, 2], "a group's frames go to all others");
        switch
    }

    fn send(switch: &mut Switch, now: Instant, byte: u8) {
        switch.take(now, 0, &frame(mac(0), mac(1), byte), &mut Trace::new());
    }

    fn arrived(switch: &mut Switch, now: Instant) -> Vec<(usize, Vec<u8>)> {
        std::iter::from_fn(|| switch.poll(now)).collect()
    }

    /// The payloads that have arrived at port 1, which are good.
    fn payloads(switch: &mut Switch, now: Instant) -> Vec<u8> {
        let payload = |(to, bytes): (usize, Vec<u8>)| {
            assert_eq!(to, 1);
            let (_, payload) = EthernetHeader::parse(&bytes).unwrap();
            let frame = FcoeFrame::parse(payload).unwrap();
            frame.check_crc().unwrap();
            frame.payload().unwrap()[0]
        };
        arrived(switch, now).into_iter().map(payload).collect()
    }

    fn weather(rates: Rates) -> Weather {
        Weather { rates, ..Weather::default() }
    }

    #[test]
    fn frames_take_their_time_and_keep_their_order() {
        let mut switch = switch();
        let now = later(Duration::from_millis(1));
        (1..=3).for_each(|byte| send(&mut switch, now, byte));
        assert_eq!(payloads(&mut switch, now + LATENCY), [0; 0]);
        let each = switch.poll_timeout().unwrap() - (now + LATENCY);
        assert_eq!(each, Duration::from_nanos(frame(mac(0), mac(1), 1).len() as u64 * 8 / 10));
        assert_eq!(payloads(&mut switch, now + LATENCY + each), [1]);
        assert_eq!(payloads(&mut switch, now + LATENCY + each * 3), [2, 3]);
    }

    #[test]
    fn each_fate_is_what_it_says() {
        let all = MILLION;
        let delay = Duration::from_micros(300);
        let soon = LATENCY * 2;
        let cases = [
            (Rates { loss_ppm: all, ..Rates::default() }, vec![], vec![]),
            (Rates { duplicate_ppm: all, ..Rates::default() }, vec![1, 1], vec![]),
            (Rates { delay_ppm: all, delay, ..Rates::default() }, vec![], vec![1]),
            (Rates { reorder_ppm: all, ..Rates::default() }, vec![], vec![1]),
        ];
        for (rates, at_once, late) in cases {
            let mut switch = switch();
            let now = later(Duration::from_millis(1));
            switch.set_weather(1, weather(rates));
            send(&mut switch, now, 1);
            assert_eq!(payloads(&mut switch, now + soon), at_once, "{rates:?}");
            assert_eq!(payloads(&mut switch, now + soon + delay), late, "{rates:?}");
        }
        for rates in
            [Rates { corrupt_ppm: all, ..Rates::default() }, Rates { truncate_ppm: all, ..Rates::default() }]
        {
            let mut switch = switch();
            switch.set_weather(1, weather(rates));
            for number in 0..100 {
                send(&mut switch, later(Duration::from_millis(number + 1)), 1);
            }
            let arrived = arrived(&mut switch, later(Duration::from_secs(1)));
            assert_eq!(arrived.len(), 100);
            let is_good = |bytes: &[u8]| {
                let Ok((_, payload)) = EthernetHeader::parse(bytes) else { return false };
                FcoeFrame::parse(payload).is_ok_and(|frame| frame.check_crc().is_ok())
            };
            assert!(arrived.iter().all(|(_, bytes)| !is_good(bytes)), "{rates:?}");
        }
        assert_eq!(damaged(&[0; 60], 1), None, "what has no CRC does not arrive");
    }

    #[test]
    fn a_link_that_is_away_loses_frames_and_one_that_pauses_keeps_them() {
        type Change = fn(&mut Switch, bool);
        let unplug: Change = |switch, away| switch.set_up(1, !away);
        let cut: Change = |switch, away| switch.set_cut(1, away);
        for change in [unplug, cut] {
            let mut switch = switch();
            send(&mut switch, later(LATENCY), 1);
            change(&mut switch, true);
            assert_eq!(payloads(&mut switch, later(LATENCY * 3)), [0; 0]);
            change(&mut switch, false);
            send(&mut switch, later(LATENCY * 4), 2);
            assert_eq!(payloads(&mut switch, later(LATENCY * 6)), [2]);
        }
        let mut switch = switch();
        switch.pause(1, later(Duration::from_millis(1)));
        (1..=3).for_each(|byte| send(&mut switch, later(LATENCY), byte));
        assert_eq!(payloads(&mut switch, later(Duration::from_millis(1))), [0; 0]);
        assert_eq!(payloads(&mut switch, later(Duration::from_millis(2))), [1, 2, 3]);
    }

    #[test]
    fn old_frames_come_again_and_commands_do_not() {
        let mut switch = switch();
        let max_age = Duration::from_millis(50);
        switch.set_weather(1, Weather { stale_ppm: MILLION, max_age, ..Weather::default() });
        for number in 0..20 {
            send(&mut switch, later(Duration::from_millis(number)), number as u8);
        }
        let seen = payloads(&mut switch, later(Duration::from_millis(20)));
        assert_eq!(seen.len(), 40, "each came again: {seen:?}");
        let is_new = |(at, byte): (usize, &u8)| !seen[..at].contains(byte);
        assert_eq!(seen.iter().enumerate().filter(|&it| is_new(it)).count(), 20);

        let mut command = frame(mac(0), mac(1), 1);
        command[14 + PROLOGUE_LEN] = RCtl::COMMAND.0;
        let now = later(Duration::from_secs(1));
        (0..20).for_each(|_| switch.take(now, 0, &command, &mut Trace::new()));
        assert_eq!(arrived(&mut switch, later(Duration::from_secs(2))).len(), 20, "nor what is too old");
    }

    #[test]
    fn aborts_are_lost_and_nothing_else() {
        let mut switch = switch();
        switch.set_weather(1, Weather { lost_aborts_ppm: MILLION, ..Weather::default() });
        let mut abort = frame(mac(0), mac(1), 1);
        abort[14 + PROLOGUE_LEN + TYPE_OFFSET] = FcType::BLS.0;
        switch.take(later(LATENCY), 0, &abort, &mut Trace::new());
        send(&mut switch, later(LATENCY), 2);
        assert_eq!(payloads(&mut switch, later(LATENCY * 3)), [2]);
    }

    #[test]
    fn forged_frames_come_first() {
        let mut switch = switch();
        switch.set_weather(1, Weather { forged_ppm: MILLION, ..Weather::default() });
        let mut fip = frame(mac(0), mac(1), 1);
        fip[12..14].copy_from_slice(&EtherType::FIP.0.to_be_bytes());
        switch.take(later(LATENCY), 0, &fip, &mut Trace::new());
        let arrived = arrived(&mut switch, later(LATENCY * 3));
        assert!(arrived.len() == 2 && arrived[0].1 != fip && arrived[1].1 == fip);
    }

    #[test]
    fn a_port_has_room_for_so_many_frames() {
        let mut switch = switch();
        switch.pause(1, later(Duration::from_secs(1)));
        (0..2 * MAX_QUEUED).for_each(|_| send(&mut switch, later(LATENCY), 1));
        assert_eq!(payloads(&mut switch, later(Duration::from_secs(2))).len(), MAX_QUEUED);
    }
}
