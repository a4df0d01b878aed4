//! What a remote port asks of us (FC-LS-3, 4.2).

use super::target::{FCP_PARAMETERS, Peer};
use super::{GoneReason, RemotePort, State, Topology};
use crate::exchange::Order;
use crate::time::Instant;
use crate::wire::els::{
    Adisc, ElsReply, ElsRequest, Explanation, Login, LsRjt, ProcessLogin, Reason, ServicePage, SppResponse,
    fcp_parameters, spp_flags,
};
use crate::wire::header::FcType;

/// What an N_Port answers to one that isn't logged in.
pub(crate) fn reply_to_stranger(request: &ElsRequest) -> ElsReply {
    match request {
        ElsRequest::Echo(bytes) => ElsReply::Echo(bytes.clone()),
        // A logout of a login that isn't there is one that succeeded.
        ElsRequest::Logo(_) => ElsReply::Accept,
        ElsRequest::Plogi(_)
        | ElsRequest::Pdisc(_)
        | ElsRequest::Prli(_)
        | ElsRequest::Prlo(_)
        | ElsRequest::Adisc(_)
        | ElsRequest::Rtv
        | ElsRequest::Rec(_)
        | ElsRequest::Rrq(_) => LsRjt::LOGIN_REQUIRED.into(),
        ElsRequest::Flogi(_)
        | ElsRequest::Fdisc(_)
        | ElsRequest::Scr(_)
        | ElsRequest::Rscn(_)
        | ElsRequest::Unknown { .. } => LsRjt::UNSUPPORTED.into(),
    }
}

impl RemotePort {
    /// Takes a link service that the port asks of us, and gives the reply.
    pub(crate) fn handle_request(&mut self, now: Instant, request: &ElsRequest) -> ElsReply {
        match request {
            ElsRequest::Plogi(login) => return self.accept_login(login),
            ElsRequest::Flogi(login) if self.local.topology == Topology::Vn2vn => {
                return self.accept_link(now, login);
            }
            _ => {}
        }
        if !self.is_logged_in() {
            return reply_to_stranger(request);
        }
        match request {
            ElsRequest::Pdisc(login) => self.accept_pdisc(login),
            ElsRequest::Prli(process) => self.accept_process_login(process),
            ElsRequest::Prlo(process) => {
                self.drop_login(now, GoneReason::ProcessLoggedOut);
                ElsReply::Process(answer_pages(process, |page| page.answered(SppResponse::EXECUTED)))
            }
            ElsRequest::Logo(_) => {
                self.drop_login(now, GoneReason::LoggedOut);
                ElsReply::Accept
            }
            ElsRequest::Adisc(adisc) => self.accept_adisc(adisc),
            ElsRequest::Rtv => ElsReply::Rtv(self.local.timeout_values()),
            // Control is no exchange's responder; what the cores originate they watch themselves.
            ElsRequest::Rec(_) => LsRjt::NO_SUCH_EXCHANGE.into(),
            ElsRequest::Rrq(_) => ElsReply::Accept,
            ElsRequest::Plogi(_)
            | ElsRequest::Echo(_)
            | ElsRequest::Flogi(_)
            | ElsRequest::Fdisc(_)
            | ElsRequest::Scr(_)
            | ElsRequest::Rscn(_)
            | ElsRequest::Unknown { .. } => reply_to_stranger(request),
        }
    }

    /// FC-LS-3, 6.3.2.3: of two PLOGIs that cross, the one of the higher WWPN goes on and the other is rejected.
    fn accept_login(&mut self, login: &Login) -> ElsReply {
        let peer = match Peer::new(&self.local, self.port_name, login) {
            Ok(peer) => peer,
            Err(reject) => return reject.into(),
        };
        if self.state == State::LoggingIn && self.local.port_name > peer.port_name {
            return LsRjt::IN_PROGRESS.into();
        }
        self.orders.push_back(Order::Forget);
        self.lose(GoneReason::LoggedInAgain);
        self.log_process_in(peer);
        ElsReply::Login(self.local.login())
    }

    /// FC-BB-6: an FLOGI is the first thing that a VN2VN neighbour asks. If it was logged in before, it has forgotten
    /// that: the login starts anew, on our side at once.
    fn accept_link(&mut self, now: Instant, login: &Login) -> ElsReply {
        if login.port_name != self.port_name {
            return LsRjt::new(Reason::LOGICAL_ERROR, Explanation::PORT_NAME).into();
        }
        // While our own is out, its reply is waited for: a PLOGI would reach the neighbour too early.
        if self.state != State::Linking {
            self.orders.push_back(Order::Forget);
            self.lose(GoneReason::LoggedInAgain);
            self.linked(now);
        }
        ElsReply::Login(self.local.link_login())
    }

    fn accept_process_login(&mut self, process: &ProcessLogin) -> ElsReply {
        let is_target = process.fcp().is_some_and(|page| page.has(fcp_parameters::TARGET));
        if let State::NoTarget { peer } = self.state
            && is_target
        {
            // It has become one.
            self.log_process_in(peer);
        }
        ElsReply::Process(answer_pages(process, ServicePage::answered_by_initiator))
    }

    fn accept_pdisc(&self, login: &Login) -> ElsReply {
        if login.port_name == self.port_name {
            ElsReply::Login(self.local.login())
        } else {
            LsRjt::LOGIN_REQUIRED.into()
        }
    }

    fn accept_adisc(&self, adisc: &Adisc) -> ElsReply {
        if adisc.port_name == self.port_name {
            ElsReply::Adisc(self.local.adisc())
        } else {
            LsRjt::LOGIN_REQUIRED.into()
        }
    }

    /// The port ended the login or its process's: after a while, another try.
    fn drop_login(&mut self, now: Instant, reason: GoneReason) {
        self.orders.push_back(Order::Forget);
        self.lose(reason);
        let kept = match reason {
            GoneReason::ProcessLoggedOut => self.peer().copied(),
            _ => None,
        };
        self.wait(now, kept);
    }
}

impl ServicePage {
    /// The answer of an initiator to a PRLI's page. An image pair has one target at least.
    fn answered_by_initiator(self) -> Self {
        if self.fc_type != FcType::FCP {
            return Self { flags: 0, ..self }.answered(SppResponse::NO_PROCESS);
        }
        let flags = if self.has(fcp_parameters::TARGET) { self.flags } else { 0 };
        let flags = flags & spp_flags::ESTABLISH_IMAGE_PAIR;
        Self { flags, parameters: FCP_PARAMETERS.into(), ..self }.answered(SppResponse::EXECUTED)
    }
}

fn answer_pages(process: &ProcessLogin, answer: impl Fn(ServicePage) -> ServicePage) -> ProcessLogin {
    ProcessLogin { pages: process.pages.iter().map(|&page| answer(page)).collect() }
}
