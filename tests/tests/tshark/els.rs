//! Every extended link service, as a request with its reply.

use crate::frames::{INITIATOR, NODE_NAME, PORT_NAME, TARGET, frame, reply, request};
use crate::{Case, Expected};
use fc::time::Duration;
use fc::wire::els::{
    Adisc, ElsReply, ElsRequest, ExchangeIds, ExchangeStatus, Login, Logo, LsRjt, ProcessLogin, RscnFormat,
    RscnPage, ScrFunction, ServicePage, SppResponse, TimeoutValues, fcp_parameters,
};
use fc::wire::header::{FcType, RCtl, UNASSIGNED_XID};
use fc::wire::{FcId, Wwn};

/// A request, its reply, and what tshark has to say about each.
struct Exchange {
    d_id: FcId,
    request: ElsRequest,
    asked: Expected,
    reply: ElsReply,
    answered: Expected,
}

const TARGET_PORT_NAME: Wwn = Wwn([0x20, 0, 2, 0xfc, 0, 0, 1, 1]);
const TARGET_NODE_NAME: Wwn = Wwn([0x10, 0, 2, 0xfc, 0, 0, 1, 1]);
const E_D_TOV: Duration = Duration::from_secs(2);
const R_A_TOV: Duration = Duration::from_secs(10);

pub(crate) fn cases() -> Vec<Case> {
    let exchanges = [logins(), process_logins(), addresses(), recovery(), state_changes()];
    (0x10..)
        .zip(exchanges.into_iter().flatten())
        .flat_map(|(ox_id, exchange)| {
            let header = request(RCtl::ELS_REQUEST, FcType::ELS, exchange.d_id, ox_id);
            let answer = reply(&header, RCtl::ELS_REPLY);
            let asked = frame(&header, &exchange.request.to_payload());
            let answered = frame(&answer, &exchange.reply.to_payload());
            let name = exchange.request.command();
            let verdict = if matches!(exchange.reply, ElsReply::Reject(_)) { "LS_RJT" } else { "ACC" };
            [
                Case::new(format!("FC ELS: {name}"), asked, exchange.asked),
                Case::new(format!("FC ELS: {verdict} ({name})"), answered, exchange.answered),
            ]
        })
        .collect()
}

fn logins() -> Vec<Exchange> {
    let fabric = Login::fabric(PORT_NAME, NODE_NAME, 2112);
    let n_port = Login::n_port(PORT_NAME, NODE_NAME, 2112, E_D_TOV);
    let target = Login::n_port(TARGET_PORT_NAME, TARGET_NODE_NAME, 2048, E_D_TOV);
    vec![
        Exchange {
            d_id: FcId::F_PORT,
            request: ElsRequest::Flogi(fabric),
            asked: &[],
            reply: ElsReply::Login(fabric),
            answered: &[],
        },
        Exchange {
            d_id: FcId::F_PORT,
            request: ElsRequest::Fdisc(fabric),
            asked: &[],
            reply: ElsReply::Login(fabric),
            answered: &[],
        },
        Exchange {
            d_id: TARGET,
            request: ElsRequest::Plogi(n_port),
            asked: &[
                ("fcels.npname", "20:00:02:fc:00:00:00:01"),
                ("fcels.fnname", "10:00:02:fc:00:00:00:01"),
                ("fcels.logi.rcvsize", "2112"),
                ("fcels.logi.clsrcvsize", "2112"),
                ("fcels.edtov", "2000"),
            ],
            reply: ElsReply::Login(target),
            answered: &[("fcels.npname", "20:00:02:fc:00:00:01:01"), ("fcels.logi.clsrcvsize", "2048")],
        },
        Exchange {
            d_id: TARGET,
            request: ElsRequest::Plogi(n_port),
            asked: &[],
            reply: LsRjt::IN_PROGRESS.into(),
            answered: &[("fcels.rjt.reason", "0x0e")],
        },
        Exchange {
            d_id: TARGET,
            request: ElsRequest::Pdisc(n_port),
            asked: &[],
            reply: ElsReply::Login(target),
            answered: &[],
        },
        Exchange {
            d_id: TARGET,
            request: ElsRequest::Logo(Logo::new(INITIATOR, PORT_NAME)),
            asked: &[("fcels.portid", "01.01.01"), ("fcels.npname", "20:00:02:fc:00:00:00:01")],
            reply: ElsReply::Accept,
            answered: &[],
        },
    ]
}

fn process_logins() -> Vec<Exchange> {
    let initiator =
        fcp_parameters::INITIATOR | fcp_parameters::RETRY | fcp_parameters::READ_XFER_RDY_DISABLED;
    let asked = ServicePage::fcp(initiator);
    let target = fcp_parameters::TARGET | fcp_parameters::READ_XFER_RDY_DISABLED;
    let answered = ServicePage::fcp(target).answered(SppResponse::EXECUTED);
    vec![
        Exchange {
            d_id: TARGET,
            request: ElsRequest::Prli(asked.into()),
            asked: &[
                ("fcels.fcpflags.initiator", "1"),
                ("fcels.fcpflags.rdxr", "1"),
                ("fcels.prlilo.type", "8"),
            ],
            reply: ElsReply::Process(answered.into()),
            answered: &[("fcels.fcpflags.target", "1"), ("fcels.prlilo.response_code", "0x21")],
        },
        Exchange {
            d_id: TARGET,
            request: ElsRequest::Prlo(asked.into()),
            asked: &[],
            reply: ElsReply::Process(ProcessLogin::from(answered)),
            answered: &[],
        },
    ]
}

fn addresses() -> Vec<Exchange> {
    vec![
        Exchange {
            d_id: TARGET,
            request: ElsRequest::Adisc(Adisc::new(INITIATOR, PORT_NAME, NODE_NAME)),
            asked: &[],
            reply: ElsReply::Adisc(Adisc::new(TARGET, TARGET_PORT_NAME, TARGET_NODE_NAME)),
            answered: &[],
        },
        Exchange {
            d_id: TARGET,
            request: ElsRequest::Rtv,
            asked: &[],
            reply: ElsReply::Rtv(TimeoutValues::new(R_A_TOV, E_D_TOV)),
            answered: &[],
        },
        Exchange {
            d_id: TARGET,
            request: ElsRequest::Echo(b"four".to_vec()),
            asked: &[],
            reply: ElsReply::Echo(b"four".to_vec()),
            answered: &[],
        },
    ]
}

fn recovery() -> Vec<Exchange> {
    let ids = ExchangeIds::new(INITIATOR, 0x123, UNASSIGNED_XID);
    let status = ExchangeStatus {
        ox_id: 0x123.into(),
        rx_id: 0x456.into(),
        reserved: 0,
        originator: INITIATOR,
        reserved_2: 0,
        responder: TARGET,
        fc4_value: 2048.into(),
        e_stat: (ExchangeStatus::IS_RESPONDER | ExchangeStatus::HAS_INITIATIVE).into(),
    };
    vec![
        Exchange {
            d_id: TARGET,
            request: ElsRequest::Rec(ids),
            asked: &[("fcels.oxid", "0x0123")],
            reply: ElsReply::Rec(status),
            answered: &[("fcels.rxid", "0x0456"), ("fcels.rec.fc4value", "0x00000800")],
        },
        Exchange {
            d_id: TARGET,
            request: ElsRequest::Rec(ids),
            asked: &[],
            reply: LsRjt::NO_SUCH_EXCHANGE.into(),
            answered: &[("fcels.rjt.reason", "0x03"), ("fcels.rjt.detail", "0x17")],
        },
        Exchange {
            d_id: TARGET,
            request: ElsRequest::Rrq(ids),
            asked: &[],
            reply: ElsReply::Accept,
            answered: &[],
        },
    ]
}

fn state_changes() -> Vec<Exchange> {
    let pages =
        vec![RscnPage::new(RscnFormat::Port, TARGET), RscnPage::new(RscnFormat::Fabric, FcId::UNASSIGNED)];
    vec![
        Exchange {
            d_id: FcId::FABRIC_CONTROLLER,
            request: ElsRequest::Scr(ScrFunction::FULL),
            asked: &[("fcels.scr.regn", "0x03")],
            reply: ElsReply::Accept,
            answered: &[],
        },
        Exchange {
            d_id: FcId::FABRIC_CONTROLLER,
            request: ElsRequest::Rscn(pages),
            asked: &[],
            reply: ElsReply::Accept,
            answered: &[],
        },
    ]
}
