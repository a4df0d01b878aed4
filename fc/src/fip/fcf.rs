//! The FCFs heard on a VLAN: which of them can be used, and which is the best.

use super::config::{Addressing, Config, Preferred};
use crate::time::{Duration, Instant};
use crate::wire::fip::{Fabric, FcMap, FipFrame, FkaAdvPeriod, Flags};
use crate::wire::{MacAddr, WireError, Wwn};
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::fmt;

/// The most FCFs that an ENode remembers; Linux's limit, and beyond any real VLAN.
pub const MAX_FCFS: usize = 20;
/// Shorter periods than this aren't legal and are taken for the default.
const MIN_FKA_MS: u32 = 250;
/// Longer ones are cut: an FCF that is gone must be noticed.
const MAX_FKA_MS: u32 = 90_000;
/// How often one FCF is asked to prove the path's MTU.
const MIN_SOLICITATION_GAP: Duration = Duration::from_secs(2);

/// An FCF as its latest advertisement describes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fcf {
    /// The FCF-MAC, which FIP frames go to.
    pub mac: MacAddr,
    /// The switch's name.
    pub switch_name: Wwn,
    /// The fabric.
    pub fabric: Fabric,
    /// The lower number wins.
    pub priority: u8,
    /// The flags of the advertisement, without S.
    pub flags: Flags,
    /// The period as it is kept to: an illegal one is replaced.
    pub fka: FkaAdvPeriod,
}

impl Fcf {
    /// Reads an advertisement, which needs five descriptors (FC-BB-5, 7.9.7).
    pub(super) fn from_advertisement(frame: &FipFrame) -> Result<Self, WireError> {
        let advertised = frame.fka_adv_period()?;
        let period_ms = match advertised.period_ms {
            ..MIN_FKA_MS => FkaAdvPeriod::DEFAULT_MS,
            legal => legal.min(MAX_FKA_MS),
        };
        Ok(Self {
            mac: frame.mac()?,
            switch_name: frame.name()?,
            fabric: frame.fabric()?,
            priority: frame.priority()?,
            flags: Flags(frame.flags.0 & !Flags::SOLICITED.0),
            fka: FkaAdvPeriod { period_ms, ..advertised },
        })
    }

    /// Whether it is the one that it was: a login with one that isn't is void.
    fn is_same_as(&self, other: &Self) -> bool {
        (self.switch_name, self.fabric) == (other.switch_name, other.fabric)
    }

    fn is_preferred(&self, preferred: Option<Preferred>) -> bool {
        match preferred {
            Some(Preferred::Switch(name)) => name == self.switch_name,
            Some(Preferred::Mac(mac)) => mac == self.mac,
            None => false,
        }
    }
}

/// Why an FCF isn't used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// A login with it failed; it is tried again after a while.
    LoginFailed,
    /// It takes no logins.
    NotAvailable,
    /// It doesn't provide MAC addresses, and the ENode has none to propose.
    NoFabricAddresses,
    /// It doesn't take MAC addresses that the ENode proposes.
    NoServerAddresses,
    /// Neither of them.
    NoAddresses,
    /// No FPMA can begin with its FC-MAP.
    BadFcMap(FcMap),
    /// The configuration wants another FC-MAP.
    OtherFcMap {
        /// Configured.
        wanted: FcMap,
        /// Advertised.
        advertised: FcMap,
    },
    /// It hasn't answered a solicitation yet, so the path's MTU isn't proven.
    NotSolicited,
    /// Its answer to the solicitation is too short to prove the path's MTU.
    TooShort {
        /// Bytes of L2 payload needed.
        need: usize,
        /// Bytes that came.
        have: usize,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LoginFailed => f.write_str("a login with it failed"),
            Self::NotAvailable => f.write_str("it takes no logins (A bit clear)"),
            Self::NoFabricAddresses => f.write_str("it provides no MAC addresses (FP bit clear)"),
            Self::NoServerAddresses => f.write_str("it takes no proposed MAC addresses (SP bit clear)"),
            Self::NoAddresses => f.write_str(
                "it neither provides MAC addresses nor takes proposed ones (FP and SP bits clear)",
            ),
            Self::BadFcMap(map) => write!(f, "its FC-MAP {map} can't begin a unicast MAC address"),
            Self::OtherFcMap { wanted, advertised } => {
                write!(f, "its FC-MAP is {advertised}, {wanted} is configured")
            }
            Self::NotSolicited => f.write_str("it hasn't answered a solicitation yet"),
            Self::TooShort { need, have } => {
                write!(f, "its solicited advertisement has {have} of {need} bytes: check the path's MTU")
            }
        }
    }
}

/// One line of what an operator sees of the FCFs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FcfStatus {
    /// The FCF.
    pub fcf: Fcf,
    /// Whether it is in use.
    pub selected: bool,
    /// Why it can't be used; `None` if it can.
    pub refusal: Option<Refusal>,
}

/// An FCF and what was found out about it.
#[derive(Clone, Debug)]
struct Entry {
    fcf: Fcf,
    heard_at: Instant,
    /// An advertisement is overdue by half a period.
    missed: bool,
    /// When it last answered a solicitation, and with how many bytes.
    solicited: Option<(Instant, usize)>,
    /// When it was last asked by a solicitation of its own.
    asked_at: Option<Instant>,
    /// Until when a failed login speaks against it.
    barred_until: Option<Instant>,
}

impl Entry {
    fn refusal(&self, config: &Config) -> Option<Refusal> {
        let (flags, map) = (self.fcf.flags, self.fcf.fabric.fc_map);
        if self.barred_until.is_some() {
            return Some(Refusal::LoginFailed);
        }
        if !flags.has(Flags::AVAILABLE) {
            return Some(Refusal::NotAvailable);
        }
        if flags.common(config.addressing.flags()) == Flags::NONE {
            return Some(match config.addressing {
                Addressing::Fabric => Refusal::NoFabricAddresses,
                Addressing::Server => Refusal::NoServerAddresses,
                Addressing::Either => Refusal::NoAddresses,
            });
        }
        if map.0[0] & 1 != 0 || map.0 == [0; 3] {
            return Some(Refusal::BadFcMap(map));
        }
        if let Some(wanted) = config.fc_map.filter(|&wanted| wanted != map) {
            return Some(Refusal::OtherFcMap { wanted, advertised: map });
        }
        let need = usize::from(config.max_fcoe_size);
        match self.solicited {
            None => Some(Refusal::NotSolicited),
            Some((_, have)) if have < need => Some(Refusal::TooShort { need, have }),
            Some(_) => None,
        }
    }

    fn missed_at(&self) -> Instant {
        self.heard_at + self.fcf.fka.period() * 3 / 2
    }

    fn gone_at(&self) -> Instant {
        self.heard_at + self.fcf.fka.period() * 5 / 2
    }
}

/// What an advertisement changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Heard {
    /// A new FCF, or one that is as it was.
    Noted,
    /// The FCF-MAC now stands for another switch or fabric.
    Changed,
    /// There is no room for it.
    Full,
}

/// The FCFs heard on the VLAN in use, at most [`MAX_FCFS`].
#[derive(Clone, Debug, Default)]
pub(super) struct FcfTable(Vec<Entry>);

impl FcfTable {
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn contains(&self, mac: MacAddr) -> bool {
        self.0.iter().any(|entry| entry.fcf.mac == mac)
    }

    /// Takes an advertisement in. `solicited_len` is there if it was sent to us alone: its L2 payload.
    pub(super) fn heard(&mut self, now: Instant, fcf: Fcf, solicited_len: Option<usize>) -> Heard {
        let solicited = solicited_len.map(|len| (now, len));
        if let Some(entry) = self.0.iter_mut().find(|entry| entry.fcf.mac == fcf.mac) {
            let heard = if entry.fcf.is_same_as(&fcf) { Heard::Noted } else { Heard::Changed };
            if heard == Heard::Changed {
                entry.solicited = None;
                entry.barred_until = None;
            }
            entry.solicited = solicited.or(entry.solicited);
            entry.fcf = fcf;
            entry.heard_at = now;
            entry.missed = false;
            return heard;
        }
        if self.0.len() == MAX_FCFS {
            return Heard::Full;
        }
        self.0.push(Entry {
            fcf,
            heard_at: now,
            missed: false,
            solicited,
            asked_at: None,
            barred_until: None,
        });
        Heard::Noted
    }

    /// Whether `mac` should be asked to prove the path's MTU now; the answer is noted.
    pub(super) fn should_solicit(&mut self, now: Instant, mac: MacAddr, config: &Config) -> bool {
        let Some(entry) = self.0.iter_mut().find(|entry| entry.fcf.mac == mac) else { return false };
        let unproven =
            matches!(entry.refusal(config), Some(Refusal::NotSolicited | Refusal::TooShort { .. }));
        let recently = entry.asked_at.is_some_and(|asked| now < asked + MIN_SOLICITATION_GAP);
        if !unproven || recently {
            return false;
        }
        entry.asked_at = Some(now);
        true
    }

    /// Notes that every FCF has just been asked, by multicast.
    pub(super) fn all_solicited(&mut self, now: Instant) {
        for entry in &mut self.0 {
            entry.asked_at = Some(now);
        }
    }

    /// A login with `mac` failed: it isn't chosen again until `until`.
    pub(super) fn bar(&mut self, mac: MacAddr, until: Instant) {
        if let Some(entry) = self.0.iter_mut().find(|entry| entry.fcf.mac == mac) {
            entry.barred_until = Some(until);
        }
    }

    /// The FCF to use, and whether it is the preferred one: that first, then the lowest priority number, then
    /// the one that answered a solicitation last, then the lowest switch name.
    pub(super) fn best(&self, config: &Config) -> Option<(Fcf, bool)> {
        let usable = self.0.iter().filter(|entry| entry.refusal(config).is_none());
        let best = usable.min_by_key(|Entry { fcf, solicited, .. }| {
            let answered_at = solicited.map(|(at, _)| at);
            let others_first = !fcf.is_preferred(config.preferred);
            (others_first, fcf.priority, Reverse(answered_at), fcf.switch_name, fcf.mac)
        });
        best.map(|entry| (entry.fcf, entry.fcf.is_preferred(config.preferred)))
    }

    /// Forgets FCFs whose advertisements stay away and failed logins of long ago. Gives how many
    /// advertisements were newly missed.
    pub(super) fn expire(&mut self, now: Instant) -> u64 {
        let mut missed = 0;
        for entry in &mut self.0 {
            if !entry.missed && now >= entry.missed_at() {
                entry.missed = true;
                missed += 1;
            }
            entry.barred_until = entry.barred_until.filter(|&until| now < until);
        }
        self.0.retain(|entry| now < entry.gone_at());
        missed
    }

    /// When [`Self::expire`] has something to do.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let overdue = self.0.iter().map(|e| if e.missed { e.gone_at() } else { e.missed_at() });
        let barred = self.0.iter().filter_map(|entry| entry.barred_until);
        overdue.chain(barred).min()
    }

    pub(super) fn status(&self, config: &Config, selected: Option<MacAddr>) -> Vec<FcfStatus> {
        let status = |entry: &Entry| FcfStatus {
            fcf: entry.fcf,
            selected: selected == Some(entry.fcf.mac),
            refusal: entry.refusal(config),
        };
        self.0.iter().map(status).collect()
    }
}
