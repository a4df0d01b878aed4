//! What no design of ours can save: the CRC of a full frame of read data, and its copy to memory that may be cold.

use super::case::Kind;
use super::rig::BATCH;
use fc::wire::fc_crc;
use fc::wire::header::{HEADER_LEN, MAX_PAYLOAD_LEN};
use std::hint::black_box;
use std::time::Instant;
use xfcoe::pattern::SplitMix64;

/// Nanoseconds for a frame, in the fastest of all rounds: to the buffers of so many commands that are out, chosen at
/// random as the rig does.
pub(super) fn time(open: usize, rounds: u32) -> f64 {
    let frames = vec![vec![0x5a; HEADER_LEN + MAX_PAYLOAD_LEN]; BATCH];
    let mut buffers = vec![vec![0x5a; Kind::ReadData.data_len(open)]; open];
    let mut random = SplitMix64::new(0);
    let mut least = f64::INFINITY;
    for _ in 0..rounds {
        let mut chosen = [0; BATCH];
        chosen.fill_with(|| (random.next().expect("endless") % open as u64) as usize);
        let start = Instant::now();
        for (i, (frame, &buffer)) in frames.iter().zip(&chosen).enumerate() {
            black_box(fc_crc(frame));
            let offset = if open == 1 { i * MAX_PAYLOAD_LEN } else { 0 };
            buffers[buffer][offset..][..MAX_PAYLOAD_LEN].copy_from_slice(&frame[HEADER_LEN..]);
        }
        least = least.min(start.elapsed().as_nanos() as f64 / BATCH as f64);
        black_box(&mut buffers);
    }
    least
}
