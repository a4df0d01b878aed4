//! A whole initiator against the SAN in a box, over a link in memory, in one thread and with a clock of its own.

use control::{Config, Control, Edge, EnodeConfig, Inventory};
use datapath::consumer::Consumer;
use datapath::core::{ControlLink, Core, CoreConfig};
use datapath::port::memory::{self, MemoryConfig, MemoryPort};
use datapath::port::{Port, Waker};
use fc::messages::{Cdb, Command, Completion, FromCore, NexusId, ToCore, Transfer, TransportError};
use fc::time::{Duration, Instant};
use fc::vn_port::{Identity, LoginKind};
use fc::wire::fcp::Lun;
use fc::wire::scsi::{Extent, IoFlags, ScsiCommand, Status};
use fc::wire::{MacAddr, Wwn};
use san::{San, SanConfig};
use std::sync::Arc;
use tests::noise;

const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x11]);
const STEP: Duration = Duration::from_millis(1);

/// Control's world in the simulation.
struct SimEdge {
    core: ControlLink,
    consumer: Consumer,
    macs: Vec<MacAddr>,
    link: Option<bool>,
    inventory: Inventory,
}

impl Edge for SimEdge {
    fn receive(&mut self) -> Option<FromCore> {
        self.core.receive()
    }

    fn send(&mut self, message: ToCore) {
        self.core.send(message).expect("the core takes messages in every step");
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
        self.link.take()
    }

    fn publish(&mut self, inventory: &Inventory) {
        self.inventory = inventory.clone();
    }
}

struct World {
    core: Core<MemoryPort>,
    control: Control,
    edge: SimEdge,
    san: San<MemoryPort>,
    consumer: Consumer,
    now: Instant,
}

impl World {
    fn new(san: &SanConfig) -> Self {
        let (ours, theirs) = memory::pair(MemoryConfig::default());
        let waker = || Arc::new(Waker::new().unwrap());
        let mut core = Core::new(ours, &CoreConfig { number: 0 }, waker(), waker());
        let (scans, consumer) = (core.attach_consumer(16, waker()), core.attach_consumer(32, waker()));
        let (port_name, node_name) = (Wwn::from_mac(0x2000, MAC), Wwn::from_mac(0x1000, MAC));
        let identity = Identity {
            port_name,
            node_name,
            symbolic_port_name: b"simulated port".to_vec(),
            symbolic_node_name: b"simulated node".to_vec(),
            max_payload_len: 2112,
            login: LoginKind::Flogi,
        };
        let enode = EnodeConfig::Fabric(fc::fip::Config::new(MAC, node_name));
        let control = Control::new(Config { enode, identity });
        let inventory = Inventory::default();
        let edge = SimEdge {
            core: core.control_link(),
            consumer: scans,
            macs: Vec::new(),
            link: Some(true),
            inventory,
        };
        let san = San::new(theirs, san).unwrap();
        Self { core, control, edge, san, consumer, now: Instant::ZERO }
    }

    fn step(&mut self) {
        // What comes at one moment is answered at that moment: wires have no length here.
        for _ in 0..20 {
            self.core.step(self.now);
            self.control.step(self.now, &mut self.edge);
            self.san.step(self.now);
        }
        self.now = self.now + STEP;
    }

    /// Steps until `done` says so, for at most `limit` of simulated time.
    fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) {
        let end = self.now + limit;
        while !done(self) {
            assert!(self.now < end, "not within {limit:?}: {:#?}", self.edge.inventory);
            self.step();
        }
    }

    fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.step();
        }
    }

    fn wait_for_luns(&mut self) {
        self.run_until(Duration::from_secs(20), |world| {
            world.edge.inventory.targets.first().is_some_and(|target| target.ready && target.scanned)
        });
    }

    fn nexus(&self) -> NexusId {
        self.edge.inventory.targets[0].nexus
    }

    fn submit(&mut self, command: ScsiCommand, transfer: Transfer) {
        let (nexus, lun) = (self.nexus(), Lun::default());
        let timeout = Duration::from_secs(10);
        let cdb = Cdb::from(&command);
        self.consumer.submit(Command { tag: 0, nexus, lun, cdb, transfer, timeout }).unwrap();
    }

    fn run(&mut self, command: ScsiCommand, transfer: Transfer) -> Completion {
        self.submit(command, transfer);
        for _ in 0..30_000 {
            self.step();
            if let Some(completion) = self.consumer.poll() {
                return completion;
            }
        }
        panic!("{command:?} did not end");
    }

    fn write(&mut self, lba: u64, data: Vec<u8>) {
        let extent = Extent::sixteen(lba, u32::try_from(data.len() / 512).unwrap());
        let command = ScsiCommand::Write { extent, flags: IoFlags::default() };
        let ended = self.run(command, Transfer::Write(data.into())).result.unwrap();
        assert_eq!((ended.status, ended.sense), (Status::GOOD, None));
    }

    fn read(&mut self, lba: u64, len: usize) -> Vec<u8> {
        let extent = Extent::sixteen(lba, u32::try_from(len / 512).unwrap());
        let command = ScsiCommand::Read { extent, flags: IoFlags::default() };
        let completion = self.run(command, Transfer::Read(vec![0; len].into()));
        assert_eq!(completion.result.unwrap().transferred as usize, len);
        completion.transfer.into_buffer().unwrap().into_vec()
    }
}

fn small_san(vlan: Option<u16>) -> SanConfig {
    let mut config = SanConfig::default();
    config.fcf.vlan = vlan;
    config
}

#[test]
fn it_logs_in_finds_the_lun_and_moves_data() {
    for vlan in [None, Some(100)] {
        let mut world = World::new(&small_san(vlan));
        world.wait_for_luns();
        let inventory = &world.edge.inventory;
        assert_eq!(inventory.vlan, vlan);
        assert!(inventory.link_up && inventory.login_time.is_some());
        let [fcf] = &inventory.fcfs[..] else { panic!("one FCF: {inventory:#?}") };
        assert!(fcf.selected && fcf.refusal.is_none());
        let [port] = &inventory.vn_ports[..] else { panic!("one VN_Port: {inventory:#?}") };
        assert_eq!(world.edge.macs, [port.mac.unwrap()]);
        let [target] = &inventory.targets[..] else { panic!("one target: {inventory:#?}") };
        assert_eq!(target.max_payload_len, 2112);
        let [lun] = &target.luns[..] else { panic!("one LUN: {inventory:#?}") };
        let capacity = lun.unit.as_ref().unwrap().capacity.unwrap();
        assert_eq!((capacity.blocks, capacity.block_len_bytes), (256 << 11, 512));

        for (lba, len) in
            [(0, 512), (7, 4096), (100, 64 << 10), (1000, 256 << 10), (capacity.blocks - 1, 512)]
        {
            let data = noise(len, lba + 1);
            world.write(lba, data.clone());
            let mut in_the_san = vec![0; len];
            world.san.read_lun(0, 0, lba * 512, &mut in_the_san).unwrap();
            assert_eq!(in_the_san, data, "as the SAN has it");
            assert_eq!(world.read(lba, len), data, "as we read it");
        }
        assert_eq!(world.core.report().counters.dropped_total(), 0);
    }
}

#[test]
fn errors_of_the_target_come_decoded() {
    let mut world = World::new(&small_san(None));
    world.wait_for_luns();
    let extent = Extent::sixteen(256 << 11, 1);
    let command = ScsiCommand::Read { extent, flags: IoFlags::default() };
    let ended = world.run(command, Transfer::Read(vec![0; 512].into())).result.unwrap();
    assert_eq!(ended.status, Status::CHECK_CONDITION);
    let text = ended.sense.unwrap().to_string();
    assert!(text.to_lowercase().contains("out of range"), "{text}");
}

#[test]
fn the_login_lives_as_long_as_keep_alives_do() {
    let mut world = World::new(&small_san(None));
    world.wait_for_luns();
    let fc_id = world.edge.inventory.vn_ports[0].fc_id;
    world.run_for(Duration::from_secs(300));
    assert!(world.edge.inventory.targets[0].ready);
    assert_eq!(world.edge.inventory.vn_ports[0].fc_id, fc_id);
    assert_eq!(world.san.stats().logins, 1);
}

#[test]
fn it_comes_back_after_a_link_bounce_and_a_switch_restart() {
    let mut world = World::new(&small_san(None));
    world.wait_for_luns();
    let nexus = world.nexus();
    world.write(5, noise(4096, 5));

    world.edge.link = Some(false);
    world.step();
    assert!(!world.edge.inventory.targets[0].ready && world.edge.macs.is_empty());
    world.submit(ScsiCommand::TestUnitReady, Transfer::None);
    world.step();
    assert_eq!(world.consumer.poll().unwrap().result, Err(TransportError::NexusGone));
    world.edge.link = Some(true);
    world.wait_for_luns();
    assert_eq!(world.nexus(), nexus, "a disk keeps its nexus");
    assert_eq!(world.read(5, 4096), noise(4096, 5));

    let now = world.now;
    world.san.restart(now);
    world.run_until(Duration::from_secs(5), |world| !world.edge.inventory.targets[0].ready);
    world.wait_for_luns();
    assert_eq!(world.read(5, 4096), noise(4096, 5));
}

#[test]
fn it_logs_out_when_it_is_told_to() {
    let mut world = World::new(&small_san(None));
    world.wait_for_luns();
    let now = world.now;
    world.control.shutdown(now);
    world.run_until(Duration::from_secs(2), |world| world.control.is_offline());
    assert_eq!(world.san.stats().logins, 0);
    assert!(world.edge.macs.is_empty());
}

#[test]
fn every_chunk_is_accounted_for_when_all_is_quiet() {
    let mut world = World::new(&small_san(None));
    world.wait_for_luns();
    world.write(0, noise(256 << 10, 3));
    world.run_for(Duration::from_secs(1));
    for account in [world.core.port_mut().account(), world.san.port().account()] {
        assert!(account.is_balanced() && account.held == 0, "{account:?}");
    }
}
