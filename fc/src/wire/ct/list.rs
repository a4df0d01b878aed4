//! Lists of ports: the bodies of accepts to GID_FT and GPN_FT (FC-GS-7, 5.2.5).

use crate::wire::{FcId, WireError, Wwn};
use core::marker::PhantomData;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The control byte's bit that marks a list's last entry.
const LAST: u8 = 0x80;

/// An entry of GID_FT's reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct GidFtEntry {
    /// Whether it is the last.
    pub control: u8,
    /// The port's N_Port_ID.
    pub id: FcId,
}

impl GidFtEntry {
    /// A port's entry.
    pub const fn new(id: FcId, is_last: bool) -> Self {
        Self { control: if is_last { LAST } else { 0 }, id }
    }
}

/// An entry of GPN_FT's reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct GpnFtEntry {
    /// Whether it is the last.
    pub control: u8,
    /// The port's N_Port_ID.
    pub id: FcId,
    /// Reserved.
    pub reserved: [u8; 4],
    /// The port's WWPN.
    pub port_name: Wwn,
}

impl GpnFtEntry {
    /// A port's entry.
    pub const fn new(id: FcId, port_name: Wwn, is_last: bool) -> Self {
        Self { control: if is_last { LAST } else { 0 }, id, reserved: [0; 4], port_name }
    }
}

/// An entry that says whether it is its list's last.
pub trait IsLast {
    /// Whether it is.
    fn is_last(&self) -> bool;
}

impl IsLast for GidFtEntry {
    fn is_last(&self) -> bool {
        self.control & LAST != 0
    }
}

impl IsLast for GpnFtEntry {
    fn is_last(&self) -> bool {
        self.control & LAST != 0
    }
}

/// The entries of a list up to the one that is marked as the last; what follows that is ignored.
///
/// A list that ends before its last entry gives an error at its end: it is not whole.
#[derive(Clone, Debug)]
pub struct PortEntries<'a, T> {
    rest: &'a [u8],
    ended: bool,
    entry: PhantomData<T>,
}

impl<'a, T> PortEntries<'a, T> {
    /// The entries of an accept's body.
    pub const fn new(body: &'a [u8]) -> Self {
        Self { rest: body, ended: false, entry: PhantomData }
    }
}

impl<T> Iterator for PortEntries<'_, T>
where
    T: IsLast + FromBytes + KnownLayout + Immutable + Unaligned,
{
    type Item = Result<T, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let Ok((entry, rest)) = T::read_from_prefix(self.rest) else {
            self.ended = true;
            return Some(Err(WireError::Missing { what: "the last entry of a name server's list" }));
        };
        self.rest = rest;
        self.ended = entry.is_last();
        Some(Ok(entry))
    }
}
