//! The demo: an initiator and a SAN in a box on a veth pair, a LUN checked from end to end, and measured.

pub mod pattern;
pub mod report;
