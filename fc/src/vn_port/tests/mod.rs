//! A VN_Port against a scripted fabric, on a clock that jumps from deadline to deadline.

mod fabric;
mod neighbours;
mod random;
mod scenarios;

use super::*;
use crate::retry::DEFAULT_RECONNECT_DELAY;
use crate::time::Duration;
use crate::wire::els::ElsRequest;
use crate::wire::header::{FcType, MAX_PAYLOAD_LEN, RCtl};
use fabric::{Reply, ScriptedFabric};
use std::string::String;

const OUR_ID: FcId = FcId([1, 1, 1]);
const OUR_MAC: MacAddr = MacAddr([0x0e, 0xfc, 0, 1, 1, 1]);
const OUR_NAME: Wwn = Wwn::from_u64(0x2100_0000_0000_0000);
const FABRIC_NAME: Wwn = Wwn::from_u64(8);

fn identity(login: LoginKind) -> Identity {
    Identity {
        port_name: OUR_NAME,
        node_name: Wwn::from_u64(0x1100_0000_0000_0000),
        symbolic_port_name: b"port".to_vec(),
        symbolic_node_name: b"node".to_vec(),
        max_payload_len: MAX_PAYLOAD_LEN as u16,
        login,
        reconnect_delay: DEFAULT_RECONNECT_DELAY,
    }
}

fn target_id(number: u32) -> FcId {
    FcId::from_u32(0x02_0000 + number)
}

#[derive(Clone)]
struct Bench {
    port: VnPort,
    fabric: ScriptedFabric,
    now: Instant,
    events: Vec<Event>,
}

impl Bench {
    /// A port before its login to a fabric with this many targets.
    fn new(targets: u32) -> Self {
        Self::with_login(targets, LoginKind::Flogi)
    }

    fn with_login(targets: u32, login: LoginKind) -> Self {
        Self::with_identity(targets, identity(login))
    }

    fn with_identity(targets: u32, identity: Identity) -> Self {
        let port = VnPort::new(identity, OxIdRange::new(7, 7));
        let fabric = ScriptedFabric { targets: (0..targets).map(target_id).collect(), ..Default::default() };
        Self { port, fabric, now: Instant::ZERO, events: Vec::new() }
    }

    /// The same after the login.
    fn online(targets: u32) -> Self {
        Self::new(targets).logged_in()
    }

    fn logged_in(self) -> Self {
        let mut bench = self;
        let targets = bench.fabric.targets.len();
        bench.port.start(bench.now);
        bench.settle();
        assert_eq!(bench.port.phase(), Phase::Online);
        assert_eq!(bench.port.targets().count(), targets);
        bench.forget_past();
        bench
    }

    /// Carries frames to and fro until there are none.
    fn settle(&mut self) {
        loop {
            self.events.extend(core::iter::from_fn(|| self.port.poll_event()));
            let Some(outgoing) = self.port.poll_transmit() else { return };
            for Reply { via, frame, granted_mac } in self.fabric.handle(&outgoing) {
                match via {
                    Via::Fcoe => self.port.handle_frame(self.now, &frame),
                    Via::Fip { .. } => self.port.handle_fip_reply(self.now, &frame, granted_mac),
                }
            }
        }
    }

    /// Lets `duration` pass, deadline by deadline.
    fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(until) = self.port.poll_timeout().filter(|&until| until <= end) {
            self.now = until.max(self.now);
            self.port.handle_timeout(self.now);
            assert!(self.port.poll_timeout().is_none_or(|next| next > self.now), "a deadline that stays");
            self.settle();
        }
        self.now = end;
    }

    /// Whether nothing is out, rests or is to be tried again: but for the list, which is asked for now and then.
    fn is_quiet(&self) -> bool {
        self.port.exchanges.is_empty()
            && self.port.ports.values().all(|entry| entry.port.poll_timeout().is_none())
    }

    /// A link service from `from`; gives the reply, if it is the first frame to come.
    fn ask(&mut self, from: FcId, request: &ElsRequest) -> Option<FcFrame> {
        let kind = (RCtl::ELS_REQUEST, FcType::ELS);
        let frame = FcFrame::request(kind, from, OUR_ID, 0x4000, request.to_payload());
        self.port.handle_frame(self.now, &frame);
        let outgoing = self.port.poll_transmit()?;
        assert_eq!(outgoing.frame.header.r_ctl, RCtl::ELS_REPLY, "the reply goes first");
        Some(outgoing.frame)
    }

    fn forget_past(&mut self) {
        self.events.clear();
        self.fabric.log.clear();
    }

    /// What the fabric has seen since it was last asked.
    fn take_log(&mut self) -> Vec<String> {
        core::mem::take(&mut self.fabric.log)
    }

    fn take_events(&mut self) -> Vec<Event> {
        core::mem::take(&mut self.events)
    }
}
