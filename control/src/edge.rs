//! What control needs of the world, and the loop of its thread.

use crate::control::Control;
use crate::identity::{IdentityError, Order};
use crate::inventory::Inventory;
use fc::messages::{Command, Completion, FromCore, ToCore};
use fc::time::{Duration, Instant};
use fc::wire::MacAddr;

/// The world around a [`Control`]: its core, its link, and who looks at what it found.
///
/// The daemon implements it over queues and sockets, the simulation over itself.
pub trait Edge {
    /// The next frame from the core.
    fn receive(&mut self) -> Option<FromCore>;

    /// Hands a message to the core; a full queue waits for the core to take some.
    fn send(&mut self, message: ToCore);

    /// Submits a command to the core.
    ///
    /// # Errors
    /// The command is given back when too many are out.
    fn submit(&mut self, command: Command) -> Result<(), Command>;

    /// The next command's end.
    fn completion(&mut self) -> Option<Completion>;

    /// Frames to this MAC address are ours from now on: in the XDP program's map and the NIC's filter.
    fn add_mac(&mut self, mac: MacAddr);

    /// Frames to this MAC address are not ours any more.
    fn remove_mac(&mut self, mac: MacAddr);

    /// Whether the link is there now, if that has changed.
    fn link_change(&mut self) -> Option<bool>;

    /// Whether someone has heard since the last time that access states have changed (SPC-4, 5.16.2.3).
    fn takes_access_for_doubtful(&mut self) -> bool;

    /// How the identities are to be changed.
    fn order(&mut self) -> Option<Order>;

    /// What came of the last order.
    fn answer(&mut self, result: Result<(), IdentityError>);

    /// Shows what was found.
    fn publish(&mut self, inventory: &Inventory);
}

/// The longest that the loop sleeps.
const MAX_SLEEP: Duration = Duration::from_secs(1);

/// How long the loop gives remote ports and the fabric to answer LOGO when it ends.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

/// The loop of the control thread. `wait` sleeps until something may have come or the duration has passed, and says
/// whether the loop shall go on; when it says no, control logs out and the loop ends.
pub fn run<E: Edge>(
    mut control: Control,
    edge: &mut E,
    clock: impl Fn() -> Instant,
    mut wait: impl FnMut(&mut E, Duration) -> bool,
) {
    let mut shutdown_by = None;
    loop {
        let now = clock();
        control.step(now, edge);
        match shutdown_by {
            Some(by) if now >= by || control.is_offline() => return,
            _ => {}
        }
        let timeout = control.poll_timeout().map_or(MAX_SLEEP, |at| at.since(now).min(MAX_SLEEP));
        let goes_on = wait(edge, timeout);
        if !goes_on && shutdown_by.is_none() {
            let now = clock();
            control.shutdown(now);
            shutdown_by = Some(now + SHUTDOWN_TIMEOUT);
        }
    }
}
