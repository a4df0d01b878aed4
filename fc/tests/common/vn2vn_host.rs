//! A VN2VN ENode with its VN_Port, joined as whoever drives them joins them.

use fc::exchange::OxIdRange;
use fc::frame::FcFrame;
use fc::time::Instant;
use fc::vn_port::{self, Identity, LoginKind, Outgoing, Via, VnPort};
use fc::vn2vn::{Config, Enode, Event};
use fc::wire::ethernet::{EtherType, EthernetHeader, MAX_HEADER_LEN};
use fc::wire::fcoe::{self, FcoeFrame};

#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub(crate) enode: Enode,
    pub(crate) vn_port: VnPort,
    /// What the VN_Port has told.
    pub(crate) events: Vec<vn_port::Event>,
}

impl Host {
    /// A host without a link.
    pub(crate) fn new(config: Config) -> Self {
        let identity = Identity {
            port_name: config.port_name,
            node_name: config.node_name,
            symbolic_port_name: Vec::new(),
            symbolic_node_name: Vec::new(),
            max_payload_len: fcoe::max_payload_len(config.max_fcoe_size.into()).expect("a usual size"),
            login: LoginKind::Flogi,
            reconnect_delay: fc::vn_port::DEFAULT_RECONNECT_DELAY,
        };
        let vn_port = VnPort::vn2vn(identity, OxIdRange::new(7, 7));
        Self { enode: Enode::new(config), vn_port, events: Vec::new() }
    }

    /// Takes a whole Ethernet frame in, as far as it is for this host.
    pub(crate) fn receive(&mut self, now: Instant, bytes: &[u8]) {
        let Ok((ethernet, payload)) = EthernetHeader::parse(bytes) else { return };
        if ethernet.ethertype == EtherType::FIP {
            self.enode.handle_frame(now, &ethernet, payload);
        } else if self.vn_port.session().is_some_and(|session| session.mac == ethernet.destination)
            && let Ok(frame) = FcoeFrame::parse(payload)
            && let Ok(payload) = frame.payload()
        {
            let frame = FcFrame { header: *frame.header(), payload: payload.to_vec() };
            self.vn_port.handle_frame(now, &frame);
        }
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.enode.handle_timeout(now);
        self.vn_port.handle_timeout(now);
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        [self.enode.poll_timeout(), self.vn_port.poll_timeout()].into_iter().flatten().min()
    }

    /// Every whole Ethernet frame that the host sends now, in order.
    pub(crate) fn settle(&mut self, now: Instant) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        loop {
            if let Some(event) = self.enode.poll_event() {
                self.handle_event(now, event);
            } else if let Some(event) = self.vn_port.poll_event() {
                self.events.push(event);
            } else if let Some(frame) = self.enode.poll_transmit() {
                frames.push(frame);
            } else {
                match self.vn_port.poll_transmit() {
                    // To a neighbour that is gone it is lost.
                    Some(Outgoing { via: Via::Fip { kind, mac }, frame }) => {
                        let _ = self.enode.send_els(kind, frame.header, &frame.payload, mac);
                    }
                    Some(Outgoing { via: Via::Fcoe, frame }) => frames.push(fcoe_frame(&frame)),
                    None => return frames,
                }
            }
        }
    }

    fn handle_event(&mut self, now: Instant, event: Event) {
        match event {
            Event::VlanDiscoveryUnanswered | Event::VlanChosen { .. } => {}
            Event::Claimed(port) => self.vn_port.id_claimed(now, &port),
            Event::Released { .. } => self.vn_port.link_lost(now),
            Event::NeighbourUp(neighbour) => self.vn_port.neighbour_up(now, &neighbour),
            Event::NeighbourGone { id, .. } => self.vn_port.neighbour_gone(now, id),
            Event::ElsRequest { from, kind, frame } => {
                self.vn_port.handle_fip_request(now, &from, kind, &frame);
            }
            Event::ElsReply(frame) => self.vn_port.handle_fip_reply(now, &frame, None),
        }
    }
}

/// An FC frame between neighbours, on its way.
pub(crate) fn fcoe_frame(frame: &FcFrame) -> Vec<u8> {
    let ethernet = EthernetHeader {
        destination: Enode::fcoe_destination(frame.header.d_id),
        source: Enode::fcoe_destination(frame.header.s_id),
        vlan: None,
        ethertype: EtherType::FCOE,
    };
    let mut bytes = vec![0; fcoe::frame_len(MAX_HEADER_LEN, frame.payload.len())];
    let len = fcoe::emit(&mut bytes, &ethernet, frame.sof(), &frame.header, &frame.payload, frame.eof());
    bytes.truncate(len);
    bytes
}
