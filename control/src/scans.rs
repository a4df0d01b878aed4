//! Looks for logical units at the targets: fc's scans, each over its target's nexus.

use crate::agenda::Agenda;
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
    targets: BTreeMap<NexusId, Target>,
    /// Those that may have a command to submit, and when others will.
    agenda: Agenda<NexusId>,
    /// Whose result a command that is out brings.
    out: BTreeMap<u64, Asked>,
    /// Commands that the core's queue had no room for: at most a scan's few for each target.
    refused: VecDeque<Command>,
    next_tag: u64,
}

#[derive(Debug)]
struct Target {
    port_name: Wwn,
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
    nexus: NexusId,
    scan: u64,
    token: ScanToken,
}

impl Scans {
    /// Looks at a target's logical units, from the beginning.
    pub(crate) fn start(&mut self, now: Instant, port_name: Wwn, nexus: NexusId) {
        let scan = (self.tag(), LunScan::new(now));
        let luns = self.targets.remove(&nexus).map_or_else(Vec::new, |old| old.luns);
        let entry = Target {
            port_name,
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
        self.targets.insert(nexus, entry);
        self.agenda.touch(nexus);
    }

    /// Access states may have changed: looks again at targets that have any.
    pub(crate) fn doubt_access(&mut self, now: Instant) {
        for (&nexus, target) in &mut self.targets {
            match target.running {
                Some(_) => target.is_doubted = true,
                None if target.has_asymmetric_access() => {
                    target.again = Some(target.doubted_again(now));
                    self.agenda.settle(nexus, target.poll_timeout());
                }
                None => {}
            }
        }
    }

    /// The target is gone. What was found is remembered.
    pub(crate) fn stop(&mut self, nexus: NexusId) {
        if let Some(target) = self.targets.get_mut(&nexus) {
            (target.running, target.again) = (None, None);
            target.is_done = false;
            self.agenda.forget(nexus);
        }
    }

    /// The target is gone for good, as it seems.
    pub(crate) fn forget(&mut self, nexus: NexusId) {
        self.targets.remove(&nexus);
        self.agenda.forget(nexus);
    }

    /// Submits what the scans want to know now.
    pub(crate) fn submit(&mut self, now: Instant, edge: &mut impl Edge) {
        while let Some(command) = self.refused.pop_front() {
            if let Err(command) = edge.submit(command) {
                self.refused.push_front(command);
                return;
            }
        }
        while self.agenda.take_due(now).is_some() {}
        while let Some(nexus) = self.agenda.touched() {
            let tag = self.tag();
            let target = self.targets.get_mut(&nexus).expect("who is gone has nothing to ask");
            if target.again.take_if(|at| *at <= now).is_some() {
                // While what is known of it stays.
                (target.running, target.began) = (Some((tag, LunScan::new(now))), now);
            }
            let command =
                target.running.as_mut().and_then(|(scan, machine)| Some((*scan, machine.poll_command(now)?)));
            let Some((scan, command)) = command else {
                self.agenda.settle(nexus, target.poll_timeout());
                continue;
            };
            self.out.insert(tag, Asked { nexus, scan, token: command.token });
            if let Err(command) = edge.submit(to_command(tag, nexus, &command)) {
                self.refused.push_back(command);
            }
        }
    }

    /// Takes the result of a command.
    pub(crate) fn handle_completion(&mut self, now: Instant, completion: Completion) {
        let asked = self.out.remove(&completion.tag).expect("a completion has its command");
        let Some(target) = self.targets.get_mut(&asked.nexus) else { return };
        let Some((_, machine)) = target.running.as_mut().filter(|(scan, _)| *scan == asked.scan) else {
            return;
        };
        self.agenda.touch(asked.nexus);
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
                    tracing::warn!(target_port = %target.port_name, %lun, %error, "logical unit left out");
                    target.found.push(LunView { lun, unit: Err(error.to_string()) });
                }
                ScanEvent::ListFailed(error) => {
                    target.is_open = true;
                    target.found.clone_from(&target.luns);
                    tracing::warn!(target_port = %target.port_name, %error, "the target's logical units are not known");
                }
                ScanEvent::Done { left_out } => {
                    if left_out > 0 {
                        tracing::warn!(target_port = %target.port_name, left_out, "more logical units than are looked at");
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
        self.agenda.next_due()
    }

    /// Whether the target's logical units have all been looked at since its last login.
    pub(crate) fn is_done(&self, nexus: NexusId) -> bool {
        self.targets.get(&nexus).is_some_and(|target| target.is_done)
    }

    /// The target's logical units by the last whole scan.
    pub(crate) fn luns(&self, nexus: NexusId) -> Vec<LunView> {
        self.targets.get(&nexus).map_or_else(Vec::new, |target| target.luns.clone())
    }

    fn tag(&mut self) -> u64 {
        self.next_tag += 1;
        self.next_tag
    }
}

impl Target {
    /// When it has something to ask though nothing comes.
    fn poll_timeout(&self) -> Option<Instant> {
        let running = self.running.as_ref().and_then(|(_, machine)| machine.poll_timeout());
        running.into_iter().chain(self.again).min()
    }

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
