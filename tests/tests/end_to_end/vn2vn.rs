//! Without a switch: the initiator and the SAN's targets find each other.

use super::*;
use san::{FaultsConfig, Order, TargetConfig};

/// One target with a name below or above the initiator's, 20:00 and [`MAC`].
fn san(wwpn: u64) -> SanConfig {
    let target = TargetConfig { wwpn: Wwn::from_u64(wwpn), ..TargetConfig::default() };
    SanConfig { mode: Mode::Vn2vn, targets: vec![target], ..SanConfig::default() }
}

const LOWER: u64 = 0x1000_02fc_f000_0101;
const HIGHER: u64 = 0x5000_02fc_f000_0101;

/// The test with the target as the one that sends PLOGI, and as the one that waits for it.
fn in_both_orders(test: impl Fn(&SanConfig)) {
    [LOWER, HIGHER].into_iter().for_each(|wwpn| test(&san(wwpn)));
}

#[test]
fn it_logs_in_finds_the_lun_and_moves_data() {
    for (mtu, vlan, max_payload_len) in [(2158, None, 2112), (1500, Some(100), 1452)] {
        in_both_orders(|config| {
            let mut world = World::with_mtu(&SanConfig { vlan, ..config.clone() }, mtu);
            world.wait_for_luns();
            let inventory = &world.edge.inventory;
            assert_eq!((inventory.vlan, inventory.neighbours.len()), (vlan, 1));
            let [port] = &inventory.vn_ports[..] else { panic!("one VN_Port: {inventory:#?}") };
            assert_eq!(world.edge.macs, [port.mac.unwrap()]);
            let [target] = &inventory.targets[..] else { panic!("one target: {inventory:#?}") };
            assert_eq!(target.max_payload_len, max_payload_len);
            world.move_data();
            assert_eq!(world.san.stats().logins, 1);
        });
    }
}

#[test]
fn the_login_lives_as_long_as_beacons_do() {
    in_both_orders(|config| {
        let mut world = World::new(config);
        world.wait_for_luns();
        let nexus = world.nexus();
        for _ in 0..10 {
            world.run_for(Duration::from_secs(10));
            assert!(world.edge.inventory.targets[0].ready);
        }
        assert_eq!((world.nexus(), world.san.stats().logins), (nexus, 1));
        assert_eq!(world.san.stats().counters.expired_links, 0);
    });
}

#[test]
fn it_comes_back_after_a_link_bounce() {
    in_both_orders(|config| {
        let mut world = World::new(config);
        world.wait_for_luns();
        world.write(5, noise(4096, 5));
        for seconds_down in [0, 3, 30] {
            world.edge.link_changes.push_back(false);
            world.step();
            assert!(!world.edge.inventory.targets[0].ready && world.edge.macs.is_empty());
            world.run_for(Duration::from_secs(seconds_down));
            world.edge.link_changes.push_back(true);
            world.wait_for_luns();
            assert_eq!(world.read(5, 4096), noise(4096, 5));
            assert_eq!(world.san.stats().logins, 1);
        }
    });
}

#[test]
fn it_comes_back_after_the_san_was_away() {
    in_both_orders(|config| {
        let mut world = World::new(config);
        world.wait_for_luns();
        world.write(5, noise(4096, 5));
        for seconds_down in [0, 3, 30] {
            let now = world.now;
            world.san.order(now, &Order::Stop).unwrap();
            world.run_for(Duration::from_secs(seconds_down));
            let now = world.now;
            world.san.order(now, &Order::Start).unwrap();
            world.run_until(Duration::from_secs(25), |world| world.san.stats().logins == 1);
            world.wait_for_luns();
            assert_eq!(world.read(5, 4096), noise(4096, 5));
        }
    });
}

#[test]
fn it_comes_back_after_the_network_between_them_was_away() {
    in_both_orders(|config| {
        let mut world = World::new(config);
        world.wait_for_luns();
        world.write(5, noise(4096, 5));
        for seconds_away in [3, 30] {
            let now = world.now;
            let lost = FaultsConfig { loss_ppm: 1_000_000, ..FaultsConfig::default() };
            world.san.order(now, &Order::Faults(lost)).unwrap();
            world.run_for(Duration::from_secs(seconds_away));
            let now = world.now;
            world.san.order(now, &Order::Heal).unwrap();
            world.run_until(Duration::from_secs(25), |world| {
                world.san.stats().logins == 1 && world.edge.inventory.targets[0].ready
            });
            world.wait_for_luns();
            assert_eq!(world.read(5, 4096), noise(4096, 5));
        }
        assert_eq!(world.san.stats().counters.expired_links, 1, "the second time each forgot the other");
    });
}

#[test]
fn a_dead_initiator_is_forgotten_and_the_next_one_served() {
    in_both_orders(|config| {
        let mut world = World::new(config);
        world.wait_for_luns();
        let end = world.now + Duration::from_secs(21);
        while world.now < end {
            world.san.step(world.now);
            world.now = world.now + STEP;
        }
        assert_eq!((world.san.stats().logins, world.san.stats().counters.expired_links), (0, 1));
        world.edge.link_changes.push_back(false);
        world.step();
        world.edge.link_changes.push_back(true);
        world.wait_for_luns();
        world.move_data();
    });
}

#[test]
fn it_logs_out_when_it_is_told_to() {
    in_both_orders(|config| {
        let mut world = World::new(config);
        world.wait_for_luns();
        let now = world.now;
        world.control.shutdown(now);
        world.run_until(Duration::from_secs(2), |world| world.control.is_offline());
        assert_eq!(world.san.stats().logins, 0);
        assert!(world.edge.macs.is_empty());
    });
}

#[test]
fn two_that_want_one_id_share_it_out() {
    for wwpn in [0x1000_02fc_f000_0011, 0x5000_02fc_f000_0011] {
        let mut world = World::new(&san(wwpn));
        world.wait_for_luns();
        let inventory = &world.edge.inventory;
        assert_ne!(inventory.vn_ports[0].fc_id.unwrap(), inventory.targets[0].fc_id);
        world.move_data();
    }
}

#[test]
fn every_target_is_found() {
    let target = |wwpn| san(wwpn).targets[0].clone();
    let targets = vec![target(LOWER), target(HIGHER), target(HIGHER + 1)];
    let mac = |number: u8| Some(MacAddr([2, 0xfc, 0xf0, 0, 2, number]));
    let targets =
        targets.into_iter().zip(0..).map(|(target, number)| TargetConfig { mac: mac(number), ..target });
    let config = SanConfig { targets: targets.collect(), ..san(LOWER) };
    let mut world = World::new(&config);
    world.run_until(Duration::from_secs(20), |world| {
        let targets = &world.edge.inventory.targets;
        targets.len() == 3 && targets.iter().all(|target| target.ready && target.scanned)
    });
    world.run_for(Duration::from_secs(60));
    assert_eq!(world.san.stats().logins, 3);
    assert!(world.edge.inventory.targets.iter().all(|target| target.ready));
}
