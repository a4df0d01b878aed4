//! The unix socket at which a program takes orders.
//!
//! A client is served on a thread of its own, request by request: it has its next one read when it has taken the
//! answer to the last one. What it does wrong ends its own connection.

use super::{Answer, MAX_REQUEST_LEN, TakesOrders};
use crate::sockets::{Accept, Access, SocketError, SocketFile, listen_at};
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// Clients at a time; more are sent away.
const MAX_CLIENTS: usize = 8;
/// How long a client may take for a request. It may also be somebody at a keyboard.
const REQUEST_TIME: Duration = Duration::from_secs(60);
/// How long a client may take to read an answer.
const ANSWER_TIME: Duration = Duration::from_secs(1);
/// How long to wait for a descriptor to be had again.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(10);

/// The socket, whose file goes when this is dropped.
#[derive(Debug)]
pub(crate) struct Server<T> {
    listener: UnixListener,
    _file: SocketFile,
    program: Arc<T>,
    /// Each client has a clone.
    clients: Arc<()>,
}

impl<T: TakesOrders> Server<T> {
    /// Takes orders for `program` at `path`, of those whom `access` lets in.
    pub(crate) fn bind(path: &Path, access: &Access, program: Arc<T>) -> Result<Self, SocketError> {
        let (listener, file) = listen_at(path, access)?;
        Ok(Self { listener, _file: file, program, clients: Arc::new(()) })
    }
}

impl<T> AsFd for Server<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl<T: TakesOrders> Accept for Server<T> {
    fn accept(&self) {
        let stream = match self.listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) => {
                // One that has gone again is no client; where no descriptor is to be had, they wait.
                tracing::debug!(%error, "no connection for orders");
                return thread::sleep(SHORTAGE_PAUSE);
            }
        };
        let client = Client { stream, program: Arc::clone(&self.program), _place: Arc::clone(&self.clients) };
        let others = Arc::strong_count(&self.clients) - 2;
        if others >= MAX_CLIENTS {
            // Whether it hears that is its own affair.
            let _ = client.refuse(format!("{others} others give orders already; try again"));
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

/// Somebody who gives orders.
struct Client<T> {
    stream: UnixStream,
    program: Arc<T>,
    _place: Arc<()>,
}

impl<T: TakesOrders> Client<T> {
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
                Ok(request) => match self.program.carry_out(request) {
                    Ok(done) => self.answer(&Answer::Done(done))?,
                    Err(why) => self.refuse(why)?,
                },
                Err(why) => return self.refuse(format!("this is no request: {why}")),
            }
        }
        Ok(())
    }

    fn refuse(&self, why: String) -> io::Result<()> {
        self.answer(&Answer::Refused(why))
    }

    fn answer(&self, answer: &Answer<T::Answer>) -> io::Result<()> {
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
