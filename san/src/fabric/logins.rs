//! The VN_Ports that are logged in, by FC_ID.

use crate::context::{LoginId, MAX_LOGINS, Sender};
use fc::time::Instant;
use fc::wire::els::ScrFunction;
use fc::wire::{FcId, MacAddr, Wwn};
use std::collections::BTreeMap;

/// Area and port of the first VN_Port; targets have those of area 1.
const FIRST_LOGIN: u32 = 0x0200;
const FIRST_TARGET: u32 = 0x0101;
/// Area and port of an FC_ID.
const LOCAL_MASK: u32 = 0xffff;

/// The FC_ID of a target.
pub(super) fn target_fc_id(domain: u8, number: usize) -> FcId {
    FcId::from_u32(u32::from(domain) << 16 | (FIRST_TARGET + number as u32))
}

/// A VN_Port that is logged in.
#[derive(Clone, Debug)]
pub(super) struct Login {
    /// The VN_Port as the handlers know it.
    pub(super) port: Sender,
    pub(super) node_name: Wwn,
    /// Its ENode.
    pub(super) enode: MacAddr,
    /// The last time that it proved to be alive.
    pub(super) seen: Instant,
    /// It has logged in to the name server.
    pub(super) knows_name_server: bool,
    /// What it wants to be told.
    pub(super) scn: Option<ScrFunction>,
    /// The FC-4 types that it registered.
    pub(super) fc4_types: [u8; 32],
    /// It registered as a target.
    pub(super) is_target: bool,
}

#[derive(Debug)]
struct Entry {
    port_name: Wwn,
    login: Option<Box<Login>>,
    /// When it ended.
    ended: Instant,
}

/// All logins. The same WWPN has the same place while it is known.
#[derive(Debug)]
pub(super) struct Logins {
    domain: u8,
    entries: Vec<Entry>,
    by_name: BTreeMap<Wwn, LoginId>,
}

impl Logins {
    pub(super) fn new(domain: u8) -> Self {
        Self { domain, entries: Vec::new(), by_name: BTreeMap::new() }
    }

    /// The place for a port: its own if it was here before, else a new one, else that of the port that has been
    /// away for longest. `None` when all are logged in.
    pub(super) fn place_for(&mut self, port_name: Wwn) -> Option<LoginId> {
        if let Some(known) = self.by_name.get(&port_name) {
            return Some(*known);
        }
        let id = if self.entries.len() < MAX_LOGINS {
            self.entries.push(Entry { port_name, login: None, ended: Instant::ZERO });
            LoginId((self.entries.len() - 1) as u16)
        } else {
            let away = self.entries.iter().enumerate().filter(|(_, entry)| entry.login.is_none());
            let (oldest, entry) = away.min_by_key(|(_, entry)| entry.ended)?;
            self.by_name.remove(&entry.port_name);
            self.entries[oldest].port_name = port_name;
            LoginId(oldest as u16)
        };
        self.by_name.insert(port_name, id);
        Some(id)
    }

    pub(super) fn begin(&mut self, login: Login) {
        let entry = &mut self.entries[usize::from(login.port.login.0)];
        assert!(entry.login.is_none() && entry.port_name == login.port.port_name);
        entry.login = Some(Box::new(login));
    }

    pub(super) fn end(&mut self, id: LoginId, now: Instant) -> Option<Box<Login>> {
        let entry = self.entries.get_mut(usize::from(id.0))?;
        entry.ended = now;
        entry.login.take()
    }

    pub(super) fn get(&self, id: LoginId) -> Option<&Login> {
        self.entries.get(usize::from(id.0))?.login.as_deref()
    }

    pub(super) fn get_mut(&mut self, id: LoginId) -> Option<&mut Login> {
        self.entries.get_mut(usize::from(id.0))?.login.as_deref_mut()
    }

    pub(super) fn fc_id(&self, id: LoginId) -> FcId {
        FcId::from_u32(u32::from(self.domain) << 16 | (FIRST_LOGIN + u32::from(id.0)))
    }

    /// The place that an FC_ID stands for.
    pub(super) fn id_of(&self, fc_id: FcId) -> Option<LoginId> {
        let at = self.local(fc_id)?.checked_sub(FIRST_LOGIN)?;
        ((at as usize) < self.entries.len()).then_some(LoginId(at as u16))
    }

    /// The number of the target that an FC_ID stands for, if there are so many.
    pub(super) fn target_of(&self, fc_id: FcId) -> Option<usize> {
        let at = self.local(fc_id)?;
        (FIRST_TARGET..FIRST_LOGIN).contains(&at).then(|| (at - FIRST_TARGET) as usize)
    }

    fn local(&self, fc_id: FcId) -> Option<u32> {
        let number = fc_id.to_u32();
        (number >> 16 == u32::from(self.domain)).then_some(number & LOCAL_MASK)
    }

    pub(super) fn of_fc_id(&self, fc_id: FcId) -> Option<&Login> {
        self.get(self.id_of(fc_id)?)
    }

    pub(super) fn of_name(&self, port_name: Wwn) -> Option<&Login> {
        self.get(*self.by_name.get(&port_name)?)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Login> {
        self.entries.iter().filter_map(|entry| entry.login.as_deref())
    }

    /// Places given out so far.
    pub(super) fn places(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Path;
    use fc::time::Duration;

    fn login(logins: &mut Logins, name: u64) -> Option<FcId> {
        let port_name = Wwn::from_u64(name);
        let id = logins.place_for(port_name)?;
        let fc_id = logins.fc_id(id);
        let port = Sender { login: id, fc_id, path: Path::default(), port_name, max_payload_len: 2112 };
        logins.begin(Login {
            port,
            node_name: port_name,
            enode: MacAddr::ZERO,
            seen: Instant::ZERO,
            knows_name_server: false,
            scn: None,
            fc4_types: [0; 32],
            is_target: false,
        });
        Some(fc_id)
    }

    #[test]
    fn a_port_that_comes_back_has_its_fc_id_again() {
        let mut logins = Logins::new(3);
        assert_eq!(login(&mut logins, 1), Some(FcId::from_u32(0x03_0200)));
        assert_eq!(login(&mut logins, 2), Some(FcId::from_u32(0x03_0201)));
        logins.end(LoginId(0), Instant::ZERO);
        assert!(logins.of_name(Wwn::from_u64(1)).is_none());
        assert_eq!(login(&mut logins, 3), Some(FcId::from_u32(0x03_0202)));
        assert_eq!(login(&mut logins, 1), Some(FcId::from_u32(0x03_0200)));
        assert_eq!(logins.target_of(target_fc_id(3, 254)), Some(254));
        assert_eq!(logins.id_of(target_fc_id(3, 0)), None);
        assert_eq!(logins.id_of(FcId::from_u32(0x04_0200)), None);
    }

    #[test]
    fn the_table_is_bounded_and_forgets_who_is_away() {
        let mut logins = Logins::new(1);
        for name in 0..MAX_LOGINS as u64 {
            assert!(login(&mut logins, name).is_some());
        }
        assert_eq!(login(&mut logins, 1 << 40), None);
        let later = Instant::ZERO + Duration::from_secs(1);
        logins.end(LoginId(7), later);
        logins.end(LoginId(9), Instant::ZERO);
        assert_eq!(login(&mut logins, 1 << 40), Some(FcId::from_u32(0x01_0209)));
        assert_eq!(login(&mut logins, 9), Some(FcId::from_u32(0x01_0207)));
    }
}
