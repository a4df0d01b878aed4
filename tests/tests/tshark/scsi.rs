//! Every SCSI command that we send.

use crate::Case;
use crate::fcp::command;
use fc::wire::fcp::{RDDATA, WRDATA};
use fc::wire::scsi::{CdbForm, Extent, IoFlags, ScsiCommand};

pub(crate) fn cases() -> Vec<Case> {
    let groups = [(0, without_data()), (RDDATA, reads()), (WRDATA, writes())];
    let commands = groups.into_iter().flat_map(|(flags, commands)| {
        commands.into_iter().map(move |(name, command)| (name, command, flags))
    });
    (0x600..)
        .zip(commands)
        .map(|(ox_id, (name, scsi, flags))| {
            let (_, frame) = command(ox_id, &scsi, flags, if flags == 0 { 0 } else { 4096 });
            let mut case = Case::new(format!("FCP: SCSI: {name}"), frame, &[]);
            if matches!(scsi, ScsiCommand::ReportTargetPortGroups { .. }) {
                case.known_gap = Some("No dissection for this service action yet");
            }
            case
        })
        .collect()
}

const FLAGS: IoFlags = IoFlags { protect: 0, dpo: false, fua: false };

fn extent(form: CdbForm) -> Extent {
    Extent { form, lba: 0x12345, count: 8, group: 0 }
}

fn without_data() -> Vec<(&'static str, ScsiCommand)> {
    use CdbForm::{Sixteen, Ten, Twelve};
    let verify = |form| ScsiCommand::Verify { extent: extent(form), protect: 0, dpo: false, byte_check: 0 };
    let synchronize = |form| ScsiCommand::SynchronizeCache { extent: extent(form), immediate: false };
    let start = ScsiCommand::StartStopUnit {
        immediate: false,
        modifier: 0,
        power_condition: 0,
        no_flush: false,
        load_eject: false,
        start: true,
    };
    vec![
        ("Test Unit Ready LUN: 0x01", ScsiCommand::TestUnitReady),
        ("Start Stop Unit LUN: 0x01", start),
        ("Verify(10) LUN: 0x01 (LBA: 0x00012345, Len: 8)", verify(Ten)),
        ("Verify(12) LUN: 0x01 (LBA: 0x00012345, Len: 8)", verify(Twelve)),
        ("Verify(16) LUN: 0x01 (LBA: 74565, Len: 8)", verify(Sixteen)),
        ("Synchronize Cache(10) LUN: 0x01 (LBA: 0x00012345, Len: 8)", synchronize(Ten)),
        ("Synchronize Cache(16) LUN: 0x01 (LBA: 74565, Len: 8)", synchronize(Sixteen)),
    ]
}

fn reads() -> Vec<(&'static str, ScsiCommand)> {
    use CdbForm::{Six, Sixteen, Ten, Twelve};
    let read = |form| ScsiCommand::Read { extent: extent(form), flags: FLAGS };
    let mode_sense = |ten| ScsiCommand::ModeSense {
        ten,
        long_lba: false,
        no_descriptors: true,
        page_control: 0,
        page: 8,
        subpage: 0,
        allocation_len: 192,
    };
    let operation_codes = ScsiCommand::ReportSupportedOperationCodes {
        timeouts: false,
        options: 0,
        operation_code: 0,
        service_action: 0,
        allocation_len: 512,
    };
    vec![
        (
            "Request Sense LUN: 0x01",
            ScsiCommand::RequestSense { descriptor_format: false, allocation_len: 252 },
        ),
        ("Inquiry LUN: 0x01", ScsiCommand::Inquiry { page: None, allocation_len: 36 }),
        (
            "Inquiry LUN: 0x01  Device Identification Page",
            ScsiCommand::Inquiry { page: Some(0x83), allocation_len: 252 },
        ),
        ("Read(6) LUN: 0x01 (LBA: 0x012345, Len: 8)", read(Six)),
        ("Read(10) LUN: 0x01 (LBA: 0x00012345, Len: 8)", read(Ten)),
        ("Read(12) LUN: 0x01 (LBA: 0x00012345, Len: 8)", read(Twelve)),
        ("Read(16) LUN: 0x01 (LBA: 74565, Len: 8)", read(Sixteen)),
        ("Read Capacity(10) LUN: 0x01", ScsiCommand::ReadCapacity10),
        (
            "Service Action In(16) LUN: 0x01  READCAPACITY16",
            ScsiCommand::ReadCapacity16 { allocation_len: 32 },
        ),
        ("Mode Sense(6) LUN: 0x01", mode_sense(false)),
        ("Mode Sense(10) LUN: 0x01", mode_sense(true)),
        ("Report LUNs LUN: 0x01", ScsiCommand::ReportLuns { select_report: 0, allocation_len: 4096 }),
        (
            "Persistent Reserve In LUN: 0x01",
            ScsiCommand::PersistentReserveIn { action: 0, allocation_len: 512 },
        ),
        (
            "Mgmt Protocol In LUN: 0x01 Unknown",
            ScsiCommand::ReportTargetPortGroups { format: 0, allocation_len: 512 },
        ),
        ("Mgmt Protocol In LUN: 0x01 Report Supported Opcodes", operation_codes),
    ]
}

fn writes() -> Vec<(&'static str, ScsiCommand)> {
    use CdbForm::{Six, Sixteen, Ten, Twelve};
    let write = |form| ScsiCommand::Write { extent: extent(form), flags: FLAGS };
    let write_same = |form| ScsiCommand::WriteSame {
        extent: extent(form),
        protect: 0,
        anchor: false,
        unmap: true,
        no_data: false,
    };
    vec![
        ("Write(6) LUN: 0x01 (LBA: 0x012345, Len: 8)", write(Six)),
        ("Write(10) LUN: 0x01 (LBA: 0x00012345, Len: 8)", write(Ten)),
        ("Write(12) LUN: 0x01 (LBA: 0x00012345, Len: 8)", write(Twelve)),
        ("Write(16) LUN: 0x01 (LBA: 74565, Len: 8)", write(Sixteen)),
        (
            "Compare & Write(16) LUN: 0x01 (LBA: 74565, Len: 8)",
            ScsiCommand::CompareAndWrite { extent: extent(Sixteen), flags: FLAGS },
        ),
        ("Write Same(10) LUN: 0x01", write_same(Ten)),
        ("Write Same(16) LUN: 0x01", write_same(Sixteen)),
        ("Unmap LUN: 0x01", ScsiCommand::Unmap { anchor: false, group: 0, parameter_len: 24 }),
        (
            "Persistent Reserve Out LUN: 0x01",
            ScsiCommand::PersistentReserveOut { action: 0, scope: 0, kind: 0, parameter_len: 24 },
        ),
    ]
}
