//! Every request to the name server, with its reply.

use crate::frames::{INITIATOR, NODE_NAME, PORT_NAME, TARGET, frame, reply, request};
use crate::{Case, Expected};
use fc::wire::FcId;
use fc::wire::ct::{
    CtCommand, CtExplanation, CtPreamble, CtReason, CtReject, FEATURE_INITIATOR, GidFtEntry, GpnFtEntry,
    NameServerRequest, PortScope,
};
use fc::wire::fip::Fc4Attributes;
use fc::wire::header::{FcType, RCtl};
use zerocopy::IntoBytes;

/// A request, by its name, and the body of its accept.
struct Exchange {
    name: &'static str,
    request: NameServerRequest,
    asked: Expected,
    body: Vec<u8>,
    answered: Expected,
}

pub(crate) fn cases() -> Vec<Case> {
    let accept = CtPreamble::name_server(CtCommand::ACCEPT);
    let accepted = |(ox_id, exchange): (u16, Exchange)| {
        let answer = [accept.as_bytes(), &exchange.body].concat();
        both(ox_id, &exchange, "ACC", &answer)
    };
    let exchanges = queries().into_iter().chain(registrations());
    (0x400..).zip(exchanges).flat_map(accepted).chain(rejected()).collect()
}

/// The frames of a request and its reply.
fn both(ox_id: u16, exchange: &Exchange, verdict: &str, answer: &[u8]) -> [Case; 2] {
    let name = exchange.name;
    let header = request(RCtl::CT_REQUEST, FcType::CT, FcId::NAME_SERVER, ox_id);
    let asked = frame(&header, &exchange.request.to_payload());
    let answered = frame(&reply(&header, RCtl::SOLICITED_CONTROL), answer);
    [
        Case::new(format!("dNS: {name}"), asked, exchange.asked),
        Case::new(format!("dNS: {verdict} ({name})"), answered, exchange.answered),
    ]
}

fn rejected() -> [Case; 2] {
    let reject = CtReject { reason: CtReason::UNABLE, explanation: CtExplanation::PORT_NAME_NOT_REGISTERED };
    let exchange = Exchange {
        name: "GID_PN",
        request: NameServerRequest::GidPn(PORT_NAME),
        asked: &[],
        body: Vec::new(),
        answered: &[("fcdns.rply.reason", "0x09"), ("fcdns.rply.reasondet", "0x02")],
    };
    both(0x4ff, &exchange, "RJT", CtPreamble::reject(reject).as_bytes())
}

fn queries() -> Vec<Exchange> {
    use NameServerRequest::{GidFt, GidPn, GnnId, GpnFt, GpnId};
    let scope = PortScope::fabric(FcType::FCP);
    let ids = [GidFtEntry::new(INITIATOR, false), GidFtEntry::new(TARGET, true)];
    let names = [GpnFtEntry::new(INITIATOR, PORT_NAME, true)];
    vec![
        Exchange {
            name: "GPN_ID",
            request: GpnId(TARGET),
            asked: &[("fcdns.req.portid", "01.02.01")],
            body: PORT_NAME.as_bytes().to_vec(),
            answered: &[("fcdns.rply.pname", "20:00:02:fc:00:00:00:01")],
        },
        Exchange {
            name: "GNN_ID",
            request: GnnId(TARGET),
            asked: &[("fcdns.req.portid", "01.02.01")],
            body: NODE_NAME.as_bytes().to_vec(),
            answered: &[("fcdns.rply.nname", "10:00:02:fc:00:00:00:01")],
        },
        Exchange {
            name: "GID_PN",
            request: GidPn(PORT_NAME),
            asked: &[("fcdns.req.portname", "20:00:02:fc:00:00:00:01")],
            body: [&[0], INITIATOR.as_bytes()].concat(),
            answered: &[("fcdns.rply.portid", "01.01.01")],
        },
        Exchange {
            name: "GID_FT",
            request: GidFt(scope),
            asked: &[("fcdns.req.fc4type", "0x08")],
            body: ids.as_bytes().to_vec(),
            answered: &[("fcdns.rply.portid", "01.01.01"), ("fcdns.rply.portid", "01.02.01")],
        },
        Exchange {
            name: "GPN_FT",
            request: GpnFt(scope),
            asked: &[("fcdns.req.fc4type", "0x08")],
            body: names.as_bytes().to_vec(),
            // Not the name: tshark reads it four bytes early, in the Linux kernel's frames, too.
            answered: &[("fcdns.rply.portid", "01.01.01")],
        },
    ]
}

/// Requests whose accept has no body.
fn registrations() -> impl Iterator<Item = Exchange> {
    use NameServerRequest::{RffId, RftId, RnnId, RpnId, RsnnNn, RspnId};
    let types = Fc4Attributes::NONE.with(FcType::FCP, 0).types;
    let features = RffId { id: INITIATOR, features: FEATURE_INITIATOR, fc_type: FcType::FCP };
    let requests: [(_, _, Expected); 6] = [
        ("RPN_ID", RpnId(INITIATOR, PORT_NAME), &[("fcdns.req.portname", "20:00:02:fc:00:00:00:01")]),
        ("RNN_ID", RnnId(INITIATOR, NODE_NAME), &[("fcdns.req.nname", "10:00:02:fc:00:00:00:01")]),
        ("RFT_ID", RftId(INITIATOR, types), &[("fcdns.fc4types.fcp", "1")]),
        ("RSPN_ID", RspnId(INITIATOR, b"port".to_vec()), &[("fcdns.req.spname", "port")]),
        ("RFF_ID", features, &[("fcdns.fc4features.i", "1"), ("fcdns.fc4features.t", "0")]),
        ("RSNN_NN", RsnnNn(NODE_NAME, b"node".to_vec()), &[("fcdns.req.sname", "node")]),
    ];
    requests.into_iter().map(|(name, request, asked)| Exchange {
        name,
        request,
        asked,
        body: Vec::new(),
        answered: &[],
    })
}
