//! A device of an export, and the thread that makes it and takes it away.

use super::control::{self, Claim, refused};
use super::parameters::parameters;
use super::queue::{Bell, Queue};
use super::{State, UblkError};
use crate::export::Export;
use libublk::io::UblkDev;
use std::io::{self, ErrorKind, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How often to try again to make a device, and to look whether one is still served.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// An export as a block device of this machine. [`Export::close`] takes it away, and it is gone when the export has no
/// client any more.
pub struct Server {
    shared: Arc<Shared>,
}

struct Shared {
    export: Arc<Export>,
    number: u32,
    /// What stands in the device.
    mark: u64,
    state: Mutex<State>,
    leaves: AtomicBool,
}

impl Server {
    /// Begins to hand an export out as the device of a number; [`Self::state`] tells how that goes. `disk` are words that
    /// name the disk for good: a device that a daemon left behind is taken over if it was of the same.
    ///
    /// # Errors
    /// When there are not the means for it, or Linux has no such disks.
    pub fn start(export: Arc<Export>, number: u32, disk: &str) -> Result<Self, UblkError> {
        parameters(export.geometry())?;
        let (end, watched) = UnixStream::pair()?;
        watched.set_read_timeout(Some(LOOK_INTERVAL))?;
        let state = Mutex::new(State::Starting);
        let shared = Arc::new(Shared {
            export,
            number,
            mark: control::mark(disk),
            state,
            leaves: AtomicBool::new(false),
        });
        let of_thread = Arc::clone(&shared);
        thread::Builder::new().name("ublk".into()).spawn(move || of_thread.run(end.into(), &watched))?;
        Ok(Self { shared })
    }

    /// How the device stands.
    pub fn state(&self) -> State {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lets a device that is in use outlive the export, for another daemon: to be said before the export is closed.
    pub fn leave(&self) {
        self.shared.leaves.store(true, Ordering::Release);
    }
}

impl Shared {
    /// The export knows the device as a client with the socket `end`, and closes that to end it.
    fn run(&self, end: OwnedFd, watched: &UnixStream) {
        let Some(connected) = self.export.connect(Arc::new(end)) else { return };
        let ended = self.serve(watched);
        if let Err(error) = &ended {
            tracing::warn!(%error, "an ublk device ended");
        }
        self.set(State::Ended(ended.err().map(|error| error.to_string())));
        drop(connected);
    }

    fn serve(&self, watched: &UnixStream) -> Result<(), UblkError> {
        loop {
            match self.open() {
                Ok(device) => {
                    self.set(State::Live);
                    while !is_closed(watched)? && device.is_served() {}
                    return device.end(self.leaves());
                }
                Err(error) => self.set(State::Hindered(error.to_string())),
            }
            if is_closed(watched)? {
                // Whoever removes the export wants to be rid of what is in its way, too.
                return if self.leaves() { Ok(()) } else { control::remove_orphan(self.number).map(|_| ()) };
            }
        }
    }

    fn open(&self) -> Result<Device, UblkError> {
        let parameters = parameters(self.export.geometry())?;
        let Claim { control, is_old } = control::claim(self.number, self.mark, &parameters)?;
        let name = control.get_name();
        let tell = |device: &mut UblkDev| {
            device.tgt.dev_size = self.export.geometry().len();
            device.tgt.params = parameters;
            Ok(())
        };
        let device = UblkDev::new(name, tell, &control).map_err(refused("open", self.number))?;
        let mut device =
            Device { number: self.number, control, device: Arc::new(device), queues: Vec::new() };
        let started = self.start_queues(&mut device).and_then(|()| {
            device.control.start_dev(&device.device).map_err(refused("start", self.number)).map(|_| ())
        });
        if let Err(error) = started {
            // What waits for an old one may wait for longer.
            device.end(is_old)?;
            return Err(error);
        }
        Ok(device)
    }

    fn start_queues(&self, device: &mut Device) -> Result<(), UblkError> {
        let (ready, started) = channel();
        for id in 0..device.device.dev_info.nr_hw_queues {
            let bell = Arc::new(Bell::new()?);
            let (of_device, export) = (Arc::clone(&device.device), Arc::clone(&self.export));
            let (of_thread, ready) = (Arc::clone(&bell), ready.clone());
            let thread = thread::Builder::new()
                .name(format!("ublk{}-{id}", self.number))
                .spawn(move || run_queue(id, &of_device, &export, of_thread, ready))?;
            device.queues.push(Served { bell, thread });
        }
        drop(ready);
        started.iter().collect()
    }

    fn leaves(&self) -> bool {
        self.leaves.load(Ordering::Acquire)
    }

    fn set(&self, state: State) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }
}

/// A queue's thread.
fn run_queue(
    id: u16,
    device: &UblkDev,
    export: &Export,
    bell: Arc<Bell>,
    ready: Sender<Result<(), UblkError>>,
) -> Result<(), UblkError> {
    let queue = match Queue::new(id, device, export, bell) {
        Ok(queue) => queue,
        Err(error) => {
            // Whoever waits for it has given up if it isn't taken.
            let _ = ready.send(Err(error));
            return Ok(());
        }
    };
    let _ = ready.send(Ok(()));
    drop(ready);
    queue.serve()
}

/// A device with its queues.
struct Device {
    number: u32,
    control: libublk::ctrl::UblkCtrl,
    device: Arc<UblkDev>,
    queues: Vec<Served>,
}

/// A queue that has a thread.
struct Served {
    bell: Arc<Bell>,
    thread: JoinHandle<Result<(), UblkError>>,
}

impl Device {
    /// Whether it has all of its queues; without one it is of no use.
    fn is_served(&self) -> bool {
        !self.queues.iter().any(|queue| queue.thread.is_finished())
    }

    /// Takes it away once what is out has ended; or leaves it to another daemon, if it `may_stay` and is in use.
    fn end(self, may_stay: bool) -> Result<(), UblkError> {
        let Self { number, control, device, queues } = self;
        let stays = may_stay && control::is_in_use(number);
        let stopped = if stays {
            control.disown();
            Ok(())
        } else {
            control.kill_dev().map(|_| ()).map_err(refused("stop", number))
        };
        if stays || stopped.is_err() {
            queues.iter().for_each(|queue| queue.bell.leave());
        }
        let join = |queue: Served| queue.thread.join().expect("it doesn't panic");
        let ends: Vec<_> = queues.into_iter().map(join).collect();
        // The kernel waits for its descriptor to be closed.
        drop(device);
        if !stays {
            stopped?;
            control.del_dev().map_err(refused("remove", number))?;
        }
        ends.into_iter().collect()
    }
}

/// Whether the other end is closed, by now or within the socket's time-out.
fn is_closed(mut socket: &UnixStream) -> io::Result<bool> {
    match socket.read(&mut [0]) {
        Ok(len) => Ok(len == 0),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(false),
        Err(error) => Err(error),
    }
}
