//! Disks of our daemon as block devices of the kernel that it runs on, by ublk: in a guest, with the SAN outside.

use crate::guest::{Guest, GuestConfig, Running, SHORT, TRANSFERS};
use crate::lab::Lab;
use crate::report::Figures;
use anyhow::{Context as _, ensure};
use san::SanConfig;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

/// Bytes of a LUN.
const LUN_LEN: u64 = 32 << 20;
/// The disk that is written, and the one that may not be; the guest's names for them.
const DISKS: [&str; 2] = ["ublkb0", "ublkb1"];
/// How the daemon ends, each time while files are written and read.
const ENDS: [&str; 3] = ["KILL", "KILL", "TERM"];
/// From one daemon's I/O to its end.
const LIFE: Duration = Duration::from_secs(2);
/// From its end to the next one's beginning.
const PAUSE: Duration = Duration::from_secs(1);

/// With what the systemd unit for it gives.
const DAEMON: &str = "echo $$ >/run/daemon.pid
    ulimit -l unlimited
    all=-all,+net_admin,+net_raw,+bpf,+perfmon,+sys_admin,+sys_resource
    exec setpriv --bounding-set $all /run/xfcoe run -c /run/run.toml >>/lab/guest/daemon.log 2>&1";
/// Several jobs at a time, in a file system.
const BUSY: &str = "until [[ -e /run/stop ]]; do
    fio --name=busy --directory=/mnt --numjobs=3 --rw=randwrite --bsrange=4k-64k --size=3m --iodepth=8 --ioengine=libaio \
        --direct=1 --fdatasync=32 --verify=crc32c --do_verify=1 --verify_fatal=1 --verify_backlog=32 --minimal
done";

pub(crate) fn run(lab: &mut Lab) -> anyhow::Result<Figures> {
    let mut figures = Figures::default();
    let (config, file) = disks(lab)?;
    let target = config.targets[0].wwpn;
    let san = lab.san("san", config)?;
    lab.bring("xfcoe")?;
    let mut guest = lab.guest("guest", GuestConfig { cpus: 2, ..GuestConfig::default() })?;
    let exports = format!(
        "[port.eth0]\ninterface = \"eth0\"\n[control]\npath = \"/run/control\"\n\
         [[export]]\nname = \"disk\"\nlun = \"{target}/0\"\nublk = 0\n\
         [[export]]\nname = \"fixed\"\nlun = \"{target}/1\"\nublk = 1\nread_only = true\n"
    );
    guest.run(&format!("cp /lab/xfcoe /run; cat >/run/run.toml <<'END'\n{exports}END"), SHORT)?;
    let said = guest.run("! /run/xfcoe run -c /run/run.toml 2>&1", SHORT)?;
    ensure!(said.contains("modprobe ublk_drv"), "without the driver: {said}");
    guest.run("modprobe ublk_drv", SHORT)?;

    let started = Instant::now();
    let mut daemon = start(&mut guest)?;
    figures.add("devices there after", started.elapsed().as_secs_f64(), "s");
    use_devices(&mut guest, &file)?;

    guest.run("mkfs.ext4 -q /dev/ublkb0; mount /dev/ublkb0 /mnt", TRANSFERS)?;
    let busy = guest.spawn(BUSY)?;
    let mut longest = Duration::ZERO;
    for signal in ENDS {
        guest.wait_for_io(DISKS[0])?;
        thread::sleep(LIFE);
        guest.run(&format!("kill -{signal} $(cat /run/daemon.pid)"), SHORT)?;
        let ended = Instant::now();
        let _ = guest.wait(daemon, SHORT)?;
        guest.run("[ -b /dev/ublkb0 ]", SHORT).context("a device that is mounted is gone with its daemon")?;
        let unused = if signal == "KILL" { "[ -b /dev/ublkb1 ]" } else { "[ ! -e /dev/ublkb1 ]" };
        guest.run(unused, SHORT).context("a device that nobody uses is left by a daemon that dies only")?;
        thread::sleep(PAUSE);
        daemon = start(&mut guest)?;
        guest.wait_for_io(DISKS[0])?;
        longest = longest.max(ended.elapsed());
    }
    figures.add("I/O again after an end within", longest.as_secs_f64(), "s");
    guest.run("touch /run/stop", SHORT)?;
    let output = guest.wait(busy, TRANSFERS)?;
    ensure!(output.status == 0, "fio, whose daemon ended: {}{}", output.stdout, output.stderr);
    guest.run("fstrim /mnt; umount /mnt; e2fsck -fn /dev/ublkb0", TRANSFERS)?;
    guest.compare_disk(DISKS[0], &file)?;

    let said = guest.run("/run/xfcoe export list --json --control /run/control", SHORT)?;
    for field in ["failed_requests", "refused_requests"] {
        ensure!(said.matches(&format!("\"{field}\":0")).count() == 2, "an export has trouble: {said}");
    }
    remove_devices(&mut guest, daemon)?;
    guest.has_no_errors()?;
    drop(guest);
    san.stop()?;
    Ok(figures)
}

/// A SAN with both disks, and the file of the one that is written.
fn disks(lab: &Lab) -> anyhow::Result<(SanConfig, PathBuf)> {
    let mut config = super::one_disk(Default::default());
    let [(disk, file), (fixed, _)] = [lab.file_disk("disk", LUN_LEN)?, lab.file_disk("fixed", LUN_LEN)?];
    config.targets[0].luns = vec![disk, fixed];
    Ok((config, file))
}

/// Starts the daemon; returns when it has both devices.
fn start(guest: &mut Guest) -> anyhow::Result<Running> {
    let daemon = guest.spawn(DAEMON)?;
    let both = "both() { [[ $(/run/xfcoe export list --json --control /run/control |
                            grep -o '\"state\":\"serving\"' | wc -l) == 2 ]]; }
                until both; do sleep 0.1; done 2>/dev/null";
    if let Err(error) = guest.run(both, SHORT) {
        let log = guest.run("cat /lab/guest/daemon.log", SHORT)?;
        return Err(error.context(format!("the daemon does not serve: {log}")));
    }
    Ok(daemon)
}

/// What they look like, and what can be done with them.
fn use_devices(guest: &mut Guest, file: &std::path::Path) -> anyhow::Result<()> {
    let [disk, fixed] = DISKS;
    let look = format!("blockdev --getsize64 --getss --getro /dev/{disk}; ls /sys/block/{disk}/mq | wc -l");
    let seen = guest.run(&look, SHORT)?;
    let expected = [&*LUN_LEN.to_string(), "512", "0", "2"];
    ensure!(seen.split_whitespace().eq(expected), "size, block, read-only, queues: {seen}");
    guest.use_file_system(disk)?;
    guest.run(&format!("blkdiscard /dev/{disk}; blkdiscard -z -l 8M /dev/{disk}"), TRANSFERS)?;
    guest.verify_disk(disk)?;
    guest.compare_disk(disk, file)?;
    guest.run(
        &format!("[[ $(blockdev --getro /dev/{fixed}) == 1 ]]; cmp -n 1048576 /dev/{fixed} /dev/zero"),
        SHORT,
    )?;
    guest.run(&format!("! dd if=/dev/zero of=/dev/{fixed} bs=4k count=1 oflag=direct"), SHORT)?;
    Ok(())
}

/// Removes an export, and one whose LUN isn't there, and whose device was left behind.
fn remove_devices(guest: &mut Guest, daemon: Running) -> anyhow::Result<()> {
    let remove = "/run/xfcoe export remove --control /run/control";
    let gone = "until [[ ! -e /dev/ublkb0 && ! -e /dev/ublkc0 ]]; do sleep 0.1; done";
    guest
        .run(&format!("{remove} disk; {gone}"), SHORT)
        .context("a device of an export that is removed stays")?;
    guest.run("kill -KILL $(cat /run/daemon.pid)", SHORT)?;
    let _ = guest.wait(daemon, SHORT)?;
    guest.run("[ -b /dev/ublkb1 ]; sed -i 's,/1\",/7\",' /run/run.toml", SHORT)?;
    let daemon = guest.spawn(DAEMON)?;
    let orphan = format!("until {remove} fixed; do sleep 0.1; done; [ ! -e /dev/ublkb1 ]");
    guest.run(&orphan, SHORT).context("a device that was left behind stays")?;
    guest.run("kill -TERM $(cat /run/daemon.pid)", SHORT)?;
    let _ = guest.wait(daemon, SHORT)?;
    Ok(())
}
