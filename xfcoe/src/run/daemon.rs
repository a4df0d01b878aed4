//! What a daemon is: ports that are logged in, and exports; and what it can be told.

use super::identities::IdentityList;
use super::orders::{Answer, Changes, ExportList, Request};
use super::status::Status;
use crate::config::{Config, ConfigError, ControlConfig, ExportConfig, IdentityConfig, Paths, PortConfig};
use crate::exports::{Exports, Note};
use crate::orders::TakesOrders;
use crate::session::Session;
use crate::sockets::Accept;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

/// How long requests that are out may take when the daemon stops. Logging out ends them then.
const STOP_TIME: Duration = Duration::from_secs(2);

/// A daemon. Those who give orders have clones of its [`Arc`].
pub(super) struct Daemon {
    path: PathBuf,
    /// What can't be changed while it runs.
    pub(super) port: BTreeMap<String, PortConfig>,
    path_choice: Paths,
    control: Option<ControlConfig>,
    /// `None` before it has started, and when it has stopped.
    session: RwLock<Option<Session>>,
    identities: Mutex<Vec<IdentityConfig>>,
    exports: Mutex<Exports>,
}

/// Nothing can be asked of a daemon that isn't there yet, or not any more.
#[derive(Debug, thiserror::Error)]
#[error("the daemon is starting or stopping; try again")]
pub(super) struct NotRunning;

impl Daemon {
    /// A daemon that has the exports of the file `path`, and has started nothing; and the file.
    ///
    /// # Errors
    /// What is wrong in the file, or against one of its exports.
    pub(super) fn load(path: &Path) -> anyhow::Result<(Self, Config)> {
        let mut exports = Exports::default();
        let config = load(path, &exports)?;
        exports.replace(export_configs(&config)).map_err(anyhow::Error::msg)?;
        let daemon = Self {
            path: path.into(),
            port: config.port.clone(),
            path_choice: config.path_choice,
            control: config.control.clone(),
            session: RwLock::new(None),
            identities: identity_configs(&config).into(),
            exports: exports.into(),
        };
        Ok((daemon, config))
    }

    /// Starts the ports; returns before they have logged in.
    ///
    /// # Errors
    /// As [`Session::start`].
    pub(super) fn start(&self, config: &Config) -> anyhow::Result<()> {
        *self.session.write().unwrap_or_else(PoisonError::into_inner) = Some(Session::start(config)?);
        Ok(())
    }

    /// Ends the exports, and logs out.
    pub(super) fn stop(&self) {
        self.exports().end(STOP_TIME);
        let session = self.session.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(session) = session {
            session.stop();
        }
    }

    /// Sees to the exports.
    pub(super) fn look(&self) {
        // Without ports there are no LUNs.
        let _ = self.with_session(|session| self.exports().look(&session.disks()));
    }

    /// Does something with the ports.
    ///
    /// # Errors
    /// If there are none.
    pub(super) fn with_session<T>(&self, work: impl FnOnce(&Session) -> T) -> Result<T, NotRunning> {
        self.session.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(work).ok_or(NotRunning)
    }

    /// What the operator has not been told yet.
    pub(super) fn take_notes(&self) -> Vec<Note> {
        self.exports().take_notes()
    }

    /// Those to whom clients of exports come.
    pub(super) fn servers(&self) -> Vec<Arc<dyn Accept>> {
        self.exports().servers()
    }

    /// Whether every poll core answers.
    pub(super) fn is_well(&self) -> bool {
        self.with_session(|session| session.ports.iter().all(|port| port.initiator.report().is_ok()))
            .unwrap_or(false)
    }

    pub(super) fn identities(&self) -> MutexGuard<'_, Vec<IdentityConfig>> {
        self.identities.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn exports(&self) -> MutexGuard<'_, Exports> {
        self.exports.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reload(&self) -> Result<Changes, String> {
        let mut exports = self.exports();
        let config = load(&self.path, &exports).map_err(|error| error.to_string())?;
        let mut changes = Vec::new();
        if config.port == self.port {
            changes.extend(self.replace_identities(identity_configs(&config))?);
        }
        changes.extend(exports.replace(export_configs(&config))?);
        drop(exports);
        if config.port != self.port || config.path_choice != self.path_choice {
            changes.push("ports have changed in the file: restart the daemon for that".into());
        }
        if config.control != self.control {
            changes.push("[control] has changed in the file: restart the daemon for that".into());
        }
        self.look();
        Ok(Changes { changes })
    }
}

/// The file, if its exports can be served where it says.
fn load(path: &Path, exports: &Exports) -> Result<Config, ConfigError> {
    Config::load_for_exports(path, |config| exports.check_place(config))
}

fn identity_configs(config: &Config) -> Vec<IdentityConfig> {
    config.identity.iter().map(|identity| identity.get_ref().clone()).collect()
}

fn export_configs(config: &Config) -> Vec<ExportConfig> {
    config.export.iter().map(|export| export.get_ref().clone()).collect()
}

impl TakesOrders for Daemon {
    type Request = Request;
    type Answer = Answer;

    fn carry_out(&self, request: Request) -> Result<Answer, String> {
        match request {
            Request::Status => {
                let status = self.with_session(|session| Status::new(session, self.exports().status()));
                status.map(|status| Answer::Status(Box::new(status))).map_err(|error| error.to_string())
            }
            Request::Reload => self.reload().map(Answer::Changes),
            Request::Exports => Ok(Answer::Exports(ExportList { exports: self.exports().status() })),
            Request::Identities => {
                let list = self.with_session(IdentityList::of).map_err(|error| error.to_string())?;
                Ok(Answer::Identities(list))
            }
            Request::AddIdentity(config) => {
                self.add_identity(config).map(|change| Answer::Changes(Changes { changes: vec![change] }))
            }
            Request::RemoveIdentity { name, port } => {
                let changes = self.remove_identity(&name, port.as_deref())?;
                Ok(Answer::Changes(Changes { changes }))
            }
            Request::Add(config) => {
                let identities: Vec<_> =
                    self.identities().iter().map(|identity| identity.name.clone()).collect();
                config.check_identity(identities.iter().map(String::as_str))?;
                let name = config.name.clone();
                self.exports().add(config)?;
                self.look();
                let exports = self.exports().status_of(&name).into_iter().collect();
                Ok(Answer::Exports(ExportList { exports }))
            }
            Request::Remove(name) => {
                self.exports().remove(&name)?;
                Ok(Answer::Changes(Changes { changes: vec![format!("export {name}: removed")] }))
            }
        }
    }
}
