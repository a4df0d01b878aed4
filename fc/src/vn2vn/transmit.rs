//! The frames that a VN2VN ENode sends.

use super::neighbours::Neighbour;
use super::{Enode, MAX_TRANSMIT, NoNeighbour, State};
use crate::frame::FcFrame;
use crate::wire::MacAddr;
use crate::wire::ct::FEATURE_INITIATOR;
use crate::wire::els::{ElsCommand, ElsReply, Explanation, LsRjt, Reason};
use crate::wire::ethernet::VlanTag;
use crate::wire::fip::{Descriptor, Els, ElsKind, Fc4Attributes, FipFrame, Flags, Operation, VxPort};
use crate::wire::header::{FCtl, FcHeader, FcType};
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

impl Enode {
    /// Sends an ELS, or the reply to one, to the neighbour that its D_ID names.
    ///
    /// `mac` goes into the MAC descriptor: the VN_Port's own. An LS_RJT has none, as Linux has it.
    ///
    /// # Errors
    /// If the neighbour is gone: it is as lost as on a bad wire.
    ///
    /// # Panics
    /// If the payload isn't whole words, at least one.
    pub fn send_els(
        &mut self,
        kind: ElsKind,
        header: FcHeader,
        payload: &[u8],
        mac: MacAddr,
    ) -> Result<(), NoNeighbour> {
        assert!(!payload.is_empty(), "an ELS has a command word");
        let Neighbour { mac: destination, .. } = *self.neighbours.get(header.d_id).ok_or(NoNeighbour)?;
        let is_reply = header.f_ctl.has(FCtl::EXCHANGE_RESPONDER);
        let operation =
            if is_reply { Operation::LINK_SERVICE_REPLY } else { Operation::LINK_SERVICE_REQUEST };
        let mut descriptors = vec![Descriptor::Els(Els { kind, header, payload: payload.to_vec() })];
        if !is_reply || payload[0] != ElsCommand::LS_RJT.0 {
            descriptors.push(Descriptor::Mac(mac));
        }
        self.send(destination, &FipFrame::new(operation, Flags::NONE, descriptors));
        Ok(())
    }

    /// Rejects what a port asks of us that is no neighbour (FC-BB-6).
    pub(super) fn reject_stranger(&mut self, destination: MacAddr, request: &Els) {
        let reject = ElsReply::from(LsRjt::new(Reason::FIP, Explanation::NOT_NEIGHBOUR));
        let FcFrame { header, payload } = FcFrame::els_reply(&request.header, reject.to_payload());
        let els = Descriptor::Els(Els { kind: request.kind, header, payload });
        self.send(destination, &FipFrame::new(Operation::LINK_SERVICE_REPLY, Flags::NONE, vec![els]));
    }

    /// Asks neighbours for their VLANs. Such frames have no tag.
    pub(super) fn request_vlan(&mut self) {
        let mac = Descriptor::Mac(self.config.mac);
        let request = FipFrame::new(Operation::VLAN_REQUEST, Flags::NONE, vec![mac]);
        self.push(MacAddr::ALL_VN2VN_ENODE, self.config.mac, None, &request);
    }

    /// Tells a port that asks for it on which VLAN we are; 0 stands for untagged frames.
    pub(super) fn notify_vlan(&mut self, destination: MacAddr) {
        let vlan = Descriptor::Vlan(self.vlan().map_or(0, VlanTag::id));
        let descriptors = vec![Descriptor::Mac(self.config.mac), vlan];
        let notification = FipFrame::new(Operation::VN2VN_VLAN_NOTIFICATION, Flags::NONE, descriptors);
        self.push(destination, self.config.mac, None, &notification);
    }

    /// Asks whether somebody has our N_Port_ID.
    pub(super) fn send_probe(&mut self) {
        let probe = self.announcement(Operation::PROBE_REQUEST);
        self.send(MacAddr::ALL_VN2VN_ENODE, &probe);
    }

    /// Tells a port that it can't have our N_Port_ID.
    pub(super) fn send_probe_reply(&mut self, destination: MacAddr) {
        let reply = self.announcement(Operation::PROBE_REPLY);
        self.send(destination, &reply);
    }

    /// Tells everyone that the N_Port_ID is ours.
    pub(super) fn send_claim(&mut self) {
        let claim = self.claim_of(Operation::CLAIM_NOTIFICATION);
        self.send(MacAddr::ALL_VN2VN_ENODE, &claim);
    }

    /// Answers a neighbour's claim by a frame of the longest size that both ends take: if the path between takes less,
    /// it is found out before there is data (FC-BB-6).
    pub(super) fn send_claim_response(&mut self, neighbour: &Neighbour) {
        let max_len = self.config.max_fcoe_size.min(neighbour.max_fcoe_size.unwrap_or(0));
        let mut response = self.claim_of(Operation::CLAIM_RESPONSE);
        response.padding_len = usize::from(max_len).saturating_sub(response.len());
        self.send(neighbour.mac, &response);
    }

    /// Tells everyone that we are there: by the VN_Port's own MAC address, so that switches learn where it is.
    pub(super) fn send_beacon(&mut self) {
        let State::Claimed(claim) = &self.state else { return };
        let (source, vlan) = (claim.port.mac, claim.vlan);
        let beacon = self.announcement(Operation::BEACON);
        self.push(MacAddr::ALL_VN2VN_ENODE, source, vlan, &beacon);
    }

    /// A frame that says who we are.
    fn announcement(&self, operation: Operation) -> FipFrame {
        FipFrame::new(operation, Flags::NONE, self.identity())
    }

    /// The same with what we can.
    fn claim_of(&self, operation: Operation) -> FipFrame {
        let attributes = Fc4Attributes::NONE.with(FcType::FCP, FEATURE_INITIATOR).with(FcType::CT, 0);
        let mut descriptors = self.identity();
        descriptors.push(Descriptor::Fc4Attributes(Box::new(attributes)));
        descriptors.push(Descriptor::MaxFcoeSize(self.config.max_fcoe_size));
        FipFrame::new(operation, Flags::NONE, descriptors)
    }

    fn identity(&self) -> Vec<Descriptor> {
        let port: VxPort = match &self.state {
            State::Probing(probing) => probing.port,
            State::Claimed(claim) => claim.port,
            State::LinkDown | State::VlanDiscovery(_) => unreachable!("nothing is said without an N_Port_ID"),
        };
        let Self { config, .. } = self;
        vec![Descriptor::Mac(config.mac), Descriptor::Name(config.node_name), Descriptor::VxPort(port)]
    }

    fn send(&mut self, destination: MacAddr, frame: &FipFrame) {
        self.push(destination, self.config.mac, self.vlan(), frame);
    }

    fn push(&mut self, destination: MacAddr, source: MacAddr, vlan: Option<VlanTag>, frame: &FipFrame) {
        if self.transmit.len() == MAX_TRANSMIT {
            self.counters.not_sent += 1;
            return;
        }
        self.transmit.push_back(frame.to_ethernet(destination, source, vlan));
        self.counters.sent += 1;
    }
}
