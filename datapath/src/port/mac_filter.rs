//! Which destination MAC addresses the NIC passes besides its own.
//!
//! Every VN_Port has a MAC address of its own (FC-BB-5, 7.10 FPMA), and FIP speaks to multicast groups. The kernel
//! keeps count of who wants an address passed: a packet socket that receives nothing is such a wish, and it
//! goes when the process does.

use super::PortError;
use super::socket::{interface_index, set_option};
use fc::wire::MacAddr;
use libc::c_int;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use std::io;
use std::os::fd::OwnedFd;
use zerocopy::{Immutable, IntoBytes};

/// `struct packet_mreq` of linux/if_packet.h.
#[repr(C)]
#[derive(IntoBytes, Immutable)]
struct Membership {
    interface: c_int,
    kind: u16,
    address_len: u16,
    address: [u8; 8],
}

/// The addresses that we want an interface's NIC to pass. All of them go when this does.
#[derive(Debug)]
pub struct MacFilter {
    /// Of protocol 0: no frame is ever delivered to it.
    socket: OwnedFd,
    interface: String,
    index: c_int,
}

impl MacFilter {
    /// No addresses yet.
    ///
    /// # Errors
    /// No such interface, no right to it: see [`PortError`].
    pub fn open(interface: impl Into<String>) -> Result<Self, PortError> {
        let interface = interface.into();
        let index = interface_index(&interface)?;
        match socket(AddressFamily::Packet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None) {
            Ok(socket) => Ok(Self { socket, interface, index }),
            Err(error) => Err(PortError::new("open a packet socket", &interface, error.into())),
        }
    }

    /// Passes a unicast address. As often as it was added, it has to be removed.
    ///
    /// # Errors
    /// When the interface is gone.
    pub fn add(&self, address: MacAddr) -> Result<(), PortError> {
        self.change(libc::PACKET_ADD_MEMBERSHIP, libc::PACKET_MR_UNICAST, address)
            .map_err(|source| PortError::new("add a MAC address", &self.interface, source))
    }

    /// Passes a unicast address no longer. One that was not added is left as it is.
    ///
    /// # Errors
    /// None is expected.
    pub fn remove(&self, address: MacAddr) -> Result<(), PortError> {
        self.change(libc::PACKET_DROP_MEMBERSHIP, libc::PACKET_MR_UNICAST, address)
            .map_err(|source| PortError::new("remove a MAC address", &self.interface, source))
    }

    /// Passes a multicast group.
    ///
    /// # Errors
    /// When the interface is gone.
    pub fn join_multicast(&self, group: MacAddr) -> Result<(), PortError> {
        self.change(libc::PACKET_ADD_MEMBERSHIP, libc::PACKET_MR_MULTICAST, group)
            .map_err(|source| PortError::new("join a multicast group", &self.interface, source))
    }

    fn change(&self, action: c_int, kind: c_int, MacAddr(octets): MacAddr) -> io::Result<()> {
        let mut address = [0; 8];
        address[..octets.len()].copy_from_slice(&octets);
        let membership = Membership {
            interface: self.index,
            kind: kind as u16,
            address_len: octets.len() as u16,
            address,
        };
        set_option(&self.socket, libc::SOL_PACKET, action, &membership)
    }
}
