//! REPORT TARGET PORT GROUPS data: which paths are good ones (SPC-4, 6.37).

use crate::wire::WireError;
use core::fmt;
use zerocopy::byteorder::big_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes before the groups, in the short format (PARAMETER DATA FORMAT 0).
pub const HEADER_LEN: usize = 4;

/// A group's fixed part.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct GroupHeader {
    /// PREF (bit 7) and ASYMMETRIC ACCESS STATE (bits 3:0).
    pub state: u8,
    /// Which states there are.
    pub supported: u8,
    /// TARGET PORT GROUP.
    pub group: U16,
    /// Reserved.
    pub reserved: u8,
    /// STATUS CODE: what changed the state last.
    pub status: u8,
    /// The vendor's own.
    pub vendor: u8,
    /// How many ports follow.
    pub port_count: u8,
}

impl GroupHeader {
    /// Bit of [`Self::state`]: this group is preferred.
    pub const PREFERRED: u8 = 0x80;

    /// The state of the paths through the group.
    pub const fn access(&self) -> AccessState {
        AccessState(self.state & 0x0f)
    }
}

/// ASYMMETRIC ACCESS STATE, four bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct AccessState(pub u8);

impl AccessState {
    /// Use these first.
    pub const OPTIMIZED: Self = Self(0);
    /// Slower.
    pub const NON_OPTIMIZED: Self = Self(1);
    /// No medium access until it changes.
    pub const STANDBY: Self = Self(2);
    /// Neither, and fewer commands.
    pub const UNAVAILABLE: Self = Self(3);
    /// Some blocks optimized, some not.
    pub const LBA_DEPENDENT: Self = Self(4);
    /// Off line.
    pub const OFFLINE: Self = Self(0xe);
    /// Changes right now.
    pub const TRANSITIONING: Self = Self(0xf);
}

impl fmt::Display for AccessState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Self::OPTIMIZED => "active/optimized",
            Self::NON_OPTIMIZED => "active/non-optimized",
            Self::STANDBY => "standby",
            Self::UNAVAILABLE => "unavailable",
            Self::LBA_DEPENDENT => "LBA-dependent",
            Self::OFFLINE => "offline",
            Self::TRANSITIONING => "transitioning",
            Self(state) => return write!(f, "access state {state:#x}"),
        })
    }
}

impl fmt::Debug for AccessState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A port of a group.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct GroupPort {
    /// Obsolete.
    pub obsolete: U16,
    /// RELATIVE TARGET PORT IDENTIFIER.
    pub relative_port: U16,
}

/// A group and its ports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TargetPortGroup<'a> {
    /// The fixed part.
    pub header: GroupHeader,
    /// The ports.
    pub ports: &'a [GroupPort],
}

impl TargetPortGroup<'_> {
    /// Bytes that [`Self::emit`] writes.
    pub fn len(&self) -> usize {
        size_of::<GroupHeader>() + size_of_val(self.ports)
    }

    /// Writes the group to the front of `buffer` and gives its length. The count is that of the ports.
    ///
    /// # Panics
    /// If `buffer` is too short or there are more than 255 ports.
    pub fn emit(&self, buffer: &mut [u8]) -> usize {
        let port_count = u8::try_from(self.ports.len()).expect("ports fit their count");
        let (head, rest) = buffer[..self.len()].split_at_mut(size_of::<GroupHeader>());
        head.copy_from_slice(GroupHeader { port_count, ..self.header }.as_bytes());
        rest.copy_from_slice(self.ports.as_bytes());
        self.len()
    }
}

/// The groups of an answer in short format. It ends before the first that is cut short, as the allocation length
/// may have it.
pub fn groups(bytes: &[u8]) -> Result<impl Iterator<Item = TargetPortGroup<'_>>, WireError> {
    let Some((len, rest)) = bytes.split_first_chunk::<HEADER_LEN>() else {
        return Err(WireError::Truncated { what: "target port groups", need: HEADER_LEN, have: bytes.len() });
    };
    let mut rest = &rest[..(u32::from_be_bytes(*len) as usize).min(rest.len())];
    Ok(core::iter::from_fn(move || {
        let (header, after) = GroupHeader::read_from_prefix(rest).ok()?;
        let (ports, after) =
            <[GroupPort]>::ref_from_prefix_with_elems(after, header.port_count.into()).ok()?;
        rest = after;
        Some(TargetPortGroup { header, ports })
    }))
}

/// Writes an answer in short format to the front of `buffer` and gives its length.
///
/// # Panics
/// If `buffer` is too short.
pub fn emit(groups: &[TargetPortGroup<'_>], buffer: &mut [u8]) -> usize {
    let mut at = HEADER_LEN;
    for group in groups {
        at += group.emit(&mut buffer[at..]);
    }
    let len = u32::try_from(at - HEADER_LEN).expect("groups fit their length");
    buffer[..HEADER_LEN].copy_from_slice(&len.to_be_bytes());
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn groups_come_back(
            ports in proptest::collection::vec(proptest::collection::vec(any::<u16>(), 0..5), 0..5),
            state in any::<u8>(),
        ) {
            let port = |&relative: &u16| GroupPort { obsolete: U16::ZERO, relative_port: relative.into() };
            let ports: std::vec::Vec<std::vec::Vec<_>> =
                ports.iter().map(|ports| ports.iter().map(port).collect()).collect();
            let expected: std::vec::Vec<_> = ports
                .iter()
                .map(|ports| TargetPortGroup {
                    header: GroupHeader {
                        state,
                        port_count: u8::try_from(ports.len()).unwrap(),
                        ..GroupHeader::default()
                    },
                    ports,
                })
                .collect();
            let mut buffer = [0xa5; 200];
            let len = emit(&expected, &mut buffer);
            let read: std::vec::Vec<_> = groups(&buffer).unwrap().collect();
            prop_assert_eq!(&read, &expected);
            let cut = groups(&buffer[..len - 1]).map_or(0, Iterator::count);
            prop_assert_eq!(cut, expected.len().saturating_sub(1));
        }

        #[test]
        fn any_bytes_are_safe(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(groups) = groups(&bytes) {
                prop_assert!(groups.count() <= 8);
            }
        }
    }
}
