//! FC frames that come by FCoE.

use super::network::Network;
use super::{Entry, MAX_UNLISTED_PORTS, VnPort};
use crate::exchange::Via;
use crate::frame::FcFrame;
use crate::remote_port::{RemotePort, reply_to_stranger};
use crate::time::Instant;
use crate::wire::FcId;
use crate::wire::els::{ElsReply, ElsRequest, Explanation, Login, LsRjt, Reason};
use crate::wire::header::{FCtl, FcHeader, FcType, RCtl};
use alloc::boxed::Box;

impl VnPort {
    /// Takes a frame that came by FCoE and isn't FCP's: CRC and delimiters have been checked, fill is removed.
    pub fn handle_frame(&mut self, now: Instant, frame: &FcFrame) {
        let header = &frame.header;
        let is_from_nobody = header.s_id == FcId::UNASSIGNED || header.s_id == header.d_id;
        if is_from_nobody || self.session().is_none_or(|session| session.fc_id != header.d_id) {
            self.counters.misaddressed += 1;
            return;
        }
        match (header.r_ctl, header.fc_type) {
            (RCtl::ELS_REQUEST, FcType::ELS) => self.handle_els_request(now, frame),
            (RCtl::ELS_REPLY, FcType::ELS)
            | (RCtl::SOLICITED_CONTROL, FcType::CT)
            | (RCtl::ABTS | RCtl::BA_ACC | RCtl::BA_RJT, FcType::BLS) => {
                if let Some((owner, outcome)) = self.exchanges.handle_fcoe_frame(now, frame) {
                    self.settle(now, owner, outcome, None);
                }
            }
            _ => self.counters.unexpected += 1,
        }
    }

    fn handle_els_request(&mut self, now: Instant, frame: &FcFrame) {
        let header = &frame.header;
        if !is_whole_request(header) {
            self.counters.unexpected += 1;
            return;
        }
        match ElsRequest::parse(&frame.payload) {
            Err(_) => {
                self.counters.malformed += 1;
                self.reply(header, &LsRjt::MALFORMED.into());
            }
            Ok(request) if header.s_id.is_well_known() => {
                self.handle_fabric_request(now, header, &request);
            }
            // FIP alone carries it.
            Ok(ElsRequest::Flogi(_)) => self.reply(header, &LsRjt::UNSUPPORTED.into()),
            Ok(request) => self.handle_port_request(now, header, &request),
        }
    }

    fn handle_fabric_request(&mut self, now: Instant, header: &FcHeader, request: &ElsRequest) {
        let Network::Fabric(fabric) = &mut self.network else {
            self.counters.misaddressed += 1;
            return;
        };
        if let Some(reply) = fabric.handle_request(now, header.s_id, request) {
            self.reply(header, &reply);
        }
        self.drive_network(now);
    }

    fn handle_port_request(&mut self, now: Instant, header: &FcHeader, request: &ElsRequest) {
        let id = header.s_id;
        if let ElsRequest::Plogi(login) = request
            && !self.ports.contains_key(&id)
            && let Err(reject) = self.admit(id, login)
        {
            self.reply(header, &reject.into());
            return;
        }
        let Some(entry) = self.ports.get_mut(&id) else {
            self.reply(header, &reply_to_stranger(request));
            return;
        };
        let reply = entry.port.handle_request(now, request);
        // The reply goes out before whatever follows from the request.
        self.reply(header, &reply);
        self.with_port(now, id, |_| {});
    }

    /// Makes room for a port that logs in though it isn't listed. VN2VN has no such ports.
    fn admit(&mut self, id: FcId, login: &Login) -> Result<(), LsRjt> {
        let Network::Fabric(_) = &self.network else { return Err(LsRjt::LOGIN_REQUIRED) };
        let full = LsRjt::new(Reason::UNABLE, Explanation::NO_RESOURCES);
        if self.ports.values().any(|entry| entry.port.port_name() == login.port_name) {
            // A port that has moved is listed soon; until then its name is the one's that the fabric vouches for.
            return Err(LsRjt::new(Reason::LOGICAL_ERROR, Explanation::PORT_NAME));
        }
        let Some(local) = self.network.local_port() else { return Err(full) };
        if self.ports.values().filter(|entry| !entry.is_listed).count() >= MAX_UNLISTED_PORTS {
            self.counters.too_many_ports += 1;
            return Err(full);
        }
        let port = RemotePort::accepting(local, id, login.port_name);
        self.ports.insert(id, Box::new(Entry { port, is_listed: false }));
        Ok(())
    }

    fn reply(&mut self, request: &FcHeader, reply: &ElsReply) {
        self.exchanges.push_reply(Via::Fcoe, FcFrame::els_reply(request, reply.to_payload()));
    }
}

/// Link service requests are one frame that begins an exchange.
pub(super) fn is_whole_request(header: &FcHeader) -> bool {
    header.f_ctl.has(FCtl::FIRST_SEQUENCE | FCtl::END_SEQUENCE)
        && !header.f_ctl.has(FCtl::EXCHANGE_RESPONDER)
        && header.seq_cnt.get() == 0
}
