//! The SAN's side of a VN2VN login, with the Linux kernel's initiator at the other end.

use datapath::port::memory::{MemoryConfig, wire};
use fc::time::{Duration, Instant};
use fc::wire::ethernet::EthernetHeader;
use fc::wire::{MacAddr, Wwn};
use san::{Mode, San, SanConfig, TargetConfig};
use std::fs;
use std::path::Path;

/// The initiator's ENode and VN_Port.
const INITIATOR: [MacAddr; 2] = [MacAddr([0x52, 0x54, 0, 0x0a, 0, 1]), MacAddr([0x0e, 0xfd, 0, 0, 0, 1])];
/// Of the capture, up to RTV: what follows is SCSI.
const FRAMES: usize = 23;
const STEP: Duration = Duration::from_millis(1);

/// Feeds the initiator's frames of a capture to a SAN in the place of the target. All frames in their order, and
/// whether the SAN sent them.
pub(crate) fn login() -> Vec<(bool, Vec<u8>)> {
    let target = TargetConfig {
        wwpn: Wwn::from_u64(0x2000_5254_000a_0002),
        wwnn: Wwn::from_u64(0x1000_5254_000a_0002),
        luns: Vec::new(),
        ..TargetConfig::default()
    };
    let (port, mut wire) = wire(MemoryConfig::default());
    let config = SanConfig { mode: Mode::Vn2vn, targets: vec![target], ..SanConfig::default() };
    let mut san = San::new(port, &config).unwrap();
    let mut now = Instant::ZERO;
    let mut frames = Vec::new();
    for (time, frame) in capture().into_iter().take(FRAMES) {
        let (ethernet, _) = EthernetHeader::parse(&frame).unwrap();
        if !INITIATOR.contains(&ethernet.source) {
            continue;
        }
        while now < Instant::ZERO + time {
            now = now + STEP;
            while san.step(now) {}
            frames.extend(std::iter::from_fn(|| wire.pop()).map(|frame| (true, frame)));
        }
        assert!(wire.push(&frame));
        frames.push((false, frame));
    }
    while san.step(now) {}
    frames.extend(std::iter::from_fn(|| wire.pop()).map(|frame| (true, frame)));
    frames
}

/// Frames with the time since the first one.
fn capture() -> Vec<(Duration, Vec<u8>)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fc/tests/golden/a1-login.pcap");
    let file = fs::read(path).expect("the capture is in the repository");
    let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().expect("four bytes"));
    let mut frames = Vec::new();
    let mut at = 24;
    while at < file.len() {
        let time = Duration::from_secs(word(at).into()) + Duration::from_micros(word(at + 4).into());
        let end = at + 16 + word(at + 8) as usize;
        frames.push((time, file[at + 16..end].to_vec()));
        at = end;
    }
    let first = frames[0].0;
    frames.into_iter().map(|(time, frame)| (time - first, frame)).collect()
}
