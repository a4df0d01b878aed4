//! From a neighbour's claim to its commands, and back.

use super::*;
use crate::tests::host::{Io, cmnd};
use crate::tests::io::read_10;
use crate::{Death, Order};
use fc::wire::els::{Explanation, ProcessLogin, Reason, ServicePage, fcp_parameters};

impl Net {
    fn pair(&mut self, host: &Host) {
        let page = ServicePage::fcp(fcp_parameters::INITIATOR | fcp_parameters::READ_XFER_RDY_DISABLED);
        let prli = ElsRequest::Prli(ProcessLogin::from(page));
        let ElsReply::Process(reply) = self.els(host, TARGET, &prli) else { panic!("no PRLI") };
        assert!(reply.pages[0].has(fcp_parameters::TARGET));
    }

    fn plogi(&mut self, host: &Host) -> ElsReply {
        let login = Login::n_port(host.wwpn, host.wwpn, 2112, Duration::from_secs(2));
        self.els(host, TARGET, &ElsRequest::Plogi(login))
    }

    /// The whole login of a neighbour with the lower name, which the target's PLOGI comes to.
    fn log_in_low(&mut self, host: &Host) {
        let asked = only_els(&self.arrive(host)).clone();
        let plogi = only_plogi(&self.accept_flogi(host, &asked));
        self.accept_plogi(host, &plogi);
        self.pair(host);
        self.serves(host);
    }

    /// FLOGI while that of the target waits for its answer, until it waits no longer.
    fn flogi_later(&mut self, host: &Host) -> Vec<Seen> {
        self.flogi(host);
        self.pass_all(Duration::from_secs(2)).into_iter().map(|(_, seen)| seen).collect()
    }

    /// Takes the first unit attention and reads.
    fn serves(&mut self, host: &Host) {
        self.command(host, TARGET, &[0; 6], 0, Io::None);
        let done = self.command(host, TARGET, &read_10(0, 8), 4096, Io::In(4096));
        assert_eq!((done.status, done.data.len()), (0, 4096));
    }
}

#[test]
fn the_target_with_the_higher_name_logs_in() {
    let mut net = Net::up(&config());
    let host = low(1);
    let said = net.arrive(&host);
    let asked = only_els(&said).clone();
    assert_eq!((asked.kind, asked.header.s_id, asked.header.d_id), (ElsKind::Flogi, TARGET, host.id));
    let frame = &said.last().unwrap();
    assert_eq!((frame.ethernet.source, frame.ethernet.destination), (TARGET_ENODE, host.enode));
    assert_eq!(frame.frame.mac(), Ok(vn_mac(TARGET)));
    assert_eq!(net.san.stats().logins, 0);

    let seen = net.accept_flogi(&host, &asked);
    assert_eq!(net.san.stats().logins, 1);
    let plogi = only_plogi(&seen);
    assert_eq!((seen[0].ethernet.source, seen[0].ethernet.destination), (vn_mac(TARGET), host.mac));
    assert_eq!((plogi.header.s_id, plogi.header.d_id), (TARGET, host.id));
    net.accept_plogi(&host, &plogi);
    net.pair(&host);
    net.serves(&host);
    assert!(net.pass_all(Duration::from_secs(5)).iter().all(|(_, seen)| matches!(seen.what, What::Fip(_))));
}

#[test]
fn the_target_with_the_lower_name_is_logged_in_to() {
    let mut net = Net::up(&config());
    let host = high(1);
    let asked = only_els(&net.arrive(&host)).clone();
    assert!(net.accept_flogi(&host, &asked).is_empty(), "it waits");
    assert!(matches!(net.plogi(&host), ElsReply::Login(_)));
    net.pair(&host);
    net.serves(&host);
    assert_eq!(net.san.stats().logins, 1);
}

#[test]
fn flogis_that_cross_are_both_answered_before_plogi() {
    let mut net = Net::up(&config());
    let host = low(1);
    let asked = only_els(&net.arrive(&host)).clone();
    let seen = net.flogi(&host);
    assert_eq!(seen.len(), 1, "only the reply: {seen:#?}");
    assert!(matches!(reply(seen), ElsReply::Login(_)));
    let plogi = only_plogi(&net.accept_flogi(&host, &asked));
    net.accept_plogi(&host, &plogi);
    net.pair(&host);
    net.serves(&host);

    // Without an answer to the target's FLOGI its time passes.
    let mut net = Net::up(&config());
    net.arrive(&host);
    net.flogi(&host);
    let seen: Vec<_> = net.pass_all(Duration::from_secs(2)).into_iter().map(|(_, seen)| seen).collect();
    only_plogi(&seen);

    // A reject of it changes nothing either.
    let mut net = Net::up(&config());
    let asked = only_els(&net.arrive(&host)).clone();
    net.flogi(&host);
    let busy = LsRjt::new(Reason::LOGICAL_BUSY, Explanation::NONE);
    only_plogi(&net.answer_flogi(&host, &asked, &busy.into()));
}

#[test]
fn a_neighbour_may_send_flogi_first() {
    let mut net = Net::up(&config());
    for host in [low(1), high(2)] {
        net.say(&host, Operation::CLAIM_NOTIFICATION);
        assert_eq!(net.run_fip().len(), 1, "a claim response, and nothing before the beacon");
        let seen = net.flogi(&host);
        assert_eq!(seen.len(), if host.wwpn > TARGET_NAME { 1 } else { 2 }, "the reply, and PLOGI");
        assert!(matches!(reply(seen), ElsReply::Login(_)));
        net.say(&host, Operation::BEACON);
        assert!(net.run().is_empty(), "there is a link");
    }
    assert_eq!(net.san.stats().logins, 2);
}

#[test]
fn what_is_no_login_is_rejected() {
    let mut net = Net::up(&config());
    let (stranger, host) = (low(1), low(2));
    assert_eq!(rejected(reply(net.flogi(&stranger))), LsRjt::new(Reason::FIP, Explanation::NOT_NEIGHBOUR));
    assert_eq!(rejected(reply(net.logo(&stranger))), LsRjt::new(Reason::FIP, Explanation::NOT_NEIGHBOUR));
    net.arrive(&host);
    let other_name = Host { wwpn: wwpn(9), ..host };
    assert_eq!(
        rejected(reply(net.flogi(&other_name))),
        LsRjt::new(Reason::LOGICAL_ERROR, Explanation::PORT_NAME)
    );
    let other_enode = Host { enode: stranger.enode, ..host };
    let asked = ElsRequest::Flogi(Login::fabric(host.wwpn, host.wwpn, 2112));
    assert_eq!(
        rejected(reply(net.ask(&other_enode, ElsKind::Flogi, &asked))).explanation,
        Explanation::NOT_NEIGHBOUR
    );
    let small = ElsRequest::Flogi(Login::fabric(host.wwpn, host.wwpn, 255));
    assert_eq!(
        rejected(reply(net.ask(&host, ElsKind::Flogi, &small))).explanation,
        Explanation::RECEIVE_SIZE
    );
    let fdisc = ElsRequest::Fdisc(Login::fabric(host.wwpn, host.wwpn, 2112));
    assert_eq!(rejected(reply(net.ask(&host, ElsKind::Fdisc, &fdisc))), LsRjt::UNSUPPORTED);
    assert_eq!(net.san.stats().logins, 0);
    // FC frames of who has no link, and of who uses another's address.
    let other = low(3);
    net.push_command(&host, TARGET, 1, &cmnd(0, &read_10(0, 1), 512, Io::In(512)));
    net.flogi(&host);
    net.push_fc(other.mac, &FcHeader::request((RCtl::COMMAND, FcType::FCP), host.id, TARGET, 1), &[]);
    net.push_fc(
        host.mac,
        &FcHeader::request((RCtl::COMMAND, FcType::FCP), host.id, FcId::from_u32(5), 1),
        &[],
    );
    net.run();
    let counters = net.san.stats().counters;
    assert_eq!((counters.dropped_not_logged_in, counters.dropped_no_destination), (2, 1));
}

#[test]
fn only_initiators_are_asked_for_a_login() {
    for (features, is_asked) in [(0, true), (1, false), (INITIATOR, true), (BOTH, true)] {
        let mut net = Net::up(&config());
        let host = low(1);
        let claim = announcement(&host, Operation::CLAIM_NOTIFICATION, features);
        net.say_to(&host, MacAddr::ALL_VN2VN_ENODE, &claim);
        net.run();
        net.say(&host, Operation::BEACON);
        assert_eq!(!net.run().is_empty(), is_asked, "{features}");
    }
}

#[test]
fn a_flogi_is_repeated_and_given_up_until_the_next_beacon() {
    let mut net = Net::up(&config());
    let host = low(1);
    let first = only_els(&net.arrive(&host)).clone();
    let begin = net.now;
    let said = net.pass(Duration::from_secs(7));
    let asked: Vec<_> = said.iter().filter(|said| said.frame.els().is_ok()).collect();
    let since: Vec<_> = asked.iter().map(|said| said.at.since(begin).as_millis()).collect();
    assert_eq!(since, [2000, 4000], "two more, and then it gives up");
    // The answer to one of before comes too late.
    assert!(net.accept_flogi(&host, &first).is_empty());
    assert_eq!(net.san.stats().logins, 0);
    net.say(&host, Operation::BEACON);
    let asked = only_els(&net.run_fip()).clone();
    only_plogi(&net.accept_flogi(&host, &asked));
}

#[test]
fn who_does_not_know_the_target_is_told_of_it() {
    let mut net = Net::up(&config());
    let host = low(1);
    let asked = only_els(&net.arrive(&host)).clone();
    net.wait(Duration::from_millis(400));
    let unknown = LsRjt::new(Reason::FIP, Explanation::NOT_NEIGHBOUR);
    let seen = net.answer_flogi(&host, &asked, &unknown.into());
    let now = net.now;
    let said: Vec<_> = seen.into_iter().filter_map(|seen| fip((now, seen))).collect();
    assert_eq!(said.iter().map(Said::operation).collect::<Vec<_>>(), [Operation::CLAIM_NOTIFICATION]);
    let again = net.pass(Duration::from_secs(2));
    let asked = only_els(&again).clone();
    only_plogi(&net.accept_flogi(&host, &asked));
}

#[test]
fn plogi_is_repeated_more_and_more_slowly() {
    let mut net = Net::up(&config());
    let host = low(1);
    let asked = only_els(&net.arrive(&host)).clone();
    let plogi = only_plogi(&net.accept_flogi(&host, &asked));
    let begin = net.now;
    let busy = LsRjt::new(Reason::LOGICAL_BUSY, Explanation::NONE);
    net.answer_plogi(&host, &plogi, &busy.into());
    let mut sent = Vec::new();
    for _ in 0..15 {
        for (at, seen) in net.pass_all(Duration::from_secs(8)) {
            if let What::Fc(frame) = seen.what {
                sent.push((at.since(begin).as_secs(), frame));
            }
        }
        net.say(&host, Operation::BEACON);
    }
    assert_eq!(sent.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [2, 6, 14, 30, 62, 94]);
    net.accept_plogi(&host, &plogi);
    assert!(matches!(net.els(&host, TARGET, &ElsRequest::Rrq(ids(&host))), ElsReply::Reject(_)), "too late");
    net.accept_plogi(&host, &sent[5].1);
    net.pair(&host);
    net.serves(&host);
}

fn ids(host: &Host) -> fc::wire::els::ExchangeIds {
    fc::wire::els::ExchangeIds { reserved: 0, originator: host.id, ox_id: 1.into(), rx_id: 1.into() }
}

#[test]
fn the_lower_names_plogi_waits_for_the_higher_ones() {
    let mut net = Net::up(&config());
    let host = low(1);
    let asked = only_els(&net.arrive(&host)).clone();
    let plogi = only_plogi(&net.accept_flogi(&host, &asked));
    assert_eq!(rejected(net.plogi(&host)), LsRjt::IN_PROGRESS);
    net.accept_plogi(&host, &plogi);
    net.pair(&host);
    net.serves(&host);
    assert!(matches!(net.plogi(&host), ElsReply::Login(_)), "a new session, when none is on its way");
}

#[test]
fn a_flogi_over_a_link_begins_it_anew() {
    let mut net = Net::up(&config());
    let host = low(1);
    net.log_in_low(&host);
    net.push_command(&host, TARGET, 1, &cmnd(0, &[0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0], 512, Io::Out(&[7; 512])));
    net.run();
    let seen = net.flogi(&host);
    assert_eq!(net.san.stats().counters.aborted_exchanges, 1, "the session and what was open are gone");
    let plogi = only_plogi(&seen);
    assert!(matches!(reply(seen), ElsReply::Login(_)));
    net.accept_plogi(&host, &plogi);
    net.pair(&host);
    net.serves(&host);
    assert_eq!(net.san.stats().logins, 1);
}

#[test]
fn a_logo_ends_the_link_and_the_next_beacon_begins_it() {
    let mut net = Net::up(&config());
    let host = low(1);
    net.log_in_low(&host);
    let wrong = ElsRequest::Logo(Logo::new(host.id, wwpn(9)));
    assert_eq!(rejected(reply(net.ask(&host, ElsKind::Logo, &wrong))).explanation, Explanation::PORT_NAME);
    assert_eq!(net.san.stats().logins, 1);
    assert_eq!(reply(net.logo(&host)), ElsReply::Accept);
    assert_eq!(reply(net.logo(&host)), ElsReply::Accept, "it is what the neighbour wants");
    assert_eq!(net.san.stats().logins, 0);
    net.push_command(&host, TARGET, 1, &cmnd(0, &read_10(0, 1), 512, Io::In(512)));
    assert!(net.run().is_empty());
    net.say(&host, Operation::BEACON);
    let asked = only_els(&net.run_fip()).clone();
    let plogi = only_plogi(&net.accept_flogi(&host, &asked));
    net.accept_plogi(&host, &plogi);
    net.pair(&host);
    net.serves(&host);
}

#[test]
fn silence_ends_a_neighbour_and_its_next_login_is_served() {
    let mut net = Net::up(&config());
    let (host, other) = (low(1), low(2));
    net.log_in_low(&other);
    net.log_in_low(&host);
    net.push_command(&host, TARGET, 1, &cmnd(0, &[0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0], 512, Io::Out(&[7; 512])));
    for _ in 0..2 {
        net.pass(Duration::from_millis(9990));
        net.say(&other, Operation::BEACON);
        net.run();
    }
    assert_eq!(net.san.stats().logins, 2);
    net.pass(Duration::from_millis(20));
    let stats = net.san.stats();
    assert_eq!((stats.logins, stats.counters.expired_links, stats.counters.aborted_exchanges), (1, 1, 1));
    // It comes back as if nothing had been: the targets ask it to claim, and it does.
    net.say(&host, Operation::BEACON);
    assert_eq!(net.run_fip()[0].operation(), Operation::CLAIM_NOTIFICATION);
    net.say_to(&host, TARGET_ENODE, &announcement(&host, Operation::CLAIM_RESPONSE, INITIATOR));
    let asked = only_els(&net.run_fip()).clone();
    let plogi = only_plogi(&net.accept_flogi(&host, &asked));
    net.accept_plogi(&host, &plogi);
    net.pair(&host);
    net.serves(&host);
}

#[test]
fn a_neighbour_that_starts_again_has_lost_its_login() {
    let mut net = Net::up(&config());
    let host = low(1);
    net.log_in_low(&host);
    net.say(&host, Operation::CLAIM_NOTIFICATION);
    assert_eq!(net.run_fip().len(), 1, "a claim for somebody else's sake");
    net.say(&host, Operation::PROBE_REQUEST);
    net.say(&host, Operation::BEACON);
    net.say(&host, Operation::CLAIM_NOTIFICATION);
    net.run();
    assert_eq!(net.san.stats().logins, 1, "a probe that shows it to others");
    net.say(&host, Operation::PROBE_REQUEST);
    net.say(&host, Operation::PROBE_REQUEST);
    net.run();
    net.log_in_low(&host);
    assert_eq!(net.san.stats().logins, 1);
    // With another address, too.
    let moved = Host { id: FcId::from_u32(0x4444), mac: vn_mac(FcId::from_u32(0x4444)), ..host };
    net.log_in_low(&moved);
    assert_eq!(net.san.stats().logins, 1);
}

#[test]
fn a_restarted_san_logs_in_anew() {
    let mut net = Net::up(&config());
    let host = low(1);
    net.log_in_low(&host);
    net.san.restart(net.now);
    assert_eq!(net.san.stats().logins, 0);
    let said = net.pass(Duration::from_millis(650));
    assert_eq!(said.last().unwrap().operation(), Operation::CLAIM_NOTIFICATION);
    // The neighbour knows of nothing; its login goes on until the target's FLOGI.
    net.say_to(&host, TARGET_ENODE, &announcement(&host, Operation::CLAIM_RESPONSE, INITIATOR));
    let said = net.pass(Duration::from_millis(500));
    let asked = only_els(&said).clone();
    let busy = LsRjt::new(Reason::LOGICAL_BUSY, Explanation::NONE);
    net.answer_flogi(&host, &asked, &busy.into());
    let seen = net.flogi(&host);
    let plogi = only_plogi(&seen);
    net.accept_plogi(&host, &plogi);
    net.pair(&host);
    net.serves(&host);
}

#[test]
fn payloads_fit_both_logins_and_the_link() {
    for (mtu, flogi_len, plogi_len, expected) in
        [(1500, 2112, 2112, 1452), (2500, 1024, 2112, 1024), (2500, 2112, 512, 512), (2500, 2112, 2112, 2112)]
    {
        let mut net = Net::with_mtu(&config(), mtu);
        net.pass(Duration::from_secs(2));
        let host = low(1);
        let said = net.arrive(&host);
        let size = if mtu == 1500 { 1498 } else { 2158 };
        assert_eq!((said[0].len, said[0].frame.max_fcoe_size()), (14 + usize::from(size), Ok(size)));
        let asked = only_els(&said).clone();
        let flogi = Login::fabric(host.wwpn, host.wwpn, flogi_len);
        let plogi = only_plogi(&net.answer_flogi(&host, &asked, &ElsReply::Login(flogi)));
        let login = Login::n_port(host.wwpn, host.wwpn, plogi_len, Duration::from_secs(2));
        net.answer_plogi(&host, &plogi, &ElsReply::Login(login));
        net.pair(&host);
        net.command(&host, TARGET, &[0; 6], 0, Io::None);
        net.push_command(&host, TARGET, 1, &cmnd(0, &read_10(0, 16), 8192, Io::In(8192)));
        assert_eq!(net.run_fc()[0].payload.len(), expected);
    }
    assert_eq!(MAX_LEN, usize::from(MAX_FCOE_SIZE));
}

#[test]
fn a_target_that_dies_is_not_logged_in_to_before_it_is_back() {
    for how in [Death::Unplugged, Death::LoggedOut, Death::Silent] {
        let mut net = Net::up(&config());
        let host = low(1);
        net.log_in_low(&host);
        let now = net.now;
        net.san.order(now, &Order::Kill { target: TARGET_NAME, how }).unwrap();
        assert_eq!(net.san.stats().logins, 0);
        let is_unplugged = how == Death::Unplugged;
        assert_eq!(net.san.macs().len(), if is_unplugged { 1 } else { 2 });
        let said = net.run();
        assert_eq!(said.len(), usize::from(how == Death::LoggedOut), "{how:?}");
        assert!(net.flogi(&host).is_empty());
        let said = net.pass(Duration::from_secs(10));
        assert_eq!(said.is_empty(), is_unplugged, "{how:?}: without its cable out, it can be seen");
        net.say(&host, Operation::PROBE_REQUEST);
        net.say(&host, Operation::BEACON);
        assert!(net.run().is_empty());

        let now = net.now;
        net.san.order(now, &Order::Revive { target: TARGET_NAME }).unwrap();
        net.pass(Duration::from_millis(1100));
        if !is_unplugged {
            net.say(&host, Operation::BEACON);
            net.run_fip();
        }
        let plogi = only_plogi(&net.flogi_later(&host));
        net.accept_plogi(&host, &plogi);
        net.pair(&host);
        net.serves(&host);
    }
}
