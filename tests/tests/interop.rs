//! What `./x interop` does before it needs anything: it runs by itself, as its scenarios take minutes.

use serde_json::Value;
use std::process::{Command, Output};

fn interop(arguments: &[&str], kernel: &str) -> Output {
    let mut interop = Command::new(env!("CARGO_BIN_EXE_interop"));
    interop.args(arguments).env("KERNEL", kernel).output().expect("it runs")
}

#[test]
fn it_shows_what_there_is() {
    let listed = interop(&["--list"], "");
    let names = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.status.success());
    assert!(names.lines().any(|line| line.starts_with("fabric ")), "{names}");

    let listed = interop(&["--list", "--json"], "");
    for line in String::from_utf8(listed.stdout).unwrap().lines() {
        let scenario: Value = serde_json::from_str(line).unwrap();
        assert!(scenario["scenario"].is_string() && scenario["quick"].is_boolean(), "{scenario}");
    }
}

#[test]
fn what_it_does_not_know_is_one_line() {
    for (arguments, kernel, said) in [
        (["fabrik"], "", "interop: there is no scenario `fabrik`; there are: all, quick, fabric, "),
        (["fabric"], "5.10", "interop: KERNEL=5.10 is not one of the kernels: 6.1, 6.12"),
    ] {
        let refused = interop(&arguments, kernel);
        let stderr = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(1), "{stderr}");
        assert!(stderr.starts_with(said) && stderr.lines().count() == 1, "{stderr}");
    }
}
