//! As whom an initiator logs in, and whose each LUN is.

use super::{HostPlan, Plan};
use control::{Identity, Login};
use fc::fip::Addressing;
use fc::wire::fcp::Lun;
use fc::wire::{MacAddr, Wwn};
use san::LunConfig;
use std::sync::Arc;

/// How an identity of an initiator logs in. Its WWPNs and MAC addresses follow from those of the initiator's ports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum IdentityPlan {
    /// Behind the port's own.
    Fdisc,
    /// By a MAC address of its own.
    Flogi(Addressing),
}

/// Who at an initiator asks for something: 0 are its ports' own VN_Ports, others its identities.
pub(crate) type Who = usize;

/// The WWPN that one has at a port with this MAC address.
pub(crate) const fn port_name(mac: MacAddr, who: Who) -> Wwn {
    if who == 0 { Wwn::from_mac(0x2000, mac) } else { Wwn::from_mac(0x2200 + who as u16, mac) }
}

/// The name of an identity.
pub(crate) fn name(who: Who) -> Arc<str> {
    format!("vm{who}").into()
}

/// Who has this name.
pub(crate) fn of_name(identity: Option<&str>) -> Who {
    identity.map_or(0, |name| name.trim_start_matches("vm").parse().expect("a name of ours"))
}

impl IdentityPlan {
    /// Identity number `who` at a port with this MAC address.
    pub(crate) fn identity(self, mac: MacAddr, who: Who) -> Identity {
        let [first, second, _, rest @ ..] = mac.0;
        let [a, b, c] = rest;
        let login = match self {
            Self::Fdisc => Login::Fdisc,
            Self::Flogi(addressing) => {
                Login::Flogi { mac: MacAddr([first, second, who as u8, a, b, c]), addressing }
            }
        };
        Identity { name: name(who), port_name: port_name(mac, who), node_name: None, login }
    }
}

impl HostPlan {
    /// Everyone at this initiator.
    pub(crate) fn everyone(&self) -> impl Iterator<Item = Who> {
        0..=self.identities.len()
    }
}

impl Plan {
    /// Whether one sees a LUN.
    pub(crate) fn sees(&self, host: usize, who: Who, lun: &LunConfig) -> bool {
        let port_name = port_name(self.hosts[host].macs[0], who);
        lun.initiators.is_empty() || lun.initiators.contains(&port_name)
    }
}

/// Whose a LUN is where each is one's own, among so many.
pub(super) fn owner(lun: Lun, everyone: usize) -> Who {
    usize::from(lun.0[1]) % everyone
}
