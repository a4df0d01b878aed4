//! The name server: who is there, and what they speak (FC-GS-7, 5.2).

use super::logins::Login;
use super::{Fabric, target_fc_id};
use crate::config::SanConfig;
use crate::context::{Context, Incoming, LoginId, reply_header};
use crate::counters::Drop;
use fc::wire::ct::{
    CtCommand, CtExplanation, CtPreamble, CtReason, CtReject, FEATURE_TARGET, GidFtEntry, GpnFtEntry,
    NameServerRequest, PortScope,
};
use fc::wire::fip::Fc4Attributes;
use fc::wire::header::{FcType, RCtl};
use fc::wire::{FcId, Wwn};
use zerocopy::IntoBytes;

/// A target as the name server knows it: registered from the start, by FCP.
#[derive(Clone, Copy, Debug)]
pub(super) struct TargetName {
    fc_id: FcId,
    port_name: Wwn,
    node_name: Wwn,
    /// Its cable is in.
    is_plugged: bool,
}

impl TargetName {
    pub(super) fn all(config: &SanConfig) -> Vec<Self> {
        let name = |(number, target): (usize, &crate::config::TargetConfig)| Self {
            fc_id: target_fc_id(config.fcf.domain, number),
            port_name: target.wwpn,
            node_name: target.wwnn,
            is_plugged: true,
        };
        config.targets.iter().enumerate().map(name).collect()
    }
}

/// A port of either kind.
#[derive(Clone, Copy)]
struct Registered {
    fc_id: FcId,
    port_name: Wwn,
    node_name: Wwn,
}

impl Fabric {
    /// A target's cable is in, or out: who asked for it is told.
    pub(crate) fn set_plugged(&mut self, target: usize, is_plugged: bool) {
        let target = &mut self.targets[target];
        if target.is_plugged != is_plugged {
            target.is_plugged = is_plugged;
            self.changes.note(target.fc_id);
        }
    }

    /// Whether there is a target at this place, and its cable is in.
    pub(super) fn has_target(&self, number: usize) -> bool {
        self.targets.get(number).is_some_and(|target| target.is_plugged)
    }

    /// The targets that are there.
    fn plugged(&self) -> impl Iterator<Item = TargetName> {
        self.targets.iter().copied().filter(|target| target.is_plugged)
    }

    /// A CT request to the name server. A reply that doesn't fit a frame goes as a sequence of several.
    pub(super) fn answer_ct(&mut self, cx: &mut Context<'_>, frame: &Incoming<'_>) -> Result<(), Drop> {
        let (preamble, _) = CtPreamble::split(frame.payload)?;
        let reply = match self.carry_out(frame, &preamble) {
            Ok(body) => accept(&preamble, &body),
            Err(reject) => CtPreamble::reject(reject).as_bytes().to_vec(),
        };
        let header = reply_header(frame.header, RCtl::SOLICITED_CONTROL);
        let frames = reply.len() / usize::from(frame.from.max_payload_len) + 1;
        if cx.out.has_room_for(frames) {
            cx.out.sequence(frame.from.path, &header, &reply, frame.from.max_payload_len);
        } else {
            // Half a reply helps nobody: the port asks again.
            cx.counters.dropped_queue_full += 1;
        }
        Ok(())
    }

    /// The body of the accept.
    fn carry_out(&mut self, frame: &Incoming<'_>, preamble: &CtPreamble) -> Result<Vec<u8>, CtReject> {
        let expected = CtPreamble::name_server(preamble.command);
        if preamble.revision != expected.revision {
            return Err(reject(CtReason::INVALID_VERSION, CtExplanation::NONE));
        }
        if (preamble.service, preamble.subtype) != (expected.service, expected.subtype) {
            return Err(reject(CtReason::UNSUPPORTED, CtExplanation::NONE));
        }
        if !self.logins.get(frame.from.login).is_some_and(|login| login.knows_name_server) {
            return Err(reject(CtReason::UNABLE, CtExplanation::ACCESS_DENIED));
        }
        let Ok(request) = NameServerRequest::parse(frame.payload) else {
            let is_known = KNOWN_COMMANDS.contains(&preamble.command);
            let reason = if is_known { CtReason::INVALID_SIZE } else { CtReason::UNSUPPORTED };
            return Err(reject(reason, CtExplanation::NONE));
        };
        self.answer_request(frame, request)
    }

    fn answer_request(
        &mut self,
        frame: &Incoming<'_>,
        request: NameServerRequest,
    ) -> Result<Vec<u8>, CtReject> {
        let no_id = reject(CtReason::UNABLE, CtExplanation::ID_NOT_REGISTERED);
        let from = frame.from.login;
        match request {
            NameServerRequest::GpnId(id) => {
                self.registered(from, id).map(|port| port.port_name.0.to_vec()).ok_or(no_id)
            }
            NameServerRequest::GnnId(id) => {
                self.registered(from, id).map(|port| port.node_name.0.to_vec()).ok_or(no_id)
            }
            NameServerRequest::GidPn(name) => {
                let target = self.plugged().find(|target| target.port_name == name);
                let port = self.logins.of_name(name).filter(|login| self.is_visible(from, login));
                let port = port.map(|login| login.port.fc_id);
                let id = target.map(|target| target.fc_id).or(port);
                let no_name = reject(CtReason::UNABLE, CtExplanation::PORT_NAME_NOT_REGISTERED);
                id.map(|id| id.to_u32().to_be_bytes().to_vec()).ok_or(no_name)
            }
            NameServerRequest::GidFt(scope) => self
                .list(from, scope, |port, is_last| GidFtEntry::new(port.fc_id, is_last).as_bytes().to_vec()),
            NameServerRequest::GpnFt(scope) => self.list(from, scope, |port, is_last| {
                GpnFtEntry::new(port.fc_id, port.port_name, is_last).as_bytes().to_vec()
            }),
            NameServerRequest::RnnId(id, name) => {
                own(frame, id)?;
                self.logins.get_mut(from).expect("frames come from logins").node_name = name;
                Ok(Vec::new())
            }
            NameServerRequest::RftId(id, types) => {
                own(frame, id)?;
                self.logins.get_mut(from).expect("frames come from logins").fc4_types = types;
                self.registered_anew(from);
                Ok(Vec::new())
            }
            NameServerRequest::RffId { id, fc_type, features } => {
                own(frame, id)?;
                let login = self.logins.get_mut(from).expect("frames come from logins");
                if !speaks(&login.fc4_types, fc_type) {
                    return Err(reject(CtReason::UNABLE, CtExplanation::TYPE_NOT_REGISTERED));
                }
                if fc_type == FcType::FCP {
                    login.is_target = features & FEATURE_TARGET != 0;
                }
                self.registered_anew(from);
                Ok(Vec::new())
            }
            // Symbolic names are taken and not kept: nothing here gives them out.
            NameServerRequest::RspnId(id, _) => own(frame, id).map(|()| Vec::new()),
            NameServerRequest::RsnnNn(name, _) => {
                let login = self.logins.get(from).expect("frames come from logins");
                if login.node_name == name {
                    Ok(Vec::new())
                } else {
                    Err(reject(CtReason::UNABLE, CtExplanation::NODE_NAME_NOT_REGISTERED))
                }
            }
            // A port has the name that it logged in with.
            NameServerRequest::RpnId(..) => Err(reject(CtReason::UNSUPPORTED, CtExplanation::NONE)),
        }
    }

    fn registered_anew(&mut self, id: LoginId) {
        let login = self.logins.get(id).expect("frames come from logins").clone();
        self.note_change(&login);
    }

    /// Whether a VN_Port is in a zone with another one.
    fn is_visible(&self, to: LoginId, login: &Login) -> bool {
        let is_target = |to: &Login| to.is_target;
        !self.config.single_initiator_zones || login.is_target || self.logins.get(to).is_some_and(is_target)
    }

    fn registered(&self, from: LoginId, id: FcId) -> Option<Registered> {
        let target = self.plugged().find(|target| target.fc_id == id);
        if let Some(TargetName { fc_id, port_name, node_name, .. }) = target {
            return Some(Registered { fc_id, port_name, node_name });
        }
        let login = self.logins.of_fc_id(id).filter(|login| self.is_visible(from, login))?;
        Some(Registered { fc_id: id, port_name: login.port.port_name, node_name: login.node_name })
    }

    /// The entries of all ports in `scope` that are in a zone with who asks.
    fn list(
        &self,
        from: LoginId,
        scope: PortScope,
        entry: impl Fn(Registered, bool) -> Vec<u8>,
    ) -> Result<Vec<u8>, CtReject> {
        let targets = self.plugged().filter(|_| scope.fc_type == FcType::FCP).map(|target| {
            let TargetName { fc_id, port_name, node_name, .. } = target;
            Registered { fc_id, port_name, node_name }
        });
        let is_listed =
            |login: &&Login| speaks(&login.fc4_types, scope.fc_type) && self.is_visible(from, login);
        let ports = self.logins.iter().filter(is_listed).map(|login| {
            let port = &login.port;
            Registered { fc_id: port.fc_id, port_name: port.port_name, node_name: login.node_name }
        });
        let is_meant = |port: &Registered| {
            let FcId([domain, area, _]) = port.fc_id;
            (scope.domain == 0 || scope.domain == domain) && (scope.area == 0 || scope.area == area)
        };
        let mut all = targets.chain(ports).filter(is_meant).peekable();
        let mut body = Vec::new();
        while let Some(port) = all.next() {
            body.extend(entry(port, all.peek().is_none()));
        }
        if body.is_empty() {
            return Err(reject(CtReason::UNABLE, CtExplanation::TYPE_NOT_REGISTERED));
        }
        Ok(body)
    }
}

/// What there are formats for.
const KNOWN_COMMANDS: [CtCommand; 11] = [
    CtCommand::GPN_ID,
    CtCommand::GNN_ID,
    CtCommand::GID_PN,
    CtCommand::GID_FT,
    CtCommand::GPN_FT,
    CtCommand::RPN_ID,
    CtCommand::RNN_ID,
    CtCommand::RFT_ID,
    CtCommand::RSPN_ID,
    CtCommand::RFF_ID,
    CtCommand::RSNN_NN,
];

const fn reject(reason: CtReason, explanation: CtExplanation) -> CtReject {
    CtReject { reason, explanation }
}

/// A port registers for itself only.
fn own(frame: &Incoming<'_>, id: FcId) -> Result<(), CtReject> {
    if frame.from.fc_id == id { Ok(()) } else { Err(reject(CtReason::UNABLE, CtExplanation::ACCESS_DENIED)) }
}

fn speaks(types: &[u8; 32], fc_type: FcType) -> bool {
    Fc4Attributes { types: *types, ..Fc4Attributes::NONE }.has(fc_type)
}

/// An accept, cut to the words that the request allows, which says how many were left out (FC-GS-7, 4.3.2.8).
fn accept(request: &CtPreamble, body: &[u8]) -> Vec<u8> {
    let words = body.len().div_ceil(4);
    let allowed = match request.max_words.get() {
        0 => words,
        limit => words.min(limit.into()),
    };
    let mut preamble = CtPreamble::name_server(CtCommand::ACCEPT);
    preamble.max_words = u16::try_from(words - allowed).unwrap_or(u16::MAX).into();
    let mut iu = preamble.as_bytes().to_vec();
    iu.extend_from_slice(&body[..body.len().min(allowed * 4)]);
    iu
}
