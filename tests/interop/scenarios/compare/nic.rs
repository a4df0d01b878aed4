//! At the guest's NIC, with the SAN outside: all CPU time is the initiator's, and what uses it.

use super::{Counts, SERIAL, Target};
use crate::guest::Guest;
use crate::lab::Lab;
use crate::report::Figures;
use san::LunConfig;
use xfcoe::san_thread::SanThread;

pub(in super::super) fn run(lab: &mut Lab) -> anyhow::Result<Figures> {
    let disk = LunConfig { serial: SERIAL.into(), ..LunConfig::default() };
    let san = lab.san("san", super::super::one_disk(disk))?;
    let mut guest = super::guest(lab)?;
    let figures = super::compare(&mut guest, "eth0", &san)?;
    drop(guest);
    san.stop()?;
    Ok(figures)
}

impl Target for SanThread {
    fn counts(&self, _guest: &mut Guest) -> anyhow::Result<Counts> {
        let counters = self.stats()?.counters;
        Ok(Counts { commands: counters.commands, failed_commands: counters.failed_commands, cpu_s: None })
    }
}
