//! The kernel's FCoE in a guest, by its sysfs files.

use super::{Guest, SHORT};
use anyhow::Context as _;
use fc::wire::FcId;
use std::time::Duration;

/// How long a login may take, with a scan: about 6 s, as libfcoe swallows its first two FLOGIs.
const LOGIN: Duration = Duration::from_secs(60);

impl Guest {
    /// Makes an FCoE port on an interface, for a fabric.
    pub(crate) fn start_fcoe(&mut self, interface: &str) -> anyhow::Result<()> {
        let script = format!(
            "echo {interface} >/sys/bus/fcoe/ctlr_create
             echo 1 >/sys/class/net/{interface}/ctlr_*/enabled"
        );
        self.run(&script, SHORT)?;
        Ok(())
    }

    /// Makes an FCoE port on an interface, for neighbours. Newer kernels want the mode's name as they show it.
    pub(crate) fn start_vn2vn(&mut self, interface: &str) -> anyhow::Result<()> {
        let script = format!(
            "echo {interface} >/sys/bus/fcoe/ctlr_create
             echo VN2VN >/sys/class/net/{interface}/ctlr_*/mode
             echo 1 >/sys/class/net/{interface}/ctlr_*/enabled"
        );
        self.run(&script, SHORT)?;
        Ok(())
    }

    /// Lets the FCoE port of an interface log out, and log in again a second later.
    pub(crate) fn restart_fcoe(&mut self, interface: &str) -> anyhow::Result<()> {
        let enabled = format!("/sys/class/net/{interface}/ctlr_*/enabled");
        self.run(&format!("echo 0 >{enabled}; sleep 1; echo 1 >{enabled}"), SHORT)?;
        Ok(())
    }

    /// Removes the FCoE port of an interface.
    pub(crate) fn stop_fcoe(&mut self, interface: &str) -> anyhow::Result<()> {
        self.run(&format!("echo {interface} >/sys/bus/fcoe/ctlr_destroy"), SHORT)?;
        Ok(())
    }

    /// Takes an interface's link away for so long, in whole seconds.
    pub(crate) fn bounce_link(&mut self, interface: &str, down: Duration) -> anyhow::Result<()> {
        let seconds = down.as_secs();
        let script = format!("ip link set {interface} down; sleep {seconds}; ip link set {interface} up");
        self.run(&script, SHORT + down)?;
        Ok(())
    }

    /// Waits for the disk with this serial number, and gives its name, such as `sda`.
    pub(crate) fn wait_for_disk(&mut self, serial: &str) -> anyhow::Result<String> {
        // Its name is there after its VPD pages.
        let find = format!("until grep -ls {serial} /sys/block/sd*/device/vpd_pg80; do sleep 0.1; done");
        match self.run(&find, LOGIN) {
            Ok(path) => Ok(path.split('/').nth(3).context("a path")?.to_owned()),
            Err(error) => {
                let state = self.run("grep -sH . /sys/class/fc_*/*/{port_name,port_state} || true", SHORT)?;
                Err(error.context(format!("there is no disk {serial}, but {state}")))
            }
        }
    }

    /// The names of the disks with this serial number: one for each way to it.
    pub(crate) fn disks(&mut self, serial: &str) -> anyhow::Result<Vec<String>> {
        let paths = self.run(&format!("grep -ls {serial} /sys/block/sd*/device/vpd_pg80 || true"), SHORT)?;
        Ok(paths.lines().filter_map(|path| path.split('/').nth(3)).map(str::to_owned).collect())
    }

    /// The N_Port_ID of its only VN_Port.
    pub(crate) fn fc_id(&mut self) -> anyhow::Result<FcId> {
        let id = self.run("cat /sys/class/fc_host/host*/port_id", SHORT)?;
        let id = u32::from_str_radix(id.trim().trim_start_matches("0x"), 16);
        Ok(FcId::from_u32(id.context("what port_id says")?))
    }
}
