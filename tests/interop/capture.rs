//! What passes a port, in a file, and tshark's opinion of it.

use crate::image::{Image, mortal};
use anyhow::{Context as _, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Stdio};

/// Frames of a capture, which has those that come first: 200 MB at most, and 10 s for tshark.
const MAX_FRAMES: &str = "100000";
/// What tcpdump may be late, in KiB.
const BUFFER_KIB: &str = "65536";

/// tcpdump at an interface, until it is ended or dropped.
#[derive(Debug)]
pub(crate) struct Capture {
    /// The port.
    pub(crate) port: String,
    /// The file, of its name.
    pub(crate) path: PathBuf,
    tcpdump: Child,
    said: BufReader<ChildStderr>,
    has_ended: bool,
}

impl Capture {
    /// Captures at `interface` of the calling thread's network namespace from now on, for the port `port`.
    pub(crate) fn start(image: &Image, port: &str, interface: &str, folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join(format!("{port}.pcap"));
        let mut tcpdump = image.command("usr/bin/tcpdump");
        // As root all the way: it would become a user that may not write here.
        tcpdump.args(["-Z", "root", "--immediate-mode", "-B", BUFFER_KIB, "-c", MAX_FRAMES]);
        tcpdump.args(["-i", interface, "-w"]).arg(&path);
        let mut tcpdump = tcpdump.stderr(Stdio::piped()).spawn().context("cannot run tcpdump")?;
        let said = BufReader::new(tcpdump.stderr.take().expect("it is a pipe"));
        let mut capture = Self { port: port.into(), path, tcpdump, said, has_ended: false };
        let mut line = String::new();
        while !line.contains("listening on") {
            line.clear();
            ensure!(capture.said.read_line(&mut line)? > 0, "tcpdump does not start at {interface}");
        }
        Ok(capture)
    }

    /// Ends it, with everything in the file; nothing is left to do a second time.
    ///
    /// # Errors
    /// If frames are missing.
    pub(crate) fn end(&mut self) -> anyhow::Result<()> {
        if std::mem::replace(&mut self.has_ended, true) {
            return Ok(());
        }
        kill(Pid::from_raw(self.tcpdump.id().try_into()?), Signal::SIGINT)?;
        let mut said = String::new();
        self.said.read_to_string(&mut said)?;
        self.tcpdump.wait()?;
        let missed = said.lines().find_map(|line| line.strip_suffix(" packets dropped by kernel"));
        ensure!(missed == Some("0"), "{} lacks frames: {said}", self.path.display());
        Ok(())
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        // A scenario that failed wants to be understood, so its frames go to the file, too.
        let _ = self.end();
    }
}

/// Frames that no capture may have: malformed ones, and those with a wrong CRC.
const WRONG: &str = "_ws.malformed || fcoe.crc.status == 0 || fip.desc_unk";

/// Holds every frame of a capture against tshark; how many there are.
///
/// # Errors
/// The first of the frames that are wrong.
pub(crate) fn check(path: &Path) -> anyhow::Result<usize> {
    let columns = ["frame.number", "eth.src", "_ws.col.Info", "_ws.expert.message"];
    let wrong = tshark(path, WRONG, &columns)?;
    if let Some(first) = wrong.first() {
        bail!("{} frames of {} are wrong, such as {}", wrong.len(), path.display(), first.join(" "));
    }
    Ok(tshark(path, "fcoe || fip", &["frame.number"])?.len())
}

/// A frame of a capture.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Captured {
    /// Seconds since 1970.
    pub(crate) time_s: f64,
    /// Its source's MAC address.
    pub(crate) source: String,
    /// What tshark says about it.
    pub(crate) info: String,
}

/// The frames that `filter` likes.
pub(crate) fn frames(path: &Path, filter: &str) -> anyhow::Result<Vec<Captured>> {
    let frame = |fields: &Vec<String>| match fields.as_slice() {
        [time, source, info] => {
            Ok(Captured { time_s: time.parse()?, source: source.clone(), info: info.clone() })
        }
        _ => bail!("tshark said {fields:?}"),
    };
    tshark(path, filter, &["frame.time_epoch", "eth.src", "_ws.col.Info"])?.iter().map(frame).collect()
}

/// The fields of every frame that `filter` likes.
fn tshark(path: &Path, filter: &str, fields: &[&str]) -> anyhow::Result<Vec<Vec<String>>> {
    let mut tshark = mortal("tshark");
    tshark.args(["-n", "-T", "fields", "-Y", filter]).arg("-r").arg(path);
    tshark.args(fields.iter().flat_map(|field| ["-e", field]));
    let output = tshark.output().context("cannot run tshark; install it")?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "tshark can't read {}: {}", path.display(), error.trim());
    let text = String::from_utf8(output.stdout)?;
    Ok(text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::process::Command;

    #[test]
    fn wrong_frames_are_found() {
        if Command::new("tshark").arg("--version").output().is_err() {
            return ::tests::skip("needs tshark");
        }
        let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../fc/tests/golden/f1-fabric-login-and-io.pcap");
        assert!(check(Path::new(golden)).unwrap() > 600);
        assert!(frames(Path::new(golden), "fip.opcode == 4").unwrap()[0].info.contains("VLAN"));

        let mut bytes = fs::read(golden).unwrap();
        // Somewhere in its last frame.
        let last = bytes.len() - 20;
        bytes[last] ^= 1;
        let path = std::env::temp_dir().join(format!("xfcoe-wrong-{}.pcap", std::process::id()));
        fs::write(&path, bytes).unwrap();
        let error = check(&path).unwrap_err().to_string();
        fs::remove_file(&path).unwrap();
        assert!(error.starts_with("1 frames of "), "{error}");
    }
}
