//! Requests of one queue that are worked on: what the disk is asked for, and what the kernel gets.

use super::parameters::MAX_REQUEST_LEN;
use super::request::parse;
use crate::block::{BlockError, Finished, Geometry, Operation};
use crate::export::Counters;
use crate::pieces::{self, Pieces, Request, Work};
use libublk::helpers::IoBuf;
use libublk::sys::ublksrv_io_desc;
use nix::errno::Errno;
use std::convert::Infallible;
use std::sync::Arc;

/// A request that is to be given back: its tag, and bytes or a negative error number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ended {
    pub(super) tag: u16,
    pub(super) result: i32,
}

/// One queue's requests. Each tag has a buffer of [`MAX_REQUEST_LEN`], which the kernel copies from and to.
pub(super) struct Requests {
    geometry: Geometry,
    pieces: Pieces,
}

impl Requests {
    /// Requests with one of `tags` tags, to a disk with this geometry.
    ///
    /// # Panics
    /// If the disk takes not even one block at a time.
    pub(super) fn new(geometry: Geometry, tags: usize, counters: Arc<Counters>) -> Self {
        Self { pieces: Pieces::new(&geometry, tags, counters), geometry }
    }

    /// Begins a request; gives its end, if that is what is wrong with it.
    ///
    /// # Panics
    /// If there is a request of that tag.
    pub(super) fn begin(&mut self, tag: u16, descriptor: &ublksrv_io_desc) -> Option<Ended> {
        match parse(descriptor, &self.geometry) {
            Ok(request) => {
                self.pieces.begin(tag, request);
                None
            }
            Err(errno) => {
                self.pieces.refuse();
                Some(Ended { tag, result: -(errno as i32) })
            }
        }
    }

    /// The next operation to submit: its tag comes back to [`Self::handle_finished`]. There are never more out than
    /// [`QUEUE_DEPTH`](pieces::QUEUE_DEPTH).
    pub(super) fn poll_operation(&mut self, memory: &[IoBuf<u8>]) -> Option<(u64, Operation)> {
        let Ok(operation) = self.pieces.poll_operation(|tag, at, buffer| {
            buffer.copy_from_slice(&memory[usize::from(tag)][at as usize..][..buffer.len()]);
            Ok::<_, Infallible>(())
        });
        operation
    }

    /// Takes an operation's end, and gives the end of its request, if it is that.
    ///
    /// # Panics
    /// If no operation with this tag is out.
    pub(super) fn handle_finished(&mut self, memory: &mut [IoBuf<u8>], finished: Finished) -> Option<Ended> {
        let Ok(ended) = self.pieces.handle_finished(finished, |tag, at, data| {
            memory[usize::from(tag)][at as usize..][..data.len()].copy_from_slice(data);
            Ok::<_, Infallible>(())
        });
        let pieces::Ended { slot, request: Request { work, len, .. }, result } = ended?;
        let result = match (result, work) {
            (Err(BlockError::ReadOnly), _) => -(Errno::EPERM as i32),
            (Err(BlockError::Io), _) => -(Errno::EIO as i32),
            // Of others the kernel wants no bytes, and theirs need not fit.
            (Ok(()), Work::Read | Work::Write) => i32::try_from(len).expect("no more than MAX_REQUEST_LEN"),
            (Ok(()), Work::Flush | Work::Discard | Work::WriteZeroes) => 0,
        };
        Some(Ended { tag: slot, result })
    }
}

/// Buffers for so many tags.
pub(super) fn memory(tags: usize) -> Vec<IoBuf<u8>> {
    std::iter::repeat_with(|| IoBuf::new(MAX_REQUEST_LEN as usize)).take(tags).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pieces::{MAX_OUT_LEN, PIECE_LEN};
    use libublk::sys::{
        UBLK_IO_F_FUA, UBLK_IO_OP_DISCARD, UBLK_IO_OP_FLUSH, UBLK_IO_OP_READ, UBLK_IO_OP_WRITE,
        UBLK_IO_OP_WRITE_ZEROES, UBLK_IO_OP_ZONE_OPEN,
    };

    const TAGS: usize = 4;
    const DISK_LEN: usize = 1 << 20;

    /// A queue with a disk of memory, which works off what is out from the last to the first.
    struct World {
        requests: Requests,
        memory: Vec<IoBuf<u8>>,
        disk: Vec<u8>,
        out: Vec<(u64, Operation)>,
        /// What the disk was asked for, with bytes.
        asked: Vec<(&'static str, u64)>,
        counters: Arc<Counters>,
    }

    impl World {
        fn new(max_operation_len: usize) -> Self {
            let geometry = Geometry {
                block_len: 512,
                blocks: (DISK_LEN / 512) as u64,
                max_operation_len,
                read_only: false,
                discard: true,
            };
            let counters = Arc::<Counters>::default();
            let mut memory = memory(TAGS);
            memory.iter_mut().for_each(IoBuf::zero_buf);
            Self {
                requests: Requests::new(geometry, TAGS, Arc::clone(&counters)),
                memory,
                disk: vec![0xa5; DISK_LEN],
                out: Vec::new(),
                asked: Vec::new(),
                counters,
            }
        }

        fn begin(&mut self, tag: u16, op_flags: u32, offset: usize, len: usize) -> Option<i32> {
            let (start_sector, nr_sectors) = ((offset / 512) as u64, (len / 512) as u32);
            let descriptor = ublksrv_io_desc { op_flags, nr_sectors, start_sector, addr: 0 };
            self.requests.begin(tag, &descriptor).map(|ended| ended.result)
        }

        /// Works until nothing is to be done; what goes wrong is decided by `fails`.
        fn work(&mut self, fails: impl Fn(&Operation) -> bool) -> Vec<Ended> {
            let mut ended = Vec::new();
            loop {
                while let Some(next) = self.requests.poll_operation(&self.memory) {
                    self.out.push(next);
                }
                let Some((tag, operation)) = self.out.pop() else { return ended };
                let result = if fails(&operation) { Err(BlockError::Io) } else { Ok(()) };
                let range = |offset: u64, len: usize| offset as usize..offset as usize + len;
                let buffer = match operation {
                    Operation::Read { offset, mut buffer } => {
                        self.asked.push(("read", buffer.len() as u64));
                        buffer.copy_from_slice(&self.disk[range(offset, buffer.len())]);
                        Some(buffer)
                    }
                    Operation::Write { offset, buffer } => {
                        self.asked.push(("write", buffer.len() as u64));
                        self.disk[range(offset, buffer.len())].copy_from_slice(&buffer);
                        Some(buffer)
                    }
                    Operation::Flush => {
                        self.asked.push(("flush", 0));
                        None
                    }
                    Operation::Discard { len, .. } => {
                        self.asked.push(("discard", len.into()));
                        None
                    }
                };
                let finished = Finished { tag, result, buffer };
                ended.extend(self.requests.handle_finished(&mut self.memory, finished));
            }
        }
    }

    #[test]
    fn what_is_written_in_pieces_is_read_again() {
        for max_operation_len in [512, 5000, 1 << 20] {
            let mut world = World::new(max_operation_len);
            let len = 100 << 10;
            let data: Vec<u8> = (0..len).map(|at| (at / 512) as u8 ^ at as u8).collect();
            world.memory[1][..len].copy_from_slice(&data);
            assert_eq!(world.begin(1, UBLK_IO_OP_WRITE, 4096, len), None);
            assert_eq!(world.work(|_| false), [Ended { tag: 1, result: len as i32 }]);
            assert!(world.disk[4096..4096 + len] == data && world.disk[4096 + len] == 0xa5);
            assert_eq!(world.begin(3, UBLK_IO_OP_READ, 4096, len), None);
            assert_eq!(world.work(|_| false), [Ended { tag: 3, result: len as i32 }]);
            assert!(world.memory[3][..len] == data && world.memory[3][len] == 0);
            let longest = max_operation_len.min(PIECE_LEN) as u64;
            assert!(
                world.asked.iter().all(|&(what, len)| what != "flush" && len <= longest),
                "{max_operation_len}"
            );
        }
    }

    #[test]
    fn what_is_to_stay_is_flushed_after_all_of_it() {
        let mut world = World::new(1 << 20);
        world.begin(0, UBLK_IO_OP_WRITE | UBLK_IO_F_FUA, 0, 128 << 10);
        world.begin(1, UBLK_IO_OP_FLUSH, 0, 0);
        let ends = world.work(|_| false);
        assert_eq!(ends, [Ended { tag: 1, result: 0 }, Ended { tag: 0, result: 128 << 10 }]);
        assert_eq!(world.asked, [("write", 65536), ("flush", 0), ("write", 65536), ("flush", 0)]);
        assert_eq!(world.counters.flushes.load(std::sync::atomic::Ordering::Relaxed), 1, "asked for as such");
    }

    #[test]
    fn zeroes_are_written_and_what_nobody_needs_is_told() {
        let mut world = World::new(1 << 20);
        world.begin(0, UBLK_IO_OP_WRITE_ZEROES, 512, 512 << 10);
        assert_eq!(world.work(|_| false), [Ended { tag: 0, result: 0 }]);
        assert!(world.disk[512..512 + (512 << 10)].iter().all(|byte| *byte == 0));
        assert_eq!((world.disk[511], world.disk[512 + (512 << 10)]), (0xa5, 0xa5));
        world.asked.clear();
        world.begin(0, UBLK_IO_OP_DISCARD, 0, DISK_LEN);
        assert_eq!(world.work(|_| false), [Ended { tag: 0, result: 0 }]);
        assert_eq!(world.asked, [("discard", DISK_LEN as u64)]);
    }

    #[test]
    fn a_request_fails_once_and_others_go_on() {
        let mut world = World::new(4096);
        world.begin(0, UBLK_IO_OP_WRITE | UBLK_IO_F_FUA, 0, 128 << 10);
        world.begin(1, UBLK_IO_OP_READ, 512 << 10, 8192);
        let mut ends = world.work(|operation| matches!(operation, Operation::Write { offset: 4096, .. }));
        ends.sort_by_key(|ended| ended.tag);
        let failed = Ended { tag: 0, result: -(Errno::EIO as i32) };
        assert_eq!(ends, [failed, Ended { tag: 1, result: 8192 }]);
        assert!(!world.asked.contains(&("flush", 0)), "it has failed anyway");
        assert_eq!(world.begin(0, UBLK_IO_OP_ZONE_OPEN, 0, 512), Some(-(Errno::EOPNOTSUPP as i32)));
        assert_eq!(world.begin(0, UBLK_IO_OP_READ, DISK_LEN, 512), Some(-(Errno::EINVAL as i32)));
        world.begin(0, UBLK_IO_OP_READ, 0, 512);
        assert_eq!(world.work(|_| false), [Ended { tag: 0, result: 512 }], "the tag is free again");
    }

    #[test]
    fn no_more_is_out_than_is_worth_it() {
        let mut world = World::new(1 << 20);
        for tag in 0..TAGS as u16 {
            world.begin(tag, UBLK_IO_OP_WRITE_ZEROES, 0, DISK_LEN);
        }
        while let Some(next) = world.requests.poll_operation(&world.memory) {
            world.out.push(next);
        }
        assert_eq!(world.out.len(), MAX_OUT_LEN / PIECE_LEN);
        let tags: std::collections::BTreeSet<_> = world.out.iter().map(|(tag, _)| tag & 0xffff).collect();
        assert_eq!(tags.len(), TAGS, "each has its turn");
    }
}
