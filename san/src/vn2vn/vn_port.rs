//! One target as a VN2VN port: its names and addresses, and the frames in which it says them.

use super::claim::Claim;
use super::neighbours::{FEATURE_TARGET, vn_mac};
use crate::config::TargetConfig;
use crate::context::Path;
use crate::egress::Egress;
use fc::wire::els::{Login, Logo};
use fc::wire::fcoe;
use fc::wire::fip::{Descriptor, Els, Fc4Attributes, FipFrame, Flags, Operation, VxPort};
use fc::wire::header::FcType;
use fc::wire::{FcId, MacAddr, Wwn};

/// A target's N_Port_ID, and what it is claimed with.
#[derive(Debug)]
pub(super) struct VnPort {
    pub(super) enode: MacAddr,
    pub(super) port_name: Wwn,
    node_name: Wwn,
    max_payload_len: u16,
    /// The longest FCoE frame that it takes and sends.
    pub(super) max_fcoe_size: u16,
    pub(super) claim: Claim,
    /// It takes no logins.
    pub(super) is_dead: bool,
}

impl VnPort {
    pub(super) fn new(target: &TargetConfig, max_payload_len: u16, claim: Claim) -> Self {
        let (port_name, node_name) = (target.wwpn, target.wwnn);
        let max_fcoe_size = max_payload_len + fcoe::MIN_LEN as u16;
        Self {
            enode: target.enode_mac(),
            port_name,
            node_name,
            max_payload_len,
            max_fcoe_size,
            claim,
            is_dead: false,
        }
    }

    pub(super) fn id(&self) -> FcId {
        self.claim.id()
    }

    /// Queues an announcement to all VN2VN ports.
    pub(super) fn say_to_all(&self, out: &mut Egress, operation: Operation) {
        self.say(out, MacAddr::ALL_VN2VN_ENODE, operation, 0);
    }

    /// Queues an announcement that is padded to `size` bytes, to prove that as much arrives.
    pub(super) fn say(&self, out: &mut Egress, to: MacAddr, operation: Operation, size: usize) {
        let port = VxPort { mac: vn_mac(self.id()), fc_id: self.id(), port_name: self.port_name };
        let mut descriptors =
            vec![Descriptor::Mac(self.enode), Descriptor::Name(self.node_name), Descriptor::VxPort(port)];
        if matches!(operation, Operation::CLAIM_NOTIFICATION | Operation::CLAIM_RESPONSE) {
            let attributes = Fc4Attributes::NONE.with(FcType::FCP, FEATURE_TARGET);
            descriptors.push(Descriptor::Fc4Attributes(Box::new(attributes)));
            descriptors.push(Descriptor::MaxFcoeSize(self.max_fcoe_size));
        }
        let mut frame = FipFrame::new(operation, Flags::NONE, descriptors);
        frame.padding_len = size.saturating_sub(frame.len());
        // A beacon comes from the address of the VN_Port that it shows to live.
        let source = if operation == Operation::BEACON { port.mac } else { self.enode };
        out.fip(Path { destination: to, source }, &frame);
    }

    /// Queues a link service, or a reply to one, to a neighbour's ENode.
    pub(super) fn link_service(
        &self,
        out: &mut Egress,
        to: MacAddr,
        operation: Operation,
        els: Els,
        with_mac: bool,
    ) {
        let mut descriptors = vec![Descriptor::Els(els)];
        if with_mac {
            descriptors.push(Descriptor::Mac(vn_mac(self.id())));
        }
        let frame = FipFrame::new(operation, Flags::NONE, descriptors);
        out.fip(Path { destination: to, source: self.enode }, &frame);
    }

    /// What it says of itself in a FLOGI and in the LS_ACC to one.
    pub(super) fn parameters(&self) -> Login {
        Login::fabric(self.port_name, self.node_name, self.max_payload_len)
    }

    pub(super) fn logo(&self) -> Logo {
        Logo::new(self.id(), self.port_name)
    }
}
