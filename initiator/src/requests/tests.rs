use super::*;
use fc::wire::Wwn;
use fc::wire::fcp::Lun;
use fc::wire::scsi::{AdditionalSense, Sense};

const BLOCK_LEN: u32 = 512;
const FAST_IO_FAIL: Duration = Duration::from_secs(5);

fn requests(depth: usize) -> Requests {
    let info = DiskInfo {
        target: Wwn::default(),
        lun: Lun::default(),
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
    Requests::new(Arc::new(info), NexusId(0), depth, FAST_IO_FAIL)
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
    Completion { tag, result, transfer, latency: Duration::ZERO }
}

fn at(ms: u64) -> Instant {
    Instant::from_nanos(ms * 1_000_000)
}

#[test]
fn a_request_ends_with_its_command() {
    let mut requests = requests(2);
    requests.submit(at(1), 70, read(5)).unwrap();
    let command = requests.poll_command(at(1)).unwrap();
    assert!(requests.poll_command(at(1)).is_none() && requests.poll_timeout().is_none());
    let done = requests.handle_completion(at(4), completion(command, Ok(ended(Status::GOOD, None)))).unwrap();
    assert_eq!((done.tag, done.latency, requests.outstanding()), (70, Duration::from_millis(3), 0));
    assert!(done.result.is_ok() && done.buffer.is_some());
}

#[test]
fn what_may_pass_is_tried_again() {
    let attention = Sense::new(SenseKey::UNIT_ATTENTION, AdditionalSense::POWER_ON_OR_RESET);
    let mut requests = requests(1);
    requests.submit(at(0), 0, read(5)).unwrap();
    for result in [Ok(ended(Status::CHECK_CONDITION, Some(attention))), Err(TransportError::TimedOut)] {
        let command = requests.poll_command(at(0)).unwrap();
        assert!(requests.handle_completion(at(0), completion(command, result)).is_none());
    }
    let command = requests.poll_command(at(0)).unwrap();
    assert!(requests.handle_completion(at(0), completion(command, Ok(ended(Status::BUSY, None)))).is_none());
    assert!(requests.poll_command(at(0)).is_none(), "a busy target is left alone for a while");
    let command = requests.poll_command(requests.poll_timeout().unwrap()).unwrap();
    let done = requests.handle_completion(at(9), completion(command, Ok(ended(Status::GOOD, None)))).unwrap();
    assert!(done.result.is_ok());
}

#[test]
fn what_a_link_loses_is_repeated_for_as_long_as_it_is_worth() {
    let missing = TransportError::DataMissing { expected: 512, moved: 0 };
    for error in [TransportError::Lost, missing] {
        let mut requests = requests(1);
        requests.submit(at(0), 0, read(5)).unwrap();
        let (mut now, mut pauses) = (at(0), Vec::new());
        let done = loop {
            let command = match requests.poll_command(now) {
                Some(command) => command,
                None => {
                    let due = requests.poll_timeout().unwrap();
                    pauses.push(due.since(now).as_millis());
                    now = due;
                    requests.poll_command(now).unwrap()
                }
            };
            if let Some(done) = requests.handle_completion(now, completion(command, Err(error))) {
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
        let commands: Vec<_> = std::iter::from_fn(|| requests.poll_command(now)).collect();
        most_out = commands.len();
        for command in commands {
            let full = completion(command, Ok(ended(Status::TASK_SET_FULL, None)));
            assert!(requests.handle_completion(now, full).is_none(), "{now:?}");
        }
        now = now + BUSY_DELAY;
    }
    assert_eq!(most_out, 1);
    let mut ends = 0;
    while ends < 4 {
        let command = requests.poll_command(now).unwrap();
        let good = completion(command, Ok(ended(Status::GOOD, None)));
        ends += usize::from(requests.handle_completion(now, good).unwrap().result.is_ok());
    }
}

#[test]
fn a_target_that_is_gone_is_waited_for() {
    for gone_ms in [1, 4_000, 4_999, 5_000, 60_000] {
        let mut requests = requests(1);
        requests.submit(at(0), 0, read(5)).unwrap();
        let mut now = at(0);
        let done = loop {
            now = requests.poll_timeout().unwrap_or(now);
            let command = requests.poll_command(now).unwrap();
            let is_back = now >= at(gone_ms);
            let result = if is_back { Ok(ended(Status::GOOD, None)) } else { Err(TransportError::NexusGone) };
            if let Some(done) = requests.handle_completion(now, completion(command, result)) {
                break done;
            }
        };
        assert_eq!(done.result.is_ok(), gone_ms <= 5_000, "{gone_ms} ms");
        assert!(done.latency <= FAST_IO_FAIL, "{:?}", done.latency);
    }
}

#[test]
fn what_will_not_pass_is_told() {
    let mut requests = requests(1);
    requests.submit(at(0), 0, read(5)).unwrap();
    let command = requests.poll_command(at(0)).unwrap();
    let stopped = completion(command, Err(TransportError::Stopped));
    let done = requests.handle_completion(at(0), stopped).unwrap();
    assert!(matches!(done.result, Err(DiskError::Transport(TransportError::Stopped))));
    requests.submit(at(0), 0, read(5)).unwrap();
    let short = Ended { transferred: 100, ..ended(Status::GOOD, None) };
    let command = requests.poll_command(at(0)).unwrap();
    let done = requests.handle_completion(at(0), completion(command, Ok(short))).unwrap();
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
