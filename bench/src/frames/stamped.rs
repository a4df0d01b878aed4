//! The frames: such as any switch takes for FCoE, with a stamp at their end.
//!
//! ```text
//! Ethernet, FCoE, FC header      TYPE is vendor-specific, OX_ID the trial
//! zeroes
//! magic       8 bytes
//! number      8 bytes, from 0
//! sent at     8 bytes, nanoseconds of the sender's clock
//! CRC, EOF
//! ```
//!
//! The stamp comes last, so that the CRC of all that is before it is computed once.

use crc32fast::Hasher;
use fc::wire::ethernet::{EtherType, EthernetHeader, UNTAGGED_HEADER_LEN};
use fc::wire::fcoe::{self, EPILOGUE_LEN, Eof, FcoeFrame, MIN_LEN, PROLOGUE_LEN, Sof};
use fc::wire::header::{FCtl, FcHeader, FcType, RCtl, UNASSIGNED_XID};
use fc::wire::{FcId, MacAddr};

/// Vendor-specific (FC-FS-3, 9.6): no N_Port makes anything of it.
const TYPE: FcType = FcType(0xe0);
/// Unsolicited data.
const R_CTL: RCtl = RCtl(0x04);
const MAGIC: [u8; 8] = *b"xfcoe-fr";
const STAMP_LEN: usize = 24;
/// The part of the stamp that differs from frame to frame.
const VARYING_LEN: usize = 16;

/// Bytes of FCoE of the shortest frame, which is what a link's MTU counts.
pub(super) const MIN_SIZE: usize = MIN_LEN + STAMP_LEN;

/// What a frame tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stamp {
    /// Bytes of FCoE in the frame.
    pub(super) size: usize,
    /// Which trial it belongs to.
    pub(super) trial: u16,
    /// Counts the trial's frames.
    pub(super) number: u64,
    /// When it was sent, in nanoseconds of the sender's clock.
    pub(super) sent_at_ns: u64,
}

/// Why a frame is not counted as received.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unfit {
    /// It is somebody else's.
    Foreign,
    /// Its CRC is wrong.
    Damaged,
}

/// A trial's frame but for its stamp.
#[derive(Debug)]
pub(super) struct Template {
    bytes: Vec<u8>,
    /// Over the FC frame up to what varies.
    crc: Hasher,
}

impl Template {
    /// Frames of `size` bytes of FCoE: at least [`MIN_SIZE`], and whole words.
    pub(super) fn new(size: usize, trial: u16, source: MacAddr, destination: MacAddr) -> Self {
        let mut payload = vec![0; size - MIN_LEN];
        let stamp_at = payload.len() - STAMP_LEN;
        payload[stamp_at..][..MAGIC.len()].copy_from_slice(&MAGIC);
        let header = FcHeader {
            r_ctl: R_CTL,
            d_id: FcId([1, 1, 2]),
            cs_ctl: 0,
            s_id: FcId([1, 1, 1]),
            fc_type: TYPE,
            f_ctl: FCtl::new(FCtl::FIRST_SEQUENCE | FCtl::LAST_SEQUENCE | FCtl::END_SEQUENCE),
            seq_id: 0,
            df_ctl: 0,
            seq_cnt: 0.into(),
            ox_id: trial.into(),
            rx_id: UNASSIGNED_XID.into(),
            parameter: 0.into(),
        };
        let ethernet = EthernetHeader { source, destination, vlan: None, ethertype: EtherType::FCOE };
        let mut bytes = vec![0; UNTAGGED_HEADER_LEN + size];
        fcoe::emit(&mut bytes, &ethernet, Sof::I3, &header, &payload, Eof::T);
        let mut crc = Hasher::new();
        crc.update(&bytes[UNTAGGED_HEADER_LEN + PROLOGUE_LEN..bytes.len() - EPILOGUE_LEN - VARYING_LEN]);
        Self { bytes, crc }
    }

    /// Writes a frame and gives its length.
    pub(super) fn emit(&self, buffer: &mut [u8], number: u64, sent_at_ns: u64) -> usize {
        let len = self.bytes.len();
        let varying = [number, sent_at_ns].map(u64::to_be_bytes);
        let mut crc = self.crc.clone();
        crc.update(varying.as_flattened());
        buffer[..len].copy_from_slice(&self.bytes);
        let end = &mut buffer[len - EPILOGUE_LEN - VARYING_LEN..len];
        end[..VARYING_LEN].copy_from_slice(varying.as_flattened());
        end[VARYING_LEN..][..4].copy_from_slice(&crc.finalize().to_le_bytes());
        len
    }
}

impl Stamp {
    /// Reads the stamp of a whole Ethernet frame.
    pub(super) fn parse(frame: &[u8]) -> Result<Self, Unfit> {
        let fcoe = frame.get(UNTAGGED_HEADER_LEN..).unwrap_or_default();
        let size = fcoe.len();
        let fcoe = FcoeFrame::parse(fcoe).map_err(|_| Unfit::Foreign)?;
        let header = fcoe.header();
        let payload = fcoe.payload().map_err(|_| Unfit::Foreign)?;
        let ([magic, number, sent_at_ns], []) =
            payload.last_chunk::<STAMP_LEN>().ok_or(Unfit::Foreign)?.as_chunks::<8>()
        else {
            unreachable!("three words");
        };
        if header.fc_type != TYPE || *magic != MAGIC {
            return Err(Unfit::Foreign);
        }
        fcoe.check_crc().map_err(|_| Unfit::Damaged)?;
        Ok(Self {
            size,
            trial: header.ox_id.get(),
            number: u64::from_be_bytes(*number),
            sent_at_ns: u64::from_be_bytes(*sent_at_ns),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_fcoe_and_its_stamp_comes_back() {
        for size in [MIN_SIZE, 302, fcoe::MAX_LEN] {
            let template = Template::new(size, 7, MacAddr([2; 6]), MacAddr([4; 6]));
            let mut buffer = [0xa5; 2304];
            let stamp = Stamp { size, trial: 7, number: 1 << 40 | 3, sent_at_ns: u64::MAX - 1 };
            let len = template.emit(&mut buffer, stamp.number, stamp.sent_at_ns);
            assert_eq!(len, UNTAGGED_HEADER_LEN + size);
            assert_eq!(Stamp::parse(&buffer[..len]), Ok(stamp));
            // A bit of the payload, of the stamp and of the CRC.
            for at in [len - EPILOGUE_LEN - STAMP_LEN - 1, len - EPILOGUE_LEN - 1, len - EPILOGUE_LEN] {
                buffer[at] ^= 4;
                assert_eq!(Stamp::parse(&buffer[..len]), Err(Unfit::Damaged));
                buffer[at] ^= 4;
            }
            assert_eq!(Stamp::parse(&buffer[..len - 4]), Err(Unfit::Foreign));
        }
        assert_eq!(Stamp::parse(&[0; 10]), Err(Unfit::Foreign));
        assert_eq!(Stamp::parse(&[0; 100]), Err(Unfit::Foreign));
    }
}
