//! Whatever comes in whatever order: no panic, no growth, no frame that isn't FIP.

use super::*;
use proptest::collection::vec as vec_of;
use proptest::prelude::*;

/// What the world does.
#[derive(Clone, Debug)]
enum Step {
    /// A frame of one of a few FCFs, so that they meet again, with up to two bytes broken.
    Frame {
        fcf: u8,
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
    AddPort(u8),
    RemovePort(u8),
    Login,
    LoginFailed,
    /// Nobody fetches events or frames from now on, or does again.
    Fetch(bool),
}

fn any_step() -> impl Strategy<Value = Step> {
    let broken = vec_of((0usize..100, any::<u8>()), 0..3);
    let frame = (0u8..4, 0u8..8, any::<u8>(), prop_oneof![3 => Just(vec![]), 1 => broken])
        .prop_map(|(fcf, kind, detail, broken)| Step::Frame { fcf, kind, detail, broken });
    prop_oneof![
        12 => frame,
        1 => vec_of(any::<u8>(), 0..80).prop_map(Step::Noise),
        4 => (0u64..10_000).prop_map(Step::Wait),
        1 => (0u64..400_000).prop_map(Step::Sleep),
        1 => prop_oneof![4 => Just(true), 1 => Just(false)].prop_map(Step::Link),
        1 => (0u8..4).prop_map(Step::AddPort),
        1 => (0u8..4).prop_map(Step::RemovePort),
        1 => Just(Step::Login),
        1 => Just(Step::LoginFailed),
        1 => any::<bool>().prop_map(Step::Fetch),
    ]
}

fn frame_of(fcf: u8, kind: u8, detail: u8) -> Vec<u8> {
    let number = fcf;
    let mut fcf = TestFcf { priority: fcf, ..TestFcf::new(fcf) };
    // Every one of these is sometimes wrong.
    let bit = |bit: u8| detail >> bit & 1 != 0;
    if bit(0) && bit(1) {
        fcf.flags = Flags(u16::from(detail) << 8 | u16::from(detail));
    }
    if bit(2) && bit(3) {
        fcf.fka = FkaAdvPeriod { no_keep_alives: bit(4), period_ms: u32::from(detail) * 100 };
    }
    if bit(5) && bit(6) {
        fcf.name = Wwn::from_u64(detail.into());
        fcf.solicited_len = 100;
    }
    fcf.vlan = (bit(6) && bit(7)).then(|| VlanTag::new(detail.into(), 3));
    let port = vn_port(detail % 4);
    match kind {
        0 => fcf.multicast(),
        1..=3 => fcf.solicited(),
        4 => fcf.notification(&[u16::from(detail % 3), 4095, 1000 + u16::from(number)]),
        5 => fcf.frame(ENODE, &fcf.clear(&[])),
        6 => fcf.frame(ENODE, &fcf.clear(&[port])),
        _ => fcf.reply(ElsKind::Flogi, detail % 4, port.fc_id, &[port.mac]),
    }
}

fn take(bench: &mut Bench, step: Step) {
    match step {
        Step::Frame { fcf, kind, detail, broken } => {
            let mut frame = frame_of(fcf, kind, detail);
            for (at, value) in broken {
                if let Some(byte) = frame.get_mut(at) {
                    *byte = value;
                }
            }
            bench.receive(&frame);
        }
        Step::Noise(payload) => {
            let source = TestFcf::new(0).mac;
            let header = EthernetHeader { destination: ENODE, source, vlan: None, ethertype: EtherType::FIP };
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
        Step::AddPort(number) => {
            let _ = bench.enode.add_vn_port(bench.now, vn_port(number));
        }
        Step::RemovePort(number) => bench.enode.remove_vn_port(vn_port(number).port_name),
        Step::Login => {
            let header = els_header(FcId::F_PORT, FcId::UNASSIGNED);
            let _ = bench.enode.send_els(ElsKind::Flogi, header, &[4, 0, 0, 0], MacAddr::ZERO);
        }
        Step::LoginFailed => bench.enode.login_failed(bench.now),
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
            prop_assert!(bench.enode.fcfs().len() <= MAX_FCFS);
            prop_assert!(bench.enode.transmit.len() <= MAX_TRANSMIT);
            // A command may add a few where the world may not.
            prop_assert!(bench.enode.events.len() <= commands.max(MAX_EVENTS) + 4);
            prop_assert_eq!(bench.enode.selected().is_some(), bench.enode.phase() == Phase::Linked);
            prop_assert_eq!(bench.enode.poll_timeout().is_none(), bench.enode.phase() == Phase::LinkDown);
            if fetch {
                bench.sent();
                bench.events();
            }
        }
    }

    /// Whatever happened before: once the world is well again, the ENode gets its link.
    #[test]
    fn a_good_fcf_is_always_found_in_the_end(steps in vec_of(any_step(), 0..100), seed in any::<u64>()) {
        let mut bench = Bench::up(Config { seed, ..config(VlanChoice::Discover) });
        for step in steps {
            take(&mut bench, step);
            bench.sent();
            bench.events();
        }
        if bench.enode.phase() == Phase::LinkDown {
            bench.enode.link_up(bench.now);
        }
        let good = TestFcf::new(200);
        // Forged FCFs live on for up to 225 s, and unlucky VLANs take half a minute each.
        let mut stable = Duration::ZERO;
        for _ in 0..600 {
            for sent in bench.wait(SECOND) {
                let mut fcf = good;
                fcf.vlan = sent.ethernet.vlan;
                let is_asked = [MacAddr::ALL_FCF, good.mac].contains(&sent.ethernet.destination);
                match sent.fip.operation {
                    Operation::VLAN_REQUEST => bench.receive(&good.notification(&[VLAN])),
                    Operation::SOLICITATION if is_asked => bench.receive(&fcf.solicited()),
                    _ => {}
                }
            }
            let fcf = TestFcf { vlan: bench.enode.vlan(), ..good };
            bench.receive(&fcf.multicast());
            bench.events();
            stable = if bench.selected() == Some(good.mac) { stable + SECOND } else { Duration::ZERO };
        }
        prop_assert!(stable > SECOND * 60, "{:?} {:?}", bench.enode.phase(), bench.enode.fcfs());
    }
}
