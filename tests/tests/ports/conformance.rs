//! The contract of [`Port`], put to two ports that are joined.

use super::frames::frame;
use datapath::port::{Frame, Port, Waker};
use fc::in_place::InPlace;
use fc::wire::fcoe::MAX_FRAME_LEN;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take that is bound to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// Frames on their way at a time: half of what veth holds.
const WINDOW: u32 = 128;

/// Puts all of the contract to the pair, each to the other.
pub(crate) fn conforms(here: &mut impl Port, there: &mut impl Port) {
    carries_every_length(here, there);
    carries_every_length(there, here);
    carries_a_long_burst(here, there);
    carries_a_long_burst(there, here);
    answers_in_place(here, there);
    survives_exhaustion(here, there);
    refuses_foreign_frames(here, there);
    lends(here, there);
    lends(there, here);
    wakes(here, there);
    for port in [here as &dyn Port, there] {
        let account = port.account();
        assert!(
            account.is_balanced() && account.held == 0 && account.lent == 0,
            "{}: {account:?}",
            port.info()
        );
    }
}

/// Receives until there is a frame, sleeping in between.
pub(crate) fn await_frames(port: &mut (impl Port + ?Sized), into: &mut Vec<Frame>) {
    let (waker, start) = (Waker::new().unwrap(), Instant::now());
    while port.receive(into, 64) == 0 {
        assert!(
            start.elapsed() < PATIENCE,
            "{}: nothing came: {:?}, {:?}",
            port.info(),
            port.counters(),
            port.account()
        );
        port.wait(&waker, Duration::from_millis(100)).unwrap();
        // What has been sent comes back in time, too.
        port.flush().unwrap();
    }
}

/// Takes and releases what is under way; how many frames it was.
pub(crate) fn drain(port: &mut impl Port) -> usize {
    let (mut frames, mut count) = (Vec::new(), 0);
    let waker = Waker::new().unwrap();
    loop {
        port.wait(&waker, Duration::from_millis(20)).unwrap();
        if port.receive(&mut frames, usize::MAX) == 0 {
            return count;
        }
        count += frames.len();
        frames.drain(..).for_each(|frame| port.release(frame));
    }
}

fn carries_every_length(sender: &mut impl Port, receiver: &mut impl Port) {
    let mut frames = Vec::new();
    let before = receiver.counters();
    let mut bytes = 0;
    for (number, len) in (60..=MAX_FRAME_LEN).enumerate() {
        for tagged in [false, true] {
            // A NIC pads what is shorter; a tag is four bytes on top.
            let sent = frame(number as u32, len.max(if tagged { 64 } else { 60 }), tagged);
            bytes += sent.len() as u64;
            assert!(sender.send_copy(&sent), "nothing is held, and yet there is no frame");
            sender.flush().unwrap();
            await_frames(receiver, &mut frames);
            let received = frames.pop().expect("one came");
            assert!(frames.is_empty(), "one was sent");
            assert_eq!(receiver.data(&received), sent, "{len} bytes, tagged: {tagged}");
            receiver.release(received);
        }
    }
    let after = receiver.counters();
    assert_eq!(after.received_frames - before.received_frames, 2 * (MAX_FRAME_LEN as u64 - 59));
    assert_eq!(after.received_bytes - before.received_bytes, bytes);
}

fn carries_a_long_burst(sender: &mut impl Port, receiver: &mut impl Port) {
    const COUNT: u32 = 10_000;
    let (mut sent, mut received) = (0, 0);
    let mut frames = Vec::new();
    let len = |number: u32| 60 + (number as usize * 37) % (MAX_FRAME_LEN - 59);
    while received < COUNT {
        while sent < COUNT && sent - received < WINDOW {
            assert!(sender.send_copy(&frame(sent, len(sent), false)), "{:?}", sender.account());
            sent += 1;
        }
        sender.flush().unwrap();
        await_frames(receiver, &mut frames);
        for arrived in frames.drain(..) {
            assert_eq!(receiver.data(&arrived), frame(received, len(received), false), "frame {received}");
            receiver.release(arrived);
            received += 1;
        }
        assert!(sender.account().is_balanced() && receiver.account().is_balanced());
    }
    assert_eq!(drain(receiver), 0, "more came than was sent");
}

fn answers_in_place(asker: &mut impl Port, answerer: &mut impl Port) {
    let mut frames = Vec::new();
    for number in 0..3000 {
        assert!(asker.send_copy(&frame(number, 200, number % 2 == 0)));
        asker.flush().unwrap();
        await_frames(answerer, &mut frames);
        let mut question = frames.pop().unwrap();
        answerer.buffer(&mut question)[199] ^= 0xff;
        answerer.send(question);
        answerer.flush().unwrap();
        await_frames(asker, &mut frames);
        let answer = frames.pop().unwrap();
        let mut expected = frame(number, 200, number % 2 == 0);
        expected[199] ^= 0xff;
        assert_eq!(asker.data(&answer), expected);
        asker.release(answer);
    }
}

/// All chunks out, at either end: nothing breaks, and it goes on afterwards.
fn survives_exhaustion(sender: &mut impl Port, receiver: &mut impl Port) {
    let mut frames = Vec::new();
    let start = Instant::now();
    while sender.account().sending > 0 {
        sender.flush().unwrap();
        assert!(start.elapsed() < PATIENCE, "{:?}", sender.account());
    }
    while let Some(mut allocated) = sender.allocate() {
        let bytes = frame(7, 64, false);
        sender.set_len(&mut allocated, bytes.len());
        sender.buffer(&mut allocated)[..bytes.len()].copy_from_slice(&bytes);
        frames.push(allocated);
    }
    assert!(frames.len() >= 256, "only {} frames", frames.len());
    assert_eq!(sender.account().held, frames.len());
    assert!(!sender.send_copy(&[0; 60]));
    let spared = frames.split_off(frames.len() / 2);
    spared.into_iter().for_each(|frame| sender.release(frame));
    frames.drain(..).for_each(|frame| sender.send(frame));
    sender.flush().unwrap();
    assert!(sender.allocate().map(|frame| sender.release(frame)).is_some());

    // Whoever doesn't give frames back gets no more, and gets them again when he does.
    let chunks = receiver.account().total;
    for number in 0..chunks as u32 {
        if sender.send_copy(&frame(number, 60, false)) && number % 64 != 63 {
            continue;
        }
        sender.flush().unwrap();
        receiver.receive(&mut frames, usize::MAX);
    }
    let account = receiver.account();
    assert!(account.is_balanced() && account.held == frames.len(), "{account:?}");
    frames.drain(..).for_each(|frame| receiver.release(frame));
    drain(receiver);
    assert!(sender.send_copy(&frame(1, 60, false)));
    sender.flush().unwrap();
    await_frames(receiver, &mut frames);
    frames.drain(..).for_each(|frame| receiver.release(frame));
}

fn refuses_foreign_frames(owner: &mut impl Port, other: &mut impl Port) {
    let frame = owner.allocate().unwrap();
    let panic = catch_unwind(AssertUnwindSafe(|| other.data(&frame).len())).unwrap_err();
    let message = panic.downcast_ref::<String>().expect("a panic with a message");
    assert!(message.contains("was given to port"), "{message}");
    owner.release(frame);

    let mut frame = owner.allocate().unwrap();
    let too_long = owner.capacity() + 1;
    catch_unwind(AssertUnwindSafe(|| owner.set_len(&mut frame, too_long))).unwrap_err();
    owner.release(frame);
}

/// What is lent of each frame.
const LENT: std::ops::Range<usize> = 20..60;

/// Half of the chunks are lent and stay as they are, while frames come and go as ever.
fn lends(sender: &mut impl Port, receiver: &mut impl Port) {
    const MANY: u32 = 4096;
    let lent_len = LENT.len() as u32;
    let mut read = InPlace::new(vec![0; (MANY * 1024) as usize].into());
    let (mut frames, mut lent) = (Vec::new(), Vec::new());
    for number in 0..MANY {
        let sent = frame(number, 64 + number as usize % 2000, number % 2 == 0);
        assert!(sender.send_copy(&sent));
        if number % 64 != 63 {
            continue;
        }
        sender.flush().unwrap();
        let mut left = 64;
        while left > 0 {
            await_frames(receiver, &mut frames);
            left -= frames.len();
            for arrived in frames.drain(..) {
                let bytes = receiver.data(&arrived)[LENT].to_vec();
                match receiver.lend(arrived, LENT, &mut read, lent.len() as u32 * lent_len) {
                    Ok(()) => lent.push(bytes),
                    Err(refused) => receiver.release(refused),
                }
            }
        }
        let account = receiver.account();
        assert!(account.is_balanced() && account.lent == lent.len() && account.held == 0, "{account:?}");
    }
    assert!(lent.len() >= 256 && lent.len() < MANY as usize / 2, "{} frames are lent", lent.len());
    let expected: Vec<u8> = lent.concat();
    let held: Vec<u8> = read.slices(expected.len()).flatten().copied().collect();
    assert!(held == expected, "{}: what is lent was written to", receiver.info());

    thread::spawn(move || drop(read)).join().unwrap();
    receiver.receive(&mut frames, 0);
    assert_eq!((receiver.account().lent, receiver.account().held), (0, 0));
}

fn wakes(here: &mut impl Port, there: &mut impl Port) {
    drain(here);
    let waker = Arc::new(Waker::new().unwrap());
    let start = Instant::now();
    here.wait(&waker, Duration::from_millis(30)).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(29), "it woke without a reason");

    assert!(there.send_copy(&frame(0, 60, false)));
    there.flush().unwrap();
    let start = Instant::now();
    here.wait(&waker, PATIENCE).unwrap();
    assert!(start.elapsed() < PATIENCE / 2, "a frame didn't wake it");
    assert_eq!(drain(here), 1);

    let other = Arc::clone(&waker);
    let thread = thread::spawn(move || {
        thread::sleep(Duration::from_millis(30));
        other.wake();
    });
    let start = Instant::now();
    here.wait(&waker, PATIENCE).unwrap();
    assert!(start.elapsed() < PATIENCE / 2, "the waker didn't wake it");
    thread.join().unwrap();
}
