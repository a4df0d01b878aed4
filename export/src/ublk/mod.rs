//! Disks of this machine's own kernel, `/dev/ublkb0` and so on, by its driver ublk.
//!
//! The kernel hands out requests by io_uring, and takes their ends the same way (Linux's
//! `Documentation/block/ublk.rst`). The crate `libublk` knows its commands. A device has a thread that makes it and
//! takes it away, and one for each of its queues, which owns that and a queue to the disk. `Requests` needs neither a
//! kernel nor a thread.
//!
//! **A device outlives its daemon.** Where that is killed, requests wait in the kernel, those too that were out, and the
//! daemon that takes the device over gets them once more (`UBLK_F_USER_RECOVERY_REISSUE`). It must be of the same disk:
//! what it is of stands in the device, as a number ([`Server::start`]).

#[cfg(not(feature = "ublk"))]
mod absent;
#[cfg(feature = "ublk")]
mod control;
#[cfg(feature = "ublk")]
mod parameters;
#[cfg(feature = "ublk")]
mod queue;
#[cfg(feature = "ublk")]
mod request;
#[cfg(feature = "ublk")]
mod requests;
#[cfg(feature = "ublk")]
mod server;

#[cfg(not(feature = "ublk"))]
pub use absent::{Server, check, remove_orphan};
#[cfg(feature = "ublk")]
pub use control::{check, remove_orphan};
#[cfg(feature = "ublk")]
pub use server::Server;

use std::io;
use thiserror::Error;

/// Whether this build has it: feature `ublk`.
pub const IS_BUILT: bool = cfg!(feature = "ublk");

/// One more than the highest number of a device (the kernel's `UBLK_MINORS`).
pub const MAX_DEVICES: u32 = 1 << 20;

/// The block device of a number.
pub fn path(number: u32) -> String {
    format!("/dev/ublkb{number}")
}

/// How a device stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum State {
    /// It is being made.
    Starting,
    /// This keeps it from being made; it is tried again and again.
    Hindered(String),
    /// It can be used.
    Live,
    /// It is gone: closed, or for this reason.
    Ended(Option<String>),
}

/// Why there is no device.
#[derive(Debug, Error)]
pub enum UblkError {
    /// It isn't part of this program.
    #[error("this build has no ublk: build it by `cargo build --release -p xfcoe --features ublk`")]
    NotBuilt,
    /// The kernel's driver isn't there.
    #[error(
        "there is no /dev/ublk-control: load the driver by `modprobe ublk_drv`, which kernels from 6.0 on may have"
    )]
    NoDriver,
    /// The driver can't be used.
    #[error(
        "cannot open /dev/ublk-control: {0}; ublk takes CAP_SYS_ADMIN and its files in /dev: run as root"
    )]
    Control(io::Error),
    /// Someone else has a device of that number.
    #[error("/dev/ublkb{number} is served by process {pid} already: end that, or take another number")]
    Taken {
        /// The device.
        number: u32,
        /// Who serves it.
        pid: i32,
    },
    /// A device of that number has lost whoever served it, and is of another disk.
    #[error(
        "/dev/ublkb{0} was left behind, and not by an export of the same part of the same LUN: take another number, or remove it by `xfcoe export remove` of an export at that number, or by `ublk del`"
    )]
    Foreign(u32),
    /// The device that was left behind doesn't look like the disk any more.
    #[error(
        "/dev/ublkb{0} was left behind when its LUN was another size or otherwise different: `xfcoe export remove` takes it away"
    )]
    Changed(u32),
    /// Linux has no such block device.
    #[error("the LUN has blocks of {0} bytes; a Linux block device has 512 to 4096")]
    BlockLen(u32),
    /// The kernel doesn't.
    #[error("cannot {what} /dev/ublkb{number}: {error}")]
    Kernel {
        /// What was tried: "add".
        what: &'static str,
        /// The device.
        number: u32,
        /// What it said.
        error: io::Error,
    },
    /// There are not the means for it, such as descriptors or memory.
    #[error(transparent)]
    Io(#[from] io::Error),
}
