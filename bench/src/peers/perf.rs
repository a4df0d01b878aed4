//! Where the CPU time of processes goes, as perf(1) sees it.

use anyhow::{Context as _, bail, ensure};
use serde::Serialize;
use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use xfcoe::workload::round;

/// Samples a second: no divisor of anything that happens by the clock.
const FREQUENCY_HZ: &str = "1999";

/// So many places are named of an end, if they have this much of its time, and so many functions of a place.
const PLACES: usize = 5;
const LEAST_PERCENT: f64 = 3.0;
const FUNCTIONS: usize = 3;

/// Where an end's CPU time goes.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(super) struct End {
    pub(super) end: &'static str,
    /// Those that have the most of it.
    pub(super) places: Vec<Place>,
}

/// What CPU time is spent on.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(super) struct Place {
    pub(super) what: String,
    /// Of the end's time.
    pub(super) percent: f64,
    /// Those that have the most of it.
    pub(super) functions: Vec<String>,
}

/// What the kernel is at, told by who called whom: the first that has one of a sample's functions is meant. Names may
/// go on.
const KERNEL: [(&str, &[&str]); 11] = [
    (
        "veth and XDP: frames into the other end's ring",
        &["xsk_rcv", "__xsk_rcv", "xsk_generic_rcv", "__xsk_map_", "xsk_map_"],
    ),
    ("packet sockets: frames into the other end's ring", &["tpacket_rcv", "packet_rcv"]),
    ("veth and XDP: the other end's receive path", &["veth_xdp_rcv", "veth_poll"]),
    ("sending from the AF_XDP ring", &["__xsk_generic_xmit", "xsk_sendmsg"]),
    ("sending by a packet socket", &["packet_sendmsg", "tpacket_snd"]),
    ("TCP: receiving", &["tcp_v4_rcv", "tcp_recvmsg", "inet_recvmsg"]),
    ("TCP: sending", &["tcp_sendmsg", "tcp_write_xmit", "inet_sendmsg"]),
    ("veth: packets to the other end", &["net_rx_action", "__dev_queue_xmit"]),
    (
        "sleeping and waking",
        &[
            "schedule",
            "__schedule",
            "try_to_wake_up",
            "__wake_up",
            "do_futex",
            "ksys_poll",
            "do_sys_poll",
            "do_epoll",
            "eventfd_",
        ],
    ),
    ("other system calls", &["do_syscall_64", "el0_svc", "entry_SYSCALL"]),
    ("interrupts and faults", &["asm_"]),
];

/// The same of functions of programs.
const PROGRAMS: [(&str, &[&str]); 3] = [
    ("CRC", &["crc32fast", "fc_crc"]),
    ("copying and clearing", &["__memmove", "__memcpy", "__memset", "memcpy", "memmove", "memset"]),
    ("reading the clock", &["clock_gettime", "__vdso_clock", "std::time", "<std::sys::pal::unix::time"]),
];

/// Whether there is a perf that works for this kernel.
pub(super) fn is_there() -> bool {
    let perf = Command::new("perf").arg("--version").output();
    perf.is_ok_and(|output| output.status.success())
}

/// A perf that records a process that is there.
pub(super) struct Recording {
    perf: Child,
    file: RecordFile,
}

/// What perf has recorded; it goes with this.
pub(super) struct RecordFile(PathBuf);

impl Recording {
    /// Begins, and returns when nothing is missed any more, of threads that are started either.
    pub(super) fn start(pid: u32) -> anyhow::Result<Self> {
        let file = RecordFile::new("server");
        let mut perf = Command::new("perf")
            .args(file.record())
            .args(["--pid", &pid.to_string()])
            // perf attaches before it starts this, and ends when it has ended.
            .args(["sh", "-c", "echo attached; read -r end; true"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run perf")?;
        let mut said = [0; "attached\n".len()];
        if perf.stdout.as_mut().is_some_and(|stdout| stdout.read_exact(&mut said).is_err()) {
            drop(self::said(perf.wait_with_output())?);
            bail!("perf ends at once, and says nothing");
        }
        Ok(Self { perf, file })
    }

    /// Ends it, and gives where the CPU time went.
    pub(super) fn places(mut self) -> anyhow::Result<Vec<Place>> {
        drop(self.perf.stdin.take());
        said(self.perf.wait_with_output())?;
        self.file.places()
    }
}

impl RecordFile {
    /// For one of the ends.
    pub(super) fn new(end: &str) -> Self {
        Self(std::env::temp_dir().join(format!("xfcoe-bench-{}-{end}.perf", std::process::id())))
    }

    /// What perf is to be told to record there; what it is to record comes after it, a program too.
    pub(super) fn record(&self) -> Vec<String> {
        let options = [
            "record",
            "--quiet",
            "--event",
            "cpu-clock",
            "--call-graph",
            "fp",
            "--freq",
            FREQUENCY_HZ,
            "--output",
        ];
        let file = self.0.display().to_string();
        options.iter().map(|&option| option.to_owned()).chain([file]).collect()
    }

    /// Where the CPU time went.
    pub(super) fn places(&self) -> anyhow::Result<Vec<Place>> {
        let script = ["script", "--no-inline", "--fields", "ip,sym", "--input"];
        Ok(places(&said(Command::new("perf").args(script).arg(&self.0).output())?))
    }
}

impl Drop for RecordFile {
    fn drop(&mut self) {
        // Where nothing was recorded there is none.
        let _ = fs::remove_file(&self.0);
    }
}

fn said(output: std::io::Result<Output>) -> anyhow::Result<String> {
    let output = output.context("cannot run perf")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "perf: {}",
        errors.lines().next().unwrap_or("it fails and doesn't say why")
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What `perf script -F ip,sym` says of all samples, put together by what was done: the most first. A sample is a function
/// a line, each called by the next one.
fn places(script: &str) -> Vec<Place> {
    let frames = |sample: &'_ str| -> Vec<(String, String)> {
        let frames = sample.lines().filter_map(|line| line.trim().split_once(' '));
        frames.map(|(address, function)| (address.into(), function.trim().into())).collect()
    };
    let samples: Vec<Vec<(String, String)>> = script.split("\n\n").map(frames).collect();
    let samples: Vec<(String, &str)> = samples.iter().filter_map(|frames| place(frames)).collect();
    let mut places: HashMap<&str, HashMap<&str, usize>> = HashMap::new();
    for (what, function) in &samples {
        *places.entry(what).or_default().entry(function).or_default() += 1;
    }
    let place = |(what, functions): (&str, HashMap<&str, usize>)| {
        let count: usize = functions.values().sum();
        let mut functions: Vec<_> = functions.into_iter().collect();
        functions.sort_by_key(|(name, count)| (std::cmp::Reverse(*count), *name));
        let functions = functions.into_iter().take(FUNCTIONS).map(|(name, _)| name.to_owned()).collect();
        Place { what: what.into(), percent: round(100.0 * count as f64 / samples.len() as f64, 1), functions }
    };
    let mut places: Vec<Place> =
        places.into_iter().map(place).filter(|place| place.percent >= LEAST_PERCENT).collect();
    places
        .sort_by(|one, other| other.percent.total_cmp(&one.percent).then_with(|| one.what.cmp(&other.what)));
    places.truncate(PLACES);
    places
}

/// What a sample's thread was at, and in which function. `frames` are addresses and functions.
fn place(frames: &[(String, String)]) -> Option<(String, &str)> {
    let (address, function) = frames.first()?;
    // The upper half of the addresses is the kernel's.
    let is_kernel = |address: &str| address.len() == 16 && address.starts_with('f');
    let begins =
        |name: &str, beginnings: &[&str]| beginnings.iter().any(|beginning| name.starts_with(beginning));
    if is_kernel(address) {
        let is_it = |functions: &[&str]| {
            let mut in_kernel = frames.iter().filter(|(address, _)| is_kernel(address));
            in_kernel.any(|(_, name)| begins(name, functions))
        };
        let what = KERNEL.iter().find(|(_, functions)| is_it(functions)).map_or("else", |(what, _)| what);
        // The compiler's copies of a function are that function.
        return Some((format!("kernel, {what}"), function.split('.').next().unwrap_or(function)));
    }
    let known = PROGRAMS.iter().find(|(_, functions)| begins(function, functions));
    let what = known.map_or_else(|| module(function), |(what, _)| (*what).to_owned());
    Some((what, function.rsplit("::").next().unwrap_or(function)))
}

/// The module of a function of Rust's; of another one, its name.
fn module(function: &str) -> String {
    let path = function.trim_start_matches(['<', '&']);
    let segments: Vec<&str> = path.split("::").collect();
    let is_module = |segment: &&&str| segment.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    let modules = segments[..segments.len() - 1].iter().take_while(is_module).copied().collect::<Vec<_>>();
    if modules.is_empty() { function.into() } else { modules.join("::") }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.end)?;
        for (number, Place { what, percent, functions }) in self.places.iter().enumerate() {
            let comma = if number == 0 { "" } else { ", " };
            write!(f, "{comma}{percent:.0}% {what}")?;
            if functions.len() > 1 || functions.first() != Some(what) {
                write!(f, " ({})", functions.join(", "))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = "\tffffffff8219901b __xsk_map_redirect
\tffffffff81e9e967 xdp_do_redirect
\tffffffff81dbee99 veth_xdp_rcv
\tffffffff82198155 __xsk_generic_xmit
\tffffffff821ef691 do_syscall_64
\t          10ad0c __libc_sendto

\tffffffff81dbd92b __pi_memcpy
\tffffffff821990aa __xsk_rcv.part.0
\tffffffff81dbee99 veth_xdp_rcv

\t          27e7c6 crc32fast::specialized::pclmulqdq::calculate_avx2

\t           cf427 <datapath::port::nic::NicPort as datapath::port::Port>::receive

\tffffffff81abcdef finish_task_switch.isra.0
\tffffffff81abcde0 __schedule
\tffffffff81abcd00 do_sys_poll
\tffffffff821ef691 do_syscall_64

";

    #[test]
    fn samples_are_put_together_by_what_was_done_there() {
        let end = End { end: "server", places: places(SCRIPT) };
        assert_eq!(
            end.to_string(),
            "server: 40% kernel, veth and XDP: frames into the other end's ring (__pi_memcpy, __xsk_map_redirect), \
             20% CRC (calculate_avx2), 20% datapath::port::nic (receive), \
             20% kernel, sleeping and waking (finish_task_switch)"
        );
        assert_eq!(places(""), [], "nothing was recorded");
    }

    #[test]
    fn what_has_little_is_not_named_and_who_is_alone_in_a_place_once() {
        let end =
            End { end: "client", places: places(&format!("{}\t 1 rare\n\n", "\t 1 often\n\n".repeat(99))) };
        assert_eq!(end.to_string(), "client: 99% often");
    }

    #[test]
    fn a_functions_module_is_known_however_it_is_written() {
        for (function, expected) in [
            ("san::target::exchange::Exchanges::find", "san::target::exchange"),
            ("datapath::core::tx::<impl datapath::core::Core<P>>::finish", "datapath::core::tx"),
            ("<datapath::port::af_xdp::AfXdpPort as datapath::port::Port>::flush", "datapath::port::af_xdp"),
            ("nbd::send", "nbd"),
            ("main", "main"),
        ] {
            assert_eq!(module(function), expected, "{function}");
        }
    }
}
