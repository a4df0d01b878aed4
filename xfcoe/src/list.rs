//! `xfcoe list`: what the ports see.

use crate::cli;
use crate::config::Config;
use crate::interrupt::Interrupt;
use crate::program;
use crate::session::Session;
use initiator::{FcfView, Inventory, LunView, NeighbourView, TargetView, Topology, VnPortView};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

pub(crate) fn run(args: &cli::List, json: bool, interrupt: &Interrupt) -> anyhow::Result<()> {
    let session = Session::start(&Config::of_place(&args.place)?)?;
    session.settle(Duration::from_secs(args.timeout.into()), interrupt)?;
    program::print(json, &Listing::of(&session))?;
    session.check_for_disks()
}

/// What all ports see. Names and addresses are texts, as people write them; names end in their units.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Listing {
    ports: Vec<Port>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Port {
    name: String,
    interface: String,
    /// As the configuration file has it.
    mode: String,
    link_up: bool,
    vlan: Option<u16>,
    login_ms: Option<u64>,
    fcfs: Vec<Fcf>,
    neighbours: Vec<Neighbour>,
    vn_ports: Vec<VnPort>,
    targets: Vec<Target>,
    /// MAC addresses of ours that someone else sends with, too.
    duplicate_macs: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Fcf {
    mac: String,
    switch_name: String,
    fabric_name: String,
    fc_map: String,
    priority: u8,
    keep_alive_ms: u64,
    selected: bool,
    /// Why it can't be used.
    refusal: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Neighbour {
    mac: String,
    wwpn: String,
    wwnn: String,
    fc_id: String,
    /// The longest frame that it takes, once it has told.
    max_fcoe_bytes: Option<u16>,
    state: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct VnPort {
    /// Left out of the ports' own.
    identity: Option<String>,
    wwpn: String,
    wwnn: String,
    fc_id: Option<String>,
    mac: Option<String>,
    state: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Target {
    /// The identity of the VN_Port that sees it, and that VN_Port's WWPN.
    identity: Option<String>,
    vn_port: String,
    wwpn: String,
    wwnn: String,
    fc_id: String,
    ready: bool,
    /// Why it isn't ready.
    gone: Option<String>,
    luns: Vec<Lun>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Lun {
    lun: String,
    id: Option<String>,
    vendor: Option<String>,
    product: Option<String>,
    bytes: Option<u64>,
    block_bytes: Option<u32>,
    /// How well this target port leads to it, if it says that.
    access: Option<String>,
    /// Why it can't be used.
    error: Option<String>,
}

impl Listing {
    pub(crate) fn of(session: &Session) -> Self {
        let ports = session.ports.iter();
        let ports = ports.map(|port| Port::new(&port.name, &port.interface, &port.initiator.inventory()));
        Self { ports: ports.collect() }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Port {
    fn new(name: &str, interface: &str, seen: &Inventory) -> Self {
        Self {
            name: name.into(),
            interface: interface.into(),
            mode: match seen.topology {
                Topology::Fabric => "fabric".into(),
                Topology::Vn2vn => "vn2vn".into(),
            },
            link_up: seen.link_up,
            vlan: seen.vlan,
            login_ms: seen.login_time.map(millis),
            fcfs: seen.fcfs.iter().map(Fcf::from).collect(),
            neighbours: seen.neighbours.iter().map(Neighbour::from).collect(),
            vn_ports: seen.vn_ports.iter().map(VnPort::from).collect(),
            targets: seen.targets.iter().map(Target::from).collect(),
            duplicate_macs: seen.duplicate_macs.iter().map(ToString::to_string).collect(),
        }
    }
}

impl From<&FcfView> for Fcf {
    fn from(fcf: &FcfView) -> Self {
        Self {
            mac: fcf.mac.to_string(),
            switch_name: fcf.switch_name.to_string(),
            fabric_name: fcf.fabric_name.to_string(),
            fc_map: fcf.fc_map.clone(),
            priority: fcf.priority,
            keep_alive_ms: millis(fcf.keep_alive_period),
            selected: fcf.selected,
            refusal: fcf.refusal.clone(),
        }
    }
}

impl From<&NeighbourView> for Neighbour {
    fn from(neighbour: &NeighbourView) -> Self {
        Self {
            mac: neighbour.mac.to_string(),
            wwpn: neighbour.port_name.to_string(),
            wwnn: neighbour.node_name.to_string(),
            fc_id: neighbour.fc_id.to_string(),
            max_fcoe_bytes: neighbour.max_fcoe_size,
            state: neighbour.state.clone(),
        }
    }
}

impl From<&VnPortView> for VnPort {
    fn from(vn_port: &VnPortView) -> Self {
        Self {
            identity: vn_port.identity.as_deref().map(String::from),
            wwpn: vn_port.port_name.to_string(),
            wwnn: vn_port.node_name.to_string(),
            fc_id: vn_port.fc_id.map(|id| id.to_string()),
            mac: vn_port.mac.map(|mac| mac.to_string()),
            state: vn_port.state.clone(),
        }
    }
}

impl From<&TargetView> for Target {
    fn from(target: &TargetView) -> Self {
        Self {
            identity: target.identity.as_deref().map(String::from),
            vn_port: target.vn_port.to_string(),
            wwpn: target.port_name.to_string(),
            wwnn: target.node_name.to_string(),
            fc_id: target.fc_id.to_string(),
            ready: target.ready,
            gone: target.gone.clone(),
            luns: target.luns.iter().map(Lun::from).collect(),
        }
    }
}

impl From<&LunView> for Lun {
    fn from(view: &LunView) -> Self {
        let unit = view.unit.as_ref().ok();
        let capacity = unit.and_then(|unit| unit.capacity);
        Self {
            lun: view.lun.to_string(),
            id: unit.and_then(|unit| unit.identity()).map(ToString::to_string),
            vendor: unit.map(|unit| unit.vendor.clone()),
            product: unit.map(|unit| unit.product.clone()),
            bytes: capacity.map(|capacity| capacity.blocks * u64::from(capacity.block_len_bytes)),
            block_bytes: capacity.map(|capacity| capacity.block_len_bytes),
            access: unit.and_then(|unit| unit.access).map(|access| access.to_string()),
            error: view.unit.as_ref().err().cloned(),
        }
    }
}

impl fmt::Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ports.iter().try_for_each(|port| port.fmt(f))
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let link = if self.link_up { "link up" } else { "no link" };
        let vlan = self.vlan.map_or("no VLAN tag".into(), |vlan| format!("VLAN {vlan}"));
        let login = self.login_ms.map_or("not logged in".into(), |ms| format!("logged in after {ms} ms"));
        writeln!(f, "{} on {}: {}, {link}, {vlan}, {login}", self.name, self.interface, self.mode)?;
        self.fcfs.iter().try_for_each(|fcf| fcf.fmt(f))?;
        self.neighbours.iter().try_for_each(|neighbour| neighbour.fmt(f))?;
        for mac in &self.duplicate_macs {
            writeln!(f, "  MAC {mac} is someone else's, too: frames for us may go there, and be lost")?;
        }
        for vn_port in &self.vn_ports {
            vn_port.fmt(f)?;
            let seen = self.targets.iter().filter(|target| target.vn_port == vn_port.wwpn);
            seen.into_iter().try_for_each(|target| target.fmt(f))?;
        }
        Ok(())
    }
}

impl fmt::Display for Fcf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mac, switch_name, fabric_name, priority, .. } = self;
        write!(f, "  FCF {mac}, switch {switch_name}, fabric {fabric_name}, priority {priority}")?;
        match &self.refusal {
            Some(refusal) => writeln!(f, ", refused: {refusal}"),
            None if self.selected => writeln!(f, ", in use"),
            None => writeln!(f, ", usable"),
        }
    }
}

impl fmt::Display for Neighbour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mac, wwpn, fc_id, state, .. } = self;
        writeln!(f, "  neighbour {mac}, port {wwpn}, N_Port_ID {fc_id}: {state}")
    }
}

impl fmt::Display for VnPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  VN_Port {}", self.wwpn)?;
        if let Some(identity) = &self.identity {
            write!(f, ", identity {identity}")?;
        }
        if let (Some(fc_id), Some(mac)) = (&self.fc_id, &self.mac) {
            write!(f, ", N_Port_ID {fc_id}, MAC {mac}")?;
        }
        writeln!(f, ": {}", self.state)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.gone.as_deref().unwrap_or(if self.ready { "ready" } else { "not ready" });
        writeln!(f, "  target {}, N_Port_ID {}: {state}", self.wwpn, self.fc_id)?;
        self.luns.iter().try_for_each(|lun| lun.fmt(f))
    }
}

impl fmt::Display for Lun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "    LUN {}", self.lun)?;
        if let Some(error) = &self.error {
            return writeln!(f, ": {error}");
        }
        if let (Some(bytes), Some(block_bytes)) = (self.bytes, self.block_bytes) {
            write!(f, ", {} in blocks of {block_bytes}", indicatif::BinaryBytes(bytes))?;
        }
        for part in [&self.vendor, &self.product, &self.id, &self.access].into_iter().flatten() {
            write!(f, ", {part}")?;
        }
        writeln!(f)
    }
}
