//! Rules of a NIC that bring FCoE and FIP to a queue: what is no IP, RSS leaves where the driver likes.
//!
//! Made by ethtool(8), which knows what each driver wants of a rule, such as who chooses its place.

use fc::wire::ethernet::EtherType;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Rules that are there until this is dropped. They stay if the process is killed.
#[derive(Debug)]
pub(super) struct FlowRules {
    ethtool: PathBuf,
    interface: String,
    /// The rules' numbers, as ethtool told them.
    rules: Vec<String>,
}

impl FlowRules {
    /// Has the NIC bring FCoE and FIP to `queue`.
    ///
    /// # Errors
    /// What ethtool says, or that it isn't there. Then there are no rules.
    pub(super) fn set(interface: &str, queue: u32) -> io::Result<Self> {
        Self::set_by(Path::new("ethtool"), interface, queue)
    }

    fn set_by(ethtool: &Path, interface: &str, queue: u32) -> io::Result<Self> {
        let mut rules = Self { ethtool: ethtool.into(), interface: interface.into(), rules: Vec::new() };
        for EtherType(protocol) in [EtherType::FCOE, EtherType::FIP] {
            let (protocol, queue) = (format!("{protocol:#06x}"), queue.to_string());
            let said = rules.ethtool(&["flow-type", "ether", "proto", &protocol, "action", &queue])?;
            let rule = said.split("rule with ID ").nth(1).and_then(|rest| rest.split_whitespace().next());
            let rule = rule.ok_or_else(|| io::Error::other(format!("ethtool said {:?}", said.trim())))?;
            rules.rules.push(rule.to_owned());
        }
        Ok(rules)
    }

    /// What ethtool says to a change of the interface's rules.
    fn ethtool(&self, change: &[&str]) -> io::Result<String> {
        let mut command = Command::new(&self.ethtool);
        let output = command.arg("--config-ntuple").arg(&self.interface).args(change).output();
        let output = output.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => io::Error::other("there is no ethtool: install it"),
            _ => error,
        })?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(io::Error::other(said.split_whitespace().collect::<Vec<_>>().join(" ")))
    }
}

impl Drop for FlowRules {
    fn drop(&mut self) {
        for rule in self.rules.iter().rev() {
            if let Err(error) = self.ethtool(&["delete", rule]) {
                let interface = &self.interface;
                tracing::warn!(%interface, rule, %error, "a flow rule of the interface stays");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    /// A stand-in for ethtool, which notes what it is asked for and has room for `room` rules.
    fn ethtool(name: &str, room: u32) -> (PathBuf, PathBuf) {
        let folder = std::env::temp_dir().join(format!("xfcoe-ethtool-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (path, asked) = (folder.join("ethtool"), folder.join("asked"));
        let script = format!(
            "#!/bin/sh\necho \"$*\" >> {asked}\n\
             [ \"$3\" = delete ] && exit 0\n\
             [ \"$(grep -c flow-type {asked})\" -gt {room} ] && {{ printf 'rmgr: no room\\nCannot insert\\n' >&2; exit 1; }}\n\
             echo \"Added rule with ID 102$(grep -c flow-type {asked})\"\n",
            asked = asked.display()
        );
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        (path, asked)
    }

    #[test]
    fn rules_go_when_they_are_dropped_or_one_is_refused() {
        let (ethtool_path, asked) = ethtool("room", 2);
        let rules = FlowRules::set_by(&ethtool_path, "eth7", 3).unwrap();
        let made = "--config-ntuple eth7 flow-type ether proto 0x8906 action 3\n\
                    --config-ntuple eth7 flow-type ether proto 0x8914 action 3\n";
        assert_eq!(fs::read_to_string(&asked).unwrap(), made);
        drop(rules);
        let gone = "--config-ntuple eth7 delete 1022\n--config-ntuple eth7 delete 1021\n";
        assert_eq!(fs::read_to_string(&asked).unwrap(), [made, gone].concat());

        let (ethtool_path, asked) = ethtool("full", 1);
        let error = FlowRules::set_by(&ethtool_path, "eth7", 3).unwrap_err();
        assert_eq!(error.to_string(), "rmgr: no room Cannot insert");
        assert!(fs::read_to_string(&asked).unwrap().ends_with("delete 1021\n"));
        let error = FlowRules::set_by(Path::new("/nowhere/ethtool"), "eth7", 3).unwrap_err();
        assert_eq!(error.to_string(), "there is no ethtool: install it");
    }
}
