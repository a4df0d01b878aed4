//! A scripted target, and one that answers anything.

use super::*;
use crate::time::Duration;
use crate::wire::scsi::capacity::{Capacity10, Capacity16};
use crate::wire::scsi::inquiry::InquiryData;
use crate::wire::scsi::mode::{self, CachingPage, ModeData, ModePage};
use crate::wire::scsi::target_port_groups::{self, AccessState, GroupHeader, TargetPortGroup};
use crate::wire::scsi::vpd::{
    Association, BlockCharacteristics, BlockLimits, Designator, DesignatorKind, Provisioning, VpdPage, page,
};
use crate::wire::scsi::{AdditionalSense, ScsiCommand, SenseKey};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::string::{String, ToString};
use std::vec;
use zerocopy::IntoBytes;

/// What the target does instead of answering, the next times that a step is asked of a LUN.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    /// It answers this time.
    Spared,
    Sense(Sense),
    Status(Status),
    Transport(TransportError),
}

fn check(key: SenseKey, additional: AdditionalSense) -> Trouble {
    Trouble::Sense(Sense::new(key, additional))
}

const ATTENTION: (SenseKey, AdditionalSense) = (SenseKey::UNIT_ATTENTION, AdditionalSense::POWER_ON_OR_RESET);

/// A target with disks of 1000 blocks at the LUNs of its list.
#[derive(Default)]
struct Target {
    luns: Vec<Lun>,
    /// By LUN and operation code; each is used up, first to last.
    troubles: BTreeMap<(Lun, u8), VecDeque<Trouble>>,
    /// These operation codes aren't known.
    unsupported: Vec<u8>,
    commands: usize,
}

impl Target {
    fn with_luns(count: u16) -> Self {
        Self { luns: (0..count).map(|n| Lun::single(n).unwrap()).collect(), ..Self::default() }
    }

    fn trouble(mut self, lun: u16, opcode: u8, troubles: impl IntoIterator<Item = Trouble>) -> Self {
        let key = (Lun::single(lun).unwrap(), opcode);
        self.troubles.entry(key).or_default().extend(troubles);
        self
    }

    fn answer(&mut self, command: &ScanCommand) -> Result<(Status, Option<Sense>, Vec<u8>), TransportError> {
        self.commands += 1;
        let opcode = command.cdb.as_bytes()[0];
        let trouble = self.troubles.get_mut(&(command.lun, opcode)).and_then(VecDeque::pop_front);
        match trouble {
            Some(Trouble::Sense(sense)) => return Ok((Status::CHECK_CONDITION, Some(sense), vec![])),
            Some(Trouble::Status(status)) => return Ok((status, None, vec![])),
            Some(Trouble::Transport(error)) => return Err(error),
            Some(Trouble::Spared) | None => {}
        }
        if self.unsupported.contains(&opcode) {
            let sense = Sense::new(SenseKey::ILLEGAL_REQUEST, AdditionalSense::INVALID_OPERATION_CODE);
            return Ok((Status::CHECK_CONDITION, Some(sense), vec![]));
        }
        let mut data = self.data(command);
        data.truncate(command.read_len);
        Ok((Status::GOOD, None, data))
    }

    fn data(&self, command: &ScanCommand) -> Vec<u8> {
        let mut buffer = vec![0; 8192];
        let len = match ScsiCommand::parse(command.cdb.as_bytes()).expect("a scan's commands are good ones") {
            ScsiCommand::ReportLuns { .. } => luns::emit(&self.luns, &mut buffer),
            ScsiCommand::Inquiry { page: None, .. } => {
                const IMPLICIT: u8 = 0x10;
                let data = InquiryData::disk("XFCOE", "disk", "1");
                return InquiryData { flags: data.flags | IMPLICIT, ..data }.as_bytes().to_vec();
            }
            ScsiCommand::Inquiry { page: Some(code), .. } => page_data(code, command.lun, &mut buffer),
            ScsiCommand::ReportTargetPortGroups { .. } => groups(&mut buffer),
            ScsiCommand::TestUnitReady => 0,
            ScsiCommand::ReadCapacity16 { .. } => {
                let capacity = Capacity16 {
                    last_lba: 999.into(),
                    block_len: 512.into(),
                    exponents: 3,
                    provisioning: Capacity16::LBPME.into(),
                    ..Capacity16::default()
                };
                return capacity.as_bytes().to_vec();
            }
            ScsiCommand::ReadCapacity10 => {
                return Capacity10 { last_lba: 999.into(), block_len: 512.into() }.as_bytes().to_vec();
            }
            ScsiCommand::ModeSense { .. } => mode_data(&mut buffer),
            other => panic!("a scan doesn't send {other:?}"),
        };
        buffer.truncate(len);
        buffer
    }
}

fn page_data(code: u8, lun: Lun, buffer: &mut [u8]) -> usize {
    let limits =
        BlockLimits { max_transfer: 128.into(), max_unmap_blocks: 64.into(), ..BlockLimits::default() };
    let characteristics = BlockCharacteristics { rotation_rate: 1.into(), ..BlockCharacteristics::default() };
    let provisioning = Provisioning { flags: Provisioning::LBPU, ..Provisioning::default() };
    let mut names = vec![0; 600];
    let body = match code {
        page::SUPPORTED => &[0x00, 0x80, 0x83, 0x86, 0xb0, 0xb1, 0xb2],
        page::SERIAL_NUMBER => b"  SN-1  ".as_slice(),
        page::DEVICE_IDENTIFICATION => {
            let len = emit_names(lun, &mut names);
            &names[..len]
        }
        page::BLOCK_LIMITS => limits.as_bytes(),
        page::BLOCK_CHARACTERISTICS => characteristics.as_bytes(),
        page::LOGICAL_BLOCK_PROVISIONING => provisioning.as_bytes(),
        other => panic!("a scan doesn't ask for page {other:02x}"),
    };
    VpdPage { peripheral: 0, code, body }.emit(buffer)
}

/// Names that need more room than the first try has.
fn emit_names(lun: Lun, buffer: &mut [u8]) -> usize {
    let naa = [0x60, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, lun.0[1]];
    let long = [b'x'; 250];
    let name = |kind, association, bytes| Designator {
        protocol: 0,
        protocol_valid: false,
        code_set: 1,
        association,
        kind,
        bytes,
    };
    let names = [
        name(DesignatorKind::T10_VENDOR, Association::LOGICAL_UNIT, &long[..]),
        name(DesignatorKind::NAA, Association::LOGICAL_UNIT, &naa[..]),
        name(DesignatorKind::RELATIVE_PORT, Association::TARGET_PORT, &[0, 0, 0, 2][..]),
        name(DesignatorKind::TARGET_PORT_GROUP, Association::TARGET_PORT, &[0, 0, 1, 0][..]),
    ];
    names.iter().fold(0, |at, name| at + name.emit(&mut buffer[at..]))
}

/// More groups than the first try has room for. The port that is asked is in the last one.
fn groups(buffer: &mut [u8]) -> usize {
    let group = |group: u16| TargetPortGroup {
        header: GroupHeader {
            state: if group == 256 { AccessState::NON_OPTIMIZED.0 } else { AccessState::STANDBY.0 },
            group: group.into(),
            ..GroupHeader::default()
        },
        ports: &[],
    };
    let groups: Vec<_> = (237..=256).map(group).collect();
    target_port_groups::emit(&groups, buffer)
}

fn mode_data(buffer: &mut [u8]) -> usize {
    let caching = CachingPage::default();
    let mut pages = [0; 20];
    let page =
        ModePage { saveable: false, code: mode::page::CACHING, subpage: None, body: caching.as_bytes() };
    page.emit(&mut pages);
    let data = ModeData {
        ten: false,
        data_len: 0,
        medium_type: 0,
        device_specific: mode::WRITE_PROTECTED | mode::DPOFUA,
        long_lba: false,
        descriptors_len: 0,
        descriptors: &[],
        pages: &pages,
    };
    ModeData { data_len: data.whole_data_len(), ..data }.emit(buffer)
}

/// Runs a scan against the target to its end, with the clock jumping to whatever is next.
fn run(target: &mut Target) -> (Vec<ScanEvent>, Duration) {
    let mut now = Instant::ZERO;
    let mut scan = LunScan::new(now);
    let mut out = VecDeque::new();
    let mut events = vec![];
    loop {
        while let Some(command) = scan.poll_command(now) {
            out.push_back(command);
            assert!(out.len() <= MAX_IN_FLIGHT);
        }
        if let Some(command) = out.pop_front() {
            let result = target.answer(&command);
            let reply = result.as_ref().map(|(status, sense, data)| ScanReply {
                status: *status,
                sense: *sense,
                data,
            });
            scan.handle_result(now, command.token, reply.map_err(|error| *error));
        } else if let Some(at) = scan.poll_timeout() {
            assert!(at > now, "something was due and was not given");
            now = at;
        } else {
            assert!(scan.is_done(), "nothing to do, and not done: {scan:?}");
            events.extend(core::iter::from_fn(|| scan.poll_event()));
            return (events, now - Instant::ZERO);
        }
        events.extend(core::iter::from_fn(|| scan.poll_event()));
    }
}

fn found(events: &[ScanEvent]) -> Vec<&LogicalUnit> {
    fn unit(event: &ScanEvent) -> Option<&LogicalUnit> {
        match event {
            ScanEvent::Found(unit) => Some(unit),
            ScanEvent::Failed { .. } | ScanEvent::ListFailed(_) | ScanEvent::Done { .. } => None,
        }
    }
    events.iter().filter_map(unit).collect()
}

fn failures(events: &[ScanEvent]) -> Vec<(Option<u16>, String)> {
    let failure = |event: &ScanEvent| match event {
        ScanEvent::Failed { lun, error } => Some((lun.number(), error.to_string())),
        ScanEvent::ListFailed(error) => Some((None, error.to_string())),
        ScanEvent::Found(_) | ScanEvent::Done { .. } => None,
    };
    events.iter().filter_map(failure).collect()
}

#[test]
fn a_disk_is_found_with_all_that_it_tells() {
    let (events, _) = run(&mut Target::with_luns(1));
    let [ScanEvent::Found(unit), ScanEvent::Done { left_out: 0 }] = &events[..] else { panic!("{events:?}") };
    assert_eq!((&unit.vendor[..], &unit.product[..], &unit.revision[..]), ("XFCOE", "disk", "1"));
    assert_eq!(unit.serial.as_deref(), Some("SN-1"));
    assert_eq!(unit.identity().unwrap().to_string(), "naa.60010203040506070809".to_string() + "0a0b0c0d0e00");
    assert_eq!(unit.device_ids.len(), 2);
    assert_eq!((unit.relative_port, unit.port_group), (Some(2), Some(256)));
    let capacity = unit.capacity.unwrap();
    assert_eq!((capacity.blocks, capacity.block_len_bytes, capacity.bytes()), (1000, 512, 512_000));
    assert_eq!((capacity.physical_block_exponent, capacity.thin), (3, true));
    assert_eq!(unit.max_transfer_blocks(), Some(128));
    assert!(unit.can_unmap() && !unit.can_unmap_by_write_same());
    assert_eq!(unit.rotation, Rotation::SolidState);
    assert!(unit.write_protected && unit.fua && !unit.write_cache);
}

#[test]
fn a_long_list_is_read_whole_and_a_longer_one_up_to_the_bound() {
    let (events, _) = run(&mut Target::with_luns(300));
    assert_eq!(found(&events).len(), 300);
    assert_eq!(events.last(), Some(&ScanEvent::Done { left_out: 0 }));

    let (events, _) = run(&mut Target::with_luns(600));
    assert_eq!(found(&events).len(), MAX_LUNS);
    assert_eq!(events.last(), Some(&ScanEvent::Done { left_out: 88 }));
}

#[test]
fn an_empty_list_and_doubles_and_well_known_units_are_nothing_to_look_at() {
    let (events, _) = run(&mut Target::default());
    assert_eq!(events, [ScanEvent::Done { left_out: 0 }]);
    let mut target = Target::with_luns(1);
    target.luns.extend([Lun::default(), Lun([0xc1, 1, 0, 0, 0, 0, 0, 0])]);
    assert_eq!(found(&run(&mut target).0).len(), 1);
}

#[test]
fn unit_attentions_are_passed_over_but_not_for_ever() {
    let attention = check(ATTENTION.0, ATTENTION.1);
    let mut target = Target::with_luns(2)
        .trouble(0, 0xa0, [attention])
        .trouble(0, 0x00, [attention; 7])
        .trouble(1, 0x00, [attention; 8]);
    let (events, elapsed) = run(&mut target);
    assert_eq!(elapsed, Duration::ZERO);
    assert_eq!(found(&events).iter().map(|unit| unit.lun.number()).collect::<Vec<_>>(), [Some(0)]);
    let text =
        "TEST UNIT READY failed: UNIT ATTENTION: power on, reset, or bus device reset occurred (06/29/00)";
    assert_eq!(failures(&events), [(Some(1), text.into())]);
}

#[test]
fn a_unit_that_becomes_ready_is_waited_for() {
    let becoming = check(SenseKey::NOT_READY, AdditionalSense::BECOMING_READY);
    let (events, elapsed) = run(&mut Target::with_luns(1).trouble(0, 0x00, [becoming; 20]));
    assert!(found(&events)[0].capacity.is_some());
    assert_eq!(elapsed, RETRY_DELAY * 20);

    let (events, elapsed) = run(&mut Target::with_luns(3).trouble(1, 0x00, [becoming; 1000]));
    let units = found(&events);
    assert_eq!(units.iter().map(|unit| unit.lun.number()).collect::<Vec<_>>(), [Some(0), Some(2), Some(1)]);
    assert_eq!(units[2].not_ready.unwrap().additional, AdditionalSense::BECOMING_READY);
    assert_eq!(units[2].capacity, None);
    assert_eq!(elapsed, READY_WAIT);
}

#[test]
fn a_unit_on_a_standby_path_is_found_at_once_without_a_size() {
    let standby = check(SenseKey::NOT_READY, AdditionalSense::PORT_IN_STANDBY);
    let (events, elapsed) = run(&mut Target::with_luns(1).trouble(0, 0x00, [standby]));
    let units = found(&events);
    assert!(units[0].identity().is_some() && units[0].capacity.is_none() && units[0].not_ready.is_some());
    assert_eq!(elapsed, Duration::ZERO);
}

#[test]
fn busy_units_are_asked_again_later() {
    for status in [Status::BUSY, Status::TASK_SET_FULL] {
        let (events, elapsed) = run(&mut Target::with_luns(1).trouble(0, 0x12, [Trouble::Status(status); 3]));
        assert_eq!(found(&events).len(), 1);
        assert_eq!(elapsed, RETRY_DELAY * 3);
    }
    let (events, _) = run(&mut Target::with_luns(1).trouble(0, 0x12, [Trouble::Status(Status::BUSY); 100]));
    assert_eq!(failures(&events), [(Some(0), "INQUIRY ended in BUSY".into())]);
}

#[test]
fn one_units_failure_is_its_own() {
    let mut target = Target::with_luns(4)
        .trouble(0, 0x12, [Trouble::Transport(TransportError::TimedOut); 8])
        .trouble(1, 0x00, [check(SenseKey::HARDWARE_ERROR, AdditionalSense::INTERNAL_TARGET_FAILURE)])
        .trouble(2, 0x12, [Trouble::Transport(TransportError::NexusGone)]);
    let (events, _) = run(&mut target);
    assert_eq!(found(&events).iter().map(|unit| unit.lun.number()).collect::<Vec<_>>(), [Some(3)]);
    let mut failures = failures(&events);
    failures.sort();
    assert_eq!(
        failures,
        [
            (
                Some(0),
                "INQUIRY got no answer: no answer within the command's time-out; the exchange was aborted"
                    .into()
            ),
            (Some(1), "TEST UNIT READY failed: HARDWARE ERROR: internal target failure (04/44/00)".into()),
            (
                Some(2),
                "INQUIRY got no answer: the login at the remote port ended while the command was out".into()
            ),
        ]
    );
}

#[test]
fn what_a_unit_need_not_have_is_gone_without() {
    let mut target = Target { unsupported: vec![0x9e, 0x1a], ..Target::with_luns(1) };
    let (events, _) = run(&mut target);
    let unit = found(&events)[0];
    assert_eq!(unit.capacity.unwrap().blocks, 1000);
    assert!(!unit.write_protected && unit.write_cache);

    // No list: there is LUN 0 only.
    let mut target = Target { unsupported: vec![0xa0], ..Target::default() };
    assert_eq!(found(&run(&mut target).0).len(), 1);

    // No vital product data.
    let refused = check(SenseKey::ILLEGAL_REQUEST, AdditionalSense::INVALID_FIELD_IN_CDB);
    let mut target = Target::with_luns(1).trouble(0, 0x12, [Trouble::Spared, refused]);
    let (events, _) = run(&mut target);
    assert!(found(&events)[0].capacity.is_some() && found(&events)[0].identity().is_none());

    let mut target = Target::with_luns(1).trouble(0, 0x12, [refused]);
    assert_eq!(failures(&run(&mut target).0).len(), 1, "INQUIRY itself must be there");
}

#[test]
fn a_reserved_unit_is_found() {
    let conflict = Trouble::Status(Status::RESERVATION_CONFLICT);
    let (events, _) =
        run(&mut Target::with_luns(1).trouble(0, 0x00, [conflict]).trouble(0, 0x1a, [conflict]));
    assert!(found(&events)[0].capacity.is_some());
}

#[test]
fn the_access_of_the_port_that_is_asked_is_found_among_all() {
    let (events, _) = run(&mut Target::with_luns(1));
    assert_eq!(found(&events)[0].access, Some(AccessState::NON_OPTIMIZED));
    // A target that tells none of it has none.
    let mut target = Target::with_luns(1);
    target.unsupported.push(0xa3);
    let (events, _) = run(&mut target);
    assert_eq!((found(&events)[0].access, found(&events)[0].capacity.is_some()), (None, true));
}

#[test]
fn without_a_list_nothing_is_asked() {
    let gone = Trouble::Transport(TransportError::NexusGone);
    let mut target = Target::with_luns(3).trouble(0, 0xa0, [gone]);
    let (events, _) = run(&mut target);
    assert_eq!(
        failures(&events),
        [(
            None,
            "REPORT LUNS got no answer: the login at the remote port ended while the command was out".into()
        )]
    );
    assert_eq!(events.last(), Some(&ScanEvent::Done { left_out: 0 }));
    assert_eq!(target.commands, 1);
}

#[test]
fn sizes_that_overflow_are_refused() {
    let sizes = |last_lba: u64, block_len: u32| {
        Capacity::from_16(&Capacity16 {
            last_lba: last_lba.into(),
            block_len: block_len.into(),
            ..Capacity16::default()
        })
    };
    assert_eq!(sizes(0, 1).unwrap().bytes(), 1);
    for (last_lba, block_len) in [(u64::MAX, 512), (u64::MAX / 512, 512), (7, 0), (7, 65_537)] {
        assert!(sizes(last_lba, block_len).is_err(), "{last_lba} {block_len}");
    }
    let cut = Capacity10 { last_lba: u32::MAX.into(), block_len: 512.into() };
    assert!(Capacity::from_10(&cut).is_err());
}

/// A reply out of thin air: often GOOD with data that fits the question, else anything.
fn replies() -> impl Strategy<Value = Result<(u8, Option<Sense>, Vec<u8>, bool), TransportError>> {
    let senses = (0u8..16, prop_oneof![Just(0x04u8), Just(0x29), any::<u8>()], 0u8..16)
        .prop_map(|(key, asc, ascq)| Sense::new(SenseKey(key), AdditionalSense { asc, ascq }));
    let data = proptest::collection::vec(prop_oneof![Just(0u8), any::<u8>()], 0..300);
    let status = prop_oneof![4 => Just(0u8), 2 => Just(2), 1 => any::<u8>()];
    prop_oneof![
        9 => (status, proptest::option::of(senses), data, any::<bool>()).prop_map(Ok),
        1 => Just(Err(TransportError::TimedOut)),
    ]
}

proptest! {
    /// Whatever the target says, the scan ends, tells of each LUN once, and stays within its bounds.
    #[test]
    fn any_target_is_scanned_to_the_end(
        count in 0u16..8,
        replies in proptest::collection::vec(replies(), 1..60),
    ) {
        let honest = Target::with_luns(count);
        let mut now = Instant::ZERO;
        let mut scan = LunScan::new(now);
        let mut out = VecDeque::new();
        let mut told = BTreeSet::new();
        let mut sent = 0usize;
        let mut replies = replies.iter().cycle();
        while !scan.is_done() {
            while let Some(command) = scan.poll_command(now) {
                prop_assert!(out.len() < MAX_IN_FLIGHT);
                prop_assert!(ScsiCommand::parse(command.cdb.as_bytes()).is_ok());
                out.push_back(command);
                sent += 1;
            }
            match out.pop_front() {
                None => now = scan.poll_timeout().expect("not done, and nothing is out"),
                Some(command) => {
                    let reply = replies.next().expect("a cycle");
                    let (status, sense, mut data) = match reply {
                        Ok((_, _, _, true)) => (Status::GOOD, None, honest.data(&command)),
                        Ok((status, sense, data, false)) => (Status(*status), *sense, data.clone()),
                        Err(error) => {
                            scan.handle_result(now, command.token, Err(*error));
                            continue;
                        }
                    };
                    data.truncate(command.read_len);
                    scan.handle_result(now, command.token, Ok(ScanReply { status, sense, data: &data }));
                }
            }
            while let Some(event) = scan.poll_event() {
                match event {
                    ScanEvent::Found(unit) => prop_assert!(told.insert(unit.lun)),
                    ScanEvent::Failed { lun, .. } => prop_assert!(told.insert(lun)),
                    ScanEvent::ListFailed(_) | ScanEvent::Done { .. } => {}
                }
            }
            prop_assert!(sent < 20_000, "{sent} commands");
        }
        prop_assert_eq!(scan.poll_command(now), None);
        prop_assert_eq!(scan.poll_timeout(), None);
    }
}
