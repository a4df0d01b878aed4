//! Guests whose disks are ours, by way of their host: as a vhost-user-blk device, and by NBD.

use crate::guest::{GuestConfig, HostDisk, SHORT, TRANSFERS, fio};
use crate::lab::Lab;
use crate::report::Figures;
use anyhow::{Context as _, ensure};
use std::thread;
use std::time::{Duration, Instant};

/// The name of an export, and its LUN's serial number.
const VHOST: &str = "by-vhost";
const NBD: &str = "by-nbd";
const LUN_MIB: u64 = 16;
/// How often the daemon is killed while the guest writes and reads.
const KILLS: usize = 3;
/// From one daemon's I/O to its end.
const LIFE: Duration = Duration::from_secs(2);

pub(crate) fn run(lab: &mut Lab) -> anyhow::Result<Figures> {
    let mut figures = Figures::default();
    let (mut config, mut files) = (super::one_disk(Default::default()), Vec::new());
    config.targets[0].luns.clear();
    for name in [VHOST, NBD] {
        let (disk, file) = lab.file_disk(name, LUN_MIB << 20)?;
        config.targets[0].luns.push(disk);
        files.push(file);
    }
    let target = config.targets[0].wwpn;
    let san = lab.san("san", config)?;
    let (vhost, nbd) = (lab.socket("vhost.sock"), lab.socket("nbd.sock"));
    let exports = format!(
        "[[export]]\nname = \"{VHOST}\"\nlun = \"{target}/0\"\nvhost_user = \"{}\"\n\
         [[export]]\nname = \"{NBD}\"\nlun = \"{target}/1\"\nnbd = \"unix:{}\"\n",
        vhost.display(),
        nbd.display()
    );
    let mut daemon = lab.daemon("init", &exports)?;
    let disks = vec![HostDisk::VhostUser(vhost), HostDisk::Nbd(nbd, NBD)];
    let mut guest = lab.guest("guest", GuestConfig { cpus: 2, disks, ..GuestConfig::default() })?;
    let disks = [guest.wait_for_host_disk(VHOST)?, guest.wait_for_host_disk(NBD)?];
    let queues = guest.run(&format!("ls /sys/block/{}/mq | wc -l", disks[0]), SHORT)?;
    ensure!(queues.trim() == "2", "{queues} queues, where there is one for each CPU");
    for (disk, file) in disks.iter().zip(&files) {
        guest.use_file_system(disk).with_context(|| disk.clone())?;
        guest.run(&format!("blkdiscard /dev/{disk}; blkdiscard -z -l 1M /dev/{disk}"), TRANSFERS)?;
        guest.verify_disk(disk)?;
        guest.compare_disk(disk, file)?;
    }

    let busy = |disk| {
        let fio = fio(disk, "--bsrange=4k-64k --iodepth=16 --verify_backlog=32");
        format!("until [[ -e /run/stop ]]; do {fio}; done")
    };
    let running = [guest.spawn(&busy(&disks[0]))?, guest.spawn(&busy(&disks[1]))?];
    let mut longest = Duration::ZERO;
    for _ in 0..KILLS {
        disks.iter().try_for_each(|disk| guest.wait_for_io(disk).map(|_| ()))?;
        thread::sleep(LIFE);
        drop(daemon);
        let killed = Instant::now();
        daemon = lab.daemon("init", &exports)?;
        disks.iter().try_for_each(|disk| guest.wait_for_io(disk).map(|_| ()))?;
        longest = longest.max(killed.elapsed());
    }
    guest.run("touch /run/stop", SHORT)?;
    for (disk, running) in disks.iter().zip(running) {
        let output = guest.wait(running, TRANSFERS)?;
        ensure!(
            output.status == 0,
            "fio on {disk}, whose daemon was killed: {}{}",
            output.stdout,
            output.stderr
        );
    }
    figures.add("I/O again after a kill within", longest.as_secs_f64(), "s");
    for (disk, file) in disks.iter().zip(&files) {
        guest.use_file_system(disk).with_context(|| disk.clone())?;
        guest.compare_disk(disk, file)?;
    }
    for export in daemon.exports()? {
        let wrong = ["failed_requests", "refused_requests", "clients_cut_off"].map(|field| &export[field]);
        ensure!(wrong.iter().all(|count| **count == 0), "an export has trouble: {export}");
    }
    guest.has_no_errors()?;
    drop(guest);
    drop(daemon);
    san.stop()?;
    Ok(figures)
}
