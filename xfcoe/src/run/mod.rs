//! `xfcoe run`: log in and stay, and hand disks out.

mod daemon;
mod identities;
mod notify;
mod orders;
mod status;

pub(crate) use identities::identity;
pub(crate) use orders::{export, reload, status};

use crate::cli;
use crate::config::ControlConfig;
use crate::interrupt::Interrupt;
use crate::list::Listing;
use crate::orders::Server;
use crate::program;
use crate::sockets::{self, Accept};
use anyhow::Context as _;
use daemon::Daemon;
use notify::Notifier;
use std::sync::Arc;
use std::time::Duration;

/// How often the inventory is looked at: a person can't read faster.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Prints what the ports see whenever it has changed, and what becomes of exports, until it is interrupted, which is how
/// it ends well.
pub(crate) fn run(args: &cli::Run, json: bool, interrupt: &Interrupt) -> anyhow::Result<()> {
    let (daemon, config) = Daemon::load(&args.config)?;
    let daemon = Arc::new(daemon);
    let mut notifier = Notifier::from_environment().context("cannot reach the service manager")?;
    // Before the ports: another daemon may be there.
    let bind = |control: &ControlConfig| Server::bind(&control.path, &control.access(), Arc::clone(&daemon));
    let orders = config.control.as_ref().map(bind).transpose().context("no orders can be taken")?;
    daemon.start(&config)?;
    notifier.say("READY=1");
    let result = stay(&daemon, orders.as_ref(), &mut notifier, json, interrupt);
    notifier.say("STOPPING=1");
    drop(orders);
    daemon.stop();
    result
}

fn stay(
    daemon: &Daemon,
    orders: Option<&Server<Daemon>>,
    notifier: &mut Notifier,
    json: bool,
    interrupt: &Interrupt,
) -> anyhow::Result<()> {
    let mut printed = None;
    while !interrupt.is_raised() {
        daemon.look();
        let listing = daemon.with_session(Listing::of)?;
        if printed.as_ref() != Some(&listing) {
            program::print(json, &listing)?;
            printed = Some(listing);
        }
        daemon.take_notes().iter().try_for_each(|note| program::print(json, note))?;
        daemon.with_session(|session| session.check_running())??;
        notifier.watchdog(|| daemon.is_well());
        let servers = daemon.servers();
        let orders = orders.iter().map(|&server| server as &dyn Accept);
        let sockets: Vec<_> = orders.chain(servers.iter().map(|server| &**server)).collect();
        sockets::serve(&sockets, LOOK_INTERVAL)?;
    }
    Ok(())
}
