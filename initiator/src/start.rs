//! Opens an interface and starts the threads over it.

use crate::Initiator;
use crate::config::Config;
use crate::disk_state::Doubt;
use crate::edge::ThreadEdge;
use crate::error::StartError;
use crate::published::Published;
use control::link::{LinkState, LinkWatch};
use control::{Control, EnodeConfig, Order};
use datapath::core::thread::{CoreThread, PollMode, ThreadConfig};
use datapath::core::{ControlLinks, Core, CoreConfig, siblings};
use datapath::port::Waker;
use datapath::port::nic::{Nic, NicConfig, NicPort};
use fc::time::Instant;
use fc::vn_port::{Identity, LoginKind, Topology};
use fc::wire::header::MAX_PAYLOAD_LEN;
use fc::wire::{MacAddr, Wwn, fcoe};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, mpsc};

/// The port that an initiator's core owns.
pub(crate) type CorePort = NicPort;

/// Commands that control may have out while it looks for logical units.
const SCAN_DEPTH: usize = 64;

pub(crate) fn start(config: &Config) -> Result<Initiator, StartError> {
    let link = LinkWatch::open(&config.interface)?;
    let control = control(config, link.state())?;
    let control_waker = waker()?;
    let group = match config.topology {
        Topology::Fabric => MacAddr::ALL_ENODE,
        Topology::Vn2vn => MacAddr::ALL_VN2VN_ENODE,
    };
    let groups = [group, MacAddr::ALL_FCOE];
    let nic_config = NicConfig {
        interface: config.interface.clone(),
        queues: config.queues.clone(),
        cores: config.cores.len(),
        kind: config.kind,
        drive_queues: config.poll_mode == PollMode::DriveQueue,
        huge_pages: config.huge_pages,
        flow_rules: config.flow_rules,
    };
    let (nic, ports) = Nic::open_for_cores(&nic_config, &groups)?;
    nic.macs().add(link.state().mac)?;
    let mut cores = make_cores(config, ports, &control_waker)?;
    let consumer = cores[0].attach_consumer(SCAN_DEPTH, Arc::clone(&control_waker));
    let links = ControlLinks::new(cores.iter().map(Core::control_link).collect());
    let cores = spawn(config, cores)?;

    let inventory = Arc::new(Published::new(control.inventory().clone()));
    let disks = config.disks.clone();
    let doubt = Arc::new(Doubt::new(Arc::clone(&control_waker)));
    let handles = cores.iter().map(CoreThread::handle).collect();
    let port = disks.add_port(handles, config.fast_io_fail, Arc::clone(&doubt));
    let stop_control = Arc::new(AtomicBool::new(false));
    let (orders, received_orders) = mpsc::channel();
    let mut edge = ThreadEdge {
        cores: links,
        consumer,
        nic,
        link,
        waker: Arc::clone(&control_waker),
        inventory: Arc::clone(&inventory),
        disks: disks.clone(),
        port,
        doubt,
        orders: received_orders,
        next_order: None,
        answer_to: None,
        stop: Arc::clone(&stop_control),
        stop_told: false,
    };
    let run = move || {
        let origin = std::time::Instant::now();
        let clock = || Instant::from_nanos(u64::try_from(origin.elapsed().as_nanos()).unwrap_or(u64::MAX));
        control::run(control, &mut edge, clock, ThreadEdge::wait);
        edge
    };
    let control =
        std::thread::Builder::new().name("control".into()).spawn(run).map_err(StartError::System)?;
    Ok(Initiator {
        inventory,
        disks,
        port,
        orders,
        control_waker,
        stop_control,
        control: Some(control),
        cores,
    })
}

fn waker() -> Result<Arc<Waker>, StartError> {
    Waker::new().map(Arc::new).map_err(StartError::System)
}

/// A core over each port, the ways between them where frames may come by another queue than their core's, and a record of
/// the first one's frames if that is wanted.
fn make_cores(
    config: &Config,
    ports: Vec<NicPort>,
    control_waker: &Arc<Waker>,
) -> Result<Vec<Core<CorePort>>, StartError> {
    let count = ports.len() as u16;
    let wakers = ports.iter().map(|_| waker()).collect::<Result<Vec<_>, _>>()?;
    let mut siblings = if config.queues.len() > 1 { siblings(&wakers) } else { Vec::new() }.into_iter();
    let core = |((number, port), waker): ((u16, CorePort), Arc<Waker>)| {
        let port = match &config.capture {
            Some(path) if number == 0 => {
                port.captured(path).map_err(|source| StartError::Capture { path: path.clone(), source })?
            }
            _ => port,
        };
        let core = Core::new(port, &CoreConfig { number, cores: count }, waker, Arc::clone(control_waker));
        Ok(core.with_siblings(siblings.next().unwrap_or_default()))
    };
    (0..).zip(ports).zip(wakers).map(core).collect()
}

/// Starts the cores' threads.
fn spawn(config: &Config, cores: Vec<Core<CorePort>>) -> Result<Vec<CoreThread<CorePort>>, StartError> {
    let spawn = |(core, &cpu)| {
        let config = ThreadConfig { cpu, poll_mode: config.poll_mode };
        CoreThread::spawn(core, config).map_err(StartError::System)
    };
    cores.into_iter().zip(&config.cores).map(spawn).collect()
}

/// A control plane with the configured identities.
fn control(config: &Config, link: &LinkState) -> Result<Control, StartError> {
    let mut control = Control::new(control_config(config, link)?);
    for identity in &config.identities {
        let added = control.carry_out(Instant::ZERO, Order::Add(identity.clone()));
        added.map_err(|source| StartError::Identity { interface: config.interface.clone(), source })?;
    }
    Ok(control)
}

fn control_config(config: &Config, link: &LinkState) -> Result<control::Config, StartError> {
    if !link.mac.is_unicast() {
        return Err(StartError::NoMac { interface: config.interface.clone() });
    }
    let max_payload_len = max_payload_len(config, link)?;
    // A frame of that payload, and not the MTU: a remainder of less than a word carries nothing.
    let max_fcoe_size = max_payload_len + fcoe::MIN_LEN as u16;
    let port_name = config.port_name.unwrap_or(Wwn::from_mac(0x2000, link.mac));
    let node_name = config.node_name.unwrap_or(Wwn::from_mac(0x1000, link.mac));
    let enode = match config.topology {
        Topology::Fabric => EnodeConfig::Fabric(fc::fip::Config {
            max_fcoe_size,
            vlan: config.vlan,
            preferred: config.preferred_fcf,
            addressing: config.addressing,
            ..fc::fip::Config::new(link.mac, node_name)
        }),
        Topology::Vn2vn => EnodeConfig::Vn2vn(fc::vn2vn::Config {
            max_fcoe_size,
            vlan: config.vlan,
            ..fc::vn2vn::Config::new(link.mac, node_name, port_name)
        }),
    };
    let version = env!("CARGO_PKG_VERSION");
    let identity = Identity {
        port_name,
        node_name,
        symbolic_port_name: format!("xfcoe {version} over {}", config.interface).into_bytes(),
        symbolic_node_name: format!("xfcoe {version}").into_bytes(),
        max_payload_len,
        login: LoginKind::Flogi,
        reconnect_delay: config.reconnect_delay,
    };
    Ok(control::Config { enode, identity, dev_loss: config.dev_loss })
}

/// The most payload bytes in a frame that the interface takes.
fn max_payload_len(config: &Config, link: &LinkState) -> Result<u16, StartError> {
    let Config { interface, .. } = config;
    let too_small = || StartError::MtuTooSmall { interface: interface.clone(), mtu: link.mtu };
    let max_payload_len = fcoe::max_payload_len(link.mtu).ok_or_else(too_small)?;
    if usize::from(max_payload_len) < MAX_PAYLOAD_LEN {
        tracing::warn!(
            interface,
            mtu = link.mtu,
            max_payload_len,
            "a full FCoE frame needs an MTU of {}; smaller frames work, more slowly",
            fcoe::MAX_LEN
        );
    }
    Ok(max_payload_len)
}
