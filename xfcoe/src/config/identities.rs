//! Who logs in besides the interfaces' own VN_Ports: `[[identity]]`.

use super::exports::as_word;
use super::values::{self, Addressing};
use super::{Config, Mode, PortConfig};
use fc::wire::{MacAddr, Wwn};
use initiator::{Identity, Login};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt::Display;

/// Bytes of the longest name of an identity.
const MAX_NAME_LEN: usize = 64;

/// `[[identity]]`: a VN_Port besides a port's own, such as a virtual machine's.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityConfig {
    /// What the operator calls it. Those of the same name on several ports are one, with several paths.
    pub name: String,
    /// The port that it logs in by. Left out: the only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// Its port name.
    #[serde(deserialize_with = "required_wwn", serialize_with = "as_word")]
    pub wwpn: Wwn,
    /// Its node name. Left out: the port's.
    #[serde(
        default,
        deserialize_with = "values::wwn",
        serialize_with = "some_as_word",
        skip_serializing_if = "Option::is_none"
    )]
    pub wwnn: Option<Wwn>,
    /// How it logs in.
    #[serde(default)]
    pub login: LoginBy,
    /// Its ENode MAC, for `flogi`.
    #[serde(
        default,
        deserialize_with = "values::mac",
        serialize_with = "some_as_word",
        skip_serializing_if = "Option::is_none"
    )]
    pub mac: Option<MacAddr>,
    /// Who provides its VN_Port's MAC address, for `flogi`. Left out: the fabric.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addressing: Option<Addressing>,
}

/// How an identity logs in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum LoginBy {
    /// Behind the login of the port's own VN_Port (NPIV)
    #[default]
    Fdisc,
    /// By a login and a MAC address of its own
    Flogi,
}

impl IdentityConfig {
    /// The name of its port among these.
    ///
    /// # Errors
    /// If it isn't one of them, or not said.
    pub fn port<'a>(
        &self,
        ports: &'a BTreeMap<String, PortConfig>,
    ) -> Result<(&'a str, &'a PortConfig), String> {
        let names = || ports.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let found = match &self.port {
            Some(name) => ports.get_key_value(name),
            None if ports.len() == 1 => ports.first_key_value(),
            None => return Err(format!("identity `{}` needs a `port`: one of {}", self.name, names())),
        };
        let found = found.map(|(name, port)| (name.as_str(), port));
        found.ok_or_else(|| {
            let port = self.port.as_deref().unwrap_or_default();
            format!("identity `{}` is to be on port `{port}`; there are: {}", self.name, names())
        })
    }

    /// What is wrong with it on one of these ports.
    ///
    /// # Errors
    /// That.
    pub fn check(&self, ports: &BTreeMap<String, PortConfig>) -> Result<(), String> {
        let name = &self.name;
        if name.is_empty() || name.len() > MAX_NAME_LEN || name.contains(char::is_control) {
            return Err(format!(
                "an identity's name has 1 to {MAX_NAME_LEN} bytes and no control characters"
            ));
        }
        let (port, config) = self.port(ports)?;
        if config.mode == Mode::Vn2vn {
            return Err(format!("identity `{name}` needs a fabric, but [port.{port}] has mode \"vn2vn\""));
        }
        if let Some((owner, _)) = ports.iter().find(|(_, port)| port.wwpn == Some(self.wwpn)) {
            return Err(format!("identity `{name}` has the wwpn of [port.{owner}]: each needs its own"));
        }
        match (self.login, self.mac) {
            (LoginBy::Fdisc, None) if self.addressing.is_none() => Ok(()),
            (LoginBy::Fdisc, _) => Err(format!(
                "identity `{name}`: mac and addressing are for login \"flogi\"; by \"fdisc\" it logs in behind [port.{port}]"
            )),
            (LoginBy::Flogi, Some(mac)) if mac.is_unicast() => Ok(()),
            (LoginBy::Flogi, Some(mac)) => Err(format!(
                "identity `{name}` has {mac}, which is no unicast MAC address; use one such as \"02:fc:f0:00:02:01\""
            )),
            (LoginBy::Flogi, None) => Err(format!(
                "identity `{name}` logs in by \"flogi\" and needs a `mac` of its own, such as \"02:fc:f0:00:02:01\""
            )),
        }
    }

    /// What keeps it from being there beside another one.
    ///
    /// # Errors
    /// That.
    pub fn check_beside(&self, other: &Self, ports: &BTreeMap<String, PortConfig>) -> Result<(), String> {
        let (port, name) = (self.port(ports)?.0, &self.name);
        if *name == other.name && port == other.port(ports)?.0 {
            return Err(format!("there is an identity `{name}` on port `{port}` already"));
        }
        if self.wwpn == other.wwpn {
            return Err(format!(
                "identities `{name}` and `{}` both have wwpn {}: each needs its own",
                other.name, self.wwpn
            ));
        }
        if let Some(mac) = self.mac.filter(|mac| other.mac == Some(*mac)) {
            return Err(format!(
                "identities `{name}` and `{}` both have mac {mac}: each needs its own",
                other.name
            ));
        }
        Ok(())
    }

    /// The same for an initiator.
    ///
    /// # Panics
    /// If it has not been checked.
    pub fn to_identity(&self) -> Identity {
        Identity {
            name: self.name.as_str().into(),
            port_name: self.wwpn,
            node_name: self.wwnn,
            login: match self.login {
                LoginBy::Fdisc => Login::Fdisc,
                LoginBy::Flogi => Login::Flogi {
                    mac: self.mac.expect("checked"),
                    addressing: self.addressing.unwrap_or_default().into(),
                },
            },
        }
    }
}

/// Checks all identities of a file, and those that its exports name; gives the offset of what is wrong with the words
/// for it.
pub(super) fn check(config: &Config) -> Result<(), (usize, String)> {
    for (index, identity) in config.identity.iter().enumerate() {
        let at = identity.span().start;
        let wrong = |what| (at, what);
        identity.get_ref().check(&config.port).map_err(wrong)?;
        for other in &config.identity[..index] {
            identity.get_ref().check_beside(other.get_ref(), &config.port).map_err(wrong)?;
        }
    }
    for export in &config.export {
        let names = config.identity.iter().map(|identity| identity.get_ref().name.as_str());
        export.get_ref().check_identity(names).map_err(|what| (export.span().start, what))?;
    }
    Ok(())
}

fn required_wwn<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Wwn, D::Error> {
    values::wwn(deserializer).map(|wwn| wwn.expect("it is never left out"))
}

fn some_as_word<T: Display, S: Serializer>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value.as_ref().expect("nothing is left out"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;
    use std::path::Path;

    fn parsed(text: &str) -> Result<Config, String> {
        let ports = "[port.a]\ninterface = \"eth0\"\nwwpn = \"20:00:00:00:00:00:00:99\"\n\
                     [port.b]\ninterface = \"eth1\"\n[port.c]\ninterface = \"eth2\"\nmode = \"vn2vn\"";
        parse(Path::new("run.toml"), &format!("{ports}\n{text}"), Config::check)
            .map_err(|error| error.to_string())
    }

    /// Its first line is the tenth of the file, or four lines after the one before.
    fn identity(name: &str, number: u8, rest: &str) -> String {
        format!("[[identity]]\nname = \"{name}\"\nwwpn = \"20:00:00:00:00:00:00:{number:02x}\"\n{rest}\n")
    }

    #[test]
    fn identities_are_read_and_an_order_is_what_the_file_says() {
        let all = "port = \"b\"\nwwnn = \"10:00:00:00:00:00:00:02\"\nlogin = \"flogi\"\n\
                   mac = \"02:00:00:00:00:02\"\naddressing = \"server\"";
        let text = identity("vm1", 1, "port = \"a\"") + &identity("vm1", 2, all);
        let config = parsed(&text).unwrap();
        let [first, second] = &config.identity[..] else { panic!("two") };
        assert_eq!(first.get_ref().to_identity().login, Login::Fdisc);
        let mac = MacAddr([2, 0, 0, 0, 0, 2]);
        let addressing = initiator::Addressing::Server;
        let second = second.get_ref();
        assert_eq!(second.to_identity().login, Login::Flogi { mac, addressing });
        assert_eq!(second.to_identity().node_name, Some(Wwn::from_u64(0x1000_0000_0000_0002)));
        for config in [first.get_ref(), second] {
            let json = serde_json::to_string(config).unwrap();
            assert_eq!(serde_json::from_str::<IdentityConfig>(&json).unwrap(), *config, "{json}");
        }
    }

    #[test]
    fn what_can_not_be_is_refused_with_its_line() {
        let a = "port = \"a\"";
        let flogi = |mac: &str| format!("{a}\nlogin = \"flogi\"\nmac = \"{mac}\"");
        let mac = "02:00:00:00:00:02";
        let one = identity("vm1", 1, a);
        let export = "[[export]]\nname = \"e\"\nlun = \"naa.6\"\nnbd = \"unix:/a\"\nidentity = \"vm9\"\n";
        for (text, said) in [
            (identity("vm1", 1, ""), "run.toml:9: identity `vm1` needs a `port`: one of `a`, `b`, `c`"),
            (
                identity("vm1", 1, "port = \"x\""),
                "run.toml:9: identity `vm1` is to be on port `x`; there are: `a`, `b`, `c`",
            ),
            (
                identity("vm1", 1, "port = \"c\""),
                "run.toml:9: identity `vm1` needs a fabric, but [port.c] has mode",
            ),
            (identity("", 1, a), "run.toml:9: an identity's name has 1 to 64 bytes"),
            (identity("vm1", 0x99, a), "run.toml:9: identity `vm1` has the wwpn of [port.a]"),
            (
                identity("vm1", 1, &format!("{a}\nmac = \"{mac}\"")),
                "run.toml:9: identity `vm1`: mac and addressing are for",
            ),
            (
                identity("vm1", 1, &format!("{a}\nlogin = \"flogi\"")),
                "run.toml:9: identity `vm1` logs in by \"flogi\" and needs a `mac`",
            ),
            (
                identity("vm1", 1, &flogi("01:00:00:00:00:02")),
                "run.toml:9: identity `vm1` has 01:00:00:00:00:02, which is no unicast",
            ),
            (
                identity("vm1", 1, &flogi("02:00")),
                "run.toml:14: expected six hex bytes such as \"02:fc:f0:00:02:01\", found string \"02:00\"",
            ),
            (
                one.clone() + &identity("vm1", 2, a),
                "run.toml:13: there is an identity `vm1` on port `a` already",
            ),
            (
                one.clone() + &identity("vm2", 1, "port = \"b\""),
                "run.toml:13: identities `vm2` and `vm1` both have wwpn 20:00:00:00:00:00:00:01",
            ),
            (
                identity("vm1", 1, &flogi(mac)) + &identity("vm2", 2, &flogi(mac)),
                "run.toml:15: identities `vm2` and `vm1` both have mac 02:00:00:00:00:02",
            ),
            (
                one.clone() + export,
                "run.toml:13: export `e` is of identity `vm9`, which there is not; there are: `vm1`",
            ),
            ("[[identity]]\nname = \"vm1\"".into(), "run.toml:9: the key `wwpn` is missing here"),
        ] {
            let error = parsed(&text).unwrap_err();
            assert!(error.contains(said), "{error}, not {said}");
        }
    }
}
