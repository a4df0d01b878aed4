//! Initiators that run over the ports of a configuration.

use crate::cli::LunName;
use crate::config::{Config, IdentityConfig};
use crate::interrupt::Interrupt;
use crate::preflight;
use anyhow::{Context as _, bail};
use initiator::{Disk, Disks, Initiator};
use std::time::{Duration, Instant};

/// How long disks are waited for before the operator is asked whether to go on.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// A port that logs in.
pub struct RunningPort {
    /// As the operator calls it.
    pub name: String,
    /// Its interface.
    pub interface: String,
    /// Its initiator.
    pub initiator: Initiator,
}

/// The ports of a configuration, running. Dropping it is the same as [`Self::stop`].
pub struct Session {
    /// The ports, in the order of their names.
    pub ports: Vec<RunningPort>,
    /// What they find, together.
    disks: Disks,
}

impl Session {
    /// Starts all ports; returns before they have logged in.
    ///
    /// # Errors
    /// What stands against the first of them that can't be started, and what to do.
    pub fn start(config: &Config) -> anyhow::Result<Self> {
        let disks = Disks::new(config.path_choice.into());
        let start = |(name, port): (&String, &crate::config::PortConfig)| {
            let interface = port.interface.get_ref();
            preflight::interface(interface, port.kind)?;
            let identities = config.identities_of(name).map(IdentityConfig::to_identity).collect();
            let config = initiator::Config { identities, ..port.to_initiator(disks.clone()) };
            let initiator =
                Initiator::start(config).with_context(|| format!("cannot start port `{name}`"))?;
            Ok(RunningPort { name: name.clone(), interface: interface.clone(), initiator })
        };
        let ports = config.port.iter().map(start).collect::<anyhow::Result<_>>()?;
        Ok(Self { ports, disks })
    }

    /// The initiator of a port.
    pub fn port(&self, name: &str) -> Option<&RunningPort> {
        self.ports.iter().find(|port| port.name == name)
    }

    /// The disks that all ports see together.
    pub fn disks(&self) -> Vec<Disk> {
        self.disks.all()
    }

    /// Waits until every port has a disk and has looked at all logical units of its targets, or until `timeout` has
    /// passed.
    ///
    /// # Errors
    /// An interrupt, or a port that stopped.
    pub fn settle(&self, timeout: Duration, interrupt: &Interrupt) -> anyhow::Result<()> {
        let deadline = Instant::now() + timeout;
        for port in &self.ports {
            let is_settled = || {
                !port.initiator.wait_for_disks(LOOK_INTERVAL).is_empty()
                    && port.initiator.inventory().is_scanned()
            };
            while !is_settled() && Instant::now() < deadline {
                interrupt.check(|| "while logging in".into())?;
                self.check_running()?;
            }
        }
        Ok(())
    }

    /// The disk that `name` means to an identity, or to the ports' own VN_Ports, as soon as it is there.
    ///
    /// # Errors
    /// If it isn't there in time, with what is; an interrupt, or a port that stopped.
    pub fn find(
        &self,
        name: &LunName,
        identity: Option<&str>,
        timeout: Duration,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Disk> {
        let deadline = Instant::now() + timeout;
        loop {
            for port in &self.ports {
                port.initiator.wait_for_disks(LOOK_INTERVAL);
            }
            let disks = self.disks.all();
            let is_it = |disk: &&Disk| disk.identity() == identity && name.means(disk.info(), &disk.paths());
            if let Some(disk) = disks.iter().find(is_it) {
                return Ok(disk.clone());
            }
            interrupt.check(|| format!("while looking for LUN {name}"))?;
            self.check_running()?;
            if Instant::now() >= deadline {
                if disks.is_empty() {
                    self.check_for_disks().with_context(|| format!("no disk in {timeout:?}"))?;
                }
                bail!("there is no LUN {name} after {timeout:?}; there are: {}", describe_all(&disks));
            }
        }
    }

    /// The only disk there is, once every port has looked for its own.
    ///
    /// # Errors
    /// If there is none in time, or more than one, with which; an interrupt, or a port that stopped.
    pub fn find_only(&self, timeout: Duration, interrupt: &Interrupt) -> anyhow::Result<Disk> {
        self.settle(timeout, interrupt)?;
        let disks = self.disks.all();
        match &disks[..] {
            [only] => Ok(only.clone()),
            [] => {
                self.check_for_disks().with_context(|| format!("no disk in {timeout:?}"))?;
                bail!("the targets show no disk");
            }
            [_, _, ..] => bail!("there is more than one LUN; say which: {}", describe_all(&disks)),
        }
    }

    /// Fails if a port has no disk, with what keeps it from having one.
    ///
    /// # Errors
    /// That.
    pub fn check_for_disks(&self) -> anyhow::Result<()> {
        match self.ports.iter().find_map(|port| Some((port, port.initiator.inventory().obstacle()?))) {
            Some((port, obstacle)) => bail!("port `{}` on {}: {obstacle}", port.name, port.interface),
            None => Ok(()),
        }
    }

    /// Logs out everywhere.
    pub fn stop(self) {
        self.ports.into_iter().for_each(|port| port.initiator.stop());
    }

    /// Fails if a port has stopped.
    ///
    /// # Errors
    /// Which.
    pub fn check_running(&self) -> anyhow::Result<()> {
        match self.ports.iter().find(|port| !port.initiator.is_running()) {
            Some(port) => bail!("port `{}` stopped: its interface `{}` is gone", port.name, port.interface),
            None => Ok(()),
        }
    }
}

fn describe_all(disks: &[Disk]) -> String {
    disks.iter().map(describe).collect::<Vec<_>>().join(", ")
}

/// A disk's first path, and what it is whatever the path.
pub(crate) fn describe(disk: &Disk) -> String {
    let by = disk.identity().map_or_else(String::new, |identity| format!(" by identity {identity}"));
    match &disk.info().id {
        Some(id) => format!("{disk} ({id}){by}"),
        None => format!("{disk}{by}"),
    }
}
