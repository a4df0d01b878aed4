//! What /sys has of an interface, in the network namespace of the thread that asks.
#![allow(unsafe_code)]

use super::socket::interface_index;
use nix::errno::Errno;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::ptr;

/// The folder of an interface.
#[derive(Debug)]
pub(super) struct InterfaceFolder {
    /// Its files are found under this descriptor: the folder may have no path.
    folder: OwnedFd,
}

impl InterfaceFolder {
    /// That of an interface in this thread's network namespace. Where `/sys` shows those of another one, it is mounted anew,
    /// to no place that anybody sees, which wants CAP_SYS_ADMIN.
    ///
    /// # Errors
    /// When it isn't there, or `/sys` is another namespace's and can't be mounted.
    pub(super) fn open(interface: &str) -> io::Result<Self> {
        let index = interface_index(interface).map_err(io::Error::other)?.cast_unsigned();
        let in_sys = |sys: &Path| sys.join("class/net").join(interface);
        Self::at(&in_sys(Path::new("/sys")), index).or_else(|_| {
            let mount = mount_sysfs().map_err(|error| {
                let text = format!("/sys is not this network namespace's, and can't be mounted: {error}");
                io::Error::new(error.kind(), text)
            })?;
            Self::at(&in_sys(&path_of(&mount)), index)
        })
    }

    /// What is there, if it is of the interface with this number.
    pub(super) fn at(path: &Path, index: u32) -> io::Result<Self> {
        let folder = Self { folder: File::open(path)?.into() };
        let shown = folder.read("ifindex")?;
        if shown != index.to_string() {
            return Err(io::Error::other(format!("{} is interface {shown}, not {index}", path.display())));
        }
        Ok(folder)
    }

    /// What a file holds, without the end of its line.
    pub(super) fn read(&self, file: &str) -> io::Result<String> {
        Ok(fs::read_to_string(path_of(&self.folder).join(file))?.trim_end().to_owned())
    }

    pub(super) fn write(&self, file: &str, value: &str) -> io::Result<()> {
        fs::write(path_of(&self.folder).join(file), value)
    }
}

/// A path to what is open.
fn path_of(descriptor: &OwnedFd) -> PathBuf {
    Path::new("/proc/self/fd").join(descriptor.as_raw_fd().to_string())
}

/// A mount of what is in /sys, which goes with its last descriptor.
fn mount_sysfs() -> io::Result<OwnedFd> {
    // SAFETY: the kernel reads the name, and keeps no pointer.
    let context = unsafe { libc::syscall(libc::SYS_fsopen, c"sysfs".as_ptr(), libc::FSOPEN_CLOEXEC) };
    let context = owned(context)?;
    let (no_key, no_value) = (ptr::null::<u8>(), ptr::null::<u8>());
    // SAFETY: this command takes neither a key nor a value.
    let created = unsafe {
        let create = libc::FSCONFIG_CMD_CREATE;
        libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), create, no_key, no_value, 0)
    };
    Errno::result(created)?;
    // SAFETY: it takes numbers only.
    owned(unsafe { libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), libc::FSMOUNT_CLOEXEC, 0) })
}

/// The descriptor that a system call has made.
fn owned(result: libc::c_long) -> io::Result<OwnedFd> {
    let descriptor = Errno::result(result)?;
    let descriptor = descriptor.try_into().expect("descriptors are ints");
    // SAFETY: the call made it, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}
