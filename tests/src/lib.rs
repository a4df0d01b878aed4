//! What tests across crates share: what they need of the machine, and networks of their own.

pub mod hostile;
pub mod load;
pub mod memory_disk;
pub mod stepped;

use datapath::port::nic::NicKind;
use initiator::{Disk, Initiator};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::Uid;
use san::SanConfig;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use xfcoe::san_thread::{Place, SanThread};

/// Whether this test can use what only root may. A test without returns, and so passes:
///
/// ```no_run
/// # fn test() {
/// if !tests::have_root() {
///     return;
/// }
/// # }
/// ```
///
/// # Panics
/// Where nothing may be skipped: see [`skip`].
pub fn have_root() -> bool {
    let root = Uid::effective().is_root();
    if !root {
        skip("needs root");
    }
    root
}

/// Says on stderr that a test is skipped, and why; the line begins with `SKIPPED: `. The test is to return then.
///
/// # Panics
/// If the environment has `XFCOE_NO_SKIP=1`, as where a whole machine is there to run all tests.
#[allow(clippy::print_stderr, reason = "who runs the tests shall see it")]
pub fn skip(reason: &str) {
    assert!(
        std::env::var_os("XFCOE_NO_SKIP").is_none_or(|value| value != "1"),
        "must not be skipped: {reason}"
    );
    eprintln!("SKIPPED: {reason}");
}

/// Runs `test` on a thread in a network namespace of its own, which has nothing but a loopback interface and is
/// gone, with all that was made in it, when the last thread and descriptor in it are. Threads and processes that
/// `test` starts are in it, too. Needs root.
///
/// # Panics
/// If `test` does, or if there is no such namespace to be had.
pub fn in_network_namespace<T: Send>(test: impl FnOnce() -> T + Send) -> T {
    let run = || {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
        test()
    };
    std::thread::scope(|scope| match scope.spawn(run).join() {
        Ok(result) => result,
        // The test's own message, not "a thread panicked".
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

/// Makes a pair of virtual Ethernet interfaces with one end called `a` and the other `b`, both up, with `mtu`.
/// IPv6 is off, so that they carry no frames but the test's. For within [`in_network_namespace`].
///
/// # Panics
/// If they can't be made.
pub fn veth_pair(a: &str, b: &str, mtu: u32) {
    let mtu = mtu.to_string();
    ip(&["link", "add", a, "mtu", &mtu, "type", "veth", "peer", "name", b, "mtu", &mtu]);
    for end in [a, b] {
        ip(&["link", "set", end, "addrgenmode", "none", "up"]);
    }
}

/// Runs `ip` (iproute2) with these arguments and gives what it prints.
///
/// # Panics
/// If it can't be run or fails.
pub fn ip(arguments: &[&str]) -> String {
    let output = Command::new("ip").args(arguments).output().expect("ip, of iproute2, can be run");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {}: {error}", arguments.join(" "));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A program of this workspace, built for the same profile as the test that asks for it.
///
/// # Panics
/// If it can't be.
pub fn built(package: &str, program: &str) -> PathBuf {
    let here = std::env::current_exe().expect("a test has a file");
    let profile_folder = here.ancestors().nth(2).expect("it is in the profile's deps").to_owned();
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--package", package, "--bin", program]);
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    let workspace = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let status = build.current_dir(workspace).status().expect("cargo runs");
    assert!(status.success(), "{program} is not built");
    profile_folder.join(program)
}

/// A SAN on an interface of the calling thread's network namespace, over AF_XDP.
///
/// # Panics
/// If it can't be started.
pub fn start_san(interface: &str, config: SanConfig) -> SanThread {
    let place = Place { interface: interface.into(), kind: NicKind::AfXdp, namespace: None, cpu: None };
    SanThread::start(place, config).expect("a SAN on an interface that is there")
}

/// How long an initiator may take until it has found its disks.
pub const LOGIN: Duration = Duration::from_secs(15);

/// The one disk that an initiator finds.
///
/// # Panics
/// If it finds none in time, or another one.
pub fn only_disk(initiator: &Initiator) -> Disk {
    let disks = initiator.wait_for_disks(LOGIN);
    let [disk] = &disks[..] else { panic!("one disk: {:#?}", initiator.inventory()) };
    disk.clone()
}

/// `len` bytes that are the same for the same `seed` and look like nothing: data to write and to know again.
pub fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let byte = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..len).map(byte).collect()
}
