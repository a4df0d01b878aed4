//! Why a port could not be opened.

use nix::errno::Errno;
use std::io;

/// What was tried, what happened, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// The interface isn't there.
    #[error(
        "open {interface}: there is no such interface here; `ip link` lists those of this network namespace"
    )]
    NoSuchInterface {
        /// Its name.
        interface: String,
    },
    /// The interface has fewer queues.
    #[error(
        "open queue {queue} of {interface}: it has {queues}; use one below, or give it more by `ethtool -L`"
    )]
    NoSuchQueue {
        /// The interface's name.
        interface: String,
        /// The queue that was asked for, counted from 0.
        queue: u32,
        /// How many there are.
        queues: u32,
    },
    /// Another AF_XDP socket has the queue.
    #[error(
        "bind an AF_XDP socket to queue {queue} of {interface}: another one has it; end that program (`ss --xdp` names it) or use another queue"
    )]
    QueueTaken {
        /// The interface's name.
        interface: String,
        /// The queue, counted from 0.
        queue: u32,
    },
    /// The process lacks a capability.
    #[error(
        "{step} on {interface}: not permitted; run as root or with CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF and CAP_PERFMON"
    )]
    NotPermitted {
        /// What was tried.
        step: &'static str,
        /// The interface's name.
        interface: String,
    },
    /// The kernel would not lock or find so much memory.
    #[error(
        "{step} on {interface}: no room for {mebibytes} MiB of frames; raise the limit of locked memory (`ulimit -l`) or use fewer frames"
    )]
    NoMemory {
        /// What was tried.
        step: &'static str,
        /// The interface's name.
        interface: String,
        /// How much was asked for.
        mebibytes: usize,
    },
    /// The kernel or the driver can't.
    #[error(
        "{step} on {interface}: not supported by this kernel or driver ({source}); use an AF_PACKET port"
    )]
    Unsupported {
        /// What was tried.
        step: &'static str,
        /// The interface's name.
        interface: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The number of frames can't be.
    #[error(
        "open {interface} with {receive_frames} frames to receive and {transmit_frames} to send: each must be at least 1, and both together at most {}",
        super::MAX_CHUNKS
    )]
    FrameCount {
        /// The interface's name.
        interface: String,
        /// Frames to receive into.
        receive_frames: usize,
        /// Frames to send.
        transmit_frames: usize,
    },
    /// Something else.
    #[error("{step} on {interface}: {source}")]
    Os {
        /// What was tried.
        step: &'static str,
        /// The interface's name.
        interface: String,
        /// What the kernel said.
        source: io::Error,
    },
}

impl PortError {
    /// Tells the causes apart that `step` can fail for on any kind of port.
    pub(super) fn new(step: &'static str, interface: &str, source: io::Error) -> Self {
        let interface = interface.to_owned();
        match source.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EPERM | Errno::EACCES) => Self::NotPermitted { step, interface },
            Some(Errno::ENODEV | Errno::ENXIO) => Self::NoSuchInterface { interface },
            Some(Errno::EAFNOSUPPORT | Errno::EOPNOTSUPP | Errno::EPROTONOSUPPORT | Errno::ENOPROTOOPT) => {
                Self::Unsupported { step, interface, source }
            }
            _ => Self::Os { step, interface, source },
        }
    }
}
