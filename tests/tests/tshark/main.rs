//! tshark agrees with every kind of frame that we emit: Wireshark's dissectors were written by others.
//!
//! The frames go into one capture file, requests before their replies, since a reply is understood by its exchange.

mod bls;
mod ct;
mod els;
mod fcp;
mod fip;
mod frames;
mod scsi;
mod vn2vn;

use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

/// A frame that we emit, and what tshark has to say about it.
struct Case {
    /// tshark's protocol and summary, as "FC ELS: PLOGI".
    name: String,
    frame: Vec<u8>,
    /// Fields by tshark's names, with values as it prints them.
    fields: Expected,
    /// tshark's own words when it can't read on in a frame like this, whoever sent it.
    known_gap: Option<&'static str>,
}

type Expected = &'static [(&'static str, &'static str)];

impl Case {
    fn new(name: impl Into<String>, frame: Vec<u8>, fields: Expected) -> Self {
        Self { name: name.into(), frame, fields, known_gap: None }
    }
}

#[test]
fn tshark_agrees_with_every_kind_of_frame() {
    if !have_tshark() {
        return;
    }
    let groups = [fip::cases(), els::cases(), bls::cases(), ct::cases(), fcp::cases(), scsi::cases()];
    let cases: Vec<Case> = groups.into_iter().flatten().collect();
    let dissected = dissect("emitted", cases.iter().map(|case| case.frame.as_slice()));
    assert_eq!(dissected.len(), cases.len());
    let wrong: Vec<_> = cases
        .iter()
        .zip(&dissected)
        .zip(1..)
        .flat_map(|((case, dissected), number)| {
            let name = &case.name;
            disagreements(case, dissected)
                .into_iter()
                .map(move |what| format!("frame {number}, {name}: {what}"))
        })
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn tshark_agrees_with_the_sans_side_of_a_vn2vn_login() {
    if !have_tshark() {
        return;
    }
    let frames = vn2vn::login();
    let dissected = dissect("vn2vn", frames.iter().map(|(_, frame)| frame.as_slice()));
    let ours = frames.iter().zip(&dissected).filter(|((is_ours, _), _)| *is_ours);
    let ours: Vec<_> = ours.map(|((_, frame), dissected)| (frame, dissected)).collect();
    let names: Vec<_> = ours.iter().map(|(_, dissected)| dissected.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "FIP: Probe Request",
            "FIP: Probe Request",
            "FIP: Claim Notification",
            "FIP: Claim Response",
            "FIP: Beacon",
            "FC ELS: FLOGI",
            "FC ELS: ACC (FLOGI)",
            "FC ELS: PLOGI",
            "FC ELS: ACC (PRLI)",
            "FC ELS: ACC (RTV)",
        ]
    );
    for (frame, dissected) in ours {
        let case = Case::new(&dissected.name, frame.clone(), &[]);
        assert_eq!(disagreements(&case, dissected), [""; 0], "{}", dissected.name);
    }
}

#[test]
fn a_wrong_frame_is_found() {
    if !have_tshark() {
        return;
    }
    let good = els::cases().swap_remove(0);
    let mut damaged = good.frame.clone();
    damaged[60] ^= 1;
    let advertisement = fip::cases().into_iter().find(|case| case.name == "FIP: Advertisement");
    let mut cut = advertisement.expect("a case").frame;
    cut.truncate(60);
    let dissected = dissect("wrong", [good.frame.as_slice(), &damaged, &cut].into_iter());
    let found = |fields| disagreements(&good, fields).join("\n");
    assert_eq!(found(&dissected[0]), "");
    assert!(found(&dissected[1]).contains("fcoe.crc.status"), "{}", found(&dissected[1]));
    assert!(found(&dissected[2]).contains("Malformed"), "{}", found(&dissected[2]));
}

fn have_tshark() -> bool {
    let have = Command::new("tshark").arg("--version").output().is_ok();
    if !have {
        tests::skip("needs tshark");
    }
    have
}

/// What tshark says about a frame.
struct Dissected {
    name: String,
    /// Values by the names of their fields; a field that is there several times has several.
    fields: BTreeMap<String, Vec<String>>,
}

/// Writes `frames` to a capture, which stays in cargo's folder for tests, and has tshark dissect it.
fn dissect<'a>(name: &str, frames: impl Iterator<Item = &'a [u8]>) -> Vec<Dissected> {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.pcap"));
    fs::write(&path, capture(frames)).expect("a file in cargo's folder for tests");
    let names =
        tshark(&path, &["-T", "fields", "-E", "separator=|", "-e", "_ws.col.Protocol", "-e", "_ws.col.Info"]);
    let packets = tshark(&path, &["-T", "json", "--no-duplicate-keys"]);
    let packets: Vec<Value> = serde_json::from_str(&packets).expect("JSON from tshark");
    assert_eq!(names.lines().count(), packets.len());
    let dissected = |(name, packet): (&str, &Value)| {
        let (protocol, info) = name.split_once('|').expect("two columns");
        let mut fields = BTreeMap::new();
        collect(&packet["_source"]["layers"], &mut fields);
        Dissected { name: format!("{protocol}: {}", info.trim()), fields }
    };
    names.lines().zip(&packets).map(dissected).collect()
}

fn tshark(capture: &Path, arguments: &[&str]) -> String {
    let output = Command::new("tshark").arg("-r").arg(capture).args(arguments).output().expect("tshark runs");
    assert!(output.status.success(), "tshark: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text from tshark")
}

/// A pcap file of Ethernet frames.
fn capture<'a>(frames: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    const SNAP_LEN: u32 = 0xffff;
    const ETHERNET: u32 = 1;
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    let mut file = words(&[0xa1b2_c3d4, 0x0004_0002, 0, 0, SNAP_LEN, ETHERNET]);
    for (second, frame) in (0..).zip(frames) {
        let len = u32::try_from(frame.len()).expect("fits the file");
        file.extend(words(&[second, 0, len, len]));
        file.extend_from_slice(frame);
    }
    file
}

/// Fields of the layers, however deep.
fn collect(value: &Value, fields: &mut BTreeMap<String, Vec<String>>) {
    for (key, value) in value.as_object().into_iter().flatten() {
        let values = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        for value in values {
            let text = value.as_str().unwrap_or_default();
            fields.entry(key.clone()).or_default().push(text.to_owned());
            collect(value, fields);
        }
    }
}

/// What tshark says against a frame, or doesn't say about it.
fn disagreements(case: &Case, dissected: &Dissected) -> Vec<String> {
    let fields = &dissected.fields;
    let mut wrong = Vec::new();
    if dissected.name != case.name {
        wrong.push(format!("tshark calls it {}", dissected.name));
    }
    let said = fields.get("_ws.expert.message").into_iter().flatten();
    wrong.extend(said.filter(|said| Some(said.as_str()) != case.known_gap).cloned());
    // A descriptor that it doesn't know is no reason for tshark to complain.
    wrong.extend(fields.get("fip.desc_unk").map(|what| format!("unknown FIP descriptors: {what:?}")));
    let good_crc = fields.contains_key("fcoe.crc").then_some(&("fcoe.crc.status", "1"));
    for (field, value) in case.fields.iter().chain(good_crc) {
        match fields.get(*field) {
            Some(values) if values.iter().any(|found| found == value) => {}
            found => wrong.push(format!("{field} is {found:?}, not {value}")),
        }
    }
    wrong
}
