//! Any bytes, and any order of frames that make sense by themselves, in every state.

use super::*;
use crate::tests::host::Io;
use crate::tests::io::read_10;
use datapath::port::Port;
use fc::wire::els::{ProcessLogin, ServicePage, fcp_parameters};
use fc::wire::ethernet::EtherType;
use proptest::collection::vec as vec_of;
use proptest::prelude::*;
use std::collections::HashSet;

/// Something that happens.
#[derive(Clone, Debug)]
enum Step {
    Pass { ms: u64 },
    Say { host: Host, operation: u8, flags: u16, features: u8, to_all: bool },
    Els { host: Host, kind: ElsKind, is_reply: bool, ox_id: u16, command: u8, receive_len: u16 },
    Fc { host: Host, r_ctl: u8, fc_type: u8, f_ctl: u32, ox_id: u16, payload: Vec<u8> },
    Fip(Vec<u8>),
    Fcoe(Vec<u8>),
    Restart,
}

/// Few names and N_Port_IDs, among them those of the target, so that they meet.
fn any_host() -> impl Strategy<Value = Host> {
    let name = prop_oneof![
        3 => Just(wwpn(1)),
        3 => Just(Wwn::from_u64(0x5000_0000_0000_0001)),
        1 => Just(TARGET_NAME),
        1 => Just(wwpn(2)),
    ];
    (name, prop_oneof![3 => 1u32..3, 1 => Just(0x0101), 1 => Just(0)]).prop_map(|(name, id)| host(name, id))
}

fn any_step() -> impl Strategy<Value = Step> {
    let kind = prop_oneof![Just(ElsKind::Flogi), Just(ElsKind::Logo), Just(ElsKind::Fdisc)];
    let command = prop_oneof![Just(1u8), Just(2), Just(3), Just(4), Just(5), Just(0x20), any::<u8>()];
    let r_ctl =
        prop_oneof![Just(RCtl::ELS_REQUEST.0), Just(RCtl::ELS_REPLY.0), Just(RCtl::COMMAND.0), any::<u8>()];
    let fc_type = prop_oneof![Just(FcType::ELS.0), Just(FcType::FCP.0), any::<u8>()];
    let f_ctl = prop_oneof![Just(0x29_0000), Just(0x99_0000), any::<u32>()];
    let bytes = || vec_of(any::<u8>(), 0..200);
    let payload = prop_oneof![
        bytes(),
        (command.clone(), bytes()).prop_map(|(command, mut bytes)| {
            bytes.splice(..0, [command, 0, 0, 0]);
            bytes.resize(116, 0);
            bytes
        })
    ];
    prop_oneof![
        3 => prop_oneof![0u64..500, 0u64..25_000].prop_map(|ms| Step::Pass { ms }),
        6 => (any_host(), 1u8..6, prop_oneof![9 => Just(0u16), 1 => any::<u16>()], 0u8..4, any::<bool>()).prop_map(
            |(host, operation, flags, features, to_all)| Step::Say { host, operation, flags, features, to_all }
        ),
        4 => (any_host(), kind, any::<bool>(), 0u16..4, command, prop_oneof![Just(2112u16), any::<u16>()]).prop_map(
            |(host, kind, is_reply, ox_id, command, receive_len)| Step::Els {
                host, kind, is_reply, ox_id, command, receive_len
            }
        ),
        4 => (any_host(), r_ctl, fc_type, f_ctl, 0u16..4, payload).prop_map(
            |(host, r_ctl, fc_type, f_ctl, ox_id, payload)| Step::Fc { host, r_ctl, fc_type, f_ctl, ox_id, payload }
        ),
        1 => bytes().prop_map(Step::Fip),
        1 => bytes().prop_map(Step::Fcoe),
        1 => Just(Step::Restart),
    ]
}

impl Net {
    fn do_step(&mut self, step: Step) {
        match step {
            Step::Pass { ms } => {
                let end = self.now + Duration::from_millis(ms);
                while self.now < end {
                    self.now = self.san.poll_timeout().unwrap().clamp(self.now, end);
                    self.drain();
                }
            }
            Step::Say { host, operation, flags, features, to_all } => {
                let operation = Operation { code: 5, subcode: operation };
                let frame = FipFrame { flags: Flags(flags), ..announcement(&host, operation, features) };
                let destination = if to_all { MacAddr::ALL_VN2VN_ENODE } else { TARGET_ENODE };
                self.say_to(&host, destination, &frame);
            }
            Step::Els { host, kind, is_reply, ox_id, command, receive_len } => {
                let mut payload =
                    ElsRequest::Flogi(Login::fabric(host.wwpn, host.wwpn, receive_len)).to_payload();
                if command == ElsCommand::LOGO.0 {
                    payload = ElsRequest::Logo(Logo::new(host.id, host.wwpn)).to_payload();
                }
                payload[0] = command;
                let request = FcHeader::request((RCtl::ELS_REQUEST, FcType::ELS), host.id, TARGET, ox_id);
                let (operation, header) = if is_reply {
                    let f_ctl = FCtl::REPLY;
                    (Operation::LINK_SERVICE_REPLY, FcHeader { r_ctl: RCtl::ELS_REPLY, f_ctl, ..request })
                } else {
                    (Operation::LINK_SERVICE_REQUEST, request)
                };
                let descriptors =
                    vec![Descriptor::Els(Els { kind, header, payload }), Descriptor::Mac(host.mac)];
                self.say_to(&host, TARGET_ENODE, &FipFrame::new(operation, Flags::NONE, descriptors));
            }
            Step::Fc { host, r_ctl, fc_type, f_ctl, ox_id, payload } => {
                let header = FcHeader::request((RCtl(r_ctl), FcType(fc_type)), host.id, TARGET, ox_id);
                self.push_fc(host.mac, &FcHeader { f_ctl: FCtl::new(f_ctl), ..header }, &payload);
            }
            Step::Fip(bytes) => self.push_bytes(MacAddr::ALL_VN2VN_ENODE, EtherType::FIP, &bytes),
            Step::Fcoe(bytes) => self.push_bytes(vn_mac(TARGET), EtherType::FCOE, &bytes),
            Step::Restart => self.san.restart(self.now),
        }
        self.drain();
    }

    fn push_bytes(&mut self, destination: MacAddr, ethertype: EtherType, bytes: &[u8]) {
        let header = EthernetHeader { destination, source: low(1).mac, vlan: None, ethertype };
        let mut frame = vec![0; header.len() + bytes.len()];
        header.emit(&mut frame);
        frame[header.len()..].copy_from_slice(bytes);
        self.wire.push(&frame);
    }

    /// Whatever it says is not listened to.
    fn drain(&mut self) {
        while self.san.step(self.now) {}
        while self.wire.pop().is_some() {}
    }

    fn is_sound(&self) {
        let account = self.san.port().account();
        assert!(account.is_balanced() && account.held == 0);
        let macs: HashSet<_> = self.san.macs().iter().collect();
        assert_eq!(macs.len(), self.san.macs().len(), "no address twice");
        assert!(self.san.stats().logins <= 8, "a link for each of the hosts at most");
    }

    /// A neighbour that comes now logs in, wherever the target is.
    fn still_serves(&mut self) {
        let host = high(7);
        self.pass(Duration::from_secs(60));
        let asked = only_els(&self.arrive(&host)).clone();
        let target = asked.header.s_id;
        self.accept_flogi(&host, &asked);
        let login = Login::n_port(host.wwpn, host.wwpn, 2112, Duration::from_secs(2));
        assert!(matches!(self.els(&host, target, &ElsRequest::Plogi(login)), ElsReply::Login(_)));
        let page = ServicePage::fcp(fcp_parameters::INITIATOR);
        let prli = ElsRequest::Prli(ProcessLogin::from(page));
        assert!(matches!(self.els(&host, target, &prli), ElsReply::Process(_)));
        self.command(&host, target, &[0; 6], 0, Io::None);
        assert_eq!(self.command(&host, target, &read_10(0, 1), 512, Io::In(512)).data.len(), 512);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_steps(steps in vec_of(any_step(), 1..60)) {
        let mut net = Net::new(&config());
        for step in steps {
            net.do_step(step);
            net.is_sound();
        }
        net.still_serves();
    }
}
