//! Reads the captures that the golden tests decode.

use std::fs;
use std::path::Path;

/// Every frame of every capture, with the capture's name and the frame's number as tshark counts it.
pub(crate) fn golden_frames() -> Vec<(String, usize, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut names: Vec<_> = fs::read_dir(&folder)
        .expect("the captures are in the repository")
        .map(|entry| entry.expect("a folder's entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "pcap"))
        .collect();
    names.sort();
    assert_eq!(names.len(), 11, "captures are missing");
    let mut frames = Vec::new();
    for path in names {
        let name = path.file_name().expect("listed").to_string_lossy().into_owned();
        let capture = fs::read(&path).expect("a capture");
        frames.extend(packets(&capture).enumerate().map(|(i, frame)| (name.clone(), i + 1, frame.to_vec())));
    }
    frames
}

/// The packets of a little-endian pcap file with microsecond or nanosecond stamps.
fn packets(capture: &[u8]) -> impl Iterator<Item = &[u8]> {
    let magic = u32::from_le_bytes(capture[..4].try_into().expect("four bytes"));
    assert!(matches!(magic, 0xa1b2_c3d4 | 0xa1b2_3c4d), "not a little-endian pcap file: {magic:#x}");
    let mut rest = &capture[24..];
    std::iter::from_fn(move || {
        let header = rest.get(..16)?;
        let len = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes")) as usize;
        assert_eq!(len(8), len(12), "a packet was cut when it was captured");
        let packet = &rest[16..16 + len(8)];
        rest = &rest[16 + len(8)..];
        Some(packet)
    })
}
