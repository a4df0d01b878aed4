//! What every kind of port must do, and what real interfaces add to it.

mod conformance;
mod frames;
mod link;
mod shared;

use conformance::{await_frames, conforms};
use datapath::port::af_packet::{AfPacketConfig, AfPacketPort};
use datapath::port::af_xdp::{AfXdpConfig, AfXdpPort};
use datapath::port::capture::Capture;
use datapath::port::faulty::FaultyPort;
use datapath::port::memory::{self, MemoryConfig};
use datapath::port::xdp::AttachMode;
use datapath::port::{MacFilter, Mode, Port, PortError, queue_count};
use fc::in_place::InPlace;
use fc::wire::MacAddr;
use frames::frame;
use link::{ENDS, af_packet, af_xdp, on_a_link};
use std::process::Command;

#[test]
fn memory_conforms() {
    let (mut here, mut there) = memory::pair(MemoryConfig::default());
    conforms(&mut here, &mut there);
}

#[test]
fn a_faulty_port_without_faults_conforms() {
    let (here, there) = memory::pair(MemoryConfig::default());
    conforms(&mut FaultyPort::new(here, 1), &mut FaultyPort::new(there, 2));
}

#[test]
fn af_packet_conforms() {
    on_a_link(|| {
        conforms(&mut af_packet(ENDS[0]), &mut af_packet(ENDS[1]));
    });
}

#[test]
fn native_af_xdp_conforms() {
    on_a_link(|| {
        let [(mut here, _program), (mut there, _other)] = ENDS.map(|end| af_xdp(end, AttachMode::Native));
        assert_eq!(here.info().mode, Mode::NativeXdp);
        assert_eq!(here.info().to_string(), "here0 queue 0: AF_XDP native, copy, need-wakeup");
        conforms(&mut here, &mut there);
        let (here, there) = (here.statistics(), there.statistics());
        assert_eq!((here.rx_invalid, here.tx_invalid, there.rx_invalid, there.tx_invalid), (0, 0, 0, 0));
    });
}

#[test]
fn generic_af_xdp_conforms() {
    on_a_link(|| {
        let [(mut here, _program), (mut there, _other)] = ENDS.map(|end| af_xdp(end, AttachMode::Generic));
        assert_eq!(here.info().mode, Mode::GenericXdp);
        conforms(&mut here, &mut there);
    });
}

#[test]
fn af_xdp_and_af_packet_understand_each_other() {
    on_a_link(|| {
        let (mut here, _program) = af_xdp(ENDS[0], AttachMode::NativeOrGeneric);
        conforms(&mut here, &mut af_packet(ENDS[1]));
    });
}

#[test]
fn an_af_xdp_port_says_why_it_cannot_open() {
    on_a_link(|| {
        let open = |config: AfXdpConfig| AfXdpPort::open(&config);
        let error = open(AfXdpConfig::new("nowhere0", 0)).unwrap_err();
        assert!(matches!(error, PortError::NoSuchInterface { .. }), "{error}");

        assert_eq!(queue_count(ENDS[0]).unwrap(), 1);
        let error = open(AfXdpConfig::new(ENDS[0], 7)).unwrap_err();
        assert!(matches!(error, PortError::NoSuchQueue { queue: 7, queues: 1, .. }), "{error}");
        assert_eq!(
            error.to_string(),
            "open queue 7 of here0: it has 1; use one below, or give it more by `ethtool -L`"
        );

        let first = open(AfXdpConfig::new(ENDS[0], 0)).unwrap();
        let error = open(AfXdpConfig::new(ENDS[0], 0)).unwrap_err();
        assert!(matches!(error, PortError::QueueTaken { queue: 0, .. }), "{error}");
        drop(first);
        open(AfXdpConfig::new(ENDS[0], 0)).expect("closing gives the queue back");

        let error = open(AfXdpConfig { receive_frames: 0, ..AfXdpConfig::new(ENDS[0], 0) }).unwrap_err();
        assert!(matches!(error, PortError::FrameCount { .. }), "{error}");
        let error = AfPacketPort::open(&AfPacketConfig::new("nowhere0")).unwrap_err();
        assert!(matches!(error, PortError::NoSuchInterface { .. }), "{error}");
    });
}

#[test]
fn a_port_survives_its_link_and_reports_its_interfaces_end() {
    on_a_link(|| {
        let (mut here, _program) = af_xdp(ENDS[0], AttachMode::Native);
        let mut there = af_packet(ENDS[1]);
        for state in ["down", "up"] {
            tests::ip(&["link", "set", ENDS[1], state]);
            for port in [&mut here as &mut dyn Port, &mut there] {
                assert!(port.send_copy(&frame(1, 100, false)));
                port.flush().unwrap_or_else(|error| panic!("{} with its link {state}: {error}", port.info()));
            }
        }
        link::await_carrier();
        conformance::drain(&mut here);
        conformance::drain(&mut there);
        conforms(&mut here, &mut there);

        tests::ip(&["link", "delete", ENDS[0]]);
        let waker = datapath::port::Waker::new().unwrap();
        for port in [&mut here as &mut dyn Port, &mut there] {
            let wait = port.wait(&waker, std::time::Duration::from_millis(50));
            port.send_copy(&frame(2, 100, false));
            let flush = port.flush();
            assert!(wait.is_err() || flush.is_err(), "{} didn't notice", port.info());
        }
    });
}

#[test]
fn what_is_lent_stays_when_its_port_is_closed() {
    on_a_link(|| {
        let mut there = af_packet(ENDS[1]);
        let mut lend = |here: &mut dyn Port, number| {
            let sent = frame(number, 1000, false);
            assert!(there.send_copy(&sent));
            there.flush().unwrap();
            let mut frames = Vec::new();
            await_frames(here, &mut frames);
            let mut read = InPlace::new(vec![0; 1000].into());
            here.lend(frames.remove(0), 0..1000, &mut read, 0).unwrap();
            (read, sent)
        };
        let (mut here, program) = af_xdp(ENDS[0], AttachMode::Native);
        let by_xdp = lend(&mut here, 1);
        drop((here, program));
        let (mut again, program) = af_xdp(ENDS[0], AttachMode::Native);
        let by_next = lend(&mut again, 2);
        drop((again, program));
        let mut here = af_packet(ENDS[0]);
        let by_packet = lend(&mut here, 3);
        drop(here);
        for (read, sent) in [by_xdp, by_next, by_packet] {
            assert_eq!(read.slices(1000).collect::<Vec<_>>(), [sent]);
        }
    });
}

#[test]
fn a_program_that_we_start_keeps_no_port_open() {
    on_a_link(|| {
        let first = AfXdpPort::open(&AfXdpConfig::new(ENDS[0], 0)).unwrap();
        let mut program = Command::new("sleep").arg("60").spawn().unwrap();
        drop(first);
        let again = AfXdpPort::open(&AfXdpConfig::new(ENDS[0], 0));
        program.kill().unwrap();
        program.wait().unwrap();
        again.expect("closing gives the queue back");
    });
}

#[test]
fn macs_pass_the_filter_until_they_are_removed() {
    on_a_link(|| {
        let addresses = || tests::ip(&["maddress", "show", "dev", ENDS[0]]);
        let (ours, group) = (frames::MAC, MacAddr([0x01, 0x10, 0x18, 0x01, 0x00, 0x01]));
        let filter = MacFilter::open(ENDS[0]).unwrap();
        filter.add(ours).unwrap();
        filter.join_multicast(group).unwrap();
        assert!(addresses().contains("01:10:18:01:00:01"), "{}", addresses());
        filter.remove(ours).unwrap();
        filter.remove(ours).expect("there is nothing to remove");
        drop(filter);
        assert!(!addresses().contains("01:10:18:01:00:01"), "{}", addresses());

        let filter = MacFilter::open(ENDS[0]).unwrap();
        tests::ip(&["link", "delete", ENDS[0]]);
        let error = filter.add(ours).unwrap_err();
        assert!(matches!(error, PortError::NoSuchInterface { .. }), "{error}");
    });
}

#[test]
fn wireshark_reads_what_a_port_recorded() {
    if Command::new("tshark").arg("--version").output().is_err() {
        return tests::skip("tshark is not installed");
    }
    let path = std::env::temp_dir().join(format!("xfcoe-capture-{}.pcapng", std::process::id()));
    let (port, mut wire) = memory::wire(MemoryConfig::default());
    let mut capture = Capture::new(port, &path).unwrap();
    assert!(capture.send_copy(&frame(1, 2172, false)));
    capture.flush().unwrap();
    assert!(wire.push(&frame(2, 61, true)));
    let mut frames = Vec::new();
    capture.receive(&mut frames, 1);
    capture.release(frames.pop().unwrap());
    capture.finish().unwrap();

    let mut tshark = Command::new("tshark");
    tshark.args(["-r", path.to_str().unwrap(), "-T", "fields"]);
    for field in
        ["frame.len", "frame.packet_flags_direction", "frame.interface_name", "eth.type", "vlan.etype"]
    {
        tshark.args(["-e", field]);
    }
    let output = tshark.output().unwrap();
    std::fs::remove_file(path).unwrap();
    // Versions differ in how they print flags.
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).replace("0x0000000", ""),
        "2172\t2\tmemory\t0x8906\t\n61\t1\tmemory\t0x8100\t0x8906\n",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
