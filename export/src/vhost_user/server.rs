//! A vhost-user-blk device at a unix socket, with a thread for its front end.

use super::device::{Device, Stop};
use super::memory::Trust;
use crate::clients::Clients;
use crate::export::{Connected, Counters, Export};
use nix::sys::socket::{Shutdown, shutdown};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use thiserror::Error;
use vhost::vhost_user::{self, BackendReqHandler};

/// Front ends that wait until another one has gone; more are closed at once.
const MAX_WAITING: usize = 4;

/// How long they wait. A front end that was started anew comes before its old connection is known to have ended.
const PATIENCE: Duration = Duration::from_secs(5);

/// An export as a vhost-user-blk device. Dropping it lets nobody connect any more; [`Export::close`] ends who is.
pub struct Server {
    listener: UnixListener,
    export: Arc<Export>,
    trust: Trust,
    front_ends: Clients,
}

impl Server {
    /// Hands an export out at a listener.
    ///
    /// # Errors
    /// If that can't be made not to block.
    pub fn new(listener: UnixListener, export: Arc<Export>, trust: Trust) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let front_ends = Clients::new("a vhost-user front end", "vhost-user", MAX_WAITING + 1);
        Ok(Self { listener, export, trust, front_ends })
    }

    /// Lets in who waits; waits itself only for a moment, if descriptors run out. To be called when the server's
    /// descriptor can be read.
    pub fn accept(&self) {
        self.front_ends.accept(
            || self.listener.accept(),
            |(socket, _)| {
                let (export, trust) = (Arc::clone(&self.export), self.trust);
                move || {
                    let Err(end) = connection(socket, &export, trust);
                    if end.is_wrong() {
                        Counters::add(&export.counters().cut_off, 1);
                    }
                    tracing::debug!(%end, "a vhost-user connection ended");
                }
            },
        );
    }
}

impl AsFd for Server {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

/// Why a connection ended.
#[derive(Debug, Error)]
enum End {
    #[error("the front end did wrong: {0}")]
    Wrong(#[from] Stop),
    #[error("the front end did wrong: {0}")]
    Message(vhost_user::Error),
    #[error("the front end has gone")]
    Gone,
    #[error("another front end has the device")]
    Taken,
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl End {
    fn is_wrong(&self) -> bool {
        match self {
            Self::Wrong(stop) => matches!(stop, Stop::FrontEnd(_)),
            Self::Message(_) => true,
            Self::Gone | Self::Taken | Self::Io(_) => false,
        }
    }
}

/// A connection from its first message to its end.
fn connection(
    socket: UnixStream,
    export: &Arc<Export>,
    trust: Trust,
) -> Result<std::convert::Infallible, End> {
    let own: Arc<OwnedFd> = Arc::new(socket.try_clone()?.into());
    let mut connected = export.connect_alone(Arc::clone(&own), PATIENCE).ok_or(End::Taken)?;
    #[allow(clippy::arc_with_non_send_sync, reason = "vhost asks for it, and no other thread ever has it")]
    let device = Arc::new(Mutex::new(Device::new(export, trust, &own)?));
    let mut messages = BackendReqHandler::from_stream(socket, Arc::clone(&device));
    let end = serve(&device, &mut messages);
    drain(&device, &own, &mut connected)?;
    end
}

/// Serves rings and messages in turn, all in this thread: the lock is there only because messages come by way of vhost.
fn serve(
    device: &Mutex<Device>,
    messages: &mut BackendReqHandler<Mutex<Device>>,
) -> Result<std::convert::Infallible, End> {
    let lock = || device.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        lock().serve()?;
        if let Err(error) = messages.handle_request() {
            return Err(match (lock().wrong.take(), error) {
                (Some(stop), _) => stop.into(),
                (None, vhost_user::Error::Disconnected | vhost_user::Error::SocketBroken(_)) => End::Gone,
                (None, error) => End::Message(error),
            });
        }
    }
}

/// Waits for what is out at the disk: nothing of it may come after what the next front end does.
fn drain(device: &Mutex<Device>, socket: &OwnedFd, connected: &mut Connected) -> io::Result<()> {
    // One that is gone already needs no shutdown.
    let _ = shutdown(socket.as_raw_fd(), Shutdown::Both);
    connected.drain();
    device.lock().unwrap_or_else(PoisonError::into_inner).drain(socket)
}
