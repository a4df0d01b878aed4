//! Disks that several initiators, or several ports, share.

use super::host::{Done, Host, Io, Net, TARGET, cmnd, wwpn};
use super::io::{read_10, write_10};
use crate::{ConfigError, LunConfig, Order, PortAccess, San, SanConfig, TargetConfig};
use datapath::port::memory::{MemoryConfig, pair};
use fc::time::Instant;
use fc::wire::scsi::{AdditionalSense, SenseKey};
use fc::wire::{FcId, Wwn};

const SECOND_TARGET: FcId = FcId::from_u32(0x01_0102);
const CONFLICT: u8 = 0x18;
const TEST_UNIT_READY: [u8; 6] = [0; 6];

fn reserve_out(net: &mut Net, host: &Host, target: FcId, action: u8, kind: u8, keys: (u64, u64)) -> Done {
    let cdb = [0x5f, action, kind, 0, 0, 0, 0, 0, 24, 0];
    let list = [&keys.0.to_be_bytes()[..], &keys.1.to_be_bytes(), &[0; 8]].concat();
    net.command(host, target, &cdb, 24, Io::Out(&list))
}

fn attention(end: &Done) -> Option<AdditionalSense> {
    end.key().filter(|(key, _)| *key == SenseKey::UNIT_ATTENTION).map(|(_, code)| code)
}

#[test]
fn a_reservation_keeps_the_other_initiator_out() {
    let mut net = Net::new(&Net::small());
    let (a, b) = (net.log_in(1), net.log_in(2));
    assert_eq!(reserve_out(&mut net, &a, TARGET, 0, 0, (0, 0xa)).status, 0);
    assert_eq!(reserve_out(&mut net, &b, TARGET, 0, 0, (0, 0xb)).status, 0);
    assert_eq!(reserve_out(&mut net, &a, TARGET, 1, 3, (0xa, 0)).status, 0);

    let end = net.scsi(&b, &write_10(0, 1), Io::Out(&[1; 512]));
    assert_eq!((end.status, end.sense, end.residual), (CONFLICT, None, -512));
    assert_eq!(net.scsi(&b, &read_10(0, 1), Io::In(512)).status, CONFLICT);
    assert_eq!(net.scsi(&b, &[0x12, 0, 0, 0, 36, 0], Io::In(36)).status, 0);
    assert_eq!(net.scsi(&b, &TEST_UNIT_READY, Io::None).status, 0);
    assert_eq!(net.scsi(&a, &write_10(0, 1), Io::Out(&[1; 512])).status, 0);

    // It outlives a's login.
    net.log_in(1);
    assert_eq!(net.scsi(&b, &read_10(0, 1), Io::In(512)).status, CONFLICT);

    assert_eq!(reserve_out(&mut net, &b, TARGET, 4, 3, (0xb, 0xa)).status, 0, "b preempts");
    let told = net.scsi(&a, &TEST_UNIT_READY, Io::None);
    assert_eq!(attention(&told), Some(AdditionalSense::REGISTRATIONS_PREEMPTED));
    assert_eq!(net.scsi(&a, &read_10(0, 1), Io::In(512)).status, CONFLICT);
    assert_eq!(net.scsi(&b, &read_10(0, 1), Io::In(512)).status, 0);
    let keys = net.scsi(&a, &[0x5e, 0, 0, 0, 0, 0, 0, 0, 255, 0], Io::In(255));
    assert_eq!(keys.data, [&[0, 0, 0, 3, 0, 0, 0, 8][..], &0xbu64.to_be_bytes()].concat());
    // One's own key that is wrong, and a list that is too short.
    assert_eq!(reserve_out(&mut net, &b, TARGET, 2, 3, (0xa, 0)).status, CONFLICT);
    let short = net.scsi(&b, &[0x5f, 0, 0, 0, 0, 0, 0, 0, 16, 0], Io::Out(&[0; 16]));
    assert_eq!(short.key(), Some((SenseKey::ILLEGAL_REQUEST, AdditionalSense::PARAMETER_LIST_LENGTH_ERROR)));
}

#[test]
fn preempt_and_abort_ends_the_losers_commands() {
    let mut net = Net::new(&Net::small());
    let (a, b) = (net.log_in(1), net.log_in(2));
    reserve_out(&mut net, &a, TARGET, 0, 0, (0, 0xa));
    reserve_out(&mut net, &b, TARGET, 0, 0, (0, 0xb));
    net.push_command(&a, TARGET, 9, &super::host::cmnd(0, &write_10(0, 8), 4096, Io::Out(&[])));
    assert_eq!(net.run_fc().len(), 1);
    assert_eq!(reserve_out(&mut net, &b, TARGET, 5, 1, (0xb, 0xa)).status, 0);
    assert_eq!(net.san.stats().counters.aborted_exchanges, 1);
}

fn two_ports() -> SanConfig {
    let mut config = Net::small();
    config.targets[0].luns[0].serial = "SHARED".into();
    let second = TargetConfig {
        wwpn: Wwn::from_u64(0x2000_0000_0000_0002),
        luns: vec![
            config.targets[0].luns[0].clone(),
            crate::LunConfig { size_bytes: 4096, ..Default::default() },
        ],
        ..TargetConfig::default()
    };
    config.targets.push(second);
    config
}

#[test]
fn one_disk_behind_two_ports() {
    let mut net = Net::new(&two_ports());
    let host = net.log_in(1);
    net.log_in_target(&host, SECOND_TARGET, 2112);
    let told = net.command(&host, SECOND_TARGET, &TEST_UNIT_READY, 0, Io::None);
    assert_eq!(attention(&told), Some(AdditionalSense::POWER_ON_OR_RESET));

    assert_eq!(net.scsi(&host, &write_10(3, 1), Io::Out(&[9; 512])).status, 0);
    let read = net.command(&host, SECOND_TARGET, &read_10(3, 1), 512, Io::In(512));
    assert_eq!(read.data, [9; 512]);
    // By its identifiers it is the same unit through another port.
    let page = [0x12, 1, 0x83, 0, 255, 0];
    let first = net.command(&host, TARGET, &page, 255, Io::In(255)).data;
    let second = net.command(&host, SECOND_TARGET, &page, 255, Io::In(255)).data;
    let unit_len = 4 + 4 + 24 + 6 + 4 + 8;
    assert_eq!(first[..unit_len], second[..unit_len]);
    assert_eq!((first.last(), first[first.len() - 9]), (Some(&1), 1));
    assert_eq!(second[second.len() - 9], 2, "relative port 2");
    let groups = [0xa3, 0x0a, 0, 0, 0, 0, 0, 0, 0, 255, 0, 0];
    let groups = net.command(&host, SECOND_TARGET, &groups, 255, Io::In(255)).data;
    // Each port is a group of its own, active/optimized; it might be in other states.
    assert_eq!(groups[4..16], [0, 0x0f, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1]);
    assert_eq!(groups[16..], [0, 0x0f, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2]);
    let luns = net.command(&host, SECOND_TARGET, &[0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0], 64, Io::In(64));
    assert_eq!(luns.data.len(), 8 + 16);

    // A registration is of one nexus: through the other port the same initiator is another one.
    reserve_out(&mut net, &host, TARGET, 0, 0, (0, 1));
    reserve_out(&mut net, &host, TARGET, 1, 3, (1, 0));
    assert_eq!(net.command(&host, SECOND_TARGET, &read_10(3, 1), 512, Io::In(512)).status, CONFLICT);
    reserve_out(&mut net, &host, SECOND_TARGET, 6, 0, (0, 1));
    reserve_out(&mut net, &host, SECOND_TARGET, 4, 8, (1, 1));
    assert_eq!(
        attention(&net.scsi(&host, &TEST_UNIT_READY, Io::None)),
        Some(AdditionalSense::REGISTRATIONS_PREEMPTED)
    );
}

#[test]
fn one_serial_number_is_one_disk() {
    let mut config = two_ports();
    config.targets[1].luns[0].read_only = true;
    let (port, _other) = pair(MemoryConfig::default());
    assert!(matches!(San::new(port, &config), Err(ConfigError::SerialsDiffer(_))));
}

#[test]
fn a_masked_lun_is_not_there_for_others() {
    const REPORT_LUNS: [u8; 12] = [0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0];
    let mut config = Net::small();
    let lun = config.targets[0].luns[0].clone();
    config.targets[0].luns = vec![lun.clone(), LunConfig { initiators: vec![wwpn(2), wwpn(3)], ..lun }];
    let mut net = Net::new(&config);
    let (a, b) = (net.log_in(1), net.log_in(2));
    let listed = |end: &Done| end.data[8..].chunks(8).map(|lun| lun[1]).collect::<Vec<_>>();

    assert_eq!(listed(&net.scsi(&a, &REPORT_LUNS, Io::In(64))), [0]);
    assert_eq!(listed(&net.scsi(&b, &REPORT_LUNS, Io::In(64))), [0, 1]);

    let mut read = |host: &Host| {
        net.push_command(host, TARGET, 0x33, &cmnd(1, &read_10(0, 1), 512, Io::In(512)));
        net.finish(host, TARGET, 0x33, Io::In(512))
    };
    let not_there = (SenseKey::ILLEGAL_REQUEST, AdditionalSense::LUN_NOT_SUPPORTED);
    assert_eq!(read(&a).key(), Some(not_there));
    assert_eq!(attention(&read(&b)), Some(AdditionalSense::POWER_ON_OR_RESET));
    assert_eq!((read(&b).status, read(&a).key()), (0, Some(not_there)));
}

#[test]
fn a_port_in_standby_answers_for_itself_only() {
    let mut net = Net::new(&two_ports());
    let host = net.log_in(1);
    net.log_in_target(&host, SECOND_TARGET, 2112);
    for target in [TARGET, SECOND_TARGET] {
        net.command(&host, target, &TEST_UNIT_READY, 0, Io::None);
    }
    let set = |net: &mut Net, access| {
        let order = Order::Access { target: Wwn::from_u64(0x2000_0000_0000_0002), access };
        net.san.order(Instant::ZERO, &order).unwrap();
    };
    for (access, refusal) in [
        (PortAccess::Standby, Some(AdditionalSense::PORT_IN_STANDBY)),
        (PortAccess::Unavailable, Some(AdditionalSense::PORT_UNAVAILABLE)),
        (PortAccess::NonOptimized, None),
    ] {
        set(&mut net, access);
        // By either port its initiators are told, once.
        for target in [TARGET, SECOND_TARGET] {
            let told = net.command(&host, target, &TEST_UNIT_READY, 0, Io::None);
            assert_eq!(attention(&told), Some(AdditionalSense::ASYMMETRIC_ACCESS_CHANGED));
        }
        set(&mut net, access);
        let read = net.command(&host, SECOND_TARGET, &read_10(0, 1), 512, Io::In(512));
        assert_eq!(read.key(), refusal.map(|sense| (SenseKey::NOT_READY, sense)), "{access:?}");
        assert_eq!(net.scsi(&host, &read_10(0, 1), Io::In(512)).status, 0, "the other port leads there");
        let groups = [0xa3, 0x0a, 0, 0, 0, 0, 0, 0, 0, 255, 0, 0];
        let groups = net.command(&host, SECOND_TARGET, &groups, 255, Io::In(255)).data;
        assert_eq!((groups[4], groups[16]), (0, access as u8));
    }
}
