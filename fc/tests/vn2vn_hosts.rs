//! Whole VN2VN hosts face to face: ENodes with their VN_Ports on one Ethernet, which may lose frames.

#[path = "common/vn2vn_host.rs"]
mod vn2vn_host;

use fc::fip::VlanChoice;
use fc::time::{Duration, Instant};
use fc::vn_port::{Event, Phase, PortPhase};
use fc::vn2vn::Config;
use fc::wire::els::ElsRequest;
use fc::wire::ethernet::{EtherType, EthernetHeader};
use fc::wire::fcoe::FcoeFrame;
use fc::wire::fip::FipFrame;
use fc::wire::header::RCtl;
use fc::wire::{FcId, MacAddr, Wwn};
use proptest::collection::vec as vec_of;
use proptest::prelude::*;
use std::collections::BTreeSet;
use vn2vn_host::Host;

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
/// How long it takes at most until a host is logged in with that has come back: its claim and beacon, and the shortest
/// wait after the refusal of one that has forgotten a login.
const RELOGIN: Duration = Duration::from_millis(2300);

/// A host's place on the Ethernet.
#[derive(Clone, Debug)]
struct Place {
    host: Host,
    is_linked: bool,
    /// It has logged out, and is to be started anew.
    has_left: bool,
}

impl Place {
    /// Hosts differ by number; the higher number has the higher name.
    fn new(number: u8, low_name: u16) -> Self {
        let mac = MacAddr([2, 0, 0, 0, 0, number]);
        let port_name = Wwn::from_u64(0x2000_0000_0000_0000 | u64::from(number) << 32 | u64::from(low_name));
        let node_name = Wwn::from_mac(0x1000, mac);
        let config = Config { vlan: VlanChoice::Untagged, ..Config::new(mac, node_name, port_name) };
        Self { host: Host::new(config), is_linked: false, has_left: false }
    }

    fn id(&self) -> Option<FcId> {
        self.host.vn_port.session().map(|session| session.fc_id)
    }

    fn phases(&self) -> Vec<PortPhase> {
        self.host.vn_port.remote_ports().map(|port| port.phase).collect()
    }

    fn is_offline(&self) -> bool {
        self.host.events.iter().any(|event| matches!(event, Event::Offline(_)))
    }
}

#[derive(Clone, Debug)]
struct World {
    places: Vec<Place>,
    now: Instant,
    /// Of a hundred frames, as many are lost on their way to each host.
    lost_percent: u64,
    chance: u64,
    /// The link services that hosts asked for, with the place of the one that asked.
    log: Vec<(usize, String)>,
}

impl World {
    fn new(places: Vec<Place>) -> Self {
        Self { places, now: Instant::ZERO + SECOND, lost_percent: 0, chance: 1, log: Vec::new() }
    }

    /// So many hosts whose links come up at once, and who have got to know each other.
    fn of(count: u8) -> Self {
        let mut world = Self::new((1..=count).map(|number| Place::new(number, number.into())).collect());
        (0..world.places.len()).for_each(|place| world.set_link(place, true));
        world.pass(SECOND * 2);
        world.check_logins();
        world.log.clear();
        world
    }

    fn set_link(&mut self, place: usize, is_up: bool) {
        let Place { host, is_linked, .. } = &mut self.places[place];
        *is_linked = is_up;
        if is_up {
            host.enode.link_up(self.now);
        } else {
            host.enode.link_down();
        }
        self.settle();
    }

    /// A host is started anew without a word, and without its link going down.
    fn restart(&mut self, place: usize) {
        let [.., number, _, _, high, low] = self.places[place].host.enode.config().port_name.0;
        self.places[place] = Place::new(number, u16::from_be_bytes([high, low]));
        self.set_link(place, true);
    }

    /// A host logs out everywhere.
    fn leave(&mut self, place: usize) {
        self.places[place].has_left = true;
        self.places[place].host.vn_port.shutdown(self.now);
        self.settle();
    }

    /// Carries frames to and fro until there are none.
    fn settle(&mut self) {
        loop {
            let mut on_wire = Vec::new();
            for (from, place) in self.places.iter_mut().enumerate() {
                let frames = place.host.settle(self.now).into_iter().map(|frame| (from, frame));
                on_wire.extend(frames.filter(|_| place.is_linked));
            }
            if on_wire.is_empty() {
                return;
            }
            for (from, frame) in on_wire {
                self.log.extend(asked(&frame).map(|command| (from, command)));
                self.carry(from, &frame);
            }
        }
    }

    fn carry(&mut self, from: usize, frame: &[u8]) {
        for (to, place) in self.places.iter_mut().enumerate() {
            self.chance ^= self.chance << 13;
            self.chance ^= self.chance >> 7;
            self.chance ^= self.chance << 17;
            let is_lost = (self.chance >> 32) % 100 < self.lost_percent;
            if to != from && place.is_linked && !is_lost {
                place.host.receive(self.now, frame);
            }
        }
    }

    /// Lets `duration` pass, deadline by deadline.
    fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        let next = |places: &[Place]| places.iter().filter_map(|place| place.host.poll_timeout()).min();
        while let Some(at) = next(&self.places).filter(|&at| at <= end) {
            self.now = self.now.max(at);
            self.places.iter_mut().for_each(|place| place.host.handle_timeout(self.now));
            self.settle();
            let after = next(&self.places);
            assert!(after.is_none_or(|after| after > self.now), "a deadline that stays: {after:?}");
        }
        self.now = end;
    }

    /// Everyone has an N_Port_ID of its own and is logged in with everyone else; nobody is a target.
    fn check_logins(&self) {
        let linked: Vec<_> = self.places.iter().filter(|place| place.is_linked).collect();
        let ids: BTreeSet<_> = linked.iter().filter_map(|place| place.id()).collect();
        assert_eq!(ids.len(), linked.len(), "{ids:?}");
        for place in &linked {
            assert_eq!(place.phases(), vec![PortPhase::NoTarget; linked.len() - 1], "{:?}", place.id());
        }
    }

    fn asked(&self, place: usize, command: &str) -> usize {
        self.log.iter().filter(|(from, asked)| *from == place && asked == command).count()
    }
}

/// The link service that a frame asks for.
fn asked(bytes: &[u8]) -> Option<String> {
    let (ethernet, payload) = EthernetHeader::parse(bytes).unwrap();
    let (header, payload) = if ethernet.ethertype == EtherType::FIP {
        let fip = FipFrame::parse(payload).unwrap();
        let els = fip.els().ok()?;
        (els.header, els.payload.clone())
    } else {
        let frame = FcoeFrame::parse(payload).unwrap();
        (*frame.header(), frame.payload().unwrap().to_vec())
    };
    let request = (header.r_ctl == RCtl::ELS_REQUEST).then(|| ElsRequest::parse(&payload).unwrap())?;
    Some(request.command().to_string())
}

#[test]
fn the_higher_name_sends_plogi() {
    let mut world = World::new(vec![Place::new(1, 1), Place::new(2, 2)]);
    world.set_link(0, true);
    world.set_link(1, true);
    world.pass(SECOND * 30);
    world.check_logins();
    assert_eq!((world.asked(0, "PLOGI"), world.asked(1, "PLOGI")), (0, 1));
    assert_eq!((world.asked(0, "PRLI"), world.asked(1, "PRLI")), (1, 1));
    assert!(world.asked(0, "FLOGI") + world.asked(1, "FLOGI") <= 2);
    let log = world.log.clone();
    world.pass(SECOND * 300);
    assert_eq!(world.log, log, "a login stays without a word");
}

#[test]
fn many_hosts_log_in_with_each_other() {
    World::of(8);
}

#[test]
fn who_comes_later_is_logged_in_with_at_once() {
    for later in [0, 1] {
        let mut world = World::new(vec![Place::new(1, 1), Place::new(2, 2)]);
        world.set_link(1 - later, true);
        world.pass(SECOND * 100);
        world.set_link(later, true);
        world.pass(SECOND);
        world.check_logins();
    }
}

#[test]
fn a_link_that_bounces_on_either_side_is_logged_in_over_again() {
    for host in [0, 1] {
        for millis in [1, 500, 5_000, 30_000] {
            let mut world = World::of(2);
            world.set_link(host, false);
            assert!(world.places[host].is_offline());
            world.pass(MILLI * millis);
            world.set_link(host, true);
            world.pass(RELOGIN);
            world.check_logins();
            assert!(world.asked(1, "PLOGI") >= 1, "host {host}, {millis} ms");
        }
    }
}

#[test]
fn a_peer_that_restarted_without_a_word_is_logged_in_with_again() {
    for host in [0, 1] {
        let mut world = World::of(2);
        world.pass(SECOND * 10);
        world.restart(host);
        world.pass(RELOGIN);
        world.check_logins();
        assert!(world.asked(1, "PLOGI") >= 1);
        let log = world.log.clone();
        world.pass(SECOND * 100);
        assert_eq!(world.log, log, "and it stays");
    }
}

#[test]
fn a_logout_ends_the_login_and_whoever_stays_tries_again() {
    for leaver in [0, 1] {
        let mut world = World::of(2);
        world.leave(leaver);
        assert_eq!(world.asked(leaver, "LOGO"), 1);
        assert_eq!(world.places[leaver].host.vn_port.phase(), Phase::Offline);
        assert_eq!(world.places[1 - leaver].phases(), [PortPhase::Waiting]);
        // It starts anew while the other one still tries.
        world.pass(SECOND * 3);
        world.restart(leaver);
        world.pass(RELOGIN);
        world.check_logins();
    }
}

#[test]
fn a_shutdown_waits_for_the_answers_but_not_for_ever() {
    let mut world = World::of(2);
    world.places[1].is_linked = false;
    world.leave(0);
    assert_eq!(world.places[0].host.vn_port.phase(), Phase::LoggingOut);
    world.pass(SECOND * 21);
    assert_eq!(world.places[0].host.vn_port.phase(), Phase::Offline);
    assert!(world.places[0].is_offline());
}

#[test]
fn a_cable_that_is_cut_in_between_is_noticed_and_mended() {
    let mut world = World::of(2);
    world.lost_percent = 100;
    world.pass(SECOND * 21);
    for place in &world.places {
        assert_eq!((place.host.enode.neighbours(), place.phases()), (vec![], vec![]));
        assert!(place.id().is_some(), "the N_Port_ID stays");
    }
    world.lost_percent = 0;
    // A beacon, the claim that answers it, and the other side's beacon.
    world.pass(SECOND * 18);
    world.check_logins();
}

#[test]
fn two_segments_with_one_id_are_joined() {
    for (low, high) in [(0, 1), (1, 0)] {
        let mut world = World::new(vec![Place::new(1, 7), Place::new(2, 7)]);
        world.lost_percent = 100;
        world.set_link(low, true);
        world.pass(SECOND * 3);
        world.set_link(high, true);
        world.pass(SECOND * 3);
        assert_eq!(world.places[0].id(), world.places[1].id());
        world.lost_percent = 0;
        world.pass(SECOND * 10);
        world.check_logins();
        assert_eq!(world.places[1].id(), Some(FcId([0, 0, 7])), "the higher name keeps it");
    }
}

/// What happens to the hosts.
#[derive(Clone, Copy, Debug)]
enum Step {
    Pass(u16),
    Link(usize, bool),
    Restart(usize),
    Leave(usize),
    Lose(u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u16..9000).prop_map(Step::Pass),
        2 => (0usize..3, any::<bool>()).prop_map(|(host, is_up)| Step::Link(host, is_up)),
        1 => (0usize..3).prop_map(Step::Restart),
        1 => (0usize..3).prop_map(Step::Leave),
        2 => prop_oneof![Just(0u64), 1u64..60, Just(100)].prop_map(Step::Lose),
    ]
}

impl World {
    fn take(&mut self, step: Step) {
        match step {
            Step::Pass(millis) => self.pass(MILLI * millis.into()),
            Step::Link(host, is_up) => self.set_link(host, is_up),
            Step::Restart(host) => self.restart(host),
            Step::Leave(host) => self.leave(host),
            Step::Lose(percent) => self.lost_percent = percent,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever happened before, all of them wanting one N_Port_ID: once the world is well, no claim of one is left
    /// standing twice, and everyone is logged in with everyone.
    #[test]
    fn all_is_well_in_the_end(steps in vec_of(any_step(), 0..40), seed in 1..u64::MAX) {
        let mut world = World::new((1..=3).map(|number| Place::new(number, 7)).collect());
        world.chance = seed;
        for step in steps {
            world.take(step);
        }
        world.lost_percent = 0;
        for host in 0..world.places.len() {
            if world.places[host].has_left || !world.places[host].is_linked {
                world.restart(host);
            }
        }
        // A request that was lost is repeated after 20 s, and waits after failures grow to 37 s.
        world.pass(SECOND * 200);
        world.check_logins();
        let log = world.log.len();
        world.pass(SECOND * 100);
        prop_assert_eq!(world.log.len(), log, "logins stay");
    }

    /// The same while one frame in a few is lost for good: no claim of one N_Port_ID stands twice for longer than it
    /// takes to hear of it.
    #[test]
    fn no_id_stays_claimed_twice(lost_percent in 0u64..40, seed in 1..u64::MAX, offset in 0u16..2000) {
        let mut world = World::new((1..=3).map(|number| Place::new(number, 7)).collect());
        world.chance = seed;
        world.lost_percent = lost_percent;
        for host in 0..3 {
            world.set_link(host, true);
            world.pass(MILLI * offset.into());
        }
        world.pass(SECOND * 120);
        let ids: BTreeSet<_> = world.places.iter().filter_map(Place::id).collect();
        prop_assert_eq!(ids.len(), 3);
    }
}
