//! Whatever comes in whatever order: no panic, no growth, no frame that isn't FIP.

use super::*;
use crate::wire::els::Logo;
use proptest::collection::vec as vec_of;
use proptest::prelude::*;
use std::vec::Vec;

/// What the world does.
#[derive(Clone, Debug)]
enum Step {
    /// A frame of one of a few ports, so that they meet again, with up to two bytes broken.
    Frame {
        port: u8,
        kind: u8,
        detail: u8,
        broken: Vec<(usize, u8)>,
    },
    /// Anything at all behind a header that passes.
    Noise(Vec<u8>),
    Wait(u64),
    /// The clock jumps and nobody calls until then.
    Sleep(u64),
    Link(bool),
    Login(u8),
    /// Nobody fetches events or frames from now on, or does again.
    Fetch(bool),
}

fn any_step() -> impl Strategy<Value = Step> {
    let broken = vec_of((0usize..100, any::<u8>()), 0..3);
    let frame = (0u8..5, 0u8..10, any::<u8>(), prop_oneof![3 => Just(vec![]), 1 => broken])
        .prop_map(|(port, kind, detail, broken)| Step::Frame { port, kind, detail, broken });
    prop_oneof![
        12 => frame,
        1 => vec_of(any::<u8>(), 0..80).prop_map(Step::Noise),
        4 => (0u64..3_000).prop_map(Step::Wait),
        1 => (0u64..60_000).prop_map(Step::Sleep),
        1 => prop_oneof![4 => Just(true), 1 => Just(false)].prop_map(Step::Link),
        1 => (0u8..5).prop_map(Step::Login),
        1 => any::<bool>().prop_map(Step::Fetch),
    ]
}

fn frame_of(port: u8, kind: u8, detail: u8) -> Vec<u8> {
    const OPERATIONS: [Operation; 5] = [
        Operation::PROBE_REQUEST,
        Operation::PROBE_REPLY,
        Operation::CLAIM_NOTIFICATION,
        Operation::CLAIM_RESPONSE,
        Operation::BEACON,
    ];
    // Every one of these is sometimes wrong, or another port's.
    let bit = |bit: u8| detail >> bit & 1 != 0;
    let mut port = TestPort::new(port);
    if bit(0) && bit(1) {
        port.id = OUR_ID;
    }
    if bit(2) && bit(3) {
        port.port_name = if bit(4) { Wwn::from_u64(detail.into()) } else { OUR_NAME };
    }
    if bit(5) && bit(6) {
        port.id = TestPort::new(detail % 5).id;
        port.max_fcoe_size = u16::from(detail) * 3;
    }
    port.vlan = (bit(6) && bit(7)).then(|| VlanTag::new(detail.into(), 3));
    match kind {
        0..=4 => {
            let flags = if bit(1) && bit(7) { Flags::RECORDED } else { Flags::NONE };
            let destination = if bit(4) { OUR_MAC } else { MacAddr::ALL_VN2VN_ENODE };
            let source = if kind == 4 { port.port_mac() } else { port.mac };
            port.frame(OPERATIONS[usize::from(kind)], flags).to_ethernet(destination, source, port.vlan)
        }
        5 => port.flogi(),
        6 => port.asks(ElsKind::Logo, &ElsRequest::Logo(Logo::new(port.id, port.port_name))),
        7 | 8 => {
            let operation =
                if kind == 7 { Operation::VLAN_REQUEST } else { Operation::VN2VN_VLAN_NOTIFICATION };
            let descriptors = vec![Descriptor::Mac(port.mac), Descriptor::Vlan(u16::from(detail % 3) * 2047)];
            FipFrame::new(operation, Flags::NONE, descriptors).to_ethernet(OUR_MAC, port.mac, None)
        }
        _ => port.says(Operation::BEACON),
    }
}

fn take(bench: &mut Bench, step: Step) {
    match step {
        Step::Frame { port, kind, detail, broken } => {
            let mut frame = frame_of(port, kind, detail);
            for (at, value) in broken {
                if let Some(byte) = frame.get_mut(at) {
                    *byte = value;
                }
            }
            bench.receive(&frame);
        }
        Step::Noise(payload) => {
            let source = TestPort::new(0).mac;
            let ethertype = EtherType::FIP;
            let header = EthernetHeader { destination: OUR_MAC, source, vlan: None, ethertype };
            bench.enode.handle_frame(bench.now, &header, &payload);
        }
        Step::Wait(millis) => {
            let end = bench.now + Duration::from_millis(millis);
            // As many deadlines as could come in that time, if each of them moves on.
            for _ in 0..2000 {
                let Some(at) = bench.enode.poll_timeout().filter(|&at| at <= end) else { break };
                bench.now = bench.now.max(at);
                bench.enode.handle_timeout(bench.now);
            }
            bench.now = end;
        }
        Step::Sleep(millis) => {
            bench.now = bench.now + Duration::from_millis(millis);
            bench.enode.handle_timeout(bench.now);
        }
        Step::Link(true) => bench.enode.link_up(bench.now),
        Step::Link(false) => bench.enode.link_down(),
        Step::Login(port) => {
            let d_id = TestPort::new(port).id;
            let header = FcHeader::request((RCtl::ELS_REQUEST, FcType::ELS), OUR_ID, d_id, 7);
            let _ = bench.enode.send_els(ElsKind::Flogi, header, &[4, 0, 0, 0], MacAddr::ZERO);
        }
        Step::Fetch(_) => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_input_is_safe_and_bounded(
        steps in vec_of(any_step(), 0..250),
        discover in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let vlan = if discover { VlanChoice::Discover } else { VlanChoice::Untagged };
        let mut bench = Bench::up(Config { seed, ..config(vlan) });
        let mut fetch = true;
        for step in steps {
            if let Step::Fetch(on) = step {
                fetch = on;
            }
            let commands = bench.enode.events.len();
            take(&mut bench, step);
            prop_assert!(bench.enode.neighbours().len() <= MAX_NEIGHBOURS);
            prop_assert!(bench.enode.transmit.len() <= MAX_TRANSMIT);
            // A command may add a few where the world may not.
            prop_assert!(bench.enode.events.len() <= commands.max(MAX_EVENTS) + 8);
            let has_id = matches!(bench.enode.phase(), Phase::Claiming | Phase::Claimed);
            prop_assert_eq!(bench.id().is_some(), has_id);
            prop_assert_eq!(bench.enode.poll_timeout().is_none(), bench.enode.phase() == Phase::LinkDown);
            if fetch {
                bench.sent();
                bench.events();
            }
        }
    }

    /// What the layers above are told makes sense: whoever is told to be gone was told to be there, and nobody is there
    /// without an N_Port_ID.
    #[test]
    fn events_tell_a_story(steps in vec_of(any_step(), 0..250), seed in any::<u64>()) {
        let mut bench = Bench::up(Config { seed, ..config(VlanChoice::Untagged) });
        let (mut has_id, mut known) = (false, Vec::new());
        for step in steps {
            take(&mut bench, step);
            bench.sent();
            for event in bench.events() {
                match event {
                    Event::VlanDiscoveryUnanswered | Event::VlanChosen { .. } => {}
                    Event::Claimed(_) => prop_assert!(!core::mem::replace(&mut has_id, true)),
                    Event::Released { .. } => {
                        prop_assert!(core::mem::replace(&mut has_id, false));
                        known.clear();
                    }
                    Event::NeighbourUp(neighbour) => {
                        prop_assert!(has_id && neighbour.max_payload_len().is_some());
                        known.push(neighbour.port.fc_id);
                    }
                    Event::ElsRequest { from, .. } => {
                        prop_assert!(has_id && from.max_payload_len().is_some());
                        known.push(from.port.fc_id);
                    }
                    Event::NeighbourGone { id, .. } => {
                        prop_assert!(has_id && known.contains(&id));
                        known.retain(|&other| other != id);
                    }
                    Event::ElsReply(_) => prop_assert!(has_id),
                }
            }
        }
    }
}
