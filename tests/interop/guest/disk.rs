//! What is done with a disk in a guest.

use super::{Guest, SHORT};
use anyhow::{Context as _, ensure};
use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// How long a few MiB may take: seconds on an idle machine, and more where commands are lost and tried again.
pub(crate) const TRANSFERS: Duration = Duration::from_secs(150);

impl Guest {
    /// Waits for the disk of the host's with this serial number, and gives its name, such as `vda`.
    pub(crate) fn wait_for_host_disk(&mut self, serial: &str) -> anyhow::Result<String> {
        let find = format!(
            "modprobe virtio_blk; until grep -lsx {serial} /sys/block/vd*/serial; do sleep 0.1; done"
        );
        let path = self.run(&find, SHORT)?;
        Ok(path.split('/').nth(3).context("a path")?.to_owned())
    }

    /// Makes a file system on a disk and writes files to it, large and small; mounts it anew and finds them again.
    pub(crate) fn use_file_system(&mut self, disk: &str) -> anyhow::Result<()> {
        let script = format!(
            "mkfs.ext4 -q /dev/{disk}
             mount /dev/{disk} /mnt
             dd if=/dev/urandom of=/mnt/large bs=1M count=3 status=none
             mkdir /mnt/small
             for i in $(seq 40); do head -c $((i * 257)) /mnt/large >/mnt/small/$i; done
             (cd /mnt; md5sum large small/*) >/run/sums
             umount /mnt
             e2fsck -fn /dev/{disk}
             mount /dev/{disk} /mnt
             (cd /mnt; md5sum --quiet -c /run/sums; ls small | wc -l)
             umount /mnt"
        );
        let said = self.run(&script, TRANSFERS)?;
        ensure!(said.trim_end().ends_with("40"), "there are not 40 files in small: {said}");
        Ok(())
    }

    /// Writes all of a disk, in blocks of many sizes and at random, and reads and checks what it wrote.
    pub(crate) fn verify_disk(&mut self, disk: &str) -> anyhow::Result<()> {
        let running = self.spawn(&fio(disk, "--bsrange=512-256k --iodepth=8"))?;
        let output = self.wait(running, TRANSFERS)?;
        ensure!(output.status == 0, "fio on {disk}: {}{}", output.stdout, output.stderr);
        Ok(())
    }

    /// A disk has the bytes of the file that the SAN has for it: read here over FCoE, and there on the host.
    pub(crate) fn compare_disk(&mut self, disk: &str, file: &Path) -> anyhow::Result<()> {
        let here = self.run(&format!("echo 3 >/proc/sys/vm/drop_caches; md5sum </dev/{disk}"), TRANSFERS)?;
        let there = Command::new("md5sum").stdin(File::open(file)?).output()?;
        ensure!(here.as_bytes() == there.stdout, "{disk} reads otherwise than {} is", file.display());
        Ok(())
    }

    /// Waits until more I/O of a disk has ended than now, and tells how long that takes.
    pub(crate) fn wait_for_io(&mut self, disk: &str) -> anyhow::Result<Duration> {
        let started = Instant::now();
        let script = format!(
            "ended() {{ awk '{{ print $1 + $5 }}' /sys/block/{disk}/stat; }}
             before=$(ended)
             until (($(ended) > before)); do sleep 0.05; done"
        );
        self.run(&script, TRANSFERS)?;
        Ok(started.elapsed())
    }
}

/// A fio command that writes a disk and reads it again; it fails at the first byte that is wrong.
pub(crate) fn fio(disk: &str, sizes: &str) -> String {
    format!(
        "fio --name=verify --filename=/dev/{disk} --rw=randwrite {sizes} --size=8m --ioengine=libaio --direct=1 \
         --verify=crc32c --do_verify=1 --verify_fatal=1 --minimal"
    )
}
