//! What is handed out, and where: `[[export]]` and `[control]`.

use super::there_are;
use crate::cli::{Amount, LunName};
use crate::sockets::Access;
use export::ublk::{self, UblkError};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeSet;
use std::fmt::{self, Display};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use toml::Spanned;

/// Where `xfcoe run` takes orders if the file and the command line say nothing else.
pub const DEFAULT_CONTROL: &str = "/run/xfcoe/control.sock";

/// Bytes of the longest name of an export.
const MAX_NAME_LEN: usize = 255;

/// Bytes of the longest path of a unix socket (`sun_path`, with its zero).
const MAX_SOCKET_PATH_LEN: usize = 107;

/// `[control]`: where `xfcoe run` takes orders.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ControlConfig {
    /// The socket.
    #[serde(default = "default_control")]
    pub path: PathBuf,
    /// The user to whom it belongs. Left out: ours.
    #[serde(default)]
    pub owner: Option<String>,
    /// A group that may use it, too. Left out: none.
    #[serde(default)]
    pub group: Option<String>,
}

fn default_control() -> PathBuf {
    DEFAULT_CONTROL.into()
}

impl ControlConfig {
    /// Who may give orders.
    pub fn access(&self) -> Access {
        Access { owner: self.owner.clone(), group: self.group.clone() }
    }
}

/// `[[export]]`: a LUN, or a part of it, that is handed out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportConfig {
    /// What clients call it.
    pub name: String,
    /// The LUN.
    #[serde(deserialize_with = "by_word", serialize_with = "as_word")]
    pub lun: LunName,
    /// The identity that sees the LUN. Left out: the ports' own VN_Ports.
    #[serde(default)]
    pub identity: Option<String>,
    /// Where it begins on the LUN.
    #[serde(default = "no_bytes")]
    pub offset: Amount,
    /// How long it is. Left out: up to the LUN's end.
    #[serde(default)]
    pub length: Option<Amount>,
    /// Whether writes are refused.
    #[serde(default)]
    pub read_only: bool,
    /// Where NBD clients connect. This, or `vhost_user`, or `ublk`.
    #[serde(default)]
    pub nbd: Option<Address>,
    /// The socket of a vhost-user-blk device.
    #[serde(default)]
    pub vhost_user: Option<PathBuf>,
    /// The number of a block device of this machine.
    #[serde(default)]
    pub ublk: Option<u32>,
    /// Whether vhost-user front ends may have memory of a kind that they could end us with.
    #[serde(default)]
    pub any_memory: bool,
    /// The user to whom the socket belongs. Left out: ours.
    #[serde(default)]
    pub owner: Option<String>,
    /// A group that may use it, too. Left out: none.
    #[serde(default)]
    pub group: Option<String>,
}

fn no_bytes() -> Amount {
    Amount::Bytes(0)
}

/// Where clients connect.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Address {
    /// `unix:PATH`
    Unix(PathBuf),
    /// `tcp:ADDRESS:PORT`
    Tcp(SocketAddr),
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return if (1..=MAX_SOCKET_PATH_LEN).contains(&path.len()) {
                Ok(Self::Unix(path.into()))
            } else {
                Err(long_path(path.len()))
            };
        }
        let address: Option<SocketAddr> = text.strip_prefix("tcp:").and_then(|address| address.parse().ok());
        match address {
            Some(address) if address.ip().is_loopback() => Ok(Self::Tcp(address)),
            Some(address) => Err(format!(
                "{address} is not a loopback address: there is no TLS, so that anyone on the way could read and change the disk; use 127.0.0.1 and a tunnel, such as ssh -L"
            )),
            None => Err(format!(
                "`{text}` is no address: expected such as \"unix:/run/xfcoe/disk.sock\" or \"tcp:127.0.0.1:10809\""
            )),
        }
    }
}

fn long_path(len: usize) -> String {
    format!("a unix socket's path has 1 to {MAX_SOCKET_PATH_LEN} bytes, not {len}")
}

impl Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp:{address}"),
        }
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        by_word(deserializer)
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        as_word(self, serializer)
    }
}

/// How and where an export is had.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Outlet {
    /// By NBD, which several exports may be at one address.
    Nbd(Address),
    /// As a vhost-user-blk device, at a socket of its own.
    VhostUser(PathBuf),
    /// As the block device of this number.
    Ublk(u32),
}

impl Outlet {
    /// The unix socket, if it is one.
    fn socket(&self) -> Option<&Path> {
        match self {
            Self::Nbd(Address::Unix(path)) | Self::VhostUser(path) => Some(path),
            Self::Nbd(Address::Tcp(_)) | Self::Ublk(_) => None,
        }
    }
}

impl Display for Outlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nbd(address) => address.fmt(f),
            Self::VhostUser(path) => write!(f, "vhost-user:{}", path.display()),
            Self::Ublk(number) => f.write_str(&ublk::path(*number)),
        }
    }
}

impl ExportConfig {
    /// How and where it is had.
    ///
    /// # Errors
    /// If it isn't one outlet.
    pub fn outlet(&self) -> Result<Outlet, String> {
        match (&self.nbd, &self.vhost_user, self.ublk) {
            (Some(address), None, None) => Ok(Outlet::Nbd(address.clone())),
            (None, Some(path), None) if (1..=MAX_SOCKET_PATH_LEN).contains(&path.as_os_str().len()) => {
                Ok(Outlet::VhostUser(path.clone()))
            }
            (None, Some(path), None) => Err(long_path(path.as_os_str().len())),
            (None, None, Some(number)) => Ok(Outlet::Ublk(number)),
            _ => Err(format!(
                "export `{}` is to have one of `nbd`, `vhost_user` and `ublk`: where it is had",
                self.name
            )),
        }
    }

    /// Who may connect.
    pub fn access(&self) -> Access {
        Access { owner: self.owner.clone(), group: self.group.clone() }
    }

    /// What is wrong with it, as far as it shows without the LUN.
    ///
    /// # Errors
    /// That.
    pub fn check(&self) -> Result<(), String> {
        let name = &self.name;
        if name.is_empty() || name.len() > MAX_NAME_LEN || name.contains(char::is_control) {
            return Err(format!("an export's name has 1 to {MAX_NAME_LEN} bytes and no control characters"));
        }
        if self.length.is_some_and(|length| matches!(length, Amount::Bytes(0) | Amount::Blocks(0))) {
            return Err(format!("export `{name}` has a length of 0: leave it out for all that the LUN has"));
        }
        match self.outlet()? {
            Outlet::Nbd(_) | Outlet::Ublk(_) if self.any_memory => {
                Err(format!("export `{name}`: any_memory is for vhost_user, and means nothing for others"))
            }
            Outlet::Ublk(_) if !ublk::IS_BUILT => Err(format!("export `{name}`: {}", UblkError::NotBuilt)),
            Outlet::Ublk(number) if number >= ublk::MAX_DEVICES => {
                Err(format!("export `{name}`: ublk devices have numbers below {}", ublk::MAX_DEVICES))
            }
            Outlet::Ublk(_) if self.owner.is_some() || self.group.is_some() => Err(format!(
                "export `{name}`: owner and group are for sockets; who may open a block device is for udev to say"
            )),
            _ => Ok(()),
        }
    }

    /// Fails if it is of an identity that is none of these.
    ///
    /// # Errors
    /// That.
    pub fn check_identity<'a>(&self, names: impl Iterator<Item = &'a str>) -> Result<(), String> {
        let Some(identity) = &self.identity else { return Ok(()) };
        let names: BTreeSet<_> = names.collect();
        if names.contains(identity.as_str()) {
            return Ok(());
        }
        let there = there_are(names);
        Err(format!("export `{}` is of identity `{identity}`, which there is not; {there}", self.name))
    }

    /// What keeps it from being there beside another one, as far as it shows without the LUN.
    ///
    /// # Errors
    /// That.
    pub fn check_beside(&self, other: &Self) -> Result<(), String> {
        let name = &self.name;
        if *name == other.name {
            return Err(format!("there is an export `{name}` already: names are unique"));
        }
        let (outlet, others) = (self.outlet()?, other.outlet()?);
        if matches!(outlet, Outlet::Nbd(_)) && outlet == others {
            if self.access() != other.access() {
                return Err(format!(
                    "export `{name}` shares {outlet} with `{}`, but belongs to other users: make owner and group the same",
                    other.name
                ));
            }
        } else if outlet == others && matches!(outlet, Outlet::Ublk(_)) {
            return Err(format!("exports `{name}` and `{}` can't both be {outlet}", other.name));
        } else if let Some(socket) = outlet.socket()
            && others.socket() == Some(socket)
        {
            return Err(format!(
                "exports `{name}` and `{}` can't both be at {}: a vhost-user-blk device has a socket of its own",
                other.name,
                socket.display()
            ));
        }
        // What identities see at a place may differ.
        let is_one_place = self.identity == other.identity || matches!(self.lun, LunName::Identifier(_));
        let is_same_lun = is_one_place && self.lun.is_same(&other.lun);
        if !self.read_only && !other.read_only && is_same_lun && self.overlaps(other) {
            return Err(format!(
                "exports `{name}` and `{}` overlap on LUN {}, and both may be written: make one of them read_only, or their ranges apart",
                other.name, self.lun
            ));
        }
        Ok(())
    }

    /// Whether both have a byte in common, if they are of the same LUN. Bytes and blocks can't be held against each
    /// other before the LUN is there.
    fn overlaps(&self, other: &Self) -> bool {
        let range = |config: &Self, number: fn(Amount) -> Option<u64>| {
            let start = number(config.offset)?;
            let end = match config.length {
                Some(length) => start.saturating_add(number(length)?),
                None => u64::MAX,
            };
            Some(start..end)
        };
        let in_unit = |number| {
            let (one, other) = (range(self, number)?, range(other, number)?);
            Some(one.start < other.end && other.start < one.end)
        };
        let bytes = |amount| match amount {
            Amount::Bytes(bytes) => Some(bytes),
            Amount::Blocks(blocks) => (blocks == 0).then_some(0),
        };
        let blocks = |amount| match amount {
            Amount::Blocks(blocks) => Some(blocks),
            Amount::Bytes(bytes) => (bytes == 0).then_some(0),
        };
        in_unit(bytes).or_else(|| in_unit(blocks)).unwrap_or(false)
    }
}

/// Checks all exports of a file, and gives the offset of what is wrong with the words for it.
pub(super) fn check(exports: &[Spanned<ExportConfig>]) -> Result<(), (usize, String)> {
    for (index, export) in exports.iter().enumerate() {
        let at = export.span().start;
        let config = export.get_ref();
        config.check().map_err(|what| (at, what))?;
        exports[..index]
            .iter()
            .try_for_each(|other| config.check_beside(other.get_ref()))
            .map_err(|what| (at, what))?;
    }
    Ok(())
}

/// What is written as a text and read by its own rules.
fn by_word<'de, T: FromStr<Err = String>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

pub(super) fn as_word<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

impl<'de> Deserialize<'de> for Amount {
    /// Bytes as a number, or a text with a unit.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AmountVisitor;

        impl serde::de::Visitor<'_> for AmountVisitor {
            type Value = Amount;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes such as 4096, \"64KiB\" or \"1GiB\", or blocks such as \"8blocks\"")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Amount, E> {
                text.parse().map_err(|_| E::invalid_value(serde::de::Unexpected::Str(text), &self))
            }

            fn visit_u64<E>(self, bytes: u64) -> Result<Amount, E> {
                Ok(Amount::Bytes(bytes))
            }

            fn visit_i64<E: serde::de::Error>(self, bytes: i64) -> Result<Amount, E> {
                let wrong = || E::invalid_value(serde::de::Unexpected::Signed(bytes), &self);
                u64::try_from(bytes).map(Amount::Bytes).map_err(|_| wrong())
            }
        }

        deserializer.deserialize_any(AmountVisitor)
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests;
