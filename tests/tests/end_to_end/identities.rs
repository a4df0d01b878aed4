//! Several VN_Ports on one interface.

use super::*;
use control::{Identity, IdentityError, Login, Order, TargetView, VnPortView};
use fc::fip::Addressing;
use fc::vn_port::LoginKind;
use fc::wire::scsi::Status;
use san::{LunConfig, TargetConfig};

const VM_MAC: MacAddr = MacAddr([2, 0, 0, 0, 1, 1]);
const VM_MAC_SERVER: MacAddr = MacAddr([2, 0, 0, 0, 1, 2]);

fn wwpn(number: u8) -> Wwn {
    Wwn([0x20, 0, 2, 0, 0, 0, 9, number])
}

/// The interface's own, as [`control_config`] makes it.
fn own() -> Wwn {
    Wwn::from_mac(0x2000, MAC)
}

fn fdisc(number: u8) -> Identity {
    Identity {
        name: format!("vm{number}").into(),
        port_name: wwpn(number),
        node_name: None,
        login: Login::Fdisc,
    }
}

fn flogi(number: u8, mac: MacAddr, addressing: Addressing) -> Identity {
    Identity { login: Login::Flogi { mac, addressing }, ..fdisc(number) }
}

/// A SAN with a LUN for each of the interface and the identities 1 to 4, which nobody else sees.
fn masked_san() -> SanConfig {
    let mask = |initiator: Wwn| LunConfig {
        size_bytes: 1 << 20,
        initiators: vec![initiator],
        ..LunConfig::default()
    };
    let luns = std::iter::once(own()).chain((1..=4).map(wwpn)).map(mask).collect();
    let mut config =
        SanConfig { targets: vec![TargetConfig { luns, ..TargetConfig::default() }], ..SanConfig::default() };
    (config.fcf.addressing, config.fcf.single_initiator_zones) = (san::Addressing::Both, true);
    config
}

impl World {
    fn add(&mut self, identity: Identity) {
        self.control.carry_out(self.now, Order::Add(identity)).unwrap();
    }

    fn remove(&mut self, name: &str) {
        self.control.carry_out(self.now, Order::Remove(name.into())).unwrap();
    }

    fn target_of(&self, port: Wwn) -> &TargetView {
        self.edge.inventory.targets.iter().find(|target| target.vn_port == port).expect("it sees the target")
    }

    fn port(&self, name: Wwn) -> &VnPortView {
        self.edge.inventory.vn_ports.iter().find(|port| port.port_name == name).expect("it is one of ours")
    }

    /// Steps until every VN_Port of ours sees the target and has looked for its LUNs.
    fn wait_for_all(&mut self, count: usize) {
        self.run_until(Duration::from_secs(30), |world| {
            let done = world.edge.inventory.targets.iter().filter(|target| target.ready && target.scanned);
            done.count() == count && world.edge.inventory.vn_ports.len() == count
        });
    }

    /// One block of a LUN, written or read by a VN_Port of ours.
    fn block(&mut self, port: Wwn, lun: usize, write: Option<Vec<u8>>) -> Result<Vec<u8>, Status> {
        let nexus = self.target_of(port).nexus;
        let (extent, flags) = (Extent::sixteen(3, 1), IoFlags::default());
        let (command, transfer) = match write {
            Some(data) => (ScsiCommand::Write { extent, flags }, Transfer::Write(data.into())),
            None => (ScsiCommand::Read { extent, flags }, Transfer::Read(vec![0; 512].into())),
        };
        let (lun, action) = (Lun::single(lun as u16).unwrap(), Action::from(&command));
        let timeout = Duration::from_secs(10);
        self.consumer.submit(Command { tag: 0, nexus, lun, action, transfer, timeout }).unwrap();
        for _ in 0..30_000 {
            self.step();
            if let Some(completion) = self.consumer.poll() {
                let ended = completion.result.unwrap();
                let data = completion.transfer.into_buffer().unwrap().into_vec();
                return if ended.status == Status::GOOD { Ok(data) } else { Err(ended.status) };
            }
        }
        panic!("the command did not end");
    }

    /// Each VN_Port sees its own LUN alone, and what it writes is there and nowhere else.
    fn check_masking(&mut self, ports: &[(Wwn, usize)]) {
        for &(port, own_lun) in ports {
            let seen: Vec<_> = self.target_of(port).luns.iter().map(|view| view.lun).collect();
            assert_eq!(seen, [Lun::single(own_lun as u16).unwrap()], "{port}");
            let data = noise(512, port.to_u64() + self.now.as_nanos());
            self.block(port, own_lun, Some(data.clone())).unwrap();
            let mut in_the_san = vec![0; 512];
            self.san.read_lun(0, own_lun, 3 * 512, &mut in_the_san).unwrap();
            assert_eq!(in_the_san, data, "as the SAN has it");
            assert_eq!(self.block(port, own_lun, None), Ok(data), "as it reads it");
            for (_, others) in ports.iter().filter(|(other, _)| *other != port) {
                assert_eq!(
                    self.block(port, *others, None),
                    Err(Status::CHECK_CONDITION),
                    "{port} at {others}"
                );
            }
        }
    }
}

/// The interface's own, two by FDISC, and two by FLOGI.
fn everyone() -> (World, [(Wwn, usize); 5]) {
    let mut world = World::new(&masked_san());
    world.add(fdisc(1));
    world.add(fdisc(2));
    world.add(flogi(3, VM_MAC, Addressing::Fabric));
    world.add(flogi(4, VM_MAC_SERVER, Addressing::Server));
    world.wait_for_all(5);
    (world, [(own(), 0), (wwpn(1), 1), (wwpn(2), 2), (wwpn(3), 3), (wwpn(4), 4)])
}

#[test]
fn each_identity_logs_in_its_way_and_sees_its_own_disks() {
    let (mut world, ports) = everyone();
    world.check_masking(&ports);
    assert_eq!(world.san.stats().logins, 5);
    for (number, login, enode) in [
        (1, LoginKind::Fdisc, MAC),
        (2, LoginKind::Fdisc, MAC),
        (3, LoginKind::Flogi, VM_MAC),
        (4, LoginKind::Flogi, VM_MAC_SERVER),
    ] {
        let port = world.port(wwpn(number));
        let name = format!("vm{number}");
        assert_eq!((port.identity.as_deref(), port.login, port.enode), (Some(&*name), login, enode));
        let provided = MacAddr::fabric_provided([0x0e, 0xfc, 0], port.fc_id.unwrap());
        assert_eq!(port.mac, Some(if number == 4 { VM_MAC_SERVER } else { provided }));
    }
    assert_eq!(world.port(own()).identity, None);
    // They all live as long as their keep-alives do.
    let logins =
        |world: &World| world.edge.inventory.targets.iter().map(|target| target.logins).collect::<Vec<_>>();
    let before = logins(&world);
    world.run_for(Duration::from_secs(300));
    assert_eq!((logins(&world), world.san.stats().logins), (before, 5));
    assert_eq!(world.san.stats().counters.expired_links, 0);
}

#[test]
fn in_a_fabric_without_npiv_an_identity_logs_in_by_flogi_only() {
    let mut config = masked_san();
    config.fcf.npiv = false;
    let mut world = World::new(&config);
    world.add(fdisc(1));
    world.add(flogi(3, VM_MAC, Addressing::Fabric));
    world.run_until(Duration::from_secs(30), |world| world.san.stats().logins == 2);
    world.run_for(Duration::from_secs(60));
    let refused = world.port(wwpn(1));
    assert_eq!(refused.fc_id, None);
    assert!(refused.state.contains("NPIV") && refused.state.contains("flogi"), "{}", refused.state);
    world.check_masking(&[(own(), 0), (wwpn(3), 3)]);
    // It says so as soon as it comes, too, and goes as it came.
    world.add(fdisc(2));
    world.run_for(Duration::from_secs(1));
    assert!(world.port(wwpn(2)).state.contains("NPIV"));
    world.remove("vm1");
    world.run_for(Duration::from_secs(1));
    assert_eq!((world.edge.inventory.vn_ports.len(), world.san.stats().logins), (3, 2));
}

#[test]
fn where_the_server_provides_addresses_all_behind_one_flogi_have_the_same() {
    let mut world = World::with_addressing(&masked_san(), Addressing::Server);
    world.add(fdisc(1));
    world.add(fdisc(2));
    world.wait_for_all(3);
    let macs: Vec<_> = world.edge.inventory.vn_ports.iter().map(|port| port.mac).collect();
    assert_eq!(macs, [Some(MAC); 3]);
    world.check_masking(&[(own(), 0), (wwpn(1), 1), (wwpn(2), 2)]);
    world.remove("vm1");
    world.wait_for_all(2);
    world.check_masking(&[(own(), 0), (wwpn(2), 2)]);
}

#[test]
fn identities_come_and_go_and_nobody_else_notices() {
    let (mut world, ports) = everyone();
    let others = |world: &World| {
        let others = world
            .edge
            .inventory
            .targets
            .iter()
            .filter(|target| ![wwpn(2), wwpn(4)].contains(&target.vn_port));
        others.map(|target| (target.vn_port, target.nexus, target.logins)).collect::<Vec<_>>()
    };
    let (before, nexus) = (others(&world), world.target_of(wwpn(2)).nexus);
    for _ in 0..3 {
        world.remove("vm2");
        world.remove("vm4");
        world.wait_for_all(3);
        assert_eq!((world.san.stats().logins, others(&world)), (3, before.clone()));
        assert!(
            !world.edge.macs.contains(&VM_MAC_SERVER) && world.edge.macs.len() == 4,
            "{:?}",
            world.edge.macs
        );
        world.add(fdisc(2));
        world.add(flogi(4, VM_MAC_SERVER, Addressing::Server));
        world.wait_for_all(5);
        assert_eq!(others(&world), before);
        assert_eq!(world.target_of(wwpn(2)).nexus, nexus, "it is the same one again");
    }
    world.check_masking(&ports);
}

#[test]
fn an_identity_that_is_changed_goes_first_and_comes_back_as_the_new_one() {
    let (mut world, _) = everyone();
    world.remove("vm2");
    world.add(Identity {
        login: Login::Flogi { mac: MacAddr([2, 0, 0, 0, 1, 7]), addressing: Addressing::Fabric },
        ..fdisc(2)
    });
    world.run_for(Duration::from_secs(1));
    world.wait_for_all(5);
    assert_eq!(world.port(wwpn(2)).login, LoginKind::Flogi);
    world.check_masking(&[(wwpn(2), 2), (own(), 0)]);
    // One that waits for another's end can go, too.
    world.remove("vm1");
    world.add(fdisc(1));
    world.remove("vm1");
    world.wait_for_all(4);
    world.run_for(Duration::from_secs(5));
    assert_eq!(world.edge.inventory.vn_ports.len(), 4);
}

#[test]
fn all_come_back_after_whatever_happens_to_their_logins() {
    let (mut world, ports) = everyone();
    let now = world.now;
    for initiator in [wwpn(2), own(), wwpn(3)] {
        let before = world
            .edge
            .inventory
            .targets
            .iter()
            .map(|target| (target.vn_port, target.logins))
            .collect::<Vec<_>>();
        world.san.order(now, &san::Order::ClearLink { initiator }).unwrap();
        world.run_for(Duration::from_secs(3));
        world.wait_for_all(5);
        for (port, logins) in before {
            // With the FLOGI go those behind it.
            let is_behind = initiator == own() && [wwpn(1), wwpn(2)].contains(&port);
            let again = u32::from(port == initiator || is_behind);
            assert_eq!(world.target_of(port).logins, logins + again, "{port} after that of {initiator}");
        }
    }
    let now = world.now;
    world.san.restart(now);
    world.run_for(Duration::from_secs(1));
    assert!(world.edge.inventory.targets.iter().all(|target| !target.ready));
    world.wait_for_all(5);
    world.edge.link_changes.push_back(false);
    world.step();
    assert!(world.edge.inventory.targets.iter().all(|target| !target.ready));
    world.edge.link_changes.push_back(true);
    world.wait_for_all(5);
    world.check_masking(&ports);
}

#[test]
fn what_can_not_be_is_refused_and_changes_nothing() {
    let (mut world, _) = everyone();
    let name = || Some("vm1".into());
    let cases = [
        (Identity { port_name: wwpn(9), ..fdisc(1) }, IdentityError::NameTaken("vm1".into())),
        (
            Identity { name: "x".into(), ..fdisc(1) },
            IdentityError::PortNameTaken { port_name: wwpn(1), holder: name() },
        ),
        (
            Identity { port_name: own(), ..fdisc(9) },
            IdentityError::PortNameTaken { port_name: own(), holder: None },
        ),
        (
            flogi(9, VM_MAC, Addressing::Server),
            IdentityError::MacTaken { mac: VM_MAC, holder: Some("vm3".into()) },
        ),
        (flogi(9, MAC, Addressing::Server), IdentityError::MacTaken { mac: MAC, holder: None }),
        (flogi(9, MacAddr::ALL_FCF, Addressing::Server), IdentityError::NotUnicast(MacAddr::ALL_FCF)),
        (Identity { name: "".into(), ..fdisc(9) }, IdentityError::NoName),
    ];
    for (identity, error) in cases {
        world.edge.orders.push_back(Order::Add(identity));
        world.step();
        assert_eq!(world.edge.answers.pop(), Some(Err(error)));
    }
    world.edge.orders.push_back(Order::Remove("vm9".into()));
    world.step();
    let Some(Err(unknown)) = world.edge.answers.pop() else { panic!("there is no such identity") };
    assert_eq!(unknown.to_string(), "there is no identity \"vm9\"; there are vm1, vm2, vm3, vm4");
    assert_eq!(world.edge.inventory.vn_ports.len(), 5);

    let mut vn2vn = World::new(&SanConfig { mode: Mode::Vn2vn, ..SanConfig::default() });
    assert_eq!(vn2vn.control.carry_out(vn2vn.now, Order::Add(fdisc(1))), Err(IdentityError::Vn2vn));
}

#[test]
fn what_keeps_an_identity_offline_is_told() {
    let mut san = masked_san();
    san.fcf.addressing = san::Addressing::Fabric;
    let mut world = World::new(&san);
    world.add(flogi(4, VM_MAC_SERVER, Addressing::Server));
    world.run_for(Duration::from_secs(10));
    let port = world.port(wwpn(4));
    assert_eq!(
        port.state,
        "offline: no FCF can be used; of 02:fc:f0:00:00:01: it takes no proposed MAC addresses (SP bit clear)"
    );
    assert!(world.port(own()).online);
}

#[test]
fn hundreds_log_in_a_few_at_a_time() {
    let mut world = World::new(&masked_san());
    for number in 0..400u16 {
        let [high, low] = number.to_be_bytes();
        world.add(Identity {
            name: number.to_string().into(),
            port_name: Wwn([0x20, 0, 1, 0, 0, 0, high, low]),
            ..fdisc(0)
        });
    }
    let mut most = 0;
    while world.edge.inventory.vn_ports.iter().filter(|port| port.online).count() < 401 {
        assert!(world.now < Instant::ZERO + Duration::from_secs(30), "it takes too long");
        world.step();
        let is_between = |port: &&VnPortView| !port.online && !port.state.starts_with("offline");
        most = most.max(world.edge.inventory.vn_ports.iter().filter(is_between).count());
    }
    assert!((1..=16).contains(&most), "{most} at a time");
    world.wait_for_all(401);
}
