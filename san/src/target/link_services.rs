//! Link services to a target: logins and what keeps them (FC-LS-3; FCP-4, 6).

use super::exchange::State;
use super::{Session, Targets};
use crate::context::{Context, Incoming, Sender, reply_header, request_header};
use crate::counters::{Counters, Drop};
use crate::egress::Egress;
use crate::faults::{Faults, LoginKind};
use crate::scsi::{Attentions, Nexus};
use fc::wire::FcId;
use fc::wire::els::{
    Adisc, ElsCommand, ElsReply, ElsRequest, ExchangeIds, ExchangeStatus, Explanation, Login, Logo, LsRjt,
    ProcessLogin, Reason, ServicePage, SppResponse, TimeoutValues, fcp_parameters, spp_flags,
};
use fc::wire::header::{FcHeader, FcType, MIN_MAX_PAYLOAD_LEN, RCtl, UNASSIGNED_XID};

/// INVALID N_PORT_NAME (FC-LS-3, table 117).
pub(crate) const INVALID_PORT_NAME: Explanation = Explanation(0x0d);
/// RECEIVE DATA FIELD SIZE.
pub(crate) const INVALID_RECEIVE_SIZE: Explanation = Explanation(0x07);

impl Targets {
    pub(super) fn handle_els(
        &mut self,
        cx: &mut Context<'_>,
        number: usize,
        frame: &Incoming<'_>,
    ) -> Result<(), Drop> {
        ElsCommand::of(frame.payload)?;
        let reply = match ElsRequest::parse(frame.payload) {
            Ok(request) => match reject_to_order(cx.faults, &request) {
                Some(reject) => reject.into(),
                None => self.answer(cx.counters, number, frame, request),
            },
            Err(_) => LsRjt::MALFORMED.into(),
        };
        let header = reply_header(frame.header, RCtl::ELS_REPLY);
        cx.out.fc(frame.from.path, &header, &reply.to_payload());
        Ok(())
    }

    fn answer(
        &mut self,
        counters: &mut Counters,
        number: usize,
        frame: &Incoming<'_>,
        request: ElsRequest,
    ) -> ElsReply {
        let Incoming { from, header, .. } = *frame;
        let target = &self.targets[number];
        let own = self.parameters(number);
        let is_logged_in = target.session(from.login.0).is_some();
        match request {
            ElsRequest::Plogi(_) if self.goes_first(number, &from) => LsRjt::IN_PROGRESS.into(),
            ElsRequest::Plogi(login) => match self.log_in(number, frame, &login, counters) {
                Ok(()) => ElsReply::Login(own),
                Err(reject) => reject.into(),
            },
            ElsRequest::Pdisc(_) if is_logged_in => ElsReply::Login(own),
            ElsRequest::Prli(request) if is_logged_in => self.pair(number, &from, &request),
            ElsRequest::Prlo(request) if is_logged_in => self.unpair(number, &from, &request, counters),
            ElsRequest::Adisc(_) if is_logged_in => {
                ElsReply::Adisc(Adisc::new(header.d_id, target.identity.name, target.node_name))
            }
            ElsRequest::Pdisc(_) | ElsRequest::Prli(_) | ElsRequest::Prlo(_) | ElsRequest::Adisc(_) => {
                LsRjt::LOGIN_REQUIRED.into()
            }
            ElsRequest::Logo(_) => {
                self.end_session(number, from.login, counters);
                ElsReply::Accept
            }
            ElsRequest::Rtv => ElsReply::Rtv(TimeoutValues::new(self.r_a_tov, self.e_d_tov)),
            ElsRequest::Rec(ids) => self.exchange_status(header, &ids),
            ElsRequest::Rrq(_) if is_logged_in => ElsReply::Accept,
            ElsRequest::Rrq(_) => LsRjt::LOGIN_REQUIRED.into(),
            ElsRequest::Echo(bytes) => ElsReply::Echo(bytes),
            ElsRequest::Flogi(_)
            | ElsRequest::Fdisc(_)
            | ElsRequest::Scr(_)
            | ElsRequest::Rscn(_)
            | ElsRequest::Unknown { .. } => LsRjt::UNSUPPORTED.into(),
        }
    }

    /// What a target says of itself in a PLOGI and in the LS_ACC to one.
    pub(super) fn parameters(&self, number: usize) -> Login {
        let target = &self.targets[number];
        Login::n_port(target.identity.name, target.node_name, self.max_payload_len, self.e_d_tov)
    }

    /// PLOGI or its LS_ACC: a session from scratch, whatever was before (FC-LS-3, 6.2.2.5).
    pub(super) fn log_in(
        &mut self,
        number: usize,
        frame: &Incoming<'_>,
        login: &Login,
        counters: &mut Counters,
    ) -> Result<(), LsRjt> {
        let Incoming { from, header, .. } = frame;
        if login.port_name != from.port_name {
            return Err(LsRjt::new(Reason::LOGICAL_ERROR, INVALID_PORT_NAME));
        }
        let offered = login.class_3_payload_len();
        if !login.class_3.is_valid() || usize::from(offered) < MIN_MAX_PAYLOAD_LEN {
            return Err(LsRjt::new(Reason::LOGICAL_ERROR, INVALID_RECEIVE_SIZE));
        }
        let target = &self.targets[number];
        let mut attention = Attentions::default();
        attention.establish(Attentions::POWER_ON);
        let session = Session {
            peer: *from,
            own_id: header.d_id,
            nexus: Nexus { initiator: from.port_name, port: target.identity.relative },
            // What both logins and the link allow. Whole words: only a sequence's last frame may have fill bytes.
            max_payload_len: offered.min(from.max_payload_len) & !3,
            is_paired: false,
            has_retry: false,
            has_confirm: false,
            luns: target.luns_of(from.port_name),
            attentions: vec![attention; target.luns.len()],
        };
        self.forget_plogi(number, from.login);
        self.begin_session(number, from.login, session, counters);
        Ok(())
    }

    /// PRLI (FCP-4, 6.3).
    fn pair(&mut self, number: usize, from: &Sender, request: &ProcessLogin) -> ElsReply {
        let pages = request.pages.iter().map(|page| {
            if page.fc_type != FcType::FCP {
                return page.answered(SppResponse::NO_PROCESS);
            }
            let accepted = ServicePage::fcp(self.fcp_parameters);
            if !page.has(fcp_parameters::INITIATOR) {
                // Two targets have nothing to say to each other.
                return ServicePage { flags: 0, ..accepted }.answered(SppResponse::INVALID);
            }
            ServicePage { flags: page.flags & spp_flags::ESTABLISH_IMAGE_PAIR, ..accepted }
                .answered(SppResponse::EXECUTED)
        });
        let pages: Vec<_> = pages.collect();
        let is_paired = pages.iter().any(|page| {
            page.flags & spp_flags::ESTABLISH_IMAGE_PAIR != 0 && page.response() == SppResponse::EXECUTED
        });
        if is_paired {
            let agreed =
                |bit| self.fcp_parameters & bit != 0 && request.fcp().is_some_and(|page| page.has(bit));
            let (has_retry, has_confirm) = (agreed(fcp_parameters::RETRY), agreed(fcp_parameters::CONFIRM));
            let session = self.targets[number].session_mut(from.login.0).expect("the caller has looked");
            session.is_paired = true;
            (session.has_retry, session.has_confirm) = (has_retry, has_confirm);
        }
        ElsReply::Process(ProcessLogin { pages })
    }

    /// PRLO (FCP-4, 6.4): commands end, the port login stays.
    fn unpair(
        &mut self,
        number: usize,
        from: &Sender,
        request: &ProcessLogin,
        counters: &mut Counters,
    ) -> ElsReply {
        let open = self
            .exchanges
            .select(|exchange| (usize::from(exchange.target), exchange.login) == (number, from.login.0));
        self.abort_all(&open, counters);
        self.forget_retained(number, from.login.0);
        let session = self.targets[number].session_mut(from.login.0).expect("the caller has looked");
        session.is_paired = false;
        let pages = request.pages.iter().map(|page| page.answered(SppResponse::EXECUTED)).collect();
        ElsReply::Process(ProcessLogin { pages })
    }

    /// REC (FC-LS-3, 4.2.27): the exchange may be one of the sender's only.
    fn exchange_status(&self, header: &FcHeader, ids: &ExchangeIds) -> ElsReply {
        let found = self.exchanges.find(ids.rx_id.get(), ids.ox_id.get(), header.s_id, header.d_id);
        let Some(slot) = found.filter(|_| ids.originator == header.s_id) else {
            return LsRjt::NO_SUCH_EXCHANGE.into();
        };
        let exchange = self.exchanges.get(slot);
        let state = match exchange.state {
            // It is complete when it is confirmed.
            State::Retained(_) if !exchange.has_confirm => ExchangeStatus::COMPLETE,
            state if state.has_initiative() => ExchangeStatus::HAS_INITIATIVE,
            _ => 0,
        };
        ElsReply::Rec(ExchangeStatus {
            ox_id: exchange.ox_id.into(),
            rx_id: self.exchanges.rx_id(slot).into(),
            reserved: 0,
            originator: exchange.initiator,
            reserved_2: 0,
            responder: exchange.responder,
            fc4_value: exchange.moved().into(),
            e_stat: (ExchangeStatus::IS_RESPONDER | state).into(),
        })
    }

    /// Tells a port that `own_id` knows it no more, or never has (FC-LS-3, 6.2.2.6).
    pub(super) fn send_logo(&mut self, number: usize, own_id: FcId, to: &Sender, out: &mut Egress) {
        let header = request_header(own_id, to.fc_id, self.take_ox_id());
        let logo = ElsRequest::Logo(Logo::new(own_id, self.targets[number].identity.name));
        out.fc(to.path, &header, &logo.to_payload());
    }

    /// The OX_ID of a request of our own.
    pub(super) fn take_ox_id(&mut self) -> u16 {
        let ox_id = self.next_ox_id;
        self.next_ox_id = (ox_id + 1) % UNASSIGNED_XID;
        ox_id
    }
}

fn reject_to_order(faults: &mut Faults, request: &ElsRequest) -> Option<LsRjt> {
    match request {
        ElsRequest::Plogi(_) => faults.take_reject(LoginKind::Plogi),
        ElsRequest::Prli(_) => faults.take_reject(LoginKind::Prli),
        _ => None,
    }
}
