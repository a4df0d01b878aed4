//! Looks for logical units at the targets: fc's scans, each over its target's nexus.

use crate::edge::Edge;
use crate::inventory::LunView;
use fc::lun_scan::{LogicalUnit, LunScan, ScanCommand, ScanError, ScanEvent, ScanReply, ScanToken};
use fc::messages::{Action, Command, Completion, NexusId, Transfer};
use fc::time::{Duration, Instant};
use fc::wire::Wwn;
use fc::wire::scsi::target_port_groups::AccessState;
use std::collections::{BTreeMap, VecDeque};

/// When a target is looked at again of which something could not be found out: what kept it may have passed.
const FIRST_RESCAN: Duration = Duration::from_secs(5);
/// Each time it takes twice as long, up to this.
const MAX_RESCAN: Duration = Duration::from_secs(30);

/// How often a target is looked at again that leads to a logical unit not as well as it might: who is told of a change
/// need not be us. That it leads there no more is told to all commands.
const ACCESS_RESCAN: Duration = Duration::from_secs(30);

/// How soon a target is looked at again after the last time because of doubts: each command that it refuses raises one.
const DOUBT_PAUSE: Duration = Duration::from_secs(1);

/// When a scan's command is given up. A target that must first wake its disks takes seconds.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);

/// The scans of all targets.
#[derive(Debug, Default)]
pub(crate) struct Scans {
    targets: BTreeMap<Wwn, Target>,
    /// Whose result a command that is out brings.
    out: BTreeMap<u64, Asked>,
    /// Commands that the core's queue had no room for: at most a scan's few for each target.
    refused: VecDeque<Command>,
    next_tag: u64,
}

#[derive(Debug)]
struct Target {
    nexus: NexusId,
    /// The scan that runs, and its number: results of one before are void.
    running: Option<(u64, LunScan)>,
    /// When it began, or the last one did.
    began: Instant,
    found: Vec<LunView>,
    /// What the last whole scan found.
    luns: Vec<LunView>,
    is_done: bool,
    /// The scan that runs has left something open.
    is_open: bool,
    /// Access states may have changed since the scan that runs began.
    is_doubted: bool,
    /// When it is looked at again, and how long the time after that is.
    again: Option<Instant>,
    next_wait: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    target: Wwn,
    scan: u64,
    token: ScanToken,
}

impl Scans {
    /// Looks at a target's logical units, from the beginning.
    pub(crate) fn start(&mut self, now: Instant, target: Wwn, nexus: NexusId) {
        let scan = (self.tag(), LunScan::new(now));
        let luns = self.targets.remove(&target).map_or_else(Vec::new, |old| old.luns);
        let entry = Target {
            nexus,
            running: Some(scan),
            began: now,
            found: Vec::new(),
            luns,
            is_done: false,
            is_open: false,
            is_doubted: false,
            again: None,
            next_wait: FIRST_RESCAN,
        };
        self.targets.insert(target, entry);
    }

    /// Access states may have changed: looks again at targets that have any.
    pub(crate) fn doubt_access(&mut self, now: Instant) {
        for target in self.targets.values_mut() {
            match target.running {
                Some(_) => target.is_doubted = true,
                None if target.has_asymmetric_access() => target.again = Some(target.doubted_again(now)),
                None => {}
            }
        }
    }

    /// Looks again at targets of which something is open, while what is known of them stays.
    fn start_again(&mut self, now: Instant) {
        let is_due = |entry: &Target| entry.again.is_some_and(|at| at <= now);
        let due: Vec<_> =
            self.targets.iter().filter(|(_, entry)| is_due(entry)).map(|(&name, _)| name).collect();
        for name in due {
            let scan = (self.tag(), LunScan::new(now));
            let entry = self.targets.get_mut(&name).expect("found above");
            (entry.running, entry.began, entry.again) = (Some(scan), now, None);
        }
    }

    /// The target is gone. What was found is remembered.
    pub(crate) fn stop(&mut self, target: Wwn) {
        if let Some(target) = self.targets.get_mut(&target) {
            (target.running, target.again) = (None, None);
            target.is_done = false;
        }
    }

    /// The target is gone for good, as it seems.
    pub(crate) fn forget(&mut self, target: Wwn) {
        self.targets.remove(&target);
    }

    /// Submits what the scans want to know now.
    pub(crate) fn submit(&mut self, now: Instant, edge: &mut impl Edge) {
        self.start_again(now);
        while let Some(command) = self.refused.pop_front() {
            if let Err(command) = edge.submit(command) {
                self.refused.push_front(command);
                return;
            }
        }
        let mut wanted = Vec::new();
        for (&target, entry) in &mut self.targets {
            let Some((scan, machine)) = &mut entry.running else { continue };
            while let Some(command) = machine.poll_command(now) {
                wanted.push((target, *scan, entry.nexus, command));
            }
        }
        for (target, scan, nexus, command) in wanted {
            let tag = self.tag();
            self.out.insert(tag, Asked { target, scan, token: command.token });
            if let Err(command) = edge.submit(to_command(tag, nexus, &command)) {
                self.refused.push_back(command);
            }
        }
    }

    /// Takes the result of a command.
    pub(crate) fn handle_completion(&mut self, now: Instant, completion: Completion) {
        let asked = self.out.remove(&completion.tag).expect("a completion has its command");
        let Some(target) = self.targets.get_mut(&asked.target) else { return };
        let Some((_, machine)) = target.running.as_mut().filter(|(scan, _)| *scan == asked.scan) else {
            return;
        };
        let buffer = completion.transfer.into_buffer().unwrap_or_default();
        let reply = completion.result.map(|ended| ScanReply {
            status: ended.status,
            sense: ended.sense,
            data: &buffer[..buffer.len().min(ended.transferred as usize)],
        });
        machine.handle_result(now, asked.token, reply);
        let mut is_over = false;
        while let Some(event) = machine.poll_event() {
            match event {
                ScanEvent::Found(unit) => {
                    target.is_open |= unit.is_disk() && unit.capacity.is_none();
                    target.found.push(LunView { lun: unit.lun, unit: Ok(*unit) });
                }
                ScanEvent::Failed { lun, error } => {
                    target.is_open |= error != ScanError::NoDevice;
                    tracing::warn!(target_port = %asked.target, %lun, %error, "logical unit left out");
                    target.found.push(LunView { lun, unit: Err(error.to_string()) });
                }
                ScanEvent::ListFailed(error) => {
                    target.is_open = true;
                    target.found.clone_from(&target.luns);
                    tracing::warn!(target_port = %asked.target, %error, "the target's logical units are not known");
                }
                ScanEvent::Done { left_out } => {
                    if left_out > 0 {
                        tracing::warn!(target_port = %asked.target, left_out, "more logical units than are looked at");
                    }
                    target.found.sort_by_key(|view| view.lun);
                    target.luns = std::mem::take(&mut target.found);
                    target.is_done = true;
                    is_over = true;
                }
            }
        }
        if is_over {
            target.running = None;
            let (is_open, is_doubted) =
                (std::mem::take(&mut target.is_open), std::mem::take(&mut target.is_doubted));
            if is_doubted && target.has_asymmetric_access() {
                target.again = Some(target.doubted_again(now));
            } else if is_open {
                target.again = Some(now + target.next_wait);
                target.next_wait = (target.next_wait * 2).min(MAX_RESCAN);
            } else if target.has_poor_access() {
                target.again = Some(now + ACCESS_RESCAN);
            }
        }
    }

    /// When [`Self::submit`] may have something next.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let running = self.targets.values().filter_map(|target| target.running.as_ref());
        let again = self.targets.values().filter_map(|target| target.again);
        running.filter_map(|(_, machine)| machine.poll_timeout()).chain(again).min()
    }

    /// Whether the target's logical units have all been looked at since its last login.
    pub(crate) fn is_done(&self, target: Wwn) -> bool {
        self.targets.get(&target).is_some_and(|target| target.is_done)
    }

    /// The target's logical units by the last whole scan.
    pub(crate) fn luns(&self, target: Wwn) -> Vec<LunView> {
        self.targets.get(&target).map_or_else(Vec::new, |target| target.luns.clone())
    }

    fn tag(&mut self) -> u64 {
        self.next_tag += 1;
        self.next_tag
    }
}

impl Target {
    fn has_asymmetric_access(&self) -> bool {
        self.units().any(|unit| unit.asymmetric_access != 0)
    }

    /// When it is looked at again because of a doubt.
    fn doubted_again(&self, now: Instant) -> Instant {
        now.max(self.began + DOUBT_PAUSE)
    }

    fn has_poor_access(&self) -> bool {
        self.units().any(|unit| unit.access.is_some_and(|access| access != AccessState::OPTIMIZED))
    }

    fn units(&self) -> impl Iterator<Item = &LogicalUnit> {
        self.luns.iter().filter_map(|view| view.unit.as_ref().ok())
    }
}

fn to_command(tag: u64, nexus: NexusId, command: &ScanCommand) -> Command {
    let transfer = match command.read_len {
        0 => Transfer::None,
        len => Transfer::Read(vec![0; len].into()),
    };
    Command {
        tag,
        nexus,
        lun: command.lun,
        action: Action::Scsi(command.cdb),
        transfer,
        timeout: COMMAND_TIMEOUT,
    }
}
