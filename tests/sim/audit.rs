//! What an initiator must not do, by what is seen of it on its link.

use fc::messages::ox_id;
use fc::time::{Duration, Instant};
use fc::wire::FcId;
use fc::wire::els::ElsCommand;
use fc::wire::ethernet::{EtherType, EthernetHeader};
use fc::wire::fcoe::FcoeFrame;
use fc::wire::header::{FcHeader, FcType, RCtl};
use std::collections::{BTreeMap, BTreeSet};

/// Where the page length stands in an accept of PRLI, and what it is (FC-LS-3, 4.2.20). Other accepts have 0 there.
const PRLI_ACCEPT: [u8; 2] = [ElsCommand::LS_ACC.0, 0x10];

/// Watches one initiator's link.
#[derive(Debug)]
pub(crate) struct Audit {
    r_a_tov: Duration,
    /// Pairs of our port and a remote one between which FCP may go.
    logins: BTreeSet<(FcId, FcId)>,
    /// Until when the OX_IDs of aborted exchanges rest.
    resting: BTreeMap<u16, Instant>,
    /// Logouts that have been received, and that the initiator may not have read yet.
    ending: Vec<(FcId, FcId)>,
    /// The link has gone, and the initiator may not have read it yet.
    is_link_lost: bool,
}

impl Audit {
    pub(crate) const fn new(r_a_tov: Duration) -> Self {
        Self {
            r_a_tov,
            logins: BTreeSet::new(),
            resting: BTreeMap::new(),
            ending: Vec::new(),
            is_link_lost: false,
        }
    }

    /// The initiator has sent a frame.
    ///
    /// # Errors
    /// What it must not have done.
    pub(crate) fn sent(&mut self, now: Instant, bytes: &[u8]) -> Result<(), String> {
        let Some((header, payload)) = fc_frame(bytes) else { return Ok(()) };
        let pair = (header.s_id, header.d_id);
        let ox_id = header.ox_id.get();
        let is_cores = ox_id::core(ox_id) != ox_id::CONTROL;
        match (header.r_ctl, header.fc_type) {
            // Logins, and what keeps them.
            (RCtl::ELS_REQUEST, FcType::ELS) if !is_cores => {
                if let Ok(ElsCommand::PLOGI | ElsCommand::LOGO) = ElsCommand::of(payload) {
                    self.logins.remove(&pair);
                }
            }
            (RCtl::COMMAND | RCtl::FC4_REQUEST, FcType::FCP) | (RCtl::ELS_REQUEST, FcType::ELS) => {
                self.check_login(header)?;
                self.check_rest(now, ox_id)?;
            }
            (_, FcType::FCP) => self.check_login(header)?,
            (RCtl::ABTS, FcType::BLS) => {
                self.resting.insert(ox_id, now + self.r_a_tov);
                if is_cores {
                    self.check_login(header)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn check_login(&self, header: &FcHeader) -> Result<(), String> {
        let FcHeader { s_id, d_id, r_ctl, .. } = *header;
        if self.logins.contains(&(s_id, d_id)) {
            return Ok(());
        }
        Err(format!("a frame ({r_ctl:?}) goes from {s_id} to {d_id}, between which there is no login"))
    }

    fn check_rest(&mut self, now: Instant, ox_id: u16) -> Result<(), String> {
        let Some(until) = self.resting.remove(&ox_id).filter(|&until| now < until) else { return Ok(()) };
        let left = until.since(now);
        Err(format!("OX_ID {ox_id:#06x} is used again {left:?} before R_A_TOV has passed since its ABTS"))
    }

    /// A frame comes to the initiator.
    pub(crate) fn received(&mut self, bytes: &[u8]) {
        let Some((header, payload)) = fc_frame(bytes).filter(|(header, _)| header.fc_type == FcType::ELS)
        else {
            return;
        };
        let pair = (header.d_id, header.s_id);
        if header.r_ctl == RCtl::ELS_REPLY && payload.starts_with(&PRLI_ACCEPT) {
            self.logins.insert(pair);
            // What ended a login before this one doesn't end it.
            self.ending.retain(|ended| *ended != pair);
        }
        if header.r_ctl == RCtl::ELS_REQUEST
            && let Ok(ElsCommand::PLOGI | ElsCommand::LOGO | ElsCommand::PRLO) = ElsCommand::of(payload)
        {
            self.ending.push(pair);
        }
    }

    /// The initiator has read and done everything that has come.
    pub(crate) fn is_quiet(&mut self) {
        for pair in self.ending.drain(..) {
            self.logins.remove(&pair);
        }
        if std::mem::take(&mut self.is_link_lost) {
            self.logins.clear();
        }
    }

    /// The initiator is told that its link is down.
    pub(crate) const fn link_down(&mut self) {
        self.is_link_lost = true;
    }
}

/// The FC frame in an Ethernet frame, if it is good.
fn fc_frame(bytes: &[u8]) -> Option<(&FcHeader, &[u8])> {
    let (ethernet, payload) = EthernetHeader::parse(bytes).ok()?;
    if ethernet.ethertype != EtherType::FCOE {
        return None;
    }
    let frame = FcoeFrame::parse(payload).ok()?;
    frame.check_crc().ok()?;
    Some((frame.header(), frame.payload().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use fc::wire::MacAddr;
    use fc::wire::fcoe::{self, Eof, Sof};

    const OURS: FcId = FcId([1, 1, 1]);
    const TARGET: FcId = FcId([1, 2, 1]);

    /// An OX_ID of a core's, and one of control's.
    const CORES: u16 = 0x1230;
    const CONTROLS: u16 = 0x1230 | ox_id::CONTROL;

    fn frame(kind: (RCtl, FcType), (s_id, d_id): (FcId, FcId), ox_id: u16, payload: &[u8]) -> Vec<u8> {
        let (destination, source) = (MacAddr([2; 6]), MacAddr([4; 6]));
        let ethernet = EthernetHeader { destination, source, vlan: None, ethertype: EtherType::FCOE };
        let mut bytes = vec![0; fcoe::MAX_FRAME_LEN];
        let header = FcHeader::request(kind, s_id, d_id, ox_id);
        let len = fcoe::emit(&mut bytes, &ethernet, Sof::I3, &header, payload, Eof::T);
        bytes.truncate(len);
        bytes
    }

    fn els(r_ctl: RCtl, path: (FcId, FcId), payload: &[u8]) -> Vec<u8> {
        frame((r_ctl, FcType::ELS), path, CONTROLS, payload)
    }

    #[test]
    fn fcp_needs_a_login() {
        let mut audit = Audit::new(Duration::from_secs(10));
        let (out, back) = ((OURS, TARGET), (TARGET, OURS));
        let command = frame((RCtl::COMMAND, FcType::FCP), out, CORES, &[0; 32]);
        let rec = frame((RCtl::ELS_REQUEST, FcType::ELS), out, CORES, &[ElsCommand::REC.0, 0, 0, 0]);
        let abort = frame((RCtl::ABTS, FcType::BLS), out, CORES + (1 << ox_id::CORE_BITS), &[]);
        let may = |audit: &mut Audit| {
            let may = [&command, &rec, &abort].map(|frame| audit.sent(Instant::ZERO, frame).is_ok());
            assert!(may == [may[0]; 3], "{may:?}");
            may[0]
        };
        assert!(!may(&mut audit));
        audit.received(&els(RCtl::ELS_REPLY, back, &[2, 0, 0, 0]));
        assert!(!may(&mut audit), "an accept of PLOGI is not enough");
        let accept = els(RCtl::ELS_REPLY, back, &[2, 0x10, 0, 20]);
        audit.received(&accept);
        assert!(may(&mut audit));

        audit.received(&els(RCtl::ELS_REQUEST, back, &[ElsCommand::LOGO.0, 0, 0, 0]));
        assert!(may(&mut audit), "it has not read it yet");
        audit.is_quiet();
        assert!(!may(&mut audit));

        audit.received(&accept);
        audit.sent(Instant::ZERO, &els(RCtl::ELS_REQUEST, out, &[ElsCommand::PLOGI.0, 0, 0, 0])).unwrap();
        assert!(!may(&mut audit));
        audit.received(&accept);
        audit.link_down();
        assert!(may(&mut audit), "it has not read it yet");
        audit.is_quiet();
        assert!(!may(&mut audit));
    }

    #[test]
    fn the_ox_id_of_an_aborted_exchange_rests() {
        let r_a_tov = Duration::from_secs(10);
        let mut audit = Audit::new(r_a_tov);
        audit.received(&els(RCtl::ELS_REPLY, (TARGET, OURS), &[2, 0x10, 0, 20]));
        let path = (OURS, TARGET);
        let command = frame((RCtl::COMMAND, FcType::FCP), path, CORES, &[0; 32]);
        audit.sent(Instant::ZERO, &command).unwrap();
        let abort = frame((RCtl::ABTS, FcType::BLS), path, CORES, &[]);
        for (after, is_wrong) in [(r_a_tov - Duration::from_nanos(1), true), (r_a_tov, false)] {
            audit.sent(Instant::ZERO, &abort).unwrap();
            assert_eq!(audit.sent(Instant::ZERO + after, &command).is_err(), is_wrong);
        }
    }
}
