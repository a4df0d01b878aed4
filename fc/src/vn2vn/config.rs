//! What an operator decides about a VN2VN ENode, and what the ENode counts and tells.

use super::neighbours::Neighbour;
use crate::fip::VlanChoice;
use crate::frame::FcFrame;
use crate::wire::ethernet::VlanTag;
use crate::wire::fip::{ElsKind, MAX_FCOE_SIZE, VxPort};
use crate::wire::{FcId, MacAddr, Wwn};

/// An ENode's configuration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// The ENode MAC: a unicast address.
    pub mac: MacAddr,
    /// The node's name.
    pub node_name: Wwn,
    /// The VN_Port's name. Its low 16 bits are the N_Port_ID that is tried first.
    pub port_name: Wwn,
    /// The largest L2 payload that the interface takes: the MTU, at most 2158 bytes.
    pub max_fcoe_size: u16,
    /// Which VLAN to use.
    pub vlan: VlanChoice,
    /// The 802.1p priority in the tag, 0..=7.
    pub vlan_priority: u8,
    /// Makes N_Port_IDs and the spreading of frames repeatable; give every ENode its own.
    pub seed: u64,
}

impl Config {
    /// VLAN discovery, priority 3 and full-size frames.
    pub const fn new(mac: MacAddr, node_name: Wwn, port_name: Wwn) -> Self {
        Self {
            mac,
            node_name,
            port_name,
            max_fcoe_size: MAX_FCOE_SIZE,
            vlan: VlanChoice::Discover,
            vlan_priority: 3,
            seed: port_name.to_u64(),
        }
    }
}

/// What the layers above need to know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// No neighbour answered the VLAN requests: frames without a tag are used.
    VlanDiscoveryUnanswered,
    /// An N_Port_ID is looked for on this VLAN.
    VlanChosen {
        /// The tag that FIP and FCoE frames carry.
        vlan: Option<VlanTag>,
    },
    /// The N_Port_ID is ours: frames to its MAC address must be received from now on.
    Claimed(VxPort),
    /// The N_Port_ID is ours no longer, and every neighbour is forgotten.
    Released {
        /// The VN_Port.
        port: VxPort,
        /// Why.
        reason: ReleaseReason,
    },
    /// A neighbour is there. Comes again for one that has looked for its N_Port_ID anew: it may have restarted, and
    /// may have forgotten a login.
    NeighbourUp(Neighbour),
    /// A neighbour of which [`Self::NeighbourUp`] told is gone.
    NeighbourGone {
        /// Its N_Port_ID.
        id: FcId,
        /// Its WWPN.
        port_name: Wwn,
        /// Why.
        reason: LossReason,
    },
    /// A neighbour asks for a link service by FIP: answer it by [`Enode::send_els`](super::Enode::send_els). Whoever
    /// logs in is there, though no [`Self::NeighbourUp`] may have told so.
    ElsRequest {
        /// The neighbour.
        from: Neighbour,
        /// Which descriptor carried it.
        kind: ElsKind,
        /// The link service.
        frame: FcFrame,
    },
    /// A neighbour replied to a link service by FIP.
    ElsReply(FcFrame),
}

/// Why an N_Port_ID was given up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReleaseReason {
    /// The interface has no link.
    LinkDown,
    /// A port whose name goes before ours has it, too.
    Conflict,
    /// Neighbours were found on another VLAN.
    OtherVlan,
}

/// Why a neighbour is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LossReason {
    /// Nothing was heard of it for 2.5 beacon periods.
    Silent,
    /// Its N_Port_ID belongs to another port, node or ENode now.
    Replaced,
    /// It has another N_Port_ID now.
    Moved,
}

/// What an ENode counted. Frames that it drops are in one of the counters of their reason.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// FIP frames handed in.
    pub received: u64,
    /// FIP frames handed out.
    pub sent: u64,
    /// Dropped: the bytes aren't FIP as they should be.
    pub malformed: u64,
    /// Dropped: a descriptor that the operation needs isn't there.
    pub missing_descriptor: u64,
    /// Dropped: the destination is neither the ENode MAC nor All-VN2VN-ENode-MACs, or not the one of the operation.
    pub not_for_us: u64,
    /// Dropped: the source is a group, our own or not the one in the descriptors.
    pub bad_source: u64,
    /// Dropped: on another VLAN.
    pub wrong_vlan: u64,
    /// Dropped: an operation that has no place here or now.
    pub unexpected: u64,
    /// Dropped, and rejected where it asks for something: an encapsulated ELS of a port that is no neighbour.
    pub stranger: u64,
    /// Dropped: one neighbour more than are remembered.
    pub too_many_neighbours: u64,
    /// Dropped: events wait to be fetched.
    pub backlogged: u64,
    /// Not sent: frames wait to be fetched.
    pub not_sent: u64,
    /// N_Port_IDs that turned out to be another port's.
    pub conflicts: u64,
}
