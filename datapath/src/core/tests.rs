//! A core against a target that the test plays frame by frame.

use super::*;
use crate::port::memory::{self, MemoryPort};
use fc::messages::{Cdb, Command, Nexus, NexusId, Transfer};
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
        let (port, wire) = memory::pair(memory::MemoryConfig::default());
        let waker = || Arc::new(Waker::new().unwrap());
        let mut core = Core::new(port, &CoreConfig { number: 2 }, waker(), waker());
        let link = core.control_link();
        let consumer = core.attach_consumer(2048, waker());
        link.send(ToCore::SetNexus(NEXUS, Box::new(*nexus))).unwrap();
        core.step(Instant::ZERO);
        Self { core, wire, link, consumer, now: Instant::ZERO }
    }

    /// Submits a command and gives its OX_ID.
    fn submit(&mut self, tag: u64, transfer: Transfer) -> u16 {
        let cdb = Cdb::new(&[0x88, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 8, 0, 0]);
        let lun = Lun::single(5).unwrap();
        self.consumer.submit(Command { tag, nexus: NEXUS, lun, cdb, transfer, timeout: TIMEOUT }).unwrap();
        self.step();
        let [cmnd] = &self.sent()[..] else { panic!("one frame is a command") };
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

#[test]
fn a_command_is_sent_as_captures_show_it() {
    let vlan = Some(VlanTag::new(100, 3));
    let mut bench = Bench::with_nexus(&Nexus { vlan, ..nexus() });
    let cdb = Cdb::new(&[0x88, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 8, 0, 0]);
    let transfer = Transfer::Read(vec![0; 4096].into());
    let lun = Lun::single(5).unwrap();
    bench.consumer.submit(Command { tag: 1, nexus: NEXUS, lun, cdb, transfer, timeout: TIMEOUT }).unwrap();
    bench.step();
    let [sent] = &bench.sent()[..] else { panic!("one frame") };
    let ethernet = EthernetHeader { destination: FCF_MAC, source: OUR_MAC, vlan, ethertype: EtherType::FCOE };
    assert_eq!(sent.ethernet, ethernet);
    assert_eq!((sent.sof, sent.eof), (Sof::I3, Eof::T));
    assert_eq!((sent.header.s_id, sent.header.d_id), (OURS, TARGET));
    assert_eq!(sent.header.f_ctl.get(), 0x29_0000);
    assert_eq!(sent.header.rx_id.get(), UNASSIGNED_XID);
    assert_eq!(ox_id::core(sent.header.ox_id.get()), 2);
    let cmnd = FcpCmnd::parse(&sent.payload).unwrap();
    assert_eq!((cmnd.fixed.lun, cmnd.fixed.cdb.as_slice()), (lun, cdb.as_bytes()));
    assert_eq!((cmnd.data_len, cmnd.fixed.flags), (4096, 2));
}

#[test]
fn a_long_cdb_is_sent_whole() {
    let mut bench = Bench::new();
    let cdb = Cdb::new(&[0x7f; 32]);
    let (lun, transfer) = (Lun::default(), Transfer::None);
    bench.consumer.submit(Command { tag: 1, nexus: NEXUS, lun, cdb, transfer, timeout: TIMEOUT }).unwrap();
    bench.step();
    let cmnd = FcpCmnd::parse(&bench.sent()[0].payload).unwrap();
    assert_eq!((cmnd.fixed.cdb, cmnd.additional_cdb), ([0x7f; 16], vec![0x7f; 16]));
    assert_eq!((cmnd.data_len, cmnd.fixed.flags), (0, 16));
}

#[test]
fn read_data_lands_at_its_offset_whatever_the_order() {
    let data = pattern();
    let in_order = [0..2112, 2112..4224, 4224..DATA_LEN];
    let mut reversed = in_order.clone();
    reversed.reverse();
    for order in [in_order, reversed] {
        let mut bench = Bench::new();
        let ox_id = bench.read();
        for range in order {
            bench.data(ox_id, range.start, &data[range.clone()]);
            bench.data(ox_id, range.start, &data[range]);
        }
        assert!(bench.consumer.poll().is_none(), "it has not ended");
        bench.now = bench.now + Duration::from_micros(50);
        bench.respond(ox_id, &FcpRsp::default());
        let completion = bench.completion();
        assert_eq!(completion.tag, 7);
        let ended = completion.result.unwrap();
        assert_eq!((ended.status, ended.transferred as usize), (Status::GOOD, DATA_LEN));
        assert_eq!(completion.latency, Duration::from_micros(50));
        assert_eq!(completion.transfer.into_buffer().unwrap().as_ref(), data);
        assert_eq!(bench.core.exchanges.open(), 0);
        assert_eq!(bench.core.report().latency_ns.len(), 1);
    }
}

#[test]
fn data_after_the_response_is_awaited() {
    let mut bench = Bench::new();
    let data = pattern();
    let ox_id = bench.read();
    bench.data(ox_id, 0, &data[..2112]);
    bench.respond(ox_id, &FcpRsp::default());
    assert!(bench.consumer.poll().is_none(), "data is missing");
    bench.data(ox_id, 2112, &data[2112..4224]);
    bench.data(ox_id, 4224, &data[4224..]);
    assert!(bench.completion().result.is_ok());
}

#[test]
fn a_read_with_missing_data_is_never_good() {
    let mut bench = Bench::new();
    let data = pattern();
    let ox_id = bench.read();
    bench.data(ox_id, 0, &data[..2112]);
    // The same bytes twice are as many as the command wants, but not the ones.
    bench.data(ox_id, 0, &data[..2112]);
    bench.data(ox_id, 2900, &data[2900..]);
    bench.respond(ox_id, &FcpRsp::default());
    bench.advance(E_D_TOV);
    let expected = TransportError::DataMissing { expected: 5000, received: 2112 };
    assert_eq!(bench.completion().result, Err(expected));
    // A frame of it may still come: it must touch nothing, and nobody gets its OX_ID yet.
    bench.data(ox_id, 2112, &data[2112..2900]);
    assert_eq!(bench.dropped(DropReason::NoExchange), 1);
    assert_eq!(bench.core.exchanges.open(), 1);
    bench.advance(R_A_TOV + TICK);
    assert_eq!(bench.core.exchanges.open(), 0);
}

#[test]
fn residuals_say_how_much_is_good() {
    let mut bench = Bench::new();
    let data = pattern();
    let ox_id = bench.read();
    bench.data(ox_id, 0, &data[..96]);
    let residual = u32::try_from(DATA_LEN).unwrap() - 96;
    bench.respond(ox_id, &FcpRsp { flags: rsp_flags::UNDER, residual, ..FcpRsp::default() });
    assert_eq!(bench.completion().result.unwrap().transferred, 96);
}

#[test]
fn write_data_goes_out_as_it_is_asked_for() {
    let mut bench = Bench::new();
    let data = pattern();
    let ox_id = bench.submit(1, Transfer::Write(data.clone().into()));
    bench.transfer_ready(ox_id, 0, 4224);
    bench.transfer_ready(ox_id, 4224, 776);
    let sent = bench.sent();
    let f_ctl = [0x00_0008, 0x09_0008, 0x09_0008];
    let delimiters = [(Sof::I3, Eof::N), (Sof::N3, Eof::T), (Sof::I3, Eof::T)];
    let mut received = vec![0; DATA_LEN];
    for (i, frame) in sent.iter().enumerate() {
        assert_eq!((frame.header.r_ctl, frame.header.f_ctl.get()), (RCtl::DATA, f_ctl[i]));
        assert_eq!((frame.sof, frame.eof), delimiters[i]);
        assert_eq!((frame.header.seq_id, frame.header.seq_cnt.get()), [(1, 0), (1, 1), (2, 0)][i]);
        assert_eq!(frame.header.rx_id.get(), RX_ID);
        let offset = frame.header.parameter.get() as usize;
        received[offset..offset + frame.payload.len()].copy_from_slice(&frame.payload);
    }
    assert_eq!((sent.len(), received), (3, data));
    bench.respond(ox_id, &FcpRsp::default());
    assert_eq!(bench.completion().result.unwrap().transferred as usize, DATA_LEN);
}

#[test]
fn a_large_burst_is_sent_over_several_doorbells() {
    let mut bench = Bench::new();
    let len: u32 = 200 * 2112;
    let ox_id = bench.submit(1, Transfer::Write(vec![0x5a; len as usize].into()));
    bench.transfer_ready(ox_id, 0, len);
    let mut frames = 0;
    for _ in 0..10 {
        let sent = bench.sent().len();
        assert!(sent <= SEND_BATCH);
        frames += sent;
        bench.step();
    }
    assert_eq!(frames, 200);
}

/// Each frame is wrong in one way; none may end the command or touch its buffer.
#[test]
fn wrong_frames_are_dropped_by_reason() {
    let mut bench = Bench::new();
    let ox_id = bench.read();
    bench.data(ox_id, 0, &[1; 4]);
    let good = |change: &dyn Fn(&mut FcHeader)| {
        let mut header = target_header(RCtl::DATA, 0x88_0008, ox_id);
        change(&mut header);
        from_target(&header, &[2; 64])
    };
    let bytes = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut frame = good(&|_| {});
        change(&mut frame);
        frame
    };
    let response = from_target(&target_header(RCtl::STATUS, 0x98_0000, ox_id), &[0; 8]);
    let ready = from_target(&target_header(RCtl::DATA_DESCRIPTOR, 0x89_0000, ox_id), &[0; 12]);
    let cases: Vec<(DropReason, Vec<u8>)> = vec![
        (DropReason::Length, bytes(&|f| f.truncate(13))),
        (DropReason::Length, bytes(&|f| f.truncate(59))),
        (DropReason::Length, bytes(&|f| f.resize(fcoe::MAX_LEN + 15, 0))),
        (DropReason::EtherType, bytes(&|f| f[12..14].copy_from_slice(&[0x08, 0x00]))),
        (DropReason::Version, bytes(&|f| f[14] = 0x10)),
        (DropReason::Crc, bytes(&|f| f[70] ^= 1)),
        (DropReason::Sof, bytes(&|f| f[27] = 0x2d)),
        (DropReason::Eof, bytes(&|f| *f.iter_mut().nth_back(3).unwrap() = 0x49)),
        // A pad moves the end: whatever is read as delimiter and CRC is wrong.
        (DropReason::Eof, bytes(&|f| f.extend([0; 4]))),
        (DropReason::OptionalHeader, good(&|h| h.df_ctl = 0x10)),
        (DropReason::NoExchange, good(&|h| h.ox_id.set(ox_id ^ 1))),
        (DropReason::NoExchange, good(&|h| h.ox_id.set(ox_id ^ 0x0008))),
        (DropReason::NoExchange, good(&|h| h.ox_id.set(ox_id ^ 0x8000))),
        (DropReason::Source, good(&|h| h.s_id = FcId([1, 2, 2]))),
        (DropReason::Source, bytes(&|f| f[6] ^= 0x10)),
        (DropReason::Destination, good(&|h| h.d_id = FcId([1, 1, 2]))),
        (DropReason::RxId, good(&|h| h.rx_id.set(RX_ID + 1))),
        (DropReason::Offset, good(&|h| h.parameter.set(5000 - 63))),
        (DropReason::Offset, good(&|h| h.parameter.set(u32::MAX - 3))),
        (DropReason::Offset, good(&|h| h.f_ctl = FCtl::new(0x88_0000))),
        (DropReason::Unexpected, good(&|h| h.r_ctl = RCtl(0x00))),
        (DropReason::Unexpected, good(&|h| h.fc_type = FcType::NVME)),
        (DropReason::Unexpected, good(&|h| h.f_ctl = FCtl::new(0x08_0008))),
        (DropReason::Unexpected, ready),
        (DropReason::Malformed, response),
    ];
    for (reason, frame) in cases {
        let before = (bench.core.counters.dropped_total(), bench.dropped(reason));
        bench.inject(&frame);
        let after = (bench.core.counters.dropped_total(), bench.dropped(reason));
        assert_eq!(after, (before.0 + 1, before.1 + 1), "{reason}: {frame:02x?}");
    }
    assert!(bench.consumer.poll().is_none());
    bench.respond(ox_id, &FcpRsp { status: Status::BUSY.0, ..FcpRsp::default() });
    let buffer = bench.completion().transfer.into_buffer().unwrap();
    assert_eq!((&buffer[..4], buffer[4..].iter().all(|&b| b == 0xee)), (&[1; 4][..], true));
}

#[test]
fn requests_for_data_that_is_not_there_are_dropped() {
    let mut bench = Bench::new();
    let ox_id = bench.submit(1, Transfer::Write(pattern().into()));
    for (offset, len, reason) in [
        (0, 5001, DropReason::Offset),
        (5000, 1, DropReason::Offset),
        (u32::MAX, 2, DropReason::Offset),
        (0, 0, DropReason::Malformed),
    ] {
        let before = bench.dropped(reason);
        bench.transfer_ready(ox_id, offset, len);
        assert_eq!(bench.dropped(reason), before + 1, "{offset} {len}");
    }
    assert!(bench.sent_bytes().is_empty());
}

#[test]
fn a_silent_target_is_aborted_and_the_ox_id_rests() {
    for answer in [Some(RCtl::BA_ACC), Some(RCtl::BA_RJT), None] {
        let mut bench = Bench::new();
        let ox_id = bench.read();
        bench.advance(TIMEOUT - TICK);
        assert!(bench.sent_bytes().is_empty());
        bench.advance(TICK);
        let [abts] = &bench.sent()[..] else { panic!("one ABTS") };
        assert_eq!((abts.header.r_ctl, abts.header.fc_type), (RCtl::ABTS, FcType::BLS));
        assert_eq!((abts.header.f_ctl.get(), abts.header.ox_id.get()), (0x09_0000, ox_id));
        assert!(bench.consumer.poll().is_none(), "its buffer is still the target's");
        // What comes late is not the command's any more.
        bench.data(ox_id, 0, &[0; 64]);
        bench.respond(ox_id, &FcpRsp::default());
        assert_eq!(bench.dropped(DropReason::NoExchange), 2);
        match answer {
            Some(r_ctl) => {
                let header = FcHeader { fc_type: FcType::BLS, ..target_header(r_ctl, 0xd8_0000, ox_id) };
                bench.inject_fc(&header, &[0; 12]);
            }
            None => bench.advance(E_D_TOV * 2),
        }
        let completion = bench.completion();
        assert_eq!(completion.result, Err(TransportError::TimedOut));
        assert!(completion.transfer.into_buffer().unwrap().iter().all(|&b| b == 0xee));
        assert_eq!(bench.core.exchanges.open(), 1);
        bench.advance(R_A_TOV + TICK);
        assert_eq!(bench.core.exchanges.open(), 0);
    }
}

#[test]
fn a_target_may_abort() {
    let mut bench = Bench::new();
    let ox_id = bench.read();
    let header = FcHeader { fc_type: FcType::BLS, ..target_header(RCtl::ABTS, 0x89_0000, ox_id) };
    bench.inject_fc(&header, &[]);
    assert_eq!(bench.completion().result, Err(TransportError::Aborted));
    let [accept] = &bench.sent()[..] else { panic!("one BA_ACC") };
    assert_eq!(accept.header.r_ctl, RCtl::BA_ACC);
    assert_eq!(accept.payload[4..6], ox_id.to_be_bytes());
}

#[test]
fn fcp_errors_are_told() {
    let mut bench = Bench::new();
    let ox_id = bench.read();
    let info = [0, 0, 0, RspCode::INCORRECT_LUN.0, 0, 0, 0, 0];
    bench.respond(ox_id, &FcpRsp { info: &info, ..FcpRsp::default() });
    assert_eq!(bench.completion().result, Err(TransportError::Response(RspCode::INCORRECT_LUN)));
}

#[test]
fn commands_end_with_their_nexus() {
    let mut bench = Bench::new();
    bench.read();
    // The same nexus again changes nothing.
    bench.link.send(ToCore::SetNexus(NEXUS, Box::new(nexus()))).unwrap();
    bench.step();
    assert!(bench.consumer.poll().is_none());
    let other = Nexus { d_id: FcId([1, 2, 9]), ..nexus() };
    bench.link.send(ToCore::SetNexus(NEXUS, Box::new(other))).unwrap();
    bench.step();
    assert_eq!(bench.completion().result, Err(TransportError::NexusGone));
    bench.read();
    bench.link.send(ToCore::RemoveNexus(NEXUS)).unwrap();
    bench.step();
    assert_eq!(bench.completion().result, Err(TransportError::NexusGone));
    let cdb = Cdb::new(&[0; 6]);
    let (lun, transfer) = (Lun::default(), Transfer::None);
    bench.consumer.submit(Command { tag: 9, nexus: NEXUS, lun, cdb, transfer, timeout: TIMEOUT }).unwrap();
    bench.step();
    assert_eq!(bench.completion().result, Err(TransportError::NexusGone));
}

#[test]
fn a_nexus_is_known_to_commands_that_were_submitted_after_it() {
    let mut bench = Bench::new();
    let nexus_id = NexusId(9);
    // Both come after the core has looked at its messages, and before it looks at commands.
    bench.link.send(ToCore::SetNexus(nexus_id, Box::new(nexus()))).unwrap();
    let (lun, transfer, cdb) = (Lun::default(), Transfer::None, Cdb::new(&[0; 6]));
    bench.consumer.submit(Command { tag: 1, nexus: nexus_id, lun, cdb, transfer, timeout: TIMEOUT }).unwrap();
    bench.core.take_commands(bench.now);
    bench.step();
    assert!(bench.consumer.poll().is_none(), "it is out");
    assert_eq!(bench.sent().len(), 1);
}

#[test]
fn fip_and_logins_are_controls() {
    let mut bench = Bench::new();
    let fip = EthernetHeader {
        destination: MacAddr::ALL_ENODE,
        source: FCF_MAC,
        vlan: None,
        ethertype: EtherType::FIP,
    };
    let mut bytes = vec![0x5a; 72];
    fip.emit(&mut bytes);
    bench.inject(&bytes);
    assert_eq!(bench.link.receive().unwrap().0.as_ref(), bytes);
    let mut header = target_header(RCtl::ELS_REPLY, 0x98_0000, ox_id::CONTROL);
    header.fc_type = FcType::ELS;
    bench.inject_fc(&header, &[2, 0, 0, 0]);
    assert!(bench.link.has_frame());
    bench.link.send(ToCore::Transmit(bytes.clone().into())).unwrap();
    bench.step();
    assert_eq!(bench.sent_bytes(), [bytes.clone()]);
    // A flood ends at the queue.
    for _ in 0..CONTROL_QUEUE_LEN + 10 {
        bench.inject(&bytes);
    }
    assert_eq!(bench.dropped(DropReason::ControlQueueFull), 11);
}

#[test]
fn commands_wait_for_a_free_exchange() {
    let mut bench = Bench::new();
    let mut first = None;
    for tag in 0..2000 {
        let cdb = Cdb::new(&[0; 6]);
        let (lun, transfer) = (Lun::default(), Transfer::None);
        bench.consumer.submit(Command { tag, nexus: NEXUS, lun, cdb, transfer, timeout: TIMEOUT }).unwrap();
        bench.step();
        first = first.or(bench.sent().first().map(|sent| sent.header.ox_id.get()));
    }
    assert_eq!(bench.core.exchanges.open(), ox_id::EXCHANGES_PER_CORE);
    assert!(bench.core.has_work());
    bench.respond(first.unwrap(), &FcpRsp::default());
    bench.step();
    assert_eq!(bench.completion().tag, 0);
    assert_eq!(bench.sent().len(), 1, "the exchange is used again");
}

#[test]
fn stopping_ends_every_command() {
    let mut bench = Bench::new();
    bench.read();
    let cdb = Cdb::new(&[0; 6]);
    let (lun, transfer) = (Lun::default(), Transfer::None);
    bench.consumer.submit(Command { tag: 9, nexus: NEXUS, lun, cdb, transfer, timeout: TIMEOUT }).unwrap();
    drop(bench.core.stop(bench.now));
    for tag in [7, 9] {
        let completion = bench.consumer.poll().expect("both end");
        assert_eq!((completion.tag, completion.result), (tag, Err(TransportError::Stopped)));
    }
    assert!(bench.consumer.poll().is_none());
}

#[test]
fn a_consumer_may_vanish_with_commands_out() {
    let mut bench = Bench::new();
    let ox_id = bench.read();
    let waker = Arc::new(Waker::new().unwrap());
    drop(std::mem::replace(&mut bench.consumer, bench.core.attach_consumer(4, waker)));
    bench.advance(TICK);
    assert!(bench.core.consumers[0].is_some(), "its command is out");
    bench.respond(ox_id, &FcpRsp { flags: rsp_flags::UNDER, residual: 5000, ..FcpRsp::default() });
    bench.advance(TICK);
    assert!(bench.core.consumers[0].is_none());
}

proptest! {
    /// Whatever comes, commands stay whole: each byte of a buffer is what it was or what a valid frame brought.
    #[test]
    fn any_bytes_are_safe(frames in proptest::collection::vec(
        (proptest::collection::vec(any::<u8>(), 0..200), any::<bool>(), any::<[u8; 4]>()), 1..20)
    ) {
        let mut bench = Bench::new();
        let ox_id = bench.read();
        for (payload, damaged, noise) in frames {
            let mut header = target_header(RCtl(noise[0]), 0x88_0008 | u32::from(noise[1]) << 16, ox_id);
            header.parameter.set(u32::from(noise[2]) * 32);
            header.fc_type = [FcType::FCP, FcType::BLS, FcType::ELS][usize::from(noise[3]) % 3];
            let mut bytes = from_target(&header, &payload);
            if damaged {
                let at = usize::from(noise[2]) % bytes.len();
                bytes[at] ^= noise[1];
            }
            bench.inject(&bytes);
        }
        bench.advance(TIMEOUT);
        bench.advance(R_A_TOV);
        let completions = std::iter::from_fn(|| bench.consumer.poll()).count();
        prop_assert_eq!(completions, 1);
    }
}

/// The loop around the core, in both of its modes: work while it sleeps wakes it, and stopping ends what is out.
#[test]
fn a_thread_serves_commands_and_ends_them_when_it_stops() {
    use thread::{CoreThread, PollMode, ThreadConfig};
    for poll_mode in [PollMode::Busy, PollMode::Adaptive] {
        let (port, mut wire) = memory::pair(memory::MemoryConfig::default());
        let (waker, ours) = (Arc::new(Waker::new().unwrap()), Arc::new(Waker::new().unwrap()));
        let core = Core::new(port, &CoreConfig { number: 2 }, Arc::clone(&waker), Arc::clone(&ours));
        let thread = CoreThread::spawn(core, waker, ThreadConfig { cpu: None, poll_mode }).unwrap();
        thread.handle().control_link().send(ToCore::SetNexus(NEXUS, Box::new(nexus()))).unwrap();
        let mut consumer = thread.handle().attach_consumer(4, ours);
        std::thread::sleep(thread::SPIN * 3);
        let command = |tag| Command {
            tag,
            nexus: NEXUS,
            lun: Lun::default(),
            cdb: Cdb::new(&[0; 6]),
            transfer: Transfer::None,
            timeout: TIMEOUT,
        };
        consumer.submit(command(1)).unwrap();
        consumer.submit(command(2)).unwrap();
        consumer.kick();
        let mut frames = Vec::new();
        while frames.len() < 2 {
            wire.receive(&mut frames, 2);
        }
        let ox_id = u16::from_be_bytes([wire.data(&frames[0])[44], wire.data(&frames[0])[45]]);
        for frame in frames {
            wire.release(frame);
        }
        let mut iu = [0; 64];
        let len = FcpRsp::default().emit(&mut iu);
        let response = from_target(&target_header(RCtl::STATUS, 0x98_0000, ox_id), &iu[..len]);
        let mut frame = wire.allocate().unwrap();
        wire.buffer(&mut frame)[..response.len()].copy_from_slice(&response);
        wire.set_len(&mut frame, response.len());
        wire.send(frame);
        wire.flush().unwrap();
        consumer.wait(std::time::Duration::from_secs(10)).unwrap();
        let first = consumer.poll().expect("woken by its completion");
        assert!(first.tag == 1 && first.result.is_ok());
        assert_eq!(thread.handle().report().unwrap().counters.ended, 1);
        let handle = thread.handle();
        drop(thread.stop().unwrap());
        assert_eq!(consumer.poll().expect("ended by the stop").result, Err(TransportError::Stopped));
        assert!(handle.report().is_err() && consumer.is_stopped());
    }
}
