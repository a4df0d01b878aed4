//! Hosts that say what a test tells them to say: they know no protocol beyond the formats.

use crate::{Mode, San, SanConfig};
use datapath::port::memory::{MemoryConfig, MemoryPort, MemoryWire, wire};
use fc::time::{Duration, Instant};
use fc::wire::els::{ElsReply, ElsRequest, Login, ProcessLogin, ServicePage, fcp_parameters};
use fc::wire::ethernet::{EtherType, EthernetHeader, VlanTag};
use fc::wire::fcoe::{self, Eof, FcoeFrame, MAX_FRAME_LEN, Sof};
use fc::wire::fcp::{FcpCmnd, FcpCmndFixed, FcpRsp, FcpXferRdy, Lun, RDDATA, TaskManagement, WRDATA};
use fc::wire::fip::{Descriptor, Els, ElsKind, FipFrame, Flags, Operation};
use fc::wire::header::{FCtl, FcHeader, FcType, RCtl, UNASSIGNED_XID};
use fc::wire::scsi::{AdditionalSense, Sense, SenseKey};
use fc::wire::{FcId, MacAddr, Wwn};

/// The first target of [`SanConfig::default`].
pub(super) const TARGET: FcId = FcId::from_u32(0x01_0101);

/// A SAN, its wire and the time.
pub(super) struct Net {
    pub(super) san: San<MemoryPort>,
    pub(super) wire: MemoryWire,
    pub(super) now: Instant,
    pub(super) config: SanConfig,
    pub(super) tag: Option<VlanTag>,
}

/// A frame that the SAN sent.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) ethernet: EthernetHeader,
    pub(super) len: usize,
    pub(super) what: What,
}

#[derive(Clone, Debug)]
pub(super) enum What {
    Fip(FipFrame),
    Fc(FcFrame),
}

#[derive(Clone, Debug)]
pub(super) struct FcFrame {
    pub(super) header: FcHeader,
    pub(super) payload: Vec<u8>,
}

/// An ENode with its VN_Port.
#[derive(Clone, Copy, Debug)]
pub(super) struct Host {
    pub(super) enode: MacAddr,
    pub(super) wwpn: Wwn,
    pub(super) mac: MacAddr,
    pub(super) id: FcId,
}

/// How a command ended, and what came with it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Done {
    pub(super) status: u8,
    pub(super) sense: Option<Sense>,
    /// More (above 0) or less than FCP_DL.
    pub(super) residual: i64,
    /// RSP_CODE.
    pub(super) code: Option<u8>,
    pub(super) data: Vec<u8>,
}

impl Done {
    pub(super) fn key(&self) -> Option<(SenseKey, AdditionalSense)> {
        self.sense.map(|sense| (sense.key, sense.additional))
    }
}

impl Net {
    pub(super) fn new(config: &SanConfig) -> Self {
        Self::with_memory(config, MemoryConfig::default())
    }

    pub(super) fn with_memory(config: &SanConfig, memory: MemoryConfig) -> Self {
        Self::with_port(config, wire(memory))
    }

    pub(super) fn with_mtu(config: &SanConfig, mtu: u32) -> Self {
        let (port, wire) = wire(MemoryConfig::default());
        Self::with_port(config, (port.with_mtu(mtu), wire))
    }

    fn with_port(config: &SanConfig, (port, wire): (MemoryPort, MemoryWire)) -> Self {
        let tag = config.vlan.map(|id| VlanTag::new(id, 3));
        let san = San::new(port, config).unwrap();
        let mut net = Self { san, wire, now: Instant::ZERO, config: config.clone(), tag };
        net.run();
        net
    }

    /// Small disks, so that tests are quick.
    pub(super) fn small() -> SanConfig {
        let mut config = SanConfig::default();
        config.targets[0].luns[0].size_bytes = 1 << 20;
        config
    }

    pub(super) fn wait(&mut self, duration: Duration) {
        self.now = self.now + duration;
    }

    /// Steps until there is nothing to do; gives what was sent.
    pub(super) fn run(&mut self) -> Vec<Seen> {
        let mut seen = Vec::new();
        for _ in 0..100_000 {
            let did_something = self.san.step(self.now);
            while let Some(bytes) = self.wire.pop() {
                seen.push(look(&bytes));
            }
            if !did_something {
                return seen;
            }
        }
        panic!("it never rests");
    }

    /// The FC frames only.
    pub(super) fn run_fc(&mut self) -> Vec<FcFrame> {
        let fc = |seen: Seen| match seen.what {
            What::Fc(frame) => Some(frame),
            What::Fip(_) => None,
        };
        self.run().into_iter().filter_map(fc).collect()
    }

    pub(super) fn push_fip(&mut self, source: MacAddr, destination: MacAddr, frame: &FipFrame) {
        assert!(self.wire.push(&frame.to_ethernet(destination, source, self.tag)));
    }

    pub(super) fn push_fc(&mut self, source: MacAddr, header: &FcHeader, payload: &[u8]) {
        let destination = match self.config.mode {
            Mode::Fabric => self.config.fcf.mac,
            Mode::Vn2vn => MacAddr::fabric_provided(fcoe::VN2VN_FC_MAP, header.d_id),
        };
        let ethernet = EthernetHeader { destination, source, vlan: self.tag, ethertype: EtherType::FCOE };
        let mut frame = [0; MAX_FRAME_LEN];
        let sof = if header.seq_cnt.get() == 0 { Sof::I3 } else { Sof::N3 };
        let eof = if header.f_ctl.has(FCtl::END_SEQUENCE) { Eof::T } else { Eof::N };
        let len = fcoe::emit(&mut frame, &ethernet, sof, header, payload, eof);
        assert!(self.wire.push(&frame[..len]));
    }

    /// Sends a FIP link service and gives the one FIP frame that comes back.
    pub(super) fn link_service(
        &mut self,
        source: MacAddr,
        kind: ElsKind,
        s_id: FcId,
        request: &ElsRequest,
    ) -> FipFrame {
        self.link_service_by(source, (Flags::FPMA, MacAddr::ZERO), (kind, s_id), request)
    }

    /// The same, which asks for such a MAC address.
    pub(super) fn link_service_by(
        &mut self,
        source: MacAddr,
        (flags, mac): (Flags, MacAddr),
        (kind, s_id): (ElsKind, FcId),
        request: &ElsRequest,
    ) -> FipFrame {
        let header = FcHeader { fc_type: FcType::ELS, ..request_header(s_id, FcId::F_PORT, 0x11) };
        let header = FcHeader { r_ctl: RCtl::ELS_REQUEST, ..header };
        let els = Els { kind, header, payload: request.to_payload() };
        let descriptors = vec![Descriptor::Els(els), Descriptor::Mac(mac)];
        let frame = FipFrame::new(Operation::LINK_SERVICE_REQUEST, flags, descriptors);
        self.push_fip(source, self.config.fcf.mac, &frame);
        let is_reply = |frame: &FipFrame| frame.operation == Operation::LINK_SERVICE_REPLY;
        let fip = |seen: Seen| match seen.what {
            What::Fip(frame) if is_reply(&frame) => Some((seen.ethernet, frame)),
            _ => None,
        };
        let replies: Vec<_> = self.run().into_iter().filter_map(fip).collect();
        assert_eq!(replies.len(), 1);
        assert_eq!(replies[0].0.destination, source);
        replies[0].1.clone()
    }

    /// FLOGI by host number `number`.
    pub(super) fn log_in_fabric(&mut self, number: u8) -> Host {
        let enode = MacAddr([2, 0, 0, 0, 0, number]);
        self.log_in_as(enode, wwpn(number), ElsKind::Flogi)
    }

    pub(super) fn log_in_as(&mut self, enode: MacAddr, wwpn: Wwn, kind: ElsKind) -> Host {
        let login = Login::fabric(wwpn, wwpn, 2112);
        let request =
            if kind == ElsKind::Fdisc { ElsRequest::Fdisc(login) } else { ElsRequest::Flogi(login) };
        let reply = self.link_service(enode, kind, FcId::UNASSIGNED, &request);
        let (id, mac) = (reply.els().unwrap().header.d_id, reply.mac().unwrap());
        Host { enode, wwpn, mac, id }
    }

    /// Fabric login, PLOGI and PRLI to the first target, first unit attention taken.
    pub(super) fn log_in(&mut self, number: u8) -> Host {
        let host = self.log_in_fabric(number);
        self.log_in_target(&host, TARGET, 2112);
        let attention = self.command(&host, TARGET, &[0, 0, 0, 0, 0, 0], 0, Io::None);
        assert_eq!(attention.key(), Some((SenseKey::UNIT_ATTENTION, AdditionalSense::POWER_ON_OR_RESET)));
        host
    }

    pub(super) fn log_in_target(&mut self, host: &Host, target: FcId, receive_len: u16) {
        let login = Login::n_port(host.wwpn, host.wwpn, receive_len, Duration::from_secs(2));
        assert!(matches!(self.els(host, target, &ElsRequest::Plogi(login)), ElsReply::Login(_)));
        let page = ServicePage::fcp(fcp_parameters::INITIATOR | fcp_parameters::READ_XFER_RDY_DISABLED);
        let prli = ElsRequest::Prli(ProcessLogin::from(page));
        assert!(matches!(self.els(host, target, &prli), ElsReply::Process(_)));
    }

    /// An ELS and its reply.
    pub(super) fn els(&mut self, host: &Host, d_id: FcId, request: &ElsRequest) -> ElsReply {
        let header = FcHeader {
            r_ctl: RCtl::ELS_REQUEST,
            fc_type: FcType::ELS,
            ..request_header(host.id, d_id, 0x22)
        };
        self.push_fc(host.mac, &header, &request.to_payload());
        let is_reply =
            |frame: &FcFrame| frame.header.r_ctl == RCtl::ELS_REPLY && frame.header.d_id == host.id;
        let replies: Vec<_> = self.run_fc().into_iter().filter(is_reply).collect();
        assert_eq!(replies.len(), 1);
        let header = replies[0].header;
        assert_eq!((header.s_id, header.fc_type), (d_id, FcType::ELS));
        assert_eq!(header.f_ctl.get(), 0x99_0000);
        assert_eq!((header.ox_id.get(), header.rx_id.get()), (0x22, UNASSIGNED_XID));
        ElsReply::parse(request.command(), &replies[0].payload).unwrap()
    }

    /// A command to LUN 0 with FCP_DL = what `io` moves.
    pub(super) fn scsi(&mut self, host: &Host, cdb: &[u8], io: Io<'_>) -> Done {
        let len = match io {
            Io::None => 0,
            Io::In(len) => len,
            Io::Out(data) => data.len() as u32,
        };
        self.command(host, TARGET, cdb, len, io)
    }

    pub(super) fn command(
        &mut self,
        host: &Host,
        target: FcId,
        cdb: &[u8],
        data_len: u32,
        io: Io<'_>,
    ) -> Done {
        self.push_command(host, target, 0x33, &cmnd(0, cdb, data_len, io));
        self.finish(host, target, 0x33, io)
    }

    pub(super) fn push_command(&mut self, host: &Host, target: FcId, ox_id: u16, cmnd: &FcpCmnd) {
        let mut iu = vec![0; cmnd.len()];
        cmnd.emit(&mut iu);
        self.push_fc(host.mac, &request_header(host.id, target, ox_id), &iu);
    }

    /// Gives data when asked, takes data, until FCP_RSP comes.
    pub(super) fn finish(&mut self, host: &Host, target: FcId, ox_id: u16, io: Io<'_>) -> Done {
        let mut data = Vec::new();
        loop {
            let frames = self.run_fc();
            assert!(!frames.is_empty(), "no answer; {:?}", self.san.stats());
            for frame in frames {
                let header = frame.header;
                assert_eq!((header.d_id, header.s_id, header.ox_id.get()), (host.id, target, ox_id));
                match header.r_ctl {
                    RCtl::DATA => {
                        assert_eq!(header.parameter.get() as usize, data.len(), "in order");
                        data.extend(frame.payload);
                    }
                    RCtl::DATA_DESCRIPTOR => {
                        let Io::Out(all) = io else { panic!("XFER_RDY without data to send") };
                        self.answer_xfer_rdy(host, &frame, all);
                    }
                    RCtl::STATUS => return done(&frame, data),
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    /// Sends the burst that an XFER_RDY asks for.
    pub(super) fn answer_xfer_rdy(&mut self, host: &Host, frame: &FcFrame, all: &[u8]) {
        let xfer = FcpXferRdy::parse(&frame.payload).unwrap();
        let (start, len) = (xfer.offset.get() as usize, xfer.burst_len.get() as usize);
        let burst = &all[start..start + len];
        let count = burst.chunks(2048).len();
        for (at, piece) in burst.chunks(2048).enumerate() {
            let header =
                data_header(host, &frame.header, (start + at * 2048) as u32, at as u16, at + 1 == count);
            self.push_fc(host.mac, &header, piece);
        }
    }
}

/// What a command moves.
#[derive(Clone, Copy, Debug)]
pub(super) enum Io<'a> {
    None,
    In(u32),
    Out(&'a [u8]),
}

/// The header of a write's data frame, answering an XFER_RDY with the header `asked`.
pub(super) fn data_header(
    host: &Host,
    asked: &FcHeader,
    offset: u32,
    seq_cnt: u16,
    is_last: bool,
) -> FcHeader {
    let f_ctl = if is_last { 0x09_0008 } else { 0x00_0008 };
    FcHeader {
        r_ctl: RCtl::DATA,
        f_ctl: FCtl::new(f_ctl),
        seq_id: 1,
        seq_cnt: seq_cnt.into(),
        rx_id: asked.rx_id,
        parameter: offset.into(),
        ..request_header(host.id, asked.s_id, asked.ox_id.get())
    }
}

pub(super) fn cmnd(lun: u16, cdb: &[u8], data_len: u32, io: Io<'_>) -> FcpCmnd<'static> {
    let mut bytes = [0; 16];
    bytes[..cdb.len()].copy_from_slice(cdb);
    FcpCmnd {
        fixed: FcpCmndFixed {
            lun: Lun::single(lun).unwrap(),
            crn: 0,
            attribute: 0,
            task_management: TaskManagement::NONE,
            flags: match io {
                Io::None => 0,
                Io::In(_) => RDDATA,
                Io::Out(_) => WRDATA,
            },
            cdb: bytes,
        },
        additional_cdb: &[],
        data_len,
        bidirectional_read_len: None,
    }
}

pub(super) fn done(frame: &FcFrame, data: Vec<u8>) -> Done {
    assert_eq!(frame.header.f_ctl.get() & !3, 0x98_0000);
    let rsp = FcpRsp::parse(&frame.payload).unwrap();
    let residual = i64::from(rsp.residual);
    Done {
        status: rsp.status,
        sense: (!rsp.sense.is_empty()).then(|| Sense::parse(rsp.sense).unwrap()),
        residual: match rsp.flags & 0x0c {
            0 => 0,
            4 => residual,
            8 => -residual,
            flags => panic!("both residual flags: {flags:x}"),
        },
        code: rsp.code().map(|code| code.0),
        data,
    }
}

pub(super) fn wwpn(number: u8) -> Wwn {
    Wwn::from_mac(0x2000, MacAddr([2, 0, 0, 0, 0, number]))
}

/// The header of an FCP_CMND.
pub(super) fn request_header(s_id: FcId, d_id: FcId, ox_id: u16) -> FcHeader {
    FcHeader::request((RCtl::COMMAND, FcType::FCP), s_id, d_id, ox_id)
}

fn look(bytes: &[u8]) -> Seen {
    let (ethernet, payload) = EthernetHeader::parse(bytes).unwrap();
    let what = if ethernet.ethertype == EtherType::FIP {
        What::Fip(FipFrame::parse(payload).unwrap())
    } else {
        let frame = FcoeFrame::parse(payload).unwrap();
        frame.check_crc().unwrap();
        let (header, payload) = (*frame.header(), frame.payload().unwrap().to_vec());
        assert_eq!(frame.sof, if header.seq_cnt.get() == 0 { Sof::I3 } else { Sof::N3 });
        assert_eq!(frame.eof, if header.f_ctl.has(FCtl::END_SEQUENCE) { Eof::T } else { Eof::N });
        What::Fc(FcFrame { header, payload })
    };
    Seen { ethernet, len: bytes.len(), what }
}
