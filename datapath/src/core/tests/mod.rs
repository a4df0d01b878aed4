//! A core against a target that the test plays frame by frame.

mod data;
mod faults;
mod in_place;
mod lifecycle;
mod recovery;
mod retransmission;
mod siblings;
mod task_management;

use super::answers::Answers;
use super::deadlines::TICK;
use super::*;
use crate::port::memory::{self, MemoryPort};
use fc::messages::{Action, Cdb, Command, FromCore, Nexus, NexusId, Transfer};
use fc::time::Duration;
use fc::wire::ethernet::{EtherType, EthernetHeader, VlanTag};
use fc::wire::fcoe::{self, Eof, FcoeFrame, Sof};
use fc::wire::fcp::{FcpCmnd, FcpRsp, FcpXferRdy, Lun, RspCode, rsp_flags};
use fc::wire::header::{FCtl, FcHeader, FcType, RCtl, UNASSIGNED_XID};
use fc::wire::scsi::Status;
use fc::wire::{FcId, MacAddr};
use proptest::prelude::*;
use zerocopy::IntoBytes;

const OURS: FcId = FcId([1, 1, 1]);
const TARGET: FcId = FcId([1, 2, 1]);
const OUR_MAC: MacAddr = MacAddr([0x0e, 0xfc, 0, 1, 1, 1]);
const FCF_MAC: MacAddr = MacAddr([2, 0xfc, 0xf0, 0, 0, 1]);
const NEXUS: NexusId = NexusId(3);
const RX_ID: u16 = 0x0777;
const DATA_LEN: usize = 5000;
const TIMEOUT: Duration = Duration::from_secs(30);
const E_D_TOV: Duration = Duration::from_secs(2);
const R_A_TOV: Duration = Duration::from_secs(10);

fn nexus() -> Nexus {
    Nexus {
        s_id: OURS,
        d_id: TARGET,
        source: OUR_MAC,
        destination: FCF_MAC,
        vlan: None,
        max_payload_len: 2112,
        e_d_tov: E_D_TOV,
        r_a_tov: R_A_TOV,
        retry: false,
        confirm: false,
    }
}

/// A core with one consumer, and the other end of its link.
struct Bench {
    core: Core<MemoryPort>,
    wire: MemoryPort,
    link: ControlLink,
    consumer: Consumer,
    now: Instant,
}

/// A frame that the core sent, taken apart.
#[derive(Debug)]
struct Sent {
    ethernet: EthernetHeader,
    sof: Sof,
    eof: Eof,
    header: FcHeader,
    payload: Vec<u8>,
}

impl Bench {
    fn new() -> Self {
        Self::with_nexus(&nexus())
    }

    fn with_nexus(nexus: &Nexus) -> Self {
        Self::of_core(2, nexus)
    }

    /// One of seven cores.
    fn of_core(number: u16, nexus: &Nexus) -> Self {
        let (port, wire) = memory::pair(memory::MemoryConfig::default());
        let waker = || Arc::new(Waker::new().unwrap());
        let mut core = Core::new(port, &CoreConfig { number, cores: 7 }, waker(), waker());
        let link = core.control_link();
        let consumer = core.attach_consumer(1 << 13, waker());
        link.send(ToCore::SetNexus(NEXUS, Box::new(*nexus))).unwrap();
        core.step(Instant::ZERO);
        let entry = core.nexuses.get_mut(NEXUS.0).unwrap();
        entry.answers = Answers::ByOxId;
        Self { core, wire, link, consumer, now: Instant::ZERO }
    }

    /// Submits a command and gives its OX_ID.
    fn submit(&mut self, tag: u64, transfer: Transfer) -> u16 {
        let action = Action::Scsi(Cdb::new(&[0x88, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 8, 0, 0]));
        let lun = Lun::single(5).unwrap();
        self.consumer.submit(Command { tag, nexus: NEXUS, lun, action, transfer, timeout: TIMEOUT }).unwrap();
        self.step();
        // The first ones to a nexus are asked about at once.
        let sent = self.sent();
        let [cmnd] = sent.iter().filter(|frame| frame.header.fc_type == FcType::FCP).collect::<Vec<_>>()[..]
        else {
            panic!("one frame is a command")
        };
        assert_eq!(cmnd.header.r_ctl, RCtl::COMMAND);
        cmnd.header.ox_id.get()
    }

    fn read(&mut self) -> u16 {
        self.submit(7, Transfer::Read(vec![0xee; DATA_LEN].into()))
    }

    fn step(&mut self) {
        self.core.step(self.now);
    }

    fn advance(&mut self, by: Duration) {
        self.now = self.now + by;
        self.step();
    }

    fn sent_bytes(&mut self) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        self.wire.receive(&mut frames, usize::MAX);
        let copy = |frame: Frame| {
            let bytes = self.wire.data(&frame).to_vec();
            self.wire.release(frame);
            bytes
        };
        frames.into_iter().map(copy).collect()
    }

    fn sent(&mut self) -> Vec<Sent> {
        let take_apart = |bytes: Vec<u8>| {
            let (ethernet, payload) = EthernetHeader::parse(&bytes).unwrap();
            let frame = FcoeFrame::parse(payload).unwrap();
            frame.check_crc().unwrap();
            let (header, payload) = (*frame.header(), frame.payload().unwrap().to_vec());
            Sent { ethernet, sof: frame.sof, eof: frame.eof, header, payload }
        };
        self.sent_bytes().into_iter().map(take_apart).collect()
    }

    fn inject(&mut self, bytes: &[u8]) {
        let mut frame = self.wire.allocate().unwrap();
        self.wire.buffer(&mut frame)[..bytes.len()].copy_from_slice(bytes);
        self.wire.set_len(&mut frame, bytes.len());
        self.wire.send(frame);
        self.wire.flush().unwrap();
        self.step();
    }

    fn inject_fc(&mut self, header: &FcHeader, payload: &[u8]) {
        self.inject(&from_target(header, payload));
    }

    fn data(&mut self, ox_id: u16, offset: usize, payload: &[u8]) {
        let mut header = target_header(RCtl::DATA, 0x88_0008, ox_id);
        header.parameter.set(u32::try_from(offset).unwrap());
        self.inject_fc(&header, payload);
    }

    fn respond(&mut self, ox_id: u16, response: &FcpRsp<'_>) {
        let mut iu = [0; 128];
        let len = response.emit(&mut iu);
        self.inject_fc(&target_header(RCtl::STATUS, 0x98_0000, ox_id), &iu[..len]);
    }

    fn transfer_ready(&mut self, ox_id: u16, offset: u32, len: u32) {
        let ready = FcpXferRdy { offset: offset.into(), burst_len: len.into(), reserved: 0.into() };
        self.inject_fc(&target_header(RCtl::DATA_DESCRIPTOR, 0x89_0000, ox_id), ready.as_bytes());
    }

    /// The answer to an ABTS.
    fn answer_abort(&mut self, r_ctl: RCtl, ox_id: u16) {
        let header = FcHeader { fc_type: FcType::BLS, ..target_header(r_ctl, 0xd8_0000, ox_id) };
        self.inject_fc(&header, &[0; 12]);
    }

    /// OX_IDs that rest.
    fn resting(&self) -> usize {
        self.core.report().resting_ox_ids
    }

    fn completion(&mut self) -> fc::messages::Completion {
        self.consumer.poll().expect("a completion")
    }

    fn dropped(&self, reason: DropReason) -> u64 {
        self.core.counters.dropped(reason)
    }
}

fn target_header(r_ctl: RCtl, f_ctl: u32, ox_id: u16) -> FcHeader {
    FcHeader {
        r_ctl,
        d_id: OURS,
        cs_ctl: 0,
        s_id: TARGET,
        fc_type: FcType::FCP,
        f_ctl: FCtl::new(f_ctl),
        seq_id: 1,
        df_ctl: 0,
        seq_cnt: 0.into(),
        ox_id: ox_id.into(),
        rx_id: RX_ID.into(),
        parameter: 0.into(),
    }
}

fn from_target(header: &FcHeader, payload: &[u8]) -> Vec<u8> {
    let ethernet =
        EthernetHeader { destination: OUR_MAC, source: FCF_MAC, vlan: None, ethertype: EtherType::FCOE };
    let mut bytes = vec![0; fcoe::MAX_FRAME_LEN];
    let len = fcoe::emit(&mut bytes, &ethernet, Sof::I3, header, payload, Eof::T);
    bytes.truncate(len);
    bytes
}

fn pattern() -> Vec<u8> {
    (0..DATA_LEN).map(|i| u8::try_from(i % 251).unwrap()).collect()
}

/// A command that moves no data.
fn command(tag: u64) -> Command {
    Command {
        tag,
        nexus: NEXUS,
        lun: Lun::default(),
        action: Action::Scsi(Cdb::new(&[0; 6])),
        transfer: Transfer::None,
        timeout: TIMEOUT,
    }
}
