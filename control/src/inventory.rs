//! What control has found, for people and for the library to look at.

use fc::messages::NexusId;
use fc::time::Duration;
use fc::wire::fcp::Lun;
use fc::wire::{FcId, MacAddr, Wwn};

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
