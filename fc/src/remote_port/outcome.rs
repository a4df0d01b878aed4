//! What came of what we ask of a remote port.

use super::target::{Image, Peer, Target, judge_process_login};
use super::{GoneReason, PortEvent, RemotePort, State};
use crate::exchange::{Answer, Failure, Order, Request};
use crate::time::Instant;
use crate::wire::els::{ElsReply, ElsRequest, Reason};

/// ADISCs without an answer after which a port counts as lost. One lost frame shall not fail commands.
const MAX_VERIFY_TIMEOUTS: u32 = 2;

impl RemotePort {
    /// Takes what came of the request that is out.
    pub(crate) fn handle_outcome(&mut self, now: Instant, outcome: Result<Answer, Failure>) {
        let reply = outcome.and_then(|answer| match answer {
            Answer::Els { reply, .. } => Ok(reply),
            Answer::NameServer(_) => Err(Failure::Unusable("the reply is to another request")),
        });
        match self.state {
            // Nothing is out.
            State::Waiting { .. }
            | State::AwaitingLogin { .. }
            | State::Ready { .. }
            | State::NoTarget { .. } => {}
            State::Linking => match reply.and_then(|reply| self.judge_link(&reply)) {
                Ok(()) => self.linked(now),
                Err(failure) => self.fail(now, None, failure),
            },
            State::LoggingIn => match reply.and_then(|reply| self.judge_login(&reply)) {
                Ok(peer) => self.log_process_in(peer),
                Err(failure) => self.fail(now, None, failure),
            },
            State::ProcessLogin { peer } => self.process_login_done(now, peer, reply),
            State::ReadingTimeouts { peer, target } => {
                // RTV is a nicety that many ports don't have.
                let target = match reply {
                    Ok(ElsReply::Rtv(values)) => target.with_timeouts(&values),
                    Ok(_) | Err(_) => target,
                };
                self.succeed();
                self.state = State::Ready { peer, target };
                self.events.push_back(PortEvent::Ready(target));
            }
            State::Verifying { peer, target, timeouts } => self.verified(peer, target, timeouts, reply),
        }
    }

    fn judge_link(&self, reply: &ElsReply) -> Result<(), Failure> {
        match reply {
            ElsReply::Login(login) if login.port_name == self.port_name => Ok(()),
            ElsReply::Login(_) => Err(Failure::Unusable("the port has another name")),
            _ => Err(Failure::Unusable("the reply is to another request")),
        }
    }

    fn judge_login(&self, reply: &ElsReply) -> Result<Peer, Failure> {
        match reply {
            ElsReply::Login(login) => Peer::new(&self.local, self.port_name, login)
                .map_err(|_| Failure::Unusable("the port has another name, or a receive size not allowed")),
            _ => Err(Failure::Unusable("the reply is to another request")),
        }
    }

    fn process_login_done(&mut self, now: Instant, peer: Peer, reply: Result<ElsReply, Failure>) {
        let image = match reply {
            Ok(ElsReply::Process(process)) => judge_process_login(process.fcp()),
            Ok(_) => Err(Failure::Unusable("the reply is to another request")),
            Err(Failure::Rejected(reject)) if reject.reason == Reason::UNSUPPORTED => Ok(Image::NoTarget),
            Err(failure) => Err(failure),
        };
        match image {
            Ok(Image::Target(parameters)) => {
                let target = Target::new(&self.local, self.id, &peer, parameters);
                // Readiness waits for this reply, so it doesn't wait as long as for others.
                let timeout = self.local.e_d_tov * 2;
                let request = Request { timeout, ..self.request(ElsRequest::Rtv) };
                self.orders.push_back(Order::Ask(request));
                self.state = State::ReadingTimeouts { peer, target };
            }
            Ok(Image::NoTarget) => {
                self.succeed();
                self.state = State::NoTarget { peer };
            }
            // The port may have forgotten our login: it must be asked for again.
            Err(failure @ Failure::Rejected(_)) => self.fail(now, None, failure),
            Err(failure) => self.fail(now, Some(peer), failure),
        }
    }

    /// ADISC was answered or not (FC-LS-3, 4.2.13). Only an answer of another port, a reject or repeated silence
    /// speak against the login.
    fn verified(&mut self, peer: Peer, target: Target, timeouts: u32, reply: Result<ElsReply, Failure>) {
        match reply {
            Ok(ElsReply::Adisc(adisc))
                if adisc.port_name == peer.port_name
                    && adisc.node_name == peer.node_name
                    && adisc.id == self.id =>
            {
                self.state = State::Ready { peer, target };
            }
            Err(Failure::TimedOut | Failure::TooMany) if timeouts + 1 < MAX_VERIFY_TIMEOUTS => {
                self.verify(peer, target, timeouts + 1);
            }
            Ok(_) | Err(_) => {
                self.lose(GoneReason::VerificationFailed);
                self.log_in();
            }
        }
    }
}
