//! A SAN in a box on a thread of its own, in whichever namespace its interface is.

use crate::cli;
use crate::config;
use crate::fault::Summary;
use crate::interrupt::Interrupt;
use crate::netns::Namespace;
use crate::orders::Server;
use crate::sockets::{self, Accept, Access};
use crate::{preflight, program};
use anyhow::Context as _;
use datapath::port::nic::{Nic, NicKind};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use san::{Order, OrderError, Remote, San, SanConfig, Stats};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// `xfcoe san`: until it is interrupted, which is how it ends well.
///
/// # Errors
/// What is wrong with the configuration or the interface, and what to do.
pub fn command(args: &cli::San, json: bool, interrupt: &Interrupt) -> anyhow::Result<()> {
    let config = match &args.config {
        Some(path) => config::load(path, check)?,
        None => SanConfig::default(),
    };
    preflight::interface(&args.interface, args.port)?;
    let interface = args.interface.clone();
    let control = args.control.clone().or_else(|| config.control.clone());
    let san =
        SanThread::start(Place { interface, kind: args.port.into(), namespace: None, cpu: None }, config)?;
    let bind = |path: std::path::PathBuf| Server::bind(&path, &Access::default(), Arc::clone(&san.remote));
    let server = control.map(bind).transpose().context("no orders can be taken")?;
    let sockets: Vec<&dyn Accept> = server.iter().map(|server| server as &dyn Accept).collect();
    tracing::info!(interface = args.interface, "the SAN answers");
    while san.is_running() && !interrupt.is_raised() {
        sockets::serve(&sockets, LOOK_INTERVAL)?;
    }
    let stats = san.stop()?;
    Ok(program::print(json, &Summary::from(&stats))?)
}

fn check(config: &SanConfig) -> Result<(), (usize, String)> {
    config.check().map_err(|error| (0, error.to_string()))
}

/// How often the SAN and the operator are asked whether to go on.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Where a SAN is.
#[derive(Clone, Debug)]
pub struct Place {
    /// The interface.
    pub interface: String,
    /// How it is opened.
    pub kind: NicKind,
    /// The namespace that has the interface; none is that of the calling thread.
    pub namespace: Option<Namespace>,
    /// The CPU that the SAN's thread is pinned to; none leaves that to the scheduler.
    pub cpu: Option<usize>,
}

/// A SAN that runs.
#[derive(Debug)]
pub struct SanThread {
    remote: Arc<Remote>,
    thread: JoinHandle<anyhow::Result<Stats>>,
}

impl SanThread {
    /// Starts a SAN and returns when it answers.
    ///
    /// # Errors
    /// What is wrong with the place or the configuration, and what to do.
    pub fn start(place: Place, config: SanConfig) -> anyhow::Result<Self> {
        let remote = Arc::new(Remote::new().context("cannot make an eventfd")?);
        let (told, ready) = sync_channel(1);
        let theirs = Arc::clone(&remote);
        let thread = thread::Builder::new()
            .name("san".into())
            .spawn(move || run(&place, &config, &theirs, &told))
            .context("cannot start the SAN's thread")?;
        let san = Self { remote, thread };
        // Without a word the thread has ended, and says why in its result.
        match ready.recv() {
            Ok(()) => Ok(san),
            Err(_) => Err(san.stop().err().context("the SAN ended before it began")?),
        }
    }

    /// Whether it still runs: it ends when its interface goes.
    pub fn is_running(&self) -> bool {
        !self.thread.is_finished()
    }

    /// Gives an order, and waits until it has been carried out; tells how the SAN stands then.
    ///
    /// # Errors
    /// When it can't be carried out.
    pub fn order(&self, order: Order) -> Result<Stats, OrderError> {
        self.remote.order(order)
    }

    /// What it has done and how it stands.
    ///
    /// # Errors
    /// When it has ended.
    pub fn stats(&self) -> Result<Stats, OrderError> {
        self.remote.stats()
    }

    /// Stops it and gives what it has counted.
    ///
    /// # Errors
    /// Why it had ended before.
    pub fn stop(self) -> anyhow::Result<Stats> {
        self.remote.stop();
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

fn run(place: &Place, config: &SanConfig, remote: &Remote, ready: &SyncSender<()>) -> anyhow::Result<Stats> {
    if let Some(namespace) = &place.namespace {
        namespace.enter()?;
    }
    if let Some(cpu) = place.cpu {
        pin(cpu).with_context(|| format!("cannot pin the SAN to CPU {cpu}"))?;
    }
    let (nic, port) = Nic::open(&place.interface, place.kind, &[config.group()])?;
    let mut san = San::new(port, config)?;
    // Nobody to tell is no reason to stop: `stop` is.
    let _ = ready.send(());
    san::thread::run(&mut san, Some(nic.macs()), remote)
        .with_context(|| format!("the SAN cannot go on at its interface `{}`", place.interface))?;
    Ok(san.stats())
}

/// Pins the calling thread to a CPU.
///
/// # Errors
/// If the process may not use it.
pub fn pin(cpu: usize) -> nix::Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &cpus)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fc::wire::MacAddr;
    use san::Mode;
    use std::path::Path;

    fn load(path: &Path) -> Result<SanConfig, config::ConfigError> {
        config::load(path, check)
    }

    #[test]
    fn the_example_is_right() {
        let config = load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/san.toml")).unwrap();
        assert_eq!(config.targets[0].luns.len(), 2);
    }

    #[test]
    fn the_example_is_right_without_a_switch() {
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/san.toml");
        let text = std::fs::read_to_string(&example).unwrap();
        let text = text.replace("#mode = \"fabric\"", "mode = \"vn2vn\"").replace("#mac", "mac");
        let config: SanConfig = config::parse(&example, &text, check).unwrap();
        assert_eq!(
            (config.mode, config.targets[0].mac),
            (Mode::Vn2vn, Some(MacAddr([2, 0xfc, 0xf0, 0, 1, 1])))
        );
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let said = |text| config::parse(Path::new("san.toml"), text, check).unwrap_err().to_string();
        assert!(
            said("[fcf]\npriorty = 1")
                .starts_with("san.toml:2: unknown key `priorty`, did you mean `priority`?")
        );
        assert_eq!(said("[fcf]\ndomain = 240"), "san.toml: domain is 240; allowed are 1 to 239");
    }
}
