//! That the simulation is good for something: it repeats itself, and finds a bug that is planted.

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

fn sim(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sim")).args(arguments).output().expect("it runs")
}

fn summary(seed: &str) -> Value {
    let output = sim(&["--seed", seed, "--count", "2", "--seconds", "20", "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("a line of JSON")
}

#[test]
fn a_seed_gives_the_same_frames_every_time() {
    let (once, again, other) = (summary("3"), summary("3"), summary("0x5"));
    assert!(once["frames"].as_u64().unwrap() > 1000, "{once}");
    for of in ["hash", "frames", "requests", "simulated_s"] {
        assert_eq!(once[of], again[of], "{of}");
        assert_ne!(once[of], other[of], "{of}");
    }
}

#[test]
fn a_planted_bug_is_found_and_explained() {
    let output = sim(&["--canary", "--count", "100", "--seconds", "30"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    let has_line = |start: &str| stderr.lines().any(|line| line.starts_with(start));
    assert!(has_line("seed ") && has_line("FAILED at ") && stderr.contains("is wrong"), "{stderr}");
    let path = stderr.lines().last().and_then(|line| line.rsplit_once(" are in ")).expect("a file's name").1;
    let capture = std::fs::read(Path::new(path)).unwrap();
    assert!(capture.starts_with(&[0x0a, 0x0d, 0x0d, 0x0a]) && capture.len() > 10_000, "a pcapng file");
    std::fs::remove_file(path).unwrap();
}

#[test]
fn what_is_no_seed_is_told() {
    let output = sim(&["--seed", "one"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--seed"));
}
