//! One queue of a device, and its thread.
//!
//! The thread sleeps in one poll(2) on the disk's queue and an eventfd, to which io_uring tells of new requests; what has
//! been done is told to the kernel by the same call that fetches them.

use super::UblkError;
use super::control::refused;
use super::requests::{Ended, Requests, memory};
use crate::block::BlockQueue;
use crate::export::Export;
use crate::pieces::QUEUE_DEPTH;
use libublk::ctrl::UblkCtrl;
use libublk::helpers::IoBuf;
use libublk::io::{UblkDev, UblkIOCtx, UblkQueue, with_task_io_ring};
use libublk::sys::{UBLK_IO_RES_ABORT, UBLK_IO_RES_OK};
use libublk::{BufDesc, BufDescList, UblkError as DriverError, UblkIORes};
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::collections::VecDeque;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long the thread sleeps when nothing happens.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// How a queue's thread is told to leave its requests to another daemon.
#[derive(Debug)]
pub(super) struct Bell {
    wake: EventFd,
    leaves: AtomicBool,
}

impl Bell {
    /// Not rung yet.
    ///
    /// # Errors
    /// When descriptors run out.
    pub(super) fn new() -> io::Result<Self> {
        let wake = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?;
        Ok(Self { wake, leaves: AtomicBool::new(false) })
    }

    /// Lets the thread end, whatever is out.
    pub(super) fn leave(&self) {
        self.leaves.store(true, Ordering::Release);
        // If it is full, it can be read.
        let _ = self.wake.write(1);
    }
}

/// A queue at work.
pub(super) struct Queue<'a> {
    number: u32,
    ring: UblkQueue<'a>,
    /// By tag. The kernel has their addresses for as long as it has commands of the ring.
    memory: ManuallyDrop<Vec<IoBuf<u8>>>,
    bell: Arc<Bell>,
    disk: Box<dyn BlockQueue>,
    requests: Requests,
    /// Tags of requests that have come.
    come: VecDeque<u16>,
    /// Whether there are ends of requests that the kernel has not been told.
    has_ends: bool,
}

impl<'a> Queue<'a> {
    /// Makes a device's queue `id` ready in the thread that is to serve it.
    ///
    /// # Errors
    /// When there are not the means for it.
    pub(super) fn new(
        id: u16,
        device: &'a UblkDev,
        export: &Export,
        bell: Arc<Bell>,
    ) -> Result<Self, UblkError> {
        // Memory that is short must not be won by writing to this disk.
        UblkCtrl::init_queue_thread();
        let number = device.dev_info.dev_id;
        let disk = export.device().queue(QUEUE_DEPTH)?;
        let what = refused("serve", number);
        let ring = UblkQueue::new(id, device).map_err(&what)?;
        with_task_io_ring(|ring| ring.submitter().register_eventfd(bell.wake.as_raw_fd()))?;
        let tags = usize::from(device.dev_info.queue_depth);
        let memory = ManuallyDrop::new(memory(tags));
        let ring = ring.submit_fetch_commands_unified(BufDescList::Slices(Some(&memory))).map_err(&what)?;
        let requests = Requests::new(export.geometry().clone(), tags, Arc::clone(export.counters()));
        Ok(Self { number, ring, memory, bell, disk, requests, come: VecDeque::new(), has_ends: false })
    }

    /// Serves it until the device stops, or it is to be left.
    ///
    /// # Errors
    /// Why it can't be served any longer.
    pub(super) fn serve(mut self) -> Result<(), UblkError> {
        while !self.bell.leaves.load(Ordering::Acquire) {
            // Before the look, so that what comes after it wakes us.
            let _ = self.bell.wake.read();
            if !self.take()? {
                // The kernel has given back all commands, and with them the memory.
                ManuallyDrop::into_inner(self.memory);
                return Ok(());
            }
            self.submit();
            // What has ended makes room for other operations.
            if !self.give_back()? && !self.has_ends {
                self.disk.wait_with(self.bell.wake.as_fd(), LONGEST_SLEEP)?;
            }
        }
        Ok(())
    }

    /// Tells the kernel of what was given back, and takes what has come; false if the device has stopped.
    fn take(&mut self) -> Result<bool, UblkError> {
        let mut is_aborted = true;
        // Of a queue of which commands are aborted, the call after tells whether these were all.
        while std::mem::take(&mut is_aborted) {
            let mut wrong = None;
            self.has_ends = false;
            let come = &mut self.come;
            let taken = self.ring.flush_and_wake_io_tasks(
                |data, entry, _| match entry.result() {
                    result if result == UBLK_IO_RES_OK as i32 => {
                        come.push_back(UblkIOCtx::user_data_to_tag(data) as u16);
                    }
                    UBLK_IO_RES_ABORT => is_aborted = true,
                    errno => wrong = Some(DriverError::UringIOError(errno)),
                },
                0,
            );
            match (taken, wrong) {
                (Err(DriverError::QueueIsDown), _) => return Ok(false),
                (Err(DriverError::IOError(error)), _) if error.kind() == io::ErrorKind::Interrupted => {}
                (Err(error), _) | (Ok(_), Some(error)) => return Err(refused("serve", self.number)(error)),
                (Ok(_), None) => {}
            }
        }
        while let Some(tag) = self.come.pop_front() {
            if let Some(ended) = self.requests.begin(tag, self.ring.get_iod(tag)) {
                self.end(ended)?;
            }
        }
        Ok(true)
    }

    /// Submits what can be.
    fn submit(&mut self) {
        let mut any = false;
        while let Some((tag, operation)) = self.requests.poll_operation(&self.memory) {
            self.disk.submit(tag, operation);
            any = true;
        }
        if any {
            self.disk.kick();
        }
    }

    /// Takes what has ended, and says whether there was any of it.
    fn give_back(&mut self) -> Result<bool, UblkError> {
        let mut any = false;
        while let Some(finished) = self.disk.poll() {
            any = true;
            if let Some(ended) = self.requests.handle_finished(&mut self.memory, finished) {
                self.end(ended)?;
            }
        }
        Ok(any)
    }

    fn end(&mut self, ended: Ended) -> Result<(), UblkError> {
        let Ended { tag, result } = ended;
        self.has_ends = true;
        let buffer = BufDesc::Slice(self.memory[usize::from(tag)].as_slice());
        self.ring
            .complete_io_cmd_unified(tag, buffer, Ok(UblkIORes::Result(result)))
            .map_err(refused("serve", self.number))
    }
}
