use super::*;
use crate::path::{PathId, PortNumber};
use fc::messages::NexusId;
use fc::wire::Wwn;
use fc::wire::fcp::Lun;

const FAST_IO_FAIL: Duration = Duration::from_secs(5);

fn at(ms: u64) -> Instant {
    Instant::from_nanos(ms * 1_000_000)
}

fn path(number: u16, access: AccessState) -> Path {
    Path {
        id: PathId { port: PortNumber(number), nexus: NexusId(0), lun: Lun::default() },
        target: Wwn::default(),
        is_ready: true,
        logins: 1,
        access,
        fast_io_fail: FAST_IO_FAIL,
    }
}

fn paths(choice: PathChoice, access: &[AccessState]) -> (Paths, Vec<Path>) {
    let list: Vec<_> = (0..).zip(access).map(|(number, &access)| path(number, access)).collect();
    let mut paths = Paths::new(4, choice, 0);
    paths.update(at(0), &list, &[]);
    (paths, list)
}

/// The paths of the next commands, each sent, until there is none.
fn send(paths: &mut Paths, now: Instant, most: usize) -> Vec<usize> {
    let next = || {
        let index = paths.choose(now)?;
        paths.sent(now, index);
        Some(index.0)
    };
    std::iter::from_fn(next).take(most).collect()
}

#[test]
fn good_paths_take_turns_and_worse_ones_none() {
    use AccessState as Access;
    let access = [Access::OPTIMIZED, Access::NON_OPTIMIZED, Access::OPTIMIZED, Access::STANDBY];
    let (mut paths, _) = paths(PathChoice::RoundRobin, &access);
    assert_eq!(send(&mut paths, at(0), 99), [0, 2, 0, 2, 0, 2, 0, 2], "as many as two windows hold");
    paths.fail(at(0), PathIndex(0));
    paths.fail(at(0), PathIndex(2));
    assert_eq!(send(&mut paths, at(0), 99), [1, 1, 1, 1]);
    paths.fail(at(0), PathIndex(1));
    assert_eq!(send(&mut paths, at(0), 1), [3], "one in standby is asked when all others fail");
}

#[test]
fn the_shortest_queue_takes_the_next() {
    let (mut paths, _) = paths(PathChoice::LeastQueue, &[AccessState::OPTIMIZED; 2]);
    assert_eq!(send(&mut paths, at(0), 4), [0, 1, 0, 1]);
    paths.ended(PathIndex(1), false);
    paths.ended(PathIndex(1), false);
    assert_eq!(send(&mut paths, at(0), 2), [1, 1]);
}

#[test]
fn a_silent_path_is_left_alone_while_another_one_answers() {
    let (mut paths, _) = paths(PathChoice::RoundRobin, &[AccessState::OPTIMIZED; 2]);
    assert_eq!(send(&mut paths, at(0), 2), [0, 1]);
    paths.ended(PathIndex(1), false);
    paths.heard(at(1), PathIndex(1));
    assert_eq!(send(&mut paths, at(501), 2), [1, 1]);
    assert_eq!(send(&mut paths, at(2000), 1), [0], "both are silent");
    paths.heard(at(2000), PathIndex(0));
    assert_eq!(send(&mut paths, at(2000), 2), [0, 0]);
}

#[test]
fn a_path_that_failed_is_used_after_a_probe_that_goes_well() {
    let (mut paths, mut list) = paths(PathChoice::RoundRobin, &[AccessState::OPTIMIZED; 2]);
    paths.fail(at(0), PathIndex(0));
    assert_eq!(send(&mut paths, at(0), 2), [1, 1]);
    (0..2).for_each(|_| paths.ended(PathIndex(1), false));
    let (mut now, mut pauses) = (at(0), Vec::new());
    for _ in 0..10 {
        let due = paths.next_probe().unwrap();
        pauses.push(due.since(now).as_millis());
        now = due;
        assert_eq!(paths.poll_probe(now), Some(PathIndex(0)));
        assert_eq!(paths.poll_probe(now), None, "one at a time");
        paths.probed(now, PathIndex(0), false);
    }
    assert_eq!(pauses, [10, 10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
    list[0].logins += 1;
    paths.update(now, &list, &[]);
    assert_eq!(paths.poll_probe(now), Some(PathIndex(0)), "it has logged in anew");
    paths.probed(now, PathIndex(0), true);
    assert_eq!(send(&mut paths, now, 2), [0, 1]);
}

#[test]
fn without_a_path_requests_wait_so_long() {
    let (mut paths, list) = paths(PathChoice::RoundRobin, &[AccessState::OPTIMIZED; 2]);
    paths.fail(at(0), PathIndex(0));
    assert!(!paths.is_lost(at(60_000)));
    paths.fail(at(10), PathIndex(1));
    assert!(!paths.is_lost(at(5_009)) && paths.is_lost(at(5_010)));
    paths.update(at(20), &[], &[]);
    assert!(!paths.is_lost(at(5_009)) && paths.is_lost(at(5_010)), "that is no better");
    paths.update(at(30), &list[1..], &[]);
    assert_eq!(paths.poll_probe(at(30)), Some(PathIndex(1)));
    paths.probed(at(40), PathIndex(1), true);
    assert!(!paths.is_lost(at(60_000)));
    paths.stop(at(50), PathIndex(1));
    assert!(paths.is_lost(at(50)), "nobody will bring it back");
}

#[test]
fn a_path_that_goes_keeps_its_number_while_something_of_it_is_out() {
    let (mut paths, list) = paths(PathChoice::RoundRobin, &[AccessState::OPTIMIZED; 2]);
    assert_eq!(send(&mut paths, at(0), 2), [0, 1]);
    paths.update(at(1), &list[1..], &[]);
    assert_eq!(send(&mut paths, at(1), 2), [1, 1]);
    let other = path(7, AccessState::OPTIMIZED);
    paths.update(at(2), &[list[1].clone(), other.clone()], &[]);
    assert_eq!(paths.path(PathIndex(2)).id, other.id);
    paths.ended(PathIndex(0), false);
    paths.update(at(3), &list[1..], &[]);
    let another = path(8, AccessState::OPTIMIZED);
    paths.update(at(3), &[list[1].clone(), another.clone()], &[]);
    assert_eq!(paths.path(PathIndex(0)).id, another.id, "nothing is out on it any more");
}
