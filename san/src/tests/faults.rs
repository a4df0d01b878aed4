//! Faults happen as often as they were ordered, and leave nothing behind.

use super::host::{FcFrame, Host, Io, Net, TARGET, What, cmnd};
use super::io::{read_10, write_10};
use crate::{CommandFailure, Death, Fault, FaultsConfig, FrameFate, FrameKind, LoginKind, Order, OrderError};
use datapath::port::faults::MILLION;
use fc::time::Duration;
use fc::wire::ct::{CtPreamble, NameServerRequest};
use fc::wire::els::{ElsReply, ElsRequest, Login, LsRjt, Reason, RscnPage, ScrFunction};
use fc::wire::ethernet::EthernetHeader;
use fc::wire::fcoe::FcoeFrame;
use fc::wire::fip::{ElsKind, Operation};
use fc::wire::header::{FcHeader, FcType, RCtl};
use fc::wire::scsi::{AdditionalSense, SenseKey};
use fc::wire::{FcId, Wwn};

/// The kinds of the frames that answer a read of 8 blocks.
fn read(net: &mut Net, host: &Host) -> Vec<RCtl> {
    net.push_command(host, TARGET, 1, &cmnd(0, &read_10(0, 8), 4096, Io::In(4096)));
    kinds(net)
}

fn kinds(net: &mut Net) -> Vec<RCtl> {
    net.run_fc().iter().map(|frame| frame.header.r_ctl).collect()
}

fn order(net: &mut Net, order: Order) {
    net.san.order(net.now, &order).unwrap();
}

fn target(net: &Net) -> Wwn {
    net.config.targets[0].wwpn
}

const WHOLE: [RCtl; 3] = [RCtl::DATA, RCtl::DATA, RCtl::STATUS];
/// A READ or WRITE (10), as long as a full one.
const IO_LEN: usize = 4096;

#[test]
fn what_is_lost_is_lost_as_often_as_ordered() {
    let mut net = Net::new(&Net::small());
    let host = net.log_in(1);
    let lose = |net: &mut Net, kind, count| {
        net.san.inject(Fault::Frame(FrameFate::Lose, kind), count).unwrap();
    };
    lose(&mut net, FrameKind::ReadData, 1);
    assert_eq!(read(&mut net, &host), [RCtl::DATA, RCtl::STATUS]);
    assert_eq!(read(&mut net, &host), WHOLE);
    lose(&mut net, FrameKind::Response, 2);
    assert_eq!(read(&mut net, &host), WHOLE[..2]);
    assert_eq!(read(&mut net, &host), WHOLE[..2]);
    lose(&mut net, FrameKind::Command, 1);
    assert_eq!(read(&mut net, &host), []);
    lose(&mut net, FrameKind::XferRdy, 1);
    net.push_command(&host, TARGET, 2, &cmnd(0, &write_10(0, 8), 4096, Io::Out(&[])));
    assert_eq!(kinds(&mut net), []);
    lose(&mut net, FrameKind::WriteData, 1);
    assert_eq!(read(&mut net, &host), WHOLE, "read data is none");
    net.push_command(&host, TARGET, 3, &cmnd(0, &write_10(0, 8), 4096, Io::Out(&[1; IO_LEN])));
    let asked = net.run_fc();
    net.answer_xfer_rdy(&host, &asked[0], &[1; IO_LEN]);
    assert_eq!(kinds(&mut net), [], "half of the data is missing");
    net.answer_xfer_rdy(&host, &asked[0], &[1; IO_LEN]);
    assert_eq!(kinds(&mut net), [RCtl::STATUS]);
    let stats = net.san.stats();
    assert_eq!((stats.incoming.lost, stats.outgoing.lost), (2, 4));
}

#[test]
fn every_kind_of_frame_is_known() {
    let mut net = Net::new(&Net::small());
    let host = net.log_in(1);
    let abort = FcHeader {
        r_ctl: RCtl::ABTS,
        fc_type: FcType::BLS,
        ..super::host::request_header(host.id, TARGET, 9)
    };
    let echo = FcHeader {
        r_ctl: RCtl::ELS_REQUEST,
        fc_type: FcType::ELS,
        ..super::host::request_header(host.id, TARGET, 9)
    };
    let rtv = ElsRequest::Rtv.to_payload();
    for (kind, header, payload, answer) in [
        (FrameKind::Abort, abort, &[][..], RCtl::BA_RJT),
        (FrameKind::AbortAnswer, abort, &[], RCtl::BA_RJT),
        (FrameKind::LinkService, echo, &rtv, RCtl::ELS_REPLY),
        (FrameKind::LinkServiceAnswer, echo, &rtv, RCtl::ELS_REPLY),
    ] {
        net.san.inject(Fault::Frame(FrameFate::Lose, kind), 1).unwrap();
        let mut answers = || {
            net.push_fc(host.mac, &header, payload);
            kinds(&mut net)
        };
        assert_eq!(answers(), [], "{kind:?}");
        assert_eq!(answers(), [answer], "{kind:?}");
    }
}

#[test]
fn frames_are_damaged_doubled_and_overtaken() {
    let mut net = Net::new(&Net::small());
    let host = net.log_in(1);
    let fate = |net: &mut Net, fate| net.san.inject(Fault::Frame(fate, FrameKind::ReadData), 1).unwrap();
    fate(&mut net, FrameFate::Duplicate);
    assert_eq!(read(&mut net, &host), [RCtl::DATA, RCtl::DATA, RCtl::DATA, RCtl::STATUS]);
    fate(&mut net, FrameFate::Reorder);
    net.push_command(&host, TARGET, 1, &cmnd(0, &read_10(0, 8), 4096, Io::In(4096)));
    let offsets: Vec<_> = net.run_fc().iter().map(|frame| frame.header.parameter.get()).collect();
    assert_eq!(offsets, [2112, 0, 0], "the second frame, the first one, FCP_RSP");

    fate(&mut net, FrameFate::Damage);
    net.push_command(&host, TARGET, 1, &cmnd(0, &read_10(0, 8), 4096, Io::In(4096)));
    while net.san.step(net.now) {}
    let mut sound = Vec::new();
    while let Some(bytes) = net.wire.pop() {
        let (_, payload) = EthernetHeader::parse(&bytes).unwrap();
        sound.push(FcoeFrame::parse(payload).unwrap().check_crc().is_ok());
    }
    assert_eq!(sound, [false, true, true]);
    net.san.inject(Fault::Frame(FrameFate::Damage, FrameKind::Command), 1).unwrap();
    assert_eq!(read(&mut net, &host), []);
    assert_eq!(net.san.stats().counters.dropped_crc, 1);
}

#[test]
fn commands_fail_to_order() {
    let mut net = Net::new(&Net::small());
    let host = net.log_in(1);
    net.san.inject(Fault::Fail(CommandFailure::Busy), 1).unwrap();
    let busy = net.scsi(&host, &read_10(0, 1), Io::In(512));
    assert_eq!((busy.status, busy.sense, busy.residual), (0x08, None, -512));
    net.san.inject(Fault::Fail(CommandFailure::MediumError), 2).unwrap();
    for _ in 0..2 {
        let failed = net.scsi(&host, &read_10(0, 1), Io::In(512));
        assert_eq!(
            failed.key(),
            Some((SenseKey::MEDIUM_ERROR, AdditionalSense::UNRECOVERED_READ_ERROR)),
            "{failed:?}"
        );
    }
    assert_eq!(net.scsi(&host, &read_10(0, 1), Io::In(512)).status, 0);
}

#[test]
fn logins_are_rejected_to_order() {
    let mut net = Net::new(&Net::small());
    let busy = |reply: &ElsReply| matches!(reply, ElsReply::Reject(LsRjt { reason, .. }) if *reason == Reason::LOGICAL_BUSY);
    net.san.inject(Fault::Reject(LoginKind::Flogi), 1).unwrap();
    let flogi = ElsRequest::Flogi(Login::fabric(super::host::wwpn(1), super::host::wwpn(1), 2112));
    let enode = fc::wire::MacAddr([2, 0, 0, 0, 0, 1]);
    let reply = net.link_service(enode, ElsKind::Flogi, FcId::UNASSIGNED, &flogi);
    let reply = ElsReply::parse(flogi.command(), &reply.els().unwrap().payload).unwrap();
    assert!(busy(&reply), "{reply:?}");

    let host = net.log_in(1);
    let plogi = ElsRequest::Plogi(Login::n_port(host.wwpn, host.wwpn, 2112, Duration::from_secs(2)));
    net.san.inject(Fault::Reject(LoginKind::Plogi), 1).unwrap();
    let reply = net.els(&host, TARGET, &plogi);
    assert!(busy(&reply), "{reply:?}");
    assert!(matches!(net.els(&host, TARGET, &plogi), ElsReply::Login(_)));
}

#[test]
fn chances_are_configured_and_repeat_with_the_seed() {
    let mut config = Net::small();
    config.faults = FaultsConfig { seed: 7, loss_ppm: 200_000, busy_ppm: 300_000, ..FaultsConfig::default() };
    let run = |config: &crate::SanConfig| {
        // Without loss until it is logged in.
        let mut net = Net::new(&crate::SanConfig { faults: FaultsConfig::default(), ..config.clone() });
        let host = net.log_in(1);
        order(&mut net, Order::Faults(config.faults));
        let answers: Vec<_> = (0..100).map(|_| read(&mut net, &host)).collect();
        (answers, net.san.stats())
    };
    let (answers, stats) = run(&config);
    assert_eq!(run(&config), (answers.clone(), stats));
    assert_ne!(
        run(&crate::SanConfig { faults: FaultsConfig { seed: 8, ..config.faults }, ..config }).0,
        answers
    );
    assert!((10..40).contains(&stats.incoming.lost), "{stats:?}");
    assert!((15..40).contains(&stats.counters.failed_commands), "{stats:?}");
}

#[test]
fn a_san_is_faulty_from_its_start_and_heals() {
    let mut config = Net::small();
    config.faults.loss_ppm = MILLION;
    let mut net = Net::new(&config);
    assert!(net.run().is_empty() && net.san.stats().outgoing.lost == 1, "the first advertisement");
    order(&mut net, Order::Heal);
    let host = net.log_in(1);
    net.san.inject(Fault::Fail(CommandFailure::Busy), 99).unwrap();
    net.san.inject(Fault::Frame(FrameFate::Lose, FrameKind::Response), 99).unwrap();
    order(&mut net, Order::Heal);
    assert_eq!(read(&mut net, &host), WHOLE);
}

#[test]
fn stalled_commands_wait_and_can_be_aborted() {
    let mut net = Net::new(&Net::small());
    let host = net.log_in(1);
    let stall = Order::Stall { target: target(&net), ms: 500 };
    order(&mut net, stall);
    assert_eq!(read(&mut net, &host), []);
    net.push_command(&host, TARGET, 2, &cmnd(0, &write_10(0, 8), 4096, Io::Out(&[])));
    assert_eq!(kinds(&mut net), []);
    let due = net.san.poll_timeout().unwrap();
    assert_eq!(due, net.now + Duration::from_millis(500));
    let abts = FcHeader {
        r_ctl: RCtl::ABTS,
        fc_type: FcType::BLS,
        ..super::host::request_header(host.id, TARGET, 2)
    };
    net.push_fc(host.mac, &abts, &[]);
    assert_eq!(kinds(&mut net), [RCtl::BA_ACC], "link services are answered");
    net.now = due;
    assert_eq!(kinds(&mut net), WHOLE, "the read, and the write no more");
    assert_eq!(read(&mut net, &host), WHOLE);

    order(
        &mut net,
        Order::Faults(FaultsConfig { stall_ppm: MILLION, stall_ms: 20, ..FaultsConfig::default() }),
    );
    assert_eq!(read(&mut net, &host), []);
    net.wait(Duration::from_millis(20));
    assert_eq!(kinds(&mut net), WHOLE);
}

/// The targets that the name server lists.
fn listed(net: &mut Net, host: &Host) -> usize {
    let request = NameServerRequest::GpnFt(fc::wire::ct::PortScope::fabric(FcType::FCP)).to_payload();
    let header = FcHeader {
        r_ctl: RCtl::CT_REQUEST,
        fc_type: FcType::CT,
        ..super::host::request_header(host.id, FcId::NAME_SERVER, 5)
    };
    net.push_fc(host.mac, &header, &request);
    let answers = net.run_fc();
    let (preamble, body) = CtPreamble::split(&answers[0].payload).unwrap();
    if preamble.command == fc::wire::ct::CtCommand::ACCEPT { body.len() / 16 } else { 0 }
}

/// The ports that RSCNs among these frames tell of.
fn told(frames: &[FcFrame]) -> Vec<FcId> {
    let pages = |frame: &FcFrame| match ElsRequest::parse(&frame.payload) {
        Ok(ElsRequest::Rscn(pages)) => pages,
        _ => Vec::new(),
    };
    frames.iter().flat_map(pages).map(|page: RscnPage| page.id).collect()
}

#[test]
fn a_killed_target_is_seen_as_it_died_and_comes_back_knowing_nobody() {
    for (how, logout, is_told) in
        [(Death::Unplugged, false, true), (Death::LoggedOut, true, false), (Death::Silent, false, false)]
    {
        let mut net = Net::new(&Net::small());
        let host = net.log_in(1);
        let login = Login::n_port(host.wwpn, host.wwpn, 2112, Duration::from_secs(2));
        net.els(&host, FcId::NAME_SERVER, &ElsRequest::Plogi(login));
        net.els(&host, FcId::FABRIC_CONTROLLER, &ElsRequest::Scr(ScrFunction::FULL));
        assert_eq!(listed(&mut net, &host), 1);
        // A write that it would go on with.
        net.push_command(&host, TARGET, 2, &cmnd(0, &write_10(0, 8), 4096, Io::Out(&[])));
        let asked = net.run_fc();

        let kill = Order::Kill { target: target(&net), how };
        order(&mut net, kill);
        let frames = net.run_fc();
        let logos = frames
            .iter()
            .filter(|frame| matches!(ElsRequest::parse(&frame.payload), Ok(ElsRequest::Logo(_))))
            .filter(|frame| (frame.header.s_id, frame.header.d_id) == (TARGET, host.id));
        assert_eq!(logos.count() == 1, logout, "{how:?}");
        assert_eq!(told(&frames), if is_told { &[TARGET][..] } else { &[] }, "{how:?}");
        assert_eq!(listed(&mut net, &host), usize::from(!is_told), "{how:?}");
        net.answer_xfer_rdy(&host, &asked[0], &[0; IO_LEN]);
        assert_eq!(read(&mut net, &host), [], "{how:?}");
        assert_eq!(net.san.stats().counters.aborted_exchanges, 1, "{how:?}");

        let revive = Order::Revive { target: target(&net) };
        order(&mut net, revive);
        assert_eq!(told(&net.run_fc()), if is_told { &[TARGET][..] } else { &[] }, "{how:?}");
        assert_eq!(listed(&mut net, &host), 1, "{how:?}");
        assert_eq!(read(&mut net, &host), [RCtl::ELS_REQUEST], "a LOGO: it knows no such login");
        net.log_in_target(&host, TARGET, 2112);
        net.scsi(&host, &[0; 6], Io::None);
        assert_eq!(read(&mut net, &host), WHOLE, "{how:?}");
    }
}

#[test]
fn a_stopped_fabric_is_silent_and_starts_from_scratch() {
    let mut net = Net::new(&Net::small());
    let host = net.log_in(1);
    order(&mut net, Order::Stop);
    assert!(net.run().is_empty(), "not even a Clear Virtual Links");
    net.wait(Duration::from_secs(100));
    assert_eq!(net.san.poll_timeout(), None);
    assert_eq!(read(&mut net, &host), []);
    assert_eq!(net.san.stats().logins, 0);
    order(&mut net, Order::Start);
    let seen = net.run();
    let is_advertisement =
        |what: &What| matches!(what, What::Fip(frame) if frame.operation == Operation::ADVERTISEMENT);
    assert!(seen.len() == 1 && is_advertisement(&seen[0].what), "{seen:?}");
    assert_eq!(read(&mut net, &host), [], "not logged in");
    let host = net.log_in(1);
    assert_eq!(read(&mut net, &host), WHOLE);
}

#[test]
fn what_can_not_be_ordered_is_said() {
    let mut net = Net::new(&Net::small());
    let stranger = Wwn::from_u64(1);
    let error = net.san.order(net.now, &Order::Revive { target: stranger }).unwrap_err().to_string();
    assert!(error.contains(&stranger.to_string()) && error.contains(&target(&net).to_string()), "{error}");
    let too_much = FaultsConfig { loss_ppm: MILLION, delay_ppm: 1, ..FaultsConfig::default() };
    let error = net.san.order(net.now, &Order::Faults(too_much)).unwrap_err().to_string();
    assert_eq!(error, "faults of frames is 1000001; allowed are 0 to 1000000 ppm together");
    let fault = Fault::Frame(FrameFate::Lose, FrameKind::Abort);
    let refused = (0..100).find_map(|_| net.san.inject(fault, 1).err());
    assert!(matches!(refused, Some(OrderError::TooMany(64))), "{refused:?}");
}
