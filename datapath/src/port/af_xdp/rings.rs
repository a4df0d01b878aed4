//! How a queue's sockets, their rings and their region of chunks come to be.

use super::queue::Queue;
use super::{AfXdpConfig, BusyPoll};
use crate::port::PortError;
use crate::port::region::Region;
use crate::port::socket::{option, queue_count, set_option, set_send_buffer};
use libc::c_int;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use std::error::Error;
use std::io;
use std::num::NonZeroU32;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use xsk_rs::config::{
    BindFlags, FrameSize, Interface, LibxdpFlags, QueueSize, SocketConfig, SocketConfigBuilder, UmemConfig,
    UmemConfigBuilder,
};
use xsk_rs::{CompQueue, FillQueue, FrameDesc, RxQueue, Socket, TxQueue, Umem};

/// Bytes of a chunk. 2048 don't hold the longest FCoE frame, 2176 bytes, and XDP's 256 bytes of headroom.
pub(super) const CHUNK_LEN: usize = 4096;
/// Bytes that the kernel leaves free before a received frame, for programs that lengthen its head.
pub(super) const XDP_HEADROOM: usize = 256;
/// What a frame on its way out counts in the socket's send buffer: its data and the kernel's book-keeping.
const SEND_BUFFER_LEN: usize = 2 * CHUNK_LEN;
/// How long the kernel may take to give back the queue of a socket that was closed: it does so on the side.
const QUEUE_RELEASE: Duration = Duration::from_millis(500);

/// Bytes of a huge page.
const HUGE_PAGE_LEN: usize = 2 << 20;

/// `XDP_MAX_TX_SKB_BUDGET` of linux/if_xdp.h.
const XDP_MAX_TX_SKB_BUDGET: c_int = 9;

/// The rings of one socket, those that it shares with others, and the region.
#[derive(Debug)]
pub(super) struct Rings {
    pub(super) receive: RxQueue,
    pub(super) transmit: TxQueue,
    /// After the socket's own rings: with it goes what they depend on.
    pub(super) queue: Arc<Queue>,
    pub(super) umem: Umem,
    /// The chunks, as our side sees them: a mapping of our own, which stays where frames are lent, while the UMEM goes, and
    /// with it its queue's socket.
    pub(super) region: Arc<Region>,
    transmit_len: u32,
}

impl Rings {
    /// A region for `sockets` sockets on the queue, their rings, and a descriptor of each of its chunks in order.
    pub(super) fn open(
        config: &AfXdpConfig,
        sockets: usize,
    ) -> Result<(Vec<Self>, Vec<FrameDesc>), PortError> {
        let all_receive = sockets * config.receive_frames;
        let total = all_receive + sockets * config.transmit_frames;
        // A ring has a place for every chunk that can come into it, so that none is ever refused. The fill ring has
        // two, because the kernel gives its places back late. Only the receive ring of a socket that shares its queue has
        // less: who doesn't look for long must leave chunks for the others.
        let receive_len = power_of_two(config.receive_frames);
        let fill_len = power_of_two(2 * all_receive);
        let transmit_len = power_of_two(total);

        let umem_config = UmemConfigBuilder::new()
            .frame_size(FrameSize::new(CHUNK_LEN as u32).expect("a page"))
            .frame_headroom(config.headroom as u32)
            .fill_queue_size(fill_len)
            .comp_queue_size(transmit_len)
            .build()
            .expect("a page has room for headroom and frame");
        let (umem, descriptors) = create_umem(umem_config, total, config)?;
        let region = Arc::new(region(&umem, &descriptors));

        let copy = if config.zero_copy { BindFlags::empty() } else { BindFlags::XDP_COPY };
        let wakeup = if config.need_wakeup { BindFlags::XDP_USE_NEED_WAKEUP } else { BindFlags::empty() };
        let socket_config = SocketConfigBuilder::new()
            .rx_queue_size(receive_len)
            .tx_queue_size(transmit_len)
            .libxdp_flags(LibxdpFlags::XSK_LIBXDP_FLAGS_INHIBIT_PROG_LOAD)
            .bind_flags(copy | wakeup)
            .build();
        let (transmit, receive, rings) = bind(socket_config, &umem, config)?;
        let (fill, completion) =
            rings.expect("the first socket of a UMEM gets its fill and completion rings");
        let queue = Arc::new(Queue::new(fill, completion, sockets, total));
        let mut all = Vec::with_capacity(sockets);
        let rings = |transmit, receive| Self {
            receive,
            transmit,
            queue: Arc::clone(&queue),
            umem: umem.clone(),
            region: Arc::clone(&region),
            transmit_len: transmit_len.get(),
        };
        all.push(rings(transmit, receive));
        for _ in 1..sockets {
            let (transmit, receive, shared) = bind(socket_config, &umem, config)?;
            assert!(shared.is_none(), "further sockets on a queue share its fill and completion rings");
            all.push(rings(transmit, receive));
        }
        Ok((all, descriptors))
    }

    /// Sets what the socket can be told only now; tells whether it got zero-copy.
    pub(super) fn set_options(&self, config: &AfXdpConfig) -> io::Result<bool> {
        // A program that we start would hold the queue for as long as it runs: libxdp doesn't think of it.
        fcntl(self, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        set_send_buffer(self.as_fd(), (config.receive_frames + config.transmit_frames) * SEND_BUFFER_LEN)?;
        // Kernels before 6.16 have no such option, and a ring may be smaller: what they send at a time will do.
        let _ = set_option(self, libc::SOL_XDP, XDP_MAX_TX_SKB_BUDGET, &config.send_budget);
        if let Some(BusyPoll { budget, poll_us }) = config.busy_poll {
            set_option(self, libc::SOL_SOCKET, libc::SO_PREFER_BUSY_POLL, &1)?;
            set_option(self, libc::SOL_SOCKET, libc::SO_BUSY_POLL, &c_int::from(poll_us))?;
            set_option(self, libc::SOL_SOCKET, libc::SO_BUSY_POLL_BUDGET, &c_int::from(budget))?;
        }
        let flags: u32 = option(self, libc::SOL_XDP, libc::XDP_OPTIONS)?;
        Ok(flags & libc::XDP_OPTIONS_ZEROCOPY != 0)
    }

    /// Descriptors in the transmit ring that the kernel hasn't taken.
    pub(super) fn unsent(&mut self) -> u32 {
        self.transmit_len - self.transmit.nb_free_exact()
    }
}

impl AsFd for Rings {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor is open as long as the rings are, which are borrowed.
        unsafe { BorrowedFd::borrow_raw(self.receive.fd().as_raw_fd()) }
    }
}

fn power_of_two(len: usize) -> QueueSize {
    QueueSize::new((len as u32).next_power_of_two()).expect("a power of two")
}

fn create_umem(
    umem_config: UmemConfig,
    chunks: usize,
    config: &AfXdpConfig,
) -> Result<(Umem, Vec<FrameDesc>), PortError> {
    let count = NonZeroU32::new(chunks as u32).expect("checked to be at least 2");
    let step = "register memory for AF_XDP";
    // A region that ends within a huge page could not be given back.
    if config.huge_pages && (chunks * CHUNK_LEN).is_multiple_of(HUGE_PAGE_LEN) {
        match Umem::new(umem_config, count, true) {
            Ok(region) => return Ok(region),
            Err(error) => tracing::warn!(
                error = %os_error(&error),
                "frames go to small pages: {} huge pages are not to be had (sysctl vm.nr_hugepages)",
                chunks * CHUNK_LEN / HUGE_PAGE_LEN
            ),
        }
    }
    Umem::new(umem_config, count, false).map_err(|error| {
        let source = os_error(&error);
        match source.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ENOBUFS | Errno::ENOMEM | Errno::EAGAIN) => PortError::NoMemory {
                step,
                interface: config.interface.clone(),
                mebibytes: (chunks * CHUNK_LEN).div_ceil(1 << 20),
            },
            _ => PortError::new(step, &config.interface, source),
        }
    })
}

/// The memory of a region.
fn region(umem: &Umem, descriptors: &[FrameDesc]) -> Region {
    let mut first = descriptors[0];
    // SAFETY: it is of this UMEM, which nobody uses yet.
    let mut data = unsafe { umem.data_mut(&mut first) };
    // Its data begins so many bytes after the mapping.
    let start = data.contents_mut().as_mut_ptr().expose_provenance() - descriptors[0].addr();
    let start = NonNull::new(std::ptr::with_exposed_provenance_mut(start)).expect("it is mapped");
    // SAFETY: the mapping is there for as long as the rings are, and only they use a region that is not its own.
    unsafe { Region::again(start, descriptors.len(), CHUNK_LEN) }
}

/// A socket on the queue, with the queue's own rings if it is the first one.
type Bound = (TxQueue, RxQueue, Option<(FillQueue, CompQueue)>);

fn bind(socket_config: SocketConfig, umem: &Umem, config: &AfXdpConfig) -> Result<Bound, PortError> {
    let (name, queue) = (&config.interface, config.queue);
    let interface: Interface =
        name.parse().map_err(|_| PortError::NoSuchInterface { interface: name.clone() })?;
    let start = Instant::now();
    loop {
        // SAFETY: libxdp loads no program, which is what sockets that share a queue must see to.
        let source = match unsafe { Socket::new(socket_config, umem, &interface, queue) } {
            Ok(bound) => return Ok(bound),
            Err(error) => os_error(&error),
        };
        let queues = queue_count(name)?;
        return Err(match source.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EBUSY) if start.elapsed() < QUEUE_RELEASE => {
                thread::sleep(QUEUE_RELEASE / 100);
                continue;
            }
            Some(Errno::EBUSY) => PortError::QueueTaken { interface: name.clone(), queue },
            Some(Errno::EINVAL) if queue >= queues => {
                PortError::NoSuchQueue { interface: name.clone(), queue, queues }
            }
            _ => PortError::new("bind an AF_XDP socket", name, source),
        });
    }
}

/// What the kernel said, from under the library's error.
fn os_error(error: &(impl Error + 'static)) -> io::Error {
    let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    match source.and_then(io::Error::raw_os_error) {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::other(error.to_string()),
    }
}
