//! One logical unit's part of a scan.

use super::logical_unit::{Capacity, LogicalUnit, Rotation};
use super::question::{MAX_PAGE_LEN, Question, Step, Verdict};
use super::{ScanError, ScanReply};
use crate::messages::TransportError;
use crate::time::Instant;
use crate::wire::WireError;
use crate::wire::fcp::Lun;
use crate::wire::scsi::Status;
use crate::wire::scsi::capacity::{Capacity10, Capacity16};
use crate::wire::scsi::inquiry::{self, InquiryData};
use crate::wire::scsi::mode::{self, CachingPage, ModeData};
use crate::wire::scsi::target_port_groups::{self, HEADER_LEN, TargetPortGroup};
use crate::wire::scsi::vpd::{
    self, Association, BlockCharacteristics, BlockLimits, DesignatorKind, Provisioning, VpdPage, page,
};
use alloc::boxed::Box;
use alloc::vec::Vec;

/// The pages that a scan reads, in this order, where they are listed. The last three are disks' only.
const PAGES: [u8; 5] = [
    page::SERIAL_NUMBER,
    page::DEVICE_IDENTIFICATION,
    page::BLOCK_LIMITS,
    page::BLOCK_CHARACTERISTICS,
    page::LOGICAL_BLOCK_PROVISIONING,
];

/// Names that are kept of one logical unit: real ones have about four.
const MAX_DEVICE_IDS: usize = 16;

#[derive(Debug)]
pub(super) struct Probe {
    pub(super) question: Question,
    unit: LogicalUnit,
    /// Pages that are listed and not read yet.
    pages: Vec<u8>,
    ready_by: Option<Instant>,
}

/// How far a probe is after a result.
#[derive(Debug)]
pub(super) enum Progress {
    /// There is a next question.
    Going,
    /// It is known.
    Found(Box<LogicalUnit>),
    /// It can't be used.
    Failed(ScanError),
}

/// What an answer leads to.
enum Next {
    /// This question.
    Ask(Step),
    /// The same, with more room.
    Grow(u16),
    /// All is known.
    End,
}

impl Probe {
    pub(super) fn new(now: Instant, lun: Lun) -> Self {
        Self {
            question: Question::new(now, Step::Inquiry),
            unit: LogicalUnit::new(lun),
            pages: Vec::new(),
            ready_by: None,
        }
    }

    pub(super) fn lun(&self) -> Lun {
        self.unit.lun
    }

    pub(super) fn handle_result(
        &mut self,
        now: Instant,
        result: Result<ScanReply<'_>, TransportError>,
    ) -> Progress {
        let step = self.question.step;
        let next = match self.question.judge(now, result, &mut self.ready_by) {
            Verdict::Again => return Progress::Going,
            Verdict::Answer(data) => self.take_answer(step, data),
            Verdict::Unsupported(error) => self.go_without(step).ok_or(error),
            // What another initiator has reserved is ready.
            Verdict::Reserved if step == Step::TestUnitReady => Ok(Next::Ask(Step::Capacity16)),
            Verdict::Reserved => {
                let status = Status::RESERVATION_CONFLICT;
                self.go_without(step).ok_or(ScanError::Status { step, status })
            }
            Verdict::NotReady(sense) => match step {
                Step::TestUnitReady | Step::Capacity16 | Step::Capacity10 => {
                    self.unit.not_ready = Some(sense);
                    Ok(Next::End)
                }
                _ => self.go_without(step).ok_or(ScanError::Check { step, sense }),
            },
            Verdict::Failed(error) => Err(error),
        };
        match next {
            Ok(Next::Ask(step)) => self.question = Question::new(now, step),
            Ok(Next::Grow(read_len)) => self.question.grow(now, read_len),
            Ok(Next::End) => {
                // A stable order on all paths, so that equal units have equal names.
                self.unit.device_ids.sort_by_key(|id| core::cmp::Reverse(id.rank()));
                return Progress::Found(Box::new(self.unit.clone()));
            }
            Err(error) => return Progress::Failed(error),
        }
        Progress::Going
    }

    /// The step after one that the logical unit need not have; `None` if it must.
    fn go_without(&mut self, step: Step) -> Option<Next> {
        match step {
            Step::Page(_) => Some(self.after_page()),
            Step::Access => Some(Next::Ask(Step::TestUnitReady)),
            Step::Capacity16 => Some(Next::Ask(Step::Capacity10)),
            Step::Mode => Some(Next::End),
            Step::ReportLuns | Step::Inquiry | Step::TestUnitReady | Step::Capacity10 => None,
        }
    }

    fn after_page(&mut self) -> Next {
        if !self.pages.is_empty() {
            Next::Ask(Step::Page(self.pages.remove(0)))
        } else if self.unit.is_disk() && self.unit.asymmetric_access != 0 {
            Next::Ask(Step::Access)
        } else if self.unit.is_disk() {
            Next::Ask(Step::TestUnitReady)
        } else {
            Next::End
        }
    }

    fn take_answer(&mut self, step: Step, data: &[u8]) -> Result<Next, ScanError> {
        let malformed = |error| ScanError::Malformed { step, error };
        match step {
            Step::Inquiry => self.take_inquiry(&InquiryData::parse(data).map_err(malformed)?),
            Step::Page(code) => Ok(self.take_page(code, data)),
            Step::Access => Ok(self.take_access(data)),
            Step::TestUnitReady => Ok(Next::Ask(Step::Capacity16)),
            Step::Capacity16 => {
                let capacity = Capacity16::parse(data).and_then(|data| Capacity::from_16(&data));
                self.unit.capacity = Some(capacity.map_err(malformed)?);
                Ok(Next::Ask(Step::Mode))
            }
            Step::Capacity10 => {
                let capacity = Capacity10::parse(data).and_then(|data| Capacity::from_10(&data));
                self.unit.capacity = Some(capacity.map_err(malformed)?);
                Ok(Next::Ask(Step::Mode))
            }
            Step::Mode => {
                self.take_mode(data);
                Ok(Next::End)
            }
            Step::ReportLuns => unreachable!("a probe doesn't ask for the list"),
        }
    }

    fn take_inquiry(&mut self, data: &InquiryData) -> Result<Next, ScanError> {
        if data.qualifier() != 0 || data.device_type() == inquiry::device_type::UNKNOWN {
            return Err(ScanError::NoDevice);
        }
        self.unit.device_type = data.device_type();
        self.unit.vendor = data.vendor_text();
        self.unit.product = data.product_text();
        self.unit.revision = data.revision_text();
        self.unit.asymmetric_access = data.target_port_groups();
        Ok(Next::Ask(Step::Page(page::SUPPORTED)))
    }

    /// A page that can't be read is left out: the logical unit is of use without it.
    fn take_page(&mut self, code: u8, data: &[u8]) -> Next {
        match VpdPage::parse(data) {
            Ok(page) if page.code == code => self.read_page(&page),
            Err(WireError::Truncated { need, .. }) => {
                let was_full = data.len() >= self.question.read_len().into();
                match u16::try_from(need) {
                    Ok(need) if was_full && data[1] == code && need <= MAX_PAGE_LEN => {
                        return Next::Grow(need);
                    }
                    _ => {}
                }
            }
            _ => {}
        }
        self.after_page()
    }

    fn read_page(&mut self, page: &VpdPage<'_>) {
        let unit = &mut self.unit;
        match page.code {
            page::SUPPORTED => {
                let wanted = if unit.is_disk() { &PAGES[..] } else { &PAGES[..2] };
                self.pages = wanted.iter().copied().filter(|code| page.body.contains(code)).collect();
            }
            page::SERIAL_NUMBER => {
                unit.serial = Some(inquiry::text(page.body)).filter(|serial| !serial.is_empty());
            }
            page::DEVICE_IDENTIFICATION => {
                for designator in vpd::designators(page.body).flatten() {
                    match (designator.association, designator.kind) {
                        (Association::LOGICAL_UNIT, _) if unit.device_ids.len() < MAX_DEVICE_IDS => {
                            unit.device_ids.push(designator.to_device_id());
                        }
                        (Association::TARGET_PORT, DesignatorKind::RELATIVE_PORT) => {
                            unit.relative_port = designator.number();
                        }
                        (Association::TARGET_PORT, DesignatorKind::TARGET_PORT_GROUP) => {
                            unit.port_group = designator.number();
                        }
                        _ => {}
                    }
                }
            }
            page::BLOCK_LIMITS => unit.limits = BlockLimits::from_body(page.body),
            page::BLOCK_CHARACTERISTICS => {
                unit.rotation = match BlockCharacteristics::from_body(page.body).rotation_rate.get() {
                    1 => Rotation::SolidState,
                    // The standard reserves those below 0x401 and 0xffff.
                    rate @ 0x401..=0xfffe => Rotation::PerMinute(rate),
                    _ => Rotation::Unknown,
                };
            }
            page::LOGICAL_BLOCK_PROVISIONING => unit.provisioning = Provisioning::from_body(page.body),
            _ => unreachable!("only pages that were asked for"),
        }
    }

    /// The state of the group that the port is in which was asked.
    fn take_access(&mut self, data: &[u8]) -> Next {
        if let Ok(groups) = target_port_groups::groups(data) {
            let len = data.first_chunk().map_or(0, |len| u32::from_be_bytes(*len) as usize) + HEADER_LEN;
            let was_full = data.len() >= self.question.read_len().into();
            if was_full && len > data.len() && len <= MAX_PAGE_LEN.into() {
                return Next::Grow(u16::try_from(len).expect("bounded by a page's length"));
            }
            let is_ours =
                |group: &TargetPortGroup<'_>| Some(group.header.group.get()) == self.unit.port_group;
            self.unit.access = groups.into_iter().find(is_ours).map(|group| group.header.access());
        }
        Next::Ask(Step::TestUnitReady)
    }

    fn take_mode(&mut self, data: &[u8]) {
        let Ok(data) = ModeData::parse(data, false) else { return };
        self.unit.write_protected = data.is_write_protected();
        self.unit.fua = data.device_specific & mode::DPOFUA != 0;
        if let Some(page) = mode::pages(data.pages).find(|page| page.code == mode::page::CACHING) {
            self.unit.write_cache = CachingPage::from_body(page.body).flags & CachingPage::WCE != 0;
        }
    }
}
