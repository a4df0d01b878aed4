//! Frames that come by another queue than their core's.

use super::*;
use fc::messages::Ended;

/// Cores 2 and 4 of seven.
fn two_cores() -> [Bench; 2] {
    let wakers: Vec<_> = (0..7).map(|_| Arc::new(Waker::new().unwrap())).collect();
    let mut ways: Vec<_> = siblings(&wakers).into_iter().map(Some).collect();
    [2, 4].map(|number| {
        let mut bench = Bench::of_core(number, &nexus());
        bench.core.siblings = ways[usize::from(number)].take().unwrap();
        bench
    })
}

fn read_data(ox_id: u16) -> Vec<u8> {
    let mut header = target_header(RCtl::DATA, 0x88_0008, ox_id);
    header.parameter.set(0);
    from_target(&header, &pattern()[..2000])
}

fn good_response(ox_id: u16) -> Vec<u8> {
    let mut iu = [0; 128];
    let len = FcpRsp::default().emit(&mut iu);
    from_target(&target_header(RCtl::STATUS, 0x98_0000, ox_id), &iu[..len])
}

#[test]
fn a_core_hands_on_what_is_anothers() {
    let [mut one, mut other] = two_cores();
    let ox_id = other.submit(7, Transfer::Read(vec![0; 2000].into()));
    one.inject(&read_data(ox_id));
    assert!(other.core.has_work(), "a core doesn't sleep with a frame of its own in a lane");
    other.step();
    one.inject(&good_response(ox_id));
    other.step();
    let completion = other.completion();
    assert_eq!(completion.result, Ok(Ended::good(2000)));
    assert_eq!(completion.transfer.into_buffer().as_deref(), Some(&pattern()[..2000]));
    assert_eq!((one.core.counters.handed_on, one.core.counters.dropped_total()), (2, 0));
    assert_eq!((other.core.counters.handed_on, other.core.counters.dropped_total()), (0, 0));
}

#[test]
fn what_nobody_wants_is_handed_on_once() {
    let [mut one, mut other] = two_cores();
    let [ours, theirs, controls] = [2, 4, ox_id::CONTROL];
    for ox_id in [ours, theirs, controls] {
        one.inject(&read_data(ox_id));
        other.step();
        one.step();
    }
    assert_eq!(one.core.counters.handed_on, 1);
    assert_eq!(one.dropped(DropReason::NoExchange), 2, "its own and control's");
    assert_eq!(other.dropped(DropReason::NoExchange), 1);
}

#[test]
fn a_core_that_takes_nothing_costs_its_own_frames_only() {
    let [mut one, mut other] = two_cores();
    let ox_id = other.submit(7, Transfer::Read(vec![0; 2000].into()));
    for _ in 0..300 {
        one.inject(&read_data(ox_id));
    }
    assert_eq!((one.core.counters.handed_on, one.dropped(DropReason::SiblingBusy)), (256, 44));
    while other.core.has_work() {
        other.step();
    }
    let own = one.submit(8, Transfer::Read(vec![0; 2000].into()));
    one.inject(&read_data(own));
    assert_eq!(one.core.counters.read_bytes, 2000);
    assert!(one.core.counters.handed_on == 256 && other.core.counters.read_bytes >= 2000);
}
