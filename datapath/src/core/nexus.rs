//! The nexuses that commands may name, each with the front of its frames ready to copy.

use super::answers::Answers;
use super::latency::Latency;
use crate::port::prefetch::prefetch;
use fc::messages::{Nexus, NexusId};
use fc::time::Duration;
use fc::wire::ethernet::{EtherType, EthernetHeader, MAX_HEADER_LEN};
use fc::wire::fcoe::{Eof, PROLOGUE_LEN, SOF_OFFSET, Sof, frame_len};
use fc::wire::header::{FCtl, FcHeader, FcType, HEADER_LEN, RCtl};
use zerocopy::FromBytes;

/// The longest front of a frame: Ethernet with a tag, FCoE.
const MAX_FRONT_LEN: usize = MAX_HEADER_LEN + PROLOGUE_LEN;

/// Bytes of a nexus that the end of a command touches: a cache line.
const END_LEN: usize = 64;

/// A nexus and what every frame to it starts with, in whole cache lines.
#[repr(C, align(64))]
pub(super) struct NexusEntry {
    /// How long its commands take.
    pub(super) latency: Latency,
    /// Its `e_d_tov` also says whether there is a nexus at all.
    pub(super) nexus: Nexus,
    /// What its answers to questions are worth.
    pub(super) answers: Answers,
    /// Data of an exchange has come after the response that belongs to it.
    pub(super) is_reordered: bool,
    front: [u8; MAX_FRONT_LEN],
    ethernet_len: usize,
}

/// What differs from frame to frame of a nexus.
#[derive(Clone, Copy)]
pub(super) struct FrameFields {
    pub(super) r_ctl: RCtl,
    pub(super) fc_type: FcType,
    pub(super) f_ctl: FCtl,
    pub(super) seq_id: u8,
    pub(super) seq_cnt: u16,
    pub(super) ox_id: u16,
    pub(super) rx_id: u16,
    pub(super) parameter: u32,
}

impl NexusEntry {
    fn new(nexus: &Nexus) -> Self {
        let ethernet = EthernetHeader {
            destination: nexus.destination,
            source: nexus.source,
            vlan: nexus.vlan,
            ethertype: EtherType::FCOE,
        };
        let mut front = [0; MAX_FRONT_LEN];
        let ethernet_len = ethernet.emit(&mut front);
        Self {
            nexus: *nexus,
            latency: Latency::default(),
            answers: Answers::UNTRIED,
            is_reordered: false,
            front,
            ethernet_len,
        }
    }

    /// How long its target may be silent before it is asked.
    pub(super) fn patience(&self) -> Duration {
        self.latency.patience(self.nexus.e_d_tov)
    }

    /// Writes a whole frame to the front of `buffer` and gives its length.
    pub(super) fn emit(&self, buffer: &mut [u8], fields: &FrameFields, payload: &[u8]) -> usize {
        self.emit_with(buffer, fields, payload.len(), |place| place.copy_from_slice(payload))
    }

    /// As [`Self::emit`], with a payload of `payload_len` bytes that `write` writes to its place.
    #[inline]
    pub(super) fn emit_with(
        &self,
        buffer: &mut [u8],
        fields: &FrameFields,
        payload_len: usize,
        write: impl FnOnce(&mut [u8]),
    ) -> usize {
        let len = frame_len(self.ethernet_len, payload_len);
        let buffer = &mut buffer[..len];
        let header_at = self.ethernet_len + PROLOGUE_LEN;
        let payload_at = header_at + HEADER_LEN;
        let fill_len = payload_len.next_multiple_of(4) - payload_len;

        // All of it, without a tag too: a copy of a length that is known is a few moves.
        buffer[..MAX_FRONT_LEN].copy_from_slice(&self.front);
        let sof = if fields.seq_cnt == 0 { Sof::I3 } else { Sof::N3 };
        buffer[self.ethernet_len + SOF_OFFSET] = sof.0;
        let header = FcHeader::mut_from_bytes(&mut buffer[header_at..payload_at]).expect("exactly a header");
        *header = FcHeader {
            r_ctl: fields.r_ctl,
            d_id: self.nexus.d_id,
            cs_ctl: 0,
            s_id: self.nexus.s_id,
            fc_type: fields.fc_type,
            f_ctl: fields.f_ctl.with_fill_len(fill_len),
            seq_id: fields.seq_id,
            df_ctl: 0,
            seq_cnt: fields.seq_cnt.into(),
            ox_id: fields.ox_id.into(),
            rx_id: fields.rx_id.into(),
            parameter: fields.parameter.into(),
        };

        let fill_at = payload_at + payload_len;
        write(&mut buffer[payload_at..fill_at]);
        buffer[fill_at..fill_at + fill_len].fill(0);
        let (covered, epilogue) = buffer[header_at..].split_at_mut(HEADER_LEN + payload_len + fill_len);
        epilogue[..4].copy_from_slice(&fc::wire::fc_crc(covered).to_le_bytes());
        let eof = if fields.f_ctl.has(FCtl::END_SEQUENCE) { Eof::T } else { Eof::N };
        epilogue[4..].copy_from_slice(&[eof.0, 0, 0, 0]);
        len
    }
}

/// Nexuses that are side by side in memory.
const PAGE_LEN: usize = 256;

/// Nexuses by [`NexusId`].
#[derive(Default)]
pub(super) struct NexusTable {
    /// Made as ids come, and never moved: tens of thousands of nexuses would take milliseconds.
    pages: Vec<Box<[Option<NexusEntry>]>>,
}

/// With as many nexuses, or fewer, they are in the cache anyway.
const FEW_NEXUSES: usize = 4 * PAGE_LEN;

impl NexusTable {
    /// Sets a nexus and says whether another one was there whose commands must end.
    pub(super) fn set(&mut self, id: NexusId, nexus: &Nexus) -> bool {
        let page = usize::from(id.0) / PAGE_LEN;
        while self.pages.len() <= page {
            self.pages.push(std::iter::repeat_with(|| None).take(PAGE_LEN).collect());
        }
        let old = self.pages[page][usize::from(id.0) % PAGE_LEN].replace(NexusEntry::new(nexus));
        old.is_some_and(|old| old.nexus != *nexus)
    }

    pub(super) fn remove(&mut self, id: NexusId) {
        if let Some(page) = self.pages.get_mut(usize::from(id.0) / PAGE_LEN) {
            page[usize::from(id.0) % PAGE_LEN] = None;
        }
    }

    /// Whether there are so many that they are not all in the cache.
    pub(super) fn is_large(&self) -> bool {
        self.pages.len() * PAGE_LEN > FEW_NEXUSES
    }

    /// Asks for all of a nexus.
    pub(super) fn prefetch(&self, index: u16) {
        self.place(index).into_iter().for_each(|place| prefetch(place, size_of_val(place)));
    }

    /// Asks for what the end of a command touches of its nexus.
    pub(super) fn prefetch_for_end(&self, index: u16) {
        self.place(index).into_iter().for_each(|place| prefetch(place, END_LEN));
    }

    /// Where a nexus is, or would be: not looked at.
    fn place(&self, index: u16) -> Option<&Option<NexusEntry>> {
        self.pages.get(usize::from(index) / PAGE_LEN)?.get(usize::from(index) % PAGE_LEN)
    }

    pub(super) fn get(&self, index: u16) -> Option<&NexusEntry> {
        self.pages.get(usize::from(index) / PAGE_LEN)?[usize::from(index) % PAGE_LEN].as_ref()
    }

    pub(super) fn get_mut(&mut self, index: u16) -> Option<&mut NexusEntry> {
        self.pages.get_mut(usize::from(index) / PAGE_LEN)?[usize::from(index) % PAGE_LEN].as_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    #[test]
    fn a_nexus_takes_little_memory() {
        assert_eq!(size_of::<Option<NexusEntry>>(), 128);
    }

    #[test]
    fn the_end_of_a_command_touches_one_line() {
        assert_eq!(offset_of!(NexusEntry, latency), 0);
        let e_d_tov = offset_of!(NexusEntry, nexus) + offset_of!(Nexus, e_d_tov);
        assert!(e_d_tov + size_of::<Duration>() <= END_LEN, "{e_d_tov}");
    }
}
