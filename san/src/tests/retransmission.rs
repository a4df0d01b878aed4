//! SRR: what was lost is sent again. FCP_CONF: until then it is kept.

use super::host::{FcFrame, Host, Io, Net, TARGET, cmnd, data_header, done, request_header};
use super::io::{read_10, write_10};
use crate::SanConfig;
use fc::time::Duration;
use fc::wire::els::{
    ElsCommand, ElsReply, ElsRequest, ExchangeIds, ExchangeStatus, Explanation, Login, LsRjt, ProcessLogin,
    Reason, ServicePage, fcp_parameters,
};
use fc::wire::fcp::{FcpRsp, FcpXferRdy, Srr, rsp_flags};
use fc::wire::header::{FCtl, FcHeader, RCtl};
use zerocopy::IntoBytes;

const OX_ID: u16 = 7;
const LEN: u32 = 16 << 10;
const NO_DATA: LsRjt = LsRjt::new(Reason::UNABLE, Explanation::NO_DATA);

/// A host that agrees to all that the targets want, and has taken its first unit attention.
fn net(confirmation: bool) -> (Net, Host) {
    let mut net = Net::new(&SanConfig { confirmation, ..Net::small() });
    let host = net.log_in_fabric(1);
    let login = Login::n_port(host.wwpn, host.wwpn, 2112, Duration::from_secs(2));
    net.els(&host, TARGET, &ElsRequest::Plogi(login));
    let page = ServicePage::fcp(
        fcp_parameters::INITIATOR
            | fcp_parameters::READ_XFER_RDY_DISABLED
            | fcp_parameters::RETRY
            | fcp_parameters::CONFIRM,
    );
    net.els(&host, TARGET, &ElsRequest::Prli(ProcessLogin::from(page)));
    net.push_command(&host, TARGET, 1, &cmnd(0, &[0; 6], 0, Io::None));
    let attention = net.run_fc();
    assert_eq!(attention[0].header.r_ctl, RCtl::STATUS);
    (net, host)
}

impl Net {
    /// An SRR: its answer, and what else comes.
    fn srr(&mut self, host: &Host, rx_id: u16, offset: u32, wanted: RCtl) -> (ElsReply, Vec<FcFrame>) {
        let header = FcHeader { r_ctl: RCtl::FC4_REQUEST, ..request_header(host.id, TARGET, 0x55) };
        self.push_fc(host.mac, &header, Srr::new(OX_ID, rx_id, offset, wanted).as_bytes());
        let (replies, rest): (Vec<_>, Vec<_>) =
            self.run_fc().into_iter().partition(|frame| frame.header.r_ctl == RCtl::FC4_REPLY);
        let [reply] = &replies[..] else { panic!("one reply") };
        assert_eq!((reply.header.ox_id.get(), reply.header.fc_type.0), (0x55, 8));
        (ElsReply::parse(ElsCommand(0x14), &reply.payload).unwrap(), rest)
    }

    fn status(&mut self, host: &Host) -> Option<ExchangeStatus> {
        match self.els(host, TARGET, &ElsRequest::Rec(ExchangeIds::new(host.id, OX_ID, 0xffff))) {
            ElsReply::Rec(status) => Some(status),
            _ => None,
        }
    }
}

fn kinds(frames: &[FcFrame]) -> Vec<(RCtl, u32)> {
    frames.iter().map(|frame| (frame.header.r_ctl, frame.header.parameter.get())).collect()
}

#[test]
fn read_data_and_responses_are_sent_again() {
    let (mut net, host) = net(false);
    net.push_command(&host, TARGET, OX_ID, &cmnd(0, &read_10(0, 32), LEN, Io::In(LEN)));
    let first = net.run_fc();
    assert_eq!(first.len(), 9);
    let rx_id = first[0].header.rx_id.get();
    let status = net.status(&host).unwrap();
    assert_eq!((status.rx_id.get(), status.fc4_value.get()), (rx_id, LEN));
    assert!(status.e_stat.get() & ExchangeStatus::COMPLETE != 0);

    for (offset, at) in [(0, 0), (4224, 2), (14_784, 7)] {
        let (reply, again) = net.srr(&host, rx_id, offset, RCtl::DATA);
        assert_eq!((reply, kinds(&again)), (ElsReply::Accept, kinds(&first[at..])));
        assert!(again.iter().zip(&first[at..]).all(|(again, first)| again.payload == first.payload));
        let seq_cnts: Vec<_> = again.iter().map(|frame| usize::from(frame.header.seq_cnt.get())).collect();
        assert_eq!(seq_cnts[..8 - at], (0..8 - at).collect::<Vec<_>>(), "a sequence of its own");
        assert!(again[0].header.seq_id != first[0].header.seq_id);
    }
    // The response only, by either ID.
    for rx_id in [rx_id, 0xffff] {
        for (offset, wanted) in [(0, RCtl::STATUS), (LEN, RCtl::DATA)] {
            let (reply, again) = net.srr(&host, rx_id, offset, wanted);
            assert_eq!((reply, kinds(&again)), (ElsReply::Accept, kinds(&first[8..])));
        }
    }
    assert_eq!(net.srr(&host, rx_id, 3, RCtl::DATA).0, NO_DATA.into());
    assert_eq!(net.srr(&host, rx_id, 0, RCtl::COMMAND).0, NO_DATA.into());
    assert_eq!(net.srr(&host, rx_id ^ 1, 0, RCtl::DATA).0, LsRjt::NO_SUCH_EXCHANGE.into());
    assert_eq!(net.san.stats().counters.retransmissions, 7);
    assert_eq!(net.san.stats().counters.aborted_exchanges, 0);
}

#[test]
fn what_is_over_is_not_kept_for_ever() {
    let (mut net, host) = net(false);
    for _ in 0..2 {
        net.push_command(&host, TARGET, OX_ID, &cmnd(0, &read_10(0, 1), 512, Io::In(512)));
        let rx_id = net.run_fc()[0].header.rx_id.get();
        assert_eq!(net.status(&host).unwrap().rx_id.get(), rx_id, "the latest use of an OX_ID");
    }
    net.wait(Duration::from_secs(11));
    net.run();
    assert_eq!(net.status(&host), None, "after R_A_TOV");
    // The oldest goes first when there are many, and all when the table is full.
    net.push_command(&host, TARGET, OX_ID, &cmnd(0, &read_10(0, 1), 512, Io::In(512)));
    net.run_fc();
    for other in 100..100 + 1024 {
        assert!(net.status(&host).is_some());
        net.push_command(&host, TARGET, other, &cmnd(0, &[0; 6], 0, Io::None));
        net.run_fc();
    }
    assert_eq!(net.status(&host), None);
    // A login's end is that of all that was kept for it.
    net.push_command(&host, TARGET, OX_ID, &cmnd(0, &read_10(0, 1), 512, Io::In(512)));
    net.run_fc();
    net.log_in_target(&host, TARGET, 2112);
    assert_eq!(net.status(&host), None);
}

#[test]
fn write_data_is_asked_for_again() {
    let (mut net, host) = net(false);
    let data: Vec<u8> = (0..4096u32).map(|i| (i % 251) as u8).collect();
    net.push_command(&host, TARGET, OX_ID, &cmnd(0, &write_10(0, 8), 4096, Io::Out(&data)));
    let asked = net.run_fc().remove(0).header;
    let rx_id = asked.rx_id.get();
    let burst = |frames: &[FcFrame]| {
        assert_eq!(kinds(frames), [(RCtl::DATA_DESCRIPTOR, 0)]);
        let ready = FcpXferRdy::parse(&frames[0].payload).unwrap();
        (ready.offset.get(), ready.burst_len.get())
    };
    // FCP_XFER_RDY was lost.
    let (reply, again) = net.srr(&host, rx_id, 0, RCtl::DATA_DESCRIPTOR);
    assert_eq!((reply, burst(&again)), (ElsReply::Accept, (0, 4096)));
    // A frame was lost, and whatever the initiator believes, it is that which is missing.
    net.push_fc(host.mac, &data_header(&host, &asked, 1024, 1, true), &data[1024..2048]);
    let (reply, again) = net.srr(&host, rx_id, 2048, RCtl::DATA_DESCRIPTOR);
    assert_eq!((reply, burst(&again)), (ElsReply::Accept, (0, 4096)));
    net.push_fc(host.mac, &data_header(&host, &asked, 0, 0, false), &data[..1024]);
    let (reply, again) = net.srr(&host, rx_id, 2048, RCtl::DATA_DESCRIPTOR);
    assert_eq!((reply, burst(&again)), (ElsReply::Accept, (2048, 2048)));
    assert_eq!(net.status(&host).unwrap().fc4_value.get(), 2048);
    for (offset, wanted) in
        [(4100, RCtl::DATA_DESCRIPTOR), (2047, RCtl::DATA_DESCRIPTOR), (0, RCtl::STATUS), (0, RCtl::DATA)]
    {
        assert_eq!(net.srr(&host, rx_id, offset, wanted).0, NO_DATA.into(), "{offset} {wanted:?}");
    }
    net.push_fc(host.mac, &data_header(&host, &asked, 2048, 0, true), &data[2048..]);
    let frames = net.run_fc();
    assert_eq!(done(&frames[0], Vec::new()).status, 0);
    // The response was lost.
    for wanted in [RCtl::STATUS, RCtl::DATA_DESCRIPTOR] {
        let (reply, again) = net.srr(&host, rx_id, 0, wanted);
        assert_eq!((reply, kinds(&again)), (ElsReply::Accept, kinds(&frames)));
    }
    net.push_fc(host.mac, &data_header(&host, &asked, 0, 0, true), &[0xee; 512]);
    assert!(net.run_fc().is_empty(), "it takes no data any more");
    let mut there = vec![0; 4096];
    net.san.read_lun(0, 0, 0, &mut there).unwrap();
    assert_eq!(there, data);
}

#[test]
fn a_response_is_kept_until_it_is_confirmed() {
    let (mut net, host) = net(true);
    net.push_command(&host, TARGET, OX_ID, &cmnd(0, &read_10(0, 1), 512, Io::In(512)));
    let frames = net.run_fc();
    let response = &frames[1];
    assert_eq!(response.header.f_ctl.get(), 0x89_0000, "the initiator's turn");
    assert!(FcpRsp::parse(&response.payload).unwrap().flags & rsp_flags::CONF_REQUESTED != 0);
    let rx_id = response.header.rx_id;
    let status = net.status(&host).unwrap();
    assert_eq!(status.e_stat.get(), ExchangeStatus::IS_RESPONDER, "neither complete nor its turn");
    let (reply, again) = net.srr(&host, rx_id.get(), 0, RCtl::STATUS);
    assert_eq!((reply, again[0].payload == response.payload), (ElsReply::Accept, true));

    let confirmation = FcHeader {
        r_ctl: RCtl::SOLICITED_CONTROL,
        f_ctl: FCtl::new(FCtl::LAST_SEQUENCE | FCtl::END_SEQUENCE),
        rx_id,
        ..request_header(host.id, TARGET, OX_ID)
    };
    net.push_fc(host.mac, &confirmation, &[]);
    assert!(net.run_fc().is_empty());
    assert_eq!(net.status(&host), None);
    let dropped = net.san.stats().counters.dropped_no_exchange;
    net.push_fc(host.mac, &confirmation, &[]);
    net.run_fc();
    assert_eq!(net.san.stats().counters.dropped_no_exchange, dropped + 1);
}
