//! The fill and completion rings of a queue, which all of its sockets have in common.
//!
//! Each ring has one place to be written or read at, and each socket has a thread of its own. So whoever has something
//! to do there tries to get both rings for itself, and does it another time if somebody else has them: nobody waits. A
//! thread that stands still outside of it keeps nobody from receiving or sending.

use super::{BATCH, CHUNK_LEN};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, TryLockError};
use xsk_rs::{CompQueue, FillQueue, FrameDesc};

/// Both rings, and what came out of the completion ring for others than who looked.
#[derive(Debug)]
pub(super) struct Queue {
    rings: Mutex<QueueRings>,
    /// Which socket sent each chunk last: the kernel doesn't say.
    senders: Box<[AtomicU8]>,
}

#[derive(Debug)]
struct QueueRings {
    fill: FillQueue,
    completion: CompQueue,
    /// Chunks that have been sent, by socket.
    sent: Vec<Vec<u16>>,
    batch: Box<[FrameDesc; BATCH]>,
}

impl Queue {
    /// The rings of `sockets` sockets over a region of `chunks` chunks.
    pub(super) fn new(fill: FillQueue, completion: CompQueue, sockets: usize, chunks: usize) -> Self {
        let sent = (0..sockets).map(|_| Vec::with_capacity(chunks)).collect();
        let batch = Box::new([FrameDesc::default(); BATCH]);
        let senders = std::iter::repeat_with(AtomicU8::default).take(chunks).collect();
        Self { rings: Mutex::new(QueueRings { fill, completion, sent, batch }), senders }
    }

    /// Gives the kernel up to `count` chunks to receive into, which `next` gives, and says how many it were and whether
    /// the kernel wants to be told. `None` if others are at it, unless `must` makes it wait for them.
    pub(super) fn fill(
        &self,
        count: usize,
        must: bool,
        mut next: impl FnMut() -> FrameDesc,
    ) -> Option<(usize, bool)> {
        let mut rings = self.rings(must)?;
        let QueueRings { fill, batch, .. } = &mut *rings;
        let mut given = 0;
        while given < count {
            // The ring has twice as many places as there are chunks, and yet the kernel, which moves its index
            // late, may leave less room than wanted: the rest waits for the next call.
            let room = (fill.nb_free(BATCH as u32) as usize).min(BATCH).min(count - given);
            if room == 0 {
                break;
            }
            batch[..room].fill_with(&mut next);
            // SAFETY: the chunks were the caller's until now and belong to this ring's UMEM.
            let produced = unsafe { fill.produce(&batch[..room]) };
            assert_eq!(produced, room, "the fill ring had room");
            given += room;
        }
        Some((given, fill.needs_wakeup()))
    }

    /// The chunk is about to be sent by this socket.
    pub(super) fn sends(&self, socket: u8, chunk: usize) {
        self.senders[chunk].store(socket, Ordering::Relaxed);
    }

    /// Hands this socket's chunks that have been sent to `free`, and says how many it were; none if others are at it.
    pub(super) fn reap(&self, socket: u8, mut free: impl FnMut(usize)) -> usize {
        let Some(mut rings) = self.rings(false) else { return 0 };
        let QueueRings { completion, sent, batch, .. } = &mut *rings;
        let mut reaped = 0;
        for chunk in sent[usize::from(socket)].drain(..) {
            free(chunk.into());
            reaped += 1;
        }
        loop {
            // SAFETY: the ring belongs to this UMEM; what is in the array before doesn't count.
            let count = unsafe { completion.consume(&mut batch[..]) };
            for descriptor in &batch[..count] {
                let chunk = descriptor.addr() / CHUNK_LEN;
                let sender = self.senders[chunk].load(Ordering::Relaxed);
                if sender == socket {
                    free(chunk);
                    reaped += 1;
                } else {
                    sent[usize::from(sender)].push(chunk as u16);
                }
            }
            if count < BATCH {
                return reaped;
            }
        }
    }

    /// Both rings; none if others have them, unless it `must` wait for them.
    fn rings(&self, must: bool) -> Option<MutexGuard<'_, QueueRings>> {
        let rings = if must { self.rings.lock().map_err(TryLockError::from) } else { self.rings.try_lock() };
        match rings {
            Ok(rings) => Some(rings),
            Err(TryLockError::WouldBlock) => None,
            Err(TryLockError::Poisoned(_)) => panic!("another core of this queue has panicked"),
        }
    }
}
