//! Task management functions, and the commands that they end.

use super::*;
use fc::wire::fcp::TaskManagement;

const LUN: u16 = 5;

impl Bench {
    /// Submits a function and gives its OX_ID.
    fn manage(&mut self, function: TaskManagement, lun: u16) -> u16 {
        let (lun, action) = (Lun::single(lun).unwrap(), Action::Manage(function));
        self.consumer.submit(Command { lun, action, ..command(u64::from(function.0)) }).unwrap();
        self.step();
        let [sent] = &self.sent()[..] else { panic!("one frame") };
        let cmnd = FcpCmnd::parse(&sent.payload).unwrap();
        assert_eq!((cmnd.fixed.lun, cmnd.fixed.task_management, cmnd.fixed.flags), (lun, function, 0));
        assert_eq!((cmnd.fixed.cdb, cmnd.data_len, sent.payload.len()), ([0; 16], 0, 32));
        sent.header.ox_id.get()
    }

    fn conclude(&mut self, ox_id: u16, code: RspCode) {
        self.respond(ox_id, &FcpRsp { info: &[0, 0, 0, code.0, 0, 0, 0, 0], ..FcpRsp::default() });
    }

    fn aborted(&mut self) -> Vec<u16> {
        let sent = self.sent();
        assert!(sent.iter().all(|frame| frame.header.r_ctl == RCtl::ABTS));
        sent.iter().map(|frame| frame.header.ox_id.get()).collect()
    }
}

#[test]
fn a_reset_ends_what_was_out_there_and_nothing_else() {
    for (function, is_whole_target) in [
        (TaskManagement::LUN_RESET, false),
        (TaskManagement::ABORT_TASK_SET, false),
        (TaskManagement::CLEAR_TASK_SET, false),
        (TaskManagement::TARGET_RESET, true),
    ] {
        let mut bench = Bench::new();
        // Two that were there, one of another LUN.
        let (read, write) = (bench.read(), bench.submit(8, Transfer::Write(pattern().into())));
        bench.consumer.submit(Command { lun: Lun::single(9).unwrap(), ..command(9) }).unwrap();
        bench.step();
        let other = bench.sent()[0].header.ox_id.get();
        let ox_id = bench.manage(function, LUN);
        bench.advance(Duration::from_micros(10));
        let later = bench.submit(10, Transfer::None);
        bench.conclude(ox_id, RspCode::COMPLETE);
        let completion = bench.completion();
        assert_eq!(
            (completion.tag, completion.result.map(|ended| ended.status)),
            (function.0.into(), Ok(Status::GOOD))
        );
        let expected = if is_whole_target { vec![read, write, other] } else { vec![read, write] };
        assert_eq!(bench.aborted(), expected, "{function:?}");
        assert_eq!(bench.core.counters.cleared, expected.len() as u64);
        assert!(bench.consumer.poll().is_none(), "their buffers may be the target's yet");
        for ox_id in expected {
            bench.answer_abort(RCtl::BA_RJT, ox_id);
            assert_eq!(bench.completion().result, Err(TransportError::Cleared));
        }
        bench.respond(later, &FcpRsp::default());
        assert_eq!(bench.completion().tag, 10);
        assert!(bench.consumer.poll().is_none());
        assert_eq!(bench.core.exchanges.open(), usize::from(!is_whole_target));
    }
}

#[test]
fn a_function_that_was_not_carried_out_ends_nothing() {
    let failures = [
        (Some(RspCode::REJECTED), TransportError::Response(RspCode::REJECTED)),
        (Some(RspCode::INCORRECT_LUN), TransportError::Response(RspCode::INCORRECT_LUN)),
        (None, TransportError::Malformed),
    ];
    for (code, error) in failures {
        let mut bench = Bench::new();
        bench.read();
        let ox_id = bench.manage(TaskManagement::LUN_RESET, LUN);
        match code {
            Some(code) => bench.conclude(ox_id, code),
            // A response as to a command.
            None => bench.respond(ox_id, &FcpRsp::default()),
        }
        assert_eq!(bench.completion().result, Err(error));
        assert!(bench.sent().is_empty() && bench.consumer.poll().is_none());
    }
}

#[test]
fn a_function_without_an_answer_is_aborted_as_commands_are() {
    let mut bench = Bench::new();
    let ox_id = bench.manage(TaskManagement::LUN_RESET, LUN);
    bench.advance(TIMEOUT);
    assert_eq!(bench.aborted(), [ox_id]);
    bench.answer_abort(RCtl::BA_ACC, ox_id);
    assert_eq!(bench.completion().result, Err(TransportError::TimedOut));
}
