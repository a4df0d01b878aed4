//! What is checked before anything is set up, so that a refusal is one clear line instead of an errno from deep
//! inside.

use crate::link::{self, Link, LinkError};
use datapath::port::nic::NicKind;
use fc::wire::fcoe;
use std::fmt;
use std::io;
use thiserror::Error;

/// The MTU that a full FCoE frame needs: FCoE header 14, FC frame 2136, CRC and EOF 8 (FC-BB-5, 7.8).
pub const FULL_MTU: u32 = 2158;

/// How a port reaches its NIC.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum PortKind {
    /// AF_XDP rings
    #[default]
    AfXdp,
    /// A packet socket, for NICs without XDP
    AfPacket,
}

impl PortKind {
    fn needs(self) -> &'static [Capability] {
        match self {
            Self::AfXdp => &[Capability::NetAdmin, Capability::NetRaw, Capability::Bpf, Capability::Perfmon],
            Self::AfPacket => &[Capability::NetAdmin, Capability::NetRaw],
        }
    }
}

impl From<PortKind> for NicKind {
    fn from(kind: PortKind) -> Self {
        match kind {
            PortKind::AfXdp => Self::AfXdp,
            PortKind::AfPacket => Self::AfPacket,
        }
    }
}

impl fmt::Display for PortKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AfXdp => "AF_XDP",
            Self::AfPacket => "AF_PACKET",
        })
    }
}

/// Why xfcoe can't run here, and what to do.
#[derive(Debug, Error)]
pub enum Refusal {
    /// The process may not do what it must.
    #[error("cannot {task}: this process lacks {}; run it as root", list(missing))]
    MissingCapabilities {
        /// What it wanted to do.
        task: String,
        /// What it would need for that.
        missing: Vec<Capability>,
    },
    /// No interface of that name.
    #[error("there is no interface `{name}` here; there are: {}", list(existing))]
    NoInterface {
        /// The name asked for.
        name: String,
        /// Those that are there.
        existing: Vec<String>,
    },
    /// The interface is down.
    #[error("interface `{name}` is down; set it up by `ip link set {name} up`")]
    Down {
        /// The interface.
        name: String,
    },
    /// Not even FCoE frames of the shortest payload fit.
    #[error(
        "interface `{name}` has an MTU of {mtu}, too small for FCoE, of which a full frame needs {FULL_MTU}; raise it by \
         `ip link set {name} mtu 2500`, and on the switch too"
    )]
    SmallMtu {
        /// The interface.
        name: String,
        /// Its MTU.
        mtu: u32,
    },
    /// Some other XDP program is attached.
    #[error(
        "interface `{name}` runs XDP program {program} already, and it takes but one; see what it is by `bpftool \
         prog show id {program}`, take it off by `ip link set {name} xdp off`, or use --port af_packet"
    )]
    OtherXdpProgram {
        /// The interface.
        name: String,
        /// The program's id.
        program: u32,
    },
    /// The interfaces can't be listed.
    #[error(transparent)]
    Links(#[from] LinkError),
    /// The process's capabilities can't be read.
    #[error("cannot read this process's capabilities from /proc/thread-self/status: {0}")]
    Capabilities(#[from] io::Error),
}

fn list<T: fmt::Display>(items: &[T]) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

/// Checks that a port of this kind can be opened on `interface`, and gives the interface.
///
/// # Errors
/// The first thing that stands against it.
pub fn interface(name: &str, kind: PortKind) -> Result<Link, Refusal> {
    let have = Capabilities::of_this_thread()?;
    have.require(kind.needs(), || format!("open an {kind} port on `{name}`"))?;
    judge(&link::list()?, name, kind).cloned()
}

/// Checks that namespaces and a veth pair can be made, and ports of this kind opened on it.
///
/// # Errors
/// What is missing.
pub fn demo(kind: PortKind) -> Result<(), Refusal> {
    let needs = [kind.needs(), &[Capability::SysAdmin]].concat();
    let have = Capabilities::of_this_thread()?;
    have.require(&needs, || format!("make network namespaces with {kind} ports in them"))
}

fn judge<'a>(links: &'a [Link], name: &str, kind: PortKind) -> Result<&'a Link, Refusal> {
    let Some(link) = links.iter().find(|link| link.name == name) else {
        let existing = links.iter().map(|link| link.name.clone()).collect();
        return Err(Refusal::NoInterface { name: name.into(), existing });
    };
    if !link.up {
        return Err(Refusal::Down { name: name.into() });
    }
    if fcoe::max_payload_len(link.mtu).is_none() {
        return Err(Refusal::SmallMtu { name: name.into(), mtu: link.mtu });
    }
    match (kind, link.xdp_program) {
        (PortKind::AfXdp, Some(program)) => Err(Refusal::OtherXdpProgram { name: name.into(), program }),
        (PortKind::AfXdp, None) | (PortKind::AfPacket, _) => Ok(link),
    }
}

/// One of the kernel's capabilities that we need; the number is its bit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Capability {
    /// CAP_NET_ADMIN: interfaces, XDP programs, socket buffers above the limit.
    NetAdmin = 12,
    /// CAP_NET_RAW: AF_XDP and AF_PACKET sockets.
    NetRaw = 13,
    /// CAP_SYS_ADMIN: namespaces, and what CAP_BPF and CAP_PERFMON do.
    SysAdmin = 21,
    /// CAP_PERFMON: an XDP program that goes by a pointer in the packet, as ours does.
    Perfmon = 38,
    /// CAP_BPF: loading the XDP program.
    Bpf = 39,
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NetAdmin => "CAP_NET_ADMIN",
            Self::NetRaw => "CAP_NET_RAW",
            Self::SysAdmin => "CAP_SYS_ADMIN",
            Self::Perfmon => "CAP_PERFMON",
            Self::Bpf => "CAP_BPF",
        })
    }
}

/// The effective capabilities of a thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capabilities(u64);

impl Capabilities {
    /// The calling thread's.
    ///
    /// # Errors
    /// If `/proc` does not tell.
    pub fn of_this_thread() -> io::Result<Self> {
        let status = std::fs::read_to_string("/proc/thread-self/status")?;
        Self::parse(&status).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no CapEff line"))
    }

    fn parse(status: &str) -> Option<Self> {
        let hex = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
        u64::from_str_radix(hex.trim(), 16).ok().map(Self)
    }

    /// Whether `capability` is among them, or one that implies it.
    pub fn has(self, capability: Capability) -> bool {
        let bit = |capability: Capability| self.0 >> (capability as u8) & 1 == 1;
        let is_of_bpf = matches!(capability, Capability::Bpf | Capability::Perfmon);
        bit(capability) || is_of_bpf && bit(Capability::SysAdmin)
    }

    fn require(self, needs: &[Capability], task: impl FnOnce() -> String) -> Result<(), Refusal> {
        let missing: Vec<_> = needs.iter().copied().filter(|&need| !self.has(need)).collect();
        if missing.is_empty() { Ok(()) } else { Err(Refusal::MissingCapabilities { task: task(), missing }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fc::wire::MacAddr;

    fn link(name: &str, mtu: u32, up: bool, xdp_program: Option<u32>) -> Link {
        Link { name: name.into(), mac: MacAddr([2, 0, 0, 0, 0, 1]), mtu, up, xdp_program }
    }

    fn refusal(name: &str, kind: PortKind) -> String {
        let links = [
            link("lo", 65536, true, None),
            link("eth0", 301, true, None),
            link("eth1", 2500, false, None),
            link("eth2", 2158, true, Some(7)),
            link("eth3", 302, true, None),
        ];
        judge(&links, name, kind)
            .map_or_else(|refusal| refusal.to_string(), |link| format!("ok {}", link.name))
    }

    #[test]
    fn each_refusal_says_what_is_wrong_and_what_to_do() {
        let cases = [
            ("eth9", "there is no interface `eth9` here; there are: lo, eth0, eth1, eth2, eth3"),
            (
                "eth0",
                "interface `eth0` has an MTU of 301, too small for FCoE, of which a full frame needs 2158; raise it by \
                 `ip link set eth0 mtu 2500`, and on the switch too",
            ),
            ("eth1", "interface `eth1` is down; set it up by `ip link set eth1 up`"),
            (
                "eth2",
                "interface `eth2` runs XDP program 7 already, and it takes but one; see what it is by `bpftool prog \
                 show id 7`, take it off by `ip link set eth2 xdp off`, or use --port af_packet",
            ),
            ("eth3", "ok eth3"),
        ];
        for (name, said) in cases {
            assert_eq!(refusal(name, PortKind::AfXdp), said);
        }
        assert_eq!(refusal("eth2", PortKind::AfPacket), "ok eth2");
    }

    #[test]
    fn missing_capabilities_are_named() {
        let have = |status| Capabilities::parse(status).unwrap();
        let root = have("Name:\txfcoe\nCapEff:\t000001ffffffffff\nCapBnd:\t0\n");
        assert!(root.require(PortKind::AfXdp.needs(), String::new).is_ok());
        // An older kernel has neither CAP_BPF nor CAP_PERFMON.
        assert!(have("CapEff:\t0000000000203000").require(PortKind::AfXdp.needs(), String::new).is_ok());

        let net_raw = have("CapEff:\t0000000000002000");
        let refused = net_raw.require(PortKind::AfXdp.needs(), || "open a port".into()).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "cannot open a port: this process lacks CAP_NET_ADMIN, CAP_BPF, CAP_PERFMON; run it as root"
        );
        assert_eq!(Capabilities::parse("CapEff:\tnonsense"), None);
    }
}
