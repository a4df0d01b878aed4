//! What a FIP frame is: operation and flags.

use super::DescriptorType;
use core::fmt;

/// Operation code and subcode (FC-BB-5, 7.9.6; FC-BB-6 for VN2VN).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Operation {
    /// The protocol: discovery, link service, control, VLAN, VN2VN or a vendor's.
    pub code: u16,
    /// The frame within it.
    pub subcode: u8,
}

impl Operation {
    /// Discovery Solicitation.
    pub const SOLICITATION: Self = Self::new(1, 1);
    /// Discovery Advertisement.
    pub const ADVERTISEMENT: Self = Self::new(1, 2);
    /// Virtual Link Instantiation Request: a FLOGI, FDISC, LOGO or ELP.
    pub const LINK_SERVICE_REQUEST: Self = Self::new(2, 1);
    /// Virtual Link Instantiation Reply: its LS_ACC or LS_RJT.
    pub const LINK_SERVICE_REPLY: Self = Self::new(2, 2);
    /// Keep-Alive.
    pub const KEEP_ALIVE: Self = Self::new(3, 1);
    /// Clear Virtual Links.
    pub const CLEAR_VIRTUAL_LINKS: Self = Self::new(3, 2);
    /// VLAN Request.
    pub const VLAN_REQUEST: Self = Self::new(4, 1);
    /// VLAN Notification.
    pub const VLAN_NOTIFICATION: Self = Self::new(4, 2);
    /// VN2VN VLAN Notification.
    pub const VN2VN_VLAN_NOTIFICATION: Self = Self::new(4, 3);
    /// N_Port_ID Probe Request.
    pub const PROBE_REQUEST: Self = Self::new(5, 1);
    /// N_Port_ID Probe Reply.
    pub const PROBE_REPLY: Self = Self::new(5, 2);
    /// N_Port_ID Claim Notification.
    pub const CLAIM_NOTIFICATION: Self = Self::new(5, 3);
    /// N_Port_ID Claim Response.
    pub const CLAIM_RESPONSE: Self = Self::new(5, 4);
    /// N_Port_ID Beacon.
    pub const BEACON: Self = Self::new(5, 5);

    /// The first operation code that belongs to vendors; the last is 0xfffe.
    pub const FIRST_VENDOR_CODE: u16 = 0xfff8;

    /// Any operation.
    pub const fn new(code: u16, subcode: u8) -> Self {
        Self { code, subcode }
    }

    /// Whether a vendor gives it its meaning.
    pub const fn is_vendor_specific(self) -> bool {
        matches!(self.code, Self::FIRST_VENDOR_CODE..=0xfffe)
    }

    /// Whether a frame of this operation may carry several descriptors of `kind`.
    ///
    /// A link service reply's second MAC descriptor is the address for FCoE frames, where the FCF's differs
    /// from the one it uses for FIP.
    pub(super) fn may_repeat(self, kind: DescriptorType) -> bool {
        match self {
            Self::LINK_SERVICE_REPLY => kind == DescriptorType::MAC,
            Self::CLEAR_VIRTUAL_LINKS => kind == DescriptorType::VX_PORT,
            Self::VLAN_NOTIFICATION | Self::VN2VN_VLAN_NOTIFICATION => kind == DescriptorType::VLAN,
            _ => self.is_vendor_specific(),
        }
    }
}

impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}/{:x}", self.code, self.subcode)
    }
}

/// The flags of the FIP header (FC-BB-5, 7.9.6.1; FC-BB-6).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Flags(pub u16);

impl Flags {
    /// None.
    pub const NONE: Self = Self(0);
    /// FP: fabric-provided MAC addresses are supported, asked for or granted.
    pub const FPMA: Self = Self(0x8000);
    /// SP: server-provided MAC addresses are supported, asked for or granted.
    pub const SPMA: Self = Self(0x4000);
    /// The sender of a VLAN notification is an FCF (FC-BB-6).
    pub const FCF: Self = Self(0x0020);
    /// The sender is an FDF (FC-BB-6).
    pub const FDF: Self = Self(0x0010);
    /// REC/P2P: the VN2VN sender has recorded the peer, or is point to point (FC-BB-6).
    pub const RECORDED: Self = Self(0x0008);
    /// A: the FCF is available for logins.
    pub const AVAILABLE: Self = Self(0x0004);
    /// S: the advertisement answers a solicitation.
    pub const SOLICITED: Self = Self(0x0002);
    /// F: sent by an FCF.
    pub const F_PORT: Self = Self(0x0001);

    /// Whether all of `flags` are set.
    pub const fn has(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// Those that are also among `flags`.
    #[must_use]
    pub const fn common(self, flags: Self) -> Self {
        Self(self.0 & flags.0)
    }

    /// These and `flags`.
    #[must_use]
    pub const fn with(self, flags: Self) -> Self {
        Self(self.0 | flags.0)
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}", self.0)
    }
}
