//! The kernel's FCoE in a guest, by its sysfs files.

use super::{Guest, SHORT};
use anyhow::{Context as _, bail};
use fc::wire::FcId;
use std::thread;
use std::time::{Duration, Instant};

/// How long a login may take: libfcoe's first two FLOGIs are swallowed.
const LOGIN: Duration = Duration::from_secs(40);

impl Guest {
    /// Makes an FCoE port on an interface, for a fabric.
    pub(crate) fn start_fcoe(&mut self, interface: &str) -> anyhow::Result<()> {
        let script = format!(
            "echo {interface} >/sys/bus/fcoe/ctlr_create
             for ctlr in /sys/bus/fcoe/devices/ctlr_*; do echo 1 >$ctlr/enabled; done"
        );
        self.run(&script, SHORT)?;
        Ok(())
    }

    /// Waits for the disk with this serial number, and gives its name, such as `sda`.
    pub(crate) fn wait_for_disk(&mut self, serial: &str) -> anyhow::Result<String> {
        let end = Instant::now() + LOGIN;
        loop {
            // Its name is there after its VPD pages.
            let find =
                format!("grep -ls {serial} /sys/class/scsi_disk/*/device/block/sd*/device/vpd_pg80 || true");
            let found = self.run(&find, SHORT)?;
            if let Some(name) = found.split('/').find(|part| part.starts_with("sd")) {
                return Ok(name.to_owned());
            }
            if Instant::now() >= end {
                let state = "grep -sH . /sys/class/fc_*/*/{port_name,port_state} || true";
                bail!("no disk {serial} within {LOGIN:?}; {}", self.run(state, SHORT)?);
            }
            thread::sleep(Duration::from_millis(200));
        }
    }

    /// The N_Port_ID of its only VN_Port.
    pub(crate) fn fc_id(&mut self) -> anyhow::Result<FcId> {
        let id = self.run("cat /sys/class/fc_host/host*/port_id", SHORT)?;
        let id = u32::from_str_radix(id.trim().trim_start_matches("0x"), 16);
        Ok(FcId::from_u32(id.context("what port_id says")?))
    }
}
