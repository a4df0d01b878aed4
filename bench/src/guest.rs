//! A guest with a vhost-user disk, without a virtual machine: memory, rings, and a driver that is simple, or lies.

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::eventfd::EfdFlags;
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::atomic::{Ordering, fence};
use std::time::{Duration, Instant};
use vhost::vhost_user::message::{VhostUserConfigFlags, VhostUserHeaderFlag, VhostUserInflight};
use vhost::vhost_user::{Frontend, VhostUserFrontend, VhostUserProtocolFeatures};
use vhost::{Result, VhostBackend, VhostUserMemoryRegionInfo, VringConfigData};
use virtio_queue::desc::split::Descriptor;
use vm_memory::{Address, Bytes, FileOffset, GuestAddress, GuestMemoryMmap};
use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};
use vmm_sys_util::eventfd::EventFd;

/// Bytes of a request's data.
pub const MAX_DATA_LEN: u32 = 1 << 20;
/// Where the guest has its memory, and where its front end has it.
const GUEST: u64 = 0x4000_0000;
const USER: u64 = 0x7f00_0000_0000;
/// Bytes of a ring and of what is in front of its requests' data.
const RING_LEN: u64 = 0x20000;
const AVAILABLE: u64 = 0x4000;
const USED: u64 = 0x6000;
const HEADERS: u64 = 0x10000;
/// Descriptors of a request: header, data in two pieces, status.
const DESCRIPTORS: u16 = 4;

const EVENT_IDX: u64 = 1 << 29;
const PROTOCOL_FEATURES: u64 = 1 << 30;
const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;

/// What a guest asks for: sectors and bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ask {
    /// Of so many bytes.
    Read(u64, u32),
    /// These bytes.
    Write(u64, Vec<u8>),
    /// All that was written.
    Flush,
    /// So many sectors, with flags.
    Discard(u64, u32, u32),
    /// So many sectors, with flags.
    WriteZeroes(u64, u32, u32),
    /// The device's name.
    GetId,
    /// What no device knows.
    Other(u32),
}

/// The end of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Done {
    /// Which.
    pub slot: u16,
    /// VIRTIO_BLK_S_*
    pub status: u8,
    /// Bytes that the device says to have written.
    pub written: u32,
}

/// What a guest makes of what it is offered.
#[derive(Clone, Copy, Debug)]
pub struct Wishes {
    /// Rings.
    pub rings: usize,
    /// Entries of each.
    pub size: u16,
    /// Whether to use event indices.
    pub event_index: bool,
    /// Whether to have requests in flight recorded.
    pub inflight: bool,
    /// Whether its memory can be sealed against being cut short.
    pub sealable: bool,
}

impl Default for Wishes {
    fn default() -> Self {
        Self { rings: 1, size: 128, event_index: true, inflight: true, sealable: true }
    }
}

/// A guest: what outlives its connections.
pub struct Guest {
    wishes: Wishes,
    file: File,
    /// All of its memory, at guest addresses.
    pub memory: GuestMemoryMmap<()>,
    rings: Vec<Ring>,
    /// The record of requests in flight.
    pub inflight: Option<(VhostUserInflight, File)>,
    front_end: Option<Frontend>,
}

struct Ring {
    start: GuestAddress,
    kick: EventFd,
    call: EventFd,
    /// Waits for `call`.
    called: Epoll,
    next_available: u16,
    /// Where `next_available` was at the last kick.
    kicked: u16,
    next_used: u16,
}

/// Descriptors [flags, and where to go on] of a lie.
pub type Raw = (GuestAddress, u32, u16, u16);

impl Guest {
    /// A guest that is connected to nothing.
    pub fn new(wishes: Wishes) -> Self {
        let file: File =
            memfd_create("guest", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING).unwrap().into();
        let slots = u64::from(wishes.size / DESCRIPTORS);
        let len = wishes.rings as u64 * (RING_LEN + slots * u64::from(MAX_DATA_LEN));
        file.set_len(len).unwrap();
        if !wishes.sealable {
            fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SEAL)).unwrap();
        }
        let range = (GuestAddress(GUEST), len as usize, Some(FileOffset::new(file.try_clone().unwrap(), 0)));
        let memory = GuestMemoryMmap::from_ranges_with_files([range]).unwrap();
        let event = || EventFd::new(EfdFlags::EFD_NONBLOCK.bits()).unwrap();
        let ring = |number: usize| {
            let (kick, call, called) = (event(), event(), Epoll::new().unwrap());
            let events = EpollEvent::new(EventSet::IN, 0);
            called.ctl(ControlOperation::Add, call.as_raw_fd(), events).unwrap();
            let start = GuestAddress(GUEST + number as u64 * RING_LEN);
            Ring { start, kick, call, called, next_available: 0, kicked: 0, next_used: 0 }
        };
        let rings = (0..wishes.rings).map(ring).collect();
        Self { wishes, file, memory, rings, inflight: None, front_end: None }
    }

    /// Connects, hands memory and rings over, and has them served.
    ///
    /// # Errors
    /// What the device refuses.
    pub fn connect(&mut self, path: &Path) -> Result<()> {
        let mut front_end = self.greet(path)?;
        if self.wishes.inflight {
            if self.inflight.is_none() {
                let asked = VhostUserInflight::new(0, 0, self.wishes.rings as u16, self.wishes.size);
                self.inflight = Some(front_end.get_inflight_fd(&asked)?);
            }
            let (inflight, file) = self.inflight.as_ref().unwrap();
            front_end.set_inflight_fd(inflight, file.as_raw_fd())?;
        }
        front_end.set_mem_table(&[self.region()])?;
        for (index, ring) in self.rings.iter().enumerate() {
            let start = ring.start.raw_value() - GUEST + USER;
            let data = VringConfigData {
                queue_max_size: self.wishes.size,
                queue_size: self.wishes.size,
                flags: 0,
                desc_table_addr: start,
                used_ring_addr: start + USED,
                avail_ring_addr: start + AVAILABLE,
                log_addr: None,
            };
            front_end.set_vring_num(index, self.wishes.size)?;
            front_end.set_vring_base(index, self.used_index(index))?;
            front_end.set_vring_addr(index, &data)?;
            front_end.set_vring_kick(index, &ring.kick)?;
            front_end.set_vring_call(index, &ring.call)?;
            front_end.set_vring_enable(index, true)?;
        }
        self.front_end = Some(front_end);
        Ok(())
    }

    /// Connects, and does no more than to agree on features.
    ///
    /// # Errors
    /// What the device refuses.
    pub fn greet(&self, path: &Path) -> Result<Frontend> {
        let mut front_end = Frontend::connect(path, 64)?;
        front_end.set_owner()?;
        let unwanted = if self.wishes.event_index { 0 } else { EVENT_IDX };
        let features = front_end.get_features()? & !unwanted;
        front_end.set_features(features | PROTOCOL_FEATURES)?;
        let protocol = front_end.get_protocol_features()?;
        let inflight = VhostUserProtocolFeatures::INFLIGHT_SHMFD;
        front_end.set_protocol_features(if self.wishes.inflight { protocol } else { protocol - inflight })?;
        front_end.set_hdr_flags(VhostUserHeaderFlag::NEED_REPLY);
        Ok(front_end)
    }

    /// All of its memory, as it is handed over.
    pub fn region(&self) -> VhostUserMemoryRegionInfo {
        VhostUserMemoryRegionInfo {
            guest_phys_addr: GUEST,
            memory_size: self.file.metadata().unwrap().len(),
            userspace_addr: USER,
            mmap_offset: 0,
            mmap_handle: self.file.as_raw_fd(),
        }
    }

    /// Tries to cut its memory short.
    ///
    /// # Errors
    /// If somebody has sealed it.
    pub fn cut_memory(&self) -> std::io::Result<()> {
        self.file.set_len(0)
    }

    /// Its side of the connection.
    pub fn front_end(&mut self) -> &mut Frontend {
        self.front_end.as_mut().expect("it is connected")
    }

    /// Ends its connection.
    pub fn disconnect(&mut self) {
        self.front_end = None;
    }

    /// The device's configuration.
    pub fn config(&mut self) -> Vec<u8> {
        let flags = VhostUserConfigFlags::empty();
        self.front_end().get_config(0, 64, flags, &[0; 64]).unwrap().1
    }

    /// Puts a request into a ring, without a word to the device.
    pub fn submit(&mut self, ring: usize, slot: u16, ask: &Ask) {
        let head = slot * DESCRIPTORS;
        let chain = self.chain(ring, slot, ask);
        let table = self.rings[ring].start;
        for (number, (address, len, flags)) in (0..).zip(&chain) {
            let next = if number + 1 < chain.len() { NEXT } else { 0 };
            let at = head + number as u16;
            self.set_descriptor(table, at, (*address, *len, flags | next, at + 1));
        }
        self.make_available(ring, head);
    }

    /// The same by a table of indirect descriptors.
    pub fn submit_indirect(&mut self, ring: usize, slot: u16, ask: &Ask) {
        let chain = self.chain(ring, slot, ask);
        let table = self.data(ring, slot).unchecked_add(u64::from(MAX_DATA_LEN) - 256);
        for (number, (address, len, flags)) in (0..).zip(&chain) {
            let next = if number + 1 < chain.len() { NEXT } else { 0 };
            self.set_descriptor(table, number as u16, (*address, *len, flags | next, number as u16 + 1));
        }
        let head = slot * DESCRIPTORS;
        let len = chain.len() as u32 * 16;
        self.set_descriptor(self.rings[ring].start, head, (table, len, INDIRECT, 0));
        self.make_available(ring, head);
    }

    fn chain(&mut self, ring: usize, slot: u16, ask: &Ask) -> Vec<(GuestAddress, u32, u16)> {
        let header = self.header(ring, slot);
        let (kind, sector) = match ask {
            Ask::Read(sector, _) => (0, *sector),
            Ask::Write(sector, _) => (1, *sector),
            Ask::Flush => (4, 0),
            Ask::GetId => (8, 0),
            Ask::Discard(..) => (11, 0),
            Ask::WriteZeroes(..) => (13, 0),
            Ask::Other(kind) => (*kind, 0),
        };
        self.memory.write_obj(u64::from(kind), header).unwrap();
        self.memory.write_obj(sector, header.unchecked_add(8)).unwrap();
        let data = self.data(ring, slot);
        // In two pieces, which needn't be sectors.
        let pieces = |len: u32, flags| {
            let first = len.min(100);
            let second = (data.unchecked_add(first.into()), len - first, flags);
            [(data, first, flags), second].into_iter().filter(|(_, len, _)| *len > 0)
        };
        let mut chain = vec![(header, 16, 0)];
        match ask {
            Ask::Read(_, len) => chain.extend(pieces(*len, WRITE)),
            Ask::GetId => chain.extend(pieces(20, WRITE)),
            Ask::Write(_, bytes) => {
                self.memory.write_slice(bytes, data).unwrap();
                chain.extend(pieces(bytes.len() as u32, 0));
            }
            Ask::Discard(sector, sectors, flags) | Ask::WriteZeroes(sector, sectors, flags) => {
                self.memory.write_obj(*sector, data).unwrap();
                self.memory.write_obj([*sectors, *flags], data.unchecked_add(8)).unwrap();
                chain.push((data, 16, 0));
            }
            Ask::Flush | Ask::Other(_) => {}
        }
        self.memory.write_obj(0xffu8, header.unchecked_add(16)).unwrap();
        chain.push((header.unchecked_add(16), 1, WRITE));
        chain
    }

    /// Writes a descriptor, whatever it is.
    pub fn set_descriptor(&self, table: GuestAddress, index: u16, (address, len, flags, next): Raw) {
        let descriptor = Descriptor::new(address.raw_value(), len, flags, next);
        self.memory.write_obj(descriptor, table.unchecked_add(u64::from(index) * 16)).unwrap();
    }

    /// Where a ring's descriptors are.
    pub fn table(&self, ring: usize) -> GuestAddress {
        self.rings[ring].start
    }

    /// Where the header of a request is; its status is behind that.
    pub fn header(&self, ring: usize, slot: u16) -> GuestAddress {
        self.rings[ring].start.unchecked_add(HEADERS + u64::from(slot) * 64)
    }

    /// Where the data of a request is.
    pub fn data(&self, ring: usize, slot: u16) -> GuestAddress {
        let slot = ring as u64 * u64::from(self.wishes.size / DESCRIPTORS) + u64::from(slot);
        GuestAddress(GUEST + self.rings.len() as u64 * RING_LEN + slot * u64::from(MAX_DATA_LEN))
    }

    /// Bytes of a request's data.
    pub fn bytes(&self, ring: usize, slot: u16, len: u32) -> Vec<u8> {
        let mut bytes = vec![0; len as usize];
        self.memory.read_slice(&mut bytes, self.data(ring, slot)).unwrap();
        bytes
    }

    /// Puts the head of a chain into the available ring.
    pub fn make_available(&mut self, ring: usize, head: u16) {
        let size = self.wishes.size;
        let ring = &mut self.rings[ring];
        let available = ring.start.unchecked_add(AVAILABLE);
        let entry = 4 + 2 * u64::from(ring.next_available % size);
        self.memory.write_obj(head, available.unchecked_add(entry)).unwrap();
        ring.next_available = ring.next_available.wrapping_add(1);
        self.memory.store(ring.next_available, available.unchecked_add(2), Ordering::Release).unwrap();
    }

    /// Sets the available ring's index, whatever is in the ring.
    pub fn set_available_index(&mut self, ring: usize, index: u16) {
        let available = self.rings[ring].start.unchecked_add(AVAILABLE);
        self.rings[ring].next_available = index;
        self.memory.store(index, available.unchecked_add(2), Ordering::Release).unwrap();
    }

    /// Tells the device of what is in a ring, if it wants to hear of it; says whether it does.
    pub fn kick(&mut self, ring: usize) -> bool {
        let size = self.wishes.size;
        let ring = &mut self.rings[ring];
        fence(Ordering::SeqCst);
        let used = ring.start.unchecked_add(USED);
        let is_wanted = if self.wishes.event_index {
            let event: u16 =
                self.memory.load(used.unchecked_add(4 + 8 * u64::from(size)), Ordering::Relaxed).unwrap();
            let new = ring.next_available;
            new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(ring.kicked)
        } else {
            self.memory.load::<u16>(used, Ordering::Relaxed).unwrap() & 1 == 0
        };
        ring.kicked = ring.next_available;
        if is_wanted {
            ring.kick.write(1).unwrap();
        }
        is_wanted
    }

    /// Tells the device, whatever it wants.
    pub fn force_kick(&self, ring: usize) {
        self.rings[ring].kick.write(1).unwrap();
    }

    /// The requests that the device has given back since last time.
    pub fn done(&mut self, ring: usize) -> Vec<Done> {
        let (index, size) = (self.used_index(ring), self.wishes.size);
        let mut done = Vec::new();
        while self.rings[ring].next_used != index {
            let at = self.rings[ring].next_used;
            let entry = self.rings[ring].start.unchecked_add(USED + 4 + 8 * u64::from(at % size));
            let [head, written]: [u32; 2] = self.memory.read_obj(entry).unwrap();
            let slot = head as u16 / DESCRIPTORS;
            let status = self.memory.read_obj(self.header(ring, slot).unchecked_add(16)).unwrap();
            done.push(Done { slot, status, written });
            self.rings[ring].next_used = at.wrapping_add(1);
        }
        done
    }

    /// Waits until a request of a ring is given back, by being told so; none if that takes longer than `timeout`.
    pub fn wait(&mut self, ring: usize, timeout: Duration) -> Vec<Done> {
        let begin = Instant::now();
        loop {
            let done = self.done(ring);
            if !done.is_empty() || begin.elapsed() > timeout {
                return done;
            }
            // "Tell me of the next one."
            let event = self.rings[ring].start.unchecked_add(AVAILABLE + 4 + 2 * u64::from(self.wishes.size));
            self.memory.store(self.rings[ring].next_used, event, Ordering::Relaxed).unwrap();
            fence(Ordering::SeqCst);
            if self.used_index(ring) != self.rings[ring].next_used {
                continue;
            }
            let left = timeout.saturating_sub(begin.elapsed()).as_millis() as i32;
            self.rings[ring].called.wait(left, &mut [EpollEvent::default()]).unwrap();
            let _ = self.rings[ring].call.read();
        }
    }

    /// Has one request done, in slot 0.
    ///
    /// # Panics
    /// If it takes more than `timeout`.
    pub fn request(&mut self, ring: usize, ask: &Ask, timeout: Duration) -> Done {
        self.submit(ring, 0, ask);
        self.kick(ring);
        let done = self.wait(ring, timeout);
        assert_eq!(done.len(), 1, "{ask:?}: {done:?}");
        done[0]
    }

    /// The used ring's index.
    pub fn used_index(&self, ring: usize) -> u16 {
        let used = self.rings[ring].start.unchecked_add(USED);
        self.memory.load(used.unchecked_add(2), Ordering::Acquire).unwrap()
    }

    /// Whether the device has ended the connection.
    pub fn is_cut_off(&mut self) -> bool {
        self.front_end().get_features().is_err()
    }
}
