//! Two ends of a link in this process, each with a thread and, where there are two, a CPU of its own.

use anyhow::Context as _;
use datapath::port::af_xdp::AfXdpConfig;
use datapath::port::nic::{Nic, NicKind, NicPort};
use datapath::port::xdp::AttachMode;
use fc::wire::MacAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use xfcoe::demo::two_cpus;
use xfcoe::netns::{Cable, INITIATOR_INTERFACE, INITIATOR_MAC, SAN_INTERFACE, SAN_MAC};
use xfcoe::san_thread::pin;

/// An interface that is open.
pub(crate) struct End {
    pub(crate) port: NicPort,
    pub(crate) mac: MacAddr,
    /// Frames come as long as it lives.
    pub(crate) nic: Nic,
}

impl End {
    /// Opens an interface of the calling thread's namespace for frames to its own address.
    pub(crate) fn open(interface: &str, kind: NicKind, mac: MacAddr) -> anyhow::Result<Self> {
        let (nic, port) = Nic::open(interface, kind, &[])?;
        nic.macs().add(mac)?;
        Ok(Self { port, mac, nic })
    }

    /// Opens one by AF_XDP, in a way of its own.
    pub(crate) fn open_queue(config: &AfXdpConfig, attach: AttachMode, mac: MacAddr) -> anyhow::Result<Self> {
        let (nic, port) = Nic::open_queue(config, attach)?;
        nic.macs().add(mac)?;
        Ok(Self { port, mac, nic })
    }
}

/// Both ends of a veth pair between two namespaces. Those go with the process, however that ends.
pub(crate) fn veth(kind: NicKind) -> anyhow::Result<(End, End)> {
    veth_with(|interface, mac| End::open(interface, kind, mac))
}

/// The same, each opened by `open`, which is called in its namespace.
pub(crate) fn veth_with(
    open: impl Fn(&str, MacAddr) -> anyhow::Result<End> + Sync,
) -> anyhow::Result<(End, End)> {
    let cable = Cable::lay()?;
    let near = cable.initiator.run(|| open(INITIATOR_INTERFACE, INITIATOR_MAC))??;
    let far = cable.san.run(|| open(SAN_INTERFACE, SAN_MAC))??;
    Ok((near, far))
}

/// Does the work of both ends at a time: `far` looks at its flag, and ends when `near` has.
pub(crate) fn both<N: Send, F: Send>(
    near: impl FnOnce() -> anyhow::Result<N> + Send,
    far: impl FnOnce(&AtomicBool) -> anyhow::Result<F> + Send,
) -> anyhow::Result<(N, F)> {
    let (near_cpu, far_cpu) = two_cpus()?;
    let on = |cpu: Option<usize>| cpu.map(pin).transpose().context("cannot pin an end to a CPU");
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let far = scope.spawn(|| on(far_cpu).and_then(|_| far(&is_over)));
        let near = scope.spawn(|| on(near_cpu).and_then(|_| near())).join();
        is_over.store(true, Ordering::Relaxed);
        let far = far.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let near = near.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // If the far end had ended, that is why the near one failed.
        far.and_then(|far| Ok((near?, far)))
    })
}
