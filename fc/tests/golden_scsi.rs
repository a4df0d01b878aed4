//! The captures of the Linux kernel's stack: FCP's information units, CDBs, sense and the data of discovery decode
//! and encode again to the same bytes.

mod common;

use common::golden_frames;
use fc::wire::ethernet::{EtherType, EthernetHeader};
use fc::wire::fcoe::FcoeFrame;
use fc::wire::fcp::{CDB_LEN, FcpCmnd, FcpRsp, FcpXferRdy, TaskManagement};
use fc::wire::header::{FcHeader, FcType, RCtl};
use fc::wire::scsi::capacity::{CAPACITY_16_LEN, Capacity10, Capacity16};
use fc::wire::scsi::inquiry::{self, InquiryData};
use fc::wire::scsi::luns::{self, LunList};
use fc::wire::scsi::mode::{self, CachingPage, ControlPage, ModeData};
use fc::wire::scsi::reservations;
use fc::wire::scsi::sense::{self, Sense};
use fc::wire::scsi::target_port_groups;
use fc::wire::scsi::vpd::{self, BlockCharacteristics, BlockLimits, Provisioning, VpdPage};
use fc::wire::scsi::{AdditionalSense, CdbError, ScsiCommand, SenseKey, Status};
use std::collections::{BTreeMap, HashMap};
use zerocopy::IntoBytes;

/// Calls `each` with every FCP frame: where it is, its header, its payload.
fn for_each_fcp_frame(mut each: impl FnMut(&str, &FcHeader, &[u8])) {
    for (capture, number, bytes) in golden_frames() {
        let (ethernet, payload) = EthernetHeader::parse(&bytes).unwrap();
        if ethernet.ethertype == EtherType::FCOE {
            let frame = FcoeFrame::parse(payload).unwrap();
            if frame.header().fc_type == FcType::FCP {
                each(&format!("{capture} frame {number}"), frame.header(), frame.payload().unwrap());
            }
        }
    }
}

#[test]
fn every_information_unit_encodes_to_the_same_bytes() {
    let mut counts = BTreeMap::new();
    for_each_fcp_frame(|at, header, payload| {
        let mut again = vec![0xa5; payload.len() + 64];
        let len = match header.r_ctl {
            RCtl::COMMAND => FcpCmnd::parse(payload).unwrap().emit(&mut again),
            RCtl::STATUS => FcpRsp::parse(payload).unwrap().emit(&mut again),
            RCtl::DATA_DESCRIPTOR => {
                let transfer_ready = FcpXferRdy::parse(payload).unwrap();
                again[..12].copy_from_slice(transfer_ready.as_bytes());
                12
            }
            _ => return,
        };
        assert_eq!(&again[..len], payload, "{at}");
        *counts.entry(header.r_ctl.0).or_insert(0u32) += 1;
    });
    assert!(counts.len() == 3 && counts.values().all(|&count| count > 100), "{counts:?}");
}

#[test]
fn every_cdb_encodes_to_the_same_bytes() {
    let mut operations = BTreeMap::new();
    for_each_fcp_frame(|at, header, payload| {
        if header.r_ctl != RCtl::COMMAND {
            return;
        }
        let cmnd = FcpCmnd::parse(payload).unwrap();
        if cmnd.fixed.task_management != TaskManagement::NONE {
            return;
        }
        let cdb = cmnd.fixed.cdb;
        match ScsiCommand::parse(&cdb) {
            Ok(command) => {
                let mut again = [0; CDB_LEN];
                command.emit(&mut again);
                assert_eq!(again, cdb, "{at}");
                *operations.entry(cdb[0]).or_insert(0) += 1;
            }
            // One test of the captures sends an operation code that nobody knows.
            Err(error) => assert!(is_expected(error), "{at}: {error}: {cdb:02x?}"),
        }
    });
    assert!(operations.len() >= 8, "{operations:?}");
}

fn is_expected(error: CdbError) -> bool {
    matches!(error, CdbError::UnknownOperation { .. })
}

#[test]
fn every_sense_decodes() {
    let mut kinds = BTreeMap::new();
    for_each_fcp_frame(|at, header, payload| {
        if header.r_ctl != RCtl::STATUS {
            return;
        }
        let rsp = FcpRsp::parse(payload).unwrap();
        assert_eq!(Status(rsp.status) == Status::CHECK_CONDITION, !rsp.sense.is_empty(), "{at}");
        if rsp.sense.is_empty() {
            return;
        }
        let sense = Sense::parse(rsp.sense).unwrap_or_else(|error| panic!("{at}: {error}"));
        assert!(sense.key.name().is_some() && sense.additional.name().is_some(), "{at}: {sense}");
        let mut again = [0; sense::MAX_LEN];
        let len = sense.emit(&mut again);
        // The target pads sense data to 96 bytes, and its additional length is its own.
        assert_eq!(again[..7], rsp.sense[..7], "{at}");
        assert_eq!(again[8..len], rsp.sense[8..len], "{at}");
        assert!(rsp.sense[len..].iter().all(|&byte| byte == 0), "{at}");
        *kinds.entry((sense.key.0, sense.additional)).or_insert(0) += 1;
    });
    for expected in [
        (SenseKey::UNIT_ATTENTION, AdditionalSense::LUNS_CHANGED),
        (SenseKey::ILLEGAL_REQUEST, AdditionalSense::LBA_OUT_OF_RANGE),
        (SenseKey::ILLEGAL_REQUEST, AdditionalSense::INVALID_OPERATION_CODE),
    ] {
        assert!(kinds.contains_key(&(expected.0.0, expected.1)), "{expected:?} not in {kinds:?}");
    }
}

/// A command whose data is on its way.
struct Exchange {
    command: ScsiCommand,
    at: String,
    data: Vec<u8>,
}

#[test]
fn the_data_of_discovery_encodes_to_the_same_bytes() {
    let mut exchanges = HashMap::new();
    let mut counts = BTreeMap::new();
    for_each_fcp_frame(|at, header, payload| {
        let capture = at.split(' ').next().unwrap().to_owned();
        match header.r_ctl {
            RCtl::COMMAND => {
                let key = (capture, header.s_id, header.ox_id.get());
                exchanges.remove(&key);
                if let Ok(command) = ScsiCommand::parse(&FcpCmnd::parse(payload).unwrap().fixed.cdb) {
                    exchanges.insert(key, Exchange { command, at: at.to_owned(), data: Vec::new() });
                }
            }
            RCtl::DATA => {
                if let Some(exchange) = exchanges.get_mut(&(capture, header.d_id, header.ox_id.get())) {
                    assert_eq!(header.parameter.get() as usize, exchange.data.len(), "{at}");
                    exchange.data.extend_from_slice(payload);
                }
            }
            RCtl::STATUS => {
                let Some(exchange) = exchanges.remove(&(capture, header.d_id, header.ox_id.get())) else {
                    return;
                };
                if FcpRsp::parse(payload).unwrap().status == Status::GOOD.0
                    && let Some(kind) = check_data(&exchange)
                {
                    *counts.entry(kind).or_insert(0) += 1;
                }
            }
            _ => {}
        }
    });
    for kind in [
        "INQUIRY",
        "VPD 00",
        "VPD 80",
        "VPD 83",
        "VPD B0",
        "VPD B2",
        "REPORT LUNS",
        "READ CAPACITY (16)",
        "MODE SENSE",
    ] {
        assert!(counts.contains_key(kind), "no {kind} in {counts:?}");
    }
}

/// Decodes the data and encodes it again; gives what it was, if it is something of discovery.
fn check_data(exchange: &Exchange) -> Option<&'static str> {
    let Exchange { command, at, data } = exchange;
    let mut again = vec![0xa5; data.len() + 64];
    let (kind, len) = match *command {
        ScsiCommand::Inquiry { page: None, .. } => {
            // Some tests of the captures ask for less than a whole answer.
            let inquiry = InquiryData::parse(data).ok()?;
            assert_eq!(inquiry.vendor_text(), "LIO-ORG", "{at}");
            again[..inquiry::LEN].copy_from_slice(inquiry.as_bytes());
            ("INQUIRY", inquiry::LEN)
        }
        ScsiCommand::Inquiry { page: Some(code), .. } => {
            let page = VpdPage::parse(data).ok()?;
            assert_eq!(page.code, code, "{at}");
            (check_page_body(at, &page), page.emit(&mut again))
        }
        ScsiCommand::ReportLuns { .. } => {
            let list = LunList::parse(data).unwrap();
            assert!(!list.is_cut() && list.luns.iter().all(|lun| lun.number().is_some()), "{at}");
            ("REPORT LUNS", luns::emit(list.luns, &mut again))
        }
        ScsiCommand::ReadCapacity10 => {
            again[..8].copy_from_slice(Capacity10::parse(data).unwrap().as_bytes());
            ("READ CAPACITY (10)", 8)
        }
        ScsiCommand::ReadCapacity16 { .. } => {
            let capacity = Capacity16::parse(data).unwrap();
            again[..CAPACITY_16_LEN].copy_from_slice(capacity.as_bytes());
            ("READ CAPACITY (16)", CAPACITY_16_LEN)
        }
        ScsiCommand::ModeSense { ten, .. } => {
            let mode = ModeData::parse(data, ten).unwrap();
            for page in mode::pages(mode.pages) {
                check_mode_page(at, &page);
            }
            ("MODE SENSE", mode.emit(&mut again))
        }
        ScsiCommand::ReportTargetPortGroups { .. } => {
            let groups: Vec<_> = target_port_groups::groups(data).unwrap().collect();
            ("REPORT TARGET PORT GROUPS", target_port_groups::emit(&groups, &mut again))
        }
        ScsiCommand::PersistentReserveIn { action: reservations::action_in::READ_KEYS, .. } => {
            let read = reservations::Keys::parse(data).unwrap();
            let generation = read.header.generation.get();
            ("READ KEYS", reservations::Keys::emit(generation, read.keys, &mut again))
        }
        _ => return None,
    };
    let len = len.min(data.len());
    assert_eq!(again[..len], data[..len], "{at}: {kind}");
    // The target pads what it sends to what was asked for, or not; padding is zero.
    assert!(data[len..].iter().all(|&byte| byte == 0) || kind == "INQUIRY", "{at}: {kind}: {data:02x?}");
    Some(kind)
}

fn check_page_body(at: &str, page: &VpdPage<'_>) -> &'static str {
    let mut again = vec![0xa5; page.body.len()];
    let mut fixed = |layout: &[u8]| {
        let len = layout.len().min(again.len());
        again.fill(0);
        again[..len].copy_from_slice(&layout[..len]);
    };
    let kind = match page.code {
        vpd::page::SUPPORTED => return "VPD 00",
        vpd::page::SERIAL_NUMBER => return "VPD 80",
        vpd::page::DEVICE_IDENTIFICATION => {
            let mut len = 0;
            for designator in vpd::designators(page.body) {
                len += designator.unwrap_or_else(|error| panic!("{at}: {error}")).emit(&mut again[len..]);
            }
            "VPD 83"
        }
        vpd::page::BLOCK_LIMITS => {
            fixed(BlockLimits::from_body(page.body).as_bytes());
            "VPD B0"
        }
        vpd::page::BLOCK_CHARACTERISTICS => {
            fixed(BlockCharacteristics::from_body(page.body).as_bytes());
            "VPD B1"
        }
        vpd::page::LOGICAL_BLOCK_PROVISIONING => {
            fixed(Provisioning::from_body(page.body).as_bytes());
            "VPD B2"
        }
        _ => return "VPD of another kind",
    };
    assert_eq!(again, page.body, "{at}: {kind}");
    kind
}

fn check_mode_page(at: &str, page: &mode::ModePage<'_>) {
    match page.code {
        mode::page::CACHING => assert_eq!(CachingPage::from_body(page.body).as_bytes(), page.body, "{at}"),
        mode::page::CONTROL => assert_eq!(ControlPage::from_body(page.body).as_bytes(), page.body, "{at}"),
        _ => {}
    }
    let mut again = vec![0xa5; page.len()];
    page.emit(&mut again);
    assert_eq!(&again[again.len() - page.body.len()..], page.body, "{at}");
}
