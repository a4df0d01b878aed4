//! FCP's information units (FCP-4, 9): SCSI over Fibre Channel.

mod srr;

pub use srr::Srr;

use super::WireError;
use core::fmt;
use zerocopy::byteorder::big_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A logical unit number of eight bytes (SAM-5, 4.7).
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
pub struct Lun(pub [u8; 8]);

impl Lun {
    /// A single-level LUN: peripheral addressing up to 255, flat space above, up to 16,383.
    pub const fn single(number: u16) -> Option<Self> {
        let [high, low] = number.to_be_bytes();
        match number {
            0..=0xff => Some(Self([0, low, 0, 0, 0, 0, 0, 0])),
            0x100..=0x3fff => Some(Self([0x40 | high, low, 0, 0, 0, 0, 0, 0])),
            _ => None,
        }
    }

    /// The number of a single-level LUN; `None` for other forms.
    pub const fn number(self) -> Option<u16> {
        match self.0 {
            [high, low, 0, 0, 0, 0, 0, 0] if high >> 6 == 1 || high == 0 => {
                Some(u16::from_be_bytes([high & 0x3f, low]))
            }
            _ => None,
        }
    }
}

impl fmt::Display for Lun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number() {
            Some(number) => write!(f, "{number}"),
            None => write!(f, "{:#018x}", u64::from_be_bytes(self.0)),
        }
    }
}

impl fmt::Debug for Lun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Bytes of an FCP_CMND whose CDB is at most 16 bytes.
pub const CMND_LEN: usize = CMND_FIXED_LEN + 4;
/// Bytes of an FCP_CMND before the additional CDB bytes and FCP_DL.
const CMND_FIXED_LEN: usize = size_of::<FcpCmndFixed>();
/// The CDB bytes that every FCP_CMND has.
pub const CDB_LEN: usize = 16;
/// The most additional CDB bytes: the field counts up to 63 words.
pub const MAX_ADDITIONAL_CDB_LEN: usize = 63 * 4;

/// What every FCP_CMND starts with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct FcpCmndFixed {
    /// Which logical unit.
    pub lun: Lun,
    /// Command reference number; 0 when it isn't used.
    pub crn: u8,
    /// Command priority (bits 6:3) and task attribute (bits 2:0).
    pub attribute: u8,
    /// Task management flags, at most one of them set.
    pub task_management: TaskManagement,
    /// Additional CDB length in words (bits 7:2), [`RDDATA`] and [`WRDATA`].
    pub flags: u8,
    /// The CDB's first 16 bytes.
    pub cdb: [u8; CDB_LEN],
}

/// The command expects data from the target.
pub const RDDATA: u8 = 0x02;
/// The command has data for the target.
pub const WRDATA: u8 = 0x01;
/// The task attributes of SAM-5, 8.6: SIMPLE.
pub const ATTRIBUTE_SIMPLE: u8 = 0;
/// HEAD OF QUEUE.
pub const ATTRIBUTE_HEAD_OF_QUEUE: u8 = 1;
/// ORDERED.
pub const ATTRIBUTE_ORDERED: u8 = 2;

/// Task management flags (FCP-4, 9.1.2.5).
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(transparent)]
pub struct TaskManagement(pub u8);

impl TaskManagement {
    /// None: the IU carries a command.
    pub const NONE: Self = Self(0);
    /// CLEAR ACA.
    pub const CLEAR_ACA: Self = Self(0x40);
    /// TARGET RESET (obsolete, still used).
    pub const TARGET_RESET: Self = Self(0x20);
    /// LOGICAL UNIT RESET.
    pub const LUN_RESET: Self = Self(0x10);
    /// CLEAR TASK SET.
    pub const CLEAR_TASK_SET: Self = Self(0x04);
    /// ABORT TASK SET.
    pub const ABORT_TASK_SET: Self = Self(0x02);
}

/// An FCP_CMND: its fixed part, additional CDB bytes and FCP_DL.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FcpCmnd<'a> {
    /// The fixed part; its additional length is set by [`Self::emit`].
    pub fixed: FcpCmndFixed,
    /// CDB bytes after the first 16, a multiple of four.
    pub additional_cdb: &'a [u8],
    /// FCP_DL: the most bytes of data that may move.
    pub data_len: u32,
    /// FCP_BIDIRECTIONAL_READ_DL, there when both RDDATA and WRDATA are set.
    pub bidirectional_read_len: Option<u32>,
}

impl<'a> FcpCmnd<'a> {
    /// Reads an FCP_CMND.
    pub fn parse(iu: &'a [u8]) -> Result<Self, WireError> {
        let truncated = |need| WireError::Truncated { what: "FCP_CMND", need, have: iu.len() };
        let (fixed, rest) = FcpCmndFixed::read_from_prefix(iu).map_err(|_| truncated(CMND_FIXED_LEN + 4))?;
        let additional_len = usize::from(fixed.flags >> 2) * 4;
        let bidirectional = fixed.flags & (RDDATA | WRDATA) == RDDATA | WRDATA;
        let need = CMND_FIXED_LEN + additional_len + if bidirectional { 8 } else { 4 };
        let (additional_cdb, rest) = rest.split_at_checked(additional_len).ok_or(truncated(need))?;
        let (data_len, rest) = U32::read_from_prefix(rest).map_err(|_| truncated(need))?;
        let bidirectional_read_len = if bidirectional {
            Some(U32::read_from_prefix(rest).map_err(|_| truncated(need))?.0.get())
        } else {
            None
        };
        Ok(Self { fixed, additional_cdb, data_len: data_len.get(), bidirectional_read_len })
    }

    /// Bytes that [`Self::emit`] writes.
    pub fn len(&self) -> usize {
        CMND_LEN + self.additional_cdb.len() + self.bidirectional_read_len.map_or(0, |_| 4)
    }

    /// Writes the IU to the front of `buffer` and gives its length.
    ///
    /// # Panics
    /// If `buffer` is too short or the additional CDB isn't whole words, at most [`MAX_ADDITIONAL_CDB_LEN`].
    #[inline]
    pub fn emit(&self, buffer: &mut [u8]) -> usize {
        let additional_len = self.additional_cdb.len();
        assert!(additional_len.is_multiple_of(4) && additional_len <= MAX_ADDITIONAL_CDB_LEN);
        let words = u8::try_from(additional_len / 4).expect("bounded above");
        let fixed = FcpCmndFixed { flags: self.fixed.flags & 3 | words << 2, ..self.fixed };
        let (head, rest) = buffer.split_at_mut(CMND_FIXED_LEN);
        head.copy_from_slice(fixed.as_bytes());
        rest[..additional_len].copy_from_slice(self.additional_cdb);
        rest[additional_len..][..4].copy_from_slice(&self.data_len.to_be_bytes());
        if let Some(len) = self.bidirectional_read_len {
            rest[additional_len + 4..][..4].copy_from_slice(&len.to_be_bytes());
        }
        self.len()
    }
}

/// FCP_XFER_RDY: the target asks for write data.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct FcpXferRdy {
    /// Offset of the first byte wanted.
    pub offset: U32,
    /// Bytes wanted.
    pub burst_len: U32,
    /// Reserved.
    pub reserved: U32,
}

impl FcpXferRdy {
    /// Reads the IU at the front of `iu`.
    pub fn parse(iu: &[u8]) -> Result<Self, WireError> {
        Self::read_from_prefix(iu).map(|(parsed, _)| parsed).map_err(|_| WireError::Truncated {
            what: "FCP_XFER_RDY",
            need: size_of::<Self>(),
            have: iu.len(),
        })
    }
}

/// What every FCP_RSP starts with; some targets send only this much.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct FcpRspFixed {
    reserved: [u8; 8],
    retry_delay: U16,
    flags: u8,
    status: u8,
}

/// The lengths that follow when a flag needs them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct FcpRspLengths {
    residual: U32,
    sense_len: U32,
    info_len: U32,
}

/// Flags of FCP_RSP (FCP-4, 9.5.5).
pub mod rsp_flags {
    /// RSP_INFO is there.
    pub const INFO_VALID: u8 = 0x01;
    /// Sense data is there.
    pub const SENSE_VALID: u8 = 0x02;
    /// More data than FCP_DL: the residual counts what did not fit.
    pub const OVER: u8 = 0x04;
    /// Less data than FCP_DL: the residual counts what is missing.
    pub const UNDER: u8 = 0x08;
    /// The target asks for FCP_CONF.
    pub const CONF_REQUESTED: u8 = 0x10;
}

/// RSP_CODE in RSP_INFO (FCP-4, 9.5.13).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RspCode(pub u8);

impl RspCode {
    /// The task management function is complete.
    pub const COMPLETE: Self = Self(0);
    /// FCP_DATA was not as long as FCP_BURST_LEN.
    pub const BURST_MISMATCH: Self = Self(1);
    /// Fields of FCP_CMND are invalid.
    pub const INVALID_FIELDS: Self = Self(2);
    /// A data parameter doesn't match FCP_DATA_RO.
    pub const OFFSET_MISMATCH: Self = Self(3);
    /// The task management function was rejected.
    pub const REJECTED: Self = Self(4);
    /// The task management function failed.
    pub const FAILED: Self = Self(5);
    /// There is no such logical unit.
    pub const INCORRECT_LUN: Self = Self(9);
}

impl fmt::Display for RspCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let meaning = match *self {
            Self::COMPLETE => "function complete",
            Self::BURST_MISMATCH => "the burst's length is wrong",
            Self::INVALID_FIELDS => "invalid fields in FCP_CMND",
            Self::OFFSET_MISMATCH => "the data's offset is wrong",
            Self::REJECTED => "function rejected",
            Self::FAILED => "function failed",
            Self::INCORRECT_LUN => "no such logical unit",
            Self(code) => return write!(f, "{code:#04x}"),
        };
        write!(f, "{:#04x}, {meaning}", self.0)
    }
}

/// An FCP_RSP; sense data and RSP_INFO are slices of the IU.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FcpRsp<'a> {
    /// Status qualifier: with BUSY and TASK SET FULL, how long to wait (SAM-5, 5.3.2).
    pub retry_delay: u16,
    /// [`rsp_flags`]; emit sets those of sense data and RSP_INFO by what is there.
    pub flags: u8,
    /// The SCSI status byte.
    pub status: u8,
    /// Bytes not moved; counts with OVER or UNDER only.
    pub residual: u32,
    /// RSP_INFO: empty, 4 or 8 bytes.
    pub info: &'a [u8],
    /// Sense data.
    pub sense: &'a [u8],
}

impl<'a> FcpRsp<'a> {
    /// Reads an FCP_RSP. The lengths may be absent where no flag needs them.
    #[inline]
    pub fn parse(iu: &'a [u8]) -> Result<Self, WireError> {
        let truncated = |need| WireError::Truncated { what: "FCP_RSP", need, have: iu.len() };
        let (fixed, rest) =
            FcpRspFixed::ref_from_prefix(iu).map_err(|_| truncated(size_of::<FcpRspFixed>()))?;
        let needs_lengths =
            rsp_flags::INFO_VALID | rsp_flags::SENSE_VALID | rsp_flags::OVER | rsp_flags::UNDER;
        let mut rsp = Self {
            retry_delay: fixed.retry_delay.get(),
            flags: fixed.flags,
            status: fixed.status,
            ..Self::default()
        };
        let Ok((lengths, rest)) = FcpRspLengths::ref_from_prefix(rest) else {
            return if fixed.flags & needs_lengths == 0 { Ok(rsp) } else { Err(truncated(RSP_LEN)) };
        };
        rsp.residual = lengths.residual.get();
        let len_if = |flag: u8, len: U32| if fixed.flags & flag != 0 { len.get() as usize } else { 0 };
        let info_len = len_if(rsp_flags::INFO_VALID, lengths.info_len);
        let sense_len = len_if(rsp_flags::SENSE_VALID, lengths.sense_len);
        if !matches!(info_len, 0 | 4 | 8) {
            return Err(WireError::BadValue { what: "FCP_RSP_LEN", value: info_len as u64 });
        }
        let need = RSP_LEN.saturating_add(info_len).saturating_add(sense_len);
        let (info, rest) = rest.split_at_checked(info_len).ok_or(truncated(need))?;
        let sense = rest.get(..sense_len).ok_or(truncated(need))?;
        Ok(Self { info, sense, ..rsp })
    }

    /// Bytes that [`Self::emit`] writes.
    pub fn len(&self) -> usize {
        RSP_LEN + self.info.len() + self.sense.len()
    }

    /// Whether it says no more than that the command has ended in GOOD with all data.
    #[inline]
    pub const fn is_good(&self) -> bool {
        self.status == 0 && self.flags == 0 && self.retry_delay == 0
    }

    /// RSP_CODE, where RSP_INFO is there.
    pub fn code(&self) -> Option<RspCode> {
        self.info.get(3).map(|&code| RspCode(code))
    }

    /// Bytes of FCP_DL = `data_len` that moved by the target's word.
    pub fn transferred(&self, data_len: u32) -> u32 {
        if self.flags & rsp_flags::UNDER != 0 { data_len.saturating_sub(self.residual) } else { data_len }
    }

    /// Writes the IU to the front of `buffer` and gives its length.
    ///
    /// # Panics
    /// If `buffer` is too short.
    pub fn emit(&self, buffer: &mut [u8]) -> usize {
        let flag_if = |flag: u8, part: &[u8]| if part.is_empty() { 0 } else { flag };
        let kept = self.flags & !(rsp_flags::INFO_VALID | rsp_flags::SENSE_VALID);
        let fixed = FcpRspFixed {
            reserved: [0; 8],
            retry_delay: self.retry_delay.into(),
            flags: kept
                | flag_if(rsp_flags::INFO_VALID, self.info)
                | flag_if(rsp_flags::SENSE_VALID, self.sense),
            status: self.status,
        };
        let len_of = |part: &[u8]| U32::new(u32::try_from(part.len()).expect("fits a frame"));
        let lengths = FcpRspLengths {
            residual: self.residual.into(),
            sense_len: len_of(self.sense),
            info_len: len_of(self.info),
        };
        let mut at = 0;
        for part in [fixed.as_bytes(), lengths.as_bytes(), self.info, self.sense] {
            buffer[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        at
    }
}

/// Bytes of an FCP_RSP without RSP_INFO and sense data.
pub const RSP_LEN: usize = size_of::<FcpRspFixed>() + size_of::<FcpRspLengths>();

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn commands_come_back(
            cdb in any::<[u8; CDB_LEN]>(),
            words in 0usize..=63,
            flags in 0u8..4,
            data_len in any::<u32>(),
            read_len in any::<u32>(),
        ) {
            let cmnd = FcpCmnd {
                fixed: FcpCmndFixed {
                    lun: Lun([1, 2, 3, 4, 5, 6, 7, 8]),
                    crn: 3,
                    attribute: ATTRIBUTE_ORDERED,
                    task_management: TaskManagement::NONE,
                    flags: flags | u8::try_from(words).unwrap() << 2,
                    cdb,
                },
                additional_cdb: &[0x5a; MAX_ADDITIONAL_CDB_LEN][..words * 4],
                data_len,
                bidirectional_read_len: (flags == 3).then_some(read_len),
            };
            let mut buffer = [0xa5; CMND_LEN + MAX_ADDITIONAL_CDB_LEN + 4];
            let len = cmnd.emit(&mut buffer);
            prop_assert_eq!(FcpCmnd::parse(&buffer[..len]).unwrap(), cmnd);
            prop_assert!(FcpCmnd::parse(&buffer[..len - 1]).is_err());
        }

        #[test]
        fn responses_come_back(
            sense in proptest::collection::vec(any::<u8>(), 0..=252),
            info in prop_oneof![Just(0usize), Just(4), Just(8)],
            status in any::<u8>(),
            residual in any::<u32>(),
        ) {
            let info = &[0, 0, 0, 9, 0, 0, 0, 0][..info];
            let mut flags = rsp_flags::UNDER;
            if !info.is_empty() { flags |= rsp_flags::INFO_VALID }
            if !sense.is_empty() { flags |= rsp_flags::SENSE_VALID }
            let rsp = FcpRsp { retry_delay: 7, flags, status, residual, info, sense: &sense };
            let mut buffer = [0xa5; RSP_LEN + 8 + 252];
            let len = rsp.emit(&mut buffer);
            prop_assert_eq!(len, rsp.len());
            prop_assert_eq!(FcpRsp::parse(&buffer[..len]).unwrap(), rsp);
            prop_assert_eq!(rsp.code(), (!info.is_empty()).then_some(RspCode::INCORRECT_LUN));
        }

        #[test]
        fn any_bytes_are_safe(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = (FcpCmnd::parse(&bytes), FcpRsp::parse(&bytes), FcpXferRdy::parse(&bytes));
        }
    }

    #[test]
    fn a_response_of_twelve_bytes_is_accepted_where_no_flag_needs_more() {
        let mut iu = [0; 12];
        assert_eq!(FcpRsp::parse(&iu), Ok(FcpRsp::default()));
        iu[10] = rsp_flags::UNDER;
        assert!(FcpRsp::parse(&iu).is_err());
    }

    #[test]
    fn lengths_that_overflow_are_refused() {
        let mut iu = [0xff; 64];
        iu[10] = rsp_flags::SENSE_VALID;
        assert!(matches!(FcpRsp::parse(&iu), Err(WireError::Truncated { .. })));
        iu[10] = rsp_flags::INFO_VALID;
        assert!(matches!(FcpRsp::parse(&iu), Err(WireError::BadValue { .. })));
    }

    #[test]
    fn luns_have_numbers() {
        for number in [0, 1, 255, 256, 0x3fff] {
            assert_eq!(Lun::single(number).unwrap().number(), Some(number));
        }
        assert_eq!(Lun::single(0x4000), None);
        assert_eq!(Lun([0xc1, 1, 0, 0, 0, 0, 0, 0]).number(), None);
        assert_eq!(Lun([0, 1, 0, 1, 0, 0, 0, 0]).number(), None);
    }
}
