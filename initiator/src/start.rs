//! Opens an interface and starts the threads over it.

use crate::config::Config;
use crate::edge::ThreadEdge;
use crate::error::StartError;
use crate::published::Published;
use crate::{Initiator, MIN_MTU};
use control::Control;
use control::link::{LinkState, LinkWatch};
use datapath::core::thread::{CoreThread, ThreadConfig};
use datapath::core::{Core, CoreConfig};
use datapath::port::Waker;
use datapath::port::nic::{Nic, NicPort};
use fc::time::Instant;
use fc::vn_port::{Identity, LoginKind};
use fc::wire::fip::MAX_FCOE_SIZE;
use fc::wire::header::MAX_PAYLOAD_LEN;
use fc::wire::{MacAddr, Wwn};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// The port that an initiator's core owns.
pub(crate) type CorePort = NicPort;

/// Commands that control may have out while it looks for logical units.
const SCAN_DEPTH: usize = 64;

pub(crate) fn start(config: &Config) -> Result<Initiator, StartError> {
    let link = LinkWatch::open(&config.interface)?;
    check(config, link.state())?;
    let waker = || Waker::new().map(Arc::new).map_err(StartError::System);
    let (core_waker, control_waker) = (waker()?, waker()?);
    let groups = [MacAddr::ALL_ENODE, MacAddr::ALL_FCOE];
    let (nic, port) = Nic::open(&config.interface, config.queue, config.kind, &groups)?;
    nic.macs().add(link.state().mac)?;
    let port = match &config.capture {
        None => port,
        Some(path) => {
            port.captured(path).map_err(|source| StartError::Capture { path: path.clone(), source })?
        }
    };

    let mut core =
        Core::new(port, &CoreConfig { number: 0 }, Arc::clone(&core_waker), Arc::clone(&control_waker));
    let consumer = core.attach_consumer(SCAN_DEPTH, Arc::clone(&control_waker));
    let core_link = core.control_link();
    let control = Control::new(control_config(config, link.state()));
    let thread_config = ThreadConfig { cpu: config.cpu, poll_mode: config.poll_mode };
    let core = CoreThread::spawn(core, core_waker, thread_config).map_err(StartError::System)?;

    let inventory = Arc::new(Published::new(control.inventory().clone()));
    let stop_control = Arc::new(AtomicBool::new(false));
    let mut edge = ThreadEdge {
        core: core_link,
        consumer,
        nic,
        link,
        link_told: None,
        waker: Arc::clone(&control_waker),
        inventory: Arc::clone(&inventory),
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
    Ok(Initiator { inventory, control_waker, stop_control, control: Some(control), core: Some(core) })
}

fn check(config: &Config, link: &LinkState) -> Result<(), StartError> {
    let interface = || config.interface.clone();
    if link.mtu < MIN_MTU {
        return Err(StartError::MtuTooSmall { interface: interface(), mtu: link.mtu });
    }
    if !link.mac.is_unicast() {
        return Err(StartError::NoMac { interface: interface() });
    }
    Ok(())
}

fn control_config(config: &Config, link: &LinkState) -> control::Config {
    let port_name = config.port_name.unwrap_or(Wwn::from_mac(0x2000, link.mac));
    let node_name = config.node_name.unwrap_or(Wwn::from_mac(0x1000, link.mac));
    let enode = fc::fip::Config {
        max_fcoe_size: MAX_FCOE_SIZE,
        vlan: config.vlan,
        preferred: config.preferred_fcf,
        ..fc::fip::Config::new(link.mac, node_name)
    };
    let version = env!("CARGO_PKG_VERSION");
    let identity = Identity {
        port_name,
        node_name,
        symbolic_port_name: format!("xfcoe {version} over {}", config.interface).into_bytes(),
        symbolic_node_name: format!("xfcoe {version}").into_bytes(),
        max_payload_len: MAX_PAYLOAD_LEN as u16,
        login: LoginKind::Flogi,
    };
    control::Config { enode, identity }
}
