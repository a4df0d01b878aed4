//! The models of storage for virtual machines, each as its example configures it, proven with data: two virtual machines
//! with NBD clients, and files that are the SAN's disks.

mod changes;
mod mobility;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use san::SanConfig;
use serde_json::Value;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tests::{built, have_root, in_network_namespace, ip, skip, start_san, veth_pair};
use xfcoe::san_thread::SanThread;

static XFCOE: LazyLock<PathBuf> = LazyLock::new(|| built("xfcoe", "xfcoe"));

const TARGET: &str = "20:00:02:fc:f0:00:01:01";
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of each of the SAN's disks.
const DISK_LEN: u64 = 16 << 20;
const DISKS: [&str; 5] = ["host", "shared-1", "shared-2", "vm1", "vm2"];

/// Hosts and the SAN are at a switch.
const SWITCH: &str = "switch0";
const SAN: &str = "san0";

/// A daemon that runs as an example says, and the SAN of the examples.
struct Model {
    folder: PathBuf,
    daemon: Child,
    /// Another host has none.
    san: Option<SanThread>,
}

impl Model {
    /// Starts them, and waits until the exports are served.
    fn start(example: &str) -> Self {
        ip(&["link", "add", SWITCH, "type", "bridge"]);
        ip(&["link", "set", SWITCH, "mtu", "2500", "addrgenmode", "none", "up"]);
        plug(SAN);
        let folder = new_folder();
        for disk in DISKS {
            File::create(folder.join(format!("{disk}.img"))).unwrap().set_len(DISK_LEN).unwrap();
        }
        let mut config: SanConfig = xfcoe::config::load(&path_of("san"), |_| Ok(())).unwrap();
        for lun in &mut config.targets[0].luns {
            lun.file = lun.file.take().map(|file| folder.join(file));
        }
        let san = start_san(SAN, config);
        let daemon = start_daemon("host0", &folder, &fs::read_to_string(path_of(example)).unwrap());
        let model = Self { folder, daemon, san: Some(san) };
        model.wait_for("exports", &["export", "list"], |answer| {
            let exports = answer["exports"].as_array().expect("a list");
            exports.len() == 2 && exports.iter().all(|export| export["state"] == "serving")
        });
        model
    }

    fn order(&self, arguments: &[&str]) -> Output {
        let control = self.folder.join("control");
        Command::new(&*XFCOE).args(arguments).arg("--json").arg("--control").arg(control).output().unwrap()
    }

    /// What a daemon answers that can do it.
    fn ask(&self, arguments: &[&str]) -> Value {
        let output = self.order(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn wait_for(&self, what: &str, arguments: &[&str], is_so: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let output = self.order(arguments);
            let answer = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
            if output.status.success() && is_so(&answer) {
                return answer;
            }
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(Instant::now() < deadline, "no {what} in {PATIENCE:?}: {said}{answer:#}");
            sleep(Duration::from_millis(100));
        }
    }

    /// What a virtual machine's client says of these commands of qemu-io.
    fn client(&self, export: &str, commands: &[&str]) -> String {
        let uri = format!("nbd+unix:///{export}?socket={}/{export}.sock", self.folder.display());
        let mut client = Command::new("qemu-io");
        commands.iter().for_each(|command| _ = client.args(["-c", command]));
        let output = client.args(["-f", "raw", &uri]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    }

    /// Writes a pattern over `len` bytes of a client's disk from its start on, and reads it back.
    fn fill(&self, export: &str, pattern: u8, len: &str) {
        let said = self.client(
            export,
            &[&format!("write -f -P {pattern} 0 {len}"), &format!("read -P {pattern} 0 {len}")],
        );
        assert!(said.contains("wrote") && said.contains("read") && !said.contains("fail"), "{said}");
    }

    /// The bytes of a disk of the SAN that aren't zero: where, and which. Ranges of a MiB are of one byte each.
    fn written(&self, disk: &str) -> Vec<(u64, u8)> {
        let file = File::open(self.folder.join(format!("{disk}.img"))).unwrap();
        let range = |at: u64| {
            let mut bytes = vec![0; 1 << 20];
            file.read_exact_at(&mut bytes, at << 20).unwrap();
            assert!(bytes.iter().all(|&byte| byte == bytes[0]), "{disk} has other bytes in its MiB {at}");
            (at, bytes[0])
        };
        (0..DISK_LEN >> 20).map(range).filter(|&(_, byte)| byte != 0).collect()
    }

    /// Of which disks of the SAN are any written.
    fn check_written(&self, expected: &[(&str, &[(u64, u8)])]) {
        for disk in DISKS {
            let of_disk =
                expected.iter().find(|(name, _)| *name == disk).map_or(&[][..], |(_, ranges)| ranges);
            assert_eq!(self.written(disk), of_disk, "on {disk}");
        }
    }

    /// The LUNs that each identity sees, by its name; the port's own has none.
    fn seen(&self) -> Vec<(String, Vec<String>)> {
        let status = self.ask(&["status"]);
        let targets = status["ports"][0]["targets"].as_array().expect("a list").clone();
        let lun = |lun: &Value| lun["lun"].as_str().unwrap().to_owned();
        let seen = targets.iter().map(|target| {
            let luns = target["luns"].as_array().unwrap().iter().map(lun).collect();
            (target["identity"].as_str().unwrap_or_default().to_owned(), luns)
        });
        seen.collect()
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        let pid = Pid::from_raw(self.daemon.id().try_into().unwrap());
        let _ = kill(pid, Signal::SIGTERM);
        let _ = self.daemon.wait();
        if let Some(san) = self.san.take() {
            let _ = san.stop();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn new_folder() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("xfcoe-model-{}-{number}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// An interface at the switch.
fn plug(interface: &str) {
    let port = format!("to-{interface}");
    veth_pair(interface, &port, 2500);
    ip(&["link", "set", &port, "master", SWITCH]);
}

/// A host at the switch, whose daemon runs by this configuration and has its sockets in the folder.
fn start_daemon(interface: &str, folder: &Path, config: &str) -> Child {
    plug(interface);
    let text = config.replace("\"eth0\"", &format!("\"{interface}\""));
    let text = text.replace("/run/xfcoe", folder.to_str().unwrap());
    let control = format!("[control]\npath = \"{}/control\"\n", folder.display());
    let file = folder.join("run.toml");
    fs::write(&file, text.replace("[control]\n", &control)).unwrap();
    Command::new(&*XFCOE).args(["run", "-c"]).arg(file).stdout(Stdio::null()).spawn().unwrap()
}

fn path_of(example: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../examples/models/{example}.toml"))
}

fn with_model(example: &str, test: impl FnOnce(&Model) + Send) {
    if !have_root() {
        return;
    }
    if Command::new("qemu-io").arg("--version").output().is_err() {
        return skip("needs qemu-io (qemu-utils)");
    }
    in_network_namespace(|| test(&Model::start(example)));
}

fn seen(all: &[(&str, &[&str])]) -> Vec<(String, Vec<String>)> {
    let owned = |luns: &[&str]| luns.iter().map(ToString::to_string).collect();
    all.iter().map(|(identity, luns)| (identity.to_string(), owned(luns))).collect()
}

#[test]
fn virtual_disks_are_ranges_of_a_lun() {
    with_model("virtual-disk", |model| {
        assert_eq!(model.seen(), seen(&[("", &["0"])]));
        model.fill("vm1", 0x11, "8M");
        model.fill("vm2", 0x22, "3M");
        let ranges: Vec<_> = (0..8).map(|at| (at, 0x11)).chain((8..11).map(|at| (at, 0x22))).collect();
        model.check_written(&[("host", &ranges)]);
        for export in ["vm1", "vm2"] {
            let said = model.client(export, &["read 8M 4k"]);
            assert!(
                said.contains("Input/output error") || said.contains("Invalid argument"),
                "beyond its range: {said}"
            );
        }
    });
}

#[test]
fn a_shared_identity_sees_raw_disks_and_the_host_does_not() {
    with_model("shared-identity", |model| {
        assert_eq!(model.seen(), seen(&[("", &["0"]), ("vms", &["1", "2"])]));
        model.fill("vm1", 0x11, "2M");
        model.fill("vm2", 0x22, "1M");
        model.check_written(&[("shared-1", &[(0, 0x11), (1, 0x11)]), ("shared-2", &[(0, 0x22)])]);
    });
}

/// Two virtual machines with an identity and a raw disk each.
fn check_own_disks(model: &Model) {
    assert_eq!(model.seen(), seen(&[("", &["0"]), ("vm1", &["3"]), ("vm2", &["4"])]));
    model.fill("vm1", 0x11, "2M");
    model.fill("vm2", 0x22, "1M");
    model.check_written(&[("vm1", &[(0, 0x11), (1, 0x11)]), ("vm2", &[(0, 0x22)])]);
}

#[test]
fn identities_by_fdisc_see_their_own_raw_disks() {
    with_model("fdisc", |model| {
        check_own_disks(model);
        let ports = model.ask(&["status"])["ports"][0]["vn_ports"].clone();
        let macs: Vec<_> = (0..3).map(|at| ports[at]["mac"].as_str().unwrap().to_owned()).collect();
        assert!(macs.iter().all(|mac| mac.starts_with("0e:fc:00:")), "provided by the fabric: {macs:?}");
    });
}

#[test]
fn identities_by_flogi_see_their_own_raw_disks() {
    with_model("flogi", |model| {
        check_own_disks(model);
        let ports = model.ask(&["status"])["ports"][0]["vn_ports"].clone();
        assert!(ports[1]["mac"].as_str().unwrap().starts_with("0e:fc:00:"), "{ports:#}");
        assert_eq!(ports[2]["mac"], "02:fc:f0:00:02:12", "what it has proposed: {ports:#}");
    });
}
