//! The paths of one queue: which of them works, and which takes the next command. It reads no clock and sends nothing
//! itself.

use crate::path::{Path, PathChoice, PathId};
use crate::window::Window;
use fc::time::{Duration, Instant};
use fc::wire::scsi::target_port_groups::AccessState;

/// The most paths to a disk that a queue uses.
pub(crate) const MAX_PATHS: usize = 32;

/// When a path that failed is probed first; the pause doubles, up to the longest. A login anew is told, and doesn't
/// wait for it.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A path on which nothing has come back for so long is left to what is out on it, if there is another one.
const SILENCE: Duration = Duration::from_millis(500);

/// One of a queue's paths. Its number stays as long as anything of it is out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PathIndex(pub(crate) usize);

/// The paths of a queue.
#[derive(Debug)]
pub(crate) struct Paths {
    slots: Vec<Slot>,
    choice: PathChoice,
    /// Of each path's window.
    depth: usize,
    /// Whose turn it is.
    turn: usize,
    fast_io_fail: Duration,
    /// Since when no path works.
    none_since: Option<Instant>,
}

#[derive(Debug)]
struct Slot {
    path: Path,
    /// It is one of the disk's paths: others wait for the end of what is out.
    is_listed: bool,
    window: Window,
    health: Health,
    /// The target has refused access by it, and nothing newer is known.
    is_denied: bool,
    /// When something came back last, or something was sent while nothing was out.
    heard: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Health {
    Good,
    /// It is to be probed.
    Failed {
        probe_at: Instant,
        pause: Duration,
    },
    /// A probe is out.
    Probed {
        pause: Duration,
    },
    /// Our port is gone for good.
    Stopped,
}

impl Slot {
    fn is_good(&self) -> bool {
        self.is_listed && self.health == Health::Good
    }

    fn is_idle(&self) -> bool {
        self.window.out() == 0 && !matches!(self.health, Health::Probed { .. })
    }

    /// Paths of the lowest rank are used.
    fn rank(&self, now: Instant) -> u8 {
        let is_silent = self.window.out() > 0 && now.since(self.heard) > SILENCE;
        let access = match self.path.access {
            AccessState::OPTIMIZED => 0,
            AccessState::NON_OPTIMIZED | AccessState::LBA_DEPENDENT => 1,
            AccessState::TRANSITIONING => 2,
            _ if self.is_denied => 4,
            _ => 3,
        };
        access + if is_silent { 5 } else { 0 }
    }
}

impl Paths {
    /// No path yet; each may have `depth` commands out. `turn` says where taking turns begins.
    pub(crate) const fn new(depth: usize, choice: PathChoice, turn: usize) -> Self {
        Self { slots: Vec::new(), choice, depth, turn, fast_io_fail: Duration::ZERO, none_since: None }
    }

    /// The disk has these paths now, of which some are to be probed before they are used.
    pub(crate) fn update(&mut self, now: Instant, paths: &[Path], to_probe: &[PathId]) {
        for slot in &mut self.slots {
            slot.is_listed = paths.iter().any(|path| path.id == slot.path.id);
        }
        for path in paths {
            match self.slots.iter_mut().find(|slot| slot.path.id == path.id) {
                Some(slot) => slot.take_news(now, path),
                None => self.add(now, path),
            }
        }
        for slot in self.slots.iter_mut().filter(|slot| to_probe.contains(&slot.path.id)) {
            if slot.health == Health::Good {
                slot.health = Health::Failed { probe_at: now, pause: FIRST_PAUSE };
            }
        }
        if let Some(longest) = paths.iter().map(|path| path.fast_io_fail).max() {
            self.fast_io_fail = longest;
        }
        self.turn %= self.slots.len().max(1);
        self.look(now);
    }

    fn add(&mut self, now: Instant, path: &Path) {
        let slot = Slot {
            path: path.clone(),
            is_listed: true,
            window: Window::new(self.depth),
            health: Health::Good,
            is_denied: false,
            heard: now,
        };
        match self.slots.iter().position(|slot| !slot.is_listed && slot.is_idle()) {
            Some(free) => self.slots[free] = slot,
            None if self.slots.len() < MAX_PATHS => self.slots.push(slot),
            None => tracing::warn!(target_port = %path.target, "more paths to a disk than are used"),
        }
    }

    pub(crate) fn path(&self, index: PathIndex) -> &Path {
        &self.slots[index.0].path
    }

    /// The path of the next command; `None` if none works, or the best ones have no room.
    pub(crate) fn choose(&self, now: Instant) -> Option<PathIndex> {
        let good = || self.slots.iter().enumerate().filter(|(_, slot)| slot.is_good());
        let best = good().map(|(_, slot)| slot.rank(now)).min()?;
        let open = good().filter(|(_, slot)| slot.rank(now) == best && slot.window.is_open());
        let index = match self.choice {
            PathChoice::RoundRobin => open.min_by_key(|(index, _)| (*index < self.turn, *index)),
            PathChoice::LeastQueue => {
                open.min_by_key(|(index, slot)| (slot.window.out(), *index < self.turn, *index))
            }
        };
        index.map(|(index, _)| PathIndex(index))
    }

    /// A command goes out on a path.
    pub(crate) fn sent(&mut self, now: Instant, index: PathIndex) {
        let slot = &mut self.slots[index.0];
        if slot.window.out() == 0 {
            slot.heard = now;
        }
        slot.window.sent();
        self.turn = (index.0 + 1) % self.slots.len();
    }

    /// A command has come back.
    pub(crate) fn ended(&mut self, index: PathIndex, is_task_set_full: bool) {
        self.slots[index.0].window.ended(is_task_set_full);
    }

    /// The target has said something.
    pub(crate) fn heard(&mut self, now: Instant, index: PathIndex) {
        self.slots[index.0].heard = now;
    }

    /// Whether the target has said something after `since`.
    pub(crate) fn has_heard_since(&self, index: PathIndex, since: Instant) -> bool {
        self.slots[index.0].heard > since
    }

    /// The path does not work, until a probe of it goes well.
    pub(crate) fn fail(&mut self, now: Instant, index: PathIndex) {
        let slot = &mut self.slots[index.0];
        if slot.health == Health::Good {
            slot.health = Health::Failed { probe_at: now + FIRST_PAUSE, pause: FIRST_PAUSE };
        }
        self.look(now);
    }

    /// Our port of the path works no more.
    pub(crate) fn stop(&mut self, now: Instant, index: PathIndex) {
        self.slots[index.0].health = Health::Stopped;
        self.look(now);
    }

    /// The target refuses access by this port: true until control has asked about all of them.
    pub(crate) fn deny_access(&mut self, index: PathIndex, access: AccessState) {
        let slot = &mut self.slots[index.0];
        (slot.path.access, slot.is_denied) = (access, true);
    }

    /// The next path to probe: each probe's end comes to [`Self::probed`].
    pub(crate) fn poll_probe(&mut self, now: Instant) -> Option<PathIndex> {
        let is_due = |slot: &Slot| slot.is_listed && slot.probe_at().is_some_and(|at| at <= now);
        let index = self.slots.iter().position(is_due)?;
        let slot = &mut self.slots[index];
        let Health::Failed { pause, .. } = slot.health else { unreachable!("it is due") };
        slot.health = Health::Probed { pause };
        Some(PathIndex(index))
    }

    /// A probe has ended.
    pub(crate) fn probed(&mut self, now: Instant, index: PathIndex, is_good: bool) {
        let slot = &mut self.slots[index.0];
        if let Health::Probed { pause } = slot.health {
            slot.health = if is_good {
                Health::Good
            } else {
                Health::Failed { probe_at: now + pause, pause: (pause * 2).min(LONGEST_PAUSE) }
            };
        }
        self.look(now);
    }

    /// Whether no path has worked for so long that requests are not to wait any more, or none will ever again.
    pub(crate) fn is_lost(&self, now: Instant) -> bool {
        self.is_stopped() || self.none_since.is_some_and(|since| now.since(since) >= self.fast_io_fail)
    }

    /// Whether the ports of all paths have gone for good.
    pub(crate) fn is_stopped(&self) -> bool {
        let mut listed = self.slots.iter().filter(|slot| slot.is_listed).peekable();
        listed.peek().is_some() && listed.all(|slot| slot.health == Health::Stopped)
    }

    /// How many paths work, whether or not they lead to the medium.
    pub(crate) fn good(&self) -> usize {
        self.slots.iter().filter(|slot| slot.is_good()).count()
    }

    /// When [`Self::poll_probe`] has a path.
    pub(crate) fn next_probe(&self) -> Option<Instant> {
        self.slots.iter().filter(|slot| slot.is_listed).filter_map(Slot::probe_at).min()
    }

    /// When [`Self::is_lost`] is true, if no path gets well.
    pub(crate) fn lost_at(&self) -> Option<Instant> {
        self.none_since.map(|since| since + self.fast_io_fail)
    }

    fn look(&mut self, now: Instant) {
        if self.slots.iter().any(Slot::is_good) {
            self.none_since = None;
        } else {
            self.none_since.get_or_insert(now);
        }
    }
}

impl Slot {
    fn probe_at(&self) -> Option<Instant> {
        match self.health {
            Health::Failed { probe_at, .. } => Some(probe_at),
            Health::Good | Health::Probed { .. } | Health::Stopped => None,
        }
    }

    fn take_news(&mut self, now: Instant, path: &Path) {
        let is_back = path.is_ready && (!self.path.is_ready || path.logins != self.path.logins);
        if is_back && matches!(self.health, Health::Failed { .. }) {
            self.health = Health::Failed { probe_at: now, pause: FIRST_PAUSE };
        }
        self.path = path.clone();
        self.is_denied = false;
    }
}

#[cfg(test)]
mod tests;
