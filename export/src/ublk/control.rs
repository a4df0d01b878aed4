//! What is asked of the driver: devices that come, go, and are taken over.

use super::parameters::{MAX_REQUEST_LEN, are_same};
use super::{UblkError, path};
use crate::pieces::QUEUE_DEPTH;
use libublk::ctrl::{UblkCtrl, UblkCtrlBuilder};
use libublk::sys::{
    UBLK_F_USER_RECOVERY, UBLK_F_USER_RECOVERY_REISSUE, UBLK_S_DEV_DEAD, UBLK_S_DEV_QUIESCED, ublk_params,
    ublksrv_ctrl_dev_info,
};
use libublk::{UblkError as DriverError, UblkFlags};
use nix::fcntl::OFlag;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread;

const CONTROL: &str = "/dev/ublk-control";

/// What libublk calls our kind of devices.
const TARGET: &str = "xfcoe";

/// Queues of a device, each with a thread: no more than are of use with one poll core or a few.
const MAX_QUEUES: usize = 4;

/// What the number that stands in a device of ours begins with.
const OURS: u64 = 0x7866_0000_0000_0000;
const OURS_MASK: u64 = 0xffff << 48;

/// Fails if there can be no devices here.
///
/// # Errors
/// Why not, and what to do.
pub fn check() -> Result<(), UblkError> {
    match OpenOptions::new().read(true).write(true).open(CONTROL) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(UblkError::NoDriver),
        Err(error) => Err(UblkError::Control(error)),
    }
}

/// Removes the device that a daemon left behind, if there is one: what waits for it fails. Says whether it did.
///
/// # Errors
/// If the kernel doesn't.
pub fn remove_orphan(number: u32) -> Result<bool, UblkError> {
    if !exists(number) {
        return Ok(false);
    }
    // libublk keeps a ring for each thread that has used it, and this one's may live for long.
    let remove = move || {
        let control = of_device(number, 0, UblkFlags::empty())?;
        let info = control.dev_info();
        let is_orphan = info.ublksrv_flags & OURS_MASK == OURS && !is_served(&info);
        if is_orphan {
            remove(&control, number)?;
        }
        Ok(is_orphan)
    };
    thread::Builder::new().spawn(remove)?.join().expect("it doesn't panic")
}

/// What stands in a device of the disk that these words name.
pub(super) fn mark(disk: &str) -> u64 {
    // FNV-1a, of 64 bits: another build must come to the same.
    let hash = disk.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    OURS | hash & !OURS_MASK
}

/// A device of ours that has no queues yet.
pub(super) struct Claim {
    pub(super) control: UblkCtrl,
    /// Whether someone may be using it: it was left behind, and is taken over.
    pub(super) is_old: bool,
}

/// Makes a device, or takes over the one that was left behind by an export of the same disk.
///
/// # Errors
/// Why neither can be: someone else has the number, or the kernel doesn't like it.
pub(super) fn claim(number: u32, mark: u64, parameters: &ublk_params) -> Result<Claim, UblkError> {
    check()?;
    if exists(number) {
        let old = of_device(number, 0, UblkFlags::empty())?;
        let info = old.dev_info();
        if is_served(&info) {
            return Err(UblkError::Taken { number, pid: info.ublksrv_pid });
        }
        if info.ublksrv_flags != mark {
            return Err(UblkError::Foreign(number));
        }
        if u32::from(info.state) == UBLK_S_DEV_QUIESCED {
            let mut then = ublk_params::default();
            old.get_params(&mut then).map_err(refused("ask about", number))?;
            if !are_same(&then, parameters) {
                return Err(UblkError::Changed(number));
            }
            old.start_user_recover().and_then(not_busy).map_err(refused("take over", number))?;
            let control = of_device(number, info.nr_hw_queues, UblkFlags::UBLK_DEV_F_RECOVER_DEV)?;
            return Ok(Claim { control, is_old: true });
        }
        // Whoever was to serve it has come no further than this, or was stopping it.
        remove(&old, number)?;
    }
    let queues = thread::available_parallelism().map_or(1, usize::from).min(MAX_QUEUES);
    let control = UblkCtrlBuilder::default()
        .name(TARGET)
        .id(number as i32)
        .nr_queues(queues as u16)
        .depth(QUEUE_DEPTH as u16)
        .io_buf_bytes(MAX_REQUEST_LEN)
        .ctrl_flags((UBLK_F_USER_RECOVERY | UBLK_F_USER_RECOVERY_REISSUE).into())
        .ctrl_target_flags(mark)
        .dev_flags(UblkFlags::UBLK_DEV_F_ADD_DEV)
        .build()
        .map_err(refused("add", number))?;
    Ok(Claim { control, is_old: false })
}

/// Ends a device whose queues have nothing out any more, or nobody.
///
/// # Errors
/// If the kernel doesn't.
pub(super) fn remove(control: &UblkCtrl, number: u32) -> Result<(), UblkError> {
    control.kill_dev().map_err(refused("stop", number))?;
    control.del_dev().map_err(refused("remove", number))?;
    Ok(())
}

/// Whether a file system, a volume or the like is on a device: one that is only open doesn't count.
pub(super) fn is_in_use(number: u32) -> bool {
    let exclusively = OpenOptions::new().read(true).custom_flags(OFlag::O_EXCL.bits()).open(path(number));
    exclusively.is_err_and(|error| error.kind() == io::ErrorKind::ResourceBusy)
}

/// Words for an error of the driver.
pub(super) fn refused(what: &'static str, number: u32) -> impl Fn(DriverError) -> UblkError {
    move |error| {
        let error = match error {
            DriverError::UringIOError(errno) | DriverError::OtherError(errno) => {
                io::Error::from_raw_os_error(errno.wrapping_neg())
            }
            DriverError::IOError(error) => error,
            other => io::Error::other(other),
        };
        UblkError::Kernel { what, number, error }
    }
}

/// What libublk gives for EBUSY is no error.
fn not_busy(result: i32) -> Result<i32, DriverError> {
    if result < 0 { Err(DriverError::UringIOError(result)) } else { Ok(result) }
}

/// libublk says on stderr that it misses a file of its own ("device reload json failed"): one for other tools, in a folder
/// that we may not be allowed to make.
fn of_device(number: u32, queues: u16, flags: UblkFlags) -> Result<UblkCtrl, UblkError> {
    UblkCtrlBuilder::default()
        .name(TARGET)
        .id(number as i32)
        .nr_queues(queues)
        .dev_flags(flags)
        .build()
        .map_err(refused("ask about", number))
}

fn exists(number: u32) -> bool {
    Path::new(&format!("/sys/class/ublk-char/ublkc{number}")).exists()
}

/// Whether a process has it, as far as the kernel has noticed.
fn is_served(info: &ublksrv_ctrl_dev_info) -> bool {
    let is_orphan = u32::from(info.state) == UBLK_S_DEV_QUIESCED;
    let may_be_starting = u32::from(info.state) == UBLK_S_DEV_DEAD && !is_alive(info.ublksrv_pid);
    !is_orphan && !may_be_starting
}

fn is_alive(pid: i32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_tells_whose_it_is_and_of_which_disk() {
        // What devices that run now have.
        assert_eq!(mark(""), 0x7866_9ce4_8422_2325);
        let (one, other) = (mark("naa.1, blocks 0 to 8"), mark("naa.1, blocks 0 to 9"));
        assert_ne!(one, other);
        assert_eq!((one & OURS_MASK, other & OURS_MASK), (OURS, OURS));
    }
}
