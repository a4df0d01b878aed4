//! The captures of the Linux kernel's stack: every frame decodes and encodes again to the same bytes.

mod common;

use common::golden_frames;
use fc::wire::ethernet::{EtherType, EthernetHeader};
use fc::wire::fcoe::{self, FcoeFrame};

#[test]
fn every_fcoe_frame_encodes_to_the_same_bytes() {
    let mut count = 0;
    for (capture, number, bytes) in golden_frames() {
        let (ethernet, payload) = EthernetHeader::parse(&bytes).unwrap();
        if ethernet.ethertype != EtherType::FCOE {
            continue;
        }
        let at = format!("{capture} frame {number}");
        let frame = FcoeFrame::parse(payload).unwrap_or_else(|error| panic!("{at}: {error}"));
        frame.check_crc().unwrap_or_else(|error| panic!("{at}: {error}"));
        assert!(frame.sof.is_class_3() && frame.eof.is_valid(), "{at}: {:?} {:?}", frame.sof, frame.eof);
        let mut again = vec![0xa5; fcoe::MAX_FRAME_LEN];
        let payload = frame.payload().unwrap();
        let len = fcoe::emit(&mut again, &ethernet, frame.sof, frame.header(), payload, frame.eof);
        assert_eq!(again[..len], bytes, "{at}");
        count += 1;
    }
    assert!(count > 3000, "only {count} FCoE frames");
}
