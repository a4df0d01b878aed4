//! Linux as initiator, our SAN, without a switch.

use super::one_disk;
use crate::guest::GuestConfig;
use crate::lab::Lab;
use crate::report::Figures;
use san::{Mode, SanConfig};
use std::thread;
use std::time::{Duration, Instant};

const SERIAL: &str = "neighbours-disk";
const LUN_BYTES: u64 = 16 << 20;
/// Longer than it takes a neighbour to be given up: 2.5 beacons.
const SILENCE: Duration = Duration::from_secs(22);

pub(crate) fn run(lab: &mut Lab) -> anyhow::Result<Figures> {
    let mut figures = Figures::default();
    let (disk, file) = lab.file_disk(SERIAL, LUN_BYTES)?;
    let config = SanConfig { mode: Mode::Vn2vn, ..one_disk(disk) };
    let san = lab.san("san", config.clone())?;
    let mut guest = lab.guest("guest", GuestConfig::default())?;

    let started = Instant::now();
    guest.start_vn2vn("eth0")?;
    let disk = guest.wait_for_disk(SERIAL)?;
    figures.add("disk after", started.elapsed().as_secs_f64(), "s");
    guest.use_file_system(&disk)?;
    guest.verify_disk(&disk)?;

    guest.bounce_link("eth0", Duration::from_secs(2))?;
    let started = Instant::now();
    guest.verify_disk(&disk)?;
    figures.add("verified again after its link was down", started.elapsed().as_secs_f64(), "s");

    // The SAN goes without a word, and another one comes that knows nothing.
    san.stop()?;
    thread::sleep(SILENCE);
    let san = lab.san("san", config)?;
    let started = Instant::now();
    guest.verify_disk(&disk)?;
    figures.add("after another SAN came", started.elapsed().as_secs_f64(), "s");
    guest.compare_disk(&disk, &file)?;

    drop(guest);
    san.stop()?;
    Ok(figures)
}
