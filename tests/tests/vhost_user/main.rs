//! vhost-user-blk devices and their guests, with a disk in memory and with one of the SAN in a box.

mod hostile;
mod inflight;
mod requests;

use export::vhost_user::{Server, Trust};
use export::{BlockDevice, Export};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(10);

/// A device at a socket, for as long as this lives.
struct Served {
    folder: PathBuf,
    export: Arc<Export>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Served {
    fn new(name: &str, device: Arc<dyn BlockDevice>) -> Self {
        Self::with_trust(name, device, Trust::Sealed)
    }

    fn with_trust(name: &str, device: Arc<dyn BlockDevice>, trust: Trust) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("xfcoe-vhost-{}-{number}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let export = Arc::new(Export::new(name, device));
        let listener = UnixListener::bind(folder.join("socket")).unwrap();
        let server = Server::new(listener, Arc::clone(&export), trust).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                let mut fds = [PollFd::new(server.as_fd(), PollFlags::POLLIN)];
                poll(&mut fds, PollTimeout::from(20u8)).unwrap();
                server.accept();
            }
        });
        Self { folder, export, stop, thread: Some(thread) }
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("socket")
    }

    fn cut_off(&self) -> u64 {
        self.export.counters().cut_off.load(Ordering::Relaxed)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
        self.export.close();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn count(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(1));
    }
}
