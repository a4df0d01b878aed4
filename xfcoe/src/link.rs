//! The network interfaces of the namespace that the calling thread is in, by rtnetlink.

use fc::wire::MacAddr;
use futures_util::TryStreamExt;
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkMessage, LinkXdp};
use std::io;
use thiserror::Error;

/// An interface, as much of it as matters to FCoE.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// Its MAC address; zero for one that has none of six bytes.
    pub mac: MacAddr,
    /// The longest payload of an Ethernet frame.
    pub mtu: u32,
    /// Set up by the operator, whether or not there is a carrier.
    pub up: bool,
    /// The id of the XDP program that runs on it.
    pub xdp_program: Option<u32>,
}

/// Talking to the kernel about interfaces failed.
#[derive(Debug, Error)]
pub enum LinkError {
    /// No netlink socket.
    #[error("cannot open a netlink socket: {0}")]
    Socket(#[from] io::Error),
    /// The kernel refused the request, or its answer made no sense.
    #[error("{failed}: {cause}")]
    Request {
        /// What did not work.
        failed: &'static str,
        /// What it answered.
        cause: rtnetlink::Error,
    },
}

/// All interfaces of the calling thread's network namespace, in the kernel's order.
///
/// # Errors
/// If netlink does not answer.
pub fn list() -> Result<Vec<Link>, LinkError> {
    let messages: Vec<LinkMessage> = with_netlink("cannot list the network interfaces", async |handle| {
        handle.link().get().execute().try_collect().await
    })?;
    Ok(messages.iter().map(Link::from_message).collect())
}

/// Makes a request by a netlink socket of the calling thread's network namespace; `failed` begins the error.
pub(crate) fn with_netlink<T>(
    failed: &'static str,
    request: impl AsyncFnOnce(rtnetlink::Handle) -> Result<T, rtnetlink::Error>,
) -> Result<T, LinkError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        request(handle).await.map_err(|cause| LinkError::Request { failed, cause })
    })
}

impl Link {
    fn from_message(message: &LinkMessage) -> Self {
        let mut link = Self {
            name: String::new(),
            mac: MacAddr::ZERO,
            mtu: 0,
            up: message.header.flags.contains(LinkFlags::Up),
            xdp_program: None,
        };
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name.clone_from(name),
                LinkAttribute::Address(bytes) => {
                    link.mac = bytes.as_slice().try_into().map_or(MacAddr::ZERO, MacAddr);
                }
                LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
                LinkAttribute::Xdp(xdp) => link.xdp_program = xdp.iter().find_map(program_id),
                _ => {}
            }
        }
        link
    }
}

fn program_id(xdp: &LinkXdp) -> Option<u32> {
    match *xdp {
        LinkXdp::ProgId(id) | LinkXdp::DrvProgId(id) | LinkXdp::SkbProgId(id) | LinkXdp::HwProgId(id) => {
            Some(id)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_is_there() {
        let links = list().unwrap();
        assert!(links.iter().any(|link| link.name == "lo" && link.xdp_program.is_none()), "{links:?}");
    }
}
