//! Faults happen as often as they were ordered, and leave nothing behind.

use super::host::{Host, Io, Net, TARGET, cmnd};
use super::io::{read_10, write_10};
use crate::Fault;
use fc::wire::ethernet::EthernetHeader;
use fc::wire::fcoe::FcoeFrame;
use fc::wire::header::RCtl;
use fc::wire::scsi::{AdditionalSense, Sense, SenseKey, Status};

/// The kinds of the frames that answer a read of 8 blocks.
fn read(net: &mut Net, host: &Host) -> Vec<RCtl> {
    net.push_command(host, TARGET, 1, &cmnd(0, &read_10(0, 8), 4096, Io::In(4096)));
    net.run_fc().iter().map(|frame| frame.header.r_ctl).collect()
}

const WHOLE: [RCtl; 3] = [RCtl::DATA, RCtl::DATA, RCtl::STATUS];

#[test]
fn what_is_lost_is_lost_as_often_as_ordered() {
    let mut net = Net::new(&Net::small());
    let host = net.log_in(1);
    net.san.inject(Fault::LoseData, 1);
    assert_eq!(read(&mut net, &host), [RCtl::DATA, RCtl::STATUS]);
    assert_eq!(read(&mut net, &host), WHOLE);
    net.san.inject(Fault::LoseResponse, 2);
    assert_eq!(read(&mut net, &host), WHOLE[..2]);
    assert_eq!(read(&mut net, &host), WHOLE[..2]);
    net.san.inject(Fault::LoseCommand, 1);
    assert_eq!(read(&mut net, &host), []);
    net.san.inject(Fault::LoseXferRdy, 1);
    net.push_command(&host, TARGET, 2, &cmnd(0, &write_10(0, 8), 4096, Io::Out(&[])));
    assert!(net.run_fc().is_empty());
    net.san.inject(Fault::LoseData, 5);
    net.san.inject(Fault::LoseData, 0);
    assert_eq!(read(&mut net, &host), WHOLE);
}

#[test]
fn a_damaged_frame_has_a_wrong_crc() {
    let mut net = Net::new(&Net::small());
    let host = net.log_in(1);
    net.san.inject(Fault::DamageData, 1);
    net.push_command(&host, TARGET, 1, &cmnd(0, &read_10(0, 8), 4096, Io::In(4096)));
    while net.san.step(net.now) {}
    let mut sound = Vec::new();
    while let Some(bytes) = net.wire.pop() {
        let (_, payload) = EthernetHeader::parse(&bytes).unwrap();
        sound.push(FcoeFrame::parse(payload).unwrap().check_crc().is_ok());
    }
    assert_eq!(sound, [false, true, true]);
}

#[test]
fn commands_are_refused_to_order() {
    let mut net = Net::new(&Net::small());
    let host = net.log_in(1);
    net.san.inject(Fault::Refuse(Status::BUSY, None), 1);
    let busy = net.scsi(&host, &read_10(0, 1), Io::In(512));
    assert_eq!((busy.status, busy.sense, busy.residual), (0x08, None, -512));
    let sense = Sense::new(SenseKey::MEDIUM_ERROR, AdditionalSense::UNRECOVERED_READ_ERROR);
    net.san.inject(Fault::Refuse(Status::CHECK_CONDITION, Some(sense)), 1);
    assert_eq!(net.scsi(&host, &read_10(0, 1), Io::In(512)).sense, Some(sense));
    assert_eq!(net.scsi(&host, &read_10(0, 1), Io::In(512)).status, 0);
}
