//! The unix socket at which a SAN takes orders.
//!
//! A client is served on a thread of its own, request by request: it has its next one read when it has taken the
//! answer to the last one. What it does wrong ends its own connection.

use super::{Answer, MAX_REQUEST_LEN, Request, Summary};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket};
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::geteuid;
use san::Remote;
use std::fs;
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use thiserror::Error;

/// Clients at a time; more are sent away.
const MAX_CLIENTS: usize = 8;
/// Clients that wait to be accepted.
const BACKLOG: i32 = 8;
/// How long a client may take for a request. It may also be somebody at a keyboard.
const REQUEST_TIME: Duration = Duration::from_secs(60);
/// How long a client may take to read an answer.
const ANSWER_TIME: Duration = Duration::from_secs(1);

/// Why no orders can be taken.
#[derive(Debug, Error)]
pub(crate) enum ServerError {
    /// There is something else.
    #[error("cannot take orders at {path}: {what}; remove it or name another path")]
    Occupied {
        /// The path.
        path: PathBuf,
        /// What is there.
        what: &'static str,
    },
    /// The kernel doesn't like it.
    #[error("cannot take orders at {path}: {error}")]
    Os {
        /// The path.
        path: PathBuf,
        /// What it said.
        #[source]
        error: io::Error,
    },
}

/// The socket, which goes when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    listener: UnixListener,
    path: PathBuf,
    remote: Arc<Remote>,
    /// Each client has a clone.
    clients: Arc<()>,
}

impl Server {
    /// Takes orders for the SAN of `remote` at `path`, which only this process's user may give. A socket that a
    /// SAN of this user has left there is replaced.
    pub(crate) fn bind(path: &Path, remote: Arc<Remote>) -> Result<Self, ServerError> {
        make_way(path)?;
        let listener =
            listen_at(path).map_err(|error| ServerError::Os { path: path.into(), error: error.into() })?;
        Ok(Self { listener, path: path.into(), remote, clients: Arc::new(()) })
    }

    /// Sees to clients that come within `timeout`, and returns when it is over.
    pub(crate) fn serve(&self, timeout: Duration) -> io::Result<()> {
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let mut waiting = [PollFd::new(self.listener.as_fd(), PollFlags::POLLIN)];
            match poll(&mut waiting, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
                Ok(_) if left.is_zero() => return Ok(()),
                Ok(0) | Err(nix::Error::EINTR) => {}
                Ok(_) => self.accept(left),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn accept(&self, left: Duration) {
        let stream = match self.listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) => {
                // One that has gone again is no client; where no descriptor is to be had, they wait.
                tracing::debug!(%error, "no connection for orders");
                return thread::sleep(left);
            }
        };
        let client = Client { stream, remote: Arc::clone(&self.remote), _place: Arc::clone(&self.clients) };
        let others = Arc::strong_count(&self.clients) - 2;
        if others >= MAX_CLIENTS {
            // Whether it hears that is its own affair.
            let _ =
                client.answer(&Answer::Refused(format!("{others} others give orders already; try again")));
            return;
        }
        let thread = thread::Builder::new().name("order".into()).spawn(move || {
            if let Err(error) = client.run() {
                tracing::debug!(%error, "a connection for orders ended");
            }
        });
        if let Err(error) = thread {
            tracing::warn!(%error, "no thread for a connection for orders");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Removes a socket that nobody listens at any more; refuses whatever else is there.
fn make_way(path: &Path) -> Result<(), ServerError> {
    let occupied = |what| Err(ServerError::Occupied { path: path.into(), what });
    let os = |error| ServerError::Os { path: path.into(), error };
    let there = match fs::symlink_metadata(path) {
        Ok(there) => there,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(os(error)),
    };
    if !there.file_type().is_socket() {
        return occupied("there is something that is no socket");
    }
    if there.uid() != geteuid().as_raw() {
        return occupied("there is another user's socket");
    }
    match UnixStream::connect(path) {
        Ok(_) => occupied("another program listens there"),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path).map_err(os),
        Err(error) => Err(os(error)),
    }
}

/// A socket with the mode 0600 from its first moment: the file gets what the socket has.
fn listen_at(path: &Path) -> nix::Result<UnixListener> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    fchmod(&socket, Mode::S_IRUSR | Mode::S_IWUSR)?;
    bind(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    listen(&socket, Backlog::new(BACKLOG)?)?;
    Ok(socket.into())
}

/// Somebody who gives orders.
struct Client {
    stream: UnixStream,
    remote: Arc<Remote>,
    _place: Arc<()>,
}

impl Client {
    /// Request after request, until it goes or does something wrong.
    fn run(&self) -> io::Result<()> {
        // Accepted sockets block, whatever the listener does.
        let mut reader = BufReader::with_capacity(MAX_REQUEST_LEN, self.stream.try_clone()?);
        while let Some(line) = read_line(&mut reader)? {
            let request = match line {
                Line::Whole(line) => serde_json::from_slice(&line).map_err(|error| error.to_string()),
                Line::TooLong => Err(format!("it has more than {MAX_REQUEST_LEN} bytes")),
            };
            match request {
                Ok(request) => self.answer(&self.carry_out(request))?,
                Err(why) => {
                    self.answer(&Answer::Refused(format!("this is no request: {why}")))?;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn carry_out(&self, request: Request) -> Answer {
        let result = match request {
            Request::Show => self.remote.stats(),
            Request::Order(order) => {
                tracing::info!(?order, "an order");
                self.remote.order(order)
            }
        };
        match result {
            Ok(stats) => Answer::Done(Summary::from(&stats)),
            Err(error) => Answer::Refused(error.to_string()),
        }
    }

    fn answer(&self, answer: &Answer) -> io::Result<()> {
        self.stream.set_write_timeout(Some(ANSWER_TIME))?;
        (&self.stream).write_all(format!("{}\n", serde_json::to_string(answer)?).as_bytes())
    }
}

enum Line {
    Whole(Vec<u8>),
    TooLong,
}

/// The next line, without its end; `None` when there is none.
fn read_line(reader: &mut BufReader<UnixStream>) -> io::Result<Option<Line>> {
    let deadline = Instant::now() + REQUEST_TIME;
    let mut line = Vec::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        reader.get_ref().set_read_timeout(Some(left))?;
        let bytes = reader.fill_buf()?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let end = bytes.iter().position(|&byte| byte == b'\n');
        line.extend_from_slice(&bytes[..end.unwrap_or(bytes.len())]);
        if line.len() > MAX_REQUEST_LEN {
            return Ok(Some(Line::TooLong));
        }
        let used = end.map_or(bytes.len(), |end| end + 1);
        reader.consume(used);
        if end.is_some() {
            return Ok(Some(Line::Whole(line)));
        }
    }
}
