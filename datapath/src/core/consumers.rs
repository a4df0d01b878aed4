//! The consumers of a core, and whose turn it is.
//!
//! A step looks at those that had something to do lately. Who is silent for long rests, until it calls. So thousands of
//! queues that are open and idle, such as those of a host's guests, cost a step nothing.

use crate::consumer::{AfterTurn, Calls, ConsumerPort};
use std::collections::VecDeque;
use std::sync::Arc;

/// The most consumers of a core. Each has a descriptor, of which a process has fewer.
const MAX_CONSUMERS: usize = 1 << 16;

/// Consumers by their numbers, which exchanges know.
pub(super) struct Consumers {
    ports: Vec<Option<ConsumerPort>>,
    /// Those that don't rest, in the order of their turns.
    awake: VecDeque<u16>,
    calls: Arc<Calls>,
}

impl Consumers {
    pub(super) fn new() -> Self {
        Self { ports: Vec::new(), awake: VecDeque::new(), calls: Arc::new(Calls::new(MAX_CONSUMERS)) }
    }

    /// Takes the core's end of a consumer.
    ///
    /// # Panics
    /// If there are 65,536 already.
    pub(super) fn attach(&mut self, mut port: ConsumerPort) {
        self.drop_finished();
        let number = self.ports.iter().position(Option::is_none).unwrap_or_else(|| {
            assert!(self.ports.len() < MAX_CONSUMERS, "more than {MAX_CONSUMERS} consumers");
            self.ports.push(None);
            self.ports.len() - 1
        });
        let place = &mut self.ports[number];
        let number = u16::try_from(number).expect("bounded above");
        port.settle(Arc::clone(&self.calls), number);
        *place = Some(port);
        self.awake.push_back(number);
    }

    pub(super) fn get_mut(&mut self, number: u16) -> Option<&mut ConsumerPort> {
        self.ports.get_mut(usize::from(number))?.as_mut()
    }

    /// Whose command is out.
    ///
    /// # Panics
    /// If nobody has that number: who has commands out stays attached.
    #[inline(always)]
    pub(super) fn of_command(&mut self, number: u16) -> &mut ConsumerPort {
        self.get_mut(number).expect("a consumer with commands out stays attached")
    }

    /// How many have their turn in this step: those that have called, too.
    pub(super) fn turns(&mut self) -> usize {
        self.hear_calls();
        self.awake.len()
    }

    /// Whose turn it is, until [`Self::end_turn`].
    pub(super) fn turn(&self) -> Option<u16> {
        self.awake.front().copied()
    }

    /// It is the next one's turn. `has_taken` says whether there was a command.
    pub(super) fn end_turn(&mut self, has_taken: bool) {
        let number = self.awake.pop_front().expect("it is somebody's turn");
        let place = &mut self.ports[usize::from(number)];
        match place.as_mut().expect("who has a turn is there").end_turn(has_taken) {
            AfterTurn::Stays => self.awake.push_back(number),
            AfterTurn::Rests => {}
            AfterTurn::Finished => *place = None,
        }
    }

    /// Whether one has something for the core.
    pub(super) fn have_command(&self) -> bool {
        let port = |&number: &u16| self.ports[usize::from(number)].as_ref();
        self.calls.any() || self.awake.iter().filter_map(port).any(ConsumerPort::has_command)
    }

    fn hear_calls(&mut self) {
        let Self { ports, awake, calls } = self;
        calls.take(|number| {
            let port = ports.get_mut(usize::from(number)).and_then(Option::as_mut);
            if port.is_some_and(ConsumerPort::wake_up) {
                awake.push_back(number);
            }
        });
    }

    /// Makes room where consumers are gone and nothing of theirs is out.
    fn drop_finished(&mut self) {
        self.hear_calls();
        let ports = &mut self.ports;
        self.awake.retain(|&number| {
            let place = &mut ports[usize::from(number)];
            let is_finished = place.as_ref().is_some_and(ConsumerPort::is_finished);
            if is_finished {
                *place = None;
            }
            !is_finished
        });
    }
}
