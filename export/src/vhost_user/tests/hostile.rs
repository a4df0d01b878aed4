//! Whatever a guest's memory says: an error or a status, within bounds.

use super::{DISK_LEN, SIZE, World};
use crate::pieces::QUEUE_DEPTH;
use proptest::prelude::*;
use vm_memory::{Bytes, GuestAddress};

/// Small domains, so that what is wrong meets what is right.
fn descriptor() -> impl Strategy<Value = (u64, u32, u16, u16)> {
    let address = prop_oneof![
        6 => (0u64..8).prop_map(|number| 0x400 + number * 0x10),
        3 => Just(0x2000), 1 => Just(0x7fff), 1 => Just(u64::MAX - 3), 1 => Just(0x9000),
    ];
    let len = prop_oneof![4 => Just(16u32), 3 => Just(1), 3 => Just(512), 2 => Just(4096), 1 => Just(17),
        1 => Just(0), 1 => Just(u32::MAX), 1 => Just(48)];
    let flags =
        prop_oneof![4 => Just(1u16), 4 => Just(3), 4 => Just(2), 2 => Just(0), 1 => Just(4), 1 => 0u16..8];
    (address, len, flags, 0u16..SIZE + 1)
}

fn header() -> impl Strategy<Value = (u32, u64)> {
    let kind = prop_oneof![3 => Just(0u32), 3 => Just(1), 1 => Just(4), 1 => Just(8), 2 => Just(11), 2 => Just(13),
        1 => any::<u32>()];
    (kind, prop_oneof![4 => 0u64..DISK_LEN as u64 / 512, 1 => any::<u64>()])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn memory_of_any_kind_is_survived(
        descriptors in proptest::collection::vec(descriptor(), usize::from(SIZE)),
        headers in proptest::collection::vec(header(), 8),
        heads in proptest::collection::vec(0u16..SIZE + 1, 1..12),
        order in proptest::collection::vec(any::<prop::sample::Index>(), 40),
    ) {
        let mut world = World::new();
        for (index, (address, len, flags, next)) in (0..).zip(descriptors) {
            world.describe(index, address, len, flags, next);
        }
        for (number, (kind, sector)) in (0..).zip(headers) {
            let at = 0x400 + 0x10 * number;
            world.memory.write_obj(kind, GuestAddress(at)).unwrap();
            world.memory.write_obj(sector, GuestAddress(at + 8)).unwrap();
        }
        let mut ring = world.ring().unwrap();
        let mut order = order.into_iter();
        for head in heads {
            world.make_available(head);
            if world.take(&mut ring).is_err() {
                return Ok(());
            }
            prop_assert!(world.out.len() <= QUEUE_DEPTH);
            if let Some(which) = order.next().filter(|_| !world.out.is_empty()) {
                let which = which.index(world.out.len());
                if world.finish(&mut ring, which).is_err() {
                    return Ok(());
                }
            }
        }
        // What was taken ends.
        for _ in 0..100_000 {
            if world.out.is_empty() {
                break;
            }
            if world.finish(&mut ring, 0).is_err() || world.take(&mut ring).is_err() {
                return Ok(());
            }
        }
        prop_assert!(world.out.is_empty() && ring.is_idle());
    }
}
