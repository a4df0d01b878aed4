//! What control has found, for people and for the library to look at.

use fc::messages::NexusId;
use fc::time::Duration;
use fc::vn_port::{LoginKind, Topology};
use fc::wire::fcp::Lun;
use fc::wire::{FcId, MacAddr, Wwn};
use std::sync::Arc;
use thiserror::Error;

/// Everything that one interface sees.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Inventory {
    /// Whether there is a fabric.
    pub topology: Topology,
    /// The interface has a link.
    pub link_up: bool,
    /// The VLAN of FIP and FCoE; `None` for frames without a tag.
    pub vlan: Option<u16>,
    /// The FCFs heard, in a fabric.
    pub fcfs: Vec<FcfView>,
    /// The neighbours heard, in VN2VN.
    pub neighbours: Vec<NeighbourView>,
    /// Our VN_Ports: first the interface's own.
    pub vn_ports: Vec<VnPortView>,
    /// The target ports that each of our VN_Ports sees.
    pub targets: Vec<TargetView>,
    /// MAC addresses of ours that someone else sends with, too: frames that are for us may go there.
    pub duplicate_macs: Vec<MacAddr>,
    /// From the link coming up to the first VN_Port being logged in and registered, or having an N_Port_ID in VN2VN.
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
    /// There is no N_Port_ID yet.
    #[error("no N_Port_ID is ours yet, though the link is up: try again, or look at the log by -v")]
    NoPortId,
    /// No VN2VN neighbour was heard.
    #[error("no VN2VN neighbour was heard: is the SAN in VN2VN mode, on this Ethernet and the same VLAN?")]
    NoNeighbour,
    /// Neighbours were heard, and none is a target that is logged in to.
    #[error("no neighbour is a target that we are logged in to; of {port_name} at {mac}: {state}")]
    NoTargetNeighbour {
        /// The first of them: its WWPN.
        port_name: Wwn,
        /// Its ENode MAC.
        mac: MacAddr,
        /// Why not.
        state: String,
    },
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
        Some(match self.topology {
            Topology::Fabric => self.fabric_obstacle(),
            Topology::Vn2vn => self.vn2vn_obstacle(),
        })
    }

    fn fabric_obstacle(&self) -> Obstacle {
        let refused =
            |fcf: &FcfView| fcf.refusal.clone().map(|reason| Obstacle::FcfRefused { mac: fcf.mac, reason });
        if !self.fcfs.iter().any(|fcf| fcf.selected) {
            return self.fcfs.iter().find_map(refused).unwrap_or(Obstacle::NoFcf);
        }
        match self.vn_ports.iter().find(|port| !port.online) {
            Some(port) => Obstacle::NotOnline { state: port.state.clone() },
            None if self.has_target() => Obstacle::NoUnit,
            None => Obstacle::NoTarget,
        }
    }

    fn vn2vn_obstacle(&self) -> Obstacle {
        match self.neighbours.first() {
            _ if self.has_target() => Obstacle::NoUnit,
            _ if self.vn_ports.iter().any(|port| !port.online) => Obstacle::NoPortId,
            None => Obstacle::NoNeighbour,
            Some(NeighbourView { port_name, mac, state, .. }) => {
                Obstacle::NoTargetNeighbour { port_name: *port_name, mac: *mac, state: state.clone() }
            }
        }
    }

    fn has_target(&self) -> bool {
        self.targets.iter().any(|target| target.ready)
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

/// A VN2VN neighbour.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NeighbourView {
    /// Where FIP frames go.
    pub mac: MacAddr,
    /// Its WWPN.
    pub port_name: Wwn,
    /// Its WWNN.
    pub node_name: Wwn,
    /// Its N_Port_ID.
    pub fc_id: FcId,
    /// The largest L2 payload that it takes, once it has told.
    pub max_fcoe_size: Option<u16>,
    /// How far the login with it has come, or what keeps it.
    pub state: String,
}

/// One of our VN_Ports.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VnPortView {
    /// The identity's name; the interface's own has none.
    pub identity: Option<Arc<str>>,
    /// Its WWPN.
    pub port_name: Wwn,
    /// Its node's WWNN.
    pub node_name: Wwn,
    /// By what it logs in, in a fabric.
    pub login: LoginKind,
    /// The MAC address that it does so by.
    pub enode: MacAddr,
    /// Its N_Port_ID, once there is one.
    pub fc_id: Option<FcId>,
    /// Its MAC address, once there is one.
    pub mac: Option<MacAddr>,
    /// Whether it is logged in and registered.
    pub online: bool,
    /// How far its login has come, or what keeps it.
    pub state: String,
}

/// A target port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TargetView {
    /// The identity that sees it; none is the interface's own.
    pub identity: Option<Arc<str>>,
    /// Our VN_Port's WWPN.
    pub vn_port: Wwn,
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
    /// How often it has become ready: each time is a new login, which ends what the target held of the one before.
    pub logins: u32,
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
            identity: None,
            port_name: Wwn::from_u64(3),
            node_name: Wwn::from_u64(4),
            login: LoginKind::Flogi,
            enode: MacAddr([2, 0, 0, 0, 0, 2]),
            fc_id: None,
            mac: None,
            online: false,
            state: "logging in".into(),
        });
        assert_eq!(seen.obstacle(), Some(Obstacle::NotOnline { state: "logging in".into() }));
        seen.vn_ports[0].online = true;
        assert_eq!(seen.obstacle(), Some(Obstacle::NoTarget));
        seen.targets.push(TargetView {
            identity: None,
            vn_port: Wwn::from_u64(3),
            port_name: Wwn::from_u64(5),
            node_name: Wwn::from_u64(6),
            fc_id: FcId([1, 1, 1]),
            nexus: NexusId(0),
            ready: true,
            logins: 1,
            gone: None,
            max_payload_len: 2112,
            scanned: true,
            luns: vec![LunView { lun: Lun::default(), unit: Err("no device is behind it".into()) }],
        });
        assert_eq!(seen.obstacle(), Some(Obstacle::NoUnit));
    }

    #[test]
    fn the_first_obstacle_in_vn2vn_is_told() {
        let mut seen = Inventory { topology: Topology::Vn2vn, link_up: true, ..Inventory::default() };
        seen.vn_ports.push(VnPortView {
            identity: None,
            port_name: Wwn::from_u64(3),
            node_name: Wwn::from_u64(4),
            login: LoginKind::Flogi,
            enode: MacAddr([2, 0, 0, 0, 0, 2]),
            fc_id: None,
            mac: None,
            online: false,
            state: "offline".into(),
        });
        assert_eq!(seen.obstacle(), Some(Obstacle::NoPortId));
        seen.vn_ports[0].online = true;
        assert_eq!(seen.obstacle(), Some(Obstacle::NoNeighbour));
        let (mac, port_name, state) =
            (MacAddr([2, 0, 0, 0, 0, 1]), Wwn::from_u64(5), "FLOGI sent".to_owned());
        seen.neighbours.push(NeighbourView {
            mac,
            port_name,
            node_name: Wwn::from_u64(6),
            fc_id: FcId([0, 0, 1]),
            max_fcoe_size: Some(2158),
            state: state.clone(),
        });
        assert_eq!(seen.obstacle(), Some(Obstacle::NoTargetNeighbour { port_name, mac, state }));
    }
}
