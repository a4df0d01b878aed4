use super::super::buffers::Input;
use super::super::transmission::Transmission;
use super::super::wire::{command, command_flag, error};
use super::super::{MAX_HELD_LEN, MAX_REQUEST_LEN, ProtocolError};
use super::{fill, geometry};
use crate::block::{BlockError, Finished, Geometry, Operation};
use crate::export::Counters;
use crate::pieces::QUEUE_DEPTH;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A connection and its device, which ends operations in an order of its own.
struct World {
    transmission: Transmission,
    counters: Arc<Counters>,
    geometry: Geometry,
    disk: Vec<u8>,
    out: Vec<(u64, Operation)>,
    flushes: usize,
    /// Writes and discards that no flush has covered yet.
    dirty: bool,
    /// Operations at this offset fail.
    broken: Option<u64>,
    received: Vec<u8>,
}

impl World {
    fn new(geometry: Geometry, structured: bool) -> Self {
        let counters = Arc::new(Counters::default());
        Self {
            transmission: Transmission::new(
                geometry.clone(),
                structured,
                Input::new(),
                Arc::clone(&counters),
            ),
            counters,
            disk: vec![0; geometry.len() as usize],
            geometry,
            out: Vec::new(),
            flushes: 0,
            dirty: false,
            broken: None,
            received: Vec::new(),
        }
    }

    /// Sends as much as is taken; gives how much that is.
    fn send(&mut self, bytes: &[u8]) -> Result<usize, ProtocolError> {
        let mut sent = 0;
        while sent < bytes.len() {
            let buffer = self.transmission.receive_buffer();
            let len = buffer.len().min(bytes.len() - sent);
            if len == 0 {
                break;
            }
            buffer[..len].copy_from_slice(&bytes[sent..sent + len]);
            sent += len;
            self.transmission.handle_received(len)?;
        }
        Ok(sent)
    }

    /// Takes what is to be submitted.
    fn submit(&mut self) {
        while let Some((tag, operation)) = self.transmission.poll_operation() {
            if let Operation::Read { offset, buffer } | Operation::Write { offset, buffer } = &operation {
                self.check(*offset, buffer.len());
                assert!(buffer.len() <= self.geometry.max_operation_len);
            }
            if let Operation::Discard { offset, len } = &operation {
                self.check(*offset, *len as usize);
            }
            self.out.push((tag, operation));
        }
        assert!(self.out.len() <= QUEUE_DEPTH);
        assert_eq!(self.out.len(), self.transmission.outstanding());
    }

    fn check(&self, offset: u64, len: usize) {
        assert!(len > 0 && self.geometry.contains(offset, len as u64), "{len} bytes at {offset}");
        assert!(self.geometry.is_aligned(offset, len as u64), "{len} bytes at {offset}");
    }

    /// Ends the operation that `choice` means.
    fn end_one(&mut self, choice: usize) {
        let (tag, operation) = self.out.swap_remove(choice % self.out.len());
        let is_broken = |offset: u64| if self.broken == Some(offset) { Err(BlockError::Io) } else { Ok(()) };
        let (result, buffer) = match operation {
            Operation::Read { offset, mut buffer } => {
                buffer.copy_from_slice(&self.disk[offset as usize..][..buffer.len()]);
                (is_broken(offset), Some(buffer))
            }
            Operation::Write { offset, buffer } => {
                self.disk[offset as usize..][..buffer.len()].copy_from_slice(&buffer);
                self.dirty = true;
                (is_broken(offset), Some(buffer))
            }
            Operation::Flush => {
                self.flushes += 1;
                self.dirty = false;
                (Ok(()), None)
            }
            Operation::Discard { offset, len } => {
                self.disk[offset as usize..][..len as usize].fill(0xdd);
                self.dirty = true;
                (is_broken(offset), None)
            }
        };
        self.transmission.handle_finished(Finished { tag, result, buffer });
    }

    /// Takes up to `len` bytes of replies.
    fn receive(&mut self, len: usize) {
        let mut slices = [IoSlice::new(&[]); 4];
        let count = self.transmission.output(&mut slices);
        let offered: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.iter().copied()).collect();
        let len = len.min(offered.len());
        self.received.extend_from_slice(&offered[..len]);
        self.transmission.handle_sent(len);
    }

    /// Until nothing is left to be done.
    fn settle(&mut self) -> Result<(), ProtocolError> {
        loop {
            self.transmission.handle_input()?;
            self.submit();
            if !self.out.is_empty() {
                self.end_one(0);
            } else if self.transmission.has_output() {
                self.receive(usize::MAX);
            } else {
                return Ok(());
            }
        }
    }

    /// The replies that have come, by cookie: the error, and the data where `reads` tells how much of it there is.
    fn replies(&mut self, structured: bool, reads: &BTreeMap<u64, usize>) -> BTreeMap<u64, (u32, Vec<u8>)> {
        let mut rest = &self.received[..];
        let mut replies = BTreeMap::new();
        while !rest.is_empty() {
            let short = |at: usize| u16::from_be_bytes(rest[at..at + 2].try_into().unwrap());
            let word = |at: usize| u32::from_be_bytes(rest[at..at + 4].try_into().unwrap());
            let long = |at: usize| u64::from_be_bytes(rest[at..at + 8].try_into().unwrap());
            let cookie = long(8);
            let (error, data, len) = match word(0) {
                0x6744_6698 => {
                    assert!(!structured || !reads.contains_key(&cookie), "a simple reply to a read");
                    let data = if word(4) == 0 { reads.get(&cookie).copied().unwrap_or(0) } else { 0 };
                    (word(4), rest[16..16 + data].to_vec(), 16 + data)
                }
                0x668e_33ef => {
                    assert_eq!((structured, short(4)), (true, 1), "one chunk");
                    let len = word(16) as usize;
                    match short(6) {
                        1 => (0, rest[28..20 + len].to_vec(), 20 + len),
                        0x8001 => (word(20), Vec::new(), 20 + len),
                        other => panic!("a chunk of type {other}"),
                    }
                }
                other => panic!("no reply begins with {other:#x}"),
            };
            assert!(replies.insert(cookie, (error, data)).is_none(), "two replies to {cookie}");
            rest = &rest[len..];
        }
        self.received.clear();
        replies
    }
}

fn request(flags: u16, command: u16, cookie: u64, offset: u64, len: u32) -> Vec<u8> {
    [
        &0x2560_9513u32.to_be_bytes()[..],
        &flags.to_be_bytes(),
        &command.to_be_bytes(),
        &cookie.to_be_bytes(),
        &offset.to_be_bytes(),
        &len.to_be_bytes(),
    ]
    .concat()
}

/// What a client asks of its own part of the disk.
#[derive(Clone, Debug)]
struct Ask {
    command: u16,
    fua: bool,
    /// Within the part, in blocks.
    at: u64,
    blocks: u32,
    fill: u8,
}

/// Parts of the disk, which don't overlap, so that all may be asked for at once.
const PARTS: u64 = 16;
const PART_BLOCKS: u64 = 512 / PARTS;

fn ask() -> impl Strategy<Value = Ask> {
    let command = prop_oneof![
        4 => Just(command::READ),
        4 => Just(command::WRITE),
        1 => Just(command::FLUSH),
        1 => Just(command::TRIM),
        2 => Just(command::WRITE_ZEROES),
    ];
    (command, any::<bool>(), 0..PART_BLOCKS, 1u32..12, any::<u8>()).prop_map(
        |(command, fua, at, blocks, fill)| Ask {
            command,
            fua,
            at,
            blocks: blocks.min((PART_BLOCKS - at) as u32),
            fill,
        },
    )
}

proptest! {
    /// Every request has one reply with what the disk has, whatever the pieces in which bytes come and go and the
    /// order in which operations end; and the disk has what was written.
    #[test]
    fn requests_are_done(
        structured in any::<bool>(),
        rounds in proptest::collection::vec(proptest::collection::vec(ask(), 1..PARTS as usize), 1..5),
        choices in proptest::collection::vec((1usize..3000, any::<usize>(), 1usize..3000), 400),
    ) {
        let mut world = World::new(geometry(), structured);
        let mut model = vec![0u8; geometry().len() as usize];
        let mut choices = choices.into_iter().cycle();
        for round in rounds {
            let (mut bytes, mut expected, mut reads) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
            for (cookie, ask) in (0u64..).zip(&round) {
                let offset = (cookie * PART_BLOCKS + ask.at) * 512;
                let len = ask.blocks as usize * 512;
                let flags = if ask.fua { command_flag::FUA } else { 0 };
                bytes.extend(request(flags, ask.command, cookie, offset, len as u32));
                let place = &mut model[offset as usize..][..len];
                let mut data = Vec::new();
                match ask.command {
                    command::READ => {
                        data = place.to_vec();
                        reads.insert(cookie, len);
                    }
                    command::WRITE => {
                        place.iter_mut().zip(0u32..).for_each(|(byte, i)| *byte = ask.fill ^ (i / 100) as u8);
                        bytes.extend_from_slice(place);
                    }
                    command::TRIM => place.fill(0xdd),
                    command::WRITE_ZEROES => place.fill(0),
                    _ => {}
                }
                expected.insert(cookie, (0, data));
            }
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let (come, choice, go) = choices.next().unwrap();
                let sent = world.send(&rest[..come.min(rest.len())]).unwrap();
                rest = &rest[sent..];
                world.submit();
                if !world.out.is_empty() {
                    world.end_one(choice);
                }
                world.receive(go);
            }
            world.settle().unwrap();
            prop_assert_eq!(world.replies(structured, &reads), expected);
            prop_assert!(world.disk == model, "the disk has other data");
            let all_last = round.iter().all(|ask| ask.fua || ask.command == command::READ);
            prop_assert!(!(all_last && world.dirty), "a FUA without a flush after it");
            world.dirty = false;
        }
    }

    /// Whatever comes, nothing is asked of the device that doesn't fit it, and no memory is lost.
    #[test]
    fn any_bytes(
        structured in any::<bool>(),
        read_only in any::<bool>(),
        messages in proptest::collection::vec(hostile(), 1..40),
        pieces in proptest::collection::vec((1usize..3000, any::<usize>(), 0usize..3000), 60),
    ) {
        let geometry = Geometry { read_only, ..geometry() };
        let mut world = World::new(geometry, structured);
        let bytes = messages.concat();
        let mut rest = &bytes[..];
        let mut result = Ok(0);
        for (come, choice, go) in pieces {
            result = world.send(&rest[..come.min(rest.len())]);
            let Ok(sent) = result else { break };
            rest = &rest[sent..];
            world.submit();
            if !world.out.is_empty() {
                world.end_one(choice);
            }
            world.receive(go);
        }
        if result.is_ok() {
            let _ = world.settle();
        }
        while !world.out.is_empty() {
            world.end_one(0);
        }
        prop_assert!(!read_only || world.disk.iter().all(|&byte| byte == 0));
    }
}

/// Requests with wrong fields, and bytes that are none.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let offset = prop_oneof![0u64..530 * 512, (0u64..530).prop_map(|lba| lba * 512), any::<u64>()];
    let len = prop_oneof![0u32..5000, (0u32..40).prop_map(|blocks| blocks * 512), any::<u32>()];
    let flags = prop_oneof![4 => Just(0), 1 => any::<u16>()];
    let header = (flags, 0u16..9, any::<u64>(), offset, len)
        .prop_map(|(flags, command, cookie, offset, len)| request(flags, command, cookie, offset, len));
    prop_oneof![
        8 => (header, 0usize..6000).prop_map(|(header, data)| [header, vec![0x25; data]].concat()),
        1 => proptest::collection::vec(any::<u8>(), 1..100),
    ]
}

#[test]
fn a_failure_has_one_reply_and_others_go_on() {
    for structured in [false, true] {
        let mut world = World::new(geometry(), structured);
        // The second of its pieces.
        world.broken = Some(3 * 512);
        let bytes = [
            request(0, command::READ, 1, 0, 8 * 512),
            request(command_flag::FUA, command::WRITE_ZEROES, 2, 0, 8 * 512),
            request(0, command::READ, 3, 8 * 512, 512),
            request(0, command::READ, 4, 1, 512),
        ]
        .concat();
        assert_eq!(world.send(&bytes), Ok(bytes.len()));
        world.settle().unwrap();
        let reads = BTreeMap::from([(1, 0), (3, 512), (4, 0)]);
        let errors =
            world.replies(structured, &reads).into_iter().map(|(cookie, (error, _))| (cookie, error));
        assert_eq!(
            errors.collect::<Vec<_>>(),
            [(1, error::EIO), (2, error::EIO), (3, 0), (4, error::EINVAL)]
        );
        assert_eq!(world.flushes, 0, "nothing is to stay of a write that failed");
        let Counters { reads, failed, refused, .. } = &*world.counters;
        let counted = [reads, failed, refused].map(|counter| counter.load(Ordering::Relaxed));
        assert_eq!(counted, [1, 2, 1]);
    }
}

#[test]
fn a_client_that_takes_no_replies_is_not_read_from() {
    let large = Geometry { blocks: 4096, max_operation_len: 1 << 20, ..geometry() };
    let mut world = World::new(large, true);
    let one = request(0, command::READ, 1, 0, 1 << 20);
    let mut sent = 0;
    loop {
        match world.send(&one).unwrap() {
            0 => break,
            len => sent += len,
        }
        world.submit();
        while !world.out.is_empty() {
            world.end_one(0);
            world.submit();
        }
        assert!(sent < 1 << 20, "it is read from for ever");
    }
    let mut waiting = [IoSlice::new(&[]); 1];
    assert_eq!(world.transmission.output(&mut waiting), 1);
    let done = world.counters.reads.load(Ordering::Relaxed);
    assert_eq!(done as usize, MAX_HELD_LEN / (1 << 20) - 1, "the headers take the place of one");
    while world.transmission.has_output() {
        world.receive(usize::MAX);
    }
    world.transmission.handle_input().unwrap();
    world.submit();
    assert!(!world.out.is_empty(), "it goes on once there is room");
}

#[test]
fn a_write_that_is_too_long_ends_the_connection_and_a_good_bye_comes_last() {
    let mut world = World::new(geometry(), false);
    let len = MAX_REQUEST_LEN + 512;
    assert_eq!(world.send(&request(0, command::WRITE, 1, 0, len)), Err(ProtocolError::LongWrite(len)));

    let mut world = World::new(geometry(), false);
    let bytes = [request(0, command::READ, 1, 0, 512), request(0, command::DISC, 2, 0, 0)].concat();
    world.send(&bytes).unwrap();
    assert!(world.transmission.receive_buffer().is_empty());
    assert!(!world.transmission.is_over(), "a reply is missing");
    world.settle().unwrap();
    assert!(world.transmission.is_over());
}

#[test]
fn what_came_with_the_choice_of_the_export_is_not_forgotten() {
    let mut input = Input::new();
    fill(&mut input, &request(0, command::FLUSH, 7, 0, 0));
    let mut transmission = Transmission::new(geometry(), false, input, Arc::default());
    transmission.handle_input().unwrap();
    assert!(matches!(transmission.poll_operation(), Some((_, Operation::Flush))));
}
