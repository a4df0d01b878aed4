//! The captures' link services and name server traffic: every payload decodes into its typed value and encodes
//! again to the same bytes.

mod common;

use common::golden_frames;
use fc::wire::FcId;
use fc::wire::bls::{BaAcc, BaRjt};
use fc::wire::ct::{
    CtCommand, CtPreamble, GpnFtEntry, NameServerRequest, PortEntries, accepted, port_name_reply,
};
use fc::wire::els::{ElsCommand, ElsReply, ElsRequest};
use fc::wire::ethernet::{EtherType, EthernetHeader};
use fc::wire::fcoe::FcoeFrame;
use fc::wire::fip::FipFrame;
use fc::wire::header::{FcHeader, FcType, RCtl};
use std::collections::{BTreeMap, HashMap};
use zerocopy::IntoBytes;

/// Every FC frame outside of FCP, by FCoE or inside FIP: where it is, its header and its payload.
fn control_frames() -> Vec<(String, FcHeader, Vec<u8>)> {
    let mut frames = Vec::new();
    for (capture, number, bytes) in golden_frames() {
        let (ethernet, payload) = EthernetHeader::parse(&bytes).unwrap();
        let at = format!("{capture} frame {number}");
        match ethernet.ethertype {
            EtherType::FCOE => {
                let frame = FcoeFrame::parse(payload).unwrap();
                frames.push((at, *frame.header(), frame.payload().unwrap().to_vec()));
            }
            EtherType::FIP => {
                if let Ok(els) = FipFrame::parse(payload).unwrap().els() {
                    frames.push((at, els.header, els.payload.clone()));
                }
            }
            _ => {}
        }
    }
    frames.retain(|(_, header, _)| header.fc_type != FcType::FCP);
    frames
}

/// Who asked whom, by which exchange.
type Exchange = (FcId, FcId, u16);

/// Requests that may still be answered.
#[derive(Default)]
struct Open {
    els: HashMap<Exchange, ElsCommand>,
    ct: HashMap<Exchange, NameServerRequest>,
}

#[test]
fn every_payload_encodes_to_the_same_bytes() {
    let mut open = Open::default();
    let mut counts = BTreeMap::new();
    for (at, header, payload) in control_frames() {
        let (name, again) = decode(&at, &header, &payload, &mut open);
        assert_eq!(again, payload, "{at}: {name}");
        *counts.entry(name).or_insert(0) += 1;
    }
    let expected = [
        ("ABTS", 6),
        ("ADISC", 2),
        ("CT 0112", 1),
        ("CT 0172", 2),
        ("CT 0213", 2),
        ("CT 0217", 2),
        ("CT 0218", 2),
        ("CT 021f", 2),
        ("CT 0239", 2),
        ("CT accept", 13),
        ("FLOGI", 30),
        ("LOGO", 5),
        ("LS_ACC to ADISC", 2),
        ("LS_ACC to FLOGI", 10),
        ("LS_ACC to LOGO", 3),
        ("LS_ACC to PLOGI", 8),
        ("LS_ACC to PRLI", 12),
        ("LS_ACC to RSCN", 1),
        ("LS_ACC to RTV", 12),
        ("LS_ACC to SCR", 2),
        ("PLOGI", 8),
        ("PRLI", 12),
        ("RSCN", 1),
        ("RTV", 12),
        ("SCR", 2),
    ];
    assert_eq!(counts, BTreeMap::from(expected.map(|(name, count)| (name.to_string(), count))));
}

/// The frame's name, and its payload encoded from the typed value.
fn decode(at: &str, header: &FcHeader, payload: &[u8], open: &mut Open) -> (String, Vec<u8>) {
    let asked = (header.s_id, header.d_id, header.ox_id.get());
    // An FLOGI goes out from no address to the F_Port, and its answer to the new address.
    let flogi = (FcId::UNASSIGNED, FcId::F_PORT, header.ox_id.get());
    let answered = (header.d_id, header.s_id, header.ox_id.get());
    match (header.r_ctl, header.fc_type) {
        (RCtl::ELS_REQUEST, FcType::ELS) => {
            let request = ElsRequest::parse(payload).unwrap_or_else(|error| panic!("{at}: {error}"));
            assert!(!matches!(request, ElsRequest::Unknown { .. }), "{at}");
            open.els.insert(asked, request.command());
            (request.command().to_string(), request.to_payload())
        }
        (RCtl::ELS_REPLY, FcType::ELS) => {
            let request = *open.els.get(&answered).unwrap_or_else(|| &open.els[&flogi]);
            let reply = ElsReply::parse(request, payload).unwrap_or_else(|error| panic!("{at}: {error}"));
            (format!("LS_ACC to {request}"), reply.to_payload())
        }
        (RCtl::CT_REQUEST, FcType::CT) => {
            let request = NameServerRequest::parse(payload).unwrap_or_else(|error| panic!("{at}: {error}"));
            let again = request.to_payload();
            let name = format!("CT {:?}", request.command());
            open.ct.insert(asked, request);
            (name, again)
        }
        (RCtl::SOLICITED_CONTROL, FcType::CT) => {
            let body = accepted(payload).unwrap().unwrap_or_else(|reject| panic!("{at}: {reject}"));
            let preamble = CtPreamble::name_server(CtCommand::ACCEPT);
            let body = match &open.ct[&answered] {
                NameServerRequest::GpnFt(_) => {
                    let entries: Vec<_> = PortEntries::<GpnFtEntry>::new(body).map(Result::unwrap).collect();
                    entries.as_bytes().to_vec()
                }
                NameServerRequest::GpnId(_) => port_name_reply(body).unwrap().as_bytes().to_vec(),
                _ => Vec::new(),
            };
            ("CT accept".to_string(), [preamble.as_bytes(), &body].concat())
        }
        (RCtl::ABTS, FcType::BLS) => ("ABTS".to_string(), Vec::new()),
        (RCtl::BA_ACC, FcType::BLS) => {
            ("BA_ACC".to_string(), BaAcc::parse(payload).unwrap().as_bytes().to_vec())
        }
        (RCtl::BA_RJT, FcType::BLS) => {
            ("BA_RJT".to_string(), BaRjt::parse(payload).unwrap().as_bytes().to_vec())
        }
        other => panic!("{at}: {other:?}"),
    }
}
