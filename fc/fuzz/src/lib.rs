//! What is fuzzed: each parser takes any bytes, and what it accepts encodes to bytes that mean the same; a VN2VN host
//! takes any frames at any time.
//!
//! The bodies are here, so that `fc/tests/fuzz_seeds.rs` runs them without a fuzzer.

#[path = "../../tests/common/vn2vn_host.rs"]
mod vn2vn_host;

use fc::fip::VlanChoice;
use fc::time::{Duration, Instant};
use fc::vn2vn;
use fc::wire::bls::{BaAcc, BaRjt};
use fc::wire::ct::{GidFtEntry, GpnFtEntry, NameServerRequest, PortEntries, accepted, port_name_reply};
use fc::wire::els::{ElsCommand, ElsReply, ElsRequest};
use fc::wire::ethernet::EthernetHeader;
use fc::wire::fcoe::{self, FcoeFrame};
use fc::wire::fcp::{FcpCmnd, FcpRsp, FcpXferRdy, Srr};
use fc::wire::fip::FipFrame;
use fc::wire::scsi::capacity::{Capacity10, Capacity16};
use fc::wire::scsi::inquiry::InquiryData;
use fc::wire::scsi::luns::{self, LunList};
use fc::wire::scsi::mode::{self, CachingPage, ControlPage, ModeData};
use fc::wire::scsi::reservations::{self, Capabilities, Keys, Parameters, Reservation};
use fc::wire::scsi::vpd::{self, BlockCharacteristics, BlockLimits, Provisioning, VpdPage};
use fc::wire::scsi::{ScsiCommand, Sense, command, sense as sense_data, target_port_groups, unmap};
use fc::wire::{MacAddr, Wwn};
use vn2vn_host::Host;

/// A target: takes any bytes, and panics if something is wrong with the parser.
pub type Target = fn(&[u8]);

/// Every target, with the name of its file in `fuzz_targets`.
pub const TARGETS: [(&str, Target); 10] = [
    ("ethernet_fcoe", ethernet_fcoe),
    ("fip", fip),
    ("els", els),
    ("bls", bls),
    ("ct", ct),
    ("fcp", fcp),
    ("scsi_cdb", scsi_cdb),
    ("scsi_data", scsi_data),
    ("sense", sense),
    ("vn2vn", vn2vn),
];

/// A whole Ethernet frame, with what an FCoE frame has in it.
pub fn ethernet_fcoe(bytes: &[u8]) {
    let Ok((ethernet, payload)) = EthernetHeader::parse(bytes) else { return };
    let Ok(frame) = FcoeFrame::parse(payload) else { return };
    let _ = frame.check_crc();
    let Ok(payload) = frame.payload() else { return };
    let mut again = vec![0xa5; fcoe::MAX_FRAME_LEN];
    let len = fcoe::emit(&mut again, &ethernet, frame.sof, frame.header(), payload, frame.eof);
    let (ethernet_again, rest) = EthernetHeader::parse(&again[..len]).expect("what was emitted parses");
    let frame_again = FcoeFrame::parse(rest).expect("what was emitted parses");
    frame_again.check_crc().expect("what was emitted has its CRC");
    assert_eq!((ethernet_again, frame_again.payload()), (ethernet, Ok(payload)));
    assert_eq!((frame_again.sof, frame_again.eof), (frame.sof, frame.eof));
}

/// What follows the Ethernet header of a FIP frame.
pub fn fip(bytes: &[u8]) {
    let Ok(frame) = FipFrame::parse(bytes) else { return };
    let _ = (frame.mac(), frame.name(), frame.priority(), frame.fabric(), frame.fka_adv_period());
    let _ = (frame.max_fcoe_size(), frame.vx_port(), frame.fc4_attributes(), frame.els());
    let mut again = vec![0xa5; frame.len()];
    let len = frame.emit(&mut again);
    assert_eq!(FipFrame::parse(&again[..len]), Ok(frame));
}

/// The payload of an extended link service: a request, or a reply to any request.
pub fn els(bytes: &[u8]) {
    if let Ok(request) = ElsRequest::parse(bytes) {
        assert_eq!(ElsRequest::parse(&request.to_payload()), Ok(request));
    }
    for request in [
        ElsCommand::PLOGI,
        ElsCommand::PRLI,
        ElsCommand::LOGO,
        ElsCommand::ADISC,
        ElsCommand::RTV,
        ElsCommand::REC,
        ElsCommand::ECHO,
    ] {
        if let Ok(reply) = ElsReply::parse(request, bytes) {
            assert_eq!(ElsReply::parse(request, &reply.to_payload()), Ok(reply));
        }
    }
}

/// The payload of a basic link service.
pub fn bls(bytes: &[u8]) {
    let _ = (BaAcc::parse(bytes), BaRjt::parse(bytes));
}

/// A CT_IU: a request to the name server, or a reply to any request.
pub fn ct(bytes: &[u8]) {
    if let Ok(request) = NameServerRequest::parse(bytes) {
        assert_eq!(NameServerRequest::parse(&request.to_payload()), Ok(request));
    }
    if let Ok(Ok(body)) = accepted(bytes) {
        let _ = port_name_reply(body);
        assert!(PortEntries::<GpnFtEntry>::new(body).count() <= body.len() / 16 + 1);
        assert!(PortEntries::<GidFtEntry>::new(body).count() <= body.len() / 4 + 1);
    }
}

/// An information unit of FCP, or SRR.
pub fn fcp(bytes: &[u8]) {
    let _ = (FcpXferRdy::parse(bytes), Srr::parse(bytes));
    if let Ok(cmnd) = FcpCmnd::parse(bytes) {
        let mut again = vec![0xa5; cmnd.len()];
        let len = cmnd.emit(&mut again);
        assert_eq!(again[..len], bytes[..len]);
    }
    if let Ok(rsp) = FcpRsp::parse(bytes) {
        let _ = (rsp.code(), rsp.transferred(u32::MAX));
        let mut again = vec![0xa5; rsp.len()];
        let len = rsp.emit(&mut again);
        let read = FcpRsp::parse(&again[..len]).expect("what was emitted parses");
        assert_eq!((read.status, read.info, read.sense), (rsp.status, rsp.info, rsp.sense));
    }
}

/// A command descriptor block.
pub fn scsi_cdb(bytes: &[u8]) {
    match ScsiCommand::parse(bytes) {
        Ok(command) => {
            let mut again = [0xa5; command::MAX_LEN];
            let len = command.emit(&mut again);
            assert_eq!(again[..len], bytes[..len]);
        }
        Err(error) => assert!(error.sense().key.name().is_some()),
    }
}

/// Data of discovery, or a parameter list.
pub fn scsi_data(bytes: &[u8]) {
    if let Ok(inquiry) = InquiryData::parse(bytes) {
        let _ = (inquiry.vendor_text(), inquiry.product_text(), inquiry.revision_text());
    }
    if let Ok(page) = VpdPage::parse(bytes) {
        for designator in vpd::designators(page.body).flatten() {
            let id = designator.to_device_id();
            let _ = (designator.number(), id.rank(), id.to_string());
        }
        let _ = (BlockLimits::from_body(page.body), BlockCharacteristics::from_body(page.body));
        let _ = Provisioning::from_body(page.body);
        let mut again = vec![0xa5; page.len()];
        let len = page.emit(&mut again);
        assert_eq!(again[..len], bytes[..len]);
    }
    if let Ok(list) = LunList::parse(bytes) {
        let _ = (list.is_cut(), list.whole_len());
        let mut again = vec![0xa5; luns::len(list.luns.len())];
        luns::emit(list.luns, &mut again);
        assert_eq!(LunList::parse(&again).expect("what was emitted parses").luns, list.luns);
    }
    for ten in [false, true] {
        if let Ok(data) = ModeData::parse(bytes, ten) {
            let mut again = vec![0xa5; data.len()];
            let len = data.emit(&mut again);
            assert_eq!(ModeData::parse(&again[..len], ten), Ok(data));
            for page in mode::pages(data.pages) {
                let _ = (CachingPage::from_body(page.body), ControlPage::from_body(page.body));
            }
        }
    }
    let _ = (Capacity10::parse(bytes), Capacity16::parse(bytes));
    let _ = (Keys::parse(bytes), Reservation::parse(bytes), Capabilities::parse(bytes));
    let _ = (Parameters::parse(bytes), unmap::parse(bytes));
    if let Ok((_, registrations)) = reservations::full_status(bytes) {
        assert!(registrations.count() <= bytes.len() / 24);
    }
    if let Ok(groups) = target_port_groups::groups(bytes) {
        assert!(groups.count() <= bytes.len() / 8);
    }
}

/// Sense data.
pub fn sense(bytes: &[u8]) {
    let Ok(sense) = Sense::parse(bytes) else { return };
    let _ = (sense.to_string(), sense.field_pointer());
    let mut again = [0xa5; sense_data::MAX_LEN];
    let len = sense.emit(&mut again);
    assert_eq!(Sense::parse(&again[..len]), Ok(sense));
}

/// The MAC address of the host that [`vn2vn`] drives: the one of the captures' initiator.
pub const VN2VN_MAC: MacAddr = MacAddr([0x52, 0x54, 0, 0x0a, 0, 1]);

/// What happens to a VN2VN host: a kind of event, the length of its body in two bytes, the body. Kinds are: a whole
/// Ethernet frame (0), milliseconds that pass (1), the link goes (2) or comes (3).
pub fn vn2vn(bytes: &[u8]) {
    let port_name = Wwn::from_mac(0x2000, VN2VN_MAC);
    let config = vn2vn::Config::new(VN2VN_MAC, Wwn::from_mac(0x1000, VN2VN_MAC), port_name);
    let mut host = Host::new(vn2vn::Config { vlan: VlanChoice::Untagged, ..config });
    let mut now = Instant::ZERO;
    let mut rest = bytes;
    while let [kind, high, low, tail @ ..] = rest {
        let (body, tail) = tail.split_at(tail.len().min(u16::from_be_bytes([*high, *low]).into()));
        rest = tail;
        match kind % 4 {
            0 => host.receive(now, body),
            1 => now = pass(&mut host, now, body),
            2 => host.enode.link_down(),
            _ => host.enode.link_up(now),
        }
        let sent = host.settle(now).len();
        assert!(sent <= 2 * vn2vn::MAX_NEIGHBOURS + 2, "{sent} frames at once");
        assert!(host.enode.neighbours().len() <= vn2vn::MAX_NEIGHBOURS);
        assert!(host.vn_port.remote_ports().count() <= vn2vn::MAX_NEIGHBOURS);
        assert_eq!(host.enode.vn_port().is_some(), host.vn_port.session().is_some());
        host.events.clear();
    }
}

/// Lets as many milliseconds pass as `body` says, with every deadline met.
fn pass(host: &mut Host, now: Instant, body: &[u8]) -> Instant {
    let millis = body.iter().take(2).fold(0, |millis, byte| millis << 8 | u64::from(*byte));
    let (end, mut now) = (now + Duration::from_millis(millis), now);
    while let Some(at) = host.poll_timeout().filter(|&at| at <= end) {
        now = now.max(at);
        host.handle_timeout(now);
        host.settle(now);
        assert!(host.poll_timeout().is_none_or(|next| next > now), "a deadline that stays");
    }
    end
}
