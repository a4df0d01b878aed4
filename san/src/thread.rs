//! The loop that drives a SAN on a thread of its own.

use crate::san::San;
use datapath::port::{Port, Waker};
use fc::time::{Duration, Instant};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

/// The shortest time without work before the thread sleeps: a few of the gaps within a burst of frames.
const MIN_SPIN: Duration = Duration::from_micros(20);
/// The longest. Beyond, a sleep's end is short against the pause before it.
const MAX_SPIN: Duration = Duration::from_millis(1);
/// The longest sleep.
const MAX_SLEEP: Duration = Duration::from_millis(100);

/// Steps `san` until `stop` is set, on the calling thread, which its owner may have pinned to a core. Wake
/// `waker` after setting `stop`.
///
/// Without work it spins for a while and then sleeps on the port. The while grows as long as sleeps turn out to
/// be shorter than a millisecond, so that an initiator with one command out does not find its target asleep.
///
/// # Errors
/// When the port's interface is gone.
pub fn run<P: Port>(san: &mut San<P>, stop: &AtomicBool, waker: &Waker) -> io::Result<()> {
    let origin = std::time::Instant::now();
    let clock = || Instant::from_nanos(u64::try_from(origin.elapsed().as_nanos()).unwrap_or(u64::MAX));
    let mut spin = MIN_SPIN;
    let mut last_work = clock();
    while !stop.load(Ordering::Relaxed) {
        let now = clock();
        if san.step(now) {
            last_work = now;
        } else if now.since(last_work) < spin {
            std::hint::spin_loop();
        } else {
            let due = san.poll_timeout().map_or(MAX_SLEEP, |due| due.since(now).min(MAX_SLEEP));
            san.port_mut().wait(waker, due)?;
            last_work = clock();
            let was_short = last_work.since(now) < MAX_SPIN;
            spin = if was_short { (spin * 2).min(MAX_SPIN) } else { (spin / 2).max(MIN_SPIN) };
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
