//! NBD at a socket: a listener, and a thread for each connection.

use super::ProtocolError;
use super::buffers::Input;
use super::negotiation::{Choice, Negotiation, Offer, Progress};
use super::transmission::Transmission;
use crate::block::BlockQueue;
use crate::clients::Clients;
use crate::export::{Connected, Counters, Export};
use crate::pieces::QUEUE_DEPTH;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::sockopt::{ReceiveTimeout, SendTimeout, TcpNoDelay};
use nix::sys::socket::{MsgFlags, SetSockOpt, Shutdown, recv, send, sendmsg, setsockopt, shutdown};
use nix::sys::time::TimeVal;
use std::io::{self, IoSlice};
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use thiserror::Error;

/// Connections of a server; more are closed at once. A client such as nbdcopy makes four.
const MAX_CONNECTIONS: usize = 64;

/// How long a client may take to choose an export.
const NEGOTIATION_TIME: Duration = Duration::from_secs(10);

/// How long a connection's thread sleeps when nothing happens.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// Parts of replies that are sent at once.
const SLICES: usize = 64;

/// Where clients connect.
#[derive(Debug)]
pub enum Listener {
    /// A unix socket.
    Unix(UnixListener),
    /// A TCP port. There is no TLS: who reaches it may use the disks.
    Tcp(TcpListener),
}

impl Listener {
    fn accept(&self) -> io::Result<OwnedFd> {
        match self {
            Self::Unix(listener) => Ok(listener.accept()?.0.into()),
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept()?;
                // Replies are whole when they are sent.
                setsockopt(&stream, TcpNoDelay, &true)?;
                Ok(stream.into())
            }
        }
    }
}

/// The exports that are had at one socket. Dropping it lets nobody connect any more; [`Export::close`] ends who is.
pub struct Server {
    listener: Listener,
    exports: Mutex<Vec<Arc<Export>>>,
    clients: Clients,
}

impl Server {
    /// Exports, as yet none, at a listener.
    ///
    /// # Errors
    /// If it can't be made not to block.
    pub fn new(listener: Listener) -> io::Result<Self> {
        match &listener {
            Listener::Unix(listener) => listener.set_nonblocking(true)?,
            Listener::Tcp(listener) => listener.set_nonblocking(true)?,
        }
        let clients = Clients::new("an NBD client", "nbd", MAX_CONNECTIONS);
        Ok(Self { listener, exports: Mutex::default(), clients })
    }

    /// Hands out an export to those who connect from now on. The first one of a name counts.
    pub fn add(&self, export: Arc<Export>) {
        self.lock().push(export);
    }

    /// Takes an export away from those who connect from now on.
    pub fn remove(&self, name: &str) {
        self.lock().retain(|export| export.name() != name);
    }

    /// Whether there is nothing to be had.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Lets in who waits; waits itself only for a moment, if descriptors run out. To be called when the server's descriptor can be read.
    pub fn accept(&self) {
        self.clients.accept(
            || self.listener.accept(),
            |socket| {
                let exports = self.lock().clone();
                move || match connection(&Arc::new(socket), &exports) {
                    Ok(()) => tracing::debug!("an NBD client has gone"),
                    Err(error) => tracing::debug!(%error, "an NBD connection ended"),
                }
            },
        );
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Export>>> {
        self.exports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsFd for Server {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.listener {
            Listener::Unix(listener) => listener.as_fd(),
            Listener::Tcp(listener) => listener.as_fd(),
        }
    }
}

/// Why a connection ended, other than by the client's good-bye.
#[derive(Debug, Error)]
enum End {
    #[error("the client did wrong: {0}")]
    Protocol(#[from] ProtocolError),
    #[error("the client took more than {NEGOTIATION_TIME:?} to choose an export")]
    Slow,
    #[error("the client vanished")]
    Vanished,
    #[error("the export was closed")]
    Closed,
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<Errno> for End {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::EPIPE | Errno::ECONNRESET => Self::Vanished,
            other => Self::Io(other.into()),
        }
    }
}

/// A connection from the greeting to its end.
fn connection(socket: &Arc<OwnedFd>, exports: &[Arc<Export>]) -> Result<(), End> {
    let mut input = Input::new();
    let offer =
        |export: &Arc<Export>| Offer { name: export.name().into(), geometry: export.geometry().clone() };
    let Some(choice) = negotiate(socket, exports.iter().map(offer).collect(), &mut input)? else {
        return Ok(());
    };
    let export = &exports[choice.offer];
    let connected = export.connect(Arc::clone(socket)).ok_or(End::Closed)?;
    let queue = export.device().queue(QUEUE_DEPTH)?;
    let counters = Arc::clone(export.counters());
    let transmission = Transmission::new(export.geometry().clone(), choice.structured, input, counters);
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let end = Service { socket, connected, queue, transmission, epoll }.run();
    if let Err(End::Protocol(_)) = end {
        Counters::add(&export.counters().cut_off, 1);
    }
    end
}

/// With a socket that blocks, and timeouts.
fn negotiate(socket: &OwnedFd, offers: Vec<Offer>, input: &mut Input) -> Result<Option<Choice>, End> {
    let deadline = Instant::now() + NEGOTIATION_TIME;
    let mut output = Vec::new();
    let mut negotiation = Negotiation::new(offers, &mut output);
    loop {
        send_all(socket, &output, deadline)?;
        output.clear();
        match negotiation.handle(input, &mut output)? {
            Progress::Answered => {}
            Progress::Incomplete => {
                set_timeout(socket, ReceiveTimeout, deadline)?;
                match recv(socket.as_raw_fd(), input.space(), MsgFlags::empty()) {
                    Ok(0) => return Err(End::Vanished),
                    Ok(len) => input.filled(len),
                    Err(Errno::EINTR) => {}
                    Err(Errno::EAGAIN) => return Err(End::Slow),
                    Err(errno) => return Err(errno.into()),
                }
            }
            Progress::Chosen(choice) => {
                send_all(socket, &output, deadline)?;
                return Ok(Some(choice));
            }
            Progress::Aborted => {
                send_all(socket, &output, deadline)?;
                return Ok(None);
            }
        }
    }
}

fn send_all(socket: &OwnedFd, mut bytes: &[u8], deadline: Instant) -> Result<(), End> {
    while !bytes.is_empty() {
        set_timeout(socket, SendTimeout, deadline)?;
        match send(socket.as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL) {
            Ok(len) => bytes = &bytes[len..],
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => return Err(End::Slow),
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

fn set_timeout<O: SetSockOpt<Val = TimeVal>>(
    socket: &OwnedFd,
    option: O,
    deadline: Instant,
) -> Result<(), End> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(End::Slow);
    }
    // Zero would be for ever.
    let micros = i64::try_from(left.as_micros()).expect("some seconds").max(1);
    Ok(setsockopt(socket, option, &TimeVal::new(micros / 1_000_000, micros % 1_000_000))?)
}

/// A connection in its transmission phase.
struct Service<'a> {
    socket: &'a OwnedFd,
    connected: Connected,
    queue: Box<dyn BlockQueue>,
    transmission: Transmission,
    /// Can be read when the socket is what is waited for.
    epoll: Epoll,
}

impl Service<'_> {
    fn run(mut self) -> Result<(), End> {
        self.epoll.add(self.socket, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
        let end = self.serve();
        self.drain()?;
        end
    }

    fn serve(&mut self) -> Result<(), End> {
        let mut watched = EpollFlags::EPOLLIN;
        let mut is_read = true;
        self.transmission.handle_input()?;
        loop {
            let has_worked = self.work()?;
            // What wakes us is mostly one or the other, the device or the client, and a look for the other is a system
            // call. Where the device always has something, the client has every second turn.
            is_read = !(has_worked && is_read);
            if is_read {
                self.receive()?;
            }
            // Each may give the other something to do.
            while self.work()? | self.send()? {}
            if self.transmission.is_over() {
                return Ok(());
            }
            self.wait(&mut watched)?;
        }
    }

    /// Sleeps until there is something to do.
    fn wait(&mut self, watched: &mut EpollFlags) -> Result<(), End> {
        let is_read = !self.transmission.receive_buffer().is_empty();
        let mut wanted = EpollFlags::empty();
        wanted.set(EpollFlags::EPOLLIN, is_read);
        wanted.set(EpollFlags::EPOLLOUT, self.transmission.has_output());
        if *watched != wanted {
            self.epoll.modify(self.socket, &mut EpollEvent::new(wanted, 0))?;
            *watched = wanted;
        }
        self.queue.wait_with(self.epoll.0.as_fd(), LONGEST_SLEEP)?;
        // Of a client that isn't read from, nothing else tells that it is gone.
        let mut events = [EpollEvent::empty()];
        if !is_read
            && self.epoll.wait(&mut events, EpollTimeout::ZERO)? > 0
            && events[0].events().intersects(EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR)
        {
            return Err(End::Vanished);
        }
        Ok(())
    }

    /// Takes what has come, if there is room for it.
    fn receive(&mut self) -> Result<(), End> {
        let buffer = self.transmission.receive_buffer();
        if buffer.is_empty() {
            return Ok(());
        }
        match recv(self.socket.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT) {
            Ok(0) => Err(End::Vanished),
            Ok(len) => Ok(self.transmission.handle_received(len)?),
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Submits what can be, takes what has ended, and says whether there was any of it.
    fn work(&mut self) -> Result<bool, End> {
        let mut any = false;
        while let Some((tag, operation)) = self.transmission.poll_operation() {
            self.queue.submit(tag, operation);
            any = true;
        }
        if any {
            self.queue.kick();
        }
        while let Some(finished) = self.queue.poll() {
            self.transmission.handle_finished(finished);
            any = true;
        }
        if any {
            self.transmission.handle_input()?;
        }
        Ok(any)
    }

    /// Whether anything went.
    fn send(&mut self) -> Result<bool, End> {
        if !self.transmission.has_output() {
            return Ok(false);
        }
        let mut slices = [IoSlice::new(&[]); SLICES];
        let count = self.transmission.output(&mut slices);
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        match sendmsg::<()>(self.socket.as_raw_fd(), &slices[..count], &[], flags, None) {
            Ok(len) => {
                self.transmission.handle_sent(len);
                self.transmission.handle_input()?;
                Ok(true)
            }
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Waits for what is out at the device: nothing of it may come after what the client does next.
    fn drain(&mut self) -> Result<(), End> {
        // One that is gone already needs no shutdown.
        let _ = shutdown(self.socket.as_raw_fd(), Shutdown::Both);
        self.connected.drain();
        self.epoll.delete(self.socket)?;
        while self.transmission.outstanding() > 0 {
            match self.queue.poll() {
                Some(finished) => self.transmission.handle_finished(finished),
                None => self.queue.wait_with(self.epoll.0.as_fd(), LONGEST_SLEEP)?,
            }
        }
        Ok(())
    }
}
