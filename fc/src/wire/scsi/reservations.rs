//! Persistent reservations: the data of PERSISTENT RESERVE IN and OUT (SPC-4, 6.15, 6.16).

use crate::wire::{WireError, Wwn};
use zerocopy::byteorder::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Service actions of PERSISTENT RESERVE IN.
pub mod action_in {
    /// All registered keys: [`Keys`](super::Keys).
    pub const READ_KEYS: u8 = 0;
    /// The reservation: [`Reservation`](super::Reservation).
    pub const READ_RESERVATION: u8 = 1;
    /// What is supported: [`Capabilities`](super::Capabilities).
    pub const REPORT_CAPABILITIES: u8 = 2;
    /// Who registered, and who holds: [`full_status`](super::full_status).
    pub const READ_FULL_STATUS: u8 = 3;
}

/// Service actions of PERSISTENT RESERVE OUT.
pub mod action_out {
    /// Registers a key, if the one that is registered is known.
    pub const REGISTER: u8 = 0;
    /// Reserves.
    pub const RESERVE: u8 = 1;
    /// Releases.
    pub const RELEASE: u8 = 2;
    /// Ends all registrations.
    pub const CLEAR: u8 = 3;
    /// Ends others' registrations and takes their reservation.
    pub const PREEMPT: u8 = 4;
    /// And aborts their commands.
    pub const PREEMPT_AND_ABORT: u8 = 5;
    /// Registers a key, whatever is registered.
    pub const REGISTER_AND_IGNORE: u8 = 6;
    /// Moves the reservation to another initiator.
    pub const REGISTER_AND_MOVE: u8 = 7;
}

/// TYPE of a reservation (SPC-4, 6.15.3.4), four bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReservationType(pub u8);

impl ReservationType {
    /// Others may read.
    pub const WRITE_EXCLUSIVE: Self = Self(1);
    /// Others may not even read.
    pub const EXCLUSIVE_ACCESS: Self = Self(3);
    /// Those that aren't registered may read.
    pub const WRITE_EXCLUSIVE_REGISTRANTS_ONLY: Self = Self(5);
    /// Those that aren't registered may not even read.
    pub const EXCLUSIVE_ACCESS_REGISTRANTS_ONLY: Self = Self(6);
    /// As 5, and all that are registered hold it.
    pub const WRITE_EXCLUSIVE_ALL_REGISTRANTS: Self = Self(7);
    /// As 6, and all that are registered hold it.
    pub const EXCLUSIVE_ACCESS_ALL_REGISTRANTS: Self = Self(8);
}

/// What the lists start with.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Header {
    /// PRGENERATION: counts changes of registrations.
    pub generation: U32,
    /// Bytes that follow in the whole answer.
    pub additional_len: U32,
}

/// Bytes of [`Header`].
pub const HEADER_LEN: usize = size_of::<Header>();

/// The header and as much of the rest as was sent.
fn header<'a>(what: &'static str, bytes: &'a [u8]) -> Result<(Header, &'a [u8]), WireError> {
    let (header, rest) = Header::read_from_prefix(bytes).map_err(|_| WireError::Truncated {
        what,
        need: HEADER_LEN,
        have: bytes.len(),
    })?;
    let len = (header.additional_len.get() as usize).min(rest.len());
    Ok((header, &rest[..len]))
}

/// READ KEYS data, as far as it was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Keys<'a> {
    /// Generation and whole length.
    pub header: Header,
    /// The keys.
    pub keys: &'a [U64],
}

impl<'a> Keys<'a> {
    /// Reads the answer.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, WireError> {
        let (header, rest) = header("READ KEYS data", bytes)?;
        let (keys, _) =
            <[U64]>::ref_from_prefix_with_elems(rest, rest.len() / size_of::<U64>()).expect("counted to fit");
        Ok(Self { header, keys })
    }

    /// Writes the answer to the front of `buffer` and gives its length.
    ///
    /// # Panics
    /// If `buffer` is too short.
    pub fn emit(generation: u32, keys: &[U64], buffer: &mut [u8]) -> usize {
        put_list(generation, keys.as_bytes(), buffer)
    }
}

/// The reservation that is held (SPC-4, 6.15.3).
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Reservation {
    /// Its holder's key; 0 if all registrants hold it.
    pub key: U64,
    /// Obsolete.
    pub obsolete: [u8; 4],
    /// Reserved.
    pub reserved: u8,
    /// SCOPE (bits 7:4) and TYPE (bits 3:0).
    pub scope_and_type: u8,
    /// Obsolete.
    pub obsolete2: [u8; 2],
}

impl Reservation {
    /// Reads READ RESERVATION data: the header and the reservation, if there is one.
    pub fn parse(bytes: &[u8]) -> Result<(Header, Option<Self>), WireError> {
        let (header, rest) = header("READ RESERVATION data", bytes)?;
        if header.additional_len.get() == 0 {
            return Ok((header, None));
        }
        let (reservation, _) = Self::read_from_prefix(rest).map_err(|_| WireError::Truncated {
            what: "READ RESERVATION data",
            need: HEADER_LEN + size_of::<Self>(),
            have: bytes.len(),
        })?;
        Ok((header, Some(reservation)))
    }

    /// Writes READ RESERVATION data to the front of `buffer` and gives its length.
    ///
    /// # Panics
    /// If `buffer` is too short.
    pub fn emit(generation: u32, reservation: Option<&Self>, buffer: &mut [u8]) -> usize {
        put_list(generation, reservation.map_or(&[], |reservation| reservation.as_bytes()), buffer)
    }

    /// TYPE.
    pub const fn kind(&self) -> ReservationType {
        ReservationType(self.scope_and_type & 0x0f)
    }
}

fn put_list(generation: u32, list: &[u8], buffer: &mut [u8]) -> usize {
    let additional_len = u32::try_from(list.len()).expect("a list fits its length");
    let header = Header { generation: generation.into(), additional_len: additional_len.into() };
    buffer[..HEADER_LEN].copy_from_slice(header.as_bytes());
    buffer[HEADER_LEN..HEADER_LEN + list.len()].copy_from_slice(list);
    HEADER_LEN + list.len()
}

/// REPORT CAPABILITIES data (SPC-4, 6.15.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Capabilities {
    /// 8.
    pub len: U16,
    /// RLR_C (bit 7), CRH (4), SIP_C (3), ATP_C (2), PTPL_C (0).
    pub flags: u8,
    /// TMV (bit 7), ALLOW COMMANDS (6:4), PTPL_A (0).
    pub flags2: u8,
    /// Which types there are: WR_EX_AR 0x8000, EX_AC_RO 0x4000, WR_EX_RO 0x2000, EX_AC 0x0800, WR_EX 0x0200,
    /// EX_AC_AR 0x0001. Counts if TMV.
    pub type_mask: U16,
    /// Reserved.
    pub reserved: [u8; 2],
}

impl Capabilities {
    /// Reads the answer.
    pub fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        Self::read_from_prefix(bytes).map(|(data, _)| data).map_err(|_| WireError::Truncated {
            what: "REPORT CAPABILITIES data",
            need: size_of::<Self>(),
            have: bytes.len(),
        })
    }
}

/// One registration of READ FULL STATUS (SPC-4, 6.15.5), without its TransportID.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Registration {
    /// Its key.
    pub key: U64,
    /// Reserved.
    pub reserved: [u8; 4],
    /// ALL_TG_PT (bit 1), R_HOLDER (bit 0).
    pub flags: u8,
    /// SCOPE (bits 7:4) and TYPE (bits 3:0), if it holds the reservation.
    pub scope_and_type: u8,
    /// Reserved.
    pub reserved2: [u8; 4],
    /// At which target port.
    pub relative_port: U16,
    /// Bytes of the TransportID.
    pub transport_id_len: U32,
}

impl Registration {
    /// Bit of [`Self::flags`]: it holds the reservation.
    pub const R_HOLDER: u8 = 1;
}

/// The registrations of READ FULL STATUS data, each with its TransportID. It ends before the first that is cut
/// short, as the allocation length may have it.
pub fn full_status(bytes: &[u8]) -> Result<(Header, impl Iterator<Item = (Registration, &[u8])>), WireError> {
    let (header, mut rest) = header("READ FULL STATUS data", bytes)?;
    let registrations = core::iter::from_fn(move || {
        let (registration, after) = Registration::read_from_prefix(rest).ok()?;
        let (id, after) = after.split_at_checked(registration.transport_id_len.get() as usize)?;
        rest = after;
        Some((registration, id))
    });
    Ok((header, registrations))
}

/// The TransportID of an FCP initiator port (SPC-4, 7.6.4.2).
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct FcpTransportId {
    /// FORMAT CODE (bits 7:6) and PROTOCOL IDENTIFIER (bits 3:0): 0.
    pub protocol: u8,
    /// Reserved.
    pub reserved: [u8; 7],
    /// The initiator port's name.
    pub port_name: Wwn,
    /// Reserved.
    pub reserved2: [u8; 8],
}

/// PERSISTENT RESERVE OUT's basic parameter list (SPC-4, 6.16.3).
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Parameters {
    /// RESERVATION KEY: the one that is registered.
    pub key: U64,
    /// SERVICE ACTION RESERVATION KEY: the new one, or the one to preempt.
    pub action_key: U64,
    /// Obsolete.
    pub obsolete: [u8; 4],
    /// SPEC_I_PT (bit 3), ALL_TG_PT (2), APTPL (0).
    pub flags: u8,
    /// Reserved.
    pub reserved: u8,
    /// Obsolete.
    pub obsolete2: [u8; 2],
}

impl Parameters {
    /// Bit of [`Self::flags`]: registrations outlive a loss of power.
    pub const APTPL: u8 = 0x01;
    /// Bit of [`Self::flags`]: TransportIDs follow.
    pub const SPEC_I_PT: u8 = 0x08;

    /// The list as it is sent.
    pub fn bytes(&self) -> &[u8] {
        self.as_bytes()
    }

    /// Reads the list.
    pub fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        Self::read_from_prefix(bytes).map(|(list, _)| list).map_err(|_| WireError::Truncated {
            what: "PERSISTENT RESERVE OUT parameter list",
            need: size_of::<Self>(),
            have: bytes.len(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn keys_and_reservations_come_back(
            keys in proptest::collection::vec(any::<u64>(), 0..10),
            generation in any::<u32>(),
            held in any::<bool>(),
        ) {
            let keys: std::vec::Vec<U64> = keys.into_iter().map(U64::new).collect();
            let mut buffer = [0xa5; 200];
            let len = Keys::emit(generation, &keys, &mut buffer);
            let read = Keys::parse(&buffer[..len]).unwrap();
            prop_assert_eq!((read.header.generation.get(), read.keys), (generation, &keys[..]));
            prop_assert_eq!(Keys::parse(&buffer).unwrap(), read);

            let reservation = Reservation { key: 7.into(), scope_and_type: 5, ..Reservation::default() };
            let expected = held.then_some(reservation);
            let len = Reservation::emit(generation, expected.as_ref(), &mut buffer);
            prop_assert_eq!(Reservation::parse(&buffer[..len]).unwrap().1, expected);
            prop_assert!(Reservation::parse(&buffer[..len - 1]).is_err());
            prop_assert_eq!(reservation.kind(), ReservationType::WRITE_EXCLUSIVE_REGISTRANTS_ONLY);
        }

        #[test]
        fn any_bytes_are_safe(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = (Keys::parse(&bytes), Reservation::parse(&bytes));
            let _ = (Capabilities::parse(&bytes), Parameters::parse(&bytes));
            if let Ok((_, registrations)) = full_status(&bytes) {
                prop_assert!(registrations.count() <= 4);
            }
        }
    }

    #[test]
    fn full_status_names_the_initiators() {
        let id = FcpTransportId { port_name: Wwn::from_u64(0x2000_0000_0000_0001), ..Default::default() };
        let registration = Registration {
            key: 9.into(),
            flags: Registration::R_HOLDER,
            transport_id_len: 24.into(),
            ..Registration::default()
        };
        let list = [registration.as_bytes(), id.as_bytes()].concat();
        let mut buffer = [0xa5; 200];
        let len = put_list(1, &[&list[..], &list[..]].concat(), &mut buffer);
        let (header, registrations) = full_status(&buffer[..len - 1]).unwrap();
        assert_eq!(header.generation.get(), 1);
        let read: std::vec::Vec<_> = registrations.collect();
        assert_eq!(read, [(registration, id.as_bytes())]);
    }

    #[test]
    fn layouts_have_the_standards_lengths() {
        assert_eq!(size_of::<Parameters>(), 24);
        assert_eq!(size_of::<Registration>(), 24);
        assert_eq!(size_of::<FcpTransportId>(), 24);
        assert_eq!(size_of::<Reservation>(), 16);
        assert_eq!(size_of::<Capabilities>(), 8);
    }
}
