//! The kernel's target in a guest: LIO with tcm_fc, by configfs.

use super::{Guest, SHORT};
use fc::wire::Wwn;

/// Says which LUNs there are.
const SCRIPT: &str = include_str!("target");

impl Guest {
    /// Makes a target ready, for the port of this name, which is to be made later. These initiators see all its LUNs.
    pub(crate) fn serve(&mut self, target: Wwn, initiators: &[Wwn]) -> anyhow::Result<()> {
        let initiators: Vec<_> = initiators.iter().map(Wwn::to_string).collect();
        self.run(&format!("set -- {target} {}\n{SCRIPT}", initiators.join(" ")), SHORT)?;
        Ok(())
    }

    /// Makes LUN 2 half as large as it was.
    pub(crate) fn shrink_device(&mut self) -> anyhow::Result<()> {
        self.run("truncate -s 1M /run/device; losetup -c /dev/loop0", SHORT)?;
        Ok(())
    }

    /// Lets LUN 1 take no UNMAP any more.
    pub(crate) fn forbid_unmap(&mut self) -> anyhow::Result<()> {
        self.run("echo 0 >/sys/kernel/config/target/core/fileio_0/file/attrib/emulate_tpu", SHORT)?;
        Ok(())
    }
}
