//! Guests and front ends that lie: they are cut off, and nobody else notices.

use super::{PATIENCE, Served, until};
use bench::guest::{Ask, Guest, Raw, Wishes};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tests::memory_disk::MemoryDisk;
use tests::noise;
use vhost::vhost_user::message::VhostUserInflight;
use vhost::vhost_user::{Frontend, VhostUserFrontend};
use vhost::{VhostBackend, VringConfigData};
use vm_memory::{Bytes, GuestAddress};

const LEN: usize = 1 << 20;
const SIZE: u16 = 128;
const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;

/// Descriptors from 0 on, with `HEADER` and `STATUS` where a request has them.
fn chain(guest: &mut Guest, descriptors: &[Raw]) {
    let table = guest.table(0);
    for (index, descriptor) in (0..).zip(descriptors) {
        guest.set_descriptor(table, index, *descriptor);
    }
    guest.make_available(0, 0);
}

type Lie = fn(&mut Guest);

const LIES: &[(&str, Lie)] = &[
    ("a head that there isn't", |guest| guest.make_available(0, SIZE)),
    ("more requests than entries", |guest| guest.set_available_index(0, SIZE + 1)),
    ("requests taken back", |guest| guest.set_available_index(0, u16::MAX)),
    ("a loop", |guest| {
        let header = guest.header(0, 0);
        chain(guest, &[(header, 16, NEXT, 1), (header, 16, NEXT, 0)]);
    }),
    ("a descriptor that is its own next", |guest| {
        let header = guest.header(0, 0);
        chain(guest, &[(header, 16, NEXT, 0)]);
    }),
    ("a next that there isn't", |guest| {
        let header = guest.header(0, 0);
        chain(guest, &[(header, 16, NEXT, SIZE)]);
    }),
    ("an address outside of its memory", |guest| {
        let (header, status) = (guest.header(0, 0), guest.header(0, 1));
        let nowhere = GuestAddress(0x1000);
        chain(guest, &[(header, 16, NEXT, 1), (nowhere, 512, NEXT | WRITE, 2), (status, 1, WRITE, 0)]);
    }),
    ("an address that overflows", |guest| {
        chain(guest, &[(GuestAddress(u64::MAX - 4), 16, NEXT, 1)]);
    }),
    ("a length that leaves its memory", |guest| {
        let header = guest.header(0, 0);
        chain(guest, &[(header, u32::MAX, 0, 0)]);
    }),
    ("no status", |guest| {
        let header = guest.header(0, 0);
        chain(guest, &[(header, 16, 0, 0)]);
    }),
    ("half a header", |guest| {
        let header = guest.header(0, 0);
        chain(guest, &[(header, 8, NEXT, 1), (header, 1, WRITE, 0)]);
    }),
    ("nothing at all", |guest| {
        let header = guest.header(0, 0);
        chain(guest, &[(header, 0, 0, 0)]);
    }),
    ("what is to be read after what is to be written", |guest| {
        let header = guest.header(0, 0);
        chain(guest, &[(header, 16, WRITE | NEXT, 1), (header, 16, 0, 0)]);
    }),
    ("a table of half a descriptor", |guest| {
        let header = guest.header(0, 0);
        chain(guest, &[(header, 24, INDIRECT, 0)]);
    }),
    ("an empty table", |guest| {
        let header = guest.header(0, 0);
        chain(guest, &[(header, 0, INDIRECT, 0)]);
    }),
    ("an endless table", |guest| {
        let header = guest.header(0, 0);
        chain(guest, &[(header, 1 << 20, INDIRECT, 0)]);
    }),
    ("a table outside of its memory", |guest| {
        chain(guest, &[(GuestAddress(u64::MAX - 15), 32, INDIRECT, 0)]);
    }),
    ("a table that goes on", |guest| {
        let header = guest.header(0, 0);
        chain(guest, &[(header, 16, INDIRECT | NEXT, 1), (header, 1, WRITE, 0)]);
    }),
    ("a table inside of a table", |guest| {
        let table = guest.data(0, 0);
        guest.set_descriptor(table, 0, (table, 16, INDIRECT, 0));
        chain(guest, &[(table, 16, INDIRECT, 0)]);
    }),
    ("a loop inside of a table", |guest| {
        let table = guest.data(0, 0);
        guest.set_descriptor(table, 0, (guest.header(0, 0), 16, NEXT, 0));
        chain(guest, &[(table, 16, INDIRECT, 0)]);
    }),
    ("a ring of noise", |guest| {
        let table = guest.table(0);
        guest.memory.write_slice(&noise(usize::from(SIZE) * 16, 1), table).unwrap();
        (0..SIZE).for_each(|head| guest.make_available(0, head));
    }),
];

#[test]
fn a_guest_that_lies_is_cut_off_and_nobody_else_notices() {
    let disk = MemoryDisk::new(LEN, 512);
    let (served, others) = (Served::new("a", Arc::new(disk.clone())), Served::new("b", Arc::new(disk)));
    let mut other = Guest::new(Wishes::default());
    other.connect(&others.socket()).unwrap();
    for (number, (what, lie)) in (1..).zip(LIES) {
        for inflight in [true, false] {
            let mut guest = Guest::new(Wishes { size: SIZE, inflight, ..Wishes::default() });
            guest.connect(&served.socket()).unwrap_or_else(|error| panic!("before {what}: {error}"));
            lie(&mut guest);
            guest.force_kick(0);
            until(what, || guest.is_cut_off());
        }
        until(what, || served.cut_off() == 2 * number);
        assert_eq!(other.request(0, &Ask::Read(0, 4096), PATIENCE).status, 0);
    }
    assert_eq!(others.cut_off(), 0);
}

#[test]
fn a_request_that_is_out_can_not_come_again() {
    let disk = MemoryDisk::new(LEN, 512);
    let served = Served::new("a", Arc::new(disk.clone()));
    disk.set_stalled(true);
    let mut guest = Guest::new(Wishes::default());
    guest.connect(&served.socket()).unwrap();
    guest.submit(0, 0, &Ask::Read(0, 512));
    guest.force_kick(0);
    until("it is out", || disk.outstanding() == 1);
    guest.make_available(0, 0);
    guest.force_kick(0);
    until("it comes twice", || guest.is_cut_off());
    assert_eq!(served.cut_off(), 0, "it is counted when what is out has ended");
    disk.set_stalled(false);
    until("it is counted", || served.cut_off() == 1);
    assert_eq!(guest.used_index(0), 0, "nobody is told of what has ended since");
}

#[test]
fn messages_that_make_no_sense_end_the_connection() {
    type Step = fn(&mut Guest, &mut Frontend) -> bool;
    let steps: &[(&str, Step)] = &[
        ("features", |_, front_end| front_end.set_features(1 << 40).is_err()),
        ("a ring's size", |_, front_end| front_end.set_vring_num(0, 2048).is_err()),
        ("a size that is no power of two", |_, front_end| front_end.set_vring_num(0, 100).is_err()),
        ("a ring where no memory is", |_, front_end| {
            let data = VringConfigData {
                queue_max_size: 128,
                queue_size: 128,
                flags: 0,
                desc_table_addr: 0x1000,
                used_ring_addr: 0x2000,
                avail_ring_addr: 0x3000,
                log_addr: None,
            };
            front_end.set_vring_addr(0, &data).is_err()
        }),
        ("the same memory twice", |guest, front_end| {
            let region = guest.region();
            front_end.set_mem_table(&[region, region]).is_err()
        }),
        ("memory beyond its file", |guest, front_end| {
            let mut region = guest.region();
            region.memory_size += 4096;
            front_end.set_mem_table(&[region]).is_err()
        }),
        ("memory that wasn't there", |guest, front_end| {
            front_end.remove_mem_region(&guest.region()).is_err()
        }),
        ("records of more rings", |_, front_end| {
            front_end.get_inflight_fd(&VhostUserInflight::new(0, 0, 1000, 128)).is_err()
        }),
        ("records of other bytes", |_, front_end| {
            let (mut given, file) = front_end.get_inflight_fd(&VhostUserInflight::new(0, 0, 1, 128)).unwrap();
            given.num_queues = 2;
            front_end.set_inflight_fd(&given, std::os::fd::AsRawFd::as_raw_fd(&file)).is_err()
        }),
        ("a ring that is served before it is set up", |_, front_end| {
            let event = vmm_sys_util::eventfd::EventFd::new(0).unwrap();
            front_end.set_vring_kick(0, &event).unwrap();
            front_end.set_vring_enable(0, true).unwrap();
            front_end.get_features().is_err()
        }),
    ];
    let served = Served::new("a", Arc::new(MemoryDisk::new(LEN, 512)));
    for (number, (what, step)) in (1..).zip(steps) {
        let mut guest = Guest::new(Wishes::default());
        let mut front_end = guest.greet(&served.socket()).unwrap();
        assert!(step(&mut guest, &mut front_end), "{what} was taken");
        until(what, || front_end.get_features().is_err());
        until(what, || served.cut_off() == number);
    }
}

#[test]
fn garbage_and_silence_end_nobody_elses_connection() {
    let served = Served::new("a", Arc::new(MemoryDisk::new(LEN, 512)));
    let mut stream = UnixStream::connect(served.socket()).unwrap();
    stream.write_all(&[0xee; 4096]).unwrap();
    until("garbage is cut off", || served.cut_off() == 1);
    // Half a message, and then nothing.
    let mut silent = UnixStream::connect(served.socket()).unwrap();
    silent.write_all(&[1, 0, 0, 0]).unwrap();
    until("it is there", || served.export.clients() == 1);
    thread::sleep(Duration::from_millis(50));
    served.export.close();
    assert!(served.export.wait_for_end(PATIENCE), "it can't be ended");
}
