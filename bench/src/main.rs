//! Measures xfcoe: `xfcoe-bench io` a LUN, `xfcoe-bench datapath` the poll core, without a NIC or root,
//! `xfcoe-bench floor` what is below it, `xfcoe-bench frames` a link, `xfcoe-bench exports` what those have of a disk to
//! whom it is handed out, `xfcoe-bench peers` others beside it, and `xfcoe-bench scale` how it does with much of
//! everything.

mod cpu_time;
mod datapath;
mod exports;
mod floor;
mod frames;
mod io;
mod link;
mod page;
mod peers;
mod scale;
mod table;

use clap::{ArgAction, Parser, Subcommand};
use std::process::ExitCode;
use xfcoe::{program, san_thread};

/// Measures xfcoe.
#[derive(Debug, Parser)]
#[command(name = "xfcoe-bench", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Where figures go.
    #[command(flatten)]
    output: page::Output,
    /// Log to stderr; twice for more, three times for all
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// What I/O to a LUN takes: rate, latency and CPU time, in fio's terms
    Io(io::Io),
    /// What a frame costs the poll core, over a port in memory: no NIC, no kernel, no root
    Datapath(datapath::Datapath),
    /// What the kernel's way of an exchange's frames takes, with no Fibre Channel at either end: the most that io can get
    Floor(floor::Floor),
    /// How many frames a link carries: rate, loss, order, time under way
    Frames(frames::Frames),
    /// What those have of a disk's speed to whom it is handed out, by vhost-user and NBD
    Exports(exports::Exports),
    /// xfcoe beside other ways to a disk over Ethernet: one table, and what xfcoe is to reach
    Peers(peers::Peers),
    /// What becomes of rate and latency as more VN_Ports, commands, targets and LUNs are there
    Scale(scale::Scale),
    /// The SAN that `peers` measures
    #[command(hide = true)]
    San(xfcoe::cli::San),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    program::run("xfcoe-bench", cli.verbose, |interrupt| match &cli.command {
        Command::Io(io) => io::run(io, &cli.output, interrupt),
        Command::Datapath(datapath) => datapath::run(datapath, &cli.output, interrupt),
        Command::Floor(floor) => floor::run(floor, &cli.output, interrupt),
        Command::Frames(frames) => frames::run(frames, &cli.output, interrupt),
        Command::Exports(exports) => exports::run(exports, &cli.output, interrupt),
        Command::Peers(peers) => peers::run(peers, &cli.output, interrupt),
        Command::Scale(scale) => scale::run(scale, &cli.output, interrupt),
        Command::San(san) => san_thread::command(san, cli.output.json, interrupt),
    })
}
