//! Targets without a switch, and neighbours that say what a test tells them to say.

mod claim;
mod garbage;
mod golden;
mod login;

use super::host::{FcFrame, Host, Net, Seen, What, wwpn};
use crate::{Mode, SanConfig};
use fc::time::{Duration, Instant};
use fc::wire::els::{ElsCommand, ElsReply, ElsRequest, Login, Logo, LsRjt};
use fc::wire::ethernet::EthernetHeader;
use fc::wire::fcoe::{MAX_LEN, VN2VN_FC_MAP};
use fc::wire::fip::{
    Descriptor, Els, ElsKind, Fc4Attributes, FipFrame, Flags, MAX_FCOE_SIZE, Operation, VxPort,
};
use fc::wire::header::{FCtl, FcHeader, FcType, RCtl, UNASSIGNED_XID};
use fc::wire::{FcId, MacAddr, Wwn};

/// The target of [`config`]: the low bits of its name.
const TARGET: FcId = FcId::from_u32(0x0101);
const TARGET_ENODE: MacAddr = MacAddr([2, 0xfc, 0xf0, 0, 1, 1]);
const TARGET_NAME: Wwn = Wwn::from_u64(0x2000_02fc_f000_0101);
/// FCP's features: an initiator, and a target as well.
const INITIATOR: u8 = 2;
const BOTH: u8 = 3;

/// A SAN with the default target, whose name is above those of [`low`] and below those of [`high`].
fn config() -> SanConfig {
    SanConfig { mode: Mode::Vn2vn, ..Net::small() }
}

/// A neighbour's host, by its port name.
fn host(name: Wwn, id: u32) -> Host {
    let [_, _, a, b, c, d, e, f] = name.0;
    let id = FcId::from_u32(id);
    Host { enode: MacAddr([a, b, c, d, e, f]), wwpn: name, mac: vn_mac(id), id }
}

fn low(number: u8) -> Host {
    host(wwpn(number), number.into())
}

fn high(number: u8) -> Host {
    host(Wwn::from_u64(0x5000_0000_0000_0000 | u64::from(number)), number.into())
}

fn vn_mac(id: FcId) -> MacAddr {
    MacAddr::fabric_provided(VN2VN_FC_MAP, id)
}

fn announcement(host: &Host, operation: Operation, features: u8) -> FipFrame {
    let port = VxPort { mac: host.mac, fc_id: host.id, port_name: host.wwpn };
    let mut descriptors =
        vec![Descriptor::Mac(host.enode), Descriptor::Name(host.wwpn), Descriptor::VxPort(port)];
    if matches!(operation, Operation::CLAIM_NOTIFICATION | Operation::CLAIM_RESPONSE) {
        let attributes = Fc4Attributes::NONE.with(FcType::FCP, features);
        descriptors.push(Descriptor::Fc4Attributes(Box::new(attributes)));
        descriptors.push(Descriptor::MaxFcoeSize(MAX_FCOE_SIZE));
    }
    FipFrame::new(operation, Flags::NONE, descriptors)
}

/// A FIP frame that the SAN sent, and when.
#[derive(Clone, Debug)]
struct Said {
    at: Instant,
    ethernet: EthernetHeader,
    len: usize,
    frame: FipFrame,
}

impl Said {
    fn operation(&self) -> Operation {
        self.frame.operation
    }
}

impl Net {
    /// A SAN whose targets are up, and whose next beacons are not soon.
    fn up(config: &SanConfig) -> Self {
        let mut net = Self::new(config);
        net.pass(Duration::from_secs(2));
        net
    }

    /// Lets time pass, and gives what the SAN sends in the meantime.
    fn pass_all(&mut self, time: Duration) -> Vec<(Instant, Seen)> {
        let end = self.now + time;
        let mut seen = Vec::new();
        while self.now < end {
            self.wait(Duration::from_millis(1));
            let now = self.now;
            seen.extend(self.run().into_iter().map(|frame| (now, frame)));
        }
        seen
    }

    /// The FIP frames of it.
    fn pass(&mut self, time: Duration) -> Vec<Said> {
        self.pass_all(time).into_iter().filter_map(fip).collect()
    }

    /// The FIP frames that are sent at once.
    fn run_fip(&mut self) -> Vec<Said> {
        let now = self.now;
        self.run().into_iter().filter_map(|seen| fip((now, seen))).collect()
    }

    fn say(&mut self, host: &Host, operation: Operation) {
        self.say_to(host, MacAddr::ALL_VN2VN_ENODE, &announcement(host, operation, INITIATOR));
    }

    fn say_to(&mut self, host: &Host, destination: MacAddr, frame: &FipFrame) {
        let source = if frame.operation == Operation::BEACON { host.mac } else { host.enode };
        self.push_fip(source, destination, frame);
    }

    /// Claims and shows itself, so that the targets send it their FLOGI; gives the FIP frames that it gets.
    fn arrive(&mut self, host: &Host) -> Vec<Said> {
        self.say(host, Operation::CLAIM_NOTIFICATION);
        let mut said = self.run_fip();
        self.say(host, Operation::BEACON);
        said.extend(self.run_fip());
        said
    }

    /// A link service by FIP to the first target; nothing comes at once but what is in the result.
    fn ask(&mut self, host: &Host, kind: ElsKind, request: &ElsRequest) -> Vec<Seen> {
        let header = FcHeader::request((RCtl::ELS_REQUEST, FcType::ELS), host.id, TARGET, 0x77);
        let els = Els { kind, header, payload: request.to_payload() };
        let descriptors = vec![Descriptor::Els(els), Descriptor::Mac(host.mac)];
        let frame = FipFrame::new(Operation::LINK_SERVICE_REQUEST, Flags::NONE, descriptors);
        self.say_to(host, TARGET_ENODE, &frame);
        self.run()
    }

    fn flogi(&mut self, host: &Host) -> Vec<Seen> {
        self.ask(host, ElsKind::Flogi, &ElsRequest::Flogi(Login::fabric(host.wwpn, host.wwpn, 2112)))
    }

    fn logo(&mut self, host: &Host) -> Vec<Seen> {
        self.ask(host, ElsKind::Logo, &ElsRequest::Logo(Logo::new(host.id, host.wwpn)))
    }

    /// Answers a FLOGI of the target; gives what the SAN sends then.
    fn answer_flogi(&mut self, host: &Host, asked: &Els, reply: &ElsReply) -> Vec<Seen> {
        let header = reply_to(&asked.header);
        let els = Els { kind: ElsKind::Flogi, header, payload: reply.to_payload() };
        let descriptors = vec![Descriptor::Els(els), Descriptor::Mac(host.mac)];
        let frame = FipFrame::new(Operation::LINK_SERVICE_REPLY, Flags::NONE, descriptors);
        self.say_to(host, TARGET_ENODE, &frame);
        self.run()
    }

    fn accept_flogi(&mut self, host: &Host, asked: &Els) -> Vec<Seen> {
        self.answer_flogi(host, asked, &ElsReply::Login(Login::fabric(host.wwpn, host.wwpn, 2112)))
    }

    /// Answers a PLOGI of the target.
    fn answer_plogi(&mut self, host: &Host, asked: &FcFrame, reply: &ElsReply) {
        self.push_fc(host.mac, &reply_to(&asked.header), &reply.to_payload());
        self.run();
    }

    fn accept_plogi(&mut self, host: &Host, asked: &FcFrame) {
        let login = Login::n_port(host.wwpn, host.wwpn, 2112, Duration::from_secs(2));
        self.answer_plogi(host, asked, &ElsReply::Login(login));
    }
}

fn fip((at, seen): (Instant, Seen)) -> Option<Said> {
    match seen.what {
        What::Fip(frame) => Some(Said { at, ethernet: seen.ethernet, len: seen.len, frame }),
        What::Fc(_) => None,
    }
}

/// The header of the reply to a request.
fn reply_to(request: &FcHeader) -> FcHeader {
    FcHeader {
        r_ctl: RCtl::ELS_REPLY,
        d_id: request.s_id,
        s_id: request.d_id,
        f_ctl: FCtl::REPLY,
        rx_id: UNASSIGNED_XID.into(),
        ..*request
    }
}

/// The only link service in these frames.
fn only_els(seen: &[Said]) -> &Els {
    let all: Vec<_> = seen.iter().filter_map(|said| said.frame.els().ok()).collect();
    let [els] = all[..] else { panic!("one link service: {seen:#?}") };
    els
}

/// The reply to a FLOGI or LOGO in these frames.
fn reply(seen: Vec<Seen>) -> ElsReply {
    let said: Vec<_> = seen.into_iter().filter_map(|seen| fip((Instant::ZERO, seen))).collect();
    let replies: Vec<_> =
        said.iter().filter(|said| said.operation() == Operation::LINK_SERVICE_REPLY).collect();
    let [reply] = replies[..] else { panic!("one reply: {said:#?}") };
    let els = reply.frame.els().unwrap();
    assert_eq!(reply.frame.mac().is_ok(), els.payload[0] == ElsCommand::LS_ACC.0, "an LS_RJT has no MAC");
    let command = if els.kind == ElsKind::Flogi { ElsCommand::FLOGI } else { ElsCommand::LOGO };
    ElsReply::parse(command, &els.payload).unwrap()
}

fn rejected(reply: ElsReply) -> LsRjt {
    let ElsReply::Reject(reject) = reply else { panic!("{reply:?}") };
    reject
}

/// The only PLOGI in these frames.
fn only_plogi(seen: &[Seen]) -> FcFrame {
    let plogi = |seen: &Seen| match &seen.what {
        What::Fc(frame) if frame.payload[0] == ElsCommand::PLOGI.0 => Some(frame.clone()),
        _ => None,
    };
    let all: Vec<_> = seen.iter().filter_map(plogi).collect();
    let [frame] = &all[..] else { panic!("one PLOGI: {seen:#?}") };
    frame.clone()
}
