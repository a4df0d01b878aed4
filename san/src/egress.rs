//! What the SAN sends besides the I/O path: whole frames that wait for the port.

use crate::context::Path;
use crate::counters::Counters;
use datapath::port::Port;
use fc::wire::ethernet::{EtherType, EthernetHeader, VlanTag};
use fc::wire::fcoe::{self, Eof, MAX_FRAME_LEN, Sof};
use fc::wire::fip::{FipFrame, MAX_FCOE_SIZE};
use fc::wire::header::{FCtl, FcHeader};
use std::collections::VecDeque;

/// The most frames that wait. 9 MiB if all are full; a name server's reply with 16,384 ports is 125 of them.
const MAX_WAITING_FRAMES: usize = 4096;

/// The priority of FCoE in tags: what PFC is usually set up for.
const VLAN_PRIORITY: u8 = 3;

/// Writes an FCoE frame around `payload` and gives its length; the delimiters are those of class 3 (FC-FS-3, 6.3).
pub(crate) fn emit(
    buffer: &mut [u8],
    tag: Option<VlanTag>,
    path: Path,
    header: &FcHeader,
    payload: &[u8],
) -> usize {
    let Path { destination, source } = path;
    let ethernet = EthernetHeader { destination, source, vlan: tag, ethertype: EtherType::FCOE };
    let sof = if header.seq_cnt.get() == 0 { Sof::I3 } else { Sof::N3 };
    let eof = if header.f_ctl.has(FCtl::END_SEQUENCE) { Eof::T } else { Eof::N };
    fcoe::emit(buffer, &ethernet, sof, header, payload, eof)
}

/// Frames that wait for the port, in order.
#[derive(Debug)]
pub(crate) struct Egress {
    /// The tag of what is sent.
    pub(crate) tag: Option<VlanTag>,
    /// The longest payload of an Ethernet frame that arrives, [`MAX_FCOE_SIZE`] at most.
    pub(crate) mtu: u16,
    waiting: VecDeque<Vec<u8>>,
    dropped: u64,
}

impl Egress {
    /// All is sent on this VLAN, with payloads of up to `mtu` bytes.
    pub(crate) fn new(vlan: Option<u16>, mtu: u32) -> Self {
        let tag = vlan.map(|id| VlanTag::new(id, VLAN_PRIORITY));
        let mtu = u16::try_from(mtu).unwrap_or(u16::MAX).min(MAX_FCOE_SIZE);
        Self { tag, mtu, waiting: VecDeque::new(), dropped: 0 }
    }

    /// Whether a frame is on the VLAN of what is sent. A tag that only carries a priority is as good as none.
    pub(crate) fn is_our_vlan(&self, ethernet: &EthernetHeader) -> bool {
        let id = |tag: Option<VlanTag>| tag.map_or(0, |tag| tag.id());
        id(ethernet.vlan) == id(self.tag)
    }

    /// The VLAN as FIP says it: 0 is none.
    pub(crate) fn vlan(&self) -> u16 {
        self.tag.map_or(0, |tag| tag.id())
    }

    /// Whether there is room for `frames` more.
    pub(crate) fn has_room_for(&self, frames: usize) -> bool {
        self.waiting.len() + frames <= MAX_WAITING_FRAMES
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Forgets all that waits.
    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
    }

    /// Queues a FIP frame.
    pub(crate) fn fip(&mut self, path: Path, frame: &FipFrame) {
        self.fip_tagged(path, frame, self.tag);
    }

    /// Queues a FIP frame with this tag instead.
    pub(crate) fn fip_tagged(&mut self, path: Path, frame: &FipFrame, tag: Option<VlanTag>) {
        self.push(frame.to_ethernet(path.destination, path.source, tag));
    }

    /// Queues an FC frame.
    pub(crate) fn fc(&mut self, path: Path, header: &FcHeader, payload: &[u8]) {
        let mut frame = vec![0; MAX_FRAME_LEN];
        let len = emit(&mut frame, self.tag, path, header, payload);
        frame.truncate(len);
        self.push(frame);
    }

    /// Queues a sequence of frames with up to `max_payload_len` bytes each. `header` is the last frame's but for
    /// its SEQ_CNT.
    pub(crate) fn sequence(&mut self, path: Path, header: &FcHeader, payload: &[u8], max_payload_len: u16) {
        let ends = FCtl::END_SEQUENCE | FCtl::TRANSFER_INITIATIVE;
        let inner = FCtl::new(header.f_ctl.get() & !ends);
        let mut pieces = payload.chunks(max_payload_len.into()).peekable();
        let mut seq_cnt = 0u16;
        while let Some(piece) = pieces.next() {
            let f_ctl = if pieces.peek().is_some() { inner } else { header.f_ctl };
            self.fc(path, &FcHeader { f_ctl, seq_cnt: seq_cnt.into(), ..*header }, piece);
            seq_cnt = seq_cnt.wrapping_add(1);
        }
    }

    /// Moves what waits to the port, at most `budget` frames, and gives the frames left of it.
    pub(crate) fn transmit<P: Port>(
        &mut self,
        port: &mut P,
        mut budget: usize,
        counters: &mut Counters,
    ) -> usize {
        counters.dropped_queue_full += std::mem::take(&mut self.dropped);
        while budget > 0
            && let Some(bytes) = self.waiting.front()
        {
            // A frame longer than the port can hold, such as an advertisement padded for a larger MTU.
            if bytes.len() <= port.capacity() {
                if !port.send_copy(bytes) {
                    break;
                }
                counters.sent_frames += 1;
                budget -= 1;
            }
            self.waiting.pop_front();
        }
        budget
    }

    fn push(&mut self, frame: Vec<u8>) {
        if self.has_room_for(1) {
            self.waiting.push_back(frame);
        } else {
            self.dropped += 1;
        }
    }
}
