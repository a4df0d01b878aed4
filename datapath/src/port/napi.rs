//! Settings of an interface that leave its queues to whoever polls them.
//!
//! A queue's driver works from interrupts. A poll core that asks the kernel for frames all the time does better to run the
//! driver itself (preferred busy polling); the kernel takes it at its word only where the interface defers its interrupts.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
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
    /// Files, and what they held before; none once that is put back.
    before: Mutex<Vec<(PathBuf, String)>>,
}

impl DeferredInterrupts {
    /// Has the interface defer its interrupts. `index` is its number in this thread's network namespace: `/sys` may show
    /// another namespace's interfaces.
    ///
    /// # Errors
    /// When its settings aren't there or may not be changed. Then they are as they were.
    pub(super) fn set(interface: &str, index: u32) -> io::Result<Self> {
        Self::set_in(&Path::new("/sys/class/net").join(interface), index)
    }

    fn set_in(folder: &Path, index: u32) -> io::Result<Self> {
        let shown = fs::read_to_string(folder.join("ifindex"))?;
        if shown.trim() != index.to_string() {
            return Err(io::Error::other("/sys shows the interfaces of another network namespace"));
        }
        let settings = Self { before: Mutex::default() };
        for (file, value) in
            [("napi_defer_hard_irqs", NAPI_DEFER_HARD_IRQS), ("gro_flush_timeout", GRO_FLUSH_TIMEOUT_NS)]
        {
            let path = folder.join(file);
            let before = fs::read_to_string(&path)?;
            fs::write(&path, value)?;
            settings.before().push((path, before));
        }
        Ok(settings)
    }

    /// Has the interface work from interrupts as before: with nobody who polls it, each frame would wait until the deferral
    /// times out.
    pub(super) fn put_back(&self) {
        for (path, before) in self.before().drain(..).rev() {
            if let Err(error) = fs::write(&path, before.trim()) {
                tracing::warn!(path = %path.display(), before = before.trim(), %error, "a setting of the interface stays changed");
            }
        }
    }

    fn before(&self) -> MutexGuard<'_, Vec<(PathBuf, String)>> {
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
        let settings = DeferredInterrupts::set_in(&folder, 7).unwrap();
        assert_eq!((read("napi_defer_hard_irqs"), read("gro_flush_timeout")), ("2".into(), "200000".into()));
        settings.put_back();
        assert_eq!((read("napi_defer_hard_irqs"), read("gro_flush_timeout")), ("0".into(), "5".into()));
        // From then on they are somebody else's.
        fs::write(folder.join("gro_flush_timeout"), "6").unwrap();
        drop(settings);
        assert_eq!(read("gro_flush_timeout"), "6");

        drop(DeferredInterrupts::set_in(&folder, 7).unwrap());
        assert_eq!((read("napi_defer_hard_irqs"), read("gro_flush_timeout")), ("0".into(), "6".into()));

        fs::remove_file(folder.join("gro_flush_timeout")).unwrap();
        DeferredInterrupts::set_in(&folder, 7).unwrap_err();
        assert_eq!(read("napi_defer_hard_irqs"), "0");
        let error = DeferredInterrupts::set_in(&folder, 8).unwrap_err();
        assert!(error.to_string().contains("another network namespace"), "{error}");
        fs::remove_dir_all(folder).unwrap();
    }
}
