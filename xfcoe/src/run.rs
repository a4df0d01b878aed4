//! `xfcoe run`: log in and stay.

use crate::cli;
use crate::config::Config;
use crate::interrupt::Interrupt;
use crate::list::Listing;
use crate::program;
use crate::session::Session;
use std::thread;
use std::time::Duration;

/// How often the inventory is looked at: a person can't read faster.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Prints what the ports see whenever it has changed, until it is interrupted, which is how it ends well.
pub(crate) fn run(args: &cli::Run, json: bool, interrupt: &Interrupt) -> anyhow::Result<()> {
    let session = Session::start(&Config::load(&args.config)?)?;
    let mut printed = None;
    while !interrupt.is_raised() {
        let listing = Listing::of(&session);
        if printed.as_ref() != Some(&listing) {
            program::print(json, &listing)?;
            printed = Some(listing);
        }
        session.check_running()?;
        thread::sleep(LOOK_INTERVAL);
    }
    Ok(())
}
