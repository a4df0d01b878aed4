//! Through the SAN's switch.

use super::*;
use san::{CommandFailure, Fault};

fn small_san(vlan: Option<u16>) -> SanConfig {
    SanConfig { vlan, ..SanConfig::default() }
}

#[test]
fn it_logs_in_finds_the_lun_and_moves_data() {
    for vlan in [None, Some(100)] {
        let mut world = World::new(&small_san(vlan));
        world.wait_for_luns();
        let inventory = &world.edge.inventory;
        assert_eq!(inventory.vlan, vlan);
        assert!(inventory.link_up && inventory.login_time.is_some());
        let [fcf] = &inventory.fcfs[..] else { panic!("one FCF: {inventory:#?}") };
        assert!(fcf.selected && fcf.refusal.is_none());
        let [port] = &inventory.vn_ports[..] else { panic!("one VN_Port: {inventory:#?}") };
        assert_eq!(world.edge.macs, [port.mac.unwrap()]);
        let [target] = &inventory.targets[..] else { panic!("one target: {inventory:#?}") };
        assert_eq!(target.max_payload_len, 2112);
        let [lun] = &target.luns[..] else { panic!("one LUN: {inventory:#?}") };
        let capacity = lun.unit.as_ref().unwrap().capacity.unwrap();
        assert_eq!((capacity.blocks, capacity.block_len_bytes), (256 << 11, 512));
        world.move_data();
    }
}

#[test]
fn targets_may_send_again_and_want_to_know() {
    for (retransmission, confirmation) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut world = World::new(&SanConfig { retransmission, confirmation, ..small_san(None) });
        world.wait_for_luns();
        world.move_data();
        let counters = world.san.stats().counters;
        assert_eq!((counters.dropped_no_exchange, counters.retransmissions), (0, 0));
    }
}

#[test]
fn errors_of_the_target_come_decoded() {
    let mut world = World::new(&small_san(None));
    world.wait_for_luns();
    let extent = Extent::sixteen(256 << 11, 1);
    let command = ScsiCommand::Read { extent, flags: IoFlags::default() };
    let ended = world.run(command, Transfer::Read(vec![0; 512].into())).result.unwrap();
    assert_eq!(ended.status, Status::CHECK_CONDITION);
    let text = ended.sense.unwrap().to_string();
    assert!(text.to_lowercase().contains("out of range"), "{text}");
}

#[test]
fn the_login_lives_as_long_as_keep_alives_do() {
    let mut world = World::new(&small_san(None));
    world.wait_for_luns();
    let fc_id = world.edge.inventory.vn_ports[0].fc_id;
    world.run_for(Duration::from_secs(300));
    assert!(world.edge.inventory.targets[0].ready);
    assert_eq!(world.edge.inventory.vn_ports[0].fc_id, fc_id);
    assert_eq!(world.san.stats().logins, 1);
}

#[test]
fn it_comes_back_after_a_link_bounce_and_a_switch_restart() {
    let mut world = World::new(&small_san(None));
    world.wait_for_luns();
    let nexus = world.nexus();
    world.write(5, noise(4096, 5));

    world.edge.link_changes.push_back(false);
    world.step();
    assert!(!world.edge.inventory.targets[0].ready && world.edge.macs.is_empty());
    world.submit(ScsiCommand::TestUnitReady, Transfer::None);
    world.step();
    assert_eq!(world.consumer.poll().unwrap().result, Err(TransportError::NotLoggedIn));
    world.edge.link_changes.push_back(true);
    world.wait_for_luns();
    assert_eq!(world.nexus(), nexus, "a disk keeps its nexus");
    assert_eq!(world.read(5, 4096), noise(4096, 5));

    let now = world.now;
    world.san.restart(now);
    world.run_until(Duration::from_secs(5), |world| !world.edge.inventory.targets[0].ready);
    world.wait_for_luns();
    assert_eq!(world.read(5, 4096), noise(4096, 5));
}

#[test]
fn a_target_that_tells_nothing_of_its_luns_is_asked_again() {
    let mut world = World::new(&small_san(None));
    let fault = Fault::Fail(CommandFailure::MediumError);
    world.san.inject(fault, 2).unwrap();
    world.wait_for_luns();
    let luns = |world: &World| world.edge.inventory.targets[0].luns.clone();
    world.run_for(Duration::from_secs(6));
    assert_eq!(luns(&world), [], "nor the second time");
    world.run_until(Duration::from_secs(10), |world| !luns(world).is_empty());
    world.move_data();
    let commands = world.san.stats().counters.commands;
    world.run_for(Duration::from_secs(300));
    assert_eq!(world.san.stats().counters.commands, commands, "nothing is left to be asked");

    // What is known stays when the next one tells nothing.
    world.san.inject(fault, 1).unwrap();
    let now = world.now;
    world.san.restart(now);
    world.run_until(Duration::from_secs(5), |world| !world.edge.inventory.targets[0].ready);
    world.wait_for_luns();
    assert!(luns(&world)[0].unit.is_ok());
}

#[test]
fn it_logs_out_when_it_is_told_to() {
    let mut world = World::new(&small_san(None));
    world.wait_for_luns();
    let now = world.now;
    world.control.shutdown(now);
    world.run_until(Duration::from_secs(2), |world| world.control.is_offline());
    assert_eq!(world.san.stats().logins, 0);
    assert!(world.edge.macs.is_empty());
}

#[test]
fn every_chunk_is_accounted_for_when_all_is_quiet() {
    let mut world = World::new(&small_san(None));
    world.wait_for_luns();
    world.write(0, noise(256 << 10, 3));
    world.run_for(Duration::from_secs(1));
    for account in [world.core.port_mut().account(), world.san.port().account()] {
        assert!(account.is_balanced() && account.held == 0, "{account:?}");
    }
}
