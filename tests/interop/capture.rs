//! What passes a port, in a file, and tshark's opinion of it.

use crate::image::Image;
use anyhow::{Context as _, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};

/// Frames of a capture, which has those that come first: 200 MB at most, and 10 s for tshark.
const MAX_FRAMES: &str = "100000";
/// What tcpdump may be late, in KiB.
const BUFFER_KIB: &str = "65536";

/// tcpdump at an interface, until it is ended or dropped.
#[derive(Debug)]
pub(crate) struct Capture {
    /// The interface.
    pub(crate) port: String,
    /// The file.
    pub(crate) path: PathBuf,
    tcpdump: Child,
    said: BufReader<ChildStderr>,
    has_ended: bool,
}

impl Capture {
    /// Captures at an interface of the calling thread's network namespace from now on.
    pub(crate) fn start(image: &Image, port: &str, path: PathBuf) -> anyhow::Result<Self> {
        let mut tcpdump = image.command("usr/bin/tcpdump");
        // As root all the way: it would become a user that may not write here.
        tcpdump.args(["-Z", "root", "-B", BUFFER_KIB, "-c", MAX_FRAMES, "-i", port, "-w"]).arg(&path);
        let mut tcpdump = tcpdump.stderr(Stdio::piped()).spawn().context("cannot run tcpdump")?;
        let said = BufReader::new(tcpdump.stderr.take().expect("it is a pipe"));
        let mut capture = Self { port: port.into(), path, tcpdump, said, has_ended: false };
        let mut line = String::new();
        while !line.contains("listening on") {
            line.clear();
            ensure!(capture.said.read_line(&mut line)? > 0, "tcpdump does not start at {port}");
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

/// The fields of every frame that `filter` likes.
pub(crate) fn tshark(path: &Path, filter: &str, fields: &[&str]) -> anyhow::Result<Vec<Vec<String>>> {
    let mut tshark = Command::new("tshark");
    tshark.args(["-n", "-T", "fields", "-Y", filter]).arg("-r").arg(path);
    tshark.args(fields.iter().flat_map(|field| ["-e", field]));
    let output = tshark.output().context("cannot run tshark; install it")?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "tshark can't read {}: {}", path.display(), error.trim());
    let text = String::from_utf8(output.stdout)?;
    Ok(text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect())
}
