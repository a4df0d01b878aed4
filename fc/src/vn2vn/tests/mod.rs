//! An ENode against ports made by hand, and against others of its kind, on a clock that jumps from deadline to
//! deadline.

mod any_input;
mod claims;
mod neighbours;
mod transitions;
mod vlans;

use super::*;
use crate::wire::Wwn;
use crate::wire::els::{ElsRequest, Login};
use crate::wire::ethernet::{EtherType, EthernetHeader, MIN_FRAME_LEN};
use crate::wire::fip::{Descriptor, Els, ElsKind, Fc4Attributes, FipFrame, Flags, MAX_FCOE_SIZE, Operation};
use crate::wire::header::{FcHeader, FcType, RCtl};
use std::boxed::Box;
use std::vec;

const OUR_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x0e]);
/// Its low bits are the N_Port_ID that we try first.
const OUR_NAME: Wwn = Wwn::from_u64(0x2000_0000_0000_0e0e);
const OUR_ID: FcId = FcId([0, 0x0e, 0x0e]);
const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
/// How long it takes from a link to an N_Port_ID that stands, at most, without VLAN discovery.
const SETTLED: Duration = SECOND;

fn config(vlan: VlanChoice) -> Config {
    Config { vlan, ..Config::new(OUR_MAC, Wwn::from_mac(0x1000, OUR_MAC), OUR_NAME) }
}

/// Another port as a test wants it.
#[derive(Clone, Copy, Debug)]
struct TestPort {
    mac: MacAddr,
    node_name: Wwn,
    port_name: Wwn,
    id: FcId,
    max_fcoe_size: u16,
    vlan: Option<VlanTag>,
}

impl TestPort {
    /// A port whose name is above ours, with an N_Port_ID of its own.
    fn new(number: u8) -> Self {
        let mac = MacAddr([2, 0, 0, 0, 0xee, number]);
        Self {
            mac,
            node_name: Wwn::from_mac(0x1000, mac),
            port_name: Wwn::from_mac(0x2100, mac),
            id: FcId([0, 0x20, number]),
            max_fcoe_size: MAX_FCOE_SIZE,
            vlan: None,
        }
    }

    /// One with our N_Port_ID and a name above or below ours.
    fn rival(is_higher: bool) -> Self {
        let port_name = Wwn::from_u64(if is_higher { u64::MAX } else { 1 });
        Self { id: OUR_ID, port_name, ..Self::new(1) }
    }

    fn port_mac(&self) -> MacAddr {
        Enode::fcoe_destination(self.id)
    }

    fn frame(&self, operation: Operation, flags: Flags) -> FipFrame {
        let port = VxPort { mac: self.port_mac(), fc_id: self.id, port_name: self.port_name };
        let mut descriptors =
            vec![Descriptor::Mac(self.mac), Descriptor::Name(self.node_name), Descriptor::VxPort(port)];
        if [Operation::CLAIM_NOTIFICATION, Operation::CLAIM_RESPONSE].contains(&operation) {
            let attributes = Fc4Attributes::NONE.with(FcType::FCP, 1);
            descriptors.push(Descriptor::Fc4Attributes(Box::new(attributes)));
            descriptors.push(Descriptor::MaxFcoeSize(self.max_fcoe_size));
        }
        FipFrame::new(operation, flags, descriptors)
    }

    /// The frame that the port sends in one of the five ways.
    fn says(&self, operation: Operation) -> Vec<u8> {
        let (destination, source) = match operation {
            Operation::PROBE_REPLY | Operation::CLAIM_RESPONSE => (OUR_MAC, self.mac),
            Operation::BEACON => (MacAddr::ALL_VN2VN_ENODE, self.port_mac()),
            _ => (MacAddr::ALL_VN2VN_ENODE, self.mac),
        };
        self.frame(operation, Flags::NONE).to_ethernet(destination, source, self.vlan)
    }

    /// A link service by FIP to us.
    fn asks(&self, kind: ElsKind, request: &ElsRequest) -> Vec<u8> {
        let header = FcHeader::request((RCtl::ELS_REQUEST, FcType::ELS), self.id, OUR_ID, 0x10);
        let els = Els { kind, header, payload: request.to_payload() };
        let descriptors = vec![Descriptor::Els(els), Descriptor::Mac(self.port_mac())];
        FipFrame::new(Operation::LINK_SERVICE_REQUEST, Flags::NONE, descriptors)
            .to_ethernet(OUR_MAC, self.mac, self.vlan)
    }

    fn flogi(&self) -> Vec<u8> {
        let login = Login::fabric(self.port_name, self.node_name, 2112);
        self.asks(ElsKind::Flogi, &ElsRequest::Flogi(login))
    }

    fn neighbour(&self) -> Neighbour {
        Neighbour {
            mac: self.mac,
            node_name: self.node_name,
            port: VxPort { mac: self.port_mac(), fc_id: self.id, port_name: self.port_name },
            max_fcoe_size: Some(self.max_fcoe_size),
        }
    }
}

/// A frame that the ENode sent.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Sent {
    at: Instant,
    ethernet: EthernetHeader,
    fip: FipFrame,
}

/// An ENode and its clock.
struct Bench {
    enode: Enode,
    now: Instant,
}

impl Bench {
    /// The link has just come up.
    fn up(config: Config) -> Self {
        let mut bench = Self { enode: Enode::new(config), now: Instant::ZERO + SECOND };
        bench.enode.link_up(bench.now);
        bench
    }

    /// The N_Port_ID is ours and nothing is left to fetch.
    fn claimed() -> Self {
        let mut bench = Self::up(config(VlanChoice::Untagged));
        bench.wait(SETTLED);
        assert_eq!(bench.enode.phase(), Phase::Claimed);
        bench.events();
        bench
    }

    /// The same with a neighbour that was told of.
    fn with_neighbour(port: &TestPort) -> Self {
        let mut bench = Self::claimed();
        bench.receive(&port.says(Operation::CLAIM_NOTIFICATION));
        bench.receive(&port.says(Operation::BEACON));
        assert_eq!(bench.events(), [Event::NeighbourUp(port.neighbour())]);
        bench.sent();
        bench
    }

    fn receive(&mut self, frame: &[u8]) {
        let (ethernet, payload) = EthernetHeader::parse(frame).unwrap();
        self.enode.handle_frame(self.now, &ethernet, payload);
    }

    /// Lets time pass, with every deadline met.
    fn wait(&mut self, time: Duration) -> Vec<Sent> {
        let end = self.now + time;
        let mut sent = self.sent();
        while let Some(at) = self.enode.poll_timeout().filter(|&at| at <= end) {
            self.now = self.now.max(at);
            self.enode.handle_timeout(self.now);
            sent.extend(self.sent());
            let next = self.enode.poll_timeout();
            assert!(next.is_none_or(|next| next > self.now), "a deadline that stays: {next:?}");
        }
        self.now = end;
        sent
    }

    fn sent(&mut self) -> Vec<Sent> {
        let at = self.now;
        core::iter::from_fn(|| self.enode.poll_transmit())
            .map(|frame| {
                assert!(frame.len() >= MIN_FRAME_LEN);
                let (ethernet, payload) = EthernetHeader::parse(&frame).unwrap();
                assert_eq!(ethernet.ethertype, EtherType::FIP);
                Sent { at, ethernet, fip: FipFrame::parse(payload).unwrap() }
            })
            .collect()
    }

    fn operations(&mut self) -> Vec<Operation> {
        self.sent().into_iter().map(|sent| sent.fip.operation).collect()
    }

    fn events(&mut self) -> Vec<Event> {
        core::iter::from_fn(|| self.enode.poll_event()).collect()
    }

    fn id(&self) -> Option<FcId> {
        self.enode.vn_port().map(|port| port.fc_id)
    }

    fn refusals(&self) -> Vec<Option<Refusal>> {
        self.enode.neighbours().iter().map(|status| status.refusal).collect()
    }
}

/// What an operation is called.
fn operation_name(operation: Operation) -> &'static str {
    match operation {
        Operation::VLAN_REQUEST => "VLAN request",
        Operation::VN2VN_VLAN_NOTIFICATION => "VLAN notification",
        Operation::PROBE_REQUEST => "probe request",
        Operation::PROBE_REPLY => "probe reply",
        Operation::CLAIM_NOTIFICATION => "claim",
        Operation::CLAIM_RESPONSE => "claim response",
        Operation::BEACON => "beacon",
        Operation::LINK_SERVICE_REPLY => "reject",
        other => panic!("nobody sends {other:?}"),
    }
}
