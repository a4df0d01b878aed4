//! The configuration file of `run`, `list`, `read` and `write`.
//!
//! A file says only what differs from the defaults; the shortest one names an interface. A key or a value that
//! is wrong is refused with its line and with what would be right: a typing error must not quietly become a
//! default.

mod file;
mod values;

pub use file::{ConfigError, load, parse};
pub use values::{FabricVlan, Mode, Polling};

use crate::preflight::PortKind;
use fc::wire::Wwn;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use toml::Spanned;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The ports by the names that the operator gave them: `[port.NAME]`.
    #[serde(default)]
    pub port: BTreeMap<String, PortConfig>,
}

/// One Ethernet queue and what we are on its fabric.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortConfig {
    /// The network interface.
    pub interface: Spanned<String>,
    /// The number of its queue.
    #[serde(default)]
    pub queue: u16,
    /// How it is opened.
    #[serde(default)]
    pub kind: PortKind,
    /// What is at the other end.
    #[serde(default)]
    pub mode: Mode,
    /// The VLAN of the fabric.
    #[serde(default)]
    pub vlan: FabricVlan,
    /// Our port name. Left out: 20:00 and the interface's MAC address.
    #[serde(default, deserialize_with = "values::wwn")]
    pub wwpn: Option<Wwn>,
    /// Our node name. Left out: 10:00 and the interface's MAC address.
    #[serde(default, deserialize_with = "values::wwn")]
    pub wwnn: Option<Wwn>,
    /// The switch name of the FCF to log in to if it is there, whatever the priorities say.
    #[serde(default, deserialize_with = "values::wwn")]
    pub preferred_fcf: Option<Wwn>,
    /// What the poll core does when nothing comes.
    #[serde(default)]
    pub poll: Polling,
    /// The CPU that the poll core is pinned to. Left out: wherever the scheduler puts it.
    #[serde(default)]
    pub core: Option<u16>,
}

impl Config {
    /// Reads a file and checks what no single key shows.
    ///
    /// # Errors
    /// If the file can't be read, or anything in it is wrong.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        load(path, Self::check)
    }

    /// The configuration that consists of one port on `interface` with every default.
    pub fn of_interface(interface: &str, kind: PortKind) -> Self {
        let port = PortConfig {
            interface: Spanned::new(0..0, interface.into()),
            queue: 0,
            kind,
            mode: Mode::default(),
            vlan: FabricVlan::default(),
            wwpn: None,
            wwnn: None,
            preferred_fcf: None,
            poll: Polling::default(),
            core: None,
        };
        Self { port: BTreeMap::from([(interface.into(), port)]) }
    }

    /// What no single key shows: where it is, and what is wrong.
    fn check(&self) -> Result<(), (usize, String)> {
        if self.port.is_empty() {
            let what = "there is no port: add a section [port.NAME] with `interface = \"...\"`";
            return Err((0, what.into()));
        }
        let mut seen: BTreeMap<(&str, u16), &str> = BTreeMap::new();
        let mut by_line: Vec<_> = self.port.iter().collect();
        by_line.sort_by_key(|(_, port)| port.interface.span().start);
        for (name, port) in by_line {
            let at = port.interface.span().start;
            let interface = port.interface.get_ref().as_str();
            if !is_interface_name(interface) {
                return Err((
                    at,
                    format!(
                        "`{interface}` can't be an interface: names have 1 to 15 characters, no spaces, no `/`"
                    ),
                ));
            }
            if let Some(other) = seen.insert((interface, port.queue), name) {
                let queue = port.queue;
                return Err((
                    at,
                    format!(
                        "[port.{name}] has queue {queue} of `{interface}`, which [port.{other}] has already: give it another queue"
                    ),
                ));
            }
        }
        Ok(())
    }
}

/// What the kernel takes as an interface's name (`dev_valid_name`).
fn is_interface_name(name: &str) -> bool {
    const LONGEST: usize = 15;
    let bad = |c: char| c == '/' || c == ':' || c.is_whitespace();
    (1..=LONGEST).contains(&name.len()) && name != "." && name != ".." && !name.contains(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Config, String> {
        parse(Path::new("run.toml"), text, Config::check).map_err(|error| error.to_string())
    }

    #[test]
    fn the_shortest_file_names_an_interface() {
        let config = parsed("[port.a]\ninterface = \"eth0\"").unwrap();
        let port = &config.port["a"];
        assert_eq!((port.interface.get_ref().as_str(), port.queue, port.kind), ("eth0", 0, PortKind::AfXdp));
        assert_eq!((port.mode, port.vlan, port.poll), (Mode::Fabric, FabricVlan::Auto, Polling::Adaptive));
        assert_eq!((port.wwpn, port.wwnn, port.preferred_fcf, port.core), (None, None, None, None));
    }

    #[test]
    fn every_key_is_read() {
        let config = parsed(
            "[port.a]\ninterface = \"eth0\"\nqueue = 3\nkind = \"af_packet\"\nmode = \"fabric\"\nvlan = 100\n\
             wwpn = \"20:00:02:fc:0e:00:00:01\"\nwwnn = \"0x100002fc0e000001\"\n\
             preferred_fcf = \"10:00:02:fc:0e:00:00:02\"\npoll = \"busy\"\ncore = 1\n\
             [port.b]\ninterface = \"eth0\"\nvlan = \"none\"\n",
        )
        .unwrap();
        let port = &config.port["a"];
        assert_eq!((port.queue, port.kind, port.vlan), (3, PortKind::AfPacket, FabricVlan::Id(100)));
        assert_eq!(port.wwpn, Some(Wwn::from_u64(0x2000_02fc_0e00_0001)));
        assert_eq!(port.wwnn, Some(Wwn::from_u64(0x1000_02fc_0e00_0001)));
        assert_eq!(port.preferred_fcf, Some(Wwn::from_u64(0x1000_02fc_0e00_0002)));
        assert_eq!((port.poll, port.core), (Polling::Busy, Some(1)));
        assert_eq!(config.port["b"].vlan, FabricVlan::Untagged);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line_and_what_would_be_right() {
        let keys = "interface, queue, kind, mode, vlan, wwpn, wwnn, preferred_fcf, poll, core";
        let cases = [
            ("", "run.toml: there is no port: add a section [port.NAME] with `interface = \"...\"`".into()),
            ("[ports.a]", "run.toml:1: unknown key `ports`, did you mean `port`? Keys here: port".into()),
            (
                "[port.a]\ninterface = \"eth0\"\n\nqeue = 1",
                format!("run.toml:4: unknown key `qeue`, did you mean `queue`? Keys here: {keys}"),
            ),
            (
                "[port.a]\ninterface = \"eth0\"\nspeed = 10",
                format!("run.toml:3: unknown key `speed`. Keys here: {keys}"),
            ),
            ("[port.a]\nqueue = 1", "run.toml:1: the key `interface` is missing here".into()),
            (
                "[port.a]\ninterface = \"eth0\"\npoll = \"buzy\"",
                "run.toml:3: unknown value `buzy`, did you mean `busy`? Values here: adaptive, busy".into(),
            ),
            (
                "[port.a]\ninterface = \"eth0\"\nmode = \"vn2vn\"",
                "run.toml:3: unknown value `vn2vn`. Values here: fabric".into(),
            ),
            (
                "[port.a]\ninterface = \"eth0\"\nqueue = -1",
                "run.toml:3: expected a whole number from 0 to 65535, found integer `-1`".into(),
            ),
            (
                "[port.a]\ninterface = eth0",
                "run.toml:2: string values must be quoted, expected literal string".into(),
            ),
            (
                "[port.a]\ninterface = 0",
                "run.toml:2: expected a text in quotes, found integer `0`".into(),
            ),
            (
                "[port.a]\ninterface = \"eth0\"\nvlan = 4095",
                "run.toml:3: expected \"auto\", \"none\" or a VLAN number from 1 to 4094, found integer `4095`".into(),
            ),
            (
                "[port.a]\ninterface = \"eth0\"\nvlan = \"any\"",
                "run.toml:3: expected \"auto\", \"none\" or a VLAN number from 1 to 4094, found string \"any\"".into(),
            ),
            (
                "[port.a]\ninterface = \"eth0\"\nwwpn = \"20:00\"",
                "run.toml:3: expected eight hex bytes such as \"20:00:02:fc:f0:00:00:01\", found string \"20:00\""
                    .into(),
            ),
            (
                "[port.a]\ninterface = \"far too long a name\"",
                "run.toml:2: `far too long a name` can't be an interface: names have 1 to 15 characters, no spaces, \
                 no `/`"
                    .into(),
            ),
            (
                "[port.b]\ninterface = \"eth0\"\n[port.a]\ninterface = \"eth0\"",
                "run.toml:4: [port.a] has queue 0 of `eth0`, which [port.b] has already: give it another queue".into(),
            ),
        ];
        for (text, said) in cases {
            assert_eq!(parsed(text).unwrap_err(), said, "{text}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = Config::load(Path::new("/nowhere/run.toml")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot read /nowhere/run.toml: No such file or directory (os error 2)"
        );
    }

    #[test]
    fn the_example_is_right() {
        let config =
            Config::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/run.toml")).unwrap();
        assert_eq!(config.port.len(), 1);
    }
}
