//! `xfcoe fault`: orders to a SAN that runs, and what may come to its socket instead.

use super::{Folder, Killed, TARGET, json, pid, run, wait, xfcoe};
use nix::sys::signal::{Signal, kill};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};
use xfcoe::netns::{Cable, INITIATOR_INTERFACE, SAN_INTERFACE};

/// A SAN that takes orders, on a cable of its own.
struct San {
    child: Killed,
    control: String,
    cable: Cable,
}

impl San {
    fn start(control: &str) -> Self {
        let cable = Cable::lay().unwrap();
        let spawn = || {
            let mut san = xfcoe(&["san", "-i", SAN_INTERFACE, "--json", "--control", control]);
            san.stdout(Stdio::piped()).spawn().unwrap()
        };
        let child = Killed(cable.san.run(spawn).unwrap());
        let deadline = Instant::now() + Duration::from_secs(10);
        while UnixStream::connect(control).is_err() {
            assert!(Instant::now() < deadline, "it takes no orders");
            thread::sleep(Duration::from_millis(20));
        }
        Self { child, control: control.into(), cable }
    }

    fn fault(&self, arguments: &[&str]) -> Value {
        json(&run(&[&["fault", &self.control], arguments, &["--json"]].concat()))
    }

    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.control).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    }

    fn end(mut self) {
        kill(pid(&self.child.0), Signal::SIGTERM).unwrap();
        assert_eq!(wait(&mut self.child.0, Duration::from_secs(10)), Some(0));
    }
}

fn is_socket(path: &str) -> bool {
    fs::symlink_metadata(path).is_ok_and(|there| there.file_type().is_socket())
}

#[test]
fn orders_reach_a_san_that_runs() {
    if !tests::have_root() {
        return;
    }
    let folder = Folder::new();
    let san = San::start(&folder.file("san.sock"));
    let mode = fs::metadata(&san.control).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "{mode:o}");

    let targets = || {
        let arguments = ["list", "-i", INITIATOR_INTERFACE, "--timeout", "5", "--json"];
        let output = san.cable.initiator.run(|| run(&arguments)).unwrap();
        let listing: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        listing["ports"][0]["targets"].as_array().map_or(0, Vec::len)
    };
    assert_eq!(targets(), 1);
    san.fault(&["kill", TARGET]);
    assert_eq!(targets(), 0);
    san.fault(&["revive", TARGET]);
    san.fault(&["frame", "lose", "command", "--count", "1"]);
    san.fault(&["rates", "--duplicate", "1%", "--seed", "3"]);
    assert_eq!(targets(), 1, "a lost command is tried again");
    let summary = san.fault(&["show"]);
    assert_eq!(summary["faults"]["received"]["lost"], 1, "{summary}");

    let refused = run(&["fault", &san.control, "kill", "20:00:00:00:00:00:00:09"]);
    let stderr = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{stderr}");
    let said = "xfcoe: the SAN refused: no target has the port name 20:00:00:00:00:00:00:09; there are: ";
    assert_eq!(stderr.trim_end(), format!("{said}{TARGET}"));

    let control = san.control.clone();
    san.end();
    assert!(!Path::new(&control).exists(), "its socket was left");
    let refused = run(&["fault", &control, "show"]);
    let stderr = String::from_utf8_lossy(&refused.stderr);
    assert!(stderr.contains("no SAN takes orders at") && stderr.lines().count() == 1, "{stderr}");
}

#[test]
fn a_client_that_misbehaves_ends_its_own_connection() {
    if !tests::have_root() {
        return;
    }
    let folder = Folder::new();
    let san = San::start(&folder.file("san.sock"));
    let long = "x".repeat(5000);
    for (request, said) in [
        ("GET / HTTP/1.1\r\n", "expected value"),
        ("\u{0}\u{1}\u{2}\n", "expected value"),
        ("{\"order\":\"explode\"}\n", "unknown variant `explode`"),
        ("{\"order\":{\"faults\":{\"los_ppm\":1}}}\n", "unknown field `los_ppm`"),
        ("{\"order\":{\"faults\":{\"loss_ppm\":-1}}}\n", "invalid value: integer `-1`"),
        (&long, "more than 4096 bytes"),
    ] {
        let mut stream = san.connect();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answers = String::new();
        // What it has not read of a long line resets the connection, after the answer.
        let _ = stream.read_to_string(&mut answers);
        assert!(answers.starts_with("{\"refused\":\"this is no request: "), "{request:?}: {answers}");
        assert!(answers.contains(said) && answers.lines().count() == 1, "{request:?}: {answers}");
    }

    // Order after order by one who never reads an answer: he is cut off, and others are served meanwhile.
    let mut flood = san.connect();
    flood.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
    let flooding = thread::spawn(move || {
        let requests = "\"show\"\n".repeat(1000);
        (0..100_000).any(|_| flood.write_all(requests.as_bytes()).is_err())
    });
    for _ in 0..10 {
        san.fault(&["show"]);
    }
    assert!(flooding.join().unwrap(), "a flood was swallowed");

    // Those who say nothing take the places of others, but no more than there are.
    let mut silent: Vec<_> = (0..8).map(|_| san.connect()).collect();
    let ask = || {
        let mut stream = san.connect();
        let _ = stream.write_all(b"\"show\"\n");
        let mut answer = String::new();
        let _ = BufReader::new(stream).read_line(&mut answer);
        answer
    };
    let deadline = Instant::now() + Duration::from_secs(10);
    while !ask().contains("8 others give orders already") {
        assert!(Instant::now() < deadline, "{}", ask());
    }
    silent.pop();
    while !ask().starts_with("{\"done\":") {
        assert!(Instant::now() < deadline, "{}", ask());
    }
    san.end();
}

#[test]
fn only_a_dead_socket_makes_way() {
    if !tests::have_root() {
        return;
    }
    let folder = Folder::new();
    let control = folder.file("san.sock");
    let refused = || {
        let cable = Cable::lay().unwrap();
        let output = cable.san.run(|| run(&["san", "-i", SAN_INTERFACE, "--control", &control])).unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    fs::write(&control, "precious").unwrap();
    let stderr = refused();
    assert!(
        stderr.contains("there is something that is no socket; remove it or name another path"),
        "{stderr}"
    );
    assert_eq!(fs::read(&control).unwrap(), b"precious");
    fs::remove_file(&control).unwrap();

    let mut first = San::start(&control);
    let stderr = refused();
    assert!(stderr.contains("another program listens there"), "{stderr}");
    first.fault(&["show"]);
    kill(pid(&first.child.0), Signal::SIGKILL).unwrap();
    wait(&mut first.child.0, Duration::from_secs(10));
    assert!(is_socket(&control), "a killed SAN cleans nothing up");
    let second = San::start(&control);
    second.fault(&["show"]);
    second.end();
    assert!(!is_socket(&control));
}
