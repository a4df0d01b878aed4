//! Persistent reservations (SPC-4, 5.13): who registered with which key, and who holds the unit.
//!
//! ```text
//!                 REGISTER                      RESERVE
//!  unregistered ------------> registered (key) ---------> holder (scope LU, type)
//!       ^                      |         ^                  |
//!       |  REGISTER key 0,     |         |    RELEASE       |
//!       +-- CLEAR, PREEMPT ----+         +------------------+
//! ```
//!
//! With the types "all registrants" everyone registered is a holder. Nothing survives the SAN's end: APTPL is
//! refused.

use super::attention::Attentions;
use super::{Refusal, invalid_field, invalid_parameter};
use fc::wire::Wwn;
use fc::wire::scsi::{AdditionalSense, Sense, SenseKey, Status};

/// The most registrations at one unit: READ FULL STATUS of as many is 24 KiB.
pub(crate) const MAX_REGISTRATIONS: usize = 512;
/// Bytes of PERSISTENT RESERVE OUT's basic parameter list.
pub(super) const PARAMETER_LEN: usize = 24;

/// An I_T nexus as reservations know it: it outlives logins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Nexus {
    /// The initiator port's name.
    pub(crate) initiator: Wwn,
    /// The target port, by its relative identifier.
    pub(crate) port: u16,
}

/// A reservation's type (SPC-4, 6.15.3.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Type {
    WriteExclusive = 1,
    ExclusiveAccess = 3,
    WriteExclusiveRegistrantsOnly = 5,
    ExclusiveAccessRegistrantsOnly = 6,
    WriteExclusiveAllRegistrants = 7,
    ExclusiveAccessAllRegistrants = 8,
}

impl Type {
    fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::WriteExclusive,
            3 => Self::ExclusiveAccess,
            5 => Self::WriteExclusiveRegistrantsOnly,
            6 => Self::ExclusiveAccessRegistrantsOnly,
            7 => Self::WriteExclusiveAllRegistrants,
            8 => Self::ExclusiveAccessAllRegistrants,
            _ => return None,
        })
    }

    const fn excludes_reads(self) -> bool {
        match self {
            Self::WriteExclusive
            | Self::WriteExclusiveRegistrantsOnly
            | Self::WriteExclusiveAllRegistrants => false,
            Self::ExclusiveAccess
            | Self::ExclusiveAccessRegistrantsOnly
            | Self::ExclusiveAccessAllRegistrants => true,
        }
    }

    const fn is_all_registrants(self) -> bool {
        matches!(self, Self::WriteExclusiveAllRegistrants | Self::ExclusiveAccessAllRegistrants)
    }

    const fn admits_registrants(self) -> bool {
        !matches!(self, Self::WriteExclusive | Self::ExclusiveAccess)
    }
}

/// What a command does to the unit, as far as reservations care (SPC-4, table 66; SBC-3, table 13).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Access {
    /// Allowed to everyone.
    Unrestricted,
    /// Looks at data or settings.
    Read,
    /// Changes data or settings.
    Write,
}

#[derive(Clone, Copy, Debug)]
struct Registration {
    nexus: Nexus,
    key: u64,
}

#[derive(Clone, Copy, Debug)]
struct Holder {
    nexus: Nexus,
    kind: Type,
}

/// The service actions of PERSISTENT RESERVE OUT that are supported.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Action {
    Register,
    Reserve,
    Release,
    Clear,
    Preempt { aborts: bool },
    RegisterAndIgnore,
}

/// What a PERSISTENT RESERVE OUT does to others.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Effects {
    /// Unit attentions to establish.
    pub(crate) attentions: Vec<(Nexus, Attentions)>,
    /// Nexuses whose commands are aborted.
    pub(crate) aborted: Vec<Nexus>,
}

/// A unit's registrations and its reservation.
#[derive(Debug, Default)]
pub(crate) struct Reservations {
    generation: u32,
    registrations: Vec<Registration>,
    holder: Option<Holder>,
}

impl Reservations {
    /// Whether `nexus` may do this now.
    pub(crate) fn allows(&self, nexus: Nexus, access: Access) -> bool {
        let Some(holder) = self.holder else { return true };
        match access {
            Access::Unrestricted => return true,
            Access::Read if !holder.kind.excludes_reads() => return true,
            Access::Read | Access::Write => {}
        }
        holder.nexus == nexus || holder.kind.admits_registrants() && self.key_of(nexus).is_some()
    }

    /// PERSISTENT RESERVE OUT (SPC-4, 6.16).
    ///
    /// # Errors
    /// With nothing changed.
    pub(super) fn out(&mut self, nexus: Nexus, cdb: &[u8; 16], list: &[u8]) -> Result<Effects, Refusal> {
        let action = match cdb[1] & 0x1f {
            0 => Action::Register,
            1 => Action::Reserve,
            2 => Action::Release,
            3 => Action::Clear,
            4 => Action::Preempt { aborts: false },
            5 => Action::Preempt { aborts: true },
            6 => Action::RegisterAndIgnore,
            _ => return Err(invalid_field(1)),
        };
        let Ok(list) = <&[u8; PARAMETER_LEN]>::try_from(list) else {
            let error = AdditionalSense::PARAMETER_LIST_LENGTH_ERROR;
            return Err(Sense::new(SenseKey::ILLEGAL_REQUEST, error).into());
        };
        let number = |at: usize| u64::from_be_bytes(std::array::from_fn(|i| list[at + i]));
        let (key, action_key) = (number(0), number(8));
        // SPEC_I_PT, ALL_TG_PT and APTPL: REPORT CAPABILITIES says that there are none.
        if list[20] & 0x0d != 0 {
            return Err(invalid_parameter(20));
        }
        if !matches!(action, Action::RegisterAndIgnore | Action::Register)
            && self.key_of(nexus).is_none_or(|own| own != key)
        {
            return Err(Status::RESERVATION_CONFLICT.into());
        }
        let kind = || {
            let kind = if cdb[2] >> 4 == 0 { Type::from_code(cdb[2] & 0xf) } else { None };
            kind.ok_or(invalid_field(2))
        };
        match action {
            Action::Register => {
                if self.key_of(nexus).unwrap_or(0) == key {
                    self.register(nexus, action_key)
                } else {
                    Err(Status::RESERVATION_CONFLICT.into())
                }
            }
            Action::RegisterAndIgnore => self.register(nexus, action_key),
            Action::Reserve => self.reserve(nexus, kind()?).map(|()| Effects::default()),
            Action::Release => self.release(nexus, kind()?),
            Action::Clear => Ok(self.clear(nexus)),
            Action::Preempt { aborts } => self.preempt(nexus, action_key, kind()?, aborts),
        }
    }

    /// PERSISTENT RESERVE IN (SPC-4, 6.15): the parameter data, whole.
    pub(super) fn parameter_data(&self, service_action: u8) -> Result<Vec<u8>, Refusal> {
        let mut data = self.generation.to_be_bytes().to_vec();
        let mut body = Vec::new();
        match service_action {
            0 => self.registrations.iter().for_each(|entry| body.extend(entry.key.to_be_bytes())),
            1 => {
                if let Some(holder) = self.holder {
                    // With "all registrants" the key is 0: no single one holds it.
                    let key = if holder.kind.is_all_registrants() { None } else { self.key_of(holder.nexus) };
                    body.extend(key.unwrap_or(0).to_be_bytes());
                    body.extend([0, 0, 0, 0, 0, holder.kind as u8, 0, 0]);
                }
            }
            // REPORT CAPABILITIES has its own layout: TMV set, and the mask of the six types.
            2 => return Ok(vec![0, 8, 0, 0x80, 0xea, 0x01, 0, 0]),
            3 => self.registrations.iter().for_each(|entry| self.full_status(*entry, &mut body)),
            _ => return Err(invalid_field(1)),
        }
        data.extend((body.len() as u32).to_be_bytes());
        data.extend(body);
        Ok(data)
    }

    /// A full status descriptor with an FC TransportID.
    fn full_status(&self, entry: Registration, body: &mut Vec<u8>) {
        const TRANSPORT_ID_LEN: u32 = 24;
        let holder = self.holder.filter(|_| self.is_holder(entry.nexus));
        body.extend(entry.key.to_be_bytes());
        body.extend([0, 0, 0, 0]);
        body.extend(holder.map_or([0, 0], |holder| [1, holder.kind as u8]));
        body.extend([0, 0, 0, 0]);
        body.extend(entry.nexus.port.to_be_bytes());
        body.extend(TRANSPORT_ID_LEN.to_be_bytes());
        body.extend([0; 8]);
        body.extend(entry.nexus.initiator.0);
        body.extend([0; 8]);
    }

    fn key_of(&self, nexus: Nexus) -> Option<u64> {
        self.registrations.iter().find(|entry| entry.nexus == nexus).map(|entry| entry.key)
    }

    fn is_holder(&self, nexus: Nexus) -> bool {
        self.holder.is_some_and(|holder| {
            holder.nexus == nexus || holder.kind.is_all_registrants() && self.key_of(nexus).is_some()
        })
    }

    fn register(&mut self, nexus: Nexus, key: u64) -> Result<Effects, Refusal> {
        let at = self.registrations.iter().position(|entry| entry.nexus == nexus);
        let mut effects = Effects::default();
        match at {
            None if key == 0 => return Ok(effects),
            Some(at) if key == 0 => {
                let was_holder = self.is_holder(nexus);
                self.registrations.swap_remove(at);
                if was_holder {
                    effects = self.leave(nexus);
                }
            }
            Some(at) => self.registrations[at].key = key,
            None if self.registrations.len() == MAX_REGISTRATIONS => {
                let full = AdditionalSense::INSUFFICIENT_REGISTRATION_RESOURCES;
                return Err(Sense::new(SenseKey::ILLEGAL_REQUEST, full).into());
            }
            None => self.registrations.push(Registration { nexus, key }),
        }
        self.generation = self.generation.wrapping_add(1);
        Ok(effects)
    }

    /// A holder has unregistered.
    fn leave(&mut self, nexus: Nexus) -> Effects {
        let holder = self.holder.expect("the caller asked");
        if holder.kind.is_all_registrants() {
            match self.registrations.first() {
                // Somebody must stand for all of them.
                Some(other) => self.holder = Some(Holder { nexus: other.nexus, ..holder }),
                None => self.holder = None,
            }
            return Effects::default();
        }
        self.holder = None;
        if holder.kind.admits_registrants() {
            self.tell_others(nexus, Attentions::RESERVATIONS_RELEASED)
        } else {
            Effects::default()
        }
    }

    fn reserve(&mut self, nexus: Nexus, kind: Type) -> Result<(), Refusal> {
        match self.holder {
            None => self.holder = Some(Holder { nexus, kind }),
            Some(holder) if self.is_holder(nexus) && holder.kind == kind => {}
            Some(_) => return Err(Status::RESERVATION_CONFLICT.into()),
        }
        Ok(())
    }

    fn release(&mut self, nexus: Nexus, kind: Type) -> Result<Effects, Refusal> {
        // Who doesn't hold it has nothing to release, which is no error (SPC-4, 5.13.11.2.3).
        let Some(holder) = self.holder.filter(|_| self.is_holder(nexus)) else {
            return Ok(Effects::default());
        };
        if holder.kind != kind {
            return Err(Sense::new(SenseKey::ILLEGAL_REQUEST, AdditionalSense::INVALID_RELEASE).into());
        }
        self.holder = None;
        if kind.admits_registrants() {
            Ok(self.tell_others(nexus, Attentions::RESERVATIONS_RELEASED))
        } else {
            Ok(Effects::default())
        }
    }

    fn clear(&mut self, nexus: Nexus) -> Effects {
        let effects = self.tell_others(nexus, Attentions::RESERVATIONS_PREEMPTED);
        self.registrations.clear();
        self.holder = None;
        self.generation = self.generation.wrapping_add(1);
        effects
    }

    /// PREEMPT and PREEMPT AND ABORT (SPC-4, 5.13.11.2.4).
    fn preempt(&mut self, nexus: Nexus, victim: u64, kind: Type, aborts: bool) -> Result<Effects, Refusal> {
        let holder_key = self.holder.and_then(|holder| self.key_of(holder.nexus));
        let all_registrants = self.holder.is_some_and(|holder| holder.kind.is_all_registrants());
        if victim == 0 && !all_registrants {
            return Err(invalid_parameter(8));
        }
        let removes_all = all_registrants && victim == 0;
        let takes_over = removes_all || !all_registrants && holder_key == Some(victim);
        let is_victim = |entry: &Registration| removes_all || entry.key == victim;
        if !self.registrations.iter().any(is_victim) {
            return Err(Status::RESERVATION_CONFLICT.into());
        }
        let mut effects = Effects::default();
        // One's own registration stays when the reservation is taken over, and always with a key of 0.
        let spares_own = takes_over;
        self.registrations.retain(|entry| {
            let goes = is_victim(entry) && !(spares_own && entry.nexus == nexus);
            if goes && entry.nexus != nexus {
                effects.attentions.push((entry.nexus, Attentions::REGISTRATIONS_PREEMPTED));
            }
            if goes && aborts {
                effects.aborted.push(entry.nexus);
            }
            !goes
        });
        if takes_over {
            let before = self.holder.replace(Holder { nexus, kind });
            if before.is_some_and(|before| before.kind != kind) {
                let others = self.tell_others(nexus, Attentions::RESERVATIONS_RELEASED);
                effects.attentions.extend(others.attentions);
            }
        } else if let Some(holder) = self.holder.filter(|holder| self.key_of(holder.nexus).is_none()) {
            // "All registrants" lost the one that stood for them.
            let next = self.registrations.first();
            self.holder = next.map(|entry| Holder { nexus: entry.nexus, ..holder });
        }
        self.generation = self.generation.wrapping_add(1);
        Ok(effects)
    }

    fn tell_others(&self, nexus: Nexus, attention: Attentions) -> Effects {
        let others = self.registrations.iter().filter(|entry| entry.nexus != nexus);
        Effects { attentions: others.map(|entry| (entry.nexus, attention)).collect(), aborted: Vec::new() }
    }
}

#[cfg(test)]
mod tests;
