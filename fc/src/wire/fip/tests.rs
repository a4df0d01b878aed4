use super::*;
use crate::wire::FcId;
use crate::wire::header::{FcHeader, FcType};
use alloc::boxed::Box;
use proptest::collection::vec as vec_of;
use proptest::prelude::*;
use zerocopy::FromBytes;

fn any_els() -> impl Strategy<Value = Els> {
    let kind =
        prop_oneof![Just(ElsKind::Flogi), Just(ElsKind::Fdisc), Just(ElsKind::Logo), Just(ElsKind::Elp)];
    (kind, any::<[u8; 24]>(), vec_of(any::<[u8; 4]>(), 1..=64)).prop_map(|(kind, header, words)| Els {
        kind,
        header: FcHeader::read_from_bytes(&header).unwrap(),
        payload: words.concat(),
    })
}

fn any_descriptor() -> impl Strategy<Value = Descriptor> {
    let mac = any::<[u8; 6]>().prop_map(MacAddr);
    let wwn = any::<u64>().prop_map(Wwn::from_u64);
    let map = any::<[u8; 3]>().prop_map(FcMap);
    prop_oneof![
        any::<u8>().prop_map(Descriptor::Priority),
        mac.clone().prop_map(Descriptor::Mac),
        map.clone().prop_map(Descriptor::FcMap),
        wwn.clone().prop_map(Descriptor::Name),
        (any::<u16>(), map, wwn.clone()).prop_map(|(vf_id, fc_map, name)| Descriptor::Fabric(Fabric {
            vf_id,
            fc_map,
            name
        })),
        any::<u16>().prop_map(Descriptor::MaxFcoeSize),
        any_els().prop_map(Descriptor::Els),
        (mac, any::<[u8; 3]>(), wwn).prop_map(|(mac, fc_id, port_name)| Descriptor::VxPort(VxPort {
            mac,
            fc_id: FcId(fc_id),
            port_name
        })),
        (any::<bool>(), any::<u32>()).prop_map(|(no_keep_alives, period_ms)| Descriptor::FkaAdvPeriod(
            FkaAdvPeriod { no_keep_alives, period_ms }
        )),
        any::<[u8; 8]>().prop_map(Descriptor::VendorId),
        (0u16..4096).prop_map(Descriptor::Vlan),
        (any::<[u8; 32]>(), vec_of(any::<u8>(), 128)).prop_map(|(types, features)| {
            let features = features.try_into().unwrap();
            Descriptor::Fc4Attributes(Box::new(Fc4Attributes { types, features }))
        }),
        (128u8..=255, 0usize..=254, any::<u8>()).prop_map(|(kind, words, byte)| Descriptor::NonCritical {
            kind: DescriptorType(kind),
            body: vec![byte; words * 4 + 2],
        }),
    ]
}

fn emitted(frame: &FipFrame) -> Vec<u8> {
    let mut buffer = vec![0xa5; frame.len() + 4];
    let len = frame.emit(&mut buffer);
    assert_eq!(len, frame.len());
    assert_eq!(buffer[len..], [0xa5; 4], "emit writes what it says");
    buffer.truncate(len);
    buffer
}

proptest! {
    #[test]
    fn descriptors_come_back(descriptor in any_descriptor()) {
        let mut buffer = vec![0xa5; descriptor.len() + 3];
        let len = descriptor.emit(&mut buffer);
        let (again, rest) = Descriptor::parse_first(&buffer).unwrap();
        prop_assert_eq!(again, descriptor);
        prop_assert_eq!(rest, [0xa5; 3]);
        prop_assert!(Descriptor::parse_first(&buffer[..len - 1]).is_err());
    }

    #[test]
    fn frames_come_back(
        descriptors in vec_of(any_descriptor(), 0..12),
        subcode in any::<u8>(),
        flags in any::<u16>(),
        padding_len in 0usize..64,
    ) {
        // A vendor's operation may repeat what others may not.
        let operation = Operation::new(Operation::FIRST_VENDOR_CODE, subcode);
        let frame = FipFrame { operation, flags: Flags(flags), descriptors, padding_len };
        prop_assert_eq!(FipFrame::parse(&emitted(&frame)).unwrap(), frame);
    }

    #[test]
    fn any_bytes_are_safe(
        mut bytes in vec_of(any::<u8>(), 0..300),
        words in 0u16..80,
        (code, subcode) in (1u16..6, 1u8..6),
    ) {
        let _ = FipFrame::parse(&bytes);
        // The same behind a header that passes.
        let operation = Operation::new(code, subcode);
        let mut header = emitted(&FipFrame::new(operation, Flags::NONE, Vec::new()));
        header[6..8].copy_from_slice(&words.to_be_bytes());
        bytes.splice(..0, header);
        if let Ok(frame) = FipFrame::parse(&bytes) {
            prop_assert_eq!(FipFrame::parse(&emitted(&frame)).unwrap(), frame);
        }
    }

    #[test]
    fn broken_frames_are_safe(
        descriptors in vec_of(any_descriptor(), 1..4),
        at in any::<prop::sample::Index>(),
        value in any::<u8>(),
    ) {
        let mut bytes = emitted(&FipFrame::new(Operation::new(0xfff8, 0), Flags::NONE, descriptors));
        *at.get_mut(&mut bytes) = value;
        if let Ok(frame) = FipFrame::parse(&bytes) {
            prop_assert_eq!(FipFrame::parse(&emitted(&frame)).unwrap(), frame);
        }
    }
}

const MAC: Descriptor = Descriptor::Mac(MacAddr([2, 0, 0, 0, 0, 1]));

fn parse_of(operation: Operation, descriptors: Vec<Descriptor>) -> Result<FipFrame, WireError> {
    FipFrame::parse(&emitted(&FipFrame::new(operation, Flags::NONE, descriptors)))
}

#[test]
fn only_some_descriptors_may_repeat() {
    let port = VxPort { mac: MacAddr::ZERO, fc_id: FcId([1, 1, 1]), port_name: Wwn::from_u64(1) };
    for (operation, descriptor) in [
        (Operation::LINK_SERVICE_REPLY, MAC),
        (Operation::CLEAR_VIRTUAL_LINKS, Descriptor::VxPort(port)),
        (Operation::VLAN_NOTIFICATION, Descriptor::Vlan(1)),
        (Operation::VN2VN_VLAN_NOTIFICATION, Descriptor::Vlan(1)),
    ] {
        let twice = vec![descriptor.clone(), descriptor.clone()];
        assert!(parse_of(operation, twice.clone()).is_ok(), "{operation:?}");
        let error = WireError::Duplicate { what: descriptor.kind().name() };
        assert_eq!(parse_of(Operation::SOLICITATION, twice), Err(error));
    }
    let reason = Descriptor::NonCritical { kind: DescriptorType::CLEAR_REASON, body: vec![0; 2] };
    assert!(parse_of(Operation::SOLICITATION, vec![reason.clone(), reason]).is_ok());
}

#[test]
fn lists_are_bounded() {
    let vlans = |count| parse_of(Operation::VLAN_NOTIFICATION, vec![Descriptor::Vlan(9); count]);
    assert_eq!(vlans(MAX_DESCRIPTORS).unwrap().vlans().count(), MAX_DESCRIPTORS);
    assert!(matches!(vlans(MAX_DESCRIPTORS + 1), Err(WireError::TooLong { .. })));
}

#[test]
fn wrong_lengths_and_unknown_critical_types_are_refused() {
    let good = emitted(&FipFrame::new(Operation::SOLICITATION, Flags::FPMA, vec![MAC]));
    let with = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        FipFrame::parse(&bytes)
    };
    assert!(FipFrame::parse(&good).is_ok());
    assert_eq!(with(0, 0x20), Err(WireError::BadValue { what: "FIP version", value: 2 }));
    assert!(matches!(with(7, 3), Err(WireError::Truncated { what: "FIP frame", need: 22, have: 18 })));
    assert!(
        matches!(with(7, 1), Err(WireError::Truncated { need: 8, have: 4, .. })),
        "cut by the list length"
    );
    assert_eq!(with(11, 0), Err(WireError::BadValue { what: "FIP descriptor length", value: 0 }));
    assert!(matches!(with(11, 1), Err(WireError::Truncated { need: 8, have: 4, .. })));
    assert!(matches!(with(10, 1), Err(WireError::TooLong { limit: 4, have: 8, .. })));
    for unknown in [0, 16, 127] {
        let what = "type of a critical FIP descriptor";
        assert_eq!(with(10, unknown), Err(WireError::BadValue { what, value: unknown.into() }));
    }
    assert!(with(10, 128).is_ok() && with(10, 255).is_ok());
    assert!(matches!(with(10, 7), Err(WireError::Truncated { need: 32, .. })), "an ELS needs its header");
}

#[test]
fn what_is_missing_has_a_name() {
    let empty = FipFrame::new(Operation::ADVERTISEMENT, Flags::NONE, Vec::new());
    assert_eq!(empty.mac(), Err(WireError::Missing { what: "FIP MAC address descriptor" }));
    assert_eq!(empty.priority(), Err(WireError::Missing { what: "FIP priority descriptor" }));
    assert_eq!(empty.fabric(), Err(WireError::Missing { what: "FIP fabric descriptor" }));
    assert!(empty.name().is_err() && empty.fka_adv_period().is_err() && empty.max_fcoe_size().is_err());
    assert!(empty.vx_port().is_err() && empty.els().is_err() && empty.fc4_attributes().is_err());
}

#[test]
fn short_frames_are_padded_to_ethernets_minimum() {
    let request = FipFrame::new(Operation::VLAN_REQUEST, Flags::NONE, vec![MAC]);
    let frame = request.to_ethernet(MacAddr::ALL_FCF, MacAddr([2, 0, 0, 0, 0, 1]), None);
    assert_eq!(frame.len(), MIN_FRAME_LEN);
    let (header, payload) = EthernetHeader::parse(&frame).unwrap();
    assert_eq!(header.ethertype, EtherType::FIP);
    let padding_len = MIN_FRAME_LEN - header.len() - request.len();
    assert_eq!(FipFrame::parse(payload).unwrap(), FipFrame { padding_len, ..request });
}

#[test]
fn fc4_attributes_are_laid_out_as_captures_show() {
    let attributes = Fc4Attributes::NONE.with(FcType::FCP, 3).with(FcType::CT, 0);
    assert_eq!(attributes.types[..8], [0, 0, 1, 0, 0, 0, 0, 1]);
    assert_eq!(attributes.features[..8], [0, 0, 0, 0, 0, 0, 0, 3]);
    assert!(attributes.has(FcType::FCP) && attributes.has(FcType::CT) && !attributes.has(FcType::NVME));
    assert_eq!(attributes.features_of(FcType::FCP), 3);
    for kind in 0..=255 {
        let one = Fc4Attributes::NONE.with(FcType(kind), 0x9);
        assert!(one.has(FcType(kind)) && one.features_of(FcType(kind)) == 9);
        assert_eq!(one.types.iter().map(|byte| byte.count_ones()).sum::<u32>(), 1);
    }
}
