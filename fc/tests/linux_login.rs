//! A VN_Port logs in by the replies that the Linux kernel's initiator got in a capture, and asks in the same words.

mod common;

use common::golden_frames;
use fc::exchange::OxIdRange;
use fc::frame::FcFrame;
use fc::time::Instant;
use fc::vn_port::{Event, Identity, LoginKind, Outgoing, Phase, Via, VnPort};
use fc::wire::ct::{FEATURE_INITIATOR, FEATURE_TARGET};
use fc::wire::ethernet::{EtherType, EthernetHeader};
use fc::wire::fcoe::FcoeFrame;
use fc::wire::fip::{ElsKind, FipFrame};
use fc::wire::header::{FCtl, FcType};
use fc::wire::{FcId, MacAddr, Wwn};

const CAPTURE: &str = "f1-fabric-login-and-io.pcap";
/// The N_Port_ID of the host that logs in first.
const ID: FcId = FcId([1, 1, 1]);
const SYMBOLIC_NAME: &[u8] = b"fcoe v0.1 over eth0";
/// Where an RFF_ID has the features.
const FEATURES_OFFSET: usize = 22;

/// FLOGI, PLOGI to the name server, five registrations, SCR, GPN_FT.
const EXCHANGES: usize = 9;

/// A frame, and the MAC address that FIP carries beside it.
type Frame = (FcFrame, Option<MacAddr>);

/// The first host's frames and the fabric's to it, outside of FCP.
fn conversation() -> Vec<Frame> {
    let frame = |bytes: &[u8]| {
        let (ethernet, payload) = EthernetHeader::parse(bytes).unwrap();
        if ethernet.ethertype == EtherType::FIP {
            let fip = FipFrame::parse(payload).unwrap();
            let els = fip.els().ok().filter(|els| els.kind == ElsKind::Flogi)?;
            return Some((FcFrame { header: els.header, payload: els.payload.clone() }, fip.mac().ok()));
        }
        let frame = FcoeFrame::parse(payload).unwrap();
        Some((FcFrame { header: *frame.header(), payload: frame.payload().unwrap().to_vec() }, None))
    };
    let is_first_host_s = |(frame, _): &Frame| {
        let addresses = [frame.header.s_id, frame.header.d_id];
        let is_flogi = addresses == [FcId::UNASSIGNED, FcId::F_PORT];
        frame.header.fc_type != FcType::FCP && (is_flogi || addresses.contains(&ID))
    };
    golden_frames()
        .iter()
        .filter(|(capture, ..)| capture == CAPTURE)
        .filter_map(|(_, _, bytes)| frame(bytes))
        .filter(is_first_host_s)
        .collect()
}

#[test]
fn a_login_asks_in_the_words_of_linux() {
    let is_reply = |(frame, _): &Frame| frame.header.f_ctl.has(FCtl::EXCHANGE_RESPONDER);
    let (replies, requests): (Vec<_>, Vec<_>) = conversation().into_iter().partition(is_reply);
    let identity = Identity {
        port_name: Wwn::from_u64(0x2000_5254_00fc_0006),
        node_name: Wwn::from_u64(0x1000_5254_00fc_0006),
        symbolic_port_name: SYMBOLIC_NAME.to_vec(),
        symbolic_node_name: SYMBOLIC_NAME.to_vec(),
        max_payload_len: 2112,
        login: LoginKind::Flogi,
        reconnect_delay: fc::vn_port::DEFAULT_RECONNECT_DELAY,
    };
    let mut port = VnPort::new(identity, OxIdRange::new(7, 7));
    let now = Instant::ZERO;
    port.start(now);
    for ((linux, _), (reply, granted_mac)) in requests.iter().zip(&replies).take(EXCHANGES) {
        let Outgoing { via, frame } = port.poll_transmit().expect("a request");
        let mut linux = linux.clone();
        // The captured host is a target as well, and has its own OX_IDs.
        if let Some(features) = linux.payload.get_mut(FEATURES_OFFSET)
            && *features == FEATURE_INITIATOR | FEATURE_TARGET
        {
            *features = FEATURE_INITIATOR;
        }
        linux.header.ox_id = frame.header.ox_id;
        assert_eq!(frame, linux);
        let mut reply = reply.clone();
        reply.header.ox_id = frame.header.ox_id;
        match via {
            Via::Fcoe => port.handle_frame(now, &reply),
            Via::Fip { .. } => port.handle_fip_reply(now, &reply, *granted_mac),
        }
    }
    assert_eq!(port.phase(), Phase::Online);
    let Some(Event::LoggedIn(session)) = port.poll_event() else { panic!("not logged in") };
    assert_eq!((session.fc_id, session.mac.fc_id()), (ID, ID));
    assert_eq!(port.poll_event(), Some(Event::Online));
    assert_eq!(port.remote_ports().count(), 0, "the list has the host itself only");
}
