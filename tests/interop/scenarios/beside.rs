//! Storage for a guest and for its host, on one bridge: the guest's own stack and our initiator, each with its own
//! identity and its own disk.

use crate::guest::{GuestConfig, SHORT, fio};
use crate::lab::Lab;
use crate::report::Figures;
use anyhow::{Context as _, bail, ensure};
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
/// Who has a disk, and at which target.
const TARGETS: [(&str, u64); 2] = [("guest", 0x2000_02fc_f000_0101), ("host", 0x2000_02fc_f000_0102)];

pub(crate) fn run(lab: &mut Lab) -> anyhow::Result<Figures> {
    let target = |(port, wwpn)| TargetConfig {
        wwpn: Wwn::from_u64(wwpn),
        luns: vec![LunConfig {
            size_bytes: 8 << 20,
            serial: format!("of-{port}"),
            initiators: vec![lab.wwpn(port)],
            ..LunConfig::default()
        }],
        ..TargetConfig::default()
    };
    let targets = TARGETS.map(target).into();
    let san = lab.san("san", SanConfig { targets, ..SanConfig::default() })?;
    let host = lab.initiator("host", Config::new("host"))?;
    let mut guest = lab.guest("guest", GuestConfig::default())?;
    guest.start_fcoe("eth0")?;
    let guests = guest.wait_for_disk("of-guest")?;
    let count = guest.run("ls -d /sys/block/sd* | wc -l", SHORT)?;
    ensure!(count.trim() == "1", "the guest sees {count} disks, and not its own only");
    let [hosts] = &host.wait_for_disks(LOGIN)[..] else {
        bail!("the host does not see its own disk only: {:#?}", host.inventory());
    };
    ensure!(hosts.info().serial.as_deref() == Some("of-host"), "the host's disk is {:?}", hosts.info());

    let running = guest.spawn(&fio(&guests, "--bs=16k --iodepth=8"))?;
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

    guest.has_no_errors()?;

    let guests_id = guest.fc_id()?;
    let hosts_id = host.inventory().vn_ports.first().and_then(|port| port.fc_id).context("an N_Port_ID")?;
    let mut figures = Figures::default();
    figures.add("host's rounds meanwhile", rounds as f64, "");
    // Before anybody goes: a bridge that has forgotten where an address was sends its frames everywhere.
    for (port, own) in [("guest", guests_id), ("host", hosts_id)] {
        let [area, domain, id] = own.0;
        let own = format!("fc.id == {area:02x}.{domain:02x}.{id:02x}");
        let foreign = lab.frames(port, &format!("fcoe && !({own})"))?;
        let own = lab.frames(port, &own)?;
        ensure!(!own.is_empty(), "there are no frames at {port}");
        ensure!(foreign.is_empty(), "{port} sees frames of the other, such as {:?}", foreign[0]);
        figures.add(format!("frames at {port}"), own.len() as f64, "");
    }
    drop(guest);
    host.stop();
    san.stop()?;
    Ok(figures)
}
