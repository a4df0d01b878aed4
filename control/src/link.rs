//! The interface as the kernel tells it over netlink: its MAC address, MTU, and whether its carrier is there.

use fc::wire::MacAddr;
use netlink_packet_core::{NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use thiserror::Error;

/// The multicast group of link changes (RTNLGRP_LINK).
const LINK_GROUP: u32 = 1;

/// Why an interface can't be watched.
#[derive(Debug, Error)]
pub enum LinkError {
    /// There is none of that name.
    #[error("there is no interface {name}; `ip link` lists those that there are")]
    NoInterface {
        /// The name asked for.
        name: String,
    },
    /// Netlink itself failed.
    #[error("can't ask the kernel about interface {name}: {source}")]
    Netlink {
        /// The interface.
        name: String,
        /// What failed.
        source: io::Error,
    },
}

/// An interface at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LinkState {
    /// Its index.
    pub index: u32,
    /// Its MAC address; zero if it has none of six bytes.
    pub mac: MacAddr,
    /// The longest payload of a frame, in bytes.
    pub mtu: u32,
    /// It is up and has a carrier.
    pub up: bool,
}

impl LinkState {
    fn from_message(message: &LinkMessage) -> Self {
        let mut state = Self {
            index: message.header.index,
            mac: MacAddr::ZERO,
            mtu: 0,
            up: message.header.flags.contains(LinkFlags::Up | LinkFlags::LowerUp),
        };
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::Address(bytes) => {
                    state.mac = <[u8; 6]>::try_from(&bytes[..]).map_or(MacAddr::ZERO, MacAddr);
                }
                LinkAttribute::Mtu(mtu) => state.mtu = *mtu,
                _ => {}
            }
        }
        state
    }
}

/// Follows one interface. Poll its descriptor for readability.
pub struct LinkWatch {
    socket: Socket,
    state: LinkState,
    /// It was down since [`Self::change`] looked last.
    has_been_down: bool,
    /// What that told last.
    told: Option<bool>,
}

impl LinkWatch {
    /// Looks an interface up in the calling thread's network namespace and follows it from then on.
    ///
    /// # Errors
    /// [`LinkError`], with what to do.
    pub fn open(name: &str) -> Result<Self, LinkError> {
        let netlink = |source| LinkError::Netlink { name: name.to_owned(), source };
        let mut socket = Socket::new(NETLINK_ROUTE).map_err(netlink)?;
        socket.bind_auto().map_err(netlink)?;
        socket.connect(&SocketAddr::new(0, 0)).map_err(netlink)?;
        socket.add_membership(LINK_GROUP).map_err(netlink)?;
        socket.send(&request(name), 0).map_err(netlink)?;
        loop {
            let (bytes, _) = socket.recv_from_full().map_err(netlink)?;
            for payload in messages(&bytes) {
                match payload {
                    NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(message))
                        if is_named(&message, name) =>
                    {
                        let state = LinkState::from_message(&message);
                        socket.set_non_blocking(true).map_err(netlink)?;
                        return Ok(Self { socket, state, has_been_down: false, told: None });
                    }
                    NetlinkPayload::Error(error) if error.code.is_some() => {
                        return Err(LinkError::NoInterface { name: name.to_owned() });
                    }
                    _ => {}
                }
            }
        }
    }

    /// The interface as it was told last.
    pub fn state(&self) -> &LinkState {
        &self.state
    }

    /// Whether the link came or went, as seen from the last call; the first one tells how it is. A link that went and
    /// came is told as both, one a call: whoever is at the other end may have noticed. An interface that was deleted is
    /// down.
    pub fn change(&mut self) -> Option<bool> {
        self.poll();
        let went = std::mem::take(&mut self.has_been_down) && self.told == Some(true);
        let up = self.state.up && !went;
        (self.told.replace(up) != Some(up)).then_some(up)
    }

    /// Takes what the kernel has told since.
    fn poll(&mut self) {
        // Never waits. An overrun loses messages; the next one has the whole state again.
        while let Ok((bytes, _)) = self.socket.recv_from_full() {
            for payload in messages(&bytes) {
                let NetlinkPayload::InnerMessage(message) = payload else { continue };
                match message {
                    RouteNetlinkMessage::NewLink(message) if message.header.index == self.state.index => {
                        self.state = LinkState::from_message(&message);
                    }
                    RouteNetlinkMessage::DelLink(message) if message.header.index == self.state.index => {
                        self.state.up = false;
                    }
                    _ => {}
                }
                self.has_been_down |= !self.state.up;
            }
        }
    }
}

impl AsFd for LinkWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn is_named(message: &LinkMessage, name: &str) -> bool {
    message.attributes.iter().any(|attribute| matches!(attribute, LinkAttribute::IfName(is) if is == name))
}

/// RTM_GETLINK for one interface.
fn request(name: &str) -> Vec<u8> {
    let mut link = LinkMessage::default();
    link.attributes.push(LinkAttribute::IfName(name.to_owned()));
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(RouteNetlinkMessage::GetLink(link)));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

/// The messages of a datagram; what can't be read ends it.
fn messages(mut bytes: &[u8]) -> impl Iterator<Item = NetlinkPayload<RouteNetlinkMessage>> {
    std::iter::from_fn(move || {
        let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(bytes).ok()?;
        let len = (message.header.length as usize).next_multiple_of(4);
        bytes = bytes.get(len..).unwrap_or_default();
        Some(message.payload)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_is_found_and_another_is_not() {
        let watch = LinkWatch::open("lo").unwrap();
        assert_eq!(watch.state().index, 1);
        assert!(watch.state().mtu > 0);
        let error = LinkWatch::open("xfcoe-none0").err().unwrap();
        assert!(error.to_string().contains("no interface xfcoe-none0"), "{error}");
    }
}
