//! Whole initiators and whatever frames at whatever time. `tests/fuzz` has the same for a fuzzer.

use tests::hostile::drive;
use tests::noise;

/// Inputs, and bytes of the longest.
const INPUTS: u64 = 4000;
const LONGEST: u64 = 800;

#[test]
fn an_initiator_takes_any_frames_at_any_time() {
    for seed in 0..INPUTS {
        let bytes = noise((seed * LONGEST / INPUTS) as usize + 8, seed);
        let result = std::panic::catch_unwind(|| drive(&bytes));
        assert!(result.is_ok(), "seed {seed}: see above");
    }
}
