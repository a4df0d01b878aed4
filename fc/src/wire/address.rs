//! Names and addresses: MAC addresses, N_Port_IDs, World Wide Names.

use core::fmt;
use core::str::FromStr;
use thiserror::Error;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// An Ethernet MAC address.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    FromBytes,
    IntoBytes,
    KnownLayout,
    Immutable,
    Unaligned,
)]
#[repr(transparent)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// All zero: "none", and what an ENode proposes in a FIP FLOGI when the fabric shall choose (FPMA).
    pub const ZERO: Self = Self([0; 6]);
    /// All-FCoE-MACs.
    pub const ALL_FCOE: Self = Self([0x01, 0x10, 0x18, 0x01, 0x00, 0x00]);
    /// All-ENode-MACs: where FCFs send their multicast advertisements.
    pub const ALL_ENODE: Self = Self([0x01, 0x10, 0x18, 0x01, 0x00, 0x01]);
    /// All-FCF-MACs: where ENodes send VLAN requests and solicitations.
    pub const ALL_FCF: Self = Self([0x01, 0x10, 0x18, 0x01, 0x00, 0x02]);
    /// All-VN2VN-ENode-MACs.
    pub const ALL_VN2VN_ENODE: Self = Self([0x01, 0x10, 0x18, 0x01, 0x00, 0x04]);
    /// All-PT2PT-ENode-MACs.
    pub const ALL_PT2PT_ENODE: Self = Self([0x01, 0x10, 0x18, 0x01, 0x00, 0x05]);

    /// A fabric-provided MAC address (FPMA): the fabric's FC-MAP followed by the N_Port_ID (FC-BB-5, 7.7).
    pub const fn fabric_provided(fc_map: [u8; 3], fc_id: FcId) -> Self {
        let [m0, m1, m2] = fc_map;
        let [i0, i1, i2] = fc_id.0;
        Self([m0, m1, m2, i0, i1, i2])
    }

    /// The low 24 bits, which in an FPMA are the N_Port_ID.
    pub const fn fc_id(self) -> FcId {
        let [_, _, _, a, b, c] = self.0;
        FcId([a, b, c])
    }

    /// Whether the group bit is set.
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// Whether one station can have it: no group, and not zero.
    pub const fn is_unicast(self) -> bool {
        !self.is_multicast() && !matches!(self, Self::ZERO)
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        colons(f, &self.0)
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An FC address identifier of 24 bits: domain, area, port (FC-FS-3, 11).
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    FromBytes,
    IntoBytes,
    KnownLayout,
    Immutable,
    Unaligned,
)]
#[repr(transparent)]
pub struct FcId(pub [u8; 3]);

impl FcId {
    /// No address yet: the S_ID of FLOGI and FDISC.
    pub const UNASSIGNED: Self = Self([0; 3]);
    /// The F_Port: FLOGI, FDISC, LOGO.
    pub const F_PORT: Self = Self([0xff, 0xff, 0xfe]);
    /// The fabric controller: SCR, RSCN.
    pub const FABRIC_CONTROLLER: Self = Self([0xff, 0xff, 0xfd]);
    /// The directory (name) server.
    pub const NAME_SERVER: Self = Self([0xff, 0xff, 0xfc]);
    /// The management server.
    pub const MANAGEMENT_SERVER: Self = Self([0xff, 0xff, 0xfa]);
    /// Everyone.
    pub const BROADCAST: Self = Self([0xff, 0xff, 0xff]);

    /// The identifier with the low 24 bits of `value`.
    pub const fn from_u32(value: u32) -> Self {
        let [_, a, b, c] = value.to_be_bytes();
        Self([a, b, c])
    }

    /// The identifier as a number of 24 bits.
    pub const fn to_u32(self) -> u32 {
        let [a, b, c] = self.0;
        u32::from_be_bytes([0, a, b, c])
    }

    /// Whether this is a well-known address (FFFCxx domain controllers and FFFFF0..FFFFFF).
    pub const fn is_well_known(self) -> bool {
        let value = self.to_u32();
        value >= 0xff_fff0 || value >> 8 == 0xfffc
    }
}

impl fmt::Display for FcId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:06x}", self.to_u32())
    }
}

impl fmt::Debug for FcId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A World Wide Name of 64 bits: a port's (WWPN), a node's (WWNN) or a fabric's.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    FromBytes,
    IntoBytes,
    KnownLayout,
    Immutable,
    Unaligned,
)]
#[repr(transparent)]
pub struct Wwn(pub [u8; 8]);

impl Wwn {
    /// The name with this number, most significant byte first.
    pub const fn from_u64(value: u64) -> Self {
        Self(value.to_be_bytes())
    }

    /// The name as a number; the higher one wins a PLOGI collision (FC-LS-3, 6.2.2).
    pub const fn to_u64(self) -> u64 {
        u64::from_be_bytes(self.0)
    }

    /// The name that Linux and most CNAs derive from a MAC address: `prefix` (NAA 1 or 2 and 12 bits) before it.
    pub const fn from_mac(prefix: u16, mac: MacAddr) -> Self {
        let [p0, p1] = prefix.to_be_bytes();
        let [a, b, c, d, e, f] = mac.0;
        Self([p0, p1, a, b, c, d, e, f])
    }
}

impl fmt::Display for Wwn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        colons(f, &self.0)
    }
}

impl fmt::Debug for Wwn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn colons(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    for (i, byte) in bytes.iter().enumerate() {
        let separator = if i == 0 { "" } else { ":" };
        write!(f, "{separator}{byte:02x}")?;
    }
    Ok(())
}

/// Why a text is no address.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("expected {expected}")]
pub struct AddressError {
    expected: &'static str,
}

impl FromStr for MacAddr {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        hex_bytes(text).map(Self).ok_or(AddressError { expected: "six hex bytes such as 02:fc:f0:00:00:01" })
    }
}

impl FromStr for Wwn {
    type Err = AddressError;

    /// Takes `20:00:02:fc:f0:00:00:01`, and the same without colons or after `0x`.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        hex_bytes(text.strip_prefix("0x").unwrap_or(text))
            .map(Self)
            .ok_or(AddressError { expected: "eight hex bytes such as 20:00:02:fc:f0:00:00:01" })
    }
}

impl FromStr for FcId {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        hex_bytes(text.strip_prefix("0x").unwrap_or(text))
            .map(Self)
            .ok_or(AddressError { expected: "six hex digits such as 010101" })
    }
}

/// `N` bytes from hex digits, either all joined or each pair after a colon or a dash.
fn hex_bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let text = text.as_bytes();
    let stride = match text.len() {
        len if len == 2 * N => 2,
        len if len == 3 * N - 1 => 3,
        _ => return None,
    };
    let mut bytes = [0; N];
    for (byte, digits) in bytes.iter_mut().zip(text.chunks(stride)) {
        if digits.len() == 3 && !matches!(digits[2], b':' | b'-') {
            return None;
        }
        let digit = |d: u8| char::from(d).to_digit(16);
        *byte = u8::try_from(digit(digits[0])? << 4 | digit(digits[1])?).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn addresses_print_and_parse() {
        let mac = MacAddr([0x0e, 0xfc, 0x00, 0x01, 0x02, 0x03]);
        assert_eq!(mac.to_string(), "0e:fc:00:01:02:03");
        assert_eq!("0E-FC-00-01-02-03".parse(), Ok(mac));
        assert_eq!(mac.fc_id(), FcId::from_u32(0x01_0203));
        assert_eq!(MacAddr::fabric_provided([0x0e, 0xfc, 0], mac.fc_id()), mac);

        let wwn = Wwn::from_mac(0x2000, mac);
        assert_eq!(wwn.to_string(), "20:00:0e:fc:00:01:02:03");
        assert_eq!("0x20000efc00010203".parse(), Ok(wwn));
        assert_eq!("010203".parse(), Ok(mac.fc_id()));

        for wrong in ["", "0e:fc:00:01:02", "0e:fc:00:01:02:zz", "0efc00.01.02.03", "0e:fc:00:01:02:03:"] {
            assert!(wrong.parse::<MacAddr>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn well_known_addresses_are_told_apart() {
        assert!(FcId::F_PORT.is_well_known());
        assert!(FcId::from_u32(0xff_fc01).is_well_known());
        assert!(!FcId::from_u32(0x01_0101).is_well_known());
    }
}
