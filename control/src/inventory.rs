//! What control has found, for people and for the library to look at.

use fc::messages::NexusId;
use fc::time::Duration;
use fc::wire::fcp::Lun;
use fc::wire::{FcId, MacAddr, Wwn};
use thiserror::Error;

/// Everything that one interface sees.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Inventory {
    /// The interface has a link.
    pub link_up: bool,
    /// The VLAN of FIP and FCoE; `None` for frames without a tag.
    pub vlan: Option<u16>,
    /// The FCFs heard.
    pub fcfs: Vec<FcfView>,
    /// Our VN_Ports.
    pub vn_ports: Vec<VnPortView>,
    /// The target ports.
    pub targets: Vec<TargetView>,
    /// From the link coming up to the first VN_Port being logged in and registered.
    pub login_time: Option<Duration>,
}

/// What keeps an interface from having disks, and what to do about it.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum Obstacle {
    /// There is no link.
    #[error("the interface has no link: is it up, and is the other end?")]
    NoLink,
    /// No FCF was heard.
    #[error("no FCF was heard: is FCoE switched on at the switch's port, and the VLAN right?")]
    NoFcf,
    /// FCFs were heard, and none can be used.
    #[error("no FCF can be used; of {mac}: {reason}")]
    FcfRefused {
        /// The first of them.
        mac: MacAddr,
        /// Why not.
        reason: String,
    },
    /// The VN_Port isn't logged in and registered.
    #[error("the login to the fabric is not complete: {state}")]
    NotOnline {
        /// How far it is.
        state: String,
    },
    /// The name server shows no target that accepts a login.
    #[error("the fabric shows no target that can be logged in to: check its zoning")]
    NoTarget,
    /// No logical unit can be used.
    #[error("the targets show no logical unit that can be used: check their LUN masking")]
    NoUnit,
}

impl Inventory {
    /// Whether there is a target that is ready, and the logical units of every such target have been looked at.
    pub fn is_scanned(&self) -> bool {
        let mut ready = self.targets.iter().filter(|target| target.ready).peekable();
        ready.peek().is_some() && ready.all(|target| target.scanned)
    }

    /// The first obstacle on the way to a disk; `None` if there is a disk.
    pub fn obstacle(&self) -> Option<Obstacle> {
        let has_unit = |target: &TargetView| target.ready && target.luns.iter().any(|lun| lun.unit.is_ok());
        if self.targets.iter().any(has_unit) {
            return None;
        }
        if !self.link_up {
            return Some(Obstacle::NoLink);
        }
        let refused =
            |fcf: &FcfView| fcf.refusal.clone().map(|reason| Obstacle::FcfRefused { mac: fcf.mac, reason });
        if !self.fcfs.iter().any(|fcf| fcf.selected) {
            return Some(self.fcfs.iter().find_map(refused).unwrap_or(Obstacle::NoFcf));
        }
        match self.vn_ports.iter().find(|port| !port.online) {
            Some(port) => Some(Obstacle::NotOnline { state: port.state.clone() }),
            None if self.targets.iter().any(|target| target.ready) => Some(Obstacle::NoUnit),
            None => Some(Obstacle::NoTarget),
        }
    }
}

/// An FCF.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FcfView {
    /// Where FIP frames go.
    pub mac: MacAddr,
    /// The switch's name.
    pub switch_name: Wwn,
    /// The fabric's name.
    pub fabric_name: Wwn,
    /// The FC-MAP, as six hex digits with dashes.
    pub fc_map: String,
    /// The lower number wins.
    pub priority: u8,
    /// FKA_ADV_PERIOD.
    pub keep_alive_period: Duration,
    /// Whether it is in use.
    pub selected: bool,
    /// Why it can't be used; `None` if it can.
    pub refusal: Option<String>,
}

/// One of our VN_Ports.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VnPortView {
    /// Its WWPN.
    pub port_name: Wwn,
    /// Its node's WWNN.
    pub node_name: Wwn,
    /// Its N_Port_ID, once the fabric granted one.
    pub fc_id: Option<FcId>,
    /// Its MAC address, once the fabric granted one.
    pub mac: Option<MacAddr>,
    /// Whether it is logged in and registered.
    pub online: bool,
    /// How far its login has come, or what keeps it.
    pub state: String,
}

/// A target port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TargetView {
    /// Its WWPN.
    pub port_name: Wwn,
    /// Its WWNN.
    pub node_name: Wwn,
    /// Its N_Port_ID.
    pub fc_id: FcId,
    /// What commands to it name.
    pub nexus: NexusId,
    /// Whether commands can go out now.
    pub ready: bool,
    /// Why not, if they can't.
    pub gone: Option<String>,
    /// The most payload bytes in a frame to it.
    pub max_payload_len: u16,
    /// Whether its logical units have been looked for since the last login.
    pub scanned: bool,
    /// Its logical units.
    pub luns: Vec<LunView>,
}

/// A logical unit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LunView {
    /// Its number.
    pub lun: Lun,
    /// What it is, or why that couldn't be found out.
    pub unit: Result<fc::lun_scan::LogicalUnit, String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_obstacle_is_told() {
        let mut seen = Inventory::default();
        assert_eq!(seen.obstacle(), Some(Obstacle::NoLink));
        seen.link_up = true;
        assert_eq!(seen.obstacle(), Some(Obstacle::NoFcf));
        let (mac, reason) = (MacAddr([2, 0, 0, 0, 0, 1]), "it takes no logins".to_owned());
        seen.fcfs.push(FcfView {
            mac,
            switch_name: Wwn::from_u64(1),
            fabric_name: Wwn::from_u64(2),
            fc_map: "0E-FC-00".into(),
            priority: 128,
            keep_alive_period: Duration::from_secs(8),
            selected: false,
            refusal: Some(reason.clone()),
        });
        assert_eq!(seen.obstacle(), Some(Obstacle::FcfRefused { mac, reason }));
        (seen.fcfs[0].selected, seen.fcfs[0].refusal) = (true, None);
        seen.vn_ports.push(VnPortView {
            port_name: Wwn::from_u64(3),
            node_name: Wwn::from_u64(4),
            fc_id: None,
            mac: None,
            online: false,
            state: "logging in".into(),
        });
        assert_eq!(seen.obstacle(), Some(Obstacle::NotOnline { state: "logging in".into() }));
        seen.vn_ports[0].online = true;
        assert_eq!(seen.obstacle(), Some(Obstacle::NoTarget));
        seen.targets.push(TargetView {
            port_name: Wwn::from_u64(5),
            node_name: Wwn::from_u64(6),
            fc_id: FcId([1, 1, 1]),
            nexus: NexusId(0),
            ready: true,
            gone: None,
            max_payload_len: 2112,
            scanned: true,
            luns: vec![LunView { lun: Lun::default(), unit: Err("no device is behind it".into()) }],
        });
        assert_eq!(seen.obstacle(), Some(Obstacle::NoUnit));
    }
}
