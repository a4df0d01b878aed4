//! The NBD server and the clients that people use, with a disk in memory and with one of the SAN in a box.

mod clients;
mod raw;
mod san;

use export::nbd::{Listener, Server};
use export::{BlockDevice, Export};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use tests::skip;

/// Exports at a unix socket and a TCP port, for as long as this lives.
struct Served {
    folder: PathBuf,
    tcp: SocketAddr,
    exports: Vec<Arc<Export>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Served {
    fn new(devices: &[(&str, Arc<dyn BlockDevice>)]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("xfcoe-nbd-{}-{number}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let unix = UnixListener::bind(folder.join("nbd")).unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        let servers =
            [Listener::Unix(unix), Listener::Tcp(tcp)].map(|listener| Server::new(listener).unwrap());
        let export = |(name, device): &(&str, Arc<dyn BlockDevice>)| {
            let export = Arc::new(Export::new(*name, Arc::clone(device)));
            servers.iter().for_each(|server| server.add(Arc::clone(&export)));
            export
        };
        let exports = devices.iter().map(export).collect();
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                let mut fds = servers.each_ref().map(|server| PollFd::new(server.as_fd(), PollFlags::POLLIN));
                poll(&mut fds, PollTimeout::from(20u8)).unwrap();
                servers.iter().for_each(Server::accept);
            }
        });
        Self { folder, tcp: address, exports, stop, thread: Some(thread) }
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("nbd")
    }

    fn uri(&self, name: &str) -> String {
        format!("nbd+unix:///{name}?socket={}", self.socket().display())
    }

    fn tcp_uri(&self, name: &str) -> String {
        format!("nbd://{}/{name}", self.tcp)
    }

    /// A file beside the socket.
    fn file(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.folder.join(name);
        fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
        self.exports.iter().for_each(|export| export.close());
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Whether these programs are there; else the test is skipped.
fn have(programs: &[&str]) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    let is_there = |program: &&&str| path.split(':').any(|folder| Path::new(folder).join(program).exists());
    let missing: Vec<_> = programs.iter().filter(|program| !is_there(program)).collect();
    if !missing.is_empty() {
        skip(&format!("there is no {missing:?}; ./x net installs what it needs"));
    }
    missing.is_empty()
}

/// Runs a program and gives what it prints.
fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program} {}: {out}{err}", arguments.join(" "));
    out.into_owned()
}
