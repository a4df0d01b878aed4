//! Ethernet frames around FC payloads, between one initiator and its peers.

use fc::wire::ethernet::{EtherType, EthernetHeader, VlanTag};
use fc::wire::fcoe::{self, Eof, Sof};
use fc::wire::header::{FCtl, FcHeader, FcType, RCtl};
use fc::wire::{FcId, MacAddr, Wwn};

pub(crate) const INITIATOR: FcId = FcId([1, 1, 1]);
pub(crate) const TARGET: FcId = FcId([1, 2, 1]);
pub(crate) const ENODE_MAC: MacAddr = MacAddr([2, 0xfc, 0, 0, 0, 1]);
pub(crate) const FCF_MAC: MacAddr = MacAddr([2, 0xfc, 0, 0, 0, 0xff]);
pub(crate) const PORT_NAME: Wwn = Wwn([0x20, 0, 2, 0xfc, 0, 0, 0, 1]);
pub(crate) const NODE_NAME: Wwn = Wwn([0x10, 0, 2, 0xfc, 0, 0, 0, 1]);
pub(crate) const VLAN: VlanTag = VlanTag::new(100, 3);

/// The header of a request that waits for its reply, from the initiator.
pub(crate) fn request(r_ctl: RCtl, fc_type: FcType, d_id: FcId, ox_id: u16) -> FcHeader {
    FcHeader::request((r_ctl, fc_type), INITIATOR, d_id, ox_id)
}

/// The header of the last frame that the responder sends in `request`'s exchange.
pub(crate) fn reply(request: &FcHeader, r_ctl: RCtl) -> FcHeader {
    FcHeader { r_ctl, d_id: request.s_id, s_id: request.d_id, f_ctl: FCtl::REPLY, ..*request }
}

/// The whole frame with this header: alone in its sequence, with a tag.
pub(crate) fn frame(header: &FcHeader, payload: &[u8]) -> Vec<u8> {
    let mac =
        |id: FcId| if id == INITIATOR { MacAddr::fabric_provided(fcoe::DEFAULT_FC_MAP, id) } else { FCF_MAC };
    let ethernet = EthernetHeader {
        destination: mac(header.d_id),
        source: mac(header.s_id),
        vlan: Some(VLAN),
        ethertype: EtherType::FCOE,
    };
    let mut frame = vec![0; fcoe::MAX_FRAME_LEN];
    let len = fcoe::emit(&mut frame, &ethernet, Sof::I3, header, payload, Eof::T);
    frame.truncate(len);
    frame
}
