//! How a VN_Port comes by its N_Port_ID without a switch: it asks whether somebody has it, and then says that it
//! has it (FC-BB-6).
//!
//! ```text
//!     0..100 ms        100 ms              400 ms          400 ms
//!  Waiting ------> Probing ------> ProbingAgain ------> Claiming ------> Up ----+ beacon after
//!     ^      probe          probe              claim            beacon   |  ^   | 400 ms, then
//!     |                                                                  |  +---+ every 8 s
//!     +------------ somebody else has the N_Port_ID: another one --------+
//! ```
//!
//! A port whose cable is out is `Down` until it is in again, and then `Waiting`.

use crate::random::Random;
use fc::time::{Duration, Instant};
use fc::wire::fip::Operation;
use fc::wire::{FcId, Wwn};

/// The most that a port waits before its first probe, so that many that start at once don't ask at once.
const MAX_PROBE_WAIT: Duration = Duration::from_millis(100);
/// Between the two probes.
const PROBE_INTERVAL: Duration = Duration::from_millis(100);
/// How long a port waits for objections to its last probe and to its claim, and the least between claims that
/// newcomers make it repeat.
const ANNOUNCE_WAIT: Duration = Duration::from_millis(400);
/// How often a port shows that it lives.
pub(super) const BEACON_PERIOD: Duration = Duration::from_secs(8);
/// The most that a beacon is late.
const MAX_BEACON_JITTER: Duration = Duration::from_millis(100);
/// After so many N_Port_IDs that others had, the next ones are tried slowly.
const MAX_QUICK_TRIES: u32 = 10;
const SLOW_TRY_WAIT: Duration = Duration::from_secs(10);

/// After everything else.
pub(super) const NEVER: Instant = Instant::from_nanos(u64::MAX);

/// Of the 24 bits, VN2VN uses 16; 0 and 0xffff are reserved.
const ID_MASK: u32 = 0xffff;

/// Whether a VN2VN port can have this N_Port_ID.
pub(super) fn is_claimable(id: FcId) -> bool {
    (1..ID_MASK).contains(&id.to_u32())
}

/// How far a port is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    Waiting,
    Probing,
    ProbingAgain,
    Claiming,
    Up,
    Down,
}

/// What a frame with this port's N_Port_ID, but of another port, makes it do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reaction {
    /// Tell the other one that it is taken.
    Reply,
    /// Claim it again.
    Claim,
    /// Take another one: [`Claim::give_up`].
    GiveUp,
    /// Nothing.
    Ignore,
}

/// A port's N_Port_ID and its right to it.
#[derive(Debug)]
pub(super) struct Claim {
    state: State,
    id: FcId,
    due: Instant,
    /// N_Port_IDs tried since one was kept.
    tries: u32,
    /// When it last claimed, or answered something to all.
    last_answer: Option<Instant>,
    random: Random,
}

impl Claim {
    /// Begins with the low bits of the port's name.
    pub(super) fn new(port_name: Wwn, is_taken: impl Fn(FcId) -> bool) -> Self {
        let mut claim = Self {
            state: State::Waiting,
            id: FcId::from_u32(port_name.to_u64() as u32 & ID_MASK),
            due: Instant::ZERO,
            tries: 0,
            last_answer: None,
            random: Random::new(port_name),
        };
        if !is_claimable(claim.id) || is_taken(claim.id) {
            claim.choose(is_taken);
        }
        claim.restart(Instant::ZERO);
        claim
    }

    pub(super) fn id(&self) -> FcId {
        self.id
    }

    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Whether others know it by its N_Port_ID.
    pub(super) fn is_claimed(&self) -> bool {
        matches!(self.state, State::Claiming | State::Up)
    }

    pub(super) fn is_up(&self) -> bool {
        self.state == State::Up
    }

    /// Begins anew with the same N_Port_ID.
    pub(super) fn restart(&mut self, now: Instant) {
        self.state = State::Waiting;
        self.tries = 0;
        self.last_answer = None;
        self.due = now + self.random.duration(MAX_PROBE_WAIT);
    }

    /// The cable is out.
    pub(super) fn unplug(&mut self) {
        self.state = State::Down;
        self.due = NEVER;
    }

    /// Whether the cable is in.
    pub(super) fn is_plugged(&self) -> bool {
        self.state != State::Down
    }

    /// Begins anew with another N_Port_ID.
    pub(super) fn give_up(&mut self, now: Instant, is_taken: impl Fn(FcId) -> bool) {
        let tries = self.tries + 1;
        self.choose(is_taken);
        self.restart(now);
        self.tries = tries;
        if tries > MAX_QUICK_TRIES {
            self.due = now + SLOW_TRY_WAIT;
        }
    }

    /// What to send to all, once [`Self::due`] has come.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Operation {
        let (state, wait, operation) = match self.state {
            State::Waiting => (State::Probing, PROBE_INTERVAL, Operation::PROBE_REQUEST),
            State::Probing => (State::ProbingAgain, ANNOUNCE_WAIT, Operation::PROBE_REQUEST),
            State::ProbingAgain => (State::Claiming, ANNOUNCE_WAIT, Operation::CLAIM_NOTIFICATION),
            // A second beacon soon, for those who were not up for the first one.
            State::Claiming => (State::Up, ANNOUNCE_WAIT, Operation::BEACON),
            State::Up => {
                self.tries = 0;
                let period = BEACON_PERIOD + self.random.duration(MAX_BEACON_JITTER);
                (State::Up, period, Operation::BEACON)
            }
            State::Down => unreachable!("it is never due"),
        };
        if operation == Operation::CLAIM_NOTIFICATION {
            self.last_answer = Some(now);
        }
        self.state = state;
        self.due = now + wait;
        operation
    }

    /// What to do about a frame of another port with this port's N_Port_ID. `wins` is whether the other one's name
    /// is the higher one, `is_recorded` whether its frame has the REC flag.
    pub(super) fn react(&self, operation: Operation, wins: bool, is_recorded: bool) -> Reaction {
        use State::{Claiming, Down, Probing, ProbingAgain, Up, Waiting};
        match (self.state, operation) {
            (Probing | ProbingAgain, Operation::PROBE_REQUEST) if !wins && !is_recorded => Reaction::Reply,
            (Waiting | Probing | ProbingAgain, _) => Reaction::GiveUp,
            (Claiming | Up, Operation::PROBE_REQUEST) => Reaction::Reply,
            (Claiming, Operation::PROBE_REPLY) => Reaction::GiveUp,
            (Claiming | Up, Operation::CLAIM_NOTIFICATION | Operation::CLAIM_RESPONSE) if wins => {
                Reaction::GiveUp
            }
            (Claiming | Up, _) => Reaction::Claim,
            (Down, _) => Reaction::Ignore,
        }
    }

    /// Whether to send something to all because of what others sent: not again and again.
    pub(super) fn may_answer(&mut self, now: Instant) -> bool {
        let may = self.last_answer.is_none_or(|last| now.since(last) >= ANNOUNCE_WAIT);
        if may {
            self.last_answer = Some(now);
        }
        may
    }

    /// Another N_Port_ID that nobody is known to have; there are far more of them than ports are remembered.
    fn choose(&mut self, is_taken: impl Fn(FcId) -> bool) {
        loop {
            let id = FcId::from_u32(self.random.number() as u32 & ID_MASK);
            if is_claimable(id) && id != self.id && !is_taken(id) {
                self.id = id;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use State::{Claiming, Down, Probing, ProbingAgain, Up, Waiting};

    const NAME: Wwn = Wwn::from_u64(0x2000_02fc_f000_0101);

    fn claim(state: State) -> Claim {
        Claim { state, ..Claim::new(NAME, |_| false) }
    }

    /// What another port with this port's N_Port_ID says: the operation, whether it has the higher name, and whether
    /// its frame has the REC flag.
    const SAID: [(Operation, bool, bool); 11] = [
        (Operation::PROBE_REQUEST, false, false),
        (Operation::PROBE_REQUEST, false, true),
        (Operation::PROBE_REQUEST, true, false),
        (Operation::PROBE_REPLY, false, false),
        (Operation::PROBE_REPLY, true, false),
        (Operation::CLAIM_NOTIFICATION, false, false),
        (Operation::CLAIM_NOTIFICATION, true, false),
        (Operation::CLAIM_RESPONSE, false, false),
        (Operation::CLAIM_RESPONSE, true, false),
        (Operation::BEACON, false, false),
        (Operation::BEACON, true, false),
    ];
    /// R: reply to it, C: claim again, G: give the N_Port_ID up.
    #[rustfmt::skip]
    const REACTIONS: [(State, &str); 6] = [
        //               probe  reply  claim  resp.  beacon
        (Waiting,      " G G G   G G    G G    G G    G G "),
        (Probing,      " R G G   G G    G G    G G    G G "),
        (ProbingAgain, " R G G   G G    G G    G G    G G "),
        (Claiming,     " R R R   G G    C G    C G    C C "),
        (Up,           " R R R   C C    C G    C G    C C "),
        (Down,         " - - -   - -    - -    - -    - - "),
    ];

    #[test]
    fn every_state_reacts_as_the_table_says() {
        for (state, row) in REACTIONS {
            let expected: Vec<_> = row.split_whitespace().collect();
            assert_eq!(expected.len(), SAID.len());
            for ((operation, wins, is_recorded), expected) in SAID.into_iter().zip(expected) {
                let reaction = match claim(state).react(operation, wins, is_recorded) {
                    Reaction::Reply => "R",
                    Reaction::Claim => "C",
                    Reaction::GiveUp => "G",
                    Reaction::Ignore => "-",
                };
                assert_eq!(reaction, expected, "{state:?} {operation:?} wins {wins} recorded {is_recorded}");
            }
        }
    }

    #[test]
    fn the_first_id_is_of_the_name_if_it_can_be() {
        let id = |name, taken: u32| Claim::new(Wwn::from_u64(name), |id| id.to_u32() == taken).id();
        assert_eq!(id(0x2000_0000_0000_1234, 0), FcId::from_u32(0x1234));
        assert_eq!(id(0x2000_0000_0001_1234, 0), FcId::from_u32(0x1234));
        for (name, taken) in
            [(0x2000_0000_0001_0000, 0), (0x2000_0000_0000_ffff, 0), (0x2000_0000_0000_1234, 0x1234)]
        {
            let id = id(name, taken);
            assert!(is_claimable(id) && id.to_u32() != taken, "{id}");
        }
    }

    #[test]
    fn others_are_answered_now_and_then_only() {
        let mut claim = claim(Up);
        let at = |ms| Instant::ZERO + Duration::from_millis(ms);
        let answers = [0, 1, 399, 400, 401, 800].map(|ms| claim.may_answer(at(ms)));
        assert_eq!(answers, [true, false, false, true, false, true]);
    }
}
