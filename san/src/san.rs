//! The whole SAN on one port.

use crate::config::{ConfigError, SanConfig};
use crate::context::{Context, Incoming, Path, Sender};
use crate::counters::{Counters, Drop};
use crate::egress::Egress;
use crate::faults::{Fault, Faults, FaultsConfig};
use crate::orders::{Order, OrderError};
use crate::target::Targets;
use crate::topology::{Event, Route, Topology};
use datapath::port::faults::{FaultCounters, MAX_ORDERS};
use datapath::port::faulty::FaultyPort;
use datapath::port::{Frame, Port};
use fc::time::{Duration, Instant};
use fc::wire::ethernet::{EtherType, EthernetHeader, MAX_HEADER_LEN};
use fc::wire::fcoe::{self, FcoeFrame};
use fc::wire::{MacAddr, Wwn};
use std::io;

/// Frames taken from the port in one step.
const RECEIVE_BURST: usize = 32;
/// The most frames sent in one step, which ends with one doorbell. The ring of a veth has 256, and what overflows
/// is lost; above 32 a batch gains nothing.
const SEND_BURST: usize = 64;

/// Where the source MAC address stands in an Ethernet frame, after the destination's.
const SOURCE_OFFSET: usize = 6;

/// What a SAN has done and how it stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Counts since the start.
    pub counters: Counters,
    /// VN_Ports that are logged in now.
    pub logins: usize,
    /// What went wrong with frames on their way here.
    pub incoming: FaultCounters,
    /// What went wrong with frames on their way from here.
    pub outgoing: FaultCounters,
}

/// A SAN on a port.
#[derive(Debug)]
pub struct San<P: Port> {
    port: FaultyPort<P>,
    /// As if switched off.
    is_stopped: bool,
    received: Vec<Frame>,
    topology: Topology,
    macs: Vec<MacAddr>,
    targets: Targets,
    egress: Egress,
    counters: Counters,
    faults: Faults,
}

/// What becomes of a received frame's memory.
enum Verdict {
    Release,
    /// It goes on this way.
    Forward(Path),
}

impl<P: Port> San<P> {
    /// A SAN that owns `port`.
    ///
    /// # Errors
    /// For settings that are out of range, a link that no FC frame fits, and disks that can't be opened.
    pub fn new(port: P, config: &SanConfig) -> Result<Self, ConfigError> {
        config.check()?;
        let mtu = port.info().mtu.min(port.capacity().saturating_sub(MAX_HEADER_LEN) as u32);
        let fitting = fcoe::max_payload_len(mtu).ok_or(ConfigError::SmallMtu { mtu })?;
        if fitting < config.max_payload_len {
            tracing::warn!(
                "an MTU of {mtu} allows {fitting} bytes of payload a frame; 2500 is usual for FCoE"
            );
        }
        let max_payload_len = config.max_payload_len.min(fitting);
        let config = &SanConfig { max_payload_len, ..config.clone() };
        let mut port = FaultyPort::new(port, config.faults.seed);
        set_link_faults(&mut port, &config.faults);
        let topology = Topology::new(config);
        Ok(Self {
            port,
            is_stopped: false,
            received: Vec::with_capacity(RECEIVE_BURST),
            targets: Targets::new(config)?,
            egress: Egress::new(config.vlan, mtu),
            macs: topology.macs(),
            topology,
            counters: Counters::default(),
            faults: Faults::new(config.faults),
        })
    }

    /// Receives, answers and sends what it can; `false` when there was nothing to do.
    pub fn step(&mut self, now: Instant) -> bool {
        self.port.set_now(now);
        let mut received = std::mem::take(&mut self.received);
        let count = self.port.receive(&mut received, RECEIVE_BURST);
        let mut budget = SEND_BURST;
        for frame in received.drain(..) {
            if self.is_stopped {
                self.port.release(frame);
            } else {
                self.counters.received_frames += 1;
                self.handle(now, frame, &mut budget);
            }
        }
        self.received = received;
        let did_send = !self.is_stopped && self.transmit(now, budget);
        // Without frames to send, a flush takes back those that were sent: it is due when they are missed.
        let is_due = did_send || self.has_output() || self.port.poll_timeout().is_some_and(|due| due <= now);
        if is_due && self.port.flush().is_err() {
            self.counters.flush_errors += 1;
            return false;
        }
        count > 0 || did_send
    }

    /// Does what is due and sends, and says whether it sent.
    fn transmit(&mut self, now: Instant, mut budget: usize) -> bool {
        if now >= self.due() {
            self.handle_timeout(now);
        }
        if self.topology.has_output() {
            self.topology.transmit(&mut self.egress);
        }
        budget = self.egress.transmit(&mut self.port, budget, &mut self.counters);
        budget = self.targets.transmit(now, &mut self.port, self.egress.tag, budget, &mut self.counters);
        budget < SEND_BURST
    }

    /// When [`Self::step`] is to be called at the latest; at once when it has output that waits for the port.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.is_stopped {
            return self.port.poll_timeout();
        }
        let due = if self.has_output() { Instant::ZERO } else { self.due() };
        Some(self.port.poll_timeout().map_or(due, |port| port.min(due)))
    }

    /// Carries out an order.
    ///
    /// # Errors
    /// When it can't be, and then nothing has happened.
    pub fn order(&mut self, now: Instant, order: &Order) -> Result<(), OrderError> {
        match *order {
            Order::Faults(ref config) => {
                config.check()?;
                set_link_faults(&mut self.port, config);
                self.faults.set_chances(config);
            }
            Order::Inject { fault, count } => self.inject(fault, count)?,
            Order::Heal => {
                self.port.incoming().heal();
                self.port.outgoing().heal();
                self.faults = Faults::new(FaultsConfig::default());
            }
            Order::Restart => self.restart(now),
            Order::ClearLink { initiator } => {
                let Self { topology, egress, counters, faults, .. } = self;
                topology.clear_link(&mut Context { now, out: egress, counters, faults }, initiator);
                self.handle_changes(now);
            }
            Order::Stop => {
                self.restart(now);
                self.egress.clear();
                self.is_stopped = true;
            }
            Order::Start => self.is_stopped = false,
            Order::Kill { target, how } => {
                let number = self.target(target)?;
                let Self { topology, targets, egress, counters, faults, .. } = self;
                targets.kill(&mut Context { now, out: egress, counters, faults }, number, how);
                topology.kill(number, how);
                self.handle_changes(now);
            }
            Order::Revive { target } => {
                let number = self.target(target)?;
                self.targets.revive(number);
                self.topology.revive(now, number);
            }
            Order::Stall { target, ms } => {
                let number = self.target(target)?;
                self.targets.stall(number, now + Duration::from_millis(ms.into()));
            }
            Order::Access { target, access } => {
                let number = self.target(target)?;
                self.targets.set_access(number, access);
            }
        }
        Ok(())
    }

    /// The MAC addresses that frames to the SAN have now. They change in [`Self::step`], [`Self::order`] and
    /// [`Self::restart`].
    pub fn macs(&self) -> &[MacAddr] {
        &self.macs
    }

    /// Forgets every login and clears every virtual link, as a switch does that starts again; in VN2VN claims every
    /// address anew, as after a link was down.
    pub fn restart(&mut self, now: Instant) {
        let Self { topology, egress, counters, faults, .. } = self;
        topology.restart(&mut Context { now, out: egress, counters, faults });
        self.handle_changes(now);
    }

    /// The next `count` occasions more have this fault.
    ///
    /// # Errors
    /// [`OrderError::TooMany`]
    pub fn inject(&mut self, fault: Fault, count: u32) -> Result<(), OrderError> {
        let has_room = match fault {
            Fault::Frame(fate, kind) => {
                let fates = if kind.is_received() { self.port.incoming() } else { self.port.outgoing() };
                let has_room = fates.waiting_orders() < MAX_ORDERS;
                if has_room {
                    fates.order(fate.into(), count, move |frame| kind.matches(frame));
                }
                has_room
            }
            Fault::Fail(_) | Fault::Reject(_) => self.faults.order(fault, count),
        };
        if has_room { Ok(()) } else { Err(OrderError::TooMany(MAX_ORDERS)) }
    }

    /// What it has done and how it stands.
    pub fn stats(&self) -> Stats {
        let (incoming, outgoing) = self.port.fault_counters();
        Stats { counters: self.counters, logins: self.topology.login_count(), incoming, outgoing }
    }

    /// Copies the bytes at `offset` of a LUN into `into`, past its reservations.
    ///
    /// # Errors
    /// When there is no such LUN or no such bytes, and those of the disk's file.
    pub fn read_lun(&self, target: usize, lun: usize, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let no_such = |what| io::Error::new(io::ErrorKind::NotFound, what);
        let unit = self.targets.unit(target, lun).ok_or(no_such("no such target or LUN"))?;
        let size = unit.blocks * u64::from(unit.block_len);
        match offset.checked_add(into.len() as u64) {
            Some(end) if end <= size => unit.disk.read(offset, into),
            _ => Err(no_such("beyond the end of the LUN")),
        }
    }

    /// The port that it owns.
    pub fn port(&self) -> &P {
        self.port.inner()
    }

    /// The port that it owns, on its bad link, to wait on.
    pub fn port_mut(&mut self) -> &mut FaultyPort<P> {
        &mut self.port
    }

    fn target(&self, port_name: Wwn) -> Result<usize, OrderError> {
        self.targets.number_of(port_name).ok_or_else(|| {
            let names: Vec<_> = self.targets.names().map(|name| name.to_string()).collect();
            OrderError::NoSuchTarget { target: port_name, there_are: names.join(", ") }
        })
    }

    fn has_output(&self) -> bool {
        let has_output = !self.egress.is_empty() || self.targets.has_output() || self.topology.has_output();
        has_output && !self.is_stopped
    }

    fn handle_timeout(&mut self, now: Instant) {
        let Self { topology, targets, egress, counters, faults, .. } = self;
        let mut cx = Context { now, out: egress, counters, faults };
        targets.handle_timeout(&mut cx);
        topology.handle_timeout(&mut cx);
        self.handle_changes(now);
    }

    /// Takes over what the topology has changed, at once: what comes next may be of a new login in the same place.
    fn handle_changes(&mut self, now: Instant) {
        while let Some(event) = self.topology.poll_event() {
            match event {
                Event::Ended(login) => self.targets.forget_login(login, &mut self.counters),
                Event::LogIn { number, own, to } => {
                    self.targets.log_in_to(now, &mut self.egress, number, own, to);
                }
            }
        }
        self.macs = self.topology.macs();
    }

    fn due(&self) -> Instant {
        let topology = self.topology.poll_timeout();
        self.targets.poll_timeout().map_or(topology, |targets| targets.min(topology))
    }

    fn handle(&mut self, now: Instant, mut frame: Frame, budget: &mut usize) {
        match self.dispatch(now, &frame) {
            Ok(Verdict::Forward(Path { destination, source })) => {
                let bytes = self.port.buffer(&mut frame);
                bytes[..SOURCE_OFFSET].copy_from_slice(&destination.0);
                bytes[SOURCE_OFFSET..2 * SOURCE_OFFSET].copy_from_slice(&source.0);
                self.port.send(frame);
                self.counters.sent_frames += 1;
                self.counters.forwarded_frames += 1;
                *budget = budget.saturating_sub(1);
                return;
            }
            Ok(Verdict::Release) => {}
            Err(reason) => self.counters.count_drop(reason),
        }
        self.port.release(frame);
    }

    fn dispatch(&mut self, now: Instant, frame: &Frame) -> Result<Verdict, Drop> {
        let Self { port, topology, targets, egress, counters, faults, .. } = self;
        let (ethernet, payload) = EthernetHeader::parse(port.data(frame))?;
        let mut cx = Context { now, out: egress, counters, faults };
        match ethernet.ethertype {
            EtherType::FIP => {
                let result = topology.handle_fip(&mut cx, &ethernet, payload);
                self.handle_changes(now);
                result.map(|()| Verdict::Release)
            }
            EtherType::FCOE => {
                if !topology.has_mac(ethernet.destination) {
                    return Err(Drop::NotOurs);
                }
                if !cx.out.is_our_vlan(&ethernet) {
                    return Err(Drop::Vlan);
                }
                let fcoe = FcoeFrame::parse(payload)?;
                if !fcoe.sof.is_class_3() || !fcoe.eof.is_valid() {
                    return Err(Drop::Malformed);
                }
                dispatch_fc(topology, targets, &mut cx, &ethernet, &fcoe)
            }
            _ => Err(Drop::NotOurs),
        }
    }
}

fn set_link_faults<P: Port>(port: &mut FaultyPort<P>, config: &FaultsConfig) {
    port.set_seed(config.seed);
    port.incoming().set_rates(config.link());
    port.outgoing().set_rates(config.link());
}

fn dispatch_fc(
    topology: &mut Topology,
    targets: &mut Targets,
    cx: &mut Context<'_>,
    ethernet: &EthernetHeader,
    fcoe: &FcoeFrame<'_>,
) -> Result<Verdict, Drop> {
    match topology.route(ethernet, fcoe.header())? {
        // Who receives it checks the CRC, as with a switch that cuts through.
        Route::Forward(path) => return Ok(Verdict::Forward(path)),
        Route::Target { number, from } => targets.handle_frame(cx, number, &incoming(from, fcoe)?)?,
        Route::WellKnown { from } => topology.handle_service(cx, &incoming(from, fcoe)?)?,
    }
    Ok(Verdict::Release)
}

fn incoming<'a>(from: Sender, fcoe: &FcoeFrame<'a>) -> Result<Incoming<'a>, Drop> {
    fcoe.check_crc().map_err(|_| Drop::Crc)?;
    Ok(Incoming { from, header: fcoe.header(), payload: fcoe.payload()? })
}
