//! Two identities on one of Linux's ports: a second VN_Port by FDISC, with a disk that only it sees.

use crate::guest::{GuestConfig, SHORT};
use crate::lab::Lab;
use crate::report::Figures;
use anyhow::ensure;
use fc::wire::Wwn;
use san::{LunConfig, SanConfig, TargetConfig};
use std::thread;
use std::time::{Duration, Instant};
use xfcoe::san_thread::SanThread;

const VPORT: Wwn = Wwn::from_u64(0x2001_02fc_f000_0301);
const VPORTS_NODE: Wwn = Wwn::from_u64(0x1001_02fc_f000_0301);
/// How soon a VN_Port that has logged out is gone at the FCF.
const LOGOUT: Duration = Duration::from_secs(5);

pub(crate) fn run(lab: &mut Lab) -> anyhow::Result<Figures> {
    let lun = |serial: &str, initiators| LunConfig {
        size_bytes: 16 << 20,
        serial: serial.into(),
        initiators,
        ..LunConfig::default()
    };
    let luns = vec![lun("everyones", Vec::new()), lun("vports", vec![VPORT])];
    let targets = vec![TargetConfig { luns, ..TargetConfig::default() }];
    let san = lab.san("san", SanConfig { targets, ..SanConfig::default() })?;
    let mut guest = lab.guest("guest", GuestConfig::default())?;
    guest.start_fcoe("eth0")?;
    guest.wait_for_disk("everyones")?;
    ensure!(guest.disks("vports")?.is_empty(), "the port sees a disk that is masked from it");
    ensure!(logins(&san)? == 1, "the FCF has {} logins, not the port's alone", logins(&san)?);

    let names = format!("{:016x}:{:016x}", VPORT.to_u64(), VPORTS_NODE.to_u64());
    let host = guest.run("cd /sys/class/fc_host; echo host*", SHORT)?;
    let host = host.trim();
    let started = Instant::now();
    guest.run(&format!("echo {names} >/sys/class/fc_host/{host}/vport_create"), SHORT)?;
    let disk = guest.wait_for_disk("vports")?;
    let mut figures = Figures::default();
    figures.add("vport's disk after", started.elapsed().as_secs_f64(), "s");
    ensure!(logins(&san)? == 2, "the FCF has {} logins, not the port's and the vport's", logins(&san)?);
    // The disk that both see is there by both.
    ensure!(guest.disks("everyones")?.len() == 2, "not both VN_Ports see the disk that is everyone's");
    guest.verify_disk(&disk)?;

    guest.run(&format!("echo {names} >/sys/class/fc_host/{host}/vport_delete"), SHORT)?;
    let end = Instant::now() + LOGOUT;
    while logins(&san)? != 1 {
        ensure!(Instant::now() < end, "{LOGOUT:?} after vport_delete the FCF still has its login");
        thread::sleep(Duration::from_millis(50));
    }
    ensure!(guest.disks("vports")?.is_empty(), "the vport's disk outlives it");
    let left = guest.wait_for_disk("everyones")?;
    guest.verify_disk(&left)?;
    drop(guest);
    san.stop()?;
    Ok(figures)
}

fn logins(san: &SanThread) -> anyhow::Result<usize> {
    Ok(san.stats()?.logins)
}
