//! Exchanges that are silent, or miss something.

use super::*;
use fc::wire::els::{ElsReply, ElsRequest, ExchangeStatus, LsRjt};

/// More than a target of which nothing is known may be silent.
pub(super) const SILENCE: Duration = Duration::from_millis(100);

impl Bench {
    /// The one question that was sent: its OX_ID.
    pub(super) fn question(&mut self, about: u16) -> u16 {
        let [rec] = &self.sent()[..] else { panic!("one frame is a question") };
        assert_eq!((rec.header.r_ctl, rec.header.fc_type), (RCtl::ELS_REQUEST, FcType::ELS));
        let ElsRequest::Rec(ids) = ElsRequest::parse(&rec.payload).unwrap() else { panic!("it is an REC") };
        assert_eq!((ids.originator, ids.ox_id.get()), (OURS, about));
        let ox_id = rec.header.ox_id.get();
        assert_ne!(ox_id, about);
        ox_id
    }

    pub(super) fn answer(&mut self, question: u16, reply: &ElsReply) {
        self.inject_fc(&answer_header(question), &reply.to_payload());
    }

    /// Ends a command, so that the target's latency is known.
    fn warm_up(&mut self) {
        let ox_id = self.submit(1, Transfer::None);
        self.now = self.now + Duration::from_micros(100);
        self.respond(ox_id, &FcpRsp::default());
        assert!(self.completion().result.is_ok());
    }
}

pub(super) fn answer_header(question: u16) -> FcHeader {
    let header = target_header(RCtl::ELS_REPLY, 0x98_0000, question);
    FcHeader { fc_type: FcType::ELS, rx_id: UNASSIGNED_XID.into(), ..header }
}

pub(super) fn account(ox_id: u16, e_stat: u32) -> ElsReply {
    ElsReply::Rec(ExchangeStatus {
        ox_id: ox_id.into(),
        rx_id: RX_ID.into(),
        reserved: 0,
        originator: OURS,
        reserved_2: 0,
        responder: TARGET,
        fc4_value: 0.into(),
        e_stat: (ExchangeStatus::IS_RESPONDER | e_stat).into(),
    })
}

fn working(ox_id: u16) -> ElsReply {
    account(ox_id, ExchangeStatus::HAS_INITIATIVE)
}

#[test]
fn a_target_that_forgot_a_command_is_not_waited_for() {
    for reply in [|_| LsRjt::NO_SUCH_EXCHANGE.into(), |ox_id| account(ox_id, ExchangeStatus::COMPLETE)] {
        let mut bench = Bench::new();
        bench.warm_up();
        let ox_id = bench.read();
        bench.advance(Duration::from_micros(400));
        assert!(bench.sent().is_empty(), "it is not late yet");
        bench.advance(Duration::from_micros(100));
        let question = bench.question(ox_id);
        bench.answer(question, &reply(ox_id));
        assert_eq!(bench.completion().result, Err(TransportError::Lost));
        assert!(bench.sent().is_empty(), "there is nothing to abort");
        assert_eq!(
            (bench.resting(), bench.core.exchanges.open()),
            (1, 0),
            "of two OX_IDs one is known to be clean"
        );
        bench.data(ox_id, 0, &[0; 64]);
        bench.respond(ox_id, &FcpRsp::default());
        assert_eq!(bench.dropped(DropReason::NoExchange), 2);
        bench.advance(R_A_TOV);
        assert_eq!(bench.resting(), 0);
    }
}

#[test]
fn a_target_that_works_gets_more_and_more_time() {
    let mut bench = Bench::new();
    let ox_id = bench.read();
    let mut questions = 0;
    for _ in 0..20_000 {
        bench.advance(Duration::from_millis(1));
        let frames = bench.sent();
        for rec in frames {
            assert_eq!(rec.header.r_ctl, RCtl::ELS_REQUEST);
            bench.answer(rec.header.ox_id.get(), &working(ox_id));
            questions += 1;
        }
    }
    // 100 ms, doubled up to E_D_TOV.
    assert!((10..=14).contains(&questions), "{questions}");
    assert_eq!(bench.core.counters.aborts, 0);
    bench.respond(ox_id, &FcpRsp { flags: rsp_flags::UNDER, residual: 5000, ..FcpRsp::default() });
    assert!(bench.completion().result.is_ok());
    // The next one's patience has grown with it.
    bench.read();
    bench.advance(Duration::from_secs(1));
    assert!(bench.sent().is_empty());
}

/// Linux's target: it finds no exchange without its RX_ID, and the command is well.
#[test]
fn a_target_that_finds_nothing_is_not_believed() {
    let mut bench = Bench::new();
    bench.core.nexuses.get_mut(NEXUS.0).unwrap().answers = Answers::UNTRIED;
    for tag in 0..3 {
        bench
            .consumer
            .submit(Command { transfer: Transfer::Write(pattern().into()), ..command(tag) })
            .unwrap();
        bench.step();
        let sent = bench.sent();
        let [cmnd, rec] = &sent[..] else { panic!("a command, and a question about it at once") };
        assert_eq!((cmnd.header.r_ctl, rec.header.r_ctl), (RCtl::COMMAND, RCtl::ELS_REQUEST));
        bench.answer(rec.header.ox_id.get(), &LsRjt::NO_SUCH_EXCHANGE.into());
        bench.transfer_ready(cmnd.header.ox_id.get(), 0, DATA_LEN as u32);
        bench.respond(cmnd.header.ox_id.get(), &FcpRsp::default());
        assert!(bench.completion().result.is_ok());
        bench.sent();
    }
    let ox_id = bench.submit(9, Transfer::Write(pattern().into()));
    for at_ms in 1..=E_D_TOV.as_millis() + 1000 {
        assert!(bench.consumer.poll().is_none(), "after {at_ms} ms");
        bench.advance(Duration::from_millis(1));
        for rec in bench.sent() {
            bench.answer(rec.header.ox_id.get(), &LsRjt::NO_SUCH_EXCHANGE.into());
        }
    }
    bench.advance(E_D_TOV);
    let question = bench.question(ox_id);
    bench.answer(question, &LsRjt::NO_SUCH_EXCHANGE.into());
    assert_eq!(bench.completion().result, Err(TransportError::Lost));
}

/// With an RX_ID, Linux's target does find what there is.
#[test]
fn once_a_target_has_sent_something_it_is_believed() {
    let mut bench = Bench::new();
    bench.core.nexuses.get_mut(NEXUS.0).unwrap().answers = Answers::ByRxId;
    let ox_id = bench.read();
    bench.data(ox_id, 0, &pattern()[..2112]);
    bench.advance(SILENCE);
    bench.advance(SILENCE);
    let question = bench.question(ox_id);
    bench.answer(question, &LsRjt::NO_SUCH_EXCHANGE.into());
    assert_eq!(bench.completion().result, Err(TransportError::Lost));
}

#[test]
fn a_question_that_is_lost_is_asked_again() {
    let mut bench = Bench::new();
    let ox_id = bench.read();
    bench.advance(SILENCE);
    let lost = bench.question(ox_id);
    bench.advance(SILENCE * 2);
    let again = bench.question(ox_id);
    assert_ne!(again, lost);
    // The first one's answer was late only: it is old, and no surprise.
    bench.answer(lost, &LsRjt::NO_SUCH_EXCHANGE.into());
    assert!(bench.consumer.poll().is_none());
    assert_eq!(bench.core.counters.dropped_total(), 0);
    bench.answer(again, &LsRjt::NO_SUCH_EXCHANGE.into());
    assert_eq!(bench.completion().result, Err(TransportError::Lost));
}

#[test]
fn an_answer_that_news_have_overtaken_is_void() {
    let mut bench = Bench::new();
    let data = pattern();
    let ox_id = bench.submit(1, Transfer::Write(data.into()));
    bench.advance(SILENCE);
    let question = bench.question(ox_id);
    bench.transfer_ready(ox_id, 0, DATA_LEN as u32);
    bench.step();
    bench.answer(question, &account(ox_id, 0));
    assert!(bench.sent().iter().all(|frame| frame.header.r_ctl == RCtl::DATA));
    bench.respond(ox_id, &FcpRsp::default());
    assert!(bench.completion().result.is_ok());
}

#[test]
fn whoever_else_answers_a_question_changes_nothing() {
    let mut bench = Bench::new();
    let ox_id = bench.read();
    bench.advance(SILENCE);
    let question = bench.question(ox_id);
    let gone = ElsReply::from(LsRjt::NO_SUCH_EXCHANGE).to_payload();
    let header = answer_header(question);
    let mut other_mac = from_target(&header, &gone);
    other_mac[6] ^= 0x10;
    for (reason, frame) in [
        (DropReason::Source, from_target(&FcHeader { s_id: FcId([1, 2, 2]), ..header }, &gone)),
        (DropReason::Source, other_mac),
        (DropReason::Destination, from_target(&FcHeader { d_id: FcId([1, 1, 2]), ..header }, &gone)),
        (DropReason::Unexpected, from_target(&FcHeader { r_ctl: RCtl::DATA, ..header }, &gone)),
        (DropReason::Unexpected, from_target(&FcHeader { ox_id: ox_id.into(), ..header }, &gone)),
        (DropReason::Malformed, from_target(&header, &gone[..2])),
    ] {
        let before = bench.dropped(reason);
        bench.inject(&frame);
        assert_eq!(bench.dropped(reason), before + 1, "{reason}");
    }
    bench.answer(question, &working(ox_id ^ 8));
    assert!(bench.consumer.poll().is_none() && bench.sent().is_empty());
}

#[test]
fn a_target_that_answers_no_questions_has_the_commands_time() {
    for answer in [Some(RCtl::BA_ACC), Some(RCtl::BA_RJT), None] {
        let mut bench = Bench::new();
        let ox_id = bench.read();
        bench.advance(SILENCE);
        let question = bench.question(ox_id);
        bench.answer(question, &LsRjt::UNSUPPORTED.into());
        bench.advance(SILENCE * 2);
        bench.advance(TIMEOUT - SILENCE * 3 - TICK);
        assert!(bench.sent_bytes().is_empty());
        bench.advance(TICK);
        let [abts] = &bench.sent()[..] else { panic!("one ABTS") };
        assert_eq!((abts.header.r_ctl, abts.header.fc_type), (RCtl::ABTS, FcType::BLS));
        assert_eq!((abts.header.f_ctl.get(), abts.header.ox_id.get()), (0x09_0000, ox_id));
        assert!(bench.consumer.poll().is_none(), "its buffer is still the target's");
        // What comes late is not the command's any more.
        bench.data(ox_id, 0, &[0; 64]);
        bench.respond(ox_id, &FcpRsp::default());
        assert_eq!(bench.dropped(DropReason::NoExchange), 2);
        match answer {
            Some(r_ctl) => bench.answer_abort(r_ctl, ox_id),
            None => bench.advance(E_D_TOV * 2),
        }
        let completion = bench.completion();
        assert_eq!(completion.result, Err(TransportError::TimedOut));
        assert!(completion.transfer.into_buffer().unwrap().iter().all(|&b| b == 0xee));
        // Of one that answers nothing control is told.
        let told = bench.link.receive();
        let lun = Lun::single(5).unwrap();
        match answer {
            Some(_) => assert!(told.is_none()),
            None => assert!(matches!(told, Some(FromCore::AbortUnanswered(NEXUS, of)) if of == lun)),
        }
        assert_eq!(bench.core.counters.unanswered_aborts, u64::from(answer.is_none()));
        assert_eq!((bench.core.exchanges.open(), bench.resting()), (0, 1));
    }
}

/// By the target's account it waits for data: its request for it was lost, or the data was.
#[test]
fn a_write_that_waits_for_what_was_lost_is_aborted_at_once() {
    for is_asked_for in [false, true] {
        let mut bench = Bench::new();
        let ox_id = bench.submit(1, Transfer::Write(pattern().into()));
        if is_asked_for {
            bench.transfer_ready(ox_id, 0, DATA_LEN as u32);
            assert_eq!(bench.sent().len(), 3);
            bench.advance(SILENCE);
            assert!(bench.sent().is_empty(), "much has moved");
        }
        bench.advance(SILENCE);
        let question = bench.question(ox_id);
        bench.answer(question, &account(ox_id, 0));
        let [abts] = &bench.sent()[..] else { panic!("one ABTS") };
        assert_eq!((abts.header.r_ctl, abts.header.ox_id.get()), (RCtl::ABTS, ox_id));
        assert!(bench.consumer.poll().is_none());
        bench.answer_abort(RCtl::BA_ACC, ox_id);
        assert_eq!(bench.completion().result, Err(TransportError::Lost));
        bench.advance(R_A_TOV);
        let [rrq] = &bench.sent()[..] else { panic!("the target is told that it may forget") };
        let ElsRequest::Rrq(ids) = ElsRequest::parse(&rrq.payload).unwrap() else { panic!("an RRQ") };
        assert_eq!((ids.originator, ids.ox_id.get()), (OURS, ox_id));
        bench.answer(rrq.header.ox_id.get(), &ElsReply::Accept);
        assert_eq!(bench.core.counters.dropped_total(), 0);
    }
}

/// It has the end of the data, and so the initiative, but not all of it.
#[test]
fn a_write_of_which_the_target_has_a_part_only_is_aborted() {
    let mut bench = Bench::new();
    let ox_id = bench.submit(1, Transfer::Write(pattern().into()));
    bench.transfer_ready(ox_id, 0, DATA_LEN as u32);
    bench.sent();
    let has = |moved: u32| {
        let ElsReply::Rec(status) = working(ox_id) else { unreachable!() };
        ElsReply::Rec(ExchangeStatus { fc4_value: moved.into(), ..status })
    };
    bench.advance(SILENCE);
    // A target that doesn't count, one that is behind, one that has all, one that has lost some.
    for (moved, is_lost) in
        [(0, false), (0, false), (1000, false), (5000, false), (5000, false), (2888, false), (2888, true)]
    {
        bench.advance(E_D_TOV);
        let question = bench.question(ox_id);
        bench.answer(question, &has(moved));
        let sent = bench.sent();
        assert_eq!(sent.iter().any(|frame| frame.header.r_ctl == RCtl::ABTS), is_lost, "{moved}");
    }
    bench.answer_abort(RCtl::BA_ACC, ox_id);
    assert_eq!(bench.completion().result, Err(TransportError::Lost));
}

/// Data that is still on its way to the target would come after that of the command's repetition.
#[test]
fn a_write_is_held_until_its_data_is_gone() {
    for (sends_data, held) in [(false, E_D_TOV * 2), (true, R_A_TOV)] {
        let mut bench = Bench::new();
        let ox_id = bench.submit(1, Transfer::Write(pattern().into()));
        if sends_data {
            bench.transfer_ready(ox_id, 0, 2112);
        }
        bench.advance(TIMEOUT);
        assert!(bench.sent().iter().any(|frame| frame.header.r_ctl == RCtl::ABTS));
        bench.advance(held / 2);
        assert!(bench.sent().iter().all(|frame| frame.header.r_ctl == RCtl::ABTS), "it is sent again");
        bench.advance(held / 2 - TICK);
        assert!(bench.consumer.poll().is_none());
        bench.advance(TICK);
        assert_eq!(bench.completion().result, Err(TransportError::TimedOut));
    }
}

/// It may be an answer of long ago, to a command that had the OX_ID before.
#[test]
fn a_write_is_not_good_before_its_data_was_asked_for() {
    for asked_for in [0, 2112] {
        let mut bench = Bench::new();
        let ox_id = bench.submit(1, Transfer::Write(pattern().into()));
        if asked_for > 0 {
            bench.transfer_ready(ox_id, 0, asked_for);
            assert_eq!(bench.sent().len(), 1);
        }
        bench.respond(ox_id, &FcpRsp::default());
        assert!(bench.consumer.poll().is_none());
        assert_eq!(bench.sent()[0].header.r_ctl, RCtl::ABTS);
        bench.answer_abort(RCtl::BA_RJT, ox_id);
        let error = TransportError::DataMissing { expected: 5000, moved: asked_for };
        assert_eq!(bench.completion().result, Err(error));
    }
}

#[test]
fn an_ox_id_comes_back_after_all_others() {
    let mut bench = Bench::new();
    let first = bench.submit(0, Transfer::None);
    bench.respond(first, &FcpRsp::default());
    bench.completion();
    for tag in 1..8192 {
        let ox_id = bench.submit(tag, Transfer::None);
        assert_ne!(ox_id, first, "after {tag} commands");
        bench.respond(ox_id, &FcpRsp::default());
        bench.completion();
    }
    assert_eq!(bench.submit(0, Transfer::None), first);
}

#[test]
fn many_silent_commands_are_not_asked_for_all_at_once() {
    let mut bench = Bench::new();
    for tag in 0..500 {
        bench.consumer.submit(command(tag)).unwrap();
        bench.step();
    }
    bench.sent();
    bench.advance(SILENCE);
    let questions = bench.sent();
    assert_eq!(questions.len(), 32);
    bench.advance(TICK);
    assert!(bench.sent().is_empty());
    for question in &questions {
        bench.answer(question.header.ox_id.get(), &LsRjt::NO_SUCH_EXCHANGE.into());
    }
    bench.advance(TICK);
    assert_eq!(bench.sent().len(), 32, "the next ones");
}

/// A target that stalls with thousands of commands: only as many are looked at in a tick as can be asked about.
#[test]
fn of_many_silent_commands_few_are_looked_at_at_a_time() {
    let mut bench = Bench::new();
    const COMMANDS: u64 = 4000;
    for tag in 0..COMMANDS {
        bench.submit(tag, Transfer::None);
    }
    bench.advance(SILENCE);
    bench.advance(SILENCE);
    assert_eq!(bench.sent().len(), 32, "questions");
    // Once those that were silent together have been spread.
    (0..400).for_each(|_| bench.advance(TICK));
    let mut due = Vec::new();
    bench.core.exchanges.take_due(bench.now + TICK, &mut due);
    assert!(due.len() < 100, "{} in a tick", due.len());
}
