//! State changes: SCR registers for them, RSCN tells them (FC-LS-3, 4.2.18 and 4.2.19).

use super::{ElsCommand, WORD_LEN, join};
use crate::wire::{FcId, WireError, split_fixed};
use alloc::vec::Vec;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// What an SCR registers for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ScrFunction(pub u8);

impl ScrFunction {
    /// Changes that the fabric finds.
    pub const FABRIC: Self = Self(1);
    /// Changes that N_Ports tell.
    pub const N_PORT: Self = Self(2);
    /// Both.
    pub const FULL: Self = Self(3);
    /// None any more.
    pub const CLEAR: Self = Self(0xff);

    pub(super) fn parse(body: &[u8]) -> Result<Self, WireError> {
        split_fixed::<[u8; 4]>("SCR", body).map(|([.., function], _)| Self(function))
    }
}

/// What changed, as an RSCN names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct RscnPage {
    /// Event qualifier (bits 5:2) and address format (bits 1:0).
    pub flags: u8,
    /// The address, of which the format says how much counts.
    pub id: FcId,
}

impl RscnPage {
    /// A change at `id` with no qualifier.
    pub const fn new(format: RscnFormat, id: FcId) -> Self {
        Self { flags: format as u8, id }
    }

    /// Whether the change may concern the port `id`.
    pub const fn covers(&self, id: FcId) -> bool {
        let ([domain, area, port], [d, a, p]) = (self.id.0, id.0);
        match self.format() {
            RscnFormat::Port => domain == d && area == a && port == p,
            RscnFormat::Area => domain == d && area == a,
            RscnFormat::Domain => domain == d,
            RscnFormat::Fabric => true,
        }
    }

    /// How much of the address counts.
    pub const fn format(&self) -> RscnFormat {
        match self.flags & 3 {
            0 => RscnFormat::Port,
            1 => RscnFormat::Area,
            2 => RscnFormat::Domain,
            _ => RscnFormat::Fabric,
        }
    }
}

/// How much of an address counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum RscnFormat {
    /// All 24 bits.
    Port = 0,
    /// Domain and area.
    Area = 1,
    /// The domain.
    Domain = 2,
    /// Nothing: anything in the fabric may have changed.
    Fabric = 3,
}

/// `flags` are page length and payload length, from after the command code.
pub(super) fn parse_pages(flags: [u8; 3], body: &[u8]) -> Result<Vec<RscnPage>, WireError> {
    const PAGE_LEN: usize = size_of::<RscnPage>();
    let [page_len, high, low] = flags;
    if usize::from(page_len) != PAGE_LEN {
        return Err(WireError::BadValue { what: "RSCN page length", value: page_len.into() });
    }
    let payload_len = usize::from(u16::from_be_bytes([high, low]));
    let len = payload_len.saturating_sub(WORD_LEN);
    if len == 0 || !len.is_multiple_of(PAGE_LEN) {
        return Err(WireError::BadValue { what: "RSCN payload length", value: payload_len as u64 });
    }
    let truncated = WireError::Truncated { what: "RSCN", need: payload_len, have: WORD_LEN + body.len() };
    let pages = body.get(..len).ok_or(truncated)?;
    <[RscnPage]>::ref_from_bytes(pages).map(<[_]>::to_vec).map_err(|_| truncated)
}

pub(super) fn pages_to_payload(command: ElsCommand, pages: &[RscnPage]) -> Vec<u8> {
    let len = WORD_LEN + size_of_val(pages);
    let [high, low] = u16::try_from(len).expect("RSCN counts its pages in 16 bits").to_be_bytes();
    join(command, [size_of::<RscnPage>() as u8, high, low], pages.as_bytes())
}
