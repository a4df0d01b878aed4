//! What goes and comes back while Linux writes: its link, our FCF with a word, our FCF without one.

use crate::guest::{GuestConfig, SHORT, TRANSFERS, fio};
use crate::lab::Lab;
use crate::report::Figures;
use anyhow::ensure;
use san::Order;
use std::thread;
use std::time::Duration;

const SERIAL: &str = "outage-disk";
/// Often enough that Linux hears soon that a new FCF doesn't know it.
const FKA_ADV_PERIOD_MS: u32 = 2000;
/// How long each outage takes.
const OUTAGE: Duration = Duration::from_secs(2);
/// I/O that goes on after an outage before the next one.
const PAUSE: Duration = Duration::from_secs(2);
const LUN_BYTES: u64 = 8 << 20;

pub(crate) fn run(lab: &mut Lab) -> anyhow::Result<Figures> {
    let mut figures = Figures::default();
    let (disk, file) = lab.file_disk(SERIAL, LUN_BYTES)?;
    let mut config = super::one_disk(disk);
    config.fcf.fka_adv_period_ms = FKA_ADV_PERIOD_MS;
    let mut san = lab.san("san", config.clone())?;
    let mut guest = lab.guest("guest", GuestConfig::default())?;
    guest.start_fcoe("eth0")?;
    let disk = guest.wait_for_disk(SERIAL)?;

    let writes = fio(&disk, "--bs=16k --iodepth=8 --rate=512k");
    let io = guest.spawn(&format!("until [ -e /run/enough ]; do {writes}; done"))?;
    guest.wait_for_io(&disk)?;

    thread::sleep(PAUSE);
    guest.bounce_link("eth0", OUTAGE)?;
    figures.add("I/O again after link", guest.wait_for_io(&disk)?.as_secs_f64(), "s");

    thread::sleep(PAUSE);
    san.order(Order::Restart)?;
    figures.add("Clear Virtual Links", guest.wait_for_io(&disk)?.as_secs_f64(), "s");

    thread::sleep(PAUSE);
    san.stop()?;
    thread::sleep(OUTAGE);
    san = lab.san("san", config)?;
    figures.add("another FCF", guest.wait_for_io(&disk)?.as_secs_f64(), "s");

    guest.run("touch /run/enough", SHORT)?;
    let output = guest.wait(io, TRANSFERS)?;
    ensure!(output.status == 0, "fio has found an error: {}{}", output.stdout, output.stderr);
    guest.compare_disk(&disk, &file)?;
    drop(guest);
    san.stop()?;
    Ok(figures)
}
