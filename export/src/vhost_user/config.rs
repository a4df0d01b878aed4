//! What a device offers, and what it says of itself (VIRTIO 5.2.3, 5.2.4).

use super::MAX_RINGS;
use super::request::SECTOR_LEN;
use crate::block::Geometry;
use vhost::vhost_user::{VhostUserProtocolFeatures, VhostUserVirtioFeatures};

/// Segments of a request's data: what a ring of 128 entries, as QEMU makes it, leaves room for.
const SEG_MAX: u32 = 126;

/// Sectors of a discard: 1 GiB.
const MAX_DISCARD_SECTORS: u32 = 1 << 21;

/// Sectors of a write of zeroes, which are sent one by one: 64 MiB.
const MAX_WRITE_ZEROES_SECTORS: u32 = 1 << 17;

/// Bytes of the configuration; all others are zero.
const CONFIG_LEN: usize = 60;

/// The numbers of features that we know.
pub(super) mod feature {
    pub(in super::super) const SEG_MAX: u64 = 1 << 2;
    pub(in super::super) const RO: u64 = 1 << 5;
    pub(in super::super) const BLK_SIZE: u64 = 1 << 6;
    pub(in super::super) const FLUSH: u64 = 1 << 9;
    pub(in super::super) const MQ: u64 = 1 << 12;
    pub(in super::super) const DISCARD: u64 = 1 << 13;
    pub(in super::super) const WRITE_ZEROES: u64 = 1 << 14;
    pub(in super::super) const INDIRECT_DESC: u64 = 1 << 28;
    pub(in super::super) const EVENT_IDX: u64 = 1 << 29;
    pub(in super::super) const VERSION_1: u64 = 1 << 32;
}

/// Features of virtio, of its block device, and that there are those of vhost-user.
pub(super) fn features(geometry: &Geometry) -> u64 {
    let ring = feature::INDIRECT_DESC | feature::EVENT_IDX | feature::VERSION_1;
    let block = feature::SEG_MAX | feature::BLK_SIZE | feature::FLUSH | feature::MQ;
    let changes = match (geometry.read_only, geometry.discard) {
        (true, _) => feature::RO,
        (false, true) => feature::WRITE_ZEROES | feature::DISCARD,
        (false, false) => feature::WRITE_ZEROES,
    };
    ring | block | changes | VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits()
}

/// Features of vhost-user.
pub(super) fn protocol_features() -> VhostUserProtocolFeatures {
    VhostUserProtocolFeatures::MQ
        | VhostUserProtocolFeatures::CONFIG
        | VhostUserProtocolFeatures::INFLIGHT_SHMFD
        | VhostUserProtocolFeatures::REPLY_ACK
        | VhostUserProtocolFeatures::CONFIGURE_MEM_SLOTS
}

/// `len` bytes of the configuration, from `offset` on.
pub(super) fn config(geometry: &Geometry, offset: usize, len: usize) -> Vec<u8> {
    let block_sectors = geometry.block_len / SECTOR_LEN as u32;
    let mut config = [0; CONFIG_LEN];
    let mut put = |at: usize, bytes: &[u8]| config[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &(geometry.len() / SECTOR_LEN).to_le_bytes());
    put(12, &SEG_MAX.to_le_bytes());
    put(20, &geometry.block_len.to_le_bytes());
    put(34, &(MAX_RINGS as u16).to_le_bytes());
    put(36, &MAX_DISCARD_SECTORS.to_le_bytes());
    put(40, &1u32.to_le_bytes());
    put(44, &block_sectors.to_le_bytes());
    put(48, &MAX_WRITE_ZEROES_SECTORS.to_le_bytes());
    put(52, &1u32.to_le_bytes());
    (offset..offset + len).map(|at| config.get(at).copied().unwrap_or(0)).collect()
}
