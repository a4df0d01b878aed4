//! RSCN: what has changed is told to those who registered for it (FC-LS-3, 4.2.18).

use super::logins::Logins;
use crate::context::{LoginId, request_header};
use crate::egress::Egress;
use fc::wire::FcId;
use fc::wire::els::{ElsRequest, RscnFormat, RscnPage};
use fc::wire::header::UNASSIGNED_XID;

/// The most changed ports that an RSCN lists; beyond, it says that anything may have changed.
const MAX_PAGES: usize = 32;
/// The most RSCNs that are queued at a time.
const MAX_AT_ONCE: usize = 32;

/// Changes that are told, one round of all ports after the other.
#[derive(Debug, Default)]
pub(super) struct StateChanges {
    /// For the next round.
    changed: Vec<FcId>,
    /// Changed more than [`MAX_PAGES`].
    is_anything: bool,
    round: Option<Round>,
    next_ox_id: u16,
}

#[derive(Debug)]
struct Round {
    pages: Vec<RscnPage>,
    /// The next port to be told.
    next: usize,
}

impl StateChanges {
    /// A port has come, gone or registered something.
    pub(super) fn note(&mut self, id: FcId) {
        if self.is_anything || self.changed.contains(&id) {
            return;
        }
        if self.changed.len() == MAX_PAGES {
            self.changed.clear();
            self.is_anything = true;
        } else {
            self.changed.push(id);
        }
    }

    /// Whether somebody is still to be told.
    pub(super) fn is_pending(&self) -> bool {
        self.round.is_some() || self.is_anything || !self.changed.is_empty()
    }

    pub(super) fn transmit(&mut self, logins: &Logins, out: &mut Egress) {
        if self.round.is_none() && self.is_pending() {
            let port = |id: FcId| RscnPage::new(RscnFormat::Port, id);
            let pages = if std::mem::take(&mut self.is_anything) {
                vec![RscnPage::new(RscnFormat::Fabric, FcId::UNASSIGNED)]
            } else {
                self.changed.drain(..).map(port).collect()
            };
            self.round = Some(Round { pages, next: 0 });
        }
        let Some(round) = &mut self.round else { return };
        let mut told = 0;
        while round.next < logins.places() {
            if told == MAX_AT_ONCE || !out.has_room_for(1) {
                return;
            }
            let login = logins.get(LoginId(round.next as u16));
            round.next += 1;
            let Some(login) = login.filter(|login| login.scn.is_some()) else { continue };
            let port = &login.port;
            // Nobody needs to be told of itself.
            let is_news = |page: &&RscnPage| page.format() != RscnFormat::Port || page.id != port.fc_id;
            let pages: Vec<_> = round.pages.iter().filter(is_news).copied().collect();
            if pages.is_empty() {
                continue;
            }
            let header = request_header(FcId::FABRIC_CONTROLLER, port.fc_id, self.next_ox_id);
            self.next_ox_id = (self.next_ox_id + 1) % UNASSIGNED_XID;
            out.fc(port.path, &header, &ElsRequest::Rscn(pages).to_payload());
            told += 1;
        }
        self.round = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_changes_become_one() {
        let mut changes = StateChanges::default();
        assert!(!changes.is_pending());
        for number in 0..MAX_PAGES as u32 {
            changes.note(FcId::from_u32(number));
            changes.note(FcId::from_u32(number));
        }
        assert_eq!(changes.changed.len(), MAX_PAGES);
        changes.note(FcId::from_u32(99));
        changes.note(FcId::from_u32(100));
        assert!(changes.is_anything && changes.changed.is_empty() && changes.is_pending());
    }
}
