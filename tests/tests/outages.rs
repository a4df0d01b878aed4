//! How long a disk's I/O stands still when something of the SAN goes, and comes back: real rings on veth, and a
//! disk under load all the while.
//!
//! Each test prints what it measured, from the moment when all is well again.

use fc::wire::{MacAddr, Wwn};
use initiator::{Config, Initiator};
use san::{Death, FaultsConfig, Order, SanConfig};
use std::thread;
use std::time::{Duration, Instant};
use tests::load::{Load, alone};
use tests::{have_root, in_network_namespace, ip, only_disk, start_san, veth_pair};
use xfcoe::san_thread::SanThread;

const MTU: u32 = 2500;
/// FKA_ADV_PERIOD: an FCF that is silent for 2.5 of them is gone.
const FKA_MS: u32 = 500;

/// A SAN and an initiator on a veth pair, and a disk under load.
struct World {
    san: SanThread,
    target: Wwn,
    load: Load,
    initiator: Initiator,
}

impl World {
    fn new(ours: &str, sans: &str, config: SanConfig) -> Self {
        veth_pair(ours, sans, MTU);
        let target = config.targets[0].wwpn;
        let san = start_san(sans, config);
        let initiator = Initiator::start(Config::new(ours)).unwrap();
        let disk = only_disk(&initiator);
        let load = Load::start(&disk);
        Self { san, target, load, initiator }
    }

    fn order(&self, order: Order) {
        self.san.order(order).unwrap();
    }

    fn kill(&self, how: Death) {
        self.order(Order::Kill { target: self.target, how });
    }

    fn revive(&self) {
        self.order(Order::Revive { target: self.target });
    }

    /// What an operator sees of port and target now.
    fn sight(&self) -> String {
        let inventory = self.initiator.inventory();
        let port = inventory.vn_ports.first().map_or("no VN_Port", |port| &port.state);
        let target = inventory.targets.first().and_then(|target| target.gone.as_deref());
        format!("{port}; target {}", target.unwrap_or("there"))
    }

    fn end(self) {
        self.load.end();
        self.initiator.stop();
        self.san.stop().unwrap();
    }
}

fn config() -> SanConfig {
    let mut config = SanConfig::default();
    config.fcf.fka_adv_period_ms = FKA_MS;
    config
}

/// Lets something go for `outage`, and says how long it took until the load went on after it was back.
#[allow(clippy::print_stderr, reason = "the figures are for who runs the tests")]
fn measure(
    what: &str,
    world: &World,
    outage: Duration,
    go: impl FnOnce(),
    come: impl FnOnce(),
    bound: Duration,
) {
    world.load.resumed(Instant::now());
    go();
    thread::sleep(outage);
    let sight = world.sight();
    come();
    let (first, all) = world.load.resumed(Instant::now());
    eprintln!(
        "OUTAGE {what}: I/O goes on {} ms after it, all of it {} ms; seen: {sight}",
        first.as_millis(),
        all.as_millis()
    );
    assert!(first <= bound, "{what}: {first:?}, more than {bound:?}");
}

/// Without loss and with 1% of frames lost, each way.
fn on_either_link(
    what: &str,
    outage: Duration,
    go: impl Fn(&World) + Sync,
    come: impl Fn(&World) + Sync,
    bound: Duration,
) {
    if !have_root() {
        return;
    }
    let _alone = alone();
    for (loss_ppm, link) in [(0, "good link"), (10_000, "1% lost")] {
        in_network_namespace(|| {
            let world = World::new("xfcoe0", "san0", config());
            world.order(Order::Faults(FaultsConfig { loss_ppm, seed: 1, ..FaultsConfig::default() }));
            let bound = if loss_ppm == 0 { bound } else { bound + LOST_LOGIN };
            measure(&format!("{what}, {link}"), &world, outage, || go(&world), || come(&world), bound);
            world.end();
        });
    }
}

/// What loss may add: a frame of the login, twice.
const LOST_LOGIN: Duration = Duration::from_secs(15);
/// FIP, which waits 2 s before it chooses an FCF, and the login.
const LOGIN_ANEW: Duration = Duration::from_secs(5);
/// A target that was silent is asked again, after twice as long each time.
const ASKED_AGAIN: Duration = Duration::from_secs(5);

#[test]
fn an_fcf_restarts() {
    let restart = |world: &World| world.order(Order::Restart);
    on_either_link("FCF restarts", Duration::ZERO, restart, |_| {}, LOGIN_ANEW);
}

#[test]
fn an_fcf_falls_silent_and_returns() {
    let (stop, start) = (|world: &World| world.order(Order::Stop), |world: &World| world.order(Order::Start));
    // Longer than 2.5 FKA_ADV_PERIODs, after which it is gone, and shorter.
    on_either_link("FCF silent for 3 s", Duration::from_secs(3), stop, start, LOGIN_ANEW);
    on_either_link("FCF silent for 0.5 s", Duration::from_millis(500), stop, start, LOGIN_ANEW);
}

#[test]
fn a_link_flaps() {
    let set = |state| move |_: &World| drop(ip(&["link", "set", "san0", state]));
    on_either_link("link down for 1 s", Duration::from_secs(1), set("down"), set("up"), LOGIN_ANEW);
}

#[test]
fn a_target_goes_and_comes() {
    for (how, what, bound) in [
        (Death::Unplugged, "target unplugged for 1 s", LOGIN_ANEW),
        (Death::LoggedOut, "target logs out for 1 s", LOGIN_ANEW),
        (Death::Silent, "target silent for 1 s", ASKED_AGAIN),
    ] {
        on_either_link(what, Duration::from_secs(1), |world| world.kill(how), World::revive, bound);
    }
}

#[test]
fn of_two_fabrics_one_is_pulled() {
    if !have_root() {
        return;
    }
    let _alone = alone();
    in_network_namespace(|| {
        let mut other = config();
        let mac = MacAddr([0x02, 0xfc, 0xf0, 0, 0, 0x02]);
        (other.fcf.mac, other.fcf.domain) = (mac, 2);
        other.fcf.switch_name = Wwn::from_mac(0x1000, mac);
        other.fcf.fabric_name = Wwn::from_mac(0x2001, mac);
        other.targets[0].wwpn = Wwn::from_mac(0x2000, mac);
        let (stays, goes) = (World::new("xfcoe0", "san0", config()), World::new("xfcoe1", "san1", other));
        let set = |state| move || drop(ip(&["link", "set", "san1", state]));
        stays.load.take_longest();
        let what = "one of two fabrics pulled for 1 s";
        measure(what, &goes, Duration::from_secs(1), set("down"), set("up"), LOGIN_ANEW);
        let standstill = stays.load.take_longest();
        assert!(standstill < Duration::from_secs(1), "the other fabric stood still for {standstill:?}");
        stays.end();
        goes.end();
    });
}
