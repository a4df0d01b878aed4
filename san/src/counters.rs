//! What a SAN counts.

/// Counts since the SAN was made. Frames are Ethernet frames; those dropped were received and count once each,
/// by the first reason found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Frames received.
    pub received_frames: u64,
    /// Frames sent, those forwarded and those lost to order among them.
    pub sent_frames: u64,
    /// FC frames sent on from one VN_Port to another.
    pub forwarded_frames: u64,
    /// SCSI commands received.
    pub commands: u64,
    /// Commands that ended in another status than GOOD.
    pub failed_commands: u64,
    /// Sequences sent again, or asked for again, as SRR wanted it.
    pub retransmissions: u64,
    /// Bytes of FCP_DATA sent.
    pub read_bytes: u64,
    /// Bytes of FCP_DATA received and kept.
    pub written_bytes: u64,
    /// Exchanges ended by ABTS, task management or a lost login.
    pub aborted_exchanges: u64,
    /// Virtual links that ended because keep-alives or beacons stayed away.
    pub expired_links: u64,
    /// Frames dropped: not to us, or neither FIP nor FCoE.
    pub dropped_not_ours: u64,
    /// Frames dropped: on another VLAN.
    pub dropped_vlan: u64,
    /// Frames dropped: malformed.
    pub dropped_malformed: u64,
    /// Frames dropped: wrong CRC.
    pub dropped_crc: u64,
    /// Frames dropped: source MAC address and S_ID are not those of a login.
    pub dropped_not_logged_in: u64,
    /// Frames dropped: nobody has the D_ID.
    pub dropped_no_destination: u64,
    /// Frames dropped: to a target that was killed.
    pub dropped_dead_target: u64,
    /// Frames dropped: no exchange has the IDs, or it does not expect them.
    pub dropped_no_exchange: u64,
    /// Frames dropped: kind of frame not handled.
    pub dropped_unexpected: u64,
    /// Frames dropped: no room to remember another neighbour.
    pub dropped_no_room: u64,
    /// Frames of our own dropped because too many waited to be sent.
    pub dropped_queue_full: u64,
    /// Times that the port could not send what was queued.
    pub flush_errors: u64,
}

/// Why a received frame was dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Drop {
    NotOurs,
    Vlan,
    Malformed,
    Crc,
    NotLoggedIn,
    NoDestination,
    DeadTarget,
    NoExchange,
    Unexpected,
    NoRoom,
}

impl Counters {
    pub(crate) fn count_drop(&mut self, reason: Drop) {
        *match reason {
            Drop::NotOurs => &mut self.dropped_not_ours,
            Drop::Vlan => &mut self.dropped_vlan,
            Drop::Malformed => &mut self.dropped_malformed,
            Drop::Crc => &mut self.dropped_crc,
            Drop::NotLoggedIn => &mut self.dropped_not_logged_in,
            Drop::NoDestination => &mut self.dropped_no_destination,
            Drop::DeadTarget => &mut self.dropped_dead_target,
            Drop::NoExchange => &mut self.dropped_no_exchange,
            Drop::Unexpected => &mut self.dropped_unexpected,
            Drop::NoRoom => &mut self.dropped_no_room,
        } += 1;
    }
}

impl From<fc::wire::WireError> for Drop {
    fn from(_: fc::wire::WireError) -> Self {
        Self::Malformed
    }
}
