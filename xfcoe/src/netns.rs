//! Network namespaces without a name, and the cable between two of them.
//!
//! A [`Namespace`] lives as long as somebody is in it or holds its file descriptor, so it ends with the process
//! however that ends, and its end of the cable takes the other end with it: nothing is left to clean up, not
//! even after `kill -9`.

use crate::link::{self, LinkError};
use fc::wire::MacAddr;
use futures_util::TryStreamExt;
use nix::sched::{CloneFlags, setns, unshare};
use rtnetlink::packet_route::link::{InfoData, InfoKind, InfoVeth, LinkAttribute};
use rtnetlink::{LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::thread;
use thiserror::Error;

/// The interface in the initiator's namespace.
pub const INITIATOR_INTERFACE: &str = "xfcoe0";
/// The interface in the SAN's namespace.
pub const SAN_INTERFACE: &str = "san0";
/// The MAC address of [`INITIATOR_INTERFACE`]: fixed, so that captures of two runs can be compared.
pub const INITIATOR_MAC: MacAddr = MacAddr([0x02, 0xfc, 0xf0, 0x00, 0x02, 0x01]);
/// The MAC address of [`SAN_INTERFACE`].
pub const SAN_MAC: MacAddr = MacAddr([0x02, 0xfc, 0xf0, 0x00, 0x00, 0x01]);
/// The MTU of both: what switches set for FCoE ("mini-jumbo"), and small enough for XDP on every driver.
pub const MTU: u32 = 2500;

/// Making a namespace, entering it or laying the cable failed.
#[derive(Debug, Error)]
pub enum NetnsError {
    /// The kernel refused a new namespace.
    #[error("cannot make a network namespace: {0}; this takes root (CAP_SYS_ADMIN)")]
    Unshare(io::Error),
    /// A thread could not enter a namespace.
    #[error("cannot enter a network namespace: {0}; this takes root (CAP_SYS_ADMIN)")]
    Enter(io::Error),
    /// A thread could not be started.
    #[error("cannot start a thread in a network namespace: {0}")]
    Thread(io::Error),
    /// The veth pair could not be made.
    #[error("cannot make a veth pair: {0}; this takes root and a kernel with CONFIG_VETH")]
    Veth(#[from] LinkError),
}

/// A network namespace without a name. Clones are the same one; it ends with the last clone and the last thread
/// in it.
#[derive(Clone, Debug)]
pub struct Namespace(Arc<File>);

impl Namespace {
    /// Makes an empty one, with IPv6 off for interfaces to come: nothing but what we send is on the cable.
    ///
    /// # Errors
    /// Without CAP_SYS_ADMIN.
    pub fn new() -> Result<Self, NetnsError> {
        // A thread that left the process's namespace is of no further use, so it is one of its own.
        thread::scope(|scope| {
            let made = thread::Builder::new()
                .name("netns".into())
                .spawn_scoped(scope, || {
                    unshare(CloneFlags::CLONE_NEWNET).map_err(io::Error::from)?;
                    turn_ipv6_off();
                    File::open("/proc/thread-self/ns/net")
                })
                .map_err(NetnsError::Thread)?;
            let file = made.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            Ok(Self(Arc::new(file.map_err(NetnsError::Unshare)?)))
        })
    }

    /// Moves the calling thread, and those that it starts from now on, into this namespace.
    ///
    /// # Errors
    /// Without CAP_SYS_ADMIN.
    pub fn enter(&self) -> Result<(), NetnsError> {
        setns(&*self.0, CloneFlags::CLONE_NEWNET).map_err(|errno| NetnsError::Enter(errno.into()))
    }

    /// Runs `work` on a thread in this namespace and waits for it. Threads that it starts are in it too.
    ///
    /// # Errors
    /// Without CAP_SYS_ADMIN.
    ///
    /// # Panics
    /// If `work` does.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, NetnsError> {
        thread::scope(|scope| {
            let thread = thread::Builder::new()
                .name("netns".into())
                .spawn_scoped(scope, || self.enter().map(|()| work()))
                .map_err(NetnsError::Thread)?;
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

/// Interfaces take their `disable_ipv6` from `default` when they are made. Best effort: a kernel may lack IPv6, or
/// a container show `/proc/sys` read-only, and then a few router solicitations do no harm.
fn turn_ipv6_off() {
    for scope in ["default", "all"] {
        if let Err(error) = std::fs::write(format!("/proc/sys/net/ipv6/conf/{scope}/disable_ipv6"), "1") {
            tracing::debug!(%error, scope, "IPv6 stays on");
        }
    }
}

/// Two namespaces and a veth pair between them, both ends up.
#[derive(Debug)]
pub struct Cable {
    /// Has [`INITIATOR_INTERFACE`].
    pub initiator: Namespace,
    /// Has [`SAN_INTERFACE`].
    pub san: Namespace,
}

impl Cable {
    /// Lays the cable: MTU [`MTU`], one queue each way.
    ///
    /// # Errors
    /// Without CAP_SYS_ADMIN and CAP_NET_ADMIN, or where the kernel has no veth.
    pub fn lay() -> Result<Self, NetnsError> {
        let cable = Self { initiator: Namespace::new()?, san: Namespace::new()? };
        let peer = end(LinkMessageBuilder::<LinkUnspec>::default(), SAN_INTERFACE, SAN_MAC)
            .setns_by_fd(cable.san.0.as_raw_fd())
            .build();
        let pair = LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)));
        let pair = end(pair, INITIATOR_INTERFACE, INITIATOR_MAC).build();
        cable.initiator.run(|| {
            link::with_netlink("the kernel refused it", async |handle| {
                handle.link().add(pair).execute().await
            })
        })??;
        // veth refuses to come up before it has its peer, so not in the request that makes it.
        cable.initiator.run(|| set_up(INITIATOR_INTERFACE))??;
        cable.san.run(|| set_up(SAN_INTERFACE))??;
        Ok(cable)
    }
}

/// An Ethernet switch, a namespace of its own: the kernel's bridge, which learns where each MAC address is.
#[derive(Debug)]
pub struct Switch(Namespace);

/// The bridge in a switch's namespace.
const BRIDGE: &str = "switch";

impl Switch {
    /// A switch that nobody is plugged in to.
    ///
    /// # Errors
    /// Without CAP_SYS_ADMIN and CAP_NET_ADMIN, or where the kernel has no bridge.
    pub fn new() -> Result<Self, NetnsError> {
        let switch = Self(Namespace::new()?);
        let bridge = LinkMessageBuilder::<LinkBridge>::new(BRIDGE).mtu(MTU).up().build();
        switch.0.run(|| {
            link::with_netlink("the kernel makes no bridge", async |handle| {
                handle.link().add(bridge).execute().await
            })
        })??;
        Ok(switch)
    }

    /// Plugs a new namespace in, whose interface has this name and MAC address; the switch's port has the name `port`.
    ///
    /// # Errors
    /// As [`Cable::lay`].
    pub fn plug(&self, port: &str, interface: &str, mac: MacAddr) -> Result<Namespace, NetnsError> {
        let namespace = Namespace::new()?;
        let peer = end(LinkMessageBuilder::<LinkUnspec>::default(), interface, mac)
            .setns_by_fd(namespace.0.as_raw_fd())
            .build();
        let pair = LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
            .name(port)
            .mtu(MTU);
        self.0.run(|| {
            link::with_netlink("the kernel refused it", async |handle| {
                let mut bridge = handle.link().get().match_name(BRIDGE).execute();
                let bridge = bridge.try_next().await?.expect("a switch has its bridge");
                handle.link().add(pair.controller(bridge.header.index).build()).execute().await
            })
        })??;
        self.0.run(|| set_up(port))??;
        namespace.run(|| set_up(interface))??;
        Ok(namespace)
    }
}

fn set_up(name: &str) -> Result<(), LinkError> {
    let up = LinkUnspec::new_with_name(name).up().build();
    link::with_netlink("it does not come up", async |handle| handle.link().set(up).execute().await)
}

fn end<T>(link: LinkMessageBuilder<T>, name: &str, mac: MacAddr) -> LinkMessageBuilder<T> {
    link.name(name)
        .address(mac.0.to_vec())
        .mtu(MTU)
        .append_extra_attribute(LinkAttribute::NumTxQueues(1))
        .append_extra_attribute(LinkAttribute::NumRxQueues(1))
}
