//! A read's frames on a poll core, without a NIC.

use super::report::OnACore;
use crate::datapath::{Case, Kind, time};
use xfcoe::workload::round;

/// Commands that are out, and VN_Ports. The first is what the others are held against.
pub(super) const LOADS: [(u32, u32); 9] = [
    (64, 1),
    (64, 16),
    (64, 256),
    (64, 4096),
    (64, 16_384),
    (1024, 1),
    (8192, 1),
    (56_832, 1),
    (56_832, 16_384),
];

/// Full frames of data of a read of 4 KiB, near enough.
const DATA_FRAMES: f64 = 2.0;

/// What a read of 4 KiB takes the core: its command, data and response.
pub(super) fn measure(open: u32, vn_ports: u32, rounds: u32) -> OnACore {
    let ns = |kind| time(&Case { kind, open: open as usize, vn_ports }, rounds).0;
    let ns = ns(Kind::Command) + DATA_FRAMES * ns(Kind::ReadData) + ns(Kind::Response);
    OnACore { open, vn_ports, ns_per_read: round(ns, 0), iops: round(1e9 / ns, 0) }
}
