//! Every FIP operation.

use crate::frames::{ENODE_MAC, FCF_MAC, INITIATOR, NODE_NAME, PORT_NAME, VLAN};
use crate::{Case, Expected};
use fc::wire::els::{ElsReply, ElsRequest, Explanation, Login, Logo, LsRjt, Reason};
use fc::wire::fcoe;
use fc::wire::fip::{
    Descriptor, Els, ElsKind, Fabric, Fc4Attributes, FcMap, FipFrame, FkaAdvPeriod, Flags, MAX_FCOE_SIZE,
    Operation, VxPort,
};
use fc::wire::header::{FCtl, FcHeader, FcType, RCtl, UNASSIGNED_XID};
use fc::wire::{FcId, MacAddr, Wwn};

const SWITCH_NAME: Wwn = Wwn([0x10, 0, 2, 0xfc, 0, 0, 0, 0xff]);
const FABRIC_MAC: MacAddr = MacAddr::fabric_provided(fcoe::DEFAULT_FC_MAP, INITIATOR);

pub(crate) fn cases() -> Vec<Case> {
    [vlan_discovery(), discovery(), link_services(), control(), vn2vn()].into_iter().flatten().collect()
}

/// An untagged frame for VLAN and VN2VN discovery, a tagged one else.
fn case(
    name: &str,
    operation: Operation,
    flags: Flags,
    descriptors: Vec<Descriptor>,
    fields: Expected,
) -> Case {
    let from_fcf = flags.has(Flags::F_PORT);
    let (destination, source) = if from_fcf { (ENODE_MAC, FCF_MAC) } else { (FCF_MAC, ENODE_MAC) };
    let vlan = (operation.code < Operation::VLAN_REQUEST.code).then_some(VLAN);
    Case::new(
        name,
        FipFrame::new(operation, flags, descriptors).to_ethernet(destination, source, vlan),
        fields,
    )
}

fn vlan_discovery() -> Vec<Case> {
    let mac = Descriptor::Mac(ENODE_MAC);
    let fcf_mac = Descriptor::Mac(FCF_MAC);
    vec![
        case(
            "FIP: VLAN Request",
            Operation::VLAN_REQUEST,
            Flags::NONE,
            vec![mac, Descriptor::Name(NODE_NAME)],
            &[
                ("fip.vlan_subcode", "0x01"),
                ("fip.mac", "02:fc:00:00:00:01"),
                ("fip.name", "10:00:02:fc:00:00:00:01"),
            ],
        ),
        case(
            "FIP: VLAN Response",
            Operation::VLAN_NOTIFICATION,
            Flags::F_PORT,
            vec![fcf_mac.clone(), Descriptor::Vlan(100), Descriptor::Vlan(200)],
            &[("fip.vlan", "100"), ("fip.vlan", "200")],
        ),
        case(
            "FIP: VLAN 0x3",
            Operation::VN2VN_VLAN_NOTIFICATION,
            Flags::NONE,
            vec![fcf_mac, Descriptor::Vlan(100)],
            &[("fip.vlan", "100")],
        ),
    ]
}

fn discovery() -> Vec<Case> {
    let fabric = Fabric { vf_id: 0, fc_map: FcMap::DEFAULT, name: SWITCH_NAME };
    let period = FkaAdvPeriod { no_keep_alives: false, period_ms: FkaAdvPeriod::DEFAULT_MS };
    vec![
        case(
            "FIP: Solicitation",
            Operation::SOLICITATION,
            Flags::FPMA,
            vec![
                Descriptor::Mac(ENODE_MAC),
                Descriptor::Name(NODE_NAME),
                Descriptor::MaxFcoeSize(MAX_FCOE_SIZE),
            ],
            &[
                ("fip.disc_subcode", "0x01"),
                ("fip.flags.fpma", "1"),
                ("fip.fcoe_size", "2158"),
                ("vlan.id", "100"),
            ],
        ),
        case(
            "FIP: Advertisement",
            Operation::ADVERTISEMENT,
            Flags::FPMA.with(Flags::AVAILABLE).with(Flags::SOLICITED).with(Flags::F_PORT),
            vec![
                Descriptor::Priority(128),
                Descriptor::Mac(FCF_MAC),
                Descriptor::Name(SWITCH_NAME),
                Descriptor::Fabric(fabric),
                Descriptor::FkaAdvPeriod(period),
            ],
            &[
                ("fip.flags.sol", "1"),
                ("fip.flags.available", "1"),
                ("fip.pri", "128"),
                ("fip.fab.map", "0e.fc.00"),
                ("fip.fab.name", "10:00:02:fc:00:00:00:ff"),
                ("fip.fka", "8000"),
            ],
        ),
    ]
}

/// Logins and logouts by FIP: an ELS without FCoE's delimiters.
fn link_services() -> Vec<Case> {
    let login = Login::fabric(PORT_NAME, NODE_NAME, 2112);
    let granted = ElsReply::Login(Login::fabric(SWITCH_NAME, SWITCH_NAME, 2112));
    let reject = ElsReply::from(LsRjt::new(Reason::UNABLE, Explanation::NO_RESOURCES));
    let logo = ElsRequest::Logo(Logo::new(INITIATOR, PORT_NAME));
    let none = FcId::UNASSIGNED;
    // tshark looks for the FDISC by the N_Port_ID that its LS_ACC has only just given.
    let unread = Case {
        known_gap: Some("No record of Exchange. Unable to decode ACC"),
        ..answers("FC ELS: ELS", ElsKind::Fdisc, INITIATOR, &granted)
    };
    vec![
        asks("FC ELS: FLOGI", ElsKind::Flogi, none, &ElsRequest::Flogi(login), MacAddr::ZERO),
        answers("FC ELS: ACC (FLOGI)", ElsKind::Flogi, INITIATOR, &granted),
        asks("FC ELS: FDISC", ElsKind::Fdisc, none, &ElsRequest::Fdisc(login), MacAddr::ZERO),
        unread,
        asks("FC ELS: FDISC", ElsKind::Fdisc, none, &ElsRequest::Fdisc(login), MacAddr::ZERO),
        answers("FC ELS: LS_RJT (FDISC)", ElsKind::Fdisc, none, &reject),
        asks("FC ELS: LOGO", ElsKind::Logo, INITIATOR, &logo, FABRIC_MAC),
        answers("FC ELS: ACC (LOGO)", ElsKind::Logo, INITIATOR, &ElsReply::Accept),
    ]
}

fn asks(name: &str, kind: ElsKind, s_id: FcId, request: &ElsRequest, mac: MacAddr) -> Case {
    let descriptors = vec![els(kind, s_id, false, request.to_payload()), Descriptor::Mac(mac)];
    case(name, Operation::LINK_SERVICE_REQUEST, Flags::FPMA, descriptors, &[("fip.ls.subcode", "0x01")])
}

fn answers(name: &str, kind: ElsKind, d_id: FcId, reply: &ElsReply) -> Case {
    let mut descriptors = vec![els(kind, d_id, true, reply.to_payload())];
    if !matches!(reply, ElsReply::Reject(_)) {
        descriptors.push(Descriptor::Mac(FABRIC_MAC));
    }
    let flags = Flags::FPMA.with(Flags::F_PORT);
    case(name, Operation::LINK_SERVICE_REPLY, flags, descriptors, &[("fip.ls.subcode", "0x02")])
}

/// An ELS between a port (its ID as S_ID of the request, D_ID of the reply) and the fabric.
fn els(kind: ElsKind, port: FcId, is_reply: bool, payload: Vec<u8>) -> Descriptor {
    let (d_id, s_id) = if is_reply { (port, FcId::F_PORT) } else { (FcId::F_PORT, port) };
    let header = FcHeader {
        r_ctl: if is_reply { RCtl::ELS_REPLY } else { RCtl::ELS_REQUEST },
        d_id,
        cs_ctl: 0,
        s_id,
        fc_type: FcType::ELS,
        f_ctl: if is_reply { FCtl::REPLY } else { FCtl::REQUEST },
        seq_id: 0,
        df_ctl: 0,
        seq_cnt: 0.into(),
        ox_id: (0x0f00 + u16::from(kind.descriptor_type().0)).into(),
        rx_id: UNASSIGNED_XID.into(),
        parameter: 0.into(),
    };
    Descriptor::Els(Els { kind, header, payload })
}

fn control() -> Vec<Case> {
    let vn_port = VxPort { mac: FABRIC_MAC, fc_id: INITIATOR, port_name: PORT_NAME };
    let vn_port_fields = &[
        ("fip.vn.mac", "0e:fc:00:01:01:01"),
        ("fip.vn.fc_id", "0x00010101"),
        ("fip.vn.pwwn", "20:00:02:fc:00:00:00:01"),
    ];
    vec![
        case(
            "FIP: Keep-Alive",
            Operation::KEEP_ALIVE,
            Flags::NONE,
            vec![Descriptor::Mac(ENODE_MAC)],
            &[("fip.mac", "02:fc:00:00:00:01")],
        ),
        case(
            "FIP: Keep-Alive",
            Operation::KEEP_ALIVE,
            Flags::NONE,
            vec![Descriptor::Mac(ENODE_MAC), Descriptor::VxPort(vn_port)],
            vn_port_fields,
        ),
        case(
            "FIP: Clear Virtual Link",
            Operation::CLEAR_VIRTUAL_LINKS,
            Flags::F_PORT,
            vec![Descriptor::Mac(FCF_MAC), Descriptor::Name(SWITCH_NAME), Descriptor::VxPort(vn_port)],
            vn_port_fields,
        ),
    ]
}

fn vn2vn() -> Vec<Case> {
    let vn_port = VxPort {
        mac: MacAddr::fabric_provided(fcoe::VN2VN_FC_MAP, FcId([0, 2, 1])),
        fc_id: FcId([0, 2, 1]),
        port_name: PORT_NAME,
    };
    let short = vec![Descriptor::Mac(ENODE_MAC), Descriptor::Name(NODE_NAME), Descriptor::VxPort(vn_port)];
    let mut long = short.clone();
    let attributes = Fc4Attributes::NONE.with(FcType::FCP, 3);
    long.extend([Descriptor::Fc4Attributes(Box::new(attributes)), Descriptor::MaxFcoeSize(MAX_FCOE_SIZE)]);
    let vn2vn = |name, operation, descriptors: &Vec<Descriptor>, fields| {
        case(name, operation, Flags::RECORDED, descriptors.clone(), fields)
    };
    let short_fields = &[("fip.vn.fc_id", "0x00000201"), ("fip.flags.rec_p2p", "1")];
    let long_fields = &[
        ("fip.vn.fc_id", "0x00000201"),
        ("fip.fc4f.fcp", "1"),
        ("fip.fc4f.feat.fcp.target", "1"),
        ("fip.fcoe_size", "2158"),
    ];
    vec![
        vn2vn("FIP: Probe Request", Operation::PROBE_REQUEST, &short, short_fields),
        vn2vn("FIP: Probe Reply", Operation::PROBE_REPLY, &short, short_fields),
        vn2vn("FIP: Claim Notification", Operation::CLAIM_NOTIFICATION, &long, long_fields),
        vn2vn("FIP: Claim Response", Operation::CLAIM_RESPONSE, &long, long_fields),
        vn2vn("FIP: Beacon", Operation::BEACON, &short, short_fields),
    ]
}
