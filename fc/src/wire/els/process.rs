//! PRLI and PRLO (FC-LS-3, 4.2.20 and 4.2.21; FCP's service parameters: FCP-4, 6.2 and 6.3).

use super::{ElsCommand, WORD_LEN, join};
use crate::wire::WireError;
use crate::wire::header::FcType;
use alloc::vec::Vec;
use zerocopy::byteorder::big_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The length of every page that FC-LS-3 defines.
const PAGE_LEN: usize = size_of::<ServicePage>();

/// The body of a PRLI, a PRLO or an LS_ACC to one: a page a process.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ProcessLogin {
    /// The pages; a payload has at least one.
    pub pages: Vec<ServicePage>,
}

impl ProcessLogin {
    /// The page of FCP.
    pub fn fcp(&self) -> Option<&ServicePage> {
        self.pages.iter().find(|page| page.fc_type == FcType::FCP)
    }

    /// `flags` are page length and payload length, from after the command code.
    pub(super) fn parse(what: &'static str, flags: [u8; 3], body: &[u8]) -> Result<Self, WireError> {
        let [page_len, high, low] = flags;
        if usize::from(page_len) != PAGE_LEN {
            return Err(WireError::BadValue { what: "PRLI page length", value: page_len.into() });
        }
        let payload_len = usize::from(u16::from_be_bytes([high, low]));
        let len = payload_len.saturating_sub(WORD_LEN);
        if len == 0 || !len.is_multiple_of(PAGE_LEN) {
            return Err(WireError::BadValue { what: "PRLI payload length", value: payload_len as u64 });
        }
        let truncated = WireError::Truncated { what, need: payload_len, have: WORD_LEN + body.len() };
        let pages = body.get(..len).ok_or(truncated)?;
        let pages = <[ServicePage]>::ref_from_bytes(pages).map_err(|_| truncated)?;
        Ok(Self { pages: pages.to_vec() })
    }

    pub(super) fn to_payload(&self, command: ElsCommand) -> Vec<u8> {
        let pages = self.pages.as_bytes();
        let len = u16::try_from(WORD_LEN + pages.len()).expect("PRLI counts its pages in 16 bits");
        let [high, low] = len.to_be_bytes();
        join(command, [PAGE_LEN as u8, high, low], pages)
    }
}

impl From<ServicePage> for ProcessLogin {
    fn from(page: ServicePage) -> Self {
        Self { pages: Vec::from([page]) }
    }
}

/// One process's page.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ServicePage {
    /// The FC-4 protocol.
    pub fc_type: FcType,
    /// Reserved for it.
    pub type_extension: u8,
    /// [`spp_flags`]; in an LS_ACC, the low four bits are the [`SppResponse`].
    pub flags: u8,
    /// Reserved.
    pub reserved: u8,
    /// The originator's process, if flagged.
    pub originator: U32,
    /// The responder's process, if flagged.
    pub responder: U32,
    /// The protocol's parameters: [`fcp_parameters`].
    pub parameters: U32,
}

impl ServicePage {
    /// FCP's page of a PRLI that asks for an image pair.
    pub const fn fcp(parameters: u32) -> Self {
        Self {
            fc_type: FcType::FCP,
            type_extension: 0,
            flags: spp_flags::ESTABLISH_IMAGE_PAIR,
            reserved: 0,
            originator: U32::ZERO,
            responder: U32::ZERO,
            parameters: U32::new(parameters),
        }
    }

    /// The same as an answer with this response.
    #[must_use]
    pub const fn answered(self, response: SppResponse) -> Self {
        Self { flags: self.flags & !0xf | response.0 & 0xf, ..self }
    }

    /// The response, in an LS_ACC.
    pub const fn response(&self) -> SppResponse {
        SppResponse(self.flags & 0xf)
    }

    /// Whether all bits of [`fcp_parameters`] in `parameters` are set.
    pub fn has(&self, parameters: u32) -> bool {
        self.parameters.get() & parameters == parameters
    }
}

/// Bits of [`ServicePage::flags`].
pub mod spp_flags {
    /// `originator` counts.
    pub const ORIGINATOR_VALID: u8 = 0x80;
    /// `responder` counts.
    pub const RESPONDER_VALID: u8 = 0x40;
    /// PRLI: an image pair is wanted. LS_ACC: it is established.
    pub const ESTABLISH_IMAGE_PAIR: u8 = 0x20;
}

/// How a PRLI's or PRLO's page was answered (FC-LS-3, table 81).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SppResponse(pub u8);

impl SppResponse {
    /// Executed.
    pub const EXECUTED: Self = Self(1);
    /// The responder has no resources.
    pub const NO_RESOURCES: Self = Self(2);
    /// The responder isn't ready yet: ask again.
    pub const INITIALIZING: Self = Self(3);
    /// There is no such process.
    pub const NO_PROCESS: Self = Self(4);
    /// The pair is configured by other means.
    pub const PREDEFINED: Self = Self(5);
    /// Executed, but not with the parameters asked for.
    pub const CONDITIONAL: Self = Self(6);
    /// The payload has too many pages.
    pub const MULTIPLE_PAGES: Self = Self(7);
    /// The parameters are invalid.
    pub const INVALID: Self = Self(8);
}

/// FCP's service parameters (FCP-4, 6.2.6 and 6.3.3).
pub mod fcp_parameters {
    /// REC, SRR and retransmission of task management are identified by a task retry id.
    pub const TASK_RETRY_ID: u32 = 0x0200;
    /// Lost sequences are asked for again with SRR.
    pub const RETRY: u32 = 0x0100;
    /// FCP_CONF can be asked for or sent.
    pub const CONFIRM: u32 = 0x0080;
    /// Data overlay, obsolete.
    pub const OVERLAY: u32 = 0x0040;
    /// Initiator function.
    pub const INITIATOR: u32 = 0x0020;
    /// Target function.
    pub const TARGET: u32 = 0x0010;
    /// Reads are without FCP_XFER_RDY: always so.
    pub const READ_XFER_RDY_DISABLED: u32 = 0x0002;
    /// Writes are without the first FCP_XFER_RDY.
    pub const WRITE_XFER_RDY_DISABLED: u32 = 0x0001;
}
