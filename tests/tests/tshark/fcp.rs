//! FCP's information units.
//!
//! tshark doesn't connect the IUs of an exchange over FCoE: to it all data is "Data In", of LUN 0xffff.

use crate::Case;
use crate::frames::{TARGET, frame, reply, request};
use fc::wire::fcp::{
    CMND_LEN, FcpCmnd, FcpCmndFixed, FcpRsp, FcpXferRdy, Lun, RDDATA, Srr, TaskManagement, WRDATA, rsp_flags,
};
use fc::wire::header::{FCtl, FcHeader, FcType, RCtl};
use fc::wire::scsi::{Extent, IoFlags, ScsiCommand, Status};
use zerocopy::IntoBytes;

const RX_ID: u16 = 0x456;
const DATA: &str = "FCP: SCSI: Data In LUN: 0xffff (0xff Response Data)";
const GOOD: &str = "FCP: SCSI: Response LUN: 0xffff (CDB:0xffff) (Good)";
const CHECK_CONDITION: &str = "FCP: SCSI: Response LUN: 0xffff (CDB:0xffff) (Check Condition) LUN:0xffff";

pub(crate) fn cases() -> Vec<Case> {
    [write(), read(), failure(), task_management(), retransmission()].into_iter().flatten().collect()
}

/// The header of an FCP_CMND and its whole frame.
pub(crate) fn command(ox_id: u16, command: &ScsiCommand, flags: u8, data_len: u32) -> (FcHeader, Vec<u8>) {
    let mut cdb = [0; 16];
    command.emit(&mut cdb);
    cmnd(ox_id, cdb, flags, data_len, TaskManagement::NONE)
}

fn cmnd(
    ox_id: u16,
    cdb: [u8; 16],
    flags: u8,
    data_len: u32,
    task_management: TaskManagement,
) -> (FcHeader, Vec<u8>) {
    let lun = Lun::single(1).expect("a single-level LUN");
    let fixed = FcpCmndFixed { lun, crn: 0, attribute: 0, task_management, flags, cdb };
    let cmnd = FcpCmnd { fixed, additional_cdb: &[], data_len, bidirectional_read_len: None };
    let mut iu = [0; CMND_LEN];
    cmnd.emit(&mut iu);
    let header = request(RCtl::COMMAND, FcType::FCP, TARGET, ox_id);
    (header, frame(&header, &iu))
}

/// A frame from the target in the exchange of `command`.
fn from_target(command: &FcHeader, r_ctl: RCtl, f_ctl: u32, payload: &[u8]) -> Vec<u8> {
    let f_ctl = FCtl::new(FCtl::EXCHANGE_RESPONDER | FCtl::END_SEQUENCE | f_ctl);
    frame(&FcHeader { rx_id: RX_ID.into(), f_ctl, ..reply(command, r_ctl) }, payload)
}

fn response(command: &FcHeader, rsp: &FcpRsp) -> Vec<u8> {
    let mut iu = vec![0; rsp.len()];
    rsp.emit(&mut iu);
    from_target(command, RCtl::STATUS, FCtl::LAST_SEQUENCE, &iu)
}

fn write() -> Vec<Case> {
    let write = ScsiCommand::Write { extent: Extent::new(8, 1), flags: IoFlags::default() };
    let (header, command) = command(0x500, &write, WRDATA, 512);
    let ready = FcpXferRdy { offset: 0.into(), burst_len: 512.into(), reserved: 0.into() };
    let ready = from_target(&header, RCtl::DATA_DESCRIPTOR, FCtl::TRANSFER_INITIATIVE, ready.as_bytes());
    let f_ctl = FCtl::new(FCtl::END_SEQUENCE | FCtl::TRANSFER_INITIATIVE | FCtl::RELATIVE_OFFSET);
    let data = FcHeader { r_ctl: RCtl::DATA, rx_id: RX_ID.into(), seq_id: 1, f_ctl, ..header };
    vec![
        Case::new(
            "FCP: SCSI: Write(10) LUN: 0x01 (LBA: 0x00000008, Len: 1)",
            command,
            &[("fcp.wrdata", "1"), ("fcp.rddata", "0"), ("fcp.dl", "512"), ("fcp.lun", "0x01")],
        ),
        Case::new("FCP: XFER_RDY", ready, &[("fcp.burstlen", "512"), ("fcp.data_ro", "0")]),
        Case::new(DATA, frame(&data, &[0x5a; 512]), &[("fc.relative_offset", "0")]),
        Case::new(GOOD, response(&header, &FcpRsp::default()), &[("scsi.status", "0x00")]),
    ]
}

fn read() -> Vec<Case> {
    let read = ScsiCommand::Read { extent: Extent::new(8, 1), flags: IoFlags::default() };
    let (header, command) = command(0x501, &read, RDDATA, 512);
    let data = from_target(&header, RCtl::DATA, FCtl::RELATIVE_OFFSET, &[0xa5; 500]);
    let flags = rsp_flags::CONF_REQUESTED | rsp_flags::UNDER;
    let rsp = FcpRsp { flags, residual: 12, ..FcpRsp::default() };
    let f_ctl = FCtl::new(FCtl::LAST_SEQUENCE | FCtl::END_SEQUENCE);
    let confirm = FcHeader { r_ctl: RCtl::SOLICITED_CONTROL, f_ctl, rx_id: RX_ID.into(), ..header };
    vec![
        Case::new(
            "FCP: SCSI: Read(10) LUN: 0x01 (LBA: 0x00000008, Len: 1)",
            command,
            &[("fcp.rddata", "1"), ("fcp.wrdata", "0")],
        ),
        Case::new(DATA, data, &[]),
        Case::new(
            GOOD,
            response(&header, &rsp),
            &[("fcp.rsp.flags.resid_under", "1"), ("fcp.resid", "12"), ("fcp.rsp.flags.conf_req", "1")],
        ),
        Case::new("FCP: Confirm", frame(&confirm, &[]), &[("fc.r_ctl", "0x03")]),
    ]
}

fn failure() -> Vec<Case> {
    let (header, command) = command(0x502, &ScsiCommand::TestUnitReady, 0, 0);
    let sense = [0x70, 0, 6, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x29, 0, 0, 0, 0, 0];
    let rsp = FcpRsp { status: Status::CHECK_CONDITION.0, sense: &sense, ..FcpRsp::default() };
    vec![
        Case::new("FCP: SCSI: Test Unit Ready LUN: 0x01", command, &[("fcp.dl", "0")]),
        Case::new(
            CHECK_CONDITION,
            response(&header, &rsp),
            &[("fcp.rsp.flags.sns_vld", "1"), ("fcp.snslen", "18"), ("scsi.sns.key", "0x06")],
        ),
    ]
}

fn task_management() -> Vec<Case> {
    let functions = [
        (TaskManagement::ABORT_TASK_SET, "ABORT_TASK_SET"),
        (TaskManagement::CLEAR_TASK_SET, "CLEAR_TASK_SET"),
        (TaskManagement::LUN_RESET, "LU_RESET"),
        (TaskManagement::TARGET_RESET, "TARGET_RESET"),
        (TaskManagement::CLEAR_ACA, "CLEAR_ACA"),
    ];
    let done = FcpRsp { info: &[0; 8], ..FcpRsp::default() };
    (0x510..)
        .zip(functions)
        .flat_map(|(ox_id, (function, name))| {
            let (header, command) = cmnd(ox_id, [0; 16], 0, 0, function);
            let name = format!("FCP: [FCP {name}] SCSI: Test Unit Ready LUN: 0x01");
            let done_fields = &[("fcp.rsp.flags.res_vld", "1"), ("fcp.rsplen", "8"), ("fcp.rspcode", "0x00")];
            [Case::new(name, command, &[]), Case::new(GOOD, response(&header, &done), done_fields)]
        })
        .collect()
}

fn retransmission() -> Vec<Case> {
    let header = request(RCtl::FC4_REQUEST, FcType::FCP, TARGET, 0x520);
    let srr = Srr::new(0x500, RX_ID, 2048, RCtl::DATA);
    let fields = &[("fcp.els.srr.ox_id", "0x0500"), ("fcp.els.srr.rx_id", "0x0456"), ("fcp.r_ctl", "0x01")];
    vec![Case::new("FCP: SRR", frame(&header, srr.as_bytes()), fields)]
}
