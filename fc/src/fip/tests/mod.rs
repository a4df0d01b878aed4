//! An ENode against FCFs made by hand, on a clock that jumps from deadline to deadline.

mod any_input;
mod choice;
mod discovery;
mod link;
mod transitions;

use super::*;
use crate::wire::ethernet::{EtherType, EthernetHeader, MIN_FRAME_LEN};
use crate::wire::fip::{Fabric, FcMap, FkaAdvPeriod, MAX_FCOE_SIZE};
use crate::wire::header::{FcType, RCtl};
use crate::wire::{FcId, Wwn};

const ENODE: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x0e]);
const NODE: Wwn = Wwn::from_mac(0x1000, ENODE);
const VLAN: u16 = 1002;
const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn config(vlan: VlanChoice) -> Config {
    Config { vlan, ..Config::new(ENODE, NODE) }
}

/// An FCF as a test wants it.
#[derive(Clone, Copy)]
struct TestFcf {
    mac: MacAddr,
    name: Wwn,
    priority: u8,
    flags: Flags,
    fabric: Fabric,
    fka: FkaAdvPeriod,
    vlan: Option<VlanTag>,
    /// Bytes that a solicited advertisement has.
    solicited_len: usize,
}

impl TestFcf {
    fn new(number: u8) -> Self {
        let mac = MacAddr([2, 0, 0, 0, 0xfc, number]);
        Self {
            mac,
            name: Wwn::from_mac(0x1000, mac),
            priority: 128,
            flags: Flags::FPMA.with(Flags::AVAILABLE).with(Flags::F_PORT),
            fabric: Fabric { vf_id: 0, fc_map: FcMap::DEFAULT, name: Wwn::from_u64(0x1000_0000_0000_fab1) },
            fka: FkaAdvPeriod { no_keep_alives: false, period_ms: 8000 },
            vlan: None,
            solicited_len: MAX_FCOE_SIZE.into(),
        }
    }

    fn frame(&self, destination: MacAddr, fip: &FipFrame) -> Vec<u8> {
        fip.to_ethernet(destination, self.mac, self.vlan)
    }

    fn advertisement(&self) -> FipFrame {
        FipFrame::new(
            Operation::ADVERTISEMENT,
            self.flags,
            vec![
                Descriptor::Priority(self.priority),
                Descriptor::Mac(self.mac),
                Descriptor::Name(self.name),
                Descriptor::Fabric(self.fabric),
                Descriptor::FkaAdvPeriod(self.fka),
            ],
        )
    }

    fn multicast(&self) -> Vec<u8> {
        self.frame(MacAddr::ALL_ENODE, &self.advertisement())
    }

    fn solicited(&self) -> Vec<u8> {
        let mut advertisement = self.advertisement();
        advertisement.flags = self.flags.with(Flags::SOLICITED);
        advertisement.padding_len = self.solicited_len - advertisement.len();
        self.frame(ENODE, &advertisement)
    }

    fn notification(&self, vlans: &[u16]) -> Vec<u8> {
        let mac = Descriptor::Mac(self.mac);
        let vlans = vlans.iter().map(|&id| Descriptor::Vlan(id));
        let descriptors = core::iter::once(mac).chain(vlans).collect();
        FipFrame::new(Operation::VLAN_NOTIFICATION, Flags::NONE, descriptors)
            .to_ethernet(ENODE, self.mac, None)
    }

    fn clear(&self, ports: &[VxPort]) -> FipFrame {
        let mut descriptors = vec![Descriptor::Mac(self.mac), Descriptor::Name(self.name)];
        descriptors.extend(ports.iter().map(|&port| Descriptor::VxPort(port)));
        FipFrame::new(Operation::CLEAR_VIRTUAL_LINKS, Flags::FPMA, descriptors)
    }

    fn reply(&self, kind: ElsKind, command: u8, d_id: FcId, macs: &[MacAddr]) -> Vec<u8> {
        let els = Els { kind, header: els_header(d_id, FcId::F_PORT), payload: vec![command, 0, 0, 0] };
        let macs = macs.iter().map(|&mac| Descriptor::Mac(mac));
        let descriptors = core::iter::once(Descriptor::Els(els)).chain(macs).collect();
        self.frame(ENODE, &FipFrame::new(Operation::LINK_SERVICE_REPLY, Flags::FPMA, descriptors))
    }
}

fn els_header(d_id: FcId, s_id: FcId) -> FcHeader {
    FcHeader::request((RCtl::ELS_REQUEST, FcType::ELS), s_id, d_id, 0x10)
}

fn vn_port(number: u8) -> VxPort {
    let fc_id = FcId([1, 1, number]);
    let mac = MacAddr::fabric_provided(FcMap::DEFAULT.0, fc_id);
    VxPort { mac, fc_id, port_name: Wwn::from_mac(0x2000, mac) }
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

    /// Linked to `fcf`, nothing left to fetch.
    fn linked(fcf: &TestFcf) -> Self {
        let mut bench =
            Self::up(config(fcf.vlan.map_or(VlanChoice::Untagged, |v| VlanChoice::Fixed(v.id()))));
        bench.receive(&fcf.solicited());
        bench.wait(SECOND * 2);
        assert_eq!(bench.enode.phase(), Phase::Linked);
        bench.events();
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
        let mut sent = Vec::new();
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

    /// The same while `fcf` advertises.
    fn wait_with(&mut self, time: Duration, fcf: &TestFcf) -> Vec<Sent> {
        let end = self.now + time;
        let mut sent = Vec::new();
        while self.now < end {
            self.receive(&fcf.multicast());
            let step = Duration::from_millis(fcf.fka.period_ms.into());
            sent.extend(self.wait(step.min(end - self.now)));
        }
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

    fn events(&mut self) -> Vec<Event> {
        core::iter::from_fn(|| self.enode.poll_event()).collect()
    }

    fn selected(&self) -> Option<MacAddr> {
        self.enode.selected().map(|fcf| fcf.mac)
    }

    fn refusals(&self) -> Vec<Option<Refusal>> {
        self.enode.fcfs().iter().map(|status| status.refusal).collect()
    }
}

/// The times of the frames of one operation, since the bench's link came up.
fn times(sent: &[Sent], operation: Operation) -> Vec<Duration> {
    let of_kind = sent.iter().filter(|sent| sent.fip.operation == operation);
    of_kind.map(|sent| sent.at - (Instant::ZERO + SECOND)).collect()
}
