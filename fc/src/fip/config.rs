//! What an operator decides about an ENode, and what the ENode counts and tells.

use super::fcf::Fcf;
use crate::wire::ethernet::VlanTag;
use crate::wire::fip::{ElsKind, FcMap, Flags, MAX_FCOE_SIZE, VxPort};
use crate::wire::header::FcHeader;
use crate::wire::{MacAddr, Wwn};
use alloc::vec::Vec;

/// An ENode's configuration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// The ENode MAC: a unicast address.
    pub mac: MacAddr,
    /// The node's name.
    pub node_name: Wwn,
    /// The largest L2 payload that the interface takes: the MTU, at most 2158 bytes.
    pub max_fcoe_size: u16,
    /// Which VLAN to use.
    pub vlan: VlanChoice,
    /// The 802.1p priority in the tag, 0..=7.
    pub vlan_priority: u8,
    /// The FCF that goes before all others.
    pub preferred: Option<Preferred>,
    /// The only FC-MAP to accept.
    pub fc_map: Option<FcMap>,
    /// Who provides the VN_Ports' MAC addresses.
    pub addressing: Addressing,
    /// Makes the spreading of keep-alives repeatable; give every ENode its own.
    pub seed: u64,
}

impl Config {
    /// VLAN discovery, priority 3, any FCF, full-size frames and addresses that the fabric provides.
    pub const fn new(mac: MacAddr, node_name: Wwn) -> Self {
        Self {
            mac,
            node_name,
            max_fcoe_size: MAX_FCOE_SIZE,
            vlan: VlanChoice::Discover,
            vlan_priority: 3,
            preferred: None,
            fc_map: None,
            addressing: Addressing::Fabric,
            seed: u64::from_be_bytes(node_name.0),
        }
    }
}

/// Which VLAN an ENode uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VlanChoice {
    /// Ask the FCFs; go on without a tag when none answers.
    Discover,
    /// None: frames without a tag.
    Untagged,
    /// This VLAN id.
    Fixed(u16),
}

/// An FCF that the operator wants, if it is usable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Preferred {
    /// Any FCF-MAC of this switch.
    Switch(Wwn),
    /// This FCF-MAC.
    Mac(MacAddr),
}

/// Who provides the VN_Ports' MAC addresses (FC-BB-5, 7.7).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Addressing {
    /// The fabric: FC-MAP and N_Port_ID (FPMA).
    Fabric,
    /// The ENode proposes its own, for all of its VN_Ports (SPMA).
    Server,
    /// Whichever of them the FCF grants.
    Either,
}

impl Addressing {
    /// The flags that say so.
    pub const fn flags(self) -> Flags {
        match self {
            Self::Fabric => Flags::FPMA,
            Self::Server => Flags::SPMA,
            Self::Either => Flags::FPMA.with(Flags::SPMA),
        }
    }
}

/// What the layers above need to know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// No FCF answered the VLAN requests: frames without a tag are tried next.
    VlanDiscoveryUnanswered,
    /// FCFs are looked for on this VLAN.
    VlanChosen {
        /// The tag that FIP and FCoE frames carry.
        vlan: Option<VlanTag>,
    },
    /// An FCF was chosen: log in by [`Enode::send_els`](super::Enode::send_els).
    FcfSelected(Fcf),
    /// The FCF is gone, and every VN_Port with it.
    FcfLost {
        /// The FCF-MAC.
        fcf: MacAddr,
        /// Why.
        reason: LostReason,
    },
    /// The FCF cleared the virtual links of these VN_Ports; others still stand.
    VnPortsCleared(Vec<VxPort>),
    /// The FCF replied to an ELS.
    ElsReply(ElsReply),
}

/// Why an FCF was lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LostReason {
    /// The interface has no link.
    LinkDown,
    /// No advertisement for 2.5 FKA_ADV_PERIODs.
    AdvertisementsMissed,
    /// It cleared all virtual links.
    ClearVirtualLinks,
    /// It came back with another switch name, fabric or FC-MAP.
    Changed,
    /// [`Enode::login_failed`](super::Enode::login_failed) said so.
    LoginFailed,
}

/// An FCF's reply to an encapsulated ELS.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ElsReply {
    /// Which request it answers.
    pub kind: ElsKind,
    /// The FC header.
    pub header: FcHeader,
    /// LS_ACC or LS_RJT from the command code on.
    pub payload: Vec<u8>,
    /// The MAC address that the VN_Port shall use; in every LS_ACC to an FLOGI or FDISC.
    pub granted_mac: Option<MacAddr>,
    /// Where FCoE frames go, if not to the FCF-MAC.
    pub fcoe_mac: Option<MacAddr>,
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
    /// Dropped: the destination is neither the ENode MAC nor All-ENode-MACs.
    pub not_for_us: u64,
    /// Dropped: the source is a group, our own or not the one in the MAC descriptor.
    pub bad_source: u64,
    /// Dropped: on another VLAN.
    pub wrong_vlan: u64,
    /// Dropped: an operation that has no place here or now.
    pub unexpected: u64,
    /// Dropped: not from the selected FCF, or about VN_Ports that aren't ours.
    pub foreign: u64,
    /// Dropped: an LS_ACC that grants no MAC address or one that the fabric can't provide.
    pub bad_granted_mac: u64,
    /// Dropped: one FCF more than are remembered.
    pub too_many_fcfs: u64,
    /// Dropped: events wait to be fetched.
    pub backlogged: u64,
    /// Not sent: frames wait to be fetched.
    pub not_sent: u64,
    /// Advertisements that an FCF owed for 1.5 periods.
    pub advertisements_missed: u64,
}
