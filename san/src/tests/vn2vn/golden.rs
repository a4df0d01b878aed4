//! The Linux kernel's initiator logs in to the SAN: its side of captures, frame by frame at the captured times.

use super::*;
use crate::TargetConfig;
use fc::wire::ethernet::EtherType;
use fc::wire::fcoe::FcoeFrame;
use std::path::Path;

/// The ENode MAC address of the initiator; its names end with it.
const INITIATOR_ENODE: MacAddr = MacAddr([0x52, 0x54, 0, 0x0a, 0, 1]);

/// Frames with the time since the first one.
fn capture(name: &str) -> Vec<(Duration, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fc/tests/golden");
    let file = std::fs::read(folder.join(name)).expect("the capture is in the repository");
    let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
    let fraction = if word(0) == 0xa1b2_3c4d { 1 } else { 1000 };
    let mut frames = Vec::new();
    let mut at = 24;
    while at < file.len() {
        let time =
            Duration::from_secs(word(at).into()) + Duration::from_nanos(u64::from(word(at + 4)) * fraction);
        let len = word(at + 8) as usize;
        frames.push((time, file[at + 16..at + 16 + len].to_vec()));
        at += 16 + len;
    }
    let first = frames[0].0;
    frames.into_iter().map(|(time, frame)| (time - first, frame)).collect()
}

/// A capture fed to a SAN.
struct Replay {
    net: Net,
    /// What the kernel's target sent.
    theirs: Vec<Vec<u8>>,
    /// What the SAN sent.
    ours: Vec<Vec<u8>>,
    /// FCP_CMNDs that it got.
    commands: u64,
}

impl Replay {
    /// Plays the first `frames` frames to a SAN in the place of the target with this ENode MAC address, on a link
    /// with this MTU.
    fn new(name: &str, frames: usize, target: u64, mtu: u32) -> Self {
        let target = TargetConfig {
            wwpn: Wwn::from_u64(0x2000 << 48 | target),
            wwnn: Wwn::from_u64(0x1000 << 48 | target),
            ..config().targets[0].clone()
        };
        let config = SanConfig { targets: vec![target], r_a_tov_ms: 4000, ..config() };
        let net = Net::with_mtu(&config, mtu);
        let mut replay = Self { net, theirs: Vec::new(), ours: Vec::new(), commands: 0 };
        let mut vn_port = None;
        for (time, frame) in capture(name).into_iter().take(frames) {
            let (ethernet, payload) = EthernetHeader::parse(&frame).unwrap();
            let is_initiators = if ethernet.ethertype == EtherType::FIP {
                let fip = FipFrame::parse(payload).unwrap();
                let is_initiators = ethernet.source == INITIATOR_ENODE || fip.mac() == Ok(INITIATOR_ENODE);
                if is_initiators && fip.operation == Operation::CLAIM_NOTIFICATION {
                    vn_port = fip.vx_port().ok().map(|port| port.mac);
                }
                is_initiators
            } else {
                let header = FcoeFrame::parse(payload).unwrap().header();
                let is_initiators = vn_port == Some(ethernet.source);
                replay.commands += u64::from(is_initiators && header.r_ctl == RCtl::COMMAND);
                is_initiators
            };
            if is_initiators {
                replay.push(time, &frame);
            } else {
                replay.theirs.push(frame);
            }
        }
        replay
    }

    fn push(&mut self, time: Duration, frame: &[u8]) {
        while self.net.now < Instant::ZERO + time {
            self.net.wait(Duration::from_micros(500));
            self.take();
        }
        assert!(self.net.wire.push(frame));
        self.take();
    }

    fn take(&mut self) {
        while self.net.san.step(self.net.now) {}
        self.ours.extend(std::iter::from_fn(|| self.net.wire.pop()));
    }

    /// Holds what both said against each other, and every command against its response.
    fn compare(&self) {
        let comparable =
            |frames: &[Vec<u8>]| frames.iter().filter_map(|frame| comparable(frame)).collect::<Vec<_>>();
        let (ours, theirs) = (comparable(&self.ours), comparable(&self.theirs));
        let names =
            |frames: &[(String, Vec<u8>)]| frames.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&ours), names(&theirs));
        for ((name, ours), (_, theirs)) in ours.iter().zip(&theirs) {
            assert_eq!(ours, theirs, "{name}");
        }
        let is_response = |frame: &&Vec<u8>| frame[12..14] == [0x89, 0x06] && frame[28] == RCtl::STATUS.0;
        assert_eq!(self.ours.iter().filter(is_response).count() as u64, self.commands);
        let counters = self.net.san.stats().counters;
        assert_eq!(counters.commands, self.commands);
        assert_eq!((counters.dropped_malformed, counters.dropped_not_logged_in), (0, 0));
    }
}

/// What a frame is, by its operation or command, for as far as we can say the same as the kernel's target: its
/// claims say that it is an initiator too, and its PRLI that it knows FCP_CONF.
fn comparable(frame: &[u8]) -> Option<(String, Vec<u8>)> {
    const AT_ATTRIBUTES: std::ops::Range<usize> = 64..228;
    const AT_PARAMETERS: std::ops::Range<usize> = 68..72;
    let mut frame = frame.to_vec();
    let (ethernet, payload) = EthernetHeader::parse(&frame).unwrap();
    if ethernet.ethertype == EtherType::FIP {
        let fip = FipFrame::parse(payload).unwrap();
        let name = match fip.els() {
            Ok(els) => format!("FIP {:?} {:02x}", els.kind, els.payload[0]),
            Err(_) => format!("{:?}", fip.operation),
        };
        if fip.fc4_attributes().is_ok() {
            frame[AT_ATTRIBUTES].fill(0);
        }
        return Some((name, frame));
    }
    let fcoe = FcoeFrame::parse(payload).unwrap();
    fcoe.check_crc().unwrap();
    let (header, body) = (*fcoe.header(), fcoe.payload().unwrap());
    if header.fc_type != FcType::ELS || body[0] == ElsCommand::RTV.0 || body[0] == ElsCommand::PRLI.0 {
        return None;
    }
    let name = format!("ELS {:02x} {}", body[0], body.len());
    if body[1] == 0x10 {
        let end = frame.len() - 8;
        frame[AT_PARAMETERS].fill(0);
        frame[end..end + 4].fill(0);
    }
    Some((name, frame))
}

#[test]
fn the_kernels_initiator_logs_in_and_scans() {
    let replay = Replay::new("a1-login.pcap", usize::MAX, 0x5254_000a_0002, 2500);
    replay.compare();
    assert!(replay.commands > 50);
    assert_eq!(replay.net.san.stats().logins, 1);
}

#[test]
fn with_an_mtu_of_1500_frames_are_as_long_as_the_kernels() {
    let replay = Replay::new("m1-vn2vn-mtu1500.pcap", usize::MAX, 0x5254_000a_0002, 1500);
    replay.compare();
    assert!(replay.commands > 30);
    let longest = |frames: &[Vec<u8>]| frames.iter().map(Vec::len).max();
    assert_eq!(longest(&replay.ours), longest(&replay.theirs));
}

#[test]
fn the_kernels_initiator_finds_its_id_taken_and_takes_another() {
    /// Up to the LOGO of the initiator's end and our answer; the kernel's target goes on and logs in again.
    const FRAMES: usize = 31;
    let replay = Replay::new("k1-vn2vn-collision.pcap", FRAMES, 0x5254_000b_0001, 2500);
    replay.compare();
    assert_eq!(replay.net.san.stats().logins, 0, "it has logged out");
}
