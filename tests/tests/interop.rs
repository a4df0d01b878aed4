//! What `./x interop` does before it needs anything: it runs by itself, as its scenarios take minutes.

use serde_json::Value;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
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

#[test]
fn a_second_run_is_one_line() {
    if !tests::have_root() {
        return;
    }
    let last = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/interop/last");
    fs::create_dir_all(&last).unwrap();
    let lock = File::create(last.join("lock")).unwrap();
    // A run that goes on now has it, and does as well.
    let _ = lock.try_lock();
    let refused = interop(&["fabric"], "");
    assert_one_line(
        &refused.stderr,
        "interop: another ./x interop runs in this checkout; wait for it to end: ",
    );
    assert_eq!(refused.status.code(), Some(1));
}

/// A checkout with nothing in it but what brings packages.
struct Checkout(PathBuf);

impl Checkout {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("xfcoe-{name}-{}", std::process::id()));
        let interop = folder.join("tests/interop");
        fs::create_dir_all(interop.join("guest")).unwrap();
        for file in ["packages", "guest/init"] {
            let original = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop").join(file);
            fs::copy(original, interop.join(file)).unwrap();
        }
        Self(folder)
    }

    fn packages(&self) -> Command {
        let mut packages = Command::new(self.0.join("tests/interop/packages"));
        packages.arg("6.1");
        packages
    }

    fn assert_nothing_is_left(&self) {
        let left: Vec<_> = fs::read_dir(self.0.join("target/interop")).unwrap().flatten().collect();
        assert!(left.iter().all(|entry| entry.file_name() == "lock"), "{left:?}");
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        // What stays in a folder for such things does no harm.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn assert_one_line(said: &[u8], begin: &str) {
    let said = String::from_utf8_lossy(said);
    assert!(said.starts_with(begin) && said.lines().count() == 1, "{said}");
}

#[test]
fn packages_that_can_not_be_fetched_are_one_line() {
    if Command::new("apt-get").arg("--version").output().is_err() {
        return tests::skip("needs apt-get");
    }
    let checkout = Checkout::new("no-packages");
    let config = checkout.0.join("apt.conf");
    let empty = checkout.0.display();
    let none = format!(
        "Dir::Etc::sourcelist \"/dev/null\"; Dir::Etc::sourceparts \"/dev/null\"; Dir::State::lists \"{empty}/lists\";
         Dir::Cache::pkgcache \"\"; Dir::Cache::srcpkgcache \"\";"
    );
    fs::write(&config, none).unwrap();
    let failed = checkout.packages().env("APT_CONFIG", &config).output().unwrap();
    assert_eq!(failed.status.code(), Some(1), "{failed:?}");
    assert_one_line(
        &failed.stdout,
        "apt-get could not download linux-image-amd64 or the tools: E: Unable to locate package qemu-system-x86",
    );
    checkout.assert_nothing_is_left();
}

#[test]
fn a_system_without_packages_is_one_line() {
    let checkout = Checkout::new("no-apt");
    let path = checkout.0.join("path");
    fs::create_dir(&path).unwrap();
    for program in ["bash", "dirname", "mkdir", "sha256sum", "cut", "cat"] {
        let found = ["/usr/bin", "/bin"].map(|folder| Path::new(folder).join(program));
        let found = found.iter().find(|file| file.exists()).expect("every system has it");
        symlink(found, path.join(program)).unwrap();
    }
    let failed = checkout.packages().env("PATH", &path).output().unwrap();
    assert_eq!(failed.status.code(), Some(1), "{failed:?}");
    assert_one_line(&failed.stdout, "there is no apt-get: the guests are made of Debian's packages");
    checkout.assert_nothing_is_left();
}
