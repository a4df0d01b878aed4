use super::*;
use datapath::port::Waker;
use fc::lun_scan::Capacity;
use fc::messages::NexusId;
use fc::wire::FcId;
use fc::wire::fcp::Lun;
use fc::wire::scsi::vpd::{DesignatorKind, DeviceId};

const WAIT: Duration = Duration::from_secs(1);

fn map(ports: u16) -> DiskMap {
    let map = DiskMap::default();
    for number in 0..ports {
        let doubt = Arc::new(Doubt::new(Arc::new(Waker::new().unwrap())));
        assert_eq!(map.add_port(WAIT, doubt), PortNumber(number));
    }
    map
}

/// A disk of 512 bytes a block, whose name is made of this number.
fn unit(name: u8) -> LogicalUnit {
    let name = DeviceId { kind: DesignatorKind::NAA, bytes: vec![0x50, 0, 0, 0, 0, 0, 0, name] };
    LogicalUnit {
        device_type: 0,
        device_ids: vec![name],
        capacity: Some(Capacity {
            blocks: 100,
            block_len_bytes: 512,
            physical_block_exponent: 0,
            lowest_aligned: 0,
            thin: false,
            unmapped_reads_zero: false,
            protection_type: 0,
        }),
        ..LogicalUnit::new(Lun::default())
    }
}

/// An inventory with a target for each unit, whose nexus and name are its place.
fn inventory(units: &[LogicalUnit]) -> Inventory {
    inventory_of(None, units)
}

/// The same by an identity.
fn inventory_of(identity: Option<&str>, units: &[LogicalUnit]) -> Inventory {
    let target = |(number, unit): (u16, &LogicalUnit)| TargetView {
        identity: identity.map(Arc::from),
        vn_port: Wwn::default(),
        port_name: Wwn::from_u64(number.into()),
        node_name: Wwn::default(),
        fc_id: FcId::default(),
        nexus: NexusId(number),
        ready: true,
        logins: 1,
        gone: None,
        max_payload_len: 2112,
        scanned: true,
        luns: vec![LunView { lun: unit.lun, unit: Ok(unit.clone()) }],
    };
    Inventory { targets: (0..).zip(units).map(target).collect(), ..Inventory::default() }
}

/// Ports and nexuses of a disk's paths.
fn paths(disk: &DiskState) -> Vec<(u16, u16)> {
    disk.paths().iter().map(|path| (path.id.port.0, path.id.nexus.0)).collect()
}

#[test]
fn units_with_one_name_are_one_disk() {
    let map = map(2);
    map.update(PortNumber(0), &inventory(&[unit(1), unit(2), unit(1)]));
    map.update(PortNumber(1), &inventory(&[unit(2)]));
    let disks = map.disks();
    assert_eq!(
        disks.iter().map(|disk| paths(disk)).collect::<Vec<_>>(),
        [vec![(0, 0), (0, 2)], vec![(0, 1), (1, 0)]]
    );
}

#[test]
fn a_disk_of_two_identities_is_two_disks_and_one_identity_on_two_ports_has_two_paths() {
    let map = map(2);
    let mut first = inventory_of(Some("vm1"), &[unit(1)]);
    let mut other = inventory_of(Some("vm2"), &[unit(1)]).targets;
    other[0].nexus = NexusId(7);
    first.targets.append(&mut other);
    first.targets.append(&mut inventory_of(None, &[unit(2), unit(1)]).targets);
    map.update(PortNumber(0), &first);
    map.update(PortNumber(1), &inventory_of(Some("vm1"), &[unit(1)]));
    let mut disks: Vec<_> =
        map.disks().iter().map(|disk| (disk.identity().map(|name| name.to_string()), paths(disk))).collect();
    disks.sort();
    assert_eq!(
        disks,
        [
            (None, vec![(0, 0)]),
            (None, vec![(0, 1)]),
            (Some("vm1".to_owned()), vec![(0, 0), (1, 0)]),
            (Some("vm2".to_owned()), vec![(0, 7)]),
        ]
    );
}

#[test]
fn paths_come_and_go_and_whoever_holds_a_disk_sees_it() {
    let map = map(2);
    map.update(PortNumber(0), &inventory(&[unit(1)]));
    let [disk] = &map.disks()[..] else { panic!("one disk") };
    let version = disk.version();
    map.update(PortNumber(0), &inventory(&[unit(1)]));
    assert_eq!(disk.version(), version, "nothing is new");
    map.update(PortNumber(1), &inventory(&[unit(1)]));
    assert_eq!((paths(disk), disk.version() != version), (vec![(0, 0), (1, 0)], true));
    map.update(PortNumber(0), &Inventory::default());
    map.update(PortNumber(1), &Inventory::default());
    assert!(paths(disk).is_empty() && map.disks().is_empty());
    map.update(PortNumber(1), &inventory(&[unit(1)]));
    assert_eq!(paths(disk), [(1, 0)], "it is the same one");
}

#[test]
fn what_nobody_holds_is_forgotten() {
    let map = map(1);
    for name in 0..100 {
        map.update(PortNumber(0), &inventory(&[unit(name)]));
    }
    assert_eq!(map.lock().disks.len(), 1);
}

#[test]
fn a_path_without_medium_is_one_that_is_not_used() {
    let map = map(1);
    let standby = LogicalUnit { capacity: None, access: Some(AccessState::STANDBY), ..unit(1) };
    let not_ready = LogicalUnit { capacity: None, ..unit(1) };
    map.update(PortNumber(0), &inventory(std::slice::from_ref(&standby)));
    assert!(map.disks().is_empty(), "nobody knows how large it is");
    map.update(PortNumber(0), &inventory(&[standby, unit(1), not_ready]));
    let [disk] = &map.disks()[..] else { panic!("one disk") };
    let access: Vec<_> = disk.paths().iter().map(|path| path.access).collect();
    assert_eq!(access, [AccessState::STANDBY, AccessState::OPTIMIZED, AccessState::UNAVAILABLE]);
}

#[test]
fn a_unit_that_only_has_the_name_is_no_path() {
    let map = map(1);
    let mut other = unit(1);
    other.capacity.as_mut().unwrap().block_len_bytes = 4096;
    map.update(PortNumber(0), &inventory(&[unit(1), other]));
    assert_eq!(map.disks().iter().map(|disk| paths(disk)).collect::<Vec<_>>(), [vec![(0, 0)]]);
}

#[test]
fn a_unit_without_a_name_is_a_disk_of_its_own() {
    let map = map(1);
    let nameless = LogicalUnit { device_ids: Vec::new(), ..unit(1) };
    map.update(PortNumber(0), &inventory(&[nameless.clone(), nameless]));
    assert_eq!(map.disks().len(), 2);
}
