//! Clients that connect: a thread for each, and no more of them than there are places.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// How long to wait for a descriptor to be had again.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(100);

/// A server's clients.
pub(crate) struct Clients {
    /// What one of them is called in the log.
    who: &'static str,
    /// The name of their threads.
    thread: &'static str,
    most: usize,
    /// Each has a clone.
    places: Arc<()>,
}

impl Clients {
    /// None yet; of more than `most`, those who come last are sent away.
    pub(crate) fn new(who: &'static str, thread: &'static str, most: usize) -> Self {
        Self { who, thread, most, places: Arc::new(()) }
    }

    /// Lets in who waits at a listener that doesn't block; waits itself only for a moment, if descriptors run out. What
    /// `serve` makes of a client is done in a thread of its own.
    pub(crate) fn accept<C, W: FnOnce() + Send + 'static>(
        &self,
        next: impl Fn() -> io::Result<C>,
        serve: impl Fn(C) -> W,
    ) {
        let who = self.who;
        loop {
            match next() {
                Ok(client) => self.begin(serve(client)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // One that has gone again is no client.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                // Where no descriptor is to be had, they wait.
                Err(error) => {
                    tracing::warn!(%error, "no connection for {who}");
                    return thread::sleep(SHORTAGE_PAUSE);
                }
            }
        }
    }

    fn begin(&self, work: impl FnOnce() + Send + 'static) {
        let (who, most) = (self.who, self.most);
        let place = Arc::clone(&self.places);
        if Arc::strong_count(&self.places) > most + 1 {
            return tracing::debug!("{who} was sent away: there are {most} already");
        }
        let run = move || {
            let _place = place;
            work();
        };
        if let Err(error) = thread::Builder::new().name(self.thread.into()).spawn(run) {
            tracing::warn!(%error, "no thread for {who}");
        }
    }
}
