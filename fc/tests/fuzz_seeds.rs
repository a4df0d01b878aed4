//! The fuzz targets without a fuzzer: with what the captures carry, and with mutations of it.

mod common;
#[allow(unreachable_pub, reason = "the fuzz crate has the same file as its library")]
#[path = "../fuzz/src/lib.rs"]
mod fuzz;

use common::golden_frames;
use fc::wire::ethernet::{EtherType, EthernetHeader};
use fc::wire::fcoe::FcoeFrame;
use fc::wire::fcp::{FcpCmnd, FcpRsp};
use fc::wire::fip::FipFrame;
use fc::wire::header::{FcType, RCtl};
use fuzz::TARGETS;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Mutations in all, enough for every target to see each of its seeds many times in about a second.
const MUTATIONS: usize = 100_000;

type Seeds = BTreeMap<&'static str, BTreeSet<Vec<u8>>>;

/// What the captures carry, by target; each once.
fn seeds() -> Seeds {
    let mut seeds = Seeds::new();
    let mut add = |target, bytes: &[u8]| seeds.entry(target).or_default().insert(bytes.to_vec());
    for sequence in vn2vn_sequences() {
        add("vn2vn", &sequence);
    }
    for (_, _, bytes) in golden_frames() {
        let (ethernet, payload) = EthernetHeader::parse(&bytes).unwrap();
        match ethernet.ethertype {
            EtherType::FIP => {
                add("fip", payload);
                if let Ok(els) = FipFrame::parse(payload).unwrap().els() {
                    add("els", &els.payload);
                }
            }
            EtherType::FCOE => {
                let frame = FcoeFrame::parse(payload).unwrap();
                let payload = frame.payload().unwrap();
                add("ethernet_fcoe", &bytes);
                match (frame.header().fc_type, frame.header().r_ctl) {
                    (FcType::ELS, _) => add("els", payload),
                    (FcType::BLS, _) => add("bls", payload),
                    (FcType::CT, _) => add("ct", payload),
                    // Longer data is what disks hold.
                    (FcType::FCP, RCtl::DATA) if payload.len() <= 256 => add("scsi_data", payload),
                    (FcType::FCP, RCtl::COMMAND) => {
                        add("scsi_cdb", &FcpCmnd::parse(payload).unwrap().fixed.cdb);
                        add("fcp", payload)
                    }
                    (FcType::FCP, RCtl::STATUS) => {
                        add("sense", FcpRsp::parse(payload).unwrap().sense);
                        add("fcp", payload)
                    }
                    (FcType::FCP, RCtl::DATA_DESCRIPTOR) => add("fcp", payload),
                    _ => false,
                };
            }
            _ => {}
        }
    }
    seeds
}

/// What the host of [`fuzz::VN2VN_MAC`] hears in each capture with VN2VN in it, a frame every 50 ms: while it looks for
/// its N_Port_ID, and when it has one.
fn vn2vn_sequences() -> Vec<Vec<u8>> {
    const CAPTURES: [&str; 3] = ["a1-login.pcap", "k1-vn2vn-collision.pcap", "m1-vn2vn-mtu1500.pcap"];
    const FRAMES: usize = 23;
    let event = |kind: u8, body: &[u8]| {
        let len = u16::try_from(body.len()).unwrap().to_be_bytes();
        [&[kind], &len[..], body].concat()
    };
    let mut heard: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for (capture, number, bytes) in golden_frames() {
        let source = EthernetHeader::parse(&bytes).unwrap().0.source;
        if CAPTURES.contains(&capture.as_str()) && number <= FRAMES && source != fuzz::VN2VN_MAC {
            heard.entry(capture).or_default().extend([event(1, &[0, 50]), event(0, &bytes)].concat());
        }
    }
    let links = [event(3, &[]), [event(3, &[]), event(1, &[8, 0])].concat()];
    links.iter().flat_map(|link| heard.values().map(|heard| [link.as_slice(), heard].concat())).collect()
}

#[test]
fn every_target_has_seeds_and_survives_them() {
    let seeds = seeds();
    assert_eq!(seeds.len(), TARGETS.len(), "{:?}", seeds.keys());
    // Every target takes the seeds of all: a peer may send anything anywhere.
    for (_, target) in TARGETS {
        seeds.values().flatten().for_each(|seed| target(seed));
    }
}

#[test]
fn every_target_survives_mutations() {
    let seeds = seeds();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for (name, target) in TARGETS {
        let seeds: Vec<_> = seeds[name].iter().collect();
        for _ in 0..MUTATIONS / TARGETS.len() {
            let mut bytes = seeds[random.below(seeds.len())].clone();
            for _ in 0..=random.below(4) {
                mutate(&mut bytes, seeds[random.below(seeds.len())], &mut random);
            }
            target(&bytes);
        }
    }
}

/// One change of the kinds that find mistakes in parsers.
fn mutate(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    const EDGES: [u8; 6] = [0x00, 0x01, 0x7f, 0x80, 0xfe, 0xff];
    let at = random.below(bytes.len() + 1);
    match random.below(6) {
        0 => bytes.truncate(at),
        1 => bytes.extend_from_slice(&other[..other.len().min(at)]),
        2 => {
            bytes.truncate(at);
            bytes.extend_from_slice(other.get(at..).unwrap_or(&[]));
        }
        kind => {
            if let Some(byte) = bytes.get_mut(at) {
                match kind {
                    3 => *byte ^= 1 << random.below(8),
                    4 => *byte = EDGES[random.below(EDGES.len())],
                    _ => *byte = byte.wrapping_add(if random.below(2) == 0 { 1 } else { 0xff }),
                }
            }
        }
    }
}

/// xorshift64: the same numbers each time, so that a failure comes back.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).expect("31 bits") % bound
    }
}

/// Where the environment asks for it, writes the corpora that cargo-fuzz starts from (fc/fuzz/README.md).
#[test]
fn corpora_are_written_where_they_are_wanted() {
    let Some(folder) = std::env::var_os("XFCOE_FUZZ_CORPUS") else { return };
    for (target, seeds) in seeds() {
        let folder = Path::new(&folder).join(target);
        std::fs::create_dir_all(&folder).unwrap();
        for (number, seed) in seeds.iter().enumerate() {
            std::fs::write(folder.join(format!("{number:04}")), seed).unwrap();
        }
    }
}
