use super::*;

const A: Nexus = Nexus { initiator: Wwn::from_u64(0xa), port: 1 };
const B: Nexus = Nexus { initiator: Wwn::from_u64(0xb), port: 1 };
const C: Nexus = Nexus { initiator: Wwn::from_u64(0xc), port: 2 };
const CONFLICT: Result<Effects, Refusal> = Err(Refusal { status: Status::RESERVATION_CONFLICT, sense: None });

const REGISTER: u8 = 0;
const RESERVE: u8 = 1;
const RELEASE: u8 = 2;
const CLEAR: u8 = 3;
const PREEMPT: u8 = 4;
const PREEMPT_AND_ABORT: u8 = 5;
const IGNORE: u8 = 6;

fn out(
    on: &mut Reservations,
    nexus: Nexus,
    action: u8,
    kind: u8,
    keys: (u64, u64),
) -> Result<Effects, Refusal> {
    let mut cdb = [0; 16];
    (cdb[0], cdb[1], cdb[2]) = (0x5f, action, kind);
    let mut list = [0; PARAMETER_LEN];
    list[..8].copy_from_slice(&keys.0.to_be_bytes());
    list[8..16].copy_from_slice(&keys.1.to_be_bytes());
    on.out(nexus, &cdb, &list)
}

/// A, B and C are registered with 1, 2 and 3.
fn registered() -> Reservations {
    let mut unit = Reservations::default();
    for (nexus, key) in [(A, 1), (B, 2), (C, 3)] {
        assert_eq!(out(&mut unit, nexus, REGISTER, 0, (0, key)), Ok(Effects::default()));
    }
    unit
}

fn attentions(of: &[(Nexus, Attentions)]) -> Result<Effects, Refusal> {
    Ok(Effects { attentions: of.to_vec(), aborted: Vec::new() })
}

#[test]
fn who_may_do_what_under_which_type() {
    let stranger = Nexus { initiator: Wwn::from_u64(0xd), port: 1 };
    // Type; then for a registrant and a stranger: may read, may write.
    let table = [
        (1, [true, false], [true, false]),
        (3, [false, false], [false, false]),
        (5, [true, true], [true, false]),
        (6, [true, true], [false, false]),
        (7, [true, true], [true, false]),
        (8, [true, true], [false, false]),
    ];
    for (kind, registrant, other) in table {
        let mut unit = registered();
        out(&mut unit, A, RESERVE, kind, (1, 0)).unwrap();
        for (nexus, [read, write]) in [(A, [true, true]), (B, registrant), (stranger, other)] {
            assert_eq!(unit.allows(nexus, Access::Read), read, "type {kind} {nexus:?} reads");
            assert_eq!(unit.allows(nexus, Access::Write), write, "type {kind} {nexus:?} writes");
            assert!(unit.allows(nexus, Access::Unrestricted));
        }
    }
}

#[test]
fn registrations_need_the_right_key() {
    let mut unit = registered();
    assert_eq!(out(&mut unit, A, REGISTER, 0, (9, 5)), CONFLICT);
    assert_eq!(out(&mut unit, A, REGISTER, 0, (1, 5)), Ok(Effects::default()));
    assert_eq!(out(&mut unit, A, IGNORE, 0, (77, 6)), Ok(Effects::default()));
    assert_eq!(unit.key_of(A), Some(6));
    let keys = unit.parameter_data(0).unwrap();
    assert_eq!(keys[..8], [0, 0, 0, 5, 0, 0, 0, 24]);
    assert_eq!(keys[8..16], 6u64.to_be_bytes());
    assert_eq!(out(&mut unit, B, RESERVE, 1, (9, 0)), CONFLICT, "a wrong key reserves nothing");
    let stranger = Nexus { initiator: Wwn::from_u64(0xd), port: 1 };
    assert_eq!(out(&mut unit, stranger, RESERVE, 1, (0, 0)), CONFLICT);
    assert_eq!(out(&mut unit, stranger, REGISTER, 0, (0, 0)), Ok(Effects::default()));
    assert_eq!(unit.generation, 5, "registering nothing is no change");
}

#[test]
fn a_reservation_is_taken_and_released() {
    let mut unit = registered();
    assert!(out(&mut unit, A, RESERVE, 5, (1, 0)).is_ok());
    assert!(out(&mut unit, A, RESERVE, 5, (1, 0)).is_ok(), "the same again is no error");
    assert_eq!(out(&mut unit, A, RESERVE, 1, (1, 0)), CONFLICT);
    assert_eq!(out(&mut unit, B, RESERVE, 5, (2, 0)), CONFLICT);
    let data = unit.parameter_data(1).unwrap();
    assert_eq!(data[..8], [0, 0, 0, 3, 0, 0, 0, 16]);
    assert_eq!(data[8..24], [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 5, 0, 0]);

    assert_eq!(out(&mut unit, B, RELEASE, 5, (2, 0)), Ok(Effects::default()), "not the holder: nothing");
    let mismatch = out(&mut unit, A, RELEASE, 6, (1, 0)).unwrap_err().sense.unwrap();
    assert_eq!(mismatch.additional, AdditionalSense::INVALID_RELEASE);
    let told = [(B, Attentions::RESERVATIONS_RELEASED), (C, Attentions::RESERVATIONS_RELEASED)];
    assert_eq!(out(&mut unit, A, RELEASE, 5, (1, 0)), attentions(&told));
    assert!(unit.allows(B, Access::Write));
}

#[test]
fn a_holder_that_unregisters_lets_go() {
    let mut unit = registered();
    out(&mut unit, A, RESERVE, 6, (1, 0)).unwrap();
    let effects = out(&mut unit, A, REGISTER, 0, (1, 0)).unwrap();
    assert_eq!(effects.attentions.len(), 2);
    assert!(unit.holder.is_none());

    let mut unit = registered();
    out(&mut unit, A, RESERVE, 8, (1, 0)).unwrap();
    out(&mut unit, A, REGISTER, 0, (1, 0)).unwrap();
    assert!(!unit.allows(A, Access::Read), "the others hold it now");
    assert!(unit.allows(B, Access::Write));
    out(&mut unit, B, REGISTER, 0, (2, 0)).unwrap();
    out(&mut unit, C, REGISTER, 0, (3, 0)).unwrap();
    assert!(unit.holder.is_none());
}

#[test]
fn clear_and_preempt_tell_who_lost() {
    let mut unit = registered();
    out(&mut unit, A, RESERVE, 1, (1, 0)).unwrap();
    let effects = out(&mut unit, B, PREEMPT, 3, (2, 1));
    assert_eq!(
        effects,
        attentions(&[
            (A, Attentions::REGISTRATIONS_PREEMPTED),
            // The type changed under C's feet.
            (C, Attentions::RESERVATIONS_RELEASED),
        ])
    );
    assert!(unit.allows(B, Access::Write) && !unit.allows(A, Access::Read));
    assert_eq!(out(&mut unit, A, RELEASE, 3, (1, 0)), CONFLICT, "A is not registered any more");
    assert_eq!(out(&mut unit, B, PREEMPT, 3, (2, 99)), CONFLICT, "nobody has this key");
    assert!(out(&mut unit, B, PREEMPT, 3, (2, 0)).unwrap_err().sense.is_some());

    let effects = out(&mut unit, B, PREEMPT_AND_ABORT, 3, (2, 3)).unwrap();
    assert_eq!(effects.aborted, [C]);
    assert_eq!(effects.attentions, [(C, Attentions::REGISTRATIONS_PREEMPTED)]);
    assert!(unit.is_holder(B), "a preempted registrant does not touch the reservation");

    let mut unit = registered();
    out(&mut unit, A, RESERVE, 1, (1, 0)).unwrap();
    let effects = out(&mut unit, B, CLEAR, 0, (2, 0)).unwrap();
    assert_eq!(effects.attentions.len(), 2);
    assert!(unit.registrations.is_empty() && unit.holder.is_none());
}

#[test]
fn all_registrants_are_preempted_by_a_key_of_zero() {
    let mut unit = registered();
    out(&mut unit, A, RESERVE, 7, (1, 0)).unwrap();
    assert_eq!(unit.parameter_data(1).unwrap()[8..16], [0; 8], "no single key holds it");
    let effects = out(&mut unit, C, PREEMPT, 7, (3, 1)).unwrap();
    assert_eq!(effects.attentions, [(A, Attentions::REGISTRATIONS_PREEMPTED)]);
    assert!(unit.is_holder(B) && unit.is_holder(C) && !unit.is_holder(A));
    let effects = out(&mut unit, C, PREEMPT, 1, (3, 0)).unwrap();
    assert_eq!(effects.attentions, [(B, Attentions::REGISTRATIONS_PREEMPTED)]);
    assert_eq!(unit.holder.map(|holder| holder.kind), Some(Type::WriteExclusive));
}

#[test]
fn malformed_requests_are_refused_with_a_pointer() {
    let mut unit = registered();
    let refused = |result: Result<Effects, Refusal>| result.unwrap_err().sense.unwrap();
    assert_eq!(refused(out(&mut unit, A, 7, 0, (1, 0))).field_pointer(), Some((true, 1)));
    assert_eq!(refused(out(&mut unit, A, RESERVE, 2, (1, 0))).field_pointer(), Some((true, 2)));
    assert_eq!(refused(out(&mut unit, A, RESERVE, 0x11, (1, 0))).field_pointer(), Some((true, 2)));
    let mut list = [0; PARAMETER_LEN];
    list[20] = 1;
    assert_eq!(refused(unit.out(A, &[0x5f; 16].map(|_| 0), &list)).field_pointer(), Some((false, 20)));
    let short = refused(unit.out(A, &[0; 16], &list[1..]));
    assert_eq!(short.additional, AdditionalSense::PARAMETER_LIST_LENGTH_ERROR);
    assert!(unit.parameter_data(4).is_err());
}

#[test]
fn full_status_names_everyone() {
    let mut unit = registered();
    out(&mut unit, B, RESERVE, 1, (2, 0)).unwrap();
    let data = unit.parameter_data(3).unwrap();
    let entries: Vec<_> = data[8..].chunks(48).collect();
    assert_eq!(entries.len(), 3);
    assert_eq!(entries[1][..8], 2u64.to_be_bytes());
    assert_eq!(entries[1][12..14], [1, 1]);
    assert_eq!(entries[0][12..14], [0, 0]);
    assert_eq!(entries[2][18..20], [0, 2], "C came by port 2");
    assert_eq!(entries[2][24..32], [0; 8]);
    assert_eq!(entries[2][32..40], C.initiator.0);
}

#[test]
fn the_table_is_bounded() {
    let mut unit = Reservations::default();
    for number in 0..MAX_REGISTRATIONS as u64 {
        let nexus = Nexus { initiator: Wwn::from_u64(number), port: 1 };
        out(&mut unit, nexus, REGISTER, 0, (0, 1)).unwrap();
    }
    let refused = out(&mut unit, Nexus { port: 9, ..A }, REGISTER, 0, (0, 1)).unwrap_err().sense.unwrap();
    assert_eq!(refused.additional, AdditionalSense::INSUFFICIENT_REGISTRATION_RESOURCES);
}
