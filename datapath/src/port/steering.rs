//! On which CPU the kernel receives a veth's frames.
//!
//! A frame passes a veth, and the XDP program at its other end, within the system call that sends it: so the CPU of who sends
//! more does nearly all of the work. Receive packet steering has another CPU do the receiving. That costs an interrupt of it
//! for each few frames: much for a few short commands, and little for long reads, which it speeds up by a third or more.

use super::sysfs::InterfaceFolder;
use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;
use std::io;

/// Where a queue's frames are received. Dropping it has them received where they were before; if the process is killed, it
/// stays.
#[derive(Debug)]
pub struct ReceiveSteering {
    folder: InterfaceFolder,
    file: String,
    before: String,
    is_changed: bool,
}

impl ReceiveSteering {
    /// That of a queue of an interface in this thread's network namespace.
    ///
    /// # Errors
    /// When the kernel has no such setting, or it can't be seen.
    pub fn of(interface: &str, queue: u32) -> io::Result<Self> {
        Self::in_folder(InterfaceFolder::open(interface)?, queue)
    }

    fn in_folder(folder: InterfaceFolder, queue: u32) -> io::Result<Self> {
        let file = format!("queues/rx-{queue}/rps_cpus");
        let before = folder.read(&file)?;
        if before.contains(|digit| !matches!(digit, '0' | ',')) {
            tracing::info!(%file, %before, "frames are received by these CPUs; a program that was killed may have left it so");
        }
        Ok(Self { folder, file, before, is_changed: false })
    }

    /// Has a CPU receive; without one, whoever did before.
    ///
    /// # Errors
    /// When the setting may not be changed.
    pub fn receive_on(&mut self, cpu: Option<usize>) -> io::Result<()> {
        if let Some(cpu) = cpu {
            self.folder.write(&self.file, &mask(cpu))?;
        } else if self.is_changed {
            self.folder.write(&self.file, &self.before)?;
        }
        self.is_changed = cpu.is_some();
        Ok(())
    }

    /// Has the calling thread's CPU receive, or whoever did before.
    ///
    /// # Errors
    /// When the thread may run on several CPUs, or may not change the setting.
    pub(super) fn receive_here(&mut self, here: bool) -> io::Result<()> {
        let cpu = if here { Some(own_cpu()?) } else { None };
        self.receive_on(cpu)
    }
}

impl Drop for ReceiveSteering {
    fn drop(&mut self) {
        if let Err(error) = self.receive_on(None) {
            let Self { file, before, .. } = self;
            tracing::debug!(%file, %before, %error, "a setting of the interface stays changed, unless that is gone");
        }
    }
}

/// The one CPU that the calling thread runs on.
fn own_cpu() -> io::Result<usize> {
    let cpus = sched_getaffinity(Pid::from_raw(0))?;
    let mut own = (0..CpuSet::count()).filter(|&cpu| cpus.is_set(cpu) == Ok(true));
    match (own.next(), own.next()) {
        (Some(cpu), None) => Ok(cpu),
        _ => Err(io::Error::other("the thread is not bound to a CPU")),
    }
}

/// A CPU in the way that the kernel reads: words of 32 bits, in hexadecimal digits.
fn mask(cpu: usize) -> String {
    format!("{:x}{}", 1u32 << (cpu % 32), ",00000000".repeat(cpu / 32))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sched::sched_setaffinity;
    use std::fs;
    use std::thread;

    #[test]
    fn a_cpu_has_its_bit() {
        assert_eq!(
            [0, 5, 31, 32, 69].map(mask),
            ["1", "20", "80000000", "1,00000000", "20,00000000,00000000"]
        );
    }

    #[test]
    fn the_setting_is_as_before_when_it_ends() {
        let folder = std::env::temp_dir().join(format!("xfcoe-steering-{}", std::process::id()));
        let file = folder.join("queues/rx-3/rps_cpus");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(folder.join("ifindex"), "7\n").unwrap();
        fs::write(&file, "f0\n").unwrap();
        let read = || fs::read_to_string(&file).unwrap();
        let open = || ReceiveSteering::in_folder(InterfaceFolder::at(&folder, 7).unwrap(), 3).unwrap();
        let mut steering = open();
        // A thread of its own, to be bound to a CPU.
        thread::scope(|scope| {
            scope.spawn(|| {
                let first = (0..CpuSet::count()).find(|&cpu| {
                    let mut one = CpuSet::new();
                    one.set(cpu).unwrap();
                    sched_setaffinity(Pid::from_raw(0), &one).is_ok()
                });
                steering.receive_here(true).unwrap();
                assert_eq!(read(), mask(first.unwrap()));
                steering.receive_here(false).unwrap();
                assert_eq!(read(), "f0");
                steering.receive_here(true).unwrap();
                drop(steering);
                assert_eq!(read(), "f0");
            });
        });
        // What was not changed is left alone.
        let steering = open();
        fs::write(&file, "5").unwrap();
        drop(steering);
        assert_eq!(read(), "5");
        fs::remove_dir_all(folder).unwrap();
    }
}
