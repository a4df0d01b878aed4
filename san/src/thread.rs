//! The loop that drives a SAN on a thread of its own.

use crate::san::San;
use datapath::port::{Port, Waker};
use fc::time::{Duration, Instant};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

/// How many idle steps in a row pass before the thread sleeps: some 10 us, which is more than the gap between the
/// frames of a busy initiator and less than what a sleep costs to end.
const IDLE_STEPS: u32 = 200;
/// The longest sleep.
const MAX_SLEEP: Duration = Duration::from_millis(100);

/// Steps `san` until `stop` is set, on the calling thread, which its owner may have pinned to a core. Spins while
/// there is traffic and sleeps on the port otherwise. Wake `waker` after setting `stop`.
///
/// # Errors
/// When the port's interface is gone.
pub fn run<P: Port>(san: &mut San<P>, stop: &AtomicBool, waker: &Waker) -> io::Result<()> {
    let origin = std::time::Instant::now();
    let clock = || Instant::from_nanos(u64::try_from(origin.elapsed().as_nanos()).unwrap_or(u64::MAX));
    let mut idle = 0;
    while !stop.load(Ordering::Relaxed) {
        let now = clock();
        if san.step(now) {
            idle = 0;
        } else if idle < IDLE_STEPS {
            idle += 1;
            std::hint::spin_loop();
        } else {
            let due = san.poll_timeout().map_or(MAX_SLEEP, |due| due.since(now).min(MAX_SLEEP));
            san.port_mut().wait(waker, due)?;
            idle = 0;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SanConfig;
    use datapath::port::memory::{MemoryConfig, wire};
    use std::sync::Arc;

    #[test]
    fn it_advertises_sleeps_and_stops() {
        let mut config = SanConfig::default();
        config.fcf.fka_adv_period_ms = 250;
        let (port, wire) = wire(MemoryConfig::default());
        let mut san = San::new(port, &config).unwrap();
        let (stop, waker) = (Arc::new(AtomicBool::new(false)), Arc::new(Waker::new().unwrap()));
        let thread = std::thread::spawn({
            let (stop, waker) = (Arc::clone(&stop), Arc::clone(&waker));
            move || run(&mut san, &stop, &waker).map(|()| san.stats())
        });
        let before = std::time::Instant::now();
        let mut advertisements = 0;
        while advertisements < 3 && before.elapsed() < Duration::from_secs(10) {
            std::thread::sleep(Duration::from_millis(5));
            advertisements += usize::from(wire.pop().is_some());
        }
        assert!((Duration::from_millis(500)..Duration::from_secs(5)).contains(&before.elapsed()));
        stop.store(true, Ordering::Relaxed);
        waker.wake();
        assert!(thread.join().unwrap().unwrap().counters.sent_frames >= 3);
    }
}
