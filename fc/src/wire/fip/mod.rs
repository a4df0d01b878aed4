//! The FCoE Initialization Protocol, EtherType 0x8914 (FC-BB-5, 7.9; VN2VN: FC-BB-6).
//!
//! ```text
//!  0        1        2        3        4        5        6        7        8        9
//! +--------+--------+-----------------+--------+--------+-----------------+-----------------+
//! |version |reserved|    operation    |reserved|subcode | list length     |      flags      |
//! | <<4    |        |                 |        |        | in words        |                 |
//! +--------+--------+-----------------+--------+--------+-----------------+-----------------+
//! | descriptors: type (1), length in words with these two bytes (1), body                    |
//! | padding, not counted in the list length                                                  |
//! ```
//!
//! NICs pad to Ethernet's minimum, FCFs pad solicited advertisements to prove the path's MTU, and software
//! sends runts: the list length alone says where the descriptors end.

mod descriptor;
mod operation;
#[cfg(test)]
mod tests;

pub use descriptor::{
    Descriptor, DescriptorType, Els, ElsKind, Fabric, Fc4Attributes, FcMap, FkaAdvPeriod, VxPort,
};
pub use operation::{Flags, Operation};

use super::WireError;
use super::ethernet::{EtherType, EthernetHeader, MIN_FRAME_LEN, VlanTag};
use super::{MacAddr, Wwn};
use alloc::vec;
use alloc::vec::Vec;

/// Bytes of the FIP header.
pub const HEADER_LEN: usize = 10;
/// The most descriptors in one frame. A Clear Virtual Link in a frame of 2158 bytes lists 106 Vx_Ports; nothing
/// else comes near.
pub const MAX_DESCRIPTORS: usize = 128;
/// The L2 payload that a full FC frame needs, with its FCoE header and trailer: what an ENode with a sufficient
/// MTU puts into its max FCoE size descriptor.
pub const MAX_FCOE_SIZE: u16 = 2158;
/// FIP's version.
const VERSION: u8 = 1;

/// A FIP frame: what follows the Ethernet header.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FipFrame {
    /// Operation code and subcode.
    pub operation: Operation,
    /// The flags.
    pub flags: Flags,
    /// The descriptors in the frame's order.
    pub descriptors: Vec<Descriptor>,
    /// Bytes after the descriptor list; [`Self::emit`] writes zeros.
    pub padding_len: usize,
}

impl FipFrame {
    /// A frame without padding.
    pub const fn new(operation: Operation, flags: Flags, descriptors: Vec<Descriptor>) -> Self {
        Self { operation, flags, descriptors, padding_len: 0 }
    }

    /// Reads what follows the Ethernet header.
    ///
    /// # Errors
    /// For another version, a list that is longer than the frame, a descriptor whose length isn't its type's,
    /// an unknown critical descriptor, one that is there twice where it may be once, and more than
    /// [`MAX_DESCRIPTORS`].
    pub fn parse(payload: &[u8]) -> Result<Self, WireError> {
        let truncated = |need| WireError::Truncated { what: "FIP frame", need, have: payload.len() };
        let (header, rest) = payload.split_first_chunk::<HEADER_LEN>().ok_or(truncated(HEADER_LEN))?;
        let [version, _, o0, o1, _, subcode, l0, l1, f0, f1] = *header;
        if version >> 4 != VERSION {
            return Err(WireError::BadValue { what: "FIP version", value: (version >> 4).into() });
        }
        let operation = Operation { code: u16::from_be_bytes([o0, o1]), subcode };
        let list_len = usize::from(u16::from_be_bytes([l0, l1])) * 4;
        let (list, padding) = rest.split_at_checked(list_len).ok_or(truncated(HEADER_LEN + list_len))?;
        Ok(Self {
            operation,
            flags: Flags(u16::from_be_bytes([f0, f1])),
            descriptors: parse_list(operation, list)?,
            padding_len: padding.len(),
        })
    }

    /// Bytes that [`Self::emit`] writes.
    pub fn len(&self) -> usize {
        HEADER_LEN + self.list_len() + self.padding_len
    }

    fn list_len(&self) -> usize {
        self.descriptors.iter().map(Descriptor::len).sum()
    }

    /// Writes the frame to the front of `buffer` and gives its length.
    ///
    /// # Panics
    /// If `buffer` is too short, or a descriptor or their list longer than its length field can say.
    pub fn emit(&self, buffer: &mut [u8]) -> usize {
        let words = u16::try_from(self.list_len() / 4).expect("a FIP descriptor list of at most 65535 words");
        let [o0, o1] = self.operation.code.to_be_bytes();
        let [l0, l1] = words.to_be_bytes();
        let [f0, f1] = self.flags.0.to_be_bytes();
        let header = [VERSION << 4, 0, o0, o1, 0, self.operation.subcode, l0, l1, f0, f1];
        buffer[..HEADER_LEN].copy_from_slice(&header);
        let mut at = HEADER_LEN;
        for descriptor in &self.descriptors {
            at += descriptor.emit(&mut buffer[at..]);
        }
        buffer[at..at + self.padding_len].fill(0);
        at + self.padding_len
    }

    /// The whole Ethernet frame from `source` to `destination`, padded to Ethernet's minimum.
    ///
    /// # Panics
    /// As [`Self::emit`] does.
    pub fn to_ethernet(&self, destination: MacAddr, source: MacAddr, vlan: Option<VlanTag>) -> Vec<u8> {
        let header = EthernetHeader { destination, source, vlan, ethertype: EtherType::FIP };
        let mut frame = vec![0; MIN_FRAME_LEN.max(header.len() + self.len())];
        let at = header.emit(&mut frame);
        self.emit(&mut frame[at..]);
        frame
    }

    /// The first MAC descriptor.
    pub fn mac(&self) -> Result<MacAddr, WireError> {
        self.macs().next().ok_or(missing(DescriptorType::MAC))
    }

    /// All MAC descriptors in order.
    pub fn macs(&self) -> impl Iterator<Item = MacAddr> {
        self.descriptors.iter().filter_map(|descriptor| match descriptor {
            Descriptor::Mac(mac) => Some(*mac),
            _ => None,
        })
    }

    /// The name identifier: an ENode's WWNN or an FCF's switch name.
    pub fn name(&self) -> Result<Wwn, WireError> {
        self.find(DescriptorType::NAME, |descriptor| match descriptor {
            Descriptor::Name(name) => Some(*name),
            _ => None,
        })
    }

    /// The FCF's priority.
    pub fn priority(&self) -> Result<u8, WireError> {
        self.find(DescriptorType::PRIORITY, |descriptor| match descriptor {
            Descriptor::Priority(priority) => Some(*priority),
            _ => None,
        })
    }

    /// The fabric that an FCF belongs to.
    pub fn fabric(&self) -> Result<Fabric, WireError> {
        self.find(DescriptorType::FABRIC, |descriptor| match descriptor {
            Descriptor::Fabric(fabric) => Some(*fabric),
            _ => None,
        })
    }

    /// The keep-alive and advertisement period.
    pub fn fka_adv_period(&self) -> Result<FkaAdvPeriod, WireError> {
        self.find(DescriptorType::FKA_ADV_PERIOD, |descriptor| match descriptor {
            Descriptor::FkaAdvPeriod(period) => Some(*period),
            _ => None,
        })
    }

    /// The largest L2 payload that the sender takes.
    pub fn max_fcoe_size(&self) -> Result<u16, WireError> {
        self.find(DescriptorType::MAX_FCOE_SIZE, |descriptor| match descriptor {
            Descriptor::MaxFcoeSize(size) => Some(*size),
            _ => None,
        })
    }

    /// The first Vx_Port identification.
    pub fn vx_port(&self) -> Result<VxPort, WireError> {
        self.vx_ports().next().ok_or(missing(DescriptorType::VX_PORT))
    }

    /// All Vx_Port identifications in order.
    pub fn vx_ports(&self) -> impl Iterator<Item = VxPort> {
        self.descriptors.iter().filter_map(|descriptor| match descriptor {
            Descriptor::VxPort(port) => Some(*port),
            _ => None,
        })
    }

    /// The ids of all VLAN descriptors in order, 0..=4095 each.
    pub fn vlans(&self) -> impl Iterator<Item = u16> {
        self.descriptors.iter().filter_map(|descriptor| match descriptor {
            Descriptor::Vlan(id) => Some(*id),
            _ => None,
        })
    }

    /// The FC-4 attributes.
    pub fn fc4_attributes(&self) -> Result<&Fc4Attributes, WireError> {
        self.find(DescriptorType::FC4_ATTRIBUTES, |descriptor| match descriptor {
            Descriptor::Fc4Attributes(attributes) => Some(attributes.as_ref()),
            _ => None,
        })
    }

    /// The encapsulated extended link service.
    pub fn els(&self) -> Result<&Els, WireError> {
        self.descriptors
            .iter()
            .find_map(|descriptor| match descriptor {
                Descriptor::Els(els) => Some(els),
                _ => None,
            })
            .ok_or(WireError::Missing { what: "FIP encapsulated ELS descriptor" })
    }

    fn find<'a, T>(
        &'a self,
        kind: DescriptorType,
        pick: impl FnMut(&'a Descriptor) -> Option<T>,
    ) -> Result<T, WireError> {
        self.descriptors.iter().find_map(pick).ok_or(missing(kind))
    }
}

const fn missing(kind: DescriptorType) -> WireError {
    WireError::Missing { what: kind.name() }
}

/// Reads a descriptor list that must be used up to its last byte.
fn parse_list(operation: Operation, mut list: &[u8]) -> Result<Vec<Descriptor>, WireError> {
    let mut descriptors = Vec::new();
    let mut seen = [false; 1 << u8::BITS];
    while !list.is_empty() {
        if descriptors.len() == MAX_DESCRIPTORS {
            let have = MAX_DESCRIPTORS + 1;
            return Err(WireError::TooLong { what: "FIP descriptor list", limit: MAX_DESCRIPTORS, have });
        }
        let (descriptor, rest) = Descriptor::parse_first(list)?;
        let kind = descriptor.kind();
        let twice = core::mem::replace(&mut seen[usize::from(kind.0)], true);
        if twice && kind.is_critical() && !operation.may_repeat(kind) {
            return Err(WireError::Duplicate { what: kind.name() });
        }
        descriptors.push(descriptor);
        list = rest;
    }
    Ok(descriptors)
}
