//! Measures xfcoe: `xfcoe-bench datapath` needs neither a NIC nor root.

mod datapath;
mod report;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Measures xfcoe.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// What a frame costs the poll core, over a port in memory: no NIC, no kernel, no root.
    Datapath {
        /// Print one JSON object instead of a table.
        #[arg(long)]
        json: bool,
        /// How often each case is run; the median counts.
        #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..))]
        rounds: u32,
    },
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Datapath { json, rounds } => report::print(&datapath::run(rounds), json),
    }
    ExitCode::SUCCESS
}
