//! Settings of an interface that leave its queues to whoever polls them.
//!
//! A queue's driver works from interrupts. A poll core that asks the kernel for frames all the time does better to run the
//! driver itself (preferred busy polling); the kernel takes it at its word only where the interface defers its interrupts.

use super::sysfs::InterfaceFolder;
use std::io;
use std::sync::{Mutex, MutexGuard};

/// How often in a row a queue that was found empty leaves its interrupt off.
const NAPI_DEFER_HARD_IRQS: &str = "2";
/// When interrupts go on though nobody has polled, in nanoseconds: much longer than a poll core's loop, much shorter than
/// what a command takes that nobody looks after.
const GRO_FLUSH_TIMEOUT_NS: &str = "200000";

/// An interface that defers its interrupts, until this is dropped or they are put back. They stay so if the process is
/// killed.
#[derive(Debug)]
pub(super) struct DeferredInterrupts {
    folder: InterfaceFolder,
    /// Files, and what they held before; none once that is put back.
    before: Mutex<Vec<(&'static str, String)>>,
}

impl DeferredInterrupts {
    /// Has an interface of this thread's network namespace defer its interrupts.
    ///
    /// # Errors
    /// When its settings aren't there or may not be changed. Then they are as they were.
    pub(super) fn set(interface: &str) -> io::Result<Self> {
        Self::set_in(InterfaceFolder::open(interface)?)
    }

    fn set_in(folder: InterfaceFolder) -> io::Result<Self> {
        let settings = Self { folder, before: Mutex::default() };
        for (file, value) in
            [("napi_defer_hard_irqs", NAPI_DEFER_HARD_IRQS), ("gro_flush_timeout", GRO_FLUSH_TIMEOUT_NS)]
        {
            let before = settings.folder.read(file)?;
            settings.folder.write(file, value)?;
            settings.before().push((file, before));
        }
        Ok(settings)
    }

    /// Has the interface work from interrupts as before: with nobody who polls it, each frame would wait until the deferral
    /// times out.
    pub(super) fn put_back(&self) {
        for (file, before) in self.before().drain(..).rev() {
            if let Err(error) = self.folder.write(file, &before) {
                tracing::warn!(file, before, %error, "a setting of the interface stays changed");
            }
        }
    }

    fn before(&self) -> MutexGuard<'_, Vec<(&'static str, String)>> {
        self.before.lock().expect("no holder panics")
    }
}

impl Drop for DeferredInterrupts {
    fn drop(&mut self) {
        self.put_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::PathBuf;

    /// A folder such as /sys has for an interface.
    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("xfcoe-napi-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        for (file, value) in
            [("ifindex", "7\n"), ("napi_defer_hard_irqs", "0\n"), ("gro_flush_timeout", "5\n")]
        {
            fs::write(folder.join(file), value).unwrap();
        }
        folder
    }

    #[test]
    fn settings_are_as_before_when_it_ends_or_fails() {
        let folder = folder("settings");
        let read = |file| fs::read_to_string(folder.join(file)).unwrap().trim().to_owned();
        let set = || DeferredInterrupts::set_in(InterfaceFolder::at(&folder, 7).unwrap());
        let settings = set().unwrap();
        assert_eq!((read("napi_defer_hard_irqs"), read("gro_flush_timeout")), ("2".into(), "200000".into()));
        settings.put_back();
        assert_eq!((read("napi_defer_hard_irqs"), read("gro_flush_timeout")), ("0".into(), "5".into()));
        // From then on they are somebody else's.
        fs::write(folder.join("gro_flush_timeout"), "6").unwrap();
        drop(settings);
        assert_eq!(read("gro_flush_timeout"), "6");

        drop(set().unwrap());
        assert_eq!((read("napi_defer_hard_irqs"), read("gro_flush_timeout")), ("0".into(), "6".into()));

        fs::remove_file(folder.join("gro_flush_timeout")).unwrap();
        set().unwrap_err();
        assert_eq!(read("napi_defer_hard_irqs"), "0");
        let error = InterfaceFolder::at(&folder, 8).unwrap_err();
        assert!(error.to_string().ends_with("is interface 7, not 8"), "{error}");
        fs::remove_dir_all(folder).unwrap();
    }
}
