//! The command line.

mod identity;

use crate::config::{Address, DEFAULT_CONTROL, Mode};
use crate::fault::Fault;
use crate::preflight::PortKind;
use clap::{ArgAction, Args, Parser, Subcommand};
use fc::wire::Wwn;
use fc::wire::fcp::Lun;
pub use identity::{IdentityAdd, IdentityArgs, IdentityOrder};
use initiator::DiskInfo;
use std::convert::Infallible;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Disks on a Fibre Channel SAN over Ethernet, in user space.
#[derive(Debug, Parser)]
#[command(name = "xfcoe", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Print one JSON object instead of text
    #[arg(long, global = true)]
    pub json: bool,
    /// Log to stderr; twice for more, three times for all
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Log in to a SAN in a box over a veth pair, check a LUN end to end and measure it
    Demo(Demo),
    /// Log in and stay, and hand disks out, until interrupted
    Run(Run),
    /// Show how a daemon (`run`) stands: what its ports see, exports, counters
    Status(ControlAt),
    /// Let a daemon read its file again, and say what has changed
    Reload(ControlAt),
    /// Show and change what a daemon hands out
    Export(Export),
    /// Show and change as whom a daemon logs in besides its ports' own VN_Ports
    Identity(IdentityArgs),
    /// Be a SAN on an interface: fabric, name server and RAM disks
    San(San),
    /// Let things go wrong in a SAN that runs
    Fault(Fault),
    /// Log in and show FCFs, VN_Ports, targets and LUNs
    List(List),
    /// Copy from a LUN to a file
    Read(Transfer),
    /// Copy from a file to a LUN
    Write(Transfer),
}

/// `xfcoe demo`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Demo {
    /// Another demo.
    #[command(subcommand)]
    pub scene: Option<Scene>,
    /// Size of the LUN, all of which is written and read back
    #[arg(long, value_name = "MiB", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub size: u32,
    /// How long each measurement takes
    #[arg(long, value_name = "S", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub seconds: u32,
    /// Record the initiator's frames to this pcapng file
    #[arg(long, value_name = "FILE")]
    pub capture: Option<PathBuf>,
    /// How the ports are opened
    #[arg(long, value_enum, default_value_t)]
    pub port: PortKind,
}

/// Other demos than the usual one.
#[derive(Debug, Subcommand)]
pub enum Scene {
    /// Two hosts with one MAC address behind one switch, with MAC addresses of their VN_Ports of either kind
    DuplicateMac(DuplicateMac),
}

/// `xfcoe demo duplicate-mac`
#[derive(Debug, Args)]
pub struct DuplicateMac {
    /// How long each measurement takes
    #[arg(long, value_name = "S", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub seconds: u32,
    /// How the ports are opened
    #[arg(long, value_enum, default_value_t)]
    pub port: PortKind,
}

/// `xfcoe run`
#[derive(Debug, Args)]
pub struct Run {
    /// Configuration file
    #[arg(short, long, value_name = "FILE")]
    pub config: PathBuf,
}

/// Which daemon.
#[derive(Debug, Args)]
pub struct ControlAt {
    /// Where it takes orders: `path` in the control section of its file
    #[arg(long, value_name = "PATH", global = true, default_value = DEFAULT_CONTROL)]
    pub control: PathBuf,
}

/// `xfcoe export`
#[derive(Debug, Args)]
pub struct Export {
    /// Which daemon.
    #[command(flatten)]
    pub at: ControlAt,
    /// What to do.
    #[command(subcommand)]
    pub what: ExportOrder,
}

/// What to do with the exports of a daemon.
#[derive(Debug, Subcommand)]
pub enum ExportOrder {
    /// Hand a LUN out, until the daemon stops or reads its file again
    Add(Box<ExportAdd>),
    /// End an export, and its clients' connections
    Remove {
        /// Its name
        name: String,
    },
    /// Show the exports
    List,
}

/// `xfcoe export add`
#[derive(Debug, Args)]
pub struct ExportAdd {
    /// What clients call it
    pub name: String,
    /// The LUN: TARGET/NUMBER, such as 20:00:02:fc:f0:00:01:01/0, or its VPD 83 identifier as `status` shows it
    #[arg(long)]
    pub lun: LunName,
    /// The identity that sees the LUN; default: the ports' own VN_Ports
    #[arg(long, value_name = "NAME")]
    pub identity: Option<String>,
    /// Where NBD clients connect: unix:/run/xfcoe/disk.sock, or tcp:127.0.0.1:10809
    #[arg(long, value_name = "ADDRESS", required_unless_present_any = ["vhost_user", "ublk"])]
    pub nbd: Option<Address>,
    /// The socket of a vhost-user-blk device: /run/xfcoe/vm1-blk.sock
    #[arg(long, value_name = "PATH", conflicts_with = "nbd")]
    pub vhost_user: Option<PathBuf>,
    /// The number of a block device of this machine: 0 for /dev/ublkb0
    #[arg(long, value_name = "NUMBER", conflicts_with_all = ["nbd", "vhost_user"])]
    pub ublk: Option<u32>,
    /// vhost-user: take memory that can be cut short, by which front ends could end the daemon
    #[arg(long, requires = "vhost_user")]
    pub any_memory: bool,
    /// Where it begins on the LUN: 4096, 64KiB, 1GiB, 8blocks
    #[arg(long, value_name = "AMOUNT", default_value = "0")]
    pub offset: Amount,
    /// How long it is; default: up to the LUN's end
    #[arg(long, value_name = "AMOUNT")]
    pub length: Option<Amount>,
    /// Refuse writes
    #[arg(long)]
    pub read_only: bool,
    /// The user to whom the socket belongs; default: the daemon's
    #[arg(long)]
    pub owner: Option<String>,
    /// A group that may use it, too
    #[arg(long)]
    pub group: Option<String>,
}

/// `xfcoe san`
#[derive(Debug, Args)]
pub struct San {
    /// Network interface
    #[arg(short, long, value_name = "IF")]
    pub interface: String,
    /// Configuration file; default: one target with one RAM disk of 256 MiB
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// How the interface is opened
    #[arg(long, value_enum, default_value_t)]
    pub port: PortKind,
    /// Take orders for `xfcoe fault` at this unix socket
    #[arg(long, value_name = "PATH")]
    pub control: Option<PathBuf>,
}

/// `xfcoe list`
#[derive(Debug, Args)]
pub struct List {
    /// Where the fabric is.
    #[command(flatten)]
    pub place: Place,
    /// How long to wait for the first disk
    #[arg(long, value_name = "S", default_value_t = 15)]
    pub timeout: u32,
}

/// `xfcoe read` and `xfcoe write`
#[derive(Debug, Args)]
pub struct Transfer {
    /// The LUN: TARGET/NUMBER, such as 20:00:02:fc:f0:00:01:01/0, or its VPD 83 identifier as `list` shows it
    pub lun: LunName,
    /// The file, or - for standard input and output
    pub file: Stream,
    /// The identity of the configuration file that sees the LUN; default: the ports' own VN_Ports
    #[arg(long, value_name = "NAME", conflicts_with = "interface")]
    pub identity: Option<String>,
    /// Where to begin on the LUN: 4096, 64KiB, 1GiB, 8blocks
    #[arg(long, value_name = "AMOUNT", default_value = "0")]
    pub offset: Amount,
    /// How much to copy; default: all, up to the end of the LUN or of the file
    #[arg(long, value_name = "AMOUNT")]
    pub length: Option<Amount>,
    /// Where the fabric is.
    #[command(flatten)]
    pub place: Place,
    /// How long to wait for the disk
    #[arg(long, value_name = "S", default_value_t = 15)]
    pub timeout: u32,
}

/// Where to work: a configuration file, or an interface with every other default.
#[derive(Debug, Args)]
pub struct Place {
    /// Configuration file
    #[arg(short, long, value_name = "FILE", required_unless_present = "interface")]
    pub config: Option<PathBuf>,
    /// Network interface, with the defaults of a configuration file
    #[arg(short, long, value_name = "IF", conflicts_with = "config")]
    pub interface: Option<String>,
    /// How the interface is opened
    #[arg(long, value_enum, default_value_t, conflicts_with = "config")]
    pub port: PortKind,
    /// What is at the other end of the cable
    #[arg(long, value_enum, default_value_t, conflicts_with = "config")]
    pub mode: Mode,
}

/// How the operator names a LUN.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LunName {
    /// By the target port and the number there.
    Path {
        /// The target port.
        target: Wwn,
        /// The logical unit number there.
        lun: Lun,
    },
    /// By its designator in VPD page 83, whatever path leads to it (SPC-4, 7.8.6).
    Identifier(String),
}

impl FromStr for LunName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((target, lun)) = text.split_once('/') else {
            return Ok(Self::Identifier(text.into()));
        };
        let target =
            target.parse().map_err(|error| format!("`{target}` is no target's port name: {error}"))?;
        let lun = lun
            .parse()
            .ok()
            .and_then(Lun::single)
            .ok_or_else(|| format!("`{lun}` is no LUN: expected a number from 0 to 16383"))?;
        Ok(Self::Path { target, lun })
    }
}

impl LunName {
    /// Whether a disk with these paths is meant.
    pub fn means(&self, disk: &DiskInfo, paths: &[initiator::Path]) -> bool {
        match self {
            Self::Path { target, lun } => {
                paths.iter().any(|path| path.target == *target && path.id.lun == *lun)
            }
            Self::Identifier(_) => {
                disk.id.as_ref().is_some_and(|id| self.is_same(&Self::Identifier(id.clone())))
            }
        }
    }

    /// Whether both are the same name. Hexadecimal digits may be in either case, and T10's identifiers are padded
    /// with spaces that nobody types.
    pub fn is_same(&self, other: &Self) -> bool {
        let words =
            |id: &str| id.to_ascii_lowercase().split_whitespace().map(String::from).collect::<Vec<_>>();
        match (self, other) {
            (Self::Identifier(one), Self::Identifier(other)) => words(one) == words(other),
            (one, other) => one == other,
        }
    }
}

impl fmt::Display for LunName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path { target, lun } => write!(f, "{target}/{lun}"),
            Self::Identifier(identifier) => f.write_str(identifier),
        }
    }
}

/// Where data comes from or goes to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stream {
    /// `-`
    Standard,
    /// Any other name.
    File(PathBuf),
}

impl FromStr for Stream {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(if text == "-" { Self::Standard } else { Self::File(text.into()) })
    }
}

/// An amount of data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Amount {
    /// In bytes.
    Bytes(u64),
    /// In the LUN's logical blocks.
    Blocks(u64),
}

impl Amount {
    /// In bytes, on a LUN with blocks of this length; `None` if that is more than 64 bits hold.
    pub fn to_bytes(self, block_len: u32) -> Option<u64> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Blocks(blocks) => blocks.checked_mul(block_len.into()),
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => bytes.fmt(f),
            Self::Blocks(blocks) => write!(f, "{blocks}blocks"),
        }
    }
}

impl FromStr for Amount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "expected bytes such as 4096, 64KiB or 1GiB, or blocks such as 8blocks".to_string();
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let shift = match unit {
            "block" | "blocks" => return Ok(Self::Blocks(number)),
            "" | "B" => 0,
            "k" | "K" | "KiB" => 10,
            "m" | "M" | "MiB" => 20,
            "g" | "G" | "GiB" => 30,
            "t" | "T" | "TiB" => 40,
            _ => return Err(wrong()),
        };
        number.checked_mul(1 << shift).map(Self::Bytes).ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_demo_has_defaults() {
        let cli = parse("xfcoe demo --json -vv").unwrap();
        assert!(cli.json);
        assert_eq!(cli.verbose, 2);
        let Command::Demo(demo) = cli.command else { panic!("{cli:?}") };
        assert_eq!((demo.size, demo.seconds, demo.capture, demo.port), (256, 2, None, PortKind::AfXdp));
    }

    #[test]
    fn a_lun_is_named_by_path_or_identifier() {
        let line = "xfcoe read 20:00:02:fc:f0:00:01:01/300 - -i eth0 --port af_packet --offset 8blocks --length 1MiB";
        let Command::Read(read) = parse(line).unwrap().command else { panic!("not read") };
        let target = Wwn::from_u64(0x2000_02fc_f000_0101);
        assert_eq!(read.lun, LunName::Path { target, lun: Lun::single(300).unwrap() });
        assert_eq!(read.file, Stream::Standard);
        assert_eq!((read.offset, read.length), (Amount::Blocks(8), Some(Amount::Bytes(1 << 20))));
        assert_eq!((read.place.interface.as_deref(), read.place.port), (Some("eth0"), PortKind::AfPacket));

        let Command::Write(write) = parse("xfcoe write naa.6001405 disk.img -c run.toml").unwrap().command
        else {
            panic!("not write")
        };
        assert_eq!(write.lun, LunName::Identifier("naa.6001405".into()));
        assert_eq!(write.file, Stream::File("disk.img".into()));
    }

    #[test]
    fn identifiers_are_compared_as_they_are_typed() {
        let is_same =
            |one: &str, other: &str| one.parse::<LunName>().unwrap().is_same(&other.parse().unwrap());
        assert!(is_same("naa.600140ab", "NAA.600140AB"));
        assert!(is_same("t10.XFCOE   SAN IN A BOX    01", "t10.XFCOE SAN IN A BOX 01"));
        assert!(!is_same("naa.600140ab", "naa.600140ac"));
        assert!(is_same("20:00:02:fc:f0:00:01:01/1", "20:00:02:FC:F0:00:01:01/1"));
        assert!(!is_same("20:00:02:fc:f0:00:01:01/1", "20:00:02:fc:f0:00:01:01/2"));
    }

    #[test]
    fn amounts_have_units() {
        assert_eq!("0".parse(), Ok(Amount::Bytes(0)));
        assert_eq!("64K".parse(), Ok(Amount::Bytes(65536)));
        assert_eq!("4k".parse(), Ok(Amount::Bytes(4096)), "as fio has it");
        assert_eq!("1block".parse(), Ok(Amount::Blocks(1)));
        assert_eq!(Amount::Blocks(3).to_bytes(512), Some(1536));
        assert_eq!(Amount::Blocks(u64::MAX).to_bytes(512), None);
        for wrong in ["", "K", "-1", "1.5M", "1KB", "99999999999999999999", "20000000T"] {
            assert!(wrong.parse::<Amount>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn wrong_usage_is_refused_with_what_would_be_right() {
        let cases = [
            ("xfcoe", ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand, "Usage: xfcoe"),
            ("xfcoe lst", ErrorKind::InvalidSubcommand, "a similar subcommand exists: 'list'"),
            ("xfcoe list", ErrorKind::MissingRequiredArgument, "--config <FILE>"),
            ("xfcoe list -c run.toml -i eth0", ErrorKind::ArgumentConflict, "cannot be used with"),
            ("xfcoe demo --size 0", ErrorKind::ValueValidation, "0 is not in 1..=65536"),
            ("xfcoe demo --port dpdk", ErrorKind::InvalidValue, "[possible values: af_xdp, af_packet]"),
            (
                "xfcoe read 20:00/0 - -i eth0",
                ErrorKind::ValueValidation,
                "`20:00` is no target's port name: expected eight hex bytes such as 20:00:02:fc:f0:00:00:01",
            ),
            (
                "xfcoe read 20:00:02:fc:f0:00:01:01/16384 - -i eth0",
                ErrorKind::ValueValidation,
                "`16384` is no LUN: expected a number from 0 to 16383",
            ),
            (
                "xfcoe read naa.6 - -i eth0 --offset 1KB",
                ErrorKind::ValueValidation,
                "expected bytes such as 4096, 64KiB or 1GiB, or blocks such as 8blocks",
            ),
        ];
        for (line, kind, said) in cases {
            let error = parse(line).unwrap_err();
            assert_eq!(error.kind(), kind, "{line}");
            assert_eq!(error.exit_code(), 2, "{line}");
            let text = error.to_string();
            assert!(text.contains(said), "{line}: {text}");
        }
    }
}
