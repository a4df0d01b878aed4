//! Identities of a daemon: how they stand, and how they are changed.

use super::daemon::Daemon;
use super::orders::{Changes, Request, order};
use crate::cli::{IdentityAdd, IdentityArgs, IdentityOrder};
use crate::config::{IdentityConfig, there_are};
use crate::session::{RunningPort, Session};
use initiator::VnPortView;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Identities.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct IdentityList {
    identities: Vec<IdentityStatus>,
}

/// An identity on a port.
#[derive(Debug, Serialize, Deserialize)]
struct IdentityStatus {
    name: String,
    port: String,
    wwpn: String,
    fc_id: Option<String>,
    mac: Option<String>,
    state: String,
    /// Targets that it is logged in to, and the LUNs that it sees there.
    targets: usize,
    luns: usize,
}

/// `xfcoe identity`
pub(crate) fn identity(args: &IdentityArgs, json: bool) -> anyhow::Result<()> {
    let at = &args.at;
    match &args.what {
        IdentityOrder::Add(add) => order::<Changes>(at, &Request::AddIdentity(add.into()), json),
        IdentityOrder::Remove { name, port } => {
            let request = Request::RemoveIdentity { name: name.clone(), port: port.clone() };
            order::<Changes>(at, &request, json)
        }
        IdentityOrder::List => order::<IdentityList>(at, &Request::Identities, json),
    }
}

impl From<&IdentityAdd> for IdentityConfig {
    fn from(add: &IdentityAdd) -> Self {
        let IdentityAdd { name, wwpn, wwnn, port, login, mac, addressing } = add;
        Self {
            name: name.clone(),
            port: port.clone(),
            wwpn: *wwpn,
            wwnn: *wwnn,
            login: *login,
            mac: *mac,
            addressing: *addressing,
        }
    }
}

impl Daemon {
    /// Logs in as one more.
    pub(super) fn add_identity(&self, config: IdentityConfig) -> Result<String, String> {
        let mut identities = self.identities();
        config.check(&self.port)?;
        identities.iter().try_for_each(|other| config.check_beside(other, &self.port))?;
        let (port, _) = config.port(&self.port)?;
        self.with_port(port, |port| port.initiator.add_identity(config.to_identity()))?
            .map_err(|error| error.to_string())?;
        let change = format!("identity {} on port {port}: added", config.name);
        identities.push(config);
        Ok(change)
    }

    /// Logs out as one, on a port or on all.
    pub(super) fn remove_identity(&self, name: &str, port: Option<&str>) -> Result<Vec<String>, String> {
        let mut identities = self.identities();
        let port_of = |config: &IdentityConfig| config.port(&self.port).expect("checked").0;
        let is_it =
            |config: &IdentityConfig| config.name == name && port.is_none_or(|port| port_of(config) == port);
        let mut changes = Vec::new();
        for config in identities.extract_if(.., |config| is_it(config)) {
            let port = port_of(&config);
            self.with_port(port, |port| port.initiator.remove_identity(name))?
                .map_err(|error| error.to_string())?;
            changes.push(format!("identity {name} on port {port}: removed"));
        }
        if changes.is_empty() {
            let there = there_are(identities.iter().map(|config| &config.name));
            let on = port.map_or_else(String::new, |port| format!(" on port `{port}`"));
            return Err(format!("there is no identity `{name}`{on}; {there}"));
        }
        Ok(changes)
    }

    /// Makes the identities those of `configs`, which have been checked, and says what has changed.
    pub(super) fn replace_identities(&self, configs: Vec<IdentityConfig>) -> Result<Vec<String>, String> {
        let goes: Vec<_> =
            self.identities().iter().filter(|config| !configs.contains(config)).cloned().collect();
        let mut changes = Vec::new();
        for config in goes {
            let (port, _) = config.port(&self.port)?;
            changes.extend(self.remove_identity(&config.name, Some(port))?);
        }
        for config in configs {
            if !self.identities().contains(&config) {
                changes.push(self.add_identity(config)?);
            }
        }
        Ok(changes)
    }

    fn with_port<T>(&self, name: &str, work: impl FnOnce(&RunningPort) -> T) -> Result<T, String> {
        let done = self.with_session(|session| session.port(name).map(work));
        done.map_err(|error| error.to_string())?.ok_or_else(|| format!("port `{name}` does not run"))
    }
}

impl IdentityList {
    pub(super) fn of(session: &Session) -> Self {
        let of_port = |port: &RunningPort| {
            let seen = port.initiator.inventory();
            let status = |view: &VnPortView| {
                let targets =
                    seen.targets.iter().filter(|target| target.vn_port == view.port_name && target.ready);
                Some(IdentityStatus {
                    name: view.identity.as_deref()?.to_owned(),
                    port: port.name.clone(),
                    wwpn: view.port_name.to_string(),
                    fc_id: view.fc_id.map(|id| id.to_string()),
                    mac: view.mac.map(|mac| mac.to_string()),
                    state: view.state.clone(),
                    targets: targets.clone().count(),
                    luns: targets.flat_map(|target| &target.luns).filter(|lun| lun.unit.is_ok()).count(),
                })
            };
            seen.vn_ports.iter().filter_map(status).collect::<Vec<_>>()
        };
        Self { identities: session.ports.iter().flat_map(of_port).collect() }
    }
}

impl fmt::Display for IdentityList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.identities.is_empty() {
            return writeln!(f, "there are no identities besides the ports' own VN_Ports");
        }
        self.identities.iter().try_for_each(|identity| identity.fmt(f))
    }
}

impl fmt::Display for IdentityStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, port, wwpn, fc_id, mac, state, targets, luns } = self;
        write!(f, "identity {name} on port {port}: {wwpn}")?;
        if let (Some(fc_id), Some(mac)) = (fc_id, mac) {
            write!(f, ", N_Port_ID {fc_id}, MAC {mac}")?;
        }
        writeln!(f, ": {state}; targets: {targets}, LUNs: {luns}")
    }
}
