//! `xfcoe run` with vhost-user-blk devices, which is killed.

use super::TARGET;
use super::exports::{PATIENCE, World};
use bench::guest::{Ask, Done, Guest, Wishes};
use std::collections::BTreeMap;
use std::fs::File;
use std::thread::sleep;
use std::time::{Duration, Instant};
use tests::noise;

const RINGS: usize = 2;
const SLOTS: u16 = 32;
/// Bytes of a request, and sectors.
const BLOCK_LEN: u32 = 4096;
const BLOCK_SECTORS: u64 = 8;
/// Blocks that each slot has for itself.
const BLOCKS: u64 = 16;
const KILLS: usize = 4;

fn export(rest: &str) -> String {
    format!("[[export]]\nname = \"vm\"\nlun = \"{TARGET}/0\"\nvhost_user = \"FOLDER/a\"\n{rest}\n")
}

/// A guest that always has something out in each slot, and knows what each of its blocks holds.
struct Busy {
    guest: Guest,
    out: BTreeMap<(usize, u16), Out>,
    /// The seed of each block's bytes; what was never written is zero.
    blocks: BTreeMap<u64, u64>,
    requests: u64,
}

struct Out {
    block: u64,
    /// Of a write, the seed.
    written: Option<u64>,
}

impl Busy {
    /// Connects it, with something out in each slot.
    fn start(world: &World, socket: &str) -> Self {
        let guest = Guest::new(Wishes { rings: RINGS, size: SLOTS * 4, ..Wishes::default() });
        let mut busy = Self { guest, out: BTreeMap::new(), blocks: BTreeMap::new(), requests: 0 };
        connect(&mut busy.guest, world, socket);
        for (ring, slot) in (0..RINGS).flat_map(|ring| (0..SLOTS).map(move |slot| (ring, slot))) {
            busy.submit(ring, slot);
        }
        busy
    }

    fn submit(&mut self, ring: usize, slot: u16) {
        self.requests += 1;
        let own = (ring as u64 * u64::from(SLOTS) + u64::from(slot)) * BLOCKS;
        let block = own + self.requests * 7 % BLOCKS;
        let written = (!self.requests.is_multiple_of(3)).then_some(self.requests);
        let ask = match written {
            Some(seed) => Ask::Write(block * BLOCK_SECTORS, noise(BLOCK_LEN as usize, seed)),
            None => Ask::Read(block * BLOCK_SECTORS, BLOCK_LEN),
        };
        self.guest.submit(ring, slot, &ask);
        self.out.insert((ring, slot), Out { block, written });
    }

    /// Takes what has ended, which must have been out, and gives the slots.
    fn take(&mut self, ring: usize) -> Vec<u16> {
        let done = self.guest.done(ring);
        for done in &done {
            let out = self.out.remove(&(ring, done.slot));
            let Out { block, written } = out.unwrap_or_else(|| panic!("{done:?} of ring {ring} ended twice"));
            assert_eq!(done.status, 0, "block {block}");
            match written {
                Some(seed) => _ = self.blocks.insert(block, seed),
                None => {
                    let bytes = self.guest.bytes(ring, done.slot, BLOCK_LEN);
                    let expected = match self.blocks.get(&block) {
                        Some(&seed) => noise(BLOCK_LEN as usize, seed),
                        None => vec![0; BLOCK_LEN as usize],
                    };
                    assert!(bytes == expected, "block {block} reads otherwise than it was written");
                }
            }
        }
        done.iter().map(|done| done.slot).collect()
    }

    /// Goes on for some time; how many requests have ended.
    fn work(&mut self, time: Duration) -> usize {
        let begin = Instant::now();
        let mut ended = 0;
        while begin.elapsed() < time {
            for ring in 0..RINGS {
                let slots = self.take(ring);
                ended += slots.len();
                slots.into_iter().for_each(|slot| self.submit(ring, slot));
                self.guest.kick(ring);
            }
            sleep(Duration::from_micros(100));
        }
        ended
    }

    /// Waits for what is out, and reads all blocks again.
    fn end(&mut self) {
        let begin = Instant::now();
        while !self.out.is_empty() {
            assert!(begin.elapsed() < PATIENCE, "{} requests never end", self.out.len());
            (0..RINGS).for_each(|ring| _ = self.take(ring));
            sleep(Duration::from_millis(1));
        }
        for (block, seed) in std::mem::take(&mut self.blocks) {
            let ask = Ask::Read(block * BLOCK_SECTORS, BLOCK_LEN);
            assert_eq!(self.guest.request(0, &ask, PATIENCE).status, 0);
            assert!(self.guest.bytes(0, 0, BLOCK_LEN) == noise(BLOCK_LEN as usize, seed), "block {block}");
        }
    }
}

/// Connects as QEMU does: again and again.
fn connect(guest: &mut Guest, world: &World, socket: &str) {
    let (begin, socket) = (Instant::now(), world.folder.file(socket));
    while let Err(error) = guest.connect(socket.as_ref()) {
        assert!(begin.elapsed() < PATIENCE, "{error}");
        sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_daemon_that_is_killed_under_io_ends_each_request_once() {
    if !tests::have_root() {
        return;
    }
    let mut world = World::new(&export("length = \"64MiB\""));
    let mut busy = Busy::start(&world, "a");
    for kill in 0..KILLS {
        let ended = busy.work(Duration::from_millis(300 + 77 * kill as u64));
        assert!(ended > 100, "only {ended} requests have ended");
        world.kill_daemon();
        busy.guest.disconnect();
        let out = busy.out.len();
        world.start_daemon();
        connect(&mut busy.guest, &world, "a");
        assert_eq!(out, usize::from(SLOTS) * RINGS, "something is always out");
    }
    busy.end();
    let status = world.order(&["status"]);
    let vm = &status["exports"][0];
    assert_eq!(
        (&vm["clients"], &vm["failed_requests"], &vm["clients_cut_off"]),
        (&1.into(), &0.into(), &0.into())
    );
    busy.guest.disconnect();
    world.end();
}

#[test]
fn a_lun_that_shrinks_under_a_guest_fails_its_requests_and_nobody_elses() {
    // As long as the LUN that the SAN begins with, so that it makes no difference which of them the daemon sees first.
    const LEN: u64 = 256 << 20;
    const SHRUNK_LEN: u64 = 1 << 20;
    const IO_ERROR: u8 = 1;
    if !tests::have_root() {
        return;
    }
    let other = format!("[[export]]\nname = \"other\"\nlun = \"{TARGET}/1\"\nvhost_user = \"FOLDER/b\"\n");
    let mut world = World::new(&format!("{}{other}", export("")));
    let file = world.folder.file("disk");
    File::create_new(&file).unwrap().set_len(LEN).unwrap();
    let luns =
        |len: u64| format!("size_bytes = {len}\n[[targets.luns]]\nfile = \"{file}\"\nsize_bytes = {LEN}");
    world.restart_san(&luns(LEN));
    world.wait_for("export other: 256.00 MiB of LUN");
    let mut guest = Guest::new(Wishes { rings: 1, size: SLOTS * 4, ..Wishes::default() });
    connect(&mut guest, &world, "a");
    let mut busy = Busy::start(&world, "b");
    assert!(busy.work(Duration::from_millis(300)) > 100);

    world.fault(&["kill", TARGET]);
    // Slots take turns: inside of what is left, and beyond.
    let places = [0, SHRUNK_LEN - 4096, SHRUNK_LEN, LEN - 4096];
    let sector = |slot: u16| places[usize::from(slot) % places.len()] / 512;
    for slot in 0..SLOTS {
        let is_read = (slot / places.len() as u16).is_multiple_of(2);
        let ask = if is_read {
            Ask::Read(sector(slot), BLOCK_LEN)
        } else {
            Ask::Write(sector(slot), vec![7; BLOCK_LEN as usize])
        };
        guest.submit(0, slot, &ask);
    }
    guest.kick(0);
    busy.work(Duration::from_millis(100));
    assert_eq!(guest.done(0), [], "they wait for the target");
    world.restart_san(&luns(SHRUNK_LEN));
    let mut done = Vec::new();
    while done.len() < usize::from(SLOTS) {
        done.extend(guest.wait(0, PATIENCE));
    }
    for Done { slot, status, .. } in done {
        let expected = if sector(slot) * 512 < SHRUNK_LEN { 0 } else { IO_ERROR };
        assert_eq!(status, expected, "the request at sector {}", sector(slot));
    }
    world.wait_for("export vm: its LUN has shrunk from 524288 to 2048 blocks");
    assert!(busy.work(Duration::from_millis(300)) > 100);
    busy.end();
    let status = world.order(&["status"]);
    for (export, failed) in status["exports"].as_array().unwrap().iter().zip([0, SLOTS / 2]) {
        let seen = (&export["clients"], &export["failed_requests"], &export["clients_cut_off"]);
        assert_eq!(seen, (&1.into(), &failed.into(), &0.into()), "{export}");
    }
    guest.disconnect();
    busy.guest.disconnect();
    world.end();
}

#[test]
fn a_device_is_added_and_removed_by_order() {
    if !tests::have_root() {
        return;
    }
    let world = World::new("");
    let (lun, socket) = (format!("{TARGET}/0"), world.folder.file("a"));
    let add = ["export", "add", "vm", "--lun", &lun, "--vhost-user", &socket];
    let mut begin = Instant::now();
    let added = loop {
        // Its LUN may not be there yet.
        let status = world.order(&["status"]);
        if status["ports"][0]["targets"][0]["luns"][0].is_object() {
            break world.order(&add);
        }
        assert!(begin.elapsed() < PATIENCE, "{status}");
        sleep(Duration::from_millis(50));
    };
    assert_eq!(added["exports"][0]["at"], format!("vhost-user:{socket}"), "{added}");
    let mut guest = Guest::new(Wishes::default());
    connect(&mut guest, &world, "a");
    assert_eq!(guest.request(0, &Ask::Write(0, vec![5; 4096]), PATIENCE).status, 0);
    assert_eq!(guest.request(0, &Ask::GetId, PATIENCE).status, 0);
    assert_eq!(guest.bytes(0, 0, 3), b"vm\0");
    // An outage is no error, as long as it isn't long.
    world.fault(&["kill", TARGET]);
    guest.submit(0, 0, &Ask::Read(0, 4096));
    guest.kick(0);
    sleep(Duration::from_millis(300));
    world.fault(&["revive", TARGET]);
    assert_eq!(guest.wait(0, PATIENCE)[0].status, 0);
    world.order(&["export", "remove", "vm"]);
    begin = Instant::now();
    while !guest.is_cut_off() {
        assert!(begin.elapsed() < PATIENCE, "it is still connected");
    }
    world.end();
}
