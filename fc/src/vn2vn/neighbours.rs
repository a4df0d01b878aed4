//! The VN2VN ports heard on a VLAN: which of them are neighbours to log in to.

use super::config::{Config, LossReason};
use crate::time::{Duration, Instant};
use crate::wire::fcoe::max_payload_len;
use crate::wire::fip::{FcMap, FipFrame, VxPort};
use crate::wire::{FcId, MacAddr, WireError, Wwn};
use alloc::vec::Vec;
use core::fmt;

/// The most neighbours that an ENode remembers: VN2VN is for a rack, and every port there talks to every other one.
pub const MAX_NEIGHBOURS: usize = 256;
/// Silence after which a neighbour is gone: 2.5 beacon periods.
const MAX_SILENCE: Duration = Duration::from_secs(20);

/// A port as its latest frame describes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Neighbour {
    /// The ENode MAC, which FIP frames go to.
    pub mac: MacAddr,
    /// The node's name.
    pub node_name: Wwn,
    /// The VN_Port: where FCoE frames go, and its name.
    pub port: VxPort,
    /// The largest L2 payload that it takes; `None` before a claim of its has told.
    pub max_fcoe_size: Option<u16>,
}

impl Neighbour {
    /// Reads who sent a VN2VN frame, by the three descriptors that all of them need (FC-BB-6).
    pub(super) fn from_frame(frame: &FipFrame) -> Result<Self, WireError> {
        let (mac, node_name, port) = (frame.mac()?, frame.name()?, frame.vx_port()?);
        let is_id = matches!(port.fc_id.to_u32(), 1..=0xfffe);
        if !is_id || port.mac != MacAddr::fabric_provided(FcMap::VN2VN.0, port.fc_id) {
            return Err(WireError::BadValue { what: "VN2VN N_Port_ID", value: port.fc_id.to_u32().into() });
        }
        Ok(Self { mac, node_name, port, max_fcoe_size: frame.max_fcoe_size().ok() })
    }

    /// Whether it is the one that it was: a login with one that isn't is void.
    fn is_same_as(&self, other: &Self) -> bool {
        (self.mac, self.node_name, self.port) == (other.mac, other.node_name, other.port)
    }

    /// The most payload bytes in a frame to it; `None` if that is less than any port may offer.
    pub fn max_payload_len(&self) -> Option<u16> {
        self.max_fcoe_size.and_then(|size| max_payload_len(size.into()))
    }
}

/// Why there is no login with a port that was heard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// It has our own WWPN.
    OurName,
    /// Its beacons are heard, but it hasn't answered our claim yet: the answer is as long as the longest frame.
    ClaimUnanswered,
    /// Not even frames of the shortest payload fit it.
    TooSmall {
        /// Bytes of L2 payload that it takes.
        max_fcoe_size: u16,
    },
    /// It has claimed its N_Port_ID, or just answered our claim, but no beacon has shown that it kept it.
    NoBeacon,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OurName => f.write_str("it has our own WWPN: give each port its own"),
            Self::ClaimUnanswered => f.write_str(
                "it hasn't answered our claim by a frame of full size: is the MTU on the way to it what both ends have?",
            ),
            Self::TooSmall { max_fcoe_size } => {
                write!(f, "it takes {max_fcoe_size} bytes a frame, less than FCoE needs")
            }
            Self::NoBeacon => f.write_str("no beacon of it was heard yet"),
        }
    }
}

/// One line of what an operator sees of the neighbours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NeighbourStatus {
    /// The port.
    pub neighbour: Neighbour,
    /// Why there is no login with it; `None` if there may be.
    pub refusal: Option<Refusal>,
}

/// A port and what was found out about it.
#[derive(Clone, Debug)]
struct Entry {
    neighbour: Neighbour,
    heard_at: Instant,
    standing: Standing,
    /// [`Event::NeighbourUp`](super::Event::NeighbourUp) has told of it since then.
    is_told: bool,
    /// The same, ever.
    was_told: bool,
}

/// Whether a port's N_Port_ID is its own for sure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Standing {
    /// It has looked for it, or claimed it.
    Claiming,
    /// It has answered our claim. It may be about to keep an N_Port_ID that it claimed before we listened.
    Answering,
    /// A beacon, or a login, has come since it last looked for it, or a beacon would have if it were new.
    Kept,
}

impl Entry {
    fn refusal(&self, config: &Config) -> Option<Refusal> {
        if self.neighbour.port.port_name == config.port_name {
            return Some(Refusal::OurName);
        }
        match self.neighbour.max_fcoe_size {
            None => Some(Refusal::ClaimUnanswered),
            Some(max_fcoe_size) if self.neighbour.max_payload_len().is_none() => {
                Some(Refusal::TooSmall { max_fcoe_size })
            }
            Some(_) if self.standing != Standing::Kept => Some(Refusal::NoBeacon),
            Some(_) => None,
        }
    }

    fn gone_at(&self) -> Instant {
        self.heard_at + MAX_SILENCE
    }
}

/// What a frame says about its sender.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sign {
    /// It looks for an N_Port_ID, or claims it: whoever was there before may have restarted.
    Anew,
    /// It is there.
    Alive,
    /// It has kept its N_Port_ID.
    Kept,
}

/// There is no room for another port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Full;

/// The ports heard on the VLAN in use, at most [`MAX_NEIGHBOURS`].
#[derive(Clone, Debug, Default)]
pub(super) struct Neighbours(Vec<Entry>);

/// A neighbour that is gone, and why.
pub(super) type Loss = (Neighbour, LossReason);

impl Neighbours {
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The port that has an N_Port_ID.
    pub(super) fn get(&self, id: FcId) -> Option<&Neighbour> {
        self.0.iter().map(|entry| &entry.neighbour).find(|neighbour| neighbour.port.fc_id == id)
    }

    /// Whether the port is there as it says now.
    pub(super) fn is_known(&self, sender: &Neighbour) -> bool {
        self.get(sender.port.fc_id).is_some_and(|known| known.is_same_as(sender))
    }

    /// Takes in what a frame says of its sender. Gives the neighbours that are gone by that, and were told of.
    pub(super) fn heard(&mut self, now: Instant, sender: &Neighbour, sign: Sign) -> Result<Vec<Loss>, Full> {
        let lost = self.displace(sender);
        if self.get(sender.port.fc_id).is_none() {
            if self.0.len() == MAX_NEIGHBOURS {
                return Err(Full);
            }
            self.0.push(Entry {
                neighbour: *sender,
                heard_at: now,
                standing: Standing::Answering,
                is_told: false,
                was_told: false,
            });
        }
        let entry = self.0.iter_mut().find(|entry| entry.neighbour.is_same_as(sender));
        let entry = entry.expect("it was there, or is now");
        entry.heard_at = now;
        entry.neighbour.max_fcoe_size = sender.max_fcoe_size.or(entry.neighbour.max_fcoe_size);
        match sign {
            Sign::Anew => (entry.standing, entry.is_told) = (Standing::Claiming, false),
            Sign::Alive => {}
            Sign::Kept => entry.standing = Standing::Kept,
        }
        Ok(lost)
    }

    /// Removes whoever had the sender's N_Port_ID or name, and is another one than the sender.
    fn displace(&mut self, sender: &Neighbour) -> Vec<Loss> {
        let reason = |old: &Neighbour| {
            if old.is_same_as(sender) {
                None
            } else if old.port.fc_id == sender.port.fc_id {
                Some(LossReason::Replaced)
            } else {
                (old.port.port_name == sender.port.port_name).then_some(LossReason::Moved)
            }
        };
        let displaced = self.0.extract_if(.., |entry| reason(&entry.neighbour).is_some());
        displaced
            .filter(|entry| entry.was_told)
            .filter_map(|entry| Some((entry.neighbour, reason(&entry.neighbour)?)))
            .collect()
    }

    /// The neighbours that can be logged in to and haven't been told of yet; they count as told of now.
    pub(super) fn take_ups(&mut self, config: &Config) -> Vec<Neighbour> {
        let mut ups = Vec::new();
        for entry in &mut self.0 {
            if !entry.is_told && entry.refusal(config).is_none() {
                (entry.is_told, entry.was_told) = (true, true);
                ups.push(entry.neighbour);
            }
        }
        ups
    }

    /// The time is over in which a claim of before we listened may be open: whoever has answered ours and not claimed
    /// since has had its N_Port_ID for longer.
    pub(super) fn settle(&mut self) {
        for entry in self.0.iter_mut().filter(|entry| entry.standing == Standing::Answering) {
            entry.standing = Standing::Kept;
        }
    }

    /// A neighbour logs in to the layers above, who know of it by that.
    pub(super) fn told(&mut self, now: Instant, id: FcId) {
        if let Some(entry) = self.0.iter_mut().find(|entry| entry.neighbour.port.fc_id == id) {
            entry.heard_at = now;
            (entry.standing, entry.is_told, entry.was_told) = (Standing::Kept, true, true);
        }
    }

    /// Forgets ports of which nothing is heard any more. Gives those that were told of.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Loss> {
        let gone = self.0.extract_if(.., |entry| now >= entry.gone_at());
        gone.filter(|entry| entry.was_told).map(|entry| (entry.neighbour, LossReason::Silent)).collect()
    }

    /// When [`Self::expire`] has something to do.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.0.iter().map(Entry::gone_at).min()
    }

    pub(super) fn status(&self, config: &Config) -> Vec<NeighbourStatus> {
        let status =
            |entry: &Entry| NeighbourStatus { neighbour: entry.neighbour, refusal: entry.refusal(config) };
        self.0.iter().map(status).collect()
    }
}
