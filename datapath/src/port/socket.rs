//! What all sockets of ports share: options, and questions to the kernel about an interface.
#![allow(unsafe_code)]

use super::PortError;
use libc::{c_int, c_ulong, c_void, socklen_t};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// `ETHTOOL_GDRVINFO` and `ETHTOOL_GCHANNELS` of linux/ethtool.h.
const ETHTOOL_GDRVINFO: u32 = 0x03;
const ETHTOOL_GCHANNELS: u32 = 0x3c;

/// Sets an option of a socket.
///
/// # Errors
/// Those of setsockopt(2).
pub(super) fn set_option<T: IntoBytes + Immutable>(
    socket: impl AsFd,
    level: c_int,
    name: c_int,
    value: &T,
) -> io::Result<()> {
    let bytes = value.as_bytes();
    // SAFETY: the kernel reads `bytes.len()` bytes, which are initialised, and keeps no pointer.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            name,
            bytes.as_ptr().cast::<c_void>(),
            bytes.len() as socklen_t,
        )
    };
    Ok(Errno::result(result).map(drop)?)
}

/// An option of a socket. Where an older kernel's value is shorter, the rest is 0.
///
/// # Errors
/// Those of getsockopt(2).
pub(super) fn option<T: FromBytes + IntoBytes>(
    socket: impl AsFd,
    level: c_int,
    name: c_int,
) -> io::Result<T> {
    let mut value = T::new_zeroed();
    let mut len = size_of::<T>() as socklen_t;
    // SAFETY: the kernel writes at most `len` bytes, all of `value`, for which any bytes are valid.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            name,
            value.as_mut_bytes().as_mut_ptr().cast::<c_void>(),
            &raw mut len,
        )
    };
    Errno::result(result)?;
    Ok(value)
}

/// Lets the socket keep `bytes` of frames on their way out, beyond what the system allows an ordinary one.
/// Without the right to it, as much as is allowed.
pub(super) fn set_send_buffer(socket: BorrowedFd<'_>, bytes: usize) -> io::Result<()> {
    let bytes = c_int::try_from(bytes).unwrap_or(c_int::MAX);
    set_option(socket, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, &bytes)
        .or_else(|_| set_option(socket, libc::SOL_SOCKET, libc::SO_SNDBUF, &bytes))
}

/// Lets the kernel keep `bytes` of received frames until we take them, likewise.
pub(super) fn set_receive_buffer(socket: BorrowedFd<'_>, bytes: usize) -> io::Result<()> {
    let bytes = c_int::try_from(bytes).unwrap_or(c_int::MAX);
    set_option(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &bytes)
        .or_else(|_| set_option(socket, libc::SOL_SOCKET, libc::SO_RCVBUF, &bytes))
}

/// The interface's number.
///
/// # Errors
/// [`PortError::NoSuchInterface`].
pub(super) fn interface_index(interface: &str) -> Result<c_int, PortError> {
    nix::net::if_::if_nametoindex(interface)
        .map(|index| index as c_int)
        .map_err(|_| PortError::NoSuchInterface { interface: interface.to_owned() })
}

/// Receive queues of an interface; 1 where the driver doesn't say.
///
/// # Errors
/// [`PortError::NoSuchInterface`], and those of socket(2).
pub fn queue_count(interface: &str) -> Result<u32, PortError> {
    /// `struct ethtool_channels`.
    #[repr(C)]
    #[derive(Default)]
    struct Channels {
        command: u32,
        max: [u32; 4],
        receive: u32,
        transmit: u32,
        other: u32,
        combined: u32,
    }

    interface_index(interface)?;
    let mut channels = Channels { command: ETHTOOL_GCHANNELS, ..Channels::default() };
    let mut request = request_about(interface);
    request.ifr_ifru.ifru_data = (&raw mut channels).cast();
    // SAFETY: SIOCETHTOOL reads and writes the `struct ethtool_channels` that `request` points to.
    match unsafe { ask(libc::SIOCETHTOOL, &mut request) } {
        Ok(()) => Ok((channels.receive + channels.combined).max(1)),
        Err(Errno::EOPNOTSUPP) => Ok(1),
        Err(error) => Err(PortError::new("ask for the number of queues", interface, error.into())),
    }
}

/// The name of the interface's driver.
///
/// # Errors
/// Those of ioctl(2): no such interface, or a driver that doesn't say.
pub(super) fn driver(interface: &str) -> io::Result<String> {
    /// `struct ethtool_drvinfo`.
    #[repr(C)]
    struct DriverInfo {
        command: u32,
        driver: [u8; 32],
        rest: [u8; 160],
    }

    let mut info = DriverInfo { command: ETHTOOL_GDRVINFO, driver: [0; 32], rest: [0; 160] };
    let mut request = request_about(interface);
    request.ifr_ifru.ifru_data = (&raw mut info).cast();
    // SAFETY: SIOCETHTOOL reads and writes the `struct ethtool_drvinfo` that `request` points to.
    unsafe { ask(libc::SIOCETHTOOL, &mut request) }?;
    let name = info.driver.split(|&byte| byte == 0).next().unwrap_or_default();
    Ok(String::from_utf8_lossy(name).into_owned())
}

/// The longest payload of an Ethernet frame on an interface, in bytes.
///
/// # Errors
/// [`PortError::NoSuchInterface`], and those of socket(2).
pub(super) fn mtu(interface: &str) -> Result<u32, PortError> {
    interface_index(interface)?;
    let mut request = request_about(interface);
    // SAFETY: SIOCGIFMTU writes to `request` only.
    unsafe { ask(libc::SIOCGIFMTU, &mut request) }
        .map_err(|error| PortError::new("ask for the MTU", interface, error.into()))?;
    // SAFETY: SIOCGIFMTU has set this member.
    Ok(unsafe { request.ifr_ifru.ifru_mtu }.cast_unsigned())
}

/// A question about an interface, still without what is asked.
fn request_about(interface: &str) -> libc::ifreq {
    // SAFETY: all zeros is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = from.cast_signed();
    }
    request
}

/// Asks the kernel about an interface.
///
/// # Safety
/// What `question` makes the kernel reach by `request` must be there.
unsafe fn ask(question: c_ulong, request: &mut libc::ifreq) -> Result<(), Errno> {
    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    // SAFETY: the caller's promise; the descriptor is open.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), question as _, &raw mut *request) };
    Errno::result(result).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_is_asked_for_its_queues() {
        assert_eq!(queue_count("lo").unwrap(), 1);
        let error = queue_count("none-such").unwrap_err();
        assert!(
            matches!(&error, PortError::NoSuchInterface { interface } if interface == "none-such"),
            "{error}"
        );
    }

    #[test]
    fn an_interface_is_asked_for_its_mtu() {
        assert_eq!(mtu("lo").unwrap(), 65_536);
        assert!(matches!(mtu("none-such"), Err(PortError::NoSuchInterface { .. })));
    }

    #[test]
    fn an_interface_without_a_driver_says_so() {
        assert!(driver("lo").is_err());
        assert!(driver("none-such").is_err());
    }

    #[test]
    fn an_option_is_read_as_it_was_set() {
        let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::empty(), None).unwrap();
        set_option(&socket, libc::SOL_SOCKET, libc::SO_REUSEADDR, &1_i32).unwrap();
        assert_eq!(option::<i32>(&socket, libc::SOL_SOCKET, libc::SO_REUSEADDR).unwrap(), 1);
        assert!(option::<i32>(&socket, libc::SOL_SOCKET, -1).is_err());
    }
}
