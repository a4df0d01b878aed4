//! An FC frame that owns its payload: what the machines of the control thread hand around.

use crate::wire::FcId;
use crate::wire::fcoe::{Eof, Sof};
use crate::wire::header::{FCtl, FcHeader, FcType, RCtl, UNASSIGNED_XID};
use alloc::vec::Vec;

/// An FC frame outside of FCP: a link service or a CT_IU.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FcFrame {
    /// The header. Whoever encodes the frame sets its fill bits.
    pub header: FcHeader,
    /// The payload without fill.
    pub payload: Vec<u8>,
}

impl FcFrame {
    /// The only frame of an exchange's first sequence.
    pub fn request(kind: (RCtl, FcType), s_id: FcId, d_id: FcId, ox_id: u16, payload: Vec<u8>) -> Self {
        Self { header: FcHeader::request(kind, s_id, d_id, ox_id), payload }
    }

    /// The link service reply to `request`. As Linux does, the responder gives no RX_ID.
    pub fn els_reply(request: &FcHeader, payload: Vec<u8>) -> Self {
        let header = FcHeader {
            r_ctl: RCtl::ELS_REPLY,
            d_id: request.s_id,
            s_id: request.d_id,
            f_ctl: FCtl::REPLY,
            seq_id: 0,
            seq_cnt: 0.into(),
            rx_id: UNASSIGNED_XID.into(),
            parameter: 0.into(),
            ..*request
        };
        Self { header, payload }
    }

    /// The basic link service reply to an ABTS with this header (FC-FS-3, 16.3): the roles turn round.
    pub fn bls_reply(abts: &FcHeader, r_ctl: RCtl, payload: Vec<u8>) -> Self {
        let roles = FCtl::EXCHANGE_RESPONDER | FCtl::SEQUENCE_RECIPIENT;
        let turned = !abts.f_ctl.get() & roles;
        let ends = FCtl::LAST_SEQUENCE | FCtl::END_SEQUENCE | FCtl::TRANSFER_INITIATIVE;
        let header = FcHeader {
            r_ctl,
            d_id: abts.s_id,
            s_id: abts.d_id,
            f_ctl: FCtl::new(turned | ends),
            parameter: 0.into(),
            ..*abts
        };
        Self { header, payload }
    }

    /// The start-of-frame delimiter that goes with the header.
    pub fn sof(&self) -> Sof {
        if self.header.seq_cnt.get() == 0 { Sof::I3 } else { Sof::N3 }
    }

    /// The end-of-frame delimiter that goes with the header.
    pub fn eof(&self) -> Eof {
        if self.header.f_ctl.has(FCtl::END_SEQUENCE) { Eof::T } else { Eof::N }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_turn_the_request_round() {
        let (ours, theirs) = (FcId([1, 1, 1]), FcId([2, 2, 2]));
        let request = FcFrame::request((RCtl::ELS_REQUEST, FcType::ELS), theirs, ours, 7, Vec::new());
        assert_eq!((request.sof(), request.eof()), (Sof::I3, Eof::T));
        let reply = FcFrame::els_reply(&request.header, Vec::new()).header;
        assert_eq!((reply.s_id, reply.d_id, reply.f_ctl), (ours, theirs, FCtl::REPLY));
        assert_eq!((reply.ox_id.get(), reply.rx_id.get()), (7, UNASSIGNED_XID));
        let by_originator = FcFrame::bls_reply(&request.header, RCtl::BA_ACC, Vec::new()).header;
        assert_eq!(by_originator.f_ctl.get(), 0xd9_0000);
        let by_responder = FcFrame::bls_reply(&reply, RCtl::BA_ACC, Vec::new()).header;
        assert_eq!(by_responder.f_ctl.get(), 0x59_0000);
    }
}
