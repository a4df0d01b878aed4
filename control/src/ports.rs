//! Our VN_Ports, and how they are found.

use crate::agenda::Agenda;
use crate::local_port::{LocalPort, PortId};
use fc::vn_port::Session;
use fc::wire::{FcId, MacAddr, Wwn};
use std::collections::BTreeMap;

/// The VN_Ports of an interface.
#[derive(Default)]
pub(crate) struct Ports {
    /// In boxes: half of a map's places are empty.
    by_id: BTreeMap<PortId, Box<LocalPort>>,
    by_name: BTreeMap<Wwn, PortId>,
    by_address: BTreeMap<(MacAddr, FcId), PortId>,
    added: u32,
    pub(crate) agenda: Agenda<PortId>,
}

impl Ports {
    /// The id of the next one that is added.
    pub(crate) const fn next_id(&self) -> PortId {
        PortId(self.added)
    }

    /// # Panics
    /// If its WWPN is another one's.
    pub(crate) fn add(&mut self, port: LocalPort) {
        let id = self.next_id();
        self.added += 1;
        let earlier = self.by_name.insert(port.port_name(), id);
        assert!(earlier.is_none(), "two VN_Ports with WWPN {}", port.port_name());
        self.by_id.insert(id, Box::new(port));
    }

    /// One that is offline goes.
    pub(crate) fn remove(&mut self, id: PortId) -> Option<LocalPort> {
        let port = *self.by_id.remove(&id)?;
        assert!(port.session.is_none(), "a VN_Port goes when it is logged out");
        self.by_name.remove(&port.port_name());
        self.agenda.forget(id);
        Some(port)
    }

    pub(crate) fn get(&self, id: PortId) -> Option<&LocalPort> {
        self.by_id.get(&id).map(|port| &**port)
    }

    /// For something that its machine is to do: what follows from that is looked at.
    pub(crate) fn touch(&mut self, id: PortId) -> Option<&mut LocalPort> {
        let port = self.by_id.get_mut(&id)?;
        self.agenda.touch(id);
        Some(port)
    }

    /// In the order in which they were added.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (PortId, &LocalPort)> {
        self.by_id.iter().map(|(&id, port)| (id, &**port))
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(crate) fn of_name(&self, port_name: Wwn) -> Option<PortId> {
        self.by_name.get(&port_name).copied()
    }

    /// The one that a frame is for: where the server provides MAC addresses, several may have the same.
    pub(crate) fn of_address(&self, mac: MacAddr, id: FcId) -> Option<PortId> {
        self.by_address.get(&(mac, id)).copied()
    }

    /// A VN_Port has this session from now on.
    pub(crate) fn begin_session(&mut self, id: PortId, session: Session) {
        let port = self.by_id.get_mut(&id).expect("it has just told that");
        port.session = Some(session);
        port.login_failure = None;
        self.by_address.insert((session.mac, session.fc_id), id);
    }

    /// A VN_Port has no session any more. Gives the one that it had.
    pub(crate) fn end_session(&mut self, id: PortId) -> Option<Session> {
        let session = self.by_id.get_mut(&id)?.session.take()?;
        let address = (session.mac, session.fc_id);
        // Another one may have been granted the same meanwhile.
        if self.by_address.get(&address) == Some(&id) {
            self.by_address.remove(&address);
        }
        Some(session)
    }
}
