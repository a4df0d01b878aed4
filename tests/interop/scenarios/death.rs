//! A guest that dies under I/O: its session ends by the missing keep-alives, and it is served again.

use crate::guest::{GuestConfig, fio};
use crate::lab::Lab;
use crate::report::Figures;
use anyhow::ensure;
use san::LunConfig;
use std::thread;
use std::time::{Duration, Instant};

const SERIAL: &str = "death-disk";
const FKA_ADV_PERIOD: Duration = Duration::from_secs(2);

pub(crate) fn run(lab: &mut Lab) -> anyhow::Result<Figures> {
    let mut figures = Figures::default();
    let disk = LunConfig { size_bytes: 8 << 20, serial: SERIAL.into(), ..LunConfig::default() };
    let mut config = super::one_disk(disk);
    config.fcf.fka_adv_period_ms = FKA_ADV_PERIOD.as_millis() as u32;
    let san = lab.san("san", config)?;
    let mut guest = lab.guest("guest", GuestConfig::default())?;
    guest.start_fcoe("eth0")?;
    let disk = guest.wait_for_disk(SERIAL)?;
    let _io =
        guest.spawn(&format!("while true; do {}; done", fio(&disk, "--bs=64k --iodepth=8 --rate=2m")))?;
    guest.wait_for_io(&disk)?;
    ensure!(san.stats()?.logins == 1, "one login was expected: {:?}", san.stats()?);

    drop(guest);
    let died = Instant::now();
    // Two and a half periods from the last keep-alive, which is a period old at most; some more to notice.
    let (earliest, latest) = (FKA_ADV_PERIOD.mul_f64(1.5), FKA_ADV_PERIOD.mul_f64(2.5 + 0.5));
    while san.stats()?.logins > 0 {
        ensure!(died.elapsed() < latest, "its session is still there {:?} after its death", died.elapsed());
        thread::sleep(Duration::from_millis(20));
    }
    let ended = died.elapsed();
    ensure!(ended > earliest, "its session ended {ended:?} after its death, which is too soon");
    figures.add("session ended after", ended.as_secs_f64(), "s");

    let mut guest = lab.guest("guest", GuestConfig::default())?;
    let booted = Instant::now();
    guest.start_fcoe("eth0")?;
    let disk = guest.wait_for_disk(SERIAL)?;
    figures.add("disk again after", booted.elapsed().as_secs_f64(), "s");
    guest.verify_disk(&disk)?;
    guest.has_no_errors()?;
    drop(guest);
    san.stop()?;
    Ok(figures)
}
