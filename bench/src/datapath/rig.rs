//! A poll core over a port in memory, with a target that is played frame by frame, and a step of it at a time to measure.

use super::case::{Case, Kind};
use datapath::consumer::Consumer;
use datapath::core::{Core, CoreConfig};
use datapath::port::Waker;
use datapath::port::memory::{self, MemoryConfig, MemoryPort, MemoryWire};
use fc::in_place::InPlace;
use fc::messages::{Action, Cdb, Command, Nexus, NexusId, ToCore, Transfer};
use fc::time::{Duration, Instant};
use fc::wire::els::{ElsReply, LsRjt};
use fc::wire::ethernet::{EtherType, EthernetHeader, UNTAGGED_HEADER_LEN};
use fc::wire::fcoe::{self, Eof, PROLOGUE_LEN, Sof};
use fc::wire::fcp::{FcpRsp, FcpXferRdy, Lun, RSP_LEN};
use fc::wire::header::{FCtl, FcHeader, FcType, MAX_PAYLOAD_LEN, RCtl, UNASSIGNED_XID};
use fc::wire::{FcId, MacAddr};
use std::sync::Arc;
use xfcoe::pattern::SplitMix64;
use zerocopy::IntoBytes;

/// Frames in a round: one batch of the core.
pub(super) const BATCH: usize = 64;

/// What a step of a busy core takes: time goes on by this at each, so that deadlines come as they do in earnest.
const STEP: Duration = Duration::from_micros(10);

/// Steps between the batches of commands that a round lets out.
const STEPS: u32 = 2;

const TARGET: FcId = FcId([1, 2, 1]);
const OUR_MAC: MacAddr = MacAddr([0x0e, 0xfc, 0, 1, 1, 1]);
const FCF_MAC: MacAddr = MacAddr([2, 0xfc, 0xf0, 0, 0, 1]);

/// The core, and everything that is out.
pub(super) struct Rig {
    core: Core<MemoryPort>,
    wire: MemoryWire,
    consumer: Consumer,
    kind: Kind,
    vn_ports: u32,
    /// The commands that are out.
    open: Vec<Open>,
    /// Those that this round is about.
    chosen: Vec<Open>,
    /// What no command has, for one to move.
    transfers: Vec<Transfer>,
    /// What commands have moved that have ended.
    ended: Vec<Transfer>,
    /// Always the same numbers: two runs do the same.
    random: SplitMix64,
    /// What a command takes, with so many out: the core learns it, and is not impatient with all of them.
    latency: Duration,
    now: Instant,
}

/// A command that is out, by what a frame to it carries.
#[derive(Clone, Copy, Debug)]
struct Open {
    ox_id: u16,
    our_id: FcId,
}

/// Does everything that a core can do now. Apart, for its instructions to be counted: callgrind finds it by its name.
#[inline(never)]
fn measured_step(core: &mut Core<MemoryPort>, now: Instant) {
    core.step(now);
}

impl Rig {
    /// Logs all VN_Ports in, and lets as many commands out as the case has.
    pub(super) fn new(case: &Case) -> Self {
        let (port, wire) = memory::wire(MemoryConfig::default());
        let waker = || Arc::new(Waker::new().expect("a descriptor"));
        let mut core = Core::new(port, &CoreConfig { number: 0, cores: 1 }, waker(), waker());
        let consumer = core.attach_consumer(case.open + BATCH, waker());
        // What was read in place is given back right before the next step that is measured, which takes it back.
        let spare = if case.kind == Kind::ReadInPlace { BATCH.min(case.open) } else { 0 };
        let mut rig = Self {
            core,
            wire,
            consumer,
            kind: case.kind,
            vn_ports: case.vn_ports,
            open: Vec::with_capacity(case.open),
            chosen: Vec::with_capacity(BATCH),
            transfers: std::iter::repeat_with(|| transfer(case)).take(case.open + spare).collect(),
            ended: Vec::with_capacity(BATCH),
            random: SplitMix64::new(0),
            latency: STEP * STEPS * u32::try_from(case.open.div_ceil(BATCH)).expect("no more than OX_IDs"),
            now: Instant::ZERO,
        };
        for vn_port in 0..case.vn_ports {
            rig.log_in(vn_port);
        }
        // Those of a command's round are let out by the round.
        let standing = if case.kind == Kind::Command { case.open.saturating_sub(BATCH) } else { case.open };
        while rig.open.len() < standing {
            rig.submit(BATCH.min(standing - rig.open.len()));
            rig.step();
            rig.take_sent();
        }
        rig
    }

    /// One frame of the case's kind for each of a batch of commands, or all of them for the only one; `step` is what
    /// is measured. Afterwards as many commands are out as before.
    fn round(&mut self, step: impl FnOnce(&mut Self)) {
        match self.kind {
            Kind::ReadData | Kind::ReadInPlace => {
                self.choose();
                self.inject_data();
                self.give_back();
                step(self);
                self.respond();
            }
            Kind::Response => {
                self.choose();
                self.inject_responses();
                step(self);
                self.take_completions();
            }
            Kind::Command => {
                self.submit(BATCH);
                step(self);
                self.take_sent();
                self.choose();
                self.respond();
                return;
            }
            Kind::WriteData => {
                self.choose();
                self.ask_for_data();
                step(self);
                self.discard_sent();
                self.respond();
            }
        }
        self.submit(self.chosen.len());
        self.step();
        self.take_sent();
    }

    /// A round, in nanoseconds for each frame.
    pub(super) fn timed_round(&mut self) -> f64 {
        let mut ns = 0.0;
        self.round(|rig| {
            let start = std::time::Instant::now();
            measured_step(&mut rig.core, rig.now);
            ns = start.elapsed().as_nanos() as f64 / BATCH as f64;
            rig.now = rig.now + STEP;
        });
        ns
    }

    /// A round that nobody measures.
    pub(super) fn warm_up(&mut self) {
        self.round(Self::step);
    }

    fn step(&mut self) {
        self.core.step(self.now);
        self.now = self.now + STEP;
    }

    /// Publishes the nexus of a VN_Port. The core asks about its first command, and is told that the target answers no
    /// questions: commands that are out for long are left alone.
    fn log_in(&mut self, vn_port: u32) {
        let nexus = Nexus {
            s_id: FcId::from_u32(0x01_0000 + vn_port),
            d_id: TARGET,
            source: OUR_MAC,
            destination: FCF_MAC,
            vlan: None,
            max_payload_len: MAX_PAYLOAD_LEN as u16,
            e_d_tov: Duration::from_secs(2),
            r_a_tov: Duration::from_secs(10),
            retry: true,
            confirm: false,
        };
        let id = nexus_id(vn_port);
        let link = self.core.control_link();
        link.send(ToCore::SetNexus(id, Box::new(nexus))).expect("an empty queue");
        assert!(self.consumer.submit(command(id, Transfer::None)).is_ok(), "nothing is out");
        self.step();
        self.take_sent();
        self.now = self.now + self.latency;
        // Its question came behind it.
        let question = self.open.pop().expect("the first command is asked about");
        let header = FcHeader { fc_type: FcType::ELS, ..target_header(RCtl::ELS_REPLY, 0x98_0000, question) };
        self.inject(&header, &ElsReply::from(LsRjt::UNSUPPORTED).to_payload());
        self.step();
        self.choose();
        self.respond();
    }

    /// Commands of random VN_Ports.
    fn submit(&mut self, count: usize) {
        for _ in 0..count {
            let transfer = self.transfers.pop().unwrap_or(Transfer::None);
            let vn_port = self.random_below(self.vn_ports as usize) as u32;
            assert!(
                self.consumer.submit(command(nexus_id(vn_port), transfer)).is_ok(),
                "bounded by the case"
            );
        }
    }

    /// Notes the commands that the core has sent.
    fn take_sent(&mut self) {
        let read = |bytes: &[u8]| {
            let header = FcHeader::ref_from(&bytes[UNTAGGED_HEADER_LEN + PROLOGUE_LEN..]);
            let (header, _) = header.expect("the core sends whole frames");
            Open { ox_id: header.ox_id.get(), our_id: header.s_id }
        };
        self.open.extend(std::iter::from_fn(|| self.wire.pop_with(read)));
    }

    fn discard_sent(&mut self) {
        let frames = std::iter::from_fn(|| self.wire.pop_with(|_| ())).count();
        assert_eq!(frames, BATCH, "frames of write data");
    }

    /// Takes commands at random, for their exchanges to lie anywhere in the core's tables.
    fn choose(&mut self) {
        self.chosen.clear();
        for _ in 0..BATCH.min(self.open.len()) {
            let at = self.random_below(self.open.len());
            self.chosen.push(self.open.swap_remove(at));
        }
    }

    /// A batch of frames of read data: one for each of the chosen commands, or all of them for the only one.
    fn inject_data(&mut self) {
        for i in 0..BATCH {
            let mut header = target_header(RCtl::DATA, 0x80_0008, self.chosen[i % self.chosen.len()]);
            let offset = i / self.chosen.len() * MAX_PAYLOAD_LEN;
            header.parameter.set(u32::try_from(offset).expect("a few hundred KiB"));
            self.inject(&header, &[0x5a; MAX_PAYLOAD_LEN]);
        }
    }

    /// Asks the chosen commands for all of their data.
    fn ask_for_data(&mut self) {
        for i in 0..self.chosen.len() {
            let len = BATCH / self.chosen.len() * MAX_PAYLOAD_LEN;
            let burst_len = u32::try_from(len).expect("a few hundred KiB").into();
            let ready = FcpXferRdy { offset: 0.into(), burst_len, reserved: 0.into() };
            self.inject(&target_header(RCtl::DATA_DESCRIPTOR, 0x89_0000, self.chosen[i]), ready.as_bytes());
        }
    }

    fn inject_responses(&mut self) {
        let mut iu = [0; RSP_LEN];
        let len = FcpRsp::default().emit(&mut iu);
        for i in 0..self.chosen.len() {
            self.inject(&target_header(RCtl::STATUS, 0x98_0000, self.chosen[i]), &iu[..len]);
        }
    }

    /// Ends the chosen commands.
    fn respond(&mut self) {
        self.inject_responses();
        self.step();
        self.take_completions();
    }

    fn take_completions(&mut self) {
        for _ in 0..self.chosen.len() {
            let completion = self.consumer.poll().expect("a command ends with its response");
            assert!(completion.result.is_ok(), "{:?}", completion.result);
            self.ended.extend(Some(completion.transfer).filter(|transfer| !transfer.is_empty()));
        }
        if self.kind != Kind::ReadInPlace {
            self.give_back();
        }
    }

    /// What has been moved is of no use any more.
    fn give_back(&mut self) {
        self.ended.iter_mut().for_each(Transfer::clear);
        self.transfers.append(&mut self.ended);
    }

    fn inject(&mut self, header: &FcHeader, payload: &[u8]) {
        let ethernet =
            EthernetHeader { destination: OUR_MAC, source: FCF_MAC, vlan: None, ethertype: EtherType::FCOE };
        let mut bytes = [0; fcoe::MAX_FRAME_LEN];
        let len = fcoe::emit(&mut bytes, &ethernet, Sof::I3, header, payload, Eof::T);
        assert!(self.wire.push(&bytes[..len]), "the ring holds a batch");
    }

    fn random_below(&mut self, bound: usize) -> usize {
        (self.random.next().expect("endless") % bound as u64) as usize
    }
}

/// What a command of the case moves.
fn transfer(case: &Case) -> Transfer {
    let buffer = || vec![0x5a; case.kind.data_len(case.open)].into();
    match case.kind {
        Kind::ReadData => Transfer::Read(buffer()),
        Kind::ReadInPlace => Transfer::ReadInPlace(Box::new(InPlace::new(buffer()))),
        Kind::WriteData => Transfer::Write(buffer()),
        Kind::Response | Kind::Command => Transfer::None,
    }
}

fn nexus_id(vn_port: u32) -> NexusId {
    NexusId(u16::try_from(vn_port).expect("a nexus for each VN_Port"))
}

fn command(nexus: NexusId, transfer: Transfer) -> Command {
    let action = Action::Scsi(Cdb::new(&[0x88, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0]));
    Command { tag: 0, nexus, lun: Lun::default(), action, transfer, timeout: Duration::from_secs(600) }
}

fn target_header(r_ctl: RCtl, f_ctl: u32, open: Open) -> FcHeader {
    FcHeader {
        r_ctl,
        d_id: open.our_id,
        cs_ctl: 0,
        s_id: TARGET,
        fc_type: FcType::FCP,
        f_ctl: FCtl::new(f_ctl),
        seq_id: 1,
        df_ctl: 0,
        seq_cnt: 0.into(),
        ox_id: open.ox_id.into(),
        rx_id: UNASSIGNED_XID.into(),
        parameter: 0.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datapath::case::cases;

    /// Nothing is allocated for a frame, a command or a look at deadlines.
    #[test]
    fn no_frame_allocates() {
        for case in cases() {
            let mut rig = Rig::new(&case);
            // Queues grow to what they need, once.
            for _ in 0..10 {
                rig.warm_up();
            }
            for _ in 0..100 {
                let mut allocations = 0;
                rig.round(|rig| {
                    let step = || measured_step(&mut rig.core, rig.now);
                    allocations = allocation_counter::measure(step).count_total;
                });
                assert_eq!(allocations, 0, "{case}");
            }
            let counters = rig.core.report().counters;
            let lent = if case.kind == Kind::ReadInPlace { counters.read_bytes } else { 0 };
            assert_eq!(counters.lent_bytes, lent, "{case}");
        }
    }
}
