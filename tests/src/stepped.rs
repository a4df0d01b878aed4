//! What an initiator needs that is stepped by hand: control's world, and its configuration.

use control::{Config, DEFAULT_DEV_LOSS, Edge, EnodeConfig, IdentityError, Inventory, Order};
use datapath::consumer::Consumer;
use datapath::core::ControlLinks;
use datapath::port::Waker;
use fc::messages::{Command, Completion, FromCore, ToCore};
use fc::vn_port::{Identity, LoginKind};
use fc::wire::{MacAddr, Wwn, fcoe};
use initiator::Doubt;
use san::Mode;
use std::collections::VecDeque;
use std::sync::Arc;

/// Control's world, without a NIC. Its link comes up with the first step.
pub struct SteppedEdge {
    cores: ControlLinks,
    /// What the cores can't take yet.
    to_cores: VecDeque<ToCore>,
    consumer: Consumer,
    /// The addresses by which control wants to receive.
    pub macs: Vec<MacAddr>,
    /// What control is to be told of the link.
    pub link_changes: VecDeque<bool>,
    /// How control's identities are to be changed.
    pub orders: VecDeque<Order>,
    /// What came of the orders.
    pub answers: Vec<Result<(), IdentityError>>,
    /// Raised by the queues to the disks that it finds.
    pub doubt: Arc<Doubt>,
    /// What control has published last.
    pub inventory: Inventory,
    /// For whoever looks at the inventory to know whether it is another one.
    pub is_new: bool,
}

impl SteppedEdge {
    /// The world of a control whose cores are at the other ends of `cores`; `consumer` carries its scans.
    pub fn new(cores: ControlLinks, consumer: Consumer) -> Self {
        Self {
            cores,
            to_cores: VecDeque::new(),
            consumer,
            macs: Vec::new(),
            link_changes: VecDeque::from([true]),
            orders: VecDeque::new(),
            answers: Vec::new(),
            doubt: Arc::new(Doubt::new(Arc::new(Waker::new().expect("a descriptor")))),
            inventory: Inventory::default(),
            is_new: false,
        }
    }

    /// Whether control would find something if it was stepped now, its own deadlines aside.
    pub fn has_work(&self) -> bool {
        !self.link_changes.is_empty()
            || !self.orders.is_empty()
            || self.cores.has_frame()
            || self.consumer.has_completion()
            || self.doubt.is_raised()
    }

    /// Hands over what the cores can take now, and says whether that is all: else control has to wait for them.
    pub fn hand_over(&mut self) -> bool {
        while let Some(message) = self.to_cores.pop_front() {
            if let Err(message) = self.cores.send(message) {
                self.to_cores.push_front(message);
                return false;
            }
        }
        true
    }

    /// Whether control has to wait for a core.
    pub fn is_held_up(&self) -> bool {
        !self.to_cores.is_empty()
    }
}

impl Edge for SteppedEdge {
    fn receive(&mut self) -> Option<FromCore> {
        self.hand_over();
        self.cores.receive()
    }

    fn send(&mut self, message: ToCore) {
        self.to_cores.push_back(message);
        self.hand_over();
    }

    fn submit(&mut self, command: Command) -> Result<(), Command> {
        self.consumer.submit(command)
    }

    fn completion(&mut self) -> Option<Completion> {
        self.consumer.poll()
    }

    fn add_mac(&mut self, mac: MacAddr) {
        self.macs.push(mac);
    }

    fn remove_mac(&mut self, mac: MacAddr) {
        self.macs.retain(|&other| other != mac);
    }

    fn link_change(&mut self) -> Option<bool> {
        self.link_changes.pop_front()
    }

    fn takes_access_for_doubtful(&mut self) -> bool {
        self.doubt.take()
    }

    fn order(&mut self) -> Option<Order> {
        self.orders.pop_front()
    }

    fn answer(&mut self, result: Result<(), IdentityError>) {
        self.answers.push(result);
    }

    fn publish(&mut self, inventory: &Inventory) {
        self.inventory = inventory.clone();
        self.is_new = true;
    }
}

/// Control's configuration for an ENode at a link with this MTU, in the SAN's mode.
///
/// # Panics
/// If not even the shortest FCoE frames fit the link.
pub fn control_config(mac: MacAddr, mode: Mode, mtu: u32) -> Config {
    let (port_name, node_name) = (Wwn::from_mac(0x2000, mac), Wwn::from_mac(0x1000, mac));
    let max_payload_len = fcoe::max_payload_len(mtu).expect("links of a simulation take FCoE");
    let max_fcoe_size = max_payload_len + fcoe::MIN_LEN as u16;
    let enode = match mode {
        Mode::Fabric => {
            EnodeConfig::Fabric(fc::fip::Config { max_fcoe_size, ..fc::fip::Config::new(mac, node_name) })
        }
        Mode::Vn2vn => EnodeConfig::Vn2vn(fc::vn2vn::Config {
            max_fcoe_size,
            ..fc::vn2vn::Config::new(mac, node_name, port_name)
        }),
    };
    let identity = Identity {
        port_name,
        node_name,
        symbolic_port_name: b"simulated port".to_vec(),
        symbolic_node_name: b"simulated node".to_vec(),
        max_payload_len,
        login: LoginKind::Flogi,
        reconnect_delay: fc::vn_port::DEFAULT_RECONNECT_DELAY,
    };
    Config { enode, identity, dev_loss: DEFAULT_DEV_LOSS }
}
