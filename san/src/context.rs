//! What the handlers of received FC frames share.

use crate::counters::Counters;
use crate::egress::Egress;
use crate::faults::Faults;
use fc::time::Instant;
use fc::wire::header::{FCtl, FcHeader, FcType, RCtl, UNASSIGNED_XID};
use fc::wire::{FcId, MacAddr, Wwn};

/// The most logins at a time: 128 VMs with 4 ports on each of 32 hosts.
pub(crate) const MAX_LOGINS: usize = 16_384;

/// When it is, where answers go, what is counted, what is to go wrong.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) now: Instant,
    pub(crate) out: &'a mut Egress,
    pub(crate) counters: &'a mut Counters,
    pub(crate) faults: &'a mut Faults,
}

/// A login's place in its table, below [`MAX_LOGINS`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct LoginId(pub(crate) u16);

/// The Ethernet addresses of what we send over a virtual link.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Path {
    pub(crate) destination: MacAddr,
    pub(crate) source: MacAddr,
}

/// Who sent a frame: a VN_Port that is logged in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Sender {
    pub(crate) login: LoginId,
    pub(crate) fc_id: FcId,
    /// How it is answered; the destination is its own MAC address.
    pub(crate) path: Path,
    pub(crate) port_name: Wwn,
    pub(crate) max_payload_len: u16,
}

/// An FC frame whose delimiters and CRC are right. Its D_ID is the receiver's own address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Incoming<'a> {
    pub(crate) from: Sender,
    pub(crate) header: &'a FcHeader,
    pub(crate) payload: &'a [u8],
}

impl Incoming<'_> {
    /// Whether it is a sequence of one frame. Longer ones carry only data: no request is longer than a frame.
    pub(crate) fn is_whole(&self) -> bool {
        self.header.f_ctl.has(FCtl::END_SEQUENCE) && self.header.seq_cnt.get() == 0
    }
}

/// The header of a reply to `request` that ends the exchange.
pub(crate) fn reply_header(request: &FcHeader, r_ctl: RCtl) -> FcHeader {
    FcHeader {
        r_ctl,
        d_id: request.s_id,
        cs_ctl: 0,
        s_id: request.d_id,
        fc_type: request.fc_type,
        f_ctl: FCtl::REPLY,
        seq_id: 0,
        df_ctl: 0,
        seq_cnt: 0.into(),
        ox_id: request.ox_id,
        rx_id: UNASSIGNED_XID.into(),
        parameter: 0.into(),
    }
}

/// The header of an ELS request of our own.
pub(crate) fn request_header(s_id: FcId, d_id: FcId, ox_id: u16) -> FcHeader {
    FcHeader::request((RCtl::ELS_REQUEST, FcType::ELS), s_id, d_id, ox_id)
}
