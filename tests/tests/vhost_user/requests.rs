//! Guests that keep to the rules.

use super::{PATIENCE, Served, count, until};
use bench::guest::{Ask, Done, Guest, MAX_DATA_LEN, Wishes};
use export::vhost_user::Trust;
use std::sync::Arc;
use std::time::Duration;
use tests::memory_disk::MemoryDisk;
use tests::noise;
use vhost::VhostBackend;

const LEN: usize = 8 << 20;
const OK: u8 = 0;
const IO_ERROR: u8 = 1;
const UNSUPPORTED: u8 = 2;

fn connected(served: &Served, wishes: Wishes) -> Guest {
    let mut guest = Guest::new(wishes);
    guest.connect(&served.socket()).unwrap();
    guest
}

#[test]
fn each_request_does_what_it_says() {
    let disk = MemoryDisk::new(LEN, 512);
    let served = Served::new("a disk with a name that is long", Arc::new(disk.clone()));
    for (event_index, inflight) in [(true, true), (false, false)] {
        let mut guest = connected(&served, Wishes { event_index, inflight, ..Wishes::default() });
        let mut status = |ask: &Ask| guest.request(0, ask, PATIENCE).status;
        // As long as a piece, a block, and what is none of both.
        for (sector, len) in
            [(0, 512), (1, 4096), (100, 64 << 10), (301, (64 << 10) + 512), (1000, MAX_DATA_LEN)]
        {
            let data = noise(len as usize, sector);
            assert_eq!(status(&Ask::Write(sector, data.clone())), OK);
            assert!(disk.bytes()[sector as usize * 512..][..data.len()] == data, "{len} bytes at {sector}");
        }
        let end = LEN as u64 / 512;
        for (ask, expected) in [
            (Ask::Write(8, vec![7; 16 << 10]), OK),
            (Ask::Flush, OK),
            (Ask::Discard(8, 8, 0), OK),
            (Ask::WriteZeroes(16, 8, 0), OK),
            (Ask::WriteZeroes(24, 8, 1), OK),
            (Ask::Discard(0, 8, 1), UNSUPPORTED),
            (Ask::WriteZeroes(0, 8, 2), UNSUPPORTED),
            (Ask::WriteZeroes(0, 0, 0), IO_ERROR),
            (Ask::WriteZeroes(end, 1, 0), IO_ERROR),
            (Ask::Discard(u64::MAX, 1, 0), IO_ERROR),
            (Ask::Read(0, 100), IO_ERROR),
            (Ask::Read(end - 1, 1024), IO_ERROR),
            (Ask::Write(u64::MAX / 512, vec![0; 512]), IO_ERROR),
            (Ask::Other(2), UNSUPPORTED),
            (Ask::Other(u32::MAX), UNSUPPORTED),
        ] {
            assert_eq!(status(&ask), expected, "{ask:?}");
        }
        let bytes = disk.bytes();
        assert!(bytes[8 * 512..32 * 512].iter().all(|&byte| byte == 0) && bytes[32 * 512] == 7);

        let data = &bytes[301 * 512..][..(64 << 10) + 512];
        let ask = Ask::Read(301, data.len() as u32);
        assert_eq!(
            guest.request(0, &ask, PATIENCE),
            Done { slot: 0, status: OK, written: data.len() as u32 + 1 }
        );
        assert!(guest.bytes(0, 0, data.len() as u32) == data, "other bytes came back");
        assert_eq!(guest.request(0, &Ask::GetId, PATIENCE), Done { slot: 0, status: OK, written: 21 });
        assert_eq!(guest.bytes(0, 0, 20), b"a disk with a name t");
        disk.set_fails(true);
        assert_eq!(guest.request(0, &Ask::Read(0, 512), PATIENCE).status, IO_ERROR);
        disk.set_fails(false);
        guest.disconnect();
    }
    let counters = served.export.counters();
    assert_eq!((count(&counters.trims), count(&counters.failed), count(&counters.cut_off)), (2, 2, 0));
    assert_eq!((count(&counters.refused), count(&counters.reads)), (20, 2));
}

#[test]
fn a_device_says_what_it_is() {
    let disk = MemoryDisk::new(LEN, 4096);
    let served = Served::new("disk", Arc::new(disk.clone()));
    let mut guest = connected(&served, Wishes::default());
    let config = guest.config();
    let long = |at: usize| u32::from_le_bytes(config[at..at + 4].try_into().unwrap());
    assert_eq!(u64::from_le_bytes(config[..8].try_into().unwrap()), LEN as u64 / 512);
    assert_eq!((long(12), long(20), long(40), long(44)), (126, 4096, 1, 8));
    assert_eq!(u16::from_le_bytes([config[34], config[35]]), 64);
    // Not whole blocks.
    assert_eq!(guest.request(0, &Ask::Read(1, 4096), PATIENCE).status, IO_ERROR);
    assert_eq!(guest.request(0, &Ask::Read(8, 4096), PATIENCE).status, OK);
    drop(guest);

    let served = Served::new("disk", Arc::new(disk.read_only()));
    let mut guest = connected(&served, Wishes::default());
    let features = guest.front_end().get_features().unwrap();
    let has = [5, 9, 13, 14].map(|bit| features >> bit & 1);
    assert_eq!(has, [1, 1, 0, 0], "read-only, flush, discard, write-zeroes");
    assert_eq!(guest.request(0, &Ask::Write(0, vec![1; 4096]), PATIENCE).status, IO_ERROR);
    assert_eq!(guest.request(0, &Ask::Flush, PATIENCE).status, OK);
    assert!(disk.bytes().iter().all(|&byte| byte == 0));
}

/// All slots of several rings at once, again and again, with kicks only where they are wanted.
#[test]
fn rings_are_served_side_by_side_and_no_wake_up_is_lost() {
    let disk = MemoryDisk::new(LEN, 512);
    let served = Served::new("disk", Arc::new(disk.clone()));
    for event_index in [true, false] {
        let wishes = Wishes { rings: 4, size: 256, event_index, ..Wishes::default() };
        let mut guest = connected(&served, wishes);
        let mut kicks = 0;
        for round in 0..50u64 {
            let data =
                |ring: usize, slot: u16| noise(4096, round * 1000 + ring as u64 * 64 + u64::from(slot));
            let sector = |ring: usize, slot: u16| (ring as u64 * 64 + u64::from(slot)) * 8;
            for write in [true, false] {
                for (ring, slot) in (0..4).flat_map(|ring| (0..64).map(move |slot| (ring, slot))) {
                    let ask = match write {
                        true => Ask::Write(sector(ring, slot), data(ring, slot)),
                        false => Ask::Read(sector(ring, slot), 4096),
                    };
                    if round % 2 == 0 {
                        guest.submit(ring, slot, &ask);
                    } else {
                        guest.submit_indirect(ring, slot, &ask);
                    }
                    // One by one, and all at once.
                    if slot % 16 < 8 || slot == 63 {
                        kicks += usize::from(guest.kick(ring));
                    }
                }
                for ring in 0..4 {
                    let mut done = 0;
                    while done < 64 {
                        let some = guest.wait(ring, PATIENCE);
                        assert!(!some.is_empty(), "ring {ring} stands still with {done} done");
                        assert!(some.iter().all(|done| done.status == OK));
                        if !write {
                            some.iter().for_each(|done| {
                                assert!(guest.bytes(ring, done.slot, 4096) == data(ring, done.slot));
                            });
                        }
                        done += some.len();
                    }
                }
            }
        }
        assert!(kicks > 0);
        guest.disconnect();
    }
    assert_eq!(count(&served.export.counters().writes), 2 * 50 * 256);
}

#[test]
fn a_ring_that_is_stopped_ends_what_it_has_and_goes_on_there() {
    let disk = MemoryDisk::new(LEN, 512);
    let served = Served::new("disk", Arc::new(disk.clone()));
    let mut guest = connected(&served, Wishes { inflight: false, ..Wishes::default() });
    guest.request(0, &Ask::Flush, PATIENCE);
    disk.set_stalled(true);
    guest.submit(0, 1, &Ask::Write(0, vec![1; 512]));
    guest.kick(0);
    until("it is out", || disk.outstanding() == 1);
    let later = disk.clone();
    let release = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        later.set_stalled(false);
    });
    assert_eq!(guest.front_end().get_vring_base(0).unwrap(), 2);
    release.join().unwrap();
    assert_eq!((guest.used_index(0), disk.bytes()[0]), (2, 1));
    guest.disconnect();
    guest.connect(&served.socket()).unwrap();
    assert_eq!(guest.wait(0, PATIENCE).len(), 1);
    assert_eq!(guest.request(0, &Ask::Flush, PATIENCE).status, OK);
}

#[test]
fn a_device_has_one_front_end_at_a_time() {
    let disk = MemoryDisk::new(LEN, 512);
    let served = Served::new("disk", Arc::new(disk.clone()));
    let mut first = connected(&served, Wishes::default());
    let socket = served.socket();
    let second = std::thread::spawn(move || {
        let mut guest = Guest::new(Wishes::default());
        guest.connect(&socket).map(|()| guest.request(0, &Ask::Flush, PATIENCE).status)
    });
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(first.request(0, &Ask::Flush, PATIENCE).status, OK);
    assert_eq!(served.export.clients(), 1);
    drop(first);
    assert_eq!(second.join().unwrap().unwrap(), OK);

    // Who waits too long is sent away.
    let _first = connected(&served, Wishes::default());
    assert!(Guest::new(Wishes::default()).connect(&served.socket()).is_err());
    assert_eq!(served.cut_off(), 0);
}

#[test]
fn memory_that_can_be_cut_short_is_taken_from_whom_is_trusted() {
    let wishes = Wishes { sealable: false, ..Wishes::default() };
    let disk = MemoryDisk::new(LEN, 512);
    let served = Served::new("disk", Arc::new(disk.clone()));
    assert!(Guest::new(wishes).connect(&served.socket()).is_err());
    until("it is cut off", || served.cut_off() == 1);
    let sealed = connected(&served, Wishes::default());
    assert!(sealed.cut_memory().is_err(), "it can be cut short under our feet");
    drop(sealed);
    let served = Served::with_trust("disk", Arc::new(disk), Trust::Any);
    assert_eq!(connected(&served, wishes).request(0, &Ask::Flush, PATIENCE).status, OK);
}
