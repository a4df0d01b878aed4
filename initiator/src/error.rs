//! What can go wrong, for people and for programs.

use control::IdentityError;
use control::link::LinkError;
use datapath::port::nic::NicError;
use fc::messages::TransportError;
use fc::wire::scsi::{Sense, Status};
use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// Why an initiator could not be started.
#[derive(Debug, Error)]
pub enum StartError {
    /// The interface can't be looked up.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// Not even FCoE frames of the shortest payload fit the interface.
    #[error(
        "interface {interface} has an MTU of {mtu}, too small for FCoE: `ip link set {interface} mtu 2500`, and as much on the way to the SAN"
    )]
    MtuTooSmall {
        /// The interface.
        interface: String,
        /// Its MTU in bytes.
        mtu: u32,
    },
    /// The interface has no unicast MAC address.
    #[error("interface {interface} has no unicast MAC address: it is no Ethernet interface")]
    NoMac {
        /// The interface.
        interface: String,
    },
    /// The XDP program or the socket.
    #[error(transparent)]
    Nic(#[from] NicError),
    /// An identity that can't be.
    #[error("interface {interface}: {source}")]
    Identity {
        /// The interface.
        interface: String,
        /// What is wrong with it.
        source: IdentityError,
    },
    /// The capture file.
    #[error("can't create the capture file {}: {source}", .path.display())]
    Capture {
        /// Its path.
        path: PathBuf,
        /// What failed.
        source: io::Error,
    },
    /// The process can't have another thread or descriptor.
    #[error("can't start the initiator's threads: {0}")]
    System(#[source] io::Error),
}

/// Why a request to a disk failed.
#[derive(Debug, Error)]
pub enum DiskError {
    /// Blocks beyond the disk's end.
    #[error("blocks {lba}..{} reach beyond the disk's end at block {capacity}", lba.saturating_add(*blocks))]
    OutOfRange {
        /// First block.
        lba: u64,
        /// How many.
        blocks: u64,
        /// The disk's blocks.
        capacity: u64,
    },
    /// A length that is no whole number of blocks.
    #[error("{len} bytes are no whole number of the disk's blocks of {block_len} bytes")]
    Unaligned {
        /// The buffer's length.
        len: usize,
        /// The disk's.
        block_len: u32,
    },
    /// More than one command can move.
    #[error("{len} bytes are more than the {limit} that one request can move; split it")]
    TooLong {
        /// The buffer's length.
        len: usize,
        /// The limit.
        limit: usize,
    },
    /// The queue's depth is reached: poll first.
    #[error("the queue is full: take completions first")]
    QueueFull,
    /// The target doesn't do UNMAP for this LUN.
    #[error("the target does not support UNMAP for this disk")]
    NoDiscard,
    /// Less data moved than was asked for, though the target says GOOD.
    #[error("the target moved {transferred} of {expected} bytes")]
    Short {
        /// Bytes asked for.
        expected: usize,
        /// Bytes moved.
        transferred: usize,
    },
    /// The target's answer.
    #[error("the target answered {status}{}", .sense.map(|sense| format!(": {sense}")).unwrap_or_default())]
    Scsi {
        /// The SCSI status.
        status: Status,
        /// Decoded sense data.
        sense: Option<Sense>,
    },
    /// The fabric's or the session's failure.
    #[error("{0}")]
    Transport(#[from] TransportError),
    /// The thread could not sleep.
    #[error("can't wait for completions: {0}")]
    System(#[source] io::Error),
}
