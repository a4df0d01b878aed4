//! A target that sends again what was lost, and one that wants to know that nothing was.

use super::recovery::{SILENCE, account, answer_header};
use super::*;
use fc::wire::els::{ElsReply, ExchangeStatus, LsRjt};
use fc::wire::fcp::Srr;

fn bench() -> Bench {
    Bench::with_nexus(&Nexus { retry: true, confirm: true, ..nexus() })
}

fn with_moved(reply: &ElsReply, moved: u32) -> ElsReply {
    let &ElsReply::Rec(status) = reply else { unreachable!("an account") };
    ElsReply::Rec(ExchangeStatus { fc4_value: moved.into(), ..status })
}

impl Bench {
    /// The one SRR that was sent: what it asks for, and its OX_ID.
    fn srr(&mut self, about: u16) -> (RCtl, u32, u16) {
        let [sent] = &self.sent()[..] else { panic!("one frame is an SRR") };
        assert_eq!((sent.header.r_ctl, sent.header.fc_type), (RCtl::FC4_REQUEST, FcType::FCP));
        assert_eq!((sent.header.f_ctl.get(), sent.header.rx_id.get()), (0x29_0000, UNASSIGNED_XID));
        assert_eq!(sent.payload.len(), 16);
        let srr = Srr::parse(&sent.payload).unwrap();
        assert_eq!((srr.ox_id.get(), srr.rx_id.get()), (about, RX_ID));
        (RCtl(srr.r_ctl), srr.offset.get(), sent.header.ox_id.get())
    }

    fn answer_srr(&mut self, question: u16, reply: &ElsReply) {
        self.answer_srr_by(question, &reply.to_payload());
    }

    fn answer_srr_by(&mut self, question: u16, payload: &[u8]) {
        let header = FcHeader { r_ctl: RCtl::FC4_REPLY, fc_type: FcType::FCP, ..answer_header(question) };
        self.inject_fc(&header, payload);
    }

    fn asked(&mut self, ox_id: u16, account: &ElsReply) {
        self.advance(SILENCE);
        let question = self.question(ox_id);
        self.answer(question, account);
    }
}

#[test]
fn lost_read_data_is_asked_for_from_the_first_byte_that_is_missing() {
    let mut bench = bench();
    let data = pattern();
    let ox_id = bench.read();
    bench.data(ox_id, 0, &data[..2112]);
    bench.data(ox_id, 4224, &data[4224..]);
    bench.respond(ox_id, &FcpRsp::default());
    assert!(bench.consumer.poll().is_none());
    let (wanted, offset, question) = bench.srr(ox_id);
    assert_eq!((wanted, offset), (RCtl::DATA, 2112));
    bench.answer_srr(question, &ElsReply::Accept);
    // It is lost again, in part.
    bench.respond(ox_id, &FcpRsp::default());
    let (wanted, offset, _) = bench.srr(ox_id);
    assert_eq!((wanted, offset), (RCtl::DATA, 2112));
    bench.data(ox_id, 2112, &data[2112..4224]);
    assert!(bench.consumer.poll().is_none(), "the response belongs to it");
    bench.data(ox_id, 4224, &data[4224..]);
    bench.respond(ox_id, &FcpRsp::default());
    let completion = bench.completion();
    assert_eq!(completion.result.unwrap().transferred as usize, DATA_LEN);
    assert_eq!(completion.transfer.into_buffer().unwrap().as_ref(), data);
    let counters = bench.core.counters;
    assert_eq!((counters.retransmissions, counters.lost, counters.aborts, counters.failed), (2, 0, 0, 0));
    // The second SRR's reply has not come, and frames may come twice.
    assert_eq!((bench.core.exchanges.open(), bench.resting()), (0, 2));
}

/// Data may come after the response in fabrics with several paths: where it has done so, it is waited for.
#[test]
fn data_that_was_late_only_is_waited_for_the_next_time() {
    let mut bench = bench();
    let data = pattern();
    for is_waited_for in [false, true] {
        let ox_id = bench.read();
        bench.data(ox_id, 0, &data[..2112]);
        bench.data(ox_id, 2112, &data[2112..4224]);
        bench.respond(ox_id, &FcpRsp::default());
        if is_waited_for {
            assert!(bench.sent().is_empty());
            bench.data(ox_id, 4224, &data[4224..]);
        } else {
            let (.., question) = bench.srr(ox_id);
            bench.data(ox_id, 4224, &data[4224..]);
            bench.answer_srr(question, &ElsReply::Accept);
            bench.data(ox_id, 4224, &data[4224..]);
            bench.respond(ox_id, &FcpRsp::default());
        }
        assert!(bench.completion().result.is_ok());
    }
    // If it doesn't come, it is asked for then.
    let ox_id = bench.read();
    bench.respond(ox_id, &FcpRsp::default());
    bench.advance(TICK * 2);
    bench.srr(ox_id);
}

#[test]
fn its_accounts_are_believed_by_what_was_asked() {
    let mut bench = bench();
    bench.core.nexuses.get_mut(NEXUS.0).unwrap().answers = Answers::UNTRIED;
    bench.consumer.submit(command(1)).unwrap();
    bench.step();
    let [cmnd, rec] = &bench.sent()[..] else { panic!("a command, and a question about it at once") };
    let working = account(cmnd.header.ox_id.get(), ExchangeStatus::HAS_INITIATIVE);
    bench.answer(rec.header.ox_id.get(), &working);
    assert_eq!(bench.core.nexuses.get_mut(NEXUS.0).unwrap().answers, Answers::ByOxId);
}

#[test]
fn a_lost_response_is_asked_for() {
    let data = pattern();
    for (transfer, moved, wanted) in [
        (Transfer::Read(vec![0; DATA_LEN].into()), 0, (RCtl::DATA, 0)),
        (Transfer::Read(vec![0; DATA_LEN].into()), DATA_LEN, (RCtl::STATUS, 0)),
        (Transfer::None, 0, (RCtl::STATUS, 0)),
    ] {
        for e_stat in [ExchangeStatus::COMPLETE, 0] {
            let mut bench = bench();
            let transfer = match &transfer {
                Transfer::None => Transfer::None,
                other => Transfer::Read(vec![0; other.len()].into()),
            };
            let ox_id = bench.submit(1, transfer);
            for at in (0..moved).step_by(2112) {
                bench.data(ox_id, at, &data[at..moved.min(at + 2112)]);
            }
            if moved > 0 {
                bench.advance(SILENCE);
            }
            // That tells the RX_ID, too. Without COMPLETE it waits for the response's confirmation.
            bench.asked(ox_id, &account(ox_id, e_stat));
            let (r_ctl, offset, question) = bench.srr(ox_id);
            assert_eq!((r_ctl, offset), wanted);
            bench.answer_srr(question, &ElsReply::Accept);
            if moved == 0 && wanted.0 == RCtl::DATA {
                bench.data(ox_id, 0, &data[..2112]);
                bench.data(ox_id, 2112, &data[2112..4224]);
                bench.data(ox_id, 4224, &data[4224..]);
            }
            bench.respond(ox_id, &FcpRsp::default());
            assert!(bench.completion().result.is_ok());
        }
    }
}

#[test]
fn lost_write_data_is_asked_for_by_the_target() {
    let mut bench = bench();
    let ox_id = bench.submit(1, Transfer::Write(pattern().into()));
    // FCP_XFER_RDY is lost.
    bench.asked(ox_id, &account(ox_id, 0));
    let (wanted, offset, question) = bench.srr(ox_id);
    assert_eq!((wanted, offset), (RCtl::DATA_DESCRIPTOR, 0));
    bench.answer_srr(question, &ElsReply::Accept);
    bench.transfer_ready(ox_id, 0, DATA_LEN as u32);
    assert_eq!(bench.sent().len(), 3);
    // The last two frames are lost.
    bench.advance(SILENCE * 2);
    bench.asked(ox_id, &with_moved(&account(ox_id, 0), 2112));
    let (wanted, offset, question) = bench.srr(ox_id);
    assert_eq!((wanted, offset), (RCtl::DATA_DESCRIPTOR, 2112));
    bench.answer_srr(question, &ElsReply::Accept);
    bench.transfer_ready(ox_id, 2112, DATA_LEN as u32 - 2112);
    let offsets: Vec<_> = bench.sent().iter().map(|frame| frame.header.parameter.get()).collect();
    assert_eq!(offsets, [2112, 4224]);
    bench.respond(ox_id, &FcpRsp::default());
    assert_eq!(bench.completion().result.unwrap().transferred as usize, DATA_LEN);
    assert_eq!(bench.core.counters.aborts, 0);
}

#[test]
fn a_target_that_cannot_send_it_again_is_told_to_forget_the_exchange() {
    let mut bench = bench();
    let ox_id = bench.read();
    bench.respond(ox_id, &FcpRsp::default());
    let (.., question) = bench.srr(ox_id);
    bench.answer_srr(question, &LsRjt::NO_SUCH_EXCHANGE.into());
    assert_eq!(bench.sent()[0].header.r_ctl, RCtl::ABTS);
    bench.answer_abort(RCtl::BA_RJT, ox_id);
    assert_eq!(bench.completion().result, Err(TransportError::Lost));
}

#[test]
fn an_answer_to_another_question_is_none() {
    let mut bench = bench();
    let ox_id = bench.read();
    bench.advance(SILENCE);
    let question = bench.question(ox_id);
    bench.answer_srr(question, &ElsReply::Accept);
    bench.respond(ox_id, &FcpRsp::default());
    let (.., question) = bench.srr(ox_id);
    bench.answer(question, &account(ox_id, ExchangeStatus::COMPLETE));
    bench.answer_srr_by(question, &[3, 0, 0, 0]);
    assert_eq!((bench.dropped(DropReason::Unexpected), bench.dropped(DropReason::Malformed)), (2, 1));
    assert!(bench.sent().is_empty() && bench.consumer.poll().is_none());
}

/// Whatever it says, and as often as it says it: a read without its data is not good.
#[test]
fn a_target_that_never_sends_the_data_has_the_commands_time() {
    let mut bench = bench();
    let ox_id = bench.read();
    let mut asked = 0;
    while bench.now < Instant::ZERO + TIMEOUT {
        for frame in bench.sent() {
            assert_ne!(frame.header.r_ctl, RCtl::ABTS);
            if frame.header.r_ctl == RCtl::FC4_REQUEST {
                asked += 1;
                bench.answer_srr(frame.header.ox_id.get(), &ElsReply::Accept);
            } else {
                bench.answer(frame.header.ox_id.get(), &account(ox_id, ExchangeStatus::COMPLETE));
            }
        }
        assert!(bench.consumer.poll().is_none());
        bench.advance(Duration::from_millis(10));
    }
    assert!((5..=40).contains(&asked), "{asked}");
    bench.advance(TICK);
    assert!(bench.sent().iter().any(|frame| frame.header.r_ctl == RCtl::ABTS));
}

#[test]
fn a_response_is_confirmed_to_who_wants_it_once_all_is_here() {
    let conf = FcpRsp { flags: rsp_flags::CONF_REQUESTED, ..FcpRsp::default() };
    let confirmations = |bench: &mut Bench| {
        let sent = bench.sent();
        sent.into_iter().filter(|frame| frame.header.r_ctl == RCtl::SOLICITED_CONTROL).collect::<Vec<_>>()
    };
    let mut bench = bench();
    let data = pattern();
    let ox_id = bench.read();
    bench.respond(ox_id, &conf);
    assert!(confirmations(&mut bench).is_empty());
    for range in [0..2112, 2112..4224, 4224..DATA_LEN] {
        bench.data(ox_id, range.start, &data[range]);
    }
    bench.respond(ox_id, &conf);
    assert!(bench.completion().result.is_ok());
    let [sent] = &confirmations(&mut bench)[..] else { panic!("one FCP_CONF") };
    assert_eq!((sent.header.fc_type, sent.header.f_ctl.get()), (FcType::FCP, 0x18_0000));
    assert_eq!((sent.header.ox_id.get(), sent.header.rx_id.get()), (ox_id, RX_ID));
    assert_eq!((sent.sof, sent.eof, sent.payload.len()), (Sof::I3, Eof::T, 0));

    // One whose answer is an error is confirmed, too; one that doesn't ask for it isn't, nor one that may not ask.
    let ox_id = bench.submit(1, Transfer::None);
    bench.respond(ox_id, &FcpRsp { info: &[0, 0, 0, 1], ..conf });
    assert!(bench.completion().result.is_err());
    assert_eq!(confirmations(&mut bench).len(), 1);
    let ox_id = bench.submit(1, Transfer::None);
    bench.respond(ox_id, &FcpRsp::default());
    assert!(confirmations(&mut bench).is_empty());
    let mut bench = Bench::new();
    let ox_id = bench.submit(1, Transfer::None);
    bench.respond(ox_id, &conf);
    assert!(confirmations(&mut bench).is_empty());
}
