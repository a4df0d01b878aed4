//! Loads the XDP program, attaches it to an interface, and speaks to it through its maps.
//!
//! The program is attached by a bpf_link, which the kernel ends when its last descriptor is closed: the end of the process
//! detaches it, however it ends. Dropping an [`XdpProgram`] does so at once, even if a program that is being started still has
//! a copy of the descriptor.

#![allow(unsafe_code)]

use super::Mode;
use super::socket::{driver, queue_count};
use fc::wire::MacAddr;
use libbpf_rs::libbpf_sys::{self, XDP_FLAGS_DRV_MODE, XDP_FLAGS_SKB_MODE};
use libbpf_rs::{ErrorKind, MapCore, MapFlags, MapHandle, ObjectBuilder, PrintLevel};
use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::{Arc, Once};
use std::{fmt, io};
use thiserror::Error;
use xdp_prog::{MAX_MACS, MAX_QUEUES, MacValue, SLOTS_PER_QUEUE, Verdict, slot};

/// By whom the program may be run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum AttachMode {
    /// By the NIC's driver, or by the kernel's generic path where the driver doesn't; the other way round on a veth with one
    /// queue, where that is faster by a fifth. With several, the generic path takes all frames for the first queue's.
    #[default]
    NativeOrGeneric,
    /// By the NIC's driver only.
    Native,
    /// By the kernel's generic path only, for a driver that does it badly.
    Generic,
}

/// The XDP program on an interface, until it is dropped.
#[derive(Debug)]
pub struct XdpProgram {
    interface: String,
    mode: Mode,
    sockets: MapHandle,
    macs: MacMap,
    counters: MapHandle,
    /// It is only there to be dropped.
    _link: Link,
}

/// Holds the program at the interface.
#[derive(Debug)]
struct Link(OwnedFd);

impl Drop for Link {
    fn drop(&mut self) {
        // SAFETY: it takes nothing but a descriptor, which is open.
        let result = unsafe { libbpf_sys::bpf_link_detach(self.0.as_raw_fd()) };
        if result < 0 {
            tracing::warn!(
                error = Errno::from_raw(-result).desc(),
                "XDP is detached only when all have closed it"
            );
        }
    }
}

impl XdpProgram {
    /// Loads the program and attaches it to `interface`, a name in this thread's network namespace.
    ///
    /// It knows no socket and no MAC address yet, so that all frames still go to the kernel.
    ///
    /// # Errors
    /// Each says what to do about it: see [`XdpError`].
    pub fn attach(interface: &str, mode: AttachMode) -> Result<Self, XdpError> {
        log_through_tracing();
        let index = if_nametoindex(interface)
            .map_err(|_| XdpError::NoInterface { interface: interface.to_owned() })?;
        let object = ObjectBuilder::default()
            .open_memory(xdp_prog::OBJECT)
            .and_then(|object| object.load())
            .map_err(XdpError::from_load)?;
        let program =
            object.progs().find(|p| p.name() == xdp_prog::PROGRAM).expect("the object has the program");
        let (link, mode) = link(interface, index, program.as_fd(), mode)?;

        // The maps and the program outlive the object by these descriptors.
        let map = |name: &'static str| {
            let map = object.maps().find(|map| map.name() == name).expect("the object has the map");
            MapHandle::try_from(&map)
                .map_err(|error| XdpError::Map { what: name, source: io::Error::other(error) })
        };
        Ok(Self {
            interface: interface.to_owned(),
            mode,
            sockets: map(xdp_prog::SOCKETS)?,
            macs: MacMap(Arc::new(map(xdp_prog::MACS)?)),
            counters: map(xdp_prog::COUNTERS)?,
            _link: link,
        })
    }

    /// The interface's name when the program was attached.
    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// By whom the program is run: [`Mode::NativeXdp`] or [`Mode::GenericXdp`].
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Sends what comes for us by receive queue `queue`, with one of these low three bits in its OX_ID, to `socket`, an
    /// AF_XDP socket that is bound to that queue and has its rings. FIP goes where [`xdp_prog::CONTROL_SLOT`] does. Closing the
    /// socket ends this.
    ///
    /// # Errors
    /// [`XdpError::NoSuchQueue`], or that of the kernel if it is no such socket.
    ///
    /// # Panics
    /// If the bits are more than three.
    pub fn set_socket(
        &self,
        queue: u32,
        low_bits: impl IntoIterator<Item = usize>,
        socket: BorrowedFd<'_>,
    ) -> Result<(), XdpError> {
        if queue as usize >= MAX_QUEUES {
            return Err(XdpError::NoSuchQueue { queue });
        }
        for low_bits in low_bits {
            assert!(low_bits < SLOTS_PER_QUEUE, "{low_bits} is more than three bits");
            let slot = slot(queue, low_bits);
            update(&self.sockets, &slot.to_ne_bytes(), &socket.as_raw_fd().to_ne_bytes())
                .map_err(|errno| XdpError::Map { what: xdp_prog::SOCKETS, source: errno.into() })?;
        }
        Ok(())
    }

    /// The MAC addresses that are ours; clone it for the thread that learns them.
    pub fn macs(&self) -> &MacMap {
        &self.macs
    }

    /// What was done with the frames since the program was attached.
    ///
    /// # Errors
    /// That of the kernel; none is expected.
    pub fn counters(&self) -> Result<XdpCounters, XdpError> {
        let mut sums = [0; Verdict::ALL.len()];
        for verdict in Verdict::ALL {
            let per_cpu = self
                .counters
                .lookup_percpu(&(verdict as u32).to_ne_bytes(), MapFlags::ANY)
                .map_err(|error| XdpError::Map { what: xdp_prog::COUNTERS, source: io::Error::other(error) })?
                .expect("an array has all its elements");
            sums[verdict as usize] = per_cpu
                .iter()
                .map(|bytes| u64::from_ne_bytes(bytes.as_slice().try_into().expect("a counter has 8 bytes")))
                .sum();
        }
        Ok(XdpCounters(sums))
    }
}

/// The MAC addresses whose FCoE frames are ours. Its clones are the same map, for any thread.
#[derive(Clone, Debug)]
pub struct MacMap(Arc<MapHandle>);

impl MacMap {
    /// Takes FCoE frames to `mac` from now on; taking them already is no error.
    ///
    /// # Errors
    /// [`XdpError::MacsFull`] beyond [`MAX_MACS`] addresses.
    pub fn add(&self, mac: MacAddr) -> Result<(), XdpError> {
        let value: MacValue = 0;
        update(&self.0, &mac.0, &value.to_ne_bytes()).map_err(|errno| match errno {
            Errno::E2BIG => XdpError::MacsFull { mac },
            errno => XdpError::Map { what: xdp_prog::MACS, source: errno.into() },
        })
    }

    /// Leaves FCoE frames to `mac` to the kernel again; having left them already is no error.
    ///
    /// # Errors
    /// That of the kernel; none is expected.
    pub fn remove(&self, mac: MacAddr) -> Result<(), XdpError> {
        match self.0.delete(&mac.0) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(XdpError::Map { what: xdp_prog::MACS, source: io::Error::other(error) })
            }
            _ => Ok(()),
        }
    }
}

/// How many frames met each [`Verdict`], summed over the CPUs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct XdpCounters([u64; Verdict::ALL.len()]);

impl XdpCounters {
    /// Frames that met `verdict`.
    pub const fn get(&self, verdict: Verdict) -> u64 {
        self.0[verdict as usize]
    }

    /// All of them, to show or to export.
    pub fn iter(&self) -> impl Iterator<Item = (Verdict, u64)> {
        Verdict::ALL.into_iter().zip(self.0)
    }
}

/// Why the XDP program isn't at work.
#[derive(Debug, Error)]
pub enum XdpError {
    /// No interface has that name here.
    #[error("there is no interface {interface} in this network namespace: `ip link` shows those that are")]
    NoInterface {
        /// The name looked for.
        interface: String,
    },
    /// The process may not load or attach it.
    #[error(
        "this process may not use XDP: run it as root, or give it CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN and CAP_NET_RAW \
         (AmbientCapabilities= in a systemd unit)"
    )]
    NotPermitted,
    /// The kernel doesn't take the program at all.
    #[error(
        "the kernel does not load the XDP program ({0:#}): it needs Linux 5.9 or later with CONFIG_BPF_SYSCALL \
         and CONFIG_XDP_SOCKETS; the log has the kernel's reasons"
    )]
    Load(libbpf_rs::Error),
    /// Another program is at the interface.
    #[error(
        "{interface} has another XDP program: `bpftool net` and `ip link show {interface}` tell whose it is; stop \
         that, or take it off with `ip link set {interface} xdp off`"
    )]
    Occupied {
        /// The interface.
        interface: String,
    },
    /// The interface takes no XDP program in the mode asked for.
    #[error("{interface} takes no XDP program: {}", join(.refusals))]
    Refused {
        /// The interface.
        interface: String,
        /// One for each mode tried.
        refusals: Vec<Refusal>,
    },
    /// The queue's number is beyond the map of sockets.
    #[error(
        "queue {queue} is beyond the {MAX_QUEUES} queues that can have a socket: `ethtool -L` sets fewer"
    )]
    NoSuchQueue {
        /// The queue's number.
        queue: u32,
    },
    /// No room for another MAC address.
    #[error("no room for {mac}: {MAX_MACS} MAC addresses are in use on this interface")]
    MacsFull {
        /// The address that found none.
        mac: MacAddr,
    },
    /// One of the program's maps can't be used.
    #[error("the XDP program's map {what}: {source}")]
    Map {
        /// The map's name.
        what: &'static str,
        /// What the kernel says.
        source: io::Error,
    },
}

impl XdpError {
    fn from_load(error: libbpf_rs::Error) -> Self {
        match error.kind() {
            ErrorKind::PermissionDenied => Self::NotPermitted,
            _ => Self::Load(error),
        }
    }
}

/// How an interface refused the program in one mode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// [`Mode::NativeXdp`] or [`Mode::GenericXdp`].
    pub mode: Mode,
    /// What the kernel said.
    pub errno: Errno,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let native = self.mode == Mode::NativeXdp;
        let reason = match self.errno {
            Errno::EOPNOTSUPP if native => "the driver has no XDP",
            // Drivers differ in what they say of a frame that does not fit a page.
            Errno::EINVAL | Errno::ERANGE | Errno::E2BIG if native => {
                "the MTU is more than the driver takes with XDP (2500 is enough for FCoE), it has too few queues, \
                 or LRO is on"
            }
            Errno::ENOSPC if native => "it has too few queues",
            Errno::EINVAL => "Linux 5.9 or later is needed",
            errno => errno.desc(),
        };
        write!(f, "{} XDP: {reason} ({:?})", if native { "native" } else { "generic" }, self.errno)
    }
}

fn join(refusals: &[Refusal]) -> String {
    refusals.iter().map(Refusal::to_string).collect::<Vec<_>>().join("; ")
}

/// Attaches the program in the first of the modes that the interface takes.
fn link(
    interface: &str,
    index: u32,
    program: BorrowedFd<'_>,
    mode: AttachMode,
) -> Result<(Link, Mode), XdpError> {
    let modes: &[Mode] = match mode {
        AttachMode::NativeOrGeneric if is_veth_of_one_queue(interface) => {
            &[Mode::GenericXdp, Mode::NativeXdp]
        }
        AttachMode::NativeOrGeneric => &[Mode::NativeXdp, Mode::GenericXdp],
        AttachMode::Native => &[Mode::NativeXdp],
        AttachMode::Generic => &[Mode::GenericXdp],
    };
    let mut refusals = Vec::new();
    for &mode in modes {
        let errno = match create_link(index, program, mode) {
            Ok(link) => {
                for refusal in &refusals {
                    tracing::warn!("{interface} gets its second choice of XDP, which is slower: {refusal}");
                }
                return Ok((link, mode));
            }
            Err(errno) => errno,
        };
        match errno {
            // Which one it is depends on the other program's mode and on how it was attached.
            Errno::EBUSY | Errno::EEXIST => {
                return Err(XdpError::Occupied { interface: interface.to_owned() });
            }
            Errno::EPERM | Errno::EACCES => return Err(XdpError::NotPermitted),
            Errno::ENODEV => return Err(XdpError::NoInterface { interface: interface.to_owned() }),
            errno => refusals.push(Refusal { mode, errno }),
        }
    }
    Err(XdpError::Refused { interface: interface.to_owned(), refusals })
}

fn is_veth_of_one_queue(interface: &str) -> bool {
    driver(interface).is_ok_and(|driver| driver == "veth") && matches!(queue_count(interface), Ok(1))
}

/// libbpf-rs attaches without a choice of the mode, so this calls what is below it.
fn create_link(index: u32, program: BorrowedFd<'_>, mode: Mode) -> Result<Link, Errno> {
    let options = libbpf_sys::bpf_link_create_opts {
        sz: size_of::<libbpf_sys::bpf_link_create_opts>() as libbpf_sys::size_t,
        flags: if mode == Mode::NativeXdp { XDP_FLAGS_DRV_MODE } else { XDP_FLAGS_SKB_MODE },
        ..Default::default()
    };
    let index = i32::try_from(index).expect("the kernel's interface numbers are positive ints");
    // SAFETY: the program's descriptor is open, and `options` has its size in it and lives through the call.
    let link =
        unsafe { libbpf_sys::bpf_link_create(program.as_raw_fd(), index, libbpf_sys::BPF_XDP, &options) };
    if link < 0 {
        return Err(Errno::from_raw(-link));
    }
    // SAFETY: the call made this descriptor, and nobody else has it.
    Ok(Link(unsafe { OwnedFd::from_raw_fd(link) }))
}

/// Sets an element. libbpf-rs would not tell a full map from other errors.
fn update(map: &MapHandle, key: &[u8], value: &[u8]) -> Result<(), Errno> {
    assert_eq!((key.len(), value.len()), (map.key_size() as usize, map.value_size() as usize));
    // SAFETY: the descriptor is a map's, and key and value have the sizes that the kernel reads.
    let result = unsafe {
        libbpf_sys::bpf_map_update_elem(
            map.as_fd().as_raw_fd(),
            key.as_ptr().cast(),
            value.as_ptr().cast(),
            libbpf_sys::BPF_ANY.into(),
        )
    };
    if result < 0 { Err(Errno::from_raw(-result)) } else { Ok(()) }
}

/// libbpf writes to stderr, if it isn't told otherwise.
fn log_through_tracing() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        libbpf_rs::set_print(Some((PrintLevel::Info, |level, text| {
            let text = text.trim_end();
            match level {
                PrintLevel::Debug => tracing::debug!("{text}"),
                PrintLevel::Info => tracing::info!("{text}"),
                PrintLevel::Warn => tracing::warn!("{text}"),
            }
        })));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_what_to_do() {
        let native = Refusal { mode: Mode::NativeXdp, errno: Errno::ERANGE };
        let generic = Refusal { mode: Mode::GenericXdp, errno: Errno::ENOMEM };
        let error = XdpError::Refused { interface: "eth0".to_owned(), refusals: vec![native, generic] };
        let text = error.to_string();
        assert!(text.starts_with("eth0 takes no XDP program: native XDP: the MTU is more"), "{text}");
        assert!(text.contains("2500"), "{text}");
        assert!(text.ends_with("; generic XDP: Out of memory (ENOMEM)"), "{text}");
    }

    #[test]
    fn a_lack_of_rights_is_told_from_other_reasons() {
        let error = |errno: Errno| libbpf_rs::Error::from_raw_os_error(errno as i32);
        assert!(matches!(XdpError::from_load(error(Errno::EPERM)), XdpError::NotPermitted));
        assert!(matches!(XdpError::from_load(error(Errno::EINVAL)), XdpError::Load(_)));
    }

    #[test]
    fn an_interface_that_is_not_there_is_named() {
        let error = XdpProgram::attach("no-such-if", AttachMode::default()).unwrap_err();
        assert!(error.to_string().contains("no-such-if"), "{error}");
    }
}
