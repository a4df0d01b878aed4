//! FLOGI and LOGO between a target and a neighbour, by FIP (FC-BB-6).

use super::Vn2vn;
use super::links::{Asking, Link, MAX_TRIES, RETRY_INTERVAL};
use super::neighbours::Neighbour;
use crate::context::{Context, reply_header, request_header};
use crate::counters::Drop;
use crate::faults::LoginKind;
use crate::target::{INVALID_PORT_NAME, INVALID_RECEIVE_SIZE};
use crate::topology::Event;
use fc::wire::els::{ElsCommand, ElsReply, ElsRequest, Explanation, Login, Logo, LsRjt, Reason};
use fc::wire::fip::{Els, ElsKind, FipFrame, Operation};
use fc::wire::header::{MAX_PAYLOAD_LEN, MIN_MAX_PAYLOAD_LEN, RCtl, UNASSIGNED_XID};
use fc::wire::{FcId, MacAddr};

/// The sender is none of the neighbours.
const NOT_NEIGHBOUR: LsRjt = LsRjt::new(Reason::FIP, Explanation::NOT_NEIGHBOUR);

impl Vn2vn {
    /// Every target that is up logs in to a neighbour.
    pub(super) fn log_in_all(&mut self, cx: &mut Context<'_>, peer: FcId) {
        (0..self.ports.len()).for_each(|number| self.log_in(cx, number, peer));
    }

    /// FLOGI to a neighbour, if both are up, it may be an initiator, and no link is there or on its way.
    pub(super) fn log_in(&mut self, cx: &mut Context<'_>, number: usize, peer: FcId) {
        let port = &self.ports[number];
        let is_wanted = port.claim.is_up() && !port.is_dead;
        let wanted = |known: &&Neighbour| is_wanted && known.is_up && known.is_initiator;
        if let Some(neighbour) = self.neighbours.get(peer).filter(wanted).copied()
            && self.links.find(peer, port.id()).is_none()
        {
            self.ask(cx, number, &neighbour, 1);
        }
    }

    /// Sends FLOGIs again that were rejected or not answered, or gives up until the next beacon.
    pub(super) fn retry_logins(&mut self, cx: &mut Context<'_>) {
        let is_due = |link: &&Link| link.asking.due().is_some_and(|due| cx.now >= due);
        let due: Vec<_> = self.links.iter().filter(is_due).copied().collect();
        for Link { number, own, peer, is_up, asking } in due {
            let tries = match asking {
                Asking::No => continue,
                Asking::Sent { tries, .. } | Asking::Rejected { tries, .. } => tries,
            };
            if is_up {
                self.end_asking(peer.fc_id, own);
            } else if tries < MAX_TRIES
                && let Some(neighbour) = self.neighbours.get(peer.fc_id).copied()
            {
                self.ask(cx, number, &neighbour, tries + 1);
            } else {
                self.end_links(|link| link.peer.login == peer.login);
            }
        }
    }

    /// A request by FIP to target `number`.
    pub(super) fn answer_link_service(
        &mut self,
        cx: &mut Context<'_>,
        number: usize,
        source: MacAddr,
        frame: &FipFrame,
    ) -> Result<(), Drop> {
        frame.mac()?;
        let els = frame.els()?;
        let (own, peer) = (els.header.d_id, els.header.s_id);
        let port = &self.ports[number];
        if !port.claim.is_claimed() || own != port.id() {
            return Err(Drop::NoDestination);
        }
        if port.is_dead {
            return Err(Drop::DeadTarget);
        }
        let neighbour = self.neighbours.get(peer).filter(|known| known.speaker.enode == source).copied();
        let result = match (els.kind, ElsRequest::parse(&els.payload)?, neighbour) {
            (ElsKind::Flogi, ElsRequest::Flogi(login), Some(neighbour)) => {
                match cx.faults.take_reject(LoginKind::Flogi) {
                    Some(reject) => Err(reject),
                    None => self.accept_flogi(number, &neighbour, &login),
                }
            }
            (ElsKind::Logo, ElsRequest::Logo(logo), Some(neighbour)) => {
                self.accept_logo(own, &neighbour, &logo)
            }
            (ElsKind::Flogi, ElsRequest::Flogi(_), None) | (ElsKind::Logo, ElsRequest::Logo(_), None) => {
                Err(NOT_NEIGHBOUR)
            }
            (ElsKind::Fdisc, ElsRequest::Fdisc(_), _) | (ElsKind::Elp, ..) => Err(LsRjt::UNSUPPORTED),
            _ => return Err(Drop::Malformed),
        };
        let (reply, is_accept) = match result {
            Ok(reply) => (reply, true),
            Err(reject) => (reject.into(), false),
        };
        let header = reply_header(&els.header, RCtl::ELS_REPLY);
        let reply = Els { kind: els.kind, header, payload: reply.to_payload() };
        self.ports[number].link_service(cx.out, source, Operation::LINK_SERVICE_REPLY, reply, is_accept);
        Ok(())
    }

    /// A reply by FIP to target `number`: that to its FLOGI, or one to a LOGO, on which nothing depends.
    pub(super) fn handle_link_service_reply(
        &mut self,
        cx: &mut Context<'_>,
        number: usize,
        source: MacAddr,
        frame: &FipFrame,
    ) -> Result<(), Drop> {
        let els = frame.els()?;
        let (own, peer) = (els.header.d_id, els.header.s_id);
        let neighbour = self.neighbours.get(peer).filter(|known| known.speaker.enode == source).copied();
        let (Some(neighbour), Some(link)) = (neighbour, self.links.find_mut(peer, own)) else {
            return Err(Drop::NotLoggedIn);
        };
        let tries = match link.asking {
            Asking::Sent { ox_id, tries, .. } if ox_id == els.header.ox_id.get() && link.number == number => {
                tries
            }
            _ => return Err(Drop::NoExchange),
        };
        let reply = ElsReply::parse(ElsCommand::FLOGI, &els.payload)?;
        let rejected = match reply {
            ElsReply::Login(login) => match check_flogi(&neighbour, &login) {
                Ok(receive_len) => {
                    link.is_up = true;
                    link.peer.max_payload_len = receive_len.min(self.max_payload_len);
                    None
                }
                Err(reject) => Some(reject),
            },
            ElsReply::Reject(reject) => Some(reject),
            _ => return Err(Drop::Malformed),
        };
        if link.is_up {
            self.end_asking(peer, own);
        } else {
            link.asking = Asking::Rejected { tries, until: cx.now + RETRY_INTERVAL };
            if rejected == Some(NOT_NEIGHBOUR) && self.ports[number].claim.may_answer(cx.now) {
                self.ports[number].say_to_all(cx.out, Operation::CLAIM_NOTIFICATION);
            }
        }
        Ok(())
    }

    /// Tells the neighbours that are logged in to target `number` that it leaves them.
    pub(super) fn log_out(&mut self, cx: &mut Context<'_>, number: usize) {
        let linked: Vec<_> =
            self.links.iter().filter(|link| link.number == number && link.is_up).copied().collect();
        for link in linked {
            let enode = self
                .neighbours
                .get(link.peer.fc_id)
                .expect("links end before their neighbours")
                .speaker
                .enode;
            let header = request_header(link.own, link.peer.fc_id, self.take_ox_id());
            let port = &self.ports[number];
            let payload = ElsRequest::Logo(port.logo()).to_payload();
            let els = Els { kind: ElsKind::Logo, header, payload };
            port.link_service(cx.out, enode, Operation::LINK_SERVICE_REQUEST, els, true);
        }
        self.end_links(|link| link.number == number);
    }

    /// Ends links, and tells the targets of those that were up; gives their number.
    pub(super) fn end_links(&mut self, is_over: impl Fn(&Link) -> bool) -> usize {
        let ended = self.links.end(is_over);
        let before = self.events.len();
        self.events.extend(ended.iter().filter(|link| link.is_up).map(|link| Event::Ended(link.peer.login)));
        self.events.len() - before
    }

    /// Sends a FLOGI. Where there is no room for another link, the neighbour's next beacon tries again.
    fn ask(&mut self, cx: &mut Context<'_>, number: usize, neighbour: &Neighbour, tries: u32) {
        let ox_id = self.take_ox_id();
        let Some(link) = self.link_to(number, neighbour) else { return };
        link.asking = Asking::Sent { ox_id, tries, until: cx.now + RETRY_INTERVAL };
        let header = request_header(link.own, link.peer.fc_id, ox_id);
        let port = &self.ports[number];
        let payload = ElsRequest::Flogi(port.parameters()).to_payload();
        let els = Els { kind: ElsKind::Flogi, header, payload };
        port.link_service(cx.out, neighbour.speaker.enode, Operation::LINK_SERVICE_REQUEST, els, true);
    }

    /// A FLOGI, which begins the link anew if there is one (FC-LS-3, 6.2.2.3).
    fn accept_flogi(
        &mut self,
        number: usize,
        neighbour: &Neighbour,
        login: &Login,
    ) -> Result<ElsReply, LsRjt> {
        let receive_len = check_flogi(neighbour, login)?;
        let max_payload_len = receive_len.min(self.max_payload_len);
        let no_room = LsRjt::new(Reason::UNABLE, Explanation::NO_RESOURCES);
        let link = self.link_to(number, neighbour).ok_or(no_room)?;
        let was_up = std::mem::replace(&mut link.is_up, true);
        link.peer.max_payload_len = max_payload_len;
        let Link { own, peer, asking, .. } = *link;
        if was_up {
            self.events.push_back(Event::Ended(peer.login));
        }
        // Where both have sent one, the neighbour is not ready before it has answered ours.
        if !matches!(asking, Asking::Sent { .. }) {
            self.end_asking(peer.fc_id, own);
        }
        Ok(ElsReply::Login(self.ports[number].parameters()))
    }

    fn accept_logo(&mut self, own: FcId, neighbour: &Neighbour, logo: &Logo) -> Result<ElsReply, LsRjt> {
        let peer = neighbour.speaker.id;
        if logo.port_name != neighbour.speaker.port_name {
            return Err(LsRjt::new(Reason::LOGICAL_ERROR, INVALID_PORT_NAME));
        }
        self.end_links(|link| (link.peer.fc_id, link.own) == (peer, own));
        Ok(ElsReply::Accept)
    }

    /// A link is up and no FLOGI is out: whoever has the higher port name sends PLOGI.
    fn end_asking(&mut self, peer: FcId, own: FcId) {
        let link = self.links.find_mut(peer, own).expect("the caller has looked");
        link.asking = Asking::No;
        if self.ports[link.number].port_name > link.peer.port_name {
            self.events.push_back(Event::LogIn { number: link.number, own, to: link.peer });
        }
    }

    fn link_to(&mut self, number: usize, neighbour: &Neighbour) -> Option<&mut Link> {
        self.links.find_or_make(number, self.ports[number].id(), &neighbour.speaker)
    }

    fn take_ox_id(&mut self) -> u16 {
        let ox_id = self.next_ox_id;
        self.next_ox_id = (ox_id + 1) % UNASSIGNED_XID;
        ox_id
    }
}

/// The receive data field size of a FLOGI or of its LS_ACC, in whole words, if it is as a neighbour's must be.
fn check_flogi(neighbour: &Neighbour, login: &Login) -> Result<u16, LsRjt> {
    let receive_len = login.common.receive_len();
    if login.port_name != neighbour.speaker.port_name {
        return Err(LsRjt::new(Reason::LOGICAL_ERROR, INVALID_PORT_NAME));
    }
    if !(MIN_MAX_PAYLOAD_LEN..=MAX_PAYLOAD_LEN).contains(&receive_len.into()) {
        return Err(LsRjt::new(Reason::LOGICAL_ERROR, INVALID_RECEIVE_SIZE));
    }
    Ok(receive_len & !3)
}
