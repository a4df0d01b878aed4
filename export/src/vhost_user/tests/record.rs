//! What is found after a process was killed, wherever it was.

use super::super::inflight::Records;
use super::super::memory::Trust;
use super::{SIZE, USED, World};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use vm_memory::{Address, Bytes, GuestAddress};

/// A write of one block from guest memory that says which, with descriptors `2 * head` and on.
fn submit(world: &mut World, number: u16) {
    let (head, at) = (number * 2, 0x400 + u64::from(number) * 0x20);
    world.memory.write_obj(4u32, GuestAddress(at)).unwrap();
    world.describe(head, at, 16, 1, head + 1);
    world.describe(head + 1, at + 16, 1, 2, 0);
    world.make_available(head);
}

/// How often each request was given back, by the used ring.
fn given_back(world: &World) -> BTreeMap<u32, usize> {
    let mut times = BTreeMap::new();
    for index in 0..u64::from(world.used_index()) {
        let head: u32 = world.memory.read_obj(USED.unchecked_add(4 + index % u64::from(SIZE) * 8)).unwrap();
        *times.entry(head).or_default() += 1;
    }
    times
}

proptest! {
    /// Any of them ends before the process does, in any order.
    #[test]
    fn a_successor_does_what_is_left(
        ended in proptest::collection::vec(any::<prop::sample::Index>(), 0..4),
        again in proptest::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let mut world = World::new();
        (0..4).for_each(|number| submit(&mut world, number));
        for ended in [ended, again] {
            let mut ring = world.ring().unwrap();
            world.take(&mut ring).unwrap();
            for which in ended {
                if !world.out.is_empty() {
                    let which = which.index(world.out.len());
                    world.finish(&mut ring, which).unwrap();
                }
            }
            // Killed.
            let (disk, records, memory) = (world.disk.clone(), world.records, world.memory);
            world = World { disk, records, memory, available: world.available, ..World::new() };
        }
        let mut ring = world.ring().unwrap();
        world.take(&mut ring).unwrap();
        while !world.out.is_empty() {
            world.finish(&mut ring, 0).unwrap();
        }
        prop_assert!(ring.is_idle());
        prop_assert_eq!(given_back(&world), BTreeMap::from([(0, 1), (2, 1), (4, 1), (6, 1)]));
    }
}

#[test]
fn wherever_it_was_killed_giving_back_its_successor_knows() {
    /// Steps of giving back descriptor 3 of 1, 3 and 5, and what is out after each.
    const STEPS: [(&str, &[u16]); 5] = [
        ("nothing", &[5, 3, 1]),
        ("in the batch", &[5, 3, 1]),
        ("in the used ring", &[5, 1]),
        ("not in flight", &[5, 1]),
        ("all", &[5, 1]),
    ];
    for (step, (what, expected)) in STEPS.into_iter().enumerate() {
        let world = World::new();
        let mut record = world.record();
        assert_eq!(record.recover(7).unwrap(), [0; 0]);
        [5, 3, 1].into_iter().for_each(|head| record.take(head));
        if step >= 1 {
            record.before_use(3);
        }
        // The used ring's index is what the successor finds.
        let used_index = if step >= 2 { 8 } else { 7 };
        let bytes_before = bytes(&world.records);
        if step >= 3 {
            record.after_use(3, 8);
        }
        if step == 3 {
            // All but the last store, which is that of the index.
            let mut partly = bytes(&world.records);
            partly[14..16].copy_from_slice(&bytes_before[14..16]);
            world.records.write_all_at(&partly, 0).unwrap();
        }
        let mut successor = world.record();
        assert_eq!(successor.recover(used_index).unwrap(), expected, "killed with {what} done");
        // It goes on with the order, also for its own successor.
        successor.take(2);
        let again: Vec<_> = expected.iter().copied().chain([2]).collect();
        assert_eq!(world.record().recover(used_index).unwrap(), again);
    }
}

fn bytes(file: &File) -> Vec<u8> {
    let mut bytes = vec![0; Records::len(1, SIZE)];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

#[test]
fn records_of_anything_are_survived() {
    let world = World::new();
    let mut record = world.record();
    record.recover(0).unwrap();
    record.take(3);
    // Another ring begins in its place, with something in flight.
    assert!(world.record().recover(1000).is_err());
    // A list that leads away.
    let original = bytes(&world.records);
    for (at, value) in [(8, 2u16), (10, SIZE + 1), (12, SIZE), (12, u16::MAX)] {
        let mut changed = original.clone();
        changed[at..at + 2].copy_from_slice(&value.to_le_bytes());
        world.records.write_all_at(&changed, 0).unwrap();
        assert!(world.record().recover(2).is_err(), "{value} at {at}");
    }
    let mut noise = original;
    noise.iter_mut().enumerate().for_each(|(at, byte)| *byte = (at * 7 + 3) as u8);
    noise[8..12].copy_from_slice(&[1, 0, SIZE as u8, 0]);
    world.records.write_all_at(&noise, 0).unwrap();
    let _ = world.record().recover(1);
}

#[test]
fn records_have_room_for_their_rings() {
    let world = World::new();
    let map = |len, rings, size| {
        let file = world.records.try_clone().unwrap();
        Records::map(file, 0, len, (rings, size), Trust::Sealed)
    };
    let len = Records::len(1, SIZE) as u64;
    assert!(map(len, 2, SIZE).is_err() && map(len * 2, 2, SIZE).is_err(), "beyond the file's end");
    let records = map(len, 1, SIZE).unwrap();
    assert!(records.of_ring(1, SIZE).is_err() && records.of_ring(0, SIZE * 2).is_err());
}
