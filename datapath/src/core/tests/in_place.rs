//! Read data that is taken where it was received.

use super::*;
use fc::in_place::InPlace;
use fc::messages::Completion;

fn room() -> Transfer {
    Transfer::ReadInPlace(Box::new(InPlace::new(vec![0xee; DATA_LEN].into())))
}

fn taken(completion: Completion) -> Box<InPlace> {
    let Transfer::ReadInPlace(read) = completion.transfer else { panic!("a read in place") };
    read
}

fn bytes(read: &InPlace) -> Vec<u8> {
    read.slices(DATA_LEN).flatten().copied().collect()
}

impl Bench {
    fn read_in_place(&mut self) -> u16 {
        self.submit(7, room())
    }

    /// All data and the response.
    fn serve(&mut self, ox_id: u16) {
        for (at, payload) in pattern().chunks(2112).enumerate() {
            self.data(ox_id, at * 2112, payload);
        }
        self.respond(ox_id, &FcpRsp::default());
    }

    fn lent(&mut self) -> usize {
        self.step();
        let account = self.core.port_mut().account();
        assert!(account.is_balanced() && account.held == 0, "{account:?}");
        account.lent
    }
}

#[test]
fn data_stays_where_it_was_received_until_it_is_given_back() {
    let mut bench = Bench::new();
    let ox_id = bench.read_in_place();
    bench.serve(ox_id);
    let mut completion = bench.completion();
    assert_eq!(completion.result.unwrap().transferred as usize, DATA_LEN);
    for _ in 0..3 {
        assert_eq!((bench.lent(), bench.core.counters.lent_bytes as usize), (3, DATA_LEN));
        let mut read = taken(completion);
        assert_eq!(bytes(&read), pattern());
        read.clear();
        assert_eq!(bytes(&read), [0xee; DATA_LEN], "nothing was copied");
        assert_eq!(bench.lent(), 0);
        bench.core.counters.lent_bytes = 0;
        let ox_id = bench.submit(7, Transfer::ReadInPlace(read));
        bench.serve(ox_id);
        completion = bench.completion();
    }
    drop(completion);
    assert_eq!(bench.lent(), 0);
}

proptest! {
    /// Frames of one command in any order, as often as they like and overlapping, each with bytes of its own, some by way
    /// of another core: of each byte the first one counts that came in a frame that was not dropped.
    #[test]
    fn the_first_of_what_comes_twice_counts(
        frames in proptest::collection::vec((0..DATA_LEN, 1..2112usize, proptest::bool::weighted(0.2)), 0..12),
    ) {
        let mut bench = Bench::new();
        let ox_id = bench.read_in_place();
        let mut expected = vec![None; DATA_LEN];
        // What is still missing comes at the end, in order.
        let rest = (0..DATA_LEN).step_by(2000).map(|start| (start, 2000, false));
        for (number, (start, len, is_handed_on)) in (0u8..).zip(frames.into_iter().chain(rest)) {
            let end = DATA_LEN.min(start + len);
            let payload = vec![number; end - start];
            let gaps = bench.dropped(DropReason::Gaps);
            if is_handed_on {
                let mut header = target_header(RCtl::DATA, 0x88_0008, ox_id);
                header.parameter.set(start as u32);
                bench.core.handle_handed_on(bench.now, &from_target(&header, &payload));
            } else {
                bench.data(ox_id, start, &payload);
            }
            if bench.dropped(DropReason::Gaps) == gaps {
                expected[start..end].iter_mut().for_each(|byte| *byte = byte.or(Some(number)));
            }
        }
        bench.respond(ox_id, &FcpRsp::default());
        let read = taken(bench.completion());
        let expected: Vec<u8> = expected.into_iter().map(|byte| byte.expect("it came at last")).collect();
        prop_assert!(bytes(&read) == expected);
        prop_assert_eq!(read.frames(), bench.lent());
        drop(read);
        prop_assert_eq!(bench.lent(), 0);
    }
}

#[test]
fn a_frame_that_brings_nothing_new_is_not_kept() {
    let mut bench = Bench::new();
    let (ox_id, data) = (bench.read_in_place(), pattern());
    for _ in 0..3 {
        bench.data(ox_id, 0, &data[..2112]);
        bench.data(ox_id, 4224, &data[4224..]);
        bench.data(ox_id, 100, &[]);
    }
    assert_eq!(bench.lent(), 2);
    // It fills both gaps that are left, and is copied.
    bench.data(ox_id, 3000, &data[3000..3100]);
    bench.data(ox_id, 2000, &data[2000..4100]);
    assert_eq!(bench.lent(), 3);
    bench.data(ox_id, 4000, &data[4000..4300]);
    bench.respond(ox_id, &FcpRsp::default());
    assert_eq!(bytes(&taken(bench.completion())), data);
}

/// Consumers that never give anything back have half of the chunks, and reads go on.
#[test]
fn what_is_more_than_may_be_lent_is_copied() {
    let mut bench = Bench::new();
    let mut kept = Vec::new();
    for _ in 0..120 {
        let ox_id = bench.read_in_place();
        bench.serve(ox_id);
        kept.push(taken(bench.completion()));
    }
    assert_eq!(bench.lent(), 256);
    assert!(kept.iter().all(|read| bytes(read) == pattern()));
    assert_eq!(kept.iter().map(|read| read.frames()).sum::<usize>(), 256);
    assert_eq!(kept[119].frames(), 0);
    kept.truncate(60);
    assert_eq!(bench.lent(), 180);
    let ox_id = bench.read_in_place();
    bench.serve(ox_id);
    assert_eq!(taken(bench.completion()).frames(), 3);
}

#[test]
fn data_that_comes_after_the_response_completes_a_read() {
    let mut bench = Bench::new();
    let (ox_id, data) = (bench.read_in_place(), pattern());
    bench.data(ox_id, 0, &data[..2112]);
    bench.respond(ox_id, &FcpRsp::default());
    bench.data(ox_id, 2112, &data[2112..4224]);
    assert!(bench.consumer.poll().is_none());
    bench.data(ox_id, 4224, &data[4224..]);
    assert_eq!(bytes(&taken(bench.completion())), data);
}

#[test]
fn lost_data_is_asked_for_again_and_joins_what_is_held() {
    let mut bench = Bench::with_nexus(&Nexus { retry: true, ..nexus() });
    let (ox_id, data) = (bench.read_in_place(), pattern());
    bench.data(ox_id, 0, &data[..2112]);
    bench.data(ox_id, 4224, &data[4224..]);
    bench.respond(ox_id, &FcpRsp::default());
    assert_eq!(bench.sent()[0].header.r_ctl, RCtl::FC4_REQUEST, "SRR");
    // From there on all of it comes again.
    bench.data(ox_id, 2112, &data[2112..4224]);
    bench.data(ox_id, 4224, &data[4224..]);
    bench.respond(ox_id, &FcpRsp::default());
    let read = taken(bench.completion());
    assert_eq!((bytes(&read), read.frames(), bench.lent()), (data, 3, 3));
}

#[test]
fn a_command_that_is_aborted_holds_nothing() {
    let mut bench = Bench::new();
    let (ox_id, data) = (bench.read_in_place(), pattern());
    bench.data(ox_id, 0, &data[..2112]);
    assert_eq!(bench.lent(), 1);
    bench.advance(TIMEOUT);
    assert_eq!(bench.lent(), 0, "its data is of no use any more");
    bench.data(ox_id, 2112, &data[2112..4224]);
    assert_eq!((bench.dropped(DropReason::NoExchange), bench.lent()), (1, 0));
    bench.answer_abort(RCtl::BA_ACC, ox_id);
    let completion = bench.completion();
    assert_eq!(completion.result, Err(TransportError::TimedOut));
    assert_eq!(taken(completion).frames(), 0);
}

#[test]
fn a_consumer_that_is_gone_holds_nothing() {
    let mut bench = Bench::new();
    let served = bench.read_in_place();
    let half = bench.read_in_place();
    bench.serve(served);
    bench.data(half, 0, &pattern()[..2112]);
    assert_eq!(bench.lent(), 4);
    let (gone, _) = consumer::pair(1, Arc::new(Waker::new().unwrap()), Arc::new(Waker::new().unwrap()));
    drop(std::mem::replace(&mut bench.consumer, gone));
    assert_eq!(bench.lent(), 1, "the command that is out has its data");
    bench.serve(half);
    assert_eq!(bench.lent(), 0);
}

#[test]
fn data_stays_when_core_and_port_are_gone() {
    let mut bench = Bench::new();
    let ox_id = bench.read_in_place();
    bench.serve(ox_id);
    let half = bench.read_in_place();
    bench.data(half, 0, &pattern()[..2112]);
    let read = taken(bench.completion());
    drop(bench.core.stop(bench.now));
    drop(bench.wire);
    assert_eq!(bytes(&read), pattern());
    let stopped = bench.consumer.poll().unwrap();
    assert_eq!(stopped.result, Err(TransportError::Stopped));
    assert_eq!(taken(stopped).frames(), 0);
}

/// A path that goes while data comes, and one whose target is busy after half of the data: the same command by another port.
#[test]
fn a_repetition_by_another_port_has_nothing_of_the_first_attempt() {
    let [mut one, mut other] = [Bench::new(), Bench::new()];
    let mut transfer = room();
    for is_gone in [true, false] {
        let ox_id = one.submit(7, transfer);
        one.data(ox_id, 0, &[0xaa; 2112]);
        one.data(ox_id, 4224, &[0xaa; 100]);
        if is_gone {
            one.link.send(ToCore::RemoveNexus(NEXUS)).unwrap();
            one.link.send(ToCore::SetNexus(NEXUS, Box::new(nexus()))).unwrap();
            one.step();
        } else {
            let residual = DATA_LEN as u32 - 2112;
            let (flags, status) = (rsp_flags::UNDER, Status::BUSY.0);
            one.respond(ox_id, &FcpRsp { flags, residual, status, ..FcpRsp::default() });
        }
        let completion = one.completion();
        assert_eq!(completion.result.is_err(), is_gone);
        assert_eq!(one.lent(), if is_gone { 0 } else { 2 });

        let ox_id = other.submit(7, completion.transfer);
        assert_eq!(one.lent(), 0);
        other.serve(ox_id);
        let read = taken(other.completion());
        assert_eq!((bytes(&read), one.lent(), other.lent()), (pattern(), 0, 3));
        transfer = Transfer::ReadInPlace(read);
    }
}
