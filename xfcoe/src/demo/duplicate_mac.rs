//! Two hosts with one MAC address behind one switch, and two FCFs that don't know of each other: what that does to
//! addresses that hosts provide (SPMA), and not to those that fabrics do (FPMA).
//!
//! ```text
//!  host A --+            +-- FCF 1 (domain 1)
//!           +-- switch --+
//!  host B --+            +-- FCF 2 (domain 2)
//! ```
//!
//! The switch learns where an address is by what it sent last. With FPMA every VN_Port has an address of its own. With
//! SPMA both have the hosts' one: what an FCF sends to host A goes to host B whenever that was the last to send. Either
//! FCF has granted the address well: neither can see the other's logins.

use crate::cli;
use crate::interrupt::Interrupt;
use crate::netns::{INITIATOR_MAC, Namespace, Switch};
use crate::program;
use crate::san_thread::{Place, SanThread};
use crate::workload::round;
use crate::{demo, preflight};
use anyhow::Context as _;
use fc::wire::{MacAddr, Wwn};
use initiator::{Addressing, Config, Disk, DropReason, Initiator, Preferred, Request};
use san::{FcfConfig, SanConfig, TargetConfig};
use serde::Serialize;
use std::fmt;
use std::time::{Duration, Instant};

const HOST_INTERFACE: &str = "host0";
const SAN_INTERFACE: &str = "san0";
/// Requests of each host that are out.
const DEPTH: usize = 8;
/// Bytes of each.
const IO_LEN: usize = 4096;
/// A request that takes as long, which is many times what it should, stalls whoever waits for it.
const STALL: Duration = Duration::from_millis(100);

/// What came of it. Its JSON is one object; names end in their units.
#[derive(Debug, Serialize)]
struct Report {
    cases: Vec<Case>,
}

#[derive(Debug, Serialize)]
struct Case {
    /// Who provided the VN_Ports' MAC addresses.
    addressing: &'static str,
    hosts: Vec<HostReport>,
}

/// How a host fared.
#[derive(Debug, Serialize)]
struct HostReport {
    host: &'static str,
    fc_id: String,
    mac: String,
    iops: f64,
    longest_ms: f64,
    /// Reads that lost frames, and needed them or all of it once more.
    reads_with_loss: u64,
    /// Requests that took more than 100 ms, or have been out for so long.
    stalled: usize,
    /// Frames that came here and were for the other host.
    foreign_frames: u64,
    /// Someone else was heard to send with its MAC address.
    duplicate_noticed: bool,
}

/// A host that is logged in.
struct Host {
    name: &'static str,
    initiator: Initiator,
    disk: Disk,
}

/// `xfcoe demo duplicate-mac`
pub(super) fn run(args: &cli::DuplicateMac, json: bool, interrupt: &Interrupt) -> anyhow::Result<()> {
    preflight::demo(args.port)?;
    let case = |addressing| {
        let (name, what) = match addressing {
            Addressing::Fabric => ("fabric", "addresses provided by the fabric"),
            _ => ("server", "addresses provided by the server"),
        };
        let hosts = program::with_spinner(json, what, || measure(args, addressing, interrupt))?;
        Ok::<_, anyhow::Error>(Case { addressing: name, hosts })
    };
    let cases = vec![case(Addressing::Fabric)?, case(Addressing::Server)?];
    Ok(program::print(json, &Report { cases })?)
}

/// Both hosts read for a while, at the same time.
fn measure(
    args: &cli::DuplicateMac,
    addressing: Addressing,
    interrupt: &Interrupt,
) -> anyhow::Result<Vec<HostReport>> {
    let switch = Switch::new()?;
    let sans =
        [1, 2].map(|number| start_san(args, &switch, number)).into_iter().collect::<Result<Vec<_>, _>>()?;
    let plug = |number| switch.plug(&format!("host{number}"), HOST_INTERFACE, INITIATOR_MAC);
    let hosts = [("A", 1), ("B", 2)].map(|(name, number)| {
        let namespace = plug(number)?;
        log_in(args, &namespace, (name, number), addressing, interrupt)
    });
    let hosts = hosts.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    let time = Duration::from_secs(args.seconds.into());
    let reports = std::thread::scope(|scope| {
        let threads: Vec<_> = hosts.iter().map(|host| scope.spawn(|| host.read_for(time))).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        threads.into_iter().map(join).collect::<anyhow::Result<Vec<_>>>()
    })?;
    hosts.into_iter().for_each(|host| host.initiator.stop());
    sans.into_iter().try_for_each(|san| san.stop().map(drop))?;
    Ok(reports)
}

/// An FCF with a target, which both take addresses of either kind.
fn start_san(args: &cli::DuplicateMac, switch: &Switch, number: u8) -> anyhow::Result<SanThread> {
    let mac = fcf_mac(number);
    let namespace = switch.plug(&format!("fcf{number}"), SAN_INTERFACE, mac)?;
    let config = SanConfig {
        fcf: FcfConfig {
            mac,
            switch_name: Wwn::from_mac(0x1000, mac),
            fabric_name: Wwn::from_mac(0x2001, mac),
            domain: number,
            addressing: san::Addressing::Both,
            ..FcfConfig::default()
        },
        targets: vec![TargetConfig { wwpn: Wwn::from_mac(0x2001, mac), ..TargetConfig::default() }],
        ..SanConfig::default()
    };
    let (interface, kind) = (SAN_INTERFACE.into(), args.port.into());
    SanThread::start(Place { interface, kind, namespace: Some(namespace), cpu: None }, config)
}

const fn fcf_mac(number: u8) -> MacAddr {
    MacAddr([0x02, 0xfc, 0xf0, 0, 0, number])
}

fn log_in(
    args: &cli::DuplicateMac,
    namespace: &Namespace,
    (name, number): (&'static str, u8),
    addressing: Addressing,
    interrupt: &Interrupt,
) -> anyhow::Result<Host> {
    let config = Config {
        kind: args.port.into(),
        addressing,
        preferred_fcf: Some(Preferred::Mac(fcf_mac(number))),
        port_name: Some(Wwn::from_mac(0x2000 + u16::from(number), INITIATOR_MAC)),
        node_name: Some(Wwn::from_mac(0x1000 + u16::from(number), INITIATOR_MAC)),
        ..Config::new(HOST_INTERFACE)
    };
    let initiator = namespace.run(|| Initiator::start(config))??;
    let disk = demo::first_disk(&initiator, interrupt).with_context(|| format!("host {name}"))?;
    Ok(Host { name, initiator, disk })
}

impl Host {
    /// Reads here and there for so long, and says how that went.
    fn read_for(&self, time: Duration) -> anyhow::Result<HostReport> {
        let mut queue = self.disk.queue(DEPTH)?;
        let info = self.disk.info();
        let places = info.len() / IO_LEN as u64;
        let blocks = IO_LEN as u64 / u64::from(info.block_len);
        let begin = Instant::now();
        let mut began = [begin; DEPTH];
        let (mut done, mut stalled, mut longest, mut next) = (0_u32, 0, Duration::ZERO, 0_u64);
        let mut idle: Vec<usize> = (0..DEPTH).collect();
        while begin.elapsed() < time {
            while let Some(slot) = idle.pop() {
                next = (next + 7919) % places;
                began[slot] = Instant::now();
                let request = Request::Read { lba: next * blocks, buffer: vec![0; IO_LEN].into() };
                queue.submit(slot as u64, request).map_err(|refused| refused.reason)?;
            }
            queue.kick();
            queue.wait(Duration::from_millis(10))?;
            while let Some(ended) = queue.poll() {
                let slot = ended.tag as usize;
                let took = began[slot].elapsed();
                (done, longest) = (done + u32::from(ended.result.is_ok()), longest.max(took));
                stalled += usize::from(took > STALL);
                idle.push(slot);
            }
        }
        let elapsed = begin.elapsed();
        let out = (0..DEPTH).filter(|slot| !idle.contains(slot)).map(|slot| began[slot].elapsed());
        let out: Vec<_> = out.collect();
        stalled += out.iter().filter(|&&took| took > STALL).count();
        longest = out.into_iter().fold(longest, Duration::max);
        self.report(f64::from(done) / elapsed.as_secs_f64(), longest, stalled)
    }

    fn report(&self, iops: f64, longest: Duration, stalled: usize) -> anyhow::Result<HostReport> {
        let counters = self.initiator.report()?.counters;
        let seen = self.initiator.inventory();
        let port = &seen.vn_ports[0];
        let text = |what: Option<String>| what.unwrap_or_else(|| "none".into());
        let others = [DropReason::NoExchange, DropReason::Source, DropReason::Destination];
        Ok(HostReport {
            host: self.name,
            fc_id: text(port.fc_id.map(|id| id.to_string())),
            mac: text(port.mac.map(|mac| mac.to_string())),
            iops: round(iops, 0),
            longest_ms: round(longest.as_secs_f64() * 1e3, 1),
            reads_with_loss: counters.lost + counters.retransmissions,
            stalled,
            foreign_frames: others.iter().map(|&reason| counters.dropped(reason)).sum(),
            duplicate_noticed: !seen.duplicate_macs.is_empty(),
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Case { addressing, hosts } in &self.cases {
            writeln!(f, "VN_Port addresses provided by the {addressing}:")?;
            hosts.iter().try_for_each(|host| host.fmt(f))?;
        }
        Ok(())
    }
}

impl fmt::Display for HostReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, fc_id, mac, iops, longest_ms, reads_with_loss, stalled, foreign_frames, .. } = self;
        writeln!(
            f,
            "  host {host}, N_Port_ID {fc_id}, MAC {mac}: {iops} IOPS, the longest read {longest_ms} ms"
        )?;
        writeln!(
            f,
            "    {foreign_frames} frames came here that were for the other host; {reads_with_loss} reads lost frames; \
             {stalled} reads over 100 ms"
        )?;
        if self.duplicate_noticed {
            writeln!(f, "    it has noticed that someone else has its MAC address")?;
        }
        Ok(())
    }
}
