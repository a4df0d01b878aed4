//! What machines ask the exchanges to send, and what comes of it.

use crate::frame::FcFrame;
use crate::time::Duration;
use crate::wire::ct::{CtReject, NameServerRequest};
use crate::wire::els::{ElsReply, ElsRequest, LsRjt};
use crate::wire::fip::ElsKind;
use crate::wire::{FcId, MacAddr, WireError};
use alloc::vec::Vec;
use thiserror::Error;

/// How a frame travels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Via {
    /// In an FCoE frame.
    Fcoe,
    /// In a FIP frame to the FCF, or to a VN2VN neighbour.
    Fip {
        /// The descriptor that carries it.
        kind: ElsKind,
        /// The MAC descriptor beside it: the VN_Port's, zero before it has one. Where the ENode proposes its
        /// addresses (SPMA), whoever sends the frame puts the proposed one there.
        mac: MacAddr,
    },
}

/// A frame to send.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outgoing {
    /// How.
    pub via: Via,
    /// The frame.
    pub frame: FcFrame,
}

/// A service that an N_Port asks of another one, or of the fabric.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Service {
    /// An extended link service.
    Els(ElsRequest),
    /// A request to the name server.
    NameServer(NameServerRequest),
}

/// An exchange to begin.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// How its frames travel.
    pub via: Via,
    /// Who asks.
    pub s_id: FcId,
    /// Who is asked.
    pub d_id: FcId,
    /// What is asked.
    pub service: Service,
    /// How long to wait for the reply.
    pub timeout: Duration,
}

/// What a machine wants from the exchanges. It has at most one [`Order::Ask`] out at a time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Order {
    /// Send this, and tell what came of it.
    Ask(Request),
    /// Send this; what comes of it is of no interest.
    Tell(Request),
    /// What was asked is of no interest any more.
    Forget,
}

/// A request was accepted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// By an LS_ACC, sent to `d_id`: in the reply to an FLOGI or FDISC, that is the new N_Port_ID.
    Els {
        /// To whom the reply went.
        d_id: FcId,
        /// The reply, never [`ElsReply::Reject`].
        reply: ElsReply,
    },
    /// By a CT accept with this body.
    NameServer(Vec<u8>),
}

/// A request came to nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum Failure {
    /// No reply in time.
    #[error("no reply in time")]
    TimedOut,
    /// LS_RJT.
    #[error("rejected: {0}")]
    Rejected(LsRjt),
    /// A CT reject.
    #[error("rejected: {0}")]
    CtRejected(CtReject),
    /// The reply can't be understood.
    #[error("the reply is malformed: {0}")]
    Malformed(WireError),
    /// The reply is well-formed, but what it says can't be worked with.
    #[error("the reply can't be used: {0}")]
    Unusable(&'static str),
    /// Frames of the reply are missing, or it is longer than any that is asked for.
    #[error("the reply is not whole")]
    Broken,
    /// The responder aborted the exchange.
    #[error("the responder aborted the exchange")]
    Aborted,
    /// No exchange could be begun: too many are open.
    #[error("too many exchanges are open")]
    TooMany,
}
