//! The programs as an operator meets them: `xfcoe` here, and `xfcoe-bench`.

mod bench;
mod exports;
mod orders;
mod vhost_user;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tests::built;
use xfcoe::netns::{Cable, INITIATOR_INTERFACE, SAN_INTERFACE};

/// The port name of the SAN's default target.
const TARGET: &str = "20:00:02:fc:f0:00:01:01";

static XFCOE: LazyLock<PathBuf> = LazyLock::new(|| built("xfcoe", "xfcoe"));

fn xfcoe(arguments: &[&str]) -> Command {
    let mut command = Command::new(&*XFCOE);
    command.args(arguments);
    command
}

fn run(arguments: &[&str]) -> Output {
    xfcoe(arguments).output().expect("xfcoe runs")
}

/// The JSON that a command printed, which must have gone well.
fn json(output: &Output) -> Value {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {stderr}", output.status);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {stderr}"))
}

#[test]
fn wrong_usage_ends_with_2_and_failure_with_1() {
    for (arguments, status, said) in [
        (&["lst"][..], 2, "a similar subcommand exists: 'list'"),
        (&["list"], 2, "--config <FILE>"),
        (&["list", "-c", "/nowhere/run.toml"], 1, "xfcoe: cannot read /nowhere/run.toml: No such file"),
        (&["read", "naa.6", "-", "-i", "eth0", "--json"], 1, "xfcoe: standard output can't take both"),
        (&["write", "naa.6", "/nowhere/data", "-i", "eth0"], 1, "xfcoe: cannot open /nowhere/data"),
    ] {
        let output = run(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {stderr}");
        assert!(stderr.contains(said), "{arguments:?}: {stderr}");
        assert_eq!(output.stdout, b"", "{arguments:?}");
    }
}

#[test]
fn an_interface_that_is_not_there_is_said_with_those_that_are() {
    if !tests::have_root() {
        return;
    }
    let output = run(&["list", "-i", "nowhere0"]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.starts_with("xfcoe: there is no interface `nowhere0` here; there are: lo"), "{stderr}");
    assert_eq!(stderr.lines().count(), 1);
}

#[test]
fn a_link_without_a_fabric_is_said() {
    if !tests::have_root() {
        return;
    }
    let cable = Cable::lay().unwrap();
    for command in [&["list", "--json"][..], &["read", "naa.6", "-"]] {
        let arguments = [command, &["-i", INITIATOR_INTERFACE, "--timeout", "1"]].concat();
        let output = cable.initiator.run(|| run(&arguments)).unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains("no FCF was heard") && stderr.lines().count() == 1, "{stderr}");
    }
}

#[test]
fn a_demo_checks_its_lun_and_measures() {
    if !tests::have_root() {
        return;
    }
    for port in ["af_xdp", "af_packet"] {
        let report = json(&run(&["demo", "--json", "--size", "8", "--seconds", "1", "--port", port]));
        let fields: Vec<_> = report.as_object().expect("an object").keys().map(String::as_str).collect();
        assert_eq!(fields, ["crc_errors", "login_ms", "runs", "verified_bytes", "verify_ok"]);
        assert_eq!(report["verify_ok"], true, "{report}");
        assert_eq!(report["verified_bytes"], 8 << 20, "{report}");
        assert_eq!(report["crc_errors"], 0, "{report}");
        let runs = report["runs"].as_array().expect("a list");
        assert_eq!(runs.len(), 3, "{report}");
        for run in runs {
            assert!(run["iops"].as_f64().is_some_and(|iops| iops > 100.0), "{report}");
        }
    }
}

#[test]
fn a_demo_shows_what_one_mac_address_at_two_hosts_does() {
    if !tests::have_root() {
        return;
    }
    let report = json(&run(&["demo", "duplicate-mac", "--seconds", "2", "--json"]));
    let of = |case: usize, key: &str| {
        let hosts = report["cases"][case]["hosts"].as_array().expect("a list");
        hosts.iter().map(|host| host[key].clone()).collect::<Vec<_>>()
    };
    let sum = |case, key| of(case, key).iter().map(|value| value.as_f64().expect("a number")).sum::<f64>();
    assert_eq!((of(0, "fc_id"), of(1, "fc_id")), (vec!["010200".into(), "020200".into()], of(0, "fc_id")));
    // Provided by the fabrics: each is alone with its own.
    assert_ne!(of(0, "mac")[0], of(0, "mac")[1]);
    assert_eq!((sum(0, "foreign_frames"), sum(0, "reads_with_loss")), (0.0, 0.0), "{report}");
    // Provided by the hosts: what is for one goes to the other.
    assert_eq!(of(1, "mac")[0], of(1, "mac")[1]);
    let all = ["foreign_frames", "reads_with_loss", "stalled"].map(|key| sum(1, key));
    assert!(all.iter().all(|&count| count > 0.0), "{report}");
    for case in [0, 1] {
        assert!(of(case, "duplicate_noticed").contains(&true.into()), "{report}");
    }
}

/// What a login looks like in the captures of Linux's stack (`fc/tests/golden/f1-fabric-login-and-io.pcap`), as far
/// as it comes from an initiator; its target is the only one.
const LOGIN_ORDER: [&str; 17] = [
    "VLAN Request",
    "VLAN Response",
    "Solicitation",
    "Advertisement",
    "FLOGI",
    "ACC (FLOGI)",
    "PLOGI",
    "RNN_ID",
    "RSNN_NN",
    "RSPN_ID",
    "RFT_ID",
    "RFF_ID",
    "SCR",
    "GPN_FT",
    "PRLI",
    "RTV",
    "SCSI: Report LUNs",
];

#[test]
fn a_capture_of_the_demo_satisfies_tshark() {
    if !tests::have_root() {
        return;
    }
    let folder = Folder::new();
    let capture = folder.file("demo.pcapng");
    let demo = run(&["demo", "--json", "--size", "2", "--seconds", "1", "--capture", &capture]);
    assert_eq!(json(&demo)["verify_ok"], true);
    let tshark = |arguments: &[&str]| {
        let output =
            Command::new("tshark").args(["-r", &capture]).args(arguments).output().expect("tshark runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let bad = tshark(&["-c", "50000", "-Y", "_ws.malformed || (fcoe.crc.status && fcoe.crc.status != 1)"]);
    assert_eq!(bad, "", "malformed, or with a wrong CRC");
    let summaries = tshark(&["-c", "200", "-T", "fields", "-e", "_ws.col.Info"]);
    let mut rest = summaries.lines();
    for step in LOGIN_ORDER {
        assert!(
            rest.any(|line| line.trim().starts_with(step)),
            "{step} is not where it should be:\n{summaries}"
        );
    }
}

#[test]
fn a_killed_daemon_leaves_the_interface_as_it_was() {
    if !tests::have_root() {
        return;
    }
    let cable = Cable::lay().unwrap();
    let folder = Folder::new();
    let config = folder.file("run.toml");
    fs::write(&config, format!("[port.a]\ninterface = \"{INITIATOR_INTERFACE}\"\n")).unwrap();
    let start = || xfcoe(&["run", "-c", &config, "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let link =
        || cable.initiator.run(|| tests::ip(&["-details", "link", "show", INITIATOR_INTERFACE])).unwrap();
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        let mut daemon = Killed(cable.initiator.run(start).unwrap());
        let deadline = Instant::now() + Duration::from_secs(10);
        while !link().contains("xdp") {
            assert!(Instant::now() < deadline, "it attaches no XDP program: {}", link());
            thread::sleep(Duration::from_millis(50));
        }
        kill(pid(&daemon.0), signal).unwrap();
        let status = wait(&mut daemon.0, Duration::from_secs(10));
        assert_eq!(status, (signal == Signal::SIGTERM).then_some(0));
        assert!(!link().contains("xdp"), "an XDP program was left: {}", link());
    }
}

#[test]
fn ctrl_c_ends_a_demo_with_130() {
    if !tests::have_root() {
        return;
    }
    let mut demo = xfcoe(&["demo", "--json", "--size", "8", "--seconds", "600"]);
    let mut demo = demo.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("xfcoe runs");
    thread::sleep(Duration::from_secs(4));
    assert!(demo.try_wait().unwrap().is_none(), "it measures for 600 s");
    kill(pid(&demo), Signal::SIGINT).unwrap();
    let status = wait(&mut demo, Duration::from_secs(10));
    let mut stderr = String::new();
    demo.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!(status, Some(130), "{stderr}");
    assert!(stderr.starts_with("xfcoe: interrupted while "), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

#[test]
fn a_file_goes_to_a_lun_and_comes_back() {
    if !tests::have_root() {
        return;
    }
    let cable = Cable::lay().unwrap();
    let at_initiator = |arguments: &[&str]| {
        let place = ["-i", INITIATOR_INTERFACE, "--port", "af_packet"];
        cable.initiator.run(|| run(&[arguments, &place].concat())).unwrap()
    };
    let start_san = || xfcoe(&["san", "-i", SAN_INTERFACE, "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut san = Killed(cable.san.run(start_san).unwrap());
    let folder = Folder::new();

    let listing = json(&at_initiator(&["list", "--json"]));
    let target = &listing["ports"][0]["targets"][0];
    assert_eq!(target["wwpn"], TARGET, "{listing}");
    assert_eq!(target["luns"][0]["bytes"], 256 << 20, "{listing}");

    // Not whole blocks on either side.
    let data: Vec<u8> = (0..300_001).map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let (there, back) = (folder.file("there"), folder.file("back"));
    fs::write(&there, &data).unwrap();
    let lun = format!("{TARGET}/0");
    let written = json(&at_initiator(&["write", &lun, &there, "--offset", "1000001", "--json"]));
    assert_eq!(written["bytes"], data.len());
    let id = target["luns"][0]["id"].as_str().expect("it has one");
    let read =
        json(&at_initiator(&["read", id, &back, "--offset", "1000000", "--length", "300003", "--json"]));
    assert_eq!(read["bytes"], data.len() + 2);
    let expected = [&[0], &data[..], &[0]].concat();
    assert!(fs::read(&back).unwrap() == expected, "other bytes came back");

    let refused = at_initiator(&["read", &format!("{TARGET}/9"), "-", "--timeout", "8"]);
    let stderr = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains(&format!("there are: {TARGET}/0 ({id})")), "{stderr}");

    for (command, beyond) in [("read", ["--offset", "1GiB"]), ("write", ["--offset", "262143KiB"])] {
        let refused = at_initiator(&[command, &lun, &there, beyond[0], beyond[1]]);
        let stderr = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains("end") && stderr.lines().count() == 1, "{stderr}");
    }

    kill(pid(&san.0), Signal::SIGTERM).unwrap();
    assert_eq!(wait(&mut san.0, Duration::from_secs(10)), Some(0));
    let mut summary = String::new();
    san.0.stdout.take().unwrap().read_to_string(&mut summary).unwrap();
    let summary: Value = serde_json::from_str(&summary).unwrap();
    assert_eq!(summary["crc_errors"], 0, "{summary}");
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(child.id().try_into().expect("a pid"))
}

/// The child's exit status; it is killed when that takes too long.
fn wait(child: &mut Child, timeout: Duration) -> Option<i32> {
    let deadline = Instant::now() + timeout;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    panic!("it did not end within {timeout:?}");
}

/// A child that doesn't outlive the test, which its interface would not either.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It has mostly ended by then.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A folder that goes when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("xfcoe-test-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> String {
        Path::join(&self.0, name).to_str().expect("a text").into()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
