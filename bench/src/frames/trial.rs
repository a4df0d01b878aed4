//! One trial after the other, over the same two ends.

use super::ends::{self, Clock, Pace, Receiver};
use super::report::Trial;
use super::stamped::Template;
use super::tally::Tally;
use crate::link::{End, both};
use anyhow::ensure;
use datapath::port::Port;
use fc::wire::MacAddr;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use xfcoe::interrupt::Interrupt;

/// How long frames may be under way: the receiver looks for them for so long after the last one was sent.
const UNDER_WAY: Duration = Duration::from_millis(200);

/// Where frames go.
pub(super) enum Way {
    /// To the other end, here.
    Here(Box<End>),
    /// To whoever has this address, and counts for himself.
    Elsewhere(MacAddr),
}

/// The ends that trials go between.
pub(super) struct Trials {
    near: End,
    way: Way,
    clock: Clock,
    /// Of the last one. Another process's trials don't begin with the same number, as a rule.
    number: u16,
}

impl Trials {
    pub(super) fn new(near: End, way: Way) -> Self {
        Self { near, way, clock: Clock::new(), number: std::process::id() as u16 }
    }

    /// Sends frames of `size` bytes of FCoE for a while.
    pub(super) fn run(
        &mut self,
        size: usize,
        pace: Pace,
        duration: Duration,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Trial> {
        self.number = self.number.wrapping_add(1);
        let (number, clock) = (self.number, self.clock);
        let to = match &self.way {
            Way::Here(far) => far.mac,
            Way::Elsewhere(mac) => *mac,
        };
        let mtu = self.near.port.info().mtu as usize;
        ensure!(size <= mtu, "the interface has an MTU of {mtu}; raise it by `ip link set ... mtu 2500`");
        let template = Template::new(size, number, self.near.mac, to);
        let port = &mut self.near.port;
        let mut send = || {
            let sent = ends::send(port, &template, pace, duration, clock, interrupt)?;
            thread::sleep(UNDER_WAY);
            Ok(sent)
        };
        let (sent, tally) = match &mut self.way {
            Way::Elsewhere(_) => (send()?, None),
            Way::Here(far) => {
                let mut receiver = Receiver::new(&mut far.port, clock);
                let (sent, tally) = both(send, |is_over| {
                    let mut tally = Tally::new();
                    while !is_over.load(Ordering::Relaxed) {
                        receiver.step(|stamp, now_ns| {
                            // What comes late is of the trial before.
                            if stamp.map_or(true, |stamp| stamp.trial == number) {
                                tally.take(stamp, Some(now_ns));
                            }
                        });
                    }
                    Ok(tally)
                })?;
                (sent, Some(tally))
            }
        };
        Ok(Trial::of_sender(size, pace, sent, tally.as_ref()))
    }
}
