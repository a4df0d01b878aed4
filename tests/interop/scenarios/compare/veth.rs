//! At a veth pair in the guest, with the SAN at its other end.
//!
//! The SAN's process is shown apart, but the line is not sharp. On its time the kernel brings the frames that it sends
//! all the way to our initiator's ring, and a part of the way to Linux's; and while it waits for the next frame it
//! spins, for up to a millisecond.

use super::{Counts, SERIAL, TICKS_PER_S, Target};
use crate::guest::{Guest, Running, SHORT};
use crate::lab::Lab;
use crate::report::Figures;
use anyhow::{Context as _, ensure};
use serde_json::Value;

const CABLE: &str = r#"
    modprobe veth
    end="mtu 2500 numtxqueues 1 numrxqueues 1"
    ip link add init $end type veth peer san $end
    for name in init san; do
        # veth hands a VLAN tag over beside the frame, where XDP doesn't see it.
        ethtool -K $name txvlan off
        ip link set $name up
    done"#;
/// On a CPU that it has for itself as far as the others leave it.
const SAN: &str = r#"
    printf '[[targets]]\n[[targets.luns]]\nserial = "%s"\n' $SERIAL >/run/san.toml
    echo $$ >/run/san.pid
    exec taskset -c 1 /run/xfcoe san -i san -c /run/san.toml --control /run/san"#;

pub(in super::super) fn run(lab: &mut Lab) -> anyhow::Result<Figures> {
    let mut guest = super::guest(lab)?;
    guest.run(CABLE, SHORT)?;
    let san = San(guest.spawn(&format!("SERIAL={SERIAL}{SAN}"))?);
    guest.run("until [ -S /run/san ]; do sleep 0.1; done", SHORT).context("the SAN does not start")?;
    super::compare(&mut guest, "init", &san)
}

/// A SAN that runs in the guest.
struct San(Running);

impl Target for San {
    fn counts(&self, guest: &mut Guest) -> anyhow::Result<Counts> {
        ensure!(!guest.has_ended(self.0)?, "the SAN has ended");
        let said =
            guest.run("/run/xfcoe fault /run/san show --json; cat /proc/$(cat /run/san.pid)/stat", SHORT)?;
        parse(&said).with_context(|| format!("the SAN's counters and process: {said}"))
    }
}

fn parse(said: &str) -> Option<Counts> {
    let (summary, process) = said.split_once('\n')?;
    let summary: Value = serde_json::from_str(summary).ok()?;
    // proc(5), counted from 1.
    let field = |number: usize| process.split_whitespace().nth(number - 1)?.parse::<f64>().ok();
    let (utime, stime) = (field(14)?, field(15)?);
    Some(Counts {
        commands: summary["commands"].as_u64()?,
        failed_commands: summary["failed_commands"].as_u64()?,
        cpu_s: Some((utime + stime) / TICKS_PER_S),
    })
}
