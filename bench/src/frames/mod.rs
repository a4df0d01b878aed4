//! `xfcoe-bench frames`: how many frames a link carries, from one end to the other, and what becomes of them.

mod beside_floor;
mod ends;
mod receive;
mod report;
mod search;
mod stamped;
mod tally;
mod trial;

use crate::link::{self, End};
use crate::page::Output;
use anyhow::{Context as _, ensure};
use clap::Args;
use ends::Pace;
use fc::wire::MacAddr;
use fc::wire::fcoe::{self, MIN_LEN};
use report::Report;
use std::time::Duration;
use trial::{Trials, Way};
use xfcoe::interrupt::Interrupt;
use xfcoe::preflight::{self, PortKind};
use xfcoe::program;

/// `xfcoe-bench frames`
#[derive(Debug, Args)]
#[command(
    long_about = "How many frames a link carries one way: rate, loss, order, and how long they are under way. The frames \
                  are FCoE with a payload of no protocol, and carry a number and the time. Without --send and \
                  --receive both ends are on a veth pair between two namespaces, which go with the program.\n\n\
                  With only one of them the other end is another xfcoe-bench. The receiver can't know then how many \
                  of the last frames were lost, nor how long any was under way: their clocks differ."
)]
pub(crate) struct Frames {
    /// The interface that sends
    #[arg(long, value_name = "IF")]
    send: Option<String>,
    /// The interface that receives
    #[arg(long, value_name = "IF")]
    receive: Option<String>,
    /// Where frames go, if no interface here receives them
    #[arg(long, value_name = "MAC", conflicts_with = "receive", requires = "send")]
    to: Option<MacAddr>,
    /// Bytes of FCoE in a frame, as an MTU counts them: one or several
    #[arg(long, value_name = "BYTES", value_delimiter = ',', value_parser = size,
          default_values_t = [302, 558, 814, 1070, 1582, 2158])]
    size: Vec<usize>,
    /// Frames a second; default: as many as can be
    #[arg(long, value_name = "FPS", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Frames that are sent at a time at that rate
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    burst: u16,
    /// Look for the highest rate at which no frame is lost (RFC 2544, 26.1), to a hundredth
    #[arg(long, conflicts_with = "rate")]
    search: bool,
    /// Take turns with `floor`, and say how near to its rate of frames this one comes
    #[arg(long, conflicts_with_all = ["send", "receive", "to", "size", "rate", "burst", "search"])]
    floor: bool,
    /// How long each trial takes; RFC 2544 asks for 60
    #[arg(long, value_name = "S", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// How the interfaces are opened
    #[arg(long, value_enum, default_value_t)]
    port: PortKind,
}

/// Takes such sizes as make whole words of payload.
fn size(text: &str) -> Result<usize, String> {
    let size = text.parse().map_err(|_| "expected a number of bytes")?;
    if !(stamped::MIN_SIZE..=fcoe::MAX_LEN).contains(&size) || !(size - MIN_LEN).is_multiple_of(4) {
        let (least, head) = (stamped::MIN_SIZE, MIN_LEN);
        return Err(format!(
            "sizes are {least} to {} in steps of 4, since {head} bytes are around the payload's words",
            fcoe::MAX_LEN
        ));
    }
    Ok(size)
}

pub(crate) fn run(args: &Frames, output: &Output, interrupt: &Interrupt) -> anyhow::Result<()> {
    let json = output.json;
    if args.floor {
        output.print(&beside_floor::run(args, json, interrupt)?)?;
        return Ok(interrupt.check(|| "while measuring".into())?);
    }
    let report = match (&args.send, &args.receive) {
        (None, Some(interface)) => {
            let mut end = open(interface, args)?;
            program::with_spinner(json, "receiving", || receive::run(&mut end.port, interrupt))
        }
        (None, None) => {
            preflight::demo(args.port)?;
            let (near, far) = link::veth(args.port.into())?;
            send(args, Trials::new(near, Way::Here(Box::new(far))), json, interrupt)?
        }
        (Some(near), Some(far)) => {
            let (near, far) = (open(near, args)?, open(far, args)?);
            send(args, Trials::new(near, Way::Here(Box::new(far))), json, interrupt)?
        }
        (Some(near), None) => {
            let to = args.to.context("say by --to MAC where frames go, or by --receive IF who takes them")?;
            ensure!(!args.search, "--search takes both ends: say by --receive IF which interface takes them");
            send(args, Trials::new(open(near, args)?, Way::Elsewhere(to)), json, interrupt)?
        }
    };
    output.print(&report)?;
    Ok(interrupt.check(|| "while measuring".into())?)
}

fn open(interface: &str, args: &Frames) -> anyhow::Result<End> {
    let link = preflight::interface(interface, args.port)?;
    End::open(interface, args.port.into(), link.mac)
}

fn send(args: &Frames, mut trials: Trials, json: bool, interrupt: &Interrupt) -> anyhow::Result<Report> {
    let duration = Duration::from_secs(args.seconds.into());
    let mut report = Report::default();
    for &size in args.size.iter().take_while(|_| !interrupt.is_raised()) {
        let mut trial = |pace| trials.run(size, pace, duration, interrupt);
        let burst = args.burst.into();
        let row = program::with_spinner(json, "sending", || {
            if args.search {
                search::highest_without_loss(burst, interrupt, &mut trial)
            } else {
                trial(Pace { fps: args.rate.map(f64::from), burst })
            }
        });
        report.trials.push(row.with_context(|| format!("frames of {size} bytes"))?);
    }
    Ok(report)
}
