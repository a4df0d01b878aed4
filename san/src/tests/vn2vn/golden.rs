//! The Linux kernel's initiator logs in to the SAN: its side of a capture, frame by frame at the captured times.

use super::*;
use crate::TargetConfig;
use fc::wire::ethernet::EtherType;
use fc::wire::fcoe::FcoeFrame;
use std::path::Path;

const HOST_ENODE: MacAddr = MacAddr([0x52, 0x54, 0, 0x0a, 0, 1]);
const KERNEL_TARGET: u64 = 0x5254_000a_0002;

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

/// The SAN in the place of the capture's target.
fn net() -> Net {
    let target = TargetConfig {
        wwpn: Wwn::from_u64(0x2000 << 48 | KERNEL_TARGET),
        wwnn: Wwn::from_u64(0x1000 << 48 | KERNEL_TARGET),
        ..config().targets[0].clone()
    };
    Net::new(&SanConfig { targets: vec![target], r_a_tov_ms: 4000, ..config() })
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
    let capture = capture("a1-login.pcap");
    let mut net = net();
    let mut ours = Vec::new();
    let mut commands = 0;
    let mut responses = 0;
    let is_initiators =
        |frame: &[u8]| frame[6..12] == HOST_ENODE.0 || frame[6..12] == [0x0e, 0xfd, 0, 0, 0, 1];
    for (time, frame) in capture.iter().filter(|(_, frame)| is_initiators(frame)) {
        let mut take = |net: &mut Net| {
            while net.san.step(net.now) {}
            while let Some(frame) = net.wire.pop() {
                ours.push(frame);
            }
        };
        while net.now < Instant::ZERO + *time {
            net.wait(Duration::from_micros(500));
            take(&mut net);
        }
        assert!(net.wire.push(frame));
        take(&mut net);
        commands += usize::from(frame[12..14] == [0x89, 0x06] && frame[28] == RCtl::COMMAND.0);
    }
    for frame in &ours {
        if frame[12..14] == [0x89, 0x06] && frame[28] == RCtl::STATUS.0 {
            responses += 1;
        }
    }
    assert!(commands > 50);
    assert_eq!(responses, commands, "every command ends");
    let stats = net.san.stats();
    assert_eq!((stats.logins, stats.counters.commands), (1, commands as u64));
    assert_eq!(stats.counters.dropped_not_logged_in, 0);
    assert_eq!(stats.counters.dropped_malformed, 0);

    let theirs = capture.iter().map(|(_, frame)| frame).filter(|frame| !is_initiators(frame));
    let theirs: Vec<_> = theirs.filter_map(|frame| comparable(frame)).collect();
    let ours: Vec<_> = ours.iter().filter_map(|frame| comparable(frame)).collect();
    let names =
        |frames: &[(String, Vec<u8>)]| frames.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&ours), names(&theirs));
    for ((name, ours), (_, theirs)) in ours.iter().zip(&theirs) {
        assert_eq!(ours, theirs, "{name}");
    }
}
