//! What a day brings.

use super::fabric::{target_login, target_name};
use super::*;
use crate::wire::els::{ElsCommand, ElsReply, Logo, LsRjt, RscnFormat, RscnPage, fcp_parameters};

fn gone(number: u32, reason: GoneReason) -> Event {
    let id = target_id(number);
    Event::TargetGone { id, port_name: target_name(id), reason }
}

fn ready_ids(events: &[Event]) -> Vec<FcId> {
    events
        .iter()
        .filter_map(|event| match event {
            Event::TargetReady(target) => Some(target.id),
            _ => None,
        })
        .collect()
}

fn change(format: RscnFormat, id: FcId) -> ElsRequest {
    ElsRequest::Rscn(Vec::from([RscnPage::new(format, id)]))
}

fn reply(frame: &FcFrame, request: ElsCommand) -> ElsReply {
    ElsReply::parse(request, &frame.payload).unwrap()
}

#[test]
fn a_login_goes_as_linux_goes() {
    for (kind, first) in [(LoginKind::Flogi, "FLOGI>fffffe"), (LoginKind::Fdisc, "FDISC>fffffe")] {
        let mut bench = Bench::with_login(1, kind);
        bench.port.start(bench.now);
        bench.settle();
        let expected = [
            first,
            "PLOGI>fffffc",
            "RNN_ID>fffffc",
            "RSNN_NN>fffffc",
            "RSPN_ID>fffffc",
            "RFT_ID>fffffc",
            "RFF_ID>fffffc",
            "SCR>fffffd",
            "GPN_FT>fffffc",
            "PLOGI>020000",
            "PRLI>020000",
            "RTV>020000",
        ];
        assert_eq!(bench.take_log(), expected);
        let [Event::LoggedIn(session), Event::Online, Event::TargetReady(target)] = bench.take_events()[..]
        else {
            panic!("other events");
        };
        assert_eq!(
            (session.fc_id, session.mac, session.f_port.unwrap().fabric_name),
            (OUR_ID, OUR_MAC, FABRIC_NAME)
        );
        assert_eq!((target.id, target.port_name), (target_id(0), target_name(target_id(0))));
        assert_eq!(target.max_payload_len, 2048);
        assert!(target.parameters & fcp_parameters::TARGET != 0 && target.has_retry());
        assert!(bench.is_quiet(), "nothing is left to wait for");
    }
}

#[test]
fn every_lost_frame_is_made_up_for() {
    let requests = [
        "FLOGI", "PLOGI", "RNN_ID", "RSNN_NN", "RSPN_ID", "RFT_ID", "RFF_ID", "SCR", "GPN_FT", "PRLI", "RTV",
    ];
    for lost in requests {
        for times in 1..=3 {
            let mut bench = Bench::new(3);
            bench.fabric.silences.insert(lost.into(), times);
            bench.port.start(bench.now);
            bench.settle();
            // One costs 2 E_D_TOV and the wait before the second try.
            bench.pass(Duration::from_secs(6));
            assert!(times > 1 || bench.port.targets().count() == 3, "{lost} lost once");
            bench.pass(Duration::from_secs(194));
            assert_eq!(bench.port.targets().count(), 3, "{lost} lost {times} times");
            let events = bench.take_events();
            let is_bad = |event: &&Event| matches!(event, Event::Offline(_) | Event::TargetGone { .. });
            assert_eq!(events.iter().find(is_bad), None, "{lost}");
            // IDs have rested and are free again.
            bench.pass(Duration::from_secs(60));
            assert!(bench.is_quiet(), "{lost}");
        }
    }
}

#[test]
fn a_service_that_stays_silent_makes_the_login_start_anew() {
    let mut bench = Bench::new(1);
    bench.fabric.silences.insert("RFT_ID".into(), 5);
    bench.port.start(bench.now);
    bench.settle();
    bench.pass(Duration::from_secs(400));
    let log = bench.take_log();
    assert_eq!(log.iter().filter(|entry| *entry == "RFT_ID>fffffc").count(), 6);
    assert_eq!(log.iter().filter(|entry| *entry == "FLOGI>fffffe").count(), 2);
    assert_eq!(log.iter().filter(|entry| *entry == "LOGO>fffffe").count(), 1);
    let events = bench.take_events();
    assert!(events.contains(&Event::Offline(LogoutReason::ServiceFailed(Failure::TimedOut))));
    assert_eq!(ready_ids(&events), [target_id(0)]);
}

#[test]
fn a_refused_login_is_told_and_tried_again_ever_less_often() {
    let mut bench = Bench::new(1);
    bench.fabric.rejects.insert("FLOGI", LsRjt::LOGIN_REQUIRED);
    bench.port.start(bench.now);
    bench.settle();
    bench.pass(Duration::from_secs(300));
    let failures = bench.take_events();
    let refused = Event::LoginFailed(Failure::Rejected(LsRjt::LOGIN_REQUIRED));
    assert!(failures.iter().all(|event| *event == refused));
    assert!((10..=16).contains(&failures.len()), "{}", failures.len());
    bench.fabric.rejects.clear();
    bench.pass(Duration::from_secs(40));
    assert_eq!(bench.port.targets().count(), 1);
}

#[test]
fn targets_come_and_go_as_the_fabric_tells() {
    let mut bench = Bench::online(2);
    bench.fabric.targets.push(target_id(2));
    bench.ask(FcId::FABRIC_CONTROLLER, &change(RscnFormat::Port, target_id(2))).unwrap();
    bench.settle();
    assert_eq!(bench.take_log(), ["GPN_ID>fffffc", "PLOGI>020002", "PRLI>020002", "RTV>020002"]);
    assert_eq!(ready_ids(&bench.take_events()), [target_id(2)]);

    bench.fabric.targets.remove(0);
    bench.ask(FcId::FABRIC_CONTROLLER, &change(RscnFormat::Domain, target_id(0))).unwrap();
    bench.settle();
    let log = bench.take_log();
    assert_eq!(log, ["GPN_FT>fffffc", "LOGO>020000", "ADISC>020001", "ADISC>020002"]);
    assert_eq!(bench.take_events(), [gone(0, GoneReason::Unlisted)]);
    assert_eq!(bench.port.targets().count(), 2);
}

#[test]
fn a_port_that_still_knows_us_is_not_disturbed_by_a_change() {
    let mut bench = Bench::online(1);
    for _ in 0..3 {
        bench.ask(FcId::FABRIC_CONTROLLER, &change(RscnFormat::Port, target_id(0))).unwrap();
        bench.settle();
    }
    assert_eq!(bench.take_log(), ["GPN_ID>fffffc", "ADISC>020000"].repeat(3));
    assert!(bench.take_events().is_empty());
    bench.fabric.rejects.insert("ADISC", LsRjt::LOGIN_REQUIRED);
    bench.ask(FcId::FABRIC_CONTROLLER, &change(RscnFormat::Port, target_id(0))).unwrap();
    bench.settle();
    let events = bench.take_events();
    assert_eq!(events[0], gone(0, GoneReason::VerificationFailed));
    assert_eq!(ready_ids(&events), [target_id(0)], "it has forgotten the login, and is logged in again");
}

#[test]
fn a_target_that_logs_out_is_logged_in_again() {
    let mut bench = Bench::online(1);
    let logo = ElsRequest::Logo(Logo::new(target_id(0), target_name(target_id(0))));
    assert_eq!(reply(&bench.ask(target_id(0), &logo).unwrap(), ElsCommand::LOGO), ElsReply::Accept);
    bench.settle();
    assert_eq!(bench.take_events(), [gone(0, GoneReason::LoggedOut)]);
    bench.pass(Duration::from_secs(2));
    assert_eq!(ready_ids(&bench.take_events()), [target_id(0)]);
}

#[test]
fn a_target_that_logs_in_again_voids_what_was_open() {
    let mut bench = Bench::online(1);
    let plogi = ElsRequest::Plogi(target_login(target_id(0)));
    let accept = bench.ask(target_id(0), &plogi).unwrap();
    assert!(matches!(reply(&accept, ElsCommand::PLOGI), ElsReply::Login(_)));
    bench.settle();
    let events = bench.take_events();
    assert_eq!(events[0], gone(0, GoneReason::LoggedInAgain));
    assert_eq!(ready_ids(&events), [target_id(0)]);
    assert_eq!(bench.take_log(), ["PRLI>020000", "RTV>020000"]);
}

#[test]
fn strangers_may_log_in_but_do_not_take_all_the_room() {
    let mut bench = Bench::online(1);
    let stranger = |number: u32| FcId::from_u32(0x03_0000 + number);
    for number in 0..200 {
        let plogi = ElsRequest::Plogi(target_login(stranger(number)));
        let reply = reply(&bench.ask(stranger(number), &plogi).unwrap(), ElsCommand::PLOGI);
        let is_admitted = (number as usize) < MAX_UNLISTED_PORTS;
        assert_eq!(matches!(reply, ElsReply::Login(_)), is_admitted, "{number}");
        bench.settle();
    }
    assert_eq!(bench.port.remote_ports().count(), 1 + MAX_UNLISTED_PORTS);
    assert_eq!(bench.port.counters().too_many_ports, 136);
    let logo = ElsRequest::Logo(Logo::new(stranger(0), target_name(stranger(0))));
    bench.ask(stranger(0), &logo).unwrap();
    assert_eq!(bench.port.remote_ports().count(), MAX_UNLISTED_PORTS, "it is not asked to come back");
    let rtv = bench.ask(stranger(0), &ElsRequest::Rtv).unwrap();
    assert_eq!(reply(&rtv, ElsCommand::RTV), LsRjt::LOGIN_REQUIRED.into());
}

#[test]
fn a_target_that_moves_is_ready_at_one_place_only() {
    let mut bench = Bench::online(1);
    // The new place is told before the old one is known to be empty.
    let moved_to = FcId::from_u32(0x03_0000);
    bench.fabric.moved = Some((moved_to, target_id(0)));
    bench.fabric.targets.push(moved_to);
    bench.ask(FcId::FABRIC_CONTROLLER, &change(RscnFormat::Port, moved_to)).unwrap();
    bench.settle();
    let events = bench.take_events();
    assert_eq!(events[0], gone(0, GoneReason::Moved));
    assert_eq!((ready_ids(&events), events.len()), (Vec::from([moved_to]), 2));
    let mut empty = bench.clone();
    empty.fabric.targets.remove(0);
    empty.ask(FcId::FABRIC_CONTROLLER, &change(RscnFormat::Port, target_id(0))).unwrap();
    empty.settle();
    assert!(empty.take_events().is_empty(), "its name is elsewhere");
    assert_eq!(empty.port.targets().count(), 1);
    // Or it moves back at once.
    bench.ask(FcId::FABRIC_CONTROLLER, &change(RscnFormat::Port, target_id(0))).unwrap();
    bench.settle();
    assert_eq!(ready_ids(&bench.take_events()), [target_id(0)]);
    assert_eq!(bench.port.targets().count(), 1);
}

#[test]
fn a_stranger_cannot_take_a_target_s_name() {
    let mut bench = Bench::online(1);
    let plogi = ElsRequest::Plogi(target_login(target_id(0)));
    let refused = reply(&bench.ask(FcId::from_u32(0x03_0000), &plogi).unwrap(), ElsCommand::PLOGI);
    assert!(matches!(refused, ElsReply::Reject(_)));
    bench.settle();
    assert!(bench.take_events().is_empty());
    assert_eq!(bench.port.remote_ports().count(), 1);
}

#[test]
fn a_name_server_that_logs_us_out_is_registered_with_again_while_targets_stay() {
    let mut bench = Bench::online(2);
    let logo = ElsRequest::Logo(Logo::new(FcId::NAME_SERVER, FABRIC_NAME));
    bench.ask(FcId::NAME_SERVER, &logo).unwrap();
    bench.pass(Duration::from_secs(2));
    let log = bench.take_log();
    assert_eq!((&*log[0], log.len()), ("PLOGI>fffffc", 10), "{log:?}");
    assert!(bench.take_events().is_empty(), "targets are verified, not lost");
}

#[test]
fn a_lost_link_ends_everything_at_once() {
    let mut bench = Bench::online(2);
    bench.port.link_lost(bench.now);
    bench.settle();
    assert!(bench.take_log().is_empty(), "nothing can be said");
    let expected =
        [gone(0, GoneReason::Offline), gone(1, GoneReason::Offline), Event::Offline(LogoutReason::LinkLost)];
    assert_eq!(bench.take_events(), expected);
    bench.port.start(bench.now);
    bench.settle();
    assert_eq!(ready_ids(&bench.take_events()).len(), 2);
}

#[test]
fn a_shutdown_says_goodbye_to_everyone() {
    let mut bench = Bench::online(2);
    bench.port.shutdown(bench.now);
    bench.settle();
    assert_eq!(bench.take_log(), ["LOGO>020000", "LOGO>020001", "LOGO>fffffe"]);
    let expected = [
        gone(0, GoneReason::Shutdown),
        gone(1, GoneReason::Shutdown),
        Event::Offline(LogoutReason::Shutdown),
    ];
    assert_eq!(bench.take_events(), expected);

    let mut bench = Bench::online(1);
    bench.fabric.silences.insert("LOGO".into(), 2);
    bench.port.shutdown(bench.now);
    bench.settle();
    bench.pass(Duration::from_secs(4));
    assert_eq!(
        bench.take_events().last(),
        Some(&Event::Offline(LogoutReason::Shutdown)),
        "no answer is needed"
    );
}

#[test]
fn a_change_that_nobody_told_is_noticed() {
    let mut bench = Bench::online(2);
    bench.fabric.targets = Vec::from([target_id(1), target_id(2)]);
    bench.pass(Duration::from_secs(29));
    assert_eq!(bench.take_log(), [""; 0]);
    bench.pass(Duration::from_secs(1));
    let found = Event::TargetReady(*bench.port.targets().find(|target| target.id == target_id(2)).unwrap());
    assert_eq!(bench.take_events(), [gone(0, GoneReason::Unlisted), found]);
    assert_eq!(
        bench.take_log().iter().filter(|entry| entry.contains("020001")).count(),
        0,
        "the other one stays"
    );
}

/// And soon, where a target was before.
#[test]
fn a_return_that_nobody_told_is_noticed() {
    let mut bench = Bench::online(2);
    bench.fabric.targets = Vec::from([target_id(1)]);
    bench.pass(Duration::from_secs(30));
    assert_eq!(bench.take_events(), [gone(0, GoneReason::Unlisted)]);
    bench.pass(Duration::from_secs(2));
    bench.fabric.targets = Vec::from([target_id(0), target_id(1)]);
    bench.pass(Duration::from_secs(4));
    assert!(matches!(bench.take_events()[..], [Event::TargetReady(_)]), "after 4 s");
}

#[test]
fn flapping_links_and_silent_targets_leave_nothing_behind() {
    let mut bench = Bench::new(100);
    for _ in 0..30 {
        bench.fabric.silences.insert("PLOGI".into(), 90);
        bench.port.start(bench.now);
        bench.settle();
        bench.pass(Duration::from_millis(100));
        bench.port.link_lost(bench.now);
        bench.settle();
    }
    bench.fabric.silences.clear();
    bench.port.start(bench.now);
    bench.settle();
    bench.pass(Duration::from_secs(120));
    assert_eq!(bench.port.targets().count(), 100);
    assert!(bench.is_quiet());
}

#[test]
fn what_is_not_for_us_is_dropped_and_counted() {
    let mut bench = Bench::online(1);
    let kind = (RCtl::ELS_REQUEST, FcType::ELS);
    let ask = |s_id, d_id| FcFrame::request(kind, s_id, d_id, 1, ElsRequest::Rtv.to_payload());
    for (s_id, d_id) in [(target_id(0), target_id(1)), (FcId::UNASSIGNED, OUR_ID), (OUR_ID, OUR_ID)] {
        bench.port.handle_frame(bench.now, &ask(s_id, d_id));
    }
    let mut command = ask(target_id(0), OUR_ID);
    (command.header.r_ctl, command.header.fc_type) = (RCtl::COMMAND, FcType::FCP);
    bench.port.handle_frame(bench.now, &command);
    assert_eq!(bench.port.poll_transmit(), None);
    let counters = bench.port.counters();
    assert_eq!((counters.misaddressed, counters.unexpected), (3, 1));

    let mut malformed = ask(target_id(0), OUR_ID);
    malformed.payload = Vec::from([ElsCommand::PLOGI.0, 0, 0, 0, 1]);
    bench.port.handle_frame(bench.now, &malformed);
    let frame = bench.port.poll_transmit().unwrap().frame;
    assert_eq!(reply(&frame, ElsCommand::PLOGI), LsRjt::MALFORMED.into());
}

#[test]
fn of_two_logins_that_cross_the_higher_name_s_goes_on() {
    for (our_name, goes_on) in [(OUR_NAME, false), (Wwn::from_u64(1), true)] {
        let identity = Identity { port_name: our_name, ..identity(LoginKind::Flogi) };
        let mut bench = Bench::with_identity(0, identity).logged_in();
        bench.fabric.targets.push(target_id(0));
        bench.fabric.silences.insert("PLOGI".into(), 1);
        bench.ask(FcId::FABRIC_CONTROLLER, &change(RscnFormat::Port, target_id(0))).unwrap();
        bench.settle();
        let plogi = ElsRequest::Plogi(target_login(target_id(0)));
        let reply = reply(&bench.ask(target_id(0), &plogi).unwrap(), ElsCommand::PLOGI);
        bench.settle();
        if goes_on {
            assert!(matches!(reply, ElsReply::Login(_)));
            assert_eq!(ready_ids(&bench.take_events()), [target_id(0)]);
        } else {
            assert_eq!(reply, LsRjt::IN_PROGRESS.into());
            assert!(bench.take_events().is_empty(), "ours is still out");
        }
    }
}
