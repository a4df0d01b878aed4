//! Requests that are out when a connection or a daemon ends.

use super::{PATIENCE, Served, until};
use bench::guest::{Ask, Guest, Wishes};
use std::collections::BTreeSet;
use std::sync::Arc;
use tests::memory_disk::MemoryDisk;
use tests::noise;

const LEN: usize = 4 << 20;
const SLOTS: u16 = 32;

fn data(slot: u16) -> Vec<u8> {
    noise(4096, slot.into())
}

/// Half of the slots write; the others read what no one writes.
fn submit(guest: &mut Guest, slots: std::ops::Range<u16>) {
    for slot in slots {
        let sector = u64::from(slot) * 8;
        let ask = if slot % 2 == 0 { Ask::Write(sector, data(slot)) } else { Ask::Read(sector, 4096) };
        guest.submit(0, slot, &ask);
    }
    guest.kick(0);
}

/// Waits until each of `slots` has ended well, once.
fn expect(guest: &mut Guest, slots: std::ops::Range<u16>) {
    let mut left: BTreeSet<u16> = slots.collect();
    while !left.is_empty() {
        let done = guest.wait(0, PATIENCE);
        assert!(!done.is_empty(), "{left:?} never end");
        for done in done {
            assert!(left.remove(&done.slot), "{} ended twice", done.slot);
            assert_eq!(done.status, 0);
        }
    }
    assert_eq!(guest.wait(0, std::time::Duration::from_millis(50)), []);
}

#[test]
fn what_a_connection_leaves_is_done_by_the_next_one() {
    for inflight in [true, false] {
        let disk = MemoryDisk::new(LEN, 512);
        let served = Served::new("disk", Arc::new(disk.clone()));
        let mut guest = Guest::new(Wishes { inflight, ..Wishes::default() });
        guest.connect(&served.socket()).unwrap();
        submit(&mut guest, 0..4);
        expect(&mut guest, 0..4);
        disk.set_stalled(true);
        submit(&mut guest, 4..20);
        until("they are out", || disk.outstanding() == 16);
        guest.disconnect();
        until("it is known to be gone", || served.export.clients() == 0);
        // Nobody is there to be told.
        submit(&mut guest, 20..SLOTS);
        disk.set_stalled(false);
        until("what was out has ended", || disk.outstanding() == 0);
        assert_eq!(guest.used_index(0), 4, "the ring was touched after the connection's end");
        guest.connect(&served.socket()).unwrap();
        expect(&mut guest, 4..SLOTS);
        for slot in (0..SLOTS).step_by(2) {
            assert!(disk.bytes()[usize::from(slot) * 4096..][..4096] == data(slot), "slot {slot}");
        }
        assert_eq!(served.cut_off(), 0);
    }
}

/// As if the first device's process had been killed: it ends nothing any more.
#[test]
fn what_a_device_leaves_is_done_by_its_successor_in_the_same_order() {
    let (disk, stuck) = (MemoryDisk::new(LEN, 512), MemoryDisk::new(LEN, 512));
    let first = Served::new("disk", Arc::new(stuck.clone()));
    let mut guest = Guest::new(Wishes::default());
    guest.connect(&first.socket()).unwrap();
    stuck.set_stalled(true);
    // Each writes all of it: the last one counts, and is another slot than the last.
    for slot in [5, 9, 1, 7, 3, 2] {
        guest.submit(0, slot, &Ask::Write(0, data(slot)));
        guest.kick(0);
        until("it is taken", || stuck.outstanding() > 0);
    }
    until("they are out", || stuck.outstanding() == 6);
    guest.disconnect();
    let second = Served::new("disk", Arc::new(disk.clone()));
    guest.connect(&second.socket()).unwrap();
    let mut ended = BTreeSet::new();
    while ended.len() < 6 {
        let done = guest.wait(0, PATIENCE);
        assert!(!done.is_empty(), "only {ended:?}");
        assert!(done.iter().all(|done| done.status == 0 && ended.insert(done.slot)), "{done:?} twice");
    }
    assert_eq!(ended, BTreeSet::from([5, 9, 1, 7, 3, 2]));
    stuck.set_stalled(false);
    until("the first one's end", || stuck.outstanding() == 0);
    assert_eq!(guest.used_index(0), 6);
}
