//! The highest rate without loss (RFC 2544, 26.1), by halving.

use super::ends::Pace;
use super::report::Trial;
use anyhow::bail;
use xfcoe::interrupt::Interrupt;

/// How near the found rate is to one that has lost frames.
const RESOLUTION: f64 = 0.01;

/// Of rates from nothing to as fast as can be, the highest whose trial lost no frame; or the last one, after an interrupt.
pub(super) fn highest_without_loss(
    burst: u64,
    interrupt: &Interrupt,
    trial: &mut impl FnMut(Pace) -> anyhow::Result<Trial>,
) -> anyhow::Result<Trial> {
    let first = trial(Pace { fps: None, burst })?;
    if first.lost == Some(0) || interrupt.is_raised() {
        return Ok(first);
    }
    let (mut good, mut bad, mut best) = (0.0, first.fps, None);
    while bad - good > RESOLUTION * first.fps {
        let fps = (good + bad) / 2.0;
        let this = trial(Pace { fps: Some(fps), burst })?;
        if interrupt.is_raised() {
            return Ok(best.unwrap_or(this));
        }
        // A rate that the sender doesn't reach is none.
        if this.lost == Some(0) && this.fps > fps * (1.0 - RESOLUTION) {
            (good, best) = (fps, Some(this));
        } else {
            bad = fps;
        }
    }
    match best {
        Some(best) => Ok(best),
        None => bail!("some get lost even at {bad:.0} a second"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::ends::Sent;
    use crate::frames::stamped::Stamp;
    use crate::frames::tally::Tally;
    use std::time::Duration;

    /// A link that sends 1000 frames a second at most, and loses one above a rate.
    fn link(limit: f64) -> impl FnMut(Pace) -> anyhow::Result<Trial> {
        move |pace| {
            let fps = pace.fps.unwrap_or(1000.0);
            let mut tally = Tally::new();
            let sent = Sent { frames: (fps * 10.0) as u64, elapsed: Duration::from_secs(10) };
            for number in u64::from(fps > limit)..sent.frames {
                tally.take(Ok(Stamp { size: 2158, trial: 0, number, sent_at_ns: 0 }), None);
            }
            Ok(Trial::of_sender(2158, pace, sent, Some(&tally)))
        }
    }

    #[test]
    fn the_limit_is_found_to_a_hundredth() {
        let search = |limit| highest_without_loss(1, &Interrupt::default(), &mut link(limit));
        assert_eq!(search(1000.0).unwrap().offered_fps, None, "nothing was lost at once");
        for limit in [999.0, 640.0, 20.0] {
            let found = search(limit).unwrap();
            assert!((limit - 10.1..=limit).contains(&found.fps), "{limit}: {found:?}");
            assert_eq!(found.lost, Some(0));
        }
        assert!(search(0.0).unwrap_err().to_string().starts_with("some get lost even at 8 a second"));
    }
}
