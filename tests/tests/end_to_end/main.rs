//! A whole initiator against the SAN in a box, over a link in memory, in one thread and with a clock of its own.

mod escalation;
mod fabric;
mod identities;
mod losses;
mod task_management;
mod vn2vn;

use control::{Control, EnodeConfig};
use datapath::consumer::Consumer;
use datapath::core::{ControlLinks, Core, CoreConfig};
use datapath::port::memory::{self, MemoryConfig, MemoryPort};
use datapath::port::{Port, Waker};
use fc::fip::Addressing;
use fc::messages::{Action, Command, Completion, NexusId, Transfer, TransportError};
use fc::time::{Duration, Instant};
use fc::wire::fcoe;
use fc::wire::fcp::Lun;
use fc::wire::scsi::target_port_groups::AccessState;
use fc::wire::scsi::{Extent, IoFlags, ScsiCommand, Status};
use fc::wire::{MacAddr, Wwn};
use initiator::{DiskInfo, DiskState, Path, PathChoice, PathId, PortNumber};
use san::{Mode, San, SanConfig};
use std::sync::Arc;
use tests::noise;
use tests::stepped::{SteppedEdge, control_config};

const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x11]);
const STEP: Duration = Duration::from_millis(1);

struct World {
    core: Core<MemoryPort>,
    control: Control,
    edge: SteppedEdge,
    san: San<MemoryPort>,
    consumer: Consumer,
    now: Instant,
}

impl World {
    /// An initiator in the SAN's mode.
    fn new(san: &SanConfig) -> Self {
        Self::with_mtu(san, fcoe::MAX_LEN as u32)
    }

    fn with_mtu(san: &SanConfig, mtu: u32) -> Self {
        Self::with_config(san, mtu, control_config(MAC, san.mode, mtu))
    }

    /// An initiator that asks for MAC addresses so.
    fn with_addressing(san: &SanConfig, addressing: Addressing) -> Self {
        let mtu = fcoe::MAX_LEN as u32;
        let mut config = control_config(MAC, san.mode, mtu);
        if let EnodeConfig::Fabric(enode) = &mut config.enode {
            enode.addressing = addressing;
        }
        Self::with_config(san, mtu, config)
    }

    fn with_config(san: &SanConfig, mtu: u32, config: control::Config) -> Self {
        let (ours, theirs) = memory::pair(MemoryConfig::default());
        let (ours, theirs) = (ours.with_mtu(mtu), theirs.with_mtu(mtu));
        let waker = || Arc::new(Waker::new().unwrap());
        let mut core = Core::new(ours, &CoreConfig { number: 0, cores: 1 }, waker(), waker());
        let (scans, consumer) = (core.attach_consumer(16, waker()), core.attach_consumer(32, waker()));
        let control = Control::new(config);
        let edge = SteppedEdge::new(ControlLinks::new(vec![core.control_link()]), scans);
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

    /// Blocks here and there, as the SAN has them and as we read them.
    fn move_data(&mut self) {
        let blocks = 256 << 11;
        for (lba, len) in [(0, 512), (7, 4096), (100, 64 << 10), (1000, 256 << 10), (blocks - 1, 512)] {
            let data = noise(len, lba + 1);
            self.write(lba, data.clone());
            let mut in_the_san = vec![0; len];
            self.san.read_lun(0, 0, lba * 512, &mut in_the_san).unwrap();
            assert_eq!(in_the_san, data, "as the SAN has it");
            assert_eq!(self.read(lba, len), data, "as we read it");
        }
        assert_eq!(self.core.report().counters.dropped_total(), 0);
    }

    fn nexus(&self) -> NexusId {
        self.edge.inventory.targets[0].nexus
    }

    /// LUN 0 of the SAN's only target, whose requests don't wait for a login.
    fn disk(&self, max_transfer_len: usize) -> Arc<DiskState> {
        let info = DiskInfo {
            id: None,
            vendor: String::new(),
            product: String::new(),
            serial: None,
            blocks: 256 << 11,
            block_len: 512,
            max_transfer_len,
            discard: false,
            write_protected: false,
        };
        let path = Path {
            id: PathId { port: PortNumber(0), nexus: self.nexus(), lun: Lun::default() },
            target: Wwn::default(),
            is_ready: true,
            logins: 1,
            access: AccessState::OPTIMIZED,
            fast_io_fail: Duration::ZERO,
        };
        Arc::new(DiskState::new(info, vec![path], PathChoice::RoundRobin))
    }

    fn submit(&mut self, command: ScsiCommand, transfer: Transfer) {
        let (nexus, lun) = (self.nexus(), Lun::default());
        let timeout = Duration::from_secs(10);
        let action = Action::from(&command);
        self.consumer.submit(Command { tag: 0, nexus, lun, action, transfer, timeout }).unwrap();
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
