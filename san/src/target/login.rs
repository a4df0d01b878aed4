//! Logins of our own: PLOGI, where it is for the target to send it (FC-BB-6: by the higher port name).

use super::Targets;
use crate::context::{Context, Incoming, LoginId, Sender, request_header};
use crate::counters::Drop;
use crate::egress::Egress;
use fc::time::{Duration, Instant};
use fc::wire::FcId;
use fc::wire::els::{ElsCommand, ElsReply, ElsRequest};

/// How long a PLOGI waits before it is sent again, whether it was rejected or not answered; then twice as long
/// each time, up to the second.
const FIRST_RETRY: Duration = Duration::from_secs(2);
const LAST_RETRY: Duration = Duration::from_secs(32);

/// A PLOGI that was not accepted yet.
#[derive(Debug)]
pub(super) struct Plogi {
    number: usize,
    own: FcId,
    to: Sender,
    ox_id: u16,
    due: Instant,
    wait: Duration,
}

impl Targets {
    /// Logs target `number`, whose address is `own`, in to a port.
    pub(crate) fn log_in_to(&mut self, now: Instant, out: &mut Egress, number: usize, own: FcId, to: Sender) {
        self.forget_plogi(number, to.login);
        let plogi = Plogi { number, own, to, ox_id: 0, due: now, wait: FIRST_RETRY };
        self.plogis.push(plogi);
        self.send_due_plogis(now, out);
    }

    /// When a PLOGI is sent again.
    pub(super) fn next_plogi(&self) -> Option<Instant> {
        self.plogis.iter().map(|plogi| plogi.due).min()
    }

    /// Sends what is due, for the first time or again.
    pub(super) fn send_due_plogis(&mut self, now: Instant, out: &mut Egress) {
        for at in 0..self.plogis.len() {
            if now < self.plogis[at].due {
                continue;
            }
            let ox_id = self.take_ox_id();
            let plogi = &mut self.plogis[at];
            (plogi.ox_id, plogi.due) = (ox_id, now + plogi.wait);
            plogi.wait = (plogi.wait * 2).min(LAST_RETRY);
            let Plogi { number, own, to, .. } = *plogi;
            let request = ElsRequest::Plogi(self.parameters(number));
            out.fc(to.path, &request_header(own, to.fc_id, ox_id), &request.to_payload());
        }
    }

    /// A reply to target `number`: that to its PLOGI, or one to a LOGO, on which nothing depends. After a reject
    /// the time comes to ask again.
    pub(super) fn handle_els_reply(
        &mut self,
        cx: &mut Context<'_>,
        number: usize,
        frame: &Incoming<'_>,
    ) -> Result<(), Drop> {
        let is_asked = |plogi: &Plogi| {
            (plogi.number, plogi.to.login, plogi.ox_id)
                == (number, frame.from.login, frame.header.ox_id.get())
        };
        if !self.plogis.iter().any(is_asked) {
            return Ok(());
        }
        if let ElsReply::Login(login) = ElsReply::parse(ElsCommand::PLOGI, frame.payload)? {
            self.log_in(number, frame, &login, cx.counters).map_err(|_| Drop::Malformed)?;
        }
        Ok(())
    }

    /// Whether a PLOGI from a port meets one of our own that goes first: that of the higher name (FC-LS-3, 6.2.2).
    pub(super) fn goes_first(&self, number: usize, from: &Sender) -> bool {
        self.plogis.iter().any(|plogi| (plogi.number, plogi.to.login) == (number, from.login))
            && self.targets[number].identity.name > from.port_name
    }

    pub(super) fn forget_plogi(&mut self, number: usize, login: LoginId) {
        self.plogis.retain(|plogi| (plogi.number, plogi.to.login) != (number, login));
    }
}
