//! Storage for a guest and for its host, on one bridge: the guest's own stack and our initiator, each with its own
//! identity and its own disk.

use crate::guest::{GuestConfig, SHORT};
use crate::lab::Lab;
use crate::report::Figures;
use anyhow::{Context as _, ensure};
use fc::wire::Wwn;
use initiator::Config;
use san::{LunConfig, SanConfig, TargetConfig};
use std::thread;
use std::time::Duration;

/// What the host writes and reads again in a round.
const ROUND_LEN: usize = 64 << 10;
/// Between its rounds: it is not to take the guest's CPU.
const PAUSE: Duration = Duration::from_millis(50);
const LOGIN: Duration = Duration::from_secs(15);
/// Each target's disk by its serial number.
const TARGETS: [(&str, u64); 2] = [("guests", 0x2000_02fc_f000_0101), ("hosts", 0x2000_02fc_f000_0102)];

pub(crate) fn run(lab: &mut Lab) -> anyhow::Result<Figures> {
    let target = |(serial, wwpn): (&str, u64)| TargetConfig {
        wwpn: Wwn::from_u64(wwpn),
        luns: vec![LunConfig { size_bytes: 32 << 20, serial: serial.into(), ..LunConfig::default() }],
        ..TargetConfig::default()
    };
    let san = lab.san("san", SanConfig { targets: TARGETS.map(target).into(), ..SanConfig::default() })?;
    let host = lab.initiator("host", Config::new("host"))?;
    let mut guest = lab.guest("guest", GuestConfig::default())?;
    guest.start_fcoe("eth0")?;
    let guests = guest.wait_for_disk("guests")?;
    let disks = host.wait_for_disks(LOGIN);
    let hosts = disks.iter().find(|disk| disk.info().serial.as_deref() == Some("hosts"));
    let hosts = hosts.with_context(|| format!("the host's disk is not there: {:#?}", host.inventory()))?;

    let verify = format!(
        "fio --name=guest --filename=/dev/{guests} --rw=randwrite --bs=16k --size=8m --iodepth=8 \
         --ioengine=libaio --direct=1 --verify=crc32c --do_verify=1 --verify_fatal=1"
    );
    let running = guest.spawn(&verify)?;
    let mut rounds = 0;
    while !guest.has_ended(running)? {
        let data = tests::noise(ROUND_LEN, rounds);
        hosts.write_at(0, &data)?;
        let mut back = vec![0; ROUND_LEN];
        hosts.read_at(0, &mut back)?;
        ensure!(back == data, "the host reads something else than what it wrote, in round {rounds}");
        rounds += 1;
        thread::sleep(PAUSE);
    }
    let output = guest.wait(running, SHORT)?;
    ensure!(output.status == 0, "the guest's fio: {}", output.stderr);

    let guests_id = guest.fc_id()?;
    let hosts_id = host.inventory().vn_ports.first().and_then(|port| port.fc_id).context("an N_Port_ID")?;
    drop(guest);
    host.stop();
    san.stop()?;
    let mut figures = Figures::default();
    figures.add("host's rounds meanwhile", rounds as f64, "");
    for (port, own) in [("guest", guests_id), ("host-port", hosts_id)] {
        let [area, domain, id] = own.0;
        let own = format!("fc.id == {area:02x}.{domain:02x}.{id:02x}");
        let foreign = lab.frames(port, &format!("fcoe && !({own})"))?;
        let own = lab.frames(port, &own)?;
        ensure!(!own.is_empty(), "there are no frames at {port}");
        ensure!(
            foreign.is_empty(),
            "{port} sees {} frames of the other, such as {}",
            foreign.len(),
            foreign[0]
        );
        figures.add(format!("frames at {port}"), own.len() as f64, "");
    }
    Ok(figures)
}
