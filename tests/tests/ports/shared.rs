//! Several ports on one queue, each for a core.

use super::conformance::{PATIENCE, drain};
use super::frames::{MAC, frame};
use super::link::{ENDS, af_packet, on_a_link, on_a_link_with_queues};
use datapath::port::nic::{Nic, NicConfig, NicKind, NicPort};
use datapath::port::{Frame, Port, Waker};
use fc::messages::ox_id;
use fc::wire::MacAddr;
use std::thread;
use std::time::{Duration, Instant};

/// Frames on their way at a time: half of what veth holds.
const WINDOW: u16 = 128;
/// Where the OX_ID is in an untagged frame: behind Ethernet and FCoE headers and 16 bytes of the FC header.
const OX_ID_AT: usize = 14 + 14 + 16;

fn open(interface: &str, cores: usize) -> (Nic, Vec<NicPort>) {
    open_queues(interface, 1, cores)
}

fn open_queues(interface: &str, queues: u32, cores: usize) -> (Nic, Vec<NicPort>) {
    let config = NicConfig { queues: (0..queues).collect(), cores, ..NicConfig::new(interface) };
    let (nic, ports) = Nic::open_for_cores(&config, &[]).unwrap();
    nic.macs().add(MAC).unwrap();
    (nic, ports)
}

fn frame_of(ox_id: u16) -> Vec<u8> {
    let mut bytes = frame(ox_id.into(), 80, false);
    bytes[OX_ID_AT..][..2].copy_from_slice(&ox_id.to_be_bytes());
    bytes
}

/// The OX_IDs of frames that come to a port, until it has as many.
fn receive(port: &mut impl Port, ox_ids: &mut Vec<u16>, count: usize) {
    let (waker, start, mut frames) = (Waker::new().unwrap(), Instant::now(), Vec::new());
    while ox_ids.len() < count {
        assert!(start.elapsed() < PATIENCE, "{} of {count} came: {:?}", ox_ids.len(), port.counters());
        if port.receive(&mut frames, 64) == 0 {
            port.wait(&waker, Duration::from_millis(100)).unwrap();
        }
        for frame in frames.drain(..) {
            let bytes: [u8; 2] = port.data(&frame)[OX_ID_AT..][..2].try_into().unwrap();
            ox_ids.push(u16::from_be_bytes(bytes));
            port.release(frame);
        }
    }
}

fn send(port: &mut impl Port, ox_ids: impl IntoIterator<Item = u16>) -> Vec<u16> {
    let sent: Vec<_> = ox_ids.into_iter().inspect(|&id| assert!(port.send_copy(&frame_of(id)))).collect();
    port.flush().unwrap();
    sent
}

/// That each port's books are balanced, and that no more chunks came out of the kernel than went in.
fn check_accounts(ports: &[NicPort]) {
    let accounts: Vec<_> = ports.iter().map(Port::account).collect();
    assert!(accounts.iter().all(|account| account.is_balanced() && account.held == 0), "{accounts:?}");
    assert!(accounts.iter().map(|account| account.receiving).sum::<isize>() >= 0, "{accounts:?}");
}

#[test]
fn each_core_gets_what_carries_its_number() {
    for cores in [1, 2, 3, 7] {
        on_a_link(|| {
            let (_nic, mut ports) = open(ENDS[0], cores);
            let (_other, mut senders) = open(ENDS[1], 1);
            for first in (0..1024).step_by(WINDOW.into()) {
                let sent = send(&mut senders[0], first..first + WINDOW);
                for (number, port) in ports.iter_mut().enumerate() {
                    let owner = |ox_id: &u16| ox_id::owner(*ox_id, cores as u16).unwrap_or(7 % cores as u16);
                    let wanted: Vec<_> =
                        sent.iter().copied().filter(|id| usize::from(owner(id)) == number).collect();
                    let mut came = Vec::new();
                    receive(port, &mut came, wanted.len());
                    assert_eq!(came, wanted, "core {number} of {cores}");
                }
            }
            assert_eq!(ports.iter_mut().map(drain).sum::<usize>(), 0, "nobody else got one");
            check_accounts(&ports);
        });
    }
}

#[test]
fn a_core_that_stands_still_costs_the_others_nothing() {
    on_a_link(|| {
        let (_nic, mut ports) = open(ENDS[0], 2);
        let (_other, mut senders) = open(ENDS[1], 1);
        let [awake, still] = &mut ports[..] else { panic!("two ports") };
        let chunks = still.account().total as u16;
        // More than all chunks of the queue together.
        for first in (0..4 * chunks).step_by(WINDOW.into()) {
            let sent = send(&mut senders[0], (first..first + WINDOW).map(|id| id & !7 | id & 1));
            let mut came = Vec::new();
            receive(awake, &mut came, sent.iter().filter(|&id| id & 1 == 0).count());
            assert!(came.iter().all(|id| id & 1 == 0), "{came:?}");
        }
        assert_eq!(awake.counters().receive_drops, 0);
        // What had room is still there.
        let (mut frames, mut came) = (Vec::new(), 0);
        while still.receive(&mut frames, 64) > 0 {
            came += frames.len();
            frames.drain(..).for_each(|frame| still.release(frame));
        }
        assert_eq!(came, 2048, "as many as its ring has places");
        check_accounts(&ports);
    });
}

/// An answer comes to the core that asked, as XDP knows it by its OX_ID or as it is sent by the queue of the question.
#[test]
fn cores_send_and_receive_at_the_same_time() {
    on_a_link(|| ask_and_echo(1));
    on_a_link_with_queues(2, || ask_and_echo(2));
}

/// Two cores at each end, on as many queues.
fn ask_and_echo(queues: u32) {
    const ROUNDS: u16 = 2_000;
    let (_nic, ports) = open_queues(ENDS[0], queues, 2);
    let (_other, echoes) = open_queues(ENDS[1], queues, 2);
    let echo = |mut port: NicPort| {
        let (mut frames, waker, mut echoed) = (Vec::<Frame>::new(), Waker::new().unwrap(), 0);
        let start = Instant::now();
        while echoed < ROUNDS * 16 {
            assert!(start.elapsed() < 3 * PATIENCE, "{echoed} were echoed: {:?}", port.counters());
            if port.receive(&mut frames, 64) == 0 {
                port.wait(&waker, Duration::from_millis(100)).unwrap();
            }
            echoed += frames.len() as u16;
            frames.drain(..).for_each(|frame| port.send(frame));
            port.flush().unwrap();
        }
        port
    };
    let ask = |number: u16, mut port: NicPort| {
        for round in 0..ROUNDS {
            let sent = send(&mut port, (0..16).map(|i| (round * 16 + i) << 3 | number));
            let mut came = Vec::new();
            receive(&mut port, &mut came, 16);
            assert_eq!(came, sent, "core {number}");
        }
        port
    };
    let (ports, echoes): (Vec<_>, Vec<_>) = thread::scope(|scope| {
        let echoes: Vec<_> = echoes.into_iter().map(|port| scope.spawn(|| echo(port))).collect();
        let asks: Vec<_> =
            (0u16..).zip(ports).map(|(number, port)| scope.spawn(move || ask(number, port))).collect();
        let join = |threads: Vec<thread::ScopedJoinHandle<'_, NicPort>>| {
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        };
        (join(asks), join(echoes))
    });
    check_accounts(&ports);
    check_accounts(&echoes);
}

#[test]
fn a_core_that_stands_still_loses_nothing_of_its_queue_and_holds_up_no_other() {
    const STILL: u16 = 1_024;
    on_a_link_with_queues(2, || {
        let (_nic, mut ports) = open_queues(ENDS[0], 2, 2);
        let (_other, mut senders) = open_queues(ENDS[1], 2, 2);
        let [awake, still] = &mut ports[..] else { panic!("two ports") };
        let mut to_the_other = Vec::new();
        // More than all chunks of the queue of the one that is awake.
        for first in (0..8 * STILL).step_by(WINDOW.into()) {
            if first < STILL {
                to_the_other.extend(send(&mut senders[1], first..first + WINDOW));
            }
            let sent = send(&mut senders[0], first..first + WINDOW);
            let mut came = Vec::new();
            receive(awake, &mut came, sent.len());
            assert_eq!(came, sent);
        }
        let mut came = Vec::new();
        receive(still, &mut came, to_the_other.len());
        assert_eq!(came, to_the_other);
        assert_eq!(drain(awake) + drain(still), 0);
        assert!(ports.iter().all(|port| port.counters().receive_drops == 0));
        check_accounts(&ports);
    });
}

#[test]
fn cores_and_queues_must_fit() {
    on_a_link(|| {
        let open = |queues: &[u32], cores, kind| {
            let config = NicConfig { queues: queues.into(), cores, kind, ..NicConfig::new(ENDS[0]) };
            Nic::open_for_cores(&config, &[])
        };
        let error =
            |result: Result<_, datapath::port::nic::NicError>| result.map(|_: (Nic, _)| ()).unwrap_err();
        let few = error(open(&[0, 1], 1, NicKind::AfXdp));
        assert_eq!(few.to_string(), "2 queues of here0 want as many cores or more, and it has 1");
        assert!(error(open(&[0], 2, NicKind::AfPacket)).to_string().contains("several need XDP"));
        let beyond = error(open(&[0, 1], 2, NicKind::AfXdp));
        assert!(beyond.to_string().contains("open queue 1 of here0: it has 1"), "{beyond}");
        // Nothing of the failure is left at the first queue.
        let _ = (open(&[0], 1, NicKind::AfXdp).unwrap(), MacAddr::ZERO, af_packet(ENDS[1]));
    });
}
