//! Task management: resets under load, by whoever has logged in.

use super::*;
use fc::messages::Action;
use fc::wire::fcp::TaskManagement;
use initiator::{Request, Requests};
use san::Order;

const IO_LEN: usize = 4096;
const OUT: u64 = 8;

#[test]
fn requests_outlive_functions_that_end_their_commands() {
    for function in [
        TaskManagement::LUN_RESET,
        TaskManagement::TARGET_RESET,
        TaskManagement::ABORT_TASK_SET,
        TaskManagement::CLEAR_TASK_SET,
    ] {
        let mut world = World::new(&SanConfig::default());
        world.wait_for_luns();
        let target = world.edge.inventory.targets[0].port_name;
        let stall = |world: &mut World, ms| {
            let now = world.now;
            world.san.order(now, &Order::Stall { target, ms }).unwrap();
        };
        // What is begun while the target stalls would take a minute.
        stall(&mut world, 60_000);
        let mut requests = Requests::new(world.disk(IO_LEN), 8);
        for io in 0..OUT {
            let buffer = noise(IO_LEN, io).into();
            requests.submit(world.now, io, Request::Write { lba: io * 8, buffer }).unwrap();
        }
        let run = |world: &mut World, requests: &mut Requests| {
            while let Some((_, command)) = requests.poll_command(world.now) {
                world.consumer.submit(command).unwrap();
            }
            world.step();
            while let Some(completion) = world.consumer.poll() {
                requests.handle_completion(world.now, completion);
            }
            std::iter::from_fn(|| requests.poll_done(world.now)).collect::<Vec<_>>()
        };
        assert!(run(&mut world, &mut requests).is_empty());
        stall(&mut world, 0);

        let mut operator = world.core.attach_consumer(1, Arc::new(Waker::new().unwrap()));
        let command = Command {
            tag: 0,
            nexus: world.nexus(),
            lun: Lun::default(),
            action: Action::Manage(function),
            transfer: Transfer::None,
            timeout: Duration::from_secs(10),
        };
        operator.submit(command).unwrap();
        let mut done = Vec::new();
        for _ in 0..1000 {
            done.extend(run(&mut world, &mut requests));
        }
        let ended = operator.poll().expect("it is carried out at once").result.unwrap();
        assert_eq!(ended.status, Status::GOOD);
        assert_eq!(done.len(), OUT as usize, "{function:?}");
        assert!(done.iter().all(|done| done.result.is_ok()));
        assert_eq!(requests.outstanding(), 0);
        let counters = world.core.report().counters;
        assert_eq!((counters.cleared, counters.aborts), (OUT, OUT), "{function:?}");
        assert_eq!(world.san.stats().counters.aborted_exchanges, OUT);
        for io in 0..OUT {
            assert_eq!(world.read(io * 8, IO_LEN), noise(IO_LEN, io));
        }
    }
}
