//! `xfcoe-bench io` on a LUN of a SAN in a box, which is a file: what is in it can be looked at, and changed.

use super::{Folder, Killed, TARGET, built, json, kill, pid, wait, xfcoe};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::fs::{self, DirEntry, File};
use std::io::Read;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};
use xfcoe::netns::{Cable, INITIATOR_INTERFACE, SAN_INTERFACE, SAN_MAC};

static BENCH: LazyLock<PathBuf> = LazyLock::new(|| built("bench", "xfcoe-bench"));

const LUN_LEN: u64 = 4 << 20;

fn io(arguments: &[&str]) -> Command {
    let mut command = Command::new(&*BENCH);
    command.arg("io").args(arguments);
    command
}

/// A cable with a SAN at its end that has one LUN.
struct World {
    cable: Cable,
    folder: Folder,
    san: Killed,
}

impl World {
    fn new() -> Self {
        let (cable, folder) = (Cable::lay().unwrap(), Folder::new());
        let (config, disk) = (folder.file("san.toml"), folder.file("disk"));
        let text = format!("[[targets]]\n[[targets.luns]]\nfile = \"{disk}\"\nsize_bytes = {LUN_LEN}\n");
        fs::write(&config, text).unwrap();
        File::create(&disk).unwrap().set_len(LUN_LEN).unwrap();
        let start =
            || xfcoe(&["san", "-i", SAN_INTERFACE, "-c", &config]).stdout(Stdio::null()).spawn().unwrap();
        let san = Killed(cable.san.run(start).unwrap());
        Self { cable, folder, san }
    }

    fn disk(&self) -> File {
        File::options().read(true).write(true).open(self.folder.file("disk")).unwrap()
    }

    fn data(&self) -> Vec<u8> {
        fs::read(self.folder.file("disk")).unwrap()
    }

    fn start(&self, arguments: &[&str]) -> Child {
        let start = || {
            let mut io = io(&[arguments, &["-i", INITIATOR_INTERFACE]].concat());
            io.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        };
        self.cable.initiator.run(start).unwrap()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.start(arguments).wait_with_output().unwrap()
    }
}

/// The LUN's name.
fn lun() -> String {
    format!("{TARGET}/0")
}

#[test]
fn wrong_usage_ends_with_2() {
    let lun = lun();
    for (arguments, said) in [
        (&["-i", "eth0", "--rw", "randraed"][..], "a similar value exists: 'randread'"),
        (&["-i", "eth0", "--bs", "4KB"], "expected bytes such as 4096, 64KiB"),
        (&["-i", "eth0", "--iodepth", "0"], "0 is not in 1..=1024"),
        (&["-i", "eth0", "--rwmixread", "70"], "--rwmixread goes with --rw randrw"),
        (&["-i", "eth0", "--in-place", "--rw", "write"], "--in-place is for reads, and this --rw has none"),
        (&["-i", "eth0", "--rw", "write"], "destroys what is on the LUN: name the LUN"),
        (&["-i", "eth0", "--verify"], "destroys what is on the LUN: name the LUN"),
        (&[&lun], "--config <FILE>"),
    ] {
        let output = io(arguments).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.contains(said), "{arguments:?}: {stderr}");
    }
}

#[test]
fn what_can_not_be_measured_is_said_and_nothing_is_written() {
    if !tests::have_root() {
        return;
    }
    let world = World::new();
    let (lun, beyond) = (lun(), format!("{TARGET}/1"));
    for (arguments, said) in [
        (
            &[&*lun, "--bs", "1000", "--rw", "write"][..],
            "--bs 1000 is no whole number of the LUN's blocks of 512",
        ),
        (&[&*lun, "--offset", "100", "--rw", "write"], "--offset 100 is no whole number of the LUN's blocks"),
        (&[&*lun, "--offset", "8m", "--rw", "write"], "reach beyond the end of the LUN, which has 4194304"),
        (&[&*lun, "--size", "2k", "--rw", "write"], "2048 bytes of the LUN have no room for an I/O of 4096"),
        (&[&*lun, "--bs", "1g", "--rw", "write"], "--bs 1073741824 is more than the"),
        (&[&*beyond, "--timeout", "4", "--rw", "write"], &*format!("there are: {lun}")),
        (&[&*lun, "--target-pid", "4194305", "--rw", "write"], "is there a process with this number?"),
    ] {
        let output = world.run(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {stderr}");
        assert!(stderr.lines().last().is_some_and(|line| line.contains(said)), "{arguments:?}: {stderr}");
        assert_eq!(output.stdout, b"", "{arguments:?}");
    }
    assert_eq!(written(&world), 0..0);
    let output = io(&["-i", "nowhere0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.starts_with("xfcoe-bench: there is no interface `nowhere0` here"), "{stderr}");
}

#[test]
fn every_kind_of_io_is_measured_where_it_shall_be() {
    if !tests::have_root() {
        return;
    }
    let world = World::new();
    // The only LUN need not be named to be read.
    let report = json(&world.run(&["--json", "--runtime", "1"]));
    assert_eq!(
        keys(&report),
        ["bs_bytes", "in_place", "lun", "offset_bytes", "runs", "rw", "size_bytes", "verified"]
    );
    let run = &report["runs"][0];
    assert_eq!(
        keys(run),
        [
            "cpu_us_per_io",
            "iodepth",
            "read",
            "runtime_s",
            "stalled_ms",
            "stalls",
            "target_cpu_us_per_io",
            "write"
        ]
    );
    assert_eq!(
        keys(&run["read"]),
        ["iops", "max_us", "mb_s", "p50_us", "p90_us", "p9999_us", "p999_us", "p99_us"]
    );
    assert_eq!(
        (&report["lun"], &report["rw"], &report["bs_bytes"]),
        (&lun().into(), &"randread".into(), &4096.into())
    );
    assert_eq!((&run["iodepth"], &report["size_bytes"]), (&1.into(), &LUN_LEN.into()));
    assert_eq!((&run["write"], &report["verified"]), (&Value::Null, &Value::Null));
    assert!(run["read"]["iops"].as_f64().unwrap() > 100.0, "{report}");
    assert!(run["cpu_us_per_io"].as_f64().unwrap() > 0.0, "{report}");
    assert!(run["target_cpu_us_per_io"].is_null(), "{report}");
    assert_eq!(written(&world), 0..0);

    let pid = world.san.0.id().to_string();
    let range = ["--offset", "1m", "--size", "2m", "--runtime", "1", "--json", "--target-pid", &pid];
    let report = json(
        &world.run(&[&[&*lun(), "--rw", "write", "--bs", "64k", "--iodepth", "2"], &range[..]].concat()),
    );
    assert_eq!((&report["offset_bytes"], &report["size_bytes"]), (&(1 << 20).into(), &(2 << 20).into()));
    let run = &report["runs"][0];
    assert!(run["read"].is_null() && run["write"]["iops"].as_f64().unwrap() > 10.0, "{report}");
    assert!(run["target_cpu_us_per_io"].as_f64().unwrap() > 0.0, "{report}");
    assert_eq!(written(&world), 1 << 20..3 << 20);

    let mix = ["--rw", "randrw", "--rwmixread", "80", "--iodepth", "8", "--verify"];
    for in_place in [&[][..], &["--in-place"]] {
        let report = json(&world.run(&[&[&*lun()], &mix[..], in_place, &range].concat()));
        assert_eq!(report["in_place"], !in_place.is_empty());
        let iops = |kind: &str| report["runs"][0][kind]["iops"].as_f64().unwrap();
        assert!((3.0..6.0).contains(&(iops("read") / iops("write"))), "{report}");
        assert!(
            report["verified"]["reads"].as_u64().unwrap() > 512,
            "it reads the range at the end, too: {report}"
        );
        assert_eq!(written(&world), 1 << 20..3 << 20);
    }
}

#[test]
fn a_planted_wrong_byte_is_found() {
    if !tests::have_root() {
        return;
    }
    let world = World::new();
    let mut io = world.start(&[&lun(), "--verify", "--iodepth", "4", "--runtime", "600"]);
    wait_until("the pattern is written", || written(&world) == (0..LUN_LEN));
    let (disk, mut byte) = (world.disk(), [0]);
    disk.read_exact_at(&mut byte, 777 * 512 + 88).unwrap();
    disk.write_all_at(&[byte[0] ^ 1], 777 * 512 + 88).unwrap();
    let status = wait(&mut io, Duration::from_secs(30));
    let stderr = stderr(&mut io);
    assert_eq!(status, Some(1), "{stderr}");
    let said = "xfcoe-bench: measuring: the LUN does not give back what was written to it: LBA 777 differs from byte 88 on";
    assert_eq!(stderr.lines().last(), Some(said), "{stderr}");
}

#[test]
fn ctrl_c_prints_what_was_measured_and_logs_out() {
    if !tests::have_root() {
        return;
    }
    let world = World::new();
    for _ in 0..2 {
        let mut io = world.start(&[&lun(), "--rw", "randwrite", "--verify", "--json", "--runtime", "600"]);
        wait_until("the pattern is written", || written(&world) == (0..LUN_LEN));
        let pattern = world.data();
        wait_until("it is written over", || world.data() != pattern);
        kill(pid(&io), Signal::SIGINT).unwrap();
        let status = wait(&mut io, Duration::from_secs(10));
        let stderr = stderr(&mut io);
        assert_eq!(status, Some(130), "{stderr}");
        assert_eq!(stderr.lines().last(), Some("xfcoe-bench: interrupted while measuring"));
        let mut stdout = String::new();
        io.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
        let report: Value = serde_json::from_str(&stdout).unwrap();
        assert!(report["runs"][0]["write"]["iops"].as_f64().unwrap() > 0.0, "{report}");
        // The next one shall see nothing of this one's data.
        world.disk().write_all_at(&vec![0; LUN_LEN as usize], 0).unwrap();
    }
}

/// Also where the machine has other things to do, exchanges end.
#[test]
fn the_floor_is_measured_in_every_shape() {
    if !tests::have_root() {
        return;
    }
    let folder = Folder::new();
    for port in ["af_xdp", "af_packet"] {
        let page = folder.file(port);
        let arguments = ["floor", "--json", "--seconds", "1", "--port", port, "--html", &page];
        let report = json(&Command::new(&*BENCH).args(arguments).output().unwrap());
        let page = fs::read_to_string(&page).unwrap();
        assert!(page.contains("64 KiB writes, depth 4") && page.matches("</svg>").count() == 3, "{page}");
        let runs = report["runs"].as_array().unwrap();
        assert_eq!(runs.len(), 6, "{report}");
        assert!(runs.iter().all(|run| run["iops"].as_f64().unwrap() > 0.0), "{report}");
        assert!(runs.iter().all(|run| run["cpu_us_per_io"].as_f64().unwrap() > 0.0), "{report}");
    }
}

#[test]
fn the_floor_is_measured_without_what_makes_it_fast() {
    if !tests::have_root() {
        return;
    }
    let floor = |measure: &str| {
        let arguments = ["floor", "--json", "--seconds", "1", "--rounds", "1", "--without", measure];
        Command::new(&*BENCH).args(arguments).output().unwrap()
    };
    let report = json(&floor("batches of 64: 1"));
    let rows = report["rows"].as_array().unwrap();
    let names: Vec<_> = rows.iter().map(|row| &row["without"]).collect();
    assert_eq!(names, [&Value::Null, &"batches of 64: 1".into(), &"batches of 64: 16".into()]);
    let loads: Vec<_> = rows.iter().flat_map(|row| row["loads"].as_array().unwrap()).collect();
    assert_eq!(loads.len(), 9, "{report}");
    assert!(loads.iter().all(|load| load["iops"].as_f64().unwrap() > 0.0), "{report}");
    let unknown = floor("batches of 65");
    let stderr = String::from_utf8_lossy(&unknown.stderr);
    assert!(
        stderr.contains("no measure's name begins with `batches of 65`; there are: batches of 64: 1; "),
        "{stderr}"
    );
}

/// What the goals are, and whether they are reached, is for a machine that has nothing else to do.
#[test]
fn all_to_whom_a_disk_is_handed_out_are_measured_beside_the_library() {
    if !tests::have_root() {
        return;
    }
    for port in ["af_xdp", "af_packet"] {
        let arguments = ["exports", "--json", "--rounds", "1", "--round-ms", "100", "--port", port];
        let report = json(&Command::new(&*BENCH).args(arguments).output().unwrap());
        let rows = report["rows"].as_array().unwrap();
        let is_there = |client: &str, depth: u16| {
            rows.iter()
                .any(|row| row["client"].as_str().unwrap().starts_with(client) && row["iodepth"] == depth)
        };
        for depth in [1, 32] {
            let missing =
                ["library", "vhost-user", "NBD, a lean", "NBD, fio"].map(|client| !is_there(client, depth));
            assert_eq!(missing, [false; 4], "{report}");
        }
        assert!(rows.iter().all(|row| row["iops"].as_f64().unwrap() > 10.0), "{report}");
        for thread in ["san", "core", "client"] {
            let is_used = |row: &Value| row["cpu_us_per_io"][thread].as_f64().unwrap() > 0.0;
            assert!(rows.iter().all(is_used), "{thread}: {report}");
        }
    }
}

#[test]
fn frames_are_counted_from_one_end_to_the_other() {
    if !tests::have_root() {
        return;
    }
    for port in ["af_xdp", "af_packet"] {
        // So slowly that none is lost even where the machine has other things to do.
        let pace = ["--rate", "1000", "--burst", "8", "--size", "302,2158", "--seconds", "1", "--port", port];
        let report = json(&Command::new(&*BENCH).args(["frames", "--json"]).args(pace).output().unwrap());
        let trials = report["trials"].as_array().unwrap();
        assert_eq!(trials.len(), 2, "{report}");
        for (trial, size) in trials.iter().zip([302, 2158]) {
            let count = |name: &str| trial[name].as_u64().unwrap_or_else(|| panic!("{name}: {report}"));
            assert_eq!((count("size_bytes"), count("received")), (size, count("sent")), "{report}");
            assert!((8..=1008).contains(&count("sent")) && count("sent") % 8 == 0, "{report}");
            assert_eq!(["lost", "reordered", "duplicates", "damaged"].map(count), [0; 4], "{report}");
            assert!(trial["latency"]["p50_us"].as_f64().unwrap() > 0.0, "{report}");
        }
    }
}

/// How near to it is for a machine that has nothing else to do.
#[test]
fn frames_are_put_beside_the_floor() {
    if !tests::have_root() {
        return;
    }
    let arguments = ["frames", "--floor", "--json", "--seconds", "1"];
    let report = json(&Command::new(&*BENCH).args(arguments).output().unwrap());
    let rounds = report["rounds"].as_array().unwrap();
    assert_eq!(rounds.len(), 7, "{report}");
    let is_there = |round: &Value| {
        ["frames_fps", "floor_fps", "ratio"].iter().all(|figure| round[figure].as_f64().unwrap() > 0.0)
    };
    assert!(rounds.iter().all(is_there), "{report}");
    let reached = report["ratio"].as_f64().unwrap() >= report["goal"].as_f64().unwrap();
    assert_eq!(report["reached"], reached, "{report}");
}

#[test]
fn frames_go_between_two_processes() {
    if !tests::have_root() {
        return;
    }
    let cable = Cable::lay().unwrap();
    let frames = |arguments: &[&str]| {
        let mut frames = Command::new(&*BENCH);
        frames.args(["frames", "--json"]).args(arguments).stdout(Stdio::piped()).spawn().unwrap()
    };
    let receiver = cable.san.run(|| frames(&["--receive", SAN_INTERFACE])).unwrap();
    let link = || cable.san.run(|| tests::ip(&["-details", "link", "show", SAN_INTERFACE])).unwrap();
    wait_until("it attaches its XDP program", || link().contains("xdp"));
    // Its socket comes a moment later.
    thread::sleep(Duration::from_millis(500));
    let to = SAN_MAC.to_string();
    let pace = ["--to", &to, "--rate", "1000", "--size", "302,1070", "--seconds", "1"];
    let arguments = [&["--send", INITIATOR_INTERFACE], &pace[..]].concat();
    let sent = json(&cable.initiator.run(|| frames(&arguments).wait_with_output()).unwrap().unwrap());
    let received = json(&receiver.wait_with_output().unwrap());
    for (trial, size) in [(0, 302), (1, 1070)] {
        let (sent, received) = (&sent["trials"][trial], &received["trials"][trial]);
        assert_eq!(
            (&sent["size_bytes"], &received["size_bytes"]),
            (&size.into(), &size.into()),
            "{received}"
        );
        assert!(sent["sent"].as_u64().unwrap() > 0, "{sent}");
        assert_eq!((&received["received"], &received["lost"]), (&sent["sent"], &0.into()), "{received}");
        assert_eq!((&sent["received"], &received["latency"]), (&Value::Null, &Value::Null));
    }
}

#[test]
fn more_of_everything_is_measured() {
    if !tests::have_root() {
        return;
    }
    let arguments = ["scale", "--json", "--rounds", "1", "--seconds", "1", "--most", "16"];
    let report = json(&Command::new(&*BENCH).args(arguments).output().unwrap());
    let loads: Vec<_> = report["on_a_link"].as_array().unwrap().iter().collect();
    let counts: Vec<_> = loads.iter().map(|load| (&load["what"], load["count"].as_u64().unwrap())).collect();
    let whats = ["VN_Ports", "targets", "LUNs"].map(Value::from);
    let expected: Vec<_> = whats.iter().flat_map(|what| [(what, 1), (what, 16)]).collect();
    assert_eq!(counts, expected, "{report}");
    assert!(loads.iter().all(|load| load["iops"].as_f64().unwrap() > 0.0), "{report}");
}

/// Every peer does a load, and nothing of them is left.
#[test]
fn peers_are_measured() {
    if !tests::have_root() || !have_peers() {
        return;
    }
    let load = "4 KiB reads, depth 32";
    let arguments = ["peers", load, "--json", "--rounds", "1", "--seconds", "1"];
    let report = json(&Command::new(&*BENCH).args(arguments).output().unwrap());
    assert_eq!(report["failures"].as_array().unwrap().len(), 0, "{report}");
    let rows = report["rows"].as_array().unwrap();
    let peers: Vec<_> = rows.iter().map(|row| row["peer"].as_str().unwrap()).collect();
    assert_eq!(peers.len(), 9, "{report}");
    for row in rows {
        let cpu = |end: &str| row[end]["us_per_io"].as_f64().unwrap();
        assert!(row["load"] == load && row["iops"].as_f64().unwrap() > 0.0, "{report}");
        assert!(cpu("client") > 0.0 && cpu("server") > 0.0, "{report}");
        assert_eq!(row["p50_us"].is_null(), row["peer"].as_str().unwrap().contains("tgt"), "{report}");
    }
    let goals: Vec<_> = report["goals"].as_array().unwrap().iter().map(|goal| &goal["goal"]).collect();
    assert_eq!(goals, [&3.0, &2.0, &10.0, &10.0, &0.85], "{report}");
}

#[test]
fn ctrl_c_leaves_nothing_of_the_peers() {
    if !tests::have_root() || !have_peers() {
        return;
    }
    for signal in [Signal::SIGINT, Signal::SIGKILL] {
        let mut peers = Command::new(&*BENCH)
            .args(["peers", "--json", "--seconds", "600"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let children = || -> Vec<String> {
            let tasks = fs::read_dir(format!("/proc/{}/task", peers.id())).into_iter().flatten();
            let children = |task: DirEntry| fs::read_to_string(task.path().join("children"));
            let lines: Vec<_> = tasks.flatten().filter_map(|task| children(task).ok()).collect();
            lines.iter().flat_map(|line| line.split_whitespace()).map(str::to_owned).collect()
        };
        // Two SANs, four NBD servers, two iSCSI targets, and the first client.
        wait_until("all of them run", || children().len() == 9);
        let children = children();
        kill(pid(&peers), signal).unwrap();
        let status = wait(&mut peers, Duration::from_secs(10));
        assert_eq!(status, (signal == Signal::SIGINT).then_some(130));
        let is_left = |pid: &String| {
            fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
        };
        wait_until("all of them have ended", || !children.iter().any(is_left));
    }
}

/// Whether what `peers` runs is installed, as far as it is not for other tests, too.
fn have_peers() -> bool {
    let missing = |program: &&str| Command::new(program).arg("--help").output().is_err();
    let missing: Vec<_> = ["nbdkit", "tgtd", "iscsi-perf", "ethtool"].into_iter().filter(missing).collect();
    if !missing.is_empty() {
        tests::skip(&format!("there is no {}", missing.join(", no ")));
    }
    missing.is_empty()
}

#[test]
fn sizes_that_no_frame_has_are_refused() {
    for (arguments, status, said) in [
        (&["--size", "301"][..], 2, "sizes are 70 to 2158 in steps of 4"),
        (&["--size", "66"], 2, "sizes are 70 to 2158"),
        (&["--to", "02:fc:f0:00:00:01"], 2, "--send <IF>"),
        (&["--send", "lo"], 1, "say by --to MAC where frames go"),
    ] {
        let output = Command::new(&*BENCH).arg("frames").args(arguments).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {stderr}");
        assert!(stderr.contains(said), "{arguments:?}: {stderr}");
    }
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < deadline, "not within 30 s: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// The bytes of the LUN that aren't zero, from the first to the last, by whole 4 KiB.
fn written(world: &World) -> Range<u64> {
    let data = world.data();
    let is_written = |(chunk, at): (&[u8], u64)| chunk.iter().any(|&byte| byte > 0).then_some(at);
    let written: Vec<u64> = data.chunks(4096).zip((0..).step_by(4096)).filter_map(is_written).collect();
    written.first().copied().unwrap_or(0)..written.last().map_or(0, |last| last + 4096)
}

fn keys(object: &Value) -> Vec<&str> {
    object.as_object().expect("an object").keys().map(String::as_str).collect()
}

fn stderr(child: &mut Child) -> String {
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    text
}
