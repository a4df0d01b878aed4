//! Virtual links between targets and neighbours: each begins with a FLOGI of either end (FC-BB-6).

use super::neighbours::{Speaker, vn_mac};
use crate::context::{LoginId, MAX_LOGINS, Path, Sender};
use fc::time::{Duration, Instant};
use fc::wire::FcId;
use std::collections::HashMap;

/// How long a FLOGI waits for its reply, and then or when it was rejected for the next one.
pub(super) const RETRY_INTERVAL: Duration = Duration::from_secs(2);
/// FLOGIs without success before the neighbour's next beacon is waited for.
pub(super) const MAX_TRIES: u32 = 3;

/// A link between a target and a neighbour, or one that is to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Link {
    /// The target's place in the list of targets.
    pub(super) number: usize,
    /// The target's N_Port_ID.
    pub(super) own: FcId,
    /// The neighbour.
    pub(super) peer: Sender,
    /// A FLOGI was accepted, of either end.
    pub(super) is_up: bool,
    pub(super) asking: Asking,
}

/// What became of a FLOGI of our own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Asking {
    /// There is none.
    No,
    /// It waits for its reply.
    Sent { ox_id: u16, tries: u32, until: Instant },
    /// It was rejected, and the next one waits.
    Rejected { tries: u32, until: Instant },
}

impl Asking {
    pub(super) fn due(self) -> Option<Instant> {
        match self {
            Self::No => None,
            Self::Sent { until, .. } | Self::Rejected { until, .. } => Some(until),
        }
    }
}

/// All links, by their place and by both N_Port_IDs.
#[derive(Debug, Default)]
pub(super) struct Links {
    places: Vec<Option<Link>>,
    free: Vec<LoginId>,
    /// By the neighbour's N_Port_ID and the target's.
    by_ids: HashMap<(FcId, FcId), LoginId>,
}

impl Links {
    /// The link from a neighbour to a target.
    pub(super) fn find(&self, peer: FcId, own: FcId) -> Option<&Link> {
        Some(self.get(*self.by_ids.get(&(peer, own))?))
    }

    pub(super) fn find_mut(&mut self, peer: FcId, own: FcId) -> Option<&mut Link> {
        let id = *self.by_ids.get(&(peer, own))?;
        Some(self.get_mut(id))
    }

    /// The link, which may be a new one that is not up; `None` when there are [`MAX_LOGINS`] others.
    pub(super) fn find_or_make(&mut self, number: usize, own: FcId, peer: &Speaker) -> Option<&mut Link> {
        let known = self.by_ids.get(&(peer.id, own)).copied();
        let login = match known.or_else(|| self.free.pop()) {
            Some(id) => id,
            None if self.places.len() < MAX_LOGINS => {
                self.places.push(None);
                LoginId((self.places.len() - 1) as u16)
            }
            None => return None,
        };
        if known.is_none() {
            let path = Path { destination: vn_mac(peer.id), source: vn_mac(own) };
            self.by_ids.insert((peer.id, own), login);
            let peer = Sender { login, fc_id: peer.id, path, port_name: peer.port_name, max_payload_len: 0 };
            self.places[usize::from(login.0)] =
                Some(Link { number, own, peer, is_up: false, asking: Asking::No });
        }
        Some(self.get_mut(login))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Link> {
        self.places.iter().flatten()
    }

    /// Ends the links for which `is_over` holds, and gives them.
    pub(super) fn end(&mut self, is_over: impl Fn(&Link) -> bool) -> Vec<Link> {
        let over: Vec<_> = self.iter().filter(|link| is_over(link)).copied().collect();
        for link in &over {
            let id = link.peer.login;
            self.places[usize::from(id.0)] = None;
            self.by_ids.remove(&(link.peer.fc_id, link.own));
            self.free.push(id);
        }
        over
    }

    fn get(&self, id: LoginId) -> &Link {
        self.places[usize::from(id.0)].as_ref().expect("what is found by IDs is there")
    }

    fn get_mut(&mut self, id: LoginId) -> &mut Link {
        self.places[usize::from(id.0)].as_mut().expect("what is found by IDs is there")
    }
}
