//! What a seed stands for: who is there, what is asked, what goes wrong and when.

mod faults;
pub(crate) mod identities;

use crate::chance::Chance;
use crate::cores::{CoresPlan, Steering};
use crate::host::Places;
use crate::load::LoadPlan;
use crate::model::DiskKey;
use datapath::port::memory::MemoryConfig;
use fc::fip::Addressing;
use fc::time::Duration;
use fc::wire::fcp::Lun;
use fc::wire::{MacAddr, Wwn};
use identities::IdentityPlan;
use initiator::PathChoice;
use san::{FcfConfig, LunConfig, Mode, SanConfig, TargetConfig};
use std::collections::BTreeMap;
use std::fmt;

pub(crate) use faults::{Event, What};

/// Requests of all initiators together, while all is well: a seed is to take a part of a second.
const REQUESTS: u64 = 4000;
/// The most bytes that they move.
const REQUEST_BYTES: u64 = 24 << 20;

/// A whole run.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// For how long things go wrong.
    pub(crate) faults_for: Duration,
    pub(crate) mode: Mode,
    /// Initiators: they have the switch's first ports.
    pub(crate) hosts: Vec<HostPlan>,
    /// They have the ports after the initiators'.
    pub(crate) sans: Vec<SanConfig>,
    pub(crate) latency: Duration,
    /// In the order of their times.
    pub(crate) events: Vec<Event>,
}

/// An initiator.
#[derive(Clone, Debug)]
pub(crate) struct HostPlan {
    /// Of its ports.
    pub(crate) macs: Vec<MacAddr>,
    /// Who provides the MAC addresses of its ports' own VN_Ports.
    pub(crate) addressing: Addressing,
    /// As whom it logs in besides, at each port.
    pub(crate) identities: Vec<IdentityPlan>,
    /// Each sees LUNs of its own only.
    pub(crate) is_masked: bool,
    pub(crate) mode: Mode,
    pub(crate) mtu: u32,
    pub(crate) cores: CoresPlan,
    pub(crate) r_a_tov: Duration,
    pub(crate) fast_io_fail: Duration,
    pub(crate) path_choice: PathChoice,
    pub(crate) load: LoadPlan,
    pub(crate) seed: u64,
}

impl Plan {
    /// The run of this seed, in which things go wrong for `faults_for`.
    pub(crate) fn new(seed: u64, faults_for: Duration) -> Self {
        let mut chance = Chance::new(seed);
        let mode = chance.pick(&[(250_000, Mode::Vn2vn)]).unwrap_or_default();
        let mtu = chance.one_of(&[1500, 2158, 2500]);
        let mut sans = sans(&mut chance, mode);
        let host_count = chance.one_of(&[1, 1, 2, 3]);
        let (identities, addressing) = logins(&mut chance, mode);
        let is_masked = !identities.is_empty() && chance.happens(500_000);
        let disks: u64 =
            sans.iter().flat_map(|san| &san.targets).map(|target| target.luns.len() as u64).sum();
        let seen = if is_masked { disks } else { disks * (1 + identities.len() as u64) };
        let load = load(&mut chance, &sans, seen, host_count, faults_for);
        let memory = MemoryConfig {
            receive_frames: chance.one_of(&[16, 64, 256]),
            transmit_frames: chance.one_of(&[16, 64, 256]),
            ring_frames: chance.one_of(&[128, 256]),
        };
        let cores = CoresPlan {
            count: chance.one_of(&[1, 1, 1, 2, 3, 7]),
            steering: chance.one_of(&[Steering::OxId, Steering::Anything]),
            memory,
        };
        let fast_io_fail = Duration::from_millis(chance.one_of(&[0, 1000, 25_000]));
        let path_choice = chance.one_of(&[PathChoice::RoundRobin, PathChoice::LeastQueue]);
        let ports_per_host = chance.one_of(&[1, 1, 2]);
        let host = |number: u64| HostPlan {
            macs: (0..ports_per_host).map(|port| host_mac(number, port)).collect(),
            addressing,
            identities: identities.clone(),
            is_masked,
            mode,
            mtu,
            cores,
            r_a_tov: Duration::from_millis(sans[0].r_a_tov_ms.into()),
            fast_io_fail,
            path_choice,
            load,
            seed: chance.clone().seed() + (number << 32),
        };
        let hosts: Vec<_> = (0..host_count).map(host).collect();
        if is_masked {
            mask(&mut sans, &hosts);
        }
        let latency = Duration::from_micros(chance.between(20, 100));
        let ports_per_host = usize::from(ports_per_host);
        let place = faults::Place {
            hosts: hosts.len(),
            ports_per_host,
            identities: identities.len(),
            sans: &sans,
            latency,
            faults_for,
        };
        let events = faults::events(&mut chance, &place);
        Self { seed, faults_for, mode, hosts, sans, latency, events }
    }

    /// The switch's ports that initiators are at.
    pub(crate) fn host_ports(&self) -> usize {
        self.hosts.len() * self.ports_per_host()
    }

    /// Of each initiator; they are next to each other.
    pub(crate) fn ports_per_host(&self) -> usize {
        self.hosts[0].macs.len()
    }

    /// Every disk, with its first place: the SAN's, the target's and the LUN's numbers.
    pub(crate) fn disks(&self) -> impl Iterator<Item = (DiskKey, [usize; 3], &LunConfig)> {
        self.luns().filter_map(|(disk, place, [san, target, lun])| {
            let config = &self.sans[san].targets[target].luns[lun];
            (disk == place).then_some((disk, [san, target, lun], config))
        })
    }

    /// Which disk is behind each target port and LUN.
    pub(crate) fn places(&self) -> Places {
        let (everyone, is_masked) = (self.hosts[0].everyone().count(), self.hosts[0].is_masked);
        let owner = |lun| is_masked.then(|| identities::owner(lun, everyone));
        self.luns().map(|(disk, place, _)| ((place.target, place.lun), (disk, owner(place.lun)))).collect()
    }

    /// Each LUN's disk, which has the name of its first place, and its own place.
    fn luns(&self) -> impl Iterator<Item = (DiskKey, DiskKey, [usize; 3])> {
        let mut first_by_serial = BTreeMap::new();
        let mut luns = Vec::new();
        for (san, config) in self.sans.iter().enumerate() {
            for (target, config) in config.targets.iter().enumerate() {
                for (number, lun) in config.luns.iter().enumerate() {
                    let name = Lun::single(number as u16).expect("a small number");
                    let place = DiskKey { target: config.wwpn, lun: name };
                    let disk = match lun.serial.as_str() {
                        "" => place,
                        serial => *first_by_serial.entry(serial).or_insert(place),
                    };
                    luns.push((disk, place, [san, target, number]));
                }
            }
        }
        luns.into_iter()
    }
}

/// The MAC address of an initiator's port.
const fn host_mac(host: u64, port: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, port, 0x11 + host as u8])
}

fn sans(chance: &mut Chance, mode: Mode) -> Vec<SanConfig> {
    let count = chance.one_of(&[1, 1, 1, 2]);
    let vlan = chance.one_of(&[None, Some(100)]);
    let r_a_tov_ms = chance.one_of(&[4000, 10_000]);
    let e_d_tov_ms = chance.one_of(&[1000, 2000]);
    let fka_adv_period_ms = chance.one_of(&[250, 1000, 8000]);
    let (retransmission, confirmation) = (chance.happens(500_000), chance.happens(500_000));
    let max_burst_len = chance.one_of(&[0, 4096, 16_384]);
    let max_payload_len = chance.one_of(&[512, 2048, 2112, 2112]);
    let block_bytes = chance.one_of(&[512, 512, 4096]);
    let size_bytes = chance.one_of(&[64, 256, 1024]) * u64::from(block_bytes);
    let has_paths = chance.happens(500_000);
    let single_initiator_zones = chance.happens(500_000);
    let san = |number: u8| {
        let mac = MacAddr([0x02, 0xfc, 0xf0, 0, 0, number]);
        // LUNs with the same number are one disk behind several target ports, or disks of their own.
        let serial =
            move |lun: u8| if has_paths { format!("san {number} disk {lun}") } else { String::new() };
        let target = move |target: u8| TargetConfig {
            // Below and above the initiators' names: who sends the PLOGI differs in VN2VN.
            wwpn: Wwn::from_mac(
                if target.is_multiple_of(2) { 0x1000 } else { 0x5000 },
                MacAddr([2, 0xfc, 0xf0, 0, number, target]),
            ),
            wwnn: Wwn::from_mac(0x1000, MacAddr([2, 0xfc, 0xf0, 1, number, target])),
            luns: (0..=target / 2)
                .map(|lun| LunConfig { size_bytes, block_bytes, serial: serial(lun), ..LunConfig::default() })
                .collect(),
            ..TargetConfig::default()
        };
        let fcf = FcfConfig {
            mac,
            switch_name: Wwn::from_mac(0x1000, mac),
            fabric_name: Wwn::from_mac(0x2001, mac),
            priority: 100 + number,
            fka_adv_period_ms,
            domain: number,
            addressing: san::Addressing::Both,
            single_initiator_zones,
            ..FcfConfig::default()
        };
        (fcf, target)
    };
    let config = |number: u8| {
        let (fcf, target) = san(number);
        SanConfig {
            mode,
            vlan,
            fcf,
            targets: (0..chance.one_of(&[1, 1, 2, 3])).map(target).collect(),
            r_a_tov_ms,
            e_d_tov_ms,
            max_payload_len,
            max_burst_len,
            retransmission,
            confirmation,
            ..SanConfig::default()
        }
    };
    (1..=count).map(config).collect()
}

/// As whom initiators log in besides, and who provides their own MAC addresses. Without a fabric there is no choice.
fn logins(chance: &mut Chance, mode: Mode) -> (Vec<IdentityPlan>, Addressing) {
    if mode == Mode::Vn2vn {
        return (Vec::new(), Addressing::Fabric);
    }
    let kinds = [
        IdentityPlan::Fdisc,
        IdentityPlan::Fdisc,
        IdentityPlan::Flogi(Addressing::Fabric),
        IdentityPlan::Flogi(Addressing::Server),
        IdentityPlan::Flogi(Addressing::Either),
    ];
    let count = chance.one_of(&[0, 0, 1, 2, 3]);
    let identities = (0..count).map(|_| chance.one_of(&kinds)).collect();
    (identities, chance.one_of(&[Addressing::Fabric, Addressing::Fabric, Addressing::Server]))
}

/// Deals the LUNs out among the initiators' own VN_Ports and identities.
fn mask(sans: &mut [SanConfig], hosts: &[HostPlan]) {
    for target in sans.iter_mut().flat_map(|san| &mut san.targets) {
        for (number, lun) in target.luns.iter_mut().enumerate() {
            let name = Lun::single(number as u16).expect("a small number");
            let who = identities::owner(name, hosts[0].everyone().count());
            let macs = hosts.iter().flat_map(|host| &host.macs);
            lun.initiators = macs.map(|&mac| identities::port_name(mac, who)).collect();
        }
    }
}

fn load(chance: &mut Chance, sans: &[SanConfig], disks: u64, hosts: u64, faults_for: Duration) -> LoadPlan {
    let block_len = u64::from(sans[0].targets[0].luns[0].block_bytes);
    let max_blocks = chance.one_of(&[1, 8, 16, 64]).min((64 << 10) / block_len);
    let requests = REQUESTS.min(REQUEST_BYTES / (max_blocks * block_len / 2 + 1));
    let depth = chance.one_of(&[1, 2, 8, 32]);
    let slots = depth as u64 * disks * hosts;
    LoadPlan {
        depth,
        max_think: faults_for * 2 * u32::try_from(slots).unwrap_or(u32::MAX) / requests as u32,
        is_bursty: chance.happens(500_000),
        max_blocks: max_blocks as u32,
        write_ppm: chance.one_of(&[300_000, 500_000, 700_000]),
        discard_ppm: 20_000,
        flush_ppm: 10_000,
        in_place_ppm: chance.one_of(&[0, 500_000, 1_000_000]),
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, faults_for, mode, hosts, sans, latency, events } = self;
        let (host, san) = (&hosts[0], &sans[0]);
        writeln!(
            f,
            "seed {seed}, faults for {faults_for:?}: {mode:?}, {} initiators with {} ports each",
            hosts.len(),
            host.macs.len()
        )?;
        for san in sans {
            let luns: Vec<_> = san.targets.iter().map(|target| target.luns.len()).collect();
            let is_one = san.targets.iter().flat_map(|target| &target.luns).any(|lun| !lun.serial.is_empty());
            let disks = if is_one { "one disk by all targets" } else { "disks of their own" };
            writeln!(f, "  a SAN, its targets with so many LUNs: {luns:?}, {disks}")?;
        }
        writeln!(
            f,
            "  R_A_TOV {} ms, E_D_TOV {} ms, FKA_ADV_PERIOD {} ms, VLAN {:?}, MTU {}, payload {}, burst {}, \
             retransmission {}, confirmation {}",
            san.r_a_tov_ms,
            san.e_d_tov_ms,
            san.fcf.fka_adv_period_ms,
            san.vlan,
            host.mtu,
            san.max_payload_len,
            san.max_burst_len,
            san.retransmission,
            san.confirmation
        )?;
        let lun = &san.targets[0].luns[0];
        writeln!(f, "  LUNs of {} bytes in blocks of {}", lun.size_bytes, lun.block_bytes)?;
        let HostPlan { identities, is_masked, addressing, .. } = host;
        writeln!(f, "  identities {identities:?}, masked {is_masked}, addressing {addressing:?}")?;
        writeln!(f, "  latency {latency:?}, {:?}", host.cores)?;
        writeln!(f, "  {:?}", host.load)?;
        for Event { at, what } in events {
            writeln!(f, "  {:8.3} s  {what:?}", at.as_secs_f64())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_seed_always_stands_for_the_same() {
        let faults_for = Duration::from_secs(60);
        let plans: BTreeSet<_> = (0..50).map(|seed| Plan::new(seed, faults_for).to_string()).collect();
        assert_eq!(plans.len(), 50);
        for seed in 0..50 {
            let plan = Plan::new(seed, faults_for);
            assert!(plans.contains(&plan.to_string()));
            assert!(plan.events.is_sorted_by_key(|event| event.at));
            plan.sans.iter().for_each(|san| san.check().unwrap());
        }
    }
}
