use super::*;
use crate::wire::header::FcType;
use crate::wire::{FcId, WireError, Wwn};
use alloc::vec;
use alloc::vec::Vec;
use proptest::collection::vec as vec_of;
use proptest::prelude::*;
use zerocopy::IntoBytes;

fn any_request() -> impl Strategy<Value = NameServerRequest> {
    use NameServerRequest as R;
    let id = any::<[u8; 3]>().prop_map(FcId);
    let wwn = any::<u64>().prop_map(Wwn::from_u64);
    let fc_type = any::<u8>().prop_map(FcType);
    let scope = (any::<u8>(), any::<u8>(), fc_type.clone()).prop_map(|(domain, area, fc_type)| PortScope {
        domain,
        area,
        fc_type,
    });
    let name = vec_of(any::<u8>(), 0..=MAX_SYMBOLIC_NAME_LEN);
    prop_oneof![
        id.clone().prop_map(R::GpnId),
        id.clone().prop_map(R::GnnId),
        wwn.clone().prop_map(R::GidPn),
        scope.clone().prop_map(R::GidFt),
        scope.prop_map(R::GpnFt),
        (id.clone(), wwn.clone()).prop_map(|(id, name)| R::RpnId(id, name)),
        (id.clone(), wwn.clone()).prop_map(|(id, name)| R::RnnId(id, name)),
        (id.clone(), any::<[u8; 32]>()).prop_map(|(id, types)| R::RftId(id, types)),
        (id.clone(), name.clone()).prop_map(|(id, name)| R::RspnId(id, name)),
        (id, any::<u8>(), fc_type).prop_map(|(id, features, fc_type)| R::RffId { id, features, fc_type }),
        (wwn, name).prop_map(|(node, name)| R::RsnnNn(node, name)),
    ]
}

proptest! {
    #[test]
    fn requests_come_back(request in any_request()) {
        let iu = request.to_payload();
        prop_assert_eq!(NameServerRequest::parse(&iu).unwrap(), request);
        prop_assert!(NameServerRequest::parse(&iu[..iu.len() - 1]).is_err());
    }

    #[test]
    fn any_bytes_are_safe(command in 0usize..14, body in vec_of(any::<u8>(), 0..300)) {
        let commands = [
            CtCommand::GPN_ID, CtCommand::GNN_ID, CtCommand::GID_PN, CtCommand::GID_FT, CtCommand::GPN_FT,
            CtCommand::RPN_ID, CtCommand::RNN_ID, CtCommand::RFT_ID, CtCommand::RSPN_ID, CtCommand::RFF_ID,
            CtCommand::RSNN_NN, CtCommand::REJECT, CtCommand::ACCEPT, CtCommand::new(0x0123),
        ];
        let mut iu = Vec::from(CtPreamble::name_server(commands[command]).as_bytes());
        iu.extend_from_slice(&body);
        for iu in [&iu[..], &body[..]] {
            let _ = (NameServerRequest::parse(iu), accepted(iu));
        }
        let bound = body.len() / size_of::<GidFtEntry>() + 1;
        prop_assert!(PortEntries::<GidFtEntry>::new(&body).count() <= bound);
        prop_assert!(PortEntries::<GpnFtEntry>::new(&body).count() <= bound);
        let _ = port_name_reply(&body);
    }

    #[test]
    fn lists_end_at_their_last_entry(count in 1usize..40, behind in 0usize..40) {
        let entry = |i: usize| GpnFtEntry::new(FcId::from_u32(i as u32), Wwn::from_u64(i as u64), i + 1 == count);
        let entries: Vec<_> = (0..count).map(entry).collect();
        let mut body = Vec::from(entries.as_bytes());
        body.resize(body.len() + behind, 0xa5);
        let parsed: Result<Vec<_>, _> = PortEntries::<GpnFtEntry>::new(&body).collect();
        prop_assert_eq!(parsed.unwrap(), entries);
        let cut = &body[..size_of::<GpnFtEntry>() * count - 1];
        let parsed: Result<Vec<_>, _> = PortEntries::<GpnFtEntry>::new(cut).collect();
        let is_cut = matches!(parsed, Err(WireError::Missing { .. }));
        prop_assert!(is_cut);
    }
}

#[test]
fn a_reply_is_an_accept_or_a_reject() {
    let reject = CtReject { reason: CtReason::UNABLE, explanation: CtExplanation::PORT_NAME_NOT_REGISTERED };
    assert_eq!(accepted(CtPreamble::reject(reject).as_bytes()), Ok(Err(reject)));
    let iu = [CtPreamble::name_server(CtCommand::ACCEPT).as_bytes(), b"body"].concat();
    assert_eq!(accepted(&iu), Ok(Ok(&b"body"[..])));
    assert!(accepted(&NameServerRequest::GpnId(FcId::NAME_SERVER).to_payload()).is_err());
}

#[test]
fn symbolic_names_are_cut_at_their_bound() {
    let long = NameServerRequest::RspnId(FcId::UNASSIGNED, alloc::vec![b'x'; 300]);
    let NameServerRequest::RspnId(_, name) = NameServerRequest::parse(&long.to_payload()).unwrap() else {
        panic!("another request");
    };
    assert_eq!(name.len(), MAX_SYMBOLIC_NAME_LEN);
}
