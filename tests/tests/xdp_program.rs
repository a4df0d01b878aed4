//! What the XDP program does, frame by frame, run by the kernel (BPF_PROG_TEST_RUN) without an interface.
//!
//! `XFCOE_FRESH_XDP_OBJECT=OBJECT` runs all of it on that object as well as on the one kept in the repository.

use datapath::port::af_xdp::{AfXdpConfig, AfXdpPort};
use datapath::port::xdp::{AttachMode, XdpProgram};
use fc::wire::MacAddr;
use fc::wire::ethernet::{EtherType, EthernetHeader, VlanTag};
use libbpf_rs::{MapCore, MapFlags, Object, ObjectBuilder, ProgramInput};
use nix::net::if_::if_nametoindex;
use proptest::prelude::*;
use std::fs;
use std::os::fd::{AsFd, AsRawFd};
use tests::{have_root, in_network_namespace, ip, veth_pair};
use xdp_prog::Verdict::{self, Fcoe, Fip, ForeignMac, Malformed, NoSocket, Other};
use xdp_prog::{CONTROL_SLOT, SLOTS_PER_QUEUE, slot};

const XDP_PASS: u32 = 2;
const XDP_REDIRECT: u32 = 4;

const OURS: MacAddr = MacAddr([0x0e, 0xfc, 0x00, 0x01, 0x02, 0x03]);
const FOREIGN: MacAddr = MacAddr([0x0e, 0xfc, 0x00, 0x01, 0x02, 0x04]);

const VLAN: u16 = 0x8100;
const SERVICE_VLAN: u16 = 0x88a8;
const FCOE: u16 = 0x8906;
const FIP: u16 = 0x8914;
const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;

/// A frame to `destination` with these EtherTypes, a tag's control information after each but the last, and
/// payload up to the least that an Ethernet frame has, without FCS: that of an FCoE frame without FC payload.
fn frame(destination: MacAddr, ethertypes: &[u16], vlan: VlanTag) -> Vec<u8> {
    let mut frame = [destination.0, [2, 0, 0, 0, 0, 1]].concat();
    for (i, ethertype) in ethertypes.iter().enumerate() {
        if i > 0 {
            frame.extend(vlan.0.to_be_bytes());
        }
        frame.extend(ethertype.to_be_bytes());
    }
    frame.resize(60 + 4 * (ethertypes.len() - 1), 0);
    frame
}

/// Each kind of frame, whole, and what is to become of it when its queue has a socket.
fn table() -> Vec<(&'static str, Vec<u8>, Verdict)> {
    let vlan = VlanTag::new(100, 3);
    let priority_only = VlanTag::new(0, 3);
    let to_us = |types: &[u16]| frame(OURS, types, vlan);
    let mut wrong_d_id = to_us(&[FCOE]);
    // The D_ID is behind Ethernet header, FCoE header and R_CTL.
    wrong_d_id[14 + 14 + 1..][..3].copy_from_slice(&[0xff, 0xff, 0xff]);
    let mut whole_payload = to_us(&[VLAN, FCOE]);
    whole_payload.resize(2176, 0xa5);
    vec![
        ("FCoE to us", to_us(&[FCOE]), Fcoe),
        ("FCoE to us, tagged", to_us(&[VLAN, FCOE]), Fcoe),
        ("FCoE to us, tagged, with all the payload it can have", whole_payload, Fcoe),
        ("FCoE to us, tagged with a priority only", frame(OURS, &[VLAN, FCOE], priority_only), Fcoe),
        ("FCoE to us, for another N_Port: the poll core's business", wrong_d_id, Fcoe),
        ("FCoE to another", frame(FOREIGN, &[FCOE], vlan), ForeignMac),
        ("FCoE to another, tagged", frame(FOREIGN, &[VLAN, FCOE], vlan), ForeignMac),
        ("FCoE to All-FCoE-MACs", frame(MacAddr::ALL_FCOE, &[FCOE], vlan), ForeignMac),
        ("FCoE to everyone", frame(MacAddr([0xff; 6]), &[FCOE], vlan), ForeignMac),
        ("FIP to us", to_us(&[FIP]), Fip),
        ("FIP to another", frame(FOREIGN, &[FIP], vlan), Fip),
        ("FIP to All-ENode-MACs", frame(MacAddr::ALL_ENODE, &[FIP], vlan), Fip),
        ("FIP, tagged", frame(MacAddr::ALL_ENODE, &[VLAN, FIP], vlan), Fip),
        ("FIP, tagged with a priority only", frame(OURS, &[VLAN, FIP], priority_only), Fip),
        ("FCoE in two tags", to_us(&[VLAN, VLAN, FCOE]), Other),
        ("FIP in two tags", to_us(&[VLAN, VLAN, FIP]), Other),
        ("FCoE in a service tag", to_us(&[SERVICE_VLAN, FCOE]), Other),
        ("FCoE in a service tag and a tag", to_us(&[SERVICE_VLAN, VLAN, FCOE]), Other),
        ("FIP in a tag and a service tag", to_us(&[VLAN, SERVICE_VLAN, FIP]), Other),
        ("IPv4 to us", to_us(&[IPV4]), Other),
        ("IPv4 to us, tagged", to_us(&[VLAN, IPV4]), Other),
        ("ARP", frame(MacAddr([0xff; 6]), &[ARP], vlan), Other),
        ("802.3 with a length, not a type", to_us(&[46]), Other),
        ("FCoE's type, its bytes swapped", to_us(&[FCOE.swap_bytes()]), Other),
    ]
}

/// What is to become of any bytes when their queue has a socket, by the codec that the poll core uses.
fn expected(frame: &[u8]) -> Verdict {
    let Ok((header, payload)) = EthernetHeader::parse(frame) else { return Other };
    match header.ethertype {
        EtherType::FIP if payload.len() < 10 => Malformed,
        EtherType::FIP => Fip,
        EtherType::FCOE if header.destination != OURS => ForeignMac,
        EtherType::FCOE if payload.len() < 14 + 24 + 8 => Malformed,
        EtherType::FCOE => Fcoe,
        _ => Other,
    }
}

/// The program, loaded but at no interface, with [`OURS`] in its map.
struct Loaded {
    object: Object,
    name: String,
}

impl Loaded {
    /// The kept object and, if there is one, the fresh one.
    fn all() -> Vec<Self> {
        let mut objects = vec![("the kept object".to_owned(), xdp_prog::OBJECT.to_vec())];
        if let Some(path) = std::env::var_os("XFCOE_FRESH_XDP_OBJECT") {
            let bytes = fs::read(&path).expect("XFCOE_FRESH_XDP_OBJECT names an object");
            objects.push((path.display().to_string(), bytes));
        }
        objects
            .into_iter()
            .map(|(name, bytes)| {
                let object = ObjectBuilder::default().open_memory(&bytes).and_then(|object| object.load());
                let loaded =
                    Self { object: object.unwrap_or_else(|error| panic!("{name}: {error:#}")), name };
                loaded.map(xdp_prog::MACS, |map| map.update(&OURS.0, &[0], MapFlags::ANY).unwrap());
                loaded
            })
            .collect()
    }

    fn map<T>(&self, name: &str, with: impl FnOnce(&dyn MapCore) -> T) -> T {
        with(&self.object.maps().find(|map| map.name() == name).unwrap())
    }

    /// The socket is that of queue 0, for OX_IDs with any low bits.
    fn set_socket(&self, socket: impl AsFd) {
        for low_bits in 0..SLOTS_PER_QUEUE {
            self.set_slot(low_bits, &socket);
        }
    }

    fn set_slot(&self, low_bits: usize, socket: impl AsFd) {
        let (slot, fd) = (slot(0, low_bits).to_ne_bytes(), socket.as_fd().as_raw_fd().to_ne_bytes());
        self.map(xdp_prog::SOCKETS, |map| map.update(&slot, &fd, MapFlags::ANY).unwrap());
    }

    fn clear_slot(&self, low_bits: usize) {
        self.map(xdp_prog::SOCKETS, |map| map.delete(&slot(0, low_bits).to_ne_bytes()).unwrap());
    }

    fn run(&self, frame: &[u8]) -> libbpf_rs::Result<u32> {
        self.run_in(frame, None)
    }

    /// As if the frame had come by a queue of an interface, both numbers as `struct xdp_md` has them.
    fn run_in(&self, frame: &[u8], from: Option<(u32, u32)>) -> libbpf_rs::Result<u32> {
        let program = self.object.progs_mut().find(|program| program.name() == xdp_prog::PROGRAM).unwrap();
        let mut context = from.map(|(interface, queue)| {
            let [data, data_meta, egress] = [0; 3];
            [data, frame.len() as u32, data_meta, interface, queue, egress].map(u32::to_ne_bytes).concat()
        });
        let input =
            ProgramInput { data_in: Some(frame), context_in: context.as_deref_mut(), ..Default::default() };
        program.test_run(input).map(|output| output.return_value)
    }

    fn counters(&self) -> [u64; Verdict::ALL.len()] {
        Verdict::ALL.map(|verdict| {
            let key = (verdict as u32).to_ne_bytes();
            let per_cpu = self.map(xdp_prog::COUNTERS, |map| map.lookup_percpu(&key, MapFlags::ANY)).unwrap();
            per_cpu.unwrap().into_iter().map(|bytes| u64::from_ne_bytes(bytes.try_into().unwrap())).sum()
        })
    }

    /// Runs the program and checks what it says, and that it counted that once and nothing else.
    fn check(&self, what: &str, frame: &[u8], verdict: Verdict) {
        let what = format!("{}: {what}, {} bytes", self.name, frame.len());
        let mut counters = self.counters();
        counters[verdict as usize] += 1;
        let action = self.run(frame).unwrap();
        assert_eq!(self.counters(), counters, "{what}: counted as one of {:?}", Verdict::ALL);
        assert_eq!(action, if matches!(verdict, Fcoe | Fip) { XDP_REDIRECT } else { XDP_PASS }, "{what}");
    }
}

/// Runs `test` on each object, with a real socket in its map: the kernel takes nothing else there.
fn with_socket(test: impl Fn(&Loaded) + Send + Sync) {
    if !have_root() {
        return;
    }
    in_network_namespace(|| {
        veth_pair("xfcoe0", "xfcoe1", 2500);
        let socket = AfXdpPort::open(&AfXdpConfig::new("xfcoe0", 0)).unwrap();
        for loaded in Loaded::all() {
            loaded.set_socket(&socket);
            test(&loaded);
        }
    });
}

#[test]
fn every_kind_of_frame_goes_where_it_belongs() {
    with_socket(|loaded| {
        for (what, frame, verdict) in table() {
            assert_eq!(expected(&frame), verdict, "the test's own rules: {what}");
            loaded.check(what, &frame, verdict);
        }
    });
}

#[test]
fn without_a_socket_in_the_queue_all_goes_to_the_kernel() {
    if !have_root() {
        return;
    }
    for loaded in Loaded::all() {
        for (what, frame, verdict) in table() {
            loaded.check(what, &frame, if matches!(verdict, Fcoe | Fip) { NoSocket } else { verdict });
        }
    }
}

#[test]
fn a_frame_goes_to_the_socket_of_its_own_queue() {
    if !have_root() {
        return;
    }
    in_network_namespace(|| {
        ip(&["link", "add", "xfcoe0", "numrxqueues", "2", "type", "veth", "peer", "name", "xfcoe1"]);
        ip(&["link", "set", "xfcoe0", "up"]);
        // Only with native XDP has the interface queues that the kernel runs the program for.
        let _attached = XdpProgram::attach("xfcoe0", AttachMode::Native).unwrap();
        let socket = AfXdpPort::open(&AfXdpConfig::new("xfcoe0", 0)).unwrap();
        let interface = if_nametoindex("xfcoe0").unwrap();
        let frame = frame(OURS, &[FCOE], VlanTag(0));
        for loaded in Loaded::all() {
            loaded.set_socket(&socket);
            for (queue, action) in [(0, XDP_REDIRECT), (1, XDP_PASS)] {
                assert_eq!(loaded.run_in(&frame, Some((interface, queue))).unwrap(), action, "queue {queue}");
            }
        }
    });
}

#[test]
fn a_frame_goes_to_the_slot_of_its_ox_id_and_fip_to_controls() {
    if !have_root() {
        return;
    }
    in_network_namespace(|| {
        veth_pair("xfcoe0", "xfcoe1", 2500);
        let socket = AfXdpPort::open(&AfXdpConfig::new("xfcoe0", 0)).unwrap();
        let fip = frame(OURS, &[FIP], VlanTag(0));
        for loaded in Loaded::all() {
            for low_bits in 0..SLOTS_PER_QUEUE {
                loaded.set_slot(low_bits, &socket);
                for ox_id in (0..=u16::MAX).step_by(0x0fff).chain(0..8) {
                    let is_its = usize::from(ox_id) % 8 == low_bits;
                    for types in [&[FCOE][..], &[VLAN, FCOE]] {
                        let mut frame = frame(OURS, types, VlanTag(100));
                        let header_len = 14 + 4 * (types.len() - 1) + 14;
                        frame[header_len + 16..][..2].copy_from_slice(&ox_id.to_be_bytes());
                        loaded.check("FCoE", &frame, if is_its { Fcoe } else { NoSocket });
                    }
                }
                loaded.check("FIP", &fip, if low_bits == CONTROL_SLOT { Fip } else { NoSocket });
                loaded.clear_slot(low_bits);
            }
        }
    });
}

/// The kernel runs the program on no frame without a whole Ethernet header, nor does a link bring it one. That it
/// refuses them is asserted for 0..14 bytes; the program itself is run on all other lengths.
#[test]
fn runts_of_every_length_are_safe() {
    with_socket(|loaded| {
        for (what, frame, _) in table() {
            for len in 0..=frame.len().min(64) {
                match len {
                    0..14 => assert!(loaded.run(&frame[..len]).is_err(), "{what}, {len} bytes"),
                    _ => loaded.check(what, &frame[..len], expected(&frame[..len])),
                }
            }
        }
    });
}

#[test]
fn the_least_frame_is_not_malformed_and_one_byte_less_is() {
    with_socket(|loaded| {
        for (types, least, verdict) in
            [(&[FCOE][..], 60, Fcoe), (&[VLAN, FCOE], 64, Fcoe), (&[FIP], 24, Fip), (&[VLAN, FIP], 28, Fip)]
        {
            let frame = frame(OURS, types, VlanTag::new(1, 3));
            loaded.check("the least", &frame[..least], verdict);
            loaded.check("one byte less", &frame[..least - 1], Malformed);
        }
    });
}

#[test]
fn an_address_is_ours_from_when_it_is_added_until_it_is_removed() {
    with_socket(|loaded| {
        let frame = frame(FOREIGN, &[FCOE], VlanTag(0));
        loaded.check("before", &frame, ForeignMac);
        loaded.map(xdp_prog::MACS, |map| map.update(&FOREIGN.0, &[0], MapFlags::ANY).unwrap());
        loaded.check("added", &frame, Fcoe);
        loaded.map(xdp_prog::MACS, |map| map.delete(&FOREIGN.0).unwrap());
        loaded.check("removed", &frame, ForeignMac);
    });
}

#[test]
fn any_bytes_are_safe_and_judged_as_the_codec_does() {
    let ethertype = || prop_oneof![Just(VLAN), Just(SERVICE_VLAN), Just(FCOE), Just(FIP), any::<u16>()];
    let address = prop_oneof![Just(OURS), Just(FOREIGN), any::<[u8; 6]>().prop_map(MacAddr)];
    let frames = (address, [ethertype(), ethertype()], any::<u16>(), 14..128usize).prop_map(
        |(destination, types, tag, len)| {
            let mut frame = frame(destination, &types, VlanTag(tag));
            frame.resize(len, 0xa5);
            frame
        },
    );
    with_socket(|loaded| {
        let config = ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() };
        proptest!(config, |(frame in &frames)| {
            loaded.check("any bytes", &frame, expected(&frame));
        });
    });
}

#[test]
fn aya_loads_the_same_object() {
    if !have_root() {
        return;
    }
    let mut object = aya::EbpfLoader::new().load(xdp_prog::OBJECT).unwrap();
    for map in [xdp_prog::SOCKETS, xdp_prog::MACS, xdp_prog::COUNTERS] {
        assert!(object.map(map).is_some(), "{map}");
    }
    let program: &mut aya::programs::Xdp = object.program_mut(xdp_prog::PROGRAM).unwrap().try_into().unwrap();
    program.load().unwrap();
}
