//! Logins to a target, what keeps them, and how commands are stopped.

use super::host::{FcFrame, Host, Io, Net, TARGET, cmnd, data_header, done, request_header};
use super::io::{read_10, write_10};
use fc::time::Duration;
use fc::wire::bls::{BaAcc, BaRjt};
use fc::wire::els::{
    Adisc, ElsCommand, ElsReply, ElsRequest, ExchangeIds, ExchangeStatus, Explanation, Login, Logo, LsRjt,
    ProcessLogin, Reason, ServicePage, SppResponse, fcp_parameters, spp_flags,
};
use fc::wire::fcp::{Lun, RspCode, Srr, TaskManagement};
use fc::wire::header::{FCtl, FcHeader, FcType, RCtl};
use fc::wire::scsi::{AdditionalSense, SenseKey};
use fc::wire::{FcId, WireError, Wwn};
use zerocopy::IntoBytes;

const TEST_UNIT_READY: [u8; 6] = [0; 6];

fn plogi(host: &Host) -> Login {
    Login::n_port(host.wwpn, host.wwpn, 2112, Duration::from_secs(2))
}

#[test]
fn a_port_login_is_answered_with_the_targets_parameters() {
    let mut net = Net::new(&Net::small());
    let host = net.log_in_fabric(1);
    let ElsReply::Login(login) = net.els(&host, TARGET, &ElsRequest::Plogi(plogi(&host))) else { panic!() };
    assert_eq!(login.port_name, net.config.targets[0].wwpn);
    assert_eq!(login.node_name, net.config.targets[0].wwnn);
    assert_eq!(login.class_3_payload_len(), 2112);
    assert!(login.class_3.is_valid());

    let reject = |reason, explanation| ElsReply::Reject(LsRjt::new(reason, explanation));
    let renamed = Login { port_name: Wwn::from_u64(1), ..plogi(&host) };
    let invalid = reject(Reason::LOGICAL_ERROR, Explanation(0x0d));
    assert_eq!(net.els(&host, TARGET, &ElsRequest::Plogi(renamed)), invalid);
    let mut tiny = plogi(&host);
    tiny.class_3.receive_size = 128.into();
    let invalid = reject(Reason::LOGICAL_ERROR, Explanation(0x07));
    assert_eq!(net.els(&host, TARGET, &ElsRequest::Plogi(tiny)), invalid);
}

#[test]
fn a_process_login_makes_a_target_of_it() {
    let mut net = Net::new(&Net::small());
    let host = net.log_in_fabric(1);
    let pages = vec![
        ServicePage { fc_type: FcType::NVME, ..ServicePage::fcp(0) },
        ServicePage::fcp(fcp_parameters::INITIATOR | fcp_parameters::RETRY | fcp_parameters::CONFIRM),
    ];
    let prli = ElsRequest::Prli(ProcessLogin { pages });
    assert_eq!(net.els(&host, TARGET, &prli), ElsReply::Reject(LsRjt::LOGIN_REQUIRED));
    net.els(&host, TARGET, &ElsRequest::Plogi(plogi(&host)));
    // A command before PRLI ends the login.
    net.push_command(&host, TARGET, 1, &cmnd(0, &TEST_UNIT_READY, 0, Io::None));
    assert_eq!(net.run_fc().len(), 1, "a LOGO");
    assert_eq!(net.els(&host, TARGET, &prli), ElsReply::Reject(LsRjt::LOGIN_REQUIRED));
    net.els(&host, TARGET, &ElsRequest::Plogi(plogi(&host)));

    let ElsReply::Process(reply) = net.els(&host, TARGET, &prli) else { panic!() };
    assert_eq!(reply.pages[0].response(), SppResponse::NO_PROCESS);
    let page = reply.fcp().unwrap();
    assert_eq!(page.flags, spp_flags::ESTABLISH_IMAGE_PAIR | 1);
    assert_eq!(page.parameters.get(), 0x112, "a target with retransmission, and without confirmation");
    assert_eq!(net.scsi(&host, &TEST_UNIT_READY, Io::None).status, 2, "unit attention");
    assert_eq!(net.scsi(&host, &TEST_UNIT_READY, Io::None).status, 0);

    let target_only = ElsRequest::Prli(ServicePage::fcp(fcp_parameters::TARGET).into());
    let ElsReply::Process(reply) = net.els(&host, TARGET, &target_only) else { panic!() };
    assert_eq!(reply.pages[0].response(), SppResponse::INVALID);
    assert_eq!(reply.pages[0].flags & spp_flags::ESTABLISH_IMAGE_PAIR, 0);

    let ElsReply::Process(reply) = net.els(&host, TARGET, &ElsRequest::Prlo(ServicePage::fcp(0).into()))
    else {
        panic!()
    };
    assert_eq!(reply.pages[0].response(), SppResponse::EXECUTED);
    net.push_command(&host, TARGET, 1, &cmnd(0, &TEST_UNIT_READY, 0, Io::None));
    assert_eq!(net.run_fc().len(), 1, "a LOGO");
}

#[test]
fn what_keeps_a_login_is_answered() {
    let mut net = Net::new(&Net::small());
    let host = net.log_in_fabric(1);
    let adisc = ElsRequest::Adisc(Adisc::new(host.id, host.wwpn, host.wwpn));
    let rrq = ElsRequest::Rrq(ExchangeIds::new(host.id, 1, 2));
    for request in [&adisc, &rrq, &ElsRequest::Pdisc(plogi(&host))] {
        assert_eq!(net.els(&host, TARGET, request), ElsReply::Reject(LsRjt::LOGIN_REQUIRED));
    }
    net.log_in_target(&host, TARGET, 2112);
    let ElsReply::Adisc(reply) = net.els(&host, TARGET, &adisc) else { panic!() };
    assert_eq!((reply.id, reply.port_name), (TARGET, net.config.targets[0].wwpn));
    assert_eq!(net.els(&host, TARGET, &rrq), ElsReply::Accept);
    assert!(matches!(net.els(&host, TARGET, &ElsRequest::Pdisc(plogi(&host))), ElsReply::Login(_)));
    let ElsReply::Rtv(values) = net.els(&host, TARGET, &ElsRequest::Rtv) else { panic!() };
    assert_eq!((values.r_a_tov_ms.get(), values.e_d_tov.get()), (10_000, 2000));
    let echo = ElsRequest::Echo(b"echo".to_vec());
    assert_eq!(net.els(&host, TARGET, &echo), ElsReply::Echo(b"echo".to_vec()));
    let unknown = ElsRequest::Unknown { command: ElsCommand(0x78), flags: [0; 3], body: vec![0; 4] };
    assert_eq!(net.els(&host, TARGET, &unknown), ElsReply::Reject(LsRjt::UNSUPPORTED));
    let short = ElsRequest::Unknown { command: ElsCommand::ADISC, flags: [0; 3], body: vec![0; 4] };
    assert_eq!(net.els(&host, TARGET, &short), ElsReply::Reject(LsRjt::MALFORMED));
}

#[test]
fn commands_without_a_login_are_answered_with_logo() {
    let mut net = Net::new(&Net::small());
    let host = net.log_in(1);
    let assert_logo = |net: &mut Net| {
        net.push_command(&host, TARGET, 1, &cmnd(0, &TEST_UNIT_READY, 0, Io::None));
        let frames = net.run_fc();
        assert_eq!(frames.len(), 1);
        let logo = ElsRequest::parse(&frames[0].payload).unwrap();
        assert_eq!(logo, ElsRequest::Logo(Logo::new(TARGET, net.config.targets[0].wwpn)));
        assert_eq!(frames[0].header.f_ctl.get(), 0x29_0000);
    };
    let logo = ElsRequest::Logo(Logo::new(host.id, host.wwpn));
    assert_eq!(net.els(&host, TARGET, &logo), ElsReply::Accept);
    assert_logo(&mut net);
    // A PLOGI that comes twice ends the process login.
    net.log_in_target(&host, TARGET, 2112);
    assert!(matches!(net.els(&host, TARGET, &ElsRequest::Plogi(plogi(&host))), ElsReply::Login(_)));
    assert_logo(&mut net);
}

/// A write that waits for its data; gives the header of its XFER_RDY.
fn waiting_write(net: &mut Net, host: &Host, ox_id: u16) -> FcHeader {
    net.push_command(host, TARGET, ox_id, &cmnd(0, &write_10(0, 8), 4096, Io::Out(&[])));
    let frames = net.run_fc();
    assert_eq!(frames[0].header.r_ctl, RCtl::DATA_DESCRIPTOR);
    frames[0].header
}

fn abts(net: &mut Net, host: &Host, ox_id: u16, rx_id: u16) -> Vec<FcFrame> {
    let header = FcHeader {
        r_ctl: RCtl::ABTS,
        fc_type: FcType::BLS,
        f_ctl: FCtl::new(0x09_0000),
        rx_id: rx_id.into(),
        ..request_header(host.id, TARGET, ox_id)
    };
    net.push_fc(host.mac, &header, &[]);
    net.run_fc()
}

#[test]
fn an_exchange_is_aborted_once() {
    let mut net = Net::new(&Net::small());
    let host = net.log_in(1);
    for knows_rx_id in [true, false] {
        let asked = waiting_write(&mut net, &host, 7);
        let rx_id = if knows_rx_id { asked.rx_id.get() } else { 0xffff };
        let frames = abts(&mut net, &host, 7, rx_id);
        let header = frames[0].header;
        assert_eq!((header.r_ctl, header.fc_type), (RCtl::BA_ACC, FcType::BLS));
        assert_eq!((header.ox_id.get(), header.rx_id), (7, asked.rx_id));
        let acc = BaAcc::parse(&frames[0].payload).unwrap();
        assert_eq!((acc.ox_id.get(), acc.rx_id, acc.high_seq_cnt.get()), (7, asked.rx_id, 0xffff));
        net.push_fc(host.mac, &data_header(&host, &asked, 0, 0, true), &[1; 2048]);
        assert!(net.run_fc().is_empty());
        let again = abts(&mut net, &host, 7, asked.rx_id.get());
        assert_eq!(again[0].header.r_ctl, RCtl::BA_RJT);
        assert_eq!(BaRjt::parse(&again[0].payload).unwrap().as_bytes(), [0, 3, 3, 0]);
    }
    assert_eq!(net.san.stats().counters.aborted_exchanges, 2);
    assert_eq!(net.scsi(&host, &write_10(0, 8), Io::Out(&[5; 4096])).status, 0);
}

#[test]
fn rec_tells_how_far_an_exchange_is() -> Result<(), WireError> {
    let mut net = Net::new(&Net::small());
    let host = net.log_in(1);
    let asked = waiting_write(&mut net, &host, 7);
    let rec = |net: &mut Net, rx_id: u16, originator: FcId| {
        net.els(&host, TARGET, &ElsRequest::Rec(ExchangeIds::new(originator, 7, rx_id)))
    };
    let rx_id = asked.rx_id.get();
    let ElsReply::Rec(status) = rec(&mut net, 0xffff, host.id) else { panic!() };
    assert_eq!((status.ox_id.get(), status.rx_id.get()), (7, rx_id));
    assert_eq!((status.originator, status.responder), (host.id, TARGET));
    assert_eq!((status.fc4_value.get(), status.e_stat.get()), (0, ExchangeStatus::IS_RESPONDER));

    // The last frame comes, the first one is lost: now the target has the initiative.
    net.push_fc(host.mac, &data_header(&host, &asked, 2048, 1, true), &[1; 2048]);
    assert!(net.run_fc().is_empty());
    let ElsReply::Rec(status) = rec(&mut net, rx_id, host.id) else { panic!() };
    assert_eq!(status.fc4_value.get(), 2048);
    assert!(status.e_stat.get() & ExchangeStatus::HAS_INITIATIVE != 0);
    assert_eq!(rec(&mut net, rx_id ^ 1, host.id), ElsReply::Reject(LsRjt::NO_SUCH_EXCHANGE));
    assert_eq!(rec(&mut net, rx_id, TARGET), ElsReply::Reject(LsRjt::NO_SUCH_EXCHANGE));

    let srr = Srr::new(7, rx_id, 0, RCtl::DATA_DESCRIPTOR);
    let header = FcHeader { r_ctl: RCtl::FC4_REQUEST, ..request_header(host.id, TARGET, 8) };
    net.push_fc(host.mac, &header, srr.as_bytes());
    let frames = net.run_fc();
    assert_eq!(frames[0].header.r_ctl, RCtl::FC4_REPLY);
    assert_eq!(ElsReply::parse(ElsCommand(0x14), &frames[0].payload)?, ElsReply::Reject(LsRjt::UNSUPPORTED));
    Ok(())
}

#[test]
fn a_write_whose_initiator_falls_silent_ends() {
    let mut config = Net::small();
    config.fcf.keep_alives = false;
    let mut net = Net::new(&config);
    let host = net.log_in(1);
    let asked = waiting_write(&mut net, &host, 7);
    net.wait(Duration::from_secs(179));
    net.run();
    net.push_fc(host.mac, &data_header(&host, &asked, 0, 0, false), &[1; 2048]);
    net.run();
    net.wait(Duration::from_secs(179));
    net.run();
    assert_eq!(net.san.stats().counters.aborted_exchanges, 0);
    net.wait(Duration::from_secs(10));
    net.run();
    assert_eq!(net.san.stats().counters.aborted_exchanges, 1);
}

#[test]
fn a_lost_login_ends_its_commands() {
    let mut net = Net::new(&Net::small());
    let host = net.log_in(1);
    waiting_write(&mut net, &host, 7);
    net.els(&host, TARGET, &ElsRequest::Plogi(plogi(&host)));
    assert_eq!(net.san.stats().counters.aborted_exchanges, 1, "a new PLOGI");
    net.log_in_target(&host, TARGET, 2112);
    net.scsi(&host, &TEST_UNIT_READY, Io::None);
    waiting_write(&mut net, &host, 7);
    net.log_in_fabric(1);
    assert_eq!(net.san.stats().counters.aborted_exchanges, 2, "a new FLOGI");
}

fn manage(net: &mut Net, host: &Host, lun: Lun, function: TaskManagement) -> RspCode {
    let mut iu = cmnd(0, &[0; 6], 0, Io::None);
    iu.fixed.task_management = function;
    iu.fixed.lun = lun;
    net.push_command(host, TARGET, 0x77, &iu);
    let frames = net.run_fc();
    let frame = frames.iter().find(|frame| frame.header.ox_id.get() == 0x77).unwrap();
    let end = done(frame, Vec::new());
    assert_eq!((end.status, end.residual), (0, 0));
    RspCode(end.code.unwrap())
}

#[test]
fn task_management_ends_the_right_commands() {
    let mut net = Net::new(&Net::small());
    let (a, b) = (net.log_in(1), net.log_in(2));
    let lun = Lun::single(0).unwrap();
    let aborted = |net: &Net| net.san.stats().counters.aborted_exchanges;

    waiting_write(&mut net, &a, 1);
    waiting_write(&mut net, &b, 1);
    assert_eq!(manage(&mut net, &a, lun, TaskManagement::ABORT_TASK_SET), RspCode::COMPLETE);
    assert_eq!(aborted(&net), 1, "a's only");
    assert_eq!(net.scsi(&b, &TEST_UNIT_READY, Io::None).status, 0);

    waiting_write(&mut net, &a, 1);
    assert_eq!(manage(&mut net, &a, lun, TaskManagement::CLEAR_TASK_SET), RspCode::COMPLETE);
    assert_eq!(aborted(&net), 3, "everyone's");
    let told = net.scsi(&b, &TEST_UNIT_READY, Io::None);
    assert_eq!(told.key(), Some((SenseKey::UNIT_ATTENTION, AdditionalSense::COMMANDS_CLEARED)));
    assert_eq!(net.scsi(&a, &TEST_UNIT_READY, Io::None).status, 0);

    for function in [TaskManagement::LUN_RESET, TaskManagement::TARGET_RESET] {
        waiting_write(&mut net, &b, 1);
        let before = aborted(&net);
        assert_eq!(manage(&mut net, &a, lun, function), RspCode::COMPLETE);
        assert_eq!(aborted(&net), before + 1);
        for host in [&a, &b] {
            let told = net.scsi(host, &TEST_UNIT_READY, Io::None);
            assert_eq!(told.key(), Some((SenseKey::UNIT_ATTENTION, AdditionalSense::BUS_DEVICE_RESET)));
        }
    }
    let nowhere = Lun::single(9).unwrap();
    assert_eq!(manage(&mut net, &a, nowhere, TaskManagement::LUN_RESET), RspCode::INCORRECT_LUN);
    assert_eq!(manage(&mut net, &a, nowhere, TaskManagement::TARGET_RESET), RspCode::COMPLETE);
    assert_eq!(manage(&mut net, &a, lun, TaskManagement::CLEAR_ACA), RspCode::REJECTED);
    assert_eq!(manage(&mut net, &a, lun, TaskManagement(0x12)), RspCode::INVALID_FIELDS, "two at once");
}

#[test]
fn a_full_table_says_so() {
    let mut net = Net::new(&Net::small());
    let host = net.log_in(1);
    let mut full = None;
    for ox_id in 0..5000 {
        net.push_command(&host, TARGET, ox_id, &cmnd(0, &write_10(0, 8), 4096, Io::Out(&[])));
        let frames = net.run_fc();
        if frames[0].header.r_ctl == RCtl::STATUS {
            full = Some((ox_id, done(&frames[0], Vec::new())));
            break;
        }
    }
    let (at, end) = full.unwrap();
    assert_eq!((at, end.status, end.residual), (4096, 0x28, -4096));
    assert_eq!(abts(&mut net, &host, 77, 0xffff)[0].header.r_ctl, RCtl::BA_ACC);
    assert_eq!(net.scsi(&host, &read_10(0, 8), Io::In(4096)).status, 0);
}
