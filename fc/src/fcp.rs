//! An FCP exchange as its initiator sees it (FCP-4, 4 and 9): which data has come, and what a response means.

use crate::messages::{Ended, Transfer, TransportError};
use crate::wire::els::{ElsReply, ExchangeStatus, Explanation, Reason};
use crate::wire::fcp::{FcpRsp, RspCode};
use crate::wire::header::RCtl;
use crate::wire::scsi::{Sense, Status};

/// Ranges that may arrive ahead of a gap before further ones are refused. A fabric that delivers in order needs
/// none; one that sends frames by several paths a few.
const MAX_RANGES_AHEAD: usize = 7;

/// Which bytes of a command's data have moved, in whatever order and however often.
///
/// Counting bytes would not do: a frame that came twice would stand for one that is missing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Moved {
    /// Everything before this offset is here.
    contiguous: u32,
    /// How many of `ahead` count.
    ahead_count: u32,
    /// Ranges behind a gap: sorted, neither touching nor overlapping.
    ahead: [Range; MAX_RANGES_AHEAD],
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Range {
    start: u32,
    end: u32,
}

/// There are too many gaps to remember another range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooManyGaps;

impl Moved {
    /// Forgets everything.
    pub const fn clear(&mut self) {
        (self.contiguous, self.ahead_count) = (0, 0);
    }

    /// Bytes from the start on that are all here.
    pub const fn contiguous(&self) -> u32 {
        self.contiguous
    }

    /// Whether nothing has moved.
    pub const fn is_empty(&self) -> bool {
        self.contiguous == 0 && self.ahead_count == 0
    }

    /// The first of bytes `start..end` that are not here, up to where some are.
    #[inline]
    pub fn first_missing(&self, start: u32, end: u32) -> Option<core::ops::Range<u32>> {
        let (mut start, mut end) = (start.max(self.contiguous), end);
        for range in &self.ahead[..self.ahead_count as usize] {
            if range.start > start {
                end = end.min(range.start);
                break;
            }
            start = start.max(range.end);
        }
        (start < end).then_some(start..end)
    }

    /// Notes that bytes `start..end` are here.
    ///
    /// # Errors
    /// [`TooManyGaps`] when the range can't be remembered: its frame must be dropped.
    #[inline]
    pub fn add(&mut self, start: u32, end: u32) -> Result<(), TooManyGaps> {
        debug_assert!(start <= end, "ranges have no negative length");
        if start <= self.contiguous && self.ahead_count == 0 {
            self.contiguous = self.contiguous.max(end);
            return Ok(());
        }
        self.add_out_of_order(Range { start, end })
    }

    fn add_out_of_order(&mut self, range: Range) -> Result<(), TooManyGaps> {
        if range.start == range.end {
            // It is in no gap and makes none.
            return Ok(());
        }
        let mut merged = range;
        let mut kept = [Range::default(); MAX_RANGES_AHEAD + 1];
        let mut count = 0;
        let mut placed = false;
        for &old in &self.ahead[..self.ahead_count as usize] {
            if old.start <= merged.end && merged.start <= old.end {
                merged = Range { start: merged.start.min(old.start), end: merged.end.max(old.end) };
                continue;
            }
            if merged.start < old.start && !placed {
                kept[count] = merged;
                count += 1;
                placed = true;
            }
            kept[count] = old;
            count += 1;
        }
        if !placed {
            kept[count] = merged;
            count += 1;
        }
        // What now touches the contiguous part joins it; only the first range can.
        let joins = kept[0].start <= self.contiguous;
        let rest = if joins { &kept[1..count] } else { &kept[..count] };
        if rest.len() > MAX_RANGES_AHEAD {
            return Err(TooManyGaps);
        }
        if joins {
            self.contiguous = self.contiguous.max(kept[0].end);
        }
        self.ahead[..rest.len()].copy_from_slice(rest);
        self.ahead_count = u32::try_from(rest.len()).expect("bounded above");
        Ok(())
    }
}

/// What a response means for its command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Conclusion {
    /// The command has ended as the target says.
    Ended(Ended),
    /// The target says that more has moved than has: of a read, the rest may still be on its way.
    DataMissing {
        /// The end of the command once all data is here.
        then: Ended,
    },
    /// The exchange ended without a SCSI status.
    Failed(TransportError),
}

/// Judges an FCP_RSP (FCP-4, 9.5) to a command that may move `data_len` bytes, of which `moved` have without a gap.
#[inline]
pub fn conclude(response: &FcpRsp<'_>, data_len: u32, moved: u32) -> Conclusion {
    if let Some(code) = response.code().filter(|&code| code != RspCode::COMPLETE) {
        return Conclusion::Failed(TransportError::Response(code));
    }
    let status = Status(response.status);
    let claimed = response.transferred(data_len);
    let ended = |transferred| Ended {
        status,
        transferred,
        sense: if response.sense.is_empty() { None } else { Sense::parse(response.sense).ok() },
        retry_delay: response.retry_delay,
    };
    if status == Status::GOOD && moved < claimed {
        Conclusion::DataMissing { then: ended(claimed) }
    } else {
        Conclusion::Ended(ended(claimed.min(moved)))
    }
}

/// Judges an FCP_RSP to a task management function: RSP_CODE tells how it went, and has to be there (FCP-4, 9.5.13).
///
/// # Errors
/// Why the function was not carried out.
pub fn conclude_function(response: &FcpRsp<'_>) -> Result<(), TransportError> {
    match response.code() {
        Some(RspCode::COMPLETE) => Ok(()),
        Some(code) => Err(TransportError::Response(code)),
        None => Err(TransportError::Malformed),
    }
}

/// What a target says of an exchange when it is asked by REC (FC-LS-3, 4.2.27; FCP-4, 12).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It works on the command.
    Working {
        /// Bytes of data that it has seen so far. Some targets don't count, and say 0.
        moved: u32,
    },
    /// It waits for us: for write data, or for the confirmation of its response.
    Waiting {
        /// Bytes of data that it has seen so far.
        moved: u32,
    },
    /// It has sent its response.
    Complete,
    /// It knows no such exchange: the command or the response was lost. Some targets say so, too, of every exchange that
    /// they are asked for without its RX_ID.
    Unknown,
    /// It doesn't answer such questions.
    Unsupported,
}

impl Standing {
    /// Reads the reply to an REC about the exchange `ox_id`. `None` if it tells nothing.
    pub fn of(reply: &ElsReply, ox_id: u16) -> Option<Self> {
        match reply {
            ElsReply::Rec(status) if status.ox_id.get() == ox_id => {
                let has = |bit| status.e_stat.get() & bit != 0;
                Some(if has(ExchangeStatus::COMPLETE) {
                    Self::Complete
                } else if has(ExchangeStatus::HAS_INITIATIVE) {
                    Self::Working { moved: status.fc4_value.get() }
                } else {
                    Self::Waiting { moved: status.fc4_value.get() }
                })
            }
            ElsReply::Reject(reject) if reject.reason == Reason::UNSUPPORTED => Some(Self::Unsupported),
            ElsReply::Reject(reject) if reject.explanation == Explanation::INVALID_XIDS => {
                Some(Self::Unknown)
            }
            _ => None,
        }
    }
}

/// What an exchange misses by its target's word, for SRR (FCP-4, 12.5): the kind of information unit, and from which
/// offset on. `received` bytes of a read are here without a gap.
pub fn missing(transfer: &Transfer, standing: Standing, received: u32) -> (RCtl, u32) {
    let len = u32::try_from(transfer.len()).expect("a buffer's length fits FCP_DL");
    match (transfer, standing) {
        (transfer, _) if transfer.is_read() && received < len => (RCtl::DATA, received),
        (Transfer::Write(_), Standing::Waiting { moved } | Standing::Working { moved }) if moved < len => {
            // Data is asked for by words.
            (RCtl::DATA_DESCRIPTOR, moved & !3)
        }
        _ => (RCtl::STATUS, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::FcId;
    use crate::wire::els::LsRjt;
    use crate::wire::fcp::rsp_flags;
    use proptest::prelude::*;

    #[test]
    fn frames_in_order_leave_no_gap() {
        let mut moved = Moved::default();
        for i in 0..1000 {
            moved.add(i * 2112, (i + 1) * 2112).unwrap();
        }
        assert_eq!(moved.contiguous(), 1000 * 2112);
    }

    #[test]
    fn a_frame_that_came_twice_does_not_stand_for_one_that_is_missing() {
        let mut moved = Moved::default();
        moved.add(0, 100).unwrap();
        moved.add(200, 300).unwrap();
        moved.add(200, 300).unwrap();
        assert_eq!(moved.contiguous(), 100);
        moved.add(100, 200).unwrap();
        assert_eq!(moved.contiguous(), 300);
    }

    proptest! {
        /// Against a model that keeps a flag for each unit.
        #[test]
        fn any_order_is_what_a_bitmap_says(
            ranges in proptest::collection::vec((0u32..40, 0u32..6), 0..60),
            from in 0u32..40,
            len in 0u32..20,
        ) {
            let end = from + len;
            let mut moved = Moved::default();
            let mut model = [false; 64];
            for (start, len) in ranges {
                if moved.add(start, start + len).is_ok() {
                    model[start as usize..(start + len) as usize].fill(true);
                }
                let contiguous = model.iter().take_while(|&&here| here).count();
                prop_assert_eq!(moved.contiguous() as usize, contiguous);
                let missing = |from: u32| (from..end).find(|&at| !model[at as usize]);
                let first = missing(from).map(|at| at..(at..end).find(|&at| model[at as usize]).unwrap_or(end));
                prop_assert_eq!(moved.first_missing(from, end), first);
            }
        }
    }

    #[test]
    fn gaps_are_bounded() {
        let mut moved = Moved::default();
        for i in 1..=7 {
            moved.add(i * 10, i * 10 + 5).unwrap();
        }
        assert_eq!(moved.add(100, 105), Err(TooManyGaps));
        moved.add(75, 80).unwrap();
        moved.add(0, 100).unwrap();
        assert_eq!(moved.contiguous(), 100);
    }

    #[test]
    fn responses_are_judged_by_what_has_come() {
        let good = FcpRsp::default();
        let ended = |transferred| Ended { status: Status::GOOD, transferred, sense: None, retry_delay: 0 };
        let under = FcpRsp { flags: rsp_flags::UNDER, residual: 96, ..good };
        let over = FcpRsp { flags: rsp_flags::OVER, residual: 96, ..good };
        let busy = FcpRsp { status: Status::BUSY.0, ..good };
        let failed = FcpRsp { flags: rsp_flags::INFO_VALID, info: &[0, 0, 0, 9], ..good };
        let done = FcpRsp { info: &[0; 4], ..failed };
        let cases = [
            (&good, 4096, Conclusion::Ended(ended(4096))),
            (&good, 4000, Conclusion::DataMissing { then: ended(4096) }),
            (&under, 4000, Conclusion::Ended(ended(4000))),
            (&under, 3999, Conclusion::DataMissing { then: ended(4000) }),
            (&under, 4096, Conclusion::Ended(ended(4000))),
            (&over, 4096, Conclusion::Ended(ended(4096))),
            (&good, 0, Conclusion::DataMissing { then: ended(4096) }),
            (&busy, 10, Conclusion::Ended(Ended { status: Status::BUSY, ..ended(10) })),
            (&failed, 0, Conclusion::Failed(TransportError::Response(RspCode::INCORRECT_LUN))),
            (&done, 4096, Conclusion::Ended(ended(4096))),
        ];
        for (response, moved, expected) in cases {
            assert_eq!(conclude(response, 4096, moved), expected, "{response:?} {moved:?}");
        }
    }

    #[test]
    fn a_function_is_done_by_its_code_only() {
        let coded = |info| FcpRsp { flags: rsp_flags::INFO_VALID, info, ..FcpRsp::default() };
        assert_eq!(conclude_function(&coded(&[0; 8])), Ok(()));
        assert_eq!(conclude_function(&coded(&[0; 4])), Ok(()));
        let rejected = TransportError::Response(RspCode::REJECTED);
        assert_eq!(conclude_function(&coded(&[0, 0, 0, 4])), Err(rejected));
        assert_eq!(conclude_function(&FcpRsp::default()), Err(TransportError::Malformed));
    }

    #[test]
    fn what_is_missing_is_known_by_both_sides_word() {
        let (working, waiting) = (Standing::Working { moved: 5 }, Standing::Waiting { moved: 9 });
        let buffer = || alloc::vec![0; 16].into_boxed_slice();
        let cases = [
            (Transfer::Read(buffer()), Standing::Complete, 7, (RCtl::DATA, 7)),
            (Transfer::Read(buffer()), waiting, 16, (RCtl::STATUS, 0)),
            (Transfer::Write(buffer()), waiting, 0, (RCtl::DATA_DESCRIPTOR, 8)),
            (Transfer::Write(buffer()), working, 16, (RCtl::DATA_DESCRIPTOR, 4)),
            (Transfer::Write(buffer()), Standing::Waiting { moved: 16 }, 16, (RCtl::STATUS, 0)),
            (Transfer::Write(buffer()), Standing::Complete, 16, (RCtl::STATUS, 0)),
            (Transfer::None, Standing::Complete, 0, (RCtl::STATUS, 0)),
        ];
        for (transfer, standing, received, expected) in cases {
            assert_eq!(missing(&transfer, standing, received), expected, "{transfer:?} {standing:?}");
        }
    }

    #[test]
    fn a_targets_account_is_read() {
        let status = |e_stat| {
            ElsReply::Rec(ExchangeStatus {
                ox_id: 7.into(),
                rx_id: 8.into(),
                reserved: 0,
                originator: FcId::from_u32(1),
                reserved_2: 0,
                responder: FcId::from_u32(2),
                fc4_value: 5.into(),
                e_stat: u32::into(ExchangeStatus::IS_RESPONDER | e_stat),
            })
        };
        let reject = |reason, explanation| ElsReply::Reject(LsRjt::new(reason, explanation));
        let cases = [
            (status(0), Some(Standing::Waiting { moved: 5 })),
            (status(ExchangeStatus::HAS_INITIATIVE), Some(Standing::Working { moved: 5 })),
            (status(ExchangeStatus::COMPLETE | ExchangeStatus::HAS_INITIATIVE), Some(Standing::Complete)),
            (LsRjt::NO_SUCH_EXCHANGE.into(), Some(Standing::Unknown)),
            (reject(Reason::UNABLE, Explanation::INVALID_XIDS), Some(Standing::Unknown)),
            (LsRjt::UNSUPPORTED.into(), Some(Standing::Unsupported)),
            (LsRjt::LOGIN_REQUIRED.into(), None),
            (ElsReply::Accept, None),
        ];
        for (reply, expected) in cases {
            assert_eq!(Standing::of(&reply, 7), expected, "{reply:?}");
        }
        assert_eq!(Standing::of(&status(0), 9), None, "another exchange's");
    }
}
