//! The loop that drives a SAN on a thread of its own.

use crate::remote::Remote;
use crate::san::San;
use datapath::port::Port;
use datapath::port::nic::{NicError, NicMacs};
use fc::time::{Duration, Instant};
use fc::wire::MacAddr;
use std::io;

/// The shortest time without work before the thread sleeps: a few of the gaps within a burst of frames.
const MIN_SPIN: Duration = Duration::from_micros(20);
/// The longest. Beyond, a sleep's end is short against the pause before it.
const MAX_SPIN: Duration = Duration::from_millis(1);
/// The longest sleep.
const MAX_SLEEP: Duration = Duration::from_millis(100);

/// Steps `san` until `remote` stops it, on the calling thread, which its owner may have pinned to a core, and
/// carries out what comes by `remote` in between.
///
/// Without work it spins for a while and then sleeps on the port. The while grows as long as sleeps turn out to
/// be shorter than a millisecond, so that an initiator with one command out does not find its target asleep.
///
/// `filter` is told which MAC addresses are the SAN's; a port without one gets all frames.
///
/// # Errors
/// When the port's interface is gone, or takes no more MAC addresses.
pub fn run<P: Port>(san: &mut San<P>, filter: Option<&NicMacs>, remote: &Remote) -> io::Result<()> {
    let _closer = Closer(remote);
    let origin = std::time::Instant::now();
    let clock = || Instant::from_nanos(u64::try_from(origin.elapsed().as_nanos()).unwrap_or(u64::MAX));
    let mut spin = MIN_SPIN;
    let mut last_work = clock();
    let mut passed = Vec::new();
    while !remote.is_stopping() {
        if let Some(filter) = filter {
            pass(filter, &mut passed, san.macs()).map_err(io::Error::other)?;
        }
        let now = clock();
        if remote.serve(san, now) | san.step(now) {
            last_work = now;
        } else if now.since(last_work) < spin {
            std::hint::spin_loop();
        } else {
            let due = san.poll_timeout().map_or(MAX_SLEEP, |due| due.since(now).min(MAX_SLEEP));
            san.port_mut().wait(&remote.waker, due)?;
            last_work = clock();
            let was_short = last_work.since(now) < MAX_SPIN;
            spin = if was_short { (spin * 2).min(MAX_SPIN) } else { (spin / 2).max(MIN_SPIN) };
        }
    }
    Ok(())
}

/// Makes the addresses that pass the filter from `passed` to `wanted`.
fn pass(filter: &NicMacs, passed: &mut Vec<MacAddr>, wanted: &[MacAddr]) -> Result<(), NicError> {
    if passed == wanted {
        return Ok(());
    }
    passed.iter().filter(|mac| !wanted.contains(mac)).try_for_each(|mac| filter.remove(*mac))?;
    wanted.iter().filter(|mac| !passed.contains(mac)).try_for_each(|mac| filter.add(*mac))?;
    wanted.clone_into(passed);
    Ok(())
}

/// Closes the remote when the loop ends, by a panic too.
struct Closer<'a>(&'a Remote);

impl Drop for Closer<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Death, Order, OrderError, SanConfig};
    use datapath::port::memory::{MemoryConfig, MemoryWire, wire};
    use std::sync::Arc;
    use std::thread::JoinHandle;

    fn start(config: &SanConfig) -> (Arc<Remote>, MemoryWire, JoinHandle<io::Result<u64>>) {
        let (port, wire) = wire(MemoryConfig::default());
        let mut san = San::new(port, config).unwrap();
        let remote = Arc::new(Remote::new().unwrap());
        let thread = std::thread::spawn({
            let remote = Arc::clone(&remote);
            move || run(&mut san, None, &remote).map(|()| san.stats().counters.sent_frames)
        });
        (remote, wire, thread)
    }

    #[test]
    fn it_advertises_sleeps_and_stops() {
        let mut config = SanConfig::default();
        config.fcf.fka_adv_period_ms = 250;
        let (remote, mut wire, thread) = start(&config);
        let before = std::time::Instant::now();
        let mut advertisements = 0;
        while advertisements < 3 && before.elapsed() < Duration::from_secs(10) {
            std::thread::sleep(Duration::from_millis(5));
            advertisements += usize::from(wire.pop().is_some());
        }
        assert!((Duration::from_millis(500)..Duration::from_secs(5)).contains(&before.elapsed()));
        remote.stop();
        assert!(thread.join().unwrap().unwrap() >= 3);
    }

    #[test]
    fn orders_are_carried_out_between_steps_until_it_ends() {
        let config = SanConfig::default();
        let (remote, _wire, thread) = start(&config);
        let target = config.targets[0].wwpn;
        let askers: Vec<_> = (0..4)
            .map(|_| {
                let remote = Arc::clone(&remote);
                std::thread::spawn(move || {
                    for _ in 0..100 {
                        remote.order(Order::Kill { target, how: Death::Silent }).unwrap();
                        remote.stats().unwrap();
                    }
                })
            })
            .collect();
        askers.into_iter().for_each(|asker| asker.join().unwrap());
        let error = remote.order(Order::Revive { target: config.fcf.fabric_name }).unwrap_err();
        assert!(matches!(error, OrderError::NoSuchTarget { .. }), "{error}");
        remote.stop();
        thread.join().unwrap().unwrap();
        assert!(matches!(remote.stats(), Err(OrderError::Ended)));
    }
}
