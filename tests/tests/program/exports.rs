//! `xfcoe run` with exports, and orders to it.

use super::{Folder, Killed, TARGET, json, pid, run, wait, xfcoe};
use nix::sys::signal::{Signal, kill};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use xfcoe::netns::{Cable, INITIATOR_INTERFACE, SAN_INTERFACE};

pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// A SAN that takes orders, and a daemon beside it.
pub(super) struct World {
    pub(super) folder: Folder,
    cable: Cable,
    san: Killed,
    daemon: Killed,
    /// What the daemon has printed.
    lines: Arc<Mutex<Vec<String>>>,
    /// What it has told systemd.
    told: Arc<Mutex<Vec<String>>>,
}

impl World {
    /// `exports` may say `FOLDER`.
    pub(super) fn new(exports: &str) -> Self {
        let folder = Folder::new();
        let cable = Cable::lay().unwrap();
        let san = start_san(&folder, &cable, "");
        let notify = UnixDatagram::bind(folder.file("notify")).unwrap();
        write_config(&folder, exports);
        let (lines, told) = (Arc::default(), Arc::default());
        let daemon = Killed(cable.initiator.run(|| daemon(&folder).spawn().unwrap()).unwrap());
        let mut world = Self { folder, cable, san, daemon, lines, told };
        collect(world.printed(), &world.lines);
        collect(messages(notify), &world.told);
        world.wait_until_told("READY=1");
        world.wait_until_told("WATCHDOG=1");
        world
    }

    fn printed(&mut self) -> impl Iterator<Item = String> + Send + 'static {
        BufReader::new(self.daemon.0.stdout.take().unwrap()).lines().map_while(Result::ok)
    }

    /// As `kill -9` does.
    pub(super) fn kill_daemon(&mut self) {
        self.daemon.0.kill().unwrap();
        self.daemon.0.wait().unwrap();
    }

    /// The daemon anew.
    pub(super) fn start_daemon(&mut self) {
        let spawn = || daemon(&self.folder).spawn().unwrap();
        self.daemon = Killed(self.cable.initiator.run(spawn).unwrap());
        collect(self.printed(), &self.lines);
    }

    /// The same SAN, with another LUN.
    pub(super) fn restart_san(&mut self, lun: &str) {
        self.san.0.kill().unwrap();
        self.san.0.wait().unwrap();
        self.san = start_san(&self.folder, &self.cable, lun);
    }

    pub(super) fn order(&self, arguments: &[&str]) -> Value {
        json(&self.ordered(arguments))
    }

    fn ordered(&self, arguments: &[&str]) -> std::process::Output {
        run(&[arguments, &["--control", &self.folder.file("control"), "--json"]].concat())
    }

    fn refusal(&self, arguments: &[&str]) -> String {
        let output = self.ordered(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{said}");
        said
    }

    pub(super) fn fault(&self, arguments: &[&str]) {
        json(&run(&[&["fault", &self.folder.file("san.sock")], arguments, &["--json"]].concat()));
    }

    /// Waits until the daemon prints a line with these words.
    pub(super) fn wait_for(&self, words: &str) {
        wait_for(&self.lines, words);
    }

    fn wait_until_told(&self, state: &str) {
        wait_for(&self.told, state);
    }

    pub(super) fn end(mut self) {
        kill(pid(&self.daemon.0), Signal::SIGTERM).unwrap();
        assert_eq!(wait(&mut self.daemon.0, PATIENCE), Some(0));
        self.wait_until_told("STOPPING=1");
        for socket in ["control", "a", "b"] {
            assert!(!Path::new(&self.folder.file(socket)).exists(), "the socket {socket} was left");
        }
    }
}

/// A SAN with one LUN that has the keys `lun`.
fn start_san(folder: &Folder, cable: &Cable, lun: &str) -> Killed {
    let (config, control) = (folder.file("san.toml"), folder.file("san.sock"));
    let targets = format!("[[targets]]\nwwpn = \"{TARGET}\"\nwwnn = \"10:00:02:fc:f0:00:01:01\"\n");
    fs::write(&config, format!("{targets}[[targets.luns]]\n{lun}\n")).unwrap();
    let spawn = || {
        let mut san = xfcoe(&["san", "-i", SAN_INTERFACE, "--json", "--control", &control, "-c", &config]);
        san.stdout(Stdio::piped()).spawn().unwrap()
    };
    Killed(cable.san.run(spawn).unwrap())
}

fn write_config(folder: &Folder, exports: &str) {
    let control = folder.file("control");
    let text = format!(
        "[port.a]\ninterface = \"{INITIATOR_INTERFACE}\"\nfast_io_fail_s = 5\n[control]\npath = \"{control}\"\n{exports}"
    );
    fs::write(folder.file("run.toml"), text.replace("FOLDER", folder.0.to_str().unwrap())).unwrap();
}

fn daemon(folder: &Folder) -> std::process::Command {
    let mut daemon = xfcoe(&["run", "-c", &folder.file("run.toml")]);
    daemon.stdout(Stdio::piped()).env("NOTIFY_SOCKET", folder.file("notify")).env("WATCHDOG_USEC", "400000");
    daemon
}

/// Keeps what comes from now on.
fn collect(texts: impl Iterator<Item = String> + Send + 'static, kept: &Arc<Mutex<Vec<String>>>) {
    let kept = Arc::clone(kept);
    thread::spawn(move || texts.for_each(|text| kept.lock().unwrap().push(text)));
}

fn messages(socket: UnixDatagram) -> impl Iterator<Item = String> {
    let message = move || {
        let mut message = [0; 100];
        let len = socket.recv(&mut message).ok()?;
        Some(String::from_utf8_lossy(&message[..len]).into_owned())
    };
    std::iter::from_fn(message)
}

fn wait_for(texts: &Mutex<Vec<String>>, words: &str) {
    let begin = Instant::now();
    while !texts.lock().unwrap().iter().any(|text| text.contains(words)) {
        assert!(begin.elapsed() < PATIENCE, "`{words}` is not in {:#?}", texts.lock().unwrap());
        thread::sleep(Duration::from_millis(10));
    }
}

fn export(name: &str, rest: &str) -> String {
    format!("[[export]]\nname = \"{name}\"\nlun = \"{TARGET}/0\"\nnbd = \"unix:FOLDER/{name}\"\n{rest}\n")
}

/// A connection to the only export of a socket, in its transmission phase, and the export's bytes.
fn connect(socket: &str) -> (UnixStream, u64) {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.read_exact(&mut [0; 18]).unwrap();
    stream.write_all(b"\0\0\0\x03IHAVEOPT\0\0\0\x01\0\0\0\0").unwrap();
    let mut export = [0; 10];
    stream.read_exact(&mut export).unwrap();
    (stream, u64::from_be_bytes(export[..8].try_into().unwrap()))
}

/// Sends a read or a write of the first block, and gives the error of its reply.
fn first_block(stream: &mut UnixStream, write: Option<u8>) -> u32 {
    block(stream, 0, write)
}

fn block(stream: &mut UnixStream, offset: u64, write: Option<u8>) -> u32 {
    let command = if write.is_some() { 1 } else { 0 };
    let begin = [0x25, 0x60, 0x95, 0x13, 0, 0, 0, command];
    let header = [&begin[..], &[0; 8], &offset.to_be_bytes(), &512u32.to_be_bytes()].concat();
    stream.write_all(&header).unwrap();
    if let Some(fill) = write {
        stream.write_all(&[fill; 512]).unwrap();
    }
    let mut reply = [0; 16];
    stream.read_exact(&mut reply).unwrap();
    let error = u32::from_be_bytes(reply[4..8].try_into().unwrap());
    if write.is_none() && error == 0 {
        stream.read_exact(&mut [0; 512]).unwrap();
    }
    error
}

fn is_closed(stream: &mut UnixStream) -> bool {
    stream.read(&mut [0; 1]).map_or(true, |len| len == 0)
}

#[test]
fn a_daemon_hands_disks_out_and_takes_orders() {
    if !tests::have_root() {
        return;
    }
    let world = World::new(&export("a", "length = \"1MiB\""));
    world.wait_for("export a: 1.00 MiB of LUN 20:00:02:fc:f0:00:01:01/0 (");
    let socket = world.folder.file("a");
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    let (mut client, len) = connect(&socket);
    assert_eq!(len, 1 << 20);
    assert_eq!((first_block(&mut client, Some(7)), first_block(&mut client, None)), (0, 0));

    let status = world.order(&["status"]);
    assert_eq!(status["ports"][0]["targets"][0]["wwpn"], TARGET, "{status}");
    assert!(status["counters"][0]["commands"].as_u64().is_some_and(|commands| commands > 2), "{status}");
    let a = &status["exports"][0];
    let seen = ["name", "state", "clients", "reads", "writes", "bytes"].map(|field| a[field].clone());
    assert_eq!(
        seen,
        ["a".into(), "serving".into(), 1.into(), 1.into(), 1.into(), Value::from(1 << 20)],
        "{status}"
    );

    // By order, for a while.
    let (b, lun) = (format!("unix:{}", world.folder.file("b")), format!("{TARGET}/0"));
    let add = ["export", "add", "b", "--lun", &lun, "--nbd", &b];
    let said = world.refusal(&add);
    assert!(said.contains("the daemon refused: exports `b` and `a` overlap on LUN"), "{said}");
    let added = world.order(&[&add[..], &["--offset", "4096blocks"]].concat());
    assert_eq!(
        (&added["exports"][0]["state"], &added["exports"][0]["trouble"]),
        (&"serving".into(), &Value::Null)
    );
    assert_eq!(connect(&world.folder.file("b")).1, (256 << 20) - (2 << 20));
    assert_eq!(world.order(&["export", "list"])["exports"].as_array().unwrap().len(), 2);
    let said = world.refusal(&["export", "remove", "c"]);
    assert!(said.contains("there is no export `c`; there are: `a`, `b`"), "{said}");

    // By the file, to stay.
    write_config(&world.folder, &export("a", "length = \"1MiB\"\nsize = 1"));
    let said = world.refusal(&["reload"]);
    assert!(said.contains("run.toml:11: unknown key `size`"), "{said}");
    assert_eq!(first_block(&mut client, None), 0, "a file that is wrong changes nothing");
    write_config(&world.folder, &export("a", "length = \"1MiB\""));
    let changes = world.order(&["reload"]);
    assert_eq!(changes["changes"], serde_json::json!(["export b: removed"]));
    assert!(!Path::new(&world.folder.file("b")).exists());
    write_config(&world.folder, &export("a", "length = \"2MiB\"\nread_only = true"));
    assert_eq!(world.order(&["reload"])["changes"], serde_json::json!(["export a: changed"]));
    assert!(is_closed(&mut client), "the client of an export that is another one now");
    world.wait_for("export a: 2.00 MiB of LUN");
    let (mut client, len) = connect(&socket);
    assert_eq!((len, first_block(&mut client, Some(7))), (2 << 20, 1), "EPERM");
    assert_eq!(world.order(&["reload"])["changes"], serde_json::json!([]));
    world.end();
}

#[test]
fn exports_come_with_their_lun_and_requests_wait_while_it_is_away() {
    if !tests::have_root() {
        return;
    }
    let other = "[[export]]\nname = \"b\"\nlun = \"naa.none\"\nnbd = \"tcp:127.0.0.1:1\"\n";
    let world = World::new(&format!("{}{other}", export("a", "")));
    world.wait_for("export b: LUN naa.none is not there yet");
    world.wait_for("export a: 256.00 MiB of LUN");
    let socket = world.folder.file("a");
    let (mut client, _) = connect(&socket);
    world.fault(&["kill", TARGET]);
    world.wait_for("export a: its target is away: requests wait for a while");
    let begin = Instant::now();
    let away = Duration::from_millis(500);
    thread::scope(|scope| {
        let request = scope.spawn(|| first_block(&mut client, Some(1)));
        thread::sleep(away);
        world.fault(&["revive", TARGET]);
        assert_eq!(request.join().unwrap(), 0, "a request that waited");
    });
    assert!(begin.elapsed() >= away);
    world.wait_for("export a: its LUN is as it was");
    drop(client);
    world.end();
}

#[test]
fn a_lun_that_shrinks_or_goes_is_said_and_fails_requests() {
    if !tests::have_root() {
        return;
    }
    const EIO: u32 = 5;
    let mut world = World::new(&export("a", ""));
    world.wait_for("export a: 256.00 MiB of LUN");
    let (mut client, len) = connect(&world.folder.file("a"));
    assert_eq!(block(&mut client, len - 512, None), 0);
    world.restart_san("size_bytes = 1048576");
    world.wait_for("export a: its LUN has shrunk from 524288 to 2048 blocks: requests beyond fail");
    assert_eq!((block(&mut client, 0, None), block(&mut client, len - 512, None)), (0, EIO));

    world.restart_san("initiators = [\"20:00:00:00:00:00:00:09\"]");
    world.wait_for("export a: no path leads to its LUN any more");
    assert_eq!(block(&mut client, 0, None), EIO);
    drop(client);
    world.end();
}

#[test]
fn what_can_not_be_is_refused_before_anything_starts() {
    if !tests::have_root() {
        return;
    }
    let folder = Folder::new();
    let refused = |exports: &str| {
        write_config(&folder, exports);
        let output = run(&["run", "-c", &folder.file("run.toml")]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{said}");
        said
    };
    let live = UnixListener::bind(folder.file("a")).unwrap();
    let said = refused(&export("a", ""));
    assert!(
        said.contains("run.toml:6: cannot listen at") && said.contains("another program listens there"),
        "{said}"
    );
    drop(live);
    // Now it is a dead one's, and what is refused is that there is no such interface here.
    let said = refused(&export("a", ""));
    assert!(said.contains("there is no interface"), "{said}");
    let said = refused(&export("a", "owner = \"nobody-of-this-name\""));
    assert!(said.contains("run.toml:6: there is no user `nobody-of-this-name`"), "{said}");
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap();
    let said = refused(&format!("[[export]]\nname = \"a\"\nlun = \"naa.1\"\nnbd = \"tcp:{address}\"\n"));
    assert!(said.contains("run.toml:6: cannot listen at") && said.contains("in use"), "{said}");

    let control = UnixListener::bind(folder.file("control")).unwrap();
    let said = refused("");
    assert!(said.contains("no orders can be taken: cannot listen at"), "{said}");
    drop(control);
    let said = run(&["status", "--control", &folder.file("control")]);
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.contains("no daemon takes orders at") && said.contains("[control]"), "{said}");
}

/// As the systemd unit has it. Locked memory is by capability here: not everyone may raise the limit.
#[test]
fn a_daemon_needs_no_root() {
    if !tests::have_root() {
        return;
    }
    const NOBODY: u32 = 65534;
    const CAPABILITIES: &str = "-all,+net_admin,+net_raw,+bpf,+perfmon,+ipc_lock";
    let folder = Folder::new();
    let cable = Cable::lay().unwrap();
    write_config(&folder, "");
    // Where it was built may be closed to others.
    fs::copy(&*super::XFCOE, folder.file("xfcoe")).unwrap();
    std::os::unix::fs::chown(&folder.0, Some(NOBODY), Some(NOBODY)).unwrap();
    let start = || {
        let mut setpriv = std::process::Command::new("setpriv");
        setpriv.args([
            &format!("--reuid={NOBODY}"),
            &format!("--regid={NOBODY}"),
            "--clear-groups",
            "--no-new-privs",
        ]);
        for set in ["inh-caps", "ambient-caps", "bounding-set"] {
            setpriv.arg(format!("--{set}={CAPABILITIES}"));
        }
        setpriv.args([&folder.file("xfcoe"), "run", "-c", &folder.file("run.toml")]);
        setpriv.stdout(Stdio::piped()).spawn().unwrap()
    };
    let mut daemon = Killed(cable.initiator.run(start).unwrap());
    let lines: Arc<Mutex<Vec<String>>> = Arc::default();
    collect(BufReader::new(daemon.0.stdout.take().unwrap()).lines().map_while(Result::ok), &lines);
    let begin = Instant::now();
    while lines.lock().unwrap().is_empty() {
        assert!(begin.elapsed() < PATIENCE && daemon.0.try_wait().unwrap().is_none(), "it doesn't start");
        thread::sleep(Duration::from_millis(10));
    }
    let status = json(&run(&["status", "--json", "--control", &folder.file("control")]));
    assert_eq!(status["ports"][0]["link_up"], true, "{status}");
    kill(pid(&daemon.0), Signal::SIGTERM).unwrap();
    assert_eq!(wait(&mut daemon.0, PATIENCE), Some(0));
}
