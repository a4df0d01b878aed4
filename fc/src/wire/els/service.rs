//! The bodies of fixed layout: LOGO, ADISC, RTV, REC, RRQ (FC-LS-3, 4.2).

use crate::time::Duration;
use crate::wire::{FcId, Wwn};
use zerocopy::byteorder::big_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The body of a LOGO: who logs out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Logo {
    /// Reserved.
    pub reserved: u8,
    /// The sender's N_Port_ID.
    pub id: FcId,
    /// The sender's WWPN.
    pub port_name: Wwn,
}

impl Logo {
    /// A logout of this port.
    pub const fn new(id: FcId, port_name: Wwn) -> Self {
        Self { reserved: 0, id, port_name }
    }
}

/// The body of an ADISC and of its LS_ACC: who speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Adisc {
    /// Reserved.
    pub reserved: u8,
    /// The hard address; 0 outside of loops.
    pub hard_address: FcId,
    /// The sender's WWPN.
    pub port_name: Wwn,
    /// The sender's WWNN.
    pub node_name: Wwn,
    /// Reserved.
    pub reserved_2: u8,
    /// The sender's N_Port_ID.
    pub id: FcId,
}

impl Adisc {
    /// This port speaks.
    pub const fn new(id: FcId, port_name: Wwn, node_name: Wwn) -> Self {
        Self { reserved: 0, hard_address: FcId::UNASSIGNED, port_name, node_name, reserved_2: 0, id }
    }
}

/// The body of an LS_ACC to RTV.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct TimeoutValues {
    /// R_A_TOV in ms.
    pub r_a_tov_ms: U32,
    /// E_D_TOV in ms, or in ns when [`Self::E_D_TOV_IN_NS`] is set.
    pub e_d_tov: U32,
    /// The timeout qualifier.
    pub qualifier: U32,
}

impl TimeoutValues {
    /// Bit of the qualifier: E_D_TOV is in nanoseconds.
    pub const E_D_TOV_IN_NS: u32 = 1 << 26;

    /// Values in whole milliseconds; what doesn't fit 32 bits is given as the most that does.
    pub fn new(r_a_tov: Duration, e_d_tov: Duration) -> Self {
        let ms = |tov: Duration| U32::new(u32::try_from(tov.as_millis()).unwrap_or(u32::MAX));
        Self { r_a_tov_ms: ms(r_a_tov), e_d_tov: ms(e_d_tov), qualifier: U32::ZERO }
    }

    /// R_A_TOV.
    pub fn r_a_tov(&self) -> Duration {
        Duration::from_millis(self.r_a_tov_ms.get().into())
    }

    /// E_D_TOV.
    pub fn e_d_tov(&self) -> Duration {
        let value = self.e_d_tov.get().into();
        if self.qualifier.get() & Self::E_D_TOV_IN_NS != 0 {
            Duration::from_nanos(value)
        } else {
            Duration::from_millis(value)
        }
    }
}

/// The body of REC and RRQ: which exchange.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ExchangeIds {
    /// Reserved.
    pub reserved: u8,
    /// The N_Port_ID of the exchange's originator.
    pub originator: FcId,
    /// The exchange's OX_ID.
    pub ox_id: U16,
    /// The exchange's RX_ID.
    pub rx_id: U16,
}

impl ExchangeIds {
    /// The exchange with these IDs that `originator` began.
    pub const fn new(originator: FcId, ox_id: u16, rx_id: u16) -> Self {
        Self { reserved: 0, originator, ox_id: U16::new(ox_id), rx_id: U16::new(rx_id) }
    }
}

/// The body of an LS_ACC to REC (FC-LS-3, 4.2.27).
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ExchangeStatus {
    /// The exchange's OX_ID.
    pub ox_id: U16,
    /// The exchange's RX_ID.
    pub rx_id: U16,
    /// Reserved.
    pub reserved: u8,
    /// The N_Port_ID of the exchange's originator.
    pub originator: FcId,
    /// Reserved.
    pub reserved_2: u8,
    /// The N_Port_ID of its responder.
    pub responder: FcId,
    /// The FC-4's own: for FCP, the bytes of data received or sent so far.
    pub fc4_value: U32,
    /// The exchange status block's E_STAT.
    pub e_stat: U32,
}

impl ExchangeStatus {
    /// Bit of E_STAT: the port that answers is the exchange's responder.
    pub const IS_RESPONDER: u32 = 1 << 31;
    /// Bit of E_STAT: the port that answers holds the sequence initiative.
    pub const HAS_INITIATIVE: u32 = 1 << 30;
    /// Bit of E_STAT: the exchange is complete.
    pub const COMPLETE: u32 = 1 << 29;
}
