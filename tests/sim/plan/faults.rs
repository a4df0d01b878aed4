//! What goes wrong, and when.

use super::host_mac;
use super::identities::{Who, port_name};
use crate::chance::Chance;
use crate::switch::Weather;
use datapath::port::faults::{MILLION, Rates};
use fc::time::Duration;
use fc::wire::Wwn;
use fc::wire::fcp::TaskManagement;
use san::{CommandFailure, Death, Fault, FaultsConfig, LoginKind, Order, PortAccess, SanConfig};

/// How late a frame is in a network that is merely uneven, in times that one frame takes.
const UNEVENNESS: u32 = 12;

/// Something that happens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    /// Since the beginning.
    pub(crate) at: Duration,
    pub(crate) what: What,
}

/// What happens. Ports are the switch's.
#[derive(Clone, Copy, Debug)]
pub(crate) enum What {
    /// The weather on the way to a port.
    Weather { port: usize, weather: Weather },
    /// The link of an initiator's port goes or comes.
    Link { port: usize, is_up: bool },
    /// A link is cut or mended where neither end can see it.
    Cut { port: usize, is_cut: bool },
    /// A port takes no frames for so long.
    Pause { port: usize, time: Duration },
    /// Who is at a port does nothing for so long, as if it had no CPU.
    Freeze { port: usize, time: Duration },
    /// One of the poll cores of an initiator's port does nothing for so long.
    Stand { port: usize, core: usize, time: Duration },
    /// An initiator has a task management function carried out at one of its disks.
    Manage { host: usize, disk: usize, function: TaskManagement },
    /// An identity of an initiator goes from one of its ports, or comes.
    Identity { port: usize, who: Who, is_there: bool },
    /// Another ENode with an initiator's MAC address comes or goes.
    Twin { is_there: bool },
    /// A SAN carries out an order.
    Order { san: usize, order: Order },
}

/// Kinds of faults. A seed has some of them: with all of them at once, none would be alone.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Weather(WeatherKind),
    LinkFlap,
    Cut,
    Pause,
    Freeze,
    Stand,
    Restart,
    ClearLink,
    Away,
    Death(Death),
    Storm,
    Stall,
    SlowTarget,
    FailedCommands,
    RejectedLogins,
    TaskManagement,
    Access,
    Twin,
    Identity,
}

/// Kinds of weather.
#[derive(Clone, Copy, Debug)]
enum WeatherKind {
    Bad,
    OldFrames,
    LostAborts,
    Forger,
}

const KINDS: [Kind; 24] = [
    Kind::Weather(WeatherKind::Bad),
    Kind::Weather(WeatherKind::OldFrames),
    Kind::Weather(WeatherKind::LostAborts),
    Kind::Weather(WeatherKind::Forger),
    Kind::LinkFlap,
    Kind::Cut,
    Kind::Pause,
    Kind::Freeze,
    Kind::Stand,
    Kind::Restart,
    Kind::ClearLink,
    Kind::Away,
    Kind::Death(Death::Unplugged),
    Kind::Death(Death::LoggedOut),
    Kind::Death(Death::Silent),
    Kind::Storm,
    Kind::Stall,
    Kind::SlowTarget,
    Kind::FailedCommands,
    Kind::RejectedLogins,
    Kind::TaskManagement,
    Kind::Access,
    Kind::Twin,
    Kind::Identity,
];

/// Where it happens.
pub(super) struct Place<'a> {
    pub(super) hosts: usize,
    pub(super) ports_per_host: usize,
    pub(super) identities: usize,
    pub(super) sans: &'a [SanConfig],
    pub(super) latency: Duration,
    pub(super) faults_for: Duration,
}

/// Chooses what goes wrong.
pub(super) fn events(chance: &mut Chance, place: &Place<'_>) -> Vec<Event> {
    let mut faults = Faults { place, chance, events: Vec::new() };
    for kind in KINDS {
        if faults.chance.happens(300_000) {
            (0..faults.chance.between(1, 4)).for_each(|_| faults.add(kind));
        }
    }
    let Faults { mut events, .. } = faults;
    events.sort_by_key(|event| event.at);
    events
}

struct Faults<'a> {
    place: &'a Place<'a>,
    chance: &'a mut Chance,
    events: Vec<Event>,
}

impl Faults<'_> {
    fn add(&mut self, kind: Kind) {
        let at = self.time_up_to(self.place.faults_for);
        match kind {
            Kind::Weather(kind) => {
                let weather = self.weather_of(kind);
                self.weather(at, weather);
            }
            Kind::LinkFlap => {
                let port = self.chance.below(self.host_ports() as u64) as usize;
                let time = self.outage();
                self.push(at, What::Link { port, is_up: false });
                self.push(at + time, What::Link { port, is_up: true });
            }
            Kind::Cut => {
                let (port, time) = (self.port(), self.outage());
                self.push(at, What::Cut { port, is_cut: true });
                self.push(at + time, What::Cut { port, is_cut: false });
            }
            Kind::Pause => {
                let (port, time) = (self.port(), self.pause());
                self.push(at, What::Pause { port, time });
            }
            Kind::Freeze => {
                let (port, time) = (self.port(), self.pause());
                self.push(at, What::Freeze { port, time });
            }
            Kind::Stand => self.stand(at),
            Kind::Restart => self.order(at, Order::Restart),
            Kind::ClearLink => self.clear_link(at),
            Kind::Away => {
                let (san, time) = (self.san(), self.outage());
                self.push(at, What::Order { san, order: Order::Stop });
                self.push(at + time, What::Order { san, order: Order::Start });
            }
            Kind::Death(how) => {
                let time = self.outage();
                self.death(at, how, time);
            }
            Kind::Storm => self.storm(at),
            Kind::Stall => {
                let (san, target) = self.target();
                let ms = self.chance.between(10, 15_000) as u32;
                self.push(at, What::Order { san, order: Order::Stall { target, ms } });
            }
            Kind::SlowTarget => {
                let order = self.slow_target();
                self.order(at, order);
            }
            Kind::FailedCommands => {
                let order = self.failed_commands();
                self.order(at, order);
            }
            Kind::RejectedLogins => self.reject_logins(at),
            Kind::Identity if self.place.identities == 0 => {}
            Kind::Identity => self.identity(at),
            Kind::Twin => {
                let time = self.outage();
                self.push(at, What::Twin { is_there: true });
                self.push(at + time, What::Twin { is_there: false });
            }
            Kind::Access => {
                let ((san, target), access) = (self.target(), self.access());
                self.push(at, What::Order { san, order: Order::Access { target, access } });
            }
            Kind::TaskManagement => self.manage(at),
        }
    }

    fn manage(&mut self, at: Duration) {
        let (host, disk, function) = (self.host(), self.chance.below(16) as usize, self.function());
        self.push(at, What::Manage { host, disk, function });
    }

    fn stand(&mut self, at: Duration) {
        let port = self.chance.below(self.host_ports() as u64) as usize;
        let (core, time) = (self.chance.below(8) as usize, self.pause());
        self.push(at, What::Stand { port, core, time });
    }

    /// Logins are refused for a while.
    fn reject_logins(&mut self, at: Duration) {
        let login =
            self.chance.one_of(&[LoginKind::Flogi, LoginKind::Fdisc, LoginKind::Plogi, LoginKind::Prli]);
        let count = self.chance.between(1, 4) as u32;
        self.order(at, Order::Inject { fault: Fault::Reject(login), count });
        // Nobody logs in who is logged in.
        self.order(at, Order::Restart);
    }

    /// An identity goes from a port, and comes back.
    fn identity(&mut self, at: Duration) {
        let port = self.chance.below(self.host_ports() as u64) as usize;
        let who = self.chance.between(1, self.place.identities as u64) as Who;
        let time = self.outage();
        self.push(at, What::Identity { port, who, is_there: false });
        self.push(at + time, What::Identity { port, who, is_there: true });
    }

    fn clear_link(&mut self, at: Duration) {
        let host = self.host() as u64;
        let port = self.chance.below(self.place.ports_per_host as u64) as u8;
        let who = self.chance.below(self.place.identities as u64 + 1) as Who;
        let initiator = port_name(host_mac(host, port), who);
        self.order(at, Order::ClearLink { initiator });
    }

    /// Targets go and come, one after the other.
    fn storm(&mut self, at: Duration) {
        for number in 0..self.chance.between(3, 8) {
            let gap = self.time_up_to(Duration::from_millis(100));
            self.death(at + Duration::from_millis(number * 50), Death::Unplugged, gap);
        }
    }

    fn slow_target(&mut self) -> Order {
        Order::Faults(FaultsConfig {
            seed: self.chance.seed(),
            busy_ppm: self.chance.one_of(&[0, 10_000, 300_000]),
            task_set_full_ppm: self.chance.one_of(&[0, 10_000, 300_000]),
            stall_ppm: self.chance.one_of(&[0, 1000, 100_000]),
            stall_ms: self.chance.between(1, 3000) as u32,
            ..FaultsConfig::default()
        })
    }

    fn failed_commands(&mut self) -> Order {
        let failure = self.chance.one_of(&[
            CommandFailure::Busy,
            CommandFailure::TaskSetFull,
            CommandFailure::ReservationConflict,
            CommandFailure::AbortedCommand,
            CommandFailure::NotReady,
            CommandFailure::MediumError,
            CommandFailure::HardwareError,
        ]);
        Order::Inject { fault: Fault::Fail(failure), count: self.chance.between(1, 30) as u32 }
    }

    fn push(&mut self, at: Duration, what: What) {
        self.events.push(Event { at, what });
    }

    fn order(&mut self, at: Duration, order: Order) {
        let san = self.san();
        self.push(at, What::Order { san, order });
    }

    /// Some weather at one port, or at all of them, for some time.
    fn weather(&mut self, at: Duration, weather: Weather) {
        let ports = self.host_ports() + self.place.sans.len();
        let time = self.time_up_to(self.place.faults_for / 2);
        let only = self.chance.happens(500_000).then(|| self.port());
        for port in (0..ports).filter(|port| only.is_none_or(|only| only == *port)) {
            self.push(at, What::Weather { port, weather });
            self.push(at + time, What::Weather { port, weather: Weather::default() });
        }
    }

    fn weather_of(&mut self, kind: WeatherKind) -> Weather {
        let none = Weather::default();
        match kind {
            WeatherKind::Bad => Weather { rates: self.bad_rates(), ..none },
            WeatherKind::OldFrames => {
                let stale_ppm = self.chance.one_of(&[1000, 20_000, 200_000]);
                Weather { stale_ppm, max_age: self.lateness(), ..none }
            }
            WeatherKind::LostAborts => {
                // Late data of writes whose end the target is not told of.
                let rates = Rates {
                    loss_ppm: self.chance.one_of(&[0, 20_000]),
                    delay_ppm: self.chance.one_of(&[20_000, 200_000]),
                    delay: self.lateness(),
                    ..Rates::default()
                };
                let lost_aborts_ppm = self.chance.one_of(&[500_000, 900_000, MILLION]);
                Weather { rates, lost_aborts_ppm, ..none }
            }
            WeatherKind::Forger => {
                Weather { forged_ppm: self.chance.one_of(&[1000, 20_000, 500_000]), ..none }
            }
        }
    }

    fn bad_rates(&mut self) -> Rates {
        let mut some = |most| self.chance.one_of(&[0, 0, most / 100, most / 10, most]);
        let rates = Rates {
            loss_ppm: some(100_000),
            duplicate_ppm: some(100_000),
            corrupt_ppm: some(50_000),
            truncate_ppm: some(50_000),
            reorder_ppm: some(200_000),
            delay_ppm: some(200_000),
            delay: Duration::ZERO,
        };
        Rates { delay: self.lateness(), ..rates }
    }

    /// A target goes, and comes back.
    fn death(&mut self, at: Duration, how: Death, time: Duration) {
        let (san, target) = self.target();
        self.push(at, What::Order { san, order: Order::Kill { target, how } });
        self.push(at + time, What::Order { san, order: Order::Revive { target } });
    }

    fn function(&mut self) -> TaskManagement {
        self.chance.one_of(&[
            TaskManagement::LUN_RESET,
            TaskManagement::TARGET_RESET,
            TaskManagement::ABORT_TASK_SET,
            TaskManagement::CLEAR_TASK_SET,
        ])
    }

    fn access(&mut self) -> PortAccess {
        self.chance.one_of(&[
            PortAccess::Optimized,
            PortAccess::NonOptimized,
            PortAccess::Standby,
            PortAccess::Unavailable,
        ])
    }

    const fn host_ports(&self) -> usize {
        self.place.hosts * self.place.ports_per_host
    }

    fn host(&mut self) -> usize {
        self.chance.below(self.place.hosts as u64) as usize
    }

    fn port(&mut self) -> usize {
        self.chance.below((self.host_ports() + self.place.sans.len()) as u64) as usize
    }

    fn san(&mut self) -> usize {
        self.chance.below(self.place.sans.len() as u64) as usize
    }

    fn target(&mut self) -> (usize, Wwn) {
        let san = self.san();
        let targets = &self.place.sans[san].targets;
        (san, targets[self.chance.below(targets.len() as u64) as usize].wwpn)
    }

    fn time_up_to(&mut self, most: Duration) -> Duration {
        let most = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(self.chance.below(most + 1))
    }

    /// From a moment to half a minute.
    fn outage(&mut self) -> Duration {
        let most = self.chance.one_of(&[10, 1000, 5000, 30_000]);
        self.time_up_to(Duration::from_millis(most))
    }

    /// A part of R_A_TOV, the longest that the network may keep a frame.
    fn pause(&mut self) -> Duration {
        let most = u64::from(self.place.sans[0].r_a_tov_ms) / 4;
        let most = self.chance.one_of(&[1, 20, most]);
        self.time_up_to(Duration::from_millis(most))
    }

    /// How late a frame may be, or how old when it comes again: half of the longest that the network of a fabric may
    /// keep it, since what comes late may be the answer to what came late. An initiator gives its OX_IDs in turn, and no
    /// load here has so many commands in this time that one came back.
    fn lateness(&mut self) -> Duration {
        let half_r_a_tov = Duration::from_millis(self.place.sans[0].r_a_tov_ms.into()) / 2;
        let most = [self.place.latency * UNEVENNESS, half_r_a_tov];
        let most = self.chance.one_of(&most);
        self.time_up_to(most)
    }
}
