//! The two searches before a virtual link: for the VLAN, then for an FCF on it.

use crate::time::{Duration, Instant};
use crate::wire::ethernet::VlanTag;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

/// Time between VLAN requests to FCFs.
const FCF_REQUEST_GAP: Duration = Duration::from_secs(1);
/// Requests to FCFs before untagged frames are tried: a switch that just saw the link needs a few seconds to forward.
const FCF_REQUESTS: u32 = 5;
/// Time between VLAN requests to VN2VN neighbours, which answer at once or not at all.
const NEIGHBOUR_REQUEST_GAP: Duration = Duration::from_millis(200);
/// Requests to neighbours before untagged frames are tried: most have no VLAN, and many don't answer.
const NEIGHBOUR_REQUESTS: u32 = 3;
/// How long notifications of further FCFs are waited for after the first one.
const VLAN_SETTLE: Duration = Duration::from_millis(500);
/// The most VLANs that are remembered; each would cost a search of half a minute.
const MAX_VLANS: usize = 32;

/// Time between multicast solicitations at first; doubles from the third on.
const SOLICITATION_GAP: Duration = Duration::from_secs(2);
/// The longest time between them. FCFs advertise by themselves every 8 s, and are then asked alone.
const MAX_SOLICITATION_GAP: Duration = Duration::from_secs(32);
/// Solicitations without any FCF heard before another VLAN is tried.
const MAX_SOLICITATIONS_PER_VLAN: u32 = 5;
/// How long FCFs may answer before one is chosen.
const CHOICE_WAIT: Duration = Duration::from_secs(2);

/// The search for the VLAN.
#[derive(Clone, Debug)]
pub(crate) struct VlanDiscovery {
    /// The next request, or the end of waiting for further notifications.
    pub(crate) deadline: Instant,
    requests_left: u32,
    gap: Duration,
    vlans: BTreeSet<u16>,
}

/// What a deadline of [`VlanDiscovery`] asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum VlanStep {
    /// It isn't due.
    Wait,
    /// Send a request.
    Request,
    /// These VLANs carry FCoE, in the order to try them; 0 means untagged.
    Answered(Vec<u16>),
    /// Nobody answers.
    Unanswered,
}

impl VlanDiscovery {
    /// FCFs are asked; the first request is due at once.
    pub(super) const fn of_fcfs(now: Instant) -> Self {
        Self::new(now, FCF_REQUESTS, FCF_REQUEST_GAP)
    }

    /// VN2VN neighbours are asked; the first request is due at once.
    pub(crate) const fn of_neighbours(now: Instant) -> Self {
        Self::new(now, NEIGHBOUR_REQUESTS, NEIGHBOUR_REQUEST_GAP)
    }

    const fn new(deadline: Instant, requests_left: u32, gap: Duration) -> Self {
        Self { deadline, requests_left, gap, vlans: BTreeSet::new() }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) -> VlanStep {
        if now < self.deadline {
            VlanStep::Wait
        } else if !self.vlans.is_empty() {
            VlanStep::Answered(self.vlans.iter().copied().collect())
        } else if self.requests_left == 0 {
            VlanStep::Unanswered
        } else {
            self.requests_left -= 1;
            self.deadline = now + self.gap;
            VlanStep::Request
        }
    }

    /// Merges a notification.
    pub(crate) fn notified(&mut self, now: Instant, vlans: impl Iterator<Item = u16>) {
        let is_first = self.vlans.is_empty();
        for vlan in vlans.filter(|&vlan| vlan != VlanTag::RESERVED_ID) {
            if self.vlans.len() < MAX_VLANS {
                self.vlans.insert(vlan);
            }
        }
        if is_first && !self.vlans.is_empty() {
            self.deadline = now + VLAN_SETTLE;
        }
    }
}

/// The VLAN in use, and those to try after it.
#[derive(Clone, Debug)]
pub(super) struct Lan {
    pub(super) vlan: Option<VlanTag>,
    pub(super) untried: Vec<u16>,
}

/// The search for an FCF.
#[derive(Clone, Debug)]
pub(super) struct FcfDiscovery {
    pub(super) lan: Lan,
    /// When the next multicast solicitation goes out.
    pub(super) solicit_at: Instant,
    /// From when on a usable FCF is taken without waiting for a better one.
    pub(super) choose_at: Instant,
    solicitations: u32,
}

impl FcfDiscovery {
    /// The first solicitation is due at `solicit_at`.
    pub(super) fn new(lan: Lan, solicit_at: Instant) -> Self {
        Self { lan, solicit_at, choose_at: solicit_at + CHOICE_WAIT, solicitations: 0 }
    }

    /// Whether the next solicitation is due.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        now >= self.solicit_at
    }

    /// Whether this VLAN was asked often enough.
    pub(super) const fn is_exhausted(&self) -> bool {
        self.solicitations >= MAX_SOLICITATIONS_PER_VLAN
    }

    /// Notes a multicast solicitation.
    pub(super) fn solicited(&mut self, now: Instant) {
        let doublings = self.solicitations.saturating_sub(1).min(u32::BITS - 1);
        let gap = SOLICITATION_GAP.saturating_mul(1 << doublings).min(MAX_SOLICITATION_GAP);
        self.solicitations = self.solicitations.saturating_add(1);
        self.solicit_at = now + gap;
    }
}
