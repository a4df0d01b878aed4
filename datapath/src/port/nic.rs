//! An interface made ready: XDP program, socket, MAC filter, and the port over them.

use super::af_packet::{AfPacketConfig, AfPacketPort};
use super::af_xdp::{AfXdpConfig, AfXdpPort, BusyPoll};
use super::capture::Capture;
use super::flow_rules::FlowRules;
use super::napi::DeferredInterrupts;
use super::socket::driver;
use super::steering::ReceiveSteering;
use super::xdp::{AttachMode, MacMap, XdpError, XdpProgram};
use super::{Frame, FrameAccount, MacFilter, Mode, Port, PortCounters, PortError, PortInfo, Waker};
use fc::in_place::InPlace;
use fc::messages::ox_id;
use fc::wire::MacAddr;
use std::io;
use std::ops::Range;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use xdp_prog::SLOTS_PER_QUEUE;

/// Frames that a core takes from a NIC at a time, as many as from its ring; and how long a call that finds none polls.
const BUSY_POLL: BusyPoll = BusyPoll { budget: 64, poll_us: 20 };

/// How an interface is reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum NicKind {
    /// By AF_XDP: past the kernel.
    #[default]
    AfXdp,
    /// By a packet socket: through the kernel, where a NIC has no XDP and as a baseline.
    AfPacket,
}

/// Why an interface can't be used.
#[derive(Debug, Error)]
pub enum NicError {
    /// The XDP program.
    #[error(transparent)]
    Xdp(#[from] XdpError),
    /// The socket.
    #[error(transparent)]
    Port(#[from] PortError),
    /// More queues than cores, or no core.
    #[error("{queues} queues of {interface} want as many cores or more, and it has {cores}")]
    TooFewCores {
        /// The interface.
        interface: String,
        /// Queues asked for.
        queues: usize,
        /// Cores asked for.
        cores: usize,
    },
    /// A packet socket for several cores.
    #[error("a packet socket (af_packet) of {interface} takes one core, not {cores}: several need XDP")]
    OneCoreOnly {
        /// The interface.
        interface: String,
        /// Cores asked for.
        cores: usize,
    },
}

/// What of an interface to open, and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NicConfig {
    /// The interface, a name in the calling thread's network namespace.
    pub interface: String,
    /// Its queues.
    pub queues: Vec<u32>,
    /// How many ports, which are on the queues in turn.
    pub cores: usize,
    /// How it is reached.
    pub kind: NicKind,
    /// Have the ports' threads drive the queues instead of interrupts, where the NIC's driver can.
    pub drive_queues: bool,
    /// Have frames in huge pages, if enough are reserved.
    pub huge_pages: bool,
    /// Have the NIC bring FCoE and FIP to the first of the queues, if it has rules for that.
    pub flow_rules: bool,
}

impl NicConfig {
    /// One port on queue 0, by AF_XDP.
    pub fn new(interface: impl Into<String>) -> Self {
        Self {
            interface: interface.into(),
            queues: vec![0],
            cores: 1,
            kind: NicKind::default(),
            drive_queues: false,
            huge_pages: false,
            flow_rules: false,
        }
    }
}

/// An interface that frames for us are steered from. Dropping it leaves the interface as it was.
#[derive(Debug)]
pub struct Nic {
    program: Option<XdpProgram>,
    macs: NicMacs,
    /// These are only there to be dropped.
    _settings: (Option<Arc<DeferredInterrupts>>, Option<FlowRules>),
}

/// Which MAC addresses are ours: in the XDP program's map and in the NIC's filter.
#[derive(Debug)]
pub struct NicMacs {
    map: Option<MacMap>,
    filter: MacFilter,
}

impl Nic {
    /// Opens queue 0 of `interface` for one port. Frames to the FIP groups `groups` come at once, others when
    /// [`NicMacs::add`] names their address.
    ///
    /// # Errors
    /// As [`Self::open_for_cores`].
    pub fn open(interface: &str, kind: NicKind, groups: &[MacAddr]) -> Result<(Self, NicPort), NicError> {
        let config = NicConfig { kind, ..NicConfig::new(interface) };
        let (nic, ports) = Self::open_for_cores(&config, groups)?;
        Ok((nic, ports.into_iter().next().expect("one core is usual")))
    }

    /// Opens an interface with a port for each core: a queue that has several shares its frames out by the core's number in
    /// the OX_ID. What comes by another queue than its core's goes to one of the cores there.
    ///
    /// # Errors
    /// Each says what to do about it. Nothing stays behind.
    ///
    /// # Panics
    /// If there are more cores than [`ox_id::MAX_CORES`].
    pub fn open_for_cores(config: &NicConfig, groups: &[MacAddr]) -> Result<(Self, Vec<NicPort>), NicError> {
        let NicConfig { interface, queues, cores, kind, .. } = config;
        let (interface, cores) = (interface.as_str(), *cores);
        assert!(cores <= ox_id::MAX_CORES.into(), "{cores} cores of {interface}");
        if queues.is_empty() || cores < queues.len() {
            return Err(NicError::TooFewCores { interface: interface.into(), queues: queues.len(), cores });
        }
        let filter = MacFilter::open(interface)?;
        for &group in groups {
            filter.join_multicast(group)?;
        }
        let mut deferred = None;
        let (program, ports) = match kind {
            NicKind::AfPacket if cores > 1 => {
                return Err(NicError::OneCoreOnly { interface: interface.into(), cores });
            }
            NicKind::AfPacket => {
                let port = AfPacketPort::open(&AfPacketConfig::new(interface))?;
                (None, vec![NicPort::AfPacket(port)])
            }
            NicKind::AfXdp => {
                let program = XdpProgram::attach(interface, AttachMode::NativeOrGeneric)?;
                let mut ports = open_queues(&program, config)?;
                deferred = defer_interrupts(config);
                for port in &mut ports {
                    port.set_deferred(deferred.clone());
                }
                if let [port] = &mut ports[..] {
                    port.set_steering(steering(&program, config.queues[0]));
                }
                (Some(program), ports.into_iter().map(NicPort::AfXdp).collect())
            }
        };
        let map = program.as_ref().map(|program| program.macs().clone());
        let macs = NicMacs { map, filter };
        Ok((Self { program, macs, _settings: (deferred, make_flow_rules(config)) }, ports))
    }

    /// Opens one queue for one port in every detail as `config` says, but for its mode, of which `attach` says what it may
    /// be.
    ///
    /// # Errors
    /// As [`Self::open_for_cores`].
    pub fn open_queue(config: &AfXdpConfig, attach: AttachMode) -> Result<(Self, NicPort), NicError> {
        let filter = MacFilter::open(&config.interface)?;
        let program = XdpProgram::attach(&config.interface, attach)?;
        let port = AfXdpPort::open(&AfXdpConfig { mode: program.mode(), ..config.clone() })?;
        program.set_socket(config.queue, 0..SLOTS_PER_QUEUE, port.as_fd())?;
        let macs = NicMacs { map: Some(program.macs().clone()), filter };
        Ok((Self { program: Some(program), macs, _settings: (None, None) }, NicPort::AfXdp(port)))
    }

    /// The XDP program, where there is one.
    pub fn program(&self) -> Option<&XdpProgram> {
        self.program.as_ref()
    }

    /// Which MAC addresses are ours.
    pub fn macs(&self) -> &NicMacs {
        &self.macs
    }
}

/// Leaves the queues to those who poll them, if that is wanted and can be.
fn defer_interrupts(config: &NicConfig) -> Option<Arc<DeferredInterrupts>> {
    let interface = &config.interface;
    if !config.drive_queues {
        return None;
    }
    DeferredInterrupts::set(interface)
        .map(Arc::new)
        .inspect_err(|error| {
            tracing::warn!(%interface, %error, "the interface can't defer its interrupts: they drive its queues");
        })
        .ok()
}

/// Where a veth's frames are received, which is for its only port to say. XDP is behind that in the generic mode only.
fn steering(program: &XdpProgram, queue: u32) -> Option<ReceiveSteering> {
    let interface = program.interface();
    if program.mode() != Mode::GenericXdp || driver(interface).ok()? != "veth" {
        return None;
    }
    ReceiveSteering::of(interface, queue)
        .inspect_err(|error| {
            tracing::info!(%interface, %error, "frames are received by the CPU of who sends them");
        })
        .ok()
}

/// Has the NIC bring us what is ours, if that is wanted and can be.
fn make_flow_rules(config: &NicConfig) -> Option<FlowRules> {
    let NicConfig { interface, queues, .. } = config;
    if !config.flow_rules {
        return None;
    }
    FlowRules::set(interface, queues[0])
        .inspect_err(|error| {
            tracing::warn!(%interface, %error, "the interface takes no flow rules: FCoE comes by the queue that its driver likes");
        })
        .ok()
}

/// A port for each core, the cores being on the queues in turn.
fn open_queues(program: &XdpProgram, config: &NicConfig) -> Result<Vec<AfXdpPort>, NicError> {
    let NicConfig { interface, queues, cores, .. } = config;
    let cores = *cores;
    let mut by_core: Vec<_> = (0..cores).map(|_| None).collect();
    for (at, &queue) in queues.iter().enumerate() {
        let config = AfXdpConfig {
            mode: program.mode(),
            busy_poll: config.drive_queues.then_some(BUSY_POLL),
            huge_pages: config.huge_pages,
            ..AfXdpConfig::new(interface, queue)
        };
        let its_cores: Vec<_> = (at..cores).step_by(queues.len()).collect();
        let ports = AfXdpPort::open_shared(&config, its_cores.len())?;
        for low_bits in 0..SLOTS_PER_QUEUE {
            // Whoever gets what is of a core elsewhere hands it on; control hears every core.
            let core = ox_id::owner(low_bits as u16, cores as u16).map(usize::from);
            let port = its_cores.iter().position(|&one| Some(one) == core);
            program.set_socket(queue, [low_bits], ports[port.unwrap_or(low_bits % ports.len())].as_fd())?;
        }
        for (core, port) in its_cores.into_iter().zip(ports) {
            by_core[core] = Some(port);
        }
    }
    Ok(by_core.into_iter().map(|port| port.expect("every core is on a queue")).collect())
}

impl NicMacs {
    /// Frames to this address come to us from now on.
    ///
    /// # Errors
    /// When the map is full or the interface gone.
    pub fn add(&self, mac: MacAddr) -> Result<(), NicError> {
        if let Some(map) = &self.map {
            map.add(mac)?;
        }
        Ok(self.filter.add(mac)?)
    }

    /// Frames to this address are not ours any more.
    ///
    /// # Errors
    /// When the interface is gone.
    pub fn remove(&self, mac: MacAddr) -> Result<(), NicError> {
        if let Some(map) = &self.map {
            map.remove(mac)?;
        }
        Ok(self.filter.remove(mac)?)
    }
}

/// The port of either kind.
#[derive(Debug)]
pub enum NicPort {
    /// Over AF_XDP.
    AfXdp(AfXdpPort),
    /// Over a packet socket.
    AfPacket(AfPacketPort),
    /// Either of them, recorded.
    Captured(Box<Capture<NicPort>>),
}

impl NicPort {
    /// The port, with every frame that it moves recorded to a new pcapng file: tcpdump sees nothing of AF_XDP.
    ///
    /// # Errors
    /// When the file can't be created.
    pub fn captured(self, path: &Path) -> io::Result<Self> {
        Ok(Self::Captured(Box::new(Capture::new(self, path)?)))
    }
}

/// Calls the method of whichever port it is.
macro_rules! either {
    ($self:expr, $port:ident => $call:expr) => {
        match $self {
            NicPort::AfXdp($port) => $call,
            NicPort::AfPacket($port) => $call,
            NicPort::Captured($port) => $call,
        }
    };
}

impl Port for NicPort {
    fn receive(&mut self, into: &mut Vec<Frame>, max: usize) -> usize {
        either!(self, port => port.receive(into, max))
    }

    fn allocate(&mut self) -> Option<Frame> {
        either!(self, port => port.allocate())
    }

    fn data<'a>(&'a self, frame: &'a Frame) -> &'a [u8] {
        either!(self, port => port.data(frame))
    }

    fn buffer<'a>(&'a mut self, frame: &'a mut Frame) -> &'a mut [u8] {
        either!(self, port => port.buffer(frame))
    }

    fn set_len(&mut self, frame: &mut Frame, len: usize) {
        either!(self, port => port.set_len(frame, len));
    }

    fn capacity(&self) -> usize {
        either!(self, port => port.capacity())
    }

    fn send(&mut self, frame: Frame) {
        either!(self, port => port.send(frame));
    }

    fn release(&mut self, frame: Frame) {
        either!(self, port => port.release(frame));
    }

    fn lend(
        &mut self,
        frame: Frame,
        data: Range<usize>,
        read: &mut InPlace,
        offset: u32,
    ) -> Result<(), Frame> {
        either!(self, port => port.lend(frame, data, read, offset))
    }

    fn flush(&mut self) -> io::Result<()> {
        either!(self, port => port.flush())
    }

    fn receive_on_this_cpu(&mut self, yes: bool) {
        either!(self, port => port.receive_on_this_cpu(yes));
    }

    fn wait(&mut self, waker: &Waker, timeout: Duration) -> io::Result<()> {
        either!(self, port => port.wait(waker, timeout))
    }

    fn info(&self) -> &PortInfo {
        either!(self, port => port.info())
    }

    fn counters(&self) -> PortCounters {
        either!(self, port => port.counters())
    }

    fn account(&self) -> FrameAccount {
        either!(self, port => port.account())
    }
}
