//! The VN_Ports of others on the same Ethernet, by what they claim.

use super::claim::{BEACON_PERIOD, is_claimable};
use crate::counters::Drop;
use fc::time::{Duration, Instant};
use fc::wire::ethernet::EthernetHeader;
use fc::wire::fip::{FcMap, FipFrame};
use fc::wire::header::FcType;
use fc::wire::{FcId, MacAddr, Wwn};
use std::collections::BTreeMap;

/// The most neighbours that are remembered; with a link to each target, as many as there can be logins at 16
/// targets.
pub(super) const MAX_NEIGHBOURS: usize = 1024;
/// After so long without a beacon a neighbour is gone: 2.5 periods.
const NEIGHBOUR_TIMEOUT: Duration = BEACON_PERIOD.saturating_mul(5).checked_div(2).expect("2 is not 0");
/// FCP's features in FC-4 attributes (FC-GS-7, 5.2.3.12).
pub(super) const FEATURE_TARGET: u8 = 1;
const FEATURE_INITIATOR: u8 = 2;

/// The MAC address of a VN2VN port's FCoE frames.
pub(super) fn vn_mac(id: FcId) -> MacAddr {
    MacAddr::fabric_provided(FcMap::VN2VN.0, id)
}

/// Who a VN2VN frame says that it is from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Speaker {
    pub(super) id: FcId,
    pub(super) enode: MacAddr,
    pub(super) port_name: Wwn,
}

impl Speaker {
    /// Reads what every VN2VN frame has. Beacons come from the VN_Port's MAC address, all else from the ENode's.
    pub(super) fn of(ethernet: &EthernetHeader, frame: &FipFrame) -> Result<Self, Drop> {
        let (enode, port) = (frame.mac()?, frame.vx_port()?);
        frame.name()?;
        let is_sound = enode.is_unicast()
            && is_claimable(port.fc_id)
            && port.mac == vn_mac(port.fc_id)
            && port.port_name != Wwn::default()
            && (ethernet.source == enode || ethernet.source == port.mac);
        let speaker = Self { id: port.fc_id, enode, port_name: port.port_name };
        if is_sound { Ok(speaker) } else { Err(Drop::Malformed) }
    }
}

/// A VN_Port that has claimed its N_Port_ID.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Neighbour {
    pub(super) speaker: Speaker,
    /// The longest FCoE frame that it takes.
    pub(super) max_fcoe_size: u16,
    /// Whether it may be an initiator: nobody else needs a login to a target.
    pub(super) is_initiator: bool,
    /// The last time that it showed that it lives.
    seen: Instant,
    /// Nobody has objected to its claim.
    pub(super) is_up: bool,
    /// It asks for its own N_Port_ID. If a claim follows, it has started again and knows of no login.
    probes: bool,
}

impl Neighbour {
    /// Reads a claim.
    pub(super) fn of_claim(now: Instant, speaker: Speaker, frame: &FipFrame) -> Result<Self, Drop> {
        let attributes = frame.fc4_attributes()?;
        let features = attributes.features_of(FcType::FCP);
        Ok(Self {
            speaker,
            max_fcoe_size: frame.max_fcoe_size()?,
            is_initiator: attributes.has(FcType::FCP)
                && (features & FEATURE_INITIATOR != 0 || features & FEATURE_TARGET == 0),
            seen: now,
            is_up: false,
            probes: false,
        })
    }
}

/// All neighbours. An N_Port_ID and a port name are there once each.
#[derive(Debug, Default)]
pub(super) struct Neighbours {
    by_id: BTreeMap<FcId, Neighbour>,
}

impl Neighbours {
    pub(super) fn get(&self, id: FcId) -> Option<&Neighbour> {
        self.by_id.get(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Neighbour> {
        self.by_id.values()
    }

    /// Takes a claim. What it ends comes first: neighbours that had the N_Port_ID or the name before, or the same
    /// one before it started again.
    ///
    /// # Errors
    /// [`Drop::NoRoom`].
    pub(super) fn record(&mut self, claimed: Neighbour) -> Result<Vec<FcId>, Drop> {
        let Speaker { id, port_name, .. } = claimed.speaker;
        let is_same = |known: &Neighbour| known.speaker == claimed.speaker && !known.probes;
        if let Some(known) = self.by_id.get_mut(&id).filter(|known| is_same(known)) {
            *known = Neighbour { is_up: known.is_up, ..claimed };
            return Ok(Vec::new());
        }
        let is_over = |known: &&Neighbour| known.speaker.id == id || known.speaker.port_name == port_name;
        let over: Vec<_> = self.iter().filter(is_over).map(|known| known.speaker.id).collect();
        if over.is_empty() && self.by_id.len() == MAX_NEIGHBOURS {
            return Err(Drop::NoRoom);
        }
        self.by_id.retain(|id, _| !over.contains(id));
        self.by_id.insert(id, claimed);
        Ok(over)
    }

    /// Notes that a neighbour probes; nothing if it is none.
    pub(super) fn probes(&mut self, speaker: &Speaker) {
        if let Some(known) = self.by_id.get_mut(&speaker.id).filter(|known| known.speaker == *speaker) {
            known.probes = true;
        }
    }

    /// Notes that a neighbour is up and lives; `false` if it is none.
    pub(super) fn is_up(&mut self, now: Instant, speaker: &Speaker) -> bool {
        let known = self.by_id.get_mut(&speaker.id).filter(|known| known.speaker == *speaker);
        if let Some(known) = known {
            (known.seen, known.is_up, known.probes) = (now, true, false);
            return true;
        }
        false
    }

    /// When the next one is gone, if it stays silent.
    pub(super) fn due(&self) -> Option<Instant> {
        self.iter().map(|known| known.seen + NEIGHBOUR_TIMEOUT).min()
    }

    /// Forgets those that have been silent for too long.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<FcId> {
        let is_gone = |known: &&Neighbour| now >= known.seen + NEIGHBOUR_TIMEOUT;
        let gone: Vec<_> = self.iter().filter(is_gone).map(|known| known.speaker.id).collect();
        self.by_id.retain(|id, _| !gone.contains(id));
        gone
    }

    pub(super) fn clear(&mut self) {
        self.by_id.clear();
    }
}
