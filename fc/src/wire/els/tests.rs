use super::*;
use crate::time::Duration;
use crate::wire::{FcId, Wwn};
use alloc::vec;
use proptest::collection::vec as vec_of;
use proptest::prelude::*;

const COMMANDS: [ElsCommand; 16] = [
    ElsCommand::LS_RJT,
    ElsCommand::LS_ACC,
    ElsCommand::PLOGI,
    ElsCommand::FLOGI,
    ElsCommand::LOGO,
    ElsCommand::RTV,
    ElsCommand::ECHO,
    ElsCommand::RRQ,
    ElsCommand::REC,
    ElsCommand::PRLI,
    ElsCommand::PRLO,
    ElsCommand::PDISC,
    ElsCommand::FDISC,
    ElsCommand::ADISC,
    ElsCommand::RSCN,
    ElsCommand::SCR,
];

fn any_fixed<T: FromBytes + core::fmt::Debug>() -> impl Strategy<Value = T> {
    vec_of(any::<u8>(), size_of::<T>()).prop_map(|bytes| T::read_from_bytes(&bytes).unwrap())
}

fn any_process() -> impl Strategy<Value = ProcessLogin> {
    vec_of(any_fixed::<ServicePage>(), 1..6).prop_map(|pages| ProcessLogin { pages })
}

fn any_request() -> impl Strategy<Value = ElsRequest> {
    use ElsRequest as R;
    prop_oneof![
        any_fixed().prop_map(R::Flogi),
        any_fixed().prop_map(R::Fdisc),
        any_fixed().prop_map(R::Plogi),
        any_fixed().prop_map(R::Pdisc),
        any_process().prop_map(R::Prli),
        any_process().prop_map(R::Prlo),
        any_fixed().prop_map(R::Logo),
        any_fixed().prop_map(R::Adisc),
        Just(R::Rtv),
        any_fixed().prop_map(R::Rec),
        any_fixed().prop_map(R::Rrq),
        any::<u8>().prop_map(|function| R::Scr(ScrFunction(function))),
        vec_of(any_fixed(), 1..40).prop_map(R::Rscn),
        vec_of(any::<u8>(), 0..200).prop_map(R::Echo),
        (any::<[u8; 3]>(), vec_of(any::<u8>(), 0..200)).prop_map(|(flags, body)| R::Unknown {
            command: ElsCommand(0xee),
            flags,
            body
        }),
    ]
}

fn any_reply() -> impl Strategy<Value = (ElsCommand, ElsReply)> {
    prop_oneof![
        any_fixed().prop_map(|login| (ElsCommand::PDISC, ElsReply::Login(login))),
        any_process().prop_map(|process| (ElsCommand::PRLO, ElsReply::Process(process))),
        any_fixed().prop_map(|adisc| (ElsCommand::ADISC, ElsReply::Adisc(adisc))),
        any_fixed().prop_map(|values| (ElsCommand::RTV, ElsReply::Rtv(values))),
        any_fixed().prop_map(|status| (ElsCommand::REC, ElsReply::Rec(status))),
        vec_of(any::<u8>(), 0..200).prop_map(|body| (ElsCommand::ECHO, ElsReply::Echo(body))),
        Just((ElsCommand::LOGO, ElsReply::Accept)),
        any_fixed().prop_map(|reject| (ElsCommand::SCR, ElsReply::Reject(reject))),
    ]
}

proptest! {
    #[test]
    fn requests_come_back(request in any_request()) {
        prop_assert_eq!(ElsRequest::parse(&request.to_payload()).unwrap(), request);
    }

    #[test]
    fn replies_come_back((command, reply) in any_reply()) {
        prop_assert_eq!(ElsReply::parse(command, &reply.to_payload()).unwrap(), reply);
    }

    #[test]
    fn any_bytes_are_safe(
        (command, reply) in (0usize..17, 1u8..3),
        mut bytes in vec_of(any::<u8>(), 0..160),
        whole in any::<bool>(),
    ) {
        let command = COMMANDS.get(command).copied().unwrap_or(ElsCommand(0xee));
        if whole && bytes.len() > 4 {
            // Page and payload lengths that pass.
            let len = u16::try_from(bytes.len()).unwrap().to_be_bytes();
            bytes[1] = if command == ElsCommand::RSCN { 4 } else { 16 };
            bytes[2..4].copy_from_slice(&len);
        }
        for code in [command.0, reply] {
            if let Some(first) = bytes.first_mut() {
                *first = code;
            }
            if let Ok(request) = ElsRequest::parse(&bytes) {
                prop_assert_eq!(ElsRequest::parse(&request.to_payload()).unwrap(), request);
            }
            if let Ok(reply) = ElsReply::parse(command, &bytes) {
                prop_assert_eq!(ElsReply::parse(command, &reply.to_payload()).unwrap(), reply);
            }
        }
    }
}

#[test]
fn logins_lie_as_the_standard_has_them() {
    let mut login = Login::n_port(
        Wwn::from_u64(0x1111_1111_1111_1111),
        Wwn::from_u64(0x2222_2222_2222_2222),
        2112,
        Duration::from_secs(2),
    );
    login.class_3.open_sequences = 7;
    let payload = ElsRequest::Plogi(login).to_payload();
    assert_eq!(payload.len(), 116);
    assert_eq!(payload[..8], [3, 0, 0, 0, 0x20, 0x20, 0, 10]);
    assert_eq!(payload[8..20], [0x80, 0, 0x08, 0x40, 0, 0xff, 0, 0x1f, 0, 0, 0x07, 0xd0]);
    assert_eq!((&payload[20..28], &payload[28..36]), (&[0x11; 8][..], &[0x22; 8][..]));
    assert_eq!((payload[68], payload[81]), (0x88, 7));
    assert_eq!(payload[74..78], [0x08, 0x40, 0, 0xff]);
}

#[test]
fn timeouts_know_their_resolution() {
    let mut common = CommonParameters { e_d_tov: 2000.into(), by_login: 10_000.into(), ..Default::default() };
    assert_eq!(common.e_d_tov(), Duration::from_secs(2));
    assert_eq!(common.r_a_tov(), Duration::from_secs(10));
    common.features = common_features::E_D_TOV_IN_NS.into();
    assert_eq!(common.e_d_tov(), Duration::from_nanos(2000));

    let mut values = TimeoutValues::new(Duration::from_secs(10), Duration::from_secs(2));
    assert_eq!((values.r_a_tov(), values.e_d_tov()), (Duration::from_secs(10), Duration::from_secs(2)));
    values.qualifier = TimeoutValues::E_D_TOV_IN_NS.into();
    assert_eq!(values.e_d_tov(), Duration::from_nanos(2000));
}

#[test]
fn the_smaller_receive_size_counts_and_zero_is_none() {
    let mut login = Login::n_port(Wwn::default(), Wwn::default(), 2048, Duration::from_secs(2));
    for (common, class_3, expected) in
        [(2048, 1024, 1024), (512, 2112, 512), (0, 1024, 1024), (2112, 0, 2112), (0xf840, 0, 2112), (0, 0, 0)]
    {
        login.common.receive_size = common.into();
        login.class_3.receive_size = class_3.into();
        assert_eq!(login.class_3_payload_len(), expected, "{common} {class_3}");
    }
}

#[test]
fn an_answered_page_keeps_its_flags() {
    let asked = ServicePage::fcp(fcp_parameters::INITIATOR | fcp_parameters::READ_XFER_RDY_DISABLED);
    let answered = asked.answered(SppResponse::EXECUTED);
    assert_eq!(answered.flags, 0x21);
    assert_eq!(answered.response(), SppResponse::EXECUTED);
    assert!(answered.has(fcp_parameters::INITIATOR) && !answered.has(fcp_parameters::TARGET));
    assert_eq!(ProcessLogin::from(asked).fcp(), Some(&asked));
}

#[test]
fn state_changes_say_how_much_of_the_address_counts() {
    let id = FcId::from_u32(0x01_0200);
    for format in [RscnFormat::Port, RscnFormat::Area, RscnFormat::Domain, RscnFormat::Fabric] {
        let page = RscnPage::new(format, id);
        assert_eq!(page.format(), format);
        assert_eq!(RscnPage { flags: page.flags | 0x3c, id }.format(), format);
        let covered = [0x01_0200, 0x01_0201, 0x01_0300, 0x02_0200].map(|id| page.covers(FcId::from_u32(id)));
        assert_eq!(covered.iter().filter(|&&covered| covered).count(), format as usize + 1, "{format:?}");
    }
}
