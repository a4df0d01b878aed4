//! Targets that answer nothing any more, though their login seems to be there, and targets that are gone for long.

use super::*;
use initiator::{Request, Requests};
use san::{Death, Order};

#[test]
fn a_target_that_answers_nothing_is_logged_out_of_and_in_again() {
    let mut world = World::new(&SanConfig::default());
    world.wait_for_luns();
    let target = world.edge.inventory.targets[0].port_name;
    let order = |world: &mut World, order: Order| {
        let now = world.now;
        world.san.order(now, &order).unwrap();
    };
    let mut requests = Requests::new(world.disk(4096), 4);
    requests.submit(world.now, 1, Request::Read { lba: 0, buffer: vec![0; 4096].into() }).unwrap();
    order(&mut world, Order::Kill { target, how: Death::Silent });
    let (_, command) = requests.poll_command(world.now).expect("its command");
    world.consumer.submit(command).unwrap();
    // The command's time-out, its abort's, the reset's, and that of its abort.
    world.run_until(Duration::from_secs(40), |world| !world.edge.inventory.targets[0].ready);
    let gone = world.edge.inventory.targets[0].gone.clone().unwrap();
    assert!(gone.contains("aborts"), "{gone}");
    let counters = *world.control.counters();
    assert_eq!((counters.resets, counters.logins_anew), (1, 1));
    assert_eq!(world.core.report().counters.unanswered_aborts, 2);

    order(&mut world, Order::Revive { target });
    world.wait_for_luns();
    let failed = world.consumer.poll().expect("its command has ended").result;
    assert_eq!(failed, Err(TransportError::TimedOut));
    assert_eq!(world.read(0, 4096), [0; 4096]);
    world.run_for(Duration::from_secs(120));
    assert_eq!(*world.control.counters(), counters);
}

#[test]
fn a_target_that_is_gone_for_long_is_shown_no_more_and_is_the_same_when_it_is_back() {
    let config = SanConfig::default();
    let mut world = World::new(&config);
    let dev_loss = Duration::from_secs(5);
    let control = control_config(MAC, config.mode, fcoe::MAX_LEN as u32);
    world.control = Control::new(control::Config { dev_loss, ..control });
    world.wait_for_luns();
    let before = world.edge.inventory.targets[0].clone();
    let target = before.port_name;
    let now = world.now;
    world.san.order(now, &Order::Kill { target, how: Death::Unplugged }).unwrap();
    world.run_until(Duration::from_secs(2), |world| !world.edge.inventory.targets[0].ready);
    world.run_for(dev_loss - Duration::from_secs(2));
    assert_eq!(world.edge.inventory.targets[0].luns, before.luns);
    world.run_until(Duration::from_secs(3), |world| world.edge.inventory.targets.is_empty());

    let now = world.now;
    world.san.order(now, &Order::Revive { target }).unwrap();
    world.wait_for_luns();
    let after = &world.edge.inventory.targets[0];
    assert_eq!((after.nexus, after.logins, &after.luns), (before.nexus, before.logins + 1, &before.luns));
}
