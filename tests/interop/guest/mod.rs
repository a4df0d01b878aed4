//! A guest: QEMU, and a line to the agent in it.

mod disk;
mod fcoe;
mod target;

pub(crate) use disk::{TRANSFERS, fio};

use crate::image::Image;
use anyhow::{Context as _, bail, ensure};
use fc::wire::MacAddr;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// What a guest is like.
#[derive(Clone, Debug)]
pub(crate) struct GuestConfig {
    /// Its CPUs. Under emulation one is the most reliable.
    pub(crate) cpus: u32,
    /// Its memory.
    pub(crate) memory_mib: u32,
    /// Disks that its host has for it.
    pub(crate) disks: Vec<HostDisk>,
}

impl Default for GuestConfig {
    fn default() -> Self {
        Self { cpus: 1, memory_mib: 768, disks: Vec::new() }
    }
}

/// A disk of the host's, at a socket. The guest knows it by its serial number.
#[derive(Clone, Debug)]
pub(crate) enum HostDisk {
    /// A vhost-user-blk device, which has its serial number from who serves it.
    VhostUser(PathBuf),
    /// An export by NBD, and its name, which is its serial number, too.
    Nbd(PathBuf, &'static str),
}

/// Where a guest is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    /// Its tap, and its folder.
    pub(crate) name: &'a str,
    /// The MAC address of its `eth0`.
    pub(crate) mac: MacAddr,
    /// Its MTU.
    pub(crate) mtu: &'a str,
    /// What it sees as `/lab`.
    pub(crate) lab: &'a Path,
}

/// Without what takes time and is of no use here; a panic ends QEMU.
const COMMAND_LINE: &str = "console=ttyS0 quiet panic=-1 mitigations=off nokaslr random.trust_cpu=on tsc=reliable \
                            audit=0 nowatchdog ipv6.disable=1";
/// Without what a CPU does at once and emulation byte by byte: copies that it repeats itself, and carry-less products,
/// which are how CRCs are quick elsewhere.
const CPU: &str = "max,-erms,-pclmulqdq";
/// The modules for FCoE, and its `eth0`, whose carrier is there a little after the link is up.
const START: &str = "modprobe -a virtio_net fcoe sd_mod sg 8021q
                     ip link set eth0 up
                     until grep -q up /sys/class/net/eth0/operstate; do sleep 0.1; done";
const AGENT: &str = include_str!("agent");
// On an idle machine these are a tenth: what hangs is to be noticed, and not what is slow.
/// How long a guest may take to boot.
const BOOT: Duration = Duration::from_secs(80);
/// How long a command may take that only looks or sets something.
pub(crate) const SHORT: Duration = Duration::from_secs(40);

/// A guest that runs; dropped, it is gone as a machine whose power fails.
#[derive(Debug)]
pub(crate) struct Guest {
    qemu: Child,
    orders: ChildStdin,
    replies: Receiver<(u32, i32)>,
    /// The statuses of orders that have ended and that nobody has asked for.
    ended: HashMap<u32, i32>,
    last_order: u32,
    /// With its console, and what it was ordered.
    folder: PathBuf,
    deadline: Instant,
}

/// A command that runs in the guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "it has failed or not: Guest::wait tells"]
pub(crate) struct Running(u32);

/// What a command came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Output {
    /// Its exit status.
    pub(crate) status: i32,
    /// What it said on stdout.
    pub(crate) stdout: String,
    /// What it said on stderr.
    pub(crate) stderr: String,
}

impl Guest {
    /// Boots a guest, and returns when it is ready. It dies with this thread.
    pub(super) fn boot(
        config: GuestConfig,
        image: &Image,
        place: Place<'_>,
        deadline: Instant,
    ) -> anyhow::Result<Self> {
        let folder = place.lab.join(place.name);
        if folder.exists() {
            bring_away(&folder)?;
        }
        fs::create_dir(&folder)?;
        fs::write(folder.join("agent"), AGENT)?;
        let qemu = qemu(&config, image, &place, &folder);
        let mut guest = Self::start(qemu, folder, deadline)?;
        guest.wait(Running(0), BOOT).context("the guest does not boot")?;
        guest.run(START, SHORT)?;
        Ok(guest)
    }

    fn start(mut qemu: Command, folder: PathBuf, deadline: Instant) -> anyhow::Result<Self> {
        qemu.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(File::create(folder.join("qemu"))?);
        let mut qemu = qemu.spawn().context("cannot run QEMU")?;
        let orders = qemu.stdin.take().expect("it is a pipe");
        let lines = BufReader::new(qemu.stdout.take().expect("it is a pipe")).lines();
        let (sender, replies) = channel();
        // Ends with QEMU.
        thread::Builder::new().name("agent".into()).spawn(move || {
            for line in lines.map_while(Result::ok) {
                let Some((number, status)) = line.split_once(' ') else { continue };
                if let (Ok(number), Ok(status)) = (number.parse(), status.parse())
                    && sender.send((number, status)).is_err()
                {
                    return;
                }
            }
        })?;
        Ok(Self { qemu, orders, replies, ended: HashMap::new(), last_order: 0, folder, deadline })
    }

    /// Runs `script` by bash, and returns what it printed on stdout.
    ///
    /// # Errors
    /// If it fails, or takes longer than `timeout`.
    pub(crate) fn run(&mut self, script: &str, timeout: Duration) -> anyhow::Result<String> {
        let running = self.spawn(script)?;
        let Output { status, stdout, stderr } =
            self.wait(running, timeout).with_context(|| format!("`{script}`"))?;
        ensure!(status == 0, "`{script}` failed with {status}: {}", tail(&format!("{stdout}{stderr}")));
        Ok(stdout)
    }

    /// Starts `script` by bash, which stops at the first command that fails.
    ///
    /// # Errors
    /// If the guest is gone.
    pub(crate) fn spawn(&mut self, script: &str) -> anyhow::Result<Running> {
        self.last_order += 1;
        fs::write(self.folder.join(format!("{}.cmd", self.last_order)), script)?;
        writeln!(self.orders, "{}", self.last_order).with_context(|| self.obituary())?;
        Ok(Running(self.last_order))
    }

    /// Waits for a command to end.
    ///
    /// # Errors
    /// If that takes longer than `timeout`, or the guest ends before.
    pub(crate) fn wait(&mut self, running: Running, timeout: Duration) -> anyhow::Result<Output> {
        let end = self.deadline.min(Instant::now() + timeout);
        let status = loop {
            if let Some(status) = self.ended.remove(&running.0) {
                break status;
            }
            match self.replies.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok((number, status)) => {
                    self.ended.insert(number, status);
                }
                Err(RecvTimeoutError::Timeout) if end == self.deadline => {
                    bail!("the scenario's time is over; {}", self.obituary())
                }
                Err(RecvTimeoutError::Timeout) => bail!("no end within {timeout:?}; {}", self.obituary()),
                Err(RecvTimeoutError::Disconnected) => bail!("QEMU has ended; {}", self.obituary()),
            }
        };
        let read = |what| fs::read(self.folder.join(format!("{}.{what}", running.0)));
        let text =
            |what| read(what).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        Ok(Output { status, stdout: text("out"), stderr: text("err") })
    }

    /// Whether a command has ended.
    ///
    /// # Errors
    /// If the guest has, or the scenario's time is over.
    pub(crate) fn has_ended(&mut self, running: Running) -> anyhow::Result<bool> {
        self.ended.extend(self.replies.try_iter());
        ensure!(Instant::now() < self.deadline, "the scenario's time is over; {}", self.obituary());
        ensure!(self.qemu.try_wait()?.is_none(), "QEMU has ended; {}", self.obituary());
        Ok(self.ended.contains_key(&running.0))
    }

    /// Its kernel has logged no error and nothing worse since it was ready.
    ///
    /// # Errors
    /// The first that it has.
    pub(crate) fn has_no_errors(&self) -> anyhow::Result<()> {
        const WARNING: u32 = 4;
        // A record begins with "PRIORITY,NUMBER,..", and the level is the priority's low three bits.
        let log = fs::read(self.folder.join("dmesg"))?;
        let log = String::from_utf8_lossy(&log);
        let level = |line: &str| line.split(',').next()?.parse().ok().map(|priority: u32| priority % 8);
        // What it says of the machine that QEMU emulates is of no interest.
        let lines = log.lines().skip_while(|line| !line.ends_with(";the agent is ready"));
        let mut errors = lines.filter(|line| level(line).is_some_and(|level| level < WARNING));
        match errors.next() {
            Some(error) => bail!("the guest's kernel complains: {error}"),
            None => Ok(()),
        }
    }

    /// The last words of the guest.
    fn obituary(&self) -> String {
        let said = |file| fs::read(self.folder.join(file)).unwrap_or_default();
        let [console, qemu] = ["console", "qemu"].map(|file| tail(&String::from_utf8_lossy(&said(file))));
        format!("its console ends with: {console}{qemu}")
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

/// What an earlier guest of the same name has left is kept by another one.
fn bring_away(folder: &Path) -> io::Result<()> {
    let named = |number: u32| folder.with_extension(number.to_string());
    let number = (1..).find(|&number| !named(number).exists()).expect("there are enough numbers");
    fs::rename(folder, named(number))
}

fn qemu(config: &GuestConfig, image: &Image, place: &Place<'_>, folder: &Path) -> Command {
    let Place { name, mac, mtu, lab } = place;
    let mut qemu = image.command("usr/bin/qemu-system-x86_64");
    qemu.arg("-L").arg(image.tools.join("usr/share/qemu"));
    qemu.arg("-L").arg(image.tools.join("usr/share/seabios"));
    qemu.args(["-M", "q35", "-accel", "tcg,thread=multi", "-cpu", CPU, "-smp", &config.cpus.to_string()]);
    qemu.args(["-m", &config.memory_mib.to_string(), "-nodefaults", "-display", "none", "-no-reboot"]);
    qemu.arg("-kernel").arg(image.linux.join("vmlinux")).arg("-initrd").arg(image.linux.join("initramfs"));
    qemu.args(["-append", &format!("{COMMAND_LINE} guest={name}")]);
    qemu.args(["-chardev", &format!("file,id=console,path={}", folder.join("console").display())]);
    qemu.args(["-serial", "chardev:console"]);
    for (tag, path) in [("tools", &*image.tools), ("linux", &*image.linux), ("lab", lab)] {
        let read_only = if tag == "lab" { "" } else { ",readonly=on" };
        let path = path.display();
        qemu.args(["-fsdev", &format!("local,id={tag},path={path},security_model=none{read_only}")]);
        qemu.args(["-device", &format!("virtio-9p-pci,fsdev={tag},mount_tag={tag}")]);
    }
    // The agent's line is QEMU's stdin and stdout.
    qemu.args(["-device", "virtio-serial-pci", "-chardev", "stdio,id=agent,signal=off"]);
    qemu.args(["-device", "virtserialport,chardev=agent"]);
    qemu.args(["-netdev", &format!("tap,id=lan,ifname={name},script=no,downscript=no")]);
    // Without a filter for MAC addresses: newer drivers set it from a work queue, and miss the answer to the first
    // frame from a new address.
    let nic = format!("virtio-net-pci,netdev=lan,mac={mac},host_mtu={mtu},ctrl_rx=off,romfile=");
    qemu.args(["-device", &nic]);
    if !config.disks.is_empty() {
        // Of a kind that can be shared, as README has it.
        let memory = format!("memory-backend-memfd,id=memory,size={}M,share=on", config.memory_mib);
        qemu.args(["-object", &memory, "-machine", "memory-backend=memory"]);
    }
    for (number, disk) in config.disks.iter().enumerate() {
        qemu.args(disk.arguments(number));
    }
    qemu
}

impl HostDisk {
    /// QEMU's arguments, as README has them.
    fn arguments(&self, number: usize) -> [String; 4] {
        match self {
            Self::VhostUser(socket) => [
                "-chardev".into(),
                format!("socket,id=disk{number},path={},reconnect=1", socket.display()),
                "-device".into(),
                format!("vhost-user-blk-pci,chardev=disk{number}"),
            ],
            Self::Nbd(socket, name) => [
                "-blockdev".into(),
                format!(
                    "driver=nbd,node-name=disk{number},server.type=unix,server.path={},export={name},\
                     reconnect-delay=30,discard=unmap",
                    socket.display()
                ),
                "-device".into(),
                format!("virtio-blk-pci,drive=disk{number},serial={name}"),
            ],
        }
    }
}

/// The last lines of what may be long.
fn tail(text: &str) -> String {
    const LINES: usize = 5;
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}
