//! Two hosts with a cable between them, and the processes on them.

use crate::cpu_time::CpuTime;
use anyhow::{Context as _, bail, ensure};
use nix::sys::resource::UsageWho;
use std::io::Read as _;
use std::net::TcpStream;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};
use xfcoe::demo::two_cpus;
use xfcoe::interrupt::Interrupt;
use xfcoe::netns::{Cable, INITIATOR_INTERFACE, Namespace, SAN_INTERFACE};

/// Addresses of [`INITIATOR_INTERFACE`] and [`SAN_INTERFACE`], for peers over TCP.
const CLIENT_ADDRESS: &str = "10.0.0.1";
pub(super) const SERVER_ADDRESS: &str = "10.0.0.2";

/// How long a server may take to begin.
const BEGIN: Duration = Duration::from_secs(10);
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// A namespace, and a thread in it that starts processes: the kernel kills those when the thread ends, so that none is
/// left however this process ends.
pub(super) struct Host {
    work: SyncSender<Box<dyn FnOnce() + Send>>,
    cpu: Option<usize>,
}

/// A process that is killed when this is dropped.
pub(super) struct Running(Child);

/// A host for the client, and one for the server.
pub(super) struct Site {
    pub(super) client: Host,
    pub(super) server: Host,
    _cable: Cable,
}

impl Host {
    fn new(namespace: Namespace, cpu: Option<usize>) -> anyhow::Result<Self> {
        let (work, to_do) = sync_channel::<Box<dyn FnOnce() + Send>>(0);
        let host = Self { work, cpu };
        thread::Builder::new().name("host".into()).spawn(move || to_do.iter().for_each(|work| work()))?;
        host.run(move || namespace.enter())?;
        Ok(host)
    }

    /// Does something on its thread.
    fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (told, result) = sync_channel(1);
        let work = move || told.send(work()).expect("it is waited for below");
        self.work.send(Box::new(work)).expect("the thread ends with the host");
        result.recv().expect("the thread ends with the host")
    }

    /// Starts a program on the host's CPU.
    fn start(
        &self,
        program: &[&str],
        variables: &[(&str, &str)],
        output: fn() -> Stdio,
    ) -> anyhow::Result<Running> {
        // nbdkit wants SIGTERM for that instead, which is blocked here (`Interrupt`), and so in what is started.
        let mut command = Command::new("env");
        command.args(["--default-signal=TERM", "setpriv", "--pdeathsig", "KILL"]);
        if let Some(cpu) = self.cpu {
            command.args(["taskset", "--cpu-list", &cpu.to_string()]);
        }
        command
            .args(program)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(output())
            .stderr(output());
        Ok(Running(self.run(move || command.spawn()).with_context(|| format!("cannot run {}", program[0]))?))
    }

    /// Starts a program that goes on, and waits until `begun` says that it has begun.
    pub(super) fn serve(
        &self,
        program: &[&str],
        variables: &[(&str, &str)],
        begun: impl Fn() -> bool,
    ) -> anyhow::Result<Running> {
        let mut server = self.start(program, variables, Stdio::null)?;
        let deadline = Instant::now() + BEGIN;
        while !begun() {
            if let Some(status) = server.0.try_wait()? {
                bail!("`{}` ended at once: {status}", program.join(" "));
            }
            ensure!(Instant::now() < deadline, "`{}` has not begun after {BEGIN:?}", program.join(" "));
            thread::sleep(LOOK_INTERVAL);
        }
        Ok(server)
    }

    /// Runs a program to its end, and gives what it said on stdout, and what CPU time it took.
    pub(super) fn measure(
        &self,
        program: &[String],
        interrupt: &Interrupt,
    ) -> anyhow::Result<(String, CpuTime)> {
        let before = CpuTime::of(UsageWho::RUSAGE_CHILDREN);
        let program: Vec<&str> = program.iter().map(String::as_str).collect();
        let mut client = self.start(&program, &[], Stdio::piped)?;
        let status = loop {
            interrupt.check(|| "while measuring".into())?;
            match client.0.try_wait()? {
                Some(status) => break status,
                None => thread::sleep(LOOK_INTERVAL),
            }
        };
        let cpu = CpuTime::of(UsageWho::RUSAGE_CHILDREN).since(before);
        let (mut said, mut errors) = (String::new(), String::new());
        client.0.stdout.take().expect("a pipe").read_to_string(&mut said)?;
        client.0.stderr.take().expect("a pipe").read_to_string(&mut errors)?;
        ensure!(status.success(), "`{}`: {status}: {}", program.join(" "), errors.trim());
        Ok((said, cpu))
    }

    /// Runs a program that sets something up.
    pub(super) fn set_up(&self, program: &[&str], variables: &[(&str, &str)]) -> anyhow::Result<()> {
        let mut command = Command::new(program[0]);
        command.args(&program[1..]).envs(variables.iter().copied());
        let output: Output =
            self.run(move || command.output()).with_context(|| format!("cannot run {}", program[0]))?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "`{}`: {}: {}", program.join(" "), output.status, errors.trim());
        Ok(())
    }

    /// Whether somebody takes connections there.
    pub(super) fn reaches(&self, address: &str) -> bool {
        let address = address.to_string();
        self.run(move || TcpStream::connect(address)).is_ok()
    }
}

impl Running {
    /// Its number among processes.
    pub(super) fn id(&self) -> u32 {
        self.0.id()
    }

    /// What CPU time it has used, all its threads together.
    pub(super) fn cpu_time(&self) -> anyhow::Result<CpuTime> {
        CpuTime::of_process(self.0.id())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Site {
    /// Lays the cable. As FCoE takes it: without IP.
    pub(super) fn new() -> anyhow::Result<Self> {
        let cable = Cable::lay()?;
        let (server_cpu, client_cpu) = two_cpus()?;
        Ok(Self {
            client: Host::new(cable.initiator.clone(), client_cpu)?,
            server: Host::new(cable.san.clone(), server_cpu)?,
            _cable: cable,
        })
    }

    /// Lays the cable, and sets IP up over it.
    pub(super) fn over_ip(mtu: u32, offload: bool) -> anyhow::Result<Self> {
        let site = Self::new()?;
        let mtu = mtu.to_string();
        for (host, interface, address) in [
            (&site.client, INITIATOR_INTERFACE, CLIENT_ADDRESS),
            (&site.server, SAN_INTERFACE, SERVER_ADDRESS),
        ] {
            host.set_up(&["ip", "link", "set", interface, "mtu", &mtu], &[])?;
            host.set_up(&["ip", "address", "add", &format!("{address}/24"), "dev", interface], &[])?;
            if !offload {
                host.set_up(&["ethtool", "-K", interface, "tso", "off", "gso", "off", "gro", "off"], &[])?;
            }
        }
        Ok(site)
    }
}
