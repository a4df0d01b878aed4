//! Which FCP ports the name server knows, and which of them changed.

use super::register::name_server_request;
use super::{PortChanges, Session};
use crate::exchange::{Answer, Failure, Request};
use crate::time::{Duration, Instant};
use crate::wire::ct::{
    CtExplanation, CtReason, CtReject, GpnFtEntry, NameServerRequest, PortEntries, PortScope, port_name_reply,
};
use crate::wire::els::{RscnFormat, RscnPage};
use crate::wire::header::FcType;
use crate::wire::{FcId, Wwn};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// The most ports that are remembered: zoning keeps what an initiator sees far below.
pub const MAX_LISTED_PORTS: usize = 512;
/// How often the list is asked for though no change was told: the frame that told it may have been lost, and a fabric
/// doesn't tell twice.
const LIST_INTERVAL: Duration = Duration::from_secs(30);
/// How soon after a port has gone, then after twice as long each time: what goes mostly comes back.
const FIRST_LIST_INTERVAL: Duration = Duration::from_secs(1);
/// Changes that are asked about one by one; for more than these the whole list is one question.
const MAX_CHANGES: usize = 16;

/// The ports, and what is asked about them: one question at a time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Discovery {
    ports: BTreeMap<FcId, Wwn>,
    changes: Vec<RscnPage>,
    query: Query,
    /// When the list was asked for last.
    listed: Instant,
    /// When it is asked for again, after that.
    list_interval: Duration,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Query {
    Idle,
    Out(Subject),
    /// It failed, and is asked again later.
    Waiting {
        until: Instant,
        subject: Subject,
    },
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Subject {
    /// All ports; those under these pages may have changed though they are still there.
    List(Vec<RscnPage>),
    /// One port.
    Name(FcId),
}

impl Discovery {
    /// `ports` are known from before; all of them will be looked for.
    pub(super) fn new(ports: BTreeMap<FcId, Wwn>) -> Self {
        let everything = RscnPage::new(RscnFormat::Fabric, FcId::UNASSIGNED);
        Self {
            ports,
            changes: Vec::from([everything]),
            query: Query::Idle,
            listed: Instant::ZERO,
            list_interval: LIST_INTERVAL,
        }
    }

    pub(super) fn into_ports(self) -> BTreeMap<FcId, Wwn> {
        self.ports
    }

    #[cfg(test)]
    pub(super) const fn is_asking(&self) -> bool {
        matches!(self.query, Query::Out(_))
    }

    pub(super) fn note(&mut self, pages: &[RscnPage]) {
        for page in pages {
            if !self.changes.contains(page) {
                self.changes.push(*page);
            }
            if self.changes.len() > MAX_CHANGES {
                self.changes = Vec::from([RscnPage::new(RscnFormat::Fabric, FcId::UNASSIGNED)]);
            }
        }
    }

    /// The next question, if none is out and there is one to ask now.
    pub(super) fn next_request(&mut self, now: Instant, session: &Session) -> Option<Request> {
        let subject = match &self.query {
            Query::Out(_) => return None,
            Query::Waiting { until, .. } if *until > now => return None,
            Query::Waiting { subject, .. } => subject.clone(),
            Query::Idle => self.next_subject(now)?,
        };
        let request = match &subject {
            Subject::List(_) => {
                self.listed = now;
                self.list_interval = (self.list_interval * 2).min(LIST_INTERVAL);
                NameServerRequest::GpnFt(PortScope::fabric(FcType::FCP))
            }
            Subject::Name(id) => NameServerRequest::GpnId(*id),
        };
        self.query = Query::Out(subject);
        Some(name_server_request(session, request))
    }

    fn next_subject(&mut self, now: Instant) -> Option<Subject> {
        let is_due = self.listed + self.list_interval <= now;
        if is_due || self.changes.iter().any(|page| page.format() != RscnFormat::Port) {
            return Some(Subject::List(core::mem::take(&mut self.changes)));
        }
        if self.changes.is_empty() { None } else { Some(Subject::Name(self.changes.remove(0).id)) }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self.query {
            Query::Waiting { until, .. } => Some(until),
            Query::Idle => Some(self.listed + self.list_interval),
            Query::Out(_) => None,
        }
    }

    /// Asks again later what has failed.
    pub(super) fn retry_at(&mut self, until: Instant) {
        if let Query::Out(subject) = &self.query {
            self.query = Query::Waiting { until, subject: subject.clone() };
        }
    }

    /// Takes what came of the question. A port that the name server doesn't know is gone; but one that denies access
    /// tells nothing of any port.
    pub(super) fn settle(
        &mut self,
        own: FcId,
        outcome: Result<Answer, Failure>,
    ) -> Result<PortChanges, Failure> {
        let Query::Out(subject) = &self.query else { return Ok(PortChanges::default()) };
        let changes = match (subject.clone(), outcome) {
            (_, Ok(Answer::Els { .. })) => {
                return Err(Failure::Unusable("the reply is to another request"));
            }
            (Subject::List(affected), Ok(Answer::NameServer(body))) => {
                let listed = parse_list(own, &body)?;
                self.replace(listed, &affected)
            }
            (_, Err(failure @ Failure::CtRejected(CtReject { explanation, .. })))
                if explanation == CtExplanation::ACCESS_DENIED =>
            {
                return Err(failure);
            }
            (Subject::List(_), Err(Failure::CtRejected(CtReject { reason: CtReason::UNABLE, .. }))) => {
                self.replace(BTreeMap::new(), &[])
            }
            (Subject::Name(id), Ok(Answer::NameServer(body))) => {
                let name = port_name_reply(&body).map_err(Failure::Malformed)?;
                self.found(own, id, name)
            }
            (Subject::Name(id), Err(Failure::CtRejected(reject)))
                if reject.reason != CtReason::LOGICAL_BUSY =>
            {
                let gone = self.ports.remove(&id).map(|_| id);
                PortChanges { gone: gone.into_iter().collect(), ..PortChanges::default() }
            }
            (_, Err(failure)) => return Err(failure),
        };
        self.query = Query::Idle;
        if !changes.gone.is_empty() {
            self.list_interval = FIRST_LIST_INTERVAL;
        }
        Ok(changes)
    }

    fn replace(&mut self, listed: BTreeMap<FcId, Wwn>, affected: &[RscnPage]) -> PortChanges {
        let before = core::mem::replace(&mut self.ports, listed);
        let is_new = |id: &FcId, name: &Wwn| before.get(id) != Some(name);
        let mut changes = PortChanges::default();
        for (&id, &name) in &self.ports {
            if is_new(&id, &name) {
                changes.added.push((id, name));
            } else if affected.iter().any(|page| page.covers(id)) {
                changes.confirmed.push((id, name));
            }
        }
        changes.gone =
            before.iter().filter(|&(id, name)| self.ports.get(id) != Some(name)).map(|(&id, _)| id).collect();
        changes
    }

    fn found(&mut self, own: FcId, id: FcId, name: Wwn) -> PortChanges {
        let mut changes = PortChanges::default();
        let is_known = self.ports.contains_key(&id);
        if id == own || (!is_known && self.ports.len() >= MAX_LISTED_PORTS) {
            return changes;
        }
        match self.ports.insert(id, name) {
            Some(before) if before == name => changes.confirmed.push((id, name)),
            before => {
                changes.gone.extend(before.map(|_| id));
                changes.added.push((id, name));
            }
        }
        changes
    }
}

/// The ports of a list but our own, up to [`MAX_LISTED_PORTS`].
fn parse_list(own: FcId, body: &[u8]) -> Result<BTreeMap<FcId, Wwn>, Failure> {
    let mut ports = BTreeMap::new();
    for entry in PortEntries::<GpnFtEntry>::new(body) {
        let entry = entry.map_err(Failure::Malformed)?;
        if entry.id != own && !entry.id.is_well_known() && ports.len() < MAX_LISTED_PORTS {
            ports.insert(entry.id, entry.port_name);
        }
    }
    Ok(ports)
}
