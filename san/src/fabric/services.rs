//! The well-known addresses: F_Port, fabric controller, name server (FC-LS-3; FC-GS-7).

use super::Fabric;
use crate::context::{Context, Incoming, reply_header};
use crate::counters::Drop;
use fc::time::Duration;
use fc::wire::FcId;
use fc::wire::els::{ElsCommand, ElsReply, ElsRequest, LsRjt, ScrFunction, TimeoutValues};
use fc::wire::header::{FcType, RCtl};

impl Fabric {
    /// A frame to a well-known address, from a VN_Port that is logged in.
    pub(crate) fn handle_service(&mut self, cx: &mut Context<'_>, frame: &Incoming<'_>) -> Result<(), Drop> {
        let header = frame.header;
        match (header.r_ctl, header.fc_type) {
            (RCtl::ELS_REQUEST, FcType::ELS) if frame.is_whole() => self.answer_els(cx, frame),
            // Replies to RSCNs: nothing depends on them.
            (RCtl::ELS_REPLY, FcType::ELS) if header.d_id == FcId::FABRIC_CONTROLLER => Ok(()),
            (RCtl::CT_REQUEST, FcType::CT) if frame.is_whole() && header.d_id == FcId::NAME_SERVER => {
                self.answer_ct(cx, frame)
            }
            _ => Err(Drop::Unexpected),
        }
    }

    fn answer_els(&mut self, cx: &mut Context<'_>, frame: &Incoming<'_>) -> Result<(), Drop> {
        let d_id = frame.header.d_id;
        ElsCommand::of(frame.payload)?;
        let reply = match ElsRequest::parse(frame.payload) {
            Err(_) => LsRjt::MALFORMED.into(),
            Ok(request) => match d_id {
                FcId::F_PORT => self.answer_at_f_port(request),
                FcId::FABRIC_CONTROLLER => self.answer_at_controller(frame, &request),
                FcId::NAME_SERVER => self.answer_at_name_server(frame, &request),
                // Domain controllers, management server and the rest take no logins.
                _ => LsRjt::UNSUPPORTED.into(),
            },
        };
        cx.out.fc(frame.from.path, &reply_header(frame.header, RCtl::ELS_REPLY), &reply.to_payload());
        Ok(())
    }

    /// Logins and logouts come by FIP only (FC-BB-5, 7.8.6).
    fn answer_at_f_port(&self, request: ElsRequest) -> ElsReply {
        let ms = |ms: u32| Duration::from_millis(ms.into());
        match request {
            ElsRequest::Rtv => ElsReply::Rtv(TimeoutValues::new(ms(self.r_a_tov_ms), ms(self.e_d_tov_ms))),
            ElsRequest::Echo(bytes) => ElsReply::Echo(bytes),
            _ => LsRjt::UNSUPPORTED.into(),
        }
    }

    fn answer_at_controller(&mut self, frame: &Incoming<'_>, request: &ElsRequest) -> ElsReply {
        match request {
            ElsRequest::Plogi(_) => ElsReply::Login(self.service_parameters()),
            ElsRequest::Logo(_) => ElsReply::Accept,
            ElsRequest::Scr(function) => {
                let login = self.logins.get_mut(frame.from.login).expect("frames come from logins");
                login.scn = Some(*function).filter(|function| *function != ScrFunction::CLEAR);
                ElsReply::Accept
            }
            _ => LsRjt::UNSUPPORTED.into(),
        }
    }

    fn answer_at_name_server(&mut self, frame: &Incoming<'_>, request: &ElsRequest) -> ElsReply {
        let parameters = self.service_parameters();
        let login = self.logins.get_mut(frame.from.login).expect("frames come from logins");
        match request {
            ElsRequest::Plogi(_) => {
                login.knows_name_server = true;
                ElsReply::Login(parameters)
            }
            ElsRequest::Logo(_) => {
                login.knows_name_server = false;
                ElsReply::Accept
            }
            _ => LsRjt::UNSUPPORTED.into(),
        }
    }
}
