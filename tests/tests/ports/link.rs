//! Two ends of a veth pair in a network namespace of the test's own.

use datapath::port::af_packet::{AfPacketConfig, AfPacketPort};
use datapath::port::af_xdp::{AfXdpConfig, AfXdpPort};
use datapath::port::xdp::{AttachMode, XdpProgram};
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};
use xdp_prog::SLOTS_PER_QUEUE;

use super::conformance::PATIENCE;
use super::frames::MAC;

/// The interfaces' names.
pub(crate) const ENDS: [&str; 2] = ["here0", "there0"];

/// Runs the test with both ends up; without root it says so and does nothing.
pub(crate) fn on_a_link(test: impl FnOnce() + Send) {
    on_a_link_with_queues(1, test);
}

/// The same, with as many queues at both ends. A frame comes by the queue that it was sent by.
pub(crate) fn on_a_link_with_queues(count: usize, test: impl FnOnce() + Send) {
    if tests::have_root() {
        tests::in_network_namespace(|| {
            let count = count.to_string();
            let queues = ["numrxqueues", &count, "numtxqueues", &count];
            let peer = ["type", "veth", "peer", "name", ENDS[1], "mtu", "2500"];
            tests::ip(&[&["link", "add", ENDS[0], "mtu", "2500"], &queues[..], &peer, &queues].concat());
            for end in ENDS {
                tests::ip(&["link", "set", end, "addrgenmode", "none", "up"]);
            }
            await_carrier();
            test();
        });
    }
}

/// Waits until the kernel has noticed that both ends are up; before, a packet socket's frames go nowhere.
pub(crate) fn await_carrier() {
    let start = Instant::now();
    while tests::ip(&["-oneline", "link"]).matches("state UP").count() < ENDS.len() {
        assert!(start.elapsed() < PATIENCE, "{}", tests::ip(&["link"]));
        thread::sleep(Duration::from_millis(5));
    }
}

/// A packet port at one end.
pub(crate) fn af_packet(interface: &str) -> AfPacketPort {
    AfPacketPort::open(&AfPacketConfig::new(interface)).unwrap()
}

/// An AF_XDP port at one end, with its program, which takes frames to [`MAC`].
pub(crate) fn af_xdp(interface: &str, attach: AttachMode) -> (AfXdpPort, XdpProgram) {
    let program = XdpProgram::attach(interface, attach).unwrap();
    let port =
        AfXdpPort::open(&AfXdpConfig { mode: program.mode(), ..AfXdpConfig::new(interface, 0) }).unwrap();
    program.set_socket(0, 0..SLOTS_PER_QUEUE, port.as_fd()).unwrap();
    program.macs().add(MAC).unwrap();
    (port, program)
}
