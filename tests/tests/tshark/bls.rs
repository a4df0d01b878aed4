//! Basic link services.

use crate::Case;
use crate::frames::{TARGET, frame, reply, request};
use fc::wire::bls::{BaAcc, BaRjt, BaRjtExplanation, BaRjtReason};
use fc::wire::header::{FCtl, FcHeader, FcType, RCtl};
use zerocopy::IntoBytes;

pub(crate) fn cases() -> Vec<Case> {
    let header = request(RCtl::ABTS, FcType::BLS, TARGET, 0x300);
    let abts = FcHeader { f_ctl: FCtl::new(FCtl::END_SEQUENCE | FCtl::TRANSFER_INITIATIVE), ..header };
    let accept = BaAcc::exchange(0x300, 0x456);
    let reject = BaRjt::new(BaRjtReason::LOGICAL_ERROR, BaRjtExplanation::INVALID_XIDS);
    vec![
        Case::new("BLS: ABTS", frame(&abts, &[]), &[("fc.r_ctl", "0x81")]),
        Case::new(
            "BLS: BA_ACC",
            frame(&reply(&abts, RCtl::BA_ACC), accept.as_bytes()),
            &[
                ("fc.r_ctl", "0x84"),
                ("fc.bls_oxid", "0x0300"),
                ("fc.bls_rxid", "0x0456"),
                ("fc.bls_hseqcnt", "0xffff"),
            ],
        ),
        Case::new(
            "BLS: BA_RJT",
            frame(&reply(&abts, RCtl::BA_RJT), reject.as_bytes()),
            &[("fc.bls_reason", "0x03"), ("fc.bls_rjtdetail", "0x03")],
        ),
    ]
}
