//! Identities that come and go.

use crate::control::Control;
use crate::edge::Edge;
use crate::enode::{CONTROL_OX_IDS, EnodeConfig, EnodeEntry};
use crate::identity::{Identity, IdentityError, Login, Order};
use crate::local_port::{LocalPort, PortId};
use fc::fip::MAX_VN_PORTS;
use fc::time::Instant;
use fc::vn_port::{self, LoginKind, VnPort};
use fc::wire::MacAddr;
use std::sync::Arc;

impl Control {
    /// Changes the identities; those that stay don't notice.
    ///
    /// # Errors
    /// [`IdentityError`], and then nothing has changed.
    pub fn carry_out(&mut self, now: Instant, order: Order) -> Result<(), IdentityError> {
        self.changed = true;
        match order {
            Order::Add(identity) => self.add_identity(now, identity),
            Order::Remove(name) => self.remove_identity(now, &name),
        }
    }

    /// Adds an identity, which logs in as soon as it can. If it is as one that is just logging out, that goes first.
    fn add_identity(&mut self, now: Instant, identity: Identity) -> Result<(), IdentityError> {
        self.check(&identity)?;
        let is_waiting = self.ports.iter().any(|(_, port)| port.is_leaving && is_as(&identity, port));
        if is_waiting {
            self.waiting.push(identity);
        } else {
            self.begin_identity(now, identity);
        }
        Ok(())
    }

    fn check(&self, identity: &Identity) -> Result<(), IdentityError> {
        if matches!(self.config.enode, EnodeConfig::Vn2vn(_)) {
            return Err(IdentityError::Vn2vn);
        }
        if identity.name.is_empty() {
            return Err(IdentityError::NoName);
        }
        let behind = |port: &LocalPort| port.enode == self.config.enode.mac();
        let own_mac = match identity.login {
            Login::Fdisc if self.staying().filter(|port| behind(port)).count() >= MAX_VN_PORTS => {
                return Err(IdentityError::TooMany);
            }
            Login::Fdisc => None,
            Login::Flogi { mac, .. } if !mac.is_unicast() => return Err(IdentityError::NotUnicast(mac)),
            Login::Flogi { mac, .. } => Some(mac),
        };
        let there = self.staying().map(|port| (port.name.clone(), port.port_name(), Some(port.enode)));
        let coming = self.waiting.iter();
        let coming = coming.map(|other| (Some(Arc::clone(&other.name)), other.port_name, other.login.mac()));
        for (holder, port_name, mac) in there.chain(coming) {
            if holder.as_ref() == Some(&identity.name) {
                return Err(IdentityError::NameTaken(Arc::clone(&identity.name)));
            }
            if port_name == identity.port_name {
                return Err(IdentityError::PortNameTaken { port_name, holder });
            }
            if let Some(mac) = own_mac.filter(|own| mac == Some(*own)) {
                let holder = holder.filter(|_| mac != self.config.enode.mac());
                return Err(IdentityError::MacTaken { mac, holder });
            }
        }
        Ok(())
    }

    /// Those that aren't about to go.
    fn staying(&self) -> impl Iterator<Item = &LocalPort> {
        self.ports.iter().map(|(_, port)| port).filter(|port| !port.is_leaving)
    }

    fn begin_identity(&mut self, now: Instant, identity: Identity) {
        tracing::info!(identity = &*identity.name, port_name = %identity.port_name, "identity added");
        let id = self.ports.next_id();
        let own_mac = self.config.enode.mac();
        let (enode, login) = match identity.login {
            Login::Fdisc => {
                self.enodes.get_mut(&own_mac).expect("the interface has an ENode").others.insert(id);
                (own_mac, LoginKind::Fdisc)
            }
            Login::Flogi { mac, .. } => {
                let mut entry = EnodeEntry::new(self.enode_config(&identity, mac), id);
                entry.link_up_at = self.link_up_at.map(|_| now);
                self.enodes.insert(mac, entry);
                (mac, LoginKind::Flogi)
            }
        };
        let own = &self.config.identity;
        let symbolic_port_name =
            [&own.symbolic_port_name, b" as ".as_slice(), identity.name.as_bytes()].concat();
        let config = vn_port::Identity {
            port_name: identity.port_name,
            node_name: identity.node_name.unwrap_or(own.node_name),
            symbolic_port_name,
            login,
            ..own.clone()
        };
        self.ports.add(LocalPort::new(Some(identity.name), enode, VnPort::new(config, CONTROL_OX_IDS)));
        self.enode_agenda.touch(enode);
        let first = self.ports.get(PortId::OWN).and_then(|port| port.session);
        if let Some(first) = first.filter(|_| login == LoginKind::Fdisc) {
            self.log_in_behind(id, &first);
        }
    }

    /// An ENode of an identity's own, on the interface's Ethernet.
    fn enode_config(&self, identity: &Identity, mac: MacAddr) -> EnodeConfig {
        let (EnodeConfig::Fabric(own), Login::Flogi { addressing, .. }) = (self.config.enode, identity.login)
        else {
            unreachable!("only who logs in by FLOGI to a fabric has one")
        };
        let node_name = identity.node_name.unwrap_or(own.node_name);
        EnodeConfig::Fabric(fc::fip::Config {
            mac,
            node_name,
            addressing,
            seed: identity.port_name.to_u64(),
            ..own
        })
    }

    /// Logs an identity out of its targets and the fabric; then it is forgotten. Commands that are out by it fail.
    fn remove_identity(&mut self, now: Instant, name: &Arc<str>) -> Result<(), IdentityError> {
        let waiting = self.waiting.len();
        self.waiting.retain(|identity| identity.name != *name);
        if self.waiting.len() < waiting {
            return Ok(());
        }
        let is_it = |port: &LocalPort| port.name.as_ref() == Some(name) && !port.is_leaving;
        let Some(id) = self.ports.iter().find(|(_, port)| is_it(port)).map(|(id, _)| id) else {
            let there_are = self.staying().filter_map(|port| port.name.clone()).collect();
            return Err(IdentityError::Unknown { name: Arc::clone(name), there_are });
        };
        tracing::info!(identity = &**name, "the identity goes");
        self.ports.touch(id).expect("just found").is_leaving = true;
        self.log_out(now, id);
        Ok(())
    }

    /// One that has logged out is forgotten, with all that it had.
    pub(crate) fn forget_port(&mut self, now: Instant, id: PortId, edge: &mut impl Edge) {
        self.changed = true;
        let port = self.ports.remove(id).expect("it was there until now");
        for entry in port.targets.values() {
            self.scans.forget(entry.nexus);
            self.lost.forget(entry.nexus);
        }
        self.nexuses.release(port.port_name());
        let entry = self.enodes.get_mut(&port.enode).expect("a VN_Port has an ENode");
        if entry.first == id {
            let has_mac = entry.has_mac;
            self.enodes.remove(&port.enode);
            self.enode_agenda.forget(port.enode);
            if has_mac {
                self.macs.remove(port.enode, edge);
            }
        } else {
            entry.others.remove(&id);
        }
        for identity in std::mem::take(&mut self.waiting) {
            let waits_on = self.ports.iter().any(|(_, port)| port.is_leaving && is_as(&identity, port));
            if waits_on {
                self.waiting.push(identity);
            } else {
                self.begin_identity(now, identity);
            }
        }
    }
}

/// Whether an identity can't be there beside this VN_Port.
fn is_as(identity: &Identity, port: &LocalPort) -> bool {
    port.name.as_ref() == Some(&identity.name)
        || port.port_name() == identity.port_name
        || identity.login.mac() == Some(port.enode)
}

impl Login {
    /// The ENode MAC that it needs for itself.
    const fn mac(self) -> Option<MacAddr> {
        match self {
            Self::Fdisc => None,
            Self::Flogi { mac, .. } => Some(mac),
        }
    }
}
