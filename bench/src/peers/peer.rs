//! Those that are compared, each with a site of its own.

use super::load::Load;
use super::perf::{End, RecordFile, Recording};
use super::site::{Running, SERVER_ADDRESS, Site};
use crate::cpu_time::CpuTime;
use crate::floor::{Exchanges, Shape};
use anyhow::{Context as _, ensure};
use nix::sys::resource::UsageWho;
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;
use xfcoe::interrupt::Interrupt;
use xfcoe::netns::{INITIATOR_INTERFACE, SAN_INTERFACE};
use xfcoe::preflight::PortKind;

/// As much of a disk is used, in bytes: more than a CPU's caches hold.
const DISK_LEN: &str = "64M";
/// The only LUN of the SAN's default target.
const LUN: &str = "20:00:02:fc:f0:00:01:01/0";
const IQN: &str = "iqn.2001-04.org.example:bench";

/// More frames at a time than a veth's ring holds are none that the floor gets answers to.
const VETH_RING: usize = 256;

/// What came of a load.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) iops: f64,
    /// None where the tool doesn't tell.
    pub(super) p50_us: Option<f64>,
    pub(super) p99_us: Option<f64>,
    /// CPU time for an I/O.
    pub(super) client: CpuTime,
    pub(super) server: CpuTime,
}

/// Two programs, or the floor, which is in this one.
pub(super) enum Peer {
    Programs { site: Site, server: Running, client: Client },
    Floor(Box<Exchanges>),
}

/// What measures.
#[derive(Clone, Copy, Debug)]
pub(super) enum Client {
    XfcoeBench(PortKind),
    Fio,
    IscsiPerf,
}

impl Peer {
    pub(super) fn xfcoe(port: PortKind) -> anyhow::Result<Self> {
        let site = Site::new()?;
        let san = [&this_program()?, "san", "--interface", SAN_INTERFACE, "--port", port_name(port)];
        // A client waits for it.
        let server = site.server.serve(&san, &[], || true)?;
        Ok(Self::Programs { site, server, client: Client::XfcoeBench(port) })
    }

    pub(super) fn floor() -> anyhow::Result<Self> {
        Ok(Self::Floor(Box::new(Exchanges::over_veth(PortKind::AfXdp.into())?)))
    }

    pub(super) fn nbdkit(mtu: u32, offload: bool) -> anyhow::Result<Self> {
        let site = Site::over_ip(mtu, offload)?;
        let nbdkit = ["nbdkit", "--foreground", "--ipaddr", SERVER_ADDRESS, "memory", DISK_LEN];
        let begun = || site.client.reaches(&format!("{SERVER_ADDRESS}:10809"));
        let server = site.server.serve(&nbdkit, &[], begun)?;
        Ok(Self::Programs { site, server, client: Client::Fio })
    }

    pub(super) fn tgt(mtu: u32) -> anyhow::Result<Self> {
        let site = Site::over_ip(mtu, true)?;
        let folder = PathBuf::from(format!("/dev/shm/xfcoe-bench-{}", std::process::id()));
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let server = tgtd(&site, &folder);
        // What is open stays until it is closed.
        fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
        Ok(Self::Programs { server: server?, site, client: Client::IscsiPerf })
    }

    /// Writes all of its disk.
    pub(super) fn fill(&mut self, interrupt: &Interrupt) -> anyhow::Result<()> {
        if let Self::Programs { site, client, .. } = self
            && let Some(program) = client.fill()?
        {
            site.client.measure(&program, interrupt)?;
        }
        Ok(())
    }

    /// Does a load once more, while perf looks where the CPU time goes.
    pub(super) fn profile(
        &mut self,
        load: Load,
        duration: Duration,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Vec<End>> {
        if let Self::Programs { site, server, client } = self {
            let program = client.program(load, duration.as_secs())?.context("the client can't do it")?;
            let at_client = RecordFile::new("client");
            let program = [vec!["perf".to_owned()], at_client.record(), program].concat();
            let at_server = Recording::start(server.id())?;
            site.client.measure(&program, interrupt)?;
            let end = |end, places| End { end, places };
            return Ok(vec![end("client", at_client.places()?), end("server", at_server.places()?)]);
        }
        let recording = Recording::start(std::process::id())?;
        self.measure(load, duration, interrupt)?;
        Ok(vec![End { end: "both ends", places: recording.places()? }])
    }

    /// Does a load for a while; none if it can't.
    pub(super) fn measure(
        &mut self,
        load: Load,
        duration: Duration,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Option<Sample>> {
        match self {
            Self::Programs { site, server, client } => {
                let Some(program) = client.program(load, duration.as_secs())? else { return Ok(None) };
                let before = server.cpu_time()?;
                let (said, client_cpu) = site.client.measure(&program, interrupt)?;
                let server_cpu = server.cpu_time()?.since(before);
                let (iops, p50_us, p99_us) =
                    client.parse(load, &said).with_context(|| format!("{} says {said}", program[0]))?;
                let ios = iops * duration.as_secs_f64();
                let (client, server) = (client_cpu.divided_by(ios), server_cpu.divided_by(ios));
                Ok(Some(Sample { iops, p50_us, p99_us, client, server }))
            }
            Self::Floor(exchanges) => {
                let shape = if load.reads { Shape::read(load.len) } else { Shape::write(load.len) };
                if shape.frames() * load.depth > VETH_RING {
                    return Ok(None);
                }
                let before = CpuTime::of(UsageWho::RUSAGE_SELF);
                let measured = exchanges.measure(shape, load.depth, duration, interrupt)?;
                let cpu = CpuTime::of(UsageWho::RUSAGE_SELF).since(before);
                let ios = measured.latencies_ns.len() as f64;
                let us = |quantile| Some(measured.latencies_ns.value_at_quantile(quantile) as f64 / 1e3);
                // Both spin, each on its CPU.
                let each = cpu.divided_by(2.0 * ios);
                let iops = ios / measured.elapsed.as_secs_f64();
                Ok(Some(Sample { iops, p50_us: us(0.5), p99_us: us(0.99), client: each, server: each }))
            }
        }
    }
}

/// tgtd with a target and its disk in this folder.
fn tgtd(site: &Site, folder: &std::path::Path) -> anyhow::Result<Running> {
    let disk = folder.join("disk");
    fs::write(&disk, vec![0x5a; 64 << 20]).with_context(|| format!("cannot fill {}", disk.display()))?;
    let (disk, socket) = (disk.display().to_string(), folder.join("socket").display().to_string());
    let portal = format!("portal={SERVER_ADDRESS}:3260");
    let variables = [("TGT_IPC_SOCKET", &*socket)];
    let tgtadm = |arguments: &[&str]| {
        site.server.set_up(&[&["tgtadm", "--lld", "iscsi"], arguments].concat(), &variables)
    };
    let begun = || tgtadm(&["--mode", "target", "--op", "show"]).is_ok();
    let server = site.server.serve(&["tgtd", "--foreground", "--iscsi", &portal], &variables, begun)?;
    tgtadm(&["--mode", "target", "--op", "new", "--tid", "1", "--targetname", IQN])?;
    let lun = ["--mode", "logicalunit", "--op", "new", "--tid", "1", "--lun", "1", "--backing-store", &disk];
    tgtadm(&lun)?;
    tgtadm(&["--mode", "target", "--op", "bind", "--tid", "1", "--initiator-address", "ALL"])?;
    Ok(server)
}

impl Client {
    /// The command line that writes all of the disk: what was never written need not be kept, and is read faster. None
    /// where that is done already.
    fn fill(self) -> anyhow::Result<Option<Vec<String>>> {
        let text = match self {
            Self::XfcoeBench(port) => format!(
                "{} io {LUN} --interface {INITIATOR_INTERFACE} --port {} --rw write --bs 256k --size {DISK_LEN} --runtime 1",
                this_program()?,
                port_name(port)
            ),
            Self::Fio => format!(
                "fio --name=fill --thread --ioengine=nbd --uri=nbd://{SERVER_ADDRESS}/ --rw=write --bs=256k"
            ),
            Self::IscsiPerf => return Ok(None),
        };
        Ok(Some(words(&text)))
    }

    /// The command line that does a load; none if the program can't.
    fn program(self, load: Load, seconds: u64) -> anyhow::Result<Option<Vec<String>>> {
        let Load { reads, len, depth, .. } = load;
        let rw = load.rw();
        let text = match self {
            Self::XfcoeBench(port) => format!(
                "{} io {LUN} --interface {INITIATOR_INTERFACE} --port {} --rw {rw} --bs {len} --iodepth {depth} --size \
                 {DISK_LEN} --runtime {seconds} --json",
                this_program()?,
                port_name(port)
            ),
            Self::Fio => format!(
                "fio --name=peer --thread --ioengine=nbd --uri=nbd://{SERVER_ADDRESS}/ --rw={rw} --bs={len} \
                 --iodepth={depth} --runtime={seconds} --time_based --norandommap --output-format=json"
            ),
            Self::IscsiPerf if !reads => return Ok(None),
            Self::IscsiPerf => format!(
                "iscsi-perf -m {depth} -b {} -t {seconds} -r iscsi://{SERVER_ADDRESS}/{IQN}/1",
                len / 512
            ),
        };
        Ok(Some(words(&text)))
    }

    /// I/Os a second, and the latency that half of them and 99% of them kept, in microseconds.
    fn parse(self, load: Load, said: &str) -> anyhow::Result<(f64, Option<f64>, Option<f64>)> {
        let (_, kind) = load.rw().split_at("rand".len());
        match self {
            Self::XfcoeBench(_) => {
                let figures = &serde_json::from_str::<Value>(said)?["runs"][0][kind];
                let iops = figures["iops"].as_f64().context("there are no IOPS")?;
                Ok((iops, figures["p50_us"].as_f64(), figures["p99_us"].as_f64()))
            }
            Self::Fio => {
                let json = said.find('{').map_or(said, |at| &said[at..]);
                let job = &serde_json::from_str::<Value>(json)?["jobs"][0];
                ensure!(job["error"] == 0, "its I/O fails");
                let figures = &job[kind];
                let iops = figures["iops"].as_f64().context("there are no IOPS")?;
                let us = |percentile| Some(figures["clat_ns"]["percentile"][percentile].as_f64()? / 1e3);
                Ok((iops, us("50.000000"), us("99.000000")))
            }
            Self::IscsiPerf => {
                let (_, average) = said.rsplit_once("iops average ").context("there are no IOPS")?;
                let iops = average.split_whitespace().next().unwrap_or_default().parse()?;
                Ok((iops, None, None))
            }
        }
    }
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

fn this_program() -> anyhow::Result<String> {
    let path = std::env::current_exe().context("cannot find this program")?;
    path.into_os_string().into_string().ok().context("this program's path is no UTF-8")
}

fn port_name(port: PortKind) -> &'static str {
    match port {
        PortKind::AfXdp => "af_xdp",
        PortKind::AfPacket => "af_packet",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::load::LOADS;

    #[test]
    fn what_the_tools_say_is_understood() {
        let fio = "fio: connected to NBD server\n{\"jobs\": [{\"error\": 0, \"read\": {\"iops\": 8997.5, \"clat_ns\": {\
                   \"percentile\": {\"50.000000\": 50944, \"99.000000\": 90000}}}}]}";
        assert_eq!(Client::Fio.parse(LOADS[0], fio).unwrap(), (8997.5, Some(50.944), Some(90.0)));
        let failed = fio.replace("\"error\": 0", "\"error\": 5");
        assert!(Client::Fio.parse(LOADS[0], &failed).is_err());
        let perf = "00:00:01 - lba 41666, iops current 7542 (29 MB/s), iops average 7542 (29 MB/s), in_flight 32, busy 0  \
                    \riops average 8396 (32 MB/s)      \n\nfinished.\n";
        assert_eq!(Client::IscsiPerf.parse(LOADS[0], perf).unwrap(), (8396.0, None, None));
        let ours = "{\"runs\": [{\"write\": {\"iops\": 80000.0, \"p50_us\": 11.0, \"p99_us\": 17.5}}]}";
        let parse = |load| Client::XfcoeBench(PortKind::AfXdp).parse(load, ours);
        assert_eq!(parse(LOADS[2]).unwrap(), (80000.0, Some(11.0), Some(17.5)));
        assert!(parse(LOADS[0]).is_err(), "of writes nothing is said");
        assert!(Client::IscsiPerf.program(LOADS[2], 1).unwrap().is_none(), "it only reads");
    }
}
