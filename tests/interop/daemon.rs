//! `xfcoe run`, on the host.

use crate::image::mortal;
use anyhow::{Context as _, ensure};
use serde_json::Value;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

/// How long a login may take, and what an export waits for.
const LOGIN: Duration = Duration::from_secs(30);
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// A daemon that runs; dropped, it is killed, without a chance to say anything to anybody.
#[derive(Debug)]
pub(crate) struct Daemon {
    process: Child,
    control: PathBuf,
}

impl Daemon {
    /// Starts it at an interface, with its file and what it says in `folder`; returns when it serves all exports.
    ///
    /// # Errors
    /// If it doesn't.
    pub(crate) fn start(folder: &Path, interface: &str, exports: &str) -> anyhow::Result<Self> {
        let [config, log, control] =
            ["toml", "log", "control"].map(|end| folder.join(format!("{interface}.{end}")));
        let port = format!("[port.{interface}]\ninterface = \"{interface}\"\n");
        fs::write(&config, format!("{port}[control]\npath = \"{}\"\n{exports}", control.display()))?;
        let log = File::options().create(true).append(true).open(log)?;
        let mut program = mortal(program());
        program.arg("run").arg("-c").arg(config).stdout(log.try_clone()?).stderr(log);
        let process = program.spawn().context("cannot run xfcoe")?;
        let mut daemon = Self { process, control };
        let began = Instant::now();
        while !daemon.serves_all() {
            ensure!(daemon.process.try_wait()?.is_none(), "the daemon has ended: see {interface}.log");
            ensure!(began.elapsed() < LOGIN, "the daemon doesn't serve: {:?}", daemon.exports());
            thread::sleep(LOOK_INTERVAL);
        }
        Ok(daemon)
    }

    /// How its exports stand.
    ///
    /// # Errors
    /// If it doesn't say.
    pub(crate) fn exports(&self) -> anyhow::Result<Vec<Value>> {
        let mut status = Command::new(program());
        let said = status.args(["export", "list", "--json", "--control"]).arg(&self.control).output()?;
        let said: Value = serde_json::from_slice(&said.stdout).context("what `xfcoe export list` says")?;
        said["exports"].as_array().cloned().context("a list of exports")
    }

    fn serves_all(&self) -> bool {
        let is_served = |export: &Value| export["state"] == "serving";
        self.exports().is_ok_and(|exports| !exports.is_empty() && exports.iter().all(is_served))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn program() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/xfcoe")
}
