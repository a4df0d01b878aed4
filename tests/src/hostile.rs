//! A whole initiator (control, poll core, a SAN at the other end), driven by bytes that say what comes and when: for a
//! fuzzer, and for tests without one.

use crate::stepped::{SteppedEdge, control_config};
use control::Control;
use datapath::consumer::Consumer;
use datapath::core::{ControlLinks, Core, CoreConfig};
use datapath::port::memory::{self, MemoryConfig, MemoryPort, MemoryWire};
use datapath::port::{Port, Waker};
use fc::messages::{Action, Command, NexusId, Transfer};
use fc::time::{Duration, Instant};
use fc::wire::MacAddr;
use fc::wire::ethernet::EthernetHeader;
use fc::wire::fc_crc;
use fc::wire::fcoe::PROLOGUE_LEN;
use fc::wire::fcp::Lun;
use fc::wire::scsi::{Extent, IoFlags, ScsiCommand};
use san::{LunConfig, Mode, San, SanConfig};
use std::collections::VecDeque;
use std::sync::Arc;

const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x11]);
const MTU: u32 = 2500;
/// Commands that are out at most.
const DEPTH: usize = 8;
/// Commands that control may have out.
const SCAN_DEPTH: usize = 64;
/// Frames that are kept to come again.
const KEPT: usize = 64;
/// Rounds in which everything that can be done at one moment must be done.
const MAX_ROUNDS: usize = 1000;
/// How long a command may take at the longest: its own time, an abort that nobody answers, and R_A_TOV.
const BOUND: Duration = Duration::from_secs(60);
/// EOF, reserved bytes and, before them, the CRC.
const TRAILER_LEN: usize = 8;

struct World {
    core: Core<MemoryPort>,
    control: Control,
    edge: SteppedEdge,
    consumer: Consumer,
    wire: MemoryWire,
    san: San<MemoryPort>,
    san_wire: MemoryWire,
    now: Instant,
    /// Newest last, in either direction.
    kept: VecDeque<Vec<u8>>,
    /// The next frames to the initiator that get lost.
    to_lose: u8,
}

/// Drives an initiator. Each four bytes are something that happens: time passes, a command begins, frames get lost, come
/// again, come changed (with a CRC that is right or not), or were never sent, a link goes.
///
/// # Panics
/// If the initiator does, works on without an end at one moment, has a command out for longer than it may, or loses
/// memory of frames.
pub fn drive(bytes: &[u8]) {
    let mut world = World::new(bytes.first().is_some_and(|byte| byte & 1 == 1));
    world.run_for(Duration::from_secs(6));
    assert!(world.edge.inventory.is_scanned(), "as long as nothing happens, it logs in");
    for event in bytes.chunks_exact(4) {
        world.happen([event[0], event[1], event[2], event[3]]);
        world.settle();
    }
    let end = world.now + BOUND;
    while world.consumer.outstanding() > 0 {
        assert!(world.now < end, "{} commands are out after {BOUND:?}", world.consumer.outstanding());
        world.run_for(Duration::from_millis(100));
    }
    let account = world.core.stop(world.now).account();
    assert!(account.is_balanced() && account.free == account.total, "{account:?}");
}

impl World {
    fn new(is_vn2vn: bool) -> Self {
        let mode = if is_vn2vn { Mode::Vn2vn } else { Mode::Fabric };
        let (port, wire) = memory::wire(MemoryConfig::default());
        let (san_port, san_wire) = memory::wire(MemoryConfig::default());
        let waker = Arc::new(Waker::new().expect("a descriptor"));
        let core_config = CoreConfig { number: 0, cores: 1 };
        let mut core = Core::new(port.with_mtu(MTU), &core_config, Arc::clone(&waker), Arc::clone(&waker));
        let consumer = core.attach_consumer(DEPTH, Arc::clone(&waker));
        let edge = SteppedEdge::new(
            ControlLinks::new(vec![core.control_link()]),
            core.attach_consumer(SCAN_DEPTH, waker),
        );
        let mut config = SanConfig { mode, confirmation: true, ..SanConfig::default() };
        config.targets[0].luns[0] = LunConfig { size_bytes: 1 << 20, ..LunConfig::default() };
        Self {
            core,
            control: Control::new(control_config(MAC, mode, MTU)),
            edge,
            consumer,
            wire,
            san: San::new(san_port.with_mtu(MTU), &config).expect("a good configuration"),
            san_wire,
            now: Instant::ZERO,
            kept: VecDeque::new(),
            to_lose: 0,
        }
    }

    fn happen(&mut self, [what, a, b, c]: [u8; 4]) {
        match what % 10 {
            0 => self.run_for(Duration::from_millis(a.into())),
            1 => self.run_for(Duration::from_millis(u64::from(a) * 50)),
            2 => self.to_lose = a % 16,
            3 => self.change(a, |_| {}),
            // The same, changed: damaged, or by someone who gets the CRC right.
            4 => self.change(a, |frame| damage(frame, b, c)),
            5 => self.change(a, |frame| {
                damage(frame, b, c);
                mend_crc(frame);
            }),
            6 => self.change(a, |frame| frame.truncate(usize::from(b) * 8 + 1)),
            7 => self.edge.link_changes.extend([false, true]),
            // Two commands of three: a forger alone has little to change.
            _ => self.submit(a, b),
        }
    }

    /// A frame that went by comes again.
    fn change(&mut self, which: u8, change: impl FnOnce(&mut Vec<u8>)) {
        if self.kept.is_empty() {
            return;
        }
        let mut frame = self.kept[usize::from(which) % self.kept.len()].clone();
        change(&mut frame);
        if !frame.is_empty() {
            self.wire.push(&frame);
        }
    }

    fn submit(&mut self, what: u8, len: u8) {
        let nexus = self.edge.inventory.targets.first().map_or(NexusId(0), |target| target.nexus);
        let blocks = u32::from(len % 32) + 1;
        let (extent, flags) = (Extent::sixteen(u64::from(what), blocks), IoFlags::default());
        let buffer = vec![what; blocks as usize * 512].into();
        let (command, transfer) = if what & 1 == 1 {
            (ScsiCommand::Write { extent, flags }, Transfer::Write(buffer))
        } else {
            (ScsiCommand::Read { extent, flags }, Transfer::Read(buffer))
        };
        let (action, timeout) = (Action::from(&command), Duration::from_secs(10));
        // One too many is given back.
        let _ =
            self.consumer.submit(Command { tag: 0, nexus, lun: Lun::default(), action, transfer, timeout });
    }

    /// Does all that can be done now.
    fn settle(&mut self) {
        for _ in 0..MAX_ROUNDS {
            let mut is_busy = self.core.step(self.now);
            while let Some(frame) = self.wire.pop() {
                self.san_wire.push(&frame);
                self.keep(frame);
            }
            if self.edge.has_work() || self.control.poll_timeout().is_some_and(|at| at <= self.now) {
                self.control.step(self.now, &mut self.edge);
                is_busy = true;
            }
            is_busy |= self.san.step(self.now);
            while let Some(frame) = self.san_wire.pop() {
                if self.to_lose > 0 {
                    self.to_lose -= 1;
                } else {
                    self.wire.push(&frame);
                }
                self.keep(frame);
            }
            while self.consumer.poll().is_some() {}
            if !is_busy {
                return;
            }
        }
        panic!("there is something to do after {MAX_ROUNDS} rounds at one moment");
    }

    fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        self.settle();
        while self.now < end {
            let next = [self.core.poll_timeout(), self.control.poll_timeout(), self.san.poll_timeout()];
            let next = next.into_iter().flatten().min().unwrap_or(end);
            // Whoever is due at once is so in the next nanosecond.
            self.now = next.max(self.now + Duration::from_nanos(1)).min(end);
            self.settle();
        }
    }

    fn keep(&mut self, frame: Vec<u8>) {
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(frame);
    }
}

fn damage(frame: &mut [u8], at: u8, with: u8) {
    // Headers are where changes tell most; their length is not far from the greatest number of a byte.
    let at = usize::from(at) % frame.len();
    frame[at] ^= with;
}

/// Makes the CRC of an FCoE frame the right one, if it is long enough to have one.
fn mend_crc(frame: &mut [u8]) {
    let Ok((_, rest)) = EthernetHeader::parse(frame) else { return };
    let (start, len) = (frame.len() - rest.len() + PROLOGUE_LEN, frame.len());
    if let Some(end) = len.checked_sub(TRAILER_LEN).filter(|&end| end > start) {
        let crc = fc_crc(&frame[start..end]).to_le_bytes();
        frame[end..end + 4].copy_from_slice(&crc);
    }
}
