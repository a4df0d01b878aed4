//! Sense data: why a command ended in CHECK CONDITION (SPC-4, 4.5).

use super::AdditionalSense;
use crate::wire::WireError;
use core::fmt;

/// Bytes of sense data in fixed format, as [`Sense::emit`] writes it.
pub const FIXED_LEN: usize = 18;
/// The most bytes that [`Sense::emit`] writes: a descriptor header and three descriptors.
pub const MAX_LEN: usize = DESCRIPTOR_HEADER_LEN + INFORMATION_LEN + KEY_SPECIFIC_LEN + STREAM_LEN;

const DESCRIPTOR_HEADER_LEN: usize = 8;
/// Where both formats hold the count of bytes that follow it.
const ADDITIONAL_LEN_OFFSET: usize = 7;

/// Descriptor types (SPC-4, 4.5.2) and their whole lengths.
const INFORMATION: u8 = 0;
const INFORMATION_LEN: usize = 12;
const KEY_SPECIFIC: u8 = 2;
const KEY_SPECIFIC_LEN: usize = 8;
const STREAM: u8 = 4;
const STREAM_LEN: usize = 4;
const BLOCK: u8 = 5;

const VALID: u8 = 0x80;
const FILEMARK: u8 = 0x80;
const EOM: u8 = 0x40;
const ILI: u8 = 0x20;

/// Decoded sense data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sense {
    /// In which format it came, or shall go.
    pub format: SenseFormat,
    /// It tells of an earlier command that had already ended in GOOD.
    pub deferred: bool,
    /// What kind of thing happened.
    pub key: SenseKey,
    /// What exactly happened.
    pub additional: AdditionalSense,
    /// INFORMATION, if marked valid: for block commands, the first LBA concerned.
    pub information: Option<u64>,
    /// SENSE KEY SPECIFIC, its valid bit included: a field pointer, a retry count or a progress.
    pub key_specific: Option<[u8; 3]>,
    /// A filemark was read (tapes).
    pub filemark: bool,
    /// The end of the medium was reached (tapes).
    pub eom: bool,
    /// The length asked for isn't the block's.
    pub ili: bool,
}

impl Sense {
    /// Sense data in fixed format for a command that just failed.
    pub const fn new(key: SenseKey, additional: AdditionalSense) -> Self {
        Self {
            format: SenseFormat::Fixed,
            deferred: false,
            key,
            additional,
            information: None,
            key_specific: None,
            filemark: false,
            eom: false,
            ili: false,
        }
    }

    /// The same with a field pointer: which byte of the CDB (or else of the parameter list) is illegal
    /// (SPC-4, 4.5.2.4.2).
    #[must_use]
    pub const fn with_field_pointer(self, in_cdb: bool, byte: u16) -> Self {
        let [high, low] = byte.to_be_bytes();
        let command_data = if in_cdb { 0x40 } else { 0 };
        Self { key_specific: Some([VALID | command_data, high, low]), ..self }
    }

    /// Which byte is illegal, and whether it is one of the CDB; for ILLEGAL REQUEST only.
    pub fn field_pointer(&self) -> Option<(bool, u16)> {
        match self.key_specific {
            Some([flags, high, low]) if self.key == SenseKey::ILLEGAL_REQUEST => {
                Some((flags & 0x40 != 0, u16::from_be_bytes([high, low])))
            }
            _ => None,
        }
    }

    /// Reads sense data of either format, as far as it goes.
    ///
    /// Bytes behind the additional length are padding. Sense data that ends before its additional sense code
    /// has none.
    ///
    /// # Errors
    /// [`WireError::Truncated`] without a sense key, [`WireError::BadValue`] for an unknown response code.
    pub fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        let need = 4;
        let truncated = WireError::Truncated { what: "sense data", need, have: bytes.len() };
        let have = match bytes.get(ADDITIONAL_LEN_OFFSET) {
            Some(&additional) => bytes.len().min(ADDITIONAL_LEN_OFFSET + 1 + usize::from(additional)),
            None => bytes.len(),
        };
        let bytes = &bytes[..have];
        if bytes.len() < need {
            return Err(truncated);
        }
        match bytes[0] & 0x7f {
            code @ (0x70 | 0x71) => Ok(Self::parse_fixed(bytes, code == 0x71)),
            code @ (0x72 | 0x73) => Self::parse_descriptors(bytes, code == 0x73),
            code => Err(WireError::BadValue { what: "sense response code", value: code.into() }),
        }
    }

    fn parse_fixed(bytes: &[u8], deferred: bool) -> Self {
        let byte = |at: usize| bytes.get(at).copied().unwrap_or(0);
        let word = u32::from_be_bytes([byte(3), byte(4), byte(5), byte(6)]);
        Self {
            format: SenseFormat::Fixed,
            deferred,
            key: SenseKey(byte(2) & 0x0f),
            additional: AdditionalSense { asc: byte(12), ascq: byte(13) },
            information: (byte(0) & VALID != 0).then_some(word.into()),
            key_specific: (byte(15) & VALID != 0).then_some([byte(15), byte(16), byte(17)]),
            filemark: byte(2) & FILEMARK != 0,
            eom: byte(2) & EOM != 0,
            ili: byte(2) & ILI != 0,
        }
    }

    fn parse_descriptors(bytes: &[u8], deferred: bool) -> Result<Self, WireError> {
        let mut sense =
            Self::new(SenseKey(bytes[1] & 0x0f), AdditionalSense { asc: bytes[2], ascq: bytes[3] });
        sense.format = SenseFormat::Descriptor;
        sense.deferred = deferred;
        let mut rest = bytes.get(DESCRIPTOR_HEADER_LEN..).unwrap_or(&[]);
        while let [kind, body_len, ..] = *rest {
            // The initiator's buffer may have cut the last one off.
            let Some((descriptor, next)) = rest.split_at_checked(2 + usize::from(body_len)) else { break };
            sense.read_descriptor(kind, descriptor)?;
            rest = next;
        }
        Ok(sense)
    }

    fn read_descriptor(&mut self, kind: u8, descriptor: &[u8]) -> Result<(), WireError> {
        let need_len = |need| {
            let truncated = WireError::Truncated { what: "sense descriptor", need, have: descriptor.len() };
            if descriptor.len() < need { Err(truncated) } else { Ok(()) }
        };
        match kind {
            INFORMATION => {
                need_len(INFORMATION_LEN)?;
                let [_, _, flags, _, rest @ ..] = descriptor else { unreachable!("length checked") };
                let number = rest.first_chunk().expect("length checked");
                self.information = (flags & VALID != 0).then_some(u64::from_be_bytes(*number));
            }
            KEY_SPECIFIC => {
                need_len(KEY_SPECIFIC_LEN)?;
                let bytes = [descriptor[4], descriptor[5], descriptor[6]];
                self.key_specific = (bytes[0] & VALID != 0).then_some(bytes);
            }
            STREAM | BLOCK => {
                need_len(STREAM_LEN)?;
                self.ili = descriptor[3] & ILI != 0;
                if kind == STREAM {
                    self.filemark = descriptor[3] & FILEMARK != 0;
                    self.eom = descriptor[3] & EOM != 0;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn stream_flags(&self) -> u8 {
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        flag(self.filemark, FILEMARK) | flag(self.eom, EOM) | flag(self.ili, ILI)
    }

    /// Bytes that [`Self::emit`] writes, at most [`MAX_LEN`].
    pub fn len(&self) -> usize {
        let len_if = |there: bool, len: usize| if there { len } else { 0 };
        match self.format {
            SenseFormat::Fixed => FIXED_LEN,
            SenseFormat::Descriptor => {
                DESCRIPTOR_HEADER_LEN
                    + len_if(self.information.is_some(), INFORMATION_LEN)
                    + len_if(self.key_specific.is_some(), KEY_SPECIFIC_LEN)
                    + len_if(self.stream_flags() != 0, STREAM_LEN)
            }
        }
    }

    /// Writes the sense data to the front of `buffer` and gives its length. Information that does not fit the
    /// 32 bits of the fixed format is left out, as SPC-4 4.5.3 asks.
    ///
    /// # Panics
    /// If `buffer` is too short.
    pub fn emit(&self, buffer: &mut [u8]) -> usize {
        let len = self.len();
        let bytes = &mut buffer[..len];
        bytes.fill(0);
        bytes[ADDITIONAL_LEN_OFFSET] =
            u8::try_from(len - ADDITIONAL_LEN_OFFSET - 1).expect("at most MAX_LEN");
        match self.format {
            SenseFormat::Fixed => self.emit_fixed(bytes),
            SenseFormat::Descriptor => self.emit_descriptors(bytes),
        }
        len
    }

    fn emit_fixed(&self, bytes: &mut [u8]) {
        bytes[0] = 0x70 | u8::from(self.deferred);
        bytes[2] = self.stream_flags() | self.key.0 & 0x0f;
        if let Some(information) = self.information.and_then(|information| u32::try_from(information).ok()) {
            bytes[0] |= VALID;
            bytes[3..7].copy_from_slice(&information.to_be_bytes());
        }
        bytes[12] = self.additional.asc;
        bytes[13] = self.additional.ascq;
        if let Some([flags, high, low]) = self.key_specific {
            bytes[15..].copy_from_slice(&[flags | VALID, high, low]);
        }
    }

    fn emit_descriptors(&self, bytes: &mut [u8]) {
        bytes[0] = 0x72 | u8::from(self.deferred);
        bytes[1] = self.key.0 & 0x0f;
        bytes[2] = self.additional.asc;
        bytes[3] = self.additional.ascq;
        let mut rest = &mut bytes[DESCRIPTOR_HEADER_LEN..];
        let mut put = |descriptor: &[u8]| {
            let (here, next) = core::mem::take(&mut rest).split_at_mut(descriptor.len());
            here.copy_from_slice(descriptor);
            rest = next;
        };
        if let Some(information) = self.information {
            put(&[INFORMATION, 10, VALID, 0]);
            put(&information.to_be_bytes());
        }
        if let Some([flags, high, low]) = self.key_specific {
            put(&[KEY_SPECIFIC, 6, 0, 0, flags | VALID, high, low, 0]);
        }
        match self.stream_flags() {
            0 => {}
            flags => put(&[STREAM, 2, 0, flags]),
        }
    }
}

/// As people read it: `ILLEGAL REQUEST: logical block address out of range (05/21/00)`.
impl fmt::Display for Sense {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.deferred {
            f.write_str("deferred ")?;
        }
        write!(f, "{}: ", self.key)?;
        match self.additional.name() {
            Some(name) => f.write_str(name)?,
            None => f.write_str("additional sense code without a known name")?,
        }
        write!(f, " ({:02x}/{:02x}/{:02x})", self.key.0, self.additional.asc, self.additional.ascq)?;
        if let Some(information) = self.information {
            write!(f, ", information {information:#x}")?;
        }
        match self.field_pointer() {
            Some((true, byte)) => write!(f, ", byte {byte} of the CDB"),
            Some((false, byte)) => write!(f, ", byte {byte} of the parameters"),
            None => Ok(()),
        }
    }
}

/// The two layouts of sense data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SenseFormat {
    /// Response codes 0x70 and 0x71.
    Fixed,
    /// Response codes 0x72 and 0x73.
    Descriptor,
}

/// SENSE KEY (SPC-4, 4.5.6), four bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SenseKey(pub u8);

impl SenseKey {
    /// Nothing went wrong; there is something to tell.
    pub const NO_SENSE: Self = Self(0x0);
    /// Done, after recovery by the device.
    pub const RECOVERED_ERROR: Self = Self(0x1);
    /// The logical unit can't be used now.
    pub const NOT_READY: Self = Self(0x2);
    /// The medium, or the data on it, is bad.
    pub const MEDIUM_ERROR: Self = Self(0x3);
    /// The hardware failed.
    pub const HARDWARE_ERROR: Self = Self(0x4);
    /// The CDB or the parameters aren't allowed.
    pub const ILLEGAL_REQUEST: Self = Self(0x5);
    /// Something happened to the logical unit since this initiator's last command, which was not done.
    pub const UNIT_ATTENTION: Self = Self(0x6);
    /// The block is protected.
    pub const DATA_PROTECT: Self = Self(0x7);
    /// A blank block, or none, was met.
    pub const BLANK_CHECK: Self = Self(0x8);
    /// The vendor's own.
    pub const VENDOR_SPECIFIC: Self = Self(0x9);
    /// EXTENDED COPY failed.
    pub const COPY_ABORTED: Self = Self(0xa);
    /// The device aborted the command; trying again may help.
    pub const ABORTED_COMMAND: Self = Self(0xb);
    /// Data is left in the device's buffer.
    pub const VOLUME_OVERFLOW: Self = Self(0xd);
    /// Data compared isn't the same.
    pub const MISCOMPARE: Self = Self(0xe);
    /// Completed, with something to tell.
    pub const COMPLETED: Self = Self(0xf);

    /// The standard's name; `None` for a code that it doesn't know.
    pub const fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::NO_SENSE => "NO SENSE",
            Self::RECOVERED_ERROR => "RECOVERED ERROR",
            Self::NOT_READY => "NOT READY",
            Self::MEDIUM_ERROR => "MEDIUM ERROR",
            Self::HARDWARE_ERROR => "HARDWARE ERROR",
            Self::ILLEGAL_REQUEST => "ILLEGAL REQUEST",
            Self::UNIT_ATTENTION => "UNIT ATTENTION",
            Self::DATA_PROTECT => "DATA PROTECT",
            Self::BLANK_CHECK => "BLANK CHECK",
            Self::VENDOR_SPECIFIC => "VENDOR SPECIFIC",
            Self::COPY_ABORTED => "COPY ABORTED",
            Self::ABORTED_COMMAND => "ABORTED COMMAND",
            Self::VOLUME_OVERFLOW => "VOLUME OVERFLOW",
            Self::MISCOMPARE => "MISCOMPARE",
            Self::COMPLETED => "COMPLETED",
            _ => return None,
        })
    }
}

impl fmt::Display for SenseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "sense key {:#x}", self.0),
        }
    }
}

impl fmt::Debug for SenseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::ToString;

    prop_compose! {
        fn senses()(
            descriptor in any::<bool>(),
            deferred in any::<bool>(),
            (key, asc, ascq) in (0u8..16, any::<u8>(), any::<u8>()),
            information in proptest::option::of(any::<u64>()),
            key_specific in proptest::option::of(any::<[u8; 3]>()),
            (filemark, eom, ili) in any::<(bool, bool, bool)>(),
        ) -> Sense {
            let format = if descriptor { SenseFormat::Descriptor } else { SenseFormat::Fixed };
            let fits = |&information: &u64| descriptor || u32::try_from(information).is_ok();
            Sense {
                format,
                deferred,
                key: SenseKey(key),
                additional: AdditionalSense { asc, ascq },
                information: information.filter(fits),
                key_specific: key_specific.map(|[flags, high, low]| [flags | VALID, high, low]),
                filemark,
                eom,
                ili,
            }
        }
    }

    proptest! {
        #[test]
        fn sense_comes_back(sense in senses(), padding in 0usize..80) {
            let mut buffer = [0xa5; MAX_LEN + 80];
            let len = sense.emit(&mut buffer);
            prop_assert_eq!(len, sense.len());
            prop_assert!(buffer[len..].iter().all(|&byte| byte == 0xa5));
            prop_assert_eq!(Sense::parse(&buffer[..len + padding]).unwrap(), sense);
        }

        #[test]
        fn any_bytes_are_safe(
            code in prop_oneof![any::<u8>(), 0x70u8..0x74],
            mut bytes in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            if let Some(first) = bytes.first_mut() { *first = code }
            if let Ok(sense) = Sense::parse(&bytes) {
                let mut again = [0; MAX_LEN];
                let len = sense.emit(&mut again);
                prop_assert_eq!(Sense::parse(&again[..len]), Ok(sense));
                let _ = sense.to_string();
            }
        }
    }

    #[test]
    fn sense_prints_for_people() {
        let out_of_range = Sense::new(SenseKey::ILLEGAL_REQUEST, AdditionalSense::LBA_OUT_OF_RANGE);
        assert_eq!(
            out_of_range.to_string(),
            "ILLEGAL REQUEST: logical block address out of range (05/21/00)"
        );
        let pointed = Sense::new(SenseKey::ILLEGAL_REQUEST, AdditionalSense::INVALID_FIELD_IN_CDB);
        assert_eq!(
            pointed.with_field_pointer(true, 2).to_string(),
            "ILLEGAL REQUEST: invalid field in CDB (05/24/00), byte 2 of the CDB"
        );
        let unread = Sense {
            information: Some(0x1_0000_0000),
            deferred: true,
            ..Sense::new(SenseKey::MEDIUM_ERROR, AdditionalSense { asc: 0x11, ascq: 0 })
        };
        assert_eq!(
            unread.to_string(),
            "deferred MEDIUM ERROR: unrecovered read error (03/11/00), information 0x100000000"
        );
        let vendor = Sense::new(SenseKey(0xc), AdditionalSense { asc: 0x80, ascq: 0x99 });
        assert_eq!(
            vendor.to_string(),
            "sense key 0xc: additional sense code without a known name (0c/80/99)"
        );
    }

    #[test]
    fn sense_that_ends_early_is_read_as_far_as_it_goes() {
        let sense = Sense::parse(&[0x70, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x29, 0]).unwrap();
        assert_eq!(sense.key, SenseKey::UNIT_ATTENTION);
        assert_eq!(sense.additional, AdditionalSense { asc: 0, ascq: 0 });
        assert!(matches!(Sense::parse(&[0x70, 0, 6]), Err(WireError::Truncated { .. })));
        assert!(matches!(Sense::parse(&[0; 18]), Err(WireError::BadValue { .. })));
        assert!(Sense::parse(&[0x72, 5, 0x20, 0, 0, 0, 0, 4, 0, 2, 0, 0]).is_err());
    }
}
