//! Disks of the SAN for those who need them: which, where, and how they stand.

mod device;
mod lun;
mod status;

pub use device::DiskDevice;
pub(crate) use status::{ExportStatus, Note};

use crate::config::{Address, ExportConfig, Outlet, there_are};
use crate::sockets::{self, Accept, SocketFile};
use export::vhost_user::Trust;
use export::{Export, nbd, ublk, vhost_user};
use initiator::Disk;
use lun::{Lun, Seen, Verdict};
use status::State;
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// All exports of a daemon. They are made by configurations; [`Self::look`] brings them to life.
#[derive(Default)]
pub(crate) struct Exports {
    entries: BTreeMap<String, Entry>,
    outlets: BTreeMap<Outlet, Served>,
    /// Those that are closed, as long as something may be out of them.
    closing: Vec<Serving>,
    notes: Vec<Note>,
}

struct Entry {
    config: ExportConfig,
    outlet: Outlet,
    phase: Phase,
    /// What the operator was told of it last, as long as that is so.
    trouble: Option<String>,
}

enum Phase {
    /// Its LUN isn't there, or something else keeps it.
    Waiting,
    Serving(Box<Serving>),
    /// Its LUN is another one now: nobody shall use it for the old one.
    Ended,
}

struct Serving {
    export: Arc<Export>,
    lun: Lun,
    /// Whether it can be had: a block device takes a moment.
    is_live: bool,
}

/// Where clients connect, or the device that is there instead.
struct Served {
    server: Server,
    _file: Option<SocketFile>,
}

enum Server {
    Nbd(Arc<nbd::Server>),
    VhostUser(Arc<vhost_user::Server>),
    Ublk(ublk::Server),
}

/// What keeps an export from being served.
enum Hindrance {
    /// It is over soon.
    Passing,
    Lasting(String),
}

impl Exports {
    /// Fails if clients can't be served there.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn check_place(&self, config: &ExportConfig) -> Result<(), String> {
        match &config.outlet()? {
            outlet if self.outlets.contains_key(outlet) => Ok(()),
            Outlet::Nbd(Address::Unix(path)) | Outlet::VhostUser(path) => {
                sockets::check(path, &config.access()).map_err(|error| error.to_string())
            }
            Outlet::Nbd(Address::Tcp(address)) => listen_tcp(*address).map(|_| ()),
            Outlet::Ublk(_) => ublk::check().map_err(|error| error.to_string()),
        }
    }

    /// Adds an export, which is served once its LUN is there.
    ///
    /// # Errors
    /// If it is wrong, or doesn't go with the others.
    pub(crate) fn add(&mut self, config: ExportConfig) -> Result<(), String> {
        config.check()?;
        self.entries.values().try_for_each(|other| config.check_beside(&other.config))?;
        self.check_place(&config)?;
        let outlet = config.outlet()?;
        let entry = Entry { phase: Phase::Waiting, trouble: None, config, outlet };
        self.entries.insert(entry.config.name.clone(), entry);
        Ok(())
    }

    /// Removes an export. Its clients' connections end; what is out then is still finished. A block device goes, also one
    /// that an earlier daemon has left where this export was to be.
    ///
    /// # Errors
    /// If there is none of that name, or what was left doesn't go.
    pub(crate) fn remove(&mut self, name: &str) -> Result<(), String> {
        let Some(entry) = self.entries.remove(name) else {
            let there = there_are(self.entries.keys());
            return Err(format!("there is no export `{name}`; {there}"));
        };
        match (entry.phase, &entry.outlet) {
            (Phase::Serving(serving), outlet) => self.close(outlet, serving),
            (Phase::Waiting | Phase::Ended, Outlet::Ublk(number)) => {
                ublk::remove_orphan(*number).map_err(|error| error.to_string())?;
            }
            (Phase::Waiting | Phase::Ended, _) => {}
        }
        Ok(())
    }

    /// Makes the exports those of `configs`, which go together, and says what has changed.
    ///
    /// # Errors
    /// If one of them can't be.
    pub(crate) fn replace(&mut self, configs: Vec<ExportConfig>) -> Result<Vec<String>, String> {
        let stays = |entry: &&Entry| configs.contains(&entry.config);
        let goes = self.entries.values().filter(|entry| !stays(entry));
        let goes: Vec<_> = goes.map(|entry| entry.config.name.clone()).collect();
        let mut changes = Vec::new();
        for name in &goes {
            self.remove(name)?;
            let is_changed = configs.iter().any(|config| config.name == *name);
            changes.push(format!("export {name}: {}", if is_changed { "changed" } else { "removed" }));
        }
        for config in configs {
            if self.entries.contains_key(&config.name) {
                continue;
            }
            if !goes.contains(&config.name) {
                changes.push(format!("export {}: added", config.name));
            }
            self.add(config)?;
        }
        Ok(changes)
    }

    /// Begins to serve those whose LUN has appeared, and notes what has become of the others.
    pub(crate) fn look(&mut self, disks: &[Disk]) {
        let seen: Vec<_> = disks.iter().map(Seen::new).collect();
        self.closing.retain(|serving| !serving.export.wait_for_end(Duration::ZERO));
        let names: Vec<_> = self.entries.keys().cloned().collect();
        for name in names {
            let entry = &self.entries[&name];
            let (phase, trouble) = match &entry.phase {
                Phase::Ended => continue,
                Phase::Serving(serving) => match (serving.lun.judge(&seen), self.device_at(&entry.outlet)) {
                    (Verdict::Other(trouble), _) => (Some(Phase::Ended), Some(trouble)),
                    (_, Err(trouble)) => (Some(Phase::Ended), Some(trouble)),
                    (Verdict::Trouble(trouble), Ok(_)) => (None, Some(trouble)),
                    (Verdict::Good, Ok(trouble)) => (None, trouble),
                },
                Phase::Waiting => {
                    let (config, outlet) = (entry.config.clone(), entry.outlet.clone());
                    let meant = disks.iter().zip(&seen).find(|(_, seen)| seen.is_meant_by(&config));
                    match meant.map(|(disk, seen)| self.start(&config, disk, seen)) {
                        None => (None, Some(format!("LUN {} is not there yet{}", config.lun, by(&config)))),
                        Some(Ok(serving)) => {
                            (Some(Phase::Serving(serving)), self.device_at(&outlet).unwrap_or_else(Some))
                        }
                        Some(Err(Hindrance::Passing)) => continue,
                        Some(Err(Hindrance::Lasting(why))) => (None, Some(why)),
                    }
                }
            };
            self.update(&name, phase, trouble);
        }
    }

    /// What the operator has not been told yet.
    pub(crate) fn take_notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes)
    }

    /// Those to whom clients come.
    pub(crate) fn servers(&self) -> Vec<Arc<dyn Accept>> {
        let server = |served: &Served| -> Option<Arc<dyn Accept>> {
            match &served.server {
                Server::Nbd(server) => Some(Arc::clone(server) as _),
                Server::VhostUser(server) => Some(Arc::clone(server) as _),
                Server::Ublk(_) => None,
            }
        };
        self.outlets.values().filter_map(server).collect()
    }

    /// How they stand, in the order of their names.
    pub(crate) fn status(&self) -> Vec<ExportStatus> {
        self.entries.values().map(Entry::status).collect()
    }

    /// How one stands.
    pub(crate) fn status_of(&self, name: &str) -> Option<ExportStatus> {
        self.entries.get(name).map(Entry::status)
    }

    /// Ends all, and waits for what is out, for `timeout` at most. Block devices that are in use stay, for the next daemon.
    pub(crate) fn end(&mut self, timeout: Duration) {
        let deadline = Instant::now() + timeout;
        for served in self.outlets.values() {
            if let Server::Ublk(server) = &served.server {
                server.leave();
            }
        }
        for entry in std::mem::take(&mut self.entries).into_values() {
            if let Phase::Serving(serving) = entry.phase {
                self.close(&entry.outlet, serving);
            }
        }
        for serving in &self.closing {
            serving.export.wait_for_end(deadline.saturating_duration_since(Instant::now()));
        }
    }

    fn start(&mut self, config: &ExportConfig, disk: &Disk, seen: &Seen) -> Result<Box<Serving>, Hindrance> {
        let lun = Lun::new(config, seen).map_err(Hindrance::Lasting)?;
        if self.closing.iter().any(|other| lun.collides(&other.lun)) {
            return Err(Hindrance::Passing);
        }
        let serving = self.entries.iter().filter_map(|(name, entry)| Some((name, entry.serving()?)));
        if let Some((name, _)) = serving.into_iter().find(|(_, other)| lun.collides(&other.lun)) {
            let why = format!(
                "it overlaps with export `{name}`, which is on the same LUN, and both may be written"
            );
            return Err(Hindrance::Lasting(why));
        }
        let device = DiskDevice::new(disk.clone(), lun.range(), config.read_only);
        let export = Arc::new(Export::new(config.name.clone(), Arc::new(device)));
        self.serve(config, &export, &lun).map_err(Hindrance::Lasting)?;
        Ok(Box::new(Serving { export, lun, is_live: false }))
    }

    /// Hands an export out where its configuration says.
    fn serve(&mut self, config: &ExportConfig, export: &Arc<Export>, lun: &Lun) -> Result<(), String> {
        let outlet = config.outlet()?;
        if let Some(Served { server: Server::Nbd(server), .. }) = self.outlets.get(&outlet) {
            server.add(Arc::clone(export));
            return Ok(());
        }
        let listen = |path| sockets::listen_at(path, &config.access()).map_err(|error| error.to_string());
        let nbd = |listener| {
            let server = nbd::Server::new(listener).map_err(|error| error.to_string())?;
            server.add(Arc::clone(export));
            Ok::<_, String>(Server::Nbd(server.into()))
        };
        let served = match &outlet {
            Outlet::Nbd(Address::Unix(path)) => {
                let (listener, file) = listen(path)?;
                Served { server: nbd(nbd::Listener::Unix(listener))?, _file: Some(file) }
            }
            Outlet::Nbd(Address::Tcp(address)) => {
                Served { server: nbd(nbd::Listener::Tcp(listen_tcp(*address)?))?, _file: None }
            }
            Outlet::VhostUser(path) => {
                let (listener, file) = listen(path)?;
                let trust = if config.any_memory { Trust::Any } else { Trust::Sealed };
                let server = vhost_user::Server::new(listener, Arc::clone(export), trust)
                    .map_err(|error| error.to_string())?;
                Served { server: Server::VhostUser(server.into()), _file: Some(file) }
            }
            Outlet::Ublk(number) => {
                let server = ublk::Server::start(Arc::clone(export), *number, &lun.lasting_name())
                    .map_err(|error| error.to_string())?;
                Served { server: Server::Ublk(server), _file: None }
            }
        };
        self.outlets.insert(outlet, served);
        Ok(())
    }

    /// What keeps an export from being had where it is served, if anything does.
    ///
    /// # Errors
    /// Why it can't be had any more.
    fn device_at(&self, outlet: &Outlet) -> Result<Option<String>, String> {
        let Some(Served { server: Server::Ublk(server), .. }) = self.outlets.get(outlet) else {
            return Ok(None);
        };
        match server.state() {
            ublk::State::Live => Ok(None),
            ublk::State::Starting => Ok(Some(format!("{outlet} is being made"))),
            ublk::State::Hindered(why) => Ok(Some(why)),
            ublk::State::Ended(why) => Err(format!(
                "{outlet} is gone{}: remove the export and add it again",
                why.map_or_else(String::new, |why| format!(" ({why})"))
            )),
        }
    }

    fn update(&mut self, name: &str, phase: Option<Phase>, trouble: Option<String>) {
        let is_live = self.device_at(&self.entries[name].outlet) == Ok(None);
        let entry = self.entries.get_mut(name).expect("it is there");
        let old = phase.map(|phase| std::mem::replace(&mut entry.phase, phase));
        let begins = match &mut entry.phase {
            Phase::Serving(serving) => is_live && !std::mem::replace(&mut serving.is_live, is_live),
            Phase::Waiting | Phase::Ended => false,
        };
        if begins || entry.trouble != trouble {
            let text = match (&trouble, entry.serving()) {
                (Some(trouble), _) => trouble.clone(),
                (None, Some(serving)) if begins => format!("{} at {}", serving.lun, entry.outlet),
                (None, _) => "its LUN is as it was".into(),
            };
            self.notes.push(Note { export: name.into(), note: text });
            entry.trouble = trouble;
        }
        if let Some(Phase::Serving(serving)) = old {
            let outlet = entry.outlet.clone();
            self.close(&outlet, serving);
        }
    }

    fn close(&mut self, outlet: &Outlet, serving: Box<Serving>) {
        let is_empty = match &self.outlets[outlet].server {
            Server::Nbd(server) => {
                server.remove(serving.export.name());
                server.is_empty()
            }
            Server::VhostUser(_) | Server::Ublk(_) => true,
        };
        if is_empty {
            self.outlets.remove(outlet);
        }
        serving.export.close();
        self.closing.push(*serving);
    }
}

impl Entry {
    fn serving(&self) -> Option<&Serving> {
        match &self.phase {
            Phase::Serving(serving) => Some(serving),
            Phase::Waiting | Phase::Ended => None,
        }
    }

    fn status(&self) -> ExportStatus {
        let state = match self.phase {
            Phase::Serving(ref serving) if serving.is_live => State::Serving,
            Phase::Waiting | Phase::Serving(_) => State::Waiting,
            Phase::Ended => State::Ended,
        };
        let export = self.serving().map(|serving| &*serving.export);
        ExportStatus::new(&self.config, &self.outlet, state, self.trouble.clone(), export)
    }
}

/// For whom a LUN isn't there.
fn by(config: &ExportConfig) -> String {
    config.identity.as_ref().map_or_else(String::new, |identity| format!(" for identity {identity}"))
}

fn listen_tcp(address: std::net::SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address).map_err(|error| format!("cannot listen at {address}: {error}"))
}
