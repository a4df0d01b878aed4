//! Unix sockets at which others are served, and the wait for who comes to them.

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket};
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::{Gid, Group, Uid, User, chown, geteuid};
use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use thiserror::Error;

/// Clients that wait to be accepted.
const BACKLOG: i32 = 16;

/// Why there is no socket.
#[derive(Debug, Error)]
pub enum SocketError {
    /// There is something else.
    #[error("cannot listen at {}: {what}; remove it or name another path", .path.display())]
    Occupied {
        /// The path.
        path: PathBuf,
        /// What is there.
        what: &'static str,
    },
    /// The user or group to whom it is to belong isn't there.
    #[error("there is no {kind} `{name}`, to whom the socket is to belong")]
    Nobody {
        /// "user" or "group".
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// The kernel doesn't like it.
    #[error("cannot listen at {}: {error}", .path.display())]
    Os {
        /// The path.
        path: PathBuf,
        /// What it said.
        #[source]
        error: io::Error,
    },
}

/// Who may connect: the owner, and the group if one is named. Without an owner it is this process's user.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Access {
    /// A user's name.
    pub owner: Option<String>,
    /// A group's name.
    pub group: Option<String>,
}

impl Access {
    fn uid(&self) -> Result<Option<Uid>, SocketError> {
        let find = |name: &String| match User::from_name(name) {
            Ok(Some(user)) => Ok(user.uid),
            _ => Err(SocketError::Nobody { kind: "user", name: name.clone() }),
        };
        self.owner.as_ref().map(find).transpose()
    }

    fn gid(&self) -> Result<Option<Gid>, SocketError> {
        let find = |name: &String| match Group::from_name(name) {
            Ok(Some(group)) => Ok(group.gid),
            _ => Err(SocketError::Nobody { kind: "group", name: name.clone() }),
        };
        self.group.as_ref().map(find).transpose()
    }
}

/// A socket's file, which goes when this is dropped.
#[derive(Debug)]
pub(crate) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// A listener at `path` that doesn't block, for those whom `access` lets in. A socket that a dead process has left
/// there is replaced.
pub(crate) fn listen_at(path: &Path, access: &Access) -> Result<(UnixListener, SocketFile), SocketError> {
    if is_stale(path, access)? {
        fs::remove_file(path).map_err(|error| SocketError::Os { path: path.into(), error })?;
    }
    let (uid, gid) = (access.uid()?, access.gid()?);
    if let Some(folder) = path.parent() {
        // Such as a fresh /run/xfcoe. Whether it is there then is for bind(2) to say.
        let _ = fs::create_dir(folder);
    }
    let listener = bind_at(path, uid, gid)
        .map_err(|error| SocketError::Os { path: path.into(), error: error.into() })?;
    Ok((listener, SocketFile(path.into())))
}

/// Fails if [`listen_at`] would for what there is at `path`, and changes nothing.
pub(crate) fn check(path: &Path, access: &Access) -> Result<(), SocketError> {
    access.gid()?;
    is_stale(path, access).map(|_| ())
}

/// Whether there is a socket that nobody listens at any more; whatever else is there is an error.
fn is_stale(path: &Path, access: &Access) -> Result<bool, SocketError> {
    let occupied = |what| Err(SocketError::Occupied { path: path.into(), what });
    let os = |error| SocketError::Os { path: path.into(), error };
    let owner = access.uid()?;
    let there = match fs::symlink_metadata(path) {
        Ok(there) => there,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(os(error)),
    };
    if !there.file_type().is_socket() {
        return occupied("there is something that is no socket");
    }
    if ![Some(geteuid()), owner].contains(&Some(there.uid().into())) {
        return occupied("there is another user's socket");
    }
    match UnixStream::connect(path) {
        Ok(_) => occupied("another program listens there"),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(true),
        Err(error) => Err(os(error)),
    }
}

/// The file gets the mode that the socket has, and nobody can connect before it has its owner.
fn bind_at(path: &Path, uid: Option<Uid>, gid: Option<Gid>) -> nix::Result<UnixListener> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    let owner = Mode::S_IRUSR | Mode::S_IWUSR;
    let group = Mode::S_IRGRP | Mode::S_IWGRP;
    fchmod(&socket, if gid.is_some() { owner | group } else { owner })?;
    bind(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    chown(path, uid, gid).and_then(|()| listen(&socket, Backlog::new(BACKLOG)?)).inspect_err(|_| {
        let _ = fs::remove_file(path);
    })?;
    Ok(socket.into())
}

/// A socket to which others come.
pub trait Accept: AsFd {
    /// Lets in who waits, and waits itself only for a moment, if descriptors run out.
    fn accept(&self);
}

impl Accept for export::nbd::Server {
    fn accept(&self) {
        export::nbd::Server::accept(self);
    }
}

impl Accept for export::vhost_user::Server {
    fn accept(&self) {
        export::vhost_user::Server::accept(self);
    }
}

/// Lets in those who come to `sockets` within `timeout`, and returns when it is over.
pub fn serve(sockets: &[&dyn Accept], timeout: Duration) -> io::Result<()> {
    let deadline = Instant::now() + timeout;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut waiting: Vec<_> =
            sockets.iter().map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN)).collect();
        // Rounded up: what is left below a millisecond must not spin.
        let timeout = PollTimeout::try_from(left.as_micros().div_ceil(1000)).unwrap_or(PollTimeout::MAX);
        match poll(&mut waiting, timeout) {
            Ok(_) if left.is_zero() => return Ok(()),
            Ok(_) => {}
            Err(nix::Error::EINTR) => continue,
            Err(error) => return Err(error.into()),
        }
        let came = waiting.iter().map(|fd| fd.any().unwrap_or(true));
        for (socket, _) in sockets.iter().zip(came).filter(|(_, came)| *came) {
            socket.accept();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_for_nobody_uses_no_cpu_time() {
        let used_ns = || {
            let said = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
            said.split(' ').next().unwrap().parse::<u64>().unwrap()
        };
        let before = used_ns();
        for _ in 0..100 {
            serve(&[], Duration::from_micros(1900)).unwrap();
        }
        let used = Duration::from_nanos(used_ns() - before);
        assert!(used < Duration::from_millis(40), "{used:?} of 190 ms");
    }
}
