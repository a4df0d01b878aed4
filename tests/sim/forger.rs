//! Someone on the link who sees every frame, and has no other's addresses to send from.

use fc::wire::ethernet::{EtherType, EthernetHeader};
use fc::wire::fcoe::{self, FcoeFrame};
use fc::wire::fcp::FcpRsp;
use fc::wire::header::{FCtl, FcType, RCtl};
use fc::wire::{FcId, MacAddr};

/// Where forged frames come from.
const MAC: MacAddr = MacAddr([2, 0xbd, 0xbd, 0xbd, 0xbd, 0xbd]);
/// What a port's N_Port_ID is changed by: no simulation has as many ports.
const OTHER_ID: u32 = 0x80;

/// A frame that would do harm in the place of `bytes`: all of it is right but the source's MAC address, or its
/// N_Port_ID. `None` if this is no frame to forge.
///
/// Read data is another's, and who is asked for write data is told that all is done.
pub(crate) fn forge(bytes: &[u8], knows_mac: bool) -> Option<Vec<u8>> {
    let (ethernet, payload) = EthernetHeader::parse(bytes).ok()?;
    if ethernet.ethertype == EtherType::FIP {
        let mut forged = bytes.to_vec();
        forged[6..12].copy_from_slice(&MAC.0);
        return Some(forged);
    }
    let frame = FcoeFrame::parse(payload).ok().filter(|frame| frame.check_crc().is_ok())?;
    let mut header = *frame.header();
    if !header.f_ctl.has(FCtl::EXCHANGE_RESPONDER) {
        return None;
    }
    let mut payload = frame.payload().ok()?.to_vec();
    match (header.r_ctl, header.fc_type) {
        (RCtl::DATA, FcType::FCP) => payload.iter_mut().for_each(|byte| *byte ^= 0x5a),
        (RCtl::DATA_DESCRIPTOR, FcType::FCP) => {
            header.r_ctl = RCtl::STATUS;
            payload.resize(FCP_RSP_LEN, 0);
            FcpRsp::default().emit(&mut payload);
        }
        _ => {}
    }
    let source = if knows_mac { ethernet.source } else { MAC };
    if knows_mac {
        header.s_id = FcId::from_u32(header.s_id.to_u32() ^ OTHER_ID);
    }
    let mut forged = vec![0; fcoe::MAX_FRAME_LEN];
    let ethernet = EthernetHeader { source, ..ethernet };
    let len = fcoe::emit(&mut forged, &ethernet, frame.sof, &header, &payload, frame.eof);
    forged.truncate(len);
    Some(forged)
}

/// Bytes of an FCP_RSP that says no more than that all went well.
const FCP_RSP_LEN: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;
    use fc::wire::fcoe::{Eof, Sof};
    use fc::wire::header::FcHeader;

    const TARGET: FcId = FcId([1, 2, 1]);

    fn frame(r_ctl: RCtl, f_ctl: u32) -> Vec<u8> {
        let (destination, source) = (MacAddr([4; 6]), MacAddr([6; 6]));
        let ethernet = EthernetHeader { destination, source, vlan: None, ethertype: EtherType::FCOE };
        let header = FcHeader::request((r_ctl, FcType::FCP), TARGET, FcId([1, 1, 1]), 7);
        let header = FcHeader { f_ctl: FCtl::new(f_ctl), ..header };
        let mut bytes = vec![0; fcoe::MAX_FRAME_LEN];
        let len = fcoe::emit(&mut bytes, &ethernet, Sof::I3, &header, &[1; 12], Eof::T);
        bytes.truncate(len);
        bytes
    }

    #[test]
    fn a_forged_frame_is_good_but_for_its_source() {
        for knows_mac in [true, false] {
            for (r_ctl, forged_r_ctl) in [
                (RCtl::DATA, RCtl::DATA),
                (RCtl::DATA_DESCRIPTOR, RCtl::STATUS),
                (RCtl::STATUS, RCtl::STATUS),
            ] {
                let bytes = forge(&frame(r_ctl, FCtl::EXCHANGE_RESPONDER), knows_mac).unwrap();
                let (ethernet, payload) = EthernetHeader::parse(&bytes).unwrap();
                let forged = FcoeFrame::parse(payload).unwrap();
                forged.check_crc().unwrap();
                let header = forged.header();
                assert_eq!((header.r_ctl, header.ox_id.get()), (forged_r_ctl, 7));
                assert_eq!((ethernet.source != MAC, header.s_id != TARGET), (knows_mac, knows_mac));
                if r_ctl == RCtl::DATA {
                    assert_eq!(forged.payload().unwrap(), [1 ^ 0x5a; 12]);
                }
            }
        }
        assert_eq!(forge(&frame(RCtl::COMMAND, 0), true), None, "initiators are to be deceived");
    }
}
