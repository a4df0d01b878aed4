//! The nexuses that commands may name, each with the front of its frames ready to copy.

use super::answers::Answers;
use super::latency::Latency;
use crate::port::prefetch::prefetch;
use fc::messages::{Nexus, NexusId};
use fc::time::Duration;
use fc::wire::ethernet::{EtherType, EthernetHeader, MAX_HEADER_LEN};
use fc::wire::fcoe::{Eof, PROLOGUE_LEN, SOF_OFFSET, Sof, frame_len};
use fc::wire::header::{FCtl, FcHeader, FcType, HEADER_LEN, RCtl};
use fc::wire::{FcId, MacAddr};
use zerocopy::FromBytes;

/// The longest front of a frame: Ethernet with a tag, FCoE.
const MAX_FRONT_LEN: usize = MAX_HEADER_LEN + PROLOGUE_LEN;

/// A nexus, and what every frame to it starts with, in one cache line: there may be tens of thousands.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct NexusEntry {
    /// How long its commands take.
    pub(super) latency: Latency,
    e_d_tov_ms: u32,
    r_a_tov_ms: u32,
    /// The most payload bytes in one frame.
    pub(super) max_payload_len: u16,
    /// As far as the start delimiter; the MAC address that frames go to, and answers come from, is the first of it.
    front: [u8; MAX_FRONT_LEN],
    ethernet_len: u8,
    /// Our VN_Port.
    pub(super) s_id: FcId,
    /// The remote port.
    pub(super) d_id: FcId,
    /// Whether both sides agreed that lost sequences are asked for again, by SRR.
    pub(super) retry: bool,
    /// Whether both sides agreed to FCP_CONF.
    pub(super) confirm: bool,
    /// Data of an exchange has come after the response that belongs to it.
    pub(super) is_reordered: bool,
    /// What its answers to questions are worth.
    pub(super) answers: Answers,
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
        let ethernet_len = ethernet.emit(&mut front) as u8;
        let ms = |time: Duration| u32::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX);
        Self {
            latency: Latency::default(),
            e_d_tov_ms: ms(nexus.e_d_tov),
            r_a_tov_ms: ms(nexus.r_a_tov),
            max_payload_len: nexus.max_payload_len,
            front,
            ethernet_len,
            s_id: nexus.s_id,
            d_id: nexus.d_id,
            retry: nexus.retry,
            confirm: nexus.confirm,
            is_reordered: false,
            answers: Answers::UNTRIED,
        }
    }

    /// Whether both are made of the same nexus.
    fn is_same(&self, other: &Self) -> bool {
        let nexus = |entry: &Self| {
            let addresses = (entry.front, entry.ethernet_len, entry.s_id, entry.d_id);
            let terms =
                (entry.max_payload_len, entry.e_d_tov_ms, entry.r_a_tov_ms, entry.retry, entry.confirm);
            (addresses, terms)
        };
        nexus(self) == nexus(other)
    }

    /// Where its frames come from.
    pub(super) fn peer_mac(&self) -> MacAddr {
        MacAddr(*self.front.first_chunk().expect("it begins with an address"))
    }

    /// How long a sequence may take to be delivered; up to a millisecond more than was agreed.
    pub(super) fn e_d_tov(&self) -> Duration {
        Duration::from_millis(self.e_d_tov_ms.into())
    }

    /// How long a frame may live in the fabric; up to a millisecond more than was agreed.
    pub(super) fn r_a_tov(&self) -> Duration {
        Duration::from_millis(self.r_a_tov_ms.into())
    }

    /// How long its target may be silent before it is asked.
    pub(super) fn patience(&self) -> Duration {
        self.latency.patience(self.e_d_tov())
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
        let ethernet_len = usize::from(self.ethernet_len);
        let len = frame_len(ethernet_len, payload_len);
        let buffer = &mut buffer[..len];
        let header_at = ethernet_len + PROLOGUE_LEN;
        let payload_at = header_at + HEADER_LEN;
        let fill_len = payload_len.next_multiple_of(4) - payload_len;

        // All of it, without a tag too: a copy of a length that is known is a few moves.
        buffer[..MAX_FRONT_LEN].copy_from_slice(&self.front);
        let sof = if fields.seq_cnt == 0 { Sof::I3 } else { Sof::N3 };
        buffer[ethernet_len + SOF_OFFSET] = sof.0;
        let header = FcHeader::mut_from_bytes(&mut buffer[header_at..payload_at]).expect("exactly a header");
        *header = FcHeader {
            r_ctl: fields.r_ctl,
            d_id: self.d_id,
            cs_ctl: 0,
            s_id: self.s_id,
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
        let new = NexusEntry::new(nexus);
        let old = self.pages[page][usize::from(id.0) % PAGE_LEN].replace(new);
        old.is_some_and(|old| !old.is_same(&new))
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

    /// Asks for a nexus.
    pub(super) fn prefetch(&self, index: u16) {
        self.place(index).into_iter().for_each(|place| prefetch(place, size_of_val(place)));
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
    use fc::wire::ethernet::VlanTag;

    const NEXUS: Nexus = Nexus {
        s_id: FcId([1, 1, 1]),
        d_id: FcId([1, 2, 1]),
        source: MacAddr([0x0e, 0xfc, 0, 1, 1, 1]),
        destination: MacAddr([2, 0, 0, 0, 0, 1]),
        vlan: None,
        max_payload_len: 2112,
        e_d_tov: Duration::from_secs(2),
        r_a_tov: Duration::from_secs(10),
        retry: true,
        confirm: false,
    };

    #[test]
    fn a_nexus_is_one_line() {
        assert_eq!(size_of::<Option<NexusEntry>>(), 64);
    }

    #[test]
    fn only_another_nexus_ends_commands() {
        let others = [
            Nexus { s_id: FcId([1, 1, 2]), ..NEXUS },
            Nexus { d_id: FcId([1, 2, 2]), ..NEXUS },
            Nexus { source: MacAddr([0x0e, 0xfc, 0, 1, 1, 2]), ..NEXUS },
            Nexus { destination: MacAddr([2, 0, 0, 0, 0, 2]), ..NEXUS },
            Nexus { vlan: Some(VlanTag::new(7, 3)), ..NEXUS },
            Nexus { max_payload_len: 2048, ..NEXUS },
            Nexus { e_d_tov: Duration::from_secs(1), ..NEXUS },
            Nexus { r_a_tov: Duration::from_secs(9), ..NEXUS },
            Nexus { retry: false, ..NEXUS },
            Nexus { confirm: true, ..NEXUS },
        ];
        for other in others {
            let mut table = NexusTable::default();
            assert!(!table.set(NexusId(3), &NEXUS), "there was none");
            table.get_mut(3).unwrap().is_reordered = true;
            assert!(!table.set(NexusId(3), &NEXUS), "the same again");
            assert!(!table.get(3).unwrap().is_reordered, "of which nothing is known any more");
            assert!(table.set(NexusId(3), &other), "{other:?}");
            assert_eq!(table.get(3).unwrap().peer_mac(), other.destination);
        }
    }

    #[test]
    fn times_are_rounded_up_to_what_is_kept() {
        let entry = |e_d_tov| NexusEntry::new(&Nexus { e_d_tov, ..NEXUS });
        assert_eq!(entry(Duration::from_nanos(2_000_001)).e_d_tov(), Duration::from_millis(3));
        assert_eq!(entry(Duration::MAX).e_d_tov(), Duration::from_millis(u32::MAX.into()));
        assert_eq!(entry(NEXUS.e_d_tov).e_d_tov(), NEXUS.e_d_tov);
    }
}
