//! The transition table: every phase, every input.

use super::*;
use std::format;
use std::string::String;

/// What happens to an ENode.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Input {
    LinkUp,
    LinkDown,
    /// The deadline of the phase comes, and nothing else.
    Deadline,
    /// A neighbour tells its VLAN, and there is time to settle.
    VlanTold,
    /// A port asks for its VLAN.
    VlanAsked,
    /// A port with our N_Port_ID and a lower name.
    Lower(Operation),
    /// A port with our N_Port_ID and a higher name.
    Higher(Operation),
    /// A probe of a lower port that had our N_Port_ID before.
    LowerRecorded,
    /// A port with an N_Port_ID of its own.
    Other(Operation),
    /// An FLOGI of a port that isn't known.
    Flogi,
}

impl Input {
    fn all() -> Vec<Self> {
        const OPERATIONS: [Operation; 5] = [
            Operation::PROBE_REQUEST,
            Operation::PROBE_REPLY,
            Operation::CLAIM_NOTIFICATION,
            Operation::CLAIM_RESPONSE,
            Operation::BEACON,
        ];
        let mut all = vec![Self::LinkUp, Self::LinkDown, Self::Deadline, Self::VlanTold, Self::VlanAsked];
        all.extend(OPERATIONS.map(Self::Lower));
        all.push(Self::LowerRecorded);
        all.extend(OPERATIONS.map(Self::Higher));
        all.extend(OPERATIONS.map(Self::Other));
        all.push(Self::Flogi);
        all
    }

    fn name(self) -> String {
        match self {
            Self::Lower(operation) => format!("lower {}", operation_name(operation)),
            Self::Higher(operation) => format!("higher {}", operation_name(operation)),
            Self::Other(operation) => format!("other {}", operation_name(operation)),
            input => format!("{input:?}"),
        }
    }
}

const PHASES: [Phase; 6] = [
    Phase::LinkDown,
    Phase::VlanDiscovery,
    // Before the first probe, and after the last one.
    Phase::Probing,
    Phase::Probing,
    Phase::Claiming,
    Phase::Claimed,
];

/// An ENode that has just come to the phase with this index.
fn bench_in(index: usize) -> Bench {
    let mut bench = Bench { enode: Enode::new(config(VlanChoice::Discover)), now: Instant::ZERO + SECOND };
    if index > 0 {
        bench.enode.link_up(bench.now);
    }
    while bench.enode.phase() != PHASES[index] {
        assert!(bench.step());
    }
    if index == 3 {
        bench.step();
        bench.step();
    }
    // Claims that follow each other too closely are another matter.
    bench.now = bench.now + ANNOUNCE_WAIT;
    assert_eq!(bench.enode.phase(), PHASES[index]);
    bench.sent();
    bench.events();
    bench
}

impl Bench {
    /// Meets the next deadline, if there is one.
    fn step(&mut self) -> bool {
        let Some(at) = self.enode.poll_timeout() else { return false };
        self.now = self.now.max(at);
        self.enode.handle_timeout(self.now);
        true
    }
}

fn apply(bench: &mut Bench, input: Input) {
    match input {
        Input::LinkUp => bench.enode.link_up(bench.now),
        Input::LinkDown => bench.enode.link_down(),
        Input::Deadline => drop(bench.step()),
        Input::VlanTold => {
            let port = TestPort::new(1);
            let descriptors = vec![Descriptor::Mac(port.mac), Descriptor::Vlan(100)];
            let frame = FipFrame::new(Operation::VN2VN_VLAN_NOTIFICATION, Flags::NONE, descriptors);
            bench.receive(&frame.to_ethernet(OUR_MAC, port.mac, None));
            if bench.enode.phase() == Phase::VlanDiscovery {
                bench.step();
            }
        }
        Input::VlanAsked => {
            let port = TestPort::new(1);
            let frame = FipFrame::new(Operation::VLAN_REQUEST, Flags::NONE, vec![Descriptor::Mac(port.mac)]);
            bench.receive(&frame.to_ethernet(MacAddr::ALL_VN2VN_ENODE, port.mac, None));
        }
        Input::Lower(operation) => bench.receive(&TestPort::rival(false).says(operation)),
        Input::LowerRecorded => {
            let rival = TestPort::rival(false);
            let probe = rival.frame(Operation::PROBE_REQUEST, Flags::RECORDED);
            bench.receive(&probe.to_ethernet(MacAddr::ALL_VN2VN_ENODE, rival.mac, None));
        }
        Input::Higher(operation) => bench.receive(&TestPort::rival(true).says(operation)),
        Input::Other(operation) => bench.receive(&TestPort::new(1).says(operation)),
        Input::Flogi => bench.receive(&TestPort::new(1).flogi()),
    }
}

fn event_name(event: &Event) -> String {
    match event {
        Event::VlanDiscoveryUnanswered => "unanswered".into(),
        Event::VlanChosen { vlan } => format!("VLAN {}", vlan.map_or(0, VlanTag::id)),
        Event::Claimed(_) => "claimed".into(),
        Event::Released { reason, .. } => format!("released: {reason:?}"),
        Event::NeighbourUp(_) => "neighbour up".into(),
        Event::NeighbourGone { reason, .. } => format!("neighbour gone: {reason:?}"),
        Event::ElsRequest { .. } => "request".into(),
        Event::ElsReply(_) => "reply".into(),
    }
}

/// What every input does in every phase: the phase after it, what is sent, the events.
const TABLE: &str = include_str!("transitions.txt");

#[test]
fn every_transition_is_as_the_table_says() {
    let mut table = String::new();
    for (index, phase) in PHASES.into_iter().enumerate() {
        let from = if index == 3 { "Probed".into() } else { format!("{phase:?}") };
        for input in Input::all() {
            let mut bench = bench_in(index);
            let conflicts = bench.enode.counters().conflicts;
            apply(&mut bench, input);
            let mut effects: Vec<String> = Vec::new();
            if bench.enode.counters().conflicts > conflicts {
                effects.push("new ID".into());
            }
            effects.extend(bench.operations().into_iter().map(|operation| operation_name(operation).into()));
            effects.extend(bench.events().iter().map(event_name));
            let after = format!("{:?}", bench.enode.phase());
            let line = format!("{from:<13} {:<21} -> {after:<13} {}", input.name(), effects.join(", "));
            table += line.trim_end();
            table.push('\n');
        }
    }
    assert_eq!(table, TABLE, "\n{table}");
}
