//! What systemd is told of a service (`sd_notify(3)`), and how often it wants to hear that all is well.

use std::env;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

/// Who started us, if that wants to hear from us.
pub(super) struct Notifier {
    socket: Option<(UnixDatagram, SocketAddr)>,
    /// How often to say that all is well: twice as often as is wanted.
    watchdog: Option<Duration>,
    said: Instant,
}

impl Notifier {
    /// By `NOTIFY_SOCKET` and `WATCHDOG_USEC`.
    ///
    /// # Errors
    /// If there is to be somebody who can't be reached.
    pub(super) fn from_environment() -> io::Result<Self> {
        let socket = match env::var("NOTIFY_SOCKET") {
            Ok(name) => {
                let socket = UnixDatagram::unbound()?;
                // Who doesn't listen must not keep us from our work.
                socket.set_nonblocking(true)?;
                Some((socket, address(&name)?))
            }
            Err(_) => None,
        };
        let watchdog = env::var("WATCHDOG_USEC").ok().and_then(|micros| micros.parse().ok());
        Ok(Self {
            socket,
            watchdog: watchdog.map(|micros| Duration::from_micros(micros) / 2),
            said: Instant::now(),
        })
    }

    /// Says how we stand, such as `READY=1`. Nobody to hear it is no reason to stop.
    pub(super) fn say(&self, state: &str) {
        if let Some((socket, address)) = &self.socket
            && let Err(error) = socket.send_to_addr(state.as_bytes(), address)
        {
            tracing::warn!(%error, state, "the service manager doesn't hear");
        }
    }

    /// Says that all is well, if it is time for that and `is_well` finds so.
    pub(super) fn watchdog(&mut self, is_well: impl FnOnce() -> bool) {
        if self.watchdog.is_some_and(|interval| self.said.elapsed() >= interval) && is_well() {
            self.said = Instant::now();
            self.say("WATCHDOG=1");
        }
    }
}

/// A path, or a name that begins with `@`.
fn address(name: &str) -> io::Result<SocketAddr> {
    match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(name),
    }
}
