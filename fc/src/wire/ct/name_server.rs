//! Requests to the name server (FC-GS-7, 5.2.5).

use super::{CtCommand, CtPreamble};
use crate::wire::header::FcType;
use crate::wire::{FcId, WireError, Wwn, split_fixed};
use alloc::vec::Vec;
use zerocopy::IntoBytes;

/// The most bytes of a symbolic name: its length is one byte.
pub const MAX_SYMBOLIC_NAME_LEN: usize = 255;
/// RFF_ID's feature bit of an FCP target.
pub const FEATURE_TARGET: u8 = 0x01;
/// RFF_ID's feature bit of an FCP initiator.
pub const FEATURE_INITIATOR: u8 = 0x02;

/// Which ports of an FC-4 type GID_FT and GPN_FT ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PortScope {
    /// Only this domain's; 0 is every one's.
    pub domain: u8,
    /// Only this area's; 0 is every one's.
    pub area: u8,
    /// The FC-4 type.
    pub fc_type: FcType,
}

impl PortScope {
    /// The whole fabric's.
    pub const fn fabric(fc_type: FcType) -> Self {
        Self { domain: 0, area: 0, fc_type }
    }
}

/// A request to the name server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NameServerRequest {
    /// Asks for the WWPN of a port.
    GpnId(FcId),
    /// Asks for the WWNN of a port.
    GnnId(FcId),
    /// Asks for the N_Port_ID of a port.
    GidPn(Wwn),
    /// Asks for the N_Port_IDs of an FC-4 type.
    GidFt(PortScope),
    /// Asks for the N_Port_IDs and WWPNs of an FC-4 type.
    GpnFt(PortScope),
    /// Registers the WWPN of a port.
    RpnId(FcId, Wwn),
    /// Registers the WWNN of a port.
    RnnId(FcId, Wwn),
    /// Registers the FC-4 types of a port, a bit each, as in [`crate::wire::fip::Fc4Attributes::types`].
    RftId(FcId, [u8; 32]),
    /// Registers the symbolic name of a port.
    RspnId(FcId, Vec<u8>),
    /// Registers the features of a port's FC-4 type.
    RffId {
        /// The port.
        id: FcId,
        /// [`FEATURE_TARGET`] and [`FEATURE_INITIATOR`] for FCP.
        features: u8,
        /// The FC-4 type.
        fc_type: FcType,
    },
    /// Registers the symbolic name of a node.
    RsnnNn(Wwn, Vec<u8>),
}

impl NameServerRequest {
    /// Reads a CT_IU with a request.
    ///
    /// # Errors
    /// Also if the command isn't one of these: the preamble then says which.
    pub fn parse(iu: &[u8]) -> Result<Self, WireError> {
        let (preamble, body) = CtPreamble::split(iu)?;
        Ok(match preamble.command {
            CtCommand::GPN_ID => Self::GpnId(split_id("GPN_ID", body)?.0),
            CtCommand::GNN_ID => Self::GnnId(split_id("GNN_ID", body)?.0),
            CtCommand::GID_PN => Self::GidPn(split_fixed("GID_PN", body)?.0),
            CtCommand::GID_FT => Self::GidFt(parse_scope("GID_FT", body)?),
            CtCommand::GPN_FT => Self::GpnFt(parse_scope("GPN_FT", body)?),
            CtCommand::RPN_ID => {
                let (id, rest) = split_id("RPN_ID", body)?;
                Self::RpnId(id, split_fixed("RPN_ID", rest)?.0)
            }
            CtCommand::RNN_ID => {
                let (id, rest) = split_id("RNN_ID", body)?;
                Self::RnnId(id, split_fixed("RNN_ID", rest)?.0)
            }
            CtCommand::RFT_ID => {
                let (id, rest) = split_id("RFT_ID", body)?;
                Self::RftId(id, split_fixed("RFT_ID", rest)?.0)
            }
            CtCommand::RSPN_ID => {
                let (id, rest) = split_id("RSPN_ID", body)?;
                Self::RspnId(id, parse_symbolic_name("RSPN_ID", rest)?)
            }
            CtCommand::RFF_ID => {
                let (id, rest) = split_id("RFF_ID", body)?;
                let ([_, _, features, fc_type], _) = split_fixed::<[u8; 4]>("RFF_ID", rest)?;
                Self::RffId { id, features, fc_type: FcType(fc_type) }
            }
            CtCommand::RSNN_NN => {
                let (node_name, rest) = split_fixed("RSNN_NN", body)?;
                Self::RsnnNn(node_name, parse_symbolic_name("RSNN_NN", rest)?)
            }
            CtCommand(code) => {
                return Err(WireError::BadValue { what: "name server command", value: code.get().into() });
            }
        })
    }

    /// Its command code.
    pub const fn command(&self) -> CtCommand {
        match self {
            Self::GpnId(_) => CtCommand::GPN_ID,
            Self::GnnId(_) => CtCommand::GNN_ID,
            Self::GidPn(_) => CtCommand::GID_PN,
            Self::GidFt(_) => CtCommand::GID_FT,
            Self::GpnFt(_) => CtCommand::GPN_FT,
            Self::RpnId(..) => CtCommand::RPN_ID,
            Self::RnnId(..) => CtCommand::RNN_ID,
            Self::RftId(..) => CtCommand::RFT_ID,
            Self::RspnId(..) => CtCommand::RSPN_ID,
            Self::RffId { .. } => CtCommand::RFF_ID,
            Self::RsnnNn(..) => CtCommand::RSNN_NN,
        }
    }

    /// The CT_IU that says this. Symbolic names are cut at [`MAX_SYMBOLIC_NAME_LEN`].
    pub fn to_payload(&self) -> Vec<u8> {
        let preamble = CtPreamble::name_server(self.command());
        let mut iu = Vec::from(preamble.as_bytes());
        let mut put = |bytes: &[u8]| iu.extend_from_slice(bytes);
        let id_word = |id: FcId| id.to_u32().to_be_bytes();
        match self {
            Self::GpnId(id) | Self::GnnId(id) => put(&id_word(*id)),
            Self::GidPn(port_name) => put(port_name.as_bytes()),
            Self::GidFt(scope) | Self::GpnFt(scope) => {
                put(&[0, scope.domain, scope.area, scope.fc_type.0]);
            }
            Self::RpnId(id, name) | Self::RnnId(id, name) => {
                put(&id_word(*id));
                put(name.as_bytes());
            }
            Self::RftId(id, types) => {
                put(&id_word(*id));
                put(types);
            }
            Self::RspnId(id, name) => {
                put(&id_word(*id));
                put_symbolic_name(put, name);
            }
            Self::RffId { id, features, fc_type } => {
                put(&id_word(*id));
                put(&[0, 0, *features, fc_type.0]);
            }
            Self::RsnnNn(node_name, name) => {
                put(node_name.as_bytes());
                put_symbolic_name(put, name);
            }
        }
        iu
    }
}

/// The WWPN in the body of an accept to GPN_ID.
pub fn port_name_reply(body: &[u8]) -> Result<Wwn, WireError> {
    split_fixed("accept to GPN_ID", body).map(|(name, _)| name)
}

/// A reserved byte and an N_Port_ID.
fn split_id<'a>(what: &'static str, body: &'a [u8]) -> Result<(FcId, &'a [u8]), WireError> {
    split_fixed::<[u8; 4]>(what, body).map(|([_, a, b, c], rest)| (FcId([a, b, c]), rest))
}

fn parse_scope(what: &'static str, body: &[u8]) -> Result<PortScope, WireError> {
    let ([_, domain, area, fc_type], _) = split_fixed::<[u8; 4]>(what, body)?;
    Ok(PortScope { domain, area, fc_type: FcType(fc_type) })
}

fn parse_symbolic_name(what: &'static str, body: &[u8]) -> Result<Vec<u8>, WireError> {
    let ([len], rest) = split_fixed::<[u8; 1]>(what, body)?;
    let need = usize::from(len);
    rest.get(..need).map(<[u8]>::to_vec).ok_or(WireError::Truncated { what, need, have: rest.len() })
}

fn put_symbolic_name(mut put: impl FnMut(&[u8]), name: &[u8]) {
    let name = &name[..name.len().min(MAX_SYMBOLIC_NAME_LEN)];
    put(&[name.len() as u8]);
    put(name);
}
