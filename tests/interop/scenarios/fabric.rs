//! Linux as initiator, our SAN, in fabric mode.

use crate::guest::{GuestConfig, SHORT};
use crate::lab::Lab;
use crate::report::Figures;
use san::{LunConfig, SanConfig, TargetConfig};
use std::time::{Duration, Instant};

const VLAN: u16 = 100;
const SERIAL: &str = "fabric-disk";
const LUN_MIB: u64 = 64;

pub(crate) fn run(lab: &mut Lab) -> anyhow::Result<Figures> {
    let mut figures = Figures::default();
    let lun = LunConfig { size_bytes: LUN_MIB << 20, serial: SERIAL.into(), ..LunConfig::default() };
    let config = SanConfig {
        vlan: Some(VLAN),
        targets: vec![TargetConfig { luns: vec![lun], ..TargetConfig::default() }],
        ..SanConfig::default()
    };
    let san = lab.san("san", config)?;
    let mut guest = lab.guest("guest", GuestConfig::default())?;

    let started = Instant::now();
    let found = guest.run("fipvlan -c eth0", SHORT)?;
    anyhow::ensure!(found.contains("100"), "fipvlan found no VLAN {VLAN}: {found}");
    guest.run("ip link set eth0.100 up; ip link", SHORT)?;
    guest.start_fcoe("eth0.100")?;
    let disk = guest.wait_for_disk(SERIAL)?;
    figures.add("disk after", started.elapsed().as_secs_f64(), "s");
    guest.run("fcoeadm -i; fcoeadm -f; fcoeadm -t; fcoeadm -l", SHORT)?;
    guest.run(&format!("mkfs.ext4 -q /dev/{disk}"), Duration::from_secs(60))?;
    guest.run(
        &format!(
            "mount /dev/{disk} /mnt
             for i in 1 2 3; do dd if=/dev/urandom of=/mnt/$i bs=64k count=16 status=none; done
             sha256sum /mnt/[123] >/run/sums
             umount /mnt
             e2fsck -fn /dev/{disk}
             mount /dev/{disk} /mnt
             sha256sum -c /run/sums
             umount /mnt"
        ),
        Duration::from_secs(60),
    )?;
    drop(guest);
    san.stop()?;
    Ok(figures)
}
