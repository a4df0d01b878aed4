//! What guests are made of: unpacked Debian packages and a kernel.

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A kernel that Debian has a package of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, ValueEnum)]
pub(crate) enum Kernel {
    /// Debian 12's own
    #[value(name = "6.1")]
    V6_1,
    /// its backport of Debian 13's
    #[value(name = "6.12")]
    V6_12,
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::V6_1 => "6.1",
            Self::V6_12 => "6.12",
        })
    }
}

/// Unpacked packages.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    /// A root folder with the tools of host and guest.
    pub(crate) tools: PathBuf,
    /// `vmlinux`, `initramfs` and `lib/modules`.
    pub(crate) linux: PathBuf,
}

impl Image {
    /// Downloads and unpacks what is missing; `packages` says what and how.
    ///
    /// # Errors
    /// What could not be had.
    pub(crate) fn prepare(kernel: Kernel) -> anyhow::Result<Self> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/interop/packages");
        let mut packages = mortal(script);
        packages.arg(kernel.to_string()).stderr(Stdio::inherit());
        let output = packages.output().with_context(|| format!("cannot run {script}"))?;
        let said = String::from_utf8(output.stdout)?;
        match (output.status.success(), said.trim().split_once('\n')) {
            (true, Some((tools, linux))) => Ok(Self { tools: tools.into(), linux: linux.into() }),
            _ if said.is_empty() => bail!("{script} ended with {}", output.status),
            _ => bail!("{}", said.trim()),
        }
    }

    /// A program of the tools, with their libraries; [`mortal`].
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = mortal(self.tools.join("lib64/ld-linux-x86-64.so.2"));
        let libraries = ["lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"];
        let libraries = libraries.map(|folder| self.tools.join(folder).display().to_string()).join(":");
        command.args(["--library-path", &libraries]).arg(self.tools.join(program));
        command.env("QEMU_MODULE_DIR", self.tools.join("usr/lib/x86_64-linux-gnu/qemu"));
        command
    }
}

/// A program that is killed when the thread ends that has started it, however that ends.
pub(crate) fn mortal(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(program);
    command
}

/// The folder for what outlives a run.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/interop")
}
