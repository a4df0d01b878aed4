//! The XDP program on an interface: how it gets there, what it says when it can't, and that it always goes.

use datapath::port::Mode;
use datapath::port::xdp::{AttachMode, XdpError, XdpProgram};
use fc::wire::MacAddr;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::UdpSocket;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tests::{have_root, in_network_namespace, ip, skip, veth_pair};
use xdp_prog::{MAX_MACS, MAX_QUEUES, Verdict};

const INTERFACE: &str = "xfcoe0";
const PEER: &str = "xfcoe1";

/// Runs `test` in a network namespace that has [`INTERFACE`] and [`PEER`] with `mtu`, or skips it.
fn with_veth(mtu: u32, test: impl FnOnce() + Send) {
    if !have_root() {
        return;
    }
    in_network_namespace(|| {
        veth_pair(INTERFACE, PEER, mtu);
        test();
    });
}

/// How `ip link` calls what is at the interface.
fn attached() -> Option<&'static str> {
    let shown = ip(&["link", "show", INTERFACE]);
    ["xdpgeneric", "xdp"].into_iter().find(|mode| shown.split_whitespace().any(|word| word == *mode))
}

fn wait_until_detached() {
    let deadline = Instant::now() + Duration::from_secs(5);
    while attached().is_some() {
        assert!(Instant::now() < deadline, "still attached");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_driver_with_xdp_runs_it_until_it_is_dropped() {
    with_veth(2500, || {
        let program = XdpProgram::attach(INTERFACE, AttachMode::Native).unwrap();
        assert_eq!((program.mode(), attached()), (Mode::NativeXdp, Some("xdp")));
        assert_eq!(program.interface(), INTERFACE);
        drop(program);
        assert_eq!(attached(), None);
    });
}

/// Until it is that program, a child has all its parent's descriptors.
#[test]
fn a_program_that_is_being_started_keeps_nothing_attached() {
    with_veth(2500, || {
        let attached_program = XdpProgram::attach(INTERFACE, AttachMode::default()).unwrap();
        let (mut here, mut there) = UnixStream::pair().unwrap();
        let mut command = Command::new("true");
        let stop_on_the_way = move || {
            there.write_all(b"x")?;
            there.read_exact(&mut [0])
        };
        #[allow(unsafe_code, reason = "there is no other way to stop it there")]
        // SAFETY: the child only calls write(2) and read(2).
        unsafe {
            command.pre_exec(stop_on_the_way)
        };
        let starter = std::thread::spawn(move || command.status().unwrap());
        here.read_exact(&mut [0]).unwrap();
        drop(attached_program);
        let left = attached();
        here.write_all(b"x").unwrap();
        assert!(starter.join().unwrap().success());
        assert_eq!(left, None);
    });
}

#[test]
fn a_veth_gets_generic_xdp_and_so_do_frames_beyond_what_its_driver_takes() {
    with_veth(9000, || {
        let error = XdpProgram::attach(INTERFACE, AttachMode::Native).unwrap_err();
        assert!(matches!(&error, XdpError::Refused { refusals, .. } if refusals.len() == 1), "{error}");
        assert!(error.to_string().contains("MTU"), "{error}");
        assert_eq!(attached(), None);
    });
    for mtu in [2500, 9000] {
        with_veth(mtu, || {
            let program = XdpProgram::attach(INTERFACE, AttachMode::NativeOrGeneric).unwrap();
            assert_eq!((program.mode(), attached()), (Mode::GenericXdp, Some("xdpgeneric")));
        });
    }
}

#[test]
fn generic_xdp_can_be_asked_for() {
    with_veth(2500, || {
        let program = XdpProgram::attach(INTERFACE, AttachMode::Generic).unwrap();
        assert_eq!((program.mode(), attached()), (Mode::GenericXdp, Some("xdpgeneric")));
    });
}

#[test]
fn another_program_is_left_alone() {
    with_veth(2500, || {
        for theirs in [AttachMode::Native, AttachMode::Generic] {
            let program = XdpProgram::attach(INTERFACE, theirs).unwrap();
            for ours in [AttachMode::NativeOrGeneric, AttachMode::Native, AttachMode::Generic] {
                let error = XdpProgram::attach(INTERFACE, ours).unwrap_err();
                assert!(matches!(error, XdpError::Occupied { .. }), "{ours:?} over {theirs:?}: {error}");
            }
            drop(program);
            wait_until_detached();
        }
    });
}

#[test]
fn maps_refuse_what_they_can_not_hold() {
    with_veth(2500, || {
        let program = XdpProgram::attach(INTERFACE, AttachMode::default()).unwrap();
        let mac = |n: usize| MacAddr([0x0e, 0xfc, 0, (n >> 16) as u8, (n >> 8) as u8, n as u8]);
        // The handle works on another thread, as the one that logs in is.
        let macs = program.macs().clone();
        let fill = move || {
            for n in 0..MAX_MACS {
                macs.add(mac(n)).unwrap();
            }
            macs
        };
        let macs = std::thread::spawn(fill).join().unwrap();
        assert!(matches!(macs.add(mac(MAX_MACS)), Err(XdpError::MacsFull { .. })));
        macs.add(mac(0)).unwrap();
        macs.remove(mac(0)).unwrap();
        macs.remove(mac(0)).unwrap();
        macs.add(mac(MAX_MACS)).unwrap();

        let no_xdp_socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        let fd = std::os::fd::AsFd::as_fd(&no_xdp_socket);
        assert!(matches!(program.set_socket(0, [0], fd), Err(XdpError::Map { .. })));
        let beyond = MAX_QUEUES as u32;
        assert!(
            matches!(program.set_socket(beyond, [0], fd), Err(XdpError::NoSuchQueue { queue }) if queue == beyond)
        );
    });
}

#[test]
fn frames_of_others_reach_the_kernel_and_are_counted() {
    with_veth(2500, || {
        let program = XdpProgram::attach(INTERFACE, AttachMode::default()).unwrap();
        assert!(program.counters().unwrap().iter().all(|(_, frames)| frames == 0));
        // The peer asks by ARP who has the address; the interface answers only if it got the question.
        ip(&["address", "add", "192.0.2.1/24", "dev", INTERFACE]);
        ip(&["address", "add", "192.0.2.2/24", "dev", PEER]);
        let socket = UdpSocket::bind("192.0.2.2:0").unwrap();
        // Both ends are in one namespace, which would deliver it within.
        nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::BindToDevice, &PEER.into()).unwrap();
        socket.send_to(b"x", "192.0.2.1:9").unwrap();
        let deadline = Instant::now() + Duration::from_secs(5);
        while program.counters().unwrap().get(Verdict::Other) == 0 {
            assert!(Instant::now() < deadline, "{:?}", program.counters());
            std::thread::sleep(Duration::from_millis(10));
        }
        for (verdict, frames) in program.counters().unwrap().iter() {
            assert_eq!(frames > 0, verdict == Verdict::Other, "{}: {frames}", verdict.name());
        }
    });
}

#[test]
fn the_program_goes_when_its_process_is_killed() {
    with_veth(2500, || {
        let mut holder = holder(&[]);
        let mut said = String::new();
        let mut stdout = BufReader::new(holder.stdout.take().unwrap());
        while !said.contains("attached") {
            said.clear();
            assert_ne!(stdout.read_line(&mut said).unwrap(), 0, "it ended without attaching");
        }
        assert_eq!(attached(), Some("xdpgeneric"));
        // SIGKILL.
        holder.kill().unwrap();
        holder.wait().unwrap();
        wait_until_detached();
    });
}

#[test]
fn a_process_without_the_right_is_told_which() {
    with_veth(2500, || {
        // A user namespace takes all capabilities over the machine's own network away.
        let mut holder = holder(&["unshare", "--user"]);
        let mut said = String::new();
        holder.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        holder.wait().unwrap();
        if !said.contains("running") {
            return skip("no user namespaces here");
        }
        assert!(said.contains("CAP_NET_ADMIN"), "{said}");
        assert_eq!(attached(), None);
    });
}

const HOLD: &str = "XFCOE_TEST_HOLDS_XDP_PROGRAM";

/// Starts this test program again, by way of `prefix`, to be [`holds_a_program`] only.
fn holder(prefix: &[&str]) -> Child {
    let this = std::env::current_exe().unwrap();
    let mut words = prefix.iter().map(std::ffi::OsStr::new).chain([this.as_os_str()]);
    Command::new(words.next().unwrap())
        .args(words)
        .args(["--exact", "holds_a_program", "--nocapture"])
        .env(HOLD, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Not a test of its own: the process that [`holder`] starts. It holds the program until its input ends.
#[test]
fn holds_a_program() {
    if std::env::var_os(HOLD).is_none() {
        return;
    }
    match XdpProgram::attach(INTERFACE, AttachMode::default()) {
        Ok(_program) => {
            println!("attached");
            std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
        }
        Err(error) => println!("{error}"),
    }
}
