//! The configuration file of `run`, `list`, `read` and `write`.
//!
//! A file says only what differs from the defaults; the shortest one names an interface. A key or a value that
//! is wrong is refused with its line and with what would be right: a typing error must not quietly become a
//! default.

mod exports;
mod file;
mod identities;
mod values;

pub use exports::{Address, ControlConfig, DEFAULT_CONTROL, ExportConfig, Outlet};
pub(crate) use file::by_name;
pub use file::{ConfigError, load, parse};
pub use identities::{IdentityConfig, LoginBy};
pub(crate) use values::there_are;
pub use values::{Addressing, Mode, Paths, Polling};

use crate::cli::Place;
use crate::preflight::PortKind;
use fc::fip::{Preferred, VlanChoice};
use fc::wire::Wwn;
use initiator::{DEFAULT_DEV_LOSS, DEFAULT_FAST_IO_FAIL, DEFAULT_RECONNECT_DELAY, Disks, MAX_CORES};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use toml::Spanned;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The ports by the names that the operator gave them: `[port.NAME]`.
    #[serde(default)]
    pub port: BTreeMap<String, PortConfig>,
    /// Which of several equally good paths to a disk takes the next command.
    #[serde(default)]
    pub path_choice: Paths,
    /// Where `run` takes orders: `[control]`. Left out: nowhere.
    #[serde(default)]
    pub control: Option<ControlConfig>,
    /// Who logs in besides the ports' own VN_Ports: `[[identity]]`.
    #[serde(default)]
    pub identity: Vec<Spanned<IdentityConfig>>,
    /// What `run` hands out: `[[export]]`.
    #[serde(default)]
    pub export: Vec<Spanned<ExportConfig>>,
}

/// An interface and what we are on its fabric.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortConfig {
    /// The network interface.
    pub interface: Spanned<String>,
    /// The numbers of its queues.
    #[serde(default = "default_queue", deserialize_with = "values::numbers")]
    pub queue: Vec<u16>,
    /// How it is opened.
    #[serde(default)]
    pub kind: PortKind,
    /// What is at the other end.
    #[serde(default)]
    pub mode: Mode,
    /// The VLAN of the fabric.
    #[serde(default = "default_vlan", deserialize_with = "values::vlan")]
    pub vlan: VlanChoice,
    /// Our port name. Left out: 20:00 and the interface's MAC address.
    #[serde(default, deserialize_with = "values::wwn")]
    pub wwpn: Option<Wwn>,
    /// Our node name. Left out: 10:00 and the interface's MAC address.
    #[serde(default, deserialize_with = "values::wwn")]
    pub wwnn: Option<Wwn>,
    /// Who provides the VN_Ports' MAC addresses.
    #[serde(default)]
    pub addressing: Addressing,
    /// The FCF to log in to if it is there, whatever the priorities say.
    #[serde(default, deserialize_with = "values::preferred_fcf")]
    pub preferred_fcf: Option<Preferred>,
    /// For how many seconds requests wait for a target that is not logged in.
    #[serde(default = "default_fast_io_fail_s")]
    pub fast_io_fail_s: u32,
    /// For how many seconds a target that is gone is remembered.
    #[serde(default = "default_dev_loss_s")]
    pub dev_loss_s: u32,
    /// The most seconds before a login to a target is tried again that failed.
    #[serde(default = "default_reconnect_delay_s")]
    pub reconnect_delay_s: u32,
    /// What the poll core does when nothing comes.
    #[serde(default)]
    pub poll: Polling,
    /// Whether frames are in huge pages, if enough are reserved.
    #[serde(default)]
    pub huge_pages: bool,
    /// Whether the NIC is to bring FCoE and FIP to the first of the queues.
    #[serde(default)]
    pub flow_rules: bool,
    /// The CPUs of its poll cores. Left out: one core, wherever the scheduler puts it.
    #[serde(default, deserialize_with = "values::numbers")]
    pub core: Vec<u16>,
}

impl Config {
    /// Reads a file and checks what no single key shows.
    ///
    /// # Errors
    /// If the file can't be read, or anything in it is wrong.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        load(path, Self::check)
    }

    /// As [`Self::load`]; and `check` looks at each export.
    ///
    /// # Errors
    /// As [`Self::load`], or with what `check` says.
    pub fn load_for_exports(
        path: &Path,
        check: impl Fn(&ExportConfig) -> Result<(), String>,
    ) -> Result<Self, ConfigError> {
        load(path, |config: &Self| {
            config.check()?;
            let check = |export: &Spanned<ExportConfig>| {
                check(export.get_ref()).map_err(|what| (export.span().start, what))
            };
            config.export.iter().try_for_each(check)
        })
    }

    /// The configuration that consists of one port on `interface` with every other default.
    pub fn of_interface(interface: &str, kind: PortKind, mode: Mode) -> Self {
        let port = PortConfig {
            interface: Spanned::new(0..0, interface.into()),
            queue: default_queue(),
            kind,
            mode,
            vlan: default_vlan(),
            wwpn: None,
            wwnn: None,
            addressing: Addressing::default(),
            preferred_fcf: None,
            fast_io_fail_s: default_fast_io_fail_s(),
            dev_loss_s: default_dev_loss_s(),
            reconnect_delay_s: default_reconnect_delay_s(),
            poll: Polling::default(),
            huge_pages: false,
            flow_rules: false,
            core: Vec::new(),
        };
        Self {
            port: BTreeMap::from([(interface.into(), port)]),
            path_choice: Paths::default(),
            control: None,
            identity: Vec::new(),
            export: Vec::new(),
        }
    }

    /// The configuration that the place on the command line stands for.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn of_place(place: &Place) -> Result<Self, ConfigError> {
        match (&place.config, &place.interface) {
            (Some(path), _) => Self::load(path),
            (None, Some(interface)) => Ok(Self::of_interface(interface, place.port, place.mode)),
            (None, None) => unreachable!("the command line asks for one of them"),
        }
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
            if port.mode == Mode::Vn2vn && port.preferred_fcf.is_some() {
                return Err((
                    at,
                    format!(
                        "[port.{name}] has a preferred_fcf, but mode \"vn2vn\" has no FCF: leave one of them out"
                    ),
                ));
            }
            let (queues, cores) = (port.queue.len(), port.core.len().max(1));
            if queues > cores || cores > MAX_CORES {
                return Err((
                    at,
                    format!(
                        "[port.{name}] has {cores} cores for {queues} queues: each queue wants one in `core = [...]`, and \
                         {MAX_CORES} are the most"
                    ),
                ));
            }
            for &queue in &port.queue {
                if let Some(other) = seen.insert((interface, queue), name) {
                    return Err((
                        at,
                        format!(
                            "[port.{name}] has queue {queue} of `{interface}`, which [port.{other}] has already: give it another queue"
                        ),
                    ));
                }
            }
        }
        exports::check(&self.export)?;
        identities::check(self)
    }

    /// The identities that log in by a port.
    pub fn identities_of<'a>(&'a self, port: &'a str) -> impl Iterator<Item = &'a IdentityConfig> {
        let is_there =
            move |identity: &&IdentityConfig| identity.port(&self.port).is_ok_and(|(name, _)| name == port);
        self.identity.iter().map(Spanned::get_ref).filter(is_there)
    }
}

impl PortConfig {
    /// The same for the initiator, which adds its paths to `disks`.
    pub fn to_initiator(&self, disks: Disks) -> initiator::Config {
        initiator::Config {
            disks,
            queues: self.queue.iter().copied().map(u32::from).collect(),
            kind: self.kind.into(),
            cores: match &self.core[..] {
                [] => vec![None],
                cpus => cpus.iter().map(|&cpu| Some(cpu.into())).collect(),
            },
            poll_mode: self.poll.into(),
            huge_pages: self.huge_pages,
            flow_rules: self.flow_rules,
            topology: self.mode.into(),
            vlan: self.vlan,
            addressing: self.addressing.into(),
            preferred_fcf: self.preferred_fcf,
            port_name: self.wwpn,
            node_name: self.wwnn,
            fast_io_fail: Duration::from_secs(self.fast_io_fail_s.into()),
            dev_loss: Duration::from_secs(self.dev_loss_s.into()),
            reconnect_delay: Duration::from_secs(self.reconnect_delay_s.into()),
            ..initiator::Config::new(self.interface.get_ref().clone())
        }
    }
}

fn default_queue() -> Vec<u16> {
    vec![0]
}

fn default_vlan() -> VlanChoice {
    VlanChoice::Discover
}

fn default_fast_io_fail_s() -> u32 {
    seconds(DEFAULT_FAST_IO_FAIL)
}

fn default_dev_loss_s() -> u32 {
    seconds(DEFAULT_DEV_LOSS)
}

fn default_reconnect_delay_s() -> u32 {
    seconds(DEFAULT_RECONNECT_DELAY)
}

fn seconds(time: Duration) -> u32 {
    time.as_secs().try_into().expect("some seconds")
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
    use fc::wire::MacAddr;

    fn parsed(text: &str) -> Result<Config, String> {
        parse(Path::new("run.toml"), text, Config::check).map_err(|error| error.to_string())
    }

    #[test]
    fn the_shortest_file_names_an_interface() {
        let config = parsed("[port.a]\ninterface = \"eth0\"").unwrap();
        let port = &config.port["a"];
        assert_eq!(
            (port.interface.get_ref().as_str(), &port.queue[..], port.kind),
            ("eth0", &[0][..], PortKind::AfXdp)
        );
        assert_eq!(
            (port.mode, port.vlan, port.poll),
            (Mode::Fabric, VlanChoice::Discover, Polling::Adaptive)
        );
        assert_eq!((port.wwpn, port.wwnn, port.preferred_fcf, port.core.len()), (None, None, None, 0));
        assert_eq!((port.fast_io_fail_s, port.dev_loss_s, port.reconnect_delay_s), (25, 600, 30));
    }

    #[test]
    fn every_key_is_read() {
        let config = parsed(
            "[port.a]\ninterface = \"eth0\"\nqueue = 3\nkind = \"af_packet\"\nmode = \"fabric\"\nvlan = 100\n\
             wwpn = \"20:00:02:fc:f0:00:02:01\"\nwwnn = \"0x100002fcf0000201\"\n\
             preferred_fcf = \"10:00:02:fc:f0:00:00:01\"\nfast_io_fail_s = 7\n\
             dev_loss_s = 8\nreconnect_delay_s = 9\npoll = \"busy\"\ncore = 1\n\
             [port.b]\ninterface = \"eth0\"\nvlan = \"none\"\n\
             preferred_fcf = \"02:fc:f0:00:00:01\"\n\
             [port.c]\ninterface = \"eth1\"\nmode = \"vn2vn\"\nqueue = [0, 4]\ncore = [2, 3, 5]\n",
        )
        .unwrap();
        let port = &config.port["a"];
        assert_eq!(
            (&port.queue[..], port.kind, port.vlan),
            (&[3][..], PortKind::AfPacket, VlanChoice::Fixed(100))
        );
        assert_eq!(port.wwpn, Some(Wwn::from_u64(0x2000_02fc_f000_0201)));
        assert_eq!(port.wwnn, Some(Wwn::from_u64(0x1000_02fc_f000_0201)));
        assert_eq!(port.preferred_fcf, Some(Preferred::Switch(Wwn::from_u64(0x1000_02fc_f000_0001))));
        assert_eq!((port.poll, &port.core[..], port.fast_io_fail_s), (Polling::Busy, &[1][..], 7));
        assert_eq!((&config.port["c"].queue[..], &config.port["c"].core[..]), (&[0, 4][..], &[2, 3, 5][..]));
        assert_eq!((port.dev_loss_s, port.reconnect_delay_s), (8, 9));
        assert_eq!(config.port["b"].vlan, VlanChoice::Untagged);
        let fcf = MacAddr([0x02, 0xfc, 0xf0, 0, 0, 0x01]);
        assert_eq!(config.port["b"].preferred_fcf, Some(Preferred::Mac(fcf)));
        assert_eq!((config.port["b"].mode, config.port["c"].mode), (Mode::Fabric, Mode::Vn2vn));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line_and_what_would_be_right() {
        let keys = "interface, queue, kind, mode, vlan, wwpn, wwnn, addressing, preferred_fcf, fast_io_fail_s, \
             dev_loss_s, reconnect_delay_s, poll, huge_pages, flow_rules, core";
        let cases = [
            ("", "run.toml: there is no port: add a section [port.NAME] with `interface = \"...\"`".into()),
            ("[ports.a]", "run.toml:1: unknown key `ports`, did you mean `port`? Keys here: port, path_choice, control, identity, export".into()),
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
                "run.toml:3: unknown value `buzy`, did you mean `busy`? Values here: adaptive, busy, drive".into(),
            ),
            (
                "[port.a]\ninterface = \"eth0\"\nmode = \"vn2n\"",
                "run.toml:3: unknown value `vn2n`, did you mean `vn2vn`? Values here: fabric, vn2vn".into(),
            ),
            (
                "[port.a]\ninterface = \"eth0\"\nmode = \"vn2vn\"\npreferred_fcf = \"02:fc:f0:00:00:01\"",
                "run.toml:2: [port.a] has a preferred_fcf, but mode \"vn2vn\" has no FCF: leave one of them out".into(),
            ),
            (
                "[port.a]\ninterface = \"eth0\"\nqueue = -1",
                "run.toml:3: expected a whole number from 0 to 65535, or several such as [0, 1], found integer `-1`".into(),
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
                "run.toml:3: expected eight hex bytes such as \"20:00:02:fc:f0:00:02:01\", found string \"20:00\""
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
    fn queues_and_cores_must_fit() {
        let said = |keys: &str| parsed(&format!("[port.a]\ninterface = \"eth0\"\n{keys}")).unwrap_err();
        assert_eq!(said("core = [1, 1]"), "run.toml:3: 1 is there twice");
        let few = "run.toml:2: [port.a] has 1 cores for 2 queues: each queue wants one in `core = [...]`, and 7 are the most";
        assert_eq!(said("queue = [0, 1]"), few);
        assert!(said("core = [0, 1, 2, 3, 4, 5, 6, 7]").contains("has 8 cores for 1 queues"));
        assert!(said("queue = []").contains("or several such as [0, 1]"), "{}", said("queue = []"));
        let twice = "queue = [0, 3]\ncore = [1, 2]\n[port.b]\ninterface = \"eth0\"\nqueue = 3";
        assert!(said(twice).contains("[port.b] has queue 3 of `eth0`, which [port.a] has already"));
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
        assert_eq!((config.port.len(), config.export.len()), (1, 0));
        assert_eq!(config.control.unwrap().path, Path::new(DEFAULT_CONTROL));
    }

    #[test]
    fn the_example_is_right_with_identities_and_exports() {
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/run.toml");
        let text = std::fs::read_to_string(&example).unwrap();
        let (before, rest) = text.split_once("#[[identity]]").unwrap();
        // What is commented out has no blank in front of it.
        let is_key = |rest: &&str| !rest.starts_with(' ');
        let keys: Vec<_> =
            rest.lines().map(|line| line.strip_prefix('#').filter(is_key).unwrap_or(line)).collect();
        let mut text = format!("{before}[[identity]]{}", keys.join("\n"));
        if !export::ublk::IS_BUILT {
            let ublk = text.rfind("[[export]]").unwrap();
            assert!(text.split_off(ublk).contains("ublk = 0"));
        }
        let config: Config = parse(&example, &text, Config::check).unwrap();
        assert_eq!(config.export[0].get_ref().group.as_deref(), Some("kvm"));
        assert_eq!(config.identity[0].get_ref().name, "vm1");
        assert!(config.export[1].get_ref().vhost_user.is_some());
    }
}
