//! What sg3-utils say of our target: every answer is read by somebody else's program.

use crate::guest::{Guest, GuestConfig, SHORT, fio};
use crate::lab::Lab;
use crate::report::Figures;
use anyhow::{Context as _, ensure};
use san::{LunConfig, SanConfig, TargetConfig};
use std::time::{Duration, Instant};

const SERIAL: &str = "scsi-disk";
/// How long a reset of the host takes, which logs out and in again, with some room.
const RELOGIN: Duration = Duration::from_secs(40);

/// Scripts, each with what it must print; `$D` is the disk. They build on each other.
const QUESTIONS: &[(&str, &[&str])] = &[
    (
        "sg_inq $D",
        &["[SPC-4]", "identification: XFCOE", "SAN IN A BOX", "serial number: scsi-disk", "CmdQue=1"],
    ),
    ("sg_vpd -p sv $D", &["[sn]", "[di]", "[bl]", "[bdc]", "[lbpv]"]),
    ("sg_vpd -p sn $D", &["Unit serial number: scsi-disk"]),
    ("sg_vpd -p di $D", &["0x200002fcf0000101", "Relative target port: 0x1", "vendor id: XFCOE"]),
    ("sg_vpd -p bl $D", &["Maximum compare and write length: 32 blocks", "(WSNZ): 1"]),
    ("sg_vpd -p bdc $D", &["Non-rotating medium"]),
    ("sg_vpd -p lbpv $D", &["(LBPU): 1", "(LBPWS): 1", "(LBPRZ): 1", "thin provisioned"]),
    ("sg_luns $D", &["2 lun entries", "0001000000000000"]),
    ("sg_readcap $D", &["Last LBA=16383 ", "block length=512 bytes"]),
    ("sg_readcap -l $D", &["lbpme=1, lbprz=1", "Last LBA=16383 "]),
    (
        "sg_opcodes $D",
        &["Compare and write", "Persistent reserve out, preempt and abort", "Write same(16)", "Unmap"],
    ),
    ("sg_opcodes -o 0x28 $D", &["Command is supported", "Usage data: 28 18 ff ff ff ff 1f ff ff 00"]),
    ("sg_rtpg $D", &["target port group id : 0x1", "access state : 0x00", "AO_SUP : 1"]),
    ("sg_turs -n 3 $D; sg_sync $D; sg_verify --lba=0 --count=8 $D", &[]),
    // Reservations.
    ("sg_persist --out --register --param-sark=0xabc $D", &[]),
    ("sg_persist --out --reserve --param-rk=0xabc --prout-type=5 $D", &[]),
    ("sg_persist -k $D", &["PR generation=0x1, 1 registered reservation key", "0xabc"]),
    ("sg_persist -r $D", &["Key=0xabc", "Write Exclusive, registrants only"]),
    ("sg_persist -s $D", &["<< Reservation holder >>", "20 00 02 fc f0 00 03 01"]),
    ("sg_persist --out --release --param-rk=0xabc --prout-type=5 $D", &[]),
    ("sg_persist -r $D", &["there is NO reservation held"]),
    ("sg_persist --out --clear --param-rk=0xabc $D", &[]),
    ("sg_persist -k $D", &["there are NO registered reservation keys"]),
    // Block 7 is zero, and then it isn't.
    (
        "cd /run; head -c 512 /dev/zero >old; head -c 512 /dev/urandom >new; cat old new >both
         sg_compare_and_write --lba=7 --num=1 --in=both $D
         dd if=$D skip=7 count=1 iflag=direct status=none | cmp - new",
        &[],
    ),
    (
        "cd /run; sg_compare_and_write --lba=7 --num=1 --in=both $D 2>&1 || true",
        &["Miscompare at byte offset"],
    ),
    (
        "cd /run; sg_unmap --force --lba=7 --num=1 $D; dd if=$D skip=7 count=1 iflag=direct status=none | cmp - old",
        &[],
    ),
    (
        "cd /run; sg_write_same --lba=16 --num=8 --in=new --xferlen=512 $D
         dd if=$D skip=23 count=1 iflag=direct status=none | cmp - new",
        &[],
    ),
    (
        "cd /run; sg_write_same --16 --lba=16 --num=8 --unmap --in=old --xferlen=512 $D
         dd if=$D skip=16 count=8 iflag=direct status=none | cmp -n 4096 - /dev/zero",
        &[],
    ),
    // What is refused, and why.
    ("sg_raw -r 512 $D 28 00 ff ff ff ff 00 00 01 00 2>&1 || true", &["Logical block address out of range"]),
    ("sg_raw -r 512 $D c1 00 00 00 00 00 2>&1 || true", &["Invalid command operation code"]),
];

pub(crate) fn run(lab: &mut Lab) -> anyhow::Result<Figures> {
    let lun = |serial: &str, block_bytes| LunConfig {
        size_bytes: 8 << 20,
        block_bytes,
        serial: serial.into(),
        ..LunConfig::default()
    };
    let luns = vec![lun(SERIAL, 512), lun("blocks-of-4k", 4096)];
    let targets = vec![TargetConfig { luns, ..TargetConfig::default() }];
    let san = lab.san("san", SanConfig { targets, ..SanConfig::default() })?;
    let mut guest = lab.guest("guest", GuestConfig::default())?;
    guest.start_fcoe("eth0")?;
    let disk = guest.wait_for_disk(SERIAL)?;
    let large_blocks = guest.wait_for_disk("blocks-of-4k")?;

    for (script, expected) in QUESTIONS {
        ask(&mut guest, &disk, script, expected)?;
    }
    ask(&mut guest, &large_blocks, "sg_readcap $D", &["Last LBA=2047 ", "block length=4096 bytes"])?;

    let mut figures = Figures::default();
    figures.add("questions", (QUESTIONS.len() + 1) as f64, "");
    for what in ["device", "target", "host"] {
        let started = Instant::now();
        reset(&mut guest, &disk, what).with_context(|| format!("after the reset of the {what}"))?;
        figures.add(format!("{what} reset"), started.elapsed().as_secs_f64(), "s");
    }
    drop(guest);
    san.stop()?;
    Ok(figures)
}

/// Runs a script, which must succeed and say all of `expected`.
fn ask(guest: &mut Guest, disk: &str, script: &str, expected: &[&str]) -> anyhow::Result<()> {
    let said = guest.run(&format!("D=/dev/{disk}\n{script}"), SHORT)?;
    for text in expected {
        ensure!(said.contains(text), "`{script}` was to say `{text}`, but said: {said}");
    }
    Ok(())
}

/// Resets while I/O runs: the disk works again, and what was written before and meanwhile is right.
fn reset(guest: &mut Guest, disk: &str, what: &str) -> anyhow::Result<()> {
    let io = guest.spawn(&fio(disk, "--bs=4k --iodepth=8"))?;
    guest.run(&format!("sleep 1; sg_reset --{what} /dev/{disk}"), RELOGIN)?;
    let output = guest.wait(io, RELOGIN)?;
    ensure!(output.status == 0, "fio: {}{}", output.stdout, output.stderr);
    guest.run(&format!("sg_turs /dev/{disk}"), SHORT)?;
    Ok(())
}
