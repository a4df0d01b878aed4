//! A whole VN2VN port in the place of each of the Linux kernel's in a capture: it hears what the kernel's heard, and
//! says what the kernel's said.

mod common;
#[path = "common/vn2vn_host.rs"]
mod vn2vn_host;

use common::golden_frames;
use fc::fip::VlanChoice;
use fc::frame::FcFrame;
use fc::time::Instant;
use fc::vn2vn::Config;
use fc::wire::ct::FEATURE_INITIATOR;
use fc::wire::els::ElsCommand;
use fc::wire::ethernet::{EtherType, EthernetHeader};
use fc::wire::fcoe::FcoeFrame;
use fc::wire::fip::{Descriptor, Els, FipFrame, Operation};
use fc::wire::header::{FcHeader, FcType, RCtl};
use fc::wire::{FcId, MacAddr, Wwn};
use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;
use vn2vn_host::{Host, fcoe_frame};

/// A host and what it has to say.
struct Port {
    host: Host,
    now: Instant,
    frames: VecDeque<Vec<u8>>,
}

impl Port {
    /// Its link has just come up.
    fn new(config: Config) -> Self {
        let mut port = Self { host: Host::new(config), now: Instant::ZERO, frames: VecDeque::new() };
        port.host.enode.link_up(port.now);
        port.settle();
        port
    }

    fn receive(&mut self, bytes: &[u8]) {
        self.host.receive(self.now, bytes);
        self.settle();
    }

    /// The next frame, as soon as it comes.
    fn next(&mut self) -> Vec<u8> {
        while self.frames.is_empty() {
            self.now = self.now.max(self.host.poll_timeout().expect("there is more to come"));
            self.host.handle_timeout(self.now);
            self.settle();
        }
        self.frames.pop_front().expect("just seen")
    }

    fn settle(&mut self) {
        self.frames.extend(self.host.settle(self.now));
    }
}

/// The same frame with an FC frame in it that `change` has changed, if it carries one.
fn with_fc_frame(bytes: &[u8], change: impl FnOnce(&mut FcHeader, &mut Vec<u8>)) -> Vec<u8> {
    let (ethernet, payload) = EthernetHeader::parse(bytes).unwrap();
    if ethernet.ethertype == EtherType::FCOE {
        let frame = FcoeFrame::parse(payload).unwrap();
        let mut frame = FcFrame { header: *frame.header(), payload: frame.payload().unwrap().to_vec() };
        change(&mut frame.header, &mut frame.payload);
        return fcoe_frame(&frame);
    }
    let mut frame = FipFrame::parse(payload).unwrap();
    for descriptor in &mut frame.descriptors {
        if let Descriptor::Els(Els { header, payload, .. }) = descriptor {
            change(header, payload);
            return frame.to_ethernet(ethernet.destination, ethernet.source, ethernet.vlan);
        }
    }
    bytes.to_vec()
}

/// Which of our OX_IDs stands for the kernel's.
#[derive(Default)]
struct OxIds(BTreeMap<u16, u16>);

impl OxIds {
    /// A frame of the peer's, with our OX_ID where it answers.
    fn heard(&self, bytes: &[u8]) -> Vec<u8> {
        with_fc_frame(bytes, |header, _| {
            if header.r_ctl == RCtl::ELS_REPLY {
                header.ox_id = self.0[&header.ox_id.get()].into();
            }
        })
    }

    /// A frame of the kernel's as a port says it that is an initiator only, and knows no time-outs but the standard's.
    fn said(&mut self, linux: &[u8], ours: &[u8]) -> Vec<u8> {
        let mut our_frame = None;
        with_fc_frame(ours, |header, payload| our_frame = Some((*header, payload.clone())));
        let said = with_fc_frame(linux, |header, payload| {
            let Some((our_header, our_payload)) = our_frame else { return };
            let linux_id = header.ox_id.get();
            match ElsCommand(payload[0]) {
                ElsCommand::LS_ACC if ACCEPT_LENS.contains(&payload.len()) => *payload = our_payload,
                ElsCommand::LS_ACC => {}
                _ => {
                    self.0.insert(linux_id, our_header.ox_id.get());
                    header.ox_id = our_header.ox_id;
                }
            }
        });
        as_an_initiator(said)
    }
}

/// An LS_ACC to PRLI, and one to RTV: bytes.
const ACCEPT_LENS: [usize; 2] = [20, 16];

/// The kernel's are targets, too: where a claim says so.
fn as_an_initiator(bytes: Vec<u8>) -> Vec<u8> {
    let (ethernet, payload) = EthernetHeader::parse(&bytes).unwrap();
    if ethernet.ethertype != EtherType::FIP {
        return bytes;
    }
    let mut frame = FipFrame::parse(payload).unwrap();
    for descriptor in &mut frame.descriptors {
        if let Descriptor::Fc4Attributes(attributes) = descriptor {
            attributes.features = [0; 128];
            **attributes = attributes.with(FcType::FCP, FEATURE_INITIATOR);
        }
    }
    frame.to_ethernet(ethernet.destination, ethernet.source, ethernet.vlan)
}

const LOW: MacAddr = MacAddr([0x52, 0x54, 0, 0x0a, 0, 1]);
const HIGH: MacAddr = MacAddr([0x52, 0x54, 0, 0x0a, 0, 2]);
/// Its WWPN's low bits are those of `LOW`'s.
const RIVAL: MacAddr = MacAddr([0x52, 0x54, 0, 0x0b, 0, 1]);

fn config(mac: MacAddr) -> Config {
    let (node_name, port_name) = (Wwn::from_mac(0x1000, mac), Wwn::from_mac(0x2000, mac));
    Config { vlan: VlanChoice::Untagged, ..Config::new(mac, node_name, port_name) }
}

/// Lets a port hear and say what the one of its MAC address did in these frames of a capture.
fn replay(config: Config, capture: &str, numbers: RangeInclusive<usize>) -> Port {
    let mut port = Port::new(config);
    let frames =
        golden_frames().into_iter().filter(|(name, number, _)| name == capture && numbers.contains(number));
    let mut ox_ids = OxIds::default();
    let mut said = 0;
    for (_, number, bytes) in frames {
        let source = EthernetHeader::parse(&bytes).unwrap().0.source;
        let own_mac = port.host.vn_port.session().map(|session| session.mac);
        if source == config.mac || Some(source) == own_mac {
            let ours = port.next();
            assert_eq!(ours, ox_ids.said(&bytes, &ours), "{capture}, frame {number}");
            said += 1;
        } else {
            port.receive(&ox_ids.heard(&bytes));
        }
    }
    assert!(said > 5, "{said} frames");
    port
}

fn logged_in(port: &Port) -> Vec<(FcId, Wwn)> {
    port.host.vn_port.remote_ports().map(|port| (port.id, port.port_name)).collect()
}

#[test]
fn both_sides_of_a_login_say_what_the_kernel_says() {
    let low = replay(config(LOW), "a1-login.pcap", 1..=23);
    assert_eq!(logged_in(&low), [(FcId([0, 0, 2]), Wwn::from_mac(0x2000, HIGH))]);
    let target = low.host.vn_port.targets().next().unwrap();
    assert_eq!((target.id, target.max_payload_len), (FcId([0, 0, 2]), 2112));
    // From here on, the kernel's asks as a target does.
    let high = replay(config(HIGH), "a1-login.pcap", 1..=16);
    assert_eq!(logged_in(&high), [(FcId([0, 0, 1]), Wwn::from_mac(0x2000, LOW))]);
}

#[test]
fn a_small_mtu_gives_small_frames() {
    let config = Config { max_fcoe_size: 1498, ..config(LOW) };
    let port = replay(config, "m1-vn2vn-mtu1500.pcap", 1..=23);
    assert_eq!(port.host.vn_port.targets().next().unwrap().max_payload_len, 1452);
}

#[test]
fn the_holder_of_an_id_keeps_it() {
    let port = replay(config(RIVAL), "k1-vn2vn-collision.pcap", 1..=20);
    assert_eq!(port.host.enode.vn_port().unwrap().fc_id, FcId([0, 0, 1]));
    assert_eq!(logged_in(&port), [(FcId([0, 0xa2, 0x23]), Wwn::from_mac(0x2000, LOW))]);
}

fn is_probe_reply((capture, _, bytes): &(String, usize, Vec<u8>)) -> bool {
    let (ethernet, payload) = EthernetHeader::parse(bytes).unwrap();
    capture == "k1-vn2vn-collision.pcap"
        && ethernet.ethertype == EtherType::FIP
        && FipFrame::parse(payload).unwrap().operation == Operation::PROBE_REPLY
}

#[test]
fn whoever_comes_later_takes_another_id() {
    // The seed with which we draw the same number as the kernel did.
    let (_, _, reply) = golden_frames().into_iter().find(is_probe_reply).unwrap();
    let is_drawn = |seed: &u64| {
        let mut port = Port::new(Config { seed: *seed, ..config(LOW) });
        port.next();
        port.receive(&reply);
        let probe = port.next();
        let (_, probe) = EthernetHeader::parse(&probe).unwrap();
        FipFrame::parse(probe).unwrap().vx_port().unwrap().fc_id == FcId([0, 0xa2, 0x23])
    };
    let seed = (0..1 << 20).find(is_drawn).unwrap();
    let port = replay(Config { seed, ..config(LOW) }, "k1-vn2vn-collision.pcap", 6..=20);
    assert_eq!(logged_in(&port), [(FcId([0, 0, 1]), Wwn::from_mac(0x2000, RIVAL))]);
    assert_eq!(port.host.enode.counters().conflicts, 1);
}
