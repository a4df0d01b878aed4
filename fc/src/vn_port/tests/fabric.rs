//! A fabric to order: an F_Port, a name server, a fabric controller and targets that answer from a script.

use super::{FABRIC_NAME, OUR_ID, OUR_MAC};
use crate::exchange::{Outgoing, Via};
use crate::frame::FcFrame;
use crate::time::Duration;
use crate::wire::bls::BaAcc;
use crate::wire::ct::{
    CtCommand, CtExplanation, CtPreamble, CtReason, CtReject, GpnFtEntry, NameServerRequest,
};
use crate::wire::els::{
    Adisc, ElsReply, ElsRequest, ExchangeIds, Login, LsRjt, ServicePage, SppResponse, TimeoutValues,
    common_features,
};
use crate::wire::header::{FCtl, FcType, RCtl};
use crate::wire::{FcId, MacAddr, Wwn};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use std::format;
use std::string::String;
use zerocopy::IntoBytes;

/// Bytes of a name server's list that go into one frame: small, so that lists span several.
const LIST_PIECE_LEN: usize = 48;

#[derive(Clone, Debug, Default)]
pub(super) struct ScriptedFabric {
    /// The targets that are there, by N_Port_ID; each is named after it.
    pub(super) targets: Vec<FcId>,
    /// The first one is where the second one was, and has its name.
    pub(super) moved: Option<(FcId, FcId)>,
    /// Answers that come instead of the usual ones, by the request's name.
    pub(super) rejects: BTreeMap<&'static str, LsRjt>,
    /// Requests that get no answer, this many times, by name.
    pub(super) silences: BTreeMap<String, usize>,
    /// Every frame that came, as `name>destination`.
    pub(super) log: Vec<String>,
}

/// A frame that the fabric sends, with the MAC address that FIP carries beside it.
pub(super) struct Reply {
    pub(super) via: Via,
    pub(super) frame: FcFrame,
    pub(super) granted_mac: Option<MacAddr>,
}

pub(super) fn target_name(id: FcId) -> Wwn {
    Wwn::from_u64(0x2000_0000_0000_0000 | u64::from(id.to_u32()))
}

/// What a frame is called in the log and in the scripts.
pub(super) fn name(frame: &FcFrame) -> String {
    let header = &frame.header;
    match (header.r_ctl, header.fc_type) {
        (RCtl::ELS_REQUEST, FcType::ELS) => {
            format!("{}", ElsRequest::parse(&frame.payload).unwrap().command())
        }
        (RCtl::CT_REQUEST, FcType::CT) => match NameServerRequest::parse(&frame.payload).unwrap() {
            NameServerRequest::RnnId(..) => "RNN_ID",
            NameServerRequest::RsnnNn(..) => "RSNN_NN",
            NameServerRequest::RspnId(..) => "RSPN_ID",
            NameServerRequest::RftId(..) => "RFT_ID",
            NameServerRequest::RffId { .. } => "RFF_ID",
            NameServerRequest::GpnFt(_) => "GPN_FT",
            NameServerRequest::GpnId(_) => "GPN_ID",
            other => panic!("nobody needs {other:?}"),
        }
        .into(),
        (RCtl::ELS_REPLY, FcType::ELS) => match frame.payload[0] {
            1 => "LS_RJT".into(),
            _ => "LS_ACC".into(),
        },
        (RCtl::ABTS, FcType::BLS) => "ABTS".into(),
        (RCtl::BA_ACC | RCtl::BA_RJT, FcType::BLS) => "BLS reply".into(),
        other => panic!("nobody sends {other:?}"),
    }
}

impl ScriptedFabric {
    /// Takes a frame, and gives the frames that answer it.
    pub(super) fn handle(&mut self, outgoing: &Outgoing) -> Vec<Reply> {
        let frame = &outgoing.frame;
        let name = name(frame);
        self.log.push(format!("{name}>{}", frame.header.d_id));
        if let Some(left) = self.silences.get_mut(&name)
            && *left > 0
        {
            *left -= 1;
            return Vec::new();
        }
        match (frame.header.r_ctl, frame.header.fc_type) {
            (RCtl::ELS_REQUEST, FcType::ELS) => self.answer_els(outgoing, &name).into_iter().collect(),
            (RCtl::CT_REQUEST, FcType::CT) => self.answer_ct(frame),
            (RCtl::ABTS, FcType::BLS) => {
                let accept = BaAcc::exchange(frame.header.ox_id.get(), frame.header.rx_id.get());
                let frame = FcFrame::bls_reply(&frame.header, RCtl::BA_ACC, accept.as_bytes().to_vec());
                Vec::from([Reply { via: Via::Fcoe, frame, granted_mac: None }])
            }
            _ => Vec::new(),
        }
    }

    fn name_of(&self, id: FcId) -> Wwn {
        match self.moved {
            Some((new, old)) if new == id => target_name(old),
            _ => target_name(id),
        }
    }

    fn answer_els(&self, outgoing: &Outgoing, name: &str) -> Option<Reply> {
        let frame = &outgoing.frame;
        let (s_id, d_id) = (frame.header.s_id, frame.header.d_id);
        if !d_id.is_well_known() && !self.targets.contains(&d_id) {
            return None;
        }
        let request = ElsRequest::parse(&frame.payload).unwrap();
        let (mut granted_mac, mut new_id) = (None, s_id);
        let reply = match (self.rejects.get(name), request) {
            (Some(&reject), _) => reject.into(),
            (None, ElsRequest::Flogi(_) | ElsRequest::Fdisc(_)) => {
                assert_eq!((s_id, d_id), (FcId::UNASSIGNED, FcId::F_PORT));
                (granted_mac, new_id) = (Some(OUR_MAC), OUR_ID);
                ElsReply::Login(fabric_accept())
            }
            (None, ElsRequest::Plogi(_)) => ElsReply::Login(login_named(self.name_of(d_id))),
            (None, ElsRequest::Prli(process)) => {
                assert_eq!(process.fcp().unwrap().parameters.get(), 0x1a2, "as Linux asks");
                ElsReply::Process(ServicePage::fcp(0x1b2).answered(SppResponse::EXECUTED).into())
            }
            (None, ElsRequest::Rtv) => {
                ElsReply::Rtv(TimeoutValues::new(Duration::from_secs(4), Duration::from_secs(2)))
            }
            (None, ElsRequest::Adisc(_)) => {
                ElsReply::Adisc(Adisc::new(d_id, self.name_of(d_id), self.name_of(d_id)))
            }
            (None, ElsRequest::Rrq(ExchangeIds { originator, .. })) => {
                assert_eq!(originator, s_id);
                ElsReply::Accept
            }
            (None, _) => ElsReply::Accept,
        };
        let mut frame = FcFrame::els_reply(&frame.header, reply.to_payload());
        frame.header.d_id = new_id;
        Some(Reply { via: outgoing.via, frame, granted_mac })
    }

    fn answer_ct(&self, request: &FcFrame) -> Vec<Reply> {
        let unable = |explanation| CtPreamble::reject(CtReject { reason: CtReason::UNABLE, explanation });
        let accept = CtPreamble::name_server(CtCommand::ACCEPT);
        let iu = match NameServerRequest::parse(&request.payload).unwrap() {
            NameServerRequest::GpnFt(_) => {
                // An initiator that registered is listed itself, as the last one.
                let own = GpnFtEntry::new(OUR_ID, Wwn::from_u64(9), true);
                let entry = |&id: &FcId| GpnFtEntry::new(id, self.name_of(id), false);
                let entries: Vec<_> = self.targets.iter().map(entry).chain([own]).collect();
                [accept.as_bytes(), entries.as_bytes()].concat()
            }
            NameServerRequest::GpnId(id) if self.targets.contains(&id) => {
                [accept.as_bytes(), self.name_of(id).as_bytes()].concat()
            }
            NameServerRequest::GpnId(_) => unable(CtExplanation::ID_NOT_REGISTERED).as_bytes().to_vec(),
            NameServerRequest::RspnId(..) | NameServerRequest::RsnnNn(..) => {
                unable(CtExplanation::NONE).as_bytes().to_vec()
            }
            _ => accept.as_bytes().to_vec(),
        };
        let pieces = iu.chunks(LIST_PIECE_LEN);
        let last = pieces.len() - 1;
        let reply = |(i, piece): (usize, &[u8])| {
            let mut frame = FcFrame::els_reply(&request.header, piece.to_vec());
            frame.header.r_ctl = RCtl::SOLICITED_CONTROL;
            frame.header.seq_cnt = u16::try_from(i).unwrap().into();
            if i < last {
                frame.header.f_ctl = FCtl::new(FCtl::EXCHANGE_RESPONDER | FCtl::LAST_SEQUENCE);
            }
            Reply { via: Via::Fcoe, frame, granted_mac: None }
        };
        pieces.enumerate().map(reply).collect()
    }
}

/// The F_Port's LS_ACC to FLOGI and FDISC.
pub(super) fn fabric_accept() -> Login {
    let mut login = Login::fabric(Wwn::from_u64(7), FABRIC_NAME, 2112);
    login.common.features = common_features::F_PORT.into();
    login.common.by_login = 10_000.into();
    login.common.e_d_tov = 2000.into();
    login
}

/// A target's PLOGI, or its LS_ACC to one.
pub(super) fn target_login(id: FcId) -> Login {
    login_named(target_name(id))
}

fn login_named(name: Wwn) -> Login {
    Login::n_port(name, name, 2048, Duration::from_secs(2))
}
