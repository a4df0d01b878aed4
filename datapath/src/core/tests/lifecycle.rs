//! How nexuses, consumers, cores and threads begin and end.

use super::*;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant as Moment;

#[test]
fn commands_end_with_their_nexus() {
    let mut bench = Bench::new();
    bench.read();
    // The same nexus again changes nothing.
    bench.link.send(ToCore::SetNexus(NEXUS, Box::new(nexus()))).unwrap();
    bench.step();
    assert!(bench.consumer.poll().is_none());
    let other = Nexus { d_id: FcId([1, 2, 9]), ..nexus() };
    bench.link.send(ToCore::SetNexus(NEXUS, Box::new(other))).unwrap();
    bench.step();
    assert_eq!(bench.completion().result, Err(TransportError::NexusGone));
    bench.read();
    bench.link.send(ToCore::RemoveNexus(NEXUS)).unwrap();
    bench.step();
    assert_eq!(bench.completion().result, Err(TransportError::NexusGone));
    bench.consumer.submit(command(9)).unwrap();
    bench.step();
    assert_eq!(bench.completion().result, Err(TransportError::NotLoggedIn));
}

#[test]
fn a_nexus_is_known_to_commands_that_were_submitted_after_it() {
    let mut bench = Bench::new();
    let nexus_id = NexusId(9);
    // Both come after the core has looked at its messages, and before it looks at commands.
    bench.link.send(ToCore::SetNexus(nexus_id, Box::new(nexus()))).unwrap();
    bench.consumer.submit(Command { nexus: nexus_id, ..command(1) }).unwrap();
    bench.core.take_commands(bench.now);
    bench.step();
    assert!(bench.consumer.poll().is_none(), "it is out");
    assert_eq!(bench.sent()[0].header.r_ctl, RCtl::COMMAND);
}

#[test]
fn fip_and_logins_are_controls() {
    let mut bench = Bench::new();
    let fip = EthernetHeader {
        destination: MacAddr::ALL_ENODE,
        source: FCF_MAC,
        vlan: None,
        ethertype: EtherType::FIP,
    };
    let mut bytes = vec![0x5a; 72];
    fip.emit(&mut bytes);
    bench.inject(&bytes);
    let Some(FromCore::Frame(frame)) = bench.link.receive() else { panic!("a frame") };
    assert_eq!(frame.as_ref(), bytes);
    let mut header = target_header(RCtl::ELS_REPLY, 0x98_0000, ox_id::CONTROL);
    header.fc_type = FcType::ELS;
    bench.inject_fc(&header, &[2, 0, 0, 0]);
    assert!(bench.link.has_frame());
    bench.link.send(ToCore::Transmit(bytes.clone().into())).unwrap();
    bench.step();
    assert_eq!(bench.sent_bytes(), [bytes.clone()]);
    // A flood ends at the queue.
    for _ in 0..control_link::QUEUE_LEN + 10 {
        bench.inject(&bytes);
    }
    assert_eq!(bench.dropped(DropReason::ControlQueueFull), 11);
}

#[test]
fn commands_wait_for_a_free_exchange() {
    let mut bench = Bench::new();
    let mut first = None;
    let max = bench.core.exchanges.max();
    for tag in 0..max as u64 + 10 {
        bench.consumer.submit(command(tag)).unwrap();
        bench.step();
        first = first.or(bench.sent().first().map(|sent| sent.header.ox_id.get()));
    }
    assert_eq!(bench.core.exchanges.open(), max);
    assert!(bench.core.has_work());
    bench.respond(first.unwrap(), &FcpRsp::default());
    bench.step();
    assert_eq!(bench.completion().tag, 0);
    assert_eq!(bench.sent().len(), 1, "the exchange is used again");
}

#[test]
fn stopping_ends_every_command() {
    let mut bench = Bench::new();
    bench.read();
    bench.consumer.submit(command(9)).unwrap();
    drop(bench.core.stop(bench.now));
    for tag in [7, 9] {
        let completion = bench.consumer.poll().expect("both end");
        assert_eq!((completion.tag, completion.result), (tag, Err(TransportError::Stopped)));
    }
    assert!(bench.consumer.poll().is_none());
}

#[test]
fn a_consumer_may_vanish_with_commands_out() {
    let mut bench = Bench::new();
    let ox_id = bench.read();
    let waker = Arc::new(Waker::new().unwrap());
    drop(std::mem::replace(&mut bench.consumer, bench.core.attach_consumer(4, waker)));
    bench.advance(TICK);
    assert!(bench.core.consumers.get_mut(0).is_some(), "its command is out");
    bench.respond(ox_id, &FcpRsp { flags: rsp_flags::UNDER, residual: 5000, ..FcpRsp::default() });
    bench.step();
    assert!(bench.core.consumers.get_mut(0).is_none());
}

/// Steps until the only consumer rests.
fn rest(bench: &mut Bench) {
    for _ in 0..2000 {
        bench.step();
    }
    assert_eq!(bench.core.consumers.turns(), 0, "a silent consumer has turns");
}

#[test]
fn a_silent_consumer_rests_until_it_has_a_command() {
    let mut bench = Bench::new();
    for tag in 0..3 {
        rest(&mut bench);
        bench.consumer.submit(command(tag)).unwrap();
        assert!(bench.core.has_work());
        bench.step();
        assert_eq!(bench.sent().len(), 1);
    }
}

#[test]
fn a_consumer_that_rests_may_vanish() {
    let mut bench = Bench::new();
    rest(&mut bench);
    let waker = Arc::new(Waker::new().unwrap());
    drop(std::mem::replace(&mut bench.consumer, bench.core.attach_consumer(4, waker)));
    bench.step();
    assert!(bench.core.consumers.get_mut(0).is_none());
    bench.consumer.submit(command(1)).unwrap();
    bench.step();
    assert_eq!(bench.sent().len(), 1);
}

/// The consumer of one thread is silent for about as long as it takes the core of another to let it rest.
#[test]
fn no_command_is_lost_between_rest_and_call() {
    let Bench { mut core, mut consumer, .. } = Bench::new();
    let is_over = AtomicBool::new(false);
    let rests = std::thread::scope(|scope| {
        let core = scope.spawn(|| {
            let (mut rests, since) = (0, Moment::now());
            while !is_over.load(Ordering::Relaxed) && since.elapsed() < Duration::from_secs(60) {
                core.step(Instant::ZERO);
                rests += u32::from(core.consumers.turns() == 0);
            }
            rests
        });
        for tag in 0..2000u64 {
            // Its nexus isn't there, so that it ends at once.
            consumer.submit(Command { nexus: NexusId(77), ..command(tag) }).unwrap();
            consumer.kick();
            let since = Moment::now();
            while consumer.poll().is_none() {
                assert!(since.elapsed() < Duration::from_secs(20), "command {tag} is not seen");
            }
            let pause = Duration::from_micros(tag * 7919 % 400);
            while since.elapsed() < pause {
                std::hint::spin_loop();
            }
        }
        is_over.store(true, Ordering::Relaxed);
        core.join().unwrap()
    });
    assert!(rests > 0, "it has never rested");
}

#[test]
fn consumers_that_have_gone_leave_room() {
    let mut bench = Bench::new();
    let waker = Arc::new(Waker::new().unwrap());
    for _ in 0..1000 {
        drop(bench.core.attach_consumer(1, Arc::clone(&waker)));
    }
    assert!(bench.core.consumers.get_mut(2).is_none(), "more than two places");
    // Who has stayed meanwhile is still served.
    bench.consumer.submit(command(1)).unwrap();
    bench.step();
    assert_eq!(bench.sent().len(), 1);
}

/// The loop around the core, in both of its modes: work while it sleeps wakes it, and stopping ends what is out.
#[test]
fn a_thread_serves_commands_and_ends_them_when_it_stops() {
    use thread::{CoreThread, PollMode, ThreadConfig};
    for poll_mode in [PollMode::Busy, PollMode::Adaptive] {
        let (port, mut wire) = memory::pair(memory::MemoryConfig::default());
        let (waker, ours) = (Arc::new(Waker::new().unwrap()), Arc::new(Waker::new().unwrap()));
        let core =
            Core::new(port, &CoreConfig { number: 2, cores: 7 }, Arc::clone(&waker), Arc::clone(&ours));
        let thread = CoreThread::spawn(core, ThreadConfig { cpu: None, poll_mode }).unwrap();
        thread.handle().control_link().send(ToCore::SetNexus(NEXUS, Box::new(nexus()))).unwrap();
        let mut consumer = thread.handle().attach_consumer(4, ours);
        std::thread::sleep(thread::SPIN * 3);
        consumer.submit(command(1)).unwrap();
        consumer.submit(command(2)).unwrap();
        consumer.kick();
        let mut frames = Vec::new();
        while frames.len() < 2 {
            wire.receive(&mut frames, 2);
        }
        let ox_id = u16::from_be_bytes([wire.data(&frames[0])[44], wire.data(&frames[0])[45]]);
        for frame in frames {
            wire.release(frame);
        }
        let mut iu = [0; 64];
        let len = FcpRsp::default().emit(&mut iu);
        let response = from_target(&target_header(RCtl::STATUS, 0x98_0000, ox_id), &iu[..len]);
        let mut frame = wire.allocate().unwrap();
        wire.buffer(&mut frame)[..response.len()].copy_from_slice(&response);
        wire.set_len(&mut frame, response.len());
        wire.send(frame);
        wire.flush().unwrap();
        consumer.wait(Duration::from_secs(10)).unwrap();
        let first = consumer.poll().expect("woken by its completion");
        assert!(first.tag == 1 && first.result.is_ok());
        assert_eq!(thread.handle().report().unwrap().counters.ended, 1);
        let handle = thread.handle();
        drop(thread.stop().unwrap());
        assert_eq!(consumer.poll().expect("ended by the stop").result, Err(TransportError::Stopped));
        assert!(handle.report().is_err() && consumer.is_stopped());
    }
}
