//! Extended link services (FC-LS-3): logins and what keeps them.
//!
//! A payload is a command code, three more bytes, and a body. The structs here are the bodies; [`ElsRequest`]
//! and [`ElsReply`] are whole payloads. A reply doesn't name its request: [`ElsReply::parse`] must be told.

mod login;
mod process;
mod reject;
mod scn;
mod service;
#[cfg(test)]
mod tests;

pub use login::{ClassParameters, CommonParameters, Login, class_options, common_features};
pub use process::{ProcessLogin, ServicePage, SppResponse, fcp_parameters, spp_flags};
pub use reject::{Explanation, LsRjt, Reason};
pub use scn::{RscnFormat, RscnPage, ScrFunction};
pub use service::{Adisc, ExchangeIds, ExchangeStatus, Logo, TimeoutValues};

use super::{WireError, split_fixed};
use alloc::vec::Vec;
use core::fmt;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The command code and the three bytes after it.
const WORD_LEN: usize = 4;

/// A link service's command code (FC-LS-3, 4.2).
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(transparent)]
pub struct ElsCommand(pub u8);

impl ElsCommand {
    /// Link service reject.
    pub const LS_RJT: Self = Self(0x01);
    /// Link service accept.
    pub const LS_ACC: Self = Self(0x02);
    /// N_Port login.
    pub const PLOGI: Self = Self(0x03);
    /// Fabric login.
    pub const FLOGI: Self = Self(0x04);
    /// Logout.
    pub const LOGO: Self = Self(0x05);
    /// Read timeout values.
    pub const RTV: Self = Self(0x0e);
    /// Echo.
    pub const ECHO: Self = Self(0x10);
    /// Reinstate recovery qualifier: frees an aborted exchange's IDs.
    pub const RRQ: Self = Self(0x12);
    /// Read exchange concise.
    pub const REC: Self = Self(0x13);
    /// Process login.
    pub const PRLI: Self = Self(0x20);
    /// Process logout.
    pub const PRLO: Self = Self(0x21);
    /// Discover N_Port service parameters.
    pub const PDISC: Self = Self(0x50);
    /// Discover F_Port service parameters: over NPIV, a login for a further N_Port_ID.
    pub const FDISC: Self = Self(0x51);
    /// Discover address.
    pub const ADISC: Self = Self(0x52);
    /// Registered state change notification.
    pub const RSCN: Self = Self(0x61);
    /// State change registration.
    pub const SCR: Self = Self(0x62);

    /// The command code at the front of `payload`.
    pub fn of(payload: &[u8]) -> Result<Self, WireError> {
        split_word(payload).map(|(word, _)| Self(word[0]))
    }
}

impl fmt::Display for ElsCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Self::LS_RJT => "LS_RJT",
            Self::LS_ACC => "LS_ACC",
            Self::PLOGI => "PLOGI",
            Self::FLOGI => "FLOGI",
            Self::LOGO => "LOGO",
            Self::RTV => "RTV",
            Self::ECHO => "ECHO",
            Self::RRQ => "RRQ",
            Self::REC => "REC",
            Self::PRLI => "PRLI",
            Self::PRLO => "PRLO",
            Self::PDISC => "PDISC",
            Self::FDISC => "FDISC",
            Self::ADISC => "ADISC",
            Self::RSCN => "RSCN",
            Self::SCR => "SCR",
            Self(code) => return write!(f, "ELS {code:#04x}"),
        })
    }
}

impl fmt::Debug for ElsCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A request's whole payload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ElsRequest {
    /// Fabric login.
    Flogi(Login),
    /// Login for a further N_Port_ID.
    Fdisc(Login),
    /// N_Port login.
    Plogi(Login),
    /// Asks whether a login still holds, with its parameters.
    Pdisc(Login),
    /// Process login.
    Prli(ProcessLogin),
    /// Process logout.
    Prlo(ProcessLogin),
    /// Logout.
    Logo(Logo),
    /// Asks whether a login still holds, by names and address.
    Adisc(Adisc),
    /// Asks for R_A_TOV and E_D_TOV.
    Rtv,
    /// Asks how far an exchange is.
    Rec(ExchangeIds),
    /// The originator will use an aborted exchange's IDs again.
    Rrq(ExchangeIds),
    /// Registers for state changes.
    Scr(ScrFunction),
    /// State has changed.
    Rscn(Vec<RscnPage>),
    /// Wants these bytes back.
    Echo(Vec<u8>),
    /// A command that is not known here.
    Unknown {
        /// Its code.
        command: ElsCommand,
        /// The three bytes after the code.
        flags: [u8; 3],
        /// What follows.
        body: Vec<u8>,
    },
}

impl ElsRequest {
    /// Reads a request. Bytes after a fixed body are ignored.
    pub fn parse(payload: &[u8]) -> Result<Self, WireError> {
        let ([code, flags @ ..], body) = split_word(payload)?;
        let command = ElsCommand(code);
        Ok(match command {
            ElsCommand::FLOGI => Self::Flogi(fixed("FLOGI", body)?),
            ElsCommand::FDISC => Self::Fdisc(fixed("FDISC", body)?),
            ElsCommand::PLOGI => Self::Plogi(fixed("PLOGI", body)?),
            ElsCommand::PDISC => Self::Pdisc(fixed("PDISC", body)?),
            ElsCommand::PRLI => Self::Prli(ProcessLogin::parse("PRLI", flags, body)?),
            ElsCommand::PRLO => Self::Prlo(ProcessLogin::parse("PRLO", flags, body)?),
            ElsCommand::LOGO => Self::Logo(fixed("LOGO", body)?),
            ElsCommand::ADISC => Self::Adisc(fixed("ADISC", body)?),
            ElsCommand::RTV => Self::Rtv,
            ElsCommand::REC => Self::Rec(fixed("REC", body)?),
            ElsCommand::RRQ => Self::Rrq(fixed("RRQ", body)?),
            ElsCommand::SCR => Self::Scr(ScrFunction::parse(body)?),
            ElsCommand::RSCN => Self::Rscn(scn::parse_pages(flags, body)?),
            ElsCommand::ECHO => Self::Echo(body.to_vec()),
            _ => Self::Unknown { command, flags, body: body.to_vec() },
        })
    }

    /// Its command code.
    pub const fn command(&self) -> ElsCommand {
        match self {
            Self::Flogi(_) => ElsCommand::FLOGI,
            Self::Fdisc(_) => ElsCommand::FDISC,
            Self::Plogi(_) => ElsCommand::PLOGI,
            Self::Pdisc(_) => ElsCommand::PDISC,
            Self::Prli(_) => ElsCommand::PRLI,
            Self::Prlo(_) => ElsCommand::PRLO,
            Self::Logo(_) => ElsCommand::LOGO,
            Self::Adisc(_) => ElsCommand::ADISC,
            Self::Rtv => ElsCommand::RTV,
            Self::Rec(_) => ElsCommand::REC,
            Self::Rrq(_) => ElsCommand::RRQ,
            Self::Scr(_) => ElsCommand::SCR,
            Self::Rscn(_) => ElsCommand::RSCN,
            Self::Echo(_) => ElsCommand::ECHO,
            Self::Unknown { command, .. } => *command,
        }
    }

    /// The payload that says this.
    ///
    /// # Panics
    /// If a PRLI, PRLO or RSCN has more pages than its length field counts: 4,095 or 16,382.
    pub fn to_payload(&self) -> Vec<u8> {
        let command = self.command();
        match self {
            Self::Flogi(login) | Self::Fdisc(login) | Self::Plogi(login) | Self::Pdisc(login) => {
                join(command, [0; 3], login.as_bytes())
            }
            Self::Prli(process) | Self::Prlo(process) => process.to_payload(command),
            Self::Logo(logo) => join(command, [0; 3], logo.as_bytes()),
            Self::Adisc(adisc) => join(command, [0; 3], adisc.as_bytes()),
            Self::Rtv => join(command, [0; 3], &[]),
            Self::Rec(ids) | Self::Rrq(ids) => join(command, [0; 3], ids.as_bytes()),
            Self::Scr(function) => join(command, [0; 3], &[0, 0, 0, function.0]),
            Self::Rscn(pages) => scn::pages_to_payload(command, pages),
            Self::Echo(body) => join(command, [0; 3], body),
            Self::Unknown { flags, body, .. } => join(command, *flags, body),
        }
    }
}

/// A reply's whole payload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ElsReply {
    /// LS_ACC to FLOGI, FDISC, PLOGI and PDISC: the responder's own parameters.
    Login(Login),
    /// LS_ACC to PRLI and PRLO: what was agreed, page by page.
    Process(ProcessLogin),
    /// LS_ACC to ADISC: the responder's own names and address.
    Adisc(Adisc),
    /// LS_ACC to RTV.
    Rtv(TimeoutValues),
    /// LS_ACC to REC.
    Rec(ExchangeStatus),
    /// LS_ACC to ECHO: the request's bytes.
    Echo(Vec<u8>),
    /// LS_ACC to LOGO, RRQ, SCR and RSCN, and to requests that are not known here.
    Accept,
    /// LS_RJT.
    Reject(LsRjt),
}

impl ElsReply {
    /// Reads the reply to a request with the code `request`.
    ///
    /// # Errors
    /// Also if it is neither LS_ACC nor LS_RJT.
    pub fn parse(request: ElsCommand, payload: &[u8]) -> Result<Self, WireError> {
        let ([code, flags @ ..], body) = split_word(payload)?;
        match ElsCommand(code) {
            ElsCommand::LS_RJT => return Ok(Self::Reject(fixed("LS_RJT", body)?)),
            ElsCommand::LS_ACC => {}
            _ => return Err(WireError::BadValue { what: "command of an ELS reply", value: code.into() }),
        }
        Ok(match request {
            ElsCommand::FLOGI | ElsCommand::FDISC | ElsCommand::PLOGI | ElsCommand::PDISC => {
                Self::Login(fixed("LS_ACC to a login", body)?)
            }
            ElsCommand::PRLI | ElsCommand::PRLO => {
                Self::Process(ProcessLogin::parse("LS_ACC to PRLI or PRLO", flags, body)?)
            }
            ElsCommand::ADISC => Self::Adisc(fixed("LS_ACC to ADISC", body)?),
            ElsCommand::RTV => Self::Rtv(fixed("LS_ACC to RTV", body)?),
            ElsCommand::REC => Self::Rec(fixed("LS_ACC to REC", body)?),
            ElsCommand::ECHO => Self::Echo(body.to_vec()),
            _ => Self::Accept,
        })
    }

    /// The payload that says this.
    pub fn to_payload(&self) -> Vec<u8> {
        let accept = ElsCommand::LS_ACC;
        match self {
            Self::Login(login) => join(accept, [0; 3], login.as_bytes()),
            Self::Process(process) => process.to_payload(accept),
            Self::Adisc(adisc) => join(accept, [0; 3], adisc.as_bytes()),
            Self::Rtv(values) => join(accept, [0; 3], values.as_bytes()),
            Self::Rec(status) => join(accept, [0; 3], status.as_bytes()),
            Self::Echo(body) => join(accept, [0; 3], body),
            Self::Accept => join(accept, [0; 3], &[]),
            Self::Reject(reject) => join(ElsCommand::LS_RJT, [0; 3], reject.as_bytes()),
        }
    }
}

impl From<LsRjt> for ElsReply {
    fn from(reject: LsRjt) -> Self {
        Self::Reject(reject)
    }
}

fn split_word(payload: &[u8]) -> Result<([u8; WORD_LEN], &[u8]), WireError> {
    split_fixed("ELS", payload)
}

fn fixed<T>(what: &'static str, body: &[u8]) -> Result<T, WireError>
where
    T: FromBytes + KnownLayout + Immutable + Unaligned,
{
    split_fixed(what, body).map(|(parsed, _)| parsed)
}

fn join(command: ElsCommand, flags: [u8; 3], body: &[u8]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(WORD_LEN + body.len());
    payload.push(command.0);
    payload.extend_from_slice(&flags);
    payload.extend_from_slice(body);
    payload
}
