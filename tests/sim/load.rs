//! What is asked of a disk, and whether that goes well.

use crate::chance::Chance;
use crate::model::{Blocks, Model, Read, Write};
use fc::time::{Duration, Instant};
use initiator::{Done, InPlace, Request};

/// The longest time until something is asked again after a failure.
const PAUSE: Duration = Duration::from_millis(500);
/// Blocks that the last look at a disk reads at a time.
const LOOK_BLOCKS: u32 = 16;

/// How much is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LoadPlan {
    /// Requests at a time.
    pub(crate) depth: usize,
    /// The longest wait from one request to the next.
    pub(crate) max_think: Duration,
    /// Whether most requests follow at once, and others after ten times the wait.
    pub(crate) is_bursty: bool,
    pub(crate) max_blocks: u32,
    pub(crate) write_ppm: u32,
    pub(crate) discard_ppm: u32,
    pub(crate) flush_ppm: u32,
    /// Of the reads, those that take their data in place.
    pub(crate) in_place_ppm: u32,
}

/// One initiator's load on one disk.
pub(crate) struct Load {
    plan: LoadPlan,
    chance: Chance,
    slots: Vec<Slot>,
    /// Rooms of reads in place that have ended, with what they hold: no more than there are slots.
    #[expect(clippy::vec_box, reason = "requests take them boxed and give them back so")]
    rooms: Vec<Box<InPlace>>,
    next_tag: u64,
    stage: Stage,
    /// When the last request began that ended well.
    good_since: Option<Instant>,
    failures: u64,
    done: u64,
}

enum Slot {
    Thinking { until: Instant },
    Waiting { tag: u64, began: Instant, what: What },
}

#[derive(Clone, Copy)]
enum What {
    Read(Read),
    Write(Write),
    Discard(Write),
    Flush,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Running,
    /// Nothing new: what is out ends.
    Ending,
    /// Every block is read once more.
    Looking {
        next: u64,
    },
    Over,
}

impl Load {
    pub(crate) fn new(plan: LoadPlan, seed: u64) -> Self {
        let thinking = || Slot::Thinking { until: Instant::ZERO };
        Self {
            plan,
            chance: Chance::new(seed),
            slots: std::iter::repeat_with(thinking).take(plan.depth).collect(),
            rooms: Vec::new(),
            next_tag: 0,
            stage: Stage::Running,
            good_since: None,
            failures: 0,
            done: 0,
        }
    }

    /// Requests that have ended, and those of them that failed.
    pub(crate) const fn counts(&self) -> (u64, u64) {
        (self.done, self.failures)
    }

    /// Whether a request that began after `since` has ended well.
    pub(crate) fn is_good_since(&self, since: Instant) -> bool {
        self.good_since.is_some_and(|began| began >= since)
    }

    /// Whether a request is out that began before `before`.
    pub(crate) fn has_older(&self, before: Instant) -> bool {
        self.slots.iter().any(|slot| matches!(slot, Slot::Waiting { began, .. } if *began < before))
    }

    fn is_idle(&self) -> bool {
        self.slots.iter().all(|slot| matches!(slot, Slot::Thinking { .. }))
    }

    /// Waits no longer with what is to be asked.
    pub(crate) fn hurry(&mut self) {
        for slot in &mut self.slots {
            if let Slot::Thinking { until } = slot {
                *until = Instant::ZERO;
            }
        }
    }

    /// Asks for nothing new from now on.
    pub(crate) fn end(&mut self) {
        self.stage = Stage::Ending;
    }

    /// Whether it asks for nothing and waits for nothing.
    pub(crate) fn has_ended(&self) -> bool {
        self.stage != Stage::Running && self.is_idle()
    }

    /// Reads every block once more.
    pub(crate) fn look(&mut self) {
        self.stage = Stage::Looking { next: 0 };
        self.hurry();
    }

    /// Whether every block has been read once more.
    pub(crate) fn has_looked(&self) -> bool {
        self.stage == Stage::Over
    }

    /// When [`Self::poll_request`] may have a request.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let thinking = self.slots.iter().filter_map(|slot| match slot {
            Slot::Thinking { until } => Some(*until),
            Slot::Waiting { .. } => None,
        });
        match self.stage {
            Stage::Running => thinking.min(),
            Stage::Looking { .. } if self.is_idle() => thinking.max(),
            Stage::Ending | Stage::Looking { .. } | Stage::Over => None,
        }
    }

    /// The next request to make, and its tag.
    pub(crate) fn poll_request(&mut self, now: Instant, model: &mut Model) -> Option<(u64, Request)> {
        if self.poll_timeout().is_none_or(|at| at > now) {
            return None;
        }
        let is_due = |slot: &Slot| matches!(slot, Slot::Thinking { until } if *until <= now);
        let slot = self.slots.iter().position(is_due).expect("the time of one has come");
        let (what, request) = match self.stage {
            Stage::Looking { next } => {
                let left = u32::try_from(model.blocks() - next).unwrap_or(u32::MAX);
                self.read(model, Blocks { lba: next, count: LOOK_BLOCKS.min(left) })
            }
            _ => self.choose(model),
        };
        self.next_tag += 1;
        self.slots[slot] = Slot::Waiting { tag: self.next_tag, began: now, what };
        Some((self.next_tag, request))
    }

    fn choose(&mut self, model: &mut Model) -> (What, Request) {
        let LoadPlan { max_blocks, write_ppm, discard_ppm, flush_ppm, .. } = self.plan;
        let count = self.chance.between(1, u64::from(max_blocks).min(model.blocks()));
        let lba = self.chance.below(model.blocks() - count + 1);
        let blocks = Blocks { lba, count: count as u32 };
        #[derive(Clone, Copy)]
        enum Kind {
            Write,
            Discard,
            Flush,
        }
        let kinds = [(write_ppm, Kind::Write), (discard_ppm, Kind::Discard), (flush_ppm, Kind::Flush)];
        match self.chance.pick(&kinds) {
            Some(Kind::Write) => {
                let (write, data) = model.begin_write(blocks);
                (What::Write(write), Request::Write { lba, buffer: data.into() })
            }
            Some(Kind::Discard) => {
                let discard = model.begin_discard(blocks);
                (What::Discard(discard), Request::Discard { lba, blocks: blocks.count })
            }
            Some(Kind::Flush) => (What::Flush, Request::Flush),
            None => self.read(model, blocks),
        }
    }

    /// A read to a buffer, or in place: to the room of an earlier one if one fits.
    fn read(&mut self, model: &mut Model, blocks: Blocks) -> (What, Request) {
        let (lba, len) = (blocks.lba, blocks.count as usize * model.block_len());
        let buffer = || vec![0; len].into();
        let request = if self.chance.happens(self.plan.in_place_ppm) {
            let fits = self.rooms.iter().position(|room| room.len() == len);
            let room = fits.map(|at| self.rooms.swap_remove(at));
            Request::ReadInPlace { lba, room: room.unwrap_or_else(|| Box::new(InPlace::new(buffer()))) }
        } else {
            Request::Read { lba, buffer: buffer() }
        };
        (What::Read(model.begin_read(blocks)), request)
    }

    /// The data of a read that has gone well. What it holds in place stays so for a while.
    fn data(&mut self, done: Done) -> Vec<u8> {
        let Some(room) = done.room else { return done.buffer.expect("checked before").into_vec() };
        let data = room.slices(room.len()).flatten().copied().collect();
        if self.rooms.len() == self.plan.depth {
            self.rooms.clear();
        }
        self.rooms.push(room);
        data
    }

    /// Takes the end of a request.
    ///
    /// # Errors
    /// When it is not the end of one, or its data is wrong.
    pub(crate) fn handle_done(&mut self, now: Instant, done: Done, model: &mut Model) -> Result<(), String> {
        let is_it = |slot: &Slot| matches!(slot, Slot::Waiting { tag, .. } if *tag == done.tag);
        let Some(at) = self.slots.iter().position(is_it) else {
            return Err(format!("request {} ended that is not out: {:?}", done.tag, done.result));
        };
        let Slot::Waiting { began, what, .. } = self.slots[at] else { unreachable!("chosen above") };
        let is_good = done.result.is_ok();
        if matches!(what, What::Read(_) | What::Write(_)) && done.buffer.is_none() && done.room.is_none() {
            return Err(format!("request {} ended without its buffer", done.tag));
        }
        match what {
            What::Read(read) => {
                let data = is_good.then(|| self.data(done));
                model.end_read(read, data.as_deref()).map_err(|wrong| format!("a read is wrong: {wrong}"))?;
            }
            What::Write(write) | What::Discard(write) if is_good => model.write_done(write),
            What::Write(_) | What::Discard(_) | What::Flush => {}
        }
        self.done += 1;
        if is_good {
            self.good_since = self.good_since.max(Some(began));
        } else {
            self.failures += 1;
        }
        if let (true, Stage::Looking { next }) = (is_good, self.stage) {
            let next = next + u64::from(LOOK_BLOCKS);
            self.stage = if next < model.blocks() { Stage::Looking { next } } else { Stage::Over };
        }
        let think = if is_good { self.think() } else { self.time_up_to(PAUSE) };
        self.slots[at] = Slot::Thinking { until: now + think };
        Ok(())
    }

    fn think(&mut self) -> Duration {
        if self.stage != Stage::Running {
            return Duration::ZERO;
        }
        let think = self.time_up_to(self.plan.max_think);
        match self.plan.is_bursty {
            true if self.chance.happens(900_000) => Duration::ZERO,
            true => think * 10,
            false => think,
        }
    }

    fn time_up_to(&mut self, most: Duration) -> Duration {
        let most = u64::try_from(most.as_nanos()).expect("some milliseconds");
        Duration::from_nanos(self.chance.below(most + 1))
    }
}
