//! One front end's device: what it has been told by messages, and its rings at work.

use super::config::{self, feature};
use super::inflight::Records;
use super::memory::{Memory, Trust};
use super::polling::Polling;
use super::requests::{Origin, Requests};
use super::ring::{Ring, Setup};
use super::{FrontEndError, MAX_RINGS};
use crate::block::{BlockQueue, Geometry};
use crate::export::Export;
use crate::pieces::QUEUE_DEPTH;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};
use thiserror::Error;
use vhost::vhost_user::VhostUserVirtioFeatures;

/// How long the thread sleeps when nothing happens.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// How long it sleeps when a ring is to end, while others go on.
const STOPPING_SLEEP: Duration = Duration::from_millis(5);

/// How often a thread that always has something to do looks whether there is a message: in turns.
const TURNS: u32 = 64;

/// What the epoll descriptor says of the socket; of a ring, its number.
const SOCKET: u64 = u64::MAX;

/// Why serving rings ends.
#[derive(Debug, Error)]
pub(super) enum Stop {
    #[error(transparent)]
    FrontEnd(#[from] FrontEndError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A device, with the rings that are served.
pub(super) struct Device {
    pub(super) trust: Trust,
    pub(super) geometry: Geometry,
    pub(super) features: Features,
    pub(super) memory: Memory,
    pub(super) records: Option<Records>,
    pub(super) setups: Vec<Setup>,
    /// Those that are served.
    pub(super) rings: Vec<Option<Ring>>,
    requests: Requests,
    queue: Box<dyn BlockQueue>,
    /// Can be read when a message has come, or a front end has put something into a ring.
    epoll: Epoll,
    polling: Polling,
    /// The ring that comes first.
    first: usize,
    /// What was wrong, in our own words: those of vhost's errors say less.
    pub(super) wrong: Option<Stop>,
}

/// What both sides know.
#[derive(Clone, Copy, Debug)]
pub(super) struct Features {
    pub(super) offered: u64,
    pub(super) accepted: u64,
}

impl Features {
    fn has(self, feature: u64) -> bool {
        self.accepted & feature != 0
    }

    /// Whether rings are enabled by messages of their own; without these they always are.
    fn has_enabling(self) -> bool {
        self.has(VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits())
    }
}

impl Device {
    /// A device that nothing is known of yet. `socket` is where messages come.
    ///
    /// # Errors
    /// When there are not the means for it, such as descriptors.
    pub(super) fn new(export: &Export, trust: Trust, socket: impl AsFd) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(socket, EpollEvent::new(EpollFlags::EPOLLIN, SOCKET))?;
        let geometry = export.geometry().clone();
        Ok(Self {
            trust,
            features: Features { offered: config::features(&geometry), accepted: 0 },
            geometry: geometry.clone(),
            memory: Memory::default(),
            records: None,
            setups: std::iter::repeat_with(Setup::default).take(MAX_RINGS).collect(),
            rings: std::iter::repeat_with(|| None).take(MAX_RINGS).collect(),
            requests: Requests::new(geometry, export.name(), export.counters().clone()),
            queue: export.device().queue(QUEUE_DEPTH)?,
            epoll,
            polling: Polling::new(),
            first: 0,
            wrong: None,
        })
    }

    /// Serves the rings until there is a message.
    ///
    /// # Errors
    /// What the front end did wrong, or why the thread can't sleep.
    pub(super) fn serve(&mut self) -> Result<(), Stop> {
        self.start_rings()?;
        let mut turns = 0;
        let mut idle_since = None;
        loop {
            turns += 1;
            if self.turn()? {
                if idle_since.take().is_some() {
                    self.polling.found();
                }
                if turns % TURNS == 0 && self.has_message(Duration::ZERO)? {
                    return Ok(());
                }
                continue;
            }
            let since = *idle_since.get_or_insert_with(Instant::now);
            if since.elapsed() < self.polling.window() {
                std::hint::spin_loop();
                continue;
            }
            idle_since = None;
            self.polling.sleeps();
            if self.has_message(LONGEST_SLEEP)? {
                return Ok(());
            }
        }
    }

    /// Serves a ring until nothing is out of it, and no longer; and says where it goes on.
    ///
    /// # Errors
    /// As [`Self::serve`].
    pub(super) fn stop_ring(&mut self, index: usize) -> Result<u16, Stop> {
        if let Some(ring) = &mut self.rings[index] {
            ring.set_takes_new(false);
        }
        // The next message may have come: it has to wait.
        let nothing = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(io::Error::from)?;
        while self.rings[index].as_ref().is_some_and(|ring| !ring.is_idle()) {
            if !self.turn()? {
                self.queue.wait_with(nothing.0.as_fd(), STOPPING_SLEEP)?;
            }
        }
        let setup = &mut self.setups[index];
        if let Some(ring) = self.rings[index].take() {
            setup.base = ring.base();
        }
        let base = setup.base;
        self.set_kick(index, None)?;
        Ok(base)
    }

    /// Changes where the front end tells of what it has put into a ring. With such a place, a ring is served.
    ///
    /// # Errors
    /// If it can't be waited for.
    pub(super) fn set_kick(&mut self, index: usize, kick: Option<std::fs::File>) -> io::Result<()> {
        if let Some(old) = self.setups[index].kick.take() {
            self.epoll.delete(old)?;
        }
        if let Some(kick) = &kick {
            // By edges, so that it needs not be read.
            let events = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
            self.epoll.add(kick, EpollEvent::new(events, index as u64))?;
        }
        self.setups[index].kick = kick;
        Ok(())
    }

    /// Waits until nothing is out at the disk any more; nobody is told of it. What has not been given back is in the
    /// front end's record.
    ///
    /// # Errors
    /// If the thread can't sleep.
    pub(super) fn drain(&mut self, socket: impl AsFd) -> io::Result<()> {
        self.epoll.delete(socket)?;
        (0..MAX_RINGS).try_for_each(|index| self.set_kick(index, None))?;
        while self.requests.outstanding() > 0 {
            match self.queue.poll() {
                Some(_) => self.requests.forget_finished(),
                None => self.queue.wait_with(self.epoll.0.as_fd(), LONGEST_SLEEP)?,
            }
        }
        Ok(())
    }

    /// Begins with rings that have all that they need by now.
    fn start_rings(&mut self) -> Result<(), FrontEndError> {
        let features = self.features;
        self.requests.set_has_flush(features.has(feature::FLUSH));
        for (index, (setup, ring)) in self.setups.iter().zip(&mut self.rings).enumerate() {
            let is_enabled = setup.is_enabled || !features.has_enabling();
            if ring.is_some() || setup.kick.is_none() || !is_enabled {
                continue;
            }
            let record =
                self.records.as_ref().map(|records| records.of_ring(index, setup.size)).transpose()?;
            *ring = Some(Ring::start(&self.memory.map, setup, record, features.has(feature::EVENT_IDX))?);
            // Whoever served it before may have given something back and not said so.
            setup.call();
        }
        Ok(())
    }

    /// Gives back what has ended, takes what is in the rings, submits what can be, and says whether there was any of it.
    fn turn(&mut self) -> Result<bool, FrontEndError> {
        let memory = &self.memory.map;
        let mut any = false;
        while let Some(finished) = self.queue.poll() {
            any = true;
            if let Some(ended) = self.requests.handle_finished(memory, finished)? {
                let ring = self.rings[ended.origin.ring].as_mut().expect("a ring ends after its requests");
                ring.give_back(memory, ended.origin.head, ended.written)?;
            }
        }
        // Each ring is the first one in turn.
        self.first = (self.first + 1) % MAX_RINGS;
        for index in (self.first..MAX_RINGS).chain(0..self.first) {
            let Some(ring) = &mut self.rings[index] else { continue };
            while self.requests.has_room()
                && let Some(head) = ring.take(memory)?
            {
                any = true;
                let origin = Origin { ring: index, head };
                if let Some(ended) = self.requests.begin(memory, ring.table(), origin)? {
                    ring.give_back(memory, head, ended.written)?;
                }
            }
            if ring.has_to_call(memory)? {
                self.setups[index].call();
            }
        }
        let mut submitted = false;
        while let Some((tag, operation)) = self.requests.poll_operation(memory)? {
            self.queue.submit(tag, operation);
            submitted = true;
        }
        if submitted {
            self.queue.kick();
        }
        Ok(any | submitted)
    }

    /// Sleeps until there is something to do, for `timeout` at most, and says whether that is a message.
    fn has_message(&mut self, timeout: Duration) -> Result<bool, Stop> {
        if !timeout.is_zero() {
            self.sleep(timeout)?;
        }
        let mut events = [EpollEvent::empty(); 8];
        let count = self.epoll.wait(&mut events, EpollTimeout::ZERO).map_err(io::Error::from)?;
        Ok(events[..count].iter().any(|event| event.data() == SOCKET))
    }

    fn sleep(&mut self, timeout: Duration) -> Result<(), Stop> {
        let memory = &self.memory.map;
        let mut has_come = false;
        // Where there is no room for requests, nobody needs to tell of them.
        if self.requests.has_room() {
            for ring in self.rings.iter_mut().flatten() {
                has_come |= ring.listen(memory).map_err(Stop::FrontEnd)?;
            }
        }
        if has_come {
            return Ok(());
        }
        self.queue.wait_with(self.epoll.0.as_fd(), timeout)?;
        for ring in self.rings.iter_mut().flatten() {
            ring.look_by_ourselves(memory).map_err(Stop::FrontEnd)?;
        }
        Ok(())
    }
}
