//! FIP's descriptors (FC-BB-5, 7.9.6.2 onwards; FC-BB-6 for VN2VN).

use crate::time::Duration;
use crate::wire::header::{FcHeader, FcType, HEADER_LEN};
use crate::wire::{FcId, MacAddr, WireError, Wwn};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use zerocopy::IntoBytes;

/// Type and length: what every descriptor starts with.
const PREFIX_LEN: usize = 2;
/// The longest descriptor: its length field counts up to 255 words.
const MAX_LEN: usize = 255 * 4;
/// Bytes before the payload of an encapsulated ELS: type, length, two reserved, the FC header.
const ELS_PREFIX_LEN: usize = PREFIX_LEN + 2 + HEADER_LEN;
/// The shortest ELS payload: its command word.
const MIN_ELS_PAYLOAD_LEN: usize = 4;

/// A descriptor's type.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DescriptorType(pub u8);

impl DescriptorType {
    /// An FCF's priority.
    pub const PRIORITY: Self = Self(1);
    /// A MAC address.
    pub const MAC: Self = Self(2);
    /// An FC-MAP.
    pub const FC_MAP: Self = Self(3);
    /// A node's or a switch's name.
    pub const NAME: Self = Self(4);
    /// A fabric.
    pub const FABRIC: Self = Self(5);
    /// The largest FCoE frame that the sender takes.
    pub const MAX_FCOE_SIZE: Self = Self(6);
    /// An FLOGI or its reply.
    pub const FLOGI: Self = Self(7);
    /// An FDISC for a further N_Port_ID or its reply.
    pub const FDISC: Self = Self(8);
    /// A LOGO or its reply.
    pub const LOGO: Self = Self(9);
    /// An ELP or its reply.
    pub const ELP: Self = Self(10);
    /// A VN_Port or VF_Port.
    pub const VX_PORT: Self = Self(11);
    /// The period of keep-alives and advertisements.
    pub const FKA_ADV_PERIOD: Self = Self(12);
    /// Whose vendor-specific descriptors follow.
    pub const VENDOR_ID: Self = Self(13);
    /// A VLAN.
    pub const VLAN: Self = Self(14);
    /// FC-4 types and their features.
    pub const FC4_ATTRIBUTES: Self = Self(15);
    /// Why virtual links were cleared; not critical.
    pub const CLEAR_REASON: Self = Self(128);

    /// The first type that a receiver may skip when it doesn't know it.
    pub const FIRST_NON_CRITICAL: u8 = 128;
    /// The first type that belongs to vendors.
    pub const FIRST_VENDOR: u8 = 241;

    /// Whether a frame with an unknown descriptor of this type must be dropped.
    pub const fn is_critical(self) -> bool {
        self.0 < Self::FIRST_NON_CRITICAL
    }

    /// What it is called in errors.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PRIORITY => "FIP priority descriptor",
            Self::MAC => "FIP MAC address descriptor",
            Self::FC_MAP => "FIP FC-MAP descriptor",
            Self::NAME => "FIP name identifier descriptor",
            Self::FABRIC => "FIP fabric descriptor",
            Self::MAX_FCOE_SIZE => "FIP max FCoE size descriptor",
            Self::FLOGI => "FIP FLOGI descriptor",
            Self::FDISC => "FIP FDISC descriptor",
            Self::LOGO => "FIP LOGO descriptor",
            Self::ELP => "FIP ELP descriptor",
            Self::VX_PORT => "FIP Vx_Port identification descriptor",
            Self::FKA_ADV_PERIOD => "FIP FKA_ADV_PERIOD descriptor",
            Self::VENDOR_ID => "FIP vendor id descriptor",
            Self::VLAN => "FIP VLAN descriptor",
            Self::FC4_ATTRIBUTES => "FIP FC-4 attributes descriptor",
            Self::CLEAR_REASON => "FIP Clear Virtual Links reason descriptor",
            _ => "FIP descriptor",
        }
    }
}

/// The upper 24 bits of a fabric's FPMAs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FcMap(pub [u8; 3]);

impl FcMap {
    /// The default of FC-BB-5, 7.7.
    pub const DEFAULT: Self = Self([0x0e, 0xfc, 0x00]);
    /// VN2VN's (FC-BB-6).
    pub const VN2VN: Self = Self([0x0e, 0xfd, 0x00]);
}

impl fmt::Display for FcMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}")
    }
}

impl fmt::Debug for FcMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The fabric that an FCF belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Fabric {
    /// The virtual fabric (FC-FS-3, 13); 0 where there are none.
    pub vf_id: u16,
    /// Makes the MAC addresses that the fabric provides.
    pub fc_map: FcMap,
    /// The fabric's name.
    pub name: Wwn,
}

/// A VN_Port or VF_Port.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct VxPort {
    /// Its MAC address.
    pub mac: MacAddr,
    /// Its address identifier.
    pub fc_id: FcId,
    /// Its name.
    pub port_name: Wwn,
}

/// How often ENodes send keep-alives and FCFs advertisements.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FkaAdvPeriod {
    /// D: ENodes shall not send keep-alives.
    pub no_keep_alives: bool,
    /// The period.
    pub period_ms: u32,
}

impl FkaAdvPeriod {
    /// What is usual.
    pub const DEFAULT_MS: u32 = 8000;

    /// The period as a duration.
    pub const fn period(self) -> Duration {
        Duration::from_millis(self.period_ms as u64)
    }
}

/// Which extended link service a descriptor carries; a reply's descriptor has its request's type.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ElsKind {
    /// Fabric login, or N_Port login to a VN2VN peer's.
    Flogi,
    /// A further N_Port_ID.
    Fdisc,
    /// Logout.
    Logo,
    /// Exchange of link parameters, between FCFs.
    Elp,
}

impl ElsKind {
    /// The descriptor's type.
    pub const fn descriptor_type(self) -> DescriptorType {
        match self {
            Self::Flogi => DescriptorType::FLOGI,
            Self::Fdisc => DescriptorType::FDISC,
            Self::Logo => DescriptorType::LOGO,
            Self::Elp => DescriptorType::ELP,
        }
    }
}

/// An encapsulated ELS: an FC frame without SOF, CRC and EOF.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Els {
    /// Which one.
    pub kind: ElsKind,
    /// The FC header.
    pub header: FcHeader,
    /// The ELS from its command code on: whole words, at least one.
    pub payload: Vec<u8>,
}

/// FC-4 types and features, laid out as the name server's RFT_ID and RFF_ID have them (FC-GS-7, 5.2.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fc4Attributes {
    /// One bit a type: type `t` is bit `t % 32` of big-endian word `t / 32`.
    pub types: [u8; 32],
    /// Four bits a type: type `t` is nibble `t % 8` from the low end of big-endian word `t / 8`.
    pub features: [u8; 128],
}

impl Fc4Attributes {
    /// No type.
    pub const NONE: Self = Self { types: [0; 32], features: [0; 128] };

    /// These and `fc_type` with `features`, of which the low four bits count.
    #[must_use]
    pub const fn with(mut self, fc_type: FcType, features: u8) -> Self {
        let kind = fc_type.0 as usize;
        self.types[Self::type_at(kind)] |= 1 << (kind % 8);
        let (at, shift) = Self::feature_at(kind);
        self.features[at] = self.features[at] & !(0xf << shift) | (features & 0xf) << shift;
        self
    }

    /// Whether `fc_type` is there.
    pub const fn has(&self, fc_type: FcType) -> bool {
        let kind = fc_type.0 as usize;
        self.types[Self::type_at(kind)] >> (kind % 8) & 1 != 0
    }

    /// The four feature bits of `fc_type`.
    pub const fn features_of(&self, fc_type: FcType) -> u8 {
        let (at, shift) = Self::feature_at(fc_type.0 as usize);
        self.features[at] >> shift & 0xf
    }

    /// The byte that holds the type's bit.
    const fn type_at(kind: usize) -> usize {
        kind / 32 * 4 + 3 - kind % 32 / 8
    }

    /// The byte that holds the type's features, and how far to the left.
    const fn feature_at(kind: usize) -> (usize, usize) {
        (kind / 8 * 4 + 3 - kind % 8 / 2, kind % 2 * 4)
    }
}

/// A descriptor.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Descriptor {
    /// An FCF's priority: the lower number wins, 128 is the default.
    Priority(u8),
    /// A MAC address.
    Mac(MacAddr),
    /// An FC-MAP.
    FcMap(FcMap),
    /// An ENode's node name or an FCF's switch name.
    Name(Wwn),
    /// A fabric.
    Fabric(Fabric),
    /// The largest L2 payload of an FCoE frame that the sender takes, in bytes.
    MaxFcoeSize(u16),
    /// An encapsulated ELS.
    Els(Els),
    /// A VN_Port or VF_Port.
    VxPort(VxPort),
    /// The period of keep-alives and advertisements.
    FkaAdvPeriod(FkaAdvPeriod),
    /// Whose vendor-specific descriptors follow.
    VendorId([u8; 8]),
    /// A VLAN id, 0..=4095.
    Vlan(u16),
    /// FC-4 types and features.
    Fc4Attributes(Box<Fc4Attributes>),
    /// A descriptor that need not be understood: a Clear Virtual Links reason, a vendor's, a newer standard's.
    NonCritical {
        /// Its type, 128 or above.
        kind: DescriptorType,
        /// What follows type and length: whole words less two bytes.
        body: Vec<u8>,
    },
}

impl Descriptor {
    /// Its type.
    pub const fn kind(&self) -> DescriptorType {
        match self {
            Self::Priority(_) => DescriptorType::PRIORITY,
            Self::Mac(_) => DescriptorType::MAC,
            Self::FcMap(_) => DescriptorType::FC_MAP,
            Self::Name(_) => DescriptorType::NAME,
            Self::Fabric(_) => DescriptorType::FABRIC,
            Self::MaxFcoeSize(_) => DescriptorType::MAX_FCOE_SIZE,
            Self::Els(els) => els.kind.descriptor_type(),
            Self::VxPort(_) => DescriptorType::VX_PORT,
            Self::FkaAdvPeriod(_) => DescriptorType::FKA_ADV_PERIOD,
            Self::VendorId(_) => DescriptorType::VENDOR_ID,
            Self::Vlan(_) => DescriptorType::VLAN,
            Self::Fc4Attributes(_) => DescriptorType::FC4_ATTRIBUTES,
            Self::NonCritical { kind, .. } => *kind,
        }
    }

    /// Reads the descriptor at the front of `list` and gives what follows it.
    ///
    /// # Errors
    /// If its length field is zero, points past `list` or isn't the type's, or if it is critical and unknown.
    pub fn parse_first(list: &[u8]) -> Result<(Self, &[u8]), WireError> {
        let &[kind, words, ..] = list else {
            return Err(WireError::Truncated { what: "FIP descriptor", need: 4, have: list.len() });
        };
        let (kind, len) = (DescriptorType(kind), usize::from(words) * 4);
        if len == 0 {
            return Err(WireError::BadValue { what: "FIP descriptor length", value: 0 });
        }
        let truncated = WireError::Truncated { what: kind.name(), need: len, have: list.len() };
        let (descriptor, rest) = list.split_at_checked(len).ok_or(truncated)?;
        Ok((Self::parse_body(kind, &descriptor[PREFIX_LEN..])?, rest))
    }

    fn parse_body(kind: DescriptorType, body: &[u8]) -> Result<Self, WireError> {
        match kind {
            DescriptorType::PRIORITY => exact(kind, body).map(|&[_, priority]| Self::Priority(priority)),
            DescriptorType::MAC => exact(kind, body).map(|&mac| Self::Mac(MacAddr(mac))),
            DescriptorType::FC_MAP => {
                exact(kind, body).map(|&[_, _, _, a, b, c]| Self::FcMap(FcMap([a, b, c])))
            }
            DescriptorType::NAME => {
                exact::<10>(kind, body).map(|&[_, _, ref name @ ..]| Self::Name(Wwn(*name)))
            }
            DescriptorType::FABRIC => {
                exact::<14>(kind, body).map(|&[v0, v1, _, m0, m1, m2, ref name @ ..]| {
                    let vf_id = u16::from_be_bytes([v0, v1]);
                    Self::Fabric(Fabric { vf_id, fc_map: FcMap([m0, m1, m2]), name: Wwn(*name) })
                })
            }
            DescriptorType::MAX_FCOE_SIZE => {
                exact(kind, body).map(|&size| Self::MaxFcoeSize(u16::from_be_bytes(size)))
            }
            DescriptorType::FLOGI => parse_els(ElsKind::Flogi, body),
            DescriptorType::FDISC => parse_els(ElsKind::Fdisc, body),
            DescriptorType::LOGO => parse_els(ElsKind::Logo, body),
            DescriptorType::ELP => parse_els(ElsKind::Elp, body),
            DescriptorType::VX_PORT => {
                exact::<18>(kind, body).map(|&[m0, m1, m2, m3, m4, m5, _, i0, i1, i2, ref name @ ..]| {
                    let mac = MacAddr([m0, m1, m2, m3, m4, m5]);
                    Self::VxPort(VxPort { mac, fc_id: FcId([i0, i1, i2]), port_name: Wwn(*name) })
                })
            }
            DescriptorType::FKA_ADV_PERIOD => exact::<6>(kind, body).map(|&[_, flags, ref period @ ..]| {
                let period_ms = u32::from_be_bytes(*period);
                Self::FkaAdvPeriod(FkaAdvPeriod { no_keep_alives: flags & 1 != 0, period_ms })
            }),
            DescriptorType::VENDOR_ID => {
                exact::<10>(kind, body).map(|&[_, _, ref id @ ..]| Self::VendorId(*id))
            }
            DescriptorType::VLAN => {
                exact(kind, body).map(|&vlan| Self::Vlan(u16::from_be_bytes(vlan) & 0x0fff))
            }
            DescriptorType::FC4_ATTRIBUTES => exact::<162>(kind, body).map(|body| {
                let mut attributes = Fc4Attributes::NONE;
                attributes.types.copy_from_slice(&body[2..34]);
                attributes.features.copy_from_slice(&body[34..]);
                Self::Fc4Attributes(Box::new(attributes))
            }),
            _ if !kind.is_critical() => Ok(Self::NonCritical { kind, body: body.to_vec() }),
            _ => Err(WireError::BadValue { what: "type of a critical FIP descriptor", value: kind.0.into() }),
        }
    }

    /// Bytes that [`Self::emit`] writes.
    pub fn len(&self) -> usize {
        match self {
            Self::Priority(_) | Self::MaxFcoeSize(_) | Self::Vlan(_) => 4,
            Self::Mac(_) | Self::FcMap(_) | Self::FkaAdvPeriod(_) => 8,
            Self::Name(_) | Self::VendorId(_) => 12,
            Self::Fabric(_) => 16,
            Self::VxPort(_) => 20,
            Self::Fc4Attributes(_) => 164,
            Self::Els(els) => ELS_PREFIX_LEN + els.payload.len(),
            Self::NonCritical { body, .. } => PREFIX_LEN + body.len(),
        }
    }

    /// Writes the descriptor to the front of `buffer`, reserved bytes as zeros, and gives its length.
    ///
    /// # Panics
    /// If `buffer` is too short, or the descriptor isn't whole words, at most 255.
    pub fn emit(&self, buffer: &mut [u8]) -> usize {
        let len = self.len();
        assert!(len.is_multiple_of(4) && len <= MAX_LEN, "FIP descriptor of {len} bytes");
        let buffer = &mut buffer[..len];
        buffer.fill(0);
        buffer[0] = self.kind().0;
        buffer[1] = u8::try_from(len / 4).expect("bounded above");
        let mut put = |at: usize, bytes: &[u8]| buffer[at..at + bytes.len()].copy_from_slice(bytes);
        match self {
            Self::Priority(priority) => put(3, &[*priority]),
            Self::Mac(mac) => put(2, &mac.0),
            Self::FcMap(map) => put(5, &map.0),
            Self::Name(name) => put(4, &name.0),
            Self::Fabric(fabric) => {
                put(2, &fabric.vf_id.to_be_bytes());
                put(5, &fabric.fc_map.0);
                put(8, &fabric.name.0);
            }
            Self::MaxFcoeSize(size) => put(2, &size.to_be_bytes()),
            Self::Els(els) => {
                put(4, els.header.as_bytes());
                put(ELS_PREFIX_LEN, &els.payload);
            }
            Self::VxPort(port) => {
                put(2, &port.mac.0);
                put(9, &port.fc_id.0);
                put(12, &port.port_name.0);
            }
            Self::FkaAdvPeriod(period) => {
                put(3, &[period.no_keep_alives.into()]);
                put(4, &period.period_ms.to_be_bytes());
            }
            Self::VendorId(id) => put(4, id),
            Self::Vlan(id) => put(2, &(id & 0x0fff).to_be_bytes()),
            Self::Fc4Attributes(attributes) => {
                put(4, &attributes.types);
                put(36, &attributes.features);
            }
            Self::NonCritical { body, .. } => put(2, body),
        }
        len
    }
}

/// The body as an array, if its length is the type's.
fn exact<const N: usize>(kind: DescriptorType, body: &[u8]) -> Result<&[u8; N], WireError> {
    let (what, have) = (kind.name(), PREFIX_LEN + body.len());
    body.try_into().map_err(|_| match PREFIX_LEN + N {
        need if have < need => WireError::Truncated { what, need, have },
        limit => WireError::TooLong { what, limit, have },
    })
}

fn parse_els(kind: ElsKind, body: &[u8]) -> Result<Descriptor, WireError> {
    let truncated = WireError::Truncated {
        what: kind.descriptor_type().name(),
        need: ELS_PREFIX_LEN + MIN_ELS_PAYLOAD_LEN,
        have: PREFIX_LEN + body.len(),
    };
    let (_reserved, frame) = body.split_first_chunk::<2>().ok_or(truncated)?;
    let (header, payload) = FcHeader::ref_from(frame).map_err(|_| truncated)?;
    if payload.len() < MIN_ELS_PAYLOAD_LEN {
        return Err(truncated);
    }
    Ok(Descriptor::Els(Els { kind, header: *header, payload: payload.to_vec() }))
}
