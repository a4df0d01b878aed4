use super::*;
use crate::path::{Path, PathChoice, PathId};
use crate::verdict::BUSY_DELAY;
use fc::in_place::{Held, Home, InPlace};
use fc::messages::NexusId;
use fc::wire::Wwn;
use fc::wire::fcp::{Lun, RspCode, TaskManagement};
use fc::wire::scsi::target_port_groups::AccessState;
use fc::wire::scsi::{AdditionalSense, Sense, SenseKey};
use std::sync::atomic::{AtomicUsize, Ordering};

const BLOCK_LEN: u32 = 512;
const FAST_IO_FAIL: Duration = Duration::from_secs(5);

/// A disk with so many paths, each by a port of its own.
fn disk(paths: u16) -> Arc<DiskState> {
    let info = DiskInfo {
        id: None,
        vendor: String::new(),
        product: String::new(),
        serial: None,
        blocks: 1000,
        block_len: BLOCK_LEN,
        max_transfer_len: 64 << 10,
        discard: true,
        write_protected: false,
    };
    let path = |number| Path {
        id: PathId { port: PortNumber(number), nexus: NexusId(number), lun: Lun::default() },
        target: Wwn::from_u64(number.into()),
        is_ready: true,
        logins: 1,
        access: AccessState::OPTIMIZED,
        fast_io_fail: FAST_IO_FAIL,
    };
    Arc::new(DiskState::new(info, (0..paths).map(path).collect(), PathChoice::RoundRobin))
}

fn requests(depth: usize) -> Requests {
    Requests::new(disk(1), depth)
}

/// The target port of `path` has logged in anew.
fn log_in(disk: &DiskState, path: usize) {
    let mut paths = disk.paths();
    paths[path].logins += 1;
    disk.update(None, paths, Vec::new());
}

fn poll(requests: &mut Requests, now: Instant) -> Option<Command> {
    requests.poll_command(now).map(|(port, command)| {
        assert_eq!(port.0, command.nexus.0);
        command
    })
}

/// The end of a command, and of its request if that has ended.
fn end(
    requests: &mut Requests,
    now: Instant,
    command: Command,
    result: Result<Ended, TransportError>,
) -> Option<Done> {
    requests.handle_completion(now, completion(command, result));
    requests.poll_done(now)
}

fn write(lba: u64) -> Request {
    Request::Write { lba, buffer: vec![0; BLOCK_LEN as usize].into() }
}

fn check(key: SenseKey, additional: AdditionalSense) -> Ended {
    ended(Status::CHECK_CONDITION, Some(Sense::new(key, additional)))
}

fn is_probe(command: &Command) -> bool {
    command.tag & PROBE != 0
}

fn read(lba: u64) -> Request {
    Request::Read { lba, buffer: vec![0; BLOCK_LEN as usize].into() }
}

fn ended(status: Status, sense: Option<Sense>) -> Ended {
    let transferred = if status == Status::GOOD { BLOCK_LEN } else { 0 };
    Ended { status, transferred, sense, retry_delay: 0 }
}

fn completion(command: Command, result: Result<Ended, TransportError>) -> Completion {
    let Command { tag, transfer, .. } = command;
    Completion { tag, result, transfer }
}

fn at(ms: u64) -> Instant {
    Instant::from_nanos(ms * 1_000_000)
}

#[test]
fn a_request_ends_with_its_command() {
    let mut requests = requests(2);
    requests.submit(at(1), 70, read(5)).unwrap();
    let command = poll(&mut requests, at(1)).unwrap();
    assert!(poll(&mut requests, at(1)).is_none() && requests.poll_timeout().is_none());
    let done = end(&mut requests, at(4), command, Ok(ended(Status::GOOD, None))).unwrap();
    assert_eq!((done.tag, done.latency, requests.outstanding()), (70, Duration::from_millis(3), 0));
    assert!(done.result.is_ok() && done.buffer.is_some());
}

/// Counts what is given back.
#[derive(Debug, Default)]
struct Lender(AtomicUsize);

impl Home for Lender {
    fn bytes(&self, _: &Held) -> &[u8] {
        &[7; BLOCK_LEN as usize]
    }

    fn take_back(&self, held: &mut dyn Iterator<Item = Held>) {
        self.0.fetch_add(held.count(), Ordering::Relaxed);
    }
}

#[test]
fn a_read_in_place_holds_nothing_while_it_waits_to_be_repeated() {
    let lender = Arc::new(Lender::default());
    let home = Arc::clone(&lender) as Arc<dyn Home>;
    let mut requests = requests(1);
    requests.submit(at(0), 70, Request::ReadInPlace { lba: 5, room: room_of(BLOCK_LEN as usize) }).unwrap();
    let attempt = |requests: &mut Requests, now, status| {
        let mut command = poll(requests, now).unwrap();
        let Transfer::ReadInPlace(room) = &mut command.transfer else { panic!("a read in place") };
        assert_eq!(room.frames(), 0);
        room.add(&home, 0, BLOCK_LEN, Held::new(0)).unwrap();
        end(requests, now, command, Ok(ended(status, None)))
    };
    assert!(attempt(&mut requests, at(0), Status::BUSY).is_none());
    assert_eq!(lender.0.load(Ordering::Relaxed), 1);
    let due = requests.poll_timeout().unwrap();
    let done = attempt(&mut requests, due, Status::GOOD).unwrap();
    let room = done.room.unwrap();
    assert_eq!(room.slices(BLOCK_LEN as usize).collect::<Vec<_>>(), [[7; BLOCK_LEN as usize]]);
    drop(room);
    assert_eq!(lender.0.load(Ordering::Relaxed), 2);

    let beyond = Request::ReadInPlace { lba: 1000, room: room_of(BLOCK_LEN as usize) };
    let refused = requests.submit(due, 71, beyond).unwrap_err();
    assert!(matches!(refused.reason, DiskError::OutOfRange { lba: 1000, blocks: 1, .. }));
}

fn room_of(len: usize) -> Box<InPlace> {
    Box::new(InPlace::new(vec![0; len].into()))
}

#[test]
fn what_may_pass_is_tried_again() {
    let attention = Sense::new(SenseKey::UNIT_ATTENTION, AdditionalSense::POWER_ON_OR_RESET);
    let mut requests = requests(1);
    requests.submit(at(0), 0, read(5)).unwrap();
    for result in [Ok(ended(Status::CHECK_CONDITION, Some(attention))), Err(TransportError::Aborted)] {
        let command = poll(&mut requests, at(0)).unwrap();
        assert!(end(&mut requests, at(0), command, result).is_none());
    }
    let command = poll(&mut requests, at(0)).unwrap();
    assert!(end(&mut requests, at(0), command, Ok(ended(Status::BUSY, None))).is_none());
    assert!(poll(&mut requests, at(0)).is_none(), "a busy target is left alone for a while");
    let due = requests.poll_timeout().unwrap();
    let command = poll(&mut requests, due).unwrap();
    let done = end(&mut requests, at(9), command, Ok(ended(Status::GOOD, None))).unwrap();
    assert!(done.result.is_ok());
}

#[test]
fn a_path_that_says_nothing_is_probed_before_it_is_used_again() {
    let mut requests = requests(2);
    for tag in 0..2 {
        requests.submit(at(0), tag, read(tag)).unwrap();
    }
    let (first, second) = (poll(&mut requests, at(0)).unwrap(), poll(&mut requests, at(0)).unwrap());
    assert!(end(&mut requests, at(5), second, Ok(ended(Status::GOOD, None))).is_some());
    // The target lives: only this command got lost.
    assert!(end(&mut requests, at(10), first, Err(TransportError::TimedOut)).is_none());
    let again = poll(&mut requests, at(10)).unwrap();
    assert!(!is_probe(&again));
    assert!(end(&mut requests, at(20), again, Err(TransportError::TimedOut)).is_none());
    assert!(poll(&mut requests, at(20)).is_none());
    let due = requests.poll_timeout().unwrap();
    let question = poll(&mut requests, due).unwrap();
    assert!(is_probe(&question) && poll(&mut requests, due).is_none());
    assert!(end(&mut requests, at(40), question, Ok(ended(Status::GOOD, None))).is_none());
    assert!(!is_probe(&poll(&mut requests, at(40)).unwrap()));
}

#[test]
fn what_a_link_loses_is_repeated_for_as_long_as_it_is_worth() {
    let missing = TransportError::DataMissing { expected: 512, moved: 0 };
    for error in [TransportError::Lost, missing] {
        let mut requests = requests(1);
        requests.submit(at(0), 0, read(5)).unwrap();
        let (mut now, mut pauses) = (at(0), Vec::new());
        let done = loop {
            let command = match poll(&mut requests, now) {
                Some(command) => command,
                None => {
                    let due = requests.poll_timeout().unwrap();
                    pauses.push(due.since(now).as_millis());
                    now = due;
                    poll(&mut requests, now).unwrap()
                }
            };
            if let Some(done) = end(&mut requests, now, command, Err(error)) {
                break done;
            }
        };
        assert!(matches!(done.result, Err(DiskError::Transport(told)) if told == error));
        assert!(done.latency >= PERSISTENCE && done.latency <= PERSISTENCE + LONGEST_LOSS_PAUSE);
        assert_eq!(pauses[..12], [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000, 1000]);
    }
}

#[test]
fn a_busy_target_gets_time_and_fewer_commands() {
    let mut requests = requests(4);
    for tag in 0..4 {
        requests.submit(at(0), tag, read(tag)).unwrap();
    }
    let (mut now, mut most_out) = (at(0), 0);
    for _ in 0..100 {
        let commands: Vec<_> = std::iter::from_fn(|| poll(&mut requests, now)).collect();
        most_out = commands.len();
        for command in commands {
            let full = Ok(ended(Status::TASK_SET_FULL, None));
            assert!(end(&mut requests, now, command, full).is_none(), "{now:?}");
        }
        now = now + BUSY_DELAY;
    }
    assert_eq!(most_out, 1);
    let mut ends = 0;
    while ends < 4 {
        let command = poll(&mut requests, now).unwrap();
        let good = Ok(ended(Status::GOOD, None));
        ends += usize::from(end(&mut requests, now, command, good).unwrap().result.is_ok());
    }
}

#[test]
fn a_target_that_is_gone_is_waited_for() {
    for gone_ms in [1, 4_000, 4_900, 5_100, 60_000] {
        let mut requests = requests(1);
        requests.submit(at(0), 0, read(5)).unwrap();
        let mut now = at(0);
        let done = loop {
            if let Some(done) = requests.poll_done(now) {
                break done;
            }
            let Some(command) = poll(&mut requests, now) else {
                now = requests.poll_timeout().unwrap();
                continue;
            };
            let is_back = now >= at(gone_ms);
            let result =
                if is_back { Ok(ended(Status::GOOD, None)) } else { Err(TransportError::NotLoggedIn) };
            requests.handle_completion(now, completion(command, result));
        };
        // It is looked for once a second by then.
        assert_eq!(done.result.is_ok(), gone_ms <= 4_000, "{gone_ms} ms");
        assert!(done.latency <= FAST_IO_FAIL, "{:?}", done.latency);
        if gone_ms > 4_900 {
            requests.submit(now, 0, read(5)).unwrap();
            let again = requests.poll_done(now).expect("without a path, what comes later fails at once");
            assert!(again.result.is_err());
        }
    }
}

#[test]
fn another_path_takes_over_at_once() {
    let disk = disk(2);
    let mut requests = Requests::new(Arc::clone(&disk), 4);
    for tag in 0..4 {
        requests.submit(at(0), tag, read(tag)).unwrap();
    }
    let commands: Vec<_> = std::iter::from_fn(|| poll(&mut requests, at(0))).collect();
    assert_eq!(commands.iter().map(|command| command.nexus.0).collect::<Vec<_>>(), [0, 1, 0, 1]);
    let mut good = 0;
    for command in commands {
        let is_lost = command.nexus.0 == 0;
        let result = if is_lost { Err(TransportError::NexusGone) } else { Ok(ended(Status::GOOD, None)) };
        match end(&mut requests, at(1), command, result) {
            Some(done) => good += u32::from(done.result.is_ok()),
            None => {
                let again = poll(&mut requests, at(1)).unwrap();
                assert_eq!(again.nexus.0, 1);
                let done = end(&mut requests, at(2), again, Ok(ended(Status::GOOD, None))).unwrap();
                good += u32::from(done.result.is_ok());
            }
        }
    }
    assert_eq!(good, 4);
    // It comes back as soon as it has logged in, by a probe.
    log_in(&disk, 0);
    assert!(requests.has_news());
    let command = poll(&mut requests, at(3)).unwrap();
    assert!(is_probe(&command) && command.nexus.0 == 0);
    let attention = check(SenseKey::UNIT_ATTENTION, AdditionalSense::POWER_ON_OR_RESET);
    assert!(end(&mut requests, at(3), command, Ok(attention)).is_none());
    let nexuses: Vec<_> = (0..2)
        .map(|tag| {
            requests.submit(at(4), tag, read(tag)).unwrap();
            poll(&mut requests, at(4)).unwrap().nexus.0
        })
        .collect();
    assert_eq!(nexuses, [0, 1]);
}

#[test]
fn a_write_waits_for_an_older_one_that_may_still_happen() {
    let disk = disk(2);
    let (mut requests, mut other) =
        (Requests::new(Arc::clone(&disk), 4), Requests::new(Arc::clone(&disk), 4));
    requests.submit(at(0), 0, write(7)).unwrap();
    let lost = poll(&mut requests, at(0)).unwrap();
    assert_eq!(lost.nexus.0, 0);
    assert!(end(&mut requests, at(1), lost, Err(TransportError::NexusGone)).is_none());
    // The same data by the other path does no harm.
    let again = poll(&mut requests, at(1)).unwrap();
    assert!(end(&mut requests, at(2), again, Ok(ended(Status::GOOD, None))).unwrap().result.is_ok());
    // Newer data would, and not only from this queue; other blocks and reads don't.
    for (tag, request) in [(1, write(7)), (2, write(8)), (3, read(7))] {
        other.submit(at(3), tag, request).unwrap();
    }
    let mut sent: Vec<_> = std::iter::from_fn(|| poll(&mut other, at(3))).collect();
    let is_reset = |command: &Command| matches!(command.action, Action::Manage(TaskManagement::LUN_RESET));
    assert!(sent.len() == 3 && is_reset(&sent[0]) && sent[0].tag & FENCE != 0);
    // The target doesn't do it.
    let refused = Err(TransportError::Response(RspCode::REJECTED));
    assert!(end(&mut other, at(3), sent.remove(0), refused).is_none());
    assert!(poll(&mut other, at(3)).is_none());
    assert_eq!(other.poll_timeout(), Some(at(1) + crate::ghosts::LIFETIME));
    log_in(&disk, 1);
    assert!(poll(&mut other, at(4)).is_none(), "that was the other target port");
    log_in(&disk, 0);
    let command = poll(&mut other, at(5)).unwrap();
    assert!(!is_probe(&command) && matches!(command.transfer, Transfer::Write(_)));
}

#[test]
fn a_fence_lets_later_writes_go_on() {
    let disk = disk(2);
    let mut requests = Requests::new(Arc::clone(&disk), 4);
    requests.submit(at(0), 0, write(7)).unwrap();
    let lost = poll(&mut requests, at(0)).unwrap();
    assert!(end(&mut requests, at(1), lost, Err(TransportError::NexusGone)).is_none());
    let again = poll(&mut requests, at(1)).unwrap();
    assert!(end(&mut requests, at(1), again, Ok(ended(Status::GOOD, None))).is_some());
    requests.submit(at(2), 1, write(7)).unwrap();
    // Its frames may be lost, too, and a queue that is dropped leaves it to the others.
    let mut fence = poll(&mut requests, at(2)).unwrap();
    for error in [TransportError::Lost, TransportError::Aborted] {
        assert!(end(&mut requests, at(2), fence, Err(error)).is_none());
        fence = poll(&mut requests, at(2)).unwrap();
        assert!(fence.tag & FENCE != 0 && fence.nexus.0 == 1);
    }
    let mut other = Requests::new(disk, 1);
    other.submit(at(3), 2, write(7)).unwrap();
    assert!(poll(&mut other, at(3)).is_none(), "one is out");
    drop(requests);
    let fence = poll(&mut other, at(4)).unwrap();
    assert!(fence.tag & FENCE != 0);
    assert!(
        end(&mut other, at(5), fence, Ok(Ended { transferred: 0, ..ended(Status::GOOD, None) })).is_none()
    );
    let newer = poll(&mut other, at(5)).unwrap();
    assert!(end(&mut other, at(6), newer, Ok(ended(Status::GOOD, None))).unwrap().result.is_ok());
}

#[test]
fn a_path_in_standby_is_left_to_itself() {
    let disk = disk(2);
    let mut requests = Requests::new(disk, 1);
    requests.submit(at(0), 0, read(0)).unwrap();
    let command = poll(&mut requests, at(0)).unwrap();
    let standby = check(SenseKey::NOT_READY, AdditionalSense::PORT_IN_STANDBY);
    assert!(end(&mut requests, at(0), command, Ok(standby)).is_none());
    for _ in 0..3 {
        let command = poll(&mut requests, at(0)).unwrap();
        assert_eq!(command.nexus.0, 1);
        assert!(end(&mut requests, at(0), command, Ok(ended(Status::GOOD, None))).is_some());
        requests.submit(at(0), 0, read(0)).unwrap();
    }
}

#[test]
fn without_access_a_request_is_tried_for_as_long_as_it_is_worth() {
    let mut requests = requests(1);
    requests.submit(at(0), 0, read(0)).unwrap();
    let (mut now, mut tries) = (at(0), 0);
    let done = loop {
        let command = poll(&mut requests, now).unwrap();
        let standby = check(SenseKey::NOT_READY, AdditionalSense::PORT_UNAVAILABLE);
        tries += 1;
        if let Some(done) = end(&mut requests, now, command, Ok(standby)) {
            break done;
        }
        now = requests.poll_timeout().unwrap();
    };
    assert!(matches!(done.result, Err(DiskError::Scsi { .. })));
    assert_eq!((done.latency, tries), (PERSISTENCE, 301));
}

#[test]
fn when_all_ports_have_stopped_nothing_waits() {
    let mut requests = Requests::new(disk(2), 2);
    requests.submit(at(0), 0, read(0)).unwrap();
    requests.submit(at(0), 1, read(1)).unwrap();
    let commands: Vec<_> = std::iter::from_fn(|| poll(&mut requests, at(0))).collect();
    let mut ends: Vec<_> = commands
        .into_iter()
        .filter_map(|command| end(&mut requests, at(1), command, Err(TransportError::Stopped)))
        .collect();
    ends.extend(std::iter::from_fn(|| requests.poll_done(at(1))));
    let is_told = |done: &Done| matches!(done.result, Err(DiskError::Transport(TransportError::Stopped)));
    assert!(ends.len() == 2 && ends.iter().all(is_told), "{ends:?}");
}

#[test]
fn what_will_not_pass_is_told() {
    let mut requests = requests(1);
    requests.submit(at(0), 0, read(5)).unwrap();
    let command = poll(&mut requests, at(0)).unwrap();
    let done = end(&mut requests, at(0), command, Err(TransportError::Stopped)).unwrap();
    assert!(matches!(done.result, Err(DiskError::Transport(TransportError::Stopped))));
    let mut requests = self::requests(1);
    requests.submit(at(0), 0, read(5)).unwrap();
    let short = Ended { transferred: 100, ..ended(Status::GOOD, None) };
    let command = poll(&mut requests, at(0)).unwrap();
    let done = end(&mut requests, at(0), command, Ok(short)).unwrap();
    assert!(matches!(done.result, Err(DiskError::Short { expected: 512, transferred: 100 })));
}

#[test]
fn requests_beyond_the_disk_or_the_depth_are_refused() {
    let mut requests = requests(1);
    let refusal = |requests: &mut Requests, request| requests.submit(at(0), 0, request).unwrap_err().reason;
    assert!(matches!(refusal(&mut requests, read(1000)), DiskError::OutOfRange { lba: 1000, .. }));
    assert!(matches!(refusal(&mut requests, read(u64::MAX)), DiskError::OutOfRange { .. }));
    let unaligned = Request::Write { lba: 0, buffer: vec![0; 100].into() };
    assert!(matches!(refusal(&mut requests, unaligned), DiskError::Unaligned { len: 100, .. }));
    let long = Request::Write { lba: 0, buffer: vec![0; 65 << 10].into() };
    assert!(matches!(refusal(&mut requests, long), DiskError::TooLong { .. }));
    requests.submit(at(0), 0, Request::Flush).unwrap();
    assert!(matches!(refusal(&mut requests, read(0)), DiskError::QueueFull));
}

#[test]
fn a_path_that_comes_is_registered_before_it_is_used() {
    let disk = disk(2);
    let all = disk.paths();
    disk.update(None, all[..1].to_vec(), Vec::new());
    disk.set_key(7);
    disk.registered(&all[0]);
    let mut requests = Requests::new(Arc::clone(&disk), 4);
    for tag in 0..2 {
        requests.submit(at(0), tag, read(tag)).unwrap();
        assert_eq!(poll(&mut requests, at(0)).unwrap().nexus.0, 0);
    }
    disk.update(None, all, Vec::new());
    let attention = check(SenseKey::UNIT_ATTENTION, AdditionalSense::POWER_ON_OR_RESET);
    let mut now = at(1);
    for result in [attention, Ended { transferred: 24, ..ended(Status::GOOD, None) }] {
        let command = poll(&mut requests, now).unwrap();
        assert!(is_probe(&command) && command.nexus.0 == 1);
        let Transfer::Write(list) = &command.transfer else { panic!("a parameter list") };
        assert_eq!(list[8..16], 7u64.to_be_bytes(), "SERVICE ACTION RESERVATION KEY");
        assert!(end(&mut requests, now, command, Ok(result)).is_none());
        now = requests.poll_timeout().unwrap_or(now);
    }
    for tag in 2..4 {
        requests.submit(now, tag, read(tag)).unwrap();
    }
    let nexuses: Vec<_> = std::iter::from_fn(|| poll(&mut requests, now)).map(|sent| sent.nexus.0).collect();
    assert_eq!(nexuses, [0, 1]);
    // Another queue needn't do it again, until the target port has been away.
    let mut other = Requests::new(Arc::clone(&disk), 1);
    other.submit(now, 0, read(0)).unwrap();
    assert!(!is_probe(&poll(&mut other, now).unwrap()));
    log_in(&disk, 1);
    assert!(is_probe(&poll(&mut other, now).unwrap()));
}
