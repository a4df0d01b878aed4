//! Reads from a SAN in a box over a veth pair.

use super::report::OnALink;
use anyhow::{Context as _, ensure};
use fc::fip::MAX_VN_PORTS;
use fc::wire::{MacAddr, Wwn};
use hdrhistogram::Histogram;
use initiator::{Addressing, Config, Disk, Identity, Initiator, Login};
use san::{LunConfig, MAX_LUNS, MAX_TARGETS, SanConfig, TargetConfig};
use std::thread;
use std::time::{Duration, Instant};
use xfcoe::demo::two_cpus;
use xfcoe::interrupt::Interrupt;
use xfcoe::netns::{Cable, INITIATOR_INTERFACE, SAN_INTERFACE};
use xfcoe::preflight::PortKind;
use xfcoe::san_thread::{Place, SanThread};
use xfcoe::workload::{End, Figures, Order, Workload, round};

/// As many read at a time, whatever is there: only what they read from differs.
const QUEUES: usize = 32;
const IO_LEN: usize = 4096;
/// Of each LUN. Together they have to be kept in memory.
const LUN_LEN: u64 = 1 << 20;

/// How long logging everything in may take.
const LOGIN: Duration = Duration::from_secs(120);
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// What there is more and more of. Each makes one more disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum What {
    VnPorts,
    Targets,
    Luns,
}

impl What {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::VnPorts => "VN_Ports",
            Self::Targets => "targets",
            Self::Luns => "LUNs",
        }
    }

    pub(super) fn counts(self) -> &'static [u32] {
        match self {
            // As many as one interface's FLOGI has behind it, and as 128 machines with four ports on 32 hosts.
            Self::VnPorts => &[1, 16, 256, 512, 2048, 16_384],
            Self::Targets => &[1, 16, MAX_TARGETS as u32],
            Self::Luns => &[1, 16, MAX_LUNS as u32],
        }
    }

    fn san(self, count: u32) -> SanConfig {
        let (targets, luns) = match self {
            Self::VnPorts => (1, 1),
            Self::Targets => (count, 1),
            Self::Luns => (1, count),
        };
        let luns = vec![LunConfig { size_bytes: LUN_LEN, ..LunConfig::default() }; luns as usize];
        let target = |number| TargetConfig {
            wwpn: wwn(0x2000, number),
            wwnn: wwn(0x1000, number),
            luns: luns.clone(),
            ..TargetConfig::default()
        };
        let mut config = SanConfig { targets: (1..=targets).map(target).collect(), ..SanConfig::default() };
        // Else each VN_Port is told of each other one.
        config.fcf.single_initiator_zones = true;
        config
    }

    /// VN_Ports besides the interface's own: by FDISC, as many as one FLOGI has behind it, and by FLOGI.
    fn identities(self, count: u32) -> Vec<Identity> {
        let identity = |number: u32| Identity {
            name: format!("vn_port{number}").into(),
            port_name: wwn(0x2001, number),
            node_name: None,
            login: if (number as usize) < MAX_VN_PORTS { Login::Fdisc } else { flogi(number) },
        };
        if self == Self::VnPorts { (1..count).map(identity).collect() } else { Vec::new() }
    }
}

/// By an ENode of its own.
fn flogi(number: u32) -> Login {
    let [_, n0, n1, n2] = number.to_be_bytes();
    Login::Flogi { mac: MacAddr([2, 0xfc, 0xf1, n0, n1, n2]), addressing: Addressing::Fabric }
}

fn wwn(kind: u16, number: u32) -> Wwn {
    let ([k0, k1], [n0, n1, n2, n3]) = (kind.to_be_bytes(), number.to_be_bytes());
    Wwn([k0, k1, 2, 0xfc, n0, n1, n2, n3])
}

/// Logs in, and reads from as many disks as there are queues, or from all if they are fewer.
pub(super) fn measure(
    what: What,
    count: u32,
    port: PortKind,
    duration: Duration,
    interrupt: &Interrupt,
) -> anyhow::Result<OnALink> {
    let cable = Cable::lay()?;
    let (initiator_cpu, san_cpu) = two_cpus()?;
    let place = Place {
        interface: SAN_INTERFACE.into(),
        kind: port.into(),
        namespace: Some(cable.san.clone()),
        cpu: san_cpu,
    };
    let san = SanThread::start(place, what.san(count))?;
    let config = Config {
        kind: port.into(),
        cores: vec![initiator_cpu],
        identities: what.identities(count),
        ..Config::new(INITIATOR_INTERFACE)
    };
    let started = Instant::now();
    let initiator = cable.initiator.run(|| Initiator::start(config))??;
    let disks = wait_for(count as usize, &initiator, interrupt)
        .with_context(|| format!("logging in with {count} {}", what.name()))?;
    let login = started.elapsed();
    let (latencies, elapsed) = read(&disks, duration, interrupt)?;
    initiator.stop();
    san.stop()?;
    Ok(OnALink {
        what: what.name(),
        count,
        login_ms: round(login.as_secs_f64() * 1e3, 0),
        figures: Figures::new(IO_LEN, &latencies, elapsed),
    })
}

fn wait_for(count: usize, initiator: &Initiator, interrupt: &Interrupt) -> anyhow::Result<Vec<Disk>> {
    let deadline = Instant::now() + LOGIN;
    loop {
        let looked = Instant::now();
        let disks = initiator.disks();
        if disks.len() == count {
            return Ok(disks);
        }
        interrupt.check(|| "while logging in".into())?;
        ensure!(Instant::now() < deadline, "there are {} disks after {LOGIN:?}", disks.len());
        // Looking at thousands takes time that logging them in needs.
        thread::sleep(LOOK_INTERVAL.max(looked.elapsed() * 20));
    }
}

/// Nanoseconds of each read, of all queues together.
fn read(
    disks: &[Disk],
    duration: Duration,
    interrupt: &Interrupt,
) -> anyhow::Result<(Histogram<u64>, Duration)> {
    let workload = Workload {
        order: Order::Random,
        read_percent: 100,
        io_len: IO_LEN,
        depth: 1,
        in_place: false,
        range: 0..LUN_LEN,
        end: End::After(duration),
    };
    // Far apart, where there are more disks than queues.
    let disk = |queue: usize| &disks[queue * disks.len().max(QUEUES) / QUEUES % disks.len()];
    thread::scope(|scope| {
        let runs: Vec<_> = (0..QUEUES)
            .map(|queue| (disk(queue), &workload))
            .map(|(disk, workload)| scope.spawn(move || workload.run(disk, &mut None, interrupt)))
            .collect();
        let mut latencies = Histogram::new(3).expect("a constant");
        let mut longest = Duration::ZERO;
        for run in runs {
            let measured = run.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            latencies += measured.reads;
            longest = longest.max(measured.elapsed);
        }
        Ok((latencies, longest))
    })
}
