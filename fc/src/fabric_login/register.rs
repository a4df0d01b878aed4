//! From the fabric login to a registered port, step by step; the order is that of Linux.

use super::{Identity, MAX_SYMBOLIC_LEN, Session};
use crate::exchange::{Answer, Failure, Request, Service, Via};
use crate::wire::FcId;
use crate::wire::ct::{CtReason, FEATURE_INITIATOR, NameServerRequest};
use crate::wire::els::{ElsReply, ElsRequest, Login, Reason, ScrFunction};
use crate::wire::fip::Fc4Attributes;
use crate::wire::header::FcType;
use alloc::vec::Vec;

/// A step: one request to a service of the fabric.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// PLOGI to the name server.
    NameServerLogin,
    /// RNN_ID.
    NodeName,
    /// RSNN_NN.
    SymbolicNodeName,
    /// RSPN_ID.
    SymbolicPortName,
    /// RFT_ID.
    Fc4Types,
    /// RFF_ID.
    Fc4Features,
    /// SCR to the fabric controller.
    StateChanges,
}

impl Step {
    pub(super) const FIRST: Self = Self::NameServerLogin;

    pub(super) const fn next(self) -> Option<Self> {
        match self {
            Self::NameServerLogin => Some(Self::NodeName),
            Self::NodeName => Some(Self::SymbolicNodeName),
            Self::SymbolicNodeName => Some(Self::SymbolicPortName),
            Self::SymbolicPortName => Some(Self::Fc4Types),
            Self::Fc4Types => Some(Self::Fc4Features),
            Self::Fc4Features => Some(Self::StateChanges),
            Self::StateChanges => None,
        }
    }

    pub(super) fn request(self, identity: &Identity, session: &Session) -> Request {
        let (id, node_name) = (session.fc_id, identity.node_name);
        match self {
            Self::NameServerLogin => {
                let login =
                    Login::n_port(identity.port_name, node_name, session.max_payload_len, session.e_d_tov);
                els_request(session, FcId::NAME_SERVER, ElsRequest::Plogi(login))
            }
            Self::NodeName => name_server_request(session, NameServerRequest::RnnId(id, node_name)),
            Self::SymbolicNodeName => {
                let name = symbolic(&identity.symbolic_node_name);
                name_server_request(session, NameServerRequest::RsnnNn(node_name, name))
            }
            Self::SymbolicPortName => {
                let name = symbolic(&identity.symbolic_port_name);
                name_server_request(session, NameServerRequest::RspnId(id, name))
            }
            Self::Fc4Types => {
                let types = Fc4Attributes::NONE.with(FcType::FCP, 0).with(FcType::CT, 0).types;
                name_server_request(session, NameServerRequest::RftId(id, types))
            }
            Self::Fc4Features => {
                let (features, fc_type) = (FEATURE_INITIATOR, FcType::FCP);
                name_server_request(session, NameServerRequest::RffId { id, features, fc_type })
            }
            Self::StateChanges => {
                els_request(session, FcId::FABRIC_CONTROLLER, ElsRequest::Scr(ScrFunction::FULL))
            }
        }
    }

    /// Whether the next step can follow. Symbolic names and features are for people and other initiators: a
    /// fabric that doesn't want them is one to live with, and so is one that tells no state changes.
    pub(super) fn judge(self, outcome: Result<Answer, Failure>) -> Result<(), Failure> {
        match (self, outcome) {
            (Self::NameServerLogin, Ok(Answer::Els { reply: ElsReply::Login(_), .. })) => Ok(()),
            (Self::StateChanges, Ok(Answer::Els { reply: ElsReply::Accept, .. })) => Ok(()),
            (Self::NameServerLogin | Self::StateChanges, Ok(_)) => {
                Err(Failure::Unusable("the reply is to another request"))
            }
            (_, Ok(_)) => Ok(()),
            (
                Self::SymbolicNodeName | Self::SymbolicPortName | Self::Fc4Features,
                Err(Failure::CtRejected(_)),
            ) => Ok(()),
            (Self::NodeName, Err(Failure::CtRejected(reject))) if reject.reason == CtReason::UNSUPPORTED => {
                Ok(())
            }
            (Self::StateChanges, Err(Failure::Rejected(reject))) if reject.reason == Reason::UNSUPPORTED => {
                Ok(())
            }
            (_, Err(failure)) => Err(failure),
        }
    }
}

fn els_request(session: &Session, d_id: FcId, request: ElsRequest) -> Request {
    Request {
        via: Via::Fcoe,
        s_id: session.fc_id,
        d_id,
        service: Service::Els(request),
        timeout: session.els_timeout(),
    }
}

pub(super) fn name_server_request(session: &Session, request: NameServerRequest) -> Request {
    Request {
        via: Via::Fcoe,
        s_id: session.fc_id,
        d_id: FcId::NAME_SERVER,
        service: Service::NameServer(request),
        timeout: session.ct_timeout(),
    }
}

fn symbolic(name: &[u8]) -> Vec<u8> {
    Vec::from(&name[..name.len().min(MAX_SYMBOLIC_LEN)])
}
